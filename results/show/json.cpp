#include "results/show/json.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "results/base/text.h"
#include "results/figures/drift.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/health.h"
#include "results/figures/labels.h"
#include "results/figures/model.h"
#include "results/figures/probes.h"
#include "results/file/fields.h"
#include "results/show/group_tables.h"

namespace assay {
namespace {

// Printed in the order in which it is written here.
using Json = nlohmann::ordered_json;

// The document with every text as Clean leaves it, keys included, since what is printed may come
// from a stranger's file.
Json Harmless(const Json& json) {
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    return Clean(text, text.size());
  }
  if (json.is_array()) {
    Json::array_t array;
    for (const Json& element : json) array.push_back(Harmless(element));
    return array;
  }
  if (!json.is_object()) return json;
  Json::object_t object;
  for (const auto& [key, value] : json.items()) {
    object.emplace_back(Clean(key, key.size()), Harmless(value));
  }
  return object;
}

std::string Print(const Json& json) { return Harmless(json).dump(); }

template <class T>
Json OrNull(const T& value) {
  return value;
}
template <class T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json ToJson(const Params& params) {
  Json::object_t object;
  for (const auto& [name, value] : params) {
    object.emplace_back(name, std::visit([](const auto& held) { return Json(held); }, value));
  }
  return object;
}

// An object with the keys that the result file has for the struct (results/file/fields.h).
struct Keys {
  template <class T>
  using Ref = const T&;

  template <class T>
  void operator()(const char* key, const T& value, Sign = Sign::kAny) {
    json[key] = OrNull(value);
  }

  Json json = Json::object();
};

Json ToJson(const std::optional<Offer>& offer) {
  if (!offer) return nullptr;
  Keys keys;
  Fields(keys, *offer);
  return std::move(keys.json);
}

Json ToJson(const Interval& interval) {
  return {{"estimate", interval.estimate},
          {"low", interval.low},
          {"high", interval.high},
          {"units", interval.units},
          {"level", interval.level}};
}

Json ToJson(const std::optional<Interval>& interval) {
  return interval ? ToJson(*interval) : Json(nullptr);
}

Json ToJson(const Change& change) {
  Json json = {{"estimate", change.estimate},
               {"low", nullptr},
               {"high", nullptr},
               {"units", nullptr},
               {"level", change.level}};
  if (change.interval) json.update(ToJson(*change.interval));
  return json;
}

// The JSON of a price, without its offer's own fields.
Json ToJson(const Chosen& price) {
  Json spread = nullptr;
  if (price.spread) {
    spread = {{"usd_low", price.spread->usd_low},
              {"usd_high", price.spread->usd_high},
              {"regions", price.spread->regions}};
  }
  return {{"usd_per_node_hour", OrNull(UsdPerNodeHour(price))},
          {"instead_of", OrNull(price.instead_of)},
          {"spread", std::move(spread)},
          {"why", price.why},
          {"note", price.note}};
}

Json ToJson(const Side& side) {
  return {{"names", side.names},
          {"group", side.group},
          {"offer", ToJson(side.price.offer)},
          {"price", ToJson(side.price)}};
}

Json ToJson(const std::vector<Side>& sides) {
  Json json = Json::array();
  for (const Side& side : sides) json.push_back(ToJson(side));
  return json;
}

Json ToJson(const std::vector<Cost>& costs) {
  Json json = Json::array();
  for (const Cost& cost : costs) {
    json.push_back({{"name", cost.name},
                    {"label", cost.label},
                    {"usd", cost.usd},
                    {"instead_of", OrNull(cost.instead_of)}});
  }
  return json;
}

Json ToJson(const std::optional<NodeFigure>& node) {
  if (!node) return nullptr;
  return {{"together", node->together.value},
          {"slowest_alone", OrNull(node->slowest_alone)},
          {"sum_alone", OrNull(node->sum_alone)}};
}

Json ToJson(const std::optional<Health>& health) {
  if (!health) return nullptr;
  Json devices = Json::array();
  for (const DeviceHealth& device : health->devices) {
    // JSON has no infinity.
    const bool has_z = device.z && std::isfinite(*device.z);
    devices.push_back({{"node", device.unit.node},
                       {"device", device.unit.device},
                       {"speed", device.speed.value},
                       {"z", has_z ? Json(*device.z) : Json(nullptr)},
                       {"clock_mhz", OrNull(device.clock_mhz)},
                       {"temperature_c", OrNull(device.temperature_c)},
                       {"standing", ToText(device.standing)},
                       {"why", device.why}});
  }
  return {
      {"devices", std::move(devices)}, {"slowest", health->slowest}, {"spread", health->spread}};
}

Json ToJson(const std::optional<OverlapFigure>& overlap) {
  if (!overlap) return nullptr;
  return {{"compute_alone", overlap->compute_alone},
          {"compute_together", overlap->compute_together},
          {"communicate_alone", overlap->communicate_alone},
          {"communicate_together", overlap->communicate_together},
          {"compute_slowdown", overlap->compute_slowdown},
          {"communicate_slowdown", overlap->communicate_slowdown},
          {"exposed_s", overlap->exposed_s},
          {"exposed_low_s", OrNull(overlap->exposed_low_s)},
          {"exposed_high_s", OrNull(overlap->exposed_high_s)},
          {"hidden", overlap->hidden}};
}

Json ToJson(const std::optional<PowerFigure>& power) {
  if (!power) return nullptr;
  return {{"watts", power->watts},
          {"joules_per_tflop", OrNull(power->joules_per_tflop)},
          {"held_back", power->held_back}};
}

Json ToJson(const std::optional<OfPeak>& of) {
  if (!of) return nullptr;
  return {{"device", of->device},
          {"of_spec", of->of_spec},
          {"clock_mhz", OrNull(of->clock_mhz)},
          {"of_clock", OrNull(of->of_clock)}};
}

Json ToJson(const std::optional<Drift>& drift) {
  if (!drift) return nullptr;
  const auto factor = [](const Interval& of) {
    return Json{{"estimate", of.estimate}, {"low", of.low}, {"high", of.high}};
  };
  return {{"per_minute", factor(drift->per_minute)},
          {"over_all", factor(drift->over_all)},
          {"span_s", drift->span_s},
          {"rounds", drift->over_all.units},
          {"verdict", ToText(VerdictOn(*drift))}};
}

Json ToJson(const Record& record, const Pacing& pacing) {
  const auto speed = [&](double time_s) {
    return Speed(record)->value * *UsualTime(record) / time_s;
  };
  Json json = {{"statistic", ToText(pacing.statistic)},
               {"paced", pacing.why.empty() ? Json(nullptr) : Json(pacing.why)},
               {"spans", pacing.spans},
               {"measured_s", pacing.measured_s},
               {"burst", nullptr}};
  if (pacing.burst && Speed(record)) {
    json["burst"] = {{"each_visit", pacing.burst->each_visit},
                     {"lasted_s", pacing.burst->lasted_s},
                     {"speed_before", speed(pacing.burst->before_s)},
                     {"speed_after", speed(pacing.burst->after_s)}};
  }
  return json;
}

// The speed of each round, in the unit of the record's speed.
std::vector<double> RoundSpeeds(const Record& record) {
  const std::optional<Rate> speed = Speed(record);
  const std::optional<double> usual = UsualTime(record);
  std::vector<double> speeds;
  if (!speed || !usual) return speeds;
  for (const double log_time : LogRoundTimes(record)) {
    speeds.push_back(speed->value * *usual / std::exp(log_time));
  }
  return speeds;
}

Json FiguresOf(const Run& run, const Record& record, const RunFigures& figures,
               const std::optional<Health>& health, const Chosen& price) {
  const std::optional<Rate> speed = Speed(record);
  const std::optional<Rate> stable = StableSpeed(record);
  const std::optional<Wire> wire = WireRate(record);
  const std::optional<Assessment> assessed = Assess(figures.Type(), record);
  const std::string unpriced = WhyUnpriced(run, record, figures.Type());
  const std::optional<Cached> cached = CachedOf(run, record);
  return {{"probe", record.probe},
          {"case", CaseLabel(record.probe, record.params)},
          {"is_headline", FindProbe(record.probe).is_headline},
          {"key", MatchKey(record)},
          {"backend", record.backend},
          {"device", {{"kind", record.device.kind}, {"name", record.device.name}}},
          {"status", ToText(record.status)},
          {"reason", record.reason},
          {"remedy", record.remedy},
          {"complete", record.complete},
          {"rounds", record.rounds.size()},
          {"median_s", OrNull(MedianTime(record))},
          {"mean_s", OrNull(MeanTime(record))},
          {"mean_to_median", OrNull(MeanToMedian(record))},
          {"pacing", ToJson(record, PacingOf(record))},
          {"speed", speed ? Json(speed->value) : Json(nullptr)},
          {"round_speeds", RoundSpeeds(record)},
          {"unit", speed ? Json(speed->unit) : Json(nullptr)},
          {"interval", ToJson(SpeedInterval(record))},
          {"drift", ToJson(DriftOf(record))},
          {"of_here", OrNull(OfHere(record))},
          {"busbw", OrNull(BusBandwidth(record))},
          {"wire_gbs", wire ? Json(wire->bytes_per_s / 1e9) : Json(nullptr)},
          {"wire_model", wire ? Json(wire->model) : Json(nullptr)},
          {"expected_gbs", assessed ? OrNull(assessed->expected_gbs) : Json(nullptr)},
          {"standing", assessed ? Json(ToText(assessed->standing)) : Json(nullptr)},
          {"standing_why", assessed ? Json(assessed->why) : Json(nullptr)},
          {"cached", cached ? Json{{"mark", cached->mark}, {"why", cached->why}} : Json(nullptr)},
          {"stable_speed", stable ? Json(stable->value) : Json(nullptr)},
          {"node", ToJson(figures.Node(record))},
          {"health", ToJson(health)},
          {"overlap", ToJson(OverlapOf(record))},
          {"power", ToJson(PowerOf(record))},
          {"of_peak", ToJson(OfPeakOf(run, record, figures.Devices()))},
          {"used", OrNull(figures.Used(record))},
          {"unpriced", unpriced.empty() ? Json(nullptr) : Json(unpriced)},
          {"costs", ToJson(CostsAt(run, record, price, figures.Type()))}};
}

Json ToJson(const Place& place) {
  return {{"may_be_best", place.may_be_best},       {"is_best", place.is_best},
          {"by_at_least", place.by_at_least},       {"behind", place.behind},
          {"behind_low", OrNull(place.behind_low)}, {"behind_high", OrNull(place.behind_high)}};
}

Json ToJson(const Lottery& lottery) {
  return {{"nodes", lottery.nodes},
          {"median", std::exp(lottery.median)},
          {"slowest", std::exp(lottery.slowest)},
          {"deviation", lottery.deviation},
          {"share", lottery.share},
          {"bound", std::exp(lottery.bound)},
          {"rank", lottery.rank},
          {"nineteen_of_twenty", lottery.IsNineteenOfTwenty()}};
}

Json ToJson(const RunGroup& group) {
  Json prices = Json::array();
  for (const Chosen& price : group.prices) {
    prices.push_back({{"offer", ToJson(price.offer)},
                      {"price", ToJson(price)},
                      {"usd_per_gpu_hour", OrNull(UsdPerGpuHour(group, price))}});
  }
  return {{"name", group.name},
          {"nodes", group.nodes.size()},
          {"runs", group.runs.size()},
          {"ids", group.ids},
          {"bought", group.bought},
          {"regions", group.regions},
          {"first_day", group.first_day},
          {"last_day", group.last_day},
          {"accelerators", group.accelerators},
          {"alone", group.alone},
          {"prices", std::move(prices)}};
}

Json ToJson(const GroupPlace& place) {
  Json nodes = Json::array();
  for (const NodeOfGroup& node : place.nodes) {
    nodes.push_back(
        {{"node", node.node}, {"runs", node.runs}, {"speed", std::exp(node.log_speed)}});
  }
  Json usd = Json::array();
  for (const std::optional<double>& one : place.usd) usd.push_back(OrNull(one));
  return {{"group", place.group},
          {"backend", place.backend},
          {"speed", place.speed},
          {"by_speed", ToJson(place.by_speed)},
          {"spread", place.spread},
          {"lottery", ToJson(place.lottery)},
          {"usd", std::move(usd)},
          {"cheapest", OrNull(place.cheapest)},
          {"by_cost", place.by_cost ? ToJson(*place.by_cost) : Json(nullptr)},
          {"note", place.note},
          {"nodes", std::move(nodes)}};
}

// The JSON of a fit, with the indices of its cases and their sizes.
Json ToJson(const Fit& fit, const std::vector<Record>& records) {
  Json cases = Json::array();
  Json bytes = Json::array();
  for (const Record* record : fit.sweep) {
    cases.push_back(record - records.data());
    bytes.push_back(record->work.bytes.value_or(0));
  }
  return {{"probe", fit.sweep.front()->probe}, {"label", FitLabel(fit)},
          {"start_s", fit.model.start_s},      {"per_byte_s", fit.model.per_byte_s},
          {"residual", fit.model.residual},    {"cases", std::move(cases)},
          {"bytes", std::move(bytes)}};
}

}  // namespace

std::string FiguresToJson(const Run& run, const Chosen& price, const Catalog& catalog,
                          const std::string& name) {
  const RunHealth health(run, catalog.devices);
  const RunFigures figures(run, catalog);
  Json cases = Json::array();
  for (const Record& record : run.records) {
    cases.push_back(FiguresOf(run, record, figures, health.Of(record), price));
  }
  Json fits = Json::array();
  for (const Fit& fit : FitSweeps(run.records)) fits.push_back(ToJson(fit, run.records));
  const Headline headline = HeadlineOf(run);
  const Json json = {
      {"format", "assay-figures"},
      {"version", 1},
      {"run", run.id},
      {"name", name},
      {"complete", run.complete},
      {"division", DivisionOf(run)},
      {"offer", ToJson(price.offer)},
      {"price", ToJson(price)},
      {"usd_per_hour", OrNull(UsdPerHour(run, price))},
      {"headline",
       {{"name", headline.name},
        {"case", headline.record == nullptr ? Json(nullptr) : Json(MatchKey(*headline.record))},
        {"absent", headline.absent}}},
      {"cases", std::move(cases)},
      {"fits", std::move(fits)}};
  return Print(json);
}

std::string ComparisonToJson(const Comparison& comparison) {
  Json cases = Json::array();
  for (const CompareRow& row : comparison.rows) {
    cases.push_back(
        {{"probe", row.probe},
         {"case", CaseLabel(row.probe, row.params)},
         {"backend", row.backend},
         {"device_kind", row.kind},
         {"params", ToJson(row.params)},
         {"baseline", row.baseline},
         {"candidate", row.candidate},
         {"unit", row.unit},
         {"change", ToJson(row.change)},
         {"confidence", OrNull(row.confidence)},
         {"is_primary", row.is_primary},
         {"between_runs", row.between_runs},
         {"between_nodes", row.between_nodes},
         {"margin", row.margin},
         {"verdict", VerdictText(row, row.verdict)},
         {"resolution", OrNull(row.resolution)},
         {"more_runs", OrNull(row.more_runs)},
         {"nodes_to_find", OrNull(row.nodes_to_find)},
         {"per_usd_change", OrNull(row.per_usd_change)},
         {"per_usd_envelope", ToJson(row.per_usd_envelope)},
         {"per_usd_verdict",
          row.per_usd_verdict ? Json(VerdictText(row, *row.per_usd_verdict)) : Json(nullptr)},
         {"note", NoteOf(row)}});
  }
  const Json json = {{"format", "assay-comparison"},
                     {"version", 1},
                     {"baseline", ToJson(comparison.baseline)},
                     {"candidate", ToJson(comparison.candidate)},
                     {"cases", std::move(cases)},
                     {"only_baseline", comparison.only_baseline},
                     {"only_candidate", comparison.only_candidate},
                     {"differences", comparison.differences},
                     {"notes", comparison.notes}};
  return Print(json);
}

std::string RankingToJson(const Ranking& ranking) {
  Json cases = Json::array();
  for (const RankedCase& ranked : ranking.cases) {
    Json entries = Json::array();
    for (const RankEntry& entry : ranked.entries) {
      entries.push_back({{"side", entry.side},
                         {"backend", entry.backend},
                         {"speed", entry.speed},
                         {"by_speed", entry.by_speed},
                         {"between_nodes", entry.between_nodes},
                         {"usd", OrNull(entry.usd)},
                         {"instead_of", OrNull(ranking.sides[entry.side].price.instead_of)},
                         {"by_usd", OrNull(entry.by_usd)},
                         {"note", entry.note}});
    }
    cases.push_back({{"probe", ranked.probe},
                     {"device_kind", ranked.kind},
                     {"case", CaseLabel(ranked.probe, ranked.params)},
                     {"params", ToJson(ranked.params)},
                     {"is_primary", ranked.is_primary},
                     {"unit", ranked.unit},
                     {"cost_label", ranked.cost_label},
                     {"entries", std::move(entries)}});
  }
  const Json json = {{"format", "assay-ranking"},
                     {"version", 1},
                     {"sides", ToJson(ranking.sides)},
                     {"cases", std::move(cases)},
                     {"notes", ranking.notes}};
  return Print(json);
}

std::string GroupsToJson(const GroupRanking& ranking, const std::string& answer) {
  Json groups = Json::array();
  for (const RunGroup& group : ranking.groups) groups.push_back(ToJson(group));
  Json cases = Json::array();
  for (const GroupedCase& grouped : ranking.cases) {
    Json places = Json::array();
    for (const GroupPlace& place : grouped.places) places.push_back(ToJson(place));
    cases.push_back({{"name", grouped.name},
                     {"probe", grouped.probe},
                     {"device_kind", grouped.kind},
                     {"params", ToJson(grouped.params)},
                     {"unit", grouped.unit},
                     {"cost_label", grouped.cost_label},
                     {"confidence", grouped.confidence},
                     {"nodes_to_tell", OrNull(grouped.nodes_to_tell)},
                     {"places", std::move(places)}});
  }
  const Json json = {{"format", "assay-groups"},
                     {"version", 1},
                     {"answer", answer},
                     {"by", kGroupWords[static_cast<std::size_t>(ranking.by)]},
                     {"per_gpu", ranking.per_gpu},
                     {"runs", ranking.runs},
                     {"groups", std::move(groups)},
                     {"primary", ranking.primary_why},
                     {"is_asked_alone", ranking.is_asked_alone},
                     {"cases", std::move(cases)},
                     {"notes", ranking.notes},
                     {"differences", ranking.differences}};
  return Print(json);
}

std::string PlanToJson(const NodePlan& plan) {
  Json types = Json::array();
  const int nodes = plan.NodesNext();
  for (const PlannedSide& side : plan.sides) {
    Json ways = Json::array();
    for (const WayToBuy& way : side.ways) {
      Json as_measured = nullptr;
      if (plan.nodes_as_measured) {
        as_measured = UsdOf(way, way.usd_per_hour, *plan.nodes_as_measured);
      }
      ways.push_back({{"purchase", way.purchase},
                      {"words", way.words},
                      {"where", way.where},
                      {"price_date", way.date},
                      {"usd_per_hour", way.usd_per_hour},
                      {"usd_low_per_hour", way.usd_low_per_hour},
                      {"usd", UsdOf(way, way.usd_per_hour, nodes)},
                      {"usd_low", UsdOf(way, way.usd_low_per_hour, nodes)},
                      {"usd_as_measured", std::move(as_measured)}});
    }
    Json spread = nullptr;
    if (side.spread) {
      spread = {{"sigma", std::sqrt(side.spread->variance)},
                {"df", side.spread->degrees_of_freedom},
                {"sigma_upper", std::sqrt(UpperVariance(*side.spread))}};
    }
    types.push_back({{"name", side.name},
                     {"spread", std::move(spread)},
                     {"between_nodes", side.spread_words},
                     {"minutes_a_run", side.minutes_a_run},
                     {"minutes", side.minutes_words},
                     {"ways", std::move(ways)},
                     {"no_price", side.no_price}});
  }
  const Json json = {
      {"format", "assay-plan"},      {"version", 1},
      {"case", plan.what},           {"resolve", plan.resolve},
      {"nodes", OrNull(plan.nodes)}, {"nodes_as_measured", OrNull(plan.nodes_as_measured)},
      {"nodes_next", nodes},         {"runs", plan.runs},
      {"types", std::move(types)},   {"commands", plan.commands},
      {"notes", plan.notes}};
  return Print(json);
}

std::string OffersToJson(std::span<const Offer> offers) {
  Json all = Json::array();
  for (const Offer& offer : offers) all.push_back(ToJson(std::optional(offer)));
  return Print({{"format", "assay-prices"}, {"version", 1}, {"offers", std::move(all)}});
}

}  // namespace assay
