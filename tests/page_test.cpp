// Tests of the page of many runs: invented runs, whose figures were never measured.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/catalog/billing.h"
#include "results/figures/brief.h"
#include "results/figures/group_prices.h"
#include "results/figures/run_groups.h"
#include "results/show/group_charts.h"
#include "results/show/group_tables.h"
#include "results/show/html.h"
#include "results/show/report.h"
#include "results/show/run_charts.h"
#include "tests/count_of.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kToday = "2026-11-30";

Offer OfferOf(const std::string& instance, const std::string& purchase, double usd,
              std::optional<int> months = {}) {
  return {.provider = "aws",
          .seller = "aws",
          .instance = instance,
          .region = "r1",
          .purchase = purchase,
          .term_months = months,
          .usd_per_hour = usd,
          .price_date = "2026-11-01",
          .date_precision = "day",
          .source = "made up, " + purchase};
}

Catalog CatalogFor(const std::vector<std::string>& instances) {
  Catalog catalog;
  for (const std::string& instance : instances) {
    catalog.instances.push_back({.provider = "aws",
                                 .instance = instance,
                                 .accelerator = "H100",
                                 .accelerator_count = 8,
                                 .network_gbps = 3200});
    catalog.offers.push_back(OfferOf(instance, "on_demand", 50));
    catalog.offers.push_back(OfferOf(instance, "spot", 20));
    catalog.offers.push_back(OfferOf(instance, "reserved", 30, 12));
    catalog.offers.push_back(OfferOf(instance, "reserved", 25, 36));
  }
  catalog.devices.push_back({.name = "H100",
                             .match = {"NVIDIA H100"},
                             .peak_flops = {{"bf16", 989e12}},
                             .memory_bytes_per_s = 3.35e12});
  catalog.sha256 = std::string(64, 'a');
  return catalog;
}

Record CaseOf(const std::string& probe, Params params, Work work, double seconds) {
  Record record = {.probe = probe,
                   .params = std::move(params),
                   .backend = "native",
                   .device = {.kind = "gpu", .name = "NVIDIA H100"},
                   .work = std::move(work)};
  for (int i = 0; i < 8; ++i) record.units.push_back({.device = i});
  for (int round = 0; round < 5; ++round) {
    record.rounds.push_back({.batch = 1,
                             .time_s = {seconds * (1 + 0.001 * round)},
                             .unit_p50_s = std::vector<double>(8, seconds)});
  }
  return record;
}

assay::Run RunOn(const std::string& instance, int node, int number, double tflops) {
  const std::int64_t flops = 80'000'000'000'000;
  const double seconds = static_cast<double>(flops) / (tflops * 1e12);
  assay::Run run = {.id = fmt::format("{}-{}-{}", instance, node, number),
                    .started = "2026-11-20T10:00:00Z",
                    .rounds = 5,
                    .nodes = {Node{.node_id = fmt::format("{}-{:04}", instance, node)}}};
  Record headline = CaseOf(
      "headline", {{"name", std::string("bf16-train/1")}, {"regime", std::string("sustained")}},
      {.flops = flops}, seconds);
  for (Visit& visit : headline.rounds) visit.sustained = Sustained{.least_s = 60};
  headline.verify = Verification{.checked = 1};
  run.records.push_back(headline);
  for (const std::int64_t m : {16, 8192}) {
    run.records.push_back(CaseOf("gemm",
                                 {{"dtype", std::string("bf16")},
                                  {"m", m},
                                  {"n", std::int64_t{64}},
                                  {"k", std::int64_t{64}}},
                                 {.flops = flops, .bytes_min = 100'000'000'000}, seconds * 1.1));
  }
  for (const std::int64_t bytes : {1 << 20, 1 << 26}) {
    run.records.push_back(CaseOf("all_reduce", {{"bytes", bytes}, {"ranks", std::int64_t{8}}},
                                 {.bytes = bytes}, static_cast<double>(bytes) / 4e11));
  }
  Record skipped = {.probe = "copy",
                    .device = {.kind = "gpu"},
                    .status = Status::kSkipped,
                    .reason = "there is no room"};
  run.records.push_back(skipped);
  Node& only = run.nodes.front();
  only.identity = {
      .provider = {.value = "aws"}, .instance = {.value = instance}, .region = {.value = "r1"}};
  only.accelerators = {{.name = "NVIDIA H100", .present = 8, .visible = 8, .used = 8}};
  return run;
}

// Runs, as a page has them.
struct Folder {
  Catalog catalog = {};
  std::vector<RunBrief> briefs = {};
  ReportGroups Groups(bool per_gpu = false) const {
    GroupOptions options = {.instances = catalog.instances,
                            .offers = catalog.offers,
                            .today = kToday,
                            .other_prices = true,
                            .per_gpu = per_gpu};
    ReportGroups groups = {.briefs = briefs};
    std::vector<RunGroup> made = GroupRuns(briefs, options, groups.notes);
    groups.ranking = RankGroups(briefs, std::move(made), options);
    return groups;
  }
  std::string Page() const { return ReportPage(Groups(), {}, catalog, kToday); }
};

Folder FolderOf(const std::vector<std::string>& instances, int nodes, int runs,
                const std::function<void(assay::Run&)>& change = {}) {
  Folder folder = {.catalog = CatalogFor(instances)};
  for (std::size_t i = 0; i < instances.size(); ++i) {
    for (int node = 0; node < nodes; ++node) {
      for (int number = 0; number < runs; ++number) {
        assay::Run run = RunOn(instances[i], node, number,
                               5000.0 + 300.0 * static_cast<double>(i) + 7 * (node % 13) + number);
        if (change) change(run);
        folder.briefs.push_back(MakeBrief(
            std::move(run), fmt::format("{}.json", folder.briefs.size()), folder.catalog, false));
      }
    }
  }
  return folder;
}

std::string BeforeScript(const std::string& page) { return page.substr(0, page.find("<script")); }

TEST(Page, BeginsWithTheAnswerThatCompareGives) {
  const Folder folder = FolderOf({"a.8", "b.8", "c.8"}, 3, 2);
  const std::string page = folder.Page();
  const std::string answer = AnswerOf(*folder.Groups().ranking, kToday);
  EXPECT_THAT(answer, HasSubstr("c.8"));
  EXPECT_THAT(page, HasSubstr("<p class=answer>" + answer + "</p>"));
  // The ranking has the words of the terminal, with the other ways of buying beside them.
  EXPECT_THAT(BeforeScript(page),
              AllOf(HasSubstr(">reserved 12 months</td>"), HasSubstr(">reserved 36 months</td>"),
                    HasSubstr(">spot</td>"), HasSubstr(">0.4 x on demand</td>")));
}

TEST(Page, WhatGroupsAreRankedByIsNotMovedByOtherWaysOfBuying) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 3, 1);
  const GroupRanking with = *folder.Groups().ranking;
  GroupOptions options = {
      .instances = folder.catalog.instances, .offers = folder.catalog.offers, .today = kToday};
  std::vector<std::string> notes;
  const GroupRanking without =
      RankGroups(folder.briefs, GroupRuns(folder.briefs, options, notes), options);
  EXPECT_EQ(AnswerOf(with, kToday), AnswerOf(without, kToday));
  ASSERT_EQ(with.groups[0].prices.size(), 4U);
  EXPECT_EQ(with.groups[0].asked, 1U);
  const GroupPlace& place = with.cases[0].places[0];
  EXPECT_EQ(place.cheapest, 0U);
  ASSERT_TRUE(place.usd[3]);
  EXPECT_LT(*place.usd[3], *place.usd[0]);
}

TEST(Page, HasEverySectionBeforeAnyScript) {
  const std::string page = BeforeScript(FolderOf({"a.8", "b.8", "c.8"}, 3, 2).Page());
  std::size_t before = 0;
  for (const char* id : {"answer", "price", "ranking", "lottery", "roofline", "gemm", "collectives",
                         "ladder", "nodes", "cases", "prices", "coverage"}) {
    const std::size_t at = page.find(fmt::format("<section id={}>", id));
    ASSERT_NE(at, std::string::npos) << id;
    EXPECT_GT(at, before) << id;
    before = at;
  }
  EXPECT_THAT(page, HasSubstr("made up, spot"));
  EXPECT_THAT(page, HasSubstr("bf16, data sheet of 8 x H100"));
}

TEST(Page, WhatWasNotMeasuredIsDrawnAsSuchAndSaysWhy) {
  int count = 0;
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [&](assay::Run& run) {
    if (++count > 2)
      std::erase_if(run.records, [](const Record& record) { return record.probe == "gemm"; });
  });
  const std::string page = BeforeScript(folder.Page());
  EXPECT_THAT(page, HasSubstr("<td class=absent data-group=1>not measured</td>"));
  EXPECT_THAT(page, HasSubstr("<td class=absent data-group=0>skipped</td>"));
  EXPECT_THAT(page, HasSubstr("aws a.8: skipped: there is no room"));
  // A case of one group is shown, and not ranked.
  EXPECT_THAT(page, HasSubstr("one group alone has it"));
}

TEST(Page, EverythingInAFileIsEscaped) {
  const std::string evil =
      "</script><script>alert(1)</script>\"'<img src=x onerror=alert(2)>@@data@@";
  const Folder plain = FolderOf({"a.8", "b.8"}, 2, 1);
  Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [&](assay::Run& run) {
    Node& node = run.nodes.front();
    node.identity.instance.value += evil;
    node.identity.provider.value += evil;
    node.identity.region.value += evil;
    node.identity.purchase.value = evil;
    node.node_id += evil;
    node.software["cuda" + evil] = run.id + evil;
    run.started = evil;
    for (Record& record : run.records) {
      record.backend = evil;
      record.params["p" + evil] = evil;
      record.reason = evil;
      if (record.probe == "copy") record.probe = evil;
    }
  });
  for (Offer& offer : folder.catalog.offers) {
    offer.instance += evil;
    offer.provider += evil;
    offer.region += evil;
    offer.source = evil;
  }
  for (RunBrief& brief : folder.briefs) brief.file = evil;
  const std::string page = folder.Page();
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_EQ(CountOf("</script>", page), CountOf("</script>", plain.Page()));
}

TEST(Page, AHundredRunsAndTwoThousandFitIntoTheirSizes) {
  const std::vector<std::string> six = {"a.8", "b.8", "c.8", "d.8", "e.8", "f.8"};
  EXPECT_LE(FolderOf(six, 8, 2).Page().size(), 1'500'000U);
  EXPECT_LE(FolderOf(six, 167, 2).Page().size(), 4'000'000U);
}

TEST(Page, FiguresThatAreNoNumbersStayOut) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    for (Record& record : run.records) {
      for (Visit& visit : record.rounds) {
        visit.time_s = {1e-300};
        visit.unit_p50_s[0] = 1e300;
      }
    }
  });
  const std::string page = folder.Page();
  EXPECT_THAT(page.substr(page.find("id=\"data\"")),
              AllOf(Not(HasSubstr("inf")), Not(HasSubstr(",nan"))));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("data-value=inf")), Not(HasSubstr("data-value=nan"))));
}

TEST(Page, ASpeedNearTheLeastThatThereIsIsDrawn) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    for (Record& record : run.records) {
      if (record.work.flops) record.work.flops = 1;
      for (Visit& visit : record.rounds) visit.time_s = {5e307};
    }
  });
  EXPECT_THAT(folder.Page(), HasSubstr("</html>"));
}

TEST(BreakEven, IsSevenHundredAndThirtyHoursTimesTheRatioOfPrices) {
  // GCP's a3-highgpu-8g: 61.425103 reserved for a year against 88.555756 on demand.
  EXPECT_NEAR(*BreakEvenHours(61.425103, 88.555756), 506.35, 0.01);
  // A V100 that is 0.18 USD an hour cheaper reserved: 0.18 x 8760 = 1,576.80 USD a GPU-year at full
  // use, and nothing at the hours where it breaks even.
  const double on_demand = 0.60;
  const double reserved = 0.42;
  EXPECT_NEAR((on_demand - reserved) * kHoursAYear, 1576.80, 1e-9);
  const double hours = *BreakEvenHours(reserved, on_demand);
  EXPECT_NEAR(hours, 511, 1e-9);
  EXPECT_NEAR(hours * on_demand, kHoursAMonth * reserved, 1e-9);
  EXPECT_FALSE(BreakEvenHours(20.1, 20)) << "never cheaper than what costs less an hour";
  EXPECT_NEAR(*BreakEvenHours(20, 20), 730, 1e-9);
}

TEST(Brief, KeepsRoundsDevicesAndWhatWasNotMeasured) {
  assay::Run run = RunOn("a.8", 0, 0, 5000);
  run.records[0].rounds[0].time_s = {0.032};
  for (Visit& visit : run.records[0].rounds) visit.unit_p50_s[3] *= 1.1;
  const RunBrief brief = MakeBrief(std::move(run), "a.json", CatalogFor({"a.8"}), false);
  const auto headline = std::ranges::find(brief.cases, true, &CaseBrief::is_headline);
  ASSERT_NE(headline, brief.cases.end());
  ASSERT_EQ(headline->rounds.size(), 5U);
  EXPECT_NEAR(std::exp(headline->rounds[0]) / (80e12 / 0.032), 1, 1e-4);
  ASSERT_EQ(headline->units.size(), 8U);
  EXPECT_NEAR(headline->units[3], -std::log(1.1), 1e-6);
  EXPECT_NEAR(headline->units[0], 0, 1e-6);
  ASSERT_EQ(brief.unmeasured.size(), 1U);
  EXPECT_EQ(brief.unmeasured[0].why, "skipped: there is no room");
  EXPECT_FALSE(headline->flops_per_byte);
  EXPECT_NEAR(
      *std::ranges::find(brief.cases, "gemm", [](const CaseBrief& one) { return one.key.probe; })
           ->flops_per_byte,
      800, 1e-9);
}

TEST(Page, CasesOnTheCpuOfAGpuNodeStandUnderNoRoofOfItsGpus) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    for (Record& record : run.records) {
      if (record.probe == "gemm") record.device = {.kind = "cpu", .name = "a processor"};
    }
  });
  EXPECT_THAT(folder.Page(), Not(HasSubstr("data sheet of")));
}

TEST(Page, ARoofIsOfTheDevicesThatTookPart) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    for (Record& record : run.records) {
      if (record.probe == "gemm") record.units.resize(4);
    }
  });
  EXPECT_THAT(folder.Page(), AllOf(HasSubstr("bf16, data sheet of 4 x H100"),
                                   Not(HasSubstr("data sheet of 8 x H100"))));
}

TEST(Page, CasesOfOneNameSayWhatSetsThemApart) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    Record on_cpu = run.records[1];
    on_cpu.device = {.kind = "cpu", .name = "a processor"};
    run.records.push_back(on_cpu);
  });
  const ReportGroups groups = folder.Groups();
  std::set<std::string> names;
  for (const GroupedCase& grouped : groups.ranking->cases) {
    EXPECT_TRUE(names.insert(grouped.name).second) << grouped.name;
  }
  EXPECT_THAT(folder.Page(), AllOf(HasSubstr(" (cpu)"), HasSubstr(" (gpu)")));
}

TEST(Page, ARooflineHasOneUnit) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    run.records[1].params["dtype"] = std::string("int8");
  });
  const ReportGroups groups = folder.Groups();
  const std::string svgs =
      RooflineChart(GroupFacts(*groups.ranking, folder.briefs, folder.catalog), kWideChart);
  EXPECT_EQ(CountOf("<svg", svgs), 2);
  EXPECT_EQ(CountOf("class=\"mark", svgs), 4) << "each of two products on two types once";
  const std::string second = svgs.substr(svgs.find("<svg", 1));
  EXPECT_GT(CountOf("FLOP/s</text>", svgs), 0);
  EXPECT_EQ(CountOf("FLOP/s</text>", second), 0);
  EXPECT_GT(CountOf("OP/s</text>", second), 0);
}

TEST(Page, ProductsThatAreNotDrawnAreCounted) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    const Record product = run.records[1];
    for (std::int64_t m = 100; m < 143; ++m) {
      run.records.push_back(product);
      run.records.back().params["m"] = m;
    }
  });
  EXPECT_THAT(folder.Page(), HasSubstr("not drawn, but in the tables: 5 products and 0 groups"));
}

TEST(DeviceOutliers, AreDrawnAndNamedWhereverTheyAre) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    Record& headline = run.records[0];
    headline.units.clear();
    for (int i = 0; i < 72; ++i) headline.units.push_back({.device = i});
    for (Visit& visit : headline.rounds) {
      const double seconds = visit.time_s.front();
      visit.unit_p50_s.assign(72, seconds);
      for (std::size_t i = 0; i < 72; ++i) {
        visit.unit_p50_s[i] *= 1 + 0.001 * static_cast<double>(i % 5);
      }
      if (run.nodes[0].node_id == "b.8-0001") visit.unit_p50_s[40] *= 1.2;
    }
  });
  const ReportGroups groups = folder.Groups();
  const GroupFacts facts(*groups.ranking, folder.briefs, folder.catalog);
  const std::vector<std::string> found = DeviceOutliers(facts);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0], AllOf(HasSubstr("aws b.8, node b.8-0001, device 40: -16.")));
  std::size_t left_out = 0;
  EXPECT_THAT(DevicesChart(facts, kWideChart, left_out),
              AllOf(HasSubstr(" outlier\""), HasSubstr(">40</text>"),
                    HasSubstr("56 more devices not drawn")));
  EXPECT_THAT(folder.Page(), HasSubstr("device 40: -16."));
}

TEST(Collectives, TheLineOfTheNetworkIsWhatSuspiciousFiguresAreHeldAgainst) {
  const auto most = [](const std::string& operation, std::optional<bool> mnnvl) {
    assay::Run run = RunOn("a.8", 0, 0, 5000);
    Record record = CaseOf(
        operation,
        {{"bytes", std::int64_t{1 << 26}}, {"ranks", std::int64_t{16}}, {"nodes", std::int64_t{2}}},
        {.bytes = 1 << 26}, 1e-3);
    if (mnnvl) record.facts["mnnvl"] = *mnnvl;
    run.records = {record};
    return MakeBrief(std::move(run), "a.json", CatalogFor({"a.8"}), false)
        .cases.at(0)
        .most_by_network;
  };
  // 3200 Gbit/s are 400 GB/s; with 16 ranks on 2 nodes of 8 an all_reduce counts 2 x 15/16 S where
  // a node must send S, and an alltoall counts 15/16 S where a node must send 8 x 8/16 S.
  EXPECT_NEAR(*most("all_reduce", false), 400e9 * 2 * 15 / 16, 1);
  EXPECT_NEAR(*most("alltoall", false), 400e9 * (15.0 / 16) / 4, 1);
  EXPECT_FALSE(most("all_reduce", true)) << "NVLink carried it";
  EXPECT_FALSE(most("all_reduce", {})) << "nobody knows what carried it";
}

// A collective on two nodes, whose record may tell whether NVLink carried it.
Record OnTwoNodes(std::int64_t bytes, std::optional<bool> mnnvl) {
  Record record = CaseOf(
      "all_reduce", {{"bytes", bytes}, {"ranks", std::int64_t{16}}, {"nodes", std::int64_t{2}}},
      {.bytes = bytes}, static_cast<double>(bytes) / 1e11);
  if (mnnvl) record.facts["mnnvl"] = *mnnvl;
  return record;
}

TEST(Collectives, TheLineOfTheNetworkNeedsALimitInEveryRun) {
  const auto has_line = [](bool in_all) {
    const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [&](assay::Run& run) {
      const bool is_second = run.id.ends_with("-1-0");
      for (const std::int64_t bytes : {1 << 20, 1 << 26}) {
        run.records.push_back(
            OnTwoNodes(bytes, is_second && !in_all ? std::nullopt : std::optional(false)));
      }
    });
    const ReportGroups groups = folder.Groups();
    std::string svgs;
    const GroupFacts facts(*groups.ranking, folder.briefs, folder.catalog);
    for (const TitledChart& chart : CollectiveCharts(facts, kWideChart)) svgs += chart.svg;
    return CountOf("wire", svgs) > 0;
  };
  EXPECT_TRUE(has_line(true));
  EXPECT_FALSE(has_line(false)) << "what carried the second run's data is unknown";
}

TEST(Collectives, BusBandwidthIsThatOfTheRanksWhateverSpeedsAreOf) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1);
  const auto svg = [&](bool per_gpu) {
    const ReportGroups groups = folder.Groups(per_gpu);
    const GroupFacts facts(*groups.ranking, folder.briefs, folder.catalog);
    return CollectiveCharts(facts, kWideChart).at(0).svg;
  };
  // 4e11 B/s, which the median round takes 0.2 % longer than, times 2 x 7/8.
  EXPECT_THAT(svg(false), HasSubstr("698.6 GB/s at 64 MiB"));
  EXPECT_EQ(svg(true), svg(false));
}

TEST(Collectives, ABandwidthThatNoDoubleHoldsIsNotDrawn) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    if (!run.id.starts_with("b.8")) return;
    for (Record& record : run.records) {
      if (record.probe != "all_reduce") continue;
      // The algorithm's bandwidth has a place in a double, the bus bandwidth has none.
      const double seconds = static_cast<double>(*record.work.bytes) / 1.5e308;
      for (Visit& visit : record.rounds) visit.time_s = {seconds};
    }
  });
  const ReportGroups groups = folder.Groups();
  const GroupFacts facts(*groups.ranking, folder.briefs, folder.catalog);
  EXPECT_EQ(CountOf("class=\"mark", CollectiveCharts(facts, kWideChart).at(0).svg), 2)
      << "the two sizes of the other type";
}

TEST(LotteryChart, RoundsBeyondItsAxisAreCounted) {
  const Folder folder = FolderOf(
      {"a.8", "b.8"}, 2, 1, [](assay::Run& run) { run.records[0].rounds[0].time_s[0] *= 1.04; });
  const ReportGroups groups = folder.Groups();
  const GroupFacts facts(*groups.ranking, folder.briefs, folder.catalog);
  EXPECT_THAT(LotteryChart(facts, groups.ranking->cases.front(), kWideChart),
              HasSubstr("not drawn: 4 rounds beyond the axis"));
}

TEST(GroupFacts, FiguresOfTwoMethodsAreApart) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    run.records.push_back(run.records[1]);
    run.records.back().method = 2;
  });
  const ReportGroups groups = folder.Groups();
  const GroupFacts facts(*groups.ranking, folder.briefs, folder.catalog);
  int checked = 0;
  for (const GroupedCase* grouped : facts.Cases()) {
    for (const GroupPlace& place : grouped->places) {
      EXPECT_EQ(facts.FiguresOf(*grouped, place).size(), 2U) << grouped->name;
      if (grouped->method == 2) ++checked;
    }
  }
  EXPECT_EQ(checked, 2);
}

TEST(Page, AProductOnOneDeviceIsHeldAgainstOthersOnOneDevice) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    run.records.push_back(run.records[1]);
    Record& one = run.records.back();
    one.params["scope"] = std::string("device");
    one.units.resize(1);
    one.work.flops = *one.work.flops / 8;
    for (Visit& visit : one.rounds) visit.unit_p50_s.resize(1);
  });
  const ReportGroups groups = folder.Groups();
  const std::string svg =
      GemmChart(GroupFacts(*groups.ranking, folder.briefs, folder.catalog), kWideChart);
  EXPECT_EQ(CountOf("class=\"h1\"", svg), 0);
  EXPECT_EQ(CountOf("class=\"h9\"", svg), 6) << "three products on two types, each the fastest";
}

TEST(Page, DollarsThatNoDoubleHoldsAreNoValueToSortBy) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 2, 1, [](assay::Run& run) {
    for (Record& record : run.records) {
      if (!record.work.flops) continue;
      record.work.flops = 1;
      // At 1 USD an hour the cost still has a place in a double, at 50 it has none.
      for (Visit& visit : record.rounds) visit.time_s = {1e295};
    }
  });
  const std::string page = folder.Page();
  EXPECT_EQ(CountOf("data-value=inf", page) + CountOf("data-value=nan", page) +
                CountOf("data-value=-inf", page),
            0);
}

TEST(Pairs, OfANodeOfSeventyTwoArePairs) {
  GroupedCase grouped;
  grouped.params = {{"from", std::int64_t{70}}, {"to", std::int64_t{71}}};
  EXPECT_TRUE(PairOf(grouped));
}

TEST(NodeOutliers, AreDrawnInWhateverCaseTheyAreAndAllNamed) {
  const Folder folder = FolderOf({"a.8", "b.8"}, 30, 1, [](assay::Run& run) {
    const Record product = run.records[1];
    for (std::int64_t m = 100; m < 115; ++m) {
      run.records.push_back(product);
      run.records.back().params["m"] = m;
    }
    const std::string& node = run.nodes[0].node_id;
    if (!node.starts_with("b.8-000") || node > "b.8-0006") return;
    for (Visit& visit : run.records.back().rounds) visit.time_s[0] *= 1.2;
  });
  const ReportGroups groups = folder.Groups();
  const GroupFacts facts(*groups.ranking, folder.briefs, folder.catalog);
  EXPECT_EQ(NodeOutliers(facts).size(), 7U);
  std::size_t left_out = 0;
  EXPECT_EQ(CountOf(" outlier\"", NodesChart(facts, kWideChart, left_out)), 7);
  EXPECT_EQ(CountOf("to the median of its type in", folder.Page()), 7);
}

TEST(Coverage, ACaseThatOneOfManyGroupsLacksIsTold) {
  std::vector<std::string> instances;
  for (int i = 0; i < 30; ++i) instances.push_back(fmt::format("t{:02}.8", i));
  const auto page = [&](bool is_whole) {
    return FolderOf(instances, 1, 1,
                    [&](assay::Run& run) {
                      run.records.pop_back();
                      if (!is_whole && run.id.starts_with("t29")) run.records.pop_back();
                    })
        .Page();
  };
  EXPECT_THAT(page(true), HasSubstr("Every group has every case."));
  EXPECT_THAT(page(false), AllOf(Not(HasSubstr("Every group has every case.")),
                                 HasSubstr("6 more groups have no column here")));
}

TEST(RoundsChart, RecordsThatAreNotDrawnAreCounted) {
  const Record record = CaseOf("gemm", {}, {.flops = 1'000'000}, 1e-3);
  std::vector<DrawnRecord> drawn;
  for (int i = 0; i < 125; ++i) {
    drawn.push_back({.label = fmt::format("case {}", i), .record = &record});
  }
  for (const double width : {kWideChart, kNarrowChart}) {
    EXPECT_THAT(RoundsChart(drawn, width), HasSubstr("not drawn, but in the table: 5 more rows"));
  }
}

TEST(FitChart, SizesBeyondAnIntegerHaveNoTick) {
  std::vector<Record> records;
  Fit fit;
  for (const int power : {40, 50, 62}) {
    const std::int64_t bytes = std::int64_t{1} << power;
    records.push_back(CaseOf("copy", {}, {.bytes = bytes}, static_cast<double>(bytes) / 1e12));
  }
  for (const Record& record : records) fit.sweep.push_back(&record);
  fit.model.per_byte_s = 1e-12;
  const std::string svg = FitChart(fit, 0, "made up");
  EXPECT_THAT(svg, AllOf(HasSubstr("projection"), HasSubstr("iB</text>"), Not(HasSubstr(">-")),
                         Not(HasSubstr(">0 B<"))));
}

TEST(Html, AColumnSaysItselfWhetherItHoldsNumbers) {
  EXPECT_EQ(HeadRow({{"speed"}, {"anything", true}}),
            "<tr><th scope=col>speed</th><th scope=col class=number>anything</th></tr>\n");
}

TEST(NodeOutliers, AreFarFromTheMedianAndNamed) {
  Folder folder = FolderOf({"a.8", "b.8"}, 6, 1, [](assay::Run& run) {
    if (run.nodes[0].node_id != "b.8-0004") return;
    for (Visit& visit : run.records[0].rounds) visit.time_s[0] *= 1.2;
  });
  const ReportGroups groups = folder.Groups();
  const std::vector<std::string> found =
      NodeOutliers(GroupFacts(*groups.ranking, folder.briefs, folder.catalog));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0], AllOf(HasSubstr("aws b.8, node b.8-0004"), HasSubstr("-16.")));
}

}  // namespace
}  // namespace assay
