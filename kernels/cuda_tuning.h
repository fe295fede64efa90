// Autotuning: the choice among a library's algorithms for the same work, by timing those that give
// right answers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "runner/core/probe.h"

namespace assay::cuda {

// Several algorithms for the same work, numbered in the order in which the library proposes them.
// An Error that a function throws takes the algorithm in use out of the contest.
struct Candidates {
  std::string library = {};  // the library that offers them: "cuBLASLt"
  int count = 0;             // at least 1
  // Selects the algorithm that later calls of `once` and `time` run.
  std::function<void(int candidate)> use = {};
  // Overwrites the output, runs the work once, and checks it.
  std::function<Checked()> once = {};
  // Runs the work `iterations` times and returns the time of all of them together.
  std::function<Seconds(std::int64_t iterations)> time = {};
};

// The algorithm that a tuned case keeps for the whole run, and what was learnt of the others.
struct Tuned {
  int candidate = 0;
  Facts facts = {};
};
using Tunings = std::map<std::string, Tuned>;  // keyed by case and device

// Finds the fastest candidate that gives right answers, which takes seconds; where it isn't faster
// than the library's first when both are timed again, that one is chosen. Leaves any candidate in
// use. Throws Error where none gives a right answer, or the fastest fails when it is timed again.
Tuned Fastest(const Candidates& candidates);

}  // namespace assay::cuda
