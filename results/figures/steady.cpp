#include "results/figures/steady.h"

#include <algorithm>
#include <cmath>

#include "results/figures/stats.h"

namespace assay {
namespace {

constexpr std::size_t kSpans = 15;
constexpr std::size_t kFewestValues = 5;

// The trace condensed to medians of equal spans of time.
Trace Condensed(const Trace& trace) {
  const double begin = trace.at_s.front();
  const double span = (trace.at_s.back() - begin) / kSpans;
  Trace condensed;
  for (std::size_t from = 0; from < trace.at_s.size();) {
    // The last value ends the last span; it would be alone in another one.
    const auto index = [&](std::size_t i) {
      return std::min(std::floor((trace.at_s[i] - begin) / span), double{kSpans - 1});
    };
    std::size_t to = from + 1;
    while (to < trace.at_s.size() && index(to) == index(from)) ++to;
    const auto part = [&](const std::vector<double>& all) {
      return std::span(all).subspan(from, to - from);
    };
    condensed.at_s.push_back(Mean(part(trace.at_s)));
    condensed.values.push_back(Median(part(trace.values)));
    from = to;
  }
  return condensed;
}

// Half the width of the slope's interval, by how much neighbours differ (von Neumann, 1941).
double NoiseOf(const Trace& trace) {
  const double mean = Mean(trace.at_s);
  double span = 0;
  double differences = 0;
  for (std::size_t i = 0; i < trace.at_s.size(); ++i) {
    span += (trace.at_s[i] - mean) * (trace.at_s[i] - mean);
    if (i == 0) continue;
    const double difference = trace.values[i] - trace.values[i - 1];
    differences += difference * difference;
  }
  const auto count = static_cast<double>(trace.at_s.size());
  const double variance = differences / (2 * (count - 1));
  return StudentT(0.95, count - 2) * std::sqrt(variance / span);
}

}  // namespace

std::optional<Fitted> FitTrend(const Trace& trace) {
  const std::size_t count = trace.at_s.size();
  if (count < kFewestValues || count != trace.values.size() ||
      !(trace.at_s.back() > trace.at_s.front())) {
    return std::nullopt;
  }
  const Trace condensed = count > 2 * kSpans ? Condensed(trace) : trace;
  const double mean = Mean(condensed.values);
  if (condensed.at_s.size() < kFewestValues || !(mean > 0)) return std::nullopt;
  const Slope slope = SlopeOf(condensed.at_s, condensed.values);
  const double to_share = 60 / mean;
  return Fitted{.trend = {.of = trace.of,
                          .unit = trace.unit,
                          .per_minute = slope.value * to_share,
                          .half_width = slope.half_width * to_share},
                .noise = NoiseOf(condensed) * to_share};
}

std::vector<std::optional<Fitted>> FitTrends(const Telemetry& seen, double from_s) {
  const auto skipped =
      std::lower_bound(seen.at_s.begin(), seen.at_s.end(), from_s) - seen.at_s.begin();
  std::vector<std::optional<Fitted>> trends;
  const auto add = [&](const char* of, const std::vector<double>& values) {
    if (values.size() != seen.at_s.size()) return;
    trends.push_back(FitTrend({.of = of,
                               .unit = seen.unit,
                               .at_s = {seen.at_s.begin() + skipped, seen.at_s.end()},
                               .values = {values.begin() + skipped, values.end()}}));
  };
  add("sm_mhz", seen.sm_mhz);
  add("temperature_c", seen.temperature_c);
  return trends;
}

std::optional<std::string> WhyEnded(std::span<const std::optional<Fitted>> trends, double elapsed_s,
                                    double longest_s) {
  // The noise shrinks with time, since values grow both in number and in span.
  const double shrinks = std::pow(std::min(1.0, elapsed_s / longest_s), 1.5);
  bool is_hidden = false;
  for (const std::optional<Fitted>& fitted : trends) {
    const double drift = fitted ? std::abs(fitted->trend.per_minute) : 0;
    if (fitted && drift + fitted->trend.half_width < kSteadyPerMinute) continue;
    is_hidden =
        fitted && drift <= fitted->trend.half_width && fitted->noise * shrinks > kSteadyPerMinute;
    if (!is_hidden) return elapsed_s < longest_s ? std::nullopt : std::optional("unsteady");
  }
  return is_hidden ? "scattered" : "steady";
}

}  // namespace assay
