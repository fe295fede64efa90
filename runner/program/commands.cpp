#include "runner/program/commands.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "io/io.h"
#include "kernels/kernels.h"
#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/text.h"
#include "results/catalog/bill.h"
#include "results/catalog/own_prices.h"
#include "results/catalog/price.h"
#include "results/catalog/price_check.h"
#include "results/catalog/price_import.h"
#include "results/figures/compare.h"
#include "results/figures/figures.h"
#include "results/figures/group_prices.h"
#include "results/figures/labels.h"
#include "results/figures/once.h"
#include "results/figures/plan.h"
#include "results/figures/run_groups.h"
#include "results/file/privacy.h"
#include "results/file/run_file.h"
#include "results/show/csv.h"
#include "results/show/report.h"
#include "results/show/writer.h"
#include "runner/cluster/cluster.h"
#include "runner/cluster/join.h"
#include "runner/core/module.h"
#include "runner/program/choice.h"
#include "runner/program/coll.h"
#include "runner/program/console.h"
#include "runner/program/machine.h"
#include "runner/program/measure.h"
#include "runner/program/noise_runs.h"
#include "runner/program/outputs.h"
#include "runner/program/result_files.h"
#include "runner/program/setup.h"
#include "runner/program/signals.h"
#include "runner/program/suite.h"
#include "version.h"

namespace assay {
namespace {

std::unique_ptr<Writer> Writing(OutputFormat format, const Catalog& catalog,
                                const Console& console) {
  return MakeWriter(format, catalog, {.colour = console.Colour(), .today = Today()});
}

std::map<std::string, std::vector<std::string>> RunCommand(const RunOptions& options) {
  std::map<std::string, std::vector<std::string>> command = {
      {"probes", options.probes},   {"suite", {options.suite}},  {"set", options.set},
      {"dtype", options.dtypes},    {"device", options.devices}, {"backend", options.backends},
      {"filter", {options.filter}},
  };
  if (options.ranks != 0) command["ranks"] = {std::to_string(options.ranks)};
  if (!options.bootstrap.empty()) command["bootstrap"] = {options.bootstrap};
  if (!options.regime.empty()) command["regime"] = {options.regime};
  if (options.threads != 0) command["threads"] = {std::to_string(options.threads)};
  if (options.rounds) command["rounds"] = {std::to_string(*options.rounds)};
  if (options.ci) command["ci"] = {fmt::format("{}", *options.ci)};
  if (options.max_seconds) command["max_seconds"] = {fmt::format("{}", *options.max_seconds)};
  if (options.rest_s) command["rest"] = {fmt::format("{}", *options.rest_s)};
  std::erase_if(command, [](const auto& entry) {
    return entry.second.empty() || entry.second == std::vector<std::string>{""};
  });
  return command;
}

int RunThisMachine(const RunOptions& options, const Catalog& catalog) {
  const Modules modules = Modules::Load();
  const JoinedRanks ranks = JoinRanks(modules, options.bootstrap, Seconds(options.watchdog_s));
  if (options.ranks > 0 && ranks->Size() > 1) {
    throw Error("--ranks starts ranks, and a launcher has started this one: leave --ranks out");
  }
  if (ranks->Rank() != 0) {
    OutliveRankZero();
    FollowAsMember(*ranks, MakeMember(options, modules, catalog), Seconds(options.watchdog_s));
    return kAllWell;
  }
  Console console(options.quiet);
  if (const std::string note = UnjoinedNote(options.bootstrap); !note.empty()) {
    console.Error(fmt::format("assay: {}\n", note));
  }
  const std::unique_ptr<Cluster> cluster = MakeCluster(options, modules, *ranks, catalog);
  Setup setup = MakeSetup(options, modules);
  setup.roster = cluster->WhoIsThere();
  const Suite suite = LoadSuite(options.suite);
  std::vector<Case> cases = CasesOfRun(options, suite, AllProbes(setup));
  for (const std::string& probe : options.probes) {
    if (std::ranges::count(cases, probe, &Case::probe) > 0) continue;
    console.Error(fmt::format("assay: {} is not measured: it runs by none of {}\n", probe,
                              ChoiceText(options)));
  }
  const Plan plan = {
      .cases = PlacedOn(*cluster, std::move(cases), options.require_transport),
      .suite = suite.name,
      .engine = {.rounds = options.rounds.value_or(suite.rounds),
                 .ci = options.ci.value_or(0.01),
                 .until_ci = options.ci.has_value(),
                 .max_case = Seconds(options.max_seconds.value_or(suite.max_case.count())),
                 .max_spans_case =
                     Seconds(options.max_seconds.value_or(suite.max_spans_case.count())),
                 .rest = Seconds(options.rest_s.value_or(10)),
                 .filter = options.filter},
      .command = RunCommand(options),
      .tells_cases = true};
  const Measured measured = MeasureHere(plan, options, *cluster, catalog, console);
  if (options.format == OutputFormat::kTable) {
    const PricedRun one = {.run = &measured.run, .price = &measured.price};
    console.Result("\n" + Writing(options.format, catalog, console)->Figures({&one, 1}));
  } else {
    console.Result(OutputText(PrintedAs(options.format), measured.handout));
  }
  ReportFiles(measured, FilesBeside(options), console);
  return ExitStatusOf(measured.run, options.probes);
}

int List() {
  ModuleSearch search = ModuleSearch::Usual();
  search.skips_driverless = true;
  const Modules modules = Modules::Load(search);
  Setup setup = MakeSetup({}, modules);
  setup.roster = OpenCluster({.modules = &modules})->WhoIsThere();
  std::map<std::string, std::string> libraries = kernels::Software();
  libraries.merge(io::Software());
  Console().Result(ListText(AllProbes(setup), modules, libraries));
  return kAllWell;
}

int Env(const EnvOptions& options, const Catalog& catalog) {
  const Modules modules = Modules::Load();
  Console console;
  console.Result(MachineText(ThisNode({.modules = &modules}, options.identity, catalog)));
  return kAllWell;
}

Side SideOf(const std::vector<std::string>& paths, const PricingFlags& pricing,
            const Catalog& catalog) {
  Side side = {.runs = ReadAllRuns(paths), .names = paths};
  std::vector<const Run*> runs;
  for (const Run& run : side.runs) runs.push_back(&run);
  side.price = ChoosePrice(runs, pricing, catalog);
  return side;
}

// The exit status that --fail-slower asks for, after the reasons are printed. Cases that are slower
// count before cases that can't be told.
int FailSlower(const Comparison& comparison, double share, Console& console) {
  struct Untold {
    int cases = 0;
    std::string first = {};
    int more_runs = 0;
  };
  Untold guessed;
  Untold wide;
  int status = kAllWell;
  for (const CompareRow& row : comparison.rows) {
    const std::string name = CaseWords(row.probe, row.params);
    if (row.slower_than->is_so) {
      console.Error(fmt::format("assay: {} is {}{} slower, more than --fail-slower {} allows\n",
                                Clean(name), row.IsGuessed() ? "by a guess " : "",
                                Percent(1 - row.change.estimate), Percent(share)));
      status = kMeasuredButNotWell;
    }
    if (row.slower_than->is_told) continue;
    Untold& untold = row.IsGuessed() ? guessed : wide;
    if (++untold.cases == 1) untold.first = name;
    untold.more_runs = std::max(untold.more_runs, row.slower_than->more_runs.value_or(0));
  }
  const auto say = [&](const Untold& untold, const std::string& remedy) {
    if (untold.cases == 0) return;
    console.Error(fmt::format("assay: --fail-slower {} can't be told in {} of {} ({}{}): {}\n",
                              Percent(share), untold.cases,
                              CountText(comparison.rows.size(), "case"), Clean(untold.first),
                              untold.cases > 1 ? ", …" : "", remedy));
    if (status == kAllWell) status = kCantTell;
  };
  say(guessed,
      "σ is a guess; measure it with 'assay noise', or give two runs or more of each side");
  say(wide, fmt::format("it takes {}{} more {} a side", wide.more_runs,
                        wide.more_runs >= kManyRuns ? " or more" : "",
                        wide.more_runs == 1 ? "run" : "runs"));
  // Cases without a pair are not passed in silence, since they may be the ones that broke.
  const auto unpaired = [&](std::size_t cases, const std::string& what) {
    if (cases == 0) return;
    console.Error(fmt::format("assay: --fail-slower {} can't be told in {} more: {}\n",
                              Percent(share), cases, what));
    if (status == kAllWell) status = kCantTell;
  };
  const std::vector<std::string>& lost = comparison.only_baseline;
  unpaired(lost.size(),
           fmt::format("the candidate has no figure of {}{}; measure it there too",
                       lost.empty() ? "" : Clean(lost.front()), lost.size() > 1 ? ", …" : ""));
  unpaired(comparison.refused,
           "both sides have them, and they are not compared; the notes say why");
  return status;
}

// Whether the command is about two sides: those that are named, or two plain files of which nothing
// is asked that only groups have.
bool IsOfTwoSides(const CompareCommand& command, const ResultFiles& files) {
  if (!command.a.empty()) return true;
  return files.paths.size() == 2 && !files.has_folder && command.files.size() == 2 &&
         !command.groups.by && command.groups.purchases.empty() && command.groups.weights.empty() &&
         !command.groups.per_gpu && !command.nodes && !command.all_pairs;
}

GroupOptions OptionsOfGroups(const GroupFlags& flags, const PricingFlags& pricing,
                             const Catalog& catalog) {
  GroupOptions options = {.by = flags.by.value_or(GroupBy::kType),
                          .instances = catalog.instances,
                          .offers = catalog.offers,
                          .today = Today(),
                          .noise = OwnNoise(flags.noise),
                          .primary = flags.primary,
                          .force = flags.force,
                          .purchases = flags.purchases,
                          .as_run = pricing.as_run,
                          .price_usd_per_hour = pricing.price_usd_per_hour,
                          .owned = pricing.owned,
                          .per_gpu = flags.per_gpu};
  if (!flags.weights.empty()) {
    constexpr std::int64_t kMost = 1 << 20;
    options.weights =
        ParseWeights(ReadText(flags.weights, kMost, "a CSV with the columns case and weight"),
                     Clean(flags.weights, 1024));
  }
  return options;
}

// The groups as sides, whose runs are read in full.
std::vector<Side> SidesOf(const std::vector<RunGroup>& groups,
                          const std::vector<RunBrief>& briefs) {
  std::vector<Side> sides;
  for (const RunGroup& group : groups) {
    Side side = {.price = group.prices.front()};
    for (const std::size_t run : group.runs) side.names.push_back(briefs[run].file);
    side.runs = ReadAllRuns(side.names);
    side.group = group.name;
    sides.push_back(std::move(side));
  }
  return sides;
}

int ShowComparison(Side baseline, Side candidate, const CompareCommand& command,
                   const CompareOptions& options, const Catalog& catalog, Console& console,
                   const std::vector<std::string>& notes = {}) {
  Comparison comparison = Compare(std::move(baseline), std::move(candidate), options);
  comparison.notes.insert(comparison.notes.begin(), notes.begin(), notes.end());
  console.Result(Writing(command.format, catalog, console)->Compared(comparison));
  return command.fail_slower ? FailSlower(comparison, *command.fail_slower, console) : kAllWell;
}

// Compares what many files hold: two groups as two sides, more as a ranking.
int CompareGroups(const CompareCommand& command, const std::vector<std::string>& paths,
                  CompareOptions options, const Catalog& catalog, Console& console) {
  if (paths.size() == 1) {
    throw Error(fmt::format(
        "compare wants two files, or '--a FILE… --b FILE…', or a folder or more files to "
        "rank; '{}' is one file",
        Clean(paths.front(), 1024)));
  }
  const GroupOptions of_groups = OptionsOfGroups(command.groups, command.pricing, catalog);
  options.are_types = of_groups.by == GroupBy::kType;
  ReadBriefs read = ReadAllBriefs(paths, catalog, command.pricing.as_run);
  std::vector<RunGroup> groups = GroupRuns(read.briefs, of_groups, read.notes);
  const bool is_ranking = groups.size() != 2 || !command.groups.purchases.empty() ||
                          !command.groups.weights.empty() || command.groups.per_gpu ||
                          command.nodes;
  if (is_ranking && command.fail_slower) {
    throw Error(fmt::format(
        "--fail-slower is of two sides, and these files hold {} groups; give two files, or '--a "
        "FILE… --b FILE…'",
        groups.size()));
  }
  if (command.all_pairs) {
    Ranking ranking = Rank(SidesOf(groups, read.briefs), options);
    ranking.notes.insert(ranking.notes.begin(), read.notes.begin(), read.notes.end());
    console.Result(Writing(command.format, catalog, console)->Ranked(ranking));
    return kAllWell;
  }
  if (!is_ranking) {
    std::vector<Side> sides = SidesOf(groups, read.briefs);
    return ShowComparison(std::move(sides[0]), std::move(sides[1]), command, options, catalog,
                          console, read.notes);
  }
  GroupRanking ranking = RankGroups(read.briefs, std::move(groups), of_groups);
  ranking.notes.insert(ranking.notes.begin(), read.notes.begin(), read.notes.end());
  console.Result(Writing(command.format, catalog, console)->Grouped(ranking, command.nodes));
  return kAllWell;
}

int CompareFiles(const CompareCommand& command, const Catalog& catalog) {
  Console console;
  const CompareOptions options = {.instances = catalog.instances,
                                  .within = command.within,
                                  .force = command.groups.force,
                                  .noise = OwnNoise(command.groups.noise),
                                  .primary = command.groups.primary,
                                  .fail_slower = command.fail_slower};
  const ResultFiles files = command.a.empty() ? FindResultFiles(command.files) : ResultFiles{};
  if (!IsOfTwoSides(command, files)) {
    return CompareGroups(command, files.paths, options, catalog, console);
  }
  const bool bare = command.a.empty();
  Side baseline = SideOf(bare ? std::vector{files.paths[0]} : command.a, command.pricing, catalog);
  Side candidate = SideOf(bare ? std::vector{files.paths[1]} : command.b, command.pricing, catalog);
  return ShowComparison(std::move(baseline), std::move(candidate), command, options, catalog,
                        console);
}

int PlanComparison(const PlanCommand& command, const Catalog& catalog) {
  Console console;
  ReadBriefs read;
  if (!command.results.empty()) {
    const ResultFiles files = FindResultFiles(command.results);
    read = ReadAllBriefs(files.paths, catalog, false);
  }
  NodePlan plan = PlanNodes(command.a, command.b,
                            {.resolve = command.resolve,
                             .runs = command.runs,
                             .minutes = command.minutes,
                             .primary = command.primary,
                             .catalog = &catalog,
                             .noise = OwnNoise(command.noise),
                             .briefs = read.briefs,
                             .folder = command.results.size() == 1 ? command.results.front() : ""});
  plan.notes.insert(plan.notes.begin(), read.notes.begin(), read.notes.end());
  console.Result(Writing(command.format, catalog, console)->Planned(plan));
  return plan.nodes ? kAllWell : kCantTell;
}

// The name of a file in a page. A page is passed on to others, so where the path leads through
// somebody's home the file's own name must do.
std::string NameInPage(const std::string& path) {
  if (ScrubText(path) == path) return path;
  return ScrubText(std::filesystem::path(path).filename().string());
}

// Names briefs as a page may show them, and numbers those with the same name: "a.json (1)",
// "a.json (2)".
void NameForPage(std::vector<RunBrief>& briefs) {
  std::map<std::string, int> counts;
  for (RunBrief& brief : briefs) ++counts[brief.file = NameInPage(brief.file)];
  std::map<std::string, int> numbers;
  for (RunBrief& brief : briefs) {
    if (counts.at(brief.file) < 2) continue;
    brief.file += fmt::format(" ({})", ++numbers[brief.file]);
  }
}

// Sentences without what tells a person, since a page is passed on.
void Scrub(std::vector<std::string>& sentences) {
  for (std::string& sentence : sentences) sentence = ScrubText(sentence);
}

// Tells what the run itself cost, where its file keeps that.
void NoteCost(const Run& run, const std::string& path, Console& console) {
  if (!run.cost) return;
  const std::string cost = RunCostText(*run.cost);
  if (cost.empty()) return;
  console.Note(fmt::format("note: {}: the run itself cost {}\n", Clean(path, 1024), cost));
}

// The page of many files: groups as `assay compare` makes them, and each run in full where they are
// few. The price of a single run is the one that `assay run` would say.
std::string PageOf(const ReportCommand& command, const std::vector<std::string>& paths,
                   const Catalog& catalog, Console& console) {
  ReadBriefs read = ReadAllBriefs(paths, catalog, command.pricing.as_run);
  for (const std::string& note : read.notes) console.Note(fmt::format("note: {}\n", note));
  std::vector<ReportInput> inputs;
  if (read.briefs.size() <= kMostInFull) {
    for (const RunBrief& brief : read.briefs) {
      inputs.push_back({.run = ReadRun(brief.file)});
      NoteCost(inputs.back().run, brief.file, console);
    }
  }
  NameForPage(read.briefs);
  Scrub(read.notes);
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i].name = read.briefs[i].file;
  ReportGroups groups = {.briefs = read.briefs, .notes = read.notes};
  GroupOptions options = OptionsOfGroups(command.groups, command.pricing, catalog);
  options.other_prices = true;
  try {
    std::vector<RunGroup> made = GroupRuns(read.briefs, options, groups.notes);
    const bool one_way = command.groups.purchases.empty() || !command.pricing.purchase.empty();
    if (inputs.size() == 1 && one_way && command.groups.purchases.size() < 2) {
      made.front().prices = {ChoosePrice({&inputs.front().run}, command.pricing, catalog)};
      made.front().asked = 1;
      AddOtherPrices(made.front(), catalog.offers);
    }
    for (const RunGroup& group : made) {
      for (const std::size_t run : group.runs) {
        if (run < inputs.size()) inputs[run].price = group.prices.front();
      }
    }
    groups.ranking = RankGroups(read.briefs, std::move(made), options);
    Scrub(groups.ranking->notes);
    Scrub(groups.ranking->differences);
  } catch (const Error& error) {
    if (!command.groups.primary.empty() || !command.groups.weights.empty()) throw;
    groups.unranked = ScrubText(error.what());
  }
  return ReportPage(groups, inputs, catalog, Today());
}

int Report(const ReportCommand& command, const Catalog& catalog) {
  Console console;
  const std::vector<std::string> paths = FindResultFiles(command.files).paths;
  for (const std::string& path : paths) {
    std::error_code error;  // ignored, since reading reports files that aren't there
    if (command.out.empty() || !std::filesystem::equivalent(path, command.out, error)) continue;
    throw Error(
        fmt::format("--out names '{}', which the page is made from; give the page a name of its "
                    "own",
                    Clean(path, 1024)));
  }
  if (!command.out.empty()) {
    WriteText(command.out, PageOf(command, paths, catalog, console), "--out");
    console.Note(fmt::format("wrote {}\n", command.out));
    return kAllWell;
  }
  const std::vector<Run> runs = ReadAllRuns(paths);
  std::vector<NamedRun> named;
  for (std::size_t i = 0; i < runs.size(); ++i)
    named.push_back({.name = paths[i], .run = &runs[i]});
  const Distinct distinct = DistinctRuns(named);
  for (const std::string& note : distinct.notes) console.Note(fmt::format("note: {}\n", note));
  std::vector<PricedRun> shown;
  std::vector<Chosen> prices(runs.size());
  for (const std::size_t i : distinct.kept) {
    NoteCost(runs[i], paths[i], console);
    prices[i] = ChoosePrice({&runs[i]}, command.pricing, catalog);
    shown.push_back({.name = NameInPage(paths[i]), .run = &runs[i], .price = &prices[i]});
  }
  console.Result(Writing(command.format, catalog, console)->Figures(shown));
  return kAllWell;
}

// The catalog with the user's own prices, which are named on standard error. Throws Error where
// `purchases` have owned nodes and nothing tells what they cost; `remedy` says what does.
Catalog WithOwn(const Catalog& built_in, const PricingFlags& flags,
                const std::vector<std::string>& purchases,
                const char* remedy = "--capex USD and --power-kw KW") {
  Catalog catalog = CatalogWith(built_in, flags.sources);
  if (const std::string text = OwnFilesText(catalog); !text.empty()) Console().Note(text);
  if (!flags.owned && std::ranges::count(purchases, "owned") > 0 &&
      std::ranges::count(catalog.offers, "owned", &Offer::purchase) == 0) {
    throw Error(
        fmt::format("--purchase owned: what an owned node costs is not known; give {}", remedy));
  }
  return catalog;
}

// A run as it stands on an invoice, at the price that it was told, or at the one that is asked for.
PaidRun PaidRunOf(const std::string& name, const Run& run, const PricingFlags& flags,
                  const Catalog& catalog) {
  const Identity identity = run.nodes.empty() ? Identity{} : run.nodes[0].identity;
  PaidRun paid = {.name = name,
                  .provider = identity.provider.value,
                  .instance = identity.instance.value,
                  .region = identity.region.value,
                  .purchase = identity.purchase.value,
                  .nodes = static_cast<double>(std::max<std::size_t>(1, run.nodes.size())),
                  .from = run.started,
                  .to = run.ended,
                  .before_s = run.cost ? run.cost->before_s : 0,
                  .kept_usd = run.cost ? run.cost->usd : std::nullopt,
                  .kept_billed_s = run.cost ? run.cost->billed_s : std::nullopt};
  const PriceSources& sources = flags.sources;
  const bool is_asked = flags.as_run || flags.price_usd_per_hour || flags.owned ||
                        !flags.purchase.empty() || !sources.files.empty() ||
                        !sources.as_of.empty() || !sources.discounts.empty();
  if (!is_asked && run.cost && run.cost->usd_per_node_hour) {
    paid.usd_per_node_hour = run.cost->usd_per_node_hour;
    paid.price =
        fmt::format("{} an hour, as the run was told ({}, {})", Usd(*run.cost->usd_per_node_hour),
                    Clean(run.cost->purchase, 32), Clean(run.cost->price_date, 32));
    return paid;
  }
  const Chosen chosen = ChoosePrice({&run}, flags, catalog);
  paid.usd_per_node_hour = UsdPerNodeHour(chosen);
  if (!paid.usd_per_node_hour) return paid;
  paid.price = fmt::format("{} an hour ({}, {})", Usd(*paid.usd_per_node_hour),
                           PurchaseWords(*chosen.offer), Clean(chosen.offer->source));
  return paid;
}

// Holds runs against an invoice. The exit status is 1 where one isn't as billed.
int HoldRunsAgainstBill(const PriceCommand& command, const Catalog& catalog) {
  constexpr std::int64_t kMostBytes = std::int64_t{256} << 20;
  Console console;
  const std::vector<std::string> paths = FindResultFiles(command.runs).paths;
  const std::vector<Run> runs = ReadAllRuns(paths);
  std::vector<NamedRun> named;
  for (std::size_t i = 0; i < runs.size(); ++i) named.push_back({paths[i], &runs[i]});
  const Distinct distinct = DistinctRuns(named);
  for (const std::string& note : distinct.notes) console.Note(fmt::format("note: {}\n", note));
  std::vector<PaidRun> paid;
  for (const std::size_t i : distinct.kept) {
    PaidRun one = PaidRunOf(paths[i], runs[i], command.pricing, catalog);
    const bool is_named = std::ranges::count(command.runs, paths[i]) > 0;
    if (const std::string why = NoTimes(one); !why.empty() && !is_named) {
      console.Note(fmt::format("note: left out {}: {}\n", Clean(paths[i], 1024), why));
      continue;
    }
    paid.push_back(std::move(one));
  }
  if (paid.empty()) throw Error("no run that is named tells when it began and ended; name one");
  const Bill bill =
      HoldAgainstBill(paid, ReadText(command.focus, kMostBytes, "an invoice in FOCUS 1.x, as CSV"),
                      Clean(command.focus, 1024), command.import.usd_per);
  console.Result(BillText(bill, command.within));
  return IsAsBilled(bill, command.within) ? kAllWell : kMeasuredButNotWell;
}

int ImportPrices(const PriceCommand& command, const Catalog& catalog) {
  Console console;
  std::error_code error;  // ignored, since reading reports a file that isn't there
  if (!command.out.empty()) {
    if (std::filesystem::equivalent(command.file, command.out, error)) {
      throw Error(fmt::format("--out names '{}', which is read; give the price file another name",
                              Clean(command.out, 1024)));
    }
    CheckWritable(command.out, "--out");
  }
  const Imported imported = ImportPriceFile(command.file, command.import, catalog);
  const std::string told = ImportedText(imported);
  if (imported.offers.empty()) {
    console.Error(told);
    throw Error(
        fmt::format("{}: nothing in it becomes an offer, and no file is written; the lines "
                    "above say why",
                    Clean(command.file, 1024)));
  }
  const std::string csv = OffersCsv(imported.offers);
  if (command.out.empty()) {
    console.Result(csv);
    console.Note(told);
  } else {
    WriteText(command.out, csv, "--out");
    console.Result(fmt::format("{}wrote {}\n", told, command.out));
  }
  return kAllWell;
}

int Price(const PriceCommand& command, const Catalog& built_in) {
  if (command.does == PriceCommand::Does::kImport) return ImportPrices(command, built_in);
  Console console;
  const std::string& purchase = command.pricing.purchase;
  const bool takes_capex =
      command.does == PriceCommand::Does::kShow || command.does == PriceCommand::Does::kBill;
  Catalog catalog = WithOwn(built_in, command.pricing, {purchase},
                            takes_capex ? "--capex USD and --power-kw KW"
                                        : "--prices FILE with such offers, or ask 'assay price "
                                          "show' with --capex USD and --power-kw KW");
  if (command.does == PriceCommand::Does::kBill) return HoldRunsAgainstBill(command, catalog);
  const std::string& as_of = command.pricing.sources.as_of;
  const std::string today = as_of.empty() ? Today() : as_of;
  if (command.does == PriceCommand::Does::kCheck) {
    const std::vector<std::string> findings = PriceFindings(catalog, today);
    console.Result(PriceCheckText(catalog, findings, today));
    return findings.empty() ? kAllWell : kMeasuredButNotWell;
  }
  if (command.pricing.owned) {
    const InstanceFacts* facts =
        FindInstance(catalog.instances, command.provider, command.instance);
    catalog.offers.insert(
        catalog.offers.begin(),
        OwnedOffer(*command.pricing.owned, facts == nullptr ? command.provider : facts->provider,
                   facts == nullptr ? command.instance : facts->instance, today));
  }
  if (!purchase.empty()) {
    std::erase_if(catalog.offers, [&](const Offer& offer) { return offer.purchase != purchase; });
  }
  const std::unique_ptr<Writer> writer =
      MakeWriter(command.format, catalog, {.colour = console.Colour(), .today = today});
  console.Result(command.does == PriceCommand::Does::kShow
                     ? writer->OffersOf(command.provider, command.instance)
                     : writer->Offers(command.filter));
  return kAllWell;
}

}  // namespace

std::string ListText(const std::vector<Probe>& probes, const Modules& modules,
                     const std::map<std::string, std::string>& libraries) {
  constexpr const char* kLine = "  {:<14} {}\n";
  const auto why = [](const std::string& reason, const std::string& remedy) {
    return fmt::format("{}; try: {}", Clean(reason), Clean(remedy));
  };
  std::map<std::string, std::set<std::string>> others;  // backends, by why; no module's state is it
  std::string text = "probes:\n";
  for (const Probe& probe : probes) {
    const auto absent = probe.absent ? probe.absent() : std::map<std::string, Skipped>();
    std::vector<std::string> here;
    std::vector<std::string> not_here;
    for (const std::string& backend : probe.backends) {
      const auto found = absent.find(backend);
      if (found == absent.end()) {
        here.push_back(backend);
        continue;
      }
      const Skipped& no = found->second;
      if (no.module.empty()) {
        others[why(no.reason, no.remedy)].insert(backend);
        not_here.push_back(backend);
      } else {
        not_here.push_back(fmt::format("{} (module {})", backend, no.module));
      }
    }
    const std::string backends = here.empty() ? "none" : fmt::format("{}", fmt::join(here, ", "));
    text += fmt::format(kLine, probe.name, probe.summary);
    text +=
        fmt::format(kLine, "",
                    fmt::format("backends: {}{}{}", backends,
                                not_here.empty() ? "" : "; not here: ", fmt::join(not_here, ", ")));
    text += fmt::format(kLine, "", "params: " + ToText(probe.defaults));
  }
  text += "\nmodules:\n";
  for (const Modules::Entry& entry : modules.Entries()) {
    text += fmt::format(kLine, entry.name,
                        entry.module != nullptr ? Clean(entry.module->version())
                                                : "not loaded: " + why(entry.reason, entry.remedy));
  }
  if (!others.empty()) text += "\nbackends that can't run here:\n";
  for (const auto& [reason, backends] : others) {
    text += fmt::format("  {}: {}\n", fmt::join(backends, ", "), reason);
  }
  text += "\nlibraries:\n";
  for (const auto& [name, version] : libraries) text += fmt::format(kLine, name, Clean(version));
  return text;
}

std::string VersionText() {
  std::map<std::string, std::string> libraries = kernels::Software();
  libraries.merge(io::Software());
  std::string text = fmt::format("assay {} (commit {}{})\nbuilt: {}\n", ASSAY_VERSION, ASSAY_COMMIT,
                                 ASSAY_DIRTY ? ", modified" : "", ASSAY_BUILD);
  for (const auto& [name, version] : libraries) text += fmt::format("{}: {}\n", name, version);
  return text;
}

int Execute(const Command& command, const Catalog& (*catalog)()) {
  struct Visitor {
    const Catalog& (*catalog)();

    int operator()(const PrintOnly& what) const {
      Console().Result(what.text);
      return kAllWell;
    }
    int operator()(const RunOptions& options) const { return RunThisMachine(options, catalog()); }
    int operator()(const CollOptions& options) const { return RunColl(options, catalog()); }
    int operator()(const ListOptions&) const { return List(); }
    int operator()(const EnvOptions& options) const { return Env(options, catalog()); }
    int operator()(const CompareCommand& options) const {
      return CompareFiles(options, WithOwn(catalog(), options.pricing, options.groups.purchases));
    }
    int operator()(const PlanCommand& options) const {
      return PlanComparison(options, WithOwn(catalog(), {.sources = options.sources}, {}));
    }
    int operator()(const NoiseOptions& options) const { return MeasureNoise(options); }
    int operator()(const ReportCommand& options) const {
      return Report(options, WithOwn(catalog(), options.pricing, options.groups.purchases));
    }
    int operator()(const PriceCommand& options) const { return Price(options, catalog()); }
  };
  return std::visit(Visitor{catalog}, command);
}

}  // namespace assay
