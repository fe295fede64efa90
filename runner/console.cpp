#include "runner/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

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

}  // namespace

Console::Console(bool quiet)
    : quiet_(quiet),
      colour_(IsSmartTerminal(STDOUT_FILENO) && std::getenv("NO_COLOR") == nullptr),
      progress_(IsSmartTerminal(STDERR_FILENO)) {}

void Console::Result(const std::string& text) {
  EndProgress();
  // A reader that has gone away (head, less) has seen what it wanted.
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
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
