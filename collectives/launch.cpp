#include "collectives/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>
#include <utility>

#include "collectives/descriptor.h"
#include "results/error.h"
#include "results/privacy.h"
#include "results/text.h"

namespace assay {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Marks the lines that are answers, since libraries under the worker may print too.
constexpr std::string_view kAnswer = "assay: ";
constexpr std::size_t kMaxLine = 1 << 20;
constexpr std::size_t kMaxErrors = 1 << 14;

// Two connected ends, so that a write to a dead child is an error and never a SIGPIPE.
std::pair<Descriptor, Descriptor> Connection() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw Error(fmt::format("no connection to the ranks could be made: {}", std::strerror(errno)));
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// The environment of the launcher: ours, and the leave to run as root where we are root anyway,
// under the names of Open MPI 4 and of 5's PRRTE.
std::vector<std::string> Environment() {
  std::vector<std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) variables.emplace_back(*each);
  if (geteuid() == 0) {
    for (const char* name : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
                             "PRTE_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"}) {
      if (std::getenv(name) == nullptr) variables.push_back(std::string(name) + "=1");
    }
  }
  return variables;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

class LaunchedJob : public Job {
 public:
  explicit LaunchedJob(const LaunchOptions& options) : options_(options) { Start(); }
  // At the end of its input rank 0 sends the others home.
  ~LaunchedJob() override {
    commands_.Close();
    Reap(/*patience=*/std::chrono::seconds(5));
  }

  bool Alive() const override { return pid_ > 0; }

  std::string Ask(const std::string& command) override {
    if (!Alive()) throw Error("the ranks have ended already; run again");
    deadline_ =
        SteadyClock::now() + std::chrono::duration_cast<SteadyClock::duration>(options_.timeout);
    Send(command + "\n");
    for (std::string line;;) {
      while (!TakeLine(line)) ReadMore(command);
      if (line.compare(0, kAnswer.size(), kAnswer) == 0) {
        return TakeAnswer(line.substr(kAnswer.size()));
      }
    }
  }

 private:
  void Start() {
    std::vector<std::string> words = {options_.launcher, "-np", std::to_string(options_.ranks)};
    for (const char* word : {"--bind-to", options_.oversubscribe ? "none" : "core"}) {
      words.emplace_back(word);
    }
    if (options_.oversubscribe) words.emplace_back("--oversubscribe");
    words.push_back(options_.self);
    words.emplace_back("--worker");
    std::vector<std::string> environment = Environment();
    const std::vector<char*> argv = Pointers(words);
    const std::vector<char*> envp = Pointers(environment);

    Descriptor commands, answers, errors;
    std::tie(commands_, commands) = Connection();
    std::tie(answers_, answers) = Connection();
    std::tie(errors_, errors) = Connection();
    pid_ = fork();
    if (pid_ < 0) {
      throw Error(fmt::format("{} could not be started: {}", words[0], std::strerror(errno)));
    }
    if (pid_ == 0) {
      // Only what is safe between fork and exec. A group of its own keeps the terminal's ^C from
      // the ranks, which end when we do; and should we be killed, so is the launcher.
      setpgid(0, 0);
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      dup2(commands.Number(), STDIN_FILENO);
      dup2(answers.Number(), STDOUT_FILENO);
      dup2(errors.Number(), STDERR_FILENO);
      execve(argv[0], argv.data(), envp.data());
      _exit(127);
    }
    setpgid(pid_, pid_);  // here too, whichever comes first
  }

  void Send(const std::string& text) {
    for (std::size_t sent = 0; sent < text.size();) {
      const ssize_t n =
          send(commands_.Number(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) Fail("ended early");
      sent += static_cast<std::size_t>(n);
    }
  }

  bool TakeLine(std::string& line) {
    const std::size_t end = received_.find('\n');
    if (end == std::string::npos) return false;
    line = received_.substr(0, end);
    received_.erase(0, end + 1);
    return true;
  }

  // Waits for anything from the launcher. Throws Error when it is gone or the time is over.
  void ReadMore(const std::string& command) {
    using std::chrono::duration_cast, std::chrono::milliseconds;
    const auto left = duration_cast<milliseconds>(deadline_ - SteadyClock::now()).count();
    if (left <= 0) {
      Fail(fmt::format("did not answer \"{}\" within {} and were stopped", command,
                       Duration(options_.timeout.count())));
    }
    pollfd ready[] = {{.fd = answers_.Number(), .events = POLLIN, .revents = 0},
                      {.fd = errors_.Number(), .events = POLLIN, .revents = 0}};
    if (poll(ready, 2, static_cast<int>(std::min<long>(left, 60000))) < 0) return;  // EINTR
    if (ready[1].revents != 0 && !Read(errors_, words_, kMaxErrors)) errors_.Close();
    if (ready[0].revents != 0 && !Read(answers_, received_, kMaxLine)) Fail("ended early");
  }

  // False at the end. Keeps the last `most` bytes.
  static bool Read(const Descriptor& from, std::string& text, std::size_t most) {
    char buffer[4096];
    const ssize_t n = read(from.Number(), buffer, sizeof(buffer));
    if (n <= 0) return n < 0 && errno == EINTR;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > most) text.erase(0, text.size() - most);
    return true;
  }

  [[noreturn]] void Fail(const std::string& what) {
    Reap(/*patience=*/std::chrono::seconds(0));
    pollfd more = {.fd = errors_.Number(), .events = POLLIN, .revents = 0};
    while (poll(&more, 1, 0) > 0 && Read(errors_, words_, kMaxErrors)) continue;
    const std::string last = LastWords();
    throw Error(fmt::format("the {} ranks of {} {}{}; see whether `mpirun -np {} true` works here",
                            options_.ranks, options_.launcher, what,
                            last.empty() ? "" : " (\"" + last + "\")", options_.ranks));
  }

  // The worker's own complaint if there is one, else the last line that has a word in it. Launchers
  // tell of hosts, addresses and users, and the sentence goes into the result file.
  std::string LastWords() const {
    std::string last;
    bool is_own = false;
    std::istringstream lines(words_);
    for (std::string line; std::getline(lines, line);) {
      const bool own = line.compare(0, kAnswer.size(), kAnswer) == 0;
      const bool has_word = std::any_of(line.begin(), line.end(),
                                        [](unsigned char c) { return std::isalpha(c) != 0; });
      if (!has_word || (is_own && !own)) continue;
      last = own ? line.substr(kAnswer.size()) : line;
      is_own = own;
    }
    return ScrubText(last);
  }

  // Returns when the launcher is gone. One that is asked to end takes its ranks with it; one that
  // does not listen is killed, with its group, and ranks that lose their launcher end themselves.
  void Reap(SteadyClock::duration patience) {
    if (pid_ <= 0) return;
    const auto ends_within = [this](SteadyClock::duration time) {
      const auto until = SteadyClock::now() + time;
      do {
        if (waitpid(pid_, nullptr, WNOHANG) != 0) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      } while (SteadyClock::now() < until);
      return false;
    };
    if (!ends_within(patience)) {
      kill(pid_, SIGTERM);
      if (!ends_within(std::chrono::seconds(3))) {
        kill(-pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
      }
    }
    kill(-pid_, SIGKILL);  // what is left of its group
    pid_ = -1;
  }

  LaunchOptions options_;
  pid_t pid_ = -1;
  Descriptor commands_, answers_, errors_;
  SteadyClock::time_point deadline_ = {};
  std::string received_ = {};
  std::string words_ = {};
};

}  // namespace

std::optional<std::string> FindProgram(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (folder.empty() || folder[0] != '/') continue;
    const std::string file = folder + "/" + name;
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return std::nullopt;
}

std::unique_ptr<Job> Launch(const LaunchOptions& options) {
  auto job = std::make_unique<LaunchedJob>(options);
  const std::size_t size = NodesOf(*job).size();
  if (size != static_cast<std::size_t>(options.ranks)) {
    throw Error(fmt::format(
        "{} started {} ranks, but they see {}: it belongs to another MPI than the one that assay "
        "was built with; put Open MPI's mpirun first in PATH",
        options.launcher, options.ranks, size));
  }
  return job;
}

void Serve(int commands, int answers, Ranks& ranks, Worker& worker) {
  std::string received;
  for (;;) {
    std::size_t end = 0;
    while ((end = received.find('\n')) == std::string::npos) {
      char buffer[4096];
      const ssize_t n = read(commands, buffer, sizeof(buffer));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      received.append(buffer, static_cast<std::size_t>(n));
    }
    const std::string command = received.substr(0, end);
    received.erase(0, end + 1);
    ranks.Broadcast(command);
    const std::string line = std::string(kAnswer) + worker.Obey(command) + "\n";
    for (std::size_t sent = 0; sent < line.size();) {
      const ssize_t n = write(answers, line.data() + sent, line.size() - sent);
      if (n < 0 && errno != EINTR) return;
      sent += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    }
  }
}

}  // namespace assay
