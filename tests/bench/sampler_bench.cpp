// The time that the sampler adds to each batch, with a workload that does nothing. This is no test
// but a figure to read. Run build/release/tests/sampler_bench; the bound is 1 us a batch.
#include <benchmark/benchmark.h>

#include "runner/core/sampler.h"

namespace assay {
namespace {

// Pretends that each iteration took a millisecond, and takes no time.
class Nothing : public Workload {
 public:
  Batch Run(std::int64_t iterations) override {
    return {.time = Seconds(1e-3 * static_cast<double>(iterations))};
  }
  Checked Verify() override { return {}; }
};

void BatchOverhead(benchmark::State& state) {
  constexpr int kBatches = 10'000;
  Nothing workload;
  for (auto _ : state) {
    const Sampled sampled = Sample(workload, workload.Run(1),
                                   {.min_samples = kBatches, .stop = [] { return std::nullopt; }});
    benchmark::DoNotOptimize(sampled.visit.time_s.data());
  }
  state.counters["per_batch"] = benchmark::Counter(
      kBatches, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK(BatchOverhead)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace assay

BENCHMARK_MAIN();
