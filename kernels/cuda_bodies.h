// What one index of each CUDA kernel does. constexpr, so that nvcc makes device code of it
// (--expt-relaxed-constexpr), while tests and the stand-in for a GPU call the very same functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runner/random.h"

namespace assay::cuda {

// What a thread moves at a time: 16 bytes, the widest access that there is on every device.
struct alignas(16) Words {
  std::uint64_t a = 0, b = 0;
};
struct alignas(16) Numbers {
  double a = 0, b = 0;
};

// Four elements of an input, from one draw: elements 4 * draw … of the stream `seed`, through the
// table of 65536 values of kernels/inputs.h. T is as wide as an element; only its bits matter.
template <class T>
constexpr void FillAt(T* out, std::size_t count, const T* table, std::uint64_t seed,
                      std::size_t draw) {
  const std::uint64_t bits = RandomAt(seed, draw);
  for (unsigned i = 0; i < 4 && 4 * draw + i < count; ++i) {
    out[4 * draw + i] = table[(bits >> (16U * i)) & 0xffffU];
  }
}

constexpr std::uint64_t WordAt(std::uint64_t seed, std::size_t i) { return RandomAt(seed, i); }
// A small integer, so that a triad of two is exact with one rounding or two.
constexpr double NumberAt(std::uint64_t seed, std::size_t i) {
  return static_cast<double>(RandomAt(seed, i) >> 32U);
}

constexpr void FillWordsAt(Words* out, std::uint64_t seed, std::size_t i) {
  out[i] = {WordAt(seed, 2 * i), WordAt(seed, 2 * i + 1)};
}
constexpr void FillNumbersAt(Numbers* out, std::uint64_t seed, std::size_t i) {
  out[i] = {NumberAt(seed, 2 * i), NumberAt(seed, 2 * i + 1)};
}

// The streams, which go over their arrays several times; how a source is loaded is the kernel's to
// choose. A later pass writes something else, so that the output tells whether the last was made.
constexpr std::uint64_t SumOf(const Words& words) { return words.a + words.b; }
constexpr std::uint64_t ValueIn(std::uint64_t value, unsigned pass) { return value + pass; }
constexpr double ScaleIn(double scale, unsigned pass) { return scale + pass; }
constexpr void WriteAt(Words* to, std::uint64_t value, std::size_t i) { to[i] = {value, value}; }
constexpr void CopyAt(Words* to, const Words& from, std::size_t i) { to[i] = from; }
constexpr void TriadAt(Numbers* to, const Numbers& b, const Numbers& c, double scale,
                       std::size_t i) {
  to[i] = {b.a + scale * c.a, b.b + scale * c.b};
}

// What a launch leaves behind, for one thread.
constexpr void CountAt(std::uint64_t* count) { *count += 1; }

}  // namespace assay::cuda
