// What the runs of one machine differ by, as rows for a noise.csv.
#pragma once

#include <string>
#include <vector>

#include "results/compare.h"
#include "results/noise.h"
#include "results/run.h"

namespace assay {

// One probe's row, and what it came from.
struct SpreadFound {
  Noise row = {};
  std::string widest = {};  // the case whose sigma this is, since it varied most
  int cases = 0;            // that all runs measured
  Change a_to_b = {};       // of that case: every other run against the rest
};

// One row for each probe, from four runs or more of one machine, given in the order in which they
// were begun. // Throws Error where nothing was measured in all of them, and for runs of several
// machines.
std::vector<SpreadFound> SpreadOf(const std::vector<Run>& runs, const std::string& date);

struct MergedNoise {
  std::vector<Noise> rows = {};
  bool is_changed = false;
  std::vector<std::string> kept = {};  // in sentences, the rows that say more than the new ones
};
// The rows that were there, with the new ones in the place of those of the same probe and machine.
// None is replaced by one that is of fewer degrees of freedom, as far as they count, or that was
// spread over less time.
MergedNoise MergeNoise(std::vector<Noise> rows, const std::vector<SpreadFound>& found);

}  // namespace assay
