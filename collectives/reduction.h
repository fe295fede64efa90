// The arithmetic of collectives: arrays reduced element by element, and copied, with the widest
// vectors that this machine has.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "results/dtype.h"

namespace assay {

struct ReduceOptions {
  // The last reduction of a collective, after which its elements are those of all ranks: an average
  // is divided here.
  bool last = false;
  // Stores go past the caches, for outputs that are too large to stay there.
  bool stream = false;
};

class Reduction {
 public:
  // What has no reduction: 8-bit floats, and averages of 16-bit floats.
  static bool Knows(std::string_view dtype, std::string_view redop);
  // REQUIRES: Knows(dtype, redop). An average is over so many ranks.
  Reduction(std::string_view dtype, std::string_view redop, int ranks);

  // Each array of `to` becomes the reduction of all arrays of `from`, of which there is at least
  // one; all have so many bytes. An array of `to` may be one of `from`, and else overlaps none.
  // 16-bit floats are reduced in f32 and rounded once, to nearest even; averages of integers are
  // cut towards zero.
  void operator()(std::span<const std::byte* const> from, std::span<std::byte* const> to,
                  std::size_t bytes, ReduceOptions options = {}) const;

 private:
  Dtype dtype_;
  int redop_;
  int ranks_;
};

// Each array of `to` becomes a copy of `from`, unless it is that already.
void CopyTo(const std::byte* from, std::span<std::byte* const> to, std::size_t bytes,
            bool stream = false);

}  // namespace assay
