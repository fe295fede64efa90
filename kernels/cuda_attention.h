// Attention on a GPU: its tensors and its inputs, the choice of a plan, the clock and the check.
// What a library has to bring is an AttentionLibrary.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>

#include "kernels/cuda_device.h"
#include "kernels/cuda_tuning.h"
#include "kernels/inputs.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// The forward, with the log-sums that backward starts from or without; or backward.
enum class Pass { kForward, kForwardWithLogSums, kBackward };

// What a pass reads and writes. Keys and values that lie in pages come with a page table (batch x
// pages of a sequence) and each sequence's lengths, all in int32. fp8 has scales, one f32 each:
// what is stored of Q, K and V times kDescale is what it stands for; the softmax's weights are
// rounded to fp8 times kScaleS, and undone by kDescaleS; O is stored times kScaleO. The largest of
// both, before their scaling, are outputs (kMaxS, kMaxO).
enum class Part {
  kQ,
  kK,
  kV,
  kO,
  kLogSums,
  kDO,
  kDQ,
  kDK,
  kDV,
  kPageTable,
  kSeqQ,
  kSeqKv,
  kDescale,
  kScaleS,
  kDescaleS,
  kScaleO,
  kMaxS,
  kMaxO
};

// How one lies: batch (or page, where there are any), head, token, element, packed in that order.
struct Shape {
  Format format = {};
  std::int64_t batch = 0, heads = 0, tokens = 0, elements = 0;
  std::int64_t Count() const { return batch * heads * tokens * elements; }
  std::int64_t Bytes() const { return Count() * BytesOf(format); }
};
Shape ShapeOf(const Attention& op, Part part);

// A library's ways of doing one pass, best guess first.
class AttentionPlans {
 public:
  using Pointers = std::map<Part, void*>;
  virtual ~AttentionPlans() = default;
  virtual int Count() const = 0;
  // Makes it ready. Throws Error where that can't be done after all.
  virtual void Build(int plan) = 0;
  // Of one that is built.
  virtual std::int64_t WorkspaceBytes(int plan) const = 0;
  virtual std::string Name(int plan) const = 0;  // enough to ask for it again
  // Puts it on the stream. Throws Error where the library refuses.
  virtual void Enqueue(int plan, const Pointers& parts, void* workspace) = 0;
};

class AttentionLibrary {
 public:
  virtual ~AttentionLibrary() = default;
  virtual std::string Name() const = 0;  // "cuDNN 9.19.0"
  // Its plans for the current device and that stream, or why it has none.
  virtual std::variant<std::unique_ptr<AttentionPlans>, std::string> Plan(const Attention& op,
                                                                          Pass pass, const Gpu& gpu,
                                                                          cudaStream_t stream) = 0;
};

// On the current device, in bf16 or f16, and forward in fp8. A tuned case that isn't among
// `tunings` is tuned now, which takes seconds.
Prepared PrepareAttention(AttentionLibrary& library, const Attention& op, const Gpu& gpu,
                          Tunings& tunings, std::uint64_t seed);

}  // namespace assay::cuda
