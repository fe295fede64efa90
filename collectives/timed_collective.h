// A collective as a workload, by whatever library moves the data. What is the same for all
// libraries is here: buffers, inputs whose outcome is exact, the clock, the check, and finding
// stragglers. Buffers lie in host memory, unless a library's Window lies elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "collectives/collective.h"
#include "collectives/companion.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// The buffers of one operation: its input and its output, which it doesn't own. In place they are
// parts of one buffer.
struct Slot {
  std::span<std::byte> input = {};
  std::span<std::byte> output = {};
};

// One rank's end of one collective, which is what differs between libraries. Throws Error where a
// call can't go on.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // A barrier of all ranks. A timed operation follows at once, so that it may spin.
  virtual void Align() = 0;
  // Does the collective once, and returns when this rank's part is done. `input` and `output` hold
  // Layout::Input and Layout::Output elements; in place they lie in one buffer, as Layout says.
  // Either may be null where it has no elements.
  virtual void Run(const std::byte* input, std::byte* output) = 0;
  // The memory that the library wants buffers in: at least `bytes`, page-aligned, of the same size
  // on every rank, and owned by this. Empty: the rank's own memory will do. Called once, on all
  // ranks together, before anything is run.
  virtual std::span<std::byte> Window(std::size_t bytes) {
    (void)bytes;
    return {};
  }
  // The facts of the collective. Called on all ranks together; rank 0's count, except for
  // `transport` (collectives/used_transport.h), which is each rank's own.
  virtual Facts Describe() const { return {}; }

  // The functions below are for a library whose Window lies in a device's memory, which the host
  // can't touch. Device is the number of that device; nothing where buffers lie in host memory, in
  // which case Align and Run are called and the host's clock is read.
  virtual std::optional<int> Device() const { return std::nullopt; }
  // Write copies from host memory to the device, and Read from the device to host memory.
  virtual void Write(std::span<const std::byte> from, std::byte* to) { (void)from, (void)to; }
  virtual void Read(const std::byte* from, std::span<std::byte> to) const { (void)from, (void)to; }
  // Does the collective once on each slot, and sets times[i] to the seconds of slot i by the
  // device's clock. A barrier comes before each operation where `aligns_each` is true, else before
  // the first alone.
  virtual void RunTimed(std::span<const Slot> slots, bool aligns_each, std::span<double> times) {
    (void)slots, (void)aligns_each, (void)times;
  }
  // Does the collective on this slot (none where it is null) and at the same time the work `beside`
  // (collectives/companion.h), whose time it sets. Both begin when all ranks have come. Returns the
  // time of the collective from then on, in seconds.
  virtual double RunBeside(const Slot* slot, Beside& beside) {
    (void)slot, (void)beside;
    return 0;
  }
};

// A clock that the workload reads; tests script one.
using Clock = std::function<Seconds()>;
Seconds SteadyNow();

// The parts of the workload that tests replace.
struct TimedOptions {
  Clock clock = SteadyNow;  // this rank's own
  // The bytes over which a rank's buffers take turns where the collective's cache is `rotated`.
  // There are 20 or more, together at least as large as this, but never more than 1 GiB or 4096 of
  // them. The default is three times a last-level cache of 32 MiB; a library whose buffers lie
  // before another cache gives three times that.
  std::int64_t rotate_bytes = std::int64_t{96} << 20;
};

// Makes a collective ready to be timed. Called on all ranks together, which must outlive the
// workload, and with the same `seed`, from which each rank knows what the others put in. Returns
// Skipped, on all of them, for a mode, cache or group that the exchange's buffers can't have, as
// told below. The workload is an Accompanied (collectives/companion.h).
//
// Collective::mode says how operations are timed. In latency each runs alone, after a barrier, and
// its time is the maximum over the ranks of their own clocks. In throughput operations run back to
// back, on buffers in turn, between two barriers; an operation's time is that since its start or
// the end of the one before. Two more are for devices alone, whose calls return before the
// operation is done: graph, which launches all of them as one graph, and blocking, in which the
// host waits for each. Groups (Collective::aggregate) are for devices alone, too.
//
// Collective::cache says what caches hold. With rewritten, each rank rewrites its inputs and reads
// its outputs between operations, outside the timed span, which only latency leaves time for;
// otherwise caches would keep copies that no real use leaves there, and small sizes would look up
// to four times faster than they are. With rotated, each operation uses the buffers that were used
// longest ago.
//
// Where Collective::verify is `random`, the last operation of the batch before Verify is checked,
// and a random operation in one batch of eight, chosen at random.
Prepared PrepareTimedCollective(const Collective& collective, Ranks& ranks,
                                std::unique_ptr<Exchange> exchange, std::uint64_t seed,
                                const TimedOptions& options = {});

}  // namespace assay
