// The engine visits cases in rounds and keeps what they took. Sole includer of Google Benchmark,
// which is the registry, the filter and the reporter seam; the sampler does the measuring inside
// its one iteration.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runner/probe.h"

namespace assay {

struct EngineOptions {
  int rounds = 5;
  std::uint64_t seed = 0;
  double ci = 0.01;       // half-width of the interval at which a case stops; looked at only
                          // after rounds 5, 8, 12 and 20
  bool until_ci = false;  // go on past `rounds`, to at most 20, until every case meets `ci`
  Seconds max_case = Seconds(20);  // timed seconds of one case over all rounds
  int min_samples = 10;            // a visit, unless the time of the visit runs out
  std::string filter = {};         // regular expression on case names; empty: all
  std::string gbench_out = {};     // file for Google Benchmark's own JSON; empty: none
  // Asked between batches: a reason to end now ("interrupted", "cost"), or nothing.
  std::function<std::optional<std::string>()> stop = {};
};

// What is told while measuring; called outside timed spans, in the engine's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void VisitBegins(const Case& which, int round, int done, int total) {
    (void)which, (void)round, (void)done, (void)total;
  }
  // `record` holds all rounds so far, the new one last (none, where the status says why).
  virtual void VisitEnds(const Record& record, int round) { (void)record, (void)round; }
};

// "gemm/dtype:bf16/k:4096/m:16/n:4096/…": all params, which --filter is matched against and Google
// Benchmark's names begin with.
std::string CaseName(const Case& which);

// Visits all cases that match the filter; one Record each, in the order of `cases`.
// An Error within a case becomes its record's reason; the others go on. Throws Error for a bad
// filter.
std::vector<Record> Measure(const std::vector<Case>& cases, const EngineOptions& options,
                            Observer& observer);

}  // namespace assay
