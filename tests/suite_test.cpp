#include "runner/program/suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "kernels/kernels.h"
#include "results/base/error.h"
#include "results/figures/probes.h"
#include "runner/program/setup.h"
#include "tests/error_text.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

std::int64_t operator""_i(unsigned long long value) { return static_cast<std::int64_t>(value); }

const Probe kGemm = {.name = "gemm",
                     .defaults = {{"dtype", "f32"}, {"acc", "f32"}, {"m", 4096_i}, {"n", 4096_i}}};
const Probe kStorage = {
    .name = "storage",
    .defaults = {{"pattern", "randread"}, {"block_bytes", 4096_i}, {"direct", true}}};

// "gemm acc=f32,dtype=f32,m=1,n=4096".
std::vector<std::string> Texts(const std::vector<Question>& questions) {
  std::vector<std::string> texts;
  for (const Question& question : questions) {
    texts.push_back(question.probe + " " + ToText(question.params));
  }
  return texts;
}

Suite Parse(const std::string& lines) {
  return ParseSuite("tiny version=2 rounds=3 max_seconds=4 max_storage_seconds=6\n" + lines,
                    "tiny");
}

// The probes of the program itself, so that suites and probes can't drift apart.
std::vector<Probe> Everything() {
  static const Modules modules;  // outlives the probes
  return AllProbes({.gemm = kernels::GemmBeside(modules)});
}

TEST(Suite, ListsMultiplyTheLastFastestOverTheDefaults) {
  EXPECT_THAT(
      Texts(Unfold(Parse("tiny gemm m=1,16 dtype=f32,bf16\n"), {kGemm}, {})),
      ElementsAre("gemm acc=f32,dtype=f32,m=1,n=4096", "gemm acc=f32,dtype=bf16,m=1,n=4096",
                  "gemm acc=f32,dtype=f32,m=16,n=4096", "gemm acc=f32,dtype=bf16,m=16,n=4096"));
}

TEST(Suite, AQuestionIsAskedOnce) {
  EXPECT_THAT(Unfold(Parse("tiny gemm m=1,1\ntiny gemm m=1 n=4096\n"), {kGemm}, {}), SizeIs(1));
}

TEST(Suite, SizesAreBinaryAndRiseAndOnlyWhereAParamIsASize) {
  const Suite suite = Parse("tiny storage block_bytes=1MiB,2gb,4K\n");
  const std::vector<Question> questions = Unfold(suite, {kStorage}, {});
  ASSERT_THAT(questions, SizeIs(3));
  EXPECT_EQ(IntegerOf(questions[0].params, "block_bytes"), 4096);
  EXPECT_EQ(IntegerOf(questions[1].params, "block_bytes"), 1048576);
  EXPECT_EQ(IntegerOf(questions[2].params, "block_bytes"), 2147483648);
  const Selection bad = {.set = {"block_bytes=9223372036854775807G"}};
  EXPECT_THAT(ErrorText([&] { Unfold(suite, {kStorage}, bad); }),
              AllOf(HasSubstr("block_bytes wants a size"), HasSubstr("9223372036854775807G")));
  EXPECT_THAT(ErrorText([] { Unfold(Parse("tiny gemm m=4K\n"), {kGemm}, {}); }),
              AllOf(HasSubstr("m=4K"), HasSubstr("whole number")));
}

TEST(Suite, SetTakesThePlaceOfTheSuitesValues) {
  const Suite suite = Parse("tiny gemm m=1,16\ntiny storage\n");
  EXPECT_THAT(Texts(Unfold(suite, {kGemm, kStorage}, {.set = {"m=7,8", "direct=false"}})),
              ElementsAre("gemm acc=f32,dtype=f32,m=7,n=4096", "gemm acc=f32,dtype=f32,m=8,n=4096",
                          "storage block_bytes=4096,direct=false,pattern=randread"));
}

TEST(Suite, ARegimeIsOfAllThatHaveOne) {
  const Probe matmul = {.name = "gemm", .defaults = {{"m", 1_i}, {"regime", "burst"}}};
  const Suite suite = Parse("tiny gemm m=1,2\ntiny gemm regime=sustained\ntiny storage\n");
  EXPECT_THAT(Texts(Unfold(suite, {matmul, kStorage}, {.regime = "sustained"})),
              ElementsAre("gemm m=1,regime=sustained", "gemm m=2,regime=sustained",
                          "storage block_bytes=4096,direct=true,pattern=randread"));
  EXPECT_THAT(ErrorText([&] {
                Unfold(suite, {matmul, kStorage}, {.probes = {"storage"}, .regime = "burst"});
              }),
              HasSubstr("--regime: none of the selected probes has one"));
}

TEST(Suite, OnlySuitesForOthersSustain) {
  const auto sustained = [](const char* name) {
    const std::vector<Question> questions = Unfold(LoadSuite(name), Everything(), {});
    return std::count_if(questions.begin(), questions.end(), [](const Question& question) {
      return question.params.contains("regime") &&
             StringOf(question.params, "regime") == "sustained";
    });
  };
  EXPECT_EQ(sustained("quick"), 0);
  EXPECT_GE(sustained("standard"), 4);
  EXPECT_LE(sustained("standard"), 5) << "each takes five minutes or more";
}

TEST(Suite, ADtypeKeepsTheLinesThatHaveIt) {
  const Suite suite =
      Parse("tiny gemm dtype=f32,bf16\ntiny gemm dtype=int8 acc=s32\ntiny storage\n");
  EXPECT_THAT(Texts(Unfold(suite, {kGemm, kStorage}, {.dtypes = {"bf16"}})),
              ElementsAre("gemm acc=f32,dtype=bf16,m=4096,n=4096",
                          "storage block_bytes=4096,direct=true,pattern=randread"));
  EXPECT_THAT(Texts(Unfold(suite, {kGemm}, {.set = {"dtype=int8"}})),
              ElementsAre("gemm acc=s32,dtype=int8,m=4096,n=4096"));
}

TEST(Suite, ADtypeHasOneNameHoweverItIsWritten) {
  const std::string int8 = "gemm acc=s32,dtype=int8,m=4096,n=4096";
  const Suite suite = Parse("tiny gemm dtype=float,i8 acc=s32\n");
  EXPECT_THAT(Texts(Unfold(suite, {kGemm}, {})),
              ElementsAre("gemm acc=s32,dtype=f32,m=4096,n=4096", int8));
  EXPECT_THAT(Texts(Unfold(suite, {kGemm}, {.dtypes = {"i8"}})), ElementsAre(int8));
  EXPECT_THAT(Texts(Unfold(suite, {kGemm}, {.set = {"dtype=int8,i8"}})), ElementsAre(int8));
  const auto error = [&](const Selection& selection) {
    return ErrorText([&] { Unfold(suite, {kGemm}, selection); });
  };
  EXPECT_THAT(error({.dtypes = {"fp8_e4m"}}),
              HasSubstr("--dtype is 'fp8_e4m'; did you mean fp8_e4m3"));
  EXPECT_THAT(error({.set = {"dtype=bflaot16"}}), HasSubstr("did you mean bfloat16?"));
  EXPECT_THAT(ErrorText([] { Parse("tiny gemm m=1\ntiny gemm dtype=bf166\n"); }),
              HasSubstr("line 3: dtype is 'bf166'; did you mean bf16?"));
}

TEST(Suite, ADtypeThatNoLineHasTakesTheirPlaceAndTheAccumulatorFollows) {
  const Suite suite = Parse("tiny gemm dtype=int8 acc=s32 m=1\ntiny gemm dtype=bf16 m=2\n");
  EXPECT_THAT(
      Texts(Unfold(suite, {kGemm}, {.dtypes = {"f16"}})),
      ElementsAre("gemm acc=f32,dtype=f16,m=1,n=4096", "gemm acc=f32,dtype=f16,m=2,n=4096"));
  EXPECT_THAT(Texts(Unfold(Parse("tiny gemm m=1\n"), {kGemm}, {.dtypes = {"int8"}})),
              ElementsAre("gemm acc=s32,dtype=int8,m=1,n=4096"));
  // Beside one that a line has, it isn't forgotten.
  EXPECT_THAT(
      Texts(Unfold(Parse("tiny gemm dtype=bf16 m=2\n"), {kGemm}, {.dtypes = {"bf16", "f16"}})),
      ElementsAre("gemm acc=f32,dtype=bf16,m=2,n=4096", "gemm acc=f32,dtype=f16,m=2,n=4096"));
}

TEST(Suite, OneDtypeMayStandForAnotherThatDevicesLack) {
  const Suite suite = Parse("tiny gemm dtype=f32,bf16|f16 m=1,2\n");
  const auto instead = [](const std::vector<Question>& questions) {
    std::vector<std::string> texts;
    for (const Question& question : questions) {
      texts.push_back(question.instead ? ToText(*question.instead) : "");
    }
    return texts;
  };
  const std::vector<Question> questions = Unfold(suite, {kGemm}, {});
  EXPECT_THAT(Texts(questions), SizeIs(4));
  EXPECT_THAT(instead(questions),
              ElementsAre("", "", "acc=f32,dtype=f16,m=1,n=4096", "acc=f32,dtype=f16,m=2,n=4096"));
  EXPECT_THAT(instead(Unfold(suite, {kGemm}, {.dtypes = {"bf16"}})), ElementsAre("", ""))
      << "it was asked for by name";
  EXPECT_THAT(instead(Unfold(suite, {kGemm}, {.set = {"n=7"}})).back(), HasSubstr("m=2,n=7"));
  for (const char* bad : {"dtype=f16|bf16", "dtype=bf16|f16|f32", "m=1|2", "dtype=bf16|"}) {
    EXPECT_THAT(ErrorText([&] { Parse(std::string("tiny gemm ") + bad + "\n"); }),
                AllOf(HasSubstr("line 2"), HasSubstr(bad)));
  }
}

TEST(Suite, ASelectedProbeThatTheSuiteDoesNotNameIsAskedWithItsDefaults) {
  const Suite suite = Parse("tiny gemm\n");
  EXPECT_THAT(Unfold(suite, {kGemm, kStorage}, {}), SizeIs(1));
  EXPECT_THAT(Texts(Unfold(suite, {kGemm, kStorage}, {.probes = {"storage"}})),
              ElementsAre("storage block_bytes=4096,direct=true,pattern=randread"));
}

TEST(Suite, AWrongWordIsAnsweredWithTheRightOne) {
  const Suite suite = Parse("tiny gemm\ntiny storage\n");
  const std::vector<Probe> probes = {kGemm, kStorage};
  EXPECT_THAT(ErrorText([&] { Unfold(suite, probes, {.set = {"block_byte=1"}}); }),
              HasSubstr("did you mean block_bytes?"));
  // A param of a probe that is not selected is wrong too.
  EXPECT_THAT(
      ErrorText([&] { Unfold(suite, probes, {.probes = {"gemm"}, .set = {"direct=false"}}); }),
      HasSubstr("no selected probe"));
  EXPECT_THAT(ErrorText([&] { Unfold(suite, probes, {.probes = {"gem"}}); }),
              HasSubstr("did you mean gemm?"));
  EXPECT_THAT(ErrorText([] { LoadSuite("quik"); }), HasSubstr("did you mean quick?"));
}

TEST(Suite, AValueOfTheWrongTypeIsRefusedByName) {
  const Suite suite = Parse("tiny gemm\ntiny storage\n");
  for (const char* bad :
       {"m=many", "m=1.5", "m=99999999999999999999", "direct=yes", "m=", "m=1,,2", "m"}) {
    EXPECT_THAT(ErrorText([&] {
                  Unfold(suite, {kGemm, kStorage}, {.set = {bad}});
                }),
                HasSubstr(bad));
  }
}

TEST(Suite, ALineThatCannotBeReadIsNamed) {
  EXPECT_THAT(ErrorText([] { Parse("# fine\ntiny gemm m\n"); }), HasSubstr("line 3"));
  EXPECT_THAT(ErrorText([] { Parse("tiny rounds=none\n"); }), HasSubstr("line 2"));
  EXPECT_THAT(ErrorText([] { ParseSuite("tiny gemm m=1\n", "tiny"); }), HasSubstr("version"));
  EXPECT_THAT(ErrorText([] { Unfold(Parse("tiny gemm mm=1\n"), {kGemm}, {}); }),
              HasSubstr("gemm has no param mm"));
}

TEST(Suite, ItsHashIsOfItsQuestionsAlone) {
  const std::string hash = Parse("tiny gemm m=1\n").name.sha256;
  EXPECT_EQ(Parse("# remark\n\n  tiny  gemm   m=1\nother gemm m=3\n").name.sha256, hash);
  EXPECT_NE(Parse("tiny gemm m=2\n").name.sha256, hash);
  EXPECT_THAT(hash, SizeIs(64));
}

TEST(Suite, QuickIsSmall) {
  const Suite quick = LoadSuite("quick");
  EXPECT_LE(Unfold(quick, Everything(), {}).size(), 24U);
  EXPECT_EQ(quick.rounds, 3);
  EXPECT_EQ(quick.max_case, Seconds(4));
  EXPECT_EQ(quick.max_spans_case, Seconds(6));
}

TEST(Suite, EachBuiltInSuiteAsksEveryQuestionOfASmallerOne) {
  std::vector<std::string> smaller;
  for (const char* name : {"quick", "standard", "full"}) {
    const Suite suite = LoadSuite(name);
    EXPECT_GE(suite.name.version, 1);
    const std::vector<std::string> questions = Texts(Unfold(suite, Everything(), {}));
    EXPECT_THAT(questions, ::testing::IsSupersetOf(smaller)) << name;
    EXPECT_GT(questions.size(), smaller.size());
    smaller = questions;
  }
}

TEST(Suite, EveryQuestionIsUnderstoodByItsProbe) {
  const std::vector<Probe> probes = Everything();
  for (const char* name : {"quick", "standard", "full"}) {
    std::set<std::string> asked;
    for (const Question& question : Unfold(LoadSuite(name), probes, {})) {
      const auto probe = std::find_if(probes.begin(), probes.end(), [&](const Probe& candidate) {
        return candidate.name == question.probe;
      });
      ASSERT_NE(probe, probes.end());
      EXPECT_THAT(probe->unfold(question.params), Not(IsEmpty())) << ToText(question.params);
      asked.insert(question.probe);
    }
    // quick leaves some out, and only full asks for every collective.
    const std::set<std::string> not_quick = {"headline", "grouped_gemm", "copy", "launch"};
    for (const Probe& probe : probes) {
      const bool may_miss = (name == std::string("quick") && not_quick.contains(probe.name)) ||
                            (name != std::string("full") && probe.name != "all_reduce" &&
                             FindProbe(probe.name).probe_class == ProbeClass::kNetwork);
      EXPECT_TRUE(may_miss || asked.contains(probe.name)) << name << " " << probe.name;
    }
  }
}

TEST(Suite, OnlyInt8AccumulatesInS32) {
  for (const Question& question : Unfold(LoadSuite("full"), Everything(), {.probes = {"gemm"}})) {
    EXPECT_EQ(StringOf(question.params, "dtype") == "int8",
              StringOf(question.params, "acc") == "s32")
        << ToText(question.params);
  }
}

}  // namespace
}  // namespace assay
