// The real thing: ranks as processes that assay starts itself, without MPI, joined over TCP.
#include "runner/cluster/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "collectives/collectives.h"
#include "results/base/error.h"
#include "runner/cluster/cluster.h"
#include "tests/workers.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

bool NobodyIsLeft() {
  for (int tries = 0; tries < 300 && !Workers().empty(); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return Workers().empty() && waitpid(-1, nullptr, WNOHANG) == -1;
}

std::string ComplaintOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Launch, StartsRanksWithoutAnyMpi) {
  {
    const std::shared_ptr<Job> job = Launch({.ranks = 4, .oversubscribe = true, .self = kProgram});
    EXPECT_THAT(AskNodes(*job), ElementsAre(0, 0, 0, 0));
    EXPECT_EQ(Workers().size(), 4u);
    EXPECT_THAT(ComplaintOf([&] { job->Ask("run 1"); }), HasSubstr("nothing is prepared"));
    EXPECT_THAT(ComplaintOf([&] { job->Ask("prepare unknown 7 x"); }), HasSubstr("rank 0 asks"));
    EXPECT_THAT(ComplaintOf([&] { PrepareOn(job, {.record = {.probe = "x", .backend = "y"}}); }),
                HasSubstr("knows no x by y"));
  }
  EXPECT_TRUE(NobodyIsLeft());
}

// What nccl-tests' users take for a result.
TEST(Launch, OneRankAloneIsRefusedUnlessItIsAllowed) {
  const Modules none;
  assay::Setup setup = {.backends = {"native"}, .modules = &none};
  const auto unfolded = [&]() -> Case {
    const std::vector<Probe> probes = collectives::Probes(setup);
    const auto probe = std::ranges::find(probes, "all_reduce", &Probe::name);
    Params params = probe->defaults;
    params["ranks"] = std::int64_t{1};
    return probe->unfold(params).at(0);
  };
  EXPECT_THAT(ComplaintOf([&] { unfolded(); }), HasSubstr("--allow-single"));
  setup.allow_single = true;
  const Case one = OpenCluster({.modules = &none, .self = kProgram})->Placed(unfolded());
  EXPECT_FALSE(one.params.contains("allow_single")) << "it moves no figure";
  const Prepared prepared = one.prepare(1);
  Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
  EXPECT_EQ(workload.Run(2).per_unit.size(), 1u);
  EXPECT_EQ(workload.Verify().wrong, 0);
}

TEST(Launch, WithoutMpiTheUsualLibraryIsNative) {
  const collectives::UsualLibrary usual = collectives::UsualLibraryOf({});
  if (usual.name == "nccl") GTEST_SKIP() << "there are GPUs";
  EXPECT_EQ(usual.name, "native");
  EXPECT_THAT(usual.instead, HasSubstr("no modules"));
}

TEST(Launch, TheKeyOfTheRanksIsFreshAndOnNoCommandLine) {
  const auto key = [] {
    const auto job = Launch({.ranks = 2, .oversubscribe = true, .self = kProgram});
    const std::string environment =
        ReadAll("/proc/" + std::to_string(Workers().at(1)) + "/environ");
    return environment.substr(environment.find("ASSAY_BOOTSTRAP_KEY="), 84);
  };
  const std::string first = key();
  EXPECT_EQ(first.size(), 84u);
  EXPECT_NE(first, key());
}

TEST(Launch, ARankThatIsKilledIsNamed) {
  const auto job = Launch({.ranks = 3, .oversubscribe = true, .self = kProgram});
  kill(Workers().at(2), SIGKILL);
  const std::string complaint = ComplaintOf([&] {
    for (int i = 0; i < 1000; ++i) job->Ask("hello");
  });
  EXPECT_THAT(complaint, HasSubstr("the 3 ranks that assay started ended early: rank 2 was killed "
                                   "by signal 9 (Killed)"));
  EXPECT_THAT(complaint, testing::Not(HasSubstr("\n")));
  EXPECT_FALSE(job->Alive());
  EXPECT_TRUE(NobodyIsLeft());
}

// As over shared memory, where rank 0 can't read the other's memory while the kernel still tears it
// down.
TEST(Launch, ARankThatIsKilledIsNamedWhereAnotherEndsBeforeIt) {
  const std::string program =
      (fs::temp_directory_path() / ("assay-worker-" + std::to_string(getpid()))).string();
  std::ofstream(program) << "#!/bin/sh\n"
                            "[ $RANK = 1 ] && sleep 0.3 && kill -9 $$\n"
                            "echo \"assay: rank 0 can't move a message\" >&2\n"
                            "exit 1\n";
  fs::permissions(program, fs::perms::owner_all);
  const auto launch = [&] { Launch({.ranks = 2, .oversubscribe = true, .self = program}); };
  EXPECT_THAT(ComplaintOf(launch),
              HasSubstr("rank 1 was killed by signal 9 (Killed) (\"rank 0 can't "
                        "move a message\")"));
  fs::remove(program);
}

TEST(Launch, ARankThatIsStoppedIsNamedWithinTheTime) {
  for (const std::size_t stopped : {0U, 1U}) {
    const auto job =
        Launch({.ranks = 2, .oversubscribe = true, .self = kProgram, .timeout = Seconds(1.5)});
    kill(Workers().at(stopped), SIGSTOP);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THAT(ComplaintOf([&] { job->Ask("hello"); }),
                HasSubstr("rank " + std::to_string(stopped) + " was stopped by signal 19"));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    EXPECT_TRUE(NobodyIsLeft());
  }
}

TEST(Launch, KilledItselfItLeavesNoRankBehind) {
  const pid_t launching = fork();
  if (launching == 0) {
    const auto job = Launch({.ranks = 2, .oversubscribe = true, .self = kProgram});
    for (;;) job->Ask("hello");
  }
  for (int tries = 0; tries < 1000 && Workers().size() < 2; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(Workers().size(), 2u);
  kill(launching, SIGKILL);
  waitpid(launching, nullptr, 0);
  EXPECT_TRUE(NobodyIsLeft());
}

// What they really say: Open MPI 4.1.4 and MPICH 4.0.2.
TEST(Launch, OfAllThatALauncherSaysTheCauseIsQuoted) {
  const std::string frame = std::string(74, '-') + "\n";
  EXPECT_EQ(
      CauseIn(frame +
              "While trying to create a regular expression of the node names\n"
              "used in this application, the regex parser has detected the\n"
              "presence of an illegal character in the following node name:\n\n"
              "  node:  node_1\n\n"
              "Node names must be composed of a combination of ascii letters,\n"
              "digits, dots, and the hyphen ('-') character.\n" +
              frame + frame +
              "ORTE was unable to reliably start one or more daemons.\n"
              "This usually is caused by:\n\n* not finding the required libraries\n" +
              frame),
      "While trying to create a regular expression of the node names used in this application, "
      "the regex parser has detected the presence of an illegal character in the following "
      "node name: node:  node_1");
  EXPECT_EQ(
      CauseIn("[x:24625] PMIX ERROR: ERR-IN-ERRNO in file ptl_base_listener.c at line 89\n" +
              frame + "The PMIx server's listener thread failed to start. We cannot\ncontinue.\n" +
              frame),
      "[x:24625] PMIX ERROR: ERR-IN-ERRNO in file ptl_base_listener.c at line 89; The PMIx "
      "server's listener thread failed to start. We cannot continue.");
  EXPECT_EQ(
      CauseIn("[proxy:0:0@x] HYDU_create_process (launch.c:24): pipe error (Too many open files)\n"
              "[mpiexec@x] main (ui/mpich/mpiexec.c:325): process manager error waiting for "
              "completion\n"),
      "[proxy:0:(redacted) HYDU_create_process (launch.c:24): pipe error (Too many open files)");
  EXPECT_EQ(CauseIn(frame + "A process failed.\n" + frame +
                    "assay: a rank is late\nassay: MPI_Init; rank 1 is stopped\n"
                    "assay: it is over\n" +
                    frame + "Primary job terminated.\n"),
            "MPI_Init; rank 1 is stopped");
  EXPECT_EQ(CauseIn(""), "");
  EXPECT_EQ(CauseIn("...\n" + frame), "");
}

TEST(Launch, AProgramThatIsNoWorkerIsOneSentence) {
  const auto launch = [] {
    Launch({.ranks = 2, .oversubscribe = true, .self = "/bin/false", .timeout = Seconds(5)});
  };
  EXPECT_THAT(ComplaintOf(launch), HasSubstr("the 2 ranks that assay started ended early"));
  EXPECT_THAT(Workers(), IsEmpty());
}

}  // namespace
}  // namespace assay
