#include "runner/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/error.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ErrorOf(const std::vector<std::string>& arguments) {
  try {
    ParseArguments(arguments);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Cli, RunTakesProbesListsAndRepeatedSets) {
  const auto run =
      std::get<RunOptions>(ParseArguments({"run", "gemm", "memory", "--dtype", "f32,bf16", "--set",
                                           "m=1,16", "--set", "n=64", "--seed", "7"}));
  EXPECT_THAT(run.probes, ElementsAre("gemm", "memory"));
  EXPECT_THAT(run.dtypes, ElementsAre("f32", "bf16"));
  EXPECT_THAT(run.set, ElementsAre("m=1,16", "n=64"));
  EXPECT_EQ(run.seed, 7U);
  EXPECT_EQ(run.suite, "quick");
}

TEST(Cli, OptionsMayStandBeforeProbes) {
  const auto run = std::get<RunOptions>(ParseArguments({"run", "--set", "m=1", "gemm"}));
  EXPECT_THAT(run.probes, ElementsAre("gemm"));
}

TEST(Cli, APercentageMayCarryItsSign) {
  EXPECT_DOUBLE_EQ(ParsePercent("1%", "--ci"), 0.01);
  EXPECT_DOUBLE_EQ(ParsePercent("1", "--ci"), 0.01);
  EXPECT_DOUBLE_EQ(ParsePercent("2.5%", "--ci"), 0.025);
  for (const char* bad : {"", "%", "0", "-1", "101", "1%%", "x", "1 ", "nan", "inf"}) {
    EXPECT_THROW(ParsePercent(bad, "--ci"), Error) << bad;
  }
}

TEST(Cli, AMisspeltCommandIsAnsweredWithTheRightOne) {
  EXPECT_THAT(ErrorOf({"rnu"}), HasSubstr("did you mean 'run'?"));
  EXPECT_THAT(ErrorOf({"comprae", "a", "b"}), HasSubstr("did you mean 'compare'?"));
}

TEST(Cli, AMisspeltOptionIsAnsweredWithTheRightOne) {
  EXPECT_THAT(ErrorOf({"run", "--round", "3"}), HasSubstr("did you mean '--rounds'?"));
  EXPECT_THAT(ErrorOf({"compare", "--jsn", "a", "b"}), HasSubstr("did you mean '--json'?"));
}

TEST(Cli, ABadValueNamesItsOption) {
  EXPECT_THAT(ErrorOf({"run", "--rounds", "0"}), HasSubstr("--rounds"));
  EXPECT_THAT(ErrorOf({"run", "--price", "-3"}), HasSubstr("--price"));
  EXPECT_THAT(ErrorOf({"run", "--price", "free"}), HasSubstr("--price"));
  EXPECT_THAT(ErrorOf({"run", "--suite", "huge"}), HasSubstr("--suite"));
  EXPECT_THAT(ErrorOf({"run", "--ci", "0"}), HasSubstr("--ci"));
}

TEST(Cli, CompareWantsTwoFilesOrTwoSides) {
  EXPECT_THAT(ErrorOf({"compare", "a.json"}), HasSubstr("two files"));
  EXPECT_THAT(ErrorOf({"compare", "--a", "x.json"}), HasSubstr("two files"));
  const auto sides = std::get<CompareCommand>(
      ParseArguments({"compare", "--a", "1.json", "2.json", "--b", "3.json", "--within", "2"}));
  EXPECT_THAT(sides.a, ElementsAre("1.json", "2.json"));
  EXPECT_THAT(sides.b, ElementsAre("3.json"));
  EXPECT_DOUBLE_EQ(*sides.within, 0.02);
  const auto bare =
      std::get<CompareCommand>(ParseArguments({"compare", "1.json", "2.json", "3.json"}));
  EXPECT_EQ(bare.files.size(), 3U);
}

TEST(Cli, EveryHelpFitsAScreen) {
  const std::vector<std::vector<std::string>> helps = {{},
                                                       {"--help"},
                                                       {"run", "--help"},
                                                       {"compare", "-h"},
                                                       {"report", "-h"},
                                                       {"env", "-h"},
                                                       {"price", "-h"},
                                                       {"price", "list", "-h"}};
  for (const auto& arguments : helps) {
    const std::string text = std::get<PrintOnly>(ParseArguments(arguments)).text;
    int lines = 0;
    std::size_t width = 0;
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = text.find('\n', begin);
      width = std::max(width, end - begin);
      begin = end + 1;
      ++lines;
    }
    EXPECT_GT(lines, 3);
    EXPECT_LE(lines, 45) << text;
    EXPECT_LE(width, 110U) << text;
  }
}

TEST(Cli, PriceShowWantsProviderAndInstance) {
  const auto show = std::get<PriceCommand>(ParseArguments({"price", "show", "aws", "p5.48xlarge"}));
  EXPECT_TRUE(show.show);
  EXPECT_EQ(show.instance, "p5.48xlarge");
  EXPECT_FALSE(std::get<PriceCommand>(ParseArguments({"price", "list", "h100"})).show);
  EXPECT_THAT(ErrorOf({"price", "show", "aws"}), HasSubstr("INSTANCE"));
}

}  // namespace
}  // namespace assay
