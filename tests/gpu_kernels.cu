#include "tests/gpu_kernels.h"

namespace {

__global__ void SpinKernel(unsigned long long nanoseconds) {
  unsigned long long begin;
  unsigned long long now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
}

}  // namespace

void LaunchSpin(unsigned long long nanoseconds, CUstream_st* stream) {
  SpinKernel<<<1, 1, 0, stream>>>(nanoseconds);
}
