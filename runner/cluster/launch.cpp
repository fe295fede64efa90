#include "runner/cluster/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <thread>
#include <utility>

#include "results/base/descriptor.h"
#include "results/base/error.h"
#include "results/base/hash.h"
#include "results/base/text.h"
#include "results/file/privacy.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

using SteadyClock = std::chrono::steady_clock;

// The mark of lines that are answers, since libraries in the worker may print, too.
constexpr std::string_view kAnswer = "assay: ";
constexpr std::size_t kMaxLine = 1 << 20;
constexpr std::size_t kMaxErrors = 1 << 14;

// Makes two connected sockets, so that a write to a dead child is an error and never a SIGPIPE.
std::pair<Descriptor, Descriptor> Connection() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw Error(fmt::format("no connection to the ranks could be made: {}", std::strerror(errno)));
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

using Variables = std::map<std::string, std::string>;

Variables OwnEnvironment() {
  Variables variables;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
    const std::string text = *each;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

// The variables that permit Open MPI to run as root, which are set where we are root anyway, under
// the names of Open MPI 4 and of 5's PRRTE.
Variables EnvironmentOfMpirun(const Variables& workers) {
  Variables variables = workers;
  if (geteuid() == 0) {
    for (const char* name : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
                             "PRTE_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"}) {
      variables.emplace(name, "1");
    }
  }
  return variables;
}

// The socket on which rank 0 will listen. It is opened here, so that its port is known before any
// rank starts.
struct Listener {
  Descriptor socket = {};
  int port = 0;
};

Listener ListenOnLoopback() {
  Listener listener = {.socket = Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))};
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  const int number = listener.socket.Number();
  if (bind(number, plain, size) != 0 || listen(number, SOMAXCONN) != 0 ||
      getsockname(number, plain, &size) != 0) {
    throw Error(fmt::format("ranks can't meet on this machine's loopback interface: {}",
                            std::strerror(errno)));
  }
  listener.port = ntohs(address.sin_port);
  return listener;
}

std::vector<std::string> Texts(const Variables& variables) {
  std::vector<std::string> texts;
  for (const auto& [name, value] : variables) texts.push_back(name + "=" + value);
  return texts;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

bool HasWord(const std::string& line) {
  return std::any_of(line.begin(), line.end(),
                     [](unsigned char c) { return std::isalpha(c) != 0; });
}

// The frame of dashes, between two of which Open MPI puts its messages.
bool IsFrame(const std::string& line) {
  return line.size() > 20 && line.find_first_not_of('-') == std::string::npos;
}

std::string Trimmed(const std::string& line) {
  const std::size_t begin = line.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return "";
  return line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin);
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream all(text);
  for (std::string line; std::getline(all, line);) lines.push_back(Trimmed(line));
  return lines;
}

// The beginning of lines in which ranks complain.
std::string ComplaintsIn(const std::string& words) {
  std::string complaints;
  for (const std::string& line : LinesOf(words)) {
    if (line.starts_with(kAnswer)) complaints += line + "\n";
  }
  return complaints;
}

class LaunchedJob : public Job {
 public:
  explicit LaunchedJob(const LaunchOptions& options) : options_(options) { Start(); }
  // Rank 0 sends the others home at the end of its input.
  ~LaunchedJob() override {
    commands_.Close();
    Reap(/*patience=*/std::chrono::seconds(5));
  }

  bool Alive() const override { return !children_.empty(); }

  std::string Ask(const std::string& command) override {
    if (!Alive()) throw Error("the ranks have ended already; run again");
    allowed_ = std::exchange(started_, true) ? options_.timeout : options_.start;
    const auto allowed = std::chrono::duration_cast<SteadyClock::duration>(allowed_);
    deadline_ = SteadyClock::now() + allowed;
    Send(command + "\n");
    for (std::string line;;) {
      while (!TakeLine(line)) ReadMore(command);
      deadline_ = SteadyClock::now() + allowed;  // whatever it says, it lives
      if (line.compare(0, kAnswer.size(), kAnswer) == 0) {
        // The ranks have come up, so everything that was said until now were warnings.
        if (!std::exchange(answered_, true)) words_ = ComplaintsIn(words_);
        return TakeAnswer(line.substr(kAnswer.size()));
      }
    }
  }

 private:
  void Start() {
    Descriptor commands, answers, errors;
    std::tie(commands_, commands) = Connection();
    std::tie(answers_, answers) = Connection();
    std::tie(errors_, errors) = Connection();
    if (IsPlain()) {
      StartRanks(commands, answers, errors);
    } else {
      StartMpirun(commands, answers, errors);
    }
  }

  bool Pins() const { return options_.pinned && !options_.oversubscribe; }

  void StartMpirun(const Descriptor& commands, const Descriptor& answers,
                   const Descriptor& errors) {
    const bool is_hydra = options_.launcher->family == "mpich";
    std::vector<std::string> words = {
        options_.launcher->path, "-np", std::to_string(options_.ranks),
        is_hydra ? "-bind-to" : "--bind-to", Pins() ? "core" : "none"};
    if (options_.oversubscribe && !is_hydra) words.emplace_back("--oversubscribe");
    words.insert(words.end(), {options_.self, "--worker"});
    // An mpirun that is asked to end takes its ranks along.
    Spawn({.words = words,
           .variables = EnvironmentOfMpirun(EnvironmentOfWorkers()),
           .when_orphaned = SIGTERM,
           .input = commands.Number(),
           .output = answers.Number(),
           .errors = errors.Number()});
  }

  void StartRanks(const Descriptor& commands, const Descriptor& answers, const Descriptor& errors) {
    const Listener listener = ListenOnLoopback();
    const Descriptor nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const std::string key = RandomHex(32);
    for (int rank = 0; rank < options_.ranks; ++rank) {
      Variables variables = EnvironmentOfWorkers();
      variables["ASSAY_BOOTSTRAP"] = "tcp";
      variables["ASSAY_BOOTSTRAP_KEY"] = key;
      variables["ASSAY_BOOTSTRAP_LISTENER"] = std::to_string(listener.socket.Number());
      variables["MASTER_ADDR"] = "127.0.0.1";
      variables["MASTER_PORT"] = std::to_string(listener.port);
      variables["WORLD_SIZE"] = std::to_string(options_.ranks);
      variables["RANK"] = std::to_string(rank);
      variables["LOCAL_RANK"] = std::to_string(rank);
      Spawn({.words = {options_.self, "--worker"},
             .variables = variables,
             .when_orphaned = SIGKILL,
             .input = rank == 0 ? commands.Number() : nothing.Number(),
             .output = rank == 0 ? answers.Number() : errors.Number(),
             .errors = errors.Number(),
             .kept = rank == 0 ? listener.socket.Number() : -1,
             .core = Pins() ? UsableCores().at(static_cast<std::size_t>(rank)) : -1});
    }
  }

  // glibc 2.36 declares pidfd_open for C alone.
  static Descriptor HandleOf(pid_t pid) {
    return Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  }

  Variables EnvironmentOfWorkers() const {
    Variables variables = OwnEnvironment();
    variables["ASSAY_WATCHDOG"] = fmt::format("{}", options_.timeout.count());
    return variables;
  }

  struct Program {
    std::vector<std::string> words = {};
    Variables variables = {};
    int when_orphaned = SIGKILL;
    int input = -1;
    int output = -1;
    int errors = -1;
    int kept = -1;  // a further descriptor that it gets; -1: none
    int core = -1;  // the core that it is pinned to; -1: none
  };

  void Spawn(Program program) {
    std::vector<std::string> environment = Texts(program.variables);
    const std::vector<char*> argv = Pointers(program.words);
    const std::vector<char*> envp = Pointers(environment);
    cpu_set_t core;
    CPU_ZERO(&core);
    if (program.core >= 0) CPU_SET(static_cast<std::size_t>(program.core), &core);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
      Reap(std::chrono::seconds(0));
      throw Error(
          fmt::format("{} could not be started: {}", program.words[0], std::strerror(errno)));
    }
    if (pid == 0) {
      // Only async-signal-safe calls are allowed between fork and exec. A process group of its own
      // keeps the terminal's ^C from the ranks, which end when we do; and should we be killed, they
      // or their launcher are killed, too.
      setpgid(0, 0);
      prctl(PR_SET_PDEATHSIG, program.when_orphaned);
      if (getppid() != parent) _exit(127);  // the parent has been killed already
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      if (program.core >= 0) sched_setaffinity(0, sizeof(core), &core);
      dup2(program.input, STDIN_FILENO);
      dup2(program.output, STDOUT_FILENO);
      dup2(program.errors, STDERR_FILENO);
      if (program.kept >= 0) fcntl(program.kept, F_SETFD, 0);
      execve(argv[0], argv.data(), envp.data());
      _exit(127);
    }
    setpgid(pid, pid);  // here as well as in the child, whichever comes first
    children_.push_back({.pid = pid, .handle = HandleOf(pid)});
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
      if (options_.expired) options_.expired();
      const std::string verb = command.substr(0, command.find(' '));
      Fail(fmt::format("did not answer \"{}\" within {} and were stopped", verb,
                       Duration(allowed_.count())));
    }
    std::vector<pollfd> ready = {{.fd = answers_.Number(), .events = POLLIN, .revents = 0},
                                 {.fd = errors_.Number(), .events = POLLIN, .revents = 0}};
    for (const Child& child : children_) {
      ready.push_back({.fd = child.handle.Number(), .events = POLLIN, .revents = 0});
    }
    // EINTR
    if (poll(ready.data(), ready.size(), static_cast<int>(std::min<long>(left, 60000))) < 0) return;
    if (ready[1].revents != 0 && !Read(errors_, words_, kMaxErrors)) errors_.Close();
    if (ready[0].revents != 0) {
      if (!Read(answers_, received_, kMaxLine)) Fail("ended early");
      return;
    }
    // The other ranks can't wait for one that is gone.
    if (std::any_of(ready.begin() + 2, ready.end(), [](auto& each) { return each.revents != 0; })) {
      Fail("ended early");
    }
  }

  // Reads what is there and keeps the last `most` bytes. Returns false at the end.
  static bool Read(const Descriptor& from, std::string& text, std::size_t most) {
    char buffer[4096];
    const ssize_t n = read(from.Number(), buffer, sizeof(buffer));
    if (n <= 0) return n < 0 && errno == EINTR;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > most) text.erase(0, text.size() - most);
    return true;
  }

  [[noreturn]] void Fail(const std::string& what) {
    const std::string fates = IsPlain() ? AwaitFates() : "";
    Reap(/*patience=*/std::chrono::seconds(0));
    pollfd more = {.fd = errors_.Number(), .events = POLLIN, .revents = 0};
    while (poll(&more, 1, 0) > 0 && Read(errors_, words_, kMaxErrors)) continue;
    const std::string cause = CauseIn(words_);
    if (options_.expired && words_.find("assay: watchdog: ") != std::string::npos) {
      options_.expired();
    }
    const std::string quoted = cause.empty() ? "" : " (\"" + cause + "\")";
    if (IsPlain()) {
      throw Error(
          fmt::format("the {} that assay started {}{}{}; run it again, and see in the system's log "
                      "whether any was killed",
                      CountText(options_.ranks, "rank"), what, fates, quoted));
    }
    throw Error(fmt::format("the {} of {} {}{}; see whether `mpirun -np {} true` works here",
                            CountText(options_.ranks, "rank"), options_.launcher->path, what,
                            quoted, options_.ranks));
  }

  // Fates, which come within moments. The rank that was killed may end after one that missed it:
  // its memory can't be read any more before the kernel has torn it down.
  std::string AwaitFates() const {
    const auto until = SteadyClock::now() + std::chrono::seconds(2);
    const auto has_ended = [](const Child& child) {
      siginfo_t info = {};
      const auto id = static_cast<id_t>(child.pid);
      return waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
    };
    for (;;) {
      const bool all_have = std::ranges::all_of(children_, has_ended);
      std::string fates = Fates();
      if (!fates.empty() || all_have || SteadyClock::now() >= until) return fates;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  // Names the ranks that were killed or are stopped, since the others only followed them.
  std::string Fates() const {
    std::string fates;
    for (std::size_t rank = 0; rank < children_.size(); ++rank) {
      siginfo_t info = {};
      const auto id = static_cast<id_t>(children_[rank].pid);
      // The child can still be waited for (WNOWAIT), since children are reaped in one place alone.
      if (waitid(P_PID, id, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0) continue;
      if (info.si_pid == 0 || info.si_code == CLD_EXITED) continue;
      fates += fmt::format("{} rank {} {} by signal {} ({})", fates.empty() ? ":" : ",", rank,
                           info.si_code == CLD_STOPPED ? "was stopped" : "was killed",
                           info.si_status, strsignal(info.si_status));
    }
    return fates;
  }

  // Ends everything that was started, and returns when it is gone. A launcher that is asked to end
  // takes its ranks with it. A process that doesn't listen is killed with its group, and ranks that
  // lose their launcher end themselves.
  void Reap(SteadyClock::duration patience) {
    if (!EndWithin(patience)) {
      for (const Child& child : children_) kill(child.pid, IsPlain() ? SIGKILL : SIGTERM);
      EndWithin(std::chrono::seconds(3));
      for (const Child& child : children_) {
        kill(-child.pid, SIGKILL);
        waitpid(child.pid, nullptr, 0);
      }
      children_.clear();
    }
  }

  bool EndWithin(SteadyClock::duration time) {
    const auto until = SteadyClock::now() + time;
    for (;;) {
      std::erase_if(children_, [](const Child& child) {
        if (waitpid(child.pid, nullptr, WNOHANG) == 0) return false;
        kill(-child.pid, SIGKILL);  // kills what is left of its group
        return true;
      });
      if (children_.empty() || SteadyClock::now() >= until) return children_.empty();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  bool IsPlain() const { return !options_.launcher; }

  // The processes that were started: mpirun alone, or every rank in order.
  struct Child {
    pid_t pid = -1;
    Descriptor handle = {};  // readable once the process has ended; none on an old kernel
  };

  LaunchOptions options_;
  std::vector<Child> children_ = {};
  Descriptor commands_, answers_, errors_;
  Seconds allowed_ = {};  // the time for the answer that is waited for
  SteadyClock::time_point deadline_ = {};
  bool started_ = false;
  bool answered_ = false;
  std::string received_ = {};
  std::string words_ = {};
};

}  // namespace

std::string CauseIn(const std::string& words) {
  // The last complaint of a rank counts, unless an earlier one names another rank: that one knows
  // more than the rank that was late itself.
  std::string complaint;
  for (const std::string& line : LinesOf(ComplaintsIn(words))) {
    if (complaint.find("; rank ") == std::string::npos) complaint = line.substr(kAnswer.size());
  }
  if (!complaint.empty()) return ScrubText(complaint);
  const std::vector<std::string> lines = LinesOf(words);
  const auto frame = std::find_if(lines.begin(), lines.end(), IsFrame);
  auto first = std::find_if(lines.begin(), frame, HasWord);
  if (frame == lines.end()) return first == frame ? "" : ScrubText(*first);
  // A line right before a frame belongs to it, and a paragraph that ends in a colon to the next
  // one.
  std::string cause;
  for (auto before = frame; before != first;) {
    if (!HasWord(*--before)) continue;
    cause = *before + "; ";
    break;
  }
  std::string paragraph;
  for (auto line = frame + 1; line != lines.end() && !IsFrame(*line); ++line) {
    if (line->empty() && !paragraph.empty() && !paragraph.ends_with(':')) break;
    if (line->empty()) continue;
    paragraph += (paragraph.empty() ? "" : " ") + *line;
  }
  return ScrubText(cause + paragraph);
}

std::unique_ptr<Job> Launch(const LaunchOptions& options) {
  auto job = std::make_unique<LaunchedJob>(options);
  const std::size_t size = AskNodes(*job).size();
  if (size != static_cast<std::size_t>(options.ranks)) {
    throw Error(fmt::format(
        "{} started {} ranks, but they see {}: it belongs to another MPI than the one that assay "
        "was built with; put that one's mpirun first in PATH",
        options.launcher ? options.launcher->path : "assay", options.ranks, size));
  }
  return job;
}

void Serve(int commands, int answers, Worker& worker) {
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
    worker.Tell(command);
    const std::string line = std::string(kAnswer) + worker.Obey(command) + "\n";
    for (std::size_t sent = 0; sent < line.size();) {
      const ssize_t n = write(answers, line.data() + sent, line.size() - sent);
      if (n < 0 && errno != EINTR) return;
      sent += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    }
  }
}

}  // namespace assay
