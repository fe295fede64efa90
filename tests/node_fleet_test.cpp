// The bars of comparing machine types with few replications, so that a rule that is broken is seen;
// tests/bench/nodes_bench.cpp measures each of them. A bar is moved by 3.5 standard errors of what
// is counted here.
#include "node_fleet.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace assay::fleet {
namespace {

double Slack(double share, int tries) { return 3.5 * std::sqrt(share * (1 - share) / tries); }

TEST(NodeFleet, TwoTypesByCompareAreWrongInFivePercentAndFindFive) {
  constexpr int kPairs = 100;
  const Outcome outcome = CompareSides({.sigmas = {0.015, 0.015}}, kPairs, 1);
  ASSERT_EQ(outcome.pairs, kPairs);
  EXPECT_LE(outcome.Share(outcome.headline_false), 0.05 + Slack(0.05, kPairs));
  EXPECT_LE(outcome.Share(outcome.rest_false), 0.05 + Slack(0.05, kPairs));
  EXPECT_GE(outcome.Share(outcome.headline_found), 0.77 - Slack(0.77, kPairs));
}

TEST(NodeFleet, ThreeTypesFindMore) {
  constexpr int kPairs = 1500;
  const Outcome outcome = CompareGroups({.sigmas = {0.015, 0.015, 0.015}}, kPairs, 2);
  EXPECT_LE(outcome.Share(outcome.headline_false), 0.05 + Slack(0.05, kPairs));
  EXPECT_GE(outcome.Share(outcome.headline_found), 0.84 - Slack(0.84, kPairs));
  EXPECT_LE(Median(outcome.half_widths), 0.033);
}

// One type is ten times as wide as the five others, which would lend it their narrowness.
TEST(NodeFleet, AWideTypeAmongNarrowOnesIsNotTakenForOne) {
  constexpr int kPairs = 1500;
  const Outcome outcome =
      CompareGroups({.sigmas = {0.05, 0.005, 0.005, 0.005, 0.005, 0.005}}, kPairs, 3);
  EXPECT_LE(outcome.Share(outcome.headline_false), 0.10);
}

TEST(NodeFleet, TheBestIsNotLeftOutAndMostlyDeclaredAlone) {
  constexpr int kSearches = 1000;
  const BestOutcome equal = FindBest(6, 5, 0, kSearches, 4);
  EXPECT_LE(equal.Share(equal.best_out), 0.05 + Slack(0.05, kSearches));
  const BestOutcome ahead = FindBest(6, 5, std::log(1.05), kSearches, 5);
  EXPECT_GE(ahead.Share(ahead.best_alone), 0.88 - Slack(0.88, kSearches));
  EXPECT_LE(ahead.Share(ahead.other_alone), 0.05);
}

TEST(NodeFleet, TheLotterysSentenceIsTrueIn95OfAHundred) {
  constexpr int kSearches = 1000;
  const Fleet fleet = WithSlow("one in fifteen 25 % slow", 1.0 / 15, 0.75);
  for (const int nodes : {5, 20}) {
    EXPECT_NEAR(LotteryCoverage(fleet, nodes, 0, kSearches, 6), 0.95, Slack(0.95, kSearches));
    EXPECT_GE(LotteryCoverage(fleet, nodes, 1, kSearches, 7), 0.90);
  }
}

}  // namespace
}  // namespace assay::fleet
