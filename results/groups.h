// Groups of ranks that did the same at once, held against each other: which of them is slow?
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/run.h"
#include "results/stats.h"

namespace assay {

// The number of the group whose record this is; 0 where all ranks were one.
std::int64_t GroupOf(const Record& record);

// A group is slow where it takes longer than others by this factor. Less is what links, cores and
// neighbours of one machine differ by anyway; NCCL_TESTS_MIN_BW grants as much.
inline constexpr double kSlowBy = 1.1;

// One group beside those of equal size.
struct GroupStanding {
  std::int64_t group = 0;
  std::vector<int> ranks = {};
  // Its time over the median of the others' in the same round; the mean over rounds and cases.
  double ratio = 1;
  // Around the ratio: 95 % for all groups together (Bonferroni). Nothing with a single round.
  std::optional<Interval> interval = {};
  bool IsSlow() const;  // by kSlowBy, and the interval leaves no other reading
};

// The slowest first. Only groups that have another of as many ranks, in the cases that both have.
std::vector<GroupStanding> StandingsOf(std::span<const Record> records);

// The slowest of them in a line that begins with `#`, and whether it stands out; empty without
// groups.
std::string SlowestGroupText(std::span<const Record> records);

}  // namespace assay
