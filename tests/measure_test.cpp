// Measuring on a cluster that is a script: no rank is started, and its nodes are made up.
#include "runner/program/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/file/run_file.h"
#include "runner/program/choice.h"
#include "tests/fake.h"

namespace assay {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// Two nodes, of two ranks each, which do whatever cases say.
class ScriptedCluster : public Cluster {
 public:
  ScriptedCluster() {
    held.nodes.resize(2);
    for (int rank = 0; rank < 4; ++rank) held.ranks.push_back({.rank = rank, .node = rank / 2});
    held.hosts = {"alpha.example", "beta.example"};
  }
  Roster WhoIsThere() override { return {.nodes = {0, 0, 1, 1}}; }
  Held Describe() override {
    std::this_thread::sleep_for(describes);
    return held;
  }
  Case Placed(Case one) override {
    placed.push_back(one.probe);
    return one;
  }
  std::vector<Whereabouts> AskWhereabouts(const Case&) override { return {}; }
  void WhenHung(Hung told) override { hung = std::move(told); }
  void Abort(int status) override { _exit(status); }

  Held held = {};
  Seconds describes = {};
  std::vector<std::string> placed = {};
  Hung hung = {};
};

class MeasureTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "assay-measure-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    options_.out = folder_ + "/run.json";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Plan PlanOf(std::vector<Case> cases) {
    return {.cases = std::move(cases),
            .engine = {.rounds = 1,
                       .max_case = Seconds(1),
                       .min_samples = 2,
                       .min_visit = {},
                       .now = log_.Clock(),
                       .sleep = [this](Seconds time) { log_.now += time; }}};
  }
  Measured Measure(std::vector<Case> cases) {
    return MeasureHere(PlanOf(std::move(cases)), options_, cluster_, Catalog::BuiltIn(), console_);
  }
  std::string TheFile() const {
    return (std::stringstream() << std::ifstream(options_.out).rdbuf()).str();
  }

  std::string folder_ = {};
  RunOptions options_ = {};
  ScriptedCluster cluster_ = {};
  FakeLog log_ = {};
  Console console_{/*quiet=*/true};
};

TEST_F(MeasureTest, TheFileHasTheNodesAndRanksOfTheClusterAndNoHostsName) {
  cluster_.held.nodes[1].notes = {{.what = "beta.example is warm"}};
  Case one = FakeCase("a", {{}}, log_);
  one.units = {{.rank = 0, .node = 0}, {.rank = 2, .node = 1}};
  Case on_gpu = FakeCase("b", {{}}, log_);
  on_gpu.device.kind = "gpu";
  on_gpu.units = {{.rank = 2, .node = 1, .device = 5}};
  const Measured measured = Measure({one, on_gpu});
  EXPECT_EQ(measured.path, options_.out);
  const assay::Run run = ReadRun(options_.out);
  EXPECT_THAT(run.nodes, SizeIs(2));
  EXPECT_THAT(run.ranks, SizeIs(4));
  EXPECT_EQ(run.ranks[3].node, 1);
  EXPECT_THAT(run.ranks[2].devices, ElementsAre(5));
  EXPECT_THAT(run.ranks[0].devices, IsEmpty());
  ASSERT_THAT(run.records, SizeIs(2));
  EXPECT_EQ(run.records[0].status, Status::kOk) << run.records[0].reason;
  EXPECT_EQ(run.status, "complete");
  EXPECT_THAT(TheFile(), Not(HasSubstr("beta.example")));
}

TEST_F(MeasureTest, TheTimeInWhichTheMachineIsDescribedIsPaidForToo) {
  cluster_.describes = Seconds(0.3);
  const Measured measured = Measure({FakeCase("a", {{}}, log_)});
  EXPECT_GE(*measured.run.cost->held_s, 0.3);
  EXPECT_GE(measured.run.timeline_s.at("first_result"), 0.3);
}

TEST(CostLimit, ARunEndsBeforeItsBillIsMoreThanItsLimit) {
  const RunBill bill(Catalog::BuiltIn().billing,
                     Offer{.provider = "lambda",
                           .instance = "gpu_8x_h100_sxm5",
                           .purchase = "on_demand",
                           .usd_per_hour = 60},
                     1);
  constexpr double kMaxCost = 1.5;  // a minute is 1 USD, and a second one would be too much
  const double most_s = *bill.SecondsFor(kMaxCost);
  EXPECT_EQ(most_s, 60);
  // Batches of 0.2 s, and from time to time 3.7 s in which a case is made.
  CostLimit limit(most_s, 1);
  double elapsed_s = 1;
  for (int i = 1; !limit.IsReached(elapsed_s); ++i) elapsed_s += i % 20 == 10 ? 3.7 : 0.2;
  RunCost cost = bill.Begun(std::nullopt, 0);
  bill.Settle(cost, elapsed_s + 0.5, std::nullopt);
  EXPECT_LE(*cost.usd, kMaxCost);
  EXPECT_GT(elapsed_s, 50);
}

// The first run ends; in the second the cluster says that a rank hangs.
class Hanging : public FakeWorkload {
 public:
  Hanging(FakeLog& log, std::function<void()> hang)
      : FakeWorkload({}, log), hang_(std::move(hang)) {}
  Batch Run(std::int64_t iterations) override {
    if (++runs_ == 2) hang_();
    return FakeWorkload::Run(iterations);
  }

 private:
  std::function<void()> hang_;
  int runs_ = 0;
};

Case HangingCase(FakeLog& log, const std::function<void()>& hang) {
  Case one = FakeCase("hangs", {{}}, log);
  one.prepare = [&log, hang](std::uint64_t) -> Prepared {
    return std::make_unique<Hanging>(log, hang);
  };
  return one;
}

TEST_F(MeasureTest, WhereRanksHangAndThisProcessEndsTheFileIsKeptWithTheReason) {
  std::string file;  // as the process would have left it
  const auto hang = [&] {
    cluster_.hung("rank 3 of 4 on node 1: run is not over in time", /*last=*/true);
    file = TheFile();
  };
  Measure({HangingCase(log_, hang)});
  const assay::Run run = RunFromJson(file, "the file");
  EXPECT_EQ(run.status, "failed");
  std::vector<std::string> reasons;
  for (const Record& record : run.records) reasons.push_back(record.reason);
  EXPECT_THAT(reasons, Contains(HasSubstr("rank 3 of 4 on node 1")));
  EXPECT_FALSE(cluster_.hung) << "nobody listens any more";
}

TEST_F(MeasureTest, RanksThatHangElsewhereFailTheRunWhichGoesOn) {
  const auto hang = [&] { cluster_.hung("", /*last=*/false); };
  const Measured measured = Measure({HangingCase(log_, hang), FakeCase("after", {{}}, log_)});
  EXPECT_EQ(measured.run.status, "failed");
  EXPECT_EQ(ExitStatusOf(measured.run, {}), kWatchdog);
  ASSERT_THAT(measured.run.records, SizeIs(2));
  EXPECT_EQ(measured.run.records[1].status, Status::kOk);
}

TEST_F(MeasureTest, WhatFollowsFromTheFirstCasesIsMeasuredIntoTheSameFile) {
  int asked = 0;
  Plan plan = PlanOf({FakeCase("first", {{}}, log_)});
  plan.more = [&](const std::vector<Record>& records) {
    EXPECT_THAT(records, SizeIs(1));
    return ++asked == 1 ? std::vector<Case>{FakeCase("second", {{}}, log_)} : std::vector<Case>();
  };
  MeasureHere(plan, options_, cluster_, Catalog::BuiltIn(), console_);
  EXPECT_EQ(asked, 2);
  std::vector<std::string> names;
  for (const Record& record : ReadRun(options_.out).records) {
    names.push_back(StringOf(record.params, "name"));
  }
  EXPECT_THAT(names, ElementsAre("first", "second"));
}

TEST_F(MeasureTest, EveryCaseIsPlacedAndATransportDemandedOfThoseAcrossRanksAlone) {
  Case alone = FakeCase("alone", {{}}, log_);
  Case across = FakeCase("across", {{.facts = {{"transport", std::string("tcp")}}}}, log_);
  across.across.emplace();
  const std::vector<Case> cases = PlacedOn(cluster_, {alone, across}, "efa");
  EXPECT_THAT(cluster_.placed, ElementsAre("fake", "fake"));
  const Prepared of_one = cases[0].prepare(1);
  EXPECT_EQ(std::get<0>(of_one)->Verify().wrong, 0);
  const Prepared of_ranks = cases[1].prepare(1);
  EXPECT_THAT([&] { std::get<0>(of_ranks)->Verify(); },
              testing::ThrowsMessage<Error>(HasSubstr("transport efa was asked for")));
  EXPECT_THAT(PlacedOn(cluster_, {}, ""), IsEmpty());
}

}  // namespace
}  // namespace assay
