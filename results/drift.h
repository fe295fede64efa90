// What changes while a case is repeated for long (`assay coll --duration`): the slope of the times
// of its rounds.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "results/compare.h"
#include "results/run.h"
#include "results/stats.h"

namespace assay {

// Of the straight line of least squares through the logarithms of the rounds' median times. All are
// factors of speed, with intervals of 95 % that are wider where neighbours are alike.
struct Drift {
  Interval per_minute = {};  // 0.99: after a minute it is 1 % slower
  Interval over_all = {};    // from the first round to the last
  double span_s = 0;         // between these
};

// Nothing under five rounds, which a line would fit too well.
std::optional<Drift> DriftOf(const Record& record);

// kSame: steady, since the change over the soak is within the margin of networks.
Verdict VerdictOn(const Drift& drift);

// A line that begins with `#` for each record: its drift and its verdict, and how many of the
// checked elements were wrong.
std::string DriftText(std::span<const Record> records);

}  // namespace assay
