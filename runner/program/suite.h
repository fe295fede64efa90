// Suites are named sets of questions. They are kept in one data file (runner/program/suites.txt)
// that is built into the binary; --set and --dtype change their values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/core/probe.h"

namespace assay {

// A param and the values that it takes, as text, since only the probe knows their type.
struct Choice {
  std::string name = {};
  std::vector<std::string> values = {};
  // The value that replaces another one on devices that lack it: a suite's "bf16|f16" is {{"bf16",
  // "f16"}}.
  std::map<std::string, std::string> instead = {};
};

// One line of a suite. Its choices multiply, the last one varying fastest.
struct SuiteEntry {
  std::string probe = {};
  std::vector<Choice> choices = {};
};

struct Suite {
  SuiteName name = {};  // with the sha256 of its lines, comments and spacing aside
  int rounds = 0;
  Seconds max_case = {};        // EngineOptions::max_case
  Seconds max_spans_case = {};  // EngineOptions::max_spans_case
  std::vector<SuiteEntry> entries = {};
};

// Reads one suite from `text`, in the format of runner/program/suites.txt. Throws Error for an
// unknown name, with the nearest one, and for a line that can't be read, with its number.
Suite ParseSuite(std::string_view text, const std::string& name);
// Reads a suite from the file that is built in.
Suite LoadSuite(const std::string& name);

// A probe with a value for each of its params.
struct Question {
  std::string probe = {};
  Params params = {};  // all of them, defaults included
  // The params to ask instead where a case has lacks_dtype; nothing where the dtype was asked for
  // by name.
  std::optional<Params> instead = {};
};

// The selection that the command line makes from a suite, with its changes.
struct Selection {
  std::vector<std::string> probes = {};  // only these; empty: all that the suite names
  std::vector<std::string> set = {};     // "m=1,16" takes the place of the suite's values
  std::vector<std::string> dtypes = {};  // the lines with these, or all lines with these instead
  std::string regime = {};               // for all lines whose probe has one; "": as they say
};

// Unfolds a suite into its questions, probe by probe in the order of its lines, without repetition.
// A selected probe that the suite does not name is asked with its defaults. Sizes (`bytes`,
// `*_bytes`) are read by ParseSize. Throws Error, with the nearest word where there is one, for a
// probe or a param that does not exist and for a value of the wrong type.
std::vector<Question> Unfold(const Suite& suite, const std::vector<Probe>& probes,
                             const Selection& selection);

}  // namespace assay
