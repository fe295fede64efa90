// The name of a case in a table.
#pragma once

#include <string>

#include "results/file/run.h"

namespace assay {

// The case in a table, by the label of its probe (results/figures/probes.h): "triad 1 GiB",
// "randread 4 KiB, 32 in flight"; params that aren't their probe's usual value are appended. It is
// the canonical text of all params where the probe has no label, or params that the label names are
// missing. The text is not made harmless.
std::string CaseLabel(const std::string& probe, const Params& params);
// The probe and its case in words: "gemm bf16 4096 x 4096 x 4096".
std::string CaseWords(const std::string& probe, const Params& params);

}  // namespace assay
