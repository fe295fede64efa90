// The way from cases to the one result file, which all commands that measure share.
#pragma once

#include <functional>
#include <map>
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

// Chooses the one price behind the dollars of these runs: a typed one, one that is stored in the
// first file, or one of the catalog. A listed price stands for no nodes that differ in
// what it is chosen by.
Chosen ChoosePrice(const std::vector<const Run*>& runs, const PricingFlags& flags,
                   const Catalog& catalog);

struct Plan {
  std::vector<Case> cases = {};
  SuiteName suite = {};
  // The engine's options, of which MeasureHere fills in `seed`, `stop` and `gbench`.
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
  // there are none. May be null.
  std::function<std::vector<Case>(const std::vector<Record>& records)> more = {};
  // Called after each visit; rounds count from 1.
  std::function<void(const Record& record, int round)> visited = {};
};

struct Measured {
  // The run as it was measured and typed, for the terminal alone.
  Run run = {};
  Chosen price = {};
  // The run that every other output is made from.
  Handout handout;
  std::string path = {};       // the file's; empty where there is none
  std::string unwritten = {};  // why there is none, where one was asked for
  double elapsed_s = 0;
};

// The files beside the result file that the options ask for.
std::vector<AskedFile> FilesBeside(const RunOptions& options);

// Measures the plan's cases, which are placed on the cluster, and writes the one result file, its
// journal while measuring. Catches the signals that end a process: the file is kept, as it is where
// ranks hang. Throws Error for what can be found out to be wrong before a file is made.
Measured MeasureHere(const Plan& plan, const RunOptions& options, Cluster& cluster,
                     const Catalog& catalog, Console& console);

// Prints the outcome, writes `files` beside the result file, and names all of them. Throws Error
// where one could not be written.
void ReportFiles(const Measured& measured, std::span<const AskedFile> files, Console& console);

// The exit status of a run. A probe that was asked for by name and could not run at all is a
// failure; one that merely wasn't possible in a plain `assay run` is not.
int ExitStatusOf(const Run& run, const std::vector<std::string>& asked);

}  // namespace assay
