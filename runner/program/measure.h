// The way from cases to the one result file, which all commands that measure share.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/file/run.h"
#include "runner/cluster/cluster.h"
#include "runner/core/engine.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"
#include "runner/program/console.h"
#include "runner/program/outputs.h"
#include "runner/program/suite.h"

namespace assay {

// The exit statuses. An Error that reaches main is 2, too.
inline constexpr int kAllWell = 0;
inline constexpr int kMeasuredButNotWell = 1;
inline constexpr int kCantTell = 2;
inline constexpr int kWatchdog = 3;
inline constexpr int kInterrupted = 130;

// The date of today in UTC: "2026-11-22".
std::string Today();

// Chooses the one price behind the dollars of these runs, for the first node of the first run: the
// typed or owned one of the flags, the private one that the run holds, or else a listed one, of the
// run with `as_run` and of the catalog without. There is no listed price for nodes that differ in
// what it is chosen by. REQUIRES: there is a run.
Chosen ChoosePrice(const std::vector<const Run*>& runs, const PricingFlags& flags,
                   const Catalog& catalog);

// The plan of a run. Its functions may be null, and are called in the thread that calls
// MeasureHere.
struct Plan {
  std::vector<Case> cases = {};
  SuiteName suite = {};
  // The engine's options; MeasureHere fills in `seed`, `stop`, `gbench`, `quota_period` and
  // `elapsed`.
  EngineOptions engine = {};
  std::map<std::string, std::vector<std::string>> command = {};  // parsed options, scrubbed
  // Whether a run that names no file is measured without one where the folder can't take one.
  bool may_lack_file = false;
  // Whether each case is told of on the terminal after its first visit, since the table comes last.
  bool tells_cases = false;
  // Called before anything is measured, with all of the run but its records, and the reason where
  // it has no file.
  std::function<void(const Run& run, const Chosen& price, const std::string& no_file)> begins = {};
  // Asked, when all cases are measured, for further cases that follow from their records, until
  // there are none.
  std::function<std::vector<Case>(const std::vector<Record>& records)> more = {};
  // Called after each visit; rounds count from 1.
  std::function<void(const Record& record, int round)> visited = {};
};

// Ends a run while its bill is still within a limit. A run is asked to end now and then, and it
// must be told one question early: the next may come as late as the latest has. May be asked in any
// thread.
class CostLimit {
 public:
  // The run may last `most_s`, and nothing was asked until `elapsed_s` after its beginning.
  CostLimit(double most_s, double elapsed_s) : most_s_(most_s), last_s_(elapsed_s) {}

  // Whether the run has to end now, `elapsed_s` after its beginning. A hundredth of the limit, a
  // second at most, is left for its end.
  bool IsReached(double elapsed_s);

 private:
  std::mutex mutex_ = {};  // guards what follows
  double most_s_;
  double last_s_;
  double longest_s_ = 0;  // between two questions
};

// The outcome of MeasureHere.
struct Measured {
  // The run as it was measured and typed, for the terminal alone.
  Run run = {};
  Chosen price = {};
  // The run that every other output is made from.
  Handout handout;
  std::string path = {};       // the file's; empty where there is none
  std::string unwritten = {};  // why the file could not be written in the end; else ""
  double elapsed_s = 0;        // since the run began
};

// The files beside the result file that the options ask for.
std::vector<AskedFile> FilesBeside(const RunOptions& options);

// Measures the plan's cases, which are placed on the cluster, and writes the one result file, and a
// journal of it while measuring. Signals that end a process are caught, and the file is kept then
// and where ranks hang, though the process may end here. Throws Error for what can be found out to
// be wrong before a file is made.
Measured MeasureHere(const Plan& plan, const RunOptions& options, Cluster& cluster,
                     const Catalog& catalog, Console& console);

// Prints the outcome, writes `files` beside the result file, and names all of them. Throws Error
// where one could not be written.
void ReportFiles(const Measured& measured, std::span<const AskedFile> files, Console& console);

// The exit status of a run. A probe that was asked for by name and could not run at all is a
// failure; one that merely wasn't possible in a plain `assay run` is not.
int ExitStatusOf(const Run& run, const std::vector<std::string>& asked);

}  // namespace assay
