// The result file and its journal, which keep every finished visit. `FILE.part` is created before
// anything is measured and takes one line a visit, appended and fsynced. In the end, after a signal
// too, it is folded into FILE (temporary name, fsync, rename, fsync of the folder). Callers put
// what they hand over through ApplyPrivacy (results/file/privacy.h) first.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "results/file/json.h"
#include "results/file/run.h"

namespace assay {

// Reads a result file, or a journal where the name ends in ".part". A torn last line of a journal
// is dropped, and the Run of a journal has the status "interrupted" and is not complete. Throws
// Error for anything that isn't a sound assay-run file, for a file, or a line of a journal, over 1
// GiB, for a run without an id, and for one that was measured with a stand-in of our tests.
Run ReadRun(const std::string& path);

// Reads a journal's text: a line with the Run without records, then a line a visit. `source` names
// it in errors. The run that all lines make together is held to `limits` as a file is: its records,
// the rounds of each and their values.
Run RunFromJournal(std::string_view text, const std::string& source, const ReadLimits& limits = {});

// The treatment of a name under which a run or its journal is there already.
enum class WhereTaken {
  kRefuses,    // throw Error
  kTakesNext,  // take the first free one of NAME-2.json, NAME-3.json, …
};
// The journal of a run that is being measured. One thread uses it at a time.
class Journal {
 public:
  // Creates `path`.part with `header`, whose records are left out. Throws Error where that fails,
  // where `header` has a BrokenReference, and by `where_taken` where a name is taken.
  Journal(const std::string& path, const Run& header,
          WhereTaken where_taken = WhereTaken::kRefuses);
  // Writes lines that are held back, in silence where that fails, and leaves the .part unless
  // Finish was called.
  ~Journal();
  // Appends the rounds of `record` that the journal hasn't got yet, with the status, facts and
  // verification of now, and fsyncs them unless held back. `record` has all its rounds so far;
  // `round` is the run's round, which readers of the journal ignore. Throws Error where the record
  // has a BrokenReference, and where writing fails: then the line is kept, and written with the
  // next.
  void Append(const Record& record, int round);
  // While true, lines are kept in memory, because a storage case on this file system is measuring.
  // `false` writes them, and throws Error where that fails.
  void HoldBack(bool hold);
  // Writes `run`, and records that only the journal has, to `path`, and removes the .part. Throws
  // Error, and leaves the .part, where that fails or somebody made `path` meanwhile. After it has
  // returned, the journal may only be destroyed.
  void Finish(const Run& run);
  // The path that Finish writes to, which is the one given unless WhereTaken::kTakesNext found
  // another.
  const std::string& Path() const;

 private:
  struct State;
  bool Claim(const std::string& path, WhereTaken where_taken);
  std::unique_ptr<State> state_;
};

}  // namespace assay
