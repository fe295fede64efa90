#include "results/base/names.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

TEST(Names, AreOneInAnyCase) {
  EXPECT_TRUE(IsSameName("Standard_ND96isr_H100_v5", "standard_nd96isr_h100_v5"));
  EXPECT_FALSE(IsSameName("Standard_ND96isr_H100_v5", "Standard_ND96isr_H100_v"));
  EXPECT_EQ(NamedAs("standard_nd96", {"a", "Standard_ND96"}), "Standard_ND96");
  EXPECT_EQ(NamedAs("standard_nd9", {"Standard_ND96"}), "standard_nd9");
}

TEST(Names, AZoneIsItsRegionByTheCloudsOwnRule) {
  struct {
    const char* provider;
    const char* text;
    const char* region;
  } const cases[] = {{"aws", "us-east-1a", "us-east-1"},
                     {"AWS", "US-East-1A", "us-east-1"},
                     {"aws", "us-gov-west-1b", "us-gov-west-1"},
                     {"aws", "us-east-1", "us-east-1"},
                     {"aws", "ap-southeast-12c", "ap-southeast-12"},
                     {"aws", "us-west-2-lax-1a", "us-west-2-lax-1a"},
                     {"aws", "use1-az4", "use1-az4"},
                     {"aws", "us-east-1ab", "us-east-1ab"},
                     {"aws", "us-east-a", "us-east-a"},
                     {"aws", "us--1a", "us--1a"},
                     {"aws", "east-1a", "east-1a"},
                     {"gcp", "us-central1-b", "us-central1"},
                     {"gcp", "us-central1", "us-central1"},
                     {"gcp", "us-south1-ai1b", "us-south1"},
                     {"gcp", "northamerica-northeast2-a", "northamerica-northeast2"},
                     {"gcp", "us-central-b", "us-central-b"},
                     {"gcp", "US-Central1-B", "us-central1"},
                     {"gcp", "us-central1-a-b", "us-central1-a-b"},
                     {"gcp", "us-central1-1", "us-central1-1"},
                     // The cloud's zones are numbers that no region's name holds.
                     {"azure", "eastus-1", "eastus-1"},
                     {"azure", "EastUS2", "eastus2"},
                     // Whose regions look as another's zones do.
                     {"crusoe", "us-east1-a", "us-east1-a"},
                     {"coreweave", "us-east-04a", "us-east-04a"},
                     {"unknown", "us-east-1a", "us-east-1a"}};
  for (const auto& one : cases) {
    EXPECT_EQ(RegionNamed(one.provider, one.text), one.region) << one.provider << " " << one.text;
  }
}

TEST(Names, WhatIsLikeAWordIsOffered) {
  const std::vector<std::string> names = {"p5.4xlarge", "p5.48xlarge", "p5e.48xlarge",
                                          "p5en.48xlarge", "Standard_ND96isr_H100_v5"};
  EXPECT_EQ(DidYouMean("p5.48xlrage", names), "did you mean p5.48xlarge?");
  EXPECT_EQ(DidYouMean("STANDARD_ND96ISR_H100-V5", names),
            "did you mean Standard_ND96isr_H100_v5?");
  EXPECT_EQ(DidYouMean("standard", names), "did you mean Standard_ND96isr_H100_v5?");
  EXPECT_EQ(DidYouMean("p5", names),
            "did you mean p5.48xlarge, p5.4xlarge, p5e.48xlarge or another?");
  EXPECT_EQ(DidYouMean("p5e", names), "did you mean p5e.48xlarge, p5en.48xlarge?");
  EXPECT_EQ(DidYouMean("abacus", names), "");
  EXPECT_EQ(DidYouMean("", names), "");
  EXPECT_EQ(DidYouMeanAmong("gemn", {"gemm", "peak"}), "did you mean gemm?");
  EXPECT_EQ(DidYouMeanAmong("abacus", {"gemm", "peak"}), "there are gemm, peak");
}

}  // namespace
}  // namespace assay
