#include "results/figures/brief.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "results/base/text.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"
#include "results/figures/probes.h"
#include "results/file/nodes.h"

namespace assay {
namespace {

// A power limit counts as lowered where it lies below the device's by more than this share.
constexpr double kLowered = 0.02;

std::set<std::string> ConditionsOf(const Run& run, std::span<const DeviceFacts> devices) {
  std::set<std::string> conditions;
  for (const Node& node : run.nodes) {
    if (node.virtualization == "emulated") conditions.insert("emulated");
    for (const Accelerator& accelerator : node.accelerators) {
      const DeviceFacts* const facts = FindDevice(devices, accelerator.name);
      if (facts == nullptr || !facts->power_w || !accelerator.power_limit_w) continue;
      if (*accelerator.power_limit_w >= *facts->power_w * (1 - kLowered)) continue;
      conditions.insert(fmt::format("power-capped at {:g} W of {:g}", *accelerator.power_limit_w,
                                    *facts->power_w));
    }
  }
  return conditions;
}

// The cost of a unit of the case's work where an hour of a node costs 1 USD. Every other price is
// in proportion.
std::optional<double> CostAtOne(const std::vector<InRun>& runs) {
  Offer one;
  one.usd_per_hour = 1.0;
  const std::optional<double> usd = CostOf(runs, {.offer = std::move(one)});
  return usd && std::isfinite(*usd) && *usd > 0 ? usd : std::nullopt;
}

std::vector<float> RoundSpeeds(const InRun& run, double log_speed, Statistic statistic) {
  if (run.records.size() != 1) return {};
  const std::vector<double> times = LogRoundTimes(*run.records.front(), statistic);
  if (times.empty()) return {};
  const double mean = Mean(times);
  std::vector<float> speeds;
  for (const double time : times) speeds.push_back(static_cast<float>(log_speed + mean - time));
  return speeds;
}

std::vector<float> UnitSpeeds(const Record& record) {
  std::vector<double> times;
  for (std::size_t unit = 0; unit < record.units.size(); ++unit) {
    std::vector<double> of_rounds;
    for (const Visit& visit : record.rounds) {
      if (unit < visit.unit_p50_s.size() && visit.unit_p50_s[unit] > 0) {
        of_rounds.push_back(std::log(visit.unit_p50_s[unit]));
      }
    }
    if (of_rounds.empty()) return {};
    times.push_back(Median(of_rounds));
  }
  if (times.size() < 2) return {};
  const double median = Median(times);
  std::vector<float> speeds;
  for (const double time : times) speeds.push_back(static_cast<float>(median - time));
  return speeds;
}

}  // namespace

RunBrief MakeBrief(Run run, const std::string& file, const Catalog& catalog, bool keeps_offers) {
  Side side;
  side.names.push_back(file);
  side.runs.push_back(std::move(run));
  const Run& one = side.runs.front();
  RunBrief brief = {.file = file,
                    .id = one.id,
                    .started = one.started,
                    .campaign = one.campaign.value_or(""),
                    .commit = fmt::format("{} {}{}", one.assay.version, one.assay.commit,
                                          one.assay.dirty ? " with changes" : ""),
                    .division = DivisionOf(one),
                    .node = NodesKey(one),
                    .are_nodes_alike = AreOfOneType(one.nodes),
                    .env = GatherEnvironment(side),
                    .conditions = ConditionsOf(one, catalog.devices)};
  for (const std::string& sentence : DescribeIncomplete(side)) brief.incomplete = sentence;
  if (!one.nodes.empty()) {
    const Node& node = one.nodes.front();
    brief.first = {.node_id = node.node_id,
                   .identity = node.identity,
                   .cpu = {.model = node.cpu.model, .cores_present = node.cpu.cores_present},
                   .accelerators = node.accelerators};
  }
  std::ranges::copy_if(one.offers, std::back_inserter(brief.offers),
                       [&](const Offer& offer) { return keeps_offers || offer.is_private; });
  const std::optional<double> began = MinuteOf(one.started);
  const std::optional<double> ended = MinuteOf(one.ended);
  if (began && ended && *ended >= *began) brief.minutes = *ended - *began;
  const Headline headline = HeadlineOf(one);
  if (headline.record == nullptr) {
    brief.headline = fmt::format("{} is absent: {}", headline.name, headline.absent);
  }
  for (const auto& [key, holding] : GatherHoldings(side, false, catalog.instances)) {
    if (holding.backends.empty() && !holding.unmeasured.empty()) {
      brief.unmeasured.push_back(
          {.key = key, .name = CaseWords(key.probe, key.params), .why = holding.unmeasured});
    }
    for (const auto& [backend, runs] : holding.backends) {
      const Record& first = *runs.front().records.front();
      const std::optional<double> usd = CostAtOne(runs);
      const std::vector<Cost> costs = Costs(first, 1);
      const std::string& alike = FindProbe(key.probe).alike_in;
      const auto log_speed = [&](Statistic statistic) {
        const SideValues values = AverageRuns(runs, statistic, {});
        brief.minute = values.first_minute;
        return std::log(values.Speed());
      };
      CaseBrief values = {
          .key = key,
          .backend = backend,
          .by_median = log_speed(Statistic::kMedian),
          .by_over_time = log_speed(Statistic::kOverTime),
          .statistic = StatisticOf({&runs}),
          .unit = Speed(first)->unit,
          .devices = std::max<std::size_t>(1, first.units.size()),
          .nodes = NodeCounts(runs),
          .usd_at_1 = usd,
          .cost_label = costs.empty() ? "" : costs.front().label,
          .not_priced = NotPriced(runs, holding.kind),
          .marks = MarksText(runs),
          .alike = alike.empty() ? "" : FactIn(runs, alike),
          .is_headline = headline.record != nullptr &&
                         std::ranges::count(runs.front().records, headline.record) > 0};
      const Statistic own = values.statistic;
      values.rounds = RoundSpeeds(
          runs.front(), own == Statistic::kOverTime ? values.by_over_time : values.by_median, own);
      values.units = UnitSpeeds(first);
      if (first.work.flops && first.work.bytes_min.value_or(0) > 0) {
        values.flops_per_byte =
            static_cast<double>(*first.work.flops) / static_cast<double>(*first.work.bytes_min);
      }
      values.most_by_network = MostByNetwork(TypeOf(one, catalog.instances), first);
      if (!std::isfinite(values.by_median) || !std::isfinite(values.by_over_time)) continue;
      brief.cases.push_back(std::move(values));
    }
  }
  return brief;
}

}  // namespace assay
