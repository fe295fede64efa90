#include "results/figures/spread.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "results/base/error.h"
#include "results/figures/labels.h"
#include "results/figures/side_values.h"
#include "results/figures/stats.h"

namespace assay {
namespace {

// The share of another span from which on a span is as good as that one.
constexpr double kNearlyAsLong = 0.9;
// The least span in minutes, since runs are dated to the second.
constexpr double kLeastMinutes = 1.0 / 60;

// The runs of a side on either side of a neighbourhood (SpreadFound::neighbours).
constexpr std::size_t kNeighbours = 3;

using Session = std::vector<InRun>;

// The variance between runs that may be of one session or of several, and its degrees of freedom.
struct SpreadOfRuns {
  double variance = 0;
  double df = 0;
};

// The variance within sessions and that between them, together (one-way analysis of variance with
// random effects; the degrees of freedom are Satterthwaite's).
SpreadOfRuns SpreadOf(const std::vector<std::vector<double>>& sessions) {
  double runs = 0;
  double squares = 0;  // of the numbers of runs
  double sum = 0;
  double within = 0;
  for (const std::vector<double>& values : sessions) {
    const auto n = static_cast<double>(values.size());
    const double deviation = StandardDeviation(values);
    runs += n;
    squares += n * n;
    sum += n * Mean(values);
    within += (n - 1) * deviation * deviation;
  }
  const auto count = static_cast<double>(sessions.size());
  const double within_df = runs - count;
  within /= within_df;
  if (sessions.size() == 1) return {.variance = within, .df = within_df};
  double between = 0;
  for (const std::vector<double>& values : sessions) {
    const double apart = Mean(values) - sum / runs;
    between += static_cast<double>(values.size()) * apart * apart;
  }
  const double between_df = count - 1;
  between /= between_df;
  // Sessions are never less unlike than their own runs make them.
  if (between <= within) return {.variance = within, .df = within_df};
  const double usual = (runs - squares / runs) / between_df;  // the runs of a session
  const double of_between = between / usual;
  const double of_within = (1 - 1 / usual) * within;
  const double variance = of_between + of_within;
  const double below = of_between * of_between / between_df + of_within * of_within / within_df;
  return {.variance = variance, .df = variance * variance / below};
}

// The spread between the runs of one case.
SpreadFound CaseSpread(const std::vector<Session>& sessions) {
  Session all;
  Session a;
  Session b;
  for (const Session& session : sessions) {
    for (std::size_t i = 0; i < session.size(); ++i) {
      all.push_back(session[i]);
      (i % 2 == 0 ? a : b).push_back(session[i]);
    }
  }
  const Record& record = *all.front().records.front();
  const Statistic statistic = StatisticOf({&all});
  const auto average = [&](const Session& some) { return AverageRuns(some, statistic, {}); };
  std::vector<std::vector<double>> values;
  for (const Session& session : sessions) values.push_back(average(session).units);
  const SpreadOfRuns spread = SpreadOf(values);
  const SideValues together = average(all);
  SpreadFound found = {.row = {.probe = record.probe,
                               .machine = MachineOf(*all.front().run),
                               .sigma = std::sqrt(spread.variance),
                               .df = spread.df,
                               .is_measured = true,
                               .how = fmt::format("{} A/A runs", all.size())},
                       .widest = CaseWords(record.probe, record.params),
                       .sessions = static_cast<int>(sessions.size()),
                       .a_to_b = ChangeOf(average(a), average(b), 0.95)};
  if (sessions.size() > 1) found.row.how += fmt::format(" in {} sessions", sessions.size());
  if (together.first_minute) {
    found.row.span_minutes =
        std::max(kLeastMinutes, *together.last_minute - *together.first_minute);
  }
  const std::span<const double> units = together.units;
  for (std::size_t i = 0; i + 2 * kNeighbours <= units.size(); ++i) {
    const Interval change =
        RatioInterval(units.subspan(i, kNeighbours), units.subspan(i + kNeighbours, kNeighbours));
    ++found.neighbours;
    found.differing += change.low > 1 || change.high < 1 ? 1 : 0;
  }
  return found;
}

// The cases of all sessions, each with the sessions of which each run measured it.
std::map<std::pair<CaseKey, std::string>, std::vector<Session>> CasesOf(
    const std::vector<Side>& sessions) {
  std::map<std::pair<CaseKey, std::string>, std::vector<Session>> cases;
  for (const Side& session : sessions) {
    for (const auto& [key, holding] : GatherHoldings(session, false)) {
      for (const auto& [backend, in_runs] : holding.backends) {
        if (in_runs.size() == session.runs.size()) cases[{key, backend}].push_back(in_runs);
      }
    }
  }
  return cases;
}

}  // namespace

std::vector<SpreadFound> FindSpread(const std::vector<std::vector<Run>>& sessions,
                                    const std::string& date) {
  std::set<std::string> machines;
  std::size_t count = 0;
  std::vector<Side> sides;
  for (const std::vector<Run>& runs : sessions) {
    for (const Run& run : runs) machines.insert(NodesKey(run));
    count += runs.size();
    sides.push_back({.runs = runs});
  }
  if (machines.size() != 1) {
    throw Error("these runs are of several machines; measure the noise of one at a time");
  }
  std::map<std::string, SpreadFound> by_probe;
  for (const auto& [key, of_case] : CasesOf(sides)) {
    SpreadFound found = CaseSpread(of_case);
    // A case without any spread was not timed finely enough to tell.
    if (found.row.sigma <= 0 || !found.row.span_minutes) continue;
    found.row.date = date;
    SpreadFound& widest = by_probe[found.row.probe];
    const int cases = widest.cases + 1;
    const int neighbours = widest.neighbours + found.neighbours;
    const int differing = widest.differing + found.differing;
    if (widest.cases == 0 || widest.row.sigma < found.row.sigma) widest = std::move(found);
    widest.cases = cases;
    widest.neighbours = neighbours;
    widest.differing = differing;
  }
  if (by_probe.empty()) {
    throw Error(fmt::format("no case was measured in all of the {} runs; see what 'assay run' says",
                            count));
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
        old->is_measured && ((one.sessions == 1 && std::min(one.row.df, kMostNoiseDf) <
                                                       std::min(old->df, kMostNoiseDf)) ||
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
