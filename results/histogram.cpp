#include "results/histogram.h"

#include <bit>
#include <limits>

namespace assay {

std::int64_t LatencyBucket(std::int64_t ns) {
  if (ns < 64) return ns;
  const int octave = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(ns))) - 1;
  return 64 * (octave - 5) + (ns >> (octave - 6)) - 64;
}

std::int64_t LatencyBucketFloor(std::int64_t bucket) {
  if (bucket < 64) return bucket;
  const std::int64_t octave = bucket / 64 + 5;
  return (64 + bucket % 64) << (octave - 6);
}

LatencyHistogram::LatencyHistogram()
    : counts_(static_cast<std::size_t>(LatencyBucket(std::numeric_limits<std::int64_t>::max())) +
              1) {}

void LatencyHistogram::Add(const LatencyHistogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

Histogram LatencyHistogram::ToHistogram() const {
  Histogram histogram;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] > 0) histogram.counts.emplace_back(static_cast<std::int64_t>(i), counts_[i]);
  }
  return histogram;
}

}  // namespace assay
