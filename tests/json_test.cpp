#include "results/file/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/compare.h"
#include "results/figures/expected.h"
#include "results/figures/health.h"
#include "results/figures/labels.h"
#include "results/show/json.h"
#include "tests/sample_run.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;
using ::testing::Pair;
using Json = nlohmann::json;

std::string Example() {
  std::ifstream file(ASSAY_SOURCE_DIR "/tests/data/run.example.json");
  return (std::stringstream() << file.rdbuf()).str();
}

// The paths of all keys, list positions left out: "records.rounds.time_s".
void Keys(const Json& json, const std::string& path, std::set<std::string>& keys) {
  if (json.is_array()) {
    for (const Json& element : json) Keys(element, path, keys);
  } else if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      keys.insert(path + key);
      Keys(value, path + key + ".", keys);
    }
  }
}

std::set<std::string> KeysOf(const std::string& text) {
  std::set<std::string> keys;
  Keys(Json::parse(text), "", keys);
  return keys;
}

// The sentence with which the example is refused once the value at `pointer` is another one.
std::string Refusal(const std::string& pointer, const Json& value) {
  Json json = Json::parse(RunToJson(SampleRun()));
  json[Json::json_pointer(pointer)] = value;
  try {
    RunFromJson(json.dump(), "x.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string RefusalWithout(const std::string& pointer, const std::string& key) {
  Json json = Json::parse(RunToJson(SampleRun()));
  json[Json::json_pointer(pointer)].erase(key);
  try {
    RunFromJson(json.dump(), "x.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string RefusalOf(std::string_view text) {
  try {
    RunFromJson(text, "x.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Json, WhatIsWrittenIsReadBackExactly) {
  const std::string text = RunToJson(SampleRun());
  const assay::Run run = RunFromJson(text, "sample");
  EXPECT_EQ(RunToJson(run), text);

  const Visit& visit = run.records[0].rounds[0];
  EXPECT_EQ(visit.time_s[1], 0.1 + 0.2);
  EXPECT_EQ(visit.time_s[2], 5e-324);
  EXPECT_EQ(visit.time_s[3], std::numeric_limits<double>::max());
  EXPECT_EQ(visit.time_s[4], 1.0 / 3.0);
  EXPECT_THAT(visit.stable_time_s, ElementsAre(0.002));
  EXPECT_THAT(visit.here_time_s, ElementsAre(0.0009));
  EXPECT_THAT(visit.unit_max_s, ElementsAre(0.00155, 0.00156));
  EXPECT_EQ(run.seed, 18446744073709551615U);
  EXPECT_EQ(run.records[0].here->params.at("dtype"), Value("bf16"));
  EXPECT_EQ(std::get<double>(run.records[0].facts.at("whole")), 2.0);
  EXPECT_EQ(std::get<std::int64_t>(run.records[0].facts.at("workspace_bytes")), 33554432);
  EXPECT_EQ(run.records[2].reason, "needs two ranks");
}

TEST(Json, WhatNoReaderWouldTakeIsNeverWritten) {
  Record record = {.probe = "all_gather", .work = {.bytes = 0}};
  EXPECT_THROW(RecordToJson(record), Error);
  record.work.bytes.reset();
  EXPECT_EQ(RecordFromJson(RecordToJson(record), "a record").probe, "all_gather");
  record.rounds = {{.batch = 1, .time_s = {1.0, 0.0}}};
  EXPECT_THROW(RecordToJson(record), Error);
  record.rounds = {{.batch = 1, .time_s = {1.0}, .phase_time_s = {{"compute", {-1.0}}}}};
  EXPECT_THROW(RecordToJson(record), Error);
  record.rounds.clear();
  record.facts = {{"ratio", std::numeric_limits<double>::quiet_NaN()}};
  EXPECT_THROW(RecordToJson(record), Error);
}

TEST(Json, TheSampleAndTheExampleHaveTheSameKeys) {
  const std::set<std::string> sample = KeysOf(RunToJson(SampleRun()));
  const std::set<std::string> example = KeysOf(Example());
  EXPECT_THAT(example, IsSubsetOf(sample));
  EXPECT_THAT(sample, ::testing::Contains("records.rounds.unit_time_s.p50"));
}

TEST(Json, AnUnsetOptionalIsNullAndAnExtraIsAbsent) {
  assay::Run run = SampleRun();
  run.campaign.reset();
  run.offers[0].zone.reset();
  run.nodes[0].cpu.quota.reset();
  const Json json = Json::parse(RunToJson(run));
  EXPECT_TRUE(json["campaign"].is_null());
  EXPECT_TRUE(json["offers"][0]["zone"].is_null());
  EXPECT_TRUE(json["nodes"][0]["cpu"]["quota"].is_null());
  EXPECT_TRUE(json["records"][0]["rounds"][0].contains("stable_time_s"));
  const Json& plain = json["records"][1]["rounds"][0];
  for (const char* extra : {"stable_time_s", "here_time_s", "host_time_s", "unit_time_s"}) {
    EXPECT_FALSE(plain.contains(extra)) << extra;
  }
  EXPECT_FALSE(json["records"][1].contains("reason"));
  EXPECT_FALSE(json["records"][1].contains("here"));
}

TEST(Json, ASkippedRecordSaysWhyAndNothingElse) {
  EXPECT_EQ(RecordToJson(SampleSkip()),
            R"({"probe":"fabric","method":1,"params":{},"backend":"ofi","status":"skipped",)"
            R"("reason":"needs two ranks","remedy":"mpirun -np 2 assay run fabric"})");
}

TEST(Json, OneRecordALine) {
  const std::string text = RunToJson(SampleRun());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
  EXPECT_THAT(text, HasSubstr("\"records\":[\n{\"probe\":\"gemm\""));
  EXPECT_THAT(text, HasSubstr("},\n{\"probe\":\"storage\""));
  EXPECT_TRUE(text.ends_with("}]}\n"));
  EXPECT_TRUE(text.starts_with(R"({"format":"assay-run","version":1,"needs":[],"id":)"));
}

TEST(Json, ARecordIsReadBackFromItsLine) {
  const std::string line = RecordToJson(SampleGemm());
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(RecordToJson(RecordFromJson(line, "line")), line);
}

TEST(Json, UnknownKeysAreIgnored) {
  Json json = Json::parse(RunToJson(SampleRun()));
  json["later"] = {{"deep", {1, 2}}};
  json["records"][0]["later"] = 1;
  json["records"][0]["facts"]["a_list"] = {1, 2};
  json["nodes"][0]["cpu"]["later"] = "x";
  const assay::Run run = RunFromJson(json.dump(), "x.json");
  EXPECT_EQ(RunToJson(run), RunToJson(SampleRun()));
}

TEST(Json, AnErrorThatIsNotFiniteSurvives) {
  Record record = SampleGemm();
  record.verify->max_error = std::nan("");
  EXPECT_THAT(RecordToJson(record), HasSubstr("\"max_error\":null"));
  EXPECT_TRUE(std::isinf(RecordFromJson(RecordToJson(record), "line").verify->max_error));
}

TEST(Json, ANameThatIsNotUtf8StaysJson) {
  assay::Run run = SampleRun();
  run.nodes[0].accelerators[0].name = "H100\xFF\x80";
  EXPECT_EQ(RunFromJson(RunToJson(run), "x").nodes[0].accelerators[0].name, "H100\uFFFD\uFFFD");
}

TEST(Json, NewerFilesAreRefusedByName) {
  EXPECT_EQ(Refusal("/version", 2),
            "x.json: it was written in version 2 of the format and this assay reads version 1; use "
            "a newer assay");
  EXPECT_EQ(Refusal("/needs", {"time_travel"}),
            "x.json: it needs the feature 'time_travel', which this assay doesn't know; use a "
            "newer assay");
  EXPECT_THAT(Refusal("/format", "fio"), HasSubstr("x.json: this isn't an assay result"));
}

TEST(Json, EveryRefusalNamesTheKey) {
  EXPECT_THAT(Refusal("/records/0/rounds/0/time_s/1", -1.0),
              HasSubstr("x.json: 'records[0].rounds[0].time_s[1]' is -1 and must be above 0"));
  EXPECT_THAT(Refusal("/records/0/rounds/0/time_s/1", 0), HasSubstr("must be above 0"));
  EXPECT_THAT(Refusal("/records/0/rounds/0/time_s/1", "1"),
              HasSubstr("'records[0].rounds[0].time_s[1]' must be a number"));
  EXPECT_THAT(Refusal("/records/0/rounds/0/time_s/1", nullptr), HasSubstr("must be a number"));
  EXPECT_THAT(Refusal("/records/0/rounds/0/batch", 0), HasSubstr("batch' is 0 and must be above"));
  EXPECT_THAT(Refusal("/records/0/rounds/0/unit_time_s", 3),
              HasSubstr("'records[0].rounds[0].unit_time_s' must be an object"));
  EXPECT_THAT(Refusal("/records/0/work/flops", 0), HasSubstr("work.flops' is 0 and must be above"));
  EXPECT_THAT(Refusal("/records/0/work/flops", 1e18), HasSubstr("must be an integer"));
  EXPECT_THAT(Refusal("/records/0/work/flops", 9223372036854775808U),
              HasSubstr("is 9223372036854775808, which is out of range"));
  EXPECT_THAT(Refusal("/records/0/method", 4294967297), HasSubstr("out of range"));
  EXPECT_THAT(Refusal("/records/0/params/m", 1.5),
              HasSubstr("'records[0].params.m' must be an integer, true or false, or a string"));
  EXPECT_THAT(Refusal("/records/0/status", "fine"), HasSubstr("must be ok, partial, skipped"));
  EXPECT_THAT(Refusal("/records/0/histograms/latency_s/counts/0", {1, 2, 3}),
              HasSubstr("counts[0]' must be a list of two integers"));
  EXPECT_THAT(Refusal("/records", Json::object()), HasSubstr("'records' must be a list"));
  EXPECT_THAT(Refusal("/nodes/0/cpu/sockets", -1), HasSubstr("'nodes[0].cpu.sockets' is -1"));
  EXPECT_THAT(Refusal("/nodes/0/in_container", 1), HasSubstr("must be true or false"));
  EXPECT_THAT(Refusal("/nodes/0/env/NCCL_DEBUG", 1),
              HasSubstr("'nodes[0].env.NCCL_DEBUG' must be a string"));
  EXPECT_THAT(Refusal("/offers/0/usd_per_hour", 0), HasSubstr("usd_per_hour' is 0 and must be"));
  EXPECT_THAT(RefusalWithout("/records/1", "rounds"), HasSubstr("'records[1]' has no 'rounds'"));
  EXPECT_THAT(RefusalWithout("/records/2", "probe"), HasSubstr("'records[2]' has no 'probe'"));
  EXPECT_THAT(RefusalWithout("", "nodes"), HasSubstr("the document has no 'nodes'"));
}

TEST(Json, ANodeIsReadFromOtherNodesAsFromAFile) {
  const Node node = SampleRun().nodes[1];
  const std::string text = NodeToJson(node);
  EXPECT_EQ(NodeToJson(NodeFromJson(text, "node 1")), text);
  // Parts of messages are told apart by these.
  EXPECT_EQ(NodeToJson({.virtualization = "a\tb\nc"}).find_first_of("\t\n"), std::string::npos);

  const auto refusal = [](const std::string& hostile) -> std::string {
    try {
      NodeFromJson(hostile, "node 1");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(refusal(""), HasSubstr("node 1: this isn't JSON"));
  EXPECT_THAT(refusal("[]"), HasSubstr("node 1: the document must be an object"));
  EXPECT_THAT(refusal(std::string(100, '[')), HasSubstr("nested deeper than 32 levels"));
  Json json = Json::parse(text);
  json["cpu"]["cores_used"] = "many";
  EXPECT_THAT(refusal(json.dump()), HasSubstr("node 1: 'cpu.cores_used' must be an integer"));
  json.erase("cpu");
  EXPECT_THAT(refusal(json.dump()), HasSubstr("node 1: the document has no 'cpu'"));
}

TEST(Json, IndicesPointAtSomething) {
  EXPECT_THAT(Refusal("/records/1/storage", 1), HasSubstr("records[1] on volume 1 of 1"));
  // A node that took no part in it may have fewer volumes.
  EXPECT_EQ(Refusal("/nodes/1/storage", Json::array()), "no error");
  EXPECT_THAT(Refusal("/records/0/units/1/node", 2), HasSubstr("records[0] on node 2 of 2"));
  EXPECT_THAT(Refusal("/ranks/1/node", 7), HasSubstr("rank 1 on node 7 of 2"));
  EXPECT_THAT(Refusal("/records/0/rounds/0/telemetry/0/unit", 5), HasSubstr("unit 5 of 2"));
}

TEST(Json, ThereIsAtLeastOneNode) {
  EXPECT_THAT(Refusal("/nodes", Json::array()), HasSubstr("has no node"));
}

TEST(Json, HostileTextIsRefusedInOneSentence) {
  EXPECT_THAT(RefusalOf(""), HasSubstr("x.json: this isn't JSON"));
  EXPECT_THAT(RefusalOf("{\"format\":"), HasSubstr("this isn't JSON"));
  EXPECT_THAT(RefusalOf("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(RefusalOf("{\"format\":\"assay-run\",\"version\":NaN}"), HasSubstr("isn't JSON"));
  EXPECT_THAT(RefusalOf("{\"format\":\"assay-run\",\"version\":1e999}"),
              HasSubstr("a number that is too large"));
  EXPECT_THAT(RefusalOf(std::string(1'000'000, '[')), HasSubstr("deeper than 32 levels"));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  EXPECT_THAT(RefusalOf(deep), HasSubstr("deeper than 32 levels"));
}

TEST(Json, ManyKeysTakeNoQuadraticTime) {
  std::string text = R"({"format":"assay-run","version":1,"needs":[],"later":{)";
  for (int i = 0; i < 300'000; ++i) text += '"' + std::to_string(i) + "\":0,";
  text += "\"end\":0}}";
  EXPECT_THAT(RefusalOf(text), HasSubstr("has no"));  // in well under the time limit of a test
}

TEST(Json, ListsOfStructsAreBounded) {
  Json json = Json::parse(RunToJson(SampleRun()));
  json["records"] = std::vector<Json>(100'001, Json::object());
  EXPECT_THAT(RefusalOf(json.dump()), HasSubstr("'records' has 100001 entries"));
}

TEST(FiguresToJson, HoldsThePriceOfANodeWhatItStandsForAndTheDollarsOfAllNodes) {
  assay::Run run = SampleRun();
  run.nodes.push_back(run.nodes[0]);
  run.records = {SampleStorage()};
  Chosen price = {.offer = run.offers[0], .instead_of = "spot", .why = "so", .note = "odd"};
  Json figures = Json::parse(FiguresToJson(run, price, Catalog::BuiltIn()));
  EXPECT_EQ(figures["usd_per_hour"], 3 * 55.04);
  EXPECT_EQ(figures["price"]["usd_per_node_hour"], 55.04);
  EXPECT_EQ(figures["price"]["instead_of"], "spot");
  EXPECT_EQ(figures["price"]["why"], "so");
  EXPECT_EQ(figures["price"]["note"], "odd");
  EXPECT_TRUE(figures["price"]["spread"].is_null());
  const Json cost = figures["cases"][0]["costs"][0];
  EXPECT_NEAR(cost["usd"].get<double>(), 3 * 55.04 / 3600 * 0.0000132 / 4096 * 0x1p40, 1e-9);
  EXPECT_EQ(cost["instead_of"], "spot");
  price = {.spread = PriceSpread{.usd_low = 1, .usd_high = 2, .regions = {"a", "b"}}};
  figures = Json::parse(FiguresToJson(run, price, Catalog::BuiltIn()));
  EXPECT_EQ(figures["price"]["spread"]["usd_high"], 2);
  EXPECT_EQ(figures["price"]["spread"]["regions"].size(), 2u);
  EXPECT_TRUE(figures["cases"][0]["costs"].empty());
}

// A bidirectional override, a control sequence in one character (C1), DEL, and a zero-width space.
constexpr const char* kHarmful = "a\u202Eb\u009B31m\u007Fc\u200B";
constexpr const char* kHarmless = "a?b?31m?c?";

std::vector<std::string> HarmfulIn(const std::string& text) {
  std::vector<std::string> found;
  for (const char* harmful : {"\u202E", "\u009B", "\u007F", "\u200B"}) {
    if (text.find(harmful) != std::string::npos) found.emplace_back(harmful);
  }
  return found;
}

TEST(FiguresToJson, HoldsNoTextThatHarmsATerminal) {
  assay::Run run = SampleRun();
  run.id = kHarmful;
  Record& record = run.records[0];
  record.probe = record.backend = record.reason = record.remedy = kHarmful;
  record.params = {{kHarmful, kHarmful}};
  record.facts["algorithm"] = kHarmful;
  const Chosen price = {.instead_of = kHarmful, .why = kHarmful, .note = kHarmful};
  const std::string text = FiguresToJson(run, price, Catalog::BuiltIn(), kHarmful);
  EXPECT_THAT(HarmfulIn(text), ElementsAre());
  const Json figures = Json::parse(text);
  EXPECT_EQ(figures["run"], kHarmless);
  EXPECT_EQ(figures["name"], kHarmless);
  EXPECT_EQ(figures["price"]["why"], kHarmless);
  EXPECT_EQ(figures["cases"][0]["backend"], kHarmless);
  EXPECT_EQ(figures["cases"][0]["reason"], kHarmless);
  EXPECT_EQ(figures["cases"][0]["key"],
            std::string(kHarmless) + "/1/" + kHarmless + "=" + kHarmless);
  EXPECT_EQ(FiguresToJson(SampleRun(), {}, Catalog::BuiltIn()).find('?'), std::string::npos)
      << "nothing else changes";
}

TEST(ComparisonToJson, HoldsNoTextThatHarmsATerminal) {
  Comparison comparison;
  comparison.baseline.names = {kHarmful};
  comparison.rows = {{.probe = kHarmful, .backend = kHarmful, .params = {{kHarmful, kHarmful}}}};
  comparison.notes = {kHarmful};
  const std::string text = ComparisonToJson(comparison);
  EXPECT_THAT(HarmfulIn(text), ElementsAre());
  EXPECT_EQ(Json::parse(text)["cases"][0]["params"][kHarmless], kHarmless);
  Ranking ranking;
  ranking.notes = {kHarmful};
  ranking.cases = {{.probe = kHarmful, .params = {{kHarmful, kHarmful}}}};
  EXPECT_THAT(HarmfulIn(RankingToJson(ranking)), ElementsAre());
}

TEST(WithStrings, ChangesEachStringAndNothingElse) {
  const auto shout = [](const std::string& text) { return text + "!"; };
  const Json json = Json::parse(
      WithStrings(R"({"a": "b", "c": [1, 2.5, "d", {"e": null, "f": "g\n"}], "h": true})", shout));
  EXPECT_EQ(json, Json::parse(
                      R"({"a": "b!", "c": [1, 2.5, "d!", {"e": null, "f": "g\n!"}], "h": true})"));
  EXPECT_THROW(WithStrings("{", shout), Error);
}

TEST(ComparisonToJson, HoldsEveryCaseWithItsVerdict) {
  Comparison comparison;
  comparison.baseline.names = {"a.json"};
  comparison.baseline.price.offer = SampleRun().offers[0];
  comparison.rows = {{.probe = "gemm",
                      .backend = "onednn",
                      .params = {{"m", std::int64_t{16}}},
                      .baseline = 1.0 / 3.0,
                      .candidate = 2,
                      .unit = "FLOP/s",
                      .change = {.estimate = 6,
                                 .interval = Interval{.estimate = 6, .low = 5.5, .high = 6.5},
                                 .level = "x"},
                      .verdict = Verdict::kFaster}};
  comparison.only_candidate = {"peak bf16"};
  const Json json = Json::parse(ComparisonToJson(comparison));
  EXPECT_EQ(json["cases"][0]["verdict"], "faster");
  EXPECT_EQ(json["cases"][0]["baseline"].get<double>(), 1.0 / 3.0);
  EXPECT_EQ(json["cases"][0]["change"]["low"], 5.5);
  EXPECT_TRUE(json["cases"][0]["more_runs"].is_null());
  EXPECT_EQ(json["baseline"]["offer"]["usd_per_hour"], 55.04);
  EXPECT_TRUE(json["candidate"]["offer"].is_null());
  EXPECT_EQ(json["only_candidate"][0], "peak bf16");
}

TEST(Json, ADtypeUnderAFormerNameIsReadAsItsOwn) {
  for (const auto& [former, name] : {std::pair("i8", "int8"),
                                     {"f8e4m3", "fp8_e4m3"},
                                     {"f8e5m2", "fp8_e5m2"},
                                     {"u8", "u8"},
                                     {"f13", "f13"}}) {
    Record record = {.probe = "all_reduce", .params = {{"dtype", std::string(former)}}};
    const Record read = RecordFromJson(RecordToJson(record), "old.json");
    EXPECT_EQ(StringOf(read.params, "dtype"), name);
    record.params["dtype"] = std::string(name);
    EXPECT_EQ(MatchKey(read), MatchKey(record));
    EXPECT_EQ(RecordToJson(read), RecordToJson(record));
  }
}

TEST(Json, AStorageRecordFromBeforeTheParamCacheIsCold) {
  Record old = SampleStorage();
  old.params.erase("cache");
  const Record read = RecordFromJson(RecordToJson(old), "old.json");
  EXPECT_EQ(StringOf(read.params, "cache"), "cold");
  EXPECT_EQ(MatchKey(read), MatchKey(SampleStorage()));
  EXPECT_EQ(CaseLabel("storage", read.params), CaseLabel("storage", old.params));
  Record warm = SampleStorage();
  warm.params["cache"] = "warm";
  EXPECT_EQ(StringOf(RecordFromJson(RecordToJson(warm), "w").params, "cache"), "warm");
  EXPECT_NE(CaseLabel("storage", warm.params), CaseLabel("storage", old.params));
  EXPECT_FALSE(RecordFromJson(RecordToJson(SampleSkip()), "s").params.contains("cache"));
}

// The example with another text in place of `was`. Its GEMM, of a shape that others have measured,
// was done on a GPU.
Run ExampleWith(const std::string& was, const std::string& is, const std::string& id) {
  std::string text = Example();
  text.replace(text.find(was), was.size(), is);
  Run run = RunFromJson(text, id);
  run.id = id;
  run.records[0].params["m"] = run.records[0].params["n"] = std::int64_t{2048};
  run.records[0].params["k"] = std::int64_t{13312};
  return run;
}

TEST(Json, ABackendByAnyNameKeepsTheDeviceThatItWasMeasuredOn) {
  const assay::Run was = ExampleWith("", "", "was");
  const assay::Run is = ExampleWith("\"backend\":\"cublaslt\"", "\"backend\":\"mine\"", "is");
  ASSERT_EQ(is.records[0].backend, "mine");
  EXPECT_EQ(is.records[0].device.kind, "gpu");
  EXPECT_EQ(is.records[0].device.name, "NVIDIA H100 80GB HBM3");
  ASSERT_TRUE(OfPeakOf(is, is.records[0], Catalog::BuiltIn().devices));
  EXPECT_EQ(OfPeakOf(is, is.records[0], Catalog::BuiltIn().devices)->of_spec,
            OfPeakOf(was, was.records[0], Catalog::BuiltIn().devices)->of_spec);
  const auto standing = [](const assay::Run& run) {
    return RunHealth(run, Catalog::BuiltIn().devices)
        .Of(run.records[0])
        .value()
        .devices[0]
        .standing;
  };
  EXPECT_EQ(standing(is), standing(was));
  const Comparison comparison =
      Compare({.runs = {was}, .names = {"was"}}, {.runs = {is}, .names = {"is"}}, {});
  const auto gemm = std::ranges::find(comparison.rows, "gemm", &CompareRow::probe);
  ASSERT_NE(gemm, comparison.rows.end());
  EXPECT_EQ(gemm->backend, "mine");
  EXPECT_EQ(gemm->kind, "gpu");
  EXPECT_THAT(comparison.only_baseline, IsEmpty());
}

TEST(Json, ADeviceIsKnownByTheBackendWhereAFileDoesNotTellIt) {
  const std::string told = "\"device\":{\"kind\":\"gpu\",\"name\":\"NVIDIA H100 80GB HBM3\"},";
  const assay::Run old = ExampleWith(told, "", "old");
  EXPECT_EQ(old.records[0].device.kind, "gpu");
  EXPECT_EQ(old.records[1].device.kind, "cpu");
  const Comparison comparison =
      Compare({.runs = {old}, .names = {"old"}},
              {.runs = {ExampleWith("", "", "new")}, .names = {"new"}}, {});
  EXPECT_EQ(comparison.rows.size(), 2u);
  EXPECT_THAT(comparison.only_baseline, IsEmpty());
  for (const auto& [backend, kind] : {std::pair("cuda", "gpu"),
                                      {"cublas", "gpu"},
                                      {"cudnn", "gpu"},
                                      {"nccl", "gpu"},
                                      {"onednn", "cpu"},
                                      {"mpi", "cpu"}}) {
    Json record = Json::parse(RecordToJson(SampleGemm()));
    record["backend"] = backend;
    record.erase("device");
    EXPECT_EQ(RecordFromJson(record.dump(), "old.json").device.kind, kind) << backend;
  }
  // A record says so where its device is of another kind than its backend's name tells, even a
  // skipped one.
  Record skipped = SampleSkip();
  EXPECT_EQ(RecordFromJson(RecordToJson(skipped), "s").device.kind, "cpu");
  skipped.device.kind = "gpu";
  EXPECT_EQ(RecordFromJson(RecordToJson(skipped), "s").device.kind, "gpu");
  EXPECT_THAT(RefusalWithout("/records/0/device", "kind"), HasSubstr("has no 'kind'"));
}

}  // namespace
}  // namespace assay
