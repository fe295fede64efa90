// Comparisons whose units are nodes, and the primary case: what Compare and Rank make of runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/figures/compare.h"
#include "results/figures/moderate.h"
#include "results/show/csv.h"
#include "results/show/json.h"
#include "results/show/tables.h"
#include "tests/node_fleet.h"

namespace assay {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

// A case whose one round took exp(-log_speed) seconds.
Record Gemm(std::int64_t m, double log_speed) {
  return {.probe = "gemm",
          .params = {{"dtype", std::string("f32")}, {"m", m}},
          .backend = "onednn",
          .work = {.flops = 1, .formula = "gemm/2mnk"},
          .rounds = {{.batch = 1, .time_s = {std::exp(-log_speed)}}}};
}

Record Headline(double log_speed, const std::string& algo = "default") {
  Record record = Gemm(1, log_speed);
  record.probe = "headline";
  record.params = {{"name", std::string("bf16-cpu/2")}, {"algo", algo}};
  return record;
}

OneRun RunOn(const std::string& node_id, const std::string& instance, std::vector<Record> records) {
  Node node = {.node_id = node_id};
  node.identity.instance.value = instance;
  return {.started = "2026-11-28T12:00:00Z",
          .assay = {.version = "0.1.0"},
          .nodes = {node},
          .records = std::move(records)};
}

// A side of one run a node, whose log speeds these are.
Side NodesWith(const std::string& instance, const std::vector<double>& log_speeds) {
  Side side;
  for (std::size_t i = 0; i < log_speeds.size(); ++i) {
    side.runs.push_back(RunOn(instance + std::to_string(i), instance, {Gemm(64, log_speeds[i])}));
  }
  return side;
}

const std::vector<double> kA = {0.010, -0.004, 0.021};
const std::vector<double> kB = {0.062, 0.041, 0.055};
const std::vector<double> kC = {0.002, 0.017, -0.011, 0.008};

Noise NodesRow(const std::string& probe, const std::string& machine, double sigma, double df,
               double span_minutes = 60) {
  return {.probe = probe,
          .machine = machine,
          .between = "nodes",
          .sigma = sigma,
          .df = df,
          .span_minutes = span_minutes,
          .is_measured = true,
          .how = "9 nodes",
          .date = "2026-11-28"};
}

void ExpectChange(const CompareRow& row, double low, double high) {
  EXPECT_NEAR(row.change.interval->low, low, 1e-10);
  EXPECT_NEAR(row.change.interval->high, high, 1e-10);
}

// The right values are those of a Python program on numpy (tests/moderate_test.cpp).
TEST(CompareNodes, TwoTypesOfThreeNodesBorrowFromEachOther) {
  const Comparison comparison = Compare(NodesWith("a", kA), NodesWith("b", kB), {});
  const CompareRow& row = comparison.rows.at(0);
  ExpectChange(row, 1.017411889545104, 1.0725846471529543);
  EXPECT_EQ(row.between_nodes, "each side: spread from 3 own nodes and 1 df of 1 other type");
  EXPECT_EQ(row.change.interval->units, 6);
  EXPECT_THAT(comparison.notes, IsEmpty());
  EXPECT_THAT(ComparisonTable(comparison, false),
              HasSubstr("\neach side: spread from 3 own nodes"));
  EXPECT_THAT(ComparisonToJson(comparison), HasSubstr("1 df of 1 other type"));
  EXPECT_THAT(ComparisonCsv(comparison), HasSubstr("1 df of 1 other type"));
}

TEST(CompareNodes, AMeasuredRowJoinsInAndIsNamed) {
  const auto compare = [](const std::vector<Noise>& rows) {
    return Compare(NodesWith("a", kA), NodesWith("b", kB), {.noise = rows});
  };
  const Comparison comparison = compare({NodesRow("compute", "*", 0.0155, 15)});
  ExpectChange(comparison.rows.at(0), 1.020645688603574, 1.0691862854483771);
  EXPECT_EQ(comparison.rows[0].between_nodes,
            "each side: spread from 3 own nodes and 4 df of 1 other type and 1 measured row");
  EXPECT_THAT(comparison.notes,
              Contains("the spread between nodes was measured before: compute 1.55 % (9 nodes over "
                       "60 min, 2026-11-28)"));
  // What doesn't fit or was not measured doesn't.
  Noise guess = NodesRow("compute", "*", 0.0155, 15);
  guess.is_measured = false;
  for (const Noise& other :
       {NodesRow("network", "*", 0.0155, 15), guess, NodesRow("compute", "c", 0.0155, 15)}) {
    ExpectChange(compare({other}).rows[0], 1.017411889545104, 1.0725846471529543);
  }
  // Runs further apart than the row's span leave it 2 df: 1 of them and 1 of the other type.
  Side late = NodesWith("b", kB);
  late.runs[1].started = "2026-11-28T13:00:01Z";
  const Comparison apart =
      Compare(NodesWith("a", kA), late, {.noise = {NodesRow("gemm", "b", 0.0155, 15)}});
  EXPECT_THAT(apart.notes, Contains(HasSubstr("2026-11-28); these runs lie further apart, so that "
                                              "it counts as 2 df")));
  EXPECT_EQ(apart.rows[0].between_nodes,
            "spread from 3 own nodes and 2 df of 1 other type and 1 measured row against spread "
            "from 3 own nodes and 1 df of 1 other type");
}

TEST(CompareNodes, OneMachineIsComparedByItsRuns) {
  Side one;
  for (const double value : kA) one.runs.push_back(RunOn("a", "a", {Gemm(64, value)}));
  const CompareRow alone = Compare(one, one, {}).rows.at(0);
  const Interval runs = RatioInterval(kA, kA);
  ExpectChange(alone, runs.low, runs.high);
  EXPECT_EQ(alone.between_nodes, "");
  const CompareRow against = Compare(one, NodesWith("b", kB), {}).rows.at(0);
  const Interval mixed = RatioInterval(kA, kB);
  ExpectChange(against, mixed.low, mixed.high);
  EXPECT_EQ(against.between_nodes, "spread from 3 own nodes alone against spread between runs");
}

TEST(CompareNodes, From20NodesASideTheIntervalIsTheBootstraps) {
  std::vector<double> a;
  std::vector<double> b;
  for (int i = 0; i < 20; ++i) {
    a.push_back(0.01 * std::sin(i));
    b.push_back(0.01 * std::cos(i));
  }
  // Nodes are in the order of their ids.
  Side of_a;
  Side of_b;
  for (int i = 0; i < 20; ++i) {
    const std::string id = std::to_string(100 + i);
    of_a.runs.push_back(RunOn("a" + id, "a", {Gemm(64, a[static_cast<std::size_t>(i)])}));
    of_b.runs.push_back(RunOn("b" + id, "b", {Gemm(64, b[static_cast<std::size_t>(i)])}));
  }
  const Interval bootstrap = RatioInterval(a, b);
  ExpectChange(Compare(of_a, of_b, {}).rows.at(0), bootstrap.low, bootstrap.high);
}

TEST(CompareNodes, WhatCantBeFoundSaysHowManyNodesItTakes) {
  const auto side = [](const std::string& name, double sigma) {
    return NodesWith(name, {-sigma, 0, sigma});
  };
  const Comparison wide = Compare(side("a", 0.05), side("b", 0.05), {});
  EXPECT_EQ(wide.rows[0].nodes_to_find, 18);
  EXPECT_EQ(wide.rows[0].verdict, Verdict::kUnclear);
  for (const std::string& shown :
       {ComparisonTable(wide, false), ComparisonCsv(wide), ComparisonToJson(wide)}) {
    EXPECT_THAT(shown, HasSubstr("to find 5 % takes 18 nodes a side"));
  }
  EXPECT_FALSE(Compare(side("a", 0.015), side("b", 0.015), {}).rows[0].nodes_to_find.has_value());
  EXPECT_EQ(Compare(side("a", 1), side("b", 1), {}).rows[0].nodes_to_find, kManyNodes);
  // The count is of either side, and rests on the spread that is in the interval.
  const Side many = NodesWith("b", std::vector<double>(40, 0.0));
  EXPECT_TRUE(Compare(side("a", 0.05), many, {}).rows[0].nodes_to_find.has_value());
  EXPECT_TRUE(Compare(many, side("c", 0.05), {}).rows[0].nodes_to_find.has_value());
  const std::vector<Noise> row = {NodesRow("gemm", "*", 0.05, 15)};
  const CompareRow moderated = Compare(side("a", 0.015), side("b", 0.015), {.noise = row}).rows[0];
  const double variance = (4 * (0.05 * 0.05 + 0.015 * 0.015) / 2 + 2 * 0.015 * 0.015) / 6;
  const PlannedType type = {.variance = variance, .known = {{.variance = 0.05 * 0.05, .df = 8}}};
  EXPECT_EQ(moderated.nodes_to_find, NodesToFind(1.05, type, type));
  EXPECT_EQ(moderated.nodes_to_find, 9);
}

// The headline and two other cases on two nodes a side that are far apart.
Side WithHeadline(const std::string& instance, double log_speed, bool is_tuned = false) {
  Side side;
  for (const double node : {-0.01, 0.01}) {
    const double value = log_speed + node;
    side.runs.push_back(RunOn(instance + std::to_string(node), instance,
                              {Headline(value), Gemm(64, value), Gemm(65, value)}));
    if (is_tuned) side.runs.back().records.push_back(Headline(value, "tuned"));
  }
  return side;
}

std::vector<double> ConfidencesOf(const Comparison& comparison) {
  std::vector<double> confidences;
  for (const CompareRow& row : comparison.rows) confidences.push_back(row.confidence.value());
  return confidences;
}

void ExpectConfidences(const Comparison& comparison, const std::vector<double>& expected) {
  EXPECT_THAT(ConfidencesOf(comparison),
              ::testing::Pointwise(::testing::DoubleNear(1e-12), expected));
}

TEST(Primary, TheHeadlineIsAskedAloneAndTheOthersAmongThemselves) {
  const Comparison comparison = Compare(WithHeadline("a", 0), WithHeadline("b", 0), {});
  ExpectConfidences(comparison, {0.975, 0.975, 0.95});  // gemm, gemm, headline
  EXPECT_TRUE(comparison.rows[2].is_primary);
  EXPECT_FALSE(comparison.rows[0].is_primary);
  EXPECT_THAT(ComparisonTable(comparison, false),
              HasSubstr("intervals: 95 %, headline bf16-cpu/2 asked alone, the other cases "
                        "Holm-adjusted"));
  EXPECT_THAT(ComparisonToJson(comparison), HasSubstr("\"is_primary\":true"));
  EXPECT_THAT(ComparisonToJson(comparison),
              HasSubstr("\"device_kind\":\"" + comparison.rows[2].kind + "\""));
  EXPECT_THAT(ComparisonCsv(comparison), HasSubstr(",true,"));
}

TEST(Primary, TheTunedHeadlineIsOneOfTheOthers) {
  ExpectConfidences(Compare(WithHeadline("a", 0, true), WithHeadline("b", 0, true), {}),
                    {1 - 0.05 / 3, 1 - 0.05 / 3, 0.95, 1 - 0.05 / 3});
}

// On nodes with accelerators machines are compared by another case.
TEST(Primary, TheHeadlineOfOtherMachinesIsOneOfTheOthers) {
  Side a = WithHeadline("a", 0);
  Side b = WithHeadline("b", 0);
  for (Side* side : {&a, &b}) {
    for (OneRun& run : side->runs) run.nodes[0].accelerators = {{.name = "H100", .present = 8}};
  }
  ExpectConfidences(Compare(a, b, {}), std::vector<double>(3, 1 - 0.05 / 3));
}

TEST(Primary, AnotherCaseMayBeChosenByItsWordsOrAllOfAProbe) {
  const auto compare = [](const std::string& primary) {
    return Compare(WithHeadline("a", 0), WithHeadline("b", 0), {.primary = primary});
  };
  ExpectConfidences(compare("gemm dtype=f32,m=65"), {0.975, 0.95, 0.975});
  const Comparison all = compare("gemm");
  ExpectConfidences(all, {0.975, 0.975, 0.95});
  EXPECT_THAT(ComparisonTable(all, false),
              HasSubstr("the 2 primary cases Holm-adjusted, and so the others among them"));
  for (const std::string missing : {"storage", "gemm dtype=f32,m=66"}) {
    try {
      compare(missing);
      ADD_FAILURE() << missing;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("'" + missing + "' is none of those"));
      EXPECT_THAT(error.what(), HasSubstr("gemm dtype=f32,m=64"));
    }
    EXPECT_THROW(Rank({WithHeadline("a", 0), WithHeadline("b", 0), WithHeadline("c", 0)},
                      {.primary = missing}),
                 Error);
  }
}

// Three types make three pairs in the primary case, and six in the two other cases together.
TEST(Primary, ARankingAdjustsThePrimaryCaseOverItsOwnPairs) {
  const Side a = NodesWith("a", kA);
  const auto side = [](const std::string& name, double shift) {
    Side all;
    for (const double node : kA) {
      all.runs.push_back(
          RunOn(name + std::to_string(node), name,
                {Headline(shift + node), Gemm(64, shift + node), Gemm(65, shift + node)}));
    }
    return all;
  };
  const std::vector<NodeGroup> groups(3, NodeGroup{.values = kA});
  const auto reach = [&](double doubt) {
    return std::log(fleet::ChangeBetween(groups, 0, 1, 1 - doubt).high);
  };
  const auto ranks = [&](double shift) {
    const Ranking ranking = Rank({side("a", 0), side("b", -shift), side("c", -shift)}, {});
    std::vector<int> of_b;
    for (const RankedCase& ranked : ranking.cases) {
      EXPECT_EQ(ranked.is_primary, ranked.probe == "headline");
      EXPECT_EQ(ranked.entries[1].between_nodes,
                "spread from 3 own nodes and 2 df of 2 other types");
      of_b.push_back(ranked.entries[1].by_speed);
    }
    return of_b;
  };
  EXPECT_THAT(ranks(reach(0.05 / 3) - 1e-6), ::testing::ElementsAre(1, 1, 1));
  EXPECT_THAT(ranks(reach(0.05 / 3) + 1e-6), ::testing::ElementsAre(1, 1, 2));
  EXPECT_THAT(ranks(reach(0.05 / 6) - 1e-6), ::testing::ElementsAre(1, 1, 2));
  EXPECT_THAT(ranks(reach(0.05 / 6) + 1e-6), ::testing::ElementsAre(2, 2, 2));
}

}  // namespace
}  // namespace assay
