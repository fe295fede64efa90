// scripts/recompute.py, written from METRICS.md alone, against what the program prints: two
// strangers, one number.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "results/figures/compare.h"
#include "results/figures/noise.h"
#include "results/figures/run_groups.h"
#include "results/file/json.h"
#include "results/show/json.h"

namespace assay {
namespace {

// Within a test, Run is a member of testing::Test.
using OneRun = Run;

class Recompute : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("assay-recompute-" + std::to_string(std::random_device{}()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path) << text;
    return path.string();
  }

  // The exit status of the script with these arguments.
  int Script(const std::string& arguments) {
    const std::string log = (folder_ / "log").string();
    const int status = std::system(
        ("python3 " ASSAY_SOURCE_DIR "/scripts/recompute.py " + arguments + " >" + log + " 2>&1")
            .c_str());
    std::ifstream file(log);
    said_.assign(std::istreambuf_iterator<char>(file), {});
    return WEXITSTATUS(status);
  }

  std::filesystem::path folder_;
  std::string said_;
};

void Replace(std::string& text, std::string_view old, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(old, at)) != std::string::npos; at += with.size()) {
    text.replace(at, old.size(), with);
  }
}

std::mt19937_64& Random() {
  static std::mt19937_64 random(7);
  return random;
}

std::vector<Visit> Visits(int rounds, double time) {
  std::normal_distribution<double> noise;
  std::vector<Visit> visits;
  for (int r = 0; r < rounds; ++r) {
    Visit visit = {.start_s = 3.7 * r, .order = r, .batch = 3 + r};
    const double round = time * std::exp(0.01 * noise(Random()));
    for (int i = 0; i < 10 + r; ++i) {
      visit.time_s.push_back(round * std::exp(0.02 * noise(Random())));
    }
    visits.push_back(std::move(visit));
  }
  return visits;
}

// A run with a case of every kind that there are figures of.
OneRun Everything(double speed, const std::string& node_id, int rounds) {
  Record gemm = {.probe = "gemm",
                 .params = {{"dtype", std::string("bf16")},
                            {"m", std::int64_t{4096}},
                            {"scope", std::string("node")}},
                 .backend = "onednn",
                 .work = {.flops = 137'438'953'472},
                 .units = {Unit{.device = 0}, Unit{.device = 1}},
                 .here = Here{.probe = "peak",
                              .params = {{"dtype", std::string("bf16")}},
                              .work = {.flops = 1'000'000'000}},
                 .rounds = Visits(rounds, 0.1 / speed)};
  for (Visit& visit : gemm.rounds) visit.here_time_s = {0.0006, 0.00061};
  Record alone = gemm;
  alone.params["scope"] = std::string("device");
  alone.units = {Unit{}};
  alone.here.reset();
  Record int8 = alone;
  int8.params["dtype"] = std::string("int8");
  int8.rounds[0].telemetry = {
      {.at_s = {1}, .power_w = {20.25}, .energy_j = 3, .events = {"hw_thermal"}}};
  Record headline = gemm;
  headline.probe = "headline";
  headline.params = {{"name", std::string("bf16-cpu/2")},
                     {"algo", std::string("default")},
                     {"regime", std::string("sustained")}};
  headline.verify = Verification{.checked = 64};
  for (Visit& visit : headline.rounds) {
    visit.sustained = Sustained{.least_s = 60, .counted_s = 1, .ended = "steady"};
    visit.telemetry = {{.unit = 0, .at_s = {0.5, 0.9, 1.7}, .energy_j = 600 + 7.0 * visit.order},
                       {.unit = 1, .power_w = {500, 510, 490.5}, .events = {"sw_power_cap"}}};
  }
  const Record memory = {.probe = "memory",
                         .params = {{"pattern", std::string("triad")}},
                         .backend = "native",
                         .work = {.bytes = 3'000'000'000},
                         .rounds = Visits(20, 0.05 / speed)};
  const Record all_reduce = {.probe = "all_reduce",
                             .params = {{"bytes", std::int64_t{1'048'576}},
                                        {"ranks", std::int64_t{4}},
                                        {"nodes", std::int64_t{1}}},
                             .backend = "mpi",
                             .work = {.bytes = 1'048'576},
                             .rounds = Visits(rounds, 0.0002 / speed)};
  Record overlap = {.probe = "overlap",
                    .params = {{"bytes", std::int64_t{1'048'576}}, {"ranks", std::int64_t{4}}},
                    .backend = "mpi",
                    .work = {.flops = 1'000'000'000, .bytes = 1'048'576},
                    .rounds = Visits(rounds, 0.03 / speed)};
  for (Visit& visit : overlap.rounds) {
    for (const auto& [part, share] :
         {std::pair("compute_alone", 0.7), std::pair("communicate_alone", 0.6),
          std::pair("compute", 0.9), std::pair("communicate", 1.0)}) {
      std::vector<double>& times = visit.phase_time_s[part];
      for (const double time : visit.time_s) times.push_back(time * share + 1e-4);
    }
  }
  Record write = {.probe = "storage",
                  .params = {{"pattern", std::string("randwrite")},
                             {"block_bytes", std::int64_t{4096}},
                             {"direct", true},
                             {"cache", std::string("cold")}},
                  .backend = "io_uring",
                  .work = {.bytes = 4096, .ops = 1},
                  .facts = {{"direct", std::string("proved")}},
                  .rounds = Visits(rounds, 1e-5 / speed)};
  // Counted in spans, of which the first rounds are a burst where there are enough of them.
  for (std::size_t round = 0; round < write.rounds.size(); ++round) {
    Visit& visit = write.rounds[round];
    visit.batch = 1;
    visit.time_s.clear();
    for (int i = 0; i < 8; ++i) {
      const double pace = round < write.rounds.size() / 2 ? 4 : 1;
      visit.iterations.push_back(static_cast<std::int64_t>(1e5 * pace) + 37 * i);
      visit.time_s.push_back(1e-5 / speed / pace * (1 + 0.01 * ((3 * i + 1) % 7)));
      visit.stable_time_s.push_back(visit.time_s.back() * 1.5);
    }
  }
  // A CPU's time was taken away in slices, so that the median is of neither.
  Record stalling = gemm;
  stalling.params["m"] = std::int64_t{48};
  for (Visit& visit : stalling.rounds) {
    visit.time_s.clear();
    for (int i = 0; i < 40; ++i)
      visit.time_s.push_back((i % 4 == 3 ? 0.08 : 0.01) / speed + 1e-6 * i);
  }
  Record quota = stalling;
  quota.params["m"] = std::int64_t{49};
  quota.facts["paced"] = std::string("CPU quota");
  Record failed = memory;
  failed.params["pattern"] = std::string("copy");
  failed.status = Status::kFailed;
  failed.reason = "out of memory";
  failed.rounds.clear();
  Node node = {.node_id = node_id};
  node.identity.instance.value = "m7i.large";
  node.cpu = {.cores_present = 2, .cores_used = 2};
  static int runs = 0;
  return {.id = "0d3f6a52-" + std::to_string(++runs),
          .started = "2026-11-21T22:40:13Z",
          .rounds = rounds,
          .nodes = {node},
          .records = {gemm, alone, alone, int8, headline, memory, all_reduce, overlap, write,
                      stalling, quota, failed}};
}

Chosen PriceAt(double usd_per_hour) {
  return {.offer = Offer{.provider = "aws", .purchase = "spot", .usd_per_hour = usd_per_hour}};
}

TEST_F(Recompute, AgreesOnWireAndStandingOfACollectiveBetweenNodes) {
  OneRun run = Everything(1, "n1", 5);
  run.nodes[0].identity.provider.value = "aws";
  run.nodes[0].identity.instance.value = "p5.48xlarge";
  run.records.clear();
  // 487 GB/s is above the network of two nodes, 300 below what others measured, 480 of one has no
  // row, and 600 is more than the messages that were counted can have given.
  for (const auto& [nodes, gbs] :
       {std::pair(2, 487), std::pair(2, 300), std::pair(1, 480), std::pair(2, 600)}) {
    const std::int64_t ranks = 8 * nodes;
    const double seconds =
        2.0 * static_cast<double>(ranks - 1) / static_cast<double>(ranks) * (1 << 30) / (gbs * 1e9);
    run.records.push_back(
        {.probe = "all_reduce",
         .params = {{"ranks", ranks}, {"nodes", std::int64_t{nodes}}},
         .backend = "fake",
         .device = {.kind = "gpu"},
         .work = {.bytes = 1 << 30},
         .facts = {{"algorithm", std::string("ring")}, {"wire_bytes", std::int64_t{3} << 29}},
         .rounds = Visits(5, seconds)});
  }
  // Without and with NVLink between nodes, at rates on both sides of what the network carries.
  for (const char* operation : {"all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce",
                                "alltoall", "alltoallv", "gather", "scatter", "sendrecv"}) {
    for (const double seconds : {3e-3, 6e-3, 3e-2}) {
      for (const bool mnnvl : {false, true}) {
        run.records.push_back({.probe = operation,
                               .params = {{"ranks", std::int64_t{24}}, {"nodes", std::int64_t{3}}},
                               .backend = "nccl",
                               .device = {.kind = "gpu"},
                               .work = {.bytes = std::int64_t{1} << 31},
                               .facts = {{"mnnvl", mnnvl}},
                               .rounds = Visits(5, seconds)});
      }
    }
  }
  // Every operation, on several nodes and on one, with its algorithm told and not.
  for (const char* operation : {"all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce",
                                "alltoall", "alltoallv", "gather", "scatter", "sendrecv"}) {
    for (const std::int64_t nodes : {1, 2}) {
      Record record = {.probe = operation,
                       .params = {{"ranks", std::int64_t{4}}, {"nodes", nodes}},
                       .backend = "native-mpi",
                       .work = {.bytes = 1 << 20},
                       .facts = {{"algorithm", std::string("any")},
                                 {"wire_bytes", std::int64_t{786432} * nodes}},
                       .rounds = Visits(5, 1e-3)};
      run.records.push_back(record);
      record.backend = "mpi";
      record.facts.clear();
      run.records.push_back(record);
    }
  }
  for (const char* mode : {"pingpong", "stream", "bidirectional"}) {
    Record record = {.probe = "fabric",
                     .params = {{"pattern", std::string(mode)}, {"ranks", std::int64_t{2}}},
                     .backend = "mpi",
                     .work = {.bytes = 1 << 20, .ops = 2},
                     .rounds = Visits(5, 1e-3)};
    if (std::string(mode) == "pingpong") record.work.bytes.reset();
    run.records.push_back(record);
  }
  run.records.push_back({.probe = "barrier",
                         .params = {{"ranks", std::int64_t{4}}},
                         .backend = "mpi",
                         .work = {.ops = 1},
                         .rounds = Visits(5, 1e-5)});
  // The collectives went by sockets beside EFA, on several nodes and on one.
  for (const std::int64_t nodes : {1, 2}) {
    run.records.push_back({.probe = "reduce",
                           .params = {{"ranks", std::int64_t{3}}, {"nodes", nodes}},
                           .backend = "ofi",
                           .work = {.bytes = 1 << 20},
                           .facts = {{"sockets", true}},
                           .rounds = Visits(5, 1e-3)});
  }
  const std::string file = Write("run.json", RunToJson(run));
  const std::string figures = FiguresToJson(run, PriceAt(0.1), Catalog::BuiltIn());
  EXPECT_EQ(Script(Write("figures.json", figures) + " " + file), 0) << said_;
  EXPECT_NE(figures.find("\"unpriced\":\"by TCP sockets"), std::string::npos);
  EXPECT_NE(figures.find("\"standing\":\"above the bound\""), std::string::npos);
  EXPECT_NE(figures.find("\"standing\":\"suspicious\""), std::string::npos);
  EXPECT_NE(figures.find("\"standing\":\"low\""), std::string::npos);
  EXPECT_NE(figures.find("\"wire_model\":\"ring\""), std::string::npos);
  std::string changed = figures;
  changed.replace(changed.find("above the bound"), 15, "ok");
  EXPECT_EQ(Script(Write("changed.json", changed) + " " + file), 1);
}

TEST_F(Recompute, AgreesOnPowerAndPeakOfAGpu) {
  OneRun run = Everything(1, "n1", 5);
  run.nodes[0].accelerators = {{.present = 8, .visible = 8}};
  run.records.clear();
  for (const char* dtype : {"bf16", "int8", "fp8_e4m3", "fp8_e5m2_e4m3", "mxfp8", "nvfp4"}) {
    Record gemm = {.probe = "gemm",
                   .params = {{"dtype", std::string(dtype)}},
                   .backend = "fake",
                   .device = {.kind = "gpu"},
                   .work = {.flops = 1'099'511'627'776},
                   .units = {Unit{}},
                   .rounds = Visits(3, 0.0016)};
    for (Visit& visit : gemm.rounds) {
      visit.telemetry = {{.at_s = {0.5, 1.75},
                          .sm_mhz = {1980, 1510.5 + visit.order},
                          .power_w = {300, 699},
                          .energy_j = 800.5 + visit.order,
                          .events = {"sw_power_cap"}}};
    }
    run.records.push_back(gemm);
  }
  Record memory = run.records[0];
  memory.probe = "memory";
  memory.params = {{"pattern", std::string("read")}};
  memory.backend = "fake";
  memory.work = {.bytes = 4'800'000'000};
  run.records.push_back(memory);
  memory.facts["in_cache"] = true;
  run.records.push_back(memory);
  Record decode = run.records[0];
  decode.probe = "attention";
  decode.params["phase"] = std::string("decode");
  decode.backend = "fake";
  decode.work.bytes = 3'200'000'000;
  run.records.push_back(decode);
  std::string file;
  std::string figures;
  // The first has a peak in fp4, the second a clock at which its peaks are told.
  for (const char* gpu : {"NVIDIA B200", "NVIDIA H100 80GB HBM3"}) {
    run.nodes[0].accelerators[0].name = gpu;
    file = Write("run.json", RunToJson(run));
    figures = FiguresToJson(run, PriceAt(0.1), Catalog::BuiltIn());
    EXPECT_EQ(Script(Write("figures.json", figures) + " " + file), 0) << said_;
  }
  EXPECT_NE(figures.find("\"of_clock\":0."), std::string::npos) << figures;
  EXPECT_NE(figures.find("\"held_back\":\"power-capped\""), std::string::npos);
  std::string changed = figures;
  for (const char* figure :
       {"\"of_spec\":", "\"of_clock\":", "\"clock_mhz\":", "\"watts\":", "\"joules_per_tflop\":"}) {
    const std::size_t digit = changed.find_first_of("123456789", changed.find(figure));
    changed[digit] = changed[digit] == '5' ? '6' : '5';
  }
  EXPECT_EQ(Script(Write("changed.json", changed) + " " + file), 1);
  EXPECT_NE(said_.find(" 5 differ"), std::string::npos) << said_;
}

TEST_F(Recompute, AgreesOnTheHealthOfEachDevice) {
  OneRun run = Everything(1, "n1", 3);
  run.nodes[0].accelerators = {{.name = "NVIDIA H100 80GB HBM3", .present = 8, .visible = 8}};
  run.records.clear();
  // The last is of the shape that others measured.
  for (const std::int64_t m : {64, 1024, 2048}) {
    const std::int64_t n = m == 2048 ? 2048 : 4096;
    const std::int64_t k = m == 2048 ? 13312 : 4096;
    Record gemm = {.probe = "gemm",
                   .params = {{"dtype", std::string("bf16")},
                              {"cache", std::string("cold")},
                              {"inputs", std::string("normal")},
                              {"regime", std::string("burst")},
                              {"batch", std::int64_t{1}},
                              {"m", m},
                              {"n", n},
                              {"k", k}},
                   .backend = "fake",
                   .device = {.kind = "gpu"},
                   .work = {.flops = 6 * 2 * n * k * m},
                   .rounds = Visits(3, static_cast<double>(m) * 4.4e-8)};
    for (int device = 0; device < 6; ++device) gemm.units.push_back({.device = device});
    for (Visit& visit : gemm.rounds) {
      const double time_s = visit.time_s[0];
      // The fourth device is slow in all rounds by as much as it takes.
      visit.unit_p50_s = {0.981 * time_s, 0.985 * time_s, 0.979 * time_s,
                          1.08 * time_s,  0.982 * time_s, 0.98 * time_s};
      visit.unit_max_s = visit.unit_p50_s;
      visit.telemetry = {
          {.unit = 3, .at_s = {1, 2}, .sm_mhz = {1400, 1300.5}, .temperature_c = {90, 91.5}}};
    }
    run.records.push_back(gemm);
  }
  const std::string file = Write("run.json", RunToJson(run));
  const std::string figures = FiguresToJson(run, PriceAt(0.1), Catalog::BuiltIn());
  EXPECT_EQ(Script(Write("figures.json", figures) + " " + file), 0) << said_;
  EXPECT_NE(figures.find("\"standing\":\"low\""), std::string::npos) << figures;
  EXPECT_NE(figures.find("\"standing\":\"suspiciously high\""), std::string::npos) << figures;
  std::string changed = figures;
  for (const char* figure : {"\"spread\":0.", "\"slowest\":", "\"z\":", "\"temperature_c\":"}) {
    const std::size_t after = changed.find(figure) + std::string(figure).size();
    const std::size_t digit = changed.find_first_of("123456789", after);
    changed[digit] = changed[digit] == '5' ? '6' : '5';
  }
  EXPECT_EQ(Script(Write("changed.json", changed) + " " + file), 1);
  EXPECT_NE(said_.find(" 4 differ"), std::string::npos) << said_;
}

TEST_F(Recompute, AgreesOnWhatAnAcceleratorIsPaidFor) {
  OneRun run = Everything(1, "n1", 5);
  run.suite.name = "standard";
  run.nodes[0].accelerators = {{.name = "GPU", .present = 2, .visible = 2, .used = 2}};
  Record burst = run.records[0];
  burst.backend = "fake";
  burst.device.kind = "gpu";
  burst.params["regime"] = std::string("burst");
  Record sustained = burst;
  sustained.params["regime"] = std::string("sustained");
  for (Visit& visit : sustained.rounds) {
    visit.sustained = Sustained{.least_s = 60, .counted_s = 30, .ended = "unsteady"};
  }
  Record shortened = sustained;
  shortened.params["m"] = std::int64_t{1};
  shortened.rounds.back().sustained->least_s = 5;
  Record copy = burst;
  copy.probe = "copy";
  copy.params.erase("regime");
  copy.work = {.bytes = 1000};
  Record all_reduce = copy;
  all_reduce.probe = "all_reduce";
  Record overlap = burst;
  overlap.probe = "overlap";
  Record launch = copy;  // of which nothing is sold
  launch.probe = "launch";
  launch.work = {.ops = 1};
  run.records = {burst, sustained, shortened, copy, all_reduce, overlap, launch};
  OneRun other = run;
  other.id = "1";
  other.nodes[0].node_id = "n2";
  const std::string file = Write("run.json", RunToJson(run));
  const std::string figures = FiguresToJson(run, PriceAt(0.1), Catalog::BuiltIn());
  EXPECT_EQ(Script(Write("figures.json", figures) + " " + file), 0) << said_;
  std::size_t priced = 0;
  for (std::size_t at = 0; (at = figures.find("usd_per_eflop", at)) != std::string::npos; ++at) {
    ++priced;
  }
  EXPECT_EQ(priced, 1U);
  EXPECT_EQ(figures.find("usd_per_tbps_hour"), std::string::npos);
  EXPECT_NE(figures.find("usd_per_tb_reduced"), std::string::npos);
  const Comparison compared =
      Compare({.runs = {run}, .price = PriceAt(1)}, {.runs = {other}, .price = PriceAt(2)}, {});
  int per_usd = 0;
  int said = 0;
  for (const CompareRow& row : compared.rows) {
    per_usd += row.per_usd_verdict ? 1 : 0;
    said += row.note.find("not per dollar: a burst") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(per_usd, 2);
  EXPECT_EQ(said, 4);
  EXPECT_EQ(Script(Write("compared.json", ComparisonToJson(compared)) + " --a " + file + " --b " +
                   Write("other.json", RunToJson(other))),
            0)
      << said_;
}

TEST_F(Recompute, AgreesOnEveryFigureOfARun) {
  const OneRun run = Everything(1, "n1", 5);
  const std::string file = Write("run.json", RunToJson(run));
  const std::string figures = FiguresToJson(run, PriceAt(0.1), Catalog::BuiltIn());
  EXPECT_EQ(Script(Write("figures.json", figures) + " " + file), 0) << said_;
  EXPECT_NE(said_.find("0 differ"), std::string::npos) << said_;
  // And it would say so of each: one digit of seven figures.
  std::string changed = figures;
  for (const char* figure : {"\"usd\":", "\"median_s\":", "\"low\":", "\"busbw\":", "\"of_here\":",
                             "\"exposed_high_s\":", "\"hidden\":"}) {
    const std::size_t digit = changed.find_first_of("123456789", changed.find(figure)) + 7;
    changed[digit] = changed[digit] == '5' ? '6' : '5';
  }
  EXPECT_EQ(Script(Write("changed.json", changed) + " " + file), 1);
  EXPECT_NE(said_.find(" 7 differ"), std::string::npos) << said_;
}

TEST_F(Recompute, AgreesOnTheFitOfASweep) {
  OneRun run = Everything(1, "n1", 5);
  for (const auto& [start_s, per_byte_s] :
       {std::pair(4e-6, 1e-10), {-4e-8, 1e-8}, {4e-6, -1e-13}}) {
    run.records.clear();
    for (const std::int64_t bytes : {1'048'576, 8, 1024, 65536}) {
      run.records.push_back(
          {.probe = "all_reduce",
           .params = {{"ranks", std::int64_t{4}}, {"bytes", bytes}},
           .backend = "mpi",
           .work = {.bytes = bytes},
           .rounds = Visits(5, start_s + per_byte_s * static_cast<double>(bytes))});
    }
    const std::string file = Write("run.json", RunToJson(run));
    const std::string figures = FiguresToJson(run, {}, Catalog::BuiltIn());
    EXPECT_NE(figures.find("\"cases\":[1,2,3,0]"), std::string::npos);
    EXPECT_EQ(Script(Write("figures.json", figures) + " " + file), 0) << said_;
    std::string changed = figures;
    const std::size_t digit = changed.find_first_of("123456789", changed.find("\"residual\":")) + 5;
    changed[digit] = changed[digit] == '5' ? '6' : '5';
    EXPECT_EQ(Script(Write("changed.json", changed) + " " + file), 1);
  }
}

TEST_F(Recompute, AgreesOnEveryFigureOfAComparison) {
  struct Sides {
    std::vector<OneRun> a = {};
    std::vector<OneRun> b = {};
  };
  std::vector<Sides> all = {
      {.a = {Everything(1, "n1", 5)}, .b = {Everything(1.5, "n2", 6)}},
      {.a = {Everything(1, "n1", 5), Everything(1.01, "n1", 5), Everything(0.99, "n1", 5)},
       .b = {Everything(1.2, "n2", 5)}},
      {.a = {Everything(1, "n1", 5), Everything(1.01, "n1", 4), Everything(0.99, "n3", 5)},
       .b = {Everything(1.1, "n2", 5), Everything(1.12, "n2", 3)}}};
  all.push_back(all[2]);
  // A copy, and what was left of the second run before it was over: both say nothing new.
  all.back().a.push_back(all[2].a[0]);
  all.back().a.insert(all.back().a.begin(), all[2].a[1]);
  for (Record& record : all.back().a[0].records) record.rounds.resize(record.rounds.size() / 2);
  // On two nodes; and a side that is stopped now and then against one that isn't.
  const auto of_two = [](OneRun run) {
    run.nodes.push_back(run.nodes[0]);
    run.nodes[1].node_id += "b";
    for (Record& record : run.records) record.units.push_back(Unit{.node = 1});
    return run;
  };
  all.push_back({.a = {of_two(Everything(1, "n1", 5)), of_two(Everything(1.02, "n1", 5))},
                 .b = {of_two(Everything(1.1, "n2", 5)), of_two(Everything(1.13, "n2", 5))}});
  all.back().b[1].records[0].facts["paced"] = std::string("CPU quota");
  // A factor that even a guess tells, and one run against several.
  all.push_back({.a = {Everything(1, "n1", 5)}, .b = {Everything(1.9, "n2", 5)}});
  all.push_back(
      {.a = {Everything(1.9, "n1", 5)}, .b = {Everything(1, "n2", 5), Everything(1.03, "n2", 5)}});
  // Further apart than any noise was measured.
  all.push_back(all[0]);
  all.back().a[0].started = "2026-11-20T22:40:13Z";
  const std::string noise = Write("noise.csv",
                                  "probe,machine,between,sigma,df,span_minutes,measured,how,date\n"
                                  "compute,*,runs,0.02,15,60,true,h,2026-11-21\n"
                                  "gemm,m7i.large,runs,0.01,7,61.5,true,h,2026-11-21\n"
                                  "memory,n1,runs,0.015,6,60,true,h,2026-11-21\n"
                                  "memory,n2,runs,0.005,3,60,true,h,2026-11-21\n"
                                  "network,*,runs,0.04,15,60,true,h,2026-11-21\n");
  for (std::size_t turn = 0; turn < 2 * all.size(); ++turn) {
    const Sides& sides = all[turn / 2];
    const bool own = turn % 2 == 1;
    // The range of prices is on one side, the other, or both.
    Side a = {.runs = sides.a, .price = PriceAt(0.2)};
    Side b = {.runs = sides.b, .price = PriceAt(0.1)};
    if (turn % 3 != 0) a.price.offer->usd_low = 0.17;
    if (turn % 3 != 0) a.price.offer->usd_high = 0.26;
    if (turn % 3 != 1) b.price.offer->usd_low = 0.09;
    if (turn % 3 != 1) b.price.offer->usd_high = 0.15;
    std::string arguments = own ? " --noise " + noise : "";
    for (const auto& [option, runs] : {std::pair{"a", sides.a}, std::pair{"b", sides.b}}) {
      arguments += std::string(" --") + option;
      for (std::size_t i = 0; i < runs.size(); ++i) {
        std::string text = RunToJson(runs[i]);
        // An older file may have a dtype under a former name.
        if (option == std::string("a")) Replace(text, "\"int8\"", "\"i8\"");
        arguments += " " + Write(option + std::to_string(i) + ".json", text);
      }
    }
    const CompareOptions options = {.noise = own ? ReadNoise(noise) : std::vector<Noise>()};
    const std::string printed = ComparisonToJson(Compare(a, b, options));
    EXPECT_EQ(Script(Write("comparison.json", printed) + arguments), 0) << turn << said_;
    if (own && printed.find("\"low\":0") != std::string::npos) {
      std::string changed = printed;
      changed.replace(changed.find("\"low\":0"), 8, "\"low\":1");
      EXPECT_EQ(Script(Write("changed.json", changed) + arguments), 1) << turn;
    }
  }
}

TEST_F(Recompute, AgreesOnEveryFigureOfARanking) {
  std::vector<Side> sides;
  std::string arguments = " --files";
  for (const double speed : {1.0, 2.5, 1.01}) {
    sides.push_back({.runs = {Everything(speed, "n" + std::to_string(sides.size()), 5)},
                     .price = PriceAt(0.1 * speed * speed)});
    arguments +=
        " " + Write(std::to_string(sides.size()) + ".json", RunToJson(sides.back().runs[0]));
  }
  const std::string printed = RankingToJson(Rank(sides, {}));
  EXPECT_EQ(Script(Write("ranking.json", printed) + arguments), 0) << said_;
  const std::string noise = Write("noise.csv",
                                  "probe,machine,between,sigma,df,span_minutes,measured,how,date\n"
                                  "compute,m7i.large,runs,0.002,15,60,true,h,2026-11-21\n");
  const std::string measured = RankingToJson(Rank(sides, {.noise = ReadNoise(noise)}));
  EXPECT_NE(measured, printed);
  arguments += " --noise " + noise;
  EXPECT_EQ(Script(Write("ranking.json", measured) + arguments), 0) << said_;
}

// A run of one node with a headline and a matrix product, whose rounds took these times.
OneRun RunOfNode(const std::string& node_id, const std::string& instance,
                 const std::vector<std::vector<double>>& rounds) {
  OneRun run = Everything(1, node_id, 5);
  run.nodes[0].identity.instance.value = instance;
  Record gemm = run.records[0];
  gemm.here.reset();
  gemm.rounds.clear();
  for (const std::vector<double>& times : rounds) {
    gemm.rounds.push_back({.batch = 1, .time_s = times});
  }
  gemm.work.flops = 8'000'000'000'000'000;
  Record other = gemm;
  other.params["m"] = std::int64_t{7};
  for (Visit& visit : other.rounds) {
    for (double& time : visit.time_s) time *= std::exp(0.01 * std::sin(1e6 * time));
  }
  Record headline = gemm;
  headline.probe = "headline";
  headline.params = {{"name", std::string("bf16-cpu/2")}, {"algo", std::string("default")}};
  run.records = {gemm, other, headline};
  return run;
}

// Writes the files of both sides, and returns the script's arguments for them.
std::string WriteSides(const std::function<std::string(const std::string&, const OneRun&)>& write,
                       const std::vector<OneRun>& a, const std::vector<OneRun>& b) {
  std::string arguments;
  for (const auto& [option, runs] : {std::pair{"a", &a}, std::pair{"b", &b}}) {
    arguments += std::string(" --") + option;
    for (std::size_t i = 0; i < runs->size(); ++i) {
      arguments += " " + write(option + std::to_string(i) + ".json", (*runs)[i]);
    }
  }
  return arguments;
}

TEST_F(Recompute, AgreesOnEveryFigureOfGroups) {
  Catalog catalog;
  std::vector<RunBrief> briefs;
  std::string arguments = " --files";
  for (const auto& [instance, speed, nodes] : {std::tuple("a.large", 1.0, 3),
                                               {"b.large", 1.03, 4},
                                               {"c.large", 0.9, 3},
                                               {"d.large", 1.01, 1}}) {
    Offer offer = *PriceAt(0.1 * speed * speed).offer;
    offer.instance = instance;
    offer.region = "r1";
    offer.purchase = "on_demand";
    offer.price_date = "2026-11-01";
    if (nodes == 4) offer.usd_low = 0.08;
    if (nodes == 4) offer.usd_high = 0.13;
    catalog.offers.push_back(offer);
    for (int i = 0; i < 2 * nodes; ++i) {
      const std::string node = instance + std::to_string(i / 2);
      OneRun run = Everything(speed * (1 + 0.004 * (i * i % 5)), node, 5 + i % 2);
      run.id = node + std::to_string(i);
      run.nodes[0].identity.provider.value = "aws";
      run.nodes[0].identity.instance.value = instance;
      run.nodes[0].identity.region.value = "r1";
      arguments += " " + Write(run.id + ".json", RunToJson(run));
      briefs.push_back(MakeBrief(std::move(run), node, catalog, false));
    }
  }
  const GroupOptions options = {.offers = catalog.offers};
  std::vector<std::string> notes;
  const std::string printed =
      GroupsToJson(RankGroups(briefs, GroupRuns(briefs, options, notes), options), "");
  EXPECT_EQ(Script(Write("groups.json", printed) + arguments), 0) << said_;
  std::string changed = printed;
  changed.replace(changed.find("\"behind_high\":0"), 15, "\"behind_high\":1");
  EXPECT_EQ(Script(Write("changed.json", changed) + arguments), 1);
}

TEST_F(Recompute, AgreesOnAComparisonOfNodes) {
  const auto node = [](const std::string& type, int number, double time) {
    return RunOfNode(type + std::to_string(number), type, {{time}});
  };
  const auto nodes = [&](const std::string& type, double time, double spread, int count) {
    std::vector<OneRun> runs;
    for (int i = 0; i < count; ++i) {
      runs.push_back(node(type, i, time * std::exp(spread * std::sin(9 * i + time))));
    }
    return runs;
  };
  // Alike; one of them wider; two nodes against three; one node against three; two runs of a node;
  // and so many that their own spread is enough.
  std::vector<std::pair<std::vector<OneRun>, std::vector<OneRun>>> all = {
      {nodes("a", 1, 0.01, 3), nodes("b", 1.05, 0.013, 4)},
      {nodes("a", 1, 0.1, 3), nodes("b", 1.05, 0.003, 3)},
      {nodes("a", 1, 0.01, 2), nodes("b", 1.05, 0.01, 3)},
      {nodes("a", 1, 0.01, 1), nodes("b", 1.05, 0.01, 3)},
      {nodes("a", 1, 0.01, 3), nodes("b", 1.05, 0.01, 3)},
      {nodes("a", 1, 0.01, 20), nodes("b", 1.01, 0.01, 21)}};
  all[4].first.push_back(node("a", 1, 1.02));
  const std::string noise = Write("noise.csv",
                                  "probe,machine,between,sigma,df,span_minutes,measured,how,date\n"
                                  "compute,*,nodes,0.02,15,60,true,h,2026-11-21\n"
                                  "compute,a,nodes,0.01,7,61.5,true,h,2026-11-21\n"
                                  "compute,b,nodes,0.013,7,61.5,true,h,2026-11-21\n"
                                  "compute,b,nodes,0.016,3,1,true,h,2026-11-21\n"
                                  "compute,b,runs,0.016,3,5,true,h,2026-11-21\n");
  const auto write = [&](const std::string& name, const OneRun& run) {
    return Write(name, RunToJson(run));
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto& [a, b] = all[i];
    const bool own = i % 2 == 0 || i == 3;
    const bool are_many = a.size() >= 20;
    for (std::vector<OneRun>* runs : {&a, &b}) {
      for (OneRun& run : *runs) {
        if (are_many) run.records.resize(1);  // the bootstrap takes Python a while
      }
    }
    CompareOptions options = {.noise = own ? ReadNoise(noise) : std::vector<Noise>()};
    std::string arguments = WriteSides(write, a, b) + (own ? " --noise " + noise : "");
    if (a.size() == 2) {
      options.primary = "gemm";
      arguments += " --primary gemm";
    }
    const std::string printed = ComparisonToJson(
        Compare({.runs = a, .price = PriceAt(2)}, {.runs = b, .price = PriceAt(1)}, options));
    EXPECT_EQ(Script(Write("comparison.json", printed) + arguments), 0) << i << said_;
    if (i > 0) continue;
    std::string changed = printed;
    Replace(changed, "\"is_primary\":true", "\"is_primary\":false");
    EXPECT_EQ(Script(Write("changed.json", changed) + arguments), 1);
  }
}

// The numbers of the page's example, from the same samples.
TEST_F(Recompute, TheWorkedExampleIsWhatIsPrinted) {
  const std::vector<OneRun> a = {
      RunOfNode("a1", "A", {{1.000, 1.010, 1.004}, {0.996, 1.002, 0.999}}),
      RunOfNode("a2", "A", {{1.021}}), RunOfNode("a3", "A", {{0.992}})};
  const std::vector<OneRun> b = {RunOfNode("b1", "B", {{0.951}}), RunOfNode("b2", "B", {{0.962}}),
                                 RunOfNode("b3", "B", {{0.957}})};
  Side side_a = {.runs = a, .price = PriceAt(98.32)};
  Side side_b = {.runs = b, .price = PriceAt(88)};
  const Comparison comparison = Compare(side_a, side_b, {});
  const CompareRow& row = comparison.rows.back();
  ASSERT_EQ(row.probe, "headline");
  std::ifstream file(ASSAY_SOURCE_DIR "/results/METRICS.md");
  const std::string page(std::istreambuf_iterator<char>(file), {});
  const std::string example = page.substr(page.find("## A worked example"));
  const double reach_low = *row.per_usd_change * row.change.interval->low / row.change.estimate;
  for (const double figure :
       {row.baseline / 1e15, row.candidate / 1e15, row.change.estimate, row.change.interval->low,
        row.change.interval->high, *row.per_usd_change, reach_low}) {
    EXPECT_NE(example.find(fmt::format("{:.10f}", figure)), std::string::npos) << figure;
  }
  const std::string printed = ComparisonToJson(comparison);
  const auto write = [&](const std::string& name, const OneRun& run) {
    return Write(name, RunToJson(run));
  };
  EXPECT_EQ(Script(Write("comparison.json", printed) + WriteSides(write, a, b)), 0) << said_;
}

}  // namespace
}  // namespace assay
