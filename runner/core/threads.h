// Threads, and the part of the machine that this process may use. A Team is a thread pool whose
// threads are each pinned to a core and run one function together; a TaskThread does one task after
// the other. What may be used respects control groups (v1 and v2).
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

#include "results/file/run.h"

namespace assay {

// The cores that this process may use: its affinity mask at the first call, with one hardware
// thread per core where a core has several, and at most ceil(the container's CPU quota) of them.
// Never empty.
const std::vector<int>& UsableCores();

// The cores among the given CPU numbers, one number each and as many as the CPU quota allows, on a
// machine whose /proc and /sys lie under `root`. Cores are CPU numbers here and below.
std::vector<int> CoresAmong(const std::vector<int>& cpus, const std::string& root = "/");

// A CPU quota: in each period the group may use as much CPU time as `cores` cores have in it.
struct Quota {
  double cores = 0;  // 1.5
  Seconds period = {};
};

// The least CPU quota among this process's control group and those above it; nothing where none has
// a quota.
std::optional<Quota> CpuQuota(const std::string& root = "/");

// The memory, in bytes, that this process may fill: the machine's, or the least limit among its
// control group and those above it; 0 where it can't be told.
std::int64_t MemoryLimit(const std::string& root = "/");

// The part of that memory, in bytes, that can be had now without swapping; nothing where it can't
// be told.
std::optional<std::int64_t> AvailableMemory(const std::string& root = "/");

// Pins the calling thread to these CPUs until the same thread destroys the object, as far as the
// system allows. Threads that it starts meanwhile inherit that.
class Pinned {
 public:
  explicit Pinned(const std::vector<int>& cpus);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  std::vector<int> before_;
};

// A thread pool that runs one function on all of its threads at once, and says how long the slowest
// took from a common start.
class Team {
 public:
  // Starts `threads` threads, or with 0 one for each of `cores`, on which they are pinned in turn.
  // Throws Error where threads can't be started.
  explicit Team(int threads = 0, const std::vector<int>& cores = UsableCores());
  ~Team();
  int Size() const;
  // Whether each thread has a core to itself; false where there are more threads than cores or the
  // system refuses.
  bool Pinned() const;
  // Calls body(thread index) on every thread at once, and returns after the last one ends. The time
  // is that from the common start, when all threads are awake, to the end of the last. Where
  // threads throw, the exception of the first of them by index is rethrown here. Calls must not
  // overlap.
  Seconds Run(const std::function<void(int)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A thread that does the tasks that it is given, one after the other, for objects that only the
// thread which made them may use.
class TaskThread {
 public:
  // The thread runs on these CPUs alone; empty: wherever this process may run.
  explicit TaskThread(const std::vector<int>& cpus = {});
  // Waits until the last task is done; what it threw is lost.
  ~TaskThread();
  TaskThread(const TaskThread&) = delete;
  TaskThread& operator=(const TaskThread&) = delete;
  // Waits until the task before is done, hands over this one, and doesn't wait for it. What the
  // task before threw is lost unless Wait was called.
  void Give(std::function<void()> task);
  // Waits until the last task is done, and rethrows what it threw.
  void Wait();

 private:
  void Loop();

  std::mutex mutex_ = {};
  std::condition_variable changed_ = {};
  std::function<void()> task_ = {};  // empty: there are no more
  bool busy_ = false;                // whether a task was handed over and is not done
  std::exception_ptr failure_ = {};
  std::thread thread_;  // declared last, since it uses the other members
};

}  // namespace assay
