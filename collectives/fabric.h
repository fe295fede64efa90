// What a network gives two ranks, one at each end: single messages back and forth, or many in
// flight. To a library these are collectives whose algorithm is the pattern, so that buffers, clock
// and check are those of all others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/host_collective.h"
#include "collectives/transport.h"
#include "runner/probe.h"

namespace assay {

// pingpong: one message there, and when it has come one back. stream: messages from rank 0 to rank
// 1, all in flight at once, and when they have come one byte back. bidirectional: as many both ways
// at once.
const std::vector<std::string>& FabricPatterns();

// Messages of a stream in flight: 64, but together at most 16 MiB where that leaves one.
std::int64_t FabricWindow(std::int64_t message_bytes);

// One iteration, as libraries are asked for it.
Collective FabricCollective(const std::string& pattern, std::int64_t message_bytes);
// The two messages of a pingpong; the bytes of a stream, over both directions where there are two.
Work FabricWork(const std::string& pattern, std::int64_t message_bytes);

bool IsFabric(const Collective& collective);
// REQUIRES: IsFabric(collective), and two ranks.
std::unique_ptr<Exchange> MakeFabricExchange(const Collective& collective,
                                             std::shared_ptr<Transport> transport);

}  // namespace assay
