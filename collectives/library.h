// A Library is one way of running Collectives, as a Backend is one way of running Ops.
#pragma once

#include <cstdint>
#include <string>

#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

// Every rank contributes `bytes` and every rank gets the sum.
struct AllReduce {
  std::int64_t bytes = 0;  // per rank, a multiple of the element size
  std::string dtype = "f32";
  std::string redop = "sum";
  std::string placement = "out_of_place";  // out_of_place, in_place
  std::string mode = "throughput";         // throughput, latency
};

class Library {
 public:
  virtual ~Library() = default;
  virtual std::string Name() const = 0;
  // This rank's part of the collective; all ranks call it, and all calls of the Workload that it
  // gives, in the same order. Batch::per_unit is filled on rank 0.
  virtual Prepared Prepare(const AllReduce& op, Ranks& ranks, std::uint64_t seed) = 0;
};

}  // namespace assay
