#include "runner/core/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <numeric>
#include <regex>
#include <set>
#include <thread>
#include <utility>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/figures.h"
#include "results/figures/pacing.h"
#include "results/figures/probes.h"
#include "results/figures/stats.h"
#include "runner/core/gbench.h"
#include "runner/core/random.h"
#include "runner/core/sampler.h"

namespace assay {
namespace {

// The time for which the roofline of "of here" is sampled before and after
// each visit.
constexpr Seconds kHereTime(0.02);
// The time that preparing, verifying and releasing take beside the samples; used by the estimate
// alone.
constexpr Seconds kVisitOverhead(0.4);
constexpr int kMostRounds = 20;  // as results/figures/stats.h StopAfter
// The distance from its idle temperature that a device may have before a visit that isn't
// sustained.
constexpr double kNearIdle = 3;  // Celsius
constexpr Seconds kRestLook(0.1);
// The most time of a sustained visit, in multiples of its least time.
constexpr double kSustainBound = 5;

// The outcome of one visit.
struct Outcome {
  std::optional<Visit> visit = {};  // nothing: the status says why
  std::vector<Visit> parts = {};    // only for a case with parts
  Status status = Status::kOk;
  std::string reason = {};
  std::string remedy = {};
  std::optional<std::string> stopped = {};  // cut short
  std::optional<Verification> verify = {};
  std::optional<Work> work = {};  // only where the case doesn't know it
  Facts facts = {};
  std::map<std::string, Histogram> histograms = {};
  Seconds spent = {};
};

std::string WrongReason(const Verification& verify) {
  return fmt::format("{} of {} checked elements are wrong: {}", verify.wrong, verify.checked,
                     verify.what.value_or("which ones is not known"));
}

// Adds up two verifications; the first wrong element of the earlier one is kept.
Verification Sum(const Verification& before, Verification latest) {
  latest.checked += before.checked;
  latest.wrong += before.wrong;
  latest.max_error = std::max(before.max_error, latest.max_error);
  if (before.what) latest.what = before.what;
  return latest;
}

Verification ToVerification(const Checked& checked, const char* when, int round) {
  return {.when = when,
          .round = round,
          .checked = checked.checked,
          .wrong = checked.wrong,
          .max_error = checked.max_error,
          .tolerance = checked.tolerance,
          .reference = checked.reference,
          .what = checked.what};
}

// The case beside another one that measures the roofline of here (Case::here), ready to be sampled
// if it can run. One that can't is no error, since the other case is what was asked for.
class Roofline {
 public:
  Roofline(const std::shared_ptr<const Case>& which, std::uint64_t seed) {
    if (!which) return;
    Guard([&] {
      Prepared prepared = which->prepare(seed);
      if (std::holds_alternative<Skipped>(prepared)) return;
      workload_ = std::get<std::unique_ptr<Workload>>(std::move(prepared));
      first_ = workload_->Run(1);
      if (workload_->Verify().wrong > 0) workload_ = nullptr;
    });
  }

  // Appends a few values to `time_s`, which takes about `time`.
  void Measure(std::vector<double>& time_s, Seconds time, const std::function<Seconds()>& now) {
    Guard([&] {
      if (!workload_) return;
      const Sampled sampled = Sample(
          *workload_, first_,
          {.min_samples = 3, .min_time = time / 2, .budget = first_.time + time, .now = now});
      time_s.insert(time_s.end(), sampled.visit.time_s.begin(), sampled.visit.time_s.end());
    });
  }

 private:
  void Guard(const std::function<void()>& body) {
    try {
      body();
    } catch (const std::exception&) {
      workload_ = nullptr;
    }
  }

  std::unique_ptr<Workload> workload_ = {};
  Batch first_ = {};
};

// The temperatures by unit, as far as they are known.
using Temperatures = std::map<int, double>;

Temperatures TemperaturesIn(const std::vector<Telemetry>& readings) {
  Temperatures temperatures;
  for (const Telemetry& reading : readings) {
    if (!reading.temperature_c.empty()) temperatures[reading.unit] = reading.temperature_c.back();
  }
  return temperatures;
}

// A key that is the same for all cases on the same devices, whatever their backends: "gpu 0:0 0:1".
std::string DevicesOf(const Case& which) {
  std::string devices = which.device.kind;
  for (const Unit& unit : which.units) devices += fmt::format(" {}:{}", unit.node, unit.device);
  return devices;
}

// The temperatures of devices before anything runs, by DevicesOf. Each set of devices is read once,
// however many cases it has. Where one can't be read, its visits will say what is wrong.
std::map<std::string, Temperatures> IdleTemperatures(const std::vector<Case>& cases) {
  std::map<std::string, Temperatures> idle;
  for (const Case& each : cases) {
    if (!each.meter) continue;
    const auto [devices, is_new] = idle.try_emplace(DevicesOf(each));
    if (!is_new) continue;
    try {
      if (const auto meter = each.meter()) devices->second = TemperaturesIn(meter->Begin());
    } catch (const std::exception&) {
      continue;
    }
  }
  return idle;
}

// The rest that devices get before a visit.
struct Rest {
  Temperatures idle = {};
  Seconds longest = {};
  std::function<void(Seconds)> sleep = {};
};

// Sleeps until all devices are nearly as cool as when they were idle, or the rest is over. The
// meter's readings count from then on.
void RestUntilCool(Meter& meter, const Rest& rest, const SamplerOptions& sampler) {
  const Seconds begin = sampler.now();
  const auto is_cool = [&] {
    for (const auto& [unit, celsius] : TemperaturesIn(meter.Begin())) {
      const auto idle = rest.idle.find(unit);
      if (idle != rest.idle.end() && celsius > idle->second + kNearIdle) return false;
    }
    return true;
  };
  while (!is_cool() && sampler.now() - begin < rest.longest) {
    if (sampler.stop && sampler.stop()) return;
    rest.sleep(kRestLook);
  }
}

void Shift(std::vector<Telemetry>& telemetry, double by_s) {
  for (Telemetry& one : telemetry) {
    for (double& at_s : one.at_s) at_s += by_s;
  }
}

// Shifts all points in time that a visit holds.
void Shift(Visit& visit, double by_s) {
  Shift(visit.telemetry, by_s);
  if (visit.sustained) Shift(visit.sustained->start, by_s);
}

// Does one visit: prepare, verify, rest, warm up, sample, verify, release. Throws what the workload
// throws.
Outcome VisitOnce(const Case& which, int round, std::uint64_t seed, const SamplerOptions& options,
                  const Rest& rest) {
  SamplerOptions sampler = options;
  const Seconds begin = sampler.now();
  Prepared prepared = which.prepare(seed);
  if (const Skipped* skipped = std::get_if<Skipped>(&prepared)) {
    return {.status = Status::kSkipped, .reason = skipped->reason, .remedy = skipped->remedy};
  }
  Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
  Outcome outcome;
  // Returns false where the answer is wrong, which is then never given a rate.
  const auto verify = [&](const char* when) {
    const Checked checked = workload.Verify();
    outcome.verify = ToVerification(checked, when, round);
    if (checked.wrong == 0) return true;
    outcome.status = Status::kWrong;
    outcome.reason = WrongReason(*outcome.verify);
    outcome.remedy = "no figure of this library or device can be trusted until this is understood";
    return false;
  };

  const Batch first = workload.Run(1);
  if (!verify("first")) return outcome;
  Roofline roofline(which.here, seed);
  std::vector<double> here_time_s;
  if (!sampler.sustain) roofline.Measure(here_time_s, kHereTime, sampler.now);
  const Seconds metered = sampler.now() - begin;
  const std::unique_ptr<Meter> meter = which.meter ? which.meter() : nullptr;
  std::vector<Telemetry> start;
  if (meter && sampler.sustain) {
    start = meter->Begin();
    sampler.sustain->watch = [&](Seconds since) { return meter->Trends(since); };
  } else if (meter) {
    RestUntilCool(*meter, rest, sampler);
  }
  Sampled sampled = Sample(workload, first, sampler);
  std::optional<Sustained>& sustained = sampled.visit.sustained;
  if (meter) {
    sampled.visit.telemetry = meter->Finish(Seconds(sustained ? sustained->heated_s : 0));
  }
  if (sustained) sustained->start = std::move(start);
  Shift(sampled.visit, metered.count());
  outcome.spent = sampled.spent;
  if (sampled.stopped) {
    outcome.stopped = sampled.stopped;
    return outcome;
  }
  // The roofline of a sustained case is measured hot, and for as long as a burst would be.
  roofline.Measure(here_time_s, sampler.sustain ? 2 * sampler.min_time : kHereTime, sampler.now);
  if (!verify("timed")) return outcome;
  outcome.work = workload.OneIteration();
  outcome.facts = workload.Describe();
  if (sampler.period) outcome.facts[kPacedFact] = std::string("CPU quota");
  outcome.histograms = std::move(sampled.histograms);
  outcome.visit = std::move(sampled.visit);
  outcome.visit->here_time_s = std::move(here_time_s);
  outcome.parts = std::move(sampled.parts);
  if (outcome.parts.size() != which.parts.size()) {
    throw Error("the parts of a case were not all measured; report this as a bug");
  }
  return outcome;
}

// The outcome of a visit, as Google Benchmark is told it.
Gbench::Result ToBenchmark(const Outcome& outcome, const Case& which) {
  if (!outcome.visit) return {.why_none = outcome.stopped.value_or(outcome.reason)};
  return {.time_s = UsualTime({.facts = outcome.facts, .rounds = {*outcome.visit}}),
          .work = outcome.work.value_or(which.work)};
}

Outcome Failed(const std::string& reason) { return {.status = Status::kFailed, .reason = reason}; }

// Does one visit and turns an Error into a failed outcome, so that one bad case doesn't lose the
// others.
Outcome VisitGuarded(const Case& which, int round, std::uint64_t seed,
                     const SamplerOptions& sampler, const Rest& rest) {
  try {
    return VisitOnce(which, round, seed, sampler, rest);
  } catch (const std::bad_alloc&) {
    return Failed("there is not enough memory for this case; ask for a smaller one");
  } catch (const std::exception& error) {
    return Failed(error.what());
  }
}

// Adds the counts of `from` to `into`.
void Merge(std::map<std::string, Histogram>& into, const std::map<std::string, Histogram>& from) {
  for (const auto& [name, histogram] : from) {
    Histogram& target = into[name];
    std::map<std::int64_t, std::int64_t> counts(target.counts.begin(), target.counts.end());
    for (const auto& [bucket, count] : histogram.counts) counts[bucket] += count;
    target = {.scheme = histogram.scheme, .counts = {counts.begin(), counts.end()}};
  }
}

// Adds the outcome of a visit to the case's record. `soaks`: EngineOptions::duration is set.
void AddOutcome(Outcome outcome, Record& record, bool soaks) {
  if (outcome.verify) {
    const bool adds = soaks && record.verify;
    record.verify = adds ? Sum(*record.verify, *outcome.verify) : *outcome.verify;
  }
  if (outcome.visit && record.status == Status::kWrong) {
    record.reason = WrongReason(*record.verify);
    return;
  }
  if (outcome.visit) {
    record.rounds.push_back(*std::move(outcome.visit));
    if (outcome.work) record.work = *outcome.work;
    record.facts = std::move(outcome.facts);
    Merge(record.histograms, outcome.histograms);
    return;
  }
  record.reason = outcome.reason;
  record.remedy = outcome.remedy;
  if (outcome.status == Status::kWrong) {
    record.reason = WrongReason(*record.verify);
    record.rounds.clear();
    record.histograms.clear();
  }
  const bool partial = !record.rounds.empty();
  record.status = partial ? Status::kPartial : outcome.status;
}

// The entries that belong to one part, by the names that they have in the part's record.
template <class Named>
Named OfPart(const Named& all, std::size_t part) {
  const std::string prefix = fmt::format("{}/", part);
  Named own;
  for (const auto& [name, value] : all) {
    if (name.starts_with(prefix)) own[name.substr(prefix.size())] = value;
  }
  return own;
}

// Adds the outcome of a visit to the case's records: one, or one for each part.
void AddOutcome(const Outcome& outcome, std::vector<Record>& records, bool soaks) {
  if (outcome.parts.empty()) {
    for (Record& record : records) AddOutcome(outcome, record, soaks);
    return;
  }
  for (std::size_t i = 0; i < records.size(); ++i) {
    Outcome own = outcome;
    own.visit = outcome.parts[i];
    own.facts = OfPart(outcome.facts, i);
    own.histograms = OfPart(outcome.histograms, i);
    AddOutcome(std::move(own), records[i], soaks);
  }
}

// A record of the case without any round.
Record Blank(const Case& which) {
  Record record = AskedRecord(which);
  record.units = which.units;
  record.storage = which.storage;
  if (which.here) {
    record.here =
        Here{.probe = which.here->probe, .params = which.here->params, .work = which.here->work};
  }
  return record;
}

// The records of a case without any round: one, or one for each part.
std::vector<Record> Blanks(const Case& which) {
  std::vector<Record> records(std::max<std::size_t>(1, which.parts.size()), Blank(which));
  for (std::size_t i = 0; i < which.parts.size(); ++i) {
    records[i].params = which.parts[i].params;
    records[i].work = which.parts[i].work;
    records[i].units = which.parts[i].units;
  }
  return records;
}

// The FNV-1a hash of 64 bits (Fowler, Noll and Vo), so that a case has the same seeds whatever
// other cases there are.
std::uint64_t HashOf(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

std::vector<std::size_t> ShuffledOrder(std::vector<std::size_t> order, std::uint64_t seed) {
  Random random(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  return order;
}

// The time that a case may take over all rounds.
Seconds BudgetOf(const Case& which, const EngineOptions& options) {
  return which.in_spans ? options.max_spans_case : options.max_case;
}

bool IsOnCpu(const Case& which) { return which.device.kind == "cpu"; }

bool IsOnOneNode(const Case& which) {
  return std::ranges::all_of(
      which.units, [&](const Unit& unit) { return unit.node == which.units.front().node; });
}

int MostRounds(const EngineOptions& options) {
  return options.until_ci ? std::max(options.rounds, kMostRounds) : options.rounds;
}

// The reason why a case needs no further round; nothing where it goes on. `spent` is nothing for a
// case without a budget.
std::optional<std::string> WhyDone(const Record& record, std::optional<Seconds> spent,
                                   Seconds budget, const EngineOptions& options) {
  const int rounds = static_cast<int>(record.rounds.size());
  if (rounds < options.rounds) return std::nullopt;
  if (!options.until_ci || rounds >= MostRounds(options)) return "rounds";
  if (spent && *spent >= budget) return "time";
  const std::optional<Interval> interval = SpeedInterval(record);
  return interval ? StopAfter(rounds, interval->HalfWidth(), options.ci) : std::nullopt;
}

// The state of one measurement: the cases, their records, and the time that each has spent.
class Engine {
 public:
  Engine(const std::vector<Case>& cases, const EngineOptions& options, Observer& observer)
      : options_(options), observer_(observer), cases_(Matching(cases, options.filter)) {
    if (!options_.now) {
      options_.now = [] { return Seconds(std::chrono::steady_clock::now().time_since_epoch()); };
    }
    if (!options_.sleep) {
      options_.sleep = [](Seconds time) { std::this_thread::sleep_for(time); };
    }
    begin_ = options_.now();
    start_ = begin_ - options_.elapsed;
    for (const Case& each : cases_) records_.push_back(Blanks(each));
    spent_.resize(cases_.size());
    idle_ = IdleTemperatures(cases_);
  }

  // Visits the cases in rounds until all are done or the run is to end.
  std::vector<Record> Run() {
    std::vector<std::size_t> active(cases_.size());
    std::iota(active.begin(), active.end(), 0);
    for (int round = 1; !active.empty() && !stopped_; ++round) {
      VisitAll(active, round);
      std::erase_if(active, [&](std::size_t index) { return IsDone(index); });
    }
    if (options_.gbench) options_.gbench(gbench_.Json());
    std::vector<Record> all;
    for (std::vector<Record>& of_case : records_) {
      for (Record& record : of_case) {
        Settle(record);
        all.push_back(std::move(record));
      }
    }
    return all;
  }

 private:
  // Visits the active cases of one round in a random order, sustained ones last.
  void VisitAll(const std::vector<std::size_t>& active, int round) {
    const auto round_number = static_cast<std::uint64_t>(round);
    const int total = static_cast<int>(cases_.size()) * options_.rounds;
    int order = 0;
    std::vector<std::size_t> ordered =
        options_.fixed ? active : ShuffledOrder(active, RandomAt(options_.seed, round_number));
    std::stable_partition(ordered.begin(), ordered.end(),
                          [&](std::size_t index) { return !cases_[index].sustained; });
    for (const std::size_t index : ordered) {
      if (options_.stop) stopped_ = options_.stop();
      if (stopped_) return;
      observer_.VisitBegins(cases_[index], round, done_, std::max(total, done_ + 1));
      VisitCase(index, round, ++order);
      if (stopped_) return;
      ++done_;
      for (const Record& record : records_[index]) observer_.VisitEnds(record, round);
    }
  }

  // Visits one case and keeps what came of it.
  void VisitCase(std::size_t index, int round, int order) {
    const Case& which = cases_[index];
    const std::string name = CaseName(which);
    const std::uint64_t seed =
        RandomAt(options_.seed ^ HashOf(name), static_cast<std::uint64_t>(round));
    const double start_s = (options_.now() - start_).count();
    const Rest rest = {
        .idle = idle_[DevicesOf(which)], .longest = options_.rest, .sleep = options_.sleep};
    Outcome outcome;
    gbench_.Run(fmt::format("{}/round:{}", name, round), which.backend, [&] {
      outcome = VisitGuarded(which, round, seed, SamplerFor(index, round), rest);
      return ToBenchmark(outcome, which);
    });
    spent_[index] += outcome.spent;
    stopped_ = outcome.stopped;
    if (stopped_) return;
    if (outcome.visit) {
      outcome.visit->start_s = start_s;
      Shift(*outcome.visit, start_s);
      outcome.visit->order = order;
      outcome.visit->round = round;
    }
    for (Visit& visit : outcome.parts) {
      visit.start_s = start_s;
      visit.order = order;
      visit.round = round;
    }
    AddOutcome(outcome, records_[index], Soaks());
  }

  // The options of a visit, whose budget is the time that is left divided by the rounds that are
  // left.
  SamplerOptions SamplerFor(std::size_t index, int round) const {
    const Case& which = cases_[index];
    std::optional<Sustain> sustain;
    if (which.sustained) {
      sustain = {.least = options_.sustain, .longest = options_.sustain * kSustainBound};
    }
    const Seconds all = BudgetOf(which, options_);
    const Seconds left = std::max(Seconds(0), all - spent_[index]);
    return {.min_samples = options_.min_samples,
            .least_batch = which.least_batch,
            .min_time = options_.min_visit,
            .budget = Soaks() ? all / options_.rounds : left / (MostRounds(options_) - round + 1),
            .fixed = options_.fixed,
            .sustain = sustain,
            .in_spans = which.in_spans && !options_.fixed,
            .period = IsOnCpu(which) && !which.in_spans ? options_.quota_period : std::nullopt,
            .counts_stops = IsOnCpu(which) && IsOnOneNode(which) &&
                            FindProbe(which.probe).probe_class != ProbeClass::kNetwork,
            .stop = options_.stop,
            .now = options_.now};
  }

  // Whether a case needs no further round; its records then say why it stopped.
  bool IsDone(std::size_t index) {
    bool is_done = true;
    for (Record& record : records_[index]) {
      const bool goes_on_wrong = Soaks() && record.status == Status::kWrong;
      if (record.status != Status::kOk && !goes_on_wrong) continue;
      std::optional<std::string> why =
          WhyDone(record, cases_[index].sustained ? std::nullopt : std::optional(spent_[index]),
                  BudgetOf(cases_[index], options_), options_);
      if (Soaks()) {
        const bool is_over = options_.now() - begin_ >= options_.duration;
        why = is_over && (why || goes_on_wrong) ? std::optional("time") : std::nullopt;
      }
      record.stopped = why.value_or("");
      is_done = is_done && why.has_value();
    }
    return is_done;
  }

  bool Soaks() const { return options_.duration > Seconds(0); }

  // Finishes a record: whether it is complete, and why its case stopped.
  void Settle(Record& record) const {
    record.complete = static_cast<int>(record.rounds.size()) >= options_.rounds;
    if (record.stopped.empty() && stopped_) record.stopped = *stopped_;
    if (record.status == Status::kOk && record.rounds.empty()) {
      record.status = Status::kSkipped;
      record.reason = fmt::format("not reached before the run ended ({})", stopped_.value_or(""));
      record.remedy = "run it again with more time, or fewer cases";
    }
    const bool has_here =
        std::any_of(record.rounds.begin(), record.rounds.end(),
                    [](const Visit& visit) { return !visit.here_time_s.empty(); });
    if (!has_here) record.here.reset();
  }

  EngineOptions options_;
  Observer& observer_;
  std::vector<Case> cases_;
  Gbench gbench_ = {};
  Seconds begin_ = {};
  Seconds start_ = {};                             // when the run began
  std::vector<std::vector<Record>> records_ = {};  // by case
  std::vector<Seconds> spent_ = {};                // by case
  std::map<std::string, Temperatures> idle_ = {};  // by DevicesOf
  int done_ = 0;
  std::optional<std::string> stopped_ = {};
};

}  // namespace

std::string CaseName(const Case& which) {
  std::string name = which.probe;
  for (const auto& [key, value] : which.params) name += fmt::format("/{}:{}", key, ToText(value));
  return name;
}

std::vector<Case> Matching(const std::vector<Case>& cases, const std::string& filter) {
  if (filter.empty()) return cases;
  std::regex regex;
  try {
    regex.assign(filter, std::regex::extended);
  } catch (const std::regex_error&) {
    throw Error(
        fmt::format("--filter '{}' is not a regular expression; try a plain word such as "
                    "gemm, or dtype:bf16",
                    filter));
  }
  std::vector<Case> matching;
  for (const Case& each : cases) {
    if (std::regex_search(CaseName(each), regex)) matching.push_back(each);
  }
  if (matching.empty()) {
    throw Error(cases.empty()
                    ? "there is no case to measure; name another probe or suite"
                    : fmt::format("--filter '{}' matches none of {}, whose names look like {}",
                                  filter, CountText(cases.size(), "case"),
                                  CaseName(cases.front())));
  }
  return matching;
}

std::vector<Record> Measure(const std::vector<Case>& cases, const EngineOptions& options,
                            Observer& observer) {
  return Engine(cases, options, observer).Run();
}

Seconds VisitSeconds(const Case& which, const EngineOptions& options) {
  if (options.fixed) return kVisitOverhead;
  if (which.sustained) return options.sustain + kVisitOverhead;
  const Seconds share = BudgetOf(which, options) / std::max(options.rounds, 1);
  if (which.in_spans) {
    const Spans spans = SpansWithin(share);
    return spans.ramp + spans.length * spans.count + kVisitOverhead;
  }
  // Warm-up takes up to a quarter of the samples' time in addition.
  const Seconds visit = std::min(share, options.min_visit * 1.25) + kVisitOverhead;
  const bool rests = which.meter && !IsOnCpu(which);
  return rests ? visit + options.rest : visit;
}

double EstimateSeconds(const std::vector<Case>& cases, const EngineOptions& options) {
  double round_s = 0;
  double shared_s = 0;
  std::set<const void*> made;
  for (const Case& each : Matching(cases, options.filter)) {
    round_s += VisitSeconds(each, options).count();
    if (each.shared && made.insert(each.shared.get()).second) shared_s += (*each.shared)().count();
  }
  return shared_s + std::max(round_s * options.rounds, options.duration.count());
}

}  // namespace assay
