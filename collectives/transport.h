// A Transport moves messages between ranks. The algorithms (collectives/algorithms.h) are written
// once on top of it and never see what is below: MPI point to point, libfabric, or memory in a
// test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "results/file/run.h"
#include "runner/core/ranks.h"

namespace assay {

// One rank's end of a transport. It belongs to one thread at a time.
class Transport {
 public:
  virtual ~Transport() = default;
  // This rank's number, and the number of ranks: 0 <= Rank() < Size().
  virtual int Rank() const = 0;
  virtual int Size() const = 0;
  // A message that has been started and not yet waited for.
  using Ticket = std::uint64_t;
  // Send and Receive start a message and return without waiting. Messages between two ranks with
  // the same tag arrive in the order in which they were sent, and are received in the order in
  // which the receives were started. A receive names exactly as many bytes as its message has. The
  // caller owns the memory, and must leave it untouched until Wait has returned. REQUIRES: 0 <= tag
  // < 2^15.
  virtual Ticket Send(int to, const void* data, std::size_t bytes, int tag) = 0;
  virtual Ticket Receive(int from, void* data, std::size_t bytes, int tag) = 0;
  // Spins until the message is over; each ticket is waited for once. All messages that have been
  // started make progress meanwhile. Throws Error when the message can't be moved any more.
  virtual void Wait(Ticket ticket) = 0;
  // The memory that messages of one byte or more must lie in, zeroed and page-aligned; empty where
  // they may lie anywhere. The transport owns it, and it is valid until the next call. Called on
  // all ranks together while no message is under way; throws Error on all of them where it can't be
  // had.
  virtual std::span<std::byte> Window(Ranks& ranks, std::size_t bytes) {
    (void)ranks, (void)bytes;
    return {};
  }
  // The size of the segments that algorithms cut their data into: the largest message that this
  // transport sends eagerly, without waiting for the receiver, so that both directions of a link
  // are in use.
  virtual std::size_t SegmentBytes() const { return std::size_t{64} << 10; }
  // The number of segments that an algorithm's pipeline keeps under way at once, each way. With
  // four, one is reduced or passed on while others move, and all fit the L2 cache. A link between
  // hosts needs more, or it idles whenever a rank is late.
  virtual std::size_t SegmentsInFlight() const { return 4; }
  // The facts of this rank's end, such as `transport` (collectives/used_transport.h).
  virtual Facts Describe() const { return {}; }
};

}  // namespace assay
