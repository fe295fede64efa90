#include "results/figures/best.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace assay {
namespace {

// The right values are scipy's: t one-sided at 0.05 / (g - 1), with Welch's degrees of freedom but
// no more than 11.
const std::vector<Contender> kFour = {
    {.mean = 0.10, .nodes = 3, .estimate = Estimate{0.10, 1e-4, 6}},
    {.mean = 0.05, .nodes = 3, .estimate = Estimate{0.05, 2e-4, 5}},
    {.mean = 0.03, .nodes = 3, .estimate = Estimate{0.03, 1.5e-4, 6}},
    {.mean = -0.02, .nodes = 3, .estimate = Estimate{-0.02, 3e-4, 5.5}}};
constexpr double kDf = 11;

TEST(Best, TheLeaderIsTheBestWhereAllOthersAreOut) {
  const std::vector<Place> places = PlacesOf(kFour, kDf);
  EXPECT_TRUE(places[0].is_best);
  EXPECT_NEAR(places[0].by_at_least, 0.0067870176798239396, 1e-10);
  EXPECT_EQ(ToText(places[0], Contest::kSpeed), "fastest, by at least 0.7 %");
  EXPECT_EQ(ToText(places[0], Contest::kCost), "cheapest, by at least 0.7 %");
  EXPECT_EQ(places[0].behind, 0);
  EXPECT_EQ(places[0].behind_high, 0);
  EXPECT_FALSE(places[1].may_be_best);
  EXPECT_NEAR(places[1].behind_low.value(), 0.0067870176798239396, 1e-10);
  EXPECT_NEAR(places[1].behind_high.value(), 0.09321298232017607, 1e-10);
  EXPECT_NEAR(places[3].behind, 0.12, 1e-12);
  EXPECT_NEAR(places[3].behind_low.value(), 0.06968218744300117, 1e-10);
  EXPECT_NEAR(places[3].behind_high.value(), 0.17031781255699885, 1e-10);
  // 1 - exp(-0.0697) and 1 - exp(-0.1703), exp(0.0697) - 1 and exp(0.1703) - 1.
  EXPECT_EQ(ToText(places[3], Contest::kSpeed), "6.7-16 % behind the best");
  EXPECT_EQ(ToText(places[3], Contest::kCost), "7.2-19 % dearer than the best");
}

TEST(Best, WhatCantBeToldApartMayAllBeTheBest) {
  std::vector<Contender> four = kFour;
  four[1].mean = four[1].estimate->mean = 0.058;
  const std::vector<Place> places = PlacesOf(four, kDf);
  EXPECT_FALSE(places[0].is_best);
  EXPECT_EQ(places[0].by_at_least, 0);
  EXPECT_EQ(ToText(places[0], Contest::kSpeed), "may be the fastest");
  EXPECT_EQ(ToText(places[1], Contest::kCost), "may be the cheapest");
  EXPECT_EQ(places[1].behind_low, 0);
  EXPECT_NEAR(places[1].behind, 0.042, 1e-12);
  EXPECT_FALSE(places[2].may_be_best);
}

TEST(Best, FewerTypesAreFewerChancesToBeWrong) {
  const std::vector<Place> two = PlacesOf(std::vector{kFour[0], kFour[3]}, kDf);
  EXPECT_NEAR(two[0].by_at_least, 0.08327836177233847, 1e-10);
  EXPECT_NEAR(two[1].behind_high.value(), 0.15672163822766155, 1e-10);
}

// One node of a type tells nothing of how far the others lie from it.
TEST(Best, ATypeWithoutSpreadIsNeitherLeftOutNorDeclared) {
  std::vector<Contender> four = kFour;
  four[1].estimate = std::nullopt;
  four[1].nodes = 1;
  four[1].mean = 0.05;
  std::vector<Place> places = PlacesOf(four, kDf);
  EXPECT_TRUE(places[1].may_be_best);
  EXPECT_FALSE(places[1].behind_low.has_value());
  EXPECT_NEAR(places[1].behind, 0.05, 1e-12);
  EXPECT_FALSE(places[0].is_best);
  // A type without a spread is not adjusted for: three types have one.
  EXPECT_NEAR(places[3].behind_low.value(), 0.0746587030388206, 1e-10);
  four[1].mean = 5;
  places = PlacesOf(four, kDf);
  EXPECT_TRUE(places[0].may_be_best);
  EXPECT_TRUE(places[1].may_be_best);
  EXPECT_FALSE(places[1].is_best);
  EXPECT_FALSE(places[0].is_best);
  EXPECT_FALSE(places[2].may_be_best);
}

TEST(Best, OneNodeWithAMeasuredSpreadIsNotDeclaredForItsType) {
  std::vector<Contender> two = {kFour[0], kFour[3]};
  two[0].nodes = 1;
  const std::vector<Place> places = PlacesOf(two, kDf);
  EXPECT_FALSE(places[0].is_best);
  EXPECT_TRUE(places[0].may_be_best);
  EXPECT_FALSE(places[1].may_be_best);
}

TEST(Best, OneTypeAloneIsNoContest) {
  const std::vector<Place> places = PlacesOf(std::vector{kFour[0]}, kDf);
  EXPECT_FALSE(places[0].is_best);
  EXPECT_TRUE(places[0].may_be_best);
  EXPECT_FALSE(places[0].behind_low.has_value());
}

std::vector<double> Nodes(int count) {
  std::vector<double> logs;
  for (int i = 0; i < count; ++i) logs.push_back((count - 1 - i) * 0.01);
  return logs;
}

// 0.05^(1 / n): all of n nodes are of the better share q with a chance of q^n.
TEST(Lottery, TheShareIsThatOfWhichTheSlowestOfNIsTheLeast) {
  for (const auto& [nodes, share] : {std::pair(1, 0.05),
                                     {3, 0.3684031498640387},
                                     {5, 0.5492802716530588},
                                     {10, 0.7411344491069477},
                                     {20, 0.8608916593317348},
                                     {58, 0.9496606617}}) {
    const Lottery lottery = LotteryOf(Nodes(nodes));
    EXPECT_NEAR(lottery.share, share, 1e-7);
    EXPECT_EQ(lottery.bound, 0);
    EXPECT_EQ(lottery.slowest, 0);
    EXPECT_EQ(lottery.rank, 1);
    EXPECT_FALSE(lottery.IsNineteenOfTwenty());
  }
}

// The greatest r with P(Bin(n, 0.05) <= r - 1) <= 0.05, by scipy.
TEST(Lottery, From59NodesOnItIsNineteenOfTwenty) {
  for (const auto& [nodes, rank] : {std::pair(59, 1),
                                    {92, 1},
                                    {93, 2},
                                    {123, 2},
                                    {124, 3},
                                    {180, 4},
                                    {181, 5},
                                    {260, 8},
                                    {1000, 39}}) {
    const Lottery lottery = LotteryOf(Nodes(nodes));
    EXPECT_EQ(lottery.share, 0.95);
    EXPECT_EQ(lottery.rank, rank) << nodes;
    EXPECT_NEAR(lottery.bound, 0.01 * (rank - 1), 1e-12) << nodes;
    EXPECT_TRUE(lottery.IsNineteenOfTwenty());
  }
}

TEST(Lottery, TheSentenceSaysHowManyNodesItTakes) {
  EXPECT_EQ(ToText(LotteryOf(Nodes(3)), "712 TFLOP/s"),
            "95 % sure: at least 37 % of the nodes of this type give 712 TFLOP/s, the slowest of "
            "the 3 seen, or more (too few nodes for 19 of 20: 59 needed)");
  EXPECT_EQ(ToText(LotteryOf(Nodes(58)), "712 TFLOP/s"),
            "95 % sure: at least 94 % of the nodes of this type give 712 TFLOP/s, the slowest of "
            "the 58 seen, or more (too few nodes for 19 of 20: 59 needed)");
  EXPECT_EQ(ToText(LotteryOf(Nodes(59)), "712 TFLOP/s"),
            "95 % sure: at least 95 % of the nodes of this type give 712 TFLOP/s, the slowest of "
            "the 59 seen, or more");
  EXPECT_EQ(ToText(LotteryOf(Nodes(93)), "712 TFLOP/s"),
            "95 % sure: at least 95 % of the nodes of this type give 712 TFLOP/s, the 2nd slowest "
            "of the 93 seen, or more");
}

TEST(Lottery, TheMedianNodeAndTheSpreadStandBeside) {
  const Lottery lottery = LotteryOf(std::vector<double>{0.3, 0.1, 0.2});
  EXPECT_DOUBLE_EQ(lottery.median, 0.2);
  EXPECT_DOUBLE_EQ(lottery.slowest, 0.1);
  EXPECT_DOUBLE_EQ(lottery.deviation, 0.1);
}

}  // namespace
}  // namespace assay
