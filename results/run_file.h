// The result file and its journal: nothing lost. The path is created first; while running,
// `FILE.part` takes one line a visit, appended and fsynced; at the end, and on every catchable
// signal, it is folded into FILE (temporary name, fsync, rename, fsync of the folder).
#pragma once

#include <memory>
#include <string>

#include "results/run.h"

namespace assay {

// Reads FILE or FILE.part; a torn last line of a journal is dropped and the Run says `interrupted`.
// Throws Error (one sentence) for anything that isn't a sound assay-run file, or is over 1 GiB.
Run ReadRun(const std::string& path);

class Journal {
 public:
  // Creates `path`.part; throws Error when that can't be done or when `path` exists already.
  Journal(const std::string& path, const Run& header);
  ~Journal();  // leaves the .part, unless Finish was called
  // The record with its newest visit only; appended, and fsynced unless held back.
  void Append(const Record& record, int round);
  // While true, lines are buffered: a storage case on this file system is measuring.
  void HoldBack(bool hold);
  // Folds everything into `path` and removes the .part.
  void Finish(const Run& run);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace assay
