#include "runner/program/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "results/base/error.h"
#include "results/base/files.h"

namespace assay {
namespace {

bool IsSmartTerminal(int fd) {
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

std::size_t Width(int fd) {
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

// The longest prefix of at most `columns` code points.
std::string_view Clip(std::string_view text, std::size_t columns) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool starts = (static_cast<unsigned char>(text[i]) & 0xc0U) != 0x80U;
    if (starts && seen++ == columns) return text.substr(0, i);
  }
  return text;
}

// The errno that kept a result from standard output; 0: none did. It is global, since there is one
// standard output, whoever writes to it.
int lost_to = 0;

// Writes a result. After the first one that is lost none follow, so that the output ends where it
// breaks off.
void WriteResult(std::string_view text) {
  if (lost_to == 0 && !WriteOn(STDOUT_FILENO, text)) lost_to = errno;
}

}  // namespace

void HoldStandardStreams() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(number, F_GETFD) >= 0 || errno != EBADF) continue;
    // The open takes the lowest free number. Standard output is opened for reading, so that writes
    // fail as before.
    if (open("/dev/null", number == STDERR_FILENO ? O_WRONLY : O_RDONLY) != number) return;
  }
}

bool ResultsAreLost() { return lost_to != 0 && lost_to != EPIPE; }

void CheckResults() {
  // Some file systems tell that there was no room only when a file is closed.
  const int copy = lost_to == 0 ? dup(STDOUT_FILENO) : -1;
  if (copy >= 0 && close(copy) != 0 && errno != EINTR) lost_to = errno;
  if (!ResultsAreLost()) return;
  throw Error(fmt::format("the results could not all be written to standard output: {}; {}",
                          std::strerror(lost_to),
                          lost_to == EBADF ? "open it, or send them to a file"
                                           : "free some space there, or send them elsewhere"));
}

Console::Console(bool quiet)
    : quiet_(quiet),
      colour_(IsSmartTerminal(STDOUT_FILENO) && std::getenv("NO_COLOR") == nullptr),
      progress_(IsSmartTerminal(STDERR_FILENO)) {}

void Console::Result(const std::string& text) {
  EndProgress();
  WriteResult(text);
}

void Console::Note(const std::string& text) {
  if (!quiet_) Error(text);
}

void Console::Error(const std::string& text) {
  EndProgress();
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void Console::Progress(const std::string& text) {
  if (quiet_ || !progress_) return;
  const std::string_view line = Clip(text, Width(STDERR_FILENO) - 1);
  std::fprintf(stderr, "\r\033[K%.*s", static_cast<int>(line.size()), line.data());
  std::fflush(stderr);
  line_open_ = true;
}

void Console::EndProgress() {
  if (!line_open_) return;
  std::fputs("\r\033[K", stderr);
  line_open_ = false;
}

}  // namespace assay
