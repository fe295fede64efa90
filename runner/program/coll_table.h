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

// The local time, as nccl-tests writes it.
std::string LocalTime();

// The record as if its newest visit had been its only one. `before` is the record after the visit
// before, or null. A visit that measured nothing has no times.
Record OfNewestVisit(const Record& record, const Record* before);

// Brings the two records of a row together, of which the one in place comes last. Rows of the first
// group are printed as they come; those of other groups are kept until all are there.
class RowPrinter {
 public:
  // `type` is that of all nodes, or null.
  RowPrinter(NcclTable& table, Console& console, const InstanceFacts* type, bool prints)
      : table_(table), console_(console), type_(type), prints_(prints) {}

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

// The options of the table, as far as they are known before the run begins.
NcclOptions PlanLook(const CollOptions& options, const CollPlan& plan, const Probe& probe,
                     const std::map<std::string, std::string>& environment);

// The case whose ranks and devices are told: one of the first backend, or where its buffers lie on
// hosts, as those of all others do, rather one whose ranks MPI joins.
const Case& CaseToDescribe(const std::vector<Case>& cases);

// Adds what the run knows of its ranks and their price.
void Complete(NcclOptions& look, const Run& run, const Chosen& price, Cluster& cluster,
              const std::vector<Case>& cases, const Params& params, const std::vector<int>& groups,
              const Catalog& catalog);

// The lines on what was measured of groups.
std::string GroupsText(const std::string& what, const std::vector<Record>& records);

}  // namespace assay
