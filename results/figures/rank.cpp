#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/compare.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"
#include "results/figures/once.h"
#include "results/figures/probes.h"
#include "results/figures/side_values.h"

namespace assay {
namespace {

// One backend of one side in one case.
struct Entrant {
  std::size_t side = 0;
  std::string backend = {};
  std::vector<InRun> runs = {};
  SideValues values = {};
  std::optional<double> cost = {};
  std::string not_priced = {};
  std::string marks = {};
};

// All that is ranked in one case.
struct Field {
  const Record* any = nullptr;
  bool is_primary = false;
  std::vector<Entrant> entrants = {};  // fastest first
};

// The ranks of `count` entrants, from 1, best first. An entrant that isn't worse than the first of
// the rank before it shares that rank.
std::vector<int> RanksOf(std::size_t count,
                         const std::function<bool(std::size_t, std::size_t)>& worse) {
  std::vector<int> ranks(count);
  std::size_t leader = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0 && worse(leader, i)) leader = i;
    ranks[i] = static_cast<int>(leader) + 1;
  }
  return ranks;
}

// Moderates the spread between nodes of all entrants. Each of the other sides lends once, by the
// same backend where it has that.
void BorrowSpreads(std::vector<Entrant>& entrants) {
  for (Entrant& entrant : entrants) {
    if (!entrant.values.are_nodes) continue;
    std::map<std::size_t, const Entrant*> others;
    for (const Entrant& other : entrants) {
      if (other.side == entrant.side) continue;
      const Entrant*& lender = others[other.side];
      if (lender == nullptr || other.backend == entrant.backend) lender = &other;
    }
    std::vector<const SideValues*> values;
    for (const auto& [side, other] : others) values.push_back(&other->values);
    BorrowSpread(entrant.values, values);
  }
}

// The cases that at least two sides measured alike.
std::vector<Field> FieldsOf(const Ranking& ranking, const CompareOptions& options,
                            std::vector<std::string>& notes) {
  // The map orders cases by their key, whatever order files name them in.
  std::map<CaseKey, Field> by_key;
  for (std::size_t side = 0; side < ranking.sides.size(); ++side) {
    for (const auto& [key, holding] :
         GatherHoldings(ranking.sides[side], options.force, options.instances)) {
      for (const auto& [backend, runs] : holding.backends) {
        Field& field = by_key[key];
        field.any = holding.any;
        field.entrants.push_back({.side = side,
                                  .backend = backend,
                                  .runs = runs,
                                  .cost = CostOf(runs, ranking.sides[side].price),
                                  .not_priced = NotPriced(runs, holding.kind),
                                  .marks = MarksText(runs)});
      }
    }
  }
  std::vector<Field> fields;
  for (auto& [key, field] : by_key) {
    std::vector<Entrant>& entrants = field.entrants;
    if (entrants.front().side == entrants.back().side) continue;  // only one side has it
    const auto differs = [&entrants](const auto& of) {
      const std::string first = of(entrants.front().runs);
      return std::any_of(entrants.begin(), entrants.end(),
                         [&](const Entrant& entrant) { return of(entrant.runs) != first; });
    };
    const std::string& fact = FindProbe(field.any->probe).alike_in;
    const bool fact_differs =
        !fact.empty() && differs([&](const auto& runs) { return FactIn(runs, fact); });
    if (fact_differs || differs(NodeCounts)) {
      notes.push_back(fmt::format("{} is not ranked: {} differs between the files",
                                  CaseWords(field.any->probe, field.any->params),
                                  fact_differs ? fact : "the number of nodes"));
      continue;
    }
    std::vector<const std::vector<InRun>*> sides;
    for (const Entrant& entrant : entrants) sides.push_back(&entrant.runs);
    const Statistic statistic = StatisticOf(sides);
    for (Entrant& entrant : entrants) {
      entrant.values = AverageRuns(entrant.runs, statistic, options.noise);
    }
    BorrowSpreads(entrants);
    field.is_primary = IsPrimary(*field.any, sides, options);
    std::stable_sort(entrants.begin(), entrants.end(), [](const Entrant& l, const Entrant& r) {
      return Mean(l.values.units) > Mean(r.values.units);
    });
    fields.push_back(std::move(field));
  }
  return fields;
}

// Ranks one case by speed and, with `per_usd`, by work per dollar.
RankedCase RankField(const Field& field, const Ranking& ranking, bool per_usd, double confidence,
                     double margin) {
  const std::vector<Entrant>& entrants = field.entrants;
  const auto change = [&](const Entrant& from, const Entrant& to) {
    return ChangeOf(from.values, to.values, confidence);
  };
  const Record& measured = *entrants.front().runs.front().records.front();
  const std::vector<Cost> costs = Costs(measured, 1);
  RankedCase ranked = {.probe = measured.probe,
                       .kind = measured.device.kind,
                       .params = measured.params,
                       .is_primary = field.is_primary,
                       .unit = Speed(measured)->unit,
                       .cost_label = costs.empty() ? "" : costs.front().label};
  std::vector<bool> is_guessed(entrants.size());
  const std::vector<int> by_speed =
      RanksOf(entrants.size(), [&](std::size_t leader, std::size_t other) {
        const Change found = change(entrants[leader], entrants[other]);
        const bool worse = Judge(found, margin) == Verdict::kSlower;
        is_guessed[other] = worse && !found.interval;
        return worse;
      });
  std::vector<std::size_t> priced;
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    const Entrant& entrant = entrants[i];
    const bool is_priced = UsdPerNodeHour(ranking.sides[entrant.side].price).has_value();
    ranked.entries.push_back(
        {.side = entrant.side,
         .backend = entrant.backend,
         .speed = entrant.values.Speed(),
         .between_nodes = entrant.values.spread ? ToText(*entrant.values.spread) : "",
         .by_speed = by_speed[i],
         .usd = entrant.cost,
         // The marks of a cache's figure say so below.
         .note = is_priced && (entrant.cost || entrant.marks.empty()) ? entrant.not_priced : ""});
    std::string& note = ranked.entries.back().note;
    if (is_guessed[i]) note = "a guessed rank" + (note.empty() ? note : "; " + note);
    if (!entrant.marks.empty()) note = entrant.marks + (note.empty() ? "" : "; " + note);
    if (per_usd && entrant.cost && entrant.not_priced.empty()) priced.push_back(i);
  }
  if (priced.size() < 2) return ranked;
  std::stable_sort(priced.begin(), priced.end(), [&](std::size_t left, std::size_t right) {
    return *entrants[left].cost < *entrants[right].cost;
  });
  std::vector<bool> is_guessed_per_usd(entrants.size());
  const std::vector<int> by_usd = RanksOf(priced.size(), [&](std::size_t leader, std::size_t i) {
    const Entrant& from = entrants[priced[leader]];
    const Entrant& to = entrants[priced[i]];
    const Interval envelope =
        PriceEnvelope(*from.cost, *to.cost, *ranking.sides[from.side].price.offer,
                      *ranking.sides[to.side].price.offer);
    const Change found = change(from, to);
    const bool worse = JudgePerUsd(found, envelope, margin) == Verdict::kSlower;
    is_guessed_per_usd[priced[i]] = worse && !found.interval;
    return worse;
  });
  for (std::size_t i = 0; i < priced.size(); ++i) {
    RankEntry& entry = ranked.entries[priced[i]];
    entry.by_usd = by_usd[i];
    if (!is_guessed_per_usd[priced[i]]) continue;
    AddNote(entry.note, "a guessed rank per USD");
  }
  return ranked;
}

// Reduces all sides to distinct runs, drops sides without any, and returns sentences on what was
// left out.
std::vector<std::string> CountOnce(std::vector<Side>& sides) {
  std::vector<NamedRun> runs;
  for (const Side& side : sides) {
    for (std::size_t i = 0; i < side.runs.size(); ++i) {
      runs.push_back({.name = NameOf(side, i), .run = &side.runs[i]});
    }
  }
  Distinct distinct = DistinctRuns(runs);
  if (distinct.kept.size() == runs.size()) return {};
  const std::set<std::size_t> kept(distinct.kept.begin(), distinct.kept.end());
  std::vector<Side> once;
  std::size_t at = 0;
  for (Side& side : sides) {
    Side left = {.price = std::move(side.price)};
    for (Run& run : side.runs) {
      if (kept.contains(at)) {
        left.names.push_back(runs[at].name);
        left.runs.push_back(std::move(run));
      }
      ++at;
    }
    if (!left.runs.empty()) once.push_back(std::move(left));
  }
  sides = std::move(once);
  return std::move(distinct.notes);
}

}  // namespace

std::string SideName(const Side& side) {
  if (!side.group.empty()) return side.group;
  return side.names.empty() ? "-" : side.names.front();
}

Ranking Rank(std::vector<Side> sides, const CompareOptions& options) {
  for (const Side& side : sides) CheckSide(side);
  Ranking ranking;
  ranking.notes = CountOnce(sides);
  ranking.sides = std::move(sides);
  std::vector<const Side*> all;
  for (const Side& side : ranking.sides) all.push_back(&side);
  const bool mixed = DivisionsDiffer(all);
  if (mixed) {
    ranking.notes.push_back(options.force ? "different software: closed runs among open ones"
                                          : "different software: closed runs among open ones, so "
                                            "that nothing is ranked per dollar (--force does)");
  }
  for (const Side& side : ranking.sides) {
    for (std::string& sentence : DescribeIncomplete(side))
      ranking.notes.push_back(std::move(sentence));
  }
  const std::vector<Field> fields = FieldsOf(ranking, options, ranking.notes);
  if (fields.empty()) {
    throw Error("no case was measured in two of these files; measure the same probes and params");
  }
  std::map<bool, std::size_t> pairs;  // of primary cases, and of the others
  std::vector<std::string> words;
  std::vector<std::pair<const SideValues*, const SideValues*>> compared;
  for (const Field& field : fields) {
    pairs[field.is_primary] += field.entrants.size() * (field.entrants.size() - 1) / 2;
    words.push_back(CaseWords(field.any->probe, field.any->params));
    for (std::size_t i = 0; i < field.entrants.size(); ++i) {
      for (std::size_t j = i + 1; j < field.entrants.size(); ++j) {
        compared.emplace_back(&field.entrants[i].values, &field.entrants[j].values);
      }
    }
  }
  std::ranges::move(NoiseNotes(compared), std::back_inserter(ranking.notes));
  if (!options.primary.empty() && pairs[true] == 0) {
    throw Error(PrimaryMissing(options.primary, words));
  }
  // The adjustment is Bonferroni's over all pairs of the primary case, and over all pairs of all
  // other cases, since nobody knows beforehand which pairs decide a rank.
  for (const Field& field : fields) {
    const double confidence =
        1 - (1 - options.confidence) / static_cast<double>(pairs[field.is_primary]);
    ranking.cases.push_back(RankField(field, ranking, !mixed || options.force, confidence,
                                      MarginOf(field.any->probe, options)));
  }
  return ranking;
}

}  // namespace assay
