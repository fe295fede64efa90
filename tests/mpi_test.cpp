// The real thing: the mpirun of Open MPI and of MPICH, each with its library through its module,
// and real processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>
#include <tuple>

#include "collectives/collective.h"
#include "collectives/collectives.h"
#include "collectives/fabric.h"
#include "collectives/used_transport.h"
#include "results/base/error.h"
#include "runner/cluster/cluster.h"
#include "runner/cluster/launch.h"
#include "tests/workers.h"

namespace assay {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

// Clock ticks of processor time that a process has used.
long Ticks(pid_t pid) {
  const std::string stat = ReadAll("/proc/" + std::to_string(pid) + "/stat");
  std::istringstream words(stat.substr(stat.rfind(')') + 2));
  std::string ignored;
  for (int i = 0; i < 11; ++i) words >> ignored;
  long user = 0;
  long system = 0;
  words >> user >> system;
  return user + system;
}

constexpr const char* kAsRoot =
    "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_ALLOW_RUN_AS_ROOT=1 "
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1 ";

// Tests with the mpirun of one family first in PATH, as Debian's alternatives would put it there.
class Mpi : public testing::TestWithParam<std::string> {
 public:
  void SetUp() override { UseMpirunOf(GetParam()); }
  void TearDown() override {
    setenv("PATH", path_.c_str(), 1);
    fs::remove_all(folder_);
  }

  void UseMpirunOf(const std::string& family) {
    fs::create_directory(folder_);
    // hydra wants its proxy beside it.
    for (const char* name : {"mpirun", "hydra_pmi_proxy"}) {
      std::istringstream folders(path_);
      for (std::string from; std::getline(folders, from, ':');) {
        const std::string suffix = name == std::string("mpirun") ? "." + family : "";
        if (!fs::exists(from + "/" + name + suffix)) continue;
        fs::create_symlink(from + "/" + name + suffix, folder_ + "/" + name);
        break;
      }
    }
    setenv("PATH", (folder_ + ":" + path_).c_str(), 1);
    const std::optional<Mpirun> mpirun = FindMpirun();
    if (!mpirun || mpirun->family != family) GTEST_SKIP() << "there is no mpirun." << family;
    modules_ = Modules::Load({.folders = {MODULE_FOLDER}});
    const Module* module = modules_.Find("mpi");
    if (module == nullptr || module->name != family) {
      GTEST_SKIP() << "this build has no module for " << family;
    }
    setup_.modules = &modules_;
  }

  // The command that starts that many ranks, however few cores there are.
  static std::string MpirunOf(int ranks) {
    return std::string(kAsRoot) + (GetParam() == "openmpi" ? "mpirun --oversubscribe" : "mpirun") +
           " -np " + std::to_string(ranks) + " ";
  }

  // The probes, whose cases are placed on ranks that are started for them.
  static std::vector<Probe> Probes(assay::Setup setup, const std::string& require_transport = {}) {
    const std::shared_ptr<Cluster> cluster =
        OpenCluster({.modules = setup.modules, .self = kProgram});
    setup.roster = cluster->WhoIsThere();
    std::vector<Probe> probes = collectives::Probes(setup);
    for (Probe& probe : probes) {
      probe.unfold = [cluster, require_transport, unfold = probe.unfold](const Params& params) {
        std::vector<Case> cases = unfold(params);
        for (Case& one : cases) {
          one = cluster->Placed(std::move(one));
          if (require_transport.empty()) continue;
          one = collectives::Demanding(std::move(one), require_transport);
        }
        return cases;
      };
    }
    return probes;
  }
  static Case CaseWith(const Probe& probe, const Params& values) {
    Params params = probe.defaults;
    for (const auto& [name, value] : values) params.at(name) = value;
    return probe.unfold(params).at(0);
  }
  static std::unique_ptr<Workload> Ready(const Case& one) {
    Prepared prepared = one.prepare(/*seed=*/11);
    if (const Skipped* skipped = std::get_if<Skipped>(&prepared)) throw Error(skipped->reason);
    return std::get<std::unique_ptr<Workload>>(std::move(prepared));
  }

 protected:
  const std::string path_ = getenv("PATH");
  const std::string folder_ = testing::TempDir() + "assay-mpirun-" + std::to_string(getpid());
  Modules modules_ = {};
  assay::Setup setup_ = {};
};
INSTANTIATE_TEST_SUITE_P(Each, Mpi, testing::Values("openmpi", "mpich"),
                         [](const auto& one) { return one.param; });

// Tests of how ranks are started, which are run with one MPI alone.
class OpenMpi : public Mpi {};
INSTANTIATE_TEST_SUITE_P(Once, OpenMpi, testing::Values("openmpi"),
                         [](const auto& one) { return one.param; });

TEST_P(Mpi, SumsExactlyInEveryTypePlacementAndSize) {
  const std::vector<Probe> probes = Probes(setup_);
  for (const char* dtype : {"f32", "f64", "i32"}) {
    for (const char* placement : {"out_of_place", "in_place"}) {
      for (const std::int64_t bytes : {8, 4096, 1 << 20}) {
        const auto workload = Ready(
            CaseWith(probes[0], {{"dtype", dtype}, {"placement", placement}, {"bytes", bytes}}));
        const Batch batch = workload->Run(3);
        ASSERT_EQ(batch.per_unit.size(), 2u);
        EXPECT_GT(batch.per_unit[0], Seconds(0));
        // The sum of the larger of each pair is at least the larger of the sums.
        EXPECT_GE(batch.time.count() * (1 + 1e-12), batch.per_unit[0].count());
        EXPECT_GE(batch.time.count() * (1 + 1e-12), batch.per_unit[1].count());
        const Checked checked = workload->Verify();
        EXPECT_EQ(checked.checked, 2 * bytes / (std::string(dtype) == "f64" ? 8 : 4));
        EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
      }
    }
  }
}

// Every collective and every pattern of the probe fabric, over one library.
void ExpectExact(const std::vector<Probe>& probes) {
  for (const std::int64_t ranks : {2, 4}) {
    for (const Probe& probe : probes) {
      const bool is_fabric = probe.name == "fabric";
      if (is_fabric && ranks != 2) continue;
      for (const std::string& pattern :
           is_fabric ? FabricPatterns() : std::vector<std::string>{""}) {
        for (const std::int64_t bytes : {256, 100'000, 3'000'000}) {
          Params params = {{"ranks", ranks}};
          if (is_fabric) params["pattern"] = pattern;
          if (probe.name != "barrier") params["bytes"] = bytes;
          const auto workload = Mpi::Ready(Mpi::CaseWith(probe, params));
          EXPECT_GT(workload->Run(3).time, Seconds(0));
          const Checked checked = workload->Verify();
          EXPECT_GT(checked.checked, 0);
          EXPECT_EQ(checked.wrong, 0)
              << probe.name << " " << pattern << " of " << bytes << " on " << ranks;
        }
      }
    }
  }
}

TEST_P(Mpi, OurAlgorithmsOverItsMessagesAreExact) {
  setup_.backends = {"native-mpi"};
  const std::vector<Probe> probes = Probes(setup_);
  ExpectExact(probes);
  const Facts facts = Ready(CaseWith(probes[0], {{"bytes", std::int64_t{64} << 20}}))->Describe();
  EXPECT_EQ(facts.at("algorithm"), Fact(std::string("ring")));
  EXPECT_EQ(facts.at("segment_bytes"), Fact(std::int64_t{128} << 10));
  EXPECT_EQ(facts.at("sent_bytes_by_rank_0"), Fact(std::int64_t{64} << 20));
}

TEST_P(Mpi, EachNamedAlgorithmRunsAndAnUnknownOneSaysWhichThereAre) {
  setup_.backends = {"native-mpi"};
  const std::vector<Probe> probes = Probes(setup_);
  for (const char* algorithm : {"ring", "recursive_doubling", "rabenseifner"}) {
    const auto workload = Ready(CaseWith(probes[0], {{"algo", std::string(algorithm)}}));
    workload->Run(2);
    EXPECT_EQ(workload->Verify().wrong, 0) << algorithm;
    EXPECT_EQ(workload->Describe().at("algorithm"), Fact(std::string(algorithm)));
  }
  const Prepared prepared = CaseWith(probes[0], {{"algo", std::string("magic")}}).prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  EXPECT_THAT(std::get<Skipped>(prepared).remedy, HasSubstr("rabenseifner"));
}

TEST_P(Mpi, SaysWhichLibraryAndProcessorsItRanOn) {
  const std::vector<Probe> probes = Probes(setup_);
  const Facts facts = Ready(CaseWith(probes[0], {}))->Describe();
  EXPECT_THAT(
      std::get<std::string>(facts.at("mpi")),
      testing::MatchesRegex(GetParam() == "openmpi" ? "Open MPI v[0-9.]+" : "MPICH [0-9.]+"));
  EXPECT_THAT(std::get<std::string>(facts.at("processors_by_rank")), HasSubstr(" | "));
  EXPECT_TRUE(std::holds_alternative<bool>(facts.at("oversubscribed")));
  EXPECT_EQ(collectives::Software(setup_).at("mpi"), std::get<std::string>(facts.at("mpi")));
}

// A variable of this process and of the ranks that it starts.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

// The transport by which two ranks of this host reached each other, as they say; "sockets: …" where
// they went by those.
std::string TransportOf(const assay::Setup& setup) {
  const auto workload = Mpi::Ready(Mpi::CaseWith(Mpi::Probes(setup)[0], {}));
  workload->Run(1);
  const Facts facts = workload->Describe();
  return (facts.contains("sockets") ? "sockets: " : "") +
         std::get<std::string>(facts.at("transport"));
}

// Open MPI's name of its shared memory, which is sm since version 5.
std::string SharedMemoryOf(const assay::Setup& setup) {
  return collectives::Software(setup).at("mpi").starts_with("Open MPI v4") ? "vader" : "sm";
}

TEST_P(Mpi, TellsTheTransportThatWasSelectedAndNeverGuesses) {
  for (const char* library : {"mpi", "native-mpi"}) {
    setup_.backends = {library};
    if (GetParam() == "openmpi") {
      EXPECT_EQ(TransportOf(setup_), "ob1/" + SharedMemoryOf(setup_));
      const Variable without_shared_memory("OMPI_MCA_btl", "tcp,self");
      const Variable loopback("OMPI_MCA_btl_tcp_if_include", "lo");
      EXPECT_EQ(TransportOf(setup_), "sockets: ob1/tcp");
    } else {
      EXPECT_THAT(TransportOf(setup_), testing::MatchesRegex("unknown \\(device ch4:[a-z]+: .*"));
      const Variable as_if_on_two_nodes("MPIR_CVAR_NOLOCAL", "1");
      EXPECT_THAT(TransportOf(setup_), testing::AnyOf("ucx", "ofi"));
    }
  }
}

TEST_P(OpenMpi, AnotherLayerForMessagesIsToldToo) {
  const Variable pml("OMPI_MCA_pml", "cm");
  const Variable mtl("OMPI_MCA_mtl", "ofi");
  const Variable provider("OMPI_MCA_mtl_ofi_provider_include", "tcp");  // left out unless asked for
  setup_.backends = {"mpi"};
  EXPECT_EQ(TransportOf(setup_), "cm/ofi");
}

TEST_P(Mpi, ATransportThatWasAskedForIsDemandedOfEveryLibrary) {
  const Variable provider("FI_PROVIDER", "tcp");
  const bool is_open_mpi = GetParam() == "openmpi";
  const std::string shared = is_open_mpi ? "ob1/" + SharedMemoryOf(setup_) : "unknown (device";
  const std::tuple<const char*, std::string, std::string> cases[] = {
      {"mpi", is_open_mpi ? "OB1/" + SharedMemoryOf(setup_) : "", shared},
      {"native-mpi", is_open_mpi ? "ob1" : "", shared},
      {"native", "shared memory", "shared memory"},
      {"ofi", "TCP", "tcp"}};
  for (const auto& [library, used, told] : cases) {
    if (library == std::string("ofi") && modules_.Find("ofi") == nullptr) continue;
    setup_.backends = {library};
    const auto other = Ready(CaseWith(Probes(setup_, "efa")[0], {}));
    other->Run(1);
    const std::string sentence =
        std::string("transport efa was asked for (--require-transport), but with ") + library +
        " every rank went over " + told;
    EXPECT_THAT([&] { other->Verify(); },
                testing::ThrowsMessage<Error>(testing::StartsWith(sentence)));
    EXPECT_THROW(other->Describe(), Error) << "and no figure is kept";
    if (used.empty()) continue;
    const auto same = Ready(CaseWith(Probes(setup_, used)[0], {}));
    same->Run(1);
    EXPECT_EQ(same->Verify().wrong, 0);
    EXPECT_TRUE(same->Describe().contains("transport"));
  }
}

TEST_P(OpenMpi, OurAlgorithmsOverLibfabricAreExact) {
  if (modules_.Find("ofi") == nullptr) GTEST_SKIP() << "this build has no module ofi";
  setup_.backends = {"ofi"};
  for (const char* provider : {"shm", "tcp"}) {
    setenv("FI_PROVIDER", provider, 1);
    const std::vector<Probe> probes = Probes(setup_);
    ExpectExact(probes);
    const Facts facts = Ready(CaseWith(probes[0], {}))->Describe();
    EXPECT_EQ(NotOver(std::get<std::string>(facts.at("transport")), provider), std::nullopt);
  }
  unsetenv("FI_PROVIDER");
}

TEST_P(Mpi, MoreRanksThanCoresStillSum) {
  const std::vector<Probe> probes = Probes(setup_);
  const auto ranks = std::int64_t{std::thread::hardware_concurrency()} + 1;
  const auto workload = Ready(CaseWith(probes[0], {{"ranks", ranks}, {"bytes", std::int64_t{64}}}));
  EXPECT_EQ(workload->Run(2).per_unit.size(), static_cast<std::size_t>(ranks));
  EXPECT_EQ(workload->Verify().wrong, 0);
  EXPECT_EQ(workload->Describe().at("oversubscribed"), Fact(true));
}

TEST_P(Mpi, OneLaunchServesAllCasesAndEndsWithTheProbe) {
  {
    const std::vector<Probe> probes = Probes(setup_);
    Ready(CaseWith(probes[0], {{"dtype", "f32"}}))->Run(1);
    const std::vector<pid_t> first = Workers();
    EXPECT_EQ(first.size(), 2u);
    Ready(CaseWith(probes[0], {{"dtype", "f64"}}))->Run(1);
    EXPECT_EQ(Workers(), first);
  }
  EXPECT_TRUE(Workers().empty());
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child was not waited for";
}

TEST_P(Mpi, RanksThatWaitLeaveTheirCoresToOthers) {
  const std::vector<Probe> probes = Probes(setup_);
  const auto workload = Ready(CaseWith(probes[0], {}));
  workload->Run(1);
  long before = 0;
  for (const pid_t pid : Workers()) before += Ticks(pid);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  long after = 0;
  for (const pid_t pid : Workers()) after += Ticks(pid);
  // Two spinning ranks would use a second of processor time in half a second.
  EXPECT_LT(static_cast<double>(after - before) / static_cast<double>(sysconf(_SC_CLK_TCK)), 0.1);
}

TEST_P(Mpi, ARankThatDiesIsOneSentenceAndTheNextCaseLaunchesAgain) {
  const std::vector<Probe> probes = Probes(setup_);
  const Case one = CaseWith(probes[0], {});
  const auto workload = Ready(one);
  workload->Run(1);
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 2u);
  kill(workers[1], SIGKILL);
  try {
    workload->Run(1000000);
    ADD_FAILURE() << "a dead rank was overlooked";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the 2 ranks of"));
    EXPECT_THAT(error.what(), HasSubstr("ended early"));
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("\n")));
  }
  EXPECT_TRUE(Workers().empty());
  EXPECT_EQ(Ready(one)->Run(1).per_unit.size(), 2u);
}

TEST_P(Mpi, ALauncherThatIsKilledTakesBusyRanksAlong) {
  const std::vector<Probe> probes = Probes(setup_);
  const auto workload = Ready(CaseWith(probes[0], {}));
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 2u);
  const std::string stat = ReadAll("/proc/" + std::to_string(workers[0]) + "/stat");
  char state = 0;
  pid_t launcher = 0;
  std::istringstream(stat.substr(stat.rfind(')') + 2)) >> state >> launcher;
  std::thread killer([launcher] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    kill(launcher, SIGKILL);
  });
  EXPECT_THROW(workload->Run(1'000'000), Error);
  killer.join();
  for (int tries = 0; tries < 200 && !Workers().empty(); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(Workers().empty());
}

TEST_P(Mpi, KilledWhileMeasuringItLeavesNoRankBehind) {
  const pid_t measuring = fork();
  if (measuring == 0) {
    const std::vector<Probe> probes = Probes(setup_);
    Ready(CaseWith(probes[0], {}))->Run(1'000'000);
    _exit(0);
  }
  for (int tries = 0; tries < 1000 && Workers().size() < 2; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(Workers().size(), 2u);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // by then they are at work
  kill(measuring, SIGKILL);
  waitpid(measuring, nullptr, 0);
  for (int tries = 0; tries < 500 && !Workers().empty(); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(Workers().empty());
}

TEST_P(OpenMpi, WithoutMpirunSaysHowToGetIt) {
  const std::vector<Probe> probes = Probes(setup_);
  setenv("PATH", "/nonexistent", 1);
  const Prepared prepared = CaseWith(probes[0], {}).prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  EXPECT_EQ(std::get<Skipped>(prepared).remedy, "apt-get install openmpi-bin, or mpich");
}

TEST_P(Mpi, WithTheMpirunOfAnotherMpiIsSkipped) {
  const std::vector<Probe> probes = Probes(setup_);
  const fs::path another = fs::path(folder_) / "another";
  fs::create_directory(another);
  std::ofstream(another / "mpirun") << "#!/bin/sh\n";
  chmod((another / "mpirun").c_str(), 0755);
  if (GetParam() == "openmpi") std::ofstream(another / "mpiexec.hydra") << "";
  setenv("PATH", another.c_str(), 1);
  const Prepared prepared = CaseWith(probes[0], {}).prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  const auto& skipped = std::get<Skipped>(prepared);
  EXPECT_EQ(skipped.reason, another.string() + "/mpirun is of the family of " +
                                (GetParam() == "openmpi" ? "mpich" : "openmpi") +
                                ", and this build of assay is for " +
                                modules_.Find("mpi")->version() + " alone");
  EXPECT_THAT(skipped.remedy, HasSubstr("-dev and build again"));
}

TEST_P(OpenMpi, UnderALauncherNeverLaunches) {
  const std::vector<Probe> probes = Probes(setup_);
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "SLURM_STEP_ID"}) {
    setenv(name, "1", 1);
    const Prepared prepared = CaseWith(probes[0], {}).prepare(1);
    unsetenv(name);
    ASSERT_TRUE(std::holds_alternative<Skipped>(prepared)) << name;
    EXPECT_THAT(std::get<Skipped>(prepared).remedy, HasSubstr("mpirun -np 2"));
  }
  EXPECT_TRUE(Workers().empty());
}

TEST_P(OpenMpi, SeveralNodesNeedALauncherOfTheirOwn) {
  const std::vector<Probe> probes = Probes(setup_);
  const Prepared prepared = CaseWith(probes[0], {{"nodes", std::int64_t{2}}}).prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
}

TEST_P(OpenMpi, BuffersThatDontFitAreRefusedBeforeAnythingIsLaunched) {
  const std::vector<Probe> probes = Probes(setup_);
  const Prepared prepared =
      CaseWith(probes[0], {{"bytes", std::int64_t{1} << 40}, {"ranks", std::int64_t{64}}})
          .prepare(1);
  ASSERT_TRUE(std::holds_alternative<Skipped>(prepared));
  EXPECT_THAT(std::get<Skipped>(prepared).reason, HasSubstr("of memory"));
  EXPECT_TRUE(Workers().empty());
}

// Runs a command line in the shell.
std::string OutputOf(const std::string& command, int* status) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string output;
  for (int c; (c = std::fgetc(pipe)) != EOF;) output += static_cast<char>(c);
  *status = WEXITSTATUS(pclose(pipe));
  return output;
}

TEST_P(Mpi, UnderMpirunRankZeroMeasuresOnAllRanks) {
  int status = 0;
  EXPECT_EQ(OutputOf(MpirunOf(3) + kProgram, &status),
            "all_reduce mpi: units 3 checked 786432 wrong 0\n"
            "all_reduce native: units 3 checked 786432 wrong 0\n"
            "all_gather mpi: units 3 checked 786420 wrong 0\n"
            "all_gather native: units 3 checked 786420 wrong 0\n"
            "reduce_scatter mpi: units 3 checked 262140 wrong 0\n"
            "reduce_scatter native: units 3 checked 262140 wrong 0\n"
            "broadcast mpi: units 3 checked 786432 wrong 0\n"
            "broadcast native: units 3 checked 786432 wrong 0\n"
            "reduce mpi: units 3 checked 262144 wrong 0\n"
            "reduce native: units 3 checked 262144 wrong 0\n"
            "alltoall mpi: units 3 checked 786420 wrong 0\n"
            "alltoall native: units 3 checked 786420 wrong 0\n"
            "alltoallv mpi: units 3 checked 786420 wrong 0\n"
            "alltoallv native: units 3 checked 786420 wrong 0\n"
            "gather mpi: units 3 checked 262140 wrong 0\n"
            "gather native: units 3 checked 262140 wrong 0\n"
            "scatter mpi: units 3 checked 262140 wrong 0\n"
            "scatter native: units 3 checked 262140 wrong 0\n"
            "sendrecv mpi: units 3 checked 786432 wrong 0\n"
            "sendrecv native: units 3 checked 786432 wrong 0\n"
            "barrier mpi: units 3 checked 3 wrong 0\n"
            "barrier native: units 3 checked 3 wrong 0\n"
            "fabric native-mpi: skipped: it asks for 2 ranks on 1 node, and the launcher started 3 "
            "on 1; mpirun -np 2 assay run fabric\n"
            "fabric ofi: skipped: it asks for 2 ranks on 1 node, and the launcher started 3 on 1; "
            "mpirun -np 2 assay run fabric\n");
  EXPECT_EQ(status, 0);
}

TEST_P(Mpi, GroupsOfRanksEachDoTheirOwn) {
  int status = 0;
  // 100,000 bytes are 25,000 elements on each of two ranks, and twice as many come to one root.
  EXPECT_EQ(OutputOf(MpirunOf(4) + kProgram + " --groups", &status),
            "mpi group 0 units 2 checked 50000 wrong 0\n"
            "mpi group 1 units 2 checked 50000 wrong 0\n"
            "native-mpi group 0 units 2 checked 50000 wrong 0\n"
            "native-mpi group 1 units 2 checked 50000 wrong 0\n");
  EXPECT_EQ(status, 0);
}

TEST_P(Mpi, ASplitCaseRunsAllGroupsAtOnceExactly) {
  for (const char* backend : {"mpi", "native", "native-mpi"}) {
    setup_.backends = {backend};
    const std::vector<Probe> probes = Probes(setup_);
    Params params = probes[0].defaults;
    params["ranks"] = std::int64_t{4};
    params["split"] = "MOD 2";
    const auto workload = Ready(probes[0].unfold(params).at(0));
    const Batch batch = workload->Run(2);
    ASSERT_EQ(batch.parts.size(), 2u) << backend;
    EXPECT_EQ(batch.parts[1].per_unit.size(), 2u);
    const Checked checked = workload->Verify();
    EXPECT_EQ(checked.checked, 4 * (1 << 18));
    EXPECT_EQ(checked.wrong, 0) << backend << ": " << checked.what.value_or("");
  }
}

TEST_P(Mpi, WithoutALauncherTheProgramIsItsOwnWorker) {
  int status = 0;
  EXPECT_THAT(OutputOf(kProgram, &status), HasSubstr("units 2 checked 524288 wrong 0\n"));
  EXPECT_EQ(status, 0);
}

TEST_P(Mpi, RanksThatCantFindEachOtherRefuseToRun) {
  // The ranks are started as by a launcher that the module's MPI doesn't understand.
  int status = 0;
  const std::string launcher = GetParam() == "openmpi" ? "OMPI_COMM_WORLD_SIZE=4 "
                                                       : "SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 ";
  EXPECT_THAT(OutputOf(kAsRoot + (launcher + kProgram + " 2>&1"), &status),
              HasSubstr("the launcher started 4 processes, but " + modules_.Find("mpi")->version() +
                        " sees 1"));
  EXPECT_EQ(status, 2);
}

TEST_P(OpenMpi, AnInstalledProgramFindsItsModule) {
  const std::string prefix = testing::TempDir() + "assay-installed-" + std::to_string(getpid());
  int status = 0;
  const std::string log = OutputOf(
      std::string(CMAKE_PROGRAM) + " --install " + MODULE_FOLDER + " --prefix " + prefix + " 2>&1",
      &status);
  ASSERT_EQ(status, 0) << log;
  fs::copy_file(kProgram, prefix + "/bin/ranks_program");
  const std::string output =
      OutputOf("OMPI_COMM_WORLD_SIZE=4 " + prefix + "/bin/ranks_program 2>&1", &status);
  fs::remove_all(prefix);
  // It got as far as asking the module's library.
  EXPECT_THAT(output, HasSubstr("4 processes, but Open MPI"));
}

}  // namespace
}  // namespace assay
