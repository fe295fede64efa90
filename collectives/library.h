// A Library is one way of running Collectives, as a Backend is one way of running Ops.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "collectives/collective.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

// The device of a rank, as nccl-tests tells of it.
struct RankDevice {
  int index = 0;        // among those that the rank sees
  std::string id = {};  // on the PCI bus: "0000:0f:00"
  std::string name = {};
};

class Library {
 public:
  virtual ~Library() = default;
  virtual std::string Name() const = 0;
  // Whether buffers lie on a device of each rank.
  virtual bool IsOnDevice() const { return false; }
  // Where this rank's buffers will lie; nothing: in the host's memory. Called on all ranks
  // together; throws Error on each where there are too few devices for them.
  virtual std::optional<RankDevice> DeviceOf(Ranks& ranks) {
    (void)ranks;
    return std::nullopt;
  }
  // This rank's part of the collective. All ranks call it together, and may talk through `ranks`
  // to make ready; but what a rank can tell alone that it can't do, it says before that, so that
  // its "no" doesn't leave the others waiting. All ranks call all functions of the Workload that it
  // gives, in the same order; what these give is of all ranks, and complete on rank 0 alone.
  virtual Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) = 0;
};

}  // namespace assay
