// The file that storage cases read and write: made once a run, without a name where the file system
// knows how, so that nothing is left behind however the run ends; filled completely with random
// data before anything is read, because a kernel answers reads of unwritten extents without asking
// the disk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "io/system.h"
#include "runner/probe.h"

namespace assay::io {

struct TestFileOptions {
  std::int64_t bytes = std::int64_t{1} << 30;          // where there is room
  std::int64_t memory_bytes = std::int64_t{1} << 28;   // the same on a file system in memory
  std::int64_t least_bytes = std::int64_t{1} << 26;    // less room than this is a Skipped
  std::int64_t reserve_bytes = std::int64_t{1} << 30;  // left free; a tenth of what is free if more
  bool may_be_nameless = true;  // false: as on a file system without O_TMPFILE
};

// Whether transfers asked to pass the page cache by (O_DIRECT) did so.
struct Direct {
  std::string verdict = "unproven";  // proved, refuted, unproven
  std::string how = {};
};

class TestFile {
 public:
  // Skipped: no room, or no right to write. Throws Error when `folder` isn't one, or the file can't
  // be filled.
  static std::variant<std::shared_ptr<TestFile>, Skipped> Make(const std::string& folder,
                                                               const TestFileOptions& options);

  std::int64_t Bytes() const { return bytes_; }
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
  // The fraction of the first `bytes` that is in the page cache.
  double CachedFraction(std::int64_t bytes) const;

 private:
  TestFile(Descriptor file, std::string folder, std::int64_t bytes);
  void Fill();
  void RequireWritten();
  void ProveDirect();

  const Descriptor file_;
  const std::string folder_;
  const std::int64_t bytes_;
  const std::uint64_t salt_;
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
