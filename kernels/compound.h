// Workloads made of other workloads: one after the other on one device (InTurn), or one on each of
// several devices at once (PrepareTogether). Both kinds work with every backend.
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

// A workload that owns several parts, and whose iteration runs each part once, in order. The time
// of a batch is the sum of the parts' times. Every part is verified: the numbers of checked and of
// wrong elements are sums, and the error shown is the one that is nearest to its tolerance. A fact
// on which all parts agree stands once, and any other once a part with the part's name:
// "qkv.pack_s".
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

// Prepares each step as a part, with its own seed derived from `seed`. Returns the first Skipped,
// with the step's name before its reason, where any step can't be prepared.
std::variant<std::vector<InTurn::Part>, Skipped> PrepareEach(
    const std::vector<Step>& steps, std::uint64_t seed,
    const std::function<Prepared(const Op& op, std::uint64_t seed)>& prepare);

// Makes a workload that runs on all of these devices at once. Each device has its own thread, which
// calls `prepare` for it and later runs, verifies and destroys the workload that this made, because
// libraries keep state for each thread, such as CUDA's current device. The calls of `prepare` never
// overlap, since they may share what they are given; none is made after this has returned.
//
// A batch lasts from the common start of all devices to the end of the last one; `per_unit` has
// each device's own time, in the order of `devices`. Devices are verified one after the other, and
// merged like the parts of InTurn. Returns Skipped where any device can't be prepared; an Error
// begins with the device's name.
Prepared PrepareTogether(
    const std::vector<Device>& devices,
    const std::function<Prepared(const Device& device, std::uint64_t seed)>& prepare,
    std::uint64_t seed);

// A meter of several devices at once. Meter i becomes unit i of the telemetry; a null one stands
// for a device that can't be read, and leaves no telemetry.
std::unique_ptr<Meter> MeterTogether(std::vector<std::unique_ptr<DeviceMeter>> meters);

// The sum of all works, field by field, with the formula of the first; a field that any of them
// lacks is absent. Throws Error where a sum doesn't fit 63 bits. REQUIRES: at least one.
Work TotalOf(const std::vector<Work>& works);

}  // namespace assay
