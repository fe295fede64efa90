#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "io/file_engine.h"
#include "io/system.h"
#include "results/base/error.h"

namespace assay::io {
namespace {

// An engine that calls pread and pwrite, for one transfer at a time in each slot. Every slot has a
// thread that waits for the next run; a single slot is served by the calling thread.
class Psync : public FileEngine {
 public:
  explicit Psync(const EngineSetup& setup) : fd_(setup.fd) {
    if (setup.depth == 1) return;
    for (int slot = 0; slot < setup.depth; ++slot) {
      threads_.emplace_back([this, slot] { Loop(slot); });
    }
  }

  ~Psync() override {
    {
      std::lock_guard lock(control_);
      ending_ = true;
    }
    begin_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  std::string Flags() const override {
    return threads_.empty() ? "calling_thread" : std::to_string(threads_.size()) + "_threads";
  }
  bool ExactLatency() const override { return true; }

  std::int64_t Flush() override { return FlushFile(fd_); }

  void Run(Feed& feed) override {
    if (threads_.empty()) return Drain(feed, 0);
    std::unique_lock lock(control_);
    feed_of_run_ = &feed;
    running_ = threads_.size();
    ++run_;
    begin_.notify_all();
    end_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  // The life of a slot's thread: it waits until a run begins, drains its slot, and waits for the
  // next run.
  void Loop(int slot) {
    std::uint64_t seen = 0;
    std::unique_lock lock(control_);
    for (;;) {
      begin_.wait(lock, [&] { return ending_ || run_ != seen; });
      if (ending_) return;
      seen = run_;
      Feed& feed = *feed_of_run_;
      lock.unlock();
      Drain(feed, slot);
      lock.lock();
      if (--running_ == 0) end_.notify_one();
    }
  }

  // Does a slot's transfers until the feed has no more for it. The lock keeps calls into the feed
  // from overlapping; it isn't held during a transfer.
  void Drain(Feed& feed, int slot) {
    std::unique_lock lock(feed_);
    while (const std::optional<Transfer> transfer = feed.Next(slot)) {
      lock.unlock();
      const std::int64_t begin = NowNs();
      const std::int64_t result = Move(*transfer);
      const std::int64_t end = NowNs();
      lock.lock();
      feed.Done(slot, result, begin, end);
    }
  }

  // Moves one block by one system call, again where a signal interrupted it. Returns the bytes
  // moved or -errno.
  std::int64_t Move(const Transfer& transfer) const {
    for (;;) {
      const ssize_t moved =
          transfer.write ? pwrite(fd_, transfer.data.data(), transfer.data.size(), transfer.offset)
                         : pread(fd_, transfer.data.data(), transfer.data.size(), transfer.offset);
      if (moved >= 0) return moved;
      if (errno != EINTR) return -errno;
    }
  }

  const int fd_;
  std::mutex feed_;     // serialises calls into the feed
  std::mutex control_;  // guards the members below
  std::condition_variable begin_;
  std::condition_variable end_;
  Feed* feed_of_run_ = nullptr;
  std::uint64_t run_ = 0;
  std::size_t running_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::int64_t FlushFile(int fd) {
  const std::int64_t begin_ns = NowNs();
  if (fdatasync(fd) != 0) {
    throw Error(
        fmt::format("fdatasync of the test file failed: {}; look at the kernel's log (dmesg) and "
                    "the volume's health.",
                    ErrorName(errno)));
  }
  return NowNs() - begin_ns;
}

MadeEngine MakePsync(const EngineSetup& setup) { return std::make_unique<Psync>(setup); }

}  // namespace assay::io
