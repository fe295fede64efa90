#include "runner/program/coll_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "collectives/collectives.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/base/size.h"
#include "results/base/text.h"
#include "runner/cluster/join.h"
#include "runner/cluster/rank_threads.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"
#include "runner/program/coll_expect.h"
#include "runner/program/suite.h"

namespace assay {
namespace {

constexpr std::int64_t kKib = 1024;
constexpr std::int64_t kMib = 1024 * kKib;
constexpr std::int64_t kGib = 1024 * kMib;
// The number of cycles of `-N 0`, which goes on until it is interrupted.
constexpr std::int64_t kEndless = 100'000;
constexpr std::size_t kMostSizes = 10'000;

// Whether iterations are counted as in nccl-tests, which they are under its name or where a count
// is given.
bool IsExact(const CollOptions& options) {
  return !options.program.empty() || options.iters || options.warmup_iters || options.run_cycles;
}

// The ladder of sizes: `from`, `from` x `factor`, … up to `to`.
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

// Whether a library was asked for whose calls return before an operation is done.
bool AnyQueues(const CollOptions& options) {
  return std::ranges::any_of(options.run.backends, collectives::Queues);
}

// Whether a library was asked for that has other buffers than plain ones.
bool AnyChoosesBuffers(const CollOptions& options) {
  return std::ranges::any_of(options.run.backends, collectives::ChoosesBuffers);
}

// The modes to measure. Barriers have no buffers to take turns on, and are timed one at a time.
std::vector<std::string> ModesOf(const CollOptions& options, const Probe& probe) {
  if (!Has(probe, "cache")) return {"latency"};
  if (options.cudagraph > 0) return {"graph"};
  if (options.mode == "both") return {"throughput", "latency"};
  if (!options.mode.empty()) return {options.mode};
  if (options.blocking == 2 && AnyQueues(options)) return {"blocking"};
  if (options.blocking) return {*options.blocking % 2 == 1 ? "latency" : "throughput"};
  return {IsExact(options) ? "throughput" : "latency"};
}

// The notes on flags that can't be done as asked.
std::vector<std::string> NotesOf(const CollOptions& o,
                                 const std::map<std::string, std::string>& environment) {
  std::vector<std::string> notes;
  const auto say = [&](bool given, const std::string& note) {
    if (given) notes.push_back(note);
  };
  const bool queues = AnyQueues(o);
  const std::string not_used = queues ? ": not used" : " is about GPUs: not used";
  say(o.agg_iters > 1 && !queues,
      "-m: nccl alone has groups of operations: each iteration is that many of them, one after "
      "the other");
  say(o.op == "all", "-o all: but mulsum, which no library here has");
  say(o.check == 0 && o.verify != "none",
      "-c 0: results are checked all the same, outside the timed spans (but with --verify none)");
  say(o.check > 1 && o.verify == "random",
      "-c: the last operation is checked, and a random one in one batch of eight (--verify all)");
  say(o.verify == "none", "--verify none: nobody knows whether these results are right");
  say(o.blocking == 1, "-z 1: the time is without the barrier after each operation, as with -z 3");
  say(o.blocking == 2 && !queues,
      "-z 2: an operation's call returns when it is done, as with -z 0");
  say(o.blocking == 3 && o.cudagraph > 0, "-z 3 doesn't go with -G: not used");
  say(o.cudagraph > 0 && !IsExact(o),
      "-G: in rounds, as many launches as there is time for; -n makes it as many as asked");
  say(o.parallel_init != 0, "-p" + not_used);
  say(o.stream_null != 0, "-y" + not_used);
  say(o.local_register != 0 && !AnyChoosesBuffers(o),
      "-R: MPI knows no registered buffers: not used; --backend ofi or nccl (1), native or nccl "
      "(2) do");
  say(o.cta_policy.has_value(), "-x" + not_used);
  say(o.device_implementation != 0, "-D" + not_used);
  say(o.device_cta_count.has_value(), "-V" + not_used);
  say(o.memory != 0, "-M" + not_used);
  say(o.report_cputime != 0,
      queues ? "-C: the time is that of the operations on the device all the same"
             : "-C: an operation's call returns when it is done: its time is the same");
  say(o.per_iter_timing != 0 && o.cudagraph > 0, "-I doesn't go with -G: not used");
  say(o.per_iter_timing != 0 && o.cudagraph == 0,
      queues ? "-I: by the device's clock, to 1/64; of operations back to back the mean alone, so "
               "--mode latency"
             : "-I: by the clock of the host, the slowest rank of each operation, to 1/64");
  say(o.per_iter_skip != SkippedOperations(o),
      "-K leaves out operations of -I 1 with -n, and fewer than -n: not used");
  say(environment.contains("NCCL_TESTS_DEVICE"), "NCCL_TESTS_DEVICE is about GPUs: not used");
  return notes;
}

// The number of ranks: the launcher's, or without one as many as are asked for, on this host.
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

// The expression that asks for groups of ranks, as records name it: "MOD 8". Empty where nothing
// does.
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

}  // namespace

bool IsLadder(const CollOptions& options) {
  return options.minbytes || options.maxbytes || options.stepbytes || options.stepfactor ||
         !options.program.empty();
}

bool WereStarted(const CollOptions& options) {
  return UnderLauncher() || !options.run.bootstrap.empty();
}

std::int64_t SkippedOperations(const CollOptions& options) {
  const bool fits = IsExact(options) && options.per_iter_timing != 0 &&
                    options.per_iter_skip < options.iters.value_or(20);
  return fits ? options.per_iter_skip : 0;
}

PerProcess PerProcessOf(const CollOptions& options) {
  return {.threads = options.nthreads, .gpus = options.ngpus};
}

bool AreInThreads(const CollOptions& options) {
  return PerProcessOf(options).Ranks() > 1 && options.run.backends.size() == 1 &&
         collectives::HasThreads(options.run.backends[0]);
}

std::vector<std::int64_t> ListSizes(const CollOptions& options) {
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
  const std::int64_t least = options.minbytes.value_or(kUsualBytes);
  const std::int64_t most = options.maxbytes.value_or(kUsualBytes);
  if (least > most) {
    throw Error(fmt::format("-b {} is more than -e {}: nothing lies between", least, most));
  }
  const std::int64_t factor = options.stepfactor.value_or(1);
  if (factor > 1) {
    if (least == 0) throw Error("-b 0 with -f stays at 0: begin at 1 or more");
    return Ladder(least, most, factor);
  }
  const std::int64_t step = options.stepbytes.value_or(kUsualStep);
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
  ParseFloors(options.expect);  // throws for bad floors before anything is measured
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
  const bool has_buffers = AnyChoosesBuffers(options);

  std::vector<std::string> placements = {"out_of_place"};
  if (!options.bisect) placements.emplace_back("in_place");

  Suite suite;
  for (const std::string& dtype :
       Has(probe, "bytes") ? DtypesOf(options) : std::vector<std::string>{}) {
    if (std::string note = RoundedNote(ListSizes(options), dtype); !note.empty()) {
      plan.notes.push_back(std::move(note));
    }
  }
  for (const std::string& mode : ModesOf(options, probe)) {
    const bool rotates = options.cold || mode != "latency";
    for (const std::string& dtype : DtypesOf(options)) {
      SuiteEntry entry = {.probe = probe.name};
      // The last choice varies fastest, so that the two placements of a size stand together.
      const std::vector<Choice> choices = {
          {"ranks", {std::to_string(ranks)}},
          {"mode", {mode}},
          {"cache", {rotates ? "rotated" : "rewritten"}},
          {"algo", {options.algo}},
          {"buffers", {has_buffers ? BuffersOf(options.local_register) : "plain"}},
          {"dtype", {dtype}},
          {"redop", RedopsOf(options)},
          {"root", roots},
          {"bytes", WholeElements(ListSizes(options), dtype)},
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
  const std::int64_t per_call = AnyQueues(options) ? options.agg_iters : 1;
  constexpr std::int64_t kMostPerCall = 1024;
  if (per_call > kMostPerCall) {
    throw Error(fmt::format("-m is at most {} with nccl, each on buffers of its own; got {}",
                            kMostPerCall, per_call));
  }
  const std::int64_t iterations = options.iters.value_or(20) * options.agg_iters;
  if (options.verify != "random") plan.how["verify"] = options.verify;
  if (const std::int64_t skipped = SkippedOperations(options); skipped > 0) {
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

}  // namespace assay
