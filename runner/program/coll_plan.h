// The plan of `assay coll`: the cases that its flags, which are nccl-tests', ask to be measured.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "results/file/run.h"
#include "runner/cluster/rank_threads.h"
#include "runner/core/engine.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"
#include "runner/program/suite.h"

namespace assay {

// The values of -b, -e and -i where they are not given, which are nccl-tests' own.
inline constexpr std::int64_t kUsualBytes = std::int64_t{32} << 20;
inline constexpr std::int64_t kUsualStep = std::int64_t{1} << 20;

// The plan that the flags ask for, on the ranks and nodes that there are.
struct CollPlan {
  std::vector<Question> questions = {};  // in the order of the table, the two of a row side by side
  bool exact = false;                    // whether it does as many iterations as nccl-tests would
  EngineOptions engine = {};
  std::vector<int> groups = {};  // the group of each rank; empty: all are one group
  Params how = {};               // AcrossRanks::how of every case
  // Sentences on flags and variables of nccl-tests that are not done as asked.
  std::vector<std::string> notes = {};
};

// Makes the plan. `probe` is the operation's, and `environment` has variables by name. Throws Error
// for flags that contradict each other or name something that doesn't exist.
CollPlan PlanColl(const CollOptions& options, const Probe& probe,
                  const std::map<std::string, std::string>& environment);

// The sizes that the flags ask for, in bytes, ascending. Throws Error for flags that contradict
// each other, and for more than 10,000 sizes.
std::vector<std::int64_t> ListSizes(const CollOptions& options);

// A sentence on sizes that can't be done as asked, since operations are of whole elements; ""
// where all can.
std::string RoundedNote(const std::vector<std::int64_t>& sizes, const std::string& dtype);
// A sentence on sizes that are shared out among ranks, which is done in multiples of 16 bytes for
// each; "" where all can be done as asked.
std::string SharedNote(const std::vector<Case>& cases);

// Whether the flags give a range of sizes (-b, -e, -i, -f, or a program of nccl-tests whose usual
// range it is) and not a list or the probe's usual sizes.
bool IsLadder(const CollOptions& options);

// Whether somebody else started the ranks, so that assay starts none.
bool WereStarted(const CollOptions& options);

// The number of operations of each batch that -K leaves out; 0 where it does not apply.
std::int64_t SkippedOperations(const CollOptions& options);

// The threads, and GPUs of each, that -t and -g ask for in each process.
PerProcess PerProcessOf(const CollOptions& options);

// Whether ranks are threads, which were made before anything was planned.
bool AreInThreads(const CollOptions& options);

}  // namespace assay
