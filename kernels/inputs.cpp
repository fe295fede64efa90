#include "kernels/inputs.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "results/base/error.h"
#include "runner/core/random.h"

namespace assay {
namespace {

// One element takes 16 bits of a 64-bit draw, through a table of the normal distribution's
// quantiles at the midpoints (i + 1/2) / 65536: -4.3 … 4.3, mean 0 exactly. Every f32 mantissa bit
// is random; only 65536 different values occur, far more than any 16-bit format has.
constexpr std::int64_t kQuantiles = 65536;
constexpr std::int64_t kPerDraw = 4;

// Newton's method on the distribution function, walking outwards from the median so that each root
// starts next to the last one.
std::vector<double> NormalQuantiles() {
  std::vector<double> quantiles(kQuantiles);
  double z = 0;
  for (std::int64_t i = kQuantiles / 2; i < kQuantiles; ++i) {
    const double upper = 1 - (static_cast<double>(i) + 0.5) / static_cast<double>(kQuantiles);
    for (int step = 0; step < 8; ++step) {
      const double tail = std::erfc(z / std::numbers::sqrt2) / 2;
      const double density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
      z += (tail - upper) / density;
    }
    quantiles[static_cast<std::size_t>(i)] = z;
    quantiles[static_cast<std::size_t>(kQuantiles - 1 - i)] = -z;
  }
  return quantiles;
}

template <class T>
T Stored(Format format, double z) {
  switch (format) {
    case Format::kF64:
    case Format::kF32:
      return static_cast<T>(z);
    case Format::kTf32:
      return static_cast<T>(Tf32FromF32(static_cast<float>(z)));
    case Format::kBf16:
      return static_cast<T>(Bf16FromF32(static_cast<float>(z)));
    case Format::kF16:
      return static_cast<T>(F16FromF32(static_cast<float>(z)));
    case Format::kF8E4m3:
      return static_cast<T>(F8E4m3FromF32(static_cast<float>(ScaleOf(format) * z)));
    case Format::kF8E5m2:
      return static_cast<T>(F8E5m2FromF32(static_cast<float>(ScaleOf(format) * z)));
    case Format::kF4E2m1:
      return static_cast<T>(F4E2m1FromF32(static_cast<float>(ScaleOf(format) * z)));
    case Format::kUe8m0:
      return static_cast<T>(127 + std::nearbyint(z));
    case Format::kUe4m3:
      return static_cast<T>(F8E4m3FromF32(static_cast<float>(std::exp2(z))));
    case Format::kU8:
      return static_cast<T>(std::clamp(std::nearbyint(128 + 32 * z), 0.0, 255.0));
    case Format::kS8:
      return static_cast<T>(std::clamp(std::nearbyint(16 * z), -63.0, 63.0));
    case Format::kS32:
      return static_cast<T>(std::nearbyint(16 * z));
  }
  return {};
}

// The table of a format, which is made at the first use.
template <Format kFormat, class T>
const std::vector<T>& Table() {
  static const std::vector<T> table = [] {
    std::vector<T> values;
    values.reserve(kQuantiles);
    for (const double z : NormalQuantiles()) values.push_back(Stored<T>(kFormat, z));
    if constexpr (kFormat == Format::kF4E2m1) {
      // Two numbers take eight bits of the sixteen each: every 256th quantile.
      const std::vector<T> single = values;
      for (std::size_t i = 0; i < kQuantiles; ++i) {
        const unsigned low = single[i % 256 * 256 + 128];
        const unsigned high = single[i / 256 * 256 + 128];
        values[i] = static_cast<T>(low | high << 4U);
      }
    }
    return values;
  }();
  return table;
}

// Calls `use` with the format's table, and returns what it returns.
template <class Use>
auto WithTable(Format format, const Use& use) {
  switch (format) {
    case Format::kF64:
      break;
    case Format::kF32:
      return use(Table<Format::kF32, float>());
    case Format::kTf32:
      return use(Table<Format::kTf32, float>());
    case Format::kBf16:
      return use(Table<Format::kBf16, std::uint16_t>());
    case Format::kF16:
      return use(Table<Format::kF16, std::uint16_t>());
    case Format::kF8E4m3:
      return use(Table<Format::kF8E4m3, std::uint8_t>());
    case Format::kF8E5m2:
      return use(Table<Format::kF8E5m2, std::uint8_t>());
    case Format::kF4E2m1:
      return use(Table<Format::kF4E2m1, std::uint8_t>());
    case Format::kUe8m0:
      return use(Table<Format::kUe8m0, std::uint8_t>());
    case Format::kUe4m3:
      return use(Table<Format::kUe4m3, std::uint8_t>());
    case Format::kS32:
      return use(Table<Format::kS32, std::int32_t>());
    case Format::kS8:
      return use(Table<Format::kS8, std::int8_t>());
    case Format::kU8:
      return use(Table<Format::kU8, std::uint8_t>());
  }
  return use(Table<Format::kF64, double>());
}

// Fills elements begin … end - 1 of a stream through the table, four elements to a draw.
template <class T>
void FillNormal(const std::vector<T>& table, std::uint64_t seed, std::int64_t begin,
                std::int64_t end, T* out) {
  const T* values = table.data();
  std::int64_t i = begin;
  // Ranges of a parallel loop may begin and end within a draw; `one` takes single elements there.
  const auto one = [&] {
    const std::uint64_t draw = RandomAt(seed, static_cast<std::uint64_t>(i / kPerDraw));
    out[i] = values[(draw >> (16U * static_cast<unsigned>(i % kPerDraw))) & 0xffffU];
    ++i;
  };
  while (i < end && i % kPerDraw != 0) one();
  for (; i + kPerDraw <= end; i += kPerDraw) {
    const std::uint64_t draw = RandomAt(seed, static_cast<std::uint64_t>(i / kPerDraw));
    out[i] = values[draw & 0xffffU];
    out[i + 1] = values[(draw >> 16U) & 0xffffU];
    out[i + 2] = values[(draw >> 32U) & 0xffffU];
    out[i + 3] = values[draw >> 48U];
  }
  while (i < end) one();
}

// A floating-point format of less than 32 bits: the number of its mantissa bits, and the exponent
// of its smallest number, which is also the last place of its smallest binades.
struct Narrow {
  int mantissa_bits;
  int least;
};
constexpr Narrow kF16 = {.mantissa_bits = 10, .least = -24};
constexpr Narrow kE4m3 = {.mantissa_bits = 3, .least = -9};
constexpr Narrow kE5m2 = {.mantissa_bits = 2, .least = -16};
constexpr Narrow kE2m1 = {.mantissa_bits = 1, .least = -1};

// The code of a finite magnitude that isn't above the format's largest number. The magnitude is
// scaled to units of the last place of its binade, where the processor rounds it; a carry makes the
// next exponent by itself.
unsigned Encoded(float magnitude, const Narrow& format) {
  if (magnitude == 0) return 0;
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int place = std::max(exponent - 1 - format.mantissa_bits, format.least);
  const auto units = static_cast<unsigned>(std::nearbyint(std::ldexp(magnitude, -place)));
  return (static_cast<unsigned>(place - format.least) << format.mantissa_bits) + units;
}

// The magnitude that a code stands for; the inverse of Encoded.
float Decoded(unsigned code, const Narrow& format) {
  const unsigned one = 1U << format.mantissa_bits;
  const auto exponent = static_cast<int>(code / one);
  const unsigned mantissa = code % one;
  if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), format.least);
  return std::ldexp(static_cast<float>(mantissa + one), exponent - 1 + format.least);
}

template <class T, class Convert>
void ReadAs(const void* data, std::int64_t first, std::int64_t count, double* out,
            const Convert& convert) {
  const T* from = static_cast<const T*>(data) + first;
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<double>(convert(from[i]));
}

}  // namespace

std::string_view ToText(Format format) {
  switch (format) {
    case Format::kF64:
      return "f64";
    case Format::kF32:
      return "f32";
    case Format::kTf32:
      return "tf32";
    case Format::kBf16:
      return "bf16";
    case Format::kF16:
      return "f16";
    case Format::kF8E4m3:
      return "fp8_e4m3";
    case Format::kF8E5m2:
      return "fp8_e5m2";
    case Format::kF4E2m1:
      return "fp4_e2m1";
    case Format::kUe8m0:
      return "ue8m0";
    case Format::kUe4m3:
      return "ue4m3";
    case Format::kS32:
      return "s32";
    case Format::kS8:
      return "s8";
    case Format::kU8:
      return "u8";
  }
  return "?";
}

double ScaleOf(Format format) {
  if (format == Format::kF8E4m3 || format == Format::kF8E5m2) return 64;
  return format == Format::kF4E2m1 ? 3 : 1;
}

std::int64_t BytesOf(Format format, std::int64_t count) {
  switch (format) {
    case Format::kF64:
      return 8 * count;
    case Format::kF32:
    case Format::kTf32:
    case Format::kS32:
      return 4 * count;
    case Format::kBf16:
    case Format::kF16:
      return 2 * count;
    case Format::kF8E4m3:
    case Format::kF8E5m2:
    case Format::kUe8m0:
    case Format::kUe4m3:
    case Format::kS8:
    case Format::kU8:
      return count;
    case Format::kF4E2m1:
      return (count + 1) / 2;
  }
  return 0;
}

std::uint16_t Bf16FromF32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16U) | 0x40U);
  // Adding half a unit less one, and one more where the kept part is odd, carries exactly when
  // rounding up is right; a carry out of the mantissa is the next exponent, in the end infinity.
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

float F32FromBf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

std::uint16_t F16FromF32(float value) {
  const unsigned sign = std::signbit(value) ? 0x8000U : 0U;
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7e00U);
  const float magnitude = std::fabs(value);
  // From half a unit above the largest f16, which is 65504, rounding to nearest gives infinity.
  if (magnitude >= 65520.0F) return static_cast<std::uint16_t>(sign | 0x7c00U);
  return static_cast<std::uint16_t>(sign | Encoded(magnitude, kF16));
}

float F32FromF16(std::uint16_t bits) {
  const float magnitude = (bits & 0x7fffU) > 0x7c00U    ? NAN
                          : (bits & 0x7fffU) == 0x7c00U ? INFINITY
                                                        : Decoded(bits & 0x7fffU, kF16);
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

float Tf32FromF32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return value;
  return std::bit_cast<float>((bits + 0xfffU + ((bits >> 13U) & 1U)) & ~0x1fffU);  // as above
}

std::uint8_t F8E4m3FromF32(float value) {
  const unsigned sign = std::signbit(value) ? 0x80U : 0U;
  const float magnitude = std::fabs(value);
  return static_cast<std::uint8_t>(sign | (std::isnan(value)  ? 0x7fU
                                           : magnitude >= 448 ? 0x7eU
                                                              : Encoded(magnitude, kE4m3)));
}

float F32FromF8E4m3(std::uint8_t bits) {
  const unsigned code = bits & 0x7fU;
  const float magnitude = code == 0x7fU ? NAN : Decoded(code, kE4m3);
  return (bits & 0x80U) != 0 ? -magnitude : magnitude;
}

std::uint8_t F8E5m2FromF32(float value) {
  const unsigned sign = std::signbit(value) ? 0x80U : 0U;
  const float magnitude = std::fabs(value);
  return static_cast<std::uint8_t>(sign | (std::isnan(value)    ? 0x7fU
                                           : magnitude >= 57344 ? 0x7bU
                                                                : Encoded(magnitude, kE5m2)));
}

float F32FromF8E5m2(std::uint8_t bits) {
  return F32FromF16(static_cast<std::uint16_t>(bits << 8U));  // e5m2 is the upper half of an f16
}

std::uint8_t F4E2m1FromF32(float value) {
  const unsigned sign = std::signbit(value) ? 8U : 0U;
  return static_cast<std::uint8_t>(sign | Encoded(std::fmin(std::fabs(value), 6.0F), kE2m1));
}

float F32FromF4E2m1(std::uint8_t bits) {
  const float magnitude = Decoded(bits & 7U, kE2m1);
  return (bits & 8U) != 0 ? -magnitude : magnitude;
}

float F32FromUe8m0(std::uint8_t bits) { return bits == 0xffU ? NAN : std::ldexp(1.0F, bits - 127); }

double Tensor::operator[](std::int64_t index) const {
  double value = 0;
  Read(index, 1, &value);
  return value;
}

void Tensor::Read(std::int64_t first, std::int64_t count, double* out) const {
  const auto same = [](auto value) { return value; };
  switch (format) {
    case Format::kF64:
      return ReadAs<double>(data, first, count, out, same);
    case Format::kF32:
    case Format::kTf32:
      return ReadAs<float>(data, first, count, out, same);
    case Format::kBf16:
      return ReadAs<std::uint16_t>(data, first, count, out, F32FromBf16);
    case Format::kF16:
      return ReadAs<std::uint16_t>(data, first, count, out, F32FromF16);
    case Format::kF8E4m3:
    case Format::kUe4m3:
      return ReadAs<std::uint8_t>(data, first, count, out, F32FromF8E4m3);
    case Format::kF8E5m2:
      return ReadAs<std::uint8_t>(data, first, count, out, F32FromF8E5m2);
    case Format::kF4E2m1:
      for (std::int64_t i = first; i < first + count; ++i) {
        const unsigned pair = static_cast<const std::uint8_t*>(data)[i / 2];
        *out++ = static_cast<double>(
            F32FromF4E2m1(static_cast<std::uint8_t>(i % 2 == 0 ? pair : pair >> 4U)));
      }
      return;
    case Format::kUe8m0:
      return ReadAs<std::uint8_t>(data, first, count, out, F32FromUe8m0);
    case Format::kS32:
      return ReadAs<std::int32_t>(data, first, count, out, same);
    case Format::kS8:
      return ReadAs<std::int8_t>(data, first, count, out, same);
    case Format::kU8:
      return ReadAs<std::uint8_t>(data, first, count, out, same);
  }
}

void Serially(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count > 0) body(0, count);
}

void Fill(Format format, const std::string& inputs, std::uint64_t seed, std::int64_t count,
          void* out, const ParallelFor& parallel) {
  const std::int64_t bytes = BytesOf(format, count);
  if (inputs == "zeros") {
    parallel(bytes, [&](std::int64_t begin, std::int64_t end) {
      std::memset(static_cast<std::byte*>(out) + begin, 0, static_cast<std::size_t>(end - begin));
    });
    return;
  }
  if (inputs != "normal") {
    throw Error(fmt::format("There are no inputs '{}'; choose normal or zeros.", inputs));
  }
  WithTable(format, [&]<class T>(const std::vector<T>& table) {
    parallel(bytes / BytesOf(format), [&](std::int64_t begin, std::int64_t end) {
      FillNormal(table, seed, begin, end, static_cast<T*>(out));
    });
  });
}

std::span<const std::byte> NormalValues(Format format) {
  return WithTable(format, [](const auto& table) { return std::as_bytes(std::span(table)); });
}

namespace {

constexpr std::int64_t kTileRows = 128;
constexpr std::int64_t kTileBlocks = 4;

std::int64_t Tiles(std::int64_t count, std::int64_t tile) { return (count + tile - 1) / tile; }

}  // namespace

std::int64_t ScaleLayout::Count() const {
  return Tiles(rows, kTileRows) * kTileRows * Tiles(blocks, kTileBlocks) * kTileBlocks;
}

std::int64_t ScaleLayout::Place(std::int64_t row, std::int64_t block) const {
  const std::int64_t tile = row / kTileRows * Tiles(blocks, kTileBlocks) + block / kTileBlocks;
  const std::int64_t in_tile = row % 32 * 16 + row % kTileRows / 32 * 4 + block % kTileBlocks;
  return tile * kTileRows * kTileBlocks + in_tile;
}

void Dequantise(const Quantised& matrix, std::int64_t rows, std::int64_t columns, float* out,
                const ParallelFor& parallel) {
  const std::int64_t block = matrix.block == 0 ? columns : matrix.block;
  const ScaleLayout layout = {.rows = rows, .blocks = Tiles(columns, block)};
  parallel(rows, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> row(static_cast<std::size_t>(columns));
    for (std::int64_t i = begin; i < end; ++i) {
      matrix.codes.Read(i * columns, columns, row.data());
      double scale = 0;
      for (std::int64_t j = 0; j < columns; ++j) {
        if (j % block == 0) {
          scale = matrix.whole * matrix.scales[matrix.block == 0 ? 0 : layout.Place(i, j / block)];
        }
        out[i * columns + j] = static_cast<float>(row[static_cast<std::size_t>(j)] * scale);
      }
    }
  });
}

}  // namespace assay
