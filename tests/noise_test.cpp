#include "results/figures/noise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "results/base/error.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

constexpr const char* kHeader = "probe,machine,between,sigma,df,span_minutes,measured,how,date\n";

std::string ErrorOf(const std::string& rows) {
  try {
    ParseNoise(kHeader + rows, "mine.csv");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

Noise Row(const std::string& probe, const std::string& machine, double sigma, double df = 15) {
  return {.probe = probe,
          .machine = machine,
          .sigma = sigma,
          .df = df,
          .span_minutes = 62.5,
          .is_measured = true,
          .how = "16 A/A runs",
          .date = "2026-11-28"};
}

Run On(const std::string& instance, const std::string& node_id = "5f3e") {
  Node node = {.node_id = node_id};
  node.identity.instance.value = instance;
  Run run;
  run.nodes = {node};
  return run;
}

TEST(Noise, IsReadAsItWasWritten) {
  std::vector<Noise> rows = {Row("gemm", "m7i.large", 0.1 + 0.2), Row("storage", "*", 0.02, 3)};
  rows[0].how = "16 runs, \"quiet\"";
  rows.push_back({.probe = "compute", .machine = "*", .sigma = 0.03, .how = "no", .date = "2026"});
  EXPECT_EQ(ParseNoise(NoiseToCsv(rows), "t"), rows);
}

TEST(Noise, WhatNoFileHoldsIsRefusedByFileRowAndWhat) {
  const std::string good = "gemm,m7i.large,runs,0.02,15,60,true,how,2026-11-28\n";
  EXPECT_EQ(ErrorOf(good), "no error");
  for (const auto& [row, what] : {
           std::pair("gemm,m7i,runs,0,15,60,true,how,2026", "sigma is '0'"),
           {"gemm,m7i,runs,nan,15,60,true,how,2026", "sigma is 'nan'"},
           {"gemm,m7i,runs,-0.1,15,60,true,how,2026", "sigma is '-0.1'"},
           {"gemm,m7i,runs,10.1,15,60,true,how,2026", "sigma is 10.1, which is above 10"},
           {"gemm,m7i,runs,1e308,15,60,true,how,2026", "sigma is 1e+308, which is above 10"},
           {"gemm,m7i,nodes,0.02,1e308,60,true,how,2026", "df is 1e+308"},
           {"gemm,m7i,nodes,0.02,15,1e308,true,how,2026", "span_minutes is 1e+308"},
           {"gemm,m7i,nodes,0.02,15,-60,true,how,2026", "span_minutes is '-60'"},
           {"gemm,m7i,runs,,15,60,true,how,2026", "sigma is empty"},
           {"gemm,m7i,runs,0.02,0.9,60,true,how,2026", "df is 0.9"},
           {"gemm,m7i,runs,0.02,inf,60,true,how,2026", "df is 'inf'"},
           {"gemm,m7i,runs,0.02,15,,true,how,2026", "span_minutes is empty"},
           {"gemm,m7i,runs,0.02,15,60,maybe,how,2026", "measured is 'maybe'"},
           {"gemm,m7i,runs,0.02,2,,false,how,2026", "a df of 1 and no span_minutes"},
           {"gemm,m7i,runs,0.02,1,60,false,how,2026", "a df of 1 and no span_minutes"},
           {"gemm,m7i,weeks,0.02,15,60,true,how,2026", "between is 'weeks'"},
           {"gemm,unknown,runs,0.02,15,60,true,how,2026", "machine is 'unknown'"},
           {",m7i,runs,0.02,15,60,true,how,2026", "probe is empty"},
       }) {
    EXPECT_THAT(ErrorOf(good + row), AllOf(HasSubstr("mine.csv, row 2: "), HasSubstr(what)));
  }
  EXPECT_THAT(ErrorOf("gemm,m7i\n"), HasSubstr("mine.csv, line 2"));
  EXPECT_THROW(ParseNoise("probe,sigma\ngemm,0.03\n", "old.csv"), Error);
}

TEST(Noise, WhatIsBuiltInIsAGuessForEveryProbe) {
  for (const auto& [probe, sigma] : {std::pair("gemm", 0.03),
                                     {"peak", 0.03},
                                     {"storage", 0.30},
                                     {"all_reduce", 0.10},
                                     {"fabric", 0.10},
                                     {"overlap", 0.10}}) {
    const Noise noise = FittingNoise({}, probe, On("unknown"));
    EXPECT_EQ(noise.sigma, sigma) << probe;
    EXPECT_FALSE(noise.is_measured);
    EXPECT_EQ(noise.df, 1);
  }
}

TEST(Noise, TheRowThatFitsBestIsTaken) {
  std::vector<Noise> own;
  const auto best = [&] { return FittingNoise(own, "gemm", On("m7i.large")).sigma; };
  // From the worst to the best: each wins over all before it, and over all that don't fit.
  own = {Row("memory", "m7i.large", 1), Row("network", "*", 2), Row("gemm", "p5.48xlarge", 3)};
  own.push_back(Row("gemm", "5f3e", 4));
  own.back().between = "days";
  EXPECT_EQ(best(), 0.03) << "the guess";
  for (const Noise& row :
       {Row("compute", "*", 0.11), Row("compute", "m7i.large", 0.12), Row("compute", "5f3e", 0.13),
        Row("gemm", "*", 0.14), Row("gemm", "m7i.large", 0.15), Row("gemm", "5f3e", 0.16, 7),
        Row("gemm", "5f3e", 0.17, 8)}) {
    own.push_back(row);
    EXPECT_EQ(best(), row.sigma);
    std::ranges::reverse(own);
    EXPECT_EQ(best(), row.sigma) << "in any order";
  }
  // A guess of one's own is before that which is built in, and after what was measured.
  Noise guess = Row("gemm", "5f3e", 0.5, 1);
  guess.is_measured = false;
  own = {guess};
  EXPECT_EQ(best(), 0.5);
  own.push_back(Row("compute", "*", 0.11));
  EXPECT_EQ(best(), 0.11);
}

TEST(Noise, AMachineThatNobodyKnowsIsCalledByItsNode) {
  EXPECT_EQ(MachineOf(On("m7i.large")), "m7i.large");
  EXPECT_EQ(MachineOf(On("unknown")), "5f3e");
  EXPECT_EQ(MachineOf(On("")), "5f3e");
}

Noise NodeRow(const std::string& probe, const std::string& machine, double sigma) {
  Noise row = Row(probe, machine, sigma);
  row.between = "nodes";
  return row;
}

TEST(Noise, RowsBetweenNodesFitByInstanceThenAcceleratorThenAny) {
  OneRun run = On("p5.48xlarge");
  run.nodes[0].accelerators = {{.name = "NVIDIA H100", .present = 8}};
  const Noise any = NodeRow("compute", "*", 0.01);
  const Noise accelerator = NodeRow("compute", "NVIDIA H100", 0.02);
  const Noise instance = NodeRow("compute", "p5.48xlarge", 0.03);
  const Noise probe = NodeRow("gemm", "*", 0.04);
  const auto fitting = [&](const std::vector<Noise>& rows, const std::vector<const OneRun*>& runs) {
    return FittingNodeRows(rows, "gemm", runs);
  };
  using Rows = std::vector<Noise>;
  EXPECT_EQ(fitting({any, accelerator, instance}, {&run}), Rows{instance});
  EXPECT_EQ(fitting({accelerator, any}, {&run}), Rows{accelerator});
  EXPECT_EQ(fitting({instance, any, probe}, {&run}), Rows{probe});
  // All of the same fit count.
  const Noise again = NodeRow("compute", "*", 0.05);
  EXPECT_EQ(fitting({any, again}, {&run}), (Rows{any, again}));
  // Runs of several types have the rows that fit all of these types, and no others.
  const OneRun other = On("p4d.24xlarge");
  EXPECT_EQ(fitting({any, accelerator, instance}, {&run, &other}), Rows{any});
  EXPECT_EQ(fitting({any, accelerator, instance}, {&other, &run}), Rows{any});
  // Neither a spread between runs, nor a guess, nor an unlike probe, nor the node itself.
  Noise guess = any;
  guess.is_measured = false;
  EXPECT_EQ(fitting({Row("compute", "*", 0.01), guess, NodeRow("storage", "*", 0.01),
                     NodeRow("gemm", "5f3e", 0.01)},
                    {&run}),
            Rows{});
}

}  // namespace
}  // namespace assay
