// The inputs of one iteration of a collective, and the right outputs. Element i of rank r is an
// integer that depends on seed, iteration, rank and i, so that a contribution that is lost,
// doubled, misplaced or left over shows. It is so small that every partial reduction, in whatever
// order, is exact in the dtype, so that outputs can be compared bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "collectives/collective.h"

namespace assay {

// The pattern of one iteration. It holds no elements: they are computed where they are asked for,
// so that any part of any rank's array costs only its own size.
class Pattern {
 public:
  Pattern(const Collective& collective, int ranks, std::uint64_t seed, std::uint64_t iteration);

  // Writes elements begin, begin + 1, … of that rank's input, as many as `to` has room for.
  void Fill(int rank, std::int64_t begin, std::span<std::byte> to) const;
  // Writes elements begin, begin + 1, … of the reduction over all ranks' inputs. Throws Error for
  // an average of floats narrower than f32, which has no exact value.
  void FillReduced(std::int64_t begin, std::span<std::byte> to) const;

 private:
  template <class Body>
  void ForEach(int rank, std::int64_t begin, std::int64_t count, Body body) const;
  template <class T>
  void Reduce(std::int64_t begin, std::span<std::byte> to) const;

  Collective collective_;
  int ranks_;
  std::uint64_t seed_;
  bool is_signed_;
  bool reduces_;
  int bits_ = 0;    // the bits of a value
  int stride_ = 1;  // one rank in this many adds something to an element
};

// The value of one element, for messages and errors. `element` may be unaligned.
double ElementValue(std::string_view dtype, const std::byte* element);

// The outcome of a comparison.
struct Mismatch {
  std::int64_t wrong = 0;
  double max_error = 0;    // without NaN and infinities, which only `wrong` counts
  std::int64_t first = 0;  // the index of the first wrong element
  std::string what = {};   // what is wrong with it: "3 instead of 7"
};

// Compares elements of that dtype. An element is right if it equals the expected one bit for bit,
// or is within `tolerance` x |expected| of it. REQUIRES: both have the same size.
Mismatch Compare(std::string_view dtype, std::span<const std::byte> got,
                 std::span<const std::byte> expected, double tolerance);

// The tolerance for Compare: two units in the last place for an average in f32 or f64 over a number
// of ranks that isn't a power of two, which is rounded, and 0 for all others.
double ToleranceOf(const Collective& collective, int ranks);

}  // namespace assay
