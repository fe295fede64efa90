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

struct WatchOptions {
  Seconds limit = Seconds(60);  // the time that is granted beside what the work itself may take
  // Called once, with what is not over: "run of all_reduce, 64 MiB". Empty: nothing is watched.
  std::function<void(const std::string& what)> expired = {};
  // Called about once a second while something is watched, as a sign of life.
  std::function<void()> alive = {};
};

class Watchdog {
 public:
  explicit Watchdog(WatchOptions options);
  ~Watchdog();

  // Watches until the guard is destroyed; `more` is the time that the work may take. There may be
  // one guard at a time.
  class [[nodiscard]] Guard {
   public:
    explicit Guard(Watchdog& dog) : dog_(dog) {}
    ~Guard() { dog_.Release(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Watchdog& dog_;
  };
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
  // Called on all ranks together.
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
