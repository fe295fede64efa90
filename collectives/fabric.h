// The fabric probe: what a network gives two ranks, one at each end, with single messages back and
// forth or many in flight. To a library its patterns are collectives whose algorithm is the
// pattern's name, so that buffers, clock and check are the same as for all others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/timed_collective.h"
#include "collectives/transport.h"
#include "runner/core/probe.h"

namespace assay {

// The names of the patterns. In a pingpong one message goes there, and when it has come another
// goes back. In a stream many messages go from rank 0 to rank 1, all in flight at once, and when
// they have come one byte goes back. In bidirectional as many go both ways at once.
const std::vector<std::string>& FabricPatterns();

// The number of messages of a stream in flight: 64, or so many that they take at most 16 MiB
// together, but at least one.
std::int64_t FabricWindow(std::int64_t message_bytes);

// One iteration as the collective that libraries are asked for. REQUIRES, here and for FabricWork:
// `pattern` is one of FabricPatterns(), and message_bytes >= 1.
Collective FabricCollective(const std::string& pattern, std::int64_t message_bytes);
// The work of one iteration: the two messages of a pingpong, or the bytes of a stream, of both
// directions where there are two.
Work FabricWork(const std::string& pattern, std::int64_t message_bytes);

// Whether the collective is a pattern of this probe.
bool IsFabric(const Collective& collective);
// Makes this rank's end of the pattern. REQUIRES: IsFabric(collective), and the transport connects
// two ranks.
std::unique_ptr<Exchange> MakeFabricExchange(const Collective& collective,
                                             std::shared_ptr<Transport> transport);

}  // namespace assay
