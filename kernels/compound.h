// Workloads made of others: one after the other on one device, or one on each of several devices at
// once, whichever backend runs them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/op.h"

namespace assay {

// One op of several that make an iteration.
struct Step {
  std::string name = {};
  Op op = {};
};

// A workload whose iteration runs each step once, in order. Its time is the sum of theirs; each is
// verified, and the one nearest to its tolerance is shown. Skipped if any of them is.
Prepared PrepareInTurn(Backend& backend, const std::vector<Step>& steps, const Device& device,
                       std::uint64_t seed);

// A workload that runs on each of these devices at once, in a thread for each, where `prepare` made
// that device's own: for one at a time, since they may share what they are made with. A batch lasts
// from their common start to the end of the last; `per_unit` has each device's own time. Verified
// like steps. Skipped if any of them is; an Error names the device.
Prepared PrepareTogether(
    const std::vector<Device>& devices,
    const std::function<Prepared(const Device& device, std::uint64_t seed)>& prepare,
    std::uint64_t seed);

// The sum of what was counted in all of them.
Work TotalOf(const std::vector<Work>& works);

}  // namespace assay
