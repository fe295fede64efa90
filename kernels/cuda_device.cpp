#include "kernels/cuda_device.h"

#include <cmath>

#include "kernels/cuda_kernels.h"
#include "results/text.h"
#include "runner/threads.h"

namespace assay::cuda {

Gpu Gpu::At(int index) {
  cudaDeviceProp properties = {};
  Check(cudaGetDeviceProperties(&properties, index));
  // Clocks and caches are attributes: CUDA 13 took them out of the properties.
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    Check(cudaDeviceGetAttribute(&value, which, index));
    return value;
  };
  return {.index = index,
          .name = Clean(properties.name),
          .capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
                        attribute(cudaDevAttrComputeCapabilityMinor),
          .processors = attribute(cudaDevAttrMultiProcessorCount),
          .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem),
          .cache_bytes = attribute(cudaDevAttrL2CacheSize),
          .clock_khz = attribute(cudaDevAttrClockRate),
          .memory_clock_khz = attribute(cudaDevAttrMemoryClockRate),
          .bus_bits = attribute(cudaDevAttrGlobalMemoryBusWidth)};
}

Facts Gpu::Describe() const {
  return {{"device", name},
          {"compute_capability", fmt::format("{}.{}", capability / 10, capability % 10)},
          {"multiprocessors", std::int64_t{processors}},
          {"l2_bytes", cache_bytes},
          {"clock_max_mhz", std::int64_t{clock_khz / 1000}},
          {"memory_clock_max_mhz", std::int64_t{memory_clock_khz / 1000}},
          {"memory_bus_bits", std::int64_t{bus_bits}}};
}

std::optional<Skipped> TooLarge(std::int64_t bytes) {
  std::size_t free = 0;
  std::size_t total = 0;
  Check(cudaMemGetInfo(&free, &total));
  const auto available = static_cast<std::int64_t>(free - std::min(free, total / 16));
  if (bytes <= available) return std::nullopt;
  return Skipped{.reason = fmt::format("needs {:.1f} GiB of GPU memory, of which {:.1f} can be had",
                                       std::ldexp(static_cast<double>(bytes), -30),
                                       std::ldexp(static_cast<double>(available), -30)),
                 .remedy = "choose a smaller size, or end what else uses the GPU (nvidia-smi)"};
}

void InputMaker::Make(Format format, const std::string& inputs, std::uint64_t seed,
                      std::int64_t count, void* out) {
  const auto elements = static_cast<std::size_t>(count);
  if (inputs == "zeros") {
    Check(cudaMemsetAsync(out, 0, elements * static_cast<std::size_t>(BytesOf(format)), stream_));
    return;
  }
  DeviceMemory& table = tables_[format];
  if (!table) {
    const std::span<const std::byte> values = NormalValues(format);
    table = MakeDeviceMemory(values.size());
    Check(cudaMemcpyAsync(table.get(), values.data(), values.size(), cudaMemcpyHostToDevice,
                          stream_));
  }
  LaunchFill(out, elements, static_cast<int>(BytesOf(format)), table.get(), seed,
             BlocksOn(gpu_.processors), stream_);
  Check(cudaGetLastError());
}

void OnAllCores(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  Team team;
  team.Run([&](int thread) {
    const std::int64_t begin = count * thread / team.Size();
    const std::int64_t end = count * (thread + 1) / team.Size();
    if (begin < end) body(begin, end);
  });
}

}  // namespace assay::cuda
