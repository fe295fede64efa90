// The file that storage cases read and write. It is made once a run, without a name where the file
// system can do that, so that nothing is left behind however the run ends. It is filled completely
// with random data before anything is read, because a kernel answers reads of unwritten extents
// without asking the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "io/system.h"
#include "io/volume.h"
#include "results/base/descriptor.h"
#include "runner/core/probe.h"
#include "runner/core/threads.h"

namespace assay::io {

// The size that the file should have, and the parts of the system that tests replace.
struct TestFileOptions {
  std::int64_t bytes = std::int64_t{1} << 30;         // the size where there is room
  std::int64_t memory_bytes = std::int64_t{1} << 28;  // the size on a volume in memory
  std::int64_t least_bytes = std::int64_t{1} << 26;   // Begin returns Skipped with less room
  // The room that the file leaves free; at least a tenth of what is free.
  std::int64_t reserve_bytes = std::int64_t{1} << 30;
  // The time after which filling ends, once least_bytes are written.
  Seconds most_fill = Seconds(20);
  bool may_be_nameless = true;  // false: as on a file system without O_TMPFILE
  KernelRoots kernel = {};
  std::function<std::optional<std::int64_t>()> available_memory = [] { return AvailableMemory(); };
  std::function<std::int64_t()> now_ns = NowNs;
};

// Whether transfers that were asked to bypass the page cache (O_DIRECT) did so.
struct Direct {
  std::string verdict = "unproven";  // proved, refuted, unproven
  std::string how = {};              // the evidence, in words
};

// A test file. It stays open, and keeps its space on the volume, until this object is destroyed.
// The const functions may be called in several threads at once.
class TestFile {
 public:
  // Makes the file and fills its first few MiB, which tells how long Finish will take. Returns
  // Skipped where there is no room or no right to write. Throws Error when `folder` isn't a folder,
  // or the file can't be made or filled.
  static std::variant<std::shared_ptr<TestFile>, Skipped> Begin(const std::string& folder,
                                                                const TestFileOptions& options);
  // Fills the rest, as much as most_fill allows, and finds out extents, alignment and whether
  // direct transfers are direct. Throws Error where the volume is full, or the file can't be filled
  // or holds an extent without data.
  void Finish();
  // Calls Begin and then Finish.
  static std::variant<std::shared_ptr<TestFile>, Skipped> Make(const std::string& folder,
                                                               const TestFileOptions& options);

  // About how long Finish takes, by the speed of the fill so far.
  Seconds FillSeconds() const;

  // Everything below holds once Finish has returned.
  std::int64_t Bytes() const { return bytes_; }
  // The reason for the file's size: "20 s of its fill", "ulimit -f"; empty where it is as large as
  // was wanted.
  const std::string& SizedBy() const { return sized_by_; }
  // The speed at which the file was filled, flushes included; 0 where it took no time.
  double FillBytesPerSecond() const;
  // The random number that every block of this file holds (Stamp::salt).
  std::uint64_t Salt() const { return salt_; }
  // "written" where the file system showed that no extent is unwritten, else "unknown".
  const std::string& Extents() const { return extents_; }
  const Direct& GetDirect() const { return direct_; }
  // The alignment of direct transfers: their offsets and sizes must be multiples of it.
  std::int64_t Alignment() const { return alignment_; }

  // Opens the file once more, for reading and writing. With `direct`, O_DIRECT is set unless the
  // file system refuses it. Throws Error where /proc isn't mounted.
  Descriptor Open(bool direct) const;

  // Writes back and drops the file's pages. Returns the fraction that stayed in the page cache.
  double DropCache() const;
  // Reads the file into the page cache. Returns the fraction that is there then. Throws Error where
  // the file can't be read.
  double FillCache() const;
  // The fraction, 0 to 1, of `bytes` bytes from `begin` (a multiple of 4 KiB) on that is in the
  // page cache; 1 where the kernel doesn't tell.
  double CachedFraction(std::int64_t begin, std::int64_t bytes) const;

 private:
  TestFile(Descriptor file, std::string folder, TestFileOptions options);
  void Fill(std::int64_t until);
  void RequireWritten();
  void ProveDirect();

  const Descriptor file_;
  const std::string folder_;
  const TestFileOptions options_;
  const std::uint64_t salt_;
  Below below_ = {};
  std::int64_t bytes_ = 0;
  std::string sized_by_ = {};
  std::int64_t filled_ = 0;  // how many of its first bytes are written
  Seconds filling_ = {};     // how long that took
  std::string extents_ = "unknown";
  Direct direct_ = {};
  std::int64_t alignment_ = 1;
};

// The extents of a file's first `bytes` bytes, as the file system tells them (FIEMAP).
struct ExtentMap {
  bool known = false;                                // false: this file system doesn't tell
  std::optional<std::int64_t> first_unwritten = {};  // offset of a hole or of an unwritten extent
};
ExtentMap MapExtents(int fd, std::int64_t bytes);

// The name of a file that RemoveTestFiles (io/io.h) is to remove if it is called while this object
// lives. There may be one such object at a time.
class PendingName {
 public:
  // Throws Error when the name is too long for a path.
  explicit PendingName(const std::string& name);
  ~PendingName();
  PendingName(const PendingName&) = delete;
  PendingName& operator=(const PendingName&) = delete;
};

// Throws Error when `folder` is anything but a folder. Assay makes the files that it measures, and
// touches no device and no file of someone else's.
void RequireFolder(const std::string& folder);

}  // namespace assay::io
