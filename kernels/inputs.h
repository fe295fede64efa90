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

// How one number is stored. Tf32 is an f32 of which the last 13 bits are 0. Of F4E2m1 two
// neighbours share a byte, the first one in its low half. Ue8m0 and Ue4m3 are the scales of blocks:
// an exponent alone, and an e4m3 without a sign ("OCP Microscaling Formats (MX)
// Specification", 1.0; NVIDIA's nvfp4).
enum class Format {
  kF64,
  kF32,
  kTf32,
  kBf16,
  kF16,
  kF8E4m3,
  kF8E5m2,
  kF4E2m1,
  kUe8m0,
  kUe4m3,
  kS32,
  kS8,
  kU8
};

std::string_view ToText(Format format);
// Of so many neighbours, the last byte counted whole.
std::int64_t BytesOf(Format format, std::int64_t count = 1);
// What is stored of a floating-point number is so many times what it stands for, as scaling to the
// format's range does: 64 in 8 bits; 3 in F4E2m1, where the largest of 16 normal numbers, 1.8 in
// the mean, is to lie at 6; else 1.
double ScaleOf(Format format);

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
// The same paper's: up to 57344, what is larger becomes that, as in converting for a product.
std::uint8_t F8E5m2FromF32(float value);
float F32FromF8E5m2(std::uint8_t bits);
// 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, in the low half of a byte; what is larger becomes
// 6. There is no NaN.
std::uint8_t F4E2m1FromF32(float value);
float F32FromF4E2m1(std::uint8_t bits);
// 2^(bits - 127), or NaN.
float F32FromUe8m0(std::uint8_t bits);

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
//   normal: standard normal times ScaleOf, rounded to the format's own grid. A scale is 2^z, so
//   that
//           neighbouring blocks differ. An integer grid holds four standard deviations:
//           u8 (activations) 128 + 32 z clamped to 0 … 255; s8 (weights) 16 z clamped
//           to -63 … 63, since instruction sets without a 32-bit dot product add pairs of u8 · s8
//           in 16 bits, where anything larger saturates and is wrong.
//   zeros:  all bits zero, for what switching costs.
// Of F4E2m1 the count is even. Throws Error for another word.
void Fill(Format format, const std::string& inputs, std::uint64_t seed, std::int64_t count,
          void* out, const ParallelFor& parallel);

// The 65536 values of `normal` as they are stored: element i of the stream `seed` is number
// (RandomAt(seed, i / 4) >> 16 (i % 4)) & 0xffff of them; of F4E2m1 an element here is a byte, that
// is two numbers. For devices that make their own inputs.
std::span<const std::byte> NormalValues(Format format);

// Where the scales of blocks lie, one for each of the `blocks` in which each of `rows` rows is cut:
// as cuBLASLt wants them, in tiles of 128 rows x 4 blocks, rounded up, those of the same rows one
// after the other; within a tile rows 0, 32, 64 and 96 together, then 1, 33, 65 and 97 …, each with
// its four blocks (docs.nvidia.com/cuda/cublas, "1D Block Scaling Factors Layout").
struct ScaleLayout {
  std::int64_t rows = 0;
  std::int64_t blocks = 0;

  std::int64_t Count() const;
  std::int64_t Place(std::int64_t row, std::int64_t block) const;
};

// What rows of codes stand for together with their scales, exactly: of all scales here the product
// with a code has no more bits than an f32. `scales` is a single f32 where `block` is 0, else one
// for each `block` neighbours of a row (ScaleLayout); `whole` is the scale of the whole tensor.
struct Quantised {
  Tensor codes = {};
  Tensor scales = {};
  std::int64_t block = 0;
  float whole = 1;
};
void Dequantise(const Quantised& matrix, std::int64_t rows, std::int64_t columns, float* out,
                const ParallelFor& parallel);

}  // namespace assay
