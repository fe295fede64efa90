// The statistic by which a record's samples become its figure. The median of short batches is right
// for a device that runs free. Whatever lets a burst through and then waits (a volume with a cap, a
// CPU quota, a network with burst credit) has a median of the burst or of the pause; there the
// figure is work over time, after the burst. results/METRICS.md has each rule.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/figures/stats.h"
#include "results/file/run.h"

namespace assay {

// The way samples become a figure: by their median, or as work over their whole time.
enum class Statistic { kMedian, kOverTime };
// The statistic's name in files: "median", "over_time".
std::string_view ToText(Statistic statistic);

// The name of the fact by which a record says that something paces it, and what: "CPU quota".
inline constexpr char kPacedFact[] = "paced";

// A burst: the two levels of a case that was faster until its credit ran out.
struct Burst {
  bool each_visit = false;  // whether it came back at the beginning of each visit
  double lasted_s = 0;      // the measured time that it lasted, within a visit where it came back
  double before_s = 0;      // seconds per iteration while it lasted
  double after_s = 0;       // seconds per iteration after it
};

// One sample with its weight.
struct Timed {
  double iterations = 0;  // the weight
  double time_s = 0;      // per iteration
  double at_s = 0;        // the measured time of the visit's samples before this one
  double Seconds() const { return iterations * time_s; }  // the time of all of them
};

// The pacing of a record, and those of its samples that count.
struct Pacing {
  Statistic statistic = Statistic::kMedian;
  std::string why = {};  // "CPU quota", "stalls", "burst"; "" where nothing was found to pace it
  std::optional<Burst> burst = {};
  // The samples that the figure rests on, by visit: all, or those after the burst.
  std::vector<std::vector<Timed>> counted = {};
  std::size_t spans = 0;  // the number of spans, where work is counted over spans of time
  double measured_s = 0;  // the time of all samples together
};
// Finds out how a record was paced, from its fact or from its samples.
Pacing PacingOf(const Record& record);

// Whether the samples of this visit are spans of time, each with its `iterations`.
bool IsInSpans(const Visit& visit);

// The number of spans from which on a burst can be told; fewer are too short.
inline constexpr std::size_t kSpansToTell = 30;

// The number of samples before the point where their rate falls once and stays below. Samples are
// given in the order in which a burst would come first. Nothing under kSpansToTell samples, and
// where the fall is under 20 % or could be noise.
std::optional<std::size_t> FallOf(const std::vector<Timed>& samples);

// The number of times that batches were stopped, where they alternate between fast and slow so that
// their median describes neither; 0 where they don't. Fewer than kFewestStalls may be hiccups.
inline constexpr int kFewestStalls = 3;
int StallsIn(const std::vector<Timed>& samples);

// The seconds per iteration of samples by a statistic. REQUIRES: there is at least one.
double TimeOf(const std::vector<Timed>& samples, Statistic statistic);

// The interval, as factors of the rate, from the spans of one visit cut in 15 equal parts. It is
// wider where neighbouring parts are alike. Nothing under 15 spans.
std::optional<Interval> SpansInterval(const std::vector<Timed>& spans, double confidence);
// The autocorrelation of neighbouring parts, 0 … 0.9; 0 under 15 spans. Above 0.5 only a longer
// visit can tell how sure the figure is.
double SpansAutocorrelation(const std::vector<Timed>& spans);

}  // namespace assay
