// Tables: results as text for a terminal. Every text ends in a line end, everything that comes from
// files is made harmless, and columns line up by what a terminal shows, not by bytes. `colour` adds
// ANSI escape sequences. Comparisons and rankings are those that Compare and Rank
// (results/figures/compare.h) made, whose sides have runs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/compare.h"
#include "results/figures/spread.h"
#include "results/file/run.h"

namespace assay {

// The table of a run: the price in one line, then a row a case with its backend, median speed,
// interval and level, of here, and dollars per unit. A case without figures has its reason instead,
// and what to do about it; skipped ones come last. Here and below, the age of prices is told where
// `today` (2026-11-22) is given.
std::string RunTable(const Run& run, const Chosen& price, const Catalog& catalog, bool colour,
                     std::string_view today = {});

// A line on a case that is still being measured: its speed over the rounds so far, and how many of
// the run's these are, or its outcome where it has no figure. It has no interval and no dollars,
// since those may change. With `at_least` there may be more rounds than the run's.
std::string ProvisionalLine(const Run& run, const Record& record, bool at_least);

// The table of a comparison: the two sides, notes, a row a case, and a summary.
std::string ComparisonTable(const Comparison& comparison, bool colour, std::string_view today = {});

// The table of `assay noise`: a row a probe, and how the two halves of the runs compare.
std::string SpreadTable(const std::vector<SpreadFound>& found, bool colour);

// The table of a ranking: the sides, notes, and a table a case with a row for each side.
std::string RankingTable(const Ranking& ranking, bool colour, std::string_view today = {});

}  // namespace assay
