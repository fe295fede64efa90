// What a library's products on a GPU have in common: operands that rotate, the workspace, and what
// in the environment would make another product of them.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "kernels/cuda_device.h"
#include "runner/cuda.h"
#include "runner/probe.h"

namespace assay::cuda {

constexpr std::int64_t Aligned(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

// One operand's sets on the device: each its numbers, and behind them the scales that they have.
struct Operand {
  std::int64_t numbers_bytes = 0, scales_bytes = 0;  // of a set, aligned
  std::int64_t sets = 1;
  DeviceMemory memory = {};

  std::int64_t Bytes() const { return numbers_bytes + scales_bytes; }
  std::int64_t AllBytes() const { return sets * Bytes(); }
  void Allocate() { memory = MakeDeviceMemory(static_cast<std::size_t>(AllBytes())); }
  // Of set i, which come in turn.
  std::byte* Numbers(std::int64_t i) const {
    return static_cast<std::byte*>(memory.get()) + Bytes() * (i % sets);
  }
  std::byte* Scales(std::int64_t i) const { return Numbers(i) + numbers_bytes; }

  // Of an output, whose calls are counted from now on. All bits set are NaN in every floating-point
  // format, so that what is never written is found.
  void Spoil(Timer& timer) const {
    Check(
        cudaMemsetAsync(memory.get(), 0xff, static_cast<std::size_t>(AllBytes()), timer.Stream()));
    timer.CountAnew();
  }
  // The first bytes of set i, on the host.
  std::vector<std::byte> Read(std::int64_t i, std::int64_t bytes, const Timer& timer) const {
    std::vector<std::byte> output(static_cast<std::size_t>(bytes));
    Check(cudaMemcpyAsync(output.data(), Numbers(i), output.size(), cudaMemcpyDeviceToHost,
                          timer.Stream()));
    timer.Wait("reading the output back");
    return output;
  }
};

// How many sets of so many bytes it takes to leave nothing of one in the cache when its turn comes
// again: three caches' worth. Each takes part in a graph of a few thousand calls.
inline std::int64_t ColdSets(const Gpu& gpu, std::int64_t bytes) {
  constexpr std::int64_t kMost = 4096;
  return std::clamp<std::int64_t>((3 * gpu.cache_bytes + bytes - 1) / bytes, 1, kMost);
}

// 32 MiB since Hopper, 4 MiB before: what PyTorch settled on (github.com/pytorch/pytorch, #120925).
inline std::size_t WorkspaceBytes(const Gpu& gpu) {
  return std::size_t{gpu.capability >= 90 ? 32U : 4U} << 20U;
}

// An environment variable that would have something else measured than what the case says.
inline std::optional<Skipped> ArithmeticByEnvironment() {
  for (const char* name : {"NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_DOUBLE_PRECISION",
                           "CUBLAS_EMULATE_SINGLE_PRECISION"}) {
    if (std::getenv(name) == nullptr) continue;
    return Skipped{.reason = fmt::format("{} changes the arithmetic under a dtype's name", name),
                   .remedy = fmt::format("unset {}", name)};
  }
  return std::nullopt;
}

}  // namespace assay::cuda
