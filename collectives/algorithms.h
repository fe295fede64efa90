// The algorithms of collectives over messages, each of which writes the Schedule that a rank
// follows. An algorithm never sees what carries the messages (collectives/transport.h); it knows
// only the size of segments that the transport wants data cut into.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/collective.h"
#include "collectives/schedule.h"
#include "runner/core/probe.h"

namespace assay {

// The names that Collective::algorithm may have, besides "auto" and kHier.
std::vector<std::string> AlgorithmsOf(Operation operation);

// The name of the two-level algorithm (collectives/hier.h), each level of which is one of the
// others. IsForTwoLevels tells which operations have it.
inline constexpr std::string_view kHier = "hier";
// Whether the operation can be done on two levels.
bool IsForTwoLevels(Operation operation);

// The name of the algorithm that "auto" stands for; any other name is returned as it is.
std::string AlgorithmFor(const Collective& collective, int ranks, std::size_t segment_bytes);

// The reason why no algorithm on one level can do the collective, or nothing: its algorithm's name
// (kHier is refused), its dtype and redop, or the number of ranks.
std::optional<Skipped> AlgorithmRefusal(const Collective& collective, int ranks);

// The schedule of one rank. A pipeline keeps up to `segments_in_flight` (>= 1) segments of
// `segment_bytes` under way at once, each way. A single rank copies its input to its output.
// REQUIRES: AlgorithmRefusal returns nothing.
Schedule ScheduleOf(const Collective& collective, int rank, int ranks, std::size_t segment_bytes,
                    std::size_t segments_in_flight);

}  // namespace assay
