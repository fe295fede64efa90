// The pictures of single runs: the rounds of each case, and times against sizes with the model that
// was fitted to them. Each function returns "" where there is nothing to draw.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "results/figures/model.h"
#include "results/file/run.h"

namespace assay {

// A record with the case's label, and the index of its run, which gives its colour and shape.
struct DrawnRecord {
  std::string label = {};
  std::size_t run = 0;
  const Record* record = nullptr;
};
// A row for each record that has a speed: every round a dot, the speed a mark, its interval a bar.
// Rows that follow each other with the same label have one scale, from zero.
std::string RoundsChart(std::span<const DrawnRecord> records, double width);

// The median times of a sweep, with their intervals, and the fitted line, on into sizes that nobody
// has measured. `about` says what it is.
std::string FitChart(const Fit& fit, std::size_t run, const std::string& about);

}  // namespace assay
