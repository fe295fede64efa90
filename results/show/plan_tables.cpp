#include "results/show/plan_tables.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <vector>

#include "results/base/text.h"
#include "results/show/csv.h"
#include "results/show/layout.h"

namespace assay {
namespace {

std::string NodesText(int nodes) {
  return fmt::format("{}{}", nodes, nodes >= kManyNodes ? " or more" : "");
}

// Whether the spread as measured takes fewer nodes than the plan has.
bool HasTwoEnds(const NodePlan& plan) {
  return plan.nodes && *plan.nodes_as_measured < *plan.nodes;
}

// What the plan comes to, in a sentence or two.
std::string PlanAnswer(const NodePlan& plan) {
  const std::string aim = fmt::format("a true {} at {} in 80 of 100 comparisons",
                                      Percent(plan.resolve), Clean(plan.what, 512));
  if (!plan.nodes) {
    return fmt::format(
        "No number of nodes can be promised to find {}, since it isn't known how nodes differ. "
        "Measure {} nodes of each type first, and plan again from their files.",
        aim, plan.nodes_first);
  }
  if (*plan.nodes_as_measured >= kManyNodes) {
    return fmt::format("No number of nodes that is worth its price finds {}.", aim);
  }
  std::string text =
      fmt::format("To find {}, measure {} nodes of each type", aim, NodesText(*plan.nodes));
  if (HasTwoEnds(plan)) {
    text += fmt::format(
        ": {} would do if nodes differ just as was measured, and {} do if they "
        "differ by the most that this leaves open",
        *plan.nodes_as_measured, NodesText(*plan.nodes));
  }
  return text + ".";
}

// Dollars over a range of prices: "361.2 USD", "301.0 .. 361.2 USD".
std::string RangeOfUsd(double low, double high) {
  return low < high ? fmt::format("{:#.4g} .. {}", low, Usd(high)) : Usd(high);
}

Row RowOf(const NodePlan& plan, const PlannedSide& side, const WayToBuy* way) {
  const int nodes = plan.NodesNext();
  Row row = {.cells = {{Clean(side.name)},
                       {NodesText(nodes)},
                       {fmt::format("{}", nodes * plan.runs)},
                       {fmt::format("{:.3g}", plan.runs * side.minutes_a_run)}}};
  if (way == nullptr) {
    row.sentence = Clean(side.no_price, 512);
    row.ink = Ink::kDim;
    return row;
  }
  const auto usd = [&](int of_nodes) {
    return RangeOfUsd(UsdOf(*way, way->usd_low_per_hour, of_nodes),
                      UsdOf(*way, way->usd_per_hour, of_nodes));
  };
  row.cells.push_back({Clean(way->words)});
  row.cells.push_back({Clean(way->date.empty() ? way->where : way->where + ", " + way->date)});
  row.cells.push_back({RangeOfUsd(way->usd_low_per_hour, way->usd_per_hour)});
  row.cells.push_back({usd(nodes)});
  if (HasTwoEnds(plan)) row.cells.push_back({usd(*plan.nodes_as_measured)});
  return row;
}

// Both types, for a way of buying that both have.
std::optional<Row> RowOfBoth(const NodePlan& plan, const WayToBuy& way) {
  const auto sum = [&](int nodes, double WayToBuy::*price) -> std::optional<double> {
    double usd = 0;
    for (const PlannedSide& side : plan.sides) {
      const WayToBuy* same = nullptr;
      for (const WayToBuy& one : side.ways) {
        if (one.purchase == way.purchase) same = &one;
      }
      if (same == nullptr) return std::nullopt;
      usd += UsdOf(*same, same->*price, nodes);
    }
    return usd;
  };
  const int nodes = plan.NodesNext();
  const auto most = sum(nodes, &WayToBuy::usd_per_hour);
  if (!most) return std::nullopt;
  std::string words = way.purchase;
  for (char& c : words) c = c == '_' ? ' ' : c;
  Row row = {.cells = {{"both"},
                       {NodesText(2 * nodes)},
                       {fmt::format("{}", 2 * nodes * plan.runs)},
                       {""},
                       {words},
                       {""},
                       {""},
                       {RangeOfUsd(*sum(nodes, &WayToBuy::usd_low_per_hour), *most)}}};
  if (HasTwoEnds(plan)) {
    const int fewer = *plan.nodes_as_measured;
    row.cells.push_back({RangeOfUsd(*sum(fewer, &WayToBuy::usd_low_per_hour),
                                    *sum(fewer, &WayToBuy::usd_per_hour))});
  }
  return row;
}

template <class T>
std::string OrEmpty(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "";
}

}  // namespace

std::string PlanTable(const NodePlan& plan, bool colour) {
  std::string text = Lines("", {PlanAnswer(plan)}) + '\n';
  for (const PlannedSide& side : plan.sides) {
    text += Lines("  ", {side.spread_words, fmt::format("{}: {:.3g} min a run, {}", side.name,
                                                        side.minutes_a_run, side.minutes_words)});
  }
  std::vector<Column> columns = {{.heading = "type"},
                                 {.heading = "nodes", .to_the_right = true},
                                 {.heading = "runs", .to_the_right = true},
                                 {.heading = "min a node", .to_the_right = true},
                                 {.heading = "bought"},
                                 {.heading = "where"},
                                 {.heading = "an hour a node", .to_the_right = true},
                                 {.heading = "in dollars", .to_the_right = true}};
  if (HasTwoEnds(plan)) {
    columns.push_back(
        {.heading = fmt::format("for {} nodes", *plan.nodes_as_measured), .to_the_right = true});
  }
  std::vector<Row> rows;
  for (const PlannedSide& side : plan.sides) {
    for (const WayToBuy& way : side.ways) rows.push_back(RowOf(plan, side, &way));
    if (side.ways.empty()) rows.push_back(RowOf(plan, side, nullptr));
  }
  for (const WayToBuy& way : plan.sides.front().ways) {
    if (std::optional<Row> both = RowOfBoth(plan, way)) rows.push_back(std::move(*both));
  }
  text += '\n' + TextOf(columns, rows, colour);
  if (!plan.notes.empty()) text += '\n' + Lines("note: ", plan.notes);
  text += fmt::format("\n{} on each of {} nodes of {}, and of {}:\n  {}\n",
                      plan.runs == 1 ? "Once" : fmt::format("{} times", plan.runs),
                      NodesText(plan.NodesNext()), Clean(plan.sides[0].name),
                      Clean(plan.sides[1].name), plan.commands.front());
  return text +
         fmt::format("With the files of all of them in one folder:\n  {}\n", plan.commands.back());
}

std::string PlanCsv(const NodePlan& plan) {
  std::string text =
      CsvLine({"type", "case", "resolve", "sigma", "df", "sigma_upper", "nodes",
               "nodes_as_measured", "nodes_next", "runs", "minutes_a_run", "purchase", "where",
               "price_date", "usd_per_hour", "usd_low_per_hour", "usd", "usd_low"});
  for (const PlannedSide& side : plan.sides) {
    const auto line = [&](const WayToBuy* way) {
      const auto of_way = [&](double value) { return way ? fmt::format("{}", value) : ""; };
      const WayToBuy bought = way == nullptr ? WayToBuy{} : *way;
      const int nodes = plan.NodesNext();
      text += CsvLine({side.name, plan.what, fmt::format("{}", plan.resolve),
                       side.spread ? fmt::format("{}", std::sqrt(side.spread->variance)) : "",
                       side.spread ? fmt::format("{}", side.spread->degrees_of_freedom) : "",
                       side.spread ? fmt::format("{}", std::sqrt(UpperVariance(*side.spread))) : "",
                       OrEmpty(plan.nodes), OrEmpty(plan.nodes_as_measured),
                       fmt::format("{}", nodes), fmt::format("{}", plan.runs),
                       fmt::format("{}", side.minutes_a_run), bought.purchase, bought.where,
                       bought.date, of_way(bought.usd_per_hour), of_way(bought.usd_low_per_hour),
                       of_way(UsdOf(bought, bought.usd_per_hour, nodes)),
                       of_way(UsdOf(bought, bought.usd_low_per_hour, nodes))});
    };
    for (const WayToBuy& way : side.ways) line(&way);
    if (side.ways.empty()) line(nullptr);
  }
  return text;
}

}  // namespace assay
