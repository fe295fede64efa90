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

#include "results/error.h"
#include "runner/random.h"

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
      return static_cast<T>(F8E4m3FromF32(static_cast<float>(64 * z)));
    case Format::kU8:
      return static_cast<T>(std::clamp(std::nearbyint(128 + 32 * z), 0.0, 255.0));
    case Format::kS8:
      return static_cast<T>(std::clamp(std::nearbyint(16 * z), -63.0, 63.0));
    case Format::kS32:
      return static_cast<T>(std::nearbyint(16 * z));
  }
  return {};
}

// Made once.
template <Format kFormat, class T>
const std::vector<T>& Table() {
  static const std::vector<T> table = [] {
    std::vector<T> values;
    values.reserve(kQuantiles);
    for (const double z : NormalQuantiles()) values.push_back(Stored<T>(kFormat, z));
    return values;
  }();
  return table;
}

// What `use` makes of the format's table.
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
    case Format::kS32:
      return use(Table<Format::kS32, std::int32_t>());
    case Format::kS8:
      return use(Table<Format::kS8, std::int8_t>());
    case Format::kU8:
      return use(Table<Format::kU8, std::uint8_t>());
  }
  return use(Table<Format::kF64, double>());
}

template <class T>
void FillNormal(const std::vector<T>& table, std::uint64_t seed, std::int64_t begin,
                std::int64_t end, T* out) {
  const T* values = table.data();
  std::int64_t i = begin;
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
    case Format::kS32:
      return "s32";
    case Format::kS8:
      return "s8";
    case Format::kU8:
      return "u8";
  }
  return "?";
}

std::int64_t BytesOf(Format format) {
  switch (format) {
    case Format::kF64:
      return 8;
    case Format::kF32:
    case Format::kTf32:
    case Format::kS32:
      return 4;
    case Format::kBf16:
    case Format::kF16:
      return 2;
    case Format::kF8E4m3:
    case Format::kS8:
    case Format::kU8:
      return 1;
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
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000U : 0U);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7e00U);
  const float magnitude = std::fabs(value);
  if (magnitude == 0) return sign;
  if (magnitude >= 65520.0F) return static_cast<std::uint16_t>(sign | 0x7c00U);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // In units of the last place of this binade, whose smallest is 2^-24 (subnormals), the magnitude
  // is rounded by the processor; a carry makes the next exponent by itself.
  const int place = std::max(exponent - 11, -24);
  const auto units = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(magnitude, -place)));
  return static_cast<std::uint16_t>(sign + (static_cast<std::uint32_t>(place + 24) << 10U) + units);
}

float F32FromF16(std::uint16_t bits) {
  const std::uint32_t exponent = (bits >> 10U) & 0x1fU;
  const std::uint32_t mantissa = bits & 0x3ffU;
  float magnitude = 0;
  if (exponent == 0x1fU) {
    magnitude = mantissa == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(mantissa | 0x400U), static_cast<int>(exponent) - 25);
  }
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

float Tf32FromF32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return value;
  return std::bit_cast<float>((bits + 0xfffU + ((bits >> 13U) & 1U)) & ~0x1fffU);  // as above
}

std::uint8_t F8E4m3FromF32(float value) {
  const unsigned sign = std::signbit(value) ? 0x80U : 0U;
  if (std::isnan(value)) return static_cast<std::uint8_t>(sign | 0x7fU);
  const float magnitude = std::fabs(value);
  if (magnitude >= 448) return static_cast<std::uint8_t>(sign | 0x7eU);
  if (magnitude == 0) return static_cast<std::uint8_t>(sign);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // As in f16, in units of the last place of this binade; the smallest is 2^-9 (subnormals).
  const int place = std::max(exponent - 4, -9);
  const auto units = static_cast<unsigned>(std::nearbyint(std::ldexp(magnitude, -place)));
  return static_cast<std::uint8_t>(sign + (static_cast<unsigned>(place + 9) << 3U) + units);
}

float F32FromF8E4m3(std::uint8_t bits) {
  const unsigned exponent = (bits >> 3U) & 0xfU;
  const unsigned mantissa = bits & 7U;
  float magnitude = 0;
  if (exponent == 0xfU && mantissa == 7) {
    magnitude = NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -9);
  } else {
    magnitude = std::ldexp(static_cast<float>(mantissa | 8U), static_cast<int>(exponent) - 10);
  }
  return (bits & 0x80U) != 0 ? -magnitude : magnitude;
}

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
      return ReadAs<std::uint8_t>(data, first, count, out, F32FromF8E4m3);
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
  if (inputs == "zeros") {
    const std::int64_t size = BytesOf(format);
    parallel(count, [&](std::int64_t begin, std::int64_t end) {
      std::memset(static_cast<std::byte*>(out) + begin * size, 0,
                  static_cast<std::size_t>((end - begin) * size));
    });
    return;
  }
  if (inputs != "normal") {
    throw Error(fmt::format("There are no inputs '{}'; choose normal or zeros.", inputs));
  }
  WithTable(format, [&]<class T>(const std::vector<T>& table) {
    parallel(count, [&](std::int64_t begin, std::int64_t end) {
      FillNormal(table, seed, begin, end, static_cast<T*>(out));
    });
  });
}

std::span<const std::byte> NormalValues(Format format) {
  return WithTable(format, [](const auto& table) { return std::as_bytes(std::span(table)); });
}

}  // namespace assay
