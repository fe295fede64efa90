// Cases of one node on several at once, measured by the engine over the job that the ranks make:
// ranks are threads, GPUs and their work are scripts, and each node has a clock of its own.
#include "runner/cluster/each_node.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "results/base/error.h"
#include "runner/cluster/cluster.h"
#include "runner/cluster/join.h"
#include "runner/core/engine.h"
#include "runner/core/module.h"
#include "tests/fake.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Le;
using testing::Lt;
using testing::SizeIs;

constexpr int kNodes = 2;

class JoinedThreads : public ThreadRanks {
 public:
  using ThreadRanks::ThreadRanks;
  std::string JoinedBy() const override { return "threads"; }
};

// One of two nodes, which have two GPUs each.
struct ScriptedNode {
  FakeLog log = {};
  std::vector<ScriptedMeter::Gpu> gpus = {{.celsius = Idle}, {.celsius = Idle}};
  std::function<std::unique_ptr<Meter>()> meter = {};  // instead of one of `gpus`
  double prepared_s = -100;                            // when its latest visit began
  Facts facts = {};
  static double Idle(double) { return 40; }

  Case OwnCase() {
    Case own = FakeCase("own", {{.iteration_s = {1.2}, .unit_share = {1, 1}, .facts = facts}}, log);
    own.prepare = [this, prepare = own.prepare](std::uint64_t seed) {
      prepared_s = log.now.count();
      return prepare(seed);
    };
    own.meter = meter ? meter : [this]() -> std::unique_ptr<Meter> {
      return std::make_unique<ScriptedMeter>(log.Clock(), gpus);
    };
    return own;
  }
};

// The record of a case on all of these nodes, two ranks each.
Record MeasureOn(std::array<ScriptedNode, kNodes>& nodes, bool sustained, EngineOptions options) {
  options.now = nodes[0].log.Clock();
  Record record;
  World world(2 * kNodes);
  world.ranks_per_node = 2;
  const Modules modules;
  const auto rank = [&](int number) {
    JoinedThreads own(world, number);
    ScriptedNode& node = nodes[static_cast<std::size_t>(own.Node())];
    const Member member = {.describe = [] { return Node(); },
                           .own_case = [&](const Record&) { return node.OwnCase(); }};
    if (number > 0) return FollowAsMember(own, member, Seconds(60));
    {
      const auto cluster = OpenCluster({.ranks = &own, .modules = &modules, .member = member});
      Case which = node.OwnCase();
      which.units = {{.device = 0}, {.device = 1}};
      which.sustained = sustained;
      Observer nobody;
      record = Measure({cluster->Placed(which)}, options, nobody).at(0);
    }
    own.Broadcast("quit");
  };
  std::vector<std::thread> others;
  for (int number = 1; number < world.size; ++number) others.emplace_back(rank, number);
  rank(0);
  for (std::thread& other : others) other.join();
  return record;
}

// Time passes on all nodes; those that wait for a command don't look at their clocks meanwhile.
EngineOptions Asleep(std::array<ScriptedNode, kNodes>& nodes, Seconds& slept, int rounds) {
  return {.rounds = rounds,
          .max_case = Seconds(1),
          .min_samples = 2,
          .min_visit = {},
          .sleep = [&](Seconds time) {
            for (ScriptedNode& node : nodes) node.log.now += time;
            slept += time;
          }};
}

TEST(EachNode, ABurstWaitsForTheGpusOfEveryNodeToRest) {
  std::array<ScriptedNode, kNodes> nodes;
  // Each visit finds the last GPU of the second node at 60 degrees; it loses 5 a second.
  nodes[1].gpus[1].celsius = [&](double now_s) {
    return std::max(40.0, 60 - 5 * (now_s - std::max(-100.0, nodes[1].prepared_s)));
  };
  Seconds slept = {};
  const Record record = MeasureOn(nodes, /*sustained=*/false, Asleep(nodes, slept, 2));
  ASSERT_THAT(record.rounds, SizeIs(2)) << record.reason;
  EXPECT_NEAR(slept.count(), 2 * (60 - 43 - 5 * 1.2) / 5.0, 2 * 0.1);
  for (const Visit& visit : record.rounds) {
    ASSERT_THAT(visit.telemetry, SizeIs(4));
    for (int unit = 0; unit < 4; ++unit) {
      EXPECT_EQ(visit.telemetry[static_cast<std::size_t>(unit)].unit, unit);
    }
    EXPECT_THAT(visit.telemetry[2].temperature_c, Each(40));
    EXPECT_THAT(visit.telemetry[3].temperature_c, Each(Le(43)));
    EXPECT_GT(visit.telemetry[3].temperature_c.front(), 42);
  }
}

TEST(EachNode, DirectIsOfTheNodeWhereItIsLeastProved) {
  std::array<ScriptedNode, kNodes> nodes;
  nodes[0].facts = {{"direct", std::string("proved")}};
  nodes[1].facts = {{"direct", std::string("refuted")}, {"direct_how", std::string("tmpfs")}};
  Seconds slept = {};
  const Record record = MeasureOn(nodes, /*sustained=*/false, Asleep(nodes, slept, 1));
  ASSERT_EQ(record.status, Status::kOk) << record.reason;
  EXPECT_EQ(std::get<std::string>(record.facts.at("direct")), "refuted");
  EXPECT_EQ(std::get<std::string>(record.facts.at("direct_how")), "node 1: tmpfs");
}

TEST(EachNode, ASustainedVisitGoesOnUntilTheGpusOfEveryNodeAreAtRest) {
  std::array<ScriptedNode, kNodes> nodes;
  nodes[1].gpus[1].mhz = [](double now_s) { return 2000 - 4 * std::min(now_s, 100.0); };
  Seconds slept = {};
  const Record record = MeasureOn(nodes, /*sustained=*/true, Asleep(nodes, slept, 1));
  ASSERT_THAT(record.rounds, SizeIs(1)) << record.reason;
  const Visit& visit = record.rounds[0];
  ASSERT_TRUE(visit.sustained);
  EXPECT_EQ(visit.sustained->ended, "steady");
  EXPECT_GT(visit.sustained->heated_s, 90) << "until its clock came to rest";
  std::vector<std::string> drifts;
  for (const Trend& trend : visit.sustained->drift) {
    drifts.push_back(fmt::format("{} {}", trend.of, trend.unit));
  }
  EXPECT_THAT(drifts,
              ElementsAre("time_s 0", "sm_mhz 0", "temperature_c 0", "sm_mhz 1", "temperature_c 1",
                          "sm_mhz 2", "temperature_c 2", "sm_mhz 3", "temperature_c 3"));
  ASSERT_THAT(visit.sustained->start, SizeIs(4));
  EXPECT_EQ(visit.sustained->start[3].unit, 3);
  EXPECT_GT(visit.sustained->start[3].sm_mhz.at(0), 1990);
  ASSERT_THAT(visit.telemetry, SizeIs(4));
  EXPECT_THAT(visit.telemetry[2].sm_mhz, Each(2000));
  EXPECT_THAT(visit.telemetry[3].sm_mhz, Each(Lt(1625)));
}

TEST(EachNode, OneThatNeverComesToRestMakesTheVisitUnsteady) {
  std::array<ScriptedNode, kNodes> nodes;
  nodes[1].gpus[0].celsius = [](double now_s) { return 40 + 0.1 * now_s; };
  Seconds slept = {};
  const Record record = MeasureOn(nodes, /*sustained=*/true, Asleep(nodes, slept, 1));
  ASSERT_THAT(record.rounds, SizeIs(1)) << record.reason;
  EXPECT_EQ(record.rounds[0].sustained->ended, "unsteady");
}

class FailingMeter : public Meter {
 public:
  std::vector<Telemetry> Begin() override { return {}; }
  std::vector<std::optional<Fitted>> Trends(Seconds) override {
    throw Error("the driver\tis gone");
  }
  std::vector<Telemetry> Finish(Seconds) override { return {}; }
};

TEST(EachNode, OneWhoseMeterFailsIsNamedAndTheRanksGoOn) {
  std::array<ScriptedNode, kNodes> nodes;
  nodes[1].meter = [] { return std::make_unique<FailingMeter>(); };
  Seconds slept = {};
  Record record = MeasureOn(nodes, /*sustained=*/true, Asleep(nodes, slept, 1));
  EXPECT_EQ(record.status, Status::kFailed);
  EXPECT_EQ(record.reason, "node 1: the driver is gone");
}

// Trends that can't be told yet keep a visit going: it has no reason to call itself steady.
class SilentMeter : public FailingMeter {
 public:
  std::vector<std::optional<Fitted>> Trends(Seconds) override { return {std::nullopt}; }
};

TEST(EachNode, OneWithoutAMeterIsLeftOutAndOneThatTellsNoTrendYetIsNot) {
  std::array<ScriptedNode, kNodes> nodes;
  nodes[1].meter = []() -> std::unique_ptr<Meter> { return nullptr; };
  Seconds slept = {};
  Record record = MeasureOn(nodes, /*sustained=*/true, Asleep(nodes, slept, 1));
  ASSERT_THAT(record.rounds, SizeIs(1)) << record.reason;
  EXPECT_EQ(record.rounds[0].sustained->ended, "steady");
  EXPECT_THAT(record.rounds[0].telemetry, SizeIs(2));

  nodes[1].meter = [] { return std::make_unique<SilentMeter>(); };
  record = MeasureOn(nodes, /*sustained=*/true, Asleep(nodes, slept, 1));
  ASSERT_THAT(record.rounds, SizeIs(1)) << record.reason;
  EXPECT_EQ(record.rounds[0].sustained->ended, "unsteady");
}

}  // namespace
}  // namespace assay
