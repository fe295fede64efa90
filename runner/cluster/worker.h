// A Worker is one rank's end of a Job (runner/cluster/job.h): it does its part of each command that
// rank 0's program gives.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "results/file/told.h"
#include "runner/cluster/job.h"
#include "runner/cluster/watchdog.h"
#include "runner/core/group.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// The abilities of a rank by itself. Each rank has its own, also where ranks are threads.
struct Member {
  // Describes the node that this process runs on; null: there is nothing to say of it.
  std::function<Node()> describe = {};
  // The case with the probe, params and backend of `asked`, as this rank's own probe unfolds it;
  // where there is none, one that is skipped. Throws Error for params that make no sense.
  std::function<Case(const Record& asked)> own_case = {};
};

// The case that `asked` names among those of these probes, for Member::own_case; nothing where
// there is none. Throws what Probe::unfold throws.
std::optional<Case> CaseLike(const Record& asked, const std::vector<Probe>& probes);

// One rank's part of the commands. One thread uses it at a time.
class Worker {
 public:
  // A command that is not over in time ends this rank with exit status 3 after a line on standard
  // error and, on rank 0, a call of `watch.expired` with the diagnosis; other ranks leave rank 0
  // two seconds for that. `ranks` must outlive the worker.
  Worker(Ranks& ranks, Member member, const WatchOptions& watch = {});
  // Gives all ranks a command. Called on rank 0, which ends as above where a rank doesn't take it.
  void Tell(const std::string& text);
  // Does this rank's part of a command, which all ranks are given; the answer counts on rank 0. An
  // exception leaves the ranks out of step, and must end this one.
  std::string Obey(const std::string& text);
  // Waits for rank 0's next command. Called on the other ranks. Once rank 0 has given a sign of
  // life ("beat"), silence beyond the limit ends this rank.
  std::string NextCommand();
  // The ranks' processes, once "hello" was obeyed.
  const RankProcesses& Processes() const { return processes_; }

 private:
  struct Command;
  static Command CommandFrom(const std::string& text);
  Watchdog::Guard WatchOver(const Command& command);
  std::string Do(const Command& command);
  std::string DoPrepared(const Command& command);
  std::string Settle();
  std::string Hello();
  std::string Nodes();
  std::string Metered(const Command& command);
  std::string FromEachNode(const std::function<std::string()>& tell);
  std::string Devices(const AskedCase& asked);
  std::string Prepare(const AskedCase& asked);
  const Case& OwnCase(const Record& asked);
  void CheckFits(const AcrossRanks& asked, On on) const;
  std::string Agree(const std::function<Prepared()>& prepare);
  void Expire(const std::string& what, const std::function<void(const std::string&)>& told);

  Ranks& ranks_;
  Member member_;
  bool takes_part_ = true;
  std::string own_key_ = {};            // the case that own_case_ is; "": none
  Case own_case_ = {};                  // outlives the workload and the meter that come from it
  std::unique_ptr<Group> group_ = {};   // null: all ranks together
  std::unique_ptr<Workload> workload_;  // uses the group
  std::unique_ptr<Meter> meter_ = {};   // the node's; on its first rank alone
  RankProcesses processes_ = {};
  std::string what_ = {};   // the prepared case in words: "all_reduce of 67108864 bytes"
  double first_s_ = 0;      // the time that an iteration may take as long as none is over
  double iteration_s_ = 0;  // the time of an iteration; 0: not known yet
  bool beats_ = false;      // whether rank 0 gives signs of life
  Watchdog watchdog_;       // declared last, since its thread uses the other members
};

// Obeys rank 0's broadcasts until "quit", as the other ranks do.
void Follow(Worker& worker);

// The job whose rank 0 is this process. `ranks` must outlive it. Where any thread may use the
// ranks, a thread of the job tells the others that rank 0 is there.
std::unique_ptr<Job> MakeJob(Ranks& ranks, Member member, const WatchOptions& watch = {});

}  // namespace assay
