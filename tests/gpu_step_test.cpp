// A step of GEMMs by cuBLASLt and an all-reduce by NCCL on GPUs, by both modules' own sources over
// one strict stand-in. No time here is anything but the stand-in's arithmetic; nothing slows
// anything there that runs at the same time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "collectives/library.h"
#include "collectives/overlap.h"
#include "kernels/cuda_gemm.h"
#include "results/base/error.h"
#include "runner/cluster/worker.h"
#include "runner/core/cuda.h"
#include "runner/core/module.h"
#include "standin/fixture.h"
#include "standin/standin.h"
#include "tests/thread_ranks.h"

extern "C" const assay::Module* assay_module();

namespace assay {
namespace {

using testing::AnyOf;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kBytes = 1 << 20;
const Collective kAllReduce = {.bytes = kBytes, .in_place = true};
// The time that the stand-in takes for them.
constexpr double kCommunicate_s = standin::kLaunch_s + kBytes / standin::kBytesPerSecond;
constexpr double kGemm_s = standin::kLaunch_s + 2.0 * 64 * 32 * 48 / standin::kFlopsPerSecond;
constexpr double kNear_s = 1e-10;

// A GEMM that looks at how it is put beside the all-reduce.
struct Watch {
  std::vector<std::string> calls = {};
  int looks = 0;
  std::vector<int> launches = {};  // of NCCL's from Hold to Release, by all ranks
  bool waits = false;              // for what it holds itself
};

class Watched : public Workload, public Streamed {
 public:
  Watched(std::unique_ptr<Workload> own, Watch& watch)
      : own_(std::move(own)), streamed_(*own_->AsStreamed()), watch_(watch) {}
  Batch Run(std::int64_t iterations) override { return own_->Run(iterations); }
  Checked Verify() override { return own_->Verify(); }
  Facts Describe() const override { return own_->Describe(); }
  Streamed* AsStreamed() override { return this; }

  void* StreamHandle() const override { return streamed_.StreamHandle(); }
  void Hold() override {
    watch_.calls.emplace_back("hold");
    streamed_.Hold();
    held_ = true;
    collectives_ = standin::Collectives();
    launches_ = standin::Calls("ncclAllReduce");
  }
  void Put(std::int64_t iterations) override {
    if (iterations == 0) return;
    watch_.calls.push_back("put " + std::to_string(iterations));
    streamed_.Put(iterations);
    Look();
  }
  void Release() override {
    Look();
    if (watch_.waits) cudaStreamSynchronize(static_cast<cudaStream_t>(StreamHandle()));
    watch_.calls.emplace_back("release");
    watch_.launches.push_back(standin::Calls("ncclAllReduce") - launches_);
    held_ = false;
    streamed_.Release();
  }
  void Finish() override { streamed_.Finish(); }

 private:
  // Whatever can go on does so when a stream is looked at.
  void Look() {
    if (!held_) return;
    ++watch_.looks;
    EXPECT_EQ(cudaStreamQuery(static_cast<cudaStream_t>(StreamHandle())), cudaErrorNotReady);
    EXPECT_EQ(standin::Collectives(), collectives_) << "ranks met before all was there";
  }

  std::unique_ptr<Workload> own_;
  Streamed& streamed_;
  Watch& watch_;
  bool held_ = false;
  int collectives_ = 0;
  int launches_ = 0;
};

// Makes products by cuBLASLt on the GPU of the place.
GemmAt Products(Watch* watch = nullptr) {
  return [watch](const Params& params, const GemmPlace& place) {
    EXPECT_THAT(place.cores, IsEmpty());
    const Gemm gemm = {.dtype = Dtype::kF32,
                       .m = IntegerOf(params, "m"),
                       .n = IntegerOf(params, "n"),
                       .k = IntegerOf(params, "k")};
    return Case{.prepare = [gemm, gpu = place.gpu.value(), watch](std::uint64_t seed) -> Prepared {
      cuda::Check(cudaSetDevice(gpu));
      cuda::Tunings tunings;
      Prepared made = cuda::PrepareGemm(gemm, cuda::Gpu::At(gpu), tunings, seed);
      if (watch == nullptr) return made;
      return std::make_unique<Watched>(std::get<0>(std::move(made)), *watch);
    }};
  };
}

const Params kShape = {{"dtype", std::string("f32")},
                       {"m", std::int64_t{64}},
                       {"n", std::int64_t{32}},
                       {"k", std::int64_t{48}}};

// The outcome of a step on rank 0.
struct Outcome {
  std::int64_t gemms = 0;
  Batch batch = {};
  Checked checked = {};
  Facts facts = {};
  std::string error = {};
};

struct Asked {
  std::int64_t gemms = 3;
  std::int64_t compute_percent = 100;
  Collective collective = kAllReduce;
  std::map<int, Watch>* watches = nullptr;  // by rank
};

Outcome StepOn(int ranks, const Asked& asked = {}) {
  Outcome outcome;
  std::mutex mutex;
  if (asked.watches != nullptr) {
    for (int rank = 0; rank < ranks; ++rank) (*asked.watches)[rank].calls.clear();
  }
  OnRanks(ranks, [&](ThreadRanks& own) {
    try {
      const auto libraries = assay_module()->libraries();
      Watch* const watch = asked.watches == nullptr ? nullptr : &asked.watches->at(own.Rank());
      Prepared prepared = PrepareOverlap(
          {.gemm = kShape,
           .gemms = asked.gemms,
           .compute_percent = asked.compute_percent,
           .on_gpus = true},
          own, Products(watch),
          [&] { return libraries[0]->Prepare(asked.collective, own, /*seed=*/5); }, /*seed=*/7);
      Workload& step = *std::get<0>(prepared);
      const std::int64_t gemms = IntegerOf(step.Settle().how, "gemms");
      if (watch != nullptr) watch->calls.clear();
      const Batch batch = step.Run(1);
      const Checked checked = step.Verify();
      const Facts facts = step.Describe();
      if (own.Rank() != 0) return;
      outcome.gemms = gemms;
      outcome.batch = batch;
      outcome.checked = checked;
      outcome.facts = facts;
    } catch (const Error& error) {
      const std::scoped_lock lock(mutex);
      if (outcome.error.empty()) outcome.error = error.what();
    }
  });
  return outcome;
}

class GpuStep : public standin::Fixture {};

TEST_F(GpuStep, BothTakeAtOnceWhatTheyTakeAloneAndAStepTheLongerOfTheTwo) {
  for (const std::int64_t gemms : {1, 2, 5, 200}) {
    const Outcome outcome = StepOn(2, {.gemms = gemms});
    ASSERT_EQ(outcome.error, "");
    const double compute_s = static_cast<double>(gemms) * kGemm_s;
    const auto phase = [&](const char* name) { return outcome.batch.phases.at(name).count(); };
    EXPECT_THAT(phase("compute_alone"), DoubleNear(compute_s, kNear_s));
    EXPECT_THAT(phase("compute"), DoubleNear(compute_s, kNear_s));
    EXPECT_THAT(phase("communicate_alone"), DoubleNear(kCommunicate_s, kNear_s));
    EXPECT_THAT(phase("communicate"), DoubleNear(kCommunicate_s, kNear_s));
    EXPECT_THAT(outcome.batch.time.count(),
                DoubleNear(std::max(compute_s, kCommunicate_s), kNear_s));
    EXPECT_EQ(outcome.checked.wrong, 0);
    EXPECT_GE(outcome.checked.checked, 2 * kBytes / 4);
    EXPECT_EQ(outcome.facts.at("gemms"), Fact(gemms));
    EXPECT_THAT(std::get<std::string>(outcome.facts.at("gemm.library")), HasSubstr("cuBLASLt"));
    EXPECT_FALSE(outcome.facts.contains("shared_cores"));
  }
}

TEST_F(GpuStep, ASlowGpuIsTheRanksThatHasIt) {
  standin::Reset({.slowness = {{1, 2.0}}});
  const Outcome outcome = StepOn(3, {.gemms = 100});
  ASSERT_EQ(outcome.error, "");
  const double compute_s = 100 * kGemm_s;
  EXPECT_THAT(outcome.batch.phases.at("compute").count(), DoubleNear(2 * compute_s, kNear_s));
  EXPECT_THAT(outcome.batch.phases.at("communicate").count(),
              DoubleNear(2 * kCommunicate_s, kNear_s));
  std::vector<double> by_rank;
  for (const Seconds time : outcome.batch.per_unit) by_rank.push_back(time.count());
  EXPECT_THAT(by_rank,
              ElementsAre(DoubleNear(compute_s, kNear_s), DoubleNear(2 * compute_s, kNear_s),
                          DoubleNear(compute_s, kNear_s)));
}

TEST_F(GpuStep, AsManyGemmsAreFoundAsLastAsLongAsTheAllReduce) {
  const Outcome outcome =
      StepOn(2, {.gemms = 0, .collective = {.bytes = 16 * kBytes, .in_place = true}});
  ASSERT_EQ(outcome.error, "");
  const double communicate_s = standin::kLaunch_s + 16 * kBytes / standin::kBytesPerSecond;
  EXPECT_EQ(outcome.gemms, std::llround(communicate_s / kGemm_s));
}

// The first GEMMs and the all-reduce are all queued before anything begins on either stream.
TEST_F(GpuStep, NothingBeginsBeforeAllIsThere) {
  for (const std::int64_t gemms : {1, 64, 100}) {
    std::map<int, Watch> watches = {{0, {}}, {1, {}}};
    const Outcome outcome = StepOn(2, {.gemms = gemms, .watches = &watches});
    ASSERT_EQ(outcome.error, "");
    for (const auto& [rank, watch] : watches) {
      std::vector<std::string> alone = {
          "hold", "put " + std::to_string(std::min<std::int64_t>(64, gemms)), "release"};
      if (gemms > 64) alone.push_back("put " + std::to_string(gemms - 64));
      std::vector<std::string> expected =
          watch.calls[1] == "release" ? std::vector<std::string>{"hold", "release"} : alone;
      const std::vector<std::string> first = expected;
      const std::vector<std::string> second =
          first == alone ? std::vector<std::string>{"hold", "release"} : alone;
      expected.insert(expected.end(), second.begin(), second.end());
      expected.insert(expected.end(), alone.begin(), alone.end());  // both at once
      EXPECT_EQ(watch.calls, expected) << "on rank " << rank;
      EXPECT_GE(watch.looks, 10);
    }
  }
}

// The ranks' meeting is one, too.
TEST_F(GpuStep, TheAllReduceIsQueuedBeforeAnythingBegins) {
  std::map<int, Watch> watches = {{0, {}}};
  ASSERT_EQ(StepOn(1, {.watches = &watches}).error, "");
  const std::vector<int>& launches = watches.at(0).launches;
  ASSERT_GE(launches.size(), 3U);
  const std::vector<int> last(launches.end() - 3, launches.end());
  EXPECT_THAT(last, AnyOf(ElementsAre(1, 2, 2), ElementsAre(2, 1, 2)));
}

TEST_F(GpuStep, WhatBeganTooEarlyIsAnError) {
  std::map<int, Watch> watches = {{0, {.waits = true}}, {1, {.waits = true}}};
  EXPECT_THAT(StepOn(2, {.watches = &watches}).error, HasSubstr("they can't be timed at once"));
}

TEST_F(GpuStep, AWrongSumBesideTheGemmsIsFound) {
  ASSERT_EQ(StepOn(2).error, "");
  const int last = standin::Collectives();  // the one that had GEMMs at its side
  standin::Reset({.spoil_operation = static_cast<std::size_t>(last)});
  const Outcome outcome = StepOn(2);
  EXPECT_EQ(outcome.checked.wrong, 1);
  EXPECT_THAT(outcome.checked.what.value_or(""), HasSubstr("rank 0, element 0"));
}

TEST_F(GpuStep, AWrongProductBesideTheAllReduceIsFound) {
  standin::Reset({.wrong_algorithm = 0});
  const Outcome outcome = StepOn(2);
  ASSERT_EQ(outcome.error, "");
  EXPECT_GE(outcome.checked.wrong, 2);
  EXPECT_THAT(outcome.checked.what.value_or(""), HasSubstr("GEMM of rank 0"));
}

TEST_F(GpuStep, ACollectiveThatFailsBesideGemmsEndsInASentence) {
  ASSERT_EQ(StepOn(2).error, "");
  const int last = standin::Collectives();
  standin::Reset({.fail_after = last - 1});
  EXPECT_THAT(StepOn(2).error, HasSubstr("NCCL: rank"));
}

TEST_F(GpuStep, ABudgetOfChannelsIsTheCommunicators) {
  Asked asked;
  asked.collective.channels = 1;
  const Outcome outcome = StepOn(2, asked);
  ASSERT_EQ(outcome.error, "");
  EXPECT_THAT(
      outcome.batch.phases.at("communicate").count(),
      DoubleNear(standin::kLaunch_s + standin::kChannels * kBytes / standin::kBytesPerSecond,
                 kNear_s));
  EXPECT_EQ(outcome.facts.at("max_ctas"), Fact(std::int64_t{1}));
  EXPECT_FALSE(StepOn(2).facts.contains("max_ctas"));
}

TEST_F(GpuStep, ACommunicatorServesAllCasesOfOneBudget) {
  OnRanks(2, [](ThreadRanks& own) {
    const auto libraries = assay_module()->libraries();
    for (const int channels : {2, 2, 3, 0, 0}) {
      Collective collective = kAllReduce;
      collective.channels = channels;
      std::get<0>(libraries[0]->Prepare(collective, own, /*seed=*/1))->Run(1);
    }
  });
  EXPECT_EQ(standin::Calls("ncclCommInitRankConfig"), 2 * 3);
}

TEST_F(GpuStep, ABudgetThatTheEnvironmentOverrulesIsRefused) {
  setenv("NCCL_MAX_CTAS", "4", 1);
  OnRanks(2, [](ThreadRanks& own) {
    const auto libraries = assay_module()->libraries();
    Collective collective = kAllReduce;
    collective.channels = 2;
    const Prepared refused = libraries[0]->Prepare(collective, own, /*seed=*/1);
    EXPECT_THAT(std::get<Skipped>(refused).remedy, HasSubstr("unset NCCL_MAX_CTAS"));
    collective.channels = 0;
    EXPECT_EQ(libraries[0]->Prepare(collective, own, /*seed=*/1).index(), 0U);
  });
  unsetenv("NCCL_MAX_CTAS");
}

// The way of `assay run overlap`: rank 0 asks, and all do their part.
TEST_F(GpuStep, GoesThroughTheLinesOfAJob) {
  OnRanks(2, [](ThreadRanks& own) {
    const auto libraries = assay_module()->libraries();
    const TrainingStep step = {
        .gemm = kShape, .gemms = 4, .on_gpus = true, .work = {.flops = 100, .bytes = kBytes}};
    Collective collective = kAllReduce;
    collective.channels = 2;
    const Member member = {.own_case = [&](const Record&) {
      Case one;
      one.across.emplace().join = [&](Ranks& together, std::uint64_t seed, const Params&) {
        return PrepareOverlap(
            step, together, Products(),
            [&] { return libraries[0]->Prepare(collective, together, seed); }, seed);
      };
      return one;
    }};
    if (own.Rank() != 0) {
      Worker worker(own, member);
      Follow(worker);
      return;
    }
    {
      const std::shared_ptr<Job> job = MakeJob(own, member);
      Params settled;
      const Prepared prepared = PrepareOn(job, {.record = {.probe = "overlap", .backend = "nccl"}},
                                          {}, /*groups=*/0, &settled);
      ASSERT_EQ(prepared.index(), 0U);
      Workload& workload = *std::get<0>(prepared);
      const Batch batch = workload.Run(2);
      EXPECT_THAT(batch.phases.at("compute").count(), DoubleNear(8 * kGemm_s, 2 * kNear_s));
      EXPECT_EQ(workload.Verify().wrong, 0);
      EXPECT_EQ(workload.Describe().at("max_ctas"), Fact(std::int64_t{2}));
    }
    own.Broadcast("quit");
  });
}

}  // namespace
}  // namespace assay
