#include "runner/cluster/job.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <istream>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>

#include "results/base/error.h"
#include "results/file/json.h"
#include "runner/cluster/each_node.h"
#include "runner/core/told_number.h"

namespace assay {
namespace {

constexpr std::string_view kGroups = "groups=";

// Fields are parted by tabs and commands by line ends, so a text from outside may hold neither.
std::string OneField(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return text;
}

std::pair<std::string, std::string> Cut(const std::string& text, char at) {
  const std::size_t place = text.find(at);
  if (place == std::string::npos) return {text, ""};
  return {text.substr(0, place), text.substr(place + 1)};
}

bool TakePrefix(std::string& text, const std::string& prefix) {
  if (text.compare(0, prefix.size(), prefix) != 0) return false;
  text.erase(0, prefix.size());
  return true;
}

// Facts keep their kind: "b1", "i64", "d0.5", "stext".
std::string Encode(const Fact& fact) {
  struct Visitor {
    std::string operator()(std::int64_t v) const { return fmt::format("i{}", v); }
    std::string operator()(bool v) const { return v ? "b1" : "b0"; }
    std::string operator()(double v) const { return fmt::format("d{}", v); }
    std::string operator()(const std::string& v) const { return "s" + OneField(v); }
  };
  return std::visit(Visitor{}, fact);
}

Fact Decode(const std::string& text) {
  const std::string value = text.empty() ? "" : text.substr(1);
  switch (text.empty() ? '?' : text[0]) {
    case 'i':
      return ToldNumber<std::int64_t>(value, "a rank", "a fact");
    case 'b':
      return value == "1";
    case 'd':
      return ToldNumber<double>(value, "a rank", "a fact");
    case 's':
      return value;
    default:
      throw Error("the ranks gave a fact that can't be read: " + text);
  }
}

std::string Encode(const Batch& batch) {
  std::string text = fmt::format("ok {}", batch.time.count());
  for (const Seconds& time : batch.per_unit) text += fmt::format(" {}", time.count());
  if (batch.host.count() > 0) text += fmt::format("\thost {}", batch.host.count());
  for (const auto& [name, time] : batch.phases) text += fmt::format("\t{} {}", name, time.count());
  return text;
}

std::string Encode(const std::vector<Batch>& spans) {
  std::string text = "ok";
  char before = ' ';
  for (const Batch& span : spans) {
    text += fmt::format("{}{} {}", before, span.iterations, span.time.count());
    if (span.stable) text += fmt::format(" {}", span.stable->count());
    before = '\t';
  }
  return text;
}

std::string Encode(const Checked& checked) {
  return fmt::format("ok {} {} {} {} {}\t{}", checked.checked, checked.wrong, checked.max_error,
                     checked.tolerance, OneField(checked.reference),
                     OneField(checked.what.value_or("")));
}

std::string Encode(const Facts& facts) {
  std::string text = "ok";
  char before = ' ';
  for (const auto& [name, value] : facts) {
    text += before + name + "=" + Encode(value);
    before = '\t';
  }
  return text;
}

std::string Encode(const std::map<std::string, Histogram>& histograms) {
  std::string text = "ok";
  char before = ' ';
  for (const auto& [name, histogram] : histograms) {
    text += before + name + " " + histogram.scheme;
    for (const auto& [bucket, count] : histogram.counts)
      text += fmt::format(" {} {}", bucket, count);
    before = '\t';
  }
  return text;
}

Batch BatchFrom(const std::string& text) {
  std::istringstream words(text);
  Batch batch;
  double seconds = 0;
  if (!(words >> seconds)) throw Error("the ranks gave no time for their run");
  batch.time = Seconds(seconds);
  while (words >> seconds) batch.per_unit.emplace_back(seconds);
  words.clear();
  for (std::string name; words >> name >> seconds;) {
    if (name == "host") {
      batch.host = Seconds(seconds);
    } else {
      batch.phases[name] = Seconds(seconds);
    }
  }
  return batch;
}

std::vector<Batch> SpansFrom(const std::string& text) {
  std::vector<Batch> spans;
  std::istringstream fields(text);
  for (std::string field; std::getline(fields, field, '\t');) {
    std::istringstream words(field);
    Batch& span = spans.emplace_back();
    double seconds = 0;
    if (!(words >> span.iterations >> seconds) || span.iterations < 1) {
      throw Error("the ranks gave a span that can't be read: " + field);
    }
    span.time = Seconds(seconds);
    if (words >> seconds) span.stable = Seconds(seconds);
  }
  return spans;
}

Checked CheckedFrom(const std::string& text) {
  const auto [numbers, what] = Cut(text, '\t');
  std::istringstream words(numbers);
  Checked checked;
  words >> checked.checked >> checked.wrong >> checked.max_error >> checked.tolerance;
  if (!words) throw Error("the ranks did not say what they checked");
  std::getline(words >> std::ws, checked.reference);
  if (!what.empty()) checked.what = what;
  return checked;
}

Facts FactsFrom(const std::string& text) {
  Facts facts;
  std::istringstream fields(text);
  for (std::string field; std::getline(fields, field, '\t');) {
    const auto [name, value] = Cut(field, '=');
    facts[name] = Decode(value);
  }
  return facts;
}

std::map<std::string, Histogram> HistogramsFrom(const std::string& text) {
  std::map<std::string, Histogram> histograms;
  std::istringstream fields(text);
  for (std::string field; std::getline(fields, field, '\t');) {
    std::istringstream words(field);
    std::string name;
    words >> name;
    Histogram& histogram = histograms[name];
    words >> histogram.scheme;
    std::int64_t bucket = 0;
    std::int64_t count = 0;
    while (words >> bucket >> count) histogram.counts.emplace_back(bucket, count);
  }
  return histograms;
}

// How many there are, without the ranks that are in none.
std::size_t CountOf(const std::vector<int>& groups) {
  std::set<int> numbers(groups.begin(), groups.end());
  numbers.erase(-1);
  return numbers.size();
}

class JobWorkload : public Workload {
 public:
  JobWorkload(std::shared_ptr<Job> job, Facts facts, std::size_t groups,
              std::optional<Work> work = {})
      : job_(std::move(job)), facts_(std::move(facts)), groups_(groups), work_(std::move(work)) {}

  Batch Run(std::int64_t iterations) override {
    const std::vector<std::string> answers = Ask(fmt::format("run {}", iterations));
    if (groups_ == 0) return BatchFrom(answers[0]);
    Batch all;
    for (const std::string& answer : answers) {
      all.parts.push_back(BatchFrom(answer));
      all.time = std::max(all.time, all.parts.back().time);
    }
    return all;
  }

  // Spans are of cases of one node, which all ranks have together. Those can't be asked to end
  // early.
  std::vector<Batch> RunSpans(const Spans& spans) override {
    return SpansFrom(Ask(
        fmt::format("spans {} {} {}", spans.ramp.count(), spans.length.count(), spans.count))[0]);
  }

  Checked Verify() override {
    const std::vector<std::string> answers = Ask("verify");
    Checked all = CheckedFrom(answers[0]);
    for (std::size_t i = 1; i < answers.size(); ++i) {
      Checked checked = CheckedFrom(answers[i]);
      all.checked += checked.checked;
      all.wrong += checked.wrong;
      all.max_error = std::max(all.max_error, checked.max_error);
      if (!all.what) all.what = std::move(checked.what);
    }
    return all;
  }

  Facts Describe() const override {
    Facts all;
    ForEach(Ask("describe"), [&](const std::string& prefix, const std::string& answer) {
      Facts facts = FactsFrom(answer);
      facts.insert(facts_.begin(), facts_.end());
      for (const auto& [name, fact] : facts) all[prefix + name] = fact;
    });
    return all;
  }

  std::optional<Work> OneIteration() const override { return work_; }

  std::map<std::string, Histogram> Histograms() const override {
    std::map<std::string, Histogram> all;
    ForEach(Ask("histograms"), [&](const std::string& prefix, const std::string& answer) {
      for (auto& [name, histogram] : HistogramsFrom(answer)) all[prefix + name] = histogram;
    });
    return all;
  }

 private:
  // Of each group, or of all ranks.
  std::vector<std::string> Ask(const std::string& command) const {
    std::string answer = job_->Ask(command);
    std::vector<std::string> answers;
    for (;;) {
      const std::size_t end = answer.find(kNextGroup);
      answers.push_back(answer.substr(0, end));
      if (end == std::string::npos) break;
      answer.erase(0, end + 1);
    }
    if (answers.size() != std::max<std::size_t>(1, groups_)) {
      throw Error(fmt::format("{} groups of ranks gave {} answers", groups_, answers.size()));
    }
    return answers;
  }

  template <class Body>
  void ForEach(const std::vector<std::string>& answers, const Body& body) const {
    for (std::size_t i = 0; i < answers.size(); ++i) {
      body(groups_ == 0 ? "" : fmt::format("{}/", i), answers[i]);
    }
  }

  std::shared_ptr<Job> job_;
  Facts facts_;
  std::size_t groups_;  // 0: all ranks together
  std::optional<Work> work_;
};

// The NUMA node of a processor, which its folder has a link to; -1 where the system has none.
int NumaNodeOf(int processor) {
  std::error_code unknown;
  const std::string folder = fmt::format("/sys/devices/system/cpu/cpu{}", processor);
  for (const auto& entry : std::filesystem::directory_iterator(folder, unknown)) {
    std::string name = entry.path().filename();
    if (TakePrefix(name, "node")) return std::atoi(name.c_str());
  }
  return -1;
}

// The one that all processors of this process belong to; -1 where they don't.
int NumaNode() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
  std::optional<int> common;
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (!CPU_ISSET(processor, &set)) continue;
    const int node = NumaNodeOf(processor);
    if (common.value_or(node) != node) return -1;
    common = node;
  }
  return common.value_or(-1);
}

// The work of all ranks with so many GEMMs each.
Work WorkOf(const TrainingStep& step) {
  Work work = step.work;
  std::int64_t flops = 0;
  if (!work.flops || __builtin_mul_overflow(*work.flops, step.gemms, &flops)) {
    throw Error(
        fmt::format("{} GEMMs of each rank are too much work to count: ask for fewer with "
                    "--set gemms",
                    step.gemms));
  }
  work.flops = flops;
  return work;
}

// What follows the collective: COMM_CORES DTYPE M N K.
TrainingStep StepFrom(const std::string& text) {
  std::istringstream words(text);
  TrainingStep step;
  std::string dtype;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  if (!(words >> step.comm_cores >> dtype >> m >> n >> k)) {
    throw Error("no GEMM can be read from: " + text);
  }
  step.gemm = {{"dtype", dtype}, {"m", m}, {"n", n}, {"k", k}};
  return step;
}

// Of this process: "PID PROCESSOR NUMA HOST".
std::string Whereabouts() {
  return fmt::format("{} {} {} {}", getpid(), sched_getcpu(), NumaNode(), OneField(HostName()));
}

// Others can't tell a rank 0 that has nothing for them to do from one that they lost, so that it
// says now and then, in a thread of its own, that it is there.
class OwnJob : public Job {
 public:
  OwnJob(Ranks& ranks, std::vector<std::unique_ptr<Library>> libraries, const WatchOptions& watch,
         OwnNode own_node)
      : ranks_(ranks), worker_(ranks, std::move(libraries), watch, std::move(own_node)) {
    if (!ranks.AnyThread()) return;
    const Seconds interval = std::min(watch.limit / 4, Seconds(5));
    heart_ = std::thread([this, interval] { Beat(interval); });
  }
  ~OwnJob() override {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    if (heart_.joinable()) heart_.join();
  }

  std::string Ask(const std::string& command) override {
    const std::lock_guard lock(mutex_);
    ranks_.Broadcast(command);
    return TakeAnswer(worker_.Obey(command));
  }

  RankProcesses Processes() const override { return worker_.Processes(); }

 private:
  void Beat(Seconds interval) {
    std::unique_lock lock(mutex_);
    try {
      do {
        ranks_.Broadcast("beat");
      } while (!changed_.wait_for(lock, interval, [this] { return over_; }));
    } catch (const Error&) {
      // The next command meets the same, and tells of it.
    }
  }

  Ranks& ranks_;
  Worker worker_;
  std::mutex mutex_ = {};  // ranks are spoken to by one thread at a time
  std::condition_variable changed_ = {};
  bool over_ = false;
  std::thread heart_ = {};
};

std::string Encode(const std::vector<Telemetry>& telemetry) {
  return RecordToJson({.probe = "meter", .rounds = {{.batch = 1, .telemetry = telemetry}}});
}

std::string Encode(const std::vector<std::optional<Fitted>>& trends) {
  std::string text;
  for (const std::optional<Fitted>& one : trends) {
    if (!text.empty()) text += ' ';
    text += one ? fmt::format("{} {} {} {} {}", one->trend.of, one->trend.unit,
                              one->trend.per_minute, one->trend.half_width, one->noise)
                : "-";
  }
  return text;
}

std::vector<Telemetry> TelemetryFrom(const std::string& text) {
  return RecordFromJson(text, "a node").rounds.at(0).telemetry;
}

std::vector<std::optional<Fitted>> TrendsFrom(const std::string& text) {
  std::vector<std::optional<Fitted>> trends;
  std::istringstream words(text);
  for (std::string of; words >> of;) {
    std::optional<Fitted>& one = trends.emplace_back();
    if (of == "-") continue;
    one.emplace().trend.of = of;
    words >> one->trend.unit >> one->trend.per_minute >> one->trend.half_width >> one->noise;
    if (!words) throw Error("a node told trends that can't be read: " + text);
  }
  return trends;
}

// Unit u of a case on one node is that of number NODE * units_ + u where it is on all.
class JobMeter : public Meter {
 public:
  JobMeter(std::shared_ptr<Job> job, const Record& asked, int units)
      : job_(std::move(job)), units_(units) {
    job_->Ask("meter of " + RecordToJson(asked));
  }

  std::vector<Telemetry> Begin() override { return AskForTelemetry("meter begin"); }

  std::vector<std::optional<Fitted>> Trends(Seconds later) override {
    std::vector<std::optional<Fitted>> all;
    ForEachNode(fmt::format("meter trends {}", later.count()), [&](int first, const auto& text) {
      for (std::optional<Fitted>& one : TrendsFrom(text)) {
        if (one) one->trend.unit += first;
        all.push_back(std::move(one));
      }
    });
    return all;
  }

  std::vector<Telemetry> Finish(Seconds later) override {
    return AskForTelemetry(fmt::format("meter finish {}", later.count()));
  }

 private:
  std::vector<Telemetry> AskForTelemetry(const std::string& command) {
    std::vector<Telemetry> all;
    ForEachNode(command, [&](int first, const auto& text) {
      for (Telemetry& one : TelemetryFrom(text)) {
        one.unit += first;
        all.push_back(std::move(one));
      }
    });
    return all;
  }

  // `body` is given the number of the node's first unit, and what the node tells.
  void ForEachNode(const std::string& command,
                   const std::function<void(int first, const std::string& text)>& body) {
    std::istringstream fields(job_->Ask(command));
    int first = 0;
    for (std::string field; std::getline(fields, field, '\t'); first += units_) body(first, field);
  }

  std::shared_ptr<Job> job_;
  int units_;
};

std::optional<Skipped> SkippedBy(std::string answer) {
  if (!TakePrefix(answer, "skipped ")) return std::nullopt;
  const auto [reason, remedy] = Cut(answer, '\t');
  return Skipped{.reason = reason, .remedy = remedy};
}

Prepared PreparedBy(std::shared_ptr<Job> job, const std::string& answer, const Facts& facts,
                    std::size_t groups = 0) {
  if (std::optional<Skipped> no = SkippedBy(answer)) return *std::move(no);
  return std::make_unique<JobWorkload>(std::move(job), facts, groups);
}

}  // namespace

std::string TakeAnswer(std::string answer) {
  if (TakePrefix(answer, "ok ") || answer == "ok") return answer == "ok" ? "" : answer;
  if (answer.compare(0, 8, "skipped ") == 0) return answer;
  TakePrefix(answer, "error ");
  throw Error(answer);
}

std::vector<int> NodesOf(Job& job) {
  std::istringstream words(job.Ask("hello"));
  std::vector<int> nodes;
  for (int node = 0; words >> node;) nodes.push_back(node);
  return nodes;
}

std::vector<collectives::Whereabouts> WhereaboutsOf(Job& job, const std::string& library) {
  const std::vector<int> nodes = NodesOf(job);
  std::vector<collectives::Whereabouts> all;
  std::istringstream fields(job.Ask("who"));
  std::string field;
  while (std::getline(fields, field, '\t')) {
    std::istringstream words(field);
    collectives::Whereabouts& one = all.emplace_back();
    words >> one.pid >> one.processor >> one.numa >> std::ws;
    std::getline(words, one.host);
  }
  if (all.size() != nodes.size()) throw Error("the ranks did not say where they are");
  for (std::size_t rank = 0; rank < all.size(); ++rank) all[rank].node = nodes[rank];
  if (library.empty()) return all;
  std::istringstream devices(job.Ask("devices " + library));
  for (std::size_t rank = 0; std::getline(devices, field, '\t') && rank < all.size(); ++rank) {
    std::istringstream words(field);
    RankDevice& device = all[rank].device.emplace();
    words >> device.index >> device.id >> std::ws;
    std::getline(words, device.name);
  }
  return all;
}

std::vector<Node> DescribedBy(Job& job) {
  std::vector<Node> nodes;
  std::istringstream fields(job.Ask("nodes"));
  for (std::string field; std::getline(fields, field, '\t');) {
    nodes.push_back(NodeFromJson(field, fmt::format("what node {} says of itself", nodes.size())));
  }
  return nodes;
}

int FewestCores(Job& job) {
  std::istringstream words(job.Ask("cores"));
  std::optional<int> fewest;
  for (int cores = 0; words >> cores;) fewest = std::min(cores, fewest.value_or(cores));
  return fewest.value_or(1);
}

Prepared PrepareOn(std::shared_ptr<Job> job, const std::string& library,
                   const Collective& collective, std::uint64_t seed, const Facts& facts,
                   TrainingStep& step) {
  std::optional<Skipped> no = SkippedBy(
      job->Ask(fmt::format("prepare {} {} {}\t{} {} {} {} {}", library, seed, ToText(collective),
                           step.comm_cores, StringOf(step.gemm, "dtype"), IntegerOf(step.gemm, "m"),
                           IntegerOf(step.gemm, "n"), IntegerOf(step.gemm, "k"))));
  if (no) return *std::move(no);
  std::istringstream words(job->Ask(fmt::format("settle {} {}", step.gemms, step.compute_percent)));
  if (!(words >> step.gemms)) throw Error("the ranks gave no number of GEMMs");
  return std::make_unique<JobWorkload>(std::move(job), facts, /*groups=*/0, WorkOf(step));
}

Prepared PrepareOn(std::shared_ptr<Job> job, const std::string& library,
                   const Collective& collective, std::uint64_t seed, const Facts& facts,
                   const std::vector<int>& groups) {
  const std::string in_groups =
      groups.empty() ? "" : fmt::format("groups={} ", fmt::join(groups, ","));
  return PreparedBy(
      job,
      job->Ask(fmt::format("prepare {} {} {}{}", library, seed, in_groups, ToText(collective))),
      facts, CountOf(groups));
}

Prepared PrepareOnEachNode(std::shared_ptr<Job> job, const Record& asked, std::uint64_t seed) {
  return PreparedBy(job, job->Ask(fmt::format("each_node {} {}", seed, RecordToJson(asked))), {});
}

std::unique_ptr<Meter> MeterOnEachNode(std::shared_ptr<Job> job, const Record& asked, int units) {
  return std::make_unique<JobMeter>(std::move(job), asked, units);
}

Worker::Worker(Ranks& ranks, std::vector<std::unique_ptr<Library>> libraries,
               const WatchOptions& watch, OwnNode own_node)
    : ranks_(ranks),
      libraries_(std::move(libraries)),
      own_node_(std::move(own_node)),
      watchdog_([&] {
        WatchOptions options = watch;
        options.expired = [this, told = watch.expired](const std::string& what) {
          Expire(what, told);
        };
        return options;
      }()) {}

std::string Worker::Obey(const std::string& command) {
  std::istringstream words(command);
  std::string verb;
  words >> verb;
  const Watchdog::Guard guard = Watch(verb, command);
  return Do(verb, words);
}

std::string Worker::NextCommand() {
  for (;;) {
    constexpr Seconds kForEver(1e9);
    const Watchdog::Guard guard =
        watchdog_.Watch("waiting for rank 0", beats_ ? Seconds(0) : kForEver);
    std::string command = ranks_.Broadcast("");
    if (command != "beat") return command;
    beats_ = true;
  }
}

std::string Worker::Do(const std::string& verb, std::istream& words) {
  if (verb == "hello") return Hello();
  if (verb == "who") {
    return fmt::format("ok {}", fmt::join(ranks_.Gather(Whereabouts()), "\t"));
  }
  if (verb == "nodes") return Nodes();
  if (verb == "devices") {
    std::string library;
    words >> library;
    return Devices(library);
  }
  if (verb == "cores") {
    std::string answer = "ok";
    for (const auto& cores : CoresByRank(ranks_)) answer += fmt::format(" {}", cores.size());
    return answer;
  }
  if (verb == "meter") return Metered(words);
  if (verb == "prepare") return Prepare(words);
  if (verb == "each_node") return PrepareOnEachNode(words);
  if (!group_) return DoPrepared(verb, words);
  std::string own = takes_part_ ? DoPrepared(verb, words) : "";
  group_->Rest();
  if (group_->Rank() != 0) own.clear();
  std::string answer = "ok";
  char before = ' ';
  for (const std::string& one : ranks_.Gather(own)) {
    if (one.empty()) continue;
    if (one.compare(0, 2, "ok") != 0) return one;
    answer += before + (one == "ok" ? "" : one.substr(3));
    before = kNextGroup;
  }
  return answer;
}

std::string Worker::DoPrepared(const std::string& verb, std::istream& words) {
  if (!workload_) return "error nothing is prepared that could " + verb;
  if (verb == "settle") return Settle(words);
  if (verb == "run") {
    std::int64_t iterations = 0;
    words >> iterations;
    if (iterations < 1) return "error a run needs at least one iteration";
    const Batch batch = workload_->Run(iterations);
    iteration_s_ = batch.time.count() / static_cast<double>(iterations);
    return Encode(batch);
  }
  if (verb == "spans") {
    Spans spans;
    double ramp_s = 0;
    double length_s = 0;
    if (!(words >> ramp_s >> length_s >> spans.count) || spans.count < 1) {
      return "error spans need a ramp, a length and a count";
    }
    spans.ramp = Seconds(ramp_s);
    spans.length = Seconds(length_s);
    return Encode(workload_->RunSpans(spans));
  }
  if (verb == "verify") return Encode(workload_->Verify());
  if (verb == "describe") return Encode(workload_->Describe());
  if (verb == "histograms") return Encode(workload_->Histograms());
  return "error no such command: " + verb;
}

std::string Worker::Hello() {
  processes_ = RankProcesses(ranks_);
  return fmt::format("ok {}", fmt::join(ranks_.Gather(std::to_string(ranks_.Node())), " "));
}

// Services that are asked may take seconds.
std::string Worker::Nodes() {
  return FromEachNode(
      [&] { return NodeToJson(own_node_.describe ? own_node_.describe() : Node()); });
}

std::string Worker::Metered(std::istream& words) {
  std::string what;
  words >> what;
  std::string rest;
  std::getline(words >> std::ws, rest);
  return FromEachNode([&]() -> std::string {
    if (what == "of") {
      const Case own = own_node_.own_case(RecordFromJson(rest, "rank 0"));
      meter_ = own.meter ? own.meter() : nullptr;
      return "";
    }
    const Seconds later(std::strtod(rest.c_str(), nullptr));
    if (what == "trends")
      return Encode(meter_ ? meter_->Trends(later) : std::vector<std::optional<Fitted>>());
    if (!meter_) return Encode(std::vector<Telemetry>());
    if (what == "begin") return Encode(meter_->Begin());
    std::unique_ptr<Meter> ended = std::move(meter_);
    return Encode(ended->Finish(later));
  });
}

// What the first rank of each node tells, all at once.
std::string Worker::FromEachNode(const std::function<std::string()>& tell) {
  std::string own = fmt::format("{} ", ranks_.Node());
  if (ranks_.LocalRank() == 0) {
    try {
      own += "ok " + tell();
    } catch (const std::exception& error) {
      own += "error " + OneField(error.what());
    }
  }
  std::map<int, std::string> by_node;
  for (const std::string& text : ranks_.Gather(own)) {
    auto [number, says] = Cut(text, ' ');
    const int node = ToldNumber<int>(number, "a rank", "the number of its node");
    std::string& known = by_node[node];
    if (!known.empty() && !says.empty()) {
      return fmt::format("error two ranks of node {} have the LOCAL_RANK 0", node);
    }
    if (known.empty()) known = std::move(says);
  }
  std::string answer = "ok";
  for (auto& [node, says] : by_node) {
    if (says.empty()) return fmt::format("error no rank of node {} has the LOCAL_RANK 0", node);
    if (!TakePrefix(says, "ok ")) {
      TakePrefix(says, "error ");
      return fmt::format("error node {}: {}", node, says);
    }
    answer += (node == 0 ? ' ' : '\t') + says;
  }
  return answer;
}

std::string Worker::Devices(const std::string& library) {
  std::string own = fmt::format("error no library {} could be opened", library);
  for (const auto& each : libraries_) {
    if (each->Name() != library) continue;
    try {
      const std::optional<RankDevice> device = each->DeviceOf(ranks_);
      own =
          device ? fmt::format("{} {} {}", device->index, device->id, OneField(device->name)) : "";
    } catch (const std::exception& error) {
      own = "error " + OneField(error.what());
    }
  }
  std::string answer = "ok";
  char before = ' ';
  for (const std::string& one : ranks_.Gather(own)) {
    if (one.compare(0, 6, "error ") == 0) return one;
    if (one.empty()) continue;
    answer += before + one;
    before = '\t';
  }
  return answer;
}

// What a rank does with 10 MB/s, or 10 GFLOP/s, may still be right at a third of that; what once
// took a second won't take ten.
Watchdog::Guard Worker::Watch(const std::string& verb, const std::string& command) {
  double iterations = 1;
  if (verb == "run") iterations = std::strtod(command.c_str() + verb.size(), nullptr);
  double spans_s = 0;
  if (verb == "spans") {
    std::istringstream words(command.substr(verb.size()));
    double ramp_s = 0;
    double length_s = 0;
    double count = 0;
    words >> ramp_s >> length_s >> count;
    spans_s = ramp_s + count * length_s;
  }
  if (verb == "prepare") {
    try {
      std::size_t at = command.find(' ', command.find(' ', verb.size() + 1) + 1);
      if (command.compare(at + 1, kGroups.size(), kGroups) == 0) at = command.find(' ', at + 1);
      const Collective collective = CollectiveFrom(command.substr(at + 1));
      first_s_ = 3 * static_cast<double>(collective.bytes) / 1e7;
      what_ = fmt::format("{} of {} bytes", FactsOf(collective.operation).name, collective.bytes);
      iteration_s_ = 0;
    } catch (const Error&) {
      what_ = "something unknown";  // Prepare answers with what is wrong
    }
  }
  if (verb == "each_node") {
    try {
      const Record asked = RecordFromJson(command.substr(command.find('{')), "rank 0");
      what_ = fmt::format("a case of one node, {},", asked.probe);
      first_s_ = 3 * (static_cast<double>(asked.work.bytes.value_or(0)) / 1e7 +
                      static_cast<double>(asked.work.flops.value_or(0)) / 1e10);
      iteration_s_ = 0;
    } catch (const std::exception&) {
      what_ = "something unknown";  // PrepareOnEachNode answers with what is wrong
    }
  }
  if (verb == "nodes") return watchdog_.Watch("asking each node what it is", Seconds(30));
  const double one = iteration_s_ > 0 ? 10 * iteration_s_ : first_s_;
  const std::string doing = verb == "meter" ? "reading the meters" : verb;
  return watchdog_.Watch(what_.empty() ? doing : doing + " of " + what_,
                         Seconds(spans_s + std::max(1.0, iterations) * one));
}

void Worker::Expire(const std::string& what, const std::function<void(const std::string&)>& told) {
  const auto sentence = [&](const std::string& on) {
    return fmt::format("rank {} of {} on {}: {} is not over in time{}", ranks_.Rank(),
                       ranks_.Size(), on, what, processes_.Fates());
  };
  const std::string line = fmt::format("assay: watchdog: {}\n", sentence(HostName()));
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) {
    // There is nobody left to tell.
  }
  if (ranks_.Rank() == 0) {
    if (told) told(sentence(fmt::format("node {}", ranks_.Node())));
  } else {
    // Rank 0 keeps the file meanwhile.
    std::this_thread::sleep_for(std::chrono::seconds(2));
  }
  ranks_.Abort(3);
}

std::string Worker::Prepare(std::istream& words) {
  std::string library;
  std::uint64_t seed = 0;
  std::string collective;
  std::string step;  // of training, beside the GEMMs of which it is
  std::getline(words >> library >> seed >> std::ws, collective);
  std::tie(collective, step) = Cut(collective, '\t');
  std::string groups;
  if (TakePrefix(collective, std::string(kGroups)))
    std::tie(groups, collective) = Cut(collective, ' ');
  Regroup(groups);
  Ranks& together = group_ ? static_cast<Ranks&>(*group_) : ranks_;
  return Agree([&]() -> Prepared {
    for (const auto& each : libraries_) {
      if (each->Name() != library) continue;
      if (!takes_part_) return nullptr;
      const auto alone = [&] { return each->Prepare(CollectiveFrom(collective), together, seed); };
      if (step.empty()) return alone();
      TrainingStep beside = StepFrom(step);
      beside.on_gpus = each->IsOnDevice();
      return PrepareOverlap(beside, together, own_node_.gemm, alone, seed);
    }
    throw Error(fmt::format("no library {} could be opened", library));
  });
}

std::string Worker::PrepareOnEachNode(std::istream& words) {
  std::uint64_t seed = 0;
  std::string record;
  std::getline(words >> seed >> std::ws, record);
  Regroup("");
  return Agree([&]() -> Prepared {
    if (ranks_.LocalRank() != 0) return OnEachNode({}, ranks_);
    return OnEachNode(own_node_.own_case(RecordFromJson(record, "rank 0")).prepare(seed), ranks_);
  });
}

// If one of the ranks can't, none does.
std::string Worker::Agree(const std::function<Prepared()>& prepare) {
  std::string own = "ok";
  try {
    Prepared prepared = prepare();
    if (const Skipped* skipped = std::get_if<Skipped>(&prepared)) {
      own = "skipped " + OneField(skipped->reason) + "\t" + OneField(skipped->remedy);
    } else {
      workload_ = std::get<std::unique_ptr<Workload>>(std::move(prepared));
    }
  } catch (const std::exception& error) {
    own = "error " + OneField(error.what());
  }
  if (group_) group_->Rest();
  const std::vector<std::string> all = ranks_.Gather(own);
  const auto no = std::find_if(all.begin(), all.end(), [](const auto& one) { return one != "ok"; });
  return no == all.end() ? "ok" : *no;
}

void Worker::Regroup(const std::string& groups) {
  meter_.reset();
  workload_.reset();  // before its group, and so that its memory can serve again
  if (groups == groups_) return;
  groups_ = groups;
  group_.reset();
  takes_part_ = true;
  if (groups.empty()) return;
  std::istringstream numbers(groups);
  std::string number;
  for (int rank = 0; rank <= ranks_.Rank(); ++rank) std::getline(numbers, number, ',');
  const int own = ToldNumber<int>(number, "rank 0", "the group of a rank");
  group_ = std::make_unique<Group>(ranks_, own);
  takes_part_ = own >= 0;
}

std::string Worker::Settle(std::istream& words) {
  std::int64_t gemms = 0;
  std::int64_t percent = 0;
  auto* const overlap = dynamic_cast<Overlap*>(workload_.get());
  if (overlap == nullptr || !(words >> gemms >> percent)) return "error nothing is to be settled";
  const Overlap::Balance balance = overlap->Settle(gemms, percent);
  iteration_s_ = balance.step.count();
  return fmt::format("ok {}", balance.gemms);
}

void Follow(Worker& worker) {
  for (std::string command; (command = worker.NextCommand()) != "quit";) worker.Obey(command);
}

std::unique_ptr<Job> JobOf(Ranks& ranks, std::vector<std::unique_ptr<Library>> libraries,
                           const WatchOptions& watch, OwnNode own_node) {
  return std::make_unique<OwnJob>(ranks, std::move(libraries), watch, std::move(own_node));
}

}  // namespace assay
