#include "results/figures/once.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/side_values.h"
#include "results/file/json.h"

namespace assay {
namespace {

// The part of a run that is known from its beginning, as text: everything but its records and what
// is known only once it is over.
std::string BeginningOf(Run run) {
  run.records.clear();
  run.status.clear();
  run.ended.clear();
  run.complete = true;
  run.division.reset();
  run.timeline_s.clear();
  run.cost.reset();
  return RunToJson(run);
}

// A record as text, with its first `rounds` rounds. What changes while rounds are added is left out
// unless `whole`; how the case ended is always left out.
std::string TextOf(Record record, std::size_t rounds, bool whole) {
  record.status = Status::kOk;
  record.complete = true;
  record.stopped.clear();
  record.reason.clear();
  record.remedy.clear();
  record.rounds.resize(rounds);
  if (!whole) {
    record.facts.clear();
    record.histograms.clear();
    record.verify.reset();
  }
  return RecordToJson(record);
}

// Whether `fuller` holds everything that `lesser` holds of a case.
bool Holds(const Record& fuller, const Record& lesser) {
  if (fuller.status == Status::kWrong) return true;  // a wrong answer voids all rounds
  const std::size_t rounds = lesser.rounds.size();
  if (lesser.status == Status::kWrong || fuller.rounds.size() < rounds) return false;
  const bool whole = fuller.rounds.size() == rounds && rounds > 0;
  return TextOf(fuller, rounds, whole) == TextOf(lesser, rounds, whole);
}

// Whether `fuller` is the same run and holds every record of `lesser` with its rounds.
bool Holds(const Run& fuller, const Run& lesser) {
  if (BeginningOf(fuller) != BeginningOf(lesser)) return false;
  std::map<std::string, const Record*> records;
  for (const Record& record : fuller.records) records.emplace(RecordKey(record), &record);
  return std::ranges::all_of(lesser.records, [&](const Record& record) {
    const auto same = records.find(RecordKey(record));
    return same != records.end() && Holds(*same->second, record);
  });
}

// The sentence on a run that was left out.
std::string LeftOut(const NamedRun& kept, const NamedRun& other, bool are_equal) {
  const std::string kept_name = Clean(kept.name);
  const std::string other_name = Clean(other.name);
  if (kept_name == other_name) return fmt::format("{} is given twice: counted once", kept_name);
  if (are_equal) {
    return fmt::format("{} is the same run as {}: counted once", other_name, kept_name);
  }
  return fmt::format("{} holds less of the run that {} holds: left out", other_name, kept_name);
}

}  // namespace

Distinct DistinctRuns(std::span<const NamedRun> runs) {
  Distinct distinct;
  std::map<std::string, std::size_t> kept;  // indices by id
  std::set<std::size_t> indices;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto [known, is_new] = kept.emplace(runs[i].run->id, i);
    if (is_new || runs[i].run->id.empty()) {
      indices.insert(i);
      continue;
    }
    const NamedRun& before = runs[known->second];
    const NamedRun& now = runs[i];
    const bool before_holds = Holds(*before.run, *now.run);
    const bool now_holds = Holds(*now.run, *before.run);
    if (!before_holds && !now_holds) {
      throw Error(fmt::format(
          "{} and {} have one id ({}) and contradict each other: one of them was changed; leave "
          "out the one that assay didn't write so",
          Clean(before.name), Clean(now.name), Clean(now.run->id, 64)));
    }
    const bool are_equal = before_holds && now_holds;
    // Where two hold equally much, the one that tells how the run ended is kept.
    if (before_holds && (!are_equal || before.run->complete || !now.run->complete)) {
      distinct.notes.push_back(LeftOut(before, now, are_equal));
      continue;
    }
    distinct.notes.push_back(LeftOut(now, before, are_equal));
    indices.erase(known->second);
    indices.insert(i);
    known->second = i;
  }
  distinct.kept.assign(indices.begin(), indices.end());
  return distinct;
}

std::vector<std::string> CountOnce(Side& side) {
  std::vector<NamedRun> named;
  for (std::size_t i = 0; i < side.runs.size(); ++i) {
    named.push_back({.name = NameOf(side, i), .run = &side.runs[i]});
  }
  Distinct distinct = DistinctRuns(named);
  if (distinct.kept.size() == side.runs.size()) return {};
  Side once = {.price = std::move(side.price), .group = std::move(side.group)};
  for (const std::size_t i : distinct.kept) {
    once.names.push_back(named[i].name);
    once.runs.push_back(std::move(side.runs[i]));
  }
  side = std::move(once);
  return std::move(distinct.notes);
}

void CheckApart(const Side& baseline, const Side& candidate) {
  for (std::size_t a = 0; a < baseline.runs.size(); ++a) {
    for (std::size_t b = 0; b < candidate.runs.size(); ++b) {
      if (baseline.runs[a].id.empty() || baseline.runs[a].id != candidate.runs[b].id) continue;
      throw Error(fmt::format(
          "{} and {} hold one run (id {}), which can't be held against itself; give "
          "another run on one of the sides",
          Clean(NameOf(baseline, a)), Clean(NameOf(candidate, b)), Clean(baseline.runs[a].id, 64)));
    }
  }
}

}  // namespace assay
