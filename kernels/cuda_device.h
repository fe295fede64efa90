// The GPUs that CUDA shows this process, and what all workloads on them share: selecting a device,
// making inputs in its memory, and checking its outputs.
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
#include "results/file/run.h"
#include "runner/core/cuda.h"

namespace assay::cuda {

// The facts of one GPU.
struct Gpu {
  int index = 0;  // CUDA's index among the GPUs that this process sees
  std::string name = {};
  std::string bus_id = {};  // "0000:18:00.0"
  int capability = 0;       // 90 for 9.0
  int processors = 0;       // streaming multiprocessors
  std::int64_t memory_bytes = 0;
  std::int64_t cache_bytes = 0;                   // L2
  int clock_khz = 0;                              // the highest clock of the processors
  int memory_clock_khz = 0;                       // the highest clock of the memory
  int bus_bits = 0;                               // the width of the memory bus
  cudaComputeMode mode = cudaComputeModeDefault;  // which processes may use it

  // Asks CUDA about the GPU with that index. Throws Error where CUDA can't tell.
  static Gpu At(int index);
  // The facts that a record holds of this GPU.
  Facts Describe() const;
};

// Selects the GPU as CUDA's current device in this thread, and returns nothing. Returns the reason
// where CUDA_LAUNCH_BLOCKING is set, this process may not use the GPU, or this build has no code
// for it. Throws Error where CUDA fails otherwise.
std::optional<Skipped> Select(const Gpu& gpu);

// The CPUs of the NUMA node that is nearest to the GPU, read from /sys under `root`; empty where
// the system doesn't say.
std::vector<int> CpusNear(const std::string& bus_id, const std::string& root = "/");

// Converts bytes to GiB (2^30 bytes).
double Gib(std::int64_t bytes);

// The reason why `bytes` more can't be allocated on the current device, or nothing where they can.
// A sixteenth of the memory stays free, for the context, libraries' own buffers and fragmentation.
std::optional<Skipped> TooLargeForGpu(std::int64_t bytes);

// Makes inputs in the device's memory: the same elements of a stream (kernels/inputs.h) that Fill
// makes on the host, bit for bit.
class InputMaker {
 public:
  InputMaker(const Gpu& gpu, cudaStream_t stream) : gpu_(gpu), stream_(stream) {}
  // Enqueues writing elements 0 … count - 1 of the stream `seed` to the device pointer `out`, and
  // returns without waiting. `inputs` is "normal" or "zeros", as for Fill. The maker must outlive
  // that work, since it owns the tables.
  void Make(Format format, const std::string& inputs, std::uint64_t seed, std::int64_t count,
            void* out);

 private:
  const Gpu& gpu_;
  cudaStream_t stream_;
  std::map<Format, DeviceMemory> tables_ = {};
};

// Compares the `count` 64-bit words of a buffer with expected(i), the right value of word i. `read`
// fetches as many words as `words` holds, from index `first` on. A buffer of more than `most_bytes`
// is compared in part, about as much as that: in evenly spread pieces, the first of which holds the
// buffer's first word and the last its last word.
Checked CheckWords(
    std::size_t count, std::size_t most_bytes,
    const std::function<void(std::size_t first, std::span<std::uint64_t> words)>& read,
    const std::function<std::uint64_t(std::size_t i)>& expected);

// Checks the outputs of all calls that the timer counts. Calls take turns over `sets` sets of
// operands with the same inputs, so that every set must hold the same output. check(set) compares
// the output of a set with the reference, which is slow. It is called for the last set that was
// used; the output of another one, which read(set) fetches, is checked only where its bits differ.
Checked CheckSets(const Timer& timer, std::int64_t sets,
                  const std::function<std::vector<std::byte>(std::int64_t set)>& read,
                  const std::function<Checked(std::int64_t set)>& check);

// Splits 0 … count - 1 into equal ranges and calls body(begin, end) for each, on one thread for
// each core that this process may use; returns when all are done. It serves as the ParallelFor that
// the checks take (kernels/inputs.h).
void OnAllCores(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body);

}  // namespace assay::cuda
