// The drift of a case that is repeated for long (`assay coll --duration`): the slope of the times
// of its rounds.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "results/figures/compare.h"
#include "results/figures/stats.h"
#include "results/file/run.h"

namespace assay {

// The slope of the least-squares line through the logarithms of the rounds' usual times, as factors
// of speed, with intervals of 95 % that are wider where neighbouring rounds are alike.
struct Drift {
  Interval per_minute = {};  // 0.99: after a minute it is 1 % slower
  Interval over_all = {};    // from the first round to the last
  double span_s = 0;         // the time between these two
};

// The drift of a record; nothing under five rounds with samples, which a line would fit too well.
std::optional<Drift> DriftOf(const Record& record);

// The verdict on the change over the whole soak, with the margin of networks; kSame means steady.
Verdict VerdictOn(const Drift& drift);

// Lines that begin with `#`, one for each record: its drift, its verdict, and how many of the
// checked elements were wrong.
std::string DriftText(std::span<const Record> records);

}  // namespace assay
