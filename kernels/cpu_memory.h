// Streams through the CPU's main memory: read, write, copy and triad over arrays of which each is
// at least four times the last-level cache, as STREAM asks (www.cs.virginia.edu/stream/ref.html).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/op.h"
#include "runner/probe.h"

namespace assay {

// The bytes of one array where the user leaves them open: at least four times `cache_bytes`, as a
// power of two so that like machines agree, but three arrays in at most half of `memory_bytes`.
std::int64_t ArrayBytes(std::int64_t cache_bytes, std::int64_t memory_bytes);

// REQUIRES: op is complete (bytes > 0).
Prepared PrepareMemory(const Memory& op, int threads, const std::vector<int>& cores,
                       std::uint64_t seed);

}  // namespace assay
