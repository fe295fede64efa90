// The inputs of one iteration of a collective, and what must come out of them. Element i of rank r
// is an integer that depends on seed, iteration, rank and i, so that a contribution that is lost,
// doubled, misplaced or left over shows; and so small that every partial reduction, in whatever
// order, is exact in the dtype. So what is right is right to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "collectives/collective.h"

namespace assay {

class Pattern {
 public:
  Pattern(const Collective& collective, int ranks, std::uint64_t seed, std::uint64_t iteration);

  // Elements begin, begin + 1, … of that rank's input, as many as `to` has room for.
  void Fill(int rank, std::int64_t begin, std::span<std::byte> to) const;
  // The same of the reduction over all ranks' inputs.
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
  int bits_ = 0;    // values have so many
  int stride_ = 1;  // of the ranks, one in so many adds something to an element
};

// The value of one element, for messages and errors.
double ElementValue(std::string_view dtype, const std::byte* element);

struct Mismatch {
  std::int64_t wrong = 0;
  double max_error = 0;  // a NaN or an infinity is told by `wrong` alone
  std::int64_t first = 0;
  std::string what = {};  // "3 instead of 7"
};

// How `got` differs from `expected`, which are elements of that dtype. Equal to the bit is right;
// within `tolerance` x |expected| too.
Mismatch Compare(std::string_view dtype, std::span<const std::byte> got,
                 std::span<const std::byte> expected, double tolerance);

// What Compare may allow: 0, but for an average over ranks that aren't a power of two, which is
// rounded: two units in the last place.
double ToleranceOf(const Collective& collective, int ranks);

}  // namespace assay
