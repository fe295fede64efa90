// Attention by the single operation that cuDNN's backend API has for it, for builds without cuDNN's
// frontend. It can do the forward in bf16 and f16 without a mask, with keys and values in pages or
// not. Masks, backward and fp8 need graphs of many operations, which the frontend exists to write.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "kernels/cuda_attention.h"
#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// The first version of cuDNN whose operation can read pages: 9.15.0, as cuDNN numbers it.
inline constexpr std::size_t kSdpaSince = 91500;

// The reason why this build lacks even this operation: cuDNN's headers are missing or too old.
// Nothing where the build has the operation.
std::optional<Skipped> NoSdpa();

// The library, or null where NoSdpa() gives a reason. REQUIRES: cuDNN is there (NoCudnn).
std::unique_ptr<AttentionLibrary> MakeSdpa();

// The plans for a GPU that is only described, or the reason why there are none; WhyNoPlan
// (cuda_cudnn.h) says how a GPU is described. Such plans can't be enqueued, and building them needs
// a driver. REQUIRES: cuDNN is there (NoCudnn), or NoSdpa() gives a reason.
std::variant<std::unique_ptr<AttentionPlans>, std::string> PlanSdpa(
    const Attention& op, const std::string& device_properties);

}  // namespace assay::cuda
