// Memory of the operating system as an object that releases it, the clock, and names of errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace assay::io {

// Page-aligned, zeroed memory whose pages the kernel has been asked to provide at once. A kernel
// that grants more than there is (overcommit) may still kill the process when pages are touched.
class Slab {
 public:
  // Throws Error when the kernel refuses. REQUIRES: bytes > 0.
  explicit Slab(std::size_t bytes);
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab();
  std::span<std::byte> Bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_ = {};
};

// The time of the steady clock in nanoseconds. Only differences have a meaning.
std::int64_t NowNs();

// The symbolic name of an errno: "ENOSPC", or "errno 4711" for one without a name.
std::string ErrorName(int error);

}  // namespace assay::io
