// The vocabulary of what was measured, as plain data. One Run is one result file; results/FORMAT.md
// explains every key. Inside, everything is in base units (seconds, bytes, flops). Measurements and
// work are kept; rates, percentages and dollars are computed on reading (results/figures.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace assay {

using Seconds = std::chrono::duration<double>;

// What was asked: integers, booleans and strings only, so that equal questions have equal text.
// Sorted by name, which makes it canonical. Every param is written out, defaults included.
using Value = std::variant<std::int64_t, bool, std::string>;
using Params = std::map<std::string, Value>;

// What was found out on the way: algorithm, layout, seconds to pack. Never part of the match key.
using Fact = std::variant<std::int64_t, bool, double, std::string>;
using Facts = std::map<std::string, Fact>;

// The text of a fact, "" where there is none.
std::string TextOf(const Facts& facts, const std::string& name);

// "4096", "true", "bf16".
std::string ToText(const Value& value);
// "dtype=bf16,k=4096,m=16": the canonical text of params.
std::string ToText(const Params& params);
// The value of an integer, boolean or string param. Throws Error when it is absent or of another
// type.
std::int64_t IntegerOf(const Params& params, const std::string& name);
bool BooleanOf(const Params& params, const std::string& name);
const std::string& StringOf(const Params& params, const std::string& name);

// The useful work of one iteration over all devices and ranks of the case.
struct Work {
  std::optional<std::int64_t> flops = {};      // algorithmic operations (int8 operations too)
  std::optional<std::int64_t> bytes = {};      // bytes that count for the rate, by `formula`
  std::optional<std::int64_t> bytes_min = {};  // each operand moved once, for the roofline
  std::optional<std::int64_t> ops = {};        // input/output operations
  std::string formula = {};  // names the counting rule: "gemm/2mnk", "memory/triad3n"
  std::string per = "iteration, all units";
};

enum class Status { kOk, kPartial, kSkipped, kFailed, kWrong };
std::string_view ToText(Status status);
std::optional<Status> StatusFrom(std::string_view text);

// One device or rank that took part.
struct Unit {
  int rank = 0;
  int node = 0;
  int device = 0;
};

// What a device said of itself while its samples were taken: from the warm-up before them, which
// the first reading precedes; of a sustained visit while what counts was measured.
struct Telemetry {
  int unit = 0;                   // index into Record::units
  std::vector<double> at_s = {};  // since the run began
  std::vector<double> sm_mhz = {};
  std::vector<double> power_w = {};
  std::vector<double> temperature_c = {};  // empty where it isn't told
  std::optional<double> energy_j = {};     // from the first of at_s to the last
  std::vector<std::string> events = {};    // "sw_power_cap"
};

// How fast something moved, as a share of its mean a minute: 0.01 is 1 % more after a minute.
struct Trend {
  std::string of = {};  // "time_s" (of an iteration), "sm_mhz", "temperature_c"
  int unit = 0;         // index into Record::units, of what a device tells
  double per_minute = 0;
  double half_width = 0;  // of its 95 % interval
};

// How a visit came to rest under load before what counts of it.
struct Sustained {
  double least_s = 0;    // how long load and samples had to last together, at least
  double heated_s = 0;   // under load before the first sample that counts
  double counted_s = 0;  // from there to the end of the last one
  // Why it ended: "steady"; "scattered" (its noise hides what would count as a drift); "unsteady"
  // (it did not come to rest in the time that there was).
  std::string ended = {};
  std::vector<Trend> drift = {};      // over what counts
  std::vector<Telemetry> start = {};  // one reading of each device, before the load
};

// One case in one round. `time_s` holds seconds *per iteration*, one value a batch of `batch`
// iterations, from the common start to the end of the last device or rank. Work that is counted by
// time has `iterations` instead: as many as ended in each span of time, of which it is one value.
struct Visit {
  double start_s = 0;                         // since the run began
  int order = 0;                              // position within the round
  std::int64_t batch = 0;                     // 1 where there are `iterations`
  std::vector<std::int64_t> iterations = {};  // empty, or one for each of time_s
  std::vector<double> time_s = {};
  std::vector<double> host_time_s = {};    // the same work by the host's clock, where that differs
  std::vector<double> stable_time_s = {};  // storage writes: until on stable storage
  std::vector<double> unit_p50_s = {};  // each unit's median and maximum, where there are several
  std::vector<double> unit_max_s = {};
  std::vector<double> here_time_s = {};  // the companion case (Record::here), back to back
  // Of iterations with phases: seconds per iteration of each by its name, beside time_s.
  std::map<std::string, std::vector<double>> phase_time_s = {};
  std::vector<Telemetry> telemetry = {};
  std::optional<Sustained> sustained = {};  // of a sustained case: then what was counted is above
};

struct Verification {
  std::string when = "timed";  // "first": an untimed iteration; "timed": the last timed one
  int round = 0;
  std::int64_t checked = 0;
  std::int64_t wrong = 0;
  double max_error = 0;
  double tolerance = 0;
  std::string reference = {};
  std::optional<std::string> what = {};  // the first wrong element, where there is one
};

// Counts of single operations in log-linear buckets: 64 per octave of nanoseconds ("loglin64"):
// value v in ns has bucket v for v < 64, else 64*(o-5) + (v >> (o-6)) - 64 with o = floor(log2 v).
struct Histogram {
  std::string scheme = "loglin64";
  std::vector<std::pair<std::int64_t, std::int64_t>> counts = {};  // bucket, count; ascending
};

// The bound that a case is held against "of here": measured back to back in the same round.
struct Here {
  std::string probe = {};
  Params params = {};
  Work work = {};
};

// What came of a case over all rounds, or a status with its reason.
struct Record {
  std::string probe = {};
  int method = 1;
  Params params = {};
  std::string backend = {};
  Status status = Status::kOk;
  bool complete = true;      // false: fewer rounds than asked; shown, never in a headline
  std::string stopped = {};  // "ci", "rounds", "time", "cost", "interrupted"
  std::string reason = {};   // of a status that isn't ok
  std::string remedy = {};
  Work work = {};
  Facts facts = {};
  std::vector<Unit> units = {};
  std::optional<int> storage = {};  // index into Node::storage
  std::optional<Here> here = {};
  std::vector<Visit> rounds = {};
  std::map<std::string, Histogram> histograms = {};
  std::optional<Verification> verify = {};
};

// The key by which cases of two Runs are matched: probe, method, canonical params.
std::string MatchKey(const Record& record);
// What tells the records of one Run apart: the match key, the backend and the units.
std::string RecordKey(const Record& record);

// Something found out about the machine: from where, and how sure ("certain", "likely", "guess").
struct Finding {
  std::string value = "unknown";
  std::string how = "none";
  std::string confidence = "none";
};

struct Identity {
  Finding provider = {};
  Finding instance = {};
  Finding region = {};
  Finding zone_id = {};
  Finding purchase = {};
};

struct Cpu {
  std::string model = {};
  int sockets = 0;
  int cores_present = 0;
  int cores_visible = 0;
  int cores_used = 0;
  std::vector<std::string> isa = {};
  std::optional<double> quota = {};           // of a container, in cores
  std::optional<double> quota_period_s = {};  // in which that much is given, again and again
};

struct Accelerator {
  std::string name = {};
  int present = 0;
  int visible = 0;
  int used = 0;
  std::optional<std::int64_t> memory_bytes = {};
  std::string vbios = {};
  std::optional<double> power_limit_w = {};
  std::optional<bool> ecc = {};
  bool mig = false;
};

struct Nic {
  std::string kind = {};
  int count = 0;
  std::optional<double> gbps = {};
};

struct Volume {
  int path_id = 0;
  std::string kind = "unknown";  // local, network, memory, unknown
  std::string device = {};
  std::optional<std::string> volume_type = {};
  std::optional<double> gib = {};
  std::optional<std::int64_t> iops = {};
  std::optional<std::int64_t> mbps = {};
  std::string fs = {};
  std::vector<std::string> mount = {};
  std::optional<std::string> raid = {};
  std::string how = {};
};

struct Note {
  std::string what = {};
  std::string remedy = {};
};

struct Node {
  std::string node_id = {};
  bool in_container = false;
  std::string virtualization = {};
  Identity identity = {};
  Cpu cpu = {};
  std::int64_t memory_bytes = 0;
  std::vector<Accelerator> accelerators = {};
  std::vector<Nic> nics = {};
  std::vector<Volume> storage = {};
  std::map<std::string, std::string> software = {};
  std::map<std::string, std::string> env = {};
  std::vector<Note> notes = {};
};

// One dated price: USD per hour of `resource`, or "not offered" (`offered` false, never 0).
struct Offer {
  std::string provider = {};
  std::string seller = {};
  std::string instance = {};
  std::string region = {};
  std::optional<std::string> zone = {};
  std::string resource = "node";
  std::string purchase =
      {};  // on_demand spot reserved savings_plan capacity_block dws owned custom
  bool offered = true;
  std::optional<int> term_months = {};
  std::optional<double> upfront_usd = {};
  std::optional<double> usd_per_hour = {};
  std::optional<double> usd_low = {};
  std::optional<double> usd_high = {};
  std::string price_date = {};      // 2026, 2026-11, 2026-11-21 or "undated"
  std::string date_precision = {};  // day, month, year, not_before, undated
  std::string kind = {};            // list, spot, typed, negotiated …
  std::string source = {};
  bool is_private = false;  // typed or negotiated: leaves only with --keep-price
};

struct RankPlace {
  int rank = 0;
  int node = 0;
  std::vector<int> devices = {};
  int numa = 0;
};

struct Build {
  std::string version = {};
  std::string commit = {};
  bool dirty = false;
  std::string build = {};  // "release g++ 12.2"
  std::optional<std::string> image_digest = {};
};

struct SuiteName {
  std::string name = {};
  int version = 0;
  std::string sha256 = {};
};

struct Run {
  int version = 1;
  std::vector<std::string> needs = {};
  std::string id = {};
  std::optional<std::string> campaign = {};
  std::uint64_t seed = 0;
  std::string status = "complete";  // complete, interrupted, failed
  std::string started = {};         // UTC, 2026-11-21T22:40:13Z
  std::string ended = {};
  bool complete = true;
  int rounds = 0;
  std::optional<std::string> division = {};
  Build assay = {};
  SuiteName suite = {};
  std::map<std::string, std::vector<std::string>> command = {};  // parsed options, scrubbed
  std::map<std::string, double> timeline_s = {};
  std::string catalog_sha256 = {};
  std::vector<Offer> offers = {};
  std::vector<RankPlace> ranks = {};
  std::vector<Node> nodes = {};
  std::vector<Record> records = {};
};

// A sound Run has a node, and every index in it (of nodes, volumes, units) points at something, so
// that who follows one needn't look. What is wrong with the first that doesn't, for an error; else
// empty.
std::string BrokenReference(const Run& run);

}  // namespace assay
