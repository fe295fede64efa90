// An Exchange over any Transport, by the algorithms of collectives/algorithms.h.
#pragma once

#include <memory>

#include "collectives/collective.h"
#include "collectives/host_collective.h"
#include "collectives/transport.h"

namespace assay {

// REQUIRES: AlgorithmRefusal(collective, transport->Size()) says nothing.
std::unique_ptr<Exchange> ExchangeOver(std::unique_ptr<Transport> transport,
                                       const Collective& collective);

}  // namespace assay
