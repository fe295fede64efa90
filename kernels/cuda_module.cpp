// The cuda module: the ops that single GPUs do, by this program's own kernels (backend cuda), by
// cuBLASLt, cuBLAS and cuDNN.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda_attention.h"
#include "kernels/cuda_copy.h"
#include "kernels/cuda_cudnn.h"
#include "kernels/cuda_device.h"
#include "kernels/cuda_gemm.h"
#include "kernels/cuda_grouped.h"
#include "kernels/cuda_launch.h"
#include "kernels/cuda_memory.h"
#include "kernels/cuda_nvml.h"
#include "kernels/gpu_backends.h"
#include "results/base/error.h"
#include "runner/core/cuda.h"
#include "runner/core/module.h"
#include "version.h"

namespace assay {
namespace {

using cuda::Gpu;

// The GPUs that CUDA shows this process; none, and why, where it can't.
struct Gpus {
  std::vector<Gpu> all = {};
  std::shared_ptr<cuda::Nvml> nvml = {};  // null where the driver has none
  std::optional<Skipped> missing = {};
};

// Asks CUDA and NVML about all GPUs that this process may see.
Gpus VisibleGpus() {
  Gpus gpus;
  int count = 0;
  gpus.missing = cuda::NoDevice(&count);
  if (gpus.missing) return gpus;
  try {
    for (int i = 0; i < count; ++i) gpus.all.push_back(Gpu::At(i));
    gpus.nvml = cuda::Nvml::Open();
  } catch (const Error& error) {
    gpus.all.clear();
    gpus.missing = Skipped{.reason = error.what(), .remedy = "see nvidia-smi and dmesg"};
  }
  return gpus;
}

// The GPUs, which are looked for at the first use, so that a run of storage alone need not wait for
// the driver.
class Sight {
 public:
  const Gpus& Seen() {
    if (!gpus_) gpus_ = VisibleGpus();
    return *gpus_;
  }

 private:
  std::optional<Gpus> gpus_ = {};
};

// A backend on every visible GPU.
class GpuBackend : public Backend {
 public:
  GpuBackend(const GpuBackendFacts& facts, std::shared_ptr<Sight> sight)
      : facts_(facts), sight_(std::move(sight)) {}
  std::string Name() const override { return facts_.name; }
  bool Has(const Op& op) const override { return facts_.has(op); }
  std::vector<Device> Devices() override {
    std::vector<Device> devices;
    for (const Gpu& gpu : sight_->Seen().all) {
      devices.push_back({.name = DeviceName("gpu", gpu.index), .kind = "gpu", .index = gpu.index});
    }
    return devices;
  }
  std::unique_ptr<DeviceMeter> MeterOf(const Device& device) override {
    return cuda::MeterOf(sight_->Seen().nvml, GpuOf(device).bus_id);
  }
  std::optional<Skipped> Missing() override { return sight_->Seen().missing; }
  bool HasBf16(const Device& device) const override {
    constexpr int kAmpere = 80;
    return GpuOf(device).capability >= kAmpere;
  }
  Prepared Prepare(const Op& op, const Device& device, std::uint64_t seed) override {
    if (!Has(op)) {
      return Skipped{.reason = fmt::format("the {} backend has no such workload", Name()),
                     .remedy = "choose another backend"};
    }
    const Gpu& gpu = GpuOf(device);
    if (auto no = cuda::Select(gpu)) return *no;
    return PrepareOn(op, gpu, seed);
  }

 protected:
  // Prepares an op that the backend has. REQUIRES: the GPU is CUDA's current device.
  virtual Prepared PrepareOn(const Op& op, const Gpu& gpu, std::uint64_t seed) = 0;
  const Gpu& GpuOf(const Device& device) const {
    return sight_->Seen().all.at(static_cast<std::size_t>(device.index));
  }

  GpuBackendFacts facts_;
  std::shared_ptr<Sight> sight_;
};

class CudaBackend : public GpuBackend {
 public:
  explicit CudaBackend(std::shared_ptr<Sight> sight) : GpuBackend(kCuda, std::move(sight)) {}
  Op Complete(const Op& op, const Device& device) const override {
    if (const Copy* copy = std::get_if<Copy>(&op)) {
      const auto gpus = static_cast<std::int64_t>(sight_->Seen().all.size());
      Copy complete = *copy;
      complete.copies = copy->route == "both"  ? 2
                        : copy->route == "all" ? std::max<std::int64_t>(1, gpus * (gpus - 1))
                                               : 1;
      return complete;
    }
    const Memory* memory = std::get_if<Memory>(&op);
    if (memory == nullptr) return op;
    const Gpu& gpu = GpuOf(device);
    Memory complete = *memory;
    if (complete.bytes == 0) complete.bytes = ArrayBytes(gpu.cache_bytes, gpu.memory_bytes);
    complete.passes = PassesOver(complete);
    return complete;
  }
  Prepared PrepareOn(const Op& op, const Gpu& gpu, std::uint64_t seed) override {
    if (const Memory* memory = std::get_if<Memory>(&op)) {
      return cuda::PrepareMemory(*memory, gpu, seed);
    }
    if (const Copy* copy = std::get_if<Copy>(&op)) {
      return cuda::PrepareCopy(*copy, gpu.index, seed);
    }
    return cuda::PrepareLaunch(std::get<Launch>(op), gpu);
  }
};

class CublasLtBackend : public GpuBackend {
 public:
  explicit CublasLtBackend(std::shared_ptr<Sight> sight)
      : GpuBackend(kCublasLt, std::move(sight)) {}
  Prepared PrepareOn(const Op& op, const Gpu& gpu, std::uint64_t seed) override {
    return cuda::PrepareGemm(std::get<Gemm>(op), gpu, tunings_, seed);
  }

  // Makes one loop of the steps, all of which are products, since the backend has nothing else.
  Prepared PrepareInTurn(const std::vector<Step>& steps, const Device& device,
                         std::uint64_t seed) override {
    const Gpu& gpu = GpuOf(device);
    if (auto no = cuda::Select(gpu)) return *no;
    return cuda::PrepareGemms(steps, gpu, tunings_, seed);
  }

 private:
  cuda::Tunings tunings_ = {};
};

class CublasBackend : public GpuBackend {
 public:
  explicit CublasBackend(std::shared_ptr<Sight> sight) : GpuBackend(kCublas, std::move(sight)) {}
  Prepared PrepareOn(const Op& op, const Gpu& gpu, std::uint64_t seed) override {
    return cuda::PrepareGroupedGemm(std::get<GroupedGemm>(op), gpu, seed);
  }
};

class CudnnBackend : public GpuBackend {
 public:
  explicit CudnnBackend(std::shared_ptr<Sight> sight) : GpuBackend(kCudnn, std::move(sight)) {}
  std::vector<Device> Devices() override {
    return Missing() ? std::vector<Device>() : GpuBackend::Devices();
  }
  std::optional<Skipped> Missing() override {
    if (auto no = GpuBackend::Missing()) return no;
    return cuda::NoCudnn();
  }
  Prepared PrepareOn(const Op& op, const Gpu& gpu, std::uint64_t seed) override {
    if (!library_) library_ = cuda::MakeCudnn();
    if (!library_) return *cuda::NoCudnn();
    return cuda::PrepareAttention(*library_, std::get<Attention>(op), gpu, tunings_, seed);
  }

 private:
  std::unique_ptr<cuda::AttentionLibrary> library_ = {};
  cuda::Tunings tunings_ = {};
};

std::vector<std::unique_ptr<Backend>> Backends() {
  const auto sight = std::make_shared<Sight>();
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<CudaBackend>(sight));
  backends.push_back(std::make_unique<CublasLtBackend>(sight));
  backends.push_back(std::make_unique<CublasBackend>(sight));
  backends.push_back(std::make_unique<CudnnBackend>(sight));
  return backends;
}

// Adds notes on what makes figures of this GPU doubtful.
void AddNotes(const Gpu& gpu, const Accelerator& accelerator, cuda::Nvml* nvml,
              std::vector<Note>& notes) {
  const auto processes = nvml == nullptr ? std::nullopt : nvml->Processes(gpu.bus_id);
  const auto lanes = nvml == nullptr ? std::nullopt : nvml->LanesOf(gpu.bus_id);
  if (processes && *processes > 0) {
    notes.push_back(
        {.what = fmt::format("{} other process{} GPU {}: what they do is in its figures",
                             *processes, *processes == 1 ? " uses" : "es use", gpu.index),
         .remedy = "measure when they have ended; nvidia-smi shows them"});
  }
  if (lanes && lanes->now < lanes->most) {
    notes.push_back(
        {.what = fmt::format("GPU {} has {} of {} lanes of PCIe: its copies from and to "
                             "the host are slower than they could be",
                             gpu.index, lanes->now, lanes->most),
         .remedy = "report it to the provider: a card, a riser or a setting"});
  }
  if (accelerator.mig) {
    notes.push_back(
        {.what = fmt::format("GPU {} is divided (MIG): its figures are those of a slice, and are "
                             "not ranked",
                             gpu.index),
         .remedy = fmt::format("nvidia-smi -i {} -mig 0, to measure all of it", gpu.index)});
  }
  if (gpu.mode == cudaComputeModeProhibited) {
    notes.push_back({.what = fmt::format("GPU {} is in compute mode prohibited", gpu.index),
                     .remedy = fmt::format("nvidia-smi -i {} -c DEFAULT", gpu.index)});
  } else if (gpu.mode != cudaComputeModeDefault) {
    notes.push_back(
        {.what = fmt::format("GPU {} is in compute mode exclusive: it takes one process, "
                             "and so one rank",
                             gpu.index),
         .remedy = fmt::format("nvidia-smi -i {} -c DEFAULT, where ranks share it", gpu.index)});
  }
}

// The devices of the module, with notes on what else uses them.
ModuleDevices Devices() {
  ModuleDevices devices;
  const Gpus gpus = VisibleGpus();
  for (const Gpu& gpu : gpus.all) {
    Accelerator& accelerator = devices.accelerators.emplace_back();
    accelerator.name = gpu.name;
    accelerator.visible = 1;
    accelerator.memory_bytes = gpu.memory_bytes;
    if (gpus.nvml) {
      gpus.nvml->Describe(gpu.bus_id, accelerator);
      if (auto uuid = gpus.nvml->Uuid(gpu.bus_id)) devices.uuids.push_back(*std::move(uuid));
    }
    AddNotes(gpu, accelerator, gpus.nvml.get(), devices.notes);
  }
  // A part of the UUIDs would make another node id, so it is all of them or none.
  if (devices.uuids.size() != gpus.all.size()) devices.uuids.clear();
  return devices;
}

std::string Version() {
  int runtime = 0;
  int driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  const auto version = [](int number) {
    return fmt::format("{}.{}", number / 1000, number / 10 % 100);
  };
  return fmt::format("CUDA {} (driver: {}), cuBLASLt {}, cuDNN {}", version(runtime),
                     driver == 0 ? "none" : version(driver), cuda::CublasLtVersion(),
                     cuda::CudnnVersion());
}

constexpr Module kModule = {.build_id = ASSAY_BUILD_ID,
                            .name = "cuda",
                            .backends = Backends,
                            .devices = Devices,
                            .version = Version};

}  // namespace
}  // namespace assay

extern "C" const assay::Module* assay_module() { return &assay::kModule; }
