#include "kernels/cpu_native.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/cpu_memory.h"
#include "kernels/cpu_peak.h"
#include "runner/core/memory.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

// The clock of the core that this runs on, in cycles per second, by the fastest of a few chains of
// additions, each of which waits for the one before it and takes one cycle. 0 on architectures for
// which no such chain is written.
double EffectiveHertz() {
#if defined(__x86_64__) || defined(__aarch64__)
  constexpr int kTurns = 2000;
  constexpr int kAddsPerTurn = 32;
  double best = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    std::uint64_t sum = 0;
    const std::uint64_t one = 1;
    const auto start = std::chrono::steady_clock::now();
    for (int turn = 0; turn < kTurns; ++turn) {
#if defined(__x86_64__)
      asm volatile(".rept 32\n add %1, %0\n .endr" : "+r"(sum) : "r"(one));
#else
      asm volatile(".rept 32\n add %0, %0, %1\n .endr" : "+r"(sum) : "r"(one));
#endif
    }
    const Seconds time = std::chrono::steady_clock::now() - start;
    best = std::max(best, kTurns * kAddsPerTurn / time.count());
  }
  return best;
#else
  return 0;
#endif
}

// One peak loop on every core at once. Its check recomputes every chain's bits by plain arithmetic.
class PeakWorkload : public Workload {
 public:
  PeakWorkload(const PeakLoop& loop, int threads, const std::vector<int>& cores, std::uint64_t seed)
      : loop_(loop), team_(threads, cores), sums_(static_cast<std::size_t>(team_.Size())) {
    loop_.fill(seed, values_.data(), operands_.data());
  }

  Batch Run(std::int64_t iterations) override {
    iterations_ = iterations;
    const Seconds time = team_.Run([&](int thread) {
      alignas(64) Words out = {};
      Words sum = {};
      for (std::int64_t i = 0; i < iterations; ++i) {
        loop_.run(values_.data(), operands_.data(), out.data());
        for (std::int64_t chain = 0; chain < loop_.chains; ++chain) {
          sum[static_cast<std::size_t>(chain)] += out[static_cast<std::size_t>(chain)];
        }
      }
      sums_[static_cast<std::size_t>(thread)] = sum;
    });
    return {.time = time};
  }

  // For each thread, the sum of every chain's bits over all iterations, modulo 2^32.
  Checked Verify() override {
    MeasureClock();
    Words expected = {};
    loop_.reference(values_.data(), operands_.data(), expected.data());
    Checked checked = {.reference = "exact"};
    for (std::size_t thread = 0; thread < sums_.size(); ++thread) {
      for (std::size_t chain = 0; chain < static_cast<std::size_t>(loop_.chains); ++chain) {
        const std::uint32_t right = expected[chain] * static_cast<std::uint32_t>(iterations_);
        ++checked.checked;
        if (sums_[thread][chain] == right) continue;
        if (checked.wrong++ == 0) {
          checked.what = fmt::format("thread {}, chain {}: {:#010x} instead of {:#010x}", thread,
                                     chain, sums_[thread][chain], right);
        }
      }
    }
    return checked;
  }

  Facts Describe() const override {
    Facts facts = {{"instruction", loop_.instruction},
                   {"threads", std::int64_t{team_.Size()}},
                   {"pinned", team_.Pinned()}};
    if (hertz_ > 0) facts["clock_ghz"] = hertz_ / 1e9;
    return facts;
  }

 private:
  using Words = std::array<std::uint32_t, kMostPeakWords>;

  // The clock of the slowest core, measured right after the work.
  void MeasureClock() {
    std::vector<double> hertz(sums_.size());
    team_.Run([&](int thread) { hertz[static_cast<std::size_t>(thread)] = EffectiveHertz(); });
    // A batch ends with its slowest thread, so that core's clock is the one that explains the
    // figure.
    hertz_ = *std::min_element(hertz.begin(), hertz.end());
  }

  PeakLoop loop_;
  Team team_;
  alignas(64) Words values_ = {};
  alignas(64) Words operands_ = {};
  std::vector<Words> sums_;
  std::int64_t iterations_ = 0;
  double hertz_ = 0;
};

PeakLoopOr LoopFor(Dtype dtype) {
  if (dtype == Dtype::kF32) return F32PeakLoop();
  if (dtype == Dtype::kBf16) return Bf16PeakLoop();
  if (dtype == Dtype::kInt8) return Int8PeakLoop();
  return Skipped{.reason = fmt::format("there is no {} peak loop for CPUs", ToText(dtype)),
                 .remedy = "f32, bf16 and int8 have one"};
}

class NativeBackend : public Backend {
 public:
  NativeBackend(int threads, const std::vector<int>& cores)
      : cores_(cores), threads_(threads == 0 ? static_cast<int>(cores.size()) : threads) {}

  std::string Name() const override { return "native"; }

  std::vector<Device> Devices() override { return {{.name = DeviceName("cpu", 0), .kind = "cpu"}}; }

  bool Has(const Op& op) const override {
    return std::holds_alternative<Peak>(op) || std::holds_alternative<Memory>(op);
  }

  Op Complete(const Op& op, const Device&) const override {
    const Memory* memory = std::get_if<Memory>(&op);
    if (memory == nullptr || memory->bytes != 0) return op;
    return Memory{.pattern = memory->pattern,
                  .bytes = ArrayBytes(LastLevelCacheBytes(), AvailableMemory().value_or(0))};
  }

  Work OneIteration(const Op& op, const Device&) const override {
    Work work = WorkOf(op);
    if (const Peak* peak = std::get_if<Peak>(&op)) {
      const PeakLoopOr loop = LoopFor(peak->dtype);
      if (const PeakLoop* found = std::get_if<PeakLoop>(&loop)) {
        work.flops = threads_ * kPeakSteps * found->chains * found->ops_per_step;
      }
    }
    return work;
  }

  Prepared Prepare(const Op& op, const Device&, std::uint64_t seed) override {
    if (const Peak* peak = std::get_if<Peak>(&op)) {
      PeakLoopOr loop = LoopFor(peak->dtype);
      if (Skipped* no = std::get_if<Skipped>(&loop)) return std::move(*no);
      return std::make_unique<PeakWorkload>(std::get<PeakLoop>(loop), threads_, cores_, seed);
    }
    if (const Memory* memory = std::get_if<Memory>(&op)) {
      return PrepareMemory(*memory, threads_, cores_, seed);
    }
    return Skipped{.reason = "the native backend has peak and memory only",
                   .remedy = "choose another backend"};
  }

 private:
  std::vector<int> cores_;
  int threads_;
};

}  // namespace

std::unique_ptr<Backend> MakeNativeBackend(const Setup& setup) {
  return std::make_unique<NativeBackend>(setup.threads, CoresOf(setup));
}

std::map<std::string, std::string> NativeSoftware() { return {{"highway", HighwayVersion()}}; }

}  // namespace assay
