// The spread between the runs of one machine, as rows for a noise.csv.
#pragma once

#include <string>
#include <vector>

#include "results/figures/compare.h"
#include "results/figures/noise.h"
#include "results/file/run.h"

namespace assay {

// One probe's row, and what it came from.
struct SpreadFound {
  Noise row = {};
  std::string widest = {};  // the case whose sigma this is, since it varied most
  int cases = 0;            // the number of cases that all runs measured
  Change a_to_b = {};       // the change of that case from runs 1, 3, 5 … to runs 2, 4, 6 …
};
// Finds one row, with this date, for each probe, from four runs or more of one machine, given in
// the order in which they were begun. Throws Error where no case was measured in all of them with
// any spread, and for runs of several machines (MachineOf).
std::vector<SpreadFound> FindSpread(const std::vector<Run>& runs, const std::string& date);

// The outcome of merging new rows into old ones.
struct MergedNoise {
  std::vector<Noise> rows = {};
  bool is_changed = false;
  std::vector<std::string> kept = {};  // sentences on old rows that say more than the new ones
};
// Merges new rows into old ones, in the place of those with the same probe and machine. A row isn't
// replaced by one with fewer degrees of freedom, as far as they count, or one that was spread over
// less time.
MergedNoise MergeNoise(std::vector<Noise> rows, const std::vector<SpreadFound>& found);

}  // namespace assay
