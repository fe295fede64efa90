#include "results/figures/probes.h"

#include <algorithm>

namespace assay {
namespace {

constexpr double kNetworkMargin = 0.03;
constexpr double kStorageMargin = 0.05;

ProbeFacts Collective(std::string name, BusFactor factor = BusFactor::kNone,
                      StepCount steps = StepCount::kOnePass, BytesCost cost = BytesCost::kMoved) {
  return {.name = std::move(name),
          .probe_class = ProbeClass::kNetwork,
          .margin = kNetworkMargin,
          .bus_factor = factor,
          .steps = steps,
          .bytes_cost = cost,
          .burst_is_paid = true};
}

std::vector<ProbeFacts> BuiltIn() {
  std::vector<ProbeFacts> rows = {
      {.name = "peak", .has_peak = true},
      {.name = "gemm", .has_peak = true, .shape = {"dtype", "m", "n", "k", "batch"}},
      {.name = "grouped_gemm", .has_peak = true},
      {.name = "memory", .has_peak = true},
      {.name = "copy", .shape = {"route"}, .shape_at_least = {"bytes"}},
      {.name = "launch"},
      {.name = "attention",
       // The time of decode goes into reading keys and values: its flops are for the file alone.
       .bytes_where = ParamIs{.param = "phase", .values = {"decode"}},
       .has_peak = true,
       .shape = {"dtype", "batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim_qk",
                 "head_dim_v", "mask", "direction"}},
      {.name = "headline", .has_peak = true, .is_headline = true},
      {.name = "storage",
       .probe_class = ProbeClass::kStorage,
       .margin = kStorageMargin,
       .ops_where = ParamBelow{.param = "block_bytes", .limit = 64 * 1024},
       .bytes_cost = BytesCost::kVolume,
       .writes = {.param = "pattern", .values = {"seqwrite", "randwrite"}},
       .alike_in = "direct"},
      Collective("all_reduce", BusFactor::kTwice, StepCount::kTwoPasses, BytesCost::kReduced),
      Collective("all_gather", BusFactor::kParts, StepCount::kOnePass),
      Collective("reduce_scatter", BusFactor::kParts, StepCount::kOnePass, BytesCost::kReduced),
      Collective("broadcast", BusFactor::kWhole, StepCount::kOnePass),
      Collective("reduce", BusFactor::kWhole, StepCount::kOnePass, BytesCost::kReduced),
      Collective("alltoall", BusFactor::kParts, StepCount::kEachOther),
      Collective("alltoallv", BusFactor::kParts, StepCount::kEachOther),
      Collective("gather", BusFactor::kParts, StepCount::kOnePass),
      Collective("scatter", BusFactor::kParts, StepCount::kOnePass),
      Collective("sendrecv", BusFactor::kWhole, StepCount::kOne),
      Collective("barrier"),
      Collective("fabric"),
      {.name = "overlap",
       .probe_class = ProbeClass::kNetwork,
       .margin = kNetworkMargin,
       .bytes_cost = BytesCost::kMoved,
       .beside = "all_reduce"}};
  // nccl-tests names a reduction for its sendrecv, too.
  std::ranges::find(rows, "sendrecv", &ProbeFacts::name)->nccl_redop = "sum";
  return rows;
}

// The table that is read. Null: the built-in one.
const std::vector<ProbeFacts>*& TestTable() {
  static const std::vector<ProbeFacts>* table = nullptr;
  return table;
}

}  // namespace

std::string_view ToText(ProbeClass probe_class) {
  switch (probe_class) {
    case ProbeClass::kCompute:
      return "compute";
    case ProbeClass::kNetwork:
      return "network";
    case ProbeClass::kStorage:
      break;
  }
  return "storage";
}

std::optional<double> FactorOf(BusFactor factor, std::int64_t ranks) {
  if (ranks < 1) return std::nullopt;
  const auto n = static_cast<double>(ranks);
  switch (factor) {
    case BusFactor::kNone:
      break;
    case BusFactor::kWhole:
      return 1;
    case BusFactor::kParts:
      return (n - 1) / n;
    case BusFactor::kTwice:
      return 2 * (n - 1) / n;
  }
  return std::nullopt;
}

bool Holds(const ParamIs& condition, const Params& params) {
  const auto found = params.find(condition.param);
  return found != params.end() &&
         std::ranges::find(condition.values, ToText(found->second)) != condition.values.end();
}

bool Holds(const ParamBelow& condition, const Params& params) {
  const auto found = params.find(condition.param);
  const auto* value = found == params.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  return value != nullptr && *value < condition.limit;
}

const std::vector<ProbeFacts>& KnownProbes() {
  static const std::vector<ProbeFacts> built_in = BuiltIn();
  return TestTable() == nullptr ? built_in : *TestTable();
}

const ProbeFacts& FindProbe(std::string_view name) {
  static const ProbeFacts without_row;
  const std::vector<ProbeFacts>& rows = KnownProbes();
  const auto found = std::ranges::find(rows, name, &ProbeFacts::name);
  return found == rows.end() ? without_row : *found;
}

MoreProbes::MoreProbes(const std::vector<ProbeFacts>& rows) : rows_(rows), before_(TestTable()) {
  rows_.insert(rows_.end(), KnownProbes().begin(), KnownProbes().end());
  TestTable() = &rows_;
}

MoreProbes::~MoreProbes() { TestTable() = before_; }

}  // namespace assay
