#include "runner/cluster/rank_threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>

#include "results/base/error.h"
#include "runner/core/group.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Processes are threads here, and have threads of their own.
void OnThreads(int processes, const PerProcess& each, const std::function<void(Ranks&)>& body) {
  OnRanks(processes, [&](ThreadRanks& process) {
    const auto first = JoinThreads(std::make_unique<ThreadRanks>(process), each, body);
    body(*first);
  });
}

TEST(RankThreads, AreRanksLikeAnyOthers) {
  std::atomic<int> seen = 0;
  OnThreads(3, {.threads = 2, .gpus = 2}, [&](Ranks& own) {
    EXPECT_EQ(own.Size(), 12);
    EXPECT_EQ(own.LocalRank(), own.Rank());
    EXPECT_EQ(own.Node(), 0);
    EXPECT_EQ(own.JoinedBy(), "threads");
    for (int time = 0; time < 100; ++time) {
      const std::vector<std::string> all = own.Gather(std::to_string(own.Rank() + time));
      if (own.Rank() == 0) {
        ASSERT_EQ(all.size(), 12U);
        EXPECT_EQ(all[7], std::to_string(7 + time)) << "in rank order";
      } else {
        EXPECT_THAT(all, IsEmpty());
      }
      EXPECT_EQ(own.Broadcast(own.Rank() == 0 ? std::to_string(time) : "not mine"),
                std::to_string(time));
      double values[] = {static_cast<double>(own.Rank()), static_cast<double>(-own.Rank())};
      own.Max(values);
      EXPECT_THAT(values, ElementsAre(11, 0));
      own.Barrier();
    }
    EXPECT_EQ(GatherToAll(own, "x").size(), 12U);
    ++seen;
  });
  EXPECT_EQ(seen, 12);
}

TEST(RankThreads, OneOfThoseOfAThreadActsForAllInRankOrder) {
  std::mutex mutex;
  std::vector<std::vector<int>> acts;
  OnThreads(2, {.threads = 2, .gpus = 3}, [&](Ranks& own) {
    int rank = own.Rank();
    own.Together(&rank, [&](std::span<void* const> things) {
      std::vector<int> ranks;
      for (void* const thing : things) ranks.push_back(*static_cast<int*>(thing));
      const std::lock_guard lock(mutex);
      acts.push_back(ranks);
    });
    EXPECT_THROW(own.Together(&rank, [](std::span<void* const>) { throw Error("no"); }), Error);
  });
  std::ranges::sort(acts);
  EXPECT_THAT(acts, ElementsAre(ElementsAre(0, 1, 2), ElementsAre(3, 4, 5), ElementsAre(6, 7, 8),
                                ElementsAre(9, 10, 11)));
}

TEST(RankThreads, OfWhichOneIsLostTellItsReasonToAll) {
  std::mutex mutex;
  std::map<int, std::string> reasons;
  const auto first =
      JoinThreads(std::make_unique<Ranks>(), {.threads = 2, .gpus = 2}, [&](Ranks& own) {
        own.Barrier();
        if (own.Rank() == 2) throw Error("its GPU fell off the bus");
        try {
          own.Barrier();
        } catch (const Error& error) {
          const std::lock_guard lock(mutex);
          reasons[own.Rank()] = error.what();
        }
      });
  first->Barrier();
  for (int again = 0; again < 2; ++again) {
    try {
      first->Broadcast("");
    } catch (const Error& error) {
      const std::lock_guard lock(mutex);
      reasons[0] += error.what();
    }
  }
  const std::string reason = "rank 2 gave up: its GPU fell off the bus";
  EXPECT_EQ(reasons[0], reason + reason);
}

TEST(RankThreads, AreAsManyInEachProcess) {
  std::atomic<int> refused = 0;
  OnRanks(2, [&](ThreadRanks& process) {
    try {
      JoinThreads(std::make_unique<ThreadRanks>(process), {.gpus = 1 + process.Rank()},
                  [](Ranks&) {});
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("some processes have 1 rank and others 2"));
      ++refused;
    }
  });
  EXPECT_EQ(refused, 2);
}

}  // namespace
}  // namespace assay
