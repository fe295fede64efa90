// Collectives of our own between the ranks of one host, through memory that they share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "collectives/collective.h"
#include "collectives/host_collective.h"
#include "collectives/library.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

// One rank's end; made on all ranks together, which must be of one host. What it does depends on
// the collective's buffers, and on its size:
//   small, any buffers   each rank publishes its input beside a counter, and takes what it needs
//                        from where the others published theirs: one exchange of signals
//   shared               buffers lie in a window that all ranks map. Each reduces its share of the
//                        elements straight from all inputs and stores it to all outputs: 2 n S
//                        bytes through memory, which nothing undercuts
//   plain                private buffers: copied in, reduced and copied out through segments that
//                        stay in the caches, three of them at work at once
// REQUIRES: NativeRefusal(collective, ranks) says nothing.
std::unique_ptr<Exchange> NativeExchange(const Collective& collective, Ranks& ranks);

// Called on all ranks together.
std::optional<Skipped> NativeRefusal(const Collective& collective, Ranks& ranks);

// "native": all that in host memory.
std::unique_ptr<Library> NativeLibrary();

}  // namespace assay
