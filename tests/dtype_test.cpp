#include "results/base/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "results/base/error.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string ErrorOf(std::string_view name, DtypeUse use = DtypeUse::kAny) {
  try {
    ReadDtype(name, "--dtype", use);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Dtype, EachIsReadByAllOfItsNamesAndNoNameIsOfTwo) {
  std::set<std::string_view> known;
  for (const DtypeFacts& facts : Dtypes()) {
    EXPECT_EQ(&FactsOf(facts.dtype), &facts);
    const std::set<std::string_view> names = {facts.name, facts.nccl_tests, facts.former};
    for (const std::string_view name : names) {
      if (name.empty()) continue;
      EXPECT_EQ(FindDtype(name), &facts) << name;
      EXPECT_TRUE(known.insert(name).second) << name;
    }
  }
  EXPECT_EQ(ReadDtype("f8e4m3", "").name, "fp8_e4m3");
  EXPECT_EQ(ReadDtype("i8", "").name, "int8");
  EXPECT_EQ(ReadDtype("bfloat16", "").name, "bf16");
  EXPECT_EQ(FindDtype(""), nullptr);
  EXPECT_EQ(FindDtype("f13"), nullptr);
}

TEST(Dtype, CollectivesHaveTheOrderOfNcclTests) {
  EXPECT_THAT(DtypeNames(DtypeUse::kCollectives),
              ElementsAre("int8", "u8", "i32", "u32", "i64", "u64", "f16", "f32", "f64", "bf16",
                          "fp8_e4m3", "fp8_e5m2"));
  EXPECT_THAT(DtypeNames(DtypeUse::kProducts),
              ElementsAre("int8", "f16", "f32", "f64", "bf16", "fp8_e4m3", "fp8_e5m2",
                          "fp8_e5m2_e4m3", "tf32", "mxfp8", "nvfp4"));
}

TEST(Dtype, WhatIsFp8AndWhatProductsAreSummedIn) {
  EXPECT_TRUE(IsFp8(Dtype::kFp8E4m3));
  EXPECT_TRUE(IsFp8(Dtype::kFp8E5m2E4m3));
  EXPECT_FALSE(IsFp8(Dtype::kMxfp8)) << "its blocks have scales";
  EXPECT_FALSE(IsFp8(Dtype::kInt8));
  EXPECT_EQ(AccumulatorOf(Dtype::kInt8), "s32");
  EXPECT_EQ(AccumulatorOf(Dtype::kF64), "f64");
  EXPECT_EQ(AccumulatorOf(Dtype::kNvfp4), "f32");
}

TEST(Dtype, AWrongNameIsAnsweredWithTheNearest) {
  EXPECT_THAT(ErrorOf("fp8_e4m"), AllOf(StartsWith("--dtype is 'fp8_e4m'; did you mean fp8_e4m3"),
                                        HasSubstr("It is one of: int8, u8, ")));
  EXPECT_THAT(ErrorOf("BF16"), HasSubstr("did you mean bf16?"));
  EXPECT_THAT(ErrorOf("bflaot16"), HasSubstr("did you mean bfloat16?"));
  EXPECT_THAT(ErrorOf("nonsense"), HasSubstr("'nonsense'; give one of: int8, "));
  EXPECT_THAT(ErrorOf("a\x1b[1m"), Not(HasSubstr("\x1b")));
}

TEST(Dtype, WhatAnotherUseHasIsRefusedWithThoseThatThereAre) {
  EXPECT_THAT(ErrorOf("tf32", DtypeUse::kCollectives),
              AllOf(HasSubstr("'tf32'; give one of: int8, u8, "), Not(HasSubstr("nvfp4"))));
  EXPECT_THAT(ErrorOf("uint64", DtypeUse::kProducts),
              AllOf(HasSubstr("tf32"), Not(HasSubstr("u64,"))));
  EXPECT_EQ(ErrorOf("i8", DtypeUse::kProducts), "no error");
}

}  // namespace
}  // namespace assay
