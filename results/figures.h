// Every figure that is derived from a Record: rates, of-here ratios, dollars. One definition each,
// in results/METRICS.md; scripts/recompute.py computes the same from that page alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/run.h"
#include "results/stats.h"

namespace assay {

// What a record's speed is counted in, by its work: "FLOP/s" (int8: "OP/s"), "B/s", "IOPS".
// all_reduce counts algbw in B/s; its busbw is a figure of its own.
struct Rate {
  double value = 0;  // per second, base units
  std::string unit = {};
};

// The median batch time of one iteration over all rounds, seconds; nothing where none was measured.
std::optional<double> MedianTime(const Record& record);
// T of METRICS.md: sum of timed seconds / sum of iterations, seconds per iteration.
std::optional<double> MeanTime(const Record& record);
// Work over the median time. Nothing unless the status is ok or partial.
std::optional<Rate> Speed(const Record& record);
// The same to stable storage, for writes.
std::optional<Rate> StableSpeed(const Record& record);
// all_reduce: busbw in B/s = algbw x 2 (n - 1) / n, n = the param `ranks`.
std::optional<double> BusBandwidth(const Record& record);
// One value a round: log of the median batch time of that round. The units of inference of one run.
std::vector<double> LogRoundTimes(const Record& record);
// The interval of the speed, relative: what stands behind "±1.2 % (5 rounds, this run)".
std::optional<Interval> SpeedInterval(const Record& record);
// The `of here` ratio: the mean over rounds of speed / speed of the companion in that round.
std::optional<double> OfHere(const Record& record);

// A dollar figure with the name that METRICS.md gives it.
struct Cost {
  std::string name = {};   // "usd_per_tflops_hour", …
  std::string label = {};  // "$ per TFLOP/s-h"
  double usd = 0;
};
// Dollars of a record at `usd_per_hour` for all nodes held; empty where none is defined.
std::vector<Cost> Costs(const Record& record, double usd_per_hour);

}  // namespace assay
