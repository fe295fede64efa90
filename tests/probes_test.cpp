// The table of probes: held to what METRICS.md says, and enough for a probe that nobody knew
// before.
#include "results/figures/probes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/figures/compare.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/health.h"
#include "results/figures/labels.h"
#include "results/figures/model.h"
#include "results/file/fields.h"
#include "results/show/json.h"
#include "results/show/report.h"
#include "results/show/tables.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

std::string TextOfFile(const std::filesystem::path& path) {
  std::ifstream stream(path);
  return (std::stringstream() << stream.rdbuf()).str();
}

std::string Code(std::string_view text) { return fmt::format("`{}`", text); }

std::string Words(const ParamIs& condition) {
  std::vector<std::string> values;
  for (const std::string& value : condition.values) values.push_back(Code(value));
  return fmt::format("{} is {}", Code(condition.param), fmt::join(values, " or "));
}

std::string Factor(BusFactor factor) {
  switch (factor) {
    case BusFactor::kNone:
      return "none";
    case BusFactor::kWhole:
      return "1";
    case BusFactor::kParts:
      return "(n − 1) ÷ n";
    case BusFactor::kTwice:
      break;
  }
  return "2 (n − 1) ÷ n";
}

std::string Dollars(const ProbeFacts& probe) {
  switch (probe.bytes_cost) {
    case BytesCost::kRate:
      return "`usd_per_tbps_hour`";
    case BytesCost::kMoved:
      return "`usd_per_tb_moved`";
    case BytesCost::kReduced:
      return "`usd_per_tb_reduced`";
    case BytesCost::kVolume:
      break;
  }
  return fmt::format("`usd_per_tib_written_node` where {}, else `usd_per_tib_read_node`",
                     Words(probe.writes));
}

// A row as METRICS.md has it.
std::string Row(const std::string& name, const ProbeFacts& probe) {
  std::string counts;
  if (probe.bytes_where) counts = "`bytes` where " + Words(*probe.bytes_where);
  if (probe.ops_where) {
    counts =
        fmt::format("`ops` where {} < {}", Code(probe.ops_where->param), probe.ops_where->limit);
  }
  std::vector<std::string> rest;
  if (probe.has_peak) rest.emplace_back("of peak");
  if (probe.is_headline) rest.emplace_back("headline");
  if (!probe.beside.empty()) rest.push_back("beside " + Code(probe.beside));
  if (probe.burst_is_paid) rest.emplace_back("paid in bursts");
  if (!probe.alike_in.empty()) rest.push_back("alike in " + Code(probe.alike_in));
  for (const LaterParam& later : LaterParams()) {
    if (later.probe != probe.name) continue;
    rest.push_back(fmt::format("before: {} {}", Code(later.param), Code(ToText(later.value))));
  }
  const std::string row = fmt::format(
      "| {} | {} | {:g} % | {} | {} | {} | {} |", name, ToText(probe.probe_class),
      probe.margin * 100, counts, Factor(probe.bus_factor), Dollars(probe), fmt::join(rest, ", "));
  std::string tidy;
  for (const char c : row) {
    if (c != ' ' || !tidy.ends_with(' ')) tidy += c;
  }
  return tidy;
}

TEST(Probes, TheTableOfMetricsIsThisOne) {
  std::string table =
      "| probe | class | m | counts, else as usual | f | dollars of bytes | and |\n";
  table += "|---|---|---|---|---|---|---|\n";
  for (const ProbeFacts& probe : KnownProbes()) table += Row(Code(probe.name), probe) + '\n';
  table += Row("any other", {}) + "\n\n";
  const std::filesystem::path source = ASSAY_SOURCE_DIR;
  EXPECT_THAT(TextOfFile(source / "results/METRICS.md"), HasSubstr(table));
}

TEST(Probes, EachHasOneRow) {
  std::set<std::string> names;
  for (const ProbeFacts& probe : KnownProbes()) {
    EXPECT_TRUE(names.insert(probe.name).second) << probe.name;
    EXPECT_EQ(&FindProbe(probe.name), &probe);
  }
}

// What runs beside a probe has a row and a bus factor, or its figures would be silently absent.
TEST(Probes, WhatOneRowSaysOfAnotherIsThere) {
  for (const ProbeFacts& probe : KnownProbes()) {
    if (probe.beside.empty()) continue;
    EXPECT_NE(FindProbe(probe.beside).bus_factor, BusFactor::kNone) << probe.name;
  }
}

TEST(Probes, EveryLabelCanBeFilled) {
  for (const ProbeFacts& probe : KnownProbes()) {
    // Throws where a piece of the label is of no form that is known.
    EXPECT_EQ(CaseLabel(probe.name, {}), "") << probe.name;
    EXPECT_EQ(std::ranges::count(probe.label, '{'), std::ranges::count(probe.label, '}'));
  }
}

// --- A probe that nobody knew before: what follows is all that it takes ---

// Rows of a table are sent to and fro between ranks; half of them cold.
ProbeFacts Shuffle() {
  return {.name = "shuffle",
          .label = "{dtype} {table_bytes:size} by {ranks}",
          .usual = {{"nodes", std::int64_t{1}}, {"route", "direct"}},
          .usual_where = {{.where = {.param = "dtype", .values = {"int8"}},
                           .param = "route",
                           .value = "packed"}},
          .probe_class = ProbeClass::kNetwork,
          .margin = 0.04,
          .bus_factor = BusFactor::kTwice,
          .steps = StepCount::kEachOther,
          .bytes_cost = BytesCost::kReduced,
          .burst_is_paid = true,
          .alike_in = "path"};
}

// Keys are sorted on one device: where they are of text, what counts is the bytes.
ProbeFacts Sorting() {
  return {.name = "sorting",
          .label = "{keys} keys",
          .margin = 0.02,
          .bytes_where = ParamIs{.param = "of", .values = {"text", "paths"}},
          .ops_where = ParamBelow{.param = "keys", .limit = 1000},
          .has_peak = true,
          .is_headline = true,
          .shape = {"keys"}};
}

std::vector<Visit> Rounds(double time_s) {
  std::vector<Visit> rounds;
  for (const double noise : {0.99, 1.0, 1.01}) {
    rounds.push_back({.batch = 1, .time_s = {time_s * noise}});
  }
  return rounds;
}

Record ShuffleOf(std::int64_t bytes, double time_s, const std::string& path = "rdma") {
  return {.probe = "shuffle",
          .params = {{"dtype", "f32"},
                     {"table_bytes", bytes},
                     {"bytes", bytes},
                     {"ranks", std::int64_t{4}},
                     {"nodes", std::int64_t{1}},
                     {"route", "direct"}},
          .backend = "mpi",
          .work = {.bytes = bytes, .ops = 9, .formula = "shuffle/n"},
          .facts = {{"path", path}},
          .rounds = Rounds(time_s)};
}

Record SortingOf(std::int64_t keys, const std::string& of) {
  return {.probe = "sorting",
          .params = {{"keys", keys}, {"of", of}},
          .backend = "native",
          .work = {.flops = 4'000'000, .bytes = 8'000'000, .ops = 2'000'000},
          .rounds = Rounds(1e-3)};
}

class NewProbe : public ::testing::Test {
 protected:
  static ReportInput InputOf(std::vector<Record> records) {
    Node node = {.node_id = "n1"};
    node.cpu = {.cores_present = 2, .cores_used = 2};
    return {.name = "a.json",
            .run = {.id = "r1", .rounds = 3, .nodes = {node}, .records = std::move(records)},
            .price = {.offer = Offer{.usd_per_hour = 3.6}}};
  }
  static Side SideOf(const ReportInput& input, const std::string& id) {
    Side side = {.runs = {input.run}, .names = {id}, .price = input.price};
    side.runs[0].id = id;
    return side;
  }

  const MoreProbes rows_{{Shuffle(), Sorting()}};
};

TEST_F(NewProbe, HasItsLabel) {
  EXPECT_EQ(CaseLabel("shuffle", ShuffleOf(1 << 20, 1).params), "f32 1 MiB by 4, bytes 1048576");
  Params params = ShuffleOf(1 << 20, 1).params;
  params["route"] = "packed";
  EXPECT_THAT(CaseLabel("shuffle", params), HasSubstr(", route packed"));
  params["dtype"] = "int8";
  EXPECT_THAT(CaseLabel("shuffle", params), Not(HasSubstr("route")));
}

TEST_F(NewProbe, IsCountedInItsUnit) {
  EXPECT_EQ(Speed(SortingOf(5000, "numbers"))->unit, "FLOP/s");
  EXPECT_EQ(Speed(SortingOf(5000, "text"))->unit, "B/s");
  EXPECT_DOUBLE_EQ(Speed(SortingOf(5000, "paths"))->value, 8e9);
  Record few = SortingOf(999, "numbers");
  few.work.flops.reset();
  EXPECT_EQ(Speed(few)->unit, "IOPS");
  few.params["keys"] = std::int64_t{1000};
  EXPECT_EQ(Speed(few)->unit, "B/s");
}

TEST_F(NewProbe, HasItsBusBandwidthAndCostModel) {
  const Record record = ShuffleOf(1'000'000, 1e-3);
  EXPECT_DOUBLE_EQ(*BusBandwidth(record), 1e9 * 2 * 3 / 4);
  EXPECT_DOUBLE_EQ(StepsOf("shuffle", Steps::kTree, 16), 15);
  const std::vector<Record> sweep = {ShuffleOf(1000, 2e-6), ShuffleOf(2000, 3e-6),
                                     ShuffleOf(3000, 4e-6)};
  EXPECT_THAT(FitSweeps(sweep), IsEmpty());  // table_bytes differs, too
}

TEST_F(NewProbe, CostsWhatItsRowSays) {
  const std::vector<Cost> costs = Costs(ShuffleOf(1'000'000, 1e-3), 3.6);
  ASSERT_EQ(costs.size(), 1U);
  EXPECT_EQ(costs[0].name, "usd_per_tb_reduced");
  EXPECT_EQ(costs[0].label, "$ per TB reduced (4 ranks, 1 node)");
  EXPECT_DOUBLE_EQ(costs[0].usd, 1.0);
  EXPECT_EQ(Costs(SortingOf(5000, "text"), 1)[0].name, "usd_per_tbps_hour");
  EXPECT_EQ(Costs(SortingOf(5000, "numbers"), 1)[0].name, "usd_per_tflops_hour");
}

TEST_F(NewProbe, IsComparedWithItsMarginAndItsClassesNoise) {
  const ReportInput a = InputOf({ShuffleOf(1000, 1e-3), SortingOf(5000, "text")});
  const Comparison comparison = Compare(SideOf(a, "r1"), SideOf(a, "r2"), {});
  ASSERT_EQ(comparison.rows.size(), 2U);
  EXPECT_EQ(comparison.rows[0].probe, "shuffle");
  EXPECT_EQ(comparison.rows[0].margin, 0.04);
  EXPECT_THAT(comparison.rows[0].between_runs, HasSubstr("network 10 %"));
  EXPECT_EQ(comparison.rows[1].margin, 0.02);
  EXPECT_THAT(comparison.rows[1].between_runs, HasSubstr("compute 3 %"));
  EXPECT_THAT(ComparisonTable(comparison, false, ""), HasSubstr("f32 1000 B by 4"));
}

TEST_F(NewProbe, IsNotComparedWhereItsFactDiffers) {
  const ReportInput a = InputOf({ShuffleOf(1000, 1e-3, "rdma"), SortingOf(5000, "text")});
  const ReportInput b = InputOf({ShuffleOf(1000, 1e-3, "tcp"), SortingOf(5000, "text")});
  const Comparison comparison = Compare(SideOf(a, "r1"), SideOf(b, "r2"), {});
  EXPECT_EQ(comparison.rows.size(), 1U);
  EXPECT_THAT(comparison.notes, Contains(HasSubstr("is not compared: path is rdma against tcp")));
  EXPECT_THAT(Rank({SideOf(a, "r1"), SideOf(b, "r2"), SideOf(a, "r3")}, {}).notes,
              Contains(HasSubstr("path differs between the files")));
}

TEST_F(NewProbe, IsInTheTableAndInThePage) {
  const ReportInput input = InputOf({ShuffleOf(1'000'000, 1e-3), SortingOf(5000, "text")});
  EXPECT_THAT(RunTable(input.run, input.price, Catalog::BuiltIn(), false, ""),
              AllOf(HasSubstr("f32 1000000 B by 4"), HasSubstr("1.000 GB/s"),
                    HasSubstr("1.000 USD per TB reduced"), HasSubstr("5000 keys")));
  const std::string figures = FiguresToJson(input.run, input.price, Catalog::BuiltIn());
  EXPECT_THAT(figures, AllOf(HasSubstr(R"("probe":"shuffle","case":"f32 1000000 B by 4)"),
                             HasSubstr(R"("busbw":1500000000.0)"),
                             HasSubstr(R"("name":"usd_per_tb_reduced")"),
                             HasSubstr(R"("case":"5000 keys, of text","is_headline":true)")));
  const std::string page = ReportPage(std::span(&input, 1), Catalog::BuiltIn(), "2026-11-22");
  EXPECT_THAT(page, AllOf(HasSubstr("<h2>shuffle</h2>"), HasSubstr("5000 keys, of text"),
                          HasSubstr("1.000 GB/s")));
}

TEST_F(NewProbe, IsHeldAgainstDataSheetsAndPaidForWhatItSustains) {
  Record sorting = SortingOf(5000, "text");
  Record shuffle = ShuffleOf(1'000'000, 1e-3);
  for (Record* record : {&sorting, &shuffle}) {
    record->backend = "any";
    record->device.kind = "gpu";
    record->units = {{.rank = 0, .node = 0, .device = 0}};
  }
  OneRun run = InputOf({sorting, shuffle}).run;
  run.suite.name = "standard";
  run.nodes[0].accelerators = {{.name = "A1", .present = 1, .visible = 1, .used = 1}};
  const std::vector<DeviceFacts> devices = {
      {.name = "A1", .match = {"A1"}, .memory_bytes_per_s = 16e9}};
  EXPECT_DOUBLE_EQ(OfPeakOf(run, sorting, devices).value().of_spec, 0.5);
  EXPECT_FALSE(OfPeakOf(run, shuffle, devices));
  EXPECT_EQ(WhyUnpriced(run, sorting, nullptr), "a burst, and a node is paid for what it sustains");
  EXPECT_EQ(WhyUnpriced(run, shuffle, nullptr), "");
}

TEST_F(NewProbe, CanBeMeasuredBesideACollective) {
  const MoreProbes step(std::vector<ProbeFacts>{{.name = "step", .beside = "shuffle"}});
  Record record = {.probe = "step",
                   .params = {{"ranks", std::int64_t{4}}},
                   .backend = "mpi",
                   .work = {.flops = 1000, .bytes = 1000},
                   .rounds = {{.batch = 1,
                               .time_s = {3},
                               .phase_time_s = {{"compute_alone", {2}},
                                                {"compute", {2.5}},
                                                {"communicate_alone", {1}},
                                                {"communicate", {2}}}}}};
  EXPECT_DOUBLE_EQ(OverlapOf(record).value().communicate_alone, 1500);
  record.probe = "sorting";
  EXPECT_EQ(OverlapOf(record), std::nullopt);
}

TEST_F(NewProbe, CanBeOfAVolume) {
  const MoreProbes log(
      std::vector<ProbeFacts>{{.name = "log",
                               .probe_class = ProbeClass::kStorage,
                               .bytes_cost = BytesCost::kVolume,
                               .writes = {.param = "mode", .values = {"append"}}}});
  Record record = {.probe = "log",
                   .params = {{"mode", "append"}},
                   .backend = "psync",
                   .work = {.bytes = 1000},
                   .facts = {{"direct", "refuted"}, {"direct_how", "a loop device"}},
                   .rounds = Rounds(1)};
  EXPECT_EQ(Costs(record, 1)[0].name, "usd_per_tib_written_node");
  EXPECT_EQ(CachedOf(InputOf({record}).run, record).value().mark, "refuted");
  record.params["mode"] = "scan";
  EXPECT_EQ(Costs(record, 1)[0].name, "usd_per_tib_read_node");
}

// What others measured is refused unless it tells the whole shape that it holds for.
TEST_F(NewProbe, IsHeldAgainstWhatOthersMeasured) {
  const std::vector<DeviceFacts> devices = {{.name = "A1", .match = {"A1"}}};
  const auto parse = [&](const std::string& params) {
    return ParseExpectedOfDevices("device,probe,params,speed,unit,setting,source\nA1,sorting," +
                                      params + ",8,GB/s,its own,https://example.com\n",
                                  "test");
  };
  EXPECT_EQ(parse("keys=5000").size(), 1U);
  EXPECT_THROW(parse("of=text"), Error);
}

TEST_F(NewProbe, IsGoneWithItsRow) {
  {
    const MoreProbes others({{.name = "other", .margin = 0.5}});
    EXPECT_EQ(FindProbe("other").margin, 0.5);
    EXPECT_EQ(FindProbe("shuffle").margin, 0.04);
  }
  EXPECT_EQ(FindProbe("other").margin, 0.01);
}

// --- No other place ---

std::vector<std::pair<std::string, std::string>> Sources() {
  namespace fs = std::filesystem;
  const fs::path root = ASSAY_SOURCE_DIR;
  std::vector<std::pair<std::string, std::string>> sources;
  for (const std::string top : {"results", "runner", "kernels", "collectives", "io"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cpp" && extension != ".html") continue;
      sources.emplace_back(fs::relative(entry.path(), root), TextOfFile(entry.path()));
    }
  }
  sources.emplace_back("scripts/recompute.py", TextOfFile(root / "scripts/recompute.py"));
  return sources;
}

// "probe == "gemm"", `record["probe"] in ("gemm", …)`, "probe.startsWith('gemm')".
bool ComparesAProbeWithAName(const std::string& text) {
  static const std::regex comparison(
      R"re((probe|operation)("\])?\s*(==|!=|in|not in|\.startsWith\(|\.starts_with\()\s*\(?\{?["'])re");
  return std::regex_search(text, comparison);
}

TEST(Probes, NoSourceDecidesByAProbesName) {
  EXPECT_TRUE(ComparesAProbeWithAName(R"(if (record.probe == "storage") return 0.05;)"));
  EXPECT_TRUE(ComparesAProbeWithAName(R"(if record["probe"] in ("gemm", "peak"):)"));
  EXPECT_TRUE(ComparesAProbeWithAName(R"(c.probe.startsWith("headline"))"));
  EXPECT_FALSE(ComparesAProbeWithAName(R"(record.probe == other.probe)"));
  for (const auto& [file, text] : Sources()) {
    EXPECT_FALSE(ComparesAProbeWithAName(text)) << file;
  }
}

TEST(Probes, NoProgramAddsARow) {
  for (const auto& [file, text] : Sources()) {
    if (file.starts_with("results/figures/probes.")) continue;
    EXPECT_THAT(text, Not(HasSubstr("MoreProbes"))) << file;
  }
}

}  // namespace
}  // namespace assay
