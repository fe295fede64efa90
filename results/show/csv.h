// Figures, comparisons, rankings and prices as CSV: every figure at full precision, by the name
// that the JSON has for it (results/show/json.h). Text in it is harmless on a terminal and in a
// spreadsheet.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/compare.h"
#include "results/figures/run_groups.h"
#include "results/file/run.h"

namespace assay {

// One line of cells, harmless, quoted where that is needed, and ended by "\r\n" (RFC 4180).
std::string CsvLine(std::vector<std::string> cells);

// The head, which stands once above all runs, and a line for each case of a run. `file` is the
// run's name in them.
std::string FiguresCsvHead();
std::string FiguresCsvLines(const std::string& file, const Run& run, const Chosen& price,
                            const Catalog& catalog);
// The head, and a line for each case.
std::string ComparisonCsv(const Comparison& comparison);
// The head, and a line for each case and side that measured it.
std::string RankingCsv(const Ranking& ranking);
// The head, and a line for each case, group and way of buying.
std::string GroupCsv(const GroupRanking& ranking);
// The head, and a line for each offer, in the columns of results/catalog/prices.csv.
std::string OffersCsv(std::span<const Offer> offers);

}  // namespace assay
