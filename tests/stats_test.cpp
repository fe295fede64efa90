#include "results/figures/stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace assay {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Stats, MedianOfAnEvenCountLiesBetweenTheMiddleTwo) {
  EXPECT_DOUBLE_EQ(Median(std::vector<double>{4, 1, 3, 2}), 2.5);
  EXPECT_DOUBLE_EQ(Median(std::vector<double>{9, 1, 5}), 5);
  EXPECT_DOUBLE_EQ(Median(std::vector<double>{7}), 7);
}

TEST(Stats, PercentileIsANearestRank) {
  const std::vector<double> values = {15, 20, 35, 40, 50};
  EXPECT_EQ(Percentile(values, 0), 15);
  EXPECT_EQ(Percentile(values, 0.30), 20);
  EXPECT_EQ(Percentile(values, 0.40), 20);
  EXPECT_EQ(Percentile(values, 0.41), 35);
  EXPECT_EQ(Percentile(values, 1), 50);
}

TEST(Stats, StandardDeviationDividesByOneLess) {
  EXPECT_DOUBLE_EQ(StandardDeviation(std::vector<double>{2, 4, 4, 4, 5, 5, 7, 9}),
                   std::sqrt(32.0 / 7));
  EXPECT_EQ(StandardDeviation(std::vector<double>{3}), 0);
}

// Two-sided 5 % points: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, to its three
// decimals; and closed forms: one degree of freedom is the Cauchy distribution, two degrees have
// t = (2p - 1) sqrt(2 / (4 p (1 - p))) at the one-sided p.
TEST(Stats, StudentTIsThatOfTheTables) {
  EXPECT_NEAR(StudentT(0.95, 4), 2.776, 0.0005);
  EXPECT_NEAR(StudentT(0.95, 10), 2.228, 0.0005);
  EXPECT_NEAR(StudentT(0.95, 30), 2.042, 0.0005);
  EXPECT_NEAR(StudentT(0.99, 5), 4.032, 0.0005);
  EXPECT_NEAR(StudentT(0.998, 100), 3.174, 0.0005);
  EXPECT_NEAR(StudentT(0.95, 1), std::tan(0.475 * std::acos(-1.0)), 1e-10);
  const double p = 0.975;
  EXPECT_NEAR(StudentT(0.95, 2), (2 * p - 1) * std::sqrt(2 / (4 * p * (1 - p))), 1e-10);
}

TEST(Stats, StudentTBecomesTheNormalDistribution) {
  EXPECT_NEAR(StudentT(0.95, kInfinity), 1.959963984540054, 1e-12);
  // Cornish and Fisher: t = z + (z³ + z) / (4 df) + …
  const double z = 1.959963984540054;
  EXPECT_NEAR(StudentT(0.95, 1e5), z + (z * z * z + z) / 4e5, 1e-9);
  EXPECT_NEAR(StudentT(0.95, 1e6), StudentT(0.95, 1.0001e6), 3e-6);
}

TEST(Stats, StudentTailUndoesStudentT) {
  for (const double df : {1.0, 2.5, 4.0, 18.3, 99.0, 101.0, 5e4, kInfinity}) {
    for (const double confidence : {0.5, 0.9, 0.95, 0.999, 0.99999}) {
      EXPECT_NEAR(StudentTail(StudentT(confidence, df), df) / (1 - confidence), 1, 1e-11)
          << df << " " << confidence;
    }
  }
  EXPECT_EQ(StudentTail(0, 3), 1);
  EXPECT_DOUBLE_EQ(StudentTail(-2, 3), StudentTail(2, 3));
}

// scipy's stats.f.sf; with 2 degrees of freedom above it is (1 + 2 f / df)^(-df / 2).
TEST(Stats, TheTailOfFIsThatOfTheTables) {
  EXPECT_NEAR(FTail(6.94427191, 2, 4), 0.05, 1e-10);
  EXPECT_NEAR(FTail(3, 2, 1), 1 / std::sqrt(7.0), 1e-13);
  EXPECT_NEAR(FTail(0.5, 3, 8.5), 0.6920391158506912, 1e-12);
  EXPECT_NEAR(FTail(2.1645799, 10, 30), 0.050000001720802115, 1e-12);
  EXPECT_NEAR(FTail(40, 7.5, 2.5), 0.011783979025656725, 1e-12);
  EXPECT_EQ(FTail(0, 2, 4), 1);
  EXPECT_EQ(FTail(kInfinity, 2, 4), 0);
}

// With two degrees of freedom it is -2 log(1 - chance), with one the square of the normal quantile.
TEST(Stats, TheQuantileOfChiSquareIsThatOfTheTables) {
  EXPECT_NEAR(ChiSquareQuantile(0.2, 2), -2 * std::log(0.8), 1e-13);
  EXPECT_NEAR(ChiSquareQuantile(0.9, 2), -2 * std::log(0.1), 1e-12);
  EXPECT_NEAR(ChiSquareQuantile(0.2, 1), 0.0641847546673016, 1e-13);
  EXPECT_NEAR(ChiSquareQuantile(0.2, 8), 4.593573619, 1e-8);
  EXPECT_NEAR(ChiSquareQuantile(0.2, 1e6) / 1e6, 1, 2e-3);
  EXPECT_EQ(ChiSquareQuantile(0.2, kInfinity), kInfinity);
}

TEST(Stats, AlternatingValuesAreNegativelyAutocorrelated) {
  EXPECT_DOUBLE_EQ(LagOneAutocorrelation(std::vector<double>{1, -1, 1, -1}), -0.75);
  EXPECT_GT(LagOneAutocorrelation(std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}), 0.6);
  EXPECT_EQ(LagOneAutocorrelation(std::vector<double>{5, 5, 5}), 0);
}

TEST(Stats, OneUnitHasNoInterval) {
  EXPECT_FALSE(MeanInterval(std::vector<double>{0.3}).has_value());
}

TEST(Stats, UnderTwentyUnitsTheIntervalIsStudents) {
  const std::vector<double> logs = {0.00, 0.01, 0.02, 0.03, 0.04};
  const double reach = StudentT(0.95, 4) * std::sqrt(0.00025 / 5);
  const Interval interval = MeanInterval(logs).value();
  EXPECT_EQ(interval.estimate, 1);
  EXPECT_NEAR(interval.low, std::exp(-reach), 1e-14);
  EXPECT_NEAR(interval.high, std::exp(reach), 1e-14);
  EXPECT_EQ(interval.units, 5);
}

TEST(Stats, FromTwentyUnitsTheIntervalFollowsTheSkew) {
  // One slow unit in twenty: the truth may lie far above the mean, hardly below it.
  std::vector<double> logs(20, 0.0);
  for (std::size_t i = 0; i < logs.size(); ++i) logs[i] = 0.001 * static_cast<double>(i % 5);
  logs[7] = 0.2;
  const Interval interval = MeanInterval(logs).value();
  EXPECT_GT(interval.high - 1, 2 * (1 - interval.low));
  EXPECT_LT(interval.low, 1);
  const Interval again = MeanInterval(logs).value();
  EXPECT_EQ(interval.low, again.low);
  EXPECT_EQ(interval.high, again.high);
}

TEST(Stats, TheBootstrapAgreesWithStudentWhereValuesAreSymmetric) {
  std::vector<double> logs;
  for (int i = 0; i < 40; ++i) logs.push_back(0.01 * std::sin(i * 2.4) + 0.001 * (i % 7));
  const double student =
      StudentT(0.95, 39) * StandardDeviation(logs) / std::sqrt(static_cast<double>(logs.size()));
  const Interval interval = MeanInterval(logs).value();
  EXPECT_NEAR(interval.HalfWidth() / student, 1, 0.06);
}

double PValueOf(const std::vector<double>& a, const std::vector<double>& b) {
  return RatioPValue(EstimateOf(a), EstimateOf(b), std::numeric_limits<double>::infinity());
}

// The worked example: means 1 apart, variances 2.5 and 10 of five each, so that
// se² = 0.5 + 2 and df = 2.5² / (0.5²/4 + 2²/4).
TEST(Stats, TwoSidesOfUnlikeSpreadAreComparedByWelch) {
  const std::vector<double> a = {1, 2, 3, 4, 5};
  const std::vector<double> b = {0, 2, 4, 6, 8};
  const double df = 2.5 * 2.5 / (0.25 / 4 + 4.0 / 4);
  const double reach = StudentT(0.95, df) * std::sqrt(2.5);
  const Interval interval = RatioInterval(a, b);
  EXPECT_NEAR(interval.estimate, std::exp(1.0), 1e-12);
  EXPECT_NEAR(interval.low, std::exp(1 - reach), 1e-12);
  EXPECT_NEAR(interval.high / std::exp(1 + reach), 1, 1e-12);
  EXPECT_EQ(interval.units, 10);
  EXPECT_NEAR(PValueOf(a, b), StudentTail(1 / std::sqrt(2.5), df), 1e-12);
}

// Two sides of one value each have only the variances that they are given: 1 and 4 by 8 and 2
// degrees of freedom, 25 / (1 / 8 + 16 / 2) = 3.08 by Welch.
TEST(Stats, ASpreadFromElsewhereComesWithItsDegreesOfFreedom) {
  const Estimate a = {.mean = 1, .variance = 1, .degrees_of_freedom = 8};
  const Estimate b = {.mean = 3, .variance = 4, .degrees_of_freedom = 2};
  const double df = 25 / (1.0 / 8 + 16.0 / 2);
  const Interval interval = RatioInterval(a, b, 0.9, 100);
  const double reach = StudentT(0.9, df) * std::sqrt(5.0);
  EXPECT_NEAR(std::log(interval.low), 2 - reach, 1e-12);
  EXPECT_NEAR(std::log(interval.high), 2 + reach, 1e-12);
  EXPECT_NEAR(RatioPValue(a, b, 100), StudentTail(2 / std::sqrt(5.0), df), 1e-12);
  // No more than there are in all.
  EXPECT_NEAR(std::log(RatioInterval(a, b, 0.9, 2).high), 2 + StudentT(0.9, 2) * std::sqrt(5.0),
              1e-12);
  EXPECT_NEAR(RatioPValue(a, b, 2), StudentTail(2 / std::sqrt(5.0), 2), 1e-12);
}

TEST(Stats, TheIntervalAndThePValueTellTheSame) {
  const std::vector<double> a = {0.000, 0.002, 0.001, 0.003};
  for (const double shift : {0.001, 0.002, 0.003, 0.004, 0.005}) {
    std::vector<double> b = a;
    for (double& value : b) value += shift;
    EXPECT_EQ(RatioInterval(a, b).low > 1, PValueOf(a, b) < 0.05) << shift;
  }
}

TEST(Stats, EqualSidesDoNotDiffer) {
  const std::vector<double> same = {0.5, 0.5, 0.5};
  EXPECT_EQ(PValueOf(same, same), 1);
  EXPECT_EQ(RatioInterval(same, same).low, 1);
  EXPECT_EQ(RatioInterval(same, same).high, 1);
}

TEST(Stats, ACaseStopsOnlyAtALookAndTheEarlierTheMoreIsAsked) {
  EXPECT_FALSE(StopAfter(4, 0.001, 0.01).has_value());
  EXPECT_FALSE(StopAfter(6, 0.001, 0.01).has_value());
  EXPECT_EQ(StopAfter(5, 0.0066, 0.01), "ci");
  EXPECT_FALSE(StopAfter(5, 0.0067, 0.01).has_value());
  EXPECT_EQ(StopAfter(8, 0.0079, 0.01), "ci");
  EXPECT_FALSE(StopAfter(8, 0.0081, 0.01).has_value());
  EXPECT_EQ(StopAfter(12, 0.01, 0.01), "ci");
  EXPECT_EQ(StopAfter(20, 0.01, 0.01), "ci");
  EXPECT_EQ(StopAfter(20, 0.02, 0.01), "rounds");
}

TEST(Stats, AModifiedZScoreHoldsADistanceAgainstTheMedianOne) {
  const std::vector<double> scores = ModifiedZScores(std::vector<double>{1, 2, 3, 4, 10});
  EXPECT_DOUBLE_EQ(scores[0], -2 * 0.6745);
  EXPECT_DOUBLE_EQ(scores[2], 0);
  EXPECT_DOUBLE_EQ(scores[4], 7 * 0.6745);
  const std::vector<double> alike = ModifiedZScores(std::vector<double>{5, 5, 5, 4});
  EXPECT_EQ(alike[0], 0);
  EXPECT_EQ(alike[3], -std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace assay
