// The file that storage cases read and write: made once a run, without a name where the file system
// knows how, so that nothing is left behind however the run ends; filled completely with random
// data before anything is read, because a kernel answers reads of unwritten extents without asking
// the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "io/system.h"
#include "io/volume.h"
#include "runner/probe.h"
#include "runner/threads.h"

namespace assay::io {

struct TestFileOptions {
  std::int64_t bytes = std::int64_t{1} << 30;          // where there is room
  std::int64_t memory_bytes = std::int64_t{1} << 28;   // the same on a volume in memory
  std::int64_t least_bytes = std::int64_t{1} << 26;    // less room than this is a Skipped
  std::int64_t reserve_bytes = std::int64_t{1} << 30;  // left free; a tenth of what is free if more
  Seconds most_fill = Seconds(20);  // filling ends then, if least_bytes are written
  bool may_be_nameless = true;      // false: as on a file system without O_TMPFILE
  KernelRoots kernel = {};
  std::function<std::optional<std::int64_t>()> available_memory = [] { return AvailableMemory(); };
  std::function<std::int64_t()> now_ns = NowNs;
};

// Whether transfers asked to pass the page cache by (O_DIRECT) did so.
struct Direct {
  std::string verdict = "unproven";  // proved, refuted, unproven
  std::string how = {};
};

class TestFile {
 public:
  // Makes the file and fills its first few MiB, which tells how long Finish will take. Skipped: no
  // room, or no right to write. Throws Error when `folder` isn't one, or the file can't be filled.
  static std::variant<std::shared_ptr<TestFile>, Skipped> Begin(const std::string& folder,
                                                                const TestFileOptions& options);
  // Fills the rest, as much as there is time for, and finds out what there is to know of the file.
  void Finish();
  // Both.
  static std::variant<std::shared_ptr<TestFile>, Skipped> Make(const std::string& folder,
                                                               const TestFileOptions& options);

  // About how long Finish takes, by the speed of the fill so far.
  Seconds FillSeconds() const;

  // What follows holds once Finish has returned.
  std::int64_t Bytes() const { return bytes_; }
  // Why it is as large as it is: "20 s of its fill", "ulimit -f"; empty: as large as was wanted.
  const std::string& SizedBy() const { return sized_by_; }
  double FillBytesPerSecond() const;
  std::uint64_t Salt() const { return salt_; }
  // "written" where the file system showed that no extent is unwritten, else "unknown".
  const std::string& Extents() const { return extents_; }
  const Direct& GetDirect() const { return direct_; }
  // Multiples of this are the offsets and sizes that direct transfers may have.
  std::int64_t Alignment() const { return alignment_; }

  // A descriptor of its own. With `direct`, O_DIRECT is set unless the file system refuses it.
  Descriptor Open(bool direct) const;

  // Writes back and drops the file's pages; the fraction that stayed in the page cache.
  double DropCache() const;
  // Reads the file into the page cache; the fraction of it that is there then.
  double FillCache() const;
  // The fraction of `bytes` from `begin` (a multiple of 4 KiB) on that is in the page cache.
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
  std::int64_t filled_ = 0;  // its first bytes are written
  Seconds filling_ = {};     // took so long
  std::string extents_ = "unknown";
  Direct direct_ = {};
  std::int64_t alignment_ = 1;
};

// What the file system says (FIEMAP) of where a file's first `bytes` lie.
struct ExtentMap {
  bool known = false;                                // false: this file system doesn't tell
  std::optional<std::int64_t> first_unwritten = {};  // of a hole, or of an extent without data
};
ExtentMap MapExtents(int fd, std::int64_t bytes);

// While it lives, RemoveTestFiles removes the file of this name. One at a time.
class PendingName {
 public:
  // Throws Error when the name is too long for a path.
  explicit PendingName(const std::string& name);
  ~PendingName();
  PendingName(const PendingName&) = delete;
  PendingName& operator=(const PendingName&) = delete;
};

// Throws Error, in one sentence, when `folder` is anything but a folder: assay makes the files that
// it measures, and touches no device and no file of someone else's.
void RequireFolder(const std::string& folder);

}  // namespace assay::io
