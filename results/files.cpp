#include "results/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "results/text.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

bool IsThere(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string FolderOf(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// Where a name leads to, by however many links, also where the last of them leads to nothing yet.
std::string Target(const std::string& path) {
  fs::path target = path;
  std::error_code error;
  for (int links = 0; links < 40 && fs::is_symlink(target, error); ++links) {
    const fs::path next = fs::read_symlink(target, error);
    if (error) break;
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  return target.string();
}

// A device, a pipe or a socket, which no file can take the place of.
bool IsSpecial(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

std::string TemporaryName(const std::string& target) {
  return fmt::format("{}.{}.tmp", target, getpid());
}

}  // namespace

File::File(const std::string& path, int flags, mode_t mode) {
  do {
    descriptor_ = open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (descriptor_ < 0 && errno == EINTR);
}

File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

bool File::WriteAt(std::int64_t offset, std::string_view text) const {
  while (!text.empty()) {
    const ssize_t written = pwrite(descriptor_, text.data(), text.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    offset += written;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

void FailToWrite(const std::string& path, int error, const std::string& option,
                 const std::string& kept) {
  std::string remedy = fmt::format("choose another file with {}", option);
  if (error == ENOSPC || error == EDQUOT) {
    remedy = fmt::format("free some space there or choose another {}", option);
  }
  if (error == ENOENT && !IsThere(FolderOf(path))) {
    remedy = fmt::format("make that folder first or choose another {}", option);
  }
  throw Unwritten(fmt::format("can't write '{}': {}; {}{}", Clean(path, 1024), std::strerror(error),
                              remedy, kept));
}

bool SyncFolder(const std::string& path) {
  const File handle(FolderOf(path), O_RDONLY | O_DIRECTORY);
  // Some network file systems can't fsync a folder (EINVAL): nothing more can be done there.
  return handle.IsOpen() && (fsync(handle.Descriptor()) == 0 || errno == EINVAL);
}

bool RenameToNew(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS && errno != EPERM) return false;
  if (link(from.c_str(), to.c_str()) == 0) return unlink(from.c_str()) == 0;
  if (errno == EEXIST) return false;
  if (IsThere(to)) {
    errno = EEXIST;
    return false;
  }
  return std::rename(from.c_str(), to.c_str()) == 0;
}

std::string ReadText(const std::string& path, std::int64_t most_bytes, const std::string& what) {
  const File file(path, O_RDONLY | O_NONBLOCK);  // a pipe must not block here
  if (!file.IsOpen()) {
    throw Error(fmt::format("can't read '{}': {}; check the name", path, std::strerror(errno)));
  }
  struct stat status = {};
  if (fstat(file.Descriptor(), &status) != 0 || !S_ISREG(status.st_mode)) {
    throw Error(fmt::format("'{}' isn't a file; give {}", path, what));
  }
  if (status.st_size > most_bytes) {
    throw Error(fmt::format("'{}' is over {}; give {}", path, BinarySize(most_bytes), what));
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(file.Descriptor(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw Error(fmt::format("can't read '{}': {}; check the disk", path, std::strerror(errno)));
    }
    if (got == 0) break;  // it was shortened meanwhile
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

void WriteText(const std::string& path, std::string_view text, const std::string& option) {
  if (IsSpecial(path)) {
    const File file(path, O_WRONLY);
    std::string_view rest = text;
    while (file.IsOpen() && !rest.empty()) {
      const ssize_t written = write(file.Descriptor(), rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) break;
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
    if (!file.IsOpen() || !rest.empty()) FailToWrite(path, errno, option);
    return;
  }
  const std::string target = Target(path);
  const std::string temporary = TemporaryName(target);
  struct stat old = {};
  const bool replaces = stat(target.c_str(), &old) == 0;
  unlink(temporary.c_str());  // of an earlier process with this number
  const File file(temporary, O_WRONLY | O_CREAT | O_EXCL);
  if (!file.IsOpen()) FailToWrite(path, errno, option);
  // Who may read what was there may read what takes its place.
  const bool keeps_mode = !replaces || fchmod(file.Descriptor(), old.st_mode & 07777U) == 0;
  if (!keeps_mode || !file.WriteAt(0, text) || fsync(file.Descriptor()) != 0 ||
      std::rename(temporary.c_str(), target.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    FailToWrite(path, error, option, replaces ? "; what was there is as it was" : "");
  }
  if (!SyncFolder(target)) FailToWrite(path, errno, option);
}

void CheckWritable(const std::string& path, const std::string& option) {
  if (IsSpecial(path)) {
    if (access(path.c_str(), W_OK) != 0) FailToWrite(path, errno, option);
    return;
  }
  const std::string target = Target(path);
  struct stat old = {};
  if (stat(target.c_str(), &old) == 0 && S_ISDIR(old.st_mode)) FailToWrite(path, EISDIR, option);
  const std::string temporary = TemporaryName(target);
  const File file(temporary, O_WRONLY | O_CREAT | O_EXCL);
  if (!file.IsOpen() && errno != EEXIST) FailToWrite(path, errno, option);
  unlink(temporary.c_str());
}

}  // namespace assay
