// Host memory as workloads want it, and how much of the caches before it there is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace assay {

// Zeroed memory in huge pages where the system grants them. Nobody has touched it yet: the threads
// that first write it decide on which memory node it lies.
class Pages {
 public:
  Pages() = default;
  // Throws Error where it can't be had.
  explicit Pages(std::size_t bytes);
  ~Pages();
  Pages(Pages&& other) noexcept { *this = std::move(other); }
  Pages& operator=(Pages&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    std::swap(begin_, other.begin_);
    return *this;
  }

  // At the beginning of a huge page.
  std::byte* Begin() const { return begin_; }

  // How much of what was touched lies in huge pages; nothing where the system doesn't say.
  std::optional<std::int64_t> HugePagePercent() const;

 private:
  std::size_t bytes_ = 0;
  void* mapped_ = nullptr;
  std::byte* begin_ = nullptr;
};

// The last-level caches of all sockets together, by /sys under `root`; 0 where it doesn't say.
std::int64_t LastLevelCacheBytes(const std::string& root = "/");

}  // namespace assay
