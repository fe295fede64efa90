// Ranks are the processes taking part, or their threads. The base class is the usual case of one
// process; the mpi module, collectives/tcp_ranks.h and collectives/rank_threads.h give others.
// Waiting in any of these calls must not burn a core for long: other ranks of this node may be
// measuring.
#pragma once

#include <unistd.h>

#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace assay {

class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual int Rank() const { return 0; }
  virtual int Size() const { return 1; }
  virtual int LocalRank() const { return 0; }          // among the ranks of this node
  virtual int Node() const { return 0; }               // 0 … nodes - 1, by lowest rank
  virtual std::string JoinedBy() const { return ""; }  // "mpi", "tcp", "threads"
  // Whether any thread may make the calls below, one at a time.
  virtual bool AnyThread() const { return true; }
  // Of all that were joined: which ones these are, by rank. Fewer than all in a group.
  virtual std::vector<int> Members() const {
    std::vector<int> all(static_cast<std::size_t>(Size()));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  // Ends this process, and all others where that can be done, with this status. May be called in
  // any thread, whatever the others do.
  virtual void Abort(int status) { _exit(status); }
  virtual void Barrier() {}
  // Rank 0's text, on every rank.
  virtual std::string Broadcast(const std::string& text) { return text; }
  // Every rank's text in rank order on rank 0; empty elsewhere.
  virtual std::vector<std::string> Gather(const std::string& text) { return {text}; }
  // The element-wise maximum over ranks, on every rank.
  virtual void Max(std::span<double> values) { (void)values; }
  // Ranks whose work one thread is to launch (collectives/rank_threads.h): `body` is called once,
  // with what each of them gave in rank order, while they wait; where it throws, all of them do.
  // Elsewhere each is alone.
  virtual void Together(void* own, const std::function<void(std::span<void* const>)>& body) {
    body({&own, 1});
  }
};

}  // namespace assay
