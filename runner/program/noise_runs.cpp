#include "runner/program/noise_runs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>

#include "results/base/descriptor.h"
#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/text.h"
#include "results/figures/side_values.h"
#include "results/figures/spread.h"
#include "results/file/run_file.h"
#include "results/show/tables.h"
#include "runner/cluster/cluster.h"
#include "runner/core/engine.h"
#include "runner/core/module.h"
#include "runner/program/choice.h"
#include "runner/program/console.h"
#include "runner/program/measure.h"
#include "runner/program/result_files.h"
#include "runner/program/setup.h"
#include "runner/program/signals.h"
#include "runner/program/suite.h"

namespace assay {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kOption = "--noise";
constexpr double kAnHour = 59;                  // minutes, less what a clock or two may be off
constexpr std::chrono::milliseconds kLook(50);  // the pause between two looks at a process

// A temporary folder, which is removed at the end of this object's life.
class Scratch {
 public:
  Scratch() {
    path_ = (fs::temp_directory_path() / "assay-noise-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) {
      throw Error(fmt::format("can't make the folder '{}': {}; set TMPDIR to one with free space",
                              path_, std::strerror(errno)));
    }
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string File(int number) const { return fmt::format("{}/{}.json", path_, number); }

 private:
  std::string path_;
};

// Starts another process of this program. What it prints on standard output is dropped, and it is
// ended if this process dies.
pid_t Start(const std::vector<std::string>& arguments) {
  static const std::string self = fs::read_symlink("/proc/self/exe").string();
  std::vector<std::string> words = {self};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw Error(fmt::format("can't start a run: {}", std::strerror(errno)));
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kInterrupted);
  const Descriptor nothing(open("/dev/null", O_WRONLY | O_CLOEXEC));
  dup2(nothing.Number(), STDOUT_FILENO);
  execv(self.c_str(), argv.data());
  _exit(127);
}

// Waits for a child process and returns its exit status, as a shell has it. Returns nothing where
// this process was told to end meanwhile; the child has then been told to end, and has done so.
std::optional<int> StatusOf(pid_t pid) {
  bool is_told = false;
  for (;;) {
    int status = 0;
    const pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid) {
      if (is_told) return std::nullopt;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (IsToldToEnd() && !is_told) {
      is_told = true;
      kill(pid, SIGTERM);
    }
    std::this_thread::sleep_for(kLook);
  }
}

// Sleeps until `due`. Returns false where this process is told to end before that.
bool SleepUntil(Clock::time_point due) {
  while (!IsToldToEnd() && Clock::now() < due) std::this_thread::sleep_for(kLook);
  return !IsToldToEnd();
}

// Starts the runs one after the other, spread evenly over the time. Returns them in the order in
// which they were begun; nothing where this process or a run was told to end.
std::optional<std::vector<Run>> RunAgainAndAgain(const NoiseOptions& options,
                                                 const Scratch& scratch, Console& console) {
  const Clock::time_point begin = Clock::now();
  const std::chrono::duration<double> gap(options.minutes * 60 / (options.runs - 1));
  for (int i = 0; i < options.runs; ++i) {
    if (!SleepUntil(begin + std::chrono::duration_cast<Clock::duration>(gap * i))) {
      return std::nullopt;
    }
    console.Note(fmt::format("run {} of {} ({})\n", i + 1, options.runs, i % 2 == 0 ? "A" : "B"));
    std::vector<std::string> words = {"run"};
    words.insert(words.end(), options.words.begin(), options.words.end());
    words.insert(words.end(), {"--quiet", "--out", scratch.File(i)});
    const std::optional<int> status = StatusOf(Start(words));
    if (!status || *status == kInterrupted) return std::nullopt;
    if (*status != kAllWell && *status != kMeasuredButNotWell) {
      throw Error(fmt::format(
          "run {} of {} ended with status {}, and nothing was kept; see what 'assay run' says",
          i + 1, options.runs, *status));
    }
  }
  std::vector<Run> runs;
  for (int i = 0; i < options.runs; ++i) runs.push_back(ReadRun(scratch.File(i)));
  return runs;
}

// Throws Error where the options ask for what every run would refuse, so that it is told at once.
void CheckRun(const RunOptions& options) {
  const Modules modules = Modules::Load();
  Setup setup = MakeSetup(options, modules);
  setup.roster = OpenCluster({.modules = &modules})->WhoIsThere();
  Matching(CasesOfRun(options, LoadSuite(options.suite), AllProbes(setup)), options.filter);
}

// The folder beside a noise.csv in which --add keeps the runs of a session, in a folder each.
std::string KeptRunsOf(const std::string& path) { return path + ".runs"; }
// The end of the name of a folder that is being written.
constexpr std::string_view kUnfinished = ".new";

// The sessions that were kept in a folder, the oldest first; none where there is no such folder.
// Throws Error for a folder or a file that can't be read.
std::vector<std::vector<Run>> ReadSessions(const std::string& folder) {
  std::vector<std::vector<Run>> sessions;
  std::error_code error;
  std::vector<std::string> names;
  if (!fs::exists(folder, error)) return {};
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().string();
    if (at->is_directory() && !name.ends_with(kUnfinished)) names.push_back(name);
  }
  if (error) {
    throw Error(
        fmt::format("can't read the kept runs in '{}': {}; give it back to you, or leave "
                    "--add out",
                    Clean(folder, 1024), error.message()));
  }
  std::ranges::sort(names);
  for (const std::string& name : names) {
    std::vector<Run> runs = ReadAllRuns(FindResultFiles({name}).paths);
    std::ranges::sort(runs, {}, &Run::started);
    if (runs.size() > 1) sessions.push_back(std::move(runs));
  }
  return sessions;
}

// Keeps the files of a session, all or none.
void KeepSession(const std::string& folder, const Scratch& scratch, const std::vector<Run>& runs) {
  const std::string place = folder + '/' + FileNamePart(runs.front().started);
  const std::string unfinished = place + std::string(kUnfinished);
  std::error_code error;
  fs::remove_all(unfinished, error);
  fs::create_directories(unfinished, error);
  for (std::size_t i = 0; i < runs.size() && !error; ++i) {
    const std::string file = fmt::format("{}/{:03}.json", unfinished, i);
    fs::copy_file(scratch.File(static_cast<int>(i)), file, error);
  }
  if (!error) fs::rename(unfinished, place, error);
  if (!error) return;
  std::error_code ignored;
  fs::remove_all(unfinished, ignored);
  throw Error(fmt::format("can't keep the runs in '{}': {}; nothing was kept, make room there",
                          Clean(place, 1024), error.message()));
}

// The rows of the file; none where there is no such file. Throws Error for a bad file.
std::vector<Noise> RowsThere(const std::string& path) {
  return fs::exists(path) ? ReadNoise(path) : std::vector<Noise>();
}

}  // namespace

std::string OwnNoisePath() {
  const char* const data = secure_getenv("XDG_DATA_HOME");
  // A relative path must be ignored (XDG Base Directory Specification).
  if (data != nullptr && data[0] == '/') return std::string(data) + "/assay/noise.csv";
  const char* const home = secure_getenv("HOME");
  if (home == nullptr || home[0] != '/') return "";
  return std::string(home) + "/.local/share/assay/noise.csv";
}

std::vector<Noise> OwnNoise(const std::string& named) {
  if (!named.empty()) return ReadNoise(named);
  const std::string own = OwnNoisePath();
  return own.empty() ? std::vector<Noise>() : RowsThere(own);
}

int MeasureNoise(const NoiseOptions& options) {
  Console console(options.run.quiet);
  const std::string path = options.file.empty() ? OwnNoisePath() : options.file;
  if (path.empty()) {
    throw Error(
        "there is no folder for noise.csv, since neither XDG_DATA_HOME nor HOME is set; "
        "name a file with --noise");
  }
  CheckRun(options.run);
  RowsThere(path);  // refuses a bad file now and not in an hour
  if (options.file.empty()) {
    std::error_code ignored;  // CheckWritable reports what is wrong
    fs::create_directories(fs::path(path).parent_path(), ignored);
  }
  CheckWritable(path, kOption);
  std::vector<std::vector<Run>> sessions;
  if (options.add) sessions = ReadSessions(KeptRunsOf(path));
  CatchSignals();
  const Scratch scratch;
  std::optional<std::vector<Run>> runs = RunAgainAndAgain(options, scratch, console);
  if (!runs) {
    console.Note("interrupted: nothing was kept\n");
    return kInterrupted;
  }
  // Others may measure into the same file from their own machine.
  const std::string node = NodesKey(runs->front());
  std::erase_if(sessions,
                [&](const std::vector<Run>& session) { return NodesKey(session.front()) != node; });
  if (options.add) KeepSession(KeptRunsOf(path), scratch, *runs);
  sessions.push_back(std::move(*runs));
  const std::vector<SpreadFound> found = FindSpread(sessions, Today());
  const MergedNoise merged = MergeNoise(RowsThere(path), found);
  if (merged.is_changed) {
    WriteText(path, NoiseToCsv(merged.rows), kOption);
    console.Note(fmt::format("wrote {}\n", Clean(path, 1024)));
  }
  if (const double minutes = *found.front().row.span_minutes; minutes < kAnHour) {
    console.Note(
        fmt::format("note: for runs further apart than {:.3g} min these rows count as 2 df; --add "
                    "on other days spreads them over more time\n",
                    minutes));
  }
  for (const std::string& sentence : merged.kept) console.Note(fmt::format("note: {}\n", sentence));
  console.Result(SpreadTable(found, console.Colour()));
  return kAllWell;
}

}  // namespace assay
