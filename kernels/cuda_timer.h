// A timer of work on a GPU by the GPU's own clock (CUDA events).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "runner/core/cuda.h"

namespace assay::cuda {

// Waits until all work on the stream is done. Throws Error, which names the work by `what`, if it
// failed or isn't done within `hung`.
void Wait(cudaStream_t stream, const std::string& what, Seconds hung = Seconds(60));

// A Timer owns one stream and times what is put on it.
//
// The problem: launching a kernel takes the host microseconds, which would be in the time of short
// work. The pattern: two events are recorded around the calls of a batch, all behind a gate, which
// is a blocking kernel (LaunchGate) that holds up the stream until a number of calls is queued.
// Calls that last under 10 us, or that the host launches no faster than the device does them, are
// captured in a CUDA graph and launched together.
//
// The caveats: CUDA's events resolve about 0.5 us (cudaEventElapsedTime), so a batch should last
// 200 us or more. A call that waits for the stream would wait for its own gate; the gate gives up
// after a while, which ends in an Error, and so does a device that never finishes. A Timer belongs
// to one thread at a time, whose current device is the stream's.
class Timer {
 public:
  // The timer's bounds, which tests shorten.
  struct Limits {
    Seconds gate = Seconds(5);   // how long the gate holds up the stream before it gives up
    Seconds hung = Seconds(60);  // how long the work on the stream may take
    // Calls shorter than this are captured in a graph. 0: never, Seconds::max(): always.
    Seconds graph_below = Seconds(10e-6);
    // The number of calls that are queued before the gate opens. It must be enough of a lead over
    // the device, and far below the about 1024 launches at which the driver's queue is full and a
    // launch waits for the device. 0: no gate.
    std::int64_t lead = 64;
  };
  // Makes a stream and events on the current device.
  Timer() : Timer(Limits{}) {}
  explicit Timer(const Limits& limits);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  cudaStream_t Stream() const { return stream_.get(); }

  // Times `iterations` calls of enqueue(i), each of which puts one iteration on the stream. The
  // argument i goes from 0 to period - 1 and round again, on from batch to batch; the period must
  // be the same in all batches.
  //
  // Up to 64 more calls come first, without a gate. They give Batch::host, the time of
  // launching and waiting by the host's clock, scaled to the batch. They also load every kernel
  // before a gate is closed: CUDA loads a kernel at its first launch, and may wait for the device
  // to do so.
  Batch Time(std::int64_t iterations, std::int64_t period,
             const std::function<void(std::int64_t)>& enqueue);
  // Has `meet` called twice in each batch, before the gate is made and before it opens, so that
  // several devices begin together (Workload::BeginTogether).
  void BeginTogether(std::function<void()> meet) { meet_ = std::move(meet); }

  // Hold, Put, Release and Finish serve callers that measure by a clock of their own, in the order
  // that Streamed (runner/core/probe.h) has for its functions of the same names: Hold puts a gate
  // on the stream, Put enqueues calls behind the gate, Release opens it, and Finish waits for
  // everything. Finish throws Error if the gate had given up. A Hold before Finish opens the gate
  // that it replaces. REQUIRES, for Release: Hold was called.
  void Hold();
  void Release();
  void Put(std::int64_t iterations, std::int64_t period,
           const std::function<void(std::int64_t)>& enqueue);
  void Finish();

  // The number of calls since CountAnew, including those for the host's time and those in graphs.
  std::int64_t Calls() const { return calls_ - counted_from_; }
  void CountAnew() { counted_from_ = calls_; }
  // The argument i of the last call. REQUIRES: there was one.
  std::int64_t Last() const { return (calls_ - 1) % period_; }

  void Wait(const std::string& what) const { cuda::Wait(Stream(), what, limits_.hung); }

  // The way the last batch was launched: "events", "graph", or "events, at the pace of the host"
  // where the host could not launch as fast as the device worked once the gate was open.
  const std::string& Method() const { return method_; }

 private:
  class Gate;
  using Enqueue = std::function<void(std::int64_t)>;
  struct HostTime {
    Seconds launching = {};
    Seconds all = {};
  };

  Seconds TimeCalls(std::int64_t iterations, const Enqueue& enqueue);
  Seconds TimeGraphs(std::int64_t iterations, const Enqueue& enqueue);
  HostTime TimeHost(std::int64_t iterations, const Enqueue& enqueue);
  Seconds Finish(const Gate* gate);
  void Meet() const {
    if (meet_) meet_();
  }

  Limits limits_;
  cuda::Stream stream_;
  Event begin_;
  Event end_;
  MappedMemory flags_;      // two ints: open, expired
  std::int64_t calls_ = 0;  // since the timer was made
  std::int64_t counted_from_ = 0;
  std::int64_t period_ = 1;
  bool graph_;  // whether the next batch is launched as graphs
  std::string method_ = "events";
  std::function<void()> meet_ = {};
  std::unique_ptr<Gate> held_;  // declared last, since its destructor uses the flags
};

// A base for workloads whose iterations are calls of a timer.
class TimedWorkload : public Workload {
 public:
  Batch Run(std::int64_t iterations) override {
    return timer_->Time(iterations, Period(), [this](std::int64_t i) { Enqueue(i); });
  }
  bool BeginTogether(std::function<void()> meet) override {
    timer_->BeginTogether(std::move(meet));
    return true;
  }

 protected:
  explicit TimedWorkload(const Timer::Limits& limits = {})
      : TimedWorkload(std::make_shared<Timer>(limits)) {}
  explicit TimedWorkload(std::shared_ptr<Timer> timer) : timer_(std::move(timer)) {}

  // The number of iterations after which the argument of Enqueue begins at 0 again.
  virtual std::int64_t Period() const { return 1; }
  // Puts iteration i of the period on the timer's stream.
  virtual void Enqueue(std::int64_t i) = 0;

  const std::shared_ptr<Timer> timer_;  // the parts of a loop share one
};

}  // namespace assay::cuda
