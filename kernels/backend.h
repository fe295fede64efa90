// A Backend is one way of running Ops. To add one: a file that implements it, one line in the list
// of kernels.cpp, one find_package in CMakeLists.txt.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/op.h"
#include "runner/probe.h"
#include "runner/threads.h"

namespace assay {

struct Device {
  std::string name = {};  // "cpu", "cuda:0"
  std::string kind = {};  // "cpu", "gpu"
  int index = 0;
};

// Reads what a device says of itself, again and again from its making on.
class DeviceMeter {
 public:
  virtual ~DeviceMeter() = default;
  // Reads once more, now. All that was read until then, at_s counting from the meter's making.
  virtual Telemetry SoFar() = 0;
  // Ends it with a last reading. What was read at `from` and after, by the same clock. Called once.
  virtual Telemetry Finish(Seconds from) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string Name() const = 0;
  // Empty where there are none. Never throws.
  virtual std::vector<Device> Devices() = 0;
  // Why there are none; nothing where there are some.
  virtual std::optional<Skipped> Missing() { return std::nullopt; }
  // Whether it has this kind of op at all. That it lacks a dtype or a size, or that this machine
  // does, is for Prepare to say.
  virtual bool Has(const Op& op) const = 0;
  // Whether the device computes in bf16, for which a suite has another dtype where it doesn't. All
  // else that a device lacks is for Prepare to say.
  virtual bool HasBf16(const Device& device) const {
    (void)device;
    return true;
  }
  // The op with what it leaves to the backend filled in (Memory::bytes = 0).
  virtual Op Complete(const Op& op, const Device& device) const {
    (void)device;
    return op;
  }
  // The useful work of one iteration of a complete op; flops of a peak are absent where the device
  // has no such arithmetic.
  virtual Work OneIteration(const Op& op, const Device& device) const {
    (void)device;
    return WorkOf(op);
  }
  // What reads the device while it is measured; null where nothing does.
  virtual std::unique_ptr<DeviceMeter> MeterOf(const Device& device) {
    (void)device;
    return nullptr;
  }
  // The op, ready to be timed on that device, or why it can't be. Inputs come from `seed`.
  virtual Prepared Prepare(const Op& op, const Device& device, std::uint64_t seed) = 0;
  // An iteration runs each step once, in order. Each is prepared, run and timed by itself, which is
  // right where the host does them (kernels/compound.h); a device with a clock of its own is to do
  // better.
  virtual Prepared PrepareInTurn(const std::vector<Step>& steps, const Device& device,
                                 std::uint64_t seed);
};

// Those that CPU kernels may use.
inline const std::vector<int>& CoresOf(const Setup& setup) {
  return setup.cores.empty() ? UsableCores() : setup.cores;
}

using Backends = std::vector<std::shared_ptr<Backend>>;

}  // namespace assay
