// cuDNN's attention, through the graphs of NVIDIA's cudnn-frontend, of which the source is the sole
// includer; a build without that has what kernels/cuda_sdpa.h has. cuDNN itself is opened when it
// is first asked for, so that the module loads without.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernels/cuda_attention.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// Why there is no cuDNN here: this build is without its headers, or the library isn't found.
// Nothing where there is one.
std::optional<Skipped> NoCudnn();

// Null where there is none.
std::unique_ptr<AttentionLibrary> MakeCudnn();

// Whether cuDNN has a plan for this op on a device that need not be here: of that compute
// capability (90 for 9.0), and with those properties, in the JSON that cuDNN itself writes of a
// device. Nothing where it has, else why not. A driver isn't needed, but a libcuda.so.1 is; the
// toolkit's stub does.
std::optional<std::string> WhyNoPlan(const Attention& op, int capability,
                                     const std::string& device_properties);

// "9.19.0".
std::string CudnnVersion();

// For those who call cuDNN: the library as dlopen gave it, null where there is none; why it makes
// no handle on a GPU that it doesn't know; and of what its engines say when they refuse, the reason
// alone.
void* CudnnLibrary();
std::string CudnnIsNotFor(const Gpu& gpu);
std::string CudnnReason(const std::string& message);

}  // namespace assay::cuda
