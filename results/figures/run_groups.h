// Groups of runs, ranked: which machine type is the fastest and which the cheapest, and how sure
// that is. Runs are gathered by node and nodes by group, and a node counts once however often it
// was measured. The way of buying, the region and the date only choose prices, since what is
// measured does not depend on them. results/METRICS.md defines every figure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "results/catalog/own_prices.h"
#include "results/catalog/price.h"
#include "results/figures/best.h"
#include "results/figures/brief.h"
#include "results/figures/noise.h"
#include "results/figures/pacing.h"

namespace assay {

// What runs are grouped by: their provider and instance type, or one thing of `--by`.
enum class GroupBy { kType, kRegion, kAccelerator, kProvider, kCampaign, kCommit, kFile };
// The words of `--by`, in that order.
inline constexpr std::string_view kGroupWords[] = {"type",     "region", "accelerator", "provider",
                                                   "campaign", "commit", "file"};

// A case, by its words in tables or as "probe/" with its canonical params, and its share in the
// mean of all.
struct CaseWeight {
  std::string name = {};
  double weight = 0;
};
// Reads a CSV with the columns case and weight. Throws Error, with source and row, unless the
// weights are above 0, sum up to 1, and each case is there once.
std::vector<CaseWeight> ParseWeights(std::string_view csv, const std::string& source);

// The options of a ranking of groups. What the spans point to must outlive it.
struct GroupOptions {
  GroupBy by = GroupBy::kType;
  std::span<const InstanceFacts> instances = {};
  std::span<const Offer> offers = {};
  std::string today = {};  // the date of typed prices: "2026-11-21"
  double confidence = 0.95;
  std::vector<Noise> noise = {};  // the user's own rows, of which those between nodes count
  // The case that is asked alone: its words, or a probe for the first of its cases. Empty: the
  // headline.
  std::string primary = {};
  bool force = false;  // whether unlike methods and conditions are ranked together, too
  // The ways of buying that get a row each. Empty: the price that was typed with the run where
  // there is one, else on demand. {"all"}: every one that has a price.
  std::vector<std::string> purchases = {};
  // Whether all other ways of buying stand beside these, for pictures; nothing is ranked by them.
  bool other_prices = false;
  bool as_run = false;                            // whether prices are those in the files
  std::optional<double> price_usd_per_hour = {};  // the price of each node, in place of all offers
  std::optional<OwnedMachine> owned = {};         // the price of nodes that are owned
  std::vector<CaseWeight> weights = {};           // empty: no weighted mean
  bool per_gpu = false;                           // whether speeds are those of one accelerator
};

// One group.
struct RunGroup {
  std::string name = {};                    // "aws p5.48xlarge"
  std::vector<std::size_t> runs = {};       // indices of briefs
  std::vector<std::string> ids = {};        // of the runs, in that order
  std::set<std::string> nodes = {};         // RunBrief::node of each
  std::map<std::string, int> bought = {};   // how the runs themselves were bought, and how many so
  std::map<std::string, int> regions = {};  // where they were, and how many there
  std::string first_day = {};               // of the runs, 2026-11-21
  std::string last_day = {};
  Node node = {};        // one of its nodes, for what all have in common
  int accelerators = 0;  // in a node
  // "alone on its board" where a node holds one accelerator of a board of several; else "".
  std::string alone = {};
  // One for each way of buying; never empty. The first `asked` are those that groups are ranked by.
  std::vector<Chosen> prices = {};
  std::size_t asked = 0;
};

// One node of a group in a case.
struct NodeOfGroup {
  std::string node = {};  // RunBrief::node
  int runs = 0;
  double log_speed = 0;  // the mean over its runs
};

// One group's place in a case.
struct GroupPlace {
  std::size_t group = 0;     // index into GroupRanking::groups
  std::string backend = {};  // the one that most of its nodes ran, and the fastest among equals
  std::vector<NodeOfGroup> nodes = {};    // the slowest first
  double speed = 0;                       // the geometric mean over nodes
  std::optional<Interval> interval = {};  // of that mean, as factors; nothing of one node
  Place by_speed = {};
  std::string spread = {};  // what the interval rests on
  Lottery lottery = {};
  std::vector<std::optional<double>> usd = {};  // the cost of a unit of work, by RunGroup::prices
  std::optional<std::size_t> cheapest = {};     // the index of the least of these costs
  std::optional<Place> by_cost = {};            // the place by that cost
  std::string note = {};
  // The ends of the interval; the speed itself where there is none.
  double Low() const { return speed * (interval ? interval->low : 1); }
  double High() const { return speed * (interval ? interval->high : 1); }
};

// One case of a ranking, or the weighted mean of several.
struct GroupedCase {
  // "gemm bf16 4096 x 4096 x 4096", with what sets it apart from other cases of that name.
  std::string name = {};
  std::string probe = {};
  std::string kind = {};
  int method = 0;
  Params params = {};
  std::string unit = {};        // empty for the weighted mean, which is relative to the fastest
  std::string cost_label = {};  // "$ per TFLOP/s-h"
  double confidence = 0.95;     // of what is said of its places
  std::vector<GroupPlace> places = {};  // fastest first
  // The nodes a group that would tell the first two apart, if they differ as they seem to.
  std::optional<int> nodes_to_tell = {};
};

// Groups, ranked.
struct GroupRanking {
  GroupBy by = GroupBy::kType;
  bool per_gpu = false;
  std::size_t runs = 0;
  std::vector<RunGroup> groups = {};
  // The cases, the primary one first, which alone has the full confidence; the others share the
  // error that is allowed. Where weights are given, their mean is the primary one.
  std::vector<GroupedCase> cases = {};
  std::string primary_why = {};  // why the first case is the primary one
  bool is_asked_alone = true;    // whether the first case shares no error with the others
  // The cases that one group alone has, with nothing to rank.
  std::vector<GroupedCase> of_one_group = {};
  std::vector<std::string> notes = {};
  std::vector<std::string> differences = {};  // between the groups' environments, in words
};

// Gathers briefs into groups, in the order of their names. Runs whose nodes are of several types
// are left out, and `notes` get sentences on these and on groups of several types.
std::vector<RunGroup> GroupRuns(std::span<const RunBrief> briefs, const GroupOptions& options,
                                std::vector<std::string>& notes);

// Ranks groups that GroupRuns made of these briefs with these options. Throws Error where no case
// can be ranked, where no node has all weighted cases, and for a primary or a weighted case that no
// run has.
GroupRanking RankGroups(std::span<const RunBrief> briefs, std::vector<RunGroup> groups,
                        const GroupOptions& options);

}  // namespace assay
