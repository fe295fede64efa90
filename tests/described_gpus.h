// GPUs that are not here, as they are described to cuDNN, and what the full suite asks of them.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda_cudnn.h"
#include "kernels/kernels.h"
#include "runner/suite.h"

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

// What the full suite asks of attention.
inline std::vector<Params> Questions() {
  std::vector<Params> questions;
  for (const Question& question :
       Unfold(LoadSuite("full"), kernels::Probes({}), {.probes = {"attention"}})) {
    questions.push_back(question.params);
  }
  return questions;
}

}  // namespace assay::cuda
