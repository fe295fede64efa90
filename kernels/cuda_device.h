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

// The reason why `bytes` more should not be allocated on the current device, or nothing where they
// may be. A sixteenth of the memory stays free, for libraries' own buffers and fragmentation.
std::optional<Skipped> TooLargeForGpu(std::int64_t bytes);

// Makes inputs in the current device's memory: the same elements of a stream that Fill
// (kernels/inputs.h) makes on the host, bit for bit.
class InputMaker {
 public:
  // `gpu` is the current device. It and the stream must outlive the maker.
  InputMaker(const Gpu& gpu, cudaStream_t stream) : gpu_(gpu), stream_(stream) {}
  // Enqueues writing elements 0 … count - 1 of the stream `seed` to the device pointer `out`, and
  // returns without waiting. The maker must outlive that work, since it owns the tables. Throws
  // Error where CUDA fails. REQUIRES: `inputs` is "normal" or "zeros", and `count` is even for
  // F4E2m1.
  void Make(Format format, const std::string& inputs, std::uint64_t seed, std::int64_t count,
            void* out);

 private:
  const Gpu& gpu_;
  cudaStream_t stream_;
  std::map<Format, DeviceMemory> tables_ = {};
};

// Compares the `count` 64-bit words of a buffer with expected(i), the right value of word i, which
// several threads call at once. `read` fetches as many words as `words` holds, from index `first`
// on. A buffer of more than `most_bytes` and of more than 4 MiB is compared in evenly spread pieces
// of 4 MiB, as many as `most_bytes` holds but at least two. The first piece begins with the
// buffer's first word, and the last one ends with its last.
Checked CheckWords(
    std::size_t count, std::size_t most_bytes,
    const std::function<void(std::size_t first, std::span<std::uint64_t> words)>& read,
    const std::function<std::uint64_t(std::size_t i)>& expected);

// Checks the outputs of all calls that the timer has counted. Call i used set i % `sets` of the
// operands; all sets have the same inputs, and so must have the same output. check(set) compares
// the output of a set with the reference, which is slow, and read(set) fetches it. The set of the
// last call is checked, and any other only where its bits differ from that one's; a wrong set ends
// the check. REQUIRES: the timer has counted a call, and `sets` divides the period of its calls.
Checked CheckSets(const Timer& timer, std::int64_t sets,
                  const std::function<std::vector<std::byte>(std::int64_t set)>& read,
                  const std::function<Checked(std::int64_t set)>& check);

// A ParallelFor (kernels/inputs.h) with a thread for each core that this process may use, started
// for this call, and a range of equal size for each thread. It rethrows an exception of `body`.
void OnAllCores(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body);

}  // namespace assay::cuda
