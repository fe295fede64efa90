// Reading and showing a file takes time in proportion to its size, whatever shape a stranger gave
// it. Held by ratios: 32 times as much may take 80 times as long, where a step for each pair would
// take 1024 times as long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "results/file/json.h"
#include "results/file/nodes.h"
#include "results/file/run_file.h"
#include "results/show/json.h"
#include "results/show/report.h"
#include "results/show/tables.h"
#include "tests/sample_run.h"

namespace assay {
namespace {

constexpr int kSmall = 125;
constexpr int kTimes = 32;
constexpr double kMostTimes = 80;

// The lesser of two times that the processor worked, so that neighbours don't count.
double CpuSeconds(const std::function<void()>& work) {
  const auto now = [] {
    timespec time = {};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  double least = 1e9;
  for (int i = 0; i < 2; ++i) {
    const double begin = now();
    work();
    least = std::min(least, now() - begin);
  }
  return least;
}

Node NodeOf(int number) {
  Node node = SampleNode();
  node.identity.instance.value = "machine-" + std::to_string(number);
  node.notes = {{.what = "note " + std::to_string(number), .remedy = "none"}};
  return node;
}

Record RecordOf(int number) {
  return {.probe = "gemm",
          .params = {{"dtype", "bf16"}, {"m", std::int64_t{number}}, {"scope", "node"}},
          .backend = "fake",
          .device = {.kind = "gpu"},
          .work = {.flops = 1'000'000'000},
          .units = {{.device = 0}, {.device = 1}},
          .rounds = {{.batch = 1, .time_s = {0.1, 0.2}}, {.batch = 1, .time_s = {0.1}}}};
}

assay::Run RunOf(int records, const std::function<Record(int)>& record) {
  assay::Run run = SampleRun();
  run.nodes = {NodeOf(0)};
  run.ranks.clear();
  run.records.clear();
  for (int i = 0; i < records; ++i) run.records.push_back(record(i));
  return run;
}

struct Shape {
  std::string name = {};
  std::function<assay::Run(int size)> run = {};
};

std::vector<Shape> Shapes() {
  return {
      {"cases of one probe on all devices and on one alone",
       [](int size) {
         return RunOf(size, [](int i) {
           Record record = RecordOf(i / 3);
           if (i % 3 == 0) return record;
           record.params["scope"] = "device";
           record.units = {{.device = i % 3 - 1}};
           return record;
         });
       }},
      {"a probe for each case",
       [](int size) {
         return RunOf(size, [](int i) {
           Record record = RecordOf(i);
           record.probe = "probe-" + std::to_string(i);
           return record;
         });
       }},
      {"a collective of many sizes and algorithms",
       [](int size) {
         return RunOf(size, [](int i) {
           Record record = RecordOf(0);
           record.probe = "all_reduce";
           record.backend = "mpi";
           record.work = {.bytes = 1024 << (i % 5)};
           record.params = {{"bytes", std::int64_t{1024} << (i % 5)},
                            {"ranks", std::int64_t{2}},
                            {"algo", "algo-" + std::to_string(i / 5)}};
           return record;
         });
       }},
      {"cases that were skipped each for a reason of its own",
       [](int size) {
         return RunOf(size, [](int i) {
           Record record = RecordOf(i);
           record.status = Status::kSkipped;
           record.reason = "reason " + std::to_string(i);
           record.rounds.clear();
           return record;
         });
       }},
      {"one case again and again",
       [](int size) { return RunOf(size, [](int) { return RecordOf(0); }); }},
      {"nodes that are all unlike",
       [](int size) {
         assay::Run run = RunOf(1, RecordOf);
         run.nodes.clear();
         for (int i = 0; i < size; ++i) run.nodes.push_back(NodeOf(i));
         return run;
       }},
      {"many cases by sockets on many nodes of one type",
       [](int size) {
         assay::Run run = RunOf(size, [](int i) {
           Record record = RecordOf(i);
           record.probe = "all_reduce";
           record.backend = "fake";
           record.device.kind = "gpu";
           record.work = {.bytes = 1024};
           record.params = {{"bytes", std::int64_t{1024}},
                            {"ranks", std::int64_t{16}},
                            {"nodes", std::int64_t{2}},
                            {"algo", std::to_string(i)}};
           record.facts["sockets"] = true;
           return record;
         });
         run.nodes.assign(static_cast<std::size_t>(size), SampleNode());
         return run;
       }},
      {"a case with many params and facts",
       [](int size) {
         Record record = RecordOf(0);
         for (int i = 0; i < 8 * size; ++i) {
           record.params["param-" + std::to_string(i)] = std::int64_t{i};
           record.facts["fact-" + std::to_string(i)] = std::int64_t{i};
         }
         return RunOf(1, [&](int) { return record; });
       }},
  };
}

struct Use {
  std::string name = {};
  std::function<std::size_t(const assay::Run& run)> of = {};
};

std::vector<Use> Uses() {
  return {
      {"the page",
       [](const assay::Run& run) {
         const ReportInput input = {.name = "x.json", .run = run};
         return ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-29").size();
       }},
      {"the table",
       [](const assay::Run& run) { return RunTable(run, {}, Catalog::BuiltIn(), false).size(); }},
      {"the figures",
       [](const assay::Run& run) { return FiguresToJson(run, {}, Catalog::BuiltIn()).size(); }},
      {"reading it",
       [](const assay::Run& run) { return RunFromJson(RunToJson(run), "x.json").records.size(); }}};
}

void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

class LinearOf : public ::testing::TestWithParam<Shape> {};

TEST_P(LinearOf, EveryUseOfAFileTakesTimeInProportionToItsSize) {
  const assay::Run small = GetParam().run(kSmall);
  const assay::Run large = GetParam().run(kSmall * kTimes);
  for (const Use& use : Uses()) {
    std::size_t made = 0;
    const double small_s = CpuSeconds([&] { made = use.of(small); });
    const double large_s = CpuSeconds([&] { made = use.of(large); });
    EXPECT_GT(made, 0U);
    // Under a millisecond the clock tells little.
    EXPECT_LT(large_s, kMostTimes * std::max(small_s, 0.001))
        << use.name << " of " << GetParam().name << ": " << small_s << " s, then " << large_s
        << " s";
  }
}

// "cases of one probe" -> "cases_of_one_probe".
std::string TestName(const ::testing::TestParamInfo<Shape>& shape) {
  std::string name = shape.param.name;
  for (char& c : name) c = c >= 'a' && c <= 'z' ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, LinearOf, ::testing::ValuesIn(Shapes()), TestName);

TEST(Linear, GatheringWhatNodesSayTakesTimeInProportionToThem) {
  std::vector<Node> nodes(4 * kSmall * kTimes);
  for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i].node_id = std::to_string(i);
  const auto ids = [](const Node& node) { return std::vector{node.node_id}; };
  const std::span<const Node> all = nodes;
  const double small_s = CpuSeconds([&] { Gather(all.first(4 * kSmall), ids); });
  const double large_s = CpuSeconds([&] { Gather(all, ids); });
  EXPECT_LT(large_s, kMostTimes * std::max(small_s, 0.001));
}

TEST(Linear, AJournalTakesTimeInProportionToItsLines) {
  const auto journal = [](int lines) {
    std::string text = RunToJson(RunOf(0, RecordOf));
    for (int i = 0; i < lines; ++i) {
      Record record = RecordOf(i % 7 == 0 ? 0 : i);
      record.units.clear();
      text += RecordToJson(record) + "\n";
    }
    return text;
  };
  const std::string small = journal(kSmall);
  const std::string large = journal(kSmall * kTimes);
  const double small_s = CpuSeconds([&] { RunFromJournal(small, "j"); });
  const double large_s = CpuSeconds([&] { RunFromJournal(large, "j"); });
  EXPECT_LT(large_s, kMostTimes * std::max(small_s, 0.001));
}

}  // namespace
}  // namespace assay
