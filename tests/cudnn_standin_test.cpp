// Tests of attention from its inputs to its check by way of cudnn-frontend, over a stand-in for
// cuDNN that computes the graph it is given. No test here knows whether a GPU would accept it, and
// how fast it would be.
#include <cudnn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda_attention.h"
#include "kernels/cuda_cudnn.h"
#include "kernels/cuda_sdpa.h"
#include "results/base/error.h"
#include "standin/fixture.h"

namespace assay::cuda {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

Attention Small(const std::string& direction = "forward") {
  return {.batch = 2,
          .heads_q = 4,
          .heads_kv = 2,
          .seq_q = 6,
          .seq_kv = 10,
          .head_dim_qk = 16,
          .head_dim_v = 8,
          .direction = direction};
}

class CudnnStandin : public standin::Fixture {
 protected:
  void SetUp() override {
    Fixture::SetUp();
    ASSERT_EQ(NoCudnn(), std::nullopt);
    library_ = MakeCudnn();
  }

  Prepared Prepare(const Attention& op) {
    return PrepareAttention(*library_, op, Gpu::At(0), tunings_, 7);
  }
  std::unique_ptr<Workload> Ready(const Attention& op) {
    Prepared prepared = Prepare(op);
    if (const Skipped* no = std::get_if<Skipped>(&prepared)) throw Error("skipped: " + no->reason);
    return std::move(std::get<0>(prepared));
  }
  // The largest error, where none is too large.
  double ErrorOf(const Attention& op, const std::string& what) {
    const auto workload = Ready(op);
    workload->Run(2);
    const Checked checked = workload->Verify();
    EXPECT_EQ(checked.wrong, 0) << what << ": " << checked.what.value_or("");
    EXPECT_GT(checked.checked, 0) << what;
    return checked.max_error;
  }
  // Expects the reasons for a small forward where there is no plan, and where the only one can't be
  // built.
  void ExpectReasons(const std::string& of_the_unbuildable) {
    const auto reason = [&](const standin::Faults& faults) {
      standin::Reset(faults);
      return std::get<Skipped>(Prepare(Small())).reason;
    };
    EXPECT_THAT(reason({.unsupported = true}),
                HasSubstr("has no plan for this on stand-in (nothing is supported)"));
    EXPECT_THAT(reason({.compute_capability = 70}),
                HasSubstr("it isn't made for compute capability 7.0"));
    EXPECT_THAT(reason({.unbuildable_plan = 0}), HasSubstr(of_the_unbuildable));
  }

  std::unique_ptr<AttentionLibrary> library_ = {};
  Tunings tunings_ = {};
};

Attention Decode(std::int64_t page_size) {
  Attention op = Small();
  op.seq_q = 1;
  op.seq_kv = 21;
  op.head_dim_v = 16;
  op.phase = "decode";
  op.page_size = page_size;
  return op;
}

const std::vector<const char*> kMasks = {"full", "causal_top_left", "causal_bottom_right",
                                         "window"};
Attention Under(const std::string& mask, Attention op) {
  op.mask = mask;
  op.window = mask == "window" ? 3 : 0;
  return op;
}

// Each generation of GPUs has its own graphs.
TEST_F(CudnnStandin, BothDirectionsAreRightUnderEveryMaskOnEachGeneration) {
  for (const int capability : {80, 90, 100, 120}) {
    standin::Reset({.compute_capability = capability});
    for (const char* direction : {"forward", "backward"}) {
      for (const char* mask : kMasks) {
        for (const Dtype dtype : {Dtype::kBf16, Dtype::kF16}) {
          Attention op = Under(mask, Small(direction));
          op.dtype = dtype;
          ErrorOf(op,
                  fmt::format("sm_{} {} {} {}", capability, direction, mask, assay::ToText(dtype)));
        }
      }
    }
  }
}

TEST_F(CudnnStandin, HeadsShareKeysByGroups) {
  for (const char* direction : {"forward", "backward"}) {
    for (const std::int64_t heads_kv : {1, 2, 4}) {
      Attention op = Small(direction);
      op.heads_kv = heads_kv;
      ErrorOf(op, fmt::format("{}, {} heads of keys", direction, heads_kv));
    }
  }
}

TEST_F(CudnnStandin, DecodeReadsItsCacheInOnePieceOrByPages) {
  for (const std::int64_t page_size : {0, 1, 8, 16}) {  // 21 keys end within a page
    for (const Dtype dtype : {Dtype::kBf16, Dtype::kFp8E4m3}) {
      Attention op = Decode(page_size);
      op.dtype = dtype;
      ErrorOf(op, fmt::format("{} with pages of {}", assay::ToText(dtype), page_size));
    }
  }
}

TEST_F(CudnnStandin, Fp8IsRightWithItsScales) {
  for (const int capability : {90, 100}) {
    standin::Reset({.compute_capability = capability});
    for (const char* mask : kMasks) {
      Attention op = Under(mask, Small());
      op.head_dim_v = 16;
      op.dtype = Dtype::kFp8E4m3;
      if (capability == 90 && op.mask != "full" && op.mask != "causal_top_left") {
        EXPECT_THAT(std::get<Skipped>(Prepare(op)).reason, HasSubstr("Blackwell")) << mask;
      } else {
        EXPECT_GT(ErrorOf(op, mask), 0.01) << "its weights and its output are rounded to fp8";
      }
    }
  }
}

// A pass as the library has it, with memory of its own for each part.
class Direct {
 public:
  Direct(AttentionLibrary& library, const Attention& op, Pass pass, const std::vector<Part>& parts)
      : op_(op),
        plans_(std::move(std::get<0>(library.Plan(op, pass, Gpu::At(0), timer_.Stream())))) {
    plans_->Build(0);
    for (const Part part : parts) {
      memory_.push_back(MakeDeviceMemory(static_cast<std::size_t>(ShapeOf(op, part).Bytes())));
      pointers[part] = memory_.back().get();
    }
    memory_.push_back(MakeDeviceMemory(static_cast<std::size_t>(plans_->WorkspaceBytes(0))));
    workspace = memory_.back().get();
  }

  template <class T>
  void Set(Part part, const std::vector<T>& values) {
    Check(cudaMemcpyAsync(pointers.at(part), values.data(), values.size() * sizeof(T),
                          cudaMemcpyHostToDevice, timer_.Stream()));
    timer_.Wait("writing");
  }
  template <class T>
  std::vector<T> Get(Part part) {
    std::vector<T> values(static_cast<std::size_t>(ShapeOf(op_, part).Count()));
    Check(cudaMemcpyAsync(values.data(), pointers.at(part), values.size() * sizeof(T),
                          cudaMemcpyDeviceToHost, timer_.Stream()));
    timer_.Wait("reading");
    return values;
  }
  void Enqueue() { plans_->Enqueue(0, pointers, workspace); }

  AttentionPlans::Pointers pointers = {};
  void* workspace = nullptr;

 private:
  Attention op_;
  Timer timer_ = Timer();
  std::unique_ptr<AttentionPlans> plans_;
  std::vector<DeviceMemory> memory_ = {};
};

TEST_F(CudnnStandin, Fp8TellsItsLargestWeightAndOutputBeforeTheirScaling) {
  Attention op = {.seq_q = 2, .seq_kv = 4, .head_dim_qk = 16, .head_dim_v = 16};
  op.dtype = Dtype::kFp8E4m3;
  const std::vector<Part> parts = {Part::kQ,       Part::kK,      Part::kV,      Part::kO,
                                   Part::kDescale, Part::kScaleS, Part::kScaleO, Part::kDescaleS,
                                   Part::kMaxS,    Part::kMaxO};
  for (const auto& [mask, largest] : {std::pair("full", 0.25F), {"causal_top_left", 1.0F}}) {
    op.mask = mask;
    Direct direct(*library_, op, Pass::kForward, parts);
    // All weights of queries that see no difference are equal.
    direct.Set(Part::kQ, std::vector<std::uint8_t>(2 * 16, F8E4m3FromF32(0)));
    direct.Set(Part::kK, std::vector<std::uint8_t>(4 * 16, F8E4m3FromF32(1)));
    direct.Set(Part::kV, std::vector<std::uint8_t>(4 * 16, F8E4m3FromF32(-6)));
    direct.Set(Part::kDescale, std::vector<float>{0.5F});
    direct.Set(Part::kScaleS, std::vector<float>{64});
    direct.Set(Part::kDescaleS, std::vector<float>{1 / 64.0F});
    direct.Set(Part::kScaleO, std::vector<float>{8});
    direct.Enqueue();
    EXPECT_EQ(direct.Get<float>(Part::kMaxS).at(0), largest) << mask;
    EXPECT_NEAR(direct.Get<float>(Part::kMaxO).at(0), 3, 1e-6) << mask;
    EXPECT_EQ(F32FromF8E4m3(direct.Get<std::uint8_t>(Part::kO).at(0)), -24) << mask;
  }
}

TEST_F(CudnnStandin, BeforeHopperThereIsNoFp8AndItSaysSo) {
  standin::Reset({.compute_capability = 80});
  Attention op = Small();
  op.dtype = Dtype::kFp8E4m3;
  EXPECT_THAT(std::get<Skipped>(Prepare(op)).reason, HasSubstr("Hopper"));
}

TEST_F(CudnnStandin, TheFastestPlanThatIsRightIsChosenByItsName) {
  standin::Reset({.algorithms = {1.0, 0.7, 0.1, 0.2, 0.5, 0.05},
                  .failing_algorithm = 3,
                  .wrong_algorithm = 2,
                  .unbuildable_plan = 5,
                  .workspace_bytes = {0, 4096, 1024, 1024, 1 << 20}});
  for (const char* direction : {"forward", "backward"}) {
    Attention op = {.seq_q = 2, .seq_kv = 3, .head_dim_qk = 8, .head_dim_v = 8};
    op.direction = direction;
    op.cache = "warm";
    const auto name = [](const Facts& facts) {
      return std::get<std::string>(facts.at("algorithm"));
    };
    const std::string first = name(Ready(op)->Describe());
    op.algo = "tuned";
    const auto workload = Ready(op);
    const Facts facts = workload->Describe();
    EXPECT_THAT(first, testing::EndsWith("=0"));
    EXPECT_THAT(name(facts), testing::EndsWith("=4"));
    EXPECT_EQ(std::get<std::int64_t>(facts.at("plans")), 6);
    EXPECT_GE(std::get<std::int64_t>(facts.at("workspace_bytes")), 1 << 20);
    EXPECT_THAT(std::get<std::string>(facts.at("failed")), HasSubstr("2: wrong: "));
    EXPECT_THAT(std::get<std::string>(facts.at("failed")), HasSubstr("this plan fails"));
    workload->Run(3);
    EXPECT_EQ(workload->Verify().wrong, 0);
  }
}

TEST_F(CudnnStandin, AWorkspaceThatCannotBeHadIsNeverAskedFor) {
  constexpr std::int64_t kHuge = std::int64_t{256} << 30;
  for (const char* direction : {"forward", "backward"}) {
    standin::Reset({.workspace_bytes = {kHuge}});
    EXPECT_THAT(std::get<Skipped>(Prepare(Small(direction))).reason,
                HasSubstr("it needs 256.0 GiB"));
    EXPECT_EQ(standin::Calls("cudaMalloc"), 0);
  }
}

TEST_F(CudnnStandin, WhatHasNoPlanSaysWhy) { ExpectReasons("this plan can't be built"); }

TEST_F(CudnnStandin, TakesWhatTheDeviceSays) {
  Attention op = Small();
  op.cache = "warm";
  const double each =
      standin::kLaunch_s + static_cast<double>(*WorkOf(op).flops) / standin::kFlopsPerSecond;
  EXPECT_NEAR(Ready(op)->Run(40).time.count(), 40 * each, 40 * each * 1e-3);
}

TEST_F(CudnnStandin, EachGpuIsAskedByAHandleOfItsOwn) {
  std::vector<std::unique_ptr<Workload>> workloads;
  for (const int device : {0, 1}) {
    Check(cudaSetDevice(device));
    Prepared prepared = PrepareAttention(*library_, Small(), Gpu::At(device), tunings_, 7);
    workloads.push_back(std::move(std::get<0>(prepared)));
    workloads.back()->Run(1);
  }
  Check(cudaSetDevice(0));
  for (const auto& workload : workloads) EXPECT_EQ(workload->Verify().wrong, 0);
  EXPECT_EQ(standin::Calls("cudnnCreate"), 2);
}

TEST_F(CudnnStandin, ADescriptorIsMadeOnceSetBeforeItIsFinalAndDestroyedOnce) {
  cudnnBackendDescriptor_t tensor = nullptr;
  cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &tensor);
  const auto set = [&](cudnnBackendAttributeName_t name, std::int64_t value) {
    return cudnnBackendSetAttribute(tensor, name, CUDNN_TYPE_INT64, 1, &value);
  };
  EXPECT_EQ(set(CUDNN_ATTR_TENSOR_UNIQUE_ID, 1), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(cudnnBackendFinalize(tensor), CUDNN_STATUS_BAD_PARAM);
  EXPECT_THAT(standin::Violations().at(0), HasSubstr("lacks attribute"));
  EXPECT_DEATH(set(CUDNN_ATTR_TENSOR_VECTOR_COUNT, 4), "knows no attribute 904");

  const int type = CUDNN_DATA_FLOAT;
  cudnnBackendSetAttribute(tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  for (const auto name : {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_ATTR_TENSOR_STRIDES,
                          CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT}) {
    set(name, 1);
  }
  EXPECT_EQ(cudnnBackendFinalize(tensor), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(set(CUDNN_ATTR_TENSOR_UNIQUE_ID, 2), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(standin::Leaks().at("cuDNN descriptor"), 1);
  EXPECT_EQ(cudnnBackendDestroyDescriptor(tensor), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(cudnnBackendDestroyDescriptor(tensor), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(standin::Violations().size(), 3U);
  standin::Reset();
}

// A GPU might forgive this, or answer with a wrong number.
TEST_F(CudnnStandin, APointerThatIsWrongIsAViolation) {
  const std::vector<Part> parts = {Part::kQ, Part::kK, Part::kV, Part::kO};
  std::vector<float> host(1 << 16);
  const std::vector<std::function<void(Direct&)>> mistakes = {
      [&](Direct& direct) { direct.pointers[Part::kQ] = host.data(); },
      [&](Direct& direct) { direct.pointers[Part::kO] = direct.workspace; },  // which is too small
      [](Direct& direct) {
        direct.pointers[Part::kK] = static_cast<std::byte*>(direct.pointers[Part::kK]) + 2;
      },
      [&](Direct& direct) { direct.workspace = host.data(); },
      [](Direct& direct) { direct.pointers.erase(Part::kV); }};
  for (std::size_t i = 0; i < mistakes.size(); ++i) {
    standin::Reset({.workspace_bytes = {256}});
    {
      Direct direct(*library_, Small(), Pass::kForward, parts);
      direct.Enqueue();
      EXPECT_THAT(standin::Violations(), IsEmpty());
      mistakes[i](direct);
      EXPECT_THROW(direct.Enqueue(), Error) << i;
    }
    EXPECT_THAT(standin::Leaks(), IsEmpty());
  }
  standin::Reset();
}

// ---- Without the frontend

class SdpaStandin : public CudnnStandin {
 protected:
  void SetUp() override {
    CudnnStandin::SetUp();
    library_ = MakeSdpa();
  }
};

TEST_F(SdpaStandin, ForwardAndDecodeAreRightForSharedHeadsAndPages) {
  for (const Dtype dtype : {Dtype::kBf16, Dtype::kF16}) {
    for (const std::int64_t heads_kv : {1, 2, 4}) {
      for (Attention op : {Small(), Decode(0), Decode(1), Decode(8), Decode(16)}) {
        op.dtype = dtype;
        op.heads_kv = heads_kv;
        ErrorOf(op, fmt::format("{} {} heads of keys, {} pages of {}", assay::ToText(dtype),
                                heads_kv, op.phase, op.page_size));
      }
    }
  }
  Attention op = Decode(8);
  op.mask = "causal_bottom_right";  // which hides nothing of the last query
  ErrorOf(op, op.mask);
}

TEST_F(SdpaStandin, AnythingElseIsSkippedAndNamesTheFrontend) {
  for (Attention op : {Small("backward"), Under("causal_top_left", Small())}) {
    const Skipped no = std::get<Skipped>(Prepare(op));
    EXPECT_THAT(no.reason, HasSubstr("without its frontend has no plan for this on stand-in"));
    EXPECT_THAT(no.reason, HasSubstr("-DASSAY_CUDNN_FRONTEND=DIR"));
  }
  EXPECT_EQ(standin::Calls("cudnnBackendCreateDescriptor"), 0);
}

TEST_F(SdpaStandin, TheFastestPlanThatIsRightIsChosenByItsName) {
  standin::Reset({.algorithms = {1.0, 0.7, 0.1, 0.2, 0.5, 0.05},
                  .failing_algorithm = 3,
                  .wrong_algorithm = 2,
                  .unbuildable_plan = 5,
                  .workspace_bytes = {0, 4096, 1024, 1024, 1 << 20}});
  Attention op = Small();
  op.cache = "warm";
  op.algo = "tuned";
  const auto workload = Ready(op);
  const Facts facts = workload->Describe();
  EXPECT_THAT(std::get<std::string>(facts.at("algorithm")), testing::EndsWith("=4"));
  EXPECT_EQ(std::get<std::int64_t>(facts.at("plans")), 6);
  EXPECT_EQ(std::get<std::int64_t>(facts.at("workspace_bytes")), 1 << 20);
  EXPECT_THAT(std::get<std::string>(facts.at("failed")), HasSubstr("2: wrong: "));
  EXPECT_THAT(std::get<std::string>(facts.at("failed")),
              HasSubstr("failed in attention: status 5000, this plan fails"));
}

TEST_F(SdpaStandin, WhatHasNoPlanSaysWhy) {
  ExpectReasons("failed in building a plan: status 3000, this plan can't be built");
}

}  // namespace
}  // namespace assay::cuda
