#include "collectives/straggler.h"

#include <algorithm>
#include <cmath>

#include "results/figures/stats.h"

namespace assay {
namespace {

std::vector<double> MediansOf(const std::vector<std::vector<double>>& by_rank) {
  std::vector<double> medians;
  for (const auto& values : by_rank) medians.push_back(Median(values));
  return medians;
}

}  // namespace

std::optional<std::size_t> OddOneOut(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const auto largest = std::ranges::max_element(values);
  const auto index = static_cast<std::size_t>(largest - values.begin());
  if (values.size() < 4) {
    std::vector<double> rest(values.begin(), values.end());
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(index));
    const double median = Median(rest);
    if (*largest > 0 && *largest >= 2 * median) return index;
    return std::nullopt;
  }
  if (ModifiedZScores(values)[index] > 3.5) return index;
  return std::nullopt;
}

void Stragglers::Add(std::size_t rank, double own_s, double wait_s) {
  batch_own_s_.resize(std::max(batch_own_s_.size(), rank + 1));
  batch_wait_s_.resize(batch_own_s_.size());
  batch_own_s_[rank] = own_s;
  batch_wait_s_[rank] = wait_s;
}

void Stragglers::EndBatch(std::int64_t operations, double time_s, double whole_s) {
  if (batch_own_s_.empty()) return;  // only rank 0 adds anything
  const auto count = static_cast<double>(operations);
  const double longest = *std::ranges::max_element(batch_wait_s_);
  own_s_.resize(batch_own_s_.size());
  late_s_.resize(batch_own_s_.size());
  for (std::size_t rank = 0; rank < own_s_.size(); ++rank) {
    own_s_[rank].push_back(batch_own_s_[rank] / count);
    late_s_[rank].push_back((longest - batch_wait_s_[rank]) / count);
  }
  time_s_.push_back(time_s / count);
  whole_s_.push_back(whole_s / count);
}

void Stragglers::Describe(Facts& facts) const {
  if (time_s_.empty()) return;
  const std::vector<double> own = MediansOf(own_s_);
  const std::vector<double> late = MediansOf(late_s_);
  const auto slowest = static_cast<std::size_t>(std::ranges::max_element(own) - own.begin());
  const auto last = static_cast<std::size_t>(std::ranges::max_element(late) - late.begin());
  const double usual = Median(own);
  facts["slowest_rank"] = static_cast<std::int64_t>(slowest);
  facts["slowest_excess"] = usual > 0 ? own[slowest] / usual - 1 : 0.0;
  facts["late_rank"] = static_cast<std::int64_t>(last);
  facts["late_s"] = late[last];
  if (OddOneOut(own) == slowest && own[slowest] - usual >= 0.05 * Median(time_s_)) {
    facts["straggler"] = static_cast<std::int64_t>(slowest);
  } else if (OddOneOut(late) == last && late[last] >= 0.1 * Median(whole_s_)) {
    facts["straggler"] = static_cast<std::int64_t>(last);
  }
}

}  // namespace assay
