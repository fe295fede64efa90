#include "runner/core/time_left.h"

#include <algorithm>
#include <cmath>

namespace assay {
namespace {

// The factor beyond the largest size that was seen up to which a line is believed.
constexpr std::int64_t kReach = 8;

std::pair<std::string, std::int64_t> SeriesAndBytes(const Case& which) {
  Case series = {.probe = which.probe, .params = which.params};
  const auto bytes = series.params.find("bytes");
  std::int64_t size = 0;
  if (bytes != series.params.end()) {
    if (const auto* integer = std::get_if<std::int64_t>(&bytes->second)) size = *integer;
    series.params.erase(bytes);
  }
  return {which.backend + " " + CaseName(series), size};
}

// A line: seconds = at_zero + per_byte * bytes.
struct Line {
  double at_zero = 0;
  double per_byte = 0;
};

// Fits the line whose relative errors have the least sum of squares; neither of its numbers is
// negative.
Line FitOf(const std::map<std::int64_t, std::pair<double, int>>& seen) {
  double uu = 0, uv = 0, vv = 0, u = 0, v = 0;
  for (const auto& [bytes, total] : seen) {
    const double seconds = std::max(total.first / total.second, 1e-9);
    const double one = 1 / seconds;
    const double per = static_cast<double>(bytes) / seconds;
    uu += one * one;
    uv += one * per;
    vv += per * per;
    u += one;
    v += per;
  }
  const double determinant = uu * vv - uv * uv;
  if (determinant <= 1e-12 * uu * vv) return {.at_zero = u / uu};
  const Line line = {.at_zero = (u * vv - v * uv) / determinant,
                     .per_byte = (v * uu - u * uv) / determinant};
  if (line.per_byte < 0) return {.at_zero = u / uu};
  if (line.at_zero < 0) return {.per_byte = v / vv};
  return line;
}

}  // namespace

TimeLeft::TimeLeft(const std::vector<Case>& cases, const EngineOptions& options)
    : options_(options), planned_s_(EstimateSeconds(cases, options)) {
  for (const Case& each : Matching(cases, options.filter)) {
    is_sustained_ = is_sustained_ || each.sustained;
    const auto [series, bytes] = SeriesAndBytes(each);
    alike_[series].to_come[bytes] += options.rounds;
  }
}

std::optional<TimeLeft::Guess> TimeLeft::Planned() const {
  if (options_.fixed) return std::nullopt;
  // A sustained case may take five times its least time.
  return Guess{.seconds = planned_s_, .is_least = is_sustained_};
}

std::optional<TimeLeft::Guess> TimeLeft::VisitBegins(const Case& which, double elapsed_s) {
  if (options_.fixed) return OfOperations(which, elapsed_s);
  done_s_ += visit_s_;
  visit_s_ = VisitSeconds(which, options_).count();
  if (which.shared && made_.insert(which.shared.get()).second) {
    visit_s_ += (*which.shared)().count();
  }
  const bool soaks = options_.duration > Seconds(0);
  if (soaks) return Guess{.seconds = std::max(0.0, planned_s_ - elapsed_s)};
  const double pace = visits_++ < 5 ? 1 : elapsed_s / done_s_;
  return Guess{.seconds = pace * std::max(visit_s_, planned_s_ - done_s_)};
}

std::optional<TimeLeft::Guess> TimeLeft::OfOperations(const Case& which, double elapsed_s) {
  if (visited_) {
    Sizes& sizes = alike_[visited_->first];
    auto& [total_s, visits] = sizes.seen[visited_->second];
    total_s += elapsed_s - began_s_;
    ++visits;
    --sizes.to_come[visited_->second];
  }
  visited_ = SeriesAndBytes(which);
  began_s_ = elapsed_s;

  Guess guess = {.seconds = 0};
  bool knows_any = false;
  for (const auto& [series, sizes] : alike_) {
    if (sizes.seen.empty()) {
      guess.is_least = true;
      continue;
    }
    knows_any = true;
    const Line line = FitOf(sizes.seen);
    const std::int64_t largest = sizes.seen.rbegin()->first;
    for (const auto& [bytes, visits] : sizes.to_come) {
      if (visits <= 0) continue;
      // A size that was visited takes what it took; the line is only for sizes that were not.
      const auto same = sizes.seen.find(bytes);
      const double seconds = same != sizes.seen.end()
                                 ? same->second.first / same->second.second
                                 : line.at_zero + line.per_byte * static_cast<double>(bytes);
      guess.seconds += visits * seconds;
      guess.is_least = guess.is_least || bytes / kReach > std::max<std::int64_t>(largest, 1);
    }
  }
  if (!knows_any) return std::nullopt;
  return guess;
}

}  // namespace assay
