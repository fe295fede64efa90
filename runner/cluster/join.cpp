#include "runner/cluster/join.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <iterator>
#include <utility>

#include "results/base/error.h"
#include "runner/cluster/launch.h"
#include "runner/cluster/tcp_ranks.h"

namespace assay {
namespace {

// Variables that Open MPI's mpirun, PMI launchers (MPICH, Slurm), PMIx launchers and Slurm's srun
// set.
constexpr const char* kLauncherVariables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK",
                                              "SLURM_STEP_ID"};
// The variables that tell how many processes were started.
constexpr const char* kSizeVariables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                          "SLURM_STEP_NUM_TASKS"};

// The rank that the launcher gave this process, which knows it before it has met the others.
std::string LaunchedRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* value = std::getenv(name)) return value;
  }
  return "unknown";
}

// A watch over ranks that can't tell each other what to do yet: where it expires this one ends, and
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

// Ends a rank that is out of step, at once: to take leave of the others it would have to wait for
// them while they wait for it. The launcher then ends them all.
[[noreturn]] void Abandon(const std::exception& error) {
  std::cerr << "assay: " << error.what() << std::endl;
  _exit(2);
}

}  // namespace

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
    // A rank that is lost needs no telling.
  }
  delete ranks;
}

JoinedRanks JoinRanks(const Modules& modules, const std::string& bootstrap, Seconds watchdog,
                      bool allow_single) {
  // Modules that wait for ranks by themselves read their limit here (collectives/nccl.cpp).
  setenv("ASSAY_WATCHDOG", fmt::format("{}", watchdog.count()).c_str(), 1);
  if (bootstrap == "tcp") {
    TcpOptions options = TcpOptionsFrom(std::getenv);
    options.patience = watchdog;
    if (options.size == 1 && !allow_single) return JoinedRanks(new Ranks);
    return JoinedRanks(JoinTcp(options).release(), {.watchdog = watchdog});
  }
  const int launched = LaunchedSize();
  if (!UnderLauncher() || (launched == 1 && !allow_single)) return JoinedRanks(new Ranks);
  const auto& entries = modules.Entries();
  const auto mpi = std::ranges::find(entries, "mpi", &Modules::Entry::name);
  if (mpi == entries.end() || mpi->module == nullptr) {
    throw Error(fmt::format(
        "a launcher started this process, which can't find its other ranks "
        "without the mpi module ({}): {}, or start one process alone",
        mpi == entries.end() ? "unknown" : mpi->reason, mpi == entries.end() ? "" : mpi->remedy));
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

JoinedRanks InThreads(JoinedRanks processes, const PerProcess& per_process,
                      const std::function<Member()>& member_of_thread, Seconds watchdog) {
  const Dismiss dismiss = processes.get_deleter();
  return JoinedRanks(JoinThreads(std::unique_ptr<Ranks>(processes.release()), per_process,
                                 [=](Ranks& own) {
                                   Worker worker(own, member_of_thread(), {.limit = watchdog});
                                   Follow(worker);
                                 })
                         .release(),
                     dismiss);
}

void FollowAsMember(Ranks& ranks, Member member, Seconds watchdog) {
  try {
    Worker worker(ranks, std::move(member), {.limit = watchdog});
    Follow(worker);
  } catch (const std::exception& error) {
    Abandon(error);
  }
}

int WorkerMain(const std::function<Member(const Modules&)>& member_by) {
  // The process that started this one may be killed, which a rank that is busy with others doesn't
  // notice by itself.
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
    const char* bootstrap = std::getenv("ASSAY_BOOTSTRAP");
    ranks = JoinRanks(modules, bootstrap == nullptr ? "" : bootstrap, watch.limit,
                      /*allow_single=*/true);
    if (ranks->Rank() == 0) {
      Worker worker(*ranks, member_by(modules), watch);
      Serve(STDIN_FILENO, answers, worker);
    } else {
      FollowAsMember(*ranks, member_by(modules), watch.limit);
    }
  } catch (const std::exception& error) {
    Abandon(error);
  }
  return 0;
}

}  // namespace assay
