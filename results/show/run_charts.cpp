#include "results/show/run_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "results/base/text.h"
#include "results/figures/figures.h"
#include "results/figures/stats.h"
#include "results/show/chart.h"

namespace assay {
namespace {

// The speed of each round.
std::vector<double> RoundSpeeds(const Record& record) {
  const std::vector<double> times = LogRoundTimes(record);
  std::vector<double> speeds;
  if (times.empty()) return speeds;
  const double middle = Median(times);
  for (const double time : times) speeds.push_back(Speed(record)->value * std::exp(middle - time));
  return speeds;
}

std::string TimeText(double seconds) {
  std::string text = Duration(seconds);
  const std::size_t dot = text.find(".0 ");
  if (dot != std::string::npos) text.erase(dot, 2);
  return text;
}

}  // namespace

std::string RoundsChart(std::span<const DrawnRecord> records, double width) {
  std::vector<DrawnRecord> drawn;
  for (const DrawnRecord& one : records) {
    if (Speed(*one.record)) drawn.push_back(one);
  }
  constexpr std::size_t kMost = 120;
  const std::size_t more = drawn.size() - std::min(drawn.size(), kMost);
  drawn.resize(drawn.size() - more);
  if (drawn.empty()) return "";
  const bool narrow = IsNarrow(width);
  const double row = 18;
  double height = 12;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const bool is_first = i == 0 || drawn[i].label != drawn[i - 1].label;
    height += row + (is_first ? (narrow ? 20 : 8) : 0);
  }
  Drawing drawing(width, height + (more > 0 ? kFoot : 0), "The rounds of each case");
  if (more > 0) {
    Foot(drawing, fmt::format("not drawn, but in the table: {}", CountText(more, "more row")));
  }
  const double left = narrow ? 8 : 400;
  const double right = width - (narrow ? 100 : 130);
  double y = 4;
  for (std::size_t i = 0; i < drawn.size();) {
    std::size_t end = i;
    double most = 0;
    while (end < drawn.size() && drawn[end].label == drawn[i].label) {
      const Record& record = *drawn[end].record;
      const std::optional<Interval> interval = SpeedInterval(record);
      most = std::max(most, Speed(record)->value * (interval ? interval->high : 1));
      for (const double speed : RoundSpeeds(record)) most = std::max(most, speed);
      ++end;
    }
    y += narrow ? 20 : 8;
    const std::string label = Clean(drawn[i].label, 512);
    if (narrow) {
      drawing.Label(left, y - 6, Shortened(label, 11, width - 16), Anchor::kStart, "", 11);
    } else {
      drawing.Label(left - 12, y + row / 2, Shortened(label, 12, left - 20), Anchor::kEnd);
    }
    const Scale x = Scale::Linear(0, most * 1.02, left, right);
    for (; i < end; ++i, y += row) {
      const Record& record = *drawn[i].record;
      const double middle = y + row / 2;
      const Rate speed = *Speed(record);
      const std::string colour = SeriesColour(drawn[i].run);
      drawing.Line(left, middle, x(speed.value), middle, "grid");
      std::vector<std::pair<double, double>> rounds;
      for (const double one : RoundSpeeds(record)) rounds.emplace_back(x(one), middle);
      drawing.Dots(rounds, "small " + colour);
      if (const std::optional<Interval> interval = SpeedInterval(record)) {
        drawing.Line(x(speed.value * interval->low), middle, x(speed.value * interval->high),
                     middle, "bar " + colour);
      }
      drawing.Mark(x(speed.value), middle, drawn[i].run, false);
      drawing.Label(right + 10, middle, WithPrefix(speed.value, speed.unit), Anchor::kStart, "soft",
                    11);
    }
  }
  return drawing.ToSvg(narrow ? "narrow" : "wide");
}

std::string FitChart(const Fit& fit, std::size_t run, const std::string& about) {
  struct Point {
    double bytes = 0;
    double time = 0;
    double low = 0;
    double high = 0;
  };
  std::vector<Point> points;
  Range sizes;
  Range times;
  for (const Record* record : fit.sweep) {
    const auto bytes = static_cast<double>(record->work.bytes.value_or(0));
    const std::optional<double> time = UsualTime(*record);
    if (!time || !(*time > 0) || !(bytes > 0)) continue;
    const std::optional<Interval> interval = SpeedInterval(*record);
    points.push_back({.bytes = bytes,
                      .time = *time,
                      .low = *time / (interval ? interval->high : 1),
                      .high = *time / (interval ? std::max(1e-3, interval->low) : 1)});
    sizes.Add(bytes);
    times.Add(*time);
  }
  if (points.size() < 2) return "";
  const double most = sizes.high;
  const double beyond = 16 * most;
  sizes.Add(beyond);
  for (const double bytes : {sizes.low, beyond}) {
    if (fit.model.At(bytes) > 0) times.Add(fit.model.At(bytes));
  }
  constexpr double kHeight = 300;
  Drawing drawing(kHalfChart, kHeight, about);
  const Box plot = {.left = 78, .top = 10, .right = kHalfChart - 14, .bottom = kHeight - 42};
  const Scale x = sizes.Log(2, plot.left, plot.right);
  const Scale y = times.Log(3, plot.bottom, plot.top);
  drawing.Rect({.left = x(most) + 8, .top = plot.top, .right = plot.right, .bottom = plot.bottom},
               "band");
  drawing.Label(plot.right - 4, plot.bottom - 8, "projection", Anchor::kEnd, "soft");
  AxisOfBytes(drawing, plot, x);
  AxisLeft(drawing, plot, y, TimeText, "");
  const auto line = [&](double from, double to, std::string_view css) {
    std::vector<std::pair<double, double>> path;
    constexpr int kSteps = 64;
    for (int i = 0; i <= kSteps; ++i) {
      const double bytes = from * std::pow(to / from, static_cast<double>(i) / kSteps);
      path.emplace_back(x(bytes), y(fit.model.At(bytes)));
    }
    drawing.Polyline(path, fmt::format("{} {}", css, SeriesColour(run)));
  };
  line(points.front().bytes, most, "");
  line(most, beyond, "ahead");
  for (const Point& point : points) {
    drawing.Line(x(point.bytes), y(point.low), x(point.bytes), y(point.high),
                 "bar " + SeriesColour(run));
    drawing.Mark(x(point.bytes), y(point.time), run, false,
                 fmt::format("{}: {}", BinarySize(static_cast<std::int64_t>(point.bytes)),
                             Duration(point.time)));
  }
  return drawing.ToSvg("half");
}

}  // namespace assay
