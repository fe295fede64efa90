#include "results/figures/side_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string_view>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"
#include "results/figures/probes.h"

namespace assay {
namespace {

std::string InstanceOf(const Run& run) {
  return run.nodes.empty() ? "unknown" : run.nodes.front().identity.instance.value;
}

// The values of runs, by the nodes that they were on.
using ByNodes = std::map<std::string, std::vector<double>>;

ByNodes GatherByNodes(const std::vector<InRun>& runs,
                      const std::function<double(const InRun&)>& value) {
  // A single run needs no key, which takes time in proportion to its nodes.
  if (runs.size() == 1) return {{"", {value(runs.front())}}};
  ByNodes by_nodes;
  for (const InRun& in_run : runs) by_nodes[NodesKey(*in_run.run)].push_back(value(in_run));
  return by_nodes;
}

// The units of inference: one value a node where there are several, else one a run. Lower levels
// are averaged first.
std::vector<double> UnitsOf(const ByNodes& by_nodes) {
  if (by_nodes.size() == 1) return by_nodes.begin()->second;
  std::vector<double> units;
  for (const auto& [nodes, values] : by_nodes) units.push_back(Mean(values));
  return units;
}

// The log speed, log(work / time), of each round of a run by this statistic. Where a run has
// several records it is their mean in that round.
std::vector<double> LogRoundSpeeds(const InRun& in_run, Statistic statistic) {
  std::vector<double> sums;
  std::vector<int> counts;
  for (const Record* record : in_run.records) {
    // The work is the speed times the usual time.
    const double log_work = std::log(Speed(*record)->value * *UsualTime(*record));
    const std::vector<double> times = LogRoundTimes(*record, statistic);
    sums.resize(std::max(sums.size(), times.size()));
    counts.resize(sums.size());
    for (std::size_t i = 0; i < times.size(); ++i) {
      sums[i] += log_work - times[i];
      ++counts[i];
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] /= counts[i];
  return sums;
}

// The minutes within which all runs of these sides began; nothing where one has no date.
std::optional<double> SpanBetween(const std::vector<const SideValues*>& sides) {
  std::vector<std::optional<double>> minutes;
  for (const SideValues* side : sides) {
    minutes.push_back(side->first_minute);
    minutes.push_back(side->last_minute);
  }
  return SpanOf(minutes);
}

// What is said of a row beside its words: nothing, or that it counts for less between these sides.
std::string SpanWords(const Noise& noise, const std::vector<const SideValues*>& sides) {
  if (!noise.is_measured || IsWithinSpan(noise, SpanBetween(sides))) return "";
  return "; these runs lie further apart, so that it counts as 2 df";
}

// The estimate of one side, `of`, which is either `a` or `b`.
Estimate SideEstimate(const SideValues& of, const SideValues& a, const SideValues& b) {
  if (of.spread) return *EstimateOf({.values = of.units}, of.spread);
  if (!of.noise) return EstimateOf(of.units);
  return {.mean = of.units.front(),
          .variance = of.noise->sigma * of.noise->sigma,
          .degrees_of_freedom = DfWithin(*of.noise, SpanBetween({&a, &b}))};
}

// The degrees of freedom of both sides together. A row that serves both sides counts once.
double DfInAll(const SideValues& a, const SideValues& b) {
  if (a.spread && b.spread) return std::min(a.df_in_all, b.df_in_all);
  const bool once = a.noise && b.noise && *a.noise == *b.noise;
  return SideEstimate(a, a, b).degrees_of_freedom +
         (once ? 0 : SideEstimate(b, a, b).degrees_of_freedom);
}

// The bound where a side's spread is a guess, which counts as one degree of freedom. A side with
// several runs has its own spread, but no less than what is guessed of the other.
double GuessBound(const SideValues& a, const SideValues& b) {
  const auto variance = [](const SideValues& side, const SideValues& other) {
    const double guessed = other.IsGuessed() ? other.noise->sigma * other.noise->sigma : 0;
    if (side.IsGuessed()) return side.noise->sigma * side.noise->sigma;
    return std::max(guessed, SideEstimate(side, side, side).variance);
  };
  return std::exp(StudentT(0.95, 1) * std::sqrt(variance(a, b) + variance(b, a)));
}

// Adds a run's environment: everything in the file, besides its figures, that may explain a
// difference.
void AddEnvironment(const Run& run, Environment& environment) {
  const auto put = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) environment[name].insert(value);
  };
  for (const Node& node : run.nodes) {
    put("instance", node.identity.instance.value);
    put("region", node.identity.region.value);
    put("virtualization", node.virtualization);
    put("in a container", node.in_container ? "yes" : "no");
    put("CPU", node.cpu.model);
    put("cores used", fmt::format("{} of {}", node.cpu.cores_used, node.cpu.cores_present));
    put("CPU quota", node.cpu.quota ? fmt::format("{:g} {}", *node.cpu.quota,
                                                  *node.cpu.quota == 1 ? "core" : "cores")
                                    : "none");
    for (const Accelerator& accelerator : node.accelerators) {
      put("accelerators",
          fmt::format("{} of {} x {}", accelerator.used, accelerator.present, accelerator.name));
    }
    for (const Volume& volume : node.storage) {
      put("storage", fmt::format("{} {} {}", volume.kind, volume.fs, volume.device));
    }
    for (const auto& [name, version] : node.software) put(name, version);
    for (const auto& [name, value] : node.env) put(name, value);
    for (const Note& note : node.notes) put("note: " + note.what, "yes");
  }
  put("nodes", fmt::format("{}", run.nodes.size()));
  put("assay", fmt::format("{} {}{}", run.assay.version, run.assay.commit,
                           run.assay.dirty ? " with changes" : ""));
  put("build", run.assay.build);
  put("suite", fmt::format("{} {}", run.suite.name, run.suite.sha256.substr(0, 12)));
  for (const Record& record : run.records) {
    const auto fact = record.facts.find("threads");
    if (fact == record.facts.end() || FindProbe(record.probe).probe_class != ProbeClass::kCompute)
      continue;
    if (const auto* count = std::get_if<std::int64_t>(&fact->second)) {
      put("threads", fmt::format("{}", *count));
    }
  }
}

}  // namespace

std::optional<double> MinuteOf(const std::string& utc) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:ddZ";
  const auto fits = [](char have, char want) {
    return want == 'd' ? '0' <= have && have <= '9' : have == want;
  };
  if (!std::ranges::equal(utc, kForm, fits)) return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t size) {
    return std::stoi(utc.substr(at, size));
  };
  const std::chrono::year_month_day day(std::chrono::year(number(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                        std::chrono::day(static_cast<unsigned>(number(8, 2))));
  if (!day.ok()) return std::nullopt;
  const auto days = static_cast<double>(std::chrono::sys_days(day).time_since_epoch().count());
  return days * 24 * 60 + number(11, 2) * 60 + number(14, 2) + number(17, 2) / 60.0;
}

std::string NodesKey(const Run& run) {
  std::vector<std::string> ids;
  for (const Node& node : run.nodes) ids.push_back(node.node_id);
  std::sort(ids.begin(), ids.end());
  return fmt::format("{}", fmt::join(ids, " "));
}

Environment GatherEnvironment(const Side& side) {
  Environment environment;
  for (const Run& run : side.runs) AddEnvironment(run, environment);
  return environment;
}

std::string MethodlessKey(const Record& record) {
  return record.probe + '/' + ToText(record.params) + ' ' + record.device.kind;
}

Holdings GatherHoldings(const Side& side, bool unlike_methods,
                        std::span<const InstanceFacts> instances) {
  Holdings holdings;
  for (const Run& run : side.runs) {
    const InstanceFacts* const type = TypeOf(run, instances);
    for (const Record& record : run.records) {
      Holding& holding = holdings[{.probe = record.probe,
                                   .params = record.params,
                                   .kind = record.device.kind,
                                   .method = unlike_methods ? 0 : record.method}];
      if (holding.any == nullptr) holding.any = &record;
      holding.kind = record.device.kind;
      if (!Speed(record) || LogRoundTimes(record).empty()) {
        holding.unmeasured = fmt::format("{}: {}", ToText(record.status), record.reason);
        continue;
      }
      std::vector<InRun>& runs = holding.backends[record.backend];
      if (runs.empty() || runs.back().run != &run) runs.push_back({.run = &run, .type = type});
      runs.back().records.push_back(&record);
    }
  }
  return holdings;
}

double SideValues::Speed() const { return std::exp(Mean(units)); }

SideValues AverageRuns(const std::vector<InRun>& runs, Statistic statistic,
                       const std::vector<Noise>& own) {
  const ByNodes by_nodes = GatherByNodes(
      runs, [&](const InRun& in_run) { return Mean(LogRoundSpeeds(in_run, statistic)); });
  SideValues values = {.units = UnitsOf(by_nodes)};
  const double deviation = StandardDeviation(values.units);
  values.unit_variance = deviation * deviation;
  bool are_dated = true;
  for (const InRun& in_run : runs) {
    const std::optional<double> minute = MinuteOf(in_run.run->started);
    are_dated = are_dated && minute;
    if (!minute) continue;
    values.first_minute = std::min(*minute, values.first_minute.value_or(*minute));
    values.last_minute = std::max(*minute, values.last_minute.value_or(*minute));
  }
  // A run without a date may lie anywhere in time, so that nothing is known of the span.
  if (!are_dated) values.first_minute = values.last_minute = std::nullopt;
  // A single run can't show how runs differ, so that spread comes from elsewhere.
  if (runs.size() == 1) {
    values.level = "1 run, this node";
    values.noise = FittingNoise(own, runs.front().records.front()->probe, *runs.front().run);
    values.unit_variance = values.noise->sigma * values.noise->sigma;
    return values;
  }
  if (by_nodes.size() == 1) {
    values.level = fmt::format("{} runs, this node", runs.size());
    return values;
  }
  values.are_nodes = true;
  std::vector<const Run*> all;
  for (const InRun& in_run : runs) all.push_back(in_run.run);
  values.node_rows = FittingNodeRows(own, runs.front().records.front()->probe, all);
  const std::string instance = InstanceOf(*runs.front().run);
  // Three nodes of one type may speak for the type; fewer, or others, speak for themselves.
  const bool of_type = by_nodes.size() >= 3 && instance != "unknown" &&
                       std::all_of(runs.begin(), runs.end(), [&](const InRun& in_run) {
                         return InstanceOf(*in_run.run) == instance;
                       });
  values.level = fmt::format("{} nodes, {}", by_nodes.size(), of_type ? instance : "these nodes");
  return values;
}

void BorrowSpread(SideValues& of, const std::vector<const SideValues*>& others) {
  if (!of.are_nodes) return;
  std::vector<const SideValues*> sides = {&of};
  sides.insert(sides.end(), others.begin(), others.end());
  std::vector<NodeGroup> groups;
  for (const SideValues* side : sides) {
    if (!side->are_nodes) continue;
    groups.push_back({.values = side->units});
    for (const Noise& row : side->node_rows) {
      groups.back().known.push_back(
          {.variance = row.sigma * row.sigma, .df = DfWithin(row, SpanBetween(sides))});
    }
  }
  const Spreads spreads = ModerateSpreads(groups);
  of.known = groups.front().known;
  of.spread = spreads.of.front();
  of.df_in_all = spreads.df_in_all;
  of.unit_variance = of.spread->variance;
}

Statistic StatisticOf(const std::vector<const std::vector<InRun>*>& sides) {
  for (const std::vector<InRun>* runs : sides) {
    for (const InRun& in_run : *runs) {
      for (const Record* record : in_run.records) {
        if (PacingOf(*record).statistic == Statistic::kOverTime) return Statistic::kOverTime;
      }
    }
  }
  return Statistic::kMedian;
}

Change ChangeOf(const SideValues& a, const SideValues& b, double confidence) {
  Change change = {
      .estimate = std::exp(Mean(b.units) - Mean(a.units)),
      .level = a.level == b.level ? "each side: " + a.level : b.level + " against " + a.level};
  if (a.IsGuessed() || b.IsGuessed()) {
    change.guess_bound = GuessBound(a, b);
    return change;
  }
  const bool is_own_spread = std::min(a.units.size(), b.units.size()) >= kBootstrapFrom ||
                             !(a.noise || b.noise || a.spread || b.spread);
  change.interval = is_own_spread ? RatioInterval(a.units, b.units, confidence)
                                  : RatioInterval(SideEstimate(a, a, b), SideEstimate(b, a, b),
                                                  confidence, DfInAll(a, b));
  change.interval->units = static_cast<int>(a.units.size() + b.units.size());
  change.interval->level = change.level;
  return change;
}

std::optional<double> PValueOf(const SideValues& a, const SideValues& b) {
  if (a.IsGuessed() || b.IsGuessed()) return std::nullopt;
  return RatioPValue(SideEstimate(a, a, b), SideEstimate(b, a, b), DfInAll(a, b));
}

std::optional<double> SideFigure(
    const std::vector<InRun>& runs,
    const std::function<std::optional<double>(const InRun&, const Record&)>& figure) {
  bool missing = false;
  const std::vector<double> units = UnitsOf(GatherByNodes(runs, [&](const InRun& in_run) {
    std::vector<double> logs;
    for (const Record* record : in_run.records) {
      const std::optional<double> value = figure(in_run, *record);
      if (value && *value > 0) {
        logs.push_back(std::log(*value));
      } else {
        missing = true;
      }
    }
    return missing ? 0 : Mean(logs);
  }));
  if (missing) return std::nullopt;
  return std::exp(Mean(units));
}

double SpeedOf(const std::vector<InRun>& runs) {
  return *SideFigure(runs, [](const InRun&, const Record& record) -> std::optional<double> {
    return Speed(record)->value;
  });
}

std::optional<double> CostOf(const std::vector<InRun>& runs, const Chosen& price) {
  return SideFigure(runs, [&](const InRun& in_run, const Record& record) -> std::optional<double> {
    const std::vector<Cost> costs = CostsAt(*in_run.run, record, price, in_run.type);
    return costs.empty() ? std::nullopt : std::optional(costs.front().usd);
  });
}

std::string NotPriced(const std::vector<InRun>& runs, const std::string& kind) {
  for (const InRun& in_run : runs) {
    for (const Record* record : in_run.records) {
      if (Costs(*record, 1).empty()) return "";
    }
  }
  for (const InRun& in_run : runs) {
    if (const auto part = PartUsed(*in_run.run, kind)) {
      return fmt::format("{} used, and all are paid", *part);
    }
    if (kind == "cpu" && HoldsAccelerator(*in_run.run)) {
      return "a CPU case on a node that is paid for its accelerators";
    }
    for (const Record* record : in_run.records) {
      if (const std::string why = WhyUnpriced(*in_run.run, *record, in_run.type); !why.empty())
        return why;
    }
  }
  return "";
}

PriceRange RangeOf(const Offer& offer) {
  const double usd = *offer.usd_per_hour;
  return {.low = std::min(1.0, offer.usd_low.value_or(usd) / usd),
          .high = std::max(1.0, offer.usd_high.value_or(usd) / usd)};
}

Interval PriceEnvelope(double cost_a, double cost_b, const Offer& a, const Offer& b) {
  const double factor = cost_a / cost_b;
  const PriceRange range_a = RangeOf(a);
  const PriceRange range_b = RangeOf(b);
  return {.estimate = factor,
          .low = factor * range_a.low / range_b.high,
          .high = factor * range_a.high / range_b.low};
}

Verdict JudgePerUsd(const Change& change, const Interval& envelope, double margin) {
  const Interval reach = change.Reach();
  const Interval per_usd = {.estimate = envelope.estimate,
                            .low = envelope.low * reach.low / reach.estimate,
                            .high = envelope.high * reach.high / reach.estimate};
  return change.interval ? Judge(per_usd, margin) : JudgeGuess(per_usd);
}

std::string FactIn(const std::vector<InRun>& runs, const std::string& name) {
  std::set<std::string> found;
  for (const InRun& in_run : runs) {
    for (const Record* record : in_run.records) {
      const auto fact = record->facts.find(name);
      const auto* text =
          fact == record->facts.end() ? nullptr : std::get_if<std::string>(&fact->second);
      found.insert(text == nullptr ? "unknown" : *text);
    }
  }
  return fmt::format("{}", fmt::join(found, " or "));
}

std::string MarksText(const std::vector<InRun>& runs) {
  std::set<std::string> found;
  for (const InRun& in_run : runs) {
    for (const Record* record : in_run.records) {
      found.insert(CachedText(*in_run.run, *record));
      if (FindBySockets(in_run.type, *record))
        found.insert(StandingText(Assess(in_run.type, *record)));
    }
  }
  found.erase("");
  return fmt::format("{}", fmt::join(found, " or "));
}

std::string NodeCounts(const std::vector<InRun>& runs) {
  std::set<std::size_t> found;
  for (const InRun& in_run : runs) {
    for (const Record* record : in_run.records) {
      std::set<int> nodes;
      for (const Unit& unit : record->units) nodes.insert(unit.node);
      found.insert(std::max<std::size_t>(1, nodes.size()));
    }
  }
  return fmt::format("{}", fmt::join(found, " or "));
}

double MarginOf(const std::string& probe, const CompareOptions& options) {
  constexpr double kOfTypes = 0.03;
  const double of_probe = FindProbe(probe).margin;
  return options.within.value_or(options.are_types ? std::max(kOfTypes, of_probe) : of_probe);
}

std::string NameOf(const Side& side, std::size_t run) {
  return run < side.names.size() ? side.names[run] : fmt::format("file {}", run + 1);
}

void CheckSide(const Side& side) {
  if (!side.runs.empty()) return;
  throw Error("a side of a comparison has no result file; give at least one");
}

// A closed run has an image with a digest, a clean commit, a named suite with its hash, default
// algorithms, and no setting in the environment, since the entry point of version 0.1 sets none.
std::string DivisionOf(const Run& run) {
  const bool released = run.assay.image_digest.value_or("").rfind("sha256:", 0) == 0 &&
                        !run.assay.dirty && !run.assay.commit.empty();
  const bool named = !run.suite.name.empty() && !run.suite.sha256.empty();
  const bool usual = std::all_of(run.records.begin(), run.records.end(), [](const Record& record) {
    const auto algo = record.params.find("algo");
    return algo == record.params.end() || ToText(algo->second) == "default";
  });
  const bool untouched = std::all_of(run.nodes.begin(), run.nodes.end(),
                                     [](const Node& node) { return node.env.empty(); });
  return released && named && usual && untouched ? "closed" : "open";
}

bool DivisionsDiffer(const std::vector<const Side*>& sides) {
  std::set<std::string> divisions;
  for (const Side* side : sides) {
    for (const Run& run : side->runs) divisions.insert(DivisionOf(run));
  }
  return divisions.size() > 1;
}

std::vector<std::string> DescribeIncomplete(const Side& side) {
  std::vector<std::string> sentences;
  for (std::size_t i = 0; i < side.runs.size(); ++i) {
    const Run& run = side.runs[i];
    if (run.complete) continue;
    std::size_t rounds =
        run.records.empty() ? 0 : static_cast<std::size_t>(std::max(0, run.rounds));
    std::map<std::string_view, int> cases;  // the incomplete cases, by what became of them
    for (const Record& record : run.records) {
      if (record.status != Status::kSkipped) rounds = std::min(rounds, record.rounds.size());
      if (record.complete) continue;
      ++cases[record.status == Status::kOk ? "short of rounds" : ToText(record.status)];
    }
    std::vector<std::string> counts;
    for (const auto& [outcome, count] : cases) {
      counts.push_back(fmt::format("{} {}", count, outcome));
    }
    std::string how =
        fmt::format("{}, {} of {}", run.status, rounds, CountText(run.rounds, "round"));
    if (run.status == "complete") {
      how = counts.empty()
                ? "not complete"
                : fmt::format("cases that are not complete: {}", fmt::join(counts, ", "));
    }
    sentences.push_back(fmt::format("{}: {}", NameOf(side, i), how));
  }
  return sentences;
}

std::string NoiseWords(const SideValues& a, const SideValues& b) {
  std::set<std::string> words;
  for (const SideValues* side : {&a, &b}) {
    if (!side->noise) continue;
    words.insert(ToText(*side->noise) + SpanWords(*side->noise, {&a, &b}));
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string SpreadWords(const SideValues& a, const SideValues& b) {
  const auto words = [](const SideValues& side) {
    return side.spread ? ToText(*side.spread) : "spread between runs";
  };
  if (!a.spread && !b.spread) return "";
  const std::string of_a = words(a);
  const std::string of_b = words(b);
  return of_a == of_b ? "each side: " + of_a : of_b + " against " + of_a;
}

bool IsPrimary(const Record& record, const std::vector<const std::vector<InRun>*>& sides,
               const CompareOptions& options) {
  if (!options.primary.empty()) {
    return options.primary == record.probe ||
           options.primary == CaseWords(record.probe, record.params);
  }
  return std::ranges::all_of(sides, [&](const std::vector<InRun>* runs) {
    return std::ranges::all_of(
        *runs, [&](const InRun& in_run) { return IsHeadlineCase(*in_run.run, record); });
  });
}

std::string PrimaryMissing(const std::string& primary, const std::vector<std::string>& cases) {
  constexpr std::size_t kShown = 5;
  const std::vector<std::string> shown(
      cases.begin(), cases.begin() + std::min<std::ptrdiff_t>(kShown, std::ssize(cases)));
  return Clean(fmt::format("the primary case '{}' is none of those that are compared; give a probe "
                           "or one of these: {}{}",
                           primary, fmt::join(shown, ", "), cases.size() > kShown ? ", …" : ""),
               1024);
}

std::vector<std::string> NoiseNotes(
    const std::vector<std::pair<const SideValues*, const SideValues*>>& pairs) {
  std::set<std::string> measured;
  std::set<std::string> between_nodes;
  std::map<std::string, std::string> guesses;  // by probe or class
  for (const auto& [a, b] : pairs) {
    const bool is_guess = a->IsGuessed() || b->IsGuessed();
    if (!is_guess && (a->noise || b->noise)) measured.insert(NoiseWords(*a, *b));
    for (const SideValues* side : {a, b}) {
      for (const Noise& row : side->node_rows) {
        between_nodes.insert(ToText(row) + SpanWords(row, {a, b}));
      }
      if (!side->IsGuessed()) continue;
      const Noise& noise = *side->noise;
      guesses[noise.probe] = fmt::format(
          "{} beyond a factor of {:.3g} alone (\u03c3 {:g} %, {})", noise.probe,
          std::exp(StudentT(0.95, 1) * std::sqrt(2.0) * noise.sigma), noise.sigma * 100, noise.how);
    }
  }
  std::vector<std::string> notes;
  if (!guesses.empty()) {
    std::vector<std::string> words;
    for (const auto& [probe, text] : guesses) words.push_back(text);
    notes.push_back(fmt::format("{} in an hour, or two runs or more a side do; until then {}",
                                kNoVerdict, fmt::join(words, ", ")));
  }
  if (!measured.empty()) {
    notes.push_back(fmt::format(
        "where a side has one run, the intervals rest on how runs of such a machine were measured "
        "to "
        "differ ({}): they are about the nodes of these runs on that day, since how nodes differ "
        "wasn't measured",
        fmt::join(measured, ", ")));
  }
  if (!between_nodes.empty()) {
    notes.push_back(fmt::format("the spread between nodes was measured before: {}",
                                fmt::join(between_nodes, ", ")));
  }
  return notes;
}

std::vector<std::string> FindDifferences(const Side& a, const Side& b) {
  const Environment of_a = GatherEnvironment(a);
  const Environment of_b = GatherEnvironment(b);
  const auto text = [](const Environment& environment, const std::string& name) -> std::string {
    const auto found = environment.find(name);
    return found == environment.end() ? "-" : fmt::format("{}", fmt::join(found->second, " or "));
  };
  std::set<std::string> names;
  for (const auto& [name, values] : of_a) names.insert(name);
  for (const auto& [name, values] : of_b) names.insert(name);
  std::vector<std::string> differences;
  for (const std::string& name : names) {
    const std::string in_a = text(of_a, name);
    const std::string in_b = text(of_b, name);
    if (in_a == in_b) continue;
    if (name.rfind("note: ", 0) == 0) {
      differences.push_back(
          fmt::format("{} ({} only)", name.substr(6), in_b == "-" ? "baseline" : "candidate"));
    } else {
      differences.push_back(fmt::format("{}: {} against {}", name, in_a, in_b));
    }
  }
  return differences;
}

}  // namespace assay
