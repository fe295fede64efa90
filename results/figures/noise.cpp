#include "results/figures/noise.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "results/base/csv.h"
#include "results/base/embedded.h"
#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/text.h"
#include "results/figures/probes.h"
#include "results/figures/stats.h"

ASSAY_DECLARE_EMBEDDED(noise_csv);

namespace assay {
namespace {

constexpr std::int64_t kLargestFile = std::int64_t{1} << 20U;
constexpr double kMostSigma = 10;  // e^10 is a factor by which no two runs differ
constexpr double kMostDf = 1e6;
constexpr double kMostMinutes = 60 * 24 * 366;
constexpr std::string_view kUnknown = "unknown";
constexpr std::string_view kAny = "*";

double NumberUpTo(const CsvRow& row, const std::string& column, double most) {
  const std::optional<double> value = row.Number(column);
  if (!value) row.Fail(fmt::format("{} is empty", column));
  if (*value > most) row.Fail(fmt::format("{} is {:g}, which is above {:g}", column, *value, most));
  return *value;
}

Noise ReadRow(const CsvRow& row) {
  constexpr std::array<std::string_view, 3> kBetween = {"runs", "days", "nodes"};
  Noise noise = {.probe = row.Required("probe"),
                 .machine = row.Required("machine"),
                 .between = row.Required("between"),
                 .sigma = NumberUpTo(row, "sigma", kMostSigma),
                 .df = NumberUpTo(row, "df", kMostDf),
                 .is_measured = row.Boolean("measured"),
                 .how = row.Required("how"),
                 .date = row.Required("date")};
  if (std::ranges::find(kBetween, noise.between) == kBetween.end()) {
    row.Fail(fmt::format("between is '{}' and must be runs, days or nodes", noise.between));
  }
  if (noise.machine == kUnknown) {
    row.Fail("machine is 'unknown', which could be any; give an instance, a node_id or *");
  }
  if (noise.df < 1) row.Fail(fmt::format("df is {:g} and must be 1 or more", noise.df));
  if (noise.is_measured) {
    noise.span_minutes = NumberUpTo(row, "span_minutes", kMostMinutes);
  } else if (noise.df != 1 || !row.Text("span_minutes").empty()) {
    row.Fail("what isn't measured has a df of 1 and no span_minutes");
  }
  return noise;
}

const std::vector<Noise>& BuiltIn() {
  static const std::vector<Noise> rows = ParseNoise(ASSAY_EMBEDDED(noise_csv), "noise.csv");
  return rows;
}

// The fit of a row to a probe: its own row before that of its class; 0 where it is of neither.
int ProbeFit(const Noise& row, const std::string& probe) {
  if (row.probe == probe) return 2;
  return row.probe == ToText(FindProbe(probe).probe_class) ? 1 : 0;
}

// The fit of a row to the type of a node: its instance before its accelerator before any machine; 0
// where it is of none of them.
int TypeFit(const Noise& row, const Node& node) {
  if (row.machine == node.identity.instance.value) return 3;
  const bool has_it = std::ranges::any_of(node.accelerators, [&](const Accelerator& accelerator) {
    return accelerator.present > 0 && row.machine == accelerator.name;
  });
  if (has_it) return 2;
  return row.machine == kAny ? 1 : 0;
}

// The quality of a row's fit: greater is better. Nothing where it doesn't fit.
using Fit = std::tuple<bool, int, int, bool, double>;
// The fit of a row to a probe on the machine of a run.
std::optional<Fit> FitOf(const Noise& row, const std::string& probe, const Run& run, bool is_own) {
  if (row.between != "runs") return std::nullopt;
  const int of_probe = ProbeFit(row, probe);
  int of_machine = row.machine == kAny ? 1 : 0;
  if (!run.nodes.empty()) {
    const Node& node = run.nodes.front();
    if (row.machine == node.identity.instance.value) of_machine = 2;
    if (row.machine == node.node_id) of_machine = 3;
  }
  if (of_probe == 0 || of_machine == 0) return std::nullopt;
  return Fit{row.is_measured, of_probe, of_machine, is_own, row.df};
}

}  // namespace

std::optional<double> SpanOf(const std::vector<std::optional<double>>& minutes) {
  if (minutes.empty() || !std::ranges::all_of(minutes, &std::optional<double>::has_value)) {
    return std::nullopt;
  }
  const auto [first, last] = std::ranges::minmax(minutes);
  return *last - *first;
}

bool IsWithinSpan(const Noise& row, std::optional<double> minutes) {
  return row.span_minutes && minutes && *minutes <= *row.span_minutes;
}

double DfWithin(const Noise& row, std::optional<double> minutes) {
  return std::min(row.df, IsWithinSpan(row, minutes) ? kMostNoiseDf : kDistantNoiseDf);
}

std::string MachineOf(const Run& run) {
  if (run.nodes.empty()) return "";
  const Node& node = run.nodes.front();
  const std::string& instance = node.identity.instance.value;
  return instance.empty() || instance == kUnknown ? node.node_id : instance;
}

std::vector<Noise> ParseNoise(std::string_view csv, const std::string& source) {
  std::vector<Noise> rows;
  const auto parsed = ParseCsv(csv, source);
  for (std::size_t i = 0; i < parsed.size(); ++i) {
    rows.push_back(ReadRow(CsvRow(parsed[i], source, i)));
  }
  return rows;
}

std::vector<Noise> ReadNoise(const std::string& path) {
  return ParseNoise(ReadText(path, kLargestFile, "a noise.csv that 'assay noise' wrote"),
                    Clean(path, 1024));
}

std::string NoiseToCsv(const std::vector<Noise>& rows) {
  std::string text = "probe,machine,between,sigma,df,span_minutes,measured,how,date\n";
  for (const Noise& row : rows) {
    text += fmt::format("{},{},{},{},{},{},{},{},{}\n", CsvCell(row.probe), CsvCell(row.machine),
                        CsvCell(row.between), row.sigma, row.df,
                        row.span_minutes ? fmt::format("{}", *row.span_minutes) : "",
                        row.is_measured, CsvCell(row.how), CsvCell(row.date));
  }
  return text;
}

Noise FittingNoise(const std::vector<Noise>& own, const std::string& probe, const Run& run) {
  std::optional<Fit> best_fit;
  Noise best;
  for (const std::vector<Noise>* rows : {&own, &BuiltIn()}) {
    for (const Noise& row : *rows) {
      const std::optional<Fit> fit = FitOf(row, probe, run, rows == &own);
      if (!fit || (best_fit && *fit <= *best_fit)) continue;
      best_fit = fit;
      best = row;
    }
  }
  return best;
}

std::vector<Noise> FittingNodeRows(const std::vector<Noise>& own, const std::string& probe,
                                   const std::vector<const Run*>& runs) {
  // The fit to the probe and to the types of all nodes, and whether it is an own row.
  std::tuple<int, int, bool> best_fit = {};
  std::vector<Noise> best;
  for (const std::vector<Noise>* rows : {&own, &BuiltIn()}) {
    for (const Noise& row : *rows) {
      if (row.between != "nodes" || !row.is_measured) continue;
      const int of_probe = ProbeFit(row, probe);
      int of_type = 3;
      for (const Run* run : runs) {
        if (run->nodes.empty()) of_type = std::min(of_type, row.machine == kAny ? 1 : 0);
        for (const Node& node : run->nodes) of_type = std::min(of_type, TypeFit(row, node));
      }
      if (of_probe == 0 || of_type == 0) continue;
      const std::tuple fit = {of_probe, of_type, rows == &own};
      if (fit < best_fit) continue;
      if (fit > best_fit) best.clear();
      best_fit = fit;
      best.push_back(row);
    }
  }
  return best;
}

std::vector<Noise> FittingNodeRows(const std::vector<Noise>& own, const std::string& probe,
                                   const Node& node) {
  const Run of_type = {.nodes = {node}};
  return FittingNodeRows(own, probe, {&of_type});
}

double ResolutionOf(const Noise& noise) {
  // One row stands for both sides, so that its degrees of freedom count once.
  return std::expm1(StudentT(0.95, std::min(noise.df, kMostNoiseDf)) * std::sqrt(2.0) *
                    noise.sigma);
}

std::string ToText(const Noise& noise) {
  std::string how = noise.how;
  if (noise.span_minutes) how += fmt::format(" over {:.0f} min", *noise.span_minutes);
  if (noise.is_measured) how += ", " + noise.date;
  return fmt::format("{} {:.3g} % ({})", noise.probe, noise.sigma * 100, how);
}

}  // namespace assay
