#include "collectives/overlap.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include "collectives/companion.h"
#include "results/base/error.h"
#include "runner/core/random.h"
#include "runner/core/rank_cores.h"
#include "runner/core/threads.h"
#include "runner/core/told_number.h"

namespace assay {
namespace {

constexpr std::int64_t kMostGemms = 1'000'000;

// The GEMMs in a thread that does nothing else. The same thread prepares and runs them, so that a
// library's thread pool stays the same for all runs.
class GemmThread : public Companion {
 public:
  GemmThread(const std::vector<int>& cores, Clock clock)
      : clock_(std::move(clock)), thread_(cores) {}
  ~GemmThread() override {
    thread_.Give([this] { workload_.reset(); });
  }

  // Prepares the GEMM. Returns why it can't be run, or nothing.
  std::optional<Skipped> Prepare(Case gemm, std::uint64_t seed) {
    std::optional<Skipped> no;
    gemm_ = std::move(gemm);
    thread_.Give([&] {
      Prepared prepared = gemm_.prepare(seed);
      if (Skipped* skipped = std::get_if<Skipped>(&prepared)) {
        no = std::move(*skipped);
      } else {
        workload_ = std::get<std::unique_ptr<Workload>>(std::move(prepared));
      }
    });
    thread_.Wait();
    return no;
  }

  void Begin() override {
    begin_ = clock_();
    thread_.Give([this] {
      workload_->Run(gemms);
      end_ = clock_();
    });
  }
  void End() override { thread_.Wait(); }
  // The time from Begin until the last of the GEMMs was over, in seconds.
  double Time() const { return (end_ - begin_).count(); }

  Checked Verify() {
    Checked checked;
    thread_.Give([&] { checked = workload_->Verify(); });
    thread_.Wait();
    return checked;
  }
  Facts Describe() const { return workload_->Describe(); }

  std::int64_t gemms = 1;  // how many GEMMs the next Begin begins

 private:
  Clock clock_;
  Case gemm_ = {};  // must outlive the workload, which may need what its case holds
  std::unique_ptr<Workload> workload_ = {};
  Seconds begin_ = {};
  Seconds end_ = {};
  TaskThread thread_;  // declared last, since its tasks use the other members
};

// The cores of one rank, by what uses them.
struct Split {
  std::vector<int> communicate = {};
  std::vector<int> compute = {};
};

Split SplitOf(const std::vector<int>& cores, std::int64_t comm_cores) {
  if (comm_cores == 0) return {.communicate = cores, .compute = cores};
  const auto at = cores.begin() + static_cast<std::ptrdiff_t>(comm_cores);
  return {.communicate = {cores.begin(), at}, .compute = {at, cores.end()}};
}

// The part of the workload that is the same wherever a step runs.
class StepWorkload : public Workload {
 public:
  StepWorkload(const TrainingStep& step, Ranks& ranks, std::uint64_t seed)
      : step_(step), ranks_(ranks), seed_(seed) {}

  // Prepares both sides of the step. Returns why it can't be run, or nothing.
  std::optional<Skipped> Prepare(const GemmAt& gemm, const std::function<Prepared()>& collective) {
    Prepared prepared = collective();
    if (Skipped* skipped = std::get_if<Skipped>(&prepared)) return std::move(*skipped);
    workload_ = std::get<std::unique_ptr<Workload>>(std::move(prepared));
    collective_ = dynamic_cast<Accompanied*>(workload_.get());
    if (collective_ == nullptr || collective_->Device().has_value() != step_.on_gpus) {
      throw Error("a collective that nothing can be put beside; report this bug");
    }
    return PrepareGemms(step_.gemm, gemm, RandomAt(seed_, 0));
  }

  Settled Settle() override {
    WarmUp();
    const auto compute = [this] { return Slowest(ComputeAlone(gemms_)); };
    const auto communicate = [this] { return CommunicateAlone().time.count(); };
    compute();
    const double communicate_s = std::min(communicate(), communicate());
    double compute_s = compute();
    if (step_.gemms == 0) {
      const double wanted = communicate_s * static_cast<double>(step_.compute_percent) / 100;
      const auto settle = [&](double time) {
        const double found = std::round(static_cast<double>(gemms_) * wanted / time);
        gemms_ = static_cast<std::int64_t>(std::clamp(found, 1.0, static_cast<double>(kMostGemms)));
      };
      settle(compute_s);
      compute_s = compute();  // measured again, since n GEMMs take less than n times one
      settle(compute_s);
    } else {
      compute_s *= static_cast<double>(step_.gemms);
      gemms_ = step_.gemms;
    }
    return {.how = {{"gemms", gemms_}}, .iteration = Seconds(2 * (communicate_s + compute_s))};
  }

  std::optional<Work> OneIteration() const override {
    Work work = step_.work;
    std::int64_t flops = 0;
    if (!work.flops || __builtin_mul_overflow(*work.flops, gemms_, &flops)) {
      throw Error(
          fmt::format("{} GEMMs of each rank are too much work to count: ask for fewer with "
                      "--set gemms",
                      gemms_));
    }
    work.flops = flops;
    return work;
  }

  Batch Run(std::int64_t iterations) override {
    Batch sum;
    for (std::int64_t i = 0; i < iterations; ++i) Add(sum, RunStep());
    return sum;
  }

  Checked Verify() override {
    Checked all = workload_->Verify();
    const Checked own = VerifyGemms();
    const std::vector<std::string> texts =
        ranks_.Gather(fmt::format("{} {} {} {} {}", own.checked, own.wrong, own.max_error,
                                  own.tolerance, own.what.value_or("")));
    for (std::size_t rank = 0; rank < texts.size(); ++rank) {
      std::istringstream words(texts[rank]);
      std::int64_t checked = 0;
      std::int64_t wrong = 0;
      std::string max_error;  // a text, since it may be "inf" or "nan", which no stream reads
      double tolerance = 0;
      words >> checked >> wrong >> max_error >> tolerance >> std::ws;
      all.checked += checked;
      all.wrong += wrong;
      all.max_error = std::max(all.max_error, std::strtod(max_error.c_str(), nullptr));
      all.tolerance = std::max(all.tolerance, tolerance);
      std::string what;
      std::getline(words, what);
      if (wrong > 0 && !all.what) all.what = fmt::format("GEMM of rank {}: {}", rank, what);
    }
    all.reference = fmt::format("all-reduce {}, GEMM {}", all.reference, own.reference);
    return all;
  }

  Facts Describe() const override {
    Facts facts = workload_->Describe();
    for (const auto& [name, fact] : DescribeGemms()) facts["gemm." + name] = fact;
    facts["gemms"] = gemms_;
    facts.merge(DescribePlaces());
    return facts;
  }

 protected:
  Ranks& ranks() const { return ranks_; }
  Accompanied& collective() const { return *collective_; }

 private:
  virtual std::optional<Skipped> PrepareGemms(const Params& params, const GemmAt& gemm,
                                              std::uint64_t seed) = 0;
  // Runs everything once, untimed, because the first run of anything takes longer.
  virtual void WarmUp() = 0;
  // The three below begin with a common start of all ranks. ComputeAlone returns the time of this
  // rank's own GEMMs, in seconds.
  virtual double ComputeAlone(std::int64_t gemms) = 0;
  // Does one all-reduce alone.
  virtual Batch CommunicateAlone() = 0;
  // Does both at once, and sets `compute_s` to the time of the GEMMs.
  virtual Batch Together(std::int64_t gemms, double& compute_s) = 0;
  virtual Checked VerifyGemms() = 0;
  virtual Facts DescribeGemms() const = 0;
  virtual Facts DescribePlaces() const { return {}; }

  static void Add(Batch& sum, const Batch& step) {
    sum.time += step.time;
    sum.per_unit.resize(step.per_unit.size());
    for (std::size_t i = 0; i < step.per_unit.size(); ++i) sum.per_unit[i] += step.per_unit[i];
    for (const auto& [name, time] : step.phases) sum.phases[name] += time;
  }

  double Slowest(double time) {
    ranks_.Max({&time, 1});
    return time;
  }

  // Runs one step. Which of the two runs alone first is chosen at random. Both at once come last,
  // so that the outcomes that Verify finds are those of both at once.
  Batch RunStep() {
    const bool computes_first = RandomAt(seed_, ++steps_) % 2 == 0;
    double compute_alone = 0;
    if (computes_first) compute_alone = Slowest(ComputeAlone(gemms_));
    const Seconds communicate_alone = CommunicateAlone().time;
    if (!computes_first) compute_alone = Slowest(ComputeAlone(gemms_));

    double compute = 0;
    const Batch together = Together(gemms_, compute);
    Batch step;
    for (const std::string& text : ranks_.Gather(fmt::format("{}", compute))) {
      const std::size_t rank = step.per_unit.size();
      const Seconds communicate = together.per_unit.at(rank);
      const Seconds computes(
          ToldNumber<double>(text, fmt::format("rank {}", rank), "the time of its GEMMs"));
      step.per_unit.push_back(std::max(communicate, computes));
    }
    compute = Slowest(compute);
    step.time = std::max(together.time, Seconds(compute));
    step.phases = {{"compute_alone", Seconds(compute_alone)},
                   {"communicate_alone", communicate_alone},
                   {"compute", Seconds(compute)},
                   {"communicate", together.time}};
    return step;
  }

  TrainingStep step_;
  Ranks& ranks_;
  std::uint64_t seed_;
  std::uint64_t steps_ = 0;
  std::int64_t gemms_ = 1;
  std::unique_ptr<Workload> workload_ = {};
  Accompanied* collective_ = nullptr;  // the all-reduce's workload, by its other interface
};

// The step in host memory: a thread for GEMMs beside the one that communicates, each on its own
// cores.
class HostStep : public StepWorkload {
 public:
  HostStep(const TrainingStep& step, Ranks& ranks, Split cores, std::uint64_t seed,
           const Clock& clock)
      : StepWorkload(step, ranks, seed),
        cores_(std::move(cores)),
        pinned_(cores_.communicate),
        gemms_(cores_.compute, clock) {}

 private:
  std::optional<Skipped> PrepareGemms(const Params& params, const GemmAt& gemm,
                                      std::uint64_t seed) override {
    return gemms_.Prepare(gemm(params, {.cores = cores_.compute}), seed);
  }
  void WarmUp() override { collective().Run(1); }
  double ComputeAlone(std::int64_t gemms) override {
    collective().Align();
    gemms_.gemms = gemms;
    gemms_.Begin();
    gemms_.End();
    return gemms_.Time();
  }
  Batch CommunicateAlone() override { return collective().Run(1); }
  Batch Together(std::int64_t gemms, double& compute_s) override {
    gemms_.gemms = gemms;
    collective().Accompany(&gemms_);
    Batch together = collective().Run(1);
    collective().Accompany(nullptr);
    compute_s = gemms_.Time();
    return together;
  }
  Checked VerifyGemms() override { return gemms_.Verify(); }
  Facts DescribeGemms() const override { return gemms_.Describe(); }
  Facts DescribePlaces() const override {
    return {{"shared_cores", cores_.communicate == cores_.compute},
            {"communication_cores_by_rank", ByRank(cores_.communicate)},
            {"compute_cores_by_rank", ByRank(cores_.compute)}};
  }
  std::string ByRank(const std::vector<int>& cores) const {
    return fmt::format("{}",
                       fmt::join(ranks().Gather(fmt::format("{}", fmt::join(cores, ","))), " | "));
  }

  Split cores_;
  Pinned pinned_;     // pins this thread, which communicates
  GemmThread gemms_;  // declared last, since its thread uses the other members
};

// The step on GPUs: GEMMs on a stream beside the library's own, timed by the GPU's clock. One
// thread puts everything on both streams.
class GpuStep : public StepWorkload {
 public:
  using StepWorkload::StepWorkload;

 private:
  std::optional<Skipped> PrepareGemms(const Params& params, const GemmAt& gemm,
                                      std::uint64_t seed) override {
    gemm_ = gemm(params, {.gpu = collective().Device()});
    Prepared prepared = gemm_.prepare(seed);
    if (Skipped* skipped = std::get_if<Skipped>(&prepared)) return std::move(*skipped);
    gemms_ = std::get<std::unique_ptr<Workload>>(std::move(prepared));
    beside_.work = gemms_->AsStreamed();
    if (beside_.work == nullptr) throw Error("a GEMM that has no stream; report this bug");
    return std::nullopt;
  }
  // Loads the kernels. CUDA does that at their first launch, which may wait for the device.
  void WarmUp() override {
    collective().Run(1);
    gemms_->Run(1);
  }
  double ComputeAlone(std::int64_t gemms) override {
    beside_.iterations = gemms;
    collective().RunAlone(beside_);
    return beside_.time.count();
  }
  Batch CommunicateAlone() override {
    beside_.iterations = 0;
    return collective().RunBeside(beside_);
  }
  Batch Together(std::int64_t gemms, double& compute_s) override {
    beside_.iterations = gemms;
    Batch together = collective().RunBeside(beside_);
    compute_s = beside_.time.count();
    return together;
  }
  Checked VerifyGemms() override { return gemms_->Verify(); }
  Facts DescribeGemms() const override { return gemms_->Describe(); }

  Case gemm_ = {};  // must outlive the workload, which may need what its case holds
  std::unique_ptr<Workload> gemms_ = {};
  Beside beside_ = {};
};

}  // namespace

Prepared PrepareOverlap(const TrainingStep& step, Ranks& ranks, const GemmAt& gemm,
                        const std::function<Prepared()>& collective, std::uint64_t seed,
                        const Clock& clock) {
  if (!gemm) throw Error("this program has no GEMM to put beside a collective; report this bug");
  const auto made = [&](std::unique_ptr<StepWorkload> workload) -> Prepared {
    if (std::optional<Skipped> no = workload->Prepare(gemm, collective)) {
      return *std::move(no);
    }
    return workload;
  };
  if (step.on_gpus) return made(std::make_unique<GpuStep>(step, ranks, seed));
  const std::vector<std::vector<int>> cores = CoresByRank(ranks);
  // The least number of cores is the same on every rank, so that either all ranks say no or none
  // does.
  std::size_t fewest = cores.front().size();
  for (const std::vector<int>& of_rank : cores) fewest = std::min(fewest, of_rank.size());
  if (step.comm_cores > 0 && static_cast<std::size_t>(step.comm_cores) >= fewest) {
    return Skipped{
        .reason = fmt::format("a rank has {} {}, of which {} for communication leaves none for its "
                              "GEMMs",
                              fewest, fewest == 1 ? "core" : "cores", step.comm_cores),
        .remedy = fewest > 1 ? fmt::format("--set comm_cores={}", fewest - 1)
                             : "--set comm_cores=0, for both on the same core, or fewer ranks"};
  }
  return made(std::make_unique<HostStep>(
      step, ranks, SplitOf(cores[static_cast<std::size_t>(ranks.Rank())], step.comm_cores), seed,
      clock));
}

}  // namespace assay
