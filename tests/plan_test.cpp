// Tests of plans of comparisons, on invented types, prices and spreads.
#include "results/figures/plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "error_text.h"
#include "node_fleet.h"
#include "results/base/error.h"
#include "results/figures/stats.h"
#include "results/show/json.h"
#include "results/show/plan_tables.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

Offer OfferOf(const std::string& provider, const std::string& instance, const std::string& region,
              const std::string& purchase, double usd) {
  Offer offer;
  offer.provider = offer.seller = provider;
  offer.instance = instance;
  offer.region = region;
  offer.purchase = purchase;
  offer.usd_per_hour = usd;
  offer.price_date = "2026-11-01";
  offer.date_precision = "day";
  offer.source = "made up";
  return offer;
}

// Two types, of which the second is sold in two regions, and a third without a price.
const Catalog& TheCatalog() {
  static const Catalog catalog = {
      .instances = {{.provider = "aws", .instance = "a.8", .accelerator = "H100"},
                    {.provider = "gcp", .instance = "g.8", .accelerator = "H100"},
                    {.provider = "oci", .instance = "o.8", .accelerator = "H100"}},
      .offers = {OfferOf("aws", "a.8", "r1", "on_demand", 60),
                 OfferOf("aws", "a.8", "r1", "spot", 24),
                 OfferOf("gcp", "g.8", "r1", "on_demand", 90),
                 OfferOf("gcp", "g.8", "r2", "on_demand", 96)}};
  return catalog;
}

Noise RowOf(const std::string& between, const std::string& machine, double sigma, double df) {
  return {.probe = "compute",
          .machine = machine,
          .between = between,
          .sigma = sigma,
          .df = df,
          .span_minutes = 60,
          .is_measured = true,
          .how = "made up",
          .date = "2026-11-28"};
}

PlanOptions OptionsWith(std::vector<Noise> noise = {}) {
  return {.resolve = 0.03, .catalog = &TheCatalog(), .noise = std::move(noise)};
}

TEST(Plan, TheUpperBoundOfASpreadIsThatOfChiSquare) {
  // The lower fifth of a chi-square with two degrees of freedom is -2 log 0.8.
  EXPECT_NEAR(UpperVariance({0.04, 2}), 0.04 * 2 / (-2 * std::log(0.8)), 1e-12);
  EXPECT_EQ(UpperVariance({0, 2}), 0);
  EXPECT_EQ(UpperVariance({0.04, HUGE_VAL}), 0.04);
}

TEST(Plan, RunsOfANodeArePartOfTheSpreadAsOftenAsTheyAreAveraged) {
  // Seen on nodes of two runs, planned with one: half of the variance between runs comes on top.
  const MeasuredVariance one = SpreadOfNodes({0.0004, 4}, 0.5, {0.0002, 6}, 1);
  EXPECT_NEAR(one.variance, 0.0004 + 0.0001, 1e-15);
  EXPECT_NEAR(one.degrees_of_freedom, 25e-8 / (16e-8 / 4 + 1e-8 / 6), 1e-9);
  EXPECT_NEAR(SpreadOfNodes({0.0004, 4}, 0.5, {0.0002, 6}, 4).variance, 0.0004 - 0.00005, 1e-15);
  EXPECT_NEAR(SpreadOfNodes({0.0004, 4}, 0.5, {0.0002, 6}, 2).variance, 0.0004, 1e-15);
  // Nodes never differ by less than their runs do.
  const MeasuredVariance least = SpreadOfNodes({0.0001, 4}, 1, {0.0004, 6}, 4);
  EXPECT_NEAR(least.variance, 0.0001, 1e-15);
  EXPECT_EQ(least.degrees_of_freedom, 6);
}

TEST(Plan, MeasuredRowsGiveTheNodesForBothEndsOfTheSpread) {
  const std::vector<Noise> rows = {RowOf("nodes", "*", 0.015, 15), RowOf("runs", "*", 0.006, 5)};
  const NodePlan plan = PlanNodes("aws a.8", "gcp g.8", OptionsWith(rows));
  const MeasuredVariance spread = SpreadOfNodes({0.015 * 0.015, 8}, 0, {0.006 * 0.006, 5}, 1);
  ASSERT_THAT(plan.sides, SizeIs(2));
  EXPECT_DOUBLE_EQ(plan.sides[0].spread->variance, spread.variance) << "15 df count as 8";
  EXPECT_DOUBLE_EQ(plan.sides[0].spread->degrees_of_freedom, spread.degrees_of_freedom);
  const std::vector<KnownSpread> known = {{.variance = 0.015 * 0.015, .df = 8}};
  const PlannedType as_measured = {spread.variance, known};
  const PlannedType upper = {UpperVariance(spread), known};
  EXPECT_EQ(plan.nodes_as_measured, NodesToFind(1.03, as_measured, as_measured));
  EXPECT_EQ(plan.nodes, NodesToFind(1.03, upper, upper));
  EXPECT_LT(*plan.nodes_as_measured, *plan.nodes);
  EXPECT_THAT(PlanTable(plan, false),
              AllOf(HasSubstr("a true 3.0 % at headline in 80 of 100"),
                    HasSubstr(fmt::format("measure {} nodes of each type", *plan.nodes)),
                    HasSubstr(fmt::format(": {} would do if nodes", *plan.nodes_as_measured)),
                    HasSubstr("runs of a node by 0.6 % (5 df)")));
  EXPECT_THAT(plan.commands,
              ElementsAre("assay run headline --suite standard", "assay compare results"));
}

TEST(Plan, DollarsAreNodesTimesRunsTimesMinutesAtEachWayOfBuying) {
  PlanOptions options = OptionsWith({RowOf("nodes", "*", 0.015, 8)});
  options.minutes = 20;
  options.runs = 2;
  const NodePlan plan = PlanNodes("aws a.8", "gcp g.8", options);
  const PlannedSide& of_a = plan.sides[0];
  EXPECT_EQ(of_a.spread->variance, 0.015 * 0.015) << "a guess on runs is no part of it";
  ASSERT_THAT(of_a.ways, SizeIs(2));
  EXPECT_EQ(of_a.ways[0].purchase, "on_demand");
  EXPECT_EQ(of_a.ways[1].purchase, "spot");
  EXPECT_DOUBLE_EQ(UsdOf(of_a.ways[1], of_a.ways[1].usd_per_hour, 7), 24.0 * 7 * 2 * 20 / 60);
  // Where the region isn't known, the range over all regions stands.
  ASSERT_THAT(plan.sides[1].ways, SizeIs(1)) << "no spot price, and none stands in for it";
  EXPECT_EQ(plan.sides[1].ways[0].usd_low_per_hour, 90);
  EXPECT_EQ(plan.sides[1].ways[0].usd_per_hour, 96);
  EXPECT_EQ(plan.sides[1].ways[0].where, "2 regions");
  const int nodes = *plan.nodes;
  const std::string both = fmt::format("{:#.4g} .. {:#.4g} USD", (60 + 90) * nodes * 40.0 / 60,
                                       (60 + 96) * nodes * 40.0 / 60);
  EXPECT_THAT(PlanTable(plan, false), AllOf(HasSubstr(both), HasSubstr("2 times on each of")));
  EXPECT_THAT(PlanToJson(plan), HasSubstr(fmt::format("\"usd\":{:.1f}", 60 * nodes * 40.0 / 60)));
  EXPECT_THAT(PlanCsv(plan), HasSubstr(",spot,r1,,24,24,"));
}

TEST(Plan, ANodeIsPaidByItsProvidersUnitAndMinimum) {
  Catalog catalog = TheCatalog();
  catalog.billing = {{.provider = "aws", .purchases = {"spot"}, .unit_s = 60, .minimum_s = 3600}};
  PlanOptions options = OptionsWith({RowOf("nodes", "*", 0.015, 8)});
  options.minutes = 20;
  options.catalog = &catalog;
  const NodePlan plan = PlanNodes("aws a.8", "gcp g.8", options);
  EXPECT_DOUBLE_EQ(plan.sides[0].ways[0].hours_a_node, 20.0 / 60);
  EXPECT_DOUBLE_EQ(plan.sides[0].ways[1].hours_a_node, 1);
}

TEST(Plan, ATypeWithoutAPriceHasNodesAndNoDollars) {
  const NodePlan plan =
      PlanNodes("aws a.8", "oci o.8", OptionsWith({RowOf("nodes", "*", 0.015, 8)}));
  EXPECT_TRUE(plan.nodes.has_value());
  EXPECT_THAT(PlanTable(plan, false), HasSubstr("no price of oci o.8 is known"));
}

TEST(Plan, WhereNothingTellsTheSpreadItPromisesNothingAndSaysWhatToRun) {
  // A row on the nodes of one type says nothing of the other, nor does one on runs, nor a guess.
  Noise guess = RowOf("nodes", "*", 0.015, 1);
  guess.is_measured = false;
  guess.span_minutes.reset();
  const NodePlan plan =
      PlanNodes("aws a.8", "gcp g.8",
                OptionsWith({RowOf("nodes", "a.8", 0.015, 8), RowOf("runs", "*", 0.01, 8), guess}));
  EXPECT_FALSE(plan.nodes.has_value());
  EXPECT_TRUE(plan.sides[0].spread.has_value());
  EXPECT_FALSE(plan.sides[1].spread.has_value());
  EXPECT_THAT(plan.commands,
              ElementsAre("assay run headline --suite standard",
                          "assay plan 'aws a.8' 'gcp g.8' --resolve 3% --results results"));
  EXPECT_THAT(PlanTable(plan, false),
              AllOf(StartsWith("No number of nodes can be promised"),
                    HasSubstr("Measure 3 nodes of each type first"),
                    HasSubstr("how nodes of gcp g.8 differ is not known: no result files were "
                              "given, and no measured row"),
                    HasSubstr("Once on each of 3 nodes of aws a.8")));
  EXPECT_THAT(PlanToJson(plan), AllOf(HasSubstr("\"nodes\":null"), HasSubstr("\"nodes_next\":3")));
}

TEST(Plan, ANameThatIsNoTypeIsAnsweredWithTheNearest) {
  const auto error = [](const std::string& a, const std::string& b) {
    return ErrorText([&] { PlanNodes(a, b, OptionsWith()); });
  };
  EXPECT_THAT(error("aws a.9", "gcp g.8"), HasSubstr("did you mean aws a.8?"));
  EXPECT_THAT(error("aws a.8", "g.8"), HasSubstr("did you mean gcp g.8?"));
  EXPECT_THAT(error("aws a.8", "AWS A.8"), HasSubstr("both sides of the plan are aws a.8"));
  PlanOptions options = OptionsWith();
  options.primary = "hedline";
  EXPECT_THAT(ErrorText([&] { PlanNodes("aws a.8", "gcp g.8", options); }),
              AllOf(StartsWith("--primary hedline"), HasSubstr("headline")));
}

// --- Files ---

Record CaseOf(double log_speed) {
  return {.probe = "gemm",
          .params = {{"dtype", std::string("bf16")}, {"m", std::int64_t{64}}},
          .backend = "onednn",
          .work = {.flops = 1'000'000'000},
          .rounds = {{.batch = 1, .time_s = {std::exp(-log_speed)}}}};
}

// Runs of ten minutes on nodes whose log speeds are given, one list of runs a node.
std::vector<OneRun> RunsOf(const std::string& provider, const std::string& instance,
                           const std::vector<std::vector<double>>& nodes) {
  static int count = 0;
  std::vector<OneRun> runs;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const double log_speed : nodes[i]) {
      OneRun run = {.id = fmt::format("run{}", ++count),
                    .started = "2026-11-20T10:00:00Z",
                    .ended = "2026-11-20T10:10:00Z",
                    .nodes = {Node{.node_id = fmt::format("{}{}", instance, i)}},
                    .records = {CaseOf(log_speed)}};
      Identity& identity = run.nodes[0].identity;
      identity.provider.value = provider;
      identity.instance.value = instance;
      identity.region.value = "r1";
      runs.push_back(std::move(run));
    }
  }
  return runs;
}

std::vector<RunBrief> BriefsOf(const std::vector<std::vector<OneRun>>& all) {
  std::vector<RunBrief> briefs;
  for (const std::vector<OneRun>& runs : all) {
    for (const OneRun& run : runs) {
      briefs.push_back(MakeBrief(run, run.id + ".json", TheCatalog(), false));
    }
  }
  return briefs;
}

TEST(Plan, FilesGiveTheSpreadThatCompareFindsInThem) {
  const std::vector<std::vector<double>> of_a = {{0.00, 0.02}, {0.03, 0.05}, {0.08, 0.10}};
  const std::vector<std::vector<double>> of_b = {{0.01, 0.03}, {0.00, 0.02}, {0.07, 0.09}};
  const std::vector<RunBrief> briefs =
      BriefsOf({RunsOf("aws", "a.8", of_a), RunsOf("gcp", "g.8", of_b)});
  PlanOptions options = OptionsWith();
  options.briefs = briefs;
  options.folder = "my runs";
  const NodePlan plan = PlanNodes("aws a.8", "gcp g.8", options);
  const std::vector<NodeGroup> groups = {{.values = {0.01, 0.04, 0.09}},
                                         {.values = {0.02, 0.01, 0.08}}};
  const NodeSpread between = *ModerateSpreads(groups).of[0];
  // Two runs of a node differ by 2 %, on each of three nodes.
  const MeasuredVariance spread =
      SpreadOfNodes({between.variance, between.df}, 0.5, {0.0002, 3}, 1);
  EXPECT_NEAR(plan.sides[0].spread->variance / spread.variance, 1, 1e-9);
  EXPECT_NEAR(plan.sides[0].spread->degrees_of_freedom / spread.degrees_of_freedom, 1, 1e-9);
  EXPECT_THAT(plan.sides[0].spread_words,
              HasSubstr("spread from 3 own nodes and 1 df of 1 other type"));
  EXPECT_EQ(plan.sides[0].minutes_a_run, 10);
  ASSERT_THAT(plan.sides[1].ways, SizeIs(1)) << "at the price of the region of the files";
  EXPECT_EQ(plan.sides[1].ways[0].usd_per_hour, 90);
  EXPECT_THAT(plan.commands,
              ElementsAre("assay run gemm --set dtype=bf16 --set m=64", "assay compare 'my runs'"));
  // With as many runs as the files have, the spread is as it was found.
  options.runs = 2;
  EXPECT_NEAR(PlanNodes("aws a.8", "gcp g.8", options).sides[0].spread->variance / between.variance,
              1, 1e-9);
}

TEST(Plan, OneNodeOfATypeTellsNothingOfTheOthers) {
  const std::vector<RunBrief> briefs =
      BriefsOf({RunsOf("aws", "a.8", {{0.0}, {0.1}, {0.2}}), RunsOf("gcp", "g.8", {{0.0, 0.1}})});
  PlanOptions options = OptionsWith();
  options.briefs = briefs;
  const NodePlan plan = PlanNodes("aws a.8", "gcp g.8", options);
  EXPECT_FALSE(plan.nodes.has_value());
  EXPECT_THAT(plan.sides[1].spread_words, HasSubstr("these files have one of them"));
  EXPECT_THAT(PlanNodes("aws a.8", "oci o.8", options).sides[1].spread_words,
              HasSubstr("these files have none of them"));
}

TEST(Plan, NamesOfAStrangersFileAreOneWordOfACommand) {
  const std::string name = "a.8'; touch pwned; '";
  const std::vector<RunBrief> briefs =
      BriefsOf({RunsOf("aws", name, {{0.0}, {0.1}}), RunsOf("gcp", "g.8", {{0.0}})});
  PlanOptions options = OptionsWith();
  options.briefs = briefs;
  options.folder = "-x $(y)";
  const NodePlan plan = PlanNodes("aws " + name, "gcp g.8", options);
  EXPECT_EQ(plan.commands.back(),
            "assay plan 'aws a.8'\\''; touch pwned; '\\''' 'gcp g.8' --resolve 3% --results "
            "'./-x $(y)'");
  EXPECT_THAT(PlanTable(plan, false), Not(HasSubstr("\033")));
}

// --- The promise, by the product's own comparison; tests/bench/nodes_bench.cpp has more of it ---

TEST(Plan, ThePlannedDifferenceIsFoundAsOftenAsPromised) {
  constexpr int kPairs = 2000;
  // 3.09 standard errors below the bar of 77 %.
  const double least = 0.77 - 3.09 * std::sqrt(0.77 * 0.23 / kPairs);
  for (const fleet::PlannedPair& pair :
       {fleet::PlannedPair{.factor = 1.03, .sigma_a = 0.015, .sigma_b = 0.015},
        {.factor = 1.05, .sigma_a = 0.03, .sigma_b = 0.03},
        {.factor = 1.05, .sigma_a = 0.03, .sigma_b = 0.003},
        {.factor = 1.05, .sigma_a = 0.03, .sigma_b = 0.015}}) {
    const int nodes = fleet::NodesPlanned(pair);
    EXPECT_GE(fleet::PowerOf(pair, nodes, kPairs, 7), least) << pair.sigma_b << ' ' << nodes;
    EXPECT_LT(fleet::PowerOf(pair, nodes, kPairs, 7), 0.92) << "and with no more nodes than that";
  }
}

TEST(Plan, AFewDegreesOfFreedomKeepThePromiseInNineOfTenPlans) {
  const fleet::PlanOutcome outcome = fleet::PlanFrom(1.03, 0.015, 8, false, 400, 4000, 11);
  EXPECT_GE(outcome.kept, 0.90 - 3.09 * std::sqrt(0.9 * 0.1 / 400));
}

}  // namespace
}  // namespace assay
