// Tests of what cuDNN itself says of its one operation for attention, which is all that a build
// without cuDNN's frontend has. As in tests/cudnn_test.cpp, GPUs are only described, and none has
// run it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "described_gpus.h"
#include "kernels/cuda_cudnn.h"
#include "kernels/cuda_sdpa.h"
#include "results/base/error.h"

namespace assay::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::ThrowsMessage;

class WithoutFrontend : public Deviceless {};

TEST_F(WithoutFrontend, ForwardHasAPlanForEveryDtypeAndHeadDimensionSinceAmpere) {
  for (const DescribedGpu& gpu : DescribedGpus()) {
    for (const Dtype dtype : {Dtype::kBf16, Dtype::kF16}) {
      for (const auto& [d_qk, d_v] : std::vector<std::pair<int, int>>{
               {64, 64}, {96, 96}, {128, 128}, {192, 128}, {256, 256}}) {
        Attention op = Heads(d_qk, d_v);
        op.dtype = dtype;
        EXPECT_EQ(gpu.WhyNot(op).value_or("yes"), "yes") << gpu.name << ' ' << d_qk;
      }
    }
  }
}

TEST_F(WithoutFrontend, DecodeHasAPlanForSharedHeadsAndPages) {
  ExpectDecodeForSharedHeadsAndPages();
}

TEST_F(WithoutFrontend, WhatItLacksNamesTheFrontendAndTheRemedy) {
  const DescribedGpu h100 = DescribedGpus().at(2);
  const auto why = [&](Attention op) { return h100.WhyNot(op).value_or(""); };
  const auto remedy =
      AllOf(HasSubstr("needs cuDNN's frontend"), HasSubstr("-DASSAY_CUDNN_FRONTEND=DIR"));

  Attention op = Heads(128, 128);
  op.direction = "backward";
  EXPECT_THAT(why(op), AllOf(HasSubstr("backward"), remedy));
  op = Heads(128, 128);
  op.dtype = Dtype::kFp8E4m3;
  EXPECT_THAT(why(op), AllOf(HasSubstr("fp8"), remedy));
  for (const char* mask : {"causal_top_left", "causal_bottom_right", "window"}) {
    op = Heads(128, 128);
    op.mask = mask;
    op.window = op.mask == "window" ? 128 : 0;
    EXPECT_THAT(why(op), AllOf(HasSubstr("a mask"), remedy)) << mask;
  }
}

TEST_F(WithoutFrontend, AMaskThatHidesNothingIsNone) {
  const DescribedGpu h100 = DescribedGpus().at(2);
  Attention op = Decode(8, 0);
  op.mask = "causal_bottom_right";  // of the last query
  EXPECT_EQ(h100.WhyNot(op).value_or("yes"), "yes");
  op.mask = "window";
  op.window = op.seq_kv;
  EXPECT_EQ(h100.WhyNot(op).value_or("yes"), "yes");
  op.window = op.seq_kv - 1;
  EXPECT_THAT(h100.WhyNot(op).value_or(""), HasSubstr("a mask"));
  op.mask = "causal_top_left";  // the one query sees one key
  EXPECT_THAT(h100.WhyNot(op).value_or(""), HasSubstr("a mask"));
}

TEST_F(WithoutFrontend, OfTheFullSuiteWhatNeedsNoFrontendHasAPlanEverywhere) {
  std::set<bool> answers;
  for (const Params& params : Questions()) {
    const Attention op = kernels::AttentionOf(params);
    const bool simple =
        op.direction == "forward" && op.mask == "full" && op.dtype != Dtype::kFp8E4m3;
    answers.insert(simple);
    for (const DescribedGpu& gpu : DescribedGpus()) {
      const std::string why = gpu.WhyNot(op).value_or("yes");
      EXPECT_EQ(why == "yes", simple) << gpu.name << ", " << op.seq_kv << ": " << why;
    }
  }
  EXPECT_EQ(answers.size(), 2);
}

TEST_F(WithoutFrontend, WhatHasNoPlanSaysWhyInCudnnsWords) {
  const DescribedGpu h100 = DescribedGpus().at(2);
  ASSERT_EQ(h100.name, "H100");
  EXPECT_EQ(h100.WhyNot(Heads(100, 100)).value_or(""),
            "Embedding dim per head for q and k is not a multiple of 8");
  EXPECT_EQ(h100.WhyNot(Decode(8, 48)).value_or(""),
            "block size needs to be non-zero and a power of 2");

  auto turing = nlohmann::json::parse(h100.properties);
  turing["deviceVer"] = 750;
  EXPECT_EQ(WhyNoPlan(Heads(64, 64), 75, turing.dump()).value_or(""),
            "it has no engine for this GPU");
  turing.erase("warpSize");
  EXPECT_THAT([&] { WhyNoPlan(Heads(64, 64), 75, turing.dump()); },
              ThrowsMessage<Error>(HasSubstr("failed in a description of a device")));
}

// Without a driver a plan is made, and the kernel for it, which can't be loaded.
TEST_F(WithoutFrontend, APlanIsNamedByItsEngineAndIsBuiltUpToTheKernelThatItLoads) {
  const DescribedGpu h100 = DescribedGpus().at(2);
  for (const Attention& op : {Heads(128, 128), Decode(8, 16)}) {
    const auto planned = PlanSdpa(op, h100.properties);
    ASSERT_EQ(planned.index(), 0);
    AttentionPlans& plans = *std::get<0>(planned);
    ASSERT_GE(plans.Count(), 2);
    std::set<std::string> names;
    for (int plan = 0; plan < plans.Count(); ++plan) names.insert(plans.Name(plan));
    EXPECT_EQ(static_cast<int>(names.size()), plans.Count()) << testing::PrintToString(names);
    EXPECT_THAT(names, testing::Each(MatchesRegex("eng[0-9]+(_k[0-9]+=[0-9]+)*")));
    EXPECT_THAT([&] { plans.Build(0); },
                ThrowsMessage<Error>(
                    AllOf(HasSubstr("failed in building a plan"), HasSubstr("cuLibraryLoadData"))));
  }
}

}  // namespace
}  // namespace assay::cuda
