// What the right answer is, in f64, slowly and obviously, and how an answer is held against it. An
// answer is checked whole, at a cost of an order less than computing it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/inputs.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay {

// C = A · B for every element, row major, one batch element after the other.
std::vector<double> ReferenceGemm(const Gemm& gemm, Tensor a, Tensor b);

// Of each of a batch, one after the other, `rows` rows of `columns` elements as `columns` rows of
// `rows`: B as a check wants it, of weights that lie as frameworks keep them. Of whole bytes each.
std::vector<std::byte> Turned(Tensor matrix, std::int64_t batch, std::int64_t rows,
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
// of twenty. Tensor cores sum fp8 in fewer bits: on Hopper 32 products at a time are added to a sum
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

  // Of the C made from this A and the B of above, both plain and row major.
  Checked Check(Tensor a, Tensor c, const ParallelFor& parallel) const;

 private:
  struct Column {
    std::int64_t batch = 0;
    std::int64_t index = 0;
    std::vector<double> values = {};
  };

  Gemm gemm_;
  bool exact_ = false;
  std::int64_t blocks_ = 0;              // of columns, in a row
  std::vector<double> weights_ = {};     // one a column
  std::vector<double> sums_ = {};        // batch x k x blocks: B's weighted sums
  std::vector<Column> columns_ = {};     // the sampled ones, ascending
  std::vector<std::int64_t> rows_ = {};  // the sampled ones, ascending; the same in each batch
  double b_rms_ = 0;
};

// Numbers, and for each the root of the squares of the terms that it is the sum of.
struct Sums {
  std::vector<double> values = {};
  std::vector<double> spread = {};
};

// One row of the output, all zeros where the query sees no key, and the logarithm of the sum of
// exp(score / sqrt(head_dim_qk)) that its softmax divides by, then -infinity. Tensors lie batch,
// head, sequence, element; query head h reads key-value head h / (heads_q / heads_kv). Scores are
// of what queries and keys stand for (ScaleOf); the output is scaled as the values are.
struct AttentionRow : Sums {
  double log_sum = 0;
};
AttentionRow ReferenceAttention(const Attention& attention, Tensor q, Tensor k, Tensor v,
                                std::int64_t batch, std::int64_t head, std::int64_t query);

// Holds 64 random rows of `o`, or all where there are few, against the reference: an error is
// relative to the larger of the element and its spread, to which independent roundings of the terms
// add up, and may be `tolerance`. Every element is held against the range of the values that it is
// a weighted mean of; queries without keys must give zeros.
Checked CheckAttention(const Attention& attention, Tensor q, Tensor k, Tensor v, Tensor o,
                       double tolerance, std::uint64_t seed, const ParallelFor& parallel);

// What backward starts from: the forward's inputs, its output and its log-sums (batch, head,
// query), and the gradient of the output.
struct BackwardInputs {
  Tensor q, k, v, o, log_sums, d_o;
};

// With P = exp(Q Kᵀ / sqrt(head_dim_qk) - log_sum) where the mask lets it be, and
// dS = P (dO Vᵀ - rowsum(dO O)) / sqrt(head_dim_qk), element by element (Dao et al.,
// "FlashAttention", 2022, algorithm 4): one row of dQ = dS K …
Sums ReferenceQueryGradient(const Attention& attention, const BackwardInputs& in,
                            std::int64_t batch, std::int64_t head, std::int64_t query);
// … and of dK = dSᵀ Q and dV = Pᵀ dO, each summed over the query heads that share the head.
struct KeyGradients {
  Sums dk, dv;
};
KeyGradients ReferenceKeyGradients(const Attention& attention, const BackwardInputs& in,
                                   std::int64_t batch, std::int64_t head_kv, std::int64_t key);

// Holds 64 random rows of each gradient, or all where there are few, against the reference as
// CheckAttention does, and for as many queries O and the log-sums that both start from. All of them
// are held, for each key-value head, to what softmax makes of their sums: its weights add up to
// one, so that dV's columns have the sums of dO's and those of dK have none; and sum(Q dQ) = sum(K
// dK) = sum(scores dS). Each may be off by what independent errors within the tolerance add up to,
// and by what O's own rounding does to dK.
Checked CheckAttentionBackward(const Attention& attention, const BackwardInputs& in, Tensor dq,
                               Tensor dk, Tensor dv, double tolerance, std::uint64_t seed,
                               const ParallelFor& parallel);

// Where decode's keys and values lie in pages: row b of ceil(seq_kv / page_size) numbers has the
// pages of sequence b in order. A random order of all pages there are, as a cache that has been in
// use for a while has; keys and values share it.
std::int64_t PagesOfSequence(const Attention& attention);
std::vector<std::int32_t> PageTable(const Attention& attention, std::uint64_t seed);

// Keys or values of a pool of such pages (page, head, token, element of head_dim), put in order:
// batch, head, token, element.
std::vector<std::byte> FromPages(const Attention& attention,
                                 const std::vector<std::int32_t>& page_table, Tensor pool,
                                 std::int64_t head_dim);

}  // namespace assay
