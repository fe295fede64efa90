// An Op is what one device is asked to do, as plain data. The set is closed: counting an Op's work
// (WorkOf) and choosing its bound (kernels.cpp) visit all of it, so that a forgotten Op fails to
// compile. Backend::Has tells which Ops a backend runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "results/base/dtype.h"
#include "results/file/run.h"

namespace assay {

// Matrix multiplication: C (m x n) = A (m x k) · B (k x n), row major, B being the weights. C has
// the dtype of A and B, except that int8 gives int32, and fp8 and types with block scales give
// bf16.
struct Gemm {
  Dtype dtype = Dtype::kF32;
  Dtype accumulate = Dtype::kF32;  // int8 accumulates in int32, written "s32" in params
  bool fast_accumulate = false;    // fp8 in as few bits as the device likes, written "f32_fast"
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t batch = 1;
  std::string cache = "cold";     // cold, warm, weights-cold
  std::string inputs = "normal";  // normal, zeros
  std::string algo = "default";   // default: the library's own choice; tuned: the fastest it has
};

// Grouped matrix multiplication, as in a mixture of experts. Each row of A (m x k) belongs to one
// group (RowsOfGroups), and each group has its own B (k x n); the result is C (m x n). The rows of
// a group are contiguous.
struct GroupedGemm {
  Dtype dtype = Dtype::kBf16;
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t groups = 1;
  std::string cache = "cold";     // cold, warm
  std::string inputs = "normal";  // as in Gemm
};

// The ordinary product of one group, which has `rows` rows.
Gemm GroupGemm(const GroupedGemm& op, std::int64_t rows);

// The number of rows of each group, exactly m in all. It is the same for the same m and groups on
// every machine: loads rise by equal factors, the groups-th root of 5, and stand in a random order.
// A real router's choice differs by model, layer and text; this unevenness stands for none of them.
std::vector<std::int64_t> RowsOfGroups(std::int64_t m, std::int64_t groups);

// Scaled dot-product attention: O = softmax(Q Kᵀ / sqrt(head_dim_qk) + mask) V for each batch and
// query head; each key-value head serves heads_q / heads_kv query heads, a whole number. Backward
// makes dQ, dK and dV for a given dO, from the forward's O and log-sums. Decode is a few queries
// over the keys and values of all tokens so far, as in generating text, and its time goes into
// reading those. In fp8, O is fp8 too.
struct Attention {
  Dtype dtype = Dtype::kBf16;
  std::int64_t batch = 1, heads_q = 1, heads_kv = 1;
  std::int64_t seq_q = 0, seq_kv = 0, head_dim_qk = 0, head_dim_v = 0;
  std::string mask = "full";          // full, causal_top_left, causal_bottom_right, window
  std::int64_t window = 0;            // keys seen by a query under `window`
  std::string direction = "forward";  // forward, backward
  std::string phase = "prefill";      // prefill, decode
  std::int64_t page_size = 0;         // tokens a page of decode's keys and values; 0: in one piece
  std::string cache = "cold";
  std::string inputs = "normal";
  std::string algo = "default";  // as in Gemm
};

// A memory stream over one to three arrays of `bytes` each.
struct Memory {
  std::string pattern = "triad";  // read, write, copy, triad
  std::int64_t bytes = 0;         // 0: the backend chooses (Backend::Complete)
  std::int64_t passes = 1;        // how often one iteration goes over the arrays
};

// A copy from one memory to another by the devices' copy engines.
struct Copy {
  // h2d, d2h: from page-locked memory of the host to the device, or back; both: these two at once;
  // peer: from device `from` to device `to`; all: from every device to every other at once.
  std::string route = "h2d";
  std::int64_t bytes = 0;   // the size of each copy
  int from = -1, to = -1;   // the devices of a peer copy
  std::int64_t copies = 1;  // how many copies run at once
};

// The launch of a kernel that does next to nothing, which shows what starting one takes.
struct Launch {
  // sync: the host waits for each launch; stream, graph: launches follow each other.
  std::string mode = "sync";
};

// Register-only arithmetic: what the device's units can do at the clock of the moment.
struct Peak {
  Dtype dtype = Dtype::kF32;
};

// The default of Memory::bytes: at least four times `cache_bytes`, as STREAM asks
// (www.cs.virginia.edu/stream/ref.html), and 64 MiB, rounded up to a power of two so that like
// machines agree, but so small that three arrays fit in half of `memory_bytes` (0: unknown).
std::int64_t ArrayBytes(std::int64_t cache_bytes, std::int64_t memory_bytes);

// The number of passes over the arrays that moves at least a GiB, so that an iteration is long
// beside the launch of a kernel even where the arrays fit in a cache.
std::int64_t PassesOver(const Memory& op);

// The bytes of all arrays of a Memory op together.
std::int64_t WorkingSetBytes(const Memory& op);

using Op = std::variant<Gemm, GroupedGemm, Attention, Memory, Copy, Launch, Peak>;

// A named op that is part of a longer iteration.
struct Step {
  std::string name = {};
  Op op = {};
};

// The keys [first, last) that a query sees under the mask; empty where it sees none. Under
// causal_top_left query i sees keys 0 … i. Under causal_bottom_right the last query sees the last
// key, so that query i sees keys 0 … seq_kv - seq_q + i. Under window a query sees the last
// `window` of the keys that causal_bottom_right shows it. REQUIRES: 0 <= query < seq_q.
struct KeyRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
};
KeyRange KeysSeen(const Attention& op, std::int64_t query);

// The useful work of one iteration:
//   gemm/2mnk             flops = 2 m n k batch
//   grouped_gemm/2mnk     the same for all groups together; bytes_min counts the B of groups that
//                         have rows
//   attention/2pairs(dqk+dv)
//                         flops = 2 batch heads_q pairs (head_dim_qk + head_dim_v), pairs being the
//                         unmasked (query, key) pairs, counted exactly; softmax isn't counted
//   attention/kv+2pairs(dqk+dv)
//                         decode: the same flops, and bytes = those of the keys and values that any
//                         query sees, each once however many heads and queries read it
//   attention/2pairs(3dqk+2dv)
//                         backward: the products Q Kᵀ, dS K and dSᵀ Q are head_dim_qk deep or wide,
//                         dO Vᵀ and Pᵀ dO head_dim_v (Dao, "FlashAttention-2", 2023, and
//                         NVIDIA's cudnn-frontend count the same)
//   memory/read1n …       bytes = N for read and write, 2 N for copy, 3 N for triad, as STREAM
//                         counts (www.cs.virginia.edu/stream/ref.html); times the passes
//   copy/n, copy/2n …     bytes = N for each copy, each byte counted once, where it arrives
//   launch/1              ops = 1
//   peak/ops              nothing here; Backend::OneIteration adds the flops of the backend's loop
// bytes_min is the least traffic: each operand is moved once, block scales and backward's O and
// log-sums (f32) included. Throws Error where a count doesn't fit 63 bits.
Work WorkOf(const Op& op);

// The version of the way an op is measured, which rises with any change that could move its figure.
// Method 2: decode's speed is that of reading keys and values, and a short memory stream passes
// over its arrays several times in one launch.
int MethodOf(const Op& op);

}  // namespace assay
