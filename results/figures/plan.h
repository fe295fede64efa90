// The plan of a comparison between two machine types: how many nodes of each, and how many minutes
// and dollars, so that a true difference of a given size is found in 80 of 100 comparisons. It
// rests on how nodes were seen to differ, in result files or in measured rows of noise.csv, and
// promises nothing where neither tells. results/METRICS.md (Planning) defines every figure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/brief.h"
#include "results/figures/moderate.h"
#include "results/figures/noise.h"

namespace assay {

// A variance of log speeds as it was measured, and the degrees of freedom that it was measured by.
struct MeasuredVariance {
  double variance = 0;
  double degrees_of_freedom = 0;
};
// The upper 80 % bound of the true variance. A plan by this bound keeps its promise even where the
// variance was measured by few degrees of freedom.
double UpperVariance(const MeasuredVariance& measured);

// The variance between nodes, each measured by the mean of `runs` (>= 1) runs. `between_nodes` was
// measured on other numbers of runs: `its_inverse_runs` is the mean over those nodes of 1 / the
// node's runs, or 0 where the differences between runs are not part of `between_nodes`.
// `between_runs` is the variance between runs of one node. The degrees of freedom are
// Satterthwaite's.
MeasuredVariance SpreadOfNodes(const MeasuredVariance& between_nodes, double its_inverse_runs,
                               const MeasuredVariance& between_runs, int runs);

// One way of buying a node.
struct WayToBuy {
  std::string purchase = {};    // one of Purchases (results/catalog/price.h)
  std::string words = {};       // the purchase in words: "reserved 12 months"
  std::string where = {};       // "us-east-1", "3 regions"
  std::string date = {};        // the price's date; empty for a range over regions
  double usd_per_hour = 0;      // of a node; the highest price of a range
  double usd_low_per_hour = 0;  // of a node; the lowest price of a range
  // The hours that are billed for a node: the time of its runs, rounded up to the provider's unit
  // and minimum where these are known (results/catalog/billing.h).
  double hours_a_node = 0;
};

// One of the two types of a plan.
struct PlannedSide {
  std::string name = {};  // "aws p5.48xlarge"
  // The spread between its nodes with the plan's runs; nothing where it was never measured.
  std::optional<MeasuredVariance> spread = {};
  std::string spread_words = {};        // what the spread rests on, or why it isn't known
  std::vector<KnownSpread> known = {};  // the measured rows that compare will have
  double minutes_a_run = 0;
  std::string minutes_words = {};  // what minutes_a_run rests on
  std::vector<WayToBuy> ways = {};
  std::string no_price = {};  // why there is no way of buying with a price
};

// A plan.
struct NodePlan {
  double resolve = 0;                   // the true difference that is to be found, as a share
  std::string what = {};                // the case: "gemm bf16 4096 x 4096 x 4096", or a probe
  int runs = 1;                         // of each node
  std::vector<PlannedSide> sides = {};  // two
  // The number of nodes of each type. `nodes` suffices if the true spreads are at their upper 80 %
  // bounds, and `nodes_as_measured` if they are just as measured. Both are absent where a spread
  // isn't known; `nodes_first` nodes of each type are then to be measured first.
  std::optional<int> nodes = {};
  std::optional<int> nodes_as_measured = {};
  int nodes_first = 3;
  std::vector<std::string> commands = {};  // the command lines, in the order in which they are run
  std::vector<std::string> notes = {};
  // The nodes of each type to measure next.
  int NodesNext() const { return nodes.value_or(nodes_first); }
};
// The cost in USD of `nodes` nodes for way.hours_a_node each, at `usd_per_hour`, a price within the
// way's range.
double UsdOf(const WayToBuy& way, double usd_per_hour, int nodes);

// What a plan is made from. The catalog and the briefs must outlive the call of PlanNodes.
struct PlanOptions {
  double resolve = 0.03;  // the true difference that is to be found, as a share; above 0
  int runs = 1;           // of each node; at least 1
  std::optional<double> minutes = {};  // of a run; unset: as in the files, else as usual
  std::string primary = {};            // the case, by its words or its probe; empty: the headline
  const Catalog* catalog = nullptr;    // never null when PlanNodes is called
  std::vector<Noise> noise = {};       // the user's own rows
  std::span<const RunBrief> briefs = {};  // of result files; none: noise.csv tells the spread
  std::string folder = {};                // where the result files lie, as given; for command lines
};

// Plans the comparison of two types, by the names of groups in the files (results/figures/
// run_groups.h) or as provider and instance of the catalog. Throws Error for a name that is
// neither, with the nearest one, for one type twice, and for files that hold nothing to compare.
NodePlan PlanNodes(const std::string& a, const std::string& b, const PlanOptions& options);

}  // namespace assay
