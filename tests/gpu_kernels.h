// A kernel of known duration, to hold clocks against.
#pragma once

struct CUstream_st;

// One thread that ends once the GPU's global timer has gone on by so much.
void LaunchSpin(unsigned long long nanoseconds, CUstream_st* stream);
