#include "kernels/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cpu_native.h"
#include "kernels/cpu_peak.h"
#include "kernels/op.h"
#include "results/error.h"

namespace assay {
namespace {

using ::testing::HasSubstr;

Probe ProbeNamed(const std::string& name, const Setup& setup = {}) {
  for (Probe& probe : kernels::Probes(setup)) {
    if (probe.name == name) return probe;
  }
  throw Error("no probe " + name);
}

// What unfolding these params is refused with; empty where it isn't.
std::string Refusal(const std::string& probe, const Params& params) {
  try {
    ProbeNamed(probe).unfold(params);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Op, EveryDtypeHasItsOwnName) {
  for (const char* name : {"f64", "f32", "tf32", "bf16", "f16", "fp8_e4m3", "fp8_e5m2", "int8"}) {
    ASSERT_TRUE(DtypeFrom(name)) << name;
    EXPECT_EQ(ToText(*DtypeFrom(name)), name);
  }
  EXPECT_FALSE(DtypeFrom("float"));
}

TEST(Op, GemmCountsTwoOperationsPerProductAndEachMatrixOnce) {
  const Work work = WorkOf(Gemm{.dtype = Dtype::kBf16, .m = 3, .n = 5, .k = 7, .batch = 2});
  EXPECT_EQ(work.flops, 2 * 3 * 5 * 7 * 2);
  EXPECT_EQ(work.bytes_min, 2 * 2 * (3 * 7 + 7 * 5 + 3 * 5));
  EXPECT_EQ(work.formula, "gemm/2mnk");
}

TEST(Op, AnInt8GemmWritesInt32) {
  EXPECT_EQ(WorkOf(Gemm{.dtype = Dtype::kInt8, .m = 3, .n = 5, .k = 7}).bytes_min,
            3 * 7 + 7 * 5 + 4 * 3 * 5);
}

TEST(Op, WorkThatDoesNotFitIsRefused) {
  const std::int64_t big = std::int64_t{1} << 31;
  EXPECT_THROW(WorkOf(Gemm{.m = big, .n = big, .k = big}), Error);
}

TEST(Op, MemoryCountsStreamsAsStreamDoes) {
  const auto bytes = [](const char* pattern) {
    return WorkOf(Memory{.pattern = pattern, .bytes = 4096}).bytes;
  };
  EXPECT_EQ(bytes("read"), 4096);
  EXPECT_EQ(bytes("write"), 4096);
  EXPECT_EQ(bytes("copy"), 2 * 4096);
  EXPECT_EQ(bytes("triad"), 3 * 4096);
  EXPECT_EQ(WorkOf(Memory{.pattern = "copy", .bytes = 4096}).formula, "memory/copy2n");
}

// Each mask by hand: three queries, five keys.
std::int64_t PairsOf(const std::string& mask, std::int64_t queries, std::int64_t keys,
                     std::int64_t window = 0) {
  const Attention op = {.batch = 1,
                        .heads_q = 1,
                        .heads_kv = 1,
                        .seq_q = queries,
                        .seq_kv = keys,
                        .head_dim_qk = 3,
                        .head_dim_v = 2,
                        .mask = mask,
                        .window = window};
  EXPECT_EQ(*WorkOf(op).flops % (2 * (3 + 2)), 0);
  return *WorkOf(op).flops / (2 * (3 + 2));
}

TEST(Op, AttentionCountsUnmaskedPairsExactly) {
  EXPECT_EQ(PairsOf("full", 3, 5), 15);
  EXPECT_EQ(PairsOf("causal_top_left", 3, 5), 1 + 2 + 3);
  EXPECT_EQ(PairsOf("causal_bottom_right", 3, 5), 3 + 4 + 5);
  EXPECT_EQ(PairsOf("window", 3, 5, 2), 2 + 2 + 2);
  EXPECT_EQ(PairsOf("window", 5, 5, 2), 1 + 2 + 2 + 2 + 2);
  // More queries than keys: the first ones see nothing at the bottom right, all at the top left.
  EXPECT_EQ(PairsOf("causal_bottom_right", 5, 3), 0 + 0 + 1 + 2 + 3);
  EXPECT_EQ(PairsOf("causal_top_left", 5, 3), 1 + 2 + 3 + 3 + 3);
  EXPECT_EQ(PairsOf("window", 5, 3, 2), 0 + 0 + 1 + 2 + 2);
  // The square: n (n + 1) / 2.
  EXPECT_EQ(PairsOf("causal_top_left", 4096, 4096), 4096 * 4097 / 2);
  EXPECT_EQ(PairsOf("causal_bottom_right", 4096, 4096), 4096 * 4097 / 2);
}

TEST(Op, AttentionCountsQueryHeadsInWorkAndKeyHeadsInBytes) {
  const Work work = WorkOf(Attention{.dtype = Dtype::kBf16,
                                     .batch = 2,
                                     .heads_q = 8,
                                     .heads_kv = 2,
                                     .seq_q = 4,
                                     .seq_kv = 16,
                                     .head_dim_qk = 192,
                                     .head_dim_v = 128});
  EXPECT_EQ(work.flops, 2 * 2 * 8 * (4 * 16) * (192 + 128));
  EXPECT_EQ(work.bytes_min, 2 * (2 * 8 * 4 * 192 + 2 * 2 * 16 * (192 + 128) + 2 * 8 * 4 * 128));
}

TEST(Kernels, EveryDefaultUnfoldsIntoACase) {
  for (const Probe& probe : kernels::Probes({})) {
    const std::vector<Case> cases = probe.unfold({});
    ASSERT_FALSE(cases.empty()) << probe.name;
    for (const Case& which : cases) {
      EXPECT_EQ(which.probe, probe.name);
      for (const auto& [name, value] : probe.defaults) {
        EXPECT_TRUE(which.params.contains(name)) << probe.name << ' ' << name;
      }
      EXPECT_EQ(which.params.size(), probe.defaults.size()) << probe.name;
    }
  }
}

TEST(Kernels, AWrongParamIsNamedInTheRefusal) {
  EXPECT_THAT(Refusal("gemm", {{"m", 0}}), HasSubstr("m is 0"));
  EXPECT_THAT(Refusal("gemm", {{"k", std::int64_t{1} << 40}}), HasSubstr("k is "));
  EXPECT_THAT(Refusal("gemm", {{"dtype", "float"}}), HasSubstr("dtype is 'float'"));
  EXPECT_THAT(Refusal("gemm", {{"cache", "hot"}}), HasSubstr("cache is 'hot'"));
  EXPECT_THAT(Refusal("gemm", {{"acc", "f16"}}), HasSubstr("acc is 'f16'"));
  EXPECT_THAT(Refusal("gemm", {{"m", "many"}}), HasSubstr("'m'"));
  EXPECT_THAT(Refusal("gemm", {{"size", 4}}), HasSubstr("no param 'size'"));
  EXPECT_THAT(Refusal("memory", {{"pattern", "scan"}}), HasSubstr("pattern is 'scan'"));
  EXPECT_THAT(Refusal("memory", {{"bytes", 100}}), HasSubstr("bytes is 100"));
  EXPECT_THAT(Refusal("memory", {{"bytes", -4096}}), HasSubstr("bytes is -4096"));
  EXPECT_THAT(Refusal("peak", {{"scope", "rack"}}), HasSubstr("scope is 'rack'"));
  EXPECT_THAT(Refusal("attention", {{"heads_kv", 5}}), HasSubstr("heads_q is 32"));
  EXPECT_THAT(Refusal("attention", {{"mask", "window"}}), HasSubstr("window is 0"));
  EXPECT_THAT(Refusal("attention", {{"window", 8}}), HasSubstr("window is 8"));
}

TEST(Kernels, TheAccumulatorOfInt8IsWrittenOut) {
  for (const Case& which : ProbeNamed("gemm").unfold({{"dtype", "int8"}})) {
    EXPECT_EQ(StringOf(which.params, "acc"), "s32");
  }
}

TEST(Kernels, WhatNoChosenBackendRunsIsOneCaseWithItsReason) {
  const std::vector<Case> cases =
      ProbeNamed("peak", {.backends = {"mpi"}}).unfold({{"dtype", "f32"}});
  ASSERT_EQ(cases.size(), 1U);
  const Prepared prepared = cases[0].prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  EXPECT_THAT(std::get<Skipped>(prepared).remedy, HasSubstr("native"));
  const std::vector<Case> elsewhere = ProbeNamed("peak", {.devices = {"cuda:7"}}).unfold({});
  ASSERT_EQ(elsewhere.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<Skipped>(elsewhere[0].prepare(1)));
}

TEST(Kernels, GemmIsHeldAgainstThePeakOfItsDtype) {
  for (const Case& which : ProbeNamed("gemm").unfold({{"dtype", "f32"}})) {
    if (which.backend == "none") continue;
    ASSERT_TRUE(which.here);
    EXPECT_EQ(which.here->probe, "peak");
    EXPECT_EQ(StringOf(which.here->params, "dtype"), "f32");
    const std::vector<Case> peaks = ProbeNamed("peak").unfold({{"dtype", "f32"}});
    EXPECT_EQ(which.here->params, peaks[0].params);
    EXPECT_EQ(which.here->work.flops, peaks[0].work.flops);
  }
}

// Peak, by dtype: what this CPU can't do is skipped with its reason, which is a pass.
class PeakOf : public ::testing::TestWithParam<const char*> {
 protected:
  Case Unfolded(int threads) const {
    return ProbeNamed("peak", {.threads = threads}).unfold({{"dtype", GetParam()}}).at(0);
  }
};

TEST_P(PeakOf, ComputesWhatItSaysOnEveryThread) {
  const Case which = Unfolded(2);
  Prepared prepared = which.prepare(42);
  if (const Skipped* no = std::get_if<Skipped>(&prepared)) GTEST_SKIP() << no->reason;
  Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
  for (std::int64_t iterations : {1, 3}) {
    const Batch batch = workload.Run(iterations);
    EXPECT_GT(batch.time.count(), 0);
    const Checked checked = workload.Verify();
    EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
    // The flops of the work are those of the chains that were checked.
    EXPECT_EQ(*which.work.flops % (checked.checked * kPeakSteps), 0);
  }
  EXPECT_EQ(std::get<std::int64_t>(workload.Describe().at("threads")), 2);
}

TEST_P(PeakOf, WorkGrowsWithThreads) {
  if (!Unfolded(1).work.flops) GTEST_SKIP() << "no such loop on this CPU";
  EXPECT_EQ(*Unfolded(3).work.flops, 3 * *Unfolded(1).work.flops);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, PeakOf, ::testing::Values("f32", "bf16", "int8"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Peak, ADtypeWithoutALoopIsSkippedWithAReason) {
  const Case which = ProbeNamed("peak").unfold({{"dtype", "f64"}}).at(0);
  const Prepared prepared = which.prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  EXPECT_THAT(std::get<Skipped>(prepared).reason, HasSubstr("f64"));
}

}  // namespace
}  // namespace assay
