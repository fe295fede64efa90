// What stands between files and statistics: one side's runs gathered by case, and the values of one
// case brought to the highest level that is repeated. Shared by compare and rank.
#pragma once

#include <compare>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "results/compare.h"
#include "results/noise.h"
#include "results/pacing.h"
#include "results/run.h"

namespace assay {

// The records of one case in one run: one, or one a device.
struct InRun {
  const Run* run = nullptr;
  std::vector<const Record*> records = {};
};

// What one side holds of one case on one kind of device.
struct Holding {
  std::string kind = {};
  const Record* any = nullptr;                              // for probe and params
  std::map<std::string, std::vector<InRun>> backends = {};  // with figures, by backend
  std::string unmeasured = {};  // "failed: …", where a run has the case without figures
};

// What cases match by, in the order of tables: sizes are numbers, so that 8 comes before 1024.
struct CaseKey {
  std::string probe = {};
  Params params = {};
  std::string kind = {};
  int method = 0;
  auto operator<=>(const CaseKey&) const = default;
};
using Holdings = std::map<CaseKey, Holding>;

// Where unlike methods are to be matched too, all have the method 0. Everything points into `side`.
Holdings HoldingsOf(const Side& side, bool unlike_methods);
// The key without the method, whatever the grouping.
std::string MethodlessKey(const Record& record);

// One side of a case as the statistics see it.
struct Sample {
  std::vector<double> units = {};   // log speeds, one a run, or one a node where there are several
  std::string level = {};           // of the units: "3 runs, this node"
  std::optional<Noise> noise = {};  // what runs differ by, of one run; several tell by themselves
  double unit_variance = 0;         // what one more unit would vary by
  // When the first and the last run began, in minutes since 1970; nothing where one doesn't say.
  std::optional<double> first_minute = {};
  std::optional<double> last_minute = {};
  bool IsGuessed() const { return noise && !noise->is_measured; }
  double Speed() const;
};
// `statistic` is that of both sides of a comparison (StatisticOf), `own` one's own rows of noise.
Sample SampleOf(const std::vector<InRun>& runs, Statistic statistic, const std::vector<Noise>& own);

// By which the rounds of sides are compared: work over time where that is the statistic of any of
// their records, since a median isn't comparable with it.
Statistic StatisticOf(const std::vector<const std::vector<InRun>*>& sides);

// The change of speed from `a` to `b`. With a guess on a side no interval, but a bound, which
// takes no part in any adjustment for several cases.
Change ChangeOf(const Sample& a, const Sample& b, double confidence);
// The two-sided p-value of "there is no change"; nothing with a guess on a side.
std::optional<double> PValueOf(const Sample& a, const Sample& b);
// The verdict on work per dollar: the envelope, widened by what is unsure about the speed, since
// dollars are exact.
Verdict JudgePerUsd(const Change& change, const Interval& envelope, double margin);

// A figure of a side: its geometric mean over nodes, of runs, of records. Nothing where a record
// has none.
std::optional<double> SideFigure(
    const std::vector<InRun>& runs,
    const std::function<std::optional<double>(const Run&, const Record&)>& figure);
// Figures::Speed of a side.
double SpeedOf(const std::vector<InRun>& runs);
// The first of the case's costs at that price. All of its costs are in proportion to P T / W.
std::optional<double> CostOf(const std::vector<InRun>& runs, const Chosen& price);

// Why a case of that device kind that has a figure in dollars is not compared per dollar on these
// runs, or "".
std::string NotPriced(const std::vector<InRun>& runs, const std::string& kind);

// Work per dollar as a factor, `estimate` = cost a / cost b, at the ends of both offers' price
// ranges (low = high = estimate where there are none).
Interval PriceEnvelope(double cost_a, double cost_b, const Offer& a, const Offer& b);

// What of a side's figures is a cache's, or may be, and what went by sockets beside a faster
// network, each said once: "" where nothing did.
std::string MarksText(const std::vector<InRun>& runs);

// Whether storage was reached past the page cache, in words; "unknown" where not said.
std::string DirectOf(const std::vector<InRun>& runs);

// On how many nodes a case ran, in words: "2", or "1 or 2" where its records differ.
std::string NodesOf(const std::vector<InRun>& runs);

double MarginOf(const std::string& probe, const CompareOptions& options);
// "gemm bf16 4096 x 4096 x 4096".
std::string CaseWords(const Record& record);
// The file's name, as given.
std::string NameOf(const Side& side, std::size_t run);

// What is said of sides whatever is done with them.
// Throws Error where there is no run, or a run holds figures of a stand-in library.
void CheckSide(const Side& side);
// Closed and open runs among these.
bool DivisionsDiffer(const std::vector<const Side*>& sides);
// What is said of each run that isn't complete: "a.json: interrupted, 2 of 5 rounds" (of its least
// visited case), or of one that ended well what became of its cases ("2 skipped, 1 failed").
std::vector<std::string> IncompleteOf(const Side& side);
// What a pair takes from noise.csv, and how it was found: "storage 30 % (not measured, …)"; ""
// where both sides have several runs.
std::string NoiseWords(const Sample& a, const Sample& b);
// The same of all pairs, in sentences.
std::vector<std::string> NoiseNotes(
    const std::vector<std::pair<const Sample*, const Sample*>>& pairs);
// What differs between the sides' surroundings, in words.
std::vector<std::string> DifferencesOf(const Side& a, const Side& b);

}  // namespace assay
