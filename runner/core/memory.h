// Host memory as workloads want it, and the size of the caches before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "results/base/descriptor.h"

namespace assay {

// Zeroed memory that this object owns, in huge pages where the system grants them. It has not been
// touched: the threads that first write to it decide on which NUMA node its pages lie.
class Pages {
 public:
  Pages() = default;
  // Throws Error where the memory can't be had.
  explicit Pages(std::size_t bytes);
  ~Pages();
  Pages(Pages&& other) noexcept { *this = std::move(other); }
  Pages& operator=(Pages&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    std::swap(begin_, other.begin_);
    return *this;
  }

  // The begin of the memory, aligned to 2 MiB, a huge page; null for an empty object.
  std::byte* Begin() const { return begin_; }

  // The share, in per cent, of the touched memory that lies in huge pages; nothing where none is
  // touched or the system doesn't say.
  std::optional<std::int64_t> HugePagePercent() const;

 private:
  std::size_t bytes_ = 0;
  void* mapped_ = nullptr;
  std::byte* begin_ = nullptr;
};

// Makes an empty file in memory that can be sealed and is never run as a program; nothing is open
// where that fails. /proc shows `name` to whoever looks at this process.
Descriptor MemoryFile(const char* name);

// The size of the last-level caches of all sockets together, read from /sys under `root`; 0 where
// the system doesn't say.
std::int64_t LastLevelCacheBytes(const std::string& root = "/");

}  // namespace assay
