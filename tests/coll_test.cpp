#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/base/error.h"
#include "runner/program/coll_expect.h"
#include "runner/program/coll_plan.h"
#include "runner/program/coll_table.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

CollOptions Parsed(const std::vector<std::string>& flags, const std::string& program = "assay") {
  std::vector<std::string> arguments = flags;
  if (program == "assay") arguments.insert(arguments.begin(), {"coll", "all_reduce"});
  return std::get<CollOptions>(ParseArguments(arguments, program));
}

Probe AllReduceProbe() {
  return {.name = "all_reduce",
          .defaults = {{"dtype", "f32"},
                       {"redop", "sum"},
                       {"bytes", std::int64_t{1} << 20},
                       {"ranks", std::int64_t{2}},
                       {"nodes", std::int64_t{1}},
                       {"mode", "latency"},
                       {"cache", "rewritten"},
                       {"algo", "auto"},
                       {"buffers", "plain"},
                       {"placement", "out_of_place"}}};
}

Probe BroadcastProbe() {
  Probe probe = AllReduceProbe();
  probe.name = "broadcast";
  probe.defaults.erase("redop");
  probe.defaults["root"] = std::int64_t{0};
  return probe;
}

CollPlan PlanOf(const std::vector<std::string>& flags, const Probe& probe = AllReduceProbe(),
                const std::string& program = "assay") {
  return PlanColl(Parsed(flags, program), probe, {});
}

std::string ErrorOf(const std::vector<std::string>& flags, const Probe& probe = AllReduceProbe()) {
  try {
    PlanOf(flags, probe);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CollSizes, AreNcclTestsLadders) {
  EXPECT_THAT(ListSizes(Parsed({"-b", "8", "-e", "64", "-f", "2"})), ElementsAre(8, 16, 32, 64));
  EXPECT_THAT(ListSizes(Parsed({"-b", "1G", "-e", "1048576G", "-f", "1000000000"})),
              ElementsAre(1 << 30));
  EXPECT_THAT(ListSizes(Parsed({"-b8", "-e", "65", "-f3"})), ElementsAre(8, 24));
  EXPECT_THAT(ListSizes(Parsed({"--minbytes=1M", "--maxbytes", "3M"})),
              ElementsAre(1 << 20, 2 << 20, 3 << 20));
  EXPECT_THAT(ListSizes(Parsed({"-b", "0", "-e", "1K", "-i", "512"})), ElementsAre(0, 512, 1024));
  EXPECT_THAT(ListSizes(Parsed({"-e", "32M"})), ElementsAre(32 << 20));
  EXPECT_THAT(ListSizes(Parsed({}, "/usr/bin/all_reduce_perf")), ElementsAre(32 << 20));
  EXPECT_THAT(ListSizes(Parsed({})), AllOf(Contains(8), Contains(128 << 20), SizeIs(13)));
  EXPECT_THAT(ListSizes(Parsed({"--sizes", "1.5K,8,1GB"})), ElementsAre(8, 1536, 1 << 30));
  EXPECT_THAT(ListSizes(Parsed({"--sizes", "latency"})), SizeIs(14));
  EXPECT_THAT(ListSizes(Parsed({"--sizes", "train"})), SizeIs(11));
  EXPECT_THAT(ListSizes(Parsed({"--sizes", "peak"})), SizeIs(5));
}

TEST(CollSizes, ThatMakeNoSenseAreRefused) {
  EXPECT_THAT(ErrorOf({"-b", "-8"}), HasSubstr("-b wants a size"));
  EXPECT_THAT(ErrorOf({"-b", "2M", "-e", "1M"}), HasSubstr("nothing lies between"));
  EXPECT_THAT(ErrorOf({"-b", "0", "-e", "1M", "-f", "2"}), HasSubstr("stays at 0"));
  EXPECT_THAT(ErrorOf({"-b", "0", "-e", "1G", "-i", "1"}), HasSubstr("-f 2 doubles"));
  EXPECT_THAT(ErrorOf({"-b", "0", "-e", "1G", "-i", "0"}), HasSubstr("-i wants"));
  EXPECT_THAT(ErrorOf({"--sizes", "8,x"}), HasSubstr("--sizes wants"));
  EXPECT_THAT(ErrorOf({"--sizes", "8", "-b", "8"}), HasSubstr("one or the other"));
}

TEST(CollPlan, UnderNcclTestsNameItDoesAsNcclTests) {
  const CollPlan plan =
      PlanOf({"-b", "8", "-e", "16", "-f", "2"}, AllReduceProbe(), "./all_reduce_perf");
  EXPECT_TRUE(plan.exact);
  EXPECT_EQ(plan.engine.rounds, 1);
  EXPECT_EQ(plan.engine.fixed->iterations, 20);
  EXPECT_EQ(plan.engine.fixed->warm_up, 1);
  ASSERT_THAT(plan.questions, SizeIs(4));
  std::vector<std::string> order;
  for (const Question& question : plan.questions) {
    order.push_back(ToText(question.params.at("bytes")) + ToText(question.params.at("placement")));
    EXPECT_EQ(ToText(question.params.at("mode")), "throughput");
    EXPECT_EQ(ToText(question.params.at("cache")), "rotated");
  }
  EXPECT_THAT(order, ElementsAre("8out_of_place", "8in_place", "16out_of_place", "16in_place"));
}

TEST(CollPlan, ACountMakesItExactAndAggregationMultipliesIt) {
  EXPECT_FALSE(PlanOf({}).exact);
  EXPECT_EQ(PlanOf({}).engine.rounds, 5);
  EXPECT_EQ(PlanOf({"-n", "7"}).engine.fixed->iterations, 7);
  EXPECT_EQ(PlanOf({"-w", "0"}).engine.fixed->warm_up, 0);
  EXPECT_EQ(PlanOf({"-n", "7", "-m", "3"}).engine.fixed->iterations, 21);
  EXPECT_EQ(PlanOf({"-N", "4"}).engine.rounds, 4);
  EXPECT_THAT(PlanOf({"-N", "0"}).engine.rounds, Ge(10000));
}

TEST(CollPlan, BlockingAndModeChooseWhatIsTimed) {
  const auto mode = [](const std::vector<std::string>& flags) {
    return ToText(PlanOf(flags).questions[0].params.at("mode"));
  };
  EXPECT_EQ(mode({}), "latency");
  EXPECT_EQ(mode({"-n", "20"}), "throughput");
  EXPECT_EQ(mode({"-z", "0"}), "throughput");
  EXPECT_EQ(mode({"-z", "1"}), "latency");
  EXPECT_EQ(mode({"-z", "2"}), "throughput");
  EXPECT_EQ(mode({"-z", "3"}), "latency");
  EXPECT_EQ(mode({"-n", "20", "--mode", "latency"}), "latency");
  EXPECT_THAT(PlanOf({"--mode", "both", "--sizes", "8"}).questions, SizeIs(4));
  Probe barrier = AllReduceProbe();
  barrier.defaults = {{"ranks", std::int64_t{2}}, {"mode", "latency"}};
  EXPECT_EQ(ToText(PlanOf({"-n", "9"}, barrier).questions[0].params.at("mode")), "latency");
  EXPECT_EQ(ToText(PlanOf({"--cold"}).questions[0].params.at("cache")), "rotated");
}

TEST(CollPlan, AllMeansEveryTypeReductionAndRoot) {
  EXPECT_THAT(PlanOf({"-d", "all", "-o", "all", "--sizes", "8"}).questions, SizeIs(12 * 5 * 2));
  EXPECT_THAT(PlanOf({"-r", "-1", "--sizes", "8"}, BroadcastProbe()).questions, SizeIs(4));
  EXPECT_THAT(PlanOf({"-r", "all", "--sizes", "8"}, BroadcastProbe()).questions, SizeIs(4));
  EXPECT_THAT(PlanOf({"-r", "1", "--sizes", "8"}, BroadcastProbe()).questions, SizeIs(2));
  EXPECT_EQ(ToText(PlanOf({"-d", "bfloat16"}).questions[0].params.at("dtype")), "bf16");
  EXPECT_EQ(ToText(PlanOf({"-d", "f64"}).questions[0].params.at("dtype")), "f64");
  for (const char* name : {"fp8_e4m3", "f8e4m3"}) {
    EXPECT_EQ(ToText(PlanOf({"-d", name}).questions[0].params.at("dtype")), "fp8_e4m3");
  }
  EXPECT_EQ(ToText(PlanOf({"-d", "i8"}).questions[0].params.at("dtype")), "int8");
  EXPECT_THAT(ErrorOf({"-d", "flaot"}), HasSubstr("did you mean float?"));
  EXPECT_THAT(ErrorOf({"-d", "tf32"}), HasSubstr("-d is 'tf32'"));
  EXPECT_THAT(ErrorOf({"-o", "mulsum"}), HasSubstr("sum, prod, max, min, avg"));
  EXPECT_THAT(ErrorOf({"-r", "2"}, BroadcastProbe()), HasSubstr("from 0 to 1"));
}

TEST(CollPlan, RegisteredAndSymmetricBuffersAreTheLibrarysToHave) {
  const auto buffers = [](const std::vector<std::string>& flags) {
    return ToText(PlanOf(flags).questions[0].params.at("buffers"));
  };
  EXPECT_EQ(buffers({"-R", "2"}), "plain") << "mpi, which is the usual one, has none";
  EXPECT_EQ(buffers({"-R", "2", "--backend", "mpi"}), "plain");
  EXPECT_THAT(PlanOf({"-R", "2", "--backend", "mpi"}).notes, Contains(HasSubstr("not used")));
  EXPECT_EQ(buffers({"-R", "2", "--backend", "native"}), "shared");
  EXPECT_EQ(buffers({"-R", "1", "--backend", "nccl"}), "registered");
  EXPECT_EQ(buffers({"--backend", "native"}), "plain");
}

TEST(CollPlan, SizesAreWholeElements) {
  const CollPlan plan = PlanOf({"-b", "1", "-e", "16", "-f", "2", "-d", "double"});
  EXPECT_THAT(plan.questions, SizeIs(4)) << "8 and 16: none is asked twice";
  EXPECT_EQ(IntegerOf(plan.questions[0].params, "bytes"), 8);
}

TEST(CollPlan, AFlagThatMeansNothingHereIsAnswered) {
  const std::vector<std::vector<std::string>> flags = {
      {"-p", "1"}, {"-y", "1"}, {"-R", "1"}, {"-x", "1"},         {"-D", "1"},
      {"-V", "8"}, {"-M", "1"}, {"-C", "1"}, {"-I", "1"},         {"-K", "1"},
      {"-c", "0"}, {"-c", "2"}, {"-m", "2"}, {"-z", "1"},         {"-z", "2"},
      {"-g", "2"}, {"-t", "2"}, {"-G", "1"}, {"--verify", "none"}};
  for (const auto& flag : flags) EXPECT_THAT(PlanOf(flag).notes, SizeIs(1)) << flag[0];
  EXPECT_THAT(PlanOf({"-p", "0", "-G", "0", "-R", "0", "-D", "0", "-z", "0", "-c", "1", "-C", "0",
                      "-g", "1", "-t", "1", "-u", "0", "-M", "0", "-I", "0", "-K", "0", "-T", "0"})
                  .notes,
              IsEmpty());
  const CollPlan plan = PlanColl(Parsed({}), AllReduceProbe(), {{"NCCL_TESTS_DEVICE", "1"}});
  EXPECT_THAT(plan.notes, SizeIs(1));
}

TEST(CollPlan, NcclTestsTimeoutIsTheWatchdogsUnlessThatIsGiven) {
  const auto watchdog_s = [](const std::vector<std::string>& flags) {
    return Parsed(flags).run.watchdog_s;
  };
  EXPECT_EQ(watchdog_s({}), 60);
  EXPECT_EQ(watchdog_s({"-T", "9"}), 9);
  EXPECT_EQ(watchdog_s({"--timeout=9"}), 9);
  EXPECT_EQ(watchdog_s({"-T", "0"}), 60) << "to nccl-tests 0 is what is there without -T";
  EXPECT_EQ(watchdog_s({"-T", "9", "--watchdog", "5"}), 5);
  EXPECT_EQ(watchdog_s({"--watchdog", "60", "-T", "9"}), 60);
  EXPECT_THROW(Parsed({"-T", "-1"}), Error);
  EXPECT_THAT(PlanOf({"-T", "9"}).notes, IsEmpty());
}

TEST(CollPlan, OneRankIsAskedForWithItsFlagAndToldOf) {
  const CollPlan plan = PlanOf({"--ranks", "1", "--allow-single", "--sizes", "8"});
  EXPECT_THAT(plan.notes, ElementsAre(HasSubstr("one rank exchanges nothing")));
  EXPECT_FALSE(plan.questions.at(0).params.contains("allow_single")) << "it moves no figure";
}

TEST(CollPlan, WhatIsCheckedIsSaidToTheRanks) {
  const auto verify = [](const std::vector<std::string>& flags) {
    const Params params = PlanOf(flags).how;
    return params.contains("verify") ? ToText(params.at("verify")) : "";
  };
  EXPECT_EQ(verify({}), "");
  EXPECT_EQ(verify({"--verify", "random"}), "") << "the usual";
  for (const char* which : {"none", "last", "all"}) EXPECT_EQ(verify({"--verify", which}), which);
  EXPECT_THROW(Parsed({"--verify", "some"}), Error);
  EXPECT_THAT(PlanOf({"--verify", "all", "-c", "3"}).notes, IsEmpty());
  EXPECT_THAT(PlanOf({"--verify", "none", "-c", "0"}).notes, SizeIs(1));
}

TEST(CollPlan, LeadingOperationsAreLeftOutAsNcclTestsDoes) {
  const auto skip = [](const std::vector<std::string>& flags) {
    const Params params = PlanOf(flags).how;
    return params.contains("skip") ? IntegerOf(params, "skip") : 0;
  };
  EXPECT_EQ(skip({"-n", "9", "-I", "1", "-K", "8"}), 8);
  EXPECT_EQ(skip({"-n", "9", "-I", "1", "-K", "2", "-m", "3"}), 6);
  EXPECT_EQ(skip({"-w", "1", "-I", "1", "-K", "19"}), 19);
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {"-n", "9", "-I", "1", "-K", "9"}, {"-n", "9", "-K", "2"}, {"-I", "1", "-K", "2"}}) {
    EXPECT_EQ(skip(flags), 0);
    EXPECT_THAT(PlanOf(flags).notes, Contains(HasSubstr("not used")));
  }
  EXPECT_THAT(PlanOf({"-n", "9", "-I", "1", "-K", "8"}).notes, Not(Contains(HasSubstr("-K"))));
}

TEST(CollPlan, GraphsGroupsAndWaitingAreForNccl) {
  const auto param = [](const std::vector<std::string>& flags, const std::string& name) {
    const CollPlan plan = PlanOf(flags);
    const Params& params = name == "graph_operations" ? plan.how : plan.questions.at(0).params;
    return params.contains(name) ? ToText(params.at(name)) : "";
  };
  EXPECT_EQ(param({"-G", "3"}, "mode"), "graph") << "the library says whether it can";
  EXPECT_EQ(param({"-G", "3", "-z", "3"}, "mode"), "graph");
  EXPECT_EQ(param({"--mode", "graph"}, "cache"), "rotated");
  EXPECT_EQ(param({"-G", "3", "-n", "7", "-m", "2"}, "graph_operations"), "14");
  EXPECT_EQ(PlanOf({"-G", "3", "-n", "7", "-m", "2"}).engine.fixed->iterations, 3 * 7 * 2);
  EXPECT_EQ(param({"-G", "3"}, "graph_operations"), "");
  EXPECT_THAT(
      PlanOf({"-n", "7", "-G", "3", "-I", "1", "-z", "3"}).notes,
      ElementsAre(HasSubstr("-z 3 doesn't go with -G"), HasSubstr("-I doesn't go with -G")));

  EXPECT_EQ(param({"-m", "4", "--backend", "nccl"}, "aggregate"), "4");
  EXPECT_EQ(param({"-m", "4"}, "aggregate"), "");
  EXPECT_THAT(PlanOf({"-m", "4", "--backend", "nccl"}).notes, IsEmpty());
  EXPECT_THAT(ErrorOf({"-m", "5000", "--backend", "nccl"}), HasSubstr("at most 1024"));

  EXPECT_EQ(param({"-z", "2", "--backend", "nccl"}, "mode"), "blocking");
  EXPECT_EQ(param({"-z", "2", "--backend", "nccl"}, "cache"), "rotated");
  EXPECT_THAT(PlanOf({"-z", "2", "--backend", "nccl"}).notes, IsEmpty());
}

TEST(CollPlan, ASoakRepeatsRoundsForItsTime) {
  EXPECT_EQ(PlanOf({}).engine.duration, Seconds(0));
  EXPECT_EQ(PlanOf({"--duration", "90"}).engine.duration, Seconds(90));
  EXPECT_THROW(Parsed({"--duration", "0"}), Error);
  for (const std::vector<std::string>& other :
       std::vector<std::vector<std::string>>{{"-n", "5"}, {"-N", "0"}, {"--ci", "1"}}) {
    std::vector<std::string> flags = other;
    flags.insert(flags.end(), {"--duration", "90"});
    EXPECT_THAT(ErrorOf(flags), HasSubstr("until its time is over"));
  }
}

TEST(CollPlan, BuffersOffTheirGrainAreAnotherCase) {
  const auto has = [](const std::vector<std::string>& flags) {
    return PlanOf(flags).questions.at(0).params.contains("unalign");
  };
  EXPECT_TRUE(has({"-u", "1"}));
  EXPECT_FALSE(has({"-u", "0"})) << "it compares with what was measured without -u";
  EXPECT_THAT(PlanOf({"-u", "1"}).notes, IsEmpty());
  EXPECT_THROW(Parsed({"-u", "-1"}), Error);
}

TEST(CollBisect, MeasuresOneThingInRounds) {
  const CollPlan plan = PlanOf({"--bisect", "--ranks", "4"});
  ASSERT_THAT(plan.questions, SizeIs(1));
  EXPECT_EQ(IntegerOf(plan.questions[0].params, "bytes"), 32 << 20);
  EXPECT_FALSE(plan.questions[0].params.contains("split"));
  EXPECT_THAT(PlanOf({"--bisect", "-b", "1M", "-e", "1M"}).questions, SizeIs(1));
  EXPECT_THAT(ErrorOf({"--bisect", "--sizes", "1M,2M"}), HasSubstr("not 2 cases"));
  EXPECT_THAT(ErrorOf({"--bisect", "-n", "20"}), HasSubstr("leave -n, -w and -N out"));
  EXPECT_THAT(ErrorOf({"--bisect", "--split", "MOD 2"}), HasSubstr("leave --split out"));
}

TEST(CollSplit, IsNcclTestsVariablesOrTheFlagWhichGoesFirst) {
  const auto split = [](const std::map<std::string, std::string>& environment,
                        const std::vector<std::string>& flags = {"--ranks", "4"}) {
    const CollPlan plan = PlanColl(Parsed(flags), AllReduceProbe(), environment);
    const Params& params = plan.questions[0].params;
    EXPECT_EQ(plan.groups.empty(), !params.contains("split"));
    return params.contains("split") ? ToText(params.at("split")) : "none";
  };
  EXPECT_EQ(split({}), "none");
  EXPECT_EQ(split({{"NCCL_TESTS_SPLIT", "%2"}}), "MOD 2");
  EXPECT_EQ(split({{"NCCL_TESTS_SPLIT", "mod  2"}}), "MOD 2");
  EXPECT_EQ(split({{"NCCL_TESTS_SPLIT_MASK", "1"}}), "AND 0x1");
  EXPECT_EQ(split({{"NCCL_TESTS_SPLIT_MASK", "0x1"}, {"NCCL_TESTS_SPLIT", "DIV 2"}}), "AND 0x1");
  EXPECT_EQ(split({{"NCCL_TESTS_SPLIT_MASK", "0x0"}}), "none") << "all ranks are one group";
  EXPECT_EQ(split({{"NCCL_TESTS_SPLIT_MASK", "0x1"}}, {"--ranks", "4", "--split", "0,0,1,1"}),
            "0,0,1,1");
  EXPECT_THROW(split({{"NCCL_TESTS_SPLIT", "SPLIT 2"}}), Error);
  EXPECT_THROW(split({{"NCCL_TESTS_SPLIT_MASK", "7q"}}), Error);
}

TEST(CollExpect, FloorsAreBySize) {
  EXPECT_THAT(ParseFloors("1M:9.5,64:0.25"),
              ElementsAre(std::pair(64, 0.25), std::pair(1 << 20, 9.5)));
  EXPECT_THAT(ParseFloors("auto"), IsEmpty());
  EXPECT_THAT(ParseFloors(""), IsEmpty());
  for (const char* bad : {"9", "1M:", "1M:x", ":3", "1M:-1", "1M:0", "1M:nan", "1M:2GB"}) {
    EXPECT_THROW(ParseFloors(bad), Error) << bad;
  }
}

TEST(CollExpect, WhatIsUnderItsFloorIsNamed) {
  assay::Run run;
  for (const std::int64_t bytes : {1024, 2048}) {
    run.records.push_back({.probe = "all_reduce",
                           .params = {{"ranks", std::int64_t{2}}, {"bytes", bytes}},
                           .backend = "mpi",
                           .work = {.bytes = bytes},
                           .rounds = {{.batch = 1, .time_s = {1e-6}}}});
  }
  EXPECT_THAT(Shortfalls(run, "1K:1.0,2K:2.0", Catalog::BuiltIn()), IsEmpty());
  EXPECT_THAT(Shortfalls(run, "1K:1.0,2K:2.1", Catalog::BuiltIn()),
              ElementsAre(HasSubstr("2.048 GB/s")));
  EXPECT_THAT(Shortfalls(run, "", Catalog::BuiltIn()), IsEmpty());
}

TEST(CollExpect, NothingToCompareWithIsNotWell) {
  assay::Run run = {.nodes = {Node{}}};
  const auto nothing = ElementsAre(HasSubstr("nothing to compare with"));
  EXPECT_THAT(Shortfalls(run, "auto", Catalog::BuiltIn()), nothing) << "nothing was measured";
  run.nodes[0].identity.provider.value = "aws";
  run.nodes[0].identity.instance.value = "p5en.48xlarge";
  const auto all_reduce = [](std::int64_t bytes, double busbw_gbs) {
    return Record{
        .probe = "all_reduce",
        .params = {{"ranks", std::int64_t{8}}, {"nodes", std::int64_t{1}}},
        .backend = "fake",
        .device = {.kind = "gpu"},
        .work = {.bytes = bytes},
        .rounds = {{.batch = 1, .time_s = {1.75 * static_cast<double>(bytes) / busbw_gbs / 1e9}}}};
  };
  run.records = {all_reduce(1 << 20, 100)};
  EXPECT_THAT(Shortfalls(run, "auto", Catalog::BuiltIn()), nothing) << "nobody measured that size";
  run.records.push_back(all_reduce(std::int64_t{16} << 30, 480));
  EXPECT_THAT(Shortfalls(run, "auto", Catalog::BuiltIn()), IsEmpty()) << "one size is enough";
  run.records[1] = all_reduce(std::int64_t{16} << 30, 300);
  EXPECT_THAT(Shortfalls(run, "auto", Catalog::BuiltIn()), ElementsAre(HasSubstr("is low")));
  run.records[1].status = Status::kFailed;
  EXPECT_THAT(Shortfalls(run, "auto", Catalog::BuiltIn()), nothing) << "it has no figure";
}

TEST(CollExpect, AFloorWithoutAFigureIsNotMet) {
  assay::Run run;
  const auto add = [&](std::int64_t asked, std::optional<std::int64_t> done, Status status) {
    Record record = {.probe = "all_gather",
                     .params = {{"ranks", std::int64_t{3}}, {"bytes", asked}},
                     .backend = "mpi",
                     .status = status,
                     .work = {.bytes = done}};
    if (status == Status::kOk) record.rounds = {{.batch = 1, .time_s = {1e-6}}};
    if (status == Status::kSkipped) record.reason = "too few bytes";
    run.records.push_back(record);
  };
  EXPECT_THAT(Shortfalls(run, "64M:20", Catalog::BuiltIn()),
              ElementsAre(HasSubstr("no figure for 64M")));
  add(64, 48, Status::kOk);  // rounded down: 0.032 GB/s
  add(8, std::nullopt, Status::kSkipped);
  EXPECT_THAT(Shortfalls(run, "64M:20", Catalog::BuiltIn()),
              ElementsAre(AllOf(HasSubstr("no figure for 64M"), HasSubstr("not measured"))));
  EXPECT_THAT(Shortfalls(run, "8:0.1", Catalog::BuiltIn()),
              ElementsAre(AllOf(HasSubstr("no figure for 8,"), HasSubstr("too few bytes"))));
  EXPECT_THAT(Shortfalls(run, "64:0.001,48:0.001", Catalog::BuiltIn()), IsEmpty());
  EXPECT_THAT(Shortfalls(run, "64:1", Catalog::BuiltIn()),
              ElementsAre(HasSubstr("under the 1 of")));
  EXPECT_THAT(Shortfalls(run, "48:1", Catalog::BuiltIn()),
              ElementsAre(HasSubstr("under the 1 of")));
  // A library that measured it says nothing for another that did not.
  run.records.push_back(run.records[1]);
  run.records.back().backend = "ofi";
  EXPECT_THAT(Shortfalls(run, "64:0.001", Catalog::BuiltIn()),
              ElementsAre(HasSubstr("no figure for 64,")));
}

TEST(CollCycles, ARowIsOfItsOwnCycleAlone) {
  Record first = {.probe = "all_reduce",
                  .rounds = {{.batch = 2, .time_s = {1e-6}}},
                  .histograms = {{"latency_s", {.counts = {{100, 2}}}}}};
  EXPECT_THAT(OfNewestVisit(first, nullptr).rounds, SizeIs(1));
  Record second = first;
  second.rounds.push_back({.batch = 2, .time_s = {9e-6}});
  second.histograms["latency_s"].counts = {{100, 3}, {200, 1}};
  const Record alone = OfNewestVisit(second, &first);
  ASSERT_THAT(alone.rounds, SizeIs(1));
  EXPECT_EQ(alone.rounds[0].time_s, std::vector{9e-6});
  EXPECT_THAT(alone.histograms.at("latency_s").counts,
              ElementsAre(std::pair(100, 1), std::pair(200, 1)));
  Record failed = second;
  failed.status = Status::kPartial;
  EXPECT_THAT(OfNewestVisit(failed, &second).rounds, IsEmpty()) << "not the cycle before again";
  EXPECT_THAT(OfNewestVisit(failed, &second).histograms.at("latency_s").counts, IsEmpty());
}

TEST(CollSizes, ThatCantBeDoneAsAskedAreSaid) {
  EXPECT_EQ(RoundedNote({8, 64}, "f32"), "");
  EXPECT_EQ(RoundedNote({0, 10, 16}, "f64"),
            "sizes are whole elements of f64, one at least: 0 is done as 8, and 1 more");
  EXPECT_THAT(PlanOf({"-b", "0", "-e", "4", "-i", "4"}).notes,
              ElementsAre(HasSubstr("0 is done as 4")));
  Case one = {.params = {{"bytes", std::int64_t{64}}}, .work = {.bytes = 64}};
  EXPECT_EQ(SharedNote({one}), "");
  one.work.bytes = 48;
  EXPECT_THAT(SharedNote({one}), HasSubstr("64 is done as 48"));
  one.work.bytes.reset();
  EXPECT_EQ(SharedNote({one}), "") << "its row says why it is skipped";
}

TEST(CollPlan, ThreadsAndGpusAreRanks) {
  EXPECT_EQ(IntegerOf(PlanOf({"-g", "4"}).questions[0].params, "ranks"), 4);
  EXPECT_EQ(IntegerOf(PlanOf({"-g", "4", "-t", "2"}).questions[0].params, "ranks"), 8);
  // The ranks of nccl are threads that were there before: as many as the probe knows of.
  const CollPlan plan = PlanOf({"-g", "2", "--backend", "nccl"});
  EXPECT_EQ(IntegerOf(plan.questions[0].params, "ranks"), 2);
  EXPECT_THAT(plan.notes, IsEmpty());
  EXPECT_THAT(PlanOf({"-g", "2", "--backend", "native"}).notes, ElementsAre(HasSubstr("--ranks")));
  EXPECT_THAT(ErrorOf({"-g", "2", "--ranks", "2", "--backend", "nccl"}), HasSubstr("give one"));
  EXPECT_EQ(IntegerOf(PlanOf({"--ranks", "3"}).questions[0].params, "ranks"), 3);
  EXPECT_EQ(IntegerOf(PlanOf({}).questions[0].params, "ranks"), 2);
}

}  // namespace
}  // namespace assay
