#include "kernels/inputs.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "results/error.h"
#include "runner/memory.h"
#include "runner/random.h"

namespace assay {
namespace {

std::vector<float> Normal(std::uint64_t seed, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  Fill(Format::kF32, "normal", seed, count, values.data(), Serially);
  return values;
}

// Thirds, each on a thread of its own, the last first.
void InThirds(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  for (std::int64_t part = 2; part >= 0; --part) {
    std::thread([&] { body(count * part / 3, count * (part + 1) / 3); }).join();
  }
}

TEST(Inputs, Bf16RoundsToNearestTiesToEven) {
  EXPECT_EQ(Bf16FromF32(1.0F), 0x3f80);
  EXPECT_EQ(Bf16FromF32(-2.0F), 0xc000);
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3f808000U)), 0x3f80);  // a tie, down to even
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3f818000U)), 0x3f82);  // a tie, up to even
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3f808001U)), 0x3f81);
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3f817fffU)), 0x3f81);
  EXPECT_EQ(Bf16FromF32(std::numeric_limits<float>::max()), 0x7f80);  // rounds to infinity
  EXPECT_TRUE(std::isnan(F32FromBf16(Bf16FromF32(std::bit_cast<float>(0x7f800001U)))));
}

TEST(Inputs, EveryBf16SurvivesTheWayThereAndBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = F32FromBf16(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(Bf16FromF32(value), bits);
  }
}

TEST(Inputs, EveryF16SurvivesTheWayThereAndBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = F32FromF16(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(F16FromF32(value), bits);
  }
}

TEST(Inputs, F16RoundsToNearestTiesToEven) {
  EXPECT_EQ(F16FromF32(1.0F), 0x3c00);
  EXPECT_EQ(F16FromF32(65504.0F), 0x7bff);             // the largest
  EXPECT_EQ(F16FromF32(65519.9F), 0x7bff);             // below half a step above it
  EXPECT_EQ(F16FromF32(65520.0F), 0x7c00);             // at half a step: infinity
  EXPECT_EQ(F16FromF32(1.0F + 0x1p-11F), 0x3c00);      // a tie, down to even
  EXPECT_EQ(F16FromF32(1.0F + 3 * 0x1p-11F), 0x3c02);  // a tie, up to even
  EXPECT_EQ(F16FromF32(2.0F - 0x1p-12F), 0x4000);      // carries into the exponent
  EXPECT_EQ(F16FromF32(0x1p-24F), 0x0001);             // the smallest subnormal
  EXPECT_EQ(F16FromF32(0x1p-25F), 0x0000);             // half of it, to even
  EXPECT_EQ(F16FromF32(-0x1.8p-25F), 0x8001);
  EXPECT_TRUE(std::isnan(F32FromF16(F16FromF32(NAN))));
}

TEST(Inputs, Tf32RoundsToNearestTiesToEven) {
  const float unit = std::ldexp(1.0F, -10);  // of the last place beside 1
  EXPECT_EQ(Tf32FromF32(1), 1);
  EXPECT_EQ(Tf32FromF32(1 + 0.5F * unit), 1);
  EXPECT_EQ(Tf32FromF32(1 + 1.5F * unit), 1 + 2 * unit);
  EXPECT_EQ(Tf32FromF32(-1 - 0.51F * unit), -1 - unit);
  EXPECT_TRUE(std::isnan(Tf32FromF32(NAN)));
}

// Figure 1 of the paper: the ends of the format, and what lies between.
TEST(Inputs, F8E4m3HoldsWhatItsPaperSays) {
  EXPECT_EQ(F32FromF8E4m3(0x7e), 448);
  EXPECT_TRUE(std::isnan(F32FromF8E4m3(0x7f)));
  EXPECT_EQ(F32FromF8E4m3(0x08), std::ldexp(1.0F, -6));
  EXPECT_EQ(F32FromF8E4m3(0x01), std::ldexp(1.0F, -9));
  EXPECT_EQ(F32FromF8E4m3(0xb8), -1);
  for (unsigned bits = 0; bits < 256; ++bits) {
    const auto narrow = static_cast<std::uint8_t>(bits);
    if ((bits & 0x7fU) != 0x7fU) {
      EXPECT_EQ(F8E4m3FromF32(F32FromF8E4m3(narrow)), narrow);
    }
  }
  EXPECT_EQ(F32FromF8E4m3(F8E4m3FromF32(1.0625F)), 1) << "a tie goes to the even one";
  EXPECT_EQ(F32FromF8E4m3(F8E4m3FromF32(1.1875F)), 1.25F);
  EXPECT_EQ(F32FromF8E4m3(F8E4m3FromF32(-1e9F)), -448) << "there is no infinity";
  EXPECT_TRUE(std::isnan(F32FromF8E4m3(F8E4m3FromF32(NAN))));
}

TEST(Inputs, NormalHasTheMomentsAndTailsOfTheNormalDistribution) {
  const std::vector<float> values = Normal(7, 1 << 20);
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  int beyond_two = 0;
  for (const double z : values) {
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
    beyond_two += std::fabs(z) > 2 ? 1 : 0;
  }
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96 / n));
  const double tail = std::erfc(std::sqrt(2.0));  // P(|z| > 2) = 4.55 %
  EXPECT_NEAR(beyond_two / n, tail, 5 * std::sqrt(tail / n));
}

TEST(Inputs, NeighboursAreUncorrelated) {
  const std::vector<float> values = Normal(11, 1 << 18);
  for (std::size_t lag = 1; lag <= 8; ++lag) {
    double sum = 0;
    for (std::size_t i = lag; i < values.size(); ++i) sum += values[i] * values[i - lag];
    const double n = static_cast<double>(values.size());
    EXPECT_LT(std::fabs(sum / n), 5 / std::sqrt(n)) << "lag " << lag;
  }
}

TEST(Inputs, TheSameSeedGivesTheSameNumbersHoweverTheyAreFilled) {
  for (const Format format :
       {Format::kF64, Format::kF32, Format::kTf32, Format::kBf16, Format::kF16, Format::kF8E4m3,
        Format::kS8, Format::kU8, Format::kS32}) {
    const std::int64_t count = 1001;
    std::vector<std::byte> one(static_cast<std::size_t>(count * BytesOf(format)));
    std::vector<std::byte> other = one;
    Fill(format, "normal", 3, count, one.data(), Serially);
    Fill(format, "normal", 3, count, other.data(), InThirds);
    EXPECT_EQ(one, other) << ToText(format);
    Fill(format, "normal", 4, count, other.data(), Serially);
    EXPECT_NE(one, other) << ToText(format);
  }
}

TEST(Inputs, EachFormatHoldsTheSameDrawsOnItsOwnGrid) {
  const std::int64_t count = 4096;
  std::vector<double> exact(count);
  Fill(Format::kF64, "normal", 5, count, exact.data(), Serially);
  std::vector<std::uint16_t> bf16(count);
  std::vector<std::int8_t> s8(count);
  std::vector<std::uint8_t> u8(count);
  Fill(Format::kBf16, "normal", 5, count, bf16.data(), Serially);
  Fill(Format::kS8, "normal", 5, count, s8.data(), Serially);
  Fill(Format::kU8, "normal", 5, count, u8.data(), Serially);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    ASSERT_EQ(bf16[i], Bf16FromF32(static_cast<float>(exact[i])));
    ASSERT_NEAR(s8[i], std::fmin(63, std::fmax(-63, 16 * exact[i])), 0.5001);
    ASSERT_NEAR(u8[i], std::fmin(255, std::fmax(0, 128 + 32 * exact[i])), 0.5001);
  }
}

TEST(Inputs, TheTableOfValuesIsWhatAFillTakesFrom) {
  const std::span<const std::byte> table = NormalValues(Format::kBf16);
  ASSERT_EQ(table.size(), 65536 * sizeof(std::uint16_t));
  std::vector<std::uint16_t> values(10);
  Fill(Format::kBf16, "normal", 9, 10, values.data(), Serially);
  for (unsigned i = 0; i < 10; ++i) {
    const std::uint64_t place = RandomAt(9, i / 4) >> (16U * (i % 4)) & 0xffffU;
    std::uint16_t value = 0;
    std::memcpy(&value, &table[place * sizeof(value)], sizeof(value));
    EXPECT_EQ(values[i], value) << i;
  }
}

TEST(Inputs, ZerosAreZeroBits) {
  std::vector<float> values(100, 1.0F);
  Fill(Format::kF32, "zeros", 1, 100, values.data(), InThirds);
  EXPECT_EQ(values, std::vector<float>(100, 0.0F));
}

TEST(Inputs, OtherInputsAreRefusedByName) {
  float value = 0;
  EXPECT_THROW(Fill(Format::kF32, "ones", 1, 1, &value, Serially), Error);
}

TEST(HostMemory, PagesBeginAtAHugePageAndAreZero) {
  for (const std::size_t bytes : {0U, 1U, 4096U, 3U << 20}) {
    const Pages pages(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages.Begin()) % (2 << 20), 0U);
    for (std::size_t i = 0; i < bytes; i += 511) ASSERT_EQ(pages.Begin()[i], std::byte{0});
    if (bytes > 0) pages.Begin()[bytes - 1] = std::byte{1};
  }
}

TEST(HostMemory, MoreMemoryThanThereIsGivesASentence) {
  EXPECT_THROW(Pages(std::size_t{1} << 60), Error);
}

}  // namespace
}  // namespace assay
