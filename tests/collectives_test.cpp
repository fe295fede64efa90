// All-reduce without any MPI: ranks are threads, the network is memory, and the clock is a script.
#include "collectives/collectives.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "collectives/collective.h"
#include "collectives/native.h"
#include "collectives/timed_collective.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/file/json.h"
#include "runner/cluster/job.h"
#include "runner/cluster/launch.h"
#include "runner/cluster/worker.h"
#include "tests/members.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;
using testing::ThrowsMessage;

// f32 through the memory that the threads share; a test may spoil the sums or script the clock.
struct Script {
  std::function<void(int rank, std::vector<float>& sums)> spoil = {};
  std::function<double(int rank, int iteration)> seconds = {};
  bool adds_rank_0_twice = false;
  bool does_nothing = false;
  std::function<std::string(int rank)> transport = {};
};

class ThreadExchange : public Exchange {
 public:
  ThreadExchange(ThreadRanks& ranks, std::size_t count, Script script)
      : ranks_(ranks), count_(count), script_(std::move(script)) {}
  void Align() override { ranks_.Barrier(); }
  void Run(const std::byte* input, std::byte* output) override {
    World& world = ranks_.world();
    if (script_.seconds) world.now[ranks_.Index()] += script_.seconds(ranks_.Rank(), iteration_++);
    if (script_.does_nothing) return;
    const float* own = reinterpret_cast<const float*>(input);
    world.arrays[ranks_.Index()].assign(own, own + count_);
    ranks_.Barrier();
    std::vector<float> sums(count_);
    for (std::size_t rank = 0; rank < world.arrays.size(); ++rank) {
      const std::size_t from = script_.adds_rank_0_twice && rank == 1 ? 0 : rank;
      for (std::size_t i = 0; i < count_; ++i) sums[i] += world.arrays[from][i];
    }
    if (script_.spoil) script_.spoil(ranks_.Rank(), sums);
    ranks_.Barrier();
    std::copy(sums.begin(), sums.end(), reinterpret_cast<float*>(output));
  }
  Facts Describe() const override {
    Facts facts = {{"ranks_are", "threads"}};
    if (script_.transport) facts["transport"] = script_.transport(ranks_.Rank());
    return facts;
  }

 private:
  ThreadRanks& ranks_;
  std::size_t count_;
  Script script_;
  int iteration_ = 0;
};

std::unique_ptr<Workload> MakeWorkload(ThreadRanks& ranks, const Collective& op,
                                       const Script& script = {}) {
  auto exchange =
      std::make_unique<ThreadExchange>(ranks, static_cast<std::size_t>(op.bytes / 4), script);
  Prepared prepared = PrepareTimedCollective(
      op, ranks, std::move(exchange), /*seed=*/7,
      {.clock = [&ranks] { return Seconds(ranks.world().now[ranks.Index()]); }});
  return std::get<std::unique_ptr<Workload>>(std::move(prepared));
}

Checked CheckedOn(int ranks, const Collective& op, const Script& script) {
  Checked result;
  OnRanks(ranks, [&](ThreadRanks& own) {
    const auto workload = MakeWorkload(own, op, script);
    workload->Run(3);
    const Checked checked = workload->Verify();
    if (own.Rank() == 0) result = checked;
  });
  return result;
}

TEST(TimedCollective, EveryElementOnEveryRankIsCheckedAndExact) {
  for (const bool in_place : {false, true}) {
    // Five ranks and 1003 elements: nothing is a power of two.
    const Checked checked = CheckedOn(5, {.bytes = 4012, .in_place = in_place}, {});
    EXPECT_EQ(checked.checked, 5 * 1003);
    EXPECT_EQ(checked.wrong, 0);
    EXPECT_EQ(checked.tolerance, 0);
    EXPECT_EQ(checked.reference, "exact");
    EXPECT_EQ(checked.what, std::nullopt);
  }
}

TEST(TimedCollective, AWrongElementIsCountedAndPlaced) {
  const Script script = {.spoil = [](int rank, std::vector<float>& sums) {
    if (rank == 1) sums[600] += 1, sums[601] -= 2;
  }};
  const Checked checked = CheckedOn(3, {.bytes = 4096}, script);
  EXPECT_EQ(checked.wrong, 2);
  EXPECT_EQ(checked.max_error, 2);
  EXPECT_THAT(checked.what.value_or(""), HasSubstr("rank 1, element 600: "));
}

TEST(TimedCollective, NotANumberIsWrong) {
  const Script script = {.spoil = [](int rank, std::vector<float>& sums) {
    if (rank == 0) sums[0] = std::numeric_limits<float>::quiet_NaN();
  }};
  const Checked checked = CheckedOn(2, {.bytes = 64}, script);
  EXPECT_EQ(checked.wrong, 1);
  EXPECT_THAT(checked.what.value_or(""), HasSubstr("nan instead of"));
}

TEST(TimedCollective, AContributionCountedTwiceInPlaceOfAnotherIsFound) {
  EXPECT_GT(CheckedOn(2, {.bytes = 4096}, {.adds_rank_0_twice = true}).wrong, 2000);
}

TEST(TimedCollective, AnOutputLeftOverFromTheIterationBeforeIsFound) {
  for (const bool in_place : {false, true}) {
    World world(2);
    Script once;
    // The third iteration, which is the one that is checked, gives the second one's sums again.
    std::vector<std::vector<float>> before(2);
    std::vector<int> calls(2);
    once.spoil = [&](int rank, std::vector<float>& sums) {
      const auto i = static_cast<std::size_t>(rank);
      if (++calls[i] == 3) sums = before[i];
      before[i] = sums;
    };
    EXPECT_GT(CheckedOn(2, {.bytes = 4096, .in_place = in_place}, once).wrong, 2000);
  }
  EXPECT_GT(CheckedOn(2, {.bytes = 4096}, {.does_nothing = true}).wrong, 2000);
}

TEST(TimedCollective, AnOperationWithinATimedBatchIsCheckedNowAndThen) {
  // The second of three operations is wrong in each batch, and never the last one.
  Checked checked;
  OnRanks(2, [&](ThreadRanks& own) {
    int calls = 0;
    const auto workload =
        MakeWorkload(own, {.bytes = 64}, {.spoil = [&calls](int, std::vector<float>& sums) {
                       if (++calls % 3 == 2) sums[5] += 1;
                     }});
    for (int batch = 0; batch < 200; ++batch) workload->Run(3);
    const Checked of_rank = workload->Verify();
    if (own.Rank() == 0) checked = of_rank;
  });
  EXPECT_GE(checked.wrong, 2) << "one batch in eight has one of its operations checked";
  EXPECT_LT(checked.wrong, 2 * 50);
  EXPECT_GT(checked.checked, 2 * 16 * 10);
}

TEST(TimedCollective, NoneTheLastOrAllOperationsAreCheckedWhereThatIsAsked) {
  // All of twelve operations on two ranks but the last are wrong in one element.
  const auto checked = [](const std::string& verify, const std::string& cache) {
    Checked result;
    Facts facts;
    OnRanks(2, [&](ThreadRanks& own) {
      int calls = 0;
      const auto workload = MakeWorkload(own, {.bytes = 64, .cache = cache, .verify = verify},
                                         {.spoil = [&calls](int, std::vector<float>& sums) {
                                           sums[5] += ++calls < 12 ? 1.0F : 0.0F;
                                         }});
      for (int batch = 0; batch < 4; ++batch) workload->Run(3);
      const Checked of_rank = workload->Verify();
      const Facts of_rank_facts = workload->Describe();
      if (own.Rank() == 0) result = of_rank, facts = of_rank_facts;
    });
    EXPECT_EQ(facts.at("verify"), Fact(verify));
    return std::pair(result.checked, result.wrong);
  };
  for (const char* cache : {"rewritten", "rotated"}) {
    EXPECT_EQ(checked("none", cache), std::pair(std::int64_t{0}, std::int64_t{0}));
    EXPECT_EQ(checked("last", cache), std::pair(std::int64_t{2 * 16}, std::int64_t{0}));
    EXPECT_EQ(checked("all", cache), std::pair(std::int64_t{2 * 16 * 12}, std::int64_t{2 * 11}));
  }
}

TEST(TimedCollective, HistogramsLeaveOutTheFirstOperationsOfEachBatch) {
  const auto count = [](int skip) {
    std::int64_t all = 0;
    OnRanks(2, [&](ThreadRanks& own) {
      const auto workload =
          MakeWorkload(own, {.bytes = 64, .skip = skip},
                       {.seconds = [](int, int i) { return i % 5 < 2 ? 9.0 : 1.0; }});
      workload->Run(5);
      const Batch batch = workload->Run(5);
      EXPECT_EQ(batch.time, Seconds(2 * 9 + 3)) << "the time is that of all";
      if (own.Rank() != 0) return;
      const Histogram latency = workload->Histograms().at("latency_s");
      for (const auto& [bucket, times] : latency.counts) all += times;
      EXPECT_EQ(latency.counts.size(), skip == 0 ? 2U : 1U);
    });
    return all;
  };
  EXPECT_EQ(count(0), 10);
  EXPECT_EQ(count(2), 6);
}

TEST(TimedCollective, BuffersBeginOffTheirGrainWhereThatIsAsked) {
  for (const bool in_place : {false, true}) {
    for (const char* cache : {"rewritten", "rotated"}) {
      const Checked checked =
          CheckedOn(3, {.bytes = 4096, .in_place = in_place, .cache = cache, .unalign = 5}, {});
      EXPECT_EQ(checked.wrong, 0);
      EXPECT_GE(checked.checked, 3 * 1024);
    }
  }
  class Watched : public Exchange {
   public:
    explicit Watched(std::vector<std::uintptr_t>& seen) : seen_(seen) {}
    void Align() override {}
    void Run(const std::byte* input, std::byte* output) override {
      seen_ = {reinterpret_cast<std::uintptr_t>(input) % 64,
               reinterpret_cast<std::uintptr_t>(output) % 64};
    }

   private:
    std::vector<std::uintptr_t>& seen_;
  };
  std::vector<std::uintptr_t> seen;
  Ranks alone;
  const Prepared prepared = PrepareTimedCollective({.bytes = 4096, .unalign = 5}, alone,
                                                   std::make_unique<Watched>(seen), 0);
  std::get<std::unique_ptr<Workload>>(prepared)->Run(1);
  EXPECT_THAT(seen, ElementsAre(20U, 20U));
}

TEST(TimedCollective, WhatOnlyDevicesHaveIsSkippedWithItsReason) {
  const auto reason = [](const Collective& collective) {
    Ranks alone;
    World world(1);
    ThreadRanks own(world, 0);
    const Prepared prepared = PrepareTimedCollective(
        collective, alone, std::make_unique<ThreadExchange>(own, 16, Script{}), 0);
    const Skipped* no = std::get_if<Skipped>(&prepared);
    return no == nullptr ? "" : no->reason;
  };
  EXPECT_EQ(reason({.bytes = 64, .mode = "throughput", .cache = "rotated"}), "");
  EXPECT_THAT(reason({.bytes = 64, .mode = "graph", .cache = "rotated"}), HasSubstr("as a graph"));
  EXPECT_THAT(reason({.bytes = 64, .mode = "blocking", .cache = "rotated"}),
              HasSubstr("returns when it is done"));
  EXPECT_THAT(reason({.bytes = 64, .aggregate = 2}), HasSubstr("no groups"));
}

TEST(TimedCollective, BuffersInTurnHoldNewInputsEachTime) {
  for (const bool in_place : {false, true}) {
    for (const char* mode : {"latency", "throughput"}) {
      Checked checked;
      Facts facts;
      OnRanks(3, [&](ThreadRanks& own) {
        const auto workload = MakeWorkload(
            own, {.bytes = 4096, .in_place = in_place, .mode = mode, .cache = "rotated"});
        workload->Run(1);
        workload->Run(4'100);  // more than there are buffers
        const Checked of_rank = workload->Verify();
        const Facts of_rank_facts = workload->Describe();
        if (own.Rank() == 0) checked = of_rank, facts = of_rank_facts;
      });
      EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
      EXPECT_GE(checked.checked, 3 * 1024);
      EXPECT_EQ(facts.at("buffers_in_turn"), Fact(std::int64_t{4096}));
    }
  }
}

TEST(TimedCollective, ABarrierThatSomebodyPassesEarlyIsWrong) {
  for (const bool holds : {true, false}) {
    Checked checked;
    OnRanks(3, [&](ThreadRanks& own) {
      const auto workload =
          MakeWorkload(own, {.operation = Operation::kBarrier}, {.does_nothing = !holds});
      workload->Run(1);
      const Checked of_rank = workload->Verify();
      if (own.Rank() == 0) checked = of_rank;
    });
    EXPECT_EQ(checked.checked, 3);
    EXPECT_EQ(checked.wrong, holds ? 0 : 2) << "of two ranks that did not wait for the third";
  }
}

TEST(TimedCollective, AnOperationIsOverWhenItsSlowestRankIs) {
  // Rank 0 is slow in the second operation, rank 1 in the first.
  const double seconds[2][3] = {{1, 5, 1}, {4, 1, 1}};
  Batch batch;
  OnRanks(2, [&](ThreadRanks& own) {
    const auto workload = MakeWorkload(
        own, {.bytes = 64}, {.seconds = [&](int rank, int i) { return seconds[rank][i]; }});
    Batch of_rank = workload->Run(3);
    if (own.Rank() == 0) batch = of_rank;
  });
  EXPECT_EQ(batch.time, Seconds(4 + 5 + 1));
  EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(7), Seconds(6)));
}

TEST(TimedCollective, BackToBackLeavesNoTimeToRewriteInputs) {
  Ranks alone;
  const Prepared prepared =
      PrepareTimedCollective({.bytes = 64, .mode = "throughput"}, alone, nullptr, 0);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  EXPECT_THAT(std::get<Skipped>(prepared).remedy, HasSubstr("rotated"));
}

// A library whose ranks are threads, or which says no on one of them.
class ThreadLibrary : public Library {
 public:
  explicit ThreadLibrary(std::function<std::optional<Skipped>(int rank)> no = {}) : no_(no) {}
  std::string Name() const override { return "threads"; }
  Prepared Prepare(const Collective& op, Ranks& ranks, std::uint64_t) override {
    if (no_) {
      if (std::optional<Skipped> skipped = no_(ranks.Rank())) return *skipped;
    }
    return MakeWorkload(dynamic_cast<ThreadRanks&>(ranks), op,
                        {.seconds = [](int rank, int) { return rank + 1.0; }});
  }

 private:
  std::function<std::optional<Skipped>(int)> no_;
};

std::vector<std::unique_ptr<Library>> Only(std::unique_ptr<Library> library) {
  std::vector<std::unique_ptr<Library>> libraries;
  libraries.push_back(std::move(library));
  return libraries;
}

// Rank 0 is given the job; the others follow.
void OnJob(int ranks, const std::function<std::optional<Skipped>(int)>& no,
           const std::function<void(std::shared_ptr<Job>)>& body) {
  OnRanks(ranks, [&](ThreadRanks& own) {
    Member member = MemberWith(Only(std::make_unique<ThreadLibrary>(no)));
    if (own.Rank() == 0) {
      body(MakeJob(own, std::move(member)));
      own.Broadcast("quit");
    } else {
      Worker worker(own, std::move(member));
      Follow(worker);
    }
  });
}

// Four ranks as if on two nodes, of which `this_node` says what a rank sees.
void OnTwoNodes(const std::function<Node(int rank)>& this_node,
                const std::function<Prepared(int rank, const Record& asked)>& prepare,
                const std::function<void(const std::shared_ptr<Job>&)>& body,
                const WatchOptions& watch = {},
                const std::function<std::unique_ptr<Meter>(int rank)>& meter = {}) {
  OnRanks(4, [&](ThreadRanks& own) {
    own.world().ranks_per_node = 2;
    own.Barrier();
    const Member member = {
        .describe = [&] { return this_node(own.Rank()); },
        .own_case =
            [&](const Record& asked) {
              return Case{
                  .prepare = [&, asked](std::uint64_t) { return prepare(own.Rank(), asked); },
                  .meter = [&] { return meter(own.Rank()); }};
            }};
    if (own.Rank() == 0) {
      body(MakeJob(own, member, watch));
      own.Broadcast("quit");
    } else {
      Worker worker(own, member, watch);
      Follow(worker);
    }
  });
}

AskedCase OnEach(const Record& record) {
  return {.on = On::kEachNode, .seed = 7, .record = record};
}

TEST(Job, EachNodeDescribesItselfOnce) {
  std::atomic<int> asked = 0;
  const auto this_node = [&](int rank) {
    ++asked;
    return Node{.memory_bytes = 100 + rank, .notes = {{.what = "one\ttab"}}};
  };
  OnTwoNodes(this_node, {}, [](const std::shared_ptr<Job>& job) {
    EXPECT_THAT(AskNodes(*job), ElementsAre(0, 0, 1, 1));
    const std::vector<Node> nodes = AskDescriptions(*job);
    ASSERT_EQ(nodes.size(), 2U);
    EXPECT_EQ(nodes[0].memory_bytes, 100);
    EXPECT_EQ(nodes[1].memory_bytes, 102);
    EXPECT_EQ(nodes[1].notes.at(0).what, "one\ttab");
  });
  EXPECT_EQ(asked, 2);
}

TEST(Job, ANodeThatCantDescribeItselfIsAnErrorAndTheRanksGoOn) {
  const auto this_node = [](int rank) -> Node {
    if (rank == 2) throw Error("rank 2 has no machine");
    return {};
  };
  OnTwoNodes(this_node, {}, [](const std::shared_ptr<Job>& job) {
    EXPECT_THAT([&] { AskDescriptions(*job); },
                ThrowsMessage<Error>("node 1: rank 2 has no machine"));
    EXPECT_THAT(AskNodes(*job), ElementsAre(0, 0, 1, 1));
  });
}

// A case of one node; `rank` tells nodes apart.
class OwnWorkload : public Workload {
 public:
  // On so many devices at once, where there are several, of which the last is the slowest.
  explicit OwnWorkload(int rank, int devices = 0) : rank_(rank), devices_(devices) {}
  Batch Run(std::int64_t iterations) override {
    if (iterations == 13) throw Error(fmt::format("rank {} is out of luck", rank_));
    Batch batch = {.time = Seconds(static_cast<double>(iterations) * (rank_ + 1))};
    for (int i = 1; i <= devices_; ++i) batch.per_unit.push_back(batch.time * i / devices_);
    return batch;
  }
  // Rank 2 does a third of what rank 0 does, but in the second span.
  std::vector<Batch> RunSpans(const Spans& spans) override {
    std::vector<Batch> all;
    for (int i = 0; i < spans.count; ++i) {
      const std::int64_t iterations = rank_ == 0 || i == 1 ? 30 : 10;
      all.push_back({.time = spans.ramp + spans.length * (1 + 0.01 * rank_),
                     .iterations = iterations,
                     .stable = Seconds(10.0 + rank_)});
    }
    return all;
  }
  Checked Verify() override {
    Checked checked = {.checked = 5, .wrong = rank_, .tolerance = 0.5, .reference = "exact"};
    if (rank_ > 0) checked.what = "element 7";
    return checked;
  }
  Facts Describe() const override { return {{"rank", std::int64_t{rank_}}}; }
  std::map<std::string, Histogram> Histograms() const override {
    return {{"latency_s", {.counts = {{1, 10}, {rank_ + 2, 1}}}}};
  }

 private:
  int rank_;
  int devices_;
};

TEST(Job, ACaseOfSeveralDevicesOnEachNodeTellsOfAll) {
  const auto prepare = [](int rank, const Record& asked) -> Prepared {
    const int fewer = asked.probe == "unlike" && rank == 2 ? 1 : 0;
    return std::make_unique<OwnWorkload>(rank, 2 - fewer);
  };
  OnTwoNodes({}, prepare, [](const std::shared_ptr<Job>& job) {
    Prepared prepared = PrepareOn(job, OnEach({.probe = "gemm"}));
    const Batch batch = std::get<std::unique_ptr<Workload>>(prepared)->Run(2);
    EXPECT_EQ(batch.time, Seconds(6));
    EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(1), Seconds(2), Seconds(3), Seconds(6)));
    prepared = PrepareOn(job, OnEach({.probe = "unlike"}));
    Workload& unlike = *std::get<std::unique_ptr<Workload>>(prepared);
    EXPECT_THAT([&] { unlike.Run(2); },
                ThrowsMessage<Error>(HasSubstr("one node has 2 devices for this case, another 1")));
  });
}

TEST(Job, ACaseOfOneNodeRunsOnTheFirstRankOfEach) {
  std::atomic<int> prepared_on = 0;
  const auto prepare = [&](int rank, const Record& asked) -> Prepared {
    prepared_on += 1 << rank;
    EXPECT_EQ(asked.probe + "/" + asked.backend + "/" + ToText(asked.params), "gemm/onednn/m=4");
    return std::make_unique<OwnWorkload>(rank);
  };
  OnTwoNodes({}, prepare, [](const std::shared_ptr<Job>& job) {
    const Record asked = {.probe = "gemm", .params = {{"m", std::int64_t{4}}}, .backend = "onednn"};
    const Prepared prepared = PrepareOn(job, OnEach(asked));
    Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
    const Batch batch = workload.Run(2);
    EXPECT_EQ(batch.time, Seconds(6));  // the slower node's: rank 2 takes 3 s an iteration
    EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(2), Seconds(6)));
    // Each span is what the slowest node did in it.
    const std::vector<Batch> spans =
        workload.RunSpans({.ramp = Seconds(0.5), .length = Seconds(1), .count = 3});
    ASSERT_EQ(spans.size(), 3u);
    EXPECT_EQ(spans[0].iterations, 10);
    EXPECT_EQ(spans[1].iterations, 30);
    EXPECT_DOUBLE_EQ(spans[0].time.count(), 1.52);
    EXPECT_DOUBLE_EQ(spans[1].time.count(), 1.52);
    EXPECT_DOUBLE_EQ(spans[2].stable->count(), 12);
    const Checked checked = workload.Verify();
    EXPECT_EQ(checked.checked, 10);
    EXPECT_EQ(checked.wrong, 2);
    EXPECT_EQ(checked.what, "node 1: element 7");
    EXPECT_EQ(workload.Describe(), (Facts{{"rank", std::int64_t{0}}}));
    EXPECT_THAT(workload.Histograms().at("latency_s").counts,
                ElementsAre(Pair(1, 20), Pair(2, 1), Pair(4, 1)));
    EXPECT_THAT([&] { workload.Run(13); }, ThrowsMessage<Error>("node 0: rank 0 is out of luck"));
    EXPECT_EQ(workload.Run(1).time, Seconds(3));  // all are still in step
  });
  EXPECT_EQ(prepared_on, 1 + 4);
}

// Takes a millisecond, and on rank 2 hangs from its second batch on.
class HangingWorkload : public OwnWorkload {
 public:
  explicit HangingWorkload(int rank) : OwnWorkload(rank), hangs_(rank == 2) {}
  Batch Run(std::int64_t iterations) override {
    if (runs_++ > 0 && hangs_) std::this_thread::sleep_for(std::chrono::seconds(8));
    return {.time = Seconds(1e-3 * static_cast<double>(iterations))};
  }

 private:
  bool hangs_;
  int runs_ = 0;
};

TEST(JobDeathTest, ACaseOfOneNodeThatHangsOnOneIsNoticedInTheWatchdogsTime) {
  const auto prepare = [](int rank, const Record&) -> Prepared {
    return std::make_unique<HangingWorkload>(rank);
  };
  const auto hang = [&] {
    OnTwoNodes({}, prepare,
               [](const std::shared_ptr<Job>& job) {
                 const Record asked = {.probe = "gemm", .work = {.flops = 1000}};
                 const Prepared prepared = PrepareOn(job, OnEach(asked));
                 Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
                 workload.Run(1);
                 workload.Run(1);
               },
               {.limit = Seconds(0.3), .expired = [](const std::string&) {}});
    _exit(0);
  };
  EXPECT_EXIT(hang(), testing::ExitedWithCode(3),
              "run of a case of one node, gemm, is not over in time");
}

// A meter that hangs, as where a GPU's driver no longer answers.
class HangingMeter : public Meter {
 public:
  std::vector<Telemetry> Begin() override {
    std::this_thread::sleep_for(std::chrono::seconds(8));
    return {};
  }
  std::vector<std::optional<Fitted>> Trends(Seconds) override { return {}; }
  std::vector<Telemetry> Finish(Seconds) override { return {}; }
};

TEST(JobDeathTest, AMeterThatHangsOnOneNodeIsNoticedInTheWatchdogsTime) {
  const auto hang = [&] {
    OnTwoNodes(
        {}, {},
        [](const std::shared_ptr<Job>& job) {
          MeterOnEachNode(job, OnEach({.probe = "gemm"}), /*units=*/1)->Begin();
        },
        {.limit = Seconds(0.3), .expired = [](const std::string&) {}},
        [](int rank) -> std::unique_ptr<Meter> {
          return rank == 2 ? std::make_unique<HangingMeter>() : nullptr;
        });
    _exit(0);
  };
  EXPECT_EXIT(hang(), testing::ExitedWithCode(3), "reading the meters is not over in time");
}

TEST(Job, ACaseThatOneNodeCantRunRunsOnNone) {
  const auto prepare = [](int rank, const Record&) -> Prepared {
    if (rank == 2) return Skipped{.reason = "it has too little memory", .remedy = "ask for less"};
    return std::make_unique<OwnWorkload>(rank);
  };
  OnTwoNodes({}, prepare, [](const std::shared_ptr<Job>& job) {
    const Prepared prepared = PrepareOn(job, OnEach({.probe = "gemm"}));
    EXPECT_EQ(std::get<Skipped>(prepared).reason, "it has too little memory");
  });
}

TEST(Job, RanksHearOfARank0ThatHasNothingForThem) {
  // Longer than the watchdog's time passes between commands.
  OnRanks(3, [&](ThreadRanks& own) {
    if (own.Rank() == 0) {
      const auto job = MakeJob(own, {}, {.limit = Seconds(0.4)});
      std::this_thread::sleep_for(std::chrono::seconds(1));
      EXPECT_THAT(AskNodes(*job), ElementsAre(0, 0, 0));
    } else {
      Worker worker(own, {}, {.limit = Seconds(0.4)});
      Follow(worker);
    }
    if (own.Rank() == 0) own.Broadcast("quit");
  });
}

// Ranks whose rank 0 falls silent after its first beat.
class Deserted : public Ranks {
 public:
  int Rank() const override { return 1; }
  int Size() const override { return 2; }
  std::string Broadcast(const std::string&) override {
    if (std::exchange(first_, false)) return "beat";
    for (;;) pause();
  }

 private:
  bool first_ = true;
};

TEST(JobDeathTest, ARankThatRank0FellSilentToEnds) {
  EXPECT_EXIT(
      {
        Deserted ranks;
        Worker worker(ranks, {}, {.limit = Seconds(0.1)});
        Follow(worker);
      },
      testing::ExitedWithCode(3), "rank 1 of 2 on .*: waiting for rank 0 is not over in time");
}

// Ranks of which one takes no command.
class Deaf : public Ranks {
 public:
  int Rank() const override { return 0; }
  int Size() const override { return 2; }
  std::string Broadcast(const std::string&) override {
    for (;;) pause();
  }
};

TEST(JobDeathTest, ARankThatTakesNoCommandEndsRank0) {
  EXPECT_EXIT(
      {
        Deaf ranks;
        Worker worker(ranks, {}, {.limit = Seconds(0.1)});
        worker.Tell("hello");
      },
      testing::ExitedWithCode(3),
      "rank 0 of 2 on .*: telling the ranks what to do is not over in time");
}

TEST(Job, RunsVerifiesAndDescribesOnAllRanks) {
  OnJob(3, {}, [](const std::shared_ptr<Job>& job) {
    EXPECT_THAT(AskNodes(*job), ElementsAre(0, 0, 0));
    const Prepared prepared =
        PrepareOn(job, AskFor("threads", {.bytes = 400}, 3), {{"oversubscribed", true}});
    Workload& workload = *std::get<0>(prepared);
    const Batch batch = workload.Run(2);
    EXPECT_EQ(batch.time, Seconds(6));
    EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(2), Seconds(4), Seconds(6)));
    EXPECT_EQ(workload.Verify().checked, 300);
    const Facts facts = workload.Describe();
    EXPECT_EQ(facts.at("oversubscribed"), Fact(true));
    EXPECT_EQ(facts.at("ranks_are"), Fact(std::string("threads")));
  });
}

TEST(Job, ANoOfOneRankIsANoOfTheJob) {
  const auto no = [](int rank) -> std::optional<Skipped> {
    if (rank != 1) return std::nullopt;
    return Skipped{.reason = "no memory here", .remedy = "ask\tfor\nless"};
  };
  OnJob(2, no, [](const std::shared_ptr<Job>& job) {
    const Prepared prepared = PrepareOn(job, AskFor("threads", {.bytes = 400}, 2));
    ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
    EXPECT_EQ(std::get<Skipped>(prepared).reason, "no memory here");
    EXPECT_EQ(std::get<Skipped>(prepared).remedy, "ask for less");
  });
}

TEST(Job, AFailureOfOneRankIsThrownAndTheJobGoesOn) {
  int calls = 0;
  const auto no = [&calls](int rank) -> std::optional<Skipped> {
    if (rank == 1 && ++calls == 1) throw Error("rank 1 has no room");
    return std::nullopt;
  };
  OnJob(2, no, [](const std::shared_ptr<Job>& job) {
    try {
      PrepareOn(job, AskFor("threads", {.bytes = 400}, 2));
      ADD_FAILURE() << "a failed rank was overlooked";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "rank 1 has no room");
    }
    EXPECT_THROW(PrepareOn(job, AskFor("absent", {.bytes = 400}, 2)), Error);
    const Prepared prepared = PrepareOn(job, AskFor("threads", {.bytes = 400}, 2));
    EXPECT_EQ(std::get<0>(prepared)->Run(1).per_unit.size(), 2u);
  });
}

TEST(Job, GroupsDoTheSameAtOnceEachWithItsOwnAnswer) {
  OnRanks(6, [](ThreadRanks& own) {
    Member member = MemberWith(Only(NativeLibrary()));
    if (own.Rank() != 0) {
      Worker worker(own, std::move(member));
      return Follow(worker);
    }
    std::shared_ptr<Job> job = MakeJob(own, std::move(member));
    {
      // 0 1 | 2 4 5, and 3 takes no part.
      const Prepared prepared =
          PrepareOn(job, AskFor("native", {.bytes = 1200}, 6, /*seed=*/1, "7,7,1,-,1,1"),
                    {{"told", true}}, /*groups=*/2);
      Workload& workload = *std::get<0>(prepared);
      const Batch batch = workload.Run(2);
      ASSERT_EQ(batch.parts.size(), 2u);
      EXPECT_EQ(batch.parts[0].per_unit.size(), 2u);
      EXPECT_EQ(batch.parts[1].per_unit.size(), 3u);
      EXPECT_EQ(batch.time, std::max(batch.parts[0].time, batch.parts[1].time));
      const Checked checked = workload.Verify();
      EXPECT_EQ(checked.checked, 5 * 300);
      EXPECT_EQ(checked.wrong, 0);
      const Facts facts = workload.Describe();
      EXPECT_EQ(facts.at("0/told"), Fact(true));
      EXPECT_EQ(facts.at("1/told"), Fact(true));
      EXPECT_THAT(std::get<std::int64_t>(facts.at("1/slowest_rank")), AnyOf(2, 4, 5));
      EXPECT_EQ(workload.Histograms().count("1/latency_s"), 1u);
    }
    {
      const Prepared prepared = PrepareOn(job, AskFor("native", {.bytes = 1200}, 6));
      EXPECT_EQ(std::get<0>(prepared)->Run(1).per_unit.size(), 6u) << "all are one again";
    }
    job.reset();  // its heart beats no more
    own.Broadcast("quit");
  });
}

TEST(Job, AGroupThatCantIsANoOfTheJobAndTheNextCaseRuns) {
  OnRanks(5, [](ThreadRanks& own) {
    // Refuses in one group alone, before it makes any call that the other group makes.
    class Choosy : public Library {
     public:
      std::string Name() const override { return "choosy"; }
      Prepared Prepare(const Collective& op, Ranks& ranks, std::uint64_t seed) override {
        if (ranks.Size() == 3) return Skipped{.reason = "not with three"};
        return NativeLibrary()->Prepare(op, ranks, seed);
      }
    };
    Member member = MemberWith(Only(std::make_unique<Choosy>()));
    if (own.Rank() != 0) {
      Worker worker(own, std::move(member));
      return Follow(worker);
    }
    std::shared_ptr<Job> job = MakeJob(own, std::move(member));
    const Prepared no = PrepareOn(job, AskFor("choosy", {.bytes = 1200}, 5, 1, "0,1,0,1,0"), {}, 2);
    ASSERT_TRUE(std::holds_alternative<Skipped>(no));
    EXPECT_EQ(std::get<Skipped>(no).reason, "not with three");
    {
      const Prepared prepared =
          PrepareOn(job, AskFor("choosy", {.bytes = 1200}, 5, 1, "0,1,0,1,-"), {}, 2);
      EXPECT_EQ(std::get<0>(prepared)->Run(1).parts.size(), 2u);
    }
    job.reset();  // its heart beats no more
    own.Broadcast("quit");
  });
}

TEST(Job, ACaseIsUnfoldedOnceForItsDevicesAndItsRanks) {
  std::atomic<int> unfolded = 0;
  OnRanks(2, [&](ThreadRanks& own) {
    const auto join = [](Ranks&, std::uint64_t, const Params&) -> Prepared {
      return Skipped{.reason = "it has no library"};
    };
    const auto device = [](Ranks&) { return std::optional<RankDevice>(); };
    const Member member = {.own_case = [&](const Record&) {
      ++unfolded;
      return Case{.across = AcrossRanks{.join = join, .device = device}};
    }};
    if (own.Rank() != 0) {
      Worker worker(own, member);
      return Follow(worker);
    }
    std::shared_ptr<Job> job = MakeJob(own, member);
    AskedCase asked = {.record = {.probe = "all_reduce", .backend = "fake"}};
    AskWhereabouts(*job, &asked);
    EXPECT_EQ(std::get<Skipped>(PrepareOn(job, asked)).reason, "it has no library");
    EXPECT_EQ(unfolded, 2) << "once on each rank";
    asked.record.params = {{"bytes", std::int64_t{8}}};
    PrepareOn(job, asked);
    EXPECT_EQ(unfolded, 4) << "and another case anew";
    job.reset();  // its heart beats no more
    own.Broadcast("quit");
  });
}

TEST(Groups, AreNcclTestsExpressionsOrAList) {
  const auto groups = [](const char* expression) { return collectives::GroupsFrom(expression, 6); };
  EXPECT_THAT(groups("MOD 2"), ElementsAre(0, 1, 0, 1, 0, 1));
  EXPECT_THAT(groups("%2"), ElementsAre(0, 1, 0, 1, 0, 1));
  EXPECT_THAT(groups("div 0x4"), ElementsAre(0, 0, 0, 0, 1, 1));
  EXPECT_THAT(groups("/ 4"), ElementsAre(0, 0, 0, 0, 1, 1));
  EXPECT_THAT(groups("AND 0b11"), ElementsAre(0, 1, 2, 3, 0, 1));
  EXPECT_THAT(groups("&0x0"), ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_THAT(groups("OR 0x3"), ElementsAre(3, 3, 3, 3, 7, 7));
  EXPECT_THAT(groups("|3"), ElementsAre(3, 3, 3, 3, 7, 7));
  EXPECT_THAT(groups("0,0,5,-,5,0x1"), ElementsAre(0, 0, 5, -1, 5, 1));
  for (const char* bad : {"", "MOD", "MOD 0", "DIV 0", "MOD x", "MOD 2x", "XOR 2", "AND -1", "2",
                          "0,1", "0,1,2,3,4,5,6", "-,-,-,-,-,-", "0,1,2,3,4,x"}) {
    EXPECT_THROW(groups(bad), Error) << bad;
  }
}

TEST(Groups, BecomePartsOfACaseEachWithItsRanksAndWork) {
  const Probe probe = collectives::Probes({}).at(0);
  Params params = probe.defaults;
  params["ranks"] = std::int64_t{6};
  params["split"] = "0,1,1,0,1,-";
  const Case one = probe.unfold(params).at(0);
  ASSERT_EQ(one.parts.size(), 2u);
  EXPECT_EQ(one.parts[1].params.at("group"), Value(std::int64_t{1}));
  EXPECT_EQ(one.parts[1].params.at("ranks"), Value(std::int64_t{3}));
  EXPECT_EQ(one.parts[1].params.at("split"), Value(std::string("0,1,1,0,1,-")));
  EXPECT_EQ(one.parts[1].units.size(), 3u);
  EXPECT_EQ(one.parts[1].units[2].rank, 4);
  EXPECT_EQ(one.parts[0].work.bytes, one.work.bytes);
  params["split"] = "MOD 5";
  try {
    probe.unfold(params);
    ADD_FAILURE() << "a group of one rank was taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("group 1 of 1 rank"));
  }
}

// Answers with what a test wrote down.
class WrittenWorkload : public Workload {
 public:
  Batch Run(std::int64_t iterations) override {
    return {.time = Seconds(0.5 * static_cast<double>(iterations)), .per_unit = {Seconds(0.125)}};
  }
  Checked Verify() override {
    return {.checked = 4,
            .wrong = 1,
            .max_error = 0.5,
            .tolerance = 0.25,
            .reference = "f64 rows",
            .what = "element 3"};
  }
  Facts Describe() const override {
    return {{"a", std::int64_t{-3}}, {"b", false}, {"c", 0.1}, {"d", "two words, one\ttab"}};
  }
};

class WrittenLibrary : public Library {
 public:
  std::string Name() const override { return "written"; }
  Prepared Prepare(const Collective& op, Ranks&, std::uint64_t seed) override {
    EXPECT_EQ(seed, 18446744073709551615u);
    EXPECT_EQ(op.bytes, 64);
    EXPECT_EQ(op.dtype, "f64");
    EXPECT_TRUE(op.in_place);
    return std::make_unique<WrittenWorkload>();
  }
};

TEST(Worker, AnswersOneLineToEachCommandUntilTheEndOfItsInput) {
  int commands[2];
  int answers[2];
  ASSERT_EQ(pipe(commands), 0);
  ASSERT_EQ(pipe(answers), 0);
  const Collective collective = {.dtype = "f64", .bytes = 64, .in_place = true};
  const AskedCase asked = AskFor("written", collective, /*ranks=*/1, 18446744073709551615u);
  AskedCase of_two = asked;
  of_two.record.params["ranks"] = std::int64_t{2};
  AskedCase in_groups = asked;  // of a case that tells no groups
  in_groups.on = On::kGroups;
  const std::string text =
      "hello\n"
      "run 3\n"
      "prepare {\"on\":\"some\"}\n"
      "prepare " +
      AskedCaseToJson(of_two) +
      "\n"
      "prepare " +
      AskedCaseToJson(in_groups) +
      "\n"
      "prepare " +
      AskedCaseToJson(asked) +
      "\n"
      "run 3\n"
      "run 0\n"
      "verify\n"
      "describe\n"
      "dance\n"
      "half a comm";
  ASSERT_EQ(write(commands[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(commands[1]);
  Ranks alone;
  Worker worker(alone, MemberWith(Only(std::make_unique<WrittenLibrary>())));
  Serve(commands[0], answers[1], worker);
  close(answers[1]);
  char buffer[4096];
  const ssize_t n = read(answers[0], buffer, sizeof(buffer));
  EXPECT_EQ(
      std::string(buffer, static_cast<std::size_t>(n)),
      "assay: ok 0\n"
      "assay: error nothing is prepared that could run\n"
      "assay: error what rank 0 asks: 'on' must be all, each_node or groups; it is damaged or "
      "wasn't "
      "written by assay, so measure again or take a sound copy\n"
      "assay: error a case of 2 ranks was asked of 1\n"
      "assay: error the case tells the groups of 0 ranks, and should tell those of 1\n"
      "assay: ok\n"
      "assay: ok {\"batches\":[{\"time_s\":1.5,\"unit_time_s\":[0.125]}]}\n"
      "assay: error a run needs at least one iteration\n"
      "assay: ok {\"checked\":{\"checked\":4,\"wrong\":1,\"max_error\":0.5,\"tolerance\":0.25,"
      "\"reference\":\"f64 rows\",\"what\":\"element 3\"}}\n"
      "assay: ok {\"facts\":{\"a\":-3,\"b\":false,\"c\":0.1,\"d\":\"two words, one\\ttab\"}}\n"
      "assay: error no such command: dance\n");
  close(commands[0]);
  close(answers[0]);
}

// A launcher that is a shell script.
class Launcher : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "assay-launcher-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  LaunchOptions Script(const std::string& lines, Seconds timeout = Seconds(20)) const {
    const std::string path = folder_ + "/mpirun";
    std::ofstream(path) << "#!/bin/sh\n" << lines;
    chmod(path.c_str(), 0700);
    return {.launcher = Mpirun{.path = path},
            .self = "/usr/bin/assay",
            .start = timeout,
            .timeout = timeout};
  }
  static std::string WhatOf(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  std::string folder_;
};

TEST_F(Launcher, IsGivenTheRanksTheBindingAndTheWorker) {
  LaunchOptions options = Script("echo \"$@\" > " + folder_ +
                                 "/words; read command; echo noise; echo 'assay: ok 0 0 0'");
  options.ranks = 3;
  EXPECT_TRUE(Launch(options)->Alive());
  std::string words;
  std::getline(std::ifstream(folder_ + "/words") >> std::ws, words);
  EXPECT_EQ(words, "-np 3 --bind-to core /usr/bin/assay --worker");
  options.oversubscribe = true;
  Launch(options);
  std::getline(std::ifstream(folder_ + "/words") >> std::ws, words);
  EXPECT_EQ(words, "-np 3 --bind-to none --oversubscribe /usr/bin/assay --worker");
}

TEST_F(Launcher, MayRunAsRootOnlyWhereWeAreRoot) {
  Launch(Script("env > " + folder_ + "/env; read command; echo 'assay: ok 0 0'"));
  std::stringstream environment;
  environment << std::ifstream(folder_ + "/env").rdbuf();
  EXPECT_EQ(environment.str().find("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1") != std::string::npos,
            geteuid() == 0);
  EXPECT_EQ(getenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), nullptr);
}

TEST_F(Launcher, ThatDiesIsQuotedWithTheCauseButNotItsAddresses) {
  const std::string what = WhatOf([&] {
    Launch(Script("echo ------- >&2; echo 'no slots on 10.20.30.40' >&2; echo last >&2; exit 1"));
  });
  EXPECT_THAT(what, HasSubstr("ended early (\"no slots on (redacted)\")"));
  EXPECT_THAT(what, Not(HasSubstr("\n")));
}

TEST_F(Launcher, ThatCantBeStartedIsNamed) {
  EXPECT_THAT(
      WhatOf([&] { Launch({.launcher = Mpirun{.path = folder_ + "/absent"}, .self = "x"}); }),
      HasSubstr(folder_ + "/absent"));
}

TEST_F(Launcher, OfAnotherMpiIsToldByTheWorldsThatItMakes) {
  const std::string what =
      WhatOf([&] { Launch(Script("read command; echo 'assay: ok 0'; read command")); });
  EXPECT_THAT(what, HasSubstr("started 2 ranks, but they see 1"));
}

TEST_F(Launcher, APlaintOfARankIsPreferredToTheLaunchersOwn) {
  const auto job =
      Launch(Script("read command; echo 'assay: ok 0 0'; read command; "
                    "echo 'assay: rank 1 is out of memory' >&2; "
                    "echo 'mpirun detected a non-zero exit' >&2; exit 1"));
  const std::string what = WhatOf([&] { job->Ask("run 1"); });
  EXPECT_THAT(what, HasSubstr("rank 1 is out of memory"));
  EXPECT_THAT(what, Not(HasSubstr("non-zero")));
  EXPECT_FALSE(job->Alive());
  EXPECT_THAT(WhatOf([&] { job->Ask("run 1"); }), HasSubstr("ended already"));
}

bool IsGone(pid_t pid) {
  // One that nobody has waited for is gone too.
  for (int tries = 0; tries < 200; ++tries) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string stat;
    if (!std::getline(file, stat) || stat.find(") Z ") != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST_F(Launcher, ThatHangsIsStoppedWithAllItsChildren) {
  const std::string what = WhatOf([&] {
    Launch(
        Script("sleep 1000 & echo $$ $! > " + folder_ + "/pids; read command; wait", Seconds(0.3)));
  });
  EXPECT_THAT(what, HasSubstr("did not answer \"hello\" within"));
  pid_t launcher = 0;
  pid_t child = 0;
  std::ifstream(folder_ + "/pids") >> launcher >> child;
  ASSERT_GT(child, 0);
  EXPECT_TRUE(IsGone(launcher));
  EXPECT_TRUE(IsGone(child));
}

TEST_F(Launcher, ACommandWithoutAnAnswerIsNamedByItsFirstWord) {
  const auto job =
      Launch(Script("read command; echo 'assay: ok 0 0'; read command; sleep 1000", Seconds(0.3)));
  EXPECT_THAT(WhatOf([&] { job->Ask("prepare {\"on\":\"all\"}"); }),
              HasSubstr("did not answer \"prepare\" within"));
}

TEST_F(Launcher, EndsAtTheEndOfItsInput) {
  {
    const auto job = Launch(Script("echo $$ > " + folder_ +
                                   "/pids; read command; echo 'assay: ok 0 0'; "
                                   "read command || echo end > " +
                                   folder_ + "/end"));
  }
  pid_t launcher = 0;
  std::ifstream(folder_ + "/pids") >> launcher;
  EXPECT_TRUE(IsGone(launcher));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/end"));
}

TEST(TimedCollective, TheTransportIsWhatEveryRankSaysAndNotRank0Alone) {
  const auto transport_of = [](const std::function<std::string(int)>& by_rank) {
    Facts facts;
    OnRanks(3, [&](ThreadRanks& own) {
      const auto workload = MakeWorkload(own, {.bytes = 64}, {.transport = by_rank});
      workload->Run(1);
      const Facts told = workload->Describe();
      if (own.Rank() == 0) facts = told;
    });
    const auto found = facts.find("transport");
    return found == facts.end() ? "none" : std::get<std::string>(found->second);
  };
  EXPECT_EQ(transport_of([](int) { return "tcp"; }), "tcp");
  EXPECT_EQ(transport_of([](int rank) { return rank == 2 ? "shm" : "tcp"; }),
            "ranks 0,1: tcp; rank 2: shm");
  EXPECT_EQ(transport_of({}), "none");
}

Params With(Params params, const std::string& name, Value value) {
  params.at(name) = std::move(value);
  return params;
}

TEST(AllReduceProbe, UnfoldsIntoACaseForEachUsualLibraryWithAUnitForEachRank) {
  const Probe probe = collectives::Probes({}).at(0);
  const auto cases = probe.unfold(With(probe.defaults, "ranks", std::int64_t{4}));
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0].backend, "mpi");
  EXPECT_EQ(cases[1].backend, "native");
  EXPECT_EQ(ToText(cases[0].params),
            "algo=auto,buffers=plain,bytes=1048576,cache=rewritten,dtype=f32,mode=latency,nodes=1,"
            "placement=out_of_place,ranks=4,redop=sum");
  EXPECT_EQ(cases[0].work.bytes, 1 << 20);
  EXPECT_EQ(cases[0].work.formula, "all_reduce/algbw");
  EXPECT_EQ(cases[0].units.size(), 4u);
}

TEST(AllReduceProbe, TakesTheLibrariesThatAreAskedFor) {
  assay::Setup setup;
  setup.backends = {"native-mpi", "onednn"};
  const Probe probe = collectives::Probes(setup).at(0);
  const auto cases = probe.unfold(probe.defaults);
  ASSERT_EQ(cases.size(), 1u);
  EXPECT_EQ(cases[0].backend, "native-mpi");
  setup.backends = {"onednn"};
  const Probe none = collectives::Probes(setup).at(0);
  EXPECT_TRUE(none.unfold(none.defaults).empty());
  EXPECT_THAT(none.backends, ElementsAre("mpi", "native", "native-mpi", "ofi", "nccl"));
}

TEST(FabricProbe, IsOfTheLibrariesThatHaveATransportAlone) {
  const auto backends = [](const std::vector<std::string>& asked) {
    std::vector<std::string> found;
    for (const Probe& probe : collectives::Probes({.backends = asked})) {
      if (probe.name != "fabric") continue;
      EXPECT_THAT(probe.backends, ElementsAre("native-mpi", "ofi"));
      for (const Case& one : probe.unfold(probe.defaults)) found.push_back(one.backend);
    }
    return found;
  };
  EXPECT_THAT(backends({}), ElementsAre("native-mpi", "ofi"));
  EXPECT_THAT(backends({"mpi", "ofi"}), ElementsAre("ofi"));
  EXPECT_TRUE(backends({"mpi", "native"}).empty()) << "which have no such thing";
}

TEST(AllReduceProbe, RefusesWhatMakesNoSenseByTheNameOfTheParam) {
  const Probe probe = collectives::Probes({}).at(0);
  const std::pair<const char*, Value> senseless[] = {
      {"ranks", std::int64_t{1}},  {"ranks", std::int64_t{-2}},    {"bytes", std::int64_t{0}},
      {"bytes", std::int64_t{6}},  {"dtype", std::string("fp99")}, {"redop", std::string("xor")},
      {"nodes", std::int64_t{3}},  {"mode", std::string("fast")},  {"cache", std::string("warm")},
      {"bytes", std::int64_t{-4}}, {"placement", std::string("")}};
  for (const auto& [name, value] : senseless) {
    try {
      probe.unfold(With(probe.defaults, name, value));
      ADD_FAILURE() << name << " = " << ToText(value) << " was taken";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(name)) << ToText(value);
    }
  }
}

TEST(AllReduceProbe, IsSkippedWithTheReasonOfTheModuleThatIsMissing) {
  const Modules none = Modules::Load({});
  assay::Setup setup;
  setup.modules = &none;
  const Probe probe = collectives::Probes(setup).at(0);
  const std::optional<Skipped> no = probe.unfold(probe.defaults).at(0).across->unfit();
  ASSERT_TRUE(no);
  EXPECT_THAT(no->reason, HasSubstr("there is no libassay-"));
  EXPECT_THAT(no->remedy, HasSubstr("apt-get install"));
}

TEST(Collectives, EveryOperationOfTheLeastSizesAndEachDtypeIsWrittenAndReadBack) {
  int cases = 0;
  int without_work = 0;
  for (const Probe& probe : collectives::Probes({.backends = {"native"}})) {
    if (!probe.defaults.contains("mode")) continue;
    for (const std::string& dtype : DtypeNames(DtypeUse::kCollectives)) {
      for (const std::int64_t elements : {1, 2, 5, 100}) {
        Params params = probe.defaults;
        params["ranks"] = std::int64_t{3};
        if (params.contains("dtype")) {
          params["dtype"] = dtype;
          params["bytes"] = elements * ElementBytes(dtype);
        }
        for (const Case& one : probe.unfold(params)) {
          const Record record = {.probe = one.probe,
                                 .method = one.method,
                                 .params = one.params,
                                 .backend = one.backend,
                                 .status = Status::kSkipped,
                                 .work = one.work,
                                 .units = one.units};
          const Record read = RecordFromJson(RecordToJson(record), probe.name);
          EXPECT_EQ(read.work.bytes, one.work.bytes);
          ++cases;
          if (!read.work.bytes && !read.work.ops) ++without_work;
        }
      }
    }
  }
  EXPECT_EQ(cases, 11 * 12 * 4);
  EXPECT_GT(without_work, 0) << "sizes that are rounded down to nothing";
}

}  // namespace
}  // namespace assay
