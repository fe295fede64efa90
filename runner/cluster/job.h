// A Job is the ranks that do cases together, as rank 0's program sees them: commands of one line go
// in, each rank does its part (runner/cluster/worker.h), and one line comes back. It is the same
// whether the ranks were launched for it and are spoken to over a pipe (runner/cluster/launch.h),
// or the program itself is rank 0 of a job that a launcher started.
//
//   hello                            ok NODE_OF_RANK_0 NODE_OF_RANK_1 …
//   who                              ok PID PROCESSOR NUMA HOST<tab>PID … by rank
//   nodes                            ok NODE_0 (its JSON)<tab>NODE_1 …
//   cores                            ok CORES_OF_RANK_0 … as CoresByRank has them
//   devices CASE                     ok INDEX ID NAME<tab>INDEX … by rank, or ok alone where
//                                       buffers lie on hosts
//   prepare CASE                     ok | skipped REASON<tab>REMEDY
//   settle                           ok TOLD: `how` and `work`; the first thing then, of some cases
//   run ITERATIONS                   ok TOLD: one batch
//   spans RAMP_S LENGTH_S COUNT      ok TOLD: a batch for each span
//   verify, describe, histograms     ok TOLD
//   meter of CASE                    ok; on each node the meter of such a case, until the next one
//                                       is prepared
//   meter begin, meter finish S,     ok TOLD_OF_NODE_0<tab>TOLD_OF_NODE_1 …: `telemetry`, or of the
//   meter trends S                      last `trends`
//   beat                             no answer: rank 0 is there, and will say so again before the
//                                       watchdog expires
//   quit                             no answer; rank 0 never obeys it itself
//
// CASE is an AskedCase and TOLD a Told (results/file/told.h), each the JSON of one line. What a
// case in groups is told of is done by all groups at once; an answer is then each group's, in the
// order of their lowest ranks, with kNextGroup between. Any command may be answered by "error
// SENTENCE", which Ask throws.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "results/file/told.h"
#include "runner/cluster/watchdog.h"
#include "runner/core/probe.h"

namespace assay {

inline constexpr char kNextGroup = '\x1e';

class Job {
 public:
  virtual ~Job() = default;
  // The answer to `command`, without its "ok ". Throws Error when the ranks can't answer.
  virtual std::string Ask(const std::string& command) = 0;
  // False once the ranks are gone.
  virtual bool Alive() const { return true; }
  // Which process each rank is, once NodesOf has been asked; nobody knows where they were launched.
  virtual RankProcesses Processes() const { return {}; }
};

// Takes the "ok" off an answer and leaves "skipped …" as it is. Throws Error for "error SENTENCE".
std::string TakeAnswer(std::string answer);

// Where a rank is.
struct Whereabouts {
  int node = 0;
  std::int64_t pid = 0;
  int processor = 0;                      // that it ran on when asked
  int numa = -1;                          // the NUMA node of all its processors; -1: not of one
  std::string host = {};                  // the node's name, for the terminal alone
  std::optional<RankDevice> device = {};  // where the buffers of a case lie on one
};

// The node of each rank.
std::vector<int> NodesOf(Job& job);
// Where each rank is; with a case, also the device that it would have for it. Throws Error where
// there are too few.
std::vector<Whereabouts> WhereaboutsOf(Job& job, const AskedCase* asked = nullptr);
// The nodes of the ranks, each as it describes itself.
std::vector<Node> DescribedBy(Job& job);
// How many cores the rank has that has fewest.
int FewestCores(Job& job);

// A Workload of which every call is a command to the job. `facts` are added to what the ranks say.
// With as many `groups`, it has a part for each (Case::parts). Where `settled` is given, what the
// ranks find out first of all is added to it (Workload::Settle).
Prepared PrepareOn(std::shared_ptr<Job> job, const AskedCase& asked, const Facts& facts = {},
                   std::size_t groups = 0, Params* settled = nullptr);

// The meter of a case of one node that is on all of them, with as many `units` on each: what all of
// them tell, node by node. Without Finish the nodes go on reading until their next case is
// prepared.
std::unique_ptr<Meter> MeterOnEachNode(std::shared_ptr<Job> job, const AskedCase& asked, int units);

}  // namespace assay
