#include "kernels/inputs.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "results/base/error.h"
#include "runner/core/memory.h"
#include "runner/core/random.h"

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

// Table 1 of the paper.
TEST(Inputs, F8E5m2HoldsWhatItsPaperSays) {
  EXPECT_EQ(F32FromF8E5m2(0x7b), 57344);
  EXPECT_TRUE(std::isinf(F32FromF8E5m2(0x7c)));
  EXPECT_TRUE(std::isnan(F32FromF8E5m2(0x7d)));
  EXPECT_EQ(F32FromF8E5m2(0x04), std::ldexp(1.0F, -14));
  EXPECT_EQ(F32FromF8E5m2(0x01), std::ldexp(1.0F, -16));
  EXPECT_EQ(F32FromF8E5m2(0xbd), -1.25F);
  for (unsigned bits = 0; bits < 256; ++bits) {
    const auto narrow = static_cast<std::uint8_t>(bits);
    if ((bits & 0x7fU) < 0x7cU) {
      EXPECT_EQ(F8E5m2FromF32(F32FromF8E5m2(narrow)), narrow);
    }
  }
  EXPECT_EQ(F32FromF8E5m2(F8E5m2FromF32(1.125F)), 1) << "a tie goes to the even one";
  EXPECT_EQ(F32FromF8E5m2(F8E5m2FromF32(1.375F)), 1.5F);
  EXPECT_EQ(F32FromF8E5m2(F8E5m2FromF32(-1e9F)), -57344) << "as large as a number can be";
  EXPECT_TRUE(std::isnan(F32FromF8E5m2(F8E5m2FromF32(NAN))));
}

// The format's numbers are these sixteen (OCP MX, 5.3.3), and every number between goes to the
// nearest.
TEST(Inputs, F4E2m1IsOneOfSixteenNumbers) {
  const std::vector<float> all = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (unsigned bits = 0; bits < 8; ++bits) {
    EXPECT_EQ(F32FromF4E2m1(static_cast<std::uint8_t>(bits)), all[bits]);
    EXPECT_EQ(F32FromF4E2m1(static_cast<std::uint8_t>(bits | 8U)), -all[bits]);
  }
  for (int i = -800; i <= 800; ++i) {
    const float value = static_cast<float>(i) / 100;
    const float stored = F32FromF4E2m1(F4E2m1FromF32(value));
    for (const float other : all) {
      EXPECT_LE(std::fabs(stored - value), std::fabs(std::copysign(other, value) - value)) << value;
    }
  }
  EXPECT_EQ(F32FromF4E2m1(F4E2m1FromF32(2.5F)), 2) << "a tie goes to the even one";
  EXPECT_EQ(F32FromF4E2m1(F4E2m1FromF32(3.5F)), 4);
  EXPECT_EQ(F32FromF4E2m1(F4E2m1FromF32(-5)), -4);
}

TEST(Inputs, TwoNumbersOfF4E2m1ShareAByteTheFirstInItsLowHalf) {
  EXPECT_EQ(BytesOf(Format::kF4E2m1, 4), 2);
  EXPECT_EQ(BytesOf(Format::kF4E2m1, 5), 3);
  EXPECT_EQ(BytesOf(Format::kBf16, 5), 10);
  const std::vector<std::uint8_t> bytes = {0x21, 0x7f};  // 0.5 and 1; -6 and 6
  const Tensor tensor = {.format = Format::kF4E2m1, .data = bytes.data()};
  EXPECT_EQ(tensor[0], 0.5);
  EXPECT_EQ(tensor[1], 1);
  std::vector<double> values(3);
  tensor.Read(1, 3, values.data());
  EXPECT_EQ(values, (std::vector<double>{1, -6, 6}));
}

TEST(Inputs, F4E2m1UsesItsWholeRangeOnBothSides) {
  constexpr std::int64_t kCount = 1 << 16;
  std::vector<std::byte> bytes(kCount / 2);
  Fill(Format::kF4E2m1, "normal", 3, kCount, bytes.data(), Serially);
  const Tensor tensor = {.format = Format::kF4E2m1, .data = bytes.data()};
  std::map<double, int> seen;
  double sum = 0;
  for (std::int64_t i = 0; i < kCount; ++i) {
    ++seen[tensor[i]];
    sum += tensor[i];
  }
  EXPECT_EQ(seen.size(), 15U) << "both zeros are one";
  for (const auto& [value, times] : seen) EXPECT_GT(times, kCount / 100) << value;
  EXPECT_NEAR(sum / kCount, 0, 0.06);  // five standard errors
}

TEST(Inputs, ScalesArePositiveAndDiffer) {
  EXPECT_EQ(F32FromUe8m0(127), 1);
  EXPECT_EQ(F32FromUe8m0(0), std::ldexp(1.0F, -127));
  EXPECT_EQ(F32FromUe8m0(254), std::ldexp(1.0F, 127));
  EXPECT_TRUE(std::isnan(F32FromUe8m0(255)));
  for (const Format format : {Format::kUe8m0, Format::kUe4m3}) {
    std::vector<std::uint8_t> codes(1000);
    Fill(format, "normal", 3, 1000, codes.data(), Serially);
    std::set<double> seen;
    for (std::int64_t i = 0; i < 1000; ++i) {
      const double scale = Tensor{.format = format, .data = codes.data()}[i];
      EXPECT_GT(scale, 0.03);
      EXPECT_LT(scale, 32);
      seen.insert(scale);
    }
    EXPECT_GE(seen.size(), 7U) << ToText(format);
  }
}

// The order as the documentation tells it, one after the other.
TEST(ScaleLayout, EveryScaleHasThePlaceThatTheLayoutGivesIt) {
  for (const std::int64_t rows : {1, 31, 32, 33, 127, 128, 129, 300}) {
    for (const std::int64_t blocks : {1, 3, 4, 5, 9}) {
      const ScaleLayout layout = {.rows = rows, .blocks = blocks};
      std::int64_t place = 0;
      std::int64_t seen = 0;
      for (std::int64_t tile_row = 0; tile_row < rows; tile_row += 128) {
        for (std::int64_t tile_block = 0; tile_block < blocks; tile_block += 4) {
          for (std::int64_t lane = 0; lane < 32; ++lane) {
            for (std::int64_t row = tile_row + lane; row < tile_row + 128; row += 32) {
              for (std::int64_t block = tile_block; block < tile_block + 4; ++block, ++place) {
                if (row >= rows || block >= blocks) continue;
                ASSERT_EQ(layout.Place(row, block), place) << row << ' ' << block;
                ++seen;
              }
            }
          }
        }
      }
      EXPECT_EQ(seen, rows * blocks);
      EXPECT_EQ(layout.Count(), place);
      EXPECT_EQ(layout.Count() % 512, 0);
    }
  }
}

TEST(Dequantise, MultipliesEachCodeByTheScaleOfItsBlock) {
  const std::vector<std::uint8_t> codes = {0x38, 0xb8, 0x40, 0x44,   // 1 -1 2 3
                                           0x38, 0x38, 0x38, 0x30};  // 1 1 1 0.5
  std::vector<std::uint8_t> scales(512, 0xff);                       // what is no number
  const ScaleLayout layout = {.rows = 2, .blocks = 2};
  scales[static_cast<std::size_t>(layout.Place(0, 0))] = 127;
  scales[static_cast<std::size_t>(layout.Place(0, 1))] = 128;
  scales[static_cast<std::size_t>(layout.Place(1, 0))] = 126;
  scales[static_cast<std::size_t>(layout.Place(1, 1))] = 130;
  Quantised matrix = {.codes = {.format = Format::kF8E4m3, .data = codes.data()},
                      .scales = {.format = Format::kUe8m0, .data = scales.data()},
                      .block = 2,
                      .whole = 4};
  std::vector<float> values(8);
  Dequantise(matrix, 2, 4, values.data(), InThirds);
  EXPECT_EQ(values, (std::vector<float>{4, -4, 16, 24, 2, 2, 32, 16}));
  const float scale = 0.125F;
  matrix = {.codes = matrix.codes, .scales = {.format = Format::kF32, .data = &scale}};
  Dequantise(matrix, 2, 4, values.data(), InThirds);
  EXPECT_EQ(values, (std::vector<float>{0.125, -0.125, 0.25, 0.375, 0.125, 0.125, 0.125, 0.0625}));
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
        Format::kF8E5m2, Format::kF4E2m1, Format::kUe8m0, Format::kUe4m3, Format::kS8, Format::kU8,
        Format::kS32}) {
    const std::int64_t count = format == Format::kF4E2m1 ? 2002 : 1001;
    std::vector<std::byte> one(static_cast<std::size_t>(BytesOf(format, count)));
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
