// The messages of a run's ranks about a case, as plain data: which case is to be done, and what
// came of a command to the ranks that did it. results/file/json.h writes and reads both, one line
// each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "results/file/run.h"

namespace assay {

// The ranks that do a case.
enum class On {
  kAll,       // all of them together
  kEachNode,  // the first rank of each node by itself, all nodes at once
  kGroups,    // the ranks of each group together, all groups at once; the params tell the groups
};

// A case as a rank is told of it. Each rank unfolds it by its own probe, which refuses what makes
// no sense.
struct AskedCase {
  On on = On::kAll;
  std::uint64_t seed = 0;
  Params how = {};     // how it is run, which moves no figure; never part of the record's params
  Record record = {};  // its probe, params and backend, and the work that its watchdogs allow for
};

// The time of one batch: iterations done back to back.
struct Batch {
  Seconds time = {};                   // of all iterations: from the common start to the last end
  std::vector<Seconds> per_unit = {};  // each device or rank, where there are several
  Seconds host = {};                   // the same work by the host's clock, where that differs
  // The number of iterations that ended in a span of time; 0: as many as Run was asked for.
  std::int64_t iterations = 0;
  std::optional<Seconds> stable = {};          // storage writes: until on stable storage; >= time
  std::vector<Batch> parts = {};               // one for each of Case::parts; `time` is the longest
  std::map<std::string, Seconds> phases = {};  // by name, where an iteration has phases
};

// The outcome of checking an output.
struct Checked {
  std::int64_t checked = 0;    // elements
  std::int64_t wrong = 0;      // elements beyond the tolerance
  double max_error = 0;        // the largest, in the same measure as the tolerance
  double tolerance = 0;        // the most that is right; what it is relative to is the checker's
  std::string reference = {};  // "f64 rows", "exact"
  std::optional<std::string> what = {};  // the first wrong element, in words
};

// A trend, and the half width (a share a minute) that its interval would have if all off its line
// were noise from one value to the next. The interval of a curve that bends slowly is wider, but
// narrows once the curve is straight, so that `noise` tells whether waiting helps.
struct Fitted {
  Trend trend = {};
  double noise = 0;  // the half width, a share a minute
};

// The answer of ranks, or of the ranks of one group or node, to one command. Fields that don't
// belong to that command are empty.
struct Told {
  std::vector<Batch> batches = {};
  std::optional<Checked> checked = {};
  Facts facts = {};
  std::map<std::string, Histogram> histograms = {};
  Params how = {};                // values that were found out, which later visits are told
  std::optional<Work> work = {};  // the work of one iteration, where only the ranks know it
  std::vector<Telemetry> telemetry = {};
  std::vector<std::optional<Fitted>> trends = {};  // as WhyEnded takes them
};

}  // namespace assay
