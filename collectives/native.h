// The native library: this program's own collectives between the ranks of one host, through shared
// memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "collectives/collective.h"
#include "collectives/library.h"
#include "collectives/timed_collective.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// Makes this rank's end of a collective. Called on all ranks together, which must be on one host
// and outlive the exchange; throws Error on all of them where they can't share memory. The way the
// exchange works, its fact `form`, depends on the collective's size and buffers:
//
// - published, where no rank puts in more than 4 KiB: each rank publishes its input beside a
//   counter, and takes what it needs from where the others published theirs, which takes one
//   exchange of signals.
// - direct, for larger ones in shared buffers: these lie in a window that all ranks map, and each
//   rank reads inputs and writes outputs where they are. In an all-reduce each rank reduces its
//   share of the elements for all; on n ranks with S bytes each this moves 2 n S bytes through
//   memory, the least possible.
// - staged, for larger ones in plain buffers: these are copied in, reduced and copied out through
//   segments that stay in the caches, in a pipeline of three phases.
//
// REQUIRES: NativeRefusal(collective, ranks) returns nothing.
std::unique_ptr<Exchange> NativeExchange(const Collective& collective, Ranks& ranks);

// The reason why the native library can't do the collective, or nothing. Called on all ranks
// together.
std::optional<Skipped> NativeRefusal(const Collective& collective, Ranks& ranks);

// The library "native": NativeRefusal and NativeExchange by the interface of all libraries.
std::unique_ptr<Library> NativeLibrary();

}  // namespace assay
