#include "results/figures/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace assay {

namespace {

// The highest bucket, since results/file/run.h keeps nanoseconds in 63 bits.
constexpr std::int64_t kMostBucket = 64 * (62 - 5) + 127 - 64;

// Whether it is a histogram of ours. Files come from outside, so that counts which don't fit into a
// sum, and buckets that don't exist or don't ascend, are refused.
bool IsOurs(const Histogram& histogram) {
  if (histogram.scheme != "loglin64" || histogram.counts.empty()) return false;
  std::int64_t last = -1;
  std::int64_t left = std::numeric_limits<std::int64_t>::max();
  for (const auto& [bucket, count] : histogram.counts) {
    if (bucket <= last || bucket > kMostBucket || count <= 0 || count > left) return false;
    last = bucket;
    left -= count;
  }
  return true;
}

double MiddleSeconds(std::int64_t bucket) {
  const auto low = static_cast<double>(LatencyBucketFloor(bucket));
  const double width = bucket < 128 ? 1 : static_cast<double>(std::int64_t{1} << (bucket / 64 - 1));
  return (low + (width - 1) / 2) * 1e-9;
}

}  // namespace

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

std::optional<LatencySummary> SummaryOf(const Histogram& histogram) {
  LatencySummary summary;
  double sum = 0;
  double squares = 0;
  if (!IsOurs(histogram)) return std::nullopt;
  for (const auto& [bucket, count] : histogram.counts) {
    const double seconds = MiddleSeconds(bucket);
    const auto times = static_cast<double>(count);
    if (summary.count == 0) summary.min_s = seconds;
    summary.max_s = seconds;
    summary.count += count;
    sum += times * seconds;
    squares += times * seconds * seconds;
  }
  const auto count = static_cast<double>(summary.count);
  summary.mean_s = sum / count;
  summary.deviation_s = std::sqrt(std::max(0.0, squares / count - summary.mean_s * summary.mean_s));
  return summary;
}

std::optional<double> LatencyPercentile(const Histogram& histogram, double p) {
  if (!IsOurs(histogram)) return std::nullopt;
  std::int64_t total = 0;
  for (const auto& [bucket, count] : histogram.counts) total += count;
  const auto rank =
      std::max<std::int64_t>(1, std::llround(std::ceil(p * static_cast<double>(total))));
  std::int64_t seen = 0;
  for (const auto& [bucket, count] : histogram.counts) {
    seen += count;
    if (seen >= rank) return MiddleSeconds(bucket);
  }
  return MiddleSeconds(histogram.counts.back().first);
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
