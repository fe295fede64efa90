#include "results/figures/pacing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

namespace assay {
namespace {

// The least batches of a visit that can show a pattern.
constexpr std::size_t kFewestBatches = 10;
// The ratio of mean and median from which on the median describes neither the fast nor the slow
// batches.
constexpr double kApart = 1.1;
// The least fall that counts, and the number of standard errors that it takes. Simulated with spans
// that vary by up to 50 % with an autocorrelation of up to 0.8, a fall is seen where there is none
// in under 1 % of cases.
constexpr double kLeastFall = 0.20;
constexpr double kSure = 6;
constexpr std::size_t kSpansOfInterval = 15;
constexpr double kMostAlike = 0.9;

double IterationsOf(std::span<const Timed> samples) {
  double iterations = 0;
  for (const Timed& sample : samples) iterations += sample.iterations;
  return iterations;
}

double SecondsOf(std::span<const Timed> samples) {
  double seconds = 0;
  for (const Timed& sample : samples) seconds += sample.Seconds();
  return seconds;
}

std::vector<double> TimesOf(const std::vector<Timed>& samples) {
  std::vector<double> times;
  times.reserve(samples.size());
  for (const Timed& sample : samples) times.push_back(sample.time_s);
  return times;
}

// The i-th of `count` equal parts of the samples.
std::span<const Timed> Part(const std::vector<Timed>& samples, std::size_t i, std::size_t count) {
  const std::size_t begin = i * samples.size() / count;
  return std::span(samples).subspan(begin, (i + 1) * samples.size() / count - begin);
}

// The logarithms of the rates of that many equal parts.
std::vector<double> LogRates(const std::vector<Timed>& samples, std::size_t count) {
  std::vector<double> logs;
  for (std::size_t i = 0; i < count; ++i) {
    const std::span<const Timed> part = Part(samples, i, count);
    logs.push_back(std::log(IterationsOf(part) / SecondsOf(part)));
  }
  return logs;
}

double Alike(std::span<const double> values) {
  return std::clamp(LagOneAutocorrelation(values), 0.0, kMostAlike);
}

// The slowest sample's time over the fastest one's.
double RangeOf(const std::vector<Timed>& samples) {
  const auto [least, most] =
      std::ranges::minmax(samples, {}, [](const Timed& sample) { return sample.time_s; });
  return most.time_s / least.time_s;
}

// The samples of a visit, with the measured time before each.
std::vector<Timed> SamplesOf(const Visit& visit) {
  std::vector<Timed> samples;
  double at_s = 0;
  for (std::size_t i = 0; i < visit.time_s.size(); ++i) {
    const std::int64_t iterations =
        IsInSpans(visit) ? visit.iterations[i] : std::max<std::int64_t>(1, visit.batch);
    samples.push_back(
        {.iterations = static_cast<double>(iterations), .time_s = visit.time_s[i], .at_s = at_s});
    at_s += samples.back().Seconds();
  }
  return samples;
}

// Whether any choice of these samples can hold a fall that counts (FallOf): both of its levels lie
// between the fastest and the slowest sample. Most records end here, without a copy or a sort.
bool MayFall(const std::vector<std::vector<Timed>>& visits) {
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  std::size_t count = 0;
  for (const std::vector<Timed>& visit : visits) {
    for (const Timed& sample : visit) {
      least = std::min(least, sample.time_s);
      most = std::max(most, sample.time_s);
    }
    count += visit.size();
  }
  return count >= kSpansToTell && !(most / least < 1 / (1 - kLeastFall));
}

// All samples, one visit after the other as if there were no time between.
std::vector<Timed> InTimeOrder(const std::vector<std::vector<Timed>>& visits) {
  std::vector<Timed> all;
  double begin_s = 0;
  for (const std::vector<Timed>& visit : visits) {
    for (Timed sample : visit) {
      sample.at_s += begin_s;
      all.push_back(sample);
    }
    begin_s += SecondsOf(visit);
  }
  return all;
}

// All samples in the order of how far into their visit they began, for as long as all visits went
// on, since later samples would be those of the slower visits alone.
std::vector<Timed> ByPlaceInVisit(const std::vector<std::vector<Timed>>& visits) {
  double shortest_s = std::numeric_limits<double>::infinity();
  for (const std::vector<Timed>& visit : visits) {
    if (!visit.empty()) shortest_s = std::min(shortest_s, SecondsOf(visit));
  }
  std::vector<Timed> all;
  for (const std::vector<Timed>& visit : visits) {
    for (const Timed& sample : visit) {
      if (sample.at_s < shortest_s) all.push_back(sample);
    }
  }
  std::ranges::stable_sort(all, {}, &Timed::at_s);
  return all;
}

// The samples that began after `from_s`, counted within each visit or over all visits together.
std::vector<std::vector<Timed>> From(double from_s, bool each_visit,
                                     const std::vector<std::vector<Timed>>& visits) {
  std::vector<std::vector<Timed>> left;
  double begin_s = 0;
  for (const std::vector<Timed>& visit : visits) {
    std::vector<Timed>& kept = left.emplace_back();
    for (const Timed& sample : visit) {
      if (begin_s + sample.at_s >= from_s) kept.push_back(sample);
    }
    if (!each_visit) begin_s += SecondsOf(visit);
  }
  return left;
}

// Whether each of these visits has samples left, or without `each_visit` whether any has.
bool AreLeft(const std::vector<std::vector<Timed>>& left, bool each_visit,
             const std::vector<std::vector<Timed>>& visits) {
  bool any = false;
  for (std::size_t i = 0; i < visits.size(); ++i) {
    if (each_visit && left[i].empty() && !visits[i].empty()) return false;
    any = any || !left[i].empty();
  }
  return any;
}

// Takes the burst before sample `fall` out of the samples that count. Samples that began less than
// one sample after the fall may belong to both levels, and count for neither if enough are left.
// Returns nothing, and changes nothing, where a visit would have no level after the burst.
std::optional<Burst> TakeBurst(const std::vector<Timed>& ordered, std::size_t fall, bool each_visit,
                               std::vector<std::vector<Timed>>& visits) {
  double longest_s = 0;
  for (const Timed& sample : ordered) longest_s = std::max(longest_s, sample.Seconds());
  const double fell_s = ordered[fall].at_s;
  std::vector<std::vector<Timed>> left = From(fell_s + longest_s, each_visit, visits);
  if (!AreLeft(left, each_visit, visits)) left = From(fell_s, each_visit, visits);
  if (!AreLeft(left, each_visit, visits)) return std::nullopt;
  visits = std::move(left);
  return Burst{
      .each_visit = each_visit,
      .lasted_s = fell_s,
      .before_s = TimeOf({ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(fall)},
                         Statistic::kOverTime),
      .after_s = TimeOf(InTimeOrder(visits), Statistic::kOverTime)};
}

}  // namespace

std::string_view ToText(Statistic statistic) {
  switch (statistic) {
    case Statistic::kMedian:
      return "median";
    case Statistic::kOverTime:
      break;
  }
  return "over_time";
}

bool IsInSpans(const Visit& visit) {
  return !visit.iterations.empty() && visit.iterations.size() == visit.time_s.size();
}

double TimeOf(const std::vector<Timed>& samples, Statistic statistic) {
  switch (statistic) {
    case Statistic::kMedian:
      return Median(TimesOf(samples));
    case Statistic::kOverTime:
      break;
  }
  return SecondsOf(samples) / IterationsOf(samples);
}

std::optional<std::size_t> FallOf(const std::vector<Timed>& samples) {
  constexpr std::size_t kSpans = kSpansToTell;
  // Both levels lie between the fastest and the slowest sample, so a small range rules a fall out.
  if (samples.size() < kSpans || RangeOf(samples) < 1 / (1 - kLeastFall)) return std::nullopt;
  const std::vector<double> logs = LogRates(samples, kSpans);
  std::array<double, kSpans + 1> sums = {};
  for (std::size_t i = 0; i < kSpans; ++i) sums[i + 1] = sums[i] + logs[i];
  // The least-squares split into two levels is the one whose levels are furthest apart, weighted.
  std::size_t split = 0;
  double most = -1;
  for (std::size_t k = 2; k + 2 <= kSpans; ++k) {
    const auto n = static_cast<double>(k);
    const double fall = sums[k] / n - (sums[kSpans] - sums[k]) / (kSpans - n);
    const double gain = n * (kSpans - n) * fall * fall;
    if (gain > most) {
      most = gain;
      split = k;
    }
  }
  const auto n = static_cast<double>(split);
  const double before = sums[split] / n;
  const double after = (sums[kSpans] - sums[split]) / (kSpans - n);
  if (!(1 - std::exp(after - before) >= kLeastFall)) return std::nullopt;
  std::vector<double> residuals;
  double squares = 0;
  for (std::size_t i = 0; i < kSpans; ++i) {
    residuals.push_back(logs[i] - (i < split ? before : after));
    squares += residuals.back() * residuals.back();
  }
  const double alike = Alike(residuals);
  const double variance =
      squares / (kSpans - 2) * (1 / n + 1 / (kSpans - n)) * (1 + alike) / (1 - alike);
  if (!(before - after > kSure * std::sqrt(variance))) return std::nullopt;
  return split * samples.size() / kSpans;
}

int StallsIn(const std::vector<Timed>& samples) {
  if (samples.size() < kFewestBatches || RangeOf(samples) < kApart) return 0;
  const double mean = TimeOf(samples, Statistic::kOverTime);
  const double to_median = mean / TimeOf(samples, Statistic::kMedian);
  if (to_median < kApart && to_median > 1 / kApart) return 0;
  int stalls = 0;
  for (std::size_t i = 1; i < samples.size(); ++i) {
    if (samples[i - 1].time_s <= mean && samples[i].time_s > mean) ++stalls;
  }
  return stalls;
}

Pacing PacingOf(const Record& record) {
  Pacing pacing;
  bool is_in_spans = false;
  std::size_t stalling = 0;
  std::size_t telling = 0;  // the visits with enough batches to tell
  for (const Visit& visit : record.rounds) {
    const std::vector<Timed>& samples = pacing.counted.emplace_back(SamplesOf(visit));
    is_in_spans = is_in_spans || IsInSpans(visit);
    if (IsInSpans(visit)) pacing.spans += samples.size();
    pacing.measured_s += SecondsOf(samples);
    if (samples.size() >= kFewestBatches) ++telling;
    if (StallsIn(samples) >= kFewestStalls) ++stalling;
  }
  if (is_in_spans) pacing.statistic = Statistic::kOverTime;
  const auto fact = record.facts.find(kPacedFact);
  if (const auto* by =
          fact == record.facts.end() ? nullptr : std::get_if<std::string>(&fact->second)) {
    pacing.why = *by;
  } else if (!is_in_spans && stalling > 0 && 2 * stalling >= telling) {
    pacing.why = "stalls";
  }

  // Neighbours that come and go shift the rate of a device that runs free, too; there only a fall
  // that comes back in each visit is a burst.
  const bool may_be_once = is_in_spans || record.rounds.size() == 1;
  const bool may_fall = MayFall(pacing.counted);
  std::vector<Timed> in_order;
  if (may_fall && may_be_once) in_order = InTimeOrder(pacing.counted);
  if (const auto fall = FallOf(in_order)) {
    pacing.burst = TakeBurst(in_order, *fall, /*each_visit=*/false, pacing.counted);
  } else if (may_fall && record.rounds.size() > 1) {
    const std::vector<Timed> by_place = ByPlaceInVisit(pacing.counted);
    if (const auto again = FallOf(by_place)) {
      pacing.burst = TakeBurst(by_place, *again, /*each_visit=*/true, pacing.counted);
    }
  }
  if (pacing.burst && pacing.why.empty()) pacing.why = "burst";
  if (!pacing.why.empty()) pacing.statistic = Statistic::kOverTime;
  return pacing;
}

std::optional<Interval> SpansInterval(const std::vector<Timed>& spans, double confidence) {
  if (spans.size() < kSpansOfInterval) return std::nullopt;
  const std::vector<double> logs = LogRates(spans, kSpansOfInterval);
  const double alike = Alike(logs);
  const double error = StandardDeviation(logs) / std::sqrt(double{kSpansOfInterval}) *
                       std::sqrt((1 + alike) / (1 - alike));
  const double reach = StudentT(confidence, kSpansOfInterval - 1) * error;
  return Interval{.low = std::exp(-reach),
                  .high = std::exp(reach),
                  .units = kSpansOfInterval,
                  .level = "15 spans, this run"};
}

double SpansAutocorrelation(const std::vector<Timed>& spans) {
  return spans.size() < kSpansOfInterval ? 0 : Alike(LogRates(spans, kSpansOfInterval));
}

}  // namespace assay
