#include "results/file/nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/figures/figures.h"
#include "results/file/privacy.h"
#include "runner/program/measure.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Node Instance(const std::string& instance, const std::string& zone = "use1-az4") {
  Node node;
  node.identity = {.provider = {.value = "aws"},
                   .instance = {.value = instance},
                   .region = {.value = "us-east-1"},
                   .zone_id = {.value = zone},
                   .purchase = {.value = "on_demand"}};
  node.cpu.model = "Xeon";
  node.software = {{"kernel", "6.8"}, {"mpi", "Open MPI v4.1.4"}};
  return node;
}

std::vector<std::string> WhatSetsApart(const std::vector<Node>& nodes) {
  std::vector<std::string> whats;
  for (const Note& note : UnlikeNodes(nodes)) {
    EXPECT_FALSE(note.remedy.empty());
    whats.push_back(note.what);
  }
  return whats;
}

TEST(Nodes, NothingIsSaidOfNodesThatAreAlike) {
  EXPECT_THAT(WhatSetsApart({Instance("p5.48xlarge")}), ElementsAre());
  EXPECT_THAT(WhatSetsApart({Instance("p5.48xlarge"), Instance("p5.48xlarge")}), ElementsAre());
  // Kernels may differ: nothing of theirs travels.
  std::vector<Node> nodes = {Instance("p5.48xlarge"), Instance("p5.48xlarge")};
  nodes[1].software["kernel"] = "6.9";
  EXPECT_THAT(WhatSetsApart(nodes), ElementsAre());
}

TEST(Nodes, EachDifferenceIsNamedWithItsNodes) {
  std::vector<Node> nodes = {Instance("p5.48xlarge"), Instance("p4d.24xlarge", "use1-az6"),
                             Instance("p5.48xlarge")};
  nodes[0].identity.purchase.value = "spot";
  nodes[2].cpu.model = "EPYC";
  nodes[1].accelerators.push_back({.name = "A100", .present = 8});
  nodes[2].software["mpi"] = "Open MPI v5.0.1";
  nodes[2].software["nccl"] = "2.28";
  EXPECT_THAT(
      WhatSetsApart(nodes),
      ElementsAre("the nodes differ in instance: p5.48xlarge (2 nodes), p4d.24xlarge (node 1)",
                  "the nodes differ in zone: use1-az4 (2 nodes), use1-az6 (node 1)",
                  "the nodes differ in purchase: spot (node 0), on_demand (2 nodes)",
                  "the nodes differ in processor: Xeon (2 nodes), EPYC (node 2)",
                  "the nodes differ in accelerators: none (2 nodes), 8 x A100 (node 1)",
                  "the nodes differ in mpi: Open MPI v4.1.4 (2 nodes), Open MPI v5.0.1 (node 2)",
                  "the nodes differ in nccl: none (2 nodes), 2.28 (node 2)"));
}

TEST(Nodes, AHundredKindsAreNotAllListed) {
  std::vector<Node> nodes;
  for (int i = 0; i < 100; ++i) nodes.push_back(Instance("p5." + std::to_string(i)));
  EXPECT_THAT(WhatSetsApart(nodes),
              ElementsAre("the nodes differ in instance: p5.0 (node 0), p5.1 (node 1), p5.2 (node "
                          "2), p5.3 (node 3) and 96 more"));
}

TEST(Nodes, TheListedPriceOfOneIsNotThatOfAnother) {
  assay::Run run = {.nodes = {Instance("p5.48xlarge"), Instance("p5.48xlarge", "use1-az6")}};
  const Chosen alike = ChoosePrice({&run}, {}, Catalog::BuiltIn());
  ASSERT_TRUE(alike.offer);
  EXPECT_EQ(UsdPerHour(run, alike), 2 * *alike.offer->usd_per_hour);

  for (const auto part : {&Identity::instance, &Identity::region, &Identity::purchase}) {
    assay::Run unlike = run;
    (unlike.nodes[1].identity.*part).value = "other";
    const Chosen none = ChoosePrice({&unlike}, {}, Catalog::BuiltIn());
    EXPECT_FALSE(none.offer);
    EXPECT_THAT(none.why, HasSubstr("other (node 1)"));
    EXPECT_THAT(none.why, HasSubstr("--price"));
    // A typed price is what a node costs on average.
    EXPECT_EQ(
        UsdPerHour(unlike, ChoosePrice({&unlike}, {.price_usd_per_hour = 3}, Catalog::BuiltIn())),
        6);
  }
}

TEST(ChoosePrice, TheWayOfBuyingThatIsAskedForComesBeforeTheRunsOwn) {
  assay::Run run = {.nodes = {Instance("p5.48xlarge")}};
  Identity& identity = run.nodes[0].identity;
  identity.region.value = "us-east-1";
  identity.purchase.value = "on_demand";
  const auto chosen = [&](const PricingFlags& flags) {
    return ChoosePrice({&run}, flags, Catalog::BuiltIn());
  };
  EXPECT_EQ(chosen({}).offer->purchase, "on_demand");
  EXPECT_EQ(chosen({.purchase = "spot"}).offer->purchase, "spot");
  EXPECT_EQ(chosen({.purchase = "spot"}).why, "as asked");
  // A price that was typed with the run is of the way in which that was bought.
  run.offers = {TypedOffer(50, identity, "2026-11-30")};
  EXPECT_EQ(chosen({}).offer->usd_per_hour, 50);
  EXPECT_EQ(chosen({.purchase = "spot"}).offer->purchase, "spot");
  const Chosen owned =
      chosen({.purchase = "owned", .owned = OwnedMachine{.capex_usd = 300000, .power_kw = 10.2}});
  EXPECT_EQ(owned.offer->purchase, "owned");
  EXPECT_THAT(owned.why, HasSubstr("4 years (default)"));
}

TEST(Nodes, NoNameOfAnyHostStaysInTheFile) {
  assay::Run run = {.nodes = {Instance("p5.48xlarge"), Instance("p5.48xlarge")}};
  run.nodes[1].notes = {{.what = "worker-b7 is busy, worker-b77 not", .remedy = "look at it"}};
  Record record = {.probe = "all_reduce", .reason = "no route to worker-b7.example.org"};
  run.records = {record};
  const Privacy privacy = {.hosts = {"worker-a1", "worker-b7.example.org"}};
  ApplyPrivacy(run, privacy);
  ApplyPrivacy(record, privacy);
  EXPECT_EQ(run.nodes[1].notes[0].what, "(redacted) is busy, worker-b77 not");
  EXPECT_EQ(run.records[0].reason, "no route to (redacted)");
  EXPECT_EQ(record.reason, "no route to (redacted)");

  ApplyPrivacy(record = {.reason = "worker-a1"}, {.keep_ids = true, .hosts = privacy.hosts});
  EXPECT_EQ(record.reason, "worker-a1");
}

TEST(FactsOfNodes, TheNodeWhoseTransfersAreLeastProvedDecides) {
  const auto on = [](const std::string& verdict) {
    return Facts{{"direct", verdict}, {"direct_how", "how " + verdict}, {"flags", verdict}};
  };
  const std::vector<std::string> by_doubt = {"proved", "unproven", "refuted"};
  for (std::size_t first = 0; first < by_doubt.size(); ++first) {
    for (std::size_t second = 0; second < by_doubt.size(); ++second) {
      const Facts facts = FactsOfNodes({on(by_doubt[first]), on(by_doubt[second])});
      EXPECT_EQ(std::get<std::string>(facts.at("direct")), by_doubt[std::max(first, second)]);
      EXPECT_EQ(std::get<std::string>(facts.at("direct_how")),
                second > first ? "node 1: how " + by_doubt[second] : "how " + by_doubt[first]);
      EXPECT_EQ(std::get<std::string>(facts.at("flags")), by_doubt[first])
          << "all else is the first node's";
    }
  }
}

TEST(FactsOfNodes, TheMostCachedNodeAndAClientThatIsTooSlowAreTold) {
  const Facts cold = {{"cached_before", 0.0}, {"client_bound", false}};
  const Facts warm = {{"cached_before", 0.5}, {"cached_reads", 0.25}, {"client_bound", true}};
  for (const Facts& facts : {FactsOfNodes({cold, warm}), FactsOfNodes({warm, cold})}) {
    EXPECT_EQ(std::get<double>(facts.at("cached_before")), 0.5);
    EXPECT_EQ(std::get<double>(facts.at("cached_reads")), 0.25);
    EXPECT_TRUE(std::get<bool>(facts.at("client_bound")));
  }
  EXPECT_EQ(FactsOfNodes({{{"threads", std::int64_t{2}}}, {}}),
            (Facts{{"threads", std::int64_t{2}}}));
  EXPECT_EQ(FactsOfNodes({}), Facts());
}

}  // namespace
}  // namespace assay
