#include "runner/cluster/worker.h"

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
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>

#include "results/base/error.h"
#include "results/base/files.h"
#include "results/file/json.h"
#include "runner/cluster/each_node.h"
#include "runner/core/rank_cores.h"
#include "runner/core/told_number.h"

namespace assay {
namespace {

constexpr std::string_view kError = "error ";

// Fields are parted by tabs and commands by line ends, so a text from outside may hold neither.
std::string OneField(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return text;
}

std::string ErrorAnswer(const std::exception& error) {
  return std::string(kError) + OneField(error.what());
}

// The answer that holds what was told; an error where it has a number that JSON has no word for.
std::string Answer(const Told& told) {
  try {
    return "ok " + ToldToJson(told);
  } catch (const Error& error) {
    return ErrorAnswer(error);
  }
}

// The NUMA node of a processor, which its folder has a link to; -1 where the system has none.
int NumaNodeOf(int processor) {
  const std::string folder = fmt::format("/sys/devices/system/cpu/cpu{}", processor);
  for (const std::filesystem::path& entry : EntriesOf(folder)) {
    const std::string name = entry.filename();
    if (name.starts_with("node")) return std::atoi(name.c_str() + 4);
  }
  return -1;
}

// The NUMA node that all processors of this process belong to; -1 where they have several.
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

// The place of this process: "PID PROCESSOR NUMA HOST".
std::string OwnWhereabouts() {
  return fmt::format("{} {} {} {}", getpid(), sched_getcpu(), NumaNode(), OneField(HostName()));
}

// The job whose rank 0 is this process. A thread of its own gives the other ranks signs of life,
// since they can't tell a rank 0 that has nothing for them to do from one that they lost.
class OwnJob : public Job {
 public:
  OwnJob(Ranks& ranks, Member member, const WatchOptions& watch)
      : worker_(ranks, std::move(member), watch) {
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
    worker_.Tell(command);
    return TakeAnswer(worker_.Obey(command));
  }

  RankProcesses Processes() const override { return worker_.Processes(); }

 private:
  void Beat(Seconds interval) {
    std::unique_lock lock(mutex_);
    try {
      do {
        worker_.Tell("beat");
      } while (!changed_.wait_for(lock, interval, [this] { return over_; }));
    } catch (const Error&) {
      // The next command meets the same error, and reports it.
    }
  }

  Worker worker_;
  std::mutex mutex_ = {};  // lets one thread at a time speak to the ranks
  std::condition_variable changed_ = {};
  bool over_ = false;
  std::thread heart_ = {};
};

}  // namespace

// A command that has been read, for the watchdog and for Do.
struct Worker::Command {
  std::string verb = {};
  std::int64_t iterations = 0;
  Spans spans = {};
  std::string what = {};  // the verb of a command to the meter: "begin"
  Seconds later = {};
  std::optional<AskedCase> asked = {};
};

std::optional<Case> CaseLike(const Record& asked, const std::vector<Probe>& probes) {
  for (const Probe& probe : probes) {
    if (probe.name != asked.probe) continue;
    for (Case& one : probe.unfold(asked.params)) {
      if (one.backend == asked.backend && one.params == asked.params) return std::move(one);
    }
  }
  return std::nullopt;
}

Worker::Worker(Ranks& ranks, Member member, const WatchOptions& watch)
    : ranks_(ranks), member_(std::move(member)), watchdog_([&] {
        WatchOptions options = watch;
        options.expired = [this, told = watch.expired](const std::string& what) {
          Expire(what, told);
        };
        return options;
      }()) {}

Worker::Command Worker::CommandFrom(const std::string& text) {
  Command command;
  std::istringstream words(text);
  words >> command.verb;
  std::string rest;
  if (command.verb == "run") {
    words >> command.iterations;
  } else if (command.verb == "spans") {
    double ramp_s = 0;
    double length_s = 0;
    if (!(words >> ramp_s >> length_s >> command.spans.count)) command.spans.count = 0;
    command.spans.ramp = Seconds(ramp_s);
    command.spans.length = Seconds(length_s);
  } else if (command.verb == "meter") {
    words >> command.what;
    std::getline(words >> std::ws, rest);
    if (command.what != "of") command.later = Seconds(std::strtod(rest.c_str(), nullptr));
  } else {
    std::getline(words >> std::ws, rest);
  }
  if (command.verb == "prepare" || command.verb == "devices" || command.what == "of") {
    command.asked = AskedCaseFromJson(rest, "what rank 0 asks");
  }
  return command;
}

// A text that can't be read leaves all ranks in step, since all of them were given the same.
std::string Worker::Obey(const std::string& text) {
  Command command;
  try {
    command = CommandFrom(text);
  } catch (const Error& error) {
    return ErrorAnswer(error);
  }
  const Watchdog::Guard guard = WatchOver(command);
  return Do(command);
}

void Worker::Tell(const std::string& text) {
  const Watchdog::Guard guard = watchdog_.Watch("telling the ranks what to do");
  ranks_.Broadcast(text);
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

// The limits are generous: a first iteration may go at a third of 10 MB/s or 10 GFLOP/s, and a
// later one may take ten times as long as the one before.
Watchdog::Guard Worker::WatchOver(const Command& command) {
  if (command.verb == "nodes") {
    return watchdog_.Watch("asking each node what it is", Seconds(30));
  }
  if (command.verb == "prepare") {
    const Record& record = command.asked->record;
    what_ = command.asked->on == On::kEachNode
                ? fmt::format("a case of one node, {},", OneField(record.probe))
                : fmt::format("{} of {}", OneField(record.probe),
                              CountText(record.work.bytes.value_or(0), "byte"));
    first_s_ = 3 * (static_cast<double>(record.work.bytes.value_or(0)) / 1e7 +
                    static_cast<double>(record.work.flops.value_or(0)) / 1e10);
    iteration_s_ = 0;
  }
  const double one = iteration_s_ > 0 ? 10 * iteration_s_ : first_s_;
  const double spans_s =
      command.spans.ramp.count() + command.spans.count * command.spans.length.count();
  const std::string doing = command.verb == "meter" ? "reading the meters" : command.verb;
  const auto iterations = static_cast<double>(std::max<std::int64_t>(1, command.iterations));
  return watchdog_.Watch(what_.empty() ? doing : doing + " of " + what_,
                         Seconds(spans_s + iterations * one));
}

void Worker::Expire(const std::string& what, const std::function<void(const std::string&)>& told) {
  const auto sentence = [&](const std::string& on) {
    return fmt::format("rank {} of {} on {}: {} is not over in time{}", ranks_.Rank(),
                       ranks_.Size(), on, what, processes_.Fates());
  };
  const std::string line = fmt::format("assay: watchdog: {}\n", sentence(HostName()));
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) {
    // Standard error is gone, and there is nobody else to tell.
  }
  if (ranks_.Rank() == 0) {
    if (told) told(sentence(fmt::format("node {}", ranks_.Node())));
  } else {
    // The pause lets rank 0 keep the file before the launcher ends all ranks.
    std::this_thread::sleep_for(std::chrono::seconds(2));
  }
  ranks_.Abort(3);
}

std::string Worker::Do(const Command& command) {
  const std::string& verb = command.verb;
  if (verb == "hello") return Hello();
  if (verb == "who") {
    return fmt::format("ok {}", fmt::join(ranks_.Gather(OwnWhereabouts()), "\t"));
  }
  if (verb == "nodes") return Nodes();
  if (verb == "devices") return Devices(*command.asked);
  if (verb == "cores") {
    std::string answer = "ok";
    for (const auto& cores : CoresByRank(ranks_)) answer += fmt::format(" {}", cores.size());
    return answer;
  }
  if (verb == "meter") return Metered(command);
  if (verb == "prepare") return Prepare(*command.asked);
  if (!group_) return DoPrepared(command);
  std::string own = takes_part_ ? DoPrepared(command) : "";
  group_->Rest();
  if (group_->Rank() != 0) own.clear();
  std::string answer = "ok";
  char before = ' ';
  for (const std::string& one : ranks_.Gather(own)) {
    if (one.empty()) continue;
    if (!one.starts_with("ok ")) return one;
    answer += before + one.substr(3);
    before = kNextGroup;
  }
  return answer;
}

std::string Worker::DoPrepared(const Command& command) {
  const std::string& verb = command.verb;
  if (!workload_) return "error nothing is prepared that could " + OneField(verb);
  if (verb == "settle") return Settle();
  if (verb == "run") {
    if (command.iterations < 1) return "error a run needs at least one iteration";
    const Batch batch = workload_->Run(command.iterations);
    iteration_s_ = batch.time.count() / static_cast<double>(command.iterations);
    return Answer({.batches = {batch}});
  }
  if (verb == "spans") {
    if (command.spans.count < 1) return "error spans need a ramp, a length and a count";
    return Answer({.batches = workload_->RunSpans(command.spans)});
  }
  if (verb == "verify") return Answer({.checked = workload_->Verify()});
  if (verb == "describe") return Answer({.facts = workload_->Describe()});
  if (verb == "histograms") return Answer({.histograms = workload_->Histograms()});
  return "error no such command: " + OneField(verb);
}

std::string Worker::Settle() {
  const Settled settled = workload_->Settle();
  iteration_s_ = settled.iteration.count();
  try {
    return Answer({.how = settled.how, .work = workload_->OneIteration()});
  } catch (const Error& error) {
    return ErrorAnswer(error);
  }
}

std::string Worker::Hello() {
  processes_ = RankProcesses(ranks_);
  return fmt::format("ok {}", fmt::join(ranks_.Gather(std::to_string(ranks_.Node())), " "));
}

// A node may take seconds to describe itself, since it asks services of its cloud.
std::string Worker::Nodes() {
  return FromEachNode([&] { return NodeToJson(member_.describe ? member_.describe() : Node()); });
}

std::string Worker::Metered(const Command& command) {
  return FromEachNode([&]() -> std::string {
    if (command.what == "of") {
      const Case& own = OwnCase(command.asked->record);
      meter_ = own.meter ? own.meter() : nullptr;
      return "";
    }
    if (!meter_) return ToldToJson({});
    if (command.what == "begin") return ToldToJson({.telemetry = meter_->Begin()});
    if (command.what == "trends") return ToldToJson({.trends = meter_->Trends(command.later)});
    const std::unique_ptr<Meter> ended = std::move(meter_);
    return ToldToJson({.telemetry = ended->Finish(command.later)});
  });
}

// Asks the first rank of each node, all at once.
std::string Worker::FromEachNode(const std::function<std::string()>& tell) {
  std::string own = fmt::format("{} ", ranks_.Node());
  if (ranks_.LocalRank() == 0) {
    try {
      own += "ok " + tell();
    } catch (const std::exception& error) {
      own += ErrorAnswer(error);
    }
  }
  std::map<int, std::string> by_node;
  for (const std::string& text : ranks_.Gather(own)) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string says = text.substr(std::min(space + 1, text.size()));
    const int node = ToldNumber<int>(text.substr(0, space), "a rank", "the number of its node");
    std::string& known = by_node[node];
    if (!known.empty() && !says.empty()) {
      return fmt::format("error two ranks of node {} have the LOCAL_RANK 0", node);
    }
    if (known.empty()) known = says;
  }
  std::string answer = "ok";
  for (auto& [node, says] : by_node) {
    if (says.empty()) return fmt::format("error no rank of node {} has the LOCAL_RANK 0", node);
    if (!says.starts_with("ok ")) {
      return fmt::format("error node {}: {}", node,
                         says.substr(std::min(says.size(), kError.size())));
    }
    answer += (node == 0 ? ' ' : '\t') + says.substr(3);
  }
  return answer;
}

std::string Worker::Devices(const AskedCase& asked) {
  std::string own;
  try {
    const Case& one = OwnCase(asked.record);
    if (!one.across || !one.across->device) {
      throw Error(fmt::format("a rank knows no device for {} by {}", asked.record.probe,
                              asked.record.backend));
    }
    if (const std::optional<RankDevice> device = one.across->device(ranks_)) {
      own = fmt::format("{} {} {}", device->index, device->id, OneField(device->name));
    }
  } catch (const std::exception& error) {
    own = ErrorAnswer(error);
  }
  std::string answer = "ok";
  char before = ' ';
  for (const std::string& one : ranks_.Gather(own)) {
    if (one.starts_with(kError)) return one;
    if (one.empty()) continue;
    answer += before + one;
    before = '\t';
  }
  return answer;
}

std::string Worker::Prepare(const AskedCase& asked) {
  meter_.reset();
  workload_.reset();  // before its group, which it uses, and before the next one takes memory
  group_.reset();
  takes_part_ = true;
  // The case as this rank unfolds it. Where that fails it takes part in what all ranks do to
  // make ready, and says so with the others.
  const Case* own = nullptr;
  std::string failed;
  if (asked.on != On::kEachNode || ranks_.LocalRank() == 0) {
    try {
      own = &OwnCase(asked.record);
      if (own->across) CheckFits(*own->across, asked.on);
    } catch (const std::exception& error) {
      own = nullptr;
      failed = error.what();
    }
  }
  if (asked.on == On::kGroups) {
    const int number = own != nullptr && own->across
                           ? own->across->groups[static_cast<std::size_t>(ranks_.Rank())]
                           : -1;
    group_ = std::make_unique<Group>(ranks_, number);
    takes_part_ = number >= 0;
  }
  return Agree([&]() -> Prepared {
    if (!failed.empty()) throw Error(failed);
    if (asked.on == On::kEachNode) {
      return OnEachNode(own != nullptr ? own->prepare(asked.seed) : Prepared(), ranks_);
    }
    if (!own->across) {
      Prepared no = own->prepare(asked.seed);
      if (std::holds_alternative<Skipped>(no)) return no;
      throw Error(fmt::format("{} is a case of one node", asked.record.probe));
    }
    if (!takes_part_) return nullptr;
    return own->across->join(group_ ? static_cast<Ranks&>(*group_) : ranks_, asked.seed, asked.how);
  });
}

// The case as this rank's probe unfolds it, once for all commands in a row that are about it.
// Throws what unfolding throws.
const Case& Worker::OwnCase(const Record& asked) {
  std::string key = MatchKey(asked) + '/' + asked.backend;
  if (key == own_key_) return own_case_;
  own_key_.clear();
  own_case_ = member_.own_case(asked);
  own_key_ = std::move(key);
  return own_case_;
}

// Checks that the case is for these ranks and groups. Throws Error where it isn't.
void Worker::CheckFits(const AcrossRanks& asked, On on) const {
  if (asked.ranks != ranks_.Size()) {
    throw Error(
        fmt::format("a case of {} was asked of {}", CountText(asked.ranks, "rank"), ranks_.Size()));
  }
  const std::size_t in_groups = on == On::kGroups ? static_cast<std::size_t>(ranks_.Size()) : 0;
  if (asked.groups.size() != in_groups) {
    throw Error(fmt::format("the case tells the groups of {}, and should tell those of {}",
                            CountText(asked.groups.size(), "rank"), in_groups));
  }
}

// Prepares on all ranks. Where one of them can't, the answer is its reason, and none runs the case.
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
    own = ErrorAnswer(error);
  }
  if (group_) group_->Rest();
  const std::vector<std::string> all = ranks_.Gather(own);
  const auto no = std::ranges::find_if(all, [](const auto& one) { return one != "ok"; });
  return no == all.end() ? "ok" : *no;
}

void Follow(Worker& worker) {
  for (std::string command; (command = worker.NextCommand()) != "quit";) worker.Obey(command);
}

std::unique_ptr<Job> MakeJob(Ranks& ranks, Member member, const WatchOptions& watch) {
  return std::make_unique<OwnJob>(ranks, std::move(member), watch);
}

}  // namespace assay
