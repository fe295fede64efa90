// Stragglers finds the rank that keeps the others waiting. Over the batches of a case it collects
// how long each rank took for its part of an operation, and how late it came to the barrier before
// one. The clocks of ranks are never compared: the rank that comes last to a barrier is the one
// that waits least in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "results/file/run.h"

namespace assay {

// The collector, which belongs to rank 0, since that hears the times of all ranks.
class Stragglers {
 public:
  // Adds the seconds that one rank spent in the operations of this batch, and in waiting for the
  // others before them.
  void Add(std::size_t rank, double own_s, double wait_s);
  // Ends a batch, after all ranks have been added. Its operations took `time_s` together, and
  // `whole_s` with all that was done between them.
  void EndBatch(std::int64_t operations, double time_s, double whole_s);
  // Adds facts, which are made of medians over the batches; none where there was no batch yet:
  // - slowest_rank is the rank whose operations took longest by its own clock; slowest_excess is
  //   its ratio to the median of ranks, less 1.
  // - late_rank is the rank that came last; late_s is how long the first one waited for it, per
  //   operation.
  // - straggler is the rank that stands out by OddOneOut: in its own time, by at least 5 % of an
  //   operation's time, or in coming late, by at least 10 % of the time from one barrier to the
  //   next. Absent where none does.
  void Describe(Facts& facts) const;

 private:
  std::vector<std::vector<double>> own_s_ = {};   // [rank][batch], per operation
  std::vector<std::vector<double>> late_s_ = {};  // [rank][batch], per operation
  std::vector<double> batch_own_s_ = {};
  std::vector<double> batch_wait_s_ = {};
  std::vector<double> time_s_ = {};   // [batch], per operation
  std::vector<double> whole_s_ = {};  // [batch], per operation
};

// The index of the value that is larger than the others by a modified z-score of 3.5; nothing where
// there is no such value. With fewer than four values, where a z-score says nothing, it is the
// largest if that is at least twice the median of the rest.
std::optional<std::size_t> OddOneOut(std::span<const double> values);

}  // namespace assay
