// The probes of several ranks, and what they have in common.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "collectives/collective.h"
#include "collectives/libraries.h"
#include "runner/core/probe.h"

namespace assay::collectives {

// The probes of operations, one for each, which do what nccl-tests' programs do.
std::vector<Probe> OperationProbes(const Setup& setup, const std::shared_ptr<Libraries>& libraries);
// The probe of point-to-point traffic, over the transports of libraries that show theirs.
Probe FabricProbe(const Setup& setup, const std::shared_ptr<Libraries>& libraries);
// The probe of a step of training: the gradients of a bucket are summed over the ranks, in place,
// while each of them multiplies matrices of the layers before. REQUIRES: setup.gemm.
Probe OverlapProbe(const Setup& setup, const std::shared_ptr<Libraries>& libraries);

// The params that an operation has.
Params DefaultsOf(const OperationFacts& facts, std::int64_t ranks, std::int64_t nodes);
// The collective that params ask for. Throws Error, with the name of the param, for what makes no
// sense; one rank
// makes sense where it is allowed.
Collective CollectiveOf(const OperationFacts& facts, const Params& params, bool allow_single);

// The units of a case: one for each rank, on the node that the rank is known to be on.
std::vector<Unit> UnitsOf(const Roster& roster, int ranks);
// The number of ranks of a case where nobody says it.
std::int64_t UsualRanks(const Roster& roster);

}  // namespace assay::collectives
