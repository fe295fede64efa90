// Whether what is under load has come to rest: the rule by which a sustained visit ends. A drift is
// held against its own uncertainty, so that noise is neither taken for rest nor waited for in vain.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/run.h"

namespace assay {

// Below this a drift is none: 0.5 % a minute.
inline constexpr double kSteadyPerMinute = 0.005;

// Something that was read over time.
struct Trace {
  std::string of = {};  // as Trend has it
  int unit = 0;
  std::vector<double> at_s = {};
  std::vector<double> values = {};
};

// A trend, and the half width that its interval would have if all that is off the line were noise
// from one value to the next. What bends slowly has a wider one, and only noise is hopeless.
struct Fitted {
  Trend trend = {};
  double noise = 0;
};

// The least-squares slope through medians of equal spans of the trace, of which single stalls move
// none. Nothing where there are too few values to tell a line from.
std::optional<Fitted> TrendOf(const Trace& trace);

// Those of the clock and of the temperature that a device told of at `from_s` and after; of what it
// didn't tell at all its moments, none.
std::vector<std::optional<Fitted>> TrendsOf(const Telemetry& seen, double from_s);

// Why a visit ends after `elapsed` of at most `longest` seconds, as Sustained::ended; nothing where
// it goes on. It is "steady" if the interval of each trend lies within kSteadyPerMinute. It is
// "scattered" if the others' intervals hold 0, and their noise will hide as much even at `longest`.
std::optional<std::string> WhyEnded(std::span<const std::optional<Fitted>> trends, double elapsed_s,
                                    double longest_s);

}  // namespace assay
