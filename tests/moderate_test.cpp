#include "results/figures/moderate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "tests/node_fleet.h"

namespace assay {
namespace {

// Five types of 3, 3, 4, 2 and 1 nodes, and a measured row. The right values below are of a Python
// program on numpy and of scipy's distributions.
const std::vector<std::vector<double>> kTypes = {{0.010, -0.004, 0.021},
                                                 {0.062, 0.041, 0.055},
                                                 {0.002, 0.017, -0.011, 0.008},
                                                 {0.10, 0.13},
                                                 {0.03}};
const KnownSpread kRow = {.variance = 0.0155 * 0.0155, .df = 8};

std::vector<NodeGroup> Groups(std::vector<std::vector<double>> types,
                              std::vector<KnownSpread> rows = {}) {
  std::vector<NodeGroup> groups;
  for (const std::vector<double>& values : types) {
    groups.push_back({.values = values, .known = rows});
  }
  return groups;
}

NodeSpread SpreadOf(const std::vector<NodeGroup>& groups, std::size_t i) {
  return ModerateSpreads(groups).of.at(i).value();
}

void ExpectSpread(const NodeSpread& spread, double variance, double df, const std::string& words) {
  EXPECT_NEAR(spread.variance / variance, 1, 1e-10) << words;
  EXPECT_NEAR(spread.df, df, 1e-12) << words;
  EXPECT_EQ(ToText(spread), words);
}

TEST(Moderate, AFewNodesBorrowFromTheMedianOfTheOtherTypes) {
  const std::vector<NodeGroup> groups = Groups(kTypes);
  ExpectSpread(SpreadOf(groups, 0), 0.0001671041536, 5,
               "spread from 3 own nodes and 3 df of 3 other types");
  ExpectSpread(SpreadOf(groups, 1), 0.0001798579427083334, 5,
               "spread from 3 own nodes and 3 df of 3 other types");
  ExpectSpread(SpreadOf(groups, 2), 0.0001768822798295455, 5.5,
               "spread from 4 own nodes and 2.5 df of 3 other types");
}

TEST(Moderate, TheIntervalOfAMeanRestsOnTheModeratedSpread) {
  const std::vector<NodeGroup> groups = Groups(kTypes);
  // exp(t of 5 degrees of freedom at 95 % x the root of 0.0001671041536 / 3).
  const Interval interval = MeanInterval(groups[0], ModerateSpreads(groups).of[0], 0.95).value();
  EXPECT_NEAR(std::log(interval.high), 2.5705818 * std::sqrt(0.0001671041536 / 3), 1e-7);
  EXPECT_NEAR(interval.low * interval.high, 1, 1e-12);
  EXPECT_FALSE(MeanInterval(groups[4], ModerateSpreads(groups).of[4], 0.95)) << "one node";
  // From 20 nodes on by the bootstrap of their own values, which is not symmetric.
  std::vector<double> many;
  for (int i = 0; i < 20; ++i) many.push_back(i == 0 ? 1.0 : 0.001 * i);
  const std::vector<NodeGroup> large = Groups({many});
  const Interval skewed = MeanInterval(large[0], ModerateSpreads(large).of[0], 0.95).value();
  EXPECT_EQ(skewed.low, MeanInterval(many, 0.95)->low);
}

TEST(Moderate, OneOtherTypeLendsWithoutCorrectionForTheMedian) {
  ExpectSpread(SpreadOf(Groups({kTypes[0], kTypes[1]}), 0), 0.00014277777777777778, 3,
               "spread from 3 own nodes and 1 df of 1 other type");
}

TEST(Moderate, OfTwoOthersTheMedianIsTheirMean) {
  ExpectSpread(SpreadOf(Groups({kTypes[0], kTypes[1], kTypes[2]}), 0), 0.0001398703703703704, 4.5,
               "spread from 3 own nodes and 2.5 df of 2 other types");
}

TEST(Moderate, AMeasuredRowLendsLikeATypeAndNoMoreThanFourDfAreBorrowed) {
  const std::vector<NodeGroup> groups = Groups(kTypes, {kRow});
  ExpectSpread(SpreadOf(groups, 0), 0.0001974256946627794, 6,
               "spread from 3 own nodes and 4 df of 3 other types and 1 measured row");
  ExpectSpread(SpreadOf(groups, 2), 0.00019770795530809667, 7,
               "spread from 4 own nodes and 4 df of 3 other types and 1 measured row");
}

TEST(Moderate, ATypeThatIsClearlyWiderBorrowsNothing) {
  ExpectSpread(SpreadOf(Groups({{0, 0.3, 0.6}, kTypes[1], kTypes[2]}), 0), 0.09, 2,
               "spread from 3 own nodes alone, wider than 2 other types");
}

// F with 2 and 2 degrees of freedom is 19 at 5 %.
TEST(Moderate, TheGuardIsTheUpperFivePercentOfF) {
  const auto spread = [](double times) {
    const double wide = std::sqrt(times);
    return SpreadOf(Groups({{0, 0.01 * wide, 0.02 * wide}, {0, 0.01, 0.02}}), 0);
  };
  EXPECT_FALSE(spread(18.99).is_wider);
  EXPECT_TRUE(spread(19.01).is_wider);
}

TEST(Moderate, TypesWithoutSpreadLendTheirLackOfIt) {
  const NodeSpread none = SpreadOf(Groups({{1, 1, 1}, {2, 2, 2}}), 0);
  EXPECT_EQ(none.variance, 0);
  EXPECT_EQ(none.df, 3);
  EXPECT_TRUE(SpreadOf(Groups({{1, 1, 1.1}, {2, 2, 2}}), 0).is_wider);
}

// Two nodes can't show that they are unlike the others, and one shows nothing.
TEST(Moderate, TwoNodesBorrowFromRowsAlone) {
  ExpectSpread(SpreadOf(Groups(kTypes), 3), 0.00045, 1, "spread from 2 own nodes alone");
  ExpectSpread(SpreadOf(Groups(kTypes, {kRow}), 3), 0.0002822, 5,
               "spread from 2 own nodes and 4 df of 1 measured row");
}

TEST(Moderate, OneNodeHasTheSpreadOfRowsOrNone) {
  EXPECT_FALSE(ModerateSpreads(Groups(kTypes)).of[4].has_value());
  ExpectSpread(SpreadOf(Groups(kTypes, {kRow}), 4), 0.0155 * 0.0155, 8,
               "spread from 8 df of 1 measured row");
  // The middle of several rows, with no more than 8 df.
  ExpectSpread(SpreadOf(Groups(kTypes, {kRow, {.variance = 4e-4, .df = 3}, {1e-6, 2}}), 4),
               0.0155 * 0.0155, 8, "spread from 8 df of 3 measured rows");
  ExpectSpread(SpreadOf(Groups(kTypes, {{.variance = 4e-4, .df = 3}}), 4), 4e-4, 3,
               "spread from 3 df of 1 measured row");
}

void ExpectInterval(const std::vector<NodeGroup>& groups, std::size_t from, std::size_t to,
                    double low, double high) {
  const Interval interval = fleet::ChangeBetween(groups, from, to, 0.95);
  EXPECT_NEAR(interval.low, low, 1e-10);
  EXPECT_NEAR(interval.high, high, 1e-10);
  EXPECT_EQ(interval.units,
            static_cast<int>(groups[from].values.size() + groups[to].values.size()));
}

TEST(Moderate, ADifferenceHasNoMoreDegreesOfFreedomThanThereAreInAll) {
  ExpectInterval(Groups(kTypes), 0, 1, 1.0190464191036692, 1.0708642433745115);  // 8, not 9.99
  ExpectInterval(Groups({kTypes[0], kTypes[1]}), 0, 1, 1.017411889545104, 1.0725846471529543);
  ExpectInterval(Groups(kTypes, {kRow}), 0, 1, 1.0187701251249914, 1.0711546654580895);
}

TEST(Moderate, ARowThatFitsSeveralTypesCountsOnceInAll) {
  EXPECT_EQ(ModerateSpreads(Groups(kTypes)).df_in_all, 8);
  EXPECT_EQ(ModerateSpreads(Groups(kTypes, {kRow})).df_in_all, 16);
  std::vector<NodeGroup> groups = Groups(kTypes, {kRow});
  groups[2].known = {{.variance = 4e-4, .df = 3}};
  EXPECT_EQ(ModerateSpreads(groups).df_in_all, 19);
}

TEST(Moderate, FromTwentyNodesASideTheIntervalIsTheBootstraps) {
  std::vector<std::vector<double>> types(3);
  for (int i = 0; i < 20; ++i) {
    types[0].push_back(0.01 * std::sin(i));
    types[1].push_back(0.01 * std::cos(i));
    if (i < 19) types[2].push_back(0.01 * std::cos(i));
  }
  const std::vector<NodeGroup> groups = Groups(types);
  const Spreads spreads = ModerateSpreads(groups);
  EXPECT_EQ(fleet::ChangeBetween(groups, 0, 1, 0.95).low,
            RatioInterval(types[0], types[1], 0.95).low);
  const double v = spreads.of[0]->variance / 20 + spreads.of[2]->variance / 19;
  EXPECT_NEAR(
      std::log(fleet::ChangeBetween(groups, 0, 2, 0.95).high) - Mean(types[2]) + Mean(types[0]),
      StudentT(0.95, 45) * std::sqrt(v), 1e-5);
}

// The least n by scipy's quantiles: (t(0.975) + t(0.8)) sqrt(2 sigma² / n) <= log(factor).
int NodesAlike(double factor, double variance) {
  return NodesToFind(factor, {.variance = variance}, {.variance = variance});
}

TEST(Moderate, TheNodesToFindADifferenceGrowWithTheSpread) {
  EXPECT_EQ(NodesAlike(1.05, 0.0025), 18);
  EXPECT_EQ(NodesAlike(1.03, 0.000225), 6);
  EXPECT_EQ(NodesAlike(1 / 1.03, 0.000225), 6);
  EXPECT_EQ(NodesAlike(1.05, 0.000025), 3);
  EXPECT_EQ(NodesAlike(1.05, 0), 3);
  EXPECT_EQ(NodesAlike(1.05, 1), kManyNodes);
}

// The nodes to find a difference between types that are alike are those of the textbooks' formula,
// (t95 + t60) sqrt(2 v / n) with 2 (n - 1) degrees of freedom.
TEST(Moderate, TheNodesToFindADifferenceAreThoseOfTheFormulaWhereTypesAreAlike) {
  for (const double sigma : {0.005, 0.01, 0.02, 0.04, 0.08}) {
    int n = 3;
    const auto reach = [&] {
      const double df = 2.0 * (n - 1);
      return (StudentT(0.95, df) + StudentT(0.60, df)) * sigma * std::sqrt(2.0 / n);
    };
    while (reach() > std::log(1.04)) ++n;
    EXPECT_EQ(NodesAlike(1.04, sigma * sigma), n) << sigma;
  }
}

// A comparison of unlike types has fewer degrees of freedom, and the narrower type borrows a spread
// that is not its own; a measured row adds degrees of freedom.
TEST(Moderate, TheNodesToFindADifferenceAreThoseThatTheComparisonTakes) {
  const double wide = 0.03 * 0.03;
  const double narrow = 0.003 * 0.003;
  const int alike = NodesAlike(1.04, (wide + narrow) / 2);
  EXPECT_GT(NodesToFind(1.04, {.variance = wide}, {.variance = narrow}), alike);
  const std::vector<KnownSpread> row = {{.variance = 0.000225, .df = 8}};
  const PlannedType known = {.variance = 0.000225, .known = row};
  EXPECT_LT(NodesToFind(1.03, known, known), NodesAlike(1.03, 0.000225));
}

}  // namespace
}  // namespace assay
