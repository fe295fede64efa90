// What lets work of a rank's own go on while a collective does: the collective says when all ranks
// are there and when its own part is over.
#pragma once

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

// The workload of a collective whose operations may have a companion.
class Accompanied : public Workload {
 public:
  // Returns when every rank has called it; may spin.
  virtual void Align() = 0;
  // Each operation from now on has it at its side; null: none. False, and nothing is changed, where
  // operations are not the host's to time: on a device the companion would be a second stream, and
  // its budget the channels that the library may use.
  virtual bool Accompany(Companion* companion) = 0;
};

}  // namespace assay
