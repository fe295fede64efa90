#include "io/test_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "io/file_engine.h"
#include "io/io.h"
#include "io/stamp.h"
#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/core/random.h"

namespace assay::io {
namespace {

constexpr std::int64_t kFillBytes = std::int64_t{1} << 20;
constexpr int kFillDepth = 8;

// The name that a test file has for the moment between its creation and its unlinking; empty at all
// other times. A signal handler reads it.
char pending_name[PATH_MAX] = "";
std::atomic<bool> name_is_pending = false;

std::uint64_t TrueRandom() {
  std::random_device device;
  return std::uint64_t{device()} << 32U | device();
}

// The blocks of a test file in order, each with contents of its own.
class FillFeed : public Feed {
 public:
  FillFeed(std::span<std::byte> buffers, std::int64_t begin, std::int64_t end, std::uint64_t salt,
           std::function<bool(std::int64_t written)> is_over)
      : buffers_(buffers), next_(begin), end_(end), salt_(salt), is_over_(std::move(is_over)) {}

  std::optional<Transfer> Next(int slot) override {
    if (next_ >= end_ || !failure_.empty() || is_over_(next_)) return std::nullopt;
    const Transfer transfer = {
        .write = true,
        .offset = next_,
        .data = buffers_.subspan(static_cast<std::size_t>(slot * kFillBytes), kFillBytes)};
    const auto block = static_cast<std::uint64_t>(next_ / kFillBytes);
    FillBodies(transfer.data, RandomAt(salt_, block));
    PutStamps(transfer.data, {.offset = next_, .sequence = block, .salt = salt_});
    next_ += kFillBytes;
    return transfer;
  }

  void Done(int, std::int64_t result, std::int64_t, std::int64_t) override {
    if (result == kFillBytes || !failure_.empty()) return;
    failure_ = result < 0 ? ErrorName(static_cast<int>(-result)) : "a short write";
  }

  std::int64_t End() const { return next_; }  // the offset behind what was written
  const std::string& Failure() const { return failure_; }

 private:
  const std::span<std::byte> buffers_;
  std::int64_t next_;
  const std::int64_t end_;
  const std::uint64_t salt_;
  const std::function<bool(std::int64_t)> is_over_;
  std::string failure_ = {};
};

// A bound on the size of the file, and the reason for it in words.
struct Bound {
  std::int64_t bytes = 0;
  std::string by = {};
};

// The size of the largest file that this process may write.
std::int64_t FileSizeLimit() {
  rlimit limit = {};
  constexpr auto kMost = static_cast<rlim_t>(std::numeric_limits<std::int64_t>::max());
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return static_cast<std::int64_t>(kMost);
  return static_cast<std::int64_t>(std::min(limit.rlim_cur, kMost));
}

// Creates the file, without a name where that is possible (O_EXCL: it can't be given one later),
// else with one that is removed at once. Where that fails, errno says why, and nothing is open.
Descriptor Create(const std::string& folder, bool may_be_nameless) {
  if (may_be_nameless) {
    Descriptor fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600));
    // These errors mean that the file system or sandbox doesn't know O_TMPFILE; any other is final.
    if (fd.IsOpen() ||
        (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)) {
      return fd;
    }
  }
  const std::string name =
      fmt::format("{}/.assay-{:016x}{:016x}.tmp", folder, TrueRandom(), TrueRandom());
  const PendingName pending(name);
  Descriptor fd(open(name.c_str(), O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600));
  if (fd.IsOpen()) unlink(name.c_str());
  return fd;
}

}  // namespace

PendingName::PendingName(const std::string& name) {
  if (name.size() >= sizeof pending_name) {
    throw Error(
        fmt::format("The path \"{}\" is too long; name a shorter --storage-path.", Clean(name)));
  }
  std::memcpy(pending_name, name.c_str(), name.size() + 1);
  name_is_pending = true;
}

PendingName::~PendingName() { name_is_pending = false; }

void RemoveTestFiles() noexcept {
  if (name_is_pending) unlink(pending_name);
}

void RequireFolder(const std::string& folder) {
  struct stat status = {};
  if (stat(folder.c_str(), &status) != 0) {
    throw Error(
        fmt::format("The storage path \"{}\" can't be used ({}); name a folder that is there.",
                    Clean(folder), ErrorName(errno)));
  }
  if (S_ISDIR(status.st_mode)) return;
  const char* what = S_ISBLK(status.st_mode)   ? "a block device"
                     : S_ISREG(status.st_mode) ? "a file that assay did not make"
                                               : "not a folder";
  throw Error(fmt::format(
      "The storage path \"{}\" is {}, which assay does not touch; name a folder on that volume, "
      "where it makes a test file of its own.",
      Clean(folder), what));
}

ExtentMap MapExtents(int fd, std::int64_t bytes) {
  constexpr std::uint32_t kNoData = FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_UNKNOWN |
                                    FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE;
  constexpr std::uint32_t kCount = 256;  // extents asked for at a time
  std::vector<std::uint64_t> memory((sizeof(fiemap) + kCount * sizeof(fiemap_extent)) /
                                    sizeof(std::uint64_t));
  auto* map = reinterpret_cast<fiemap*>(memory.data());
  const auto end = static_cast<std::uint64_t>(bytes);
  std::uint64_t at = 0;  // everything before it is known to be written
  while (at < end) {
    *map = {};
    map->fm_start = at;
    map->fm_length = end - at;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = kCount;
    if (ioctl(fd, FS_IOC_FIEMAP, map) != 0) return {.known = false};
    const std::uint64_t before = at;
    for (std::uint32_t i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& extent = map->fm_extents[i];
      if (extent.fe_logical > at || (extent.fe_flags & kNoData) != 0) {
        return {.known = true, .first_unwritten = static_cast<std::int64_t>(at)};
      }
      at = extent.fe_logical + extent.fe_length;
    }
    if (at == before) return {.known = true, .first_unwritten = static_cast<std::int64_t>(at)};
  }
  return {.known = true};
}

std::variant<std::shared_ptr<TestFile>, Skipped> TestFile::Begin(const std::string& folder,
                                                                 const TestFileOptions& options) {
  RequireFolder(folder);
  struct statfs fs = {};
  if (statfs(folder.c_str(), &fs) != 0) {
    throw Error(fmt::format("The file system of \"{}\" can't be asked for its free space: {}.",
                            Clean(folder), ErrorName(errno)));
  }
  const std::int64_t free_bytes =
      static_cast<std::int64_t>(fs.f_bavail) * static_cast<std::int64_t>(fs.f_bsize);
  const std::int64_t usable = free_bytes - std::max(options.reserve_bytes, free_bytes / 10);
  if (usable < options.least_bytes) {
    return Skipped{.reason = fmt::format(
                       "{} MiB free at the storage path leave no room for a test file of {} "
                       "MiB beside a reserve of {} MiB",
                       free_bytes >> 20, options.least_bytes >> 20, options.reserve_bytes >> 20),
                   .remedy = "free some space, or name another folder with --storage-path"};
  }
  const std::int64_t limit = FileSizeLimit();
  if (limit < options.least_bytes) {
    return Skipped{.reason = fmt::format("this process may write files of {} MiB at most (EFBIG), "
                                         "and a test file has at least {}",
                                         limit >> 20, options.least_bytes >> 20),
                   .remedy = "raise the limit on the size of files (ulimit -f)"};
  }
  const Below below = DescribeBelow(folder, options.kernel);
  const bool in_memory = below.ends == Below::Ends::kMemory;
  std::vector<Bound> bounds = {{in_memory ? options.memory_bytes : options.bytes, ""},
                               {usable, "the free space"},
                               {limit, "the limit on the size of files (ulimit -f)"}};
  // A file that lies in memory, or may, must leave as much memory free as it takes; a control group
  // may have little of it.
  if (in_memory || below.ends == Below::Ends::kUnknown) {
    const std::int64_t available =
        options.available_memory().value_or(std::numeric_limits<std::int64_t>::max());
    if (available / 2 < options.least_bytes) {
      return Skipped{.reason = fmt::format("a test file of {} MiB may lie in memory, and would be "
                                           "more than half of the {} MiB that can be had",
                                           options.least_bytes >> 20, available >> 20),
                     .remedy =
                         "give this process more memory (its control group counts), or name "
                         "a folder on a disk with --storage-path"};
    }
    bounds.push_back({available / 2, "the memory that can be had"});
  }
  const Bound bound = *std::ranges::min_element(bounds, {}, &Bound::bytes);

  Descriptor fd = Create(folder, options.may_be_nameless);
  if (!fd.IsOpen()) {
    const int error = errno;
    if (error == EACCES || error == EPERM || error == EROFS) {
      return Skipped{.reason = fmt::format("no test file may be made at the storage path ({})",
                                           ErrorName(error)),
                     .remedy = "name a folder that can be written to with --storage-path"};
    }
    throw Error(fmt::format("No test file can be made in \"{}\": {}; try another --storage-path.",
                            Clean(folder), ErrorName(error)));
  }
  std::shared_ptr<TestFile> file(new TestFile(std::move(fd), folder, options));
  file->below_ = below;
  file->bytes_ = bound.bytes / kFillBytes * kFillBytes;
  file->sized_by_ = bound.by;
  file->Fill(std::min(file->bytes_, kFillDepth * kFillBytes));
  return file;
}

std::variant<std::shared_ptr<TestFile>, Skipped> TestFile::Make(const std::string& folder,
                                                                const TestFileOptions& options) {
  auto made = Begin(folder, options);
  if (auto* file = std::get_if<std::shared_ptr<TestFile>>(&made)) (*file)->Finish();
  return made;
}

TestFile::TestFile(Descriptor file, std::string folder, TestFileOptions options)
    : file_(std::move(file)),
      folder_(std::move(folder)),
      options_(std::move(options)),
      salt_(TrueRandom()) {}

double TestFile::FillBytesPerSecond() const {
  return filling_ > Seconds(0) ? static_cast<double>(filled_) / filling_.count() : 0;
}

Seconds TestFile::FillSeconds() const {
  const double speed = FillBytesPerSecond();
  if (speed <= 0 || filled_ >= bytes_) return {};
  const auto seconds = [&](std::int64_t until) {
    return Seconds(static_cast<double>(std::max<std::int64_t>(0, until - filled_)) / speed);
  };
  const Seconds least = seconds(std::min(bytes_, options_.least_bytes));
  return std::min(seconds(bytes_), std::max(options_.most_fill - filling_, least));
}

void TestFile::Finish() {
  // The space is asked for first, so that a full volume is noticed before a minute of writing. Not
  // all file systems can do that; writing then tells as well.
  if (fallocate(file_.Number(), 0, 0, bytes_) != 0 && (errno == ENOSPC || errno == EDQUOT)) {
    throw Error(
        fmt::format("There is no room in \"{}\" for a test file of {} MiB ({}); free some "
                    "space or name another --storage-path.",
                    Clean(folder_), bytes_ >> 20, ErrorName(errno)));
  }
  while (filled_ < bytes_ && (filled_ < options_.least_bytes || filling_ < options_.most_fill)) {
    // A cache takes a piece in at once, and its time is spent in the flush behind it; so a piece is
    // no larger than there seems to be time for.
    constexpr std::int64_t kMostPiece = std::int64_t{64} << 20;
    const double left_s = std::max(0.0, (options_.most_fill - filling_).count());
    const double affordable = std::min(left_s * FillBytesPerSecond(), double{kMostPiece});
    const std::int64_t piece =
        std::max(static_cast<std::int64_t>(affordable) / kFillBytes, std::int64_t{kFillDepth}) *
        kFillBytes;
    Fill(std::min(bytes_, filled_ + piece));
  }
  if (filled_ < bytes_) {
    bytes_ = filled_;
    sized_by_ = fmt::format("{:g} s of its fill", options_.most_fill.count());
    if (ftruncate(file_.Number(), bytes_) != 0) {
      throw Error(fmt::format("The test file in \"{}\" can't be cut to {} MiB: {}.", Clean(folder_),
                              bytes_ >> 20, ErrorName(errno)));
    }
  }
  RequireWritten();
  ProveDirect();
}

Descriptor TestFile::Open(bool direct) const {
  // The file is opened by way of its descriptor, since it has no name.
  const std::string link = fmt::format("/proc/self/fd/{}", file_.Number());
  if (direct) {
    Descriptor fd(open(link.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT));
    if (fd.IsOpen()) return fd;
  }
  Descriptor fd(open(link.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.IsOpen()) {
    throw Error(
        fmt::format("The test file can't be opened again through /proc/self/fd: {}; /proc "
                    "must be mounted.",
                    ErrorName(errno)));
  }
  return fd;
}

// Goes on writing up to byte `until` and brings that to stable storage, or stops where time is up.
void TestFile::Fill(std::int64_t until) {
  const std::int64_t begin_ns = options_.now_ns();
  const auto spent = [&] {
    return filling_ + Seconds(std::chrono::nanoseconds(options_.now_ns() - begin_ns));
  };
  const Descriptor fd = Open(true);
  const Slab slab(static_cast<std::size_t>(kFillDepth * kFillBytes));
  FillFeed feed(slab.Bytes(), filled_, until, salt_, [&](std::int64_t written) {
    return written >= options_.least_bytes && spent() >= options_.most_fill;
  });
  const auto engine = std::get<std::unique_ptr<FileEngine>>(
      MakePsync({.fd = fd.Number(), .depth = kFillDepth, .buffers = slab.Bytes()}));
  engine->Run(feed);
  if (!feed.Failure().empty()) {
    throw Error(
        fmt::format("The test file in \"{}\" can't be filled ({}); look at the free space, "
                    "the quota, the limit on the size of files (ulimit -f) and the kernel's log "
                    "(dmesg).",
                    Clean(folder_), feed.Failure()));
  }
  if (fdatasync(file_.Number()) != 0) {
    throw Error(fmt::format("The test file in \"{}\" can't be brought to stable storage: {}.",
                            Clean(folder_), ErrorName(errno)));
  }
  filled_ = feed.End();
  filling_ = spent();
}

void TestFile::RequireWritten() {
  const ExtentMap map = MapExtents(file_.Number(), bytes_);
  if (map.first_unwritten) {
    throw Error(fmt::format(
        "The test file in \"{}\" has an extent at byte {} that holds no data although it was "
        "written, so that reads of it would not reach the disk; try another --storage-path.",
        Clean(folder_), *map.first_unwritten));
  }
  if (map.known) extents_ = "written";
}

double TestFile::DropCache() const {
  fdatasync(file_.Number());
  posix_fadvise(file_.Number(), 0, 0, POSIX_FADV_DONTNEED);
  return CachedFraction(0, bytes_);
}

double TestFile::FillCache() const {
  const Descriptor fd = Open(false);
  const Slab slab(static_cast<std::size_t>(kFillBytes));
  for (std::int64_t at = 0; at < bytes_; at += kFillBytes) {
    if (pread(fd.Number(), slab.Bytes().data(), slab.Bytes().size(), at) < 0) {
      throw Error(fmt::format("The test file can't be read: {}; look at the kernel's log (dmesg).",
                              ErrorName(errno)));
    }
  }
  return CachedFraction(0, bytes_);
}

double TestFile::CachedFraction(std::int64_t begin, std::int64_t bytes) const {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto before = static_cast<std::size_t>(begin) % page;
  const std::size_t length = static_cast<std::size_t>(bytes) + before;
  void* memory = mmap(nullptr, length, PROT_READ, MAP_SHARED, file_.Number(),
                      begin - static_cast<std::int64_t>(before));
  if (memory == MAP_FAILED) return 1;
  std::vector<unsigned char> resident((length + page - 1) / page);
  const bool known = mincore(memory, length, resident.data()) == 0;
  munmap(memory, length);
  if (!known) return 1;
  const auto cached = std::count_if(resident.begin(), resident.end(),
                                    [](unsigned char flags) { return (flags & 1) != 0; });
  return static_cast<double>(cached) / static_cast<double>(resident.size());
}

// Finds out whether direct transfers are direct. An open with O_DIRECT that succeeds proves
// nothing, since tmpfs accepts it too. The proof is that the kernel states how direct transfers
// must be aligned (STATX_DIOALIGN), that a direct read leaves nothing in the page cache, and that
// everything below hands direct transfers on to a disk.
void TestFile::ProveDirect() {
  const auto verdict = [this](const char* word, std::string how) {
    direct_ = {.verdict = word, .how = std::move(how)};
  };
  const Descriptor fd = Open(true);
  struct statx status = {};
  const bool stated = statx(fd.Number(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
                      (status.stx_mask & STATX_DIOALIGN) != 0;
  if (stated && status.stx_dio_offset_align > 0) alignment_ = status.stx_dio_offset_align;
  if (below_.ends == Below::Ends::kMemory || below_.ends == Below::Ends::kCache) {
    return verdict("refuted", below_.why);
  }
  if ((fcntl(fd.Number(), F_GETFL) & O_DIRECT) == 0) {
    return verdict("refuted", "this file system refuses O_DIRECT");
  }
  if (stated && status.stx_dio_offset_align == 0) {
    return verdict("refuted", "statx says that this file can't do direct I/O");
  }
  if (DropCache() > 0) return verdict("unproven", "its pages can't be dropped from the page cache");
  const Slab slab(static_cast<std::size_t>(kFillBytes));
  if (pread(fd.Number(), slab.Bytes().data(), slab.Bytes().size(), 0) != kFillBytes) {
    return verdict("refuted", "a direct read fails");
  }
  if (CachedFraction(0, kFillBytes) > 0) {
    return verdict("refuted", "the page cache holds what was read directly");
  }
  if (below_.ends == Below::Ends::kUnknown) return verdict("unproven", below_.why);
  if (!stated) return verdict("unproven", "the kernel doesn't state STATX_DIOALIGN for this file");
  verdict("proved", fmt::format("STATX_DIOALIGN {}/{}, nothing cached by a direct read, and below "
                                "are disks alone",
                                status.stx_dio_mem_align, status.stx_dio_offset_align));
}

}  // namespace assay::io
