// The ways in which this process joins the ranks that it is one of (by a launcher, over TCP, as a
// thread, or started by assay itself), and what every rank but 0 does from then on.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runner/cluster/rank_threads.h"
#include "runner/cluster/worker.h"
#include "runner/core/module.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// Whether this process was started by mpirun, srun or the like; it then launches no ranks itself.
bool UnderLauncher();
// The number of processes that the launcher started; 0 where it doesn't say, or there is none.
int LaunchedSize();

// A note for the case that RANK and WORLD_SIZE are set, as torchrun sets them, and neither
// `bootstrap` nor a launcher of MPI's joins those ranks; "" in any other case.
std::string UnjoinedNote(const std::string& bootstrap);

// The deleter of joined ranks. On rank 0 it tells the other ranks to end. Where they don't all end
// in time, this rank ends with status 3, after a line that names those that are stopped or gone.
struct Dismiss {
  Seconds watchdog = Seconds(60);
  // Tells what became of the other ranks. Called in another thread, when they don't end in time.
  // May be null.
  std::function<std::string()> fates = {};
  void operator()(Ranks* ranks) const;
};
using JoinedRanks = std::unique_ptr<Ranks, Dismiss>;

// Joins the processes that the launcher started; without one, this process stays alone. `bootstrap`
// "tcp" joins those that the environment tells of (runner/cluster/tcp_ranks.h), without any MPI.
// Throws Error where they can't find each other, since each would then write the one result file.
// Where one of them never comes, this one ends with status 3 after `watchdog`; MPI itself would
// wait for ever. A process that was started alone has no ranks but itself, and can run no
// collective, unless `allow_single`.
JoinedRanks JoinRanks(const Modules& modules, const std::string& bootstrap = {},
                      Seconds watchdog = Seconds(60), bool allow_single = false);

// Gives each of the joined processes several ranks, which are threads, and returns its first one.
// The others obey what rank 0 asks for, each as its own Member. Called on all processes together;
// throws Error where they don't ask for equally many each.
JoinedRanks InThreads(JoinedRanks processes, const PerProcess& per_process,
                      const std::function<Member()>& member_of_thread, Seconds watchdog);

// Does what every rank but 0 does in place of the program: its part of the cases that rank 0 asks
// for, asleep in between, until rank 0 tells it to quit. Ends the process with status 2 after an
// error.
void FollowAsMember(Ranks& ranks, Member member, Seconds watchdog);

// Does all of `assay --worker`, which only assay itself starts: takes commands on standard input
// and answers on standard output where it is rank 0, and follows elsewhere. `member_by` makes what
// the rank can do by itself. Returns the exit status, and ends the process with status 2 after an
// error.
int WorkerMain(const std::function<Member(const Modules&)>& member_by);

}  // namespace assay
