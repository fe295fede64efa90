// Ranks that assay launches for itself, so that a plain `assay run` needs no launcher around it and
// never calls MPI_Init: mpirun starts `assay --worker` that many times, or, for libraries that need
// no MPI, assay does so itself and the workers join over TCP (runner/cluster/tcp_ranks.h). Rank 0
// of these is spoken to over its standard input and output (runner/cluster/job.h says how).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runner/cluster/job.h"
#include "runner/cluster/worker.h"
#include "runner/core/module.h"
#include "runner/core/probe.h"

namespace assay {

// The options of Launch.
struct LaunchOptions {
  int ranks = 2;
  bool oversubscribe = false;           // whether ranks outnumber cores; they aren't pinned then
  bool pinned = true;                   // false: ranks share out the cores themselves
  std::optional<Mpirun> launcher = {};  // nothing: ranks start without MPI
  // The path of the program that is a worker when called with --worker. PATH isn't searched for it.
  std::string self = {};
  // The time for all ranks to come up. It must be more than `timeout`: after that a rank that still
  // waits for others names the missing ones itself, which tells more.
  Seconds start = Seconds(70);
  // The time for rank 0's next sign of life, and the limit of its watchdog beside the work's time.
  Seconds timeout = Seconds(60);
  // Called when `start` or `timeout` is over, or a rank's watchdog has expired, in the thread that
  // waits in Launch or Job::Ask, which then throws. May be null.
  std::function<void()> expired = {};
};

// Starts the ranks, each on a core of its own if `pinned` is true and `oversubscribe` false. Throws
// Error with the cause that the launcher or a rank gave when they don't come up. Job::Ask throws
// Error with the cause when they die later or don't answer in time. No process is left in either
// case. Destroying the job ends the ranks.
std::unique_ptr<Job> Launch(const LaunchOptions& options);

// The cause in what a launcher and its ranks wrote to standard error: a rank's own complaint, else
// what the launcher said first, since the rest follows from it. The text is scrubbed, since
// launchers name hosts, addresses and users, and it goes into the result file. "" where nothing of
// what they wrote has a letter in it.
std::string CauseIn(const std::string& words);

// Serves rank 0's end of the pipe: reads commands from `commands`, tells each to the ranks that
// Follow, and writes answers to `answers`, until the end of `commands`, or until either of the two
// fails. The descriptors stay the caller's. It doesn't tell the ranks to quit, which the caller
// does (Dismiss, runner/cluster/join.h). Throws what Worker::Tell and Obey throw.
void Serve(int commands, int answers, Worker& worker);

}  // namespace assay
