// The command `assay noise`, which finds how much runs differ on this machine. It runs the program
// again and again over an hour, since the causes of such differences are slow, too.
#pragma once

#include <string>
#include <vector>

#include "results/figures/noise.h"
#include "runner/program/cli.h"

namespace assay {

// The path of the user's own noise.csv: assay/noise.csv in XDG_DATA_HOME, else in ~/.local/share;
// "" where neither is known.
std::string OwnNoisePath();

// Reads the rows of the named file, or without a name those of the user's own file, if it exists.
// Throws Error for a file that can't be read.
std::vector<Noise> OwnNoise(const std::string& named);

// Runs the command and returns the exit status. The file is written once all runs are over, and
// nothing before that. Throws Error for a bad file, for options that every run would refuse, and
// for a run that failed.
int MeasureNoise(const NoiseOptions& options);

}  // namespace assay
