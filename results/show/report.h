// The report: runs as one HTML page that loads nothing, can be read without script, and prints
// well. It answers for groups of runs first (results/figures/run_groups.h), and says of a few runs
// what each of their cases gave. With script, one case of many is chosen, and tables are filtered
// and sorted.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/brief.h"
#include "results/figures/run_groups.h"
#include "results/file/run.h"

namespace assay {

// A run that is shown in full.
struct ReportInput {
  std::string name = {};  // the name of the file, as given
  Run run = {};
  Chosen price = {};  // the price behind its dollars
};
// A page shows at most this many runs in full.
inline constexpr std::size_t kMostInFull = 8;

// Runs in groups.
struct ReportGroups {
  std::span<const RunBrief> briefs = {};
  std::optional<GroupRanking> ranking = {};  // of these briefs, with other_prices
  std::string unranked = {};                 // a sentence, where there is no ranking
  std::vector<std::string> notes = {};       // on what was read
};

// Makes the page. `today` is the UTC date (2026-11-21) that price ages are counted to. Everything
// that comes from a file is escaped.
std::string ReportPage(const ReportGroups& groups, std::span<const ReportInput> inputs,
                       const Catalog& catalog, std::string_view today);

// Makes the page of a few runs that are all shown in full, and of which the groups are made, too. A
// group's price is that of its first run.
std::string ReportPage(std::span<const ReportInput> inputs, const Catalog& catalog,
                       std::string_view today);

}  // namespace assay
