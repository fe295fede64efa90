// All that the rest of the program sees of several ranks together.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/library.h"
#include "runner/cluster/rank_threads.h"
#include "runner/core/module.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay::collectives {

// Where a rank is.
struct Whereabouts {
  int node = 0;
  std::int64_t pid = 0;
  int processor = 0;                      // that it ran on when asked
  int numa = -1;                          // the NUMA node of all its processors; -1: not of one
  std::string host = {};                  // the node's name, for the terminal alone
  std::optional<RankDevice> device = {};  // where the library's buffers lie on one
};

// The group of each rank, or -1 for one that takes no part: by nccl-tests' expression, an operation
// on the rank and a number (AND or &, OR or |, MOD or %, DIV or /, and 8, 0x7 or 0b111), or by a
// list of a number or - for each rank ("0,0,1,1,-"). Throws Error for anything else.
std::vector<int> GroupsFrom(const std::string& expression, int ranks);

// What a run holds.
struct Held {
  std::vector<Node> nodes = {};  // each as it describes itself by its own Setup::this_node
  std::vector<RankPlace> ranks = {};
  std::vector<std::string> hosts = {};  // the nodes' names, which stay out of the file
  // "; rank 1 is stopped; rank 3 is gone" as of now, of ranks that a launcher started on rank 0's
  // host; "" where all are well. In any thread. Null without a launcher.
  std::function<std::string()> fates = {};
};

// The library that runs collectives where none is asked for.
struct UsualLibrary {
  std::string name = {};
  std::string instead = {};  // why it isn't the one that it would be elsewhere; "": it is
};

// What is measured, and by whom. A collective's params may have more than its probe knows:
//   split         an expression for GroupsFrom. Its case then has a part for each group, in the
//                 order of their lowest ranks, whose `ranks` and `nodes` are the group's, and with
//                 a param `group`
//   unalign, aggregate   as the Collective's, where they aren't the default
// and some that say how it is run, which its cases don't have:
//   allow_single         true: one rank, which exchanges nothing, is not refused
//   verify, skip, graph_operations   as the Collective's
struct Door {
  std::vector<Probe> probes = {};
  int nodes = 1;  // of the ranks that a launcher started
  // Asks all of these nodes at once; without a launcher this one alone. Throws Error where one
  // can't tell.
  std::function<Held()> held = {};
  // A case of one node, on all of `nodes` at once by the first rank of each: its work is that of
  // all of them. On every node Setup::prepare makes it ready.
  std::function<Case(Case one)> on_each_node = {};
  // Where each rank is that runs cases with that many ranks, and its device with this library; the
  // ranks are launched if none are there yet. Throws Error where none can be launched, or there are
  // too few devices.
  std::function<std::vector<Whereabouts>(int ranks, const std::string& library)> whereabouts = {};
  std::function<UsualLibrary()> usual_library = {};
};

// One probe an operation. Where setup.ranks has several, these run it; otherwise ranks are launched
// when the first case needs them, serve all cases with as many ranks, and end with the last copy of
// the door. setup.modules and setup.ranks must outlive it. With `require_transport`, a case whose
// data any rank moved over something else (its fact `transport`) fails, with a sentence on both.
Door Open(const Setup& setup, const std::string& require_transport = {});
// The probes alone.
std::vector<Probe> Probes(const Setup& setup);

std::map<std::string, std::string> Software(const Setup& setup);

// True if this process was started by mpirun, srun or the like: then it never launches any itself.
bool UnderLauncher();
// How many processes that launcher started; 0 where it doesn't say, or there is none.
int LaunchedSize();

// What is to be said where RANK and WORLD_SIZE are set as torchrun does it, and nobody joins those
// ranks (`bootstrap`, a launcher of MPI's); "" where nothing is.
std::string UnjoinedNote(const std::string& bootstrap);

// Sends the other ranks home when rank 0 lets go, in whatever way it ends. Where they don't all
// take leave in time this rank ends with status 3, after a line that names those that are stopped
// or gone.
struct Dismiss {
  Seconds watchdog = Seconds(60);
  std::function<std::string()> fates = {};  // of the other ranks
  void operator()(Ranks* ranks) const;
};
using JoinedRanks = std::unique_ptr<Ranks, Dismiss>;

// The processes that the launcher started; without one, this process alone. `bootstrap` "tcp" joins
// those that the environment tells of (runner/cluster/tcp_ranks.h), without any MPI. Throws Error
// where they can't find each other, since each would then write the one result file. Where one of
// them never comes, this one ends with status 3 after `watchdog`, as MPI itself would wait for
// ever. A process that was started alone has no ranks but itself, and can run no collective, unless
// `allow_single`.
JoinedRanks JoinRanks(const Modules& modules, const std::string& bootstrap = {},
                      Seconds watchdog = Seconds(60), bool allow_single = false);

// True if collectives run over a library, here its name or "" for the usual one, whose ranks can be
// threads of one process.
bool HasThreads(const std::string& library);
// The first of the ranks that each of the joined processes then has; the others do as Follow says
// for `setup`, whose own ranks don't count. Called on all processes together; throws Error where
// they don't ask for as many each.
JoinedRanks InThreads(JoinedRanks processes, const PerProcess& per_process, const Setup& setup);

// What every rank but 0 does, in place of the program: its part of the collectives that rank 0 asks
// for, waiting politely in between, until rank 0 lets go of its ranks. Of `setup` it needs modules,
// ranks, watchdog, this_node and gemm.
void Follow(const Setup& setup);

// The whole of `assay --worker`, which only assay itself starts. Returns the exit status.
// `gemm_by` gives its Setup::gemm by these modules.
int WorkerMain(const std::function<GemmAt(const Modules&)>& gemm_by = {});

}  // namespace assay::collectives
