// The engine visits cases in rounds and keeps their samples. Each visit (a trial elsewhere) is one
// benchmark of Google Benchmark (runner/core/gbench.h), and the sampler does the measuring inside
// that benchmark's one iteration.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/probe.h"
#include "runner/core/sampler.h"

namespace assay {

// The options of visits: how long and how often cases are visited.
struct EngineOptions {
  int rounds = 5;
  std::uint64_t seed = 0;
  // With `until_ci`, cases go on past `rounds`, to at most 20, until half the width of the interval
  // of their speed, as a share of it, is at most `ci` by StopAfter (results/figures/stats.h).
  double ci = 0.01;
  bool until_ci = false;
  // The running time of one case over all rounds, first runs and warm-up included. Time goes to
  // rounds before samples: a visit's share may shrink to a few samples, but no round is left out
  // for it.
  Seconds max_case = Seconds(20);
  // The running time of a case that is counted in spans of time. It lasts at least one span of a
  // second in each round.
  Seconds max_spans_case = Seconds(45);
  int min_samples = 10;  // in a visit, unless its share of max_case runs out
  // The least time of a visit's samples, unless its share runs out. It is several periods of what
  // takes time away in slices (a container's CPU quota and a block-device cap: 0.1 s).
  Seconds min_visit = Seconds(0.5);
  // The period of the CPU quota that this process runs under, if any; CPU cases are then counted
  // over time.
  std::optional<Seconds> quota_period = {};
  // The least time of a sustained visit, which lasts five times that at most where it doesn't reach
  // steady state. max_case doesn't apply to it.
  Seconds sustain = Seconds(60);
  // The most time that a device rests before each visit that isn't sustained, until it is as cool
  // as at first.
  Seconds rest = Seconds(10);
  // The length of a soak; 0: no soak. Rounds go on until it is over, and a wrong answer ends no
  // case; Record::verify counts the elements of all rounds. A visit's share of max_case is that of
  // `rounds`.
  Seconds duration = Seconds(0);
  // A fixed number of iterations for each visit, in which case each round goes through the cases in
  // order.
  std::optional<FixedCount> fixed = {};
  std::string filter = {};  // POSIX extended regular expression on case names; empty: all
  std::function<void(std::string json)> gbench = {};  // takes Google Benchmark's JSON; may be null
  // Asked between batches for a reason to end now ("interrupted", "cost"), or nothing. A workload
  // in spans may ask in a thread of its own while Measure waits for it (Spans::stop).
  std::function<std::optional<std::string>()> stop = {};
  std::function<Seconds()> now = {};        // the host's clock; empty: a steady one
  std::function<void(Seconds)> sleep = {};  // sleeps by that clock; empty: really
  Seconds elapsed = {};                     // the time since the run began
};

// Follows a measurement. Its functions are called outside timed spans, in the engine's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  // A visit begins. Rounds count from 1; `done` of at most `total` visits are over.
  virtual void VisitBegins(const Case& which, int round, int done, int total) {
    (void)which, (void)round, (void)done, (void)total;
  }
  // A visit has ended; called for each record of its case. `record` holds all rounds so far, the
  // new one last, unless its status says why there is no new one.
  virtual void VisitEnds(const Record& record, int round) { (void)record, (void)round; }
};

// The name of a case with all its params: "gemm/dtype:bf16/k:4096/m:16/n:4096/…". --filter is
// matched against it, and Google Benchmark's names begin with it.
std::string CaseName(const Case& which);

// The cases whose names match the filter. Throws Error for a bad filter, or one that matches
// nothing.
std::vector<Case> Matching(const std::vector<Case>& cases, const std::string& filter);

// Visits all cases that match the filter in rounds, and returns a Record for each, or for each of
// its parts, in the order of `cases`.
//
// Each round has a fresh seeded random order, in which sustained cases come last, since they leave
// a device hot. Before any other visit a device whose meter reads its temperature rests until it is
// nearly as cool as when Measure began, as far as EngineOptions::rest allows.
//
// An Error within a case becomes its record's reason, and the case is not visited again; the others
// go on. A wrong answer loses all rounds of its case. A visit that `stop` cuts short is not kept,
// and a case that is not reached is skipped. Throws Error for a bad filter, or one that matches
// nothing.
std::vector<Record> Measure(const std::vector<Case>& cases, const EngineOptions& options,
                            Observer& observer);

// An estimate of how long a visit takes, before anything is known of the case. It assumes that an
// accelerator needs all of its rest, and a sustained case no more than its least time.
Seconds VisitSeconds(const Case& which, const EngineOptions& options);
// An estimate, in seconds, of how long Measure would take, making what cases share included.
double EstimateSeconds(const std::vector<Case>& cases, const EngineOptions& options);

}  // namespace assay
