// Tests of the search for a slow rank, over times that are written here; tests/collectives_test.cpp
// has real ranks.
#include "runner/program/bisect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "collectives/collectives.h"
#include "results/base/error.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using TimeOf = std::function<double(const std::vector<int>& ranks)>;

// The records that five rounds of these groups would give, with a few per cent of scatter.
std::vector<Record> Measured(const std::string& split, int ranks, const TimeOf& time_of) {
  std::map<int, std::vector<int>> members;
  const std::vector<int> groups = collectives::GroupsFrom(split, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const int group = groups[static_cast<std::size_t>(rank)];
    if (group >= 0) members[group].push_back(rank);
  }
  std::vector<Record> records;
  for (const auto& [group, own] : members) {
    Record record = {.probe = "all_reduce",
                     .params = {{"bytes", std::int64_t{1024}},
                                {"group", std::int64_t{group}},
                                {"ranks", static_cast<std::int64_t>(own.size())},
                                {"split", split}},
                     .backend = "mpi",
                     .work = {.bytes = 1024}};
    for (const int rank : own) record.units.push_back({.rank = rank});
    for (int round = 0; round < 5; ++round) {
      const double noise = 1 + 0.01 * ((group * 7 + round * 3) % 5);
      record.rounds.push_back({.batch = 1, .time_s = {time_of(own) * noise}});
    }
    records.push_back(record);
  }
  return records;
}

struct Outcome {
  std::string verdict = {};
  bool found = false;
  int steps = 0;
};

Outcome Bisect(int ranks, const TimeOf& time_of, const std::vector<int>& nodes = {}) {
  std::vector<std::string> hosts;
  for (int rank = 0; rank < ranks; ++rank) hosts.push_back("h" + std::to_string(rank / 2));
  Bisection bisection(nodes.empty() ? std::vector<int>(static_cast<std::size_t>(ranks)) : nodes,
                      hosts);
  Outcome outcome;
  std::vector<Record> records;
  for (std::string split; !(split = bisection.Next(records)).empty(); ++outcome.steps) {
    EXPECT_LT(outcome.steps, 20) << "it never ends";
    records = Measured(split, ranks, time_of);
  }
  outcome.verdict = bisection.Verdict();
  outcome.found = bisection.FoundSlow();
  return outcome;
}

// A group waits for its slowest rank.
TimeOf SlowRanks(const std::vector<int>& slow, double factor = 2) {
  return [=](const std::vector<int>& ranks) {
    for (const int rank : ranks) {
      if (std::find(slow.begin(), slow.end(), rank) != slow.end()) return factor;
    }
    return 1.0;
  };
}

TEST(Bisect, NamesTheSlowRankAndNobodyElse) {
  for (const int ranks : {4, 5, 6, 7, 8, 9, 16}) {
    for (int slow = 0; slow < ranks; ++slow) {
      const Outcome outcome = Bisect(ranks, SlowRanks({slow}));
      EXPECT_TRUE(outcome.found);
      EXPECT_THAT(outcome.verdict, AllOf(HasSubstr("verdict: rank " + std::to_string(slow) + "@h" +
                                                   std::to_string(slow / 2) + " is slow"),
                                         HasSubstr("times as long"), Not(HasSubstr(";"))))
          << ranks;
    }
  }
}

TEST(Bisect, NamesSeveralAlsoWhereTheyWerePaired) {
  for (const auto& slow : {std::vector<int>{2, 6}, {0, 1}, {1, 2, 7}}) {
    const Outcome outcome = Bisect(8, SlowRanks(slow));
    for (int rank = 0; rank < 8; ++rank) {
      const bool is_slow = std::find(slow.begin(), slow.end(), rank) != slow.end();
      EXPECT_EQ(outcome.verdict.find("rank " + std::to_string(rank) + "@h" +
                                     std::to_string(rank / 2) + " is slow") != std::string::npos,
                is_slow)
          << outcome.verdict;
    }
  }
}

TEST(Bisect, FindsNobodyWhereNobodyIs) {
  const Outcome outcome = Bisect(8, SlowRanks({}));
  EXPECT_FALSE(outcome.found);
  EXPECT_EQ(outcome.verdict, "# verdict: no slow rank found\n");
  EXPECT_EQ(outcome.steps, 2) << "halves and pairs; there is nobody to check";
  EXPECT_FALSE(Bisect(8, SlowRanks({3}, 1.04)).found) << "4 % are not slow";
}

TEST(Bisect, SaysHowSlowOneMayBeUnseen) {
  int call = 0;
  const Outcome outcome =
      Bisect(4, [&](const std::vector<int>& ranks) { return ranks[0] == 0 ? 1 : 1 + call++ % 2; });
  EXPECT_FALSE(outcome.found);
  EXPECT_THAT(outcome.verdict, HasSubstr("times as long would look like chance here"));
}

TEST(Bisect, TellsALinkFromARank) {
  // 1 and 5 are slow together alone.
  const Outcome outcome = Bisect(8, [](const std::vector<int>& ranks) {
    return ranks == std::vector<int>{1, 5} ? 2.0 : 1.0;
  });
  EXPECT_FALSE(outcome.found);
  EXPECT_THAT(outcome.verdict, HasSubstr("rank 1@h0 and rank 5@h2 were slow together"));
}

TEST(Bisect, SaysWhenOnlyAHalfIsSlow) {
  const Outcome outcome = Bisect(
      8, [](const std::vector<int>& ranks) { return ranks.size() == 4 && ranks[0] == 4 ? 3 : 1; });
  EXPECT_FALSE(outcome.found);
  EXPECT_THAT(outcome.verdict, HasSubstr("but ranks 4 5 6 7 together took"));
}

TEST(Bisect, TellsNodesApartWhereThereAreFour) {
  const std::vector<int> nodes = {0, 0, 1, 1, 2, 2, 3, 3};
  const Outcome outcome = Bisect(8, SlowRanks({5}), nodes);
  EXPECT_THAT(outcome.verdict, HasSubstr("node 2 (h2, ranks 4 5) is slow"));
}

TEST(Bisect, NeedsPartnersAndAnEnd) {
  EXPECT_THROW(Bisection({0, 0, 0}, {}), Error);
  Bisection bisection({0, 0, 0, 0}, {});
  std::vector<Record> records = Measured(bisection.Next({}), 4, SlowRanks({}));
  EXPECT_THAT(bisection.Verdict(), HasSubstr("not known: it ended before"));
  records = Measured(bisection.Next(records), 4, SlowRanks({}));
  for (Record& record : records) record.rounds.clear();  // failed
  EXPECT_EQ(bisection.Next(records), "");
  EXPECT_THAT(bisection.Verdict(), HasSubstr("not known: not all pairs"));
}

}  // namespace
}  // namespace assay
