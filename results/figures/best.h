// Statements on machine types: which of several may be the best, how far the others are behind, and
// how slow a node of a type may be. Everything here works on plain numbers, and logs are natural;
// results/METRICS.md defines them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/figures/stats.h"

namespace assay {

// One type among those of which the best is asked for.
struct Contender {
  // The mean of its nodes, in logs. More is better: log speed, or minus the log of a cost.
  double mean = 0;
  int nodes = 0;
  // The mean with its variance; nothing where no spread between nodes is known (EstimateOf of
  // results/figures/moderate.h).
  std::optional<Estimate> estimate = {};
};

// One type's place.
struct Place {
  bool may_be_best = true;
  // Whether it alone may be the best: the others are then behind it by at least `by_at_least`, in
  // logs, which is else 0. A type with one node never is the best.
  bool is_best = false;
  double by_at_least = 0;
  // The distance to the best of the other types in logs, by the estimates and as an interval; 0
  // means as good as that best one. The interval is absent where this type has no spread, or no
  // other has.
  double behind = 0;
  std::optional<double> behind_low = {};
  std::optional<double> behind_high = {};
};

// Places types by multiple comparisons with the best (Hsu, "Simultaneous confidence intervals for
// all distances from the best", Annals of Statistics 9, 1981), with the quantile of Bonferroni: all
// that is said of one case is right together in 95 % of comparisons. A type without a spread is
// neither excluded nor excludes others. `df_in_all` is Spreads::df_in_all of
// results/figures/moderate.h. Returns one place for each contender, in their order.
std::vector<Place> PlacesOf(std::span<const Contender> contenders, double df_in_all,
                            double confidence = 0.95);

// Makes places consistent after a change: `is_best` stays only where that place alone may be the
// best and leads by more than 0, and all others get a `by_at_least` of 0.
void Settle(std::vector<Place>& places);

// The place in words: "fastest, by at least 2.1 %", "may be the fastest", "2.4-6.1 % behind the
// best"; where dollars are compared "cheapest, by at least 2.1 %", "may be the cheapest",
// "2.4-6.1 % dearer than the best".
enum class Contest { kSpeed, kCost };
std::string ToText(const Place& place, Contest contest);

// The lottery of renting a node: what the nodes seen of one type tell of the next one, whatever
// their distribution is.
struct Lottery {
  int nodes = 0;
  // The median node and the slowest seen, and the standard deviation between nodes, in logs.
  double median = 0;
  double slowest = 0;
  double deviation = 0;
  // At least this share of the nodes of the type give `bound` (in logs) or more, at 95 %
  // confidence. The bound is the value of the node of this rank, the slowest having 1.
  double share = 0;
  double bound = 0;
  int rank = 1;
  // Whether the share is 19 of 20, for which kNineteenOfTwenty nodes are needed.
  bool IsNineteenOfTwenty() const;
};
inline constexpr int kNineteenOfTwenty = 59;
// The lottery of a type whose nodes have these log speeds. REQUIRES: logs is not empty.
Lottery LotteryOf(std::span<const double> logs);
// The sentence on a lottery, with the bound as it is printed: "95 % sure: at least 37 % of the
// nodes of this type give 712 TFLOP/s, the slowest of the 3 seen, or more (too few nodes for 19 of
// 20: 59 needed)".
std::string ToText(const Lottery& lottery, const std::string& bound);

}  // namespace assay
