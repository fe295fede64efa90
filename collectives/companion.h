// The interface by which other work of a rank runs at the same time as a collective. On the host,
// the collective says when all ranks are there and when its own part is over. On a device, it puts
// that work on the work's stream itself.
#pragma once

#include <cstdint>
#include <optional>

#include "runner/core/probe.h"

namespace assay {

// Work on the host beside a collective. The thread of the collective makes both calls, once for
// each operation.
class Companion {
 public:
  virtual ~Companion() = default;
  // Begins the work and returns at once. It is called when all ranks are there, right before the
  // operation, within its timed span.
  virtual void Begin() = 0;
  // Waits until the work is over. It is called when this rank's part of the operation is over and
  // its time is taken. Throws Error where the work failed.
  virtual void End() = 0;
};

// Work on a device beside a collective. The work and the collective are timed by the device's clock
// from a common start, when all ranks are there.
struct Beside {
  Streamed* work = nullptr;     // on the collective's device; the caller keeps it alive
  std::int64_t iterations = 0;  // the iterations of the work to do; 0: the collective runs alone
  Seconds time = {};            // an output: from the start until these iterations were over
};

// The workload of a collective whose operations may have a companion. Align, RunBeside and RunAlone
// are called on all ranks together, and throw Error when they can't go on.
class Accompanied : public Workload {
 public:
  // The number of the device that operations run on; nothing where the host times them. With a
  // device only RunBeside and RunAlone of the functions below may be called, without one only Align
  // and Accompany.
  virtual std::optional<int> Device() const = 0;
  // A barrier of all ranks, which may spin.
  virtual void Align() = 0;
  // Gives each later operation this companion; null takes it away. The caller keeps it alive.
  virtual void Accompany(Companion* companion) = 0;
  // Does one operation at the same time as `beside`, which has its own stream, and sets
  // beside.time. The batch is the operation's alone.
  virtual Batch RunBeside(Beside& beside) = 0;
  // Does `beside` alone, from a common start as that of RunBeside, and sets beside.time.
  virtual void RunAlone(Beside& beside) = 0;
};

}  // namespace assay
