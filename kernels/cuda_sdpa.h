// Attention by the one operation that cuDNN's backend API has for it, which is what a build without
// cuDNN's frontend can do: forward in bf16 and f16, without a mask, keys and values in pages or
// not. Masks, backward and fp8 are graphs of many operations, and the frontend is there to write
// them.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "kernels/cuda_attention.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// The cuDNN of which the operation has pages: 9.15.0, as cuDNN numbers it.
inline constexpr std::size_t kSdpaSince = 91500;

// Why this build is without even that: cuDNN's headers are missing or too old. Else nothing.
std::optional<Skipped> NoSdpa();

// Null where this build is without. cuDNN must be there (NoCudnn).
std::unique_ptr<AttentionLibrary> MakeSdpa();

// What it would plan on a GPU that is only described, or why nothing: WhyNoPlan has the
// particulars. Such plans can't be enqueued, and to be built they want a driver.
std::variant<std::unique_ptr<AttentionPlans>, std::string> PlanSdpa(
    const Attention& op, const std::string& device_properties);

}  // namespace assay::cuda
