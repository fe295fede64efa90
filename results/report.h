// Runs as one HTML page that loads nothing, reads without script, and prints well. With script, D3
// (built into the binary) draws performance with intervals, and performance against price.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "results/run.h"

namespace assay {

struct ReportInput {
  std::string name = {};  // of the file, as given
  Run run = {};
  std::optional<Offer> offer = {};  // the price behind its dollars
  std::string price_note = {};      // which rule chose it, or how to give one
};

// `today` is the UTC date (2026-11-21) that price ages are counted to. Everything from a file is
// escaped.
std::string ReportPage(std::span<const ReportInput> inputs, std::string_view today);

}  // namespace assay
