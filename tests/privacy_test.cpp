#include "results/file/privacy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "results/base/hash.h"
#include "results/file/json.h"
#include "results/file/run_file.h"
#include "tests/canaries.h"
#include "tests/planted_run.h"
#include "tests/sample_run.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;
namespace fs = std::filesystem;

std::map<std::string, std::string> Allowed(const std::vector<std::string>& variables) {
  std::vector<const char*> environment;
  for (const std::string& variable : variables) environment.push_back(variable.c_str());
  environment.push_back(nullptr);
  return AllowedEnvironment(environment.data());
}

TEST(Privacy, ThereAreFortyCanariesAndEachIsPlanted) {
  EXPECT_EQ(Canaries().size(), 40U);
  EXPECT_EQ(Found(RunToJson(PlantedRun())).size(), 40U);
  for (const Canary& canary : Canaries()) EXPECT_THAT(canary.text, HasSubstr(canary.secret));
}

TEST(Privacy, NoCanaryReachesTheFileOrTheJournal) {
  assay::Run run = PlantedRun();
  ApplyPrivacy(run, {});
  EXPECT_THAT(Found(RunToJson(run)), ElementsAre());

  std::string folder = ::testing::TempDir() + "privacy_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  Journal journal(folder + "/run.json", run);
  for (Record& record : PlantedRun().records) {
    ApplyPrivacy(record, {});
    journal.Append(record, 1);
  }
  std::ifstream part(folder + "/run.json.part");
  EXPECT_THAT(Found((std::stringstream() << part.rdbuf()).str()), ElementsAre());
  fs::remove_all(folder);
}

TEST(Privacy, NoCanaryReachesTheEnvironmentThatIsKept) {
  std::vector<std::string> variables;
  for (const Canary& canary : Canaries()) {
    if (canary.where == Canary::kEnvironment) variables.push_back(canary.text);
  }
  std::string all;
  for (const auto& [name, value] : Allowed(variables)) {
    EXPECT_EQ(value, "(redacted)") << name;
    all += name + value;
  }
  EXPECT_THAT(Found(all), ElementsAre());
}

TEST(Privacy, DoingItTwiceChangesNothingMore) {
  assay::Run once = PlantedRun();
  ApplyPrivacy(once, {});
  assay::Run twice = once;
  ApplyPrivacy(twice, {});
  EXPECT_EQ(RunToJson(twice), RunToJson(once));
}

// Once a secret is gone, what stood right after it may be the next one's beginning.
TEST(Privacy, WhatOnePassLaysBareTheNextOneTakes) {
  EXPECT_EQ(ScrubText("uuid ec2ca7a7-9099-7caf-fd22-0ca7a7e00022Serial Number: CANARY23-9021"),
            "uuid (redacted)Serial Number: (redacted)");
  EXPECT_EQ(ScrubText("GPU-8932f937-d72c-4106-c12f-20bd9fca9f10arn:aws:iam::292929:role/canary29"),
            "(redacted)(redacted)");
  std::mt19937_64 random(11);
  std::vector<std::string> pieces = {" ", "@",     "://",      "=",  ":",
                                     "/", "token", "account ", "\"", "bearer "};
  for (const Canary& canary : Canaries()) pieces.push_back(canary.text);
  for (int i = 0; i < 400; ++i) {
    std::string text;
    for (std::uint64_t n = 1 + random() % 6; n > 0; --n) text += pieces[random() % pieces.size()];
    const std::string once = ScrubText(text);
    EXPECT_EQ(ScrubText(once), once) << text;
  }
}

TEST(Privacy, WhatMattersStays) {
  assay::Run run = SampleRun();
  run.offers.pop_back();  // the private one
  run.cost->is_private = false;
  const std::string before = RunToJson(run);
  ApplyPrivacy(run, {});
  EXPECT_EQ(RunToJson(run), before);
}

TEST(Privacy, TextThatNamesNobodyIsNotTouched) {
  for (const std::string text : {
           "NVIDIA H100 80GB HBM3",
           "Standard_ND96isr_H100_v5",
           "Amazon EC2 NVMe Instance Storage",
           "AMD EPYC 7R13 Processor",
           "2.6.3 (avx512_core_bf16)",
           "Open MPI 4.1.7",
           "/usr/lib/x86_64-linux-gnu/openmpi",
           "0000:3b:00.0",
           "started at 22:40:13",
           "f64 rows",
           "VM.GPU.H100.8",
           "6.8.0-1015-aws",
           "us-east-1",
           "use1-az4",
           "C[3, 4] is 0.30000000000000004 and should be 0.1",
           "std::bad_alloc in assay::Error",
           "needs 137438953472 bytes",
           "4096 tokens: too many",
           "mpirun -np 2 assay run all_reduce",
           "libfabric 1.22.0amzn1.0",
           "580.65.06",
           "sudo cpupower frequency-set -g performance",
           "needs two ranks (1 is here)",
           "raid0 x8",
           "bf16 16 x 28672 x 8192",
           "cpu0-cpu11",
           "the serial part took longer",
       }) {
    EXPECT_EQ(ScrubText(text), text);
  }
}

TEST(Privacy, OnlyTheTellingPartOfATextGoes) {
  EXPECT_EQ(ScrubText("connect to 10.0.0.7:8080 failed: timed out"),
            "connect to (redacted):8080 failed: timed out");
  EXPECT_EQ(ScrubText("can't open '/home/ada/x y.json': no such file"),
            "can't open '(redacted) y.json': no such file");
  EXPECT_EQ(ScrubText("peer fe80::1%eth0, [2001:db8::2]:22, ::1."),
            "peer (redacted)%eth0, [(redacted)]:22, (redacted).");
  EXPECT_EQ(ScrubText("token=abc, then more"), "token=(redacted), then more");
  EXPECT_EQ(ScrubText("addresses 10.0.0.1,10.0.0.2 10.0.0.3"),
            "addresses (redacted),(redacted) (redacted)");
}

TEST(Privacy, ThisHostsNameIsKeptOnlyWhereAskedFor) {
  EXPECT_EQ(ScrubText("gpu-7.cluster.local is down"), "(redacted) is down");
  EXPECT_EQ(ScrubText("gpu-7.cluster.local is down", {.keep_ids = true}),
            "gpu-7.cluster.local is down");
  // A child of another name stands in for this host.
  const std::string text = "rank 0 on canary-42: started, canary-421 not";
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWUTS) != 0 || sethostname("canary-42.example", 17) != 0) _exit(77);
    const bool gone = ScrubText(text) == "rank 0 on (redacted): started, canary-421 not";
    _exit(gone && ScrubText(text, {.keep_ids = true}) == text ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "naming a host needs the right to";
  EXPECT_EQ(status, 0);
}

TEST(Privacy, VariablesAreAllowedByExactName) {
  EXPECT_THAT(Allowed({"NCCL_ALGO=Ring", "NCCL_ALGOX=Ring", "nccl_algo=Ring", "NCCL_=x",
                       "OMP_NUM_THREADS=8", "SLURM_JOB_ID=77", "broken"}),
              ElementsAre(Pair("NCCL_ALGO", "Ring"), Pair("OMP_NUM_THREADS", "8")));
}

TEST(Privacy, ValuesAreLookedAtToo) {
  const auto kept = [](const std::string& value) {
    return Allowed({"NCCL_TOPO_FILE=" + value}).at("NCCL_TOPO_FILE");
  };
  EXPECT_EQ(kept("/opt/microsoft/ndv5/topo.xml"), "/opt/microsoft/ndv5/topo.xml");
  EXPECT_EQ(kept("mlx5_0:1,mlx5_1:1"), "mlx5_0:1,mlx5_1:1");
  EXPECT_EQ(kept("granularity=fine,compact,1,0"), "granularity=fine,compact,1,0");
  EXPECT_EQ(kept("AVX512_CORE_BF16"), "AVX512_CORE_BF16");
  for (const std::string& value :
       {std::string(257, ' '), std::string("abcdefghij0123456789"), std::string("a@b"),
        std::string("http://x"), std::string("/root/x"), std::string("10.0.0.1"),
        std::string("AbCdEfGhIj/+KlMnOpQrSt")}) {
    EXPECT_EQ(kept(value), "(redacted)") << value;
  }
}

TEST(Privacy, TheListHasAReasonForEachNameAndNoPrefixes) {
  std::ifstream file(ASSAY_SOURCE_DIR "/results/file/env_allowed.txt");
  std::string line;
  int names = 0;
  while (std::getline(file, line)) {
    if (line.starts_with('#')) continue;
    const std::size_t space = line.find(' ');
    ASSERT_NE(space, std::string::npos) << line;
    EXPECT_EQ(line.substr(0, space).find_first_of("*?"), std::string::npos) << line;
    EXPECT_FALSE(line.substr(0, space).ends_with('_')) << line;
    EXPECT_GT(line.size() - space, 5U) << line;
    // The program has the same list.
    EXPECT_EQ(Allowed({line.substr(0, space) + "=1"}).size(), 1U) << line;
    ++names;
  }
  EXPECT_GT(names, 50);
}

TEST(Privacy, TheCommandKeepsOptionsThatTellNothing) {
  std::map<std::string, std::vector<std::string>> command = {
      {"probes", {"gemm", "peak"}},  {"filter", {"gemm/dtype:bf16", "/etc/secret"}},
      {"set", {"m=4096"}},           {"price", {"31.2"}},
      {"out", {"x.json"}},           {"storage_path", {"/mnt/scratch"}},
      {"regime", {"burst"}},         {"rest", {"0"}},
      {"instance", {"p5.48xlarge"}}, {"something_new", {"x"}}};
  ScrubCommand(command);
  EXPECT_THAT(
      command,
      ElementsAre(Pair("filter", ElementsAre("gemm/dtype:bf16", "(redacted)")),
                  Pair("instance", ElementsAre("p5.48xlarge")),
                  Pair("probes", ElementsAre("gemm", "peak")), Pair("regime", ElementsAre("burst")),
                  Pair("rest", ElementsAre("0")), Pair("set", ElementsAre("m=4096"))));
}

TEST(Privacy, PrivateOffersLeaveOnlyWhereAskedFor) {
  assay::Run run = SampleRun();
  ApplyPrivacy(run, {.keep_price = true});
  EXPECT_EQ(run.offers.size(), 2U);
  ApplyPrivacy(run, {});
  ASSERT_EQ(run.offers.size(), 1U);
  EXPECT_FALSE(run.offers[0].is_private);
}

TEST(Privacy, APriceOfOnesOwnThatIsKeptTellsOfTheMachineWhatTheRestTells) {
  assay::Run run = SampleRun();
  run.offers[1].instance = "canaryinst-AKIAIOSFODNN7EXAMPLE";
  run.offers[1].region = "/home/ada";
  run.offers[1].zone = "account 123456789012";
  ApplyPrivacy(run, {.keep_price = true});
  ASSERT_EQ(run.offers.size(), 2U);
  EXPECT_EQ(run.offers[1].instance, "canaryinst-(redacted)");
  EXPECT_EQ(run.offers[1].region, "(redacted)");
  EXPECT_EQ(run.offers[1].zone, "account (redacted)");
}

TEST(Privacy, OfAnImagesNameItsDigestStaysAndNothingElse) {
  const std::string digest = "sha256:" + std::string(60, '0') + "beef";
  EXPECT_EQ(ImageDigestIn(digest), digest);
  EXPECT_EQ(ImageDigestIn("registry.corp.example:5000/ada/assay@" + digest), digest);
  EXPECT_EQ(ImageDigestIn(digest + " token=abc"), digest);
  for (const std::string& text :
       {std::string(), std::string("sha256:"), std::string("canary"), digest.substr(1),
        digest.substr(0, 70), digest + "0", "sha256:" + std::string(64, 'g'),
        "sha512:" + std::string(64, '0'), "SHA256:" + std::string(64, '0')}) {
    EXPECT_EQ(ImageDigestIn(text), std::nullopt) << text;
  }
  assay::Run run = SampleRun();
  run.assay.image_digest = "registry.corp.example/ada@" + digest;
  ApplyPrivacy(run, {});
  EXPECT_EQ(run.assay.image_digest, digest);
  run.assay.image_digest = "registry.corp.example/ada:latest";
  ApplyPrivacy(run, {});
  EXPECT_EQ(run.assay.image_digest, std::nullopt);
}

TEST(Privacy, NodesAreToldApartByTheirGpusInAnyOrder) {
  std::vector<Note> notes;
  EXPECT_EQ(NodeId({"GPU-b", "GPU-a"}, notes), NodeId({"GPU-a", "GPU-b"}, notes));
  EXPECT_EQ(NodeId({"GPU-b", "GPU-a"}, notes), Sha256Hex("GPU-a\nGPU-b\n"));
  EXPECT_NE(NodeId({"GPU-a"}, notes), NodeId({"GPU-b"}, notes));
  EXPECT_TRUE(notes.empty());
}

// The id, and what is noted after it.
std::string MachineId(const std::string& machine, const std::string& folder) {
  std::vector<Note> notes;
  const std::string id = MachineNodeId(machine, folder, notes);
  return notes.empty() ? id : id + "note: " + notes[0].what + "; " + notes[0].remedy;
}

TEST(Privacy, AMachineIsKnownOnlyToWhoHoldsItsKey) {
  std::string root = ::testing::TempDir() + "node_key_XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  const std::string folder = root + "/not/yet/there";
  const std::string id = MachineId("machine", folder);
  EXPECT_EQ(id.size(), 64U);
  EXPECT_EQ(MachineId("machine", folder), id);
  EXPECT_NE(MachineId("other", folder), id);
  EXPECT_NE(MachineId("machine", root + "/elsewhere"), id);
  struct stat status = {};
  ASSERT_EQ(stat((folder + "/node-key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
  EXPECT_EQ(MachineId("", folder), "");
  EXPECT_EQ(MachineId("machine", "/proc/nowhere"), "");
  fs::remove_all(root);
}

// Files that somebody else, or an accident, may have put in the place of the key.
TEST(Privacy, OnlyAKeyOfOurOwnThatIsClosedToOthersIsBelieved) {
  std::string root = ::testing::TempDir() + "node_key_XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  const std::string known(64, 'a');
  const std::string elsewhere = root + "/elsewhere";
  const auto write = [&](const fs::path& path, const std::string& text, mode_t mode = 0600) {
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
  };
  write(elsewhere, known);
  const auto is_noted = AllOf(StartsWith("note: assay/node-key "), HasSubstr("chmod 600"),
                              Not(HasSubstr(root)));  // which may tell the user's name
  const std::map<std::string, std::function<void(const fs::path&)>> attacks = {
      {"link", [&](const fs::path& key) { fs::create_symlink(elsewhere, key); }},
      {"link to nothing", [&](const fs::path& key) { fs::create_symlink(root + "/none", key); }},
      {"group may read", [&](const fs::path& key) { write(key, known, 0640); }},
      {"all may write", [&](const fs::path& key) { write(key, known, 0622); }},
      {"pipe", [&](const fs::path& key) { mkfifo(key.c_str(), 0600); }},
      {"folder", [&](const fs::path& key) { fs::create_directory(key); }},
      {"too short", [&](const fs::path& key) { write(key, known.substr(1)); }},
      {"too long", [&](const fs::path& key) { write(key, known + 'a'); }},
      {"no hex", [&](const fs::path& key) { write(key, known.substr(1) + 'g'); }}};
  for (const auto& [name, attack] : attacks) {
    const fs::path folder = root + "/folder";
    fs::create_directory(folder);
    attack(folder / "node-key");
    const auto before = fs::symlink_status(folder / "node-key");
    EXPECT_THAT(MachineId("machine", folder), is_noted) << name;
    const auto after = fs::symlink_status(folder / "node-key");
    EXPECT_EQ(std::pair(after.type(), after.permissions()),
              std::pair(before.type(), before.permissions()))
        << name;
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1) << name;
    fs::remove_all(folder);
  }
  EXPECT_FALSE(fs::exists(root + "/none"));
  fs::create_directory(root + "/folder");
  write(root + "/folder/node-key", known);
  EXPECT_EQ(MachineId("machine", root + "/folder"), HmacSha256Hex(known, "machine"));
  const bool given = chown((root + "/folder/node-key").c_str(), 12345, 12345) == 0;
  if (given) {
    EXPECT_THAT(MachineId("machine", root + "/folder"), is_noted);
  }
  fs::remove_all(root);
  if (!given) GTEST_SKIP() << "a key of another user needs root";
}

TEST(Privacy, OnlyFoldersThatWereMadeForTheKeyAreClosed) {
  std::string root = ::testing::TempDir() + "node_key_XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  const auto mode = [](const std::string& path) {
    return static_cast<unsigned>(fs::status(path).permissions());
  };
  fs::create_directory(root + "/there");
  chmod((root + "/there").c_str(), 0755);
  fs::create_symlink("there", root + "/link");
  EXPECT_NE(MachineId("machine", root + "/link"), "");
  EXPECT_NE(MachineId("machine", root + "/there"), "");
  EXPECT_EQ(mode(root + "/there"), 0755U);
  EXPECT_NE(MachineId("machine", root + "/not/yet"), "");
  EXPECT_EQ(mode(root + "/not"), 0700U);
  EXPECT_EQ(mode(root + "/not/yet"), 0700U);
  fs::remove_all(root);
}

TEST(Privacy, ProcessesThatStartTogetherAgreeOnTheKey) {
  std::string folder = ::testing::TempDir() + "node_key_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  constexpr int kProcesses = 8;
  for (int i = 0; i < kProcesses; ++i) {
    if (fork() == 0) {
      const std::string id = MachineId("machine", folder);
      _exit(write(ends[1], id.data(), id.size()) == 64 ? 0 : 1);
    }
  }
  std::set<std::string> ids;
  for (int i = 0; i < kProcesses; ++i) {
    int status = 0;
    wait(&status);
    EXPECT_EQ(status, 0);
    std::string id(64, ' ');
    ASSERT_EQ(read(ends[0], id.data(), id.size()), 64);
    ids.insert(id);
  }
  close(ends[0]);
  close(ends[1]);
  EXPECT_EQ(ids.size(), 1U);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace assay
