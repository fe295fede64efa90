// The vocabulary of what was measured, as plain data. One Run is one result file; results/FORMAT.md
// explains every key. Inside, everything is in base units (seconds, bytes, flops). Measurements and
// work are kept; rates, percentages and dollars are computed on reading
// (results/figures/figures.h).
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

// The type of the devices that a case runs on.
struct DeviceType {
  std::string kind = "cpu";  // or "gpu"
  std::string name = {};     // the model; "" where it isn't known, or several models take part
};

// The name of a device, by which it can be asked for too: "cuda:3" for the GPU with that index on
// its node, "cpu" for any other kind.
std::string DeviceName(std::string_view kind, int index);

// Params are what was asked. They are integers, booleans and strings only, so that equal questions
// have equal text, and sorted by name, which makes that text canonical. Every param is written out,
// defaults included.
using Value = std::variant<std::int64_t, bool, std::string>;
using Params = std::map<std::string, Value>;

// Facts are what was found out on the way: algorithm, layout, seconds to pack. They are never part
// of the match key.
using Fact = std::variant<std::int64_t, bool, double, std::string>;
using Facts = std::map<std::string, Fact>;

// The text of the fact with that name; "" where there is none or it isn't a text.
std::string TextOf(const Facts& facts, const std::string& name);

// The text of a value: "4096", "true", "bf16".
std::string ToText(const Value& value);
// The canonical text of params: "dtype=bf16,k=4096,m=16".
std::string ToText(const Params& params);
// The value of an integer, boolean or string param; a string lives as long as the params. Throws
// Error when it is absent or of another type.
std::int64_t IntegerOf(const Params& params, const std::string& name);
bool BooleanOf(const Params& params, const std::string& name);
const std::string& StringOf(const Params& params, const std::string& name);
// The value of a param for which only these words, or the integers from `least` to `most`, make
// sense. Throws Error for any other, whose sentence begins with `before` ("storage: ").
const std::string& WordOf(const Params& params, const std::string& name,
                          const std::vector<std::string>& words, std::string_view before = "");
std::int64_t IntegerWithin(const Params& params, const std::string& name, std::int64_t least,
                           std::int64_t most, std::string_view before = "");

// The useful work of one iteration over all devices and ranks of the case.
struct Work {
  std::optional<std::int64_t> flops = {};      // algorithmic operations (int8 operations too)
  std::optional<std::int64_t> bytes = {};      // bytes that count for the rate, by `formula`
  std::optional<std::int64_t> bytes_min = {};  // each operand moved once, for the roofline
  std::optional<std::int64_t> ops = {};        // input/output operations
  std::string formula = {};  // names the counting rule: "gemm/2mnk", "memory/triad3n"
  std::string per = "iteration, all units";
};

// The status of a record. Only ok and partial ones have figures; a wrong answer is never given a
// rate. ToText gives the file's word ("ok"), and StatusFrom reads it; nothing for any other.
enum class Status { kOk, kPartial, kSkipped, kFailed, kWrong };
std::string_view ToText(Status status);
std::optional<Status> StatusFrom(std::string_view text);

// One device or rank that took part.
struct Unit {
  int rank = 0;    // from 0 over the whole run
  int node = 0;    // index into Run::nodes
  int device = 0;  // its index as its process sees it; 0 for a CPU
};

// The readings of a device's sensors while samples were taken, one value for each of `at_s`; a
// series that the device doesn't tell is empty. The first reading is taken right before the
// warm-up, or in a sustained visit at the first sample that counts.
struct Telemetry {
  int unit = 0;                   // index into Record::units
  std::vector<double> at_s = {};  // since the run began
  std::vector<double> sm_mhz = {};
  std::vector<double> power_w = {};
  std::vector<double> temperature_c = {};
  std::optional<double> energy_j = {};   // used from the first of at_s to the last
  std::vector<std::string> events = {};  // what held its clock back, and errors: "sw_power_cap"
};

// The trend of a quantity: its change a minute as a share of its mean, so that 0.01 is 1 % more
// after a minute.
struct Trend {
  std::string of = {};  // "time_s" (of an iteration), "sm_mhz", "temperature_c"
  int unit = 0;         // index into Record::units, for what a device tells
  double per_minute = 0;
  double half_width = 0;  // half the width of the 95 % interval of per_minute
};

// The end of a sustained visit, in steady state or not.
struct Sustained {
  double least_s = 0;    // the least time that load and samples had to last together
  double heated_s = 0;   // the time under load before the first sample that counts
  double counted_s = 0;  // the time from there to the end of the last one
  // The reason why the visit ended: "steady"; "scattered" (its noise hides what would count as a
  // drift); "unsteady" (it did not reach steady state in the time that there was).
  std::string ended = {};
  std::vector<Trend> drift = {};      // the trends over the samples that count
  std::vector<Telemetry> start = {};  // one reading of each device, before the load
};

// A visit: one case in one round (a trial elsewhere). `time_s` holds seconds *per iteration*, one
// value for each batch of `batch` iterations, from the common start to the end of the last device
// or rank. Where work is counted over spans of time, a value belongs to a span, and `iterations`
// says how many ended in it.
struct Visit {
  double start_s = 0;  // when it began, since the run began
  int order = 0;       // its position within the round
  // The round, from 1, which tells the visits of one case apart; 0 in older files, which lack it.
  int round = 0;
  std::int64_t batch = 0;                     // 1 where there are `iterations`
  std::vector<std::int64_t> iterations = {};  // empty, or one for each of time_s
  std::vector<double> time_s = {};
  std::vector<double> host_time_s = {};    // the same work by the host's clock, where that differs
  std::vector<double> stable_time_s = {};  // storage writes: until on stable storage
  std::vector<double> unit_p50_s = {};  // each unit's median and maximum, where there are several
  std::vector<double> unit_max_s = {};
  std::vector<double> here_time_s = {};  // the companion case (Record::here), back to back
  // The seconds per iteration of each phase, by its name, where iterations have phases.
  std::map<std::string, std::vector<double>> phase_time_s = {};
  std::vector<Telemetry> telemetry = {};
  std::optional<Sustained> sustained = {};  // only for a sustained case
};

// The outcome of checking a case's answers.
struct Verification {
  std::string when = "timed";  // "first": an untimed iteration; "timed": the last timed one
  int round = 0;               // the round of that iteration, from 1; 0 where it isn't told
  std::int64_t checked = 0;    // elements
  std::int64_t wrong = 0;      // elements beyond the tolerance
  double max_error = 0;  // the largest error, in the measure of the tolerance; may be infinite
  double tolerance = 0;  // the largest error that is right; the check says what it is relative to
  std::string reference = {};            // what the answer was held against: "f64 rows", "exact"
  std::optional<std::string> what = {};  // the first wrong element, where there is one
};

// Counts of single operations in log-linear buckets: 64 per octave of nanoseconds ("loglin64"):
// value v in ns has bucket v for v < 64, else 64*(o-5) + (v >> (o-6)) - 64 with o = floor(log2 v).
struct Histogram {
  std::string scheme = "loglin64";
  std::vector<std::pair<std::int64_t, std::int64_t>> counts = {};  // bucket, count; ascending
};

// The measured roofline that a case is held against ("of here"), measured back to back in the same
// round.
struct Here {
  std::string probe = {};
  Params params = {};
  Work work = {};
};

// The outcome of a case over all rounds, or a status with its reason.
struct Record {
  std::string probe = {};
  int method = 1;  // raised by every change to assay that could move the probe's figure
  Params params = {};
  std::string backend = {};  // the library or implementation that did the work
  DeviceType device = {};
  Status status = Status::kOk;
  bool complete = true;      // false: fewer rounds than asked; shown, never in a headline
  std::string stopped = {};  // "ci", "rounds", "time", "cost", "interrupted"
  std::string reason = {};   // why the status isn't ok
  std::string remedy = {};   // what would make it ok
  Work work = {};
  Facts facts = {};
  std::vector<Unit> units = {};     // empty where it is the one process
  std::optional<int> storage = {};  // index into Node::storage of each of its nodes
  std::optional<Here> here = {};
  std::vector<Visit> rounds = {};
  std::map<std::string, Histogram> histograms = {};  // over all rounds, by name: "latency_s"
  std::optional<Verification> verify = {};
};

// The key by which cases of two Runs are matched: probe, method, canonical params.
std::string MatchKey(const Record& record);
// The key that tells the records of one Run apart: the match key, the backend and the units.
std::string RecordKey(const Record& record);

// Something that was found out about the machine, or "unknown".
struct Finding {
  std::string value = "unknown";
  std::string how = "none";         // flag, dmi, imds, k8s, catalog, inventory, none
  std::string confidence = "none";  // certain, likely, guess, none
};

// The cloud that a node is rented from, and as what it is rented.
struct Identity {
  Finding provider = {};
  Finding instance = {};
  Finding region = {};
  Finding zone_id = {};
  Finding purchase = {};
};

// A node's processors.
struct Cpu {
  std::string model = {};
  int sockets = 0;
  int cores_present = 0;              // in the machine
  int cores_visible = 0;              // those that this process may use
  int cores_used = 0;                 // those that CPU cases run on
  std::vector<std::string> isa = {};  // the instruction set's extensions that matter: "avx512f"
  std::optional<double> quota = {};   // a container's CPU quota, in cores
  std::optional<double> quota_period_s = {};  // the period of that quota
};

// The accelerators of one kind in a node: how many are there, how many this process may use, and
// how many it did use.
struct Accelerator {
  std::string name = {};  // the model, as its driver tells it
  int present = 0;
  int visible = 0;
  int used = 0;
  std::optional<std::int64_t> memory_bytes = {};  // of each
  std::string vbios = {};                         // the version of its firmware
  std::optional<double> power_limit_w = {};       // of each, in watts, as it is set
  std::optional<bool> ecc = {};                   // whether its memory corrects errors
  bool mig = false;                               // whether one is split into instances
};

// The network adapters of one kind and speed in a node.
struct Nic {
  std::string kind = {};  // efa, infiniband, roce, ethernet
  int count = 0;
  std::optional<double> gbps = {};  // the link rate of each, in 10^9 bits a second
};

// A volume that storage cases are measured on.
struct Volume {
  int path_id = 0;               // tells the run's paths apart, which stay out of files
  std::string kind = "unknown";  // local, network, memory, unknown
  std::string device = {};       // the models or drivers of the disks below it
  std::optional<std::string> volume_type = {};  // the cloud's name for it: "gp3"
  std::optional<double> gib = {};               // the size, in 2^30 bytes
  std::optional<std::int64_t> iops = {};        // provisioned: operations a second
  std::optional<std::int64_t> mbps = {};        // provisioned: 10^6 bytes a second
  std::string fs = {};                          // the file system: "ext4"
  std::vector<std::string> mount = {};          // the mount options that matter
  std::optional<std::string> raid = {};         // the kind of RAID, where it is one
  std::string how = {};                         // how the kind was found out
};

// Something that makes figures doubtful, and what helps.
struct Note {
  std::string what = {};
  std::string remedy = {};
};

// One machine of a run. What isn't known of it stays empty.
struct Node {
  std::string node_id = {};  // NodeId of results/file/privacy.h
  bool in_container = false;
  std::string virtualization = {};  // "kvm"; "emulated" where each instruction is interpreted
  Identity identity = {};
  Cpu cpu = {};
  std::int64_t memory_bytes = 0;  // all of the machine's
  std::vector<Accelerator> accelerators = {};
  std::vector<Nic> nics = {};
  std::vector<Volume> storage = {};
  std::map<std::string, std::string> software = {};  // versions by name: "nccl"
  std::map<std::string, std::string> env = {};       // AllowedEnvironment of results/file/privacy.h
  std::vector<Note> notes = {};
};

// One dated price: USD per hour of `resource`, or "not offered" (`offered` false, never 0).
struct Offer {
  std::string provider = {};  // who runs it
  std::string seller = {};    // who sells it
  std::string instance = {};
  std::string region = {};
  std::optional<std::string> zone = {};
  std::string resource = "node";  // what the price is of: node, volume
  std::string purchase = {};      // one of Purchases (results/catalog/price.h)
  bool offered = true;
  std::optional<int> term_months = {};      // of a commitment
  std::optional<double> upfront_usd = {};   // paid at its start, and spread over usd_per_hour
  std::optional<double> usd_per_hour = {};  // of the whole resource
  std::optional<double> usd_low = {};       // the range an hour, over zones or over time
  std::optional<double> usd_high = {};
  std::string price_date = {};      // 2026, 2026-11, 2026-11-21 or "undated"
  std::string date_precision = {};  // day, month, year, not_before, undated
  std::string kind = {};            // list, spot, typed, negotiated …
  std::string source = {};          // the publication
  bool is_private = false;          // typed or negotiated: leaves only with --keep-price
};

// What a run cost, as it was told while it was measured: at the price of that day, as if its nodes
// were rented for it alone. It is kept to be held against an invoice, and never computed anew.
// Seconds are each node's, dollars those of all nodes together.
struct RunCost {
  int nodes = 1;
  std::string purchase = {};                     // as Offer::purchase
  std::string price_date = {};                   // as Offer::price_date
  std::optional<double> usd_per_node_hour = {};  // of a whole node; nothing: no price is known
  std::optional<double> unit_s = {};             // the unit of bills, where it is known
  std::optional<double> minimum_s = {};          // the least that is billed, where there is one
  double before_s = 0;                           // paid before the run began: boot, image pull
  std::optional<double> planned_s = {};          // the time that the run was expected to take
  std::optional<double> held_s = {};             // the time that the run took
  std::optional<double> billed_s = {};          // held_s in whole units, and no less than the least
  std::optional<double> first_verified_s = {};  // before_s, and until the first verified figure
  std::optional<double> planned_usd = {};       // the bill of planned_s
  std::optional<double> usd = {};               // the bill: of billed_s
  std::optional<double> first_verified_usd = {};  // the share of the time first_verified_s
  bool is_private = false;  // of a typed or negotiated price: dollars leave only with --keep-price
};

// The place where a rank ran.
struct RankPlace {
  int rank = 0;
  int node = 0;                   // index into Run::nodes
  std::vector<int> devices = {};  // the GPUs that it runs cases on, by CUDA's index; none on CPUs
  int numa = 0;                   // its NUMA node; -1 where it isn't known
};

// The build of assay that measured.
struct Build {
  std::string version = {};
  std::string commit = {};
  bool dirty = false;      // whether it was built from changed sources
  std::string build = {};  // "release g++ 12.2"
  std::optional<std::string> image_digest = {};
};

// The suite that a run visited, by name, version and hash.
struct SuiteName {
  std::string name = {};
  int version = 0;
  std::string sha256 = {};
};

// One run, which is one result file. results/FORMAT.md explains every field.
struct Run {
  int version = 1;                           // of the format
  std::vector<std::string> needs = {};       // features that a reader must know
  std::string id = {};                       // random, by which copies of the run are known
  std::optional<std::string> campaign = {};  // a name for several runs that belong together
  std::uint64_t seed = 0;                    // decides all random choices
  std::string status = "complete";           // complete, interrupted, failed
  std::string started = {};                  // UTC, 2026-11-21T22:40:13Z
  std::string ended = {};
  bool complete = true;                      // false: some case has fewer rounds than asked
  int rounds = 0;                            // asked for
  std::optional<std::string> division = {};  // closed, open (DivisionOf, results/figures/compare.h)
  Build assay = {};
  SuiteName suite = {};
  std::map<std::string, std::vector<std::string>> command = {};  // parsed options, scrubbed
  std::map<std::string, double> timeline_s = {};  // moments since the process began: "first_result"
  std::string catalog_sha256 = {};                // of the price catalog that was built in
  std::optional<RunCost> cost = {};
  std::vector<Offer> offers = {};
  std::vector<RankPlace> ranks = {};
  std::vector<Node> nodes = {};
  std::vector<Record> records = {};
};

// Checks that the Run is sound: that it has a node, that every index of a node, of a volume and of
// a unit in telemetry is in range, so that code which uses one needn't check it, and that a visit
// has as many `iterations` as times. Returns the first fault in words that follow the run's name
// ("has no node"), or "".
std::string BrokenReference(const Run& run);

}  // namespace assay
