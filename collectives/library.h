// A Library is one way of running Collectives, as a Backend is one way of running Ops.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "collectives/collective.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// A library, such as "nccl" or "native", on one rank.
class Library {
 public:
  virtual ~Library() = default;
  virtual std::string Name() const = 0;
  // Whether buffers lie on a device of each rank.
  virtual bool IsOnDevice() const { return false; }
  // The device on which this rank's buffers will lie; nothing: in the host's memory. Called on all
  // ranks together; throws Error on each where there are too few devices for them.
  virtual std::optional<RankDevice> DeviceOf(Ranks& ranks) {
    (void)ranks;
    return std::nullopt;
  }
  // Makes this rank's part of the collective ready. All ranks call it together, and may talk
  // through `ranks`, which must outlive the workload, as this library must. Inputs come from
  // `seed`, which is the same on all ranks, since each knows from it what the others put in. A rank
  // that can tell alone that it can't do the collective returns Skipped before that, so that its
  // "no" doesn't leave the others waiting. All ranks must call all functions of the Workload, in
  // the same order; what these return is about all ranks, and complete on rank 0 alone.
  virtual Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) = 0;
};

}  // namespace assay
