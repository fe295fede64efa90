// The command `assay coll`: a collective in nccl-tests' words, measured by the same engine into the
// same file.
#pragma once

#include "results/catalog/price.h"
#include "runner/program/cli.h"

namespace assay {

// Runs the whole command, from joining ranks to the files that were asked for. Returns the exit
// status that `assay --help` lists. Throws Error where it can't do what was asked.
int RunColl(const CollOptions& options, const Catalog& catalog);

}  // namespace assay
