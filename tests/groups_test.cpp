#include "results/figures/groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace assay {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// One case of one group, with a time for each round.
Record GroupRecord(std::int64_t group, const std::vector<int>& ranks,
                   const std::vector<double>& times, std::int64_t bytes = 1024) {
  Record record = {.probe = "all_reduce",
                   .params = {{"bytes", bytes},
                              {"group", group},
                              {"ranks", static_cast<std::int64_t>(ranks.size())}},
                   .backend = "mpi",
                   .work = {.bytes = bytes}};
  for (const int rank : ranks) record.units.push_back({.rank = rank});
  for (const double time : times) record.rounds.push_back({.batch = 1, .time_s = {time}});
  return record;
}

TEST(Groups, TheSlowOneStandsFirstWithHowSlowItIs) {
  // The machine as a whole drifts by a factor of two, which is no group's fault.
  const std::vector<Record> records = {
      GroupRecord(0, {0, 3}, {1.00, 1.51, 2.02, 1.00, 1.50}),
      GroupRecord(1, {1, 4}, {1.52, 2.24, 3.00, 1.49, 2.26}),
      GroupRecord(2, {2, 5}, {1.01, 1.49, 1.99, 1.01, 1.50}),
  };
  const std::vector<GroupStanding> standings = CompareGroups(records);
  ASSERT_THAT(standings, SizeIs(3));
  EXPECT_EQ(standings[0].group, 1);
  EXPECT_THAT(standings[0].ranks, ElementsAre(1, 4));
  EXPECT_THAT(standings[0].ratio, DoubleNear(1.5, 0.02));
  EXPECT_TRUE(standings[0].IsSlow());
  EXPECT_FALSE(standings[1].IsSlow());
  EXPECT_FALSE(standings[2].IsSlow());
  EXPECT_THAT(SlowestGroupText(records), HasSubstr("# slowest group: 1 (ranks 1 4), 1.5 times"));
}

TEST(Groups, WhatVariesAsMuchByItselfIsNotSlow) {
  const std::vector<Record> records = {GroupRecord(0, {0, 1}, {1.0, 1.0, 1.0}),
                                       GroupRecord(1, {2, 3}, {1.0, 1.1, 2.5})};
  const std::vector<GroupStanding> standings = CompareGroups(records);
  EXPECT_GT(standings[0].ratio, 1.3);
  EXPECT_FALSE(standings[0].IsSlow());
  EXPECT_THAT(SlowestGroupText(records), HasSubstr("not slow enough"));
}

// An interrupted run's last round may hold no sample.
TEST(Groups, ARoundWithoutATimeIsNotCounted) {
  std::vector<Record> records = {GroupRecord(0, {0, 1}, {1.0, 1.0, 1.0}),
                                 GroupRecord(1, {2, 3}, {2.0, 2.0, 2.0})};
  const double ratio = CompareGroups(records)[0].ratio;
  for (Record& record : records) record.rounds.push_back({.batch = 1});
  EXPECT_EQ(CompareGroups(records)[0].ratio, ratio);
}

TEST(Groups, AFewPercentAreNotSlowHoweverSure) {
  const std::vector<Record> records = {GroupRecord(0, {0, 1}, {1.00, 1.00, 1.00, 1.00}),
                                       GroupRecord(1, {2, 3}, {1.05, 1.05, 1.051, 1.05})};
  EXPECT_FALSE(CompareGroups(records)[0].IsSlow());
}

TEST(Groups, OfUnequalSizeAreNotHeldAgainstEachOther) {
  const std::vector<Record> records = {GroupRecord(0, {0, 1}, {1.0, 1.0}),
                                       GroupRecord(1, {2, 3, 4}, {9.0, 9.0})};
  EXPECT_THAT(CompareGroups(records), IsEmpty());
  EXPECT_EQ(SlowestGroupText(records), "");
}

TEST(Groups, OneRoundGivesARatioWithoutAClaim) {
  const std::vector<Record> records = {GroupRecord(0, {0, 1}, {1.0}),
                                       GroupRecord(1, {2, 3}, {3.0})};
  EXPECT_FALSE(CompareGroups(records)[0].IsSlow());
  EXPECT_THAT(SlowestGroupText(records), HasSubstr("one round alone"));
}

TEST(Groups, AllRanksTogetherAreNone) {
  Record record = GroupRecord(0, {0, 1}, {1.0});
  record.params.erase("group");
  EXPECT_THAT(CompareGroups({&record, 1}), IsEmpty());
  EXPECT_EQ(GroupOf(record), 0);
}

}  // namespace
}  // namespace assay
