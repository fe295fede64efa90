#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "io/file_engine.h"
#include "io/system.h"
#include "results/base/error.h"

namespace assay::io {
namespace {

struct Mode {
  unsigned flags;
  const char* name;
};

// The set-up modes, the best first. DEFER_TASKRUN (Linux 6.1) runs completions only when we ask for
// them; COOP_TASKRUN (5.19) runs them at least without interrupting us.
constexpr std::array kModes = {
    Mode{IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, "single_issuer defer_taskrun"},
    Mode{IORING_SETUP_COOP_TASKRUN, "coop_taskrun"},
    Mode{0, "plain"},
};

// An engine on one io_uring, whose submission entries belong to the slots.
class Uring : public FileEngine {
 public:
  explicit Uring(const EngineSetup& setup)
      : fd_(setup.fd),
        depth_(setup.depth),
        exact_(setup.depth < 8),
        submitted_ns_(static_cast<std::size_t>(setup.depth)),
        reaped_(static_cast<std::size_t>(setup.depth)),
        buffers_(setup.buffers) {}

  ~Uring() override {
    if (started_) io_uring_queue_exit(&ring_);
  }

  // Sets the ring up in this mode. Returns 0, or the errno with which the mode was refused. Called
  // once.
  int Start(const Mode& mode) {
    const int rc = io_uring_queue_init(static_cast<unsigned>(depth_), &ring_, mode.flags);
    if (rc < 0) return -rc;
    started_ = true;
    flags_ = mode.name;
    Register();
    return TryRead();
  }

  std::string Flags() const override { return flags_; }
  bool ExactLatency() const override { return exact_; }

  std::int64_t Flush() override { return FlushFile(fd_); }

  void Run(Feed& feed) override {
    unsigned in_flight = 0;
    std::int64_t now = NowNs();
    for (int slot = 0; slot < depth_; ++slot) in_flight += Refill(feed, slot, now);
    while (in_flight > 0) {
      if (feed.WantsTime()) {
        RequireTaken(io_uring_submit(&ring_));
        feed.PrepareAhead();
      }
      RequireTaken(io_uring_submit_and_wait(&ring_, 1));
      now = NowNs();
      const std::size_t count = Reap();
      in_flight -= static_cast<unsigned>(count);
      // Transfers are submitted at once, and not when the last one of the reap is ready, for which
      // a volume behind a hypervisor gives a tenth more (docs/peers.md). Where many are reaped
      // together this thread is what lags behind, so that one system call submits several.
      const std::size_t together = std::max<std::size_t>(1, count / 8);
      for (std::size_t i = 0; i < count; ++i) {
        const auto [slot, result] = reaped_[i];
        feed.Done(slot, result, submitted_ns_[static_cast<std::size_t>(slot)], now);
        in_flight += Refill(feed, slot, now);
        if ((i + 1) % together == 0 && i + 1 < count) RequireTaken(io_uring_submit(&ring_));
      }
    }
  }

 private:
  // Registers the file and the buffers. Both only save time, so a refusal (too little lockable
  // memory is usual) is no error; the flag's absence records it.
  void Register() {
    io_uring_register_ring_fd(&ring_);
    if (io_uring_register_files(&ring_, &fd_, 1) == 0) {
      fixed_file_ = true;
      flags_ += " registered_file";
    }
    const iovec all = {buffers_.data(), buffers_.size()};
    if (io_uring_register_buffers(&ring_, &all, 1) == 0) {
      fixed_buffers_ = true;
      flags_ += " fixed_buffers";
    }
  }

  // Throws Error where a submission failed for another reason than a signal.
  static void RequireTaken(int rc) {
    if (rc >= 0 || rc == -EINTR) return;
    throw Error(std::string("io_uring stopped taking work: ") + ErrorName(-rc) +
                "; try --backend psync.");
  }

  // Reads the first 4 KiB of the file through the ring. Returns 0, or the errno with which that
  // failed, since kernels accept set-up flags that then fail.
  int TryRead() {
    Queue(0, {.write = false, .offset = 0, .data = buffers_.first(4096)});
    int rc = 0;
    do {
      rc = io_uring_submit_and_wait(&ring_, 1);
    } while (rc == -EINTR);
    if (rc < 0) return -rc;
    if (Reap() != 1) return EIO;
    return reaped_[0].second < 0 ? static_cast<int>(-reaped_[0].second) : 0;
  }

  // Queues the slot's next transfer. Returns how many were queued, 0 or 1.
  unsigned Refill(Feed& feed, int slot, std::int64_t now) {
    const std::optional<Transfer> transfer = feed.Next(slot);
    if (!transfer) return 0;
    Queue(slot, *transfer);
    submitted_ns_[static_cast<std::size_t>(slot)] = exact_ ? NowNs() : now;
    return 1;
  }

  // Fills a submission entry for the slot's transfer; it is submitted later.
  void Queue(int slot, const Transfer& transfer) {
    // There are as many entries as slots, and a slot is queued only when its last is done.
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    const int file = fixed_file_ ? 0 : fd_;
    const auto bytes = static_cast<unsigned>(transfer.data.size());
    const auto offset = static_cast<std::uint64_t>(transfer.offset);
    void* data = transfer.data.data();
    if (transfer.write) {
      fixed_buffers_ ? io_uring_prep_write_fixed(sqe, file, data, bytes, offset, 0)
                     : io_uring_prep_write(sqe, file, data, bytes, offset);
    } else {
      fixed_buffers_ ? io_uring_prep_read_fixed(sqe, file, data, bytes, offset, 0)
                     : io_uring_prep_read(sqe, file, data, bytes, offset);
    }
    if (fixed_file_) sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, static_cast<std::uint64_t>(slot));
  }

  // Takes all completions that are there off the ring and returns how many there were.
  std::size_t Reap() {
    std::size_t count = 0;
    unsigned head = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      reaped_[count++] = {static_cast<int>(cqe->user_data), cqe->res};
    }
    io_uring_cq_advance(&ring_, static_cast<unsigned>(count));
    return count;
  }

  io_uring ring_ = {};
  bool started_ = false;
  const int fd_;
  const int depth_;
  const bool exact_;
  bool fixed_file_ = false;
  bool fixed_buffers_ = false;
  std::vector<std::int64_t> submitted_ns_;
  std::vector<std::pair<int, std::int64_t>> reaped_;
  std::span<std::byte> buffers_;
  std::string flags_ = {};
};

// The reason and the remedy for an io_uring that was refused with this errno, which is most often
// the work of a container's profile.
Skipped RefusedWith(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return {.reason = "io_uring is not permitted here (EPERM)",
              .remedy =
                  "allow it (kernel.io_uring_disabled=0, and a container seccomp profile with "
                  "io_uring_setup, io_uring_enter and io_uring_register), or --backend psync"};
    case ENOSYS:
      return {.reason = "this kernel or sandbox has no io_uring (ENOSYS)",
              .remedy = "run on Linux 5.6 or newer outside such a sandbox, or --backend psync"};
    case ENOMEM:
      return {.reason = "io_uring may lock too little memory here (ENOMEM)",
              .remedy = "raise the limit on locked memory (ulimit -l), or --backend psync"};
    default:
      return {.reason = std::string("io_uring does not work here: ") + ErrorName(error),
              .remedy = "--backend psync"};
  }
}

}  // namespace

MadeEngine MakeUring(const EngineSetup& setup) {
  int error = 0;
  for (const Mode& mode : kModes) {
    auto engine = std::make_unique<Uring>(setup);
    error = engine->Start(mode);
    if (error == 0) return engine;
  }
  return RefusedWith(error);
}

std::string LiburingVersion() { return ASSAY_LIBURING_VERSION; }

}  // namespace assay::io
