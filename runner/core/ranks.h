// Ranks are the processes taking part, or their threads. The base class is the usual case of one
// process; the mpi module, runner/cluster/tcp_ranks.h and runner/cluster/rank_threads.h give
// others. Waiting in any of these calls must not keep a core busy for long, since other ranks of
// this node may be measuring.
#pragma once

#include <unistd.h>

#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace assay {

// Barrier, Broadcast, Gather, Max and Together are collective: every rank must call them, in the
// same order, and they may throw Error where a rank is gone. The texts of all ranks in one call may
// have 16 MiB together.
class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual int Rank() const { return 0; }
  virtual int Size() const { return 1; }
  virtual int LocalRank() const { return 0; }          // this rank's number within its node
  virtual int Node() const { return 0; }               // nodes count from 0, by their lowest rank
  virtual std::string JoinedBy() const { return ""; }  // "mpi", "tcp", "threads"
  // Whether any thread may make the calls below, one at a time; if not, only the one that joined
  // may.
  virtual bool AnyThread() const { return true; }
  // The numbers that these ranks have among all that were joined, by rank. In a group they are
  // fewer than all.
  virtual std::vector<int> Members() const {
    std::vector<int> all(static_cast<std::size_t>(Size()));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  // Ends this process, and all other ranks where that can be done, with this status. May be called
  // in any thread, whatever the other threads do.
  virtual void Abort(int status) { _exit(status); }
  virtual void Barrier() {}
  // Returns rank 0's text on every rank.
  virtual std::string Broadcast(const std::string& text) { return text; }
  // Returns every rank's text, in rank order, on rank 0; an empty vector elsewhere.
  virtual std::vector<std::string> Gather(const std::string& text) { return {text}; }
  // Replaces the values, on every rank, by the element-wise maximum over ranks.
  virtual void Max(std::span<double> values) { (void)values; }
  // Calls `body` once for all ranks whose work one thread launches (runner/cluster/rank_threads.h),
  // with the `own` of each of them in rank order, while they wait; where it throws, all of them do.
  // Any other rank calls `body` with its own alone.
  virtual void Together(void* own, const std::function<void(std::span<void* const>)>& body) {
    body({&own, 1});
  }
};

}  // namespace assay
