// Imports of prices. The files are made for these tests, in the shapes of real ones.
#include "results/catalog/price_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>

#include "results/base/error.h"
#include "results/catalog/own_prices.h"
#include "results/catalog/price_check.h"
#include "results/show/csv.h"
#include "tests/error_text.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::SizeIs;

Imported Import(const std::string& format, const std::string& text, ImportOptions options = {}) {
  options.format = format;
  return ImportPrices(text, "made." + format, options, Catalog::BuiltIn());
}

// The count under the reason that begins so.
std::size_t Refused(const Imported& imported, const std::string& begin) {
  for (const auto& [reason, count] : imported.refused) {
    if (reason.starts_with(begin)) return count;
  }
  return 0;
}

// The price of what is sold so; nothing where there is no such offer.
std::optional<double> Usd(const Imported& imported, const std::string& instance,
                          const std::string& purchase, const std::string& region,
                          const std::string& zone = "") {
  for (const Offer& offer : imported.offers) {
    if (offer.instance == instance && offer.purchase == purchase && offer.region == region &&
        offer.zone.value_or("") == zone) {
      return offer.usd_per_hour;
    }
  }
  return std::nullopt;
}

TEST(ImportPrices, WhatIsTakenCanBeReadBack) {
  const Imported imported = Import("skypilot",
                                   "InstanceType,AcceleratorName,Price,SpotPrice,Region\n"
                                   "p5.48xlarge,H100,55.04,20.5,us-east-1\n",
                                   {.provider = "aws", .date = "2026-11-29"});
  ASSERT_THAT(imported.offers, SizeIs(2));
  EXPECT_EQ(imported.offers[0].price_date, "2026-11-29");
  EXPECT_EQ(imported.offers[0].source, "made.skypilot (skypilot)");
  const std::string csv = OffersCsv(imported.offers);
  EXPECT_EQ(OffersCsv(ParseOffers(csv, "again")), csv);
  EXPECT_EQ(ImportedText(imported), "2 offers from 2 prices\n");
}

// ---- SkyPilot

TEST(ImportSkypilot, IsReadByItsHeaderWithEitherLineEndAndAMark) {
  for (const char* end : {"\n", "\r\n"}) {
    const std::string text = std::string("\xEF\xBB\xBFPrice,Region,AcceleratorName,Generation,") +
                             "InstanceType,SpotPrice,GpuInfo" + end +
                             "98.32,eastus,H100,\"V1,V2\",Standard_ND96isr_H100_v5,," +
                             "\"{'Gpus': [{'Count': 12}]}\"" + end;
    const Imported imported = Import("skypilot", text, {.provider = "azure"});
    EXPECT_EQ(Usd(imported, "Standard_ND96isr_H100_v5", "on_demand", "eastus"), 98.32);
    EXPECT_THAT(ImportedText(imported), HasSubstr("--date DAY"));
  }
}

TEST(ImportSkypilot, RefusesWhatIsNoPriceOfANode) {
  const Imported imported = Import("skypilot",
                                   "InstanceType,AcceleratorName,Price,SpotPrice,Region\n"
                                   "c3.2xlarge,,0.511,0.17,us-east-1\n"        // no accelerator
                                   ",H100,3.2,,us-east-1\n"                    // no host
                                   "p5e.48xlarge,H200,,,us-east-1\n"           // no price
                                   "p5e.48xlarge,H200,,14.5,us-east-1\n"       // spot alone
                                   "p5.48xlarge,H100,55.04,,\n"                // no region
                                   "p5.48xlarge,H100,0,,us-east-2\n"           // a placeholder
                                   "p5.48xlarge,H100,99999,,us-west-1\n"       // another
                                   "p5.48xlarge,H100,-3,,us-west-1\n"          //
                                   "p5.48xlarge,H100,\"55,04\",,us-west-2\n"   // a decimal comma
                                   "p5.48xlarge,H100,nan,,us-west-2\n"         //
                                   "Ddsv4_Type 1,H100,5,,us-west-2\n"          // a host type
                                   "Standard_NC6_Promo,K80,0.2,,us-west-2\n",  //
                                   {.provider = "aws"});
  EXPECT_THAT(imported.offers, SizeIs(1));
  EXPECT_EQ(Usd(imported, "p5e.48xlarge", "spot", "us-east-1"), 14.5);
  EXPECT_EQ(Refused(imported, "no accelerator"), 2U);
  EXPECT_EQ(Refused(imported, "an accelerator that is priced without its host"), 1U);
  EXPECT_EQ(Refused(imported, "no price"), 1U);
  EXPECT_EQ(Refused(imported, "no region"), 1U);
  EXPECT_EQ(Refused(imported, "a placeholder"), 2U);
  EXPECT_EQ(Refused(imported, "a price below 0"), 1U);
  EXPECT_EQ(Refused(imported, "a decimal comma"), 1U);
  EXPECT_EQ(Refused(imported, "a price that is no number"), 1U);
  EXPECT_EQ(Refused(imported, "a name with blanks"), 1U);
  EXPECT_EQ(Refused(imported, "a promotion"), 1U);
  EXPECT_THAT(ImportedText(imported), AllOf(HasSubstr("1 offer from 13 prices\n"),
                                            HasSubstr("\nrefused 2: a placeholder")));
}

TEST(ImportSkypilot, OfGcpARowIsTheHostAlone) {
  const Imported imported = Import("skypilot",
                                   "InstanceType,AcceleratorName,Price,SpotPrice,Region\n"
                                   "a3-highgpu-8g,,9.46,2.1,us-central1\n",
                                   {.provider = "gcp"});
  EXPECT_THAT(imported.offers, IsEmpty());
  EXPECT_EQ(Refused(imported, "the host alone"), 1U);
}

TEST(ImportSkypilot, SpotAtThePriceOfOnDemandOrAboveIsNone) {
  const Imported imported =
      Import("skypilot",
             "InstanceType,AcceleratorName,Price,SpotPrice,Region,AvailabilityZone\n"
             "p4de.24xlarge,A100,27.44705,27.447100,us-east-1,use1-az1\n"
             "p4de.24xlarge,A100,27.44705,27.44705,us-east-1,use1-az2\n"
             "p4de.24xlarge,A100,27.44705,40,us-east-1,use1-az3\n"
             "p4de.24xlarge,A100,27.44705,9.5,us-east-1,use1-az4\n",
             {.provider = "aws"});
  EXPECT_EQ(Refused(imported, "spot at the price of on demand or above"), 3U);
  EXPECT_THAT(imported.offers, SizeIs(2));
  EXPECT_EQ(Usd(imported, "p4de.24xlarge", "on_demand", "us-east-1"), 27.44705);
  EXPECT_EQ(Usd(imported, "p4de.24xlarge", "spot", "us-east-1", "use1-az4"), 9.5);
}

TEST(ImportSkypilot, ZonesWithOnePriceAreTheRegionAndALocalZoneStaysApart) {
  const Imported imported =
      Import("skypilot",
             "InstanceType,AcceleratorName,Price,SpotPrice,Region,AvailabilityZone\n"
             "p5.48xlarge,H100,55.04,14.25,us-east-1,use1-az1\n"
             "p5.48xlarge,H100,55.04,47.21,us-east-1,use1-az2\n"
             "p5.48xlarge,H100,60.5,,us-east-1,use1-atl2-az1\n",
             {.provider = "aws", .date = "2026-11-01"});
  EXPECT_EQ(Usd(imported, "p5.48xlarge", "on_demand", "us-east-1"), 55.04);
  EXPECT_EQ(Usd(imported, "p5.48xlarge", "on_demand", "us-east-1", "use1-atl2-az1"), 60.5);
  EXPECT_EQ(Usd(imported, "p5.48xlarge", "spot", "us-east-1", "use1-az1"), 14.25);
  EXPECT_EQ(Usd(imported, "p5.48xlarge", "spot", "us-east-1", "use1-az2"), 47.21);
  EXPECT_THAT(imported.refused, IsEmpty());
}

TEST(ImportPrices, RowsAreOffersAndWhatWasMergedAndRefused) {
  const Imported imported =
      Import("skypilot",
             "InstanceType,AcceleratorName,Price,SpotPrice,Region,AvailabilityZone\n"
             "p5.48xlarge,H100,55.04,14.25,us-east-1,use1-az1\n"
             "p5.48xlarge,H100,55.04,,us-east-1,use1-az2\n"
             "p5.48xlarge,H100,55.04,99,us-east-1,use1-az3\n",
             {.provider = "aws", .date = "2026-11-01"});
  EXPECT_EQ(imported.rows, 5U);
  EXPECT_THAT(imported.offers, SizeIs(2));
  EXPECT_EQ(imported.merged, 2U);
  EXPECT_EQ(Refused(imported, "spot at the price of on demand"), 1U);
  EXPECT_THAT(ImportedText(imported), HasSubstr("2 offers from 5 prices\nmerged 2: zones"));
}

TEST(ImportSkypilot, NeedsTheCloudsNameAndItsColumns) {
  EXPECT_THAT(ErrorText([] { Import("skypilot", "InstanceType\nx\n"); }), HasSubstr("--provider"));
  EXPECT_THAT(ErrorText([] { Import("skypilot", "a,b\n1,2\n", {.provider = "aws"}); }),
              HasSubstr("there is no InstanceType"));
}

// ---- gcosts

TEST(ImportGcosts, MonthsAreHoursAndFloorsAndUnsoldSumsAreRefused) {
  const Imported imported = Import("gcosts",
                                   "about:\n"
                                   "  copyright: |2\n"
                                   "\n"
                                   "    Some: words\n"
                                   "  timestamp: 1785391997\n"
                                   "compute:\n"
                                   "  instance:\n"
                                   "    a3-highgpu-8g:\n"
                                   "      cost:\n"
                                   "        us-central1:\n"
                                   "          hour: 88.49\n"
                                   "          hour_spot: 50.61\n"
                                   "          month: 64597.7\n"
                                   "          month_1y: 44810.08\n"
                                   "          month_3y: 28371\n"
                                   "        us-east4:\n"
                                   "          hour: 88.55\n"
                                   "          hour_spot: 8.9\n"
                                   "        mars-north1:\n"
                                   "          hour: 115.54\n"
                                   "          hour_spot: 60\n"
                                   "      h100: 8\n"
                                   "    a3-highgpu-1g:\n"
                                   "      cost:\n"
                                   "        us-central1:\n"
                                   "          hour: 11.06\n"
                                   "    e2-standard-4:\n"
                                   "      cost:\n"
                                   "        us-central1:\n"
                                   "          hour: 0.13\n"
                                   "storage:\n"
                                   "  disk: 1\n");
  EXPECT_EQ(Usd(imported, "a3-highgpu-8g", "on_demand", "us-central1"), 88.49);
  EXPECT_EQ(Usd(imported, "a3-highgpu-8g", "spot", "us-central1"), 50.61);
  EXPECT_EQ(Usd(imported, "a3-highgpu-8g", "on_demand", "us-east4"), 88.55);
  EXPECT_EQ(Usd(imported, "a3-highgpu-8g", "spot", "us-east4"), std::nullopt);
  ASSERT_THAT(imported.offers, SizeIs(5));
  for (const Offer& offer : imported.offers) {
    EXPECT_EQ(offer.price_date, "2026-07-30");
    if (offer.purchase != "reserved") continue;
    EXPECT_DOUBLE_EQ(*offer.usd_per_hour, (*offer.term_months == 12 ? 44810.08 : 28371) / 730);
  }
  EXPECT_EQ(Refused(imported, "spot under 15 %"), 1U);
  EXPECT_EQ(Refused(imported, "a sum of parts"), 3U) << "mars, and a3-highgpu-1g on demand";
  EXPECT_EQ(Refused(imported, "no accelerator"), 1U);
  EXPECT_THAT(ErrorText([] { Import("gcosts", "a: 1\nb:\n  c: 2\n"); }), HasSubstr("pricing.yml"));
}

// ---- gpu-rental-prices

TEST(ImportRentalPrices, ArePerGpuAndOfANodeWhereItsGpusAreTold) {
  const Imported imported = Import("gpu-rental-prices", R"({"date": "2026-10-08", "offers": [
    {"provider": "cloudy", "gpu": "h100", "usd_hr": 2.75, "kind": "marketplace", "min_gpus": 8,
     "gpu_count_reported": true, "region": "Denver, United States",
     "fetched_at": "2026-10-08T08:46:34Z", "instance": "Marketplace node 1; 8 GPUs"},
    {"provider": "cloudy", "gpu": "b200", "usd_hr": 6.25, "kind": "secure",
     "fetched_at": "2026-10-08T08:46:34Z", "region": null},
    {"provider": "cloudy", "gpu": "b200", "usd_hr": 6.30, "kind": "community",
     "fetched_at": "2026-10-08T08:46:34Z"},
    {"provider": "cloudy", "gpu": "b200", "usd_hr": 3, "kind": "reserved"}]})");
  EXPECT_EQ(Usd(imported, "8x_h100", "on_demand", "Denver, United States"), 22);
  EXPECT_EQ(Usd(imported, "b200", "on_demand", "all"), 6.25);
  ASSERT_THAT(imported.offers, SizeIs(2));
  EXPECT_EQ(imported.offers[0].resource, "node");
  EXPECT_EQ(imported.offers[1].resource, "gpu");
  EXPECT_EQ(imported.offers[0].price_date, "2026-10-08");
  EXPECT_THAT(imported.offers[0].source, HasSubstr("8 GPUs x 2.75"));
  EXPECT_EQ(Refused(imported, "a kind of price without a term"), 1U);
  EXPECT_EQ(Refused(imported, "spot at the price of on demand"), 1U);
  EXPECT_THAT(ImportedText(imported), HasSubstr("CC BY 4.0"));
}

// ---- Capacity blocks

TEST(ImportCapacityBlock, IsOfAllAcceleratorsAndItsLocalZoneIsAZone) {
  const Imported imported = Import("aws-capacity-block", R"({
    "metadata": {"last_updated": "2026-07-22T07:14:56Z"},
    "instance_types": {
      "u-p6e-gb200x72": {"pricing": [
        {"region_code": "us-east-1-dfw-2a", "hourly_rate_usd": 10.582},
        {"region_code": "us-east-1-dfw-2a", "hourly_rate_usd": 761.904}], "accelerator_count": 72},
      "p5.48xlarge": {"accelerator_count": 8, "pricing": [
        {"region_code": "us-east-1", "hourly_rate_usd": 41.528, "accelerator_hourly_rate_usd": 5.191},
        {"region_code": "us-east-2", "hourly_rate_usd": 5.191, "accelerator_hourly_rate_usd": 5.191},
        {"region_code": "unknown", "hourly_rate_usd": 41.528}]}}})");
  EXPECT_EQ(Usd(imported, "p5.48xlarge", "capacity_block", "us-east-1"), 41.528);
  EXPECT_EQ(Usd(imported, "u-p6e-gb200x72", "capacity_block", "us-east-1", "use1-dfw2-az1"),
            std::nullopt)
      << "one zone is the region's price";
  EXPECT_EQ(Usd(imported, "u-p6e-gb200x72", "capacity_block", "us-east-1"), 761.904);
  EXPECT_THAT(imported.offers, SizeIs(2));
  EXPECT_EQ(imported.offers[0].price_date, "2026-07-22");
  EXPECT_EQ(Refused(imported, "the rate isn't that of all accelerators"), 2U);
  EXPECT_EQ(Refused(imported, "no region"), 1U);
}

// ---- Azure

TEST(ImportAzureRetail, TellsWindowsSpotLowPriorityAndTotalsOfATerm) {
  const auto item = [](const std::string& meter, const std::string& product, double usd,
                       const std::string& more = R"("type":"Consumption")") {
    return R"({"armRegionName":"eastus","armSkuName":"Standard_ND96isr_H100_v5","meterName":")" +
           meter + R"(","productName":")" + product + R"(","unitOfMeasure":"1 Hour",)" +
           R"("currencyCode":"USD","retailPrice":)" + std::to_string(usd) + "," + more + "}";
  };
  const std::string vm = "Virtual Machines NDsr H100 v5 Series";
  const Imported imported = Import(
      "azure-retail",
      R"({"BillingCurrency":"USD","Items":[)" + item("ND96isrH100v5", vm, 98.32) + "," +
          item("ND96isrH100v5", vm + " Windows", 102.736) + "," +
          item("ND96isrH100v5 Spot", vm, 18.169536) + "," +
          item("ND96isrH100v5 Low Priority", vm, 41.094) + "," +
          item("ND96isrH100v5", vm, 350400, R"("type":"Reservation","reservationTerm":"1 Year")") +
          "," +
          item("ND96isrH100v5", vm, 788400, R"("type":"Reservation","reservationTerm":"3 Years")") +
          "," + item("ND96isrH100v5", vm, 50, R"("type":"DevTestConsumption")") + "," +
          item("ND96isrH100v5", vm, 0) + R"(],"NextPageLink":"https://prices.azure.com/next"})");
  EXPECT_EQ(Usd(imported, "Standard_ND96isr_H100_v5", "on_demand", "eastus"), 98.32);
  EXPECT_EQ(Usd(imported, "Standard_ND96isr_H100_v5", "spot", "eastus"), 18.169536);
  ASSERT_THAT(imported.offers, SizeIs(4));
  for (const Offer& offer : imported.offers) {
    if (offer.purchase != "reserved") continue;
    EXPECT_DOUBLE_EQ(*offer.usd_per_hour, *offer.term_months == 12 ? 40 : 30);
  }
  EXPECT_EQ(Refused(imported, "Windows"), 1U);
  EXPECT_EQ(Refused(imported, "a low-priority meter"), 1U);
  EXPECT_EQ(Refused(imported, "neither consumption nor a reservation"), 1U);
  EXPECT_EQ(Refused(imported, "a placeholder"), 1U);
  EXPECT_THAT(ImportedText(imported), HasSubstr("one page of several"));
}

TEST(ImportAzureRetail, AnotherCurrencyIsRefusedByNameOrTakenAtTheRate) {
  const std::string text = R"({"Items":[{"armRegionName":"westeurope","type":"Consumption",
    "armSkuName":"Standard_ND96isr_H100_v5","meterName":"ND96","productName":"VM",
    "unitOfMeasure":"1 Hour","currencyCode":"EUR","retailPrice":100}]})";
  EXPECT_EQ(Refused(Import("azure-retail", text), "the currency EUR; '--rate EUR=USD'"), 1U);
  const Imported at_rate = Import("azure-retail", text, {.usd_per = {{"EUR", 1.08}}});
  EXPECT_DOUBLE_EQ(*Usd(at_rate, "Standard_ND96isr_H100_v5", "on_demand", "westeurope"), 108);
  EXPECT_THAT(at_rate.offers[0].source, HasSubstr("EUR at 1.08 USD"));
}

// ---- FOCUS

TEST(ImportFocus, ContractedAndEffectivePricesAreAveragedOverTheLinesOfABill) {
  const std::string head =
      "\"ChargeCategory\",PricingUnit,PricingQuantity,ContractedUnitPrice,EffectiveCost,"
      "BillingCurrency,ProviderName,RegionId,ChargePeriodStart,CommitmentDiscountId,"
      "CommitmentDiscountCategory,CommitmentDiscountStatus,PricingCategory,SkuPriceDetails\n";
  const std::string type = ",\"{\"\"InstanceType\"\": \"\"p5.48xlarge\"\"}\"\n";
  const std::string line = "\"Usage\",\"Hours\",";
  const std::string aws = ",\"USD\",\"AWS\",\"us-east-1\",";
  const Imported imported = Import(
      "focus",
      head + line + "10,50,500" + aws + "2026-11-01T00:00:00Z,NULL,NULL,NULL,Standard" + type +
          line + "30,46,1380" + aws + "2026-11-02T00:00:00Z,NULL,NULL,NULL,Standard" + type +  //
          line + "100,55.04,3500" + aws + "2026-11-02T00:00:00Z,cd-1,Usage,Used,Committed" + type +
          line + "5,55.04,200" + aws + "2026-11-02T00:00:00Z,cd-1,Usage,Unused,Committed" + type +
          line + "5,20,100" + aws + "2026-11-02T00:00:00Z,NULL,NULL,NULL,Dynamic" + type +
          "Credit,Hours,5,20,0" + aws + "2026-11-02T00:00:00Z,NULL,NULL,NULL,Standard" + type +
          "Usage,GB,5,20,0" + aws + "2026-11-02T00:00:00Z,NULL,NULL,NULL,Standard" + type + line +
          "5,20,0" + aws + "2026-11-02T00:00:00Z,NULL,NULL,NULL,Standard,NULL\n");
  // 10 h at 50, 30 h at 46, 100 h at 55.04.
  EXPECT_DOUBLE_EQ(*Usd(imported, "p5.48xlarge", "on_demand", "us-east-1"),
                   (500 + 1380 + 5504) / 140.0);
  EXPECT_DOUBLE_EQ(*Usd(imported, "p5.48xlarge", "reserved", "us-east-1"), 35);
  EXPECT_DOUBLE_EQ(*Usd(imported, "p5.48xlarge", "spot", "us-east-1"), 20);
  ASSERT_THAT(imported.offers, SizeIs(3));
  EXPECT_EQ(imported.offers[0].usd_low, 46);
  EXPECT_EQ(imported.offers[0].usd_high, 55.04);
  EXPECT_EQ(imported.offers[0].price_date, "2026-11-02");
  EXPECT_TRUE(imported.offers[0].is_private);
  // Two more lines went into the price on demand, and no row is unaccounted for.
  EXPECT_EQ(imported.merged, 2U);
  std::size_t refused = 0;
  for (const auto& [reason, count] : imported.refused) refused += count;
  EXPECT_EQ(imported.rows, imported.offers.size() + imported.merged + refused);
  EXPECT_EQ(Refused(imported, "a commitment that was not used"), 1U);
  EXPECT_EQ(Refused(imported, "a charge that is no usage"), 1U);
  EXPECT_EQ(Refused(imported, "a unit other than the hour"), 1U);
  EXPECT_EQ(Refused(imported, "no instance type"), 1U);
}

// ---- AWS's price list

constexpr char kProducts[] = R"({"publicationDate":"2026-11-20T00:00:00Z","products":{
  "A":{"sku":"A","productFamily":"Compute Instance","attributes":{"instanceType":"p5.48xlarge",
    "regionCode":"us-east-1","operatingSystem":"Linux","tenancy":"Shared","preInstalledSw":"NA",
    "capacitystatus":"Used","gpu":"8"}},
  "B":{"attributes":{"instanceType":"p5.48xlarge","regionCode":"us-east-1","tenancy":"Shared",
    "operatingSystem":"Windows","gpu":"8"}},
  "C":{"attributes":{"instanceType":"p5.48xlarge","regionCode":"us-east-1","tenancy":"Dedicated",
    "operatingSystem":"Linux","gpu":"8"}},
  "D":{"attributes":{"instanceType":"c7i.large","regionCode":"us-east-1","tenancy":"Shared",
    "operatingSystem":"Linux"}},
  "E":{"attributes":{"volumeType":"gp3"}}}, "terms":{)";

TEST(ImportAwsPricelist, TakesPlainHoursAndReservationsWithWhatIsPaidAtTheStart) {
  const auto term = [](const std::string& code, const std::string& dimensions,
                       const std::string& attributes) {
    return "\"" + code + R"(":{"effectiveDate":"2026-11-01T00:00:00Z","priceDimensions":{)" +
           dimensions + R"(},"termAttributes":{)" + attributes + "}}";
  };
  const auto price = [](const std::string& code, const std::string& unit, const std::string& usd) {
    return "\"" + code + R"(":{"unit":")" + unit + R"(","pricePerUnit":{"USD":")" + usd + "\"}}";
  };
  const std::string year = R"("LeaseContractLength":"1yr","OfferingClass":"standard")";
  const Imported imported = Import(
      "aws-pricelist",
      std::string(kProducts) + R"("OnDemand":{"A":{)" +
          term("A.J", price("A.J.1", "Hrs", "55.0400000000"), "") + R"(},"B":{)" +
          term("B.J", price("B.J.1", "Hrs", "91"), "") + R"(}},"Reserved":{"A":{)" +
          term("A.N", price("A.N.1", "Hrs", "35"), year) + "," +
          term("A.P", price("A.P.1", "Hrs", "10") + "," + price("A.P.2", "Quantity", "175200"),
               year) +
          "," +
          term("A.C", price("A.C.1", "Hrs", "40"),
               R"("LeaseContractLength":"1yr","OfferingClass":"convertible")") +
          "}}}}");
  EXPECT_EQ(Usd(imported, "p5.48xlarge", "on_demand", "us-east-1"), 55.04);
  ASSERT_THAT(imported.offers, SizeIs(3));
  EXPECT_EQ(imported.offers[1].purchase, "reserved");
  EXPECT_EQ(imported.offers[1].usd_per_hour, 35);
  EXPECT_EQ(imported.offers[2].upfront_usd, 175200);
  EXPECT_DOUBLE_EQ(*imported.offers[2].usd_per_hour, 10 + 175200 / 8760.0);
  EXPECT_EQ(imported.offers[0].price_date, "2026-11-20");
  EXPECT_EQ(Refused(imported, "Windows"), 1U);
  EXPECT_EQ(Refused(imported, "a dedicated host"), 1U);
  EXPECT_EQ(Refused(imported, "no accelerator"), 1U);
  EXPECT_EQ(Refused(imported, "a convertible reservation"), 1U);
  const std::string csv = OffersCsv(imported.offers);
  EXPECT_EQ(OffersCsv(ParseOffers(csv, "again")), csv);
}

// ---- The catalog's own format, and hostile files

TEST(ImportCsv, TakesGoodRowsAndCountsBadOnes) {
  const std::string text =
      "provider,seller,instance,region,zone,resource,purchase,offered,term_months,upfront_usd,"
      "usd_per_hour,usd_low,usd_high,price_date,date_precision,kind,source,private\r\n"
      "aws,aws,p5.48xlarge,us-east-1,,node,on_demand,true,,,50,,,2026-11-01,day,list,mine,true\r\n"
      "aws,aws,p5.48xlarge,us-east-1,,node,on_demand,true,,,51,,,2026-11-01,day,list,mine,true\r\n"
      "aws,aws,p5.48xlarge,us-east-1,,node,on_demand,true,,,0,,,2026-11-02,day,list,mine,true\r\n";
  const Imported imported = Import("csv", text);
  ASSERT_THAT(imported.offers, SizeIs(1));
  EXPECT_EQ(imported.offers[0].usd_per_hour, 50);
  EXPECT_EQ(imported.rows, 3U);
  EXPECT_EQ(Refused(imported, "usd_per_hour is '0'"), 1U);
  EXPECT_EQ(Refused(imported, "aws p5.48xlarge in us-east-1 has two"), 1U);
}

TEST(ImportPrices, OfAHostileFileOneSentenceIsSaid) {
  const std::string deep(100000, '[');
  for (const char* format :
       {"gpu-rental-prices", "aws-capacity-block", "azure-retail", "aws-pricelist"}) {
    const auto error = [&](const std::string& text) {
      return ErrorText([&] { Import(format, text); });
    };
    EXPECT_THAT(error("{\"Items\":" + deep), HasSubstr("nested deeper")) << format;
    EXPECT_THAT(error("{\"Items\":[1,"), HasSubstr("this isn't JSON")) << format;
    EXPECT_THAT(error(""), HasSubstr("this isn't JSON")) << format;
    EXPECT_THAT(error("{}"), HasSubstr("this JSON has no")) << format;
    EXPECT_THAT(error("[1e308,\"\\u0000\"]"), HasSubstr("this JSON has no")) << format;
  }
  EXPECT_THAT(ErrorText([] { Import("aws-pricelist", R"({"terms":{},"products":{}})"); }),
              HasSubstr("terms stand before"));
  EXPECT_THAT(ErrorText([] { Import("focus", "a,b\n\"1,2\n"); }),
              HasSubstr("a quote is not closed"));
  EXPECT_THAT(ErrorText([] { Import("focus", "a,a\n1,2\n"); }), HasSubstr("names a column twice"));
  EXPECT_THAT(ErrorText([] { Import("tarot", ""); }),
              HasSubstr("--from tarot: give one of skypilot"));
  const Imported scripts = Import("skypilot",
                                  "InstanceType,AcceleratorName,Price,SpotPrice,Region\n"
                                  "<script>,H100,5,,us-east-1\n=cmd(),H100,5,,us-east-1\n"
                                  "p5\x1b[31m,H100,5,,us-east-1\np5x,H100,1e308,,us-east-1\n",
                                  {.provider = "aws"});
  EXPECT_THAT(OffersCsv(scripts.offers), Not(HasSubstr("cmd")));
  EXPECT_EQ(Refused(scripts, "a name with characters"), 2U);
  EXPECT_EQ(Refused(scripts, "a placeholder"), 1U);
}

// ---- The user's own prices

TEST(OwnPrices, AnOwnedMachineCostsItsShareOfThePriceAndItsEnergy) {
  const OwnedMachine machine = {.capex_usd = 350400,
                                .power_kw = 10,
                                .years = 4,
                                .utilisation = 0.5,
                                .pue = 1.2,
                                .usd_per_kwh = 0.1};
  // 350400 / (4 x 8760 x 0.5) + 10 x 1.2 x 0.1 = 20 + 1.2
  EXPECT_DOUBLE_EQ(UsdPerHour(machine), 21.2);
  EXPECT_EQ(OwnedText(machine),
            "owned: 350400 USD / (4 years x 8760 h x utilisation 0.5) + 10 kW x PUE 1.2 x 0.1 "
            "USD/kWh");
  const OwnedMachine plain = {.capex_usd = 300000, .power_kw = 10.2};
  EXPECT_DOUBLE_EQ(UsdPerHour(plain), 300000 / (4 * 8760 * 0.8) + 10.2 * 1.3 * 0.12);
  EXPECT_THAT(OwnedText(plain), AllOf(HasSubstr("4 years (default)"), HasSubstr("0.8 (default)"),
                                      HasSubstr("1.3 (default)"), HasSubstr("(default)")));
}

TEST(OwnPrices, AFileOfAMillionRowsIsRefusedInOneSentenceBeforeItIsRead) {
  const std::string path = testing::TempDir() + "/million.csv";
  std::ofstream(path) << "provider\n";
  std::filesystem::resize_file(path, 1'000'000 * 50);
  const std::string error =
      ErrorText([&] { CatalogWith({}, {.files = {path}, .no_user_files = true}); });
  EXPECT_THAT(ErrorText([&] { ImportPriceFile(path, {.format = "csv"}, {}); }),
              HasSubstr("' is over 32 MiB; give a price file"));
  std::filesystem::remove(path);
  EXPECT_THAT(error, HasSubstr("' is over 32 MiB; give a price file, such as"));
}

TEST(OwnPrices, OfAUserAreThoseInTheFolderOfTheConfiguration) {
  const std::string folder = testing::TempDir() + "/own_prices_test";
  std::filesystem::create_directories(folder + "/assay/prices");
  for (const char* name : {"b.csv", "a.csv", "c.txt"}) {
    std::ofstream(folder + "/assay/prices/" + name) << "x\n";
  }
  const char* const before = std::getenv("XDG_CONFIG_HOME");
  const std::string kept = before == nullptr ? "" : before;
  setenv("XDG_CONFIG_HOME", folder.c_str(), 1);
  const std::vector<std::string> files = UserPriceFiles();
  before == nullptr ? unsetenv("XDG_CONFIG_HOME") : setenv("XDG_CONFIG_HOME", kept.c_str(), 1);
  std::filesystem::remove_all(folder);
  ASSERT_THAT(files, SizeIs(2));
  EXPECT_TRUE(files[0].ends_with("/assay/prices/a.csv")) << files[0];
}

TEST(OwnPrices, DiscountsAreOfListPricesOnDemandAlone) {
  Catalog catalog = {.offers = {{.provider = "a",
                                 .instance = "i",
                                 .region = "r",
                                 .purchase = "on_demand",
                                 .usd_per_hour = 50,
                                 .price_date = "2026-11-01",
                                 .date_precision = "day",
                                 .kind = "list",
                                 .source = "s"}}};
  catalog.offers.push_back(catalog.offers[0]);
  catalog.offers[1].purchase = "spot";
  const Catalog with =
      CatalogWith(catalog, {.no_user_files = true, .discounts = {"ea=0.82", "more=0.5"}});
  EXPECT_DOUBLE_EQ(*with.offers[0].usd_per_hour, 50 * 0.82 * 0.5);
  EXPECT_EQ(with.offers[0].source, "s; x 0.82 (ea); x 0.5 (more)");
  EXPECT_TRUE(with.offers[0].is_private);
  EXPECT_EQ(with.offers[1].usd_per_hour, 50);
  for (const char* bad : {"ea", "ea=", "=0.5", "ea=0", "ea=1.2", "ea=18%", "ea=nan"}) {
    EXPECT_THAT(
        ErrorText([&] { CatalogWith(catalog, {.no_user_files = true, .discounts = {bad}}); }),
        HasSubstr("--discount"))
        << bad;
  }
}

TEST(OwnPrices, AsOfADayIsTheCatalogOfThatDay) {
  const PriceSources sources = {.no_user_files = true, .as_of = "2026-06-30"};
  const Catalog then = CatalogWith(Catalog::BuiltIn(), sources);
  const Identity identity = {.provider = {.value = "gcp"},
                             .instance = {.value = "a3-highgpu-8g"},
                             .region = {.value = "us-central1"},
                             .purchase = {.value = "spot", .how = "flag"}};
  EXPECT_EQ(ChooseOffer(then.offers, identity).offer->usd_per_hour, 26.83013);
  EXPECT_EQ(ChooseOffer(Catalog::BuiltIn().offers, identity).offer->usd_per_hour, 50.609541);
  EXPECT_THAT(ErrorText([] { CatalogWith({}, {.no_user_files = true, .as_of = "2026-06"}); }),
              HasSubstr("--as-of"));
}

TEST(PriceCheck, IsCleanOnTheBuiltInCatalogAndFindsContradictions) {
  EXPECT_THAT(PriceFindings(Catalog::BuiltIn(), "2026-11-30"), IsEmpty());
  EXPECT_THAT(PriceCheckText(Catalog::BuiltIn(), {}, "2026-11-30"), HasSubstr("nothing found"));
  const auto found = [](const std::function<void(Offer&)>& change) {
    Catalog catalog = Catalog::BuiltIn();
    Offer offer = OffersFor(catalog.offers, "aws", "p5.48xlarge").front();
    offer.region = "us-east-1";
    offer.zone.reset();
    offer.purchase = "on_demand";
    offer.term_months.reset();
    offer.price_date = "2026-11-29";
    offer.date_precision = "day";
    change(offer);
    catalog.offers.push_back(offer);
    std::string findings;
    for (const std::string& one : PriceFindings(catalog, "2026-11-30")) findings += one + '\n';
    return findings;
  };
  EXPECT_THAT(found([](Offer& offer) {
                offer.purchase = "spot";
                offer.usd_per_hour = 60;
              }),
              HasSubstr("at that price there is no spot"));
  EXPECT_THAT(found([](Offer& offer) { offer.usd_per_hour = 6.88; }),
              HasSubstr("is it the price of a whole node"));
  EXPECT_THAT(found([](Offer& offer) { offer.instance = "p5.48xlrage"; }),
              HasSubstr("there are no facts of it"));
  EXPECT_THAT(found([](Offer& offer) {
                offer.usd_per_hour = 55;
                offer.price_date = "2026-12-01";
              }),
              HasSubstr("dated after"));
}

}  // namespace
}  // namespace assay
