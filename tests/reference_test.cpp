#include "kernels/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/inputs.h"
#include "runner/core/random.h"

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
    const bool is_f16 = format == Format::kF16;
    for (const float value : c) stored.push_back(is_f16 ? F16FromF32(value) : Bf16FromF32(value));
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

// A tensor core may cut the sum off, instead of rounding it, after every four products.
TEST(GemmCheck, Tf32MayBeOffByWhatCutSumsLose) {
  Problem problem({.dtype = Dtype::kTf32, .m = 4, .n = 40, .k = 8192});
  const auto cut = [](double value) {
    const auto nearest = static_cast<float>(value);
    return std::fabs(nearest) > std::fabs(value) ? std::nextafter(nearest, 0.0F) : nearest;
  };
  for (std::int64_t row = 0; row < problem.gemm.m; ++row) {
    for (std::int64_t column = 0; column < problem.gemm.n; ++column) {
      float sum = 0;
      for (std::int64_t x = 0; x < problem.gemm.k; x += 4) {
        double four = sum;
        for (std::int64_t i = x; i < x + 4; ++i) {
          four += double{problem.a[static_cast<std::size_t>(row * problem.gemm.k + i)]} *
                  double{problem.b[static_cast<std::size_t>(i * problem.gemm.n + column)]};
        }
        sum = cut(four);
      }
      problem.C(row, column) = sum;
    }
  }
  const Checked checked = problem.Check();
  EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
  EXPECT_GT(checked.max_error, 4 * std::sqrt(8192) * std::ldexp(1.0, -24)) << "rounding alone";
  problem.gemm.dtype = Dtype::kF32;
  EXPECT_GT(problem.Check().wrong, 0) << "f32's own units round";
}

// The errors that a check allows besides half a unit of bf16, by the formulas of METRICS.md by
// hand.
TEST(GemmCheck, Fp8MayBeOffByWhatSumsOfFourteenBitsLose) {
  const auto tolerance = [](Dtype dtype, bool fast) {
    const Gemm gemm = {.dtype = dtype, .fast_accumulate = fast, .m = 1, .n = 1, .k = 4096};
    const std::vector<float> ones(4096, 1.0F);
    const Tensor tensor = {.format = Format::kF32, .data = ones.data()};
    const std::uint16_t c = Bf16FromF32(4096);
    return GemmCheck(gemm, tensor, 1, Serially)
               .Check(tensor, {.format = Format::kBf16, .data = &c}, Serially)
               .tolerance -
           1.0 / 256;
  };
  const double sums = 4 * 64 * std::ldexp(1.0, -24) + 4096 * std::ldexp(1.0, -25);
  EXPECT_DOUBLE_EQ(tolerance(Dtype::kBf16, false), sums);
  EXPECT_DOUBLE_EQ(tolerance(Dtype::kNvfp4, false), sums);
  for (const Dtype dtype : {Dtype::kFp8E4m3, Dtype::kFp8E5m2E4m3}) {
    EXPECT_DOUBLE_EQ(tolerance(dtype, false), sums + 4.0 / 4096 * std::sqrt(32));
    EXPECT_DOUBLE_EQ(tolerance(dtype, true), sums + 128.0 / 4096);
  }
}

// Half a unit of f16 is an eighth of one of bf16, beside the same sums.
TEST(GemmCheck, F16MayBeOffByHalfAUnitOfItsOwn) {
  const Gemm gemm = {.dtype = Dtype::kF16, .m = 1, .n = 1, .k = 4096};
  const std::vector<float> ones(4096, 1.0F);
  const Tensor tensor = {.format = Format::kF32, .data = ones.data()};
  const auto check = [&](float value) {
    const std::uint16_t c = F16FromF32(value);
    return GemmCheck(gemm, tensor, 1, Serially)
        .Check(tensor, {.format = Format::kF16, .data = &c}, Serially);
  };
  EXPECT_DOUBLE_EQ(check(4096).tolerance,
                   1.0 / 2048 + 4 * 64 * std::ldexp(1.0, -24) + 4096 * std::ldexp(1.0, -25));
  EXPECT_EQ(check(4096).wrong, 0);
  EXPECT_GT(check(4112).wrong, 0) << "4 units of f16, and half of one of bf16";
}

TEST(GemmCheck, NoSeedMakesARightAnswerWrong) {
  const Problem f32({.m = 40, .n = 600, .k = 900});
  const Problem bf16({.m = 40, .n = 600, .k = 900}, Format::kBf16);
  const Problem f16({.m = 40, .n = 600, .k = 900}, Format::kF16);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(f32.Check(seed).wrong, 0);
    EXPECT_EQ(bf16.Check(seed).wrong, 0);
    EXPECT_EQ(f16.Check(seed).wrong, 0);
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

// The element is wrong by a thousandth of a standard deviation.
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

// Half a standard deviation in one element stands out from the rounding of 256 of them to bf16, and
// an eighth of that from the rounding to f16.
TEST(GemmCheck, ASingleWrongElementIsFoundDespiteTheRoundingOfSixteenBits) {
  for (const auto& [format, off] : {std::pair(Format::kBf16, 0.5F), {Format::kF16, 0.0625F}}) {
    Problem problem(kLarge, format);
    Random random(2);
    for (int i = 0; i < 40; ++i) {
      float& element = problem.C(static_cast<std::int64_t>(random.Below(200)),
                                 static_cast<std::int64_t>(random.Below(700)));
      const float right = std::exchange(element, element + off * std::sqrt(300.0F));
      EXPECT_GE(problem.Check().wrong, 1);
      element = right;
    }
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

// ---- Backward

using Numbers = std::vector<double>;

Tensor TensorOf(const Numbers& values) { return {.format = Format::kF64, .data = values.data()}; }

// A small problem, what the forward made of it, and its gradients by the reference.
struct Backward {
  Attention attention;
  Numbers q, k, v, d_o;
  Numbers o = {}, log_sums = {};
  Numbers dq = {}, dk = {}, dv = {};

  explicit Backward(const Attention& shape)
      : attention(shape),
        q(Normal(1, shape.heads_q * shape.seq_q * shape.head_dim_qk)),
        k(Normal(2, shape.heads_kv * shape.seq_kv * shape.head_dim_qk)),
        v(Normal(3, shape.heads_kv * shape.seq_kv * shape.head_dim_v)),
        d_o(Normal(4, shape.heads_q * shape.seq_q * shape.head_dim_v)) {
    Forward();
    const auto append = [](Numbers& to, const Sums& row) {
      to.insert(to.end(), row.values.begin(), row.values.end());
    };
    for (std::int64_t b = 0; b < shape.batch; ++b) {
      for (std::int64_t h = 0; h < shape.heads_q; ++h) {
        for (std::int64_t i = 0; i < shape.seq_q; ++i) {
          append(dq, ReferenceQueryGradient(attention, In(), b, h, i));
        }
      }
      for (std::int64_t h = 0; h < shape.heads_kv; ++h) {
        for (std::int64_t j = 0; j < shape.seq_kv; ++j) {
          const KeyGradients row = ReferenceKeyGradients(attention, In(), b, h, j);
          append(dk, row.dk);
          append(dv, row.dv);
        }
      }
    }
  }

  Numbers Normal(std::uint64_t seed, std::int64_t count) const {
    Numbers values(static_cast<std::size_t>(attention.batch * count));
    Fill(Format::kF64, "normal", seed, attention.batch * count, values.data(), Serially);
    return values;
  }

  void Forward() {
    o.clear();
    log_sums.clear();
    for (std::int64_t row = 0; row < attention.batch * attention.heads_q * attention.seq_q; ++row) {
      const std::int64_t head = row / attention.seq_q;
      const AttentionRow out = ReferenceAttention(attention, TensorOf(q), TensorOf(k), TensorOf(v),
                                                  head / attention.heads_q,
                                                  head % attention.heads_q, row % attention.seq_q);
      o.insert(o.end(), out.values.begin(), out.values.end());
      log_sums.push_back(out.log_sum);
    }
  }

  // The loss whose gradients they are: sum(O dO).
  double Loss() {
    Forward();
    double loss = 0;
    for (std::size_t i = 0; i < o.size(); ++i) loss += o[i] * d_o[i];
    return loss;
  }

  BackwardInputs In() const {
    return {.q = TensorOf(q),
            .k = TensorOf(k),
            .v = TensorOf(v),
            .o = TensorOf(o),
            .log_sums = TensorOf(log_sums),
            .d_o = TensorOf(d_o)};
  }

  Checked Check(double tolerance) const {
    return CheckAttentionBackward(attention, In(), TensorOf(dq), TensorOf(dk), TensorOf(dv),
                                  tolerance, 5, Serially);
  }
};

const Attention kShared = {.batch = 2,
                           .heads_q = 4,
                           .heads_kv = 2,
                           .seq_q = 5,
                           .seq_kv = 7,
                           .head_dim_qk = 6,
                           .head_dim_v = 3,
                           .direction = "backward"};

Attention Masked(Attention attention, const std::string& mask) {
  attention.mask = mask;
  attention.window = mask == "window" ? 3 : 0;
  return attention;
}

TEST(Reference, GradientsAreTheLimitsOfDifferences) {
  constexpr double kStep = 1e-5;
  Attention tall = kShared;  // some queries see no key
  tall.seq_q = 9;
  for (const Attention& shape : {kShared, tall}) {
    for (const char* mask : {"full", "causal_top_left", "causal_bottom_right", "window"}) {
      Backward problem(Masked(shape, mask));
      const auto compare = [&](Numbers& inputs, const Numbers& gradient, const char* name) {
        ASSERT_EQ(inputs.size(), gradient.size());
        for (std::size_t i = 0; i < inputs.size(); ++i) {
          const double value = inputs[i];
          inputs[i] = value + kStep;
          const double above = problem.Loss();
          inputs[i] = value - kStep;
          const double below = problem.Loss();
          inputs[i] = value;
          EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-8)
              << mask << ", " << name << '[' << i << ']';
        }
      };
      compare(problem.q, problem.dq, "dQ");
      compare(problem.k, problem.dk, "dK");
      compare(problem.v, problem.dv, "dV");
    }
  }
}

TEST(BackwardCheck, TheReferenceIsRightByItsOwnCheckUnderEveryMask) {
  for (const char* mask : {"full", "causal_top_left", "causal_bottom_right", "window"}) {
    Attention tall = Masked(kShared, mask);
    tall.seq_q = 9;
    const Checked checked = Backward(tall).Check(1e-9);
    EXPECT_EQ(checked.wrong, 0) << mask << ": " << checked.what.value_or("");
    EXPECT_EQ(checked.checked, 2 * 4 * 9 * 6 + 2 * 2 * 7 * (6 + 3));
    EXPECT_EQ(checked.reference, "f64, every element");
  }
}

TEST(BackwardCheck, AWrongElementIsFoundWhereItIs) {
  Backward problem(Masked(kShared, "causal_bottom_right"));
  const auto what = [&] { return problem.Check(1e-6).what.value_or("nothing"); };
  const auto spoil = [&](Numbers& numbers, std::size_t i) {
    const double right = std::exchange(numbers[i], numbers[i] + 0.125);
    const std::string found = what();
    numbers[i] = right;
    return found;
  };
  EXPECT_THAT(spoil(problem.dq, (4 + 3) * 5 * 6 + 2 * 6 + 1),
              HasSubstr("dQ[1] of batch 1, head 3, row 2"));
  EXPECT_THAT(spoil(problem.dk, 7 * 6 + 5), HasSubstr("dK[5] of batch 0, head 1, row 0"));
  EXPECT_THAT(spoil(problem.dv, 0), HasSubstr("dV[0] of batch 0, head 0, row 0"));
  EXPECT_THAT(spoil(problem.o, 4), HasSubstr("O[1] of batch 0, head 0, row 1"));
  EXPECT_THAT(spoil(problem.log_sums, 2), HasSubstr("the log-sum of head 0, query 2"));
  EXPECT_EQ(what(), "nothing");
}

// Backward as a library computes it: in f32, with the weights and dS rounded to bf16 before the
// second products, and everything stored as bf16. The problem is large, so that few rows are
// samples.
struct Bf16Backward {
  static constexpr std::int64_t kRows = 512;
  static constexpr std::int64_t kDim = 16;
  Attention attention = {.heads_q = 2,
                         .heads_kv = 1,
                         .seq_q = kRows,
                         .seq_kv = kRows,
                         .head_dim_qk = kDim,
                         .head_dim_v = kDim,
                         .direction = "backward"};
  std::vector<std::uint16_t> q, k, v, d_o, o, dq, dk, dv;
  std::vector<float> log_sums;

  static double Rounded(double value) {
    return F32FromBf16(Bf16FromF32(static_cast<float>(value)));
  }
  static std::vector<std::uint16_t> Normal(std::uint64_t seed, std::int64_t count) {
    std::vector<std::uint16_t> values(static_cast<std::size_t>(count));
    Fill(Format::kBf16, "normal", seed, count, values.data(), Serially);
    return values;
  }
  static Tensor Of(const std::vector<std::uint16_t>& values) {
    return {.format = Format::kBf16, .data = values.data()};
  }

  explicit Bf16Backward(const std::string& mask)
      : q(Normal(1, 2 * kRows * kDim)),
        k(Normal(2, kRows * kDim)),
        v(Normal(3, kRows * kDim)),
        d_o(Normal(4, 2 * kRows * kDim)) {
    attention = Masked(attention, mask);
    const auto at = [](const std::vector<std::uint16_t>& m, std::int64_t row, std::int64_t d) {
      return static_cast<double>(F32FromBf16(m[static_cast<std::size_t>(row * kDim + d)]));
    };
    Numbers dk_sum(kRows * kDim), dv_sum(kRows * kDim);
    for (std::int64_t row = 0; row < 2 * kRows; ++row) {
      const KeyRange keys = KeysSeen(attention, row % kRows);
      const AttentionRow out =
          ReferenceAttention(attention, Of(q), Of(k), Of(v), 0, row / kRows, row % kRows);
      log_sums.push_back(static_cast<float>(out.log_sum));
      double mean = 0;
      for (std::int64_t d = 0; d < kDim; ++d) {
        o.push_back(Bf16FromF32(static_cast<float>(out.values[static_cast<std::size_t>(d)])));
        mean += at(o, row, d) * at(d_o, row, d);
      }
      Numbers dq_row(kDim);
      for (std::int64_t key = keys.first; key < keys.last; ++key) {
        double score = 0;
        double dp = 0;
        for (std::int64_t d = 0; d < kDim; ++d) {
          score += at(q, row, d) * at(k, key, d) / 4;
          dp += at(d_o, row, d) * at(v, key, d);
        }
        const double p = std::exp(score - log_sums.back());
        const double ds = Rounded(p * (dp - mean) / 4);
        for (std::int64_t d = 0; d < kDim; ++d) {
          dq_row[static_cast<std::size_t>(d)] += ds * at(k, key, d);
          dk_sum[static_cast<std::size_t>(key * kDim + d)] += ds * at(q, row, d);
          dv_sum[static_cast<std::size_t>(key * kDim + d)] += Rounded(p) * at(d_o, row, d);
        }
      }
      for (const double value : dq_row) dq.push_back(Bf16FromF32(static_cast<float>(value)));
    }
    for (const double value : dk_sum) dk.push_back(Bf16FromF32(static_cast<float>(value)));
    for (const double value : dv_sum) dv.push_back(Bf16FromF32(static_cast<float>(value)));
  }

  Checked Check() const {
    return CheckAttentionBackward(attention,
                                  {.q = Of(q),
                                   .k = Of(k),
                                   .v = Of(v),
                                   .o = Of(o),
                                   .log_sums = {.format = Format::kF32, .data = log_sums.data()},
                                   .d_o = Of(d_o)},
                                  Of(dq), Of(dk), Of(dv), std::ldexp(1.0, -6), 5, Serially);
  }
};

TEST(BackwardCheck, Bf16ArithmeticPassesAndWhatIsNoSampleIsHeldAsWell) {
  for (const char* mask : {"full", "causal_bottom_right", "window"}) {
    Bf16Backward problem(mask);
    const Checked right = problem.Check();
    EXPECT_EQ(right.wrong, 0) << mask << ": " << right.what.value_or("");
    EXPECT_EQ(right.reference, "sums of all, 64 rows of each in f64");
    for (std::vector<std::uint16_t>* gradient : {&problem.dq, &problem.dk, &problem.dv}) {
      const std::uint16_t value = std::exchange((*gradient)[100], std::uint16_t{0xffff});
      EXPECT_GE(problem.Check().wrong, 1) << "a NaN that was never written over";
      (*gradient)[100] = value;
      std::vector<std::uint16_t> kept(gradient->begin() + 1600, gradient->begin() + 3200);
      std::fill(gradient->begin() + 1600, gradient->begin() + 3200, std::uint16_t{0});
      EXPECT_GE(problem.Check().wrong, 1) << "a tile left out";
      std::copy(kept.begin(), kept.end(), gradient->begin() + 1600);
    }
  }
}

// ---- Pages

TEST(Pages, ATableIsARandomOrderOfAllPages) {
  const Attention attention = {.batch = 3, .seq_kv = 50, .phase = "decode", .page_size = 16};
  EXPECT_EQ(PagesOfSequence(attention), 4);
  std::vector<std::int32_t> table = PageTable(attention, 1);
  EXPECT_EQ(table, PageTable(attention, 1));
  EXPECT_NE(table, PageTable(attention, 2));
  EXPECT_FALSE(std::is_sorted(table.begin(), table.end()));
  std::sort(table.begin(), table.end());
  for (std::int32_t page = 0; page < 12; ++page) {
    EXPECT_EQ(table.at(static_cast<std::size_t>(page)), page);
  }
}

TEST(Pages, PutInOrderEveryTokenIsWhereItsPageSays) {
  const Attention attention = {.batch = 2,
                               .heads_q = 4,
                               .heads_kv = 2,
                               .seq_q = 1,
                               .seq_kv = 5,
                               .phase = "decode",
                               .page_size = 2};
  // Each number says where it belongs: batch, head, token, element.
  const std::vector<std::int32_t> table = {3, 0, 5, 1, 4, 2};
  std::vector<float> pool(6 * 2 * 2 * 3, -1);
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 2; ++h) {
      for (int t = 0; t < 5; ++t) {
        for (int d = 0; d < 3; ++d) {
          const int page = table[static_cast<std::size_t>(b * 3 + t / 2)];
          pool[static_cast<std::size_t>(((page * 2 + h) * 2 + t % 2) * 3 + d)] =
              static_cast<float>(1000 * b + 100 * h + 10 * t + d);
        }
      }
    }
  }
  const std::vector<std::byte> plain =
      FromPages(attention, table, {.format = Format::kF32, .data = pool.data()}, 3);
  const Tensor in_order = {.format = Format::kF32, .data = plain.data()};
  ASSERT_EQ(plain.size(), 2U * 2 * 5 * 3 * sizeof(float));
  for (int i = 0; i < 2 * 2 * 5 * 3; ++i) {
    EXPECT_EQ(in_order[i], 1000 * (i / 30) + 100 * (i / 15 % 2) + 10 * (i / 3 % 5) + i % 3);
  }
}

}  // namespace
}  // namespace assay
