#include "results/show/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "results/base/embedded.h"
#include "results/base/hash.h"
#include "results/base/text.h"
#include "results/catalog/price.h"
#include "results/figures/figures.h"
#include "results/figures/health.h"
#include "results/figures/labels.h"
#include "results/figures/model.h"
#include "results/file/nodes.h"
#include "results/show/json.h"
#include "results/show/notes.h"

ASSAY_DECLARE_EMBEDDED(report_html);
ASSAY_DECLARE_EMBEDDED(d3_js);
ASSAY_DECLARE_EMBEDDED(d3_notice);

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

// A table cell. Its text is cleaned of what a terminal or a page should not see, and then escaped.
std::string Cell(std::string_view text, std::string_view attributes = "") {
  return fmt::format("<td{}>{}</td>", attributes, Html(Clean(text)));
}

// A cell with sentences that spans several columns.
std::string Words(std::string_view text, int columns) {
  return fmt::format("<td colspan={}>{}</td>", columns, Html(Clean(text, 4096)));
}

std::string Row(const std::vector<std::string>& cells) {
  std::string row = "<tr>";
  for (const std::string& cell : cells) row += cell;
  return row + "</tr>\n";
}

constexpr std::string_view kNumber = " class=number";

std::string Header(const std::vector<std::string>& names) {
  static const std::set<std::string> numbers = {"speed", "median", "of here",
                                                "price", "cost",   "memory"};
  std::string row = "<tr>";
  for (const std::string& name : names) {
    row += fmt::format("<th{}>{}</th>", numbers.contains(name) ? kNumber : "", Html(name));
  }
  return row + "</tr>\n";
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
struct Place {
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

// The table with the answer, one row a run: the headline figure and what it costs, with the price
// under it.
std::string AnswerTable(std::span<const Shown> runs, std::string_view today) {
  std::string table = "<table>\n<caption>The headline, per machine</caption>\n" +
                      Header({"machine", "headline", "speed", "interval", "price", "cost"});
  for (const Shown& shown : runs) {
    const Headline headline = HeadlineOf(shown.input.run);
    if (headline.record == nullptr) {
      table += Row({Cell(shown.machine), Cell(headline.name),
                    Cell("absent: " + headline.absent, " colspan=4")});
      continue;
    }
    const std::string unrest = UnrestText(*headline.record);
    table += Row(
        {Cell(shown.machine), Cell(headline.name), Cell(SpeedText(*headline.record), kNumber),
         Cell(IntervalText(*headline.record) + (unrest.empty() ? "" : "; " + unrest)),
         Cell(PriceText(shown.input), kNumber), Cell(CostText(*headline.record, shown), kNumber)});
  }
  table += "</table>\n";
  for (const Shown& shown : runs) {
    const std::string line = PriceLine(shown.input.price, shown.input.run.nodes, today);
    table +=
        fmt::format("<p class=price>{}: {}</p>\n", Html(shown.machine), Html(Clean(line, 1024)));
  }
  return table;
}

// The places for the script's drawings of sweeps, each with its fitted model in words, by probe.
std::map<std::string, std::string> FitFigures(std::span<const Shown> runs) {
  std::map<std::string, std::string> figures;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const std::vector<Fit>& fits = runs[run].fits;
    for (std::size_t i = 0; i < fits.size(); ++i) {
      const CostModel& model = fits[i].model;
      const std::string machine = runs.size() > 1 ? runs[run].machine + ", " : "";
      figures[fits[i].sweep.front()->probe] += fmt::format(
          "<figure class=fit data-run={} data-fit={}><figcaption>{}: α = {:.3g} us, β = {:.3g} "
          "ns/B{}, "
          "residual {} over {} sizes</figcaption></figure>\n",
          run, i, Html(Clean(machine + FitLabel(fits[i]))), model.start_s * 1e6,
          model.per_byte_s * 1e9,
          model.per_byte_s > 0 ? fmt::format(" ({})", WithPrefix(1 / model.per_byte_s, "B/s")) : "",
          Percent(model.residual), model.points);
    }
  }
  for (auto& [probe, text] : figures) {
    text = fmt::format(
        "<h3>Time against size</h3>\n<p>T = α + β S, fitted to the median times: α of all steps of "
        "an "
        "operation together, β of all bytes that they move. A bar is the 95 % interval. The dashed "
        "end of a line is a projection: nobody has measured it. A large residual says that no one "
        "line fits.</p>\n<div class=fits>\n{}</div>\n",
        text);
  }
  return figures;
}

// The rows of one record: its figures, and under them the notes on it and on its devices.
std::string RecordRows(const std::string& label, const Shown& shown, const Record& record) {
  const ReportInput& input = shown.input;
  std::vector<std::string> cells = {Cell(label), Cell(shown.machine), Cell(BackendText(record))};
  if (!Speed(record)) {
    cells.push_back(Words(OutcomeOf(record), 4));
    return Row(cells);
  }
  const std::optional<double> here = OfHere(record);
  cells.insert(cells.end(), {Cell(SpeedText(record), kNumber), Cell(IntervalText(record)),
                             Cell(here ? Percent(*here) : "-", kNumber),
                             Cell(CostText(record, shown), kNumber)});
  std::string rows = Row(cells);
  if (const std::string notes = NotesOf(input.run, record, shown.figures, input.price);
      !notes.empty()) {
    rows += Row({Cell(""), Words(notes, 6)});
  }
  for (const DeviceNote& device : DeviceNotesOf(input.run, record, shown.health.Of(record))) {
    rows += Row({Cell(""), Words(device.device + ": " + device.text, 6)});
  }
  return rows;
}

// The section of one probe, with the runs beside each other case by case. `places` are the probe's
// records in the order of the runs.
std::string ProbeSection(const std::string& probe, const std::vector<Place>& places,
                         std::span<const Shown> runs, const std::string& fit_figures) {
  std::vector<const Record*> records;
  std::map<std::string, std::vector<Place>> cases;  // by match key
  for (const Place& place : places) {
    records.push_back(place.record);
    cases[MatchKey(*place.record)].push_back(place);
  }
  std::string section =
      fmt::format("<section>\n<h2>{}</h2>\n<div class=chart data-probe=\"{}\"></div>\n<table>\n",
                  Html(Clean(probe)), Html(Clean(probe)));
  section += Header({"case", "machine", "backend", "median", "interval", "of here", "cost"});
  for (const Record* first : InOrderOfSizes(records)) {
    const auto rows = cases.extract(MatchKey(*first));
    if (rows.empty()) continue;  // shown with an earlier one
    const std::string label = CaseLabel(first->probe, first->params);
    for (const Place& place : rows.mapped()) {
      section += RecordRows(label, runs[place.run], *place.record);
    }
  }
  return section + "</table>\n" + fit_figures + "</section>\n";
}

// The sections of all probes, in the order in which they come first.
std::string ProbeSections(std::span<const Shown> runs) {
  std::vector<std::string> probes;
  std::map<std::string, std::vector<Place>> places;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    for (const Record& record : runs[run].input.run.records) {
      std::vector<Place>& of_probe = places[record.probe];
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
  std::string section =
      "<section>\n<h2>Machines</h2>\n<table>\n" +
      Header({"file", "machine", "how known", "processor", "memory", "run", "notes"});
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
      section +=
          Row({Cell(name), Cell(NodeName(node).empty() ? name : NodeName(node)),
               Cell(fmt::format("{}, {}", instance.how, instance.confidence)),
               Cell(fmt::format("{}, {} of {}", node.cpu.model, node.cpu.cores_used,
                                CountText(node.cpu.cores_present, "core"))),
               Cell(fmt::format("{:.1f} GiB", static_cast<double>(node.memory_bytes) / (1LL << 30)),
                    kNumber),
               Cell(when), fmt::format("<td>{}</td>", Html(Clean(notes, 4096)))});
    }
  }
  return section + "</table>\n</section>\n";
}

std::string PricesSection(std::span<const Shown> runs, std::string_view today) {
  std::string section = "<section>\n<h2>Prices</h2>\n<table>\n" +
                        Header({"machine", "price", "region", "date", "source", "why this one"});
  for (const Shown& shown : runs) {
    const Chosen& price = shown.input.price;
    const std::string why =
        fmt::format("<td>{}{}{}</td>", Html(Clean(price.why, 1024)), price.note.empty() ? "" : "; ",
                    Html(Clean(price.note, 1024)));
    if (!price.offer) {
      section +=
          Row({Cell(shown.machine), Cell("none", kNumber), Cell("-"), Cell("-"), Cell("-"), why});
      continue;
    }
    section += Row({Cell(shown.machine), Cell(PriceText(shown.input), kNumber),
                    Cell(price.offer->region), Cell(PriceAge(*price.offer, today)),
                    fmt::format("<td>{}</td>", Html(Clean(price.offer->source, 1024))), why});
  }
  return section + "</table>\n</section>\n";
}

// The data that the script draws: the figures of each run, with the name that the tables give it.
std::string PageData(std::span<const Shown> runs, const Catalog& catalog) {
  std::string data = "[";
  for (const Shown& shown : runs) {
    if (data.size() > 1) data += ",\n";
    data += FiguresToJson(shown.input.run, shown.input.price, catalog, shown.machine);
  }
  return data + "]";
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

std::string ReportPage(std::span<const ReportInput> inputs, const Catalog& catalog,
                       std::string_view today) {
  std::vector<Shown> runs;
  for (const ReportInput& input : inputs) runs.emplace_back(input, catalog);
  const std::string_view skeleton = ASSAY_EMBEDDED(report_html);
  std::map<std::string, std::string> parts = {{"today", std::string(today)},
                                              {"answer", AnswerTable(runs, today)},
                                              {"probes", ProbeSections(runs)},
                                              {"machines", MachinesSection(runs)},
                                              {"prices", PricesSection(runs, today)},
                                              {"data", ScriptSafe(PageData(runs, catalog))},
                                              {"d3_notice", Html(ASSAY_EMBEDDED(d3_notice))},
                                              {"d3", std::string(ASSAY_EMBEDDED(d3_js))}};
  parts["script_hashes"] = HashesOf("script", skeleton, parts);
  parts["style_hashes"] = HashesOf("style", skeleton, parts);
  return Fill(skeleton, parts);
}

}  // namespace assay
