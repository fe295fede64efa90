// Invented machine types with a known truth, and how often the product's own comparison of their
// nodes is right: for a test of few replications and a program (tests/bench/nodes_bench.cpp) of
// many.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "results/figures/best.h"
#include "results/figures/compare.h"
#include "results/figures/moderate.h"
#include "results/figures/plan.h"
#include "results/figures/side_values.h"

namespace assay::fleet {

// How nodes of one type differ. The deviation of a node's log speed is `sigma`; with kSlow one node
// in ten is 6 % slow besides.
enum class Shape { kNormal, kT4, kSlow };

// A comparison of types without any true difference between them.
struct Layout {
  std::vector<double> sigmas = {};  // of each type
  int nodes = 3;                    // of each type
  int runs = 2;                     // of each node
  Shape shape = Shape::kNormal;
  bool has_row = false;  // a measured row with the right sigma and 8 degrees of freedom
};

// The deviation between runs of one node: 0.5 % between runs, and 0.4 % between their five rounds.
inline double RunSigma() { return std::sqrt(0.005 * 0.005 + 0.004 * 0.004 / 5); }

class Draws {
 public:
  explicit Draws(std::uint64_t seed) : random_(seed) {}
  double Normal() { return normal_(random_); }
  double Uniform() { return uniform_(random_); }
  double Gamma(double shape) { return std::gamma_distribution<double>(shape)(random_); }
  double ChiSquare(double df) { return 2 * Gamma(df / 2); }
  // Student's t with 4 degrees of freedom, scaled to variance 1.
  double T4() { return Normal() / std::sqrt(ChiSquare(4) / 4) / std::sqrt(2.0); }
  double Node(Shape shape) { return shape == Shape::kT4 ? T4() : Normal(); }
  double Slow(Shape shape) { return shape == Shape::kSlow && Uniform() < 0.1 ? std::log(0.94) : 0; }

 private:
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::uniform_real_distribution<double> uniform_;
};

// What came of many comparisons of two types.
struct Outcome {
  int pairs = 0;
  int headline_false = 0;                // the headline's interval excludes "no change"
  int headline_found = 0;                // … and does so with a true difference of 5 %
  int rest_false = 0;                    // that of any of the other cases does
  std::vector<double> half_widths = {};  // of the headline, as shares
  std::vector<double> nodes_to_find = {};
  double Share(int count) const { return static_cast<double>(count) / pairs; }
};

inline void Count(const Interval& headline, Outcome& outcome) {
  constexpr double kTrue = 1.05;
  ++outcome.pairs;
  outcome.headline_false += headline.low > 1 || headline.high < 1 ? 1 : 0;
  // An interval of logs moves with the truth.
  outcome.headline_found += headline.low * kTrue > 1 ? 1 : 0;
  outcome.half_widths.push_back(std::sqrt(headline.high / headline.low) - 1);
}

// The change of speed from one of several types to another, as Compare and Rank find it of sides
// with these nodes. REQUIRES: both have two nodes or more.
inline Interval ChangeBetween(const std::vector<NodeGroup>& groups, std::size_t from,
                              std::size_t to, double confidence) {
  std::vector<SideValues> sides;
  for (const NodeGroup& group : groups) {
    SideValues& side = sides.emplace_back();
    side.units = group.values;
    side.are_nodes = group.values.size() > 1;
    side.first_minute = side.last_minute = 0;
    for (const KnownSpread& row : group.known) {
      side.node_rows.push_back({.between = "nodes",
                                .sigma = std::sqrt(row.variance),
                                .df = row.df,
                                .span_minutes = 60,
                                .is_measured = true});
    }
  }
  for (const std::size_t i : {from, to}) {
    std::vector<const SideValues*> others;
    for (const SideValues& side : sides) {
      if (&side != &sides[i]) others.push_back(&side);
    }
    BorrowSpread(sides[i], others);
  }
  return *ChangeOf(sides[from], sides[to], confidence).interval;
}

// The first two of several types, by the functions on node values.
inline Outcome CompareGroups(const Layout& layout, int pairs, std::uint64_t seed) {
  Draws draws(seed);
  Outcome outcome;
  const double run_sigma = RunSigma() / std::sqrt(layout.runs);
  std::vector<NodeGroup> groups(layout.sigmas.size());
  for (int pair = 0; pair < pairs; ++pair) {
    for (std::size_t i = 0; i < groups.size(); ++i) {
      groups[i].values.clear();
      for (int node = 0; node < layout.nodes; ++node) {
        groups[i].values.push_back(layout.sigmas[i] * draws.Node(layout.shape) +
                                   draws.Slow(layout.shape) + run_sigma * draws.Normal());
      }
    }
    Count(ChangeBetween(groups, 0, 1, 0.95), outcome);
  }
  return outcome;
}

// Two types by Compare, of runs with a headline and seven other cases, whose values are correlated
// by 0.9 within a node.
inline Outcome CompareSides(const Layout& layout, int pairs, std::uint64_t seed) {
  constexpr std::int64_t kCases = 8;
  constexpr double kShared = 0.9;
  Draws draws(seed);
  Outcome outcome;
  const auto record = [](std::int64_t i) {
    const bool is_headline = i == 0;
    return Record{
        .probe = is_headline ? "headline" : "gemm",
        .params = is_headline ? Params{{"name", std::string("bf16-cpu/2")}} : Params{{"m", i}},
        .backend = "onednn",
        .work = {.flops = 1},
        .rounds = {{.batch = 1, .time_s = {1}}}};
  };
  const double measured_sigma =
      std::sqrt(layout.sigmas[0] * layout.sigmas[0] + RunSigma() * RunSigma() / layout.runs);
  for (int pair = 0; pair < pairs; ++pair) {
    std::vector<Side> sides(2);
    for (std::size_t i = 0; i < 2; ++i) {
      for (int node = 0; node < layout.nodes; ++node) {
        const double common = draws.Node(layout.shape);
        const double slow = draws.Slow(layout.shape);
        std::vector<double> values;
        for (std::int64_t c = 0; c < kCases; ++c) {
          values.push_back(layout.sigmas[i] * (std::sqrt(kShared) * common +
                                               std::sqrt(1 - kShared) * draws.Node(layout.shape)) +
                           slow);
        }
        for (int run = 0; run < layout.runs; ++run) {
          Node described = {.node_id = std::to_string(i) + "-" + std::to_string(node)};
          described.identity.instance.value = i == 0 ? "a" : "b";
          Run one = {.started = "2026-11-28T12:00:00Z", .nodes = {described}};
          for (std::int64_t c = 0; c < kCases; ++c) {
            one.records.push_back(record(c));
            one.records.back().rounds[0].time_s[0] =
                std::exp(-values[static_cast<std::size_t>(c)] - RunSigma() * draws.Normal());
          }
          sides[i].runs.push_back(std::move(one));
        }
      }
    }
    CompareOptions options;
    if (layout.has_row) {
      options.noise = {{.probe = "compute",
                        .machine = "*",
                        .between = "nodes",
                        .sigma = measured_sigma * std::sqrt(draws.ChiSquare(8) / 8),
                        .df = 8,
                        .span_minutes = 60,
                        .is_measured = true,
                        .how = "9 nodes",
                        .date = "2026-11-28"}};
    }
    const Comparison comparison = Compare(std::move(sides[0]), std::move(sides[1]), options);
    bool is_rest_false = false;
    for (const CompareRow& row : comparison.rows) {
      const Interval& interval = *row.change.interval;
      if (row.is_primary) {
        Count(interval, outcome);
        outcome.nodes_to_find.push_back(row.nodes_to_find.value_or(0));
      } else {
        is_rest_false = is_rest_false || interval.low > 1 || interval.high < 1;
      }
    }
    outcome.rest_false += is_rest_false ? 1 : 0;
  }
  return outcome;
}

// How often a true difference of that factor is found between two types with so many nodes of each,
// which differ by these deviations.
struct PlannedPair {
  double factor = 1.03;
  double sigma_a = 0.015;
  double sigma_b = 0.015;
  std::vector<KnownSpread> known = {};  // the measured rows of both
};
inline double PowerOf(const PlannedPair& pair, int nodes, int pairs, std::uint64_t seed) {
  Draws draws(seed);
  std::vector<NodeGroup> groups(2, {.known = pair.known});
  int found = 0;
  for (int i = 0; i < pairs; ++i) {
    for (std::size_t k = 0; k < 2; ++k) {
      groups[k].values.clear();
      const double sigma = k == 0 ? pair.sigma_a : pair.sigma_b;
      for (int node = 0; node < nodes; ++node) {
        groups[k].values.push_back(sigma * draws.Normal() + (k == 0 ? 0 : std::log(pair.factor)));
      }
    }
    found += ChangeBetween(groups, 0, 1, 0.95).low > 1 ? 1 : 0;
  }
  return static_cast<double>(found) / pairs;
}

// The nodes that a plan gives where the spreads are known.
inline int NodesPlanned(const PlannedPair& pair) {
  return NodesToFind(pair.factor, {pair.sigma_a * pair.sigma_a, pair.known},
                     {pair.sigma_b * pair.sigma_b, pair.known});
}

// What came of plans for two types whose spread both are planned from is measured by `df` degrees
// of freedom, anew for each plan. `has_row`: the same row is in the comparison.
struct PlanOutcome {
  double kept = 0;   // the share of plans by which the difference is found in 75 % or more
  double power = 0;  // how often it is found, in the mean
  double nodes = 0;  // of each type, in the mean
};
inline PlanOutcome PlanFrom(double factor, double sigma, double df, bool has_row, int plans,
                            int pairs, std::uint64_t seed) {
  Draws draws(seed);
  std::map<int, double> powers;  // by nodes, where nothing but these sets plans apart
  PlanOutcome outcome;
  for (int plan = 0; plan < plans; ++plan) {
    const double variance = sigma * sigma * draws.ChiSquare(df) / df;
    PlannedPair pair = {.factor = factor, .sigma_a = sigma, .sigma_b = sigma};
    if (has_row) pair.known = {{.variance = variance, .df = df}};
    const PlannedType type = {UpperVariance({variance, df}), pair.known};
    const int nodes = NodesToFind(factor, type, type);
    double power = 0;
    if (has_row) {
      power = PowerOf(pair, nodes, pairs, seed + 1 + static_cast<std::uint64_t>(plan));
    } else {
      const auto [known, is_new] = powers.try_emplace(nodes);
      if (is_new) known->second = PowerOf(pair, nodes, pairs, seed + 1);
      power = known->second;
    }
    outcome.kept += power >= 0.75 ? 1.0 / plans : 0;
    outcome.power += power / plans;
    outcome.nodes += static_cast<double>(nodes) / plans;
  }
  return outcome;
}

// What came of many searches for the best of several types, whose spread is 1.5 %.
struct BestOutcome {
  int searches = 0;
  int best_out = 0;     // the true best was left out
  int best_alone = 0;   // it was declared the fastest
  int other_alone = 0;  // another one was
  double Share(int count) const { return static_cast<double>(count) / searches; }
};
// The first type is ahead of all others by `lead`.
inline BestOutcome FindBest(int types, int nodes, double lead, int searches, std::uint64_t seed) {
  Draws draws(seed);
  BestOutcome outcome = {.searches = searches};
  const double sigma = std::sqrt(0.015 * 0.015 + RunSigma() * RunSigma() / 2);
  std::vector<NodeGroup> groups(static_cast<std::size_t>(types));
  for (int search = 0; search < searches; ++search) {
    for (std::size_t i = 0; i < groups.size(); ++i) {
      groups[i].values.clear();
      for (int node = 0; node < nodes; ++node) {
        groups[i].values.push_back((i == 0 ? lead : 0) + sigma * draws.Normal());
      }
    }
    const Spreads spreads = ModerateSpreads(groups);
    std::vector<Contender> contenders;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      contenders.push_back({.mean = Mean(groups[i].values),
                            .nodes = nodes,
                            .estimate = EstimateOf(groups[i], spreads.of[i])});
    }
    const std::vector<Place> places = PlacesOf(contenders, spreads.df_in_all);
    outcome.best_out += places[0].may_be_best ? 0 : 1;
    outcome.best_alone += places[0].is_best ? 1 : 0;
    outcome.other_alone += std::any_of(places.begin() + 1, places.end(),
                                       [](const Place& place) { return place.is_best; })
                               ? 1
                               : 0;
  }
  return outcome;
}

// A distribution of the log speeds of all nodes of a type.
struct Fleet {
  std::string name = {};
  std::function<double(Draws&)> node = {};
};

// Scales a fleet so that (max - min) / max over so many nodes is `range` in the mean.
inline Fleet Scaled(std::string name, double range, int nodes,
                    const std::function<double(Draws&)>& node) {
  constexpr int kTimes = 400;
  Draws draws(5);
  double sum = 0;
  for (int i = 0; i < kTimes; ++i) {
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    for (int k = 0; k < nodes; ++k) {
      const double value = node(draws);
      low = std::min(low, value);
      high = std::max(high, value);
    }
    sum += high - low;
  }
  const double scale = -std::log1p(-range) / (sum / kTimes);
  return {.name = std::move(name),
          .node = [scale, node](Draws& drawn) { return scale * node(drawn); }};
}

// A fleet whose nodes differ by 1.5 %, but for a share of slow ones.
inline Fleet WithSlow(std::string name, double share, double factor) {
  return {.name = std::move(name), .node = [share, factor](Draws& draws) {
            return 0.015 * draws.Normal() + (draws.Uniform() < share ? std::log(factor) : 0);
          }};
}

// Fleets with the published ranges (34.5 % over 259 GPUs, 38 % over 253), and others with a slow
// part.
inline std::vector<Fleet> Fleets() {
  const auto normal = [](Draws& draws) { return draws.Normal(); };
  const auto exponential = [](Draws& draws) { return -draws.Gamma(1); };
  return {Scaled("normal, 34.5 % over 259", 0.345, 259, normal),
          Scaled("normal, 38 % over 253", 0.38, 253, normal),
          Scaled("gamma 4 to the left, 34.5 %", 0.345, 259,
                 [](Draws& draws) { return -draws.Gamma(4); }),
          Scaled("exponential to the left, 34.5 %", 0.345, 259, exponential),
          Scaled("exponential to the left, 38 %", 0.38, 253, exponential),
          Scaled("t4, 34.5 %", 0.345, 259, [](Draws& draws) { return draws.T4(); }),
          WithSlow("one in ten 6 % slow", 0.1, 0.94),
          WithSlow("one in fifteen 25 % slow", 1.0 / 15, 0.75),
          {.name = "to the right (power cap)",
           .node = [](Draws& draws) { return 0.03 * draws.Gamma(1); }}};
}

// The share of the searches in which the sentence on the lottery of n nodes is true. `noise` is
// that of a run, of which a node has two, in deviations between nodes.
inline double LotteryCoverage(const Fleet& fleet, int nodes, double noise, int searches,
                              std::uint64_t seed) {
  constexpr int kPopulation = 50'000;
  Draws draws(seed);
  std::vector<double> population;
  for (int i = 0; i < kPopulation; ++i) population.push_back(fleet.node(draws));
  const double deviation = StandardDeviation(population) * noise / std::sqrt(2.0);
  std::sort(population.begin(), population.end());
  int covered = 0;
  for (int search = 0; search < searches; ++search) {
    std::vector<double> logs;
    for (int node = 0; node < nodes; ++node) {
      logs.push_back(fleet.node(draws) + (noise > 0 ? deviation * draws.Normal() : 0));
    }
    const Lottery lottery = LotteryOf(logs);
    const auto under =
        std::lower_bound(population.begin(), population.end(), lottery.bound) - population.begin();
    covered += 1 - static_cast<double>(under) / kPopulation >= lottery.share ? 1 : 0;
  }
  return static_cast<double>(covered) / searches;
}

}  // namespace assay::fleet
