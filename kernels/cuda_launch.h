// What it takes to start a kernel.
#pragma once

#include "kernels/cuda_device.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// On the current device, which is `gpu`.
Prepared PrepareLaunch(const Launch& op, const Gpu& gpu);

}  // namespace assay::cuda
