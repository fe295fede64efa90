// The contract between what is measured and how it is measured. A Probe is a named question that
// unfolds into Cases; a Case knows its useful work and how to prepare a Workload; a Workload is run
// n times and verified. The workload owns the clock, since only it knows which one (a steady clock,
// CUDA events, a clock written in a test); the engine owns warm-up, batch size, stopping and what
// is kept.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "results/run.h"
#include "results/steady.h"

namespace assay {

// What `iterations` done back to back took.
struct Batch {
  Seconds time = {};                   // from the common start to the end of the last unit
  std::vector<Seconds> per_unit = {};  // each device or rank, where there are several
  Seconds host = {};                   // the same work by the host's clock, where that differs
  // How many iterations ended in a span of time; 0: as many as Run was asked for.
  std::int64_t iterations = 0;
  std::optional<Seconds> stable = {};  // storage writes: until on stable storage; >= time
  std::vector<Batch> parts = {};       // of a Case with parts: of each; `time` is the longest
  std::map<std::string, Seconds> phases = {};  // by name, where an iteration has phases
};

struct Checked {
  std::int64_t checked = 0;
  std::int64_t wrong = 0;
  double max_error = 0;
  double tolerance = 0;
  std::string reference = {};            // "f64 rows", "exact"
  std::optional<std::string> what = {};  // the first wrong element, in words
};

// Iterations that are put on a stream of a device, for who puts other work beside them and takes
// the time of both.
class Streamed {
 public:
  virtual ~Streamed() = default;
  // Of the stream, in the terms of the device's library: a cudaStream_t.
  virtual void* StreamHandle() const = 0;
  // What is put on the stream from now on waits there until Release, or for some seconds.
  virtual void Hold() = 0;
  virtual void Release() = 0;
  // Puts so many iterations on the stream, and doesn't wait for them. Some dozens fit behind Hold.
  virtual void Put(std::int64_t iterations) = 0;
  // Returns when all that is on the stream is done. Throws Error where it failed, doesn't end, or
  // wasn't held until Release.
  virtual void Finish() = 0;
};

// Spans of time in which work is counted, back to back.
struct Spans {
  Seconds ramp = {};    // goes before, and doesn't count
  Seconds length = {};  // each span lasts for so long, and until the next iteration ends
  int count = 0;
  std::function<bool()> stop = {};  // asked once a span: true ends it early; null: never
};

class Workload {
 public:
  virtual ~Workload() = default;
  // Does the work `iterations` (>= 1) times back to back. Throws Error when it can't go on.
  virtual Batch Run(std::int64_t iterations) = 0;
  // Of a Case in spans: goes on without a pause until the spans are over. One Batch for each, with
  // the iterations that ended in it. Throws Error when it can't go on.
  virtual std::vector<Batch> RunSpans(const Spans& spans) {
    (void)spans;
    return {};
  }
  // Checks the output of the last iteration run, outside any timed span.
  virtual Checked Verify() = 0;
  // Algorithm, threads, layout, direct, transport used … as known by now.
  virtual Facts Describe() const { return {}; }
  // The work of one iteration, where it is known only once the workload is made; else the case's.
  virtual std::optional<Work> OneIteration() const { return std::nullopt; }
  // Histograms of single operations since the workload was made, by name ("latency_s").
  virtual std::map<std::string, Histogram> Histograms() const { return {}; }
  // For several that run at once, each in a thread of its own: Run calls `meet`, which returns in
  // all of them together, twice in each batch: before it makes the last things ready, and when
  // nothing is left to do but to begin the timed span. False where it can't, and doesn't.
  virtual bool BeginTogether(std::function<void()> meet) {
    (void)meet;
    return false;
  }
  // Its iterations as they are put on a stream; null where they can't be.
  virtual Streamed* AsStreamed() { return nullptr; }
};

// Reads what the units of a case say of themselves while they are measured, again and again from
// its making on, from which at_s counts. A unit that can't be read is left out. Throws Error where
// it can't be asked.
class Meter {
 public:
  virtual ~Meter() = default;
  // One more reading of each unit, the first that counts, if this isn't called again.
  virtual std::vector<Telemetry> Begin() = 0;
  // Reads once more, now. The trends of clocks and temperatures from so long after Begin on.
  virtual std::vector<std::optional<Fitted>> Trends(Seconds later) = 0;
  // Ends it with a last reading. What was read from so long after Begin on. Called once.
  virtual std::vector<Telemetry> Finish(Seconds later) = 0;
};

// An expected "no": why this can't run here, and what would make it run.
struct Skipped {
  std::string reason = {};
  std::string remedy = {};
};
using Prepared = std::variant<std::unique_ptr<Workload>, Skipped>;

struct Case {
  // What some of its ranks do, beside others that do the same.
  struct Part {
    Params params = {};
    Work work = {};
    std::vector<Unit> units = {};
  };

  std::string probe = {};
  int method = 1;  // rises with any change that could move the figure
  Params params = {};
  std::string backend = {};
  Work work = {};
  std::vector<Unit> units = {};
  std::optional<int> storage = {};      // index into Node::storage
  std::optional<int> accelerator = {};  // which of the module's, where one does it
  // Where there are some, each has a Record of its own, with its params, work and units in place of
  // the case's; names of the workload's facts and histograms begin with the part's index: "0/form".
  std::vector<Part> parts = {};
  // Fewer iterations don't make a batch. More than 1 where several are in flight at once: else a
  // short batch would never have as many in flight as were asked for.
  std::int64_t least_batch = 1;
  // About how long it takes to make what this case shares with others; the first visit to one of
  // them makes it, and they hold the same pointer. May be null.
  std::shared_ptr<const std::function<Seconds()>> shared = {};
  // Work is counted by time: what does it lets a burst through and then waits, so that no number
  // of iterations is long enough. A budget of its own (EngineOptions::max_spans_case) pays for it.
  bool in_spans = false;
  // Fills buffers, opens handles. Called once a visit, with a seed of that visit's own, so that
  // each round sees fresh random inputs. Throws Error when it fails.
  std::function<Prepared(std::uint64_t seed)> prepare = {};
  // A meter of `units`, which reads from now on; may be null.
  std::function<std::unique_ptr<Meter>()> meter = {};
  // Whether the case's devices can't compute in its dtype; a suite may ask another dtype instead.
  bool lacks_dtype = false;
  // What counts is what the device sustains: a visit goes on until it is at rest under load.
  bool sustained = false;
  // The bound that this case is held against, sampled briefly before and after each visit
  // (after a sustained one alone).
  std::shared_ptr<const Case> here = {};
};

class Modules;  // runner/module.h
class Ranks;    // runner/ranks.h

// Where a GEMM runs that something else is measured beside: on these cores of this machine, or on
// the GPU of this number.
struct GemmPlace {
  std::vector<int> cores = {};  // empty: all that this process may use
  std::optional<int> gpu = {};
};
// The case `gemm` with these params in this place.
using GemmAt = std::function<Case(const Params& params, const GemmPlace& place)>;

// What a probe may need to know to unfold into cases.
struct Setup {
  int threads = 0;              // worker threads for CPU cases; 0: one per core that they may use
  std::vector<int> cores = {};  // that CPU kernels may use; empty: all that this process may use
  std::string storage_path = ".";
  std::vector<std::string> backends = {};  // only these; empty: all
  std::vector<std::string> devices = {};   // only these ("cpu", "cuda:0"); empty: all
  const Modules* modules = nullptr;        // loaded vendor modules; may be null
  Ranks* ranks = nullptr;                  // of the launcher that started us; null: none did
  std::function<Node()> this_node = {};    // describes the node that this process runs on
  // The case of this node with the probe, params and backend of `asked`; where there is none, one
  // that is skipped.
  std::function<Case(const Record& asked)> own_case = {};
  Seconds watchdog = Seconds(60);  // for what ranks do together, beside what the work may take
  // Told, in any thread, of what ranks did not end in time. `last`: this process ends right after.
  std::function<void(const std::string& diagnosis, bool last)> hung = {};
  GemmAt gemm = {};                     // empty: nothing is measured beside a GEMM
  int launched_ranks = 2;               // of collectives, where ranks is null
  std::string self = "/proc/self/exe";  // the program that is a worker under --worker
};

struct Probe {
  std::string name = {};
  std::string summary = {};  // one line for `assay list`
  // Every param with its default; a suite or --set overrides values, never adds names.
  Params defaults = {};
  // One case for each backend and device that could run these params; at least one, so that a
  // "no" becomes a record with its reason. Throws Error on a value that makes no sense (m = 0,
  // an unknown dtype), with the name of the param.
  std::function<std::vector<Case>(const Params& params)> unfold = {};
  // What stands in the way of running here at all, for `assay list`; cheap. Empty: nothing does.
  std::function<std::optional<Skipped>()> missing = {};
  // The backends that have this but find no device here, by name, and why; for `assay list`.
  std::function<std::map<std::string, Skipped>()> absent = {};
};

}  // namespace assay
