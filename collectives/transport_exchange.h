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

// Why none of them can do that; `registers`: over a transport with a Window for buffers. Called on
// all ranks together.
std::optional<Skipped> RefusalOver(const Collective& collective, Ranks& ranks,
                                   bool registers = false);

// By the algorithm that the collective names; "auto" takes two levels (collectives/hier.h) where
// several nodes have several ranks each. Called on all ranks together; throws Error on all of them.
// REQUIRES: RefusalOver(collective, ranks, …) says nothing; the transport connects these ranks.
std::unique_ptr<Exchange> ExchangeOver(std::shared_ptr<Transport> transport, Ranks& ranks,
                                       const Collective& collective);

// The same by an algorithm of one level, between those whom the transport connects. For its Window,
// `ranks` are all that have such a transport.
std::unique_ptr<Exchange> FlatExchangeOver(std::shared_ptr<Transport> transport, Ranks& ranks,
                                           const Collective& collective);

}  // namespace assay
