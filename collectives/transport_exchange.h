// An Exchange over any Transport, by the algorithms of collectives/algorithms.h or, point to point,
// the patterns of collectives/fabric.h.
#pragma once

#include <memory>
#include <optional>
#include <vector>

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

// The same by an algorithm of one level, between those whom the transport connects, each of whom is
// on a node: `node_of` has it by the transport's numbers. For its Window, `ranks` are all that have
// such a transport; called on all of them together.
std::unique_ptr<Exchange> FlatExchangeOver(std::shared_ptr<Transport> transport, Ranks& ranks,
                                           const Collective& collective,
                                           const std::vector<int>& node_of);

// The fact of how much a collective moves: on several nodes the most bytes that one of them sends
// to, or receives from, the others in one operation; on one node the same of a rank.
inline constexpr const char* kWireFact = "wire_bytes";
// Facts `algorithm` and kWireFact of a collective that a library does by the algorithm of ours that
// "auto" stands for: where every library must move the same, as from each rank to the next. Called
// on all ranks together.
Facts WireFactsOf(const Collective& collective, Ranks& ranks);

}  // namespace assay
