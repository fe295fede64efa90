#include "kernels/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "kernels/cpu_memory.h"
#include "kernels/cpu_native.h"
#include "kernels/cpu_peak.h"
#include "kernels/cpu_streams.h"
#include "kernels/op.h"
#include "results/base/error.h"
#include "results/file/json.h"
#include "runner/core/memory.h"
#include "runner/core/module.h"
#include "runner/core/random.h"

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

TEST(Op, AGemmOfBlocksCountsTheirScalesAndWritesBf16) {
  const auto bytes = [](Dtype dtype, std::int64_t k) {
    return WorkOf(Gemm{.dtype = dtype, .m = 3, .n = 5, .k = k}).bytes_min;
  };
  EXPECT_EQ(bytes(Dtype::kFp8E4m3, 96), 3 * 96 + 96 * 5 + 2 * 3 * 5);
  EXPECT_EQ(bytes(Dtype::kFp8E5m2E4m3, 96), 3 * 96 + 96 * 5 + 2 * 3 * 5);
  EXPECT_EQ(bytes(Dtype::kMxfp8, 96), 3 * (96 + 3) + 5 * (96 + 3) + 2 * 3 * 5);
  EXPECT_EQ(bytes(Dtype::kMxfp8, 97), 3 * (97 + 4) + 5 * (97 + 4) + 2 * 3 * 5);
  EXPECT_EQ(bytes(Dtype::kNvfp4, 96), 3 * (48 + 6) + 5 * (48 + 6) + 2 * 3 * 5);
}

TEST(Op, RowsGoToGroupsUnevenlyAndAllOfThem) {
  for (const std::int64_t m : {1, 7, 512, 8192, 100'000}) {
    for (const std::int64_t groups : {1, 3, 8, 256}) {
      std::vector<std::int64_t> rows = RowsOfGroups(m, groups);
      EXPECT_EQ(rows.size(), static_cast<std::size_t>(groups));
      EXPECT_EQ(std::accumulate(rows.begin(), rows.end(), std::int64_t{0}), m);
      EXPECT_GE(std::ranges::min(rows), 0);
      EXPECT_EQ(rows, RowsOfGroups(m, groups)) << "on every machine the same";
    }
  }
  std::vector<std::int64_t> rows = RowsOfGroups(100'000, 100);
  EXPECT_FALSE(std::ranges::is_sorted(rows)) << "in no order that a kernel could profit of";
  std::ranges::sort(rows);
  EXPECT_NEAR(static_cast<double>(rows.back()) / static_cast<double>(rows.front()), 5, 0.1);
  EXPECT_NEAR(static_cast<double>(rows[50]) / static_cast<double>(rows.front()), std::sqrt(5),
              0.05);
}

TEST(Op, AGroupedGemmCountsTheWeightsOfGroupsWithRows) {
  const Work work =
      WorkOf(GroupedGemm{.dtype = Dtype::kBf16, .m = 2, .n = 5, .k = 7, .groups = 64});
  EXPECT_EQ(work.formula, "grouped_gemm/2mnk");
  EXPECT_EQ(work.flops, 2 * 2 * 5 * 7);
  std::int64_t with_rows = 0;
  for (const std::int64_t rows : RowsOfGroups(2, 64)) with_rows += rows > 0 ? 1 : 0;
  EXPECT_EQ(with_rows, 2);
  EXPECT_EQ(work.bytes_min, 2 * (2 * 7 + 2 * 7 * 5 + 2 * 5));
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

TEST(Op, PassesOverMemoryMoveAGibibyteAndCountEachTime) {
  const auto passes = [](const char* pattern, std::int64_t bytes) {
    return PassesOver(Memory{.pattern = pattern, .bytes = bytes});
  };
  EXPECT_EQ(passes("read", 4 << 20), 256);
  EXPECT_EQ(passes("triad", 4 << 20), 86) << "85 would be a little less";
  EXPECT_EQ(passes("triad", 512 << 20), 1);
  EXPECT_EQ(passes("read", std::int64_t{4} << 30), 1);
  const Memory twice = {.pattern = "copy", .bytes = 4096, .passes = 2};
  const Work work = WorkOf(twice);
  EXPECT_EQ(work.bytes, 4 * 4096);
  EXPECT_EQ(work.bytes_min, 2 * 4096) << "of which the second pass may find all in a cache";
  EXPECT_EQ(work.formula, "memory/copy4n");
  EXPECT_EQ(MethodOf(twice), 2);
  EXPECT_EQ(MethodOf(Memory{.pattern = "copy", .bytes = 4096}), 1);
}

TEST(Op, DecodeCountsTheKeysAndValuesThatItReadsEachOnce) {
  Attention op = {.batch = 3,
                  .heads_q = 8,
                  .heads_kv = 2,
                  .seq_q = 2,
                  .seq_kv = 100,
                  .head_dim_qk = 16,
                  .head_dim_v = 8,
                  .phase = "decode"};
  const auto bytes = [&](const std::string& mask, std::int64_t window = 0) {
    op.mask = mask;
    op.window = window;
    return *WorkOf(op).bytes;
  };
  const std::int64_t of_a_token = 2 * 3 * 2 * (16 + 8);  // bf16; four query heads share one
  EXPECT_EQ(bytes("full"), 100 * of_a_token);
  EXPECT_EQ(bytes("causal_bottom_right"), 100 * of_a_token);
  EXPECT_EQ(bytes("window", 10), 11 * of_a_token) << "two queries, the windows of which are one on";
  EXPECT_EQ(bytes("causal_top_left"), 2 * of_a_token);
  const Work work = WorkOf(op);
  EXPECT_EQ(work.formula, "attention/kv+2pairs(dqk+dv)");
  EXPECT_EQ(work.flops, 2 * 3 * 8 * (1 + 2) * (16 + 8)) << "they stay in the file";
  EXPECT_EQ(MethodOf(op), 2);
  op.dtype = Dtype::kFp8E4m3;
  EXPECT_EQ(bytes("full"), 100 * of_a_token / 2);
  op.phase = "prefill";
  EXPECT_FALSE(WorkOf(op).bytes);
  EXPECT_EQ(MethodOf(op), 1);
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

// Every pair by its own question, where KeysSeen gives ranges.
TEST(Op, AQuerySeesTheKeysThatItsMaskSays) {
  const auto sees = [](const Attention& op, std::int64_t query, std::int64_t key) {
    const std::int64_t diagonal = query + op.seq_kv - op.seq_q;  // the last sees the last
    if (op.mask == "full") return true;
    if (op.mask == "causal_top_left") return key <= query;
    if (op.mask == "causal_bottom_right") return key <= diagonal;
    return key <= diagonal && key > diagonal - op.window;
  };
  for (const char* mask : {"full", "causal_top_left", "causal_bottom_right", "window"}) {
    for (std::int64_t seq_q = 1; seq_q <= 6; ++seq_q) {
      for (std::int64_t seq_kv = 1; seq_kv <= 6; ++seq_kv) {
        for (const std::int64_t window : {1, 2, 5, 9}) {
          const Attention op = {.seq_q = seq_q, .seq_kv = seq_kv, .mask = mask, .window = window};
          for (std::int64_t query = 0; query < seq_q; ++query) {
            const KeyRange keys = KeysSeen(op, query);
            EXPECT_LE(keys.first, keys.last);
            for (std::int64_t key = 0; key < seq_kv; ++key) {
              EXPECT_EQ(key >= keys.first && key < keys.last, sees(op, query, key))
                  << mask << ' ' << seq_q << 'x' << seq_kv << " window " << window << ": " << query
                  << " and " << key;
            }
          }
        }
      }
    }
  }
}

TEST(Op, BackwardHasThreeProductsOverTheOneHeadDimensionAndTwoOverTheOther) {
  Attention op = {.dtype = Dtype::kBf16,
                  .batch = 2,
                  .heads_q = 8,
                  .heads_kv = 2,
                  .seq_q = 4,
                  .seq_kv = 16,
                  .head_dim_qk = 192,
                  .head_dim_v = 128,
                  .direction = "backward"};
  const Work work = WorkOf(op);
  EXPECT_EQ(work.formula, "attention/2pairs(3dqk+2dv)");
  EXPECT_EQ(work.flops, 2 * 2 * 8 * (4 * 16) * (3 * 192 + 2 * 128));
  // Q and dQ, K and dK, V and dV, O and dO, and a log-sum of 4 bytes a query.
  EXPECT_EQ(work.bytes_min,
            2 * 2 * (2 * 8 * 4 * 192 + 2 * 2 * 16 * (192 + 128) + 2 * 8 * 4 * 128) + 4 * 2 * 8 * 4);
  // With equal head dimensions it is five products against two.
  op.head_dim_qk = 128;
  const std::int64_t backward = *WorkOf(op).flops;
  op.direction = "forward";
  EXPECT_EQ(2 * backward, 5 * *WorkOf(op).flops);
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
  EXPECT_THAT(Refusal("gemm", {{"dtype", "f13"}}), HasSubstr("dtype is 'f13'"));
  EXPECT_THAT(Refusal("gemm", {{"cache", "hot"}}), HasSubstr("cache is 'hot'"));
  EXPECT_THAT(Refusal("gemm", {{"acc", "f16"}}), HasSubstr("acc is 'f16'"));
  EXPECT_THAT(Refusal("gemm", {{"m", "many"}}), HasSubstr("'m'"));
  EXPECT_THAT(Refusal("gemm", {{"size", 4}}), HasSubstr("no param 'size'"));
  EXPECT_THAT(Refusal("memory", {{"pattern", "scan"}}), HasSubstr("pattern is 'scan'"));
  for (const char* probe : {"gemm", "grouped_gemm", "memory", "attention", "headline"}) {
    EXPECT_THAT(Refusal(probe, {{"regime", "warm"}}), HasSubstr("regime is 'warm'")) << probe;
  }
  EXPECT_THAT(Refusal("memory", {{"bytes", 100}}), HasSubstr("bytes is 100"));
  EXPECT_THAT(Refusal("memory", {{"bytes", -4096}}), HasSubstr("bytes is -4096"));
  EXPECT_THAT(Refusal("grouped_gemm", {{"groups", 4097}}), HasSubstr("groups is 4097"));
  EXPECT_THAT(Refusal("grouped_gemm", {{"cache", "weights-cold"}}), HasSubstr("cache is 'weights"));
  EXPECT_THAT(Refusal("peak", {{"scope", "rack"}}), HasSubstr("scope is 'rack'"));
  EXPECT_THAT(Refusal("attention", {{"heads_kv", 5}}), HasSubstr("heads_q is 32"));
  EXPECT_THAT(Refusal("attention", {{"mask", "window"}}), HasSubstr("window is 0"));
  EXPECT_THAT(Refusal("attention", {{"window", 8}}), HasSubstr("window is 8"));
  EXPECT_THAT(Refusal("attention", {{"phase", "decode"}, {"direction", "backward"}}),
              HasSubstr("only prefill has a backward"));
  EXPECT_THAT(Refusal("attention", {{"page_size", 16}}), HasSubstr("page_size is 16"));
  EXPECT_THAT(Refusal("attention", {{"page_size", 1025}, {"phase", "decode"}}),
              HasSubstr("page_size is 1025"));
}

TEST(Kernels, TheAccumulatorOfInt8IsWrittenOut) {
  for (const Case& which : ProbeNamed("gemm").unfold({{"dtype", "int8"}})) {
    EXPECT_EQ(StringOf(which.params, "acc"), "s32");
  }
}

TEST(Kernels, FastAccumulationIsForFp8AndForSumsThatACheckCanTell) {
  const Case fast = ProbeNamed("gemm").unfold({{"dtype", "fp8_e4m3"}, {"acc", "f32_fast"}}).at(0);
  EXPECT_EQ(StringOf(fast.params, "acc"), "f32_fast");
  for (const char* dtype : {"bf16", "mxfp8", "nvfp4", "int8"}) {
    EXPECT_THAT(Refusal("gemm", {{"dtype", dtype}, {"acc", "f32_fast"}}),
                HasSubstr("acc is 'f32_fast'"));
  }
  EXPECT_THAT(Refusal("gemm", {{"dtype", "fp8_e5m2_e4m3"}, {"acc", "f32_fast"}, {"k", 65537}}),
              HasSubstr("k is 65537 with acc=f32_fast; give at most 65536"));
}

TEST(Kernels, WhatRunsByNoneOfThoseAskedForIsNoCase) {
  EXPECT_TRUE(ProbeNamed("peak", {.backends = {"mpi"}}).unfold({{"dtype", "f32"}}).empty());
  EXPECT_TRUE(ProbeNamed("peak", {.devices = {"cuda:7"}}).unfold({}).empty());
}

TEST(Kernels, ABackendThatCannotRunHereIsOneCaseWithItsReason) {
  const Modules modules(std::vector<Modules::Entry>{
      {.name = "cuda", .reason = "it was left out", .remedy = "build it again"}});
  const auto why = [&](const char* probe, assay::Setup setup) {
    setup.modules = &modules;
    const std::vector<Case> cases = ProbeNamed(probe, setup).unfold({});
    if (cases.size() != 1U) return std::to_string(cases.size()) + " cases";
    const Prepared prepared = cases[0].prepare(1);
    const Skipped* no = std::get_if<Skipped>(&prepared);
    return no == nullptr ? cases[0].backend : no->reason + "; " + no->remedy;
  };
  EXPECT_EQ(why("gemm", {.backends = {"cublaslt"}}), "it was left out; build it again");
  EXPECT_EQ(why("gemm", {.backends = {"cublaslt", "cudnn"}}), "it was left out; build it again");
  EXPECT_EQ(why("gemm", {.backends = {"cudnn"}}), "0 cases");
  EXPECT_EQ(why("copy", {}), "it was left out; build it again");
  EXPECT_EQ(why("copy", {.devices = {"cpu"}}), "0 cases");
  EXPECT_EQ(why("headline", {.backends = {"cublaslt"}}), "it was left out; build it again");
  const std::vector<std::string> all = {"cuda", "cublaslt", "cublas", "cudnn"};
  int written = 0;
  for (const Probe& probe : kernels::Probes({.backends = all, .modules = &modules})) {
    for (const Case& one : probe.unfold({})) {
      const Record record = {.probe = one.probe,
                             .method = one.method,
                             .params = one.params,
                             .backend = one.backend,
                             .status = Status::kSkipped,
                             .work = one.work};
      EXPECT_EQ(RecordFromJson(RecordToJson(record), one.probe).work.bytes, one.work.bytes);
      ++written;
    }
  }
  EXPECT_EQ(written, 7) << "all but peak";
}

TEST(Kernels, EachProbeKnowsAllItsBackendsAndDevices) {
  using ::testing::ElementsAre;
  const Modules modules(std::vector<Modules::Entry>{
      {.name = "cuda", .reason = "it was left out", .remedy = "build it"}});
  const auto probe = [&](const char* name) {
    return ProbeNamed(name, {.backends = {"native"}, .modules = &modules});
  };
  EXPECT_THAT(probe("peak").backends, ElementsAre("native"));
  EXPECT_THAT(probe("gemm").backends, ElementsAre("onednn", "cublaslt"));
  EXPECT_THAT(probe("headline").backends, ElementsAre("onednn", "cublaslt"));
  EXPECT_THAT(probe("memory").backends, ElementsAre("native", "cuda"));
  EXPECT_THAT(probe("grouped_gemm").backends, ElementsAre("cublas"));
  EXPECT_THAT(probe("attention").backends, ElementsAre("onednn", "cudnn"));
  EXPECT_THAT(probe("gemm").devices(), ElementsAre("cpu"));
  EXPECT_EQ(probe("gemm").absent().at("cublaslt").reason, "it was left out");
}

TEST(Kernels, ArithmeticIsHeldAgainstThePeakOfItsDtype) {
  const Case peak = ProbeNamed("peak").unfold({{"dtype", "f32"}}).at(0);
  for (const char* probe : {"gemm", "attention"}) {
    const std::vector<Case> cases = ProbeNamed(probe).unfold({{"dtype", "f32"}});
    ASSERT_FALSE(cases.empty());
    for (const Case& which : cases) {
      ASSERT_TRUE(which.here) << probe << ' ' << which.backend;
      EXPECT_EQ(which.here->probe, "peak");
      EXPECT_EQ(which.here->params, peak.params);
      EXPECT_EQ(which.here->work.flops, peak.work.flops);
    }
  }
}

TEST(Kernels, DecodeIsHeldAgainstTheReadingOfMemory) {
  const Case read = ProbeNamed("memory").unfold({{"pattern", "read"}}).at(0);
  for (const Case& which : ProbeNamed("attention").unfold({{"phase", "decode"}, {"seq_q", 1}})) {
    ASSERT_TRUE(which.here) << which.backend;
    EXPECT_EQ(which.here->probe, "memory");
    EXPECT_EQ(which.here->params, read.params);
    EXPECT_EQ(which.here->work.bytes, read.work.bytes);
    EXPECT_EQ(which.method, 2);
  }
}

TEST(Kernels, MemoryIsABurstUnlessItIsToBeSustained) {
  for (const Case& which : ProbeNamed("memory").unfold({})) EXPECT_FALSE(which.sustained);
  for (const Case& which : ProbeNamed("memory").unfold({{"regime", "sustained"}})) {
    EXPECT_TRUE(which.sustained);
    EXPECT_EQ(StringOf(which.params, "regime"), "sustained");
  }
}

TEST(Kernels, WhatABackendLacksByNatureIsNotACase) {
  for (const Case& which : ProbeNamed("gemm").unfold({})) EXPECT_NE(which.backend, "native");
  for (const Case& which : ProbeNamed("memory").unfold({})) EXPECT_NE(which.backend, "onednn");
  EXPECT_TRUE(ProbeNamed("gemm", {.backends = {"native"}}).unfold({}).empty()) << "nor by name";
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

// Every instruction set that this CPU can run, the slower ones too.
TEST(Peak, F32IsExactOnEveryInstructionSet) {
  std::set<std::string> seen;
  ForEachF32Target([&] {
    const PeakLoop loop = F32PeakLoop();
    SCOPED_TRACE(loop.instruction);
    EXPECT_TRUE(seen.insert(loop.instruction).second);
    ASSERT_LE(loop.chains, kMostPeakWords);
    std::vector<std::uint32_t> values(kMostPeakWords), operands(kMostPeakWords);
    std::vector<std::uint32_t> out(kMostPeakWords), expected(kMostPeakWords);
    loop.fill(5, values.data(), operands.data());
    loop.run(values.data(), operands.data(), out.data());
    loop.reference(values.data(), operands.data(), expected.data());
    EXPECT_EQ(out, expected);
  });
  EXPECT_FALSE(seen.empty());
}

// The result depends on the number of steps: a chain of one step more or less ends elsewhere.
TEST(Peak, AnotherNumberOfStepsGivesAnotherResult) {
  const PeakLoop loop = F32PeakLoop();
  std::vector<std::uint32_t> values(kMostPeakWords), operands(kMostPeakWords);
  std::vector<std::uint32_t> out(kMostPeakWords), again(kMostPeakWords);
  loop.fill(5, values.data(), operands.data());
  loop.reference(values.data(), operands.data(), out.data());
  // One step ahead: x² + c, in double and so not to the bit, but chaos takes it elsewhere.
  for (std::size_t i = 0; i < static_cast<std::size_t>(loop.chains); ++i) {
    const double x = std::bit_cast<float>(values[i]);
    values[i] =
        std::bit_cast<std::uint32_t>(static_cast<float>(x * x + std::bit_cast<float>(operands[i])));
  }
  loop.reference(values.data(), operands.data(), again.data());
  std::int64_t same = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(loop.chains); ++i)
    same += out[i] == again[i];
  EXPECT_LT(same, loop.chains / 4);
}

TEST(Peak, ADtypeWithoutALoopIsSkippedWithAReason) {
  const Case which = ProbeNamed("peak").unfold({{"dtype", "f64"}}).at(0);
  const Prepared prepared = which.prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  EXPECT_THAT(std::get<Skipped>(prepared).reason, HasSubstr("f64"));
}

// Every loop that this CPU can run, the slower ones too, over lengths around those it unrolls by.
TEST(Streams, EveryLoopTouchesItsWordsAndNoOthers) {
  for (const StreamLoops& loops : AllStreamLoops()) {
    for (const std::size_t words : {8U, 24U, 32U, 40U, 1000U}) {
      SCOPED_TRACE(loops.instruction + ", " + std::to_string(words) + " words");
      struct alignas(64) Line {
        std::uint64_t words[8];
      };
      std::vector<Line> from(words / 8 + 1), to(words / 8 + 1);
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < words + 8; ++i) {
        from[i / 8].words[i % 8] = RandomAt(1, i);
        if (i < words) sum += RandomAt(1, i);
      }
      const auto word = [&](std::size_t i) { return to[i / 8].words[i % 8]; };
      EXPECT_EQ(loops.read(from[0].words, words), sum);
      loops.write(to[0].words, 0x0123456789abcdef, words);
      for (std::size_t i = 0; i < words; ++i) ASSERT_EQ(word(i), 0x0123456789abcdefU) << i;
      EXPECT_EQ(word(words), 0U);
      loops.copy(to[0].words, from[0].words, words);
      for (std::size_t i = 0; i < words; ++i) ASSERT_EQ(word(i), RandomAt(1, i)) << i;
      EXPECT_EQ(word(words), 0U);

      struct alignas(64) Doubles {
        double values[8];
      };
      std::vector<Doubles> a(words / 8 + 1), b(words / 8 + 1), c(words / 8 + 1);
      for (std::size_t i = 0; i < words + 8; ++i) {
        b[i / 8].values[i % 8] = static_cast<double>(i);
        c[i / 8].values[i % 8] = static_cast<double>(RandomAt(2, i) % 1000);
      }
      loops.triad(a[0].values, b[0].values, c[0].values, 3, words);
      for (std::size_t i = 0; i < words; ++i) {
        ASSERT_EQ(a[i / 8].values[i % 8],
                  static_cast<double>(i) + 3 * static_cast<double>(RandomAt(2, i) % 1000));
      }
      EXPECT_EQ(a[words / 8].values[0], 0);
    }
  }
}

// Memory, by pattern, over odd sizes so that parts of threads differ.
class MemoryOf : public ::testing::TestWithParam<const char*> {};

TEST_P(MemoryOf, GivesExactlyWhatThePatternSays) {
  for (const std::int64_t bytes : {4096, 3 * 4096, 257 * 4096}) {
    const Case which = ProbeNamed("memory", {.threads = 3})
                           .unfold({{"pattern", GetParam()}, {"bytes", bytes}})
                           .at(0);
    Prepared prepared = which.prepare(7);
    ASSERT_TRUE(std::holds_alternative<std::unique_ptr<Workload>>(prepared));
    Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
    for (const std::int64_t iterations : {1, 5, 2}) {
      EXPECT_GT(workload.Run(iterations).time.count(), 0);
      const Checked checked = workload.Verify();
      EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
      EXPECT_EQ(checked.checked, bytes / 8);
    }
  }
}

// The check itself: what no Run has written since is found wrong, and the first word is named.
TEST_P(MemoryOf, OutputThatWasNotWrittenIsWrong) {
  const Case which =
      ProbeNamed("memory", {.threads = 2}).unfold({{"pattern", GetParam()}, {"bytes", 8192}}).at(0);
  Prepared prepared = which.prepare(7);
  Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
  workload.Run(1);
  EXPECT_EQ(workload.Verify().wrong, 0);
  if (std::string(GetParam()) == "read") return;  // It has no output.
  const Checked again = workload.Verify();
  EXPECT_EQ(again.wrong, 8192 / 8);
  EXPECT_EQ(again.what, "word 0 of the output");
}

INSTANTIATE_TEST_SUITE_P(Patterns, MemoryOf, ::testing::Values("read", "write", "copy", "triad"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Memory, AnArrayIsAPowerOfTwoOfAtLeastFourCaches) {
  const std::int64_t mib = 1 << 20;
  const std::int64_t plenty = std::int64_t{1} << 40;
  EXPECT_EQ(ArrayBytes(32 * mib, plenty), 128 * mib);
  EXPECT_EQ(ArrayBytes(33 * mib, plenty), 256 * mib);
  EXPECT_EQ(ArrayBytes(768 * mib, plenty), 4096 * mib);
  EXPECT_EQ(ArrayBytes(0, plenty), 64 * mib) << "a cache that isn't told";
}

TEST(Memory, ThreeArraysLeaveHalfOfTheMemory) {
  const std::int64_t mib = 1 << 20;
  EXPECT_EQ(ArrayBytes(32 * mib, 512 * mib), 64 * mib);
  EXPECT_EQ(ArrayBytes(32 * mib, 0), 128 * mib) << "a memory that isn't told";
}

// The test holds 320 of the 512 MiB of a control group itself; the limit alone would allow 256.
TEST(Memory, AControlGroupMustHaveAsMuchLeft) {
  const std::filesystem::path group =
      "/sys/fs/cgroup/memory/assay-kernels-test-" + std::to_string(getpid());
  std::error_code error;
  if (!std::filesystem::create_directory(group, error)) {
    GTEST_SKIP() << "no control group of memory (v1) can be made here";
  }
  const pid_t child = fork();
  if (child == 0) {
    const std::size_t mib = 1 << 20;
    std::ofstream(group / "memory.limit_in_bytes") << 512 * mib;
    std::ofstream(group / "cgroup.procs") << getpid();
    const std::vector<char> held(320 * mib, 'x');
    const auto is_skipped = [&](std::size_t bytes) {
      const Memory op = {.pattern = "read", .bytes = static_cast<std::int64_t>(bytes)};
      return std::holds_alternative<Skipped>(PrepareMemory(op, 1, {0}, 1));
    };
    const std::int64_t chosen = IntegerOf(ProbeNamed("memory").unfold({}).front().params, "bytes");
    _exit(!is_skipped(128 * mib)    ? 1
          : is_skipped(64 * mib)    ? 2
          : chosen > 32 * (1 << 20) ? 3
          : held[mib] == 'x'        ? 0
                                    : 4);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::filesystem::remove(group, error);
  ASSERT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Memory, TheChosenSizeIsPartOfTheParams) {
  for (const Case& which : ProbeNamed("memory").unfold({})) {
    const std::int64_t bytes = IntegerOf(which.params, "bytes");
    EXPECT_GT(bytes, 0);
    EXPECT_EQ(which.work.bytes, 3 * bytes);
  }
}

TEST(Memory, WhetherACacheHoldsTheArraysIsSaid) {
  for (const auto& [bytes, in_cache] : {std::pair(LastLevelCacheBytes() / 2 / 4096 * 4096, true),
                                        {LastLevelCacheBytes() / 4096 * 4096 + 4096, false}}) {
    if (bytes < 8192) GTEST_SKIP() << "this machine doesn't tell its caches";
    const Case which =
        ProbeNamed("memory", {.threads = 1}).unfold({{"pattern", "read"}, {"bytes", bytes}}).at(0);
    Prepared prepared = which.prepare(1);
    ASSERT_TRUE(std::holds_alternative<std::unique_ptr<Workload>>(prepared));
    EXPECT_EQ(std::get<0>(prepared)->Describe().at("in_cache"), Fact(in_cache)) << bytes;
  }
}

TEST(Memory, ArraysThatDoNotFitAreSkipped) {
  const Case which = ProbeNamed("memory").unfold({{"bytes", std::int64_t{1} << 45}}).at(0);
  const Prepared prepared = which.prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  EXPECT_THAT(std::get<Skipped>(prepared).reason, HasSubstr("35184372088832 bytes"));
}

// A machine of two sockets whose four CPUs share two caches of the third level.
TEST(Memory, LastLevelCachesOfAllSocketsAreSummed) {
  namespace fs = std::filesystem;
  const fs::path root = fs::temp_directory_path() / ("assay-caches-" + std::to_string(getpid()));
  const auto write = [&](int cpu, int index, const char* type, int level, const char* size,
                         const char* shared) {
    const fs::path folder = root / ("sys/devices/system/cpu/cpu" + std::to_string(cpu)) / "cache" /
                            ("index" + std::to_string(index));
    fs::create_directories(folder);
    std::ofstream(folder / "type") << type << '\n';
    std::ofstream(folder / "level") << level << '\n';
    std::ofstream(folder / "size") << size << '\n';
    std::ofstream(folder / "shared_cpu_list") << shared << '\n';
  };
  for (int cpu = 0; cpu < 4; ++cpu) {
    const std::string alone = std::to_string(cpu);
    write(cpu, 0, "Data", 1, "48K", alone.c_str());
    write(cpu, 1, "Instruction", 1, "32K", alone.c_str());
    write(cpu, 2, "Unified", 2, "1024K", alone.c_str());
    write(cpu, 3, "Unified", 3, "32768K", cpu < 2 ? "0-1" : "2-3");
  }
  EXPECT_EQ(LastLevelCacheBytes(root.string()), std::int64_t{64} << 20);
  EXPECT_EQ(LastLevelCacheBytes((root / "nowhere").string()), 0);
  fs::remove_all(root);
}

}  // namespace
}  // namespace assay
