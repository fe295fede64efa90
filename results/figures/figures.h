// The figures that are derived from a Record: rates, of-here ratios, dollars. results/METRICS.md
// defines each of them, and scripts/recompute.py computes the same from that page alone.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/pacing.h"
#include "results/figures/stats.h"
#include "results/file/run.h"

namespace assay {

// The ratio from which on a mean time above the median, or a speed above its measured roofline, is
// flagged.
inline constexpr double kSuspiciousAbove = 1.02;

// A rate with its unit, which follows from the record's work: "FLOP/s" (int8: "OP/s"), "B/s",
// "IOPS" (storage in blocks under 64 KiB), "op/s" (a barrier, messages of a ping-pong). Collectives
// count algbw in B/s; their busbw is a separate figure.
struct Rate {
  double value = 0;  // per second, base units
  std::string unit = {};
};

// The part of the node's devices of a kind ("cpu", "gpu") that the run used: "1 of 8" accelerators
// or cores (a container's quota counts), or "a slice (MIG)" of a divided accelerator. Nothing where
// it used all. Costs are of the whole node in either case.
std::optional<std::string> PartUsed(const Run& run, const std::string& device_kind);
// Whether a node of the run has an accelerator, used or not.
bool HoldsAccelerator(const Run& run);

// The median time of one iteration over all batches of all rounds, in seconds; nothing where none
// was measured.
std::optional<double> MedianTime(const Record& record);
// T of METRICS.md, in seconds per iteration: the sum of timed seconds / the sum of iterations;
// after the burst where there was one.
std::optional<double> MeanTime(const Record& record);
// The time that the speed is computed from: the median, or T where PacingOf says so
// (results/figures/pacing.h).
std::optional<double> UsualTime(const Record& record);
// The ratio of mean to median time. Above kSuspiciousAbove costs count stalls that the speed leaves
// out. Nothing where the speed is computed from the mean.
std::optional<double> MeanToMedian(const Record& record);
// The pacing of a record, in words beside its speed: "burst 78.6 kIOPS for 12 s, then 3.00 kIOPS",
// "too short to tell a burst (4.5 s)"; "" where there is nothing to say.
std::string PacingText(const Record& record);
// The ways in which sustained visits failed to reach steady state, in words: "steady in 3 of 5
// rounds, not at rest in 1, too noisy to tell in 1"; "" where all reached it.
std::string UnrestText(const Record& record);
// The speed: work over the usual time. Nothing unless the status is ok or partial.
std::optional<Rate> Speed(const Record& record);
// The speed of writes until they are on stable storage; nothing for all others.
std::optional<Rate> StableSpeed(const Record& record);
// The bus bandwidth in B/s: the speed times the bus factor of its probe (results/figures/probes.h);
// the number of ranks is the param of that name.
std::optional<double> BusBandwidth(const Record& record);
// The rate of the busiest link, for one rank: the bytes that the algorithm moves over it (facts
// `wire_bytes` and `algorithm`) / the median time. Between nodes the link is that of a node, where
// the larger of sending and receiving counts, and the rate is divided by the ranks of a node, which
// share it. On one node the link is that of the busiest rank.
struct Wire {
  double bytes_per_s = 0;
  std::string model = {};  // the algorithm: "ring", "hier", …
  bool is_between_nodes = false;
};
// The wire rate of a record; nothing where its library doesn't tell its algorithm, and where there
// is no bus bandwidth.
std::optional<Wire> WireRate(const Record& record);
// The transport of a collective's data, as its ranks told it ("ob1/vader"); "" where none did.
std::string TransportOf(const Record& record);
// The logarithm of the usual time, in seconds an iteration, of each round that has samples which
// count. Any other round is left out, so that there may be fewer values than rounds. These values
// are the units of inference of one run.
std::vector<double> LogRoundTimes(const Record& record);
// LogRoundTimes by `statistic` in place of the record's own, to compare the record with one whose
// statistic that is.
std::vector<double> LogRoundTimes(const Record& record, Statistic statistic);
// The interval of the speed as a ratio, which is printed as "±1.2 % (5 rounds, this run)". A single
// round whose work is counted over spans of time has the interval that its spans give.
std::optional<Interval> SpeedInterval(const Record& record, double confidence = 0.95);
// The `of here` ratio: the mean over rounds of the speed / the speed of the companion in that
// round. Above kSuspiciousAbove either of the two was measured wrongly. Nothing for a paced case,
// since the companion is sampled for less than a period.
std::optional<double> OfHere(const Record& record);

// The figures of a probe with a collective beside it: what a step of GEMMs pays for a collective
// that runs at the same time. Rates are over all rounds; the collective's are bus bandwidths.
struct OverlapFigure {
  double compute_alone = 0;         // FLOP/s
  double compute_together = 0;      // FLOP/s until the GEMMs are over
  double communicate_alone = 0;     // B/s
  double communicate_together = 0;  // B/s until the collective is over
  double compute_slowdown = 0;      // time together / alone
  double communicate_slowdown = 0;  // time together / alone
  // The exposed communication time: the step's time less that of its GEMMs alone, as the mean over
  // rounds. Noise may make it negative.
  double exposed_s = 0;
  std::optional<double> exposed_low_s = {};  // of the 95 % interval; nothing with one round
  std::optional<double> exposed_high_s = {};
  // The share of the shorter of the two that the other hides, (a + b - c) / min(a, b). At 1 both
  // together take as long as the longer alone, at 0 as long as one after the other, and below 0
  // longer than that.
  double hidden = 0;
};
// The overlap of a record; nothing for probes without a collective beside them
// (ProbeFacts::beside).
std::optional<OverlapFigure> OverlapOf(const Record& record);

// The power that a record's devices drew while they were measured.
struct PowerFigure {
  double watts = 0;  // the sum over all devices
  std::optional<double> joules_per_tflop = {};
  std::string held_back = {};  // none, power-capped, thermal, power-brake; the worst of all visits
};
// The power of a record; nothing without telemetry of each unit.
std::optional<PowerFigure> PowerOf(const Record& record);

// A dollar figure with the name that METRICS.md gives it.
struct Cost {
  std::string name = {};   // "usd_per_tflops_hour", …
  std::string label = {};  // "$ per TFLOP/s-h"
  double usd = 0;
  // The purchase that was looked for, where the on-demand price is used in its place.
  std::optional<std::string> instead_of = {};
};
// The figure in words: "0.006957 USD per TFLOP/s-h", with " (on demand)" where that price stands in
// for another purchase.
std::string CostText(const Cost& cost);
// The dollar figures that METRICS.md defines for a record, at `usd_per_hour` for all nodes held;
// empty where there are none. Storage costs count the nodes alone; where the volume's own price is
// given, there are those of the volume alone and then of both. CostsAt gives what may be shown.
std::vector<Cost> Costs(const Record& record, double usd_per_hour,
                        std::optional<double> storage_usd_per_hour = {});

// The mark of a storage figure that is a cache's and not its volume's, or may be.
struct Cached {
  std::string mark = {};  // "memory", "refuted", "cache?"
  std::string why = {};
  bool is_sure = false;  // whether it is a cache's for sure, and so has no price
};
// The mark of a record; nothing for other probes, without a figure, and where I/O was proved to be
// direct.
std::optional<Cached> CachedOf(const Run& run, const Record& record);
// CachedOf in words: "refuted: loop0 does its file's I/O through the page cache"; "" where it is
// nothing.
std::string CachedText(const Run& run, const Record& record);

// The reason why a record of this run has no dollars, or "". There are three reasons. A burst on
// accelerators has none in the suites `standard` and `full`, except in probes whose burst_is_paid.
// A storage figure has none if it is a cache's. A collective over TCP sockets has none on a type
// that is paid with a faster network. `type` is the instance type of the run's nodes (TypeOf,
// results/figures/expected.h), or null.
std::string WhyUnpriced(const Run& run, const Record& record, const InstanceFacts* type);

// P of METRICS.md: USD per hour of all nodes that the run held together, idle ones too. Nothing
// without a price.
std::optional<double> UsdPerHour(const Run& run, const Chosen& price);

// The costs of a record of this run at that price of one node, as they may be shown. This is the
// one place where figures get their price. Empty without a price, and where WhyUnpriced has a
// reason.
std::vector<Cost> CostsAt(const Run& run, const Record& record, const Chosen& price,
                          const InstanceFacts* type);

// The figure of a case on several devices at once, W / T, beside the slowest device alone and the
// sum of all devices alone, where the run holds those cases (param scope=device).
struct NodeFigure {
  Rate together = {};
  std::optional<double> slowest_alone = {};  // in the unit of `together`
  std::optional<double> sum_alone = {};      // in the unit of `together`
};

// The part of a run that figures of its records need. The run is looked through once, so that a
// record of a run with many cases and nodes takes no longer than one of a run with few. The run
// need not outlive this, and the catalog must.
class RunFigures {
 public:
  RunFigures(const Run& run, const Catalog& catalog);
  // The node figure of a record; nothing for a case on one device, and where a device failed.
  std::optional<NodeFigure> Node(const Record& record) const;
  // PartUsed for the kind of device that the record was measured on.
  const std::optional<std::string>& Used(const Record& record) const;
  // TypeOf the run, by the catalog.
  const InstanceFacts* Type() const { return type_; }
  // The devices of the catalog.
  std::span<const DeviceFacts> Devices() const { return devices_; }

 private:
  const InstanceFacts* type_ = nullptr;
  std::span<const DeviceFacts> devices_ = {};
  std::optional<std::string> cpus_used_ = {};
  std::optional<std::string> gpus_used_ = {};
  // The probe, method, backend and params of a case on one device alone.
  using Alone = std::tuple<std::string, int, std::string, Params>;
  std::map<Alone, std::vector<double>> speeds_ = {};
};

// The headline, by which machines are compared: bf16-train/1, or on nodes without accelerators
// bf16-cpu/2.
struct Headline {
  std::string name = {};
  const Record* record = nullptr;  // null: absent
  std::string absent = {};         // why, in words
};
// Whether a record is of the case that the run's machines are compared by, fit for it or not.
bool IsHeadlineCase(const Run& run, const Record& record);
// Finds the headline of a run, into which it points.
Headline HeadlineOf(const Run& run);

}  // namespace assay
