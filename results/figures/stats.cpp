#include "results/figures/stats.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <limits>

namespace assay {
namespace {

constexpr int kResamples = 9999;

// The generator SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", 2014), which is so short that METRICS.md can define the bootstrap to the last digit.
class SplitMix64 {
 public:
  // A number in [0, bound), for bound < 2^32, by multiplying the upper half.
  std::size_t Below(std::size_t bound) {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t x = state_;
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
    x ^= x >> 31U;
    return ((x >> 32U) * bound) >> 32U;
  }

 private:
  std::uint64_t state_ = 1;
};

// Computes log(gamma(a + 1/2) / gamma(a)). For large a the difference of two lgamma would lose the
// digits that the quantile needs, so the asymptotic series is used there.
double LogGammaHalfStep(double a) {
  if (a < 50) return std::lgamma(a + 0.5) - std::lgamma(a);
  const double r = 1 / a;
  return 0.5 * std::log(a) - r / 8 + r * r * r / 192 - r * r * r * r * r / 640;
}

// The continued fraction of the incomplete beta function, by the modified Lentz method
// (https://dlmf.nist.gov/8.17.E22). Converges quickly for x < (a + 1) / (a + b + 2).
double BetaFraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1;
  double d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double value = d;
  for (int m = 1; m < 10000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / away_from_zero(1 + even * d);
    c = away_from_zero(1 + even / c);
    value *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / away_from_zero(1 + odd * d);
    c = away_from_zero(1 + odd / c);
    value *= d * c;
    if (std::abs(d * c - 1) < 1e-15) break;
  }
  return value;
}

// The density of Student's t (Abramowitz and Stegun 26.7.2), or the normal density where
// StudentTail uses the normal distribution.
double StudentDensity(double t, double degrees_of_freedom) {
  const double pi = std::acos(-1.0);
  if (degrees_of_freedom > 1e6) return std::exp(-t * t / 2) / std::sqrt(2 * pi);
  const double n = degrees_of_freedom;
  return std::exp(LogGammaHalfStep(n / 2) - (n + 1) / 2 * std::log1p(t * t / n)) /
         std::sqrt(n * pi);
}

// The sample variance (n - 1); 0 for one value.
double Variance(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return sum / static_cast<double>(values.size() - 1);
}

double StandardError(std::span<const double> values) {
  return std::sqrt(Variance(values) / static_cast<double>(values.size()));
}

// Everything that Welch's test needs of two samples: the difference b - a, its standard error and
// the Welch-Satterthwaite degrees of freedom.
struct Welch {
  double difference = 0;
  double standard_error = 0;
  double degrees_of_freedom = std::numeric_limits<double>::infinity();
};

// Combines two estimates. A side whose variance is exact has infinite degrees of freedom and adds
// no uncertainty to them.
Welch WelchOf(const Estimate& a, const Estimate& b) {
  const auto uncertainty = [](const Estimate& side) {
    return side.degrees_of_freedom > 0 ? side.variance * side.variance / side.degrees_of_freedom
                                       : 0;
  };
  const double variance = a.variance + b.variance;
  Welch welch = {.difference = b.mean - a.mean, .standard_error = std::sqrt(variance)};
  const double below = uncertainty(a) + uncertainty(b);
  if (below > 0) welch.degrees_of_freedom = variance * variance / below;
  return welch;
}

Welch WelchOf(std::span<const double> a, std::span<const double> b) {
  return WelchOf(EstimateOf(a), EstimateOf(b));
}

// The number of standard errors that the interval reaches to either side of the estimate.
struct Reach {
  double down = 0;
  double up = 0;
};

// The reach by the resamples' t, whose order is lost.
Reach ReachOf(double confidence, std::vector<double>& t) {
  if (t.empty()) return {};
  const auto tail = static_cast<std::size_t>(
      std::floor((1 - confidence) / 2 * static_cast<double>(t.size() + 1)));
  const std::size_t k = std::clamp<std::size_t>(tail, 1, t.size());
  const auto at = [&](std::size_t rank) {
    const auto place = t.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(t.begin(), place, t.end());
    return *place;
  };
  // The upper quantile of t* is how far the estimate may lie above the truth.
  return {.down = std::max(0.0, at(t.size() - k)), .up = std::max(0.0, -at(k - 1))};
}

// The reach by the bootstrap-t (Efron and Tibshirani, "An Introduction to the Bootstrap", chapter
// 12), which takes the quantiles of Student's t from the data themselves and so follows skewed
// times better. `resample` gives (estimate* - estimate) / standard error*, which isn't finite where
// it is undefined.
template <class Resample>
Reach BootstrapReach(double confidence, const Resample& resample) {
  std::vector<double> t = {};
  t.reserve(kResamples);
  for (int i = 0; i < kResamples; ++i) {
    const double value = resample();
    if (std::isfinite(value)) t.push_back(value);
  }
  return ReachOf(confidence, t);
}

void Draw(SplitMix64& random, std::span<const double> from, std::vector<double>& into) {
  into.resize(from.size());
  for (double& value : into) value = from[random.Below(from.size())];
}

// The reach of one mean by the bootstrap-t. It takes kTogether resamples at a time, since the sum
// of one would wait for each of its additions; the order of the additions of each is that of Mean
// and Variance, so that no digit differs.
Reach MeanReach(double confidence, std::span<const double> logs) {
  constexpr int kTogether = 8;
  const std::size_t size = logs.size();
  const auto n = static_cast<double>(size);
  const double mean = Mean(logs);
  SplitMix64 random;
  std::vector<std::array<double, kTogether>> drawn(size);
  std::vector<double> t;
  t.reserve(kResamples);
  for (int done = 0; done < kResamples; done += kTogether) {
    const auto lanes = static_cast<std::size_t>(std::min(kTogether, kResamples - done));
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      for (std::size_t i = 0; i < size; ++i) drawn[i][lane] = logs[random.Below(size)];
    }
    std::array<double, kTogether> means = {};
    for (const std::array<double, kTogether>& row : drawn) {
      for (std::size_t lane = 0; lane < kTogether; ++lane) means[lane] += row[lane];
    }
    for (double& one : means) one /= n;
    std::array<double, kTogether> squares = {};
    for (const std::array<double, kTogether>& row : drawn) {
      for (std::size_t lane = 0; lane < kTogether; ++lane) {
        const double distance = row[lane] - means[lane];
        squares[lane] += distance * distance;
      }
    }
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const double value = (means[lane] - mean) / std::sqrt(squares[lane] / (n - 1) / n);
      if (std::isfinite(value)) t.push_back(value);
    }
  }
  return ReachOf(confidence, t);
}

Interval Around(double estimate, double standard_error, const Reach& reach) {
  return {.estimate = std::exp(estimate),
          .low = std::exp(estimate - reach.down * standard_error),
          .high = std::exp(estimate + reach.up * standard_error)};
}

}  // namespace

double Mean(std::span<const double> values) {
  assert(!values.empty());
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double Median(std::span<const double> values) {
  assert(!values.empty());
  std::vector<double> sorted(values.begin(), values.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  if (sorted.size() % 2 == 1) return *middle;
  return (*std::max_element(sorted.begin(), middle) + *middle) / 2;
}

double Percentile(std::span<const double> values, double p) {
  assert(!values.empty());
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double rank = std::ceil(p * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(
      std::clamp(rank - 1, 0.0, static_cast<double>(sorted.size() - 1)))];
}

double StandardDeviation(std::span<const double> values) { return std::sqrt(Variance(values)); }

// Computes P(|T| > t) = I_x(df/2, 1/2) with x = df / (df + t²) (https://dlmf.nist.gov/8.17.E2 and
// Abramowitz and Stegun 26.7.1), where I is the regularised incomplete beta function.
double StudentTail(double t, double degrees_of_freedom) {
  assert(degrees_of_freedom > 0);
  t = std::abs(t);
  if (t == 0) return 1;
  if (std::isinf(t)) return 0;
  if (degrees_of_freedom > 1e6) return std::erfc(t / std::sqrt(2.0));
  const double a = degrees_of_freedom / 2;
  const double b = 0.5;
  const double y = t * t / (degrees_of_freedom + t * t);  // 1 - x
  const double x = degrees_of_freedom / (degrees_of_freedom + t * t);
  // x^a (1-x)^b / B(a, b), with gamma(1/2) = sqrt(pi); near 1, log x is exact through its
  // complement.
  const double log_x = x < 0.5 ? std::log(x) : std::log1p(-y);
  const double log_front =
      a * log_x + b * std::log(y) + LogGammaHalfStep(a) - 0.5 * std::log(std::acos(-1.0));
  const double front = std::exp(log_front);
  if (x < (a + 1) / (a + b + 2)) return front * BetaFraction(x, a, b) / a;
  return 1 - front * BetaFraction(y, b, a) / b;
}

// Finds the quantile by Newton's method for log P(|T| > t) over log t, whose slope is -2 t density
// / tail, within the bracket that is known so far.
double StudentT(double confidence, double degrees_of_freedom) {
  assert(confidence > 0 && confidence < 1);
  const double wanted = 1 - confidence;
  double low = 0;
  double high = std::numeric_limits<double>::infinity();
  double t = 2;
  for (int i = 0; i < 200; ++i) {
    const double tail = StudentTail(t, degrees_of_freedom);
    (tail > wanted ? low : high) = t;
    const double slope = 2 * t * StudentDensity(t, degrees_of_freedom) / tail;
    double next = t * std::exp(std::log(tail / wanted) / slope);
    if (!(low <= next && next <= high)) next = std::isinf(high) ? 2 * t : (low + high) / 2;
    const bool close = std::abs(next - t) <= 1e-13 * t;
    t = next;
    if (close) break;
  }
  return t;
}

// Computes P(F > f) = I_x(df_below/2, df_above/2) with x = df_below / (df_below + df_above f)
// (Abramowitz and Stegun 26.6.2).
double FTail(double f, double df_above, double df_below) {
  assert(df_above > 0 && df_below > 0);
  if (f <= 0) return 1;
  if (std::isinf(f)) return 0;
  const double a = df_below / 2;
  const double b = df_above / 2;
  const double x = df_below / (df_below + df_above * f);
  const double y = df_above * f / (df_below + df_above * f);  // 1 - x
  const double front = std::exp(a * std::log(x) + b * std::log(y) + std::lgamma(a + b) -
                                std::lgamma(a) - std::lgamma(b));
  if (x < (a + 1) / (a + b + 2)) return front * BetaFraction(x, a, b) / a;
  return 1 - front * BetaFraction(y, b, a) / b;
}

// Bisects P(X < x), which is the lower regularised incomplete gamma function of df/2 and x/2, by
// its series (https://dlmf.nist.gov/8.7.E1).
double ChiSquareQuantile(double chance, double degrees_of_freedom) {
  assert(chance > 0 && chance < 1 && degrees_of_freedom > 0);
  if (degrees_of_freedom > 1e6) return degrees_of_freedom;
  const double a = degrees_of_freedom / 2;
  const auto below = [&](double x) {
    double term = std::exp(a * std::log(x / 2) - x / 2 - std::lgamma(a + 1));
    double sum = term;
    for (int n = 1; n < 1'000'000 && term > 1e-17 * sum; ++n) {
      term *= x / 2 / (a + n);
      sum += term;
    }
    return sum;
  };
  double low = 0;
  double high = degrees_of_freedom;
  while (below(high) < chance) high *= 2;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = (low + high) / 2;
    (below(middle) < chance ? low : high) = middle;
  }
  return (low + high) / 2;
}

std::vector<double> ModifiedZScores(std::span<const double> values) {
  const double median = Median(values);
  std::vector<double> scores(values.begin(), values.end());
  for (double& score : scores) score -= median;
  std::vector<double> distances;
  for (const double score : scores) distances.push_back(std::abs(score));
  const double mad = Median(distances);
  // A score of 0 / 0 belongs to a value that equals most others.
  for (double& score : scores) score = score == 0 ? 0 : 0.6745 * score / mad;
  return scores;
}

double LagOneAutocorrelation(std::span<const double> values) {
  const double mean = Mean(values);
  double together = 0;
  double alone = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    alone += (values[i] - mean) * (values[i] - mean);
    if (i > 0) together += (values[i] - mean) * (values[i - 1] - mean);
  }
  return alone > 0 ? together / alone : 0;
}

Slope SlopeOf(std::span<const double> x, std::span<const double> y, double confidence) {
  const double mean_x = Mean(x);
  const double mean_y = Mean(y);
  double xx = 0;
  double xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  const double slope = xy / xx;
  std::vector<double> residuals;
  double squares = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    residuals.push_back(y[i] - mean_y - slope * (x[i] - mean_x));
    squares += residuals.back() * residuals.back();
  }
  const double df = static_cast<double>(x.size()) - 2;
  double variance = squares / df / xx;
  if (squares > 0) {
    const double alike = std::clamp(LagOneAutocorrelation(residuals), 0.0, 0.9);
    variance *= (1 + alike) / (1 - alike);
  }
  return {.value = slope, .half_width = StudentT(confidence, df) * std::sqrt(variance)};
}

std::optional<Interval> MeanInterval(std::span<const double> logs, double confidence) {
  if (logs.size() < 2) return std::nullopt;
  const double standard_error = StandardError(logs);
  Reach reach = {};
  if (logs.size() < kBootstrapFrom) {
    reach.down = reach.up = StudentT(confidence, static_cast<double>(logs.size() - 1));
  } else {
    reach = MeanReach(confidence, logs);
  }
  Interval interval = Around(0, standard_error, reach);
  interval.units = static_cast<int>(logs.size());
  return interval;
}

Interval RatioInterval(std::span<const double> a, std::span<const double> b, double confidence) {
  const Welch welch = WelchOf(a, b);
  Reach reach = {};
  if (std::min(a.size(), b.size()) < kBootstrapFrom) {
    reach.down = reach.up = StudentT(confidence, welch.degrees_of_freedom);
  } else {
    SplitMix64 random;
    std::vector<double> drawn_a;
    std::vector<double> drawn_b;
    reach = BootstrapReach(confidence, [&] {
      Draw(random, a, drawn_a);
      Draw(random, b, drawn_b);
      const Welch drawn = WelchOf(drawn_a, drawn_b);
      return (drawn.difference - welch.difference) / drawn.standard_error;
    });
  }
  Interval interval = Around(welch.difference, welch.standard_error, reach);
  interval.units = static_cast<int>(a.size() + b.size());
  return interval;
}

Estimate EstimateOf(std::span<const double> logs) {
  const auto n = static_cast<double>(logs.size());
  return {.mean = Mean(logs), .variance = Variance(logs) / n, .degrees_of_freedom = n - 1};
}

Interval RatioInterval(const Estimate& a, const Estimate& b, double confidence, double most_df) {
  const Welch welch = WelchOf(a, b);
  const double t = StudentT(confidence, std::min(welch.degrees_of_freedom, most_df));
  return Around(welch.difference, welch.standard_error, {.down = t, .up = t});
}

double RatioPValue(const Estimate& a, const Estimate& b, double most_df) {
  const Welch welch = WelchOf(a, b);
  if (welch.difference == 0) return 1;
  return StudentTail(welch.difference / welch.standard_error,
                     std::min(welch.degrees_of_freedom, most_df));
}

std::optional<std::string> StopAfter(int rounds, double half_width, double ci) {
  const bool looks = rounds == 5 || rounds == 8 || rounds == 12 || rounds >= 20;
  const double asked = rounds < 8 ? ci / 1.5 : rounds < 12 ? ci / 1.25 : ci;
  if (looks && half_width <= asked) return "ci";
  if (rounds >= 20) return "rounds";
  return std::nullopt;
}

}  // namespace assay
