// The facts of a probe that figures need: one row each, in one table. Nothing else in the tree
// decides by a probe's name, but for params that were added later (results/file/fields.h). The
// table of results/METRICS.md says the same to people and to scripts/recompute.py; a test holds the
// two together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/file/run.h"

namespace assay {

// The resource that limits a probe, and with it how much its runs differ from each other: the
// devices of a node, what is between ranks, or a volume.
enum class ProbeClass { kCompute, kNetwork, kStorage };
// "compute", "network", "storage": the words of noise.csv.
std::string_view ToText(ProbeClass probe_class);

// The bus bandwidth of a collective over n ranks is its speed times this: what each link must carry
// if the ranks form a flat ring (docs/collectives.md derives it; nccl-tests, doc/PERFORMANCE.md has
// the same).
enum class BusFactor {
  kNone,   // it has no bus bandwidth
  kWhole,  // 1
  kParts,  // (n - 1) / n, where the size is that of all ranks' parts together
  kTwice,  // 2 (n - 1) / n
};
// The factor for this many ranks. Nothing for kNone, and nothing without a rank.
std::optional<double> FactorOf(BusFactor factor, std::int64_t ranks);

// The messages that one operation over n ranks sends one after the other, as the cost model has it.
enum class StepCount {
  kOne,        // to a neighbour
  kEachOther,  // n - 1, since with fewer, parts would be passed on and more moved than busbw counts
  kOnePass,    // n - 1 around a ring, log2 n along a tree
  kTwoPasses,  // twice as many as kOnePass
};

// The good that is bought of a probe counted in bytes (METRICS.md, Dollars).
enum class BytesCost {
  kRate,     // a TB/s for an hour
  kMoved,    // a TB moved by these ranks
  kReduced,  // a TB reduced by these ranks
  kVolume,   // a TiB read or written
};

// A param that has one of these values, written as text.
struct ParamIs {
  std::string param = {};
  std::vector<std::string> values = {};
};
// Whether the params fulfil the condition; an absent param doesn't.
bool Holds(const ParamIs& condition, const Params& params);

// A param whose integer lies below this.
struct ParamBelow {
  std::string param = {};
  std::int64_t limit = 0;
};
bool Holds(const ParamBelow& condition, const Params& params);

// A value of `param` that labels leave out where `where` holds.
struct UsualWhere {
  ParamIs where = {};
  std::string param = {};
  Value value = {};
};

// One row. The initialisers are what holds of a probe that has no row.
struct ProbeFacts {
  std::string name = {};
  // The words for a case in a table (results/figures/labels.h fills it in): "{m}" is the param's
  // text, "{bytes:size}" its size, "{ranks:#rank}" the number with its noun, "{seq_q/seq_kv}" both
  // of them, once where they are equal, and "{mask:mask}" what a mask does to the scores. The
  // params that it doesn't name follow by their names, but for usual values. "": all params by
  // their names.
  std::string label = {};
  // The values that labels leave out, and those that they leave out in some cases.
  Params usual = {};
  std::vector<UsualWhere> usual_where = {};

  ProbeClass probe_class = ProbeClass::kCompute;
  // m of METRICS.md: the change, as a share, that is called the same in a comparison without
  // --within.
  double margin = 0.01;

  // The work of an iteration is its flops where the record has any, else its bytes, else its
  // operations ("op/s"). These are the cases whose bytes are counted although they have flops.
  std::optional<ParamIs> bytes_where = {};
  // The cases whose operations are counted although they have bytes, as "IOPS".
  std::optional<ParamBelow> ops_where = {};

  BusFactor bus_factor = BusFactor::kNone;
  StepCount steps = StepCount::kOnePass;
  BytesCost bytes_cost = BytesCost::kRate;
  // The cases of a volume that are paid as written; the others are paid as read.
  ParamIs writes = {};
  // Whether its records keep their dollars on accelerators although they aren't sustained.
  bool burst_is_paid = false;

  // Whether the probe's speed is held against the data sheet of its device.
  bool has_peak = false;
  // Whether one of its cases is the figure by which machines are compared.
  bool is_headline = false;
  // The collective that runs beside its flops; "" where none does.
  std::string beside = {};
  // The fact without which its figures are not compared: both sides must say the same; "" where
  // there is none.
  std::string alike_in = {};
  // The params for which each row of expected_devices.csv must give a value, since a figure that
  // others measured holds for its shape alone.
  std::vector<std::string> shape = {};
  // More such params, for which a row may give a least value (bytes>=N), since from some size on
  // nothing changes any more.
  std::vector<std::string> shape_at_least = {};
  // The reduction that nccl-tests prints where there is none.
  std::string nccl_redop = "none";
};

// Every row, in the order of METRICS.md.
const std::vector<ProbeFacts>& KnownProbes();
// The row of this probe, or that of a probe without one.
const ProbeFacts& FindProbe(std::string_view name);

// Puts rows before the built-in ones for as long as it lives, for tests of what a new probe takes.
// The program makes none, since its table never changes. No other thread may look for a probe while
// one is made or destroyed.
class MoreProbes {
 public:
  explicit MoreProbes(const std::vector<ProbeFacts>& rows);
  ~MoreProbes();
  MoreProbes(const MoreProbes&) = delete;
  MoreProbes& operator=(const MoreProbes&) = delete;

 private:
  std::vector<ProbeFacts> rows_;
  const std::vector<ProbeFacts>* before_;
};

}  // namespace assay
