// The memory probe on the CPU: read, write, copy and triad over large arrays. Unless the user gives
// a size, each array is at least four times the last-level cache, as STREAM asks
// (www.cs.virginia.edu/stream/ref.html).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay {

// Allocates the arrays, in huge pages where the system grants them, and has each of `threads`
// threads first touch the part that it will stream through, so that its pages lie in memory near
// its core. Returns Skipped where the arrays would take over half of the memory that can be had;
// throws Error for an unknown pattern. REQUIRES: op is complete (bytes > 0).
Prepared PrepareMemory(const Memory& op, int threads, const std::vector<int>& cores,
                       std::uint64_t seed);

}  // namespace assay
