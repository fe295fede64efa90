#include "runner/program/nccl_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "results/base/csv.h"
#include "results/base/dtype.h"
#include "results/base/text.h"
#include "results/figures/figures.h"
#include "results/figures/groups.h"
#include "results/figures/histogram.h"
#include "results/figures/probes.h"
#include "results/figures/stats.h"
#include "results/file/json.h"

namespace assay {
namespace {

const Histogram* LatenciesOf(const Record& record) {
  const auto found = record.histograms.find("latency_s");
  return found == record.histograms.end() ? nullptr : &found->second;
}

std::optional<double> Percentile99(const Record& record) {
  const Histogram* latencies = LatenciesOf(record);
  return latencies == nullptr ? std::nullopt : LatencyPercentile(*latencies, 0.99);
}

std::optional<double> Percentile50(const Record& record) {
  const Histogram* latencies = LatenciesOf(record);
  return latencies == nullptr ? std::nullopt : LatencyPercentile(*latencies, 0.5);
}

std::optional<LatencySummary> LatencySummaryOf(const Record& record) {
  const Histogram* latencies = LatenciesOf(record);
  return latencies == nullptr ? std::nullopt : SummaryOf(*latencies);
}

// A number in at most `width` characters, with as many decimals as there is room for, up to two.
std::string Number(double value, int width) {
  for (const int decimals : {2, 1, 0}) {
    std::string text = fmt::format("{:{}.{}f}", value, width, decimals);
    if (text.size() <= static_cast<std::size_t>(width)) return text;
  }
  return fmt::format("{:{}.{}e}", value, width, width >= 7 ? 1 : 0);
}

std::string Number(const std::optional<double>& value, int width) {
  return value ? Number(*value, width) : fmt::format("{:>{}}", "N/A", width);
}

// The text of a cell, or "-" where it has nothing to say, since scripts count cells.
std::string Cell(const std::optional<double>& value, int width) {
  return value ? Number(*value, width) : fmt::format("{:>{}}", "-", width);
}

std::string TextParam(const Record& record, const std::string& name, const std::string& absent) {
  const auto found = record.params.find(name);
  return found == record.params.end() ? absent : ToText(found->second);
}

std::int64_t IntegerParam(const Record& record, const std::string& name, std::int64_t absent) {
  const auto found = record.params.find(name);
  if (found == record.params.end()) return absent;
  const auto* value = std::get_if<std::int64_t>(&found->second);
  return value == nullptr ? absent : *value;
}

// The count column of nccl-tests: the elements of a rank's own part, rounded down to 16 bytes,
// where the size is shared out.
std::int64_t CountOf(const Record& record, std::int64_t element_bytes) {
  if (element_bytes == 0) return 0;
  const std::int64_t count = IntegerParam(record, "bytes", 0) / element_bytes;
  if (FindProbe(record.probe).bus_factor != BusFactor::kParts) return count;
  const std::int64_t ranks = std::max<std::int64_t>(1, IntegerParam(record, "ranks", 1));
  return (count / ranks) & ~(16 / element_bytes - 1);
}

struct Preamble {
  std::int64_t bytes = 0;
  std::int64_t count = 0;
  std::string type = "none";
  std::string redop = "none";
  std::int64_t root = -1;
};

Preamble PreambleOf(const Record& record) {
  Preamble preamble;
  preamble.bytes = record.work.bytes.value_or(0);
  const std::string dtype = TextParam(record, "dtype", "none");
  const DtypeFacts* facts = FindDtype(dtype);
  if (facts != nullptr && !facts->nccl_tests.empty()) {
    preamble.type = facts->nccl_tests;
    preamble.count = CountOf(record, facts->bits / 8);
  }
  preamble.redop = TextParam(record, "redop", FindProbe(record.probe).nccl_redop);
  preamble.root = IntegerParam(record, "root", -1);
  return preamble;
}

std::int64_t IterationsOf(const Record& record) {
  std::int64_t iterations = 0;
  for (const Visit& visit : record.rounds) {
    iterations += visit.batch * static_cast<std::int64_t>(visit.time_s.size());
  }
  return iterations;
}

std::string JsonNumber(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? fmt::format("{}", *value) : "null";
}

// nccl-tests' JSON has its booleans as words.
std::string JsonWord(bool value) { return value ? "\"true\"" : "\"false\""; }

}  // namespace

std::string NcclTable::Head() const {
  const NcclOptions& o = options_;
  const auto number = [](const std::optional<std::int64_t>& value) {
    return value ? std::to_string(*value) : "adaptive";
  };
  std::string text = fmt::format("# {}\n", o.version);
  text += fmt::format("# Collective test starting: {}\n", o.program);
  text += fmt::format(
      "# nThread {} nGpus {} minBytes {} maxBytes {} step: {}({}) warmup iters: {} iters: {} agg "
      "iters: {} validation: {} graph: {} unalign: {}\n",
      o.threads, o.gpus, o.min_bytes, o.max_bytes, o.step, o.step_kind, number(o.warm_up),
      number(o.iterations), o.aggregated, o.check, o.graph, o.unalign);
  constexpr const char* kBlocking[] = {
      "wait and barrier after each inner iteration (-m)",
      "wait after each inner iteration (-m), no barrier",
      "wait and barrier after each outer iteration (-n); time excludes barrier"};
  if (o.blocking > 0) text += fmt::format("# Blocking Enabled: {} \n", kBlocking[o.blocking - 1]);
  if (o.skipped > 0) {
    text += fmt::format("# Per-Iteration Report: summary skips first {} iterations \n", o.skipped);
  }
  for (const std::string& note : o.notes) text += fmt::format("# {}\n", Clean(note, 400));
  text += "#\n# Using devices\n";
  for (std::size_t rank = 0; rank < o.ranks.size(); ++rank) {
    const NcclRank& one = o.ranks[rank];
    text += fmt::format("#  Rank {:2} Group {:2} Pid {:6} on {:>10} device {:2} [{}] {}\n", rank,
                        one.group, one.pid, Clean(one.host), one.device, one.device_id,
                        Clean(one.device_name));
  }
  text += "#\n";

  const char* time = o.cpu_time ? "cputime" : "time";
  const std::string blank =
      fmt::format("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}", "", "", "", "", "");
  const auto columns = [&](const auto& of_case, const auto& of_half, const auto& of_iteration,
                           const char* stamp, const auto& own) {
    std::string line = fmt::format("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}", of_case[0], of_case[1],
                                   of_case[2], of_case[3], of_case[4]);
    for (int half = 0; half < 2; ++half) {
      line += fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", of_half[0], of_half[1], of_half[2],
                          of_half[3]);
      if (!o.per_iteration) continue;
      for (const char* label : of_iteration) line += fmt::format("  {:>7}", label);
    }
    line += fmt::format(" {:>{}}", o.timestamps ? stamp : "", o.timestamps ? 19 : 0);
    if (o.own_columns) {
      line += fmt::format(" {:>8}  {:>8}  {:>6}  {:>16}  {:>6}  {:>5}  {:>9}", own[0], own[1],
                          own[2], own[3], own[4], own[5], own[6]);
    }
    return line + "\n";
  };
  using Words = std::vector<const char*>;
  text += blank + (o.per_iteration
                       ? "              out-of-place (+ per-iteration)                            "
                         "    in-place (+ per-iteration)\n"
                       : "           out-of-place                       in-place          \n");
  text +=
      columns(Words{"size", "count", "type", "redop", "root"},
              Words{time, "algbw", "busbw", "#wrong"}, Words{"i_min", "i_max", "i_p99", "i_cv%"},
              "timestamp", Words{"p50", "p99", "cv%", "slowest", "wire", "%spec", "$/TB"});
  text += columns(Words{"(B)", "(elements)", "", "", ""}, Words{"(us)", "(GB/s)", "(GB/s)", ""},
                  Words{"(us)", "(us)", "(us)", "(%)"}, "%Y-%m-%d %H:%M:%S",
                  Words{"(us)", "(us)", "(%)", "(rank@host)", "(GB/s)", "(%)", "(USD)"});
  return text;
}

NcclTable::Half NcclTable::HalfOf(const Record* record) const {
  Half half;
  if (record == nullptr) return half;
  half.time_s = UsualTime(*record);
  if (half.time_s && options_.average) {
    std::vector<double> of_rank;
    for (std::size_t rank = 0; rank < record->rounds.front().unit_p50_s.size(); ++rank) {
      std::vector<double> times;
      for (const Visit& visit : record->rounds) {
        if (rank < visit.unit_p50_s.size()) times.push_back(visit.unit_p50_s[rank]);
      }
      of_rank.push_back(Median(times));
    }
    if (!of_rank.empty()) {
      switch (*options_.average) {
        case 0:
          half.time_s = of_rank.front();
          break;
        case 1:
          half.time_s = Mean(of_rank);
          break;
        case 2:
          half.time_s = *std::min_element(of_rank.begin(), of_rank.end());
          break;
        default:
          half.time_s = *std::max_element(of_rank.begin(), of_rank.end());
      }
    }
  }
  if (half.time_s && *half.time_s > 0 && record->work.bytes) {
    const auto factor =
        FactorOf(FindProbe(record->probe).bus_factor, IntegerParam(*record, "ranks", 0));
    half.algbw = static_cast<double>(*record->work.bytes) / *half.time_s;
    if (factor) half.busbw = *half.algbw * *factor;
  }
  const bool was_checked = record->verify && record->verify->checked > 0;
  if (was_checked && (options_.check > 0 || record->verify->wrong > 0)) {
    half.wrong = record->verify->wrong;
  }
  return half;
}

std::string NcclTable::HalfText(const Record* record) const {
  const auto scaled = [](std::optional<double> value, double scale) {
    if (value) *value *= scale;
    return value;
  };
  const Half half = HalfOf(record);
  std::string text =
      fmt::format("  {}  {}  {}", Number(scaled(half.time_s, 1e6), 7),
                  Number(scaled(half.algbw, 1e-9), 6), Number(scaled(half.busbw, 1e-9), 6));
  text += half.wrong ? fmt::format("  {:6g}", static_cast<double>(*half.wrong)) : "     N/A";
  if (!options_.per_iteration) return text;
  const auto summary = record == nullptr ? std::nullopt : LatencySummaryOf(*record);
  if (!summary) return text + fmt::format("  {0:>7}  {0:>7}  {0:>7}  {0:>7}", "N/A");
  return text + fmt::format("  {}  {}  {}  {}", Number(summary->min_s * 1e6, 7),
                            Number(summary->max_s * 1e6, 7),
                            Number(scaled(Percentile99(*record), 1e6), 7),
                            Number(100 * summary->deviation_s / summary->mean_s, 7));
}

std::vector<Cost> NcclTable::CostsOf(const Record& record) const {
  return options_.costs ? options_.costs(record) : std::vector<Cost>{};
}

// The text of our own columns. Each cell is one word, so that scripts which count columns from
// either end count right.
std::string NcclTable::OwnText(const Record& record) const {
  const auto scaled = [](std::optional<double> value, double scale) {
    if (value) *value *= scale;
    return value;
  };
  const std::optional<LatencySummary> summary = LatencySummaryOf(record);
  std::optional<double> cv;
  if (summary && summary->mean_s > 0) cv = 100 * summary->deviation_s / summary->mean_s;

  std::string slowest = "-";
  if (const auto found = record.facts.find("slowest_rank"); found != record.facts.end()) {
    if (const auto* rank = std::get_if<std::int64_t>(&found->second)) {
      const auto at = static_cast<std::size_t>(*rank);
      std::string host =
          *rank >= 0 && at < options_.ranks.size() ? Clean(options_.ranks[at].host, 24) : "?";
      std::replace(host.begin(), host.end(), ' ', '_');
      slowest = fmt::format("{}@{}", *rank, host);
      if (host != "?" && options_.ranks[at].device_id != "cpu") {
        slowest += fmt::format("({})", options_.ranks[at].device);
      }
    }
  }
  const std::optional<Wire> wire = WireRate(record);
  std::optional<double> gbs;
  std::optional<double> of_spec;
  if (wire) gbs = wire->bytes_per_s / 1e9;
  if (wire && wire->is_between_nodes && options_.link_gbs) {
    of_spec = 100 * *gbs / *options_.link_gbs;
  }
  std::string usd = "-";
  if (const std::vector<Cost> costs = CostsOf(record); !costs.empty()) {
    usd = fmt::format("{:.4g}{}", costs.front().usd, costs.front().instead_of ? "(on-demand)" : "");
  }
  return fmt::format("  {}  {}  {}  {:>16}  {}  {}  {:>9}",
                     Cell(scaled(Percentile50(record), 1e6), 8),
                     Cell(scaled(Percentile99(record), 1e6), 8), Cell(cv, 6), slowest, Cell(gbs, 6),
                     Cell(of_spec, 5), usd);
}

std::string NcclTable::Row(const Record* out_of_place, const Record* in_place,
                           const std::string& timestamp) {
  const Record& any = out_of_place != nullptr ? *out_of_place : *in_place;
  if (lines_.empty()) main_group_ = GroupOf(any);
  const bool is_main = GroupOf(any) == main_group_;
  Line line;
  if (out_of_place != nullptr) line.out_of_place = *out_of_place;
  if (in_place != nullptr) line.in_place = *in_place;
  lines_.push_back(std::move(line));
  const Preamble p = PreambleOf(any);
  std::string text;
  if (is_main && any.backend != std::exchange(backend_, any.backend)) {
    text = fmt::format("# backend {}\n", Clean(any.backend));
    transport_.clear();
  }
  const std::string transport = TransportOf(any);
  if (is_main && !transport.empty() && transport != transport_) {
    text += fmt::format("#  transport {}\n", Clean(transport, 1024));
    transport_ = transport;
  }
  // The sign of a comment takes the place of a blank, so that columns stand under each other.
  text += fmt::format("{}{:{}}  {:12}  {:>8}  {:>6}  {:6}", is_main ? "" : "#", p.bytes,
                      is_main ? 12 : 11, p.count, p.type, p.redop, p.root);
  text += HalfText(out_of_place) + HalfText(in_place);
  if (options_.timestamps) text += fmt::format("{:>21}", timestamp);
  if (options_.own_columns) {
    const bool out = out_of_place != nullptr && !out_of_place->rounds.empty();
    text += OwnText(out || in_place == nullptr ? any : *in_place);
  }
  text += "\n";
  for (const Record* record : {out_of_place, in_place}) {
    if (record == nullptr) continue;
    if (record->verify && record->verify->wrong > 0) ++wrong_;
    if (record->reason.empty()) continue;
    text += fmt::format("# {} {}: {}: {}{}\n", p.bytes, TextParam(*record, "placement", "bytes"),
                        ToText(record->status), Clean(record->reason, 1024),
                        record->remedy.empty() ? "" : "; try: " + Clean(record->remedy));
  }
  return text;
}

NcclTable NcclTable::Scrubbed(const Privacy& privacy,
                              std::function<std::vector<Cost>(const Record& record)> costs) const {
  NcclTable scrubbed = *this;
  scrubbed.options_.costs = std::move(costs);
  for (std::string& note : scrubbed.options_.notes) note = ScrubText(note, privacy);
  for (NcclRank& rank : scrubbed.options_.ranks) {
    for (std::string* text : {&rank.host, &rank.device_id, &rank.device_name}) {
      *text = ScrubText(*text, privacy);
    }
  }
  for (Line& line : scrubbed.lines_) {
    if (line.out_of_place) ApplyPrivacy(*line.out_of_place, privacy);
    if (line.in_place) ApplyPrivacy(*line.in_place, privacy);
  }
  return scrubbed;
}

std::optional<double> NcclTable::AverageBus() const {
  std::vector<double> all;
  for (const Line& line : lines_) {
    for (const std::optional<Record>* record : {&line.out_of_place, &line.in_place}) {
      if (*record && GroupOf(**record) != main_group_) continue;
      const Half half = HalfOf(*record ? &**record : nullptr);
      if (half.busbw) all.push_back(*half.busbw / 1e9);
    }
  }
  if (all.empty()) return std::nullopt;
  return Mean(all);
}

std::string NcclTable::GroupHead(std::int64_t group) const {
  std::string ranks;
  for (std::size_t rank = 0; rank < options_.ranks.size(); ++rank) {
    if (options_.ranks[rank].group == group) ranks += fmt::format(" {}", rank);
  }
  return fmt::format("#\n# Group {:2}, at the same time: ranks{}\n", group, ranks);
}

bool NcclTable::WasChecked() const {
  return std::ranges::any_of(lines_, [](const Line& line) {
    const auto was = [](const std::optional<Record>& record) {
      return record && record->verify && record->verify->checked > 0;
    };
    return was(line.out_of_place) || was(line.in_place);
  });
}

bool NcclTable::MeetsMinimum() const {
  return !options_.min_bus_gbs || AverageBus().value_or(0) >= 0.9 * *options_.min_bus_gbs;
}

std::string NcclTable::Foot() const {
  std::string text = fmt::format("# {:<20} : {} {}\n", "Out of bounds values", wrong_,
                                 wrong_ > 0     ? "FAILED"
                                 : WasChecked() ? "OK"
                                                : "unchecked");
  text += fmt::format("# {:<20} : {:g} {}\n", "Avg bus bandwidth", AverageBus().value_or(0),
                      !options_.min_bus_gbs ? ""
                      : MeetsMinimum()      ? "OK"
                                            : "FAILED");
  return text + fmt::format("#\n# Collective test concluded: {}\n#\n\n", options_.program);
}

std::string NcclTable::Csv() const {
  std::string text =
      "size_bytes,count,type,redop,root,placement,backend,mode,status,time_us,algbw_gbs,busbw_gbs,"
      "wrong,p50_us,p99_us,cv_pct,slowest_rank,wire_gbs,wire_model,usd_per_tb,group,instead_of,"
      "device_kind\r\n";
  const auto cell = [](const std::optional<double>& value, double scale) {
    return value ? fmt::format("{}", *value * scale) : std::string();
  };
  for (const Line& line : lines_) {
    for (const std::optional<Record>* held : {&line.out_of_place, &line.in_place}) {
      if (!*held) continue;
      const Record& record = **held;
      const Preamble p = PreambleOf(record);
      const Half half = HalfOf(&record);
      const auto summary = LatencySummaryOf(record);
      const auto wire = WireRate(record);
      const auto slowest = record.facts.find("slowest_rank");
      const auto* rank =
          slowest == record.facts.end() ? nullptr : std::get_if<std::int64_t>(&slowest->second);
      const std::vector<Cost> costs = CostsOf(record);
      text += fmt::format(
          "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\r\n", p.bytes,
          p.count, p.type, CsvCell(p.redop), p.root, CsvCell(TextParam(record, "placement", "")),
          CsvCell(record.backend), CsvCell(TextParam(record, "mode", "")), ToText(record.status),
          cell(half.time_s, 1e6), cell(half.algbw, 1e-9), cell(half.busbw, 1e-9),
          half.wrong ? std::to_string(*half.wrong) : "", cell(Percentile50(record), 1e6),
          cell(Percentile99(record), 1e6),
          summary && summary->mean_s > 0
              ? fmt::format("{}", 100 * summary->deviation_s / summary->mean_s)
              : "",
          rank == nullptr ? "" : std::to_string(*rank),
          wire ? fmt::format("{}", wire->bytes_per_s / 1e9) : "", wire ? CsvCell(wire->model) : "",
          costs.empty() ? "" : fmt::format("{}", costs.front().usd), GroupOf(record),
          costs.empty() ? "" : CsvCell(costs.front().instead_of.value_or("")),
          CsvCell(record.device.kind));
    }
  }
  return text;
}

std::string NcclTable::HalfJson(const Record& record) const {
  const Half half = HalfOf(&record);
  const auto scaled = [](std::optional<double> value, double scale) {
    if (value) *value *= scale;
    return JsonNumber(value);
  };
  std::string text = fmt::format(R"({{"{}":{},"alg_bw":{},"bus_bw":{},"nwrong":{}}})",
                                 options_.cpu_time ? "cpu_time" : "time", scaled(half.time_s, 1e6),
                                 scaled(half.algbw, 1e-9), scaled(half.busbw, 1e-9),
                                 half.wrong ? std::to_string(*half.wrong) : "null");
  return text;
}

std::string NcclTable::Json(const std::string& ended) const {
  const NcclOptions& o = options_;
  std::string text = fmt::format(
      R"({{"version":3,"start_time":{},"args":[{}],"env":[],"nccl_version":null,"config":{{)",
      JsonText(o.started), JsonText(o.program));
  text += fmt::format(
      R"("nthreads":{},"ngpus":{},"minimum_bytes":{},"maximum_bytes":{},"step_{}":{},)"
      R"("warmup_iters":{},"iterations":{},"aggregated_iterations":{},"validation":{},"graph":{},)"
      R"("blocking_collectives":{},"per_iter_timing":{},"per_iter_skip":{},"parallel_init":"false",)",
      o.threads, o.gpus, o.min_bytes, o.max_bytes, o.step_kind, o.step,
      o.warm_up ? std::to_string(*o.warm_up) : "null",
      o.iterations ? std::to_string(*o.iterations) : "null", o.aggregated, o.check, o.graph,
      JsonWord(o.blocking != 0), JsonWord(o.per_iteration), o.skipped);
  text += "\"devices\":[";
  for (std::size_t rank = 0; rank < o.ranks.size(); ++rank) {
    const NcclRank& one = o.ranks[rank];
    text += fmt::format(
        R"({}{{"rank":{},"group":{},"pid":{},"hostname":{},"device":{},"device_hex":{},"device_info":{}}})",
        rank == 0 ? "" : ",", rank, one.group, one.pid,
        JsonText(o.keep_ids ? one.host : fmt::format("node{}", one.node)), one.device,
        JsonText(one.device_id), JsonText(one.device_name));
  }
  text += "]},\"results\":[";
  std::vector<std::string> errors;
  bool is_first = true;
  for (const Line& line : lines_) {
    const Record& any = line.out_of_place ? *line.out_of_place : *line.in_place;
    if (GroupOf(any) != main_group_) continue;
    const Preamble p = PreambleOf(any);
    text += fmt::format(R"({}{{"size":{},"count":{},"type":{},"redop":{},"root":"{:6}")",
                        std::exchange(is_first, false) ? "" : ",", p.bytes, p.count,
                        JsonText(p.type), JsonText(p.redop), p.root);
    for (const auto& [name, held] :
         {std::pair("out_of_place", &line.out_of_place), std::pair("in_place", &line.in_place)}) {
      text += fmt::format(",\"{}\":{}", name, *held ? HalfJson(**held) : "null");
      const auto summary = *held ? LatencySummaryOf(**held) : std::nullopt;
      if (*held && !(*held)->reason.empty()) errors.push_back((*held)->reason);
      if (!o.per_iteration || !summary) continue;
      const Histogram& latencies = *LatenciesOf(**held);
      text += fmt::format(
          R"(,"{}_per_iter":{{"skipped_iterations":{},"min_us":{},"max_us":{},"avg_us":{},"p50_us":{},)"
          R"("p95_us":{},"p99_us":{},"stdev_us":{},"cv_pct":{}}})",
          name, o.skipped, summary->min_s * 1e6, summary->max_s * 1e6, summary->mean_s * 1e6,
          *LatencyPercentile(latencies, 0.5) * 1e6, *LatencyPercentile(latencies, 0.95) * 1e6,
          *LatencyPercentile(latencies, 0.99) * 1e6, summary->deviation_s * 1e6,
          100 * summary->deviation_s / summary->mean_s);
    }
    text += fmt::format(R"(,"actual_iterations":{},"experiment_name":""}})", IterationsOf(any));
  }
  text += fmt::format(
      R"(],"out_of_bounds":{{"count":{},"okay":{}}},"average_bus_bandwidth":{{"bandwidth":{},"okay":{}}},"errors":[)",
      wrong_, wrong_ == 0 && !WasChecked() ? "\"unchecked\"" : JsonWord(wrong_ == 0),
      JsonNumber(AverageBus()), o.min_bus_gbs ? JsonWord(MeetsMinimum()) : "\"unchecked\"");
  for (std::size_t i = 0; i < errors.size(); ++i) {
    text += (i == 0 ? "" : ",") + JsonText(errors[i]);
  }
  return text + fmt::format("],\"end_time\":{}}}\n", JsonText(ended));
}

}  // namespace assay
