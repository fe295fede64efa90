// Reads of a test file through the page cache, kept what they are called: cold, so that none finds
// a block there that an earlier pass over the file brought, or warm.
#pragma once

#include <cstdint>
#include <optional>

#include "io/system.h"
#include "io/test_file.h"
#include "io/traffic.h"

namespace assay::io {

// Goes along with one job's traffic. Where it is to stay cold, what was read leaves the page cache
// twice in a pass, in small parts, a third of a pass behind the reads and two thirds: twice, since
// the kernel keeps a block that is being read at that moment. That costs the job a few per cent of
// one processor at most, as reclaiming memory does when a file is larger than memory.
class PageCachePass {
 public:
  PageCachePass(const TestFile& file, const TrafficOptions& traffic, bool stays_cold);

  // Right before the k-th read since the traffic was made.
  void Before(std::int64_t k);

  // The share of blocks, of a sample, that were in the page cache a quarter of a pass before they
  // were read: 0 of cold reads, 1 of warm ones. Nothing before there was one.
  std::optional<double> CachedReads() const;

 private:
  void Drop(std::int64_t part) const;

  const TestFile& file_;
  const Descriptor fd_;
  const TrafficOptions traffic_;
  const AccessPattern pattern_;
  const bool stays_cold_;
  const std::int64_t parts_;
  std::int64_t part_ = -1;  // that reads are in
  std::int64_t sampled_ = 0;
  std::int64_t cached_ = 0;
};

}  // namespace assay::io
