#include "results/figures/spread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "results/base/error.h"
#include "results/show/tables.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

Record Case(const std::string& probe, std::int64_t m, double log_time) {
  return {.probe = probe,
          .params = {{"m", m}},
          .backend = "native",
          .work = {.flops = 1'000'000},
          .rounds = {{.time_s = {std::exp(log_time)}}, {.time_s = {std::exp(log_time)}}}};
}

OneRun At(int minute, std::vector<Record> records, const std::string& node_id = "5f3e") {
  OneRun run = {.started = "2026-11-28T12:" + std::to_string(10 + minute) + ":30Z",
                .nodes = {Node{.node_id = node_id}},
                .records = std::move(records)};
  run.nodes[0].identity.instance.value = "unknown";
  return run;
}

// Logs of time 0, 1, 2, 3 % have a standard deviation of 1.29 %.
TEST(Spread, IsThatOfTheRunsAndOfTheCaseThatVariesMost) {
  std::vector<OneRun> runs;
  for (int i = 0; i < 4; ++i) {
    runs.push_back(At(7 * i, {Case("gemm", 1, 0.01 * i), Case("gemm", 2, 0.02 * ((i + 1) % 4)),
                              Case("gemm", 3, 0.005 * i), Case("peak", 1, 0.001 * i)}));
  }
  // A case that one of the runs didn't measure is left out, however much it varies.
  runs[0].records.push_back(Case("gemm", 4, 5));
  runs[1].records.push_back(Case("gemm", 4, 7));
  const std::vector<SpreadFound> found = FindSpread({runs}, "2026-11-28");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].row.probe, "gemm");
  EXPECT_EQ(found[0].row.machine, "5f3e") << "nobody knows the instance";
  EXPECT_NEAR(found[0].row.sigma, 0.02 * std::sqrt(5.0 / 3), 1e-12);
  EXPECT_EQ(found[0].row.df, 3);
  EXPECT_NEAR(found[0].row.span_minutes.value(), 21, 1e-9);
  EXPECT_TRUE(found[0].row.is_measured);
  EXPECT_EQ(found[0].row.how, "4 A/A runs");
  EXPECT_EQ(found[0].row.date, "2026-11-28");
  EXPECT_EQ(found[0].cases, 3);
  EXPECT_THAT(found[0].widest, HasSubstr("2"));
  // A took 2 and 6 %, B 4 and 0 %.
  EXPECT_NEAR(found[0].a_to_b.estimate, std::exp(0.02), 1e-12);
  EXPECT_NEAR(found[1].row.sigma, 0.001 * std::sqrt(5.0 / 3), 1e-12);
  // It can be written and read.
  EXPECT_EQ(ParseNoise(NoiseToCsv({found[0].row}), "t"), std::vector<Noise>{found[0].row});
}

TEST(Spread, NeedsOneMachineAndSomethingThatAllRunsMeasured) {
  std::vector<OneRun> runs;
  for (int i = 0; i < 4; ++i) runs.push_back(At(i, {Case("gemm", i, 0)}));
  EXPECT_THROW(FindSpread({runs}, "2026"), Error);
  runs.clear();
  for (int i = 0; i < 4; ++i) {
    runs.push_back(At(i, {Case("gemm", 1, 0.01 * i)}, i < 3 ? "5f3e" : "77aa"));
  }
  EXPECT_THROW(FindSpread({runs}, "2026"), Error);
  runs.pop_back();
  EXPECT_EQ(FindSpread({runs}, "2026").size(), 1U);
}

// Runs of one case at these logs of time, one every five minutes from that minute on.
std::vector<OneRun> Session(int minute, const std::vector<double>& logs) {
  std::vector<OneRun> runs;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    runs.push_back(At(minute + 5 * static_cast<int>(i), {Case("gemm", 1, logs[i])}));
  }
  return runs;
}

// The right values are those of the analysis of variance by hand: within 2 e-4 by 4 df, between
// 3 (0.03^2 + 0.03^2) / 1 by 1 df.
TEST(Spread, OfSeveralSessionsItHoldsWhatDiffersBetweenThem) {
  const std::vector<std::vector<OneRun>> sessions = {Session(0, {-0.04, -0.03, -0.02}),
                                                     Session(30, {0.02, 0.03, 0.04})};
  const SpreadFound found = FindSpread(sessions, "2026").at(0);
  const double within = 1e-4;
  const double between = 3 * (2 * 9e-4);
  const double variance = between / 3 + within * 2 / 3;
  EXPECT_NEAR(found.row.sigma, std::sqrt(variance), 1e-12);
  const double df =
      variance * variance / (between / 3 * between / 3 + within * 2 / 3 * within * 2 / 3 / 4);
  EXPECT_NEAR(found.row.df, df, 1e-9);
  EXPECT_NEAR(found.row.span_minutes.value(), 40, 1e-9) << "from the first run to the last of all";
  EXPECT_EQ(found.row.how, "6 A/A runs in 2 sessions");
  EXPECT_EQ(found.sessions, 2);
  // Sessions that are alike leave the spread within them.
  const SpreadFound alike =
      FindSpread({Session(0, {0, 0.01, 0.02}), Session(30, {0.02, 0.01, 0})}, "2026").at(0);
  EXPECT_NEAR(alike.row.sigma, 0.01, 1e-12);
  EXPECT_NEAR(alike.row.df, 4, 1e-9);
  // A single session has one degree of freedom less than it has runs.
  EXPECT_EQ(FindSpread({Session(0, {0, 0.01, 0.02, 0.03})}, "2026").at(0).row.df, 3);
}

// The words beside IsDrifting and in METRICS.md: about 7 of 100 sessions of 16 independent runs.
TEST(Spread, SomeSessionsOfIndependentRunsAreSaidToDrift) {
  constexpr int kSessions = 2000;
  std::mt19937_64 random(17);
  std::normal_distribution<double> noise(0, 0.01);
  int drifting = 0;
  for (int i = 0; i < kSessions; ++i) {
    std::vector<double> times(16);
    std::ranges::generate(times, [&] { return noise(random); });
    drifting += FindSpread({Session(0, times)}, "2026").at(0).IsDrifting() ? 1 : 0;
  }
  EXPECT_GE(drifting, kSessions * 5 / 100);
  EXPECT_LE(drifting, kSessions * 9 / 100);
}

TEST(Spread, ACaseCountsWithTheSessionsThatHaveIt) {
  std::vector<OneRun> later = Session(30, {0, 0.01, 0.02, 0.03});
  for (std::size_t i = 0; i < later.size(); ++i) {
    later[i].records.push_back(Case("memory", 2, 0.01 * static_cast<double>(i)));
  }
  const std::vector<SpreadFound> found =
      FindSpread({Session(0, {0, 0.01, 0.02, 0.03}), later}, "2026");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].row.how, "8 A/A runs in 2 sessions");
  EXPECT_EQ(found[1].row.how, "4 A/A runs");
}

TEST(Spread, AMachineDriftsWhereMoreThanOneInTenNeighboursDiffer) {
  // Up and down by turns: no three runs differ from the next three.
  std::vector<double> sound;
  for (int i = 0; i < 10; ++i) sound.push_back(i % 2 == 0 ? 0.01 : -0.01);
  const SpreadFound quiet = FindSpread({Session(0, sound)}, "2026").at(0);
  EXPECT_EQ(quiet.neighbours, 5);
  EXPECT_EQ(quiet.differing, 0);
  EXPECT_FALSE(quiet.IsDrifting());
  // A step after six of ten runs: three of the five pairs lie across it, and one pair is all of it.
  std::vector<double> step;
  for (int i = 0; i < 10; ++i) step.push_back((i < 6 ? 0 : 0.5) + (i % 2 == 0 ? 0.01 : -0.01));
  const SpreadFound drifting = FindSpread({Session(0, step)}, "2026").at(0);
  EXPECT_GE(drifting.differing, 1);
  EXPECT_TRUE(drifting.IsDrifting());
  EXPECT_THAT(SpreadTable({drifting}, false), HasSubstr("this machine drifts: "));
  EXPECT_THAT(SpreadTable({quiet}, false), Not(HasSubstr("this machine drifts")));
  // One in ten is allowed.
  EXPECT_FALSE((SpreadFound{.neighbours = 20, .differing = 2}.IsDrifting()));
  EXPECT_TRUE((SpreadFound{.neighbours = 19, .differing = 2}.IsDrifting()));
}

TEST(Spread, TheTableSaysWhatOneRunASideTells) {
  // t is 3.182 with 3 df and 2.306 with 8, which 15 count as.
  const SpreadFound three = {.row = {.probe = "gemm", .sigma = 0.02, .df = 3}};
  EXPECT_NEAR(ResolutionOf(three.row), std::expm1(3.182446305 * std::sqrt(2.0) * 0.02), 1e-9);
  const SpreadFound many = {.row = {.probe = "gemm", .sigma = 0.02, .df = 15}};
  EXPECT_NEAR(ResolutionOf(many.row), std::expm1(2.306004135 * std::sqrt(2.0) * 0.02), 1e-9);
  EXPECT_THAT(SpreadTable({many}, false),
              AllOf(HasSubstr("one run a side tells"), HasSubstr("± 6.7 %")));
}

SpreadFound Found(const std::string& machine, double df, double minutes, double sigma = 0.02) {
  return {.row = {.probe = "gemm",
                  .machine = machine,
                  .sigma = sigma,
                  .df = df,
                  .span_minutes = minutes,
                  .is_measured = true,
                  .how = "runs",
                  .date = "2026"}};
}

TEST(Spread, AGoodRowIsNotReplacedByALesserOne) {
  const std::vector<Noise> old = {Found("here", 15, 60, 0.01).row, Found("there", 15, 60).row};
  const auto merged = [&](const SpreadFound& one) { return MergeNoise(old, {one}); };
  for (const SpreadFound& lesser : {Found("here", 7, 60), Found("here", 15, 53.9)}) {
    EXPECT_EQ(merged(lesser).rows, old);
    EXPECT_FALSE(merged(lesser).is_changed);
    EXPECT_THAT(merged(lesser).kept, ElementsAre(HasSubstr("says more than")));
  }
  // What several sessions show says more, however few degrees of freedom it has.
  SpreadFound days = Found("here", 3, 3000);
  days.sessions = 4;
  EXPECT_THAT(merged(days).rows, ElementsAre(days.row, old[1]));
  // More than 8 count as 8, and nearly as long is long enough.
  for (const SpreadFound& good : {Found("here", 8, 60), Found("here", 15, 54.1)}) {
    EXPECT_THAT(merged(good).rows, ElementsAre(good.row, old[1]));
    EXPECT_TRUE(merged(good).is_changed);
    EXPECT_THAT(merged(good).kept, IsEmpty());
  }
  const SpreadFound elsewhere = Found("elsewhere", 3, 1);
  EXPECT_THAT(merged(elsewhere).rows, ElementsAre(old[0], old[1], elsewhere.row));
  // A guess gives way to anything that was measured.
  Noise guess = Found("here", 1, 0).row;
  guess.is_measured = false;
  guess.span_minutes.reset();
  EXPECT_THAT(MergeNoise({guess}, {Found("here", 3, 1)}).rows,
              ElementsAre(Found("here", 3, 1).row));
}

}  // namespace
}  // namespace assay
