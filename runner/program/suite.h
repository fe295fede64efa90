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
  // The value to ask for on devices that lack another one, by that other one: a suite's "bf16|f16"
  // is {{"bf16", "f16"}}.
  std::map<std::string, std::string> instead = {};
};

// One line of a suite. It asks its probe for every combination of its choices, the last of which
// varies fastest.
struct SuiteEntry {
  std::string probe = {};
  std::vector<Choice> choices = {};
};

// A suite: its settings and its lines.
struct Suite {
  SuiteName name = {};    // the sha256 in it is of the suite's lines without comments and spacing
  int rounds = 0;         // how often each case is visited
  Seconds max_case = {};  // the running time of one case over all rounds
  Seconds max_spans_case = {};  // the same for a case that is counted in spans of time
  std::vector<SuiteEntry> entries = {};
};

// Reads one suite from `text`, in the format of runner/program/suites.txt. Throws Error for an
// unknown name, with the nearest one; for a line that can't be read, with its number; and for a
// suite that lacks one of its settings.
Suite ParseSuite(std::string_view text, const std::string& name);
// Reads a suite from the file that is built in.
Suite LoadSuite(const std::string& name);

// A probe with a value for each of its params.
struct Question {
  std::string probe = {};
  Params params = {};  // all of them, defaults included
  // The params to ask with instead on devices that can't compute in the dtype (Case::lacks_dtype);
  // nothing where the dtype was asked for by name.
  std::optional<Params> instead = {};
};

// The selection that the command line makes from a suite, with its changes.
struct Selection {
  std::vector<std::string> probes = {};  // only these; empty: all that the suite names
  std::vector<std::string> set = {};     // "m=1,16" takes the place of the suite's values
  // Only the lines with one of these dtypes. A dtype that no line of a probe has takes the place of
  // the dtype in all of that probe's lines. Empty: as the lines say.
  std::vector<std::string> dtypes = {};
  std::string regime = {};  // of all lines whose probe has this param; "": as the lines say
};

// Unfolds a suite into its questions, probe by probe in the order of its lines, without repetition.
// A selected probe that the suite does not name is asked with its defaults. Sizes (`bytes`,
// `*_bytes`) are read by ParseSize. Throws Error, with the nearest word where there is one, for a
// probe, a param or a dtype that does not exist, for a regime that no selected probe has, and for a
// value of the wrong type. Other values are the probe's to judge (Probe::unfold).
std::vector<Question> Unfold(const Suite& suite, const std::vector<Probe>& probes,
                             const Selection& selection);

}  // namespace assay
