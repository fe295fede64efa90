// The seam of the storage cases. A Feed says what is to be moved and takes what came of it; a
// FileEngine keeps one transfer per slot in flight on one open file until the feed runs dry. So
// io_uring, threads that call pread and pwrite, and a scripted engine in a test are one loop to
// everything above.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "runner/probe.h"

namespace assay::io {

struct Transfer {
  bool write = false;
  std::int64_t offset = 0;
  std::span<std::byte> data = {};  // within EngineSetup::buffers, not always the same of a slot
};

class Feed {
 public:
  virtual ~Feed() = default;
  // The next transfer of this slot, or nothing: the slot has no more to do in this run. The calls
  // of one engine into its feed never overlap.
  virtual std::optional<Transfer> Next(int slot) = 0;
  // Whether it has work for PrepareAhead, for which an engine has time while transfers are in
  // flight: to make the contents of a later one.
  virtual bool WantsTime() const { return false; }
  virtual void PrepareAhead() {}
  // What came of the slot's transfer: the bytes moved, or -errno; and when it was begun and ended,
  // by NowNs.
  virtual void Done(int slot, std::int64_t result, std::int64_t begin_ns, std::int64_t end_ns) = 0;
};

class FileEngine {
 public:
  virtual ~FileEngine() = default;
  // What the kernel granted, in words: "fixed_buffers registered_file defer_taskrun".
  virtual std::string Flags() const = 0;
  // Whether each transfer has clock readings of its own; if not, one reading is shared by all that
  // were reaped together, so that a latency may be up to one reap too long.
  virtual bool ExactLatency() const = 0;
  // Returns when every slot is dry and nothing is in flight. Called in the thread that made the
  // engine. A transfer that fails is the feed's business; throws Error when the engine itself
  // can't go on.
  virtual void Run(Feed& feed) = 0;
  // Brings what was written to stable storage; returns how long that took, in nanoseconds. Called
  // in the thread that made the engine, while nothing is in flight. Throws Error when it fails.
  virtual std::int64_t Flush() = 0;
};

// fdatasync, for an engine's Flush.
std::int64_t FlushFile(int fd);

struct EngineSetup {
  int fd = -1;
  int depth = 1;                      // slots 0 … depth - 1
  std::span<std::byte> buffers = {};  // all memory that transfers will name
};

// Skipped: this way of doing I/O is refused on this machine.
using MadeEngine = std::variant<std::unique_ptr<FileEngine>, Skipped>;
using EngineFactory = std::function<MadeEngine(const EngineSetup&)>;

// io_uring with a registered file, and fixed buffers where the limit on locked memory allows. Which
// set-up flags to use is decided by trying each with a real read, because kernels accept some that
// then fail. Defined in uring.cpp, the sole includer of liburing.
MadeEngine MakeUring(const EngineSetup& setup);
std::string LiburingVersion();

// One thread a slot, each calling pread or pwrite; at depth 1 the calling thread itself.
MadeEngine MakePsync(const EngineSetup& setup);

}  // namespace assay::io
