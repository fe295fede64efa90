#include "tests/gpu_kernels.h"

namespace {

__device__ unsigned long long GlobalTimer() {
  unsigned long long now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

__global__ void SpinKernel(unsigned long long nanoseconds) {
  const unsigned long long begin = GlobalTimer();
  while (GlobalTimer() - begin < nanoseconds) {
  }
}

__global__ void HoldKernel(const volatile int* release) {
  const unsigned long long begin = GlobalTimer();
  while (*release == 0 && GlobalTimer() - begin < 10000000000ULL) {
  }
}

__global__ void BlocksKernel(float* out) {
  __shared__ float kept[1024];
  float value = static_cast<float>(threadIdx.x);
  for (int i = 0; i < 10000; ++i) value = value * 0.999F + 1.0F;
  kept[threadIdx.x] = value;
  if (kept[threadIdx.x] < 0) *out = value;  // never, which the compiler doesn't know
}

}  // namespace

void LaunchSpin(unsigned long long nanoseconds, CUstream_st* stream) {
  SpinKernel<<<1, 1, 0, stream>>>(nanoseconds);
}

int LaunchHold(int multiprocessors, const volatile int* release, CUstream_st* stream) {
  int device = 0;
  int bytes = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  cudaFuncSetAttribute(HoldKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  HoldKernel<<<multiprocessors, 1, bytes, stream>>>(release);
  return cudaGetLastError();
}

void LaunchBlocks(int blocks, float* out, CUstream_st* stream) {
  BlocksKernel<<<blocks, 128, 0, stream>>>(out);
}
