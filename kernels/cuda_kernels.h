// Launchers of this program's own CUDA kernels. Each call puts one launch on the stream and returns
// without waiting; whether the launch worked is the runtime's last error (cudaGetLastError).
// Pointers are to memory that the device can access, and sizes count the elements that they point
// at. `blocks` is the number of blocks of the launch, at least 1; any number does all of the work.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda_bodies.h"

struct CUstream_st;  // a cudaStream_t points to one

namespace assay::cuda {

// The threads of a block, and the most blocks of a launch: enough to fill each of the GPU's
// `processors` (streaming multiprocessors).
constexpr unsigned kThreads = 256;
constexpr unsigned BlocksOn(int processors) { return 8U * static_cast<unsigned>(processors); }

// A blocking kernel: one thread spins until *open is not 0, and so holds up the stream. After
// `timeout_ns` it gives up and sets *expired to 1, so that a program that never opens the gate ends
// in an error and not in a hang. Both flags lie in host memory that is mapped into the device.
void LaunchGate(const volatile int* open, volatile int* expired, std::uint64_t timeout_ns,
                CUstream_st* stream);

// Adds one to *count: next to no work, but its effect can be checked.
void LaunchCount(std::uint64_t* count, CUstream_st* stream);
// The kernel that LaunchCount launches, for asking CUDA whether this build has code for a GPU.
const void* CountKernelHandle();

// Fills elements 0 … count - 1 of an input, each of `element_bytes` (1, 2, 4 or 8; any other number
// launches nothing), by FillAt.
// `table` holds NormalValues (kernels/inputs.h) of the input's format, in the device's memory.
void LaunchFill(void* out, std::size_t count, int element_bytes, const void* table,
                std::uint64_t seed, unsigned blocks, CUstream_st* stream);

// LaunchFillWords and LaunchFillNumbers fill the sources of the memory streams, by FillWordsAt and
// FillNumbersAt.
void LaunchFillWords(Words* out, std::size_t count, std::uint64_t seed, unsigned blocks,
                     CUstream_st* stream);
void LaunchFillNumbers(Numbers* out, std::size_t count, std::uint64_t seed, unsigned blocks,
                       CUstream_st* stream);

// The four memory streams. Each goes over whole arrays `passes` times in one launch, and its loads
// come from L2 or beyond, never from a multiprocessor's own cache.
//
// LaunchRead adds the sum of the words that block b read, over all passes, to sums[b], modulo 2^64.
// `sums` has one element for each of `blocks`.
void LaunchRead(const Words* from, std::size_t count, unsigned passes, std::uint64_t* sums,
                unsigned blocks, CUstream_st* stream);
// LaunchWrite writes value + p to both halves of every element in pass p.
void LaunchWrite(Words* to, std::size_t count, unsigned passes, std::uint64_t value,
                 unsigned blocks, CUstream_st* stream);
// LaunchCopy writes the elements of `from` to `to` in each pass.
void LaunchCopy(Words* to, const Words* from, std::size_t count, unsigned passes, unsigned blocks,
                CUstream_st* stream);
// LaunchTriad writes b + (scale + p) · c in pass p.
void LaunchTriad(Numbers* to, const Numbers* b, const Numbers* c, std::size_t count,
                 unsigned passes, double scale, unsigned blocks, CUstream_st* stream);

}  // namespace assay::cuda
