#include "results/figures/groups.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "results/figures/figures.h"

namespace assay {
namespace {

// The key of records whose times may be compared: everything but the group.
std::string CaseOf(const Record& record) {
  Record any = record;
  any.params.erase("group");
  return MatchKey(any) + "/" + any.backend;
}

// The logarithms of a group's time over the median of the others', for each round of one case.
using Ratios = std::map<std::int64_t, std::vector<double>>;  // by group

// The ratios of all groups that did one case at once.
Ratios RatiosOf(const std::vector<const Record*>& groups) {
  std::map<std::int64_t, std::vector<double>> logs;
  std::size_t rounds = groups.front()->rounds.size();
  for (const Record* record : groups) {
    // A round without samples has no time.
    const std::vector<double>& own = logs[GroupOf(*record)] = LogRoundTimes(*record);
    rounds = std::min(rounds, own.size());
  }
  Ratios ratios;
  if (logs.size() < 2) return ratios;
  for (const auto& [group, own] : logs) {
    for (std::size_t round = 0; round < rounds; ++round) {
      std::vector<double> others;
      for (const auto& [other, theirs] : logs) {
        if (other != group) others.push_back(theirs[round]);
      }
      ratios[group].push_back(own[round] - Median(others));
    }
  }
  return ratios;
}

}  // namespace

std::int64_t GroupOf(const Record& record) {
  return record.params.contains("group") ? IntegerOf(record.params, "group") : 0;
}

bool GroupStanding::IsSlow() const {
  return ratio > kSlowBy && interval && ratio * interval->low > 1;
}

std::vector<GroupStanding> CompareGroups(std::span<const Record> records) {
  std::map<std::string, std::vector<const Record*>> cases;
  std::map<std::int64_t, GroupStanding> standings;
  for (const Record& record : records) {
    if (!record.params.contains("group") || record.rounds.empty()) continue;
    cases[CaseOf(record)].push_back(&record);
    GroupStanding& standing = standings[GroupOf(record)];
    standing.group = GroupOf(record);
    standing.ranks.clear();
    for (const Unit& unit : record.units) standing.ranks.push_back(unit.rank);
  }
  // Cases are averaged within a round, since rounds are what was repeated.
  std::map<std::int64_t, std::vector<std::vector<double>>> by_round;  // [group][round][case]
  for (const auto& [key, groups] : cases) {
    for (const auto& [group, ratios] : RatiosOf(groups)) {
      auto& rounds = by_round[group];
      if (rounds.size() < ratios.size()) rounds.resize(ratios.size());
      for (std::size_t round = 0; round < ratios.size(); ++round) {
        rounds[round].push_back(ratios[round]);
      }
    }
  }
  std::vector<GroupStanding> sorted;
  for (const auto& [group, rounds] : by_round) {
    std::vector<double> logs;
    for (const std::vector<double>& of_cases : rounds) logs.push_back(Mean(of_cases));
    if (logs.empty()) continue;
    GroupStanding& standing = standings[group];
    standing.ratio = std::exp(Mean(logs));
    standing.interval = MeanInterval(logs, 1 - 0.05 / static_cast<double>(by_round.size()));
    sorted.push_back(standing);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const GroupStanding& a, const GroupStanding& b) { return a.ratio > b.ratio; });
  return sorted;
}

std::string SlowestGroupText(std::span<const Record> records) {
  const std::vector<GroupStanding> standings = CompareGroups(records);
  if (standings.empty()) return "";
  const GroupStanding& slowest = standings.front();
  std::string how_sure = "one round alone doesn't tell whether that is more than chance";
  if (slowest.interval) {
    how_sure = fmt::format("{:.3g} to {:.3g} over {}: {}", slowest.ratio * slowest.interval->low,
                           slowest.ratio * slowest.interval->high,
                           fmt::format("{} rounds", slowest.interval->units),
                           slowest.IsSlow() ? "slow" : "not slow enough to stand out");
  }
  return fmt::format("# slowest group: {} (ranks {}), {:.3g} times the others' time ({})\n",
                     slowest.group, fmt::join(slowest.ranks, " "), slowest.ratio, how_sure);
}

}  // namespace assay
