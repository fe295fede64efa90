// The way from cases to the one result file, which all commands that measure share.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "results/base/error.h"
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

// The way to measure, by a command's options. `modules` must outlive it.
Setup MakeSetup(const RunOptions& options, const Modules& modules);

// All probes of this program, folder by folder, as `assay list` shows them.
std::vector<Probe> AllProbes(const Setup& setup);

// The things that a rank of this program can do by itself: describe its node, and every case that
// its own probes have. `modules` and `catalog` must outlive it.
Member MakeMember(const RunOptions& options, const Modules& modules, const Catalog& catalog);
// What a rank can do that assay starts for itself, which is told nothing but cases.
Member WorkerMember(const Modules& modules);

// The cluster of rank 0. `modules`, `ranks` and `catalog` must outlive it and its
// cases.
std::unique_ptr<Cluster> MakeCluster(const RunOptions& options, const Modules& modules,
                                     Ranks& ranks, const Catalog& catalog);

// The cases as the cluster places them. Cases of several ranks fail where their data went over
// something else than `require_transport`, if that is given.
std::vector<Case> PlacedOn(Cluster& cluster, std::vector<Case> cases,
                           const std::string& require_transport);

// Describes this machine: its hardware, what instance it is, the volume of storage_path, and notes
// on what makes it noisy.
Node ThisNode(const Setup& setup, const IdentityFlags& flags, const Catalog& catalog);

// Chooses the one price behind the dollars of these runs: a typed one, one that is stored in the
// first file, or one of the catalog. A listed price stands for no nodes that differ in
// what it is chosen by.
Chosen ChoosePrice(const std::vector<const Run*>& runs, const PricingFlags& flags,
                   const Catalog& catalog);

// "--backend onednn --device cpu": what was asked for by name; "" where nothing was.
std::string ChoiceText(const RunOptions& options);

// Throws Error, with the right name where there is one like it, for a backend that none of `probes`
// has and for a device that isn't there.
void CheckChoice(const RunOptions& options, const std::vector<Probe>& probes);

// Makes the Error for a command whose backends and devices leave nothing of the probes that were
// asked for. It says which backends or devices the probe does have.
Error NothingLeft(const RunOptions& options, const std::vector<std::string>& asked,
                  const std::vector<Probe>& probes);

// The cases that the questions unfold into, each once. Throws Error where the backends and devices
// that were asked for leave none.
std::vector<Case> UnfoldQuestions(const std::vector<Question>& questions,
                                  const std::vector<Probe>& probes, const RunOptions& options);

// The cases of `assay run` with these options. Throws Error where they ask for what isn't there.
std::vector<Case> CasesOfRun(const RunOptions& options, const Suite& suite,
                             const std::vector<Probe>& probes);

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
