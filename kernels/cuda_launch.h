// The launch probe: the time that it takes to start a kernel.
#pragma once

#include "kernels/cuda_device.h"
#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// Makes the launches of `op` ready on the current device, which is `gpu` and need not outlive the
// workload. Time is by the host's clock in mode sync, where nothing bounds the wait for a device
// that hangs, and by the device's in the others. Throws Error where CUDA fails.
Prepared PrepareLaunch(const Launch& op, const Gpu& gpu);

}  // namespace assay::cuda
