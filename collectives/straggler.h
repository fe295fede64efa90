// Who keeps the others waiting: over the batches of a case, how long each rank took for its part
// of an operation, and how late it came to the barrier before one. The clocks of ranks aren't
// compared: who comes last to a barrier is who waits least in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "results/run.h"

namespace assay {

class Stragglers {
 public:
  // What one rank spent in the operations of this batch, and in waiting for the others before them.
  void Add(std::size_t rank, double own_s, double wait_s);
  // All ranks have been added; the batch had so many operations, which took `time_s` together, and
  // `whole_s` with all that was done between them.
  void EndBatch(std::int64_t operations, double time_s, double whole_s);
  // slowest_rank and slowest_excess: whose operations took longest by its own clock, and how much
  // above the median of ranks, as a ratio. late_rank and late_s: who came last, and how long the
  // first waited for it, an operation. straggler: the rank that stands out by OddOneOut, in its
  // own time and by at least 5 % of an operation's, or in coming late and by at least 10 % of the
  // time from one barrier to the next; absent where none does. Nothing before a batch.
  void Describe(Facts& facts) const;

 private:
  std::vector<std::vector<double>> own_s_ = {};   // [rank][batch], an operation
  std::vector<std::vector<double>> late_s_ = {};  // [rank][batch], an operation
  std::vector<double> batch_own_s_ = {};
  std::vector<double> batch_wait_s_ = {};
  std::vector<double> time_s_ = {};   // [batch], an operation
  std::vector<double> whole_s_ = {};  // [batch], an operation
};

// The index of the value that is larger than the others by a modified z-score of 3.5. With fewer
// than four values, where that says nothing: the largest if it is at least twice the median of the
// rest.
std::optional<std::size_t> OddOneOut(std::span<const double> values);

}  // namespace assay
