// A Transport over libfabric: tagged messages over reliable datagrams, or one-sided writes, by a
// provider that all ranks have.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "collectives/transport.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// How the ranks are connected. `puts` must be the same on all ranks.
struct OfiOptions {
  // The provider to use, by libfabric's name. "": the first of efa, verbs, shm (where all ranks
  // share memory) and tcp that all ranks have. $FI_PROVIDER narrows the choice, as it does in
  // libfabric itself.
  std::string provider = {};
  // Whether messages are one-sided writes into registered memory, which then is the transport's
  // Window, instead of messages that the receiver matches by tags.
  bool puts = false;
  // The time that a rank waits, while nothing at all arrives or leaves, before it gives up.
  Seconds patience = Seconds(120);
  // What tells this rank's shared memory and its network from those of other ranks, since ranks
  // under one host name may be in different containers, which share neither. "": the system is
  // asked.
  std::string memory = {};
  std::string network = {};
};

// Connects all ranks, which tell each other their addresses through `ranks` in this call alone.
// Called on all ranks together. Returns Skipped, on all of them, where they have no provider in
// common; throws Error, on all of them, where one can't open it.
std::variant<std::unique_ptr<Transport>, Skipped> JoinOfi(Ranks& ranks,
                                                          const OfiOptions& options = {});

}  // namespace assay
