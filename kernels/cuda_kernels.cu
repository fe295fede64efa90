#include "kernels/cuda_kernels.h"

namespace assay::cuda {
namespace {

// A grid-stride loop begins at First and goes on in Steps, so that any number of blocks covers any
// count.
__device__ std::size_t First() { return std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ std::size_t Step() { return std::size_t{gridDim.x} * blockDim.x; }

__device__ std::uint64_t Nanoseconds() {
  std::uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

// The gate reads its flag through a volatile pointer into mapped host memory, so that every look
// sees what the host wrote.
__global__ void GateKernel(const volatile int* open, volatile int* expired,
                           std::uint64_t timeout_ns) {
  const std::uint64_t begin = Nanoseconds();
  while (*open == 0) {
    if (Nanoseconds() - begin > timeout_ns) {
      *expired = 1;
      return;
    }
  }
}

__global__ void CountKernel(std::uint64_t* count) { CountAt(count); }

template <class T>
__global__ void __launch_bounds__(kThreads)
    FillKernel(T* out, std::size_t count, const T* table, std::uint64_t seed) {
  for (std::size_t draw = First(); 4 * draw < count; draw += Step()) {
    FillAt(out, count, table, seed, draw);
  }
}

__global__ void __launch_bounds__(kThreads)
    FillWordsKernel(Words* out, std::size_t count, std::uint64_t seed) {
  for (std::size_t i = First(); i < count; i += Step()) FillWordsAt(out, seed, i);
}

__global__ void __launch_bounds__(kThreads)
    FillNumbersKernel(Numbers* out, std::size_t count, std::uint64_t seed) {
  for (std::size_t i = First(); i < count; i += Step()) FillNumbersAt(out, seed, i);
}

// Loads from L2 or beyond (ld.global.cg). A thread meets the same elements in each pass, and would
// otherwise find those of a small array in its own multiprocessor's cache.
template <class T>
__device__ T Load(const T* from) {
  static_assert(sizeof(T) == sizeof(ulonglong2));
  const ulonglong2 bits = __ldcg(reinterpret_cast<const ulonglong2*>(from));
  T loaded;
  memcpy(&loaded, &bits, sizeof(T));
  return loaded;
}

// The loops are unrolled so that each thread has several accesses in flight.
__global__ void __launch_bounds__(kThreads)
    ReadKernel(const Words* __restrict__ from, std::size_t count, unsigned passes,
               std::uint64_t* sums) {
  std::uint64_t sum = 0;
  for (unsigned pass = 0; pass < passes; ++pass) {
#pragma unroll 4
    for (std::size_t i = First(); i < count; i += Step()) sum += SumOf(Load(from + i));
  }
  for (int lanes = warpSize / 2; lanes > 0; lanes /= 2) {
    sum += __shfl_down_sync(0xffffffffU, sum, lanes);
  }
  if (threadIdx.x % warpSize == 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(sums + blockIdx.x), sum);
  }
}

__global__ void __launch_bounds__(kThreads)
    WriteKernel(Words* to, std::size_t count, unsigned passes, std::uint64_t value) {
  for (unsigned pass = 0; pass < passes; ++pass) {
#pragma unroll 4
    for (std::size_t i = First(); i < count; i += Step()) WriteAt(to, ValueIn(value, pass), i);
  }
}

__global__ void __launch_bounds__(kThreads)
    CopyKernel(Words* __restrict__ to, const Words* __restrict__ from, std::size_t count,
               unsigned passes) {
  for (unsigned pass = 0; pass < passes; ++pass) {
#pragma unroll 4
    for (std::size_t i = First(); i < count; i += Step()) CopyAt(to, Load(from + i), i);
  }
}

__global__ void __launch_bounds__(kThreads)
    TriadKernel(Numbers* __restrict__ to, const Numbers* __restrict__ b,
                const Numbers* __restrict__ c, std::size_t count, unsigned passes, double scale) {
  for (unsigned pass = 0; pass < passes; ++pass) {
#pragma unroll 4
    for (std::size_t i = First(); i < count; i += Step()) {
      TriadAt(to, Load(b + i), Load(c + i), ScaleIn(scale, pass), i);
    }
  }
}

template <class T>
void Fill(void* out, std::size_t count, const void* table, std::uint64_t seed, unsigned blocks,
          cudaStream_t stream) {
  FillKernel<<<blocks, kThreads, 0, stream>>>(static_cast<T*>(out), count,
                                              static_cast<const T*>(table), seed);
}

}  // namespace

void LaunchGate(const volatile int* open, volatile int* expired, std::uint64_t timeout_ns,
                cudaStream_t stream) {
  GateKernel<<<1, 1, 0, stream>>>(open, expired, timeout_ns);
}

void LaunchCount(std::uint64_t* count, cudaStream_t stream) {
  CountKernel<<<1, 1, 0, stream>>>(count);
}

const void* CountKernelHandle() { return reinterpret_cast<const void*>(&CountKernel); }

void LaunchFill(void* out, std::size_t count, int element_bytes, const void* table,
                std::uint64_t seed, unsigned blocks, cudaStream_t stream) {
  if (element_bytes == 1) Fill<std::uint8_t>(out, count, table, seed, blocks, stream);
  if (element_bytes == 2) Fill<std::uint16_t>(out, count, table, seed, blocks, stream);
  if (element_bytes == 4) Fill<std::uint32_t>(out, count, table, seed, blocks, stream);
  if (element_bytes == 8) Fill<std::uint64_t>(out, count, table, seed, blocks, stream);
}

void LaunchFillWords(Words* out, std::size_t count, std::uint64_t seed, unsigned blocks,
                     cudaStream_t stream) {
  FillWordsKernel<<<blocks, kThreads, 0, stream>>>(out, count, seed);
}

void LaunchFillNumbers(Numbers* out, std::size_t count, std::uint64_t seed, unsigned blocks,
                       cudaStream_t stream) {
  FillNumbersKernel<<<blocks, kThreads, 0, stream>>>(out, count, seed);
}

void LaunchRead(const Words* from, std::size_t count, unsigned passes, std::uint64_t* sums,
                unsigned blocks, cudaStream_t stream) {
  ReadKernel<<<blocks, kThreads, 0, stream>>>(from, count, passes, sums);
}

void LaunchWrite(Words* to, std::size_t count, unsigned passes, std::uint64_t value,
                 unsigned blocks, cudaStream_t stream) {
  WriteKernel<<<blocks, kThreads, 0, stream>>>(to, count, passes, value);
}

void LaunchCopy(Words* to, const Words* from, std::size_t count, unsigned passes, unsigned blocks,
                cudaStream_t stream) {
  CopyKernel<<<blocks, kThreads, 0, stream>>>(to, from, count, passes);
}

void LaunchTriad(Numbers* to, const Numbers* b, const Numbers* c, std::size_t count,
                 unsigned passes, double scale, unsigned blocks, cudaStream_t stream) {
  TriadKernel<<<blocks, kThreads, 0, stream>>>(to, b, c, count, passes, scale);
}

}  // namespace assay::cuda
