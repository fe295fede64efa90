// The signals that ask a process to end (SIGINT, SIGTERM, SIGHUP, SIGQUIT), so that what was
// measured is in its file before it does. A launcher that is asked to end tells all ranks, kills
// them a moment later (Open MPI 4 after a second, 5 after a quarter of one), and sooner if one of
// them is gone already.
#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "results/run.h"

namespace assay {

// From here on the first of these signals only makes IsToldToEnd true, and a second one ends the
// process at once. SIGHUP stays ignored where it is, as under nohup.
void CatchSignals();
bool IsToldToEnd();

// While it lives, a process that has been told to end and hasn't done so by itself within `grace`
// ends by `end`, which is called in a thread of its own and doesn't return; at a second signal it
// does so at once, which is all that it does without `grace`. A third ends the process.
class LastResort {
 public:
  LastResort(std::optional<Seconds> grace, std::function<void()> end);
  ~LastResort();
  LastResort(const LastResort&) = delete;
  LastResort& operator=(const LastResort&) = delete;

 private:
  void Wait(std::optional<Seconds> grace, const std::function<void()>& end);
  std::thread thread_;
};

// For ranks other than 0, which has the file: those signals end this process only after a while, so
// that rank 0 has its time. Rank 0 ends it sooner.
void OutliveRankZero();

}  // namespace assay
