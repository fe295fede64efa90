// Figures, comparisons, rankings and prices as CSV: every figure at full precision, by the name
// that the JSON has for it (results/show/json.h). Text in it is harmless on a terminal and in a
// spreadsheet.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/compare.h"
#include "results/file/run.h"

namespace assay {

// One line of cells, harmless and quoted where that is needed.
std::string CsvLine(std::vector<std::string> cells);

// A line for each case of a run, under one head for all runs. `file` is what the run is called.
std::string FiguresCsvHead();
std::string FiguresCsvLines(const std::string& file, const Run& run, const Chosen& price,
                            const Catalog& catalog);
// A line for each case.
std::string ComparisonCsv(const Comparison& comparison);
// A line for each case and side that measured it.
std::string RankingCsv(const Ranking& ranking);
// A line for each offer, in the columns of results/catalog/prices.csv.
std::string OffersCsv(std::span<const Offer> offers);

}  // namespace assay
