#include "kernels/cuda_timer.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cuda_kernels.h"

namespace assay::cuda {
namespace {

using SteadyClock = std::chrono::steady_clock;

// The most calls in one graph, unless one period takes more; longer graphs take long to make.
constexpr std::int64_t kMostInGraph = 1024;
// The calls from which the host's time is taken.
constexpr std::int64_t kHostCalls = 64;
// The share of a batch's time from which on launching counts as what took the time.
constexpr double kHostsShare = 0.8;

}  // namespace

// A closed gate on the timer's stream; it opens at Open, or at the end of its life.
class Timer::Gate {
 public:
  explicit Gate(const Timer& timer)
      : open_(static_cast<volatile int*>(timer.flags_.get())), expired_(open_ + 1) {
    *open_ = 0;
    *expired_ = 0;
    LaunchGate(open_, expired_, static_cast<std::uint64_t>(timer.limits_.gate.count() * 1e9),
               timer.Stream());
    Check(cudaGetLastError());
  }
  ~Gate() { Open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void Open() { *open_ = 1; }
  bool Expired() const { return *expired_ != 0; }

 private:
  volatile int* open_;
  volatile int* expired_;
};

Timer::Timer(const Limits& limits)
    : limits_(limits),
      stream_(MakeStream()),
      begin_(MakeEvent()),
      end_(MakeEvent()),
      flags_(MakeMappedMemory(2 * sizeof(int))),
      graph_(limits.graph_below == Seconds::max()) {}

Timer::~Timer() = default;

void Wait(cudaStream_t stream, const std::string& what, Seconds hung) {
  const auto deadline = SteadyClock::now() + hung;
  for (;;) {
    const cudaError_t state = cudaStreamQuery(stream);
    if (state == cudaSuccess) return;
    if (state != cudaErrorNotReady) {
      throw Error(fmt::format("CUDA: {} in {} ({}); see nvidia-smi and dmesg",
                              cudaGetErrorString(state), what, cudaGetErrorName(state)));
    }
    if (SteadyClock::now() > deadline) {
      throw Error(
          fmt::format("CUDA: {} did not come to an end in {:g} s; see nvidia-smi and "
                      "dmesg for the GPU's state",
                      what, hung.count()));
    }
    std::this_thread::yield();
  }
}

Seconds Timer::Finish(const Gate* gate) {
  Wait("the timed work");
  if (gate != nullptr && gate->Expired()) {
    throw Error(
        fmt::format("the operation waits for the device within itself, and so for the {:g} s that "
                    "its own start was held up: it can't be timed by the device's clock",
                    limits_.gate.count()));
  }
  float ms = 0;
  Check(cudaEventElapsedTime(&ms, begin_.get(), end_.get()));
  return Seconds(static_cast<double>(ms) * 1e-3);
}

Seconds Timer::TimeCalls(std::int64_t iterations, const Enqueue& enqueue) {
  const std::int64_t lead = std::min(iterations, limits_.lead);
  Meet();
  std::optional<Gate> gate;
  if (lead > 0) gate.emplace(*this);
  Check(cudaEventRecord(begin_.get(), Stream()));
  for (std::int64_t i = 0; i < lead; ++i) enqueue(calls_++ % period_);
  Meet();
  if (gate) gate->Open();
  for (std::int64_t i = lead; i < iterations; ++i) enqueue(calls_++ % period_);
  Check(cudaEventRecord(end_.get(), Stream()));
  return Finish(gate ? &*gate : nullptr);
}

Seconds Timer::TimeGraphs(std::int64_t iterations, const Enqueue& enqueue) {
  // Graphs hold whole periods, so that a few of them serve for all iterations.
  const std::int64_t longest = std::max<std::int64_t>(kMostInGraph / period_, 1) * period_;
  std::map<std::pair<std::int64_t, std::int64_t>, GraphExec> graphs;  // by first call and calls
  std::vector<cudaGraphExec_t> launches;
  while (iterations > 0) {
    const std::int64_t calls = std::min(iterations, longest);
    GraphExec& graph = graphs[{calls_ % period_, calls}];
    if (graph) {
      calls_ += calls;
    } else {
      graph = Capture(Stream(), [&] {
        for (std::int64_t i = 0; i < calls; ++i) enqueue(calls_++ % period_);
      });
    }
    launches.push_back(graph.get());
    iterations -= calls;
  }
  Wait("uploading a graph");

  Meet();
  Gate gate(*this);
  Check(cudaEventRecord(begin_.get(), Stream()));
  Check(cudaGraphLaunch(launches.front(), Stream()));
  Meet();
  gate.Open();
  for (std::size_t i = 1; i < launches.size(); ++i) Check(cudaGraphLaunch(launches[i], Stream()));
  Check(cudaEventRecord(end_.get(), Stream()));
  return Finish(&gate);
}

Timer::HostTime Timer::TimeHost(std::int64_t iterations, const Enqueue& enqueue) {
  HostTime host;
  const auto begin = SteadyClock::now();
  for (std::int64_t i = 0; i < iterations; ++i) enqueue(calls_++ % period_);
  host.launching = SteadyClock::now() - begin;
  Wait("the work");
  host.all = SteadyClock::now() - begin;
  return host;
}

Batch Timer::Time(std::int64_t iterations, std::int64_t period, const Enqueue& enqueue) {
  period_ = period;
  const std::int64_t of_host = std::min(iterations, kHostCalls);
  const HostTime host = TimeHost(of_host, enqueue);
  const auto calls = static_cast<double>(iterations) / static_cast<double>(of_host);
  if (graph_) {
    method_ = "graph";
    return {.time = TimeGraphs(iterations, enqueue), .host = host.all * calls};
  }
  const Seconds time = TimeCalls(iterations, enqueue);
  // Calls within the lead were queued before the gate opened, so that only launching the others may
  // have held the device up.
  const double behind_the_lead =
      std::max(0.0, 1 - static_cast<double>(limits_.lead) / static_cast<double>(iterations));
  const bool host_bound = host.launching * calls * behind_the_lead > kHostsShare * time;
  method_ = host_bound ? "events, at the pace of the host" : "events";
  // The choice is for the batches that follow: this one has been timed, and capturing changes
  // nothing that it did.
  graph_ = limits_.graph_below > Seconds(0) &&
           (host_bound || time < limits_.graph_below * static_cast<double>(iterations));
  return {.time = time, .host = host.all * calls};
}

void Timer::Hold() {
  held_.reset();  // first, since its destructor would open the new gate
  held_ = std::make_unique<Gate>(*this);
}

void Timer::Release() { held_->Open(); }

void Timer::Put(std::int64_t iterations, std::int64_t period, const Enqueue& enqueue) {
  period_ = period;
  for (std::int64_t i = 0; i < iterations; ++i) enqueue(calls_++ % period_);
}

void Timer::Finish() {
  Wait("the work");
  const bool expired = held_ != nullptr && held_->Expired();
  held_.reset();
  if (!expired) return;
  throw Error(
      fmt::format("work on the device was held up until other work is there too, which it was not "
                  "in {:g} s: they can't be timed at once",
                  limits_.gate.count()));
}

}  // namespace assay::cuda
