#include "runner/core/time_left.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace assay {
namespace {

Case OfBytes(std::int64_t bytes, const std::string& placement = "out_of_place") {
  return {.probe = "all_reduce",
          .params = {{"bytes", bytes}, {"placement", placement}},
          .backend = "mpi"};
}

std::vector<Case> Sweep(std::int64_t most) {
  std::vector<Case> cases;
  for (std::int64_t bytes = 8; bytes <= most; bytes *= 2) cases.push_back(OfBytes(bytes));
  return cases;
}

constexpr std::int64_t kMib = 1 << 20;
const EngineOptions kTwentyOperations = {.rounds = 1, .fixed = FixedCount{}};

// The time of a visit: 10 ms, and 1 s for each 100 MB.
double TrueSeconds(const Case& which) {
  return 0.01 + 1e-8 * static_cast<double>(std::get<std::int64_t>(which.params.at("bytes")));
}

TEST(TimeLeft, ASweepOfFixedOperationsIsToldFromTheSizesThatItHasSeen) {
  const std::vector<Case> cases = Sweep(512 * kMib);
  double all_s = 0;
  for (const Case& each : cases) all_s += TrueSeconds(each);

  TimeLeft left(cases, kTwentyOperations);
  EXPECT_FALSE(left.Planned());
  EXPECT_FALSE(left.VisitBegins(cases[0], 0.3));
  double elapsed_s = 0.3 + TrueSeconds(cases[0]);
  for (std::size_t i = 1; i < cases.size(); ++i) {
    const auto guess = left.VisitBegins(cases[i], elapsed_s);
    ASSERT_TRUE(guess);
    const double true_s = all_s - (elapsed_s - 0.3);
    const bool is_near = std::get<std::int64_t>(cases[i].params.at("bytes")) >= 128 * kMib;
    EXPECT_EQ(guess->is_least, !is_near) << i;
    if (i >= 2) {
      EXPECT_NEAR(guess->seconds, true_s, 0.01 * true_s) << i;
    }
    elapsed_s += TrueSeconds(cases[i]);
  }
}

TEST(TimeLeft, TheLastSizeSeenMayBeAnEighthOfTheLargestToCome) {
  for (const auto& [seen, is_least] :
       {std::pair(64 * kMib, false), std::pair(64 * kMib - 8, true)}) {
    const std::vector<Case> cases = {OfBytes(seen), OfBytes(512 * kMib)};
    TimeLeft left(cases, kTwentyOperations);
    left.VisitBegins(cases[0], 0);
    EXPECT_EQ(left.VisitBegins(cases[1], 1).value().is_least, is_least) << seen;
  }
}

TEST(TimeLeft, SmallSizesThatVaryDoNotPredictALargeOneBelowZero) {
  const std::vector<Case> cases = {OfBytes(8), OfBytes(16), OfBytes(64)};
  TimeLeft left(cases, kTwentyOperations);
  left.VisitBegins(cases[0], 0);
  left.VisitBegins(cases[1], 3);  // the first connects
  EXPECT_NEAR(left.VisitBegins(cases[2], 4).value().seconds, 1.2, 1e-9);
}

TEST(TimeLeft, ACaseThatWasVisitedTakesWhatItTook) {
  const std::vector<Case> cases = {OfBytes(kMib), OfBytes(2 * kMib)};
  EngineOptions options = kTwentyOperations;
  options.rounds = 3;
  TimeLeft left(cases, options);
  left.VisitBegins(cases[0], 0);
  left.VisitBegins(cases[1], 1);                                                  // 1 s
  EXPECT_NEAR(left.VisitBegins(cases[0], 6).value().seconds, 2 * (1 + 5), 1e-9);  // 5 s
  EXPECT_NEAR(left.VisitBegins(cases[1], 9).value().seconds, 2 * 5 + 2, 1e-9);  // 3 s, 2 on average
}

TEST(TimeLeft, EachPlacementHasALineOfItsOwn) {
  std::vector<Case> cases;
  for (const std::int64_t bytes : {kMib, 2 * kMib, 4 * kMib}) {
    cases.push_back(OfBytes(bytes));
    cases.push_back(OfBytes(bytes, "in_place"));
  }
  const auto seconds = [](const Case& which) {
    const bool in_place = std::get<std::string>(which.params.at("placement")) == "in_place";
    return static_cast<double>(std::get<std::int64_t>(which.params.at("bytes"))) / kMib *
           (in_place ? 1 : 3);
  };
  TimeLeft left(cases, kTwentyOperations);
  double elapsed_s = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    left.VisitBegins(cases[i], elapsed_s);
    elapsed_s += seconds(cases[i]);
  }
  EXPECT_NEAR(left.VisitBegins(cases[4], elapsed_s).value().seconds, 12 + 4, 1e-6);
}

TEST(TimeLeft, BudgetsCountAtThePaceOfTheVisitsSoFar) {
  std::vector<Case> cases;
  for (int i = 0; i < 10; ++i) cases.push_back(OfBytes(8 << i));
  const EngineOptions options = {.rounds = 1};
  TimeLeft left(cases, options);
  const double visit_s = VisitSeconds(cases[0], options).count();
  EXPECT_NEAR(left.Planned().value().seconds, 10 * visit_s, 1e-9);
  EXPECT_FALSE(left.Planned().value().is_least);
  for (int i = 0; i < 5; ++i) left.VisitBegins(cases[0], i * 2 * visit_s);
  EXPECT_NEAR(left.VisitBegins(cases[0], 5 * 2 * visit_s).value().seconds, 2 * 5 * visit_s, 1e-9);
}

TEST(TimeLeft, WhatIsSustainedTakesAtLeastItsTime) {
  Case which = OfBytes(8);
  which.sustained = true;
  EXPECT_TRUE(TimeLeft({which}, {}).Planned().value().is_least);
}

}  // namespace
}  // namespace assay
