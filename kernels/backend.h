// A Backend is one way of running Ops: this program's own loops, or a vendor's library.
// CONTRIBUTING.md says what adding one takes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/op.h"
#include "runner/core/probe.h"
#include "runner/core/threads.h"

namespace assay {

// One device that a backend can run Ops on: the whole CPU, or a single GPU.
struct Device {
  std::string name = {};  // "cpu", "cuda:0"
  std::string kind = {};  // "cpu", "gpu"
  int index = 0;          // among the backend's devices of this kind
};

// A meter samples a device's own sensors (clock, power, temperature) from the moment it is made.
class DeviceMeter {
 public:
  virtual ~DeviceMeter() = default;
  // Takes one more reading now and returns all readings so far, of which there is at least one,
  // without energy and events; at_s counts seconds from the meter's making. A reading that fails is
  // left out.
  virtual Telemetry SoFar() = 0;
  // Takes a last reading, ends the sampling, and returns the readings from `from` on, which counts
  // as at_s does: at least the last one, and where there are many a part of them. Called once.
  virtual Telemetry Finish(Seconds from) = 0;
};

// The interface of all backends. One object serves all cases of a run, and calls to it never
// overlap. It must outlive the workloads and meters that it makes.
class Backend {
 public:
  virtual ~Backend() = default;
  // The name in results and in --backend: "onednn".
  virtual std::string Name() const = 0;
  // The devices that this backend can use here; empty where there are none. Never throws.
  virtual std::vector<Device> Devices() = 0;
  // The reason why Devices() is empty, with a remedy; nothing where it isn't.
  virtual std::optional<Skipped> Missing() { return std::nullopt; }
  // Whether the backend implements this kind of op at all. A dtype or a size that it lacks, or that
  // this machine lacks, is answered by Prepare with a Skipped.
  virtual bool Has(const Op& op) const = 0;
  // Whether the device multiplies matrices in bf16; a suite asks for another dtype where it
  // doesn't. Everything else that a device lacks is answered by Prepare.
  virtual bool HasBf16(const Device& device) const {
    (void)device;
    return true;
  }
  // The op made complete: whatever it leaves to the backend is filled in, such as Memory::bytes
  // where it is 0.
  virtual Op Complete(const Op& op, const Device& device) const {
    (void)device;
    return op;
  }
  // The useful work of one iteration of a complete op. The flops of a Peak are absent where the
  // device has no such arithmetic. Throws Error where a count doesn't fit 63 bits.
  virtual Work OneIteration(const Op& op, const Device& device) const {
    (void)device;
    return WorkOf(op);
  }
  // A meter that samples the device while it is measured; null where its sensors can't be read.
  virtual std::unique_ptr<DeviceMeter> MeterOf(const Device& device) {
    (void)device;
    return nullptr;
  }
  // Makes a complete op ready to be timed on that device: buffers are allocated and filled with
  // inputs from `seed`. Returns Skipped where the device or the library can't do it; throws Error
  // where it should have worked and didn't. The thread that calls this must also run, verify and
  // destroy the workload.
  virtual Prepared Prepare(const Op& op, const Device& device, std::uint64_t seed) = 0;
  // Makes several steps ready as one workload, an iteration of which runs each step once, in order;
  // otherwise as Prepare. This default prepares, runs and times each step by itself
  // (kernels/compound.h), which is right where the host does the work; a device with its own clock
  // overrides it and times one loop.
  virtual Prepared PrepareInTurn(const std::vector<Step>& steps, const Device& device,
                                 std::uint64_t seed);
};

// The cores that CPU kernels may use: those of the setup, else all that this process may use.
inline const std::vector<int>& CoresOf(const Setup& setup) {
  return setup.cores.empty() ? UsableCores() : setup.cores;
}

using Backends = std::vector<std::shared_ptr<Backend>>;

}  // namespace assay
