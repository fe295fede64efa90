// Runs matched case by case, with intervals and verdicts.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/run.h"
#include "results/stats.h"

namespace assay {

enum class Verdict { kSame, kFaster, kSlower, kUnclear };
std::string_view ToText(Verdict verdict);

struct Side {
  std::vector<Run> runs = {};
  std::vector<std::string> names = {};  // file names, as given
  std::optional<Offer> offer = {};      // the price behind the per-dollar column
};

struct CompareOptions {
  std::optional<double> within = {};  // the margin; unset: 1 %, network 3 %, storage 5 %
  double confidence = 0.95;
  bool force = false;  // unlike methods, divisions and `direct`s too
};

struct CompareRow {
  std::string probe = {};
  std::string backend = {};
  Params params = {};
  double baseline = 0;  // speeds, in `unit`
  double candidate = 0;
  std::string unit = {};
  Interval change = {};  // factor of speed, candidate / baseline; Holm-adjusted over all rows
  Verdict verdict = Verdict::kUnclear;
  double resolution = 0;                      // (U - L) / 2
  std::optional<int> more_runs = {};          // to reach the margin
  std::optional<double> per_usd_change = {};  // factor of work per dollar
  std::string note = {};
};

struct Comparison {
  Side baseline = {};
  Side candidate = {};
  std::vector<CompareRow> rows = {};
  std::vector<std::string> only_baseline = {};
  std::vector<std::string> only_candidate = {};
  std::vector<std::string> differences = {};  // of environment, in words
  std::vector<std::string> notes = {};        // what is said above the table
};

// Throws Error where the sides have no case in common (and says what is only in one of them).
Comparison Compare(Side baseline, Side candidate, const CompareOptions& options);

}  // namespace assay
