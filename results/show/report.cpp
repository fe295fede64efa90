#include "results/show/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "results/base/embedded.h"
#include "results/base/error.h"
#include "results/base/hash.h"
#include "results/base/text.h"
#include "results/catalog/price.h"
#include "results/figures/figures.h"
#include "results/figures/group_prices.h"
#include "results/figures/health.h"
#include "results/figures/labels.h"
#include "results/figures/model.h"
#include "results/file/nodes.h"
#include "results/show/html.h"
#include "results/show/notes.h"
#include "results/show/report_groups.h"
#include "results/show/run_charts.h"

ASSAY_DECLARE_EMBEDDED(report_html);

namespace assay {
namespace {

// Makes JSON safe between <script> tags, which it must not end, nor begin a comment: every '<'
// becomes an escape that means the same in JSON.
std::string ScriptSafe(std::string_view json) {
  std::string safe;
  safe.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

// A run with what the page needs to know of all of it, which is found once.
struct Shown {
  Shown(const ReportInput& from, const Catalog& catalog);

  const ReportInput& input;
  std::string machine;
  RunHealth health;
  RunFigures figures;
  std::vector<Fit> fits;
};

// One record of one of the runs.
struct RecordOfRun {
  std::size_t run = 0;
  const Record* record = nullptr;
};

// The name of a node, "aws p5.48xlarge us-east-1"; empty where that isn't known.
std::string NodeName(const Node& node) {
  const Identity& identity = node.identity;
  if (identity.instance.value == "unknown") return "";
  return fmt::format("{} {} {}", identity.provider.value, identity.instance.value,
                     identity.region.value == "unknown" ? "" : identity.region.value);
}

// The name of a run's machines, "2 x aws p5.48xlarge us-east-1", or the file's name where one is
// not known.
std::string MachineName(const ReportInput& input) {
  std::string name;
  for (const Saying& kind :
       Gather(input.run.nodes, [](const Node& node) { return std::vector{NodeName(node)}; })) {
    if (kind.text.empty()) return input.name;
    if (!name.empty()) name += " + ";
    if (input.run.nodes.size() > 1) name += fmt::format("{} x ", kind.nodes.size());
    name += kind.text;
  }
  return name.empty() ? input.name : name;
}

Shown::Shown(const ReportInput& from, const Catalog& catalog)
    : input(from),
      machine(Clean(MachineName(from))),
      health(from.run, catalog.devices),
      figures(from.run, catalog),
      fits(FitSweeps(from.run.records)) {}

std::string PriceText(const ReportInput& input) {
  const std::optional<double> usd = UsdPerNodeHour(input.price);
  return usd ? fmt::format("{}/h {}", Usd(*usd), PurchaseWords(*input.price.offer)) : "-";
}

std::string SpeedText(const Record& record) {
  const std::optional<Rate> speed = Speed(record);
  return speed ? WithPrefix(speed->value, speed->unit) : "-";
}

std::string IntervalText(const Record& record) {
  const std::optional<Interval> interval = SpeedInterval(record);
  return interval ? IntervalText(*interval, *Speed(record)) : "-";
}

std::string CostText(const Record& record, const Shown& shown) {
  const std::vector<Cost> costs =
      CostsAt(shown.input.run, record, shown.input.price, shown.figures.Type());
  return costs.empty() ? "-" : CostText(costs.front());
}

// The backend with the transport of its ranks: "ofi over tcp".
std::string BackendText(const Record& record) {
  const std::string transport = TransportOf(record);
  return record.backend + (transport.empty() ? "" : " over " + transport);
}

// The headline of each run and what it costs, with the price under it.
std::string HeadlineTable(std::span<const Shown> runs, std::string_view today) {
  std::string table = HeadRow(
      {{"machine"}, {"headline"}, {"speed", true}, {"interval"}, {"price", true}, {"cost", true}});
  for (const Shown& shown : runs) {
    const Headline headline = HeadlineOf(shown.input.run);
    if (headline.record == nullptr) {
      table += HtmlRow({Cell(shown.machine), Cell(headline.name),
                        Cell("absent: " + headline.absent, " colspan=4")});
      continue;
    }
    const std::string unrest = UnrestText(*headline.record);
    table += HtmlRow({Cell(shown.machine), Cell(headline.name),
                      Cell(SpeedText(*headline.record), kNumberCell),
                      Cell(IntervalText(*headline.record) + (unrest.empty() ? "" : "; " + unrest)),
                      Cell(PriceText(shown.input), kNumberCell),
                      Cell(CostText(*headline.record, shown), kNumberCell)});
  }
  table = HtmlTable("the headline of each run", table);
  for (const Shown& shown : runs) {
    const std::string line = PriceLine(shown.input.price, shown.input.run.nodes, today);
    table +=
        fmt::format("<p class=price>{}: {}</p>\n", Html(shown.machine), Html(Clean(line, 1024)));
  }
  return table;
}

// The pictures of sweeps, each with its fitted model in words, by probe.
std::map<std::string, std::string> FitFigures(std::span<const Shown> runs) {
  std::map<std::string, std::string> figures;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const std::vector<Fit>& fits = runs[run].fits;
    for (std::size_t i = 0; i < fits.size(); ++i) {
      const CostModel& model = fits[i].model;
      const std::string machine = runs.size() > 1 ? runs[run].machine + ", " : "";
      const std::string words = fmt::format(
          "{}: α = {:.3g} us, β = {:.3g} ns/B{}, residual {} over {} sizes",
          Clean(machine + FitLabel(fits[i])), model.start_s * 1e6, model.per_byte_s * 1e9,
          model.per_byte_s > 0 ? fmt::format(" ({})", WithPrefix(1 / model.per_byte_s, "B/s")) : "",
          Percent(model.residual), model.points);
      figures[fits[i].sweep.front()->probe] +=
          fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n",
                      FitChart(fits[i], run, words), Html(words));
    }
  }
  for (auto& [probe, text] : figures) {
    text = fmt::format(
        "<h3>Time against size</h3>\n<p>T = α + β S, fitted to the median times: α of all steps of "
        "an "
        "operation together, β of all bytes that they move. A bar is the 95 % interval. The dashed "
        "end of a line is a projection: nobody has measured it. A large residual says that no one "
        "line fits.</p>\n<div class=half-figures>\n{}</div>\n",
        text);
  }
  return figures;
}

// The rows of one record: its figures, and under them the notes on it and on its devices.
std::string RecordRows(const std::string& label, const Shown& shown, const Record& record) {
  const ReportInput& input = shown.input;
  std::vector<std::string> cells = {Cell(label), Cell(shown.machine), Cell(BackendText(record))};
  if (!Speed(record)) {
    cells.push_back(WordsCell(OutcomeOf(record), 4));
    return HtmlRow(cells);
  }
  const std::optional<double> here = OfHere(record);
  cells.insert(cells.end(), {Cell(SpeedText(record), kNumberCell), Cell(IntervalText(record)),
                             Cell(here ? Percent(*here) : "-", kNumberCell),
                             Cell(CostText(record, shown), kNumberCell)});
  std::string rows = HtmlRow(cells);
  if (const std::string notes = NotesOf(input.run, record, shown.figures, input.price);
      !notes.empty()) {
    rows += HtmlRow({Cell(""), WordsCell(notes, 6)});
  }
  for (const DeviceNote& device : DeviceNotesOf(input.run, record, shown.health.Of(record))) {
    rows += HtmlRow({Cell(""), WordsCell(device.device + ": " + device.text, 6)});
  }
  return rows;
}

// The section of one probe, with the runs beside each other case by case. `places` are the probe's
// records in the order of the runs.
std::string ProbeSection(const std::string& probe, const std::vector<RecordOfRun>& places,
                         std::span<const Shown> runs, const std::string& fit_figures) {
  std::vector<const Record*> records;
  std::map<std::string, std::vector<RecordOfRun>> cases;  // by match key
  for (const RecordOfRun& place : places) {
    records.push_back(place.record);
    cases[MatchKey(*place.record)].push_back(place);
  }
  std::string rows = HeadRow({{"case"},
                              {"machine"},
                              {"backend"},
                              {"median", true},
                              {"interval"},
                              {"of here", true},
                              {"cost", true}});
  std::vector<DrawnRecord> drawn;
  for (const Record* first : InOrderOfSizes(records)) {
    const auto found = cases.extract(MatchKey(*first));
    if (found.empty()) continue;  // shown with an earlier one
    const std::string label = CaseLabel(first->probe, first->params);
    for (const RecordOfRun& place : found.mapped()) {
      rows += RecordRows(label, runs[place.run], *place.record);
      drawn.push_back({.label = label, .run = place.run, .record = place.record});
    }
  }
  const std::string name = Clean(probe);
  const std::string svg = RoundsChart(drawn, kWideChart) + RoundsChart(drawn, kNarrowChart);
  return fmt::format("<section>\n<h2>{}</h2>\n{}{}{}</section>\n", Html(name),
                     svg.empty() ? "" : "<figure>" + svg + "</figure>\n", HtmlTable(name, rows),
                     fit_figures);
}

// The sections of all probes, in the order in which they come first.
std::string ProbeSections(std::span<const Shown> runs) {
  std::vector<std::string> probes;
  std::map<std::string, std::vector<RecordOfRun>> places;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    for (const Record& record : runs[run].input.run.records) {
      std::vector<RecordOfRun>& of_probe = places[record.probe];
      if (of_probe.empty()) probes.push_back(record.probe);
      of_probe.push_back({.run = run, .record = &record});
    }
  }
  std::map<std::string, std::string> figures = FitFigures(runs);
  std::string sections;
  for (const std::string& probe : probes) {
    sections += ProbeSection(probe, places[probe], runs, figures[probe]);
  }
  return sections;
}

std::string MachinesSection(std::span<const Shown> runs) {
  std::string rows = HeadRow(
      {{"file"}, {"machine"}, {"how known"}, {"processor"}, {"memory", true}, {"run"}, {"notes"}});
  for (const Shown& shown : runs) {
    const Run& run = shown.input.run;
    const std::string& name = shown.input.name;
    const std::string when =
        fmt::format("{}, {}, seed {}, assay {} {}{}", run.started, CountText(run.rounds, "round"),
                    run.seed, run.assay.version, run.assay.commit,
                    run.status != "complete" ? ", " + run.status
                    : run.complete           ? ""
                                             : ", incomplete");
    for (const Node& node : run.nodes) {
      const Finding& instance = node.identity.instance;
      std::string notes;
      for (const Note& note : node.notes) {
        notes += fmt::format("{}{} ({})", notes.empty() ? "" : "; ", note.what, note.remedy);
      }
      rows += HtmlRow(
          {Cell(name), Cell(NodeName(node).empty() ? name : NodeName(node)),
           Cell(fmt::format("{}, {}", instance.how, instance.confidence)),
           Cell(fmt::format("{}, {} of {}", node.cpu.model, node.cpu.cores_used,
                            CountText(node.cpu.cores_present, "core"))),
           Cell(fmt::format("{:.1f} GiB", static_cast<double>(node.memory_bytes) / (1LL << 30)),
                kNumberCell),
           Cell(when), WordsCell(notes, 1)});
    }
  }
  return "<section>\n<h2>Machines</h2>\n" + HtmlTable("machines", rows) + "</section>\n";
}

// The parts on runs in full.
std::string RunSections(std::span<const ReportInput> inputs, const Catalog& catalog,
                        std::string_view today) {
  if (inputs.empty()) return "";
  std::vector<Shown> runs;
  for (const ReportInput& input : inputs) runs.emplace_back(input, catalog);
  return "<section id=runs><h2>Run by run: the headline</h2>\n" + HeadlineTable(runs, today) +
         "</section>\n" + ProbeSections(runs) + MachinesSection(runs);
}

// The parts on groups of runs.
std::string GroupSections(const ReportGroups& groups, const Catalog& catalog,
                          std::string_view today) {
  if (!groups.ranking) {
    return "<section id=answer>\n<h2>Which machine, for which work, per dollar?</h2>\n" +
           Paragraph(groups.unranked, " class=answer") + "</section>\n";
  }
  const GroupFacts facts(*groups.ranking, groups.briefs, catalog);
  return AnswerSection(facts, today) + CaseSections(facts) + KindsSections(facts) +
         LadderSection(facts) + NodesSection(facts) + OtherCasesSection(facts) +
         PricesSection(facts, today) + CoverageSection(facts, groups.briefs);
}

// Replaces each @name@ of the page's skeleton once, in one pass, so that what is put in is never
// searched.
std::string Fill(std::string_view skeleton, const std::map<std::string, std::string>& parts) {
  std::string page;
  while (!skeleton.empty()) {
    const std::size_t begin = skeleton.find("@@");
    if (begin == std::string_view::npos) break;
    const std::size_t end = skeleton.find("@@", begin + 2);
    page += skeleton.substr(0, begin);
    page += parts.at(std::string(skeleton.substr(begin + 2, end - begin - 2)));
    skeleton.remove_prefix(end + 2);
  }
  return page.append(skeleton);
}

// The sources that the page's policy allows: the hash of each element of the skeleton that begins
// with this tag, as it will be in the page. Nothing that comes from a file is within one.
std::string HashesOf(const std::string& tag, std::string_view skeleton,
                     const std::map<std::string, std::string>& parts) {
  const std::string begin = "<" + tag + ">";
  const std::string end = "</" + tag + ">";
  std::string hashes;
  for (std::size_t at = skeleton.find(begin); at != std::string_view::npos;) {
    const std::size_t from = at + begin.size();
    const std::size_t to = skeleton.find(end, from);
    hashes += fmt::format("{}'sha256-{}'", hashes.empty() ? "" : " ",
                          Sha256Base64(Fill(skeleton.substr(from, to - from), parts)));
    at = skeleton.find(begin, to);
  }
  return hashes;
}

}  // namespace

std::string ReportPage(const ReportGroups& groups, std::span<const ReportInput> inputs,
                       const Catalog& catalog, std::string_view today) {
  const std::string_view skeleton = ASSAY_EMBEDDED(report_html);
  std::string data = "{}";
  if (groups.ranking) data = GroupsData(GroupFacts(*groups.ranking, groups.briefs, catalog));
  std::map<std::string, std::string> parts = {{"today", std::string(today)},
                                              {"notes", ListOf(groups.notes)},
                                              {"groups", GroupSections(groups, catalog, today)},
                                              {"runs", RunSections(inputs, catalog, today)},
                                              {"data", ScriptSafe(data)}};
  parts["script_hashes"] = HashesOf("script", skeleton, parts);
  parts["style_hashes"] = HashesOf("style", skeleton, parts);
  return Fill(skeleton, parts);
}

std::string ReportPage(std::span<const ReportInput> inputs, const Catalog& catalog,
                       std::string_view today) {
  std::vector<RunBrief> briefs;
  for (const ReportInput& input : inputs) {
    briefs.push_back(MakeBrief(input.run, input.name, catalog, false));
  }
  const GroupOptions options = {.instances = catalog.instances, .today = std::string(today)};
  ReportGroups groups = {.briefs = briefs};
  try {
    std::vector<RunGroup> made = GroupRuns(briefs, options, groups.notes);
    for (RunGroup& group : made) {
      group.prices = {inputs[group.runs.front()].price};
      group.asked = 1;
      AddOtherPrices(group, catalog.offers);
    }
    groups.ranking = RankGroups(briefs, std::move(made), options);
  } catch (const Error& error) {
    groups.unranked = error.what();
  }
  return ReportPage(groups, inputs, catalog, today);
}

}  // namespace assay
