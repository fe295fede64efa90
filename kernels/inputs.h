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

// The format in which one number is stored. A Tf32 is an f32 whose last 13 bits are 0. Two
// neighbouring F4E2m1 numbers share a byte, the first in its low half. Ue8m0 and Ue4m3 are the
// scales of blocks: an exponent alone, and an e4m3 without a sign ("OCP Microscaling Formats (MX)
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

// The name of a format: "bf16", "fp8_e4m3".
std::string_view ToText(Format format);
// The bytes that `count` neighbouring numbers take, rounded up to whole bytes.
std::int64_t BytesOf(Format format, std::int64_t count = 1);
// The factor by which a stored floating-point number exceeds the number that it stands for, which
// scales inputs to the format's range. It is 64 in the 8-bit formats; 3 in F4E2m1, where the
// largest of 16 normal numbers (1.8 in the mean) should come to lie at 6; and 1 in all others.
double ScaleOf(Format format);

// Conversions between f32 and the narrower formats. They round to nearest, ties to even, and NaN
// stays NaN where the format has one. In bf16, f16 and tf32 larger numbers become infinite.
std::uint16_t Bf16FromF32(float value);
float F32FromBf16(std::uint16_t bits);
std::uint16_t F16FromF32(float value);
float F32FromF16(std::uint16_t bits);
float Tf32FromF32(float value);
// The "e4m3fn" of Micikevicius et al., "FP8 formats for deep learning", 2022. Its largest number is
// 448, to which larger ones saturate, and it has no infinities.
std::uint8_t F8E4m3FromF32(float value);
float F32FromF8E4m3(std::uint8_t bits);
// The e5m2 of the same paper. Its largest number is 57344, to which larger ones saturate, as they
// do in conversions for a product.
std::uint8_t F8E5m2FromF32(float value);
float F32FromF8E5m2(std::uint8_t bits);
// The e2m1 format, in the low half of a byte: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
// Larger numbers saturate to 6, and so does NaN, which the format lacks.
std::uint8_t F4E2m1FromF32(float value);
float F32FromF4E2m1(std::uint8_t bits);
// The power of two that a Ue8m0 stands for, 2^(bits - 127); NaN for 255.
float F32FromUe8m0(std::uint8_t bits);

// A view of contiguous numbers in host memory that somebody else owns.
struct Tensor {
  Format format = Format::kF32;
  const void* data = nullptr;

  // The element as it is stored, without any scale.
  double operator[](std::int64_t index) const;
  // Converts elements first … first + count - 1 to `out`.
  void Read(std::int64_t first, std::int64_t count, double* out) const;
};

// A parallel loop that a caller lends, with its own thread pool behind it. It splits 0 … count - 1
// into ranges, calls body(begin, end) once for each, on several threads at once, and returns when
// all are done.
using ParallelFor = std::function<void(
    std::int64_t count, const std::function<void(std::int64_t begin, std::int64_t end)>& body)>;

// A ParallelFor with a single range, on the calling thread.
void Serially(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body);

// Writes elements 0 … count - 1 of the stream `seed` to `out`. Each page is first touched by the
// thread that fills it. `inputs` is one of two words; any other throws Error:
//
// - normal: standard normal numbers times ScaleOf, rounded to the format's own grid. The scale of
//   a block is 2^z with z standard normal, so that neighbouring blocks differ. Integers hold four
//   standard deviations: u8 (activations) is 128 + 32 z, clamped to 0 … 255; s8 (weights) is 16 z,
//   clamped to -63 … 63, since instruction sets without a 32-bit dot product add pairs of u8 · s8
//   in 16 bits, which larger numbers would saturate; s32 is 16 z.
// - zeros: all bits are zero, which shows what the power of switching bits costs.
//
// REQUIRES: `count` is even for F4E2m1.
void Fill(Format format, const std::string& inputs, std::uint64_t seed, std::int64_t count,
          void* out, const ParallelFor& parallel);

// The table of the 65536 values of `normal` as they are stored, for devices that make their own
// inputs. Element i of the stream `seed` is entry (RandomAt(seed, i / 4) >> 16 (i % 4)) & 0xffff.
// An entry of F4E2m1 is a byte, which is two numbers. The table lives as long as the process.
std::span<const std::byte> NormalValues(Format format);

// The layout of a matrix's scales, where each of `rows` rows is cut into `blocks` blocks with one
// scale each. It is cuBLASLt's: tiles of 128 rows x 4 blocks, rounded up, with the tiles of
// the same rows one after the other. Within a tile, rows 0, 32, 64 and 96 come together, then 1,
// 33, 65 and 97, and so on, each row with its four scales (docs.nvidia.com/cuda/cublas, "1D Block
// Scaling Factors Layout").
struct ScaleLayout {
  std::int64_t rows = 0;
  std::int64_t blocks = 0;

  // The number of places, those that rounding up leaves unused included.
  std::int64_t Count() const;
  // The place of one scale. REQUIRES: row < rows, block < blocks.
  std::int64_t Place(std::int64_t row, std::int64_t block) const;
};

// A matrix of narrow codes with the scales that turn them into numbers. `scales` is a single f32
// where `block` is 0, else one scale for each `block` neighbours of a row (ScaleLayout); `whole` is
// the scale of the whole tensor, a power of two.
struct Quantised {
  Tensor codes = {};
  Tensor scales = {};
  std::int64_t block = 0;
  float whole = 1;
};
// Writes the numbers that the rows stand for to `out`, row major. The result is exact, since the
// product of any code with any of these scales fits an f32.
void Dequantise(const Quantised& matrix, std::int64_t rows, std::int64_t columns, float* out,
                const ParallelFor& parallel);

}  // namespace assay
