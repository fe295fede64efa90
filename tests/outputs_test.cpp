// Tests of what a run hands out. Every test here goes over the one list of outputs, so that a new
// output is held to all of it; and none is made elsewhere.
#include "runner/program/outputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "results/base/error.h"
#include "results/file/json.h"
#include "results/show/json.h"
#include "runner/program/measure.h"
#include "tests/canaries.h"
#include "tests/count_of.h"
#include "tests/planted_run.h"
#include "tests/sample_run.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace fs = std::filesystem;

constexpr double kTyped = 98.7654;

Offer Typed(const assay::Run& run) {
  const Identity& identity = run.nodes[0].identity;
  return {.provider = identity.provider.value,
          .seller = identity.provider.value,
          .instance = identity.instance.value,
          .region = identity.region.value,
          .purchase = "custom",
          .usd_per_hour = kTyped,
          .price_date = "2026-11-21",
          .date_precision = "day",
          .kind = "typed",
          .source = "--price",
          .is_private = true};
}

// Secrets of free text. What stands in the environment or among arguments is only safe whole, and
// comes to no output.
std::vector<std::string> Texts() {
  std::vector<std::string> texts;
  for (const Canary& canary : Canaries()) {
    if (canary.where == Canary::kEnvironment || canary.where == Canary::kArgument) continue;
    texts.push_back(canary.text);
  }
  return texts;
}

std::string PlantedGbench() {
  std::string text = "{\"context\": {\"host_name\": \"\"}, \"benchmarks\": [";
  const char* separator = "";
  for (const std::string& canary : Texts()) {
    text += separator + std::string("{\"name\": ") + JsonText("gemm/algo:" + canary) +
            ", \"real_time\": 1.5e+00, \"error_message\": " + JsonText(canary) + "}";
    separator = ", ";
  }
  return text + "]}";
}

NcclTable PlantedTable(const assay::Run& run) {
  NcclOptions look = {.program = "all_reduce_perf", .started = "2026-11-21 22:40:13"};
  for (const std::string& canary : Texts()) {
    look.notes.push_back(canary);
    look.ranks.push_back({.host = canary, .device_id = canary, .device_name = canary});
  }
  look.costs = [](const Record&) { return std::vector<Cost>{{.usd = kTyped}}; };
  NcclTable table(look);
  for (const Record& record : run.records) table.Row(&record, nullptr, "");
  return table;
}

Handout HandoutOf(const assay::Run& run, const Privacy& privacy = {}) {
  Handout handout(run, privacy, Catalog::BuiltIn());
  handout.SetFile("/home/canary14/results/a.json");
  handout.SetGbench(PlantedGbench());
  handout.SetTable(PlantedTable(run), "2026-11-21 22:42:40");
  return handout;
}

TEST(Outputs, NoCanaryReachesAnyOfThem) {
  const assay::Run run = PlantedRun();
  const Handout handout = HandoutOf(run);
  for (const Output& output : Outputs()) {
    const std::string text = OutputText(output.kind, handout);
    EXPECT_THAT(Found(text), ElementsAre()) << output.option;
    EXPECT_THAT(text, HasSubstr("(redacted)")) << output.option << ": were any planted?";
  }
}

TEST(Outputs, NoneTellsWhetherAPriceWasTypedUnlessItIsKept) {
  const assay::Run run = SampleRun();
  assay::Run priced = run;
  priced.offers.push_back(Typed(run));
  priced.assay.image_digest = "registry.corp.example/canary:latest";
  const Handout without = HandoutOf(run);
  const Handout with = HandoutOf(priced);
  const Handout kept = HandoutOf(priced, {.keep_price = true});
  for (const Output& output : Outputs()) {
    EXPECT_EQ(OutputText(output.kind, with), OutputText(output.kind, without)) << output.option;
    EXPECT_THAT(OutputText(output.kind, with), Not(HasSubstr("98.7654"))) << output.option;
    EXPECT_THAT(OutputText(output.kind, with), Not(HasSubstr("98.77 USD"))) << output.option;
  }
  EXPECT_THAT(OutputText(OutputKind::kJson, kept), HasSubstr("98.7654"));
  EXPECT_THAT(OutputText(OutputKind::kPage, kept), HasSubstr("98.7654 USD/h"));
  EXPECT_THAT(OutputText(OutputKind::kCsv, kept), Not(HasSubstr("98.7654")))
      << "dollars are of the offer and not of what the terminal was told";
}

TEST(Outputs, FiguresAreThoseThatAReaderOfTheFileFinds) {
  assay::Run run = SampleRun();
  run.offers.push_back(Typed(run));
  const Handout handout = HandoutOf(run);
  const assay::Run read = RunFromJson(RunToJson(handout.TheRun()), "x.json");
  EXPECT_EQ(
      OutputText(OutputKind::kJson, handout),
      FiguresToJson(read, ChoosePrice({&read}, {}, Catalog::BuiltIn()), Catalog::BuiltIn()) + "\n");
}

TEST(Outputs, NoneMayTakeThePlaceOfAnother) {
  std::string pattern = ::testing::TempDir() + "places_XXXXXX";
  const std::string folder = mkdtemp(pattern.data());
  const std::string out = folder + "/r.json";
  const auto refusal = [&](const std::vector<AskedFile>& files) -> std::string {
    try {
      CheckFiles(files, out);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  fs::create_directory_symlink(folder, folder + "/link");
  for (const std::string& same :
       {out, folder + "/./r.json", folder + "/link/r.json",
        folder + "/link/../" + fs::path(folder).filename().string() + "/r.json"}) {
    EXPECT_EQ(refusal({{.kind = OutputKind::kPage, .path = same}}),
              "--report and --out both name '" + same + "'; give each a name of its own");
  }
  EXPECT_THAT(refusal({{.kind = OutputKind::kNcclJson, .path = out}}),
              HasSubstr("-J and --out both name"));
  EXPECT_THAT(refusal({{.kind = OutputKind::kGbench, .path = out + ".part"}}),
              HasSubstr("--gbench-out and the journal of --out both name"));
  const std::string page = folder + "/page";
  EXPECT_THAT(refusal({{.kind = OutputKind::kPage, .path = page},
                       {.kind = OutputKind::kGbench, .path = page}}),
              HasSubstr("--gbench-out and --report both name"));
  EXPECT_EQ(refusal({{.kind = OutputKind::kPage, .path = page},
                     {.kind = OutputKind::kGbench, .path = page + ".json"},
                     {.kind = OutputKind::kNcclJson, .path = ""}}),
            "");
  EXPECT_EQ(refusal({{.kind = OutputKind::kPage, .path = "/dev/zero"},
                     {.kind = OutputKind::kGbench, .path = "/dev/zero"}}),
            "")
      << "a device takes both";
  // A link is replaced and not followed, so that what it leads to is safe.
  fs::create_symlink("r.json", page);
  EXPECT_EQ(refusal({{.kind = OutputKind::kPage, .path = page}}), "");
  fs::remove_all(folder);
}

std::string Contents(const fs::path& path) {
  std::ifstream file(path);
  return (std::stringstream() << file.rdbuf()).str();
}

// The calls that make an output or write a file, and how often each source makes them. All sources
// but outputs.cpp work on files that are read, or on the machine's own spread.
TEST(Outputs, AreMadeAndWrittenInOnePlace) {
  const std::map<std::string, std::map<std::string, int>> known = {
      {"ReportPage(", {{"runner/program/outputs.cpp", 1}, {"runner/program/commands.cpp", 1}}},
      {"FiguresToJson(", {}},
      {"->Figures(", {{"runner/program/outputs.cpp", 1}, {"runner/program/commands.cpp", 2}}},
      {"RunToJson(", {}},
      {"Csv(",
       {{"runner/program/outputs.cpp", 2},
        {"runner/program/commands.cpp", 1},  // prices that were imported, and nothing of a run
        {"runner/program/noise_runs.cpp", 1}}},
      {".Json(", {{"runner/program/outputs.cpp", 1}, {"runner/core/engine.cpp", 1}}},
      {"WriteText(",
       {{"runner/program/outputs.cpp", 1},
        {"runner/program/commands.cpp", 2},
        {"runner/program/noise_runs.cpp", 1}}},
      {"WriteTextToFreeName(", {{"runner/program/outputs.cpp", 1}}},
      {"PutFile(", {}},
      {"O_CREAT", {{"io/test_file.cpp", 1}}},
      {"mkstemp(", {}},
      {"mkostemp(", {{"collectives/nccl_debug_file.cpp", 1}}},
      {"ofstream", {}},
      {"fopen(", {}},
  };
  std::map<std::string, std::map<std::string, int>> found;
  for (const auto& [what, files] : known) found[what] = {};
  const fs::path root = ASSAY_SOURCE_DIR;
  for (const char* folder : {"runner", "kernels", "collectives", "io"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string name = fs::relative(entry.path(), root);
      // nccl_table.cpp defines Csv and Json, which the list calls.
      if (entry.path().extension() != ".cpp" || name == "runner/program/nccl_table.cpp") continue;
      const std::string text = Contents(entry.path());
      for (const auto& [what, files] : known) {
        if (const int count = CountOf(what, text); count > 0) found[what][name] = count;
      }
    }
  }
  EXPECT_EQ(found, known) << "give a new output a place in Outputs(), so that these tests see it";
}

// ---- The real program ----

struct Ran {
  int status = 0;
  std::string out = {};
};

class Program : public ::testing::Test {
 protected:
  Program() {
    std::string pattern = ::testing::TempDir() + "outputs_XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~Program() override { fs::remove_all(folder_); }

  // Runs it in the folder, in an environment and with arguments that hold secrets.
  Ran Assay(const std::string& arguments) const {
    const std::string command =
        "cd '" + folder_ + "' && env -i PATH=\"$PATH\" LC_ALL=C HOME='" + folder_ +
        "' ASSAY_IMAGE_DIGEST=registry.example/canary:latest NCCL_ALGO=https://canary.example/x '" +
        ASSAY_BINARY + "' " + arguments +
        " --no-metadata --quiet --price 98.7654 --instance canaryinst-AKIAIOSFODNN7EXAMPLE "
        "--region account-123456789012@canary </dev/null 2>errors";
    FILE* pipe = popen(command.c_str(), "r");
    Ran ran;
    char buffer[4096];
    std::size_t got = 0;
    while ((got = fread(buffer, 1, sizeof buffer, pipe)) > 0) ran.out.append(buffer, got);
    const int status = pclose(pipe);
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
  }

  static std::vector<std::string> SecretsIn(const std::string& text) {
    std::vector<std::string> secrets;
    for (const char* secret : {"98.7654", "98.77 USD", "AKIA", "canary@", "@canary", "123456789012",
                               "registry.example", "canary.example", "outputs_"}) {
      if (text.find(secret) != std::string::npos) secrets.emplace_back(secret);
    }
    return secrets;
  }

  std::string folder_;
};

// Which command has which output: the shortest run that makes it.
const std::map<std::string_view, std::string>& Commands() {
  static const std::string run = "run peak --dtype f32 --rounds 2 --max-seconds 0.02";
  static const std::string coll = "coll all_reduce --sizes 64 -n 2 --ranks 2 --backend native";
  static const std::map<std::string_view, std::string> commands = {{"--report", run},
                                                                   {"--gbench-out", run},
                                                                   {"-J", coll},
                                                                   {"--format json", run},
                                                                   {"--format csv", coll}};
  return commands;
}

TEST_F(Program, NoSecretReachesWhatItHandsOut) {
  for (const Output& output : Outputs()) {
    ASSERT_TRUE(Commands().contains(output.option))
        << output.option << " is new: say in this test which command makes it";
    const std::string name = folder_ + "/out";
    const std::string option(output.option);
    const Ran ran = Assay(Commands().at(output.option) + " --out '" + folder_ + "/a.json' " +
                          option + (output.is_file ? " '" + name + "'" : ""));
    ASSERT_EQ(ran.status, 0) << option << ": " << Contents(folder_ + "/errors");
    const std::string text = output.is_file ? Contents(name) : ran.out;
    EXPECT_GT(text.size(), 100U) << option;
    EXPECT_THAT(SecretsIn(text), IsEmpty()) << option;
    const std::string file = Contents(folder_ + "/a.json");
    EXPECT_THAT(file, HasSubstr("canaryinst-(redacted)"));
    EXPECT_THAT(SecretsIn(file), IsEmpty()) << option;
    fs::remove(name);
    fs::remove(folder_ + "/a.json");
  }
}

TEST_F(Program, NoSecretReachesTheNameOfAFile) {
  ASSERT_EQ(Assay(Commands().at("--format json")).status, 0) << Contents(folder_ + "/errors");
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename();
    EXPECT_EQ(name.find("akia"), std::string::npos) << name;
    files += name.ends_with(".json") ? 1 : 0;
  }
  EXPECT_EQ(files, 1);
}

TEST_F(Program, NothingIsMeasuredWhereOneFileWouldTakeThePlaceOfAnother) {
  const std::string run = Commands().at("--report");
  const std::string coll = Commands().at("-J");
  const std::map<std::string, std::string> refused = {
      {run + " --out r.json --report r.json", "--report and --out both name 'r.json'"},
      {run + " --out r.json --report x --gbench-out ./x", "--gbench-out and --report both name"},
      {coll + " --out r.json -J r.json", "-J and --out both name 'r.json'"},
  };
  for (const auto& [command, sentence] : refused) {
    EXPECT_EQ(Assay(command).status, 2) << command;
    EXPECT_THAT(Contents(folder_ + "/errors"), HasSubstr(sentence));
    for (const char* name : {"r.json", "r.json.part", "x"}) {
      EXPECT_FALSE(fs::exists(folder_ + "/" + name)) << command;
    }
  }
}

}  // namespace
}  // namespace assay
