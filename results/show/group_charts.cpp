#include "results/show/group_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "results/base/text.h"
#include "results/catalog/billing.h"
#include "results/figures/group_prices.h"
#include "results/figures/labels.h"
#include "results/figures/probes.h"
#include "results/figures/stats.h"
#include "results/show/chart.h"
#include "results/show/group_tables.h"

namespace assay {
namespace {

// The name by which the page's script knows a way of buying.
std::string WayName(const Chosen& price) { return price.offer ? price.offer->purchase : "none"; }

// The price of what the speed is of: of a node, or where speeds are those of one accelerator, of
// that.
std::optional<double> HourOf(const GroupRanking& ranking, const GroupedCase& grouped,
                             const RunGroup& group, const Chosen& price) {
  if (ranking.per_gpu && grouped.kind == "gpu") return UsdPerGpuHour(group, price);
  return UsdPerNodeHour(price);
}

// The price of an hour of a node; nothing where it has no place on an axis.
std::optional<double> DrawnPrice(const Chosen& price) {
  const std::optional<double> usd = UsdPerNodeHour(price);
  return usd && *usd > 0 && std::isfinite(*usd) ? usd : std::nullopt;
}

// One mark of PriceChart.
struct PricedMark {
  const GroupPlace* place = nullptr;
  std::size_t way = 0;
  double usd = 0;
  double usd_low = 0;
  double usd_high = 0;
};

std::vector<PricedMark> PricedMarks(const GroupRanking& ranking, const GroupedCase& grouped) {
  std::vector<PricedMark> marks;
  for (const GroupPlace& place : grouped.places) {
    const RunGroup& group = ranking.groups[place.group];
    for (std::size_t way = 0; way < group.prices.size(); ++way) {
      const Chosen& price = group.prices[way];
      const std::optional<double> usd = HourOf(ranking, grouped, group, price);
      if (!usd || !(*usd > 0) || !std::isfinite(*usd)) continue;
      const double scale = *usd / *price.offer->usd_per_hour;
      marks.push_back({.place = &place,
                       .way = way,
                       .usd = *usd,
                       .usd_low = std::min(*usd, price.offer->usd_low.value_or(HUGE_VAL) * scale),
                       .usd_high = std::max(*usd, price.offer->usd_high.value_or(0) * scale)});
    }
  }
  return marks;
}

// The dollars of a unit of work where a speed of 1 costs 1 USD an hour; nothing where groups
// differ in it, so that no line of equal dollars is straight.
std::optional<double> CostFactor(const std::vector<PricedMark>& marks) {
  constexpr double kAlike = 1.1;
  std::vector<double> factors;
  for (const PricedMark& mark : marks) {
    const std::optional<double>& usd = mark.place->usd[mark.way];
    if (usd) factors.push_back(*usd * mark.place->speed / mark.usd);
  }
  if (factors.empty() || std::ranges::max(factors) > kAlike * std::ranges::min(factors)) {
    return std::nullopt;
  }
  return Median(factors);
}

// The label of a line, and the places that it may have, the best one first.
struct LineLabel {
  std::string text = {};
  std::vector<std::pair<double, double>> places = {};
};

// Draws the lines of equal dollars, and adds their labels to `labels`, since marks and their labels
// come first.
void DrawEqualDollars(Drawing& drawing, const Scale& x, const Scale& y, double factor,
                      std::vector<LineLabel>& labels) {
  const double low = factor * x.low() / y.high();
  const double high = factor * x.high() / y.low();
  if (!(low > 0) || !std::isfinite(high)) return;
  const Scale dollars = Scale::Log(low, high, 0, 1);
  for (const double usd : dollars.Ticks(6)) {
    if (!(usd > 0)) continue;
    const double from = std::max(x.low(), y.low() * usd / factor);
    const double to = std::min(x.high(), y.high() * usd / factor);
    if (from >= to) continue;
    drawing.Line(x(from), y(from * factor / usd), x(to), y(to * factor / usd), "iso");
    const bool leaves_above = to < x.high();
    LineLabel label = {.text = ShortNumber(usd) + " $",
                       .places = {{x(to) + (leaves_above ? 0 : -4),
                                   y(to * factor / usd) + (leaves_above ? 9 : 0)}}};
    // Both axes are logarithmic, so that the line is straight on the screen.
    constexpr int kPlaces = 16;
    for (int i = 1; i < kPlaces; ++i) {
      const double share = static_cast<double>(i) / kPlaces;
      label.places.emplace_back(
          x(to) + share * (x(from) - x(to)),
          y(to * factor / usd) + share * (y(from * factor / usd) - y(to * factor / usd)));
    }
    labels.push_back(std::move(label));
  }
}

// The sentence on marks whose labels found no room.
std::string NoRoom(std::size_t count, std::string_view mark) {
  return fmt::format("no room for the {} of {}: see the table", count == 1 ? "label" : "labels",
                     CountText(count, mark));
}

// The sentence on rows that are not drawn; "" for none.
std::string RowsNotDrawn(std::size_t all, std::size_t drawn) {
  if (all <= drawn) return "";
  return fmt::format("not drawn, but in the table: {}", CountText(all - drawn, "more group"));
}

}  // namespace

std::string SeriesId(std::size_t group) { return fmt::format("{}", group); }

std::string SeriesName(const GroupRanking& ranking, std::size_t group) {
  return Clean(ranking.groups[group].name);
}

std::string MarkTip(const GroupRanking& ranking, const GroupedCase& grouped,
                    const GroupPlace& place) {
  std::string text =
      fmt::format("{}: {}", ranking.groups[place.group].name, SpeedText(grouped, place.speed));
  if (place.interval) {
    text += fmt::format(" ({} to {}, {})", SpeedText(grouped, place.Low()),
                        SpeedText(grouped, place.High()), CountText(place.nodes.size(), "node"));
  } else {
    text += ", one node: no interval";
  }
  return text;
}

std::optional<std::int64_t> IntegerIn(const Params& params, const std::string& name) {
  const auto found = params.find(name);
  if (found == params.end()) return std::nullopt;
  const auto* const value = std::get_if<std::int64_t>(&found->second);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<std::pair<std::size_t, std::size_t>> PairOf(const GroupedCase& grouped) {
  constexpr std::int64_t kMost = 1023;
  const auto from = IntegerIn(grouped.params, "from");
  const auto to = IntegerIn(grouped.params, "to");
  if (!from || !to || *from < 0 || *to < 0 || *from > kMost || *to > kMost) return std::nullopt;
  return std::pair(static_cast<std::size_t>(*from), static_cast<std::size_t>(*to));
}

GroupFacts::GroupFacts(const GroupRanking& ranking, std::span<const RunBrief> briefs,
                       const Catalog& catalog)
    : ranking_(ranking), briefs_(briefs), catalog_(catalog) {
  for (const std::vector<GroupedCase>* const of : {&ranking.cases, &ranking.of_one_group}) {
    for (const GroupedCase& grouped : *of) {
      (PairOf(grouped) && !cases_.empty() ? pairs_ : cases_).push_back(&grouped);
    }
  }
  for (std::size_t group = 0; group < ranking.groups.size(); ++group) {
    for (const std::size_t run : ranking.groups[group].runs) {
      for (const CaseBrief& one : briefs[run].cases) {
        figures_[{one.key.probe, one.key.params, one.key.kind, group}].push_back(
            {.run = &briefs[run], .of = &one});
      }
    }
  }
}

std::vector<GroupFacts::Figure> GroupFacts::FiguresOf(const GroupedCase& grouped,
                                                      const GroupPlace& place) const {
  const auto found = figures_.find({grouped.probe, grouped.params, grouped.kind, place.group});
  if (found == figures_.end()) return {};
  std::vector<Figure> figures = found->second;
  std::erase_if(figures, [&](const Figure& figure) {
    return figure.of->backend != place.backend ||
           (grouped.method != 0 && figure.of->key.method != grouped.method);
  });
  return figures;
}

std::string PriceChart(const GroupRanking& ranking, const GroupedCase& grouped, double width) {
  const std::vector<PricedMark> marks = PricedMarks(ranking, grouped);
  if (marks.empty()) return "";
  const bool narrow = IsNarrow(width);
  const double height = (narrow ? 400.0 : 470.0) + kFoot;
  Drawing drawing(width, height, fmt::format("Speed against price: {}", grouped.name));
  const Box plot = {.left = kLeft,
                    .top = 28,
                    .right = width - (narrow ? 8.0 : 16.0),
                    .bottom = height - 42 - kFoot};
  Range usd;
  Range speed;
  for (const PricedMark& mark : marks) {
    usd.Add(mark.usd_low);
    usd.Add(mark.usd_high);
    speed.Add(mark.place->Low());
    speed.Add(mark.place->High());
  }
  const Scale x = usd.Log(1.5, plot.left, plot.right);
  const Scale y = speed.Log(1.6, plot.bottom, plot.top);
  const bool of_one = ranking.per_gpu && grouped.kind == "gpu";
  AxisBelow(drawing, plot, x, ShortNumber,
            of_one ? "USD an hour of one GPU" : "USD an hour of a node");
  AxisLeft(
      drawing, plot, y,
      [&](double value) {
        return grouped.unit.empty() ? ShortNumber(value) : ShortRate(value, grouped.unit);
      },
      "");
  std::vector<LineLabel> iso;
  if (const std::optional<double> factor = CostFactor(marks)) {
    DrawEqualDollars(drawing, x, y, *factor, iso);
    drawing.Label(plot.left, plot.top - 14,
                  Shortened("dashed: equal " + grouped.cost_label, 11, width - plot.left - 8),
                  Anchor::kStart, "soft", 11);
  }
  for (const PricedMark& mark : marks) {
    const double at_x = x(mark.usd);
    const double at_y = y(mark.place->speed);
    drawing.Reserve({.left = at_x - 6, .top = at_y - 6, .right = at_x + 6, .bottom = at_y + 6});
  }
  std::size_t unnamed = 0;
  for (const bool asked : {true, false}) {
    for (const PricedMark& mark : marks) {
      const GroupPlace& place = *mark.place;
      const RunGroup& group = ranking.groups[place.group];
      if ((mark.way < group.asked) != asked) continue;
      const Chosen& price = group.prices[mark.way];
      const std::string colour = SeriesColour(place.group);
      const double at_x = x(mark.usd);
      const double at_y = y(place.speed);
      drawing.Begin(SeriesId(place.group), WayName(price));
      if (place.interval) {
        drawing.Line(at_x, y(place.Low()), at_x, y(place.High()), "bar " + colour);
      }
      if (mark.usd_high > mark.usd_low) {
        drawing.Line(x(mark.usd_low), at_y, x(mark.usd_high), at_y, "bar " + colour);
      }
      const std::string bought = PurchaseWords(*price.offer);
      drawing.Mark(at_x, at_y, place.group, !asked,
                   fmt::format("{}; {} an hour {}", MarkTip(ranking, grouped, place), Usd(mark.usd),
                               bought));
      const std::string name = SeriesName(ranking, place.group);
      const bool has_label =
          asked ? drawing.LabelNear(at_x, at_y, Shortened(name, 12, narrow ? 150.0 : 240.0), 9)
                : drawing.LabelNear(at_x, at_y, Clean(bought), 9, "soft", 10);
      if (!has_label) ++unnamed;
      drawing.End();
    }
  }
  std::size_t unpriced = 0;
  for (const LineLabel& label : iso) {
    const bool has_label = std::ranges::any_of(label.places, [&](const auto& at) {
      return drawing.Label(at.first, at.second, label.text, Anchor::kEnd, "soft", 10);
    });
    if (!has_label) ++unpriced;
  }
  std::string foot;
  if (unnamed > 0) foot = NoRoom(unnamed, "mark");
  if (unpriced > 0) AddNote(foot, NoRoom(unpriced, "dashed line"));
  if (!foot.empty()) Foot(drawing, foot);
  return drawing.ToSvg(narrow ? "narrow" : "wide");
}

std::string LotteryChart(const GroupFacts& facts, const GroupedCase& grouped, double width) {
  const GroupRanking& ranking = facts.Ranking();
  std::vector<const GroupPlace*> places;
  Range range;
  range.Add(-0.01);
  range.Add(0.01);
  for (const GroupPlace& place : grouped.places) {
    if (places.size() == kMostRowsDrawn) break;
    places.push_back(&place);
    for (const NodeOfGroup& node : place.nodes) {
      range.Add(std::expm1(node.log_speed - place.lottery.median));
    }
  }
  if (places.empty()) return "";
  const bool narrow = IsNarrow(width);
  const double row = narrow ? 46.0 : 34.0;
  const double room = (range.high - range.low) * 0.06;
  const auto rounds_of = [&](const GroupPlace& place) {
    std::vector<double> rounds;
    if (ranking.per_gpu || place.nodes.size() > kNodesWithRounds) return rounds;
    for (const GroupFacts::Figure& figure : facts.FiguresOf(grouped, place)) {
      for (const float speed : figure.of->rounds) {
        rounds.push_back(std::expm1(speed - place.lottery.median));
      }
    }
    return rounds;
  };
  std::size_t beyond = 0;
  for (const GroupPlace* const place : places) {
    for (const double at : rounds_of(*place)) {
      if (!(at >= range.low - room && at <= range.high + room)) ++beyond;
    }
  }
  std::string cut = RowsNotDrawn(grouped.places.size(), places.size());
  if (beyond > 0)
    AddNote(cut, fmt::format("not drawn: {} beyond the axis", CountText(beyond, "round")));
  const double foot = cut.empty() ? 0 : kFoot;
  const double height = 12 + row * static_cast<double>(places.size()) + 40 + foot;
  Drawing drawing(width, height,
                  fmt::format("The nodes of each type around their median: {}", grouped.name));
  const Box plot = {.left = narrow ? 10.0 : 290.0,
                    .top = 8,
                    .right = width - (narrow ? 10.0 : 150.0),
                    .bottom = height - 40 - foot};
  if (!cut.empty()) Foot(drawing, cut);
  const Scale x = Scale::Linear(range.low - room, range.high + room, plot.left, plot.right);
  AxisBelow(
      drawing, plot, x, [](double value) { return fmt::format("{:+.3g} %", 100 * value); },
      "distance from the type's median node");
  drawing.Line(x(0), plot.top, x(0), plot.bottom, "zero");
  for (std::size_t i = 0; i < places.size(); ++i) {
    const GroupPlace& place = *places[i];
    const double top = plot.top + row * static_cast<double>(i);
    const double y = top + (narrow ? 32 : row / 2);
    const std::string colour = SeriesColour(place.group);
    const std::string name = SeriesName(ranking, place.group);
    const std::string median = SpeedText(grouped, std::exp(place.lottery.median));
    drawing.Begin(SeriesId(place.group));
    if (narrow) {
      drawing.Label(plot.left, top + 11,
                    Shortened(name, 12, plot.right - plot.left - TextWidth(median, 12) - 12));
      drawing.Label(plot.right, top + 11, median, Anchor::kEnd, "soft");
    } else {
      drawing.Label(plot.left - 12, y, Shortened(name, 12, plot.left - 20), Anchor::kEnd);
      drawing.Label(plot.right + 12, y, median, Anchor::kStart, "soft");
    }
    // The next node is here, at least so often.
    const double bound = std::expm1(place.lottery.bound - place.lottery.median);
    drawing.Rect(
        {.left = x(bound), .top = y - 9, .right = plot.right, .bottom = y + 9}, "sure",
        fmt::format("95 % sure: at least {} of the nodes are here", Percent(place.lottery.share)));
    std::vector<std::pair<double, double>> rounds;
    std::vector<std::pair<double, double>> dots;
    const bool few = place.nodes.size() <= kNodesWithRounds;
    for (const double at : rounds_of(place)) {
      if (x.Holds(at)) rounds.emplace_back(x(at), y + 6);
    }
    for (std::size_t n = 0; n < place.nodes.size(); ++n) {
      const double at = std::expm1(place.nodes[n].log_speed - place.lottery.median);
      dots.emplace_back(x(at), y + (few ? 0 : 3.5 * (static_cast<double>(2 * n % 5) - 2)));
    }
    if (!rounds.empty()) drawing.Dots(rounds, "round " + colour);
    drawing.Line(x(bound), y - 9, x(bound), y + 9, "bound");
    drawing.Dots(dots, (few ? "node " : "small ") + colour);
    drawing.End();
  }
  return drawing.ToSvg(narrow ? "narrow" : "wide");
}

std::string CasesChart(const GroupRanking& ranking, std::span<const GroupedCase* const> cases,
                       double width) {
  std::map<std::string, std::vector<const GroupedCase*>> by_unit;
  for (const GroupedCase* grouped : cases) {
    if (!grouped->unit.empty() && !grouped->places.empty())
      by_unit[grouped->unit].push_back(grouped);
  }
  std::string svgs;
  const bool narrow = IsNarrow(width);
  for (auto& [unit, of_unit] : by_unit) {
    if (of_unit.size() > kMostRowsDrawn) of_unit.resize(kMostRowsDrawn);
    const double row = narrow ? 40.0 : 28.0;
    const double height = 10 + row * static_cast<double>(of_unit.size()) + 30;
    Drawing drawing(width, height, fmt::format("Figures in {}", unit));
    const Box plot = {.left = narrow ? 10.0 : 400.0,
                      .top = 8,
                      .right = width - (narrow ? 14.0 : 30.0),
                      .bottom = height - 30};
    Range range;
    for (const GroupedCase* grouped : of_unit) {
      for (const GroupPlace& place : grouped->places) {
        range.Add(place.Low());
        range.Add(place.High());
      }
    }
    if (range.IsEmpty() || !(range.low > 0)) continue;
    const Scale x = range.Log(1.15, plot.left, plot.right);
    AxisBelow(
        drawing, plot, x, [&, u = unit](double value) { return ShortRate(value, u); }, "");
    for (std::size_t i = 0; i < of_unit.size(); ++i) {
      const double top = plot.top + row * static_cast<double>(i);
      const double y = top + (narrow ? 28 : row / 2);
      const std::string name = Clean(of_unit[i]->name, 512);
      if (narrow) {
        drawing.Label(plot.left, top + 9, Shortened(name, 11, plot.right - plot.left),
                      Anchor::kStart, "", 11);
      } else {
        drawing.Label(plot.left - 12, y, Shortened(name, 12, plot.left - 20), Anchor::kEnd);
      }
      drawing.Line(plot.left, y, plot.right, y, "grid");
      for (const GroupPlace& place : of_unit[i]->places) {
        drawing.Begin(SeriesId(place.group));
        if (place.interval) {
          drawing.Line(x(place.Low()), y, x(place.High()), y, "bar " + SeriesColour(place.group));
        }
        drawing.Mark(x(place.speed), y, place.group, place.nodes.size() < 2,
                     MarkTip(ranking, *of_unit[i], place));
        drawing.End();
      }
    }
    svgs += drawing.ToSvg(narrow ? "narrow" : "wide");
  }
  return svgs;
}

std::string LadderChart(const GroupRanking& ranking, double width) {
  std::vector<std::size_t> groups;
  Range range;
  for (std::size_t group = 0; group < ranking.groups.size(); ++group) {
    bool has_price = false;
    for (const Chosen& price : ranking.groups[group].prices) {
      const std::optional<double> usd = DrawnPrice(price);
      if (!usd) continue;
      has_price = true;
      range.Add(*usd);
      range.Add(price.offer->usd_low.value_or(*usd));
      range.Add(price.offer->usd_high.value_or(*usd));
    }
    if (has_price) groups.push_back(group);
  }
  if (groups.empty() || !(range.low > 0)) return "";
  const std::size_t priced = groups.size();
  if (priced > kMostRowsDrawn) groups.resize(kMostRowsDrawn);
  const bool narrow = IsNarrow(width);
  const double row = narrow ? 74.0 : 58.0;
  const double height = 10 + row * static_cast<double>(groups.size()) + 42 + kFoot;
  Drawing drawing(width, height, "The price of an hour of a node, by way of buying");
  const Box plot = {.left = narrow ? 10.0 : 290.0,
                    .top = 8,
                    .right = width - (narrow ? 14.0 : 30.0),
                    .bottom = height - 42 - kFoot};
  const Scale x = range.Log(1.4, plot.left, plot.right);
  AxisBelow(drawing, plot, x, ShortNumber, "USD an hour of a node");
  std::size_t unnamed = 0;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const RunGroup& group = ranking.groups[groups[i]];
    const double top = plot.top + row * static_cast<double>(i);
    const double y = top + (narrow ? 46 : row / 2);
    const std::string colour = SeriesColour(groups[i]);
    drawing.Begin(SeriesId(groups[i]));
    if (narrow) {
      drawing.Label(plot.left, top + 10, Shortened(Clean(group.name), 12, plot.right - plot.left));
    } else {
      drawing.Label(plot.left - 12, y, Shortened(Clean(group.name), 12, plot.left - 20),
                    Anchor::kEnd);
    }
    drawing.Line(plot.left, y, plot.right, y, "grid");
    drawing.End();
    for (const Chosen& price : group.prices) {
      if (const std::optional<double> usd = DrawnPrice(price)) {
        drawing.Reserve({.left = x(*usd) - 5, .top = y - 5, .right = x(*usd) + 5, .bottom = y + 5});
      }
    }
    for (std::size_t way = 0; way < group.prices.size(); ++way) {
      const Chosen& price = group.prices[way];
      const std::optional<double> usd = DrawnPrice(price);
      if (!usd) continue;
      drawing.Begin(SeriesId(groups[i]), WayName(price));
      const double low = price.offer->usd_low.value_or(*usd);
      const double high = price.offer->usd_high.value_or(*usd);
      if (high > low) drawing.Line(x(low), y, x(high), y, "bar " + colour);
      const std::string words =
          fmt::format("{} {}", Clean(PurchaseWords(*price.offer)), ShortNumber(*usd));
      drawing.Mark(x(*usd), y, groups[i], way >= group.asked, words + " USD an hour");
      // Above and below in turn, so that neighbours have room.
      const double above = y - 15;
      const double below = y + 15;
      bool has_label = false;
      for (const double at : {above, below, above - 12, below + 12}) {
        has_label = drawing.Label(x(*usd), at, words, Anchor::kMiddle, "soft", 10) ||
                    drawing.Label(x(*usd) - 4, at, words, Anchor::kStart, "soft", 10) ||
                    drawing.Label(x(*usd) + 4, at, words, Anchor::kEnd, "soft", 10);
        if (has_label) break;
      }
      if (!has_label) ++unnamed;
      drawing.End();
    }
  }
  std::string foot = RowsNotDrawn(priced, groups.size());
  if (unnamed > 0) AddNote(foot, NoRoom(unnamed, "price"));
  if (!foot.empty()) Foot(drawing, foot);
  return drawing.ToSvg(narrow ? "narrow" : "wide");
}

std::vector<TitledChart> BreakEvenCharts(const GroupRanking& ranking, double width) {
  std::vector<TitledChart> charts;
  constexpr std::size_t kMostCharts = 12;
  const bool narrow = IsNarrow(width);
  for (std::size_t g = 0; g < ranking.groups.size() && charts.size() < kMostCharts; ++g) {
    const RunGroup& group = ranking.groups[g];
    std::vector<std::pair<const Offer*, double>> ways;
    bool is_reserved = false;
    double most = 0;
    for (const Chosen& price : group.prices) {
      const std::optional<double> usd = DrawnPrice(price);
      if (!usd) continue;
      ways.emplace_back(&*price.offer, *usd);
      is_reserved = is_reserved || price.offer->term_months.has_value();
      most = std::max(most, *usd * kHoursAMonth);
    }
    if (!is_reserved || ways.size() < 2) continue;
    const double own = narrow ? kNarrowChart : kHalfChart;
    const double height = 250;
    Drawing drawing(own, height, fmt::format("Dollars a month against hours used: {}", group.name));
    const Box plot = {.left = 70, .top = 12, .right = own - 14, .bottom = height - 42};
    const Scale x = Scale::Linear(0, kHoursAMonth, plot.left, plot.right);
    const Scale y = Scale::Linear(0, most * 1.08, plot.bottom, plot.top);
    AxisBelow(drawing, plot, x, ShortNumber, "hours used a month (of 730)");
    AxisLeft(
        drawing, plot, y, [](double value) { return value == 0 ? "0 $" : ShortRate(value, "$"); },
        "");
    for (const auto& [offer, usd] : ways) {
      const double flat = y(usd * kHoursAMonth);
      if (!offer->term_months) continue;
      drawing.Reserve(
          {.left = plot.left, .top = flat - 2, .right = plot.right, .bottom = flat + 2});
    }
    for (const auto& [committed, usd] : ways) {
      if (!committed->term_months) continue;
      for (const auto& [other, by_hour] : ways) {
        if (other->term_months) continue;
        const std::optional<double> hours = BreakEvenHours(usd, by_hour);
        if (!hours) continue;
        drawing.Line(x(*hours), y(usd * kHoursAMonth), x(*hours), plot.bottom, "iso");
        drawing.LabelNear(x(*hours), y(usd * kHoursAMonth), fmt::format("{:.0f} h", *hours), 8, "",
                          11);
      }
    }
    for (const auto& [offer, usd] : ways) {
      const bool committed = offer->term_months.has_value();
      const double end = usd * kHoursAMonth;
      drawing.Line(x(0), committed ? y(end) : y(0), x(kHoursAMonth), y(end),
                   committed ? "flat" : "slope");
      const std::string words = Clean(PurchaseWords(*offer));
      // Along the line, where there is room.
      for (const double share : {0.97, 0.8, 0.6, 0.4, 0.25}) {
        const double at = committed ? y(end) : y(end * share);
        if (drawing.Label(x(kHoursAMonth * share), at - 9, words, Anchor::kEnd, "soft", 10) ||
            drawing.Label(x(kHoursAMonth * share), at + 9, words, Anchor::kEnd, "soft", 10)) {
          break;
        }
      }
    }
    charts.push_back(
        {.title = Clean(group.name), .svg = drawing.ToSvg(narrow ? "narrow" : "wide half")});
  }
  return charts;
}

}  // namespace assay
