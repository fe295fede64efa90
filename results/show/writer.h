// Writers print runs in each format that there is: a table for people, JSON and CSV for programs. A
// new format is one class here, one word of `--format` (runner/program/cli.cpp) and one row in the
// list of outputs (runner/program/outputs.cpp).
#pragma once

#include <memory>
#include <span>
#include <string>

#include "results/catalog/price.h"
#include "results/figures/compare.h"
#include "results/figures/plan.h"
#include "results/figures/run_groups.h"
#include "results/file/run.h"

namespace assay {

// The formats, as `--format` names them.
enum class OutputFormat {
  kTable,
  kJson,
  kCsv,
  kNccl,  // nccl-tests' own columns, of `assay coll` alone (runner/program/nccl_table.h)
};

// A run with the price behind its dollars, and the name of its file as it may be shown.
struct PricedRun {
  std::string name = {};
  const Run* run = nullptr;
  const Chosen* price = nullptr;
};

// Prints in one format. Each text ends in a line end, and all that comes from files is made
// harmless (Clean, results/base/text.h).
class Writer {
 public:
  virtual ~Writer() = default;
  // The figures of runs, a comparison, and a ranking.
  virtual std::string Figures(std::span<const PricedRun> runs) const = 0;
  virtual std::string Compared(const Comparison& comparison) const = 0;
  virtual std::string Ranked(const Ranking& ranking) const = 0;
  // A ranking of groups; a table shows their nodes only `with_nodes`.
  virtual std::string Grouped(const GroupRanking& ranking, bool with_nodes) const = 0;
  virtual std::string Planned(const NodePlan& plan) const = 0;
  // The offers that match a filter, and those of one instance. Both throw Error where there are
  // none to show.
  virtual std::string Offers(const std::string& filter) const = 0;
  virtual std::string OffersOf(const std::string& provider, const std::string& instance) const = 0;
};

// How a table looks.
struct TableLook {
  bool colour = false;
  std::string today = {};  // 2026-11-22, to which the age of prices is told; empty: it is not told
};

// Makes the writer of a format; `look` is for tables. Throws Error for kNccl. The catalog must
// outlive the writer.
std::unique_ptr<Writer> MakeWriter(OutputFormat format, const Catalog& catalog,
                                   const TableLook& look = {});

}  // namespace assay
