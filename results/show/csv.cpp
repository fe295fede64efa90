#include "results/show/csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <utility>
#include <vector>

#include "results/base/csv.h"
#include "results/base/text.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"
#include "results/figures/model.h"
#include "results/show/group_tables.h"

namespace assay {
namespace {

template <class T>
std::string OrEmpty(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "";
}

}  // namespace

std::string CsvLine(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = CsvCell(Clean(cell, 4096));
  return fmt::format("{}\r\n", fmt::join(cells, ","));
}

std::string FiguresCsvHead() {
  return CsvLine({"file",    "probe",  "case",     "params", "backend",        "status",
                  "reason",  "remedy", "complete", "rounds", "median_s",       "mean_s",
                  "speed",   "unit",   "low",      "high",   "interval_units", "level",
                  "of_here", "busbw",  "cost",     "usd",    "instead_of",     "unpriced"});
}

std::string FiguresCsvLines(const std::string& file, const Run& run, const Chosen& price,
                            const Catalog& catalog) {
  const RunFigures figures(run, catalog);
  std::string text;
  for (const Record* const one : InOrderOfSizes(run.records)) {
    const Record& record = *one;
    const std::optional<Rate> speed = Speed(record);
    const std::optional<Interval> interval = SpeedInterval(record);
    const std::vector<Cost> costs = CostsAt(run, record, price, figures.Type());
    const bool is_priced = !costs.empty();
    text += CsvLine({file,
                     record.probe,
                     CaseLabel(record.probe, record.params),
                     ToText(record.params),
                     record.backend,
                     std::string(ToText(record.status)),
                     record.reason,
                     record.remedy,
                     record.complete ? "true" : "false",
                     fmt::format("{}", record.rounds.size()),
                     OrEmpty(MedianTime(record)),
                     OrEmpty(MeanTime(record)),
                     speed ? fmt::format("{}", speed->value) : "",
                     speed ? speed->unit : "",
                     interval ? fmt::format("{}", interval->low) : "",
                     interval ? fmt::format("{}", interval->high) : "",
                     interval ? fmt::format("{}", interval->units) : "",
                     interval ? interval->level : "",
                     OrEmpty(OfHere(record)),
                     OrEmpty(BusBandwidth(record)),
                     is_priced ? costs.front().name : "",
                     is_priced ? fmt::format("{}", costs.front().usd) : "",
                     is_priced ? costs.front().instead_of.value_or("") : "",
                     WhyUnpriced(run, record, figures.Type())});
  }
  return text;
}

std::string ComparisonCsv(const Comparison& comparison) {
  std::string text = CsvLine({"probe",
                              "params",
                              "backend",
                              "unit",
                              "baseline",
                              "candidate",
                              "change",
                              "low",
                              "high",
                              "confidence",
                              "level",
                              "between_runs",
                              "margin",
                              "verdict",
                              "resolution",
                              "more_runs",
                              "per_usd_change",
                              "per_usd_envelope_low",
                              "per_usd_envelope_high",
                              "per_usd_verdict",
                              "note",
                              "device_kind",
                              "is_primary",
                              "between_nodes",
                              "nodes_to_find"});
  for (const CompareRow& row : comparison.rows) {
    const auto& envelope = row.per_usd_envelope;
    const auto& interval = row.change.interval;
    text += CsvLine({row.probe,
                     ToText(row.params),
                     row.backend,
                     row.unit,
                     fmt::format("{}", row.baseline),
                     fmt::format("{}", row.candidate),
                     fmt::format("{}", row.change.estimate),
                     interval ? fmt::format("{}", interval->low) : "",
                     interval ? fmt::format("{}", interval->high) : "",
                     OrEmpty(row.confidence),
                     row.change.level,
                     row.between_runs,
                     fmt::format("{}", row.margin),
                     VerdictText(row, row.verdict),
                     OrEmpty(row.resolution),
                     OrEmpty(row.more_runs),
                     OrEmpty(row.per_usd_change),
                     envelope ? fmt::format("{}", envelope->low) : "",
                     envelope ? fmt::format("{}", envelope->high) : "",
                     PerUsdText(row),
                     NoteOf(row),
                     row.kind,
                     row.is_primary ? "true" : "false",
                     row.between_nodes,
                     OrEmpty(row.nodes_to_find)});
  }
  return text;
}

std::string RankingCsv(const Ranking& ranking) {
  std::string text =
      CsvLine({"probe", "case", "params", "unit", "file", "backend", "speed", "by_speed",
               "cost_label", "usd", "instead_of", "by_usd", "note", "is_primary", "between_nodes"});
  for (const RankedCase& ranked : ranking.cases) {
    for (const RankEntry& entry : ranked.entries) {
      const Side& side = ranking.sides[entry.side];
      text += CsvLine({ranked.probe, CaseLabel(ranked.probe, ranked.params), ToText(ranked.params),
                       ranked.unit, SideName(side), entry.backend, fmt::format("{}", entry.speed),
                       fmt::format("{}", entry.by_speed), ranked.cost_label, OrEmpty(entry.usd),
                       side.price.instead_of.value_or(""), OrEmpty(entry.by_usd), entry.note,
                       ranked.is_primary ? "true" : "false", entry.between_nodes});
    }
  }
  return text;
}

std::string GroupCsv(const GroupRanking& ranking) {
  std::string text = CsvLine({"case",
                              "probe",
                              "params",
                              "device_kind",
                              "unit",
                              "group",
                              "nodes",
                              "runs",
                              "backend",
                              "speed",
                              "may_be_best",
                              "is_best",
                              "by_at_least",
                              "behind",
                              "behind_low",
                              "behind_high",
                              "median_node",
                              "slowest_node",
                              "sure_share",
                              "sure_speed",
                              "purchase",
                              "region",
                              "price_date",
                              "usd_per_node_hour",
                              "usd_per_gpu_hour",
                              "cost_label",
                              "usd",
                              "may_be_cheapest",
                              "is_cheapest",
                              "note"});
  for (const GroupedCase& grouped : ranking.cases) {
    for (const GroupPlace& place : grouped.places) {
      const RunGroup& group = ranking.groups[place.group];
      int runs = 0;
      for (const NodeOfGroup& node : place.nodes) runs += node.runs;
      for (std::size_t way = 0; way < group.prices.size(); ++way) {
        const Chosen& price = group.prices[way];
        const bool is_cheapest_way = place.by_cost && way == *place.cheapest;
        const auto of_offer = [&](const std::string& value) { return price.offer ? value : ""; };
        const Offer offer = price.offer.value_or(Offer{});
        text += CsvLine({grouped.name,
                         grouped.probe,
                         ToText(grouped.params),
                         grouped.kind,
                         grouped.unit,
                         group.name,
                         fmt::format("{}", place.nodes.size()),
                         fmt::format("{}", runs),
                         place.backend,
                         fmt::format("{}", place.speed),
                         place.by_speed.may_be_best ? "true" : "false",
                         place.by_speed.is_best ? "true" : "false",
                         fmt::format("{}", place.by_speed.by_at_least),
                         fmt::format("{}", place.by_speed.behind),
                         OrEmpty(place.by_speed.behind_low),
                         OrEmpty(place.by_speed.behind_high),
                         fmt::format("{}", std::exp(place.lottery.median)),
                         fmt::format("{}", std::exp(place.lottery.slowest)),
                         fmt::format("{}", place.lottery.share),
                         fmt::format("{}", std::exp(place.lottery.bound)),
                         of_offer(offer.purchase),
                         of_offer(offer.region),
                         of_offer(offer.price_date),
                         OrEmpty(UsdPerNodeHour(price)),
                         OrEmpty(UsdPerGpuHour(group, price)),
                         grouped.cost_label,
                         OrEmpty(place.usd[way]),
                         is_cheapest_way && place.by_cost->may_be_best ? "true" : "false",
                         is_cheapest_way && place.by_cost->is_best ? "true" : "false",
                         place.note});
      }
    }
  }
  return text;
}

std::string OffersCsv(std::span<const Offer> offers) {
  std::string text =
      CsvLine({"provider", "seller", "instance", "region", "zone", "resource", "purchase",
               "offered", "term_months", "upfront_usd", "usd_per_hour", "usd_low", "usd_high",
               "price_date", "date_precision", "kind", "source", "private"});
  for (const Offer& offer : offers) {
    text += CsvLine(
        {offer.provider, offer.seller, offer.instance, offer.region, OrEmpty(offer.zone),
         offer.resource, offer.purchase, offer.offered ? "true" : "false",
         OrEmpty(offer.term_months), OrEmpty(offer.upfront_usd), OrEmpty(offer.usd_per_hour),
         OrEmpty(offer.usd_low), OrEmpty(offer.usd_high), offer.price_date, offer.date_precision,
         offer.kind, offer.source, offer.is_private ? "true" : "false"});
  }
  return text;
}

}  // namespace assay
