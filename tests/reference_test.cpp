#include "kernels/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/inputs.h"
#include "runner/random.h"

namespace assay {
namespace {

using ::testing::HasSubstr;

// A and B of a GEMM and the C that a library that rounds only once would give.
struct Problem {
  Gemm gemm;
  Format format;
  std::vector<float> a, b;
  std::vector<float> c;

  explicit Problem(const Gemm& shape, Format c_format = Format::kF32)
      : gemm(shape),
        format(c_format),
        a(static_cast<std::size_t>(shape.batch * shape.m * shape.k)),
        b(static_cast<std::size_t>(shape.batch * shape.k * shape.n)) {
    Fill(Format::kF32, "normal", 1, static_cast<std::int64_t>(a.size()), a.data(), Serially);
    Fill(Format::kF32, "normal", 2, static_cast<std::int64_t>(b.size()), b.data(), Serially);
    c.resize(static_cast<std::size_t>(shape.batch * shape.m * shape.n));
    for (std::int64_t r = 0; r < shape.batch * shape.m; ++r) {
      for (std::int64_t x = 0; x < shape.k; ++x) {
        const float factor = a[static_cast<std::size_t>(r * shape.k + x)];
        const std::int64_t row = r / shape.m * shape.k + x;
        for (std::int64_t j = 0; j < shape.n; ++j) {
          c[static_cast<std::size_t>(r * shape.n + j)] +=
              factor * b[static_cast<std::size_t>(row * shape.n + j)];
        }
      }
    }
  }

  Checked Check(std::uint64_t seed = 9) const {
    const GemmCheck check(gemm, {.format = Format::kF32, .data = b.data()}, seed, Serially);
    const Tensor a_tensor = {.format = Format::kF32, .data = a.data()};
    if (format == Format::kF32) {
      return check.Check(a_tensor, {.format = format, .data = c.data()}, Serially);
    }
    std::vector<std::uint16_t> stored;
    for (const float value : c) stored.push_back(Bf16FromF32(value));
    return check.Check(a_tensor, {.format = format, .data = stored.data()}, Serially);
  }

  float& C(std::int64_t row, std::int64_t column) {
    return c[static_cast<std::size_t>(row * gemm.n + column)];
  }
};

// Too large for every element to be a sample.
const Gemm kLarge = {.m = 200, .n = 700, .k = 300};

TEST(Reference, GemmIsTheDefinition) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};     // 2 x 3
  const std::vector<float> b = {7, 8, 9, 10, 11, 12};  // 3 x 2
  EXPECT_EQ(ReferenceGemm({.m = 2, .n = 2, .k = 3}, {.format = Format::kF32, .data = a.data()},
                          {.format = Format::kF32, .data = b.data()}),
            (std::vector<double>{58, 64, 139, 154}));
}

TEST(Reference, EachOfABatchHasItsOwnAAndB) {
  const std::vector<float> a = {2, 3};
  const std::vector<float> b = {5, 7};
  EXPECT_EQ(ReferenceGemm({.m = 1, .n = 1, .k = 1, .batch = 2},
                          {.format = Format::kF32, .data = a.data()},
                          {.format = Format::kF32, .data = b.data()}),
            (std::vector<double>{10, 21}));
}

TEST(GemmCheck, ARightAnswerPassesFarBelowItsTolerance) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    const Checked checked = Problem(kLarge, format).Check();
    EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
    EXPECT_EQ(checked.checked, 200 * 700);
    EXPECT_GT(checked.max_error, 0);
    EXPECT_LT(checked.max_error, checked.tolerance);
    EXPECT_EQ(checked.reference, "f64 weighted sums of all, 1024 elements each");
  }
}

TEST(GemmCheck, F64IsHeldToItsOwnRounding) {
  const Gemm gemm = {.dtype = Dtype::kF64, .accumulate = Dtype::kF64, .m = 40, .n = 300, .k = 500};
  std::vector<double> a(static_cast<std::size_t>(gemm.m * gemm.k));
  std::vector<double> b(static_cast<std::size_t>(gemm.k * gemm.n));
  Fill(Format::kF64, "normal", 1, gemm.m * gemm.k, a.data(), Serially);
  Fill(Format::kF64, "normal", 2, gemm.k * gemm.n, b.data(), Serially);
  const Tensor a_tensor = {.format = Format::kF64, .data = a.data()};
  const Tensor b_tensor = {.format = Format::kF64, .data = b.data()};
  std::vector<double> c = ReferenceGemm(gemm, a_tensor, b_tensor);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const GemmCheck check(gemm, b_tensor, seed, Serially);
    const Tensor answer = {.format = Format::kF64, .data = c.data()};
    EXPECT_EQ(check.Check(a_tensor, answer, Serially).wrong, 0) << seed;
  }
  for (double& value : c) value = static_cast<double>(static_cast<float>(value));
  const GemmCheck check(gemm, b_tensor, 1, Serially);
  const Tensor rounded = {.format = Format::kF64, .data = c.data()};
  EXPECT_GT(check.Check(a_tensor, rounded, Serially).wrong, 100) << "f32 is not f64";
}

TEST(GemmCheck, NoSeedMakesARightAnswerWrong) {
  const Problem f32({.m = 40, .n = 600, .k = 900});
  const Problem bf16({.m = 40, .n = 600, .k = 900}, Format::kBf16);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(f32.Check(seed).wrong, 0);
    EXPECT_EQ(bf16.Check(seed).wrong, 0);
  }
}

TEST(GemmCheck, FewElementsAreCheckedOneByOne) {
  Problem problem({.m = 7, .n = 11, .k = 13, .batch = 3});
  EXPECT_EQ(problem.Check().wrong, 0);
  EXPECT_EQ(problem.Check().reference, "f64, every element");
  problem.c[11 * 7 + 4 * 11 + 2] *= 1.0001F;
  const Checked checked = problem.Check();
  EXPECT_GT(checked.wrong, 0);
  EXPECT_THAT(checked.what.value_or(""), HasSubstr("C[4][2] of batch 1 is "));
}

// By a thousandth of a standard deviation.
TEST(GemmCheck, AnySingleWrongElementIsFound) {
  Problem problem(kLarge);
  Random random(1);
  for (int i = 0; i < 40; ++i) {
    float& element = problem.C(static_cast<std::int64_t>(random.Below(200)),
                               static_cast<std::int64_t>(random.Below(700)));
    const float right = std::exchange(element, element + 0.001F * std::sqrt(300.0F));
    const Checked checked = problem.Check();
    EXPECT_GE(checked.wrong, 1);
    EXPECT_TRUE(checked.what.has_value());
    element = right;
  }
}

// Half a standard deviation in one element stands out from the rounding of 256 of them.
TEST(GemmCheck, ASingleWrongElementIsFoundDespiteTheRoundingOfBf16) {
  Problem problem(kLarge, Format::kBf16);
  Random random(2);
  for (int i = 0; i < 40; ++i) {
    float& element = problem.C(static_cast<std::int64_t>(random.Below(200)),
                               static_cast<std::int64_t>(random.Below(700)));
    const float right = std::exchange(element, element + 0.5F * std::sqrt(300.0F));
    EXPECT_GE(problem.Check().wrong, 1);
    element = right;
  }
}

TEST(GemmCheck, AWrongRowIsFound) {
  Problem problem(kLarge);
  for (std::int64_t j = 0; j < 700; ++j) problem.C(123, j) = problem.C(122, j);
  const Checked checked = problem.Check();
  EXPECT_GE(checked.wrong, 3);  // each of its three sums
  EXPECT_THAT(checked.what.value_or(""), HasSubstr("C[123]["));
}

TEST(GemmCheck, ASwappedPairIsFound) {
  for (const std::int64_t other : {42, 600}) {  // of the same sum as column 41, and of another
    Problem problem(kLarge);
    std::swap(problem.C(17, 41), problem.C(17, other));
    EXPECT_GE(problem.Check().wrong, 1) << other;
  }
  Problem problem(kLarge);
  std::swap(problem.C(17, 41), problem.C(18, 41));
  EXPECT_GE(problem.Check().wrong, 2);
}

TEST(GemmCheck, WhatWasNeverWrittenIsWrong) {
  Problem problem(kLarge);
  for (const float value : {0.0F, std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity(), 1e30F}) {
    for (std::int64_t i = 0; i < 4; ++i) {
      float& element = problem.C(50 * i + 11, 170 * i + 13);
      const float right = std::exchange(element, value);
      EXPECT_GE(problem.Check().wrong, 1) << value;
      element = right;
    }
  }
}

TEST(GemmCheck, IntegersMayNotBeOffByOne) {
  const Gemm gemm = {.dtype = Dtype::kInt8, .m = 200, .n = 700, .k = 300};
  std::vector<std::uint8_t> a(200 * 300);
  std::vector<std::int8_t> b(300 * 700);
  Fill(Format::kU8, "normal", 1, 200 * 300, a.data(), Serially);
  Fill(Format::kS8, "normal", 2, 300 * 700, b.data(), Serially);
  std::vector<std::int32_t> c(200 * 700);
  for (std::size_t i = 0; i < 200; ++i) {
    for (std::size_t k = 0; k < 300; ++k) {
      for (std::size_t j = 0; j < 700; ++j) c[i * 700 + j] += a[i * 300 + k] * b[k * 700 + j];
    }
  }
  const GemmCheck check(gemm, {.format = Format::kS8, .data = b.data()}, 9, Serially);
  const auto checked = [&] {
    return check.Check({.format = Format::kU8, .data = a.data()},
                       {.format = Format::kS32, .data = c.data()}, Serially);
  };
  EXPECT_EQ(checked().wrong, 0);
  EXPECT_EQ(checked().max_error, 0);
  EXPECT_EQ(checked().tolerance, 0);
  c[150 * 700 + 333] += 1;
  EXPECT_EQ(checked().wrong, 1);
}

TEST(GemmCheck, ZerosMustGiveZeros) {
  const std::vector<float> zeros(100);
  std::vector<float> c(100);
  const GemmCheck check({.m = 10, .n = 10, .k = 10}, {.format = Format::kF32, .data = zeros.data()},
                        1, Serially);
  const Tensor a = {.format = Format::kF32, .data = zeros.data()};
  EXPECT_EQ(check.Check(a, {.format = Format::kF32, .data = c.data()}, Serially).wrong, 0);
  c[5] = 1e-30F;
  EXPECT_GE(check.Check(a, {.format = Format::kF32, .data = c.data()}, Serially).wrong, 1);
}

// One head, two queries, three keys of one element each; scale 1.
struct Tiny {
  Attention attention = {
      .dtype = Dtype::kF32, .seq_q = 2, .seq_kv = 3, .head_dim_qk = 1, .head_dim_v = 1};
  std::vector<float> q = {1, 2};
  std::vector<float> k = {0.5F, -1, 1};
  std::vector<float> v = {10, 20, 40};

  double Out(std::int64_t query) const {
    return ReferenceAttention(attention, {.format = Format::kF32, .data = q.data()},
                              {.format = Format::kF32, .data = k.data()},
                              {.format = Format::kF32, .data = v.data()}, 0, 0, query)
        .values[0];
  }
};

TEST(Reference, AttentionIsTheDefinitionUnderEachMask) {
  Tiny tiny;
  const auto softmax = [](double q, std::vector<std::pair<double, double>> keys_and_values) {
    double total = 0;
    double sum = 0;
    for (const auto& [k, v] : keys_and_values) {
      total += std::exp(q * k);
      sum += std::exp(q * k) * v;
    }
    return sum / total;
  };
  EXPECT_DOUBLE_EQ(tiny.Out(0), softmax(1, {{0.5, 10}, {-1, 20}, {1, 40}}));
  EXPECT_DOUBLE_EQ(tiny.Out(1), softmax(2, {{0.5, 10}, {-1, 20}, {1, 40}}));
  tiny.attention.mask = "causal_top_left";
  EXPECT_DOUBLE_EQ(tiny.Out(0), 10);
  EXPECT_DOUBLE_EQ(tiny.Out(1), softmax(2, {{0.5, 10}, {-1, 20}}));
  tiny.attention.mask = "causal_bottom_right";
  EXPECT_DOUBLE_EQ(tiny.Out(0), softmax(1, {{0.5, 10}, {-1, 20}}));
  EXPECT_DOUBLE_EQ(tiny.Out(1), softmax(2, {{0.5, 10}, {-1, 20}, {1, 40}}));
  tiny.attention.mask = "window";
  tiny.attention.window = 2;
  EXPECT_DOUBLE_EQ(tiny.Out(0), softmax(1, {{0.5, 10}, {-1, 20}}));
  EXPECT_DOUBLE_EQ(tiny.Out(1), softmax(2, {{-1, 20}, {1, 40}}));
}

TEST(Reference, AttentionDividesByTheRootOfTheHeadDimension) {
  const std::vector<float> q = {1, 0, 0, 0};
  const std::vector<float> k = {2, 0, 0, 0, 0, 0, 0, 0};
  const std::vector<float> v = {1, 0};
  const Attention attention = {.seq_q = 1, .seq_kv = 2, .head_dim_qk = 4, .head_dim_v = 1};
  const AttentionRow row = ReferenceAttention(attention, {.format = Format::kF32, .data = q.data()},
                                              {.format = Format::kF32, .data = k.data()},
                                              {.format = Format::kF32, .data = v.data()}, 0, 0, 0);
  EXPECT_DOUBLE_EQ(row.values[0], std::exp(1.0) / (std::exp(1.0) + 1));  // 2 · 1 / √4 = 1
  EXPECT_DOUBLE_EQ(row.spread[0], row.values[0]);
}

TEST(Reference, AQueryWithoutKeysGivesZero) {
  Tiny tiny;
  tiny.q = {1, 2, 3, 4};
  tiny.attention.seq_q = 4;  // the first of four sees no key of three, aligned to the last
  tiny.attention.mask = "causal_bottom_right";
  EXPECT_EQ(tiny.Out(0), 0);
  EXPECT_DOUBLE_EQ(tiny.Out(1), 10);
}

TEST(Reference, GroupsOfQueryHeadsShareAKeyValueHead) {
  const Attention attention = {
      .heads_q = 4, .heads_kv = 2, .seq_q = 1, .seq_kv = 1, .head_dim_qk = 1, .head_dim_v = 1};
  const std::vector<float> ones = {1, 1, 1, 1};
  const std::vector<float> v = {10, 20};
  const auto out = [&](std::int64_t head) {
    return ReferenceAttention(attention, {.format = Format::kF32, .data = ones.data()},
                              {.format = Format::kF32, .data = ones.data()},
                              {.format = Format::kF32, .data = v.data()}, 0, head, 0)
        .values[0];
  };
  EXPECT_EQ(out(0), 10);
  EXPECT_EQ(out(1), 10);
  EXPECT_EQ(out(2), 20);
  EXPECT_EQ(out(3), 20);
}

TEST(AttentionCheck, AWrongElementIsFoundWhereItIs) {
  const Attention attention = {.batch = 2,
                               .heads_q = 2,
                               .heads_kv = 1,
                               .seq_q = 5,
                               .seq_kv = 3,
                               .head_dim_qk = 2,
                               .head_dim_v = 2,
                               .mask = "causal_bottom_right"};
  std::vector<float> q(40), k(12), v(12), o(40);
  Fill(Format::kF32, "normal", 1, 40, q.data(), Serially);
  Fill(Format::kF32, "normal", 2, 12, k.data(), Serially);
  Fill(Format::kF32, "normal", 3, 12, v.data(), Serially);
  const Tensor tq = {.format = Format::kF32, .data = q.data()};
  const Tensor tk = {.format = Format::kF32, .data = k.data()};
  const Tensor tv = {.format = Format::kF32, .data = v.data()};
  for (std::int64_t row = 0; row < 20; ++row) {
    const std::vector<double> right =
        ReferenceAttention(attention, tq, tk, tv, row / 10, row / 5 % 2, row % 5).values;
    o[static_cast<std::size_t>(row * 2)] = static_cast<float>(right[0]);
    o[static_cast<std::size_t>(row * 2 + 1)] = static_cast<float>(right[1]);
  }
  const auto check = [&] {
    return CheckAttention(attention, tq, tk, tv, {.format = Format::kF32, .data = o.data()}, 1e-4,
                          5, Serially);
  };
  EXPECT_EQ(check().wrong, 0) << check().what.value_or("");
  EXPECT_EQ(check().checked, 40);

  const float right = std::exchange(o[2 * (10 + 5 + 4) + 1], 7.0F);
  EXPECT_GE(check().wrong, 1);
  EXPECT_THAT(check().what.value_or(""), HasSubstr("O[1] of batch 1, head 1, query 4 is 7"));
  o[2 * (10 + 5 + 4) + 1] = right;

  o[0] = 1e-6F;  // query 0 sees no key
  EXPECT_GE(check().wrong, 1);
}

// Most rows of a large problem are no sample; all are held against the range of their values.
TEST(AttentionCheck, AnElementOutsideOfAllValuesIsFoundInAnyRow) {
  const Attention attention = {.dtype = Dtype::kF32,
                               .heads_q = 1,
                               .heads_kv = 1,
                               .seq_q = 1000,
                               .seq_kv = 1000,
                               .head_dim_qk = 4,
                               .head_dim_v = 4};
  const std::vector<float> zeros(4000);
  std::vector<float> ones(4000, 1.0F);
  std::vector<float> o(4000, 1.0F);
  const Tensor tz = {.format = Format::kF32, .data = zeros.data()};
  const auto check = [&] {
    return CheckAttention(attention, tz, tz, {.format = Format::kF32, .data = ones.data()},
                          {.format = Format::kF32, .data = o.data()}, 1e-4, 5, Serially);
  };
  EXPECT_EQ(check().wrong, 0);
  EXPECT_EQ(check().reference, "range of all, 64 rows in f64");
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), 1.01F, -0.5F}) {
    o[1234] = value;
    EXPECT_GE(check().wrong, 1) << value;
  }
}

}  // namespace
}  // namespace assay
