// The nccl module's own source over a strict stand-in for CUDA and NCCL: what can be known of it
// without a GPU. No time here is anything but the stand-in's arithmetic.
#include "collectives/nccl.cpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "collectives/nccl_log.h"
#include "runner/cluster/rank_threads.h"
#include "runner/cluster/worker.h"
#include "runner/core/group.h"
#include "standin/fixture.h"
#include "standin/standin.h"
#include "tests/collective_text.h"
#include "tests/members.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::HasSubstr;

// The outcome of one case on all ranks: rank 0's account, or the first error in rank order.
struct Outcome {
  Batch batch = {};
  Checked checked = {};
  Facts facts = {};
  std::optional<Skipped> skipped = {};
  std::string error = {};
};

// A number of processes, which are threads here, and what each of them has.
struct Shape {
  Shape(int count, const PerProcess& of_each = {}) : processes(count), each(of_each) {}
  int processes;
  PerProcess each;
};

class TestProcess : public ThreadRanks {
 public:
  using ThreadRanks::ThreadRanks;
  // The ranks that are left must not wait for this one.
  void Abort(int) override {
    if (!std::exchange(has_left_, true)) world().meeting.arrive_and_drop();
  }

 private:
  bool has_left_ = false;
};

void OnProcesses(const Shape& shape, const std::function<void(Ranks&)>& body) {
  OnRanks(shape.processes, [&](ThreadRanks& process) {
    const auto first = JoinThreads(std::make_unique<TestProcess>(process.world(), process.Rank()),
                                   shape.each, body);
    try {
      body(*first);
    } catch (const Error&) {
      first->Abort(2);
    }
  });
}

Outcome RunOn(const Shape& shape, const Collective& collective, std::int64_t iterations = 3,
              Seconds timeout = Seconds(20)) {
  Outcome outcome;
  std::mutex mutex;
  OnProcesses(shape, [&](Ranks& own) {
    NcclLibrary library(timeout);
    try {
      Prepared prepared = library.Prepare(collective, own, /*seed=*/5);
      if (const Skipped* no = std::get_if<Skipped>(&prepared)) {
        const std::scoped_lock lock(mutex);
        outcome.skipped = *no;
        return;
      }
      Workload& workload = *std::get<0>(prepared);
      const Batch batch = workload.Run(iterations);
      const Checked checked = workload.Verify();
      const Facts facts = workload.Describe();
      const std::scoped_lock lock(mutex);
      if (own.Rank() == 0) {
        outcome.batch = batch;
        outcome.checked = checked;
        outcome.facts = facts;
      }
    } catch (const Error& error) {
      const std::scoped_lock lock(mutex);
      if (outcome.error.empty()) outcome.error = error.what();
      throw;
    }
  });
  return outcome;
}

class Nccl : public standin::Fixture {};

TEST_F(Nccl, DoesEveryOperationExactlyInEveryPlaceAndMode) {
  for (const OperationFacts& facts : Operations()) {
    for (const int ranks : {1, 2, 5}) {
      for (const char* mode : {"latency", "throughput", "blocking", "graph"}) {
        for (const bool in_place : {false, true}) {
          if (in_place && !facts.in_place) continue;
          const Collective collective = {.operation = facts.operation,
                                         .bytes = 1200,
                                         .in_place = in_place,
                                         .root = facts.rooted ? ranks - 1 : 0,
                                         .mode = mode,
                                         .cache = "rotated"};
          const Outcome outcome = RunOn(ranks, collective, 25);
          ASSERT_EQ(outcome.error, "") << ToText(collective);
          EXPECT_EQ(outcome.checked.wrong, 0)
              << ToText(collective) << " on " << ranks << ": " << outcome.checked.what.value_or("");
          EXPECT_GT(outcome.checked.checked, 0) << ToText(collective);
        }
      }
    }
  }
}

// One process of four GPUs, two threads of two, two processes of two, …
const Shape kShapes[] = {{1, {.gpus = 4}},
                         {1, {.threads = 2, .gpus = 2}},
                         {2, {.gpus = 2}},
                         {2, {.threads = 2}},
                         {1, {.threads = 3}}};

TEST_F(Nccl, DoesEveryOperationExactlyOnSeveralGpusInAProcess) {
  for (const Shape& shape : kShapes) {
    const int ranks = shape.processes * shape.each.Ranks();
    for (const OperationFacts& facts : Operations()) {
      for (const char* mode : {"latency", "throughput", "blocking", "graph"}) {
        const Collective collective = {.operation = facts.operation,
                                       .bytes = 1200,
                                       .in_place = facts.in_place && *mode == 'l',
                                       .root = facts.rooted ? ranks - 1 : 0,
                                       .mode = mode,
                                       .cache = "rotated",
                                       .aggregate = *mode == 't' ? 4 : 1};
        const Outcome outcome = RunOn(shape, collective, 25);
        ASSERT_EQ(outcome.error, "") << ToText(collective);
        EXPECT_EQ(outcome.checked.wrong, 0)
            << ToText(collective) << " on " << ranks << ": " << outcome.checked.what.value_or("");
        EXPECT_GT(outcome.checked.checked, 0) << ToText(collective);
        ASSERT_EQ(outcome.batch.per_unit.size(), static_cast<std::size_t>(ranks));
        for (const Seconds& time : outcome.batch.per_unit) EXPECT_GT(time.count(), 0);
      }
    }
  }
}

TEST_F(Nccl, OneThreadLaunchesForAllItsGpusInGroups) {
  const auto launch = [](const Shape& shape, const char* mode) {
    return std::get<std::string>(
        RunOn(shape, {.bytes = 1200, .mode = mode, .cache = "rotated"}).facts.at("launch"));
  };
  EXPECT_EQ(launch({1, {.gpus = 4}}, "latency"), "one thread for 4 GPUs, in groups");
  EXPECT_GT(standin::Calls("ncclGroupEnd"), 6) << "the start, then each barrier and operation";
  EXPECT_EQ(launch({1, {.gpus = 4}}, "graph"), "one thread for each GPU");
  standin::Reset();
  EXPECT_EQ(launch({1, {.threads = 4}}, "latency"), "one thread for each GPU");
  EXPECT_EQ(launch({2, {}}, "latency"), "one thread for each GPU");
  EXPECT_EQ(standin::Calls("ncclGroupEnd"), 0);
}

TEST_F(Nccl, TheSlowestGpuOfAProcessSetsThePace) {
  standin::Reset({.slowness = {{2, 3.0}}});
  const Outcome outcome =
      RunOn({1, {.gpus = 4}}, {.bytes = 1'000'000, .mode = "throughput", .cache = "rotated"}, 4);
  const double each = standin::kLaunch_s + 1e6 / standin::kBytesPerSecond;
  EXPECT_NEAR(outcome.batch.time.count(), 4 * 3 * each, 4 * 3 * each * 1e-4);
}

TEST_F(Nccl, RegistersWindowsOfAllGpusOfAThreadInAGroup) {
  EXPECT_EQ(RunOn({1, {.gpus = 3}}, {.bytes = 5000, .buffers = "shared"}).checked.wrong, 0);
  EXPECT_EQ(standin::Calls("ncclCommWindowRegister"), 3);
  EXPECT_EQ(standin::Calls("ncclCommWindowDeregister"), 3);
}

TEST_F(Nccl, GroupsOfRanksWithinAProcessHaveACommunicatorEach) {
  OnProcesses({1, {.gpus = 4}}, [&](Ranks& own) {
    NcclLibrary library;
    Group group(own, own.Rank() % 2);
    const Prepared prepared = library.Prepare({.bytes = 4096}, group, 1);
    std::get<0>(prepared)->Run(2);
    EXPECT_EQ(std::get<0>(prepared)->Verify().wrong, 0);
    EXPECT_EQ(std::get<std::string>(std::get<0>(prepared)->Describe().at("launch")),
              "one thread for each GPU");
    group.Rest();
  });
}

// The GPU is chosen as in nccl-tests: rank of the process × its GPUs + place.
TEST_F(Nccl, RanksTakeTheGpusOfTheirNodeInOrder) {
  std::mutex mutex;
  std::map<int, std::string> all;
  OnProcesses({2, {.threads = 2, .gpus = 2}}, [&](Ranks& own) {
    NcclLibrary library;
    const RankDevice device = library.DeviceOf(own).value();
    const std::scoped_lock lock(mutex);
    all[own.Rank()] = fmt::format("{} [{}] {}", device.index, device.id, device.name);
  });
  ASSERT_EQ(all.size(), 8U);
  EXPECT_EQ(all[0], "0 [0000:10:00] stand-in");
  EXPECT_EQ(all[5], "5 [0000:15:00] stand-in");
}

TEST_F(Nccl, TooFewGpusAreToldInASentence) {
  standin::Reset({.devices = 3});
  const Outcome outcome = RunOn({1, {.gpus = 4}}, {.bytes = 64});
  EXPECT_THAT(outcome.error, HasSubstr("node 0 has 3 GPUs, too few for its ranks: 0 and 3 would "
                                       "share 0000:10:00; ask for fewer with -g"));
  EXPECT_EQ(standin::Calls("ncclCommInitRankConfig"), 0);
}

TEST_F(Nccl, ReducesEveryDtypeExactly) {
  for (const std::string& dtype : DtypeNames(DtypeUse::kCollectives)) {
    for (const char* redop : {"sum", "prod", "min", "max"}) {
      const Collective collective = {.dtype = dtype, .redop = redop, .bytes = 640};
      const Outcome outcome = RunOn(4, collective);
      EXPECT_EQ(outcome.checked.wrong, 0)
          << dtype << " " << redop << " " << outcome.checked.what.value_or(outcome.error);
    }
  }
  EXPECT_EQ(RunOn(3, {.redop = "avg", .bytes = 640}).checked.wrong, 0);
}

TEST_F(Nccl, TimesByTheDevicesClockAndNothingElse) {
  using standin::kBytesPerSecond, standin::kLaunch_s;
  const double each = kLaunch_s + 1e6 / kBytesPerSecond;
  for (const char* mode : {"latency", "throughput", "graph"}) {
    const Outcome outcome = RunOn(2, {.bytes = 1'000'000, .mode = mode, .cache = "rotated"}, 40);
    EXPECT_NEAR(outcome.batch.time.count(), 40 * each, 40 * each * 1e-4) << mode;
    ASSERT_EQ(outcome.batch.per_unit.size(), 2U);
  }
  // The slowest GPU sets the pace of all.
  standin::Reset({.slowness = {{1, 3.0}}});
  const Outcome slow = RunOn(2, {.bytes = 1'000'000}, 4);
  EXPECT_NEAR(slow.batch.time.count(), 4 * 3 * each, 4 * 3 * each * 1e-4);
}

TEST_F(Nccl, AggregatedOperationsAreOneGroupAndEachIsRight) {
  for (const OperationFacts& facts : Operations()) {
    if (facts.operation == Operation::kBarrier) continue;  // has no buffers to put in a group
    for (const char* mode : {"latency", "throughput", "blocking", "graph"}) {
      const Collective collective = {.operation = facts.operation,
                                     .bytes = 1200,
                                     .mode = mode,
                                     .cache = "rotated",
                                     .aggregate = 4,
                                     .verify = "all"};
      const Outcome outcome = RunOn(3, collective, 25);  // six groups, and one that is left
      ASSERT_EQ(outcome.error, "") << ToText(collective);
      EXPECT_EQ(outcome.checked.wrong, 0)
          << ToText(collective) << outcome.checked.what.value_or("");
      EXPECT_GT(outcome.checked.checked, 0) << ToText(collective);
    }
  }
}

TEST_F(Nccl, AGroupIsLaunchedOnce) {
  using standin::kBytesPerSecond, standin::kLaunch_s;
  for (const char* mode : {"latency", "throughput", "blocking", "graph"}) {
    standin::Reset();
    const Outcome outcome =
        RunOn(2, {.bytes = 1'000'000, .mode = mode, .cache = "rotated", .aggregate = 4}, 40);
    const double whole = 40 * 1e6 / kBytesPerSecond + 10 * kLaunch_s;
    EXPECT_NEAR(outcome.batch.time.count(), whole, whole * 1e-4) << mode;
    // A graph of half of them is captured once and launched twice.
    const int calls = std::string(mode) == "graph" ? 5 : 10;
    EXPECT_EQ(standin::Calls("ncclGroupStart"), 2 * calls) << mode;
  }
}

TEST_F(Nccl, AGraphHoldsAsManyOperationsAsAreAsked) {
  const Outcome outcome = RunOn(
      2,
      {.bytes = 1200, .mode = "graph", .cache = "rotated", .verify = "all", .graph_operations = 7},
      21);
  EXPECT_EQ(outcome.checked.wrong, 0) << outcome.checked.what.value_or(outcome.error);
  EXPECT_EQ(standin::Calls("cudaGraphLaunch"), 2 * 3);
  EXPECT_EQ(standin::Calls("cudaGraphInstantiate"), 2);
  EXPECT_EQ(outcome.facts.at("graph_operations"), Fact(std::int64_t{7}));
}

TEST_F(Nccl, WaitingForEachOperationIsTheHostsDoing) {
  RunOn(2, {.bytes = 1200, .mode = "throughput", .cache = "rotated"}, 20);
  EXPECT_EQ(standin::Calls("cudaEventRecord"), 2 * 2);
  standin::Reset();
  RunOn(2, {.bytes = 1200, .mode = "blocking", .cache = "rotated"}, 20);
  EXPECT_EQ(standin::Calls("cudaEventRecord"), 2 * (1 + 20)) << "each is over before the next";
  EXPECT_GE(standin::Calls("cudaStreamQuery"), 2 * 20);
}

TEST_F(Nccl, BuffersOffTheirGrainAreRightToo) {
  for (const char* buffers : {"plain", "registered", "shared"}) {
    const Outcome outcome = RunOn(2, {.bytes = 5000, .buffers = buffers, .unalign = 3});
    EXPECT_EQ(outcome.checked.wrong, 0) << outcome.checked.what.value_or(outcome.error);
  }
}

TEST_F(Nccl, RegistersBuffersAndGivesThemBack) {
  EXPECT_EQ(RunOn(2, {.bytes = 5000, .buffers = "registered"}).checked.wrong, 0);
  EXPECT_EQ(standin::Calls("ncclCommRegister"), 2);
  EXPECT_EQ(standin::Calls("ncclCommDeregister"), 2);
  EXPECT_EQ(RunOn(2, {.bytes = 5000, .buffers = "shared"}).checked.wrong, 0);
  EXPECT_EQ(standin::Calls("ncclCommWindowRegister"), 2);
  EXPECT_EQ(standin::Calls("ncclCommWindowDeregister"), 2);
}

TEST_F(Nccl, OneCommunicatorServesAllCases) {
  OnRanks(2, [&](ThreadRanks& own) {
    NcclLibrary library;
    for (const std::int64_t bytes : {64, 4096}) {
      const Prepared prepared = library.Prepare({.bytes = bytes}, own, 1);
      const Facts facts = std::get<0>(prepared)->Describe();
      EXPECT_GT(std::get<double>(facts.at("comm_init_s")), 0);
      EXPECT_GT(std::get<double>(facts.at("first_op_s")), 0);
      EXPECT_THAT(std::get<std::string>(facts.at("nccl")), HasSubstr("NCCL 2."));
    }
  });
  EXPECT_EQ(standin::Calls("ncclCommInitRankConfig"), 2);
}

TEST_F(Nccl, EachGroupOfRanksHasACommunicator) {
  OnRanks(4, [&](ThreadRanks& own) {
    NcclLibrary library;
    for (const bool even : {true, false}) {  // two ranks each, then one and three
      Group group(own, even ? own.Rank() % 2 : std::min(own.Rank(), 1));
      const Prepared prepared = library.Prepare({.bytes = 4096}, group, 1);
      EXPECT_EQ(std::get<0>(prepared)->Run(2).per_unit.size(),
                group.Rank() == 0 ? static_cast<std::size_t>(group.Size()) : 0);
      EXPECT_EQ(std::get<0>(prepared)->Verify().wrong, 0);
      group.Rest();
    }
  });
  EXPECT_EQ(standin::Calls("ncclCommInitRankConfig"), 8);
}

TEST_F(Nccl, AWrongElementIsFound) {
  standin::Reset({.spoil_operation = 5});  // two to begin with; then a barrier before each
  const Outcome outcome = RunOn(2, {.bytes = 4000}, 2);
  EXPECT_EQ(outcome.checked.wrong, 1);
  EXPECT_THAT(outcome.checked.what.value_or(""), HasSubstr("rank 0, element 0: "));
}

TEST_F(Nccl, AnAsynchronousErrorEndsInASentenceAndTheCommunicatorIsAborted) {
  standin::Reset({.fail_after = 4});
  const Outcome outcome = RunOn(2, {.bytes = 4000}, 10);
  EXPECT_THAT(outcome.error, HasSubstr("failed in all_reduce: remote process exited"));
  EXPECT_EQ(standin::Calls("ncclCommAbort"), 2) << "each rank gives up its own";
}

TEST_F(Nccl, WhatHangsIsAbortedAfterItsTime) {
  standin::Reset({.hang_after = 4});
  const auto begin = SteadyClock::now();
  const Outcome outcome = RunOn(2, {.bytes = 4000}, 10, Seconds(0.2));
  EXPECT_THAT(outcome.error, HasSubstr("all_reduce"));
  EXPECT_LT(SteadyClock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(standin::Calls("ncclCommAbort"), 2);
}

// NCCL tells one rank alone, and the others of its process would wait for it.
TEST_F(Nccl, OneCommunicatorThatFailsHasAllOfItsProcessAborted) {
  for (const Shape& shape :
       {Shape(1, {.gpus = 4}), Shape(1, {.threads = 4}), Shape(1, {.threads = 2, .gpus = 2})}) {
    standin::Reset({.fail_after = 4, .fail_rank = 3});
    const auto begin = SteadyClock::now();
    const Outcome outcome = RunOn(shape, {.bytes = 4000}, 10);
    EXPECT_LT(SteadyClock::now() - begin, std::chrono::seconds(5)) << "nobody waits for 20 s";
    EXPECT_THAT(outcome.error, HasSubstr("rank 3 failed in all_reduce: remote process exited"));
    EXPECT_EQ(standin::Calls("ncclCommAbort"), 4);
    EXPECT_EQ(standin::Calls("ncclCommDestroy"), 0);
  }
}

TEST_F(Nccl, WhatHangsIsAbortedOnEveryGpuOfTheProcess) {
  standin::Reset({.hang_after = 4});
  const Outcome outcome = RunOn({1, {.threads = 2, .gpus = 2}}, {.bytes = 4000}, 10, Seconds(0.2));
  EXPECT_THAT(outcome.error, HasSubstr("waited 0.2 s for all_reduce"));
  EXPECT_EQ(standin::Calls("ncclCommAbort"), 4);
}

// The way of the program: rank 0 asks, and the others follow in threads.
TEST_F(Nccl, AJobOfThreadsThatLosesARankGoesOnTellingWhy) {
  standin::Reset({.fail_after = 7, .fail_rank = 3});  // the first; three behind their barriers
  const auto first = JoinThreads(std::make_unique<Ranks>(), {.gpus = 4}, [](Ranks& own) {
    Worker worker(own, MemberWith(Libraries()));
    Follow(worker);
  });
  const auto job = MakeJob(*first, MemberWith(Libraries()));
  const std::string asked = AskedCaseToJson(AskFor("nccl", {.bytes = 4000}, /*ranks=*/4));
  EXPECT_THAT(job->Ask("devices " + asked), HasSubstr("\t2 0000:12:00 stand-in\t3 0000:13:00"));
  EXPECT_EQ(job->Ask("prepare " + asked), "");
  EXPECT_THAT(job->Ask("run 3"), HasSubstr("\"time_s\":"));
  for (const char* command : {"run 3", "run 3", "verify"}) {
    try {
      job->Ask(command);
      ADD_FAILURE() << command;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("rank 3 failed in all_reduce"));
    }
  }
}

TEST_F(Nccl, WithoutADriverItSaysSoAndAsksForNothingElse) {
  standin::Reset({.driver = standin::Driver::kAbsent});
  Outcome outcome = RunOn(2, {.bytes = 64});
  ASSERT_TRUE(outcome.skipped);
  EXPECT_THAT(outcome.skipped->reason, HasSubstr("no NVIDIA driver"));
  standin::Reset({.devices = 0});
  outcome = RunOn(2, {.bytes = 64});
  ASSERT_TRUE(outcome.skipped);
  EXPECT_THAT(outcome.skipped->reason, HasSubstr("no CUDA-capable device"));
  EXPECT_EQ(standin::Calls("ncclGetUniqueId"), 0);
}

TEST_F(Nccl, RefusesAlgorithmsOfOthers) {
  const Outcome outcome = RunOn(2, {.bytes = 64, .algorithm = "ring"});
  ASSERT_TRUE(outcome.skipped);
  EXPECT_THAT(outcome.skipped->remedy, HasSubstr("NCCL_ALGO"));
}

// The stand-in is strict: what our code must never do is seen.
TEST(StandIn, SeesCallsThatDifferFromRankToRank) {
  standin::Reset();
  OnRanks(2, [&](ThreadRanks& own) {
    Communicator comm(own, own.Rank(), Seconds(10));
    void* memory = nullptr;
    ncclMemAlloc(&memory, 64);
    ncclAllReduce(memory, memory, own.Rank() == 0 ? 4 : 8, ncclFloat32, ncclSum, comm.Get(),
                  comm.GetStream());
    EXPECT_THROW(comm.Synchronize("the test"), Error);
    ncclMemFree(memory);
  });
  ASSERT_FALSE(standin::Violations().empty());
  EXPECT_THAT(standin::Violations()[0], HasSubstr("the ranks' calls differ"));
  standin::Reset();
}

TEST(StandIn, SeesAThreadThatCallsForSeveralGpusWithoutAGroup) {
  standin::Reset();
  OnProcesses({1, {.gpus = 2}}, [&](Ranks& own) {
    std::optional<Communicator> comm;
    comm.emplace(own, own.Rank(), Seconds(10));
    own.Together(&*comm, [](std::span<void* const> all) {
      for (void* const one : all) static_cast<Communicator*>(one)->Align();
    });
    EXPECT_THROW(comm->Synchronize("the test"), Error);
  });
  ASSERT_FALSE(standin::Violations().empty());
  EXPECT_THAT(standin::Violations()[0], HasSubstr("for several ranks without a group"));
  standin::Reset();
}

TEST(StandIn, HangsWhereAGroupLeavesAGpuOut) {
  standin::Reset();
  OnProcesses({1, {.gpus = 2}}, [&](Ranks& own) {
    Communicator comm(own, own.Rank(), Seconds(0.2));
    own.Together(&comm, [](std::span<void* const> all) {
      Communicator* const first[] = {static_cast<Communicator*>(all[0])};
      Communicator::EnqueueAlign(first);
    });
    if (own.Rank() == 0) {
      EXPECT_THROW(comm.Synchronize("the test"), Error);
    } else {
      comm.Synchronize("the test");  // there is nothing to wait for
    }
    own.Barrier();
  });
  standin::Reset();
}

TEST(StandIn, SeesMemoryThatIsNoneAndHandlesThatAreNoMore) {
  standin::Reset();
  OnRanks(1, [&](ThreadRanks& own) {
    const Communicator comm(own, 0, Seconds(10));
    float host = 0;
    ncclAllReduce(&host, &host, 1, ncclFloat32, ncclSum, comm.Get(), comm.GetStream());
    while (cudaStreamQuery(comm.GetStream()) != cudaSuccess) continue;
  });
  cudaEvent_t event = nullptr;
  cudaEventCreate(&event);
  EXPECT_EQ(standin::Leaks().at("event"), 1);
  cudaEventDestroy(event);
  cudaEventDestroy(event);
  ASSERT_EQ(standin::Violations().size(), 3U);
  EXPECT_THAT(standin::Violations()[0], HasSubstr("is no device memory"));
  EXPECT_THAT(standin::Violations()[2], HasSubstr("is no more"));
  standin::Reset();
}

TEST(NcclLog, TellsTheNetworkAndTheKindsOfConnection) {
  EXPECT_EQ(TransportFrom("h:1:2 [0] NCCL INFO NET/OFI Selected provider is efa, fabric is efa\n"
                          "h:1:2 [0] NCCL INFO Using network Libfabric\n"
                          "h:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read\n"
                          "h:1:2 [0] NCCL INFO Channel 01/0 : 0[0] -> 1[1] via P2P/CUMEM/read\n"
                          "h:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 8[0] [send] via "
                          "NET/Libfabric/3/GDRDMA\n"),
            "NET/Libfabric/GDRDMA (efa), P2P/CUMEM/read");
  EXPECT_EQ(TransportFrom("NCCL INFO Using network Socket\n"),
            "unknown (network Socket; no connection is told of)");
  EXPECT_EQ(TransportFrom("NCCL INFO Using network IB\n"
                          "NCCL INFO Channel 00 : 0 -> 1 via SHM/direct/direct\n"),
            "SHM/direct/direct")
      << "a network that nothing goes over";
  EXPECT_EQ(TransportFrom("NCCL INFO Channel 00 : 0 -> 1 via SHM/direct/direct"),
            "SHM/direct/direct");
  EXPECT_EQ(TransportFrom(""), "");
  EXPECT_EQ(TransportFrom("NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM\n"
                          "NCCL INFO NVLS comm 0x5581 headRank 0 nHeads 8 nvlsRanks 8\n"
                          "NCCL INFO CollNet 00/0 : 0 [send] via COLLNET/SHARP/0/GDRDMA\n"),
            "COLLNET/SHARP/GDRDMA, NVLS, P2P/CUMEM");
  EXPECT_EQ(TransportFrom("NCCL INFO NVLS multicast support is not available\n"), "");
  EXPECT_EQ(TransportFrom("NCCL INFO Using network <script>\n"), "") << "a log is from outside";
}

TEST(NcclLog, TellsWhetherDataGoesBySockets) {
  const std::string channel = "h:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 8[0] [send] via ";
  const std::string of_tcp = "NCCL INFO NET/OFI Selected provider is tcp;ofi_rxm, fabric is x\n";
  EXPECT_TRUE(HasSockets(channel + "NET/Socket/0\n"));
  EXPECT_TRUE(HasSockets(channel + "NET/Socket/1/Shared\n"));
  EXPECT_TRUE(HasSockets(channel + "P2P/CUMEM\n" + channel + "NET/Socket/0\n"));
  EXPECT_TRUE(HasSockets(of_tcp + channel + "NET/Libfabric/0\n")) << "a plugin over TCP";
  EXPECT_FALSE(HasSockets(of_tcp + channel + "P2P/CUMEM\n")) << "which nothing went over";
  EXPECT_FALSE(HasSockets("NCCL INFO Using network Socket\n" + channel + "P2P/CUMEM\n"));
  EXPECT_FALSE(HasSockets(channel + "NET/IB/0/GDRDMA\n"));
  EXPECT_FALSE(HasSockets(channel + "NET/SocketLike/0\n"));
  EXPECT_FALSE(HasSockets("NCCL INFO NET/OFI Selected provider is efa, fabric is efa\n" + channel +
                          "NET/Libfabric/0/GDRDMA\n"));
  EXPECT_FALSE(HasSockets(""));
}

TEST(NcclLog, TellsWhetherNodesAreOneDomainOfNvlink) {
  const std::string channel = "h:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 4[0] ";
  EXPECT_EQ(HasMultiNodeNvlink(channel + "via P2P/MNNVL/read\n"), true);
  EXPECT_EQ(HasMultiNodeNvlink(channel + "via P2P/MNNVL\n"), true);
  EXPECT_EQ(HasMultiNodeNvlink(channel + "[send] via NET/IB/0\n" + channel + "via P2P/CUMEM\n"),
            false);
  EXPECT_EQ(HasMultiNodeNvlink(channel + "via P2P/MNNVLIKE\n"), false);
  EXPECT_EQ(HasMultiNodeNvlink("NCCL INFO MNNVL busId 0xb000\n"), std::nullopt);
}

TEST(NcclLog, ARankWithoutAnAdapterUsesThoseOfItsNode) {
  EXPECT_EQ(TransportOfNode({"P2P/CUMEM", "NET/IB/GDRDMA, P2P/CUMEM", ""}),
            "NET/IB/GDRDMA, P2P/CUMEM");
  EXPECT_EQ(TransportOfNode({"", ""}), "");
  const std::string unknown = TransportFrom("h:1:2 [0] NCCL INFO Using network Socket\n");
  EXPECT_EQ(TransportOfNode({unknown, unknown}), unknown) << "it is not taken for several";
}

TEST_F(Nccl, TellsTheTransportThatItsLogTellsOfOrThatItDoesNot) {
  const auto transport = [] {
    return std::get<std::string>(RunOn(2, {.bytes = 64}).facts.at("transport"));
  };
  const auto forget = [] {
    for (const char* name : {"NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"}) unsetenv(name);
  };
  forget();
  standin::Reset({.log = "h:1:2 [0] NCCL INFO Using network IB\n"
                         "h:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 8[0] [send] via NET/IB/0\n"
                         "h:1:2 [0] NCCL INFO Channel 01/0 : 0[0] -> 1[1] via P2P/CUMEM\n"});
  const Facts facts = RunOn(2, {.bytes = 64}).facts;
  const auto used = std::get<std::string>(facts.at("transport"));
  EXPECT_EQ(used, "NET/IB, P2P/CUMEM");
  EXPECT_FALSE(facts.contains("sockets"));
  ASSERT_TRUE(facts.contains("mnnvl"));
  EXPECT_EQ(facts.at("mnnvl"), Fact(false));
  EXPECT_EQ(NotOver(used, "net/ib"), std::nullopt);
  EXPECT_EQ(NotOver(used, "NET/OFI"), "every rank went over NET/IB, P2P/CUMEM");
  forget();
  standin::Reset(
      {.log = "h:1:2 [0] NCCL INFO Channel 00 : 0[0] -> 8[0] [send] via NET/Socket/0\n"});
  EXPECT_EQ(RunOn(2, {.bytes = 64}).facts.at("sockets"), Fact(true));
  forget();
  standin::Reset();
  EXPECT_THAT(transport(), testing::StartsWith("unknown (NCCL told of no connection"));
  forget();
  // Without a folder for temporary files there is no log, and the collective runs all the same.
  const char* const folder = std::getenv("TMPDIR");
  const std::string before = folder == nullptr ? "/tmp" : folder;
  setenv("TMPDIR", "/nonexistent", 1);
  EXPECT_THAT(transport(), testing::StartsWith("unknown"));
  setenv("TMPDIR", before.c_str(), 1);
  forget();
}

}  // namespace
}  // namespace assay
