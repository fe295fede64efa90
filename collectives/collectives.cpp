#include "collectives/collectives.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <utility>

#include "collectives/host_all_reduce.h"
#include "collectives/job.h"
#include "collectives/launch.h"
#include "collectives/library.h"
#include "results/error.h"
#include "results/text.h"
#include "runner/threads.h"

namespace assay::collectives {
namespace {

// Set by Open MPI's mpirun, PMI launchers (MPICH, Slurm), PMIx launchers, and Slurm's srun.
constexpr const char* kLauncherVariables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK",
                                              "SLURM_STEP_ID"};
// Those that tell how many processes were started.
constexpr const char* kSizeVariables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                          "SLURM_STEP_NUM_TASKS"};

// 0 where the launcher doesn't say.
int LaunchedSize() {
  for (const char* name : kSizeVariables) {
    if (const char* value = std::getenv(name)) return std::atoi(value);
  }
  return 0;
}

std::vector<std::unique_ptr<Library>> Libraries(const Modules& modules) {
  std::vector<std::unique_ptr<Library>> all;
  for (const Modules::Entry& entry : modules.Entries()) {
    if (entry.module == nullptr || entry.module->libraries == nullptr) continue;
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

void OneOf(const Params& params, const std::string& name, const std::vector<std::string>& values) {
  const std::string& value = StringOf(params, name);
  if (std::find(values.begin(), values.end(), value) != values.end()) return;
  std::string known;
  for (const std::string& each : values) known += (known.empty() ? "" : ", ") + each;
  throw Error(fmt::format("all_reduce: {} is one of {}, not {}", name, known, value));
}

AllReduce OpFrom(const Params& params) {
  OneOf(params, "dtype", {"f32", "f64", "i32"});
  OneOf(params, "redop", {"sum"});
  OneOf(params, "placement", {"out_of_place", "in_place"});
  OneOf(params, "mode", {"latency", "throughput"});
  OneOf(params, "cache", {"rewritten"});
  const AllReduce op = {.bytes = IntegerOf(params, "bytes"),
                        .dtype = StringOf(params, "dtype"),
                        .redop = StringOf(params, "redop"),
                        .placement = StringOf(params, "placement"),
                        .mode = StringOf(params, "mode")};
  const std::int64_t element = ElementBytes(op.dtype);
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  if (op.bytes < element || op.bytes > kMost || op.bytes % element != 0) {
    throw Error(fmt::format("all_reduce: bytes is a multiple of {} from {} to 1 TiB, not {}",
                            element, element, op.bytes));
  }
  const std::int64_t ranks = IntegerOf(params, "ranks");
  if (ranks < 2 || ranks > 65536) {
    throw Error(fmt::format("all_reduce: ranks is from 2 to 65536, not {}: {}", ranks,
                            ranks == 1 ? "one rank has nobody to exchange with" : "check --set"));
  }
  const std::int64_t nodes = IntegerOf(params, "nodes");
  if (nodes < 1 || nodes > ranks) {
    throw Error(fmt::format("all_reduce: nodes is from 1 to ranks, not {}", nodes));
  }
  return op;
}

// Memory that can be had without swapping, by the kernel's estimate; all there could be where it
// gives none.
std::int64_t AvailableMemory() {
  std::ifstream file("/proc/meminfo");
  std::int64_t kib = 0;
  for (std::string name; file >> name;) {
    if (name == "MemAvailable:" && file >> kib) return kib * 1024;
  }
  return std::numeric_limits<std::int64_t>::max();
}

// The jobs that the cases of one run share.
class Jobs {
 public:
  explicit Jobs(const Setup& setup) : setup_(setup) {
    if (setup.ranks == nullptr || setup.ranks->Size() < 2 || setup.modules == nullptr) return;
    own_ = JobOf(*setup.ranks, Libraries(*setup.modules));
    nodes_ = NodesOf(*own_);
  }

  // The node of each rank that the launcher of this program started; empty without one.
  const std::vector<int>& Nodes() const { return nodes_; }
  int NodeCount() const {
    return nodes_.empty() ? 1 : 1 + *std::max_element(nodes_.begin(), nodes_.end());
  }

  // What no case can do without.
  std::optional<Skipped> Missing() const {
    const Modules::Entry* mpi = EntryOf(setup_.modules, "mpi");
    if (mpi == nullptr) return Skipped{.reason = "no modules are loaded"};
    if (mpi->module == nullptr) return Skipped{.reason = mpi->reason, .remedy = mpi->remedy};
    if (!own_ && !UnderLauncher() && !FindProgram("mpirun")) {
      return Skipped{.reason = "there is no mpirun in PATH",
                     .remedy = "apt-get install openmpi-bin"};
    }
    return std::nullopt;
  }

  Prepared Prepare(const AllReduce& op, int ranks, int nodes, std::uint64_t seed) {
    if (std::optional<Skipped> missing = Missing()) return *std::move(missing);
    // Input, output, and the copy that libraries make of it, for each rank of this node.
    const std::int64_t bytes = 3 * op.bytes * ((ranks + nodes - 1) / nodes);
    if (bytes > AvailableMemory()) {
      return Skipped{.reason = fmt::format("its ranks need {} of memory on this node, which has {} "
                                           "available",
                                           WithPrefix(static_cast<double>(bytes), "B"),
                                           WithPrefix(static_cast<double>(AvailableMemory()), "B")),
                     .remedy = "--set bytes=, with less"};
    }
    if (own_) {
      const int there = static_cast<int>(nodes_.size());
      if (there == ranks && NodeCount() == nodes) return PrepareOn(own_, "mpi", op, seed, {});
      return Skipped{
          .reason = fmt::format("it asks for {} ranks on {} nodes, and the launcher started {} on "
                                "{}",
                                ranks, nodes, there, NodeCount()),
          .remedy = fmt::format("mpirun -np {} assay run all_reduce", ranks)};
    }
    if (UnderLauncher() || nodes > 1) {
      return Skipped{.reason = UnderLauncher() ? "the launcher started this process alone"
                                               : fmt::format("it asks for {} nodes", nodes),
                     .remedy = fmt::format("mpirun -np {} assay run all_reduce", ranks)};
    }
    return PrepareOn(Launched(*FindProgram("mpirun"), ranks), "mpi", op, seed,
                     {{"oversubscribed", Oversubscribed(ranks)}});
  }

 private:
  static bool Oversubscribed(int ranks) {
    return static_cast<std::size_t>(ranks) > UsableCores().size();
  }

  std::shared_ptr<Job> Launched(const std::string& launcher, int ranks) {
    // What did not start once would not the next time either, and may take the whole time-out.
    if (failed_.contains(ranks)) throw Error(failed_[ranks]);
    std::shared_ptr<Job>& job = launched_[ranks];
    if (job && job->Alive()) return job;
    // The link itself would name mpirun by the time that mpirun follows it.
    std::error_code no_link;
    const std::string self = std::filesystem::read_symlink(setup_.self, no_link).string();
    try {
      job = Launch({.ranks = ranks,
                    .oversubscribe = Oversubscribed(ranks),
                    .launcher = launcher,
                    .self = no_link ? setup_.self : self});
    } catch (const Error& error) {
      failed_[ranks] = error.what();
      throw;
    }
    return job;
  }

  Setup setup_;
  std::shared_ptr<Job> own_ = {};
  std::vector<int> nodes_ = {};
  std::map<int, std::shared_ptr<Job>> launched_ = {};  // by number of ranks
  std::map<int, std::string> failed_ = {};
};

// Ends a rank that is out of step, at once: to take leave of the others it would have to wait for
// them while they wait for it. The launcher then ends them all.
[[noreturn]] void Abandon(const std::exception& error) {
  std::cerr << "assay: " << error.what() << std::endl;
  _exit(2);
}

bool Includes(const std::vector<std::string>& chosen, const std::string& name) {
  return chosen.empty() || std::find(chosen.begin(), chosen.end(), name) != chosen.end();
}

}  // namespace

std::vector<Probe> Probes(const Setup& setup) {
  const auto jobs = std::make_shared<Jobs>(setup);
  const auto there = static_cast<std::int64_t>(jobs->Nodes().size());
  Probe probe;
  probe.name = "all_reduce";
  probe.summary = "the sum of an array over several ranks, left on each of them";
  probe.defaults = {{"dtype", "f32"},
                    {"redop", "sum"},
                    {"bytes", std::int64_t{1} << 20},
                    {"placement", "out_of_place"},
                    {"mode", "latency"},
                    {"ranks", std::max<std::int64_t>(there, 2)},
                    {"nodes", std::int64_t{jobs->NodeCount()}},
                    {"cache", "rewritten"}};
  probe.unfold = [jobs, chosen = Includes(setup.backends, "mpi")](const Params& params) {
    const AllReduce op = OpFrom(params);
    const auto ranks = static_cast<int>(IntegerOf(params, "ranks"));
    const auto nodes = static_cast<int>(IntegerOf(params, "nodes"));
    Case one = {.probe = "all_reduce", .params = params, .backend = "mpi"};
    // S of nccl-tests' algorithm bandwidth S / t; bus bandwidth is derived from it on reading.
    one.work = {.bytes = op.bytes, .formula = "all_reduce/algbw"};
    for (int rank = 0; rank < ranks; ++rank) {
      const auto at = static_cast<std::size_t>(rank);
      one.units.push_back(
          {.rank = rank, .node = at < jobs->Nodes().size() ? jobs->Nodes()[at] : 0, .device = 0});
    }
    one.prepare = [jobs, op, ranks, nodes, chosen](std::uint64_t seed) -> Prepared {
      if (!chosen) return Skipped{.reason = "its only backend is mpi", .remedy = "--backend mpi"};
      return jobs->Prepare(op, ranks, nodes, seed);
    };
    return std::vector<Case>{one};
  };
  probe.missing = [jobs] { return jobs->Missing(); };
  return {probe};
}

std::map<std::string, std::string> Software(const Setup& setup) {
  const Modules::Entry* mpi = EntryOf(setup.modules, "mpi");
  if (mpi == nullptr || mpi->module == nullptr) return {};
  return {{"mpi", mpi->module->version()}};
}

bool UnderLauncher() {
  return std::any_of(std::begin(kLauncherVariables), std::end(kLauncherVariables),
                     [](const char* name) { return std::getenv(name) != nullptr; });
}

void Dismiss::operator()(Ranks* ranks) const {
  if (ranks->Rank() == 0) ranks->Broadcast("quit");
  delete ranks;
}

JoinedRanks JoinRanks(const Modules& modules) {
  const int launched = LaunchedSize();
  if (!UnderLauncher() || launched == 1) return JoinedRanks(new Ranks);
  const Modules::Entry* mpi = EntryOf(&modules, "mpi");
  if (mpi == nullptr || mpi->module == nullptr) {
    throw Error(
        fmt::format("a launcher started this process, which can't find its other ranks "
                    "without the mpi module ({}): {}, or start one process alone",
                    mpi == nullptr ? "unknown" : mpi->reason, mpi == nullptr ? "" : mpi->remedy));
  }
  JoinedRanks ranks(mpi->module->ranks().release());
  if (launched > 1 && ranks->Size() != launched) {
    throw Error(
        fmt::format("the launcher started {} processes, but {} sees {}: use its own "
                    "mpirun, or srun --mpi=pmix",
                    launched, mpi->module->version(), ranks->Size()));
  }
  return ranks;
}

void Follow(Ranks& ranks, const Modules& modules) {
  try {
    Worker worker(ranks, Libraries(modules));
    assay::Follow(ranks, worker);
  } catch (const std::exception& error) {
    Abandon(error);
  }
}

int WorkerMain() {
  // Answers keep standard output for themselves; whatever else prints there goes to the errors.
  const int answers = dup(STDOUT_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  Modules modules;
  JoinedRanks ranks;
  try {
    modules = Modules::Load();
    ranks = JoinRanks(modules);
    if (ranks->Rank() == 0) {
      Worker worker(*ranks, Libraries(modules));
      Serve(STDIN_FILENO, answers, *ranks, worker);
    } else {
      Follow(*ranks, modules);
    }
  } catch (const std::exception& error) {
    Abandon(error);
  }
  return 0;
}

}  // namespace assay::collectives
