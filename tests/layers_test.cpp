// The picture of the tree, held to: arrows point down only, and each third-party library is known
// by one source file. To add a library, add its line below.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The tree, bottom up: a folder, and what its files may include beside its own: folders, and of
// those that are seen by their doors alone the doors' files.
struct Folder {
  std::string name;
  std::vector<std::string> may_include;
};

const std::vector<Folder> kTree = {
    {"results/base", {}},
    {"results/file", {"results/base"}},
    {"results/catalog", {"results/base", "results/file"}},
    {"results/figures", {"results/base", "results/file", "results/catalog"}},
    {"results/show", {"results/base", "results/file", "results/catalog", "results/figures"}},
    {"runner/core", {"results/base", "results/file", "results/figures"}},
    {"kernels", {"results/base", "results/file", "results/figures", "runner/core"}},
    {"collectives", {"results/base", "results/file", "results/figures", "runner/core"}},
    {"io", {"results/base", "results/file", "results/figures", "runner/core"}},
    {"runner/cluster", {"results/base", "results/file", "results/figures", "runner/core"}},
    {"runner/program",
     {"results/base", "results/file", "results/catalog", "results/figures", "results/show",
      "runner/core", "runner/cluster", "kernels/kernels.h", "collectives/collectives.h",
      "io/io.h"}},
};

// Each library's headers begin with this, and one file includes them; two, where two layers need
// it. An empty file: all may.
const std::multimap<std::string, std::string> kLibraries = {
    {"fmt/", ""},
    {"nlohmann/", "results/file/json.cpp"},
    {"nlohmann/", "results/show/json.cpp"},
    {"openssl/", "results/base/hash.cpp"},
    {"rapidjson/", "results/catalog/import_json.cpp"},
    {"benchmark/", "runner/core/gbench.cpp"},
    {"CLI/", "runner/program/cli.cpp"},
    {"curl/", "runner/program/metadata.cpp"},
    {"hwloc", "runner/program/machine.cpp"},
    {"dnnl", "kernels/cpu_onednn.cpp"},
    {"oneapi/", "kernels/cpu_onednn.cpp"},
    {"hwy/", "kernels/cpu_peak_f32.cpp"},
    {"hwy/", "collectives/reduction.cpp"},
    {"liburing", "io/uring.cpp"},
    {"mpi.h", "collectives/mpi.cpp"},
    {"rdma/", "collectives/ofi.cpp"},
    {"cuda_runtime", "runner/core/cuda.h"},
    {"cublasLt", "kernels/cuda_gemm.cpp"},
    {"cublas_v2", "kernels/cuda_grouped.cpp"},
    {"cudnn", "kernels/cuda_cudnn.cpp"},
    {"cudnn.h", "kernels/cuda_sdpa.cpp"},  // which a build without cuDNN's frontend has
    {"nccl", "collectives/nccl.cpp"},
};

// The runtime of a vendor, for the sources of its modules alone, and what else is theirs.
const std::map<std::string, std::vector<std::string>> kForModules = {
    {"runner/core/cuda.h", {"kernels/cuda_", "collectives/nccl"}},
};

// Folders of headers that belong to the system.
const std::vector<std::string> kSystem = {"sys/", "linux/", "arpa/", "netinet/", "net/", "asm/"};

bool StartsWithAny(const std::string& text, const std::vector<std::string>& prefixes) {
  for (const std::string& prefix : prefixes) {
    if (text.starts_with(prefix)) return true;
  }
  return false;
}

// The folder of the tree that `file` lies in; null where it lies in none.
const Folder* FolderOf(const std::string& file) {
  const std::string name = std::filesystem::path(file).parent_path();
  const auto found = std::ranges::find(kTree, name, &Folder::name);
  return found == kTree.end() ? nullptr : &*found;
}

// Whether a file of `folder` may include `included`. What the build makes (version.h) lies in no
// folder.
bool MayInclude(const Folder& folder, const std::string& included) {
  const std::string from = std::filesystem::path(included).parent_path();
  return from.empty() || from == folder.name ||
         std::ranges::any_of(folder.may_include, [&](const std::string& entry) {
           return entry == from || entry == included;
         });
}

// The most lines that a source may have: a longer one has parts with names of their own.
constexpr int kMostLines = 900;

// The sources of the program below `root`, by their names in the tree.
std::map<std::string, std::string> Sources(const std::filesystem::path& root) {
  std::map<std::string, std::string> sources;
  for (const std::string top : {"results", "runner", "kernels", "collectives", "io"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
      std::ifstream stream(entry.path());
      sources[std::filesystem::relative(entry.path(), root)] =
          (std::stringstream() << stream.rdbuf()).str();
    }
  }
  return sources;
}

// One sentence for each include line of `text`, the contents of `file`, that breaks the picture.
std::vector<std::string> Violations(const std::string& file, const std::string& text) {
  static const std::regex include(R"re(^\s*#\s*include\s*(<|")([^>"]+)[>"])re");
  const Folder* const folder = FolderOf(file);
  if (folder == nullptr) return {file + " lies in no folder of the tree"};
  std::vector<std::string> violations;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::smatch match;
    if (!std::regex_search(line, match, include)) continue;
    const std::string included = match[2];
    if (match[1] == "\"") {
      if (!MayInclude(*folder, included)) {
        violations.push_back(file + " includes " + included + ", which is not below " +
                             folder->name);
      } else if (const auto module = kForModules.find(included);
                 module != kForModules.end() && !StartsWithAny(file, module->second)) {
        violations.push_back(file + " includes " + included + ", which is for modules");
      }
      continue;
    }
    bool known = included.find('/') == std::string::npos || StartsWithAny(included, kSystem);
    bool is_owner = false;
    std::string owners;
    for (const auto& [prefix, owner] : kLibraries) {
      if (!included.starts_with(prefix)) continue;
      known = true;
      is_owner = is_owner || owner.empty() || owner == file;
      owners += (owners.empty() ? "" : " and ") + owner;
    }
    if (!owners.empty() && !is_owner) {
      violations.push_back(file + " includes " + included + ", which is for " + owners);
    }
    if (!known) violations.push_back(file + " includes " + included + ", which has no owner");
  }
  return violations;
}

TEST(Layers, ArrowsPointDownAndEachLibraryHasOneOwner) {
  const std::map<std::string, std::string> sources = Sources(ASSAY_SOURCE_DIR);
  for (const auto& [file, text] : sources) EXPECT_THAT(Violations(file, text), IsEmpty());
  EXPECT_GT(sources.size(), 50U);
}

TEST(Layers, NoSourceIsTooLong) {
  for (const auto& [file, text] : Sources(ASSAY_SOURCE_DIR)) {
    EXPECT_LE(std::ranges::count(text, '\n'), kMostLines) << file;
  }
}

// A tree without circles: a folder includes only what stands before it.
TEST(Layers, TheTreeIsInOrder) {
  std::set<std::string> below;
  for (const Folder& folder : kTree) {
    for (const std::string& included : folder.may_include) {
      const Folder* const door = FolderOf(included);
      EXPECT_TRUE(below.contains(door != nullptr ? door->name : included))
          << folder.name << ": " << included;
    }
    below.insert(folder.name);
  }
}

TEST(Layers, EveryOwnerIsThere) {
  for (const auto& [prefix, owner] : kLibraries) {
    EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(ASSAY_SOURCE_DIR) / owner)) << owner;
  }
}

TEST(Layers, AnArrowThatPointsUpIsCaught) {
  EXPECT_THAT(
      Violations("results/base/csv.cpp", "#include \"results/file/run.h\"\n"),
      ElementsAre(
          "results/base/csv.cpp includes results/file/run.h, which is not below results/base"));
  EXPECT_THAT(Violations("results/figures/model.cpp", "#include \"results/show/tables.h\"\n"),
              ElementsAre(HasSubstr("which is not below results/figures")));
  EXPECT_THAT(Violations("results/show/tables.cpp", "#include \"runner/core/probe.h\"\n"),
              ElementsAre(HasSubstr("which is not below results/show")));
  EXPECT_THAT(Violations("kernels/op.cpp", "#include \"io/io.h\"\n"),
              ElementsAre(HasSubstr("which is not below kernels")));
  EXPECT_THAT(Violations("io/uring.cpp", "  #  include \"runner/cluster/job.h\"\n"),
              ElementsAre(HasSubstr("which is not below io")));
  EXPECT_THAT(Violations("runner/program/commands.cpp", "#include \"kernels/op.h\"\n"),
              ElementsAre(HasSubstr("which is not below runner/program")));
  EXPECT_THAT(Violations("runner/program/commands.cpp", "#include \"kernels/kernels.h\"\n"),
              IsEmpty());
  EXPECT_THAT(Violations("runner/core/engine.cpp", "#include \"kernels/kernels.h\"\n"),
              ElementsAre(HasSubstr("which is not below runner/core")));
  EXPECT_THAT(Violations("runner/core/sampler.cpp", "#include \"runner/program/console.h\"\n"),
              ElementsAre(HasSubstr("which is not below runner/core")));
  EXPECT_THAT(Violations("runner/stray.cpp", ""), ElementsAre(HasSubstr("lies in no folder")));
}

TEST(Layers, AVendorsRuntimeStaysWithinItsModules) {
  EXPECT_THAT(Violations("kernels/kernels.cpp", "#include \"runner/core/cuda.h\"\n"),
              ElementsAre("kernels/kernels.cpp includes runner/core/cuda.h, which is for modules"));
  EXPECT_THAT(Violations("kernels/cuda_timer.cpp", "#include <cuda_runtime_api.h>\n"),
              ElementsAre(HasSubstr("which is for runner/core/cuda.h")));
  EXPECT_THAT(Violations("kernels/cuda_timer.h", "#include \"runner/core/cuda.h\"\n"), IsEmpty());
}

TEST(Layers, ASecondIncluderOfALibraryIsCaught) {
  EXPECT_THAT(Violations("results/show/report.cpp", "#include <nlohmann/json.hpp>\n"),
              ElementsAre("results/show/report.cpp includes nlohmann/json.hpp, which is for "
                          "results/file/json.cpp and results/show/json.cpp"));
  EXPECT_THAT(Violations("io/storage.cpp", "#include <liburing.h>\n"),
              ElementsAre(HasSubstr("which is for io/uring.cpp")));
  EXPECT_THAT(Violations("io/storage.cpp", "#include <boost/asio.hpp>\n"),
              ElementsAre(HasSubstr("which has no owner")));
  EXPECT_THAT(Violations("io/uring.cpp",
                         "#include <liburing.h>\n#include <sys/stat.h>\n"
                         "#include <vector>\n#include <fmt/format.h>\n"),
              IsEmpty());
}

}  // namespace
}  // namespace assay
