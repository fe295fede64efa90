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
#include <sstream>
#include <string>

#include "collectives/group.h"
#include "results/error.h"

namespace assay {
namespace {

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int Get() const { return fd_; }

 private:
  int fd_;
};

// Where the others find it, and what tells it from any other file that may be there for them.
std::string AddressOf(int fd) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) return "";
  return fmt::format("/proc/{}/fd/{} {} {}", getpid(), fd, status.st_dev, status.st_ino);
}

int OpenAt(const std::string& address) {
  std::istringstream words(address);
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
  if (!(words >> path >> device >> inode)) return -1;
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat status = {};
  if (fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == device && status.st_ino == inode) {
    return fd;
  }
  if (fd >= 0) close(fd);
  return -1;
}

}  // namespace

SharedMemory::SharedMemory(Ranks& ranks, std::size_t bytes) : bytes_(bytes) {
  const bool creates = ranks.Rank() == 0;
  const File created(creates ? memfd_create("assay", MFD_CLOEXEC) : -1);
  if (creates && created.Get() >= 0 && ftruncate(created.Get(), static_cast<off_t>(bytes)) == 0) {
    ranks.Broadcast(AddressOf(created.Get()));
  } else if (creates) {
    ranks.Broadcast("");
  }
  const std::string address = creates ? "" : ranks.Broadcast("");
  const File opened(creates ? -1 : OpenAt(address));
  const int fd = creates ? created.Get() : opened.Get();
  if (fd >= 0) memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
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
    const pid_t pid = std::stoi(text);
    const bool is_other = pid != getpid();
    processes_.push_back(is_other ? static_cast<int>(syscall(SYS_pidfd_open, pid, 0)) : -1);
  }
}

SharedWait::~SharedWait() {
  for (const int fd : processes_) {
    if (fd >= 0) close(fd);
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
      // Readable once the process has ended, waited for or not; -1 is passed over.
      pollfd process = {.fd = processes_[rank], .events = POLLIN, .revents = 0};
      if (poll(&process, 1, 0) <= 0) continue;
      // Its last words may have been what this one waits for.
      if (counter.load(std::memory_order_acquire) >= value) return;
      throw Error(fmt::format("rank {} ended while rank {} waited for it", rank, rank_));
    }
  }
}

}  // namespace assay
