#include "results/catalog/price.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <set>

#include "results/base/error.h"
#include "results/base/hash.h"
#include "results/figures/figures.h"
#include "results/show/csv.h"
#include "results/show/writer.h"
#include "tests/error_text.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kHeader[] =
    "provider,seller,instance,region,zone,resource,purchase,offered,term_months,upfront_usd,"
    "usd_per_hour,usd_low,usd_high,price_date,date_precision,kind,source,private\n";

// An on-demand offer of aws p5 at 55 USD, as the tests change it.
Offer ExampleOffer(const std::function<void(Offer&)>& change = [](Offer&) {}) {
  Offer offer = {.provider = "aws",
                 .seller = "aws",
                 .instance = "p5.48xlarge",
                 .region = "us-east-1",
                 .purchase = "on_demand",
                 .usd_per_hour = 55,
                 .price_date = "2026-11-01",
                 .date_precision = "day",
                 .kind = "list",
                 .source = "a page"};
  change(offer);
  return offer;
}

Identity At(const std::string& region, const std::string& purchase) {
  return {.provider = {.value = "aws"},
          .instance = {.value = "p5.48xlarge"},
          .region = {.value = region},
          .purchase = {.value = purchase, .how = "imds"}};
}

TEST(Price, ARowIsReadByItsHeader) {
  const std::vector<Offer> offers = ParseOffers(
      std::string(kHeader) +
          "aws,reseller,p5.48xlarge,us-east-1,use1-az4,node,reserved,true,12,8928,1,,,2026-11,"
          "month,list,\"a page, with a comma\",false\n"
          "gcp,gcp,a4,all,,node,on_demand,false,,,,,,2026,not_before,list,a file,false\n",
      "test");
  ASSERT_THAT(offers, SizeIs(2));
  EXPECT_EQ(offers[0].seller, "reseller");
  EXPECT_EQ(offers[0].zone, "use1-az4");
  EXPECT_EQ(offers[0].term_months, 12);
  EXPECT_EQ(offers[0].upfront_usd, 8928);
  EXPECT_EQ(offers[0].usd_per_hour, 1);
  EXPECT_EQ(offers[0].source, "a page, with a comma");
  EXPECT_FALSE(offers[1].offered);
  EXPECT_FALSE(offers[1].usd_per_hour);
}

TEST(Price, ARowThatBreaksARuleIsRefusedWithItsNumber) {
  const std::pair<const char*, const char*> rows[] = {
      {"aws,aws,p5,r,,node,on_demand,true,,,0,,,2026,year,list,s,false", "usd_per_hour is '0'"},
      {"aws,aws,p5,r,,node,on_demand,true,,,-3,,,2026,year,list,s,false", "usd_per_hour is '-3'"},
      {"aws,aws,p5,r,,node,on_demand,true,,,nan,,,2026,year,list,s,false", "usd_per_hour is 'nan'"},
      {"aws,aws,p5,r,,node,on_demand,true,,,1e9,,,2026,year,list,s,false", "stay below"},
      {"aws,aws,p5,r,,node,on_demand,true,,,3 USD,,,2026,year,list,s,false", "must be a number"},
      {"aws,aws,p5,r,,node,on_demand,true,,,,,,2026,year,list,s,false", "needs usd_per_hour"},
      {"aws,aws,p5,r,,node,on_demand,false,,,3,,,2026,year,list,s,false", "has no price"},
      {"aws,aws,p5,r,,node,spot,true,,,3,4,5,2026,year,list,s,false", "must ascend"},
      {"aws,aws,p5,r,,node,rented,true,,,3,,,2026,year,list,s,false", "purchase 'rented'"},
      {"aws,aws,p5,r,,node,on_demand,yes,,,3,,,2026,year,list,s,false", "offered is 'yes'"},
      {"aws,aws,p5,r,,node,on_demand,true,,,3,,,2026,year,list,,false", "source is empty"},
      {"aws,aws,p5,,,node,on_demand,true,,,3,,,2026,year,list,s,false", "region is empty"},
      {"aws,aws,p5,r,,node,reserved,true,,9,3,,,2026,year,list,s,false", "needs the term_months"},
      {"aws,aws,p5,r,,node,reserved,true,12,8929,1,,,2026,year,list,s,false",
       "must hold the hour's"},
      {"aws,aws,(p5 claim),r,,node,on_demand,true,,,3,,,2026,year,list,s,false", "claim"},
      {"aws,aws,p5,r,,node,on_demand,true,,,3,,,2026-13,month,list,s,false", "price_date"},
      {"aws,aws,p5,r,,node,on_demand,true,,,3,,,2026-02-30,day,list,s,false", "price_date"},
      {"aws,aws,p5,r,,node,on_demand,true,,,3,,,2026,day,list,s,false", "price_date"},
      {"aws,aws,p5,r,,node,on_demand,true,,,3,,,2026,undated,list,s,false", "price_date"},
      {"aws,aws,p5,r,,node,on_demand,true,,,3,,,lately,year,list,s,false", "price_date"},
  };
  for (const auto& [row, what] : rows) {
    EXPECT_THAT(ErrorText([&] { ParseOffers(std::string(kHeader) + row + "\n", "p.csv"); }),
                AllOf(HasSubstr("p.csv, row 1"), HasSubstr(what)))
        << row;
  }
  EXPECT_THAT(ErrorText([] { ParseOffers("provider,seller\na,b\n", "p.csv"); }),
              HasSubstr("lacks the column instance"));
}

TEST(Price, NoOfferMayStandTwice) {
  const std::string row = "aws,aws,p5,r,,node,on_demand,true,,,3,,,2026,year,list,s,false\n";
  EXPECT_THAT(ErrorText([&] { ParseOffers(kHeader + row + row, "p.csv"); }), HasSubstr("two"));
}

// The data that is built in. Reading it checks all that the rows above break.

TEST(Catalog, SpotCostsAtMostOnDemand) {
  const std::vector<Offer>& offers = Catalog::BuiltIn().offers;
  int compared = 0;
  for (const Offer& spot : offers) {
    if (spot.purchase != "spot") continue;
    for (const Offer& other : offers) {
      const bool same = other.purchase == "on_demand" && other.provider == spot.provider &&
                        other.instance == spot.instance && other.region == spot.region;
      if (!same || !other.offered) continue;
      EXPECT_LE(*spot.usd_per_hour, *other.usd_per_hour) << spot.instance << " " << spot.region;
      ++compared;
    }
  }
  EXPECT_GT(compared, 20);
}

TEST(Catalog, OfFp8AndBf16TheFirstIsTwiceAsFast) {
  int compared = 0;
  for (const DeviceFacts& device : Catalog::BuiltIn().devices) {
    const bool known = device.source.starts_with("NVIDIA") || device.source.starts_with("AMD");
    if (!known || !device.peak_flops.contains("fp8_e4m3")) continue;
    EXPECT_NEAR(device.peak_flops.at("fp8_e4m3") / device.peak_flops.at("bf16"), 2, 0.06)
        << device.name;
    for (const char* dtype : {"fp8_e5m2", "fp8_e5m2_e4m3", "mxfp8"}) {
      EXPECT_EQ(device.peak_flops.at("fp8_e4m3"), device.peak_flops.at(dtype)) << dtype;
    }
    ++compared;
  }
  EXPECT_GE(compared, 14);
}

// Dense on both sides: a data sheet's sparse figure would be four times.
TEST(Catalog, OfFp4AndFp8TheFirstIsTwiceOrThreeTimesAsFast) {
  std::set<std::string> compared;
  for (const DeviceFacts& device : Catalog::BuiltIn().devices) {
    const bool nvidia = device.source.starts_with("NVIDIA");
    if (!nvidia || !device.peak_flops.contains("nvfp4")) continue;
    const double ratio = device.peak_flops.at("nvfp4") / device.peak_flops.at("mxfp8");
    EXPECT_DOUBLE_EQ(ratio, device.name.find("B300") == std::string::npos ? 2 : 3) << device.name;
    compared.insert(device.name);
  }
  EXPECT_EQ(compared, (std::set<std::string>{"B200 SXM", "B300 SXM", "GB200", "GB300"}));
}

// A node's memory read from the column of its accelerators', as inf2.48xlarge and RunPod had it.
TEST(Catalog, ANodesMemoryIsNotThatOfItsAccelerators) {
  // Where both are truly the same.
  const std::set<std::string> equal = {"g4dn.xlarge",  "g7.2xlarge",    "inf1.xlarge",
                                       "trn1.2xlarge", "trn1.32xlarge", "trn1n.32xlarge"};
  int compared = 0;
  for (const InstanceFacts& facts : Catalog::BuiltIn().instances) {
    if (!facts.memory_gib || !facts.accelerator_memory_gib || equal.contains(facts.instance)) {
      continue;
    }
    EXPECT_NE(*facts.memory_gib, facts.accelerator_count * *facts.accelerator_memory_gib)
        << facts.instance;
    ++compared;
  }
  EXPECT_GT(compared, 50);
}

TEST(Catalog, OnDemandIsNotThePriceOfACapacityBlock) {
  const std::vector<Offer>& offers = Catalog::BuiltIn().offers;
  std::set<std::string> blocks;
  for (const Offer& block : offers) {
    if (block.purchase != "capacity_block") continue;
    blocks.insert(block.instance);
    for (const Offer& other : offers) {
      if (other.instance != block.instance || other.purchase != "on_demand") continue;
      EXPECT_NE(other.usd_per_hour, block.usd_per_hour) << other.instance << " " << other.region;
    }
  }
  EXPECT_THAT(blocks, testing::Contains("trn2.48xlarge"));
}

// Prices that a later source corrected, so that no older copy brings them back. Older rows may stay
// as history: the newest counts.
TEST(Catalog, WhatWasCorrectedIsCorrect) {
  struct {
    const char* provider;
    const char* instance;
    const char* region;
    const char* purchase;
    double usd;
  } const offers[] = {{"runpod", "1x_H100_SECURE", "", "on_demand", 2.89},
                      {"runpod", "8x_H100-SXM_SECURE", "", "on_demand", 23.92},
                      {"lambda", "gpu_8x_h100_sxm5", "", "on_demand", 31.92},
                      {"lambda", "gpu_8x_b200_sxm6", "", "on_demand", 53.52},
                      {"azure", "Standard_NCC40ads_H100_v5", "eastus2", "on_demand", 8.82},
                      {"aws", "p5.48xlarge", "us-west-1", "capacity_block", 41.528},
                      {"aws", "p5.48xlarge", "ap-south-1", "capacity_block", 37.76},
                      {"aws", "p5e.48xlarge", "us-east-2", "capacity_block", 47.76},
                      {"aws", "p4d.24xlarge", "us-east-1", "capacity_block", 11.8},
                      {"aws", "trn1.32xlarge", "us-east-1", "capacity_block", 9.532},
                      {"crusoe", "h100-80gb-sxm-ib.8x", "", "on_demand", 31.2},
                      {"crusoe", "a100-80gb-sxm-ib.8x", "", "spot", 10.4},
                      {"gcp", "a3-highgpu-8g", "us-central1", "on_demand", 88.49},
                      {"gcp", "a3-highgpu-8g", "us-central1", "spot", 50.609541},
                      {"gcp", "a2-ultragpu-8g", "us-east5", "on_demand", 44.519319}};
  for (const auto& right : offers) {
    const std::vector<Offer> found =
        OffersFor(Catalog::BuiltIn().offers, right.provider, right.instance);
    const auto newest = std::ranges::find_if(found, [&](const Offer& offer) {
      return offer.purchase == right.purchase &&
             (*right.region == '\0' || offer.region == right.region);
    });
    ASSERT_NE(newest, found.end()) << right.instance << " " << right.purchase;
    EXPECT_EQ(newest->usd_per_hour, right.usd) << right.instance << " " << right.region;
  }
  for (const Offer& offer : OffersFor(Catalog::BuiltIn().offers, "aws", "p5e.48xlarge")) {
    EXPECT_TRUE(offer.purchase != "on_demand" || (!offer.offered && offer.region == "all"));
  }
  const std::map<std::string, double> nvme_gib = {{"p5.48xlarge", 28312},
                                                  {"p5e.48xlarge", 28312},
                                                  {"Standard_ND96isr_H100_v5", 28610},
                                                  {"Standard_ND96isr_H200_v5", 28610},
                                                  {"Standard_NC96ads_A100_v4", 3576}};
  const std::set<std::string> efa = {"g4dn.12xlarge", "g4dn.metal",  "g5.12xlarge",
                                     "g5.48xlarge",   "g6.48xlarge", "g6e.48xlarge"};
  std::size_t seen = 0;
  for (const InstanceFacts& facts : Catalog::BuiltIn().instances) {
    if (const auto disk = nvme_gib.find(facts.instance); disk != nvme_gib.end()) {
      EXPECT_EQ(facts.local_nvme_gib, disk->second) << facts.instance;
      ++seen;
    }
    if (efa.contains(facts.instance)) {
      EXPECT_EQ(facts.network_kind, "efa") << facts.instance;
      ++seen;
    }
    if (facts.instance == "inf2.48xlarge") {
      EXPECT_EQ(facts.memory_gib, 768);
    }
  }
  EXPECT_EQ(seen, nvme_gib.size() + efa.size());
}

TEST(Catalog, FactsAreOnceEachWithTheirSource) {
  std::set<std::pair<std::string, std::string>> instances;
  for (const InstanceFacts& facts : Catalog::BuiltIn().instances) {
    EXPECT_TRUE(instances.insert({facts.provider, facts.instance}).second) << facts.instance;
    EXPECT_GE(facts.accelerator_count, 1) << facts.instance;
    EXPECT_EQ(facts.instance.find('('), std::string::npos) << facts.instance;
    EXPECT_THAT(facts.source, Not(IsEmpty()));
  }
  for (const Offer& offer : Catalog::BuiltIn().offers) {
    EXPECT_TRUE(instances.contains({offer.provider, offer.instance})) << offer.instance;
  }
  std::set<std::string> matches;
  for (const DeviceFacts& device : Catalog::BuiltIn().devices) {
    for (const std::string& match : device.match) {
      EXPECT_TRUE(matches.insert(match).second) << match;
    }
  }
}

TEST(Catalog, TheDeviceOfEachAzureNodeWithH100NvlIsKnown) {
  const DeviceFacts* const nvl = FindDevice(Catalog::BuiltIn().devices, "NVIDIA H100 NVL");
  ASSERT_NE(nvl, nullptr);
  EXPECT_DOUBLE_EQ(nvl->peak_flops.at("bf16"), 835e12);
  EXPECT_DOUBLE_EQ(*nvl->memory_bytes_per_s, 3900e9);
}

TEST(Catalog, APeakIsFoundByNvmlNameOrPciId) {
  const std::vector<DeviceFacts>& devices = Catalog::BuiltIn().devices;
  const DeviceFacts* h100 = FindDevice(devices, "NVIDIA H100 80GB HBM3");
  ASSERT_NE(h100, nullptr);
  EXPECT_DOUBLE_EQ(h100->peak_flops.at("bf16"), 989.4e12);
  EXPECT_DOUBLE_EQ(*h100->memory_bytes_per_s, 3350e9);
  EXPECT_EQ(h100->peak_clock_mhz, 1830);
  EXPECT_EQ(FindDevice(devices, "10de:2330"), h100);
  EXPECT_EQ(FindDevice(devices, "H100"), nullptr);
  // A peak that the maker has not published clearly is absent, not guessed.
  EXPECT_FALSE(FindDevice(devices, "NVIDIA GB300")->peak_flops.contains("int8"));
}

TEST(Catalog, WhatIsNotSoldOnDemandHasNoPrice) {
  const std::vector<Offer> offers = OffersFor(Catalog::BuiltIn().offers, "gcp", "a4-highgpu-8g");
  const auto on_demand = std::find_if(offers.begin(), offers.end(), [](const Offer& offer) {
    return offer.purchase == "on_demand";
  });
  ASSERT_NE(on_demand, offers.end());
  EXPECT_FALSE(on_demand->offered);
}

TEST(Catalog, APricePerChipIsThatOfTheNodeWithItsArithmetic) {
  const std::vector<Offer> offers = OffersFor(Catalog::BuiltIn().offers, "gcp", "v4-8");
  ASSERT_THAT(offers, Not(IsEmpty()));
  EXPECT_DOUBLE_EQ(*offers[0].usd_per_hour, 12.88);
  EXPECT_THAT(offers[0].source, HasSubstr("4 chips x 3.22 USD"));
}

TEST(Catalog, ItsHashIsOfThePrices) {
  std::ifstream file(ASSAY_SOURCE_DIR "/results/catalog/prices.csv", std::ios::binary);
  const std::string prices(std::istreambuf_iterator<char>(file), {});
  ASSERT_THAT(prices, HasSubstr("p5.48xlarge"));
  EXPECT_EQ(Catalog::BuiltIn().sha256, Sha256Hex(prices));
}

TEST(OffersFor, NewestFirstAPartialDateIsItsFirstDayAndUndatedIsLast) {
  const auto dated = [](const std::string& date) {
    return ExampleOffer([&](Offer& offer) { offer.price_date = date; });
  };
  const std::vector<Offer> offers = {dated("undated"),    dated("2026-02-01"), dated("2026"),
                                     dated("2026-02-02"), dated("2026-02"),    dated("2025-12-31")};
  std::vector<std::string> dates;
  for (const Offer& offer : OffersFor(offers, "aws", "p5.48xlarge")) {
    dates.push_back(offer.price_date);
  }
  EXPECT_THAT(dates,
              ElementsAre("2026-02-02", "2026-02-01", "2026-02", "2026", "2025-12-31", "undated"));
  EXPECT_THAT(OffersFor(offers, "aws", "p4d.24xlarge"), IsEmpty());
}

// ---- Golden figures, each with its formula; the prices are those of the articles that state them.

TEST(GoldenPrices, SavingsAndDiscountsOfPublishedPricesComeOutAsPublished) {
  const auto offer = [](const char* provider, const char* instance, const char* purchase,
                        const char* months, double usd) {
    return fmt::format(
        "{0},{0},{1},r,,node,{2},true,{3},,{4},,,2026-05-21,day,list,an article,false\n", provider,
        instance, purchase, months, usd);
  };
  std::string csv = kHeader;
  struct Row {
    const char* provider;
    const char* instance;
    double on_demand;
    double spot;
    double reserved;
  };
  const std::vector<Row> rows = {{"aws", "p3.2xlarge", 3.06, 0.91, 1.65},
                                 {"azure", "Standard_NC6s_v3", 3.06, 0.73, 1.83},
                                 {"aws", "p4de.24xlarge", 40.97, 12.29, 25.81},
                                 {"gcp", "a2-ultragpu-8g", 40.22, 12.07, 25.34},
                                 {"azure", "Standard_ND96amsr_A100_v4", 37.19, 11.16, 22.87}};
  for (const Row& row : rows) {
    csv += offer(row.provider, row.instance, "on_demand", "", row.on_demand) +
           offer(row.provider, row.instance, "spot", "", row.spot) +
           offer(row.provider, row.instance, "reserved", "12", row.reserved);
  }
  const std::vector<Offer> offers = ParseOffers(csv, "golden");
  const auto chosen = [&](const Row& row, const char* purchase) {
    const Identity identity = {.provider = {.value = row.provider},
                               .instance = {.value = row.instance},
                               .region = {.value = "r"},
                               .purchase = {.value = purchase}};
    return *ChooseOffer(offers, identity).offer;
  };
  const auto percent = [&](const Row& row, const char* purchase) {
    return fmt::format("{:.1f}", 100 * *UnderOnDemand(chosen(row, purchase), offers));
  };
  const Row& aws = rows[0];
  const Row& azure = rows[1];
  // Reserved: (1.83 - 1.65) x 8760 h = 1,576.80 USD a GPU and year, 6,307.20 for four.
  const double a_year =
      (*chosen(azure, "reserved").usd_per_hour - *chosen(aws, "reserved").usd_per_hour) * 8760;
  EXPECT_NEAR(a_year, 1576.80, 1e-9);
  EXPECT_NEAR(4 * a_year, 6307.20, 1e-9);
  // Spot: 1 - 0.73 / 0.91.
  EXPECT_EQ(fmt::format("{:.1f}", 100 * (1 - *chosen(azure, "spot").usd_per_hour /
                                                 *chosen(aws, "spot").usd_per_hour)),
            "19.8");
  // 1 - 1.65 / 3.06 and 1 - 1.83 / 3.06.
  EXPECT_EQ(percent(aws, "reserved"), "46.1");
  EXPECT_EQ(percent(azure, "reserved"), "40.2");
  // A100 nodes: 1 - 12.29 / 40.97 and so on; a year 1 - 25.81 / 40.97, 1 - 22.87 / 37.19.
  for (const std::size_t node : {2, 3, 4}) EXPECT_EQ(percent(rows[node], "spot"), "70.0") << node;
  EXPECT_EQ(percent(rows[2], "reserved"), "37.0");
  EXPECT_EQ(percent(rows[3], "reserved"), "37.0");
  EXPECT_EQ(percent(rows[4], "reserved"), "38.5");
}

TEST(GoldenPrices, ANodeAtThatSpeedAndPriceGivesThePublishedDollars) {
  // 55.04 / 7912 = 0.0069565 USD per TFLOP/s-h; x 10^6 / 3600 = 1.9324 USD per EFLOP.
  const Record record = {.probe = "gemm",
                         .params = {{"regime", std::string("sustained")}},
                         .work = {.flops = 7'912'000'000'000},
                         .rounds = {{.batch = 1, .time_s = {1e-3}}}};
  const std::vector<Cost> costs = Costs(record, 55.04);
  ASSERT_THAT(costs, SizeIs(testing::Ge(2U)));
  EXPECT_NEAR(costs[0].usd, 0.0069565, 5e-8);
  EXPECT_NEAR(costs[1].usd, 1.9324, 5e-5);
}

TEST(ChooseOffer, PricesOfZonesAloneAreAnEnvelopeWhereTheZoneIsNotKnown) {
  const auto in = [](const char* zone, double usd) {
    return ExampleOffer([&](Offer& offer) {
      offer.zone = zone;
      offer.usd_per_hour = usd;
      offer.purchase = "spot";
    });
  };
  std::vector<Offer> offers = {in("use1-az1", 14.25), in("use1-az2", 47.21), in("use1-az4", 14.87)};
  Offer chosen = *ChooseOffer(offers, At("us-east-1", "spot")).offer;
  EXPECT_EQ(chosen.usd_per_hour, 14.87);
  EXPECT_EQ(chosen.usd_low, 14.25);
  EXPECT_EQ(chosen.usd_high, 47.21);
  EXPECT_FALSE(chosen.zone);
  Identity identity = At("us-east-1", "spot");
  identity.zone_id.value = "use1-az2";
  EXPECT_EQ(ChooseOffer(offers, identity).offer->usd_per_hour, 47.21);
  // A price of the whole region comes first, and a newer one of a zone replaces that zone's alone.
  offers.push_back(in("use1-az1", 20));
  offers.back().price_date = "2026-11-20";
  EXPECT_EQ(ChooseOffer(offers, At("us-east-1", "spot")).offer->usd_low, 14.87);
  offers.push_back(in("", 18));
  offers.back().zone.reset();
  chosen = *ChooseOffer(offers, At("us-east-1", "spot")).offer;
  EXPECT_EQ(chosen.usd_per_hour, 18);
  EXPECT_FALSE(chosen.usd_low);
}

TEST(ChooseOffer, ANegotiatedPriceComesFirstInItsRegionAndNowhereElse) {
  std::vector<Offer> offers = {ExampleOffer(), ExampleOffer([](Offer& offer) {
                                 offer.usd_per_hour = 40;
                                 offer.kind = "negotiated";
                                 offer.is_private = true;
                                 offer.price_date = "2026-01-01";
                               })};
  EXPECT_EQ(ChooseOffer(offers, At("us-east-1", "on_demand")).offer->usd_per_hour, 40);
  EXPECT_FALSE(ChooseOffer(offers, At("us-west-2", "on_demand")).offer);
}

TEST(OffersToKeep, AreTheNewestOfEachWayOfBuyingInTheRegion) {
  const auto in = [](const char* region, const char* purchase, const char* date) {
    return ExampleOffer([&](Offer& offer) {
      offer.region = region;
      offer.purchase = purchase;
      offer.price_date = date;
    });
  };
  const std::vector<Offer> offers = {
      in("us-east-1", "on_demand", "2025-11-01"), in("us-east-1", "on_demand", "2026-11-01"),
      in("us-east-1", "spot", "2026-01-01"), in("us-west-2", "on_demand", "2026-11-01"),
      in("all", "reserved", "2026-02-01")};
  const auto kept = [&](const char* region) {
    std::vector<std::string> names;
    for (const Offer& offer : OffersToKeep(offers, At(region, "spot"))) {
      names.push_back(offer.region + " " + offer.purchase + " " + offer.price_date);
    }
    return names;
  };
  EXPECT_THAT(kept("us-east-1a"),
              ElementsAre("us-east-1 on_demand 2026-11-01", "all reserved 2026-02-01",
                          "us-east-1 spot 2026-01-01"));
  EXPECT_THAT(kept("unknown"), SizeIs(4));
  std::vector<Offer> regional(offers.begin(), offers.end() - 1);
  EXPECT_THAT(OffersToKeep(regional, At("eu-north-1", "spot")), SizeIs(3));
}

TEST(ChooseOffer, TheDetectedPurchaseAndRegionComeFirst) {
  const std::vector<Offer> offers = {ExampleOffer(), ExampleOffer([](Offer& offer) {
                                       offer.purchase = "spot";
                                       offer.usd_per_hour = 20;
                                     })};
  const Chosen chosen = ChooseOffer(offers, At("us-east-1", "spot"));
  ASSERT_TRUE(chosen.offer);
  EXPECT_EQ(chosen.offer->usd_per_hour, 20);
  EXPECT_FALSE(chosen.instead_of);
  EXPECT_EQ(chosen.why, "bought as detected");
}

TEST(ChooseOffer, ElseOnDemandInThatRegionWhichIsSaid) {
  const std::vector<Offer> offers = {ExampleOffer()};
  for (const char* purchase : {"spot", "reserved", "capacity_block"}) {
    const Chosen chosen = ChooseOffer(offers, At("us-east-1", purchase));
    ASSERT_TRUE(chosen.offer) << purchase;
    EXPECT_EQ(chosen.offer->usd_per_hour, 55);
    EXPECT_EQ(chosen.instead_of, purchase);
    EXPECT_THAT(chosen.why, HasSubstr("price is known there, so dollars are on demand"));
  }
  // Nothing else was looked for.
  const Chosen unknown = ChooseOffer(offers, At("us-east-1", "unknown"));
  EXPECT_FALSE(unknown.instead_of);
  EXPECT_EQ(unknown.why, "how it was bought is not known, so on demand is taken");
}

TEST(ChooseOffer, WithoutARegionThereIsTheSpreadOverThemAndNoPrice) {
  const auto in = [](const std::string& region, const std::string& purchase, double usd) {
    return ExampleOffer([&](Offer& offer) {
      offer.region = region;
      offer.purchase = purchase;
      offer.usd_per_hour = usd;
    });
  };
  std::vector<Offer> offers = {in("us-east-1", "on_demand", 55), in("us-west-1", "on_demand", 68.8),
                               in("us-east-1", "spot", 20)};
  const Chosen on_demand = ChooseOffer(offers, At("unknown", "unknown"));
  EXPECT_FALSE(on_demand.offer);
  EXPECT_FALSE(UsdPerNodeHour(on_demand));
  ASSERT_TRUE(on_demand.spread);
  EXPECT_EQ(on_demand.spread->usd_low, 55);
  EXPECT_EQ(on_demand.spread->usd_high, 68.8);
  EXPECT_THAT(on_demand.spread->regions, ElementsAre("us-east-1", "us-west-1"));
  EXPECT_EQ(on_demand.why,
            "the region is not known; a node costs 55.00 to 68.80 USD/h on demand in us-east-1, "
            "us-west-1; give its price with --price USD_PER_HOUR");
  std::vector<Offer> more = offers;
  more.push_back(in("us-west-2", "on_demand", 60));
  EXPECT_EQ(ChooseOffer(more, At("unknown", "on_demand")).spread->usd_high, 68.8);
  // Where spot has no price it would be on demand there.
  const Chosen spot = ChooseOffer(offers, At("unknown", "spot"));
  EXPECT_FALSE(spot.offer);
  EXPECT_EQ(spot.spread->usd_low, 20);
  EXPECT_EQ(spot.spread->usd_high, 68.8);
  EXPECT_THAT(spot.why, HasSubstr("20.00 to 68.80 USD/h on demand or spot in"));
  // One price that holds in one region alone is still not known to be that of this machine.
  offers.resize(1);
  const Chosen one = ChooseOffer(offers, At("unknown", "on_demand"));
  EXPECT_FALSE(one.offer);
  EXPECT_THAT(one.why, HasSubstr("a node costs 55.00 USD/h on demand in us-east-1;"));
  // The region doesn't matter where all have one price.
  offers[0].region = "all";
  EXPECT_EQ(ChooseOffer(offers, At("unknown", "on_demand")).offer->usd_per_hour, 55);
  offers.push_back(in("us-west-1", "on_demand", 70));
  offers.back().price_date = "2026-11-02";
  const Chosen others = ChooseOffer(offers, At("unknown", "on_demand"));
  EXPECT_FALSE(others.offer);
  EXPECT_THAT(others.why, HasSubstr("55.00 to 70.00 USD/h on demand in all others, us-west-1;"));
}

TEST(PriceLine, SaysThePriceOfANodeAndOfAGpuAndHowItCameToStand) {
  Node node = {.accelerators = {{.name = "H100", .present = 8, .visible = 4, .used = 1}}};
  Chosen price =
      ChooseOffer(std::vector{ExampleOffer([](Offer& offer) { offer.usd_per_hour = 55.04; })},
                  At("us-east-1", "spot"));
  EXPECT_EQ(PriceLine(price, std::vector{node}, "2026-11-22"),
            "price: 55.04 USD/h a node = 8 x 6.88 a GPU, on demand, us-east-1, 2026-11-01 (21 days "
            "old); no spot price is known there, so dollars are on demand");
  price.note = "it looks odd";
  price.offer->region = "all";
  price.offer->usd_low = 50.5;
  price.offer->usd_high = 113.9328;
  price.offer->upfront_usd = 1000;
  price.offer->term_months = 12;
  price.offer->purchase = "reserved";
  EXPECT_EQ(
      PriceLine(price, std::vector{node, node}, ""),
      "price: 55.04 USD/h a node = 8 x 6.88 a GPU, 110.08 for 2 nodes, reserved 12 months, all "
      "regions, 2026-11-01, range 50.50 to 113.9328, of which 1000.00 USD are paid at the "
      "start; no spot price is known there, so dollars are on demand; note: it looks odd");
  EXPECT_EQ(PriceLine({.why = "it is not sold"}, std::vector{node}, ""),
            "price: none; it is not sold");
  node.accelerators.clear();
  price = {.offer = ExampleOffer()};
  EXPECT_EQ(PriceLine(price, std::vector{node}, ""),
            "price: 55.00 USD/h a node, on demand, us-east-1, 2026-11-01");
}

TEST(OffTheList, IsBeyondHalfOfWhatIsListedEitherWay) {
  const Chosen listed = {.offer = ExampleOffer([](Offer& offer) { offer.usd_per_hour = 40; })};
  for (const double near : {20.0, 40.0, 60.0}) EXPECT_EQ(OffTheList(near, listed), "") << near;
  EXPECT_EQ(
      OffTheList(19.99, listed),
      "19.99 USD/h is 0.5 times the 40.00 that is listed on demand in us-east-1; give the USD "
      "per hour of one whole node");
  EXPECT_THAT(OffTheList(60.01, listed), HasSubstr("60.01 USD/h is 1.5 times the 40.00"));
  EXPECT_THAT(OffTheList(5, listed), HasSubstr("is 0.125 times"));
  // The nearest and the spread are lists, too.
  EXPECT_NE(OffTheList(5, {.nearest = ExampleOffer()}), "");
  const Chosen spread = {.spread = PriceSpread{.usd_low = 20, .usd_high = 80}};
  EXPECT_EQ(OffTheList(10, spread), "");
  EXPECT_EQ(OffTheList(120, spread), "");
  EXPECT_THAT(OffTheList(9.9, spread), HasSubstr("0.495 times the 20.00 that is listed;"));
  EXPECT_THAT(OffTheList(121, spread), HasSubstr("times the 80.00"));
  EXPECT_EQ(OffTheList(5, {}), "");
}

TEST(ChooseOffer, ElseNoneAndTheNearestIsShown) {
  const std::vector<Offer> offers = {
      ExampleOffer([](Offer& offer) { offer.purchase = "spot"; }),
      ExampleOffer([](Offer& offer) { offer.region = "us-west-2"; }),
      ExampleOffer([](Offer& offer) {
        offer.region = "us-west-2";
        offer.price_date = "2024";
      }),
  };
  const Chosen elsewhere = ChooseOffer(offers, At("eu-north-1", "unknown"));
  EXPECT_FALSE(elsewhere.offer);
  ASSERT_TRUE(elsewhere.nearest);
  EXPECT_EQ(elsewhere.nearest->region, "us-west-2");
  EXPECT_EQ(elsewhere.nearest->price_date, "2026-11-01");
  EXPECT_THAT(elsewhere.why, AllOf(HasSubstr("eu-north-1"), HasSubstr("--price")));
  // The nearest offer is in the region itself, but bought another way.
  EXPECT_EQ(ChooseOffer(offers, At("us-east-1", "reserved")).nearest->purchase, "spot");
}

TEST(ChooseOffer, AnUndatedPriceIsNeverChosenButMayBeShown) {
  const std::vector<Offer> offers = {ExampleOffer([](Offer& offer) {
    offer.price_date = "undated";
    offer.date_precision = "undated";
  })};
  const Chosen chosen = ChooseOffer(offers, At("us-east-1", "on_demand"));
  EXPECT_FALSE(chosen.offer);
  EXPECT_TRUE(chosen.nearest);
}

TEST(ChooseOffer, TheNewestWinsAlsoWhereItSaysNotOffered) {
  std::vector<Offer> offers = {ExampleOffer([](Offer& offer) {
                                 offer.price_date = "2025-11";
                                 offer.usd_per_hour = 98;
                               }),
                               ExampleOffer()};
  EXPECT_EQ(ChooseOffer(offers, At("us-east-1", "on_demand")).offer->usd_per_hour, 55);
  offers.push_back(ExampleOffer([](Offer& offer) {
    offer.price_date = "2026-11-20";
    offer.offered = false;
    offer.usd_per_hour.reset();
  }));
  const Chosen chosen = ChooseOffer(offers, At("us-east-1", "on_demand"));
  EXPECT_FALSE(chosen.offer);
  EXPECT_THAT(chosen.why, HasSubstr("not sold on demand"));
}

TEST(ChooseOffer, OnePriceEverywhereFitsAnyRegionAndAZonesPriceOnlyThatZone) {
  const std::vector<Offer> everywhere = {ExampleOffer([](Offer& offer) { offer.region = "all"; })};
  EXPECT_TRUE(ChooseOffer(everywhere, At("eu-north-1", "on_demand")).offer);
  const std::vector<Offer> zonal = {ExampleOffer([](Offer& offer) { offer.zone = "use1-az4"; })};
  Identity identity = At("us-east-1", "on_demand");
  identity.zone_id.value = "use1-az1";
  EXPECT_FALSE(ChooseOffer(zonal, identity).offer);
  identity.zone_id.value = "use1-az4";
  EXPECT_TRUE(ChooseOffer(zonal, identity).offer);
}

TEST(ChooseOffer, NamesInAnotherCaseAndAZoneAreUnderstood) {
  Identity identity = At("us-east-1a", "on_demand");
  identity.provider.value = "AWS";
  identity.instance.value = "P5.48xlarge";
  EXPECT_TRUE(ChooseOffer(std::vector{ExampleOffer()}, identity).offer);
  identity.region.value = "us-east-2a";
  EXPECT_FALSE(ChooseOffer(std::vector{ExampleOffer()}, identity).offer);
}

TEST(ChooseOffer, AnInstanceThatIsNotListedIsAnsweredWithTheOneThatWasMeant) {
  Identity identity = At("us-east-1", "on_demand");
  identity.instance.value = "p5.48xlrage";
  EXPECT_EQ(
      ChooseOffer(std::vector{ExampleOffer()}, identity).why,
      "no price is known for aws p5.48xlrage in region us-east-1 (did you mean p5.48xlarge?); "
      "give one with --price USD_PER_HOUR");
}

TEST(ChooseOffer, AnUnknownMachineHasNoPriceAndIsToldHowToGiveOne) {
  const Chosen chosen = ChooseOffer(Catalog::BuiltIn().offers, Identity{});
  EXPECT_FALSE(chosen.offer);
  EXPECT_FALSE(chosen.nearest);
  EXPECT_THAT(chosen.why, HasSubstr("--price"));
}

TEST(ChooseOffer, APriceOfOnesOwnComesBeforeAll) {
  const Identity identity = At("us-east-1", "on_demand");
  const std::vector<Offer> offers = {ExampleOffer(), TypedOffer(30, identity, "2026-11-22")};
  EXPECT_EQ(ChooseOffer(offers, identity).offer->usd_per_hour, 30);
}

TEST(TypedOffer, IsPrivateDatedTodayAndCustomUnlessItsPurchaseIsTypedToo) {
  Identity identity = At("us-east-1", "spot");
  const Offer offer = TypedOffer(30, identity, "2026-11-22");
  EXPECT_TRUE(offer.is_private);
  EXPECT_EQ(offer.kind, "typed");
  EXPECT_EQ(offer.purchase, "custom");
  EXPECT_EQ(offer.instance, "p5.48xlarge");
  EXPECT_EQ(offer.price_date, "2026-11-22");
  identity.purchase.how = "flag";
  EXPECT_EQ(TypedOffer(30, identity, "2026-11-22").purchase, "spot");
  identity.purchase.value = "gift";
  EXPECT_THAT(ErrorText([&] { TypedOffer(30, identity, "2026-11-22"); }), HasSubstr("--purchase"));
  for (const double bad : {0.0, -1.0, 1e9, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(ErrorText([&] { TypedOffer(bad, Identity{}, "2026-11-22"); }),
                HasSubstr("--price"));
  }
}

TEST(PriceAge, IsInDaysAndOwnsUpToWhatItDoesNotKnow) {
  const auto age = [](const std::string& date, const std::string& precision) {
    return PriceAge(ExampleOffer([&](Offer& offer) {
                      offer.price_date = date;
                      offer.date_precision = precision;
                    }),
                    "2026-11-22");
  };
  EXPECT_EQ(age("2026-11-01", "day"), "2026-11-01 (21 days old)");
  EXPECT_EQ(age("2026-11-21", "day"), "2026-11-21 (1 day old)");
  EXPECT_EQ(age("2026-11", "month"), "2026-11 (at most 21 days old)");
  EXPECT_EQ(age("2026", "year"), "2026 (at most 325 days old)");
  EXPECT_EQ(age("2025-11", "not_before"), "2025-11 or later (at most 386 days old)");
  EXPECT_EQ(age("undated", "undated"), "undated");
  EXPECT_EQ(age("2027-01-01", "day"), "2027-01-01 (dated after 2026-11-22)");
}

TEST(PriceList, HasTheOffersWithAllWords) {
  const std::string table = PriceListTable(Catalog::BuiltIn(), "H100 aws spot", "2026-11-22");
  EXPECT_THAT(table, AllOf(HasSubstr("p5.48xlarge"), HasSubstr("18.8453"), HasSubstr("USD/h")));
  EXPECT_THAT(table, AllOf(Not(HasSubstr("azure")), Not(HasSubstr("on demand"))));
  EXPECT_THAT(PriceListTable(Catalog::BuiltIn(), "", "2026-11-22"), HasSubstr("not offered"));
  EXPECT_THAT(ErrorText([] { PriceListTable(Catalog::BuiltIn(), "abacus", "2026-11-22"); }),
              HasSubstr("'abacus'"));
}

TEST(PriceList, NamesZonesAndCountsTheNewestOffersAlone) {
  const auto of = [](const char* zone, const char* date) {
    return ExampleOffer([&](Offer& offer) {
      offer.zone = zone;
      offer.price_date = date;
    });
  };
  const Catalog catalog = {.offers = {of("use1-az1", "2026-11-01"), of("use1-az1", "2026-10-01"),
                                      of("use1-az2", "2026-11-01")}};
  const std::string table = PriceListTable(catalog, "", "2026-11-22");
  EXPECT_THAT(table, AllOf(HasSubstr("us-east-1 use1-az1 "), HasSubstr("us-east-1 use1-az2 "),
                           HasSubstr("\n2 of 2 offers, the newest of each kind")));
  EXPECT_THAT(ErrorText([&] { PriceListTable(catalog, "abacus", "2026-11-22"); }),
              HasSubstr("shows all 2"));
}

TEST(PriceList, AWordThatNoOfferHasIsAnsweredWithTheOneThatWasMeant) {
  const auto error = [](const std::string& words) {
    return ErrorText([&] { PriceListTable(Catalog::BuiltIn(), words, "2026-11-22"); });
  };
  EXPECT_THAT(error("us-est-1 aws"), HasSubstr("'us-est-1': did you mean us-east-1?"));
  EXPECT_THAT(error("awz spot"), HasSubstr("'awz': did you mean aws?"));
  EXPECT_THAT(error("p5.48xlrage"), HasSubstr("'p5.48xlrage': did you mean p5.48xlarge?"));
  EXPECT_THAT(error("on_demnd"), HasSubstr("'on_demnd': did you mean on_demand?"));
  // Each is known, and no offer has both.
  EXPECT_THAT(error("azure p5.48xlarge"), Not(HasSubstr("did you mean")));
}

TEST(PriceShow, TakesNamesInAnyCaseAndSuggestsWhatWasMeant) {
  const auto show = [](const std::string& provider, const std::string& instance) {
    return PriceShowText(Catalog::BuiltIn(), provider, instance, "2026-11-22");
  };
  const auto error = [&](const std::string& provider, const std::string& instance) {
    return ErrorText([&] { show(provider, instance); });
  };
  EXPECT_EQ(show("Azure", "standard_nd96isr_h100_v5"), show("azure", "Standard_ND96isr_H100_v5"));
  EXPECT_THAT(show("AWS", "P5.48xlarge"), testing::StartsWith("aws p5.48xlarge\n"));
  EXPECT_THAT(error("awz", "p5.48xlarge"), HasSubstr("; did you mean aws?"));
  EXPECT_THAT(error("hyperscaler", "p5.48xlarge"), HasSubstr("; providers are aws, azure, "));
  EXPECT_THAT(error("azure", "standard_nd96isr_h100-v5"),
              HasSubstr("; did you mean Standard_ND96isr_H100_v5?"));
  EXPECT_THAT(error("gcp", "p5.48xlarge"),
              HasSubstr("; it is sold by aws: 'assay price show aws p5.48xlarge'"));
  EXPECT_THAT(error("gcp", "abacus"), HasSubstr("; 'assay price list gcp' shows what is"));
}

TEST(PriceShow, SaysThatNoPriceIsKnown) {
  const Catalog catalog = {
      .instances = {*FindInstance(Catalog::BuiltIn().instances, "aws", "p5.48xlarge")}};
  EXPECT_THAT(PriceShowText(catalog, "aws", "p5.48xlarge", "2026-11-22"),
              HasSubstr("no price is known; 'assay run --price USD_PER_HOUR' takes one"));
}

TEST(UsdPerNodeHour, IsOfWhatIsOfferedAlone) {
  EXPECT_EQ(UsdPerNodeHour({.offer = Offer{.usd_per_hour = 5}}), 5);
  EXPECT_EQ(UsdPerNodeHour({.offer = Offer{.offered = false, .usd_per_hour = 5}}), std::nullopt);
  EXPECT_EQ(UsdPerNodeHour({}), std::nullopt);
}

TEST(PriceShow, NamesFactsOffersAgesAndSources) {
  const std::string text =
      PriceShowText(Catalog::BuiltIn(), "azure", "Standard_ND96isr_H100_v5", "2026-11-22");
  EXPECT_THAT(text, AllOf(HasSubstr("8 x H100 (80 GiB each)"), HasSubstr("98.3200 USD per hour"),
                          HasSubstr("(97 days old)"), HasSubstr("source: prices.azure.com")));
  EXPECT_THAT(
      ErrorText([] { PriceShowText(Catalog::BuiltIn(), "aws", "p5.48xlarg", "2026-11-22"); }),
      HasSubstr("did you mean p5.48xlarge?"));
}

TEST(Catalog, TheBuiltInOneIsAskedForInOnePlace) {
  namespace fs = std::filesystem;
  std::vector<std::string> found;
  for (const std::string folder : {"collectives", "io", "kernels", "results", "runner"}) {
    for (const auto& entry : fs::recursive_directory_iterator(ASSAY_SOURCE_DIR "/" + folder)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path());
      const std::string text((std::istreambuf_iterator<char>(file)), {});
      if (text.find("Catalog::BuiltIn().") != std::string::npos ||
          text.find("Catalog::BuiltIn())") != std::string::npos ||
          text.find("Catalog::BuiltIn)") != std::string::npos ||
          text.find("Catalog::BuiltIn(),") != std::string::npos) {
        found.push_back(fs::relative(entry.path(), ASSAY_SOURCE_DIR));
      }
    }
  }
  EXPECT_THAT(found, ElementsAre("runner/program/main.cpp"));
}

TEST(Catalog, OffersAsCsvAreReadBackAsTheSameOffers) {
  const std::vector<Offer>& offers = Catalog::BuiltIn().offers;
  const std::string csv = OffersCsv(offers);
  EXPECT_EQ(OffersCsv(ParseOffers(csv, "again.csv")), csv);
  EXPECT_THAT(csv, HasSubstr("\r\naws,aws,p5.48xlarge,"));
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(csv, '\n')), offers.size() + 1);
}

TEST(Catalog, PricesArePrintedInEachFormat) {
  const auto writer = [](OutputFormat format) {
    return MakeWriter(format, Catalog::BuiltIn(), {});
  };
  for (const OutputFormat format :
       {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kCsv}) {
    EXPECT_THAT(writer(format)->Offers("H100 aws spot"), HasSubstr("p5.48xlarge"));
    EXPECT_THAT(writer(format)->OffersOf("aws", "p5.48xlarge"), HasSubstr("us-east-1"));
    EXPECT_THAT(ErrorText([&] { writer(format)->Offers("abacus"); }),
                HasSubstr("no offer matches"));
    EXPECT_THAT(ErrorText([&] { writer(format)->OffersOf("aws", "p5.48xlarg"); }),
                HasSubstr("p5.48xlarge"));
  }
  EXPECT_THAT(writer(OutputFormat::kJson)->Offers("H100 aws spot"),
              HasSubstr("{\"format\":\"assay-prices\",\"version\":1,\"offers\":[{\"provider\":"));
}

}  // namespace
}  // namespace assay
