// An Exchange over any Transport, by the algorithms of collectives/algorithms.h or, point to point,
// the patterns of collectives/fabric.h.
#pragma once

#include <memory>
#include <optional>

#include "collectives/collective.h"
#include "collectives/host_collective.h"
#include "collectives/transport.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

// Why none of them can do that; `registers`: over a transport with a Window for buffers.
std::optional<Skipped> RefusalOver(const Collective& collective, int ranks, bool registers = false);

// REQUIRES: RefusalOver(collective, transport->Size(), …) says nothing; `ranks` are those that the
// transport connects.
std::unique_ptr<Exchange> ExchangeOver(std::shared_ptr<Transport> transport, Ranks& ranks,
                                       const Collective& collective);

}  // namespace assay
