// The GPUs that CUDA shows this process, and what the workloads on them have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda_timer.h"
#include "kernels/inputs.h"
#include "results/run.h"
#include "runner/cuda.h"

namespace assay::cuda {

struct Gpu {
  int index = 0;
  std::string name = {};
  std::string bus_id = {};  // "0000:18:00.0"
  int capability = 0;       // 90 for 9.0
  int processors = 0;       // streaming multiprocessors
  std::int64_t memory_bytes = 0;
  std::int64_t cache_bytes = 0;  // L2
  int clock_khz = 0;             // the highest, of the processors and of the memory
  int memory_clock_khz = 0;
  int bus_bits = 0;
  cudaComputeMode mode = cudaComputeModeDefault;  // who may use it

  // Throws Error where CUDA can't tell.
  static Gpu At(int index);
  Facts Describe() const;
};

// Makes it CUDA's current device in this thread; or why this process may not use it, or can't.
std::optional<Skipped> Select(const Gpu& gpu);

// The CPUs of the memory node that is nearest to the GPU, by /sys under `root`; empty where it
// doesn't say.
std::vector<int> CpusNear(const std::string& bus_id, const std::string& root = "/");

double Gib(std::int64_t bytes);

// Why `bytes` more can't be had on the current device, or nothing. A sixteenth of the memory stays
// free: for the context, the library's own and what fragments.
std::optional<Skipped> TooLarge(std::int64_t bytes);

// Elements 0 … count - 1 of an input stream (kernels/inputs.h), made on the device.
class InputMaker {
 public:
  InputMaker(const Gpu& gpu, cudaStream_t stream) : gpu_(gpu), stream_(stream) {}
  // Puts it on the stream. The maker must live until that is done.
  void Make(Format format, const std::string& inputs, std::uint64_t seed, std::int64_t count,
            void* out);

 private:
  const Gpu& gpu_;
  cudaStream_t stream_;
  std::map<Format, DeviceMemory> tables_ = {};
};

// Compares `count` words with what they should be: all of them up to `most_bytes`, and of more that
// much, in pieces spread evenly of which the first begins and the last ends it. `read` fetches
// words from the index given on.
Checked CheckWords(
    std::size_t count, std::size_t most_bytes,
    const std::function<void(std::size_t first, std::span<std::uint64_t> words)>& read,
    const std::function<std::uint64_t(std::size_t i)>& expected);

// Checks the outputs of all calls that the timer counts, which rotate over `sets` of the same
// inputs: one that has the bits of another that was checked needs no check of its own.
Checked CheckSets(const Timer& timer, std::int64_t sets,
                  const std::function<std::vector<std::byte>(std::int64_t set)>& read,
                  const std::function<Checked(std::int64_t set)>& check);

// Equal parts for each core that this process may use.
void OnAllCores(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body);

}  // namespace assay::cuda
