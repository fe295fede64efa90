#include "runner/commands.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "collectives/collectives.h"
#include "io/io.h"
#include "kernels/kernels.h"
#include "results/compare.h"
#include "results/error.h"
#include "results/figures.h"
#include "results/hash.h"
#include "results/json.h"
#include "results/price.h"
#include "results/privacy.h"
#include "results/report.h"
#include "results/run_file.h"
#include "results/tables.h"
#include "results/text.h"
#include "runner/console.h"
#include "runner/engine.h"
#include "runner/identity.h"
#include "runner/machine.h"
#include "runner/module.h"
#include "runner/suite.h"
#include "version.h"

namespace assay {
namespace {

constexpr int kAllWell = 0;
constexpr int kMeasuredButNotWell = 1;
constexpr int kInterrupted = 130;

// ---- Time ----

std::string Utc(std::time_t at, const char* format) {
  std::tm parts = {};
  gmtime_r(&at, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

std::string Today() { return Utc(std::time(nullptr), "%Y-%m-%d"); }

// ---- Signals ----

volatile std::sig_atomic_t interrupted = 0;

// The first signal ends the run between two batches, so that the file is folded; a second one ends
// the process at once.
void OnSignal(int) {
  if (interrupted != 0) {
    io::RemoveTestFiles();
    _exit(kInterrupted);
  }
  interrupted = 1;
}

void CatchSignals() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaction(signal, &action, nullptr);
}

// ---- What this machine is and costs ----

std::vector<Probe> AllProbes(const Setup& setup) {
  std::vector<Probe> probes = kernels::Probes(setup);
  for (Probe& probe : io::Probes(setup)) probes.push_back(std::move(probe));
  for (Probe& probe : collectives::Probes(setup)) probes.push_back(std::move(probe));
  return probes;
}

IdentityOptions IdentityOptionsFrom(const IdentityFlags& flags) {
  return {.provider = flags.provider,
          .instance = flags.instance,
          .region = flags.region,
          .purchase = flags.purchase,
          .no_metadata = flags.no_metadata,
          .metadata = {.url = flags.metadata_url},
          .instances = Catalog::BuiltIn().instances};
}

Node ThisNode(const Setup& setup, const IdentityFlags& flags) {
  Node node = InspectMachine({.threads = setup.threads});
  Identified identified = Identify(IdentityOptionsFrom(flags), node);
  node.identity = std::move(identified.identity);
  node.notes.insert(node.notes.end(), identified.notes.begin(), identified.notes.end());
  node.node_id = NodeId({});
  node.env = AllowedEnvironment(environ);
  node.storage = io::Volumes(setup);
  for (const auto& software : {kernels::Software(), io::Software(), collectives::Software(setup)}) {
    node.software.insert(software.begin(), software.end());
  }
  return node;
}

// The price behind a run's dollars: typed, or stored in the file, or of this binary's catalog.
Chosen PriceOf(const Run& run, const PricingFlags& flags) {
  const Identity identity = run.nodes.empty() ? Identity{} : run.nodes[0].identity;
  if (flags.price_usd_per_hour) {
    return {.offer = TypedOffer(*flags.price_usd_per_hour, identity, Today()), .why = "as typed"};
  }
  std::vector<Offer> offers = run.offers;
  if (!flags.as_run) {
    std::erase_if(offers, [](const Offer& offer) { return !offer.is_private; });
    const std::vector<Offer> listed =
        OffersFor(Catalog::BuiltIn().offers, identity.provider.value, identity.instance.value);
    offers.insert(offers.end(), listed.begin(), listed.end());
  }
  return ChooseOffer(offers, identity);
}

// ---- run ----

std::string DefaultFileName(const Identity& identity) {
  return fmt::format("{}-{}-{}.json", FileNamePart(identity.provider.value),
                     FileNamePart(identity.instance.value),
                     Utc(std::time(nullptr), "%Y%m%dT%H%M%SZ"));
}

Build ThisBuild() {
  Build build = {
      .version = ASSAY_VERSION, .commit = ASSAY_COMMIT, .dirty = ASSAY_DIRTY, .build = ASSAY_BUILD};
  // Whoever starts the container knows the digest of its image; the image itself can't.
  if (const char* digest = std::getenv("ASSAY_IMAGE_DIGEST")) build.image_digest = digest;
  return build;
}

std::map<std::string, std::vector<std::string>> CommandOf(const RunOptions& options) {
  std::map<std::string, std::vector<std::string>> command = {
      {"probes", options.probes},   {"suite", {options.suite}},  {"set", options.set},
      {"dtype", options.dtypes},    {"device", options.devices}, {"backend", options.backends},
      {"filter", {options.filter}},
  };
  if (options.threads != 0) command["threads"] = {std::to_string(options.threads)};
  if (options.rounds) command["rounds"] = {std::to_string(*options.rounds)};
  if (options.ci) command["ci"] = {fmt::format("{}", *options.ci)};
  if (options.max_seconds) command["max_seconds"] = {fmt::format("{}", *options.max_seconds)};
  std::erase_if(command, [](const auto& entry) {
    return entry.second.empty() || entry.second == std::vector<std::string>{""};
  });
  return command;
}

// Seconds from boot to now, by the kernel's clock.
double SinceBoot() {
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

bool OnOneFileSystem(const std::string& a, const std::string& b) {
  struct stat first = {};
  struct stat second = {};
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev;
}

// Keeps the journal and the progress line while the engine measures.
class Recorder : public Observer {
 public:
  Recorder(Journal& journal, Console& console, int rounds, double estimate_s,
           std::optional<double> usd_per_hour, const RunOptions& options, bool hold_for_storage)
      : journal_(journal),
        console_(console),
        rounds_(rounds),
        estimate_s_(estimate_s),
        usd_per_hour_(usd_per_hour),
        options_(options),
        hold_for_storage_(hold_for_storage) {}

  void VisitBegins(const Case& which, int round, int done, int total) override {
    if (which.probe == "storage" && hold_for_storage_) journal_.HoldBack(true);
    const double elapsed_s = Elapsed();
    const double left_s =
        done < 5 ? std::max(0.0, estimate_s_ - elapsed_s) : elapsed_s / done * (total - done);
    const std::string times = fmt::format(
        "about {} left{}", Duration(left_s),
        usd_per_hour_ ? fmt::format("   {} so far", Usd(*usd_per_hour_ * elapsed_s / 3600)) : "");
    console_.Progress(fmt::format("[{}/{}] {} {}   round {} of {}   {}", done + 1, total,
                                  which.probe, CaseLabel(which.probe, which.params), round, rounds_,
                                  times));
    if (round != round_ && !console_.ShowsProgress()) {
      console_.Note(fmt::format("round {} of {}   {}\n", round, rounds_, times));
    }
    round_ = round;
  }

  void VisitEnds(const Record& record, int round) override {
    journal_.HoldBack(false);
    if (!first_result_s_ && !record.rounds.empty()) first_result_s_ = Elapsed();
    Record scrubbed = record;
    ApplyPrivacy(scrubbed, options_.keep_ids);
    journal_.Append(scrubbed, round);
  }

  double Elapsed() const { return Seconds(std::chrono::steady_clock::now() - begin_).count(); }
  std::optional<double> FirstResult() const { return first_result_s_; }

 private:
  Journal& journal_;
  Console& console_;
  int rounds_;
  double estimate_s_;
  std::optional<double> usd_per_hour_;
  const RunOptions& options_;
  bool hold_for_storage_;
  int round_ = 0;
  std::optional<double> first_result_s_ = {};
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

std::vector<Case> CasesOf(const std::vector<Question>& questions, const std::vector<Probe>& probes,
                          const RunOptions& options) {
  std::vector<Case> cases;
  for (const Question& question : questions) {
    const auto probe = std::find_if(probes.begin(), probes.end(), [&](const Probe& candidate) {
      return candidate.name == question.probe;
    });
    for (Case& unfolded : probe->unfold(question.params)) {
      const auto same = [&](const Case& other) {
        return other.probe == unfolded.probe && other.backend == unfolded.backend &&
               other.params == unfolded.params;
      };
      // Resolved values ("0: automatic") may make two questions one.
      if (std::none_of(cases.begin(), cases.end(), same)) cases.push_back(std::move(unfolded));
    }
  }
  if (cases.empty()) {
    throw Error(fmt::format(
        "nothing can run with --backend {} --device {}; 'assay list' shows what can",
        options.backends.empty() ? "any" : fmt::format("{}", fmt::join(options.backends, ",")),
        options.devices.empty() ? "any" : fmt::format("{}", fmt::join(options.devices, ","))));
  }
  return cases;
}

// A probe asked for by name that could not run at all is a failure; one that merely wasn't possible
// in a plain `assay run` is not.
int ExitStatusOf(const Run& run, const std::vector<std::string>& asked) {
  if (run.status == "interrupted") return kInterrupted;
  std::set<std::string> measured;
  for (const Record& record : run.records) {
    if (record.status == Status::kFailed || record.status == Status::kWrong)
      return kMeasuredButNotWell;
    if (record.status != Status::kSkipped) measured.insert(record.probe);
  }
  for (const std::string& probe : asked) {
    if (!measured.contains(probe)) return kMeasuredButNotWell;
  }
  return kAllWell;
}

// "7 measured, 2 skipped, 0 failed in 1 min 48 s".
std::string Summary(const Run& run, double elapsed_s, const std::optional<double>& usd_per_hour) {
  int measured = 0;
  int skipped = 0;
  int failed = 0;
  for (const Record& record : run.records) {
    if (record.status == Status::kSkipped) {
      ++skipped;
    } else if (record.status == Status::kFailed || record.status == Status::kWrong) {
      ++failed;
    } else {
      ++measured;
    }
  }
  return fmt::format(
      "{} measured, {} skipped, {} failed in {}{}\n", measured, skipped, failed,
      Duration(elapsed_s),
      usd_per_hour ? fmt::format(", which cost {}", Usd(*usd_per_hour * elapsed_s / 3600)) : "");
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file)
    throw Error(
        fmt::format("{} could not be written; is the folder there and writable?", Clean(path)));
}

// A file of several nodes would need the identity and the price of each.
void RefuseSeveralNodes(const std::vector<Probe>& probes) {
  for (const Probe& probe : probes) {
    const auto nodes = probe.defaults.find("nodes");
    if (nodes == probe.defaults.end() || nodes->second == Value(std::int64_t{1})) continue;
    throw Error(
        fmt::format("the launcher started ranks on {} nodes, and a run holds one node so far; "
                    "start them on one",
                    ToText(nodes->second)));
  }
}

int RunThisMachine(const RunOptions& options) {
  const Modules modules = Modules::Load();
  const collectives::JoinedRanks ranks = collectives::JoinRanks(modules);
  if (ranks->Rank() != 0) {
    collectives::Follow(*ranks, modules);
    return kAllWell;
  }
  Console console(options.quiet);
  const Setup setup = {.threads = options.threads,
                       .storage_path = options.storage_path,
                       .backends = options.backends,
                       .devices = options.devices,
                       .modules = &modules,
                       .ranks = ranks.get()};
  const std::vector<Probe> probes = AllProbes(setup);
  RefuseSeveralNodes(probes);
  const Suite suite = LoadSuite(options.suite);
  const std::vector<Question> questions = Unfold(
      suite, probes, {.probes = options.probes, .set = options.set, .dtypes = options.dtypes});
  const std::vector<Case> cases = CasesOf(questions, probes, options);

  Run run = {.id = RandomHex(16),
             .seed = options.seed.value_or(std::stoull(RandomHex(6), nullptr, 16)),
             .status = "interrupted",  // until it is over
             .started = Utc(std::time(nullptr), "%Y-%m-%dT%H:%M:%SZ"),
             .complete = false,
             .rounds = options.rounds.value_or(suite.rounds),
             .assay = ThisBuild(),
             .suite = suite.name,
             .command = CommandOf(options),
             .timeline_s = {{"boot", -SinceBoot()}, {"process", 0.0}},
             .catalog_sha256 = Catalog::BuiltIn().sha256};
  run.nodes = {ThisNode(setup, options.identity)};
  const Identity& identity = run.nodes[0].identity;
  run.offers =
      OffersFor(Catalog::BuiltIn().offers, identity.provider.value, identity.instance.value);
  for (int rank = 0; rank < ranks->Size(); ++rank) run.ranks.push_back({.rank = rank});
  if (options.price_usd_per_hour) {
    run.offers.insert(run.offers.begin(),
                      TypedOffer(*options.price_usd_per_hour, identity, Today()));
  }
  const Chosen price = PriceOf(run, {.price_usd_per_hour = options.price_usd_per_hour});
  const std::optional<double> usd_per_hour = UsdPerHour(run, price.offer);

  // What can be found out to be wrong is, before a file is made.
  EngineOptions engine = {.rounds = run.rounds,
                          .seed = run.seed,
                          .ci = options.ci.value_or(0.01),
                          .until_ci = options.ci.has_value(),
                          .max_case = Seconds(options.max_seconds.value_or(suite.max_case.count())),
                          .filter = options.filter,
                          .gbench_out = options.gbench_out};
  const double estimate_s = EstimateSeconds(cases, engine);
  if (options.max_cost_usd && !usd_per_hour) {
    throw Error("--max-cost needs a price, and none is known here; add --price USD per node-hour");
  }

  const std::string path = options.out.empty() ? DefaultFileName(identity) : options.out;
  Run header = run;
  ApplyPrivacy(header, options.keep_ids, options.keep_price);
  Journal journal(path, header);
  if (!options.report.empty())
    WriteText(options.report, "");  // fails now rather than in two minutes

  console.Note(fmt::format("assay {}   {}\n\n", ASSAY_VERSION, MachineHeader(run.nodes[0])));
  for (const Note& note : run.nodes[0].notes) {
    console.Note(fmt::format("note: {}; fix: {}\n", Clean(note.what), Clean(note.remedy)));
  }
  console.Note(fmt::format(
      "{} cases, {} rounds, about {}{}\n", cases.size(), run.rounds, Duration(estimate_s),
      usd_per_hour ? fmt::format(", about {}", Usd(*usd_per_hour * estimate_s / 3600))
                   : "; " + price.why));

  CatchSignals();
  Recorder recorder(journal, console, run.rounds, estimate_s, usd_per_hour, options,
                    OnOneFileSystem(options.storage_path, path + ".part"));
  engine.stop = [&]() -> std::optional<std::string> {
    if (interrupted != 0) return "interrupted";
    if (options.max_cost_usd && *usd_per_hour * recorder.Elapsed() / 3600 > *options.max_cost_usd) {
      return "cost";
    }
    return std::nullopt;
  };
  run.records = Measure(cases, engine, recorder);
  console.EndProgress();

  run.ended = Utc(std::time(nullptr), "%Y-%m-%dT%H:%M:%SZ");
  run.status = interrupted != 0 ? "interrupted" : "complete";
  run.complete = std::all_of(run.records.begin(), run.records.end(),
                             [](const Record& record) { return record.complete; });
  if (recorder.FirstResult()) run.timeline_s["first_result"] = *recorder.FirstResult();
  run.division = DivisionOf(run);
  Run written = run;
  ApplyPrivacy(written, options.keep_ids, options.keep_price);
  journal.Finish(written);

  console.Result(options.json ? FiguresToJson(run, price.offer) + "\n"
                              : "\n" + RunTable(run, price.offer, console.Colour()) + "\n");
  console.Note(Summary(run, recorder.Elapsed(), usd_per_hour));
  console.Note(fmt::format("wrote {}\n", path));
  if (!options.report.empty()) {
    const std::vector<ReportInput> inputs = {
        {.name = path, .run = written, .offer = price.offer, .price_note = price.why}};
    WriteText(options.report, ReportPage(inputs, Today()));
    console.Note(fmt::format("wrote {}\n", options.report));
  }
  console.Note(fmt::format("next: assay compare OTHER.json {}\n", path));
  return ExitStatusOf(run, options.probes);
}

// ---- the other commands ----

int List() {
  const Modules modules = Modules::Load();
  const Setup setup = {.modules = &modules};
  Console console;
  std::string text = "probes:\n";
  for (const Probe& probe : AllProbes(setup)) {
    text += fmt::format("  {:<12} {}\n", probe.name, probe.summary);
    std::set<std::string> backends;
    for (const Case& which : probe.unfold(probe.defaults)) backends.insert(which.backend);
    text += fmt::format("  {:<12} backends: {}\n", "", fmt::join(backends, ", "));
    text += fmt::format("  {:<12} params: {}\n", "", ToText(probe.defaults));
    const std::optional<Skipped> missing = probe.missing ? probe.missing() : std::nullopt;
    if (missing) {
      text += fmt::format("  {:<12} can't run here: {}; try: {}\n", "", Clean(missing->reason),
                          Clean(missing->remedy));
    }
  }
  text += "\nmodules:\n";
  for (const Modules::Entry& entry : modules.Entries()) {
    if (entry.module != nullptr) {
      text += fmt::format("  {:<12} {}\n", entry.name, Clean(entry.module->version()));
    } else {
      text += fmt::format("  {:<12} not loaded: {}; try: {}\n", entry.name, Clean(entry.reason),
                          Clean(entry.remedy));
    }
  }
  text += "\nlibraries:\n";
  for (const auto& software : {kernels::Software(), io::Software()}) {
    for (const auto& [name, version] : software) {
      text += fmt::format("  {:<12} {}\n", name, Clean(version));
    }
  }
  console.Result(text);
  return kAllWell;
}

int Env(const EnvOptions& options) {
  const Modules modules = Modules::Load();
  Console console;
  console.Result(MachineText(ThisNode({.modules = &modules}, options.identity)));
  return kAllWell;
}

std::vector<Run> ReadRuns(const std::vector<std::string>& paths) {
  std::vector<Run> runs;
  for (const std::string& path : paths) runs.push_back(ReadRun(path));
  return runs;
}

Side SideOf(const std::vector<std::string>& paths, const PricingFlags& pricing) {
  Side side = {.runs = ReadRuns(paths), .names = paths};
  side.offer = PriceOf(side.runs[0], pricing).offer;
  return side;
}

int CompareFiles(const CompareCommand& command) {
  Console console;
  const CompareOptions options = {.within = command.within, .force = command.force};
  if (command.files.size() > 2) {
    std::vector<Side> sides;
    for (const std::string& path : command.files) sides.push_back(SideOf({path}, command.pricing));
    const Ranking ranking = Rank(std::move(sides), options);
    console.Result(command.json ? RankingToJson(ranking) + "\n"
                                : RankingTable(ranking, console.Colour(), Today()));
    return kAllWell;
  }
  const bool bare = command.a.empty();
  const Comparison comparison =
      Compare(SideOf(bare ? std::vector{command.files[0]} : command.a, command.pricing),
              SideOf(bare ? std::vector{command.files[1]} : command.b, command.pricing), options);
  console.Result(command.json  ? ComparisonToJson(comparison) + "\n"
                 : command.csv ? ComparisonCsv(comparison)
                               : ComparisonTable(comparison, console.Colour(), Today()));
  int status = kAllWell;
  for (const CompareRow& row : comparison.rows) {
    if (!command.fail_slower || row.verdict != Verdict::kSlower) continue;
    if (1 - row.change.estimate > *command.fail_slower) {
      console.Error(fmt::format("assay: {} {} is {} slower, more than --fail-slower {} allows\n",
                                row.probe, CaseLabel(row.probe, row.params),
                                Percent(1 - row.change.estimate), Percent(*command.fail_slower)));
      status = kMeasuredButNotWell;
    }
  }
  return status;
}

int Report(const ReportCommand& command) {
  Console console;
  std::vector<ReportInput> inputs;
  for (const std::string& path : command.files) {
    ReportInput input = {.name = path, .run = ReadRun(path)};
    Chosen price = PriceOf(input.run, command.pricing);
    input.offer = std::move(price.offer);
    input.price_note = std::move(price.why);
    inputs.push_back(std::move(input));
  }
  if (!command.out.empty()) {
    WriteText(command.out, ReportPage(inputs, Today()));
    console.Note(fmt::format("wrote {}\n", command.out));
    return kAllWell;
  }
  for (const ReportInput& input : inputs) {
    console.Result(command.json ? FiguresToJson(input.run, input.offer) + "\n"
                                : RunTable(input.run, input.offer, console.Colour()) + "\n");
  }
  return kAllWell;
}

int Price(const PriceCommand& command) {
  Console console;
  console.Result(
      command.show ? PriceShowText(Catalog::BuiltIn(), command.provider, command.instance, Today())
                   : PriceListTable(Catalog::BuiltIn(), command.filter, Today()));
  return kAllWell;
}

}  // namespace

std::string VersionText() {
  std::map<std::string, std::string> libraries = kernels::Software();
  libraries.merge(io::Software());
  std::string text = fmt::format("assay {} (commit {}{})\nbuilt: {}\n", ASSAY_VERSION, ASSAY_COMMIT,
                                 ASSAY_DIRTY ? ", modified" : "", ASSAY_BUILD);
  for (const auto& [name, version] : libraries) text += fmt::format("{}: {}\n", name, version);
  return text;
}

int Execute(const Command& command) {
  struct Visitor {
    int operator()(const PrintOnly& what) const {
      Console().Result(what.text);
      return kAllWell;
    }
    int operator()(const RunOptions& options) const { return RunThisMachine(options); }
    int operator()(const ListOptions&) const { return List(); }
    int operator()(const EnvOptions& options) const { return Env(options); }
    int operator()(const CompareCommand& options) const { return CompareFiles(options); }
    int operator()(const ReportCommand& options) const { return Report(options); }
    int operator()(const PriceCommand& options) const { return Price(options); }
  };
  return std::visit(Visitor(), command);
}

}  // namespace assay
