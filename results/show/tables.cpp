#include "results/show/tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "results/base/text.h"
#include "results/catalog/price.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/health.h"
#include "results/figures/labels.h"
#include "results/figures/model.h"
#include "results/figures/probes.h"
#include "results/file/nodes.h"
#include "results/show/group_tables.h"
#include "results/show/layout.h"
#include "results/show/notes.h"

namespace assay {
namespace {

// --- A run ---

const std::vector<Column>& RunColumns() {
  static const std::vector<Column> columns = {
      {.heading = "probe"},
      {.heading = "case"},
      {.heading = "on"},
      {.heading = "median", .to_the_right = true},
      {.heading = "95 % interval"},
      {.heading = "of here", .to_the_right = true},
      {.heading = "$ per unit"},
  };
  return columns;
}

std::string OnText(const Record& record) {
  const std::string one = Clean(record.device.kind) + '/' + Clean(record.backend);
  return record.units.size() > 1 ? fmt::format("{} x {}", record.units.size(), one) : one;
}

Row RunRow(const Run& run, const Record& record, const RunFigures& figures, const Chosen& price) {
  Row row = {.cells = {{Clean(record.probe)},
                       {Clean(CaseLabel(record.probe, record.params))},
                       {OnText(record)}}};
  const std::optional<Rate> speed = Speed(record);
  if (!speed) {
    const bool skipped = record.status == Status::kSkipped;
    row.ink = skipped ? Ink::kDim : Ink::kBad;
    row.sentence = OutcomeOf(record);
    return row;
  }
  row.cells.push_back({WithPrefix(speed->value, speed->unit)});
  const std::optional<Interval> interval = SpeedInterval(record);
  row.cells.push_back({interval ? IntervalText(*interval, *speed) : "one round, no interval"});
  const std::optional<double> here = OfHere(record);
  row.cells.push_back(
      {here ? Percent(*here) : "-", here && *here > kSuspiciousAbove ? Ink::kBad : Ink::kPlain});
  const std::vector<Cost> costs = CostsAt(run, record, price, figures.Type());
  row.cells.push_back({costs.empty() ? "-" : CostText(costs.front())});
  row.sentence = NotesOf(run, record, figures, price);
  return row;
}

// The rows of a case's devices: one for each of several, or one for a single device that isn't
// well.
std::vector<Row> DeviceRows(const Run& run, const Record& record,
                            const std::optional<Health>& health) {
  std::vector<Row> rows;
  for (DeviceNote& device : DeviceNotesOf(run, record, health)) {
    rows.push_back({.cells = {{}, {"  " + device.device}},
                    .sentence = std::move(device.text),
                    .ink = device.is_well ? Ink::kDim : Ink::kBad});
  }
  return rows;
}

// --- Two sides ---

std::string MachineText(const Side& side) {
  const Run& run = side.runs.front();
  if (run.nodes.empty()) return "unknown machine";
  const Node& node = run.nodes.front();
  std::string text = Clean(node.identity.instance.value);
  const std::string region = Clean(node.identity.region.value);
  if (region != "unknown") text += "  " + region;
  if (run.nodes.size() > 1) {
    text = fmt::format("{} {}nodes{} of {}", run.nodes.size(),
                       AreOfOneType(run.nodes) ? "" : "unlike ",
                       AreOfOneType(run.nodes) ? "" : ", the first", text);
  }
  if (node.accelerators.empty()) {
    text += "  " + Clean(node.cpu.model);
  }
  for (const Accelerator& accelerator : node.accelerators) {
    text += fmt::format("  {} x {}", accelerator.present, Clean(accelerator.name));
  }
  return text;
}

// The files and the machine of a side, with its price indented under them.
std::string SideText(const Side& side, std::size_t indent, std::string_view today) {
  std::string names;
  for (std::size_t i = 0; i < std::min<std::size_t>(side.names.size(), 3); ++i) {
    names += (i == 0 ? "" : ", ") + Clean(side.names[i]);
  }
  if (side.names.size() > 3) names += fmt::format(" and {} more", side.names.size() - 3);
  if (!side.group.empty()) names = fmt::format("{}: {}", Clean(side.group), names);
  return fmt::format("{}  {}\n", names, MachineText(side)) +
         Lines(std::string(indent, ' '), {PriceLine(side.price, side.runs.front().nodes, today)});
}

bool IsLarge(const CompareRow& row) { return std::abs(row.change.estimate - 1) > 0.10; }

Cell VerdictCell(const CompareRow& row) {
  std::string word(ToText(row.verdict));
  const bool judged = row.verdict == Verdict::kFaster || row.verdict == Verdict::kSlower;
  if (judged && IsLarge(row)) {
    std::transform(word.begin(), word.end(), word.begin(),
                   [](char c) { return static_cast<char>(c - 'a' + 'A'); });
  }
  if (judged && row.IsGuessed()) word = "guessed " + word;
  return {word, row.verdict == Verdict::kFaster   ? Ink::kGood
                : row.verdict == Verdict::kSlower ? Ink::kBad
                                                  : Ink::kPlain};
}

std::string RangeText(const Interval& factors) {
  return fmt::format("{} .. {}", Percent(factors.low - 1, true), Percent(factors.high - 1, true));
}

// The interval of a change; of a wide one the candidate's speeds that it stands for.
std::string ChangeText(const CompareRow& row) {
  if (!row.change.interval) return "-";
  const Interval& factors = *row.change.interval;
  if (factors.HalfWidth() <= kWidestPlusMinus * factors.estimate) return RangeText(factors);
  return RangeWithPrefix(row.baseline * factors.low, row.baseline * factors.high, row.unit);
}

std::string ResolutionText(const CompareRow& row) {
  if (!row.resolution) return "-";
  if (*row.resolution > kWidestPlusMinus) return "> " + Percent(kWidestPlusMinus);
  return "±" + Percent(*row.resolution);
}

std::string MoreRunsText(const CompareRow& row) {
  if (!row.more_runs) return "-";
  return *row.more_runs >= kManyRuns ? fmt::format("{}+", kManyRuns)
                                     : fmt::format("{}", *row.more_runs);
}

// The text that all rows have, or "" where they differ.
std::string Common(const Comparison& comparison,
                   const std::function<std::string(const CompareRow&)>& text) {
  std::set<std::string> texts;
  for (const CompareRow& row : comparison.rows) texts.insert(text(row));
  return texts.size() == 1 ? *texts.begin() : "";
}

// How intervals are adjusted for several cases: "gemm f32 64 x 64 x 64 asked alone, the other cases
// Holm-adjusted".
std::string AdjustedText(const Comparison& comparison) {
  std::vector<std::string> primary;
  for (const CompareRow& row : comparison.rows) {
    if (row.is_primary) primary.push_back(CaseWords(row.probe, row.params));
  }
  if (primary.empty()) return "Holm-adjusted over the cases";
  const bool is_one = primary.size() == 1;
  std::string text = is_one ? fmt::format("{} asked alone", Clean(primary.front()))
                            : fmt::format("the {} primary cases Holm-adjusted", primary.size());
  if (primary.size() == comparison.rows.size()) return text;
  return text + (is_one ? ", the other cases Holm-adjusted" : ", and so the others among them");
}

// The summary of the verdicts: "2 slower, 1 faster, 1 same, 1 unclear of 5".
std::string Summary(const Comparison& comparison) {
  std::map<Verdict, int> counts;
  int priced = 0;
  int more_per_usd = 0;
  for (const CompareRow& row : comparison.rows) {
    ++counts[row.verdict];
    if (!row.per_usd_verdict) continue;
    ++priced;
    more_per_usd += *row.per_usd_verdict == Verdict::kFaster ? 1 : 0;
  }
  std::string text;
  for (const Verdict verdict :
       {Verdict::kSlower, Verdict::kFaster, Verdict::kSame, Verdict::kUnclear, Verdict::kNone}) {
    if (counts[verdict] == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counts[verdict], ToText(verdict));
  }
  text += " of " + CountText(comparison.rows.size(), "case");
  if (priced > 0) {
    text += fmt::format("; the candidate does more per dollar in {} of {}", more_per_usd, priced);
  }
  return text;
}

// Rows that differ in their case alone become one, which names the first and counts the others.
std::vector<Row> Folded(const std::vector<Row>& rows) {
  std::vector<Row> folded;
  std::vector<int> more;
  std::map<std::array<std::string, 3>, std::size_t> places;
  for (const Row& row : rows) {
    const auto [place, is_new] =
        places.emplace(std::array{row.cells[0].text, row.cells[2].text, row.sentence}, more.size());
    if (!is_new) {
      ++more[place->second];
      continue;
    }
    folded.push_back(row);
    more.push_back(0);
  }
  for (std::size_t i = 0; i < folded.size(); ++i) {
    if (more[i] > 0) folded[i].cells[1].text += fmt::format(" and {} more", more[i]);
  }
  return folded;
}

}  // namespace

std::string RunTable(const Run& run, const Chosen& price, const Catalog& catalog, bool colour,
                     std::string_view today) {
  std::vector<Row> rows;
  std::vector<Row> skipped;
  bool headline_asked = false;
  const RunHealth health(run, catalog.devices);
  const RunFigures figures(run, catalog);
  for (const Record* const one : InOrderOfSizes(run.records)) {
    const Record& record = *one;
    headline_asked = headline_asked || FindProbe(record.probe).is_headline;
    (record.status == Status::kSkipped ? skipped : rows)
        .push_back(RunRow(run, record, figures, price));
    for (Row& row : DeviceRows(run, record, health.Of(record))) rows.push_back(std::move(row));
  }
  skipped = Folded(skipped);
  rows.insert(rows.end(), skipped.begin(), skipped.end());
  std::string text =
      Lines("", {PriceLine(price, run.nodes, today)}) + '\n' + TextOf(RunColumns(), rows, colour);
  if (!headline_asked) return text;
  const Headline headline = HeadlineOf(run);
  text += fmt::format("\n  headline {}: ", headline.name);
  if (headline.record == nullptr) return text + "absent, " + Clean(headline.absent, 1024) + '\n';
  const Rate speed = *Speed(*headline.record);
  text += WithPrefix(speed.value, speed.unit);
  for (const Cost& cost : CostsAt(run, *headline.record, price, figures.Type()))
    text += ", " + CostText(cost);
  if (const std::string unrest = UnrestText(*headline.record); !unrest.empty()) {
    text += "; " + unrest;
  }
  return text + '\n';
}

std::string ProvisionalLine(const Run& run, const Record& record, bool at_least) {
  std::vector<std::string> words = {Clean(record.probe),
                                    Clean(CaseLabel(record.probe, record.params)), OnText(record)};
  const std::optional<Rate> speed = Speed(record);
  if (!speed || record.status != Status::kOk) words.push_back(OutcomeOf(record));
  if (speed) {
    words.push_back(fmt::format("{} so far ({} of {}{})", WithPrefix(speed->value, speed->unit),
                                record.rounds.size(), at_least ? "at least " : "",
                                CountText(run.rounds, "round")));
    words.push_back(CachedText(run, record));
  }
  std::erase(words, "");
  return fmt::format("  {}\n", fmt::join(words, "  "));
}

std::string ComparisonTable(const Comparison& comparison, bool colour, std::string_view today) {
  constexpr std::string_view kBaseline = "baseline   ";
  constexpr std::string_view kCandidate = "candidate  ";
  const std::string answer = AnswerOf(comparison, today);
  std::string text = answer.empty() ? "" : Lines("", {answer}) + '\n';
  text += fmt::format("{}{}{}{}", kBaseline, SideText(comparison.baseline, kBaseline.size(), today),
                      kCandidate, SideText(comparison.candidate, kCandidate.size(), today));
  text += Lines("note: ", comparison.notes);
  const std::string level = Common(comparison, [](const auto& row) { return row.change.level; });
  const std::string nodes = Common(comparison, [](const auto& row) { return row.between_nodes; });
  const bool intervals =
      std::ranges::any_of(comparison.rows, [](const CompareRow& row) { return !row.IsGuessed(); });
  if (intervals) {
    text += fmt::format("intervals: 95 %, {}{}{}\n", AdjustedText(comparison),
                        level.empty() ? "" : "; ", Clean(level));
    if (!nodes.empty()) text += nodes + '\n';
  }
  text += '\n';

  const bool priced = std::any_of(comparison.rows.begin(), comparison.rows.end(),
                                  [](const CompareRow& row) { return row.per_usd_change; });
  const bool ranges = std::any_of(comparison.rows.begin(), comparison.rows.end(),
                                  [](const CompareRow& row) { return row.per_usd_envelope; });
  std::vector<Column> columns = {{.heading = "probe"},
                                 {.heading = "case"},
                                 {.heading = "baseline", .to_the_right = true},
                                 {.heading = "candidate", .to_the_right = true},
                                 {.heading = "change", .to_the_right = true},
                                 {.heading = "95 % interval", .to_the_right = true},
                                 {.heading = "verdict"},
                                 {.heading = "resolves", .to_the_right = true},
                                 {.heading = "more runs", .to_the_right = true}};
  if (priced) columns.push_back({.heading = "work per USD", .to_the_right = true});
  if (ranges) columns.push_back({.heading = "over the price range", .to_the_right = true});
  std::vector<Row> rows;
  for (const CompareRow& row : comparison.rows) {
    Row shown = {.cells = {{Clean(row.probe)},
                           {Clean(CaseLabel(row.probe, row.params))},
                           {WithPrefix(row.baseline, row.unit)},
                           {WithPrefix(row.candidate, row.unit)},
                           {Percent(row.change.estimate - 1, true)},
                           {ChangeText(row)},
                           VerdictCell(row),
                           {ResolutionText(row)},
                           {MoreRunsText(row)}}};
    if (priced) {
      shown.cells.push_back(
          {row.per_usd_change
               ? fmt::format("{} {}", Percent(*row.per_usd_change - 1, true), PerUsdText(row))
               : "-"});
    }
    if (ranges) {
      shown.cells.push_back({row.per_usd_envelope ? RangeText(*row.per_usd_envelope) : "-"});
    }
    shown.sentence = Clean(row.verdict == Verdict::kNone ? row.note : NoteOf(row));
    if (level.empty() && intervals) AddNote(shown.sentence, Clean(row.change.level));
    if (nodes.empty() && !row.between_nodes.empty()) AddNote(shown.sentence, row.between_nodes);
    rows.push_back(std::move(shown));
  }
  text += TextOf(columns, rows, colour) + '\n';
  text += Lines("  only in the baseline: ", comparison.only_baseline);
  text += Lines("  only in the candidate: ", comparison.only_candidate);
  text += Lines("  differs: ", comparison.differences);
  text += Summary(comparison) + '\n';
  return text;
}

std::string SpreadTable(const std::vector<SpreadFound>& found, bool colour) {
  const std::vector<Column> columns = {{.heading = "probe"},
                                       {.heading = "runs differ by", .to_the_right = true},
                                       {.heading = "df", .to_the_right = true},
                                       {.heading = "over", .to_the_right = true},
                                       {.heading = "one run a side tells", .to_the_right = true},
                                       {.heading = "B against A, 95 %", .to_the_right = true},
                                       {.heading = "cases", .to_the_right = true},
                                       {.heading = "most of all"}};
  std::vector<Row> rows;
  for (const SpreadFound& one : found) {
    Row row = {.cells = {{Clean(one.row.probe)},
                         {Percent(one.row.sigma)},
                         {fmt::format("{:.3g}", one.row.df)},
                         {fmt::format("{:.3g} min", one.row.span_minutes.value_or(0))},
                         {"± " + Percent(ResolutionOf(one.row))},
                         {one.a_to_b.interval ? RangeText(*one.a_to_b.interval) : "-"},
                         {fmt::format("{}", one.cases)},
                         {Clean(one.widest)}}};
    if (one.IsDrifting()) {
      row.sentence = fmt::format(
          "this machine drifts: {} of {} pairs of three runs and the next three differ though they "
          "are one program; measure in sets over days (assay noise --add), and compare runs taken "
          "in turn",
          one.differing, one.neighbours);
      // Both halves are runs of this program, in turn, so they should not differ.
    } else if (one.a_to_b.interval && Judge(*one.a_to_b.interval, 0) != Verdict::kUnclear) {
      row.sentence =
          "A and B differ though they are one program: by chance, as one in twenty "
          "does, or since this machine drifts; measure over more time";
    }
    rows.push_back(std::move(row));
  }
  return TextOf(columns, rows, colour);
}

std::string RankingTable(const Ranking& ranking, bool colour, std::string_view today) {
  std::string text;
  for (const Side& side : ranking.sides) text += SideText(side, kGap, today);
  text += Lines("note: ", ranking.notes) + "equal ranks are statistically tied\n";
  const std::vector<Column> columns = {
      {.heading = "rank", .to_the_right = true},
      {.heading = "speed", .to_the_right = true},
      {.heading = "rank per USD", .to_the_right = true},
      {.heading = "$ per unit"},
      {.heading = "on"},
      {.heading = ranking.sides.front().group.empty() ? "file" : "group"}};
  for (const RankedCase& ranked : ranking.cases) {
    text += fmt::format("\n{} {}\n", Clean(ranked.probe),
                        Clean(CaseLabel(ranked.probe, ranked.params)));
    std::vector<Row> rows;
    for (const RankEntry& entry : ranked.entries) {
      const Side& side = ranking.sides[entry.side];
      rows.push_back({.cells = {{fmt::format("{}", entry.by_speed)},
                                {WithPrefix(entry.speed, ranked.unit)},
                                {entry.by_usd ? fmt::format("{}", *entry.by_usd) : "-"},
                                {entry.usd ? CostText({.label = ranked.cost_label,
                                                       .usd = *entry.usd,
                                                       .instead_of = side.price.instead_of})
                                           : "-"},
                                {Clean(entry.backend)},
                                {Clean(SideName(side))}},
                      .sentence = Clean(entry.note)});
    }
    text += TextOf(columns, rows, colour);
  }
  return text;
}

}  // namespace assay
