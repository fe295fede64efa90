#include "runner/program/signals.h"

#include <semaphore.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <utility>

#include "io/io.h"
#include "runner/program/measure.h"

namespace assay {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
// The delay of OutliveRankZero, which is longer than any launcher waits before it kills.
constexpr Seconds kOutlived(5);

std::atomic<int> told = 0;
std::atomic<bool> has_last_resort = false;
std::atomic<bool> is_over = false;  // whether the last resort is no longer needed

sem_t* Woken() {
  static sem_t semaphore;
  static const int made = sem_init(&semaphore, 0, 0);
  (void)made;
  return &semaphore;
}

void OnSignal(int) {
  const int error = errno;
  const int times = ++told;
  if (times > (has_last_resort ? 2 : 1)) {
    io::RemoveTestFiles();
    _exit(kInterrupted);
  }
  sem_post(Woken());
  errno = error;
}

// Sleeps until another thread or a signal wakes this one. Returns false where nobody did within the
// time.
bool SleepUntilWoken(std::optional<Seconds> longest) {
  timespec until = {};
  clock_gettime(CLOCK_REALTIME, &until);
  if (longest) {
    const double at_s = static_cast<double>(until.tv_nsec) * 1e-9 + longest->count();
    until.tv_sec += static_cast<std::time_t>(at_s);
    until.tv_nsec = static_cast<long>((at_s - static_cast<double>(static_cast<long>(at_s))) * 1e9);
  }
  for (;;) {
    const int rc = longest ? sem_timedwait(Woken(), &until) : sem_wait(Woken());
    if (rc == 0) return true;
    if (errno != EINTR) return false;
  }
}

}  // namespace

void CatchSignals() {
  Woken();  // makes the static object here, since a signal handler must not
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  for (const int signal : kSignals) {
    struct sigaction old = {};
    sigaction(signal, nullptr, &old);
    if (signal == SIGHUP && old.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
}

bool IsToldToEnd() { return told != 0; }

LastResort::LastResort(std::optional<Seconds> grace, std::function<void()> end) {
  is_over = false;
  has_last_resort = true;
  thread_ = std::thread([this, grace, end = std::move(end)] { Wait(grace, end); });
}

LastResort::~LastResort() {
  is_over = true;
  sem_post(Woken());
  thread_.join();
  has_last_resort = false;
}

void LastResort::Wait(std::optional<Seconds> grace, const std::function<void()>& end) {
  while (told == 0 && !is_over) SleepUntilWoken(std::nullopt);
  if (grace) {
    const auto begin = std::chrono::steady_clock::now();
    for (Seconds left = *grace; told == 1 && !is_over && left > Seconds(0);
         left = *grace - Seconds(std::chrono::steady_clock::now() - begin)) {
      SleepUntilWoken(left);
    }
  } else {
    while (told == 1 && !is_over) SleepUntilWoken(std::nullopt);
  }
  if (!is_over) end();
}

void OutliveRankZero() {
  CatchSignals();
  static const LastResort* const resort = new LastResort(kOutlived, [] { _exit(kInterrupted); });
  (void)resort;  // static, so that it lives as long as the process
}

}  // namespace assay
