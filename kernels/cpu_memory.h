// The memory probe on the CPU: read, write, copy and triad over large arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay {

// Makes the arrays, in huge pages where the system grants them and with contents from `seed`, and a
// Team of `threads` threads on `cores` (runner/core/threads.h). Each thread first touches the part
// that it will stream through, so that its pages lie in memory near its core. Returns Skipped where
// the arrays would take over half of the memory that can be had; throws Error for an unknown
// pattern, or where the memory or the threads can't be had. REQUIRES: op.bytes is a positive
// multiple of 64, and op.passes is 1.
Prepared PrepareMemory(const Memory& op, int threads, const std::vector<int>& cores,
                       std::uint64_t seed);

}  // namespace assay
