// The signals that ask a process to end (SIGINT, SIGTERM, SIGHUP, SIGQUIT). They are caught, so
// that what was measured is in its file before the process ends. A launcher that is asked to end
// tells all ranks, kills them a moment later (Open MPI 4 after a second, 5 after a quarter of one),
// and sooner if one of them is gone already.
#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "results/file/run.h"

namespace assay {

// Catches the signals: from here on the first one only makes IsToldToEnd true, and a second one
// removes storage's test files and ends the process at once, with kInterrupted. SIGHUP stays
// ignored where it is ignored, as under nohup.
void CatchSignals();
bool IsToldToEnd();

// Ends a process that has been told to end and hasn't done so by itself within `grace`, for as long
// as this object lives. It does so by calling `end`, which must not return, in a thread of its own.
// At a second signal it does so at once, and without `grace` only then. A third signal ends the
// process as a second one does without this object. There may be one such object at a time.
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

// Delays the signals for ranks other than 0: they end this process only after a while, so that rank
// 0, which has the file, has time to write it. Rank 0 ends this process sooner.
void OutliveRankZero();

}  // namespace assay
