#include "runner/program/bisect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/figures.h"
#include "results/figures/groups.h"
#include "results/figures/stats.h"

namespace assay {
namespace {

// Fewer parts make a single pair, against which no other can be held.
constexpr std::size_t kFewestParts = 4;

// For each round, the median over these records of the logarithm of their time.
std::vector<double> MedianLogs(const std::vector<Record>& records) {
  std::vector<double> medians;
  for (std::size_t round = 0;; ++round) {
    std::vector<double> logs;
    for (const Record& record : records) {
      const std::vector<double> all = LogRoundTimes(record);
      if (round < all.size()) logs.push_back(all[round]);
    }
    if (logs.empty()) return medians;
    medians.push_back(Median(logs));
  }
}

}  // namespace

Bisection::Bisection(const std::vector<int>& node_of_rank,
                     const std::vector<std::string>& host_of_rank)
    : ranks_(static_cast<int>(node_of_rank.size())), hosts_(host_of_rank) {
  const std::set<int> nodes(node_of_rank.begin(), node_of_rank.end());
  by_node_ = nodes.size() >= kFewestParts;
  if (!by_node_ && node_of_rank.size() < kFewestParts) {
    throw Error(
        fmt::format("--bisect wants at least {} ranks, and there are {}: of fewer, no good "
                    "partners are left for those that may be slow",
                    kFewestParts, ranks_));
  }
  parts_.resize(by_node_ ? nodes.size() : node_of_rank.size());
  for (int rank = 0; rank < ranks_; ++rank) {
    const int node = node_of_rank[static_cast<std::size_t>(rank)];
    const auto part = by_node_ ? std::distance(nodes.begin(), nodes.find(node)) : rank;
    parts_[static_cast<std::size_t>(part)].push_back(rank);
  }
}

std::string Bisection::Next(std::span<const Record> records) {
  std::string groups = After(records);
  is_over_ = groups.empty();
  return groups;
}

std::string Bisection::After(std::span<const Record> records) {
  switch (step_) {
    case Step::kNothing:
      step_ = Step::kHalves;
      return Halves();
    case Step::kHalves:
      TakeHalves(records);
      step_ = Step::kPairs;
      return Pairs();
    case Step::kPairs:
      TakePairs(records);
      step_ = Step::kChecks;
      return Checks();
    case Step::kChecks:
      TakeChecks(records);
      return Checks();
  }
  return "";
}

std::string Bisection::Asked() const {
  switch (step_) {
    case Step::kNothing:
      return "nothing";
    case Step::kHalves:
      return "halves";
    case Step::kPairs:
      return "pairs";
    case Step::kChecks:
      return fmt::format("{} suspects with good partners, and good pairs", checks_);
  }
  return "";
}

// Asks for two halves of equal size at once; with an odd number of parts the last one stays out,
// since groups of different sizes take different times.
std::string Bisection::Halves() {
  const int half = Count() / 2;
  std::vector<int> group_of_part(parts_.size(), -1);
  for (int part = 0; part < 2 * half; ++part) {
    group_of_part[static_cast<std::size_t>(part)] = part / half;
  }
  return GroupsOf(group_of_part);
}

void Bisection::TakeHalves(std::span<const Record> records) {
  const std::vector<GroupStanding> standings = CompareGroups(records);
  if (standings.empty() || !standings.front().IsSlow()) return;
  slow_half_ = fmt::format("ranks {} together took {:.3g} times as long as the other half",
                           fmt::join(standings.front().ranks, " "), standings.front().ratio);
}

// Pairs each part of one half with one of the other.
std::string Bisection::Pairs() {
  const int half = Count() / 2;
  asked_.clear();
  for (int part = 0; part < half; ++part) asked_.emplace_back(part, part + half);
  return GroupsOfPairs();
}

// Takes the pairs. They are held against the fastest pair, because where most pairs are slow their
// median is slow too. A pair that only chance makes a suspect costs a check, and is cleared by it.
void Bisection::TakePairs(std::span<const Record> records) {
  // A round without samples has no time.
  std::size_t rounds = records.empty() ? 0 : LogRoundTimes(records.front()).size();
  for (const Record& record : records) rounds = std::min(rounds, LogRoundTimes(record).size());
  if (records.size() != asked_.size() || rounds < 2) {
    unknown_ = "not all pairs could be measured in two rounds or more";
    return;
  }
  const auto mean_log = [](const Record& record) { return Mean(LogRoundTimes(record)); };
  const std::vector<double> fastest = LogRoundTimes(*std::min_element(
      records.begin(), records.end(), [&](auto& a, auto& b) { return mean_log(a) < mean_log(b); }));
  for (const Record& record : records) {
    std::vector<double> ratios = LogRoundTimes(record);
    ratios.resize(rounds);
    for (std::size_t round = 0; round < rounds; ++round) ratios[round] -= fastest[round];
    const double ratio = std::exp(Mean(ratios));
    const auto interval = MeanInterval(
        ratios, 1 - 0.05 / static_cast<double>(std::max<std::size_t>(1, records.size())));
    const bool is_slow = ratio > kSlowBy && interval && ratio * interval->low > 1;
    const auto [one, other] = asked_.at(static_cast<std::size_t>(GroupOf(record)));
    std::vector<int>& kind = is_slow ? suspects_ : good_;
    kind.push_back(one);
    kind.push_back(other);
    if (is_slow) {
      slow_pairs_.emplace_back(one, other);
    } else {
      good_pairs_.push_back(record);
      if (interval) unseen_ = std::max(unseen_, ratio * interval->high);
    }
  }
  if (Count() % 2 == 1) suspects_.push_back(Count() - 1);  // was in no pair yet
}

// Asks for as many suspects at once as there are good partners. Where enough partners are left, one
// good pair stays together, as the reference that is measured at the same time.
std::string Bisection::Checks() {
  asked_.clear();
  if (suspects_.empty() || !unknown_.empty()) return "";
  const std::size_t partners = good_.size() > 2 ? good_.size() - 2 : good_.size();
  for (std::size_t i = 0; i < partners && !suspects_.empty(); ++i) {
    asked_.emplace_back(suspects_.back(), good_[i]);
    suspects_.pop_back();
  }
  checks_ = asked_.size();
  for (std::size_t i = checks_ + checks_ % 2; i + 1 < good_.size(); i += 2) {
    asked_.emplace_back(good_[i], good_[i + 1]);
  }
  return GroupsOfPairs();
}

void Bisection::TakeChecks(std::span<const Record> records) {
  std::vector<Record> reference;
  for (const Record& record : records) {
    if (static_cast<std::size_t>(GroupOf(record)) >= checks_) reference.push_back(record);
  }
  const std::vector<double> good = MedianLogs(reference.empty() ? good_pairs_ : reference);
  for (const Record& record : records) {
    const auto group = static_cast<std::size_t>(GroupOf(record));
    if (group >= checks_) continue;
    const std::vector<double> logs = LogRoundTimes(record);
    if (logs.size() < 2 || good.size() < 2) {
      unknown_ =
          fmt::format("{} could not be measured with a good partner", NameOf(asked_[group].first));
      continue;
    }
    const Interval ratio = RatioInterval(
        good, logs, 1 - 0.05 / static_cast<double>(std::max<std::size_t>(1, checks_)));
    if (ratio.estimate > kSlowBy && ratio.low > 1) {
      slow_.push_back(
          {.part = asked_[group].first, .partner = asked_[group].second, .ratio = ratio.estimate});
    }
  }
}

std::string Bisection::GroupsOfPairs() const {
  std::vector<int> group_of_part(parts_.size(), -1);
  for (std::size_t group = 0; group < asked_.size(); ++group) {
    for (const int part : {asked_[group].first, asked_[group].second}) {
      group_of_part[static_cast<std::size_t>(part)] = static_cast<int>(group);
    }
  }
  return GroupsOf(group_of_part);
}

std::string Bisection::GroupsOf(const std::vector<int>& group_of_part) const {
  std::vector<std::string> of_rank(static_cast<std::size_t>(ranks_), "-");
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    if (group_of_part[part] < 0) continue;
    for (const int rank : parts_[part]) {
      of_rank[static_cast<std::size_t>(rank)] = std::to_string(group_of_part[part]);
    }
  }
  return fmt::format("{}", fmt::join(of_rank, ","));
}

std::string Bisection::NameOf(int part) const {
  const std::vector<int>& ranks = parts_[static_cast<std::size_t>(part)];
  const auto first = static_cast<std::size_t>(ranks.front());
  const std::string host = first < hosts_.size() ? Clean(hosts_[first], 64) : "";
  if (by_node_) {
    return fmt::format("node {} ({}{}ranks {})", part, host, host.empty() ? "" : ", ",
                       fmt::join(ranks, " "));
  }
  return fmt::format("rank {}{}{}", ranks.front(), host.empty() ? "" : "@", host);
}

std::string Bisection::Verdict() const {
  const char* what = by_node_ ? "node" : "rank";
  if (!is_over_) return "# verdict: not known: it ended before all groups were measured\n";
  if (!slow_.empty()) {
    std::string text;
    for (const Slow& one : slow_) {
      text += fmt::format(
          "{} is slow: with {}, which is not, it took {:.3g} times as long as good "
          "pairs",
          (text.empty() ? "" : "; ") + NameOf(one.part), NameOf(one.partner), one.ratio);
    }
    return fmt::format("# verdict: {}\n", text);
  }
  if (!unknown_.empty()) return fmt::format("# verdict: not known: {}\n", unknown_);
  std::string but;
  for (const auto& [one, other] : slow_pairs_) {
    but += fmt::format(
        "; {} and {} were slow together, but not with others: look at what is "
        "between them",
        NameOf(one), NameOf(other));
  }
  if (slow_pairs_.empty() && !slow_half_.empty()) {
    but = fmt::format("; but {}, which no pair explains: look at what its ranks share", slow_half_);
  }
  if (unseen_ > kSlowBy) {
    but += fmt::format("; one that takes up to {:.3g} times as long would look like chance here",
                       unseen_);
  }
  return fmt::format("# verdict: no slow {} found{}\n", what, but);
}

}  // namespace assay
