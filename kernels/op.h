// An Op is what one device is asked to do, as plain data. The set is closed: a backend visits it,
// and a forgotten Op fails to compile.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "results/run.h"

namespace assay {

enum class Dtype { kF64, kF32, kTf32, kBf16, kF16, kFp8E4m3, kFp8E5m2, kInt8 };

// C (m x n) = A (m x k) · B (k x n), row major, B being the weights.
struct Gemm {
  Dtype dtype = Dtype::kF32;
  Dtype accumulate = Dtype::kF32;  // int8 accumulates in int32, written "s32" in params
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t batch = 1;
  std::string cache = "cold";     // cold, warm, weights-cold
  std::string inputs = "normal";  // normal, zeros
};

// softmax(Q Kᵀ / sqrt(head_dim_qk) + mask) V, per batch and query head.
struct Attention {
  Dtype dtype = Dtype::kBf16;
  std::int64_t batch = 1, heads_q = 1, heads_kv = 1;
  std::int64_t seq_q = 0, seq_kv = 0, head_dim_qk = 0, head_dim_v = 0;
  std::string mask = "full";  // full, causal_top_left, causal_bottom_right, window
  std::int64_t window = 0;    // keys seen by a query under `window`
  std::string direction = "forward";
  std::string phase = "prefill";
  std::string cache = "cold";
  std::string inputs = "normal";
};

// Streams over arrays of `bytes` each.
struct Memory {
  std::string pattern = "triad";  // read, write, copy, triad
  std::int64_t bytes = 0;
};

// Register-only arithmetic: what the device's units can do at the clock of the moment.
struct Peak {
  Dtype dtype = Dtype::kF32;
};

using Op = std::variant<Gemm, Attention, Memory, Peak>;

}  // namespace assay
