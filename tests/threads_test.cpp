#include "runner/core/threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "results/base/error.h"

namespace assay {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

// A machine's /proc and /sys, written for one test.
class ThreadsOfMachine : public ::testing::Test {
 protected:
  ThreadsOfMachine() {
    root_ = fs::temp_directory_path() /
            ("assay-threads-" + std::to_string(::getpid()) + "-" +
             ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(root_);
  }
  ~ThreadsOfMachine() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void WriteSiblings(int cpu, const std::string& text) {
    Write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
          text);
  }
  std::string Root() const { return root_.string(); }

 private:
  fs::path root_;
};

TEST_F(ThreadsOfMachine, AQuotaOfCgroupV2IsReadInCores) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(CpuQuota(Root())->cores, 1.5);
}

TEST_F(ThreadsOfMachine, MaxIsNoQuota) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(CpuQuota(Root()), std::nullopt);
}

TEST_F(ThreadsOfMachine, TheLeastQuotaOfAllGroupsAboveCounts) {
  Write("proc/self/cgroup", "0::/kubepods/pod1/assay\n");
  Write("sys/fs/cgroup/kubepods/cpu.max", "800000 100000\n");
  Write("sys/fs/cgroup/kubepods/pod1/cpu.max", "350000 100000\n");
  Write("sys/fs/cgroup/kubepods/pod1/assay/cpu.max", "max 100000\n");
  EXPECT_EQ(CpuQuota(Root())->cores, 3.5);
}

TEST_F(ThreadsOfMachine, AQuotaOfCgroupV1IsReadInCores) {
  Write("proc/self/cgroup", "12:memory:/a\n4:cpu,cpuacct:/docker/0123\n0::/\n");
  // A container sees its own group as the root of the mount.
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CpuQuota(Root())->cores, 0.5);
}

TEST_F(ThreadsOfMachine, MinusOneIsNoQuota) {
  Write("proc/self/cgroup", "1:cpu:/\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CpuQuota(Root()), std::nullopt);
}

TEST_F(ThreadsOfMachine, RubbishIsNoQuota) {
  Write("proc/self/cgroup", "\n:\n0::/\n4:cpuset:/\n");
  Write("sys/fs/cgroup/cpu.max", "-5 0\n");
  EXPECT_EQ(CpuQuota(Root()), std::nullopt);
  EXPECT_EQ(CpuQuota(Root() + "/nowhere"), std::nullopt);
}

TEST_F(ThreadsOfMachine, TheMemoryLimitIsTheLeastOfMachineAndGroups) {
  Write("proc/meminfo", "MemTotal:       4194304 kB\nMemFree:  1024 kB\n");
  Write("proc/self/cgroup", "4:memory:/a\n0::/pod/assay\n");
  EXPECT_EQ(MemoryLimit(Root()), std::int64_t{4} << 30);
  Write("sys/fs/cgroup/pod/memory.max", "1073741824\n");
  Write("sys/fs/cgroup/pod/assay/memory.max", "max\n");
  EXPECT_EQ(MemoryLimit(Root()), std::int64_t{1} << 30);
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
  EXPECT_EQ(MemoryLimit(Root()), std::int64_t{1} << 29);
  Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(MemoryLimit(Root()), std::int64_t{1} << 29) << "so large that it is none";
  EXPECT_EQ(MemoryLimit(Root() + "/nowhere"), 0);
}

TEST_F(ThreadsOfMachine, AvailableMemoryIsTheLeastThatMachineAndGroupsHaveLeft) {
  EXPECT_EQ(AvailableMemory(Root()), std::nullopt);
  Write("proc/meminfo", "MemTotal:       24 kB\nMemAvailable:       20 kB\n");
  Write("proc/self/cgroup", "4:memory:/a\n0::/pod\n");
  EXPECT_EQ(AvailableMemory(Root()), 20 << 10);
  Write("sys/fs/cgroup/pod/memory.max", "max\n");
  Write("sys/fs/cgroup/pod/memory.current", "1024\n");
  EXPECT_EQ(AvailableMemory(Root()), 20 << 10);
  Write("sys/fs/cgroup/pod/memory.max", "11264\n");
  EXPECT_EQ(AvailableMemory(Root()), 10 << 10);
  Write("sys/fs/cgroup/pod/memory.stat", "anon 512\ninactive_file 512\n");
  EXPECT_EQ(AvailableMemory(Root()), (10 << 10) + 512) << "cached files make room";
  Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4096\n");
  Write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "8192\n");
  EXPECT_EQ(AvailableMemory(Root()), 0);
}

TEST_F(ThreadsOfMachine, OneHardwareThreadOfEachCoreIsUsed) {
  for (int cpu : {0, 4}) WriteSiblings(cpu, "0,4\n");
  for (int cpu : {1, 5}) WriteSiblings(cpu, "1,5\n");
  EXPECT_THAT(CoresAmong({0, 1, 4, 5}, Root()), ElementsAre(0, 1));
  EXPECT_THAT(CoresAmong({1, 4, 5}, Root()), ElementsAre(1, 4));
  EXPECT_THAT(CoresAmong({6, 7}, Root()), ElementsAre(6, 7)) << "no topology: a CPU is a core";
}

TEST_F(ThreadsOfMachine, AQuotaBoundsTheCoresRoundedUp) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/cpu.max", "220000 100000\n");
  EXPECT_THAT(CoresAmong({0, 1, 2, 3, 4, 5}, Root()), ElementsAre(0, 1, 2));
  Write("sys/fs/cgroup/cpu.max", "10000 100000\n");
  EXPECT_THAT(CoresAmong({0, 1}, Root()), ElementsAre(0)) << "never empty";
}

TEST(Threads, UsableCoresAreAllowedOnes) {
  cpu_set_t allowed = {};
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  ASSERT_FALSE(UsableCores().empty());
  for (int core : UsableCores()) EXPECT_TRUE(CPU_ISSET(core, &allowed)) << core;
}

TEST(Threads, EachThreadRunsOnItsOwnCore) {
  Team team;
  ASSERT_EQ(team.Size(), static_cast<int>(UsableCores().size()));
  ASSERT_TRUE(team.Pinned());
  std::vector<int> cores(UsableCores().size(), -1);
  team.Run([&](int thread) { cores[static_cast<std::size_t>(thread)] = sched_getcpu(); });
  EXPECT_EQ(cores, UsableCores());
}

TEST(Threads, EveryThreadRunsOncePerRun) {
  Team team(3);  // More than some machines have cores.
  ASSERT_EQ(team.Size(), 3);
  std::vector<std::atomic<int>> calls(3);
  for (int run = 1; run <= 500; ++run) {
    team.Run([&](int thread) { ++calls[static_cast<std::size_t>(thread)]; });
    for (const std::atomic<int>& count : calls) ASSERT_EQ(count, run);
  }
}

TEST(Threads, ManyThreadsOnFewCoresAreNotCalledPinned) {
  Team team(static_cast<int>(UsableCores().size()) + 1);
  EXPECT_FALSE(team.Pinned());
}

// Sleeps are lower bounds only, so that this holds on a busy machine.
TEST(Threads, TheTimeRunsToTheEndOfTheLast) {
  Team team(2);
  const Seconds time = team.Run([](int thread) {
    if (thread == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  EXPECT_GE(time.count(), 0.020);
}

TEST(Threads, TheTimeCoversEveryThreadFromItsFirstInstruction) {
  Team team(2);
  using Clock = std::chrono::steady_clock;
  for (int run = 0; run < 200; ++run) {
    std::array<Clock::time_point, 2> begins, ends;
    const auto before = Clock::now();
    const Seconds time = team.Run([&](int thread) {
      begins[static_cast<std::size_t>(thread)] = Clock::now();
      ends[static_cast<std::size_t>(thread)] = Clock::now();
    });
    const Seconds whole = Clock::now() - before;
    EXPECT_GE(time, std::max(ends[0], ends[1]) - std::min(begins[0], begins[1]));
    EXPECT_LE(time, whole);
  }
}

TEST(Threads, ThreadsRunAtTheSameTime) {
  Team team(2);
  std::atomic<int> inside = 0;
  team.Run([&](int) {
    ++inside;
    while (inside < 2) std::this_thread::yield();  // For ever, if one ran after the other.
  });
  EXPECT_EQ(inside, 2);
}

TEST(Threads, AnExceptionOfAnyThreadReachesTheCallerAndTheTeamGoesOn) {
  Team team(2);
  const auto fail = [](int thread) {
    if (thread == 1) throw Error("the disk is gone");
  };
  EXPECT_THROW(team.Run(fail), Error);
  EXPECT_THROW(team.Run(fail), Error);
  std::atomic<int> calls = 0;
  EXPECT_NO_THROW(team.Run([&](int) { ++calls; }));
  EXPECT_EQ(calls, 2);
}

TEST(Threads, ANegativeNumberIsRefused) { EXPECT_THROW(Team(-1), Error); }

TEST(TaskThread, DoesAllThatItIsGivenInOrderInOneThreadOfItsOwn) {
  std::vector<int> done;
  std::set<std::thread::id> threads;
  {
    TaskThread thread;
    for (int i = 0; i < 5; ++i) {
      thread.Give([&, i] {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        done.push_back(i);
        threads.insert(std::this_thread::get_id());
      });
    }
    thread.Wait();
    EXPECT_THAT(done, ElementsAre(0, 1, 2, 3, 4));
    thread.Give([&] { done.push_back(5); });
  }
  EXPECT_EQ(done.size(), 6U) << "the last is done before it ends";
  EXPECT_EQ(threads.size(), 1U);
  EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

TEST(TaskThread, WhatATaskThrowsIsThrownWhereItIsWaitedForOnce) {
  TaskThread thread;
  thread.Give([] { throw Error("no"); });
  EXPECT_THROW(thread.Wait(), Error);
  thread.Wait();
  int done = 0;
  thread.Give([&] { ++done; });
  thread.Wait();
  EXPECT_EQ(done, 1);
}

TEST(TaskThread, StaysOnItsCores) {
  const int core = UsableCores().back();
  TaskThread thread({core});
  cpu_set_t set;
  thread.Give([&] { sched_getaffinity(0, sizeof set, &set); });
  thread.Wait();
  EXPECT_EQ(CPU_COUNT(&set), 1);
  EXPECT_TRUE(CPU_ISSET(core, &set));
}

}  // namespace
}  // namespace assay
