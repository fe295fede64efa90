#include "runner/cluster/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

namespace assay {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kSignOfLife(1);

}  // namespace

struct Watchdog::State {
  explicit State(WatchOptions chosen) : options(std::move(chosen)) {
    if (options.expired) thread = std::thread([this] { Live(); });
  }

  void Live() {
    std::unique_lock lock(mutex);
    for (;;) {
      if (over) return;
      if (!watched) {
        changed.wait(lock);
        continue;
      }
      const auto now = SteadyClock::now();
      if (now >= deadline) {
        // The function is called under the lock, so that the work that is watched doesn't go on
        // meanwhile.
        options.expired(what);
        return;
      }
      if (options.alive && now >= next_sign) {
        options.alive();
        next_sign = now + kSignOfLife;
      }
      changed.wait_until(lock, options.alive ? std::min(deadline, next_sign) : deadline);
    }
  }

  WatchOptions options;
  std::mutex mutex = {};
  std::condition_variable changed = {};
  bool over = false;
  bool watched = false;
  std::string what = {};
  SteadyClock::time_point deadline = {};
  SteadyClock::time_point next_sign = {};
  std::thread thread = {};  // declared last, since it uses the other members
};

Watchdog::Watchdog(WatchOptions options) : state_(std::make_unique<State>(std::move(options))) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->over = true;
  }
  state_->changed.notify_one();
  if (state_->thread.joinable()) state_->thread.join();
}

Watchdog::Guard Watchdog::Watch(std::string what, Seconds more) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->watched = true;
    state_->what = std::move(what);
    const auto now = SteadyClock::now();
    state_->deadline =
        now + std::chrono::duration_cast<SteadyClock::duration>(state_->options.limit + more);
    state_->next_sign = now + kSignOfLife;
  }
  state_->changed.notify_one();
  return Guard(*this);
}

void Watchdog::Release() {
  const std::lock_guard lock(state_->mutex);
  state_->watched = false;
}

std::string FateOf(int pid) {
  std::string stat;
  if (!std::getline(std::ifstream(fmt::format("/proc/{}/stat", pid)), stat)) return "is gone";
  // The format is "PID (NAME) STATE …", where the name may hold anything.
  const std::size_t at = stat.rfind(") ");
  const char state = at == std::string::npos || at + 2 >= stat.size() ? '?' : stat[at + 2];
  if (state == 'T' || state == 't') return "is stopped";
  return state == 'Z' || state == 'X' ? "is gone" : "";
}

RankProcesses::RankProcesses(Ranks& ranks) {
  std::error_code ignored;
  const std::string pids = std::filesystem::read_symlink("/proc/self/ns/pid", ignored).string();
  for (const std::string& text :
       ranks.Gather(fmt::format("{} {}/{}", getpid(), HostName(), pids))) {
    Process& process = all_.emplace_back();
    std::istringstream words(text);
    words >> process.pid >> process.where;
  }
}

std::string RankProcesses::Fates() const {
  std::string fates;
  for (std::size_t rank = 0; rank < all_.size(); ++rank) {
    // Process ids are comparable only within one host and one name space.
    if (all_[rank].where != all_[0].where) continue;
    const std::string fate = FateOf(all_[rank].pid);
    if (!fate.empty()) fates += fmt::format("; rank {} {}", rank, fate);
  }
  return fates;
}

std::string HostName() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

}  // namespace assay
