// Attention's workload over the stand-in for CUDA, with a library whose plans do what the reference
// says. cudnn_standin_test.cpp has cuDNN's graphs in its place.
#include "kernels/cuda_attention.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/reference.h"
#include "results/base/error.h"
#include "standin/fixture.h"
#include "standin/standin.h"
#include "standin/state.h"

namespace assay::cuda {
namespace {

using testing::HasSubstr;

struct Script {
  std::vector<double> plans = {1.0};  // the times of each, as multiples of what the flops take
  std::vector<std::int64_t> workspace_bytes = {};  // a KiB where nothing is said
  int unbuildable = -1;                            // these by their number
  int failing = -1;
  int wrong = -1;
  int wrong_call = -1;  // this one of all, from 0
  bool ignores_pages = false;
  bool leaves_out_a_row = false;
  std::optional<Part> doubled = {};  // this scale of fp8
  std::string refusal = {};
};

class ScriptedPlans : public AttentionPlans {
 public:
  ScriptedPlans(const Script& script, const Attention& op, Pass pass, cudaStream_t stream)
      : script_(script), op_(op), pass_(pass), stream_(stream) {}

  int Count() const override { return static_cast<int>(script_.plans.size()); }
  void Build(int plan) override {
    if (plan == script_.unbuildable) throw Error("it can't be built");
    built_.push_back(plan);
  }
  std::int64_t WorkspaceBytes(int plan) const override {
    const auto at = static_cast<std::size_t>(plan);
    return at < script_.workspace_bytes.size() ? script_.workspace_bytes[at] : 1024;
  }
  std::string Name(int plan) const override { return fmt::format("plan {}", plan); }

  void Enqueue(int plan, const Pointers& parts, void* workspace) override {
    const std::scoped_lock lock(standin::mutex);
    if (std::find(built_.begin(), built_.end(), plan) == built_.end()) {
      standin::Violate("a plan that is not built");
    }
    for (const auto& [part, pointer] : parts) {
      standin::RequireDevice(pointer, static_cast<std::size_t>(ShapeOf(op_, part).Bytes()),
                             "a part of attention");
    }
    standin::RequireDevice(workspace, static_cast<std::size_t>(WorkspaceBytes(plan)),
                           "a workspace");
    if (plan == script_.failing) throw Error("it fails");
    const double seconds =
        script_.plans.at(static_cast<std::size_t>(plan)) *
        (standin::kLaunch_s + static_cast<double>(*WorkOf(op_).flops) / standin::kFlopsPerSecond);
    const bool wrong = plan == script_.wrong || calls_++ == script_.wrong_call;
    standin::Of(stream_).Put([=, this](standin::StreamState& own) {
      Do(wrong, parts);
      own.Takes(seconds);
      return true;
    });
  }

 private:
  Tensor In(const Pointers& parts, Part part) const {
    return {.format = ShapeOf(op_, part).format, .data = parts.at(part)};
  }
  void Store(const Pointers& parts, Part part, std::int64_t index, double value) const {
    const auto number = static_cast<float>(value);
    if (part == Part::kLogSums) {
      static_cast<float*>(parts.at(part))[index] = number;
    } else if (op_.dtype == Dtype::kFp8E4m3) {
      static_cast<std::uint8_t*>(parts.at(part))[index] = F8E4m3FromF32(number);
    } else {
      static_cast<std::uint16_t*>(parts.at(part))[index] =
          op_.dtype == Dtype::kF16 ? F16FromF32(number) : Bf16FromF32(number);
    }
  }
  void Store(const Pointers& parts, Part part, std::int64_t row, const Sums& sums) const {
    for (std::size_t d = 0; d < sums.values.size(); ++d) {
      Store(parts, part,
            row * static_cast<std::int64_t>(sums.values.size()) + static_cast<std::int64_t>(d),
            sums.values[d]);
    }
  }

  // Keys or values in order; as they lie, where there are no pages.
  std::vector<std::byte> Ordered(const Pointers& parts, Part part) const {
    const Shape shape = ShapeOf(op_, part);
    const auto* from = static_cast<const std::byte*>(parts.at(part));
    if (op_.page_size == 0) return {from, from + shape.Bytes()};
    const auto* table = static_cast<const std::int32_t*>(parts.at(Part::kPageTable));
    const std::int64_t row_bytes = shape.elements * BytesOf(shape.format);
    std::vector<std::byte> ordered;
    for (std::int64_t b = 0; b < op_.batch; ++b) {
      if (static_cast<const std::int32_t*>(parts.at(Part::kSeqKv))[b] != op_.seq_kv ||
          static_cast<const std::int32_t*>(parts.at(Part::kSeqQ))[b] != op_.seq_q) {
        standin::Violate("a sequence of another length");
      }
      for (std::int64_t h = 0; h < op_.heads_kv; ++h) {
        for (std::int64_t t = 0; t < op_.seq_kv; ++t) {
          const std::int64_t entry = b * PagesOfSequence(op_) + t / op_.page_size;
          const std::int64_t page = script_.ignores_pages ? entry : table[entry];
          const std::byte* row =
              from + ((page * op_.heads_kv + h) * op_.page_size + t % op_.page_size) * row_bytes;
          ordered.insert(ordered.end(), row, row + row_bytes);
        }
      }
    }
    return ordered;
  }

  // A row by cuDNN's documentation, with all the scales that it is given.
  std::vector<double> Fp8Row(const Pointers& parts, Tensor q, Tensor k, Tensor v,
                             std::int64_t row) const {
    const auto scale = [&](Part part) {
      return (part == script_.doubled ? 2.0 : 1.0) * *static_cast<const float*>(parts.at(part));
    };
    const double descale = scale(Part::kDescale);
    const std::int64_t head_kv = row / op_.seq_q / (op_.heads_q / op_.heads_kv);
    const KeyRange keys = KeysSeen(op_, row % op_.seq_q);
    std::vector<double> weights;
    double total = 0;
    for (std::int64_t j = keys.first; j < keys.last; ++j) {
      double dot = 0;
      for (std::int64_t d = 0; d < op_.head_dim_qk; ++d) {
        dot += q[row * op_.head_dim_qk + d] * descale *
               (k[(head_kv * op_.seq_kv + j) * op_.head_dim_qk + d] * descale);
      }
      weights.push_back(std::exp(dot / std::sqrt(static_cast<double>(op_.head_dim_qk))));
      total += weights.back();
    }
    std::vector<double> out(static_cast<std::size_t>(op_.head_dim_v), 0.0);
    for (std::int64_t j = keys.first; j < keys.last; ++j) {
      const double weight = weights[static_cast<std::size_t>(j - keys.first)] / total;
      const double rounded =
          F32FromF8E4m3(F8E4m3FromF32(static_cast<float>(weight * scale(Part::kScaleS))));
      for (std::int64_t d = 0; d < op_.head_dim_v; ++d) {
        out[static_cast<std::size_t>(d)] +=
            rounded * v[(head_kv * op_.seq_kv + j) * op_.head_dim_v + d];
      }
    }
    for (double& value : out) {
      value *= scale(Part::kDescaleS) * descale * scale(Part::kScaleO);
    }
    return out;
  }

  void Do(bool wrong, const Pointers& parts) const {
    const std::vector<std::byte> keys = Ordered(parts, Part::kK);
    const std::vector<std::byte> values = Ordered(parts, Part::kV);
    const Tensor q = In(parts, Part::kQ);
    const Tensor k = {.format = q.format, .data = keys.data()};
    const Tensor v = {.format = q.format, .data = values.data()};
    const std::int64_t rows = op_.batch * op_.heads_q * op_.seq_q;
    const std::int64_t left_out = script_.leaves_out_a_row ? rows / 2 : -1;
    BackwardInputs in = {};
    if (pass_ == Pass::kBackward) {
      in = {.q = q,
            .k = k,
            .v = v,
            .o = In(parts, Part::kO),
            .log_sums = In(parts, Part::kLogSums),
            .d_o = In(parts, Part::kDO)};
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      if (row == left_out && pass_ != Pass::kForwardWithLogSums) continue;
      const std::int64_t batch = row / op_.seq_q / op_.heads_q;
      const std::int64_t head = row / op_.seq_q % op_.heads_q;
      const std::int64_t query = row % op_.seq_q;
      if (pass_ == Pass::kBackward) {
        Store(parts, Part::kDQ, row, ReferenceQueryGradient(op_, in, batch, head, query));
        continue;
      }
      if (op_.dtype == Dtype::kFp8E4m3) {
        Store(parts, Part::kO, row, Sums{.values = Fp8Row(parts, q, k, v, row)});
        *static_cast<float*>(parts.at(Part::kMaxS)) = 1;
        *static_cast<float*>(parts.at(Part::kMaxO)) = 1;
        continue;
      }
      const AttentionRow out = ReferenceAttention(op_, q, k, v, batch, head, query);
      Store(parts, Part::kO, row, out);
      if (pass_ == Pass::kForwardWithLogSums) Store(parts, Part::kLogSums, row, out.log_sum);
    }
    if (pass_ == Pass::kBackward) {
      for (std::int64_t row = 0; row < op_.batch * op_.heads_kv * op_.seq_kv; ++row) {
        const std::int64_t head = row / op_.seq_kv;
        const KeyGradients out = ReferenceKeyGradients(op_, in, head / op_.heads_kv,
                                                       head % op_.heads_kv, row % op_.seq_kv);
        Store(parts, Part::kDK, row, out.dk);
        Store(parts, Part::kDV, row, out.dv);
      }
    }
    if (wrong) {
      Store(parts, pass_ == Pass::kBackward ? Part::kDK : Part::kO, std::int64_t{0}, 3.0);
    }
  }

  Script script_;
  Attention op_;
  Pass pass_;
  cudaStream_t stream_;
  std::vector<int> built_ = {};
  int calls_ = 0;
};

class ScriptedLibrary : public AttentionLibrary {
 public:
  explicit ScriptedLibrary(Script script = {}) : script_(std::move(script)) {}
  std::string Name() const override { return "the script"; }
  std::variant<std::unique_ptr<AttentionPlans>, std::string> Plan(const Attention& op, Pass pass,
                                                                  const Gpu&,
                                                                  cudaStream_t stream) override {
    passes.push_back(pass);
    if (!script_.refusal.empty()) return script_.refusal;
    // Only what is timed has faults.
    const Script script = pass == Pass::kForwardWithLogSums ? Script() : script_;
    return std::make_unique<ScriptedPlans>(script, op, pass, stream);
  }
  std::vector<Pass> passes = {};

 private:
  Script script_;
};

class CudaAttention : public standin::Fixture {
 protected:
  Prepared Prepare(ScriptedLibrary& library, const Attention& op) {
    return PrepareAttention(library, op, Gpu::At(0), tunings_, 7);
  }
  std::unique_ptr<Workload> Ready(ScriptedLibrary& library, const Attention& op) {
    Prepared prepared = Prepare(library, op);
    if (const Skipped* no = std::get_if<Skipped>(&prepared)) throw Error("skipped: " + no->reason);
    return std::move(std::get<0>(prepared));
  }
  std::unique_ptr<Workload> Ready(const Script& script, const Attention& op) {
    library_ = ScriptedLibrary(script);
    return Ready(library_, op);
  }
  Skipped Refused(const Script& script, const Attention& op) {
    ScriptedLibrary library(script);
    return std::get<Skipped>(Prepare(library, op));
  }

  ScriptedLibrary library_ = ScriptedLibrary();
  Tunings tunings_ = {};
};

Attention Small(const std::string& direction = "forward", const std::string& cache = "cold") {
  return {.batch = 2,
          .heads_q = 4,
          .heads_kv = 2,
          .seq_q = 12,
          .seq_kv = 20,
          .head_dim_qk = 16,
          .head_dim_v = 8,
          .direction = direction,
          .cache = cache};
}

Attention Paged() {
  Attention op = Small();
  op.seq_q = 1;
  op.seq_kv = 50;
  op.phase = "decode";
  op.page_size = 8;
  return op;
}

TEST_F(CudaAttention, IsRightInBothDirectionsUnderEveryMaskInEachCacheState) {
  for (const char* direction : {"forward", "backward"}) {
    for (const char* mask : {"full", "causal_top_left", "causal_bottom_right", "window"}) {
      for (const char* cache : {"cold", "warm"}) {
        Attention op = Small(direction, cache);
        op.mask = mask;
        op.window = op.mask == "window" ? 5 : 0;
        op.dtype = op.mask == "full" ? Dtype::kF16 : Dtype::kBf16;
        const auto workload = Ready(Script(), op);
        for (const std::int64_t iterations : {1, 7}) {
          workload->Run(iterations);
          const Checked checked = workload->Verify();
          EXPECT_EQ(checked.wrong, 0)
              << direction << ' ' << mask << ' ' << cache << ": " << checked.what.value_or("");
          EXPECT_EQ(checked.checked, op.direction == "forward"
                                         ? 2 * 4 * 12 * 8
                                         : 2 * 4 * 12 * 16 + 2 * 2 * 20 * (16 + 8));
        }
      }
    }
  }
}

TEST_F(CudaAttention, Fp8IsRightWithItsScalesAndAWrongOneIsFound) {
  for (const char* mask : {"full", "causal_top_left", "window"}) {
    for (Attention op : {Small(), Paged()}) {
      if (op.page_size > 0 && std::string(mask) == "causal_top_left") continue;
      op.dtype = Dtype::kFp8E4m3;
      op.mask = mask;
      op.window = op.mask == "window" ? 5 : 0;
      const auto workload = Ready(Script(), op);
      workload->Run(5);
      const Checked checked = workload->Verify();
      EXPECT_EQ(checked.wrong, 0) << mask << ": " << checked.what.value_or("");
      EXPECT_GT(checked.max_error, 0.01) << "its weights and its output are rounded to fp8";
      EXPECT_EQ(std::get<std::string>(workload->Describe().at("formats")), "fp8_e4m3");
    }
  }
  for (const Part part : {Part::kDescale, Part::kScaleS, Part::kScaleO, Part::kDescaleS}) {
    Attention op = Small();
    op.dtype = Dtype::kFp8E4m3;
    const auto workload = Ready(Script{.doubled = part}, op);
    workload->Run(1);
    EXPECT_GT(workload->Verify().wrong, 0) << static_cast<int>(part);
  }
  Attention op = Small("backward");
  op.dtype = Dtype::kFp8E4m3;
  EXPECT_THAT(Refused({}, op).reason, HasSubstr("no backward"));
}

TEST_F(CudaAttention, BackwardStartsFromAForwardWithLogSums) {
  Ready(Script(), Small("backward"));
  EXPECT_THAT(library_.passes, testing::ElementsAre(Pass::kBackward, Pass::kForwardWithLogSums));
  Ready(Script(), Small("forward"));
  EXPECT_THAT(library_.passes, testing::ElementsAre(Pass::kForward));
}

TEST_F(CudaAttention, DecodeReadsThePagesThatItsTableNames) {
  const auto workload = Ready(Script(), Paged());
  workload->Run(5);
  EXPECT_EQ(workload->Verify().wrong, 0) << workload->Verify().what.value_or("");
  EXPECT_THAT(std::get<std::string>(workload->Describe().at("layout")), HasSubstr("page"));
  const auto careless = Ready(Script{.ignores_pages = true}, Paged());
  careless->Run(1);
  EXPECT_GT(careless->Verify().wrong, 0) << "the pages lay in order";
}

TEST_F(CudaAttention, AWrongElementAndARowLeftOutAreFound) {
  for (const char* direction : {"forward", "backward"}) {
    for (const Script& script : {Script{.wrong = 0}, Script{.leaves_out_a_row = true}}) {
      const auto workload = Ready(script, Small(direction));
      workload->Run(1);
      EXPECT_GT(workload->Verify().wrong, 0) << direction;
    }
  }
}

TEST_F(CudaAttention, EverySetOfOperandsIsChecked) {
  for (const char* direction : {"forward", "backward"}) {
    for (const int call : {3, 4, 5}) {  // three for the host's time come first
      const auto workload = Ready(Script{.wrong_call = call}, Small(direction));
      workload->Run(3);
      EXPECT_GT(workload->Verify().wrong, 0) << direction << ", call " << call;
    }
  }
}

TEST_F(CudaAttention, TakesWhatTheDeviceSays) {
  const auto workload = Ready(Script(), Small("forward", "warm"));
  const double each =
      standin::kLaunch_s + static_cast<double>(*WorkOf(Small()).flops) / standin::kFlopsPerSecond;
  EXPECT_NEAR(workload->Run(40).time.count(), 40 * each, 40 * each * 1e-3);
}

TEST_F(CudaAttention, ColdOperandsRotateOverThreeCaches) {
  const Facts cold = Ready(Script(), Small())->Describe();
  EXPECT_GE(std::get<std::int64_t>(cold.at("rotation_bytes")), 3 * standin::kCacheBytes);
  const Facts warm = Ready(Script(), Small("forward", "warm"))->Describe();
  EXPECT_EQ(std::get<std::int64_t>(warm.at("rotation_sets")), 1);
}

TEST_F(CudaAttention, AWorkspaceThatCannotBeHadIsNeverAskedFor) {
  constexpr std::int64_t kHuge = std::int64_t{256} << 30;
  for (const char* direction : {"forward", "backward"}) {
    standin::Reset();
    const Skipped no = Refused({.workspace_bytes = {kHuge}}, Small(direction));
    EXPECT_THAT(no.reason, HasSubstr("with the workspace of the script it needs 256.0 GiB"));
    EXPECT_EQ(standin::Calls("cudaMalloc"), 0);
  }
  // The next plan that can be had takes its place.
  const auto workload =
      Ready(Script{.plans = {1, 1, 1}, .workspace_bytes = {kHuge, 1, 1 << 20}, .unbuildable = 1},
            Small());
  EXPECT_EQ(std::get<std::string>(workload->Describe().at("algorithm")), "plan 2");
  EXPECT_EQ(std::get<std::int64_t>(workload->Describe().at("workspace_bytes")), 1 << 20);
  workload->Run(2);
  EXPECT_EQ(workload->Verify().wrong, 0);
}

TEST_F(CudaAttention, WhatHasNoPlanIsSkippedWithItsReason) {
  EXPECT_THAT(Refused({.refusal = "head dim 3"}, Small()).reason,
              HasSubstr("the script has no plan for this on stand-in (head dim 3)"));
  EXPECT_THAT(Refused({.unbuildable = 0}, Small()).reason, HasSubstr("it can't be built"));
  Attention op = Small();
  op.dtype = Dtype::kF32;
  EXPECT_THAT(Refused({}, op).reason, HasSubstr("bf16, f16 and fp8_e4m3"));
  op = Small();
  op.batch = 1 << 20;
  EXPECT_THAT(Refused({}, op).reason, HasSubstr("GiB"));
  EXPECT_EQ(standin::Calls("cudaMalloc"), 0);
}

TEST_F(CudaAttention, TheDefaultIsTheFirstPlanAndTheTunedOneTheFastestThatIsRight) {
  const Script script = {.plans = {1.0, 0.7, 0.2, 0.1, 0.5},
                         .workspace_bytes = {0, 4096, 1 << 16, 1 << 10, 1 << 20},
                         .failing = 3,
                         .wrong = 2};
  for (const char* direction : {"forward", "backward"}) {
    const Attention tiny = {.seq_q = 2, .seq_kv = 3, .head_dim_qk = 8, .head_dim_v = 8};
    Attention op = tiny;
    op.direction = direction;
    op.cache = "warm";
    EXPECT_EQ(std::get<std::string>(Ready(script, op)->Describe().at("algorithm")), "plan 0");
    op.algo = "tuned";
    const auto workload = Ready(script, op);
    const Facts facts = workload->Describe();
    EXPECT_EQ(std::get<std::string>(facts.at("algorithm")), "plan 4");
    EXPECT_EQ(std::get<std::int64_t>(facts.at("candidates")), 5);
    EXPECT_THAT(std::get<std::string>(facts.at("failed")), HasSubstr("2: wrong: "));
    EXPECT_THAT(std::get<std::string>(facts.at("failed")), HasSubstr("3: it fails"));
    EXPECT_LT(std::get<double>(facts.at("tuned_s")), std::get<double>(facts.at("default_s")));
    workload->Run(3);
    EXPECT_EQ(workload->Verify().wrong, 0);
    // A run tunes each case once.
    const int timings = standin::Calls("cudaEventRecord");
    EXPECT_EQ(Ready(script, op)->Describe().at("tuned_s"), facts.at("tuned_s"));
    EXPECT_EQ(standin::Calls("cudaEventRecord"), timings) << "nothing was timed again";
  }
}

}  // namespace
}  // namespace assay::cuda
