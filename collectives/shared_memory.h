// Memory that all ranks of one host map, and the counters by which they wait for each other in it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "results/base/descriptor.h"
#include "runner/core/ranks.h"

namespace assay {

// Shared memory without a name in any file system, so that no kind of death leaves it behind. Rank
// 0 makes it and tells the others where it is. Whatever they are told, they open nothing but memory
// of this kind, of this name and of their own user.
class SharedMemory {
 public:
  // Makes and maps `bytes` (> 0) bytes of zeroed memory. Called on all ranks together, which need
  // not outlive this; throws Error on all of them where one can't map it.
  SharedMemory(Ranks& ranks, std::size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::span<std::byte> Bytes() const { return {static_cast<std::byte*>(memory_), bytes_}; }

 private:
  std::size_t bytes_;
  void* memory_ = nullptr;
};

// A counter that one rank raises and others wait for, on a cache line of its own.
struct alignas(64) SharedCounter {
  std::atomic<std::uint64_t> value;
};

// Waits for counters that other ranks raise in shared memory. It spins for about 10 us and then
// yields its core, since there may be more ranks than cores.
class SharedWait {
 public:
  // Called on all ranks together, which tell each other their processes and need not outlive this.
  // Throws Error on all of them where one tells none.
  explicit SharedWait(Ranks& ranks);

  // Returns when the counter is `value` or more; everything that was written before it was raised
  // is then visible. Throws Error, within some 0.1 s, when another rank's process has ended, which
  // kernels before 5.3 don't tell.
  void For(const std::atomic<std::uint64_t>& counter, std::uint64_t value) const {
    for (int spins = 0; spins < kSpins; ++spins) {
      if (counter.load(std::memory_order_acquire) >= value) return;
      Pause();
    }
    Patiently(counter, value);
  }

 private:
  static constexpr int kSpins = 500;
  static void Pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
  }
  void Patiently(const std::atomic<std::uint64_t>& counter, std::uint64_t value) const;

  int rank_;
  std::vector<Descriptor> processes_ = {};  // [rank]: pidfd; none for this process or an old kernel
};

}  // namespace assay
