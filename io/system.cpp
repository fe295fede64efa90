#include "io/system.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "results/base/error.h"

namespace assay::io {

Slab::Slab(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) {
    throw Error(fmt::format(
        "There are no {} bytes of memory for I/O buffers; ask for a smaller depth or block_bytes.",
        bytes));
  }
  bytes_ = {static_cast<std::byte*>(memory), bytes};
}

Slab::~Slab() { munmap(bytes_.data(), bytes_.size()); }

std::string ErrorName(int error) {
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : fmt::format("errno {}", error);
}

std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace assay::io
