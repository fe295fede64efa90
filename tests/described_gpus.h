// GPUs that are not here, as they are described to cuDNN, and what the full suite asks of them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda_cudnn.h"
#include "kernels/kernels.h"
#include "runner/program/suite.h"

namespace assay::cuda {

struct DescribedGpu {
  std::string name = {};
  int capability = 0;
  std::string properties = {};

  std::optional<std::string> WhyNot(const Attention& op) const {
    return WhyNoPlan(op, capability, properties);
  }
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(ASSAY_SOURCE_DIR "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<DescribedGpu> DescribedGpus() {
  std::vector<DescribedGpu> gpus;
  const auto described = nlohmann::json::parse(ReadFile("tests/data/cudnn_devices.json"));
  for (const auto& gpu : described.at("gpus")) {
    EXPECT_FALSE(gpu.at("source").get<std::string>().empty());
    gpus.push_back({.name = gpu.at("gpu"),
                    .capability = gpu.at("capability"),
                    .properties = gpu.at("properties").dump()});
    EXPECT_EQ(gpu.at("properties").at("deviceVer"), 10 * gpus.back().capability);
  }
  return gpus;
}

// Held to what cuDNN says, where there is one.
class Deviceless : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto no = NoCudnn()) GTEST_SKIP() << no->reason;
  }
};

inline Attention Heads(std::int64_t d_qk, std::int64_t d_v,
                       const std::string& direction = "forward") {
  return {.heads_q = 32,
          .heads_kv = 8,
          .seq_q = 1024,
          .seq_kv = 1024,
          .head_dim_qk = d_qk,
          .head_dim_v = d_v,
          .direction = direction};
}

inline Attention Decode(std::int64_t heads_kv, std::int64_t page_size) {
  return {.batch = 4,
          .heads_q = 32,
          .heads_kv = heads_kv,
          .seq_q = 1,
          .seq_kv = 1000,
          .head_dim_qk = 128,
          .head_dim_v = 128,
          .phase = "decode",
          .page_size = page_size};
}

inline void ExpectDecodeForSharedHeadsAndPages() {
  for (const DescribedGpu& gpu : DescribedGpus()) {
    for (const std::int64_t heads_kv : {32, 8, 1}) {
      for (const std::int64_t page_size : {0, 1, 16, 64, 256}) {
        EXPECT_EQ(gpu.WhyNot(Decode(heads_kv, page_size)).value_or("yes"), "yes")
            << gpu.name << ", heads " << heads_kv << ", pages of " << page_size;
      }
    }
  }
}

// The questions that the full suite asks of attention.
inline std::vector<Params> Questions() {
  std::vector<Params> questions;
  for (const Question& question :
       Unfold(LoadSuite("full"), kernels::Probes({}), {.probes = {"attention"}})) {
    questions.push_back(question.params);
  }
  return questions;
}

}  // namespace assay::cuda
