// An all-reduce over buffers in host memory, by whatever library moves the data. Here is what is
// the same for all of them: inputs whose sum is exact, the clock, and the check.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "collectives/library.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

// What differs between libraries.
class HostTransport {
 public:
  virtual ~HostTransport() = default;
  // Returns when every rank has called it. May spin, since a timed operation follows.
  virtual void Align() = 0;
  // `output` becomes the sum of all ranks' `input`s; they are equal for an operation in place.
  virtual void Sum(const void* input, void* output) = 0;
  // Called on all ranks together; what counts is rank 0's.
  virtual Facts Describe() const { return {}; }
};

// The bytes of one element. Throws Error for a dtype other than f32, f64 and i32.
std::int64_t ElementBytes(const std::string& dtype);

using Clock = std::function<Seconds()>;
Seconds SteadyNow();

// Between operations each rank rewrites its inputs and reads its outputs, outside the timed span:
// otherwise caches would keep copies that no real use leaves there, and small sizes would look up
// to four times faster than they are. `clock` is this rank's own.
Prepared PrepareHostAllReduce(const AllReduce& op, Ranks& ranks,
                              std::unique_ptr<HostTransport> transport, std::uint64_t seed,
                              Clock clock = SteadyNow);

}  // namespace assay
