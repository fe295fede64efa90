// The command `assay coll`: a collective in nccl-tests' words, measured by the same engine into the
// same file.
#pragma once

#include "results/catalog/price.h"
#include "runner/program/cli.h"

namespace assay {

// Runs the whole command. Returns the exit status.
int RunColl(const CollOptions& options, const Catalog& catalog);

}  // namespace assay
