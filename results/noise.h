// How much runs of one case differ from each other on one machine: measured by `assay noise`, else
// guessed. A comparison of two single runs knows the spread between runs from nowhere else.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/run.h"

namespace assay {

// One row of a noise.csv.
struct Noise {
  std::string probe = {};    // or its class (ProbeClass)
  std::string machine = {};  // an instance, a node_id, or "*"
  std::string between = "runs";
  double sigma = 0;                         // of log time
  double df = 1;                            // degrees of freedom of sigma; 1 where it is a guess
  std::optional<double> span_minutes = {};  // that the runs were spread over
  bool is_measured = false;
  std::string how = {};
  std::string date = {};
  bool operator==(const Noise&) const = default;
};

// No sigma counts as more degrees of freedom: the tails of what runs differ by are heavy.
inline constexpr double kMostNoiseDf = 8;
// A sigma counts as this many for files further apart than its span: noise is slow, too.
inline constexpr double kDistantNoiseDf = 2;

// "storage", "network" or "compute".
std::string_view ProbeClass(const std::string& probe);
// What the first node of a run is called by rows: its instance, or its node_id where no instance is
// known.
std::string MachineOf(const Run& run);

// Throws Error, which names source and row, for anything that no noise.csv holds.
std::vector<Noise> ParseNoise(std::string_view csv, const std::string& source);
// The same from a file.
std::vector<Noise> ReadNoise(const std::string& path);
std::string NoiseToCsv(const std::vector<Noise>& rows);

// The row that fits a probe's runs on the machine of `run` best, of `own` ones and those that are
// built in: a measured one before a guess, then the probe before its class, then the node before
// its instance before any machine, then one's own.
Noise FittingNoise(const std::vector<Noise>& own, const std::string& probe, const Run& run);

// "gemm 2.4 % (16 A/A runs over 62 min, 2026-11-28)".
std::string ToText(const Noise& noise);

}  // namespace assay
