#include "runner/program/measure.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "io/io.h"
#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/hash.h"
#include "results/base/text.h"
#include "results/figures/compare.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"
#include "results/figures/probes.h"
#include "results/file/nodes.h"
#include "results/file/privacy.h"
#include "results/file/run_file.h"
#include "results/show/notes.h"
#include "results/show/tables.h"
#include "runner/core/time_left.h"
#include "runner/program/identity.h"
#include "runner/program/machine.h"
#include "runner/program/setup.h"
#include "runner/program/signals.h"
#include "version.h"

namespace assay {
namespace {

// The time that ranks of a launcher have to end by themselves, once told. Open MPI 5 kills them
// after a quarter of a second, and the file must be kept by then.
constexpr Seconds kGrace(0.1);

std::string Utc(std::time_t at, const char* format) {
  std::tm parts = {};
  gmtime_r(&at, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

// The name of the file of a run that names none. Two runs may begin in one second; the journal
// finds the next free name.
std::string DefaultFileName(const Identity& identity) {
  return fmt::format("{}-{}-{}.json", FileNamePart(identity.provider.value),
                     FileNamePart(identity.instance.value),
                     Utc(std::time(nullptr), "%Y%m%dT%H%M%SZ"));
}

Build ThisBuild() {
  Build build = {
      .version = ASSAY_VERSION, .commit = ASSAY_COMMIT, .dirty = ASSAY_DIRTY, .build = ASSAY_BUILD};
  // The digest of a container's image is known to whoever starts it, and not to the image itself.
  if (const char* image = std::getenv("ASSAY_IMAGE_DIGEST")) {
    build.image_digest = ImageDigestIn(image);
  }
  return build;
}

// The seconds from boot to now, by the kernel's clock.
double SinceBoot() {
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// The seconds from boot to the start of the first process that this one can see, which in a
// container is that of the container: the image is pulled before it. Nothing where it isn't told
// (proc_pid_stat(5), field 22).
std::optional<double> FirstProcessSinceBoot() {
  std::ifstream file("/proc/1/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');  // the name before it may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  const std::vector<std::string> fields = SplitFields(text.substr(name_end + 1), ' ');
  constexpr std::size_t kStartTime = 20;  // "" is the first of them, field 3 the next
  if (fields.size() <= kStartTime) return std::nullopt;
  const std::optional<double> ticks = NumberIn(fields[kStartTime]);
  if (!ticks) return std::nullopt;
  return *ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// The moments until this process began, `since_boot` seconds after boot, as Run::timeline_s has
// them.
std::map<std::string, double> TimelineBefore(double since_boot, bool in_container) {
  std::map<std::string, double> timeline = {{"boot", -since_boot}, {"process", 0.0}};
  const std::optional<double> container = in_container ? FirstProcessSinceBoot() : std::nullopt;
  if (container && *container <= since_boot) timeline["container"] = *container - since_boot;
  return timeline;
}

// The seconds that the nodes were paid for before this run: what was told, else since boot, unless
// that is so long ago that they were hardly rented for this run.
double PaidBefore(const RunOptions& options, double since_boot) {
  constexpr double kRentedForThis = 3600;
  if (options.paid_before_s) return *options.paid_before_s;
  return since_boot <= kRentedForThis ? since_boot : 0;
}

// Whether the answers behind a record's figure were checked and found right.
bool IsVerified(const Record& record) {
  return record.verify && record.verify->checked > 0 && record.verify->wrong == 0 &&
         (record.status == Status::kOk || record.status == Status::kPartial);
}

bool OnOneFileSystem(const std::string& a, const std::string& b) {
  struct stat first = {};
  struct stat second = {};
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev;
}

// Records, one for each case, which are found by their RecordKey.
class Records {
 public:
  // The record of the same case; a copy is added where there is none.
  Record& Like(const Record& record) {
    const auto [place, is_new] = places_.emplace(RecordKey(record), all_.size());
    return is_new ? all_.emplace_back(record) : all_[place->second];
  }
  const std::vector<Record>& All() const { return all_; }
  std::vector<Record>& All() { return all_; }

 private:
  std::vector<Record> all_ = {};
  std::map<std::string, std::size_t> places_ = {};
};

// The longest period of a quota under which cores that are used have to wait; nothing where all may
// run all the time.
std::optional<Seconds> QuotaPeriodOf(const std::vector<Node>& nodes) {
  std::optional<Seconds> longest;
  for (const Node& node : nodes) {
    if (!node.cpu.quota || !node.cpu.quota_period_s || *node.cpu.quota >= node.cpu.cores_used) {
      continue;
    }
    longest = std::max(longest.value_or(Seconds(0)), Seconds(*node.cpu.quota_period_s));
  }
  return longest;
}

// Counts the accelerators that the cases run on, in the order in which the module counts them:
// those of one device on the first node, and one for each rank where ranks use them together.
void CountUsed(const std::vector<Case>& cases, std::vector<Node>& nodes) {
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    std::set<int> alone;
    int together = 0;
    for (const Case& which : cases) {
      if (which.accelerator && node == 0) alone.insert(*which.accelerator);
      if (which.accelerator || which.device.kind != "gpu") continue;
      const auto ranks =
          std::count_if(which.units.begin(), which.units.end(),
                        [&](const Unit& unit) { return unit.node == static_cast<int>(node); });
      together = std::max(together, static_cast<int>(ranks));
    }
    int left = std::max(static_cast<int>(alone.size()), together);
    for (Accelerator& accelerator : nodes[node].accelerators) {
      accelerator.used = std::min(accelerator.visible, left);
      left -= accelerator.used;
    }
  }
}

// The models of what the cases run on, as their nodes describe them.
void NameDevices(const std::vector<Node>& nodes, std::vector<Case>& cases) {
  for (Case& which : cases) {
    std::set<int> taking_part;
    for (const Unit& unit : which.units) taking_part.insert(unit.node);
    if (taking_part.empty()) taking_part.insert(0);
    std::set<std::string> names;
    for (const int at : taking_part) {
      const Node& node = nodes.at(static_cast<std::size_t>(at));
      if (which.device.kind != "gpu") names.insert(node.cpu.model);
      for (const Accelerator& accelerator : node.accelerators) {
        if (which.device.kind == "gpu" && accelerator.visible > 0) names.insert(accelerator.name);
      }
    }
    which.device.name = names.size() == 1 ? *names.begin() : "";
  }
}

// Fills in the devices that ranks run cases on, for ranks that take part from the beginning.
void TellDevices(const std::vector<Case>& cases, std::vector<RankPlace>& ranks) {
  std::vector<std::set<int>> devices(ranks.size());
  for (const Case& which : cases) {
    if (which.device.kind != "gpu") continue;
    for (const Unit& unit : which.units) {
      const auto rank = static_cast<std::size_t>(unit.rank);
      if (rank < ranks.size()) devices[rank].insert(unit.device);
    }
  }
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    ranks[rank].devices.assign(devices[rank].begin(), devices[rank].end());
  }
}

// Keeps the journal, where there is a file, and the progress line while the engine measures.
class Recorder : public Observer {
 public:
  // `begun` is the run without its records.
  Recorder(Journal* journal, Console& console, const Plan& plan, const Run& begun,
           TimeLeft time_left, RunBill bill, const Privacy& privacy, bool hold_for_storage,
           std::chrono::steady_clock::time_point begin)
      : journal_(journal),
        console_(console),
        plan_(plan),
        begun_(begun),
        time_left_(std::move(time_left)),
        bill_(std::move(bill)),
        privacy_(privacy),
        hold_for_storage_(hold_for_storage),
        begin_(begin),
        visits_from_s_(Elapsed()) {}

  void VisitBegins(const Case& which, int round, int done, int total) override {
    {
      const std::lock_guard lock(mutex_);
      current_ = AskedRecord(which);
      current_->units = which.units;
    }
    if (FindProbe(which.probe).probe_class == ProbeClass::kStorage && hold_for_storage_ &&
        journal_) {
      journal_->HoldBack(true);
    }
    const double elapsed_s = Elapsed();
    const bool soaks = plan_.engine.duration > Seconds(0);
    const std::optional<TimeLeft::Guess> left =
        time_left_.VisitBegins(which, elapsed_s - visits_from_s_);
    const std::string rounds = soaks ? fmt::format("round {}", round)
                                     : fmt::format("round {} of {}", round, plan_.engine.rounds);
    std::string times;
    if (left) {
      times = fmt::format("   {} {} left", left->is_least ? "at least" : "about",
                          Duration(left->seconds));
    }
    if (const std::optional<double> usd = bill_.UsdAfter(elapsed_s)) {
      times += fmt::format("   {} so far", Usd(*usd));
    }
    console_.Progress(fmt::format("[{}/{}] {} {}   {}{}", done + 1, total, which.probe,
                                  CaseLabel(which.probe, which.params), rounds, times));
    // A soak has many rounds, and not all of them are news.
    const bool is_news = !soaks || round == 1 || elapsed_s - noted_s_ >= 10;
    if (round != round_ && is_news && !console_.ShowsProgress()) {
      noted_s_ = elapsed_s;
      console_.Note(fmt::format("{}{}\n", rounds, times));
    }
    round_ = round;
  }

  void VisitEnds(const Record& record, int round) override {
    {
      const std::lock_guard lock(mutex_);
      current_.reset();
      records_.Like(record) = record;
      if (!first_result_s_ && !record.rounds.empty()) first_result_s_ = Elapsed();
      if (!first_verified_s_ && IsVerified(record)) first_verified_s_ = Elapsed();
      if (journal_ && !finished_) Write(record, round);
    }
    // News of a case is its first figure, and later that it lost it.
    const bool is_news =
        told_.insert(fmt::format("{} {}", RecordKey(record), ToText(record.status))).second;
    if (plan_.tells_cases && is_news) {
      console_.Note(ProvisionalLine(begun_, record, plan_.engine.until_ci));
    }
    if (const std::string file = TestFileText(record); !file.empty() && told_.insert(file).second) {
      console_.Note(file + "\n");
    }
    if (plan_.visited) plan_.visited(record, round);
  }

  // Writes the file as far as it has come. May be called in any thread, whatever the measuring one
  // does; with a diagnosis that one hangs. Returns false where the file is written already, or
  // there is none.
  bool WriteUnfinished(Run run, const std::string& status, const std::string& diagnosis = "") {
    const std::lock_guard lock(mutex_);
    if (finished_ || !journal_) return false;
    Records records = records_;
    for (Record& record : records.All()) {
      record.complete = false;
      if (record.stopped.empty()) record.stopped = status;
    }
    if (current_ && !diagnosis.empty()) {
      Record& hanging = records.Like(*current_);
      hanging.status = hanging.rounds.empty() ? Status::kFailed : Status::kPartial;
      hanging.complete = false;
      hanging.reason = diagnosis;
      hanging.remedy = "look at the rank that is named, its host and its link; then run it again";
    }
    run.records = std::move(records.All());
    run.status = status;
    run.ended = Utc(std::time(nullptr), "%Y-%m-%dT%H:%M:%SZ");
    run.division = DivisionOf(run);
    TellTimes(run);
    ApplyPrivacy(run, privacy_);
    journal_->Finish(run);
    finished_ = true;
    return true;
  }

  // Writes the file, unless WriteUnfinished has. Throws Error where that fails.
  void Finish(const Run& written) {
    const std::lock_guard lock(mutex_);
    if (finished_ || !journal_) return;
    journal_->Finish(written);
    finished_ = true;
  }

  // The seconds since the run began.
  double Elapsed() const { return Seconds(std::chrono::steady_clock::now() - begin_).count(); }

  // Adds to the run when its first figures were there, and what it has cost until now.
  void TellTimes(Run& run) const {
    if (first_result_s_) run.timeline_s["first_result"] = *first_result_s_;
    if (first_verified_s_) run.timeline_s["first_verified"] = *first_verified_s_;
    if (run.cost) bill_.Settle(*run.cost, Elapsed(), first_verified_s_);
  }

 private:
  // Writes a visit to the journal. Where that fails nothing is lost yet: the next visit tries
  // again, and so does the end.
  void Write(const Record& record, int round) {
    Record scrubbed = record;
    ApplyPrivacy(scrubbed, privacy_);
    try {
      journal_->HoldBack(false);
      journal_->Append(scrubbed, round);
    } catch (const Unwritten& error) {
      if (!std::exchange(told_unwritten_, true)) {
        console_.Error(fmt::format("assay: {}\n", error.what()));
      }
    }
  }

  Journal* journal_;
  Console& console_;
  const Plan& plan_;
  const Run& begun_;
  TimeLeft time_left_;
  RunBill bill_;
  const Privacy& privacy_;
  bool hold_for_storage_;
  int round_ = 0;
  double noted_s_ = 0;               // when a round was told of
  std::set<std::string> told_ = {};  // what needs no telling again
  bool told_unwritten_ = false;
  std::mutex mutex_ = {};  // guards the members below
  bool finished_ = false;
  Records records_ = {};                // the records after their last visits
  std::optional<Record> current_ = {};  // the record of the case that is being visited
  std::optional<double> first_result_s_ = {};
  std::optional<double> first_verified_s_ = {};
  std::chrono::steady_clock::time_point begin_;
  double visits_from_s_;  // the machine is described before
};

// While it lives, `how` is called with what ranks of the cluster did not end in time.
class WhileHung {
 public:
  WhileHung(Cluster& cluster, Cluster::Hung how) : cluster_(cluster) {
    cluster_.WhenHung(std::move(how));
  }
  ~WhileHung() { cluster_.WhenHung({}); }
  WhileHung(const WhileHung&) = delete;
  WhileHung& operator=(const WhileHung&) = delete;

 private:
  Cluster& cluster_;
};

// The summary of a run: "7 measured, 2 skipped, 0 failed in 1 min 48 s".
std::string Summary(const Measured& measured) {
  const std::string cost = measured.run.cost ? RunCostText(*measured.run.cost) : "";
  int done = 0;
  int skipped = 0;
  int failed = 0;
  for (const Record& record : measured.run.records) {
    if (record.status == Status::kSkipped) {
      ++skipped;
    } else if (record.status == Status::kFailed || record.status == Status::kWrong) {
      ++failed;
    } else {
      ++done;
    }
  }
  return fmt::format("{} measured, {} skipped, {} failed in {}{}\n", done, skipped, failed,
                     Duration(measured.elapsed_s), cost.empty() ? "" : ", which cost " + cost);
}

}  // namespace

bool CostLimit::IsReached(double elapsed_s) {
  const std::lock_guard lock(mutex_);
  longest_s_ = std::max(longest_s_, elapsed_s - last_s_);
  last_s_ = elapsed_s;
  return elapsed_s + longest_s_ + std::min(1.0, most_s_ / 100) > most_s_;
}

std::string Today() { return Utc(std::time(nullptr), "%Y-%m-%d"); }

Chosen ChoosePrice(const std::vector<const Run*>& runs, const PricingFlags& flags,
                   const Catalog& catalog) {
  const Run& run = *runs.front();
  Identity identity = run.nodes.empty() ? Identity{} : run.nodes[0].identity;
  if (!flags.price_usd_per_hour && flags.owned) return OwnedPrice(*flags.owned, identity, Today());
  if (!flags.purchase.empty()) identity.purchase.value = flags.purchase;
  std::vector<Offer> own;
  std::vector<Offer> stored;
  std::ranges::partition_copy(run.offers, std::back_inserter(own), std::back_inserter(stored),
                              &Offer::is_private);
  Chosen chosen = ChooseOffer(flags.as_run ? stored : catalog.offers, identity);
  if (!flags.purchase.empty() && chosen.offer && !chosen.instead_of) chosen.why = "as asked";
  if (chosen.offer && flags.as_run) chosen.why += ", as the file has it";
  if (flags.price_usd_per_hour) {
    own = {TypedOffer(*flags.price_usd_per_hour, identity, Today())};
  } else if (!flags.purchase.empty()) {
    own.clear();  // what was typed with the run is of the way in which it was bought
  }
  if (Chosen price = ChooseOffer(own, identity); price.offer) {
    if (flags.price_usd_per_hour) price.why = "as typed";
    price.note = OffTheList(*price.offer->usd_per_hour, chosen);
    return price;
  }
  std::vector<Node> nodes;
  for (const Run* each : runs) nodes.insert(nodes.end(), each->nodes.begin(), each->nodes.end());
  const std::string apart = PricedApart(nodes);
  if (chosen.offer && !apart.empty()) {
    return {.why = fmt::format("no one offer prices nodes that differ in {}; give what one costs "
                               "on average with --price USD_PER_HOUR",
                               apart)};
  }
  return chosen;
}

Measured MeasureHere(const Plan& plan, const RunOptions& options, Cluster& cluster,
                     const Catalog& catalog, Console& console) {
  EngineOptions engine = plan.engine;
  engine.seed = options.seed.value_or(std::stoull(RandomHex(6), nullptr, 16));
  std::string gbench;
  if (!options.gbench_out.empty())
    engine.gbench = [&](std::string json) { gbench = std::move(json); };
  Run run = {.id = RandomHex(16),
             .campaign = options.campaign.empty() ? std::nullopt : std::optional(options.campaign),
             .seed = engine.seed,
             .status = "interrupted",  // holds until the run is over
             .started = Utc(std::time(nullptr), "%Y-%m-%dT%H:%M:%SZ"),
             .complete = false,
             .rounds = engine.rounds,
             .assay = ThisBuild(),
             .suite = plan.suite,
             .command = plan.command,
             .catalog_sha256 = catalog.sha256};
  const auto begin = std::chrono::steady_clock::now();  // as `started`: all of it is paid for
  const double since_boot = SinceBoot();
  Held held = cluster.Describe();
  run.nodes = std::move(held.nodes);
  run.timeline_s = TimelineBefore(since_boot, run.nodes[0].in_container);
  run.ranks = std::move(held.ranks);
  CountUsed(plan.cases, run.nodes);
  TellDevices(plan.cases, run.ranks);
  std::vector<Note>& notes = run.nodes[0].notes;
  for (Note& note : UnlikeNodes(run.nodes)) notes.push_back(std::move(note));
  const Privacy privacy = {.keep_ids = options.keep_ids,
                           .keep_price = options.keep_price,
                           .hosts = std::move(held.hosts)};
  const Identity& identity = run.nodes[0].identity;
  run.offers = OffersToKeep(catalog.offers, identity);
  if (options.price_usd_per_hour) {
    run.offers.insert(run.offers.begin(),
                      TypedOffer(*options.price_usd_per_hour, identity, Today()));
  }
  const Chosen price =
      ChoosePrice({&run}, {.price_usd_per_hour = options.price_usd_per_hour}, catalog);
  const RunBill bill(catalog.billing, price.offer, static_cast<int>(run.nodes.size()));

  engine.quota_period = QuotaPeriodOf(run.nodes);
  // Everything that can be found to be wrong is found before a file is made.
  const TimeLeft time_left(plan.cases, engine);
  std::optional<TimeLeft::Guess> planned = time_left.Planned();
  std::optional<double> most_s;
  if (options.max_cost_usd) {
    most_s = bill.SecondsFor(*options.max_cost_usd);
    if (!most_s) {
      throw Error(
          "--max-cost needs a price, and none is known here; add --price USD per node-hour");
    }
    if (*most_s <= 0) {
      throw Error(fmt::format("--max-cost {}: the least bill is {} ({}); give that at least",
                              *options.max_cost_usd, Usd(*bill.UsdAfter(0)), bill.Rule()));
    }
  }
  bool is_most = false;  // whether a limit ends it before its plan does
  for (const std::optional<double>& limit_s :
       {most_s, options.max_minutes ? std::optional(60 * *options.max_minutes) : std::nullopt}) {
    if (!planned || !limit_s) continue;
    is_most = is_most || planned->seconds > *limit_s;
    planned->seconds = std::min(planned->seconds, *limit_s);
  }
  run.cost = bill.Begun(planned ? std::optional(planned->seconds) : std::nullopt,
                        PaidBefore(options, since_boot));

  Run header = run;
  ApplyPrivacy(header, privacy);
  const bool is_named = !options.out.empty();
  const std::string out = is_named ? options.out : DefaultFileName(header.nodes[0].identity);
  CheckFiles(FilesBeside(options), out);

  CatchSignals();
  std::optional<Journal> journal;
  std::string no_file;
  try {
    journal.emplace(out, header, is_named ? WhereTaken::kRefuses : WhereTaken::kTakesNext);
  } catch (const Unwritten& error) {
    if (!plan.may_lack_file || is_named) throw;
    no_file = fmt::format("no result file: {}", error.what());
  }
  const std::string path = journal ? journal->Path() : "";

  console.Note(fmt::format("assay {}   {}\n\n{}", ASSAY_VERSION, MachineHeader(run.nodes),
                           NotesText(run.nodes)));
  std::string takes = "for as long as their operations take";
  std::string costs = bill.UsdAfter(0) ? "" : "; " + price.why;
  if (planned) {
    const char* about = is_most ? "at most" : planned->is_least ? "at least" : "about";
    takes = fmt::format("{} {}", about, Duration(planned->seconds));
    if (const std::optional<double>& usd = run.cost->planned_usd) {
      costs = fmt::format(", {} {}", about, Usd(*usd));
      if (run.nodes.size() > 1) costs += fmt::format(" for {} nodes", run.nodes.size());
      if (const std::string rule = bill.Rule(); !rule.empty()) costs += fmt::format(" ({})", rule);
    }
  }
  console.Note(fmt::format("{}, {}, {}{}\n", CountText(plan.cases.size(), "case"),
                           CountText(run.rounds, "round"), takes, costs));
  if (plan.begins) plan.begins(run, price, no_file);

  const Run begun = run;
  Recorder recorder(journal ? &*journal : nullptr, console, plan, begun, time_left, bill, privacy,
                    OnOneFileSystem(options.storage_path, path + ".part"), begin);
  // Where ranks hang, the file says so and is kept, at once where this process is about to end.
  std::atomic<bool> hung = false;
  const WhileHung while_hung(cluster, [&](const std::string& diagnosis, bool last) {
    hung = true;
    if (!last) return;
    try {
      if (!recorder.WriteUnfinished(begun, "failed", diagnosis)) return;
      console.Error(fmt::format("assay: a watchdog expired; wrote {}\n", path));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "assay: %s\n", error.what());
    }
  });
  const bool is_launched = run.ranks.size() > 1;
  std::optional<LastResort> last_resort(
      std::in_place, is_launched ? std::optional(kGrace) : std::nullopt, [&] {
        try {
          // A launcher that loses a rank tells the others to end, which is no interruption by the
          // user.
          const std::string fates = held.fates ? held.fates() : "";
          const std::string why = fates.empty() ? "" : "the launcher told the ranks to end" + fates;
          if (recorder.WriteUnfinished(begun, why.empty() ? "interrupted" : "failed", why)) {
            console.Error(
                fmt::format("assay: {}; wrote {}\n", why.empty() ? "interrupted" : why, path));
          }
        } catch (const std::exception& error) {
          console.Error(fmt::format("assay: {}\n", error.what()));
        }
        io::RemoveTestFiles();
        cluster.Abort(kInterrupted);
      });
  std::optional<CostLimit> cost_limit;
  if (most_s) cost_limit.emplace(*most_s, recorder.Elapsed());
  engine.stop = [&]() -> std::optional<std::string> {
    if (IsToldToEnd()) return "interrupted";
    const double elapsed_s = recorder.Elapsed();
    if (cost_limit && cost_limit->IsReached(elapsed_s)) return "cost";
    if (options.max_minutes && elapsed_s > 60 * *options.max_minutes) return "time";
    return std::nullopt;
  };
  std::vector<Case> cases = plan.cases;
  while (!cases.empty()) {
    engine.elapsed = Seconds(recorder.Elapsed());
    NameDevices(run.nodes, cases);
    std::vector<Record> records = Measure(cases, engine, recorder);
    run.records.insert(run.records.end(), records.begin(), records.end());
    cases.clear();
    if (plan.more && !engine.stop()) cases = plan.more(records);
  }
  console.EndProgress();

  run.ended = Utc(std::time(nullptr), "%Y-%m-%dT%H:%M:%SZ");
  run.status = hung ? "failed" : IsToldToEnd() ? "interrupted" : "complete";
  run.complete = std::all_of(run.records.begin(), run.records.end(),
                             [](const Record& record) { return record.complete; });
  recorder.TellTimes(run);
  run.division = DivisionOf(run);
  Measured measured = {
      .run = run, .price = price, .handout = Handout(std::move(run), privacy, catalog)};
  try {
    recorder.Finish(measured.handout.TheRun());
    measured.path = path;
  } catch (const Error& error) {
    measured.unwritten = error.what();
  }
  last_resort.reset();
  measured.handout.SetFile(measured.path);
  measured.handout.SetGbench(std::move(gbench));
  measured.elapsed_s = recorder.Elapsed();
  return measured;
}

std::vector<AskedFile> FilesBeside(const RunOptions& options) {
  return {{.kind = OutputKind::kPage, .path = options.report},
          {.kind = OutputKind::kGbench, .path = options.gbench_out}};
}

int ExitStatusOf(const Run& run, const std::vector<std::string>& asked) {
  if (run.status == "interrupted") return kInterrupted;
  if (run.status == "failed") return kWatchdog;
  std::set<std::string> measured;
  for (const Record& record : run.records) {
    if (record.status == Status::kFailed || record.status == Status::kWrong ||
        record.status == Status::kPartial) {
      return kMeasuredButNotWell;
    }
    if (record.status != Status::kSkipped) measured.insert(record.probe);
  }
  for (const std::string& probe : asked) {
    if (!measured.contains(probe)) return kMeasuredButNotWell;
  }
  return kAllWell;
}

void ReportFiles(const Measured& measured, std::span<const AskedFile> files, Console& console) {
  // Where the results did not reach standard output, the file is all that there is.
  const auto tell = [&](const std::string& text) {
    ResultsAreLost() ? console.Error(text) : console.Note(text);
  };
  const auto wrote = [&](const std::string& name) { tell(fmt::format("wrote {}\n", name)); };
  tell(Summary(measured));
  if (!measured.path.empty()) wrote(measured.path);
  WriteFiles(files, measured.handout, wrote);
  if (!measured.unwritten.empty()) throw Error(measured.unwritten);
  if (!measured.path.empty()) {
    console.Note(fmt::format("next: assay compare OTHER.json {}\n", measured.path));
  }
}

}  // namespace assay
