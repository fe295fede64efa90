// A Watchdog notices, in its own thread, that something that several ranks do together is not over
// in time. A rank that died, was stopped or lost its link leaves the others waiting for ever, most
// of them within a library that can't be interrupted. A function that is called in the watchdog's
// thread then ends the rank.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "results/file/run.h"
#include "runner/core/ranks.h"

namespace assay {

// The options of a Watchdog, whose functions are called in its thread.
struct WatchOptions {
  Seconds limit = Seconds(60);  // the time that is granted beside what the work itself may take
  // Called once, with what is not over: "run of all_reduce, 64 MiB". Work that ends meanwhile waits
  // in ~Guard until it returns. Empty: nothing is watched.
  std::function<void(const std::string& what)> expired = {};
  // Called about once a second while something is watched, as a sign of life.
  std::function<void()> alive = {};
};

// A watch over one piece of work at a time, begun and ended in one thread.
class Watchdog {
 public:
  explicit Watchdog(WatchOptions options);
  ~Watchdog();

  // Watches until it is destroyed, which must be before the watchdog is.
  class [[nodiscard]] Guard {
   public:
    explicit Guard(Watchdog& dog) : dog_(dog) {}
    ~Guard() { dog_.Release(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Watchdog& dog_;
  };
  // Begins to watch `what`, which may take `more` beside the limit. There may be one guard at a
  // time.
  Guard Watch(std::string what, Seconds more = {});

 private:
  void Release();
  struct State;
  std::unique_ptr<State> state_;
};

// The state of a process of this machine: "is stopped", "is gone", or "" where it runs.
std::string FateOf(int pid);

// The process of each rank, by which rank 0 tells what became of one that others wait for.
class RankProcesses {
 public:
  RankProcesses() = default;
  // Gathers the processes. Called on all ranks together.
  explicit RankProcesses(Ranks& ranks);
  // "; rank 1 is stopped; rank 3 is gone", of the ranks on rank 0's host; "" on other ranks.
  std::string Fates() const;

 private:
  struct Process {
    int pid = 0;
    std::string where = {};  // host and process numbering
  };
  std::vector<Process> all_ = {};
};

// The name of this machine, for the terminal alone.
std::string HostName();

}  // namespace assay
