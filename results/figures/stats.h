// Statistics as pure functions. There is one method for intervals: the highest level that is
// repeated is the unit (sample < round < run < node < instance type), and lower levels are averaged
// first. Under 20 units it is a (Welch) t interval on mean log time, from 20 a bootstrap-t.
// results/METRICS.md defines each to the last digit.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace assay {

// An interval around a ratio: low <= estimate <= high, as factors (0.99, 1.0, 1.01). `units` is the
// number of values that it rests on, 0 where nobody has counted, and `level` tells them in words.
struct Interval {
  double estimate = 1;
  double low = 1;
  double high = 1;
  int units = 0;
  std::string level = {};  // "5 rounds, this run"
  double HalfWidth() const { return (high - low) / 2; }
};

// The arithmetic mean and the median, which of an even number of values is the mean of the middle
// two. REQUIRES, for all functions of `values` here: there is one at least.
double Mean(std::span<const double> values);
double Median(std::span<const double> values);
// The percentile by nearest rank, p in [0, 1].
double Percentile(std::span<const double> values, double p);
// The sample standard deviation (n - 1); 0 for one value.
double StandardDeviation(std::span<const double> values);
// The two-sided quantile of Student's t: (0.95, 4) gives 2.776. Above 10^6 degrees of freedom,
// infinity included, it is the normal distribution's. REQUIRES: 0 < confidence < 1, and more than 0
// degrees of freedom, as for the functions below.
double StudentT(double confidence, double degrees_of_freedom);
// The inverse, P(|T| > t): (2.776, 4) gives 0.05.
double StudentTail(double t, double degrees_of_freedom);
// The chance that a ratio of two variances of these degrees of freedom is above f, P(F > f):
// (6.94, 2, 4) gives 0.05.
double FTail(double f, double df_above, double df_below);
// The value below which a chi-square of these degrees of freedom lies with this chance, in (0, 1):
// (0.2, 8) gives 4.594. Above 10^6 degrees of freedom it is those.
double ChiSquareQuantile(double chance, double degrees_of_freedom);
// The modified z-score of each value, 0.6745 (x - median) / MAD (Iglewicz and Hoaglin, "How to
// detect and handle outliers", 1993, who call more than 3.5 an outlier). It is infinite where most
// values are equal and this one isn't.
std::vector<double> ModifiedZScores(std::span<const double> values);
// The correlation of each value with the next one; 0 where the values don't vary.
double LagOneAutocorrelation(std::span<const double> values);

// The slope of the least-squares line, and half the width of its interval. The interval is wider
// where neighbours are alike, since they tell less than independent ones (a first-order process).
// REQUIRES: three points or more, at two or more x, in the order in which they were taken.
struct Slope {
  double value = 0;
  double half_width = 0;
};
Slope SlopeOf(std::span<const double> x, std::span<const double> y, double confidence = 0.95);

// The units a side from which on intervals are bootstrap-t.
inline constexpr std::size_t kBootstrapFrom = 20;
// The interval of exp of the mean of `logs`, relative to that (estimate = 1). Nothing under 2
// units.
std::optional<Interval> MeanInterval(std::span<const double> logs, double confidence = 0.95);

// The ratio exp(mean(b) - mean(a)) with its interval. A side with a single value counts as exact,
// so callers with such a side use the RatioInterval of two estimates.
Interval RatioInterval(std::span<const double> a, std::span<const double> b,
                       double confidence = 0.95);

// A mean of logs with the variance of that mean, and the degrees of freedom of the variance.
struct Estimate {
  double mean = 0;
  double variance = 0;
  double degrees_of_freedom = 0;
};
// Estimates from the values themselves. A single value has 0 degrees of freedom, since its variance
// is unknown.
Estimate EstimateOf(std::span<const double> logs);

// The ratio of two estimates, with a t interval by Welch's degrees of freedom, but no more than
// `most_df`.
Interval RatioInterval(const Estimate& a, const Estimate& b, double confidence, double most_df);
// The two-sided p-value of "there is no change" by the Welch t test, with the same degrees of
// freedom.
double RatioPValue(const Estimate& a, const Estimate& b, double most_df);

// The stopping rule of a case that goes on until its interval is narrow. It returns "ci" once half
// the width of the interval is at most `ci`, "rounds" after 20, and nothing where the case goes on.
// It looks after rounds 5, 8, 12 and 20 only, and asks for ci / 1.5 at the first and ci / 1.25 at
// the second look. A rule that looks often, or that is content with few rounds, stops where chance
// made the interval narrow (simulated in tests/coverage_test.cpp: 93 % instead of 92 % of the
// intervals hold the truth).
std::optional<std::string> StopAfter(int rounds, double half_width, double ci);

}  // namespace assay
