#include "collectives/pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "results/base/dtype.h"
#include "results/base/error.h"
#include "runner/core/random.h"

namespace assay {
namespace {

// A float narrower than the language has, by the width of its exponent and its mantissa.
template <class Bits, int exponent, int mantissa>
struct Small {
  static constexpr int kMantissa = mantissa;
  static constexpr int kBias = (1 << (exponent - 1)) - 1;
  Bits bits;

  // REQUIRES: the value has no more bits than the mantissa holds, as all that Pattern makes do.
  explicit Small(int value) : bits(0) {
    if (value == 0) return;
    const auto f = std::bit_cast<std::uint32_t>(static_cast<float>(value));
    const std::uint32_t power = (f >> 23U & 0xffU) - 127 + kBias;
    bits = static_cast<Bits>(f >> 31U << (exponent + mantissa) | power << mantissa |
                             (f & 0x7fffffU) >> (23 - mantissa));
  }

  // The value of the bits. e4m3 alone has no infinities and a single NaN, which reads here as the
  // number that the bits would be, since no right value is that large.
  double Value() const {
    const double sign = (bits >> (exponent + mantissa)) != 0 ? -1 : 1;
    const int power = bits >> mantissa & ((1 << exponent) - 1);
    const int fraction = bits & ((1 << mantissa) - 1);
    if (power == (1 << exponent) - 1 && mantissa != 3) {
      return fraction == 0 ? sign * HUGE_VAL : std::nan("");
    }
    if (power == 0) return sign * std::ldexp(fraction, 1 - kBias - mantissa);
    return sign * std::ldexp(fraction + (1 << mantissa), power - kBias - mantissa);
  }
};
using F16 = Small<std::uint16_t, 5, 10>;
using Bf16 = Small<std::uint16_t, 8, 7>;
using F8e4m3 = Small<std::uint8_t, 4, 3>;
using F8e5m2 = Small<std::uint8_t, 5, 2>;

const DtypeFacts& FactsNamed(std::string_view dtype) {
  return ReadDtype(dtype, "dtype", DtypeUse::kCollectives);
}

// Calls body with a value of the type that a dtype names.
template <class Body>
auto WithType(std::string_view dtype, Body body) {
  switch (FactsNamed(dtype).dtype) {
    case Dtype::kF32:
      return body(float{});
    case Dtype::kF64:
      return body(double{});
    case Dtype::kF16:
      return body(F16(0));
    case Dtype::kBf16:
      return body(Bf16(0));
    case Dtype::kFp8E4m3:
      return body(F8e4m3(0));
    case Dtype::kFp8E5m2:
      return body(F8e5m2(0));
    case Dtype::kInt8:
      return body(std::int8_t{});
    case Dtype::kU8:
      return body(std::uint8_t{});
    case Dtype::kI32:
      return body(std::int32_t{});
    case Dtype::kU32:
      return body(std::uint32_t{});
    case Dtype::kI64:
      return body(std::int64_t{});
    case Dtype::kU64:
      return body(std::uint64_t{});
    case Dtype::kFp8E5m2E4m3:
    case Dtype::kTf32:
    case Dtype::kMxfp8:
    case Dtype::kNvfp4:
      break;
  }
  throw Error("no element has the dtype " + std::string(dtype));
}

template <class T>
double ValueOf(T value) {
  if constexpr (requires { value.Value(); }) {
    return value.Value();
  } else {
    return static_cast<double>(value);
  }
}

// The exponent up to which powers of two bound integers that are exact in the dtype; sums that are
// no larger are exact, too.
int ExactBits(Dtype dtype) {
  constexpr int kMost = 24;
  switch (dtype) {
    case Dtype::kF16:
      return 11;
    case Dtype::kBf16:
    case Dtype::kU8:
      return 8;
    case Dtype::kInt8:
      return 7;
    case Dtype::kFp8E4m3:
      return 4;
    case Dtype::kFp8E5m2:
      return 3;
    case Dtype::kF32:
    case Dtype::kF64:
    case Dtype::kI32:
    case Dtype::kU32:
    case Dtype::kI64:
    case Dtype::kU64:
    case Dtype::kFp8E5m2E4m3:
    case Dtype::kTf32:
    case Dtype::kMxfp8:
    case Dtype::kNvfp4:
      return kMost;
  }
  return kMost;
}

}  // namespace

Pattern::Pattern(const Collective& collective, int ranks, std::uint64_t seed,
                 std::uint64_t iteration)
    : collective_(collective),
      ranks_(ranks),
      seed_(RandomAt(seed, iteration)),
      is_signed_(FactsNamed(collective.dtype).kind != DtypeKind::kUnsigned),
      reduces_(FactsOf(collective.operation).reduces) {
  const int exact = ExactBits(FactsNamed(collective.dtype).dtype);
  const bool sums = reduces_ && (collective.redop == "sum" || collective.redop == "avg");
  bits_ = std::min(16, exact + (is_signed_ ? 1 : 0));
  if (!sums) return;
  // The number of ranks times the largest value must not exceed 2^exact. Where that leaves too few
  // bits, only some of the ranks add something to an element, and others to the next.
  const int rank_bits = static_cast<int>(std::bit_width(static_cast<unsigned>(ranks - 1)));
  bits_ = std::min(bits_, exact + (is_signed_ ? 1 : 0) - rank_bits);
  if (bits_ >= 2) return;
  bits_ = 2;
  const int adding = 1 << (exact - 2);
  stride_ = (ranks + adding - 1) / adding;
}

// Calls body for each element, with the bits that its value is made of. One random number makes
// four elements.
template <class Body>
void Pattern::ForEach(int rank, std::int64_t begin, std::int64_t count, Body body) const {
  const std::uint64_t key = RandomAt(seed_, static_cast<std::uint64_t>(rank));
  const std::uint64_t mask = (std::uint64_t{1} << static_cast<unsigned>(bits_)) - 1;
  const int lowest = is_signed_ ? -(1 << (bits_ - 1)) : 0;
  const bool multiplies = reduces_ && collective_.redop == "prod";
  const auto turns = static_cast<std::uint64_t>(multiplies ? ranks_ : stride_);
  const std::int64_t end = begin + count;
  for (std::int64_t group = begin / 4; group * 4 < end; ++group) {
    const auto at = static_cast<std::uint64_t>(group);
    std::uint64_t random = Mix(key + at);
    const bool is_our_turn =
        turns == 1 || (static_cast<std::uint64_t>(rank) + Mix(seed_ + at)) % turns == 0;
    for (std::int64_t i = group * 4; i < group * 4 + 4; ++i, random >>= 16U) {
      if (i < begin || i >= end) continue;
      int value = static_cast<int>(random & mask) + lowest;
      if (multiplies) {
        // Values are signs, and 2 for one rank, so that the product is 1 or 2 in magnitude for any
        // number of ranks.
        value = (is_our_turn ? 2 : 1) * (is_signed_ && (random & 1U) != 0 ? -1 : 1);
      } else if (!is_our_turn) {
        value = 0;
      }
      body(i - begin, value);
    }
  }
}

void Pattern::Fill(int rank, std::int64_t begin, std::span<std::byte> to) const {
  WithType(collective_.dtype, [&]<class T>(T) {
    std::byte* const out = to.data();
    ForEach(rank, begin, static_cast<std::int64_t>(to.size() / sizeof(T)),
            [out](std::int64_t i, int integer) {
              const T value(static_cast<T>(integer));
              std::memcpy(out + static_cast<std::size_t>(i) * sizeof(T), &value, sizeof(T));
            });
  });
}

void Pattern::FillReduced(std::int64_t begin, std::span<std::byte> to) const {
  WithType(collective_.dtype, [&]<class T>(T) { Reduce<T>(begin, to); });
}

template <class T>
void Pattern::Reduce(std::int64_t begin, std::span<std::byte> to) const {
  const auto count = static_cast<std::int64_t>(to.size() / sizeof(T));
  std::vector<int> all(static_cast<std::size_t>(count));
  const std::string& redop = collective_.redop;
  for (int rank = 0; rank < ranks_; ++rank) {
    const auto each = [&](auto combine) {
      ForEach(rank, begin, count, [&](std::int64_t i, int value) {
        int& sofar = all[static_cast<std::size_t>(i)];
        sofar = rank == 0 ? value : combine(sofar, value);
      });
    };
    if (redop == "prod") {
      each([](int a, int b) { return a * b; });
    } else if (redop == "min") {
      each([](int a, int b) { return std::min(a, b); });
    } else if (redop == "max") {
      each([](int a, int b) { return std::max(a, b); });
    } else {
      each([](int a, int b) { return a + b; });
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    T value(static_cast<T>(all[i]));
    if (redop == "avg") {
      if constexpr (std::is_floating_point_v<T>) {
        // Only this division rounds, for which ToleranceOf allows.
        value = static_cast<T>(all[i]) / static_cast<T>(ranks_);
      } else if constexpr (std::is_integral_v<T>) {
        value = static_cast<T>(all[i] / ranks_);
      } else {
        throw Error("an average of " + collective_.dtype + " has no exact reference; use f32");
      }
    }
    std::memcpy(to.data() + i * sizeof(T), &value, sizeof(T));
  }
}

double ElementValue(std::string_view dtype, const std::byte* element) {
  return WithType(dtype, [element]<class T>(T value) {
    std::memcpy(&value, element, sizeof(T));
    return ValueOf(value);
  });
}

Mismatch Compare(std::string_view dtype, std::span<const std::byte> got,
                 std::span<const std::byte> expected, double tolerance) {
  Mismatch mismatch;
  if (std::memcmp(got.data(), expected.data(), expected.size()) == 0) return mismatch;
  const auto size = static_cast<std::size_t>(ElementBytes(dtype));
  for (std::size_t at = 0; at < expected.size(); at += size) {
    if (std::memcmp(got.data() + at, expected.data() + at, size) == 0) continue;
    const double is = ElementValue(dtype, got.data() + at);
    const double should = ElementValue(dtype, expected.data() + at);
    const double error = std::abs(is - should);
    if (error <= tolerance * std::abs(should)) continue;
    if (std::isfinite(error)) mismatch.max_error = std::max(mismatch.max_error, error);
    if (mismatch.wrong++ == 0) {
      mismatch.first = static_cast<std::int64_t>(at / size);
      mismatch.what = fmt::format("{} instead of {}", is, should);
    }
  }
  return mismatch;
}

double ToleranceOf(const Collective& collective, int ranks) {
  const bool rounds = FactsOf(collective.operation).reduces && collective.redop == "avg" &&
                      !std::has_single_bit(static_cast<unsigned>(ranks));
  if (!rounds) return 0;
  const Dtype dtype = FactsNamed(collective.dtype).dtype;
  if (dtype == Dtype::kF64) return std::ldexp(2.0, -52);
  if (dtype == Dtype::kF32) return std::ldexp(2.0, -23);
  return 0;
}

}  // namespace assay
