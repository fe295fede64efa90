#include "results/sample.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <string_view>

#include "results/csv.h"
#include "results/embedded.h"
#include "results/error.h"
#include "results/figures.h"
#include "results/text.h"

ASSAY_DECLARE_EMBEDDED(noise_csv);

namespace assay {
namespace {

std::string_view ClassOf(const std::string& probe) {
  if (probe == "storage") return "storage";
  return IsNetwork(probe) ? "network" : "compute";
}

std::string InstanceOf(const Run& run) {
  return run.nodes.empty() ? "unknown" : run.nodes.front().identity.instance.value;
}

// The nodes that a run was on; runs on equal nodes are repetitions of each other.
std::string NodesOf(const Run& run) {
  std::vector<std::string> ids;
  for (const Node& node : run.nodes) ids.push_back(node.node_id);
  std::sort(ids.begin(), ids.end());
  return fmt::format("{}", fmt::join(ids, " "));
}

// A value of each run, by the nodes that it was on.
using ByNodes = std::map<std::string, std::vector<double>>;

ByNodes GatherByNodes(const std::vector<InRun>& runs,
                      const std::function<double(const InRun&)>& value) {
  ByNodes by_nodes;
  for (const InRun& in_run : runs) by_nodes[NodesOf(*in_run.run)].push_back(value(in_run));
  return by_nodes;
}

// One value a node where there are several, else one a run: lower levels are averaged first.
std::vector<double> UnitsOf(const ByNodes& by_nodes) {
  if (by_nodes.size() == 1) return by_nodes.begin()->second;
  std::vector<double> units;
  for (const auto& [nodes, values] : by_nodes) units.push_back(Mean(values));
  return units;
}

// log(work / median time) of each round of a run; of several records, their mean in that round.
std::vector<double> LogRoundSpeeds(const InRun& in_run) {
  std::vector<double> sums;
  std::vector<int> counts;
  for (const Record* record : in_run.records) {
    // Speed is work over the usual time, which gives the work back.
    const double log_work = std::log(Speed(*record)->value * *UsualTime(*record));
    const std::vector<double> times = LogRoundTimes(*record);
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

// The row that fits best: of the probe before that of its class, of the instance before that of any
// machine.
Noise NoiseOf(const std::string& probe, const Run& run) {
  static const auto rows = ParseCsv(ASSAY_EMBEDDED(noise_csv), "noise.csv");
  Noise best;
  int best_fit = -1;
  for (const auto& row : rows) {
    const bool own_probe = row.at("probe") == probe;
    const bool own_machine = row.at("machine") == InstanceOf(run);
    if (row.at("between") != "runs") continue;
    if (!own_probe && row.at("probe") != ClassOf(probe)) continue;
    if (!own_machine && row.at("machine") != "*") continue;
    const int fit = 2 * int{own_probe} + int{own_machine};
    if (fit <= best_fit) continue;
    best_fit = fit;
    best.sigma = std::strtod(row.at("sigma").c_str(), nullptr);
    best.words = fmt::format("{} {:g} % ({})", row.at("probe"), best.sigma * 100, row.at("how"));
  }
  return best;
}

// What of a run's surroundings may explain a difference, by name.
using Environment = std::map<std::string, std::set<std::string>>;

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
    put("CPU quota", node.cpu.quota ? fmt::format("{:g} cores", *node.cpu.quota) : "none");
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
    if (fact == record.facts.end() || ClassOf(record.probe) != "compute") continue;
    if (const auto* count = std::get_if<std::int64_t>(&fact->second)) {
      put("threads", fmt::format("{}", *count));
    }
  }
}

Environment EnvironmentOf(const Side& side) {
  Environment environment;
  for (const Run& run : side.runs) AddEnvironment(run, environment);
  return environment;
}

// A price's range relative to the price.
struct PriceRange {
  double low = 1;
  double high = 1;
};

PriceRange RangeOf(const Offer& offer) {
  const double usd = *offer.usd_per_hour;
  return {.low = std::min(1.0, offer.usd_low.value_or(usd) / usd),
          .high = std::max(1.0, offer.usd_high.value_or(usd) / usd)};
}

}  // namespace

std::string MethodlessKey(const Record& record) {
  return record.probe + '/' + ToText(record.params) + ' ' + DeviceKind(record);
}

std::map<std::string, Holding> HoldingsOf(const Side& side, bool unlike_methods) {
  std::map<std::string, Holding> holdings;
  for (const Run& run : side.runs) {
    for (const Record& record : run.records) {
      const std::string key = MethodlessKey(record);
      Holding& holding = holdings[unlike_methods ? key : fmt::format("{} {}", key, record.method)];
      if (holding.any == nullptr) holding.any = &record;
      holding.kind = DeviceKind(record);
      if (!Speed(record) || LogRoundTimes(record).empty()) {
        holding.unmeasured = fmt::format("{}: {}", ToText(record.status), record.reason);
        continue;
      }
      std::vector<InRun>& runs = holding.backends[record.backend];
      if (runs.empty() || runs.back().run != &run) runs.push_back({.run = &run});
      runs.back().records.push_back(&record);
    }
  }
  return holdings;
}

Sample SampleOf(const std::vector<InRun>& runs, const std::string& probe) {
  Sample sample;
  if (runs.size() == 1) {
    sample.units = LogRoundSpeeds(runs.front());
    sample.level = fmt::format("{} rounds, this run", sample.units.size());
    sample.noise = NoiseOf(probe, *runs.front().run);
    const double within = StandardDeviation(sample.units);
    sample.run_variance =
        sample.NoiseVariance() + within * within / static_cast<double>(sample.units.size());
    return sample;
  }
  const ByNodes by_nodes =
      GatherByNodes(runs, [](const InRun& in_run) { return Mean(LogRoundSpeeds(in_run)); });
  sample.units = UnitsOf(by_nodes);
  sample.runs = sample.units.size();
  const double deviation = StandardDeviation(sample.units);
  sample.run_variance = deviation * deviation;
  if (by_nodes.size() == 1) {
    sample.level = fmt::format("{} runs, this node", runs.size());
    return sample;
  }
  const std::string instance = InstanceOf(*runs.front().run);
  const bool of_type = by_nodes.size() >= 3 && instance != "unknown" &&
                       std::all_of(runs.begin(), runs.end(), [&](const InRun& in_run) {
                         return InstanceOf(*in_run.run) == instance;
                       });
  sample.level = fmt::format("{} nodes, {}", by_nodes.size(), of_type ? instance : "these nodes");
  return sample;
}

Interval ChangeOf(const Sample& a, const Sample& b, double confidence) {
  return RatioInterval(a.units, b.units, confidence, a.NoiseVariance() + b.NoiseVariance());
}

std::optional<double> SideFigure(
    const std::vector<InRun>& runs,
    const std::function<std::optional<double>(const Run&, const Record&)>& figure) {
  bool missing = false;
  const std::vector<double> units = UnitsOf(GatherByNodes(runs, [&](const InRun& in_run) {
    std::vector<double> logs;
    for (const Record* record : in_run.records) {
      const std::optional<double> value = figure(*in_run.run, *record);
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
  return *SideFigure(runs, [](const Run&, const Record& record) -> std::optional<double> {
    return Speed(record)->value;
  });
}

std::optional<double> CostOf(const std::vector<InRun>& runs, const std::optional<Offer>& offer) {
  return SideFigure(runs, [&](const Run& run, const Record& record) -> std::optional<double> {
    const std::optional<double> usd_per_hour = UsdPerHour(run, offer);
    if (!usd_per_hour) return std::nullopt;
    const std::vector<Cost> costs = Costs(record, *usd_per_hour);
    return costs.empty() ? std::nullopt : std::optional(costs.front().usd);
  });
}

std::string NotPriced(const std::vector<InRun>& runs, const std::string& kind) {
  for (const InRun& in_run : runs) {
    if (const auto part = PartUsed(*in_run.run, kind)) {
      return fmt::format("{} used, and all are paid", *part);
    }
    if (kind == "cpu" && HoldsAccelerator(*in_run.run)) {
      return "a CPU case on a node that is paid for its accelerators";
    }
    for (const Record* record : in_run.records) {
      if (const std::string why = WhyUnpriced(*in_run.run, *record); !why.empty()) return why;
      if (Costs(*record, 1).empty()) return "it has no figure in dollars";
    }
  }
  return "";
}

Interval PriceEnvelope(double cost_a, double cost_b, const Offer& a, const Offer& b) {
  const double factor = cost_a / cost_b;
  const PriceRange range_a = RangeOf(a);
  const PriceRange range_b = RangeOf(b);
  return {.estimate = factor,
          .low = factor * range_a.low / range_b.high,
          .high = factor * range_a.high / range_b.low};
}

Interval Widened(const Interval& envelope, const Interval& change) {
  return {.estimate = envelope.estimate,
          .low = envelope.low * change.low / change.estimate,
          .high = envelope.high * change.high / change.estimate};
}

std::string DirectOf(const std::vector<InRun>& runs) {
  std::set<std::string> found;
  for (const InRun& in_run : runs) {
    for (const Record* record : in_run.records) {
      const auto fact = record->facts.find("direct");
      const auto* text =
          fact == record->facts.end() ? nullptr : std::get_if<std::string>(&fact->second);
      found.insert(text == nullptr ? "unknown" : *text);
    }
  }
  return fmt::format("{}", fmt::join(found, " or "));
}

std::string CachedText(const std::vector<InRun>& runs) {
  std::set<std::string> found;
  for (const InRun& in_run : runs) {
    for (const Record* record : in_run.records) found.insert(CachedText(*in_run.run, *record));
  }
  found.erase("");
  return fmt::format("{}", fmt::join(found, " or "));
}

std::string NodesOf(const std::vector<InRun>& runs) {
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
  if (options.within) return *options.within;
  if (probe == "storage") return 0.05;
  return IsNetwork(probe) ? 0.03 : 0.01;
}

std::string CaseWords(const Record& record) {
  return record.probe + ' ' + CaseLabel(record.probe, record.params);
}

std::string NameOf(const Side& side, std::size_t run) {
  return run < side.names.size() ? side.names[run] : fmt::format("file {}", run + 1);
}

void CheckSide(const Side& side) {
  if (side.runs.empty())
    throw Error("a side of a comparison has no result file; give at least one");
  for (std::size_t i = 0; i < side.runs.size(); ++i) {
    for (const Record& record : side.runs[i].records) {
      if (record.backend != "stand-in") continue;
      throw Error(
          fmt::format("{} holds figures of a stand-in library, which measures nothing; compare "
                      "files that were measured on real devices",
                      Clean(NameOf(side, i))));
    }
  }
}

// An image with a digest, a clean commit, a named suite with its hash, default algorithms, and no
// setting in the environment: the entry point of version 0.1 sets none.
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

std::vector<std::string> IncompleteOf(const Side& side) {
  std::vector<std::string> sentences;
  for (std::size_t i = 0; i < side.runs.size(); ++i) {
    const Run& run = side.runs[i];
    if (run.complete) continue;
    std::size_t rounds = 0;
    for (const Record& record : run.records) rounds = std::max(rounds, record.rounds.size());
    sentences.push_back(fmt::format("{}: {}, {} of {} rounds", NameOf(side, i),
                                    run.status == "complete" ? "not complete" : run.status, rounds,
                                    run.rounds));
  }
  return sentences;
}

std::string NoiseWords(const std::vector<const Sample*>& samples) {
  std::set<std::string> words;
  for (const Sample* sample : samples) {
    if (sample->noise) words.insert(sample->noise->words);
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string NoiseNote(const std::vector<const Sample*>& samples) {
  const std::string words = NoiseWords(samples);
  if (words.empty()) return "";
  return "where a side has one run, what runs differ by is taken from noise.csv and is in the "
         "intervals: " +
         words;
}

std::vector<std::string> DifferencesOf(const Side& a, const Side& b) {
  const Environment of_a = EnvironmentOf(a);
  const Environment of_b = EnvironmentOf(b);
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
