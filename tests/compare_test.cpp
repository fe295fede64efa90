#include "results/figures/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/figures/figures.h"
#include "results/show/csv.h"
#include "results/show/json.h"
#include "results/show/tables.h"

namespace assay {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Within a test, Run is a member of testing::Test.
using OneRun = Run;
using Runs = std::vector<Run>;

// A case whose rounds took these times; 10^12 operations each, so that 1 s is 1 TFLOP/s.
Record Gemm(std::int64_t m, const std::vector<double>& round_times) {
  Record record = {.probe = "gemm",
                   .params = {{"dtype", std::string("f32")},
                              {"m", m},
                              {"n", std::int64_t{64}},
                              {"k", std::int64_t{64}}},
                   .backend = "onednn",
                   .work = {.flops = 1'000'000'000'000, .formula = "gemm/2mnk"}};
  for (const double time : round_times) record.rounds.push_back({.batch = 1, .time_s = {time}});
  return record;
}

Record Storage(const std::string& direct, const std::vector<double>& round_times) {
  Record record = Gemm(1, round_times);
  record.probe = "storage";
  record.params = {{"pattern", std::string("read")}, {"block_bytes", std::int64_t{1048576}}};
  record.backend = "io_uring";
  record.work = {.bytes = 1048576, .ops = 1};
  record.facts["direct"] = direct;
  return record;
}

Run RunOf(std::vector<Record> records, const std::string& node_id = "n1",
          const std::string& instance = "m7i.large") {
  Node node = {.node_id = node_id};
  node.identity.instance.value = instance;
  node.cpu = {.model = "Xeon", .cores_present = 2, .cores_used = 2};
  return {.rounds = 5, .assay = {.version = "0.1.0"}, .nodes = {node}, .records = records};
}

Side SideOf(Runs runs, std::optional<double> usd_per_hour = {}) {
  Side side = {.runs = std::move(runs)};
  for (std::size_t i = 0; i < side.runs.size(); ++i) {
    side.names.push_back("run" + std::to_string(i + 1) + ".json");
  }
  if (usd_per_hour) side.price.offer = Offer{.usd_per_hour = usd_per_hour};
  return side;
}

// Runs of one node: each run's rounds differ by 1 % around its own time.
Runs RunsOf(const std::vector<double>& times, const std::string& node_id = "n1") {
  Runs runs;
  for (const double time : times) {
    runs.push_back(RunOf({Gemm(64, {time * 0.99, time, time * 1.01})}, node_id));
  }
  return runs;
}

std::string ErrorOf(const Side& a, const Side& b, const CompareOptions& options = {}) {
  try {
    Compare(a, b, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Judge, AnIntervalAcrossZeroIsUnclear) {
  EXPECT_EQ(Judge({.estimate = 1.01, .low = 0.98, .high = 1.04}, 0.01), Verdict::kUnclear);
}

TEST(Judge, WithinTheMarginIsSameEvenWhereItExcludesZero) {
  EXPECT_EQ(Judge({.estimate = 1.004, .low = 1.001, .high = 1.008}, 0.01), Verdict::kSame);
  EXPECT_EQ(Judge({.estimate = 1, .low = 0.995, .high = 1.005}, 0.01), Verdict::kSame);
}

TEST(Judge, TheMarginAndZeroAreTheThresholds) {
  EXPECT_EQ(Judge({.low = 0.9901, .high = 1.0099}, 0.01), Verdict::kSame);
  EXPECT_EQ(Judge({.low = 0.9899, .high = 1.0099}, 0.01), Verdict::kUnclear);
  EXPECT_EQ(Judge({.low = 0.9901, .high = 1.0101}, 0.01), Verdict::kUnclear);
  EXPECT_EQ(Judge({.low = 1.0001, .high = 1.0101}, 0.01), Verdict::kFaster);
  EXPECT_EQ(Judge({.low = 0.9999, .high = 1.0101}, 0.01), Verdict::kUnclear);
  EXPECT_EQ(Judge({.low = 0.9899, .high = 0.9999}, 0.01), Verdict::kSlower);
  EXPECT_EQ(Judge({.low = 0.9899, .high = 1.0001}, 0.01), Verdict::kUnclear);
}

TEST(Judge, BeyondZeroIsFasterOrSlower) {
  EXPECT_EQ(Judge({.estimate = 1.02, .low = 1.001, .high = 1.03}, 0.01), Verdict::kFaster);
  EXPECT_EQ(Judge({.estimate = 0.97, .low = 0.95, .high = 0.999}, 0.01), Verdict::kSlower);
}

TEST(Compare, SpeedsAndTheirChangePointTheSameWay) {
  const Comparison comparison =
      Compare(SideOf(RunsOf({1.0, 1.001, 0.999})), SideOf(RunsOf({0.5, 0.501, 0.499})), {});
  ASSERT_EQ(comparison.rows.size(), 1u);
  const CompareRow& row = comparison.rows[0];
  EXPECT_NEAR(row.baseline, 1e12, 1e9);
  EXPECT_NEAR(row.candidate, 2e12, 2e9);
  EXPECT_EQ(row.unit, "FLOP/s");
  EXPECT_NEAR(row.change.estimate, 2, 0.01);
  EXPECT_EQ(row.verdict, Verdict::kFaster);
  EXPECT_EQ(row.change.level, "each side: 3 runs, this node");
}

// Rounds of three runs on each side: pooled, they would be nine units of 1 % and the 3 % between
// the runs would look settled. The unit is the run, so that Student's t has 4 degrees of freedom.
TEST(Compare, RoundsOfDifferentRunsAreNeverPooled) {
  const std::vector<double> a = {1.00, 1.05, 0.95};
  const std::vector<double> b = {1.03, 1.08, 0.98};
  const Comparison comparison = Compare(SideOf(RunsOf(a)), SideOf(RunsOf(b)), {});
  const CompareRow& row = comparison.rows[0];
  EXPECT_EQ(row.verdict, Verdict::kUnclear);
  EXPECT_EQ(row.change.interval->units, 6);
  std::vector<double> log_a;
  std::vector<double> log_b;
  for (const double t : a) log_a.push_back(-std::log(t));
  for (const double t : b) log_b.push_back(-std::log(t));
  const double rounds = (std::log(0.99) + std::log(1.01)) / 3;  // alike in every run
  const Interval expected = RatioInterval(log_a, log_b);
  EXPECT_NEAR(row.change.interval->low, expected.low, 1e-12);
  EXPECT_NEAR(row.change.interval->high, expected.high, 1e-12);
  EXPECT_LT(std::abs(rounds), 1e-3);
}

TEST(Compare, SeveralNodesAreTheUnitsAndTheirRunsAreAveragedFirst) {
  Runs a;
  Runs b;
  for (int node = 0; node < 3; ++node) {
    const std::string id = std::to_string(node);
    for (const double time : {1.0 + 0.01 * node, 1.02 + 0.01 * node}) {
      a.push_back(RunOf({Gemm(64, {time, time})}, "a" + id, "p5.48xlarge"));
      b.push_back(RunOf({Gemm(64, {time, time})}, "b" + id, "p4d.24xlarge"));
    }
  }
  const Comparison comparison = Compare(SideOf(a), SideOf(b), {});
  EXPECT_EQ(comparison.rows[0].change.interval->units, 6);
  EXPECT_EQ(comparison.rows[0].change.level, "3 nodes, p4d.24xlarge against 3 nodes, p5.48xlarge");
  EXPECT_THAT(comparison.notes, IsEmpty());
}

TEST(Compare, TwoNodesSayNothingOfTheirType) {
  Runs a = RunsOf({1.0}, "a1");
  a.push_back(RunsOf({1.01}, "a2")[0]);
  const Comparison comparison = Compare(SideOf(a), SideOf(RunsOf({1.0, 1.1}, "b1")), {});
  EXPECT_EQ(comparison.rows[0].change.level, "2 runs, this node against 2 nodes, these nodes");
  EXPECT_THAT(comparison.notes, Contains(HasSubstr("not about instance types")));
}

// A case of each class of probes: as many rounds of so much time.
Record OfClass(const std::string& name, double time, int rounds) {
  const std::vector<double> times(static_cast<std::size_t>(rounds), time);
  if (name == "compute") return Gemm(64, times);
  if (name == "storage") return Storage("proved", times);
  Record record = Gemm(64, times);
  record.probe = "all_reduce";
  record.params = {{"bytes", std::int64_t{1024}}, {"ranks", std::int64_t{2}}};
  record.backend = "mpi";
  record.work = {.bytes = 1024};
  return record;
}

TEST(Compare, WithAGuessAloneThereIsARatioAndNoVerdict) {
  for (const std::string name : {"compute", "network", "storage"}) {
    for (const int rounds : {1, 5, 20}) {
      const Comparison comparison = Compare(SideOf({RunOf({OfClass(name, 1.0, rounds)})}, 1),
                                            SideOf({RunOf({OfClass(name, 1.25, rounds)})}, 1), {});
      const CompareRow& row = comparison.rows.at(0);
      EXPECT_NEAR(row.change.estimate, 0.8, 1e-12);
      EXPECT_EQ(row.verdict, Verdict::kNone);
      EXPECT_FALSE(row.change.interval.has_value());
      EXPECT_FALSE(row.confidence.has_value());
      EXPECT_FALSE(row.resolution.has_value());
      EXPECT_FALSE(row.more_runs.has_value());
      EXPECT_NEAR(row.per_usd_change.value(), 0.8, 1e-12);
      EXPECT_EQ(row.per_usd_verdict, Verdict::kNone);
      EXPECT_THAT(row.between_runs, HasSubstr("not measured, a cautious guess"));
      EXPECT_THAT(comparison.notes, Contains(HasSubstr(kNoVerdict)));
      for (const std::string& shown : {ComparisonTable(comparison, false, "2026-11-29"),
                                       ComparisonCsv(comparison), ComparisonToJson(comparison)}) {
        EXPECT_THAT(shown, HasSubstr("no verdict: \u03c3 is a guess; `assay noise` measures it"));
        EXPECT_THAT(shown, Not(HasSubstr("±")));
        EXPECT_THAT(shown, Not(HasSubstr("intervals: 95 %")));
      }
      // Nor is it the same, however wide that is meant.
      EXPECT_EQ(Compare(comparison.baseline, comparison.candidate, {.within = 0.9}).rows[0].verdict,
                Verdict::kNone);
    }
  }
}

// exp(12.7062 sqrt(2) sigma), whichever side is the faster, and per dollar the same.
TEST(Compare, AGuessTellsAFactorBeyondItsBoundAndSaysThatItIsGuessed) {
  for (const auto& [name, inside, beyond] : {std::tuple("compute", 1.7144, 1.7145),
                                             {"network", 6.0310, 6.0312},
                                             {"storage", 219.35, 219.39}}) {
    const auto side = [&](double time, double usd = 1) {
      return SideOf({RunOf({OfClass(name, time, 5)})}, usd);
    };
    for (const bool faster : {false, true}) {
      const auto compared = [&](double factor) {
        return faster ? Compare(side(factor), side(1), {}) : Compare(side(1), side(factor), {});
      };
      EXPECT_EQ(compared(inside).rows[0].verdict, Verdict::kNone) << name;
      const Comparison clear = compared(beyond);
      EXPECT_EQ(clear.rows[0].verdict, faster ? Verdict::kFaster : Verdict::kSlower) << name;
      EXPECT_EQ(clear.rows[0].per_usd_verdict, clear.rows[0].verdict);
      EXPECT_FALSE(clear.rows[0].change.interval.has_value());
      const std::string word = faster ? "guessed faster" : "guessed slower";
      EXPECT_THAT(ComparisonCsv(clear), HasSubstr("," + word + ","));
      EXPECT_THAT(ComparisonCsv(clear), HasSubstr(faster ? "guessed more" : "guessed less"));
      EXPECT_THAT(ComparisonToJson(clear), HasSubstr("\"verdict\":\"" + word + "\""));
      EXPECT_THAT(ComparisonToJson(clear), HasSubstr("\"per_usd_verdict\":\"" + word + "\""));
      EXPECT_THAT(ComparisonTable(clear, false, "2026-11-29"),
                  HasSubstr(faster ? "guessed FASTER" : "guessed SLOWER"));
      EXPECT_THAT(ComparisonTable(clear, false, "2026-11-29"), Not(HasSubstr("±")));
    }
    const Ranking near = Rank({side(1), side(inside)}, {});
    EXPECT_EQ(near.cases[0].entries[1].by_speed, 1);
    EXPECT_EQ(near.cases[0].entries[1].by_usd, 1);
    EXPECT_THAT(near.notes, Contains(HasSubstr(kNoVerdict)));
    const Ranking far = Rank({side(1), side(beyond)}, {});
    EXPECT_EQ(far.cases[0].entries[1].by_speed, 2);
    EXPECT_EQ(far.cases[0].entries[1].by_usd, 2);
    EXPECT_EQ(far.cases[0].entries[1].note, "a guessed rank; a guessed rank per USD");
    EXPECT_EQ(far.cases[0].entries[0].note, "");
  }
}

TEST(Compare, TwoRunsASideLeaveTheGuessOut) {
  const Comparison comparison = Compare(SideOf(RunsOf({1, 1.01})), SideOf(RunsOf({1, 1.02})), {});
  EXPECT_THAT(comparison.notes, Not(Contains(HasSubstr("guess"))));
  EXPECT_EQ(comparison.rows[0].between_runs, "");
  const Interval expected = RatioInterval(std::vector<double>{0, -std::log(1.01)},
                                          std::vector<double>{0, -std::log(1.02)});
  EXPECT_NEAR(comparison.rows[0].change.interval->low, expected.low, 1e-12);
  EXPECT_NEAR(comparison.rows[0].change.interval->high, expected.high, 1e-12);
}

// Three runs know their own spread, the one on the other side doesn't: the guess stands for it,
// and for the three as far as they vary by less.
TEST(Compare, OneRunAgainstSeveralIsStillAGuess) {
  const Side one = SideOf(RunsOf({1}));
  for (const auto& [times, variance] :
       {std::pair(std::vector<double>{1, 1.001, 0.999}, 0.03 * 0.03),
        {std::vector<double>{1, std::exp(0.3), std::exp(-0.3)}, 0.09 / 3}}) {
    const Comparison comparison = Compare(SideOf(RunsOf(times)), one, {});
    const Change& change = comparison.rows[0].change;
    EXPECT_EQ(comparison.rows[0].verdict, Verdict::kNone);
    EXPECT_NEAR(std::log(change.guess_bound), StudentT(0.95, 1) * std::sqrt(variance + 0.03 * 0.03),
                1e-9);
    EXPECT_EQ(Compare(one, comparison.baseline, {}).rows[0].change.guess_bound, change.guess_bound);
    EXPECT_EQ(change.level, "1 run, this node against 3 runs, this node");
  }
}

OneRun At(OneRun run, const std::string& started) {
  run.started = started;
  return run;
}

Noise Measured(const std::string& probe, double sigma, double df) {
  return {.probe = probe,
          .machine = "m7i.large",
          .sigma = sigma,
          .df = df,
          .span_minutes = 60,
          .is_measured = true,
          .how = "16 A/A runs",
          .date = "2026-11-28"};
}

// How far the interval of one run a side reaches in logs, with these rows.
double ReachOf(const std::vector<Noise>& rows, const std::string& start_a,
               const std::string& start_b, std::string* words = nullptr) {
  const Comparison comparison = Compare(SideOf({At(RunsOf({1})[0], start_a)}),
                                        SideOf({At(RunsOf({1.1})[0], start_b)}), {.noise = rows});
  const CompareRow& row = comparison.rows.at(0);
  EXPECT_EQ(comparison.notes.size(), 2U);
  EXPECT_THAT(comparison.notes, Contains(HasSubstr(row.between_runs)));
  if (words != nullptr) *words = row.between_runs;
  EXPECT_NEAR(std::log(row.change.interval->high) + std::log(row.change.interval->low),
              -2 * std::log(1.1), 1e-9);
  return std::log(row.change.interval->high / row.change.estimate);
}

TEST(Compare, AMeasuredSpreadGivesOneRunASideAnInterval) {
  constexpr const char* kNoon = "2026-11-28T12:00:00Z";
  const auto reach = [](double t_df) { return StudentT(0.95, t_df) * std::sqrt(2.0) * 0.02; };
  std::string words;
  EXPECT_NEAR(ReachOf({Measured("gemm", 0.02, 5)}, kNoon, "2026-11-28T13:00:00Z", &words), reach(5),
              1e-9);
  EXPECT_EQ(words, "gemm 2 % (16 A/A runs over 60 min, 2026-11-28)");
  // No row counts as more than 8.
  EXPECT_NEAR(ReachOf({Measured("gemm", 0.02, 15)}, kNoon, kNoon), reach(8), 1e-9);
  // Further apart than the row's span, on the other side or unknown: 2, and it is said.
  for (const char* other : {"2026-11-28T13:00:01Z", "2026-11-28T10:59:59Z", "", "yesterday"}) {
    EXPECT_NEAR(ReachOf({Measured("gemm", 0.02, 15)}, kNoon, other, &words), reach(2), 1e-9);
    EXPECT_THAT(words, HasSubstr("further apart, so that it counts as 2 df"));
    EXPECT_NEAR(ReachOf({Measured("gemm", 0.02, 15)}, other, kNoon), reach(2), 1e-9);
  }
  EXPECT_NEAR(ReachOf({Measured("gemm", 0.02, 1)}, kNoon, ""), reach(1), 1e-9);
}

TEST(Compare, AMeasuredSpreadStandsBesideThatOfSeveralRuns) {
  const auto runs = [](const std::vector<double>& times) {
    Runs all = RunsOf(times);
    for (OneRun& run : all) run.started = "2026-11-28T12:00:00Z";
    return SideOf(all);
  };
  const std::vector<double> times = {1, 1.05, 0.95};
  const CompareOptions options = {.noise = {Measured("compute", 0.02, 15)}};
  const Side one = runs({1});
  std::vector<double> logs;
  for (const double time : times) logs.push_back(-std::log(time));
  const double own = StandardDeviation(logs) * StandardDeviation(logs) / 3;
  const double other = 0.02 * 0.02;
  const double df = (own + other) * (own + other) / (own * own / 2 + other * other / 8);
  const double reach = StudentT(0.95, std::min(df, 10.0)) * std::sqrt(own + other);
  for (const bool swapped : {false, true}) {
    const Comparison comparison =
        swapped ? Compare(one, runs(times), options) : Compare(runs(times), one, options);
    const Interval& interval = comparison.rows[0].change.interval.value();
    EXPECT_NEAR(std::log(interval.high / interval.estimate), reach, 1e-9);
    EXPECT_NEAR(std::log(interval.estimate / interval.low), reach, 1e-9);
  }
}

// Rows without an interval take no part in what is adjusted for several cases.
TEST(Compare, OnlyRowsWithAnIntervalAreOfHolmsFamily) {
  const auto side = [](double gemm, double storage) {
    return SideOf({At(RunOf({Gemm(64, {gemm}), Gemm(65, {gemm}), Storage("proved", {storage})}),
                      "2026-11-28T12:00:00Z")});
  };
  const Comparison comparison =
      Compare(side(1, 1), side(1.01, 1.01), {.noise = {Measured("gemm", 0.02, 15)}});
  ASSERT_EQ(comparison.rows.size(), 3U);
  EXPECT_NEAR(comparison.rows[0].confidence.value(), 0.975, 1e-12);
  EXPECT_NEAR(comparison.rows[1].confidence.value(), 0.975, 1e-12);
  EXPECT_FALSE(comparison.rows[2].confidence.has_value());
  EXPECT_EQ(comparison.rows[2].verdict, Verdict::kNone);
  EXPECT_THAT(comparison.notes, Contains(HasSubstr("until then storage beyond a factor of 219")));
  // sinh(t 2 % sqrt(2 / n)) / 1.01 is 1 % of n = 41 runs a side at 97.5 %.
  EXPECT_EQ(comparison.rows[0].more_runs, 40);
}

// A slowdown is told where the interval reaches less far than it, or lies above it as it is.
TEST(Compare, ASlowdownIsFailedPassedOrNotTold) {
  const auto of = [](double time, double share, const std::vector<double>& spread) {
    Runs a = RunsOf(spread);
    Runs b;
    for (const double one : spread) b.push_back(RunsOf({time * one})[0]);
    return *Compare(SideOf(a), SideOf(b), {.fail_slower = share}).rows[0].slower_than;
  };
  // The interval reaches 2.27 % to either side.
  const std::vector<double> spread = {0.99, 1.0, 1.01};
  const double reach = std::log(
      Compare(SideOf(RunsOf(spread)), SideOf(RunsOf(spread)), {}).rows[0].change.interval->high);
  EXPECT_NEAR(reach, 0.02267, 1e-5);
  EXPECT_TRUE(of(1, 1 - std::exp(-reach - 1e-6), spread).is_told);
  const SlowerThan untold = of(1, 1 - std::exp(-reach + 1e-6), spread);
  EXPECT_FALSE(untold.is_told);
  EXPECT_FALSE(untold.is_so);
  EXPECT_EQ(untold.more_runs, 1);
  EXPECT_EQ(of(1, 0.001, spread).more_runs, 766);
  // The candidate is so much faster that it can't be slower by 1 %.
  EXPECT_FALSE(of(std::exp(-reach + 0.01006), 0.01, spread).is_told);
  EXPECT_TRUE(of(std::exp(-reach + 0.01004), 0.01, spread).is_told);
  // Slower for sure, by more than is allowed and by less.
  EXPECT_TRUE(of(1.05, 0.047, spread).is_so);
  EXPECT_FALSE(of(1.05, 0.048, spread).is_so);
  EXPECT_TRUE(of(1.05, 0.048, spread).is_told);
  // Within a margin that is wider than what is allowed it is slower all the same.
  EXPECT_TRUE(Compare(SideOf(RunsOf(spread)), SideOf(RunsOf({1.039, 1.04, 1.041})),
                      {.within = 0.2, .fail_slower = 0.03})
                  .rows[0]
                  .slower_than->is_so);
}

TEST(Compare, WithAGuessOnlySlowdownsBeyondItsBoundAreTold) {
  const auto of = [](double time, double share) {
    return *Compare(SideOf(RunsOf({1})), SideOf(RunsOf({time})), {.fail_slower = share})
                .rows[0]
                .slower_than;
  };
  EXPECT_FALSE(of(1, 0.03).is_told);
  EXPECT_FALSE(of(1, 0.03).more_runs.has_value());
  EXPECT_FALSE(of(1, 0.4167).is_told);
  EXPECT_TRUE(of(1, 0.4168).is_told);
  EXPECT_FALSE(of(1.70, 0.03).is_so);
  EXPECT_TRUE(of(1.72, 0.03).is_so);
  EXPECT_TRUE(of(0.5, 0.03).is_told);
}

// The median of all samples is that of most rounds; of the logs of rounds each has its share. What
// is shown is what is compared, so that no change contradicts its columns.
TEST(Compare, TheFiguresShownAreThoseThatAreCompared) {
  const auto run = [](double slow_round) { return RunOf({Gemm(64, {1, 1, 1, 1, slow_round})}); };
  for (const bool swapped : {false, true}) {
    Side a = SideOf({run(1), run(1)});
    Side b = SideOf({run(4), run(4)});
    if (swapped) std::swap(a, b);
    const CompareRow row = Compare(a, b, {}).rows[0];
    EXPECT_NEAR(row.candidate / row.baseline, row.change.estimate, 1e-12);
    EXPECT_NEAR(swapped ? row.baseline : row.candidate, 1e12 * std::pow(4, -0.2), 1e3);
    EXPECT_EQ(
        row.note,
        "single rounds stand apart: the runs' own figures are 1.000 TFLOP/s and 1.000 TFLOP/s");
    const Ranking ranking = Rank({a, b}, {});
    EXPECT_NEAR(ranking.cases[0].entries[0].speed, 1e12, 1e3);
    EXPECT_NEAR(ranking.cases[0].entries[1].speed, 1e12 * std::pow(4, -0.2), 1e3);
  }
  // Within the margin there is nothing to say.
  EXPECT_EQ(Compare(SideOf({run(1), run(1)}), SideOf({run(1.04), run(1.04)}), {}).rows[0].note, "");
}

// A side that is stopped again and again is counted as work over time, and so is the other: its
// median would leave out hiccups that the first one's figure pays for.
TEST(Compare, BothSidesAreComparedByOneStatistic) {
  Record paced = Gemm(64, {});
  paced.facts["paced"] = std::string("CPU quota");
  Record free = Gemm(64, {});
  for (int round = 0; round < 3; ++round) {
    for (Record* record : {&paced, &free}) {
      record->rounds.push_back({.batch = 1, .time_s = {1, 1, 1, 1, 2}});
    }
  }
  for (const bool swapped : {false, true}) {
    const Side a = SideOf({RunOf({swapped ? free : paced}), RunOf({swapped ? free : paced})});
    const Side b = SideOf({RunOf({swapped ? paced : free}), RunOf({swapped ? paced : free})});
    EXPECT_NEAR(Compare(a, b, {}).rows[0].change.estimate, 1, 1e-12);
    EXPECT_NEAR(Compare(a, b, {}).rows[0].baseline, 1e12 / 1.2, 1e3);
    const Ranking ranking = Rank({a, b, b}, {});
    for (const RankEntry& entry : ranking.cases[0].entries) {
      EXPECT_NEAR(entry.speed, 1e12 / 1.2, 1e3);
      EXPECT_EQ(entry.by_speed, 1);
    }
  }
  // Where neither is paced the median stays what it was.
  const Side unpaced = SideOf({RunOf({free}), RunOf({free})});
  EXPECT_NEAR(Compare(unpaced, unpaced, {}).rows[0].baseline, 1e12, 1e3);
}

TEST(Compare, EachProbeHasTheMarginOfItsClass) {
  const Side side = SideOf(
      {RunOf({Storage("proved", {1, 1, 1}), Gemm(64, {1, 1, 1}), OfClass("network", 1, 3)})});
  const Comparison comparison = Compare(side, side, {});
  ASSERT_EQ(comparison.rows.size(), 3U);
  EXPECT_EQ(comparison.rows[0].margin, 0.03);
  EXPECT_EQ(comparison.rows[1].margin, 0.01);
  EXPECT_EQ(comparison.rows[2].margin, 0.05);
  // Between types of machine it takes too many nodes to tell that they are the same within 1 %.
  const Comparison types = Compare(side, side, {.are_types = true});
  EXPECT_EQ(types.rows[0].margin, 0.03);
  EXPECT_EQ(types.rows[1].margin, 0.03);
  EXPECT_EQ(types.rows[2].margin, 0.05);
  EXPECT_EQ(Compare(side, side, {.within = 0.01, .are_types = true}).rows[1].margin, 0.01);
}

TEST(Compare, TheMarginIsAnOption) {
  const Comparison comparison = Compare(SideOf(RunsOf({1.0, 1.001, 0.999})),
                                        SideOf(RunsOf({1.03, 1.031, 1.029})), {.within = 0.05});
  EXPECT_EQ(comparison.rows[0].verdict, Verdict::kSame);
}

// Two cases, both 4 standard errors or so apart: alone each would be judged at 95 %, together the
// clearer one at 97.5 % and, it being clear, the other at 95 %.
TEST(Compare, IntervalsAreHolmAdjustedOverTheRows) {
  const auto runs = [](double gemm_64, double gemm_65) {
    Runs all;
    for (const double noise : {0.99, 1.0, 1.01, 1.0}) {
      all.push_back(RunOf({Gemm(64, {gemm_64 * noise}), Gemm(65, {gemm_65 * noise})}));
    }
    return all;
  };
  const Comparison clear = Compare(SideOf(runs(1, 1)), SideOf(runs(1.10, 1.02)), {});
  EXPECT_NEAR(clear.rows[0].confidence.value(), 0.975, 1e-12);
  EXPECT_NEAR(clear.rows[1].confidence.value(), 0.95, 1e-12);
  EXPECT_EQ(clear.rows[1].verdict, Verdict::kSlower);
  // Where not even the clearest is clear, all keep its level.
  const Comparison unclear = Compare(SideOf(runs(1, 1)), SideOf(runs(1.01, 1.002)), {});
  EXPECT_NEAR(unclear.rows[0].confidence.value(), 0.975, 1e-12);
  EXPECT_NEAR(unclear.rows[1].confidence.value(), 0.975, 1e-12);
}

TEST(Compare, ResolutionAndTheRunsThatWouldReachTheMargin) {
  const Comparison comparison =
      Compare(SideOf(RunsOf({0.98, 1.0, 1.02, 1.0})), SideOf(RunsOf({0.98, 1.0, 1.02, 1.0})), {});
  const CompareRow& row = comparison.rows[0];
  EXPECT_DOUBLE_EQ(row.resolution.value(),
                   (row.change.interval->high - row.change.interval->low) / 2);
  ASSERT_TRUE(row.more_runs.has_value());
  // Half width t s sqrt(2/n) with s = 1.633 %: n = 22 gives 0.994 %, n = 21 gives 1.019 %.
  EXPECT_EQ(*row.more_runs, 22 - 4);
  const Comparison wide = Compare(comparison.baseline, comparison.candidate, {.within = 0.5});
  EXPECT_FALSE(wide.rows[0].more_runs.has_value()) << "it is reached already";
}

TEST(Compare, CasesOfOneSideAreNamed) {
  Record failed = Gemm(66, {});
  failed.status = Status::kFailed;
  failed.reason = "out of memory";
  const Comparison comparison =
      Compare(SideOf({RunOf({Gemm(64, {1}), Gemm(65, {1}), Gemm(66, {1})})}),
              SideOf({RunOf({Gemm(64, {1}), Gemm(67, {1}), failed})}), {});
  EXPECT_EQ(comparison.rows.size(), 1u);
  EXPECT_THAT(comparison.only_baseline,
              ElementsAre(HasSubstr("65"), HasSubstr("failed: out of memory in the candidate")));
  EXPECT_THAT(comparison.only_candidate, ElementsAre(HasSubstr("67")));
}

TEST(Compare, NothingInCommonIsAnErrorThatNamesBoth) {
  const std::string error =
      ErrorOf(SideOf({RunOf({Gemm(64, {1})})}), SideOf({RunOf({Gemm(65, {1})})}));
  EXPECT_THAT(error, HasSubstr("no case in common"));
  EXPECT_THAT(error, HasSubstr("64"));
  EXPECT_THAT(error, HasSubstr("65"));
}

TEST(Compare, OneBackendASideIsPairedWhateverItsName) {
  Record native = Gemm(64, {1});
  native.backend = "native";
  const Comparison comparison =
      Compare(SideOf({RunOf({Gemm(64, {1})})}), SideOf({RunOf({native})}), {});
  ASSERT_EQ(comparison.rows.size(), 1u);
  EXPECT_EQ(comparison.rows[0].note, "onednn against native");
}

TEST(Compare, SeveralBackendsArePairedByName) {
  Record native = Gemm(64, {2});
  native.backend = "native";
  Record other = Gemm(64, {3});
  other.backend = "blis";
  const Comparison comparison =
      Compare(SideOf({RunOf({Gemm(64, {1}), native})}), SideOf({RunOf({native, other})}), {});
  ASSERT_EQ(comparison.rows.size(), 1u);
  EXPECT_EQ(comparison.rows[0].backend, "native");
  EXPECT_DOUBLE_EQ(comparison.rows[0].change.estimate, 1);
  EXPECT_THAT(comparison.only_baseline, ElementsAre(HasSubstr("onednn")));
  EXPECT_THAT(comparison.only_candidate, ElementsAre(HasSubstr("blis")));
}

TEST(Compare, ACpuIsNotPairedWithAnAccelerator) {
  Record gpu = Gemm(64, {0.01});
  gpu.backend = "fake";
  gpu.device.kind = "gpu";
  EXPECT_THAT(ErrorOf(SideOf({RunOf({Gemm(64, {1})})}), SideOf({RunOf({gpu})})),
              HasSubstr("no case in common"));
}

TEST(Compare, UnlikeMethodsAreComparedOnlyByForce) {
  Record newer = Gemm(64, {1});
  newer.method = 2;
  const Side a = SideOf({RunOf({Gemm(64, {1}), Gemm(65, {1})})});
  const Side b = SideOf({RunOf({newer, Gemm(65, {1})})});
  const Comparison comparison = Compare(a, b, {});
  EXPECT_EQ(comparison.rows.size(), 1u);
  EXPECT_THAT(comparison.notes, Contains(HasSubstr("method 1 against 2")));
  EXPECT_THAT(comparison.only_baseline, IsEmpty());
  const Comparison forced = Compare(a, b, {.force = true});
  ASSERT_EQ(forced.rows.size(), 2u);
  EXPECT_EQ(forced.rows[0].note, "method 1 against 2");
}

TEST(Compare, StorageThatWasReachedUnlikeIsNeverCompared) {
  const Side a = SideOf({RunOf({Storage("proved", {1}), Gemm(64, {1})})});
  const Side b = SideOf({RunOf({Storage("refuted", {1}), Gemm(64, {1})})});
  for (const bool force : {false, true}) {
    const Comparison comparison = Compare(a, b, {.force = force});
    ASSERT_EQ(comparison.rows.size(), 1u);
    EXPECT_EQ(comparison.rows[0].probe, "gemm");
    EXPECT_THAT(comparison.notes, Contains(HasSubstr("direct is proved against refuted")));
  }
  EXPECT_EQ(Compare(a, a, {}).rows.size(), 2u);
}

TEST(Compare, WorkOfMoreNodesIsNeverCompared) {
  const auto gemm_on = [](int nodes) {
    Record record = Gemm(64, {1});
    record.units.clear();
    for (int node = 0; node < nodes; ++node) record.units.push_back({.rank = node, .node = node});
    return record;
  };
  const Side one = SideOf({RunOf({gemm_on(1), Gemm(65, {1})})});
  const Side two = SideOf({RunOf({gemm_on(2), Gemm(65, {1})})});
  for (const bool force : {false, true}) {
    const Comparison comparison = Compare(one, two, {.force = force});
    ASSERT_EQ(comparison.rows.size(), 1u);
    EXPECT_EQ(ToText(comparison.rows[0].params.at("m")), "65");
    EXPECT_THAT(comparison.notes, Contains(HasSubstr("the work of 1 node against that of 2")));
    EXPECT_THAT(Rank({one, two, two}, {.force = force}).notes,
                Contains(HasSubstr("the number of nodes differs between the files")));
  }
  EXPECT_EQ(Compare(two, two, {}).rows.size(), 2u);
}

TEST(Compare, WorkPerDollarIsSpeedOverPrice) {
  const Comparison comparison = Compare(SideOf(RunsOf({1.0, 1.001, 0.999}), 2.0),
                                        SideOf(RunsOf({1.0, 1.001, 0.999}), 1.0), {});
  const CompareRow& row = comparison.rows[0];
  EXPECT_NEAR(row.per_usd_change.value(), 2, 1e-12);
  EXPECT_EQ(row.per_usd_verdict, Verdict::kFaster);
  EXPECT_FALSE(row.per_usd_envelope.has_value());
}

// A node that is held is paid, also where the case ran on the other one alone.
TEST(Compare, EveryNodeHeldIsPaid) {
  Runs held = RunsOf({1.0, 1.001, 0.999});
  for (OneRun& run : held) run.nodes.push_back(run.nodes[0]);
  const Side two = SideOf(held, 1.0);
  const Side one = SideOf(RunsOf({1.0, 1.001, 0.999}), 1.0);
  EXPECT_NEAR(Compare(one, two, {}).rows[0].per_usd_change.value(), 0.5, 1e-12);
  EXPECT_NEAR(Compare(two, one, {}).rows[0].per_usd_change.value(), 2, 1e-12);
  const Ranking ranking = Rank({one, two}, {});
  std::map<std::size_t, double> usd;
  for (const RankEntry& entry : ranking.cases[0].entries) usd[entry.side] = entry.usd.value();
  EXPECT_NEAR(usd.at(1), 2 * usd.at(0), 1e-9);
}

TEST(Compare, WhatHasNoPriceIsRankedWithoutDollars) {
  OneRun run = RunOf({Storage("refuted", {1, 1.01, 0.99})});
  const Side refuted = SideOf({run}, 1.0);
  run.id = "other";
  const Ranking ranking = Rank({refuted, SideOf({run}, 1.0)}, {});
  ASSERT_EQ(ranking.cases[0].entries.size(), 2u);
  for (const RankEntry& entry : ranking.cases[0].entries) {
    EXPECT_FALSE(entry.usd);
    EXPECT_THAT(entry.note, HasSubstr("refuted"));
  }
}

TEST(Compare, ARangeOfPricesIsAnEnvelopeThatTheVerdictHasToHoldIn) {
  Side a = SideOf(RunsOf({1.0, 1.001, 0.999}), 2.0);
  Side b = SideOf(RunsOf({1.0, 1.001, 0.999}), 1.0);
  b.price.offer->usd_low = 0.8;
  b.price.offer->usd_high = 2.5;
  const CompareRow row = Compare(a, b, {}).rows[0];
  EXPECT_NEAR(row.per_usd_envelope->low, 0.8, 1e-12);
  EXPECT_NEAR(row.per_usd_envelope->high, 2.5, 1e-12);
  EXPECT_EQ(row.per_usd_verdict, Verdict::kUnclear);
}

TEST(Compare, APartOfANodeIsNotComparedPerDollar) {
  Runs runs = RunsOf({1, 1, 1});
  for (OneRun& run : runs) run.nodes[0].cpu.quota = 1.4;
  const Comparison comparison = Compare(SideOf(RunsOf({1, 1, 1}), 1.0), SideOf(runs, 1.0), {});
  EXPECT_FALSE(comparison.rows[0].per_usd_change.has_value());
  EXPECT_THAT(comparison.rows[0].note, HasSubstr("1.4 of 2 used"));
}

TEST(Compare, ACpuCaseIsNotPricedOnANodeThatIsPaidForItsAccelerators) {
  Runs runs = RunsOf({1, 1, 1});
  for (OneRun& run : runs) run.nodes[0].accelerators = {{.name = "H100", .present = 8}};
  const Comparison comparison = Compare(SideOf(RunsOf({1, 1, 1}), 1.0), SideOf(runs, 1.0), {});
  EXPECT_FALSE(comparison.rows[0].per_usd_change.has_value());
  EXPECT_THAT(comparison.rows[0].note, HasSubstr("accelerators"));
}

OneRun Closed(OneRun run) {
  run.assay.image_digest = "sha256:0123";
  run.assay.commit = "abc1234";
  run.suite = {.name = "quick", .version = 1, .sha256 = "9f"};
  return run;
}

TEST(Division, IsComputedFromTheFile) {
  const OneRun closed = Closed(RunOf({Gemm(64, {1})}));
  EXPECT_EQ(DivisionOf(closed), "closed");
  OneRun changed = closed;
  changed.division = "closed";  // never declared
  changed.assay.dirty = true;
  EXPECT_EQ(DivisionOf(changed), "open");
  changed = closed;
  changed.assay.image_digest.reset();
  EXPECT_EQ(DivisionOf(changed), "open");
  changed = closed;
  changed.records[0].params["algo"] = std::string("tuned");
  EXPECT_EQ(DivisionOf(changed), "open");
  changed = closed;
  changed.nodes[0].env["NCCL_ALGO"] = "Ring";
  EXPECT_EQ(DivisionOf(changed), "open");
  changed = closed;
  changed.suite.sha256 = "";
  EXPECT_EQ(DivisionOf(changed), "open");
}

TEST(Compare, DifferentSoftwareIsSaidFirstAndNotPriced) {
  const Side closed = SideOf({Closed(RunOf({Gemm(64, {1, 1})}))}, 1.0);
  const Side open = SideOf({RunOf({Gemm(64, {1, 1})})}, 1.0);
  const Comparison comparison = Compare(closed, open, {});
  EXPECT_THAT(comparison.notes.front(), HasSubstr("different software"));
  EXPECT_FALSE(comparison.rows[0].per_usd_change.has_value());
  EXPECT_TRUE(Compare(closed, open, {.force = true}).rows[0].per_usd_change.has_value());
}

TEST(Compare, AnInterruptedRunIsSaid) {
  OneRun run = RunOf({Gemm(64, {1, 1})});
  run.complete = false;
  run.status = "interrupted";
  const Comparison comparison = Compare(SideOf({run}), SideOf({RunOf({Gemm(64, {1})})}), {});
  EXPECT_THAT(comparison.notes, Contains("run1.json: interrupted, 2 of 5 rounds"));
}

TEST(Compare, OfARunThatEndedItIsSaidWhichCasesAreNotComplete) {
  const auto with_status = [](Status status) {
    Record record = Gemm(66, {1, 1});
    record.status = status;
    record.complete = false;
    if (status != Status::kOk) record.rounds.clear();
    return record;
  };
  OneRun run =
      RunOf({Gemm(64, {1, 1}), with_status(Status::kSkipped), with_status(Status::kSkipped),
             with_status(Status::kFailed), with_status(Status::kOk)});
  run.complete = false;
  run.status = "complete";
  EXPECT_THAT(
      Compare(SideOf({run}), SideOf({RunOf({Gemm(64, {1})})}), {}).notes,
      Contains("run1.json: cases that are not complete: 1 failed, 1 short of rounds, 2 skipped"));
}

TEST(Compare, ARunThatSaysOnlyThatItIsNotCompleteIsSaidToBeSo) {
  OneRun run = RunOf({Gemm(64, {1, 1})});
  run.complete = false;
  run.status = "complete";
  EXPECT_THAT(Compare(SideOf({run}), SideOf({RunOf({Gemm(64, {1})})}), {}).notes,
              Contains("run1.json: not complete"));
}

TEST(Compare, CasesOfBothSidesThatAreNotComparedAreCounted) {
  const auto of_method = [](int method) {
    Record record = Gemm(66, {1});
    record.method = method;
    return record;
  };
  const Comparison comparison =
      Compare(SideOf({RunOf({Gemm(64, {1}), Gemm(66, {1})})}),
              SideOf({RunOf({Gemm(64, {1}), of_method(7), of_method(8)})}), {});
  EXPECT_EQ(comparison.refused, 1u);
  EXPECT_THAT(comparison.only_baseline, IsEmpty());
}

TEST(Compare, WhatDiffersInTheSurroundingsIsSaidInWords) {
  OneRun a = RunOf({Gemm(64, {1})});
  OneRun b = a;
  b.nodes[0].cpu.model = "EPYC";
  b.nodes[0].cpu.quota = 1.4;
  b.nodes[0].software = {{"onednn", "3.7"}};
  b.nodes[0].notes = {{.what = "CPU governor is 'powersave'", .remedy = "…"}};
  const Comparison comparison = Compare(SideOf({a}), SideOf({b}), {});
  EXPECT_THAT(comparison.differences,
              ElementsAre("CPU: Xeon against EPYC", "CPU quota: none against 1.4 cores",
                          "CPU governor is 'powersave' (candidate only)", "onednn: - against 3.7"));
  EXPECT_THAT(Compare(SideOf({a}), SideOf({a}), {}).differences, IsEmpty());
}

TEST(Rank, TiedFilesShareARank) {
  const Ranking ranking =
      Rank({SideOf(RunsOf({2.0, 2.001, 1.999})), SideOf(RunsOf({1, 1.002, 0.998})),
            SideOf(RunsOf({1.001, 1.003, 0.999})), SideOf(RunsOf({4, 4.001, 4.002}))},
           {});
  ASSERT_EQ(ranking.cases.size(), 1u);
  std::vector<std::size_t> sides;
  std::vector<int> ranks;
  for (const RankEntry& entry : ranking.cases[0].entries) {
    sides.push_back(entry.side);
    ranks.push_back(entry.by_speed);
  }
  EXPECT_THAT(sides, ElementsAre(1, 2, 0, 3));
  EXPECT_THAT(ranks, ElementsAre(1, 1, 3, 4));
}

TEST(Rank, ByDollarTheSlowerMayComeFirstAndAPartOfANodeIsNotRanked) {
  Runs part = RunsOf({1, 1.001, 0.999});
  for (OneRun& run : part) run.nodes[0].cpu.cores_used = 1;
  const Ranking ranking =
      Rank({SideOf(RunsOf({1, 1.001, 0.999}), 4.0), SideOf(RunsOf({2, 2.002, 1.998}), 1.0),
            SideOf(part, 0.1), SideOf(RunsOf({3, 3.001, 3.002}))},
           {});
  const std::vector<RankEntry>& entries = ranking.cases[0].entries;
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(ranking.cases[0].cost_label, "$ per TFLOP/s-h");
  const auto of_side = [&](std::size_t side) {
    return *std::find_if(entries.begin(), entries.end(),
                         [&](const RankEntry& entry) { return entry.side == side; });
  };
  EXPECT_EQ(of_side(0).by_usd, 2);
  EXPECT_EQ(of_side(1).by_usd, 1);
  EXPECT_FALSE(of_side(2).by_usd.has_value());
  EXPECT_NEAR(of_side(2).usd.value(), 0.1, 1e-3);
  EXPECT_EQ(of_side(2).note, "1 of 2 used, and all are paid");
  EXPECT_FALSE(of_side(3).usd.has_value());
}

TEST(Rank, NothingMeasuredTwiceIsAnError) {
  EXPECT_THROW(Rank({SideOf({RunOf({Gemm(64, {1})})}), SideOf({RunOf({Gemm(65, {1})})})}, {}),
               Error);
}

TEST(Compare, AFigureThatMayBeACachesIsMarkedOnTheSideThatHasIt) {
  const std::vector<double> times = {1, 1.01, 0.99};
  const auto refuted = RunOf({Storage("refuted", times)});
  auto memory = RunOf({Storage("refuted", times)}, "n2");
  memory.records[0].storage = 0;
  memory.nodes[0].storage = {{.kind = "memory"}};
  const auto note = [](const auto& a, const auto& b) {
    return Compare(SideOf({a}, 1), SideOf({b}, 1), {}).rows.at(0).note;
  };
  EXPECT_THAT(note(refuted, memory), testing::HasSubstr("baseline refuted"));
  EXPECT_THAT(note(refuted, memory), testing::HasSubstr("candidate memory"));
  EXPECT_THAT(note(memory, refuted), testing::HasSubstr("baseline memory"));
  const auto unproven = RunOf({Storage("unproven", times)}, "n3");
  const auto unproven_too = RunOf({Storage("unproven", times)}, "n4");
  EXPECT_THAT(note(unproven, unproven_too), testing::StartsWith("cache?: direct I/O is unproven"));
  const Comparison priced = Compare(SideOf({unproven}, 1), SideOf({unproven_too}, 1), {});
  EXPECT_TRUE(priced.rows.at(0).per_usd_change);
  const Comparison unpriced = Compare(SideOf({refuted}, 1), SideOf({memory}, 1), {});
  EXPECT_FALSE(unpriced.rows.at(0).per_usd_change);
}

// A sweep in the order in which it was asked for, which is none.
std::vector<Record> Sweep() {
  std::vector<Record> records;
  for (const std::int64_t bytes : {std::int64_t{1} << 20, 8L, 65536L, 1024L}) {
    Record record = OfClass("network", 1, 2);
    record.params["bytes"] = bytes;
    records.push_back(record);
  }
  return records;
}

// The sizes that stand between these two texts, in their order.
std::vector<std::string> SizesIn(const std::string& text, const std::string& before, char after) {
  std::vector<std::string> sizes;
  for (std::size_t at = text.find(before); at != std::string::npos; at = text.find(before, at)) {
    at += before.size();
    sizes.push_back(text.substr(at, text.find(after, at) - at));
  }
  return sizes;
}

TEST(Compare, RowsOfASweepStandInTheOrderOfSizes) {
  const Side side = SideOf({RunOf(Sweep())});
  const Comparison comparison = Compare(side, side, {});
  EXPECT_THAT(SizesIn(ComparisonToJson(comparison), "\"bytes\":", ','),
              ElementsAre("8", "1024", "65536", "1048576"));
  EXPECT_THAT(SizesIn(ComparisonCsv(comparison), "bytes=", ','),
              ElementsAre("8", "1024", "65536", "1048576"));
  EXPECT_THAT(SizesIn(ComparisonTable(comparison, false), "  bytes=", ','),
              ElementsAre("8", "1024", "65536", "1048576"));
  EXPECT_THAT(SizesIn(RankingToJson(Rank({side, side, side}, {})), "\"bytes\":", ','),
              ElementsAre("8", "1024", "65536", "1048576"));
  // A run's own table, too, in which cases of other kinds stay where they are.
  OneRun run = RunOf(Sweep());
  run.records.insert(run.records.begin() + 1, Gemm(64, {1}));
  EXPECT_THAT(SizesIn(RunTable(run, {}, Catalog::BuiltIn(), false), "  bytes=", ','),
              ElementsAre("8", "1024", "65536", "1048576"));
  EXPECT_LT(RunTable(run, {}, Catalog::BuiltIn(), false).find("all_reduce"),
            RunTable(run, {}, Catalog::BuiltIn(), false).find("gemm"));
}

TEST(Compare, TheRangeOfPricesOfEachSideIsInTheEnvelope) {
  const Side one = SideOf(RunsOf({1.0, 1.001, 0.999}), 1.0);
  Side ranged = SideOf(RunsOf({1.0, 1.001, 0.999}), 2.0);
  ranged.price.offer->usd_low = 1.6;
  ranged.price.offer->usd_high = 5;
  const auto envelope = [](const Side& a, const Side& b) {
    return *Compare(a, b, {}).rows[0].per_usd_envelope;
  };
  EXPECT_NEAR(envelope(ranged, one).estimate, 2, 1e-12);
  EXPECT_NEAR(envelope(ranged, one).low, 1.6, 1e-12);
  EXPECT_NEAR(envelope(ranged, one).high, 5, 1e-12);
  EXPECT_NEAR(envelope(one, ranged).estimate, 0.5, 1e-12);
  EXPECT_NEAR(envelope(one, ranged).low, 0.2, 1e-12);
  EXPECT_NEAR(envelope(one, ranged).high, 0.625, 1e-12);
  Side both = one;
  both.price.offer->usd_low = 0.8;
  both.price.offer->usd_high = 1.25;
  EXPECT_NEAR(envelope(ranged, both).low, 1.6 / 1.25, 1e-12);
  EXPECT_NEAR(envelope(ranged, both).high, 5 / 0.8, 1e-12);
  // The verdict is that of the envelope's ends with the speed's interval around them: 0.23 % here.
  const Interval speed = *Compare(one, one, {}).rows[0].change.interval;
  for (const auto& [low, expected] :
       {std::pair(1.001 / speed.low, Verdict::kFaster), {0.999 / speed.low, Verdict::kUnclear}}) {
    ranged.price.offer->usd_low = low;
    EXPECT_EQ(Compare(ranged, one, {}).rows[0].per_usd_verdict, expected);
    EXPECT_EQ(Compare(one, ranged, {}).rows[0].per_usd_verdict,
              expected == Verdict::kFaster ? Verdict::kSlower : expected);
    const Ranking ranking = Rank({one, ranged, one}, {.confidence = 1 - 3 * 0.05});
    for (const RankEntry& entry : ranking.cases[0].entries) {
      EXPECT_EQ(entry.by_usd, entry.side == 1 && expected == Verdict::kFaster ? 3 : 1) << low;
    }
  }
}

TEST(Compare, WhatKeepsASideFromItsPriceIsFoundOnTheBaselineToo) {
  Runs part = RunsOf({1, 1, 1});
  for (OneRun& run : part) run.nodes[0].cpu.quota = 1.4;
  Runs accelerated = RunsOf({1, 1, 1});
  for (OneRun& run : accelerated) run.nodes[0].accelerators = {{.name = "H100", .present = 8}};
  for (const auto& [runs, why] :
       {std::pair(part, "1.4 of 2 used"), {accelerated, "paid for its accelerators"}}) {
    const Side whole = SideOf(RunsOf({1, 1, 1}), 1.0);
    for (const bool swapped : {false, true}) {
      const Comparison comparison =
          swapped ? Compare(whole, SideOf(runs, 1.0), {}) : Compare(SideOf(runs, 1.0), whole, {});
      EXPECT_FALSE(comparison.rows[0].per_usd_change.has_value());
      EXPECT_THAT(comparison.rows[0].note, HasSubstr(why));
    }
  }
  // Nor is there anything without a price on either side.
  const Side unpriced = SideOf(RunsOf({1, 1, 1}));
  const Side priced = SideOf(RunsOf({1, 1, 1}), 1.0);
  EXPECT_FALSE(Compare(unpriced, priced, {}).rows[0].per_usd_change.has_value());
  EXPECT_FALSE(Compare(priced, unpriced, {}).rows[0].per_usd_change.has_value());
}

TEST(Compare, WhatIsSaidOfTheCandidateIsSaidOfTheBaselineToo) {
  OneRun interrupted = RunOf({Gemm(64, {1, 1})});
  interrupted.complete = false;
  interrupted.status = "interrupted";
  const Side whole = SideOf({RunOf({Gemm(64, {1}), Gemm(66, {1})})});
  EXPECT_THAT(Compare(whole, SideOf({interrupted}), {}).notes,
              Contains("run1.json: interrupted, 2 of 5 rounds"));
  Record failed = Gemm(66, {});
  failed.status = Status::kFailed;
  failed.reason = "out of memory";
  EXPECT_THAT(Compare(SideOf({RunOf({Gemm(64, {1}), failed})}), whole, {}).only_candidate,
              ElementsAre(HasSubstr("failed: out of memory in the baseline")));
  OneRun noted = RunOf({Gemm(64, {1})});
  noted.nodes[0].notes = {{.what = "CPU governor is 'powersave'", .remedy = "…"}};
  EXPECT_THAT(Compare(SideOf({noted}), whole, {}).differences,
              ElementsAre("CPU governor is 'powersave' (baseline only)"));
  Record newer = Gemm(64, {1});
  newer.method = 2;
  EXPECT_THAT(Compare(SideOf({RunOf({newer, Gemm(66, {1})})}), whole, {}).notes,
              Contains(HasSubstr("method 2 against 1")));
  EXPECT_THAT(Compare(SideOf({RunOf({Storage("refuted", {1}), Gemm(64, {1})})}),
                      SideOf({RunOf({Storage("proved", {1}), Gemm(64, {1})})}), {})
                  .notes,
              Contains(HasSubstr("direct is refuted against proved")));
}

// Each is tied with its neighbours and with nobody beyond; a rank is of those that are tied with
// its first.
TEST(Rank, AChainOfTiesEndsWhereOneIsSlowerThanTheFirst) {
  std::vector<Side> sides;
  for (const double time : {1.045, 1.0, 1.03, 1.015}) {
    sides.push_back(SideOf(RunsOf({time * 0.995, time, time * 1.005}), 1.0));
  }
  const Ranking ranking = Rank(sides, {});
  std::vector<std::size_t> order;
  std::vector<int> ranks;
  std::vector<int> by_usd;
  for (const RankEntry& entry : ranking.cases[0].entries) {
    order.push_back(entry.side);
    ranks.push_back(entry.by_speed);
    by_usd.push_back(entry.by_usd.value());
  }
  EXPECT_THAT(order, ElementsAre(1, 3, 2, 0));
  EXPECT_THAT(ranks, ElementsAre(1, 1, 3, 3));
  EXPECT_THAT(by_usd, ElementsAre(1, 1, 3, 3));
}

// Each of three files' pairs has a third of the error that is allowed in all.
TEST(Rank, ATieEndsWhereTheIntervalOfThePairDoes) {
  const auto side = [](double time) { return SideOf(RunsOf({time * 0.995, time, time * 1.005})); };
  const Interval alike =
      *Compare(side(1), side(1), {.confidence = 1 - 0.05 / 3}).rows[0].change.interval;
  for (const auto& [beyond, expected] : {std::pair(-1e-6, 1), {1e-6, 2}}) {
    const double time = alike.high * std::exp(beyond);
    const Ranking ranking = Rank({side(1), side(time), side(time)}, {});
    EXPECT_EQ(ranking.cases[0].entries[1].by_speed, expected);
    EXPECT_EQ(ranking.cases[0].entries[2].by_speed, expected);
  }
}

}  // namespace
}  // namespace assay
