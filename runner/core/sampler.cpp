#include "runner/core/sampler.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/figures/pacing.h"
#include "results/figures/stats.h"

namespace assay {
namespace {

// The least time of a batch. The coarsest clock in use, a pair of CUDA events, resolves about 0.5
// us, which is 0.05 % of it.
constexpr Seconds kShortestBatch(1e-3);
// The number of samples that min_time is divided into: plenty for a median, and little to keep in a
// file.
constexpr double kSamplesWanted = 50;
constexpr double kAgreement = 0.02;
constexpr double kWarmUpShare = 0.25;
// The factor by which a batch grows at most at a time, since an iteration that is shorter than its
// clock resolves may seem to take no time.
constexpr std::int64_t kGrowth = 10;
constexpr std::int64_t kMostIterations = 1'000'000'000;
// The least time for which a paced workload is sampled: that many of its periods, and that much
// time.
constexpr int kPeriods = 10;
constexpr Seconds kPacedTime(1);
// The least length of a span: ten of the periods in which kernels hand out what is capped.
constexpr Seconds kSpan(1);
constexpr Seconds kLeastRamp(0.25);
constexpr Seconds kMostRamp(1);
// The share of a step by which a budget may fall short and still count as whole, so that a visit
// that took a little longer than its share doesn't cost the next one half a span.
constexpr double kNearly = 0.1;
// The factor between the times at which a sustained visit is tested for steady state. Testing all
// the time would soon find a steady state by chance.
constexpr double kLooksApart = 1.1;
// A gap between batches is a stop where it exceeds the least gap by this share of gap and batch
// together, and by this time.
constexpr double kStop = 0.5;
constexpr Seconds kLeastStop(1e-3);

// A batch with its cost by the host's clock, which is more than its time where parts are not timed
// (emptying a cache, writing inputs anew). The budget pays the cost.
struct Paid {
  Batch batch = {};
  std::int64_t iterations = 1;
  Seconds cost = {};
  std::optional<Seconds> gap = {};  // the part of the cost that was not timed, where stops count

  double IterationSeconds() const { return batch.time.count() / static_cast<double>(iterations); }
  double IterationCost() const { return cost.count() / static_cast<double>(iterations); }
};

// The size of the next batch: enough iterations for the clock, but few enough that min_samples
// batches fit into the budget.
std::int64_t NextIterations(const Paid& last, const SamplerOptions& options) {
  const Seconds target = std::max(kShortestBatch, options.min_time / kSamplesWanted);
  const double for_clock = std::ceil(target.count() / last.IterationSeconds());
  const double affordable =
      options.budget.count() / std::max(options.min_samples, 1) / last.IterationCost();
  const double most = static_cast<double>(std::min(kMostIterations, last.iterations * kGrowth));
  return std::max(options.least_batch,
                  static_cast<std::int64_t>(std::min({for_clock, affordable, most})));
}

Histogram Minus(const Histogram& after, const Histogram& before) {
  std::map<std::int64_t, std::int64_t> counts(after.counts.begin(), after.counts.end());
  for (const auto& [bucket, count] : before.counts) counts[bucket] -= count;
  std::erase_if(counts, [](const auto& entry) { return entry.second <= 0; });
  return {.scheme = after.scheme, .counts = {counts.begin(), counts.end()}};
}

// The samples of the whole case, or of one of its parts.
class Series {
 public:
  // Adds a batch. `gap` is the part of its cost that was not timed; nothing where stops don't
  // count.
  void Add(const Batch& batch, std::int64_t iterations, std::optional<Seconds> gap = {}) {
    if (batch.time == Seconds(0)) {
      throw Error("the workload's clock does not advance; report this as a bug of its backend");
    }
    const auto per_iteration = [&](Seconds time) {
      return time.count() / static_cast<double>(iterations);
    };
    visit_.batch = iterations;
    if (batch.iterations > 0) {
      visit_.batch = 1;
      visit_.iterations.push_back(iterations);
    }
    visit_.time_s.push_back(per_iteration(batch.time));
    if (gap) {
      gaps_s_.push_back(per_iteration(*gap));
      SeeGap(gaps_s_.back());
    }
    if (batch.host > Seconds(0)) visit_.host_time_s.push_back(per_iteration(batch.host));
    if (batch.stable) visit_.stable_time_s.push_back(per_iteration(*batch.stable));
    for (const auto& [name, time] : batch.phases) {
      visit_.phase_time_s[name].push_back(per_iteration(time));
    }
    unit_times_.resize(batch.per_unit.size());
    for (std::size_t unit = 0; unit < unit_times_.size(); ++unit) {
      unit_times_[unit].push_back(per_iteration(batch.per_unit[unit]));
    }
  }

  // Takes a gap per iteration into account for the least one, such as that of a batch of the
  // warm-up.
  void SeeGap(double gap_s) { least_gap_s_ = std::min(least_gap_s_, gap_s); }

  int Size() const { return static_cast<int>(visit_.time_s.size()); }

  // Whether stops count, because the device is known to be paced, or because they come again and
  // again.
  bool IsStopped(bool is_paced) const {
    return !gaps_s_.empty() && (is_paced || StallsIn(Samples()) >= kFewestStalls);
  }

  // The least time that sampling must go on: long enough to tell a single hiccup from stops that
  // come again and again, and for enough periods of these. 0 where neither is seen.
  Seconds LeastTime() const {
    const int stalls = StallsIn(Samples());
    if (stalls < kFewestStalls) return stalls > 0 ? kPacedTime : Seconds(0);
    return std::max(kPacedTime, kPeriods * Time(true) / stalls);
  }

  // The time of these samples together.
  Seconds Time(bool with_stops) const {
    const std::vector<double> times_s = with_stops ? TimesWithStops() : visit_.time_s;
    return Seconds(std::accumulate(times_s.begin(), times_s.end(), 0.0) *
                   static_cast<double>(visit_.batch));
  }

  Visit TakeVisit(bool with_stops) {
    if (with_stops) visit_.time_s = TimesWithStops();
    for (const std::vector<double>& times : unit_times_) {
      visit_.unit_p50_s.push_back(Median(times));
      visit_.unit_max_s.push_back(*std::max_element(times.begin(), times.end()));
    }
    return std::move(visit_);
  }

 private:
  // The seconds per iteration of each batch, its share of the stop in its gap included.
  std::vector<double> TimesWithStops() const {
    std::vector<double> times_s = visit_.time_s;
    if (gaps_s_.empty()) return times_s;
    const double least_stop_s = kLeastStop.count() / static_cast<double>(visit_.batch);
    for (std::size_t i = 0; i < times_s.size(); ++i) {
      const double both_s = times_s[i] + least_gap_s_;
      const double stop_s = gaps_s_[i] - least_gap_s_;
      if (stop_s > std::max(kStop * both_s, least_stop_s))
        times_s[i] += stop_s * times_s[i] / both_s;
    }
    return times_s;
  }

  std::vector<Timed> Samples() const {
    std::vector<Timed> samples;
    for (const double time_s : TimesWithStops()) {
      samples.push_back({.iterations = static_cast<double>(visit_.batch), .time_s = time_s});
    }
    return samples;
  }

  Visit visit_ = {};
  std::vector<double> gaps_s_ = {};  // the gap per iteration of each sample; or empty
  double least_gap_s_ = std::numeric_limits<double>::infinity();
  std::vector<std::vector<double>> unit_times_ = {};
};

// The state of one visit: the samples so far, and the budget that they have used.
class Sampler {
 public:
  Sampler(Workload& workload, const SamplerOptions& options)
      : workload_(workload), options_(options) {
    if (!options_.sustain) return;
    options_.min_time = options_.sustain->least / 2;
    options_.budget = options_.sustain->longest;
  }

  Sampled Run(const Batch& first) {
    const Seconds begin = Now();
    if (options_.in_spans) return RunSpans();
    const std::int64_t iterations = options_.fixed ? WarmUpFixed() : WarmUp(first);
    const std::map<std::string, Histogram> before = workload_.Histograms();
    if (options_.sustain) {
      TakeSustained(iterations, begin);
    } else {
      if (!sampled_.stopped) TakeSamples(iterations);
      TakeHistograms(before);
    }
    const bool with_stops = IsStopped();
    sampled_.visit = all_.TakeVisit(with_stops);
    for (Series& part : parts_) sampled_.parts.push_back(part.TakeVisit(with_stops));
    sampled_.visit.sustained = std::move(sustained_);
    return std::move(sampled_);
  }

 private:
  // Samples a workload that is counted over spans of time, which runs without a pause.
  Sampled RunSpans() {
    const Seconds begin = Now();
    Spans spans = SpansWithin(options_.budget);
    spans.stop = [this] { return options_.stop && options_.stop().has_value(); };
    const std::map<std::string, Histogram> before = workload_.Histograms();
    if (!Stopped()) {
      for (const Batch& span : workload_.RunSpans(spans)) all_.Add(span, span.iterations);
      Stopped();
    }
    sampled_.spent = Now() - begin;
    if (!sampled_.stopped && all_.Size() == 0) {
      throw Error("the workload counted nothing in its time; report this as a bug of its backend");
    }
    TakeHistograms(before);
    sampled_.visit = all_.TakeVisit(/*with_stops=*/false);
    return std::move(sampled_);
  }

  // Takes the histograms of the timed batches, which are the workload's less those of `before`.
  void TakeHistograms(const std::map<std::string, Histogram>& before) {
    sampled_.histograms = workload_.Histograms();
    for (const auto& [name, histogram] : before) {
      sampled_.histograms[name] = Minus(sampled_.histograms[name], histogram);
    }
  }

  bool Stopped() {
    if (options_.stop) sampled_.stopped = options_.stop();
    return sampled_.stopped.has_value();
  }

  Seconds Now() const {
    if (options_.now) return options_.now();
    return std::chrono::steady_clock::now().time_since_epoch();
  }

  // Runs one batch and takes its cost off the budget.
  Paid Pay(std::int64_t iterations) {
    const Seconds begin = Now();
    Paid paid = {.batch = workload_.Run(iterations), .iterations = iterations};
    paid.cost = std::max(paid.batch.time, Now() - begin);
    if (options_.counts_stops) paid.gap = paid.cost - paid.batch.time;
    sampled_.spent += paid.cost;
    if (!(paid.batch.time >= Seconds(0)) || !std::isfinite(paid.batch.time.count())) {
      throw Error("the workload's clock went backwards; report this as a bug of its backend");
    }
    return paid;
  }

  // Warms up and returns the number of iterations of a batch.
  std::int64_t WarmUp(const Batch& first) {
    Paid last = {.batch = first, .iterations = 1, .cost = first.time};
    sampled_.spent = last.cost;
    if (last.cost > options_.budget) return options_.least_batch;
    while (!Stopped()) {
      const Paid next = Pay(NextIterations(last, options_));
      if (next.gap) all_.SeeGap(next.gap->count() / static_cast<double>(next.iterations));
      const double change = std::abs(next.IterationSeconds() / last.IterationSeconds() - 1);
      last = next;
      const bool long_enough = NextIterations(last, options_) <= 2 * last.iterations;
      if (long_enough && (change <= kAgreement || last.iterations == kMostIterations ||
                          options_.sustain || sampled_.spent >= kWarmUpShare * options_.budget)) {
        break;
      }
    }
    return NextIterations(last, options_);
  }

  std::int64_t WarmUpFixed() {
    if (!Stopped() && options_.fixed->warm_up > 0) Pay(options_.fixed->warm_up);
    return options_.fixed->iterations;
  }

  // Takes samples until there are enough of them, or the budget runs out.
  void TakeSamples(std::int64_t iterations) {
    while (!Stopped()) {
      const Paid paid = Pay(iterations);
      AddSample(paid, iterations);
      if (options_.fixed) break;
      const int samples = all_.Size();
      if (samples >= options_.min_samples) {
        const Seconds timed = all_.Time(IsStopped());
        if (timed >= options_.min_time && timed >= LeastTime()) break;
      }
      const int least = paid.IterationCost() > options_.budget.count() ? 1 : 3;
      if (samples >= least && sampled_.spent + paid.cost > options_.budget) break;
    }
  }

  bool IsStopped() const { return all_.IsStopped(options_.period.has_value()); }

  // The least time that a paced workload must be sampled; 0 for one that isn't paced.
  Seconds LeastTime() const {
    if (!options_.period) return all_.LeastTime();
    return std::max(kPacedTime, kPeriods * *options_.period);
  }

  // Samples a sustained workload. When steady state was reached, and so which samples count, is
  // known only at the end.
  void TakeSustained(std::int64_t iterations, Seconds begin) {
    const Sustain& sustain = *options_.sustain;
    std::vector<double> begins_s;
    std::vector<Paid> batches;
    Seconds look = sustain.least;
    while (!Stopped()) {
      begins_s.push_back((Now() - begin).count());
      batches.push_back(Pay(iterations));
      const Seconds elapsed = Now() - begin;
      if (elapsed < look && elapsed < sustain.longest) continue;
      look = elapsed * kLooksApart;
      // The last batch must do where it takes longer than half of the time by itself.
      const auto half = std::lower_bound(begins_s.begin(), begins_s.end() - 1, elapsed.count() / 2);
      const auto heating = static_cast<std::size_t>(half - begins_s.begin());
      Trace times = {.of = "time_s", .at_s = {half, begins_s.end()}};
      for (std::size_t i = heating; i < batches.size(); ++i) {
        times.values.push_back(batches[i].batch.time.count());
      }
      std::vector<std::optional<Fitted>> trends = {FitTrend(times)};
      if (sustain.watch)
        std::ranges::move(sustain.watch(Seconds(*half)), std::back_inserter(trends));
      const std::optional<std::string> ended =
          WhyEnded(trends, elapsed.count(), sustain.longest.count());
      if (!ended) continue;
      for (std::size_t i = heating; i < batches.size(); ++i) AddSample(batches[i], iterations);
      sustained_ = {.least_s = sustain.least.count(),
                    .heated_s = *half,
                    .counted_s = elapsed.count() - *half,
                    .ended = *ended};
      for (const std::optional<Fitted>& fitted : trends) {
        if (fitted) sustained_->drift.push_back(fitted->trend);
      }
      return;
    }
  }

  // Adds a batch as a sample. A stop is shared out over the parts as the time is.
  void AddSample(const Paid& paid, std::int64_t iterations) {
    const Batch& batch = paid.batch;
    all_.Add(batch, iterations, paid.gap);
    parts_.resize(batch.parts.size());
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      std::optional<Seconds> gap = paid.gap;
      if (gap) *gap *= batch.parts[i].time / batch.time;
      parts_[i].Add(batch.parts[i], iterations, gap);
    }
  }

  Workload& workload_;
  SamplerOptions options_;
  Sampled sampled_ = {};
  std::optional<Sustained> sustained_ = {};
  Series all_ = {};
  std::vector<Series> parts_ = {};
};

}  // namespace

Spans SpansWithin(Seconds budget) {
  const Seconds ramp = std::clamp(budget / 4, kLeastRamp, kMostRamp);
  const int count = std::max(1, static_cast<int>(std::floor((budget - ramp) / kSpan + kNearly)));
  // A single span takes the rest of the budget as well, in steps that periods fit into.
  const Seconds step = kSpan / 2;
  const Seconds length =
      count > 1 ? kSpan : std::max(kSpan, std::floor((budget - ramp) / step + kNearly) * step);
  return {.ramp = ramp, .length = length, .count = count};
}

Sampled Sample(Workload& workload, const Batch& first, const SamplerOptions& options) {
  return Sampler(workload, options).Run(first);
}

}  // namespace assay
