// Latencies of single operations in the log-linear buckets that results/file/run.h calls
// "loglin64": 64 buckets per octave of nanoseconds, so that a bucket is at most 1/64 of its values
// wide, and exact under 128 ns.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "results/file/run.h"

namespace assay {

// The bucket of a latency. REQUIRES: ns >= 0.
std::int64_t LatencyBucket(std::int64_t ns);
// The least latency of a bucket, in nanoseconds. REQUIRES: bucket >= 0.
std::int64_t LatencyBucketFloor(std::int64_t bucket);

// The statistics of a histogram's values, each taken as the middle of its bucket.
struct LatencySummary {
  std::int64_t count = 0;
  double min_s = 0;
  double max_s = 0;
  double mean_s = 0;
  double deviation_s = 0;  // the standard deviation of the population
};
// Summarises a histogram; nothing where it is empty, of another scheme, or holds buckets or counts
// that no histogram of ours has.
std::optional<LatencySummary> SummaryOf(const Histogram& histogram);
// The percentile by nearest rank in seconds, p in [0, 1]; nothing where SummaryOf gives nothing.
std::optional<double> LatencyPercentile(const Histogram& histogram, double p);

// A histogram that latencies are added to, which allocates nothing while that is done.
class LatencyHistogram {
 public:
  LatencyHistogram();
  // Counts a latency; a negative one (of a clock that went back) counts as 0.
  void Add(std::int64_t ns) { ++counts_[static_cast<std::size_t>(LatencyBucket(ns < 0 ? 0 : ns))]; }
  // Adds the counts of another histogram.
  void Add(const LatencyHistogram& other);
  // The counts of the buckets that aren't empty, ascending.
  Histogram ToHistogram() const;

 private:
  std::vector<std::int64_t> counts_;
};

}  // namespace assay
