// cuDNN's attention through the graphs of NVIDIA's cudnn-frontend, whose headers only the source
// includes. A build without the frontend falls back on kernels/cuda_sdpa.h. cuDNN itself is opened
// at the first use, so that the module loads on machines without it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernels/cuda_attention.h"
#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// The reason why cuDNN can't be used here: this build is without its headers, the library isn't
// found, or it is too old for a build without the frontend. Nothing where it can be used.
std::optional<Skipped> NoCudnn();

// Makes the library, or returns null where NoCudnn() gives a reason. It sets an environment
// variable of the frontend, so that no other thread may read the environment at the time.
std::unique_ptr<AttentionLibrary> MakeCudnn();

// The reason why cuDNN has no plan for this op on a device that need not be present, or nothing
// where it has one. The device is described by its compute capability (90 for 9.0) and its
// properties, in the JSON that cuDNN itself writes for a device. No driver is needed, but a
// libcuda.so.1 is, for which the toolkit's stub will do. Throws Error where NoCudnn() gives a
// reason, or the properties can't be read.
std::optional<std::string> WhyNoPlan(const Attention& op, int capability,
                                     const std::string& device_properties);

// The version of the library: "9.19.0", or "none" where it can't be opened.
std::string CudnnVersion();

// The three functions below serve the sources that call cuDNN.
// CudnnLibrary is the library as dlopen gave it, or null; it is never closed.
void* CudnnLibrary();
// CudnnIsNotFor says why cuDNN makes no handle on a GPU that it doesn't know.
std::string CudnnIsNotFor(const Gpu& gpu);
// CudnnReason keeps the reason alone of what cuDNN's engines say when they refuse.
std::string CudnnReason(const std::string& message);

}  // namespace assay::cuda
