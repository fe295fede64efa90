// A Cluster is the processes of a run, as the program on rank 0 sees them: the nodes that there
// are, what each says of itself, the places of ranks and their devices, and cases that several
// ranks do.
//
// Cases come to it as probes unfold them (Case::across, or a `prepare` for one node) and leave it
// placed: with the units that do them, and a `prepare` that any thread of measuring may call
// without knowing whether ranks are threads, were started by mpirun, or are started for this case.
// These are the parts, top down:
//
//   program      unfolds probes into cases, has the Cluster place them, measures them
//   cluster.h    finds or starts the ranks that a case needs, and asks their job
//   join.h       how a process comes to its ranks, and what it does when it isn't rank 0
//   launch.h     ranks that assay starts for itself, spoken to over a pipe
//   job.h        the commands, and a Workload that makes a command of every call; a case travels
//                as its record in JSON (results/file/told.h), and each rank unfolds it by its own
//                probe
//   worker.h     a rank's end of the commands; each_node.h is its part of a case of one node
//   tcp_ranks.h, rank_threads.h, the mpi module   kinds of Ranks; all else knows the base class
//
// Probes know nothing of the Cluster: Setup::roster tells them what there is, and Case::across is
// where they say what they need.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runner/cluster/job.h"
#include "runner/cluster/worker.h"
#include "runner/core/module.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// The nodes and ranks that take part from the beginning.
struct Held {
  std::vector<Node> nodes = {};  // each as its first rank describes it (Member::describe)
  std::vector<RankPlace> ranks = {};
  std::vector<std::string> hosts = {};  // the nodes' names, which stay out of the file
  // "; rank 1 is stopped; rank 3 is gone" as of now, of ranks that a launcher started on rank 0's
  // host; "" where all are well. In any thread. Null without a launcher.
  std::function<std::string()> fates = {};
};

// The processes of a run. One thread uses it at a time, except where a call says otherwise.
class Cluster {
 public:
  virtual ~Cluster() = default;

  // Tells what probes may know of the ranks.
  virtual Roster WhoIsThere() = 0;
  // Asks all nodes at once to describe themselves; without a launcher, this one alone. Throws Error
  // where a node can't tell.
  virtual Held Describe() = 0;
  // Returns the case as it is done on this cluster: on its ranks and groups, or, where one node
  // does it, on all nodes at once by the first rank of each; its work is then that of all of them.
  virtual Case Placed(Case one) = 0;
  // The places of the ranks of a case of several ranks, with their devices. Ranks are started if
  // there are none yet. Throws Error where none can be started, or there are too few devices.
  virtual std::vector<Whereabouts> AskWhereabouts(const Case& one) = 0;
  // Has `told` called, in any thread, with what ranks did not end in time; with `last` this process
  // ends right after. There is one listener at a time; null removes it.
  using Hung = std::function<void(const std::string& diagnosis, bool last)>;
  virtual void WhenHung(Hung told) = 0;
  // Ends this process with this status, and with it all ranks where that can be done. May be called
  // in any thread.
  virtual void Abort(int status) = 0;
};

// The options of OpenCluster.
struct ClusterOptions {
  Ranks* ranks = nullptr;  // those that a launcher started; null or a single one: none did
  const Modules* modules = nullptr;  // null: there are none
  Member member = {};                // what this rank can do by itself
  Seconds watchdog = Seconds(60);    // the limit of what ranks do together, beside the work's time
  int usual_ranks = 2;               // the ranks started for a case where nobody says how many
  std::string self = "/proc/self/exe";  // the program that is a worker under --worker
};

// Opens the cluster. Where options.ranks has several ranks, they do all cases. Otherwise ranks are
// started when the first case needs them, serve all cases with as many ranks, and end with the
// cluster and its last case. `ranks` and `modules` must outlive both.
std::unique_ptr<Cluster> OpenCluster(const ClusterOptions& options);

}  // namespace assay
