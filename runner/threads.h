// A team of threads, each pinned to a core of its own, that runs one function together and says how
// long the slowest took from a common start; a thread that does one task after the other; and what
// of the machine this process may use, control groups (v1 and v2) included.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "results/run.h"

namespace assay {

// The cores this process may use: its affinity mask at the first call, one hardware thread per core
// where the machine has several, and at most ceil(the container's CPU quota). Never empty.
const std::vector<int>& UsableCores();

// The same for CPU numbers given, on a machine whose /proc and /sys lie under `root`.
std::vector<int> CoresAmong(const std::vector<int>& cpus, const std::string& root = "/");

// CPU time that is given again and again: in each period so much as `cores` have in it.
struct Quota {
  double cores = 0;  // 1.5
  Seconds period = {};
};

// The least CPU quota of this process's control group and those above it; nothing where there is
// none.
std::optional<Quota> CpuQuota(const std::string& root = "/");

// The memory that this process may fill: the machine's, or the least limit of its control group and
// those above it; 0 where it can't be told.
std::int64_t MemoryLimit(const std::string& root = "/");

// What of it can be had now without swapping; nothing where it can't be told.
std::optional<std::int64_t> AvailableMemory(const std::string& root = "/");

// While one lives, the calling thread runs on these CPUs alone, as far as the system allows, and
// threads that it starts begin there.
class Pinned {
 public:
  explicit Pinned(const std::vector<int>& cpus);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  std::vector<int> before_;
};

class Team {
 public:
  // `threads` 0: one to each of `cores`. Throws Error where they can't be started.
  explicit Team(int threads = 0, const std::vector<int>& cores = UsableCores());
  ~Team();
  int Size() const;
  // Whether each thread has a core to itself; false where there are more threads than cores or the
  // system refuses.
  bool Pinned() const;
  // Calls body(thread index) on every thread at once; returns after the last ends. The time is from
  // the common start to the end of the last. An exception of any thread is rethrown here. One call
  // at a time.
  Seconds Run(const std::function<void(int)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A thread that does what it is given, one task after the other: for what only the thread that made
// it may use.
class TaskThread {
 public:
  // On these CPUs alone; empty: wherever this process may run.
  explicit TaskThread(const std::vector<int>& cpus = {});
  // Ends once what it was given is done.
  ~TaskThread();
  TaskThread(const TaskThread&) = delete;
  TaskThread& operator=(const TaskThread&) = delete;
  // Hands over a task once the one before is done, and doesn't wait for this one.
  void Give(std::function<void()> task);
  // Returns when the last task is done. Throws what it threw.
  void Wait();

 private:
  void Loop();

  std::mutex mutex_ = {};
  std::condition_variable changed_ = {};
  std::function<void()> task_ = {};  // empty: there are no more
  bool busy_ = false;                // a task was handed over and is not done
  std::exception_ptr failure_ = {};
  std::thread thread_;  // last: it uses the others
};

}  // namespace assay
