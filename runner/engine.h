// The engine visits cases in rounds and keeps what they took. Sole includer of Google Benchmark,
// which is the registry and the reporter seam: each visit is one benchmark, and the sampler does
// the measuring inside its one iteration.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runner/probe.h"
#include "runner/sampler.h"

namespace assay {

struct EngineOptions {
  int rounds = 5;
  std::uint64_t seed = 0;
  double ci = 0.01;       // half-width of the interval at which a case stops; looked at only
                          // after rounds 5, 8, 12 and 20
  bool until_ci = false;  // go on past `rounds`, to at most 20, until every case meets `ci`
  // Running time of one case over all rounds, first runs and warm-up included. Time goes to rounds
  // before samples: a visit's share may shrink to a few samples, but no round is left out for it.
  Seconds max_case = Seconds(20);
  // The same of a case that is counted in spans of time, which lasts for one of a second a round at
  // least.
  Seconds max_spans_case = Seconds(45);
  int min_samples = 10;  // a visit, unless its share of max_case runs out
  // How long the samples of a visit last, at least, unless its share runs out: several periods of
  // what takes time away in slices (a container's CPU quota and a block-device cap: 0.1 s).
  Seconds min_visit = Seconds(0.5);
  // Of the CPU quota that this process runs under: what a CPU does is then counted over time.
  std::optional<Seconds> quota_period = {};
  // How long a visit of a sustained case lasts, at least; five times that at most, where it doesn't
  // come to rest. That time is its own: max_case does not count there.
  Seconds sustain = Seconds(60);
  // Before each other visit a device rests for so long at most, until it is as cool as at first.
  Seconds rest = Seconds(10);
  // A soak: rounds go on until it is over, and a wrong answer ends no case; Record::verify counts
  // the elements of all of them. A visit's share of max_case is that of `rounds`. 0: none.
  Seconds duration = Seconds(0);
  // Each visit is that many iterations instead, and each round goes through the cases in order.
  std::optional<FixedCount> fixed = {};
  std::string filter = {};  // POSIX extended regular expression on case names; empty: all
  std::function<void(std::string json)> gbench = {};  // takes Google Benchmark's own JSON
  // Asked between batches: a reason to end now ("interrupted", "cost"), or nothing.
  std::function<std::optional<std::string>()> stop = {};
  std::function<Seconds()> now = {};        // the host's clock; empty: a steady one
  std::function<void(Seconds)> sleep = {};  // until it has moved on so far; empty: really
  Seconds elapsed = {};                     // since the run began
};

// What is told while measuring; called outside timed spans, in the engine's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  // Rounds count from 1. `done` of at most `total` visits are behind us.
  virtual void VisitBegins(const Case& which, int round, int done, int total) {
    (void)which, (void)round, (void)done, (void)total;
  }
  // `record` holds all rounds so far, the new one last (none, where the status says why).
  virtual void VisitEnds(const Record& record, int round) { (void)record, (void)round; }
};

// "gemm/dtype:bf16/k:4096/m:16/n:4096/…": all params, which --filter is matched against and Google
// Benchmark's names begin with.
std::string CaseName(const Case& which);

// The cases whose names match the filter. Throws Error for a bad filter, or one that matches
// nothing.
std::vector<Case> Matching(const std::vector<Case>& cases, const std::string& filter);

// Visits all cases that match the filter in rounds, each round in a fresh seeded random order, in
// which the sustained ones come last, since they leave a device hot; one Record each, in the order
// of `cases`. Before each other visit a device whose meter reads its temperature rests until it is
// nearly as cool as when Measure began, as EngineOptions::rest allows. An Error within a case
// becomes its record's reason, and the case is not visited again; the others go on. A wrong answer
// loses all its rounds. A visit that `stop` cuts short is not kept. Throws Error for a bad filter,
// or one that matches nothing.
std::vector<Record> Measure(const std::vector<Case>& cases, const EngineOptions& options,
                            Observer& observer);

// About how long a visit takes: a guess made before anything is known of the case. An accelerator
// is taken to need all of its rest, and what is sustained no more than its least time.
Seconds VisitSeconds(const Case& which, const EngineOptions& options);
// About how long Measure would take, in seconds, with what cases share.
double EstimateSeconds(const std::vector<Case>& cases, const EngineOptions& options);

}  // namespace assay
