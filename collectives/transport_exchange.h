// An Exchange over any Transport, by the algorithms of collectives/algorithms.h or, for point to
// point, by the patterns of collectives/fabric.h.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "collectives/collective.h"
#include "collectives/timed_collective.h"
#include "collectives/transport.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// The reason why no algorithm or pattern can do the collective, or nothing. `registers`: the
// transport has a Window for buffers. Called on all ranks together.
std::optional<Skipped> RefusalOver(const Collective& collective, Ranks& ranks,
                                   bool registers = false);

// Makes this rank's end of the collective, by the algorithm that it names; "auto" takes two levels
// (collectives/hier.h) where several nodes have equally many ranks, more than one. Called on all
// ranks together, which must outlive the exchange; throws Error on all of them where one can't.
// REQUIRES: RefusalOver(collective, ranks, …) returns nothing, and the transport connects these
// ranks.
std::unique_ptr<Exchange> ExchangeOver(std::shared_ptr<Transport> transport, Ranks& ranks,
                                       const Collective& collective);

// Makes this rank's end by a one-level algorithm, between the ranks that the transport connects.
// `node_of` has the node of each, by the transport's numbers. `ranks` are all ranks that have such
// a transport, since they make its Window together; this is called on all of them together, and
// they must outlive the exchange.
std::unique_ptr<Exchange> FlatExchangeOver(std::shared_ptr<Transport> transport, Ranks& ranks,
                                           const Collective& collective,
                                           const std::vector<int>& node_of);

// The name of the fact that says how much a collective moves. On several nodes it is the most bytes
// that a node sends to, or receives from, the others in one operation; on one node, the most that a
// rank does.
inline constexpr const char* kWireFact = "wire_bytes";
// The facts `algorithm` and kWireFact for a library of somebody else's, where every library must
// move what our "auto" algorithm does, as from each rank to the next. Called on all ranks together.
Facts WireFactsOf(const Collective& collective, Ranks& ranks);

}  // namespace assay
