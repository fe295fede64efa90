#include "results/expected.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "results/error.h"

namespace assay {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kHeader =
    "provider,instance,nodes,operation,bytes,busbw_gbs,setting,source\n";

std::string ErrorOf(const std::string& rows) {
  try {
    ParseExpected(std::string(kHeader) + rows, "e.csv");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

const std::vector<InstanceFacts> kInstances = {{.provider = "aws",
                                                .instance = "p5.48xlarge",
                                                .accelerator = "H100",
                                                .accelerator_count = 8,
                                                .network_gbps = 3200}};
const std::vector<Expected> kExpected = {{.provider = "aws",
                                          .instance = "p5.48xlarge",
                                          .nodes = 4,
                                          .operation = "all_reduce",
                                          .bytes = 1 << 30,
                                          .busbw_gbs = 360,
                                          .setting = "EFA",
                                          .source = "somewhere.org"}};

Run RunOn(const std::string& instance) {
  Node node;
  node.identity.provider.value = "aws";
  node.identity.instance.value = instance;
  return {.nodes = {node}};
}

Record AllReduce(double busbw_gbs, std::int64_t nodes, const std::string& backend = "nccl") {
  const auto ranks = static_cast<double>(8 * nodes);
  const double seconds = 2 * (ranks - 1) / ranks * (1 << 30) / (busbw_gbs * 1e9);
  return {.probe = "all_reduce",
          .params = {{"ranks", 8 * nodes}, {"nodes", nodes}},
          .backend = backend,
          .work = {.bytes = 1 << 30},
          .rounds = {{.batch = 1, .time_s = {seconds}}}};
}

// A part of 100 TFLOP/s in bf16 at 1800 MHz, and of 2 TB/s.
const std::vector<DeviceFacts> kDevices = {{.name = "X100",
                                            .match = {"NVIDIA X100"},
                                            .peak_flops = {{"bf16", 100e12}},
                                            .memory_bytes_per_s = 2e12,
                                            .peak_clock_mhz = 1800}};

Run RunOnX100(int kinds = 1, bool mig = false) {
  Node node;
  node.accelerators = {{.name = "NVIDIA X100", .present = 8, .mig = mig}};
  if (kinds == 2) node.accelerators.push_back({.name = "NVIDIA Y200", .present = 1});
  return {.nodes = {node}};
}

// 80 TFLOP/s.
Record GemmOnGpu(const std::string& dtype = "bf16") {
  return {.probe = "gemm",
          .params = {{"dtype", dtype}},
          .backend = "cublaslt",
          .work = {.flops = 80'000'000'000},
          .units = {Unit{}},
          .rounds = {{.batch = 1, .time_s = {1e-3}}}};
}

TEST(OfPeak, IsOfTheDataSheetAndOfTheClockThatItRanAt) {
  Record gemm = GemmOnGpu();
  OfPeak of = OfPeakOf(RunOnX100(), gemm, kDevices).value();
  EXPECT_EQ(of.device, "X100");
  EXPECT_DOUBLE_EQ(of.of_spec, 0.8);
  EXPECT_FALSE(of.clock_mhz);
  EXPECT_FALSE(of.of_clock);
  gemm.rounds[0].telemetry = {{.sm_mhz = {1980, 1600, 1590}}};
  of = OfPeakOf(RunOnX100(), gemm, kDevices).value();
  EXPECT_DOUBLE_EQ(of.clock_mhz.value(), 1600);
  EXPECT_DOUBLE_EQ(of.of_clock.value(), 0.8 * 1800 / 1600);
  gemm.units = {Unit{}, Unit{.device = 1}};
  EXPECT_DOUBLE_EQ(OfPeakOf(RunOnX100(), gemm, kDevices)->of_spec, 0.4) << "of both";
}

TEST(OfPeak, OfMemoryIsOfItsBandwidth) {
  Record memory = GemmOnGpu();
  memory.probe = "memory";
  memory.backend = "cuda";
  memory.params = {{"pattern", std::string("read")}};
  memory.work = {.bytes = 1'800'000'000};
  memory.rounds[0].telemetry = {{.sm_mhz = {1500}}};
  const OfPeak of = OfPeakOf(RunOnX100(), memory, kDevices).value();
  EXPECT_DOUBLE_EQ(of.of_spec, 0.9);
  EXPECT_FALSE(of.of_clock) << "memory has a clock of its own";
  memory.facts["in_cache"] = true;
  EXPECT_FALSE(OfPeakOf(RunOnX100(), memory, kDevices)) << "a cache's bandwidth";
  memory.facts["in_cache"] = false;
  EXPECT_TRUE(OfPeakOf(RunOnX100(), memory, kDevices));
}

TEST(OfPeak, OfDecodeIsOfTheMemoryThatItReads) {
  Record decode = GemmOnGpu();
  decode.probe = "attention";
  decode.backend = "cudnn";
  decode.params["phase"] = std::string("decode");
  decode.work.bytes = 1'200'000'000;
  const OfPeak of = OfPeakOf(RunOnX100(), decode, kDevices).value();
  EXPECT_DOUBLE_EQ(of.of_spec, 0.6);
  EXPECT_FALSE(of.of_clock);
}

TEST(OfPeak, IsNothingWhereThePeakIsNotKnown) {
  EXPECT_FALSE(OfPeakOf(RunOnX100(), GemmOnGpu("f64"), kDevices));
  EXPECT_FALSE(OfPeakOf(RunOnX100(2), GemmOnGpu(), kDevices)) << "which of the two kinds?";
  EXPECT_FALSE(OfPeakOf(RunOnX100(1, true), GemmOnGpu(), kDevices)) << "a slice";
  EXPECT_FALSE(OfPeakOf(RunOnX100(), GemmOnGpu(), {})) << "no such device";
  Record other = GemmOnGpu();
  other.backend = "onednn";
  EXPECT_FALSE(OfPeakOf(RunOnX100(), other, kDevices)) << "a CPU's";
  other = GemmOnGpu();
  other.probe = "copy";
  EXPECT_FALSE(OfPeakOf(RunOnX100(), other, kDevices));
}

std::optional<Judged> JudgeIt(const Record& record, const std::string& instance = "p5.48xlarge") {
  return Judge(RunOn(instance), record, kExpected, kInstances);
}

TEST(Expected, TheBuiltInDataIsSound) {
  const std::vector<Expected>& all = BuiltInExpected();
  EXPECT_GT(all.size(), 40U);
  std::set<std::pair<std::string, std::string>> known;
  for (const InstanceFacts& facts : Catalog::BuiltIn().instances) {
    known.insert({facts.provider, facts.instance});
  }
  for (const Expected& one : all) {
    EXPECT_TRUE(known.contains({one.provider, one.instance})) << one.instance;
  }
}

TEST(Expected, WhatBreaksARuleIsNamedWithItsRow) {
  const std::string good = "aws,p5.48xlarge,2,all_reduce,1024,480,EFA,a.org\n";
  EXPECT_EQ(ErrorOf(good), "no error");
  EXPECT_THAT(ErrorOf(good + good), HasSubstr("e.csv, row 2: the same"));
  EXPECT_THAT(ErrorOf("aws,,2,all_reduce,1024,480,EFA,a.org\n"), HasSubstr("instance is empty"));
  EXPECT_THAT(ErrorOf("aws,p5,0,all_reduce,1024,480,EFA,a.org\n"), HasSubstr("nodes is '0'"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,-1,480,EFA,a.org\n"), HasSubstr("bytes is '-1'"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,10.5,480,EFA,a.org\n"), HasSubstr("whole number"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,1024,nan,EFA,a.org\n"), HasSubstr("busbw_gbs is 'nan'"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,1024,,EFA,a.org\n"), HasSubstr("busbw_gbs is empty"));
  EXPECT_THAT(ErrorOf("aws,p5,2,barrier,1024,480,EFA,a.org\n"), HasSubstr("no bus bandwidth"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,1024,480,EFA,hearsay\n"), HasSubstr("neither a URL"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce\n"), HasSubstr("e.csv"));
}

TEST(Expected, AFigureStandsBesideWhatOthersMeasured) {
  EXPECT_EQ(JudgeIt(AllReduce(350, 4))->standing, Standing::kOk);
  EXPECT_DOUBLE_EQ(JudgeIt(AllReduce(350, 4))->expected_gbs.value(), 360);
  EXPECT_EQ(JudgeIt(AllReduce(325, 4))->standing, Standing::kOk) << "within 10 %";
  const std::optional<Judged> low = JudgeIt(AllReduce(320, 4));
  EXPECT_EQ(low->standing, Standing::kLow);
  EXPECT_THAT(low->why, HasSubstr("360 GB/s was measured on 4 p5.48xlarge (EFA; somewhere.org)"));
}

TEST(Expected, MoreThanTheNetworkCarriesIsExplained) {
  // 3200 Gbit/s are 400 GB/s.
  const std::optional<Judged> two = JudgeIt(AllReduce(487, 2));
  EXPECT_EQ(two->standing, Standing::kAboveBound);
  EXPECT_FALSE(two->expected_gbs.has_value());
  EXPECT_THAT(two->why, HasSubstr("on two nodes NCCL takes trees"));
  const std::optional<Judged> four = JudgeIt(AllReduce(487, 4));
  EXPECT_EQ(four->standing, Standing::kAboveBound);
  EXPECT_THAT(four->why, HasSubstr("SHARP"));
  EXPECT_FALSE(JudgeIt(AllReduce(399, 2)).has_value()) << "no row, and nothing above the bound";
  EXPECT_FALSE(JudgeIt(AllReduce(480, 1)).has_value()) << "one node has no network between";
}

TEST(Expected, OnlyTheSameThingIsJudged) {
  EXPECT_FALSE(JudgeIt(AllReduce(100, 4, "mpi")).has_value()) << "a CPU";
  EXPECT_FALSE(JudgeIt(AllReduce(100, 4), "p4d.24xlarge").has_value());
  Record some = AllReduce(100, 4);
  some.params["ranks"] = std::int64_t{16};
  EXPECT_FALSE(JudgeIt(some).has_value()) << "not all accelerators took part";
  Record other = AllReduce(100, 4);
  other.probe = "all_gather";
  EXPECT_FALSE(JudgeIt(other).has_value());
  Record wrong = AllReduce(100, 4);
  wrong.status = Status::kWrong;
  EXPECT_FALSE(JudgeIt(wrong).has_value());
}

}  // namespace
}  // namespace assay
