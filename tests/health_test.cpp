#include "results/figures/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/base/error.h"
#include "results/show/tables.h"

namespace assay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<DeviceFacts> kDevices = {{.name = "X100", .match = {"NVIDIA X100"}}};
const std::vector<ExpectedOfDevice> kExpected = {
    {.device = "X100",
     .probe = "gemm",
     .conditions = {{.param = "dtype", .value = "bf16"}, {.param = "m", .value = "4096"}},
     .speed = {.value = 100e12, .unit = "FLOP/s"},
     .setting = "torch",
     .source = "somewhere.org"}};

// A product of 1 TFLOP a device, which gave so many TFLOP/s.
Record Gemm(const std::vector<double>& tflops, std::int64_t m = 4096) {
  Record gemm = {.probe = "gemm",
                 .params = {{"dtype", "bf16"}, {"m", m}},
                 .backend = "fake",
                 .device = {.kind = "gpu"},
                 .work = {.flops = static_cast<std::int64_t>(tflops.size()) * 1'000'000'000'000},
                 .rounds = {{.batch = 1}}};
  Visit& visit = gemm.rounds[0];
  double slowest_s = 0;
  for (std::size_t i = 0; i < tflops.size(); ++i) {
    gemm.units.push_back({.device = static_cast<int>(i)});
    visit.unit_p50_s.push_back(1 / tflops[i]);
    slowest_s = std::max(slowest_s, 1 / tflops[i]);
  }
  visit.unit_max_s = visit.unit_p50_s;
  visit.time_s = {slowest_s};
  return gemm;
}

Run RunOf(std::vector<Record> records) {
  Node node;
  node.accelerators = {{.name = "NVIDIA X100", .present = 8, .visible = 8, .used = 8}};
  return {.nodes = {node}, .records = std::move(records)};
}

Health Of(const Run& run, std::size_t record = 0) {
  return RunHealth(run, kDevices, kExpected).Of(run.records[record]).value();
}

TEST(Health, EachDeviceHasTheSpeedOfItsOwnShareInItsOwnTime) {
  const Health health = Of(RunOf({Gemm({90, 96, 100, 98})}));
  ASSERT_EQ(health.devices.size(), 4U);
  EXPECT_NEAR(health.devices[1].speed.value, 96e12, 1);
  EXPECT_EQ(health.devices[1].speed.unit, "FLOP/s");
  EXPECT_EQ(health.devices[3].unit.device, 3);
  EXPECT_EQ(health.slowest, 0U);
  EXPECT_NEAR(health.spread, 10 / 97.0, 1e-9);
}

TEST(Health, ADeviceThatStandsOutAmongItsSiblingsIsLowOrHigh) {
  const Health low = Of(RunOf({Gemm({97, 98, 97, 90, 98, 97, 98, 97.5})}));
  EXPECT_EQ(low.devices[3].standing, Standing::kLow);
  EXPECT_LT(low.devices[3].z.value(), -3.5);
  EXPECT_THAT(low.devices[3].why, HasSubstr("92.5 % of its siblings' median"));
  EXPECT_EQ(low.devices[0].standing, Standing::kOk);
  const Health high = Of(RunOf({Gemm({97, 98, 97, 109, 98, 97, 98, 97.5})}));
  EXPECT_EQ(high.devices[3].standing, Standing::kHigh);
  // All devices but one are equal, so there is no scatter to hold it against, but it is 10 % off.
  EXPECT_EQ(Of(RunOf({Gemm({100, 100, 100, 100, 90})})).devices[4].standing, Standing::kLow);
}

TEST(Health, ALittleOrAmongFewSaysNothing) {
  const Health little = Of(RunOf({Gemm({97, 97.01, 97, 95.5, 97.01, 97})}));
  EXPECT_LT(little.devices[3].z.value(), -3.5);
  EXPECT_EQ(little.devices[3].standing, Standing::kOk) << "1.5 % is no ailment";
  const Health few = Of(RunOf({Gemm({97, 97, 90})}));
  EXPECT_FALSE(few.devices[2].z);
  EXPECT_EQ(few.devices[2].standing, Standing::kOk);
}

TEST(Health, StandingOutBeginsAtThreeAndAHalfDeviationsAndTwoPercent) {
  const auto standing = [](const std::vector<double>& tflops) {
    return Of(RunOf({Gemm(tflops)})).devices.back().standing;
  };
  // The median is 100 and the median distance 1, so that 3.5 / 0.6745 = 5.189 is the end.
  EXPECT_EQ(standing({99, 100, 100, 101, 94.82}), Standing::kOk);
  EXPECT_EQ(standing({99, 100, 100, 101, 94.81 - 0.01}), Standing::kLow);
  // All other devices are equal, so that any distance stands out.
  EXPECT_EQ(standing({100, 100, 100, 98.01}), Standing::kOk);
  EXPECT_EQ(standing({100, 100, 100, 97.99}), Standing::kLow);
  EXPECT_EQ(standing({100, 100, 100, 101.99}), Standing::kOk);
  EXPECT_EQ(standing({100, 100, 100, 102.01}), Standing::kHigh);
  EXPECT_EQ(standing({100, 100, 97}), Standing::kOk) << "three are too few";
}

TEST(Health, ADeviceStandsBesideWhatOthersMeasured) {
  EXPECT_EQ(Of(RunOf({Gemm({88.1})})).devices[0].standing, Standing::kOk);
  EXPECT_EQ(Of(RunOf({Gemm({109.9})})).devices[0].standing, Standing::kOk);
  const Health low = Of(RunOf({Gemm({87.9})}));
  EXPECT_EQ(low.devices[0].standing, Standing::kLow);
  EXPECT_EQ(low.devices[0].why,
            "87.9 % of the 100.0 TFLOP/s that others measured on X100 (torch; somewhere.org)");
  EXPECT_EQ(Of(RunOf({Gemm({110.1})})).devices[0].standing, Standing::kHigh);
  EXPECT_EQ(Of(RunOf({Gemm({95, 87, 95})})).devices[1].standing, Standing::kLow);
}

TEST(Health, OnlyTheFastestOfWhatFitsIsHeldAgainstOthers) {
  const assay::Run run = RunOf({Gemm({60}), Gemm({95}), Gemm({120}, /*m=*/16)});
  const RunHealth health(run, kDevices, kExpected);
  const auto of = [&](std::size_t i) { return health.Of(run.records[i]); };
  EXPECT_FALSE(of(0)) << "another algorithm did better";
  EXPECT_TRUE(of(1));
  EXPECT_FALSE(of(2)) << "nobody measured that shape";
}

// By the built-in data, a product of 1024 gives 0.4 of an H100's best.
TEST(Health, AYardstickHoldsForItsShape) {
  const auto standing = [](const Params& params, double tflops, const std::string& probe = "gemm",
                           const std::string& without = "") -> std::optional<Standing> {
    Record record = Gemm({tflops});
    record.probe = probe;
    record.params = {
        {"dtype", "bf16"},          {"cache", "cold"},         {"inputs", "normal"},
        {"m", std::int64_t{2048}},  {"n", std::int64_t{2048}}, {"k", std::int64_t{13312}},
        {"batch", std::int64_t{1}}, {"regime", "burst"},       {"algo", "default"}};
    for (const auto& [name, value] : params) record.params[name] = value;
    record.params.erase(without);
    if (probe == "copy") record.work = {.bytes = record.work.flops};
    assay::Run run = RunOf({record});
    run.nodes[0].accelerators[0].name = "NVIDIA H100 80GB HBM3";
    const std::optional<Health> health =
        RunHealth(run, Catalog::BuiltIn().devices).Of(run.records[0]);
    return health ? std::optional(health->devices[0].standing) : std::nullopt;
  };
  const std::int64_t k = 1024;
  EXPECT_EQ(standing({}, 0.879 * 794.5), Standing::kLow);
  EXPECT_EQ(standing({}, 0.881 * 794.5), Standing::kOk);
  EXPECT_EQ(standing({}, 1.099 * 794.5), Standing::kOk);
  EXPECT_EQ(standing({}, 1.101 * 794.5), Standing::kHigh);
  EXPECT_EQ(standing({{"m", k}, {"n", k}, {"k", k}}, 320), std::nullopt);
  EXPECT_EQ(standing({{"m", 4 * k}, {"n", 4 * k}, {"k", 4 * k}}, 650), std::nullopt);
  EXPECT_EQ(standing({{"k", 13 * k - 8}}, 650), std::nullopt) << "none that is near, either";
  EXPECT_EQ(standing({{"batch", std::int64_t{8}}}, 600), std::nullopt);
  EXPECT_EQ(standing({}, 650, "gemm", "batch"), std::nullopt) << "which of them isn't told";
  EXPECT_EQ(standing({{"regime", "sustained"}}, 650), std::nullopt)
      << "what is sustained is less than a burst";
  // 380 GB/s over NVLink: a copy of few bytes is no copy at the link's rate.
  const std::int64_t bytes = std::int64_t{512} << 20;
  EXPECT_EQ(standing({{"route", "peer"}, {"bytes", bytes}}, 0.3, "copy"), Standing::kLow);
  EXPECT_EQ(standing({{"route", "peer"}, {"bytes", bytes - 16}}, 0.3, "copy"), std::nullopt);
}

TEST(Health, WhatIsNotKnownIsNotJudged) {
  assay::Run run = RunOf({Gemm({50})});
  run.nodes[0].accelerators[0].mig = true;
  EXPECT_FALSE(RunHealth(run, kDevices, kExpected).Of(run.records[0])) << "a slice";
  run = RunOf({Gemm({50})});
  run.nodes[0].accelerators[0].name = "NVIDIA Y100";
  EXPECT_FALSE(RunHealth(run, kDevices, kExpected).Of(run.records[0]));
  run = RunOf({Gemm({50})});
  run.records[0].device.kind = "cpu";
  EXPECT_FALSE(RunHealth(run, kDevices, kExpected).Of(run.records[0])) << "a CPU";
  run = RunOf({Gemm({50, 60})});
  run.records[0].probe = "all_reduce";
  EXPECT_FALSE(RunHealth(run, kDevices, kExpected).Of(run.records[0]))
      << "ranks wait for each other";
  run = RunOf({Gemm({50, 60})});
  run.records[0].rounds[0].unit_p50_s.pop_back();
  EXPECT_FALSE(RunHealth(run, kDevices, kExpected).Of(run.records[0])) << "one has no time";
}

TEST(Health, TheTableHasARowForEachDevice) {
  assay::Run run = RunOf({Gemm({97, 98, 97, 80, 98})});
  run.records[0].rounds[0].telemetry = {
      {.unit = 3, .at_s = {1, 2, 3}, .sm_mhz = {1500, 1410, 1400}, .temperature_c = {80, 91, 90}}};
  const std::string table = RunTable(run, {}, Catalog::BuiltIn(), /*colour=*/false);
  EXPECT_THAT(table, HasSubstr(" cuda:0           97.00 TFLOP/s\n"));
  EXPECT_THAT(table,
              HasSubstr(" cuda:3           80.00 TFLOP/s, 1410 MHz, 91 °C, the slowest; all lie "
                        "within 18.6 %; low: 82.5 % of"));
}

TEST(Health, TheBuiltInDataIsSoundAndABadRowIsNamed) {
  EXPECT_GT(BuiltInExpectedOfDevices().size(), 20U);
  for (const ExpectedOfDevice& one : BuiltInExpectedOfDevices()) {
    EXPECT_TRUE(std::ranges::count(Catalog::BuiltIn().devices, one.device, &DeviceFacts::name) == 1)
        << one.device << " is not in devices.csv";
  }
  const std::string header = "device,probe,params,speed,unit,setting,source\n";
  const auto error = [&](const std::string& row) -> std::string {
    try {
      ParseExpectedOfDevices(header + row, "e.csv");
    } catch (const Error& refused) {
      return refused.what();
    }
    return "no error";
  };
  const std::string good = "X100,gemm,dtype=bf16 m=4 n=4 k=4 batch=1,100,TFLOP/s,torch,a.org\n";
  EXPECT_EQ(error(good), "no error");
  EXPECT_THAT(error(good + good), HasSubstr("e.csv, row 2: the same device"));
  const auto read = ParseExpectedOfDevices(
      header + "X100,gemm,dtype=f8e4m3 m=4 n=4 k=4 batch=1,100,TFLOP/s,torch,a.org\n", "e.csv");
  EXPECT_EQ(read.at(0).conditions.at(0).value, "fp8_e4m3");
  EXPECT_THAT(error("X100,gemm,dtype=bf16 m>=4 n=4 k=4 batch=1,100,TFLOP/s,torch,a.org\n"),
              HasSubstr("params lacks m=VALUE"));
  EXPECT_THAT(error("X100,gemm,dtype=bf16 m=4 n=4 batch=1,100,TFLOP/s,torch,a.org\n"),
              HasSubstr("params lacks k=VALUE"));
  EXPECT_THAT(error("X100,attention,dtype=bf16,100,TFLOP/s,torch,a.org\n"),
              HasSubstr("params lacks batch=VALUE"));
  EXPECT_THAT(error("X100,copy,route=peer,100,GB/s,torch,a.org\n"),
              HasSubstr("params lacks bytes>=VALUE"));
  EXPECT_THAT(error("X100,launch,mode=sync,100,GB/s,torch,a.org\n"),
              HasSubstr("probe is 'launch'"));
  EXPECT_THAT(error("X100,gemm,bf16,100,TFLOP/s,torch,a.org\n"), HasSubstr("params has 'bf16'"));
  EXPECT_THAT(error("X100,gemm,m>=4k,100,TFLOP/s,torch,a.org\n"), HasSubstr("no whole number"));
  EXPECT_THAT(error("X100,gemm,dtype=bf16,100,GFLOP/s,torch,a.org\n"), HasSubstr("unit is"));
  EXPECT_THAT(error("X100,gemm,dtype=bf16,,TFLOP/s,torch,a.org\n"), HasSubstr("speed is empty"));
  EXPECT_THAT(error("X100,gemm,dtype=bf16,100,TFLOP/s,torch,hearsay\n"),
              HasSubstr("neither a URL"));
}

}  // namespace
}  // namespace assay
