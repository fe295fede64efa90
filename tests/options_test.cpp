// Tests of what messages tell people to type: every option that is named must be one of the command
// that prints it, by the parser itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "collectives/asking.h"
#include "results/base/error.h"
#include "runner/program/cli.h"

namespace assay {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Words = std::vector<std::string>;

// Which commands print what is said in a file, or in all files of a folder: the longest that fits.
const std::map<std::string, Words> kPrintedBy = {
    {"collectives/", {"run", "coll"}},
    {"collectives/asking.cpp", {}},  // held to both below
    {"runner/cluster/each_node.cpp", {"run"}},
    {"runner/cluster/job.cpp", {"run"}},  // of the work of `overlap`
    {"collectives/overlap.cpp", {"run"}},
    {"io/", {"run"}},
    {"kernels/", {"run"}},
    {"results/", {"run", "coll", "compare", "report"}},
    {"results/figures/compare.cpp", {"compare"}},
    {"results/figures/expected.cpp", {"run", "coll"}},  // of measuring again
    {"results/file/nodes.cpp", {"run", "coll"}},
    {"results/catalog/bill.cpp", {"price bill"}},
    {"results/catalog/import_formats.cpp", {"price import"}},
    {"results/catalog/import_json.cpp", {"price import"}},
    {"results/catalog/own_prices.cpp", {"compare", "report"}},
    {"results/catalog/price.cpp", {"run", "coll", "compare", "report"}},
    {"results/catalog/price_import.cpp", {"price import"}},
    {"results/figures/plan.cpp", {"plan"}},
    {"results/figures/rank.cpp", {"compare"}},
    {"results/figures/run_groups.cpp", {"compare"}},
    {"results/file/run_file.cpp", {"run", "coll"}},
    {"runner/", {"run", "coll"}},
    {"runner/program/bisect.cpp", {"coll"}},
    {"runner/program/cli.cpp", {}},  // names its options to the parser
    {"runner/program/coll.cpp", {"coll"}},
    {"runner/program/coll_expect.cpp", {"coll"}},
    {"runner/program/coll_plan.cpp", {"coll"}},
    {"runner/program/coll_table.cpp", {"coll"}},
    {"runner/program/commands.cpp", {"run", "compare", "report"}},
    {"runner/program/identity.cpp", {"run", "coll", "env"}},
    {"runner/program/machine.cpp", {"run", "coll", "env"}},
    {"runner/program/metadata.cpp", {"run", "coll", "env"}},
    {"runner/program/noise_runs.cpp", {"noise"}},
};

// Options that are another program's, or no message; and those that a message names only where the
// command that has them was given.
const std::map<std::string, std::set<std::string>> kOthers = {
    {"collectives/groups.cpp", {"--split"}},  // of coll alone, which has groups
    {"collectives/hier.cpp", {"--map-by"}},
    {"runner/cluster/join.cpp", {"--mpi"}},  // of srun
    {"runner/cluster/launch.cpp", {"--bind-to", "--oversubscribe", "--worker"}},
    {"results/figures/expected.cpp", {"--device", "--mca"}},  // of containers and of mpirun
    {"results/catalog/price.cpp", {"--purchase"}},
    {"results/figures/plan.cpp", {"--set", "--suite"}},  // of run
    {"runner/program/commands.cpp",
     {"--a", "--b", "--capex", "--fail-slower", "--out", "--power-kw", "--prices", "--ranks"}},
    {"runner/core/cuda.h", {"--gpus"}},
    {"runner/core/engine.cpp", {"--filter"}},
    {"runner/core/gbench.cpp", {"--v"}},
    {"runner/program/machine.cpp", {"--cpus", "--exclusive", "--gpus", "--memory"}},
    {"runner/program/main.cpp", {"--version", "--worker"}},
    {"runner/program/choice.cpp", {"--device"}},
    {"runner/program/metadata.cpp", {"--network"}},
    {"runner/core/module.h", {"--gpus"}},
    {"runner/program/outputs.cpp", {"--format"}},  // of coll alone, which names its outputs so
    {"runner/program/suite.cpp", {"--dtype", "--regime", "--set"}},
    {"runner/core/threads.cpp", {"--threads"}},
};

bool Has(const std::string& command, const std::string& option) {
  Words arguments = {command};
  if (command == "coll") arguments.emplace_back("all_reduce");
  if (command == "plan") arguments = {"plan", "aws a", "gcp b"};
  if (command == "report") arguments.emplace_back("a.json");
  if (command == "price import") arguments = {"price", "import", "a.csv"};
  arguments.push_back(option);
  try {
    ParseArguments(arguments);
  } catch (const Error& error) {
    return std::string(error.what()).find("' is not an option of") == std::string::npos;
  }
  return true;
}

// "--set", "-n": of a text.
std::vector<std::string> OptionsIn(const std::string& text) {
  static const std::regex pattern(R"((^|[^\w-])(--[a-z][a-z_-]*|-[a-zA-Z])(?![\w-]))");
  std::vector<std::string> options;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at) {
    options.push_back((*at)[2]);
  }
  return options;
}

// The options that a message has and its commands don't: "--set of coll". What follows "assay
// COMMAND" is of that one, and "(coll: …)" of coll.
std::vector<std::string> Strangers(std::string text, Words commands,
                                   const std::set<std::string>& others) {
  std::vector<std::string> strangers;
  const auto hold = [&](const std::string& part, const Words& to) {
    for (const std::string& option : OptionsIn(part)) {
      for (const std::string& command : to) {
        if (option.size() == 2 && to != Words{"coll"}) continue;
        if (!others.contains(option) && !Has(command, option)) {
          strangers.push_back(option + " of " + command);
        }
      }
    }
  };
  static const std::regex named(
      R"(assay (run|coll|noise|compare|plan|report|env)\b([^'`;)#]*)|\((coll): ([^)]*)\))");
  std::smatch match;
  bool has_coll = false;
  while (std::regex_search(text, match, named)) {
    has_coll = has_coll || match[3].matched;
    hold(match[1].matched ? match[2] : match[4], {match[1].matched ? match[1] : match[3]});
    text = match.prefix().str() + "…" + match.suffix().str();
  }
  if (has_coll) std::erase(commands, "coll");
  hold(text, commands);
  return strangers;
}

// The string literals of a source of C++, neighbours joined, without comments.
std::vector<std::string> LiteralsOf(const std::string& source) {
  static const std::regex token(R"((//[^\n]*)|('(?:[^'\\\n]|\\.)')|((?:"(?:[^"\\\n]|\\.)*"\s*)+))");
  std::vector<std::string> literals;
  for (std::sregex_iterator at(source.begin(), source.end(), token), end; at != end; ++at) {
    if (!(*at)[3].matched) continue;
    std::string text = (*at)[3];
    text = text.substr(1, text.rfind('"') - 1);
    literals.push_back(std::regex_replace(text, std::regex(R"("\s*")"), ""));
  }
  return literals;
}

std::string TextOf(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Options, ThatMessagesNameAreOfTheCommandThatPrintsThem) {
  const fs::path root = ASSAY_SOURCE_DIR;
  int options = 0;
  for (const std::string folder : {"collectives", "io", "kernels", "results", "runner"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension();
      if (extension != ".cpp" && extension != ".h") continue;
      const std::string name = fs::relative(entry.path(), root);
      const auto whole = kPrintedBy.find(name);
      const Words& commands =
          whole != kPrintedBy.end() ? whole->second : kPrintedBy.at(folder + "/");
      const auto others = kOthers.find(name);
      for (const std::string& literal : LiteralsOf(TextOf(entry.path()))) {
        if (literal.starts_with("--benchmark_")) continue;  // Google Benchmark's
        options += static_cast<int>(OptionsIn(literal).size());
        EXPECT_THAT(Strangers(literal, commands,
                              others == kOthers.end() ? std::set<std::string>() : others->second),
                    IsEmpty())
            << name << ": " << literal;
      }
    }
  }
  EXPECT_GT(options, 150);
}

TEST(Options, OfTheDocumentsAreThere) {
  const fs::path root = ASSAY_SOURCE_DIR;
  int lines = 0;
  for (const char* name :
       {"README.md", "docs/attention.md", "docs/clouds.md", "docs/collectives.md", "docs/peers.md",
        "docs/money.md", "docs/probes.md", "docs/reading.md", "docs/storage.md",
        "runner/program/cli.cpp"}) {
    std::ifstream in(root / name);
    static const std::regex command(R"(assay (run|coll|noise|compare|report|env)\b([^`#()]*))");
    for (std::string line; std::getline(in, line);) {
      std::smatch match;
      if (!std::regex_search(line, match, command)) continue;
      ++lines;
      EXPECT_THAT(Strangers(match[0], {}, {}), IsEmpty()) << name << ": " << line;
    }
  }
  EXPECT_GT(lines, 40);
}

TEST(Options, OfARemedyForBothCommandsAreOfEach) {
  for (const auto& [param, value] :
       std::vector<std::pair<std::string, std::string>>{{"algo", "auto"},
                                                        {"buffers", "plain"},
                                                        {"buffers", "shared"},
                                                        {"bytes", "64"},
                                                        {"cache", "rotated"},
                                                        {"dtype", "f32"},
                                                        {"mode", "throughput"},
                                                        {"redop", "sum"}}) {
    const std::string text = Asking(param, value);
    EXPECT_EQ(OptionsIn(text).size(), 2U) << text;
    const std::size_t paren = text.find(" (coll: ");
    EXPECT_THAT(Strangers(text.substr(0, paren), {"run"}, {}), IsEmpty()) << text;
    EXPECT_THAT(Strangers(text.substr(paren), {}, {}), IsEmpty()) << text;
  }
}

TEST(Options, ThatAreNoOnesAreSeen) {
  EXPECT_THAT(Strangers("ask for less with --set, or --rounds 3", {"run", "coll"}, {}),
              ElementsAre("--set of coll"));
  EXPECT_THAT(Strangers("--set a=b (coll: -o sum --dtype f32)", {"run"}, {}),
              ElementsAre("--dtype of coll"));
  EXPECT_THAT(Strangers("try 'assay report --rounds 3'", {}, {}),
              ElementsAre("--rounds of report"));
  EXPECT_THAT(Strangers("leave -n and -Q out", {"coll"}, {}), ElementsAre("-Q of coll"));
  EXPECT_THAT(LiteralsOf("f(\"a --x\"  // \"no\"\n \" b\", '\"', \"c\");"),
              ElementsAre("a --x", " b", "c"));
}

}  // namespace
}  // namespace assay
