#include "kernels/cuda_device.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "kernels/cuda_kernels.h"
#include "results/base/text.h"
#include "runner/core/threads.h"

namespace assay::cuda {
namespace {

// The reason why no kernel of this build runs on the current device, which is `gpu`: none was
// compiled for it. Nothing where one was.
std::optional<Skipped> NoCode(const Gpu& gpu) {
  cudaFuncAttributes attributes = {};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, CountKernelHandle());
  if (error != cudaErrorNoKernelImageForDevice && error != cudaErrorInvalidDeviceFunction &&
      error != cudaErrorUnsupportedPtxVersion) {
    Check(error);
    return std::nullopt;
  }
  cudaGetLastError();  // what is known now must not be taken for a later call's
  constexpr int kTuring = 75;
  return Skipped{
      .reason = fmt::format("this build, with CUDA {}.{}, has no code for {} (compute capability "
                            "{}.{})",
                            CUDART_VERSION / 1000, CUDART_VERSION / 10 % 100, gpu.name,
                            gpu.capability / 10, gpu.capability % 10),
      .remedy = gpu.capability < kTuring
                    ? "assay built with CUDA 12.9 or older: CUDA 13 compiles for no GPU before 7.5"
                    : "assay built with a CUDA that knows this GPU (scripts/build.sh on this "
                      "machine), and a driver as new"};
}

}  // namespace

Gpu Gpu::At(int index) {
  cudaDeviceProp properties = {};
  Check(cudaGetDeviceProperties(&properties, index));
  // Clocks and caches are read as attributes, since CUDA 13 took them out of the properties.
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    Check(cudaDeviceGetAttribute(&value, which, index));
    return value;
  };
  char bus_id[32] = {};
  Check(cudaDeviceGetPCIBusId(bus_id, sizeof(bus_id), index));
  return {.index = index,
          .name = Clean(properties.name),
          .bus_id = bus_id,
          .capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
                        attribute(cudaDevAttrComputeCapabilityMinor),
          .processors = attribute(cudaDevAttrMultiProcessorCount),
          .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem),
          .cache_bytes = attribute(cudaDevAttrL2CacheSize),
          .clock_khz = attribute(cudaDevAttrClockRate),
          .memory_clock_khz = attribute(cudaDevAttrMemoryClockRate),
          .bus_bits = attribute(cudaDevAttrGlobalMemoryBusWidth),
          .mode = static_cast<cudaComputeMode>(attribute(cudaDevAttrComputeMode))};
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

std::optional<Skipped> Select(const Gpu& gpu) {
  const char* blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
  if (blocking != nullptr && std::atoi(blocking) != 0) {
    return Skipped{.reason = "CUDA_LAUNCH_BLOCKING makes every launch wait for its end",
                   .remedy = "unset CUDA_LAUNCH_BLOCKING"};
  }
  const cudaError_t error = cudaSetDevice(gpu.index);
  if (error != cudaErrorDevicesUnavailable) {
    Check(error);
    return NoCode(gpu);
  }
  cudaGetLastError();  // what is known now must not be taken for a later call's
  if (gpu.mode == cudaComputeModeProhibited) {
    return Skipped{.reason = fmt::format("GPU {} is in compute mode prohibited", gpu.index),
                   .remedy = fmt::format("nvidia-smi -i {} -c DEFAULT", gpu.index)};
  }
  return Skipped{
      .reason =
          fmt::format("GPU {} is in use by another process, which has it for itself", gpu.index),
      .remedy = fmt::format(
          "end that process (nvidia-smi shows it), or nvidia-smi -i {} -c DEFAULT", gpu.index)};
}

std::vector<int> CpusNear(const std::string& bus_id, const std::string& root) {
  std::string id = bus_id;  // /sys writes it in small letters
  std::ranges::transform(id, id.begin(), [](unsigned char c) { return std::tolower(c); });
  std::ifstream list(root + "sys/bus/pci/devices/" + id + "/local_cpulist");
  std::vector<int> cpus;
  for (std::string range; std::getline(list, range, ',');) {  // "0-47,96-143"
    int first = 0;
    int last = 0;
    const int ends = std::sscanf(range.c_str(), "%d-%d", &first, &last);
    if (ends == 1) last = first;
    for (int cpu = first; ends >= 1 && cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

double Gib(std::int64_t bytes) { return std::ldexp(static_cast<double>(bytes), -30); }

std::optional<Skipped> TooLargeForGpu(std::int64_t bytes) {
  std::size_t free = 0;
  std::size_t total = 0;
  Check(cudaMemGetInfo(&free, &total));
  // A sixteenth of the memory is left to libraries' workspaces and to CUDA itself.
  const auto available = static_cast<std::int64_t>(free - std::min(free, total / 16));
  if (bytes <= available) return std::nullopt;
  return Skipped{.reason = fmt::format("needs {:.1f} GiB of GPU memory, of which {:.1f} can be had",
                                       Gib(bytes), Gib(available)),
                 .remedy = "choose a smaller size, or end what else uses the GPU (nvidia-smi)"};
}

void InputMaker::Make(Format format, const std::string& inputs, std::uint64_t seed,
                      std::int64_t count, void* out) {
  const std::int64_t bytes = BytesOf(format, count);
  if (inputs == "zeros") {
    Check(cudaMemsetAsync(out, 0, static_cast<std::size_t>(bytes), stream_));
    return;
  }
  DeviceMemory& table = tables_[format];
  if (!table) {
    const std::span<const std::byte> values = NormalValues(format);
    table = MakeDeviceMemory(values.size());
    Check(cudaMemcpyAsync(table.get(), values.data(), values.size(), cudaMemcpyHostToDevice,
                          stream_));
  }
  LaunchFill(out, static_cast<std::size_t>(bytes / BytesOf(format)),
             static_cast<int>(BytesOf(format)), table.get(), seed, BlocksOn(gpu_.processors),
             stream_);
  Check(cudaGetLastError());
}

Checked CheckWords(std::size_t count, std::size_t most_bytes,
                   const std::function<void(std::size_t, std::span<std::uint64_t>)>& read,
                   const std::function<std::uint64_t(std::size_t)>& expected) {
  constexpr std::size_t kPiece = std::size_t{4} << 20;
  const std::size_t bytes = count * sizeof(std::uint64_t);
  const bool whole = bytes <= std::max(most_bytes, kPiece);
  const std::size_t pieces = whole ? 1 : std::max<std::size_t>(2, most_bytes / kPiece);
  std::vector<std::uint64_t> words(whole ? count : kPiece / sizeof(std::uint64_t));
  Checked checked = {.reference = whole ? "exact" : fmt::format("exact, {} pieces", pieces)};
  for (std::size_t piece = 0; piece < pieces; ++piece) {
    // The first piece begins with the first word, and the last one ends with the last.
    const std::size_t first = whole ? 0 : (count - words.size()) * piece / (pieces - 1);
    read(first, words);
    std::atomic<std::int64_t> wrong = 0;
    std::atomic<std::size_t> least = words.size();
    OnAllCores(static_cast<std::int64_t>(words.size()), [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        if (words[i] == expected(first + i)) continue;
        ++wrong;
        for (std::size_t seen = least; i < seen && !least.compare_exchange_weak(seen, i);) {
        }
      }
    });
    checked.checked += static_cast<std::int64_t>(words.size());
    checked.wrong += wrong;
    if (wrong > 0 && !checked.what) {
      checked.what = fmt::format("word {} of the output", first + least);
    }
  }
  return checked;
}

Checked CheckSets(const Timer& timer, std::int64_t sets,
                  const std::function<std::vector<std::byte>(std::int64_t)>& read,
                  const std::function<Checked(std::int64_t)>& check) {
  const std::int64_t last = timer.Last() % sets;
  const std::int64_t made = std::min(timer.Calls(), sets);
  Checked checked = check(last);
  const std::vector<std::byte> output = made > 1 ? read(last) : std::vector<std::byte>();
  for (std::int64_t back = 1; back < made && checked.wrong == 0; ++back) {
    const std::int64_t set = (last - back + sets) % sets;
    if (read(set) != output) checked = check(set);
  }
  return checked;
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
