#include "results/show/writer.h"

#include <utility>

#include "results/base/error.h"
#include "results/show/csv.h"
#include "results/show/group_tables.h"
#include "results/show/json.h"
#include "results/show/plan_tables.h"
#include "results/show/tables.h"

namespace assay {
namespace {

class TableWriter : public Writer {
 public:
  TableWriter(const Catalog& catalog, TableLook look) : catalog_(catalog), look_(std::move(look)) {}
  std::string Figures(std::span<const PricedRun> runs) const override {
    std::string text;
    for (const PricedRun& one : runs) {
      text += RunTable(*one.run, *one.price, catalog_, look_.colour, look_.today) + "\n";
    }
    return text;
  }
  std::string Compared(const Comparison& comparison) const override {
    return ComparisonTable(comparison, look_.colour, look_.today);
  }
  std::string Ranked(const Ranking& ranking) const override {
    return RankingTable(ranking, look_.colour, look_.today);
  }
  std::string Grouped(const GroupRanking& ranking, bool with_nodes) const override {
    return GroupTable(ranking, with_nodes, look_.colour, look_.today);
  }
  std::string Planned(const NodePlan& plan) const override { return PlanTable(plan, look_.colour); }
  std::string Offers(const std::string& filter) const override {
    return PriceListTable(catalog_, filter, look_.today);
  }
  std::string OffersOf(const std::string& provider, const std::string& instance) const override {
    return PriceShowText(catalog_, provider, instance, look_.today);
  }

 private:
  const Catalog& catalog_;
  TableLook look_;
};

// A document a line.
class JsonWriter : public Writer {
 public:
  explicit JsonWriter(const Catalog& catalog) : catalog_(catalog) {}
  std::string Figures(std::span<const PricedRun> runs) const override {
    std::string text;
    for (const PricedRun& one : runs) {
      text += FiguresToJson(*one.run, *one.price, catalog_) + "\n";
    }
    return text;
  }
  std::string Compared(const Comparison& comparison) const override {
    return ComparisonToJson(comparison) + "\n";
  }
  std::string Ranked(const Ranking& ranking) const override {
    return RankingToJson(ranking) + "\n";
  }
  std::string Grouped(const GroupRanking& ranking, bool) const override {
    return GroupsToJson(ranking, AnswerOf(ranking, "")) + "\n";
  }
  std::string Planned(const NodePlan& plan) const override { return PlanToJson(plan) + "\n"; }
  std::string Offers(const std::string& filter) const override {
    return OffersToJson(OffersMatching(catalog_, filter)) + "\n";
  }
  std::string OffersOf(const std::string& provider, const std::string& instance) const override {
    return OffersToJson(KnownOffers(catalog_, provider, instance)) + "\n";
  }

 private:
  const Catalog& catalog_;
};

class CsvWriter : public Writer {
 public:
  explicit CsvWriter(const Catalog& catalog) : catalog_(catalog) {}
  std::string Figures(std::span<const PricedRun> runs) const override {
    std::string text = FiguresCsvHead();
    for (const PricedRun& one : runs) {
      text += FiguresCsvLines(one.name, *one.run, *one.price, catalog_);
    }
    return text;
  }
  std::string Compared(const Comparison& comparison) const override {
    return ComparisonCsv(comparison);
  }
  std::string Ranked(const Ranking& ranking) const override { return RankingCsv(ranking); }
  std::string Grouped(const GroupRanking& ranking, bool) const override {
    return GroupCsv(ranking);
  }
  std::string Planned(const NodePlan& plan) const override { return PlanCsv(plan); }
  std::string Offers(const std::string& filter) const override {
    return OffersCsv(OffersMatching(catalog_, filter));
  }
  std::string OffersOf(const std::string& provider, const std::string& instance) const override {
    return OffersCsv(KnownOffers(catalog_, provider, instance));
  }

 private:
  const Catalog& catalog_;
};

}  // namespace

std::unique_ptr<Writer> MakeWriter(OutputFormat format, const Catalog& catalog,
                                   const TableLook& look) {
  switch (format) {
    case OutputFormat::kTable:
      return std::make_unique<TableWriter>(catalog, look);
    case OutputFormat::kJson:
      return std::make_unique<JsonWriter>(catalog);
    case OutputFormat::kCsv:
      return std::make_unique<CsvWriter>(catalog);
    case OutputFormat::kNccl:
      break;
  }
  throw Error("nccl-tests' columns are of a collective while it is measured; use 'assay coll'");
}

}  // namespace assay
