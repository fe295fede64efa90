#include "runner/program/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/base/error.h"
#include "runner/program/commands.h"

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
  EXPECT_EQ(run.regime, "");
}

TEST(Cli, ARegimeIsBurstOrSustained) {
  EXPECT_EQ(std::get<RunOptions>(ParseArguments({"run", "--regime", "sustained"})).regime,
            "sustained");
  EXPECT_THAT(ErrorOf({"run", "--regime", "warm"}), HasSubstr("--regime"));
}

TEST(Cli, ARestIsSecondsAndMayBeNone) {
  EXPECT_EQ(std::get<RunOptions>(ParseArguments({"run", "--rest", "0"})).rest_s, 0);
  EXPECT_THAT(ErrorOf({"run", "--rest", "-1"}), HasSubstr("--rest"));
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
  EXPECT_THAT(ErrorOf({"rnu"}), HasSubstr("did you mean run?"));
  EXPECT_THAT(ErrorOf({"comprae", "a", "b"}), HasSubstr("did you mean compare?"));
}

TEST(Cli, AMisspeltOptionIsAnsweredWithTheRightOne) {
  EXPECT_THAT(ErrorOf({"run", "--round", "3"}), HasSubstr("did you mean --rounds?"));
  EXPECT_THAT(ErrorOf({"compare", "--jsn", "a", "b"}), HasSubstr("did you mean --json?"));
}

TEST(Cli, NamesWithCommasBetweenAreReadAsPeopleWriteThem) {
  using ::testing::ElementsAre;
  const auto run = [](const std::vector<std::string>& arguments) {
    return std::get<RunOptions>(ParseArguments(arguments));
  };
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--backend", "oneDNN,native"},
        {"--backend", "onednn, native"},
        {"--backend=onednn,", "native"},
        {"--backend", "onednn,", "Native"},
        {"--backend", "onednn", "--backend", " native"}}) {
    std::vector<std::string> arguments = {"run"};
    arguments.insert(arguments.end(), words.begin(), words.end());
    arguments.emplace_back("gemm");
    const RunOptions options = run(arguments);
    EXPECT_THAT(options.backends, ElementsAre("onednn", "native")) << words.at(1);
    EXPECT_THAT(options.probes, ElementsAre("gemm")) << "which is no backend";
  }
  EXPECT_THAT(run({"run", "--device", "CPU, cuda:0", "peak"}).devices,
              ElementsAre("cpu", "cuda:0"));
  EXPECT_THAT(run({"run", "--dtype", "BF16,", "f32", "peak"}).dtypes, ElementsAre("bf16", "f32"));
  EXPECT_THAT(
      std::get<NoiseOptions>(ParseArguments({"noise", "--backend", "onednn,", "native", "peak"}))
          .words,
      ElementsAre("--backend", "onednn,native", "peak"));
  EXPECT_THAT(std::get<CollOptions>(ParseArguments({"coll", "--backend", "MPI", "all_reduce"}))
                  .run.backends,
              ElementsAre("mpi"));
  EXPECT_EQ(run({"run", "--out", "a,", "peak"}).out, "a,");
}

TEST(Cli, ABadValueNamesItsOption) {
  EXPECT_THAT(ErrorOf({"run", "--rounds", "0"}), HasSubstr("--rounds"));
  EXPECT_THAT(ErrorOf({"run", "--price", "-3"}), HasSubstr("--price"));
  EXPECT_THAT(ErrorOf({"run", "--price", "free"}), HasSubstr("--price"));
  EXPECT_THAT(ErrorOf({"run", "--suite", "huge"}), HasSubstr("--suite"));
  EXPECT_THAT(ErrorOf({"run", "--ci", "0"}), HasSubstr("--ci"));
}

TEST(Cli, ANumberWithACommaIsAnsweredWithThePoint) {
  const std::pair<const char*, const char*> cases[] = {{"55,04", "; write 55.04;"},
                                                       {"1,234.5", "; write 1234.5;"},
                                                       {"1,234,567", "; write 1234567;"},
                                                       {",5", "; write .5;"},
                                                       {"5,o4", "got '5,o4';"},
                                                       {"free", "got 'free';"},
                                                       {"0", "got '0';"},
                                                       {"inf", "got 'inf';"},
                                                       {"nan", "got 'nan';"},
                                                       {"1e13", "got '1e13';"}};
  for (const auto& [text, answer] : cases) {
    for (const char* option : {"--price", "--max-cost", "--max-seconds"}) {
      const std::string error = ErrorOf({"run", option, text});
      EXPECT_THAT(error,
                  AllOf(HasSubstr(option), HasSubstr("wants a number above 0"), HasSubstr(answer)));
      EXPECT_LT(error.size(), 130u) << error;
    }
    EXPECT_THAT(ErrorOf({"compare", "--price", text, "a", "b"}), HasSubstr(answer));
  }
  const auto run = std::get<RunOptions>(ParseArguments({"run", "--price", "55.04"}));
  EXPECT_EQ(run.price_usd_per_hour, 55.04);
}

TEST(Cli, CollTakesNcclTestsFlagsLongAndShort) {
  const auto flags = std::get<CollOptions>(ParseArguments(
      {"coll", "all_reduce", "-t", "1",    "-g", "2",      "-b", "8",  "-e", "128M", "-f",
       "2",    "-n",         "50", "-w",   "5",  "-m",     "2",  "-p", "1",  "-c",   "0",
       "-o",   "max",        "-d", "half", "-r", "-1",     "-z", "3",  "-y", "0",    "-T",
       "30",   "-G",         "0",  "-C",   "0",  "-a",     "3",  "-R", "2",  "-x",   "1",
       "-D",   "0",          "-V", "16",   "-J", "o.json", "-S", "1",  "-M", "1",    "-u",
       "0",    "-I",         "1",  "-K",   "2",  "-N",     "3"}));
  EXPECT_EQ(flags.operation, "all_reduce");
  EXPECT_EQ(flags.ngpus, 2);
  EXPECT_EQ(flags.maxbytes, 128 << 20);
  EXPECT_EQ(flags.stepfactor, 2);
  EXPECT_EQ(flags.iters, 50);
  EXPECT_EQ(flags.root, "-1");
  EXPECT_EQ(flags.average, 3);
  EXPECT_EQ(flags.output_file, "o.json");
  const auto longs = std::get<CollOptions>(ParseArguments({"coll",
                                                           "reduce",
                                                           "--nthreads",
                                                           "1",
                                                           "--ngpus",
                                                           "1",
                                                           "--minbytes",
                                                           "1K",
                                                           "--maxbytes",
                                                           "2K",
                                                           "--stepbytes",
                                                           "512",
                                                           "--stepfactor",
                                                           "1",
                                                           "--iters",
                                                           "9",
                                                           "--agg_iters",
                                                           "1",
                                                           "--warmup_iters",
                                                           "2",
                                                           "--run_cycles",
                                                           "1",
                                                           "--parallel_init",
                                                           "0",
                                                           "--check",
                                                           "1",
                                                           "--op",
                                                           "sum",
                                                           "--datatype",
                                                           "float",
                                                           "--root",
                                                           "0",
                                                           "--blocking",
                                                           "0",
                                                           "--stream_null",
                                                           "0",
                                                           "--timeout",
                                                           "0",
                                                           "--cudagraph",
                                                           "0",
                                                           "--report_cputime",
                                                           "0",
                                                           "--report_timestamps",
                                                           "0",
                                                           "--output_file",
                                                           "x",
                                                           "--average",
                                                           "1",
                                                           "--local_register",
                                                           "0",
                                                           "--cta_policy",
                                                           "0",
                                                           "--device_implementation",
                                                           "0",
                                                           "--device_cta_count",
                                                           "16",
                                                           "--memory",
                                                           "0",
                                                           "--unalign",
                                                           "0",
                                                           "--per_iter_timing",
                                                           "0",
                                                           "--per_iter_skip",
                                                           "0"}));
  EXPECT_EQ(longs.stepbytes, 512);
  EXPECT_EQ(longs.iters, 9);
  EXPECT_EQ(longs.program, "");
}

TEST(Cli, ALinkWithNcclTestsNameTakesItsArguments) {
  const auto flags = std::get<CollOptions>(ParseArguments(
      {"-b", "8", "-e", "1G", "-f", "2", "-g", "8"}, "/opt/bin/reduce_scatter_perf"));
  EXPECT_EQ(flags.operation, "reduce_scatter");
  EXPECT_EQ(flags.program, "reduce_scatter_perf");
  EXPECT_EQ(flags.ngpus, 8);
  EXPECT_THROW(ParseArguments({"-b", "8"}, "/opt/bin/hypercube_perf"), Error);
  EXPECT_THAT(ErrorOf({"coll", "all_reduce", "--minbyte", "8"}),
              HasSubstr("did you mean --minbytes?"));
  EXPECT_THAT(ErrorOf({"coll"}), HasSubstr("OP"));
}

TEST(Cli, CompareWantsTwoFilesOrTwoSides) {
  EXPECT_THAT(ErrorOf({"compare"}), HasSubstr("two files"));
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
                                                       {"coll", "--help"},
                                                       {"compare", "-h"},
                                                       {"plan", "-h"},
                                                       {"noise", "-h"},
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
  EXPECT_EQ(show.does, PriceCommand::Does::kShow);
  EXPECT_EQ(show.instance, "p5.48xlarge");
  EXPECT_EQ(std::get<PriceCommand>(ParseArguments({"price", "list", "h100"})).does,
            PriceCommand::Does::kList);
  EXPECT_THAT(ErrorOf({"price", "show", "aws"}), HasSubstr("INSTANCE"));
}

OutputFormat FormatIn(const std::vector<std::string>& arguments) {
  const Command command = ParseArguments(arguments);
  if (const auto* run = std::get_if<RunOptions>(&command)) return run->format;
  if (const auto* coll = std::get_if<CollOptions>(&command)) return coll->run.format;
  if (const auto* compare = std::get_if<CompareCommand>(&command)) return compare->format;
  if (const auto* report = std::get_if<ReportCommand>(&command)) return report->format;
  return std::get<PriceCommand>(command).format;
}

TEST(Cli, EveryCommandThatPrintsHasOneFormat) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"run"},
                                             {"coll", "all_reduce"},
                                             {"compare", "a", "b"},
                                             {"compare", "a", "b", "c"},
                                             {"report", "a"},
                                             {"price", "list"},
                                             {"price", "show", "aws", "p5.48xlarge"}}) {
    const auto with = [&](const std::vector<std::string>& more) {
      std::vector<std::string> arguments = command;
      arguments.insert(arguments.end(), more.begin(), more.end());
      return arguments;
    };
    EXPECT_EQ(FormatIn(command), OutputFormat::kTable) << command[0];
    EXPECT_EQ(FormatIn(with({"--format", "table"})), OutputFormat::kTable) << command[0];
    EXPECT_EQ(FormatIn(with({"--format", "json"})), OutputFormat::kJson) << command[0];
    EXPECT_EQ(FormatIn(with({"--format", "csv"})), OutputFormat::kCsv) << command[0];
    EXPECT_EQ(FormatIn(with({"--json"})), OutputFormat::kJson) << command[0];
    EXPECT_EQ(FormatIn(with({"--json", "--format", "json"})), OutputFormat::kJson)
        << "one and the same";
    EXPECT_EQ(ErrorOf(with({"--format", "csv", "--json"})),
              "--format csv and --json ask for two formats, and one is printed: give one");
    EXPECT_EQ(ErrorOf(with({"--json", "--format", "table"})),
              "--format table and --json ask for two formats, and one is printed: give one");
    EXPECT_THAT(ErrorOf(with({"--format", "yaml"})), HasSubstr("--format")) << command[0];
    const bool is_coll = command[0] == "coll";
    EXPECT_EQ(ErrorOf(with({"--format", "nccl"})) == "no error", is_coll) << command[0];
  }
  EXPECT_EQ(FormatIn({"coll", "all_reduce", "--format", "nccl"}), OutputFormat::kNccl);
  EXPECT_EQ(FormatIn({"compare", "a", "b", "--csv"}), OutputFormat::kCsv);
  EXPECT_EQ(ErrorOf({"compare", "a", "b", "--csv", "--json"}),
            "--json and --csv ask for two formats, and one is printed: give one");
  EXPECT_THAT(ErrorOf({"noise", "--format", "csv"}), HasSubstr("leave --out"));
}

TEST(Cli, WhatNeedsNoPriceReadsNoCatalog) {
  for (const Command& command : {Command(PrintOnly{"a text\n"}), Command(ListOptions{})}) {
    testing::internal::CaptureStdout();
    EXPECT_EQ(Execute(command, []() -> const Catalog& { throw Error("the catalog was read"); }), 0);
    EXPECT_NE(testing::internal::GetCapturedStdout(), "");
  }
}

TEST(Cli, OwnedNodesArePricedByOneSetOfFlagsOnReportCompareAndPrice) {
  const std::vector<std::string> owned = {"--capex", "300000", "--power-kw", "10.2"};
  const auto with = [&](std::vector<std::string> arguments, const std::string& purchase) {
    arguments.insert(arguments.end(), owned.begin(), owned.end());
    arguments.insert(arguments.end(), {"--purchase", purchase});
    return ParseArguments(arguments);
  };
  const auto capex = [](const PricingFlags& flags) { return flags.owned->capex_usd; };
  EXPECT_EQ(capex(std::get<ReportCommand>(with({"report", "a.json"}, "owned")).pricing), 300000);
  EXPECT_EQ(capex(std::get<PriceCommand>(with({"price", "show", "a", "b"}, "owned")).pricing),
            300000);
  EXPECT_EQ(capex(std::get<CompareCommand>(with({"compare", "x"}, "on_demand,owned")).pricing),
            300000);
  EXPECT_THROW(with({"report", "a.json"}, "spot"), Error);
  EXPECT_THROW(with({"compare", "x"}, "spot"), Error);
  EXPECT_EQ(capex(std::get<CompareCommand>(with({"compare", "x"}, "all")).pricing), 300000);
  EXPECT_THROW(ParseArguments({"report", "a.json", "--capex", "300000"}), Error);
}

TEST(Cli, ABillTakesRunsAnInvoiceAndAPrice) {
  const auto price = std::get<PriceCommand>(
      ParseArguments({"price", "bill", "a.json", "runs", "--focus", "f.csv", "--within", "2%",
                      "--discount", "ea=0.82", "--rate", "EUR=1.08"}));
  EXPECT_EQ(price.does, PriceCommand::Does::kBill);
  EXPECT_EQ(price.runs, (std::vector<std::string>{"a.json", "runs"}));
  EXPECT_EQ(price.focus, "f.csv");
  EXPECT_DOUBLE_EQ(price.within, 0.02);
  EXPECT_EQ(price.pricing.sources.discounts, std::vector<std::string>{"ea=0.82"});
  EXPECT_EQ(price.import.usd_per.at("EUR"), 1.08);
  EXPECT_THROW(ParseArguments({"price", "bill", "a.json"}), Error);
  EXPECT_THROW(ParseArguments({"price", "bill", "--focus", "f.csv"}), Error);
  const auto run =
      std::get<RunOptions>(ParseArguments({"run", "--max-minutes", "5", "--paid-before", "118"}));
  EXPECT_EQ(run.max_minutes, 5);
  EXPECT_EQ(run.paid_before_s, 118);
}

}  // namespace
}  // namespace assay
