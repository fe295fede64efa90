// A Job is the ranks that run collectives, as rank 0's program sees them: commands of one line go
// in, each rank does its part, and one line comes back. It is the same whether the ranks were
// launched for it and are spoken to over a pipe (runner/cluster/launch.h), or the program itself is
// rank 0 of a job that a launcher started.
//
//   hello                                              ok NODE_OF_RANK_0 NODE_OF_RANK_1 …
//   who                                                ok PID PROCESSOR NUMA HOST<tab>PID … by rank
//   devices LIBRARY                                    ok INDEX ID NAME<tab>INDEX … by rank, or ok
//                                                         alone where buffers lie on hosts
//   nodes                                              ok NODE_0 (its JSON)<tab>NODE_1 …
//   prepare LIBRARY SEED [groups=N,N,…] COLLECTIVE     ok | skipped REASON<tab>REMEDY
//                                     (by ToText)
//   prepare … COLLECTIVE<tab>COMM_CORES DTYPE M N K    the same beside GEMMs
//   settle GEMMS PERCENT                               ok GEMMS; the first thing then
//   cores                                              ok CORES_OF_RANK_0 … as GEMMs would have
//   each_node SEED RECORD (its JSON)                   the same, for a case of one node on each
//   run ITERATIONS                                     ok SECONDS SECONDS_OF_RANK_0 …
//                                                         <tab>host SECONDS
//                                                         <tab>NAME_OF_A_PHASE SECONDS …
//   spans RAMP_SECONDS LENGTH_SECONDS COUNT            ok ITERATIONS SECONDS [STABLE_SECONDS]
//                                                         <tab>… for each span
//   meter of RECORD                                    ok; on each node one of such a case. It
//                                                         ends when the next case is prepared
//   meter begin, meter finish SECONDS                  ok TELEMETRY_OF_NODE_0<tab>TELEMETRY_OF …
//                                                         (JSON of a record whose one round has it)
//   meter trends SECONDS                               ok TRENDS_OF_NODE_0<tab>TRENDS_OF_NODE_1 …
//                                                         each OF UNIT PER_MINUTE HALF_WIDTH NOISE
//                                                         OF …, or - for one that can't be told
//   verify                                             ok CHECKED WRONG MAX_ERROR TOLERANCE
//                                                         REFERENCE<tab>FIRST_WRONG_ELEMENT
//   describe                                           ok NAME=VALUE<tab>NAME=VALUE …
//   histograms                                         ok NAME SCHEME BUCKET COUNT …<tab>NAME …
//   beat                                               no answer: rank 0 is there, and will say
//                                                         so again before the watchdog expires
//   quit                                               no answer; rank 0 never obeys it itself
//
// With `groups` each rank has the number of its group, or -1 for none, and what follows is done by
// all groups at once; an answer is then each group's, in the order of their lowest ranks, with
// kNextGroup between. Any of them may be answered by "error SENTENCE", which Ask throws.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collectives/collectives.h"
#include "collectives/library.h"
#include "collectives/overlap.h"
#include "runner/cluster/watchdog.h"
#include "runner/core/group.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

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

// What an answer holds after its "ok"; "skipped …" as it is. Throws Error for "error SENTENCE".
std::string TakeAnswer(std::string answer);

// The node of each rank.
std::vector<int> NodesOf(Job& job);
// Where each rank is; with a library, also the device that it would have there. Throws Error where
// there are too few.
std::vector<collectives::Whereabouts> WhereaboutsOf(Job& job, const std::string& library = {});
// The nodes of the ranks, each as it describes itself.
std::vector<Node> DescribedBy(Job& job);
// How many cores the rank has that has fewest.
int FewestCores(Job& job);

// A Workload of which every call is a command to the job. `facts` are added to what the ranks say.
// With `groups`, the number of each rank's or -1, it has a part for each (Case::parts).
Prepared PrepareOn(std::shared_ptr<Job> job, const std::string& library,
                   const Collective& collective, std::uint64_t seed, const Facts& facts,
                   const std::vector<int>& groups = {});
// The same beside GEMMs (collectives/overlap.h). `step.gemms` becomes their number.
Prepared PrepareOn(std::shared_ptr<Job> job, const std::string& library,
                   const Collective& collective, std::uint64_t seed, const Facts& facts,
                   TrainingStep& step);

// The same for a case of one node on every one of them (runner/cluster/each_node.h); `asked` has
// its probe, params and backend.
Prepared PrepareOnEachNode(std::shared_ptr<Job> job, const Record& asked, std::uint64_t seed);

// The meter of such a case, which has as many `units` on each node: of all of them, node by node.
// Without Finish the nodes go on reading until their next case is prepared.
std::unique_ptr<Meter> MeterOnEachNode(std::shared_ptr<Job> job, const Record& asked, int units);

// What a rank knows of its own node.
struct OwnNode {
  std::function<Node()> describe = {};
  // The case with the probe, params and backend of `asked`, here.
  std::function<Case(const Record& asked)> own_case = {};
  GemmAt gemm = {};  // Setup::gemm
};

// One rank's end: does its part of each command.
class Worker {
 public:
  // What is not over in time ends this rank: with its line on standard error, after `watch.expired`
  // was called with the diagnosis, and with exit status 3.
  Worker(Ranks& ranks, std::vector<std::unique_ptr<Library>> libraries,
         const WatchOptions& watch = {}, OwnNode own_node = {});
  // All ranks are given the same commands; the answer counts on rank 0. What is thrown leaves the
  // ranks out of step, and must end this one.
  std::string Obey(const std::string& command);
  // Rank 0's next command, for the other ranks. Once rank 0's heart has begun to beat, one that it
  // doesn't hear of in time is over.
  std::string NextCommand();
  const RankProcesses& Processes() const { return processes_; }

 private:
  std::string Hello();
  std::string Nodes();
  std::string Metered(std::istream& words);
  std::string FromEachNode(const std::function<std::string()>& tell);
  std::string Devices(const std::string& library);
  std::string Prepare(std::istream& words);
  std::string PrepareOnEachNode(std::istream& words);
  std::string Agree(const std::function<Prepared()>& prepare);
  void Regroup(const std::string& groups);
  std::string DoPrepared(const std::string& verb, std::istream& words);
  std::string Settle(std::istream& words);
  std::string Do(const std::string& verb, std::istream& words);
  Watchdog::Guard Watch(const std::string& verb, const std::string& command);
  void Expire(const std::string& what, const std::function<void(const std::string&)>& told);

  Ranks& ranks_;
  std::vector<std::unique_ptr<Library>> libraries_;
  OwnNode own_node_;
  std::string groups_ = {};  // as told last; empty: all ranks together
  bool takes_part_ = true;
  std::unique_ptr<Group> group_ = {};
  std::unique_ptr<Workload> workload_;  // uses the group
  std::unique_ptr<Meter> meter_ = {};   // of the node; on its first rank alone
  RankProcesses processes_ = {};
  std::string what_ = {};   // is prepared: "all_reduce, 64 MiB"
  double first_s_ = 0;      // what one iteration may take as long as none is over
  double iteration_s_ = 0;  // what one has taken; 0: not known yet
  bool beats_ = false;      // rank 0 says now and then that it is there
  Watchdog watchdog_;       // last: its thread uses the others
};

// What the ranks other than 0 do: obeys rank 0's broadcasts until "quit".
void Follow(Worker& worker);

// The job whose rank 0 is this process.
std::unique_ptr<Job> JobOf(Ranks& ranks, std::vector<std::unique_ptr<Library>> libraries,
                           const WatchOptions& watch = {}, OwnNode own_node = {});

}  // namespace assay
