#include "results/base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "results/base/hash.h"
#include "results/base/text.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

std::string FolderOf(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// The number of the open descriptor that a name in /dev or /proc stands for, such as /dev/stdout,
// /dev/fd/63 and /proc/self/fd/1. Only links in those two folders are followed, since they are the
// system's own.
std::optional<int> DescriptorNamed(const std::string& path) {
  std::error_code error;
  const fs::path descriptors = fs::canonical("/proc/self/fd", error);
  if (error) return std::nullopt;
  fs::path name = fs::absolute(path, error);
  constexpr int kMostLinks = 8;
  for (int links = 0; links < kMostLinks; ++links) {
    const fs::path folder = fs::canonical(name.parent_path(), error);
    if (error) return std::nullopt;
    if (folder == descriptors) {
      const std::string text = name.filename().string();
      int number = 0;
      const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), number);
      const bool is_number = bad == std::errc() && end == text.data() + text.size();
      return is_number ? std::optional(number) : std::nullopt;
    }
    if (folder != "/dev") return std::nullopt;
    const fs::path next = fs::read_symlink(folder / name.filename(), error);
    if (error) return std::nullopt;
    name = folder / next;  // an absolute link replaces the folder
  }
  return std::nullopt;
}

bool IsFile(const struct stat& status) { return S_ISREG(status.st_mode); }

// Whether the path is a device or a named pipe itself, and not a link to one.
bool IsSpecial(const std::string& path) {
  struct stat status = {};
  return lstat(path.c_str(), &status) == 0 && !IsFile(status) && !S_ISDIR(status.st_mode) &&
         !S_ISLNK(status.st_mode);
}

// Whether the file at `path` (`old`) can't be replaced, because it and its sticky folder (/tmp)
// belong to other users.
bool IsKeptByItsFolder(const struct stat& old, const std::string& path) {
  const uid_t user = geteuid();
  struct stat folder = {};
  return user != 0 && old.st_uid != user && stat(FolderOf(path).c_str(), &folder) == 0 &&
         (folder.st_mode & S_ISVTX) != 0 && folder.st_uid != user;
}

// Opens a device or a named pipe for writing. Null, with errno, where that fails, where it has
// become a file, and where it is a stranger's pipe in a folder that anybody may write to (/tmp),
// since nobody may ever read from it.
std::unique_ptr<File> OpenSpecial(const std::string& path) {
  struct stat folder = {};
  const bool is_anybodys = stat(FolderOf(path).c_str(), &folder) == 0 && (folder.st_mode & S_IWOTH);
  struct stat pipe = {};
  if (is_anybodys && lstat(path.c_str(), &pipe) == 0 && S_ISFIFO(pipe.st_mode) &&
      pipe.st_uid != geteuid() && pipe.st_uid != 0) {
    errno = EACCES;
    return nullptr;
  }
  auto file = std::make_unique<File>(path, O_WRONLY | O_NOFOLLOW | O_NOCTTY);
  if (!file->IsOpen()) return nullptr;
  struct stat status = {};
  if (fstat(file->Number(), &status) == 0 && !IsFile(status)) return file;
  errno = EEXIST;
  return nullptr;
}

// A regular file that is read from its beginning.
class Source {
 public:
  // Throws Error, which says `what` to give instead, for anything else: an absent file, a device,
  // or a pipe, which must not block here.
  Source(const std::string& path, const std::string& what)
      : path_(path), file_(path, O_RDONLY | O_NONBLOCK) {
    if (!file_.IsOpen()) {
      throw Error(fmt::format("can't read '{}': {}; check the name", path, std::strerror(errno)));
    }
    struct stat status = {};
    if (fstat(file_.Number(), &status) != 0 || !IsFile(status)) {
      throw Error(fmt::format("'{}' isn't a file; give {}", path, what));
    }
    size_ = status.st_size;
  }

  std::int64_t Size() const { return size_; }

  // Appends at most `most_bytes` bytes to `text`. Returns false at the end of the file; throws
  // Error where reading fails.
  bool Read(std::size_t most_bytes, std::string& text) const {
    const std::size_t before = text.size();
    text.resize(before + most_bytes);
    ssize_t got = 0;
    do {
      got = read(file_.Number(), text.data() + before, most_bytes);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
      throw Error(fmt::format("can't read '{}': {}; check the disk", path_, std::strerror(errno)));
    }
    text.resize(before + static_cast<std::size_t>(got));
    return got > 0;
  }

 private:
  std::string path_;
  File file_;
  std::int64_t size_ = 0;
};

// A name beside `path` that nobody can guess, and so nobody can have taken.
std::string TemporaryName(const std::string& path) {
  return fmt::format("{}.{}.tmp", path, RandomHex(8));
}

constexpr mode_t kMode = 0644;

// The permissions of the new file: those of this user's own file that it replaces, else 0644.
mode_t ModeAt(const std::string& path) {
  struct stat old = {};
  const bool is_own = lstat(path.c_str(), &old) == 0 && IsFile(old) && old.st_uid == geteuid();
  return is_own ? old.st_mode & 0777U : kMode;
}

// The outcome of putting a file at its place: an errno or 0, and whether the file is there.
struct Put {
  int error = 0;
  bool is_there = false;
};

// Writes the temporary file, brings it to the disk, and renames it. The order is what keeps the old
// file whole until the new one is.
Put PutWhole(const std::string& path, std::string_view text, Replacing replacing) {
  const std::string temporary = TemporaryName(path);
  const File file(temporary, O_WRONLY | O_CREAT | O_EXCL, ModeAt(path));
  if (!file.IsOpen()) return {.error = errno};
  const bool is_there =
      file.WriteAt(0, text) && fsync(file.Number()) == 0 &&
      (replacing == Replacing::kMay ? std::rename(temporary.c_str(), path.c_str()) == 0
                                    : RenameToNew(temporary, path));
  if (!is_there) {
    const int error = errno;
    unlink(temporary.c_str());
    return {.error = error};
  }
  return {.error = SyncFolder(path) ? 0 : errno, .is_there = true};
}

}  // namespace

File::File(const std::string& path, int flags, mode_t mode) {
  int number = -1;
  do {
    number = open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (number < 0 && errno == EINTR);
  descriptor_ = Descriptor(number);
  // Some file systems have no modes (EPERM); every file there has the mode of the mount.
  if (IsOpen() && (flags & O_CREAT) != 0) fchmod(number, mode);
}

bool File::WriteAt(std::int64_t offset, std::string_view text) const {
  while (!text.empty()) {
    const ssize_t written = pwrite(Number(), text.data(), text.size(), offset);
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
  if (error == ENOENT && access(FolderOf(path).c_str(), F_OK) != 0) {
    remedy = fmt::format("make that folder first or choose another {}", option);
  }
  throw Unwritten(fmt::format("can't write '{}': {}; {}{}", Clean(path, 1024), std::strerror(error),
                              remedy, kept));
}

bool SyncFolder(const std::string& path) {
  const File handle(FolderOf(path), O_RDONLY | O_DIRECTORY);
  // Some network file systems can't fsync a folder (EINVAL), and nothing more can be done there.
  return handle.IsOpen() && (fsync(handle.Number()) == 0 || errno == EINVAL);
}

bool RenameToNew(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS && errno != EPERM) return false;
  if (link(from.c_str(), to.c_str()) == 0) return unlink(from.c_str()) == 0;
  if (errno == EEXIST) return false;
  if (IsTaken(to)) {
    errno = EEXIST;
    return false;
  }
  return std::rename(from.c_str(), to.c_str()) == 0;
}

bool WriteOn(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(descriptor, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // the reader has made the pipe non-blocking
      pollfd ready = {.fd = descriptor, .events = POLLOUT, .revents = 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

std::string ReadText(const std::string& path, std::int64_t most_bytes, const std::string& what) {
  const Source source(path, what);
  if (source.Size() > most_bytes) {
    throw Error(fmt::format("'{}' is over {}; give {}", path, BinarySize(most_bytes), what));
  }
  std::string text;
  const auto size = static_cast<std::size_t>(source.Size());
  while (text.size() < size && source.Read(size - text.size(), text)) continue;
  return text;
}

void ReadLines(const std::string& path, std::int64_t most_bytes, const std::string& what,
               const std::function<void(std::string_view line)>& take) {
  constexpr std::size_t kAtOnce = 1U << 20U;
  const auto check = [&](std::size_t size) {
    if (size <= static_cast<std::size_t>(most_bytes)) return;
    throw Error(
        fmt::format("'{}' has a line over {}; give {}", path, BinarySize(most_bytes), what));
  };
  const Source source(path, what);
  std::string text;
  std::size_t seen = 0;  // the first bytes of `text`, which hold no end of a line
  while (source.Read(kAtOnce, text)) {
    std::size_t begin = 0;
    for (auto end = text.find('\n', seen); end != std::string::npos; end = text.find('\n', begin)) {
      check(end - begin);
      take(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
    }
    text.erase(0, begin);
    seen = text.size();
    check(seen);
  }
}

std::vector<fs::path> EntriesOf(const fs::path& folder, std::error_code& error) {
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    entries.push_back(at->path());
  }
  std::ranges::sort(entries);
  return entries;
}

std::vector<fs::path> EntriesOf(const fs::path& folder) {
  std::error_code absent;
  return EntriesOf(folder, absent);
}

bool IsTaken(const std::string& path) {
  struct stat status = {};
  return lstat(path.c_str(), &status) == 0;
}

int PutFile(const std::string& path, std::string_view text, Replacing replacing) {
  return PutWhole(path, text, replacing).error;
}

void WriteText(const std::string& path, std::string_view text, const std::string& option) {
  if (const std::optional<int> descriptor = DescriptorNamed(path)) {
    if (!WriteOn(*descriptor, text)) FailToWrite(path, errno, option);
    return;
  }
  if (IsSpecial(path)) {
    const std::unique_ptr<File> file = OpenSpecial(path);
    if (file == nullptr || !WriteOn(file->Number(), text)) FailToWrite(path, errno, option);
    return;
  }
  const bool replaces = IsTaken(path);
  const Put put = PutWhole(path, text, Replacing::kMay);
  if (put.error == 0) return;
  const bool stays = replaces && !put.is_there;
  FailToWrite(path, put.error, option, stays ? "; what was there is as it was" : "");
}

std::string FreeName(const std::string& path) {
  if (DescriptorNamed(path) || IsSpecial(path)) return path;
  std::string name = path;
  for (int number = 0; IsTaken(name); ++number) name = fmt::format("{}.{}", path, number);
  return name;
}

std::string WriteTextToFreeName(const std::string& path, std::string_view text,
                                const std::string& option) {
  if (DescriptorNamed(path) || IsSpecial(path)) {
    WriteText(path, text, option);
    return path;
  }
  for (;;) {
    std::string name = FreeName(path);
    const int error = PutFile(name, text, Replacing::kNever);
    if (error == 0) return name;
    if (error != EEXIST) FailToWrite(name, error, option);
  }
}

std::optional<std::string> PlaceOf(const std::string& path) {
  if (DescriptorNamed(path) || IsSpecial(path)) return std::nullopt;
  std::error_code error;
  const fs::path name = fs::absolute(path, error);
  // A link at the name itself would be replaced; links on the way to it are followed.
  const fs::path folder = fs::weakly_canonical(name.parent_path(), error);
  return ((error ? name.parent_path() : folder) / name.filename()).string();
}

void CheckWritable(const std::string& path, const std::string& option) {
  if (const std::optional<int> descriptor = DescriptorNamed(path)) {
    const int flags = fcntl(*descriptor, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) FailToWrite(path, EBADF, option);
    return;
  }
  if (IsSpecial(path)) {
    if (access(path.c_str(), W_OK) != 0) FailToWrite(path, errno, option);
    return;
  }
  struct stat old = {};
  const bool is_taken = lstat(path.c_str(), &old) == 0;
  if (is_taken && S_ISDIR(old.st_mode)) FailToWrite(path, EISDIR, option);
  if (is_taken && IsKeptByItsFolder(old, path)) FailToWrite(path, EPERM, option);
  const std::string temporary = TemporaryName(path);
  const File file(temporary, O_WRONLY | O_CREAT | O_EXCL);
  if (!file.IsOpen()) FailToWrite(path, errno, option);
  unlink(temporary.c_str());
}

std::string ConfigurationFolder() {
  // A privileged process ignores these variables, since whoever set them would choose where it
  // writes.
  const char* xdg = secure_getenv("XDG_CONFIG_HOME");
  // A relative path must be ignored (XDG Base Directory Specification).
  if (xdg != nullptr && xdg[0] == '/') return std::string(xdg) + "/assay";
  const char* home = secure_getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.config/assay";
  return "";
}

}  // namespace assay
