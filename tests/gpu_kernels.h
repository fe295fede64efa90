// Kernels whose cost is known beforehand, to hold clocks and figures against.
#pragma once

struct CUstream_st;

// One thread that ends once the GPU's global timer has gone on by so much.
void LaunchSpin(unsigned long long nanoseconds, CUstream_st* stream);

// Takes so many multiprocessors for itself, each by a block that needs all of its shared memory,
// until *release (which both sides see) is not 0, or for ten seconds. Returns CUDA's error.
int LaunchHold(int multiprocessors, const volatile int* release, CUstream_st* stream);

// Launches that many blocks, alike and independent, each of 128 threads that do arithmetic in
// registers for some tens of microseconds. A little shared memory keeps them off multiprocessors
// that are held.
void LaunchBlocks(int blocks, float* out, CUstream_st* stream);
