// What has to be known of a case beside its figures, in the words that the table and the page
// share: marks, what came of it where it has no figures, and its devices one by one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/figures.h"
#include "results/health.h"
#include "results/price.h"
#include "results/run.h"

namespace assay {

// The marks of a record that has a speed ("cache?: …; low: …; 3 rounds only"), and why it has no
// price where there is one. `figures` is of that run. Cleaned of what a file may hold; "" where
// there is nothing to say.
std::string NotesOf(const Run& run, const Record& record, const RunFigures& figures,
                    const Chosen& price);

// What came of a record that has no speed: its status, why, and what to do.
std::string OutcomeOf(const Record& record);

// One device of a case.
struct DeviceNote {
  std::string device = {};  // "node 1 cuda:3", as far as that tells devices apart
  std::string text = {};
  bool is_well = true;
};
// One for each device of a case that has several, and for a single one that isn't well.
std::vector<DeviceNote> DeviceNotesOf(const Run& run, const Record& record,
                                      const std::optional<Health>& health);

}  // namespace assay
