#include "runner/program/result_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/text.h"
#include "results/figures/once.h"
#include "results/file/run_file.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

bool IsResultName(const std::string& name) {
  return name.ends_with(".json") || name.ends_with(".json.part");
}

// The result files of a folder, by name.
std::vector<std::string> FilesIn(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const fs::path& entry : EntriesOf(folder, error)) {
    std::error_code of_file;
    if (IsResultName(entry.filename().string()) && fs::is_regular_file(entry, of_file)) {
      paths.push_back(entry.string());
    }
  }
  if (error) {
    throw Error(fmt::format("the folder '{}' can't be read ({}); give one that can",
                            Clean(folder, 1024), error.message()));
  }
  return paths;
}

// What became of one file.
struct Outcome {
  std::optional<RunBrief> brief = {};
  std::string failure = {};  // a sentence, where it holds no run
};

Outcome ReadOne(const std::string& path, const Catalog& catalog, bool keeps_offers) {
  try {
    return {.brief = MakeBrief(ReadRun(path), path, catalog, keeps_offers)};
  } catch (const std::exception& error) {
    return {.failure = error.what()};
  }
}

// Calls `work` with each index below `count`, each by whatever core is free.
void OnAllCores(std::size_t count, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  const auto take = [&](int) {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  const std::size_t threads = std::min(count, UsableCores().size());
  if (threads < 2) {
    take(0);
  } else {
    Team(static_cast<int>(threads)).Run(take);
  }
}

// The indices of files of one run that are left out. Copies are read once more, since a brief can't
// tell whether they contradict each other.
std::set<std::size_t> CopiesAmong(const std::vector<std::string>& paths,
                                  const std::vector<Outcome>& outcomes,
                                  std::vector<std::string>& notes) {
  std::map<std::string, std::vector<std::size_t>> by_id;
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i].brief) by_id[outcomes[i].brief->id].push_back(i);
  }
  std::set<std::size_t> copies;
  for (const auto& [id, indices] : by_id) {
    if (indices.size() < 2) continue;
    std::vector<std::string> of_run;
    for (const std::size_t i : indices) of_run.push_back(paths[i]);
    const std::vector<Run> runs = ReadAllRuns(of_run);
    std::vector<NamedRun> named;
    for (std::size_t k = 0; k < runs.size(); ++k) {
      named.push_back({.name = of_run[k], .run = &runs[k]});
    }
    const Distinct distinct = DistinctRuns(named);
    copies.insert(indices.begin(), indices.end());
    for (const std::size_t kept : distinct.kept) copies.erase(indices[kept]);
    notes.insert(notes.end(), distinct.notes.begin(), distinct.notes.end());
  }
  return copies;
}

}  // namespace

std::vector<Run> ReadAllRuns(const std::vector<std::string>& paths) {
  std::vector<Run> runs(paths.size());
  std::vector<std::exception_ptr> failures(paths.size());
  OnAllCores(paths.size(), [&](std::size_t i) {
    try {
      runs[i] = ReadRun(paths[i]);
    } catch (...) {
      failures[i] = std::current_exception();
    }
  });
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return runs;
}

ResultFiles FindResultFiles(const std::vector<std::string>& arguments) {
  ResultFiles found;
  std::set<std::string> seen(arguments.begin(), arguments.end());
  for (const std::string& argument : arguments) {
    std::error_code error;  // ignored, since reading reports what isn't there
    if (!fs::is_directory(argument, error)) {
      found.paths.push_back(argument);
      continue;
    }
    found.has_folder = true;
    for (const std::string& path : FilesIn(argument)) {
      if (seen.insert(path).second) found.paths.push_back(path);
    }
  }
  if (found.paths.empty()) {
    throw Error(
        fmt::format("'{}' holds no *.json and no *.json.part; give a folder of result files "
                    "that 'assay run' wrote",
                    Clean(arguments.front(), 1024)));
  }
  return found;
}

ReadBriefs ReadAllBriefs(const std::vector<std::string>& paths, const Catalog& catalog,
                         bool keeps_offers) {
  std::vector<Outcome> outcomes(paths.size());
  OnAllCores(paths.size(),
             [&](std::size_t i) { outcomes[i] = ReadOne(paths[i], catalog, keeps_offers); });
  std::vector<std::string> failures;
  for (const Outcome& outcome : outcomes) {
    if (!outcome.brief) failures.push_back("left out: " + outcome.failure);
  }
  if (failures.size() == outcomes.size()) {
    throw Error(outcomes.size() == 1 ? outcomes.front().failure
                                     : fmt::format("none of {} files holds a run; the first: {}",
                                                   outcomes.size(), outcomes.front().failure));
  }
  ReadBriefs read;
  AddFew(failures, "the files that hold no run", read.notes);
  std::vector<std::string> copied;
  const std::set<std::size_t> copies = CopiesAmong(paths, outcomes, copied);
  AddFew(copied, "the files of runs that other files hold, too", read.notes);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i].brief && !copies.contains(i)) {
      read.briefs.push_back(std::move(*outcomes[i].brief));
    }
  }
  return read;
}

}  // namespace assay
