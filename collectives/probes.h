// The probes of several ranks, and what they have in common.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "collectives/collective.h"
#include "collectives/libraries.h"
#include "runner/core/probe.h"

namespace assay::collectives {

// The probes of operations, one for each, which measure what nccl-tests' programs do. These probes
// and the two below hold a copy of `setup` and a share of `libraries`; setup.modules must outlive
// them and their cases.
std::vector<Probe> OperationProbes(const Setup& setup, const std::shared_ptr<Libraries>& libraries);
// The probe of point-to-point traffic, over the libraries with KnownLibrary::has_transport.
Probe FabricProbe(const Setup& setup, const std::shared_ptr<Libraries>& libraries);
// The probe of a step of training: a bucket of gradients is summed over the ranks, in place, while
// each rank multiplies the matrices of earlier layers. REQUIRES: setup.gemm.
Probe OverlapProbe(const Setup& setup, const std::shared_ptr<Libraries>& libraries);

// The params that an operation's probe has, with their defaults.
Params DefaultsOf(const OperationFacts& facts, std::int64_t ranks, std::int64_t nodes);
// The collective that params ask for. Throws Error, with the name of the param, for a value that
// makes no sense, and for a single rank unless `allow_single` is true.
Collective CollectiveOf(const OperationFacts& facts, const Params& params, bool allow_single);

// The units of a case of that many ranks: one for each rank, on the rank's node where a launcher
// started the ranks, else on node 0.
std::vector<Unit> UnitsOf(const Roster& roster, int ranks);
// The number of ranks of a case where nobody says it: all that a launcher started, else the usual
// number of ranks that are started here.
std::int64_t UsualRanks(const Roster& roster);

}  // namespace assay::collectives
