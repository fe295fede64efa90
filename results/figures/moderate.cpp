#include "results/figures/moderate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "results/base/text.h"

namespace assay {
namespace {

// The most degrees of freedom that are borrowed, and that rows stand for where they stand alone.
constexpr double kMostBorrowed = 4;
constexpr double kMostOfRows = 8;
// The share of F's distribution beyond which a type is wider than the others.
constexpr double kGuard = 0.05;
// The chance of finding a true difference (NodesToFind). The quantile is of the two-sided kind.
constexpr double kFoundTwoSided = 0.60;  // 80 %

double OwnDf(const NodeGroup& group) { return static_cast<double>(group.values.size()) - 1; }

double VarianceOf(const NodeGroup& group) {
  const double deviation = StandardDeviation(group.values);
  return deviation * deviation;
}

// What tells of the spread of one type besides its own nodes.
struct Others {
  std::vector<KnownSpread> spreads = {};
  int types = 0;
  double Df() const {
    double df = 0;
    for (const KnownSpread& spread : spreads) df += spread.df;
    return df;
  }
  // The median of the variances. Of three and more, each is divided by the median of a variance of
  // so many degrees of freedom whose mean is 1 (Wilson and Hilferty's approximation to chi-square).
  double Median() const {
    std::vector<double> variances;
    for (const KnownSpread& spread : spreads) {
      const double median = spreads.size() >= 3 ? std::pow(1 - 2 / (9 * spread.df), 3) : 1;
      variances.push_back(spread.variance / median);
    }
    return assay::Median(variances);
  }
};

// Two nodes can't show that they are unlike the other types, so they borrow from rows alone; so
// does a single one.
Others OthersOf(std::span<const NodeGroup> groups, std::size_t i) {
  Others others = {.spreads = groups[i].known};
  if (OwnDf(groups[i]) < 2) return others;
  for (std::size_t j = 0; j < groups.size(); ++j) {
    if (j == i || OwnDf(groups[j]) < 1) continue;
    others.spreads.push_back({.variance = VarianceOf(groups[j]), .df = OwnDf(groups[j])});
    ++others.types;
  }
  return others;
}

std::optional<NodeSpread> SpreadOf(std::span<const NodeGroup> groups, std::size_t i) {
  const NodeGroup& group = groups[i];
  const Others others = OthersOf(groups, i);
  const double own_df = OwnDf(group);
  NodeSpread spread = {.nodes = static_cast<int>(group.values.size()),
                       .types = others.types,
                       .rows = static_cast<int>(group.known.size())};
  if (own_df == 0) {
    if (others.spreads.empty()) return std::nullopt;
    std::vector<double> variances;
    for (const KnownSpread& row : group.known) variances.push_back(row.variance);
    spread.variance = Median(variances);
    spread.df = spread.borrowed_df = std::min(kMostOfRows, others.Df());
    return spread;
  }
  const double own = VarianceOf(group);
  spread.variance = own;
  spread.df = own_df;
  if (others.spreads.empty()) return spread;
  const double usual = others.Median();
  spread.is_wider = own > 0 && FTail(own / usual, own_df, others.Df()) < kGuard;
  if (spread.is_wider) return spread;
  spread.borrowed_df = std::min(kMostBorrowed, others.Df() / 2);
  spread.df = spread.borrowed_df + own_df;
  spread.variance = (spread.borrowed_df * usual + own_df * own) / spread.df;
  return spread;
}

// A group of as many nodes as are planned. Their log speeds lie around 0 and have exactly the
// variance that is planned for the type.
NodeGroup NodesOf(int nodes, const PlannedType& type) {
  NodeGroup group = {.values = std::vector<double>(static_cast<std::size_t>(nodes)),
                     .known = type.known};
  group.values.front() = std::sqrt(type.variance * (nodes - 1) / 2);
  group.values.back() = -group.values.front();
  return group;
}

}  // namespace

std::string ToText(const NodeSpread& spread) {
  std::string others;
  if (spread.types > 0) others = CountText(spread.types, "other type");
  if (spread.rows > 0) {
    if (!others.empty()) others += " and ";
    others += CountText(spread.rows, "measured row");
  }
  if (spread.nodes == 1) return fmt::format("spread from {:.3g} df of {}", spread.df, others);
  const std::string own = fmt::format("spread from {} own nodes", spread.nodes);
  if (spread.is_wider) return fmt::format("{} alone, wider than {}", own, others);
  if (spread.borrowed_df == 0) return own + " alone";
  return fmt::format("{} and {:.3g} df of {}", own, spread.borrowed_df, others);
}

Spreads ModerateSpreads(std::span<const NodeGroup> groups) {
  Spreads spreads;
  std::vector<KnownSpread> rows;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    assert(!groups[i].values.empty());
    spreads.of.push_back(SpreadOf(groups, i));
    spreads.df_in_all += OwnDf(groups[i]);
    for (const KnownSpread& row : groups[i].known) {
      if (std::ranges::find(rows, row) != rows.end()) continue;
      rows.push_back(row);
      spreads.df_in_all += row.df;
    }
  }
  return spreads;
}

std::optional<Estimate> EstimateOf(const NodeGroup& group,
                                   const std::optional<NodeSpread>& spread) {
  if (!spread) return std::nullopt;
  return Estimate{.mean = Mean(group.values),
                  .variance = spread->variance / static_cast<double>(group.values.size()),
                  .degrees_of_freedom = spread->df};
}

std::optional<Interval> MeanInterval(const NodeGroup& group,
                                     const std::optional<NodeSpread>& spread, double confidence) {
  const std::optional<Estimate> estimate = EstimateOf(group, spread);
  if (!estimate) return std::nullopt;
  if (group.values.size() >= kBootstrapFrom) return MeanInterval(group.values, confidence);
  const double half =
      StudentT(confidence, estimate->degrees_of_freedom) * std::sqrt(estimate->variance);
  return Interval{.low = std::exp(-half),
                  .high = std::exp(half),
                  .units = static_cast<int>(group.values.size())};
}

int NodesToFind(double factor, const PlannedType& a, const PlannedType& b) {
  const double wanted = std::abs(std::log(factor));
  const auto finds = [&](int n) {
    const std::vector<NodeGroup> groups = {NodesOf(n, a), NodesOf(n, b)};
    Estimate of_a = EstimateOf(groups[0].values);
    Estimate of_b = EstimateOf(groups[1].values);
    const double true_variance = of_a.variance + of_b.variance;
    double most_df = std::numeric_limits<double>::infinity();
    if (n < static_cast<int>(kBootstrapFrom)) {
      const Spreads spreads = ModerateSpreads(groups);
      of_a = *EstimateOf(groups[0], spreads.of[0]);
      of_b = *EstimateOf(groups[1], spreads.of[1]);
      most_df = spreads.df_in_all;
    }
    const double variance = of_a.variance + of_b.variance;
    if (variance <= 0) return true;
    const auto reach = [&](double confidence) {
      return std::log(RatioInterval(of_a, of_b, confidence, most_df).high);
    };
    return reach(0.95) + reach(kFoundTwoSided) * std::sqrt(true_variance / variance) <= wanted;
  };
  int low = 3;
  int high = kManyNodes;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (finds(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace assay
