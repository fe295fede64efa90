// The choice among a library's algorithms for the same work, by timing those that are right.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "runner/probe.h"

namespace assay::cuda {

// Several ways of doing the same, numbered in the order in which the library proposes them.
struct Candidates {
  std::string library = {};  // whose they are: "cuBLASLt"
  int count = 0;
  // What is done from now on is done by this one. This and what follows may throw Error.
  std::function<void(int candidate)> use = {};
  std::function<Checked()> once = {};  // done once, with nothing left of what was there before
  std::function<Seconds(std::int64_t iterations)> time = {};  // of all of them
};

// The one that a tuned case keeps to, once chosen, and what was learnt of the others.
struct Tuned {
  int candidate = 0;
  Facts facts = {};
};
using Tunings = std::map<std::string, Tuned>;  // by case and device

// The fastest of those that give right answers. Throws Error where none does.
Tuned Fastest(const Candidates& candidates);

}  // namespace assay::cuda
