#include "kernels/cuda_launch.h"

#include <chrono>

#include "kernels/cuda_kernels.h"

namespace assay::cuda {
namespace {

Timer::Limits LimitsFor(const Launch& op) {
  return {.graph_below = op.mode == "graph" ? Seconds::max() : Seconds(0)};
}

// Launches of the counting kernel, whose count shows whether every one was done.
class LaunchWorkload : public TimedWorkload {
 public:
  LaunchWorkload(const Launch& op, const Gpu& gpu)
      : TimedWorkload(LimitsFor(op)),
        op_(op),
        gpu_(gpu),
        count_(MakeDeviceMemory(sizeof(std::uint64_t))) {
    Check(cudaMemsetAsync(count_.get(), 0, sizeof(std::uint64_t), timer_->Stream()));
    timer_->Wait("clearing a count");
  }

  Batch Run(std::int64_t iterations) override {
    if (op_.mode != "sync") return TimedWorkload::Run(iterations);
    // The host waits as any program would, without the timer's deadline.
    const auto begin = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < iterations; ++i) {
      Enqueue(i);
      Check(cudaStreamSynchronize(timer_->Stream()));
    }
    synced_ += iterations;
    return {.time = std::chrono::steady_clock::now() - begin};
  }

  bool BeginTogether(std::function<void()> meet) override {
    return op_.mode != "sync" && TimedWorkload::BeginTogether(std::move(meet));
  }

  Checked Verify() override {
    std::uint64_t count = 0;
    Check(cudaMemcpyAsync(&count, count_.get(), sizeof(count), cudaMemcpyDeviceToHost,
                          timer_->Stream()));
    timer_->Wait("reading a count back");
    const auto expected = static_cast<std::uint64_t>(timer_->Calls() + synced_);
    Checked checked = {.checked = 1, .reference = "exact count of launches"};
    if (count == expected) return checked;
    checked.wrong = 1;
    checked.what = fmt::format("{} kernels ran, but {} were launched", count, expected);
    return checked;
  }

  Facts Describe() const override {
    Facts facts = gpu_.Describe();
    facts["clock"] = std::string(op_.mode == "sync" ? "host" : "device");
    facts["timing"] = op_.mode == "sync" ? "launch and wait" : timer_->Method();
    return facts;
  }

 private:
  void Enqueue(std::int64_t) override {
    LaunchCount(static_cast<std::uint64_t*>(count_.get()), timer_->Stream());
    Check(cudaGetLastError());
  }

  Launch op_;
  Gpu gpu_;
  DeviceMemory count_;
  std::int64_t synced_ = 0;
};

}  // namespace

Prepared PrepareLaunch(const Launch& op, const Gpu& gpu) {
  return std::make_unique<LaunchWorkload>(op, gpu);
}

}  // namespace assay::cuda
