// The output of `assay coll` while it measures: nccl-tests' table, row by row.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/expected.h"
#include "results/file/run.h"
#include "runner/cluster/cluster.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"
#include "runner/program/coll_plan.h"
#include "runner/program/console.h"
#include "runner/program/nccl_table.h"

namespace assay {

// The local time, as nccl-tests writes it: "2026-11-22 04:38:10".
std::string LocalTime();

// The record as if its newest visit had been its only one. `before` is the record after the visit
// before; null: there was none. Rounds are empty where the visit measured nothing.
Record OfNewestVisit(const Record& record, const Record* before);

// Brings the two records of a row together, the one out of place first, and gives rows to the
// table. Rows of the first group are printed as they come; those of other groups wait for Finish.
class RowPrinter {
 public:
  // `type` is the instance type of all nodes, or null. What is given must outlive this. Without
  // `prints` the table gets its rows, and nothing is printed.
  RowPrinter(NcclTable& table, Console& console, const InstanceFacts* type, bool prints)
      : table_(table), console_(console), type_(type), prints_(prints) {}

  // Takes the record of one case with its newest visit alone (OfNewestVisit).
  void Add(const Record& record);
  // Prints rows that wait for a record in place which won't come, and the rows of the other groups.
  void Finish();

 private:
  struct Pending {
    std::optional<Record> out_of_place = {};
    std::optional<Record> in_place = {};
  };

  void Flush(Pending& row);

  // The text about figures that aren't as they should be.
  std::string StandingText(const Pending& row) const;

  NcclTable& table_;
  Console& console_;
  const InstanceFacts* type_;
  bool prints_;
  std::map<std::int64_t, Pending> rows_ = {};  // by group
  std::optional<std::int64_t> first_group_ = {};
  std::map<std::int64_t, std::string> others_ = {};
};

// The options of the table, as far as they are known before the run begins. `probe` is the
// operation's, and `environment` has variables by name, of which NCCL_TESTS_MIN_BW is read.
// REQUIRES: the plan has a question.
NcclOptions PlanLook(const CollOptions& options, const CollPlan& plan, const Probe& probe,
                     const std::map<std::string, std::string>& environment);

// The case whose ranks and devices the head of the table tells. It is the first case if its buffers
// lie on devices; otherwise the first case whose ranks MPI joins, or the first of all where MPI
// joins none. REQUIRES: there is a case, and all are of several ranks.
const Case& CaseToDescribe(const std::vector<Case>& cases);

// Adds to the look what is known once the run begins: ranks with their devices, costs, the rate of
// a rank's share of the network, and a note on the price. `params` are those of any of the cases,
// and `groups` has the group of each rank; empty: all are one group. A cluster that can't tell its
// ranks becomes a note, too. The costs hold copies of `run` and `price`; the catalog must outlive
// them. Throws Error where `params` lack ranks or nodes.
void Complete(NcclOptions& look, const Run& run, const Chosen& price, Cluster& cluster,
              const std::vector<Case>& cases, const Params& params, const std::vector<int>& groups,
              const Catalog& catalog);

// Comments of the table (lines that begin with `#`) on groups that were measured at once: the head
// `what`, and a line for each record with its group's ranks, time and speed, or why it has none.
// Throws Error as GroupOf (results/figures/groups.h) does.
std::string GroupsText(const std::string& what, const std::vector<Record>& records);

}  // namespace assay
