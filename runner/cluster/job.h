// A Job is the ranks that do cases together, as rank 0's program sees them: commands of one line go
// in, each rank does its part (runner/cluster/worker.h), and one line comes back. It is the same
// whether the ranks were launched for it and are spoken to over a pipe (runner/cluster/launch.h),
// or the program itself is rank 0 of a job that a launcher started.
//
//   hello                            ok NODE_OF_RANK_0 NODE_OF_RANK_1 …
//   who                              ok PID PROCESSOR NUMA HOST<tab>PID … by rank
//   nodes                            ok NODE_0 (its JSON)<tab>NODE_1 …
//   cores                            ok NUMBER_OF_CORES_OF_RANK_0 … (CoresByRank)
//   devices CASE                     ok INDEX ID NAME<tab>INDEX … by rank, or ok alone where
//                                       buffers lie on hosts
//   prepare CASE                     ok | skipped REASON<tab>REMEDY
//   settle                           ok TOLD: `how` and `work`; the first thing then, of some cases
//   run ITERATIONS                   ok TOLD: one batch
//   spans RAMP_S LENGTH_S COUNT      ok TOLD: a batch for each span
//   verify, describe, histograms     ok TOLD
//   meter of CASE                    ok; makes the meter of such a case on each node, which lives
//                                       until the next case is prepared
//   meter begin, meter finish S      ok TOLD_OF_NODE_0<tab>TOLD_OF_NODE_1 …: `telemetry`
//   meter trends S                   the same with `trends`
//   beat                             no answer: rank 0 is there, and will say so again before the
//                                       watchdog expires
//   quit                             no answer; rank 0 never obeys it itself
//
// CASE is an AskedCase and TOLD a Told (results/file/told.h), each in one line of JSON. All groups
// of a case do a command at once, and their answers come in the order of their lowest ranks, with
// kNextGroup between. Any command may be answered by "error SENTENCE", which Ask throws.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "results/file/told.h"
#include "runner/cluster/watchdog.h"
#include "runner/core/probe.h"

namespace assay {

// The character between the answers of two groups.
inline constexpr char kNextGroup = '\x1e';

// Some ranks, as they are spoken to. Calls must not overlap.
class Job {
 public:
  virtual ~Job() = default;
  // Gives the ranks a command and returns their answer as TakeAnswer does. Throws Error where they
  // can't answer.
  virtual std::string Ask(const std::string& command) = 0;
  // False once the ranks are gone.
  virtual bool Alive() const { return true; }
  // The process of each rank, once AskNodes has been asked. Empty for ranks that were launched.
  virtual RankProcesses Processes() const { return {}; }
};

// Takes the "ok" off an answer and leaves "skipped …" as it is. Throws Error for "error SENTENCE".
std::string TakeAnswer(std::string answer);

// The place of a rank.
struct Whereabouts {
  int node = 0;
  std::int64_t pid = 0;
  int processor = 0;      // the one that it ran on when asked
  int numa = -1;          // the NUMA node of all its processors; -1: they have several
  std::string host = {};  // the node's name, for the terminal alone
  std::optional<RankDevice> device = {};  // the one that holds its buffers, where a device does
};

// Asks for the node of each rank.
std::vector<int> AskNodes(Job& job);
// Asks for the place of each rank; with a case, also the device that it would have for the case.
// Throws Error where there are too few devices.
std::vector<Whereabouts> AskWhereabouts(Job& job, const AskedCase* asked = nullptr);
// Asks the nodes of the ranks to describe themselves.
std::vector<Node> AskDescriptions(Job& job);
// The number of cores of the rank that has fewest.
int FewestCores(Job& job);

// Makes a Workload that sends the job a command for each of its calls. `facts` are added to what
// the ranks say. With `groups` above 0 it has that many parts (Case::parts). Where `settled` is
// given, it gets what the ranks find out first of all (Workload::Settle).
Prepared PrepareOn(std::shared_ptr<Job> job, const AskedCase& asked, const Facts& facts = {},
                   std::size_t groups = 0, Params* settled = nullptr);

// The meter of a case of one node that all nodes do, with `units` units on each. It gives the
// readings of all nodes, node by node. Without Finish the nodes go on reading until their next case
// is prepared.
std::unique_ptr<Meter> MeterOnEachNode(std::shared_ptr<Job> job, const AskedCase& asked, int units);

}  // namespace assay
