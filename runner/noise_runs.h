// `assay noise`: how much runs differ on this machine, found by running the program again and again
// over an hour, since what runs differ by is slow, too.
#pragma once

#include <string>
#include <vector>

#include "results/noise.h"
#include "runner/cli.h"

namespace assay {

// The user's own noise.csv: assay/noise.csv in XDG_DATA_HOME, else in ~/.local/share; "" where
// neither is known.
std::string OwnNoisePath();

// The rows of the file that was named, else of the user's own where there is one. Throws Error for
// a file that can't be read.
std::vector<Noise> OwnNoise(const std::string& named);

// Returns the exit status. The file is written once all runs are over; before that nothing is.
int MeasureNoise(const NoiseOptions& options);

}  // namespace assay
