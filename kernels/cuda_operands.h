// The common ground of matrix products on a GPU, whichever library does them: operands that rotate
// to keep caches cold, the workspace's size, and environment variables that would change the
// arithmetic.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "kernels/cuda_device.h"
#include "runner/core/cuda.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// Rounds up to 256 bytes, to which cudaMalloc aligns too.
constexpr std::int64_t Aligned(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

// The sets of one operand in device memory, which it owns. A set is the operand's numbers and,
// behind them, their scales, if any.
struct Operand {
  std::int64_t numbers_bytes = 0, scales_bytes = 0;  // of a set, aligned
  std::int64_t sets = 1;
  DeviceMemory memory = {};

  std::int64_t Bytes() const { return numbers_bytes + scales_bytes; }
  std::int64_t AllBytes() const { return sets * Bytes(); }
  void Allocate() { memory = MakeDeviceMemory(static_cast<std::size_t>(AllBytes())); }
  // The numbers and the scales that call i uses; calls take the sets in turn.
  std::byte* Numbers(std::int64_t i) const {
    return static_cast<std::byte*>(memory.get()) + Bytes() * (i % sets);
  }
  std::byte* Scales(std::int64_t i) const { return Numbers(i) + numbers_bytes; }

  // Overwrites an output and counts calls anew, so that only later calls are checked. All bits are
  // set, which is NaN in every floating-point format, so that an element that is never written is
  // found.
  void Spoil(Timer& timer) const {
    Check(
        cudaMemsetAsync(memory.get(), 0xff, static_cast<std::size_t>(AllBytes()), timer.Stream()));
    timer.CountAnew();
  }
  // Copies the first `bytes` bytes of set i to the host, and waits for them.
  std::vector<std::byte> Read(std::int64_t i, std::int64_t bytes, const Timer& timer) const {
    std::vector<std::byte> output(static_cast<std::size_t>(bytes));
    Check(cudaMemcpyAsync(output.data(), Numbers(i), output.size(), cudaMemcpyDeviceToHost,
                          timer.Stream()));
    timer.Wait("reading the output back");
    return output;
  }
};

// The number of sets, of `bytes` (> 0) each, that it takes for the cache to hold nothing of a set
// when its turn comes again: three caches' worth, but at most 4096, so that one CUDA graph can hold
// all of them.
inline std::int64_t ColdSets(const Gpu& gpu, std::int64_t bytes) {
  constexpr std::int64_t kMost = 4096;
  return std::clamp<std::int64_t>((3 * gpu.cache_bytes + bytes - 1) / bytes, 1, kMost);
}

// The workspace that a library gets: 32 MiB since Hopper, 4 MiB before, which is what PyTorch
// settled on (github.com/pytorch/pytorch, #120925).
inline std::size_t WorkspaceBytes(const Gpu& gpu) {
  return std::size_t{gpu.capability >= 90 ? 32U : 4U} << 20U;
}

// A Skipped that names an environment variable under which the library would do other arithmetic
// than the case says; nothing where none is set.
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
