// Runs matched case by case, with intervals and verdicts. results/METRICS.md says how each figure
// comes about.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/noise.h"
#include "results/price.h"
#include "results/run.h"
#include "results/stats.h"

namespace assay {

enum class Verdict { kSame, kFaster, kSlower, kUnclear, kNone };
std::string_view ToText(Verdict verdict);

// What is said where a verdict is kNone.
inline constexpr char kNoVerdict[] = "no verdict: \u03c3 is a guess; `assay noise` measures it";

// A factor of speed, candidate / baseline, and how sure it is.
struct Change {
  double estimate = 1;
  // The interval with the confidence that was asked for; nothing where what runs differ by is a
  // guess on a side. Then a factor beyond `guess_bound`, or its inverse, is faster or slower all
  // the same.
  std::optional<Interval> interval = {};
  double guess_bound = 0;
  std::string level = {};  // "each side: 4 runs, this node"
  // The interval, or what the bound leaves: low and high as factors of speed.
  Interval Reach() const;
};

// [L, U] is the interval less 1 and m the margin: same if -m < L and U < m; else faster if L > 0;
// slower if U < 0; else unclear.
Verdict Judge(const Interval& change, double margin);
// The verdict on the range that a guess leaves: faster or slower if it excludes 1, else none.
Verdict JudgeGuess(const Interval& reach);
Verdict Judge(const Change& change, double margin);

struct Side {
  std::vector<Run> runs = {};
  std::vector<std::string> names = {};  // file names, as given
  Chosen price = {};                    // behind the per-dollar column
};

struct CompareOptions {
  std::optional<double> within = {};  // the margin; unset: 1 %, network 3 %, storage 5 %
  double confidence = 0.95;
  // Compares unlike methods, and software of unlike divisions per dollar. Storage whose `direct`
  // was not found out alike is never compared.
  bool force = false;
  std::vector<Noise> noise = {};           // one's own rows
  std::optional<double> fail_slower = {};  // a share of the speed; asks for CompareRow::slower_than
};

// What is known of a slowdown by CompareOptions::fail_slower or more.
struct SlowerThan {
  bool is_so = false;
  bool is_told = true;                // there would be a verdict on it
  std::optional<int> more_runs = {};  // a side, until it is told; at most kManyRuns
};

struct CompareRow {
  std::string probe = {};
  std::string backend = {};  // the candidate's
  Params params = {};
  // Speeds in `unit`: those that are compared, of the rounds.
  double baseline = 0;
  double candidate = 0;
  std::string unit = {};
  Change change = {};                     // Holm-adjusted over all rows that have an interval
  std::optional<double> confidence = {};  // that the adjusted interval has
  std::string between_runs = {};          // what of noise.csv is in it (NoiseWords)
  double margin = 0;                      // m of the verdict
  Verdict verdict = Verdict::kUnclear;
  std::optional<double> resolution = {};      // (U - L) / 2
  std::optional<int> more_runs = {};          // a side, to reach the margin; at most kManyRuns
  std::optional<double> per_usd_change = {};  // factor of work per dollar
  // The same at the ends of the offers' price ranges. No confidence: a range is no sample.
  std::optional<Interval> per_usd_envelope = {};
  std::optional<Verdict> per_usd_verdict = {};
  std::optional<SlowerThan> slower_than = {};
  std::string note = {};
  bool IsGuessed() const { return !change.interval; }
};
// "guessed slower": a verdict on this row in a word, with that which it rests on.
std::string VerdictText(const CompareRow& row, Verdict verdict);
// The row's note, which says where there is no verdict.
std::string NoteOf(const CompareRow& row);

// More runs than that to reach the margin are not counted.
inline constexpr int kManyRuns = 1000;

struct Comparison {
  Side baseline = {};
  Side candidate = {};
  std::vector<CompareRow> rows = {};
  std::vector<std::string> only_baseline = {};
  std::vector<std::string> only_candidate = {};
  std::size_t refused = 0;  // cases that both sides have and that are not compared; notes say why
  std::vector<std::string> differences = {};  // of environment, in words
  std::vector<std::string> notes = {};        // what is said above the table
};

// Throws Error where the sides have no case in common (and says what is only in one of them), or
// where a run holds figures of a stand-in library.
Comparison Compare(Side baseline, Side candidate, const CompareOptions& options);

// "closed": a clean build in an image with a digest, a named suite with its hash, default
// algorithms, and no setting in the environment; "open": anything else.
std::string DivisionOf(const Run& run);

struct RankEntry {
  std::size_t side = 0;  // index into Ranking::sides
  std::string backend = {};
  double speed = 0;  // that it is ranked by, of the rounds
  int by_speed = 0;  // rank from 1; equal where statistically tied with the first of that rank
  std::optional<double> usd = {};  // RankedCase::cost_label
  std::optional<int> by_usd = {};  // absent where not ranked; `note` says why
  std::string note = {};
};

struct RankedCase {
  std::string probe = {};
  Params params = {};
  std::string unit = {};
  std::string cost_label = {};
  std::vector<RankEntry> entries = {};  // fastest first
};

struct Ranking {
  std::vector<Side> sides = {};
  std::vector<RankedCase> cases = {};
  std::vector<std::string> notes = {};
};

// Every case that at least two sides measured. Throws Error as Compare does.
Ranking Rank(std::vector<Side> sides, const CompareOptions& options);

}  // namespace assay
