// What is known of a machine from elsewhere, beside what was measured on it: figures of collectives
// that others measured on its type, and what its vendor says of its accelerator. Whether a number
// is normal is the first question that anybody has about it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/price.h"
#include "results/run.h"

namespace assay {

struct Expected {
  std::string provider = {};
  std::string instance = {};
  int nodes = 0;  // all of whose accelerators take part
  std::string operation = {};
  std::int64_t bytes = 0;
  double busbw_gbs = 0;
  std::string setting = {};
  std::string source = {};  // a URL, or repository:path
};

// expected.csv, a figure a row. Throws Error naming source and row for one that breaks a rule: no
// empty cell, a known operation, numbers above 0, nothing twice.
std::vector<Expected> ParseExpected(std::string_view csv, const std::string& source);
// The data built into this binary. Parsed once.
const std::vector<Expected>& BuiltInExpected();

enum class Standing {
  kOk,
  kLow,         // under what was measured elsewhere, or what its siblings give
  kHigh,        // above either, so that one of the two is in doubt
  kAboveBound,  // more than a flat ring could carry over the nodes' network
};
std::string_view ToText(Standing standing);

struct Judged {
  Standing standing = Standing::kOk;
  std::optional<double> expected_gbs = {};
  std::string why = {};  // one sentence, with the source
};
// "low: …" with the sentence; "" where it is well or nothing is known.
std::string StandingText(const std::optional<Judged>& judged);

// The instance type that all nodes of the run are of; null where they are of several, and of one
// that isn't known. Points into `instances`.
const InstanceFacts* TypeOf(
    const Run& run, std::span<const InstanceFacts> instances = Catalog::BuiltIn().instances);

// What went by sockets beside a network that they don't use (BySocketsOf) is low whatever it
// reached, on CPUs too. Else nothing where nothing is known: for a CPU, for an instance type,
// operation, size or number of nodes that has no row (the bound needs none), and where not all
// accelerators took part.
std::optional<Judged> Judge(
    const Run& run, const Record& record, std::span<const Expected> expected = BuiltInExpected(),
    std::span<const InstanceFacts> instances = Catalog::BuiltIn().instances);
// The same where TypeOf the run is known already, which takes a look at each of its nodes.
std::optional<Judged> Judge(const InstanceFacts* type, const Record& record,
                            std::span<const Expected> expected = BuiltInExpected());

// A case whose ranks lie on several nodes of an instance type with a network of its own (EFA,
// InfiniBand, RoCE, TCPX), and which went by TCP sockets instead.
struct BySockets {
  std::string network = {};  // "EFA, 3200 Gbit/s"
  std::string remedy = {};
};
// Nothing where the record has no figure or no fact `sockets`, where all ranks share a node, and
// for types whose network is Ethernet or not known.
std::optional<BySockets> BySocketsOf(
    const Run& run, const Record& record,
    std::span<const InstanceFacts> instances = Catalog::BuiltIn().instances);
std::optional<BySockets> BySocketsOf(const InstanceFacts* type, const Record& record);
// How an instance type's network_kind is called, and whether sockets are not the way to use it;
// nothing for a kind that isn't known.
struct NetworkKind {
  std::string_view kind = "";
  std::string_view name = "";
  std::string_view for_nccl = "";    // what makes NCCL use it; "": sockets do
  std::string_view for_others = "";  // and MPI and libfabric
};
const NetworkKind* FindNetworkKind(std::string_view kind);

// What part of its data sheet an accelerator gives: the dense peak of the dtype, or of what is
// counted in bytes the bandwidth of its memory, times the number of units.
struct OfPeak {
  std::string device = {};  // as devices.csv calls it
  double of_spec = 0;       // of the figure as it is printed, at the clock it is meant for
  std::optional<double> clock_mhz = {};  // the median of what the processors ran at, where known
  std::optional<double> of_clock = {};   // of the peak scaled to that clock; not of memory's
};
// Nothing for what isn't gemm, attention, headline, peak or memory on accelerators of one known
// kind, nor for a slice of one, nor for memory that is served by a cache.
std::optional<OfPeak> OfPeakOf(const Run& run, const Record& record,
                               std::span<const DeviceFacts> devices = Catalog::BuiltIn().devices);

}  // namespace assay
