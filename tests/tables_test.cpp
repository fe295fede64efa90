#include "results/show/tables.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "results/base/csv.h"
#include "results/base/error.h"
#include "results/figures/figures.h"
#include "results/figures/model.h"
#include "results/show/csv.h"
#include "results/show/json.h"
#include "results/show/layout.h"
#include "results/show/notes.h"
#include "results/show/writer.h"
#include "tests/sample_run.h"

namespace assay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

Record Gemm(const std::string& dtype, const std::vector<double>& round_times) {
  Record record = {.probe = "gemm",
                   .params = {{"dtype", dtype},
                              {"m", std::int64_t{4096}},
                              {"n", std::int64_t{4096}},
                              {"k", std::int64_t{4096}}},
                   .backend = "onednn",
                   .work = {.flops = 137'438'953'472}};
  for (const double time : round_times) record.rounds.push_back({.batch = 1, .time_s = {time}});
  return record;
}

OneRun RunOf(std::vector<Record> records) {
  Node node = {.node_id = "n1"};
  node.identity.instance.value = "m7i.large";
  node.identity.region.value = "us-east-1";
  node.cpu.model = "Xeon 8488C";
  return {.rounds = 3, .nodes = {node}, .records = std::move(records)};
}

Chosen PriceAt(double usd_per_hour) {
  return {.offer = Offer{.region = "us-east-1",
                         .purchase = "on_demand",
                         .usd_per_hour = usd_per_hour,
                         .price_date = "2026-11-01",
                         .date_precision = "day"},
          .why = "bought as detected"};
}

TEST(Tables, WidthIsWhatATerminalShows) {
  EXPECT_EQ(DisplayWidth("abc"), 3u);
  EXPECT_EQ(DisplayWidth("±1.2 %"), 6u);
  EXPECT_EQ(DisplayWidth("東京"), 4u);
  EXPECT_EQ(DisplayWidth("e\xCC\x81"), 1u);
  EXPECT_EQ(DisplayWidth(""), 0u);
}

TEST(Tables, CasesSkippedForOneReasonAreOneRow) {
  std::vector<Record> records;
  for (const auto& [dtype, m] :
       {std::pair("mxfp8", 64), {"mxfp8", 128}, {"nvfp4", 64}, {"mxfp8", 256}}) {
    Record& record = records.emplace_back(Gemm(dtype, {}));
    record.params["m"] = std::int64_t{m};
    record.status = Status::kSkipped;
    record.reason = std::string("oneDNN has no ") + dtype + " matmul";
  }
  records.back().backend = "fake";
  records.back().device.kind = "gpu";
  EXPECT_EQ(RunTable(RunOf(records), {}, Catalog::BuiltIn(), false),
            R"(price: none

  probe  case                               on          median  95 % interval  of here  $ per unit
  gemm   mxfp8 64 x 4096 x 4096 and 1 more  cpu/onednn  skipped: oneDNN has no mxfp8 matmul
  gemm   nvfp4 64 x 4096 x 4096             cpu/onednn  skipped: oneDNN has no nvfp4 matmul
  gemm   mxfp8 256 x 4096 x 4096            gpu/fake    skipped: oneDNN has no mxfp8 matmul
)");
}

TEST(Tables, ARunIsARowACaseAndSkippedOnesComeLast) {
  Record skipped = Gemm("int8", {});
  skipped.status = Status::kSkipped;
  skipped.reason = "this CPU has no int8 dot product";
  skipped.remedy = "a machine with AVX-512 VNNI";
  Record wrong = Gemm("bf16", {});
  wrong.status = Status::kWrong;
  wrong.reason = "3 of 4096 sampled elements differ by more than 0.01 from the reference";
  Record fast = Gemm("f32", {1.00, 1.01, 0.99});
  fast.here = Here{.probe = "peak", .work = {.flops = 137'438'953'472}};
  for (Visit& visit : fast.rounds) visit.here_time_s = {visit.time_s[0] * 0.9};
  EXPECT_EQ(RunTable(RunOf({skipped, fast, wrong}), PriceAt(0.1), Catalog::BuiltIn(), false),
            R"(price: 0.10 USD/h a node, on demand, us-east-1, 2026-11-01; bought as detected

  probe  case                     on                 median  95 % interval                of here  $ per unit
  gemm   f32 4096 x 4096 x 4096   cpu/onednn  137.4 GFLOP/s  ±2.5 % (3 rounds, this run)   90.0 %  0.7276 USD per TFLOP/s-h
  gemm   bf16 4096 x 4096 x 4096  cpu/onednn  WRONG: 3 of 4096 sampled elements differ by more than 0.01 from
                                              the reference; not timed
  gemm   int8 4096 x 4096 x 4096  cpu/onednn  skipped: this CPU has no int8 dot product; try: a machine with
                                              AVX-512 VNNI
)");
}

TEST(Tables, AnIntervalWiderThan20PercentIsItsEnds) {
  const Rate speed = {.value = 100e9, .unit = "FLOP/s"};
  Interval interval = {.low = 0.8, .high = 1.2, .level = "3 rounds, this run"};
  EXPECT_EQ(IntervalText(interval, speed), "±20.0 % (3 rounds, this run)");
  interval.high = 1.25;
  EXPECT_EQ(IntervalText(interval, speed), "80.0 .. 125 GFLOP/s (3 rounds, this run)");
  interval.low = 1e-9;
  EXPECT_EQ(IntervalText(interval, speed), "0 .. 125 GFLOP/s (3 rounds, this run)");
}

TEST(Tables, AWideIntervalIsItsEndsInItsColumn) {
  // Half a second and two around one: exp(t ln 2 / √3), t of two degrees of freedom 4.303, is 5.6.
  const OneRun run = RunOf({Gemm("f32", {1, 1.001, 0.999}), Gemm("bf16", {1, 0.5, 2})});
  EXPECT_EQ(RunTable(run, {}, Catalog::BuiltIn(), false),
            R"(price: none

  probe  case                     on                 median  95 % interval                             of here  $ per unit
  gemm   f32 4096 x 4096 x 4096   cpu/onednn  137.4 GFLOP/s  ±0.2 % (3 rounds, this run)                     -  -
  gemm   bf16 4096 x 4096 x 4096  cpu/onednn  137.4 GFLOP/s  24.6 .. 769 GFLOP/s (3 rounds, this run)        -  -
         mean time +16.7 % to the median
)");
}

TEST(Tables, AWideIntervalOfAChangeIsTheCandidatesSpeeds) {
  const auto side = [](double other, double fast) {
    Side made = {.names = {"1.json", "2.json"}};
    for (const double run : {1.0, other}) {
      made.runs.push_back(RunOf({Gemm("bf16", {run, run}), Gemm("f32", {run / fast, run / fast})}));
    }
    return made;
  };
  const std::string table = ComparisonTable(Compare(side(1, 1), side(2, 1), {}), false);
  EXPECT_THAT(table, HasSubstr("> 20.0 %"));
  EXPECT_THAT(table, Not(HasSubstr("±")));
  EXPECT_THAT(table, HasSubstr(" .. "));
  EXPECT_THAT(table, HasSubstr("FLOP/s  unclear  > 20.0 %"));
  // A change that is large and sure has no wide interval.
  const std::string sure = ComparisonTable(Compare(side(1.001, 1), side(1.001, 50), {}), false);
  EXPECT_THAT(sure, HasSubstr("+4900.0 %"));
  EXPECT_THAT(sure, HasSubstr("  FASTER"));
  EXPECT_THAT(sure, Not(HasSubstr("FLOP/s  FASTER")));
}

TEST(Tables, ACaseThatIsStillMeasuredIsALineWithoutIntervalAndDollars) {
  const OneRun run = RunOf({});
  EXPECT_EQ(ProvisionalLine(run, Gemm("bf16", {0.001}), false),
            "  gemm  bf16 4096 x 4096 x 4096  cpu/onednn  137.4 TFLOP/s so far (1 of 3 rounds)\n");
  EXPECT_THAT(ProvisionalLine(run, Gemm("bf16", {0.001, 0.002}), true),
              HasSubstr(" so far (2 of at least 3 rounds)\n"));
  OneRun once = run;
  once.rounds = 1;
  EXPECT_THAT(ProvisionalLine(once, Gemm("bf16", {0.001}), false), HasSubstr("(1 of 1 round)"));
  Record record = Gemm("bf16", {});
  record.status = Status::kWrong;
  record.reason = "3 of 9 checked elements are wrong: the first";
  EXPECT_EQ(
      ProvisionalLine(run, record, false),
      "  gemm  bf16 4096 x 4096 x 4096  cpu/onednn  WRONG: 3 of 9 checked elements are wrong: "
      "the first; not timed\n");
  record.status = Status::kSkipped;
  record.reason = "no \033[2J GPU";
  record.remedy = "buy one";
  EXPECT_THAT(ProvisionalLine(run, record, false),
              HasSubstr("  skipped: no ?[2J GPU; try: buy one\n"));
  record = Gemm("bf16", {0.001});
  record.status = Status::kPartial;
  record.reason = "the device was lost";
  EXPECT_THAT(ProvisionalLine(run, record, false),
              HasSubstr("partial: the device was lost  137.4 TFLOP/s so far (1 of 3 rounds)\n"));
}

TEST(Tables, WithoutAPriceThereIsADash) {
  const std::string table =
      RunTable(RunOf({Gemm("f32", {1, 1, 1})}), {}, Catalog::BuiltIn(), false);
  EXPECT_THAT(table, HasSubstr("±0.0 % (3 rounds, this run)        -  -\n"));
}

TEST(Tables, WhatTheFiguresDontShowIsSaidBesideThem) {
  Record stalls = Gemm("f32", {1, 1, 1});
  stalls.rounds[1].time_s = {1, 1, 1.5};
  stalls.complete = false;
  stalls.here = Here{.probe = "peak", .work = {.flops = 137'438'953'472}};
  stalls.rounds[0].here_time_s = {1.1};
  OneRun run = RunOf({stalls});
  run.nodes[0].cpu.cores_present = 4;
  run.nodes[0].cpu.cores_used = 2;
  const std::string table = RunTable(run, {}, Catalog::BuiltIn(), false);
  EXPECT_THAT(table, HasSubstr("mean time +10.0 % to the median"));
  EXPECT_THAT(table, HasSubstr("suspicious"));
  EXPECT_THAT(table, HasSubstr("2 of 4 used"));
  EXPECT_THAT(table, HasSubstr("3 rounds only"));
}

TEST(Tables, WhatDidNotComeToRestIsSaid) {
  Record gemm = Gemm("bf16", {1, 1, 1, 1});
  for (Visit& visit : gemm.rounds) visit.sustained = Sustained{.ended = "steady"};
  EXPECT_THAT(RunTable(RunOf({gemm}), {}, Catalog::BuiltIn(), false), Not(HasSubstr("steady")));
  gemm.rounds[1].sustained->ended = "unsteady";
  gemm.rounds[2].sustained->ended = "scattered";
  EXPECT_THAT(RunTable(RunOf({gemm}), {}, Catalog::BuiltIn(), false),
              HasSubstr("steady in 2 of 4 rounds, not at rest in 1, too noisy to tell in 1"));
}

TEST(Tables, ABurstOfAnAcceleratorHasNoPriceInASuiteForOthers) {
  Record gemm = Gemm("bf16", {1, 1, 1});
  gemm.backend = "fake";
  gemm.device.kind = "gpu";
  gemm.params["regime"] = std::string("burst");
  OneRun run = RunOf({gemm});
  run.suite.name = "quick";
  EXPECT_THAT(RunTable(run, PriceAt(1), Catalog::BuiltIn(), false), HasSubstr("USD per TFLOP/s-h"));
  run.suite.name = "standard";
  EXPECT_THAT(RunTable(run, PriceAt(1), Catalog::BuiltIn(), false),
              testing::AllOf(Not(HasSubstr("USD per TFLOP/s-h")),
                             HasSubstr("no price: a burst, and a node is paid for")));
  EXPECT_THAT(RunTable(run, {}, Catalog::BuiltIn(), false), Not(HasSubstr("no price")));
}

TEST(Tables, ThePriceIsSaidFirstAndIsOfEveryNodeHeld) {
  OneRun run = RunOf({Gemm("f32", {1, 1})});
  run.nodes.push_back(run.nodes[0]);
  const std::string table = RunTable(run, PriceAt(3), Catalog::BuiltIn(), false, "2026-11-29");
  EXPECT_THAT(table, testing::StartsWith(
                         "price: 3.00 USD/h a node, 6.00 for 2 nodes, on demand, us-east-1, "
                         "2026-11-01 (28 days old); bought as detected\n\n  probe"));
  // 6 USD/h for 137.44 GFLOP/s.
  EXPECT_THAT(table, HasSubstr("43.66 USD per TFLOP/s-h\n"));
  EXPECT_THAT(RunTable(run, {.why = "no price is known"}, Catalog::BuiltIn(), false),
              testing::StartsWith("price: none; no price is known\n\n"));
}

TEST(Tables, TheHeadlinesDollarsAreOfEveryNodeHeld) {
  Record headline = Gemm("bf16", {1, 1, 1, 1, 1});
  headline.probe = "headline";
  headline.params = {{"name", std::string("bf16-cpu/2")}, {"regime", std::string("sustained")}};
  headline.verify = Verification{.checked = 1};
  for (Visit& visit : headline.rounds)
    visit.sustained = Sustained{.least_s = 60, .ended = "steady"};
  OneRun run = RunOf({headline});
  run.nodes[0].cpu.cores_present = run.nodes[0].cpu.cores_used = 2;
  run.nodes.push_back(run.nodes[0]);
  Chosen price = PriceAt(3);
  EXPECT_THAT(RunTable(run, price, Catalog::BuiltIn(), false),
              HasSubstr("GFLOP/s, 43.66 USD per TFLOP/s-h, 12127 USD per EFLOP"));
  price.instead_of = "spot";
  EXPECT_THAT(RunTable(run, price, Catalog::BuiltIn(), false),
              HasSubstr("43.66 USD per TFLOP/s-h (on demand), "));
}

TEST(Tables, DollarsOnDemandInPlaceOfAnotherPurchaseAreMarkedInEachRow) {
  Side side = {.runs = {RunOf({Gemm("f32", {1, 1}), Gemm("bf16", {1, 1})})}, .names = {"a.json"}};
  side.price = PriceAt(3);
  const auto marks = [](const std::string& text, const std::string& mark) {
    int found = 0;
    for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) ++found;
    return found;
  };
  const std::string mark = "USD per TFLOP/s-h (on demand)";
  EXPECT_EQ(marks(RunTable(side.runs[0], side.price, Catalog::BuiltIn(), false), mark), 0);
  side.price.instead_of = "spot";
  EXPECT_EQ(marks(RunTable(side.runs[0], side.price, Catalog::BuiltIn(), false), mark), 2);

  Side other = {.runs = {side.runs[0]}, .names = {"b.json"}, .price = PriceAt(3)};
  other.runs[0].id = "b";
  const std::string of_a = "dollars of the baseline are on demand";
  const std::string of_b = "dollars of the candidate are on demand";
  const std::string there = ComparisonCsv(Compare(side, other, {}));
  EXPECT_EQ(marks(there, of_a), 2);
  EXPECT_EQ(marks(there, of_b), 0);
  const std::string back = ComparisonCsv(Compare(other, side, {}));
  EXPECT_EQ(marks(back, of_a), 0);
  EXPECT_EQ(marks(back, of_b), 2);
  EXPECT_EQ(marks(RankingTable(Rank({side, other}, {}), false), mark), 2);
}

TEST(Tables, AnAbsentHeadlineSaysWhy) {
  Record headline = Gemm("bf16", {1, 1, 1});
  headline.probe = "headline";
  headline.params = {{"name", std::string("bf16-cpu/2")},
                     {"dtype", std::string("bf16")},
                     {"regime", std::string("sustained")}};
  EXPECT_THAT(RunTable(RunOf({headline}), PriceAt(1), Catalog::BuiltIn(), false),
              HasSubstr("headline bf16-cpu/2: absent, 3 rounds, and it needs 5\n"));
  headline.rounds.resize(5, headline.rounds[0]);
  headline.verify = Verification{.checked = 10};
  for (Visit& visit : headline.rounds)
    visit.sustained = Sustained{.least_s = 60, .ended = "steady"};
  EXPECT_THAT(RunTable(RunOf({headline}), PriceAt(1), Catalog::BuiltIn(), false),
              HasSubstr("headline bf16-cpu/2: 137.4 GFLOP/s, 7.276 USD per TFLOP/s-h, 2021 USD "
                        "per EFLOP\n"));
}

TEST(Tables, ColourFollowsTheVerdictAndMovesNoColumn) {
  Record failed = Gemm("f32", {});
  failed.status = Status::kFailed;
  failed.reason = "out of memory";
  const OneRun run = RunOf({failed, Gemm("f32", {1, 1})});
  std::string coloured = RunTable(run, {}, Catalog::BuiltIn(), true);
  EXPECT_THAT(coloured, HasSubstr("\033[31mfailed: out of memory\033[0m"));
  for (const char* code : {"\033[31m", "\033[2m", "\033[0m"}) {
    for (std::size_t at; (at = coloured.find(code)) != std::string::npos;) {
      coloured.erase(at, std::string(code).size());
    }
  }
  EXPECT_EQ(coloured, RunTable(run, {}, Catalog::BuiltIn(), false));
}

TEST(Tables, NothingFromAFileReachesTheTerminalRaw) {
  Record record = Gemm("f32\033[2J", {});
  record.status = Status::kFailed;
  record.reason = "\033]0;title\007 and\nmore";
  record.backend = "one\rdnn";
  OneRun run = RunOf({record, Gemm("f32", {1})});
  run.nodes[0].identity.instance.value = "\033[31mred";
  run.nodes[0].software["\033x"] = "\n";
  OneRun other = RunOf({Gemm("f32", {1})});
  const Comparison comparison =
      Compare({.runs = {run}, .names = {"a\033.json"}}, {.runs = {other}, .names = {"b.json"}}, {});
  for (const std::string& text :
       {RunTable(run, {}, Catalog::BuiltIn(), false), ComparisonTable(comparison, false)}) {
    EXPECT_THAT(text, Not(HasSubstr("\033")));
    EXPECT_THAT(text, Not(HasSubstr("\007")));
    EXPECT_THAT(text, Not(HasSubstr("\r")));
    EXPECT_THAT(text, HasSubstr("?"));
  }
}

TEST(Tables, AComparisonEndsInWhatItAmountsTo) {
  const auto side = [](double scale, double usd, const std::string& name) {
    Side made = {.names = {name + "1.json", name + "2.json"}, .price = PriceAt(usd)};
    for (const double run : {0.999, 1.001}) {
      made.runs.push_back(
          RunOf({Gemm("bf16", {run, run}), Gemm("f32", {run * scale, run * scale})}));
    }
    return made;
  };
  Comparison comparison = Compare(side(1, 2.0, "a"), side(0.5, 1.0, "b"), {});
  EXPECT_EQ(ComparisonTable(comparison, false),
            R"(baseline   a1.json, a2.json  m7i.large  us-east-1  Xeon 8488C
           price: 2.00 USD/h a node, on demand, us-east-1, 2026-11-01; bought as detected
candidate  b1.json, b2.json  m7i.large  us-east-1  Xeon 8488C
           price: 1.00 USD/h a node, on demand, us-east-1, 2026-11-01; bought as detected
note: fewer than three nodes of one type on a side: this is about this node and that one, not about instance
      types
intervals: 95 %, Holm-adjusted over the cases; each side: 2 runs, this node

  probe  case                          baseline      candidate    change        95 % interval  verdict  resolves  more runs   work per USD
  gemm   bf16 4096 x 4096 x 4096  137.4 GFLOP/s  137.4 GFLOP/s    +0.0 %     -0.6 % .. +0.6 %  same       ±0.6 %          -  +100.0 % more
  gemm   f32 4096 x 4096 x 4096   137.4 GFLOP/s  274.9 GFLOP/s  +100.0 %  +98.3 % .. +101.8 %  FASTER     ±1.8 %          1  +300.0 % more

1 faster, 1 same of 2 cases; the candidate does more per dollar in 2 of 2
)");
  comparison.only_baseline = {"storage read 1 MiB"};
  comparison.differences = {"kernel: 6.1 against 6.8"};
  const std::string table = ComparisonTable(comparison, false);
  EXPECT_THAT(table, HasSubstr("  only in the baseline: storage read 1 MiB\n"));
  EXPECT_THAT(table, HasSubstr("  differs: kernel: 6.1 against 6.8\n"));
}

TEST(Tables, ARangeOfPricesIsNeverCalledAConfidence) {
  Side a = {.runs = {RunOf({Gemm("f32", {1, 1})})}, .names = {"a.json"}, .price = PriceAt(1)};
  Side b = a;
  b.price.offer->usd_low = 0.5;
  b.price.offer->usd_high = 2;
  const std::string table = ComparisonTable(Compare(a, b, {}), false);
  EXPECT_THAT(table, HasSubstr("over the price range"));
  EXPECT_THAT(table, HasSubstr("-50.0 % .. +100.0 %"));
}

TEST(Tables, CsvKeepsEveryDigitAndNoFormula) {
  const Side side = {.runs = {RunOf({Gemm("f32", {1.0 / 3})}), RunOf({Gemm("f32", {1.0 / 7})})},
                     .names = {"a.json", "b.json"}};
  Comparison comparison = Compare(side, side, {});
  comparison.rows[0].note = "=HYPERLINK(\"x\")";
  const auto rows = ParseCsv(ComparisonCsv(comparison), "csv");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(std::stod(rows[0].at("baseline")), comparison.rows[0].baseline);
  EXPECT_EQ(std::stod(rows[0].at("low")), comparison.rows[0].change.interval->low);
  EXPECT_EQ(rows[0].at("verdict"), "unclear");
  EXPECT_EQ(rows[0].at("per_usd_change"), "");
  EXPECT_EQ(rows[0].at("note"), "'=HYPERLINK(\"x\")");
}

TEST(Tables, ARankingIsABlockACase) {
  const auto side = [](double time, double usd, const std::string& name) {
    Side made = {.names = {name}, .price = PriceAt(usd)};
    for (const double run : {0.999, 1.0, 1.001}) {
      made.runs.push_back(RunOf({Gemm("f32", {time * run})}));
    }
    return made;
  };
  const Ranking ranking =
      Rank({side(1, 1, "a.json"), side(2, 0.1, "b.json"), side(1, 1, "c.json")}, {});
  EXPECT_THAT(RankingTable(ranking, false), HasSubstr(R"(
gemm f32 4096 x 4096 x 4096
  rank          speed  rank per USD  $ per unit               on      file
     1  137.4 GFLOP/s             2  7.276 USD per TFLOP/s-h  onednn  a.json
     1  137.4 GFLOP/s             2  7.276 USD per TFLOP/s-h  onednn  c.json
     3  68.72 GFLOP/s             1  1.455 USD per TFLOP/s-h  onednn  b.json
)"));
}

TEST(Tables, AStorageFigureThatIsOrMayBeACachesIsMarked) {
  struct Marked {
    const char* kind;
    const char* direct;
    const char* mark;
    bool is_priced;
  };
  for (const Marked& expected :
       {Marked{"local", "proved", "", true},
        Marked{"local", "unproven", "cache?: direct I/O is unproven", true},
        Marked{"local", "not_asked", "cache?: through the page cache", true},
        Marked{"local", "refuted", "refuted: it is buffered", false},
        Marked{"memory", "proved", "memory: the volume is", false}}) {
    const auto run = [&](double time_s) {
      OneRun made = RunOf({{.probe = "storage",
                            .params = {{"block_bytes", std::int64_t{4096}}},
                            .backend = "io_uring",
                            .work = {.bytes = 4096, .ops = 1},
                            .facts = {{"direct", std::string(expected.direct)},
                                      {"direct_how", std::string("it is buffered")}},
                            .storage = 0}});
      for (int round = 0; round < 3; ++round) {
        made.records[0].rounds.push_back({.batch = 1, .time_s = {time_s}});
      }
      made.nodes[0].storage = {{.kind = expected.kind}};
      return made;
    };
    const std::string table = RunTable(run(1e-4), PriceAt(1), Catalog::BuiltIn(), false);
    const auto side = [&](double time_s, const std::string& name) {
      Side made = {.names = {name}, .price = PriceAt(1)};
      made.runs.push_back(run(time_s));
      return made;
    };
    const Ranking ranking = Rank({side(1e-4, "a.json"), side(2e-4, "b.json")}, {.force = true});
    for (const std::string& shown : {table, RankingTable(ranking, false)}) {
      if (*expected.mark != '\0') {
        EXPECT_THAT(shown, HasSubstr(expected.mark));
      } else {
        EXPECT_THAT(shown, Not(HasSubstr("cache?")));
      }
      EXPECT_EQ(shown.find(" USD per TiB") != std::string::npos, expected.is_priced) << shown;
    }
  }
}

TEST(Csv, OfFiguresHasALineForEachCaseOfEachRunUnderOneHead) {
  const assay::Run run = SampleRun();
  const Chosen price = {.offer = Offer{.usd_per_hour = 10, .price_date = "2026-11-01"}};
  const std::vector<PricedRun> runs = {{.name = "a.json", .run = &run, .price = &price},
                                       {.name = "b.json", .run = &run, .price = &price}};
  const auto rows =
      ParseCsv(MakeWriter(OutputFormat::kCsv, Catalog::BuiltIn())->Figures(runs), "figures.csv");
  ASSERT_EQ(rows.size(), 2 * run.records.size());
  EXPECT_EQ(rows.front().at("file"), "a.json");
  EXPECT_EQ(rows.back().at("file"), "b.json");
  int measured = 0;
  const std::vector<const Record*> ordered = InOrderOfSizes(run.records);
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    const Record& record = *ordered[i];
    EXPECT_EQ(rows[i].at("probe"), record.probe);
    EXPECT_EQ(rows[i].at("params"), ToText(record.params));
    EXPECT_EQ(rows[i].at("status"), ToText(record.status));
    const std::optional<Rate> speed = Speed(record);
    EXPECT_EQ(rows[i].at("speed"), speed ? fmt::format("{}", speed->value) : "");
    EXPECT_EQ(rows[i].at("unit"), speed ? speed->unit : "");
    const std::vector<Cost> costs = CostsAt(run, record, price, nullptr);
    EXPECT_EQ(rows[i].at("usd"), costs.empty() ? "" : fmt::format("{}", costs[0].usd));
    EXPECT_EQ(rows[i].at("cost"), costs.empty() ? "" : costs[0].name);
    measured += speed ? 1 : 0;
  }
  EXPECT_GT(measured, 0);
}

TEST(Csv, OfARankingHasALineForEachCaseAndSide) {
  const auto side = [](const std::string& name) {
    assay::Run run = SampleRun();
    run.id = name;
    return Side{.runs = {run}, .names = {name}};
  };
  Ranking ranking = Rank({side("a"), side("b"), side("c")}, {});
  ranking.cases.resize(1);
  const auto rows = ParseCsv(RankingCsv(ranking), "ranking.csv");
  ASSERT_EQ(rows.size(), ranking.cases[0].entries.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const RankEntry& entry = ranking.cases[0].entries[i];
    EXPECT_EQ(rows[i].at("file"), ranking.sides[entry.side].names[0]);
    EXPECT_EQ(rows[i].at("speed"), fmt::format("{}", entry.speed));
    EXPECT_EQ(rows[i].at("by_speed"), fmt::format("{}", entry.by_speed));
    EXPECT_EQ(rows[i].at("usd"), "") << "it has no price";
  }
  EXPECT_FALSE(ranking.cases[0].kind.empty());
  EXPECT_THAT(RankingToJson(ranking),
              HasSubstr("\"device_kind\":\"" + ranking.cases[0].kind + "\""));
}

TEST(Csv, NcclTestsColumnsAreOfACollectiveAlone) {
  EXPECT_THROW(MakeWriter(OutputFormat::kNccl, Catalog::BuiltIn()), Error);
}

}  // namespace
}  // namespace assay
