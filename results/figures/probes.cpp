#include "results/figures/probes.h"

#include <algorithm>

#include "results/base/dtype.h"

namespace assay {
namespace {

constexpr double kNetworkMargin = 0.03;
constexpr double kStorageMargin = 0.05;

// The defaults of probes of one device.
Params UsualOfKernels() {
  return {{"cache", "cold"},   {"inputs", "normal"}, {"regime", "burst"},
          {"algo", "default"}, {"scope", "node"},    {"batch", std::int64_t{1}}};
}

// The accumulator that goes without saying is the one of the products' dtype.
std::vector<UsualWhere> UsualAccumulators() {
  std::vector<UsualWhere> all;
  for (const DtypeFacts& facts : Dtypes()) {
    all.push_back({.where = {.param = "dtype", .values = {std::string(facts.name)}},
                   .param = "acc",
                   .value = std::string(AccumulatorOf(facts.dtype))});
  }
  return all;
}

// The first of these, with the others in place of its values or beside them.
Params With(const Params& others, Params params) {
  for (const auto& [name, value] : others) params[name] = value;
  return params;
}

ProbeFacts Network(std::string name, std::string label) {
  return {.name = std::move(name),
          .label = std::move(label),
          .usual = {{"algo", "auto"},
                    {"buffers", "plain"},
                    {"root", std::int64_t{0}},
                    {"spread_percent", std::int64_t{100}},
                    {"redop", "sum"},
                    {"placement", "out_of_place"},
                    {"mode", "latency"},
                    {"nodes", std::int64_t{1}},
                    {"cache", "rewritten"}},
          .probe_class = ProbeClass::kNetwork,
          .margin = kNetworkMargin,
          .bytes_cost = BytesCost::kMoved,
          .burst_is_paid = true};
}

ProbeFacts Collective(std::string name, BusFactor factor, StepCount steps,
                      BytesCost cost = BytesCost::kMoved) {
  ProbeFacts facts = Network(std::move(name), "{dtype} {bytes:size}, {ranks:#rank}");
  facts.bus_factor = factor;
  facts.steps = steps;
  facts.bytes_cost = cost;
  return facts;
}

std::vector<ProbeFacts> BuiltIn() {
  std::vector<ProbeFacts> rows = {
      {.name = "peak", .label = "{dtype}", .usual = {{"scope", "node"}}, .has_peak = true},
      {.name = "gemm",
       .label = "{dtype} {m} x {n} x {k}",
       .usual = With({{"acc", "f32"}}, UsualOfKernels()),
       .usual_where = UsualAccumulators(),
       .has_peak = true,
       .shape = {"dtype", "m", "n", "k", "batch"}},
      {.name = "grouped_gemm",
       .label = "{dtype} {m} x {n} x {k} in {groups:#group}",
       .usual = UsualOfKernels(),
       .has_peak = true},
      {.name = "memory",
       .label = "{pattern} {bytes:size}",
       .usual = UsualOfKernels(),
       .has_peak = true,
       .shape = {"pattern"},
       .shape_at_least = {"bytes"}},
      {.name = "copy", .shape = {"route"}, .shape_at_least = {"bytes"}},
      {.name = "launch"},
      {.name = "attention",
       .label = "{dtype} {batch} x {heads_q/heads_kv} heads x {seq_q/seq_kv}, "
                "d{head_dim_qk/head_dim_v}{mask:mask}",
       .usual = With({{"direction", "forward"},
                      {"phase", "prefill"},
                      {"page_size", std::int64_t{0}},
                      {"window", std::int64_t{0}}},
                     UsualOfKernels()),
       // The time of decode goes into reading keys and values: its flops are for the file alone.
       .bytes_where = ParamIs{.param = "phase", .values = {"decode"}},
       .has_peak = true,
       .shape = {"dtype", "batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim_qk",
                 "head_dim_v", "mask", "direction"}},
      {.name = "headline",
       .label = "{name}",
       .usual = With({{"dtype", "bf16"}, {"tokens", std::int64_t{512}}, {"regime", "sustained"}},
                     UsualOfKernels()),
       .has_peak = true,
       .is_headline = true},
      {.name = "storage",
       .label = "{pattern} {block_bytes:size}, {depth} in flight",
       .usual = {{"jobs", std::int64_t{1}}, {"direct", true}, {"cache", "cold"}},
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
      Network("barrier", "{ranks:#rank}"),
      Network("fabric", "{pattern} {bytes:size}, {ranks:#rank}"),
      {.name = "overlap",
       .label = "{dtype} {bytes:size} beside {m} x {n} x {k}, {ranks:#rank}",
       .usual = {{"algo", "auto"},
                 {"buffers", "plain"},
                 {"nodes", std::int64_t{1}},
                 {"gemms", std::int64_t{0}},
                 {"compute_percent", std::int64_t{100}},
                 {"channels", std::int64_t{0}}},
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
