#include "results/show/report_groups.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "results/base/text.h"
#include "results/catalog/billing.h"
#include "results/figures/group_prices.h"
#include "results/figures/probes.h"
#include "results/show/group_tables.h"
#include "results/show/html.h"

namespace assay {
namespace {

// The bytes of pictures of single cases that a page has at most, so that a page of many cases stays
// a page; their tables are there all the same.
constexpr std::size_t kMostDrawn = 400'000;

// A picture for a wide screen and for a narrow one, of which the style sheet shows one.
std::string BothWidths(const std::function<std::string(double width)>& draw) {
  const std::string wide = draw(kWideChart);
  return wide.empty() ? "" : wide + draw(kNarrowChart);
}

// A figure with its legend, so that no mark is told by colour alone.
std::string Figure(const std::string& svg, std::string_view caption,
                   const std::string& legend = {}) {
  if (svg.empty()) return "";
  return fmt::format("<figure>\n{}{}<figcaption>{}</figcaption></figure>\n", legend, svg,
                     Html(caption));
}

// Pictures beside each other, each with its title: those for wide screens and those for narrow.
std::string Figures(const std::function<std::vector<TitledChart>(double width)>& draw) {
  const std::vector<TitledChart> wide = draw(kWideChart);
  const std::vector<TitledChart> narrow = draw(kNarrowChart);
  std::string html;
  for (std::size_t i = 0; i < wide.size(); ++i) {
    html += fmt::format("<figure><h4>{}</h4>\n{}{}</figure>\n", Html(Clean(wide[i].title, 512)),
                        wide[i].svg, narrow[i].svg);
  }
  return html.empty() ? "" : "<div class=half-figures>\n" + html + "</div>\n";
}

constexpr std::string_view kWhole = " class=whole";

std::string Icon(std::size_t group) {
  return fmt::format("<svg class=icon aria-hidden=true><use href=\"#i{}\"/></svg>",
                     group % kSeriesLooks);
}

// The marks that Icon shows, once for the page.
std::string Icons(std::size_t groups) {
  std::string icons = "<svg class=icons aria-hidden=true>";
  for (std::size_t series = 0; series < std::min(groups, kSeriesLooks); ++series) {
    icons += fmt::format(
        "<symbol id=i{} viewBox=\"-7 -7 14 14\"><path class=\"mark {}\" d=\"{}\"/></symbol>",
        series, SeriesColour(series), SeriesShape(series));
  }
  return icons + "</svg>\n";
}

std::string Legend(const GroupRanking& ranking) {
  constexpr std::size_t kMost = 24;
  std::string legend = "<ul class=legend>";
  for (std::size_t group = 0; group < std::min(kMost, ranking.groups.size()); ++group) {
    legend += fmt::format("<li data-group={}>{}{}</li>", group, Icon(group),
                          Html(SeriesName(ranking, group)));
  }
  if (ranking.groups.size() > kMost) {
    legend += fmt::format("<li>and {} more, told by pointing at their marks</li>",
                          ranking.groups.size() - kMost);
  }
  return legend + "</ul>\n";
}

std::string PriceFigure(const GroupFacts& facts, const GroupedCase& grouped) {
  const std::string svg =
      BothWidths([&](double width) { return PriceChart(facts.Ranking(), grouped, width); });
  if (svg.empty()) {
    return Paragraph(
        "No group has a price, so that there is nothing to draw against it; give one with --price "
        "USD_PER_HOUR.");
  }
  return Figure(svg,
                "Both axes are logarithmic; further up is faster, further left cheaper. A filled "
                "mark is a way of buying that groups are ranked by, an open one another way that "
                "has a price. Bars: the interval of the speed, and the range of the price over "
                "regions and zones. A group of one node has no interval.",
                Legend(facts.Ranking()));
}

std::string Attribute(std::string_view name, std::string_view value) {
  return fmt::format(" {}=\"{}\"", name, Html(Clean(value, 512)));
}

// The ranking of a case. `data-value` is what the script sorts by; cells without it come last.
std::string RankingTable(const GroupRanking& ranking, const GroupedCase& grouped) {
  const std::vector<Column> headings = GroupHeadings(ranking, grouped);
  std::string rows = "<thead>" + HeadRow(headings) + "</thead><tbody>\n";
  const auto value = [](double number) {
    return std::isfinite(number) ? fmt::format(" data-value={:.6g}", number) : "";
  };
  for (const GroupRow& row : GroupRows(ranking, grouped)) {
    const GroupPlace& place = grouped.places[row.place];
    const Chosen& price = ranking.groups[place.group].prices[row.way];
    const std::optional<double>& usd = place.usd[row.way];
    const std::string name =
        fmt::format("<th scope=row>{}{}</th>", Icon(place.group), Html(row.name));
    const std::string where =
        fmt::format(" data-group={}{}{}", place.group,
                    Attribute("data-way", price.offer ? price.offer->purchase : "none"),
                    row.way < ranking.groups[place.group].asked ? "" : " class=other");
    rows += HtmlRow(
        {name,
         Cell(row.nodes, std::string(kNumberCell) + value(static_cast<double>(place.nodes.size()))),
         Cell(row.speed, std::string(kNumberCell) + value(place.speed)),
         Cell(row.in_speed, value(place.by_speed.behind)), Cell(row.bought),
         Cell(row.usd, std::string(kNumberCell) + (usd ? value(*usd) : "")),
         Cell(row.in_dollars, usd ? value(*usd) : "")},
        where);
    if (!row.note.empty()) {
      rows += HtmlRow({WordsCell(row.note, static_cast<int>(headings.size()))},
                      fmt::format(" class=note data-group={}", place.group));
    }
  }
  return HtmlTable("ranking of " + grouped.name, rows + "</tbody>", " class=ranking");
}

std::string LotteryFigure(const GroupFacts& facts, const GroupedCase& grouped) {
  return Figure(
      BothWidths([&](double width) { return LotteryChart(facts, grouped, width); }),
      "A dot is a node; the small dots below, for types of 30 nodes or fewer, are the medians of "
      "its rounds. The band holds what "
      "the next node of the type gives, at 95 %, at least so often as the sentence below says.");
}

std::string TitleOf(const GroupRanking& ranking, const GroupedCase& grouped) {
  for (std::size_t i = 0; i < ranking.cases.size(); ++i) {
    if (&ranking.cases[i] == &grouped) return CaseTitle(ranking, i);
  }
  return Clean(grouped.name, 512) + ": one group alone has it";
}

// The round medians of each node of a place, its runs one after the other, in ten thousandths of
// the node's own speed.
std::map<std::string, std::vector<int>> RoundsOf(const GroupFacts& facts,
                                                 const GroupedCase& grouped,
                                                 const GroupPlace& place) {
  std::map<std::string, double> own;
  for (const NodeOfGroup& node : place.nodes) own[node.node] = node.log_speed;
  std::map<std::string, std::vector<int>> rounds;
  if (facts.Ranking().per_gpu) return rounds;
  for (const GroupFacts::Figure& figure : facts.FiguresOf(grouped, place)) {
    const auto node = own.find(figure.run->node);
    if (node == own.end()) continue;
    for (const float speed : figure.of->rounds) {
      const double share = 1e4 * std::expm1(speed - node->second);
      if (std::abs(share) < 1e9)
        rounds[node->first].push_back(static_cast<int>(std::lround(share)));
    }
  }
  return rounds;
}

// A JSON string. What Clean leaves has no control characters.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : Clean(text, 512)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

std::string AnswerSection(const GroupFacts& facts, std::string_view today) {
  const GroupRanking& ranking = facts.Ranking();
  std::string section =
      "<section id=answer>\n<h2>Which machine, for which work, per dollar?</h2>\n";
  section += Paragraph(AnswerOf(ranking, today), " class=answer");
  section += Icons(ranking.groups.size());
  section += "<ul class=groups>\n";
  for (std::size_t group = 0; group < ranking.groups.size(); ++group) {
    const RunGroup& of = ranking.groups[group];
    std::string prices;
    for (std::size_t way = 0; way < of.asked; ++way) {
      prices += fmt::format("<br><span class=price>{}</span>",
                            Html(Clean(PriceLine(of.prices[way], {&of.node, 1}, today), 1024)));
    }
    section += fmt::format("<li data-group={}>{}{}{}</li>\n", group, Icon(group),
                           Html(GroupWords(of)), prices);
    if (group + 1 == kMostRowsDrawn && group + 1 < ranking.groups.size()) {
      section += fmt::format("<li>and {} more, in the tables below</li>\n",
                             ranking.groups.size() - group - 1);
      break;
    }
  }
  section += "</ul>\n" + ListOf(ranking.notes);
  if (!ranking.differences.empty()) {
    section += "<details><summary>What differs between the groups besides</summary>\n" +
               ListOf(ranking.differences) + "</details>\n";
  }
  return section + "</section>\n";
}

std::string CaseSections(const GroupFacts& facts) {
  const GroupRanking& ranking = facts.Ranking();
  const GroupedCase& first = ranking.cases.front();
  std::string text = "<div id=controls hidden></div>\n";
  text += fmt::format("<p id=title class=case-title aria-live=polite>{}</p>\n",
                      Html(TitleOf(ranking, first)));
  text +=
      "<section id=price><h2>Performance against price</h2>\n<div data-slot=price data-case=0>\n" +
      PriceFigure(facts, first) + "</div></section>\n";
  text += "<section id=ranking><h2>The ranking</h2>\n<div data-slot=ranking data-case=0>\n" +
          RankingTable(ranking, first) + "</div></section>\n";
  text +=
      "<section id=lottery><h2>The lottery of renting a node</h2>\n<div data-slot=lottery "
      "data-case=0>\n" +
      LotteryFigure(facts, first) + ListOf(LotteryLines(ranking, first)) +
      "</div>\n<details id=nodes-of hidden><summary>Every node of this case</summary><div></div>"
      "</details></section>\n";
  return text;
}

std::string OtherCasesSection(const GroupFacts& facts) {
  const GroupRanking& ranking = facts.Ranking();
  const std::vector<const GroupedCase*>& cases = facts.Cases();
  if (cases.size() < 2) return "";
  std::string text =
      "<section id=cases><h2>All other cases</h2>\n" +
      Figure(BothWidths([&](double width) { return CasesChart(ranking, cases, width); }),
             "A bar is the interval of the mean over nodes; an open mark is one node alone.",
             Legend(ranking));
  std::size_t drawn = 0;
  std::size_t undrawn = 0;
  for (std::size_t i = 1; i < cases.size(); ++i) {
    std::string price;
    std::string lottery;
    if (drawn < kMostDrawn) {
      price = PriceFigure(facts, *cases[i]);
      lottery = LotteryFigure(facts, *cases[i]);
      drawn += price.size() + lottery.size();
    } else {
      ++undrawn;
    }
    text += fmt::format(
        "<details data-case={} data-title=\"{}\"><summary>{}</summary>\n<div "
        "data-slot=price>{}</div>"
        "<div data-slot=ranking>{}</div><div data-slot=lottery>{}{}</div></details>\n",
        i, Html(TitleOf(ranking, *cases[i])), Html(Clean(cases[i]->name, 512)), price,
        RankingTable(ranking, *cases[i]), lottery, ListOf(LotteryLines(ranking, *cases[i])));
  }
  if (undrawn > 0) {
    text +=
        Paragraph(fmt::format("The last {} have tables alone: this many pictures would not fit "
                              "into a page.",
                              CountText(undrawn, "case")));
  }
  return text + "</section>\n";
}

std::string KindsSections(const GroupFacts& facts) {
  const GroupRanking& ranking = facts.Ranking();
  const std::string legend = Legend(ranking);
  std::string text;
  const auto add = [&](std::string_view id, std::string_view title, const std::string& body) {
    if (body.empty()) return;
    text += fmt::format("<section id={}><h2>{}</h2>\n{}</section>\n", id, title, body);
  };
  add("roofline", "Roofline",
      Figure(BothWidths([&](double width) { return RooflineChart(facts, width); }),
             "A roof is the data sheet's dense peak and memory bandwidth, times the accelerators "
             "that took part; for devices without one, the fastest loop and the fastest memory "
             "case that "
             "were measured.",
             legend));
  add("gemm", "Products by shape",
      Figure(
          BothWidths([&](double width) { return GemmChart(facts, width); }),
          "The darker a cell, the nearer it is to the fastest product of the same data type on as "
          "many devices in its column; a crossed one was not measured.",
          legend));
  const std::string collectives =
      Figures([&](double width) { return CollectiveCharts(facts, width); });
  if (!collectives.empty()) {
    add("collectives", "Collectives",
        legend + collectives +
            Paragraph("Bus bandwidth against size. The band goes from the slowest rank to the "
                      "fastest one. A dashed line is the most that can come of the nodes' network "
                      "by any algorithm; it is drawn for ranks on several nodes whose records tell "
                      "what carried the data between them, and not where NVLink did."));
  }
  std::vector<const GroupedCase*> storage;
  for (const GroupedCase* grouped : facts.Cases()) {
    if (FindProbe(grouped->probe).probe_class == ProbeClass::kStorage) storage.push_back(grouped);
  }
  add("storage", "Storage",
      Figure(BothWidths([&](double width) { return CasesChart(ranking, storage, width); }),
             "What a volume gives; the marks of the tables say where a figure may be a cache's.",
             legend));
  return text;
}

std::string LadderSection(const GroupFacts& facts) {
  const GroupRanking& ranking = facts.Ranking();
  std::string text = "<section id=ladder><h2>The price ladder</h2>\n";
  text += Figure(BothWidths([&](double width) { return LadderChart(ranking, width); }),
                 "The price ladder: a filled mark is what groups are ranked by. A bar is the range "
                 "over regions and zones.",
                 Legend(ranking));
  std::string rows;
  for (std::size_t g = 0; g < ranking.groups.size(); ++g) {
    const RunGroup& group = ranking.groups[g];
    for (const Chosen& committed : group.prices) {
      const std::optional<double> usd = UsdPerNodeHour(committed);
      if (!usd || !committed.offer->term_months) continue;
      for (const Chosen& other : group.prices) {
        const std::optional<double> by_hour = UsdPerNodeHour(other);
        if (!by_hour || other.offer->term_months) continue;
        const std::optional<double> hours = BreakEvenHours(*usd, *by_hour);
        rows += HtmlRow({Cell(group.name), Cell(PurchaseWords(*committed.offer)),
                         Cell(PurchaseWords(*other.offer)),
                         Cell(hours ? fmt::format("from {:.0f} h", *hours) : "never", kNumberCell),
                         Cell(hours ? Percent(*hours / kHoursAMonth) : "-", kNumberCell)},
                        fmt::format(" data-group={}", g));
      }
    }
  }
  if (!rows.empty()) {
    text += "<h3>When a reservation breaks even</h3>\n" +
            Figures([&](double width) { return BreakEvenCharts(ranking, width); }) +
            HtmlTable("break-even", HeadRow({{"type"},
                                             {"reserved"},
                                             {"costs less than"},
                                             {"hours a month", true},
                                             {"of a month", true}}) +
                                        rows) +
            Paragraph(
                "A reservation is paid for in every one of a month's 730 hours, the other "
                "ways in those that are used: it costs less from 730 × its price ÷ theirs "
                "on. Whether spot is to be had for so many hours is another question.");
  }
  return text + "</section>\n";
}

std::string PricesSection(const GroupFacts& facts, std::string_view today) {
  const GroupRanking& ranking = facts.Ranking();
  std::string rows;
  for (std::size_t g = 0; g < ranking.groups.size(); ++g) {
    const RunGroup& group = ranking.groups[g];
    for (std::size_t way = 0; way < group.prices.size(); ++way) {
      const Chosen& price = group.prices[way];
      std::string why = price.why;
      if (!price.note.empty()) AddNote(why, price.note);
      const std::string where = fmt::format(" data-group={}", g);
      if (!price.offer) {
        rows += HtmlRow({Cell(group.name), Cell("none", kWhole), Cell("-", kNumberCell),
                         Cell("-", kNumberCell), Cell("-"), Cell("-"), Cell(why)},
                        where);
        continue;
      }
      const Offer& offer = *price.offer;
      const std::optional<double> of_gpu = UsdPerGpuHour(group, price);
      rows += HtmlRow({Cell(group.name), Cell(PurchaseWords(offer), kWhole),
                       Cell(Usd(*UsdPerNodeHour(price)), kNumberCell),
                       Cell(of_gpu ? Usd(*of_gpu) : "-", kNumberCell), Cell(offer.region, kWhole),
                       Cell(PriceAge(offer, today), " class=date"),
                       Cell(offer.source + (why.empty() ? "" : "; " + why))},
                      where);
    }
  }
  std::string text = "<section id=prices><h2>Where every price comes from</h2>\n" +
                     HtmlTable("sources of prices",
                               HeadRow({{"type"},
                                        {"bought"},
                                        {"USD/h a node", true},
                                        {"USD/h a GPU", true},
                                        {"region"},
                                        {"date"},
                                        {"source, and why this one"}}) +
                                   rows,
                               " class=sources");
  std::vector<std::string> files;
  for (const PriceFile& file : facts.TheCatalog().own_files) {
    files.push_back(fmt::format("a price file of the user: {} offers, sha256 {}", file.offers,
                                file.sha256.substr(0, 12)));
  }
  text += ListOf(files);
  return text +
         Paragraph(fmt::format("The built-in prices have the sha256 {}.",
                               facts.TheCatalog().sha256.substr(0, 12))) +
         "</section>\n";
}

namespace {

// A list of sentences, of which a reader must open those after the first ones.
std::string AllOf(const std::vector<std::string>& sentences) {
  constexpr std::size_t kOpen = 5;
  if (sentences.size() <= kOpen) return ListOf(sentences);
  const auto middle = sentences.begin() + kOpen;
  return ListOf({sentences.begin(), middle}) +
         fmt::format("<details><summary>{}</summary>\n",
                     CountText(sentences.size() - kOpen, "more outlier")) +
         ListOf({middle, sentences.end()}) + "</details>\n";
}

}  // namespace

std::string NodesSection(const GroupFacts& facts) {
  std::string text;
  const auto more = [](std::size_t left_out) {
    return left_out == 0
               ? ""
               : fmt::format(" {} that have fewer outliers, or lie nearer to it, are not drawn.",
                             CountText(left_out, "node"));
  };
  std::size_t left_out = 0;
  const std::string nodes =
      BothWidths([&](double width) { return NodesChart(facts, width, left_out); });
  if (!nodes.empty()) {
    std::vector<std::string> names;
    const std::vector<const GroupedCase*> columns = NodeColumns(facts);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      names.push_back(fmt::format("{} {}", i + 1, Clean(columns[i]->name, 512)));
    }
    text += Figure(
        nodes,
        fmt::format("Nodes, in per cent of the median node of their type, the furthest of them; "
                    "outliers are framed.{} Columns: {}.",
                    more(left_out), fmt::join(names, "; ")));
    const std::vector<std::string> sentences = NodeOutliers(facts);
    text += sentences.empty()
                ? Paragraph(
                      "No node is an outlier among those of its type (modified z-score "
                      "beyond 3.5 and 2 % or more from the median; of four nodes or more).")
                : AllOf(sentences);
  }
  const std::string devices =
      BothWidths([&](double width) { return DevicesChart(facts, width, left_out); });
  text += Figure(devices, "Devices of the nodes, in per cent of the median device of their node." +
                              more(left_out));
  text += AllOf(DeviceOutliers(facts));
  const std::string pairs = Figures([&](double width) { return PairCharts(facts, width); });
  if (!pairs.empty()) text += "<h3>From GPU to GPU</h3>\n" + pairs + AllOf(PairOutliers(facts));
  return text.empty()
             ? ""
             : "<section id=nodes><h2>Nodes, devices and pairs</h2>\n" + text + "</section>\n";
}

std::string CoverageSection(const GroupFacts& facts, std::span<const RunBrief> briefs) {
  const GroupRanking& ranking = facts.Ranking();
  // By case and group: its name, and why it has no figure.
  std::map<CaseKey, std::map<std::size_t, Unmeasured>> why;
  for (std::size_t group = 0; group < ranking.groups.size(); ++group) {
    for (const std::size_t run : ranking.groups[group].runs) {
      for (const Unmeasured& one : briefs[run].unmeasured) why[one.key].emplace(group, one);
    }
  }
  constexpr std::size_t kMostColumns = 24;
  constexpr std::size_t kMostCases = 200;
  const std::size_t columns = std::min(kMostColumns, ranking.groups.size());
  std::string head = "<tr><th scope=col>case</th>";
  for (std::size_t group = 0; group < columns; ++group) {
    head += fmt::format("<th scope=col data-group={}>{}{}</th>", group, Icon(group),
                        Html(SeriesName(ranking, group)));
  }
  head += "</tr>\n";
  std::string rows;
  std::set<std::string> reasons;
  std::size_t count = 0;
  std::size_t absent = 0;
  const auto add_row = [&](const std::string& name, const CaseKey& key,
                           const std::vector<GroupPlace>& places) {
    absent += ranking.groups.size() - places.size();
    if (++count > kMostCases) return;
    std::string row = fmt::format("<tr><th scope=row>{}</th>", Html(Clean(name, 512)));
    const auto reason = why.find(key);
    for (std::size_t group = 0; group < columns; ++group) {
      const auto place = std::ranges::find(places, group, &GroupPlace::group);
      if (place != places.end()) {
        row += Cell(CountText(place->nodes.size(), "node"), fmt::format(" data-group={}", group));
        continue;
      }
      const bool is_told = reason != why.end() && reason->second.contains(group);
      std::string text = "not measured";
      if (is_told) {
        text = reason->second.at(group).why;
        reasons.insert(fmt::format("{}, {}: {}", Clean(name, 512), SeriesName(ranking, group),
                                   Clean(text, 512)));
        text = text.substr(0, text.find(':'));
      }
      row += Cell(text, fmt::format(" class=absent data-group={}", group));
    }
    rows += row + "</tr>\n";
  };
  const auto key_of = [](const GroupedCase& grouped) {
    return CaseKey{.probe = grouped.probe,
                   .params = grouped.params,
                   .kind = grouped.kind,
                   .method = grouped.method};
  };
  std::set<CaseKey> shown;
  std::set<std::string> pairs;
  for (const GroupedCase* grouped : facts.Cases()) {
    shown.insert(key_of(*grouped));
    add_row(grouped->name, key_of(*grouped), grouped->places);
  }
  for (const GroupedCase* grouped : facts.Pairs()) {
    const std::string name = grouped->probe + " from GPU to GPU";
    shown.insert(key_of(*grouped));
    if (pairs.insert(name).second) add_row(name, key_of(*grouped), grouped->places);
  }
  for (const auto& [key, groups] : why) {
    if (!shown.contains(key)) add_row(groups.begin()->second.name, key, {});
  }
  std::string text = "<section id=coverage><h2>What was measured, and what was not</h2>\n";
  text += HtmlTable("what was measured", head + rows, " class=coverage");
  if (columns < ranking.groups.size()) {
    text += Paragraph(
        fmt::format("{} no column here.",
                    ranking.groups.size() - columns == 1
                        ? "1 more group has"
                        : fmt::format("{} more groups have", ranking.groups.size() - columns)));
  }
  if (count > kMostCases) {
    text += Paragraph(fmt::format("{} more cases are left out here.", count - kMostCases));
  }
  if (absent == 0) text += Paragraph("Every group has every case.");
  if (!reasons.empty()) {
    text += "<details><summary>Why</summary>\n" +
            ListOf(std::vector<std::string>(reasons.begin(), reasons.end())) + "</details>\n";
  }
  return text + "</section>\n";
}

std::string GroupsData(const GroupFacts& facts) {
  const GroupRanking& ranking = facts.Ranking();
  std::string text = "{\"groups\":[";
  std::map<std::pair<std::size_t, std::string>, std::size_t> index;  // of each node in its group
  for (std::size_t group = 0; group < ranking.groups.size(); ++group) {
    const RunGroup& of = ranking.groups[group];
    text += fmt::format("{}{{\"name\":{},\"nodes\":[", group == 0 ? "" : ",\n", Quoted(of.name));
    for (const std::string& node : of.nodes) {
      const std::size_t at = index.size();
      index[{group, node}] = at;
      text += fmt::format("{}[{},{}]", node == *of.nodes.begin() ? "" : ",", at,
                          Quoted(Clean(node, 12)));
    }
    text += "]}";
  }
  text += "],\n\"cases\":[";
  // Where there are very many, round medians are those of the first case alone.
  constexpr std::size_t kMostValues = 200'000;
  std::size_t values = 0;
  const std::vector<const GroupedCase*>& cases = facts.Cases();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    text += fmt::format("{}{{\"name\":{},\"unit\":{},\"places\":[", i == 0 ? "" : ",\n",
                        Quoted(cases[i]->name), Quoted(cases[i]->unit));
    for (std::size_t p = 0; p < cases[i]->places.size(); ++p) {
      const GroupPlace& place = cases[i]->places[p];
      std::map<std::string, std::vector<int>> rounds;
      if (values < kMostValues) rounds = RoundsOf(facts, *cases[i], place);
      text += fmt::format("{}{{\"group\":{},\"nodes\":[", p == 0 ? "" : ",", place.group);
      for (std::size_t n = 0; n < place.nodes.size(); ++n) {
        const NodeOfGroup& node = place.nodes[n];
        const std::vector<int>& of = rounds[node.node];
        values += of.size();
        const double speed = std::exp(node.log_speed);
        text += fmt::format("{}[{},{},{},[{}]]", n == 0 ? "" : ",", index[{place.group, node.node}],
                            std::isfinite(speed) ? fmt::format("{:.5g}", speed) : "null", node.runs,
                            fmt::join(of, ","));
      }
      text += "]}";
    }
    text += "]}";
  }
  return text + "]}";
}

}  // namespace assay
