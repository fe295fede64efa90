// The ranks that tests of launching start, as other processes see them.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace assay {

inline const std::string kProgram = RANKS_PROGRAM;

inline std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The processes that run the worker, by rank where their environment tells it, else by id.
inline std::vector<pid_t> Workers() {
  std::vector<std::pair<int, pid_t>> workers;
  for (const std::filesystem::directory_entry& entry :
       std::filesystem::directory_iterator("/proc")) {
    if (ReadAll(entry.path() / "cmdline") != kProgram + '\0' + "--worker" + '\0') continue;
    const std::string environment = ReadAll(entry.path() / "environ");
    const std::size_t at = environment.find(std::string("\0RANK=", 6));
    const int rank = at == std::string::npos ? -1 : std::stoi(environment.substr(at + 6));
    workers.emplace_back(rank, std::stoi(entry.path().filename().string()));
  }
  std::sort(workers.begin(), workers.end());
  std::vector<pid_t> pids;
  for (const auto& [rank, pid] : workers) pids.push_back(pid);
  return pids;
}

}  // namespace assay
