// Comparison of groups of ranks that did the same operation at once, to find which of them is slow.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/figures/stats.h"
#include "results/file/run.h"

namespace assay {

// The number of the group that a record belongs to; 0 where all ranks were one group. Throws Error
// where the param `group` isn't an integer.
std::int64_t GroupOf(const Record& record);

// The factor above which a group that takes longer than others is slow. Links, cores and neighbours
// of one machine differ by less anyway, and nccl-tests' NCCL_TESTS_MIN_BW grants as much.
inline constexpr double kSlowBy = 1.1;

// The standing of one group among all that have as many ranks.
struct GroupStanding {
  std::int64_t group = 0;       // its number, as GroupOf gives it
  std::vector<int> ranks = {};  // its ranks, by their numbers in the run
  // The group's time over the median of the others' in the same round, as the mean over rounds and
  // cases.
  double ratio = 1;
  // The interval as factors of the ratio: 95 % for all groups together (Bonferroni). Nothing with
  // one round.
  std::optional<Interval> interval = {};
  // Whether the ratio is above kSlowBy and its interval above 1.
  bool IsSlow() const;
};
// The standings, the slowest group first. They cover groups that have another one of as many ranks,
// in the cases that both have. Throws Error as GroupOf does.
std::vector<GroupStanding> CompareGroups(std::span<const Record> records);

// A line, with its line end, that begins with `#` and names the slowest group and whether it stands
// out; empty without groups. Throws Error as GroupOf does.
std::string SlowestGroupText(std::span<const Record> records);

}  // namespace assay
