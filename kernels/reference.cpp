#include "kernels/reference.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "runner/core/random.h"

namespace assay {
namespace {

// The columns that one weighted sum covers; the sampled rows, and columns, of a product; and the
// sampled rows of attention.
constexpr std::int64_t kBlock = 256;
constexpr std::int64_t kSamples = 32;
constexpr std::int64_t kAttentionRows = 64;
// A problem of at most so many multiplications, and a B of at most so many elements, is small:
// each of its elements is a sample.
constexpr std::int64_t kSmallWork = std::int64_t{1} << 24U;
constexpr std::int64_t kSmallMatrix = std::int64_t{1} << 21U;

std::size_t At(std::int64_t index) { return static_cast<std::size_t>(index); }

// A sample of `wanted` different numbers below `count`, the last one among them; all numbers where
// there aren't that many.
std::vector<std::int64_t> ChooseIndices(std::int64_t count, std::int64_t wanted,
                                        std::uint64_t seed) {
  if (count <= wanted) {
    std::vector<std::int64_t> all(At(count));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  std::set<std::int64_t> chosen = {count - 1};
  Random random(seed);
  while (static_cast<std::int64_t>(chosen.size()) < wanted) {
    chosen.insert(static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(count))));
  }
  return {chosen.begin(), chosen.end()};
}

// The outcome of checking one part.
struct Found {
  double error = 0;
  std::int64_t wrong = 0;
  std::optional<std::string> what = {};

  // Checks one answer, which may be off by `allowed`, that is by `unit` times the tolerance.
  template <class Describe>
  void Hold(double answer, double right, double unit, double allowed, const Describe& describe) {
    const double off = std::fabs(answer - right);
    const bool good = std::isfinite(answer) && off <= allowed;
    double relative = off;
    if (unit > 0) relative = off / unit;
    if (!std::isfinite(relative)) relative = std::numeric_limits<double>::max();
    error = std::max(error, relative);
    if (good) return;
    ++wrong;
    if (!what) what = fmt::format("{} is {:.9g}, but should be {:.9g}", describe(), answer, right);
  }
};

// Adds up the outcomes of all parts; the first part that found something wrong describes it.
Checked Total(const std::vector<Found>& parts) {
  Checked total;
  for (const Found& part : parts) {
    total.max_error = std::max(total.max_error, part.error);
    total.wrong += part.wrong;
    if (!total.what) total.what = part.what;
  }
  return total;
}

// The rounding of a result when it is stored: half a unit in the last place, relative to the
// number.
double Roundoff(Format format) {
  switch (format) {
    case Format::kBf16:
      return std::ldexp(1.0, -8);
    case Format::kF16:
      return std::ldexp(1.0, -11);
    case Format::kF32:
      return std::ldexp(1.0, -24);
    case Format::kTf32:
      return std::ldexp(1.0, -11);
    case Format::kF8E4m3:
      return std::ldexp(1.0, -4);
    case Format::kF8E5m2:
      return std::ldexp(1.0, -3);
    case Format::kF4E2m1:
      return std::ldexp(1.0, -2);
    case Format::kUe8m0:
    case Format::kUe4m3:
    case Format::kF64:
    case Format::kS32:
    case Format::kS8:
    case Format::kU8:
      return 0;
  }
  return 0;
}

// The most that the roundings of a sum of k products may add up to, relative to its expected size.
// In f64 the reference is no more precise than the answer, and its sums of sums are less so by a
// few roundings.
double SumRoundoff(const Gemm& gemm) {
  const auto k = static_cast<double>(gemm.k);
  double sums = 4 * std::sqrt(k) * std::ldexp(1.0, gemm.accumulate == Dtype::kF64 ? -50 : -24);
  // Tensor cores cut off what doesn't fit the sum, every few products, instead of rounding it (Fasi
  // and others, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science, 2021), so that
  // the sum falls behind in proportion to k. Cutting every four products costs half of this at
  // most.
  if (gemm.dtype != Dtype::kF32 && gemm.dtype != Dtype::kF64) sums += k * std::ldexp(1.0, -25);
  if (!IsFp8(gemm.dtype)) return sums;
  const double kept = gemm.fast_accumulate ? k : std::min(k, 128.0);
  return sums + kept / 32 * std::ldexp(1.0, -12) * std::sqrt(k / kept);
}

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// A row of sums while its terms are added.
class SumOf {
 public:
  explicit SumOf(std::int64_t count) : sums_{.values = Zeros(count), .spread = Zeros(count)} {}
  void Add(double factor, std::span<const double> row) {
    for (std::size_t d = 0; d < row.size(); ++d) {
      const double term = factor * row[d];
      sums_.values[d] += term;
      sums_.spread[d] += term * term;
    }
  }
  Sums Done() {
    for (double& spread : sums_.spread) spread = std::sqrt(spread);
    return std::move(sums_);
  }

 private:
  static std::vector<double> Zeros(std::int64_t count) { return std::vector<double>(At(count)); }
  Sums sums_;
};

std::string Element(const Gemm& gemm, std::int64_t batch, std::int64_t row, std::int64_t column) {
  const std::string place = fmt::format("C[{}][{}]", row, column);
  return gemm.batch == 1 ? place : fmt::format("{} of batch {}", place, batch);
}

}  // namespace

std::vector<double> ReferenceGemm(const Gemm& gemm, Tensor a, Tensor b) {
  std::vector<double> c(At(gemm.batch * gemm.m * gemm.n));
  for (std::int64_t batch = 0; batch < gemm.batch; ++batch) {
    for (std::int64_t i = 0; i < gemm.m; ++i) {
      for (std::int64_t j = 0; j < gemm.n; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < gemm.k; ++k) {
          sum += a[(batch * gemm.m + i) * gemm.k + k] * b[(batch * gemm.k + k) * gemm.n + j];
        }
        c[At((batch * gemm.m + i) * gemm.n + j)] = sum;
      }
    }
  }
  return c;
}

std::vector<std::byte> Transposed(Tensor matrix, std::int64_t batch, std::int64_t rows,
                                  std::int64_t columns, const ParallelFor& parallel) {
  const std::size_t size = At(BytesOf(matrix.format));
  const auto* from = static_cast<const std::byte*>(matrix.data);
  std::vector<std::byte> transposed(At(batch * rows * columns) * size);
  parallel(batch * columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t column = begin; column < end; ++column) {
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t source = (column / columns * rows + row) * columns + column % columns;
        std::memcpy(&transposed[At(column * rows + row) * size], from + At(source) * size, size);
      }
    }
  });
  return transposed;
}

GemmCheck::GemmCheck(const Gemm& gemm, Tensor b, std::uint64_t seed, const ParallelFor& parallel)
    : gemm_(gemm),
      exact_(gemm.dtype == Dtype::kInt8),
      blocks_((gemm.n + kBlock - 1) / kBlock),
      weights_(At(gemm.n)),
      sums_(At(gemm.batch * gemm.k * blocks_)) {
  for (std::int64_t j = 0; j < gemm.n; ++j) {
    const std::uint64_t draw = RandomAt(seed, static_cast<std::uint64_t>(j));
    const auto magnitude = static_cast<double>(16 + (draw & 15U));
    weights_[At(j)] = (draw & 16U) != 0 ? magnitude : -magnitude;
  }
  const bool small = gemm.batch * gemm.m * gemm.n * gemm.k <= kSmallWork &&
                     gemm.batch * gemm.n * gemm.k <= kSmallMatrix;
  rows_ = ChooseIndices(gemm.m, small ? gemm.m : kSamples, Mix(seed + 1));
  for (std::int64_t batch = 0; batch < gemm.batch; ++batch) {
    const std::uint64_t own = Mix(seed + 2 + static_cast<std::uint64_t>(batch));
    for (const std::int64_t index : ChooseIndices(gemm.n, small ? gemm.n : kSamples, own)) {
      columns_.push_back(
          {.batch = batch, .index = index, .values = std::vector<double>(At(gemm.k))});
    }
  }

  // One pass over B's rows serves the sums and the sampled columns.
  parallel(gemm.batch * gemm.k, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> row(At(gemm.n));
    for (std::int64_t r = begin; r < end; ++r) {
      b.Read(r * gemm.n, gemm.n, row.data());
      for (std::int64_t block = 0; block < blocks_; ++block) {
        const std::int64_t stop = std::min(gemm.n, (block + 1) * kBlock);
        double sum = 0;
        for (std::int64_t j = block * kBlock; j < stop; ++j) sum += row[At(j)] * weights_[At(j)];
        sums_[At(r * blocks_ + block)] = sum;
      }
      for (Column& column : columns_) {
        if (column.batch == r / gemm.k) column.values[At(r % gemm.k)] = row[At(column.index)];
      }
    }
  });

  double squares = 0;
  for (const Column& column : columns_) {
    for (const double value : column.values) squares += value * value;
  }
  b_rms_ = std::sqrt(squares / static_cast<double>(columns_.size() * At(gemm.k)));
}

Checked GemmCheck::Check(Tensor a, Tensor c, const ParallelFor& parallel) const {
  const std::int64_t m = gemm_.m;
  const std::int64_t n = gemm_.n;
  const std::int64_t k = gemm_.k;

  double squares = 0;
  std::vector<double> first(At(k));
  for (const std::int64_t i : rows_) {
    a.Read(i * k, k, first.data());
    for (const double value : first) squares += value * value;
  }
  const double a_rms = std::sqrt(squares / static_cast<double>(rows_.size() * At(k)));
  const double expected = std::sqrt(static_cast<double>(k)) * a_rms * b_rms_;
  const double tolerance = exact_ ? 0 : SumRoundoff(gemm_) + Roundoff(c.format);
  const auto unit_of = [&](double value) {
    return exact_ ? 0 : std::max(std::fabs(value), expected);
  };

  // Eight rows share each row of B's sums while it is near.
  constexpr std::int64_t kTile = 8;
  const std::int64_t tiles_per_batch = (m + kTile - 1) / kTile;
  std::vector<Found> found(At(gemm_.batch * tiles_per_batch));
  parallel(gemm_.batch * tiles_per_batch, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> rows_of_a(At(kTile * k));
    std::vector<double> row_of_c(At(n));
    std::vector<double> sums(At(kTile * blocks_));
    for (std::int64_t tile = begin; tile < end; ++tile) {
      Found& here = found[At(tile)];
      const std::int64_t batch = tile / tiles_per_batch;
      const std::int64_t top = tile % tiles_per_batch * kTile;
      const std::int64_t height = std::min(kTile, m - top);
      a.Read((batch * m + top) * k, height * k, rows_of_a.data());
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::int64_t x = 0; x < k; ++x) {
        const double* from = sums_.data() + (batch * k + x) * blocks_;
        for (std::int64_t i = 0; i < height; ++i) {
          const double factor = rows_of_a[At(i * k + x)];
          double* to = sums.data() + i * blocks_;
          for (std::int64_t block = 0; block < blocks_; ++block) to[block] += factor * from[block];
        }
      }
      for (std::int64_t i = 0; i < height; ++i) {
        const std::int64_t row = top + i;
        c.Read((batch * m + row) * n, n, row_of_c.data());
        if (std::binary_search(rows_.begin(), rows_.end(), row)) {
          for (const Column& column : columns_) {
            if (column.batch != batch) continue;
            const double right = std::inner_product(column.values.begin(), column.values.end(),
                                                    rows_of_a.begin() + i * k, 0.0);
            const double unit = unit_of(right);
            here.Hold(row_of_c[At(column.index)], right, unit, tolerance * unit,
                      [&] { return Element(gemm_, batch, row, column.index); });
          }
        }
        for (std::int64_t block = 0; block < blocks_; ++block) {
          const std::int64_t left = block * kBlock;
          const std::int64_t stop = std::min(n, left + kBlock);
          double sum = 0;
          double variance = 0;
          for (std::int64_t j = left; j < stop; ++j) {
            const double term = weights_[At(j)] * row_of_c[At(j)];
            const double bound = weights_[At(j)] * unit_of(row_of_c[At(j)]);
            sum += term;
            variance += bound * bound;
          }
          const double unit = 3 * std::sqrt(variance);
          here.Hold(sum, sums[At(i * blocks_ + block)], unit, tolerance * unit, [&] {
            return fmt::format("A weighted sum of {} to {}", Element(gemm_, batch, row, left),
                               Element(gemm_, batch, row, stop - 1));
          });
        }
      }
    }
  });

  Checked checked = Total(found);
  checked.checked = gemm_.batch * m * n;
  checked.tolerance = tolerance;
  const bool all = At(m) == rows_.size() && At(gemm_.batch * n) == columns_.size();
  checked.reference = all ? (exact_ ? "exact, every element" : "f64, every element")
                          : fmt::format("{} weighted sums of all, {} elements each",
                                        exact_ ? "exact" : "f64", rows_.size() * columns_.size());
  return checked;
}

AttentionRow ReferenceAttention(const Attention& attention, Tensor q, Tensor k, Tensor v,
                                std::int64_t batch, std::int64_t head, std::int64_t query) {
  const std::int64_t d_qk = attention.head_dim_qk;
  const std::int64_t d_v = attention.head_dim_v;
  const std::int64_t head_kv = head / (attention.heads_q / attention.heads_kv);
  const std::int64_t first_key = (batch * attention.heads_kv + head_kv) * attention.seq_kv;
  const KeyRange keys = KeysSeen(attention, query);

  AttentionRow row;
  SumOf sum(d_v);
  if (keys.first == keys.last) {
    static_cast<Sums&>(row) = sum.Done();
    row.log_sum = -std::numeric_limits<double>::infinity();
    return row;
  }

  const double scale =
      1 / (std::sqrt(static_cast<double>(d_qk)) * ScaleOf(q.format) * ScaleOf(k.format));
  std::vector<double> one_q(At(d_qk));
  std::vector<double> one_k(At(d_qk));
  q.Read(((batch * attention.heads_q + head) * attention.seq_q + query) * d_qk, d_qk, one_q.data());
  std::vector<double> weights;
  for (std::int64_t j = keys.first; j < keys.last; ++j) {
    k.Read((first_key + j) * d_qk, d_qk, one_k.data());
    weights.push_back(Dot(one_q, one_k) * scale);
  }
  // Subtracting the largest score keeps exp in range; the log-sum adds it again.
  const double largest = *std::max_element(weights.begin(), weights.end());
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  row.log_sum = largest + std::log(total);

  std::vector<double> one_v(At(d_v));
  for (std::int64_t j = keys.first; j < keys.last; ++j) {
    v.Read((first_key + j) * d_v, d_v, one_v.data());
    sum.Add(weights[At(j - keys.first)] / total, one_v);
  }
  static_cast<Sums&>(row) = sum.Done();
  return row;
}

Checked CheckAttention(const Attention& attention, Tensor q, Tensor k, Tensor v, Tensor o,
                       double tolerance, std::uint64_t seed, const ParallelFor& parallel) {
  const std::int64_t rows = attention.batch * attention.heads_q * attention.seq_q;
  const std::int64_t d_v = attention.head_dim_v;
  const bool small = rows * attention.seq_kv * (attention.head_dim_qk + d_v) <= kSmallWork / 4;
  const std::vector<std::int64_t> sampled =
      ChooseIndices(rows, small ? rows : kAttentionRows, seed);

  const auto name = [&](std::int64_t row, std::int64_t d) {
    const std::int64_t head = row / attention.seq_q;
    return fmt::format("O[{}] of batch {}, head {}, query {}", d, head / attention.heads_q,
                       head % attention.heads_q, row % attention.seq_q);
  };

  // Parallel parts write to places of their own: one for each sampled row, then one for each row's
  // range.
  std::vector<Found> found(sampled.size() + At(rows));
  parallel(static_cast<std::int64_t>(sampled.size()), [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> answer(At(d_v));
    for (std::int64_t s = begin; s < end; ++s) {
      const std::int64_t row = sampled[At(s)];
      const std::int64_t head = row / attention.seq_q;
      const AttentionRow right =
          ReferenceAttention(attention, q, k, v, head / attention.heads_q, head % attention.heads_q,
                             row % attention.seq_q);
      o.Read(row * d_v, d_v, answer.data());
      for (std::int64_t d = 0; d < d_v; ++d) {
        const double value = right.values[At(d)];
        const double unit = std::max(std::fabs(value), right.spread[At(d)]);
        found[At(s)].Hold(answer[At(d)], value, unit, tolerance * unit,
                          [&] { return name(row, d); });
      }
    }
  });

  // An output is a weighted mean of the values that its query sees.
  const std::int64_t heads_kv = attention.batch * attention.heads_kv;
  std::vector<double> least(At(heads_kv * d_v), 0.0);
  std::vector<double> most(At(heads_kv * d_v), 0.0);
  parallel(heads_kv, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> values(At(d_v));
    for (std::int64_t row = begin * attention.seq_kv; row < end * attention.seq_kv; ++row) {
      v.Read(row * d_v, d_v, values.data());
      for (std::int64_t d = 0; d < d_v; ++d) {
        const std::size_t at = At(row / attention.seq_kv * d_v + d);
        least[at] = std::min(least[at], values[At(d)] * (1 + tolerance));
        most[at] = std::max(most[at], values[At(d)] * (1 + tolerance));
      }
    }
  });
  parallel(rows, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> answer(At(d_v));
    for (std::int64_t row = begin; row < end; ++row) {
      const KeyRange keys = KeysSeen(attention, row % attention.seq_q);
      const std::int64_t head_kv = row / attention.seq_q / (attention.heads_q / attention.heads_kv);
      o.Read(row * d_v, d_v, answer.data());
      for (std::int64_t d = 0; d < d_v; ++d) {
        const bool sees = keys.first < keys.last;
        const double low = sees ? least[At(head_kv * d_v + d)] : 0;
        const double high = sees ? most[At(head_kv * d_v + d)] : 0;
        const double value = answer[At(d)];
        if (value >= low && value <= high) continue;
        Found& here = found[sampled.size() + At(row)];
        ++here.wrong;
        if (here.what) continue;
        here.what = fmt::format("{} is {:.9g}, outside of all its values, {:.9g} to {:.9g}",
                                name(row, d), value, low, high);
      }
    }
  });

  Checked checked = Total(found);
  checked.checked = rows * d_v;
  checked.tolerance = tolerance;
  checked.reference =
      small ? "f64, every element" : fmt::format("range of all, {} rows in f64", sampled.size());
  return checked;
}

namespace {

// A query's row of everything that backward reads, and its products with a key's row.
class QueryRow {
 public:
  QueryRow(const Attention& attention, const BackwardInputs& in, std::int64_t row)
      : scale_(1 / std::sqrt(static_cast<double>(attention.head_dim_qk))),
        q_(Row(in.q, row, attention.head_dim_qk)),
        d_o_(Row(in.d_o, row, attention.head_dim_v)),
        log_sum_(in.log_sums[row]),
        mean_(Dot(d_o_, Row(in.o, row, attention.head_dim_v))) {}

  static std::vector<double> Row(Tensor tensor, std::int64_t row, std::int64_t width) {
    std::vector<double> values(At(width));
    tensor.Read(row * width, width, values.data());
    return values;
  }

  // P and DS are the elements of ReferenceQueryGradient's formulas for this query and a key with
  // these rows.
  double P(const std::vector<double>& k) const { return std::exp(scale_ * Dot(q_, k) - log_sum_); }
  double DS(const std::vector<double>& k, const std::vector<double>& v) const {
    return scale_ * P(k) * (Dot(d_o_, v) - mean_);
  }
  const std::vector<double>& Q() const { return q_; }
  const std::vector<double>& DO() const { return d_o_; }

 private:
  double scale_;
  std::vector<double> q_, d_o_;
  double log_sum_, mean_;
};

}  // namespace

Sums ReferenceQueryGradient(const Attention& attention, const BackwardInputs& in,
                            std::int64_t batch, std::int64_t head, std::int64_t query) {
  const std::int64_t head_kv = head / (attention.heads_q / attention.heads_kv);
  const std::int64_t first_key = (batch * attention.heads_kv + head_kv) * attention.seq_kv;
  const QueryRow row(attention, in, (batch * attention.heads_q + head) * attention.seq_q + query);
  const KeyRange keys = KeysSeen(attention, query);
  SumOf dq(attention.head_dim_qk);
  for (std::int64_t key = first_key + keys.first; key < first_key + keys.last; ++key) {
    const std::vector<double> k = QueryRow::Row(in.k, key, attention.head_dim_qk);
    dq.Add(row.DS(k, QueryRow::Row(in.v, key, attention.head_dim_v)), k);
  }
  return dq.Done();
}

KeyGradients ReferenceKeyGradients(const Attention& attention, const BackwardInputs& in,
                                   std::int64_t batch, std::int64_t head_kv, std::int64_t key) {
  const std::int64_t group = attention.heads_q / attention.heads_kv;
  const std::int64_t first_head = batch * attention.heads_q + head_kv * group;
  const std::int64_t row_kv = (batch * attention.heads_kv + head_kv) * attention.seq_kv + key;
  const std::vector<double> k = QueryRow::Row(in.k, row_kv, attention.head_dim_qk);
  const std::vector<double> v = QueryRow::Row(in.v, row_kv, attention.head_dim_v);
  SumOf dk(attention.head_dim_qk);
  SumOf dv(attention.head_dim_v);
  for (std::int64_t head = first_head; head < first_head + group; ++head) {
    for (std::int64_t query = 0; query < attention.seq_q; ++query) {
      const KeyRange keys = KeysSeen(attention, query);
      if (key < keys.first || key >= keys.last) continue;
      const QueryRow row(attention, in, head * attention.seq_q + query);
      dk.Add(row.DS(k, v), row.Q());
      dv.Add(row.P(k), row.DO());
    }
  }
  return {.dk = dk.Done(), .dv = dv.Done()};
}

Checked CheckAttentionBackward(const Attention& attention, const BackwardInputs& in, Tensor dq,
                               Tensor dk, Tensor dv, double tolerance, std::uint64_t seed,
                               const ParallelFor& parallel) {
  const std::int64_t d_qk = attention.head_dim_qk;
  const std::int64_t d_v = attention.head_dim_v;
  const std::int64_t rows_q = attention.batch * attention.heads_q * attention.seq_q;
  const std::int64_t heads_kv = attention.batch * attention.heads_kv;
  const std::int64_t rows_kv = heads_kv * attention.seq_kv;
  const bool small = rows_q * attention.seq_kv * (d_qk + d_v) <= kSmallWork / 16;
  const std::vector<std::int64_t> queries =
      ChooseIndices(rows_q, small ? rows_q : kAttentionRows, seed);
  const std::vector<std::int64_t> keys =
      ChooseIndices(rows_kv, small ? rows_kv : kAttentionRows, ~seed);

  // Checks row `row` of `answer`, which has `heads` heads of `sequence` rows.
  const auto hold = [&](Found& found, const char* name, Tensor answer, std::int64_t row,
                        std::int64_t heads, std::int64_t sequence, const Sums& right) {
    const auto width = static_cast<std::int64_t>(right.values.size());
    const std::vector<double> values = QueryRow::Row(answer, row, width);
    for (std::size_t d = 0; d < values.size(); ++d) {
      const double value = right.values[d];
      const double unit = std::max(std::fabs(value), right.spread[d]);
      found.Hold(values[d], value, unit, tolerance * unit, [&] {
        return fmt::format("{}[{}] of batch {}, head {}, row {}", name, d, row / sequence / heads,
                           row / sequence % heads, row % sequence);
      });
    }
  };

  // First the sampled rows of O and dQ, then those of dK and dV, then the sums over all of each
  // key-value head.
  std::vector<Found> of_queries(queries.size());
  parallel(static_cast<std::int64_t>(queries.size()), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) {
      Found& found = of_queries[At(s)];
      const std::int64_t row = queries[At(s)];
      const std::int64_t head = row / attention.seq_q;
      const std::int64_t batch = head / attention.heads_q;
      const std::int64_t query = row % attention.seq_q;
      const AttentionRow forward =
          ReferenceAttention(attention, in.q, in.k, in.v, batch, head % attention.heads_q, query);
      hold(found, "O", in.o, row, attention.heads_q, attention.seq_q, forward);
      if (std::isfinite(forward.log_sum)) {
        const double unit = std::max(1.0, std::fabs(forward.log_sum));
        found.Hold(in.log_sums[row], forward.log_sum, unit, std::min(tolerance, 1e-3) * unit,
                   [&] { return fmt::format("the log-sum of head {}, query {}", head, query); });
      }
      hold(found, "dQ", dq, row, attention.heads_q, attention.seq_q,
           ReferenceQueryGradient(attention, in, batch, head % attention.heads_q, query));
    }
  });

  std::vector<Found> of_keys(keys.size());
  parallel(static_cast<std::int64_t>(keys.size()), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) {
      const std::int64_t row = keys[At(s)];
      const std::int64_t head = row / attention.seq_kv;
      const KeyGradients right =
          ReferenceKeyGradients(attention, in, head / attention.heads_kv, head % attention.heads_kv,
                                row % attention.seq_kv);
      hold(of_keys[At(s)], "dK", dk, row, attention.heads_kv, attention.seq_kv, right.dk);
      hold(of_keys[At(s)], "dV", dv, row, attention.heads_kv, attention.seq_kv, right.dv);
    }
  });

  std::vector<Found> of_heads(At(heads_kv));
  parallel(heads_kv, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = begin; head < end; ++head) {
      Found& found = of_heads[At(head)];
      SumOf sum_do(d_v), sum_dv(d_v), sum_dk(d_qk), of_rounding(d_qk);
      SumOf q_dq(1), k_dk(1);
      const std::int64_t rows = attention.heads_q / attention.heads_kv * attention.seq_q;
      for (std::int64_t row = head * rows; row < (head + 1) * rows; ++row) {
        const std::vector<double> row_dq = QueryRow::Row(dq, row, d_qk);
        const KeyRange seen = KeysSeen(attention, row % attention.seq_q);
        if (seen.first == seen.last) {
          hold(found, "dQ", dq, row, attention.heads_q, attention.seq_q, SumOf(d_qk).Done());
          continue;
        }
        const std::vector<double> q = QueryRow::Row(in.q, row, d_qk);
        const std::vector<double> o = QueryRow::Row(in.o, row, d_v);
        const std::vector<double> d_o = QueryRow::Row(in.d_o, row, d_v);
        sum_do.Add(1, d_o);
        for (std::int64_t d = 0; d < d_qk; ++d) q_dq.Add(q[At(d)], std::span(&row_dq[At(d)], 1));
        // dS's row adds up to dO O - dO round(O), divided as the scores are.
        double off = 0;
        for (std::int64_t d = 0; d < d_v; ++d) off += std::pow(d_o[At(d)] * o[At(d)], 2);
        off = Roundoff(in.o.format) * std::sqrt(off / static_cast<double>(d_qk));
        of_rounding.Add(off, q);
      }
      for (std::int64_t row = head * attention.seq_kv; row < (head + 1) * attention.seq_kv; ++row) {
        const std::vector<double> row_dk = QueryRow::Row(dk, row, d_qk);
        const std::vector<double> k = QueryRow::Row(in.k, row, d_qk);
        sum_dk.Add(1, row_dk);
        sum_dv.Add(1, QueryRow::Row(dv, row, d_v));
        for (std::int64_t d = 0; d < d_qk; ++d) k_dk.Add(k[At(d)], std::span(&row_dk[At(d)], 1));
      }
      const auto whole = [&](const Sums& answer, const Sums& right, double unit_of_rounding,
                             std::size_t d, const char* name) {
        const double unit = std::hypot(answer.spread[d], right.spread[d]);
        found.Hold(answer.values[d], right.values[d], unit, 2 * tolerance * unit + unit_of_rounding,
                   [&] { return fmt::format("the sum of {}[{}] of head {}", name, d, head); });
      };
      const Sums dv_sums = sum_dv.Done();
      const Sums do_sums = sum_do.Done();
      for (std::size_t d = 0; d < At(d_v); ++d) whole(dv_sums, do_sums, 0, d, "dV");
      const Sums dk_sums = sum_dk.Done();
      const Sums none = SumOf(d_qk).Done();
      const Sums rounding = of_rounding.Done();
      for (std::size_t d = 0; d < At(d_qk); ++d) {
        whole(dk_sums, none, 4 * rounding.spread[d], d, "dK");
      }
      whole(q_dq.Done(), k_dk.Done(), 0, 0, "Q dQ");
    }
  });

  std::vector<Found> found = of_queries;
  found.insert(found.end(), of_keys.begin(), of_keys.end());
  found.insert(found.end(), of_heads.begin(), of_heads.end());
  Checked checked = Total(found);
  checked.checked = rows_q * d_qk + rows_kv * (d_qk + d_v);
  checked.tolerance = tolerance;
  checked.reference = small ? "f64, every element"
                            : fmt::format("sums of all, {} rows of each in f64", queries.size());
  return checked;
}

std::int64_t PagesOfSequence(const Attention& attention) {
  return (attention.seq_kv + attention.page_size - 1) / attention.page_size;
}

std::vector<std::int32_t> PageTable(const Attention& attention, std::uint64_t seed) {
  std::vector<std::int32_t> table(At(attention.batch * PagesOfSequence(attention)));
  std::iota(table.begin(), table.end(), 0);
  Random random(seed);
  for (std::size_t i = table.size(); i > 1; --i) {  // Fisher and Yates
    std::swap(table[i - 1], table[random.Below(i)]);
  }
  return table;
}

std::vector<std::byte> FromPages(const Attention& attention,
                                 const std::vector<std::int32_t>& page_table, Tensor pool,
                                 std::int64_t head_dim) {
  const std::int64_t row_bytes = head_dim * BytesOf(pool.format);
  const std::int64_t rows = attention.batch * attention.heads_kv * attention.seq_kv;
  std::vector<std::byte> plain(At(rows * row_bytes));
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t token = row % attention.seq_kv;
    const std::int64_t head = row / attention.seq_kv % attention.heads_kv;
    const std::int64_t batch = row / attention.seq_kv / attention.heads_kv;
    const std::int64_t page =
        page_table[At(batch * PagesOfSequence(attention) + token / attention.page_size)];
    const std::int64_t from =
        (page * attention.heads_kv + head) * attention.page_size + token % attention.page_size;
    std::memcpy(&plain[At(row * row_bytes)],
                static_cast<const std::byte*>(pool.data) + from * row_bytes, At(row_bytes));
  }
  return plain;
}

}  // namespace assay
