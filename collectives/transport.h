// A Transport moves messages between ranks; the algorithms (collectives/algorithms.h) are written
// on it once and never see what is below: MPI point to point, libfabric, or memory in a test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "results/run.h"
#include "runner/ranks.h"

namespace assay {

class Transport {
 public:
  virtual ~Transport() = default;
  virtual int Rank() const = 0;
  virtual int Size() const = 0;
  // A message that has been started and not yet waited for.
  using Ticket = std::uint64_t;
  // Starts a message. Of two ranks, messages with one tag arrive in the order in which they were
  // sent, and are received in the order in which the receives were started; a message has as many
  // bytes as its receive. The memory stays untouched until Wait has returned. 0 <= tag < 2^15.
  virtual Ticket Send(int to, const void* data, std::size_t bytes, int tag) = 0;
  virtual Ticket Receive(int from, void* data, std::size_t bytes, int tag) = 0;
  // Returns when the message is over: each ticket is waited for once. All that has been started
  // moves on meanwhile. Spins. Throws Error when the message can't be moved any more.
  virtual void Wait(Ticket ticket) = 0;
  // Memory that messages of one byte or more have to lie in, zeroed, from the begin of a page on
  // and until this is called again. Empty: they may lie anywhere. Called on all ranks together,
  // when no message is under way; throws Error on all of them where it can't be had.
  virtual std::span<std::byte> Window(Ranks& ranks, std::size_t bytes) {
    (void)ranks, (void)bytes;
    return {};
  }
  // The largest message that this transport sends without waiting for the receiver's leave, in
  // which the two directions of a link can be in use at once: what algorithms cut their data into.
  virtual std::size_t SegmentBytes() const { return std::size_t{64} << 10; }
  // How many of these algorithms keep under way at once, each way. In fours one is reduced or
  // passed on while others move, and all fit the L2 cache; a link between hosts idles unless there
  // are more, whenever a rank is late.
  virtual std::size_t SegmentsInFlight() const { return 4; }
  virtual Facts Describe() const { return {}; }
};

}  // namespace assay
