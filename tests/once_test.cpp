#include "results/figures/once.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "results/base/error.h"
#include "results/file/json.h"
#include "results/file/run_file.h"
#include "tests/error_text.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

OneRun RunOf(const std::string& id, const std::vector<double>& round_times) {
  Record record = {.probe = "gemm",
                   .params = {{"m", std::int64_t{64}}},
                   .backend = "onednn",
                   .work = {.flops = 1'000'000'000'000}};
  for (const double time : round_times) record.rounds.push_back({.batch = 1, .time_s = {time}});
  return {.id = id, .rounds = 5, .nodes = {Node{.node_id = "n1"}}, .records = {record}};
}

// The journal that an interrupted run leaves, with as many rounds as were measured until then.
OneRun JournalOf(OneRun run, std::size_t rounds) {
  run.status = "interrupted";
  run.complete = false;
  for (Record& record : run.records) {
    record.complete = false;
    record.stopped = "interrupted";
    record.rounds.resize(rounds);
    record.facts["so_far"] = static_cast<std::int64_t>(rounds);
  }
  return run;
}

Side SideOf(std::vector<OneRun> runs, const std::vector<std::string>& names) {
  return {.runs = std::move(runs), .names = names};
}

TEST(Once, ACopyRepeatsNothing) {
  Side side = SideOf({RunOf("1", {1, 1.1}), RunOf("2", {2, 2.1}), RunOf("1", {1, 1.1})},
                     {"a.json", "b.json", "copy.json"});
  EXPECT_THAT(CountOnce(side), ElementsAre("copy.json is the same run as a.json: counted once"));
  EXPECT_THAT(side.names, ElementsAre("a.json", "b.json"));
  EXPECT_EQ(side.runs.size(), 2U);
  side = SideOf({RunOf("1", {1}), RunOf("1", {1})}, {"a.json", "a.json"});
  EXPECT_THAT(CountOnce(side), ElementsAre("a.json is given twice: counted once"));
}

TEST(Once, ASideOfCopiesKeepsItsPriceAndItsGroup) {
  Side side = SideOf({RunOf("1", {1}), RunOf("1", {1})}, {"a.json", "copy.json"});
  side.price = {.offer = Offer{.usd_per_hour = 2.5}, .why = "bought as detected"};
  side.group = "aws p5.48xlarge";
  CountOnce(side);
  EXPECT_EQ(side.group, "aws p5.48xlarge");
  EXPECT_EQ(UsdPerNodeHour(side.price), 2.5);
  EXPECT_EQ(side.price.why, "bought as detected");
}

TEST(Once, OfARunAndItsJournalTheFullerIsKept) {
  const OneRun whole = RunOf("1", {1, 1.1, 1.2});
  const OneRun journal = JournalOf(whole, 2);
  for (const bool journal_first : {false, true}) {
    Side side = journal_first ? SideOf({journal, whole}, {"a.json.part", "a.json"})
                              : SideOf({whole, journal}, {"a.json", "a.json.part"});
    EXPECT_THAT(CountOnce(side),
                ElementsAre("a.json.part holds less of the run that a.json holds: left out"));
    ASSERT_EQ(side.runs.size(), 1U);
    EXPECT_TRUE(side.runs[0].complete);
    EXPECT_EQ(side.runs[0].records[0].rounds.size(), 3U);
    EXPECT_THAT(side.names, ElementsAre("a.json"));
  }
}

TEST(Once, OfTwoThatHoldAsMuchTheOneThatIsCompleteIsKept) {
  OneRun whole = RunOf("1", {1, 1.1});
  whole.ended = "2026-11-28T22:00:00Z";
  OneRun journal = whole;
  journal.status = "interrupted";
  journal.complete = false;
  journal.ended = "";
  Side side = SideOf({journal, whole}, {"a.json.part", "a.json"});
  CountOnce(side);
  EXPECT_THAT(side.names, ElementsAre("a.json"));
}

TEST(Once, WhatAWrongAnswerTookBackIsNoContradiction) {
  OneRun wrong = RunOf("1", {});
  wrong.records[0].status = Status::kWrong;
  Side side = SideOf({JournalOf(RunOf("1", {1, 1}), 2), wrong}, {"a.json.part", "a.json"});
  CountOnce(side);
  EXPECT_THAT(side.names, ElementsAre("a.json"));
}

TEST(Once, OneIdWithContentsThatContradictIsAnError) {
  const OneRun run = RunOf("1", {1, 1.1});
  std::vector<OneRun> changed(6, run);
  changed[0].records[0].rounds[1].time_s = {1.2};
  changed[1].records[0].work.flops = 1;
  changed[2].nodes[0].identity.instance.value = "p5.48xlarge";
  changed[3].records[0].params["m"] = std::int64_t{65};
  changed[4].records[0].facts["direct"] = std::string("proved");
  changed[5].started = "2026-11-28T22:00:00Z";
  for (const OneRun& other : changed) {
    Side side = SideOf({run, other}, {"a.json", "b.json"});
    EXPECT_THAT(ErrorText([&] { CountOnce(side); }),
                HasSubstr("a.json and b.json have one id (1) and contradict each other"))
        << RunToJson(other);
  }
}

TEST(Once, RunsWithoutAnIdAreRunsOfTheirOwn) {
  Side side = SideOf({RunOf("", {1}), RunOf("", {1})}, {"a.json", "b.json"});
  EXPECT_THAT(CountOnce(side), IsEmpty());
  EXPECT_EQ(side.runs.size(), 2U);
}

TEST(Once, CopiesMakeNoComparisonSurer) {
  const auto side = [](const std::string& id, double time, int copies) {
    Side made;
    for (int i = 0; i < copies; ++i) {
      made.runs.push_back(RunOf(id + "1", {time}));
      made.runs.push_back(RunOf(id + "2", {1.1 * time}));
      made.names.insert(made.names.end(), {id + "1.json", id + "2.json"});
    }
    return made;
  };
  const Comparison once = Compare(side("a", 1, 1), side("b", 1.05, 1), {});
  const Comparison thrice = Compare(side("a", 1, 3), side("b", 1.05, 3), {});
  ASSERT_EQ(thrice.rows.size(), 1U);
  EXPECT_EQ(once.rows[0].verdict, thrice.rows[0].verdict);
  EXPECT_EQ(once.rows[0].resolution, thrice.rows[0].resolution);
  EXPECT_EQ(thrice.baseline.runs.size(), 2U);
  EXPECT_THAT(thrice.notes,
              ::testing::IsSupersetOf({HasSubstr("a1.json is given twice: counted once"),
                                       HasSubstr("b2.json is given twice: counted once")}));
}

TEST(Once, ARunOnBothSidesIsAnError) {
  const Side a = SideOf({RunOf("1", {1}), RunOf("2", {1})}, {"a.json", "b.json"});
  const Side b = SideOf({RunOf("3", {1}), RunOf("2", {1})}, {"c.json", "copy.json"});
  EXPECT_THAT(ErrorText([&] { Compare(a, b, {}); }),
              HasSubstr("b.json and copy.json hold one run (id 2)"));
  EXPECT_THAT(ErrorText([&] { Compare(b, a, {}); }),
              HasSubstr("copy.json and b.json hold one run (id 2)"));
}

TEST(Once, ARankingHasEachRunOnce) {
  const auto side = [](const std::string& id, double time, const std::string& name) {
    return SideOf({RunOf(id, {time, time})}, {name});
  };
  const Ranking ranking =
      Rank({side("1", 1, "a.json"), side("2", 9, "b.json"), side("1", 1, "copy.json")}, {});
  EXPECT_EQ(ranking.sides.size(), 2U);
  EXPECT_EQ(ranking.cases.at(0).entries.size(), 2U);
  EXPECT_THAT(ranking.notes,
              ::testing::Contains("copy.json is the same run as a.json: counted once"));
}

}  // namespace
}  // namespace assay
