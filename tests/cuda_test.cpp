// The cuda module's own sources over a strict stand-in for CUDA and cuBLASLt, with the launches
// that nvcc makes of our kernels: what can be known of it without a GPU. No time here is anything
// but the stand-in's arithmetic.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "kernels/backend.h"
#include "kernels/cuda_gemm.cpp"
#include "kernels/cuda_kernels.h"
#include "kernels/cuda_memory.h"
#include "kernels/cuda_nvml.h"
#include "kernels/kernels.h"
#include "results/figures/figures.h"
#include "runner/core/engine.h"
#include "runner/core/module.h"
#include "runner/program/choice.h"
#include "runner/program/suite.h"
#include "standin/fixture.h"
#include "standin/standin.h"

extern "C" const assay::Module* assay_module();

namespace assay::cuda {
namespace {

using standin::kBytesPerSecond, standin::kFlopsPerSecond, standin::kLaunch_s;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class Cuda : public standin::Fixture {};

// The backend of that name, and its device of that number.
std::unique_ptr<Backend> BackendNamed(const std::string& name) {
  for (std::unique_ptr<Backend>& backend : assay_module()->backends()) {
    if (backend->Name() == name) return std::move(backend);
  }
  throw Error("no such backend");
}

std::unique_ptr<Workload> Ready(Prepared prepared) {
  if (const Skipped* no = std::get_if<Skipped>(&prepared)) throw Error("skipped: " + no->reason);
  return std::move(std::get<0>(prepared));
}
std::string BackendOf(const Op& op) {
  return std::holds_alternative<Gemm>(op)          ? "cublaslt"
         : std::holds_alternative<GroupedGemm>(op) ? "cublas"
                                                   : "cuda";
}
std::unique_ptr<Workload> Ready(const Op& op, int device = 0) {
  const auto backend = BackendNamed(BackendOf(op));
  return Ready(backend->Prepare(op, backend->Devices().at(static_cast<std::size_t>(device)), 7));
}
Skipped Refused(const Op& op) {
  const auto backend = BackendNamed(BackendOf(op));
  const Prepared prepared = backend->Prepare(op, backend->Devices().at(0), 7);
  return std::get<Skipped>(prepared);
}

// ---- Devices

TEST_F(Cuda, EveryVisibleGpuIsADeviceOfEachBackend) {
  standin::Reset({.devices = 2});
  for (const char* name : {"cuda", "cublas", "cublaslt"}) {
    const auto backend = BackendNamed(name);
    const std::vector<Device> devices = backend->Devices();
    ASSERT_EQ(devices.size(), 2U) << name;
    EXPECT_EQ(devices[1].name, "cuda:1");
    EXPECT_EQ(devices[1].kind, "gpu");
    EXPECT_FALSE(backend->Missing());
  }
  const std::vector<Accelerator> accelerators = assay_module()->devices().accelerators;
  ASSERT_EQ(accelerators.size(), 2U);
  EXPECT_EQ(accelerators[0].name, "stand-in");
  EXPECT_EQ(accelerators[0].visible, 1);
  EXPECT_EQ(accelerators[0].used, 0);
}

TEST_F(Cuda, WithoutADeviceEachReasonHasItsSentence) {
  const auto why = [](const standin::Faults& faults) {
    standin::Reset(faults);
    const auto backend = BackendNamed("cublaslt");
    EXPECT_THAT(backend->Devices(), IsEmpty());
    EXPECT_THAT(assay_module()->devices().accelerators, IsEmpty());
    const std::optional<Skipped> missing = backend->Missing();
    return missing ? missing->reason + "; " + missing->remedy : "";
  };
  using standin::Driver;
  EXPECT_THAT(why({.driver = Driver::kAbsent}), HasSubstr("there is no NVIDIA driver"));
  EXPECT_THAT(why({.driver = Driver::kTooOld}), HasSubstr("driver is for CUDA 11.8, older than"));
  EXPECT_THAT(why({.driver = Driver::kStub}), HasSubstr("stub"));
  EXPECT_THAT(why({.devices = 0}), HasSubstr("CUDA_VISIBLE_DEVICES"));
  EXPECT_THAT(why({.driver = Driver::kNotReady}),
              AllOf(HasSubstr("(error 802)"), HasSubstr("fabric manager"), HasSubstr("IMEX"),
                    Not(HasSubstr("CUDA_VISIBLE_DEVICES"))));
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "later calls must not be blamed for it";
}

TEST_F(Cuda, AnErrorNamesWhatHelpsAgainstIt) {
  const auto text = [](cudaError_t code) -> std::string {
    try {
      Check(code);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(text(cudaSuccess), "no error");
  EXPECT_THAT(text(cudaErrorSystemNotReady), HasSubstr("systemctl start nvidia-fabricmanager"));
  EXPECT_THAT(text(cudaErrorSystemDriverMismatch), HasSubstr("reboot"));
  EXPECT_THAT(text(cudaErrorCompatNotSupportedOnDevice), HasSubstr("LD_LIBRARY_PATH"));
  EXPECT_THAT(text(cudaErrorLaunchFailure), HasSubstr("see nvidia-smi and dmesg"));
}

TEST_F(Cuda, AGpuForWhichNothingWasCompiledIsSkippedWithItsRemedyByEveryBackend) {
  const std::vector<Op> ops = {Memory{.pattern = "read"}, Launch{}, Copy{},
                               Gemm{.m = 64, .n = 64, .k = 64},
                               GroupedGemm{.m = 64, .n = 64, .k = 64}};
  for (const Op& op : ops) {
    standin::Reset({.compute_capability = 70});
    const Skipped volta = Refused(op);
    EXPECT_THAT(volta.reason, HasSubstr("has no code for stand-in (compute capability 7.0)"));
    EXPECT_THAT(volta.remedy, HasSubstr("CUDA 12.9"));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "later calls must not be blamed for it";
    standin::Reset({.compute_capability = 130, .oldest_code = 131});
    EXPECT_THAT(Refused(op).remedy, HasSubstr("knows this GPU"));
    standin::Reset({.compute_capability = 75});
    EXPECT_EQ(Ready(Launch{})->Run(1).iterations, 0) << "which is the oldest that has code";
  }
  // A layer of products in one loop, as the headline is.
  standin::Reset({.compute_capability = 70});
  const auto backend = BackendNamed("cublaslt");
  const Prepared loop = backend->PrepareInTurn({{.op = Gemm{.m = 64, .n = 64, .k = 64}}},
                                               backend->Devices().at(0), 7);
  EXPECT_THAT(std::get<Skipped>(loop).reason, HasSubstr("has no code"));
}

TEST_F(Cuda, WithoutCudnnsFrontendAttentionHasNoDeviceAndSaysWhy) {
  const auto backend = BackendNamed("cudnn");
  EXPECT_TRUE(backend->Has(Attention{}));
  EXPECT_THAT(backend->Devices(), IsEmpty());
  const std::optional<Skipped> missing = backend->Missing();
  ASSERT_TRUE(missing);
  EXPECT_THAT(missing->reason, HasSubstr("built without cuDNN's frontend"));
  EXPECT_THAT(missing->remedy, HasSubstr("ASSAY_CUDNN_FRONTEND"));
  // Where there is no GPU either, that is what is missing first.
  standin::Reset({.driver = standin::Driver::kAbsent});
  EXPECT_THAT(BackendNamed("cudnn")->Missing()->reason, HasSubstr("no NVIDIA driver"));
}

TEST_F(Cuda, WhatABackendHasNotIsSkipped) {
  const std::vector<Op> ops = {Memory{},      Copy{},      Launch{}, Gemm{},
                               GroupedGemm{}, Attention{}, Peak{}};
  for (const char* name : {"cuda", "cublas", "cublaslt"}) {
    const auto backend = BackendNamed(name);
    for (const Op& op : ops) {
      if (backend->Has(op)) continue;
      const Prepared prepared = backend->Prepare(op, backend->Devices().at(0), 7);
      EXPECT_THAT(std::get<Skipped>(prepared).reason, HasSubstr(name)) << op.index();
    }
  }
}

TEST_F(Cuda, NothingAsksTheDriverBeforeADeviceIsNeeded) {
  const auto backends = assay_module()->backends();
  EXPECT_TRUE(backends[0]->Has(Memory{}));
  EXPECT_EQ(standin::Calls("cudaGetDeviceCount"), 0);
}

// ---- Inputs

TEST_F(Cuda, TheDeviceMakesTheSameInputsAsTheHost) {
  const Gpu gpu = Gpu::At(0);
  const Timer timer;
  for (const Format format : {Format::kF64, Format::kF32, Format::kTf32, Format::kBf16,
                              Format::kF16, Format::kF8E4m3, Format::kF8E5m2, Format::kF4E2m1,
                              Format::kUe8m0, Format::kUe4m3, Format::kS8, Format::kS32}) {
    for (const std::int64_t elements : {1, 6, 4099}) {
      const std::int64_t count = format == Format::kF4E2m1 ? 2 * elements : elements;
      const auto bytes = static_cast<std::size_t>(BytesOf(format, count));
      std::vector<std::byte> host(bytes);
      Fill(format, "normal", 11, count, host.data(), Serially);
      const DeviceMemory device = MakeDeviceMemory(bytes);
      InputMaker maker(gpu, timer.Stream());
      maker.Make(format, "normal", 11, count, device.get());
      std::vector<std::byte> back(bytes);
      Check(cudaMemcpyAsync(back.data(), device.get(), bytes, cudaMemcpyDeviceToHost,
                            timer.Stream()));
      timer.Wait("the test");
      EXPECT_EQ(host, back) << assay::ToText(format) << " " << count;
      maker.Make(format, "zeros", 11, count, device.get());
      Check(cudaMemcpyAsync(back.data(), device.get(), bytes, cudaMemcpyDeviceToHost,
                            timer.Stream()));
      timer.Wait("the test");
      EXPECT_EQ(back, std::vector<std::byte>(bytes)) << assay::ToText(format);
    }
  }
}

// ---- Time

// The time of an enqueued write of that many words on the stand-in.
double WriteSeconds(std::size_t words) {
  return kLaunch_s + static_cast<double>(words * sizeof(Words)) / kBytesPerSecond;
}

class CudaTimer : public Cuda {
 protected:
  static constexpr std::size_t kWords = 4096;
  // Times writes of `words`, each with its own i as the value.
  Batch Time(Timer& timer, std::int64_t iterations, std::int64_t period, std::size_t words) {
    return timer.Time(iterations, period, [&, words](std::int64_t i) {
      seen_.push_back(i);
      LaunchWrite(static_cast<Words*>(memory_.get()), words, 1, static_cast<std::uint64_t>(i), 1,
                  timer.Stream());
    });
  }
  std::uint64_t Value(const Timer& timer) const {
    std::uint64_t value = 0;
    Check(cudaMemcpyAsync(&value, memory_.get(), sizeof(value), cudaMemcpyDeviceToHost,
                          timer.Stream()));
    timer.Wait("the test");
    return value;
  }
  void TearDown() override {
    memory_.reset();
    Cuda::TearDown();
  }

  DeviceMemory memory_ = {};
  std::vector<std::int64_t> seen_ = {};
};

TEST_F(CudaTimer, TimesByTheDevicesClockAndNotTheHosts) {
  memory_ = MakeDeviceMemory(1 << 20);
  constexpr std::size_t kMany = (1 << 20) / sizeof(Words);  // 15 us each
  {
    Timer timer;
    for (const std::int64_t iterations : {1, 5, 200}) {
      const Batch batch = Time(timer, iterations, 1, kMany);
      const double expected = static_cast<double>(iterations) * WriteSeconds(kMany);
      EXPECT_NEAR(batch.time.count(), expected, 1e-4 * expected) << iterations;
      EXPECT_GT(batch.host.count(), 0);
      EXPECT_THAT(timer.Method(), StartsWith("events"));
    }
  }
  // A slow GPU is slow.
  standin::Reset({.slowness = {{0, 3.0}}});
  memory_.release();
  memory_ = MakeDeviceMemory(1 << 20);
  Timer timer;
  EXPECT_NEAR(Time(timer, 4, 1, kMany).time.count(), 12 * WriteSeconds(kMany), 1e-9);
}

TEST_F(CudaTimer, ShortCallsAreLaunchedAsAGraph) {
  memory_ = MakeDeviceMemory(kWords * sizeof(Words));
  Timer timer;
  EXPECT_EQ(Time(timer, 3, 7, kWords).time.count() > 0, true);
  for (const std::int64_t iterations : {5, 4100, 12345}) {
    const std::int64_t before = timer.Calls();
    const Batch batch = Time(timer, iterations, 7, kWords);
    const double expected = static_cast<double>(iterations) * WriteSeconds(kWords);
    EXPECT_NEAR(batch.time.count(), expected, 1e-4 * expected) << iterations;
    EXPECT_EQ(timer.Method(), "graph");
    EXPECT_EQ(Value(timer), static_cast<std::uint64_t>(timer.Last())) << "the last call was last";
    EXPECT_EQ(timer.Calls() - before, iterations + std::min<std::int64_t>(iterations, 64));
  }
  EXPECT_GT(standin::Calls("cudaGraphLaunch"), 0);
}

TEST_F(CudaTimer, CallsThatTheHostLaunchesTooSlowlyAreAGraphOrSayTheirPace) {
  memory_ = MakeDeviceMemory(1 << 20);
  constexpr std::size_t kMany = (1 << 20) / sizeof(Words);  // 15 us each
  for (const Seconds graph_below : {Seconds(10e-6), Seconds(0)}) {
    Timer timer({.graph_below = graph_below});
    const auto time = [&](std::int64_t iterations) {
      timer.Time(iterations, 1, [&](std::int64_t) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        LaunchWrite(static_cast<Words*>(memory_.get()), kMany, 1, 0, 1, timer.Stream());
      });
      return timer.Method();
    };
    EXPECT_EQ(time(64), "events") << "all of them are there before the gate opens";
    EXPECT_EQ(time(400), "events, at the pace of the host");
    EXPECT_EQ(time(400), graph_below > Seconds(0) ? "graph" : "events, at the pace of the host");
  }
}

TEST_F(CudaTimer, TheSetsOfAPeriodComeInTurnFromBatchToBatch) {
  memory_ = MakeDeviceMemory(kWords * sizeof(Words));
  Timer timer;
  for (const std::int64_t iterations : {1, 2, 9, 30}) Time(timer, iterations, 5, kWords);
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    ASSERT_EQ(seen_[i], static_cast<std::int64_t>(i % 5)) << "call " << i;
  }
  EXPECT_EQ(timer.Calls() % 5, (seen_.back() + 1) % 5);
}

TEST_F(CudaTimer, TheFirstCallIsBehindNoGate) {
  memory_ = MakeDeviceMemory(kWords * sizeof(Words));
  Timer timer;
  int launches_before = -1;
  timer.Time(1, 1, [&](std::int64_t) {
    if (launches_before < 0) launches_before = standin::Calls("cudaLaunchKernel");
    LaunchWrite(static_cast<Words*>(memory_.get()), kWords, 1, 0, 1, timer.Stream());
  });
  EXPECT_EQ(launches_before, 0) << "a gate was there before the kernel was loaded";
}

TEST_F(CudaTimer, ItMeetsTheOthersBeforeItsGateIsThereAndBeforeItOpens) {
  for (const Seconds graph_below : {Seconds(0), Seconds::max()}) {
    standin::Reset();
    memory_ = MakeDeviceMemory(kWords * sizeof(Words));
    Timer timer({.graph_below = graph_below});
    for (const std::int64_t iterations : {1, 3, 200, 9000}) {
      std::vector<cudaError_t> states;
      std::vector<std::size_t> calls;
      timer.BeginTogether([&] {
        states.push_back(cudaStreamQuery(timer.Stream()));
        calls.push_back(seen_.size());
      });
      Time(timer, iterations, 1, kWords);
      ASSERT_EQ(states.size(), 2U) << iterations;
      EXPECT_EQ(states[0], cudaSuccess) << "the gate is there already";
      EXPECT_EQ(states[1], cudaErrorNotReady) << "the gate is open already";
      EXPECT_TRUE(graph_below == Seconds::max() || calls[1] > calls[0]) << "nothing is queued";
      timer.BeginTogether({});
      Time(timer, iterations, 1, kWords);
      EXPECT_EQ(states.size(), 2U) << "met again";
    }
    memory_.reset();
  }
}

TEST_F(CudaTimer, WhatWaitsForItsOwnStreamIsFoundOut) {
  standin::Reset({.synchronizes = true});
  const auto workload = Ready(Gemm{.dtype = Dtype::kF32, .m = 8, .n = 8, .k = 8, .cache = "warm"});
  try {
    workload->Run(2);
    FAIL() << "a time was made of it";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("waits for the device within itself"));
  }
}

TEST_F(CudaTimer, WhatIsPutBehindItsGateBeginsWhenItIsReleasedAndGoesOnInTurn) {
  memory_ = MakeDeviceMemory(kWords * sizeof(Words));
  Timer timer;
  const auto write = [&](std::int64_t i) {
    LaunchWrite(static_cast<Words*>(memory_.get()), kWords, 1, static_cast<std::uint64_t>(i), 1,
                timer.Stream());
  };
  Time(timer, 3, 5, kWords);
  const std::int64_t before = timer.Calls();
  for (int again = 0; again < 2; ++again) {
    const std::uint64_t first = *static_cast<std::uint64_t*>(memory_.get());
    timer.Hold();
    timer.Put(2, 5, write);
    EXPECT_EQ(cudaStreamQuery(timer.Stream()), cudaErrorNotReady);
    EXPECT_EQ(*static_cast<std::uint64_t*>(memory_.get()), first);
    timer.Release();
    timer.Put(4, 5, write);
    timer.Finish();
    EXPECT_EQ(Value(timer), static_cast<std::uint64_t>(timer.Last()));
  }
  EXPECT_EQ(timer.Calls(), before + 12);
  timer.Hold();
  cudaStreamSynchronize(timer.Stream());
  EXPECT_THROW(timer.Finish(), Error) << "it began before it was released";
  EXPECT_GT(Time(timer, 1, 5, kWords).time, Seconds(0)) << "and is of use again";
}

TEST_F(CudaTimer, AHungKernelEndsInASentence) {
  memory_ = MakeDeviceMemory(kWords * sizeof(Words));
  Timer timer({.gate = Seconds(1), .hung = Seconds(0.05)});
  LaunchWrite(static_cast<Words*>(memory_.get()), kWords, 1, 0, 1, timer.Stream());
  standin::Hang(true);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THROW(timer.Wait("the test"), Error);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  standin::Hang(false);
  timer.Wait("the test");
}

// ---- Memory

TEST_F(Cuda, MemoryStreamsAreRightAndCounted) {
  for (const char* pattern : {"read", "write", "copy", "triad"}) {
    const Memory op = {.pattern = pattern, .bytes = 1 << 20};
    const auto workload = Ready(op);
    for (const std::int64_t iterations : {1, 3, 10}) {
      const Batch batch = workload->Run(iterations);
      const double expected =
          static_cast<double>(iterations) *
          (kLaunch_s + static_cast<double>(*WorkOf(op).bytes) / kBytesPerSecond);
      EXPECT_NEAR(batch.time.count(), expected, 1e-4 * expected) << pattern;
      const Checked checked = workload->Verify();
      EXPECT_EQ(checked.wrong, 0) << pattern << ": " << checked.what.value_or("");
      EXPECT_EQ(checked.checked, (1 << 20) / 8);
    }
  }
}

TEST_F(Cuda, ShortMemoryStreamsAreRightInGraphsToo) {
  for (const char* pattern : {"read", "write", "copy", "triad"}) {
    const auto workload = Ready(Memory{.pattern = pattern, .bytes = 8192});
    for (const std::int64_t iterations : {1, 20, 21}) {
      workload->Run(iterations);
      EXPECT_EQ(workload->Verify().wrong, 0) << pattern << " " << iterations;
    }
    EXPECT_EQ(std::get<std::string>(workload->Describe().at("timing")), "graph");
  }
}

TEST_F(Cuda, SeveralPassesOverMemoryAreOneLaunchAndAllOfThemAreChecked) {
  for (const char* pattern : {"read", "write", "copy", "triad"}) {
    const Memory op = {.pattern = pattern, .bytes = 1 << 14, .passes = 64};
    const auto workload = Ready(op);
    const double seconds = workload->Run(20).time.count();
    EXPECT_NEAR(seconds,
                20 * (kLaunch_s + static_cast<double>(*WorkOf(op).bytes) / kBytesPerSecond),
                1e-4 * seconds)
        << pattern;
    EXPECT_EQ(workload->Verify().wrong, 0) << pattern;
    const Facts facts = workload->Describe();
    EXPECT_EQ(facts.at("passes"), Fact(std::int64_t{64}));
    EXPECT_EQ(facts.at("in_cache"), Fact(true));
  }
  for (const char* pattern : {"read", "write", "triad"}) {
    standin::Reset({.one_pass = true});
    const auto workload = Ready(Memory{.pattern = pattern, .bytes = 1 << 14, .passes = 64});
    workload->Run(1);
    EXPECT_GT(workload->Verify().wrong, 0) << pattern << ": of 64 passes only one was made";
  }
  standin::Reset();
  const Memory large = {.pattern = "read", .bytes = standin::kCacheBytes + 4096};
  EXPECT_EQ(Ready(large)->Describe().at("in_cache"), Fact(false));
}

TEST_F(Cuda, AMemoryStreamThatDidNotRunIsWrong) {
  for (const char* pattern : {"write", "copy", "triad"}) {
    const auto workload = Ready(Memory{.pattern = pattern, .bytes = 1 << 16});
    workload->Run(1);
    EXPECT_EQ(workload->Verify().wrong, 0);
    EXPECT_EQ(workload->Verify().wrong, (1 << 16) / 8) << pattern << ": it was not run again";
  }
}

TEST_F(Cuda, AnAddressThatIsWrongByAWordIsFound) {
  for (const char* pattern : {"read", "write", "copy", "triad"}) {
    standin::Reset({.spoil_kernel = pattern});
    const auto workload = Ready(Memory{.pattern = pattern, .bytes = 1 << 20});
    workload->Run(3);
    const Checked checked = workload->Verify();
    EXPECT_EQ(checked.wrong, *pattern == 'r' ? 1 : 2) << pattern;
    EXPECT_THAT(checked.what.value_or(""), HasSubstr(*pattern == 'r' ? "sum" : "word 12 "))
        << pattern;
  }
}

TEST_F(Cuda, ArraysAreFourCachesUnlessTheUserSays) {
  const auto backend = BackendNamed("cuda");
  const Device device = backend->Devices().at(0);
  EXPECT_EQ(std::get<Memory>(backend->Complete(Memory{}, device)).bytes,
            ArrayBytes(standin::kCacheBytes, std::int64_t{1} << 30));
  const Op small = backend->Complete(Memory{.bytes = 4096}, device);
  EXPECT_EQ(std::get<Memory>(small).bytes, 4096);
  EXPECT_EQ(std::get<Memory>(small).passes, PassesOver(Memory{.bytes = 4096}));
}

TEST_F(Cuda, WhatDoesNotFitIsSkippedAndNothingIsAllocated) {
  const Skipped no = Refused(Memory{.pattern = "triad", .bytes = 512 << 20});
  EXPECT_THAT(no.reason, HasSubstr("needs 1.5 GiB of GPU memory, of which 0.9 can be had"));
  EXPECT_THAT(Refused(Gemm{.m = 16384, .n = 16384, .k = 16384}).reason, HasSubstr("GiB"));
  EXPECT_EQ(standin::Calls("cudaMalloc"), 0);
}

// ---- What the driver tells

// The mock, from the beginning of a script. Opened once, it is NVML to all who ask the loader for
// that.
std::shared_ptr<Nvml> MockNvml(const char* fault = "") {
  std::shared_ptr<Nvml> nvml = Nvml::Open(MOCK_NVML);
  void* mock = dlopen(MOCK_NVML, RTLD_NOW | RTLD_NOLOAD);
  reinterpret_cast<void (*)(const char*)>(dlsym(mock, "mock_nvml_reset"))(fault);
  return nvml;
}

// The mock's GPU is used by so many processes, divided, and has so many of its 16 lanes.
void Share(unsigned processes, bool divided, unsigned lanes) {
  void* mock = dlopen(MOCK_NVML, RTLD_NOW | RTLD_NOLOAD);
  reinterpret_cast<void (*)(unsigned, bool, unsigned)>(dlsym(mock, "mock_nvml_share"))(
      processes, divided, lanes);
}

TEST(Nvml, IsNothingWhereThereIsNone) {
  EXPECT_EQ(Nvml::Open("libnvidia-ml-that-is-not-there.so.1"), nullptr);
  EXPECT_EQ(Nvml::Open("libm.so.6"), nullptr) << "a library of another kind";
  EXPECT_EQ(MeterOf(nullptr, "00AB:00:00.0"), nullptr);
}

TEST(Nvml, DescribesAGpuAsFarAsItTells) {
  const auto nvml = MockNvml();
  Accelerator gpu;
  nvml->Describe("00AB:00:00.0", gpu);
  EXPECT_EQ(gpu.vbios, "96.00.5E.00.01");
  EXPECT_EQ(gpu.power_limit_w, 700);
  EXPECT_EQ(gpu.ecc, true);
  EXPECT_FALSE(gpu.mig);
  EXPECT_EQ(nvml->Uuid("00AB:00:00.0"), "GPU-00000000-1111-2222-3333-444444444444");
  Accelerator other;
  nvml->Describe("00AB:01:00.0", other);
  EXPECT_EQ(other.vbios, "");
  EXPECT_EQ(other.ecc, std::nullopt);
  EXPECT_EQ(nvml->Uuid("00AB:01:00.0"), std::nullopt);
  EXPECT_EQ(nvml->Read("00AB:01:00.0"), std::nullopt);
}

TEST(Nvml, AMeterReadsFromItsMakingToItsEnd) {
  const auto meter = MeterOf(MockNvml(), "00AB:00:00.0");
  ASSERT_NE(meter, nullptr);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const Telemetry seen = meter->Finish(Seconds(0));
  const std::size_t readings = seen.at_s.size();
  ASSERT_GE(readings, 3U);  // one at each end at least
  EXPECT_LE(static_cast<double>(readings), seen.at_s.back() / 0.1 + 2);
  EXPECT_TRUE(std::ranges::is_sorted(seen.at_s));
  EXPECT_GE(seen.at_s.back(), 1);
  const auto steps = static_cast<double>(readings);
  EXPECT_EQ(seen.sm_mhz.front(), 1990);
  EXPECT_EQ(seen.sm_mhz.back(), 2000 - 10 * steps);
  EXPECT_EQ(seen.power_w.back(), 500 + steps);
  EXPECT_EQ(seen.temperature_c.back(), 40 + steps);
  EXPECT_DOUBLE_EQ(seen.energy_j.value(), 60 * (steps - 1));
  EXPECT_EQ(seen.events, (std::vector<std::string>{"sw_power_cap", "ecc_uncorrected"}));
}

TEST(Nvml, AMeterTellsSoFarAndEndsWithWhatCameAfterAMoment) {
  const auto meter = MeterOf(MockNvml(), "00AB:00:00.0");
  std::this_thread::sleep_for(std::chrono::milliseconds(350));
  const Telemetry before = meter->SoFar();
  ASSERT_GE(before.at_s.size(), 3U);
  EXPECT_EQ(before.sm_mhz.front(), 1990);
  EXPECT_GE(before.at_s.back(), 0.35) << "read when it was asked";
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  const Telemetry after = meter->Finish(Seconds(before.at_s.back()));
  EXPECT_EQ(after.at_s.front(), before.at_s.back());
  EXPECT_EQ(after.sm_mhz.front(), before.sm_mhz.back());
  EXPECT_EQ(after.temperature_c.front(), before.temperature_c.back());
  EXPECT_DOUBLE_EQ(after.energy_j.value(), 60 * static_cast<double>(after.at_s.size() - 1));
  EXPECT_EQ(after.events, (std::vector<std::string>{"sw_power_cap", "ecc_uncorrected"}))
      << "an error counts whenever it came";
}

// A GPU that is read as fast as it can be, and held back once.
class Hasty : public Nvml {
 public:
  void Describe(const std::string&, Accelerator&) override {}
  std::optional<std::string> Uuid(const std::string&) override { return std::nullopt; }
  std::optional<Lanes> LanesOf(const std::string&) override { return std::nullopt; }
  std::optional<unsigned> Processes(const std::string&) override { return std::nullopt; }
  std::optional<Reading> Read(const std::string&) override {
    ++reads_;
    return Reading{.sm_mhz = 1.0 * reads_, .reasons = reads_ == 100 ? 0x40U : 0U};
  }

 private:
  int reads_ = 0;
};

TEST(Nvml, OfManyReadingsFewAreKeptAndNoReasonIsLost) {
  const auto meter = MeterOf(std::make_shared<Hasty>(), "00AB:00:00.0");
  Telemetry so_far;
  for (int i = 0; i < 300; ++i) so_far = meter->SoFar();
  EXPECT_GE(so_far.at_s.size(), 300U);
  const double last_mhz = so_far.sm_mhz.back();
  const Telemetry seen = meter->Finish(Seconds(0));
  EXPECT_LE(seen.at_s.size(), 64U);
  EXPECT_GE(seen.at_s.size(), 32U);
  EXPECT_EQ(seen.sm_mhz.front(), 1);
  EXPECT_GT(seen.sm_mhz.back(), last_mhz);
  EXPECT_EQ(seen.events, (std::vector<std::string>{"hw_thermal"}));
}

TEST(Nvml, HeatAndARemappedRowAreSeenWhileItIsMeasured) {
  const auto meter = MeterOf(MockNvml("hot"), "00AB:00:00.0");
  ASSERT_NE(meter, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const Telemetry seen = meter->Finish(Seconds(0));
  ASSERT_GE(seen.at_s.size(), 3U);
  EXPECT_EQ(seen.sm_mhz.front(), 1990);
  EXPECT_EQ(seen.sm_mhz.back(), 1000);
  EXPECT_EQ(seen.events, (std::vector<std::string>{"hw_thermal", "row_remapped"}));
}

TEST(Nvml, OfAGpuThatIsLostMidwayWhatWasReadRemains) {
  const auto meter = MeterOf(MockNvml("lost"), "00AB:00:00.0");
  ASSERT_NE(meter, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const Telemetry seen = meter->Finish(Seconds(0));
  EXPECT_THAT(seen.sm_mhz, testing::ElementsAre(1990));
  EXPECT_DOUBLE_EQ(seen.energy_j.value_or(0), 0);
  EXPECT_THAT(seen.events, IsEmpty());
}

TEST(Nvml, EveryReasonHasAName) {
  EXPECT_THAT(ReasonsText(0x1), IsEmpty()) << "idle";
  EXPECT_EQ(ReasonsText(0x1ff & ~0x1U).size(), 8U);
  EXPECT_EQ(ReasonsText(0x88), (std::vector<std::string>{"hw_slowdown", "hw_power_brake"}));
}

TEST_F(Cuda, TheModuleTellsOfItsGpusWhatNvmlSays) {
  const auto nvml = MockNvml();
  standin::Reset({.devices = 1});
  EXPECT_EQ(assay_module()->devices().accelerators.at(0).vbios, "96.00.5E.00.01");
  EXPECT_THAT(assay_module()->devices().uuids, testing::SizeIs(1));
  const auto backend = BackendNamed("cublaslt");
  const auto meter = backend->MeterOf(backend->Devices().at(0));
  ASSERT_NE(meter, nullptr);
  EXPECT_FALSE(meter->Finish(Seconds(0)).power_w.empty());
  standin::Reset({.devices = 2});  // of which the mock knows one
  EXPECT_EQ(assay_module()->devices().accelerators.at(1).vbios, "");
  EXPECT_THAT(assay_module()->devices().uuids, IsEmpty()) << "a part of them would be another node";
}

TEST_F(Cuda, WhatMakesFiguresDoubtfulIsANote) {
  const auto nvml = MockNvml();
  standin::Reset({.devices = 1});
  EXPECT_THAT(assay_module()->devices().notes, IsEmpty());
  Share(2, true, 8);
  const std::vector<Note> shared = assay_module()->devices().notes;
  ASSERT_EQ(shared.size(), 3U);
  EXPECT_EQ(shared[0].what, "2 other processes use GPU 0: what they do is in its figures");
  EXPECT_THAT(shared[1].what, HasSubstr("GPU 0 has 8 of 16 lanes of PCIe"));
  EXPECT_THAT(shared[2].what, HasSubstr("GPU 0 is divided (MIG)"));
  EXPECT_TRUE(assay_module()->devices().accelerators.at(0).mig);
  Share(0, false, 16);
  for (const auto& [mode, what] :
       {std::pair(cudaComputeModeExclusiveProcess, "exclusive: it takes one process"),
        std::pair(cudaComputeModeProhibited, "prohibited")}) {
    standin::Reset({.devices = 1, .compute_mode = mode});
    EXPECT_THAT(assay_module()->devices().notes.at(0).what, HasSubstr(what));
  }
}

TEST_F(Cuda, AGpuThatAnotherProcessHoldsIsSkippedWithItsReason) {
  const Gemm small = {.dtype = Dtype::kF32, .m = 8, .n = 8, .k = 8};
  standin::Reset({.compute_mode = cudaComputeModeExclusiveProcess, .unavailable = true});
  EXPECT_EQ(Refused(small).reason, "GPU 0 is in use by another process, which has it for itself");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "later calls must not be blamed for it";
  standin::Reset({.compute_mode = cudaComputeModeProhibited, .unavailable = true});
  EXPECT_EQ(Refused(small).remedy, "nvidia-smi -i 0 -c DEFAULT");
}

// ---- Copies and launches

Copy SmallCopy(const std::string& route, int from = -1, int to = -1) {
  return {.route = route, .bytes = 1 << 16, .from = from, .to = to};
}

TEST_F(Cuda, EveryCopyBringsEveryByteAndTakesItsTime) {
  standin::Reset({.devices = 3});
  const double one = kLaunch_s + (1 << 16) / kBytesPerSecond;
  for (const auto& [op, copies] : std::vector<std::pair<Copy, int>>{{SmallCopy("h2d"), 1},
                                                                    {SmallCopy("d2h"), 1},
                                                                    {SmallCopy("both"), 2},
                                                                    {SmallCopy("peer", 2, 1), 1},
                                                                    {SmallCopy("all"), 6}}) {
    const auto workload = Ready(op, 1);
    for (const std::int64_t iterations : {1, 7}) {
      // Copies at once are on different streams, each of which takes as long as one copy alone.
      EXPECT_NEAR(workload->Run(iterations).time.count(), static_cast<double>(iterations) * one,
                  1e-4 * one)
          << op.route;
      const Checked checked = workload->Verify();
      EXPECT_EQ(checked.wrong, 0) << op.route << ": " << checked.what.value_or("");
      EXPECT_EQ(checked.checked, copies * (1 << 16) / 8) << op.route;
    }
    EXPECT_EQ(workload->Verify().wrong, copies * (1 << 16) / 8) << op.route << ": not run again";
    EXPECT_EQ(std::get<std::int64_t>(workload->Describe().at("copies_at_once")), copies);
  }
}

TEST_F(Cuda, ACopyThatLosesAByteIsFound) {
  standin::Reset({.devices = 2, .spoil_copy = true});
  for (const Copy& op : {SmallCopy("d2h"), SmallCopy("peer", 0, 1)}) {
    const auto workload = Ready(op);
    workload->Run(1);
    const Checked checked = workload->Verify();
    EXPECT_EQ(checked.wrong, 1) << op.route;
    EXPECT_EQ(checked.what, "copy 0: word 8191 of the output") << op.route;
  }
}

TEST_F(Cuda, ShortCopiesAreLaunchedAsAGraphUnlessSeveralStreamsTakePart) {
  for (const char* route : {"h2d", "both"}) {
    const auto workload = Ready(SmallCopy(route));
    for (int i = 0; i < 3; ++i) {
      workload->Run(40);
      EXPECT_EQ(workload->Verify().wrong, 0) << route;
    }
    EXPECT_EQ(std::get<std::string>(workload->Describe().at("timing")),
              route == std::string("h2d") ? "graph" : "events");
  }
}

TEST_F(Cuda, ACopyBetweenGpusTellsWhichWayItTakes) {
  for (const bool no_peers : {false, true}) {
    standin::Reset({.devices = 2, .no_peers = no_peers});
    for (int again = 0; again < 2; ++again) {
      const auto workload = Ready(SmallCopy("peer", 0, 1));
      EXPECT_EQ(std::get<std::string>(workload->Describe().at("path")),
                no_peers ? "through the host's memory" : "peer to peer");
      EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "later calls must not be blamed for it";
      // Without peers a copy waits for what is before it on its stream.
      EXPECT_GT(workload->Run(3).time, Seconds(0));
      EXPECT_EQ(workload->Verify().wrong, 0);
    }
    EXPECT_EQ(standin::Calls("cudaDeviceEnablePeerAccess"), no_peers ? 0 : 4);
  }
}

TEST_F(Cuda, CopiesThatCannotBeAreSkipped) {
  standin::Reset({.devices = 1});
  EXPECT_THAT(Refused(SmallCopy("peer")).reason, HasSubstr("takes two"));
  EXPECT_THAT(Refused(SmallCopy("all")).reason, HasSubstr("takes two"));
  standin::Reset({.devices = 2});
  EXPECT_THAT(Refused(SmallCopy("peer", 0, 2)).reason, HasSubstr("from GPU 0 to GPU 2"));
  EXPECT_THAT(Refused(SmallCopy("peer", 1, 1)).remedy, HasSubstr("two different ones of 0 to 1"));
  EXPECT_THAT(Refused(Copy{.route = "h2d", .bytes = std::int64_t{1} << 33}).reason,
              HasSubstr("8.0 GiB"));
  EXPECT_EQ(standin::Calls("cudaMalloc") + standin::Calls("cudaHostAlloc"), 0);
}

// The cases that a probe of these devices has.
std::vector<Case> CasesOf(const std::string& name, const Params& params,
                          const std::vector<std::string>& devices = {}) {
  static const Modules modules({{.name = "cuda", .module = assay_module()}});
  for (const Probe& probe : kernels::Probes(
           {.backends = {"cuda", "cublaslt"}, .devices = devices, .modules = &modules})) {
    if (probe.name == name) return probe.unfold(params);
  }
  throw Error("no such probe");
}

const Params kSmallGemm = {
    {"dtype", "bf16"}, {"m", std::int64_t{64}}, {"n", std::int64_t{128}}, {"k", std::int64_t{32}}};

TEST_F(Cuda, TheGpusOfANodeAreOneCaseThatLastsAsLongAsTheSlowest) {
  const auto nvml = MockNvml();
  standin::Reset({.devices = 3, .slowness = {{1, 1.5}}});
  const std::vector<Case> cases = CasesOf("gemm", kSmallGemm);
  ASSERT_EQ(cases.size(), 1U);
  const Case& node = cases[0];
  EXPECT_EQ(StringOf(node.params, "scope"), "node");
  ASSERT_EQ(node.units.size(), 3U);
  EXPECT_EQ(node.units[2].device, 2);
  EXPECT_EQ(node.work.flops, 3 * 2 * 64 * 128 * 32);
  EXPECT_FALSE(node.accelerator) << "it isn't one GPU's alone";
  const std::vector<Telemetry> readings = node.meter()->Begin();
  ASSERT_EQ(readings.size(), 1U) << "the mock knows one of them";
  EXPECT_EQ(readings[0].unit, 0);
  const auto workload = Ready(node.prepare(7));
  workload->Run(1);
  EXPECT_EQ(workload->Verify().wrong, 0);
  const Batch batch = workload->Run(100);
  const double one_s = 100 * (kLaunch_s + 2 * 64 * 128 * 32 / kFlopsPerSecond);
  ASSERT_EQ(batch.per_unit.size(), 3U);
  EXPECT_NEAR(batch.per_unit[0].count(), one_s, 0.01 * one_s);
  EXPECT_NEAR(batch.per_unit[1].count(), 1.5 * one_s, 0.01 * one_s);
  EXPECT_EQ(batch.time, batch.per_unit[1]);
  const Checked checked = workload->Verify();
  EXPECT_EQ(checked.wrong, 0);
  EXPECT_EQ(std::get<std::int64_t>(workload->Describe().at("rotation_sets")) > 1, true);
}

TEST_F(Cuda, TheDevicesThatAreChosenMakeTheCase) {
  standin::Reset({.devices = 3});
  const auto units = [](const std::vector<Case>& cases) {
    std::string text;
    for (const Case& which : cases) {
      for (const Unit& unit : which.units) text += fmt::format("{} ", unit.device);
      text += "| ";
    }
    return text;
  };
  Params alone = kSmallGemm;
  alone["scope"] = "device";
  EXPECT_EQ(units(CasesOf("gemm", kSmallGemm, {"all"})), "0 1 2 | ");
  EXPECT_EQ(units(CasesOf("gemm", kSmallGemm, {"cuda:0", "cuda:2"})), "0 2 | ");
  EXPECT_EQ(units(CasesOf("gemm", alone)), "0 | ");
  EXPECT_EQ(units(CasesOf("gemm", alone, {"all"})), "0 | 1 | 2 | ");
  EXPECT_EQ(units(CasesOf("gemm", alone, {"cuda:1"})), "1 | ");
  EXPECT_EQ(units(CasesOf("memory", {})), "0 1 2 | ");
  EXPECT_EQ(units(CasesOf("copy", {{"route", "both"}})), "0 1 2 | ");
  EXPECT_EQ(units(CasesOf("copy", {{"route", "all"}})), "0 | ");
  EXPECT_EQ(units(CasesOf("launch", {})), "0 | ") << "starting kernels is asked of one GPU";
}

TEST_F(Cuda, TheHeadlineOfANodeWithGpusIsOnAllOfThem) {
  standin::Reset({.devices = 2});
  const std::vector<Case> cases = CasesOf("headline", {});
  ASSERT_EQ(cases.size(), 1U);
  EXPECT_EQ(assay::ToText(cases[0].params),
            "algo=default,cache=cold,dtype=bf16,inputs=normal,name=bf16-train/1,regime=sustained,"
            "scope=node,tokens=4096");
  EXPECT_EQ(cases[0].backend, "cublaslt");
  EXPECT_EQ(cases[0].units.size(), 2U);
  constexpr std::int64_t kWeights =
      10240LL * 8192 + 8192LL * 8192 + 57344LL * 8192 + 8192LL * 28672;
  EXPECT_EQ(cases[0].work.flops, 2 * 2 * 4096 * kWeights);
  EXPECT_TRUE(cases[0].sustained);
}

TEST_F(Cuda, ASuiteAsksF16OfGpusThatHaveNoBf16) {
  static const Modules modules({{.name = "cuda", .module = assay_module()}});
  const Suite suite = ParseSuite(
      "s version=1 rounds=3 max_seconds=4 max_storage_seconds=6\n"
      "s gemm dtype=f32,bf16|f16 m=64 n=64 k=64\n"
      "s grouped_gemm dtype=bf16|f16 m=64 n=64 k=64 groups=2\n",
      "s");
  const auto asked = [&](int capability, const std::vector<std::string>& dtypes) {
    standin::Reset({.devices = 2, .compute_capability = capability});
    const std::vector<Probe> probes =
        kernels::Probes({.backends = {"onednn", "cublaslt", "cublas"}, .modules = &modules});
    std::vector<std::string> found;
    const Selection selection = {.probes = {"gemm", "grouped_gemm"}, .dtypes = dtypes};
    for (const Case& one : UnfoldQuestions(Unfold(suite, probes, selection), probes, {})) {
      EXPECT_EQ(one.units.size(), one.backend == "onednn" ? 1U : 2U);
      found.push_back(one.backend + " " + StringOf(one.params, "dtype"));
    }
    return found;
  };
  using testing::ElementsAre;
  EXPECT_THAT(asked(80, {}), ElementsAre("onednn f32", "cublaslt f32", "onednn bf16",
                                         "cublaslt bf16", "cublas bf16"));
  EXPECT_THAT(asked(79, {}), ElementsAre("onednn f32", "cublaslt f32", "onednn bf16",
                                         "cublaslt f16", "cublas f16"))
      << "the CPU has bf16 all the same";
  EXPECT_THAT(asked(75, {"bf16"}), ElementsAre("onednn bf16", "cublaslt bf16", "cublas bf16"))
      << "who asks for it is told that it isn't there";
  EXPECT_THAT(asked(75, {"f16"}), ElementsAre("onednn f16", "cublaslt f16", "cublas f16"));
}

TEST_F(Cuda, WhatTheSuitesForOthersPriceOnGpusIsSustained) {
  standin::Reset({.devices = 2});
  static const Modules modules({{.name = "cuda", .module = assay_module()}});
  const std::vector<Probe> probes =
      kernels::Probes({.backends = {"cuda", "cublas", "cublaslt", "cudnn"}, .modules = &modules});
  std::vector<std::string> names;
  for (const Probe& probe : probes) names.push_back(probe.name);
  for (const char* suite : {"standard", "full"}) {
    const assay::Run run = {.suite = {.name = suite}};
    std::set<std::string> priced;
    for (const Question& asked : Unfold(LoadSuite(suite), probes, {.probes = names})) {
      const bool sustained =
          asked.params.contains("regime") && StringOf(asked.params, "regime") == "sustained";
      const auto probe = std::ranges::find(probes, asked.probe, &Probe::name);
      for (const Case& which : probe->unfold(asked.params)) {
        // A case that nothing here runs (attention, without cuDNN's frontend) is taken to run on
        // GPUs.
        const bool runs = which.backend != "none";
        EXPECT_EQ(which.sustained, runs && sustained) << CaseName(which);
        Record record = {.probe = which.probe,
                         .method = which.method,
                         .params = which.params,
                         .backend = which.backend,
                         .device = {.kind = runs ? which.device.kind : "gpu"},
                         .work = which.work,
                         .units = which.units,
                         .rounds = {{.batch = 1, .time_s = {1}}}};
        ASSERT_EQ(record.device.kind, "gpu");
        if (sustained) record.rounds[0].sustained = Sustained{.least_s = 60};
        const bool is_priced =
            !Costs(record, 1).empty() && WhyUnpriced(run, record, nullptr).empty();
        EXPECT_EQ(is_priced, sustained) << CaseName(which);
        if (is_priced) priced.insert(which.probe + " " + Costs(record, 1)[0].name);
      }
    }
    EXPECT_THAT(priced, testing::IsSupersetOf(
                            {"headline usd_per_tflops_hour", "gemm usd_per_tflops_hour",
                             "attention usd_per_tflops_hour", "memory usd_per_tbps_hour"}))
        << suite;
  }
}

// Products whose operands rotate in periods of their own.
std::vector<Step> ThreeProducts(const std::string& algo = "default") {
  const auto step = [&](const char* name, std::int64_t k) {
    return Step{.name = name,
                .op = Gemm{.dtype = Dtype::kBf16, .m = 4, .n = 8, .k = k, .algo = algo}};
  };
  return {step("a", 640), step("b", 384), step("c", 2048)};
}

TEST_F(Cuda, ProductsInTurnAreOneLoopOnOneStream) {
  for (const char* algo : {"default", "tuned"}) {
    standin::Reset({.algorithms = {1.0, 0.5}});
    const auto backend = BackendNamed("cublaslt");
    const auto workload =
        Ready(backend->PrepareInTurn(ThreeProducts(algo), backend->Devices().at(0), 7));
    const Facts facts = workload->Describe();
    const auto sets = [&](const std::string& part) {
      return std::get<std::int64_t>(facts.at(part + ".rotation_sets"));
    };
    EXPECT_NE(sets("a"), sets("b"));
    const double factor = algo == std::string("tuned") ? 0.5 : 1.0;
    const double flops = 2 * 4 * 8 * (640 + 384 + 2048);
    const double one_s = factor * (3 * kLaunch_s + flops / kFlopsPerSecond);
    for (const std::int64_t iterations : {1, 2, 5, 50}) {
      const int gates = standin::Calls("cudaEventElapsedTime");
      const Batch batch = workload->Run(iterations);
      EXPECT_EQ(standin::Calls("cudaEventElapsedTime"), gates + 1) << "it is one timed span";
      const double expected = static_cast<double>(iterations) * one_s;
      EXPECT_NEAR(batch.time.count(), expected, 0.02 * expected) << algo << ' ' << iterations;
      const Checked checked = workload->Verify();
      EXPECT_EQ(checked.wrong, 0) << algo << ' ' << iterations << checked.what.value_or("");
      EXPECT_GT(checked.checked, 0);
    }
  }
}

TEST_F(Cuda, AWrongProductInTurnIsNamed) {
  standin::Reset({.wrong_algorithm = 0});
  const auto backend = BackendNamed("cublaslt");
  const auto workload = Ready(backend->PrepareInTurn(ThreeProducts(), backend->Devices().at(0), 7));
  workload->Run(2);
  EXPECT_THAT(workload->Verify().what.value_or(""), HasSubstr("a: "));
}

TEST_F(Cuda, AGpuThatIsWrongOrTooSmallIsNamedAmongTheOthers) {
  standin::Reset({.devices = 2, .wrong_algorithm = 0});
  const auto workload = Ready(CasesOf("gemm", kSmallGemm).at(0).prepare(7));
  workload->Run(1);
  const Checked checked = workload->Verify();
  EXPECT_GE(checked.wrong, 2);
  EXPECT_THAT(checked.what.value_or(""), HasSubstr("cuda:0: "));
  Params large = kSmallGemm;
  large["m"] = large["n"] = std::int64_t{1} << 20;
  EXPECT_THAT(std::get<Skipped>(CasesOf("gemm", large).at(0).prepare(7)).reason,
              HasSubstr("cuda:0: "));
}

TEST_F(Cuda, APeerCopyIsACaseForEachPairThatIsLeftOpen) {
  standin::Reset({.devices = 3});
  const Modules modules({{.name = "cuda", .module = assay_module()}});
  const auto pairs = [&](const Params& params, const std::vector<std::string>& devices = {}) {
    std::string text;
    for (const Probe& probe : kernels::Probes({.devices = devices, .modules = &modules})) {
      if (probe.name != "copy") continue;
      for (const Case& which : probe.unfold(params)) {
        text +=
            fmt::format("{}-{} ", IntegerOf(which.params, "from"), IntegerOf(which.params, "to"));
        EXPECT_EQ(which.work.bytes, std::int64_t{512} << 20);
        EXPECT_EQ(which.units.at(0).device, IntegerOf(which.params, "from"));
      }
    }
    return text;
  };
  EXPECT_EQ(pairs({{"route", "peer"}}), "0-1 0-2 1-0 1-2 2-0 2-1 ");
  EXPECT_EQ(pairs({{"route", "peer"}, {"to", 0}}), "0-0 1-0 2-0 ");
  EXPECT_EQ(pairs({{"route", "peer"}, {"from", 2}, {"to", 1}}), "2-1 ");
  EXPECT_EQ(pairs({{"route", "peer"}}, {"cuda:1"}), "1-0 1-2 ");
  standin::Reset({.devices = 1});
  EXPECT_EQ(pairs({{"route", "peer"}}), "0--1 ") << "for its reason";
}

TEST_F(Cuda, AllCopiesAtOnceCountAllBytes) {
  standin::Reset({.devices = 4});
  const auto backend = BackendNamed("cuda");
  const Op op = backend->Complete(SmallCopy("all"), backend->Devices().at(0));
  EXPECT_EQ(WorkOf(op).bytes, 12 << 16);
  EXPECT_EQ(WorkOf(op).formula, "copy/12n");
  EXPECT_EQ(WorkOf(backend->Complete(SmallCopy("both"), backend->Devices().at(0))).bytes, 2 << 16);
}

TEST_F(Cuda, EveryLaunchIsCounted) {
  for (const char* mode : {"sync", "stream", "graph"}) {
    const auto workload = Ready(Launch{.mode = mode});
    for (const std::int64_t iterations : {1, 30, 200}) {
      const Batch batch = workload->Run(iterations);
      EXPECT_EQ(workload->Verify().wrong, 0) << mode;
      if (mode == std::string("sync")) {
        EXPECT_GT(batch.time.count(), 0);
      } else {
        const double expected = static_cast<double>(iterations) * kLaunch_s;
        EXPECT_NEAR(batch.time.count(), expected, 1e-4 * expected) << mode;
      }
    }
    EXPECT_THAT(std::get<std::string>(workload->Describe().at("timing")),
                StartsWith(mode == std::string("sync")     ? "launch and wait"
                           : mode == std::string("stream") ? "events"
                                                           : "graph"));
  }
  standin::Reset({.spoil_kernel = "count"});
  const auto workload = Ready(Launch{});
  workload->Run(3);
  EXPECT_EQ(workload->Verify().what, "0 kernels ran, but 3 were launched");
}

TEST_F(Cuda, WhatTheDevicesClockTimesMeetsWhatRunsAtTheSameTime) {
  const auto meetings = [](Workload& workload) {
    int met = 0;
    if (!workload.BeginTogether([&] { ++met; })) return -1;
    workload.Run(3);
    return met;
  };
  for (const Op& op :
       std::vector<Op>{Memory{.pattern = "read", .bytes = 4096}, SmallCopy("h2d"), SmallCopy("all"),
                       Launch{.mode = "stream"}, Launch{.mode = "graph"},
                       Gemm{.dtype = Dtype::kF32, .m = 8, .n = 8, .k = 8},
                       GroupedGemm{.dtype = Dtype::kF32, .m = 8, .n = 8, .k = 8, .groups = 2}}) {
    EXPECT_EQ(meetings(*Ready(op)), 2) << BackendOf(op) << ' ' << op.index();
  }
  const auto backend = BackendNamed("cublaslt");
  const Prepared loop = backend->PrepareInTurn(ThreeProducts(), backend->Devices().at(0), 7);
  EXPECT_EQ(meetings(*std::get<0>(loop)), 2);
  EXPECT_EQ(meetings(*Ready(Launch{.mode = "sync"})), -1) << "each is waited for by the host";
}

TEST(CpusNear, ReadsTheKernelsList) {
  const std::filesystem::path root = testing::TempDir() + "cpus_near/";
  const std::filesystem::path folder = root / "sys/bus/pci/devices/0000:18:00.0";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "local_cpulist") << "0-2,8,10-11\n";
  EXPECT_EQ(CpusNear("0000:18:00.0", root), (std::vector{0, 1, 2, 8, 10, 11}));
  EXPECT_THAT(CpusNear("0000:19:00.0", root), IsEmpty());
  std::filesystem::rename(folder, root / "sys/bus/pci/devices/0000:ab:00.0");
  EXPECT_EQ(CpusNear("0000:AB:00.0", root).size(), 6U) << "CUDA writes capital letters";
  std::filesystem::remove_all(root);
}

// ---- Products

TEST(Scalar, IsAsWideAsTheScaleTypeSays) {
  const auto as = []<class T>(const Scalar& scalar, T) {
    T value = {};
    std::memcpy(&value, scalar.Get(), sizeof(value));
    return value;
  };
  EXPECT_EQ(as(Scalar(CUDA_R_64F, 1), double{}), 1.0);
  EXPECT_EQ(as(Scalar(CUDA_R_32F, 1), float{}), 1.0F);
  EXPECT_EQ(as(Scalar(CUDA_R_32I, 1), std::int32_t{}), 1);
  EXPECT_EQ(as(Scalar(CUDA_R_32F, 0.25), float{}), 0.25F);
  EXPECT_THROW(Scalar(CUDA_R_16F, 1), Error);
}

// All dtypes that a GPU of compute capability 10.0 multiplies.
const std::vector<Dtype> kProducts = [] {
  std::vector<Dtype> products = {Dtype::kF64, Dtype::kF32,     Dtype::kTf32,        Dtype::kBf16,
                                 Dtype::kF16, Dtype::kFp8E4m3, Dtype::kFp8E5m2E4m3, Dtype::kInt8};
  if (kHasBlocks) products.insert(products.end(), {Dtype::kMxfp8, Dtype::kNvfp4});
  return products;
}();
const standin::Faults kBlackwell = {.compute_capability = 100};

Gemm Small(Dtype dtype, const std::string& cache = "cold") {
  return {.dtype = dtype,
          .accumulate = dtype == Dtype::kF64 ? Dtype::kF64 : Dtype::kF32,
          .m = 24,
          .n = 48,
          .k = 32,
          .cache = cache};
}

TEST_F(Cuda, EveryDtypesProductIsRightInEveryCacheState) {
  standin::Reset(kBlackwell);
  for (const Dtype dtype : kProducts) {
    for (const char* cache : {"cold", "warm", "weights-cold"}) {
      const auto workload = Ready(Small(dtype, cache));
      workload->Run(1);
      const Checked checked = workload->Verify();
      EXPECT_EQ(checked.wrong, 0) << assay::ToText(dtype) << ": " << checked.what.value_or("");
      EXPECT_EQ(checked.checked, 24 * 48);
      workload->Run(11);
      EXPECT_EQ(workload->Verify().wrong, 0) << assay::ToText(dtype) << " " << cache;
    }
  }
}

TEST_F(Cuda, EachOfABatchHasItsOwnOperands) {
  for (const Dtype dtype : {Dtype::kF32, Dtype::kFp8E5m2E4m3, Dtype::kInt8}) {
    Gemm gemm = Small(dtype);
    gemm.batch = 3;
    const auto workload = Ready(gemm);
    workload->Run(2);
    const Checked checked = workload->Verify();
    EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
    EXPECT_EQ(checked.checked, 3 * 24 * 48);
  }
}

// More rows than one tile of scales has, and blocks that fill no last tile.
TEST_F(Cuda, EveryBlockHasItsOwnScale) {
  if (!kHasBlocks) GTEST_SKIP() << "built with a CUDA before 12.8";
  standin::Reset(kBlackwell);
  for (const auto& [dtype, scales] :
       {std::pair(Dtype::kMxfp8, "ue8m0 for each 32"), {Dtype::kNvfp4, "ue4m3 for each 16"}}) {
    const auto workload =
        Ready(Gemm{.dtype = dtype, .m = 136, .n = 272, .k = 288, .cache = "warm"});
    workload->Run(2);
    const Checked checked = workload->Verify();
    EXPECT_EQ(checked.wrong, 0) << assay::ToText(dtype) << ": " << checked.what.value_or("");
    EXPECT_EQ(std::get<std::string>(workload->Describe().at("scales")), scales);
  }
}

TEST_F(Cuda, OperandsOfTwoFormatsAreToldApart) {
  const auto workload = Ready(Small(Dtype::kFp8E5m2E4m3));
  const Facts facts = workload->Describe();
  EXPECT_EQ(std::get<std::string>(facts.at("formats")), "fp8_e5m2 x fp8_e4m3 -> bf16");
  EXPECT_EQ(std::get<std::string>(facts.at("scales")), "f32 for each operand");
}

// The stand-in's fast accumulation would be wrong for the plain case, so that neither can be taken
// for the other.
TEST_F(Cuda, FastAccumulationIsACaseOfItsOwn) {
  Gemm gemm = {.dtype = Dtype::kFp8E4m3, .m = 32, .n = 32, .k = 16384, .cache = "warm"};
  const auto checked = [&](bool fast) {
    gemm.fast_accumulate = fast;
    const auto workload = Ready(gemm);
    EXPECT_EQ(std::get<bool>(workload->Describe().at("fast_accumulate")), fast);
    workload->Run(1);
    const Checked outcome = workload->Verify();
    EXPECT_EQ(outcome.wrong, 0) << fast << outcome.what.value_or("");
    return outcome;
  };
  const Checked plain = checked(false);
  const Checked fast = checked(true);
  EXPECT_GT(fast.max_error, plain.tolerance);
  EXPECT_LT(fast.max_error, fast.tolerance);
}

TEST_F(Cuda, AProductTakesWhatTheDeviceSays) {
  const Gemm gemm = {.dtype = Dtype::kF32, .m = 40, .n = 40, .k = 40, .cache = "warm"};
  const auto workload = Ready(gemm);
  const double each = kLaunch_s + static_cast<double>(*WorkOf(gemm).flops) / kFlopsPerSecond;
  EXPECT_NEAR(workload->Run(40).time.count(), 40 * each, 40 * each * 1e-4);
  EXPECT_NEAR(workload->Run(40).time.count(), 40 * each, 40 * each * 1e-4);
}

TEST_F(Cuda, ColdOperandsRotateOverThreeCaches) {
  const auto workload = Ready(Small(Dtype::kF32));
  workload->Run(3);
  const Facts facts = workload->Describe();
  const std::int64_t bytes = std::get<std::int64_t>(facts.at("rotation_bytes"));
  EXPECT_GE(bytes, 3 * standin::kCacheBytes);
  EXPECT_GT(std::get<std::int64_t>(facts.at("rotation_sets")), 10);
  const auto warm = Ready(Small(Dtype::kF32, "warm"));
  EXPECT_EQ(std::get<std::int64_t>(warm->Describe().at("rotation_sets")), 1);
}

TEST_F(Cuda, TheWorkspaceIsThatOfTheArchitecture) {
  const auto workspace = [](int capability) {
    standin::Reset({.compute_capability = capability});
    const auto workload = Ready(Small(Dtype::kF32));
    return std::get<std::int64_t>(workload->Describe().at("workspace_bytes"));
  };
  EXPECT_EQ(workspace(80), 4 << 20);
  EXPECT_EQ(workspace(90), 32 << 20);
  EXPECT_EQ(workspace(100), 32 << 20);
}

TEST_F(Cuda, WhatTheLibraryDoesNotOfferIsSkippedWithItsReason) {
  EXPECT_THAT(Refused(Small(Dtype::kFp8E5m2)).reason, HasSubstr("no e5m2 by e5m2"));
  EXPECT_THAT(Refused(Small(Dtype::kFp8E5m2)).remedy, HasSubstr("fp8_e5m2_e4m3"));
  standin::Reset({.compute_capability = 80});
  EXPECT_THAT(Refused(Small(Dtype::kFp8E4m3)).reason, HasSubstr("CUBLAS_STATUS_NOT_SUPPORTED"));
  standin::Reset({.compute_capability = 75});
  EXPECT_THAT(Refused(Small(Dtype::kBf16)).reason, HasSubstr("CUBLAS_STATUS_NOT_SUPPORTED"));
}

TEST_F(Cuda, ScalesOfBlocksAreForBlackwell) {
  for (const Dtype dtype : {Dtype::kMxfp8, Dtype::kNvfp4}) {
    const Skipped no = Refused(Small(dtype));  // on a 9.0
    if (!kHasBlocks) {
      EXPECT_THAT(no.reason, HasSubstr("since CUDA 12.8"));
      continue;
    }
    EXPECT_THAT(no.reason, HasSubstr("CUBLAS_STATUS_NOT_SUPPORTED"));
    EXPECT_THAT(no.remedy, HasSubstr("Blackwell"));
    for (const auto& [k, batch] : {std::pair(48, 1), {64, 2}}) {
      EXPECT_THAT(Refused(Gemm{.dtype = dtype, .m = 32, .n = 32, .k = k, .batch = batch}).reason,
                  HasSubstr("k in multiples of 32 and without batches"));
    }
  }
}

TEST_F(Cuda, AnEnvironmentThatChangesTheArithmeticIsRefused) {
  setenv("NVIDIA_TF32_OVERRIDE", "1", 1);
  const Skipped no = Refused(Small(Dtype::kF32));
  unsetenv("NVIDIA_TF32_OVERRIDE");
  EXPECT_THAT(no.reason, HasSubstr("NVIDIA_TF32_OVERRIDE"));
}

TEST_F(Cuda, LaunchesThatWaitAreRefusedSinceAGateWouldWaitForItself) {
  setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
  const Skipped no = Refused(Small(Dtype::kF32));
  setenv("CUDA_LAUNCH_BLOCKING", "0", 1);
  EXPECT_EQ(Ready(Small(Dtype::kF32))->Run(1).time > Seconds(0), true);
  unsetenv("CUDA_LAUNCH_BLOCKING");
  EXPECT_EQ(no.remedy, "unset CUDA_LAUNCH_BLOCKING");
}

TEST_F(Cuda, AWrongElementIsFoundAndAFailureHasItsStatus) {
  standin::Reset({.compute_capability = 100, .wrong_algorithm = 0});
  for (const Dtype dtype : kProducts) {
    const auto workload = Ready(Small(dtype));
    workload->Run(1);
    EXPECT_GT(workload->Verify().wrong, 0) << assay::ToText(dtype);
  }
  standin::Reset({.failing_algorithm = 0});
  const auto workload = Ready(Small(Dtype::kF32));
  try {
    workload->Run(1);
    FAIL() << "a failure was timed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("CUBLAS_STATUS_EXECUTION_FAILED"));
  }
}

// ---- Grouped products

const std::vector<Dtype> kGroupable = {Dtype::kF64, Dtype::kF32, Dtype::kTf32, Dtype::kBf16,
                                       Dtype::kF16};

// With 40 rows in 16 groups some groups have a single row, and with 5 rows some have none.
TEST_F(Cuda, EveryGroupIsMultipliedByItsOwnWeights) {
  for (const Dtype dtype : kGroupable) {
    for (const char* cache : {"cold", "warm"}) {
      for (const auto& [m, groups] : {std::pair(40, 16), {5, 8}, {24, 1}}) {
        const auto workload = Ready(GroupedGemm{
            .dtype = dtype, .m = m, .n = 40, .k = 24, .groups = groups, .cache = cache});
        for (const std::int64_t iterations : {1, 9}) {
          workload->Run(iterations);
          const Checked checked = workload->Verify();
          EXPECT_EQ(checked.wrong, 0) << assay::ToText(dtype) << " " << cache << " " << groups
                                      << ": " << checked.what.value_or("");
          EXPECT_EQ(checked.checked, m * 40) << "every row once";
        }
      }
    }
  }
}

TEST_F(Cuda, AGroupedProductTellsHowUnevenItIsAndTakesWhatTheDeviceSays) {
  const GroupedGemm op = {.m = 64, .n = 16, .k = 16, .groups = 8, .cache = "warm"};
  const auto workload = Ready(op);
  const double each = kLaunch_s + static_cast<double>(*WorkOf(op).flops) / kFlopsPerSecond;
  EXPECT_NEAR(workload->Run(40).time.count(), 40 * each, 40 * each * 1e-4);
  const Facts facts = workload->Describe();
  const std::vector<std::int64_t> rows = RowsOfGroups(64, 8);
  EXPECT_EQ(std::get<std::int64_t>(facts.at("rows_most")), std::ranges::max(rows));
  EXPECT_EQ(std::get<std::int64_t>(facts.at("rows_least")), std::ranges::min(rows));
  EXPECT_EQ(std::get<std::int64_t>(facts.at("groups_with_rows")), 8);
  EXPECT_EQ(std::get<std::string>(facts.at("timing")), "events") << "the host sizes it";
}

TEST_F(Cuda, AWrongGroupIsFoundAndWhatCublasLacksIsSkipped) {
  const GroupedGemm op = {.m = 40, .n = 40, .k = 24, .groups = 4};
  standin::Reset({.wrong_algorithm = 0});
  {
    const auto workload = Ready(op);
    workload->Run(1);
    const Checked checked = workload->Verify();
    EXPECT_GT(checked.wrong, 0);
    EXPECT_THAT(checked.what.value_or(""), HasSubstr("group 0: C[0][0]"));
  }
  standin::Reset({.compute_capability = 75});
  EXPECT_THAT(Refused(op).reason, HasSubstr("no grouped bf16 product on stand-in"));
  standin::Reset();
  EXPECT_THAT(Refused(GroupedGemm{.dtype = Dtype::kFp8E4m3, .m = 8, .n = 8, .k = 8}).reason,
              HasSubstr("no grouped product of fp8_e4m3"));
  EXPECT_THAT(Refused(GroupedGemm{.m = 1 << 16, .n = 1 << 14, .k = 1 << 14}).reason,
              HasSubstr("GiB"));
  standin::Reset({.failing_algorithm = 0});
  EXPECT_THROW(Refused(op), Error) << "a failure is no expected no";
}

// ---- Tuning

Gemm SmallTuned() {
  return {.dtype = Dtype::kF32, .m = 8, .n = 16, .k = 24, .cache = "warm", .algo = "tuned"};
}

TEST_F(Cuda, TuningTakesTheFastestAndPublishesTheFirstBesideIt) {
  standin::Reset({.algorithms = {1.0, 1.5, 0.7, 0.9, 3.0}});
  const auto workload = Ready(SmallTuned());
  const Facts facts = workload->Describe();
  const double unit = kLaunch_s + 2 * 8.0 * 16 * 24 / kFlopsPerSecond;
  EXPECT_EQ(std::get<std::int64_t>(facts.at("tuned_rank")), 2);
  EXPECT_EQ(std::get<std::int64_t>(facts.at("candidates")), 5);
  EXPECT_NEAR(std::get<double>(facts.at("tuned_s")), 0.7 * unit, 1e-3 * unit);
  EXPECT_NEAR(std::get<double>(facts.at("default_s")), unit, 1e-3 * unit);
  EXPECT_THAT(std::get<std::string>(facts.at("algorithm")), HasSubstr("2, tile"));
  EXPECT_FALSE(facts.contains("failed"));
  EXPECT_NEAR(workload->Run(50).time.count(), 50 * 0.7 * unit, 1e-2 * unit);
  EXPECT_EQ(workload->Verify().wrong, 0);
}

TEST_F(Cuda, AnAlgorithmThatFailsNeverWins) {
  standin::Reset({.algorithms = {1.0, 0.8, 0.1}, .failing_algorithm = 2});
  const Facts facts = Ready(SmallTuned())->Describe();
  EXPECT_EQ(std::get<std::int64_t>(facts.at("tuned_rank")), 1);
  EXPECT_THAT(std::get<std::string>(facts.at("failed")), HasSubstr("2: cuBLASLt"));
  EXPECT_THAT(std::get<std::string>(facts.at("failed")),
              HasSubstr("CUBLAS_STATUS_EXECUTION_FAILED"));
}

TEST_F(Cuda, AnAlgorithmThatIsWrongNeverWins) {
  standin::Reset({.algorithms = {1.0, 0.8, 0.1}, .wrong_algorithm = 2});
  const Facts facts = Ready(SmallTuned())->Describe();
  EXPECT_EQ(std::get<std::int64_t>(facts.at("tuned_rank")), 1);
  EXPECT_THAT(std::get<std::string>(facts.at("failed")), HasSubstr("2: wrong: C[0][0]"));
}

TEST_F(Cuda, AFirstThatFailsLeavesTheOthers) {
  standin::Reset({.algorithms = {0.1, 1.0, 2.0}, .failing_algorithm = 0});
  const Facts facts = Ready(SmallTuned())->Describe();
  EXPECT_EQ(std::get<std::int64_t>(facts.at("tuned_rank")), 1);
  EXPECT_FALSE(facts.contains("default_s")) << "a failure has no time";
  standin::Reset({.algorithms = {0.1}, .failing_algorithm = 0});
  EXPECT_THROW(Ready(SmallTuned()), Error);
}

TEST_F(Cuda, ARunTunesEachCaseOnce) {
  standin::Reset({.algorithms = {1.0, 0.5}});
  const auto backend = BackendNamed("cublaslt");
  const Device device = backend->Devices().at(0);
  const Facts first = Ready(backend->Prepare(SmallTuned(), device, 1))->Describe();
  const int products = standin::Calls("cublasLtMatmul");
  const auto workload = Ready(backend->Prepare(SmallTuned(), device, 2));
  EXPECT_EQ(standin::Calls("cublasLtMatmul"), products) << "nothing was timed again";
  for (const char* fact : {"algorithm", "tuned_s", "default_s"}) {
    EXPECT_EQ(workload->Describe().at(fact), first.at(fact)) << fact;
  }
  workload->Run(3);
  EXPECT_EQ(workload->Verify().wrong, 0);
}

}  // namespace
}  // namespace assay::cuda
