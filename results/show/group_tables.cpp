#include "results/show/group_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "results/base/text.h"
#include "results/figures/labels.h"
#include "results/figures/moderate.h"
#include "results/file/nodes.h"
#include "results/show/csv.h"
#include "results/show/layout.h"

namespace assay {
namespace {

// "aws p5.48xlarge (5 nodes)"; of two nodes nothing is claimed for the type.
std::string WhoText(const GroupRanking& ranking, const GroupPlace& place) {
  const RunGroup& group = ranking.groups[place.group];
  std::string nodes =
      place.nodes.size() == 2 ? "these 2 nodes" : CountText(place.nodes.size(), "node");
  if (!group.alone.empty()) nodes += ", " + group.alone;
  return fmt::format("{} ({})", Clean(group.name), nodes);
}

// "A", "A or B", "A, B or C", "A, B, C or 3 others".
std::string Either(const std::vector<std::string>& words) {
  constexpr std::size_t kShown = 3;
  if (words.size() == 1) return words.front();
  const std::size_t shown = words.size() <= kShown + 1 ? words.size() - 1 : kShown;
  const std::string last =
      shown + 1 == words.size() ? words.back() : fmt::format("{} others", words.size() - shown);
  return fmt::format(
      "{} or {}",
      fmt::join(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(shown), ", "), last);
}

// "55.04 USD/h a node (6.88 a GPU), on demand, us-east-1, price of 2026-11-01 (29 days old)".
std::string PriceWords(const Chosen& price, int accelerators, std::string_view today) {
  const Offer& offer = *price.offer;
  const auto hour = [](double usd) {
    return usd < 1e12 ? fmt::format("{:.2f}", usd) : fmt::format("{:.3e}", usd);
  };
  std::string text = hour(*offer.usd_per_hour) + " USD/h a node";
  if (accelerators > 0)
    text += fmt::format(" ({} a GPU)", hour(*offer.usd_per_hour / accelerators));
  text += ", " + Clean(PurchaseWords(offer));
  if (!offer.region.empty()) {
    text += ", " + (offer.region == "all" ? "all regions" : Clean(offer.region));
  }
  const std::string age = today.empty() ? offer.price_date : PriceAge(offer, today);
  return text + ", price of " + Clean(age);
}

std::string UnitWords(const GroupedCase& grouped, double usd) {
  if (grouped.unit.empty()) return fmt::format("{:.3g} x the cheapest", usd);
  return Usd(usd) + (grouped.cost_label.empty() ? "" : Clean(grouped.cost_label.substr(1)));
}

// "aws p5.48xlarge (5 nodes)" for a side.
std::string SideWho(const Side& side) {
  std::set<std::string> nodes;
  for (const Run& run : side.runs) {
    for (const Node& node : run.nodes) nodes.insert(node.node_id);
  }
  return fmt::format("{} ({})", Clean(side.group), CountText(nodes.size(), "node"));
}

// The sentence on speed.
std::string FastestText(const GroupRanking& ranking, const GroupedCase& grouped) {
  const bool is_of_one = ranking.per_gpu && grouped.kind == "gpu";
  const std::string what = Clean(grouped.name, 512) + (is_of_one ? ", per accelerator" : "");
  const GroupPlace& first = grouped.places.front();
  if (grouped.places.size() == 1) {
    return fmt::format("{} gives {} at {}; there is no other to compare it with.",
                       WhoText(ranking, first), SpeedText(grouped, first.speed), what);
  }
  if (first.by_speed.is_best) {
    return fmt::format("At {}, {} is the {}: {}.", what, WhoText(ranking, first),
                       ToText(first.by_speed, Contest::kSpeed), SpeedText(grouped, first.speed));
  }
  std::vector<std::string> who;
  std::vector<std::string> single;
  for (const GroupPlace& place : grouped.places) {
    if (!place.by_speed.may_be_best) continue;
    (place.nodes.size() == 1 ? single : who)
        .push_back(
            fmt::format("{} with {}", WhoText(ranking, place), SpeedText(grouped, place.speed)));
  }
  std::string text;
  if (who.size() == 1 && !single.empty()) {
    text = fmt::format(
        "At {}, {} is ahead of all that have two nodes or more. {} may be the fastest, too: one "
        "node rules nothing out.",
        what, who.front(), Either(single));
  } else {
    who.insert(who.end(), single.begin(), single.end());
    text = fmt::format("At {}, {} may be the fastest.", what, Either(who));
  }
  if (grouped.nodes_to_tell) {
    text += *grouped.nodes_to_tell >= kManyNodes
                ? " No number of nodes that is worth its price tells the first two apart."
                : fmt::format(" To tell the first two apart takes about {} nodes of each.",
                              *grouped.nodes_to_tell);
  }
  return text;
}

// The sentence on dollars.
std::string CheapestText(const GroupRanking& ranking, const GroupedCase& grouped,
                         std::string_view today) {
  std::vector<const GroupPlace*> priced;
  std::vector<std::string> unpriced;
  for (const GroupPlace& place : grouped.places) {
    if (place.by_cost) {
      priced.push_back(&place);
    } else {
      unpriced.push_back(Clean(ranking.groups[place.group].name));
    }
  }
  if (priced.empty()) return "Nothing is said per dollar: no group has a price for this figure.";
  std::ranges::sort(priced, {},
                    [](const GroupPlace* place) { return *place->usd[*place->cheapest]; });
  const auto words = [&](const GroupPlace& place) {
    const RunGroup& group = ranking.groups[place.group];
    return fmt::format("{} at {}", UnitWords(grouped, *place.usd[*place.cheapest]),
                       PriceWords(group.prices[*place.cheapest], group.accelerators, today));
  };
  std::string text;
  const GroupPlace& first = *priced.front();
  if (priced.size() == 1) {
    text = fmt::format("Its work costs {}.", words(first));
    if (grouped.places.size() > 1) {
      text = fmt::format("Only {} has a price: {}.", WhoText(ranking, first), words(first));
    }
  } else if (first.by_cost->is_best) {
    text = fmt::format("Per unit of work {} is the {}: {}.", WhoText(ranking, first),
                       ToText(*first.by_cost, Contest::kCost), words(first));
  } else {
    // Each price in full stands in the lines on the groups.
    std::vector<std::string> who;
    std::set<std::string> days;
    for (const GroupPlace* place : priced) {
      if (!place->by_cost->may_be_best) continue;
      const Offer& offer = *ranking.groups[place->group].prices[*place->cheapest].offer;
      days.insert(offer.price_date);
      who.push_back(fmt::format("{} with {} {}", WhoText(ranking, *place),
                                UnitWords(grouped, *place->usd[*place->cheapest]),
                                Clean(PurchaseWords(offer))));
    }
    text = fmt::format(
        "Per unit of work {} may be the cheapest, at prices of {}.", Either(who),
        Clean(days.size() == 1 ? *days.begin() : *days.begin() + " to " + *days.rbegin()));
  }
  if (!unpriced.empty() && priced.size() > 1) {
    text += fmt::format(" Without a price: {}.", Either(unpriced));
  }
  return text;
}

// "by estimate 3.1 % behind" beside one that may be the best and isn't the first.
std::string StandingText(const Place& place, Contest contest, bool is_only) {
  if (is_only) return "-";
  std::string text = ToText(place, contest);
  if (place.may_be_best && !place.is_best && place.behind > 0) {
    const bool is_speed = contest == Contest::kSpeed;
    text +=
        fmt::format(" ({} by estimate)",
                    Percent(is_speed ? std::expm1(-place.behind) : std::expm1(place.behind), true));
  }
  return text;
}

// The standing in dollars of one way of buying: that of the group's cheapest way, and of the others
// how much more they cost than that one.
std::string CostStanding(const RunGroup& group, const GroupPlace& place, std::size_t way,
                         bool is_only) {
  if (!place.usd[way]) return "-";
  if (!place.cheapest) return "not asked for";
  if (way == *place.cheapest) return StandingText(*place.by_cost, Contest::kCost, is_only);
  const double factor = *place.usd[way] / *place.usd[*place.cheapest];
  if (way < group.asked) return fmt::format("{:.3g} x its cheapest way", factor);
  return fmt::format("{:.3g} x {}", factor,
                     Clean(PurchaseWords(*group.prices[*place.cheapest].offer)));
}

// The group with its prices below it.
std::string GroupLines(const RunGroup& group, std::string_view today) {
  std::string text = GroupWords(group) + '\n';
  for (const Chosen& price : group.prices) {
    text += Lines("  ", {PriceLine(price, {&group.node, 1}, today)});
  }
  return text;
}

std::vector<Row> NodeRows(const GroupedCase& grouped, const GroupPlace& place) {
  std::vector<Row> rows;
  for (const NodeOfGroup& node : place.nodes) {
    rows.push_back({.cells = {{"  node " + Clean(node.node, 12), Ink::kDim},
                              {CountText(node.runs, "run"), Ink::kDim},
                              {SpeedText(grouped, std::exp(node.log_speed)), Ink::kDim}},
                    .sentence = Percent(std::expm1(node.log_speed - place.lottery.median), true) +
                                " to the median node",
                    .ink = Ink::kDim});
  }
  return rows;
}

// What all intervals of a case rest on; "" where they differ.
std::string CommonSpread(const GroupedCase& grouped) {
  std::string common;
  for (const GroupPlace& place : grouped.places) {
    if (place.spread.empty()) continue;
    if (!common.empty() && place.spread != common) return "";
    common = place.spread;
  }
  return common;
}

std::string CaseTable(const GroupRanking& ranking, const GroupedCase& grouped, bool with_nodes,
                      bool colour) {
  const std::vector<Column> columns = GroupHeadings(ranking, grouped);
  std::vector<Row> rows;
  for (const GroupRow& one : GroupRows(ranking, grouped)) {
    rows.push_back({.cells = {{one.name},
                              {one.nodes},
                              {one.speed},
                              {one.in_speed, one.is_fastest ? Ink::kGood : Ink::kPlain},
                              {one.bought},
                              {one.usd},
                              {one.in_dollars}},
                    .sentence = one.note,
                    .ink = Ink::kDim});
    const GroupPlace& place = grouped.places[one.place];
    if (!with_nodes || one.way + 1 < ranking.groups[place.group].prices.size()) continue;
    for (Row& row : NodeRows(grouped, place)) rows.push_back(std::move(row));
  }
  return TextOf(columns, rows, colour);
}

}  // namespace

std::string GroupWords(const RunGroup& group) {
  std::vector<std::string> bought;
  for (const auto& [how, runs] : group.bought) {
    const std::string words = PurchaseWords({.purchase = how});
    bought.push_back(words == "unknown" ? fmt::format("{} not told how bought", runs)
                                        : fmt::format("{} {}", runs, words));
  }
  std::string days = group.first_day;
  if (group.last_day != group.first_day) days += " to " + group.last_day;
  return fmt::format("{}{}: {}, {} ({}), {}", Clean(group.name),
                     group.alone.empty() ? "" : ", " + group.alone,
                     CountText(group.nodes.size(), "node"), CountText(group.runs.size(), "run"),
                     Clean(fmt::format("{}", fmt::join(bought, ", "))), Clean(days));
}

std::string CaseTitle(const GroupRanking& ranking, std::size_t i) {
  const GroupedCase& grouped = ranking.cases[i];
  std::string title = Clean(grouped.name, 512);
  if (i == 0) {
    title += fmt::format(": {}, {}", ranking.primary_why,
                         ranking.is_asked_alone ? "asked alone at 95 %"
                                                : "which shares 5 % of error with all below");
  }
  if (i == 1 && ranking.is_asked_alone) title += ": this and all below share 5 % of error";
  const std::string spread = CommonSpread(grouped);
  if (grouped.places.size() > 1 && !spread.empty()) title += "; each " + spread;
  return title;
}

std::vector<Column> GroupHeadings(const GroupRanking& ranking, const GroupedCase& grouped) {
  return {{.heading = std::string(kGroupWords[static_cast<std::size_t>(ranking.by)])},
          {.heading = "nodes", .to_the_right = true},
          {.heading = ranking.per_gpu && grouped.kind == "gpu" ? "speed of one" : "speed",
           .to_the_right = true},
          {.heading = "in speed"},
          {.heading = "bought"},
          {.heading = grouped.cost_label.empty() ? "$" : Clean(grouped.cost_label),
           .to_the_right = true},
          {.heading = "in dollars"}};
}

std::vector<GroupRow> GroupRows(const GroupRanking& ranking, const GroupedCase& grouped) {
  const bool is_only = grouped.places.size() == 1;
  const std::string spread = CommonSpread(grouped);
  const bool one_priced = std::ranges::count_if(grouped.places, [](const GroupPlace& place) {
                            return place.by_cost.has_value();
                          }) == 1;
  std::vector<GroupRow> rows;
  for (std::size_t i = 0; i < grouped.places.size(); ++i) {
    const GroupPlace& place = grouped.places[i];
    const RunGroup& group = ranking.groups[place.group];
    for (std::size_t way = 0; way < group.prices.size(); ++way) {
      const Chosen& price = group.prices[way];
      const std::optional<double>& usd = place.usd[way];
      GroupRow row = {.place = i,
                      .way = way,
                      .name = Clean(group.name),
                      .nodes = fmt::format("{}", place.nodes.size()),
                      .speed = SpeedText(grouped, place.speed),
                      .in_speed = StandingText(place.by_speed, Contest::kSpeed, is_only),
                      .is_fastest = place.by_speed.is_best,
                      .bought = price.offer ? Clean(PurchaseWords(*price.offer)) : "-",
                      .usd = !usd                   ? "-"
                             : grouped.unit.empty() ? fmt::format("{:.3g}", *usd)
                                                    : Usd(*usd),
                      .in_dollars = CostStanding(group, place, way, one_priced)};
      if (way + 1 == group.prices.size()) {
        std::string note = place.note;
        if (!place.spread.empty() && !is_only && spread.empty()) {
          note = place.spread + (note.empty() ? "" : "; " + note);
        }
        if (place.nodes.size() == 1 && !is_only) {
          note = "one node: placed by its estimate" + (note.empty() ? "" : "; " + note);
        }
        row.note = Clean(note, 1024);
      }
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::vector<std::string> LotteryLines(const GroupRanking& ranking, const GroupedCase& grouped) {
  std::vector<std::string> lines;
  for (const GroupPlace& place : grouped.places) {
    const Lottery& lottery = place.lottery;
    const RunGroup& group = ranking.groups[place.group];
    std::string text =
        fmt::format("{}: median node {}", group.name, SpeedText(grouped, std::exp(lottery.median)));
    if (lottery.nodes > 1)
      text += fmt::format(", standard deviation of nodes {}", Percent(lottery.deviation));
    text += "; " + ToText(lottery, SpeedText(grouped, std::exp(lottery.bound)));
    if (place.by_cost) {
      const double usd = *place.usd[*place.cheapest] * (place.speed / std::exp(lottery.bound));
      text += fmt::format("; in dollars {} or less, {}", UnitWords(grouped, usd),
                          PurchaseWords(*group.prices[*place.cheapest].offer));
    }
    lines.push_back(std::move(text));
  }
  return lines;
}

std::string SpeedText(const GroupedCase& grouped, double speed) {
  if (grouped.unit.empty()) return fmt::format("{:.3g} x the fastest", speed);
  return WithPrefix(speed, grouped.unit);
}

std::optional<double> UsdPerGpuHour(const RunGroup& group, const Chosen& price) {
  const std::optional<double> usd = UsdPerNodeHour(price);
  if (!usd || group.accelerators < 1) return std::nullopt;
  return *usd / group.accelerators;
}

std::string AnswerOf(const GroupRanking& ranking, std::string_view today) {
  const GroupedCase& grouped = ranking.cases.front();
  return FastestText(ranking, grouped) + ' ' + CheapestText(ranking, grouped, today);
}

std::string AnswerOf(const Comparison& comparison, std::string_view today) {
  const auto primary = std::ranges::find(comparison.rows, true, &CompareRow::is_primary);
  const Side& a = comparison.baseline;
  const Side& b = comparison.candidate;
  if (a.group.empty() || b.group.empty() || primary == comparison.rows.end()) return "";
  const CompareRow& row = *primary;
  std::string text =
      fmt::format("At {} {}, ", Clean(row.probe), Clean(CaseLabel(row.probe, row.params), 512));
  const std::string against =
      fmt::format("{} with {} against {} of {}", SideWho(b), WithPrefix(row.candidate, row.unit),
                  WithPrefix(row.baseline, row.unit), SideWho(a));
  const Interval reach = row.change.Reach();
  const std::string range =
      fmt::format("{} to {}", Percent(reach.low - 1, true), Percent(reach.high - 1, true));
  switch (row.verdict) {
    case Verdict::kSame:
      text += fmt::format("{} is as fast: {}, the same within {}.", against, range,
                          Percent(row.margin));
      break;
    case Verdict::kFaster:
    case Verdict::kSlower:
      text += fmt::format("{} is {} by {} ({}).", against, VerdictText(row, row.verdict),
                          Percent(std::abs(row.change.estimate - 1)), range);
      break;
    case Verdict::kUnclear:
      text +=
          fmt::format("which of the two is faster isn't sure: {} is between {}.", against, range);
      break;
    case Verdict::kNone:
      text += fmt::format("{}; {}.", against, kNoVerdict);
      break;
  }
  if (!row.per_usd_change) return text + " Nothing is said per dollar.";
  return text +
         fmt::format(" Per dollar it does {} work ({}), at {} against {}.",
                     Percent(*row.per_usd_change - 1, true), PerUsdText(row),
                     PriceWords(b.price, AcceleratorsOf(b.runs.front().nodes.front()), today),
                     PriceWords(a.price, AcceleratorsOf(a.runs.front().nodes.front()), today));
}

std::string GroupTable(const GroupRanking& ranking, bool with_nodes, bool colour,
                       std::string_view today) {
  std::string text = Lines("", {AnswerOf(ranking, today)}) + '\n';
  for (const RunGroup& group : ranking.groups) text += GroupLines(group, today);
  text += Lines("note: ", ranking.notes);
  for (std::size_t i = 0; i < ranking.cases.size(); ++i) {
    const GroupedCase& grouped = ranking.cases[i];
    text += '\n' + Lines("", {CaseTitle(ranking, i)});
    text += CaseTable(ranking, grouped, with_nodes, colour);
    if (i == 0) text += '\n' + Lines("  ", LotteryLines(ranking, grouped));
  }
  std::vector<std::string> differences;
  AddFew(ranking.differences, "the differences between the groups (--format json has all)",
         differences);
  if (!differences.empty()) text += '\n' + Lines("  differs: ", differences);
  return text;
}

}  // namespace assay
