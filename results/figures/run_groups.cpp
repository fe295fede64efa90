#include "results/figures/run_groups.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "results/base/csv.h"
#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/group_prices.h"
#include "results/figures/labels.h"
#include "results/figures/moderate.h"
#include "results/figures/side_values.h"
#include "results/figures/stats.h"
#include "results/file/nodes.h"

namespace assay {
namespace {

constexpr std::string_view kUnknown = "unknown";

// The figures of one case that runs of one group have, by the node that they were measured on.
using ByNode = std::map<std::string, std::vector<const CaseBrief*>>;
// These figures of all groups, by the index of the group and by backend.
using ByGroup = std::map<std::size_t, std::map<std::string, ByNode>>;

std::string AcceleratorsText(const Node& node) {
  std::vector<std::string> words;
  for (const Accelerator& accelerator : node.accelerators) {
    words.push_back(fmt::format("{} x {}", accelerator.present, accelerator.name));
  }
  return fmt::format("{}", fmt::join(words, " + "));
}

// The machine in words, where its type isn't known.
std::string HardwareText(const Node& node) {
  if (!node.accelerators.empty()) return AcceleratorsText(node);
  return fmt::format("{} ({} cores)", node.cpu.model.empty() ? "unknown CPU" : node.cpu.model,
                     node.cpu.cores_present);
}

// The words, without those that say nothing.
std::string Known(const std::string& first, const std::string& second) {
  if (second == kUnknown || second.empty()) return first;
  return first == kUnknown || first.empty() ? second : first + ' ' + second;
}

std::string GroupName(const RunBrief& brief, GroupBy by) {
  const Identity& identity = brief.first.identity;
  const std::string& provider = identity.provider.value;
  switch (by) {
    case GroupBy::kType:
      if (identity.instance.value == kUnknown || identity.instance.value.empty()) {
        return Known(provider, HardwareText(brief.first));
      }
      return Known(provider, identity.instance.value);
    case GroupBy::kRegion:
      return Known(provider, identity.region.value);
    case GroupBy::kAccelerator:
      return HardwareText(brief.first);
    case GroupBy::kProvider:
      return provider;
    case GroupBy::kCampaign:
      return brief.campaign.empty() ? "no campaign" : brief.campaign;
    case GroupBy::kCommit:
      return brief.commit;
    case GroupBy::kFile:
      break;
  }
  return brief.file;
}

// The part of a board that the node has, where its type is one of a family: "alone on its board".
std::string AloneText(const RunGroup& group, std::span<const InstanceFacts> instances) {
  if (group.accelerators != 1) return "";
  const Identity& identity = group.node.identity;
  const InstanceFacts* const own =
      FindInstance(instances, identity.provider.value, identity.instance.value);
  if (own == nullptr || own->accelerator.empty()) return "";
  const bool has_larger = std::ranges::any_of(instances, [&](const InstanceFacts& other) {
    return other.provider == own->provider && other.accelerator == own->accelerator &&
           other.accelerator_memory_gib == own->accelerator_memory_gib &&
           other.accelerator_count > own->accelerator_count;
  });
  return has_larger ? "alone on its board" : "";
}

// --- Cases ---

// The conditions of a figure under which it stands for another machine or another thing.
std::string ConditionsText(const RunBrief& brief, const CaseBrief& one) {
  std::vector<std::string> words(brief.conditions.begin(), brief.conditions.end());
  if (!one.alike.empty()) words.push_back("direct I/O " + one.alike);
  return fmt::format("{}", fmt::join(words, ", "));
}

// A figure with the run that has it.
struct Entry {
  std::size_t group = 0;
  const RunBrief* run = nullptr;
  const CaseBrief* figure = nullptr;
  std::string kind = {};  // what all that are ranked together must have in common
};

// Keeps the figures of the kind that most groups have, and says of the others why they are left
// out.
std::vector<Entry> LargestKind(std::vector<Entry> entries, const std::string& name,
                               const std::string& remedy, std::vector<std::string>& notes) {
  std::map<std::string, std::set<std::size_t>> groups;
  std::map<std::string, std::size_t> counts;
  for (const Entry& entry : entries) {
    groups[entry.kind].insert(entry.group);
    ++counts[entry.kind];
  }
  if (groups.size() < 2) return entries;
  const auto best = std::ranges::max_element(groups, {}, [&](const auto& kind) {
    return std::pair(kind.second.size(), counts[kind.first]);
  });
  const std::string kept = best->first;
  for (const auto& [kind, of] : groups) {
    if (kind == kept) continue;
    notes.push_back(fmt::format("{}: {} of {} figures left out: {} where the others are {}{}", name,
                                counts[kind], entries.size(), kind.empty() ? "nothing told" : kind,
                                kept.empty() ? "not" : kept, remedy));
  }
  std::erase_if(entries, [&](const Entry& entry) { return entry.kind != kept; });
  return entries;
}

// The backend that stands for a group: the one that most of its nodes ran, and the fastest among
// equals.
std::pair<std::string, const ByNode*> BackendOf(const std::map<std::string, ByNode>& backends,
                                                Statistic statistic) {
  const auto speed = [&](const ByNode& nodes) {
    std::vector<double> values;
    for (const auto& [node, figures] : nodes) {
      for (const CaseBrief* one : figures) {
        values.push_back(statistic == Statistic::kOverTime ? one->by_over_time : one->by_median);
      }
    }
    return Mean(values);
  };
  const auto best = std::ranges::max_element(backends, {}, [&](const auto& backend) {
    return std::pair(backend.second.size(), speed(backend.second));
  });
  return {best->first, &best->second};
}

double MeanOver(const std::vector<const CaseBrief*>& figures, Statistic statistic, bool per_gpu) {
  std::vector<double> values;
  for (const CaseBrief* one : figures) {
    const double whole = statistic == Statistic::kOverTime ? one->by_over_time : one->by_median;
    const bool divides = per_gpu && one->key.kind == "gpu";
    values.push_back(whole - (divides ? std::log(static_cast<double>(one->devices)) : 0));
  }
  return Mean(values);
}

// The cost of a unit of work of a group at 1 USD an hour a node: the mean in logs over a node's
// runs, then over nodes. Nothing where a figure has none.
std::optional<double> LogCost(const ByNode& nodes) {
  std::vector<double> of_nodes;
  for (const auto& [node, figures] : nodes) {
    std::vector<double> logs;
    for (const CaseBrief* one : figures) {
      if (!one->usd_at_1 || !one->not_priced.empty()) return std::nullopt;
      logs.push_back(std::log(*one->usd_at_1));
    }
    of_nodes.push_back(Mean(logs));
  }
  return Mean(of_nodes);
}

// A group in a case, before it is placed.
struct Entrant {
  GroupPlace place = {};
  NodeGroup values = {};
  std::optional<double> log_cost = {};
};

// A price that is a range makes a type the cheapest, or rules it out, only if each price in it
// does.
void HeedRanges(std::vector<Place>& places, const std::vector<const Offer*>& offers) {
  // In logs, as places are.
  std::vector<double> below;
  std::vector<double> above;
  for (const Offer* offer : offers) {
    const PriceRange range = RangeOf(*offer);
    below.push_back(-std::log(range.low));
    above.push_back(std::log(range.high));
  }
  for (std::size_t i = 0; i < places.size(); ++i) {
    double others_low = 0;
    double others_high = 0;
    for (std::size_t j = 0; j < places.size(); ++j) {
      if (j == i) continue;
      others_low = std::max(others_low, below[j]);
      others_high = std::max(others_high, above[j]);
    }
    Place& place = places[i];
    if (!place.may_be_best && place.behind_low) {
      place.behind_low = std::max(0.0, *place.behind_low - below[i] - others_high);
      place.may_be_best = *place.behind_low <= 0;
    }
    place.by_at_least = std::max(0.0, place.by_at_least - above[i] - others_low);
  }
  Settle(places);
}

// Fills in the dollars of all entrants, and places those that have any.
void PriceEntrants(std::vector<Entrant>& entrants, const std::vector<RunGroup>& groups,
                   const Spreads& spreads, double confidence) {
  std::vector<Contender> contenders;
  std::vector<std::size_t> priced;
  std::vector<const Offer*> offers;
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    Entrant& entrant = entrants[i];
    const std::vector<Chosen>& prices = groups[entrant.place.group].prices;
    for (std::size_t k = 0; k < prices.size(); ++k) {
      const std::optional<double> hour = UsdPerNodeHour(prices[k]);
      std::optional<double> usd;
      if (hour && entrant.log_cost) usd = *hour * std::exp(*entrant.log_cost);
      entrant.place.usd.push_back(usd);
      std::optional<std::size_t>& cheapest = entrant.place.cheapest;
      if (usd && k < groups[entrant.place.group].asked &&
          (!cheapest || *usd < *entrant.place.usd[*cheapest]))
        cheapest = k;
    }
    if (!entrant.place.cheapest) continue;
    Contender contender = {.mean = -std::log(*entrant.place.usd[*entrant.place.cheapest]),
                           .nodes = static_cast<int>(entrant.values.values.size())};
    // The spread of dollars is that of the speed, since prices are known.
    if (contender.nodes > 1) contender.estimate = EstimateOf(entrant.values, spreads.of[i]);
    if (contender.estimate) contender.estimate->mean = contender.mean;
    contenders.push_back(contender);
    priced.push_back(i);
    offers.push_back(&*prices[*entrant.place.cheapest].offer);
  }
  if (priced.empty()) return;
  std::vector<Place> places = PlacesOf(contenders, spreads.df_in_all, confidence);
  HeedRanges(places, offers);
  for (std::size_t i = 0; i < priced.size(); ++i) {
    entrants[priced[i]].place.by_cost = places[i];
  }
}

// Places all entrants of a case.
void PlaceEntrants(std::vector<Entrant>& entrants, const std::vector<RunGroup>& groups,
                   double confidence, GroupedCase& grouped) {
  grouped.confidence = confidence;
  for (Entrant& entrant : entrants) {
    for (const NodeOfGroup& node : entrant.place.nodes) {
      entrant.values.values.push_back(node.log_speed);
    }
    entrant.place.speed = std::exp(Mean(entrant.values.values));
    entrant.place.lottery = LotteryOf(entrant.values.values);
    std::ranges::sort(entrant.place.nodes, {}, &NodeOfGroup::log_speed);
  }
  std::ranges::stable_sort(entrants, std::ranges::greater(),
                           [](const Entrant& entrant) { return entrant.place.speed; });
  std::vector<NodeGroup> values;
  for (const Entrant& entrant : entrants) values.push_back(entrant.values);
  const Spreads spreads = ModerateSpreads(values);
  std::vector<Contender> contenders;
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    const int nodes = static_cast<int>(values[i].values.size());
    Contender contender = {.mean = std::log(entrants[i].place.speed), .nodes = nodes};
    // A single node says nothing of how the nodes of its type differ, so it is neither ruled out
    // nor declared.
    if (nodes > 1) contender.estimate = EstimateOf(values[i], spreads.of[i]);
    contenders.push_back(contender);
    if (spreads.of[i]) entrants[i].place.spread = ToText(*spreads.of[i]);
    if (nodes > 1) entrants[i].place.interval = MeanInterval(values[i], spreads.of[i], confidence);
  }
  const std::vector<Place> places = PlacesOf(contenders, spreads.df_in_all, confidence);
  for (std::size_t i = 0; i < entrants.size(); ++i) entrants[i].place.by_speed = places[i];
  PriceEntrants(entrants, groups, spreads, confidence);
  if (entrants.size() > 1 && !places[0].is_best && spreads.of[0] && spreads.of[1] &&
      contenders[0].mean > contenders[1].mean) {
    grouped.nodes_to_tell = NodesToFind(std::exp(contenders[0].mean - contenders[1].mean),
                                        {spreads.of[0]->variance, values[0].known},
                                        {spreads.of[1]->variance, values[1].known});
  }
  for (Entrant& entrant : entrants) grouped.places.push_back(std::move(entrant.place));
}

// The figures of a case as entrants, one a group.
std::vector<Entrant> EntrantsOf(const std::vector<Entry>& entries, bool per_gpu) {
  ByGroup by_group;
  Statistic statistic = Statistic::kMedian;
  for (const Entry& entry : entries) {
    by_group[entry.group][entry.figure->backend][entry.run->node].push_back(entry.figure);
    if (entry.figure->statistic == Statistic::kOverTime) statistic = Statistic::kOverTime;
  }
  std::vector<Entrant> entrants;
  for (const auto& [group, backends] : by_group) {
    const auto [backend, nodes] = BackendOf(backends, statistic);
    Entrant entrant = {.place = {.group = group, .backend = backend}, .log_cost = LogCost(*nodes)};
    std::set<std::string> said;
    for (const auto& [node, figures] : *nodes) {
      entrant.place.nodes.push_back({.node = node,
                                     .runs = static_cast<int>(figures.size()),
                                     .log_speed = MeanOver(figures, statistic, per_gpu)});
      for (const CaseBrief* one : figures) {
        said.insert(one->marks);
        if (!one->not_priced.empty()) said.insert("not per dollar: " + one->not_priced);
      }
    }
    for (const std::string& text : said) {
      if (!text.empty()) AddNote(entrant.place.note, text);
    }
    for (const auto& [other, of_other] : backends) {
      if (other != backend) AddNote(entrant.place.note, "also ran by " + other);
    }
    entrants.push_back(std::move(entrant));
  }
  return entrants;
}

// Adds to each entrant what rows of noise.csv tell of how the nodes of its type differ. A row
// counts for less where the runs lie further apart in time than its own.
void AddKnownSpreads(std::vector<Entrant>& entrants, const std::vector<Entry>& entries,
                     const std::vector<RunGroup>& groups, const std::vector<Noise>& own) {
  std::vector<std::optional<double>> minutes;
  for (const Entry& entry : entries) minutes.push_back(entry.run->minute);
  const std::optional<double> span = SpanOf(minutes);
  for (Entrant& entrant : entrants) {
    const std::string& probe = entries.front().figure->key.probe;
    for (const Noise& row : FittingNodeRows(own, probe, groups[entrant.place.group].node)) {
      entrant.values.known.push_back(
          {.variance = row.sigma * row.sigma, .df = DfWithin(row, span)});
    }
  }
}

// All figures, by case.
struct Figures {
  std::map<CaseKey, std::vector<Entry>> by_case = {};
  std::map<CaseKey, std::set<std::size_t>> headlines = {};  // the groups that have it as theirs
};

Figures FiguresOf(std::span<const RunBrief> briefs, const std::vector<RunGroup>& groups,
                  const GroupOptions& options) {
  Figures figures;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    for (const std::size_t run : groups[group].runs) {
      for (const CaseBrief& one : briefs[run].cases) {
        CaseKey key = one.key;
        if (options.force) key.method = 0;
        if (one.is_headline) figures.headlines[key].insert(group);
        figures.by_case[key].push_back({.group = group, .run = &briefs[run], .figure = &one});
      }
    }
  }
  return figures;
}

std::size_t GroupsIn(const std::vector<Entry>& entries) {
  std::set<std::size_t> groups;
  for (const Entry& entry : entries) groups.insert(entry.group);
  return groups.size();
}

std::string NameOf(const CaseKey& key) { return CaseWords(key.probe, key.params); }

// The case that is asked for alone: the one that was named, else the headline of most groups, else
// the case that most groups have.
const CaseKey& PrimaryOf(const Figures& figures, std::size_t groups, const std::string& named,
                         std::string& why) {
  if (!named.empty()) {
    std::vector<std::string> names;
    for (const auto& [key, entries] : figures.by_case) {
      why = "as --primary says";
      if (named == key.probe || named == NameOf(key)) return key;
      names.push_back(NameOf(key));
    }
    throw Error(PrimaryMissing(named, names));
  }
  const auto has = std::ranges::max_element(
      figures.headlines, {}, [](const auto& headline) { return headline.second.size(); });
  if (has != figures.headlines.end() && has->second.size() >= std::min<std::size_t>(2, groups)) {
    why = "the headline";
    return has->first;
  }
  why = "no headline was measured in two groups, so this is the case that most of them have";
  return std::ranges::max_element(figures.by_case, {},
                                  [](const auto& one) { return GroupsIn(one.second); })
      ->first;
}

// Leaves only the runs' headline figures in the primary case, where it is a headline, and says
// which runs have none.
void KeepHeadlines(std::vector<Entry>& entries, const std::string& name,
                   std::vector<std::string>& notes) {
  std::map<std::string, std::vector<std::string>> why;  // files, by the reason
  for (const Entry& entry : entries) {
    if (!entry.figure->is_headline) why[entry.run->headline].push_back(entry.run->file);
  }
  for (const auto& [reason, files] : why) {
    notes.push_back(
        fmt::format("{} of {}{} is not in the headline: {}", name, files.front(),
                    files.size() > 1 ? fmt::format(" and {} more", files.size() - 1) : "",
                    reason.empty() ? "another record is" : reason));
  }
  std::erase_if(entries, [](const Entry& entry) { return !entry.figure->is_headline; });
}

// The figures of one case that may be ranked together.
std::vector<Entry> Alike(std::vector<Entry> entries, const std::string& name, bool force,
                         std::vector<std::string>& notes) {
  for (Entry& entry : entries) {
    entry.kind = fmt::format("the work of {} nodes in {}", entry.figure->nodes, entry.figure->unit);
  }
  entries = LargestKind(std::move(entries), name, "", notes);
  if (force) return entries;
  for (Entry& entry : entries) entry.kind = ConditionsText(*entry.run, *entry.figure);
  return LargestKind(std::move(entries), name, " (--force ranks them too)", notes);
}

// The weighted mean over cases of each node that has all of them.
GroupedCase Weighted(const std::vector<std::pair<double, std::vector<Entrant>>>& cases,
                     const std::vector<RunGroup>& groups, double confidence,
                     std::vector<std::string>& notes) {
  struct Sum {
    std::size_t cases = 0;
    NodeOfGroup node = {};
  };
  std::map<std::pair<std::size_t, std::string>, Sum> sums;
  std::map<std::size_t, std::pair<std::size_t, double>> costs;  // cases and the sum of log costs
  for (const auto& [weight, entrants] : cases) {
    for (const Entrant& entrant : entrants) {
      for (const NodeOfGroup& node : entrant.place.nodes) {
        Sum& sum = sums[{entrant.place.group, node.node}];
        ++sum.cases;
        sum.node.node = node.node;
        sum.node.runs = std::max(sum.node.runs, node.runs);
        sum.node.log_speed += weight * node.log_speed;
      }
      if (!entrant.log_cost) continue;
      auto& [count, cost] = costs[entrant.place.group];
      ++count;
      cost += weight * *entrant.log_cost;
    }
  }
  std::map<std::size_t, Entrant> entrants;
  std::set<std::size_t> lacking;
  for (const auto& [key, sum] : sums) {
    if (sum.cases < cases.size()) {
      lacking.insert(key.first);
      continue;
    }
    Entrant& entrant = entrants[key.first];
    entrant.place.group = key.first;
    entrant.place.nodes.push_back(sum.node);
    if (const auto cost = costs.find(key.first);
        cost != costs.end() && cost->second.first == cases.size()) {
      entrant.log_cost = cost->second.second;
    }
  }
  for (std::size_t group = 0; group < groups.size(); ++group) {
    if (entrants.contains(group)) continue;
    notes.push_back(
        fmt::format("{} is not in the weighted mean: none of its nodes has all {} cases",
                    groups[group].name, cases.size()));
  }
  std::vector<Entrant> list;
  double fastest = -HUGE_VAL;
  for (auto& [group, entrant] : entrants) {
    std::vector<double> logs;
    for (const NodeOfGroup& node : entrant.place.nodes) logs.push_back(node.log_speed);
    fastest = std::max(fastest, Mean(logs));
    list.push_back(std::move(entrant));
  }
  // Units differ between cases, so that only ratios mean something.
  double cheapest = HUGE_VAL;
  for (Entrant& entrant : list) {
    for (NodeOfGroup& node : entrant.place.nodes) node.log_speed -= fastest;
    if (!entrant.log_cost) continue;
    for (const Chosen& price : groups[entrant.place.group].prices) {
      if (const auto hour = UsdPerNodeHour(price)) {
        cheapest = std::min(cheapest, std::log(*hour) + *entrant.log_cost);
      }
    }
  }
  for (Entrant& entrant : list) {
    if (entrant.log_cost) *entrant.log_cost -= cheapest;
  }
  GroupedCase grouped = {.name = fmt::format("weighted mean of {} cases", cases.size()),
                         .cost_label = "$ relative to the cheapest"};
  PlaceEntrants(list, groups, confidence, grouped);
  return grouped;
}

// Adds to the names that several cases bear what sets these apart: their kinds of devices, their
// methods, and the params of which their words say nothing.
void NameApart(GroupRanking& ranking) {
  std::map<std::string, std::vector<GroupedCase*>> by_name;
  for (std::vector<GroupedCase>* const of : {&ranking.cases, &ranking.of_one_group}) {
    for (GroupedCase& grouped : *of) by_name[grouped.name].push_back(&grouped);
  }
  for (const auto& [name, alike] : by_name) {
    if (alike.size() < 2) continue;
    const GroupedCase first = *alike.front();
    const auto differ = [&](const auto& of) {
      return std::ranges::any_of(alike,
                                 [&](const GroupedCase* other) { return of(*other) != of(first); });
    };
    std::set<std::string> params;
    for (const GroupedCase* one : alike) {
      for (const auto& [param, value] : one->params) params.insert(param);
    }
    const auto text_of = [](const GroupedCase& one, const std::string& param) {
      const auto found = one.params.find(param);
      return found == one.params.end() ? std::string("none") : ToText(found->second);
    };
    std::erase_if(params, [&](const std::string& param) {
      return !differ([&](const GroupedCase& one) { return text_of(one, param); });
    });
    const bool by_kind = differ([](const GroupedCase& one) { return one.kind; });
    const bool by_method = differ([](const GroupedCase& one) { return one.method; });
    for (GroupedCase* one : alike) {
      std::string apart;
      if (by_kind) AddNote(apart, one->kind);
      if (by_method) AddNote(apart, fmt::format("method {}", one->method));
      for (const std::string& param : params) {
        AddNote(apart, fmt::format("{} {}", param, text_of(*one, param)));
      }
      one->name += fmt::format(" ({})", apart);
    }
  }
}

// The weight of a case among those that are given; nothing where it has none.
std::optional<std::size_t> WeightOf(const CaseKey& key, const std::vector<CaseWeight>& weights) {
  const std::string name = NameOf(key);
  const std::string text = key.probe + '/' + ToText(key.params);
  const auto found = std::ranges::find_if(weights, [&](const CaseWeight& weight) {
    return weight.name == name || weight.name == text;
  });
  if (found == weights.end()) return std::nullopt;
  return static_cast<std::size_t>(found - weights.begin());
}

// Throws Error for a weighted case that no run has.
void CheckWeights(const Figures& figures, const std::vector<CaseWeight>& weights) {
  std::vector<std::string> names;
  std::set<std::size_t> known;
  for (const auto& [key, entries] : figures.by_case) {
    names.push_back(NameOf(key));
    if (const auto weight = WeightOf(key, weights)) known.insert(*weight);
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (known.contains(i)) continue;
    const std::string nearest = Nearest(weights[i].name, names);
    throw Error(fmt::format(
        "--weights names '{}', which no run has{}; cases are named as the tables name them: '{}'",
        Clean(weights[i].name, 128),
        nearest.empty() ? "" : "; did you mean '" + Clean(nearest) + "'?",
        names.empty() ? "" : Clean(names.front())));
  }
}

// --- Notes ---

// Names by which groups differ anyway, since they are what is compared or what it is made of.
bool IsOfTheType(const std::string& name) {
  static const std::set<std::string> names = {"instance",     "region",  "CPU",   "cores used",
                                              "accelerators", "storage", "nodes", "threads"};
  return names.contains(name);
}

std::vector<std::string> FindDifferences(std::span<const RunBrief> briefs,
                                         const std::vector<RunGroup>& groups) {
  // The texts of each group, by name; then the groups, by text.
  std::map<std::string, std::map<std::size_t, std::set<std::string>>> values;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    for (const std::size_t run : groups[group].runs) {
      for (const auto& [name, texts] : briefs[run].env) {
        if (!IsOfTheType(name)) values[name][group].insert(texts.begin(), texts.end());
      }
    }
  }
  constexpr std::size_t kShown = 3;
  std::vector<std::string> sentences;
  for (const auto& [name, by_group] : values) {
    std::map<std::string, std::vector<std::string>> who;
    for (std::size_t group = 0; group < groups.size(); ++group) {
      const auto found = by_group.find(group);
      const std::string text = found == by_group.end() ? "-"
                               : found->second.size() > kShown
                                   ? fmt::format("{} values", found->second.size())
                                   : fmt::format("{}", fmt::join(found->second, " or "));
      who[text].push_back(groups[group].name);
    }
    if (who.size() < 2) continue;
    std::vector<std::string> words;
    for (const auto& [text, names] : who) {
      words.push_back(fmt::format("{} ({})", text,
                                  names.size() > 2 ? fmt::format("{} groups", names.size())
                                                   : fmt::format("{}", fmt::join(names, ", "))));
    }
    const bool is_note = name.starts_with("note: ");
    sentences.push_back(is_note ? fmt::format("{}: {}", name.substr(6), fmt::join(words, ", "))
                                : fmt::format("{}: {}", name, fmt::join(words, ", ")));
  }
  return sentences;
}

}  // namespace

std::vector<CaseWeight> ParseWeights(std::string_view csv, const std::string& source) {
  std::vector<CaseWeight> weights;
  std::set<std::string> names;
  double sum = 0;
  const auto rows = ParseCsv(csv, source);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const CsvRow row(rows[i], source, i);
    const std::string& name = row.Required("case");
    const std::optional<double> weight = row.Number("weight");
    if (!weight) row.Fail("has no weight");
    if (!names.insert(name).second) row.Fail("names a case for the second time");
    weights.push_back({.name = name, .weight = *weight});
    sum += *weight;
  }
  constexpr double kNear = 1e-6;
  if (weights.empty() || std::abs(sum - 1) > kNear) {
    throw Error(fmt::format("{}: the weights sum up to {:.6g}; give each case its share of 1",
                            source, sum));
  }
  return weights;
}

std::vector<RunGroup> GroupRuns(std::span<const RunBrief> briefs, const GroupOptions& options,
                                std::vector<std::string>& notes) {
  std::map<std::string, RunGroup> by_name;
  std::vector<std::string> unlike;
  for (std::size_t i = 0; i < briefs.size(); ++i) {
    const RunBrief& brief = briefs[i];
    if (!brief.are_nodes_alike) {
      unlike.push_back(fmt::format("{} is left out: its nodes are of several types", brief.file));
      continue;
    }
    const std::string name = GroupName(brief, options.by);
    RunGroup& group = by_name[name];
    if (group.runs.empty()) {
      group.name = name;
      group.node = brief.first;
      group.accelerators = AcceleratorsOf(brief.first);
    }
    group.runs.push_back(i);
    group.ids.push_back(brief.id);
    group.nodes.insert(brief.node);
    ++group.bought[brief.first.identity.purchase.value];
    ++group.regions[brief.first.identity.region.value];
    const std::string day = brief.started.substr(0, 10);
    if (group.first_day.empty() || day < group.first_day) group.first_day = day;
    group.last_day = std::max(group.last_day, day);
  }
  AddFew(unlike, "the runs whose nodes are of several types", notes);
  for (const auto& [name, group] : by_name) {
    std::set<std::string> types;
    for (const std::size_t run : group.runs) types.insert(GroupName(briefs[run], GroupBy::kType));
    if (types.size() < 2) continue;
    notes.push_back(
        fmt::format("{} is made of {} types of machine, so that its nodes differ by more "
                    "than chance",
                    name, types.size()));
  }
  std::vector<RunGroup> groups;
  for (auto& [name, group] : by_name) {
    group.alone = AloneText(group, options.instances);
    group.prices = PricesOf(group, briefs, options);
    group.asked = group.prices.size();
    if (options.other_prices) AddOtherPrices(group, options.offers);
    groups.push_back(std::move(group));
  }
  return groups;
}

GroupRanking RankGroups(std::span<const RunBrief> briefs, std::vector<RunGroup> groups,
                        const GroupOptions& options) {
  GroupRanking ranking = {
      .by = options.by, .per_gpu = options.per_gpu, .groups = std::move(groups)};
  std::vector<std::string>& notes = ranking.notes;
  std::set<std::string> divisions;
  std::vector<std::string> incomplete;
  for (const RunGroup& group : ranking.groups) {
    ranking.runs += group.runs.size();
    for (const std::size_t run : group.runs) {
      divisions.insert(briefs[run].division);
      if (!briefs[run].incomplete.empty()) incomplete.push_back(briefs[run].incomplete);
    }
  }
  AddFew(incomplete, "the runs that are not complete", notes);
  const bool mixed = divisions.size() > 1;
  if (mixed) {
    notes.push_back(options.force ? "different software: closed runs among open ones"
                                  : "different software: closed runs among open ones, so that "
                                    "nothing is ranked per dollar (--force does)");
  }
  const Figures figures = FiguresOf(briefs, ranking.groups, options);
  if (figures.by_case.empty()) {
    throw Error(
        "no run has a figure that can be ranked; 'assay report FILE' says what became of "
        "its cases");
  }
  CheckWeights(figures, options.weights);

  const CaseKey primary =
      PrimaryOf(figures, ranking.groups.size(), options.primary, ranking.primary_why);
  const bool is_headline =
      figures.headlines.contains(primary) && ranking.primary_why == "the headline";
  std::map<CaseKey, std::vector<Entrant>> ranked;
  std::map<std::size_t, std::vector<Entrant>> weighted;  // by the index of the weight
  std::vector<std::string> refused;
  std::map<CaseKey, std::vector<Entrant>> alone;  // of one group
  for (const auto& [key, all] : figures.by_case) {
    std::vector<Entry> entries = all;
    if (is_headline && key == primary) KeepHeadlines(entries, NameOf(key), notes);
    entries = Alike(std::move(entries), NameOf(key), options.force, refused);
    std::vector<Entrant> entrants = EntrantsOf(entries, options.per_gpu);
    if (!entries.empty()) AddKnownSpreads(entrants, entries, ranking.groups, options.noise);
    if (mixed && !options.force) {
      for (Entrant& entrant : entrants) entrant.log_cost.reset();
    }
    if (const auto weight = WeightOf(key, options.weights)) {
      // A name may be that of several kinds of device; the one that most groups have is meant.
      std::vector<Entrant>& meant = weighted[*weight];
      if (meant.size() < entrants.size()) meant = entrants;
    }
    if (entrants.size() < std::min<std::size_t>(2, ranking.groups.size())) {
      if (!entrants.empty()) alone.emplace(key, std::move(entrants));
      continue;
    }
    ranked.emplace(key, std::move(entrants));
  }
  AddFew(refused, "the cases of which figures are left out", notes);
  if (!alone.empty()) {
    notes.push_back(
        fmt::format("cases that one group alone has, with nothing to rank: {}", alone.size()));
  }
  if (ranked.empty()) {
    throw Error("no case was measured alike in two groups; measure the same probes and params");
  }

  if (!options.weights.empty()) {
    ranking.primary_why = "weighted as --weights says";
    std::vector<std::pair<double, std::vector<Entrant>>> parts;
    for (const auto& [weight, entrants] : weighted) {
      parts.emplace_back(options.weights[weight].weight, entrants);
    }
    ranking.cases.push_back(Weighted(parts, ranking.groups, options.confidence, notes));
    if (ranking.cases.back().places.empty()) {
      throw Error("no node has all cases that --weights names; measure them on the same nodes");
    }
  }
  const bool has_primary = ranked.contains(primary) && options.weights.empty();
  if (!has_primary && !options.primary.empty()) {
    std::vector<std::string> names;
    for (const auto& [key, entrants] : ranked) names.push_back(NameOf(key));
    throw Error(PrimaryMissing(options.primary, names));
  }
  const std::size_t others = ranked.size() - (has_primary ? 1 : 0);
  // The primary case is asked for alone; the others share the error that is allowed.
  const double of_others =
      1 - (1 - options.confidence) / static_cast<double>(std::max<std::size_t>(1, others));
  const auto placed = [&](const CaseKey& key, std::vector<Entrant>& entrants, double confidence) {
    const CaseBrief* any = nullptr;
    for (const Entry& entry : figures.by_case.at(key)) {
      if (entry.group == entrants.front().place.group) any = entry.figure;
    }
    GroupedCase grouped = {.name = NameOf(key),
                           .probe = key.probe,
                           .kind = key.kind,
                           .method = key.method,
                           .params = key.params,
                           .unit = any->unit,
                           .cost_label = any->cost_label};
    PlaceEntrants(entrants, ranking.groups, confidence, grouped);
    return grouped;
  };
  if (has_primary) {
    ranking.cases.push_back(placed(primary, ranked.at(primary), options.confidence));
  }
  for (auto& [key, entrants] : ranked) {
    if (has_primary && key == primary) continue;
    ranking.cases.push_back(placed(key, entrants, of_others));
  }
  for (auto& [key, entrants] : alone) {
    ranking.of_one_group.push_back(placed(key, entrants, options.confidence));
  }
  NameApart(ranking);
  if (!has_primary && options.weights.empty()) {
    ranking.primary_why = "the first case, since no headline can be ranked";
    ranking.is_asked_alone = false;
  }
  ranking.differences = FindDifferences(briefs, ranking.groups);
  return ranking;
}

}  // namespace assay
