#include "runner/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "results/error.h"
#include "tests/fake.h"

namespace assay {
namespace {

using ::testing::DoubleEq;
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
