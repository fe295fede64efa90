// The picture of the tree, held to: arrows point down only, and each third-party library is known
// by one source file. To add a library, add its line below.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What files of a folder may include of the rest of the tree; an entry that ends in / is a folder.
const std::map<std::string, std::vector<std::string>> kMayInclude = {
    // The bottom: data. Knows no hardware and no terminal.
    {"results", {"results/"}},
    // What is measured: the contract, and nothing of each other. (version.h is made by the build; a
    // module carries what it says.)
    {"kernels",
     {"results/", "runner/probe.h", "runner/ranks.h", "runner/module.h", "runner/threads.h",
      "runner/memory.h", "runner/random.h", "runner/cuda.h", "version.h", "kernels/"}},
    {"collectives",
     {"results/", "runner/probe.h", "runner/ranks.h", "runner/module.h", "runner/threads.h",
      "runner/memory.h", "runner/random.h", "runner/cuda.h", "version.h", "collectives/"}},
    {"io",
     {"results/", "runner/probe.h", "runner/ranks.h", "runner/module.h", "runner/threads.h",
      "runner/memory.h", "runner/random.h", "version.h", "io/"}},
    // How it is measured, and the program: sees of the rest the doors alone.
    {"runner",
     {"results/", "runner/", "kernels/kernels.h", "collectives/collectives.h", "io/io.h",
      "version.h"}},
};

// What the contract and the engine may include: they are below the doors.
const std::vector<std::string> kCore = {
    "runner/probe.h",    "runner/ranks.h",     "runner/module.h",   "runner/module.cpp",
    "runner/threads.h",  "runner/threads.cpp", "runner/memory.h",   "runner/memory.cpp",
    "runner/random.h",   "runner/engine.h",    "runner/engine.cpp", "runner/sampler.h",
    "runner/sampler.cpp"};

// Each library's headers begin with this, and one file includes them; two, where two layers need
// it. An empty file: all may.
const std::multimap<std::string, std::string> kLibraries = {
    {"fmt/", ""},
    {"nlohmann/", "results/json.cpp"},
    {"openssl/", "results/hash.cpp"},
    {"benchmark/", "runner/engine.cpp"},
    {"CLI/", "runner/cli.cpp"},
    {"curl/", "runner/metadata.cpp"},
    {"hwloc", "runner/machine.cpp"},
    {"dnnl", "kernels/cpu_onednn.cpp"},
    {"oneapi/", "kernels/cpu_onednn.cpp"},
    {"hwy/", "kernels/cpu_peak_f32.cpp"},
    {"hwy/", "collectives/reduction.cpp"},
    {"liburing", "io/uring.cpp"},
    {"mpi.h", "collectives/mpi.cpp"},
    {"rdma/", "collectives/ofi.cpp"},
    {"cuda_runtime", "runner/cuda.h"},
    {"cublasLt", "kernels/cuda_gemm.cpp"},
    {"cublas_v2", "kernels/cuda_grouped.cpp"},
    {"cudnn", "kernels/cuda_cudnn.cpp"},
    {"cudnn.h", "kernels/cuda_sdpa.cpp"},  // which a build without cuDNN's frontend has
    {"nccl", "collectives/nccl.cpp"},
};

// The runtime of a vendor, for the sources of its modules alone, and what else is theirs.
const std::map<std::string, std::vector<std::string>> kForModules = {
    {"runner/cuda.h", {"kernels/cuda_", "collectives/nccl"}},
};

// Folders of headers that belong to the system.
const std::vector<std::string> kSystem = {"sys/", "linux/", "arpa/", "netinet/", "net/", "asm/"};

bool StartsWithAny(const std::string& text, const std::vector<std::string>& prefixes) {
  for (const std::string& prefix : prefixes) {
    if (text.starts_with(prefix)) return true;
  }
  return false;
}

bool Allows(const std::vector<std::string>& allowed, const std::string& included) {
  for (const std::string& entry : allowed) {
    if (entry.ends_with('/') ? included.starts_with(entry) : included == entry) return true;
  }
  return false;
}

// One sentence for each include line of `text`, the contents of `file`, that breaks the picture.
std::vector<std::string> Violations(const std::string& file, const std::string& text) {
  static const std::regex include(R"re(^\s*#\s*include\s*(<|")([^>"]+)[>"])re");
  const std::string folder = file.substr(0, file.find('/'));
  const bool is_core = Allows(kCore, file);
  std::vector<std::string> violations;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::smatch match;
    if (!std::regex_search(line, match, include)) continue;
    const std::string included = match[2];
    if (match[1] == "\"") {
      if (!Allows(kMayInclude.at(folder), included)) {
        violations.push_back(file + " includes " + included + ", which is not below " + folder);
      } else if (is_core && folder == "runner" && !included.starts_with("results/") &&
                 included != "version.h" && !Allows(kCore, included)) {
        violations.push_back(file + " includes " + included + ", which is above the engine");
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
  namespace fs = std::filesystem;
  const fs::path root = ASSAY_SOURCE_DIR;
  int files = 0;
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
      std::ifstream stream(entry.path());
      const std::string text = (std::stringstream() << stream.rdbuf()).str();
      EXPECT_THAT(Violations(fs::relative(entry.path(), root), text), IsEmpty());
      ++files;
    }
  }
  EXPECT_GT(files, 50);
}

TEST(Layers, EveryOwnerIsThere) {
  for (const auto& [prefix, owner] : kLibraries) {
    EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(ASSAY_SOURCE_DIR) / owner)) << owner;
  }
}

TEST(Layers, AnArrowThatPointsUpIsCaught) {
  EXPECT_THAT(Violations("results/run.cpp", "#include \"runner/probe.h\"\n"),
              ElementsAre("results/run.cpp includes runner/probe.h, which is not below results"));
  EXPECT_THAT(Violations("kernels/op.cpp", "#include \"io/io.h\"\n"),
              ElementsAre(HasSubstr("which is not below kernels")));
  EXPECT_THAT(Violations("io/uring.cpp", "  #  include \"runner/engine.h\"\n"),
              ElementsAre(HasSubstr("which is not below io")));
  EXPECT_THAT(Violations("runner/commands.cpp", "#include \"kernels/op.h\"\n"),
              ElementsAre(HasSubstr("which is not below runner")));
  EXPECT_THAT(Violations("runner/engine.cpp", "#include \"kernels/kernels.h\"\n"),
              ElementsAre(HasSubstr("which is above the engine")));
  EXPECT_THAT(Violations("runner/sampler.cpp", "#include \"runner/console.h\"\n"),
              ElementsAre(HasSubstr("which is above the engine")));
}

TEST(Layers, AVendorsRuntimeStaysWithinItsModules) {
  EXPECT_THAT(Violations("kernels/kernels.cpp", "#include \"runner/cuda.h\"\n"),
              ElementsAre("kernels/kernels.cpp includes runner/cuda.h, which is for modules"));
  EXPECT_THAT(Violations("kernels/cuda_timer.cpp", "#include <cuda_runtime_api.h>\n"),
              ElementsAre(HasSubstr("which is for runner/cuda.h")));
  EXPECT_THAT(Violations("kernels/cuda_timer.h", "#include \"runner/cuda.h\"\n"), IsEmpty());
}

TEST(Layers, ASecondIncluderOfALibraryIsCaught) {
  EXPECT_THAT(Violations("results/report.cpp", "#include <nlohmann/json.hpp>\n"),
              ElementsAre("results/report.cpp includes nlohmann/json.hpp, which is for "
                          "results/json.cpp"));
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
