#include "collectives/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>

#include "results/base/error.h"
#include "runner/core/group.h"
#include "runner/core/memory.h"
#include "runner/core/told_number.h"

namespace assay {
namespace {

// The seals of the memory, which keep its size as it is. Without them a process could take away
// bytes that others have mapped, and so kill these with a SIGBUS.
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

// The name that /proc shows for the memory among what a process has open.
constexpr const char* kName = "assay-ranks";

// Makes zeroed memory of that size with these seals; an invalid descriptor where that can't be
// done.
Descriptor NewMemory(std::size_t bytes) {
  Descriptor made = MemoryFile(kName);
  if (!made.IsOpen()) return {};
  if (ftruncate(made.Number(), static_cast<off_t>(bytes)) != 0 ||
      fcntl(made.Number(), F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0) {
    return {};
  }
  return made;
}

// The address of the memory for other ranks: the process and the descriptor by which they find it,
// and the device and inode by which they know that it is no other file.
std::string AddressOf(int fd) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) return "";
  return fmt::format("{} {} {} {}", getpid(), fd, status.st_dev, status.st_ino);
}

// Opens the memory at an address that rank 0 told. Returns an invalid descriptor where there is
// nothing, or something else. Whatever is opened here is written to, so it must belong to this
// user, have no name in any file system and exactly the size that is asked for; it must have the
// seals, which only memfd_create allows, and NewMemory's name, which no other program's memory has.
Descriptor MemoryAt(const std::string& address, std::size_t bytes) {
  std::istringstream words(address);
  pid_t process = 0;
  int number = 0;
  dev_t device = 0;
  ino_t inode = 0;
  if (!(words >> process >> number >> device >> inode) || process <= 0 || number < 0) return {};
  // The file is looked at before it is opened, since opening a device or a pipe has side effects.
  const Descriptor place(
      open(fmt::format("/proc/{}/fd/{}", process, number).c_str(), O_PATH | O_CLOEXEC));
  struct stat status = {};
  if (place.Number() < 0 || fstat(place.Number(), &status) != 0) return {};
  if (status.st_dev != device || status.st_ino != inode || !S_ISREG(status.st_mode) ||
      status.st_uid != geteuid() || status.st_nlink != 0 ||
      status.st_size != static_cast<off_t>(bytes)) {
    return {};
  }
  const std::string itself = fmt::format("/proc/self/fd/{}", place.Number());
  std::error_code error;
  if (std::filesystem::read_symlink(itself, error) != fmt::format("/memfd:{} (deleted)", kName)) {
    return {};
  }
  Descriptor opened(open(itself.c_str(), O_RDWR | O_CLOEXEC));
  if (opened.Number() < 0) return {};
  const int seals = fcntl(opened.Number(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return {};
  return opened;
}

}  // namespace

SharedMemory::SharedMemory(Ranks& ranks, std::size_t bytes) : bytes_(bytes) {
  Descriptor memory;
  if (ranks.Rank() == 0) {
    memory = NewMemory(bytes);
    ranks.Broadcast(AddressOf(memory.Number()));
  } else {
    memory = MemoryAt(ranks.Broadcast(""), bytes);
  }
  if (memory.Number() >= 0) {
    memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.Number(), 0);
  }
  if (memory_ == MAP_FAILED) memory_ = nullptr;
  double failed[] = {memory_ == nullptr ? 1.0 : 0.0};
  ranks.Max(failed);  // nobody goes on before all have opened it
  if (failed[0] > 0) {
    if (memory_ != nullptr) munmap(memory_, bytes_);
    throw Error(
        fmt::format("the ranks can't share {} bytes of memory: they must run on one host, "
                    "as one user and in one process namespace, with that much to spare",
                    bytes));
  }
  madvise(memory_, bytes_, MADV_HUGEPAGE);
}

SharedMemory::~SharedMemory() { munmap(memory_, bytes_); }

SharedWait::SharedWait(Ranks& ranks) : rank_(ranks.Rank()) {
  for (const std::string& text : GatherToAll(ranks, std::to_string(getpid()))) {
    const auto pid = ToldNumber<pid_t>(text, fmt::format("rank {}", processes_.size()),
                                       "the number of its process");
    const bool is_other = pid != getpid();
    processes_.emplace_back(is_other ? static_cast<int>(syscall(SYS_pidfd_open, pid, 0)) : -1);
  }
}

void SharedWait::Patiently(const std::atomic<std::uint64_t>& counter, std::uint64_t value) const {
  using Clock = std::chrono::steady_clock;
  constexpr auto kLook = std::chrono::milliseconds(100);
  Clock::time_point look = Clock::now() + kLook;
  while (counter.load(std::memory_order_acquire) < value) {
    sched_yield();
    if (Clock::now() < look) continue;
    look = Clock::now() + kLook;
    for (std::size_t rank = 0; rank < processes_.size(); ++rank) {
      // A pidfd is readable once the process has ended, whether it was waited for or not; poll
      // ignores -1.
      pollfd process = {.fd = processes_[rank].Number(), .events = POLLIN, .revents = 0};
      if (poll(&process, 1, 0) <= 0) continue;
      // The process may have raised the counter right before it ended.
      if (counter.load(std::memory_order_acquire) >= value) return;
      throw Error(fmt::format("rank {} ended while rank {} waited for it", rank, rank_));
    }
  }
}

}  // namespace assay
