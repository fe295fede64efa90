#include "runner/cluster/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/cluster/join.h"
#include "runner/cluster/launch.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

// The one listener who is told, in the threads of watchdogs, of ranks that hang.
class Listener {
 public:
  void Set(Cluster::Hung told) {
    const std::lock_guard lock(mutex_);
    told_ = std::move(told);
  }
  void Tell(const std::string& diagnosis, bool last) {
    const std::lock_guard lock(mutex_);
    if (told_) told_(diagnosis, last);
  }

 private:
  std::mutex mutex_ = {};
  Cluster::Hung told_ = {};
};

// A case of several ranks as they are told of it.
AskedCase AskRanksFor(const Case& one) {
  AskedCase asked = {.on = one.across->groups.empty() ? On::kAll : On::kGroups,
                     .record = AskedRecord(one)};
  const std::int64_t bytes = one.across->bytes;
  asked.record.work = {.bytes = bytes > 0 ? std::optional(bytes) : std::nullopt};
  return asked;
}

// The number of groups; -1 stands for ranks that are in none.
std::size_t CountOf(const std::vector<int>& groups) {
  std::set<int> numbers(groups.begin(), groups.end());
  numbers.erase(-1);
  return numbers.size();
}

bool Oversubscribed(int ranks) { return static_cast<std::size_t>(ranks) > UsableCores().size(); }

// The jobs that the cases of one run share. The cluster and its cases own it together.
class Jobs : public std::enable_shared_from_this<Jobs> {
 public:
  explicit Jobs(const ClusterOptions& options) : options_(options) {
    if (options.ranks == nullptr || options.ranks->JoinedBy().empty() ||
        options.modules == nullptr) {
      return;
    }
    own_ = MakeJob(*options.ranks, options.member,
                   {.limit = options.watchdog, .expired = [hung = hung_](const std::string& what) {
                      hung->Tell(what, true);
                    }});
    nodes_ = AskNodes(*own_);
  }

  Roster WhoIsThere() {
    Roster roster = {.nodes = nodes_, .usual_ranks = options_.usual_ranks};
    if (own_) {
      roster.usual_ranks = static_cast<int>(nodes_.size());
      roster.cores = FewestCores(*own_);
    }
    roster.no_mpi = [self = shared_from_this()] { return self->NoMpi(); };
    return roster;
  }

  Held Describe() {
    if (!own_) return {.nodes = {options_.member.describe()}, .ranks = {{}}};
    Held held = {.nodes = AskDescriptions(*own_)};
    for (const Whereabouts& one : assay::AskWhereabouts(*own_)) {
      const int rank = static_cast<int>(held.ranks.size());
      held.ranks.push_back({.rank = rank, .node = one.node, .numa = one.numa});
      // Nodes are numbered by their lowest rank.
      if (one.node == static_cast<int>(held.hosts.size())) held.hosts.push_back(one.host);
    }
    held.fates = [processes = own_->Processes()] { return processes.Fates(); };
    return held;
  }

  Case AcrossRanksOf(Case one) {
    AskedCase asked = AskRanksFor(one);
    const auto place = [&](std::vector<Unit>& units) {
      for (Unit& unit : units) {
        const auto rank = static_cast<std::size_t>(unit.rank);
        unit.node = rank < nodes_.size() ? nodes_[rank] : 0;
        if (one.across->on_devices && !Missing(*one.across)) {
          unit.device = DeviceOf(rank, asked);
        }
      }
    };
    place(one.units);
    for (Case::Part& part : one.parts) place(part.units);
    // All visits do the same work: `how` keeps what the first one settles.
    one.prepare = [self = shared_from_this(), asked, across = *one.across,
                   how = std::make_shared<Params>(one.across->how)](std::uint64_t seed) mutable {
      asked.seed = seed;
      asked.how = *how;
      return self->Prepare(asked, across, across.settles ? how.get() : nullptr);
    };
    return one;
  }

  Case OnEachNodeOf(Case one) {
    const int nodes = NodeCount();
    if (nodes == 1) return one;
    // Watchdogs allow for the work of one node, which `asked` has before it is multiplied below.
    AskedCase asked = {.on = On::kEachNode, .record = AskedRecord(one)};
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
    for (std::optional<std::int64_t>* amount :
         {&one.work.flops, &one.work.bytes, &one.work.bytes_min, &one.work.ops}) {
      if (*amount) **amount *= nodes;
    }
    one.here = nullptr;
    if (one.meter) {
      one.meter = [job = own_, asked, units = static_cast<int>(own.size())] {
        return MeterOnEachNode(job, asked, units);
      };
    }
    one.prepare = [job = own_, asked](std::uint64_t seed) mutable {
      asked.seed = seed;
      return PrepareOn(job, asked);
    };
    return one;
  }

  std::vector<Whereabouts> AskWhereabouts(const Case& one) {
    const AcrossRanks& across = one.across.value();
    const std::optional<Skipped> missing = Missing(across);
    if (missing && across.on_devices) {
      throw Error(fmt::format("{}; try: {}", missing->reason, missing->remedy));
    }
    const AskedCase asked = AskRanksFor(one);
    const AskedCase* const on_devices = across.on_devices ? &asked : nullptr;
    if (own_) return assay::AskWhereabouts(*own_, on_devices);
    const auto launcher = across.by_mpi && !missing ? FindMpirun() : std::nullopt;
    return assay::AskWhereabouts(*Launched(launcher, across.ranks), on_devices);
  }

  void WhenHung(Cluster::Hung told) { hung_->Set(std::move(told)); }

  void Abort(int status) {
    if (options_.ranks != nullptr) options_.ranks->Abort(status);
    _exit(status);
  }

 private:
  static std::optional<Skipped> Missing(const AcrossRanks& across) {
    return across.missing ? across.missing() : std::nullopt;
  }

  int NodeCount() const { return Roster{.nodes = nodes_}.Nodes(); }

  std::optional<Skipped> NoMpi() const {
    if (own_ && options_.ranks->JoinedBy() != "mpi") {
      return Skipped{.reason = "its ranks were joined over TCP, without MPI",
                     .remedy = "mpirun, without --bootstrap"};
    }
    if (own_ || UnderLauncher()) return std::nullopt;
    const std::optional<Mpirun> mpirun = FindMpirun();
    if (!mpirun) {
      return Skipped{.reason = "there is no mpirun in PATH",
                     .remedy = "apt-get install openmpi-bin, or mpich"};
    }
    const Module* const module = options_.modules ? options_.modules->Find("mpi") : nullptr;
    if (module != nullptr && mpirun->family != module->name) {
      return Skipped{.reason = fmt::format("{} is of the family of {}, and this build of assay is "
                                           "for {} alone",
                                           mpirun->path, mpirun->family, module->version()),
                     .remedy = fmt::format("put its mpirun first in PATH, or apt-get install "
                                           "lib{}-dev and build again",
                                           mpirun->family)};
    }
    return std::nullopt;
  }

  int DeviceOf(std::size_t rank, const AskedCase& asked) {
    if (!own_) return static_cast<int>(rank);  // ranks that are started here take GPUs in order
    std::vector<int>& devices = devices_[asked.record.backend];
    if (devices.empty()) {
      devices.resize(nodes_.size());
      try {
        std::size_t at = 0;
        for (const Whereabouts& one : assay::AskWhereabouts(*own_, &asked)) {
          if (one.device) devices[at] = one.device->index;
          ++at;
        }
      } catch (const Error&) {
        // There are too few devices, which the case itself will report.
      }
    }
    return devices.at(rank);
  }

  Prepared Prepare(const AskedCase& asked, const AcrossRanks& across, Params* settled) {
    if (std::optional<Skipped> no = across.unfit ? across.unfit() : std::nullopt) {
      return *std::move(no);
    }
    const int ranks = across.ranks;
    const std::size_t groups = CountOf(across.groups);
    const std::string remedy = fmt::format("mpirun -np {} assay run {}", ranks, asked.record.probe);
    if (own_) {
      const int there = static_cast<int>(nodes_.size());
      if (there == ranks && NodeCount() == across.nodes) {
        return PrepareOn(own_, asked, {}, groups, settled);
      }
      return Skipped{
          .reason = fmt::format("it asks for {} on {}, and the launcher started {} on {}",
                                CountText(ranks, "rank"), CountText(across.nodes, "node"), there,
                                NodeCount()),
          .remedy = remedy};
    }
    if (UnderLauncher() || across.nodes > 1) {
      return Skipped{.reason = UnderLauncher() ? "the launcher started this process alone"
                                               : "it asks for " + CountText(across.nodes, "node"),
                     .remedy = remedy};
    }
    return PrepareOn(Launched(across.by_mpi ? FindMpirun() : std::nullopt, ranks, across.pinned),
                     asked, {{"oversubscribed", Oversubscribed(ranks)}}, groups, settled);
  }

  // The job of ranks that assay starts itself, by mpirun or, without a launcher, without MPI.
  // Started once for all cases with the same ranks. Throws Error where they don't come up.
  std::shared_ptr<Job> Launched(const std::optional<Mpirun>& launcher, int ranks,
                                bool pinned = true) {
    const auto key = std::tuple(launcher ? launcher->path : "", ranks, pinned);
    // A launch that failed once would fail again, and may take the whole time-out to do so.
    if (failed_.contains(key)) throw Error(failed_[key]);
    std::shared_ptr<Job>& job = launched_[key];
    if (job && job->Alive()) return job;
    // The link itself would name mpirun by the time that mpirun follows it.
    std::error_code no_link;
    const std::string self = std::filesystem::read_symlink(options_.self, no_link).string();
    try {
      job = Launch({.ranks = ranks,
                    .oversubscribe = Oversubscribed(ranks),
                    .pinned = pinned,
                    .launcher = launcher,
                    .self = no_link ? options_.self : self,
                    .start = std::max(Seconds(60), options_.watchdog + Seconds(10)),
                    .timeout = options_.watchdog,
                    .expired = [hung = hung_] { hung->Tell("", false); }});
    } catch (const Error& error) {
      failed_[key] = error.what();
      throw;
    }
    return job;
  }

  ClusterOptions options_;
  std::shared_ptr<Listener> hung_ = std::make_shared<Listener>();
  std::shared_ptr<Job> own_ = {};  // the job of the ranks that a launcher started; else null
  std::vector<int> nodes_ = {};
  std::map<std::string, std::vector<int>> devices_ = {};  // by backend and rank
  using Key = std::tuple<std::string, int, bool>;
  std::map<Key, std::shared_ptr<Job>> launched_ = {};
  std::map<Key, std::string> failed_ = {};
};

class OpenedCluster : public Cluster {
 public:
  explicit OpenedCluster(const ClusterOptions& options) : jobs_(std::make_shared<Jobs>(options)) {}

  Roster WhoIsThere() override { return jobs_->WhoIsThere(); }
  Held Describe() override { return jobs_->Describe(); }
  Case Placed(Case one) override {
    return one.across ? jobs_->AcrossRanksOf(std::move(one)) : jobs_->OnEachNodeOf(std::move(one));
  }
  std::vector<Whereabouts> AskWhereabouts(const Case& one) override {
    return jobs_->AskWhereabouts(one);
  }
  void WhenHung(Hung told) override { jobs_->WhenHung(std::move(told)); }
  void Abort(int status) override { jobs_->Abort(status); }

 private:
  std::shared_ptr<Jobs> jobs_;
};

}  // namespace

std::unique_ptr<Cluster> OpenCluster(const ClusterOptions& options) {
  return std::make_unique<OpenedCluster>(options);
}

}  // namespace assay
