// The arithmetic of collectives: reducing arrays element by element, and copying them, with the
// widest vectors that this machine has.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "results/base/dtype.h"

namespace assay {

// The options of one reduction.
struct ReduceOptions {
  // Whether this is the last reduction of a collective, after which all ranks have contributed; an
  // average is divided here.
  bool last = false;
  // Whether stores bypass the caches, for outputs that are too large to stay there.
  bool stream = false;
};

// A reduction of one dtype by one operation. It has no state, so that threads may share it.
class Reduction {
 public:
  // Whether there is such a reduction; there is none of unknown names, of 8-bit floats, nor for
  // averages of 16-bit floats.
  static bool Knows(std::string_view dtype, std::string_view redop);
  // `ranks` is the divisor of an average. REQUIRES: Knows(dtype, redop).
  Reduction(std::string_view dtype, std::string_view redop, int ranks);

  // Writes the reduction of all arrays of `from`, of which there is at least one, to each array of
  // `to`. All arrays have `bytes` bytes. An array of `to` may be one of `from`, but overlaps none
  // otherwise. 16-bit floats are reduced in f32 and rounded once, to nearest even; averages of
  // integers are truncated towards zero.
  void operator()(std::span<const std::byte* const> from, std::span<std::byte* const> to,
                  std::size_t bytes, ReduceOptions options = {}) const;

 private:
  Dtype dtype_;
  int redop_;
  int ranks_;
};

// Copies `bytes` bytes at `from` to each array of `to` that isn't `from` itself and doesn't overlap
// it. `stream`: stores bypass the caches.
void CopyTo(const std::byte* from, std::span<std::byte* const> to, std::size_t bytes,
            bool stream = false);

}  // namespace assay
