#include "runner/core/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>
#include <set>

#include "results/base/error.h"
#include "tests/fake.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// Sleeping moves the scripted clock on, and is summed up.
std::function<void(Seconds)> SleepOn(FakeLog& log, Seconds& slept) {
  return [&](Seconds time) {
    log.now += time;
    slept += time;
  };
}

// One agreeing warm-up batch, then two samples.
EngineOptions Brief(FakeLog& log) {
  return {.rounds = 2, .min_samples = 2, .min_visit = Seconds(0), .now = log.Clock()};
}

std::vector<Record> MeasureQuietly(const std::vector<Case>& cases, const EngineOptions& options) {
  Observer nobody;
  return Measure(cases, options, nobody);
}

std::string TemporaryPath(const std::string& name) {
  return (std::filesystem::temp_directory_path() / (name + std::to_string(getpid()))).string();
}

TEST(Engine, TheScriptedSamplesComeBackExactly) {
  FakeLog log;
  const std::vector<Record> records =
      MeasureQuietly({FakeCase("a",
                               {{.iteration_s = {0.010, 0.010, 0.011, 0.012}},
                                {.iteration_s = {0.020, 0.020, 0.021, 0.022}}},
                               log)},
                     Brief(log));
  ASSERT_THAT(records, SizeIs(1));
  const Record& record = records[0];
  EXPECT_EQ(record.status, Status::kOk);
  EXPECT_TRUE(record.complete);
  EXPECT_EQ(record.stopped, "rounds");
  EXPECT_EQ(record.backend, "script");
  ASSERT_THAT(record.rounds, SizeIs(2));
  EXPECT_THAT(record.rounds[0].time_s, ElementsAre(0.011, 0.012));
  EXPECT_THAT(record.rounds[1].time_s, ElementsAre(0.021, 0.022));
  EXPECT_DOUBLE_EQ(record.rounds[0].start_s, 0);
  EXPECT_DOUBLE_EQ(record.rounds[1].start_s, 0.010 + 0.010 + 0.011 + 0.012);
}

// Tells no temperatures.
class FakeMeter : public Meter {
 public:
  std::vector<Telemetry> Begin() override {
    return {{.at_s = {0}, .sm_mhz = {2}, .power_w = {4}},
            {.unit = 2, .at_s = {0}, .sm_mhz = {2}, .power_w = {4}}};
  }
  std::vector<std::optional<Fitted>> Trends(Seconds) override { return {}; }
  std::vector<Telemetry> Finish(Seconds) override {
    return {{.at_s = {0, 0.5}, .sm_mhz = {2, 3}, .power_w = {4, 5}},
            {.unit = 2, .at_s = {0, 0.5}, .sm_mhz = {2, 3}, .power_w = {4, 5}}};
  }
};

TEST(Engine, AMeterReadsBesideTheSamplesAndItsTimesAreTheRuns) {
  FakeLog log;
  Case metered = FakeCase("a", {{.iteration_s = {0.010, 0.010, 0.011, 0.012}}}, log);
  metered.meter = [] { return std::make_unique<FakeMeter>(); };
  const std::vector<Record> records = MeasureQuietly({metered}, Brief(log));
  ASSERT_THAT(records[0].rounds, SizeIs(2));
  const Visit& second = records[0].rounds[1];
  ASSERT_THAT(second.telemetry, SizeIs(2));
  EXPECT_EQ(second.telemetry[0].unit, 0);
  EXPECT_EQ(second.telemetry[1].unit, 2);
  EXPECT_THAT(second.telemetry[0].power_w, ElementsAre(4, 5));
  // After the first iteration, which is verified and not metered.
  EXPECT_DOUBLE_EQ(second.telemetry[0].at_s[0], second.start_s + 0.010);
  EXPECT_DOUBLE_EQ(second.telemetry[0].at_s[1], second.start_s + 0.510);
  metered.meter = {};
  EXPECT_THAT(MeasureQuietly({metered}, Brief(log))[0].rounds[0].telemetry, IsEmpty());
}

Case Metered(Case which, FakeLog& log, const std::vector<ScriptedMeter::Gpu>& gpus) {
  which.meter = [&log, gpus] { return std::make_unique<ScriptedMeter>(log.Clock(), gpus); };
  return which;
}
Case Metered(Case which, FakeLog& log, const ScriptedMeter::Of& celsius) {
  return Metered(std::move(which), log, {{.celsius = celsius}});
}

TEST(Engine, ADeviceRestsBeforeABurstUntilItIsNearlyIdle) {
  FakeLog log;
  // 40 degrees, then in each visit a jump to 60 from which it falls by 5 a second at rest.
  double hot_at_s = -100;
  const auto celsius = [&](double now_s) {
    return std::max(40.0, 60 - 5 * std::max(0.0, now_s - hot_at_s));
  };
  Case burst = Metered(FakeCase("a", {{.iteration_s = {0.010}}}, log), log, celsius);
  burst.prepare = [&, prepare = burst.prepare](std::uint64_t seed) {
    hot_at_s = log.now.count();
    return prepare(seed);
  };
  EngineOptions options = Brief(log);
  Seconds slept = {};
  options.sleep = [&](Seconds time) {
    log.events.push_back("sleep");
    SleepOn(log, slept)(time);
  };
  const std::vector<Record> records = MeasureQuietly({burst}, options);
  ASSERT_THAT(records[0].rounds, SizeIs(2));
  EXPECT_NEAR(slept.count(), 2 * (60 - 43) / 5.0, 2 * 0.1);
  const Telemetry& seen = records[0].rounds[1].telemetry.at(0);
  EXPECT_LE(seen.temperature_c.front(), 43) << "the first reading is what it started from";
  EXPECT_GT(seen.temperature_c.front(), 42);
  EXPECT_GE(seen.at_s.front(), records[0].rounds[1].start_s + (60 - 43) / 5.0);
  EXPECT_EQ(std::vector(log.events.begin(), log.events.begin() + 4),
            (std::vector<std::string>{"prepare", "run 1", "verify", "sleep"}));
}

TEST(Engine, ARestLastsTenSecondsAtMostAndOnlyWhereATemperatureIsRead) {
  FakeLog log;
  const auto stays_hot = [](double now_s) { return now_s > 0 ? 70.0 : 40.0; };
  EngineOptions options = Brief(log);
  options.rounds = 1;
  Seconds slept = {};
  options.sleep = SleepOn(log, slept);
  MeasureQuietly({Metered(FakeCase("a", {Script{}}, log), log, stays_hot)}, options);
  EXPECT_NEAR(slept.count(), 10, 0.2);
  slept = {};
  log.now = Seconds(0);
  options.rest = Seconds(2);
  MeasureQuietly({Metered(FakeCase("a", {Script{}}, log), log, stays_hot)}, options);
  EXPECT_NEAR(slept.count(), 2, 0.2);
  slept = {};
  log.now = Seconds(0);
  MeasureQuietly({Metered(FakeCase("idle", {Script{}}, log), log, [](double) { return 42.0; })},
                 options);
  Case unread = FakeCase("unread", {Script{}}, log);
  unread.meter = [] { return std::make_unique<FakeMeter>(); };
  MeasureQuietly({unread, FakeCase("unmetered", {Script{}}, log)}, options);
  EXPECT_EQ(slept, Seconds(0));
}

TEST(Engine, WhatDevicesAreLikeWhenIdleIsReadOnceForAllTheirCases) {
  FakeLog log;
  std::map<std::string, int> made;
  const auto on = [&](const std::string& name, const std::string& backend,
                      const std::vector<int>& devices, double idle_celsius) {
    Case which = FakeCase(name, {Script{}}, log);
    which.backend = backend;
    which.device.kind = "gpu";
    which.units.clear();
    for (const int device : devices) which.units.push_back({.device = device});
    const auto celsius = [=](double now_s) { return idle_celsius + (now_s > 0 ? 5 : 0); };
    which.meter = [&, name, gpus = std::vector<ScriptedMeter::Gpu>(devices.size(), {celsius})] {
      ++made[name];
      return std::make_unique<ScriptedMeter>(log.Clock(), gpus);
    };
    return which;
  };
  Case unmetered = on("unmetered", "fake", {0, 1}, 0);
  unmetered.meter = {};
  EngineOptions options = Brief(log);
  options.rounds = 1;
  Seconds slept = {};
  options.sleep = SleepOn(log, slept);
  log.now = Seconds(0);
  MeasureQuietly({unmetered, on("gemm", "fake", {0, 1}, 40), on("memory", "fake too", {0, 1}, 40),
                  on("one", "fake too", {1}, 80), on("other", "fake", {1}, 80)},
                 options);
  EXPECT_EQ(made,
            (std::map<std::string, int>{{"gemm", 2}, {"memory", 1}, {"one", 2}, {"other", 1}}))
      << "each once for its visit, and one of each set before";
  EXPECT_NEAR(slept.count(), 4 * 10, 0.5) << "each is held against what its own devices were";
}

TEST(Engine, ASustainedVisitHeatsUpAndCountsTheLastHalfAlone) {
  FakeLog log;
  // It never rests: the clock falls to 1600 MHz in 100 s.
  const auto mhz = [](double now_s) { return 2000 - 4 * std::min(now_s, 100.0); };
  Case sustained =
      Metered(FakeCase("a", {{.iteration_s = {0.6}}}, log), log,
              {{.celsius = [](double now_s) { return 40 + std::min(now_s, 30.0); }, .mhz = mhz}});
  sustained.sustained = true;
  sustained.here = std::make_shared<Case>(FakeCase("bound", {{.iteration_s = {0.004}}}, log));
  EngineOptions options = Brief(log);
  options.rounds = 1;
  options.max_case = Seconds(1);
  options.sleep = [](Seconds) { FAIL() << "what is sustained needs no rest"; };
  const std::vector<Record> records = MeasureQuietly({sustained}, options);
  ASSERT_THAT(records[0].rounds, SizeIs(1));
  EXPECT_TRUE(records[0].complete);
  const Visit& visit = records[0].rounds[0];
  ASSERT_TRUE(visit.sustained);
  EXPECT_EQ(visit.sustained->ended, "steady");
  EXPECT_GT(visit.sustained->heated_s, 95) << "until the clock came to rest";
  ASSERT_THAT(visit.sustained->drift, SizeIs(3));
  EXPECT_EQ(visit.sustained->drift[2].of, "temperature_c");
  ASSERT_THAT(visit.sustained->start, SizeIs(1));
  EXPECT_THAT(visit.sustained->start[0].at_s, SizeIs(1));
  EXPECT_LT(visit.sustained->start[0].temperature_c.at(0), 42);
  EXPECT_GT(visit.sustained->start[0].sm_mhz.at(0), 1990);
  const Telemetry& seen = visit.telemetry.at(0);
  EXPECT_GE(seen.at_s.front(), visit.start_s + visit.sustained->heated_s);
  EXPECT_NEAR(seen.at_s.back() - seen.at_s.front(), visit.sustained->counted_s, 1);
  EXPECT_THAT(seen.sm_mhz, Each(::testing::Lt(1625)));
  EXPECT_THAT(visit.here_time_s, SizeIs(3)) << "when it was hot";
}

TEST(Engine, SustainedCasesComeLastInEachRoundAndTheirTimeIsTheirOwn) {
  FakeLog log;
  std::vector<Case> cases;
  for (int i = 0; i < 6; ++i) {
    cases.push_back(FakeCase(std::to_string(i), {{.iteration_s = {0.05}}}, log));
    cases.back().sustained = i < 3;
  }
  EngineOptions options = Brief(log);
  options.rounds = 4;
  options.max_case = Seconds(1);
  options.sustain = Seconds(5);
  const std::vector<Record> records = MeasureQuietly(cases, options);
  std::set<int> first_orders;
  for (std::size_t i = 0; i < records.size(); ++i) {
    ASSERT_THAT(records[i].rounds, SizeIs(4));
    for (const Visit& visit : records[i].rounds) {
      EXPECT_EQ(visit.order > 3, i < 3);
      EXPECT_EQ(visit.sustained.has_value(), i < 3);
      if (!visit.sustained) continue;
      EXPECT_EQ(visit.sustained->least_s, 5);
      EXPECT_GE(visit.sustained->heated_s + visit.sustained->counted_s, 5);
      if (i == 0) first_orders.insert(visit.order);
    }
  }
  EXPECT_GT(first_orders.size(), 1U) << "in random order among themselves";
}

// Two groups, of which the second takes twice as long.
class PartsWorkload : public Workload {
 public:
  explicit PartsWorkload(bool forgets = false) : forgets_(forgets) {}
  Batch Run(std::int64_t iterations) override {
    Batch batch = {.time = Seconds(0.02) * iterations};
    batch.parts = {{.time = batch.time / 2, .per_unit = {batch.time / 4, batch.time / 2}},
                   {.time = batch.time, .per_unit = {batch.time, batch.time}}};
    if (forgets_) batch.parts.clear();
    return batch;
  }
  Checked Verify() override { return {.checked = 1}; }
  Facts Describe() const override {
    return {{"0/form", "fast"}, {"1/form", "slow"}, {"1/more", true}};
  }
  std::map<std::string, Histogram> Histograms() const override {
    return {{"0/latency_s", {.counts = {{7, 1}}}}, {"1/latency_s", {.counts = {{9, 1}}}}};
  }

 private:
  bool forgets_;
};

TEST(Engine, ACaseWithPartsGivesARecordForEach) {
  FakeLog log;
  Case one = FakeCase("a", {Script{}}, log);
  one.parts = {{.params = {{"group", std::int64_t{0}}}, .work = {.bytes = 8}, .units = {{}, {}}},
               {.params = {{"group", std::int64_t{1}}}, .work = {.bytes = 16}, .units = {{}, {}}}};
  one.prepare = [](std::uint64_t) { return std::make_unique<PartsWorkload>(); };
  EngineOptions options = Brief(log);
  options.rounds = 2;
  const std::vector<Record> records = MeasureQuietly({one}, options);
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[1].params.at("group"), Value(std::int64_t{1}));
  EXPECT_EQ(records[1].work.bytes, 16);
  ASSERT_THAT(records[0].rounds, SizeIs(2));
  ASSERT_THAT(records[1].rounds, SizeIs(2));
  EXPECT_DOUBLE_EQ(records[0].rounds[1].time_s[0], 0.01);
  EXPECT_DOUBLE_EQ(records[1].rounds[1].time_s[0], 0.02);
  EXPECT_DOUBLE_EQ(records[0].rounds[1].unit_p50_s[0], 0.005);
  EXPECT_EQ(records[0].rounds[1].order, records[1].rounds[1].order);
  EXPECT_EQ(records[0].facts, (Facts{{"form", "fast"}}));
  EXPECT_EQ(records[1].facts, (Facts{{"form", "slow"}, {"more", true}}));
  EXPECT_TRUE(records[1].complete);

  one.prepare = [](std::uint64_t) { return std::make_unique<PartsWorkload>(/*forgets=*/true); };
  EXPECT_EQ(MeasureQuietly({one}, options)[1].status, Status::kFailed);
}

TEST(Engine, AVisitPreparesVerifiesWarmsUpTimesVerifiesAndReleases) {
  FakeLog log;
  EngineOptions options = Brief(log);
  options.rounds = 1;
  const std::vector<Record> records = MeasureQuietly({FakeCase("a", {Script{}}, log)}, options);
  EXPECT_THAT(log.events, ElementsAre("prepare", "run 1", "verify", "run 1", "run 1", "run 1",
                                      "verify", "release"));
  ASSERT_TRUE(records[0].verify);
  EXPECT_EQ(records[0].verify->when, "timed");
  EXPECT_EQ(records[0].verify->round, 1);
  EXPECT_EQ(records[0].verify->checked, 100);
}

TEST(Engine, AWrongFirstAnswerIsNeverTimed) {
  FakeLog log;
  const std::vector<Record> records =
      MeasureQuietly({FakeCase("a", {{.wrong_at_verify = 1}}, log)}, Brief(log));
  EXPECT_EQ(records[0].status, Status::kWrong);
  EXPECT_EQ(records[0].verify->when, "first");
  EXPECT_THAT(records[0].reason, HasSubstr("element (3, 5) is 2, should be 1"));
  EXPECT_THAT(log.events, ElementsAre("prepare", "run 1", "verify", "release"));
}

TEST(Engine, AWrongTimedAnswerLosesTheRoundsBeforeItToo) {
  FakeLog log;
  const std::vector<Record> records =
      MeasureQuietly({FakeCase("a", {Script{}, {.wrong_at_verify = 2}}, log)}, Brief(log));
  EXPECT_EQ(records[0].status, Status::kWrong);
  EXPECT_EQ(records[0].verify->when, "timed");
  EXPECT_EQ(records[0].verify->round, 2);
  EXPECT_THAT(records[0].rounds, IsEmpty());
  EXPECT_THAT(records[0].histograms, IsEmpty());
  EXPECT_FALSE(records[0].complete);
}

TEST(Engine, ASoakGoesOnUntilItsTimeIsOver) {
  FakeLog log;
  EngineOptions options = Brief(log);
  options.duration = Seconds(0.99);
  // A visit takes four iterations of 10 ms.
  const std::vector<Record> records =
      MeasureQuietly({FakeCase("a", {{.iteration_s = {0.010}}}, log)}, options);
  EXPECT_EQ(records[0].status, Status::kOk);
  EXPECT_TRUE(records[0].complete);
  EXPECT_EQ(records[0].stopped, "time");
  EXPECT_THAT(records[0].rounds, SizeIs(25));
  for (const Visit& visit : records[0].rounds) EXPECT_THAT(visit.time_s, SizeIs(2));
  EXPECT_EQ(records[0].verify->checked, 25 * 100) << "of all rounds";
}

TEST(Engine, ASoakCountsEveryWrongElementAndGivesNoRate) {
  FakeLog log;
  EngineOptions options = Brief(log);
  options.duration = Seconds(0.99);
  const Script wrong = {.iteration_s = {0.010}, .wrong_at_verify = 2};
  const Script right = {.iteration_s = {0.010}};
  const std::vector<Record> records =
      MeasureQuietly({FakeCase("a", {right, wrong, right, wrong, right}, log)}, options);
  EXPECT_EQ(records[0].status, Status::kWrong);
  EXPECT_THAT(records[0].rounds, IsEmpty());
  ASSERT_TRUE(records[0].verify);
  EXPECT_EQ(records[0].verify->wrong, 2);
  EXPECT_EQ(records[0].verify->checked, 25 * 100);
  EXPECT_THAT(records[0].reason, HasSubstr("2 of 2500 checked elements are wrong: element (3, 5)"));
  EXPECT_EQ(records[0].stopped, "time");
}

TEST(Engine, ADeviceLostMidwayKeepsTheReason) {
  FakeLog log;
  Script lost = {.throws_at_run = 3};
  const std::vector<Record> records = MeasureQuietly(
      {FakeCase("lost at once", {lost}, log), FakeCase("lost later", {Script{}, lost}, log),
       FakeCase("sound", {Script{}}, log)},
      Brief(log));
  EXPECT_EQ(records[0].status, Status::kFailed);
  EXPECT_EQ(records[0].reason, "the device is lost; restart the driver");
  EXPECT_THAT(records[0].rounds, IsEmpty());
  EXPECT_EQ(records[1].status, Status::kPartial);
  EXPECT_EQ(records[1].reason, "the device is lost; restart the driver");
  EXPECT_THAT(records[1].rounds, SizeIs(1));
  EXPECT_FALSE(records[1].complete);
  EXPECT_EQ(records[2].status, Status::kOk);
  EXPECT_THAT(records[2].rounds, SizeIs(2));
}

TEST(Engine, RunningOutOfMemoryIsAFailureOfThatCaseAlone) {
  FakeLog log;
  Case greedy = FakeCase("greedy", {Script{}}, log);
  greedy.prepare = [](std::uint64_t) -> Prepared { throw std::bad_alloc(); };
  const std::vector<Record> records =
      MeasureQuietly({greedy, FakeCase("sound", {Script{}}, log)}, Brief(log));
  EXPECT_EQ(records[0].status, Status::kFailed);
  EXPECT_THAT(records[0].reason, HasSubstr("not enough memory"));
  EXPECT_EQ(records[1].status, Status::kOk);
}

TEST(Engine, ASkippedCaseIsAskedOnceAndKeepsReasonAndRemedy) {
  FakeLog log;
  int asked = 0;
  Case skipped = FakeCase("a", {Script{}}, log);
  skipped.prepare = [&](std::uint64_t) -> Prepared {
    ++asked;
    return Skipped{"no native bf16 dot", "run it on a newer core"};
  };
  const std::vector<Record> records = MeasureQuietly({skipped}, Brief(log));
  EXPECT_EQ(records[0].status, Status::kSkipped);
  EXPECT_EQ(records[0].reason, "no native bf16 dot");
  EXPECT_EQ(records[0].remedy, "run it on a newer core");
  EXPECT_EQ(asked, 1);
}

TEST(Engine, EachRoundVisitsTheCasesInAFreshOrderOfItsSeed) {
  const auto orders_of = [](std::uint64_t seed) {
    FakeLog log;
    std::vector<Case> cases;
    for (int i = 0; i < 8; ++i) cases.push_back(FakeCase(std::to_string(i), {Script{}}, log));
    EngineOptions options = Brief(log);
    options.rounds = 3;
    options.seed = seed;
    std::vector<std::vector<int>> orders(3);
    for (const Record& record : MeasureQuietly(cases, options)) {
      for (std::size_t round = 0; round < 3; ++round) {
        orders[round].push_back(record.rounds[round].order);
      }
    }
    return orders;
  };
  const std::vector<std::vector<int>> orders = orders_of(7);
  EXPECT_EQ(std::set(orders.begin(), orders.end()).size(), 3U);
  for (std::vector<int> order : orders) {
    std::sort(order.begin(), order.end());
    EXPECT_THAT(order, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  }
  EXPECT_EQ(orders_of(7), orders);
  EXPECT_NE(orders_of(8), orders);
}

TEST(Engine, AFixedCountGoesThroughTheCasesInTheirOrder) {
  FakeLog log;
  std::vector<Case> cases;
  for (int i = 0; i < 12; ++i) cases.push_back(FakeCase(std::string(1, char('a' + i)), {{}}, log));
  struct Order : Observer {
    void VisitBegins(const Case& which, int, int, int) override {
      names += StringOf(which.params, "name");
    }
    std::string names;
  } order;
  EngineOptions options = Brief(log);
  options.fixed = FixedCount{.warm_up = 1, .iterations = 5};
  const std::vector<Record> records = Measure(cases, options, order);
  EXPECT_EQ(order.names, "abcdefghijklabcdefghijkl");
  for (const Record& record : records) {
    ASSERT_THAT(record.rounds, SizeIs(2));
    EXPECT_EQ(record.rounds[0].batch, 5);
    EXPECT_THAT(record.rounds[0].time_s, SizeIs(1));
    EXPECT_TRUE(record.complete);
  }
}

TEST(Engine, EachVisitHasASeedOfItsOwnThatOtherCasesDoNotChange) {
  const auto seeds_of = [](const std::string& name, bool with_other) {
    FakeLog log;
    std::vector<std::uint64_t> seeds;
    Case which = FakeCase(name, {Script{}}, log);
    which.prepare = [&seeds, prepare = which.prepare](std::uint64_t seed) {
      seeds.push_back(seed);
      return prepare(seed);
    };
    std::vector<Case> cases = {which};
    if (with_other) cases.insert(cases.begin(), FakeCase("other", {Script{}}, log));
    MeasureQuietly(cases, Brief(log));
    return seeds;
  };
  const std::vector<std::uint64_t> seeds = seeds_of("a", false);
  ASSERT_THAT(seeds, SizeIs(2));
  EXPECT_NE(seeds[0], seeds[1]);
  EXPECT_EQ(seeds_of("a", true), seeds);
  EXPECT_NE(seeds_of("b", false), seeds);
}

TEST(Engine, AStoppedRunKeepsWhatIsWholeAndSaysWhy) {
  FakeLog log;
  struct Counter : Observer {
    void VisitEnds(const Record&, int) override { ++ended; }
    int ended = 0;
  } counter;
  EngineOptions options = Brief(log);
  options.rounds = 5;
  // Two visits are whole; the third is cut short after its first warm-up batch.
  std::size_t runs_after = 0;
  options.stop = [&]() -> std::optional<std::string> {
    if (counter.ended == 2 && ++runs_after > 2) return "cost";
    return std::nullopt;
  };
  const std::vector<Record> records =
      Measure({FakeCase("a", {Script{}}, log), FakeCase("b", {Script{}}, log),
               FakeCase("c", {Script{}}, log)},
              options, counter);
  EXPECT_EQ(counter.ended, 2);
  int whole = 0;
  for (const Record& record : records) {
    EXPECT_EQ(record.stopped, "cost");
    EXPECT_FALSE(record.complete);
    whole += static_cast<int>(record.rounds.size());
    if (record.rounds.empty()) {
      EXPECT_EQ(record.status, Status::kSkipped);
      EXPECT_THAT(record.reason, HasSubstr("cost"));
    } else {
      EXPECT_EQ(record.status, Status::kOk);
    }
  }
  EXPECT_EQ(whole, 2);
}

TEST(Engine, AVisitCutShortIsNotKeptAndTakesNothingFromTheRoundsBeforeIt) {
  FakeLog log;
  EngineOptions options = Brief(log);
  // Not before the second visit has begun to warm up.
  options.stop = [&]() -> std::optional<std::string> {
    if (log.events.size() < 12) return std::nullopt;
    return "interrupted";
  };
  const std::vector<Record> records = MeasureQuietly({FakeCase("a", {Script{}}, log)}, options);
  EXPECT_EQ(std::count(log.events.begin(), log.events.end(), "prepare"), 2);
  EXPECT_EQ(records[0].status, Status::kOk);
  EXPECT_THAT(records[0].rounds, SizeIs(1));
  EXPECT_EQ(records[0].stopped, "interrupted");
  EXPECT_FALSE(records[0].complete);
}

TEST(Engine, UntilCiStopsASteadyCaseAtFiveRoundsAndGoesOnWithAnUnsteadyOne) {
  FakeLog log;
  std::vector<Script> unsteady;
  for (int round = 0; round < 20; ++round) {
    unsteady.push_back({.iteration_s = {round % 2 == 0 ? 0.010 : 0.015}});
  }
  EngineOptions options = Brief(log);
  options.rounds = 3;
  options.until_ci = true;
  const std::vector<Record> records = MeasureQuietly(
      {FakeCase("steady", {Script{}}, log), FakeCase("unsteady", unsteady, log)}, options);
  EXPECT_EQ(records[0].stopped, "ci");
  EXPECT_THAT(records[0].rounds, SizeIs(5));
  EXPECT_EQ(records[1].stopped, "rounds");
  EXPECT_THAT(records[1].rounds, SizeIs(20));
  EXPECT_TRUE(records[1].complete);
}

TEST(Engine, UntilCiEndsWhenTheTimeOfTheCaseIsGone) {
  FakeLog log;
  EngineOptions options = Brief(log);
  options.until_ci = true;
  options.max_case = Seconds(1);
  const std::vector<Record> records = MeasureQuietly(
      {FakeCase("a", {{.iteration_s = {0.2}}, {.iteration_s = {0.4}}, {.iteration_s = {0.2}}},
                log)},
      options);
  EXPECT_EQ(records[0].stopped, "time");
  EXPECT_TRUE(records[0].complete);
}

TEST(Engine, TimeGoesToRoundsBeforeSamples) {
  FakeLog log;
  EngineOptions options = Brief(log);
  options.rounds = 5;
  options.min_samples = 10;
  options.max_case = Seconds(10);  // ten samples a visit alone would take 30 s
  const std::vector<Record> records =
      MeasureQuietly({FakeCase("slow", {{.iteration_s = {0.6}}}, log)}, options);
  ASSERT_THAT(records[0].rounds, SizeIs(5));
  EXPECT_THAT(records[0].rounds[0].time_s, SizeIs(3));
  EXPECT_TRUE(records[0].complete);
  EXPECT_LT(log.now.count(), 12);
}

TEST(Engine, TheCompanionIsSampledBeforeAndAfter) {
  FakeLog log;
  FakeLog other;
  Case which = FakeCase("a", {Script{}}, log);
  // The first run, one warm-up batch and 3 samples or more on either side.
  which.here = std::make_shared<Case>(FakeCase("bound", {{.iteration_s = {0.004}}}, other));
  EngineOptions options = Brief(log);
  const std::vector<Record> records = MeasureQuietly({which}, options);
  ASSERT_TRUE(records[0].here);
  EXPECT_EQ(StringOf(records[0].here->params, "name"), "bound");
  ASSERT_THAT(records[0].rounds, SizeIs(2));
  for (const Visit& visit : records[0].rounds) {
    EXPECT_THAT(visit.here_time_s, AllOf(SizeIs(6), Each(0.004)));
    EXPECT_THAT(visit.time_s, Each(1e-3));
  }
}

TEST(Engine, ACompanionThatFailsIsAbsentAndDoesNoHarm) {
  FakeLog log;
  for (const Script& script :
       {Script{.throws_at_run = 2}, Script{.wrong_at_verify = 1}, Script{.skipped = {"no", "x"}}}) {
    Case which = FakeCase("a", {Script{}}, log);
    which.here = std::make_shared<Case>(FakeCase("bound", {script}, log));
    const std::vector<Record> records = MeasureQuietly({which}, Brief(log));
    EXPECT_EQ(records[0].status, Status::kOk);
    EXPECT_FALSE(records[0].here);
    EXPECT_THAT(records[0].rounds, SizeIs(2));
  }
}

TEST(Engine, FactsAreTheLastVisitsAndHistogramsAddUp) {
  FakeLog log;
  const std::vector<Record> records = MeasureQuietly(
      {FakeCase(
          "a",
          {{.facts = {{"threads", std::int64_t{1}}}}, {.facts = {{"threads", std::int64_t{2}}}}},
          log)},
      Brief(log));
  EXPECT_EQ(std::get<std::int64_t>(records[0].facts.at("threads")), 2);
  // Two samples of one iteration in each of two rounds.
  EXPECT_THAT(records[0].histograms.at("latency_s").counts, ElementsAre(std::pair(7, 4)));
}

TEST(Engine, WorkThatOnlyTheWorkloadKnowsTakesThePlaceOfTheCases) {
  FakeLog log;
  const std::vector<Record> records = MeasureQuietly(
      {FakeCase("a", {{.work = Work{.flops = 7}}}, log), FakeCase("b", {Script{}}, log),
       FakeCase("c", {{.skipped = {"no", "x"}, .work = Work{.flops = 7}}}, log)},
      Brief(log));
  EXPECT_EQ(records[0].work.flops, 7);
  EXPECT_EQ(records[1].work.flops, 1'000'000'000);
  EXPECT_EQ(records[2].work.flops, 1'000'000'000);
}

TEST(Engine, ObserversHearOfEachVisitWithItsRoundLast) {
  FakeLog log;
  struct Heard : Observer {
    void VisitBegins(const Case& which, int round, int done, int total) override {
      lines.push_back("begin " + CaseName(which) + " " + std::to_string(round) + " " +
                      std::to_string(done) + "/" + std::to_string(total));
    }
    void VisitEnds(const Record& record, int round) override {
      lines.push_back("end " + std::to_string(record.rounds.size()) + " " + std::to_string(round));
    }
    std::vector<std::string> lines;
  } heard;
  Measure({FakeCase("a", {Script{}}, log)}, Brief(log), heard);
  EXPECT_THAT(heard.lines, ElementsAre("begin fake/name:a 1 0/2", "end 1 1",
                                       "begin fake/name:a 2 1/2", "end 2 2"));
}

TEST(Engine, TheFilterIsARegularExpressionOnCaseNames) {
  FakeLog log;
  EngineOptions options = Brief(log);
  options.filter = "name:(a|c)$";
  const std::vector<Record> records =
      MeasureQuietly({FakeCase("a", {Script{}}, log), FakeCase("b", {Script{}}, log),
                      FakeCase("c", {Script{}}, log)},
                     options);
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(StringOf(records[0].params, "name"), "a");
  EXPECT_EQ(StringOf(records[1].params, "name"), "c");
}

TEST(Engine, AFilterThatIsBadOrMatchesNothingIsOneSentence) {
  FakeLog log;
  for (const std::string filter : {"(", "nothing like it"}) {
    EngineOptions options = Brief(log);
    options.filter = filter;
    try {
      MeasureQuietly({FakeCase("a", {Script{}}, log)}, options);
      ADD_FAILURE() << "no error for " << filter;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("'" + filter + "'"), Not(HasSubstr("\n"))));
    }
  }
  EXPECT_THAT(log.events, IsEmpty());
}

TEST(Engine, GoogleBenchmarksOwnJsonHoldsEveryVisitAndNoHostName) {
  FakeLog log;
  std::string text;
  EngineOptions options = Brief(log);
  options.gbench = [&](std::string json) { text = std::move(json); };
  MeasureQuietly({FakeCase("a", {{.iteration_s = {0.5}}, {.iteration_s = {0.25}}}, log),
                  FakeCase("b", {{.skipped = {"not \"here\"", "x"}}}, log)},
                 options);
  const nlohmann::json json = nlohmann::json::parse(text);
  char host_name[256] = "";
  ASSERT_EQ(gethostname(host_name, sizeof host_name), 0);
  EXPECT_EQ(json["context"]["host_name"], "");
  EXPECT_EQ(json["context"]["executable"], "assay");
  EXPECT_THAT(json["context"]["assay_version"].get<std::string>(), Not(IsEmpty()));
  std::map<std::string, nlohmann::json> rows;
  for (const nlohmann::json& row : json["benchmarks"]) rows[row["name"].get<std::string>()] = row;
  ASSERT_EQ(rows.size(), 3U);
  const nlohmann::json& first = rows.at("fake/name:a/round:1/iterations:1/manual_time");
  EXPECT_DOUBLE_EQ(first["real_time"].get<double>(), 0.5e9);
  EXPECT_EQ(first["time_unit"], "ns");
  EXPECT_DOUBLE_EQ(first["flops_per_second"].get<double>(), 2e9);
  EXPECT_EQ(first["label"], "script");
  const nlohmann::json& skipped = rows.at("fake/name:b/round:1/iterations:1/manual_time");
  EXPECT_EQ(skipped["error_message"], "not \"here\"");
}

TEST(Engine, GoogleBenchmarksOwnJsonIsJsonWhateverACaseSays) {
  FakeLog log;
  std::string text;
  EngineOptions options = Brief(log);
  options.gbench = [&](std::string json) { text = std::move(json); };
  MeasureQuietly(
      {FakeCase("\x1b[31m\xff", {{.throws_at_run = 1, .error = "\x1b[31m\xff lost; x"}}, log)},
      options);
  const nlohmann::json json = nlohmann::json::parse(text);
  EXPECT_EQ(json["benchmarks"][0]["name"], "fake/name:?[31m?/round:1/iterations:1/manual_time");
  EXPECT_THAT(json["benchmarks"][0]["error_message"].get<std::string>(), StartsWith("?[31m? lost"));
}

// Google Benchmark reads its environment before main, so only a new process can show this.
TEST(Engine, BenchmarkVariablesChangeNothing) {
  const std::string stray = TemporaryPath("assay_stray");
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command =
      "GTEST_TOTAL_SHARDS=1 GTEST_SHARD_INDEX=0 BENCHMARK_LIST_TESTS=1 BENCHMARK_OUT=" + stray +
      " BENCHMARK_REPORT_AGGREGATES_ONLY=1 BENCHMARK_DISPLAY_AGGREGATES_ONLY=1"
      " BENCHMARK_REPETITIONS=3 BENCHMARK_MIN_WARMUP_TIME=1 BENCHMARK_FILTER=nothing"
      " BENCHMARK_FORMAT=none BENCHMARK_DRY_RUN=1 BENCHMARK_MIN_TIME=5x"
      " BENCHMARK_ENABLE_RANDOM_INTERLEAVING=1 BENCHMARK_TIME_UNIT=parsec "
      "'" +
      self +
      "' --gtest_filter='Engine.TheScripted*:Engine.AVisitPrepares*:"
      "Engine.GoogleBenchmarksOwn*' --gtest_brief=1 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) output += static_cast<char>(c);
  EXPECT_EQ(pclose(pipe), 0) << output;
  EXPECT_THAT(output, HasSubstr("PASSED  ] 4 tests")) << output;
  EXPECT_FALSE(std::filesystem::exists(stray));
}

TEST(Engine, TheEstimateGrowsWithCasesAndRoundsAndIsBoundByTheTimeOfACase) {
  FakeLog log;
  const std::vector<Case> one = {FakeCase("a", {Script{}}, log)};
  const std::vector<Case> two = {one[0], FakeCase("b", {Script{}}, log)};
  EXPECT_DOUBLE_EQ(EstimateSeconds(two, {.rounds = 5}), 2 * EstimateSeconds(one, {.rounds = 5}));
  EXPECT_LT(EstimateSeconds(one, {.rounds = 3}), EstimateSeconds(one, {.rounds = 5}));
  EXPECT_LT(EstimateSeconds(one, {.max_case = Seconds(1)}), EstimateSeconds(one, {}));
  EXPECT_DOUBLE_EQ(EstimateSeconds(two, {.filter = "name:b"}), EstimateSeconds(one, {}));
}

TEST(Engine, TheEstimateKnowsWhatIsSustainedAndThatAcceleratorsRest) {
  FakeLog log;
  Case which = FakeCase("a", {Script{}}, log);
  const EngineOptions options = {.rounds = 5, .max_case = Seconds(1)};
  const double burst_s = EstimateSeconds({which}, options);
  which = Metered(which, log, [](double) { return 40; });
  EXPECT_DOUBLE_EQ(EstimateSeconds({which}, options), burst_s);
  which.backend = "fake";
  which.device.kind = "gpu";
  EXPECT_DOUBLE_EQ(EstimateSeconds({which}, options), burst_s + 5 * 10);
  which.sustained = true;
  EXPECT_GE(EstimateSeconds({which}, options), 5 * 60);
  EXPECT_LT(EstimateSeconds({which}, options), 5 * 61);
}

TEST(Engine, WhatIsInSpansHasABudgetOfItsOwn) {
  FakeLog log;
  Case which = FakeCase("a", {Script{}}, log);
  which.in_spans = true;
  EngineOptions options = Brief(log);
  options.max_case = Seconds(1);
  options.max_spans_case = Seconds(18);  // 9 a visit: a ramp of 1, and 8 spans of 1
  Observer observer;
  const Record record = Measure({which}, options, observer).at(0);
  ASSERT_EQ(record.rounds.size(), 2u);
  EXPECT_EQ(record.rounds[0].iterations.size(), 8u);
  EXPECT_EQ(record.rounds[1].iterations.size(), 8u);
  EXPECT_NEAR(EstimateSeconds({which}, options), 18, 1);
}

TEST(Engine, AQuotaIsToldOfCasesOnTheCpuAlone) {
  FakeLog log;
  Case cpu = FakeCase("a", {{.iteration_s = {0.01}}}, log);
  Case gpu = FakeCase("b", {{.iteration_s = {0.01}}}, log);
  gpu.backend = "fake";
  gpu.device = {.kind = "gpu", .name = "X100"};
  EngineOptions options = Brief(log);
  options.quota_period = Seconds(0.1);
  Observer observer;
  const std::vector<Record> records = Measure({cpu, gpu}, options, observer);
  EXPECT_EQ(records[0].facts.at("paced"), Fact("CPU quota"));
  EXPECT_FALSE(records[1].facts.contains("paced"));
  EXPECT_EQ(records[1].device.kind, "gpu");
  EXPECT_EQ(records[1].device.name, "X100");
  EXPECT_GE(std::ssize(records[0].rounds[0].time_s), 100);
  EXPECT_LT(std::ssize(records[1].rounds[0].time_s), 100);
}

TEST(Engine, StopsBetweenBatchesCountOnThisNodesCpuAlone) {
  // Runs whose host's time holds a stop of 0.1 s now and then, beside the 10 ms that they time.
  class Stopped : public FakeWorkload {
   public:
    explicit Stopped(FakeLog& log) : FakeWorkload({.iteration_s = {0.01}}, log), log_(log) {}
    Batch Run(std::int64_t iterations) override {
      if (++runs_ % 5 == 0) log_.now += Seconds(0.1);
      return FakeWorkload::Run(iterations);
    }

   private:
    FakeLog& log_;
    int runs_ = 0;
  };
  FakeLog log;
  const auto longest_s = [&log](const std::string& probe, const std::string& kind, int nodes) {
    Case which = FakeCase("a", {Script{}}, log);
    which.probe = probe;
    which.device.kind = kind;
    which.units.clear();
    for (int node = 0; node < nodes; ++node) which.units.push_back({.node = node});
    which.prepare = [&log](std::uint64_t) -> Prepared { return std::make_unique<Stopped>(log); };
    Observer observer;
    EngineOptions options = Brief(log);
    options.min_samples = 30;
    const Record record = Measure({which}, options, observer).at(0);
    return std::ranges::max(record.rounds.at(0).time_s);
  };
  EXPECT_GT(longest_s("gemm", "cpu", 1), 0.1);
  EXPECT_DOUBLE_EQ(longest_s("gemm", "gpu", 1), 0.01) << "its clock is its own";
  EXPECT_DOUBLE_EQ(longest_s("all_reduce", "cpu", 1), 0.01) << "others may be late";
  EXPECT_DOUBLE_EQ(longest_s("gemm", "cpu", 2), 0.01) << "the nodes wait for each other";
}

TEST(FakeRanks, TalkToEachOther) {
  std::vector<std::string> gathered;
  std::atomic<int> right = 0;
  FakeRanks::Run(
      4,
      [&](Ranks& ranks) {
        double values[] = {static_cast<double>(ranks.Rank()), -1.0 * ranks.Rank()};
        ranks.Max(values);
        const std::string heard = ranks.Broadcast("from " + std::to_string(ranks.Rank()));
        const std::vector<std::string> all = ranks.Gather(std::to_string(ranks.Node()));
        if (ranks.Rank() == 0) gathered = all;
        right += heard == "from 0" && values[0] == 3 && values[1] == 0 &&
                 all.empty() == (ranks.Rank() != 0) && ranks.LocalRank() == ranks.Rank() % 2;
      },
      2);
  EXPECT_EQ(right, 4);
  EXPECT_THAT(gathered, ElementsAre("0", "0", "1", "1"));
}

TEST(Estimate, WhatCasesShareCountsOnceHoweverManyAndHoweverManyRounds) {
  FakeLog log;
  std::vector<Case> cases = {FakeCase("a", {{}}, log), FakeCase("b", {{}}, log)};
  const double alone_s = EstimateSeconds(cases, {.rounds = 3});
  cases[0].shared = cases[1].shared =
      std::make_shared<const std::function<Seconds()>>([] { return Seconds(17); });
  EXPECT_DOUBLE_EQ(EstimateSeconds(cases, {.rounds = 3}), alone_s + 17);
  cases[1].shared = std::make_shared<const std::function<Seconds()>>([] { return Seconds(5); });
  EXPECT_DOUBLE_EQ(EstimateSeconds(cases, {.rounds = 3}), alone_s + 22);
}

}  // namespace
}  // namespace assay
