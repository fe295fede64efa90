#include "results/figures/figures.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace assay {
namespace {

Visit VisitOf(std::vector<double> time_s, std::int64_t batch = 1) {
  return {.batch = batch, .time_s = std::move(time_s)};
}

Record Gemm(std::int64_t flops, std::vector<Visit> rounds) {
  return {.probe = "gemm",
          .params = {{"dtype", std::string("bf16")}},
          .backend = "onednn",
          .work = {.flops = flops},
          .rounds = std::move(rounds)};
}

Record Storage(const std::string& pattern, std::int64_t block_bytes, std::vector<Visit> rounds) {
  return {.probe = "storage",
          .params = {{"pattern", pattern}, {"block_bytes", block_bytes}},
          .backend = "io_uring",
          .work = {.bytes = block_bytes, .ops = 1},
          .rounds = std::move(rounds)};
}

// A run with one volume of that kind, and a read from it.
Run ReadFrom(const std::string& kind, Facts facts) {
  Record read = Storage("randread", 4096, {{.batch = 1, .time_s = {1e-4}}});
  read.storage = 0;
  read.facts = std::move(facts);
  return {.nodes = {{.storage = {{.kind = kind}}}}, .records = {read}};
}

const Cost& Named(const std::vector<Cost>& costs, const std::string& name) {
  for (const Cost& cost : costs) {
    if (cost.name == name) return cost;
  }
  ADD_FAILURE() << "no cost is named " << name;
  static const Cost none = {};
  return none;
}

// A record of overlap with 4 ranks, a bucket of 12 MB and 6 GFLOP of GEMMs.
Record Step(std::vector<Visit> rounds) {
  return {.probe = "overlap",
          .params = {{"ranks", std::int64_t{4}}, {"bytes", std::int64_t{12'000'000}}},
          .backend = "mpi",
          .work = {.flops = 6'000'000'000, .bytes = 12'000'000},
          .rounds = std::move(rounds)};
}

Visit StepVisit(std::vector<double> both, std::vector<double> compute_alone,
                std::vector<double> communicate_alone) {
  Visit visit = VisitOf(std::move(both));
  visit.phase_time_s = {{"compute", std::vector<double>(visit.time_s.size(), 4.0)},
                        {"communicate", std::vector<double>(visit.time_s.size(), 3.0)},
                        {"compute_alone", std::move(compute_alone)},
                        {"communicate_alone", std::move(communicate_alone)}};
  return visit;
}

Telemetry Seen(int unit, std::vector<double> at_s, std::vector<double> power_w,
               std::optional<double> energy_j, std::vector<std::string> events = {}) {
  return {.unit = unit,
          .at_s = std::move(at_s),
          .power_w = std::move(power_w),
          .energy_j = energy_j,
          .events = std::move(events)};
}

TEST(Figures, PowerIsEnergyOverTimeWhereItIsCountedAndElseTheMeanOfReadings) {
  Record record = Gemm(2'000'000'000'000, {VisitOf({0.5}), VisitOf({0.5})});
  record.units = {Unit{}, Unit{.device = 1}};
  EXPECT_FALSE(PowerOf(record));
  record.rounds[0].telemetry = {Seen(0, {1, 3}, {1, 1}, 800), Seen(1, {1, 3}, {200, 220}, {})};
  record.rounds[1].telemetry = {Seen(0, {5, 6}, {1, 1}, 100), Seen(1, {5}, {240}, {})};
  const PowerFigure power = PowerOf(record).value();
  EXPECT_DOUBLE_EQ(power.watts, 900.0 / 3 + 220);
  EXPECT_DOUBLE_EQ(power.joules_per_tflop.value(), 520 * 0.5 / 2);
  EXPECT_EQ(power.held_back, "none");
  record.rounds[1].telemetry.pop_back();
  record.rounds[0].telemetry.pop_back();
  EXPECT_FALSE(PowerOf(record)) << "of one unit of two nothing is known";
}

TEST(Figures, TheWorstOfWhatHeldADeviceBackIsSaid) {
  const auto held_back = [](const std::vector<std::string>& first,
                            const std::vector<std::string>& second) {
    Record record = Gemm(1, {VisitOf({0.5}), VisitOf({0.5})});
    record.units = {Unit{}};
    record.rounds[0].telemetry = {Seen(0, {1}, {1}, {}, first)};
    record.rounds[1].telemetry = {Seen(0, {1}, {1}, {}, second)};
    return PowerOf(record)->held_back;
  };
  EXPECT_EQ(held_back({"app_clocks"}, {"sync_boost"}), "none");
  EXPECT_EQ(held_back({"sw_power_cap"}, {}), "power-capped");
  EXPECT_EQ(held_back({"sw_power_cap", "hw_slowdown"}, {"sw_power_cap"}), "thermal");
  EXPECT_EQ(held_back({}, {"sw_thermal"}), "thermal");
  EXPECT_EQ(held_back({"hw_power_brake"}, {"hw_thermal"}), "power-brake");
}

TEST(Figures, WhatAStepPaysForItsAllReduce) {
  // Medians: 3 s of GEMMs and 2 s of all-reduce take 4 s at once, 2 s and 2 s take 3 s.
  const Record record =
      Step({StepVisit({4, 4.5, 3.5}, {3, 3, 2}, {2, 2, 9}), StepVisit({3}, {2}, {2})});
  const OverlapFigure overlap = OverlapOf(record).value();
  EXPECT_DOUBLE_EQ(overlap.compute_alone, 6e9 / 2.5);  // of 2, 2, 3, 3
  EXPECT_DOUBLE_EQ(overlap.compute_together, 6e9 / 4);
  EXPECT_DOUBLE_EQ(overlap.communicate_alone, 12e6 * 1.5 / 2);  // bus: 2 (4 - 1) / 4
  EXPECT_DOUBLE_EQ(overlap.communicate_together, 12e6 * 1.5 / 3);
  EXPECT_DOUBLE_EQ(overlap.compute_slowdown, 4 / 2.5);
  EXPECT_DOUBLE_EQ(overlap.communicate_slowdown, 1.5);
  // Sample by sample 1, 1.5 and 1.5 s; and 1 s. t is 12.706, s = 0.5 / sqrt(2) over sqrt(2) rounds.
  EXPECT_DOUBLE_EQ(overlap.exposed_s, 1.25);
  EXPECT_NEAR(overlap.exposed_low_s.value(), 1.25 - 12.7062 * 0.25, 1e-4);
  EXPECT_NEAR(overlap.exposed_high_s.value(), 1.25 + 12.7062 * 0.25, 1e-4);
  // (3 + 2 - 4) / 2 and (2 + 2 - 3) / 2.
  EXPECT_DOUBLE_EQ(overlap.hidden, 0.5);
  EXPECT_DOUBLE_EQ(Speed(record)->value, 6e9 / 3.75);
  EXPECT_EQ(BusBandwidth(record), std::nullopt);
  EXPECT_EQ(Costs(record, 1).at(0).name, "usd_per_tflops_hour");
}

TEST(Figures, AnExposedTimeBelowZeroAndAnOverlapThatCostsAreShownAsMeasured) {
  const OverlapFigure faster = OverlapOf(Step({StepVisit({2.5}, {3}, {2})})).value();
  EXPECT_DOUBLE_EQ(faster.exposed_s, -0.5);
  EXPECT_EQ(faster.exposed_low_s, std::nullopt) << "one round has no interval";
  EXPECT_DOUBLE_EQ(faster.hidden, 1.25);
  const OverlapFigure slower = OverlapOf(Step({StepVisit({6}, {3}, {2})})).value();
  EXPECT_DOUBLE_EQ(slower.hidden, -0.5);
}

TEST(Figures, NoOverlapIsToldOfWhatHasNotAllItsParts) {
  Record record = Step({StepVisit({4}, {3}, {2})});
  record.rounds[0].phase_time_s.erase("communicate");
  EXPECT_EQ(OverlapOf(record), std::nullopt);
  record = Step({StepVisit({4}, {3, 3}, {2})});
  EXPECT_EQ(OverlapOf(record), std::nullopt);
  record = Step({StepVisit({4}, {3}, {2})});
  record.status = Status::kWrong;
  EXPECT_EQ(OverlapOf(record), std::nullopt);
  record.status = Status::kOk;
  record.probe = "all_reduce";
  EXPECT_EQ(OverlapOf(record), std::nullopt);
}

TEST(Figures, TheGoldenPriceOfAnExaflop) {
  // 55.04 USD/h at 7,912 TFLOP/s: one iteration of 7,912 Tflop takes a second.
  const Record record = Gemm(7'912'000'000'000'000, {VisitOf({1.0})});
  const std::vector<Cost> costs = Costs(record, 55.04);
  ASSERT_EQ(costs.size(), 2u);
  EXPECT_NEAR(Named(costs, "usd_per_tflops_hour").usd, 0.0069565, 5e-8);
  EXPECT_NEAR(Named(costs, "usd_per_eflop").usd, 1.9324, 5e-5);
  EXPECT_NEAR(Named(costs, "usd_per_eflop").usd,
              Named(costs, "usd_per_tflops_hour").usd * 1e6 / 3600, 1e-12);
}

TEST(Figures, SpeedIsByTheMedianAndCostByTheMean) {
  // Two visits with unlike batches: T = (10 x (1 + 1) + 1 x 4) / (10 x 2 + 1 x 1) = 24/21.
  const Record record = Gemm(1'000'000'000'000, {VisitOf({1.0, 1.0}, 10), VisitOf({4.0}, 1)});
  EXPECT_DOUBLE_EQ(MedianTime(record).value(), 1.0);
  EXPECT_DOUBLE_EQ(MeanTime(record).value(), 24.0 / 21);
  EXPECT_DOUBLE_EQ(MeanToMedian(record).value(), 24.0 / 21);
  EXPECT_DOUBLE_EQ(Speed(record)->value, 1e12);
  EXPECT_EQ(Speed(record)->unit, "FLOP/s");
  EXPECT_DOUBLE_EQ(Named(Costs(record, 2.0), "usd_per_tflops_hour").usd, 2.0 * 24 / 21);
}

TEST(Figures, IntegerWorkIsNotFloatingPoint) {
  Record record = Gemm(1000, {VisitOf({1.0})});
  record.params["dtype"] = std::string("int8");
  EXPECT_EQ(Speed(record)->unit, "OP/s");
  EXPECT_EQ(Costs(record, 1)[0].name, "usd_per_tops_hour");
  EXPECT_EQ(Costs(record, 1)[0].label, "$ per TOP/s-h");
}

TEST(Figures, AWrongOrFailedRecordHasNoSpeedAndNoCost) {
  for (const Status status : {Status::kWrong, Status::kFailed, Status::kSkipped}) {
    Record record = Gemm(1000, {VisitOf({1.0})});
    record.status = status;
    record.here = Here{.probe = "peak", .work = {.flops = 1000}};
    record.rounds[0].here_time_s = {1.0};
    EXPECT_FALSE(Speed(record).has_value());
    EXPECT_FALSE(OfHere(record).has_value());
    EXPECT_FALSE(SpeedInterval(record).has_value());
    EXPECT_TRUE(Costs(record, 1).empty());
  }
}

TEST(Figures, ARecordWithoutSamplesHasNoFigures) {
  const Record record = Gemm(1000, {});
  EXPECT_FALSE(MedianTime(record).has_value());
  EXPECT_FALSE(MeanTime(record).has_value());
  EXPECT_FALSE(Speed(record).has_value());
  EXPECT_TRUE(LogRoundTimes(record).empty());
  EXPECT_TRUE(Costs(record, 1).empty());
}

TEST(Figures, SmallBlocksCountOperationsAndLargeOnesBytes) {
  EXPECT_EQ(Speed(Storage("randread", 65535, {VisitOf({0.001})}))->unit, "IOPS");
  EXPECT_DOUBLE_EQ(Speed(Storage("randread", 4096, {VisitOf({0.001})}))->value, 1000);
  EXPECT_EQ(Speed(Storage("read", 65536, {VisitOf({0.001})}))->unit, "B/s");
  EXPECT_DOUBLE_EQ(Speed(Storage("read", 65536, {VisitOf({0.001})}))->value, 65536000);
}

TEST(Figures, AWriteHasARateToStableStorageBesideTheOther) {
  Record record = Storage("write", 1048576, {VisitOf({0.001})});
  EXPECT_FALSE(StableSpeed(record).has_value());
  record.rounds[0].stable_time_s = {0.004};
  EXPECT_FALSE(StableSpeed(record).has_value()) << "it was of the slowest batches alone";
  // 1000 writes in a second and 250 in another, each of which the flush costs 1 ms more.
  record.rounds[0].iterations = {1000, 250};
  record.rounds[0].time_s = {0.001, 0.004};
  record.rounds[0].stable_time_s = {0.002, 0.005};
  EXPECT_DOUBLE_EQ(StableSpeed(record)->value, 1048576 * 1250 / 3.25);
}

TEST(Figures, ATebibyteCostsTheStorageAloneAndWithItsNode) {
  // 1 GiB a second: a TiB takes 1024 s.
  const Record read = Storage("read", 1073741824, {VisitOf({1.0})});
  const std::vector<Cost> node = Costs(read, 3.6);
  ASSERT_EQ(node.size(), 1u);
  EXPECT_EQ(node[0].name, "usd_per_tib_read_node");
  EXPECT_DOUBLE_EQ(node[0].usd, 1.024);
  const std::vector<Cost> both = Costs(read, 3.6, 0.36);
  EXPECT_DOUBLE_EQ(Named(both, "usd_per_tib_read_storage").usd, 0.1024);
  EXPECT_DOUBLE_EQ(Named(both, "usd_per_tib_read").usd, 1.1264);
  EXPECT_EQ(Costs(Storage("randwrite", 4096, {VisitOf({1.0})}), 1)[0].name,
            "usd_per_tib_written_node");
}

TEST(Figures, BusBandwidthIsWhatTheSlowestLinkCarries) {
  // nccl-tests, PERFORMANCE.md: factor 2 (n - 1) / n; 8 ranks: 1.75.
  Record record = {.probe = "all_reduce",
                   .params = {{"ranks", std::int64_t{8}},
                              {"nodes", std::int64_t{1}},
                              {"bytes", std::int64_t{1'000'000'000}}},
                   .work = {.bytes = 1'000'000'000},
                   .rounds = {VisitOf({0.01})}};
  EXPECT_DOUBLE_EQ(Speed(record)->value, 1e11);
  EXPECT_DOUBLE_EQ(BusBandwidth(record).value(), 1.75e11);
  const std::vector<Cost> costs = Costs(record, 36);
  ASSERT_EQ(costs.size(), 1u);
  EXPECT_EQ(costs[0].label, "$ per TB reduced (8 ranks, 1 node)");
  EXPECT_DOUBLE_EQ(costs[0].usd, 0.1);  // 10 s at 0.01 USD/s
  record.probe = "memory";
  EXPECT_FALSE(BusBandwidth(record).has_value());
  EXPECT_FALSE(WireRate(record).has_value());
}

TEST(Figures, TheWireIsWhatTheAlgorithmThatRanMoves) {
  Record record = {.probe = "all_gather",
                   .params = {{"ranks", std::int64_t{4}}, {"nodes", std::int64_t{2}}},
                   .work = {.bytes = 1'000'000'000},
                   .rounds = {VisitOf({0.01})}};
  EXPECT_FALSE(WireRate(record)) << "nobody knows how mpi did it";
  record.facts = {{"algorithm", std::string("ring")}};
  EXPECT_FALSE(WireRate(record)) << "nor how much that moved between which nodes";
  record.facts = {{"wire_bytes", std::int64_t{1'500'000'000}}};
  EXPECT_FALSE(WireRate(record)) << "bytes without the way that they went";
  record.facts = {{"algorithm", std::string("ring")}};
  record.facts["wire_bytes"] = std::int64_t{1'500'000'000};
  EXPECT_DOUBLE_EQ(WireRate(record)->bytes_per_s, 0.75e11) << "a share of two ranks";
  EXPECT_EQ(WireRate(record)->model, "ring");
  EXPECT_TRUE(WireRate(record)->is_between_nodes);
  record.params["nodes"] = std::int64_t{1};
  EXPECT_DOUBLE_EQ(WireRate(record)->bytes_per_s, 1.5e11);
  EXPECT_FALSE(WireRate(record)->is_between_nodes);
  record.facts["wire_bytes"] = std::int64_t{-1};
  EXPECT_FALSE(WireRate(record)) << "a file is from outside";
  record.probe = "barrier";
  EXPECT_FALSE(WireRate(record));
}

TEST(Figures, MemoryCostsByBandwidth) {
  const Record record = {.probe = "memory",
                         .params = {{"pattern", std::string("triad")}},
                         .work = {.bytes = 3'000'000'000},
                         .rounds = {VisitOf({0.001})}};
  const std::vector<Cost> costs = Costs(record, 6);
  ASSERT_EQ(costs.size(), 1u);
  EXPECT_EQ(costs[0].name, "usd_per_tbps_hour");
  EXPECT_DOUBLE_EQ(costs[0].usd, 2.0);
}

TEST(Figures, DecodeIsCountedInTheBytesThatItReads) {
  Record record = {.probe = "attention",
                   .params = {{"phase", std::string("decode")}, {"dtype", std::string("bf16")}},
                   .work = {.flops = 9'000'000'000, .bytes = 3'000'000'000},
                   .here = Here{.probe = "memory", .work = {.bytes = 4'000'000'000}},
                   .rounds = {VisitOf({0.001})}};
  record.rounds[0].here_time_s = {0.001};
  EXPECT_EQ(Speed(record)->unit, "B/s");
  EXPECT_DOUBLE_EQ(Speed(record)->value, 3e12);
  EXPECT_DOUBLE_EQ(OfHere(record).value(), 0.75);
  const std::vector<Cost> costs = Costs(record, 6);
  ASSERT_EQ(costs.size(), 1u);
  EXPECT_EQ(costs[0].name, "usd_per_tbps_hour");
  record.params["phase"] = std::string("prefill");
  EXPECT_EQ(Speed(record)->unit, "FLOP/s");
  record.params["phase"] = std::string("decode");
  record.work.bytes.reset();
  EXPECT_EQ(Speed(record)->unit, "FLOP/s") << "a file from before decode's bytes were counted";
}

TEST(Figures, OfHereIsAMeanOfTheRoundsRatios) {
  // The machine slows to a half in the second round, and its peak with it: the ratio stays.
  Record record = Gemm(100, {VisitOf({1.0}), VisitOf({2.0})});
  record.here = Here{.probe = "peak", .work = {.flops = 1000}};
  record.rounds[0].here_time_s = {8.0, 8.0, 80.0};
  record.rounds[1].here_time_s = {16.0};
  EXPECT_DOUBLE_EQ(OfHere(record).value(), 0.8);
  record.here->work = {.bytes = 1000};
  EXPECT_FALSE(OfHere(record).has_value()) << "flops are no share of bytes";
}

TEST(Figures, TheIntervalOfARunHasItsRoundsAsUnits) {
  const Record record = Gemm(100, {VisitOf({1.0, 1.0, 9.0}), VisitOf({1.1}), VisitOf({0.9})});
  const std::vector<double> logs = LogRoundTimes(record);
  ASSERT_EQ(logs.size(), 3u);
  EXPECT_DOUBLE_EQ(logs[0], 0);  // the median of its round, a stall left out of neither
  EXPECT_DOUBLE_EQ(logs[1], std::log(1.1));
  const Interval interval = SpeedInterval(record).value();
  EXPECT_EQ(interval.units, 3);
  EXPECT_EQ(interval.level, "3 rounds, this run");
  EXPECT_GT(interval.high, 1.2);
}

TEST(Figures, ThePriceIsOfEveryNodeHeld) {
  const Chosen price = {.offer = Offer{.usd_per_hour = 2.5}};
  const assay::Run run = {.nodes = {Node{}, Node{}, Node{}}};
  EXPECT_DOUBLE_EQ(UsdPerHour(run, price).value(), 7.5);
  EXPECT_FALSE(UsdPerHour(run, {}).has_value());
  EXPECT_FALSE(UsdPerHour(run, {.offer = Offer{.offered = false}}).has_value());
}

TEST(Figures, ANodeFigureStandsBesideItsDevicesAlone) {
  Record node = Gemm(400, {VisitOf({1.0})});
  node.params["scope"] = std::string("node");
  node.units = {Unit{.device = 0}, Unit{.device = 1}};
  Record alone = Gemm(250, {VisitOf({1.0})});
  alone.params["scope"] = std::string("device");
  alone.units = {Unit{.device = 0}};
  Record slow = alone;
  slow.rounds[0].time_s = {1.25};
  const assay::Run run = {.records = {node, alone, slow}};
  const NodeFigure figure = RunFigures(run, Catalog::BuiltIn()).Node(run.records[0]).value();
  EXPECT_DOUBLE_EQ(figure.together.value, 400);
  EXPECT_DOUBLE_EQ(figure.slowest_alone.value(), 200);
  EXPECT_DOUBLE_EQ(figure.sum_alone.value(), 450);
  EXPECT_FALSE(RunFigures(run, Catalog::BuiltIn()).Node(run.records[1]).has_value())
      << "one device is no node";

  assay::Run broken = run;
  broken.records[2].status = Status::kFailed;
  EXPECT_FALSE(
      RunFigures(broken, Catalog::BuiltIn()).Node(broken.records[0])->sum_alone.has_value());
  broken.records[0].status = Status::kPartial;
  EXPECT_FALSE(RunFigures(broken, Catalog::BuiltIn()).Node(broken.records[0]).has_value());
}

Run WithHeadline() {
  Record record = Gemm(1000, std::vector<Visit>(5, VisitOf({1.0})));
  record.probe = "headline";
  record.params = {{"name", std::string("bf16-cpu/2")},
                   {"algo", std::string("default")},
                   {"regime", std::string("sustained")}};
  for (Visit& visit : record.rounds) visit.sustained = Sustained{.least_s = 60};
  record.verify = Verification{.checked = 100, .wrong = 0};
  return {.complete = true, .nodes = {Node{}}, .records = {record}};
}

TEST(Figures, TheHeadlineIsSustainedForAMinuteInEachRound) {
  assay::Run run = WithHeadline();
  run.records[0].rounds[3].sustained->least_s = 60.01;
  EXPECT_NE(HeadlineOf(run).record, nullptr);
  run.records[0].rounds[3].sustained->least_s = 59.99;
  EXPECT_EQ(HeadlineOf(run).absent, "it was not sustained for a minute in each round");
  run = WithHeadline();
  run.records[0].rounds[3].sustained.reset();
  EXPECT_EQ(HeadlineOf(run).record, nullptr);
  run = WithHeadline();
  run.records[0].params["regime"] = std::string("burst");
  EXPECT_EQ(HeadlineOf(run).record, nullptr);
}

TEST(Figures, InASuiteForOthersAnAcceleratorsPriceIsOfWhatItSustains) {
  Record gemm = Gemm(1000, {VisitOf({1.0})});
  gemm.backend = "fake";
  gemm.device.kind = "gpu";
  gemm.params["regime"] = std::string("burst");
  Record sustained = gemm;
  sustained.params["regime"] = std::string("sustained");
  sustained.rounds[0].sustained = Sustained{.least_s = 60};
  Record shortened = sustained;
  shortened.rounds[0].sustained->least_s = 59;
  Record peak = gemm;
  peak.params.erase("regime");
  Record cpu = gemm;
  cpu.backend = "onednn";
  cpu.device.kind = "cpu";
  Record launch = peak;
  launch.work = {.ops = 1};
  Record overlap = peak;
  overlap.probe = "overlap";
  overlap.backend = "fake";
  Record all_reduce = overlap;
  all_reduce.probe = "all_reduce";
  all_reduce.work = {.bytes = 1000};
  for (const char* suite : {"standard", "full"}) {
    const assay::Run run = {.suite = {.name = suite}};
    EXPECT_NE(WhyUnpriced(run, gemm, nullptr), "");
    EXPECT_NE(WhyUnpriced(run, shortened, nullptr), "");
    EXPECT_EQ(WhyUnpriced(run, sustained, nullptr), "");
    EXPECT_NE(WhyUnpriced(run, peak, nullptr), "") << "what has no regime is a burst";
    EXPECT_NE(WhyUnpriced(run, overlap, nullptr), "");
    EXPECT_EQ(WhyUnpriced(run, all_reduce, nullptr), "");
    EXPECT_EQ(WhyUnpriced(run, launch, nullptr), "") << "it never has a price";
    EXPECT_EQ(WhyUnpriced(run, cpu, nullptr), "");
  }
  EXPECT_EQ(WhyUnpriced({.suite = {.name = "quick"}}, gemm, nullptr), "");
}

TEST(Figures, TheHeadlineIsVerifiedAndOfFiveRounds) {
  assay::Run run = WithHeadline();
  EXPECT_EQ(HeadlineOf(run).record, &run.records[0]);
  EXPECT_EQ(HeadlineOf(run).name, "bf16-cpu/2");

  run.records[0].rounds.pop_back();
  EXPECT_EQ(HeadlineOf(run).record, nullptr);
  EXPECT_EQ(HeadlineOf(run).absent, "4 rounds, and it needs 5");

  run = WithHeadline();
  run.records[0].verify.reset();
  EXPECT_EQ(HeadlineOf(run).absent, "its result was not verified");
  run.records[0].verify = Verification{.checked = 0};
  EXPECT_EQ(HeadlineOf(run).absent, "its result was not verified");
  run.records[0].verify = Verification{.checked = 1};
  EXPECT_NE(HeadlineOf(run).record, nullptr);

  // Partial, and short of rounds in a run that isn't.
  run = WithHeadline();
  run.records[0].status = Status::kPartial;
  run.records[0].reason = "one device was lost";
  EXPECT_EQ(HeadlineOf(run).absent, "partial: one device was lost");
  run = WithHeadline();
  run.records[0].complete = false;
  EXPECT_EQ(HeadlineOf(run).absent, "fewer rounds than asked were measured");

  run = WithHeadline();
  run.complete = false;
  EXPECT_EQ(HeadlineOf(run).record, nullptr);

  run = WithHeadline();
  run.records[0].params["algo"] = std::string("tuned");
  EXPECT_EQ(HeadlineOf(run).record, nullptr);
}

TEST(Figures, TheHeadlineIsOfTheWholeNode) {
  assay::Run run = WithHeadline();
  run.records[0].backend = "fake";
  run.records[0].device.kind = "gpu";
  run.records[0].params["name"] = std::string("bf16-train/1");
  run.records[0].units = {Unit{.device = 0}, Unit{.device = 1}};
  run.nodes[0].accelerators = {
      {.name = "NVIDIA H100 80GB HBM3", .present = 2, .visible = 2, .used = 2}};
  EXPECT_EQ(HeadlineOf(run).record, &run.records[0]);
  // Other cases used both.
  run.records[0].units.pop_back();
  EXPECT_EQ(HeadlineOf(run).absent, "1 of 2 took part, and the node is what is paid");
  run.nodes[0].accelerators[0].used = 1;
  EXPECT_EQ(HeadlineOf(run).absent, "1 of 2 was used, and the node is what is paid");
}

TEST(Figures, ANodeWithAcceleratorsHasNoCpuHeadline) {
  assay::Run run = WithHeadline();
  run.nodes[0].accelerators = {Accelerator{.name = "NVIDIA H100", .present = 8}};
  EXPECT_EQ(HeadlineOf(run).name, "bf16-train/1");
  EXPECT_EQ(HeadlineOf(run).record, nullptr);
}

TEST(Figures, ASliceOfAnAcceleratorIsAPartOfTheNode) {
  assay::Run run = {.nodes = {Node{}}};
  run.nodes[0].accelerators = {{.name = "NVIDIA H100 MIG 1g.10gb", .present = 1, .visible = 1}};
  run.nodes[0].accelerators[0].used = 1;
  EXPECT_EQ(PartUsed(run, "gpu"), std::nullopt);
  run.nodes[0].accelerators[0].mig = true;
  EXPECT_EQ(PartUsed(run, "gpu"), "a slice (MIG)");
}

TEST(CachedOf, MemoryAndRefutedHaveNoPriceAndWhatIsUnknownHasOneAndAMark) {
  struct Expected {
    const char* kind;
    Facts facts;
    const char* mark;  // "": none
    bool is_priced;
  };
  const Expected all[] = {{"local", {{"direct", std::string("proved")}}, "", true},
                          {"memory", {{"direct", std::string("proved")}}, "memory", false},
                          {"memory", {{"direct", std::string("not_asked")}}, "memory", false},
                          {"local", {{"direct", std::string("refuted")}}, "refuted", false},
                          {"local", {{"direct", std::string("unproven")}}, "cache?", true},
                          {"local", {{"direct", std::string("not_asked")}}, "cache?", true},
                          {"local", {{"direct", std::string("PROVED")}}, "cache?", true},
                          {"local", {{"direct", true}}, "cache?", true},
                          {"local", {}, "cache?", true}};
  for (const Expected& expected : all) {
    const auto run = ReadFrom(expected.kind, expected.facts);
    const std::optional<Cached> cached = CachedOf(run, run.records[0]);
    EXPECT_EQ(cached ? cached->mark : "", expected.mark);
    EXPECT_EQ(WhyUnpriced(run, run.records[0], nullptr).empty(), expected.is_priced)
        << expected.mark;
  }
}

TEST(CachedOf, AnyNodeOfSeveralCountsAndOtherProbesDoNot) {
  auto run = ReadFrom("local", {{"direct", std::string("proved")}});
  run.nodes.push_back({.storage = {{.kind = "memory"}}});
  EXPECT_FALSE(CachedOf(run, run.records[0])) << "it ran on the first node alone";
  run.records[0].units = {{.node = 0}, {.node = 1}};
  EXPECT_EQ(CachedOf(run, run.records[0])->mark, "memory");
  run.records[0].probe = "memory";
  EXPECT_FALSE(CachedOf(run, run.records[0]));
  auto failed = ReadFrom("memory", {});
  failed.records[0].status = Status::kFailed;
  EXPECT_FALSE(CachedOf(failed, failed.records[0])) << "no figure";
}

}  // namespace
}  // namespace assay
