// The terminal. Results go to stdout, everything else to stderr; a progress line is overwritten in
// place on a terminal and absent elsewhere. A reader of results that has gone away (head, less) has
// seen what it wanted; any other result that is lost is reported once, when everything else is
// done.
#pragma once

#include <string>

namespace assay {

// Opens /dev/null in the place of standard input, output and error where this process was started
// without one, so that no file which is opened later becomes one of them. It is the first thing in
// main.
void HoldStandardStreams();

// Whether something that was given to Console::Result did not reach standard output, for another
// reason than that its reader had gone away.
bool ResultsAreLost();

// Throws Error where ResultsAreLost. It is the last thing in main.
void CheckResults();

// The terminal of one command.
class Console {
 public:
  explicit Console(bool quiet = false);
  ~Console() { EndProgress(); }
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  // Whether stdout is a terminal that shows colours, and NO_COLOR is not set.
  bool Colour() const { return colour_; }
  // Whether Progress is seen, because stderr is a terminal.
  bool ShowsProgress() const { return progress_ && !quiet_; }

  // Each writes the text as it is, whose line ends are the caller's, and ends a progress line
  // first.
  void Result(const std::string& text);  // to stdout
  void Note(const std::string& text);    // to stderr, unless quiet
  void Error(const std::string& text);   // to stderr
  // Replaces the progress line, which is cut to the terminal's width. Nothing without
  // ShowsProgress.
  void Progress(const std::string& text);
  void EndProgress();  // removes the progress line

 private:
  bool quiet_;
  bool colour_;
  bool progress_;           // whether stderr is a terminal
  bool line_open_ = false;  // whether a progress line stands on the terminal
};

}  // namespace assay
