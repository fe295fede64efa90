#include "results/figures/steady.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace assay {
namespace {

// A value every second.
Trace Read(double from_s, double to_s, const std::function<double(double at_s)>& value) {
  Trace trace = {.of = "time_s"};
  for (double at_s = from_s; at_s <= to_s; at_s += 1) {
    trace.at_s.push_back(at_s);
    trace.values.push_back(value(at_s));
  }
  return trace;
}

TEST(Steady, ADriftIsAShareOfTheMeanAMinute) {
  const Trend trend = FitTrend(Read(30, 60, [](double at_s) { return 2 + 0.002 * at_s; }))->trend;
  EXPECT_EQ(trend.of, "time_s");
  EXPECT_NEAR(trend.per_minute, 0.12 / 2.09, 1e-4);
  EXPECT_NEAR(trend.half_width, 0, 1e-4);
}

TEST(Steady, AFewStallsAreNoDrift) {
  const auto stalling = [](double at_s) { return at_s == 59 || at_s == 57 ? 5.0 : 1.0; };
  const Trend trend = FitTrend(Read(0, 60, stalling))->trend;
  EXPECT_EQ(trend.per_minute, 0);
  EXPECT_EQ(trend.half_width, 0);
}

// The interval holds the truth in about as many as it says of 400 noisy traces without a drift, and
// with one of 2 % a minute.
TEST(Steady, TheIntervalOfADriftHoldsTheTruth) {
  std::mt19937 random(1);
  std::normal_distribution<double> noise(0, 0.01);
  for (const double per_second : {0.0, 0.02 / 60}) {
    int held = 0;
    for (int i = 0; i < 400; ++i) {
      const Trend trend = FitTrend(Read(-30, 30, [&](double at_s) {
                            return 1 + per_second * at_s + noise(random);
                          }))->trend;
      if (std::abs(trend.per_minute - 60 * per_second) <= trend.half_width) ++held;
    }
    EXPECT_GT(held, 400 * 0.92);
    EXPECT_LT(held, 400 * 0.99);
  }
}

TEST(Steady, OfADevicesTelemetryClockAndTemperatureHaveTrendsFromAMomentOn) {
  Telemetry seen = {.unit = 3};
  for (double at_s = 0; at_s <= 60; at_s += 1) {
    seen.at_s.push_back(at_s);
    seen.sm_mhz.push_back(at_s < 30 ? 2000 : 1500);
    seen.temperature_c.push_back(50 + at_s / 60);
  }
  const std::vector<std::optional<Fitted>> trends = FitTrends(seen, 30);
  ASSERT_EQ(trends.size(), 2U);
  EXPECT_EQ(trends[0]->trend.of, "sm_mhz");
  EXPECT_EQ(trends[0]->trend.unit, 3);
  EXPECT_EQ(trends[0]->trend.per_minute, 0) << "what was before does not count";
  EXPECT_EQ(trends[1]->trend.of, "temperature_c");
  EXPECT_NEAR(trends[1]->trend.per_minute, 1 / 50.75, 1e-4);
  const std::vector<std::optional<Fitted>> untold = FitTrends(seen, 58);
  ASSERT_EQ(untold.size(), 2U);
  EXPECT_FALSE(untold[0] || untold[1]) << "of too few";
  seen.temperature_c.clear();
  EXPECT_EQ(FitTrends(seen, 0).size(), 1U);
}

TEST(Steady, TooFewValuesTellNothing) {
  EXPECT_FALSE(FitTrend({}));
  EXPECT_FALSE(FitTrend(Read(1, 4, [](double) { return 1.0; })));
  EXPECT_TRUE(FitTrend(Read(1, 5, [](double) { return 1.0; })));
  EXPECT_FALSE(FitTrend({.at_s = {1, 1, 1, 1, 1}, .values = {1, 2, 3, 4, 5}})) << "at one moment";
  EXPECT_FALSE(FitTrend({.at_s = {1, 2, 3, 4, 5}, .values = {1, 2, 3}}));
  EXPECT_FALSE(FitTrend(Read(1, 40, [](double) { return 0.0; }))) << "no share of nothing";
}

using Trends = std::vector<std::optional<Fitted>>;

Fitted Of(double per_minute, double half_width, double noise = 0) {
  return {.trend = {.per_minute = per_minute, .half_width = half_width}, .noise = noise};
}

TEST(Steady, ItIsSteadyWhereEachDriftIsSurelyBelowTheLimit) {
  EXPECT_EQ(WhyEnded(Trends{Of(0.003, 0.0015), Of(-0.001, 0.003)}, 60, 300), "steady");
  EXPECT_FALSE(WhyEnded(Trends{Of(0.003, 0.0025), Of(0, 0.001)}, 60, 300)) << "not surely";
  EXPECT_FALSE(WhyEnded(Trends{Of(0, 0.001), Of(-0.006, 0.0001)}, 60, 300)) << "the other moves";
  EXPECT_FALSE(WhyEnded(Trends{Of(0, 0.001), std::nullopt}, 60, 300)) << "nobody knows";
}

TEST(Steady, WhatItsNoiseWouldHideUntilTheEndIsNotWaitedFor) {
  // Five times the time makes the interval 11 times narrower.
  EXPECT_EQ(WhyEnded(Trends{Of(0.02, 0.06, 0.06)}, 60, 300), "scattered");
  EXPECT_FALSE(WhyEnded(Trends{Of(0.02, 0.05, 0.05)}, 60, 300)) << "it may be told in time";
  EXPECT_FALSE(WhyEnded(Trends{Of(0.02, 0.06, 0.01)}, 60, 300)) << "it bends, and may come to rest";
  EXPECT_FALSE(WhyEnded(Trends{Of(0.07, 0.06, 0.06)}, 60, 300)) << "it drifts for all its noise";
  EXPECT_FALSE(WhyEnded(Trends{Of(0.02, 0.06, 0.06), Of(0.01, 0.001)}, 60, 300));
  EXPECT_EQ(WhyEnded(Trends{Of(0.02, 0.06, 0.06), Of(0.001, 0.001)}, 60, 300), "scattered");
}

TEST(Steady, WhenItsTimeIsOverItEndsAndSaysHow) {
  EXPECT_EQ(WhyEnded(Trends{Of(0.006, 0.001)}, 300, 300), "unsteady");
  EXPECT_EQ(WhyEnded(Trends{std::nullopt}, 301, 300), "unsteady");
  EXPECT_EQ(WhyEnded(Trends{Of(0.002, 0.006, 0.006)}, 300, 300), "scattered");
  EXPECT_EQ(WhyEnded(Trends{Of(0.002, 0.001)}, 300, 300), "steady");
}

TEST(Steady, OfNoiseAloneTheNoiseIsAllThereIsAndOfABendItIsLittle) {
  std::mt19937 random(3);
  std::normal_distribution<double> noise(0, 0.01);
  double ratios = 0;
  for (int i = 0; i < 100; ++i) {
    const Fitted fitted = FitTrend(Read(1, 60, [&](double) { return 1 + noise(random); })).value();
    ratios += fitted.noise / fitted.trend.half_width / 100;
  }
  EXPECT_NEAR(ratios, 1, 0.15);
  const Fitted bent =
      FitTrend(Read(1, 60, [](double at_s) { return 1 - 0.001 * std::min(at_s, 30.0); })).value();
  EXPECT_LT(bent.noise, bent.trend.half_width / 5);
}

}  // namespace
}  // namespace assay
