// What ranks say to each other, written and read back, and what is refused of it: another rank may
// say anything.
#include "results/file/told.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "results/base/error.h"
#include "results/file/json.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::ThrowsMessage;

TEST(Told, ACaseComesBackAsItWasAsked) {
  for (const On on : {On::kAll, On::kEachNode, On::kGroups}) {
    const AskedCase asked = {
        .on = on,
        .seed = 18446744073709551615u,
        .how = {{"verify", "all"}, {"skip", std::int64_t{5}}},
        .record = {.probe = "all_reduce",
                   .method = 2,
                   .params = {{"bytes", std::int64_t{64}}, {"split", "MOD 2"}, {"flag", true}},
                   .backend = "native",
                   .work = {.bytes = 64}}};
    const std::string text = AskedCaseToJson(asked);
    EXPECT_THAT(text, Not(HasSubstr("\n"))) << "commands are lines";
    const AskedCase read = AskedCaseFromJson(text, "a rank");
    EXPECT_EQ(read.on, on);
    EXPECT_EQ(read.seed, asked.seed);
    EXPECT_EQ(read.how, asked.how);
    EXPECT_EQ(read.record.probe, "all_reduce");
    EXPECT_EQ(read.record.method, 2);
    EXPECT_EQ(read.record.params, asked.record.params);
    EXPECT_EQ(read.record.backend, "native");
    EXPECT_EQ(read.record.work.bytes, 64);
  }
}

TEST(Told, AllThatCameOfACommandComesBackToTheLastBit) {
  Told told = {
      .batches = {{.time = Seconds(0.1 + 0.2),
                   .per_unit = {Seconds(1e-9), Seconds(3)},
                   .host = Seconds(4),
                   .iterations = 7,
                   .stable = Seconds(5),
                   .phases = {{"compute", Seconds(1.5)}}},
                  {.time = Seconds(0)}},
      .checked = Checked{.checked = 9,
                         .wrong = 2,
                         .max_error = std::numeric_limits<double>::infinity(),
                         .tolerance = 0.5,
                         .reference = "exact",
                         .what = "element 3"},
      .facts = {{"a", std::int64_t{-3}}, {"b", false}, {"c", 1.0}, {"d", "two words\ttab\x1e"}},
      .histograms = {{"latency_s", {.counts = {{1, 2}, {3, 4}}}}},
      .how = {{"gemms", std::int64_t{12}}},
      .work = Work{.flops = 24, .formula = "overlap/2mnk"},
      .telemetry = {{.unit = 1, .at_s = {1, 2}, .sm_mhz = {1500, 1400}, .power_w = {300, 310}}},
      .trends = {
          std::nullopt,
          Fitted{.trend = {.of = "sm_mhz", .unit = 1, .per_minute = -0.01, .half_width = 0.1},
                 .noise = 0.2}}};
  const std::string text = ToldToJson(told);
  for (const char parts : {'\n', '\t', '\x1e'}) {
    EXPECT_EQ(text.find(parts), std::string::npos) << "it would part lines, nodes or groups";
  }
  const Told read = ToldFromJson(text, "a rank");
  ASSERT_THAT(read.batches, SizeIs(2));
  const Batch& batch = read.batches[0];
  EXPECT_EQ(batch.time, told.batches[0].time);
  EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(1e-9), Seconds(3)));
  EXPECT_EQ(batch.host, Seconds(4));
  EXPECT_EQ(batch.iterations, 7);
  EXPECT_EQ(batch.stable, Seconds(5));
  EXPECT_EQ(batch.phases, told.batches[0].phases);
  EXPECT_EQ(read.batches[1].time, Seconds(0));
  EXPECT_EQ(read.checked->checked, 9);
  EXPECT_EQ(read.checked->wrong, 2);
  EXPECT_TRUE(std::isinf(read.checked->max_error));
  EXPECT_EQ(read.checked->what, "element 3");
  EXPECT_EQ(read.facts, told.facts) << "a whole number that is no integer stays one";
  EXPECT_EQ(read.histograms.at("latency_s").counts, told.histograms.at("latency_s").counts);
  EXPECT_EQ(read.how, told.how);
  EXPECT_EQ(read.work->flops, 24);
  EXPECT_THAT(read.telemetry.at(0).sm_mhz, ElementsAre(1500, 1400));
  ASSERT_THAT(read.trends, SizeIs(2));
  EXPECT_EQ(read.trends[0], std::nullopt);
  EXPECT_EQ(read.trends[1]->trend.per_minute, -0.01);
  EXPECT_EQ(read.trends[1]->noise, 0.2);
  const Told nothing = ToldFromJson(ToldToJson({}), "a rank");
  EXPECT_THAT(nothing.batches, SizeIs(0));
  EXPECT_EQ(nothing.checked, std::nullopt);
}

TEST(Told, WhatMakesNoSenseIsRefusedAndItsTellerNamed) {
  const std::string deep(40, '[');
  for (const auto& [text, why] :
       {std::pair<std::string, const char*>{"", "rank 3"},
        {"{\"batches\":[{}]}", "time_s"},
        {"{\"batches\":[{\"time_s\":-1}]}", "0 or above"},
        {"{\"batches\":[{\"time_s\":\"1\"}]}", "must be a number"},
        {"{\"batches\":[{\"time_s\":1,\"unit_time_s\":[-1]}]}", "unit_time_s"},
        {"{\"batches\":{}}", "must be a list"},
        {"{\"checked\":{\"checked\":1}}", "wrong"},
        {"{\"trends\":[{}]}", "trend"},
        {"{\"batches\":" + deep + "}", "nested deeper"}}) {
    const auto read = [&, text = text] { ToldFromJson(text, "rank 3"); };
    EXPECT_THAT(read, ThrowsMessage<Error>(testing::AllOf(HasSubstr("rank 3"), HasSubstr(why))))
        << text;
  }
  for (const char* text : {"{}", "{\"on\":\"all\"}", "{\"on\":7}",
                           "{\"on\":\"all\",\"seed\":-1,\"how\":{},\"record\":{}}"}) {
    EXPECT_THROW(AskedCaseFromJson(text, "rank 0"), Error) << text;
  }
}

TEST(Told, ANumberThatIsNoneIsNeverSaid) {
  EXPECT_THROW(ToldToJson({.facts = {{"a", std::nan("")}}}), Error);
  EXPECT_THROW(ToldToJson({.batches = {{.time = Seconds(-1)}}}), Error);
}

}  // namespace
}  // namespace assay
