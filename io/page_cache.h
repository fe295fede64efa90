// The upkeep of cold reads through the page cache. A cold read finds no block in the cache that an
// earlier pass over the file brought there. A run reads its file many times over, so what was read
// is dropped again behind the reads. Warm reads need no upkeep.
#pragma once

#include <cstdint>
#include <optional>

#include "io/system.h"
#include "io/test_file.h"
#include "io/traffic.h"
#include "results/base/descriptor.h"

namespace assay::io {

// Follows the reads of one job. Where they should stay cold, it drops what was read from the page
// cache in small parts, a third of a pass behind the reads and again two thirds behind. Dropping
// twice is needed since the kernel keeps a block that is being read at that moment. It costs the
// job a few per cent of one processor at most, as reclaiming memory does when a file is larger than
// memory. The file must outlive this object.
class PageCachePass {
 public:
  PageCachePass(const TestFile& file, const TrafficOptions& traffic, bool stays_cold);

  // Must be called right before the k-th read since the traffic was made, by the job's thread.
  void Before(std::int64_t k);

  // The share of a sample of blocks that were in the page cache a quarter of a pass before they
  // were read: 0 for cold reads, 1 for warm ones. Nothing as long as no block was sampled.
  std::optional<double> CachedReads() const;

 private:
  void Drop(std::int64_t part) const;

  const TestFile& file_;
  const Descriptor fd_;
  const TrafficOptions traffic_;
  const AccessPattern pattern_;
  const bool stays_cold_;
  const std::int64_t parts_;
  std::int64_t part_ = -1;  // the part of the file that reads are in
  std::int64_t sampled_ = 0;
  std::int64_t cached_ = 0;
};

}  // namespace assay::io
