// The one writer of every file that assay leaves behind. A file is whole or not there: it is
// written under a temporary name beside its place, brought to the disk, and only then renamed. If
// anything fails, what stands at the place stays as it is.
//
// A folder may belong to somebody else. Links are therefore never followed: a link at the place is
// replaced, and what it leads to is not touched. Devices and named pipes, which no file can take
// the place of, are written to as they are, and so is what a name in /dev or /proc stands for.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "results/base/descriptor.h"
#include "results/base/error.h"

namespace assay {

// The Error for a file that can't be written, by which callers tell it from others.
class Unwritten : public Error {
 public:
  using Error::Error;
};

// One open file, which this object closes.
class File {
 public:
  // Opens `path` by open(2), closed on exec. A file that is made (O_CREAT) has `mode` whatever the
  // umask is. Where opening fails, IsOpen is false and errno says why.
  File(const std::string& path, int flags, mode_t mode = 0644);

  bool IsOpen() const { return descriptor_.IsOpen(); }
  int Number() const { return descriptor_.Number(); }
  // Writes all of `text` at an offset. Returns false, with errno, where not all was written.
  bool WriteAt(std::int64_t offset, std::string_view text) const;

 private:
  Descriptor descriptor_ = {};
};

// Throws Unwritten with a sentence that says what helps against `error` (an errno), which option
// names another file, and what is `kept` nevertheless.
[[noreturn]] void FailToWrite(const std::string& path, int error, const std::string& option,
                              const std::string& kept = "");

// Brings a new name in the folder of `path` to the disk. Returns false, with errno, where that
// fails.
bool SyncFolder(const std::string& path);

// Renames, but never onto a file: returns false, with errno EEXIST, where `to` is there. Where the
// file system can't do that in one step, a hard link is tried next, and looking before renaming
// last.
bool RenameToNew(const std::string& from, const std::string& to);

// Reads a regular file of at most `most_bytes`. Throws Error, which says `what` to give instead,
// for anything else, such as an absent file, a device or a pipe.
std::string ReadText(const std::string& path, std::int64_t most_bytes, const std::string& what);

// Calls `take` with each line of a file, without the line's end; text behind the last line's end is
// no line. Throws Error as ReadText does, and for a line of more than `most_bytes`.
void ReadLines(const std::string& path, std::int64_t most_bytes, const std::string& what,
               const std::function<void(std::string_view line)>& take);

// The entries of a folder, by name. Where it can't be read to its end, `error` says why and the
// entries before are there. Unlike a range over directory_iterator it never throws for that, which
// the folder of a device that vanishes asks for.
std::vector<std::filesystem::path> EntriesOf(const std::filesystem::path& folder,
                                             std::error_code& error);
std::vector<std::filesystem::path> EntriesOf(const std::filesystem::path& folder);

// Whether anything has the name `path`, even a link that leads to nothing.
bool IsTaken(const std::string& path);

// Whether a regular file or a link that has the name may be replaced.
enum class Replacing { kMay, kNever };

// Puts a file with this text at `path`, whole or not at all. Returns 0, or the errno of what failed
// (EEXIST where the name is taken and must not be replaced). Where only its folder could not be
// brought to the disk, the file is there, and a power cut may undo that. A new file has mode 0644
// whatever the umask is; one that replaces a regular file of this user keeps that one's
// permissions.
int PutFile(const std::string& path, std::string_view text, Replacing replacing);

// Writes `text` to `path`: to a device, a named pipe or a descriptor (/dev/stdout) as it is, else
// by PutFile in the place of what is there. Throws Unwritten where that fails; `option` is the
// option that named the path.
void WriteText(const std::string& path, std::string_view text, const std::string& option);

// The user's own configuration folder of assay; "" where there is none.
std::string ConfigurationFolder();

// The first free name among `path`, `path`.0, `path`.1, …, as nccl-tests names its files; `path`
// itself where it is a device, a named pipe or a descriptor.
std::string FreeName(const std::string& path);
// Writes as WriteText does under the FreeName of this moment, never over a file. Returns that name.
std::string WriteTextToFreeName(const std::string& path, std::string_view text,
                                const std::string& option);

// The place that a file written to `path` takes: its folder with all links resolved, and its name.
// Nothing for a device, a named pipe or a descriptor, where nothing is replaced.
std::optional<std::string> PlaceOf(const std::string& path);

// Writes all of `text` to an open pipe, terminal or device, which may block. Returns false, with
// errno, where that fails.
bool WriteOn(int descriptor, std::string_view text);

// Throws Unwritten where WriteText is sure to fail, so that a bad path fails before an hour of
// measuring. Changes nothing.
void CheckWritable(const std::string& path, const std::string& option);

}  // namespace assay
