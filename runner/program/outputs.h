// The outputs that a command hands out besides the result file and the words on the terminal:
// pages, figures, and the formats of other tools. All of them stand in one list. The program writes
// from it, and a test looks in each of them for private words that it has put into a run
// (tests/outputs_test.cpp), so that no output escapes the test.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "results/catalog/price.h"
#include "results/file/privacy.h"
#include "results/file/run.h"
#include "results/show/writer.h"
#include "runner/program/nccl_table.h"

namespace assay {

// A run as it may leave this machine: what the result file has, and the offer that a reader of that
// file finds for it. Every output is made from this alone, so that it can't say more than the file.
class Handout {
 public:
  // Removes what is private from `run`. The catalog must outlive this.
  Handout(Run run, const Privacy& privacy, const Catalog& catalog);

  // Sets the name of the result file at `path`, of which the folder isn't handed out.
  void SetFile(const std::string& path);
  // Set Google Benchmark's own JSON, and nccl-tests' table with the time at which it ended.
  void SetGbench(std::string json) { gbench_ = std::move(json); }
  void SetTable(NcclTable table, std::string ended);

  const Run& TheRun() const { return run_; }
  const Chosen& Price() const { return price_; }
  const Catalog& TheCatalog() const { return *catalog_; }
  const std::string& File() const { return file_; }
  const std::string& Ended() const { return ended_; }
  // What SetGbench and SetTable were given, without what is private. Both are made when they are
  // asked for, since that takes time. Gbench is "" where nothing was set.
  std::string Gbench() const;
  bool HasTable() const { return table_.has_value(); }
  NcclTable Table() const;  // REQUIRES: HasTable

 private:
  Privacy privacy_;
  const Catalog* catalog_;
  Run run_;
  Chosen price_;
  std::string file_ = {};
  std::string gbench_ = {};
  std::optional<NcclTable> table_ = {};
  std::string ended_ = {};
};

// The kinds of output.
enum class OutputKind { kPage, kGbench, kNcclJson, kJson, kCsv };

// An output, as the list has it.
struct Output {
  OutputKind kind = OutputKind::kPage;
  std::string_view option = {};  // the option that asks for it: "--report", "--format csv"
  bool is_file = false;          // whether the option names a file; else it goes to standard output
  bool may_replace = true;       // if not, a name that is taken gets a number
  std::string (*text)(const Handout& handout) = nullptr;
};

// The list of all outputs, in the order of their kinds.
std::span<const Output> Outputs();

// The kind of output that is printed in this format. Throws Error for any but JSON and CSV.
OutputKind PrintedAs(OutputFormat format);

// The text of an output. REQUIRES: the handout has a table, for kNcclJson.
std::string OutputText(OutputKind kind, const Handout& handout);

// A file that was asked for.
struct AskedFile {
  OutputKind kind = OutputKind::kPage;  // of an Output that is a file
  std::string path = {};                // empty: it was not asked for
};

// Checks files before anything is measured. Throws Unwritten where one of them can't be written,
// and Error where one would take the place of another, of the result file at `out` or of its
// journal. `out` is empty where its name isn't known yet.
void CheckFiles(std::span<const AskedFile> files, const std::string& out);

// Writes the files that were asked for, and calls `wrote` with the name of each. Throws Unwritten
// at the first one that can't be written.
void WriteFiles(std::span<const AskedFile> files, const Handout& handout,
                const std::function<void(const std::string& name)>& wrote);

}  // namespace assay
