// A Transport over libfabric: reliable datagrams with tags, or writes into each other's memory, by
// whichever provider all ranks have.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "collectives/transport.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

struct OfiOptions {
  // The provider to use, by libfabric's name; "": the first that all ranks have of efa, verbs, shm
  // (where all share memory), tcp. $FI_PROVIDER narrows both, as libfabric itself has it.
  std::string provider = {};
  // Whether messages are written straight into registered memory, their transport's Window, instead
  // of being matched by tags.
  bool puts = false;
  // A rank that waits this long while nothing at all arrives or leaves gives up.
  Seconds patience = Seconds(120);
  // What shared memory and what network this rank is in; "": the system is asked. Ranks with one
  // host's name may be in containers of their own, which share neither.
  std::string memory = {};
  std::string network = {};
};

// Called on all ranks together, which tell each other their addresses through `ranks`. Skipped, on
// all of them, where they have no provider in common. Throws Error, on all of them, where one can't
// open it.
std::variant<std::unique_ptr<Transport>, Skipped> JoinOfi(Ranks& ranks,
                                                          const OfiOptions& options = {});

}  // namespace assay
