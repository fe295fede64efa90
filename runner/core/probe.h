// The contract between what is measured and how it is measured. A Probe is a named question that
// unfolds into Cases; a Case knows its useful work and how to prepare a Workload; a Workload is run
// n times and verified. The workload owns the clock, since only it knows which one (a steady clock,
// CUDA events, a clock written in a test); the engine owns warm-up, batch size, stopping and what
// is kept.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "results/file/run.h"
#include "results/file/told.h"

namespace assay {

// A workload whose iterations are put on a stream of a device, for callers that put other work
// beside them and time both. Its functions are called in one order: Hold, Put, Release, Finish.
class Streamed {
 public:
  virtual ~Streamed() = default;
  // The stream as the device's library has it: a cudaStream_t.
  virtual void* StreamHandle() const = 0;
  // Holds up all work that is put on the stream later until Release, or for some seconds.
  virtual void Hold() = 0;
  virtual void Release() = 0;
  // Puts that many iterations on the stream without waiting for them. Some dozens fit behind Hold.
  virtual void Put(std::int64_t iterations) = 0;
  // Waits until all work on the stream is done. Throws Error where it failed, doesn't end, or
  // wasn't held until Release.
  virtual void Finish() = 0;
};

// Spans of time, back to back, in which work is counted.
struct Spans {
  Seconds ramp = {};    // precedes the first span and doesn't count
  Seconds length = {};  // each span lasts that long, and until the next iteration ends
  int count = 0;
  // Asked once a span, in any thread, but never in two at once; true ends the run early. May be
  // null.
  std::function<bool()> stop = {};
};

// The values that only the ranks together find out about a case, once all of them are ready for it
// and before anything of it is run.
struct Settled {
  Params how = {};         // added to AcrossRanks::how of later visits, so that all do the same
  Seconds iteration = {};  // an estimate of the time that one takes, for the ranks' watchdogs
};

// Work that is ready to be run and verified. It owns its buffers and handles until it is destroyed.
// Calls to one workload never overlap.
class Workload {
 public:
  virtual ~Workload() = default;
  // Finds out what AcrossRanks::settles is about. Called once, on all ranks together, before Run.
  virtual Settled Settle() { return {}; }
  // Does the work `iterations` (>= 1) times back to back. Throws Error when it can't go on.
  virtual Batch Run(std::int64_t iterations) = 0;
  // Works without a pause until the spans are over, for a Case with in_spans. Returns one Batch for
  // each span, with the iterations that ended in it. Throws Error when it can't go on.
  virtual std::vector<Batch> RunSpans(const Spans& spans) {
    (void)spans;
    return {};
  }
  // Checks the output of the last iteration run, outside any timed span.
  virtual Checked Verify() = 0;
  // The facts that are known by now: algorithm, threads, layout, direct, transport used …
  virtual Facts Describe() const { return {}; }
  // The work of one iteration, where it is known only once the workload is made. Nothing: the
  // case's work holds.
  virtual std::optional<Work> OneIteration() const { return std::nullopt; }
  // Histograms of single operations since the workload was made, by name ("latency_s").
  virtual std::map<std::string, Histogram> Histograms() const { return {}; }
  // Lets several workloads that run at once, each in its own thread, begin together. Run then calls
  // `meet`, which returns in all threads together, twice in each batch: before it makes the last
  // things ready, and when nothing is left to do but to begin the timed span. Returns false where
  // the workload can't do that, and never calls `meet`.
  virtual bool BeginTogether(std::function<void()> meet) {
    (void)meet;
    return false;
  }
  // The workload as one that puts its iterations on a stream; null where it can't. Owned by this.
  virtual Streamed* AsStreamed() { return nullptr; }
};

// A meter samples the sensors of a case's units while they are measured. It samples from the moment
// it is made, from which at_s counts. A unit that can't be read is left out. All calls throw Error
// where a unit can't be asked.
class Meter {
 public:
  virtual ~Meter() = default;
  // Takes one more reading of each unit and returns it. What counts begins with the last call.
  virtual std::vector<Telemetry> Begin() = 0;
  // Takes one more reading and returns the trends of clocks and temperatures from `later` after
  // Begin on.
  virtual std::vector<std::optional<Fitted>> Trends(Seconds later) = 0;
  // Takes a last reading, ends the sampling, and returns the readings from `later` after Begin on.
  // Called once.
  virtual std::vector<Telemetry> Finish(Seconds later) = 0;
};

// An expected "no": why this can't run here, and what would make it run.
struct Skipped {
  std::string reason = {};
  std::string remedy = {};
  std::string module = {};  // the module whose absence is the reason; "" for any other reason
};
using Prepared = std::variant<std::unique_ptr<Workload>, Skipped>;

class Modules;  // runner/core/module.h
class Ranks;    // runner/core/ranks.h

// The device of a rank, as nccl-tests describes it.
struct RankDevice {
  int index = 0;        // among those that the rank sees
  std::string id = {};  // on the PCI bus: "0000:0f:00"
  std::string name = {};
};

// The needs of a case of several ranks. The cluster (runner/cluster/cluster.h) finds or starts
// the ranks, and calls `join` on each.
struct AcrossRanks {
  int ranks = 2;
  int nodes = 1;
  // The group of each rank by its number, or -1 for a rank that takes no part; empty: all ranks do
  // the case together. Case::parts are these groups, in the order of their lowest ranks.
  std::vector<int> groups = {};
  std::int64_t bytes = 0;   // the bytes that one iteration moves, for the ranks' watchdogs
  bool by_mpi = false;      // MPI joins the ranks, if they are started for this case
  bool pinned = true;       // each of these has a core of its own, where there are enough cores
  bool on_devices = false;  // buffers lie on devices, of which `device` tells
  bool settles = false;     // Workload::Settle has something to find out
  Params how = {};          // options that move no figure, told to every rank
  // Tells why no case over this library can be done here; nothing: it can be tried. It is cheap.
  std::function<std::optional<Skipped>()> missing = {};
  // Tells why this very case can't be done here, for the reasons of `missing` and its own; nothing:
  // it can be tried. Asked before any rank is started or told.
  std::function<std::optional<Skipped>()> unfit = {};
  // Makes this rank's part ready. Called at once on all ranks of `together`, which are all of the
  // case's or one group, with one `seed` for all. A rank that finds out alone that it can't says so
  // before it calls any of the others.
  std::function<Prepared(Ranks& together, std::uint64_t seed, const Params& how)> join = {};
  // Tells this rank's device. Called at once on all ranks; throws Error where there are too few.
  std::function<std::optional<RankDevice>(Ranks& all)> device = {};
};

// One point to measure: a probe with a value for each param, on certain units by a certain backend.
struct Case {
  // The share of one group of ranks, where several groups do the case at once.
  struct Part {
    Params params = {};
    Work work = {};
    std::vector<Unit> units = {};
  };

  std::string probe = {};
  int method = 1;  // rises with any change that could move the figure
  Params params = {};
  std::string backend = {};
  DeviceType device = {};
  Work work = {};
  std::vector<Unit> units = {};
  std::optional<int> storage = {};      // index into Node::storage
  std::optional<int> accelerator = {};  // index among the module's, where a single one does it
  // The parts of a case that has several, each of which gets its own Record, with its params, work
  // and units in place of the case's. The names of the workload's facts and histograms then begin
  // with the part's index: "0/form".
  std::vector<Part> parts = {};
  // The needs of a case of several ranks, for which the cluster makes `prepare`; nothing: one node
  // does it.
  std::optional<AcrossRanks> across = {};
  // The least iterations of a batch. It is more than 1 where several are in flight at once, since a
  // shorter batch would never have as many in flight as were asked for.
  std::int64_t least_batch = 1;
  // An estimate of the time to make what this case shares with others, such as a test file. The
  // first visit to one of them makes it, and all of them hold the same pointer. May be null.
  std::shared_ptr<const std::function<Seconds()>> shared = {};
  // Whether work is counted over spans of time, for devices that let a burst through and then wait,
  // so that no number of iterations is long enough. It has its own budget,
  // EngineOptions::max_spans_case.
  bool in_spans = false;
  // Makes the workload: fills buffers, opens handles. Called once a visit with that visit's own
  // seed, so that each round sees fresh random inputs. Throws Error when it fails.
  std::function<Prepared(std::uint64_t seed)> prepare = {};
  // Makes a meter of `units`, or null; the function itself may be null too.
  std::function<std::unique_ptr<Meter>()> meter = {};
  // Whether the case's devices can't compute in its dtype; a suite may ask another dtype instead.
  bool lacks_dtype = false;
  // Whether the figure is what the device sustains: a visit then goes on until steady state.
  bool sustained = false;
  // The measured roofline that this case is held against ("of here"). It is sampled briefly before
  // and after each visit, or only after it where the case is sustained. May be null.
  std::shared_ptr<const Case> here = {};
};

// The record of what a case asks for, before anything of it is measured: without units and outcome.
inline Record AskedRecord(const Case& which) {
  return {.probe = which.probe,
          .method = which.method,
          .params = which.params,
          .backend = which.backend,
          .device = which.device,
          .work = which.work};
}

// The place of a GEMM that something else is measured beside: these cores of this machine, or the
// GPU with this number.
struct GemmPlace {
  std::vector<int> cores = {};  // empty: all that this process may use
  std::optional<int> gpu = {};
};
// Makes the case `gemm` with these params in this place.
using GemmAt = std::function<Case(const Params& params, const GemmPlace& place)>;

// The ranks of a run, as far as probes need to know them before any case is done.
struct Roster {
  // The node of each rank that a launcher started; empty: no launcher did, and ranks are started on
  // this node for the cases that need some.
  std::vector<int> nodes = {};
  int usual_ranks = 2;            // the ranks of a case, where nobody says how many
  std::optional<int> cores = {};  // the fewest that a rank has; empty: a share of this process's
  // Tells why MPI can't join ranks here, given that its module is there; null: it can.
  std::function<std::optional<Skipped>()> no_mpi = {};

  int Nodes() const { return nodes.empty() ? 1 : 1 + *std::ranges::max_element(nodes); }
};

// The setup that probes may need to unfold into cases.
struct Setup {
  int threads = 0;              // worker threads for CPU cases; 0: one per core that they may use
  std::vector<int> cores = {};  // the cores of CPU kernels; empty: all that this process may use
  std::string storage_path = ".";
  std::vector<std::string> backends = {};  // only these; empty: all
  std::vector<std::string> devices = {};   // only these ("cpu", "cuda:0"); empty: all
  const Modules* modules = nullptr;        // loaded vendor modules; may be null
  Roster roster = {};
  bool allow_single = false;  // a case of several ranks may have one, which exchanges nothing
  GemmAt gemm = {};           // empty: nothing is measured beside a GEMM

  // Whether a backend, or a device, is among those that were asked for.
  bool TakesBackend(const std::string& name) const { return Takes(backends, name); }
  bool TakesDevice(const std::string& name) const {
    return Takes(devices, name) || Takes(devices, kAllDevices);
  }
  // The name that stands for all devices.
  static constexpr const char* kAllDevices = "all";

 private:
  static bool Takes(const std::vector<std::string>& only, const std::string& name) {
    return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
  }
};

// A named question, such as "gemm".
struct Probe {
  std::string name = {};
  std::string summary = {};  // one line for `assay list`
  // Every param with its default; a suite or --set overrides values, never adds names.
  Params defaults = {};
  // Makes a case for each backend and device that could run these params; at least one, so that a
  // "no" becomes a record with its reason, unless backends or devices were asked for that never do
  // this. Throws Error, with the name of the param, for a value that makes no sense (m = 0, an
  // unknown dtype).
  std::function<std::vector<Case>(const Params& params)> unfold = {};
  // The names of all backends that do this, in small letters, whether or not they can run here and
  // were asked for.
  std::vector<std::string> backends = {};
  // Tells which of these backends can't run here, and why, by name. It must be cheap. An empty
  // function: all can.
  std::function<std::map<std::string, Skipped>()> absent = {};
  // Lists the devices that there are for it. An empty function: Setup::devices doesn't choose.
  std::function<std::vector<std::string>()> devices = {};
};

}  // namespace assay
