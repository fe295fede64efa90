// The step between files and statistics, which compare and rank share: one side's runs are gathered
// by case, and the values of a case are averaged up to the highest level that is repeated.
#pragma once

#include <compare>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "results/figures/compare.h"
#include "results/figures/moderate.h"
#include "results/figures/noise.h"
#include "results/figures/pacing.h"
#include "results/file/run.h"

namespace assay {

// The records of one case in one run: a single one, or one for each device.
struct InRun {
  const Run* run = nullptr;
  const InstanceFacts* type = nullptr;  // TypeOf the run
  std::vector<const Record*> records = {};
};

// The records that one side holds of one case on one kind of device.
struct Holding {
  std::string kind = {};
  const Record* any = nullptr;                              // any of them, for probe and params
  std::map<std::string, std::vector<InRun>> backends = {};  // with figures, by backend
  std::string unmeasured = {};  // "failed: …", where a run has the case without figures
};

// The key by which cases match. It sorts as tables do: sizes are numbers, so that 8 comes before
// 1024.
struct CaseKey {
  std::string probe = {};
  Params params = {};
  std::string kind = {};
  int method = 0;
  auto operator<=>(const CaseKey&) const = default;
};
using Holdings = std::map<CaseKey, Holding>;

// Gathers a side's records by case. With `unlike_methods` all keys have the method 0, so that
// unlike methods match too. Everything points into `side` and into `instances`, the catalog's
// types; without these nobody knows of a faster network beside sockets (FindBySockets).
Holdings GatherHoldings(const Side& side, bool unlike_methods,
                        std::span<const InstanceFacts> instances = {});
// The text of a record's key without its method.
std::string MethodlessKey(const Record& record);

// A time such as "2026-11-21T22:40:13Z" in minutes since 1970; nothing for anything else.
std::optional<double> MinuteOf(const std::string& utc);

// The key of the nodes that a run was on: their ids, sorted. Runs with equal keys are repetitions
// of each other, so that nodes without an id count as one node.
std::string NodesKey(const Run& run);

// The values of one case on one side, as the statistics see them.
struct SideValues {
  std::vector<double> units = {};   // log speeds, one a run, or one a node where there are several
  std::string level = {};           // the level of the units: "3 runs, this node"
  std::optional<Noise> noise = {};  // the spread between runs, where there is a single run
  double unit_variance = 0;         // the variance of one more unit
  // The times when the first and the last run began, in minutes since 1970; nothing where one
  // doesn't say.
  std::optional<double> first_minute = {};
  std::optional<double> last_minute = {};
  // Where the units are nodes: the measured rows on how nodes differ (FittingNodeRows), and after
  // BorrowSpread the spread between the nodes, with the most degrees of freedom of a difference.
  bool are_nodes = false;
  std::vector<Noise> node_rows = {};
  std::vector<KnownSpread> known = {};  // the same as they count in this comparison
  std::optional<NodeSpread> spread = {};
  double df_in_all = 0;
  // Whether the spread between runs is a guess.
  bool IsGuessed() const { return noise && !noise->is_measured; }
  // The geometric mean over the units.
  double Speed() const;
};
// Averages a side's runs of one case up to the highest level that is repeated. `statistic` is that
// of both sides of a comparison (StatisticOf), and `own` are the user's own rows of noise.
// REQUIRES: there is a run, and each record has a speed, as those of GatherHoldings do.
SideValues AverageRuns(const std::vector<InRun>& runs, Statistic statistic,
                       const std::vector<Noise>& own);
// Moderates the spread between the nodes of one side by what the other sides show in the same case
// on the same kind of device (results/figures/moderate.h). It does nothing where the units of `of`
// aren't nodes; other sides without such units lend nothing.
void BorrowSpread(SideValues& of, const std::vector<const SideValues*>& others);

// The statistic by which the rounds of sides are compared: work over time where any of their
// records has that, since a median isn't comparable with it.
Statistic StatisticOf(const std::vector<const std::vector<InRun>*>& sides);

// The change of speed from `a` to `b`. With a guess on a side it has no interval but a bound, which
// takes no part in any adjustment for several cases.
Change ChangeOf(const SideValues& a, const SideValues& b, double confidence);
// The two-sided p-value of "there is no change"; nothing with a guess on a side.
std::optional<double> PValueOf(const SideValues& a, const SideValues& b);
// The verdict on work per dollar. The envelope is widened by the uncertainty of the speed, since
// dollars are exact.
Verdict JudgePerUsd(const Change& change, const Interval& envelope, double margin);

// A figure of a side: its geometric mean over records, then over runs, then over nodes. Nothing
// where a record has no such figure.
std::optional<double> SideFigure(
    const std::vector<InRun>& runs,
    const std::function<std::optional<double>(const InRun&, const Record&)>& figure);
// The speed of a side, by Speed of results/figures/figures.h.
double SpeedOf(const std::vector<InRun>& runs);
// The first of the case's costs at that price; nothing where a record has none. Any of them would
// do, since all are in proportion to P T / W.
std::optional<double> CostOf(const std::vector<InRun>& runs, const Chosen& price);

// The reason why a case on that kind of device is not compared per dollar although it has a figure
// in dollars, or "".
std::string NotPriced(const std::vector<InRun>& runs, const std::string& kind);

// How far the price of an offer that has one may be below and above it, as factors.
struct PriceRange {
  double low = 1;
  double high = 1;
};
PriceRange RangeOf(const Offer& offer);

// The factor of work per dollar, `estimate` = cost a / cost b, with its values at the ends of both
// offers' price ranges (low = high = estimate where there are none). REQUIRES: both have a price.
Interval PriceEnvelope(double cost_a, double cost_b, const Offer& a, const Offer& b);

// The marks of a side's figures, each said once: that they are a cache's or may be, and that they
// went by sockets beside a faster network; "" where there are none.
std::string MarksText(const std::vector<InRun>& runs);

// The text of the fact `name` in a side's records: "proved", or "proved or refuted" where they
// differ. A record without it has "unknown".
std::string FactIn(const std::vector<InRun>& runs, const std::string& name);

// The number of nodes that a case ran on, in words: "2", or "1 or 2" where its records differ.
std::string NodeCounts(const std::vector<InRun>& runs);

// The margin of a probe's verdicts: the user's, or the usual one of the probe's class.
double MarginOf(const std::string& probe, const CompareOptions& options);
// The name of the file of a side's run, as given; "file 2" for the second where there is none.
std::string NameOf(const Side& side, std::size_t run);

// Throws Error where a side has no run.
void CheckSide(const Side& side);
// Whether there are both closed and open runs among these sides.
bool DivisionsDiffer(const std::vector<const Side*>& sides);
// A text for each run that isn't complete: "a.json: interrupted, 2 of 5 rounds" (by its least
// visited case), or where it ended well what became of its cases ("2 skipped, 1 failed").
std::vector<std::string> DescribeIncomplete(const Side& side);
// The rows of noise.csv that a pair uses, and how they were found: "storage 30 % (not measured,
// …)"; "" where both sides have several runs.
std::string NoiseWords(const SideValues& a, const SideValues& b);
// The words on where the spread between nodes comes from, for both sides; "" where the units of
// both are runs.
std::string SpreadWords(const SideValues& a, const SideValues& b);
// Whether the case is the primary one, which is asked alone: CompareOptions::primary, or else the
// headline of all runs that measured it.
bool IsPrimary(const Record& record, const std::vector<const std::vector<InRun>*>& sides,
               const CompareOptions& options);
// The sentence by which a primary case that isn't among these is refused, made harmless.
std::string PrimaryMissing(const std::string& primary, const std::vector<std::string>& cases);
// Sentences on the rows of noise.csv that all pairs use.
std::vector<std::string> NoiseNotes(
    const std::vector<std::pair<const SideValues*, const SideValues*>>& pairs);
// The things in a side's files, besides their figures, that may explain a difference: by name, all
// values that the runs have.
using Environment = std::map<std::string, std::set<std::string>>;
Environment GatherEnvironment(const Side& side);
// The differences between the sides' environments, in words: "CPU quota: 2 cores against none".
std::vector<std::string> FindDifferences(const Side& a, const Side& b);

}  // namespace assay
