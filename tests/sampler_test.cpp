#include "runner/core/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "results/base/error.h"
#include "results/figures/stats.h"
#include "tests/fake.h"

namespace assay {
namespace {

using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pointwise;
using ::testing::SizeIs;

using Counts = std::vector<std::pair<std::int64_t, std::int64_t>>;

// The first run and the sampler, as the engine calls them.
Sampled Take(const Script& script, FakeLog& log, SamplerOptions options) {
  options.now = log.Clock();
  FakeWorkload workload(script, log);
  const Batch first = workload.Run(1);
  return Sample(workload, first, options);
}

TEST(Sampler, TheScriptedSamplesComeBackExactly) {
  FakeLog log;
  // Run 1 is the first, run 2 agrees with it, runs 3 to 6 are the samples.
  const Sampled sampled =
      Take({.iteration_s = {0.010, 0.010, 0.011, 0.012, 0.013, 0.014}}, log, {.min_samples = 4});
  EXPECT_THAT(sampled.visit.time_s, ElementsAre(0.011, 0.012, 0.013, 0.014));
  EXPECT_EQ(sampled.visit.batch, 1);
  EXPECT_THAT(log.events, ElementsAre("prepare", "run 1", "run 1", "run 1", "run 1", "run 1",
                                      "run 1", "release"));
}

TEST(Sampler, ItWarmsUpUntilTwoSuccessiveBatchesAgree) {
  FakeLog log;
  const Sampled sampled =
      Take({.iteration_s = {0.040, 0.030, 0.020, 0.012, 0.0101, 0.0100, 0.0200}}, log,
           {.min_samples = 2});
  EXPECT_THAT(sampled.visit.time_s, ElementsAre(0.0200, 0.0200));
}

TEST(Sampler, BatchesAgreeWithinTwoPercentEitherWay) {
  const auto first_sample = [](double second_s) {
    FakeLog log;
    return Take({.iteration_s = {0.0100, second_s, 0.0300, 0.0400}}, log, {.min_samples = 1})
        .visit.time_s.at(0);
  };
  EXPECT_EQ(first_sample(0.01019), 0.0300) << "they agree, so that the next one counts";
  EXPECT_EQ(first_sample(0.00981), 0.0300);
  EXPECT_EQ(first_sample(0.01021), 0.0400) << "it goes on until two of 40 ms agree";
  EXPECT_EQ(first_sample(0.00979), 0.0400);
}

TEST(Sampler, WarmUpThatNeverSettlesEndsAtAQuarterOfTheBudget) {
  FakeLog log;
  Script restless = {.iteration_s = {}};
  for (int i = 0; i < 200; ++i) restless.iteration_s.push_back(i % 2 == 0 ? 0.010 : 0.020);
  const Sampled sampled = Take(restless, log, {.min_samples = 10, .budget = Seconds(0.8)});
  EXPECT_THAT(sampled.visit.time_s, SizeIs(10));
  // 0.8 / 4 = 0.2 s hold 13 or 14 runs of 15 ms on average; then 10 samples.
  EXPECT_EQ(log.events.size(), 1 + 14 + 10 + 1U);
}

TEST(Sampler, ShortWorkIsBatchedUntilItsClockCanTellTheTime) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {5e-6}}, log, {});
  EXPECT_EQ(sampled.visit.batch, 200);  // 200 x 5 us = 1 ms
  EXPECT_THAT(sampled.visit.time_s, SizeIs(10));
  EXPECT_THAT(sampled.visit.time_s, Each(DoubleEq(5e-6)));
}

TEST(Sampler, ASlowFirstRunDoesNotShrinkTheBatch) {
  FakeLog log;
  // Page faults and just-in-time compilation: 0.2 s once, then 5 us.
  const Sampled sampled = Take({.iteration_s = {0.2, 5e-6}}, log, {.budget = Seconds(4)});
  EXPECT_EQ(sampled.visit.batch, 200);
}

TEST(Sampler, LongWorkIsTimedOneIterationAtATime) {
  FakeLog log;
  EXPECT_EQ(Take({.iteration_s = {0.3}}, log, {}).visit.batch, 1);
}

TEST(Sampler, ABatchHasTheLeastIterationsHoweverLongTheyTake) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {0.3}}, log, {.min_samples = 2, .least_batch = 8});
  EXPECT_EQ(sampled.visit.batch, 8);
  FakeLog hurried;
  EXPECT_EQ(
      Take({.iteration_s = {0.3}}, hurried, {.least_batch = 8, .budget = Seconds(0.1)}).visit.batch,
      8);
}

TEST(Sampler, SamplesGoOnUntilTheyHaveLastedTheLeastTime) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {0.010}}, log, {.min_time = Seconds(0.5)});
  EXPECT_THAT(sampled.visit.time_s, SizeIs(50));
}

TEST(Sampler, WhenTheBudgetRunsOutThreeSamplesAreTaken) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {0.5}}, log, {.budget = Seconds(1)});
  EXPECT_THAT(sampled.visit.time_s, SizeIs(3));
}

TEST(Sampler, AnIterationLongerThanTheBudgetIsTakenOnceAfterTheFirst) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {5}}, log, {.budget = Seconds(1)});
  EXPECT_THAT(sampled.visit.time_s, ElementsAre(5));
  EXPECT_THAT(log.events, ElementsAre("prepare", "run 1", "run 1", "release"));
}

TEST(Sampler, UntimedPartsArePaidFromTheBudgetToo) {
  FakeLog log;
  // 5 us of work after 100 us of emptying the cache: a batch of 1 ms would cost the host 21 ms, and
  // ten of them more than the budget.
  const Sampled sampled =
      Take({.iteration_s = {5e-6}, .untimed_s = 100e-6}, log, {.budget = Seconds(0.1)});
  EXPECT_LE(log.now.count(), 0.15);
  EXPECT_THAT(sampled.visit.time_s, SizeIs(Ge(3U)));
  EXPECT_GT(sampled.visit.batch, 10);
}

TEST(Sampler, AFixedCountIsRunAsAskedHoweverLongItTakes) {
  FakeLog log;
  const Sampled sampled =
      Take({.iteration_s = {0.010, 0.030, 0.020}}, log,
           {.budget = Seconds(0.001), .fixed = FixedCount{.warm_up = 3, .iterations = 7}});
  EXPECT_THAT(sampled.visit.time_s, ElementsAre(0.020));
  EXPECT_EQ(sampled.visit.batch, 7);
  EXPECT_THAT(log.events, ElementsAre("prepare", "run 1", "run 3", "run 7", "release"));
  EXPECT_EQ(sampled.histograms.at("latency_s").counts, (Counts{{7, 7}}));
}

TEST(Sampler, NoWarmUpMeansNone) {
  FakeLog log;
  Take({}, log, {.fixed = FixedCount{.warm_up = 0, .iterations = 2}});
  EXPECT_THAT(log.events, ElementsAre("prepare", "run 1", "run 2", "release"));
}

TEST(Sampler, EachUnitHasItsMedianAndItsMaximum) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {0.1, 0.1, 0.1, 0.2, 0.4}, .unit_share = {0.5, 1}},
                               log, {.min_samples = 3});
  EXPECT_THAT(sampled.visit.unit_p50_s, ElementsAre(DoubleEq(0.1), DoubleEq(0.2)));
  EXPECT_THAT(sampled.visit.unit_max_s, ElementsAre(DoubleEq(0.2), DoubleEq(0.4)));
}

TEST(Sampler, HostAndStableTimesAreKeptPerIteration) {
  FakeLog log;
  const Sampled sampled =
      Take({.iteration_s = {1e-4}, .host_share = 2, .stable_share = 3}, log, {.min_samples = 2});
  EXPECT_EQ(sampled.visit.batch, 10);
  EXPECT_THAT(sampled.visit.host_time_s, Pointwise(DoubleEq(), {2e-4, 2e-4}));
  EXPECT_THAT(sampled.visit.stable_time_s, Pointwise(DoubleEq(), {3e-4, 3e-4}));
}

TEST(Sampler, WhatIsInSpansIsKeptBySpanWithItsIterations) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {0.25, 0.1}, .stable_share = 2}, log,
                               {.budget = Seconds(4), .in_spans = true});
  EXPECT_EQ(sampled.visit.batch, 1);
  EXPECT_THAT(sampled.visit.iterations, ElementsAre(5, 11, 11));
  EXPECT_THAT(sampled.visit.time_s, Pointwise(DoubleEq(), {0.25, 0.1, 0.1}));
  EXPECT_THAT(sampled.visit.stable_time_s, Pointwise(DoubleEq(), {0.5, 0.2, 0.2}));
  EXPECT_EQ(sampled.histograms.at("latency_s").counts, (Counts{{7, 27}}));
  // A ramp of a second, and spans that go on to the end of an iteration.
  EXPECT_DOUBLE_EQ(sampled.spent.count(), 1 + 1.25 + 1.1 + 1.1);
}

TEST(Sampler, SpansFillTheBudgetAndLastForASecondAtLeast) {
  const auto look = [](double budget_s) {
    const Spans spans = SpansWithin(Seconds(budget_s));
    return std::vector<double>{spans.ramp.count(), spans.length.count(),
                               static_cast<double>(spans.count)};
  };
  EXPECT_THAT(look(0.1), ElementsAre(0.25, 1, 1));
  EXPECT_THAT(look(2), ElementsAre(0.5, 1.5, 1));
  EXPECT_THAT(look(1.97), ElementsAre(DoubleEq(0.4925), 1.5, 1));
  EXPECT_THAT(look(9), ElementsAre(1, 1, 8));
  EXPECT_THAT(look(24), ElementsAre(1, 1, 23));
}

TEST(Sampler, SpansThatWereStoppedAreNotToBeUsed) {
  FakeLog log;
  const Sampled sampled =
      Take({.iteration_s = {0.25}}, log,
           {.budget = Seconds(9), .in_spans = true, .stop = [&log] {
              return log.now > Seconds(2) ? std::optional<std::string>("enough") : std::nullopt;
            }});
  EXPECT_EQ(sampled.stopped, "enough");
  EXPECT_LT(log.now, Seconds(4));
}

TEST(Sampler, WhatIsPacedIsWatchedForTenPeriodsAndASecond) {
  const auto timed_s = [](const Script& script, SamplerOptions options) {
    FakeLog log;
    const Sampled sampled = Take(script, log, std::move(options));
    double seconds = 0;
    for (const double time_s : sampled.visit.time_s) {
      seconds += time_s * static_cast<double>(sampled.visit.batch);
    }
    return seconds;
  };
  const SamplerOptions half = {.min_time = Seconds(0.5)};
  EXPECT_NEAR(timed_s({.iteration_s = {0.01}}, half), 0.5, 0.02);
  SamplerOptions quota = half;
  quota.period = Seconds(0.1);
  EXPECT_NEAR(timed_s({.iteration_s = {0.01}}, quota), 1, 0.02);
  quota.period = Seconds(0.25);
  EXPECT_NEAR(timed_s({.iteration_s = {0.01}}, quota), 2.5, 0.02);
  quota.budget = Seconds(1.5);
  EXPECT_LE(timed_s({.iteration_s = {0.01}}, quota), 1.5);
  // Nobody told of it: every fifth batch of 10 ms is stopped for 190 ms, a period of 240 ms.
  Script stopped = {.iteration_s = {}};
  for (int i = 0; i < 400; ++i) stopped.iteration_s.push_back(i % 5 == 4 ? 0.2 : 0.01);
  EXPECT_NEAR(timed_s(stopped, half), 2.4, 0.25);
}

TEST(Sampler, AWorkloadThatCountsNothingInItsTimeIsAnError) {
  class Idle : public Workload {
   public:
    Batch Run(std::int64_t) override { return {.time = Seconds(1)}; }
    Checked Verify() override { return {}; }
  };
  Idle idle;
  try {
    Sample(idle, {.time = Seconds(1)}, {.budget = Seconds(2), .in_spans = true});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("counted nothing in its time"));
  }
}

// Batches of 10 ms and a gap of 1 ms in each, but for a longer one in some of every five, or in one
// run.
class StoppedBetween : public Workload {
 public:
  StoppedBetween(FakeLog& log, Seconds longer, int of_five = 1, int only_run = 0)
      : log_(log), longer_(longer), of_five_(of_five), only_run_(only_run) {}
  Batch Run(std::int64_t) override {
    ++runs_;
    const bool stops = only_run_ > 0 ? runs_ == only_run_ : runs_ % 5 < of_five_;
    log_.now += Seconds(0.01) + (stops ? longer_ : Seconds(0.001));
    Batch batch = {.time = Seconds(0.01)};
    batch.parts = {{.time = Seconds(0.0025)}, {.time = Seconds(0.0075)}};
    return batch;
  }
  Checked Verify() override { return {}; }

 private:
  FakeLog& log_;
  Seconds longer_;
  int of_five_;
  int only_run_;
  int runs_ = 0;
};

Sampled TakeStopped(StoppedBetween workload, FakeLog& log, SamplerOptions options) {
  options.now = log.Clock();
  const Batch first = workload.Run(1);
  return Sample(workload, first, options);
}

double MeanOf(const std::vector<double>& times_s) {
  return std::accumulate(times_s.begin(), times_s.end(), 0.0) / static_cast<double>(times_s.size());
}

TEST(Sampler, WhatStopsTheProcessBetweenTwoBatchesAgainAndAgainCounts) {
  const auto take = [](double longer_s, int of_five, bool counts_stops,
                       std::optional<Seconds> period = {}) {
    FakeLog log;
    return TakeStopped({log, Seconds(longer_s), of_five}, log,
                       {.min_samples = 50, .period = period, .counts_stops = counts_stops});
  };
  // A long gap exceeds the least one by 195 ms, of which ten elevenths count to the batch.
  const double stop_s = 0.195 * 10 / 11;
  for (const int of_five : {1, 3}) {
    const Sampled stopped = take(0.196, of_five, true);
    const double mean_s = 0.01 + stop_s * of_five / 5;
    EXPECT_NEAR(MeanOf(stopped.visit.time_s), mean_s, 0.06 * mean_s) << of_five;
    ASSERT_THAT(stopped.parts, SizeIs(2));
    EXPECT_NEAR(MeanOf(stopped.parts[1].time_s), 0.75 * mean_s, 0.06 * mean_s) << of_five;
    EXPECT_THAT(take(0.196, of_five, false).visit.time_s, Each(DoubleEq(0.01)));
  }
  // Half of a batch and its gap, 5.5 ms, is the least that counts.
  const Seconds period(0.1);
  EXPECT_THAT(take(0.0064, 1, true, period).visit.time_s, Each(DoubleEq(0.01)));
  EXPECT_NEAR(MeanOf(take(0.0066, 1, true, period).visit.time_s), 0.01 + 0.0056 / 1.1 / 5, 2e-4);
}

TEST(Sampler, AStopThatComesOnceDoesNotCountUnlessAQuotaIsKnown) {
  const auto take = [](std::optional<Seconds> period) {
    FakeLog log;
    return TakeStopped({log, Seconds(0.2), 0, 30}, log,
                       {.min_samples = 50, .period = period, .counts_stops = true})
        .visit.time_s;
  };
  EXPECT_THAT(take({}), Each(DoubleEq(0.01)));
  EXPECT_GT(MeanOf(take(Seconds(0.1))), 0.011);
}

TEST(Sampler, TheLeastGapIsLookedForInTheWarmUpToo) {
  FakeLog log;
  // Run 2, the warm-up's, has a short gap; every later batch is stopped.
  class Later : public Workload {
   public:
    explicit Later(FakeLog& log) : log_(log) {}
    Batch Run(std::int64_t) override {
      log_.now += Seconds(++runs_ <= 2 ? 0.011 : 0.2);
      return {.time = Seconds(0.01)};
    }
    Checked Verify() override { return {}; }

   private:
    FakeLog& log_;
    int runs_ = 0;
  } later(log);
  const Batch first = later.Run(1);
  const Sampled sampled =
      Sample(later, first,
             {.min_samples = 5, .period = Seconds(0.2), .counts_stops = true, .now = log.Clock()});
  EXPECT_THAT(sampled.visit.time_s, Each(DoubleNear(0.01 + 0.189 / 1.1, 1e-6)));
}

TEST(Sampler, StopsBetweenBatchesAreSeenAsWhatPacesIt) {
  FakeLog log;
  const Sampled sampled =
      TakeStopped({log, Seconds(0.196)}, log, {.min_samples = 10, .counts_stops = true});
  EXPECT_NEAR(sampled.spent.count(), 2.5, 0.4) << "ten periods of 250 ms";
}

TEST(Sampler, PhasesAreKeptPerIterationBesideEachSample) {
  FakeLog log;
  const Sampled sampled =
      Take({.iteration_s = {1e-4}, .phase_share = {{"a", 0.5}, {"b", 2}}}, log, {.min_samples = 2});
  EXPECT_EQ(sampled.visit.batch, 10);
  EXPECT_THAT(sampled.visit.phase_time_s.at("a"), Pointwise(DoubleEq(), {5e-5, 5e-5}));
  EXPECT_THAT(sampled.visit.phase_time_s.at("b"), Pointwise(DoubleEq(), {2e-4, 2e-4}));
}

TEST(Sampler, HistogramsHoldTheTimedIterationsAlone) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {1e-4}}, log, {.min_samples = 3});
  EXPECT_THAT(sampled.histograms.at("latency_s").counts, ElementsAre(std::pair(7, 30)));
}

// A batch of 0.6 s, then another, until 420 s: as long as `after` (seconds of load) says.
Script Heating(double (*after)(double load_s)) {
  Script script = {.iteration_s = {}};
  for (double load_s = 0; load_s < 420; load_s += script.iteration_s.back()) {
    script.iteration_s.push_back(0.6 * after(load_s));
  }
  return script;
}

TEST(Sampler, WhatIsAtRestIsSustainedForAMinuteOfWhichTheLastHalfCounts) {
  FakeLog log;
  Script script = Heating([](double load_s) { return load_s < 29 ? 1.1 : 1.0; });
  script.unit_share = {1};
  const Sampled sampled = Take(script, log, {.budget = Seconds(1), .sustain = Sustain{}});
  ASSERT_TRUE(sampled.visit.sustained);
  const Sustained& sustained = *sampled.visit.sustained;
  EXPECT_EQ(sustained.ended, "steady");
  EXPECT_EQ(sustained.least_s, 60);
  EXPECT_NEAR(sustained.heated_s, 30, 0.7);
  EXPECT_NEAR(sustained.heated_s + sustained.counted_s, 60, 0.7);
  EXPECT_THAT(sampled.visit.time_s, Each(DoubleEq(0.6))) << "not of the first half";
  EXPECT_NEAR(static_cast<double>(sampled.visit.time_s.size()), 30 / 0.6, 2);
  EXPECT_THAT(sampled.visit.unit_max_s, ElementsAre(DoubleEq(0.6)));
  ASSERT_THAT(sustained.drift, SizeIs(1));
  EXPECT_EQ(sustained.drift[0].of, "time_s");
  EXPECT_THAT(sampled.histograms, IsEmpty());
}

TEST(Sampler, WhatHeatsUpIsSustainedUntilItIsAtRest) {
  FakeLog log;
  // A tenth slower in the end, with a time constant of 30 s: 0.5 % a minute after 111 s.
  const Sampled sampled =
      Take(Heating([](double load_s) { return 1.1 - 0.1 * std::exp(-load_s / 30); }), log,
           {.sustain = Sustain{}});
  const Sustained& sustained = *sampled.visit.sustained;
  EXPECT_EQ(sustained.ended, "steady");
  EXPECT_GT(sustained.heated_s + sustained.counted_s, 111);
  EXPECT_LT(sustained.heated_s + sustained.counted_s, 300);
  EXPECT_THAT(sampled.visit.time_s, Each(Ge(0.6 * 1.095)));
  EXPECT_GT(sustained.drift[0].per_minute, 0);
  EXPECT_LT(sustained.drift[0].per_minute + sustained.drift[0].half_width, 0.005);
}

TEST(Sampler, WhatNeverComesToRestEndsAfterItsTimeAndSaysSo) {
  FakeLog log;
  const Sampled sampled = Take(Heating([](double load_s) { return 1 + 0.02 * load_s / 60; }), log,
                               {.sustain = Sustain{}});
  const Sustained& sustained = *sampled.visit.sustained;
  EXPECT_EQ(sustained.ended, "unsteady");
  EXPECT_NEAR(sustained.heated_s + sustained.counted_s, 300, 0.7);
  EXPECT_NEAR(sustained.heated_s, 150, 0.7);
  EXPECT_NEAR(sustained.drift[0].per_minute, 0.02 / 1.075, 1e-3);
}

TEST(Sampler, NoiseThatHidesADriftEndsItToo) {
  FakeLog log;
  static std::mt19937 random(5);
  const Sampled sampled =
      Take(Heating([](double) { return std::normal_distribution<double>(1, 0.1)(random); }), log,
           {.sustain = Sustain{}});
  const Sustained& sustained = *sampled.visit.sustained;
  EXPECT_EQ(sustained.ended, "scattered");
  EXPECT_LT(sustained.heated_s + sustained.counted_s, 70);
  EXPECT_GT(sustained.drift[0].half_width, 0.005);
}

TEST(Sampler, BatchesThatNeverAgreePutNothingOff) {
  FakeLog log;
  Script restless = {.iteration_s = {}};
  for (int i = 0; i < 600; ++i) restless.iteration_s.push_back(i % 2 == 0 ? 0.6 : 0.8);
  const Sampled sampled = Take(restless, log, {.sustain = Sustain{}});
  EXPECT_LT(sampled.visit.sustained->heated_s + sampled.visit.sustained->counted_s, 62);
}

TEST(Sampler, WhatElseIsWatchedMustBeAtRestToo) {
  FakeLog log;
  // A clock that falls by 1 % a minute until 100 s, read every second.
  const auto watch = [&](Seconds since) -> std::vector<std::optional<Fitted>> {
    Trace clock = {.of = "sm_mhz"};
    for (double at_s = since.count(); at_s < log.now.count(); at_s += 1) {
      clock.at_s.push_back(at_s);
      clock.values.push_back(2000 * (1 - 0.01 * std::min(at_s, 100.0) / 60));
    }
    return {FitTrend(clock)};
  };
  const Sampled sampled =
      Take(Heating([](double) { return 1.0; }), log, {.sustain = Sustain{.watch = watch}});
  const Sustained& sustained = *sampled.visit.sustained;
  EXPECT_EQ(sustained.ended, "steady");
  EXPECT_GT(sustained.heated_s, 75);
  ASSERT_THAT(sustained.drift, SizeIs(2));
  EXPECT_EQ(sustained.drift[1].of, "sm_mhz");
  EXPECT_GT(sustained.drift[1].per_minute, -0.005);
}

TEST(Sampler, AnIterationLongerThanTheTimeIsCountedOnce) {
  FakeLog log;
  const Sampled sampled = Take({.iteration_s = {400}}, log, {.sustain = Sustain{}});
  EXPECT_THAT(sampled.visit.time_s, ElementsAre(400));
  EXPECT_EQ(sampled.visit.sustained->ended, "unsteady");
  EXPECT_THAT(sampled.visit.sustained->drift, IsEmpty());
}

TEST(Sampler, AReasonToStopEndsWhatIsSustained) {
  FakeLog log;
  const Sampled sampled = Take(Heating([](double) { return 1.0; }), log,
                               {.sustain = Sustain{}, .stop = [&]() -> std::optional<std::string> {
                                  if (log.now < Seconds(20)) return std::nullopt;
                                  return "cost";
                                }});
  EXPECT_EQ(sampled.stopped, "cost");
  EXPECT_LT(log.now, Seconds(21));
}

TEST(Sampler, AReasonToStopEndsItBetweenBatches) {
  FakeLog log;
  const Sampled sampled =
      Take({.iteration_s = {0.1}}, log, {.stop = [&]() -> std::optional<std::string> {
             if (log.events.size() < 5) return std::nullopt;
             return "interrupted";
           }});
  EXPECT_EQ(sampled.stopped, "interrupted");
  EXPECT_THAT(log.events, ElementsAre("prepare", "run 1", "run 1", "run 1", "run 1", "release"));
}

TEST(Sampler, AClockThatStandsStillOrRunsBackIsAnError) {
  for (const double time_s : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    FakeLog log;
    try {
      Take({.iteration_s = {0.1, time_s}}, log, {});
      ADD_FAILURE() << "no error for " << time_s;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("clock"));
    }
  }
}

}  // namespace
}  // namespace assay
