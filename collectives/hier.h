// Two-level collectives, where several nodes have several ranks each: among the ranks of a node
// through memory that they share, and between nodes each rank with those that have its place on the
// others. Each then sends and receives its share alone, and all links of a node are at work.
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

// The ranks of each node, in order.
using Nodes = std::vector<std::vector<int>>;
// Called on all ranks together.
Nodes NodesOf(Ranks& ranks);

// Why that can't be done on two levels.
std::optional<Skipped> HierRefusal(const Collective& collective, const Nodes& nodes);
// Whether two levels are better than one: on nodes that have a rank each they are one.
bool HasTwoLevels(const Nodes& nodes);

// Called on all ranks together, which the transport connects; throws Error on all of them.
// REQUIRES: HierRefusal(collective, nodes) says nothing.
std::unique_ptr<Exchange> HierExchange(std::shared_ptr<Transport> transport, Ranks& ranks,
                                       const Nodes& nodes, const Collective& collective);

}  // namespace assay
