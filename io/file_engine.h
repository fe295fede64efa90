// The seam of the storage cases. A Feed says what is to be transferred and takes the outcome; a
// FileEngine keeps one transfer in flight for each slot, on one open file, until the feed has no
// more. io_uring, threads that call pread and pwrite, and a test's scripted engine all implement
// FileEngine, so that the code above is the same for each of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "runner/core/probe.h"

namespace assay::io {

// One read or write of contiguous bytes.
struct Transfer {
  bool write = false;
  std::int64_t offset = 0;         // in the file, in bytes
  std::span<std::byte> data = {};  // within EngineSetup::buffers
};

// The source of transfers. The calls of one engine into its feed never overlap, but may come from
// several threads.
class Feed {
 public:
  virtual ~Feed() = default;
  // The next transfer of this slot, or nothing where the slot has no more to do in this run.
  virtual std::optional<Transfer> Next(int slot) = 0;
  // Whether PrepareAhead has work to do. PrepareAhead makes the contents of a later transfer; an
  // engine may call it while transfers are in flight, so that the volume isn't kept waiting.
  virtual bool WantsTime() const { return false; }
  virtual void PrepareAhead() {}
  // Tells the outcome of the slot's transfer. `result` is the bytes moved, or -errno; the times of
  // its begin and end are those of NowNs.
  virtual void Done(int slot, std::int64_t result, std::int64_t begin_ns, std::int64_t end_ns) = 0;
};

// A way of doing the transfers. An engine belongs to the thread that made it.
class FileEngine {
 public:
  virtual ~FileEngine() = default;
  // The features that the kernel granted, in words: "fixed_buffers registered_file defer_taskrun".
  virtual std::string Flags() const = 0;
  // Whether each transfer has its own clock readings. If not, all transfers that were reaped
  // together share one reading, so that a latency may be up to one reap too long.
  virtual bool ExactLatency() const = 0;
  // Runs the feed until Next has returned nothing for every slot and nothing is in flight. A
  // transfer that fails is told to the feed; throws Error when the engine itself can't go on.
  virtual void Run(Feed& feed) = 0;
  // Brings what was written to stable storage, and returns how long that took in nanoseconds.
  // Throws Error when it fails. REQUIRES: nothing is in flight.
  virtual std::int64_t Flush() = 0;
};

// Does what FileEngine::Flush promises, by fdatasync.
std::int64_t FlushFile(int fd);

// The things that an engine works with. The caller owns the descriptor and the buffers, which must
// outlive the engine.
struct EngineSetup {
  int fd = -1;                        // the open file
  int depth = 1;                      // the number of slots, which are numbered from 0
  std::span<std::byte> buffers = {};  // all memory that transfers will name
};

// An engine, or Skipped where the machine refuses this way of doing I/O.
using MadeEngine = std::variant<std::unique_ptr<FileEngine>, Skipped>;
using EngineFactory = std::function<MadeEngine(const EngineSetup&)>;

// Makes an engine on io_uring with a registered file, and with fixed buffers where the limit on
// locked memory allows. The set-up flags are chosen by trying each combination with a real read,
// because kernels accept some that then fail. REQUIRES: the file can be read, and there are buffers
// of 4 KiB or more.
MadeEngine MakeUring(const EngineSetup& setup);
// The version of liburing that this was built with: "2.3".
std::string LiburingVersion();

// Makes an engine with one thread per slot, each calling pread or pwrite. At depth 1 the thread
// that calls Run makes these calls itself.
MadeEngine MakePsync(const EngineSetup& setup);

}  // namespace assay::io
