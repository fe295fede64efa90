// Tests of the cuda module on a real GPU, for what the stand-in can't show. Skipped where there is
// none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "kernels/backend.h"
#include "kernels/cuda_device.h"
#include "kernels/cuda_nvml.h"
#include "runner/core/module.h"
#include "tests/gpu_kernels.h"

extern "C" const assay::Module* assay_module();

namespace assay::cuda {
namespace {

using testing::IsEmpty;
using testing::Not;

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (const std::optional<Skipped> no = NoDevice(&devices)) GTEST_SKIP() << no->reason;
    Check(cudaSetDevice(0));
  }
  void TearDown() override {
    if (!IsSkipped()) {
      EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "left for a later call";
    }
  }

  // The op on the first GPU; skips the test where it can't run there.
  void Prepare(const char* backend_name, const Op& op) {
    workload_ = nullptr;
    backends_ = assay_module()->backends();
    for (const std::unique_ptr<Backend>& backend : backends_) {
      if (backend->Name() != backend_name) continue;
      const Device device = backend->Devices().at(0);
      Prepared prepared = backend->Prepare(backend->Complete(op, device), device, 7);
      if (const Skipped* no = std::get_if<Skipped>(&prepared)) {
        skipped_ = no->reason;
        return;
      }
      workload_ = std::get<0>(std::move(prepared));
    }
    ASSERT_NE(workload_, nullptr) << "no backend " << backend_name;
  }

  // Every batch size goes another way: one call, some, a graph of many.
  void RunsRight(const std::string& what) {
    ASSERT_NE(workload_, nullptr) << what << ": " << skipped_;
    ++right_;
    for (const std::int64_t iterations : {1, 3, 200}) {
      const Batch batch = workload_->Run(iterations);
      EXPECT_GT(batch.time.count(), 0) << what;
      const Checked checked = workload_->Verify();
      EXPECT_EQ(checked.wrong, 0) << what << ": " << checked.what.value_or("");
      EXPECT_GT(checked.checked, 0) << what;
    }
  }

  std::vector<std::unique_ptr<Backend>> backends_ = {};
  std::unique_ptr<Workload> workload_ = {};
  std::string skipped_ = {};
  int right_ = 0;  // cases that ran
};

// Both clocks within 0.5 % and what lies between two kernels: a start takes a few microseconds.
TEST_F(GpuTest, AKernelOfKnownDurationIsTimedRightByBothClocks) {
  constexpr double kBetween_s = 10e-6;
  {  // CUDA loads a kernel at its first launch, which is not the host's time of it.
    const Stream stream = MakeStream();
    LaunchSpin(1000, stream.get());
    Wait(stream.get(), "the first launch");
  }
  for (const double seconds : {100e-6, 1e-3, 10e-3, 100e-3, 1.0}) {
    const std::int64_t iterations = seconds < 0.01 ? 20 : 1;
    Timer timer;
    const Batch batch = timer.Time(iterations, 1, [&](std::int64_t) {
      LaunchSpin(static_cast<unsigned long long>(seconds * 1e9), timer.Stream());
    });
    const double device = batch.time.count() / static_cast<double>(iterations);
    const double host = batch.host.count() / static_cast<double>(iterations);
    RecordProperty(fmt::format("spin_{:g}_s", seconds), fmt::format("{} {}", device, host));
    std::printf("  spin %g s: %.9f s by events, %.9f s by the host\n", seconds, device, host);
    EXPECT_NEAR(device, seconds, 0.005 * seconds + kBetween_s);
    EXPECT_NEAR(host, seconds, 0.005 * seconds + 3 * kBetween_s);
    EXPECT_GE(device, seconds * 0.995 - 2e-6) << "it can't end before its time";
  }
}

// There are so many blocks that the last ones to end hardly count.
TEST_F(GpuTest, AKernelThatHoldsAPartOfTheGpuCostsThatPart) {
  const int processors = Gpu::At(0).processors;
  const DeviceMemory out = MakeDeviceMemory(sizeof(float));
  // Made before anything is held: what allocates or frees page-locked memory may wait for all.
  Timer timer;
  const auto seconds = [&] {
    const auto enqueue = [&](std::int64_t) {
      LaunchBlocks(processors * 2000, static_cast<float*>(out.get()), timer.Stream());
    };
    timer.Time(3, 1, enqueue);
    return timer.Time(5, 1, enqueue).time.count();
  };
  seconds();
  const MappedMemory release = MakeMappedMemory(sizeof(int));
  volatile int* flag = static_cast<volatile int*>(release.get());
  const Stream other = MakeStream();
  for (const double part : {0.05, 0.10}) {
    const int held = std::max(1, static_cast<int>(std::lround(part * processors)));
    *flag = 1;
    const double alone = seconds();
    *flag = 0;
    ASSERT_EQ(LaunchHold(held, flag, other.get()), cudaSuccess);
    const double together = seconds();
    *flag = 1;
    Wait(other.get(), "the kernel that holds a part");
    const double lost = 1 - alone / together;
    std::printf("  %d of %d multiprocessors held: %.4f of the speed lost\n", held, processors,
                lost);
    EXPECT_NEAR(lost, static_cast<double>(held) / processors, 0.01);
  }
}

TEST_F(GpuTest, ACallLeftHungIsTold) {
  Timer timer({.gate = Seconds(1), .hung = Seconds(0.2)});
  LaunchSpin(700'000'000, timer.Stream());
  EXPECT_THROW(timer.Wait("the test"), Error);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  timer.Wait("the test");
}

TEST_F(GpuTest, TheGpuMakesTheSameInputsAsTheHost) {
  const Gpu gpu = Gpu::At(0);
  const Timer timer;
  for (const Format format : {Format::kF64, Format::kF32, Format::kTf32, Format::kBf16,
                              Format::kF16, Format::kF8E4m3, Format::kF8E5m2, Format::kF4E2m1,
                              Format::kUe8m0, Format::kUe4m3, Format::kS8, Format::kS32}) {
    constexpr std::int64_t kCount = 1'000'006;
    const auto bytes = static_cast<std::size_t>(BytesOf(format, kCount));
    std::vector<std::byte> host(bytes);
    Fill(format, "normal", 11, kCount, host.data(), OnAllCores);
    const DeviceMemory device = MakeDeviceMemory(bytes);
    InputMaker maker(gpu, timer.Stream());
    maker.Make(format, "normal", 11, kCount, device.get());
    std::vector<std::byte> back(bytes);
    Check(
        cudaMemcpyAsync(back.data(), device.get(), bytes, cudaMemcpyDeviceToHost, timer.Stream()));
    timer.Wait("the test");
    EXPECT_TRUE(host == back) << assay::ToText(format);
  }
}

TEST_F(GpuTest, EveryMemoryStreamIsRight) {
  for (const char* pattern : {"read", "write", "copy", "triad"}) {
    for (const std::int64_t bytes : {std::int64_t{64} << 10, std::int64_t{512} << 20}) {
      Prepare("cuda", Memory{.pattern = pattern, .bytes = bytes});
      RunsRight(fmt::format("{} of {} bytes", pattern, bytes));
    }
    Prepare("cuda", Memory{.pattern = pattern, .bytes = 4 << 20, .passes = 86});
    RunsRight(fmt::format("{} of 4 MiB, 86 times", pattern));
  }
}

TEST_F(GpuTest, EveryCopyIsRight) {
  for (const char* route : {"h2d", "d2h", "both"}) {
    for (const std::int64_t bytes : {std::int64_t{64} << 10, std::int64_t{64} << 20}) {
      Prepare("cuda", Copy{.route = route, .bytes = bytes});
      RunsRight(fmt::format("{} of {} bytes", route, bytes));
    }
  }
}

TEST_F(GpuTest, CopiesBetweenGpusAreRight) {
  int devices = 0;
  Check(cudaGetDeviceCount(&devices));
  if (devices < 2) GTEST_SKIP() << "one GPU";
  for (int to = 1; to < devices; ++to) {
    Prepare("cuda", Copy{.route = "peer", .bytes = 64 << 20, .from = 0, .to = to});
    RunsRight(fmt::format("0 to {}", to));
  }
  Prepare("cuda", Copy{.route = "all", .bytes = 64 << 20});
  RunsRight("all at once");
}

TEST_F(GpuTest, EveryLaunchIsCounted) {
  for (const char* mode : {"sync", "stream", "graph"}) {
    Prepare("cuda", Launch{.mode = mode});
    RunsRight(mode);
  }
}

// At odd sizes, in batches, cold and warm; a dtype that the GPU hasn't got says so.
TEST_F(GpuTest, EveryProductIsRight) {
  for (const Dtype dtype :
       {Dtype::kF64, Dtype::kF32, Dtype::kTf32, Dtype::kBf16, Dtype::kF16, Dtype::kFp8E4m3,
        Dtype::kFp8E5m2E4m3, Dtype::kMxfp8, Dtype::kNvfp4, Dtype::kInt8}) {
    const bool blocks = BlockOf(dtype) > 0;
    for (const char* cache : {"cold", "warm", "weights-cold"}) {
      for (const std::int64_t batch : blocks ? std::vector{1} : std::vector{1, 3}) {
        Gemm gemm = {.dtype = dtype,
                     .accumulate = dtype == Dtype::kF64 ? Dtype::kF64 : Dtype::kF32,
                     .m = 272,
                     .n = 144,
                     .k = blocks ? 544 : 528,
                     .batch = batch,
                     .cache = cache};
        Prepare("cublaslt", gemm);
        if (workload_ == nullptr) {
          std::printf("  %s: %s\n", std::string(assay::ToText(dtype)).c_str(), skipped_.c_str());
          EXPECT_THAT(skipped_, testing::AnyOf(testing::HasSubstr("offers no"),
                                               testing::HasSubstr("since CUDA 12.8")));
          continue;
        }
        RunsRight(fmt::format("{} {} batch {}", assay::ToText(dtype), cache, batch));
      }
    }
  }
  EXPECT_GE(right_, 18) << "f64, f32 and f16 are on every GPU";
}

// Long sums, where the two differ, and by how much of what each may.
TEST_F(GpuTest, Fp8IsRightWithFastAccumulationAndWithout) {
  for (const Dtype dtype : {Dtype::kFp8E4m3, Dtype::kFp8E5m2E4m3}) {
    for (const bool fast : {false, true}) {
      Prepare("cublaslt",
              Gemm{.dtype = dtype, .fast_accumulate = fast, .m = 1024, .n = 1024, .k = 16384});
      if (workload_ == nullptr) GTEST_SKIP() << skipped_;
      workload_->Run(1);
      const Checked checked = workload_->Verify();
      std::printf("  %s, %s: off by %g of at most %g\n", std::string(assay::ToText(dtype)).c_str(),
                  fast ? "fast" : "plain", checked.max_error, checked.tolerance);
      EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
    }
  }
}

TEST_F(GpuTest, EveryGroupedProductIsRight) {
  for (const Dtype dtype : {Dtype::kF64, Dtype::kF32, Dtype::kTf32, Dtype::kBf16, Dtype::kF16}) {
    for (const char* cache : {"cold", "warm"}) {
      for (const std::int64_t m : {20, 1000}) {
        Prepare(
            "cublas",
            GroupedGemm{.dtype = dtype, .m = m, .n = 144, .k = 528, .groups = 16, .cache = cache});
        if (workload_ == nullptr) {
          std::printf("  %s: %s\n", std::string(assay::ToText(dtype)).c_str(), skipped_.c_str());
          EXPECT_THAT(skipped_, testing::AnyOf(testing::HasSubstr("no grouped"),
                                               testing::HasSubstr("since CUDA 12.5")));
          continue;
        }
        RunsRight(fmt::format("{} {} {} rows in groups", assay::ToText(dtype), cache, m));
      }
    }
  }
  if (right_ == 0) GTEST_SKIP() << skipped_;
}

TEST_F(GpuTest, ATunedProductIsRightAndNoSlowerThanTheFirst) {
  Prepare("cublaslt", Gemm{.dtype = Dtype::kF16,
                           .accumulate = Dtype::kF32,
                           .m = 2048,
                           .n = 2048,
                           .k = 2048,
                           .algo = "tuned"});
  RunsRight("tuned");
  const Facts facts = workload_->Describe();
  EXPECT_FALSE(facts.contains("failed")) << std::get<std::string>(facts.at("failed"));
  EXPECT_LE(std::get<double>(facts.at("tuned_s")), std::get<double>(facts.at("default_s")));
}

// Every mask, forward and backward, grouped heads, decode from a paged cache, fp8; by every plan.
TEST_F(GpuTest, AttentionIsRight) {
  const Attention base = {.dtype = Dtype::kBf16,
                          .batch = 2,
                          .heads_q = 8,
                          .heads_kv = 2,
                          .seq_q = 256,
                          .seq_kv = 256,
                          .head_dim_qk = 128,
                          .head_dim_v = 128};
  std::vector<Attention> all;
  for (const char* mask : {"full", "causal_top_left", "causal_bottom_right", "window"}) {
    for (const char* direction : {"forward", "backward"}) {
      Attention& op = all.emplace_back(base);
      op.mask = mask;
      op.window = op.mask == "window" ? 100 : 0;
      op.direction = direction;
      op.algo = "tuned";
    }
  }
  for (const Dtype dtype : {Dtype::kBf16, Dtype::kFp8E4m3}) {
    for (const std::int64_t page_size : {0, 16}) {
      Attention& op = all.emplace_back(base);
      op.dtype = dtype;
      op.phase = "decode";
      op.seq_q = 1;
      op.seq_kv = 1024;
      op.page_size = page_size;
      op.algo = "tuned";
    }
  }
  for (const char* mask : {"full", "causal_top_left"}) {
    Attention& op = all.emplace_back(base);
    op.dtype = Dtype::kFp8E4m3;
    op.mask = mask;
    op.algo = "tuned";
  }
  for (const Attention& op : all) {
    const std::string what = fmt::format("{} {} {} {} pages of {}", assay::ToText(op.dtype),
                                         op.mask, op.direction, op.phase, op.page_size);
    Prepare("cudnn", op);
    if (workload_ == nullptr) {
      std::printf("  %s: %s\n", what.c_str(), skipped_.c_str());
      continue;
    }
    RunsRight(what);
  }
  if (right_ == 0) GTEST_SKIP() << skipped_;
}

TEST_F(GpuTest, TheDriverTellsOfTheGpu) {
  const auto nvml = Nvml::Open();
  if (nvml == nullptr) GTEST_SKIP() << "no NVML here";
  const Gpu gpu = Gpu::At(0);
  Accelerator accelerator;
  nvml->Describe(gpu.bus_id, accelerator);
  EXPECT_GT(accelerator.power_limit_w.value_or(0), 10);
  EXPECT_THAT(nvml->Uuid(gpu.bus_id).value_or(""), testing::StartsWith("GPU-"));
  const auto meter = MeterOf(nvml, gpu.bus_id);
  ASSERT_NE(meter, nullptr);
  Timer timer;
  LaunchSpin(1'000'000'000, timer.Stream());
  timer.Wait("the test");
  const Telemetry seen = meter->Finish(Seconds(0));
  EXPECT_GE(seen.at_s.size(), 5U);
  EXPECT_GT(seen.power_w.back(), 1);
  EXPECT_GT(seen.sm_mhz.back(), 100);
}

}  // namespace
}  // namespace assay::cuda
