// The cost model of a collective: T(S) = A + B S, fitted to a sweep, and what it foretells of other
// numbers of ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/run.h"

namespace assay {

struct SizeTime {
  double bytes = 0;  // S
  double seconds = 0;
};

struct CostModel {
  double start_s = 0;     // A: what an operation of no size would take
  double per_byte_s = 0;  // B
  // Root mean square of the relative residuals (measured / model - 1): a change of algorithm on
  // the way, or a bad link, makes it large.
  double residual = 0;
  std::size_t points = 0;
  double At(double bytes) const { return start_s + per_byte_s * bytes; }
};

// Least squares of the relative residuals, so that a time of 1 us counts as much as one of 1 s;
// neither A nor B under 0. Nothing with fewer than three sizes, or where two are not different.
std::optional<CostModel> FitCost(std::span<const SizeTime> sweep);

// How an operation's messages follow each other: what A is divided by to be the latency of one.
// "ring": one after the other around all ranks; "tree": in as many steps as n has binary digits.
enum class Steps { kRing, kTree };
double StepsOf(std::string_view operation, Steps steps, double ranks);

// The time of S bytes on `ranks` ranks, if the latency of a step and the rate of a link stay what
// `model` says of `measured` ranks.
double Project(const CostModel& model, std::string_view operation, Steps steps, double measured,
               double ranks, double bytes);

// A sweep, whose records are alike in all but their size, and what was fitted to their median
// times.
struct Fit {
  std::vector<const Record*> sweep = {};  // by rising size
  CostModel model = {};
};
// Of every sweep among these records that a model can be fitted to, in the order of their first
// records, into which these point.
std::vector<Fit> FitsOf(std::span<const Record> records);
// What tells a sweep from others of its operation: "mpi ring latency out_of_place".
std::string FitLabel(const Fit& fit);

// What the sweeps among these records say, as lines that
// begin with `#`: A, B and the residual of each, and the size at which half the time is A. With
// `project_to`, the times that follow for 16 and more ranks up to so many, which nobody has
// measured.
std::string CostModelText(std::span<const Record> records,
                          std::optional<std::int64_t> project_to = {});

// The records as tables show them: in their order, but those that differ in their sizes alone
// change places so that sizes rise.
std::vector<const Record*> InOrderOfSizes(const std::vector<const Record*>& records);
std::vector<const Record*> InOrderOfSizes(const std::vector<Record>& records);

}  // namespace assay
