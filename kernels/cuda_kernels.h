// The kernels of our own. Each call puts one launch on the stream; whether that worked is for the
// runtime's last error to say. Sizes count what the pointers point at.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda_bodies.h"

struct CUstream_st;  // a cudaStream_t points to one

namespace assay::cuda {

// Threads of a block, and the most blocks: with so many each of `processors` is full.
constexpr unsigned kThreads = 256;
constexpr unsigned BlocksOn(int processors) { return 8U * static_cast<unsigned>(processors); }

// Holds up the stream until *open is not 0, or sets *expired after so long. Both lie in memory of
// the host that the device sees.
void LaunchGate(const volatile int* open, volatile int* expired, std::uint64_t timeout_ns,
                CUstream_st* stream);

// Adds one to *count: next to nothing, but it can be seen that it was done.
void LaunchCount(std::uint64_t* count, CUstream_st* stream);
// The kernel of LaunchCount, by which CUDA can be asked whether this build has code for a GPU.
const void* CountKernelHandle();

// Elements 0 … count - 1 of an input of `element_bytes` (1, 2, 4 or 8) each.
void LaunchFill(void* out, std::size_t count, int element_bytes, const void* table,
                std::uint64_t seed, unsigned blocks, CUstream_st* stream);

void LaunchFillWords(Words* out, std::size_t count, std::uint64_t seed, unsigned blocks,
                     CUstream_st* stream);
void LaunchFillNumbers(Numbers* out, std::size_t count, std::uint64_t seed, unsigned blocks,
                       CUstream_st* stream);

// Streams over whole arrays, `passes` times in one launch; what is read comes from L2 or beyond.
// In each pass, adds the sum of all words to the `blocks` sums, modulo 2^64.
void LaunchRead(const Words* from, std::size_t count, unsigned passes, std::uint64_t* sums,
                unsigned blocks, CUstream_st* stream);
// Pass p writes value + p.
void LaunchWrite(Words* to, std::size_t count, unsigned passes, std::uint64_t value,
                 unsigned blocks, CUstream_st* stream);
void LaunchCopy(Words* to, const Words* from, std::size_t count, unsigned passes, unsigned blocks,
                CUstream_st* stream);
// Pass p writes b + (scale + p) c.
void LaunchTriad(Numbers* to, const Numbers* b, const Numbers* c, std::size_t count,
                 unsigned passes, double scale, unsigned blocks, CUstream_st* stream);

}  // namespace assay::cuda
