// A run in brief: the part of a result file that a comparison of groups needs, which is the mean
// log speed of each case, its cost at 1 USD an hour, and what may set machines apart. Samples are
// not kept, so that ten thousand files fit into memory.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/pacing.h"
#include "results/figures/side_values.h"
#include "results/file/run.h"

namespace assay {

// One case of one run by one backend.
struct CaseBrief {
  CaseKey key = {};
  std::string backend = {};
  // The mean over rounds (and records) of the log speed, by medians and by work over time.
  double by_median = 0;
  double by_over_time = 0;
  Statistic statistic = Statistic::kMedian;  // the one that the case's own records have
  std::string unit = {};                     // of the speed: "FLOP/s"
  std::size_t devices = 1;                   // the devices or ranks that took part together
  std::string nodes = {};                    // how many nodes took part, in words
  std::optional<double> usd_at_1 = {};       // the cost of a unit of work at 1 USD an hour a node
  std::string cost_label = {};               // "$ per TFLOP/s-h"
  std::string not_priced = {};               // why there are no dollars
  std::string marks = {};                    // what makes the figure doubtful (MarksText)
  std::string alike = {};                    // the fact that must be alike (ProbeFacts::alike_in)
  bool is_headline = false;                  // whether it is fit to be the run's headline
  // What pictures need. The log speed of each round, of a case with one record; the log speed of
  // each device or rank of its first record relative to their median; and the operations for each
  // byte that must be moved (METRICS.md, roofline).
  std::vector<float> rounds = {};
  std::vector<float> units = {};
  std::optional<double> flops_per_byte = {};
  std::optional<double> most_by_network = {};  // MostByNetwork (results/figures/expected.h)
};

// A case of a run that has no figure.
struct Unmeasured {
  CaseKey key = {};
  std::string name = {};  // "gemm bf16 4096 x 4096 x 4096"
  std::string why = {};   // "skipped: there is no room"
};

// One run.
struct RunBrief {
  std::string file = {};
  std::string id = {};
  std::string started = {};  // UTC, 2026-11-21T22:40:13Z
  // `started` in minutes since 1970, where it is such a time and the run has a figure.
  std::optional<double> minute = {};
  std::optional<double> minutes = {};  // how long it took; nothing where the file doesn't say
  std::string campaign = {};
  std::string commit = {};  // "0.3.0 abc1234", as the build tells it
  std::string division = {};
  std::string incomplete = {};  // a sentence, where the run isn't complete
  std::string headline = {};    // why it has no headline; "" where it has
  std::string node = {};        // NodesKey, by which repetitions on the same nodes are known
  bool are_nodes_alike = true;
  Node first = {};                 // identity, CPU and accelerators alone
  std::vector<Offer> offers = {};  // those that the file holds
  Environment env = {};
  // The conditions under which figures are those of another machine ("power limit 300 W of 700").
  std::set<std::string> conditions = {};
  std::vector<CaseBrief> cases = {};
  std::vector<Unmeasured> unmeasured = {};
};

// Makes a run's brief. `file` is the name of its file, as given. With `keeps_offers` the brief has
// all prices that the file holds, without it the private ones alone.
RunBrief MakeBrief(Run run, const std::string& file, const Catalog& catalog, bool keeps_offers);

}  // namespace assay
