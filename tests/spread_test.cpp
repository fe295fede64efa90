#include "results/figures/spread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "results/base/error.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
  const std::vector<SpreadFound> found = FindSpread(runs, "2026-11-28");
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
  EXPECT_THROW(FindSpread(runs, "2026"), Error);
  runs.clear();
  for (int i = 0; i < 4; ++i) {
    runs.push_back(At(i, {Case("gemm", 1, 0.01 * i)}, i < 3 ? "5f3e" : "77aa"));
  }
  EXPECT_THROW(FindSpread(runs, "2026"), Error);
  runs.pop_back();
  EXPECT_EQ(FindSpread(runs, "2026").size(), 1U);
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
