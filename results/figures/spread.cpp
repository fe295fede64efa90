#include "results/figures/spread.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "results/base/error.h"
#include "results/figures/labels.h"
#include "results/figures/side_values.h"

namespace assay {
namespace {

// The share of another span from which on a span is as good as that one.
constexpr double kNearlyAsLong = 0.9;
// The least span in minutes, since runs are dated to the second.
constexpr double kLeastMinutes = 1.0 / 60;

// Every other run, from `first` on.
std::vector<InRun> EveryOther(const std::vector<InRun>& runs, std::size_t first) {
  std::vector<InRun> some;
  for (std::size_t i = first; i < runs.size(); i += 2) some.push_back(runs[i]);
  return some;
}

// The spread between the runs of one case.
SpreadFound CaseSpread(const std::vector<InRun>& runs) {
  const Record& record = *runs.front().records.front();
  const Statistic statistic = StatisticOf({&runs});
  const auto average = [&](const std::vector<InRun>& some) {
    return AverageRuns(some, statistic, {});
  };
  const SideValues all = average(runs);
  SpreadFound found = {
      .row = {.probe = record.probe,
              .machine = MachineOf(*runs.front().run),
              .sigma = std::sqrt(all.unit_variance),
              .df = static_cast<double>(runs.size() - 1),
              .is_measured = true,
              .how = fmt::format("{} A/A runs", runs.size())},
      .widest = CaseWords(record.probe, record.params),
      .a_to_b = ChangeOf(average(EveryOther(runs, 0)), average(EveryOther(runs, 1)), 0.95)};
  if (all.first_minute) {
    found.row.span_minutes = std::max(kLeastMinutes, *all.last_minute - *all.first_minute);
  }
  return found;
}

}  // namespace

std::vector<SpreadFound> FindSpread(const std::vector<Run>& runs, const std::string& date) {
  std::set<std::string> machines;
  for (const Run& run : runs) machines.insert(MachineOf(run));
  if (machines.size() != 1) {
    throw Error("these runs are of several machines; measure the noise of one at a time");
  }
  const Side side = {.runs = runs};
  std::map<std::string, SpreadFound> by_probe;
  for (const auto& [key, holding] : GatherHoldings(side, false)) {
    for (const auto& [backend, in_runs] : holding.backends) {
      if (in_runs.size() != runs.size()) continue;
      SpreadFound found = CaseSpread(in_runs);
      // A case without any spread was not timed finely enough to tell.
      if (found.row.sigma <= 0 || !found.row.span_minutes) continue;
      found.row.date = date;
      SpreadFound& widest = by_probe[holding.any->probe];
      found.cases = widest.cases + 1;
      if (widest.cases > 0 && widest.row.sigma >= found.row.sigma) {
        ++widest.cases;
      } else {
        widest = std::move(found);
      }
    }
  }
  if (by_probe.empty()) {
    throw Error(fmt::format("no case was measured in all of the {} runs; see what 'assay run' says",
                            runs.size()));
  }
  std::vector<SpreadFound> all;
  for (auto& [probe, found] : by_probe) all.push_back(std::move(found));
  return all;
}

MergedNoise MergeNoise(std::vector<Noise> rows, const std::vector<SpreadFound>& found) {
  MergedNoise merged = {.rows = std::move(rows)};
  for (const SpreadFound& one : found) {
    const auto old = std::ranges::find_if(merged.rows, [&](const Noise& row) {
      return row.probe == one.row.probe && row.machine == one.row.machine &&
             row.between == one.row.between;
    });
    if (old == merged.rows.end()) {
      merged.rows.push_back(one.row);
      merged.is_changed = true;
      continue;
    }
    const bool is_lesser =
        old->is_measured && (std::min(one.row.df, kMostNoiseDf) < std::min(old->df, kMostNoiseDf) ||
                             *one.row.span_minutes < kNearlyAsLong * *old->span_minutes);
    if (is_lesser) {
      merged.kept.push_back(
          fmt::format("the file keeps {}, which says more than {}", ToText(*old), ToText(one.row)));
      continue;
    }
    *old = one.row;
    merged.is_changed = true;
  }
  return merged;
}

}  // namespace assay
