#include "results/figures/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace assay {
namespace {

TEST(Histogram, PercentilesAreNearestRankWithinABucket) {
  LatencyHistogram latencies;
  for (int i = 1; i <= 100; ++i) latencies.Add(i * 10'000);
  const Histogram histogram = latencies.ToHistogram();
  EXPECT_NEAR(LatencyPercentile(histogram, 0.5).value(), 500e-6, 500e-6 / 128);
  EXPECT_NEAR(LatencyPercentile(histogram, 0.99).value(), 990e-6, 990e-6 / 128);
  EXPECT_NEAR(LatencyPercentile(histogram, 1).value(), 1000e-6, 1000e-6 / 128);
  EXPECT_NEAR(LatencyPercentile(histogram, 0).value(), 10e-6, 10e-6 / 128);
}

TEST(Histogram, UnderOneHundredAndTwentyEightNanosecondsItIsExact) {
  LatencyHistogram latencies;
  for (const int ns : {5, 100, 127}) latencies.Add(ns);
  const Histogram histogram = latencies.ToHistogram();
  EXPECT_DOUBLE_EQ(LatencyPercentile(histogram, 0.5).value(), 100e-9);
  const LatencySummary summary = SummaryOf(histogram).value();
  EXPECT_EQ(summary.count, 3);
  EXPECT_DOUBLE_EQ(summary.min_s, 5e-9);
  EXPECT_DOUBLE_EQ(summary.max_s, 127e-9);
  EXPECT_NEAR(summary.mean_s, 232e-9 / 3, 1e-18);
  EXPECT_NEAR(summary.deviation_s, std::sqrt((25 + 10000 + 16129) / 3.0 - 232 * 232 / 9.0) * 1e-9,
              1e-15);
}

TEST(Histogram, WhatNoHistogramHoldsIsNotSummarised) {
  EXPECT_FALSE(SummaryOf({}).has_value());
  EXPECT_FALSE(LatencyPercentile({.scheme = "log10", .counts = {{1, 1}}}, 0.5).has_value());
  EXPECT_FALSE(LatencyPercentile({.counts = {{-1, 1}}}, 0.5).has_value());
  EXPECT_FALSE(SummaryOf({.counts = {{1, 0}}}).has_value());
  EXPECT_FALSE(SummaryOf({.counts = {{std::numeric_limits<std::int64_t>::max(), 1}}}).has_value());
  EXPECT_FALSE(SummaryOf({.counts = {{2, 1}, {1, 1}}}).has_value());
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_FALSE(SummaryOf({.counts = {{1, kMost}, {2, 1}}}).has_value());
  LatencyHistogram longest;
  longest.Add(std::numeric_limits<std::int64_t>::max());
  EXPECT_GT(SummaryOf(longest.ToHistogram())->max_s, 9e9);
}

}  // namespace
}  // namespace assay
