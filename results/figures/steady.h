// The rule by which a sustained visit ends: whether steady state has been reached. A drift is held
// against its own uncertainty, so that noise is neither taken for steady state nor waited for in
// vain.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/file/run.h"
#include "results/file/told.h"

namespace assay {

// The drift below which a device is steady: 0.5 % a minute.
inline constexpr double kSteadyPerMinute = 0.005;

// A quantity that was read over time.
struct Trace {
  std::string of = {};  // its name, as in Trend
  int unit = 0;
  std::vector<double> at_s = {};    // ascending
  std::vector<double> values = {};  // one for each of at_s
};

// Fits the trend: the least-squares slope through medians of equal spans of the trace, which single
// stalls don't move. Nothing under five values, and where their mean isn't above 0.
std::optional<Fitted> FitTrend(const Trace& trace);

// The trends of a device's clock and temperature at `from_s` and after: one entry for each of the
// two that the device told at every reading, empty where FitTrend gives nothing.
std::vector<std::optional<Fitted>> FitTrends(const Telemetry& seen, double from_s);

// The reason why a visit ends after `elapsed_s` of at most `longest_s` seconds, as in
// Sustained::ended; nothing where it goes on. It is "steady" if the interval of each trend lies
// within kSteadyPerMinute. It is "scattered" if the intervals of the other trends hold 0, and their
// noise will hide a drift of kSteadyPerMinute even at `longest_s`. It is "unsteady" where the time
// is over.
std::optional<std::string> WhyEnded(std::span<const std::optional<Fitted>> trends, double elapsed_s,
                                    double longest_s);

}  // namespace assay
