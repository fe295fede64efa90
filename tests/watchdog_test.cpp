#include "runner/cluster/watchdog.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

namespace assay {
namespace {

void Sleep(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(Watchdog, SaysOnceWhatIsNotOver) {
  std::promise<std::string> said;
  std::atomic<int> times = 0;
  Watchdog dog({.limit = Seconds(0.05), .expired = [&](const std::string& what) {
                  if (++times == 1) said.set_value(what);
                }});
  const Watchdog::Guard guard = dog.Watch("run of all_reduce");
  auto future = said.get_future();
  ASSERT_EQ(future.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_EQ(future.get(), "run of all_reduce");
  Sleep(150);
  EXPECT_EQ(times, 1);
}

TEST(Watchdog, WhatIsOverInTimeIsLeftAlone) {
  std::atomic<int> times = 0;
  Watchdog dog({.limit = Seconds(0.2), .expired = [&](const std::string&) { ++times; }});
  for (int i = 0; i < 8; ++i) {
    const Watchdog::Guard guard = dog.Watch("run");
    Sleep(50);
  }
  Sleep(300);  // nothing is watched now
  EXPECT_EQ(times, 0);
}

TEST(Watchdog, MoreWorkHasMoreTime) {
  std::atomic<int> times = 0;
  Watchdog dog({.limit = Seconds(0.05), .expired = [&](const std::string&) { ++times; }});
  {
    const Watchdog::Guard guard = dog.Watch("run", Seconds(30));
    Sleep(200);
  }
  EXPECT_EQ(times, 0);
}

TEST(Watchdog, GivesSignsOfLifeOnlyWhileItWatches) {
  std::atomic<int> signs = 0;
  Watchdog dog({.expired = [](const std::string&) {}, .alive = [&] { ++signs; }});
  {
    const Watchdog::Guard guard = dog.Watch("run");
    Sleep(2500);
  }
  const int seen = signs;
  EXPECT_GE(seen, 1);
  EXPECT_LE(seen, 2);
  Sleep(1500);
  EXPECT_EQ(signs, seen);
}

TEST(Watchdog, TellsAStoppedProcessFromOneThatRunsOrIsGone) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  EXPECT_EQ(FateOf(child), "");
  kill(child, SIGSTOP);
  waitpid(child, nullptr, WUNTRACED);
  EXPECT_EQ(FateOf(child), "is stopped");
  kill(child, SIGKILL);
  siginfo_t unreaped;
  waitid(P_PID, child, &unreaped, WEXITED | WNOWAIT);
  EXPECT_EQ(FateOf(child), "is gone") << "a zombie still has an entry";
  waitpid(child, nullptr, 0);
  EXPECT_EQ(FateOf(child), "is gone");
}

}  // namespace
}  // namespace assay
