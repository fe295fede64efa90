#include "kernels/compound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/error.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Takes m seconds, and is off by n millionths where 10 are allowed.
class Scripted : public Workload {
 public:
  Scripted(const Gemm& gemm, std::vector<std::int64_t>& log) : gemm_(gemm), log_(log) {}
  Batch Run(std::int64_t iterations) override {
    for (std::int64_t i = 0; i < iterations; ++i) log_.push_back(gemm_.m);
    const Seconds time = Seconds(static_cast<double>(iterations * gemm_.m));
    return {.time = time, .per_unit = {time, time / 2}, .host = time * 2};
  }
  Checked Verify() override {
    Checked checked = {
        .checked = 100, .max_error = static_cast<double>(gemm_.n) * 1e-6, .tolerance = 1e-5};
    if (gemm_.n > 10) checked.wrong = 1;
    if (gemm_.n > 10) checked.what = "C[0][0]";
    return checked;
  }
  Facts Describe() const override {
    return {{"library", "scripted"}, {"pack_s", static_cast<double>(gemm_.k)}};
  }

 private:
  Gemm gemm_;
  std::vector<std::int64_t>& log_;
};

class ScriptedBackend : public Backend {
 public:
  std::string Name() const override { return "scripted"; }
  std::vector<Device> Devices() override { return {{.name = "cpu", .kind = "cpu"}}; }
  bool Has(const Op&) const override { return true; }
  Prepared Prepare(const Op& op, const Device&, std::uint64_t seed) override {
    seeds.push_back(seed);
    const Gemm& gemm = std::get<Gemm>(op);
    if (gemm.m == 0) return Skipped{.reason = "no memory", .remedy = "buy some"};
    return std::make_unique<Scripted>(gemm, log);
  }
  std::vector<std::int64_t> log = {};
  std::vector<std::uint64_t> seeds = {};
};

TEST(InTurn, AnIterationRunsEachStepOnceInOrderAndAddsTheirTimes) {
  ScriptedBackend backend;
  const Prepared prepared = backend.PrepareInTurn({{.name = "a", .op = Gemm{.m = 1}},
                                                   {.name = "b", .op = Gemm{.m = 2}},
                                                   {.name = "c", .op = Gemm{.m = 4}}},
                                                  {}, 7);
  const auto& workload = std::get<std::unique_ptr<Workload>>(prepared);
  const Batch batch = workload->Run(3);
  EXPECT_THAT(backend.log, ElementsAre(1, 2, 4, 1, 2, 4, 1, 2, 4));
  EXPECT_EQ(batch.time, Seconds(21));
  EXPECT_EQ(batch.host, Seconds(42));
  EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(21), Seconds(10.5)));
  ASSERT_EQ(backend.seeds.size(), 3U);
  EXPECT_NE(backend.seeds[0], backend.seeds[1]);
  EXPECT_NE(backend.seeds[1], backend.seeds[2]);
}

TEST(InTurn, EachStepIsVerifiedAndTheNearestToItsToleranceIsShown) {
  ScriptedBackend backend;
  Prepared prepared = backend.PrepareInTurn({{.name = "a", .op = Gemm{.m = 1, .n = 3}},
                                             {.name = "b", .op = Gemm{.m = 1, .n = 7}},
                                             {.name = "c", .op = Gemm{.m = 1, .n = 5}}},
                                            {}, 7);
  const Checked right = std::get<std::unique_ptr<Workload>>(prepared)->Verify();
  EXPECT_EQ(right.checked, 300);
  EXPECT_EQ(right.wrong, 0);
  EXPECT_DOUBLE_EQ(right.max_error, 7e-6);

  prepared = backend.PrepareInTurn(
      {{.name = "a", .op = Gemm{.m = 1, .n = 3}}, {.name = "b", .op = Gemm{.m = 1, .n = 11}}}, {},
      7);
  const Checked wrong = std::get<std::unique_ptr<Workload>>(prepared)->Verify();
  EXPECT_EQ(wrong.wrong, 1);
  EXPECT_EQ(wrong.what, "b: C[0][0]");
}

TEST(InTurn, FactsThatDifferCarryTheNameOfTheirStep) {
  ScriptedBackend backend;
  const Prepared prepared = backend.PrepareInTurn(
      {{.name = "a", .op = Gemm{.m = 1, .k = 1}}, {.name = "b", .op = Gemm{.m = 1, .k = 2}}}, {},
      7);
  const Facts facts = std::get<std::unique_ptr<Workload>>(prepared)->Describe();
  EXPECT_EQ(facts.size(), 3U);
  EXPECT_EQ(std::get<std::string>(facts.at("library")), "scripted");
  EXPECT_EQ(std::get<double>(facts.at("a.pack_s")), 1);
  EXPECT_EQ(std::get<double>(facts.at("b.pack_s")), 2);
}

TEST(InTurn, OneSkippedStepSkipsAll) {
  ScriptedBackend backend;
  const Prepared prepared = backend.PrepareInTurn(
      {{.name = "a", .op = Gemm{.m = 1}}, {.name = "b", .op = Gemm{.m = 0}}}, {}, 7);
  const Skipped& skipped = std::get<Skipped>(prepared);
  EXPECT_EQ(skipped.reason, "b: no memory");
  EXPECT_EQ(skipped.remedy, "buy some");
}

// Reads 1, 2, 3 … MHz, each second one.
class CountingMeter : public DeviceMeter {
 public:
  explicit CountingMeter(int reads) : reads_(reads) {}
  Telemetry SoFar() override {
    ++reads_;
    return Finish(Seconds(0));
  }
  Telemetry Finish(Seconds from) override {
    Telemetry seen;
    for (int i = 1; i <= reads_; ++i) {
      if (i < from.count()) continue;
      seen.at_s.push_back(i);
      seen.sm_mhz.push_back(i);
      seen.power_w.push_back(100);
    }
    return seen;
  }

 private:
  int reads_;
};

TEST(MeterTogether, WhatCountsBeginsForEachDeviceAtItsOwnReading) {
  std::vector<std::unique_ptr<DeviceMeter>> meters;
  meters.push_back(std::make_unique<CountingMeter>(4));
  meters.push_back(nullptr);
  meters.push_back(std::make_unique<CountingMeter>(9));
  const auto meter = MeterTogether(std::move(meters));
  std::vector<Telemetry> begin = meter->Begin();
  ASSERT_EQ(begin.size(), 2U);
  EXPECT_EQ(begin[0].unit, 0);
  EXPECT_EQ(begin[1].unit, 2);
  EXPECT_THAT(begin[0].sm_mhz, ElementsAre(5));
  EXPECT_THAT(begin[1].sm_mhz, ElementsAre(10));
  begin = meter->Begin();
  EXPECT_THAT(begin[1].sm_mhz, ElementsAre(11)) << "the latest counts";
  for (int i = 0; i < 5; ++i) meter->Trends(Seconds(0));
  const std::vector<std::optional<Fitted>> trends = meter->Trends(Seconds(1));
  ASSERT_EQ(trends.size(), 2U);
  EXPECT_EQ(trends[1]->trend.unit, 2);
  EXPECT_NEAR(trends[0]->trend.per_minute, 60 / 9.5, 1e-9) << "of 7 … 12";
  EXPECT_NEAR(trends[1]->trend.per_minute, 60 / 14.5, 1e-9) << "of 12 … 17";
  const std::vector<Telemetry> seen = meter->Finish(Seconds(5));
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[1].unit, 2);
  EXPECT_THAT(seen[0].sm_mhz, ElementsAre(11, 12));
  EXPECT_THAT(seen[1].sm_mhz, ElementsAre(16, 17));
}

// One of several that run at once: takes `seconds` an iteration, and notes what it does, where.
struct Doing {
  std::mutex mutex = {};
  std::vector<std::string> events = {};
  std::map<std::string, std::set<std::thread::id>> threads = {};  // of each device

  void Note(const std::string& device, const std::string& event) {
    const std::scoped_lock lock(mutex);
    events.push_back(event);
    threads[device].insert(std::this_thread::get_id());
  }
};

struct Manner {
  double seconds = 1;
  bool meets = true;
  std::string error = {};  // thrown by Run before it meets anybody
  std::int64_t wrong = 0;
  bool lost_at_check = false;
  std::string skipped = {};
};

class One : public Workload {
 public:
  One(std::string device, Manner manner, Doing& doing)
      : device_(std::move(device)), manner_(std::move(manner)), doing_(doing) {
    doing_.Note(device_, "prepare");
  }
  ~One() override { doing_.Note(device_, "release"); }
  bool BeginTogether(std::function<void()> meet) override {
    if (manner_.meets) meet_ = std::move(meet);
    return manner_.meets;
  }
  Batch Run(std::int64_t iterations) override {
    if (!manner_.error.empty()) throw Error(manner_.error);
    doing_.Note(device_, "ready");
    if (meet_) meet_();
    if (meet_) meet_();
    doing_.Note(device_, "begin");
    const Seconds time = Seconds(manner_.seconds * static_cast<double>(iterations));
    return {.time = time, .host = time * 2};
  }
  Checked Verify() override {
    if (manner_.lost_at_check) throw Error("the device is lost");
    doing_.Note(device_, "verify");
    Checked checked = {.checked = 10, .wrong = manner_.wrong, .tolerance = 1};
    if (manner_.wrong > 0) checked.what = "C[0][0]";
    return checked;
  }
  Facts Describe() const override {
    return {{"library", "scripted"}, {"algorithm", static_cast<std::int64_t>(manner_.seconds)}};
  }

 private:
  std::string device_;
  Manner manner_;
  Doing& doing_;
  std::function<void()> meet_ = {};
};

Prepared OnDevices(const std::vector<Manner>& manners, Doing& doing,
                   std::vector<std::uint64_t>* seeds = nullptr) {
  std::vector<Device> devices;
  for (int i = 0; i < static_cast<int>(manners.size()); ++i) {
    devices.push_back({.name = "gpu:" + std::to_string(i), .kind = "gpu", .index = i});
  }
  return PrepareTogether(
      devices,
      [&](const Device& device, std::uint64_t seed) -> Prepared {
        if (seeds != nullptr) seeds->push_back(seed);
        const Manner& manner = manners.at(static_cast<std::size_t>(device.index));
        if (!manner.skipped.empty()) return Skipped{.reason = manner.skipped, .remedy = "wait"};
        return std::make_unique<One>(device.name, manner, doing);
      },
      7);
}

TEST(Together, ABatchLastsAsLongAsItsSlowestDevice) {
  Doing doing;
  std::vector<std::uint64_t> seeds;
  const Prepared prepared =
      OnDevices({{.seconds = 1}, {.seconds = 3}, {.seconds = 2}}, doing, &seeds);
  const auto& workload = std::get<std::unique_ptr<Workload>>(prepared);
  const Batch batch = workload->Run(4);
  EXPECT_EQ(batch.time, Seconds(12));
  EXPECT_EQ(batch.host, Seconds(24));
  EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(4), Seconds(12), Seconds(8)));
  EXPECT_EQ(std::set(seeds.begin(), seeds.end()).size(), 3U) << "they have the same inputs";
}

TEST(Together, NobodyBeginsBeforeAllAreReady) {
  for (const bool last_meets : {true, false}) {
    Doing doing;
    const Prepared prepared = OnDevices({{}, {}, {}, {.meets = last_meets}}, doing);
    const auto& workload = std::get<std::unique_ptr<Workload>>(prepared);
    for (int batch = 0; batch < 50; ++batch) {
      doing.events.clear();
      workload->Run(1);
      if (!last_meets) continue;  // they begin with Run then
      EXPECT_THAT(doing.events, ElementsAre("ready", "ready", "ready", "ready", "begin", "begin",
                                            "begin", "begin"));
    }
  }
}

TEST(Together, EachDeviceHasAThreadOfItsOwnFromFirstToLast) {
  Doing doing;
  {
    const Prepared prepared = OnDevices({{}, {}}, doing);
    const auto& workload = std::get<std::unique_ptr<Workload>>(prepared);
    workload->Run(1);
    workload->Verify();
  }
  EXPECT_EQ(std::ranges::count(doing.events, "release"), 2);
  ASSERT_EQ(doing.threads.size(), 2U);
  EXPECT_EQ(doing.threads["gpu:0"].size(), 1U);
  EXPECT_EQ(doing.threads["gpu:1"].size(), 1U);
  EXPECT_NE(doing.threads["gpu:0"], doing.threads["gpu:1"]);
}

TEST(Together, ADeviceThatFailsIsNamedAndLeavesNobodyWaiting) {
  Doing doing;
  const Prepared prepared = OnDevices({{}, {.error = "the device is lost"}, {}}, doing);
  const auto& workload = std::get<std::unique_ptr<Workload>>(prepared);
  for (int batch = 0; batch < 2; ++batch) {
    try {
      workload->Run(1);
      FAIL() << "a time was made of it";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "gpu:1: the device is lost");
    }
  }
}

TEST(Together, EachDeviceIsVerifiedAndAWrongOneNamed) {
  Doing doing;
  const Prepared prepared = OnDevices({{}, {}, {.wrong = 2}}, doing);
  const Checked checked = std::get<std::unique_ptr<Workload>>(prepared)->Verify();
  EXPECT_EQ(checked.checked, 30);
  EXPECT_EQ(checked.wrong, 2);
  EXPECT_EQ(checked.what, "gpu:2: C[0][0]");
}

TEST(Together, ADeviceWhoseCheckFailsIsNamed) {
  Doing doing;
  const Prepared prepared = OnDevices({{}, {.lost_at_check = true}}, doing);
  try {
    std::get<std::unique_ptr<Workload>>(prepared)->Verify();
    FAIL() << "a lost device was verified";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "gpu:1: the device is lost");
  }
}

TEST(Work, ATotalThatDoesNotFitIsAnError) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(TotalOf({{.flops = kMost - 1}, {.flops = 1}}).flops, kMost);
  EXPECT_THROW(TotalOf({{.flops = kMost}, {.flops = 1}}), Error);
  EXPECT_THROW(TotalOf({{.bytes = 1}, {.bytes = kMost}}), Error);
}

TEST(Together, FactsThatDifferCarryTheNameOfTheirDevice) {
  Doing doing;
  const Prepared prepared = OnDevices({{.seconds = 1}, {.seconds = 2}}, doing);
  const Facts facts = std::get<std::unique_ptr<Workload>>(prepared)->Describe();
  EXPECT_EQ(facts.size(), 3U);
  EXPECT_EQ(std::get<std::string>(facts.at("library")), "scripted");
  EXPECT_EQ(std::get<std::int64_t>(facts.at("gpu:1.algorithm")), 2);
}

TEST(Together, OneSkippedDeviceSkipsAll) {
  Doing doing;
  const Prepared prepared = OnDevices({{}, {.skipped = "no memory"}}, doing);
  EXPECT_EQ(std::get<Skipped>(prepared).reason, "gpu:1: no memory");
  EXPECT_EQ(std::ranges::count(doing.events, "release"), 1) << "the other was kept";
}

}  // namespace
}  // namespace assay
