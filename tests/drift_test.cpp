#include "results/figures/drift.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A round every six seconds; each takes `after(minutes)` seconds, and 1 % more or less by turns.
Record Soak(int rounds, double (*after)(double minutes), double scatter = 0.01) {
  Record record = {.probe = "all_reduce",
                   .params = {{"bytes", std::int64_t{1024}}, {"ranks", std::int64_t{2}}},
                   .backend = "native"};
  for (int i = 0; i < rounds; ++i) {
    const double noise = 1 + (i % 2 == 0 ? scatter : -scatter);
    record.rounds.push_back(
        {.start_s = 100 + 6.0 * i, .batch = 1, .time_s = {after(i * 0.1) * noise}});
  }
  return record;
}

TEST(Drift, IsTheSlopeThatWasPutIn) {
  const Drift drift =
      DriftOf(Soak(101, [](double minutes) { return std::exp(0.02 * minutes); })).value();
  EXPECT_NEAR(drift.per_minute.estimate, std::exp(-0.02), 1e-4);
  EXPECT_NEAR(drift.over_all.estimate, std::exp(-0.2), 1e-3);
  EXPECT_DOUBLE_EQ(drift.span_s, 600);
  EXPECT_LT(drift.per_minute.low, drift.per_minute.estimate);
  EXPECT_GT(drift.per_minute.high, drift.per_minute.estimate);
  EXPECT_EQ(VerdictOn(drift), Verdict::kSlower);
  const Drift faster =
      DriftOf(Soak(101, [](double minutes) { return std::exp(-0.02 * minutes); })).value();
  EXPECT_EQ(VerdictOn(faster), Verdict::kFaster);
}

TEST(Drift, WhatStaysWithinTheMarginIsSteadyAndWhatScattersIsUnclear) {
  const auto still = [](double) { return 1.0; };
  EXPECT_EQ(VerdictOn(DriftOf(Soak(101, still)).value()), Verdict::kSame);
  const auto little = [](double minutes) { return std::exp(0.001 * minutes); };
  EXPECT_EQ(VerdictOn(DriftOf(Soak(101, little)).value()), Verdict::kSame);
  EXPECT_EQ(VerdictOn(DriftOf(Soak(8, still, 0.2)).value()), Verdict::kUnclear);
}

// Twenty rounds up and twenty down again are no slope, and no twenty independent witnesses.
TEST(Drift, NeighboursThatAreAlikeMakeItLessSure) {
  const auto width = [](double (*after)(double)) {
    return DriftOf(Soak(40, after, 0)).value().per_minute.HalfWidth();
  };
  const double waves = width([](double minutes) { return 1 + 0.01 * std::sin(minutes * 3); });
  const double turns = width([](double minutes) {
    return static_cast<int>(std::lround(minutes * 10)) % 2 == 0 ? 1.00707 : 0.99293;
  });
  EXPECT_GT(waves, 2 * turns);
}

TEST(Drift, FewRoundsTellNone) {
  EXPECT_FALSE(DriftOf(Soak(4, [](double) { return 1.0; })));
  EXPECT_FALSE(DriftOf({}));
}

TEST(Drift, ItsLineHasTheVerdictAndEveryWrongElement) {
  Record steady = Soak(50, [](double) { return 1.0; });
  steady.verify = Verification{.checked = 4096};
  Record wrong = {.probe = "all_reduce", .params = steady.params, .backend = "native"};
  wrong.status = Status::kWrong;
  wrong.verify = Verification{.checked = 512, .wrong = 7};
  const Record records[] = {steady, wrong};
  EXPECT_THAT(
      DriftText(records),
      AllOf(HasSubstr("%/min"), HasSubstr("50 rounds, this run"), HasSubstr("% over 294 s ("),
            HasSubstr("): steady within 3 %; 0 of 4096 checked elements wrong\n"),
            HasSubstr(": wrong; 7 of 512 checked elements wrong\n")));
}

}  // namespace
}  // namespace assay
