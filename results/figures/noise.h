// The spread between runs of one case on one machine, which `assay noise` measures and which is
// otherwise guessed. A comparison of two single runs knows that spread from nowhere else.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/file/run.h"

namespace assay {

// One row of a noise.csv.
struct Noise {
  std::string probe = {};    // a probe, or a class of probes (results/figures/probes.h)
  std::string machine = {};  // an instance, a node_id, an accelerator (between nodes), or "*"
  std::string between = "runs";
  double sigma = 0;                         // the standard deviation of log time
  double df = 1;                            // degrees of freedom of sigma; 1 where it is a guess
  std::optional<double> span_minutes = {};  // the time that the runs were spread over
  bool is_measured = false;
  std::string how = {};
  std::string date = {};
  bool operator==(const Noise&) const = default;
};

// The most degrees of freedom that a sigma counts as, since differences between runs have heavy
// tails.
inline constexpr double kMostNoiseDf = 8;
// The degrees of freedom that a sigma counts as for files further apart than its span, since noise
// is slow, too.
inline constexpr double kDistantNoiseDf = 2;
// The minutes from the first of these times to the last; nothing where one isn't known, since it
// may lie anywhere.
std::optional<double> SpanOf(const std::vector<std::optional<double>>& minutes);
// Whether runs that began within so many minutes lie within the row's own span.
bool IsWithinSpan(const Noise& row, std::optional<double> minutes);
// The degrees of freedom that the row counts as for such runs.
double DfWithin(const Noise& row, std::optional<double> minutes);

// The name of a run's first node in rows: its instance, or its node_id where no instance is known.
std::string MachineOf(const Run& run);

// Parses a noise.csv. Throws Error, with source and row, for anything that such a file can't hold.
std::vector<Noise> ParseNoise(std::string_view csv, const std::string& source);
// Reads and parses a file.
std::vector<Noise> ReadNoise(const std::string& path);
std::string NoiseToCsv(const std::vector<Noise>& rows);

// The row that fits a probe's runs on the machine of `run` best, among `own` rows and those that
// are built in. A measured row comes before a guess, then the probe before its class, then the node
// before its instance before any machine, then an own row before a built-in one.
Noise FittingNoise(const std::vector<Noise>& own, const std::string& probe, const Run& run);

// The measured rows on the spread between nodes that fit the probe on the machines of all of these
// runs. Rows of the probe come before those of its class, rows of the instance before those of the
// accelerator before those of any machine, and own rows before built-in ones: the rows of the best
// such fit are found, and there may be none.
std::vector<Noise> FittingNodeRows(const std::vector<Noise>& own, const std::string& probe,
                                   const std::vector<const Run*>& runs);
// The same of a machine that is like this node.
std::vector<Noise> FittingNodeRows(const std::vector<Noise>& own, const std::string& probe,
                                   const Node& node);

// The least difference that one run a side can tell by this row: half the width of the interval of
// such a comparison, as a share.
double ResolutionOf(const Noise& noise);

// The row in words: "gemm 2.4 % (16 A/A runs over 62 min, 2026-11-28)".
std::string ToText(const Noise& noise);

}  // namespace assay
