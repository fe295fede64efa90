#include "runner/program/coll_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/catalog/price.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/groups.h"
#include "results/file/run.h"
#include "results/show/notes.h"
#include "runner/cluster/cluster.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"
#include "runner/program/coll_plan.h"
#include "runner/program/measure.h"
#include "runner/program/nccl_table.h"
#include "version.h"

namespace assay {
namespace {

bool IsInPlace(const Params& params) {
  const auto found = params.find("placement");
  return found != params.end() && ToText(found->second) == "in_place";
}

bool AreOneRow(const Record& a, const Record& b) {
  Params of_a = a.params;
  Params of_b = b.params;
  of_a.erase("placement");
  of_b.erase("placement");
  return a.backend == b.backend && of_a == of_b;
}

// The rate of a rank's share of its node's network in GB/s, where the facts of the instance tell
// it.
std::optional<double> LinkGbs(const InstanceFacts* type, double ranks_per_node) {
  if (type == nullptr || !type->network_gbps) return std::nullopt;
  return *type->network_gbps / 8 / ranks_per_node;
}

}  // namespace

std::string LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  localtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts)};
}

void RowPrinter::Add(const Record& record) {
  Pending& row = rows_[GroupOf(record)];
  const Record* held = row.out_of_place ? &*row.out_of_place
                       : row.in_place   ? &*row.in_place
                                        : nullptr;
  if (held != nullptr && (row.in_place || !IsInPlace(record.params) || !AreOneRow(*held, record))) {
    Flush(row);
  }
  (IsInPlace(record.params) ? row.in_place : row.out_of_place) = record;
  if (IsInPlace(record.params) || !record.params.contains("placement")) Flush(row);
}

void RowPrinter::Finish() {
  for (auto& [group, row] : rows_) Flush(row);
  for (const auto& [group, text] : others_) {
    if (prints_) console_.Result(table_.GroupHead(group) + text);
  }
}

void RowPrinter::Flush(Pending& row) {
  if (!row.out_of_place && !row.in_place) return;
  const std::int64_t group = GroupOf(row.out_of_place ? *row.out_of_place : *row.in_place);
  const std::string text = table_.Row(row.out_of_place ? &*row.out_of_place : nullptr,
                                      row.in_place ? &*row.in_place : nullptr, LocalTime()) +
                           StandingText(row);
  if (!first_group_) first_group_ = group;
  if (group != *first_group_) {
    others_[group] += text;
  } else if (prints_) {
    console_.Result(text);
  }
  row = {};
}

std::string RowPrinter::StandingText(const Pending& row) const {
  std::string text;
  for (const std::optional<Record>* record : {&row.out_of_place, &row.in_place}) {
    if (!*record) continue;
    const std::string standing = assay::StandingText(Assess(type_, **record));
    if (!standing.empty()) text += fmt::format("# {}\n", Clean(standing, 1024));
  }
  return text;
}

NcclOptions PlanLook(const CollOptions& options, const CollPlan& plan, const Probe& probe,
                     const std::map<std::string, std::string>& environment) {
  const std::vector<std::int64_t> sizes =
      probe.defaults.contains("bytes") ? ListSizes(options) : std::vector<std::int64_t>{0};
  const Params& first = plan.questions.front().params;
  const bool multiplies = options.stepfactor.value_or(1) > 1;
  NcclOptions look = {
      .program = options.program.empty() ? options.operation + "_perf" : options.program,
      .version = fmt::format("assay {} (columns of nccl-tests 2.19.6)", ASSAY_VERSION),
      .threads = options.nthreads,
      .gpus = options.ngpus,
      .min_bytes = sizes.front(),
      .max_bytes = IsLadder(options) ? options.maxbytes.value_or(kUsualBytes) : sizes.back(),
      .step = multiplies ? *options.stepfactor : options.stepbytes.value_or(kUsualStep),
      .step_kind = multiplies ? "factor" : "bytes",
      .aggregated = options.agg_iters,
      .check = options.verify == "none" ? 0 : options.check,
      .graph = options.cudagraph,
      .unalign = options.unalign,
      .blocking = options.blocking == 3 && options.cudagraph > 0 ? 0 : options.blocking.value_or(0),
      .average = options.average,
      .cpu_time = options.report_cputime != 0,
      .timestamps = options.report_timestamps != 0,
      .per_iteration = options.per_iter_timing != 0 && options.cudagraph == 0,
      .skipped = SkippedOperations(options),
      .keep_ids = options.run.keep_ids,
      .own_columns = options.run.format != OutputFormat::kNccl,
      .notes = plan.notes,
      .started = LocalTime()};
  if (!IsLadder(options)) {
    look.step = options.sizes.empty() ? 4 : static_cast<std::int64_t>(sizes.size());
    look.step_kind = options.sizes.empty() ? "factor" : "list";
  }
  if (!WereStarted(options) && !AreInThreads(options)) {
    look.notes.push_back(fmt::format("no launcher: assay starts {} on this host (--ranks)",
                                     CountText(IntegerOf(first, "ranks"), "rank")));
  }
  std::string time = "median over rounds of the slowest rank's time";
  if (look.average) time = "-a of all ranks' own medians";
  if (plan.exact) {
    look.warm_up = plan.engine.fixed->warm_up;
    look.iterations = options.iters.value_or(20);
    look.average = options.average.value_or(1);
    constexpr const char* kOf[] = {"rank 0's", "the mean of all ranks'", "the least of all ranks'",
                                   "the most of all ranks'"};
    time = fmt::format("{} mean time", kOf[*look.average]);
  }
  look.notes.push_back(fmt::format(
      "mode {}, cache {}; time: {}; p50, p99, cv%: of single operations, the slowest rank of each",
      options.mode == "both" ? "throughput, then latency" : ToText(first.at("mode")),
      first.contains("cache") ? ToText(first.at("cache")) : "none", time));
  if (const auto minimum = environment.find("NCCL_TESTS_MIN_BW"); minimum != environment.end()) {
    look.min_bus_gbs = std::strtod(minimum->second.c_str(), nullptr);
  }
  return look;
}

const Case& CaseToDescribe(const std::vector<Case>& cases) {
  if (cases.front().across.value().on_devices) return cases.front();
  const auto by_mpi =
      std::ranges::find_if(cases, [](const Case& one) { return one.across.value().by_mpi; });
  return by_mpi == cases.end() ? cases.front() : *by_mpi;
}

void Complete(NcclOptions& look, const Run& run, const Chosen& price, Cluster& cluster,
              const std::vector<Case>& cases, const Params& params, const std::vector<int>& groups,
              const Catalog& catalog) {
  const InstanceFacts* const type = TypeOf(run, catalog.instances);
  const std::int64_t ranks = IntegerOf(params, "ranks");
  look.notes.push_back(PriceLine(price, run.nodes, Today()));
  look.costs = [run, price, type](const Record& record) {
    return CostsAt(run, record, price, type);
  };
  look.link_gbs =
      LinkGbs(type, static_cast<double>(ranks) / static_cast<double>(IntegerOf(params, "nodes")));
  try {
    for (const Whereabouts& one : cluster.AskWhereabouts(CaseToDescribe(cases))) {
      look.ranks.push_back(
          {.pid = one.pid,
           .host = one.host,
           .node = one.node,
           .group = groups.empty() ? 0 : groups[look.ranks.size()],
           .device = one.processor,
           .device_id = "cpu",
           .device_name = run.nodes.at(static_cast<std::size_t>(one.node)).cpu.model});
      if (!one.device) continue;
      look.ranks.back().device = one.device->index;
      look.ranks.back().device_id = one.device->id;
      look.ranks.back().device_name = one.device->name;
    }
  } catch (const Error& error) {
    look.notes.push_back(error.what());  // each row will say so, too
  }
}

std::string GroupsText(const std::string& what, const std::vector<Record>& records) {
  std::string text = fmt::format("# {}, at once:\n", what);
  for (const Record& record : records) {
    std::vector<int> ranks;
    for (const Unit& unit : record.units) ranks.push_back(unit.rank);
    const std::optional<double> time = UsualTime(record);
    const std::optional<double> bus = BusBandwidth(record);
    const std::optional<Interval> interval = SpeedInterval(record);
    const std::optional<Rate> speed = bus ? Rate{.value = *bus, .unit = "B/s"} : Speed(record);
    std::string outcome = fmt::format("{}: {}", ToText(record.status), Clean(record.reason, 400));
    if (time) {
      outcome = fmt::format("{:.4g} us{}{}", *time * 1e6,
                            bus ? fmt::format(", busbw {:.4g} GB/s", *bus / 1e9) : "",
                            interval && speed ? ", " + IntervalText(*interval, *speed) : "");
    }
    text += fmt::format("#  group {:2}, ranks {}: {}\n", GroupOf(record), fmt::join(ranks, " "),
                        outcome);
  }
  return text + "#\n";
}

Record OfNewestVisit(const Record& record, const Record* before) {
  Record newest = record;
  if (before == nullptr) return newest;
  const std::size_t old = std::min(before->rounds.size(), newest.rounds.size());
  newest.rounds.erase(newest.rounds.begin(),
                      newest.rounds.begin() + static_cast<std::ptrdiff_t>(old));
  for (auto& [name, histogram] : newest.histograms) {
    const auto found = before->histograms.find(name);
    if (found == before->histograms.end()) continue;
    std::map<std::int64_t, std::int64_t> counts(histogram.counts.begin(), histogram.counts.end());
    for (const auto& [bucket, count] : found->second.counts) counts[bucket] -= count;
    std::erase_if(counts, [](const auto& entry) { return entry.second <= 0; });
    histogram.counts.assign(counts.begin(), counts.end());
  }
  return newest;
}

}  // namespace assay
