// Streams through the CPU's main memory: read, write, copy and triad over arrays of which each is
// at least four times the last-level cache, as STREAM asks (www.cs.virginia.edu/stream/ref.html).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/op.h"
#include "runner/probe.h"

namespace assay {

// REQUIRES: op is complete (bytes > 0).
Prepared PrepareMemory(const Memory& op, int threads, const std::vector<int>& cores,
                       std::uint64_t seed);

}  // namespace assay
