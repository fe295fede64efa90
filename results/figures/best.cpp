#include "results/figures/best.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace assay {
namespace {

constexpr double kSlowShare = 0.05;  // the share of nodes that 19 of 20 leaves out
constexpr double kDoubt = 0.05;      // the chance that the statement is wrong
// A share under 19 of 20 isn't rounded up to it.
constexpr double kMostPercentBelow = 94;

// The chance of at most `most` successes in n tries of chance p.
double BinomialUpTo(int most, int n, double p) {
  double sum = 0;
  for (int k = 0; k <= most; ++k) {
    sum += std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0) +
                    k * std::log(p) + (n - k) * std::log1p(-p));
  }
  return sum;
}

// The greatest rank whose value is exceeded by 19 of 20 nodes at 95 % confidence.
int RankOf(int nodes) {
  int rank = 1;
  while (rank < nodes && BinomialUpTo(rank, nodes, kSlowShare) <= kDoubt) ++rank;
  return rank;
}

std::string Ordinal(int n) {
  const bool is_teen = n / 10 % 10 == 1;
  const char* ending = is_teen       ? "th"
                       : n % 10 == 1 ? "st"
                       : n % 10 == 2 ? "nd"
                       : n % 10 == 3 ? "rd"
                                     : "th";
  return fmt::format("{}{}", n, ending);
}

std::string Percent(double share) {
  const double percent = 100 * share;
  return percent < 9.95 ? fmt::format("{:.1f}", percent) : fmt::format("{:.0f}", percent);
}

}  // namespace

std::vector<Place> PlacesOf(std::span<const Contender> contenders, double df_in_all,
                            double confidence) {
  std::vector<Place> places(contenders.size());
  const auto known = std::ranges::count_if(
      contenders, [](const Contender& contender) { return contender.estimate.has_value(); });
  // One-sided at the doubt divided by the others is two-sided at twice that.
  const double pairwise =
      1 - 2 * (1 - confidence) / static_cast<double>(std::max<std::ptrdiff_t>(1, known - 1));
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    Place& place = places[i];
    double behind = -std::numeric_limits<double>::infinity();
    double low = behind;
    double high = behind;
    for (std::size_t j = 0; j < contenders.size(); ++j) {
      if (j == i) continue;
      behind = std::max(behind, contenders[j].mean - contenders[i].mean);
      if (!contenders[i].estimate || !contenders[j].estimate) continue;
      const Interval ratio =
          RatioInterval(*contenders[i].estimate, *contenders[j].estimate, pairwise, df_in_all);
      low = std::max(low, std::log(ratio.low));
      high = std::max(high, std::log(ratio.high));
    }
    place.behind = std::max(0.0, behind);
    if (!std::isfinite(low)) continue;
    place.behind_low = std::max(0.0, low);
    place.behind_high = std::max(0.0, high);
    place.may_be_best = low <= 0;
    place.by_at_least = std::max(0.0, -high);
  }
  for (std::size_t i = 0; i < places.size(); ++i) places[i].is_best = contenders[i].nodes > 1;
  Settle(places);
  return places;
}

void Settle(std::vector<Place>& places) {
  const auto left = std::ranges::count_if(places, &Place::may_be_best);
  for (Place& place : places) {
    place.is_best = place.is_best && left == 1 && place.may_be_best && place.by_at_least > 0;
    if (!place.is_best) place.by_at_least = 0;
  }
}

std::string ToText(const Place& place, Contest contest) {
  const bool is_speed = contest == Contest::kSpeed;
  const char* best = is_speed ? "fastest" : "cheapest";
  if (place.is_best) {
    return fmt::format("{}, by at least {} %", best, Percent(std::expm1(place.by_at_least)));
  }
  if (place.may_be_best) return fmt::format("may be the {}", best);
  // A speed that is behind by x in logs is so much less; a cost is so much more.
  const auto share = [&](double logs) { return is_speed ? -std::expm1(-logs) : std::expm1(logs); };
  return fmt::format("{}-{} % {}", Percent(share(place.behind_low.value_or(0))),
                     Percent(share(place.behind_high.value_or(0))),
                     is_speed ? "behind the best" : "dearer than the best");
}

bool Lottery::IsNineteenOfTwenty() const { return nodes >= kNineteenOfTwenty; }

Lottery LotteryOf(std::span<const double> logs) {
  assert(!logs.empty());
  std::vector<double> sorted(logs.begin(), logs.end());
  std::ranges::sort(sorted);
  Lottery lottery = {.nodes = static_cast<int>(logs.size()),
                     .median = Median(logs),
                     .slowest = sorted.front(),
                     .deviation = StandardDeviation(logs)};
  if (lottery.IsNineteenOfTwenty()) {
    lottery.share = 1 - kSlowShare;
    lottery.rank = RankOf(lottery.nodes);
  } else {
    // The chance that all n nodes are among the faster share q is q^n.
    lottery.share = std::pow(kDoubt, 1.0 / lottery.nodes);
  }
  lottery.bound = sorted[static_cast<std::size_t>(lottery.rank) - 1];
  return lottery;
}

std::string ToText(const Lottery& lottery, const std::string& bound) {
  const double percent = std::round(100 * lottery.share);
  const std::string which =
      lottery.rank == 1 ? "the slowest" : fmt::format("the {} slowest", Ordinal(lottery.rank));
  std::string text = fmt::format(
      "95 % sure: at least {:.0f} % of the nodes of this type give {}, {} of the {} seen, or more",
      lottery.IsNineteenOfTwenty() ? percent : std::min(percent, kMostPercentBelow), bound, which,
      lottery.nodes);
  if (!lottery.IsNineteenOfTwenty()) {
    text += fmt::format(" (too few nodes for 19 of 20: {} needed)", kNineteenOfTwenty);
  }
  return text;
}

}  // namespace assay
