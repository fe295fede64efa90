// The sampler decides how long to warm up, how many iterations make a batch, and when there are
// enough batches. It knows neither cases nor rounds, and believes the workload's clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "results/figures/steady.h"
#include "runner/core/probe.h"

namespace assay {

// A fixed number of iterations, for figures that must be like another tool's.
struct FixedCount {
  std::int64_t warm_up = 1;      // not timed
  std::int64_t iterations = 20;  // one batch, the only sample
};

// A load that goes on until steady state.
struct Sustain {
  Seconds least = Seconds(60);     // the least time of warm-up and samples together
  Seconds longest = Seconds(300);  // the most time, where no steady state is reached
  // Returns the trends, from `since` on, of what must be steady beside the time of an iteration,
  // such as clocks. `since` counts from the beginning of the load. May be null.
  std::function<std::vector<std::optional<Fitted>>(Seconds since)> watch = {};
};

// The options of sampling one visit.
struct SamplerOptions {
  int min_samples = 10;
  std::int64_t least_batch = 1;   // the least iterations of a batch
  Seconds min_time = {};          // the least time of all samples together, within the budget
  Seconds budget = Seconds(1e9);  // the most time of first run, warm-up and samples together
  std::optional<FixedCount> fixed = {};  // where set, nothing above applies
  std::optional<Sustain> sustain = {};   // where set, only least_batch applies
  bool in_spans = false;                 // where set, only the budget applies
  std::optional<Seconds> period = {};    // the period of what is known to pace the device
  // Whether stops between batches count, because the device is the CPU that this process runs on. A
  // scheduler prefers to take a CPU away at a switch of threads, which is between the timed spans
  // of two batches. Where the CPU is paced, by `period` or as its batches and the gaps between them
  // show, a batch counts its share of the time by which its gap exceeds the least gap, where that
  // is more than half of gap and batch together and a millisecond.
  bool counts_stops = false;
  // Asked before each batch for a reason to end now, or nothing; in spans as Spans::stop is asked.
  std::function<std::optional<std::string>()> stop = {};
  std::function<Seconds()> now = {};  // the host's clock; empty: a steady one
};

// The outcome of Sample.
struct Sampled {
  Visit visit = {};               // all fields but start_s, order and here_time_s
  std::vector<Visit> parts = {};  // one for each of Batch::parts
  std::map<std::string, Histogram> histograms = {};  // those of the timed batches alone
  Seconds spent = {};                                // how much of the budget was spent
  std::optional<std::string> stopped = {};           // where set, the samples must not be used
};

// The spans that a visit with this budget has, as Sample takes them.
Spans SpansWithin(Seconds budget);

// Warms the workload up and samples it. `first` is the batch that Run(1) gave just before. Throws
// Error for a clock that doesn't advance, and whatever the workload throws.
//
// - Warm-up goes on until two successive batches agree within 2 %, or a quarter of the budget is
//   gone.
// - All samples have one batch size. A batch lasts at least a millisecond where iterations are
//   short, and is a single iteration (or `least_batch`) where they are long. When the budget runs
//   out there are at least 3 samples, or 1 if one iteration alone takes longer than the budget.
// - A sustained workload runs without a pause, and the samples are those of the last half of the
//   time. Histograms, which can't be divided afterwards, are left out.
// - A paced workload, by `period` or as its batches show, is sampled for at least ten periods and a
//   second.
// - A workload in spans has a ramp, which is at most a quarter of the budget and a second, and then
//   as many whole spans of a second or more as the budget has room for, at least one.
Sampled Sample(Workload& workload, const Batch& first, const SamplerOptions& options);

}  // namespace assay
