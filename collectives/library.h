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
  // latency: each operation alone, after a barrier; throughput: many back to back.
  std::string mode = "latency";
};

class Library {
 public:
  virtual ~Library() = default;
  virtual std::string Name() const = 0;
  // This rank's part of the collective. It talks to no other rank, so that one rank's "no" doesn't
  // leave the others waiting. All ranks call all functions of the Workload that it gives, in the
  // same order; what these give is of all ranks, and complete on rank 0 alone.
  virtual Prepared Prepare(const AllReduce& op, Ranks& ranks, std::uint64_t seed) = 0;
};

}  // namespace assay
