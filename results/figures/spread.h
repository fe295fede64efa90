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
  int sessions = 1;         // those that the case's runs are of
  Change a_to_b = {};       // the change of that case between every other run and the rest
  // The pairs of three runs and the three after them, over all cases of the probe, and how many of
  // these pairs are said to differ at 95 %.
  int neighbours = 0;
  int differing = 0;
  // Whether more than one in ten of them differ. Of independent runs one pair in thirty does, so
  // that about 7 in 100 sessions of 16 such runs are said to drift, and more of shorter ones
  // (simulated, normal noise).
  bool IsDrifting() const { return 10 * differing > neighbours; }
};
// Finds one row, with this date, for each probe, from sessions of two runs or more of one machine,
// all in the order in which they were begun. A case counts with the sessions of which each run
// measured it. Throws Error where there is no such case with any spread, and for runs of several
// machines (NodesKey).
std::vector<SpreadFound> FindSpread(const std::vector<std::vector<Run>>& sessions,
                                    const std::string& date);

// The outcome of merging new rows into old ones.
struct MergedNoise {
  std::vector<Noise> rows = {};
  bool is_changed = false;
  std::vector<std::string> kept = {};  // sentences on old rows that say more than the new ones
};
// Merges new rows into old ones, in the place of those with the same probe and machine. A row isn't
// replaced by one that was spread over less time, nor by one of a single session with fewer degrees
// of freedom, as far as they count. What several sessions show has fewer of them where the machine
// differs from day to day, and says more all the same.
MergedNoise MergeNoise(std::vector<Noise> rows, const std::vector<SpreadFound>& found);

}  // namespace assay
