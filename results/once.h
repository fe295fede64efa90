// A run is counted once, however many files hold it: a copy repeats no measurement, and counted as
// a second run it would make chance look like certainty.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/compare.h"
#include "results/run.h"

namespace assay {

struct NamedRun {
  std::string name = {};  // of its file, as given
  const Run* run = nullptr;
};

// The runs among those given, each once. Of a run's copies, its journal and its file, the fullest
// is kept: the one that holds all that the others hold.
struct Distinct {
  std::vector<std::size_t> kept = {};   // ascending indices
  std::vector<std::string> notes = {};  // one sentence for each that was left out
};
// Runs are one where they have one id; one without an id is always a run of its own. Throws Error
// where two of one id contradict each other.
Distinct DistinctRuns(std::span<const NamedRun> runs);

// Leaves each run of a side once, and says which were left out.
std::vector<std::string> CountOnce(Side& side);

// Throws Error where a run is on both sides.
void CheckApart(const Side& baseline, const Side& candidate);

}  // namespace assay
