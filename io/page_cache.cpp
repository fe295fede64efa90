#include "io/page_cache.h"

#include <fcntl.h>

#include <algorithm>

namespace assay::io {
namespace {

constexpr std::int64_t kParts = 12;    // the parts in which a pass is dropped
constexpr std::int64_t kSamples = 64;  // the blocks that are sampled in a pass

}  // namespace

PageCachePass::PageCachePass(const TestFile& file, const TrafficOptions& traffic, bool stays_cold)
    : file_(file),
      fd_(file.Open(false)),
      traffic_(traffic),
      pattern_(traffic.random, traffic.blocks, traffic.seed),
      stays_cold_(stays_cold),
      parts_(std::min(kParts, traffic.blocks)) {}

void PageCachePass::Before(std::int64_t k) {
  const std::int64_t blocks = traffic_.blocks;
  if (stays_cold_) {
    // Sequential reads are followed by their place in the file, random ones by their number alone.
    const std::int64_t part =
        (traffic_.random ? k % blocks : pattern_.BlockAt(k)) * parts_ / blocks;
    if (part != part_) {
      part_ = part;
      Drop((part + std::max<std::int64_t>(1, parts_ / 3)) % parts_);
      Drop((part + std::max<std::int64_t>(1, 2 * parts_ / 3)) % parts_);
    }
  }
  // In the first pass no block has been read before.
  if (k < blocks || k % std::max<std::int64_t>(1, blocks / kSamples) != 0) return;
  const std::int64_t block = pattern_.BlockAt(k + blocks / 4);
  const double cached = file_.CachedFraction(traffic_.first_byte + block * traffic_.block_bytes,
                                             traffic_.block_bytes);
  ++sampled_;
  cached_ += cached > 0.5 ? 1 : 0;
}

std::optional<double> PageCachePass::CachedReads() const {
  if (sampled_ == 0) return std::nullopt;
  return static_cast<double>(cached_) / static_cast<double>(sampled_);
}

void PageCachePass::Drop(std::int64_t part) const {
  // The range goes on into the parts beside it, which are as far from the reads, because the kernel
  // reads ahead in pieces of several MiB and keeps a piece that lies across an end of the range.
  const std::int64_t beside = parts_ == kParts ? 1 : 0;
  const std::int64_t first = std::max<std::int64_t>(0, part - beside);
  const std::int64_t last = std::min(parts_, part + 1 + beside);
  const std::int64_t begin = traffic_.blocks * first / parts_ * traffic_.block_bytes;
  const std::int64_t end = traffic_.blocks * last / parts_ * traffic_.block_bytes;
  posix_fadvise(fd_.Number(), traffic_.first_byte + begin, end - begin, POSIX_FADV_DONTNEED);
}

}  // namespace assay::io
