// What the flags of `assay coll`, which are nccl-tests', ask to be measured.
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

// nccl-tests' -b and -e, and -i, where they are not given.
inline constexpr std::int64_t kUsualBytes = std::int64_t{32} << 20;
inline constexpr std::int64_t kUsualStep = std::int64_t{1} << 20;

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

// A sentence on sizes that can't be done as asked, since operations are of whole elements; ""
// where all can.
std::string RoundedNote(const std::vector<std::int64_t>& sizes, const std::string& dtype);
// The same of sizes that are shared out among ranks, in 16 bytes for each.
std::string SharedNote(const std::vector<Case>& cases);

// Whether sizes are those of -b, -e, -i and -f.
bool IsLadder(const CollOptions& options);

// Whether somebody else started the ranks, so that assay starts none.
bool WereStarted(const CollOptions& options);

// The operations of each batch that -K leaves out; 0 where it does not apply.
std::int64_t SkippedOf(const CollOptions& options);

// How many ranks -t and -g ask for in each process.
PerProcess PerProcessOf(const CollOptions& options);

// Whether ranks are threads, which were made before anything was planned.
bool AreInThreads(const CollOptions& options);

}  // namespace assay
