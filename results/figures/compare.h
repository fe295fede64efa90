// Comparisons: runs matched case by case, with intervals and verdicts. results/METRICS.md defines
// every figure.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/noise.h"
#include "results/figures/stats.h"
#include "results/file/run.h"

namespace assay {

// The verdict on a change. kNone ("no verdict") stands where the spread between runs is a guess and
// the range that the guess leaves holds "no change".
enum class Verdict { kSame, kFaster, kSlower, kUnclear, kNone };
std::string_view ToText(Verdict verdict);

// The words for a verdict of kNone.
inline constexpr char kNoVerdict[] = "no verdict: \u03c3 is a guess; `assay noise` measures it";

// A factor of speed, candidate / baseline, and how sure it is.
struct Change {
  double estimate = 1;
  // The interval with the confidence that was asked for; nothing where the spread between runs is a
  // guess on a side.
  std::optional<Interval> interval = {};
  // Where there is no interval, the factor of at least 1 beyond which, or below whose inverse, the
  // change is faster or slower all the same.
  double guess_bound = 0;
  std::string level = {};  // "each side: 4 runs, this node"
  // The interval, or without one the range that the bound leaves.
  Interval Reach() const;
};

// The verdict on an interval. With [L, U] the interval less 1 and m the margin, it is same if -m <
// L and U < m; else faster if L > 0; slower if U < 0; else unclear.
Verdict Judge(const Interval& change, double margin);
// The verdict on the range that a guess leaves: faster or slower if it excludes 1, else none.
Verdict JudgeGuess(const Interval& reach);
// The verdict on a change: Judge of its interval, or else JudgeGuess of its reach.
Verdict Judge(const Change& change, double margin);

// One side of a comparison.
struct Side {
  std::vector<Run> runs = {};
  std::vector<std::string> names = {};  // file names, as given, in the order of `runs`
  Chosen price = {};                    // the price behind the per-dollar column
  std::string group = {};               // the group that its runs make up, where they do
};

// The name of a side in one word: its group, else its first file; "-" where it has neither.
std::string SideName(const Side& side);

// The options of a comparison.
struct CompareOptions {
  // The catalog's instance types, which tell what network a node has. They must outlive the call.
  std::span<const InstanceFacts> instances = {};
  // The margin as a share, 0.01 for 1 %; unset: that of the probe (results/figures/probes.h).
  std::optional<double> within = {};
  // Whether the sides are types of machine, between which the margin is 3 % at least: with nodes
  // that differ by 1.5 %, it takes 48 nodes a side to tell that types are the same within 1 %, and
  // 7 within 3 %.
  bool are_types = false;
  double confidence = 0.95;
  // Whether to compare unlike methods, and software of unlike divisions per dollar. Cases that
  // differ in the fact ProbeFacts::alike_in are never compared.
  bool force = false;
  std::vector<Noise> noise = {};  // the user's own rows
  // The primary case, which is asked alone: its words ("gemm bf16 4096 x 4096 x 4096"), or a probe
  // for all of its cases; empty: the headline. Comparing throws Error where the sides don't share
  // it. It must be chosen before the figures are looked at.
  std::string primary = {};
  std::optional<double> fail_slower = {};  // a share of the speed; asks for CompareRow::slower_than
};

// Whether the candidate is slower by CompareOptions::fail_slower or more.
struct SlowerThan {
  bool is_so = false;
  bool is_told = true;                // whether the runs suffice to tell
  std::optional<int> more_runs = {};  // further runs a side until they do; at most kManyRuns
};

// One case of a comparison.
struct CompareRow {
  std::string probe = {};
  std::string backend = {};  // the candidate's
  std::string kind = {};     // the kind of both sides' devices
  Params params = {};
  // The speeds that are compared, in `unit`, which rest on the rounds.
  double baseline = 0;
  double candidate = 0;
  std::string unit = {};
  // The change, whose interval is adjusted by Holm's step-down: over the primary rows (a single one
  // keeps the full confidence), and over all others that have an interval.
  Change change = {};
  bool is_primary = false;
  std::optional<double> confidence = {};  // the confidence of the adjusted interval
  std::string between_runs = {};          // the rows of noise.csv that are in it (NoiseWords)
  std::string between_nodes = {};         // where the spread between nodes comes from (SpreadWords)
  double margin = 0;                      // the margin m of the verdict
  Verdict verdict = Verdict::kUnclear;
  std::optional<double> resolution = {};  // half the width of the interval
  // Further runs (or nodes) a side until the resolution is the margin; at most kManyRuns, and
  // nothing where it is already or there is no interval.
  std::optional<int> more_runs = {};
  // The nodes a side that find a true difference of 5 % in 80 of 100 comparisons, at most
  // kManyNodes; nothing where there are as many, or units aren't nodes.
  std::optional<int> nodes_to_find = {};
  std::optional<double> per_usd_change = {};  // the factor of work per dollar, candidate / baseline
  // The factor of work per dollar at the ends of the offers' price ranges. It has no confidence,
  // since a range is no sample.
  std::optional<Interval> per_usd_envelope = {};
  std::optional<Verdict> per_usd_verdict = {};
  std::optional<SlowerThan> slower_than = {};
  std::string note = {};
  bool IsGuessed() const { return !change.interval; }
};
// A verdict on this row in words; "guessed slower" where it rests on a guess.
std::string VerdictText(const CompareRow& row, Verdict verdict);
// The verdict on work per dollar: "more", "guessed less"; "" where there is none.
std::string PerUsdText(const CompareRow& row);
// The row's note, which also says that there is no verdict where there is none.
std::string NoteOf(const CompareRow& row);

// The most runs to reach a margin that are counted.
inline constexpr int kManyRuns = 1000;

// Two sides, compared.
struct Comparison {
  Side baseline = {};
  Side candidate = {};
  std::vector<CompareRow> rows = {};
  std::vector<std::string> only_baseline = {};
  std::vector<std::string> only_candidate = {};
  std::size_t refused = 0;  // cases of both sides that are not compared; the notes say why
  std::vector<std::string> differences = {};  // differences of environment, in words
  std::vector<std::string> notes = {};        // the lines above the table
};

// Compares two sides; copies of a run count once. Throws Error where a side has no run, where both
// hold one run, where copies contradict each other, where the primary case isn't shared, and where
// they have no case in common, with what is only in one of them.
Comparison Compare(Side baseline, Side candidate, const CompareOptions& options);

// The division of a run. It is "closed" for a clean build in an image with a digest, a named suite
// with its hash, default algorithms, and no setting in the environment; "open" for anything else.
std::string DivisionOf(const Run& run);

// One side's place in a ranked case.
struct RankEntry {
  std::size_t side = 0;  // index into Ranking::sides
  std::string backend = {};
  double speed = 0;                // the speed that it is ranked by, which rests on the rounds
  std::string between_nodes = {};  // where the spread between its nodes comes from; "" for runs
  int by_speed = 0;  // the rank from 1, which those not surely slower than its first one share
  std::optional<double> usd = {};  // RankedCase::cost_label
  std::optional<int> by_usd = {};  // the rank by cost; absent where not ranked, as `note` says
  std::string note = {};
};

// One case of a ranking.
struct RankedCase {
  std::string probe = {};
  std::string kind = {};  // the kind of all sides' devices
  Params params = {};
  // Whether it is asked alone: its intervals are adjusted over its own pairs, and those of all
  // other cases together over theirs.
  bool is_primary = false;
  std::string unit = {};
  std::string cost_label = {};          // Cost::label of the entries' `usd`
  std::vector<RankEntry> entries = {};  // fastest first
};

// Three or more sides, ranked.
struct Ranking {
  std::vector<Side> sides = {};
  std::vector<RankedCase> cases = {};
  std::vector<std::string> notes = {};
};

// Ranks the sides in every case that at least two of them measured. Throws Error as Compare does.
Ranking Rank(std::vector<Side> sides, const CompareOptions& options);

}  // namespace assay
