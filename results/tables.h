// Results as text for a terminal, and as CSV. Every text ends in a line end, all that comes from
// files is made harmless, and columns line up by what a terminal shows, not by bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/compare.h"
#include "results/price.h"
#include "results/run.h"
#include "results/spread.h"

namespace assay {

// How many columns a terminal uses for that UTF-8 text.
std::size_t DisplayWidth(std::string_view text);

// The price in one line, then a row a case: case, backend, median speed, interval with its level,
// of here, dollars per unit. A case without figures has its reason instead, and what to do about
// it; skipped ones come last. The age of prices is told, here and below, where `today` (2026-11-22)
// is given.
std::string RunTable(const Run& run, const Chosen& price, bool colour, std::string_view today = {});

// What is compared, what has to be known about it, a row a case, and what that amounts to.
std::string ComparisonTable(const Comparison& comparison, bool colour, std::string_view today = {});
// A line a case, every figure at full precision.
std::string ComparisonCsv(const Comparison& comparison);

// A row a probe of what was found, and how the two halves of the runs compare.
std::string SpreadTable(const std::vector<SpreadFound>& found, bool colour);

std::string RankingTable(const Ranking& ranking, bool colour, std::string_view today = {});

}  // namespace assay
