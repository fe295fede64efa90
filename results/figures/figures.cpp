#include "results/figures/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string_view>

#include "results/base/dtype.h"
#include "results/base/text.h"
#include "results/figures/expected.h"
#include "results/figures/probes.h"
#include "results/file/nodes.h"

namespace assay {
namespace {

// The count of one iteration's work, with its unit.
struct Counted {
  double amount = 0;
  const char* unit = "";
};

bool HasWord(const Params& params, const std::string& name, std::string_view word) {
  const auto found = params.find(name);
  if (found == params.end()) return false;
  const auto* text = std::get_if<std::string>(&found->second);
  return text != nullptr && *text == word;
}

bool MultipliesIntegers(const Params& params) {
  return HasWord(params, "dtype", ToText(Dtype::kInt8));
}

std::optional<std::int64_t> Integer(const Params& params, const std::string& name) {
  const auto found = params.find(name);
  if (found == params.end()) return std::nullopt;
  const auto* integer = std::get_if<std::int64_t>(&found->second);
  return integer == nullptr ? std::nullopt : std::optional(*integer);
}

std::optional<Counted> Count(const Work& work, const std::string& probe, const Params& params) {
  const ProbeFacts& facts = FindProbe(probe);
  const auto amount = [](std::int64_t count) { return static_cast<double>(count); };
  const bool is_of_bytes = facts.bytes_where && Holds(*facts.bytes_where, params) && work.bytes;
  if (work.flops && !is_of_bytes) {
    return Counted{amount(*work.flops), MultipliesIntegers(params) ? "OP/s" : "FLOP/s"};
  }
  if (facts.ops_where && Holds(*facts.ops_where, params) && work.ops) {
    return Counted{amount(*work.ops), "IOPS"};
  }
  if (work.bytes) return Counted{amount(*work.bytes), "B/s"};
  if (work.ops) return Counted{amount(*work.ops), "op/s"};
  return std::nullopt;
}

std::optional<Counted> Count(const Record& record) {
  return Count(record.work, record.probe, record.params);
}

bool IsMeasured(const Record& record) {
  return record.status == Status::kOk || record.status == Status::kPartial;
}

// The severity of an event that held a device back: 0 none, 1 the power limit, 2 heat, 3 the power
// supply.
int Severity(const std::string& event) {
  if (event == "hw_power_brake") return 3;
  if (event == "hw_thermal" || event == "sw_thermal" || event == "hw_slowdown") return 2;
  return event == "sw_power_cap" ? 1 : 0;
}

// The median of one of the visits' series over all rounds.
std::optional<double> MedianOver(const Record& record, std::vector<double> Visit::*series) {
  std::vector<double> all;
  for (const Visit& visit : record.rounds) {
    const std::vector<double>& values = visit.*series;
    all.insert(all.end(), values.begin(), values.end());
  }
  if (all.empty()) return std::nullopt;
  return Median(all);
}

std::optional<Rate> RateAt(const Record& record, std::optional<double> seconds) {
  const std::optional<Counted> counted = Count(record);
  if (!IsMeasured(record) || !counted || counted->amount <= 0 || !seconds || *seconds <= 0) {
    return std::nullopt;
  }
  return Rate{.value = counted->amount / *seconds, .unit = counted->unit};
}

// The seconds per iteration of all rounds together.
std::optional<double> TimeOver(const std::vector<std::vector<Timed>>& rounds, Statistic statistic) {
  std::vector<Timed> all;
  for (const std::vector<Timed>& round : rounds) all.insert(all.end(), round.begin(), round.end());
  if (all.empty()) return std::nullopt;
  return TimeOf(all, statistic);
}

// The logarithm of the time of each round that has samples that count, by the given statistic or
// else the record's own.
std::vector<double> LogTimesOf(const Pacing& pacing, std::optional<Statistic> statistic) {
  std::vector<double> logs;
  for (const std::vector<Timed>& round : pacing.counted) {
    if (round.empty()) continue;
    const double time = TimeOf(round, statistic.value_or(pacing.statistic));
    if (time > 0) logs.push_back(std::log(time));
  }
  return logs;
}

// Whether every visit lasted long enough to be called sustained.
bool IsSustained(const Record& record) {
  constexpr double kLeastSeconds = 60;
  return HasWord(record.params, "regime", "sustained") &&
         std::all_of(record.rounds.begin(), record.rounds.end(), [](const Visit& visit) {
           return visit.sustained && visit.sustained->least_s >= kLeastSeconds;
         });
}

std::int64_t AcceleratorsOf(const Run& run) {
  std::int64_t present = 0;
  for (const Node& node : run.nodes) {
    present += AcceleratorsOf(node);
  }
  return present;
}

std::string HeadlineName(const Run& run) {
  return HoldsAccelerator(run) ? "bf16-train/1" : "bf16-cpu/2";
}

// The reason why a record can't be the headline, or "". `part` is PartUsed for its kind of device,
// and `present` the number of accelerators that the run held.
std::string Unfit(const Record& record, const std::optional<std::string>& part,
                  std::int64_t present) {
  constexpr std::size_t kRounds = 5;
  if (record.status != Status::kOk) {
    return fmt::format("{}: {}", ToText(record.status), record.reason);
  }
  if (!record.complete) return "fewer rounds than asked were measured";
  if (part) return fmt::format("{} was used, and the node is what is paid", *part);
  if (record.device.kind == "gpu" && std::ssize(record.units) < present) {
    return fmt::format("{} of {} took part, and the node is what is paid", record.units.size(),
                       present);
  }
  if (record.rounds.size() < kRounds) {
    return fmt::format("{}, and it needs {}", CountText(record.rounds.size(), "round"), kRounds);
  }
  if (!record.verify || record.verify->checked <= 0) return "its result was not verified";
  if (!IsSustained(record)) return "it was not sustained for a minute in each round";
  if (!Speed(record)) return "it has no time or no work";
  return "";
}

}  // namespace

std::string UnrestText(const Record& record) {
  std::map<std::string, int> rounds;
  int all = 0;
  for (const Visit& visit : record.rounds) {
    if (!visit.sustained) continue;
    ++rounds[visit.sustained->ended];
    ++all;
  }
  if (rounds["steady"] == all) return "";
  std::string text =
      fmt::format("steady in {} of {}", rounds["steady"], CountText(record.rounds.size(), "round"));
  if (rounds["unsteady"] > 0) text += fmt::format(", not at rest in {}", rounds["unsteady"]);
  if (rounds["scattered"] > 0)
    text += fmt::format(", too noisy to tell in {}", rounds["scattered"]);
  return text;
}

std::string PacingText(const Record& record) {
  const Pacing pacing = PacingOf(record);
  if (!IsMeasured(record) || pacing.statistic != Statistic::kOverTime) return "";
  std::string text = pacing.spans > 0 ? "" : "paced (" + pacing.why + "): work over time";
  const auto add = [&](const std::string& more) { AddNote(text, more); };
  const auto rate = [&](double time_s) {
    const std::optional<Rate> of = RateAt(record, time_s);
    return of ? WithPrefix(of->value, of->unit) : "none";
  };
  if (pacing.burst) {
    add(fmt::format("burst {} for {}{}, then {}", rate(pacing.burst->before_s),
                    Duration(pacing.burst->lasted_s),
                    pacing.burst->each_visit ? " of each round" : "", rate(pacing.burst->after_s)));
  } else if (pacing.spans > 0 && pacing.spans < kSpansToTell) {
    add(fmt::format("too short to tell a burst ({})", Duration(pacing.measured_s)));
  }
  for (const std::vector<Timed>& spans : pacing.counted) {
    if (pacing.counted.size() == 1 && SpansAutocorrelation(spans) > 0.5) {
      add("spans are too much alike to tell how sure this is; measure for 300 s or longer");
    }
  }
  return text;
}

bool HoldsAccelerator(const Run& run) { return AcceleratorsOf(run) > 0; }

std::optional<std::string> PartUsed(const Run& run, const std::string& device_kind) {
  double used = 0;
  double present = 0;
  for (const Node& node : run.nodes) {
    if (device_kind == "gpu") {
      for (const Accelerator& accelerator : node.accelerators) {
        if (accelerator.mig && accelerator.used > 0) return "a slice (MIG)";
        used += accelerator.used;
        present += accelerator.present;
      }
    } else {
      const double cores = node.cpu.cores_used;
      used += node.cpu.quota ? std::min(cores, *node.cpu.quota) : cores;
      present += node.cpu.cores_present;
    }
  }
  if (used >= present) return std::nullopt;
  return fmt::format("{:g} of {:g}", used, present);
}

std::optional<double> MedianTime(const Record& record) {
  return MedianOver(record, &Visit::time_s);
}

std::optional<double> MeanTime(const Record& record) {
  return TimeOver(PacingOf(record).counted, Statistic::kOverTime);
}

std::optional<double> UsualTime(const Record& record) {
  const Pacing pacing = PacingOf(record);
  return TimeOver(pacing.counted, pacing.statistic);
}

std::optional<double> MeanToMedian(const Record& record) {
  if (PacingOf(record).statistic == Statistic::kOverTime) return std::nullopt;
  const std::optional<double> mean = MeanTime(record);
  const std::optional<double> median = MedianTime(record);
  if (!mean || !median || *median <= 0) return std::nullopt;
  return *mean / *median;
}

std::optional<PowerFigure> PowerOf(const Record& record) {
  if (record.units.empty() || !IsMeasured(record)) return std::nullopt;
  PowerFigure power;
  int worst = 0;
  for (std::size_t unit = 0; unit < record.units.size(); ++unit) {
    double joules = 0;
    double seconds = 0;
    std::vector<double> samples;
    for (const Visit& visit : record.rounds) {
      for (const Telemetry& seen : visit.telemetry) {
        if (static_cast<std::size_t>(seen.unit) != unit) continue;
        samples.insert(samples.end(), seen.power_w.begin(), seen.power_w.end());
        for (const std::string& event : seen.events) worst = std::max(worst, Severity(event));
        if (!seen.energy_j || seen.at_s.empty() || seen.at_s.back() <= seen.at_s.front()) continue;
        joules += *seen.energy_j;
        seconds += seen.at_s.back() - seen.at_s.front();
      }
    }
    // A sum without one of the units would be too low, so it is none. The counter of energy sees
    // what lies between readings of power, and is preferred to them.
    if (seconds <= 0 && samples.empty()) return std::nullopt;
    power.watts += seconds > 0 ? joules / seconds
                               : std::accumulate(samples.begin(), samples.end(), 0.0) /
                                     static_cast<double>(samples.size());
  }
  constexpr std::array<const char*, 4> kNames = {"none", "power-capped", "thermal", "power-brake"};
  power.held_back = kNames[static_cast<std::size_t>(worst)];
  if (const auto mean = MeanTime(record); mean && record.work.flops && *record.work.flops > 0) {
    power.joules_per_tflop = power.watts * *mean / (static_cast<double>(*record.work.flops) / 1e12);
  }
  return power;
}

std::optional<Rate> Speed(const Record& record) { return RateAt(record, UsualTime(record)); }

std::optional<Rate> StableSpeed(const Record& record) {
  double seconds = 0;
  double iterations = 0;
  for (const Visit& visit : record.rounds) {
    // Files from before there were spans have times of the slowest batches alone here.
    if (!IsInSpans(visit) || visit.stable_time_s.size() != visit.iterations.size()) continue;
    for (std::size_t i = 0; i < visit.iterations.size(); ++i) {
      const auto count = static_cast<double>(visit.iterations[i]);
      seconds += count * visit.stable_time_s[i];
      iterations += count;
    }
  }
  if (iterations <= 0) return std::nullopt;
  return RateAt(record, seconds / iterations);
}

std::optional<double> BusBandwidth(const Record& record) {
  const std::optional<Rate> algorithm = Speed(record);
  const std::optional<double> factor =
      FactorOf(FindProbe(record.probe).bus_factor, Integer(record.params, "ranks").value_or(0));
  if (!algorithm || !factor) return std::nullopt;
  return algorithm->value * *factor;
}

std::optional<Wire> WireRate(const Record& record) {
  const auto bytes = record.facts.find("wire_bytes");
  const auto algorithm = record.facts.find("algorithm");
  if (!BusBandwidth(record) || bytes == record.facts.end() || algorithm == record.facts.end()) {
    return std::nullopt;
  }
  const auto* moved = std::get_if<std::int64_t>(&bytes->second);
  const auto* name = std::get_if<std::string>(&algorithm->second);
  const std::int64_t nodes = Integer(record.params, "nodes").value_or(1);
  const std::int64_t ranks = Integer(record.params, "ranks").value_or(0);
  if (moved == nullptr || name == nullptr || *moved < 0 || nodes < 1) return std::nullopt;
  const double sharers = nodes > 1 ? static_cast<double>(ranks) / static_cast<double>(nodes) : 1.0;
  return Wire{.bytes_per_s = static_cast<double>(*moved) / sharers / *MedianTime(record),
              .model = *name,
              .is_between_nodes = nodes > 1};
}

std::string TransportOf(const Record& record) { return TextOf(record.facts, "transport"); }

std::vector<double> LogRoundTimes(const Record& record) {
  return LogTimesOf(PacingOf(record), std::nullopt);
}

std::vector<double> LogRoundTimes(const Record& record, Statistic statistic) {
  return LogTimesOf(PacingOf(record), statistic);
}

std::optional<Interval> SpeedInterval(const Record& record, double confidence) {
  if (!IsMeasured(record)) return std::nullopt;
  const Pacing pacing = PacingOf(record);
  std::vector<double> logs = LogTimesOf(pacing, std::nullopt);
  if (logs.size() == 1 && pacing.spans > 0) {
    for (const std::vector<Timed>& spans : pacing.counted) {
      if (!spans.empty()) return SpansInterval(spans, confidence);
    }
  }
  for (double& value : logs) value = -value;  // speed is the inverse of time
  std::optional<Interval> interval = MeanInterval(logs, confidence);
  if (interval) interval->level = fmt::format("{} rounds, this run", logs.size());
  return interval;
}

std::optional<double> OfHere(const Record& record) {
  if (!record.here || !IsMeasured(record)) return std::nullopt;
  if (PacingOf(record).statistic == Statistic::kOverTime) return std::nullopt;
  const std::optional<Counted> own = Count(record);
  const std::optional<Counted> bound =
      Count(record.here->work, record.here->probe, record.here->params);
  if (!own || !bound || std::string_view(own->unit) != bound->unit) return std::nullopt;
  std::vector<double> ratios;
  for (const Visit& visit : record.rounds) {
    if (visit.time_s.empty() || visit.here_time_s.empty()) continue;
    const double time = Median(visit.time_s);
    const double bound_time = Median(visit.here_time_s);
    if (time <= 0 || bound_time <= 0) continue;
    ratios.push_back(own->amount / time / (bound->amount / bound_time));
  }
  if (ratios.empty()) return std::nullopt;
  return Mean(ratios);
}

std::optional<OverlapFigure> OverlapOf(const Record& record) {
  const std::string& beside = FindProbe(record.probe).beside;
  if (beside.empty() || !IsMeasured(record) || !record.work.flops || !record.work.bytes) {
    return std::nullopt;
  }
  const std::optional<double> factor =
      FactorOf(FindProbe(beside).bus_factor, Integer(record.params, "ranks").value_or(0));
  if (!factor) return std::nullopt;
  constexpr std::array<const char*, 4> kPhases = {"compute_alone", "compute", "communicate_alone",
                                                  "communicate"};
  std::array<std::vector<double>, kPhases.size()> all;
  std::vector<double> exposed;
  std::vector<double> hidden;
  for (const Visit& visit : record.rounds) {
    std::array<const std::vector<double>*, kPhases.size()> phases = {};
    for (std::size_t i = 0; i < kPhases.size(); ++i) {
      const auto found = visit.phase_time_s.find(kPhases[i]);
      if (found != visit.phase_time_s.end()) phases[i] = &found->second;
    }
    // A round counts only if each sample of the step has all its phases.
    const bool whole = std::all_of(phases.begin(), phases.end(), [&](const auto* phase) {
      return phase != nullptr && phase->size() == visit.time_s.size();
    });
    if (!whole || visit.time_s.empty()) continue;
    for (std::size_t i = 0; i < phases.size(); ++i) {
      all[i].insert(all[i].end(), phases[i]->begin(), phases[i]->end());
    }
    std::vector<double> differences;
    for (std::size_t i = 0; i < visit.time_s.size(); ++i) {
      differences.push_back(visit.time_s[i] - (*phases[0])[i]);
    }
    exposed.push_back(Median(differences));
    const double compute = Median(*phases[0]);
    const double communicate = Median(*phases[2]);
    hidden.push_back((compute + communicate - Median(visit.time_s)) /
                     std::min(compute, communicate));
  }
  if (exposed.empty()) return std::nullopt;
  const double compute_alone = Median(all[0]);
  const double compute = Median(all[1]);
  const double communicate_alone = Median(all[2]);
  const double communicate = Median(all[3]);
  const auto flops = static_cast<double>(*record.work.flops);
  const double bytes = static_cast<double>(*record.work.bytes) * *factor;
  OverlapFigure overlap = {.compute_alone = flops / compute_alone,
                           .compute_together = flops / compute,
                           .communicate_alone = bytes / communicate_alone,
                           .communicate_together = bytes / communicate,
                           .compute_slowdown = compute / compute_alone,
                           .communicate_slowdown = communicate / communicate_alone,
                           .exposed_s = Mean(exposed),
                           .hidden = Mean(hidden)};
  if (exposed.size() > 1) {
    const auto rounds = static_cast<double>(exposed.size());
    const double half = StudentT(0.95, rounds - 1) * StandardDeviation(exposed) / std::sqrt(rounds);
    overlap.exposed_low_s = overlap.exposed_s - half;
    overlap.exposed_high_s = overlap.exposed_s + half;
  }
  return overlap;
}

std::vector<Cost> Costs(const Record& record, double usd_per_hour,
                        std::optional<double> storage_usd_per_hour) {
  constexpr double kTib = 1099511627776.0;
  const std::optional<double> time = MeanTime(record);
  if (!IsMeasured(record) || !time || *time <= 0) return {};
  // The cost of a sustained rate of 10^12 a second for an hour is P / (W / T / 10^12).
  const auto for_rate = [&](double work) { return usd_per_hour / (work / *time / 1e12); };
  // The cost of an amount of work is P / 3600 x T / W x amount.
  const auto for_amount = [&](double price, double work, double amount) {
    return price / 3600 * *time / work * amount;
  };
  const std::optional<Counted> counted = Count(record);
  if (record.work.flops && *record.work.flops > 0 && std::string_view(counted->unit) != "B/s") {
    const auto work = static_cast<double>(*record.work.flops);
    const bool integers = MultipliesIntegers(record.params);
    return {{.name = integers ? "usd_per_tops_hour" : "usd_per_tflops_hour",
             .label = integers ? "$ per TOP/s-h" : "$ per TFLOP/s-h",
             .usd = for_rate(work)},
            {.name = integers ? "usd_per_eop" : "usd_per_eflop",
             .label = integers ? "$ per EOP" : "$ per EFLOP",
             .usd = for_amount(usd_per_hour, work, 1e18)}};
  }
  if (!record.work.bytes || *record.work.bytes <= 0) return {};
  const auto bytes = static_cast<double>(*record.work.bytes);
  const ProbeFacts& facts = FindProbe(record.probe);
  switch (facts.bytes_cost) {
    case BytesCost::kRate:
      break;
    case BytesCost::kMoved:
    case BytesCost::kReduced: {
      // A group has no costs, since the hour pays for what all groups do at once.
      if (record.params.contains("group")) return {};
      const std::string done = facts.bytes_cost == BytesCost::kReduced ? "reduced" : "moved";
      return {{.name = "usd_per_tb_" + done,
               .label = fmt::format("$ per TB {} ({}, {})", done,
                                    CountText(Integer(record.params, "ranks").value_or(0), "rank"),
                                    CountText(Integer(record.params, "nodes").value_or(0), "node")),
               .usd = for_amount(usd_per_hour, bytes, 1e12)}};
    }
    case BytesCost::kVolume: {
      const std::string done = Holds(facts.writes, record.params) ? "written" : "read";
      const std::string name = "usd_per_tib_" + done;
      const std::string label = "$ per TiB " + done;
      if (!storage_usd_per_hour) {
        return {{.name = name + "_node",
                 .label = label + ", node alone",
                 .usd = for_amount(usd_per_hour, bytes, kTib)}};
      }
      return {{.name = name + "_storage",
               .label = label + ", storage alone",
               .usd = for_amount(*storage_usd_per_hour, bytes, kTib)},
              {.name = name,
               .label = label + ", storage and node",
               .usd = for_amount(usd_per_hour + *storage_usd_per_hour, bytes, kTib)}};
    }
  }
  return {{.name = "usd_per_tbps_hour", .label = "$ per TB/s-h", .usd = for_rate(bytes)}};
}

std::optional<Cached> CachedOf(const Run& run, const Record& record) {
  if (FindProbe(record.probe).probe_class != ProbeClass::kStorage || !Speed(record)) {
    return std::nullopt;
  }
  std::set<int> nodes;
  for (const Unit& unit : record.units) nodes.insert(unit.node);
  if (nodes.empty()) nodes.insert(0);
  for (const int node : nodes) {
    if (!record.storage || static_cast<std::size_t>(node) >= run.nodes.size()) continue;
    const std::vector<Volume>& volumes = run.nodes[static_cast<std::size_t>(node)].storage;
    const auto volume = static_cast<std::size_t>(*record.storage);
    if (volume < volumes.size() && volumes[volume].kind == "memory") {
      return Cached{
          .mark = "memory", .why = "the volume is in this machine's memory", .is_sure = true};
    }
  }
  const std::string direct = TextOf(record.facts, "direct");
  const std::string how = TextOf(record.facts, "direct_how");
  if (direct == "proved") return std::nullopt;
  if (direct == "refuted") return Cached{.mark = "refuted", .why = how, .is_sure = true};
  if (direct == "not_asked") return Cached{.mark = "cache?", .why = "through the page cache"};
  return Cached{.mark = "cache?",
                .why = "direct I/O is unproven" + (how.empty() ? "" : " (" + how + ")")};
}

std::string CachedText(const Run& run, const Record& record) {
  const std::optional<Cached> cached = CachedOf(run, record);
  return cached ? fmt::format("{}: {}", cached->mark, Clean(cached->why)) : "";
}

std::string WhyUnpriced(const Run& run, const Record& record, const InstanceFacts* type) {
  if (const auto cached = CachedOf(run, record); cached && cached->is_sure) {
    return cached->mark == "memory" ? cached->why : "direct I/O is refuted";
  }
  if (const auto by = FindBySockets(type, record)) {
    return fmt::format("by TCP sockets, and a node is paid with its {}", by->network);
  }
  const bool is_shown = run.suite.name == "standard" || run.suite.name == "full";
  if (!is_shown || record.device.kind != "gpu" || FindProbe(record.probe).burst_is_paid ||
      IsSustained(record) || Costs(record, 1).empty()) {
    return "";
  }
  return "a burst, and a node is paid for what it sustains";
}

std::optional<double> UsdPerHour(const Run& run, const Chosen& price) {
  std::optional<double> usd = UsdPerNodeHour(price);
  if (usd) *usd *= static_cast<double>(std::max<std::size_t>(1, run.nodes.size()));
  return usd;
}

std::vector<Cost> CostsAt(const Run& run, const Record& record, const Chosen& price,
                          const InstanceFacts* type) {
  const std::optional<double> usd_per_hour = UsdPerHour(run, price);
  if (!usd_per_hour || !WhyUnpriced(run, record, type).empty()) return {};
  std::vector<Cost> costs = Costs(record, *usd_per_hour);
  for (Cost& cost : costs) cost.instead_of = price.instead_of;
  return costs;
}

std::string CostText(const Cost& cost) {
  // The label's first character is "$", in whose place Usd writes its own word.
  return Usd(cost.usd) + cost.label.substr(1) + (cost.instead_of ? " (on demand)" : "");
}

RunFigures::RunFigures(const Run& run, const Catalog& catalog)
    : type_(TypeOf(run, catalog.instances)),
      devices_(catalog.devices),
      cpus_used_(PartUsed(run, "cpu")),
      gpus_used_(PartUsed(run, "gpu")) {
  for (const Record& record : run.records) {
    if (!HasWord(record.params, "scope", "device")) continue;
    if (const std::optional<Rate> speed = RateAt(record, MeanTime(record))) {
      speeds_[{record.probe, record.method, record.backend, record.params}].push_back(speed->value);
    }
  }
}

const std::optional<std::string>& RunFigures::Used(const Record& record) const {
  return record.device.kind == "gpu" ? gpus_used_ : cpus_used_;
}

std::optional<NodeFigure> RunFigures::Node(const Record& record) const {
  if (record.units.size() < 2 || record.status != Status::kOk) return std::nullopt;
  const std::optional<Rate> together = RateAt(record, MeanTime(record));
  if (!together) return std::nullopt;
  NodeFigure figure = {.together = *together};
  Params params = record.params;
  params["scope"] = std::string("device");
  const auto alone = speeds_.find({record.probe, record.method, record.backend, std::move(params)});
  // A sum over some of the devices, or the slowest of some, would say nothing of the node.
  if (alone != speeds_.end() && alone->second.size() == record.units.size()) {
    const std::vector<double>& speeds = alone->second;
    figure.slowest_alone = *std::min_element(speeds.begin(), speeds.end());
    figure.sum_alone = Mean(speeds) * static_cast<double>(speeds.size());
  }
  return figure;
}

bool IsHeadlineCase(const Run& run, const Record& record) {
  return FindProbe(record.probe).is_headline && HasWord(record.params, "name", HeadlineName(run)) &&
         (record.params.count("algo") == 0 || HasWord(record.params, "algo", "default"));
}

Headline HeadlineOf(const Run& run) {
  Headline headline = {.name = HeadlineName(run),
                       .absent = "it was not among the cases of this run"};
  if (!run.complete) {
    headline.absent = "the run is not complete";
    return headline;
  }
  const std::int64_t present = AcceleratorsOf(run);
  for (const Record& record : run.records) {
    if (!IsHeadlineCase(run, record)) continue;
    headline.absent = Unfit(record, PartUsed(run, record.device.kind), present);
    if (headline.absent.empty()) {
      headline.record = &record;
      return headline;
    }
  }
  return headline;
}

}  // namespace assay
