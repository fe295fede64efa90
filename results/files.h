// Files that are whole or not there: written beside their place, brought to the disk, and only then
// given their name. What stands under the name until then stays if anything fails.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "results/error.h"

namespace assay {

// The Error for a file that can't be written.
class Unwritten : public Error {
 public:
  using Error::Error;
};

// One open file.
class File {
 public:
  File(const std::string& path, int flags, mode_t mode = 0644);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int Descriptor() const { return descriptor_; }
  bool IsOpen() const { return descriptor_ >= 0; }
  // False, with errno, where not all was written.
  bool WriteAt(std::int64_t offset, std::string_view text) const;

 private:
  int descriptor_ = -1;
};

// Throws Unwritten, with what `error` (an errno) asks for, where another file can be named
// (`option`), and what is `kept` nevertheless.
[[noreturn]] void FailToWrite(const std::string& path, int error, const std::string& option,
                              const std::string& kept = "");

// Brings a new name in the folder of `path` to the disk. False, with errno, where that fails.
bool SyncFolder(const std::string& path);

// Renames, but never onto a file: false, with errno EEXIST, where `to` is there. Not every file
// system can do that in one step; there a link to a name that is free comes next, and looking
// before renaming last.
bool RenameToNew(const std::string& from, const std::string& to);

// The text of a file of at most `most_bytes`. Throws Error, with `what` to give instead, for
// anything else: what isn't there, a device, a pipe.
std::string ReadText(const std::string& path, std::int64_t most_bytes, const std::string& what);

// Writes `text` under the name `path`, in the place of a file that is there; to a device or a pipe
// as it is. Throws Unwritten, and leaves what is there, where that fails. `option` named the path.
void WriteText(const std::string& path, std::string_view text, const std::string& option);

// Throws Unwritten where WriteText is sure to fail, before what is to be written is known. Changes
// nothing.
void CheckWritable(const std::string& path, const std::string& option);

}  // namespace assay
