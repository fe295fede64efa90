// What lets work of a rank's own go on while a collective does: the collective says when all ranks
// are there and when its own part is over. On a device it puts that work on its stream itself.
#pragma once

#include <cstdint>
#include <optional>

#include "runner/probe.h"

namespace assay {

class Companion {
 public:
  virtual ~Companion() = default;
  // All ranks are there, and the operation follows. Returns at once.
  virtual void Begin() = 0;
  // The operation is over on this rank, its time is taken. Returns when the companion is over too.
  virtual void End() = 0;
};

// The same on a device, by whose clock both are timed from one start: when all ranks are there.
struct Beside {
  Streamed* work = nullptr;
  std::int64_t iterations = 0;
  Seconds time = {};  // from the last start until they were over
};

// The workload of a collective whose operations may have a companion.
class Accompanied : public Workload {
 public:
  // The number of the device that operations run on; nothing: they are the host's to time.
  virtual std::optional<int> Device() const = 0;
  // On the host. Returns when every rank has called it; may spin.
  virtual void Align() = 0;
  // On the host: each operation from now on has it at its side; null: none.
  virtual void Accompany(Companion* companion) = 0;
  // On a device: one operation, with this at its side on a stream of its own.
  virtual Batch RunBeside(Beside& beside) = 0;
  // On a device: this alone, from such a start.
  virtual void RunAlone(Beside& beside) = 0;
};

}  // namespace assay
