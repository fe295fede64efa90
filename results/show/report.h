// The report: runs as one HTML page that loads nothing, can be read without script, and prints
// well. With script, D3 (built into the binary) draws performance with intervals, and performance
// against price.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "results/catalog/price.h"
#include "results/file/run.h"

namespace assay {

struct ReportInput {
  std::string name = {};  // the name of the file, as given
  Run run = {};
  Chosen price = {};  // the price behind its dollars
};
// Makes the page. `today` is the UTC date (2026-11-21) that price ages are counted to. Everything
// that comes from a file is escaped.
std::string ReportPage(std::span<const ReportInput> inputs, const Catalog& catalog,
                       std::string_view today);

}  // namespace assay
