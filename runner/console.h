// The terminal: results on stdout, everything else on stderr, one progress line that is overwritten
// in place on a terminal and absent elsewhere. A reader of results that has gone away (head, less)
// has seen what it wanted; any other result that is lost is told once, when all else is done.
#pragma once

#include <string>

namespace assay {

// Sees to it that no file that is opened later becomes standard input, output or error where this
// process was started without one. The first thing in main.
void HoldStandardStreams();

// Whether something that Console::Result was given did not reach standard output, and not because
// its reader had gone away.
bool ResultsAreLost();

// Throws Error where ResultsAreLost. The last thing in main.
void CheckResults();

class Console {
 public:
  explicit Console(bool quiet = false);
  ~Console() { EndProgress(); }
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  // stdout is a terminal that shows colours, and NO_COLOR is not set.
  bool Colour() const { return colour_; }
  // stderr is a terminal, so that Progress is seen.
  bool ShowsProgress() const { return progress_ && !quiet_; }

  void Result(const std::string& text);    // to stdout
  void Note(const std::string& text);      // to stderr, unless quiet
  void Error(const std::string& text);     // to stderr
  void Progress(const std::string& text);  // to stderr, on a terminal, unless quiet
  void EndProgress();

 private:
  bool quiet_;
  bool colour_;
  bool progress_;           // stderr is a terminal
  bool line_open_ = false;  // a progress line stands on the terminal
};

}  // namespace assay
