// The cost model of a collective, T(S) = A + B S, which is fitted to a sweep of sizes and projected
// to other numbers of ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/file/run.h"

namespace assay {

// One point of a sweep.
struct SizeTime {
  double bytes = 0;    // S
  double seconds = 0;  // of one operation
};

// The fitted model.
struct CostModel {
  double start_s = 0;     // A: the time of an operation of no size
  double per_byte_s = 0;  // B
  // The root mean square of the relative residuals (measured / model - 1). A change of algorithm on
  // the way, or a bad link, makes it large.
  double residual = 0;
  std::size_t points = 0;
  double At(double bytes) const { return start_s + per_byte_s * bytes; }
};

// Fits the model by least squares of the relative residuals, so that a time of 1 us counts as much
// as one of 1 s; neither A nor B is under 0. Nothing with fewer than three points, without two
// different sizes, or with a time that isn't finite and above 0.
std::optional<CostModel> FitCost(std::span<const SizeTime> sweep);

// The order of an operation's messages: in a ring one after the other around all ranks, in
// a tree in as many steps as the number of ranks has binary digits.
enum class Steps { kRing, kTree };
// The number of steps of an operation, by which A is divided to be the latency of one step.
// REQUIRES: ranks >= 1; one rank takes no step of most operations.
double StepsOf(std::string_view operation, Steps steps, double ranks);

// The projected time, in seconds, of `bytes` bytes on `ranks` ranks, if the latency of a step and
// the rate of a link stay what `model` says for `measured` ranks. REQUIRES: measured > 1.
double Project(const CostModel& model, std::string_view operation, Steps steps, double measured,
               double ranks, double bytes);

// A sweep, whose records are alike in all but their size, and the model that was fitted to their
// median times.
struct Fit {
  std::vector<const Record*> sweep = {};  // by rising size
  CostModel model = {};
};
// The fits of all sweeps of collectives among these records that a model can be fitted to, in the
// order of their first records. They point into `records`.
std::vector<Fit> FitSweeps(std::span<const Record> records);
// The label that tells a sweep from others of its operation: "mpi ring latency out_of_place".
std::string FitLabel(const Fit& fit);

// Lines that begin with `#` about the sweeps among these records: A, B and the residual of each,
// and the size at which half the time is A. With `project_to`, they include the projected times of
// 16 ranks and more up to that many, which nobody has measured.
std::string CostModelText(std::span<const Record> records,
                          std::optional<std::int64_t> project_to = {});

// The records in the order in which tables show them: as they are, except that records which differ
// only in their sizes change places so that sizes rise. The result points to the given records.
std::vector<const Record*> InOrderOfSizes(const std::vector<const Record*>& records);
std::vector<const Record*> InOrderOfSizes(const std::vector<Record>& records);

}  // namespace assay
