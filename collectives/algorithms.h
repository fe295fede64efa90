// The algorithms of collectives over messages, each written once as the Schedule that a rank
// follows. What carries the messages (collectives/transport.h) they never see; they are told only
// into what segments it wants data cut.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/collective.h"
#include "collectives/schedule.h"
#include "runner/probe.h"

namespace assay {

// The names that Collective::algorithm may have beside "auto" and kHier.
std::vector<std::string> AlgorithmsOf(Operation operation);

// That of two levels (collectives/hier.h), each of which is one of these; not for every operation.
inline constexpr std::string_view kHier = "hier";
bool IsForTwoLevels(Operation operation);

// What "auto" stands for; any other name is given back.
std::string AlgorithmFor(const Collective& collective, int ranks, std::size_t segment_bytes);

// Why no algorithm can do that: its name, its dtype, or the number of ranks.
std::optional<Skipped> AlgorithmRefusal(const Collective& collective, int ranks);

// REQUIRES: AlgorithmRefusal says nothing.
Schedule ScheduleOf(const Collective& collective, int rank, int ranks, std::size_t segment_bytes,
                    std::size_t segments_in_flight);

}  // namespace assay
