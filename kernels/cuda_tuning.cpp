#include "kernels/cuda_tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "results/base/error.h"
#include "results/figures/stats.h"

namespace assay::cuda {
namespace {

constexpr int kRounds = 7;       // of the race, and of the last match
constexpr double kSlack = 1.2;   // slower than the fastest by more than this drops out
constexpr Seconds kBatch(1e-3);  // the least time of a batch of the fastest algorithm

// One algorithm while it is in the contest.
struct Candidate {
  int number = 0;
  std::vector<double> times = {};
  std::string failure = {};

  bool Failed() const { return !failure.empty(); }
  double Time() const { return Median(times); }
};

bool IsFaster(const Candidate* a, const Candidate* b) { return a->Time() < b->Time(); }

// The contest among a library's algorithms: all are checked, those that are right are raced, and
// the winner has to win once more.
class Contest {
 public:
  explicit Contest(const Candidates& from) : from_(from) {
    for (int i = 0; i < from.count; ++i) all_.push_back({.number = i});
  }

  // Runs every candidate once and checks it. A candidate that fails or is wrong gets the reason and
  // never a time; the others go on to the race.
  void Check() {
    double least = kBatch.count();
    for (Candidate& candidate : all_) {
      Attempt(candidate, [&] {
        const Checked checked = from_.once();
        if (checked.wrong > 0) candidate.failure = "wrong: " + checked.what.value_or("");
      });
      if (candidate.Failed()) continue;
      Attempt(candidate, [&] { least = std::min(least, from_.time(4).count() / 4); });
      if (!candidate.Failed()) running_.push_back(&candidate);
    }
    iterations_ = static_cast<std::int64_t>(std::ceil(kBatch.count() / least));
  }

  // Times the candidates that are left, in rounds in which each has its turn, so that the GPU's
  // warming up falls on all alike; slow ones drop out. Returns the fastest, or null where all
  // failed.
  Candidate* Race() {
    for (int round = 0; round < kRounds; ++round) {
      for (Candidate* candidate : running_) Measure(*candidate);
      std::erase_if(running_, [](const Candidate* candidate) { return candidate->Failed(); });
      if (running_.empty()) return nullptr;
      std::ranges::stable_sort(running_, IsFaster);
      if (round == 1) {
        const double limit = kSlack * running_.front()->Time();
        std::erase_if(running_, [&](const Candidate* one) { return one->Time() > limit; });
      } else if (round > 1 && running_.size() > 2) {
        running_.resize(std::max<std::size_t>(2, (running_.size() + 1) / 2));
      }
      std::ranges::stable_sort(running_, {}, &Candidate::number);
    }
    return *std::ranges::min_element(running_, IsFaster);
  }

  // Measures the winner and the library's first anew, in turn, because choosing the least of many
  // times favours luck. Returns which of the two wins then.
  Candidate* Decide(Candidate* winner) {
    for (Candidate* again : {winner, &First()}) again->times.clear();
    for (int round = 0; round < kRounds; ++round) {
      Measure(*winner);
      if (winner != &First() && !First().Failed()) Measure(First());
    }
    if (winner->Failed()) throw Error(winner->failure);
    return !First().Failed() && First().Time() <= winner->Time() ? &First() : winner;
  }

  Candidate& First() { return all_.front(); }

  // The candidates that failed, and how; "" where none did.
  std::string Failures() const {
    std::string text;
    for (const Candidate& candidate : all_) {
      if (!candidate.Failed()) continue;
      text +=
          fmt::format("{}{}: {}", text.empty() ? "" : "; ", candidate.number, candidate.failure);
    }
    return text;
  }

 private:
  // Does something with a candidate; an Error becomes its failure and leaves the others in the
  // contest.
  void Attempt(Candidate& candidate, const auto& action) {
    try {
      from_.use(candidate.number);
      action();
    } catch (const Error& error) {
      candidate.failure = error.what();
    }
  }
  void Measure(Candidate& candidate) {
    Attempt(candidate, [&] {
      candidate.times.push_back(from_.time(iterations_).count() / static_cast<double>(iterations_));
    });
  }

  const Candidates& from_;
  std::vector<Candidate> all_ = {};
  std::vector<Candidate*> running_ = {};
  std::int64_t iterations_ = 1;  // in a batch
};

}  // namespace

Tuned Fastest(const Candidates& from) {
  Contest contest(from);
  contest.Check();
  Candidate* winner = contest.Race();
  const std::string failures = contest.Failures();
  if (winner == nullptr) {
    throw Error(fmt::format("none of {}'s {} algorithms gave a right answer ({})", from.library,
                            from.count, failures));
  }
  winner = contest.Decide(winner);

  Tuned tuned = {.candidate = winner->number,
                 .facts = {{"candidates", std::int64_t{from.count}},
                           {"tuned_rank", std::int64_t{winner->number}},
                           {"tuned_s", winner->Time()}}};
  if (!contest.First().Failed()) tuned.facts["default_s"] = contest.First().Time();
  if (!failures.empty()) tuned.facts["failed"] = failures;
  return tuned;
}

}  // namespace assay::cuda
