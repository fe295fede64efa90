#include "results/figures/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <utility>

#include "results/base/error.h"
#include "results/base/names.h"
#include "results/base/text.h"
#include "results/catalog/billing.h"
#include "results/figures/probes.h"
#include "results/figures/run_groups.h"
#include "results/figures/stats.h"

namespace assay {
namespace {

constexpr const char* kHeadline = "headline";
constexpr std::string_view kUnknown = "unknown";
// The chance by which the upper bound of a spread lies above the true one.
constexpr double kBound = 0.80;
// The minutes of a run where nothing tells them: of the headline five rounds of five minutes at
// most, with what lies between them; of other probes a quick run.
constexpr double kMinutesOfHeadline = 30;
constexpr double kMinutesOfQuick = 2;

// One type of a plan, before its spread is known.
struct Type {
  std::string name = {};
  Node node = {};                         // what its nodes have in common
  std::optional<std::size_t> group = {};  // among those of the files
  const RunGroup* runs = nullptr;         // the same
};

// The case that is planned for, and what the files show of it.
struct PlannedCase {
  std::string what = kHeadline;
  std::string probe = kHeadline;
  std::string kind = {};
  std::optional<Params> params = {};           // known where files have it
  std::vector<const GroupPlace*> places = {};  // of the files
};

// The type that is named "provider instance" in the catalog; nothing where there is none.
std::optional<Type> InCatalog(const std::string& named, const Catalog& catalog) {
  const std::size_t space = named.find(' ');
  if (space == std::string::npos) return std::nullopt;
  const std::string provider = named.substr(0, space);
  const std::string instance = named.substr(space + 1);
  Type type;
  Identity& identity = type.node.identity;
  if (const InstanceFacts* facts = FindInstance(catalog.instances, provider, instance)) {
    identity.provider.value = facts->provider;
    identity.instance.value = facts->instance;
  } else if (const auto offers = OffersFor(catalog.offers, provider, instance); !offers.empty()) {
    identity.provider.value = offers.front().provider;
    identity.instance.value = offers.front().instance;
  } else {
    return std::nullopt;
  }
  type.name = identity.provider.value + ' ' + identity.instance.value;
  return type;
}

Type FindType(const std::string& named, const std::vector<RunGroup>& groups,
              const Catalog& catalog) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (IsSameName(groups[i].name, named)) {
      return {.name = groups[i].name, .node = groups[i].node, .group = i, .runs = &groups[i]};
    }
    names.push_back(groups[i].name);
  }
  if (std::optional<Type> type = InCatalog(named, catalog)) return *type;
  for (const InstanceFacts& facts : catalog.instances) {
    names.push_back(facts.provider + ' ' + facts.instance);
  }
  std::string meant = DidYouMean(named, names);
  for (const std::string& name : names) {
    // An instance without its provider is told the whole name.
    if (meant.empty() && name.ends_with(' ' + named)) meant = fmt::format("did you mean {}?", name);
  }
  throw Error(
      fmt::format("'{}' is no type of these files and none of the catalog{}{}; give "
                  "provider and instance as 'assay price list' has them: 'aws p5.48xlarge'",
                  Clean(named, 128), meant.empty() ? "" : "; ", Clean(meant)));
}

// --- Spread ---

// How much runs of one node differ in the planned case, from the nodes of a group that have
// several; nothing where none has.
std::optional<MeasuredVariance> BetweenRuns(const PlannedCase& planned, const GroupPlace& place,
                                            const RunGroup& group,
                                            std::span<const RunBrief> briefs) {
  std::map<std::string, std::vector<double>> by_node;
  std::map<std::string, std::vector<double>> over_time;
  bool is_over_time = false;
  for (const std::size_t run : group.runs) {
    for (const CaseBrief& one : briefs[run].cases) {
      if (one.key.probe != planned.probe || one.key.params != *planned.params ||
          one.key.kind != planned.kind || one.backend != place.backend) {
        continue;
      }
      by_node[briefs[run].node].push_back(one.by_median);
      over_time[briefs[run].node].push_back(one.by_over_time);
      is_over_time = is_over_time || one.statistic == Statistic::kOverTime;
    }
  }
  MeasuredVariance pooled;
  for (const auto& [node, values] : is_over_time ? over_time : by_node) {
    const double deviation = StandardDeviation(values);
    const double df = static_cast<double>(values.size()) - 1;
    pooled.variance += df * deviation * deviation;
    pooled.degrees_of_freedom += df;
  }
  if (pooled.degrees_of_freedom < 1) return std::nullopt;
  pooled.variance /= pooled.degrees_of_freedom;
  return pooled;
}

// The rows of noise.csv on nodes of this type, as they count where all runs lie within their span.
std::vector<KnownSpread> RowsOf(const Node& node, const std::string& probe,
                                const std::vector<Noise>& own) {
  std::vector<KnownSpread> known;
  for (const Noise& row : FittingNodeRows(own, probe, node)) {
    known.push_back({.variance = row.sigma * row.sigma, .df = std::min(row.df, kMostNoiseDf)});
  }
  return known;
}

// What the measured row on runs of such a machine says; nothing where there is a guess alone.
std::optional<MeasuredVariance> RunsRow(const Node& node, const std::string& probe,
                                        const std::vector<Noise>& own) {
  const Noise row = FittingNoise(own, probe, {.nodes = {node}});
  if (!row.is_measured) return std::nullopt;
  return MeasuredVariance{.variance = row.sigma * row.sigma,
                          .degrees_of_freedom = std::min(row.df, kMostNoiseDf)};
}

std::string Deviation(double variance) { return Percent(std::sqrt(variance)); }

// Fills in the spread of a side, or why it isn't known.
void FillSpread(const Type& type, const PlannedCase& planned, const PlanOptions& options,
                PlannedSide& side) {
  side.known = RowsOf(type.node, planned.probe, options.noise);
  // The groups of the files as compare moderates them, and this type first.
  std::vector<NodeGroup> groups = {{.values = {0}, .known = side.known}};
  const GroupPlace* own = nullptr;
  for (const GroupPlace* place : planned.places) {
    NodeGroup group;
    for (const NodeOfGroup& node : place->nodes) group.values.push_back(node.log_speed);
    if (type.group == place->group) {
      own = place;
      groups.front().values = std::move(group.values);
    } else {
      groups.push_back(std::move(group));
    }
  }
  const std::optional<NodeSpread> between_nodes = ModerateSpreads(groups).of.front();
  if (!between_nodes) {
    side.spread_words = fmt::format(
        "how nodes of {} differ is not known: {}, and no measured row of noise.csv is of such "
        "nodes",
        type.name,
        own != nullptr           ? "these files have one of them"
        : options.briefs.empty() ? "no result files were given"
                                 : "these files have none of them");
    return;
  }
  side.spread_words = fmt::format("{}: nodes differ by {} ({})", type.name,
                                  Deviation(between_nodes->variance), ToText(*between_nodes));
  // The mean of 1 / runs over the nodes that were measured.
  double inverse = 0;
  std::optional<MeasuredVariance> between_runs = RunsRow(type.node, planned.probe, options.noise);
  if (own != nullptr && own->nodes.size() > 1) {
    for (const NodeOfGroup& node : own->nodes) {
      inverse += 1.0 / node.runs / static_cast<double>(own->nodes.size());
    }
    const auto in_files = BetweenRuns(planned, *own, *type.runs, options.briefs);
    if (in_files) between_runs = in_files;
  }
  const MeasuredVariance nodes = {.variance = between_nodes->variance,
                                  .degrees_of_freedom = between_nodes->df};
  if (between_runs) {
    side.spread = SpreadOfNodes(nodes, inverse, *between_runs, options.runs);
    side.spread_words +=
        fmt::format(", runs of a node by {} ({:.3g} df)", Deviation(between_runs->variance),
                    between_runs->degrees_of_freedom);
  } else {
    side.spread = nodes;
    if (inverse != 1.0 / options.runs) {
      side.spread_words += ", how runs of a node differ isn't known";
    }
  }
  side.spread_words += fmt::format("; with {} a node {}, at most {} at 80 % confidence",
                                   CountText(options.runs, "run"), Deviation(side.spread->variance),
                                   Deviation(UpperVariance(*side.spread)));
}

// --- Prices and minutes ---

// REQUIRES: FindMinutes came before.
void FindWays(const Type& type, const PlanOptions& options, PlannedSide& side) {
  const Catalog& catalog = *options.catalog;
  Identity identity = type.node.identity;
  identity.region.value = kUnknown;
  identity.zone_id = {};
  if (type.runs != nullptr) {
    const auto& regions = type.runs->regions;
    identity.region.value =
        std::ranges::max_element(regions, {}, [](const auto& one) { return one.second; })->first;
  }
  for (const std::string& purchase : Purchases()) {
    // Offers of other kinds would stand in for one that isn't there.
    std::vector<Offer> offers;
    std::ranges::copy_if(catalog.offers, std::back_inserter(offers),
                         [&](const Offer& offer) { return offer.purchase == purchase; });
    identity.purchase.value = purchase;
    const Chosen chosen = ChooseOffer(offers, identity);
    if (chosen.spread) {
      const std::vector<std::string>& regions = chosen.spread->regions;
      side.ways.push_back(
          {.purchase = purchase,
           .words = PurchaseWords({.purchase = purchase}),
           .where = regions.size() == 1 ? regions.front() : CountText(regions.size(), "region"),
           .usd_per_hour = chosen.spread->usd_high,
           .usd_low_per_hour = chosen.spread->usd_low});
    } else if (const std::optional<double> usd = UsdPerNodeHour(chosen)) {
      const Offer& offer = *chosen.offer;
      side.ways.push_back({.purchase = purchase,
                           .words = PurchaseWords(offer),
                           .where = offer.region,
                           .date = offer.price_date,
                           .usd_per_hour = std::max(*usd, offer.usd_high.value_or(*usd)),
                           .usd_low_per_hour = std::min(*usd, offer.usd_low.value_or(*usd))});
    }
  }
  for (WayToBuy& way : side.ways) {
    Offer offer;
    offer.provider = identity.provider.value;
    offer.instance = identity.instance.value;
    offer.purchase = way.purchase;
    way.hours_a_node =
        BilledSeconds(options.runs * side.minutes_a_run * 60, FindBilling(catalog.billing, offer)) /
        3600;
  }
  if (side.ways.empty()) {
    side.no_price = fmt::format("no price of {} is known; give one with --prices FILE", type.name);
  }
}

void FindMinutes(const Type& type, const PlannedCase& planned, const PlanOptions& options,
                 PlannedSide& side) {
  std::vector<double> minutes;
  if (type.runs != nullptr) {
    for (const std::size_t run : type.runs->runs) {
      if (options.briefs[run].minutes) minutes.push_back(*options.briefs[run].minutes);
    }
  }
  if (options.minutes) {
    side.minutes_a_run = *options.minutes;
    side.minutes_words = "as typed";
  } else if (!minutes.empty() && Median(minutes) > 0) {
    side.minutes_a_run = Median(minutes);
    side.minutes_words = "the median of its files";
  } else if (FindProbe(planned.probe).is_headline) {
    side.minutes_a_run = kMinutesOfHeadline;
    side.minutes_words = "the most that five rounds of five minutes take";
  } else {
    side.minutes_a_run = kMinutesOfQuick;
    side.minutes_words = "about what a quick run takes";
  }
}

// --- Commands ---

// A word of a command line, which may come from a stranger's file: quoted so that a shell takes it
// for one word.
std::string ShellWord(const std::string& word) {
  const std::string clean = Clean(word, 512);
  const bool is_plain = !clean.empty() && std::ranges::all_of(clean, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("._-/:,=+@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (is_plain) return clean;
  std::string quoted = "'";
  for (const char c : clean) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

bool IsKnown(const std::string& probe) {
  return std::ranges::count(KnownProbes(), probe, &ProbeFacts::name) > 0;
}

// The command that measures the case on a node. A probe that isn't known may be any word of a
// stranger's file, an option too.
std::string RunCommandOf(const PlannedCase& planned) {
  if (!IsKnown(planned.probe)) return "assay run";
  std::string command = "assay run " + planned.probe;
  if (FindProbe(planned.probe).is_headline) return command + " --suite standard";
  if (planned.params) {
    for (const auto& [name, value] : *planned.params) {
      command += " --set " + ShellWord(fmt::format("{}={}", name, ToText(value)));
    }
  }
  return command;
}

std::vector<std::string> CommandsOf(const NodePlan& plan, const PlannedCase& planned,
                                    const std::string& a, const std::string& b,
                                    const PlanOptions& options) {
  std::string folder = options.folder.empty() ? "results" : options.folder;
  if (folder.starts_with('-')) folder = "./" + folder;
  const std::string primary =
      options.primary.empty() ? "" : " --primary " + ShellWord(options.primary);
  std::vector<std::string> commands = {RunCommandOf(planned)};
  if (plan.nodes) {
    commands.push_back(fmt::format("assay compare {}{}", ShellWord(folder), primary));
  } else {
    commands.push_back(fmt::format("assay plan {} {} --resolve {:g}% --results {}{}", ShellWord(a),
                                   ShellWord(b), 100 * options.resolve, ShellWord(folder),
                                   primary));
  }
  return commands;
}

}  // namespace

double UpperVariance(const MeasuredVariance& measured) {
  const double df = measured.degrees_of_freedom;
  if (!(measured.variance > 0) || std::isinf(df)) return measured.variance;
  return measured.variance * df / ChiSquareQuantile(1 - kBound, df);
}

MeasuredVariance SpreadOfNodes(const MeasuredVariance& between_nodes, double its_inverse_runs,
                               const MeasuredVariance& between_runs, int runs) {
  const double share = 1.0 / runs - its_inverse_runs;
  const double least = between_runs.variance / runs;
  const double part = share * between_runs.variance;
  // The nodes of a plan differ at least by what their runs do.
  if (between_nodes.variance + part <= least) {
    return {.variance = least, .degrees_of_freedom = between_runs.degrees_of_freedom};
  }
  const double variance = between_nodes.variance + part;
  const double below =
      between_nodes.variance * between_nodes.variance / between_nodes.degrees_of_freedom +
      part * part / between_runs.degrees_of_freedom;
  return {.variance = variance, .degrees_of_freedom = variance * variance / below};
}

double UsdOf(const WayToBuy& way, double usd_per_hour, int nodes) {
  return usd_per_hour * nodes * way.hours_a_node;
}

NodePlan PlanNodes(const std::string& a, const std::string& b, const PlanOptions& options) {
  const Catalog& catalog = *options.catalog;
  NodePlan plan = {.resolve = options.resolve, .runs = options.runs};
  std::vector<RunGroup> groups;
  if (!options.briefs.empty()) {
    groups = GroupRuns(options.briefs, {.instances = catalog.instances}, plan.notes);
  }
  const std::array<Type, 2> types = {FindType(a, groups, catalog), FindType(b, groups, catalog)};
  if (IsSameName(types[0].name, types[1].name)) {
    throw Error(
        fmt::format("both sides of the plan are {}; name two types", Clean(types[0].name, 128)));
  }

  PlannedCase planned;
  GroupRanking ranking;  // which the places point into
  if (!options.primary.empty()) {
    planned.what = options.primary;
    planned.probe = options.primary.substr(0, options.primary.find(' '));
  }
  if (types[0].runs != nullptr || types[1].runs != nullptr) {
    ranking = RankGroups(options.briefs, groups,
                         {.instances = catalog.instances, .primary = options.primary});
    const GroupedCase& grouped = ranking.cases.front();
    planned.what = grouped.name;
    planned.probe = grouped.probe;
    planned.kind = grouped.kind;
    planned.params = grouped.params;
    for (const GroupPlace& place : grouped.places) planned.places.push_back(&place);
  } else if (!IsKnown(planned.probe)) {
    std::vector<std::string> names;
    for (const ProbeFacts& facts : KnownProbes()) names.push_back(facts.name);
    throw Error(fmt::format("--primary {}: {}", Clean(options.primary, 128),
                            DidYouMeanAmong(planned.probe, names)));
  }
  plan.what = planned.what;

  for (const Type& type : types) {
    PlannedSide side = {.name = type.name};
    FillSpread(type, planned, options, side);
    FindMinutes(type, planned, options, side);
    FindWays(type, options, side);
    plan.sides.push_back(std::move(side));
  }
  const PlannedSide& of_a = plan.sides[0];
  const PlannedSide& of_b = plan.sides[1];
  if (of_a.spread && of_b.spread) {
    const double factor = 1 + options.resolve;
    plan.nodes = NodesToFind(factor, {UpperVariance(*of_a.spread), of_a.known},
                             {UpperVariance(*of_b.spread), of_b.known});
    plan.nodes_as_measured = NodesToFind(factor, {of_a.spread->variance, of_a.known},
                                         {of_b.spread->variance, of_b.known});
  }
  if (!of_a.known.empty() || !of_b.known.empty()) {
    plan.notes.push_back(
        "measured rows between nodes count in full only where all runs begin within the rows' "
        "span");
  }
  plan.commands = CommandsOf(plan, planned, types[0].name, types[1].name, options);
  return plan;
}

}  // namespace assay
