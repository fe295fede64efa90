#include "runner/program/coll.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "collectives/collectives.h"
#include "results/base/error.h"
#include "results/base/names.h"
#include "results/base/text.h"
#include "results/catalog/price.h"
#include "results/figures/drift.h"
#include "results/figures/expected.h"
#include "results/figures/groups.h"
#include "results/figures/model.h"
#include "results/file/run.h"
#include "runner/cluster/cluster.h"
#include "runner/cluster/join.h"
#include "runner/core/module.h"
#include "runner/core/probe.h"
#include "runner/program/bisect.h"
#include "runner/program/choice.h"
#include "runner/program/cli.h"
#include "runner/program/coll_expect.h"
#include "runner/program/coll_plan.h"
#include "runner/program/coll_table.h"
#include "runner/program/console.h"
#include "runner/program/measure.h"
#include "runner/program/nccl_table.h"
#include "runner/program/outputs.h"
#include "runner/program/setup.h"
#include "runner/program/signals.h"
#include "runner/program/suite.h"

namespace assay {
namespace {

// The variables of nccl-tests that ask for something.
constexpr const char* kVariables[] = {"NCCL_TESTS_SPLIT", "NCCL_TESTS_SPLIT_MASK",
                                      "NCCL_TESTS_DEVICE", "NCCL_TESTS_MIN_BW"};

std::map<std::string, std::string> NcclTestsEnvironment() {
  std::map<std::string, std::string> environment;
  for (const char* name : kVariables) {
    if (const char* value = std::getenv(name)) environment[name] = value;
  }
  return environment;
}

std::map<std::string, std::vector<std::string>> CollCommand(const CollOptions& options,
                                                            const CollPlan& plan) {
  std::map<std::string, std::vector<std::string>> command = {{"coll", {options.operation}},
                                                             {"datatype", {options.datatype}},
                                                             {"op", {options.op}},
                                                             {"root", {options.root}},
                                                             {"backend", options.run.backends}};
  if (plan.engine.fixed) {
    command["iters"] = {std::to_string(plan.engine.fixed->iterations)};
    command["warmup_iters"] = {std::to_string(plan.engine.fixed->warm_up)};
  }
  if (options.duration_s) command["duration_s"] = {fmt::format("{}", *options.duration_s)};
  if (options.nthreads > 1) command["nthreads"] = {std::to_string(options.nthreads)};
  if (options.ngpus > 1) command["ngpus"] = {std::to_string(options.ngpus)};
  if (options.run.ci) command["ci"] = {fmt::format("{}", *options.run.ci)};
  if (options.run.max_seconds)
    command["max_seconds"] = {fmt::format("{}", *options.run.max_seconds)};
  std::erase_if(command, [](const auto& entry) { return entry.second.empty(); });
  return command;
}

// The reasons why parts of a run could not be measured, each once.
std::set<std::string> ReasonsOf(const Run& run) {
  std::set<std::string> reasons;
  for (const Record& record : run.records) {
    if (record.status == Status::kFailed || record.status == Status::kPartial) {
      reasons.insert(record.reason);
    }
  }
  return reasons;
}

const Probe& ProbeOf(const std::vector<Probe>& probes, const std::string& operation) {
  std::vector<std::string> names;
  for (const Probe& probe : probes) {
    if (!probe.defaults.contains("mode")) continue;  // messages between two ranks are no collective
    if (probe.name == operation) return probe;
    names.push_back(probe.name);
  }
  const std::string meant = DidYouMean(operation, names);
  throw Error(fmt::format("there is no collective {}{}{}; it is one of {}", Clean(operation, 64),
                          meant.empty() ? "" : "; ", meant, fmt::join(names, ", ")));
}

// Whether ranks should be threads of the processes. Rank 0 decides, since a node may have no GPU.
bool WantsThreads(const CollOptions& options, Ranks& processes) {
  if (PerProcessOf(options).Ranks() == 1) return false;
  const std::vector<std::string>& libraries = options.run.backends;
  const bool all_have = std::all_of(libraries.begin(), libraries.end(), collectives::HasThreads);
  const bool any_has = std::any_of(libraries.begin(), libraries.end(), collectives::HasThreads);
  if (any_has && !all_have) throw Error("-t and -g are nccl's: give --backend nccl alone");
  const bool wants = libraries.empty() ? collectives::HasThreads("") : all_have;
  return processes.Broadcast(wants ? "threads" : "processes") == "threads";
}

// Sorts the cases by library, so that the rows of each stand together.
void ChooseBackends(std::vector<Case>& cases, const std::vector<std::string>& chosen) {
  const auto place = [&](const Case& one) {
    return std::find(chosen.begin(), chosen.end(), one.backend) - chosen.begin();
  };
  std::erase_if(cases, [&](const Case& one) {
    return static_cast<std::size_t>(place(one)) == chosen.size();
  });
  std::stable_sort(cases.begin(), cases.end(),
                   [&](const Case& a, const Case& b) { return place(a) < place(b); });
}

}  // namespace

int RunColl(const CollOptions& asked, const Catalog& catalog) {
  CollOptions options = asked;
  const Modules modules = Modules::Load();
  const Seconds watchdog(options.run.watchdog_s);
  JoinedRanks ranks = JoinRanks(modules, options.run.bootstrap, watchdog, options.allow_single);
  if (WantsThreads(options, *ranks)) {
    ranks = InThreads(
        std::move(ranks), PerProcessOf(options),
        [&modules, &catalog, run = options.run] { return MakeMember(run, modules, catalog); },
        watchdog);
  }
  if (ranks->Rank() != 0) {
    OutliveRankZero();
    FollowAsMember(*ranks, MakeMember(options.run, modules, catalog), watchdog);
    return kAllWell;
  }
  Console console(options.run.quiet || !options.program.empty());
  const std::unique_ptr<Cluster> cluster = MakeCluster(options.run, modules, *ranks, catalog);
  Setup setup = MakeSetup(options.run, modules);
  setup.roster = cluster->WhoIsThere();
  setup.allow_single = options.allow_single;
  const std::vector<Probe> probes = collectives::Probes(setup);
  const Probe& probe = ProbeOf(probes, options.operation);
  const auto is_of_others = [&](const std::string& name) {
    return std::ranges::count(probe.backends, name) == 0;
  };
  // A name that the collective doesn't have may be one of another probe.
  if (std::ranges::any_of(options.run.backends, is_of_others)) {
    CheckChoice(options.run, AllProbes(setup));
  }
  std::erase_if(options.run.backends, is_of_others);
  if (options.run.backends.empty() && !asked.run.backends.empty()) {
    throw NothingLeft(asked.run, {probe.name}, probes);
  }
  const std::map<std::string, std::string> environment = NcclTestsEnvironment();
  const collectives::UsualLibrary usual = collectives::UsualLibraryOf(setup);
  if (options.run.backends.empty()) options.run.backends = {usual.name};
  CollPlan coll = PlanColl(options, probe, environment);
  if (std::string note = UnjoinedNote(options.run.bootstrap); !note.empty()) {
    coll.notes.push_back(std::move(note));
  }
  if (asked.run.backends.empty() && !usual.instead.empty()) {
    coll.notes.push_back(
        fmt::format("backend {}, since mpi can't run here: {}", usual.name, usual.instead));
  }
  const Params first = coll.questions.front().params;
  const bool is_alone = WereStarted(options) && ranks->Size() < 2;
  if ((IntegerOf(first, "ranks") < 2 || is_alone) && !options.allow_single) {
    throw Error(
        "one rank has nobody to exchange with, and would show a bus bandwidth of 0; start at least "
        "two (mpirun -np 2), or without a launcher --ranks 2; --allow-single runs one all the "
        "same");
  }

  const auto cases_of = [&](const std::vector<Question>& questions) {
    std::vector<Case> cases = UnfoldQuestions(questions, probes, options.run);
    ChooseBackends(cases, options.run.backends);
    for (Case& one : cases) one.across.value().how = coll.how;
    return PlacedOn(*cluster, std::move(cases), options.run.require_transport);
  };
  Plan plan = {.cases = cases_of(coll.questions),
               .engine = coll.engine,
               .command = CollCommand(asked, coll),
               .may_lack_file = !options.program.empty()};
  if (std::string note = SharedNote(plan.cases); !note.empty()) {
    coll.notes.push_back(std::move(note));
  }
  // The number of GPUs is checked before anything is made.
  if (ranks->Size() > 1 && collectives::HasThreads(options.run.backends[0])) {
    cluster->AskWhereabouts(plan.cases.front());
  }
  // nccl-tests' own file is never written over.
  std::vector<AskedFile> files = FilesBeside(options.run);
  files.push_back({.kind = OutputKind::kNcclJson, .path = options.output_file});
  CheckFiles(files, options.run.out);
  std::optional<Bisection> bisection;
  const OutputFormat format = options.run.format;
  const bool prints = format == OutputFormat::kTable || format == OutputFormat::kNccl;
  NcclOptions look = PlanLook(options, coll, probe, environment);
  Run header;
  std::optional<NcclTable> table;
  std::optional<RowPrinter> printer;
  std::map<std::string, Record> cycles;  // the record after the last cycle of each case
  plan.begins = [&](const Run& run, const Chosen& price, const std::string& no_file) {
    header = run;
    if (!no_file.empty()) look.notes.push_back(no_file);
    Complete(look, header, price, *cluster, plan.cases, first, coll.groups, catalog);
    table.emplace(look);
    printer.emplace(*table, console, TypeOf(header, catalog.instances), prints);
    if (prints) console.Result(table->Head());
  };
  if (coll.exact) {
    plan.visited = [&](const Record& record, int) {
      const auto [before, is_first] = cycles.try_emplace(RecordKey(record), record);
      printer->Add(OfNewestVisit(record, is_first ? nullptr : &before->second));
      before->second = record;
    };
  }
  if (options.bisect) {
    std::vector<int> nodes;
    std::vector<std::string> hosts;
    Case on_hosts = CaseToDescribe(plan.cases);
    on_hosts.across->on_devices = false;
    for (const Whereabouts& one : cluster->AskWhereabouts(on_hosts)) {
      nodes.push_back(one.node);
      hosts.push_back(one.host);
    }
    bisection.emplace(nodes, hosts);
    const auto in_groups = [&](const std::string& split) {
      if (split.empty()) return std::vector<Case>();
      Question question = coll.questions.front();
      question.params["split"] = split;
      std::vector<Case> cases = cases_of({question});
      if (cases.size() != 1) throw Error("--bisect runs over one --backend at a time");
      return cases;
    };
    plan.cases = in_groups(bisection->Next({}));
    plan.more = [&bisection, &table, &console, prints,
                 in_groups](const std::vector<Record>& records) {
      if (prints) console.Result(GroupsText(bisection->Asked(), records));
      for (const Record& record : records) table->Row(&record, nullptr, "");
      return in_groups(bisection->Next(records));
    };
  }
  Measured measured = MeasureHere(plan, options.run, *cluster, catalog, console);
  if (!coll.exact && !bisection) {
    for (const Record& record : measured.run.records) printer->Add(record);
  }
  printer->Finish();
  if (prints && bisection) {
    console.Result(bisection->Verdict());
  } else if (prints) {
    const std::string models = CostModelText(measured.run.records, options.project);
    const std::string drift = options.duration_s ? DriftText(measured.run.records) : "";
    console.Result(SlowestGroupText(measured.run.records) + models + drift + table->Foot());
    if (options.project && models.empty()) {
      console.Error("assay: --project needs a sweep of at least three sizes to fit\n");
    }
  }
  measured.handout.SetTable(*table, LocalTime());
  if (!prints) console.Result(OutputText(PrintedAs(format), measured.handout));
  ReportFiles(measured, files, console);
  const std::vector<std::string> shortfalls = Shortfalls(measured.run, options.expect, catalog);
  for (const std::string& shortfall : shortfalls) {
    console.Error(fmt::format("assay: {}\n", shortfall));
  }
  if (!options.run.require_transport.empty()) {
    for (const std::string& reason : ReasonsOf(measured.run)) {
      console.Error(fmt::format("assay: {}\n", reason));
    }
  }
  const int status = ExitStatusOf(measured.run, {options.operation});
  const bool well =
      table->MeetsMinimum() && shortfalls.empty() && !(bisection && bisection->FoundSlow());
  return status == kAllWell && !well ? kMeasuredButNotWell : status;
}

}  // namespace assay
