#include "results/show/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <regex>
#include <string>
#include <vector>

#include "results/base/hash.h"
#include "results/base/text.h"
#include "results/show/tables.h"
#include "tests/count_of.h"

namespace assay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ReportInput Input(const std::string& instance, double usd_per_hour) {
  Record gemm = {.probe = "gemm",
                 .params = {{"dtype", "bf16"}, {"m", 4096}, {"n", 4096}, {"k", 4096}},
                 .backend = "onednn",
                 .work = {.flops = 2LL * 4096 * 4096 * 4096, .formula = "gemm/2mnk"},
                 .rounds = {{.batch = 1, .time_s = {0.150, 0.152}},
                            {.batch = 1, .time_s = {0.151, 0.153}},
                            {.batch = 1, .time_s = {0.149, 0.151}}}};
  Node node = {.identity = {.provider = {"aws", "dmi", "certain"},
                            .instance = {instance, "imds", "certain"},
                            .region = {"us-east-1", "imds", "certain"}},
               .cpu = {.model = "AMD EPYC", .cores_present = 2, .cores_used = 2},
               .memory_bytes = 8LL << 30};
  return {
      .name = instance + ".json",
      .run = {.started = "2026-11-21T22:40:13Z", .rounds = 3, .nodes = {node}, .records = {gemm}},
      .price = {.offer = Offer{.provider = "aws",
                               .instance = instance,
                               .region = "us-east-1",
                               .purchase = "on_demand",
                               .usd_per_hour = usd_per_hour,
                               .price_date = "2026-11-01",
                               .date_precision = "day",
                               .source = "a price page"},
                .why = "on demand in us-east-1"}};
}

TEST(Report, ReadsWithoutScript) {
  const ReportInput inputs[] = {Input("m7i.large", 0.1), Input("c7a.large", 0.09)};
  const std::string page = ReportPage(inputs, Catalog::BuiltIn(), "2026-11-22");
  const std::string before_script = page.substr(0, page.find("<script"));
  // 2 x 4096^3 / 0.151 s.
  EXPECT_THAT(before_script, HasSubstr("910.2 GFLOP/s"));
  EXPECT_THAT(before_script, HasSubstr("bf16 4096 x 4096 x 4096"));
  EXPECT_THAT(before_script, HasSubstr("c7a.large"));
  EXPECT_THAT(before_script, HasSubstr("2026-11-01 (21 days old)"));
  EXPECT_THAT(before_script, HasSubstr("a price page"));
  EXPECT_THAT(before_script, HasSubstr("3 rounds, this run"));
}

TEST(Report, RowsOfASweepStandInTheOrderOfSizesOfAllRuns) {
  const auto input = [](const std::string& instance, const std::vector<std::int64_t>& sizes) {
    ReportInput made = Input(instance, 0.1);
    made.run.records.clear();
    for (const std::int64_t bytes : sizes) {
      made.run.records.push_back({.probe = "all_reduce",
                                  .params = {{"bytes", bytes}, {"ranks", std::int64_t{2}}},
                                  .backend = "mpi",
                                  .work = {.bytes = bytes},
                                  .rounds = {{.batch = 1, .time_s = {1e-3}}}});
    }
    return made;
  };
  const ReportInput inputs[] = {input("m7i.large", {1 << 20, 8, 1 << 16}),
                                input("c7a.large", {1024, 8})};
  const std::string page = ReportPage(inputs, Catalog::BuiltIn(), "2026-11-22");
  std::size_t before = 0;
  for (const char* size : {">bytes=8,", ">bytes=1024,", ">bytes=65536,", ">bytes=1048576,"}) {
    const std::size_t at = page.find(size);
    ASSERT_NE(at, std::string::npos) << size;
    EXPECT_GT(at, before) << size;
    before = at;
  }
}

TEST(Report, ThePriceIsSaidAndIsOfEveryNodeHeld) {
  ReportInput input = Input("m7i.large", 3);
  input.run.nodes.push_back(input.run.nodes[0]);
  std::string page = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29");
  EXPECT_THAT(page, HasSubstr("<p class=price>2 x aws m7i.large us-east-1: price: 3.00 USD/h a "
                              "node, 6.00 for 2 nodes, on demand, us-east-1, 2026-11-01 (28 days "
                              "old); on demand in us-east-1</p>"));
  // 6 USD/h for 907.2 GFLOP/s in the mean.
  EXPECT_THAT(page, HasSubstr(">6.592 USD per TFLOP/s-h</td>"));
  input.price.instead_of = "spot";
  page = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29");
  EXPECT_THAT(page, HasSubstr(">6.592 USD per TFLOP/s-h (on demand)</td>"));
}

// One record for each thing that has to be known beside figures, or in their place; each is said in
// the words of the table.
TEST(Report, SaysOfEachCaseWhatTheTableSays) {
  const ReportInput plain = Input("m7i.large", 1);
  struct {
    std::string mark;
    std::function<void(assay::Run& run, Record& record)> change;
  } const cases[] = {
      {"cache?: through the page cache",
       [](assay::Run&, Record& record) {
         record.probe = "storage";
         record.facts["direct"] = std::string("not_asked");
       }},
      {"memory: the volume is in this machine's memory; no price: the volume is in",
       [](assay::Run& run, Record& record) {
         run.nodes[0].storage = {{.kind = "memory"}};
         record.probe = "storage";
         record.work = {.bytes = 4096, .ops = 1};
         record.storage = 0;
       }},
      {"no price: a burst, and a node is paid for what it sustains",
       [](assay::Run& run, Record& record) {
         run.suite.name = "standard";
         record.backend = "fake";
         record.device.kind = "gpu";
       }},
      {"paced (CPU quota): work over time",
       [](assay::Run&, Record& record) { record.facts["paced"] = std::string("CPU quota"); }},
      {"steady in 2 of 3 rounds, not at rest in 1",
       [](assay::Run&, Record& record) {
         for (Visit& visit : record.rounds) visit.sustained = Sustained{.ended = "steady"};
         record.rounds[1].sustained->ended = "unsteady";
       }},
      {"mean time +",
       [](assay::Run&, Record& record) {
         record.rounds[0].time_s = {0.15, 0.15, 0.3};
       }},
      {"suspicious: above its bound of here",
       [](assay::Run&, Record& record) {
         record.here = Here{.probe = "peak", .work = record.work};
         record.rounds[0].here_time_s = {1};
       }},
      {"in cache", [](assay::Run&, Record& record) { record.facts["in_cache"] = true; }},
      {"1 of 2 used", [](assay::Run& run, Record&) { run.nodes[0].cpu.cores_used = 1; }},
      {"partial: a rank was lost",
       [](assay::Run&, Record& record) {
         record.status = Status::kPartial;
         record.reason = "a rank was lost";
       }},
      {"3 rounds only", [](assay::Run&, Record& record) { record.complete = false; }},
      {"failed: the device is lost; try: reset it",
       [](assay::Run&, Record& record) {
         record.status = Status::kFailed;
         record.reason = "the device is lost";
         record.remedy = "reset it";
       }},
      {"skipped: there is no room",
       [](assay::Run&, Record& record) {
         record.status = Status::kSkipped;
         record.reason = "there is no room";
       }},
      {"WRONG: 3 of 9 checked elements differ from the reference (C[1] is 2); not timed",
       [](assay::Run&, Record& record) {
         record.status = Status::kWrong;
         record.verify = Verification{.checked = 9, .wrong = 3, .what = "C[1] is 2"};
       }},
  };
  const std::string before = ReportPage({&plain, 1}, Catalog::BuiltIn(), "2026-11-22");
  for (const auto& one : cases) {
    ReportInput input = plain;
    one.change(input.run, input.run.records[0]);
    std::string table = RunTable(input.run, input.price, Catalog::BuiltIn(), false);
    const std::string page = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22");
    const std::string shown = page.substr(0, page.find("<script"));
    EXPECT_THAT(shown, HasSubstr(Html(one.mark)));
    EXPECT_THAT(before.substr(0, before.find("<script")), Not(HasSubstr(Html(one.mark))));
    // The table's lines are wrapped.
    table = std::regex_replace(table, std::regex("\n? +"), " ");
    EXPECT_THAT(table, HasSubstr(one.mark));
  }
}

TEST(Report, AWideIntervalIsWhatTheTableSaysOfIt) {
  ReportInput input = Input("m7i.large", 0.1);
  input.run.records[0].rounds[1].time_s = {0.5};
  const std::string table = RunTable(input.run, input.price, Catalog::BuiltIn(), false);
  std::smatch found;
  ASSERT_TRUE(
      std::regex_search(table, found, std::regex(R"(\d\S* \.\. \S+ \w+/s \(3 rounds, this run\))")))
      << table;
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22"),
              HasSubstr("<td>" + found.str() + "</td>"));
}

TEST(Report, HasARowForEachDeviceAsTheTableHas) {
  ReportInput input = Input("p5.48xlarge", 1);
  Record& gemm = input.run.records[0];
  gemm.backend = "fake";
  gemm.device.kind = "gpu";
  gemm.units = {{.device = 0}, {.device = 1}, {.device = 2}, {.device = 3}, {.device = 4}};
  for (Visit& visit : gemm.rounds) visit.unit_p50_s = {0.1, 0.1, 0.101, 0.15, 0.1};
  const std::string page = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22");
  EXPECT_THAT(page, HasSubstr("<td colspan=6>cuda:0: "));
  EXPECT_THAT(page,
              testing::ContainsRegex("<td colspan=6>cuda:3: [^<]*the slowest; all lie within"));
}

TEST(Report, SaysHowARunEnded) {
  ReportInput input = Input("m7i.large", 1);
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22"),
              Not(HasSubstr("incomplete</td>")));
  input.run.complete = false;
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22"),
              HasSubstr(", incomplete</td>"));
  for (const char* status : {"interrupted", "failed"}) {
    input.run.status = status;
    EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22"),
                HasSubstr(std::string(", ") + status + "</td>"));
  }
}

TEST(Report, NotesOnANodeStandWithTheirRemedy) {
  ReportInput input = Input("m7i.large", 0.1);
  input.run.nodes[0].notes = {{.what = "the governor is powersave", .remedy = "set performance"}};
  const std::string page = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22");
  EXPECT_THAT(page.substr(0, page.find("<script")),
              HasSubstr("the governor is powersave (set performance)"));
}

TEST(Report, SaysUnderAStepWhatItPaysForItsAllReduce) {
  ReportInput input = Input("m7i.large", 0.1);
  input.run.records.push_back({.probe = "overlap",
                               .params = {{"ranks", std::int64_t{2}}},
                               .backend = "mpi",
                               .work = {.flops = 1'000'000'000, .bytes = 8'000'000},
                               .rounds = {{.batch = 1,
                                           .time_s = {0.013},
                                           .phase_time_s = {{"compute_alone", {0.010}},
                                                            {"communicate_alone", {0.008}},
                                                            {"compute", {0.0125}},
                                                            {"communicate", {0.013}}}}}});
  const std::string page = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22");
  EXPECT_THAT(page.substr(0, page.find("<script")), HasSubstr("exposed 3.0 ms of 13.0 ms"));
}

TEST(Report, SaysByWhatACollectivesRanksReachedEachOther) {
  ReportInput input = Input("m7i.large", 0.1);
  input.run.records.push_back({.probe = "all_reduce",
                               .params = {{"ranks", std::int64_t{2}}},
                               .backend = "ofi",
                               .work = {.bytes = 8},
                               .facts = {{"transport", "tcp;<b>"}},
                               .rounds = {{.batch = 1, .time_s = {0.013}}}});
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22"),
              HasSubstr("<td>ofi over tcp;&lt;b&gt;</td>"));
}

TEST(Report, ASweepHasAFigureWithWhatWasFittedToIt) {
  ReportInput input = Input("m7i.large", 0.1);
  for (const char* algo : {"ring", "<b>"}) {
    for (const std::int64_t bytes : {1024, 65536, 1048576}) {
      input.run.records.push_back(
          {.probe = "all_reduce",
           .params = {{"bytes", bytes}, {"ranks", std::int64_t{2}}, {"algo", algo}},
           .backend = "mpi",
           .work = {.bytes = bytes},
           .rounds = {{.batch = 1, .time_s = {4e-6 + static_cast<double>(bytes) / 8e9}}}});
    }
  }
  const std::string page = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22");
  const std::string before_script = page.substr(0, page.find("<script"));
  EXPECT_THAT(before_script,
              HasSubstr("</svg>\n<figcaption>mpi ring: α = 4 us, β = 0.125 ns/B (8.000 GB/s), "
                        "residual 0.0 % over 3 sizes</figcaption></figure>"));
  EXPECT_GT(page.find("<figcaption>mpi ring"), page.find("<h2>all_reduce</h2>"))
      << "in its probe's section";
  EXPECT_THAT(before_script, HasSubstr("<figcaption>mpi &lt;b&gt;: α = 4 us"));
  EXPECT_THAT(before_script, HasSubstr("is a projection"));
  input.run.records.resize(3);
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22"),
              Not(HasSubstr("Time against size")));
}

TEST(Report, LoadsNothing) {
  const ReportInput inputs[] = {Input("m7i.large", 0.1)};
  const std::string page = ReportPage(inputs, Catalog::BuiltIn(), "2026-11-22");
  for (const char* loading : {"<link", "<img", "<iframe", "<script src"}) {
    EXPECT_THAT(page, Not(HasSubstr(loading))) << loading;
  }
  const std::string before_script = page.substr(0, page.find("<script>"));
  for (const char* loading : {"@import", "url("}) {
    EXPECT_THAT(before_script.substr(before_script.find("<style>")), Not(HasSubstr(loading)))
        << loading;
  }
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
}

// The texts between <TAG> and </TAG>.
std::vector<std::string> Elements(const std::string& page, const std::string& tag) {
  std::vector<std::string> elements;
  const std::string begin = "<" + tag + ">";
  for (auto at = page.find(begin); at != std::string::npos; at = page.find(begin, at + 1)) {
    const std::size_t from = at + begin.size();
    elements.push_back(page.substr(from, page.find("</" + tag + ">", from) - from));
  }
  return elements;
}

TEST(Report, ThePolicyAllowsItsOwnScriptsAndStylesByTheirHashesAndNothingElse) {
  ReportInput inputs[] = {Input("m7i.large", 0.1)};
  inputs[0].name = "</title><script>alert(1)</script><style>x</style>";
  const std::string page = ReportPage(inputs, Catalog::BuiltIn(), "2026-11-22");
  const std::string_view begin = "<meta http-equiv=\"Content-Security-Policy\" content=\"";
  const std::size_t at = page.find(begin) + begin.size();
  const std::string policy = page.substr(at, page.find('"', at) - at);
  std::string scripts;
  for (const std::string& script : Elements(page, "script")) {
    scripts += " 'sha256-" + Sha256Base64(script) + "'";
  }
  std::string styles;
  for (const std::string& style : Elements(page, "style")) {
    styles += " 'sha256-" + Sha256Base64(style) + "'";
  }
  EXPECT_EQ(Elements(page, "script").size(), 1U);  // the data is no script
  EXPECT_EQ(Elements(page, "style").size(), 1U);
  EXPECT_EQ(policy, "default-src 'none'; base-uri 'none'; form-action 'none'; style-src" + styles +
                        "; script-src" + scripts);
  EXPECT_LT(at, page.find("<style>")) << "it holds for what follows it";
  EXPECT_LT(at, page.find("<script"));
  // No attribute that is a script or a style, which hashes don't allow.
  EXPECT_FALSE(std::regex_search(page.substr(0, page.find("<script>")),
                                 std::regex(R"re(<[^>]* (on[a-z]+|style)=)re")));
}

TEST(Report, TheDataHoldsNoTextThatHarmsATerminalOrAPage) {
  ReportInput input = Input("a\u202Eb", 0.1);
  input.run.records[0].backend = "c\u009Bd";
  const std::string page = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22");
  EXPECT_THAT(page, Not(HasSubstr("\u202E")));
  EXPECT_THAT(page, Not(HasSubstr("\u009B")));
  EXPECT_THAT(page, AllOf(HasSubstr("\"name\":\"aws a?b\""), HasSubstr("<td>c?d</td>")));
}

// Whatever a file says ends up as text: neither a tag, nor the end of a script, nor an attribute.
TEST(Report, EverythingFromAFileIsEscaped) {
  const std::string evil =
      "</script><script>alert(1)</script>\"'<img src=x onerror=alert(2)>@@data@@";
  ReportInput input = Input("m7i.large", 0.1);
  assay::Run& run = input.run;
  input.name = evil;
  input.price.why = evil;
  input.price.offer->source = evil;
  input.price.offer->region = evil;
  run.started = evil;
  run.assay.version = evil;
  Node& node = run.nodes[0];
  node.identity.instance.value = evil;
  node.identity.instance.how = evil;
  node.cpu.model = evil;
  node.notes = {{.what = evil, .remedy = evil}};
  run.records[0].backend = evil;
  run.records[0].params["dtype"] = evil;
  Record skipped = {.probe = evil, .status = Status::kSkipped, .reason = evil, .remedy = evil};
  run.records.push_back(skipped);
  const ReportInput clean[] = {Input("m7i.large", 0.1)};
  const ReportInput inputs[] = {input};
  const std::string page = ReportPage(inputs, Catalog::BuiltIn(), "2026-11-22");
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_EQ(CountOf("</script>", page),
            CountOf("</script>", ReportPage(clean, Catalog::BuiltIn(), "2026-11-22")));
}

TEST(Report, AMachineWithoutAPriceSaysHowToGiveOne) {
  ReportInput input = Input("m7i.large", 0.1);
  input.price.offer.reset();
  input.price.why = "no price is known; give one with --price";
  const ReportInput inputs[] = {input};
  const std::string page = ReportPage(inputs, Catalog::BuiltIn(), "2026-11-22");
  EXPECT_THAT(page, HasSubstr("no price is known; give one with --price"));
  EXPECT_THAT(page, Not(HasSubstr("0.0000 USD")));
}

TEST(Report, AnAbsentHeadlineIsSaidAndNotZero) {
  const ReportInput inputs[] = {Input("m7i.large", 0.1)};
  EXPECT_THAT(ReportPage(inputs, Catalog::BuiltIn(), "2026-11-22"), HasSubstr("absent: "));
}

TEST(Report, AFigureThatMayBeACachesIsMarkedAndOneThatIsHasNoPrice) {
  ReportInput input = Input("m7i.large", 1);
  input.run.nodes[0].storage = {{.kind = "local"}};
  input.run.records = {{.probe = "storage",
                        .params = {{"block_bytes", std::int64_t{4096}}},
                        .backend = "io_uring",
                        .work = {.bytes = 4096, .ops = 1},
                        .facts = {{"direct", std::string("not_asked")}},
                        .storage = 0,
                        .rounds = {{.batch = 1, .time_s = {1e-4}}}}};
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29"),
              HasSubstr("cache?: through the page cache"));
  input.run.records[0].facts["direct"] = std::string("unproven");
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29"),
              HasSubstr("cache?: direct I/O is unproven"));
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29"), HasSubstr(" USD per TiB"));
  input.run.records[0].facts["direct"] = std::string("refuted");
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29"),
              HasSubstr("<td colspan=6>refuted"));
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29"),
              Not(HasSubstr(" USD per TiB")));
  input.run.records[0].facts["direct"] = std::string("proved");
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29"), Not(HasSubstr("cache?")));
  input.run.nodes[0].storage[0].kind = "memory";
  EXPECT_THAT(ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29"),
              HasSubstr("memory: the volume is in this"));
}

}  // namespace
}  // namespace assay
