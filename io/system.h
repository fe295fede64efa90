// Resources of the operating system as objects that release them, the clock, and names of errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace assay::io {

// A file descriptor that this object owns and closes.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  bool Valid() const { return fd_ >= 0; }
  int Get() const { return fd_; }

 private:
  int fd_ = -1;
};

// Page-aligned memory whose pages have all been touched. Throws Error when there is not that much.
class Slab {
 public:
  explicit Slab(std::size_t bytes);
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab();
  std::span<std::byte> Bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_ = {};
};

// The time of the steady clock in nanoseconds.
std::int64_t NowNs();

// The symbolic name of an errno: "ENOSPC", or "errno 4711" for one without a name.
std::string ErrorName(int error);

}  // namespace assay::io
