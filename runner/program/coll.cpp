#include "runner/program/coll.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "collectives/collectives.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/base/names.h"
#include "results/base/size.h"
#include "results/base/text.h"
#include "results/catalog/price.h"
#include "results/figures/drift.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/groups.h"
#include "results/figures/labels.h"
#include "results/figures/model.h"
#include "results/file/nodes.h"
#include "results/show/notes.h"
#include "runner/cluster/cluster.h"
#include "runner/cluster/join.h"
#include "runner/core/module.h"
#include "runner/program/bisect.h"
#include "runner/program/console.h"
#include "runner/program/measure.h"
#include "runner/program/nccl_table.h"
#include "runner/program/outputs.h"
#include "runner/program/signals.h"
#include "version.h"

namespace assay {
namespace {

constexpr std::int64_t kKib = 1024;
constexpr std::int64_t kMib = 1024 * kKib;
constexpr std::int64_t kGib = 1024 * kMib;
// Of `-N 0`, which goes on until it is interrupted.
constexpr std::int64_t kEndless = 100'000;
constexpr std::size_t kMostSizes = 10'000;

// Variables of nccl-tests that ask for something.
constexpr const char* kVariables[] = {"NCCL_TESTS_SPLIT", "NCCL_TESTS_SPLIT_MASK",
                                      "NCCL_TESTS_DEVICE", "NCCL_TESTS_MIN_BW"};

std::map<std::string, std::string> NcclTestsEnvironment() {
  std::map<std::string, std::string> environment;
  for (const char* name : kVariables) {
    if (const char* value = std::getenv(name)) environment[name] = value;
  }
  return environment;
}

// Local time, as nccl-tests writes it.
std::string Now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  localtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts)};
}

// As nccl-tests does it: under its name, or where a count is given.
bool IsExact(const CollOptions& options) {
  return !options.program.empty() || options.iters || options.warmup_iters || options.run_cycles;
}

bool IsLadder(const CollOptions& options) {
  return options.minbytes || options.maxbytes || options.stepbytes || options.stepfactor ||
         !options.program.empty();
}

// By somebody else, so that assay starts no ranks.
bool WereStarted(const CollOptions& options) {
  return UnderLauncher() || !options.run.bootstrap.empty();
}

// from, from x factor, … up to `to`.
std::vector<std::int64_t> Ladder(std::int64_t from, std::int64_t to, std::int64_t factor = 2) {
  std::vector<std::int64_t> sizes = {from};
  while (sizes.back() <= to / factor) sizes.push_back(sizes.back() * factor);
  return sizes;
}

bool Has(const Probe& probe, const std::string& param) { return probe.defaults.contains(param); }

// The dtypes that the flag gives, by nccl-tests' names or ours.
std::vector<std::string> DtypesOf(const CollOptions& options) {
  if (options.datatype == "all") return DtypeNames(DtypeUse::kCollectives);
  return {std::string(ReadDtype(options.datatype, "-d", DtypeUse::kCollectives).name)};
}

std::vector<std::string> RedopsOf(const CollOptions& options) {
  const std::vector<std::string> known = {"sum", "prod", "max", "min", "avg"};
  if (options.op == "all") return known;
  if (std::find(known.begin(), known.end(), options.op) != known.end()) return {options.op};
  throw Error(fmt::format("-o has no reduction {}; it is one of {}, or all", Clean(options.op, 32),
                          fmt::join(known, ", ")));
}

std::vector<std::int64_t> RootsOf(const CollOptions& options, std::int64_t ranks) {
  std::int64_t root = 0;
  const std::string& text = options.root;
  if (text != "all" && text != "-1") {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), root);
    if (error != std::errc() || end != text.data() + text.size() || root < 0 || root >= ranks) {
      throw Error(
          fmt::format("-r is a rank, from 0 to {}, or all; got '{}'", ranks - 1, Clean(text, 32)));
    }
    return {root};
  }
  std::vector<std::int64_t> roots;
  for (root = 0; root < ranks; ++root) roots.push_back(root);
  return roots;
}

// Whose calls return before an operation is done, and which has groups of operations.
bool UsesNccl(const CollOptions& options) {
  const std::vector<std::string>& libraries = options.run.backends;
  return std::find(libraries.begin(), libraries.end(), "nccl") != libraries.end();
}

// -K as nccl-tests takes it.
std::int64_t SkippedOf(const CollOptions& options) {
  const bool fits = IsExact(options) && options.per_iter_timing != 0 &&
                    options.per_iter_skip < options.iters.value_or(20);
  return fits ? options.per_iter_skip : 0;
}

// Barriers have no buffers to take turns on, and are timed one at a time.
std::vector<std::string> ModesOf(const CollOptions& options, const Probe& probe) {
  if (!Has(probe, "cache")) return {"latency"};
  if (options.cudagraph > 0) return {"graph"};
  if (options.mode == "both") return {"throughput", "latency"};
  if (!options.mode.empty()) return {options.mode};
  if (options.blocking == 2 && UsesNccl(options)) return {"blocking"};
  if (options.blocking) return {*options.blocking % 2 == 1 ? "latency" : "throughput"};
  return {IsExact(options) ? "throughput" : "latency"};
}

// MPI, which is the usual one.
bool KnowsPlainBuffersAlone(const std::vector<std::string>& libraries) {
  return libraries.empty() || libraries == std::vector<std::string>{"mpi"};
}

PerProcess PerProcessOf(const CollOptions& options) {
  return {.threads = options.nthreads, .gpus = options.ngpus};
}

// The ranks that are threads were made before anything was planned.
bool AreInThreads(const CollOptions& options) {
  return PerProcessOf(options).Ranks() > 1 && options.run.backends.size() == 1 &&
         collectives::HasThreads(options.run.backends[0]);
}

// What is said of flags that can't be done as asked.
std::vector<std::string> NotesOf(const CollOptions& o,
                                 const std::map<std::string, std::string>& environment) {
  std::vector<std::string> notes;
  const auto say = [&](bool given, const std::string& note) {
    if (given) notes.push_back(note);
  };
  const bool nccl = UsesNccl(o);
  const std::string not_used = nccl ? ": not used" : " is about GPUs: not used";
  say(o.agg_iters > 1 && !nccl,
      "-m: nccl alone has groups of operations: each iteration is that many of them, one after "
      "the other");
  say(o.op == "all", "-o all: but mulsum, which no library here has");
  say(o.check == 0 && o.verify != "none",
      "-c 0: results are checked all the same, outside the timed spans (but with --verify none)");
  say(o.check > 1 && o.verify == "random",
      "-c: the last operation is checked, and a random one in one batch of eight (--verify all)");
  say(o.verify == "none", "--verify none: nobody knows whether these results are right");
  say(o.blocking == 1, "-z 1: the time is without the barrier after each operation, as with -z 3");
  say(o.blocking == 2 && !nccl, "-z 2: an operation's call returns when it is done, as with -z 0");
  say(o.blocking == 3 && o.cudagraph > 0, "-z 3 doesn't go with -G: not used");
  say(o.cudagraph > 0 && !IsExact(o),
      "-G: in rounds, as many launches as there is time for; -n makes it as many as asked");
  say(o.parallel_init != 0, "-p" + not_used);
  say(o.stream_null != 0, "-y" + not_used);
  say(o.local_register != 0 && KnowsPlainBuffersAlone(o.run.backends),
      "-R: MPI knows no registered buffers: not used; --backend ofi or nccl (1), native or nccl "
      "(2) do");
  say(o.cta_policy.has_value(), "-x" + not_used);
  say(o.device_implementation != 0, "-D" + not_used);
  say(o.device_cta_count.has_value(), "-V" + not_used);
  say(o.memory != 0, "-M" + not_used);
  say(o.report_cputime != 0,
      nccl ? "-C: the time is that of the operations on the device all the same"
           : "-C: an operation's call returns when it is done: its time is the same");
  say(o.per_iter_timing != 0 && o.cudagraph > 0, "-I doesn't go with -G: not used");
  say(o.per_iter_timing != 0 && o.cudagraph == 0,
      nccl ? "-I: by the device's clock, to 1/64; of operations back to back the mean alone, so "
             "--mode latency"
           : "-I: by the clock of the host, the slowest rank of each operation, to 1/64");
  say(o.per_iter_skip != SkippedOf(o),
      "-K leaves out operations of -I 1 with -n, and fewer than -n: not used");
  say(environment.contains("NCCL_TESTS_DEVICE"), "NCCL_TESTS_DEVICE is about GPUs: not used");
  return notes;
}

// Without a launcher as many ranks as are asked for, on this host.
std::int64_t RankCount(const CollOptions& options, const Probe& probe,
                       std::vector<std::string>& notes) {
  const std::int64_t usual = IntegerOf(probe.defaults, "ranks");
  const int threads = PerProcessOf(options).Ranks();
  if (AreInThreads(options)) {
    if (options.ranks)
      throw Error("--ranks starts processes, and -t and -g ranks of one: give one");
    return usual;
  }
  const bool launched = WereStarted(options);
  if (threads > 1) {
    notes.push_back(
        fmt::format("-t and -g are for GPUs: here a rank is a process, which {} "
                    "started ({})",
                    launched ? "the launcher" : "assay", launched ? "mpirun -np" : "--ranks"));
  }
  if (!launched) return options.ranks.value_or(threads > 1 ? threads : static_cast<int>(usual));
  if (options.ranks && *options.ranks != usual) {
    throw Error(fmt::format("--ranks {}, but the launcher started {}: leave it out", *options.ranks,
                            usual));
  }
  return usual;
}

// What asks for groups of ranks, as its records name it: "MOD 8". Empty where nothing does.
std::string SplitOf(const CollOptions& options,
                    const std::map<std::string, std::string>& environment) {
  std::string split = options.split;
  const auto mask = environment.find("NCCL_TESTS_SPLIT_MASK");
  if (split.empty() && mask != environment.end()) {
    const bool is_prefixed = mask->second.starts_with("0x") || mask->second.starts_with("0X");
    split = fmt::format("AND {}{}", is_prefixed ? "" : "0x", mask->second);
  } else if (const auto named = environment.find("NCCL_TESTS_SPLIT");
             split.empty() && named != environment.end()) {
    split = named->second;
  }
  for (const auto& [sign, name] :
       {std::pair('&', "AND"), {'|', "OR"}, {'%', "MOD"}, {'/', "DIV"}}) {
    if (split.starts_with(sign)) split.replace(0, 1, name);
    const std::string_view word = name;
    if (strncasecmp(split.c_str(), name, word.size()) != 0) continue;
    const std::size_t number = split.find_first_not_of(' ', word.size());
    split = fmt::format("{} {}", name, split.substr(std::min(number, split.size())));
  }
  return split;
}

std::string BuffersOf(int local_register) {
  return local_register == 0 ? "plain" : local_register == 1 ? "registered" : "shared";
}

// Sizes in bytes as text, rounded down to whole elements as nccl-tests does; one is the least that
// can be sent.
std::vector<std::string> WholeElements(const std::vector<std::int64_t>& sizes,
                                       const std::string& dtype) {
  const std::int64_t element = ReadDtype(dtype, "-d", DtypeUse::kCollectives).bits / 8;
  std::vector<std::string> texts;
  for (const std::int64_t size : sizes) {
    texts.push_back(std::to_string(std::max<std::int64_t>(size / element, 1) * element));
  }
  return texts;
}

std::map<std::string, std::vector<std::string>> CommandOf(const CollOptions& options,
                                                          const CollPlan& plan) {
  std::map<std::string, std::vector<std::string>> command = {{"coll", {options.operation}},
                                                             {"datatype", {options.datatype}},
                                                             {"op", {options.op}},
                                                             {"root", {options.root}},
                                                             {"backend", options.run.backends}};
  if (plan.engine.fixed) {
    command["iters"] = {std::to_string(plan.engine.fixed->iterations)};
    command["warmup_iters"] = {std::to_string(plan.engine.fixed->warm_up)};
  }
  if (options.duration_s) command["duration_s"] = {fmt::format("{}", *options.duration_s)};
  if (options.nthreads > 1) command["nthreads"] = {std::to_string(options.nthreads)};
  if (options.ngpus > 1) command["ngpus"] = {std::to_string(options.ngpus)};
  if (options.run.ci) command["ci"] = {fmt::format("{}", *options.run.ci)};
  if (options.run.max_seconds)
    command["max_seconds"] = {fmt::format("{}", *options.run.max_seconds)};
  std::erase_if(command, [](const auto& entry) { return entry.second.empty(); });
  return command;
}

std::string LabelOf(const Record& record) {
  return fmt::format("{} {}", record.probe, CaseLabel(record.probe, record.params));
}

// A size as one would type it: "64M" where that is exact.
std::string SizeText(std::int64_t bytes) {
  for (const auto& [unit, letter] : {std::pair(kGib, 'G'), {kMib, 'M'}, {kKib, 'K'}}) {
    if (bytes >= unit && bytes % unit == 0) return fmt::format("{}{}", bytes / unit, letter);
  }
  return std::to_string(bytes);
}

bool IsInPlace(const Params& params) {
  const auto found = params.find("placement");
  return found != params.end() && ToText(found->second) == "in_place";
}

bool AreOneRow(const Record& a, const Record& b) {
  Params of_a = a.params;
  Params of_b = b.params;
  of_a.erase("placement");
  of_b.erase("placement");
  return a.backend == b.backend && of_a == of_b;
}

// Brings the records of a row together, of which the one in place comes last. The rows of the first
// group are printed as they come, those of others are kept until all are there.
class Printer {
 public:
  Printer(NcclTable& table, Console& console, const Run& run, bool prints)
      : table_(table), console_(console), run_(run), prints_(prints) {}

  void Add(const Record& record) {
    Pending& row = rows_[GroupOf(record)];
    const Record* held = row.out_of_place ? &*row.out_of_place
                         : row.in_place   ? &*row.in_place
                                          : nullptr;
    if (held != nullptr &&
        (row.in_place || !IsInPlace(record.params) || !AreOneRow(*held, record))) {
      Flush(row);
    }
    (IsInPlace(record.params) ? row.in_place : row.out_of_place) = record;
    if (IsInPlace(record.params) || !record.params.contains("placement")) Flush(row);
  }

  // Prints what waits for a record in place that won't come, and the rows of the other groups.
  void Finish() {
    for (auto& [group, row] : rows_) Flush(row);
    for (const auto& [group, text] : others_) {
      if (prints_) console_.Result(table_.GroupHead(group) + text);
    }
  }

 private:
  struct Pending {
    std::optional<Record> out_of_place = {};
    std::optional<Record> in_place = {};
  };

  void Flush(Pending& row) {
    if (!row.out_of_place && !row.in_place) return;
    const std::int64_t group = GroupOf(row.out_of_place ? *row.out_of_place : *row.in_place);
    const std::string text = table_.Row(row.out_of_place ? &*row.out_of_place : nullptr,
                                        row.in_place ? &*row.in_place : nullptr, Now()) +
                             StandingText(row);
    if (!first_group_) first_group_ = group;
    if (group != *first_group_) {
      others_[group] += text;
    } else if (prints_) {
      console_.Result(text);
    }
    row = {};
  }

  // What is to be said of figures that aren't as they should be.
  std::string StandingText(const Pending& row) const {
    std::string text;
    for (const std::optional<Record>* record : {&row.out_of_place, &row.in_place}) {
      if (!*record) continue;
      const std::string standing = assay::StandingText(Judge(run_, **record));
      if (!standing.empty()) text += fmt::format("# {}\n", Clean(standing, 1024));
    }
    return text;
  }

  NcclTable& table_;
  Console& console_;
  const Run& run_;  // but its records
  bool prints_;
  std::map<std::int64_t, Pending> rows_ = {};  // by group
  std::optional<std::int64_t> first_group_ = {};
  std::map<std::int64_t, std::string> others_ = {};
};

// Why some of a run could not be measured, each reason once.
std::set<std::string> ReasonsOf(const Run& run) {
  std::set<std::string> reasons;
  for (const Record& record : run.records) {
    if (record.status == Status::kFailed || record.status == Status::kPartial) {
      reasons.insert(record.reason);
    }
  }
  return reasons;
}

// What a rank's share of its node's network carries, GB/s, where the instance's facts tell.
std::optional<double> LinkGbs(const Identity& identity, double ranks_per_node) {
  const InstanceFacts* facts =
      FindInstance(Catalog::BuiltIn().instances, identity.provider.value, identity.instance.value);
  if (facts == nullptr || !facts->network_gbps) return std::nullopt;
  return *facts->network_gbps / 8 / ranks_per_node;
}

// What stands over the table, but for what is known only once the run begins.
NcclOptions LookOf(const CollOptions& options, const CollPlan& plan, const Probe& probe,
                   const std::map<std::string, std::string>& environment) {
  const std::vector<std::int64_t> sizes =
      Has(probe, "bytes") ? SizesOf(options) : std::vector<std::int64_t>{0};
  const Params& first = plan.questions.front().params;
  const bool multiplies = options.stepfactor.value_or(1) > 1;
  NcclOptions look = {
      .program = options.program.empty() ? options.operation + "_perf" : options.program,
      .version = fmt::format("assay {} (columns of nccl-tests 2.19.6)", ASSAY_VERSION),
      .threads = options.nthreads,
      .gpus = options.ngpus,
      .min_bytes = sizes.front(),
      .max_bytes = IsLadder(options) ? options.maxbytes.value_or(32 * kMib) : sizes.back(),
      .step = multiplies ? *options.stepfactor : options.stepbytes.value_or(kMib),
      .step_kind = multiplies ? "factor" : "bytes",
      .aggregated = options.agg_iters,
      .check = options.verify == "none" ? 0 : options.check,
      .graph = options.cudagraph,
      .unalign = options.unalign,
      .blocking = options.blocking == 3 && options.cudagraph > 0 ? 0 : options.blocking.value_or(0),
      .average = options.average,
      .cpu_time = options.report_cputime != 0,
      .timestamps = options.report_timestamps != 0,
      .per_iteration = options.per_iter_timing != 0 && options.cudagraph == 0,
      .skipped = SkippedOf(options),
      .keep_ids = options.run.keep_ids,
      .own_columns = options.format != "nccl",
      .notes = plan.notes,
      .started = Now()};
  if (!IsLadder(options)) {
    look.step = options.sizes.empty() ? 4 : static_cast<std::int64_t>(sizes.size());
    look.step_kind = options.sizes.empty() ? "factor" : "list";
  }
  if (!WereStarted(options) && !AreInThreads(options)) {
    look.notes.push_back(fmt::format("no launcher: assay starts {} ranks on this host (--ranks)",
                                     ToText(first.at("ranks"))));
  }
  std::string time = "median over rounds of the slowest rank's time";
  if (look.average) time = "-a of all ranks' own medians";
  if (plan.exact) {
    look.warm_up = plan.engine.fixed->warm_up;
    look.iterations = options.iters.value_or(20);
    look.average = options.average.value_or(1);
    constexpr const char* kOf[] = {"rank 0's", "the mean of all ranks'", "the least of all ranks'",
                                   "the most of all ranks'"};
    time = fmt::format("{} mean time", kOf[*look.average]);
  }
  look.notes.push_back(fmt::format(
      "mode {}, cache {}; time: {}; p50, p99, cv%: of single operations, the slowest rank of each",
      options.mode == "both" ? "throughput, then latency" : ToText(first.at("mode")),
      first.contains("cache") ? ToText(first.at("cache")) : "none", time));
  if (const auto minimum = environment.find("NCCL_TESTS_MIN_BW"); minimum != environment.end()) {
    look.min_bus_gbs = std::strtod(minimum->second.c_str(), nullptr);
  }
  return look;
}

// The case whose ranks and devices are told: one of the first backend, or where its buffers lie on
// hosts, as those of all others do, rather one whose ranks MPI joins.
const Case& ToldOf(const std::vector<Case>& cases) {
  if (cases.front().across.value().on_devices) return cases.front();
  const auto by_mpi =
      std::ranges::find_if(cases, [](const Case& one) { return one.across.value().by_mpi; });
  return by_mpi == cases.end() ? cases.front() : *by_mpi;
}

// What the run knows of its ranks and their price.
void Complete(NcclOptions& look, const Run& run, const Chosen& price, Cluster& cluster,
              const std::vector<Case>& cases, const Params& params,
              const std::vector<int>& groups) {
  const std::int64_t ranks = IntegerOf(params, "ranks");
  look.notes.push_back(PriceLine(price, run.nodes, Today()));
  look.costs = [run, price](const Record& record) { return CostsAt(run, record, price); };
  if (AreOfOneType(run.nodes)) {
    look.link_gbs =
        LinkGbs(run.nodes[0].identity,
                static_cast<double>(ranks) / static_cast<double>(IntegerOf(params, "nodes")));
  }
  try {
    for (const Whereabouts& one : cluster.WhereaboutsOf(ToldOf(cases))) {
      look.ranks.push_back(
          {.pid = one.pid,
           .host = one.host,
           .node = one.node,
           .group = groups.empty() ? 0 : groups[look.ranks.size()],
           .device = one.processor,
           .device_id = "cpu",
           .device_name = run.nodes.at(static_cast<std::size_t>(one.node)).cpu.model});
      if (!one.device) continue;
      look.ranks.back().device = one.device->index;
      look.ranks.back().device_id = one.device->id;
      look.ranks.back().device_name = one.device->name;
    }
  } catch (const Error& error) {
    look.notes.push_back(error.what());  // each row will say so too
  }
}

const Probe& ProbeOf(const std::vector<Probe>& probes, const std::string& operation) {
  std::vector<std::string> names;
  for (const Probe& probe : probes) {
    if (!Has(probe, "mode")) continue;  // messages between two ranks are no collective
    if (probe.name == operation) return probe;
    names.push_back(probe.name);
  }
  const std::string meant = DidYouMean(operation, names);
  throw Error(fmt::format("there is no collective {}{}{}; it is one of {}", Clean(operation, 64),
                          meant.empty() ? "" : "; ", meant, fmt::join(names, ", ")));
}

// What was measured of groups, a line each.
std::string GroupsText(const std::string& what, const std::vector<Record>& records) {
  std::string text = fmt::format("# {}, at once:\n", what);
  for (const Record& record : records) {
    std::vector<int> ranks;
    for (const Unit& unit : record.units) ranks.push_back(unit.rank);
    const std::optional<double> time = UsualTime(record);
    const std::optional<double> bus = BusBandwidth(record);
    const std::optional<Interval> interval = SpeedInterval(record);
    const std::optional<Rate> speed = bus ? Rate{.value = *bus, .unit = "B/s"} : Speed(record);
    std::string outcome = fmt::format("{}: {}", ToText(record.status), Clean(record.reason, 400));
    if (time) {
      outcome = fmt::format("{:.4g} us{}{}", *time * 1e6,
                            bus ? fmt::format(", busbw {:.4g} GB/s", *bus / 1e9) : "",
                            interval && speed ? ", " + IntervalText(*interval, *speed) : "");
    }
    text += fmt::format("#  group {:2}, ranks {}: {}\n", GroupOf(record), fmt::join(ranks, " "),
                        outcome);
  }
  return text + "#\n";
}

// Whether ranks are to be threads of the processes. Rank 0 says, since a node may have no GPU.
bool WantsThreads(const CollOptions& options, Ranks& processes) {
  if (PerProcessOf(options).Ranks() == 1) return false;
  const std::vector<std::string>& libraries = options.run.backends;
  const bool all_have = std::all_of(libraries.begin(), libraries.end(), collectives::HasThreads);
  const bool any_has = std::any_of(libraries.begin(), libraries.end(), collectives::HasThreads);
  if (any_has && !all_have) throw Error("-t and -g are nccl's: give --backend nccl alone");
  const bool wants = libraries.empty() ? collectives::HasThreads("") : all_have;
  return processes.Broadcast(wants ? "threads" : "processes") == "threads";
}

// One library after the other, so that the rows of each stand together.
void ChooseBackends(std::vector<Case>& cases, const std::vector<std::string>& chosen) {
  const auto place = [&](const Case& one) {
    return std::find(chosen.begin(), chosen.end(), one.backend) - chosen.begin();
  };
  std::erase_if(cases, [&](const Case& one) {
    return static_cast<std::size_t>(place(one)) == chosen.size();
  });
  std::stable_sort(cases.begin(), cases.end(),
                   [&](const Case& a, const Case& b) { return place(a) < place(b); });
}

}  // namespace

std::vector<std::int64_t> SizesOf(const CollOptions& options) {
  if (!options.sizes.empty()) {
    if (IsLadder(options) && options.program.empty()) {
      throw Error("--sizes takes the place of -b, -e, -i and -f: give one or the other");
    }
    if (options.sizes == "latency") return Ladder(8, 64 * kKib);
    if (options.sizes == "train") return Ladder(kMib, kGib);
    if (options.sizes == "peak") return Ladder(kGib, 16 * kGib);
    std::vector<std::int64_t> sizes;
    for (const std::string& size : SplitFields(options.sizes, ',')) {
      sizes.push_back(ParseSize(size, "--sizes"));
    }
    std::ranges::sort(sizes);
    return sizes;
  }
  if (!IsLadder(options) && options.bisect) return {32 * kMib};
  if (!IsLadder(options)) return Ladder(8, 128 * kMib, 4);
  const std::int64_t least = options.minbytes.value_or(32 * kMib);
  const std::int64_t most = options.maxbytes.value_or(32 * kMib);
  if (least > most) {
    throw Error(fmt::format("-b {} is more than -e {}: nothing lies between", least, most));
  }
  const std::int64_t factor = options.stepfactor.value_or(1);
  if (factor > 1) {
    if (least == 0) throw Error("-b 0 with -f stays at 0: begin at 1 or more");
    return Ladder(least, most, factor);
  }
  const std::int64_t step = options.stepbytes.value_or(kMib);
  if (step <= 0) throw Error("-i wants a step of at least a byte");
  if ((most - least) / step >= static_cast<std::int64_t>(kMostSizes)) {
    throw Error(
        fmt::format("from -b {} to -e {} by -i {} are more than {} sizes; -f 2 doubles them", least,
                    most, step, kMostSizes));
  }
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = least; size <= most; size += step) sizes.push_back(size);
  return sizes;
}

std::map<std::int64_t, double> FloorsOf(const std::string& expect) {
  std::map<std::int64_t, double> floors;
  if (expect == "auto") return floors;
  for (const std::string& part : SplitFields(expect, ',')) {
    const std::size_t colon = part.find(':');
    double gbs = 0;
    const std::string_view digits =
        colon == std::string::npos ? std::string_view() : std::string_view(part).substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), gbs);
    if (error != std::errc() || end != digits.data() + digits.size() || !(gbs > 0 && gbs < 1e9)) {
      throw Error(fmt::format("--expect wants auto, or a size and GB/s such as 64M:20; got '{}'",
                              Clean(part, 32)));
    }
    floors[ParseSize(part.substr(0, colon), "--expect")] = gbs;
  }
  return floors;
}

std::vector<std::string> Shortfalls(const Run& run, const std::string& expect) {
  std::vector<std::string> shortfalls;
  const bool is_auto = expect == "auto";
  bool is_compared = !is_auto;
  for (const Record& record : run.records) {
    const std::optional<Judged> judged = is_auto ? Judge(run, record) : std::nullopt;
    if (!judged) continue;
    const bool is_low = judged->standing == Standing::kLow;
    is_compared = is_compared || is_low || judged->expected_gbs;
    if (is_low) shortfalls.push_back(fmt::format("{} is low: {}", LabelOf(record), judged->why));
  }
  if (!is_compared) {
    shortfalls.emplace_back(
        "nothing to compare with: nobody's figures are known for this instance type, number of "
        "nodes, operation and any of these sizes (--expect auto); give floors instead, such as "
        "--expect 64M:20");
  }
  for (const auto& [bytes, gbs] : FloorsOf(expect)) {
    // What was asked for beside the size, and either placement: why it has no figure, or "".
    std::map<std::string, std::optional<std::string>> why_none;
    for (const Record& record : run.records) {
      const auto asked = record.params.find("bytes");
      const bool is_asked = asked != record.params.end() && asked->second == Value(bytes);
      const bool is_of_size = is_asked || record.work.bytes == bytes;
      Params sweep = record.params;
      sweep.erase("bytes");
      sweep.erase("placement");
      std::optional<std::string>& why =
          why_none.try_emplace(fmt::format("{} {}", record.backend, ToText(sweep)), "")
              .first->second;
      if (!is_of_size) continue;
      const std::optional<double> bus = BusBandwidth(record);
      if (!bus) {
        if (why) why = record.reason;
        continue;
      }
      why.reset();
      if (*bus / 1e9 < gbs) {
        shortfalls.push_back(fmt::format("{} has a busbw of {:.4g} GB/s, under the {} of --expect",
                                         LabelOf(record), *bus / 1e9, gbs));
      }
    }
    if (why_none.empty()) why_none["all"] = "";
    for (const auto& [sweep, why] : why_none) {
      if (!why) continue;
      shortfalls.push_back(fmt::format("no figure for {}, whose floor is {} GB/s (--expect): {}",
                                       SizeText(bytes), gbs,
                                       why->empty() ? "that size was not measured" : *why));
    }
  }
  return shortfalls;
}

Record OfNewestVisit(const Record& record, const Record* before) {
  Record newest = record;
  if (before == nullptr) return newest;
  const std::size_t old = std::min(before->rounds.size(), newest.rounds.size());
  newest.rounds.erase(newest.rounds.begin(),
                      newest.rounds.begin() + static_cast<std::ptrdiff_t>(old));
  for (auto& [name, histogram] : newest.histograms) {
    const auto found = before->histograms.find(name);
    if (found == before->histograms.end()) continue;
    std::map<std::int64_t, std::int64_t> counts(histogram.counts.begin(), histogram.counts.end());
    for (const auto& [bucket, count] : found->second.counts) counts[bucket] -= count;
    std::erase_if(counts, [](const auto& entry) { return entry.second <= 0; });
    histogram.counts.assign(counts.begin(), counts.end());
  }
  return newest;
}

std::string RoundedNote(const std::vector<std::int64_t>& sizes, const std::string& dtype) {
  const std::vector<std::string> whole = WholeElements(sizes, dtype);
  std::vector<std::string> changed;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (whole[i] == std::to_string(sizes[i])) continue;
    changed.push_back(fmt::format("{} is done as {}", sizes[i], whole[i]));
  }
  if (changed.empty()) return "";
  return fmt::format("sizes are whole elements of {}, one at least: {}{}", dtype, changed[0],
                     changed.size() > 1 ? fmt::format(", and {} more", changed.size() - 1) : "");
}

std::string SharedNote(const std::vector<Case>& cases) {
  std::set<std::pair<std::int64_t, std::int64_t>> changed;
  for (const Case& one : cases) {
    const auto asked = one.params.find("bytes");
    if (asked == one.params.end() || !one.work.bytes) continue;
    const auto* bytes = std::get_if<std::int64_t>(&asked->second);
    if (bytes != nullptr && *bytes != *one.work.bytes) changed.emplace(*bytes, *one.work.bytes);
  }
  if (changed.empty()) return "";
  const auto& [asked, done] = *changed.begin();
  return fmt::format("sizes are shared out in 16 bytes for each rank: {} is done as {}{}", asked,
                     done,
                     changed.size() > 1 ? fmt::format(", and {} more", changed.size() - 1) : "");
}

CollPlan PlanColl(const CollOptions& options, const Probe& probe,
                  const std::map<std::string, std::string>& environment) {
  CollPlan plan = {.exact = IsExact(options), .notes = NotesOf(options, environment)};
  const std::int64_t ranks = RankCount(options, probe, plan.notes);
  FloorsOf(options.expect);  // bad ones are told before anything is measured
  if (ranks == 1) plan.notes.emplace_back("one rank exchanges nothing: its bus bandwidth is 0");
  if (options.bisect && plan.exact) {
    throw Error("--bisect measures in rounds, which tell what is chance: leave -n, -w and -N out");
  }
  if (options.bisect && !options.split.empty()) {
    throw Error("--bisect makes groups of its own: leave --split out");
  }
  if (options.duration_s && (plan.exact || options.bisect || options.run.ci)) {
    throw Error(
        "--duration repeats rounds until its time is over: leave -n, -w, -N, --ci, --bisect and "
        "nccl-tests' name out");
  }
  std::vector<std::string> roots;
  for (const std::int64_t root : RootsOf(options, ranks)) roots.push_back(std::to_string(root));
  const bool has_buffers = !KnowsPlainBuffersAlone(options.run.backends);

  std::vector<std::string> placements = {"out_of_place"};
  if (!options.bisect) placements.emplace_back("in_place");

  Suite suite;
  for (const std::string& dtype :
       Has(probe, "bytes") ? DtypesOf(options) : std::vector<std::string>{}) {
    if (std::string note = RoundedNote(SizesOf(options), dtype); !note.empty()) {
      plan.notes.push_back(std::move(note));
    }
  }
  for (const std::string& mode : ModesOf(options, probe)) {
    const bool rotates = options.cold || mode != "latency";
    for (const std::string& dtype : DtypesOf(options)) {
      SuiteEntry entry = {.probe = probe.name};
      // Of these the last takes turns the fastest: the two placements of a size stand together.
      const std::vector<Choice> choices = {
          {"ranks", {std::to_string(ranks)}},
          {"mode", {mode}},
          {"cache", {rotates ? "rotated" : "rewritten"}},
          {"algo", {options.algo}},
          {"buffers", {has_buffers ? BuffersOf(options.local_register) : "plain"}},
          {"dtype", {dtype}},
          {"redop", RedopsOf(options)},
          {"root", roots},
          {"bytes", WholeElements(SizesOf(options), dtype)},
          {"placement", placements}};
      std::copy_if(choices.begin(), choices.end(), std::back_inserter(entry.choices),
                   [&](const Choice& choice) { return Has(probe, choice.name); });
      suite.entries.push_back(std::move(entry));
    }
  }
  plan.questions = Unfold(suite, {probe}, {});
  if (options.bisect && plan.questions.size() != 1) {
    throw Error(fmt::format(
        "--bisect compares groups doing one and the same, not {} cases: one size (--sizes 32M), "
        "type, reduction and mode",
        plan.questions.size()));
  }
  const std::int64_t per_call = UsesNccl(options) ? options.agg_iters : 1;
  constexpr std::int64_t kMostPerCall = 1024;
  if (per_call > kMostPerCall) {
    throw Error(fmt::format("-m is at most {} with nccl, each on buffers of its own; got {}",
                            kMostPerCall, per_call));
  }
  const std::int64_t iterations = options.iters.value_or(20) * options.agg_iters;
  if (options.verify != "random") plan.how["verify"] = options.verify;
  if (const std::int64_t skipped = SkippedOf(options); skipped > 0) {
    plan.how["skip"] = skipped * options.agg_iters;
  }
  if (Has(probe, "cache")) {  // it has buffers
    for (Question& question : plan.questions) {
      if (options.unalign > 0) question.params["unalign"] = std::int64_t{options.unalign};
      if (per_call > 1) question.params["aggregate"] = per_call;
    }
    if (options.cudagraph > 0 && plan.exact) plan.how["graph_operations"] = iterations;
  }
  if (const std::string split = SplitOf(options, environment); !split.empty() && !options.bisect) {
    std::vector<int> groups = collectives::GroupsFrom(split, static_cast<int>(ranks));
    const bool is_one = std::count(groups.begin(), groups.end(), groups[0]) == ranks;
    for (Question& question : plan.questions) {
      if (!is_one) question.params["split"] = split;
    }
    if (!is_one) plan.groups = std::move(groups);
  }

  const std::int64_t cycles = options.run_cycles.value_or(1);
  plan.engine = {.rounds = options.run.rounds.value_or(5),
                 .ci = options.run.ci.value_or(0.01),
                 .until_ci = options.run.ci.has_value(),
                 .max_case = Seconds(options.run.max_seconds.value_or(4)),
                 .duration = Seconds(options.duration_s.value_or(0))};
  if (plan.exact) {
    plan.engine.rounds = static_cast<int>(cycles == 0 ? kEndless : std::min(cycles, kEndless));
    plan.engine.until_ci = false;
    plan.engine.fixed =
        FixedCount{.warm_up = options.warmup_iters.value_or(1),
                   .iterations = iterations * std::max<std::int64_t>(1, options.cudagraph)};
  }
  return plan;
}

int RunColl(const CollOptions& asked) {
  CollOptions options = asked;
  const Modules modules = Modules::Load();
  const Seconds watchdog(options.run.watchdog_s);
  JoinedRanks ranks = JoinRanks(modules, options.run.bootstrap, watchdog, options.allow_single);
  if (WantsThreads(options, *ranks)) {
    ranks = InThreads(
        std::move(ranks), PerProcessOf(options),
        [&modules, run = options.run] { return MemberOf(run, modules); }, watchdog);
  }
  if (ranks->Rank() != 0) {
    OutliveRankZero();
    FollowAsMember(*ranks, MemberOf(options.run, modules), watchdog);
    return kAllWell;
  }
  Console console(options.run.quiet || !options.program.empty());
  const std::unique_ptr<Cluster> cluster = ClusterOf(options.run, modules, *ranks);
  Setup setup = SetupOf(options.run, modules);
  setup.roster = cluster->WhoIsThere();
  setup.allow_single = options.allow_single;
  const std::vector<Probe> probes = collectives::Probes(setup);
  const Probe& probe = ProbeOf(probes, options.operation);
  CheckChoice(options.run, AllProbes(setup));
  std::erase_if(options.run.backends, [&](const std::string& name) {
    return std::ranges::count(probe.backends, name) == 0;
  });
  if (options.run.backends.empty() && !asked.run.backends.empty()) {
    throw NothingLeft(asked.run, {probe.name}, probes);
  }
  const std::map<std::string, std::string> environment = NcclTestsEnvironment();
  const collectives::UsualLibrary usual = collectives::UsualLibraryOf(setup);
  if (options.run.backends.empty()) options.run.backends = {usual.name};
  CollPlan coll = PlanColl(options, probe, environment);
  if (std::string note = UnjoinedNote(options.run.bootstrap); !note.empty()) {
    coll.notes.push_back(std::move(note));
  }
  if (asked.run.backends.empty() && !usual.instead.empty()) {
    coll.notes.push_back(
        fmt::format("backend {}, since mpi can't run here: {}", usual.name, usual.instead));
  }
  const Params first = coll.questions.front().params;
  const bool is_alone = WereStarted(options) && ranks->Size() < 2;
  if ((IntegerOf(first, "ranks") < 2 || is_alone) && !options.allow_single) {
    throw Error(
        "one rank has nobody to exchange with, and would show a bus bandwidth of 0; start at least "
        "two (mpirun -np 2), or without a launcher --ranks 2; --allow-single runs one all the "
        "same");
  }

  const auto cases_of = [&](const std::vector<Question>& questions) {
    std::vector<Case> cases = CasesOf(questions, probes, options.run);
    ChooseBackends(cases, options.run.backends);
    for (Case& one : cases) one.across.value().how = coll.how;
    return PlacedOn(*cluster, std::move(cases), options.run.require_transport);
  };
  Plan plan = {.cases = cases_of(coll.questions),
               .engine = coll.engine,
               .command = CommandOf(asked, coll),
               .may_lack_file = !options.program.empty()};
  if (std::string note = SharedNote(plan.cases); !note.empty()) {
    coll.notes.push_back(std::move(note));
  }
  // Too few GPUs are told of before anything is made.
  if (ranks->Size() > 1 && collectives::HasThreads(options.run.backends[0])) {
    cluster->WhereaboutsOf(plan.cases.front());
  }
  // nccl-tests' own file is never written over.
  std::vector<AskedFile> files = FilesOf(options.run);
  files.push_back({.option = "-J", .path = options.output_file});
  CheckFiles(files, options.run.out);
  std::optional<Bisection> bisection;
  const bool prints = !options.run.json && (options.format == "table" || options.format == "nccl");
  NcclOptions look = LookOf(options, coll, probe, environment);
  Run header;
  std::optional<NcclTable> table;
  std::optional<Printer> printer;
  std::map<std::string, Record> cycles;  // as of the last one of each case
  plan.begins = [&](const Run& run, const Chosen& price, const std::string& no_file) {
    header = run;
    if (!no_file.empty()) look.notes.push_back(no_file);
    Complete(look, header, price, *cluster, plan.cases, first, coll.groups);
    table.emplace(look);
    printer.emplace(*table, console, header, prints);
    if (prints) console.Result(table->Head());
  };
  if (coll.exact) {
    plan.visited = [&](const Record& record, int) {
      const auto [before, is_first] = cycles.try_emplace(RecordKey(record), record);
      printer->Add(OfNewestVisit(record, is_first ? nullptr : &before->second));
      before->second = record;
    };
  }
  if (options.bisect) {
    std::vector<int> nodes;
    std::vector<std::string> hosts;
    Case on_hosts = ToldOf(plan.cases);
    on_hosts.across->on_devices = false;
    for (const Whereabouts& one : cluster->WhereaboutsOf(on_hosts)) {
      nodes.push_back(one.node);
      hosts.push_back(one.host);
    }
    bisection.emplace(nodes, hosts);
    const auto in_groups = [&](const std::string& split) {
      if (split.empty()) return std::vector<Case>();
      Question question = coll.questions.front();
      question.params["split"] = split;
      std::vector<Case> cases = cases_of({question});
      if (cases.size() != 1) throw Error("--bisect runs over one --backend at a time");
      return cases;
    };
    plan.cases = in_groups(bisection->Next({}));
    plan.more = [&bisection, &table, &console, prints,
                 in_groups](const std::vector<Record>& records) {
      if (prints) console.Result(GroupsText(bisection->Asked(), records));
      for (const Record& record : records) table->Row(&record, nullptr, "");
      return in_groups(bisection->Next(records));
    };
  }
  Measured measured = MeasureHere(plan, options.run, *cluster, console);
  if (!coll.exact && !bisection) {
    for (const Record& record : measured.run.records) printer->Add(record);
  }
  printer->Finish();
  if (prints && bisection) {
    console.Result(bisection->Verdict());
  } else if (prints) {
    const std::string models = CostModelText(measured.run.records, options.project);
    const std::string drift = options.duration_s ? DriftText(measured.run.records) : "";
    console.Result(SlowestGroupText(measured.run.records) + models + drift + table->Foot());
    if (options.project && models.empty()) {
      console.Error("assay: --project needs a sweep of at least three sizes to fit\n");
    }
  }
  measured.handout.SetTable(*table, Now());
  if (options.format == "csv") console.Result(OutputText("--format csv", measured.handout));
  if (options.format == "json" || options.run.json) {
    console.Result(OutputText("--json", measured.handout));
  }
  ReportFiles(measured, files, console);
  const std::vector<std::string> shortfalls = Shortfalls(measured.run, options.expect);
  for (const std::string& shortfall : shortfalls) {
    console.Error(fmt::format("assay: {}\n", shortfall));
  }
  if (!options.run.require_transport.empty()) {
    for (const std::string& reason : ReasonsOf(measured.run)) {
      console.Error(fmt::format("assay: {}\n", reason));
    }
  }
  const int status = ExitStatusOf(measured.run, {options.operation});
  const bool well =
      table->MeetsMinimum() && shortfalls.empty() && !(bisection && bisection->FoundSlow());
  return status == kAllWell && !well ? kMeasuredButNotWell : status;
}

}  // namespace assay
