#include "results/figures/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace assay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<SizeTime> Sweep(double start_s, double per_byte_s) {
  std::vector<SizeTime> sweep;
  for (double bytes = 8; bytes <= 1 << 30; bytes *= 2) {
    sweep.push_back({.bytes = bytes, .seconds = start_s + per_byte_s * bytes});
  }
  return sweep;
}

TEST(CostModel, WhatWasPutInComesOut) {
  const CostModel model = FitCost(Sweep(5e-6, 1e-10)).value();
  EXPECT_NEAR(model.start_s, 5e-6, 1e-15);
  EXPECT_NEAR(model.per_byte_s, 1e-10, 1e-19);
  EXPECT_LT(model.residual, 1e-9);
  EXPECT_EQ(model.points, 28U);
}

TEST(CostModel, NoiseOfTenPercentIsItsResidualAndLittleElse) {
  std::vector<SizeTime> sweep = Sweep(5e-6, 1e-10);
  for (std::size_t i = 0; i < sweep.size(); ++i) sweep[i].seconds *= i % 2 == 0 ? 1.1 : 0.9;
  const CostModel model = FitCost(sweep).value();
  EXPECT_NEAR(model.start_s, 5e-6, 0.3e-6);
  EXPECT_NEAR(model.per_byte_s, 1e-10, 0.1e-10);
  EXPECT_NEAR(model.residual, 0.1, 0.01);
}

TEST(CostModel, ASwitchOfAlgorithmShowsInTheResidual) {
  std::vector<SizeTime> sweep = Sweep(5e-6, 1e-10);
  for (SizeTime& point : sweep) {
    if (point.bytes > 65536) point.seconds *= 4;
  }
  EXPECT_GT(FitCost(sweep)->residual, 0.2);
}

TEST(CostModel, NeitherPartIsEverNegative) {
  const std::vector<SizeTime> steep = {{1e3, 1e-6}, {1e4, 2e-5}, {1e5, 4e-4}};
  const CostModel rate = FitCost(steep).value();
  EXPECT_EQ(rate.start_s, 0);
  EXPECT_GT(rate.per_byte_s, 0);
  const std::vector<SizeTime> falling = {{8, 3e-6}, {64, 2e-6}, {512, 1e-6}};
  const CostModel start = FitCost(falling).value();
  EXPECT_EQ(start.per_byte_s, 0);
  EXPECT_GT(start.start_s, 0);
}

TEST(CostModel, TooLittleIsNoSweep) {
  EXPECT_FALSE(FitCost(std::vector<SizeTime>{{8, 1}, {16, 1}}).has_value());
  EXPECT_FALSE(FitCost(std::vector<SizeTime>{{8, 1}, {8, 1}, {8, 2}}).has_value());
  EXPECT_FALSE(FitCost(std::vector<SizeTime>{{8, 1}, {16, 0}, {32, 2}}).has_value());
  EXPECT_FALSE(FitCost(std::vector<SizeTime>{{8, 1}, {16, std::nan("")}, {32, 2}}).has_value());
}

TEST(CostModel, ARingsLatencyGrowsWithTheRanksATreesWithTheirLogarithm) {
  EXPECT_DOUBLE_EQ(StepsOf("all_reduce", Steps::kRing, 16), 30);
  EXPECT_DOUBLE_EQ(StepsOf("all_reduce", Steps::kTree, 16), 8);
  EXPECT_DOUBLE_EQ(StepsOf("all_gather", Steps::kRing, 16), 15);
  EXPECT_DOUBLE_EQ(StepsOf("broadcast", Steps::kTree, 17), 5);
  EXPECT_DOUBLE_EQ(StepsOf("sendrecv", Steps::kRing, 16), 1);
  EXPECT_DOUBLE_EQ(StepsOf("alltoall", Steps::kTree, 16), 15);
  const CostModel model = {.start_s = 2e-6, .per_byte_s = 1e-9};
  // From 2 ranks to 16: 2 steps become 30, or 8; each byte of S crosses 15/8 links instead of 1.
  EXPECT_NEAR(Project(model, "all_reduce", Steps::kRing, 2, 16, 1000), 30e-6 + 1.875e-6, 1e-15);
  EXPECT_NEAR(Project(model, "all_reduce", Steps::kTree, 2, 16, 1000), 8e-6 + 1.875e-6, 1e-15);
  EXPECT_NEAR(Project(model, "all_reduce", Steps::kRing, 2, 2, 1000), model.At(1000), 1e-15);
}

TEST(CostModel, IsToldOfEachSweepAndAProjectionSaysThatItIsOne) {
  std::vector<Record> records;
  for (const char* algo : {"auto", "ring"}) {
    for (const std::int64_t bytes : {1024, 65536, 1048576}) {
      records.push_back(
          {.probe = "all_reduce",
           .params = {{"bytes", bytes}, {"ranks", std::int64_t{2}}, {"algo", algo}},
           .backend = "mpi",
           .work = {.bytes = bytes},
           .rounds = {{.batch = 1, .time_s = {4e-6 + static_cast<double>(bytes) / 8e9}}}});
    }
  }
  const std::string text = CostModelText(records);
  EXPECT_THAT(text, HasSubstr("# fit mpi auto: T = 4 us + S / 8 GB/s; half of it at 32000 B"));
  EXPECT_THAT(text, HasSubstr("# fit mpi ring: T = 4 us"));
  EXPECT_THAT(text, Not(HasSubstr("projection")));
  const std::string projected = CostModelText(records, 64);
  EXPECT_THAT(projected, HasSubstr("projection, not measured"));
  // 16 ranks, 1024 B: 30 steps of 2 us by a ring, 8 by a tree, and 15/8 of 0.128 us.
  EXPECT_THAT(projected, HasSubstr("#    16                 60.24       16.24"));
  EXPECT_THAT(projected, HasSubstr("#    64"));
  EXPECT_THAT(projected, Not(HasSubstr("#   128")));
  for (Record& record : records) record.status = Status::kFailed;
  EXPECT_EQ(CostModelText(records), "");
}

}  // namespace
}  // namespace assay
