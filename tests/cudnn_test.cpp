// Tests of what cuDNN itself says of attention on GPUs that are not here. It plans for a device
// that is only described to it, up to the kernel that it would load. No GPU has run any of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "described_gpus.h"
#include "kernels/cuda_cudnn.h"
#include "kernels/kernels.h"
#include "results/base/text.h"
#include "results/figures/labels.h"

namespace assay::cuda {
namespace {

using testing::HasSubstr;

TEST_F(Deviceless, ForwardHasAPlanForEveryMaskDtypeAndHeadDimensionSinceAmpere) {
  for (const DescribedGpu& gpu : DescribedGpus()) {
    for (const char* mask : {"full", "causal_top_left", "causal_bottom_right", "window"}) {
      for (const Dtype dtype : {Dtype::kBf16, Dtype::kF16}) {
        for (const auto& [d_qk, d_v] : std::vector<std::pair<int, int>>{
                 {64, 64}, {96, 96}, {128, 128}, {192, 128}, {256, 256}}) {
          Attention op = Heads(d_qk, d_v, "forward");
          op.dtype = dtype;
          op.mask = mask;
          op.window = op.mask == "window" ? 128 : 0;
          EXPECT_EQ(gpu.WhyNot(op).value_or("yes"), "yes")
              << gpu.name << ' ' << mask << ' ' << d_qk;
        }
      }
    }
  }
}

TEST_F(Deviceless, BackwardIsWideOnHopperAlone) {
  const std::map<std::string, std::pair<bool, bool>> d192_and_d256 = {
      {"A100", {false, false}}, {"L40S", {false, false}}, {"H100", {true, true}},
      {"H200", {true, true}},   {"B200", {true, false}},  {"B300", {true, false}}};
  if (CudnnVersion() != "9.19.0") GTEST_SKIP() << "this is known of cuDNN 9.19.0";
  for (const DescribedGpu& gpu : DescribedGpus()) {
    for (const std::int64_t d : {64, 96, 128}) {
      EXPECT_EQ(gpu.WhyNot(Heads(d, d, "backward")).value_or("yes"), "yes") << gpu.name;
    }
    const auto [d192, d256] = d192_and_d256.at(gpu.name);
    EXPECT_EQ(!gpu.WhyNot(Heads(192, 128, "backward")), d192) << gpu.name;
    EXPECT_EQ(!gpu.WhyNot(Heads(256, 256, "backward")), d256) << gpu.name;
  }
}

TEST_F(Deviceless, Fp8HasAForwardSinceHopper) {
  for (const DescribedGpu& gpu : DescribedGpus()) {
    for (const char* mask : {"full", "causal_top_left"}) {
      for (const std::int64_t d : {64, 128}) {
        Attention op = Heads(d, d, "forward");
        op.dtype = Dtype::kFp8E4m3;
        op.mask = mask;
        if (gpu.capability >= 90) {
          EXPECT_EQ(gpu.WhyNot(op).value_or("yes"), "yes") << gpu.name << ' ' << mask << ' ' << d;
        } else {
          EXPECT_THAT(gpu.WhyNot(op).value_or("yes"), HasSubstr("Hopper")) << gpu.name;
        }
      }
    }
  }
}

TEST_F(Deviceless, DecodeHasAPlanForSharedHeadsAndPages) { ExpectDecodeForSharedHeadsAndPages(); }

TEST_F(Deviceless, WhatHasNoPlanSaysWhy) {
  const DescribedGpu h100 = DescribedGpus().at(2);
  ASSERT_EQ(h100.name, "H100");
  EXPECT_THAT(h100.WhyNot(Heads(100, 100, "forward")).value_or(""), HasSubstr("multiple of 8"));
  Attention op = Heads(128, 128, "forward");
  op.mask = "causal_bottom_right";
  op.seq_q = 2048;  // queries without keys
  EXPECT_THAT(h100.WhyNot(op).value_or(""), HasSubstr("max_s_q > max_s_kv"));

  const Attention pages = {.heads_q = 32,
                           .heads_kv = 8,
                           .seq_q = 1,
                           .seq_kv = 1024,
                           .head_dim_qk = 128,
                           .head_dim_v = 128,
                           .phase = "decode",
                           .page_size = 48};
  EXPECT_THAT(h100.WhyNot(pages).value_or(""), HasSubstr("power of 2"));

  auto turing = nlohmann::json::parse(h100.properties);
  turing["deviceVer"] = 750;
  EXPECT_THAT(WhyNoPlan(Heads(64, 64, "forward"), 75, turing.dump()).value_or(""),
              HasSubstr("SM80"));
  turing.erase("warpSize");
  EXPECT_THROW(WhyNoPlan(Heads(64, 64, "forward"), 75, turing.dump()), Error);
}

// The table between these lines of docs/attention.md, as cuDNN has it now.
constexpr char kBegin[] = "<!-- table: written by cudnn_test -->\n";
constexpr char kEnd[] = "<!-- end of table -->\n";

std::string Table() {
  std::string head = "| case |";
  std::string line = "|---|";
  for (const DescribedGpu& gpu : DescribedGpus()) {
    head += ' ' + gpu.name + " |";
    line += ":-:|";
  }
  std::vector<std::string> reasons;
  std::string rows;
  for (const Params& params : Questions()) {
    rows += "| " + CaseLabel("attention", params) + " |";
    for (const DescribedGpu& gpu : DescribedGpus()) {
      const std::optional<std::string> why = gpu.WhyNot(kernels::AttentionOf(params));
      if (!why) {
        rows += " yes |";
        continue;
      }
      auto at = std::find(reasons.begin(), reasons.end(), *why);
      if (at == reasons.end()) at = reasons.insert(at, *why);
      rows += fmt::format(" no ({}) |", at - reasons.begin() + 1);
    }
    rows += '\n';
  }
  std::string notes;
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    notes += fmt::format("{}. \"{}\"\n", i + 1, reasons[i]);
  }
  return fmt::format("By cuDNN {}:\n\n{}\n{}\n{}\n{}", CudnnVersion(), head, line, rows, notes);
}

TEST_F(Deviceless, TheTableOfWhatRunsWhereIsThatOfTheFullSuite) {
  const std::string path = "docs/attention.md";
  const std::string page = ReadFile(path);
  const std::size_t begin = page.find(kBegin);
  const std::size_t end = page.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const std::size_t from = begin + sizeof(kBegin) - 1;
  const std::string written = page.substr(from, end - from);
  if (std::getenv("ASSAY_UPDATE") != nullptr) {
    std::ofstream(ASSAY_SOURCE_DIR "/" + path)
        << page.substr(0, from) << Table() << page.substr(end);
    return;
  }
  if (written.find("By cuDNN " + CudnnVersion() + ":") == std::string::npos) {
    GTEST_SKIP() << "the table is of another cuDNN than " << CudnnVersion();
  }
  EXPECT_EQ(written, Table()) << "ASSAY_UPDATE=1 rewrites it";
}

}  // namespace
}  // namespace assay::cuda
