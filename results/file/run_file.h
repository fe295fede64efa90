// The result file and its journal, which keep every finished visit. The path is created first.
// While running, `FILE.part` takes one line a visit, appended and fsynced. At the end, and on every
// catchable signal, it is folded into FILE (temporary name, fsync, rename, fsync of the folder).
// Callers put what they hand over through ApplyPrivacy (results/file/privacy.h) first.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "results/file/json.h"
#include "results/file/run.h"

namespace assay {

// Reads FILE or FILE.part. A torn last line of a journal is dropped, and its Run has the status
// "interrupted" and is not complete. Throws Error (one sentence) for anything that isn't a sound
// assay-run file, and for a file, or a line of a journal, over 1 GiB.
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
// The journal of a run that is being measured.
class Journal {
 public:
  // Creates `path`.part with `header`, a Run without its records. Throws Error when that fails.
  Journal(const std::string& path, const Run& header,
          WhereTaken where_taken = WhereTaken::kRefuses);
  ~Journal();  // leaves the .part, unless Finish was called
  // Appends the rounds of `record` that the journal hasn't got yet, with the status, facts and
  // verification of now, and fsyncs them unless held back. `record` has all its rounds so far.
  // Throws Error where that fails; the line is kept, and written with the next one.
  void Append(const Record& record, int round);
  // While true, lines are kept in memory, because a storage case on this file system is measuring.
  void HoldBack(bool hold);
  // Writes `run`, and records that only the journal has, to `path`, and removes the .part. Throws
  // Error, and leaves the .part, where that fails or somebody made `path` meanwhile.
  void Finish(const Run& run);
  // The path that Finish writes to. REQUIRES: Finish was not called.
  const std::string& Path() const;

 private:
  struct State;
  bool Claim(const std::string& path, WhereTaken where_taken);
  std::unique_ptr<State> state_;
};

}  // namespace assay
