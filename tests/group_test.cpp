// Groups of ranks that are threads; tests/mpi_test.cpp has groups of processes.
#include "runner/core/group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>

#include "collectives/native.h"
#include "results/base/error.h"
#include "tests/layout_check.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Group, KeepsWhatItsMembersSay) {
  OnRanks(5, [](ThreadRanks& all) {
    Group group(all, all.Rank() % 2);
    EXPECT_EQ(group.Size(), all.Rank() % 2 == 0 ? 3 : 2);
    EXPECT_EQ(group.Rank(), all.Rank() / 2);
    const std::string own = std::to_string(all.Rank());
    EXPECT_EQ(group.Broadcast(own), all.Rank() % 2 == 0 ? "0" : "1");
    const std::vector<std::string> texts = group.Gather(own + "\n");
    if (all.Rank() == 0) {
      EXPECT_THAT(texts, ElementsAre("0\n", "2\n", "4\n"));
    }
    if (all.Rank() == 1) {
      EXPECT_THAT(texts, ElementsAre("1\n", "3\n"));
    }
    if (all.Rank() > 1) {
      EXPECT_THAT(texts, IsEmpty());
    }
    double values[] = {static_cast<double>(all.Rank()), -1.5 - all.Rank()};
    group.Max(values);
    if (all.Rank() % 2 == 0) {
      EXPECT_THAT(values, ElementsAre(4, -1.5));
    }
    if (all.Rank() % 2 == 1) {
      EXPECT_THAT(values, ElementsAre(3, -2.5));
    }
  });
}

TEST(Group, WaitsForItsMembers) {
  std::atomic<int> came = 0;
  OnRanks(4, [&](ThreadRanks& all) {
    Group group(all, all.Rank() / 2);
    ++came;
    group.Barrier();
    EXPECT_EQ(came, 4);
  });
}

// Two ranks a node.
class PairRanks : public ThreadRanks {
 public:
  PairRanks(World& world, int rank) : ThreadRanks(world, rank) {}
  int Node() const override { return Rank() / 2; }
  int LocalRank() const override { return Rank() % 2; }
};

TEST(Group, CountsItsOwnNodesButTheWholeNodesPlaces) {
  OnRanks(6, [](ThreadRanks& thread) {
    PairRanks all(thread.world(), thread.Rank());
    const Group group(all, all.Rank() < 3 ? 0 : 1);  // 0 1 | 2 and 3 | 4 5
    constexpr int kNodes[] = {0, 0, 1, 0, 1, 1};
    EXPECT_EQ(group.Node(), kNodes[all.Rank()]);
    EXPECT_EQ(group.LocalRank(), all.LocalRank());
  });
}

TEST(Group, OfAGroupKnowsItsRanksAmongAll) {
  OnRanks(6, [](ThreadRanks& all) {
    EXPECT_THAT(all.Members(), ElementsAre(0, 1, 2, 3, 4, 5));
    Group half(all, all.Rank() % 2);
    const Group last(half, half.Rank() == 2 ? 1 : 0);
    if (all.Rank() == 3) {
      EXPECT_THAT(last.Members(), ElementsAre(1, 3));
    }
    if (all.Rank() == 4) {
      EXPECT_THAT(last.Members(), ElementsAre(4));
    }
  });
}

TEST(Group, ThatIsDoneKeepsTheOthersCompanyUntilTheyAre) {
  OnRanks(4, [](ThreadRanks& all) {
    Group group(all, all.Rank() / 2);
    for (int call = 0; call < all.Rank() / 2 * 3; ++call) group.Barrier();
    group.Rest();
    EXPECT_EQ(all.Broadcast(std::to_string(all.Rank())), "0");  // all are in step again
  });
}

TEST(Group, WhoseRankGivesUpIsToldWhichAndNobodyElseIs) {
  OnRanks(4, [](ThreadRanks& all) {
    Group group(all, all.Rank() / 2);
    std::string told;
    if (all.Rank() != 2) {
      try {
        group.Barrier();
      } catch (const Error& error) {
        told = error.what();
      }
    }
    group.Rest();
    EXPECT_EQ(told, all.Rank() == 3 ? "rank 2 gave up while its group went on" : "");
  });
}

TEST(Group, WhoseRanksAreOutOfStepSaysSo) {
  OnRanks(2, [](ThreadRanks& all) {
    Group group(all, 7);
    try {
      all.Rank() == 0 ? group.Barrier() : (void)group.Gather("");
      ADD_FAILURE() << "unlike calls went together";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("out of step"));
    }
    group.Rest();
  });
}

TEST(Group, EachDoesItsOwnCollectiveThroughMemoryOfItsOwn) {
  for (const std::int64_t bytes : {16, 70004}) {
    std::mutex mutex;
    std::vector<std::string> wrong;
    OnRanks(5, [&](ThreadRanks& all) {
      Group group(all, all.Rank() % 2);
      const Collective collective = {
          .operation = all.Rank() % 2 == 0 ? Operation::kAllReduce : Operation::kReduce,
          .dtype = "i32",
          .bytes = bytes};
      EXPECT_FALSE(NativeRefusal(collective, group));
      const auto exchange = NativeExchange(collective, group);
      const std::string what =
          WhatIsWrong(collective, group.Rank(), group.Size(), *exchange, /*seed=*/3);
      group.Rest();
      const std::lock_guard lock(mutex);
      if (!what.empty()) wrong.push_back(what);
    });
    EXPECT_THAT(wrong, IsEmpty());
  }
}

TEST(Texts, WhatIsNoJoinOfTextsIsNamed) {
  const std::vector<std::string> texts = {"", "a b", std::string("\0 9", 3)};
  EXPECT_EQ(PartTexts(JoinTexts(texts)), texts);
  for (const char* garbled : {"x", "5", "55", " a", "-1 a", "1x a", "2 a", "1 ab",
                              "99999999999999999999 a", "18446744073709551615 a"}) {
    try {
      PartTexts(garbled);
      ADD_FAILURE() << garbled;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("a rank told")) << garbled;
    }
  }
}

TEST(Texts, ThoseOfAllRanksAreAsMany) {
  class Short : public Ranks {
   public:
    int Size() const override { return 2; }
  } ranks;
  try {
    GatherToAll(ranks, "own");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("the texts of 1 of 2 ranks"));
  }
}

}  // namespace
}  // namespace assay
