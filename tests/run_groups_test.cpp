// Tests of groups of runs: invented runs of six machine types whose true speeds are known.
#include "results/figures/run_groups.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/figures/figures.h"
#include "results/show/group_tables.h"
#include "results/show/json.h"
#include "results/show/writer.h"
#include "tests/error_text.h"

namespace assay {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

constexpr const char* kDay = "2026-11-30";

// A machine type that was made up.
struct Invented {
  std::string provider = {};
  std::string instance = {};
  int gpus = 8;
  double tflops = 0;  // the true speed of a node
  double usd = 0;     // an hour on demand
  std::string region = "r1";
};

const std::vector<Invented>& SixTypes() {
  static const std::vector<Invented> types = {
      {.provider = "aws", .instance = "a.8", .tflops = 5600, .usd = 55},
      {.provider = "gcp", .instance = "g.8", .tflops = 5300, .usd = 88},
      {.provider = "azure", .instance = "z.8", .tflops = 5000, .usd = 98},
      {.provider = "oci", .instance = "o.8", .tflops = 4700, .usd = 80},
      {.provider = "lambda", .instance = "l.8", .tflops = 2000, .usd = 15},
      {.provider = "aws", .instance = "a.1", .gpus = 1, .tflops = 710, .usd = 7}};
  return types;
}

Catalog CatalogOf(const std::vector<Invented>& types) {
  Catalog catalog;
  for (const Invented& type : types) {
    catalog.instances.push_back({.provider = type.provider,
                                 .instance = type.instance,
                                 .accelerator = "H100",
                                 .accelerator_count = type.gpus,
                                 .accelerator_memory_gib = 80});
    for (const auto& [purchase, factor] : {std::pair("on_demand", 1.0), {"spot", 0.5}}) {
      Offer offer;
      offer.provider = offer.seller = type.provider;
      offer.instance = type.instance;
      offer.region = type.region;
      offer.purchase = purchase;
      offer.usd_per_hour = type.usd * factor;
      offer.price_date = "2026-11-01";
      offer.date_precision = "day";
      offer.source = "made up";
      catalog.offers.push_back(std::move(offer));
    }
  }
  catalog.devices.push_back({.name = "H100", .match = {"NVIDIA H100"}, .power_w = 700});
  return catalog;
}

// A case of 10^13 operations a device with five rounds at that speed, in TFLOP/s of all devices.
Record CaseAt(std::int64_t m, double tflops, int gpus) {
  Record record = {.probe = "gemm",
                   .params = {{"dtype", std::string("bf16")},
                              {"m", m},
                              {"n", std::int64_t{64}},
                              {"k", std::int64_t{64}}},
                   .backend = "cublaslt",
                   .device = {.kind = "gpu", .name = "NVIDIA H100"},
                   .work = {.flops = std::int64_t{10'000'000'000'000} * gpus}};
  for (int i = 0; i < gpus; ++i) record.units.push_back({.device = i});
  for (int round = 0; round < 5; ++round) {
    record.rounds.push_back({.batch = 1, .time_s = {10.0 * gpus / tflops}});
  }
  return record;
}

Record HeadlineAt(double tflops, int gpus) {
  Record record = CaseAt(1, tflops, gpus);
  record.probe = "headline";
  record.params = {{"name", std::string("bf16-train/1")}, {"regime", std::string("sustained")}};
  for (Visit& visit : record.rounds) visit.sustained = Sustained{.least_s = 60};
  record.verify = Verification{.checked = 1};
  return record;
}

OneRun RunOn(const Invented& type, const std::string& node, double tflops) {
  static int count = 0;
  OneRun run = {.id = fmt::format("run{}", ++count),
                .started = "2026-11-20T10:00:00Z",
                .rounds = 5,
                .nodes = {Node{.node_id = node}},
                .records = {HeadlineAt(tflops, type.gpus), CaseAt(8, tflops / 2, type.gpus)}};
  Node& only = run.nodes.front();
  only.identity.provider.value = type.provider;
  only.identity.instance.value = type.instance;
  only.identity.region.value = type.region;
  only.accelerators = {{.name = "NVIDIA H100",
                        .present = type.gpus,
                        .visible = type.gpus,
                        .used = type.gpus,
                        .power_limit_w = 700}};
  return run;
}

// Nodes around the true speed, evenly spread by `spread` either way, with two runs each.
std::vector<OneRun> RunsOf(const Invented& type, int nodes, double spread) {
  std::vector<OneRun> runs;
  for (int node = 0; node < nodes; ++node) {
    const double at = nodes == 1 ? 0 : 2.0 * node / (nodes - 1) - 1;
    for (const double of_run : {-0.001, 0.001}) {
      runs.push_back(RunOn(type, fmt::format("{}-{}", type.instance, node),
                           type.tflops * std::exp(at * spread + of_run)));
    }
  }
  return runs;
}

std::vector<OneRun> RunsOfSix(int nodes = 3, double spread = 0.01) {
  std::vector<OneRun> runs;
  for (const Invented& type : SixTypes()) {
    for (OneRun& run : RunsOf(type, nodes, spread)) runs.push_back(std::move(run));
  }
  return runs;
}

std::vector<RunBrief> BriefsOf(std::vector<OneRun> runs, const Catalog& catalog) {
  std::vector<RunBrief> briefs;
  for (OneRun& run : runs) {
    const std::string file = run.id + ".json";
    briefs.push_back(MakeBrief(std::move(run), file, catalog, false));
  }
  return briefs;
}

GroupRanking Ranked(std::vector<OneRun> runs, GroupOptions options = {},
                    const Catalog& catalog = CatalogOf(SixTypes())) {
  const std::vector<RunBrief> briefs = BriefsOf(std::move(runs), catalog);
  options.instances = catalog.instances;
  options.offers = catalog.offers;
  options.today = kDay;
  std::vector<std::string> notes;
  std::vector<RunGroup> groups = GroupRuns(briefs, options, notes);
  GroupRanking ranking = RankGroups(briefs, std::move(groups), options);
  ranking.notes.insert(ranking.notes.begin(), notes.begin(), notes.end());
  return ranking;
}

std::vector<std::string> NamesIn(const GroupRanking& ranking, std::size_t which = 0) {
  std::vector<std::string> names;
  for (const GroupPlace& place : ranking.cases.at(which).places) {
    names.push_back(ranking.groups[place.group].name);
  }
  return names;
}

const GroupPlace& PlaceOf(const GroupRanking& ranking, const std::string& name,
                          std::size_t which = 0) {
  for (const GroupPlace& place : ranking.cases.at(which).places) {
    if (ranking.groups[place.group].name == name) return place;
  }
  throw Error("no group " + name);
}

TEST(RunGroups, SixTypesWithAKnownTruthComeInItsOrder) {
  const GroupRanking ranking = Ranked(RunsOfSix());
  EXPECT_THAT(NamesIn(ranking),
              ElementsAre("aws a.8", "gcp g.8", "azure z.8", "oci o.8", "lambda l.8", "aws a.1"));
  EXPECT_EQ(ranking.primary_why, "the headline");
  const GroupPlace& first = ranking.cases[0].places[0];
  EXPECT_TRUE(first.by_speed.is_best);
  EXPECT_LT(std::exp(first.by_speed.by_at_least), 5600.0 / 5300);
  EXPECT_NEAR(first.speed, 5600e12, 1e9);
  for (std::size_t i = 1; i < 6; ++i) {
    const Place& place = ranking.cases[0].places[i].by_speed;
    EXPECT_FALSE(place.may_be_best);
    const double behind = std::log(5600 / SixTypes()[i].tflops);
    EXPECT_LT(*place.behind_low, behind);
    EXPECT_GT(*place.behind_high, behind);
  }
}

TEST(RunGroups, ThePrimaryCaseIsAskedAloneAndTheOthersShareTheError) {
  const auto width = [](const GroupRanking& ranking, std::size_t which) {
    const Place& place = ranking.cases.at(which).places.at(2).by_speed;
    return *place.behind_high - *place.behind_low;
  };
  const GroupRanking two = Ranked(RunsOfSix());
  ASSERT_THAT(two.cases, SizeIs(2));
  EXPECT_NEAR(width(two, 1), width(two, 0), 1e-9);  // the same spread, and one of each
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : runs) {
    const double tflops = Speed(run.records[0])->value / 1e12;
    for (const std::int64_t m : {16, 32}) run.records.push_back(CaseAt(m, tflops, 1));
  }
  const GroupRanking four = Ranked(runs);
  ASSERT_THAT(four.cases, SizeIs(4));
  EXPECT_NEAR(width(four, 0), width(two, 0), 1e-9);
  EXPECT_GT(width(four, 1), 1.2 * width(two, 1));
}

TEST(RunGroups, ANodeCountsOnceHoweverOftenItWasMeasured) {
  std::vector<OneRun> runs = RunsOfSix();
  for (int i = 0; i < 4; ++i) runs.push_back(RunOn(SixTypes()[0], "a.8-0", 5600));
  const GroupRanking ranking = Ranked(runs);
  const GroupPlace& place = PlaceOf(ranking, "aws a.8");
  EXPECT_EQ(ranking.runs, 40u);
  ASSERT_EQ(place.nodes.size(), 3u);
  EXPECT_EQ(place.lottery.nodes, 3);
  const auto often = std::ranges::find(place.nodes, "a.8-0", &NodeOfGroup::node);
  EXPECT_EQ(often->runs, 6);
}

TEST(RunGroups, DollarsFollowTheSpeedAtThePriceOfANode) {
  const GroupRanking ranking = Ranked(RunsOfSix());
  // 55 USD/h at 5,600 TFLOP/s is 0.009821 USD per TFLOP/s-h.
  const GroupPlace& a = PlaceOf(ranking, "aws a.8");
  EXPECT_NEAR(a.usd.at(0).value(), 55.0 / 5600, 1e-8);
  EXPECT_EQ(ranking.cases[0].cost_label, "$ per TFLOP/s-h");
  const GroupPlace& l = PlaceOf(ranking, "lambda l.8");
  EXPECT_TRUE(l.by_cost->is_best);
  EXPECT_NEAR(l.usd.at(0).value(), 15.0 / 2000, 1e-8);
  EXPECT_FALSE(a.by_cost->may_be_best);
  const double dearer = std::log((55.0 / 5600) / (15.0 / 2000));
  EXPECT_LT(*a.by_cost->behind_low, dearer);
  EXPECT_GT(*a.by_cost->behind_high, dearer);
}

TEST(RunGroups, TheWayOfBuyingChoosesAPriceAndNeverAGroup) {
  std::vector<OneRun> runs = RunsOfSix();
  for (std::size_t i = 0; i < runs.size(); i += 2) {
    runs[i].nodes[0].identity.purchase.value = "spot";
  }
  const GroupRanking on_demand = Ranked(runs);
  EXPECT_THAT(on_demand.groups, SizeIs(6));
  for (const RunGroup& group : on_demand.groups) {
    ASSERT_THAT(group.prices, SizeIs(1));
    EXPECT_EQ(group.prices[0].offer->purchase, "on_demand");
    EXPECT_EQ(group.bought.at("spot"), 3);
  }
  const GroupRanking all = Ranked(runs, {.purchases = {"all"}});
  const GroupPlace& place = PlaceOf(all, "aws a.8");
  ASSERT_THAT(place.usd, SizeIs(2));
  EXPECT_EQ(place.speed, PlaceOf(on_demand, "aws a.8").speed);
  EXPECT_NEAR(*place.usd[1], *place.usd[0] / 2, 1e-9);
  EXPECT_EQ(place.cheapest, 1u);
  EXPECT_THAT(AnswerOf(all, kDay), HasSubstr("spot"));
  // A way of buying that is asked for and has no price says so.
  const GroupRanking reserved = Ranked(runs, {.purchases = {"reserved"}});
  EXPECT_FALSE(reserved.groups[0].prices[0].offer);
  EXPECT_EQ(reserved.groups[0].prices[0].why, "no reserved price is known there");
}

TEST(RunGroups, OwnedNodesAreAWayOfBuyingWithTheFormulaOfTheirPrice) {
  // 350400 / (4 x 8760 x 0.5) + 10 x 1.2 x 0.1 = 21.2 USD/h.
  const OwnedMachine machine = {.capex_usd = 350400,
                                .power_kw = 10,
                                .years = 4,
                                .utilisation = 0.5,
                                .pue = 1.2,
                                .usd_per_kwh = 0.1};
  const GroupRanking both =
      Ranked(RunsOfSix(), {.purchases = {"on_demand", "owned"}, .owned = machine});
  const GroupRanking alone = Ranked(RunsOfSix(), {.owned = machine});
  for (std::size_t i = 0; i < both.groups.size(); ++i) {
    ASSERT_THAT(both.groups[i].prices, SizeIs(2));
    EXPECT_EQ(both.groups[i].prices[0].offer->purchase, "on_demand");
    ASSERT_THAT(alone.groups[i].prices, SizeIs(1));
    for (const Chosen& owned : {both.groups[i].prices[1], alone.groups[i].prices[0]}) {
      EXPECT_EQ(owned.offer->purchase, "owned");
      EXPECT_NEAR(*owned.offer->usd_per_hour, 21.2, 1e-9);
      EXPECT_THAT(owned.why, HasSubstr("owned: 350400 USD / (4 years x 8760 h"));
    }
  }
}

TEST(RunGroups, ARegionWithoutAPriceIsPassedOverForOneThatHasIt) {
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : runs) {
    if (run.nodes[0].node_id != "a.8-1") continue;
    run.nodes[0].identity.region.value = "r2";
  }
  Catalog catalog = CatalogOf(SixTypes());
  const GroupRanking one = Ranked(runs, {}, catalog);
  const auto group = std::ranges::find(one.groups, "aws a.8", &RunGroup::name);
  EXPECT_EQ(group->regions.at("r2"), 2);
  EXPECT_EQ(group->prices[0].offer->region, "r1");
  EXPECT_FALSE(group->prices[0].offer->usd_high);
  // With a price in both, the second is the end of a range, which no verdict may fall within.
  Offer dearer = catalog.offers.front();
  dearer.region = "r2";
  dearer.usd_per_hour = 70;
  catalog.offers.push_back(dearer);
  const GroupRanking two = Ranked(runs, {}, catalog);
  const auto ranged = std::ranges::find(two.groups, "aws a.8", &RunGroup::name);
  EXPECT_EQ(ranged->prices[0].offer->usd_per_hour, 55);
  EXPECT_EQ(ranged->prices[0].offer->usd_high, 70);
  EXPECT_THAT(ranged->prices[0].note, HasSubstr("70.00 USD in r2"));
}

TEST(RunGroups, ARangeOfPricesRulesOutOnlyWhatEachPriceDoes) {
  // The second costs 4 % more at the same speed, which 1 in 1,000 of spread tells for sure.
  std::vector<Invented> types = {{.provider = "aws", .instance = "a", .tflops = 5000, .usd = 50},
                                 {.provider = "gcp", .instance = "g", .tflops = 5000, .usd = 52},
                                 {.provider = "oci", .instance = "o", .tflops = 5000, .usd = 90}};
  std::vector<OneRun> runs;
  for (const Invented& type : types) {
    for (OneRun& run : RunsOf(type, 3, 0.001)) runs.push_back(std::move(run));
  }
  Catalog catalog = CatalogOf(types);
  EXPECT_TRUE(PlaceOf(Ranked(runs, {}, catalog), "aws a").by_cost->is_best);
  catalog.offers[0].usd_high = 53;
  const GroupRanking ranged = Ranked(runs, {}, catalog);
  EXPECT_FALSE(PlaceOf(ranged, "aws a").by_cost->is_best);
  EXPECT_TRUE(PlaceOf(ranged, "gcp g").by_cost->may_be_best);
  EXPECT_FALSE(PlaceOf(ranged, "oci o").by_cost->may_be_best);
  // What may cost less than it says may be the cheapest, too.
  catalog = CatalogOf(types);
  catalog.offers[4].usd_low = 49;
  const GroupRanking below = Ranked(runs, {}, catalog);
  EXPECT_FALSE(PlaceOf(below, "aws a").by_cost->is_best);
  EXPECT_TRUE(PlaceOf(below, "oci o").by_cost->may_be_best);
}

TEST(RunGroups, OneNodeIsNeitherRuledOutNorDeclared) {
  for (const double tflops : {500.0, 9000.0}) {
    std::vector<OneRun> runs = RunsOfSix();
    const Invented lone = {.provider = "neo", .instance = "n.8", .tflops = tflops, .usd = 1};
    for (OneRun& run : RunsOf(lone, 1, 0)) runs.push_back(std::move(run));
    const GroupRanking ranking = Ranked(runs);
    const Place& place = PlaceOf(ranking, "neo n.8").by_speed;
    EXPECT_TRUE(place.may_be_best);
    EXPECT_FALSE(place.is_best);
    EXPECT_EQ(NamesIn(ranking)[tflops > 5600 ? 0 : 6], "neo n.8");
    EXPECT_THAT(AnswerOf(ranking, kDay),
                HasSubstr("is ahead of all that have two nodes or more. neo n.8 (1 node) with "));
    EXPECT_THAT(AnswerOf(ranking, kDay), HasSubstr("may be the fastest, too: one node rules"));
  }
}

TEST(RunGroups, TwoNodesSpeakForThemselvesAndThreeForTheType) {
  EXPECT_THAT(AnswerOf(Ranked(RunsOfSix(2, 0.0001)), kDay), HasSubstr("aws a.8 (these 2 nodes)"));
  EXPECT_THAT(AnswerOf(Ranked(RunsOfSix(3, 0.0001)), kDay), HasSubstr("aws a.8 (3 nodes)"));
}

TEST(RunGroups, TheAnswerSaysWhoWhatByHowMuchAndAtWhatPriceOfWhichDate) {
  const std::string answer = AnswerOf(Ranked(RunsOfSix()), kDay);
  EXPECT_THAT(answer, HasSubstr("At headline bf16-train/1, aws a.8 (3 nodes) is the fastest, by at "
                                "least "));
  EXPECT_THAT(answer, HasSubstr("5.600 PFLOP/s."));
  EXPECT_THAT(answer, HasSubstr("lambda l.8 (3 nodes) is the cheapest, by at least "));
  EXPECT_THAT(answer, HasSubstr("0.007500 USD per TFLOP/s-h at 15.00 USD/h a node (1.88 a GPU), on "
                                "demand, r1, price of 2026-11-01 (29 days old)."));
  EXPECT_THAT(GroupsToJson(Ranked(RunsOfSix()), ""), HasSubstr("\"device_kind\":\"gpu\""));
}

TEST(RunGroups, TypesThatCannotBeToldApartAreASetAndTheNodesThatWouldAreSaid) {
  std::vector<Invented> types = SixTypes();
  types[1].tflops = 5550;
  std::vector<OneRun> runs;
  for (const Invented& type : types) {
    for (OneRun& run : RunsOf(type, 3, 0.02)) runs.push_back(std::move(run));
  }
  const GroupRanking ranking = Ranked(runs);
  EXPECT_TRUE(PlaceOf(ranking, "aws a.8").by_speed.may_be_best);
  EXPECT_TRUE(PlaceOf(ranking, "gcp g.8").by_speed.may_be_best);
  EXPECT_FALSE(PlaceOf(ranking, "oci o.8").by_speed.may_be_best);
  EXPECT_GT(ranking.cases[0].nodes_to_tell.value(), 10);
  const std::string answer = AnswerOf(ranking, kDay);
  EXPECT_THAT(answer, HasSubstr(" or gcp g.8 (3 nodes) with "));
  EXPECT_THAT(answer, HasSubstr("To tell the first two apart takes about "));
}

TEST(RunGroups, SeveralThatMayBeTheCheapestAreNamedWithTheirWayOfBuyingAndTheDatesOfTheirPrices) {
  std::vector<Invented> types = SixTypes();
  types[0].tflops = 55 * 2000 / 15;  // as much work per dollar as lambda's
  std::vector<OneRun> runs;
  for (const Invented& type : types) {
    for (OneRun& run : RunsOf(type, 3, 0.02)) runs.push_back(std::move(run));
  }
  const std::string answer = AnswerOf(Ranked(runs), kDay);
  EXPECT_THAT(answer, HasSubstr(" USD per TFLOP/s-h on demand or "));
  EXPECT_THAT(answer, HasSubstr(" on demand may be the cheapest, at prices of 2026-11-01."));
}

TEST(RunGroups, OneGroupHasNothingToBeComparedWith) {
  const GroupRanking ranking = Ranked(RunsOf(SixTypes()[0], 3, 0.01));
  EXPECT_FALSE(ranking.cases[0].places[0].by_speed.is_best);
  EXPECT_THAT(AnswerOf(ranking, kDay), HasSubstr("there is no other to compare it with"));
}

TEST(RunGroups, TwoGroupsAreTwoSidesWithAnAnswerOfTheirOwn) {
  const Catalog catalog = CatalogOf(SixTypes());
  const auto side = [&](std::size_t type, const std::string& name) {
    return Side{.runs = RunsOf(SixTypes()[type], 3, 0.001),
                .price = {.offer = catalog.offers[2 * type]},
                .group = name};
  };
  const Comparison comparison = Compare(side(0, "aws a.8"), side(1, "gcp g.8"), {});
  const std::string answer = AnswerOf(comparison, kDay);
  EXPECT_THAT(answer, HasSubstr("At headline bf16-train/1, gcp g.8 (3 nodes) with 5.300 PFLOP/s "
                                "against 5.600 PFLOP/s of aws a.8 (3 nodes) is slower by 5.4 % ("));
  EXPECT_THAT(answer, HasSubstr("Per dollar it does -40.8 % work (less), at 88.00 USD/h a node "
                                "(11.00 a GPU), on demand, r1, price of 2026-11-01 (29 days old) "
                                "against 55.00 USD/h a node"));
  const std::string table =
      MakeWriter(OutputFormat::kTable, catalog, {.today = kDay})->Compared(comparison);
  EXPECT_TRUE(table.starts_with("At headline bf16-train/1, gcp g.8 (3 nodes)")) << table;
  EXPECT_EQ(AnswerOf(Compare(side(0, ""), side(1, ""), {}), kDay), "");
}

TEST(RunGroups, TheCaseThatIsAskedAloneMayBeNamed) {
  const GroupRanking ranking = Ranked(RunsOfSix(), {.primary = "gemm"});
  EXPECT_EQ(ranking.cases[0].probe, "gemm");
  EXPECT_EQ(ranking.primary_why, "as --primary says");
  EXPECT_THROW(Ranked(RunsOfSix(), {.primary = "gem"}), Error);
  // A case that one group alone has can't be asked, and no other is asked in its place.
  std::vector<OneRun> runs = RunsOfSix();
  runs.front().records.push_back(CaseAt(16, 1000, 8));
  runs.front().records.back().probe = "linear";
  EXPECT_THAT(ErrorText([&] { Ranked(runs, {.primary = "linear"}); }),
              HasSubstr("the primary case 'linear' is none of those that are compared"));
}

TEST(RunGroups, ATableClaimsNoMoreThanWasAsked) {
  GroupRanking ranking = Ranked(RunsOfSix(), {.per_gpu = true});
  const std::string of_gpus = GroupTable(ranking, false, false, kDay);
  EXPECT_THAT(of_gpus, HasSubstr("asked alone at 95 %"));
  EXPECT_THAT(of_gpus, HasSubstr("headline bf16-train/1, per accelerator"));
  ranking.is_asked_alone = false;
  ranking.cases.front().kind = "cpu";
  const std::string of_processors = GroupTable(ranking, false, false, kDay);
  EXPECT_THAT(of_processors, Not(HasSubstr("asked alone")));
  EXPECT_THAT(of_processors, HasSubstr("shares 5 % of error with all below"));
  EXPECT_THAT(of_processors, Not(HasSubstr("bf16-train/1, per accelerator")));
}

TEST(RunGroups, EachCaseTellsItsConfidence) {
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : runs) run.records.push_back(CaseAt(16, 1000, 1));
  const GroupRanking ranking = Ranked(runs);
  ASSERT_EQ(ranking.cases.size(), 3U);
  EXPECT_DOUBLE_EQ(ranking.cases[0].confidence, 0.95);
  EXPECT_DOUBLE_EQ(ranking.cases[1].confidence, 0.975) << "two share 5 % of error";
  EXPECT_DOUBLE_EQ(ranking.cases[2].confidence, 0.975);
}

TEST(RunGroups, MeasuredRowsTellHowNodesDiffer) {
  Noise row = {.probe = "compute",
               .machine = "*",
               .between = "nodes",
               .sigma = 0.05,
               .df = 8,
               .span_minutes = 60,
               .is_measured = true,
               .how = "made up",
               .date = "2026-11-01"};
  std::vector<OneRun> of_two = RunsOf(SixTypes()[0], 3, 0.01);
  for (OneRun& run : RunsOf(SixTypes()[1], 3, 0.01)) of_two.push_back(std::move(run));
  const auto width = [&](const std::vector<Noise>& noise) {
    const Place place = Ranked(of_two, {.noise = noise}).cases[0].places[1].by_speed;
    return *place.behind_high - *place.behind_low;
  };
  EXPECT_GT(width({row}), width({}));
  // It counts for more where the runs lie within its own span of time than where they don't.
  const double near = width({row});
  row.span_minutes.reset();
  EXPECT_NE(width({row}), near);
  // No row makes a single node tell how others differ.
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : RunsOf({.provider = "neo", .instance = "n.8", .tflops = 500}, 1, 0)) {
    runs.push_back(std::move(run));
  }
  EXPECT_TRUE(PlaceOf(Ranked(runs, {.noise = {row}}), "neo n.8").by_speed.may_be_best);
}

TEST(RunGroups, PerGpuAPartOfABoardIsHeldAgainstAWholeOne) {
  const GroupRanking whole = Ranked(RunsOfSix());
  EXPECT_EQ(NamesIn(whole).back(), "aws a.1");
  const GroupRanking per_gpu = Ranked(RunsOfSix(), {.per_gpu = true});
  EXPECT_EQ(NamesIn(per_gpu).front(), "aws a.1");  // 710 against 5600 / 8
  EXPECT_NEAR(PlaceOf(per_gpu, "aws a.8").speed, 700e12, 1e9);
  const auto part = std::ranges::find(per_gpu.groups, "aws a.1", &RunGroup::name);
  EXPECT_EQ(part->alone, "alone on its board");
  EXPECT_THAT(AnswerOf(per_gpu, kDay), HasSubstr("aws a.1 (3 nodes, alone on its board)"));
  const auto board = std::ranges::find(per_gpu.groups, "aws a.8", &RunGroup::name);
  EXPECT_EQ(board->alone, "");
}

TEST(RunGroups, WeightsMakeAGeometricMeanOverCasesThatAGroupHasAllOf) {
  std::vector<OneRun> runs = RunsOfSix(3, 0.001);
  for (OneRun& run : runs) {
    // Twice as fast at the second case as all others, which are half as fast as at the first.
    if (run.nodes[0].identity.instance.value == "g.8") run.records[1] = CaseAt(8, 5300, 8);
    if (run.nodes[0].identity.instance.value == "o.8") run.records.pop_back();
  }
  const GroupOptions options = {
      .weights = {{.name = "headline bf16-train/1", .weight = 0.25},
                  {.name = "gemm/dtype=bf16,k=64,m=8,n=64", .weight = 0.75}}};
  const GroupRanking ranking = Ranked(runs, options);
  EXPECT_EQ(ranking.primary_why, "weighted as --weights says");
  EXPECT_EQ(NamesIn(ranking).front(), "gcp g.8");
  const double factor = std::pow(5600.0 / 5300, 0.25) * std::pow(2800.0 / 5300, 0.75);
  EXPECT_NEAR(PlaceOf(ranking, "aws a.8").speed, factor, 1e-6);
  EXPECT_NEAR(PlaceOf(ranking, "gcp g.8").speed, 1, 1e-9);
  EXPECT_THAT(NamesIn(ranking), Not(Contains("oci o.8")));
  EXPECT_THAT(ranking.notes,
              Contains("oci o.8 is not in the weighted mean: none of its nodes has all 2 cases"));
}

TEST(RunGroups, WeightsThatAreNotSharesOfOneOrNameNoCaseAreErrors) {
  const auto message = [](const std::string& csv) -> std::string {
    try {
      ParseWeights(csv, "w.csv");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message("case,weight\na,0.5\nb,0.5\n"), "");
  EXPECT_EQ(message("case,weight\na,0.5\nb,0.6\n"),
            "w.csv: the weights sum up to 1.1; give each case its share of 1");
  EXPECT_THAT(message("case,weight\na,0.5\na,0.5\n"),
              HasSubstr("names a case for the second time"));
  EXPECT_THAT(message("case,weight\na,\n"), HasSubstr("has no weight"));
  for (const char* weight : {"-1", "nan", "0", "inf"}) {
    EXPECT_NE(message(fmt::format("case,weight\na,{}\n", weight)), "") << weight;
  }
  try {
    Ranked(RunsOfSix(), {.weights = {{.name = "headlin bf16-train/1", .weight = 1}}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'headline bf16-train/1'?"));
  }
}

TEST(RunGroups, WhatVoidsAComparisonIsLeftOutUnlessForced) {
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : runs) {
    const std::string& instance = run.nodes[0].identity.instance.value;
    if (instance == "g.8") run.nodes[0].accelerators[0].power_limit_w = 350;
    if (instance == "o.8") run.nodes[0].virtualization = "emulated";
  }
  const GroupRanking ranking = Ranked(runs);
  EXPECT_THAT(NamesIn(ranking), Not(Contains("gcp g.8")));
  EXPECT_THAT(NamesIn(ranking), Not(Contains("oci o.8")));
  EXPECT_THAT(ranking.notes,
              Contains("headline bf16-train/1: 6 of 36 figures left out: power-capped at 350 W of "
                       "700 where the others are not (--force ranks them too)"));
  EXPECT_THAT(NamesIn(Ranked(runs, {.force = true})), SizeIs(6));
}

TEST(RunGroups, AHeadlineNeedsWholeRunsAndTheOthersAreNamed) {
  std::vector<OneRun> runs = RunsOfSix();
  runs[0].complete = false;
  runs[0].status = "interrupted";
  const GroupRanking ranking = Ranked(runs);
  EXPECT_THAT(ranking.notes, Contains(HasSubstr("is not in the headline: bf16-train/1 is absent: "
                                                "the run is not complete")));
  EXPECT_EQ(PlaceOf(ranking, "aws a.8").nodes.size(), 3u);
  EXPECT_EQ(PlaceOf(ranking, "aws a.8").nodes[0].runs, 1);
}

TEST(RunGroups, WithoutAHeadlineTheCaseThatMostHaveIsAsked) {
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : runs) {
    run.records.erase(run.records.begin());
    if (run.nodes[0].identity.provider.value == "oci") run.records = {CaseAt(9, 1, 8)};
  }
  const GroupRanking ranking = Ranked(runs);
  EXPECT_EQ(ranking.cases[0].params.at("m"), Value(std::int64_t{8}));
  EXPECT_THAT(ranking.primary_why, HasSubstr("no headline was measured in two groups"));
  EXPECT_THAT(ranking.cases, SizeIs(1));
  EXPECT_THAT(ranking.notes, Contains("cases that one group alone has, with nothing to rank: 1"));
}

TEST(RunGroups, GroupsAreWhatTheyAreAskedToBe) {
  std::vector<OneRun> runs = RunsOfSix();
  for (std::size_t i = 0; i < runs.size(); ++i) runs[i].campaign = i % 2 == 0 ? "may" : "june";
  runs[0].campaign.reset();
  const auto names = [&](GroupBy by) {
    std::vector<std::string> found;
    for (const RunGroup& group : Ranked(runs, {.by = by}).groups) found.push_back(group.name);
    return found;
  };
  EXPECT_THAT(names(GroupBy::kCampaign), ElementsAre("june", "may", "no campaign"));
  EXPECT_THAT(names(GroupBy::kFile), SizeIs(36));
  EXPECT_THAT(names(GroupBy::kProvider), ElementsAre("aws", "azure", "gcp", "lambda", "oci"));
  EXPECT_THAT(names(GroupBy::kAccelerator), ElementsAre("1 x NVIDIA H100", "8 x NVIDIA H100"));
  EXPECT_THAT(names(GroupBy::kRegion),
              ElementsAre("aws r1", "azure r1", "gcp r1", "lambda r1", "oci r1"));
}

TEST(RunGroups, AGroupOfSeveralTypesSaysSo) {
  EXPECT_THAT(Ranked(RunsOfSix(), {.by = GroupBy::kProvider}).notes,
              Contains("aws is made of 2 types of machine, so that its nodes differ by more than "
                       "chance"));
  EXPECT_THAT(Ranked(RunsOfSix()).notes, IsEmpty());
}

TEST(RunGroups, AMachineOfNoKnownTypeIsItsHardware) {
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : runs) {
    if (run.nodes[0].identity.provider.value != "oci") continue;
    run.nodes[0].identity.provider.value = run.nodes[0].identity.instance.value = "unknown";
  }
  EXPECT_THAT(NamesIn(Ranked(runs)), Contains("8 x NVIDIA H100"));
}

TEST(RunGroups, DifferencesOfSoftwareAreNamedAndThoseOfTypesAreNot) {
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : runs) {
    run.nodes[0].software["driver"] = run.nodes[0].identity.provider.value == "gcp" ? "550" : "580";
  }
  EXPECT_THAT(Ranked(runs).differences, ElementsAre("driver: 550 (gcp g.8), 580 (5 groups)"));
}

TEST(RunGroups, ClosedAndOpenRunsHaveNoCommonDollarsUnlessForced) {
  std::vector<OneRun> runs = RunsOfSix();
  for (OneRun& run : runs) {
    if (run.nodes[0].identity.provider.value != "gcp") continue;
    run.assay = {.commit = "abc", .image_digest = "sha256:1"};
    run.suite = {.name = "quick", .sha256 = "1"};
  }
  const GroupRanking ranking = Ranked(runs);
  EXPECT_FALSE(ranking.cases[0].places[0].by_cost);
  EXPECT_THAT(AnswerOf(ranking, kDay), HasSubstr("Nothing is said per dollar"));
  EXPECT_TRUE(Ranked(runs, {.force = true}).cases[0].places[0].by_cost);
}

// Everything that a stranger's file names is harmless in each format.
TEST(RunGroups, NamesFromFilesAreHarmlessWhereverTheyArePrinted) {
  std::vector<OneRun> runs = RunsOfSix();
  const std::string evil = "\x1b[2J<script>alert(1)</script>\n=1+1";
  for (OneRun& run : runs) {
    if (run.nodes[0].identity.provider.value != "gcp") continue;
    run.nodes[0].identity.provider.value = "=" + evil;
    run.nodes[0].identity.instance.value = evil;
    run.nodes[0].identity.region.value = evil;
    run.nodes[0].identity.purchase.value = evil;
    run.nodes[0].node_id = evil;
    run.started = evil;
    run.campaign = evil;
    run.records[0].backend = evil;
    run.nodes[0].software["driver"] = evil;
  }
  const GroupRanking ranking = Ranked(runs);
  const Catalog catalog = CatalogOf(SixTypes());
  for (const OutputFormat format :
       {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kCsv}) {
    const std::string text = MakeWriter(format, catalog, {.today = kDay})->Grouped(ranking, true);
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    // A spreadsheet takes a cell that begins so for a formula.
    if (format == OutputFormat::kCsv) EXPECT_THAT(text, Not(HasSubstr(",=")));
  }
}

TEST(RunGroups, FiguresAtTheEndsOfNumbersAreRankedOrLeftOut) {
  std::vector<OneRun> runs = RunsOfSix();
  runs.push_back(RunOn({.provider = "neo", .instance = "n"}, "n1", 1e-300));
  runs.push_back(RunOn({.provider = "neo", .instance = "m"}, "m1", 1e300));
  const GroupRanking ranking = Ranked(runs);
  EXPECT_GE(ranking.cases[0].places.size(), 6u);
  for (const GroupPlace& place : ranking.cases[0].places) {
    EXPECT_TRUE(std::isfinite(place.speed));
    for (const auto& usd : place.usd) EXPECT_TRUE(!usd || std::isfinite(*usd));
  }
}

// Nobody reads three hundred digits.
TEST(RunGroups, APriceBeyondSenseStaysShort) {
  Catalog catalog = CatalogOf(SixTypes());
  for (Offer& offer : catalog.offers) offer.usd_per_hour = 1e308;
  const GroupRanking ranking = Ranked(RunsOfSix(), {}, catalog);
  const std::string table =
      MakeWriter(OutputFormat::kTable, catalog, {.today = kDay})->Grouped(ranking, false);
  EXPECT_THAT(table, HasSubstr("1.000e+308 USD/h a node"));
  EXPECT_THAT(table, Not(HasSubstr("0000000000")));
}

TEST(RunGroups, NothingMeasuredAlikeIsOneSentence) {
  std::vector<OneRun> runs = {RunOn(SixTypes()[0], "a", 1), RunOn(SixTypes()[1], "b", 1)};
  runs[0].records = {CaseAt(1, 1, 8)};
  runs[1].records = {CaseAt(2, 1, 8)};
  EXPECT_THROW(Ranked(runs), Error);
  runs[0].records.clear();
  runs[1].records.clear();
  EXPECT_THROW(Ranked(runs), Error);
}

}  // namespace
}  // namespace assay
