// The sampler decides how long to warm up, how many iterations make a batch, and when there are
// enough batches. It knows neither cases nor rounds, and believes the workload's clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "results/steady.h"
#include "runner/probe.h"

namespace assay {

// So many iterations and no others: what is asked for where figures must be like another tool's.
struct FixedCount {
  std::int64_t warm_up = 1;      // not timed
  std::int64_t iterations = 20;  // one batch, the only sample
};

// Load that goes on until what bears it is at rest.
struct Sustain {
  Seconds least = Seconds(60);     // of warm-up and samples together
  Seconds longest = Seconds(300);  // where it doesn't come to rest
  // What is to be at rest beside the time of an iteration: its trends from `since` on, which is
  // counted from the beginning of the load.
  std::function<std::vector<std::optional<Fitted>>(Seconds since)> watch = {};
};

struct SamplerOptions {
  int min_samples = 10;
  std::int64_t least_batch = 1;  // iterations
  Seconds min_time = {};         // the samples together last at least this long …
  Seconds budget = Seconds(1e9);  // … unless this runs out: first run, warm-up and samples together
  std::optional<FixedCount> fixed = {};  // then nothing above counts
  std::optional<Sustain> sustain = {};   // then neither, but for least_batch
  bool in_spans = false;                 // then only the budget counts
  std::optional<Seconds> period = {};    // of what is known to pace the device
  // The device is the CPU that this process runs on, which a scheduler takes away at a switch of
  // threads by preference: between the timed spans of two batches. Where it is paced, by `period`
  // or as its batches and the gaps between them show, a batch counts its share of the time by which
  // its gap exceeds the least one, where that is more than half of both together and a millisecond.
  bool counts_stops = false;
  // Asked before each batch: a reason to end now, or nothing.
  std::function<std::optional<std::string>()> stop = {};
  std::function<Seconds()> now = {};  // the host's clock; empty: a steady one
};

struct Sampled {
  Visit visit = {};                                  // all but start_s, order and here_time_s
  std::vector<Visit> parts = {};                     // of Batch::parts, where there are some
  std::map<std::string, Histogram> histograms = {};  // of the timed batches alone
  Seconds spent = {};                                // of the budget
  std::optional<std::string> stopped = {};           // set: the samples are not to be used
};

// The spans that a visit of so long a time has: see Sample.
Spans SpansWithin(Seconds budget);

// Warms up until two successive batches agree within 2 % or a quarter of the budget is gone; then
// takes samples of one batch size. A batch lasts at least a millisecond where iterations are short,
// and is a single iteration (or `least_batch`) where they are long. When the budget runs out there
// are at least 3 samples, or 1 if one iteration alone takes longer than the budget. What is to be
// sustained runs without a pause, and samples are what was taken in the last half of it;
// histograms, which can't be divided afterwards, are left out. What is paced, by `period` or as its
// batches show, is sampled for ten periods and a second at least. What is in spans has a ramp, a
// quarter of the budget and a second at most, and then as many whole spans of a second or more as
// the budget has room for, at least one. `first` is what Run(1) has taken just before. Throws Error
// for a clock that doesn't advance.
Sampled Sample(Workload& workload, const Batch& first, const SamplerOptions& options);

}  // namespace assay
