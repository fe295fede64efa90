// A collective over buffers, by whatever library moves the data. Here is what is the same for all
// of them: buffers, inputs whose outcome is exact, the clock, the check, and who was late. Buffers
// lie in host memory, unless a library's Window lies elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "collectives/collective.h"
#include "collectives/companion.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

// One input and one output, which are parts of one buffer in place.
struct Slot {
  std::span<std::byte> input = {};
  std::span<std::byte> output = {};
};

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
  // Called on all ranks together; what counts is rank 0's, but for each rank's own `transport`
  // (collectives/used_transport.h).
  virtual Facts Describe() const { return {}; }

  // For a library whose Window lies in a device's memory, which the host can't touch: the number of
  // the device. All of these are then its own: the first two copy, and the third does the
  // collective once on each slot and gives the time of each by the device's clock, aligned before
  // each or before the first alone. Where that is not so, Align and Run are called and the host's
  // clock is read.
  virtual std::optional<int> Device() const { return std::nullopt; }
  virtual void Write(std::span<const std::byte> from, std::byte* to) { (void)from, (void)to; }
  virtual void Read(const std::byte* from, std::span<std::byte> to) const { (void)from, (void)to; }
  virtual void RunTimed(std::span<const Slot> slots, bool aligns_each, std::span<double> times) {
    (void)slots, (void)aligns_each, (void)times;
  }
  // The collective on this slot, or nothing where there is none, and at once what is beside it:
  // both begin when all ranks have come. The time of the collective from then.
  virtual double RunBeside(const Slot* slot, Beside& beside) {
    (void)slot, (void)beside;
    return 0;
  }
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
// barriers; an operation's time is the time from its start or the end of the one before. mode
// graph: the same, launched as one graph, and mode blocking: the same, but that the host waits for
// each: only devices can, whose calls return before the operation is done.
//
// cache rewritten: between operations each rank rewrites its inputs and reads its outputs, outside
// the timed span: otherwise caches would keep copies that no real use leaves there, and small sizes
// would look up to four times faster than they are. cache rotated: each operation has the buffers
// that were used longest ago.
//
// What is checked, if Collective::verify is `random`, is the last operation of the batch that
// Verify follows, and in one batch of eight, chosen at random, an operation chosen at random.
Prepared PrepareHostCollective(const Collective& collective, Ranks& ranks,
                               std::unique_ptr<Exchange> exchange, std::uint64_t seed,
                               const HostOptions& options = {});

}  // namespace assay
