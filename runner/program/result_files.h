// Many result files, read on all cores: folders become files, files become briefs, and files
// without a run are named and left out.
#pragma once

#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/brief.h"

namespace assay {

// Reads files on all cores, and returns their runs in this order. Throws what ReadRun throws for
// the first of them that holds no run.
std::vector<Run> ReadAllRuns(const std::vector<std::string>& paths);

// The files that arguments name: a folder stands for its `*.json` and `*.json.part`, not for those
// of folders in it, and links are followed. They come in the order of the arguments, those of a
// folder by name. A file that is given and lies in a given folder comes once.
struct ResultFiles {
  std::vector<std::string> paths = {};
  bool has_folder = false;  // whether an argument was a folder
};
// Finds the files. Throws Error for a folder that can't be read, and where no argument leads to a
// file; whether a named file is there shows when it is read. REQUIRES: there is an argument.
ResultFiles FindResultFiles(const std::vector<std::string>& arguments);

// Briefs of many files, in the order of their paths.
struct ReadBriefs {
  std::vector<RunBrief> briefs = {};
  std::vector<std::string> notes = {};  // sentences on what was left out, a count where many
};
// Reads files on all cores, and counts each run once. `keeps_offers` is that of MakeBrief. Throws
// Error where no file holds a run, and where two files hold one run and contradict each other.
ReadBriefs ReadAllBriefs(const std::vector<std::string>& paths, const Catalog& catalog,
                         bool keeps_offers);

}  // namespace assay
