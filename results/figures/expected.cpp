#include "results/figures/expected.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "results/base/csv.h"
#include "results/base/embedded.h"
#include "results/figures/figures.h"
#include "results/figures/probes.h"
#include "results/figures/stats.h"
#include "results/file/nodes.h"

ASSAY_DECLARE_EMBEDDED(expected_csv);

namespace assay {
namespace {

// The tolerance that nccl-tests has for NCCL_TESTS_MIN_BW.
constexpr double kLowBelow = 0.9;

// The transports of published figures that are no network: NVLink between the nodes of a rack, and
// the links within a node.
constexpr std::string_view kMultiNodeNvlink = "mnnvl";
constexpr std::array<std::string_view, 2> kWithinANode = {"nvlink", "xgmi"};

auto KeyOf(const Expected& one) {
  return std::tie(one.provider, one.instance, one.nodes, one.operation, one.bytes, one.transport);
}

Expected ReadExpected(const CsvRow& row) {
  Expected one = {.provider = row.Required("provider"),
                  .instance = row.Required("instance"),
                  .nodes = row.Integer("nodes").value_or(0),
                  .operation = row.Required("operation"),
                  .bytes = static_cast<std::int64_t>(row.Number("bytes").value_or(0)),
                  .busbw_gbs = row.Number("busbw_gbs").value_or(0),
                  .transport = row.Required("transport"),
                  .setting = row.Required("setting"),
                  .source = row.Required("source")};
  for (const char* column : {"nodes", "bytes", "busbw_gbs"}) row.Required(column);
  if (FindProbe(one.operation).bus_factor == BusFactor::kNone) {
    row.Fail(fmt::format("operation '{}' has no bus bandwidth", one.operation));
  }
  const bool is_within = std::ranges::count(kWithinANode, one.transport) > 0;
  const bool is_between = one.transport == kMultiNodeNvlink || FindNetworkKind(one.transport);
  if (one.nodes == 1 ? !is_within : !is_between) {
    row.Fail(
        fmt::format("transport is '{}'; on one node write nvlink or xgmi, between nodes mnnvl "
                    "or a network_kind of instances.csv",
                    one.transport));
  }
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;
  if (one.bytes > kMostBytes || row.Text("bytes").find('.') != std::string::npos) {
    row.Fail(fmt::format("bytes is '{}' and must be a whole number", row.Text("bytes")));
  }
  if (one.source.find_first_of(".:") == std::string::npos) {
    row.Fail(fmt::format("source '{}' is neither a URL nor repository:path", one.source));
  }
  return one;
}

std::optional<std::int64_t> Integer(const Params& params, const std::string& name) {
  const auto found = params.find(name);
  if (found == params.end()) return std::nullopt;
  const auto* value = std::get_if<std::int64_t>(&found->second);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

// The rate of a node's network one way, in GB/s.
std::optional<double> NetworkGbs(const InstanceFacts& facts) {
  if (!facts.network_gbps) return std::nullopt;
  return *facts.network_gbps / 8;
}

// Whether NVLink between nodes carried the record; nothing where the record doesn't tell.
std::optional<bool> ByMultiNodeNvlink(const Record& record) {
  const auto told = record.facts.find("mnnvl");
  if (told == record.facts.end() || Integer(record.params, "nodes").value_or(1) < 2) return {};
  return told->second == Fact(true);
}

// The most bus bandwidth that can come of a node's network, as a multiple of the network's rate. It
// is the bytes that busbw counts over the fewest that a node must send or receive. Where the record
// tells its messages (fact `wire_bytes`) these are they. Else, for n ranks on k nodes of g = n / k
// each, and S bytes:
//   all_reduce                  S, where switches reduce, or by trees on two nodes
//   all_gather, gather,         S (k - 1) / k
//   reduce_scatter, scatter
//   alltoall                    g S (n - g) / n
//   broadcast, reduce           S
// Nothing for other operations, nor where parts differ in size.
std::optional<double> MostOverNetwork(const Record& record, double bus, double n, double k) {
  const double g = n / k;
  if (const auto wire = WireRate(record); wire && wire->bytes_per_s > 0) {
    return bus / (wire->bytes_per_s * g);
  }
  const ProbeFacts& facts = FindProbe(record.probe);
  const std::optional<double> counted =
      FactorOf(facts.bus_factor, static_cast<std::int64_t>(std::llround(n)));
  if (!counted || record.params.contains("spread_percent")) return std::nullopt;
  switch (facts.steps) {
    case StepCount::kTwoPasses:
      return counted;
    case StepCount::kOnePass:
      return facts.bus_factor == BusFactor::kParts ? *counted * k / (k - 1) : *counted;
    case StepCount::kEachOther:
      return *counted / (g * (n - g) / n);
    case StepCount::kOne:
      return std::nullopt;
  }
  return std::nullopt;
}

// The sentence on a figure above the bound, which says what can explain it.
std::string BoundWhy(double busbw, double bound, std::int64_t nodes) {
  std::string why = fmt::format(
      "{:.4g} GB/s is more than the {:.4g} GB/s of a node's network, which a flat ring would have "
      "to "
      "carry",
      busbw, bound);
  if (nodes == 2) {
    why +=
        "; on two nodes NCCL takes trees, which send half as much between nodes: measure three or "
        "more, or with NCCL_ALGO=Ring, before this is taken for what larger jobs get";
  } else {
    why += ": the switches reduce (SHARP), or fewer bytes moved than were counted";
  }
  return why;
}

// The sentence on a figure above what its transport can carry.
std::string SuspiciousWhy(double busbw, double network, double most) {
  return fmt::format(
      "{:.4g} GB/s is more than the {:.4g} GB/s that can come of a node's network of {:.4g} GB/s "
      "by "
      "any algorithm, and the record says that no other way was taken between nodes; look at what "
      "was counted and at NCCL_DEBUG=INFO before it is believed",
      busbw, most, network);
}

constexpr std::string_view kNcclVerbs =
    "let NCCL have /dev/infiniband and libibverbs (docker run --device /dev/infiniband), unset "
    "NCCL_IB_DISABLE and NCCL_NET, and ask with --require-transport net/ib";
constexpr std::string_view kOtherVerbs =
    "an MPI with UCX (mpirun --mca pml ucx), or --backend ofi with FI_PROVIDER=verbs; in a "
    "container --device /dev/infiniband";
constexpr std::string_view kNoOther = "--backend nccl with the plugin: nothing else uses it";

constexpr std::array<NetworkKind, 12> kNetworkKinds = {
    {{.kind = "efa",
      .name = "EFA",
      .for_nccl = "install the plugin aws-ofi-nccl with AWS's libfabric, give a container "
                  "--device /dev/infiniband, and ask with --require-transport efa",
      .for_others = "AWS's libfabric (mpirun --mca pml cm --mca mtl ofi), or --backend ofi with "
                    "FI_PROVIDER=efa; in a container --device /dev/infiniband"},
     {"infiniband", "InfiniBand", kNcclVerbs, kOtherVerbs},
     {"infiniband-hdr", "InfiniBand HDR", kNcclVerbs, kOtherVerbs},
     {"infiniband-ndr", "InfiniBand NDR", kNcclVerbs, kOtherVerbs},
     {"roce", "RoCE", kNcclVerbs, kOtherVerbs},
     {"roce-cx7", "RoCE", kNcclVerbs, kOtherVerbs},
     {"gpudirect-tcpx", "GPUDirect-TCPX",
      "mount Google's plugin (/var/lib/tcpx) into the container, put its lib64 into "
      "LD_LIBRARY_PATH, and run the receive data path manager beside it",
      kNoOther},
     {"gpudirect-tcpxo", "GPUDirect-TCPXO",
      "mount Google's plugin (/var/lib/fastrak) into the container, put its lib64 into "
      "LD_LIBRARY_PATH, and run the receive data path manager beside it",
      kNoOther},
     {.kind = "ena", .name = "ENA"},
     {.kind = "ethernet", .name = "Ethernet"},
     {.kind = "gvnic", .name = "gVNIC"},
     {.kind = "ici", .name = "ICI"}}};

}  // namespace

std::string StandingText(const std::optional<Assessment>& assessed) {
  if (!assessed || assessed->standing == Standing::kOk) return "";
  return fmt::format("{}: {}", ToText(assessed->standing), assessed->why);
}

const InstanceFacts* TypeOf(const Run& run, std::span<const InstanceFacts> instances) {
  if (run.nodes.empty() || !AreOfOneType(run.nodes)) return nullptr;
  const Identity& identity = run.nodes[0].identity;
  return FindInstance(instances, identity.provider.value, identity.instance.value);
}

const NetworkKind* FindNetworkKind(std::string_view kind) {
  const auto found = std::ranges::find(kNetworkKinds, kind, &NetworkKind::kind);
  return found == kNetworkKinds.end() ? nullptr : &*found;
}

std::optional<BySockets> FindBySockets(const InstanceFacts* type, const Record& record) {
  const auto told = record.facts.find("sockets");
  if (!Speed(record) || told == record.facts.end() || told->second != Fact(true) ||
      Integer(record.params, "nodes").value_or(1) < 2) {
    return std::nullopt;
  }
  const NetworkKind* kind = type == nullptr ? nullptr : FindNetworkKind(type->network_kind);
  if (kind == nullptr || kind->for_nccl.empty()) return std::nullopt;
  BySockets by = {
      .network = std::string(kind->name),
      .remedy = std::string(record.device.kind == "gpu" ? kind->for_nccl : kind->for_others)};
  if (type->network_gbps) by.network += fmt::format(", {:g} Gbit/s", *type->network_gbps);
  return by;
}

std::optional<double> MostByNetwork(const InstanceFacts* type, const Record& record) {
  const std::optional<double> bus = BusBandwidth(record);
  const std::int64_t nodes = Integer(record.params, "nodes").value_or(1);
  const std::int64_t ranks = Integer(record.params, "ranks").value_or(0);
  const std::optional<bool> by_nvlink = ByMultiNodeNvlink(record);
  if (!bus || type == nullptr || nodes < 2 || ranks < nodes || by_nvlink == true) return {};
  const std::optional<double> network = NetworkGbs(*type);
  if (!network || (!by_nvlink && !WireRate(record))) return std::nullopt;
  const std::optional<double> most =
      MostOverNetwork(record, *bus, static_cast<double>(ranks), static_cast<double>(nodes));
  if (!most || !std::isfinite(*most)) return std::nullopt;
  return *network * *most * 1e9;
}

std::vector<Expected> ParseExpected(std::string_view csv, const std::string& source) {
  std::vector<Expected> all;
  const std::vector<std::map<std::string, std::string>> rows = ParseCsv(csv, source);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const CsvRow row(rows[i], source, i);
    Expected one = ReadExpected(row);
    if (std::any_of(all.begin(), all.end(),
                    [&](const Expected& other) { return KeyOf(other) == KeyOf(one); })) {
      row.Fail("the same instance, nodes, operation, size and transport stand in an earlier row");
    }
    all.push_back(std::move(one));
  }
  return all;
}

const std::vector<Expected>& BuiltInExpected() {
  static const std::vector<Expected> all =
      ParseExpected(ASSAY_EMBEDDED(expected_csv), "expected.csv");
  return all;
}

std::string_view ToText(Standing standing) {
  switch (standing) {
    case Standing::kOk:
      return "ok";
    case Standing::kLow:
      return "low";
    case Standing::kHigh:
      return "suspiciously high";
    case Standing::kAboveBound:
      return "above the bound";
    case Standing::kSuspicious:
      return "suspicious";
  }
  return "";
}

std::optional<Assessment> Assess(const InstanceFacts* type, const Record& record,
                                 std::span<const Expected> expected) {
  if (const auto by = FindBySockets(type, record)) {
    return Assessment{.standing = Standing::kLow,
                      .why = fmt::format("by TCP sockets, where a node has {}; try: {}",
                                         by->network, by->remedy)};
  }
  const std::optional<double> bus = BusBandwidth(record);
  const std::int64_t nodes = Integer(record.params, "nodes").value_or(1);
  // Published figures are of all accelerators on that many nodes. A part of them has other links,
  // so that it can't be assessed by them.
  if (!bus || type == nullptr || record.device.kind != "gpu" || type->accelerator_count < 1 ||
      Integer(record.params, "ranks") != nodes * type->accelerator_count) {
    return std::nullopt;
  }
  const double gbs = *bus / 1e9;
  const std::optional<bool> by_nvlink = ByMultiNodeNvlink(record);
  const auto known = std::find_if(expected.begin(), expected.end(), [&](const Expected& one) {
    return one.provider == type->provider && one.instance == type->instance && one.nodes == nodes &&
           one.operation == record.probe && one.bytes == record.work.bytes &&
           (!by_nvlink || *by_nvlink == (one.transport == kMultiNodeNvlink));
  });
  Assessment assessed;
  if (known != expected.end()) {
    assessed.expected_gbs = known->busbw_gbs;
    assessed.why =
        fmt::format("{:.4g} GB/s, where {:.4g} GB/s was measured on {} {} ({}; {})", gbs,
                    known->busbw_gbs, known->nodes, known->instance, known->setting, known->source);
    if (gbs < kLowBelow * known->busbw_gbs) {
      assessed.standing = Standing::kLow;
      return assessed;
    }
  }
  // More than a flat ring can carry means that another algorithm ran, or that something is wrong.
  const std::optional<double> bound =
      nodes > 1 && by_nvlink != true ? NetworkGbs(*type) : std::nullopt;
  if (const std::optional<double> most = MostByNetwork(type, record);
      most && gbs > kSuspiciousAbove * *most / 1e9) {
    assessed.standing = Standing::kSuspicious;
    assessed.why = SuspiciousWhy(gbs, *NetworkGbs(*type), *most / 1e9);
    return assessed;
  }
  if (bound && gbs > kSuspiciousAbove * *bound) {
    assessed.standing = Standing::kAboveBound;
    assessed.why = BoundWhy(gbs, *bound, nodes);
    return assessed;
  }
  if (known == expected.end()) return std::nullopt;
  return assessed;
}

std::optional<OfPeak> OfPeakOf(const Run& run, const Record& record,
                               std::span<const DeviceFacts> devices) {
  const std::optional<Rate> speed = Speed(record);
  if (!speed || record.device.kind != "gpu" || record.units.empty() ||
      !FindProbe(record.probe).has_peak) {
    return std::nullopt;
  }
  const Node& node = run.nodes.at(static_cast<std::size_t>(record.units[0].node));
  // With several kinds of accelerators nobody knows which one ran, and a slice has no data sheet.
  if (node.accelerators.size() != 1 || node.accelerators[0].mig) return std::nullopt;
  const DeviceFacts* device = FindDevice(devices, node.accelerators[0].name);
  if (device == nullptr) return std::nullopt;
  const auto units = static_cast<double>(record.units.size());
  if (speed->unit == "B/s") {
    // The data sheet's bandwidth is the memory's, which a cache may exceed.
    const auto in_cache = record.facts.find("in_cache");
    if (in_cache != record.facts.end() && in_cache->second == Fact(true)) return std::nullopt;
    if (!device->memory_bytes_per_s) return std::nullopt;
    return OfPeak{.device = device->name,
                  .of_spec = speed->value / (*device->memory_bytes_per_s * units)};
  }
  const auto dtype = record.params.find("dtype");
  const auto* name =
      dtype == record.params.end() ? nullptr : std::get_if<std::string>(&dtype->second);
  const auto peak = name == nullptr ? device->peak_flops.end() : device->peak_flops.find(*name);
  if (peak == device->peak_flops.end()) return std::nullopt;
  OfPeak of = {.device = device->name, .of_spec = speed->value / (peak->second * units)};
  std::vector<double> clocks;
  for (const Visit& visit : record.rounds) {
    for (const Telemetry& seen : visit.telemetry) {
      clocks.insert(clocks.end(), seen.sm_mhz.begin(), seen.sm_mhz.end());
    }
  }
  // The peak scales with the clock of the processors, which is often held below the data sheet's.
  if (clocks.empty()) return of;
  of.clock_mhz = Median(clocks);
  if (device->peak_clock_mhz && *of.clock_mhz > 0) {
    of.of_clock = of.of_spec * *device->peak_clock_mhz / *of.clock_mhz;
  }
  return of;
}

}  // namespace assay
