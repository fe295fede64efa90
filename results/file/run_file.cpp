#include "results/file/run_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "results/base/error.h"
#include "results/base/files.h"
#include "results/file/json.h"

namespace assay {
namespace {

constexpr std::int64_t kLargestFile = std::int64_t{1} << 30U;  // a journal's line, too
constexpr const char* kOption = "--out";
constexpr const char* kWhatToGive = "a result file that 'assay run' wrote";

void TellOfItsJournal(const std::string& path) {
  if (access(path.c_str(), F_OK) == 0 || access((path + ".part").c_str(), F_OK) != 0) return;
  throw Error(
      fmt::format("there is no '{0}', but '{0}.part', which an interrupted run left; "
                  "give that name",
                  path));
}

// Makes a run of a journal's lines. The newest line of a case decides about everything but its
// rounds, which add up (and count for nothing once an answer was wrong). A visit is known by its
// case and its round, so that one which is there twice counts once. The run is held to the limits
// of a file, since it becomes one; what lines repeat is not, since a soak repeats it a million
// times.
class JournalReader {
 public:
  JournalReader(std::string source, const ReadLimits& limits)
      : source_(std::move(source)), limits_(limits) {}

  void Add(std::string_view line) {
    const std::string name = fmt::format("{}, line {}", source_, ++lines_);
    if (lines_ == 1) {
      run_ = RunFromJson(line, name);
      run_.records.clear();
    } else {
      Fold(line, name);
    }
  }

  Run Finish() {
    if (lines_ == 0) {
      throw Error(
          fmt::format("{}: nothing had been measured when this run ended; run it again", source_));
    }
    run_.status = "interrupted";
    run_.complete = false;
    for (Record& record : run_.records) {
      if (record.status == Status::kSkipped) continue;
      record.complete = static_cast<int>(record.rounds.size()) >= run_.rounds;
      if (!record.complete) record.stopped = "interrupted";
    }
    if (const std::string broken = BrokenReference(run_); !broken.empty()) {
      throw Error(fmt::format("{}: it {}; the file is damaged, so measure again", source_, broken));
    }
    return std::move(run_);
  }

 private:
  // Adds one record's line to what is held of its case.
  void Fold(std::string_view line, const std::string& name) {
    HeldValues held;
    Record newest = RecordFromJson(line, name, &held);
    const auto [place, is_new] = places_.emplace(RecordKey(newest), run_.records.size());
    if (is_new) {
      CheckLimit(run_.records.size() + 1, limits_.entries, "records", name);
      run_.records.emplace_back();
      kept_.emplace_back();
    }
    Record& record = run_.records[place->second];
    HeldValues& kept = kept_[place->second];
    values_ += held.rounds + held.rest - kept.rest;
    kept.rest = held.rest;
    std::vector<Visit> rounds = std::move(record.rounds);
    if (newest.status == Status::kWrong) {
      rounds.clear();
      values_ -= std::exchange(kept.rounds, 0);
    }
    bool is_repeated = !newest.rounds.empty();
    for (Visit& visit : newest.rounds) is_repeated &= !AddVisit(std::move(visit), rounds);
    if (is_repeated) {
      values_ -= held.rounds;  // as many as the visits had whose places they took
    } else {
      kept.rounds += held.rounds;
    }
    CheckLimit(values_, limits_.values, "values", name);
    CheckLimit(rounds.size(), limits_.entries, "rounds of a case", name);
    record = std::move(newest);
    record.rounds = std::move(rounds);
  }

  // Adds a visit in the order of rounds, or puts it in the place of the same one. Returns whether
  // it is a new one. Visits that tell no round are all new, and stand first.
  static bool AddVisit(Visit visit, std::vector<Visit>& visits) {
    const auto place = visit.round == 0
                           ? std::ranges::upper_bound(visits, 0, {}, &Visit::round)
                           : std::ranges::lower_bound(visits, visit.round, {}, &Visit::round);
    if (visit.round > 0 && place != visits.end() && place->round == visit.round) {
      *place = std::move(visit);
      return false;
    }
    visits.insert(place, std::move(visit));
    return true;
  }

  template <class Number>
  static void CheckLimit(Number number, Number most, const char* what, const std::string& name) {
    if (number <= most) return;
    throw Error(
        fmt::format("{}: the journal has more {} than the {} that it may have; it is damaged or "
                    "wasn't written by assay, so measure again or take a sound copy",
                    name, what, most));
  }

  std::string source_;
  ReadLimits limits_;
  Run run_ = {};
  std::size_t lines_ = 0;
  std::map<std::string, std::size_t> places_ = {};  // indices into run_.records, by RecordKey
  std::vector<HeldValues> kept_ = {};               // the values of each record
  std::int64_t values_ = 0;                         // the values of all records
};

Run ReadJournal(const std::string& path) {
  JournalReader reader(path, {});
  ReadLines(path, kLargestFile, kWhatToGive, [&](std::string_view line) { reader.Add(line); });
  return reader.Finish();
}

// Whether the run holds figures of our tests' stand-ins, which are known by the names of their
// devices.
bool IsOfStandIn(const Run& run) {
  constexpr std::string_view kName = "stand-in";
  const auto calls_itself_so = [&](const auto& thing) { return thing.name == kName; };
  return std::ranges::any_of(run.nodes,
                             [&](const Node& node) {
                               return std::ranges::any_of(node.accelerators, calls_itself_so);
                             }) ||
         std::ranges::any_of(run.records, [&](const Record& record) {
           const auto device = record.facts.find("device");
           return device != record.facts.end() && device->second == Fact(std::string(kName));
         });
}

// The name with a number: "a-2.json" for "a.json" and 2.
std::string NumberedName(const std::string& path, int number) {
  const std::filesystem::path name(path);
  return (name.parent_path() /
          fmt::format("{}-{}{}", name.stem().string(), number, name.extension().string()))
      .string();
}

}  // namespace

Run ReadRun(const std::string& path) {
  TellOfItsJournal(path);
  Run run = path.ends_with(".part") ? ReadJournal(path)
                                    : RunFromJson(ReadText(path, kLargestFile, kWhatToGive), path);
  if (run.id.empty()) {
    throw Error(
        fmt::format("{}: this run has no id, by which copies of it are known; give the file as "
                    "'assay run' wrote it",
                    path));
  }
  if (IsOfStandIn(run)) {
    throw Error(
        fmt::format("{}: this was made with a stand-in for a vendor's library, as our tests use, "
                    "and measures nothing; run it on a real device",
                    path));
  }
  return run;
}

Run RunFromJournal(std::string_view text, const std::string& source, const ReadLimits& limits) {
  JournalReader reader(source, limits);
  for (auto end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    reader.Add(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return reader.Finish();
}

struct Journal::State {
  explicit State(const std::string& file)
      : path(file), part(file + ".part"), journal(part, O_WRONLY | O_CREAT | O_EXCL) {}

  // Writes what is pending behind the last whole line. A failed write leaves a torn line there,
  // which readers drop and the next write overwrites. `then` ends the sentence of an Error with
  // what follows from it.
  void Flush(const char* then = "; nothing is lost yet, and the next visit tries again") {
    if (pending.empty()) return;
    if (!journal.WriteAt(size, pending) || fdatasync(journal.Number()) != 0) {
      FailToWrite(part, errno, kOption, then);
    }
    size += static_cast<std::int64_t>(pending.size());
    pending.clear();
  }

  std::string path;
  std::string part;
  File journal;
  Run header = {};
  std::int64_t size = 0;  // the size of all whole lines in the file
  std::string pending;
  bool hold = false;
  std::map<std::string, std::size_t> rounds_written;  // by RecordKey
};

Journal::Journal(const std::string& path, const Run& header, WhereTaken where_taken) {
  Run first = header;
  first.records.clear();
  if (const std::string broken = BrokenReference(first); !broken.empty()) {
    throw Error(fmt::format("this run {}, so its file could not be read; name every node", broken));
  }
  for (int next = 2; !Claim(next == 2 ? path : NumberedName(path, next - 1), where_taken); ++next) {
    continue;
  }
  state_->pending = RunToJson(first);
  state_->header = std::move(first);
  try {
    state_->Flush("");
    if (!SyncFolder(state_->path)) FailToWrite(state_->part, errno, kOption);
  } catch (const Error&) {
    unlink(state_->part.c_str());  // the journal holds nothing yet, and would be in the way
    throw;
  }
}

// Claims a name by creating its journal. The file is looked for only afterwards, since a run that
// finishes removes its journal last.
bool Journal::Claim(const std::string& path, WhereTaken where_taken) {
  const bool may_go_on = where_taken == WhereTaken::kTakesNext;
  state_ = std::make_unique<State>(path);
  if (!state_->journal.IsOpen()) {
    if (errno != EEXIST) FailToWrite(state_->part, errno, kOption);
    if (may_go_on) return false;
    throw Error(
        fmt::format("'{}' is there already: another run writes it or was interrupted; "
                    "keep it under another name or choose another --out",
                    state_->part));
  }
  if (!IsTaken(path)) return true;
  unlink(state_->part.c_str());
  if (may_go_on) return false;
  if (access(path.c_str(), F_OK) != 0) {
    throw Error(fmt::format(
        "'{}' is a link that leads to nothing, and links are not followed; remove it or "
        "choose another --out",
        path));
  }
  throw Error(
      fmt::format("'{}' is there already and is never written over; remove it or choose "
                  "another --out",
                  path));
}

const std::string& Journal::Path() const { return state_->path; }

Journal::~Journal() {
  if (state_ == nullptr) return;
  try {
    state_->Flush();
  } catch (const Error&) {
    // A destructor can't report this; everything that was written before is kept.
  }
}

void Journal::Append(const Record& record, int round) {
  // A record that no reader would accept is found out at the first visit, and not after the last.
  state_->header.records = {record};
  if (const std::string broken = BrokenReference(state_->header); !broken.empty()) {
    throw Error(fmt::format("this run {} ({}), so its file could not be read; name every node",
                            broken, record.probe));
  }
  std::size_t& written = state_->rounds_written[RecordKey(record)];
  Record newest = record;
  const std::size_t old = std::min(written, newest.rounds.size());
  newest.rounds.erase(newest.rounds.begin(),
                      newest.rounds.begin() + static_cast<std::ptrdiff_t>(old));
  written = record.rounds.size();
  // The number `round` is for people who look at the journal; readers count the rounds.
  state_->pending += fmt::format("{{\"round\":{},{}\n", round, RecordToJson(newest).substr(1));
  if (!state_->hold) state_->Flush();
}

void Journal::HoldBack(bool hold) {
  state_->hold = hold;
  if (!hold) state_->Flush();
}

void Journal::Finish(const Run& run) {
  const std::string kept = fmt::format("; what was measured is in '{}'", state_->part);
  Run whole = run;
  state_->Flush("; what it holds is whole, and what was measured since then is lost");
  bool folded = false;
  std::set<std::string> known;
  for (const Record& record : whole.records) known.insert(RecordKey(record));
  try {
    for (Record& record : ReadRun(state_->part).records) {
      if (known.contains(RecordKey(record))) continue;
      whole.records.push_back(std::move(record));
    }
    folded = true;
  } catch (const Error&) {
    // A damaged journal doesn't keep `run` from its file, and is left as it is.
  }

  const int error = PutFile(state_->path, RunToJson(whole), Replacing::kNever);
  if (error != 0) FailToWrite(state_->path, error, kOption, kept);
  if (folded) unlink(state_->part.c_str());
  state_.reset();
}

}  // namespace assay
