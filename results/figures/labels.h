// The name of a case in a table.
#pragma once

#include <string>

#include "results/file/run.h"

namespace assay {

// The case in a table, from the file alone: "bf16 4096 x 4096 x 4096", "triad 1 GiB",
// "randread 4 KiB, 32 in flight"; params that aren't their probe's usual value are appended.
// A probe that is not known here gives its canonical params.
std::string CaseLabel(const std::string& probe, const Params& params);

}  // namespace assay
