// Attention on a GPU: tensors, inputs, the choice among a library's plans, timing and the check are
// here. What a library has to bring is an AttentionLibrary.
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
#include "runner/core/probe.h"

namespace assay::cuda {

// The computation of one call: the forward, the forward with the log-sums that backward starts
// from, or the backward.
enum class Pass { kForward, kForwardWithLogSums, kBackward };

// The tensors that a pass reads and writes.
//
// Keys and values that lie in pages come with a page table (batch x pages of a sequence) and the
// lengths of each sequence (kSeqQ, kSeqKv), all in int32.
//
// fp8 has scales, one f32 each. A stored number of Q, K or V times kDescale is the number that it
// stands for. The softmax's weights are multiplied by kScaleS before they are rounded to fp8, which
// kDescaleS undoes; O is stored times kScaleO. The largest magnitudes of both before scaling are
// outputs (kMaxS, kMaxO).
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

// The shape of one tensor, packed in the order batch (or page, where there are any), head, token,
// element.
struct Shape {
  Format format = {};
  std::int64_t batch = 0, heads = 0, tokens = 0, elements = 0;
  std::int64_t Count() const { return batch * heads * tokens * elements; }
  std::int64_t Bytes() const { return Count() * BytesOf(format); }
};
// The shape of a part. REQUIRES: the op's dtype is bf16, f16 or fp8_e4m3.
Shape ShapeOf(const Attention& op, Part part);

// A library's ways of doing one pass, numbered 0 … Count() - 1, the library's best guess first.
class AttentionPlans {
 public:
  // The device memory of each part, which the caller owns.
  using Pointers = std::map<Part, void*>;
  virtual ~AttentionPlans() = default;
  virtual int Count() const = 0;
  // Makes a plan ready to run. Throws Error where the library can't do so after all.
  virtual void Build(int plan) = 0;
  // The bytes of workspace that a built plan needs.
  virtual std::int64_t WorkspaceBytes(int plan) const = 0;
  // The library's own name of the plan, which is enough to ask for it again.
  virtual std::string Name(int plan) const = 0;
  // Puts a built plan on the stream that it was made for, and returns without waiting. `parts` has
  // all that the pass reads and writes, and may have more; `workspace` is device memory of
  // WorkspaceBytes(plan). Both must last until the work is done. Throws Error where the library
  // refuses.
  virtual void Enqueue(int plan, const Pointers& parts, void* workspace) = 0;
};

// A library that can do attention, such as cuDNN by its frontend or without it.
class AttentionLibrary {
 public:
  virtual ~AttentionLibrary() = default;
  virtual std::string Name() const = 0;  // "cuDNN 9.19.0"
  // The library's plans for this pass on the current device, which is `gpu`, and that stream, or
  // the reason why it has none. The stream must outlive the plans.
  virtual std::variant<std::unique_ptr<AttentionPlans>, std::string> Plan(const Attention& op,
                                                                          Pass pass, const Gpu& gpu,
                                                                          cudaStream_t stream) = 0;
};

// Makes attention ready on the current device, which is `gpu`, with inputs from `seed`: bf16 and
// f16, and the forward also in fp8. A case with algo = "tuned" that isn't in `tunings` yet is tuned
// now, which takes seconds, and added to it. Returns Skipped for another dtype, or where the
// library has no plan that can be built or the memory doesn't suffice; throws Error where CUDA or
// the library fails, or no tuned plan is right. The library must outlive the workload; `gpu` and
// `tunings` need not.
Prepared PrepareAttention(AttentionLibrary& library, const Attention& op, const Gpu& gpu,
                          Tunings& tunings, std::uint64_t seed);

}  // namespace assay::cuda
