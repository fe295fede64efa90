// Notes on a case, in the words that the table and the page share: the marks beside its figures,
// the outcome where it has no figures, and its devices one by one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/figures.h"
#include "results/figures/health.h"
#include "results/figures/stats.h"
#include "results/file/run.h"

namespace assay {

// The marks of a record that has a speed ("cache?: …; low: …; 3 rounds only"), and why it has no
// dollars where there is a price. `figures` belongs to `run`. What comes from the file is cleaned;
// "" where there is nothing to say.
std::string NotesOf(const Run& run, const Record& record, const RunFigures& figures,
                    const Chosen& price);

// The widest ± that is printed. A wider interval is printed by its ends, as speeds.
inline constexpr double kWidestPlusMinus = 0.2;
// The interval around a speed: "±1.2 % (5 rounds, this run)", or where it is wide
// "61.2 .. 250 GFLOP/s (3 rounds, this run)".
std::string IntervalText(const Interval& interval, const Rate& speed);

// The time that the step of a record of `overlap` pays for its all-reduce, and how much of it is
// hidden: "exposed 3.2 ms ± 0.4 ms of 14.1 ms, 71.0 % hidden; …". A wide interval is printed by its
// ends, and no time is below 0. Empty where OverlapOf (results/figures/figures.h) is nothing.
std::string OverlapText(const Record& record);

// A note on a record of storage whose file is smaller than it was to be: "test file of 100 MiB,
// sized by 20 s of its fill (at 5.243 MB/s)". Empty for any other record.
std::string TestFileText(const Record& record);

// The outcome of a record that has no speed: its status, why, and what to do.
std::string OutcomeOf(const Record& record);

// A note on one device of a case.
struct DeviceNote {
  std::string device = {};  // "node 1 cuda:3", as far as that tells devices apart
  std::string text = {};
  bool is_well = true;
};
// The notes on the devices of a case: one for each of several, or one for a single device that
// isn't well.
std::vector<DeviceNote> DeviceNotesOf(const Run& run, const Record& record,
                                      const std::optional<Health>& health);

}  // namespace assay
