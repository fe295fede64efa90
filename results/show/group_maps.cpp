#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "results/base/text.h"
#include "results/figures/labels.h"
#include "results/figures/probes.h"
#include "results/figures/stats.h"
#include "results/show/chart.h"
#include "results/show/group_charts.h"
#include "results/show/group_tables.h"

namespace assay {
namespace {

// A class for a share between 0 and 1, from the lightest to the darkest of ten.
std::string Shade(double share) {
  if (!(share > 0)) return "h0";  // what is no number, too
  return fmt::format("h{}", static_cast<int>(std::min(share * 10, 9.0)));
}

// A class for a distance from the middle, which is at its strongest from `most` on: l4 … l1 below,
// m, g1 … g4 above.
std::string TwoSided(double value, double most) {
  const double share = value / most;
  if (std::isnan(share)) return "m";
  const int step = static_cast<int>(std::lround(4 * std::clamp(share, -1.0, 1.0)));
  return step == 0 ? "m" : fmt::format("{}{}", step < 0 ? 'l' : 'g', std::abs(step));
}

// Whether that class is so dark that texts on it are white.
bool IsDark(double value, double most) { return 4 * std::abs(value) / most >= 2.5; }

std::string TextIn(const Params& params, const std::string& name) {
  const auto found = params.find(name);
  return found == params.end() ? "" : ToText(found->second);
}

// A roof: operations a second at most, and bytes a second at most.
struct Roof {
  double flops = 0;
  double bytes = 0;
  std::string name = {};
};

// The devices that a roof is of: those of a kind that took part in a group's case in a data type.
struct RoofKey {
  std::size_t group = 0;
  std::string kind = {};
  std::string dtype = {};
  std::size_t devices = 0;
  std::string unit = {};
  auto operator<=>(const RoofKey&) const = default;
};

// The measured roofs of devices: their fastest loop that moves no bytes, and their fastest case
// that counts bytes.
std::optional<Roof> MeasuredRoof(const GroupFacts& facts, const RoofKey& key) {
  Roof roof = {
      .name = fmt::format("{}, fastest loops here on {} {}", key.dtype, key.devices, key.kind)};
  for (const GroupedCase* grouped : facts.Cases()) {
    if (grouped->kind != key.kind) continue;
    if (FindProbe(grouped->probe).probe_class != ProbeClass::kCompute) continue;
    for (const GroupPlace& place : grouped->places) {
      if (place.group != key.group) continue;
      const std::vector<GroupFacts::Figure> figures = facts.FiguresOf(*grouped, place);
      if (figures.empty() || figures.front().of->devices != key.devices) continue;
      if (grouped->unit == "B/s") roof.bytes = std::max(roof.bytes, place.speed);
      if (grouped->unit == key.unit && !figures.front().of->flops_per_byte &&
          TextIn(grouped->params, "dtype") == key.dtype) {
        roof.flops = std::max(roof.flops, place.speed);
      }
    }
  }
  if (roof.flops <= 0 || roof.bytes <= 0) return std::nullopt;
  return roof;
}

// The roof of a data sheet for accelerators that have one, else the measured one. A slice of an
// accelerator has no data sheet.
std::optional<Roof> RoofOf(const GroupFacts& facts, const RoofKey& key) {
  const RunGroup& of = facts.Ranking().groups[key.group];
  if (key.kind == "gpu" && of.node.accelerators.size() == 1 && !of.node.accelerators[0].mig) {
    const Accelerator& accelerator = of.node.accelerators.front();
    const DeviceFacts* const device = FindDevice(facts.TheCatalog().devices, accelerator.name);
    if (device != nullptr && device->memory_bytes_per_s && device->peak_flops.contains(key.dtype)) {
      const double count = facts.Ranking().per_gpu ? 1.0 : static_cast<double>(key.devices);
      return Roof{
          .flops = device->peak_flops.at(key.dtype) * count,
          .bytes = *device->memory_bytes_per_s * count,
          .name = fmt::format("{}, data sheet of {:g} x {}", key.dtype, count, device->name)};
    }
  }
  return MeasuredRoof(facts, key);
}

struct RoofPoint {
  const GroupedCase* grouped = nullptr;
  const GroupPlace* place = nullptr;
  double flops_per_byte = 0;
};

}  // namespace

namespace {

// The roofline of the cases whose speeds have this unit.
std::string RooflineOf(const GroupFacts& facts, const std::string& unit, double width) {
  const GroupRanking& ranking = facts.Ranking();
  std::vector<RoofPoint> points;
  std::map<std::pair<double, double>, Roof> roofs;  // each once
  std::set<RoofKey> seen;
  Range x_range;
  Range y_range;
  for (const GroupedCase* grouped : facts.Cases()) {
    if (grouped->unit != unit) continue;
    for (const GroupPlace& place : grouped->places) {
      const std::vector<GroupFacts::Figure> figures = facts.FiguresOf(*grouped, place);
      if (figures.empty() || !figures.front().of->flops_per_byte) continue;
      const double intensity = *figures.front().of->flops_per_byte;
      points.push_back({.grouped = grouped, .place = &place, .flops_per_byte = intensity});
      x_range.Add(intensity);
      y_range.Add(place.Low());
      y_range.Add(place.High());
      const RoofKey key = {.group = place.group,
                           .kind = grouped->kind,
                           .dtype = TextIn(grouped->params, "dtype"),
                           .devices = figures.front().of->devices,
                           .unit = unit};
      if (!seen.insert(key).second) continue;
      if (const std::optional<Roof> roof = RoofOf(facts, key)) {
        roofs[{roof->flops, roof->bytes}] = *roof;
        x_range.Add(roof->flops / roof->bytes);
        y_range.Add(roof->flops);
      }
    }
  }
  if (points.empty() || !(y_range.low > 0) || !(x_range.low > 0)) return "";
  const bool narrow = IsNarrow(width);
  const double height = narrow ? 360.0 : 430.0;
  Drawing drawing(width, height, "Roofline: operations a second against operations for each byte");
  const Box plot = {
      .left = kLeft, .top = 14, .right = width - (narrow ? 8.0 : 16.0), .bottom = height - 42};
  const Scale x = x_range.Log(2, plot.left, plot.right);
  const Scale y = y_range.Log(1.6, plot.bottom, plot.top);
  AxisBelow(drawing, plot, x, ShortNumber, "operations for each byte that must be moved");
  AxisLeft(
      drawing, plot, y, [&](double value) { return ShortRate(value, unit); }, "");
  for (const RoofPoint& point : points) {
    const double at_x = x(point.flops_per_byte);
    const double at_y = y(point.place->speed);
    drawing.Reserve({.left = at_x - 5, .top = at_y - 5, .right = at_x + 5, .bottom = at_y + 5});
  }
  for (const auto& [key, roof] : roofs) {
    const double ridge = roof.flops / roof.bytes;
    const double from = std::max(x.low(), y.low() / roof.bytes);
    if (from < ridge) drawing.Line(x(from), y(from * roof.bytes), x(ridge), y(roof.flops), "roof");
    drawing.Line(x(std::max(ridge, x.low())), y(roof.flops), x(x.high()), y(roof.flops), "roof");
    drawing.Label(plot.right - 4, y(roof.flops) - 9,
                  Shortened(roof.name, 11, plot.right - plot.left - 20), Anchor::kEnd, "soft", 11);
  }
  for (const RoofPoint& point : points) {
    drawing.Begin(SeriesId(point.place->group));
    drawing.Mark(x(point.flops_per_byte), y(point.place->speed), point.place->group,
                 point.place->nodes.size() < 2,
                 point.grouped->name + "; " + MarkTip(ranking, *point.grouped, *point.place));
    drawing.End();
  }
  return drawing.ToSvg(narrow ? "narrow" : "wide");
}

}  // namespace

std::string RooflineChart(const GroupFacts& facts, double width) {
  std::set<std::string> units;
  for (const GroupedCase* grouped : facts.Cases()) {
    if (grouped->unit != "B/s") units.insert(grouped->unit);
  }
  std::string svgs;
  for (const std::string& unit : units) svgs += RooflineOf(facts, unit, width);
  return svgs;
}

namespace {

// The title that stands in place of pictures that are not drawn.
std::string NotDrawn(std::size_t count, std::string_view things) {
  return fmt::format("{} more {} are not drawn: their figures are in the tables of the cases",
                     count, things);
}

// A heat map's frame: rows with names to the left, or on a narrow screen above their cells, and
// columns that have a mark or a number at their head.
struct Grid {
  double left = 0;
  double top = 0;
  double cell = 0;
  double row = 0;
  double name = 0;  // the height that a name takes above its cells
  Box At(std::size_t r, std::size_t c) const {
    const double x = left + cell * static_cast<double>(c);
    const double y = top + row * static_cast<double>(r) + name;
    return {.left = x + 1, .top = y + 1, .right = x + cell - 1, .bottom = y + row - name - 1};
  }
};

Grid GridOf(double width, std::size_t columns, double names, double most_cell) {
  const bool narrow = IsNarrow(width);
  Grid grid = {.left = narrow ? 4 : names,
               .top = 26,
               .row = narrow ? 40.0 : 24.0,
               .name = narrow ? 18.0 : 0.0};
  grid.cell = std::min(most_cell, (width - grid.left - 4) / static_cast<double>(columns));
  return grid;
}

void NameRow(Drawing& drawing, const Grid& grid, std::size_t row, const std::string& name) {
  const Box first = grid.At(row, 0);
  if (grid.name > 0) {
    drawing.Label(grid.left, first.top - 9, Shortened(name, 11, drawing.width() - 12),
                  Anchor::kStart, "", 11);
  } else {
    drawing.Label(grid.left - 8, (first.top + first.bottom) / 2,
                  Shortened(name, 12, grid.left - 14), Anchor::kEnd);
  }
}

// A text in a cell that has no tip of its own; left out where it is too wide.
void CellText(Drawing& drawing, const Box& box, const std::string& text, bool is_dark) {
  for (const double size : {11.0, 9.0}) {
    if (TextWidth(text, size) > box.right - box.left) continue;
    drawing.Label((box.left + box.right) / 2, (box.top + box.bottom) / 2, text, Anchor::kMiddle,
                  is_dark ? "on-dark" : "on-light", size);
    return;
  }
}

}  // namespace

std::string GemmChart(const GroupFacts& facts, double width) {
  const GroupRanking& ranking = facts.Ranking();
  struct Product {
    const GroupedCase* grouped = nullptr;
    std::string dtype = {};
    double size = 0;
  };
  std::vector<Product> products;
  std::set<std::size_t> groups;
  // By group, kind of devices, data type, and how many devices took part.
  std::map<std::tuple<std::size_t, std::string, std::string, std::size_t>, double> fastest;
  const auto peers_of = [&](const GroupedCase& grouped, const GroupPlace& place) {
    const std::vector<GroupFacts::Figure> figures = facts.FiguresOf(grouped, place);
    return std::tuple(place.group, grouped.kind, TextIn(grouped.params, "dtype"),
                      figures.empty() ? 0 : figures.front().of->devices);
  };
  for (const GroupedCase* grouped : facts.Cases()) {
    const auto m = IntegerIn(grouped->params, "m");
    const auto n = IntegerIn(grouped->params, "n");
    const auto k = IntegerIn(grouped->params, "k");
    if (!m || !n || !k || grouped->unit == "B/s") continue;
    products.push_back(
        {.grouped = grouped,
         .dtype = TextIn(grouped->params, "dtype"),
         .size = static_cast<double>(*m) * static_cast<double>(*n) * static_cast<double>(*k)});
    for (const GroupPlace& place : grouped->places) {
      groups.insert(place.group);
      double& most = fastest[peers_of(*grouped, place)];
      most = std::max(most, place.speed);
    }
  }
  if (products.empty()) return "";
  std::ranges::stable_sort(products, {}, [](const Product& one) {
    return std::tie(one.grouped->kind, one.dtype, one.size);
  });
  const std::size_t more_products = products.size() - std::min(products.size(), kMostRowsDrawn);
  if (products.size() > kMostRowsDrawn) products.resize(kMostRowsDrawn);
  constexpr std::size_t kMostColumns = 12;
  std::vector<std::size_t> columns(groups.begin(), groups.end());
  const std::size_t more_columns = columns.size() - std::min(columns.size(), kMostColumns);
  if (columns.size() > kMostColumns) columns.resize(kMostColumns);
  const bool narrow = IsNarrow(width);
  const Grid grid = GridOf(width, columns.size(), 400, 120);
  const bool is_cut = more_products + more_columns > 0;
  Drawing drawing(
      width, grid.top + grid.row * static_cast<double>(products.size()) + 6 + (is_cut ? kFoot : 0),
      "Products by shape");
  if (is_cut) {
    Foot(drawing,
         fmt::format("not drawn, but in the tables: {} and {}", CountText(more_products, "product"),
                     CountText(more_columns, "group")));
  }
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const Box head = grid.At(0, c);
    drawing.Begin(SeriesId(columns[c]));
    drawing.Mark((head.left + head.right) / 2, 12, columns[c], false,
                 SeriesName(ranking, columns[c]));
    drawing.End();
  }
  for (std::size_t r = 0; r < products.size(); ++r) {
    const GroupedCase& grouped = *products[r].grouped;
    NameRow(drawing, grid, r, Clean(grouped.name, 512));
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const auto place = std::ranges::find(grouped.places, columns[c], &GroupPlace::group);
      drawing.Begin(SeriesId(columns[c]));
      if (place == grouped.places.end()) {
        drawing.Rect(grid.At(r, c), "absent", "not measured");
      } else {
        const double share = place->speed / fastest[peers_of(grouped, *place)];
        drawing.Rect(grid.At(r, c), Shade(share), MarkTip(ranking, grouped, *place));
        CellText(drawing, grid.At(r, c),
                 narrow ? ShortRate(
                              std::strtod(fmt::format("{:.3g}", place->speed).c_str(), nullptr), "")
                        : ShortRate(place->speed, grouped.unit),
                 share >= 0.5);
      }
      drawing.End();
    }
  }
  return drawing.ToSvg(narrow ? "narrow" : "wide");
}

namespace {

// The line of a group in a picture of a collective.
struct CollectiveLine {
  struct Point {
    std::int64_t bytes = 0;
    double busbw = 0;
    double low = 0;                   // of the slowest rank
    double high = 0;                  // of the fastest one
    std::optional<double> most = {};  // what can come of the nodes' network
  };
  std::vector<Point> points = {};  // by size
};

std::string CollectiveChart(const GroupFacts& facts, const std::string& title,
                            const std::map<std::size_t, CollectiveLine>& lines, double width) {
  const bool narrow = IsNarrow(width);
  const double own = narrow ? kNarrowChart : kHalfChart;
  constexpr double height = 320;
  Range x_range;
  Range y_range;
  for (const auto& [group, line] : lines) {
    for (const CollectiveLine::Point& point : line.points) {
      x_range.Add(static_cast<double>(point.bytes));
      y_range.Add(point.low);
      y_range.Add(point.high);
      if (point.most) y_range.Add(*point.most);
    }
  }
  Drawing drawing(own, height, title);
  const Box plot = {.left = kLeft, .top = 14, .right = own - 16, .bottom = height - 42};
  const Scale x = x_range.Log(1.5, plot.left, plot.right);
  const Scale y = y_range.Log(1.5, plot.bottom, plot.top);
  AxisOfBytes(drawing, plot, x);
  AxisLeft(
      drawing, plot, y, [](double value) { return ShortRate(value, "B/s"); }, "");
  for (const auto& [group, line] : lines) {
    const std::string colour = SeriesColour(group);
    std::vector<std::pair<double, double>> middle;
    std::vector<std::pair<double, double>> band;
    std::vector<std::pair<double, double>> wire;
    double most = 0;  // of the largest size that has a wire's line
    for (const CollectiveLine::Point& point : line.points) {
      const double at = x(static_cast<double>(point.bytes));
      middle.emplace_back(at, y(point.busbw));
      band.emplace_back(at, y(point.high));
      if (!point.most) continue;
      wire.emplace_back(at, y(*point.most));
      most = *point.most;
    }
    for (auto point = line.points.rbegin(); point != line.points.rend(); ++point) {
      band.emplace_back(x(static_cast<double>(point->bytes)), y(point->low));
    }
    drawing.Begin(SeriesId(group));
    drawing.Area(band, colour);
    drawing.Polyline(middle, colour);
    for (std::size_t i = 0; i < middle.size(); ++i) {
      drawing.Mark(
          middle[i].first, middle[i].second, group, false,
          fmt::format("{}: {} at {}", facts.Ranking().groups[group].name,
                      WithPrefix(line.points[i].busbw, "B/s"), BinarySize(line.points[i].bytes)));
    }
    if (!wire.empty()) {
      drawing.Polyline(wire, "wire " + colour);
      const std::string words = "network " + ShortRate(most, "B/s");
      const auto [at_x, at_y] = wire.back();
      // Beside the line, and not on it.
      if (!drawing.Label(at_x, at_y - 9, words, Anchor::kEnd, "soft", 11)) {
        drawing.Label(at_x, at_y + 9, words, Anchor::kEnd, "soft", 11);
      }
    }
    drawing.End();
  }
  return drawing.ToSvg(narrow ? "narrow" : "wide half");
}

}  // namespace

std::vector<TitledChart> CollectiveCharts(const GroupFacts& facts, double width) {
  // By the case without its size.
  std::map<std::string, std::map<std::size_t, CollectiveLine>> sweeps;
  for (const GroupedCase* grouped : facts.Cases()) {
    const ProbeFacts& probe = FindProbe(grouped->probe);
    const auto bytes = IntegerIn(grouped->params, "bytes");
    const std::optional<double> factor =
        FactorOf(probe.bus_factor, IntegerIn(grouped->params, "ranks").value_or(0));
    if (!bytes || *bytes < 1 || !factor || !(*factor > 0)) continue;
    Params others = grouped->params;
    others.erase("bytes");
    const std::string title =
        fmt::format("{} {} {}", grouped->probe, grouped->kind, ToText(others));
    for (const GroupPlace& place : grouped->places) {
      const std::vector<GroupFacts::Figure> figures = facts.FiguresOf(*grouped, place);
      CollectiveLine& line = sweeps[title][place.group];
      double slowest = 0;
      double quickest = 0;
      for (const GroupFacts::Figure& figure : figures) {
        for (const float unit : figure.of->units) {
          slowest = std::min<double>(slowest, unit);
          quickest = std::max<double>(quickest, unit);
        }
      }
      // The network's line needs a limit in every run; runs of one group may differ in it, and none
      // is above the greatest.
      std::optional<double> limit;
      for (const GroupFacts::Figure& figure : figures) {
        limit = std::max(limit, figure.of->most_by_network);
      }
      if (std::ranges::any_of(figures, [](const GroupFacts::Figure& figure) {
            return !figure.of->most_by_network;
          })) {
        limit.reset();
      }
      // Where speeds are those of one accelerator, the collective's own is that of them all.
      const bool is_divided = facts.Ranking().per_gpu && grouped->kind == "gpu" && !figures.empty();
      const double whole =
          place.speed * (is_divided ? static_cast<double>(figures.front().of->devices) : 1.0);
      const double busbw = whole * *factor;
      const CollectiveLine::Point point = {.bytes = *bytes,
                                           .busbw = busbw,
                                           .low = busbw * std::exp(slowest),
                                           .high = busbw * std::exp(quickest),
                                           .most = limit};
      // What no double holds has no place on an axis.
      if (std::isfinite(point.high) && point.low > 0) line.points.push_back(point);
    }
  }
  std::vector<TitledChart> charts;
  constexpr std::size_t kMostCharts = 12;
  std::size_t more = 0;
  for (auto& [title, lines] : sweeps) {
    std::size_t most = 0;
    for (auto& [group, line] : lines) {
      std::ranges::sort(line.points, {}, &CollectiveLine::Point::bytes);
      most = std::max(most, line.points.size());
    }
    if (most < 2) continue;
    if (charts.size() == kMostCharts) {
      ++more;
      continue;
    }
    charts.push_back({.title = title, .svg = CollectiveChart(facts, title, lines, width)});
  }
  if (more > 0) charts.push_back({.title = NotDrawn(more, "collectives")});
  return charts;
}

namespace {

// What differs this much from its siblings, and by a modified z-score beyond this, is an outlier.
constexpr double kOutlierZ = 3.5;
constexpr double kOutlierShare = 0.02;
bool IsOutlier(double z, double distance) {
  return std::abs(z) > kOutlierZ && std::abs(std::expm1(distance)) >= kOutlierShare;
}

// A value beside the median of its siblings.
struct Apart {
  double distance = 0;  // in logs
  bool is_outlier = false;
};

std::vector<Apart> ApartOf(const std::vector<double>& logs) {
  constexpr std::size_t kEnough = 4;  // under four siblings nothing is an outlier
  const double median = Median(logs);
  const std::vector<double> z = ModifiedZScores(logs);
  std::vector<Apart> apart;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    const double distance = logs[i] - median;
    apart.push_back(
        {.distance = distance, .is_outlier = logs.size() >= kEnough && IsOutlier(z[i], distance)});
  }
  return apart;
}

// A row of a heat map of distances from a median.
struct HeatRow {
  std::size_t group = 0;
  std::string name = {};
  std::map<std::size_t, double> values = {};  // the distance in logs, by column
  std::set<std::size_t> outliers = {};
  double furthest = 0;
};

void Add(HeatRow& row, std::size_t column, const Apart& apart) {
  row.values[column] = apart.distance;
  row.furthest = std::max(row.furthest, std::abs(apart.distance));
  if (apart.is_outlier) row.outliers.insert(column);
}

// The rows with the furthest values, outliers first, in the order of groups.
std::vector<HeatRow> Furthest(std::map<std::pair<std::size_t, std::string>, HeatRow> rows,
                              std::size_t& left_out) {
  std::vector<HeatRow> kept;
  for (auto& [key, row] : rows) kept.push_back(std::move(row));
  std::ranges::stable_sort(kept, std::ranges::greater(), [](const HeatRow& row) {
    return std::pair(row.outliers.size(), row.furthest);
  });
  constexpr std::size_t kShown = 24;
  left_out = kept.size() > kShown ? kept.size() - kShown : 0;
  if (kept.size() > kShown) kept.resize(kShown);
  std::ranges::stable_sort(kept, {}, &HeatRow::group);
  return kept;
}

std::string HeatMap(const std::vector<HeatRow>& rows, const std::vector<std::string>& columns,
                    const std::string& about, double width, const std::string& foot) {
  if (rows.empty() || columns.empty()) return "";
  double most = kOutlierShare;
  for (const HeatRow& row : rows) most = std::max(most, std::min(0.3, row.furthest));
  const Grid grid = GridOf(width, columns.size(), 400, 110);
  Drawing drawing(
      width,
      grid.top + grid.row * static_cast<double>(rows.size()) + 6 + (foot.empty() ? 0 : kFoot),
      about);
  if (!foot.empty()) Foot(drawing, foot);
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const Box head = grid.At(0, c);
    drawing.Label((head.left + head.right) / 2, 12, columns[c], Anchor::kMiddle, "", 11);
  }
  for (std::size_t r = 0; r < rows.size(); ++r) {
    drawing.Begin(SeriesId(rows[r].group));
    NameRow(drawing, grid, r, rows[r].name);
    for (const auto& [column, value] : rows[r].values) {
      if (column >= columns.size()) continue;
      const Box box = grid.At(r, column);
      const bool is_outlier = rows[r].outliers.contains(column);
      const std::string text = fmt::format("{:+.1f}", 100 * std::expm1(value));
      drawing.Rect(box, TwoSided(value, most) + (is_outlier ? " outlier" : ""),
                   fmt::format("{}, {}: {} %{}", rows[r].name, columns[column], text,
                               is_outlier ? ", an outlier" : ""));
      CellText(drawing, box, text, IsDark(value, most));
    }
    drawing.End();
  }
  return drawing.ToSvg(IsNarrow(width) ? "narrow" : "wide");
}

// The rows of nodes, with a column for each case that is given.
std::map<std::pair<std::size_t, std::string>, HeatRow> NodeRows(
    const GroupRanking& ranking, const std::vector<const GroupedCase*>& cases) {
  std::map<std::pair<std::size_t, std::string>, HeatRow> rows;
  for (std::size_t column = 0; column < cases.size(); ++column) {
    for (const GroupPlace& place : cases[column]->places) {
      if (place.nodes.size() < 2) continue;
      std::vector<HeatRow*> of;
      std::vector<double> logs;
      for (const NodeOfGroup& node : place.nodes) {
        HeatRow& row = rows[{place.group, node.node}];
        row.group = place.group;
        row.name =
            fmt::format("{}, node {}", SeriesName(ranking, place.group), Clean(node.node, 12));
        of.push_back(&row);
        logs.push_back(node.log_speed);
      }
      const std::vector<Apart> apart = ApartOf(logs);
      for (std::size_t i = 0; i < of.size(); ++i) Add(*of[i], column, apart[i]);
    }
  }
  return rows;
}

}  // namespace

namespace {

// The speed from one GPU to another.
struct PairSpeed {
  std::pair<std::size_t, std::size_t> pair = {};
  double log = 0;
};

// The speeds of each map of pairs, by its title.
std::map<std::string, std::vector<PairSpeed>> PairMaps(const GroupFacts& facts) {
  std::map<std::string, std::vector<PairSpeed>> maps;
  for (const GroupedCase* grouped : facts.Pairs()) {
    Params others = grouped->params;
    others.erase("from");
    others.erase("to");
    for (const GroupPlace& place : grouped->places) {
      maps[fmt::format("{}: {} {}", facts.Ranking().groups[place.group].name, grouped->probe,
                       CaseLabel(grouped->probe, others))]
          .push_back({.pair = *PairOf(*grouped), .log = std::log(place.speed)});
    }
  }
  return maps;
}

std::vector<Apart> ApartOf(const std::vector<PairSpeed>& speeds) {
  std::vector<double> logs;
  for (const PairSpeed& speed : speeds) logs.push_back(speed.log);
  return ApartOf(logs);
}

}  // namespace

std::vector<TitledChart> PairCharts(const GroupFacts& facts, double width) {
  const std::map<std::string, std::vector<PairSpeed>> maps = PairMaps(facts);
  std::vector<TitledChart> charts;
  constexpr std::size_t kMostCharts = 12;
  constexpr std::size_t kMostPairs = 6000;  // of all maps together, for the size of the page
  std::size_t pairs = 0;
  std::size_t undrawn = 0;
  const bool narrow = IsNarrow(width);
  const double own = narrow ? kNarrowChart : kHalfChart;
  for (const auto& [title, speeds] : maps) {
    if (charts.size() == kMostCharts || pairs + speeds.size() > kMostPairs) {
      ++undrawn;
      continue;
    }
    pairs += speeds.size();
    std::size_t count = 0;
    for (const PairSpeed& speed : speeds) {
      count = std::max({count, speed.pair.first + 1, speed.pair.second + 1});
    }
    const std::vector<Apart> apart = ApartOf(speeds);
    double most = kOutlierShare;
    for (const Apart& one : apart) most = std::max(most, std::abs(one.distance));
    Grid grid = {.left = 34, .top = 34, .row = 0};
    grid.cell = std::min(58.0, (own - grid.left - 4) / static_cast<double>(count));
    grid.row = std::min(grid.cell, 30.0);
    Drawing drawing(own, grid.top + grid.row * static_cast<double>(count) + 6, title);
    drawing.Label(grid.left, 8, "from (rows) to (columns), GB/s", Anchor::kStart, "soft", 11);
    for (std::size_t i = 0; i < count; ++i) {
      const Box head = grid.At(0, i);
      const Box side = grid.At(i, 0);
      const std::string number = fmt::format("{}", i);
      drawing.Label((head.left + head.right) / 2, 24, number, Anchor::kMiddle, "", 11);
      drawing.Label(grid.left - 8, (side.top + side.bottom) / 2, number, Anchor::kEnd, "", 11);
    }
    for (std::size_t i = 0; i < speeds.size(); ++i) {
      const auto [from, to] = speeds[i].pair;
      const double distance = apart[i].distance;
      const double speed = std::exp(speeds[i].log);
      drawing.Rect(grid.At(from, to),
                   TwoSided(distance, most) + (apart[i].is_outlier ? " outlier" : ""),
                   fmt::format("{} to {}: {}", from, to, WithPrefix(speed, "B/s")));
      CellText(drawing, grid.At(from, to), ShortNumber(speed / 1e9), IsDark(distance, most));
    }
    charts.push_back(
        {.title = Clean(title, 512), .svg = drawing.ToSvg(narrow ? "narrow" : "wide half")});
  }
  if (undrawn > 0) charts.push_back({.title = NotDrawn(undrawn, "maps of pairs")});
  return charts;
}

std::vector<std::string> PairOutliers(const GroupFacts& facts) {
  std::vector<std::string> sentences;
  for (const auto& [title, speeds] : PairMaps(facts)) {
    const std::vector<Apart> apart = ApartOf(speeds);
    for (std::size_t i = 0; i < speeds.size(); ++i) {
      if (!apart[i].is_outlier) continue;
      sentences.push_back(fmt::format("{}, from {} to {}: {} to the median pair", Clean(title, 512),
                                      speeds[i].pair.first, speeds[i].pair.second,
                                      Percent(std::expm1(apart[i].distance), true)));
    }
  }
  return sentences;
}

std::vector<const GroupedCase*> NodeColumns(const GroupFacts& facts) {
  constexpr std::size_t kMost = 12;
  const std::vector<const GroupedCase*>& cases = facts.Cases();
  if (cases.size() <= kMost) return cases;
  std::vector<std::size_t> outliers(cases.size());
  for (const auto& [key, row] : NodeRows(facts.Ranking(), cases)) {
    for (const std::size_t column : row.outliers) ++outliers[column];
  }
  std::vector<std::size_t> order(cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](std::size_t column) { return outliers[column]; });
  order.resize(kMost);
  std::ranges::sort(order);
  std::vector<const GroupedCase*> kept;
  for (const std::size_t column : order) kept.push_back(cases[column]);
  return kept;
}

std::string NodesChart(const GroupFacts& facts, double width, std::size_t& left_out) {
  const std::vector<const GroupedCase*> cases = NodeColumns(facts);
  const std::size_t more = facts.Cases().size() - cases.size();
  std::vector<std::string> columns;
  for (std::size_t i = 0; i < cases.size(); ++i) columns.push_back(fmt::format("{}", i + 1));
  return HeatMap(
      Furthest(NodeRows(facts.Ranking(), cases), left_out), columns,
      "Nodes beside the median of their type, in per cent", width,
      more == 0 ? "" : fmt::format("{} in the tables alone", CountText(more, "more case")));
}

namespace {

// The rows of nodes, with a column for each device in the primary case.
std::map<std::pair<std::size_t, std::string>, HeatRow> DeviceRows(const GroupFacts& facts) {
  const GroupRanking& ranking = facts.Ranking();
  std::map<std::pair<std::size_t, std::string>, HeatRow> rows;
  if (ranking.cases.empty()) return rows;
  const GroupedCase& grouped = ranking.cases.front();
  for (const GroupPlace& place : grouped.places) {
    for (const GroupFacts::Figure& figure : facts.FiguresOf(grouped, place)) {
      const std::vector<float>& units = figure.of->units;
      if (units.empty()) continue;
      HeatRow& row = rows[{place.group, figure.run->node}];
      if (!row.values.empty()) continue;  // the first run of a node stands for it
      row.group = place.group;
      row.name =
          fmt::format("{}, node {}", SeriesName(ranking, place.group), Clean(figure.run->node, 12));
      const std::vector<Apart> apart = ApartOf(std::vector<double>(units.begin(), units.end()));
      for (std::size_t i = 0; i < apart.size(); ++i) Add(row, i, apart[i]);
    }
  }
  return rows;
}

}  // namespace

std::string DevicesChart(const GroupFacts& facts, double width, std::size_t& left_out) {
  constexpr std::size_t kMostColumns = 16;
  std::vector<HeatRow> rows = Furthest(DeviceRows(facts), left_out);
  std::set<std::size_t> devices;
  std::map<std::size_t, double> furthest;  // of the devices that are outliers
  for (const HeatRow& row : rows) {
    for (const auto& [device, distance] : row.values) devices.insert(device);
    for (const std::size_t device : row.outliers) {
      furthest[device] = std::max(furthest[device], std::abs(row.values.at(device)));
    }
  }
  // The devices that are outliers have columns before all others.
  std::vector<std::size_t> order(devices.begin(), devices.end());
  std::ranges::stable_sort(order, std::ranges::greater(), [&](std::size_t device) {
    const auto found = furthest.find(device);
    return found == furthest.end() ? -1.0 : found->second;
  });
  const std::size_t more = order.size() - std::min(order.size(), kMostColumns);
  if (more > 0) order.resize(kMostColumns);
  std::ranges::sort(order);
  std::vector<std::string> columns;
  for (const std::size_t device : order) columns.push_back(fmt::format("{}", device));
  for (HeatRow& row : rows) {
    HeatRow shown = {.group = row.group, .name = row.name, .furthest = row.furthest};
    for (std::size_t c = 0; c < order.size(); ++c) {
      if (row.values.contains(order[c])) shown.values[c] = row.values.at(order[c]);
      if (row.outliers.contains(order[c])) shown.outliers.insert(c);
    }
    row = std::move(shown);
  }
  return HeatMap(rows, columns, "Devices beside the median of their node, in per cent", width,
                 more == 0 ? "" : fmt::format("{} not drawn", CountText(more, "more device")));
}

std::vector<std::string> DeviceOutliers(const GroupFacts& facts) {
  std::vector<std::string> sentences;
  for (const auto& [key, row] : DeviceRows(facts)) {
    for (const std::size_t device : row.outliers) {
      sentences.push_back(fmt::format("{}, device {}: {} to the median device of its node",
                                      row.name, device,
                                      Percent(std::expm1(row.values.at(device)), true)));
    }
  }
  return sentences;
}

std::vector<std::string> NodeOutliers(const GroupFacts& facts) {
  std::vector<std::string> sentences;
  const std::vector<const GroupedCase*>& cases = facts.Cases();
  for (const auto& [key, row] : NodeRows(facts.Ranking(), cases)) {
    for (const std::size_t column : row.outliers) {
      sentences.push_back(fmt::format("{}: {} to the median of its type in {}", row.name,
                                      Percent(std::expm1(row.values.at(column)), true),
                                      Clean(cases[column]->name, 512)));
    }
  }
  return sentences;
}

}  // namespace assay
