// A collective over buffers in host memory, by whatever library moves the data. Here is what is the
// same for all of them: buffers, inputs whose outcome is exact, the clock, the check, and who was
// late.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "collectives/collective.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

// What differs between libraries: one rank's end of one collective.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // Returns when every rank has called it. May spin, since a timed operation follows.
  virtual void Align() = 0;
  // Does the collective once. `input` and `output` hold Layout::Input and Layout::Output elements;
  // in place they lie in one buffer, as Layout says. Either may be null where it has no elements.
  virtual void Run(const std::byte* input, std::byte* output) = 0;
  // Memory that the library wants buffers in: at least `bytes`, aligned to a page, the same on
  // every rank, there as long as this is. Empty: the rank's own memory will do. Called once, before
  // anything is run, on all ranks together.
  virtual std::span<std::byte> Window(std::size_t bytes) {
    (void)bytes;
    return {};
  }
  // Called on all ranks together; what counts is rank 0's.
  virtual Facts Describe() const { return {}; }
};

using Clock = std::function<Seconds()>;
Seconds SteadyNow();

struct HostOptions {
  Clock clock = SteadyNow;  // this rank's own
  // Buffers take turns over at least this many bytes where the collective's cache is `rotated`.
  std::int64_t rotate_bytes = std::int64_t{96} << 20;
};

// mode latency: each operation alone, after a barrier; its time is the maximum over the ranks of
// their own clocks. mode throughput: operations back to back, on buffers in turn, between two
// barriers; an operation's time is the time from its start or the end of the one before.
//
// cache rewritten: between operations each rank rewrites its inputs and reads its outputs, outside
// the timed span: otherwise caches would keep copies that no real use leaves there, and small sizes
// would look up to four times faster than they are. cache rotated: each operation has the buffers
// that were used longest ago.
//
// What is checked is the last operation of the batch that Verify follows, and in one batch of
// eight, chosen at random, an operation chosen at random.
Prepared PrepareHostCollective(const Collective& collective, Ranks& ranks,
                               std::unique_ptr<Exchange> exchange, std::uint64_t seed,
                               const HostOptions& options = {});

}  // namespace assay
