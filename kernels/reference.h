// The reference: what the right answer is, computed in f64, slowly and obviously; and the checks
// that hold an answer against it. A whole answer is checked at a cost that is an order less than
// computing it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/inputs.h"
#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay {

// Computes C = A · B, every element, row major, one batch element after the other.
std::vector<double> ReferenceGemm(const Gemm& gemm, Tensor a, Tensor b);

// Transposes each matrix of a batch, from `rows` rows of `columns` elements to `columns` rows of
// `rows`. It makes the B that a check wants from weights that lie as frameworks keep them. Elements
// must be whole bytes.
std::vector<std::byte> Transposed(Tensor matrix, std::int64_t batch, std::int64_t rows,
                                  std::int64_t columns, const ParallelFor& parallel);

// Holds C against A · B in two ways.
//
// Whole: with a random integer weight r_j of magnitude 16 … 31 for each column, the weighted sum of
// every 256 neighbouring elements of every row of C must be that row of A times the same weighted
// sum of B's columns (Freivalds, "Probabilistic machines can use less running time", 1977). No
// element escapes; narrow sums keep the rounding of the others from hiding a wrong one.
//
// Sampled: 32 x 32 elements of each batch element one by one, among them the last row and column;
// all elements where there are few.
//
// An error is relative to the larger of the element and its expected size √K · rms(a) · rms(b), and
// may be 4 √K 2⁻²⁴ for accumulation in f32 (2⁻⁵⁰ in f64, as is the reference) plus half a unit in
// the last place of C's format. Why: a running sum of K products with random signs grows as √k, and
// so its rounding errors random-walk to about 0.2 √K 2⁻²⁴ of the result; the factor 4 leaves room
// of twenty. Tensor cores, which dtypes other than f32 and f64 may use, cut off what doesn't fit
// the sum (Fasi and others, "Numerical behavior of NVIDIA tensor cores", 2021), for which K 2⁻²⁵ is
// added. They sum fp8 in fewer bits still: on Hopper 32 products at a time are added to a sum
// that is cut to 14 bits, so that each addition may lose 2⁻¹² of it, always in one direction
// (DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024, 3.3.2). Fast accumulation keeps all K in such
// a sum: K/32 · 2⁻¹² more, 3 % for 4096. Else such sums are taken over into f32, every 128 products
// in CUTLASS's kernels (their mma_promotion_interval is 4): 4 · 2⁻¹² of each, √(K/128) times that
// of all. A weighted sum may be off by 3 √Σ(r_j · what element j may be off)²; errors that are
// independent, of zero mean and within their bounds pass that less than once in 10¹⁵ (rounding has
// a standard deviation of 0.4 bounds). Integers are exact: nothing may be off at all.
class GemmCheck {
 public:
  // Reads B (plain, row major), which need not outlive this. `seed` picks weights and samples.
  GemmCheck(const Gemm& gemm, Tensor b, std::uint64_t seed, const ParallelFor& parallel);

  // Checks a C that was made from this A and the constructor's B; A and C are plain and row major.
  // May be called again with another A and C.
  Checked Check(Tensor a, Tensor c, const ParallelFor& parallel) const;

 private:
  struct Column {
    std::int64_t batch = 0;
    std::int64_t index = 0;
    std::vector<double> values = {};
  };

  Gemm gemm_;
  bool exact_ = false;
  std::int64_t blocks_ = 0;              // the blocks of 256 columns in a row
  std::vector<double> weights_ = {};     // one a column
  std::vector<double> sums_ = {};        // batch x k x blocks: B's weighted sums
  std::vector<Column> columns_ = {};     // the sampled ones, ascending
  std::vector<std::int64_t> rows_ = {};  // the sampled ones, ascending; the same in each batch
  double b_rms_ = 0;
};

// Numbers that are sums, each with its spread: the root of the sum of the squares of its terms, to
// which independent roundings of the terms add up.
struct Sums {
  std::vector<double> values = {};
  std::vector<double> spread = {};
};

// One row of attention's output and its log-sum: the logarithm of the sum of
// exp(score / sqrt(head_dim_qk)) that the softmax divides by. Where the query sees no key, the row
// is all zeros and the log-sum is -infinity. Tensors lie in the order batch, head, sequence,
// element, and query head h reads key-value head h / (heads_q / heads_kv). Scores are those of the
// numbers that queries and keys stand for (ScaleOf); the output is scaled as the values are.
struct AttentionRow : Sums {
  double log_sum = 0;
};
AttentionRow ReferenceAttention(const Attention& attention, Tensor q, Tensor k, Tensor v,
                                std::int64_t batch, std::int64_t head, std::int64_t query);

// Holds 64 random rows of `o`, or all where there are few, against the reference. An error is
// relative to the larger of the element and its spread, and may be up to `tolerance`. Besides,
// every element of `o` must lie within the range of 0 and all values of its key-value head at that
// place of a row, widened by `tolerance`, and queries without keys must give zeros.
Checked CheckAttention(const Attention& attention, Tensor q, Tensor k, Tensor v, Tensor o,
                       double tolerance, std::uint64_t seed, const ParallelFor& parallel);

// The tensors that backward starts from: the forward's inputs, its output, its log-sums (batch,
// head, query), and the gradient of the output. REQUIRES: ScaleOf is 1 for the format of each.
struct BackwardInputs {
  Tensor q, k, v, o, log_sums, d_o;
};

// One row of dQ = dS K. Here P = exp(Q Kᵀ / sqrt(head_dim_qk) - log_sum) where the mask shows the
// key and 0 elsewhere, and dS = P (dO Vᵀ - rowsum(dO O)) / sqrt(head_dim_qk), element by element
// (Dao et al., "FlashAttention", 2022, algorithm 4).
Sums ReferenceQueryGradient(const Attention& attention, const BackwardInputs& in,
                            std::int64_t batch, std::int64_t head, std::int64_t query);
// One row of dK = dSᵀ Q and of dV = Pᵀ dO, each summed over the query heads that share the
// key-value head.
struct KeyGradients {
  Sums dk, dv;
};
KeyGradients ReferenceKeyGradients(const Attention& attention, const BackwardInputs& in,
                                   std::int64_t batch, std::int64_t head_kv, std::int64_t key);

// Holds 64 random rows of each gradient, or all where there are few, against the reference as
// CheckAttention does, and for as many queries O and the log-sums that the gradients start from,
// the latter to 10⁻³ at most. Queries without keys must have zeros as dQ.
//
// Besides, all elements are held, for each key-value head, to what softmax makes of their sums. Its
// weights add up to one, so that the columns of dV have the sums of dO's columns and those of dK
// add up to zero; and sum(Q dQ) = sum(K dK) = sum(scores dS). A sum may be off by what independent
// errors within the tolerance add up to, and by what O's own rounding does to dK.
Checked CheckAttentionBackward(const Attention& attention, const BackwardInputs& in, Tensor dq,
                               Tensor dk, Tensor dv, double tolerance, std::uint64_t seed,
                               const ParallelFor& parallel);

// The pages of decode's keys and values. PagesOfSequence is ceil(seq_kv / page_size). PageTable has
// a row of that many page numbers for each sequence of the batch, in order of tokens. All pages of
// the pool stand in a random order, as in a cache that has been in use for a while; keys and values
// share the table. REQUIRES, here and for FromPages: page_size > 0.
std::int64_t PagesOfSequence(const Attention& attention);
std::vector<std::int32_t> PageTable(const Attention& attention, std::uint64_t seed);

// Gathers keys or values from a pool of pages (page, head, token, element of head_dim) into the
// order batch, head, token, element.
std::vector<std::byte> FromPages(const Attention& attention,
                                 const std::vector<std::int32_t>& page_table, Tensor pool,
                                 std::int64_t head_dim);

}  // namespace assay
