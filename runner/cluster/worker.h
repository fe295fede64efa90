// One rank's end of a Job (runner/cluster/job.h): it does its part of each command, and rank 0's
// program gives the commands.
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

// The case of these probes that `asked` names, for Member::own_case; nothing where none is like it.
std::optional<Case> CaseLike(const Record& asked, const std::vector<Probe>& probes);

class Worker {
 public:
  // What is not over in time ends this rank: with its line on standard error, after `watch.expired`
  // was called with the diagnosis, and with exit status 3.
  Worker(Ranks& ranks, Member member, const WatchOptions& watch = {});
  // All ranks are given the same commands; the answer counts on rank 0. What is thrown leaves the
  // ranks out of step, and must end this one.
  std::string Obey(const std::string& text);
  // Rank 0's next command, for the other ranks. Once rank 0's heart has begun to beat, one that it
  // doesn't hear of in time is over.
  std::string NextCommand();
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
  void CheckFits(const AcrossRanks& asked, On on) const;
  std::string Agree(const std::function<Prepared()>& prepare);
  void Expire(const std::string& what, const std::function<void(const std::string&)>& told);

  Ranks& ranks_;
  Member member_;
  bool takes_part_ = true;
  std::unique_ptr<Group> group_ = {};   // null: all ranks together
  std::unique_ptr<Workload> workload_;  // uses the group
  std::unique_ptr<Meter> meter_ = {};   // of the node; on its first rank alone
  RankProcesses processes_ = {};
  std::string what_ = {};   // is prepared: "all_reduce of 67108864 bytes"
  double first_s_ = 0;      // what one iteration may take as long as none is over
  double iteration_s_ = 0;  // what one has taken; 0: not known yet
  bool beats_ = false;      // rank 0 says now and then that it is there
  Watchdog watchdog_;       // last: its thread uses the others
};

// Obeys rank 0's broadcasts until "quit", as the other ranks do.
void Follow(Worker& worker);

// The job whose rank 0 is this process.
std::unique_ptr<Job> JobOf(Ranks& ranks, Member member, const WatchOptions& watch = {});

}  // namespace assay
