// Workloads made of others: one after the other on one device, or one on each of several devices at
// once, whichever backend runs them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/backend.h"
#include "kernels/op.h"

namespace assay {

// A workload whose iteration runs each part once, in order. Its time is the sum of theirs; each is
// verified, and the one nearest to its tolerance is shown. Facts that differ carry the part's name.
class InTurn : public Workload {
 public:
  struct Part {
    std::string name = {};
    std::unique_ptr<Workload> workload = {};
  };
  explicit InTurn(std::vector<Part> parts) : parts_(std::move(parts)) {}

  Batch Run(std::int64_t iterations) override;
  Checked Verify() override;
  Facts Describe() const override;

 private:
  std::vector<Part> parts_;
};

// Prepares each step by itself, with a seed of its own, as a part. Skipped if any of them is.
std::variant<std::vector<InTurn::Part>, Skipped> PrepareEach(
    const std::vector<Step>& steps, std::uint64_t seed,
    const std::function<Prepared(const Op& op, std::uint64_t seed)>& prepare);

// A workload that runs on each of these devices at once, in a thread for each, where `prepare` made
// that device's own: for one at a time, since they may share what they are made with. A batch lasts
// from their common start to the end of the last; `per_unit` has each device's own time. Verified
// like steps. Skipped if any of them is; an Error names the device.
Prepared PrepareTogether(
    const std::vector<Device>& devices,
    const std::function<Prepared(const Device& device, std::uint64_t seed)>& prepare,
    std::uint64_t seed);

// The meter of a case on these devices at once, by unit; null stands for one that can't be read.
std::unique_ptr<Meter> MeterTogether(std::vector<std::unique_ptr<DeviceMeter>> meters);

// The sum of what was counted in all of them.
Work TotalOf(const std::vector<Work>& works);

}  // namespace assay
