// Numbers as they lie in memory, and the random inputs of a workload: the same for the same seed
// and index on every machine, in any order and by any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace assay {

// How one number is stored. Tf32 is an f32 of which the last 13 bits are 0.
enum class Format { kF64, kF32, kTf32, kBf16, kF16, kF8E4m3, kS32, kS8, kU8 };

std::string_view ToText(Format format);
std::int64_t BytesOf(Format format);

// Conversions round to nearest, ties to even; NaN stays NaN.
std::uint16_t Bf16FromF32(float value);
float F32FromBf16(std::uint16_t bits);
std::uint16_t F16FromF32(float value);
float F32FromF16(std::uint16_t bits);
float Tf32FromF32(float value);
// The "e4m3fn" of Micikevicius et al., "FP8 formats for deep learning", 2022: up to 448 and without
// infinities; what is larger becomes 448.
std::uint8_t F8E4m3FromF32(float value);
float F32FromF8E4m3(std::uint8_t bits);

// A plain row of numbers that somebody else owns.
struct Tensor {
  Format format = Format::kF32;
  const void* data = nullptr;

  double operator[](std::int64_t index) const;
  // Elements first … first + count - 1.
  void Read(std::int64_t first, std::int64_t count, double* out) const;
};

// Splits 0 … count - 1 into ranges, has body(begin, end) called once for each by the threads of
// whoever gave it, and returns when all are done.
using ParallelFor = std::function<void(
    std::int64_t count, const std::function<void(std::int64_t begin, std::int64_t end)>& body)>;

// One range, on the calling thread.
void Serially(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body);

// Writes elements 0 … count - 1 of the stream `seed` to `out`, each page first touched by the
// thread that fills it. `inputs` is
//   normal: standard normal, rounded to the format's own grid; times 64 in 8-bit floating point,
//           as scaling to the format's range does. An integer grid holds four standard deviations:
//           u8 (activations) 128 + 32 z clamped to 0 … 255; s8 (weights) 16 z clamped
//           to -63 … 63, since instruction sets without a 32-bit dot product add pairs of u8 · s8
//           in 16 bits, where anything larger saturates and is wrong.
//   zeros:  all bits zero, for what switching costs.
// Throws Error for another word.
void Fill(Format format, const std::string& inputs, std::uint64_t seed, std::int64_t count,
          void* out, const ParallelFor& parallel);

// The 65536 values of `normal` as they are stored: element i of the stream `seed` is number
// (RandomAt(seed, i / 4) >> 16 (i % 4)) & 0xffff of them. For devices that make their own inputs.
std::span<const std::byte> NormalValues(Format format);

}  // namespace assay
