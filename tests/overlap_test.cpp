// A step of GEMMs and an all-reduce, without any MPI: ranks are threads, and clocks are scripts.
#include "collectives/overlap.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/collectives.h"
#include "collectives/library.h"
#include "kernels/backend.h"
#include "kernels/kernels.h"
#include "results/base/error.h"
#include "runner/cluster/worker.h"
#include "runner/core/module.h"
#include "runner/core/rank_cores.h"
#include "runner/core/threads.h"
#include "tests/fake.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr std::int64_t kBytes = 4096;
const Collective kAllReduce = {.bytes = kBytes, .in_place = true};

// Called by each operation of a rank, which are counted from 1, before it exchanges anything.
using Operations = std::function<void(ThreadRanks& ranks, int operation)>;

// Sums through the memory that the threads share.
class SumExchange : public Exchange {
 public:
  SumExchange(ThreadRanks& ranks, Operations operations, int spoiled)
      : ranks_(ranks), operations_(std::move(operations)), spoiled_(spoiled) {}
  void Align() override { ranks_.Barrier(); }
  void Run(const std::byte* input, std::byte* output) override {
    if (operations_) operations_(ranks_, ++operation_);
    World& world = ranks_.world();
    const float* own = reinterpret_cast<const float*>(input);
    world.arrays[ranks_.Index()].assign(own, own + kBytes / 4);
    ranks_.Barrier();
    std::vector<float> sums(kBytes / 4);
    for (const std::vector<float>& array : world.arrays) {
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += array[i];
    }
    if (operation_ == spoiled_) sums[7] += 1;
    ranks_.Barrier();
    std::copy(sums.begin(), sums.end(), reinterpret_cast<float*>(output));
  }

 private:
  ThreadRanks& ranks_;
  Operations operations_;
  int spoiled_;
  int operation_ = 0;
};

Prepared SumsOn(ThreadRanks& ranks, const Operations& operations, int spoiled = 0) {
  return PrepareTimedCollective(
      kAllReduce, ranks, std::make_unique<SumExchange>(ranks, operations, spoiled), /*seed=*/7,
      {.clock = [&ranks] { return Seconds(ranks.world().now[ranks.Index()]); }});
}

// An all-reduce that takes 5 s, 4 s on the other rank; its fifth operation takes 2 s more.
void TakeSeconds(ThreadRanks& ranks, int operation) {
  ranks.world().now[ranks.Index()] += 5 - ranks.Rank() + (operation == 5 ? 2 : 0);
}

// Makes GEMMs that follow a script on one rank.
GemmAt Scripted(const Script& script, FakeLog& log) {
  return
      [&log, script](const Params&, const GemmPlace&) { return FakeCase("gemm", {script}, log); };
}

// Everything below shares cores, since a test can't know how many there are.
std::unique_ptr<Workload> StepOn(ThreadRanks& ranks, const GemmAt& gemm, FakeLog& log,
                                 const Operations& operations, int spoiled = 0,
                                 const TrainingStep& step = {.gemms = 1, .comm_cores = 0}) {
  Prepared prepared = PrepareOverlap(
      step, ranks, gemm, [&] { return SumsOn(ranks, operations, spoiled); },
      /*seed=*/3, log.Clock());
  return std::get<std::unique_ptr<Workload>>(std::move(prepared));
}

TEST(Overlap, EachPartIsTheSlowestRanksAndAStepEndsWithTheLaterOfTheTwo) {
  Batch batch;
  OnRanks(2, [&](ThreadRanks& own) {
    FakeLog log;
    // Two GEMMs of 3 s (2 s on rank 0); beside the all-reduce, which is the fourth time, of 4.5 s.
    const double slow = own.Rank() == 1 ? 1.5 : 1;
    const Script script = {.iteration_s = {2 * slow, 2 * slow, 2 * slow, 3 * slow}};
    const auto step = StepOn(own, Scripted(script, log), log, TakeSeconds, /*spoiled=*/0,
                             {.gemms = 2, .comm_cores = 0});
    EXPECT_EQ(step->Settle().how.at("gemms"), Value(2));
    Batch of_rank = step->Run(1);
    if (own.Rank() == 0) batch = of_rank;
  });
  EXPECT_THAT(
      batch.phases,
      UnorderedElementsAre(Pair("compute_alone", Seconds(6)), Pair("compute", Seconds(9)),
                           Pair("communicate_alone", Seconds(5)), Pair("communicate", Seconds(7))));
  EXPECT_EQ(batch.time, Seconds(9));
  EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(7), Seconds(9)));
}

TEST(Overlap, StepsAddUp) {
  Batch batch;
  OnRanks(2, [&](ThreadRanks& own) {
    FakeLog log;
    const auto step = StepOn(own, Scripted({.iteration_s = {2.0}}, log), log, TakeSeconds);
    step->Settle();
    step->Run(1);  // has the operation that takes longer
    Batch of_rank = step->Run(3);
    if (own.Rank() == 0) batch = of_rank;
  });
  EXPECT_EQ(batch.time, Seconds(15));
  EXPECT_EQ(batch.phases.at("compute_alone"), Seconds(6));
  EXPECT_EQ(batch.phases.at("communicate_alone"), Seconds(15));
  EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(15), Seconds(12)));
}

TEST(Overlap, TheGemmsThatAreFoundTakeAsLongAsAskedOfTheSlowestRank) {
  for (const auto& [percent, gemms] : {std::pair(100, 10), std::pair(250, 25), std::pair(1, 1)}) {
    OnRanks(2, [&, percent = percent, gemms = gemms](ThreadRanks& own) {
      FakeLog log;
      const double each = own.Rank() == 1 ? 0.5 : 0.2;
      const auto step = StepOn(own, Scripted({.iteration_s = {each}}, log), log, TakeSeconds,
                               /*spoiled=*/0, {.compute_percent = percent, .comm_cores = 0});
      EXPECT_EQ(step->Settle().how.at("gemms"), Value(gemms)) << "on rank " << own.Rank();
    });
  }
}

// Records what goes on at once on a rank, as both sides see it themselves.
struct Meeting {
  std::atomic<bool> computes = false;
  std::atomic<bool> communicates = false;
  std::atomic<int> gemms_met = 0;
  std::atomic<int> operations_met = 0;

  // Two sides that should meet wait for each other, long enough for any machine.
  static bool Met(std::atomic<int>& own, const std::atomic<int>& other) {
    const int count = ++own;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (other < count && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return other >= count;
  }
  // A side that should be alone looks for the other for a while.
  static bool IsAlone(const std::atomic<bool>& other) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
    while (!other && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return !other;
  }
};

class MeetingGemm : public Workload {
 public:
  explicit MeetingGemm(Meeting& meeting) : meeting_(meeting) {}
  Batch Run(std::int64_t) override {
    meeting_.computes = true;
    // Two to settle the number of GEMMs; then, in each step, alone and beside the all-reduce.
    const bool together = ++runs_ > 2 && runs_ % 2 == 0;
    EXPECT_TRUE(together ? Meeting::Met(meeting_.gemms_met, meeting_.operations_met)
                         : Meeting::IsAlone(meeting_.communicates))
        << "run " << runs_;
    meeting_.computes = false;
    return {.time = Seconds(1)};
  }
  Checked Verify() override { return {.checked = 1}; }

 private:
  Meeting& meeting_;
  int runs_ = 0;
};

TEST(Overlap, PartsAreAloneWhereTheyShouldBeAndAtOnceInAStep) {
  OnRanks(2, [](ThreadRanks& own) {
    FakeLog log;
    Meeting meeting;
    const GemmAt gemm = [&](const Params&, const GemmPlace&) {
      return Case{.prepare = [&](std::uint64_t) -> Prepared {
        return std::make_unique<MeetingGemm>(meeting);
      }};
    };
    const auto step = StepOn(own, gemm, log, [&](ThreadRanks& ranks, int operation) {
      meeting.communicates = true;
      // Three to settle; then alone and beside the GEMMs in each step.
      const bool together = operation > 3 && operation % 2 == 1;
      EXPECT_TRUE(together ? Meeting::Met(meeting.operations_met, meeting.gemms_met)
                           : Meeting::IsAlone(meeting.computes))
          << "operation " << operation;
      meeting.communicates = false;
      TakeSeconds(ranks, operation);
    });
    step->Settle();
    for (int i = 0; i < 4; ++i) step->Run(1);
  });
}

TEST(Overlap, AWrongGemmOfAnyRankMakesTheStepWrong) {
  Checked checked;
  OnRanks(2, [&](ThreadRanks& own) {
    FakeLog log;
    const Script script = {.wrong_at_verify = own.Rank() == 1 ? 1 : 0};
    const auto step = StepOn(own, Scripted(script, log), log, TakeSeconds);
    step->Settle();
    step->Run(1);
    const Checked of_rank = step->Verify();
    if (own.Rank() == 0) checked = of_rank;
  });
  EXPECT_EQ(checked.wrong, 1);
  EXPECT_EQ(checked.what, "GEMM of rank 1: element (3, 5) is 2, should be 1");
  EXPECT_GE(checked.checked, 2 * 100 + 2 * kBytes / 4);
  EXPECT_EQ(checked.tolerance, 1e-3);
  EXPECT_EQ(checked.reference, "all-reduce exact, GEMM script");
}

TEST(Overlap, AWrongSumBesideTheGemmsMakesTheStepWrong) {
  // The fifth operation is the one that has GEMMs at its side.
  Checked checked;
  OnRanks(2, [&](ThreadRanks& own) {
    FakeLog log;
    const auto step = StepOn(own, Scripted({}, log), log, TakeSeconds, /*spoiled=*/5);
    step->Settle();
    step->Run(1);
    const Checked of_rank = step->Verify();
    if (own.Rank() == 0) checked = of_rank;
  });
  EXPECT_GE(checked.wrong, 2);
  EXPECT_THAT(checked.what.value_or(""), HasSubstr("element 7"));
}

TEST(Overlap, AGemmThatFailsIsAnErrorOfTheStep) {
  OnRanks(2, [&](ThreadRanks& own) {
    FakeLog log;
    const auto step = StepOn(own, Scripted({.throws_at_run = 4}, log), log, TakeSeconds);
    step->Settle();
    EXPECT_THROW(step->Run(1), Error);
  });
}

TEST(Overlap, AGemmThatCanNotRunIsSkippedWithItsReason) {
  OnRanks(2, [&](ThreadRanks& own) {
    FakeLog log;
    const Script script = {.skipped = {"there is no bf16 here", "use f32"}};
    const Prepared prepared = PrepareOverlap(
        {.comm_cores = 0}, own, Scripted(script, log), [&] { return SumsOn(own, TakeSeconds); }, 3,
        log.Clock());
    ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
    EXPECT_EQ(std::get<Skipped>(prepared).remedy, "use f32");
  });
}

TEST(Overlap, CommunicationThatLeavesNoCoreForTheGemmsIsSkippedOnEveryRank) {
  OnRanks(2, [&](ThreadRanks& own) {
    FakeLog log;
    const Prepared prepared = PrepareOverlap(
        {.comm_cores = 4096}, own, Scripted({}, log),
        [&]() -> Prepared {
          ADD_FAILURE() << "a collective was prepared";
          return Skipped{};
        },
        3);
    ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
    EXPECT_THAT(std::get<Skipped>(prepared).remedy, HasSubstr("comm_cores="));
  });
}

// The CPUs that the calling thread may use.
std::vector<int> Allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

TEST(Overlap, CommunicationAndGemmsAreOnCoresOfTheirOwnUnlessTheyShareThem) {
  const std::vector<int> cores = UsableCores();
  if (cores.size() < 2) GTEST_SKIP() << "needs two cores";
  const std::vector<int> others(cores.begin() + 1, cores.end());
  for (const std::int64_t budget : {1, 0}) {
    OnRanks(1, [&](ThreadRanks& own) {
      FakeLog log;
      const std::vector<int> before = Allowed();
      std::vector<int> told;
      std::vector<int> computes_on;
      std::vector<int> communicates_on;
      const GemmAt gemm = [&](const Params&, const GemmPlace& place) {
        told = place.cores;
        Case one = FakeCase("gemm", {Script{}}, log);
        one.prepare = [&, prepare = one.prepare](std::uint64_t seed) {
          computes_on = Allowed();
          return prepare(seed);
        };
        return one;
      };
      const auto collective = [&] {
        communicates_on = Allowed();
        return SumsOn(own, TakeSeconds);
      };
      {
        const Prepared prepared =
            PrepareOverlap({.comm_cores = budget}, own, gemm, collective, 3, log.Clock());
        const Facts facts = std::get<0>(prepared)->Describe();
        EXPECT_EQ(facts.at("shared_cores"), Fact(budget == 0));
      }
      EXPECT_EQ(communicates_on, budget == 0 ? cores : std::vector<int>{cores[0]});
      EXPECT_EQ(computes_on, budget == 0 ? cores : others);
      EXPECT_EQ(told, computes_on);
      EXPECT_EQ(Allowed(), before) << "the thread that communicated may roam again";
    });
  }
}

TEST(Overlap, RanksOfANodeShareOutTheCoresThatAllOfThemMayUse) {
  const std::vector<int>& cores = UsableCores();
  for (const int per_node : {1, 2, 3}) {
    FakeRanks::Run(
        6,
        [&](Ranks& own) {
          const std::vector<std::vector<int>> all = CoresByRank(own);
          ASSERT_EQ(all.size(), 6u);
          for (int node = 0; node < 6 / per_node; ++node) {
            std::multiset<int> of_node;
            for (int rank = node * per_node; rank < (node + 1) * per_node; ++rank) {
              const std::vector<int>& share = all[static_cast<std::size_t>(rank)];
              ASSERT_FALSE(share.empty());
              of_node.insert(share.begin(), share.end());
            }
            const bool enough = cores.size() >= static_cast<std::size_t>(per_node);
            if (enough) {
              EXPECT_EQ(of_node, std::multiset<int>(cores.begin(), cores.end()));
            } else {
              EXPECT_EQ(of_node.size(), static_cast<std::size_t>(per_node));
            }
          }
        },
        per_node);
  }
}

// A library whose ranks are threads.
class SumLibrary : public Library {
 public:
  std::string Name() const override { return "threads"; }
  Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t) override {
    EXPECT_EQ(collective, kAllReduce);
    return SumsOn(dynamic_cast<ThreadRanks&>(ranks), TakeSeconds);
  }
};

TEST(Job, AStepGoesThroughTheLinesOfAJobWithItsPartsAndItsWork) {
  OnRanks(2, [](ThreadRanks& own) {
    FakeLog log;
    Params asked_gemm;
    const GemmAt gemm = [&](const Params& params, const GemmPlace&) {
      asked_gemm = params;
      return FakeCase("gemm", {Script{.facts = {{"library", "none"}}}}, log);
    };
    const Params shape = {
        {"dtype", "f32"}, {"m", std::int64_t{2}}, {"n", std::int64_t{3}}, {"k", std::int64_t{5}}};
    const TrainingStep step = {
        .gemm = shape, .comm_cores = 0, .work = {.flops = 120, .bytes = kBytes}};
    SumLibrary library;
    const Member member = {.own_case = [&](const Record& asked) {
      Case one = {.probe = asked.probe};
      one.across.emplace().join = [&, asked](Ranks& together, std::uint64_t seed,
                                             const Params& how) {
        const auto alone = [&] { return library.Prepare(kAllReduce, together, seed); };
        if (asked.probe != "overlap") return alone();
        TrainingStep known = step;
        if (how.contains("gemms")) known.gemms = IntegerOf(how, "gemms");
        return PrepareOverlap(known, together, gemm, alone, seed);
      };
      return one;
    }};
    if (own.Rank() != 0) {
      Worker worker(own, member);
      Follow(worker);
      return;
    }
    // The job ends, and its heart beats no more, before its ranks do.
    {
      const std::shared_ptr<Job> job = MakeJob(own, member);
      EXPECT_GE(FewestCores(*job), 1);
      AskedCase asked = {.seed = 1, .record = {.probe = "overlap", .backend = "threads"}};
      Params settled;
      const Prepared prepared = PrepareOn(job, asked, {}, /*groups=*/0, &settled);
      ASSERT_TRUE(std::holds_alternative<std::unique_ptr<Workload>>(prepared));
      Workload& workload = *std::get<0>(prepared);
      EXPECT_EQ(asked_gemm, shape);
      const std::int64_t gemms = IntegerOf(settled, "gemms");
      EXPECT_GE(gemms, 1);
      EXPECT_EQ(workload.OneIteration()->flops, 120 * gemms);
      EXPECT_EQ(workload.OneIteration()->bytes, kBytes);
      const Batch batch = workload.Run(1);
      EXPECT_EQ(batch.phases.size(), 4u);
      EXPECT_EQ(batch.phases.at("communicate_alone"), Seconds(5));
      EXPECT_EQ(batch.per_unit.size(), 2u);
      EXPECT_EQ(workload.Verify().wrong, 0);
      EXPECT_EQ(workload.Describe().at("gemms"), Fact(gemms));
      EXPECT_EQ(workload.Describe().at("gemm.library"), Fact(std::string("none")));
      EXPECT_EQ(workload.Describe().at("shared_cores"), Fact(true));

      // A number that is given is taken, and what has nothing to find out says nothing.
      asked.how = {{"gemms", std::int64_t{9}}};
      const Prepared again = PrepareOn(job, asked, {}, 0, &settled);
      EXPECT_EQ(std::get<0>(again)->OneIteration()->flops, 120 * 9);
      // More of them than can be counted is an error, and the ranks stay in step.
      asked.how = {{"gemms", std::int64_t{1} << 60}};
      EXPECT_THAT([&] { PrepareOn(job, asked, {}, 0, &settled); },
                  ThrowsMessage<Error>(HasSubstr("too much work to count")));
      asked.record.probe = "all_reduce";
      settled.clear();
      const Prepared plain = PrepareOn(job, asked, {}, 0, &settled);
      EXPECT_TRUE(settled.empty());
      EXPECT_EQ(std::get<0>(plain)->OneIteration(), std::nullopt);
    }
    own.Broadcast("quit");
  });
}

// A backend that has two GPUs and only tells what it is asked for.
class TwoGpus : public Backend {
 public:
  std::string Name() const override { return "fake"; }
  bool Has(const Op& op) const override { return std::holds_alternative<Gemm>(op); }
  std::vector<Device> Devices() override {
    return {{.name = "cuda:0", .kind = "gpu", .index = 0},
            {.name = "cuda:1", .kind = "gpu", .index = 1}};
  }
  Prepared Prepare(const Op& op, const Device& device, std::uint64_t) override {
    return Skipped{.reason = fmt::format("{} rows on {}", std::get<Gemm>(op).m, device.name)};
  }
};

TEST(GemmBeside, RunsOnTheCpuOrOnTheGpuThatItIsToldOf) {
  const Params shape = {{"dtype", "f32"}, {"m", 32}, {"n", 16}, {"k", 16}};
  constexpr Module kCuda = {.backends = [] {
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(std::make_unique<TwoGpus>());
    return backends;
  }};
  const Modules modules({{.name = "cuda", .module = &kCuda}});
  const GemmAt gemm = kernels::GemmBeside(modules);
  const Case on_gpu = gemm(shape, {.gpu = 1});
  EXPECT_EQ(std::get<Skipped>(on_gpu.prepare(1)).reason, "32 rows on cuda:1");
  EXPECT_EQ(on_gpu.device.kind, "gpu") << "whatever its backend is called";
  const Case on_cpu = gemm(shape, {});
  EXPECT_EQ(on_cpu.device.kind, "cpu");
  EXPECT_EQ(on_cpu.work.flops, 2 * 32 * 16 * 16);
  EXPECT_EQ(on_cpu.prepare(1).index(), 0U);
}

TEST(GemmBeside, WithoutTheModuleItSaysWhyThereIsNone) {
  const Modules modules({{.name = "cuda", .reason = "it was not built", .remedy = "build it"}});
  const Params shape = {{"dtype", "f32"}, {"m", 32}, {"n", 16}, {"k", 16}};
  const Prepared prepared = kernels::GemmBeside(modules)(shape, {.gpu = 0}).prepare(1);
  EXPECT_THAT(std::get<Skipped>(prepared).reason, HasSubstr("it was not built"));
  EXPECT_EQ(std::get<Skipped>(prepared).remedy, "build it");
}

// The probe's own GEMM: counts as many FLOPs as it is asked for.
Case CountedGemm(const Params& params, const GemmPlace&) {
  return {.work = {.flops = 2 * IntegerOf(params, "m") * IntegerOf(params, "n") *
                            IntegerOf(params, "k")}};
}

Probe OverlapProbe(std::vector<std::string> backends = {}) {
  assay::Setup setup;
  setup.gemm = CountedGemm;
  setup.backends = std::move(backends);
  for (const Probe& probe : collectives::Probes(setup)) {
    if (probe.name == "overlap") return probe;
  }
  throw Error("there is no probe overlap");
}

TEST(OverlapProbe, CountsTheGemmsOfAllRanksAndTheBytesOfTheBucket) {
  const Probe probe = OverlapProbe({"native"});
  Params params = probe.defaults;
  params["ranks"] = std::int64_t{4};
  const std::vector<Case> cases = probe.unfold(params);
  ASSERT_EQ(cases.size(), 1u);
  EXPECT_EQ(cases[0].work.flops, 4 * 2LL * 256 * 1024 * 1024);
  EXPECT_EQ(cases[0].work.bytes, 25 << 20);
  EXPECT_EQ(cases[0].units.size(), 4u);
}

TEST(OverlapProbe, EachLibraryHasTheBudgetThatItKnows) {
  const Probe probe = OverlapProbe({"native", "nccl"});
  Params params = probe.defaults;
  params["channels"] = std::int64_t{8};
  const std::vector<Case> cases = probe.unfold(params);
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_TRUE(cases[0].params.contains("comm_cores"));
  EXPECT_FALSE(cases[0].params.contains("channels"));
  EXPECT_EQ(cases[1].params.at("channels"), Value(8));
  EXPECT_FALSE(cases[1].params.contains("comm_cores"));
  EXPECT_EQ(cases[0].device.kind, "cpu");
  EXPECT_EQ(cases[1].device.kind, "gpu");
}

TEST(OverlapProbe, RefusesWhatMakesNoSenseByTheNameOfTheParam) {
  const Probe probe = OverlapProbe();
  const std::pair<const char*, Value> senseless[] = {
      {"ranks", std::int64_t{1}},           {"bytes", std::int64_t{6}},
      {"dtype", std::string("i32")},        {"gemms", std::int64_t{-1}},
      {"compute_percent", std::int64_t{0}}, {"comm_cores", std::int64_t{-1}},
      {"channels", std::int64_t{65}},       {"buffers", std::string("own")}};
  for (const auto& [name, value] : senseless) {
    Params params = probe.defaults;
    params[name] = value;
    try {
      probe.unfold(params);
      ADD_FAILURE() << name << " = " << ToText(value) << " was taken";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(name)) << ToText(value);
    }
  }
}

}  // namespace
}  // namespace assay
