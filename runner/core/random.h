// Random numbers that are the same for the same seed and index on every machine and in any order:
// a counter-based generator (SplitMix64's finaliser over seed and counter; Steele, Lea and Flood,
// "Fast splittable pseudorandom number generators", 2014).
#pragma once

#include <cstdint>

namespace assay {

// SplitMix64's finaliser, a bijection of 64-bit numbers.
constexpr std::uint64_t Mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

// Number `index` of the stream `seed`.
constexpr std::uint64_t RandomAt(std::uint64_t seed, std::uint64_t index) {
  return Mix(seed ^ Mix(index));
}

// A generator in the sense of <random> that gives the numbers of one stream in order.
class Random {
 public:
  using result_type = std::uint64_t;
  explicit Random(std::uint64_t seed) : seed_(seed) {}
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }
  result_type operator()() { return RandomAt(seed_, index_++); }
  // A uniform number in [0, bound) by multiply-high. REQUIRES: bound >= 1.
  std::uint64_t Below(std::uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>((*this)()) * bound) >> 64U);
  }

 private:
  std::uint64_t seed_;
  std::uint64_t index_ = 0;
};

}  // namespace assay
