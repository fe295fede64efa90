// Distinct runs: each run is counted once, however many files hold it. A copy repeats no
// measurement, so that counted as a second run it would make chance look like certainty.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/figures/compare.h"
#include "results/file/run.h"

namespace assay {

// A run with the name of the file that it was read from.
struct NamedRun {
  std::string name = {};     // the name of its file, as given
  const Run* run = nullptr;  // never null, and not owned
};

// The distinct runs among those given. Among a run's copies, its journal and its file, the fullest
// is kept, which is the one that holds all that the others hold.
struct Distinct {
  std::vector<std::size_t> kept = {};   // ascending indices
  std::vector<std::string> notes = {};  // one sentence for each that was left out
};
// Finds the distinct runs. Runs with the same id are one; a run without an id is always distinct.
// Throws Error where two runs with the same id contradict each other.
Distinct DistinctRuns(std::span<const NamedRun> runs);

// Reduces a side to its distinct runs, and returns a sentence for each that was left out.
std::vector<std::string> CountOnce(Side& side);

// Throws Error where a run is on both sides.
void CheckApart(const Side& baseline, const Side& candidate);

}  // namespace assay
