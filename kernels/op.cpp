#include "kernels/op.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "results/base/error.h"
#include "runner/core/random.h"

namespace assay {
namespace {

// The product of all factors. Throws Error where it doesn't fit 63 bits.
std::int64_t Product(std::initializer_list<std::int64_t> factors) {
  std::int64_t product = 1;
  for (std::int64_t factor : factors) {
    if (__builtin_mul_overflow(product, factor, &product)) {
      throw Error("the work of this case is over 2^63; give smaller sizes");
    }
  }
  return product;
}

// The sum of all terms. Throws Error where it doesn't fit 63 bits.
std::int64_t Sum(std::initializer_list<std::int64_t> terms) {
  std::int64_t sum = 0;
  for (std::int64_t term : terms) {
    if (__builtin_add_overflow(sum, term, &sum)) {
      throw Error("the bytes of this case are over 2^63; give smaller sizes");
    }
  }
  return sum;
}

// The bytes of the product of `factors` elements, without their scales.
std::int64_t BytesOf(Dtype dtype, std::initializer_list<std::int64_t> factors) {
  return (Product({FactsOf(dtype).bits, Product(factors)}) + 7) / 8;
}

// The type that a product's result is stored in.
Dtype ResultOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::kInt8:
      return Dtype::kF32;  // as wide as int32
    case Dtype::kFp8E4m3:
    case Dtype::kFp8E5m2:
    case Dtype::kFp8E5m2E4m3:
    case Dtype::kMxfp8:
    case Dtype::kNvfp4:
      return Dtype::kBf16;
    case Dtype::kF64:
    case Dtype::kF32:
    case Dtype::kTf32:
    case Dtype::kBf16:
    case Dtype::kF16:
    case Dtype::kU8:
    case Dtype::kI32:
    case Dtype::kU32:
    case Dtype::kI64:
    case Dtype::kU64:
      return dtype;
  }
  return dtype;
}

Work WorkOfOp(const Gemm& op) {
  // The bytes of rows of k elements, with the scales of their blocks.
  const auto operand = [&](std::int64_t rows) {
    const std::int64_t block = BlockOf(op.dtype);
    const std::int64_t scales = block == 0 ? 0 : (op.k + block - 1) / block;
    return Sum({BytesOf(op.dtype, {rows, op.k, op.batch}), Product({scales, rows, op.batch})});
  };
  return {.flops = Product({2, op.m, op.n, op.k, op.batch}),
          .bytes_min = Sum(
              {operand(op.m), operand(op.n), BytesOf(ResultOf(op.dtype), {op.m, op.n, op.batch})}),
          .formula = "gemm/2mnk"};
}

Work WorkOfOp(const GroupedGemm& op) {
  std::int64_t weights = 0;
  for (const std::int64_t rows : RowsOfGroups(op.m, op.groups)) weights += rows > 0 ? 1 : 0;
  return {
      .flops = Product({2, op.m, op.n, op.k}),
      .bytes_min = Sum({BytesOf(op.dtype, {op.m, op.k}), BytesOf(op.dtype, {weights, op.k, op.n}),
                        BytesOf(ResultOf(op.dtype), {op.m, op.n})}),
      .formula = "grouped_gemm/2mnk"};
}

// Counts the pairs query by query, which is exact for every mask.
Work WorkOfOp(const Attention& op) {
  std::int64_t pairs = 0;
  for (std::int64_t query = 0; query < op.seq_q; ++query) {
    const KeyRange keys = KeysSeen(op, query);
    pairs = Sum({pairs, keys.last - keys.first});
  }
  const std::int64_t head_dims = Sum({op.head_dim_qk, op.head_dim_v});
  const std::int64_t queries = Product({op.batch, op.heads_q, op.seq_q});
  const std::int64_t q_bytes = BytesOf(op.dtype, {queries, op.head_dim_qk});
  const std::int64_t kv_bytes = BytesOf(op.dtype, {op.batch, op.heads_kv, op.seq_kv, head_dims});
  const std::int64_t o_bytes = BytesOf(op.dtype, {queries, op.head_dim_v});
  if (op.direction == "backward") {
    const std::int64_t deep = Sum({Product({3, op.head_dim_qk}), Product({2, op.head_dim_v})});
    return {.flops = Product({2, op.batch, op.heads_q, pairs, deep}),
            .bytes_min = Sum({Product({2, q_bytes}), Product({2, kv_bytes}), Product({2, o_bytes}),
                              BytesOf(Dtype::kF32, {queries})}),
            .formula = "attention/2pairs(3dqk+2dv)"};
  }
  Work work = {.flops = Product({2, op.batch, op.heads_q, pairs, head_dims}),
               .bytes_min = Sum({q_bytes, kv_bytes, o_bytes}),
               .formula = "attention/2pairs(dqk+dv)"};
  if (op.phase == "decode") {
    // The first query's keys begin no later than any other's, and the last one's end no earlier.
    const std::int64_t seen = KeysSeen(op, op.seq_q - 1).last - KeysSeen(op, 0).first;
    work.bytes = BytesOf(op.dtype, {op.batch, op.heads_kv, seen, head_dims});
    work.formula = "attention/kv+2pairs(dqk+dv)";
  }
  return work;
}

std::int64_t Streams(const Memory& op) {
  return op.pattern == "triad" ? 3 : op.pattern == "copy" ? 2 : 1;
}

Work WorkOfOp(const Memory& op) {
  const std::int64_t streams = Product({op.passes, Streams(op)});
  return {.bytes = Product({streams, op.bytes}),
          .bytes_min = WorkingSetBytes(op),
          .formula = "memory/" + op.pattern + std::to_string(streams) + 'n'};
}

Work WorkOfOp(const Copy& op) {
  const std::int64_t bytes = Product({op.copies, op.bytes});
  return {.bytes = bytes,
          .bytes_min = bytes,
          .formula = "copy/" + (op.copies == 1 ? "" : std::to_string(op.copies)) + 'n'};
}

Work WorkOfOp(const Launch&) { return {.ops = 1, .formula = "launch/1"}; }

Work WorkOfOp(const Peak&) { return {.formula = "peak/ops"}; }

}  // namespace

Gemm GroupGemm(const GroupedGemm& op, std::int64_t rows) {
  return {.dtype = op.dtype,
          .accumulate = op.dtype == Dtype::kF64 ? Dtype::kF64 : Dtype::kF32,
          .m = rows,
          .n = op.n,
          .k = op.k,
          .cache = op.cache,
          .inputs = op.inputs};
}

std::vector<std::int64_t> RowsOfGroups(std::int64_t m, std::int64_t groups) {
  // Where the loads up to each group's end are rounded, they add up to m.
  const auto load_before = [&](std::int64_t group) {
    const double share = static_cast<double>(group) / static_cast<double>(groups);
    return (std::pow(5.0, share) - 1) / 4;  // the sum of a geometric series
  };
  const auto end = [&](std::int64_t group) {
    return std::llround(load_before(group) * static_cast<double>(m));
  };
  std::vector<std::int64_t> rows;
  for (std::int64_t group = 0; group < groups; ++group) rows.push_back(end(group + 1) - end(group));
  Random random(1);
  for (std::size_t i = rows.size(); i > 1; --i) {  // Fisher and Yates
    std::swap(rows[i - 1], rows[random.Below(i)]);
  }
  return rows;
}

std::int64_t ArrayBytes(std::int64_t cache_bytes, std::int64_t memory_bytes) {
  constexpr std::int64_t kLeast = std::int64_t{64} << 20;
  std::int64_t bytes = kLeast;
  while (bytes < 4 * cache_bytes) bytes *= 2;
  while (memory_bytes > 0 && bytes > 4096 && 3 * bytes > memory_bytes / 2) bytes /= 2;
  return bytes;
}

std::int64_t WorkingSetBytes(const Memory& op) { return Product({Streams(op), op.bytes}); }

std::int64_t PassesOver(const Memory& op) {
  constexpr std::int64_t kLeast = std::int64_t{1} << 30;
  const std::int64_t once = std::max<std::int64_t>(1, WorkingSetBytes(op));
  return once < kLeast ? (kLeast + once - 1) / once : 1;
}

KeyRange KeysSeen(const Attention& op, std::int64_t query) {
  if (op.mask == "full") return {.first = 0, .last = op.seq_kv};
  const std::int64_t ahead = op.mask == "causal_top_left" ? 0 : op.seq_kv - op.seq_q;
  const std::int64_t last = std::clamp<std::int64_t>(ahead + query + 1, 0, op.seq_kv);
  const std::int64_t first =
      op.mask == "window" ? std::max<std::int64_t>(ahead + query + 1 - op.window, 0) : 0;
  return {.first = std::min(first, last), .last = last};
}

Work WorkOf(const Op& op) {
  return std::visit([](const auto& which) { return WorkOfOp(which); }, op);
}

int MethodOf(const Op& op) {
  if (const Attention* attention = std::get_if<Attention>(&op)) {
    return attention->phase == "decode" ? 2 : 1;
  }
  const Memory* memory = std::get_if<Memory>(&op);
  return memory != nullptr && memory->passes > 1 ? 2 : 1;
}

}  // namespace assay
