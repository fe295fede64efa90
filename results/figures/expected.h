// Published figures, beside which a measured one is assessed: collectives that others measured on
// the same instance type, and the data sheet of an accelerator.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"
#include "results/file/run.h"

namespace assay {

// One published figure of a collective.
struct Expected {
  std::string provider = {};
  std::string instance = {};
  int nodes = 0;  // with all of their accelerators
  std::string operation = {};
  std::int64_t bytes = 0;
  double busbw_gbs = 0;  // 10^9 bytes a second
  // What carried it: the network_kind of the instance type between nodes, "mnnvl" for NVLink
  // between nodes, and on one node "nvlink" or "xgmi".
  std::string transport = {};
  std::string setting = {};  // the software and how it was called
  std::string source = {};   // a URL, or repository:path
};

// Reads expected.csv, which has one figure a row. Throws Error, with source and row, for one that
// breaks a rule: no cell may be empty, the operation and the transport must be known, numbers must
// be above 0, and nothing may be there twice.
std::vector<Expected> ParseExpected(std::string_view csv, const std::string& source);
// The data that is built into this binary, parsed once.
const std::vector<Expected>& BuiltInExpected();

// The standing of a figure beside what is known.
enum class Standing {
  kOk,
  kLow,         // under what was measured elsewhere, or what sibling devices give
  kHigh,        // above either, so that one of the two is in doubt
  kAboveBound,  // more than a flat ring could carry over the nodes' network
  kSuspicious,  // more than the transport that the record tells can carry by any algorithm
};
std::string_view ToText(Standing standing);

// The assessment of one figure.
struct Assessment {
  Standing standing = Standing::kOk;
  std::optional<double> expected_gbs = {};  // the published bus bandwidth, where there is one
  std::string why = {};                     // one sentence, with the source
};
// The assessment as a text: "low: …" with the sentence; "" for kOk and where nothing is known.
std::string StandingText(const std::optional<Assessment>& assessed);

// The instance type of all nodes of the run, which points into `instances`; null where the nodes
// have several types, or one that isn't known.
const InstanceFacts* TypeOf(const Run& run, std::span<const InstanceFacts> instances);

// The most bus bandwidth, in B/s, that can come of a node's network by any algorithm: network_gbps
// ÷ 8 times the bytes that busbw counts over the fewest that a node must send or receive, or over
// those that the record tells. Nothing for ranks on one node, for a type whose network isn't known,
// where NVLink carried data between nodes, and where the record tells neither its messages (fact
// `wire_bytes`) nor whether NVLink did (fact `mnnvl`).
std::optional<double> MostByNetwork(const InstanceFacts* type, const Record& record);

// Assesses a collective. A record that tells whether NVLink carried data between nodes (the fact
// `mnnvl`) is held against published figures of the same alone. One that went by sockets beside a
// network that sockets don't use (FindBySockets) is low whatever it reached, on CPUs too. For all
// others there is nothing where nothing is known: for a CPU, for an instance type, operation, size
// or number of nodes without a row (the bound needs no row), and where not all accelerators took
// part. `type` is TypeOf the run.
std::optional<Assessment> Assess(const InstanceFacts* type, const Record& record,
                                 std::span<const Expected> expected = BuiltInExpected());

// A collective that went by TCP sockets although its ranks lie on several nodes of an instance type
// with a faster network (EFA, InfiniBand, RoCE, TCPX).
struct BySockets {
  std::string network = {};  // "EFA, 3200 Gbit/s"
  std::string remedy = {};
};
// Whether the record is such a collective. Nothing where it has no figure or no fact `sockets`,
// where all ranks share a node, and for types whose network is Ethernet or not known.
std::optional<BySockets> FindBySockets(const InstanceFacts* type, const Record& record);
// A network_kind of instance types: its name for people, and what makes libraries use it where
// sockets don't.
struct NetworkKind {
  std::string_view kind = "";
  std::string_view name = "";
  std::string_view for_nccl = "";    // what makes NCCL use it; "": sockets do
  std::string_view for_others = "";  // what makes MPI and libfabric use it
};
// The kind with that name, or null.
const NetworkKind* FindNetworkKind(std::string_view kind);

// The share of its data sheet that an accelerator gives ("of peak"). The data sheet's figure is the
// dense peak of the dtype, or for a case that is counted in bytes the bandwidth of its memory,
// times the number of units.
struct OfPeak {
  std::string device = {};  // its name in devices.csv
  double of_spec = 0;  // the share of the data sheet's figure, at the clock that it is meant for
  std::optional<double> clock_mhz = {};  // the median clock of the processors, where known
  std::optional<double> of_clock = {};   // the share of the peak at that clock; not for memory
};
// The share of peak of a record. Nothing for a probe that isn't held against a data sheet
// (results/figures/probes.h), nor without accelerators of one known kind, nor for a slice of one,
// nor for memory that is served by a cache.
std::optional<OfPeak> OfPeakOf(const Run& run, const Record& record,
                               std::span<const DeviceFacts> devices);

}  // namespace assay
