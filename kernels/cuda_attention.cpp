#include "kernels/cuda_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "kernels/cuda_operands.h"
#include "kernels/reference.h"
#include "results/base/error.h"
#include "runner/core/random.h"

namespace assay::cuda {
namespace {

std::size_t Size(std::int64_t value) { return static_cast<std::size_t>(value); }

Format FormatOf(Dtype dtype) {
  if (dtype == Dtype::kFp8E4m3) return Format::kF8E4m3;
  return dtype == Dtype::kF16 ? Format::kF16 : Format::kBf16;
}

// The scale of the softmax's weights in fp8. They are 1 at most, and times 256 most weights of a
// long row are normal numbers.
constexpr float kWeightScale = 256;

// A library's plans for a pass, and the plan that was chosen.
struct Chosen {
  std::unique_ptr<AttentionPlans> plans = {};
  std::vector<int> usable = {};  // the plans that are built and whose workspace can be had
  int plan = 0;                  // the chosen one, which is usable
  std::int64_t WorkspaceBytes() const { return plans->WorkspaceBytes(plan); }
};

// Attention by one of a library's plans, on sets of tensors that rotate to keep the cache cold.
class AttentionWorkload : public TimedWorkload {
 public:
  AttentionWorkload(AttentionLibrary& library, const Attention& op, const Gpu& gpu)
      : library_(library),
        op_(op),
        gpu_(gpu),
        backward_(op.direction == "backward"),
        inputs_({Part::kQ, Part::kK, Part::kV}),
        outputs_({Part::kO}),
        made_({Part::kO}) {
    if (backward_) {
      inputs_.push_back(Part::kDO);
      outputs_ = {Part::kDQ, Part::kDK, Part::kDV};
      made_ = {Part::kO, Part::kLogSums, Part::kDQ, Part::kDK, Part::kDV};
    }
    for (const std::vector<Part>* parts : {&inputs_, &made_}) {
      for (const Part part : *parts) set_bytes_ += Aligned(part);
    }
    if (op.cache == "cold") sets_ = ColdSets(gpu, set_bytes_);
  }

  // Chooses the first usable plan; where `tuned`, keeps several to choose among later. Returns why
  // there is none, or nothing.
  std::optional<Skipped> Plan(bool tuned) {
    if (auto no = TooLargeForGpu(sets_ * set_bytes_)) return no;
    if (auto no = Choose(backward_ ? Pass::kBackward : Pass::kForward, tuned, main_)) return no;
    return backward_ ? Choose(Pass::kForwardWithLogSums, false, forward_) : std::nullopt;
  }

  // Allocates the tensors and makes the inputs. What backward needs from the forward is made by
  // running a forward.
  void Fill(std::uint64_t seed) {
    for (const std::vector<Part>* parts : {&inputs_, &made_}) {
      for (const Part part : *parts) memory_[part] = MakeDeviceMemory(Size(sets_ * Aligned(part)));
    }
    ReserveWorkspace();
    check_seed_ = RandomAt(seed, 5);
    InputMaker maker(gpu_, timer_->Stream());
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Shape shape = ShapeOf(op_, inputs_[i]);
      for (std::int64_t set = 0; set < sets_; ++set) {
        maker.Make(shape.format, op_.inputs, RandomAt(seed, i), shape.Count(), At(inputs_[i], set));
      }
      // The host has the same numbers, for the check.
      std::vector<std::byte>& host = host_[inputs_[i]];
      host.resize(Size(shape.Bytes()));
      assay::Fill(shape.format, op_.inputs, RandomAt(seed, i), shape.Count(), host.data(),
                  OnAllCores);
    }
    if (op_.page_size > 0) MakePages(RandomAt(seed, 4));
    if (op_.dtype == Dtype::kFp8E4m3) MakeScales();
    for (std::int64_t set = 0; set < sets_; ++set) pointers_.push_back(Pointers(set));
    Spoil();
    for (std::int64_t set = 0; backward_ && set < sets_; ++set) {
      forward_.plans->Enqueue(forward_.plan, pointers_[Size(set)], workspace_.get());
    }
    timer_->Wait("making inputs");
  }

  Candidates Plans() {
    return {.library = library_.Name(),
            .count = static_cast<int>(main_.usable.size()),
            .use = [this](int i) { Use(i); },
            .once =
                [this] {
                  Spoil();
                  Enqueue(0);
                  timer_->Wait("attention");
                  return Check(0);
                },
            .time = [this](std::int64_t iterations) { return Run(iterations).time; }};
  }
  void Use(const Tuned& tuned) {
    Use(tuned.candidate);
    tuning_ = tuned.facts;
    Spoil();
  }

  // Checks all outputs that were made since the last Verify.
  Checked Verify() override {
    return CheckSets(
        *timer_, sets_, [this](std::int64_t set) { return Outputs(set); },
        [this](std::int64_t set) { return Check(set); });
  }

  Facts Describe() const override {
    Facts facts = gpu_.Describe();
    facts["library"] = library_.Name();
    facts["algorithm"] = main_.plans->Name(main_.plan);
    facts["plans"] = std::int64_t{main_.plans->Count()};
    facts["workspace_bytes"] = main_.WorkspaceBytes();
    facts["formats"] = std::string(assay::ToText(FormatOf(op_.dtype)));
    facts["layout"] = op_.page_size > 0 ? "keys and values: page, head, token, element"
                                        : "batch, head, token, element";
    facts["rotation_sets"] = sets_;
    facts["rotation_bytes"] = sets_ * set_bytes_;
    facts["timing"] = timer_->Method();
    facts.insert(tuning_.begin(), tuning_.end());
    return facts;
  }

 private:
  // The tolerance of bf16 is half a unit in the last place, 2⁻⁸, for what is stored, and three
  // times that for the rounding of the softmax's weights, or of dS, before the second product,
  // whose errors are independent (standard deviation 0.4 of it each). f16 has three bits more, but
  // loses some of the smallest weights. fp8 (e4m3) has four bits less than bf16; where 32768 keys
  // share a row, half of its weights are subnormal, which adds at most 0.05 of their spread.
  double Tolerance() const {
    if (op_.dtype == Dtype::kFp8E4m3) return std::ldexp(1.0, -2);
    return std::ldexp(1.0, op_.dtype == Dtype::kF16 ? -8 : -6);
  }

  std::int64_t Aligned(Part part) const { return cuda::Aligned(ShapeOf(op_, part).Bytes()); }
  void* At(Part part, std::int64_t set) const {
    return static_cast<std::byte*>(memory_.at(part).get()) + set * Aligned(part);
  }
  AttentionPlans::Pointers Pointers(std::int64_t set) const {
    AttentionPlans::Pointers pointers;
    for (const auto& [part, memory] : memory_)
      pointers[part] = At(part, shared_.contains(part) ? 0 : set);
    return pointers;
  }

  // Asks the library for plans of a pass and keeps the first usable one, or with `all` several.
  // Returns why there is none, or nothing.
  std::optional<Skipped> Choose(Pass pass, bool all, Chosen& chosen) {
    auto planned = library_.Plan(op_, pass, gpu_, timer_->Stream());
    if (const auto* why = std::get_if<std::string>(&planned)) {
      return Skipped{.reason = fmt::format("{} has no plan for this on {} ({})", library_.Name(),
                                           gpu_.name, *why),
                     .remedy = "docs/attention.md says what runs where; use another shape or mask"};
    }
    chosen.plans = std::move(std::get<0>(planned));
    std::optional<Skipped> none;
    for (int plan = 0; plan < chosen.plans->Count() && (all || chosen.usable.empty()); ++plan) {
      try {
        chosen.plans->Build(plan);
      } catch (const Error& error) {
        if (!none) none = Skipped{.reason = error.what(), .remedy = "use another shape or mask"};
        continue;
      }
      // A plan may ask for a workspace larger than any GPU, so it is looked at before it is
      // allocated.
      auto no = TooLargeForGpu(sets_ * set_bytes_ + chosen.plans->WorkspaceBytes(plan));
      if (!no) {
        chosen.usable.push_back(plan);
      } else if (!none) {
        none = Skipped{
            .reason = fmt::format("with the workspace of {} it {}", library_.Name(), no->reason),
            .remedy = no->remedy};
      }
    }
    if (chosen.usable.empty()) return none;
    chosen.plan = chosen.usable.front();
    return std::nullopt;
  }

  void Use(int candidate) {
    main_.plan = main_.usable.at(Size(candidate));
    ReserveWorkspace();
  }
  // Allocates the workspace that the chosen plans need, unless the present one is large enough.
  void ReserveWorkspace() {
    const std::int64_t wanted = std::max(
        {main_.WorkspaceBytes(), forward_.plans ? forward_.WorkspaceBytes() : 0, std::int64_t{1}});
    if (wanted <= workspace_bytes_) return;
    workspace_.reset();
    workspace_ = MakeDeviceMemory(Size(wanted));
    workspace_bytes_ = wanted;
  }

  // Copies a small tensor to the device, which all sets share.
  template <class T>
  void Share(Part part, const T* from) {
    const std::size_t bytes = Size(ShapeOf(op_, part).Bytes());
    shared_.insert(part);
    memory_[part] = MakeDeviceMemory(bytes);
    cuda::Check(cudaMemcpyAsync(memory_[part].get(), from, bytes, cudaMemcpyHostToDevice,
                                timer_->Stream()));
  }

  // Makes the scales of fp8. O is scaled as the values are.
  void MakeScales() {
    const auto scale = static_cast<float>(ScaleOf(FormatOf(op_.dtype)));
    scales_ = {{Part::kDescale, 1 / scale},
               {Part::kScaleS, kWeightScale},
               {Part::kDescaleS, 1 / kWeightScale},
               {Part::kScaleO, scale},
               {Part::kMaxS, 0},
               {Part::kMaxO, 0}};
    for (const auto& [part, value] : scales_) Share(part, &value);
  }

  // Makes the page table and the two lengths of each sequence.
  void MakePages(std::uint64_t seed) {
    page_table_ = PageTable(op_, seed);
    const auto batch = Size(op_.batch);
    lengths_.assign(batch, static_cast<std::int32_t>(op_.seq_q));
    lengths_.insert(lengths_.end(), batch, static_cast<std::int32_t>(op_.seq_kv));
    Share(Part::kPageTable, page_table_.data());
    Share(Part::kSeqQ, lengths_.data());
    Share(Part::kSeqKv, lengths_.data() + batch);
    for (const auto& [part, width] :
         {std::pair(Part::kK, op_.head_dim_qk), {Part::kV, op_.head_dim_v}}) {
      host_[part] = FromPages(op_, page_table_, Host(part), width);
    }
  }

  std::int64_t Period() const override { return sets_; }
  void Enqueue(std::int64_t set) override {
    main_.plans->Enqueue(main_.plan, pointers_[Size(set)], workspace_.get());
  }

  // Sets all bits of the outputs, which is NaN in every floating-point format, so that what is
  // never written is found.
  void Spoil() {
    for (const Part part : outputs_) {
      cuda::Check(cudaMemsetAsync(memory_.at(part).get(), 0xff, Size(sets_ * Aligned(part)),
                                  timer_->Stream()));
    }
    timer_->CountAnew();
  }

  std::vector<std::byte> Read(Part part, std::int64_t set) const {
    std::vector<std::byte> bytes(Size(ShapeOf(op_, part).Bytes()));
    cuda::Check(cudaMemcpyAsync(bytes.data(), At(part, set), bytes.size(), cudaMemcpyDeviceToHost,
                                timer_->Stream()));
    timer_->Wait("reading the output back");
    return bytes;
  }
  // All outputs of one set, one after the other, on the host.
  std::vector<std::byte> Outputs(std::int64_t set) const {
    std::vector<std::byte> all;
    for (const Part part : outputs_) {
      const std::vector<std::byte> one = Read(part, set);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }

  Tensor Of(Part part, const std::vector<std::byte>& bytes) const {
    return {.format = ShapeOf(op_, part).format, .data = bytes.data()};
  }
  Tensor Host(Part part) const { return Of(part, host_.at(part)); }

  // Checks one set's outputs against the reference.
  Checked Check(std::int64_t set) const {
    const std::vector<std::byte> o = Read(Part::kO, set);
    if (!backward_) {
      return CheckAttention(op_, Host(Part::kQ), Host(Part::kK), Host(Part::kV), Of(Part::kO, o),
                            Tolerance(), check_seed_, OnAllCores);
    }
    const std::vector<std::byte> log_sums = Read(Part::kLogSums, set);
    const std::vector<std::byte> dq = Read(Part::kDQ, set);
    const std::vector<std::byte> dk = Read(Part::kDK, set);
    const std::vector<std::byte> dv = Read(Part::kDV, set);
    return CheckAttentionBackward(op_,
                                  {.q = Host(Part::kQ),
                                   .k = Host(Part::kK),
                                   .v = Host(Part::kV),
                                   .o = Of(Part::kO, o),
                                   .log_sums = Of(Part::kLogSums, log_sums),
                                   .d_o = Host(Part::kDO)},
                                  Of(Part::kDQ, dq), Of(Part::kDK, dk), Of(Part::kDV, dv),
                                  Tolerance(), check_seed_, OnAllCores);
  }

  AttentionLibrary& library_;
  Attention op_;
  Gpu gpu_;
  bool backward_;
  std::vector<Part> inputs_;   // the random tensors
  std::vector<Part> outputs_;  // the tensors that the timed pass writes
  std::vector<Part> made_;     // all tensors that the library writes, timed or not
  std::int64_t set_bytes_ = 0;
  std::int64_t sets_ = 1;
  Chosen main_ = {};
  Chosen forward_ = {};
  std::map<Part, DeviceMemory> memory_ = {};
  std::set<Part> shared_ = {};                           // the tensors that all sets share
  std::vector<AttentionPlans::Pointers> pointers_ = {};  // one a set
  DeviceMemory workspace_ = {};
  std::int64_t workspace_bytes_ = 0;
  std::map<Part, std::vector<std::byte>> host_ = {};  // the inputs, without pages
  std::vector<std::int32_t> page_table_ = {};
  std::vector<std::int32_t> lengths_ = {};
  std::map<Part, float> scales_ = {};  // for fp8 alone
  std::uint64_t check_seed_ = 0;
  Facts tuning_ = {};
};

}  // namespace

Shape ShapeOf(const Attention& op, Part part) {
  const Format format = FormatOf(op.dtype);
  const bool paged = op.page_size > 0;
  const Shape kv = {.format = format,
                    .batch = paged ? op.batch * PagesOfSequence(op) : op.batch,
                    .heads = op.heads_kv,
                    .tokens = paged ? op.page_size : op.seq_kv};
  Shape shape = {.format = format, .batch = op.batch, .heads = op.heads_q, .tokens = op.seq_q};
  switch (part) {
    case Part::kQ:
    case Part::kDQ:
      shape.elements = op.head_dim_qk;
      return shape;
    case Part::kO:
    case Part::kDO:
      shape.elements = op.head_dim_v;
      return shape;
    case Part::kLogSums:
      shape.format = Format::kF32;
      shape.elements = 1;
      return shape;
    case Part::kK:
    case Part::kDK:
      shape = kv;
      shape.elements = op.head_dim_qk;
      return shape;
    case Part::kV:
    case Part::kDV:
      shape = kv;
      shape.elements = op.head_dim_v;
      return shape;
    case Part::kPageTable:
      return {.format = Format::kS32,
              .batch = op.batch,
              .heads = 1,
              .tokens = PagesOfSequence(op),
              .elements = 1};
    case Part::kSeqQ:
    case Part::kSeqKv:
      return {.format = Format::kS32, .batch = op.batch, .heads = 1, .tokens = 1, .elements = 1};
    case Part::kDescale:
    case Part::kScaleS:
    case Part::kDescaleS:
    case Part::kScaleO:
    case Part::kMaxS:
    case Part::kMaxO:
      return {.format = Format::kF32, .batch = 1, .heads = 1, .tokens = 1, .elements = 1};
  }
  return {};
}

Prepared PrepareAttention(AttentionLibrary& library, const Attention& op, const Gpu& gpu,
                          Tunings& tunings, std::uint64_t seed) {
  if (op.dtype != Dtype::kBf16 && op.dtype != Dtype::kF16 && op.dtype != Dtype::kFp8E4m3) {
    return Skipped{
        .reason = fmt::format("attention on GPUs is in bf16, f16 and fp8_e4m3 here, not in {}",
                              assay::ToText(op.dtype)),
        .remedy = "use dtype=bf16"};
  }
  if (op.dtype == Dtype::kFp8E4m3 && op.direction == "backward") {
    return Skipped{.reason = "attention in fp8 has no backward here",
                   .remedy = "use dtype=bf16, or direction=forward"};
  }
  auto workload = std::make_unique<AttentionWorkload>(library, op, gpu);
  const bool tuned = op.algo == "tuned";
  if (const auto no = workload->Plan(tuned)) return *no;
  workload->Fill(seed);
  if (tuned) {
    const std::string name = fmt::format(
        "{} {} {} {}/{} {}/{} {}/{} {} {} {} {} {} {} {}", gpu.index, assay::ToText(op.dtype),
        op.batch, op.heads_q, op.heads_kv, op.seq_q, op.seq_kv, op.head_dim_qk, op.head_dim_v,
        op.mask, op.window, op.direction, op.phase, op.page_size, op.cache, op.inputs);
    if (!tunings.contains(name)) tunings[name] = Fastest(workload->Plans());
    workload->Use(tunings[name]);
  }
  return workload;
}

}  // namespace assay::cuda
