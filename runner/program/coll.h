// `assay coll`: a collective in nccl-tests' words, measured by the same engine into the same file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/core/engine.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"
#include "runner/program/suite.h"

namespace assay {

// What the flags ask for on so many ranks of so many nodes.
struct CollPlan {
  std::vector<Question> questions = {};  // in the order of the table, a row's two side by side
  bool exact = false;                    // as many iterations as nccl-tests would do
  EngineOptions engine = {};
  std::vector<int> groups = {};  // of each rank; empty: all are one
  Params how = {};               // AcrossRanks::how of every case
  // What of the flags and of nccl-tests' environment is not done as asked, a sentence each.
  std::vector<std::string> notes = {};
};

// `probe` is the operation's; `environment` by name. Throws Error for flags that contradict each
// other or name what there isn't.
CollPlan PlanColl(const CollOptions& options, const Probe& probe,
                  const std::map<std::string, std::string>& environment);

// The sizes that the flags ask for, bytes.
std::vector<std::int64_t> SizesOf(const CollOptions& options);

// `--expect SIZE:GBS,…`: the least bus bandwidth, GB/s, by size in bytes. Empty for "" and "auto".
// Throws Error for anything else.
std::map<std::int64_t, double> FloorsOf(const std::string& expect);

// What falls short of --expect, a sentence each: under a floor, a floor for whose size a sweep has
// no figure (asked for under that size, or rounded down to it), or `low` beside what others
// measured.
std::vector<std::string> Shortfalls(const Run& run, const std::string& expect);

// The record as if its newest visit had been its only one. `before` is what it was after the visit
// before, null at first. A visit that brought nothing has no times.
Record OfNewestVisit(const Record& record, const Record* before);

// A sentence on sizes that can't be done as asked, since operations are of whole elements; ""
// where all can.
std::string RoundedNote(const std::vector<std::int64_t>& sizes, const std::string& dtype);
// The same of sizes that are shared out among ranks, in 16 bytes for each.
std::string SharedNote(const std::vector<Case>& cases);

// The whole command. Returns the exit status.
int RunColl(const CollOptions& options);

}  // namespace assay
