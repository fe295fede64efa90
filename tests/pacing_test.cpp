#include "results/figures/pacing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "results/figures/figures.h"
#include "tests/sample_run.h"

namespace assay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A visit of spans of a second at these rates.
Visit SpansOf(const std::vector<double>& rates) {
  Visit visit = {.batch = 1};
  for (const double rate : rates) {
    visit.iterations.push_back(static_cast<std::int64_t>(std::llround(rate)));
    visit.time_s.push_back(1 / rate);
  }
  return visit;
}

std::vector<double> Times(std::size_t count, double value) {
  return std::vector<double>(count, value);
}

std::vector<double> Joined(std::vector<double> first, const std::vector<double>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Record Storage(std::vector<Visit> rounds) {
  return {.probe = "storage",
          .method = 3,
          .params = {{"pattern", std::string("randread")}, {"block_bytes", std::int64_t{4096}}},
          .backend = "io_uring",
          .work = {.bytes = 4096, .ops = 1},
          .rounds = std::move(rounds)};
}

// Batches of one iteration that take so long.
Record Compute(const std::vector<std::vector<double>>& rounds) {
  Record record = {.probe = "gemm", .backend = "onednn", .work = {.flops = 1'000'000'000}};
  for (const std::vector<double>& times : rounds) {
    record.rounds.push_back({.batch = 1, .time_s = times});
  }
  return record;
}

TEST(Pacing, WhatIsInSpansIsCountedOverTimeWhateverTheSpansHold) {
  // One of three seconds had no credit: 1000 + 1000 + 100 in 3 s, where the median says 1000.
  const Record record = Storage({SpansOf({1000, 1000, 100})});
  EXPECT_NEAR(Speed(record)->value, 700, 1e-9);
  EXPECT_NEAR(*MeanTime(record), 1 / 700.0, 1e-12);
  EXPECT_EQ(MeanToMedian(record), std::nullopt);
}

TEST(Pacing, ABucketThatEmptiesGivesBothLevelsAndTheLowerIsTheFigure) {
  // 12 s at 78 k and 28 s at 3 k, over five rounds of 8 s.
  std::vector<Visit> rounds;
  for (int round = 0; round < 5; ++round) {
    std::vector<double> rates;
    for (int i = 0; i < 8; ++i) rates.push_back(8 * round + i < 12 ? 78'000 + i : 3000 + i);
    rounds.push_back(SpansOf(rates));
  }
  const Record record = Storage(rounds);
  const Pacing pacing = PacingOf(record);
  ASSERT_TRUE(pacing.burst);
  EXPECT_FALSE(pacing.burst->each_visit);
  EXPECT_NEAR(pacing.burst->lasted_s, 12, 0.1);
  EXPECT_NEAR(1 / pacing.burst->before_s, 78'000, 10);
  EXPECT_NEAR(Speed(record)->value, 3000, 10);
  EXPECT_NEAR(1 / *MeanTime(record), 3000, 10) << "dollars are of the lower level";
  EXPECT_THAT(PacingText(record), HasSubstr("burst 78.00 kIOPS for 12.0 s, then 3.00"));
  EXPECT_EQ(LogRoundTimes(record).size(), 4u) << "the first round was all burst";
}

TEST(Pacing, ACreditThatComesBackBetweenRoundsIsFoundByItsPlaceInTheVisit) {
  std::vector<Visit> rounds;
  for (int round = 0; round < 5; ++round) {
    rounds.push_back(SpansOf({9000. + round, 9010, 5000, 2000, 2010, 1990. + round, 2000, 2005}));
  }
  const Record record = Storage(rounds);
  const Pacing pacing = PacingOf(record);
  ASSERT_TRUE(pacing.burst);
  EXPECT_TRUE(pacing.burst->each_visit);
  EXPECT_NEAR(Speed(record)->value, 2001, 5) << "the span in which it fell is of neither level";
  EXPECT_EQ(LogRoundTimes(record).size(), 5u);
  EXPECT_THAT(PacingText(record), HasSubstr("of each round, then 2.0"));
}

TEST(Pacing, WhereOnlyTheSlowestVisitWentOnThereIsNoFall) {
  const Visit slow = SpansOf(Times(60, 1000));
  const Visit fast = SpansOf(Times(20, 5000));
  EXPECT_FALSE(PacingOf(Storage({slow, fast, fast, fast})).burst);
}

TEST(Pacing, AFallOfAFifthIsOneAndLessIsNot) {
  const auto burst = [](double after) {
    return PacingOf(Storage({SpansOf(Joined(Times(20, 1000), Times(20, after)))})).burst;
  };
  EXPECT_TRUE(burst(795));
  EXPECT_FALSE(burst(805));
  EXPECT_FALSE(burst(1300)) << "what speeds up had no credit";
}

TEST(Pacing, UnderThirtySpansAreTooShortToTell) {
  const auto of = [](std::size_t count) {
    return Storage({SpansOf(Joined(Times(10, 4000), Times(count - 10, 1000)))});
  };
  EXPECT_FALSE(PacingOf(of(29)).burst);
  EXPECT_THAT(PacingText(of(29)), HasSubstr("too short to tell a burst (29"));
  EXPECT_TRUE(PacingOf(of(30)).burst);
  EXPECT_THAT(PacingText(of(30)), Not(HasSubstr("too short")));
  EXPECT_EQ(PacingText(Storage({SpansOf(Times(40, 1000))})), "");
}

TEST(Pacing, NoiseIsSeldomTakenForABurstAndAHalvingSeldomForNoise) {
  // The spans are those that the rule was simulated with: they vary by 20 %, with this
  // autocorrelation.
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  const auto found_of = [&](double alike, double fall) {
    int found = 0;
    for (int trial = 0; trial < 500; ++trial) {
      std::vector<double> rates;
      double drift = normal(random);
      for (int i = 0; i < 60; ++i) {
        drift = alike * drift + std::sqrt(1 - alike * alike) * normal(random);
        rates.push_back(10'000 * std::exp(0.2 * drift) * (i < 30 ? fall : 1));
      }
      if (PacingOf(Storage({SpansOf(rates)})).burst) ++found;
    }
    return found;
  };
  EXPECT_LE(found_of(0.5, 1), 10);
  EXPECT_LE(found_of(0.8, 1), 10) << "what drifts slowly looks like a fall, but for its likeness";
  EXPECT_GE(found_of(0.5, 2), 375);
}

TEST(Pacing, OneRoundOfSpansHasAnIntervalFromFifteen) {
  std::vector<double> rates;
  for (int i = 0; i < 15; ++i) rates.push_back(1000 * (i % 2 == 0 ? 1.01 : 0.99));
  const auto interval = SpeedInterval(Storage({SpansOf(rates)}));
  ASSERT_TRUE(interval);
  EXPECT_EQ(interval->level, "15 spans, this run");
  EXPECT_EQ(interval->units, 15);
  // Neighbours are unlike, so that nothing is added: t(14) x s / sqrt(15).
  EXPECT_NEAR(interval->HalfWidth(), 2.1448 * 0.01033 / std::sqrt(15.0), 1e-4);
  rates.pop_back();
  EXPECT_EQ(SpeedInterval(Storage({SpansOf(rates)})), std::nullopt);
}

TEST(Pacing, SpansThatAreAlikeMakeTheIntervalWiderAndAreToldOf) {
  std::vector<double> rates;
  for (int i = 0; i < 30; ++i) rates.push_back(1000 * (1 + 0.01 * std::sin(i / 4.0)));
  const Record record = Storage({SpansOf(rates)});
  EXPECT_GT(SpeedInterval(record)->HalfWidth(), 2.1448 * 0.007 / std::sqrt(15.0) * 1.7);
  EXPECT_THAT(PacingText(record), HasSubstr("measure for 300 s or longer"));
}

TEST(Pacing, SeveralRoundsOfSpansAreTheUnits) {
  const auto interval =
      SpeedInterval(Storage({SpansOf(Times(20, 1000)), SpansOf(Times(20, 1010))}));
  ASSERT_TRUE(interval);
  EXPECT_EQ(interval->level, "2 rounds, this run");
}

// Three batches of 10 ms, and one that is stopped for 70.
std::vector<double> UnderQuota(std::size_t periods) {
  std::vector<double> times;
  for (std::size_t i = 0; i < periods; ++i) times = Joined(times, {0.01, 0.01, 0.01, 0.08});
  return times;
}

TEST(Pacing, BatchesThatAreStoppedAgainAndAgainAreCountedOverTime) {
  const Record record = Compute({UnderQuota(10), UnderQuota(10), UnderQuota(10)});
  EXPECT_EQ(PacingOf(record).why, "stalls");
  EXPECT_NEAR(Speed(record)->value, 1e9 / 0.0275, 1);  // the median says 1e9 / 0.01
  EXPECT_THAT(PacingText(record), HasSubstr("paced (stalls): work over time"));
}

TEST(Pacing, SlowBatchesInMajorityAreSeenToo) {
  std::vector<double> times;
  for (int i = 0; i < 10; ++i) times = Joined(times, {0.075, 0.075, 0.025});
  EXPECT_NEAR(Speed(Compute({times}))->value, 1e9 * 3 / 0.175, 1);
}

TEST(Pacing, AHiccupIsNoPacing) {
  std::vector<double> times = Times(50, 0.01);
  times[10] = 0.5;
  times[30] = 0.5;
  EXPECT_EQ(PacingOf(Compute({times, times, times})).statistic, Statistic::kMedian);
  times[40] = 0.5;
  EXPECT_EQ(PacingOf(Compute({times, times, times})).why, "stalls") << "three in a visit";
  EXPECT_EQ(PacingOf(Compute({times, Times(50, 0.01), Times(50, 0.01)})).why, "")
      << "most rounds had none";
}

TEST(Pacing, MeanAndMedianMayBeATenthApart) {
  const auto with = [](double slow) {
    std::vector<double> times;
    for (int i = 0; i < 10; ++i) times = Joined(times, {0.01, 0.01, 0.01, 0.01, slow});
    return PacingOf(Compute({times})).statistic;
  };
  EXPECT_EQ(with(0.0149), Statistic::kMedian);  // mean 9.8 % above the median
  EXPECT_EQ(with(0.0151), Statistic::kOverTime);
}

TEST(Pacing, ANetworksBurstAtTheBeginningOfEachVisitIsTaken) {
  const std::vector<double> visit = Joined(Times(10, 0.001), Times(40, 0.004));
  const Record record = Compute({visit, visit, visit});
  ASSERT_TRUE(PacingOf(record).burst);
  EXPECT_NEAR(Speed(record)->value, 1e9 / 0.004, 1);
}

TEST(Pacing, ANeighbourThatComesHalfwayIsNoBurstOfWhatRunsFree) {
  const Record record = Compute({Times(50, 0.001), Times(50, 0.001), Times(50, 0.0015)});
  EXPECT_EQ(PacingOf(record).statistic, Statistic::kMedian);
  EXPECT_NEAR(Speed(record)->value, 1e12, 1);
}

TEST(Pacing, AKnownQuotaNeedsNoSign) {
  Record record = Compute({Times(50, 0.01)});
  record.here = Here{.probe = "peak", .work = {.flops = 1'000'000'000}};
  record.rounds[0].here_time_s = {0.01};
  record.rounds[0].time_s[0] = 0.02;
  EXPECT_TRUE(OfHere(record));
  record.facts[kPacedFact] = std::string("CPU quota");
  EXPECT_NEAR(*UsualTime(record), 0.0102, 1e-9);
  EXPECT_EQ(OfHere(record), std::nullopt) << "the bound was sampled for less than a period";
  EXPECT_THAT(PacingText(record), HasSubstr("paced (CPU quota)"));
}

TEST(Pacing, SpansWithoutAsManyIterationsAreRefused) {
  assay::Run run = SampleRun();
  run.records[0].rounds[0].iterations = {1, 2};
  EXPECT_THAT(BrokenReference(run), HasSubstr("iterations of 2 spans and times of 5"));
}

}  // namespace
}  // namespace assay
