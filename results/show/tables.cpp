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
#include "results/show/notes.h"

namespace assay {
namespace {

enum class Ink { kPlain, kGood, kBad, kDim };

// One cell, which is padded by what it shows and coloured after that.
struct Cell {
  std::string text = {};
  Ink ink = Ink::kPlain;
};

struct Column {
  std::string heading = {};
  bool to_the_right = false;
};

struct Row {
  std::vector<Cell> cells = {};
  // A sentence, which takes the place of missing cells, or else a separate line under the second
  // cell.
  std::string sentence = {};
  Ink ink = Ink::kPlain;
};

constexpr std::size_t kGap = 2;
constexpr std::size_t kLineWidth = 110;

std::string Inked(const std::string& text, Ink ink, bool colour) {
  if (!colour || ink == Ink::kPlain || text.empty()) return text;
  const char* code = ink == Ink::kGood ? "32" : ink == Ink::kBad ? "31" : "2";
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

std::string Padded(const Cell& cell, std::size_t width, bool to_the_right, bool colour) {
  const std::size_t shown = DisplayWidth(cell.text);
  const std::string space(width > shown ? width - shown : 0, ' ');
  const std::string text = Inked(cell.text, cell.ink, colour);
  return to_the_right ? space + text : text + space;
}

// Wraps a sentence to lines of at most `width`, all but the first indented.
std::string Wrapped(const std::string& sentence, std::size_t width, std::size_t indent) {
  std::string text;
  std::size_t used = 0;
  std::size_t begin = 0;
  while (begin < sentence.size()) {
    const std::size_t end = std::min(sentence.find(' ', begin), sentence.size());
    const std::string word = sentence.substr(begin, end - begin);
    const std::size_t word_width = DisplayWidth(word);
    if (used > 0 && used + 1 + word_width > width) {
      text += '\n' + std::string(indent, ' ');
      used = 0;
    } else if (used > 0) {
      text += ' ';
      ++used;
    }
    text += word;
    used += word_width;
    begin = end + 1;
  }
  return text;
}

std::vector<std::size_t> WidthsOf(const std::vector<Column>& columns,
                                  const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const Column& column : columns) widths.push_back(DisplayWidth(column.heading));
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row.cells[i].text));
    }
  }
  return widths;
}

std::string LineOf(const std::vector<Column>& columns, const std::vector<std::size_t>& widths,
                   const Row& row, bool colour) {
  std::string line(kGap, ' ');
  std::size_t at = kGap;
  for (std::size_t i = 0; i < row.cells.size(); ++i) {
    line += Padded(row.cells[i], widths[i], columns[i].to_the_right, colour);
    line += std::string(kGap, ' ');
    at += std::max(widths[i], DisplayWidth(row.cells[i].text)) + kGap;
  }
  if (row.cells.size() == columns.size() && !row.sentence.empty()) {
    at = kGap + std::max(widths[0], DisplayWidth(row.cells[0].text)) + kGap;
    while (line.back() == ' ') line.pop_back();
    line += '\n' + std::string(at, ' ');
  }
  const std::size_t room = std::max<std::size_t>(40, kLineWidth - std::min(at, kLineWidth));
  line += Inked(Wrapped(row.sentence, room, at), row.ink, colour);
  while (line.back() == ' ') line.pop_back();
  return line + '\n';
}

std::string TextOf(const std::vector<Column>& columns, const std::vector<Row>& rows, bool colour) {
  const std::vector<std::size_t> widths = WidthsOf(columns, rows);
  Row heading;
  for (const Column& column : columns) heading.cells.push_back({column.heading, Ink::kDim});
  std::string text = LineOf(columns, widths, heading, colour);
  for (const Row& row : rows) text += LineOf(columns, widths, row, colour);
  return text;
}

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

std::string Lines(const std::string& before, const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) {
    text +=
        before + Wrapped(Clean(sentence, 4096), kLineWidth - before.size(), before.size()) + '\n';
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
    if (row.is_primary) primary.push_back(row.probe + ' ' + CaseLabel(row.probe, row.params));
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

}  // namespace

// Counts two columns for East Asian wide characters and emoji, and none for combining marks
// (Unicode Standard Annex 11; the blocks that matter). Invalid bytes, which Clean removes, count
// one.
std::size_t DisplayWidth(std::string_view text) {
  struct Range {
    char32_t first = 0;
    char32_t last = 0;
  };
  constexpr std::array<Range, 9> kWide = {{{0x1100, 0x115F},
                                           {0x2E80, 0x303E},
                                           {0x3041, 0xA4CF},
                                           {0xAC00, 0xD7A3},
                                           {0xF900, 0xFAFF},
                                           {0xFE30, 0xFE6F},
                                           {0xFF00, 0xFF60},
                                           {0x1F300, 0x1FAFF},
                                           {0x20000, 0x3FFFD}}};
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t code = size == 1 ? lead : lead & (0x7FU >> size);
    for (std::size_t j = 1; j < size && i + j < text.size(); ++j) {
      code = code << 6U | (static_cast<unsigned char>(text[i + j]) & 0x3FU);
    }
    const bool combining = 0x300 <= code && code <= 0x36F;
    const bool wide = std::any_of(kWide.begin(), kWide.end(), [&](const Range& range) {
      return range.first <= code && code <= range.last;
    });
    width += combining ? 0 : wide ? 2 : 1;
    i += size;
  }
  return width;
}

namespace {

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
  std::string text =
      fmt::format("{}{}{}{}", kBaseline, SideText(comparison.baseline, kBaseline.size(), today),
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
    if (nodes.empty()) AddNote(shown.sentence, row.between_nodes);
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
                                       {.heading = "B against A, 95 %", .to_the_right = true},
                                       {.heading = "cases", .to_the_right = true},
                                       {.heading = "most of all"}};
  std::vector<Row> rows;
  for (const SpreadFound& one : found) {
    Row row = {.cells = {{Clean(one.row.probe)},
                         {Percent(one.row.sigma)},
                         {fmt::format("{:g}", one.row.df)},
                         {fmt::format("{:.3g} min", one.row.span_minutes.value_or(0))},
                         {one.a_to_b.interval ? RangeText(*one.a_to_b.interval) : "-"},
                         {fmt::format("{}", one.cases)},
                         {Clean(one.widest)}}};
    // Both halves are runs of this program, in turn, so they should not differ.
    if (one.a_to_b.interval && Judge(*one.a_to_b.interval, 0) != Verdict::kUnclear) {
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
  const std::vector<Column> columns = {{.heading = "rank", .to_the_right = true},
                                       {.heading = "speed", .to_the_right = true},
                                       {.heading = "rank per USD", .to_the_right = true},
                                       {.heading = "$ per unit"},
                                       {.heading = "on"},
                                       {.heading = "file"}};
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
                                {side.names.empty() ? "-" : Clean(side.names.front())}},
                      .sentence = Clean(entry.note)});
    }
    text += TextOf(columns, rows, colour);
  }
  return text;
}

}  // namespace assay
