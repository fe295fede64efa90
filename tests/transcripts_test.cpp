// Runs the real binary as tests/transcripts/*.txt say, and holds what it prints against them. A
// transcript is a list of `$ assay …` lines, each followed by stdout and stderr as they came and by
// the exit status in brackets. ASSAY_UPDATE=1 rewrites them; reviewing a change is reading a diff.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace assay {
namespace {

namespace fs = std::filesystem;

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The command's output and exit status, as a transcript shows them. It runs in tests/data, so that
// files have short names, and reads nothing from the user's own environment but PATH.
std::string Transcribe(const std::string& arguments) {
  const std::string command = "cd '" ASSAY_SOURCE_DIR
                              "/tests/data' && env -i PATH=\"$PATH\" LC_ALL=C '" ASSAY_BINARY "' " +
                              arguments + " 2>&1 </dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  std::string output;
  char buffer[4096];
  std::size_t got = 0;
  while ((got = fread(buffer, 1, sizeof buffer, pipe)) > 0) output.append(buffer, got);
  const int status = pclose(pipe);
  // The age of a price changes by the day.
  static const std::regex age("[0-9]+ days? old");
  output = std::regex_replace(output, age, "N days old");
  if (!output.empty() && output.back() != '\n') output += "\n";
  return output + "[" + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : 128) + "]\n";
}

class Transcript : public testing::TestWithParam<fs::path> {};

TEST_P(Transcript, IsWhatTheBinaryPrints) {
  const std::string expected = ReadText(GetParam());
  std::istringstream lines(expected);
  std::string actual;
  int commands = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("$ assay")) continue;
    const std::string arguments = line.substr(std::string("$ assay").size());
    actual += (commands++ == 0 ? "" : "\n") + line + "\n" + Transcribe(arguments);
  }
  ASSERT_GT(commands, 0) << "no '$ assay' line in " << GetParam();
  if (std::getenv("ASSAY_UPDATE") != nullptr) {
    std::ofstream(GetParam()) << actual;
  } else {
    EXPECT_EQ(actual, expected) << "ASSAY_UPDATE=1 rewrites it";
  }
}

std::vector<fs::path> Transcripts() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(ASSAY_SOURCE_DIR "/tests/transcripts")) {
    paths.push_back(entry.path());
  }
  return paths;
}

INSTANTIATE_TEST_SUITE_P(All, Transcript, testing::ValuesIn(Transcripts()),
                         [](const auto& test) { return test.param.stem().string(); });

}  // namespace
}  // namespace assay
