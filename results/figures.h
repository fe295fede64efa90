// Every figure that is derived from a Record: rates, of-here ratios, dollars. One definition each,
// in results/METRICS.md; scripts/recompute.py computes the same from that page alone.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "results/pacing.h"
#include "results/price.h"
#include "results/run.h"
#include "results/stats.h"

namespace assay {

// A mean time this much above the median, or a speed this much above its bound of here, is flagged.
inline constexpr double kSuspiciousAbove = 1.02;

// What a record's speed is counted in, by its work: "FLOP/s" (int8: "OP/s"), "B/s", "IOPS" (storage
// in blocks under 64 KiB), "op/s" (a barrier, messages of a ping-pong). Collectives count algbw in
// B/s; their busbw is a figure of its own.
struct Rate {
  double value = 0;  // per second, base units
  std::string unit = {};
};

// "cpu" or "gpu": what kind of device a record was measured on, by its backend.
std::string DeviceKind(const Record& record);
// all_reduce and its family: what crosses a network between ranks.
bool IsNetwork(const std::string& probe);
// "1 of 8" where the run used a part of what the node has of that kind of device: accelerators, or
// cores (a container's quota counts); "a slice (MIG)" of a divided accelerator. The whole node is
// paid all the same.
std::optional<std::string> PartUsed(const Run& run, const std::string& device_kind);
// A node of the run holds an accelerator, used or not.
bool HoldsAccelerator(const Run& run);

// The median batch time of one iteration over all rounds, seconds; nothing where none was measured.
std::optional<double> MedianTime(const Record& record);
// T of METRICS.md: sum of timed seconds / sum of iterations, seconds per iteration; after the burst
// where there was one.
std::optional<double> MeanTime(const Record& record);
// The time behind the speed: the median, or T where PacingOf says so (results/pacing.h).
std::optional<double> UsualTime(const Record& record);
// Mean over median time. Above kSuspiciousAbove the bill sees stalls that the speed doesn't show.
// Nothing where the speed is of the mean.
std::optional<double> MeanToMedian(const Record& record);
// What has to be known of how a record was paced, beside its speed: "burst 78.6 kIOPS for 12 s,
// then 3.00 kIOPS", "too short to tell a burst (4.5 s)"; "" where there is nothing.
std::string PacingText(const Record& record);
// How visits that were to be sustained did not come to rest: "steady in 3 of 5 rounds, not at rest
// in 1, too noisy to tell in 1"; "" where all did.
std::string UnrestText(const Record& record);
// Work over the usual time. Nothing unless the status is ok or partial.
std::optional<Rate> Speed(const Record& record);
// The same to stable storage, for writes.
std::optional<Rate> StableSpeed(const Record& record);
// busbw = algbw x this, for a collective over `ranks` ranks: what each link must carry if the ranks
// form a flat ring. Nothing for a barrier, fabric, and what isn't a collective.
std::optional<double> BusFactor(std::string_view operation, std::int64_t ranks);
// In B/s; ranks by the param of that name.
std::optional<double> BusBandwidth(const Record& record);
// What a rank's share of the busiest link carries, B/s, by what the algorithm that ran moves (facts
// `wire_bytes` and `algorithm`): between nodes that which its node sends or receives, whichever is
// more, shared among its ranks; on one node what the busiest rank does. Nothing where a library
// doesn't tell its algorithm, and where there is no bus bandwidth.
struct Wire {
  double bytes_per_s = 0;
  std::string model = {};  // the algorithm: "ring", "hier", …
  bool is_between_nodes = false;
};
std::optional<Wire> WireRate(const Record& record);
// What a collective's data went over, as its ranks said ("ob1/vader"); "" where none did.
std::string TransportOf(const Record& record);
// One value a round: log of the usual time of that round. The units of inference of one run.
std::vector<double> LogRoundTimes(const Record& record);
// The same by this statistic, for who compares with a record that has it.
std::vector<double> LogRoundTimes(const Record& record, Statistic statistic);
// The interval of the speed, relative: what stands behind "±1.2 % (5 rounds, this run)". Of one
// round of spans, that of the spans.
std::optional<Interval> SpeedInterval(const Record& record, double confidence = 0.95);
// The `of here` ratio: the mean over rounds of speed / speed of the companion in that round. Above
// kSuspiciousAbove either of the two was measured wrongly. Nothing of what is paced, since the
// companion is sampled for less than a period.
std::optional<double> OfHere(const Record& record);

// What a step of GEMMs pays for an all-reduce that runs beside them, of a record of `overlap`.
// Rates are over all rounds; the all-reduce's are bus bandwidths.
struct OverlapFigure {
  double compute_alone = 0;         // FLOP/s
  double compute_together = 0;      // until the GEMMs are over
  double communicate_alone = 0;     // B/s
  double communicate_together = 0;  // until the all-reduce is over
  double compute_slowdown = 0;      // time together / alone
  double communicate_slowdown = 0;
  // The step's time less that of its GEMMs alone, by rounds. Below 0 where noise makes it so.
  double exposed_s = 0;
  std::optional<double> exposed_low_s = {};  // 95 %; nothing of one round
  std::optional<double> exposed_high_s = {};
  // (a + b - c) / min(a, b): of the shorter of the two the share that the other hides. 1: together
  // they take as long as the longer alone; 0: as one after the other; below 0: longer than that.
  double hidden = 0;
};
std::optional<OverlapFigure> OverlapOf(const Record& record);

// What a record's devices drew while they were measured.
struct PowerFigure {
  double watts = 0;  // of all of them
  std::optional<double> joules_per_tflop = {};
  std::string held_back = {};  // none, power-capped, thermal, power-brake; the worst of all visits
};
// Nothing where there is no telemetry of each unit.
std::optional<PowerFigure> PowerOf(const Record& record);

// A dollar figure with the name that METRICS.md gives it.
struct Cost {
  std::string name = {};   // "usd_per_tflops_hour", …
  std::string label = {};  // "$ per TFLOP/s-h"
  double usd = 0;
  // The purchase that was looked for, where the dollars are those on demand in its place.
  std::optional<std::string> instead_of = {};
};
// "0.006957 USD per TFLOP/s-h"; "… (on demand)" where that is in place of another purchase.
std::string CostText(const Cost& cost);
// The dollar figures that METRICS.md defines for a record, at `usd_per_hour` for all nodes held;
// empty where there is none. Storage costs are of the nodes alone unless the volume's own price is
// given: then first of the volume alone, then of both. What is shown comes from CostsAt.
std::vector<Cost> Costs(const Record& record, double usd_per_hour,
                        std::optional<double> storage_usd_per_hour = {});

// That a figure of storage is a cache's and not its volume's, or may be.
struct Cached {
  std::string mark = {};  // "memory", "refuted", "cache?"
  std::string why = {};
  bool is_sure = false;  // it has no price then
};
// Nothing for other probes, without a figure, and where I/O was proved to be direct.
std::optional<Cached> CachedOf(const Run& run, const Record& record);

// Why a record of this run has no price, or "": in the suites that are shown to others the price of
// what accelerators compute and copy, but for collectives, is that of what they sustain; what is a
// cache's is not what its volume is paid for, nor what sockets give what a faster network is.
std::string WhyUnpriced(const Run& run, const Record& record);
// The same where the instance type of the run's nodes is known already (results/expected.h TypeOf).
std::string WhyUnpriced(const Run& run, const Record& record, const InstanceFacts* type);

// P of METRICS.md: USD per hour of every node that the run held, idle ones too. Nothing without a
// price.
std::optional<double> UsdPerHour(const Run& run, const Chosen& price);

// What a record of this run costs at that price of one node, as it may be shown: the one place
// where a figure meets a price. Empty without a price, and where WhyUnpriced has a reason.
std::vector<Cost> CostsAt(const Run& run, const Record& record, const Chosen& price);
std::vector<Cost> CostsAt(const Run& run, const Record& record, const Chosen& price,
                          const InstanceFacts* type);

// A case on several devices at once: W / T, beside the slowest device alone and the sum of all
// devices alone where the run holds those cases (param scope=device).
struct NodeFigure {
  Rate together = {};
  std::optional<double> slowest_alone = {};
  std::optional<double> sum_alone = {};
};

// What the figures of a record need to know of its whole run. It looks through the run once, so
// that a record of a run with many cases and nodes takes no longer than one of a run with few. The
// run need not outlive it.
class RunFigures {
 public:
  explicit RunFigures(const Run& run);
  // Nothing for a case on one device, and nothing where a device failed.
  std::optional<NodeFigure> Node(const Record& record) const;
  // PartUsed of the run, of the kind of device that the record is of.
  const std::optional<std::string>& Used(const Record& record) const;
  // TypeOf the run, by the catalog that is built in.
  const InstanceFacts* Type() const { return type_; }

 private:
  const InstanceFacts* type_ = nullptr;
  std::optional<std::string> cpus_used_ = {};
  std::optional<std::string> gpus_used_ = {};
  // Probe, method, backend and params of a case on one device alone.
  using Alone = std::tuple<std::string, int, std::string, Params>;
  std::map<Alone, std::vector<double>> speeds_ = {};
};

// The figure that machines are compared by: bf16-train/1, on nodes without accelerators bf16-cpu/2.
struct Headline {
  std::string name = {};
  const Record* record = nullptr;  // null: absent
  std::string absent = {};         // why, in words
};
// Points into `run`.
Headline HeadlineOf(const Run& run);

}  // namespace assay
