#include "collectives/collectives.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <set>
#include <tuple>
#include <utility>

#include "collectives/asking.h"
#include "collectives/collective.h"
#include "collectives/fabric.h"
#include "collectives/library.h"
#include "collectives/native.h"
#include "collectives/overlap.h"
#include "collectives/used_transport.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/cluster/job.h"
#include "runner/cluster/launch.h"
#include "runner/cluster/tcp_ranks.h"
#include "runner/cluster/watchdog.h"
#include "runner/core/threads.h"

namespace assay::collectives {
namespace {

// Set by Open MPI's mpirun, PMI launchers (MPICH, Slurm), PMIx launchers, and Slurm's srun.
constexpr const char* kLauncherVariables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK",
                                              "SLURM_STEP_ID"};
// Those that tell how many processes were started.
constexpr const char* kSizeVariables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                          "SLURM_STEP_NUM_TASKS"};

bool HasNvidiaDriver() {
  std::error_code unknown;
  return std::filesystem::exists("/proc/driver/nvidia/version", unknown);
}

// Each can be asked for by name; what nobody names are the usual ones of one node, or of several.
struct KnownLibrary {
  std::string name = {};
  std::string module = {};  // the module that holds it; "": it is always there
  bool on_one_node = false;
  bool on_several = false;
  bool has_transport = false;  // of which the probe fabric can ask
  std::string kind = "cpu";    // kind of device that holds its buffers; "gpu": ranks may be threads
};
const std::vector<KnownLibrary>& KnownLibraries() {
  static const std::vector<KnownLibrary> all = {
      {.name = "mpi", .module = "mpi", .on_one_node = true, .on_several = true},
      {.name = "native", .on_one_node = true},
      {.name = "native-mpi", .module = "mpi", .on_several = true, .has_transport = true},
      {.name = "ofi", .module = "ofi", .on_several = true, .has_transport = true},
      {.name = "nccl",
       .module = "nccl",
       .on_one_node = HasNvidiaDriver(),
       .on_several = HasNvidiaDriver(),
       .kind = "gpu"}};
  return all;
}

const KnownLibrary* FindLibrary(const std::string& name) {
  const auto& all = KnownLibraries();
  const auto found = std::ranges::find(all, name, &KnownLibrary::name);
  return found == all.end() ? nullptr : &*found;
}

bool IsOnGpus(const std::string& library) {
  const KnownLibrary* known = FindLibrary(library);
  return known != nullptr && known->kind == "gpu";
}

bool NeedsMpi(const std::string& library) {
  const KnownLibrary* known = FindLibrary(library);
  return known != nullptr && known->module == "mpi";
}

// The rank that the launcher gave this process, which knows it before it has met the others.
std::string LaunchedRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* value = std::getenv(name)) return value;
  }
  return "unknown";
}

// Over what ranks do together while none of them can tell another what to do: this one ends, and
// whoever launched them ends the others. What has been printed until then is not lost.
WatchOptions EndAfter(Seconds limit, const std::string& rank,
                      const std::function<std::string()>& fates) {
  return {.limit = limit, .expired = [=](const std::string& what) {
            fmt::print(stderr, "assay: watchdog: rank {} on {}: {} is not over in time{}\n", rank,
                       HostName(), what, fates ? fates() : "");
            std::fflush(stdout);
            _exit(3);
          }};
}

// Those that ranks joined in this way can run: a module that joins ranks runs on no others.
std::vector<std::unique_ptr<Library>> Libraries(const Modules& modules, const Ranks& ranks) {
  std::vector<std::unique_ptr<Library>> all;
  all.push_back(NativeLibrary());
  for (const Modules::Entry& entry : modules.Entries()) {
    if (entry.module == nullptr || entry.module->libraries == nullptr) continue;
    if (entry.module->ranks != nullptr && ranks.JoinedBy() != entry.name) continue;
    for (auto& library : entry.module->libraries()) all.push_back(std::move(library));
  }
  return all;
}

const Modules::Entry* EntryOf(const Modules* modules, const std::string& name) {
  if (modules == nullptr) return nullptr;
  for (const Modules::Entry& entry : modules->Entries()) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

// A whole number as nccl-tests reads it; nothing for anything else.
std::optional<int> NumberFrom(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return std::nullopt;
  text.remove_prefix(begin);
  int base = 10;
  const auto has = [&](std::string_view a, std::string_view b) {
    return text.starts_with(a) || text.starts_with(b);
  };
  if (has("0x", "0X")) base = 16;
  if (has("0b", "0B")) base = 2;
  if (base != 10) text.remove_prefix(2);
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

// The params that every collective has; those of one alone come on top.
Params DefaultsOf(const OperationFacts& facts, std::int64_t ranks, std::int64_t nodes) {
  Params params = {{"dtype", "f32"},    {"bytes", std::int64_t{1} << 20},
                   {"ranks", ranks},    {"nodes", nodes},
                   {"mode", "latency"}, {"cache", "rewritten"},
                   {"algo", "auto"},    {"buffers", "plain"}};
  if (facts.reduces) params["redop"] = "sum";
  if (facts.rooted) params["root"] = std::int64_t{0};
  if (facts.in_place) params["placement"] = "out_of_place";
  if (facts.operation == Operation::kAlltoallv) params["spread_percent"] = std::int64_t{100};
  if (facts.operation == Operation::kBarrier) {
    for (const char* name : {"dtype", "bytes", "cache", "buffers"}) params.erase(name);
  }
  return params;
}

// Params that say how a case is run, and move no figure.
Params WithoutHow(Params params) {
  for (const char* name : {"allow_single", "verify", "skip", "graph_operations"})
    params.erase(name);
  return params;
}

Collective CollectiveOf(const OperationFacts& facts, const Params& params) {
  const std::string probe(facts.name);
  Collective collective = {.operation = facts.operation};
  const std::int64_t ranks = IntegerOf(params, "ranks");
  if (ranks < (params.contains("allow_single") ? 1 : 2) || ranks > 65536) {
    throw Error(fmt::format(
        "{}: ranks is from 2 to 65536, not {}: {}", probe, ranks,
        ranks == 1 ? "one rank has nobody to exchange with (assay coll --allow-single runs it)"
                   : "start as many as that"));
  }
  const std::int64_t nodes = IntegerOf(params, "nodes");
  if (nodes < 1 || nodes > ranks) {
    throw Error(fmt::format("{}: nodes is from 1 to ranks, not {}", probe, nodes));
  }
  collective.mode =
      WordOf(params, "mode", {"latency", "throughput", "blocking", "graph"}, probe + ": ");
  collective.algorithm = StringOf(params, "algo");
  if (params.contains("verify")) {
    collective.verify = WordOf(params, "verify", {"none", "last", "random", "all"}, probe + ": ");
  }
  for (const auto& [name, value] : {std::pair("skip", &Collective::skip),
                                    {"graph_operations", &Collective::graph_operations},
                                    {"unalign", &Collective::unalign},
                                    {"aggregate", &Collective::aggregate},
                                    {"channels", &Collective::channels}}) {
    if (params.contains(name)) collective.*value = static_cast<int>(IntegerOf(params, name));
  }
  if (facts.operation == Operation::kBarrier) return collective;

  collective.dtype =
      ReadDtype(StringOf(params, "dtype"), probe + ": dtype", DtypeUse::kCollectives).name;
  collective.cache = WordOf(params, "cache", {"rewritten", "rotated"}, probe + ": ");
  collective.buffers = WordOf(params, "buffers", {"plain", "registered", "shared"}, probe + ": ");
  collective.bytes = IntegerOf(params, "bytes");
  const std::int64_t element = ElementBytes(collective.dtype);
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  if (collective.bytes < element || collective.bytes > kMost || collective.bytes % element != 0) {
    throw Error(fmt::format("{}: bytes is a multiple of {} from {} to 1 TiB, not {}", probe,
                            element, element, collective.bytes));
  }
  if (facts.reduces) {
    collective.redop = WordOf(params, "redop", {"sum", "prod", "min", "max", "avg"}, probe + ": ");
  }
  if (facts.in_place) {
    collective.in_place =
        WordOf(params, "placement", {"out_of_place", "in_place"}, probe + ": ") == "in_place";
  }
  if (facts.rooted) {
    const std::int64_t root = IntegerOf(params, "root");
    if (root < 0 || root >= ranks) {
      throw Error(fmt::format("{}: root is a rank, from 0 to {}, not {}", probe, ranks - 1, root));
    }
    collective.root = static_cast<int>(root);
  }
  if (facts.operation == Operation::kAlltoallv) {
    const std::int64_t spread = IntegerOf(params, "spread_percent");
    if (spread < 0 || spread > 100) {
      throw Error(fmt::format("{}: spread_percent is from 0 to 100, not {}", probe, spread));
    }
    collective.spread_percent = static_cast<int>(spread);
  }
  return collective;
}

// The ranks of each group by its number; all of them as one, where there are no groups.
std::map<int, std::vector<int>> MembersOf(const std::vector<int>& groups, int ranks) {
  std::map<int, std::vector<int>> members;
  for (int rank = 0; rank < ranks; ++rank) {
    const int number = groups.empty() ? 0 : groups[static_cast<std::size_t>(rank)];
    if (number >= 0) members[number].push_back(rank);
  }
  return members;
}

OwnNode OwnNodeOf(const Setup& setup) {
  return {.describe = setup.this_node, .own_case = setup.own_case, .gemm = setup.gemm};
}

// Fails where its data did not go over the transport that was asked for: after the first operation,
// which made the connections, and again at the end.
class DemandingWorkload : public Workload {
 public:
  DemandingWorkload(std::unique_ptr<Workload> own, std::string transport, std::string library)
      : own_(std::move(own)), transport_(std::move(transport)), library_(std::move(library)) {}
  Batch Run(std::int64_t iterations) override { return own_->Run(iterations); }
  Checked Verify() override {
    if (!std::exchange(is_known_, true)) Demand(own_->Describe());
    return own_->Verify();
  }
  Facts Describe() const override {
    Facts facts = own_->Describe();
    Demand(facts);
    return facts;
  }
  std::optional<Work> OneIteration() const override { return own_->OneIteration(); }
  std::map<std::string, Histogram> Histograms() const override { return own_->Histograms(); }

 private:
  // Those of a group have its number before their name.
  void Demand(const Facts& facts) const {
    bool is_told = false;
    for (const auto& [name, fact] : facts) {
      if (name.substr(name.find('/') + 1) != kTransportFact) continue;
      is_told = true;
      Demand(std::get<std::string>(fact));
    }
    if (!is_told) Demand("");
  }
  void Demand(const std::string& used) const {
    if (const auto other = NotOver(used, transport_)) {
      throw Error(fmt::format("transport {} was asked for (--require-transport), but with {} {}",
                              transport_, library_, *other));
    }
  }

  std::unique_ptr<Workload> own_;
  std::string transport_;
  std::string library_;
  bool is_known_ = false;
};

// The jobs that the cases of one run share.
class Jobs {
 public:
  Jobs(const Setup& setup, std::string require_transport)
      : setup_(setup), require_transport_(std::move(require_transport)) {
    if (setup.ranks == nullptr || setup.ranks->JoinedBy().empty() || setup.modules == nullptr) {
      return;
    }
    WatchOptions watch = {.limit = setup.watchdog};
    if (setup.hung) {
      watch.expired = [hung = setup.hung](const std::string& diagnosis) { hung(diagnosis, true); };
    }
    own_ = JobOf(*setup.ranks, Libraries(*setup.modules, *setup.ranks), watch, OwnNodeOf(setup));
    nodes_ = NodesOf(*own_);
  }

  // The node of each rank that the launcher of this program started; empty without one.
  const std::vector<int>& Nodes() const { return nodes_; }
  int NodeCount() const {
    return nodes_.empty() ? 1 : 1 + *std::max_element(nodes_.begin(), nodes_.end());
  }

  // One unit a rank, on the node that it is known to be on.
  std::vector<Unit> Units(int ranks) const {
    std::vector<Unit> units;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto at = static_cast<std::size_t>(rank);
      units.push_back({.rank = rank, .node = at < nodes_.size() ? nodes_[at] : 0, .device = 0});
    }
    return units;
  }

  // On a device a rank's unit is the one that it has with the case's library. Where too few are
  // seen, the case itself will say so.
  void TellDevices(std::vector<Case>& cases) {
    for (Case& one : cases) {
      if (one.device.kind != "gpu" || Missing(one.backend)) continue;
      const auto tell = [&](std::vector<Unit>& units) {
        for (Unit& unit : units) unit.device = DeviceOf(unit.rank, one.backend);
      };
      tell(one.units);
      for (Case::Part& part : one.parts) tell(part.units);
    }
  }

  Held AskWhatIsHeld() {
    if (!own_) return {.nodes = {setup_.this_node()}, .ranks = {{}}};
    Held held = {.nodes = DescribedBy(*own_)};
    for (const Whereabouts& one : assay::WhereaboutsOf(*own_)) {
      const int rank = static_cast<int>(held.ranks.size());
      held.ranks.push_back({.rank = rank, .node = one.node, .numa = one.numa});
      // Nodes are numbered by their lowest rank.
      if (one.node == static_cast<int>(held.hosts.size())) held.hosts.push_back(one.host);
    }
    held.fates = [processes = own_->Processes()] { return processes.Fates(); };
    return held;
  }

  Case OnEachNode(Case one) {
    if (NodeCount() == 1) return one;
    const std::vector<Unit> own = std::exchange(one.units, {});
    int node = 0;
    for (std::size_t rank = 0; rank < nodes_.size(); ++rank) {
      // Nodes are numbered by their lowest rank.
      if (nodes_[rank] != node) continue;
      for (const Unit& unit : own) {
        one.units.push_back({.rank = static_cast<int>(rank), .node = node, .device = unit.device});
      }
      ++node;
    }
    // What the work of one node is, the ranks' watchdogs want to know.
    const Record asked = {.probe = one.probe,
                          .params = one.params,
                          .backend = one.backend,
                          .device = one.device,
                          .work = one.work};
    for (std::optional<std::int64_t>* amount :
         {&one.work.flops, &one.work.bytes, &one.work.bytes_min, &one.work.ops}) {
      if (*amount) **amount *= NodeCount();
    }
    one.here = nullptr;
    if (one.meter) {
      one.meter = [job = own_, asked, units = static_cast<int>(own.size())] {
        return MeterOnEachNode(job, asked, units);
      };
    }
    one.prepare = [job = own_, asked](std::uint64_t seed) {
      return PrepareOnEachNode(job, asked, seed);
    };
    return one;
  }

  // What no case of this library can do without.
  std::optional<Skipped> Missing(const std::string& library) const {
    if (setup_.modules == nullptr) return Skipped{.reason = "no modules are loaded"};
    const bool needs_mpi = NeedsMpi(library);
    const KnownLibrary* known = FindLibrary(library);
    const Modules::Entry* entry =
        EntryOf(setup_.modules, known == nullptr ? library : known->module);
    if (entry != nullptr && entry->module == nullptr) {
      return Skipped{.reason = entry->reason, .remedy = entry->remedy};
    }
    if (!needs_mpi || entry == nullptr) return std::nullopt;
    if (own_ && setup_.ranks->JoinedBy() != "mpi") {
      return Skipped{.reason = "its ranks were joined over TCP, without MPI",
                     .remedy = "mpirun, without --bootstrap"};
    }
    if (own_ || UnderLauncher()) return std::nullopt;
    const std::optional<Mpirun> mpirun = FindMpirun();
    if (!mpirun) {
      return Skipped{.reason = "there is no mpirun in PATH",
                     .remedy = "apt-get install openmpi-bin, or mpich"};
    }
    if (mpirun->family != entry->module->name) {
      return Skipped{.reason = fmt::format("{} is of the family of {}, and this build of assay is "
                                           "for {} alone",
                                           mpirun->path, mpirun->family, entry->module->version()),
                     .remedy = fmt::format("put its mpirun first in PATH, or apt-get install "
                                           "lib{}-dev and build again",
                                           mpirun->family)};
    }
    return std::nullopt;
  }

  std::vector<Whereabouts> WhereaboutsOf(int ranks, const std::string& library) {
    const std::string on_device = IsOnGpus(library) ? library : "";
    if (const auto missing = on_device.empty() ? std::nullopt : Missing(library)) {
      throw Error(fmt::format("{}; try: {}", missing->reason, missing->remedy));
    }
    if (own_) return assay::WhereaboutsOf(*own_, on_device);
    const bool by_mpirun =
        !Missing("mpi") && (setup_.backends.empty() ||
                            std::any_of(setup_.backends.begin(), setup_.backends.end(), NeedsMpi));
    return assay::WhereaboutsOf(*Launched(by_mpirun ? FindMpirun() : std::nullopt, ranks),
                                on_device);
  }

  // The cores that each of so many ranks will have, at least.
  int CoresOfARank(int ranks) const {
    if (own_) return FewestCores(*own_);
    return static_cast<int>(UsableCores().size()) / ranks;
  }

  // `name` is the probe's, for what is to be typed instead. `groups`: Case::parts, where there are
  // some. With a step, beside its GEMMs.
  Prepared Prepare(const std::string& name, const std::string& library,
                   const Collective& collective, int ranks, int nodes, std::uint64_t seed,
                   const std::vector<int>& groups = {}, TrainingStep* step = nullptr) {
    Prepared prepared = PrepareAny(name, library, collective, ranks, nodes, seed, groups, step);
    auto* workload = std::get_if<std::unique_ptr<Workload>>(&prepared);
    if (workload == nullptr || require_transport_.empty()) return prepared;
    return std::make_unique<DemandingWorkload>(std::move(*workload), require_transport_, library);
  }

 private:
  int DeviceOf(int rank, const std::string& library) {
    if (!own_) return rank;  // ranks that are launched here take the GPUs in order
    std::vector<int>& devices = devices_[library];
    if (devices.empty()) {
      devices.resize(nodes_.size());
      try {
        std::size_t at = 0;
        for (const Whereabouts& one : assay::WhereaboutsOf(*own_, library)) {
          if (one.device) devices[at] = one.device->index;
          ++at;
        }
      } catch (const Error&) {
        // They are too few, which the library tells of.
      }
    }
    return devices.at(static_cast<std::size_t>(rank));
  }

  // Over whatever transport.
  Prepared PrepareAny(const std::string& name, const std::string& library,
                      const Collective& collective, int ranks, int nodes, std::uint64_t seed,
                      const std::vector<int>& groups, TrainingStep* step) {
    if (std::optional<Skipped> missing = Missing(library)) return *std::move(missing);
    for (const auto& [number, members] : MembersOf(groups, ranks)) {
      const auto size = static_cast<int>(members.size());
      if (collective.operation == Operation::kBarrier || Layout(collective, size).SizeBytes() > 0) {
        continue;
      }
      return Skipped{.reason = fmt::format("{} bytes are less than 16 for each of {} ranks",
                                           collective.bytes, size),
                     .remedy = Asking("bytes", std::to_string(16 * size))};
    }
    // Input, output, and the copy that libraries make of it, for each rank of this node.
    const std::int64_t bytes = 3 * collective.bytes * ((ranks + nodes - 1) / nodes);
    if (const auto available = AvailableMemory();
        !IsOnGpus(library) && available && bytes > *available) {
      return Skipped{.reason = fmt::format("its ranks need {} of memory on this node, which has {} "
                                           "available",
                                           WithPrefix(static_cast<double>(bytes), "B"),
                                           WithPrefix(static_cast<double>(*available), "B")),
                     .remedy = "choose fewer bytes"};
    }
    if (own_) {
      const int there = static_cast<int>(nodes_.size());
      if (there == ranks && NodeCount() == nodes) {
        if (step != nullptr) return PrepareOn(own_, library, collective, seed, {}, *step);
        return PrepareOn(own_, library, collective, seed, {}, groups);
      }
      return Skipped{
          .reason = fmt::format("it asks for {} ranks on {} nodes, and the launcher started {} on "
                                "{}",
                                ranks, nodes, there, NodeCount()),
          .remedy = fmt::format("mpirun -np {} assay run {}", ranks, name)};
    }
    if (UnderLauncher() || nodes > 1) {
      return Skipped{.reason = UnderLauncher() ? "the launcher started this process alone"
                                               : fmt::format("it asks for {} nodes", nodes),
                     .remedy = fmt::format("mpirun -np {} assay run {}", ranks, name)};
    }
    const std::optional<Mpirun> launcher = NeedsMpi(library) ? FindMpirun() : std::nullopt;
    const Facts facts = {{"oversubscribed", Oversubscribed(ranks)}};
    if (step != nullptr) {
      return PrepareOn(Launched(launcher, ranks, /*pinned=*/false), library, collective, seed,
                       facts, *step);
    }
    return PrepareOn(Launched(launcher, ranks), library, collective, seed, facts, groups);
  }

  static bool Oversubscribed(int ranks) {
    return static_cast<std::size_t>(ranks) > UsableCores().size();
  }

  // No launcher: ranks without MPI.
  std::shared_ptr<Job> Launched(const std::optional<Mpirun>& launcher, int ranks,
                                bool pinned = true) {
    const auto key = std::tuple(launcher ? launcher->path : "", ranks, pinned);
    // What did not start once would not the next time either, and may take the whole time-out.
    if (failed_.contains(key)) throw Error(failed_[key]);
    std::shared_ptr<Job>& job = launched_[key];
    if (job && job->Alive()) return job;
    // The link itself would name mpirun by the time that mpirun follows it.
    std::error_code no_link;
    const std::string self = std::filesystem::read_symlink(setup_.self, no_link).string();
    try {
      job = Launch({.ranks = ranks,
                    .oversubscribe = Oversubscribed(ranks),
                    .pinned = pinned,
                    .launcher = launcher,
                    .self = no_link ? setup_.self : self,
                    .start = std::max(Seconds(60), setup_.watchdog + Seconds(10)),
                    .timeout = setup_.watchdog,
                    .expired = [hung = setup_.hung] {
                      if (hung) hung("", false);
                    }});
    } catch (const Error& error) {
      failed_[key] = error.what();
      throw;
    }
    return job;
  }

  Setup setup_;
  std::string require_transport_;
  std::shared_ptr<Job> own_ = {};
  std::vector<int> nodes_ = {};
  std::map<std::string, std::vector<int>> devices_ = {};  // by library and rank
  using Key = std::tuple<std::string, int, bool>;
  std::map<Key, std::shared_ptr<Job>> launched_ = {};
  std::map<Key, std::string> failed_ = {};
};

// Ends a rank that is out of step, at once: to take leave of the others it would have to wait for
// them while they wait for it. The launcher then ends them all.
[[noreturn]] void Abandon(const std::exception& error) {
  std::cerr << "assay: " << error.what() << std::endl;
  _exit(2);
}

void FollowOn(Ranks& ranks, const Setup& setup) {
  Worker worker(ranks, Libraries(*setup.modules, ranks), {.limit = setup.watchdog},
                OwnNodeOf(setup));
  assay::Follow(worker);
}

bool Includes(const std::vector<std::string>& chosen, const std::string& name) {
  return chosen.empty() || std::find(chosen.begin(), chosen.end(), name) != chosen.end();
}

// The case over each library that was asked for by name, or each usual one where none was.
std::vector<Case> ForLibraries(
    Case one, const std::vector<std::string>& backends,
    const std::function<bool(const KnownLibrary&)>& is_usual,
    const std::function<Prepared(const std::string& library, std::uint64_t seed)>& prepare) {
  std::vector<Case> cases;
  std::string names;
  for (const KnownLibrary& library : KnownLibraries()) {
    names += (names.empty() ? "" : ", ") + library.name;
    if (backends.empty() ? !is_usual(library) : !Includes(backends, library.name)) continue;
    one.backend = library.name;
    one.device.kind = library.kind;
    one.prepare = [prepare, name = library.name](std::uint64_t seed) {
      return prepare(name, seed);
    };
    cases.push_back(one);
  }
  if (!cases.empty()) return cases;
  one.backend = KnownLibraries()[0].name;
  one.prepare = [names](std::uint64_t) -> Prepared {
    return Skipped{.reason = "its backends are " + names, .remedy = "--backend, with one of these"};
  };
  return {one};
}

// S of nccl-tests' algorithm bandwidth S / t; bus bandwidth is derived from it on reading. Sizes
// that are rounded down to nothing are no work.
Work WorkOf(const OperationFacts& facts, const Collective& collective, int ranks) {
  if (facts.operation == Operation::kBarrier) return {.ops = 1, .formula = "barrier/op"};
  const std::int64_t bytes = Layout(collective, ranks).SizeBytes();
  return {.bytes = bytes > 0 ? std::optional(bytes) : std::nullopt,
          .formula = fmt::format("{}/algbw", facts.name)};
}

std::vector<Case::Part> PartsOf(const OperationFacts& facts, const Params& params,
                                const std::vector<int>& groups, const std::vector<Unit>& units) {
  std::vector<Case::Part> parts;
  for (const auto& [number, members] : MembersOf(groups, static_cast<int>(groups.size()))) {
    Case::Part& part = parts.emplace_back();
    std::set<int> nodes;
    for (const int rank : members) {
      part.units.push_back(units[static_cast<std::size_t>(rank)]);
      nodes.insert(part.units.back().node);
    }
    part.params = params;
    part.params["group"] = std::int64_t{number};
    part.params["ranks"] = static_cast<std::int64_t>(members.size());
    part.params["nodes"] = static_cast<std::int64_t>(nodes.size());
    try {
      part.work = WorkOf(facts, CollectiveOf(facts, part.params), static_cast<int>(members.size()));
    } catch (const Error& error) {
      throw Error(fmt::format("group {} of {} ranks: {}", number, members.size(), error.what()));
    }
    part.params = WithoutHow(std::move(part.params));
  }
  std::sort(parts.begin(), parts.end(), [](const Case::Part& a, const Case::Part& b) {
    return a.units.front().rank < b.units.front().rank;
  });
  return parts;
}

std::vector<Case> CasesOf(const std::shared_ptr<Jobs>& jobs, const OperationFacts& facts,
                          const std::vector<std::string>& backends, const Params& params) {
  const Collective collective = CollectiveOf(facts, params);
  const auto ranks = static_cast<int>(IntegerOf(params, "ranks"));
  const auto nodes = static_cast<int>(IntegerOf(params, "nodes"));
  Case one = {.probe = std::string(facts.name), .method = 2, .params = WithoutHow(params)};
  one.work = WorkOf(facts, collective, ranks);
  one.least_batch = collective.aggregate;
  one.units = jobs->Units(ranks);
  std::vector<int> groups;
  if (params.contains("split")) {
    groups = GroupsFrom(StringOf(params, "split"), ranks);
    one.parts = PartsOf(facts, params, groups, one.units);
  }
  std::vector<Case> cases = ForLibraries(
      one, backends,
      [nodes](const KnownLibrary& library) {
        return nodes > 1 ? library.on_several : library.on_one_node;
      },
      [=, name = std::string(facts.name)](const std::string& library, std::uint64_t seed) {
        return jobs->Prepare(name, library, collective, ranks, nodes, seed, groups);
      });
  jobs->TellDevices(cases);
  return cases;
}

// Where nobody names a library, steps of training are what a node's accelerators do.
bool IsOfGpus(const Setup& setup) {
  return HasNvidiaDriver() && (setup.backends.empty() || Includes(setup.backends, "nccl"));
}

// A step of training: the gradients of a bucket are summed over the ranks, in place, while each of
// them multiplies matrices of the layers before.
std::vector<Case> OverlapCases(const std::shared_ptr<Jobs>& jobs, const Setup& setup,
                               const Params& params) {
  WordOf(params, "dtype", {"f32", "bf16", "f16"}, "overlap: ");
  const OperationFacts& facts = FactsOf(Operation::kAllReduce);
  const std::int64_t ranks = IntegerOf(params, "ranks");
  const std::int64_t nodes = IntegerOf(params, "nodes");
  Params communicate = DefaultsOf(facts, ranks, nodes);
  for (const char* name : {"dtype", "bytes", "algo", "buffers", "channels"}) {
    communicate[name] = params.at(name);
  }
  communicate["placement"] = "in_place";
  const Collective collective = CollectiveOf(facts, communicate);
  const auto in_range = [&](const char* name, std::int64_t least, std::int64_t most) {
    const std::int64_t value = IntegerOf(params, name);
    if (value >= least && value <= most) return value;
    throw Error(fmt::format("overlap: {} is from {} to {}, not {}", name, least, most, value));
  };
  TrainingStep step = {.gemms = in_range("gemms", 0, 1'000'000),
                       .compute_percent = in_range("compute_percent", 1, 1000),
                       .comm_cores = in_range("comm_cores", 0, 4096)};
  in_range("channels", 0, 64);
  for (const char* name : {"dtype", "m", "n", "k"}) step.gemm[name] = params.at(name);
  const std::optional<std::int64_t> flops = setup.gemm(step.gemm, {}).work.flops;
  std::int64_t of_all = 0;
  if (!flops || __builtin_mul_overflow(*flops, ranks, &of_all)) {
    throw Error("overlap: m, n and k of all ranks are too much work to count; give less");
  }
  step.work = {.flops = of_all,
               .bytes = Layout(collective, static_cast<int>(ranks)).SizeBytes(),
               .formula = "overlap/2mnk"};
  // What is found in the first round holds for all, so that they do the same work.
  std::map<std::string, std::shared_ptr<TrainingStep>> by_library;
  for (const KnownLibrary& library : KnownLibraries()) {
    by_library[library.name] = std::make_shared<TrainingStep>(step);
  }
  std::vector<Case> cases = ForLibraries(
      {.probe = "overlap",
       .params = params,
       .work = step.work,
       .units = jobs->Units(static_cast<int>(ranks))},
      setup.backends,
      [=](const KnownLibrary& library) {
        const bool is_usual = nodes > 1 ? library.on_several : library.on_one_node;
        return is_usual && (library.kind == "gpu") == IsOfGpus(setup);
      },
      [=](const std::string& library, std::uint64_t seed) {
        return jobs->Prepare("overlap", library, collective, static_cast<int>(ranks),
                             static_cast<int>(nodes), seed, {}, by_library.at(library).get());
      });
  // Of the two budgets of communication each library knows one.
  for (Case& one : cases) one.params.erase(one.device.kind == "gpu" ? "comm_cores" : "channels");
  jobs->TellDevices(cases);
  return cases;
}

// Point to point over the transports of libraries that show theirs.
std::vector<Case> FabricCases(const std::shared_ptr<Jobs>& jobs, const Setup& setup,
                              const Params& params) {
  const std::string& pattern = WordOf(params, "pattern", FabricPatterns(), "fabric: ");
  const std::int64_t bytes = IntegerOf(params, "bytes");
  if (bytes < 1 || bytes > std::int64_t{1} << 30) {
    throw Error(fmt::format("fabric: bytes, of one message, is from 1 to 1 GiB, not {}", bytes));
  }
  const std::int64_t nodes = IntegerOf(params, "nodes");
  if (IntegerOf(params, "ranks") != 2 || nodes < 1 || nodes > 2) {
    throw Error(
        fmt::format("fabric: a link has two ends, so ranks is 2 and nodes 1 or 2, not {} "
                    "and {}",
                    IntegerOf(params, "ranks"), nodes));
  }
  Case one = {.probe = "fabric", .params = params};
  one.work = FabricWork(pattern, bytes);
  one.units = jobs->Units(2);
  const Collective collective = FabricCollective(pattern, bytes);
  return ForLibraries(
      one, setup.backends, [](const KnownLibrary& library) { return library.has_transport; },
      [=](const std::string& library, std::uint64_t seed) {
        return jobs->Prepare("fabric", library, collective, 2, static_cast<int>(nodes), seed);
      });
}

// For `assay list`: why no GPU does this here.
std::map<std::string, Skipped> AbsentOnGpus(const Jobs& jobs) {
  if (const std::optional<Skipped> missing = jobs.Missing("nccl")) return {{"nccl", *missing}};
  if (HasNvidiaDriver()) return {};
  return {{"nccl",
           {.reason = "there is no NVIDIA driver",
            .remedy = "a machine with NVIDIA GPUs (nvidia-smi); in a container: --gpus all"}}};
}

UsualLibrary UsualLibraryOf(const Jobs& jobs) {
  if (HasNvidiaDriver()) return {.name = "nccl"};
  const std::optional<Skipped> no_mpi = jobs.Missing("mpi");
  if (!no_mpi) return {.name = "mpi"};
  if (jobs.NodeCount() == 1) return {.name = "native", .instead = no_mpi->reason};
  return jobs.Missing("ofi") ? UsualLibrary{.name = "mpi"}
                             : UsualLibrary{.name = "ofi", .instead = no_mpi->reason};
}

}  // namespace

std::vector<int> GroupsFrom(const std::string& expression, int ranks) {
  const auto refuse = [&]() -> Error {
    return Error(fmt::format(
        "--split wants AND, OR, MOD or DIV and a number, such as 'MOD 8', or the group (or -) of "
        "each of {} ranks with commas between; got '{}'",
        ranks, Clean(expression, 64)));
  };
  std::vector<int> groups;
  if (expression.find(',') != std::string::npos) {
    for (const std::string& word : SplitFields(expression, ',')) {
      const std::optional<int> number = word == "-" ? -1 : NumberFrom(word);
      if (!number) throw refuse();
      groups.push_back(*number);
    }
    const bool any =
        std::any_of(groups.begin(), groups.end(), [](int group) { return group >= 0; });
    if (static_cast<int>(groups.size()) != ranks || !any) throw refuse();
    return groups;
  }
  std::string upper = expression;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const auto& [name, sign] :
       {std::pair("AND", '&'), {"OR", '|'}, {"MOD", '%'}, {"DIV", '/'}}) {
    const bool is_named = upper.starts_with(name);
    if (!is_named && !upper.starts_with(sign)) continue;
    const std::optional<int> number =
        NumberFrom(std::string_view(upper).substr(is_named ? std::string_view(name).size() : 1));
    if (!number || (*number == 0 && (sign == '%' || sign == '/'))) break;
    for (int rank = 0; rank < ranks; ++rank) {
      groups.push_back(sign == '&'   ? rank & *number
                       : sign == '|' ? rank | *number
                       : sign == '%' ? rank % *number
                                     : rank / *number);
    }
    return groups;
  }
  throw refuse();
}

std::vector<Probe> Probes(const Setup& setup) { return Open(setup).probes; }

Door Open(const Setup& setup, const std::string& require_transport) {
  const auto jobs = std::make_shared<Jobs>(setup, require_transport);
  const auto there = static_cast<std::int64_t>(jobs->Nodes().size());
  const std::int64_t usual = there > 0 ? there : setup.launched_ranks;
  std::vector<Probe> probes;
  for (const OperationFacts& facts : Operations()) {
    Probe probe;
    probe.name = facts.name;
    probe.summary = facts.summary;
    probe.defaults = DefaultsOf(facts, usual, jobs->NodeCount());
    probe.unfold = [jobs, facts, backends = setup.backends](const Params& params) {
      return CasesOf(jobs, facts, backends, params);
    };
    probe.absent = [jobs] { return AbsentOnGpus(*jobs); };
    probes.push_back(std::move(probe));
  }
  probes.push_back(
      {.name = "fabric",
       .summary = "single messages and streams between two ranks",
       .defaults = {{"pattern", "pingpong"},
                    {"bytes", std::int64_t{8}},
                    {"ranks", std::int64_t{2}},
                    {"nodes", jobs->NodeCount()}},
       .unfold = [jobs, setup](const Params& params) { return FabricCases(jobs, setup, params); },
       .missing = [jobs]() -> std::optional<Skipped> {
         std::optional<Skipped> no = jobs->Missing("ofi");
         return no && jobs->Missing("native-mpi") ? no : std::nullopt;
       }});
  if (setup.gemm) {
    const bool has_two = jobs->CoresOfARank(static_cast<int>(usual)) >= 2;
    // So large that launching takes no time of it.
    const bool on_gpus = IsOfGpus(setup);
    const std::int64_t of_gpus = 4096;
    probes.push_back(
        {.name = "overlap",
         .summary = "GEMMs and an all-reduce at once, as in a step of training",
         .defaults = {{"dtype", on_gpus ? "bf16" : "f32"},
                      {"bytes", std::int64_t{25} << 20},
                      {"m", on_gpus ? of_gpus : 256},
                      {"n", on_gpus ? of_gpus : 1024},
                      {"k", on_gpus ? of_gpus : 1024},
                      {"gemms", std::int64_t{0}},
                      {"compute_percent", std::int64_t{100}},
                      {"comm_cores", std::int64_t{has_two ? 1 : 0}},
                      {"channels", std::int64_t{0}},
                      {"algo", "auto"},
                      {"buffers", "plain"},
                      {"ranks", usual},
                      {"nodes", jobs->NodeCount()}},
         .unfold = [jobs,
                    setup](const Params& params) { return OverlapCases(jobs, setup, params); },
         .absent = [jobs] { return AbsentOnGpus(*jobs); }});
  }
  return {.probes = std::move(probes),
          .nodes = jobs->NodeCount(),
          .held = [jobs] { return jobs->AskWhatIsHeld(); },
          .on_each_node = [jobs](Case one) { return jobs->OnEachNode(std::move(one)); },
          .whereabouts =
              [jobs](int ranks, const std::string& library) {
                return jobs->WhereaboutsOf(ranks, library);
              },
          .usual_library = [jobs] { return UsualLibraryOf(*jobs); }};
}

std::map<std::string, std::string> Software(const Setup& setup) {
  std::map<std::string, std::string> software;
  if (setup.modules == nullptr) return software;
  for (const Modules::Entry& entry : setup.modules->Entries()) {
    if (entry.module == nullptr) continue;
    software[entry.name == "ofi" ? "libfabric" : entry.name] = entry.module->version();
  }
  return software;
}

bool UnderLauncher() {
  return std::any_of(std::begin(kLauncherVariables), std::end(kLauncherVariables),
                     [](const char* name) { return std::getenv(name) != nullptr; });
}

int LaunchedSize() {
  for (const char* name : kSizeVariables) {
    if (const char* value = std::getenv(name)) return std::atoi(value);
  }
  return 0;
}

std::string UnjoinedNote(const std::string& bootstrap) {
  return bootstrap.empty() && !UnderLauncher() ? UnjoinedText(std::getenv) : "";
}

void Dismiss::operator()(Ranks* ranks) const {
  Watchdog dog(EndAfter(watchdog, fmt::format("{} of {}", ranks->Rank(), ranks->Size()), fates));
  const Watchdog::Guard guard =
      dog.Watch(ranks->JoinedBy() == "mpi" ? "MPI_Finalize, in which ranks wait for each other,"
                                           : "the end of the ranks");
  try {
    if (ranks->Rank() == 0) ranks->Broadcast("quit");
  } catch (const Error&) {
    // Who is lost needs no telling.
  }
  delete ranks;
}

JoinedRanks JoinRanks(const Modules& modules, const std::string& bootstrap, Seconds watchdog,
                      bool allow_single) {
  // Modules that wait for ranks by themselves wait as long (collectives/nccl.cpp).
  setenv("ASSAY_WATCHDOG", fmt::format("{}", watchdog.count()).c_str(), 1);
  if (bootstrap == "tcp") {
    TcpOptions options = TcpOptionsFrom(std::getenv);
    options.patience = watchdog;
    if (options.size == 1 && !allow_single) return JoinedRanks(new Ranks);
    return JoinedRanks(JoinTcp(options).release(), {.watchdog = watchdog});
  }
  const int launched = LaunchedSize();
  if (!UnderLauncher() || (launched == 1 && !allow_single)) return JoinedRanks(new Ranks);
  const Modules::Entry* mpi = EntryOf(&modules, "mpi");
  if (mpi == nullptr || mpi->module == nullptr) {
    throw Error(
        fmt::format("a launcher started this process, which can't find its other ranks "
                    "without the mpi module ({}): {}, or start one process alone",
                    mpi == nullptr ? "unknown" : mpi->reason, mpi == nullptr ? "" : mpi->remedy));
  }
  const std::string rank = LaunchedRank() + (launched > 0 ? fmt::format(" of {}", launched) : "");
  Watchdog dog(EndAfter(watchdog, rank, {}));
  const Watchdog::Guard guard = dog.Watch("MPI_Init, in which ranks wait for each other,");
  JoinedRanks ranks(mpi->module->ranks().release(), {.watchdog = watchdog});
  ranks.get_deleter().fates = [processes = RankProcesses(*ranks)] { return processes.Fates(); };
  if (launched > 1 && ranks->Size() != launched) {
    throw Error(
        fmt::format("the launcher started {} processes, but {} sees {}: use its own "
                    "mpirun, or srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH)",
                    launched, mpi->module->version(), ranks->Size()));
  }
  return ranks;
}

bool HasThreads(const std::string& library) {
  return library.empty() ? HasNvidiaDriver() : IsOnGpus(library);
}

JoinedRanks InThreads(JoinedRanks processes, const PerProcess& per_process, const Setup& setup) {
  const Dismiss dismiss = processes.get_deleter();
  return JoinedRanks(JoinThreads(std::unique_ptr<Ranks>(processes.release()), per_process,
                                 [setup](Ranks& own) { FollowOn(own, setup); })
                         .release(),
                     dismiss);
}

void Follow(const Setup& setup) {
  try {
    FollowOn(*setup.ranks, setup);
  } catch (const std::exception& error) {
    Abandon(error);
  }
}

int WorkerMain(const std::function<GemmAt(const Modules&)>& gemm_by) {
  // Whoever started it may be killed, and a rank that is busy with others doesn't notice.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Answers keep standard output for themselves; whatever else prints there goes to the errors.
  const int answers = dup(STDOUT_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  WatchOptions watch = {.alive = [answers] {
    if (write(answers, "\n", 1) < 0) _exit(2);  // whom it was for is gone
  }};
  if (const char* limit = std::getenv("ASSAY_WATCHDOG")) watch.limit = Seconds(std::atof(limit));
  Modules modules;
  JoinedRanks ranks;
  try {
    modules = Modules::Load();
    const GemmAt gemm = gemm_by ? gemm_by(modules) : GemmAt();
    const char* bootstrap = std::getenv("ASSAY_BOOTSTRAP");
    ranks = JoinRanks(modules, bootstrap == nullptr ? "" : bootstrap, watch.limit,
                      /*allow_single=*/true);
    if (ranks->Rank() == 0) {
      Worker worker(*ranks, Libraries(modules, *ranks), watch, {.gemm = gemm});
      Serve(STDIN_FILENO, answers, *ranks, worker);
    } else {
      Follow({.modules = &modules, .ranks = ranks.get(), .watchdog = watch.limit, .gemm = gemm});
    }
  } catch (const std::exception& error) {
    Abandon(error);
  }
  return 0;
}

}  // namespace assay::collectives
