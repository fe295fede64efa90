#include "runner/core/threads.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "results/base/error.h"
#include "results/base/text.h"

namespace assay {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::optional<std::string> FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

// The control groups that hold this process for a controller ("cpu", "memory"), its own first.
struct Groups {
  bool unified = false;  // cgroup v2
  std::vector<fs::path> folders = {};
};

// The control groups of this process for a controller, in cgroup v2 and v1, whichever the system
// has.
std::vector<Groups> GroupsOf(const std::string& controller, const fs::path& root) {
  std::vector<Groups> all;
  std::ifstream lines(root / "proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {  // "4:cpu,cpuacct:/path", v2: "0::/path"
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    Groups groups = {.unified = controllers.empty()};
    if (!groups.unified && ("," + controllers + ",").find("," + controller + ",") == line.npos) {
      continue;
    }
    fs::path mount = root / "sys/fs/cgroup";
    if (!groups.unified) mount /= fs::exists(mount / controllers) ? controllers : controller;
    // A container may see only the upper end of this path. Folders that aren't there read as no
    // limit.
    for (fs::path group = fs::path(line.substr(second + 1)).relative_path();;
         group = group.parent_path()) {
      groups.folders.push_back(mount / group);
      if (group.empty()) break;
    }
    all.push_back(std::move(groups));
  }
  return all;
}

// The number that a file begins with; nothing for "max" and where there is no such file.
std::optional<double> NumberIn(const fs::path& path) {
  std::istringstream line(FirstLine(path).value_or(""));
  double number = 0;
  if (line >> number) return number;
  return std::nullopt;
}

// The number behind a word that begins a line: "MemTotal:  24572196 kB".
std::optional<double> NumberAfter(const std::string& word, const fs::path& path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string first;
    double number = 0;
    if (words >> first >> number && first == word) return number;
  }
  return std::nullopt;
}

std::optional<double> MemoryLimitOf(const fs::path& group, bool unified) {
  return NumberIn(group / (unified ? "memory.max" : "memory.limit_in_bytes"));
}

// Makes a quota of the kernel's two numbers, which are in microseconds.
Quota QuotaOf(double quota, double period) {
  return {.cores = quota / period, .period = Seconds(period * 1e-6)};
}

// The quota of a group of cgroup v2, whose file reads "150000 100000"; "max 100000" is no quota.
std::optional<Quota> QuotaV2(const fs::path& group) {
  std::istringstream line(FirstLine(group / "cpu.max").value_or(""));
  double quota = 0;
  double period = 0;
  if (line >> quota >> period && quota > 0 && period > 0) return QuotaOf(quota, period);
  return std::nullopt;
}

// The quota of a group of cgroup v1, which has a file for each number; -1 is no quota.
std::optional<Quota> QuotaV1(const fs::path& group) {
  const double quota = NumberIn(group / "cpu.cfs_quota_us").value_or(-1);
  const double period = NumberIn(group / "cpu.cfs_period_us").value_or(0);
  if (quota > 0 && period > 0) return QuotaOf(quota, period);
  return std::nullopt;
}

// The CPUs of this process's affinity mask.
std::vector<int> AllowedCpus() {
  std::vector<cpu_set_t> sets(8);  // 8,192 CPUs, the most that Linux can be built for
  const std::size_t bytes = sets.size() * sizeof(cpu_set_t);
  std::vector<int> cpus;
  if (sched_getaffinity(0, bytes, sets.data()) == 0) {
    for (int cpu = 0; cpu < static_cast<int>(8 * bytes); ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, sets.data())) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

// Lets a thread run on these CPUs alone; returns whether the system did.
bool Pin(pthread_t thread, const std::vector<int>& cpus) {
  std::vector<cpu_set_t> sets(8);
  const std::size_t bytes = sets.size() * sizeof(cpu_set_t);
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), bytes, sets.data());
  return pthread_setaffinity_np(thread, bytes, sets.data()) == 0;
}

// The time that a thread which is awake spins while the others wake up, before it sleeps again.
constexpr Seconds kWakeUp = std::chrono::milliseconds(1);

// Tells the processor that this thread spins, which leaves more to the other thread of its core.
void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` is no longer `old`: spins for `spin`, then blocks.
void Await(const std::atomic<int>& value, int old, Seconds spin) {
  const auto deadline = Clock::now() + spin;
  while (value.load(std::memory_order_acquire) == old) {
    for (int i = 0; i < 32 && value.load(std::memory_order_acquire) == old; ++i) Relax();
    if (Clock::now() >= deadline) value.wait(old, std::memory_order_acquire);
  }
}

}  // namespace

std::vector<int> CoresAmong(const std::vector<int>& cpus, const std::string& root) {
  std::vector<int> cores;
  std::set<std::string> seen;
  for (int cpu : cpus) {
    // The hardware threads of one core share this text; where it can't be read, each CPU is a core.
    const std::string siblings =
        FirstLine(fs::path(root) / fmt::format("sys/devices/system/cpu/cpu{}/topology/"
                                               "thread_siblings_list",
                                               cpu))
            .value_or(fmt::format("{}", cpu));
    if (seen.insert(siblings).second) cores.push_back(cpu);
  }
  if (const std::optional<Quota> quota = CpuQuota(root)) {
    cores.resize(std::min(cores.size(), static_cast<std::size_t>(std::ceil(quota->cores))));
  }
  return cores;
}

const std::vector<int>& UsableCores() {
  // The cores are asked for once, since a library that pins the calling thread later must not make
  // the machine look small.
  static const std::vector<int> cores = CoresAmong(AllowedCpus());
  return cores;
}

std::optional<Quota> CpuQuota(const std::string& root) {
  std::optional<Quota> least;
  for (const Groups& groups : GroupsOf("cpu", root)) {
    for (const fs::path& folder : groups.folders) {
      const std::optional<Quota> quota = groups.unified ? QuotaV2(folder) : QuotaV1(folder);
      if (quota && (!least || quota->cores < least->cores)) least = quota;
    }
  }
  return least;
}

std::int64_t MemoryLimit(const std::string& root) {
  double least = NumberAfter("MemTotal:", fs::path(root) / "proc/meminfo").value_or(0) * 1024;
  for (const Groups& groups : GroupsOf("memory", root)) {
    for (const fs::path& folder : groups.folders) {
      const double limit = MemoryLimitOf(folder, groups.unified).value_or(0);
      if (limit > 0 && limit < least) least = limit;
    }
  }
  return static_cast<std::int64_t>(least);
}

std::optional<std::int64_t> AvailableMemory(const std::string& root) {
  const auto kib = NumberAfter("MemAvailable:", fs::path(root) / "proc/meminfo");
  if (!kib) return std::nullopt;
  double least = *kib * 1024;
  for (const Groups& groups : GroupsOf("memory", root)) {
    for (const fs::path& folder : groups.folders) {
      const auto limit = MemoryLimitOf(folder, groups.unified);
      const auto used =
          NumberIn(folder / (groups.unified ? "memory.current" : "memory.usage_in_bytes"));
      if (!limit || !used) continue;
      // Pages of files in the page cache count as used, but are given up when memory is asked for.
      const char* const cached = groups.unified ? "inactive_file" : "total_inactive_file";
      const double cache = NumberAfter(cached, folder / "memory.stat").value_or(0);
      least = std::min(least, std::max(0.0, *limit - *used + cache));
    }
  }
  return static_cast<std::int64_t>(least);
}

struct Team::State {
  // The results of one thread, on cache lines that no other thread writes to.
  struct alignas(128) Slot {
    Clock::time_point end = {};
    std::exception_ptr failure = {};
  };

  ~State() {
    stop = true;
    turn.fetch_add(1, std::memory_order_release);
    turn.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void Work(int index) {
    for (int now = 1;; ++now) {
      Await(turn, now - 1, std::chrono::microseconds(20));
      if (stop) return;
      // The clock starts when the last of us is awake, so that waking up isn't timed.
      if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
        arrived.store(0, std::memory_order_relaxed);
        start = Clock::now();
        started.store(now, std::memory_order_release);
        started.notify_all();
      } else {
        Await(started, now - 1, pinned ? kWakeUp : Seconds(0));
      }
      Slot& slot = slots[static_cast<std::size_t>(index)];
      try {
        (*body)(index);
      } catch (...) {
        slot.failure = std::current_exception();
      }
      slot.end = Clock::now();
      if (finished.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
        finished.store(0, std::memory_order_relaxed);
        ended.store(now, std::memory_order_release);
        ended.notify_one();
      }
    }
  }

  int size = 0;
  bool pinned = true;
  bool stop = false;                               // written before `turn` rises, read after that
  const std::function<void(int)>* body = nullptr;  // written and read as `stop` is
  Clock::time_point start = {};
  std::vector<Slot> slots = {};
  alignas(128) std::atomic<int> turn = 0;     // rises by one with each Run
  alignas(128) std::atomic<int> started = 0;  // becomes `turn` when all have arrived
  alignas(128) std::atomic<int> ended = 0;    // becomes `turn` when all have finished
  alignas(128) std::atomic<int> arrived = 0;
  std::atomic<int> finished = 0;
  std::vector<std::thread> threads = {};
};

Pinned::Pinned(const std::vector<int>& cpus) : before_(AllowedCpus()) { Pin(pthread_self(), cpus); }

Pinned::~Pinned() { Pin(pthread_self(), before_); }

Team::Team(int threads, const std::vector<int>& cores) : state_(std::make_unique<State>()) {
  if (threads < 0) throw Error(fmt::format("threads is {}; give 1 or more", threads));
  State& state = *state_;
  state.size = threads == 0 ? static_cast<int>(cores.size()) : threads;
  const auto size = static_cast<std::size_t>(state.size);
  // More threads than cores share some, and spinning would take time from those that work.
  state.pinned = size <= cores.size();
  state.slots.resize(size);
  for (std::size_t i = 0; i < size; ++i) {
    try {
      state.threads.emplace_back([&state, i] { state.Work(static_cast<int>(i)); });
    } catch (const std::system_error& error) {
      throw Error(fmt::format("only {} of {} could be started ({}); give --threads {}", i,
                              CountText(size, "thread"), error.what(),
                              std::max<std::size_t>(i, 1)));
    }
    if (!Pin(state.threads.back().native_handle(), {cores[i % cores.size()]})) {
      state.pinned = false;
    }
  }
}

Team::~Team() = default;

int Team::Size() const { return state_->size; }

bool Team::Pinned() const { return state_->pinned; }

Seconds Team::Run(const std::function<void(int)>& body) {
  State& state = *state_;
  state.body = &body;
  const int now = state.turn.fetch_add(1, std::memory_order_acq_rel) + 1;
  state.turn.notify_all();
  while (state.ended.load(std::memory_order_acquire) != now) {
    state.ended.wait(now - 1, std::memory_order_acquire);
  }
  Clock::time_point end = state.start;
  std::exception_ptr failure;
  for (State::Slot& slot : state.slots) {
    end = std::max(end, slot.end);
    if (slot.failure && !failure) failure = slot.failure;
    slot.failure = nullptr;
  }
  if (failure) std::rethrow_exception(failure);
  return end - state.start;
}

TaskThread::TaskThread(const std::vector<int>& cpus)
    : thread_([this, cpus] {
        std::optional<Pinned> pinned;
        if (!cpus.empty()) pinned.emplace(cpus);
        Loop();
      }) {}

TaskThread::~TaskThread() {
  Give({});
  thread_.join();
}

void TaskThread::Give(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !busy_; });
  task_ = std::move(task);
  busy_ = true;
  changed_.notify_all();
}

void TaskThread::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !busy_; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, {}));
}

void TaskThread::Loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return busy_; });
    const std::function<void()> task = std::move(task_);
    if (!task) return;
    lock.unlock();
    std::exception_ptr failure;
    try {
      task();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure;
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace assay
