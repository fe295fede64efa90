#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <optional>
#include <string>
#include <vector>

#include "kernels/cpu_onednn.h"
#include "runner/core/memory.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Workload> Ready(Backend& backend, const Op& op) {
  Prepared prepared = backend.Prepare(op, backend.Devices().front(), 42);
  if (const Skipped* skipped = std::get_if<Skipped>(&prepared)) {
    ADD_FAILURE() << skipped->reason;
    return nullptr;
  }
  return std::move(std::get<std::unique_ptr<Workload>>(prepared));
}

// Prepared, run twice over its operands, and verified each time.
void RunsAndIsRight(Backend& backend, const Op& op, const std::string& what) {
  const auto workload = Ready(backend, op);
  ASSERT_NE(workload, nullptr) << what;
  for (const std::int64_t iterations : {1, 3}) {
    EXPECT_GT(workload->Run(iterations).time.count(), 0) << what;
    const Checked checked = workload->Verify();
    EXPECT_EQ(checked.wrong, 0) << what << ": " << checked.what.value_or("");
    EXPECT_GT(checked.checked, 0) << what;
    EXPECT_LE(checked.max_error, checked.tolerance) << what;
  }
}

// Why this oneDNN can't do that here.
std::optional<std::string> Lacking(const Op& op) {
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({.threads = 1});
  const Prepared prepared = backend->Prepare(op, backend->Devices().front(), 1);
  const Skipped* skipped = std::get_if<Skipped>(&prepared);
  return skipped == nullptr ? std::nullopt : std::optional(skipped->reason);
}

std::optional<std::string> LackingGemm(Dtype dtype) {
  return Lacking(Gemm{.dtype = dtype, .m = 8, .n = 8, .k = 8, .cache = "warm"});
}

class EveryGemm : public ::testing::TestWithParam<Dtype> {};

TEST_P(EveryGemm, IsRightAtOddShapesAndInBatches) {
  if (const auto no = LackingGemm(GetParam())) GTEST_SKIP() << *no;
  // One thread, since threads that wait for each other on a busy machine take their time.
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({.threads = 1});
  for (const Gemm& shape : std::vector<Gemm>{{.m = 1, .n = 1, .k = 1},
                                             {.m = 1, .n = 257, .k = 129},
                                             {.m = 17, .n = 1, .k = 33},
                                             {.m = 63, .n = 65, .k = 127},
                                             {.m = 128, .n = 256, .k = 64},
                                             {.m = 33, .n = 1025, .k = 1023},
                                             {.m = 5, .n = 37, .k = 19, .batch = 3},
                                             {.m = 64, .n = 64, .k = 64, .batch = 2}}) {
    for (const char* inputs : {"normal", "zeros"}) {
      Gemm gemm = shape;
      gemm.dtype = GetParam();
      gemm.cache = "warm";
      gemm.inputs = inputs;
      RunsAndIsRight(*backend, gemm,
                     fmt::format("{} {} x {} x {} of {}, {}", ToText(gemm.dtype), gemm.m, gemm.n,
                                 gemm.k, gemm.batch, inputs));
    }
  }
}

TEST_P(EveryGemm, IsRightOnAllCores) {
  if (const auto no = LackingGemm(GetParam())) GTEST_SKIP() << *no;
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({});
  RunsAndIsRight(*backend,
                 Gemm{.dtype = GetParam(), .m = 300, .n = 1100, .k = 700, .cache = "warm"},
                 "300 x 1100 x 700");
}

INSTANTIATE_TEST_SUITE_P(OneDnn, EveryGemm,
                         ::testing::Values(Dtype::kF32, Dtype::kBf16, Dtype::kF16, Dtype::kInt8),
                         [](const auto& test) { return std::string(ToText(test.param)); });

TEST(OneDnn, ColdOperandsRotateOverThreeLastLevelCaches) {
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({});
  const Gemm gemm = {.m = 256, .n = 1024, .k = 1024};
  const auto workload = Ready(*backend, gemm);
  ASSERT_NE(workload, nullptr);
  const Facts facts = workload->Describe();
  EXPECT_GE(std::get<std::int64_t>(facts.at("rotation_bytes")), 3 * LastLevelCacheBytes());
  const std::int64_t sets = std::get<std::int64_t>(facts.at("rotation_sets"));
  ASSERT_GT(sets, 2);
  // Each set is used, and gives the right answer.
  workload->Run(1);
  EXPECT_EQ(workload->Verify().wrong, 0);
  workload->Run(sets - 1);
  const Checked checked = workload->Verify();
  EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
}

TEST(OneDnn, WarmUsesOneSetAndWeightsColdRotatesWeightsAlone) {
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({});
  Gemm gemm = {.m = 16, .n = 1024, .k = 1024, .cache = "warm"};
  const auto warm = Ready(*backend, gemm);
  gemm.cache = "weights-cold";
  const auto weights_cold = Ready(*backend, gemm);
  ASSERT_TRUE(warm && weights_cold);
  EXPECT_EQ(std::get<std::int64_t>(warm->Describe().at("rotation_sets")), 1);
  const std::int64_t sets = std::get<std::int64_t>(weights_cold->Describe().at("rotation_sets"));
  EXPECT_GE(sets * 4 * 1024 * 1024, 3 * LastLevelCacheBytes());
  weights_cold->Run(sets + 1);
  EXPECT_EQ(weights_cold->Verify().wrong, 0);
}

TEST(OneDnn, AnOperandLargerThanThreeCachesNeedsNoCopies) {
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({});
  const std::int64_t n = 3 * LastLevelCacheBytes() / 1024 / 4;
  const auto workload = Ready(*backend, Gemm{.m = 1, .n = n, .k = 1024});
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(std::get<std::int64_t>(workload->Describe().at("rotation_sets")), 1);
}

TEST(OneDnn, PackingIsAFactAndNotTimed) {
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({});
  const auto workload = Ready(*backend, Gemm{.m = 1, .n = 4096, .k = 4096, .cache = "warm"});
  ASSERT_NE(workload, nullptr);
  const Facts facts = workload->Describe();
  const std::string layout = std::get<std::string>(facts.at("weights_layout"));
  if (layout == "plain") GTEST_SKIP() << "oneDNN packs no weights on this processor";
  EXPECT_GT(std::get<double>(facts.at("pack_s")), 0);
  EXPECT_THAT(layout, HasSubstr("packed in blocks"));
  // One token reads 64 MiB of weights; packing reads and writes them. With packing inside, the
  // least of ten runs could not be below it.
  double least = 1e9;
  for (int i = 0; i < 10; ++i) least = std::min(least, workload->Run(1).time.count());
  EXPECT_LT(least, std::get<double>(facts.at("pack_s")));
}

TEST(OneDnn, DescribesItself) {
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({.threads = 1});
  const auto workload = Ready(*backend, Gemm{.m = 8, .n = 8, .k = 8, .cache = "warm"});
  ASSERT_NE(workload, nullptr);
  const Facts facts = workload->Describe();
  EXPECT_EQ(std::get<std::int64_t>(facts.at("threads")), 1);
  EXPECT_TRUE(std::get<bool>(facts.at("pinned")));
  EXPECT_EQ(std::get<std::string>(facts.at("formats")), "f32 x f32 -> f32");
  EXPECT_THAT(std::get<std::string>(facts.at("library")), HasSubstr("oneDNN "));
  EXPECT_FALSE(std::get<std::string>(facts.at("isa")).empty());
  EXPECT_FALSE(std::get<std::string>(facts.at("implementation")).empty());
  EXPECT_THAT(OneDnnSoftware().at("onednn"), HasSubstr(" ("));
}

TEST(OneDnn, MoreThreadsThanCoresAreNotCalledPinned) {
  const int threads = static_cast<int>(UsableCores().size()) + 1;
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({.threads = threads});
  const auto workload = Ready(*backend, Gemm{.m = 8, .n = 8, .k = 8, .cache = "warm"});
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(std::get<std::int64_t>(workload->Describe().at("threads")), threads);
  EXPECT_FALSE(std::get<bool>(workload->Describe().at("pinned")));
  workload->Run(1);
  EXPECT_EQ(workload->Verify().wrong, 0);
}

// Threads inherit where their parent may run: a caller that stays pinned would make every later
// team of threads share its one core.
TEST(OneDnn, TheCallerMayRunWhereItCouldBefore) {
  cpu_set_t before;
  cpu_set_t after;
  sched_getaffinity(0, sizeof(before), &before);
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({});
  const auto workload = Ready(*backend, Gemm{.m = 64, .n = 64, .k = 64, .cache = "warm"});
  ASSERT_NE(workload, nullptr);
  workload->Run(1);
  workload->Verify();
  sched_getaffinity(0, sizeof(after), &after);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(OneDnn, WhatItLacksIsSkippedWithAReason) {
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({});
  for (const Op& op : std::vector<Op>{
           Gemm{.dtype = Dtype::kF64, .m = 8, .n = 8, .k = 8},
           Gemm{.dtype = Dtype::kFp8E4m3, .m = 8, .n = 8, .k = 8},
           Attention{
               .seq_q = 8, .seq_kv = 8, .head_dim_qk = 8, .head_dim_v = 8, .direction = "backward"},
           Attention{.seq_q = 8, .seq_kv = 8, .head_dim_qk = 8, .head_dim_v = 8, .phase = "decode"},
           Attention{.seq_q = 8, .seq_kv = 8, .head_dim_qk = 8, .head_dim_v = 8, .algo = "tuned"},
           Gemm{.m = 1 << 20, .n = 1 << 20, .k = 1 << 20}}) {
    const Prepared prepared = backend->Prepare(op, backend->Devices().front(), 1);
    const Skipped* skipped = std::get_if<Skipped>(&prepared);
    ASSERT_NE(skipped, nullptr);
    EXPECT_FALSE(skipped->reason.empty());
    EXPECT_FALSE(skipped->remedy.empty());
  }
}

class EveryAttention : public ::testing::TestWithParam<Dtype> {};

TEST_P(EveryAttention, IsRightUnderEveryMask) {
  if (const auto no = Lacking(Attention{
          .dtype = GetParam(), .seq_q = 1, .seq_kv = 1, .head_dim_qk = 1, .head_dim_v = 1})) {
    GTEST_SKIP() << *no;
  }
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({.threads = 1});
  for (const Attention& shape :
       std::vector<Attention>{{.seq_q = 1, .seq_kv = 1, .head_dim_qk = 1, .head_dim_v = 1},
                              {.seq_q = 64, .seq_kv = 64, .head_dim_qk = 64, .head_dim_v = 64},
                              {.seq_q = 130, .seq_kv = 130, .head_dim_qk = 32, .head_dim_v = 32},
                              {.batch = 2,
                              .heads_q = 6,
                              .heads_kv = 2,
                              .seq_q = 70,
                              .seq_kv = 70,
                              .head_dim_qk = 24,
                              .head_dim_v = 16},
                              {.heads_q = 2,
                              .heads_kv = 1,
                              .seq_q = 33,
                              .seq_kv = 150,
                              .head_dim_qk = 192,
                              .head_dim_v = 128},
                              // More queries than keys: under the masks aligned to the last, some
                              // see none, among them the whole first block of 64.
                              {.heads_q = 2,
                              .heads_kv = 2,
                              .seq_q = 200,
                              .seq_kv = 77,
                              .head_dim_qk = 16,
                              .head_dim_v = 48}}) {
    for (const char* mask : {"full", "causal_top_left", "causal_bottom_right", "window"}) {
      Attention attention = shape;
      attention.dtype = GetParam();
      attention.mask = mask;
      attention.window = attention.mask == "window" ? 20 : 0;
      attention.cache = "warm";
      RunsAndIsRight(*backend, attention,
                     fmt::format("{} queries, {} keys, {}", shape.seq_q, shape.seq_kv, mask));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OneDnn, EveryAttention, ::testing::Values(Dtype::kF32, Dtype::kBf16),
                         [](const auto& test) { return std::string(ToText(test.param)); });

TEST(OneDnn, AttentionRotatesOverThreeLastLevelCachesAndBoundsItsScores) {
  const std::unique_ptr<Backend> backend = MakeOneDnnBackend({});
  const auto workload = Ready(*backend, Attention{.dtype = Dtype::kF32,
                                                  .heads_q = 8,
                                                  .heads_kv = 2,
                                                  .seq_q = 256,
                                                  .seq_kv = 256,
                                                  .head_dim_qk = 64,
                                                  .head_dim_v = 64,
                                                  .mask = "causal_bottom_right"});
  ASSERT_NE(workload, nullptr);
  const Facts facts = workload->Describe();
  EXPECT_GE(std::get<std::int64_t>(facts.at("rotation_bytes")), 3 * LastLevelCacheBytes());
  const std::int64_t threads = std::get<std::int64_t>(facts.at("threads"));
  EXPECT_EQ(std::get<std::int64_t>(facts.at("scores_bytes")), threads * 64 * 256 * 4);
  // Four blocks of 64 queries that need 64, 128, 192 and 256 keys.
  EXPECT_EQ(std::get<std::int64_t>(facts.at("pairs_computed")), 8 * 64 * (64 + 128 + 192 + 256));
  for (int i = 0; i < 3; ++i) {
    workload->Run(1);
    EXPECT_EQ(workload->Verify().wrong, 0);
  }
}

}  // namespace
}  // namespace assay
