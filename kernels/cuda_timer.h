// Time of work on a GPU, by the GPU's own clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "runner/cuda.h"

namespace assay::cuda {

// Returns once all that is on the stream is done. Throws Error, with `what`, if it failed or did
// not come to an end in so long.
void Wait(cudaStream_t stream, const std::string& what, Seconds hung = Seconds(60));

// One stream, and the clock of what is put on it. Two events are recorded around the calls of a
// batch, all behind a gate: a kernel of one thread that spins on a flag of the host and holds up
// the stream until a number of calls is queued. So the host's launching is not in the time. Calls
// that last under 10 us, or that the host launches no faster than the device does them, are
// captured in a CUDA graph and launched together. CUDA's events resolve about 0.5 us
// (cudaEventElapsedTime): a batch should last 200 us or more.
//
// What waits for the stream within a call would wait for its own gate. The gate gives up after a
// while, which ends in an Error; so does a device that doesn't come to an end.
class Timer {
 public:
  struct Limits {
    Seconds gate = Seconds(5);             // for the gate
    Seconds hung = Seconds(60);            // for all that is on the stream
    Seconds graph_below = Seconds(10e-6);  // of a call; 0: no graph, Seconds::max(): always one
    // So many calls are queued before the gate opens: enough of a lead, and far from the about 1024
    // launches at which the driver's queue is full and a launch waits for the device. 0: no gate.
    std::int64_t lead = 64;
  };
  // On the current device.
  Timer() : Timer(Limits{}) {}
  explicit Timer(const Limits& limits);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  cudaStream_t Stream() const { return stream_.get(); }

  // `iterations` calls of enqueue(i), each of which puts one iteration on the stream; i goes from 0
  // to period - 1 and round again, from batch to batch. The period is the same in all batches.
  // Batch::host is what launching and waiting take without a gate, of up to 64 calls that come
  // first: so every kernel is there before a gate is, since CUDA loads a kernel at its first launch
  // and may wait for the device to do so.
  Batch Time(std::int64_t iterations, std::int64_t period,
             const std::function<void(std::int64_t)>& enqueue);
  // As Workload::BeginTogether: `meet` is called before the gate is made and before it opens.
  void BeginTogether(std::function<void()> meet) { meet_ = std::move(meet); }

  // For who has a clock of his own, as Streamed's of these names: Hold puts a gate on the stream.
  void Hold();
  void Release();
  void Put(std::int64_t iterations, std::int64_t period,
           const std::function<void(std::int64_t)>& enqueue);
  void Finish();

  // The calls made since CountAnew, those for the host's time and those of graphs among them; and
  // the i of the last one.
  std::int64_t Calls() const { return calls_ - counted_from_; }
  void CountAnew() { counted_from_ = calls_; }
  std::int64_t Last() const { return (calls_ - 1) % period_; }

  void Wait(const std::string& what) const { cuda::Wait(Stream(), what, limits_.hung); }

  // How the last batch was launched: "events", "graph", or "events, at the pace of the host", which
  // was late with what it launched once the gate was open.
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
  std::int64_t calls_ = 0;  // ever
  std::int64_t counted_from_ = 0;
  std::int64_t period_ = 1;
  bool graph_;  // for the next batch
  std::string method_ = "events";
  std::function<void()> meet_ = {};
  std::unique_ptr<Gate> held_;  // last: it uses the flags
};

// A workload whose iterations are calls of a timer.
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

  virtual std::int64_t Period() const { return 1; }
  // Puts iteration i of the period on the timer's stream.
  virtual void Enqueue(std::int64_t i) = 0;

  const std::shared_ptr<Timer> timer_;  // a loop's parts share theirs
};

}  // namespace assay::cuda
