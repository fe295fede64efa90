// A Backend is one way of running Ops. To add one: a file that implements these three functions,
// one line in the list of kernels.cpp, one find_package in CMakeLists.txt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/op.h"
#include "runner/probe.h"

namespace assay {

struct Device {
  std::string name = {};  // "cpu", "cuda:0"
  std::string kind = {};  // "cpu", "gpu"
  int index = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string Name() const = 0;
  // Empty where there are none. Never throws.
  virtual std::vector<Device> Devices() = 0;
  // The op, ready to be timed on that device, or why it can't be. Inputs come from `seed`.
  virtual Prepared Prepare(const Op& op, const Device& device, std::uint64_t seed) = 0;
};

}  // namespace assay
