// Bills: the units that clouds bill by, a run's own cost, and runs held against invoices. The
// invoices are made here, by a meter that knows nothing of the code that reads them.
#include "results/catalog/bill.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "results/base/error.h"
#include "results/catalog/billing.h"
#include "results/catalog/price.h"
#include "results/file/privacy.h"
#include "tests/error_text.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

Offer OfferOf(const std::string& provider, const std::string& instance, const std::string& purchase,
              double usd) {
  return {.provider = provider,
          .instance = instance,
          .region = "all",
          .purchase = purchase,
          .usd_per_hour = usd,
          .price_date = "2026-11-01",
          .date_precision = "day",
          .kind = "list",
          .source = "made"};
}

// ---- The units of bills

TEST(Billing, TheBuiltInRulesAreDatedAndSourcedAndKnowTheCloudsThatSayTheirs) {
  const std::vector<BillingRule>& rules = Catalog::BuiltIn().billing;
  for (const BillingRule& rule : rules) {
    EXPECT_TRUE(FirstDay(rule.date)) << rule.provider;
    EXPECT_GE(rule.source.size(), 20U) << rule.provider;
  }
  const auto billed = [&](const char* provider, const char* instance, const char* purchase,
                          double held_s) {
    return BilledSeconds(held_s, FindBilling(rules, OfferOf(provider, instance, purchase, 1)));
  };
  EXPECT_EQ(billed("aws", "p5.48xlarge", "on_demand", 12.3), 60);
  EXPECT_EQ(billed("AWS", "p5.48xlarge", "spot", 60.2), 61);
  EXPECT_EQ(billed("aws", "p5.48xlarge", "custom", 12.3), 60) << "a typed price is on demand";
  EXPECT_EQ(billed("aws", "p5.48xlarge", "capacity_block", 120), 86400);
  EXPECT_EQ(billed("gcp", "a3-highgpu-8g", "on_demand", 30), 60);
  EXPECT_EQ(billed("azure", "Standard_ND96isr_H100_v5", "on_demand", 30.5), 31);
  EXPECT_EQ(billed("lambda", "gpu_8x_h100_sxm5", "on_demand", 61), 120);
  EXPECT_EQ(billed("aws", "p5.48xlarge", "reserved", 12.3), 12.3) << "paid by the term";
  EXPECT_EQ(billed("nebius", "gpu-h100-sxm", "on_demand", 12.3), 12.3) << "nobody told its unit";
}

TEST(Billing, AnInstanceIsShownWithTheRulesOfItsBillsAndTheirSources) {
  EXPECT_THAT(PriceShowText(Catalog::BuiltIn(), "AWS", "p5.48xlarge", "2026-11-30"),
              AllOf(HasSubstr("\n  on demand, spot: billed by the second, 1 min 0 s at least; "
                              "2017-10-02, aws.amazon.com/"),
                    HasSubstr("\n  capacity block: billed by the day, 24 h 0 min at least; ")));
  // A rule may be of the types alone whose names begin as it says.
  const std::vector<BillingRule> made = ParseBilling(
      "provider,purchase,instance_prefix,unit_s,minimum_s,date,source\n"
      "made,on_demand,BM.,1,3600,2026,bare metal\nmade,on_demand,VM.,1,60,2026,machines\n",
      "b.csv");
  EXPECT_EQ(BillingLines(made, "MADE", "bm.8"),
            "  on demand: billed by the second, 1 h 0 min at least; 2026, bare metal\n");
}

TEST(Billing, AWholeUnitStaysOneThoughItsSecondsAreRounded) {
  const BillingRule minute = {.unit_s = 60};
  EXPECT_EQ(BilledSeconds(0.1 * 3 * 600, &minute), 180);
  EXPECT_EQ(BilledSeconds(180.001, &minute), 240);
  const BillingRule tenth = {.unit_s = 0.1};
  EXPECT_DOUBLE_EQ(BilledSeconds(0.3, &tenth), 0.3);
}

TEST(Billing, ABadRowIsOneSentence) {
  const auto error = [](const std::string& row) {
    return ErrorText([&] {
      ParseBilling("provider,purchase,instance_prefix,unit_s,minimum_s,date,source\n" + row + "\n",
                   "b.csv");
    });
  };
  EXPECT_THAT(error("aws,on_demand,,,60,2026,s"), HasSubstr("b.csv, row 1: unit_s is empty"));
  EXPECT_THAT(error("aws,rented,,1,60,2026,s"), HasSubstr("purchase 'rented' must be one of"));
  EXPECT_THAT(error("aws,spot,,1,60,soon,s"), HasSubstr("date 'soon' is no date"));
  EXPECT_THAT(error("aws,spot,,0,60,2026,s"), HasSubstr("unit_s is '0'"));
}

// ---- What a run costs

TEST(RunBill, CountsWholeNodesInWholeUnitsAndTheLeastThatIsBilled) {
  const std::vector<BillingRule>& rules = Catalog::BuiltIn().billing;
  const RunBill two(rules, OfferOf("aws", "p5.48xlarge", "on_demand", 55.04), 2);
  EXPECT_DOUBLE_EQ(*two.UsdAfter(3600), 110.08);
  EXPECT_DOUBLE_EQ(*two.UsdAfter(5), 110.08 / 60);
  EXPECT_EQ(two.Rule(), "billed by the second, 1 min 0 s at least");
  // A limit holds for the bill: 2 USD are 65.4 s, of which whole seconds are paid.
  EXPECT_EQ(two.SecondsFor(2), 65);
  EXPECT_LE(*two.UsdAfter(*two.SecondsFor(2)), 2);
  EXPECT_EQ(two.SecondsFor(1.8), 0) << "a minute of two nodes is more";
  const std::vector<BillingRule> hour = {
      {.provider = "made", .purchases = {"on_demand"}, .unit_s = 1, .minimum_s = 3600}};
  const RunBill metal(hour, OfferOf("made", "BM.8", "on_demand", 80), 1);
  EXPECT_EQ(metal.SecondsFor(79), 0);
  EXPECT_EQ(metal.SecondsFor(80), 3600);
  const RunBill minute(rules, OfferOf("lambda", "gpu_8x_h100_sxm5", "on_demand", 30), 1);
  EXPECT_EQ(minute.UsdAfter(0), 0.5) << "what is begun is paid";
  EXPECT_EQ(minute.SecondsFor(0.1), 0);
  const RunBill none(rules, std::nullopt, 1);
  EXPECT_EQ(none.UsdAfter(10), std::nullopt);
  EXPECT_EQ(none.SecondsFor(10), std::nullopt);
}

TEST(RunBill, TheFileKeepsWhatWasExpectedWhatItCameToAndWhenTheFirstFigureWasThere) {
  const RunBill bill(Catalog::BuiltIn().billing, OfferOf("aws", "p5.48xlarge", "on_demand", 36), 2);
  RunCost cost = bill.Begun(100, 118);
  EXPECT_EQ(cost.planned_usd, 2 * 36 * 100 / 3600.0);
  EXPECT_EQ(cost.minimum_s, 60);
  bill.Settle(cost, 120.4, 32);
  EXPECT_EQ(cost.held_s, 120.4);
  EXPECT_EQ(cost.billed_s, 121);
  EXPECT_DOUBLE_EQ(*cost.usd, 2 * 36 * 121 / 3600.0);
  EXPECT_EQ(cost.first_verified_s, 150);
  EXPECT_DOUBLE_EQ(*cost.first_verified_usd, 2 * 36 * 150 / 3600.0);
  EXPECT_EQ(
      RunCostText(cost),
      "2.420 USD for 2 nodes (2.000 USD expected); 3.000 USD until the first verified figure, "
      "with 1 min 58 s before the run");
  bill.Settle(cost, 0.9, std::nullopt);
  EXPECT_THAT(RunCostText(cost),
              StartsWith("1.200 USD for 2 nodes (billed 1 min 0 s, 2.000 USD expected)"));
  EXPECT_EQ(RunCostText(RunBill({}, std::nullopt, 1).Begun(100, 0)), "");
}

TEST(RunBill, DollarsOfATypedPriceLeaveWithKeepPriceAlone) {
  Offer typed = OfferOf("aws", "p5.48xlarge", "custom", 36);
  typed.is_private = true;
  const RunBill bill(Catalog::BuiltIn().billing, typed, 1);
  for (const bool keeps : {false, true}) {
    struct Run run = {.cost = bill.Begun(100, 0), .nodes = {{}}};
    bill.Settle(*run.cost, 90, 20);
    ApplyPrivacy(run, {.keep_price = keeps});
    EXPECT_EQ(run.cost->held_s, 90);
    EXPECT_EQ(run.cost->usd_per_node_hour.has_value(), keeps);
    EXPECT_EQ(run.cost->planned_usd.has_value(), keeps);
    EXPECT_EQ(run.cost->usd.has_value(), keeps);
    EXPECT_EQ(run.cost->first_verified_usd.has_value(), keeps);
  }
}

// ---- Invoices

constexpr const char* kFocusHeader =
    "ChargeCategory,PricingUnit,PricingQuantity,ContractedUnitPrice,ListCost,ContractedCost,"
    "EffectiveCost,BilledCost,BillingCurrency,ProviderName,RegionId,ResourceId,ChargePeriodStart,"
    "ChargePeriodEnd,CommitmentDiscountId,CommitmentDiscountCategory,CommitmentDiscountStatus,"
    "PricingCategory,SkuPriceDetails\n";

// A node that was rented, as a cloud's meter sees it: seconds of one day.
struct Rented {
  std::string id = {};
  std::string type = "p5.48xlarge";
  std::string region = "us-east-1";
  int from = 0;
  int to = 0;
  bool is_spot = false;
};

struct Contract {
  double list = 55.04;
  double contracted = 55.04;
  double credit = 0;  // the share that a credit for each node gives back
};

std::string Time(int second) {
  return fmt::format("2026-11-20T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
}

std::string LineOf(const Rented& node, const Contract& contract, int from, int to, double hours,
                   const std::string& category = "Usage", double share = 1) {
  return fmt::format(
      "{},Hours,{:.10f},{},{:.10f},{:.10f},{:.10f},{:.10f},USD,AWS,{},arn:{},{},{},NULL,NULL,NULL,"
      "{},\"{{\"\"InstanceType\"\": \"\"{}\"\"}}\"\n",
      category, hours, contract.contracted, share * contract.list * hours,
      share * contract.contracted * hours, share * contract.contracted * hours,
      share * contract.contracted * hours, node.region, node.id, Time(from), Time(to),
      node.is_spot ? "Dynamic" : "Standard", node.type);
}

// The invoice: a line for each clock hour of each node, in which it is billed for its seconds.
std::string Invoice(const std::vector<Rented>& nodes, const Contract& contract) {
  std::string csv = kFocusHeader;
  for (const Rented& node : nodes) {
    for (int hour = node.from / 3600; 3600 * hour < node.to; ++hour) {
      const int from = std::max(node.from, 3600 * hour);
      const int to = std::min(node.to, 3600 * (hour + 1));
      csv += LineOf(node, contract, 3600 * hour, 3600 * (hour + 1), (to - from) / 3600.0);
    }
    if (contract.credit > 0) {
      csv += LineOf(node, contract, 0, 86399, (node.to - node.from) / 3600.0, "Credit",
                    -contract.credit);
    }
  }
  return csv;
}

PaidRun RunAt(int from, int to, double usd, double nodes = 1) {
  return {.name = "a.json",
          .provider = "aws",
          .instance = "p5.48xlarge",
          .region = "us-east-1",
          .purchase = "on_demand",
          .nodes = nodes,
          .from = Time(from),
          .to = Time(to),
          .usd_per_node_hour = usd,
          .price = "made"};
}

constexpr int At(int hour, int minute, int second = 0) {
  return 3600 * hour + 60 * minute + second;
}

TEST(Bill, OfDiscountsPartialHoursAndCreditsIsMetWithinOnePerCent) {
  // Two nodes are held from 10:07:13 to 12:41:50 at 18 % off, and 10 % come back as credits.
  const std::vector<Rented> nodes = {{.id = "one", .from = At(10, 7, 13), .to = At(12, 41, 50)},
                                     {.id = "two", .from = At(10, 7, 20), .to = At(12, 41, 44)}};
  const double paid = 0.82 * 55.04;
  const std::string focus = Invoice(nodes, {.contracted = paid, .credit = 0.1});
  const std::vector<PaidRun> runs = {RunAt(At(10, 15, 2), At(11, 20, 30), paid, 2),
                                     RunAt(At(11, 30), At(12, 40), paid, 2)};
  const Bill bill = HoldAgainstBill(runs, focus, "made.csv", {});
  ASSERT_EQ(bill.runs.size(), 2U);
  for (const RunOnBill& run : bill.runs) {
    // The truth: seconds of the run x two nodes x the price after the discount.
    const double seconds = run.run.from == Time(At(11, 30)) ? 4200 : 3928;
    const double truth = 2 * seconds / 3600 * paid;
    EXPECT_NEAR(run.effective_usd, truth, 0.01 * truth);
    EXPECT_NEAR(*run.own_usd, truth, 0.01 * truth);
    EXPECT_NEAR(*run.difference, 0, 0.01);
    EXPECT_NEAR(*run.list_usd, truth / 0.82, 0.01 * truth);
    EXPECT_NEAR(run.found_hours, run.node_hours, 0.01 * run.node_hours);
    EXPECT_GT(run.line_hours, run.found_hours);
    // A tenth of each hour comes back, whichever hours the run's lines hold.
    EXPECT_NEAR(run.credits_usd, -0.1 * run.effective_usd, 0.001 * run.effective_usd);
  }
  EXPECT_TRUE(IsAsBilled(bill, 0.01));
  EXPECT_THAT(bill.unmatched, IsEmpty());
  EXPECT_THAT(BillText(bill, 0.01), AllOf(HasSubstr("as billed"), HasSubstr("2 runs: "),
                                          HasSubstr("boot, idle time, other work")));
}

TEST(Bill, AListPriceUnderADiscountIsFoundAndTheDiscountIsNamed) {
  const std::string focus =
      Invoice({{.id = "one", .from = At(9, 0), .to = At(11, 0)}}, {.contracted = 0.82 * 55.04});
  const Bill bill = HoldAgainstBill({RunAt(At(9, 30), At(10, 30), 55.04)}, focus, "made.csv", {});
  EXPECT_NEAR(*bill.runs[0].difference, 1 / 0.82 - 1, 1e-6);
  EXPECT_FALSE(IsAsBilled(bill, 0.01));
  EXPECT_THAT(BillText(bill, 0.01), AllOf(HasSubstr("+22.0 %"), HasSubstr("--discount NAME=0.82")));
}

TEST(Bill, WhatCommitmentsMakeOfAPriceIsTold) {
  std::string line = LineOf({.id = "one"}, {}, At(9, 0), At(10, 0), 1);
  const std::size_t effective = line.find("55.04", line.find("55.04", line.find("55.04") + 1) + 1);
  line.replace(line.find("55.04", effective + 1), 5, "35.00");
  line.replace(line.find("NULL,NULL,NULL"), 14, "cd-1,Usage,Used");
  PaidRun run = RunAt(At(9, 0), At(10, 0), 55.04);
  Bill bill = HoldAgainstBill({run}, kFocusHeader + line, "made.csv", {});
  EXPECT_NEAR(bill.runs[0].effective_usd, 35, 1e-6);
  EXPECT_THAT(BillText(bill, 0.01), HasSubstr("a commitment makes the rest"));
  run.usd_per_node_hour = 35;
  bill = HoldAgainstBill({run}, kFocusHeader + line, "made.csv", {});
  EXPECT_TRUE(IsAsBilled(bill, 0.01));
}

TEST(Bill, MatchesByProviderTypeRegionTimeAndSpotAndTellsTheRest) {
  const auto at = [](Rented node) {
    node.from = At(9, 0);
    node.to = At(10, 0);
    return node;
  };
  const std::string focus = Invoice({at({.id = "other", .type = "p4d.24xlarge"}),
                                     at({.id = "away", .region = "us-west-2"}),
                                     at({.id = "spot", .is_spot = true}),
                                     {.id = "later", .from = At(14, 0), .to = At(15, 0)}},
                                    {});
  const PaidRun run = RunAt(At(9, 10), At(9, 50), 55.04);
  const Bill bill = HoldAgainstBill({run}, focus, "made.csv", {});
  EXPECT_EQ(bill.runs[0].lines, 0U);
  EXPECT_FALSE(bill.runs[0].difference);
  EXPECT_FALSE(IsAsBilled(bill, 0.01));
  EXPECT_THAT(bill.unmatched,
              ElementsAre("1 node-hours of aws p4d.24xlarge in us-east-1, 55.04 USD: no run",
                          "2 node-hours of aws p5.48xlarge in us-east-1, 110.1 USD: no run",
                          "1 node-hours of aws p5.48xlarge in us-west-2, 55.04 USD: no run"));
  EXPECT_THAT(BillText(bill, 0.01), HasSubstr("no line of that type, region and time"));
  PaidRun on_spot = run;
  on_spot.purchase = "spot";
  EXPECT_EQ(HoldAgainstBill({on_spot}, focus, "made.csv", {}).runs[0].lines, 1U);
  PaidRun somewhere = run;
  somewhere.region = "unknown";
  EXPECT_EQ(HoldAgainstBill({somewhere}, focus, "made.csv", {}).runs[0].lines, 1U);
}

TEST(Bill, ANodeThatIsOnNoLineIsToldAndMoreNodesThanTheRunHadAreOnAverage) {
  const PaidRun two = RunAt(At(9, 0), At(10, 0), 55.04, 2);
  const Rented node = {.id = "one", .from = At(9, 0), .to = At(10, 0)};
  const Bill half = HoldAgainstBill({two}, Invoice({node}, {}), "made.csv", {});
  EXPECT_DOUBLE_EQ(half.runs[0].found_hours, 1);
  EXPECT_FALSE(IsAsBilled(half, 0.01));
  EXPECT_THAT(BillText(half, 0.01), HasSubstr("1 node-hours of the run are on no line"));
  std::vector<Rented> three(3, node);
  three[1].id = "two";
  three[2].id = "three";
  const Bill more = HoldAgainstBill({two}, Invoice(three, {}), "made.csv", {});
  EXPECT_DOUBLE_EQ(more.runs[0].found_hours, 2);
  EXPECT_NEAR(more.runs[0].effective_usd, 2 * 55.04, 1e-6);
  EXPECT_TRUE(IsAsBilled(more, 0.01));
}

TEST(Bill, AnHourThatTwoRunsUsedIsCountedOnceAndSharedByThem) {
  const Rented one = {.id = "one", .from = At(9, 0), .to = At(10, 0)};
  const PaidRun run = RunAt(At(9, 0), At(10, 0), 55.04);
  const PaidRun first_half = RunAt(At(9, 0), At(9, 30), 55.04);
  Bill bill = HoldAgainstBill({run, run}, Invoice({one}, {}), "made.csv", {});
  for (const RunOnBill& found : bill.runs) {
    EXPECT_NEAR(found.found_hours, 0.5, 1e-9);
    EXPECT_NEAR(found.effective_usd, 55.04 / 2, 1e-6);
    EXPECT_NEAR(found.shared_hours, 0.5, 1e-9);
  }
  EXPECT_FALSE(IsAsBilled(bill, 0.01));
  EXPECT_THAT(BillText(bill, 0.01),
              AllOf(HasSubstr("0.5 node-hours of its lines are of other runs at the same time"),
                    HasSubstr("0.5 node-hours of the run are on no line"),
                    HasSubstr("2 runs: 1 node-hours that are on the invoice, 55.04 USD by their "
                              "prices, 55.04 USD by the invoice"),
                    Not(HasSubstr("as billed"))));
  // The first half is shared by both, and the second is of the longer run alone.
  bill = HoldAgainstBill({run, first_half}, Invoice({one}, {}), "made.csv", {});
  EXPECT_NEAR(bill.runs[0].found_hours, 0.75, 1e-9);
  EXPECT_NEAR(bill.runs[1].found_hours, 0.25, 1e-9);
  // Half an hour of the clock hour was billed, and two runs say that each had half an hour.
  const Rented half = {.id = "one", .from = At(9, 0), .to = At(9, 30)};
  bill = HoldAgainstBill({first_half, RunAt(At(9, 30), At(10, 0), 55.04)}, Invoice({half}, {}),
                         "made.csv", {});
  EXPECT_NEAR(bill.runs[0].found_hours + bill.runs[1].found_hours, 0.5, 1e-9);
  // Each has its own where there are two nodes, or where one follows the other.
  Rented two = one;
  two.id = "two";
  EXPECT_TRUE(
      IsAsBilled(HoldAgainstBill({run, run}, Invoice({one, two}, {}), "made.csv", {}), 0.01));
  EXPECT_TRUE(IsAsBilled(HoldAgainstBill({first_half, RunAt(At(9, 30), At(10, 0), 55.04)},
                                         Invoice({one}, {}), "made.csv", {}),
                         0.01));
}

TEST(Bill, NodesOfOneHourDoNotStandForAnother) {
  // One node was used for two hours, and on the invoice are two nodes of the first hour.
  const std::string focus = Invoice({{.id = "one", .from = At(9, 0), .to = At(10, 0)},
                                     {.id = "two", .from = At(9, 0), .to = At(10, 0)}},
                                    {});
  const Bill bill = HoldAgainstBill({RunAt(At(9, 0), At(11, 0), 55.04)}, focus, "made.csv", {});
  EXPECT_NEAR(bill.runs[0].found_hours, 1, 1e-9);
  EXPECT_NEAR(bill.runs[0].effective_usd, 55.04, 1e-6);
  EXPECT_FALSE(IsAsBilled(bill, 0.01));
  EXPECT_THAT(BillText(bill, 0.01), AllOf(HasSubstr("1 node-hours of the run are on no line"),
                                          Not(HasSubstr("as billed"))));
}

TEST(Bill, CreditsAreDividedAmongAllUsageTheyAreForAndTheRestIsTold) {
  const Rented node = {.id = "one", .from = At(9, 0), .to = At(19, 0)};
  // The credit of a node that ran for ten hours; the run had one of them.
  const std::string focus = Invoice({node}, {.credit = 0.1});
  const PaidRun run = RunAt(At(9, 0), At(10, 0), 55.04);
  Bill bill = HoldAgainstBill({run}, focus, "made.csv", {});
  EXPECT_NEAR(bill.runs[0].credits_usd, -5.504, 1e-6);
  EXPECT_THAT(bill.left_out, ElementsAre("credits of -49.54 USD are of hours that are no run's"));
  // One without a resource is of its type, in the region that it names.
  std::string credit = LineOf({.id = "x"}, {}, 0, 86399, 1, "Credit", -0.1);
  credit.replace(credit.find("arn:x"), 5, "NULL");
  bill = HoldAgainstBill({run}, Invoice({node}, {}) + credit, "made.csv", {});
  EXPECT_NEAR(bill.runs[0].credits_usd, -0.5504, 1e-6);
}

TEST(Bill, ACostThatCannotBeReadIsAReasonAndOneThatIsNotToldIsNoZero) {
  const auto with = [](const std::string& list, const std::string& effective) {
    return fmt::format(
        "Usage,Hours,1,55.04,{},NULL,{},55.04,USD,AWS,us-east-1,arn:one,{},{},NULL,NULL,NULL,"
        "Standard,\"{{\"\"InstanceType\"\": \"\"p5.48xlarge\"\"}}\"\n",
        list, effective, Time(At(9, 0)), Time(At(10, 0)));
  };
  const PaidRun run = RunAt(At(9, 0), At(10, 0), 60);
  for (const char* const bad : {"\"55,04\"", "NULL", "-3"}) {
    const Bill bill = HoldAgainstBill({run}, kFocusHeader + with("55.04", bad), "made.csv", {});
    EXPECT_EQ(bill.runs[0].lines, 0U) << bad;
    EXPECT_THAT(bill.left_out, ElementsAre(HasSubstr("left out 1 line: an EffectiveCost that is")))
        << bad;
  }
  const Bill bill = HoldAgainstBill({run}, kFocusHeader + with("NULL", "55.04"), "made.csv", {});
  EXPECT_THAT(BillText(bill, 0.01), AllOf(HasSubstr("list not told, contracted not told"),
                                          HasSubstr("the invoice doesn't tell a list price")));
  const Bill free = HoldAgainstBill({run}, kFocusHeader + with("55.04", "0"), "made.csv", {});
  EXPECT_FALSE(free.runs[0].difference);
  EXPECT_THAT(BillText(free, 0.01), HasSubstr("the effective cost of these hours is 0"));
}

TEST(Bill, TimesAreTakenAsFocusAndSheetsWriteThem) {
  for (const char* const form : {"2026-11-20 {:02}:00:00 UTC", "2026-11-20T{:02}:00Z",
                                 "2026-11-20 {:02}:00", "2026-11-20T{:02}:00:00.000+00:00"}) {
    std::string line = LineOf({.id = "one"}, {}, At(9, 0), At(10, 0), 1);
    for (const int hour : {9, 10}) {
      line.replace(line.find(Time(At(hour, 0))), 20, fmt::format(fmt::runtime(form), hour));
    }
    const Bill bill =
        HoldAgainstBill({RunAt(At(9, 0), At(10, 0), 55.04)}, kFocusHeader + line, "made.csv", {});
    EXPECT_TRUE(IsAsBilled(bill, 0.01)) << form;
  }
}

TEST(Bill, WhatTheFileKeepsStandsBesideTheInvoiceAndARunWithoutLengthIsNotSought) {
  PaidRun run = RunAt(At(9, 0), At(10, 0), 55.04);
  run.kept_usd = 110.08;
  run.kept_billed_s = 7200;
  const std::string focus = Invoice({{.id = "one", .from = At(9, 0), .to = At(10, 0)}}, {});
  EXPECT_THAT(BillText(HoldAgainstBill({run}, focus, "made.csv", {}), 0.01),
              HasSubstr("  its file:    110.1 USD, which is 2 h 0 min of each node"));
  run.to = run.from;
  EXPECT_THAT(BillText(HoldAgainstBill({run}, focus, "made.csv", {}), 0.01),
              HasSubstr("a run that begins and ends in one second"));
}

TEST(Bill, ARunThatOutlastsWhatIsBilledIsNotCoveredInFull) {
  const std::string focus = Invoice({{.id = "one", .from = At(9, 0), .to = At(9, 30)}}, {});
  const Bill bill = HoldAgainstBill({RunAt(At(9, 0), At(10, 0), 55.04)}, focus, "made.csv", {});
  EXPECT_DOUBLE_EQ(bill.runs[0].found_hours, 0.5);
  EXPECT_NEAR(bill.runs[0].effective_usd, 0.5 * 55.04, 1e-6);
  EXPECT_FALSE(IsAsBilled(bill, 0.01));
}

TEST(Bill, LinesOfADayAndSumsOfSeveralNodesAreSharedByHours) {
  // A day's line of one node that ran for three hours, and an hour's line that sums up ten nodes.
  const Rented node = {.id = "one"};
  const std::string day = kFocusHeader + LineOf(node, {}, 0, 86399, 3);
  Bill bill = HoldAgainstBill({RunAt(At(9, 0), At(10, 0), 55.04)}, day, "made.csv", {});
  EXPECT_NEAR(bill.runs[0].effective_usd, 55.04, 1e-6);
  EXPECT_TRUE(IsAsBilled(bill, 0.01));
  const std::string sum = kFocusHeader + LineOf(node, {}, At(9, 0), At(10, 0), 10);
  bill = HoldAgainstBill({RunAt(At(9, 0), At(9, 30), 55.04, 4)}, sum, "made.csv", {});
  EXPECT_NEAR(bill.runs[0].effective_usd, 2 * 55.04, 1e-6);
  EXPECT_TRUE(IsAsBilled(bill, 0.01));
}

TEST(Bill, LinesThatAreNoHoursOrOfAnotherCurrencyAreCountedByTheirReason) {
  const Rented node = {.id = "one", .from = At(9, 0), .to = At(10, 0)};
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string line = LineOf(node, {}, At(9, 0), At(10, 0), 1);
    return line.replace(line.find(from), from.size(), to);
  };
  const std::string focus = kFocusHeader + changed("Usage", "Tax") + changed("Hours", "GB") +
                            changed("USD", "EUR") + changed(Time(At(10, 0)), "NULL") +
                            changed(Time(At(10, 0)), "2026-11-20T10:00:00+02:00") +
                            "Credit,NULL,NULL,NULL,0,0,0,-12,USD,AWS,NULL,NULL,"
                            "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,NULL,NULL,NULL,NULL,NULL\n";
  const PaidRun run = RunAt(At(9, 0), At(10, 0), 55.04 * 1.08);
  const Bill bill = HoldAgainstBill({run}, focus, "made.csv", {});
  EXPECT_EQ(bill.runs[0].lines, 0U);
  EXPECT_THAT(bill.left_out,
              AllOf(Contains(HasSubstr("left out 1 line: a charge that is no usage")),
                    Contains(HasSubstr("left out 1 line: a unit other than the hour")),
                    Contains(HasSubstr("left out 1 line: the currency EUR; '--rate EUR=USD'")),
                    Contains(HasSubstr("left out 2 lines: a period without")),
                    Contains(HasSubstr("credits of -12.00 USD are of no instance"))));
  const Bill at_rate = HoldAgainstBill({run}, focus, "made.csv", {{"EUR", 1.08}});
  EXPECT_TRUE(IsAsBilled(at_rate, 0.01));
}

TEST(Bill, OfAHostileInvoiceOrRunOneSentenceIsSaid) {
  const PaidRun run = RunAt(At(9, 0), At(10, 0), 1);
  EXPECT_THAT(ErrorText([&] { HoldAgainstBill({run}, "a,b\n1,2\n", "f.csv", {}); }),
              HasSubstr("f.csv: there is no ChargeCategory"));
  EXPECT_THAT(ErrorText([&] { HoldAgainstBill({run}, "a,b\n\"1,2\n", "f.csv", {}); }),
              HasSubstr("a quote is not closed"));
  PaidRun unfinished = run;
  unfinished.to = "";
  EXPECT_THAT(ErrorText([&] { HoldAgainstBill({unfinished}, kFocusHeader, "f.csv", {}); }),
              HasSubstr("it doesn't tell when it began and ended"));
  const std::string line =
      LineOf({.id = "x"}, {.list = 1e308, .contracted = 1e308}, At(9, 0), At(10, 0), 1);
  const Bill bill = HoldAgainstBill({run, run}, kFocusHeader + line + line, "f.csv", {});
  EXPECT_THAT(BillText(bill, 0.01), HasSubstr("no line of that type, region and time"));
  EXPECT_THAT(bill.left_out, ElementsAre(HasSubstr("left out 2 lines: an EffectiveCost")));
  EXPECT_FALSE(IsAsBilled(bill, 0.01));
}

}  // namespace
}  // namespace assay
