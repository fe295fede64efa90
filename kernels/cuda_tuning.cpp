#include "kernels/cuda_tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "results/error.h"
#include "results/stats.h"

namespace assay::cuda {
namespace {

struct Candidate {
  int number = 0;
  std::vector<double> times = {};
  std::string failure = {};

  double Time() const { return Median(times); }
};

}  // namespace

// Every candidate is run once and checked; one that fails or is wrong has a reason and never a
// time. Then the rest are timed in rounds, one after the other and again, so that the GPU's warming
// up falls on all alike, and the slow ones leave. In the end the winner and the library's first are
// measured anew, in turn: choosing the least of many times favours luck.
Tuned Fastest(const Candidates& from) {
  constexpr int kRounds = 7;
  constexpr double kSlack = 1.2;
  constexpr Seconds kBatch(1e-3);

  std::vector<Candidate> candidates;
  for (int i = 0; i < from.count; ++i) candidates.push_back({.number = i});
  const auto attempt = [&](Candidate& candidate, const auto& action) {
    try {
      from.use(candidate.number);
      action();
    } catch (const Error& error) {
      candidate.failure = error.what();
    }
  };
  double least = kBatch.count();
  for (Candidate& candidate : candidates) {
    attempt(candidate, [&] {
      const Checked checked = from.once();
      if (checked.wrong > 0) candidate.failure = "wrong: " + checked.what.value_or("");
    });
    if (!candidate.failure.empty()) continue;
    attempt(candidate, [&] { least = std::min(least, from.time(4).count() / 4); });
  }

  std::vector<Candidate*> running;
  for (Candidate& candidate : candidates) {
    if (candidate.failure.empty()) running.push_back(&candidate);
  }
  const auto iterations = static_cast<std::int64_t>(std::ceil(kBatch.count() / least));
  const auto measure = [&](Candidate& candidate) {
    attempt(candidate, [&] {
      candidate.times.push_back(from.time(iterations).count() / static_cast<double>(iterations));
    });
  };
  const auto faster = [](const Candidate* a, const Candidate* b) { return a->Time() < b->Time(); };
  for (int round = 0; round < kRounds; ++round) {
    for (Candidate* candidate : running) measure(*candidate);
    std::erase_if(running, [](const Candidate* candidate) { return !candidate->failure.empty(); });
    if (running.empty()) break;
    std::ranges::stable_sort(running, faster);
    if (round == 1) {
      const double limit = kSlack * running.front()->Time();
      std::erase_if(running, [&](const Candidate* candidate) { return candidate->Time() > limit; });
    } else if (round > 1 && running.size() > 2) {
      running.resize(std::max<std::size_t>(2, (running.size() + 1) / 2));
    }
    std::ranges::stable_sort(running, {}, &Candidate::number);
  }

  std::string failures;
  for (const Candidate& candidate : candidates) {
    if (candidate.failure.empty()) continue;
    failures +=
        fmt::format("{}{}: {}", failures.empty() ? "" : "; ", candidate.number, candidate.failure);
  }
  if (running.empty()) {
    throw Error(fmt::format("none of {}'s {} algorithms gave a right answer ({})", from.library,
                            candidates.size(), failures));
  }
  Candidate* winner = *std::ranges::min_element(running, faster);
  Candidate& first = candidates.front();
  for (Candidate* again : {winner, &first}) again->times.clear();
  for (int round = 0; round < kRounds; ++round) {
    measure(*winner);
    if (winner != &first && first.failure.empty()) measure(first);
  }
  if (!winner->failure.empty()) throw Error(winner->failure);
  if (first.failure.empty() && first.Time() <= winner->Time()) winner = &first;

  Tuned tuned = {.candidate = winner->number,
                 .facts = {{"candidates", std::int64_t{from.count}},
                           {"tuned_rank", std::int64_t{winner->number}},
                           {"tuned_s", winner->Time()}}};
  if (first.failure.empty()) tuned.facts["default_s"] = first.Time();
  if (!failures.empty()) tuned.facts["failed"] = failures;
  return tuned;
}

}  // namespace assay::cuda
