// The spread between the nodes of a type, where there are few of them. Three nodes tell their
// variance by two degrees of freedom, so a part of it is borrowed from the other types of the
// comparison, but not by a type that is clearly wider than they are. Everything here works on plain
// numbers; results/METRICS.md has the rule and its reasons.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/figures/stats.h"

namespace assay {

// A spread between nodes that was measured elsewhere: a row of noise.csv that fits.
struct KnownSpread {
  double variance = 0;  // the variance of the log speed of one node
  double df = 0;        // the degrees of freedom that it counts as here
  bool operator==(const KnownSpread&) const = default;
};

// The nodes of one type in one case.
struct NodeGroup {
  std::vector<double> values = {};      // the log speed of each node, its runs averaged
  std::vector<KnownSpread> known = {};  // the measured rows that fit this type
};

// The spread between the nodes of one type, and what it rests on.
struct NodeSpread {
  double variance = 0;     // the variance of the log speed of one node
  double df = 0;           // its degrees of freedom: the own and the borrowed ones
  int nodes = 0;           // the nodes of this type that were measured
  double borrowed_df = 0;  // 0 where nothing is borrowed
  int types = 0;           // the other types, and the measured rows, that tell of the spread
  int rows = 0;
  bool is_wider = false;  // clearly wider than these, so that nothing is borrowed from them
};
// The spread in words: "spread from 3 own nodes and 4 df of 5 other types".
std::string ToText(const NodeSpread& spread);

// The spreads of all types of a comparison.
struct Spreads {
  // One for each group. A type with a single node has none without a row that fits, since other
  // types can't tell whether it is a wide one.
  std::vector<std::optional<NodeSpread>> of = {};
  // The most degrees of freedom of a difference: those of all groups, and of each row once.
  double df_in_all = 0;
};
// Moderates the spreads of groups that have the same case on the same kind of device.
// REQUIRES: each group has a value.
Spreads ModerateSpreads(std::span<const NodeGroup> groups);

// The mean of a group's nodes with the variance of that mean; nothing where no spread is known.
std::optional<Estimate> EstimateOf(const NodeGroup& group, const std::optional<NodeSpread>& spread);

// The interval of a group's mean around it, as factors; nothing where no spread is known. From 20
// nodes on it is the bootstrap-t of their own values.
std::optional<Interval> MeanInterval(const NodeGroup& group,
                                     const std::optional<NodeSpread>& spread, double confidence);

// A type in a comparison to come.
struct PlannedType {
  double variance = 0;                  // the true variance of the log speed of one node
  std::vector<KnownSpread> known = {};  // the measured rows that the comparison will have of it
};
// The nodes a side by which a true difference of this factor is found in 80 of 100 comparisons of
// two such types at 95 % confidence, with the spreads and degrees of freedom that Compare has
// (ChangeOf, results/figures/side_values.h): at least three, at most kManyNodes.
inline constexpr int kManyNodes = 1000;
int NodesToFind(double factor, const PlannedType& a, const PlannedType& b);

}  // namespace assay
