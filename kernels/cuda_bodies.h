// The bodies of the CUDA kernels: what each does for one index. They are constexpr, so that nvcc
// compiles them for the device (--expt-relaxed-constexpr) while tests and the stand-in for a GPU
// call the very same functions on the host.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runner/core/random.h"

namespace assay::cuda {

// The elements that memory streams move: two integers, or for triad two f64 numbers. Each is 16
// bytes, the widest access that every device has.
struct alignas(16) Words {
  std::uint64_t a = 0, b = 0;
};
struct alignas(16) Numbers {
  double a = 0, b = 0;
};

// Writes elements 4 * draw … 4 * draw + 3 of the stream `seed` to the same places of `out`, which
// has `count` elements; those from `count` on are left out. `table` holds the 65536 values of
// NormalValues (kernels/inputs.h). T is an unsigned type as wide as an element.
template <class T>
constexpr void FillAt(T* out, std::size_t count, const T* table, std::uint64_t seed,
                      std::size_t draw) {
  const std::uint64_t bits = RandomAt(seed, draw);
  for (unsigned i = 0; i < 4 && 4 * draw + i < count; ++i) {
    out[4 * draw + i] = table[(bits >> (16U * i)) & 0xffffU];
  }
}

// Word i of the stream `seed`, by which the sources of memory streams and copies are filled.
constexpr std::uint64_t WordAt(std::uint64_t seed, std::size_t i) { return RandomAt(seed, i); }
// Number i of the stream `seed`, an integer of 32 bits, so that a triad with a small integer scale
// is exact whether the device fuses its multiply-add (one rounding) or not (two).
constexpr double NumberAt(std::uint64_t seed, std::size_t i) {
  return static_cast<double>(RandomAt(seed, i) >> 32U);
}

// FillWordsAt and FillNumbersAt write element i of an array, which is two words or two numbers.
constexpr void FillWordsAt(Words* out, std::uint64_t seed, std::size_t i) {
  out[i] = {WordAt(seed, 2 * i), WordAt(seed, 2 * i + 1)};
}
constexpr void FillNumbersAt(Numbers* out, std::uint64_t seed, std::size_t i) {
  out[i] = {NumberAt(seed, 2 * i), NumberAt(seed, 2 * i + 1)};
}

// The bodies of the memory streams. A kernel goes over its arrays several times in one launch, and
// each pass writes something else (ValueIn, ScaleIn), so that the output shows whether the last
// pass was made. The kernel loads the sources itself, because how it loads decides which cache they
// come from.
constexpr std::uint64_t SumOf(const Words& words) { return words.a + words.b; }
constexpr std::uint64_t ValueIn(std::uint64_t value, unsigned pass) { return value + pass; }
constexpr double ScaleIn(double scale, unsigned pass) { return scale + pass; }
constexpr void WriteAt(Words* to, std::uint64_t value, std::size_t i) { to[i] = {value, value}; }
constexpr void CopyAt(Words* to, const Words& from, std::size_t i) { to[i] = from; }
constexpr void TriadAt(Numbers* to, const Numbers& b, const Numbers& c, double scale,
                       std::size_t i) {
  to[i] = {b.a + scale * c.a, b.b + scale * c.b};
}

// The body of the launch probe's kernel: one thread counts the launch.
constexpr void CountAt(std::uint64_t* count) { *count += 1; }

}  // namespace assay::cuda
