// By which statistic a record's samples become its figure. A device that runs free is told by the
// median of short batches. What lets a burst through and then waits (a volume with a cap, a CPU
// quota, a network with burst credit) is not: there the median is of the burst or of the pause, and
// the figure is work over time, after the burst. results/METRICS.md has each rule.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/run.h"
#include "results/stats.h"

namespace assay {

enum class Statistic { kMedian, kOverTime };
// "median", "over_time".
std::string_view ToText(Statistic statistic);

// The fact that says beforehand that something paces a record, and by what ("CPU quota").
inline constexpr char kPacedFact[] = "paced";

// How a case that was faster at first went on once what it lived on ran out.
struct Burst {
  bool each_visit = false;  // it came back at the beginning of each visit; else once in the case
  double lasted_s = 0;      // of the time that was measured: of one visit where it came back
  double before_s = 0;      // seconds per iteration while it lasted
  double after_s = 0;
};

// One sample with what it weighs.
struct Timed {
  double iterations = 0;
  double time_s = 0;  // per iteration
  double at_s = 0;    // since the visit's first sample began, of the time that was measured
  double Seconds() const { return iterations * time_s; }
};

struct Pacing {
  Statistic statistic = Statistic::kMedian;
  std::string why = {};  // "CPU quota", "stalls", "burst"; "" where nothing was found to pace it
  std::optional<Burst> burst = {};
  // By visit, the samples that its figure rests on: all, or those after the burst.
  std::vector<std::vector<Timed>> counted = {};
  std::size_t spans = 0;  // how many there were, of work that is counted by time
  double measured_s = 0;  // all of them together
};
Pacing PacingOf(const Record& record);

// Work is counted by time in this visit: its samples are spans.
bool IsInSpans(const Visit& visit);

// So many spans in time order tell a burst from none; fewer are too short.
inline constexpr std::size_t kSpansToTell = 30;

// Where the rate of samples, given in the order in which a burst would come first, falls once and
// stays below: how many are before it. Nothing under kSpansToTell samples, and nothing where the
// fall is under 20 % or could be noise.
std::optional<std::size_t> FallOf(const std::vector<Timed>& samples);

// How often batches were stopped, where they alternate between fast and slow so that their median
// is of neither; 0 where they don't. Under kFewestStalls they may be hiccups.
inline constexpr int kFewestStalls = 3;
int StallsIn(const std::vector<Timed>& samples);

// Seconds per iteration of samples by a statistic. REQUIRES: there are some.
double TimeOf(const std::vector<Timed>& samples, Statistic statistic);

// The interval of a rate from the spans of one visit: 15 equal ones, which tell less where
// neighbours are alike. Nothing under 15 spans.
std::optional<Interval> SpansInterval(const std::vector<Timed>& spans, double confidence);
// How alike neighbours are there, 0 … 0.9. Above 0.5 a longer visit is needed to tell.
double SpansAlike(const std::vector<Timed>& spans);

}  // namespace assay
