// What a command that measures hands out beside the result file and the terminal's own words:
// pages, figures, and the formats of other tools. All of them stand in one list. The program writes
// from it, and the test of canaries goes over it (tests/outputs_test.cpp), so that no output is
// made that the test doesn't see.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "results/price.h"
#include "results/privacy.h"
#include "results/run.h"
#include "runner/nccl_table.h"

namespace assay {

// A run as it may leave this machine: what the result file has, and the offer that a reader of that
// file finds for it. All that an output is made from, so that it can't say more than the file.
class Handout {
 public:
  // Takes out of `run` what is private.
  Handout(Run run, const Privacy& privacy);

  // Hands out the name of the result file at `path`, without its folder.
  void SetFile(const std::string& path);
  // Google Benchmark's own JSON, and nccl-tests' table with the time at which it ended.
  void SetGbench(std::string json) { gbench_ = std::move(json); }
  void SetTable(NcclTable table, std::string ended);

  const Run& TheRun() const { return run_; }
  const Chosen& Price() const { return price_; }
  const std::string& File() const { return file_; }
  const std::string& Ended() const { return ended_; }
  // Without what is private. Made when they are asked for, since that takes its time.
  std::string Gbench() const;
  NcclTable Table() const;  // REQUIRES: SetTable was called

 private:
  Privacy privacy_;
  Run run_;
  Chosen price_;
  std::string file_ = {};
  std::string gbench_ = {};
  std::optional<NcclTable> table_ = {};
  std::string ended_ = {};
};

struct Output {
  std::string_view option = {};  // which asks for it: "--report", "--format csv"
  bool is_file = false;          // the option names a file; else it goes to standard output
  bool may_replace = true;       // else a name that is taken gets a number
  std::string (*text)(const Handout& handout) = nullptr;
};

// Every output there is.
std::span<const Output> Outputs();

// The text of the one that `option` asks for. REQUIRES: there is one.
std::string OutputText(std::string_view option, const Handout& handout);

// A file that was asked for.
struct AskedFile {
  std::string_view option = {};  // of an Output that is a file
  std::string path = {};         // empty: it was not asked for
};

// Throws Unwritten where one of them can't be written, before what they hold is known, and Error
// where one would take the place of another, of the result file at `out` or of its journal. `out`
// is empty where its name isn't known yet.
void CheckFiles(std::span<const AskedFile> files, const std::string& out);

// Writes those that were asked for and tells `wrote` the name of each. Throws Unwritten at the
// first that can't be written.
void WriteFiles(std::span<const AskedFile> files, const Handout& handout,
                const std::function<void(const std::string& name)>& wrote);

}  // namespace assay
