// A Library is one way of running Collectives, as a Backend is one way of running Ops.
#pragma once

#include <cstdint>
#include <string>

#include "collectives/collective.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

class Library {
 public:
  virtual ~Library() = default;
  virtual std::string Name() const = 0;
  // This rank's part of the collective. All ranks call it together, and may talk through `ranks`
  // to make ready; but what a rank can tell alone that it can't do, it says before that, so that
  // its "no" doesn't leave the others waiting. All ranks call all functions of the Workload that it
  // gives, in the same order; what these give is of all ranks, and complete on rank 0 alone.
  virtual Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) = 0;
};

}  // namespace assay
