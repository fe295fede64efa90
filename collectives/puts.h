// Messages over one-sided writes (RDMA puts): a receiver tells the sender where a message belongs,
// and the sender writes it there, so that nothing is ever copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "collectives/transport.h"
#include "results/file/run.h"
#include "runner/core/ranks.h"

namespace assay {

// A network whose ranks can write into each other's memory.
class PutNetwork {
 public:
  virtual ~PutNetwork() = default;
  // This rank's number, and the number of ranks.
  virtual int Rank() const = 0;
  virtual int Size() const = 0;
  // Registers this rank's memory and makes it known to all others, in place of what was known
  // before. The caller owns the memory, which must outlive the network or the next call. Called on
  // all ranks together while nothing is under way; throws Error on all of them where one can't.
  virtual void Expose(Ranks& ranks, std::span<std::byte> memory) = 0;
  // Starts a one-sided write of `bytes` bytes at `from`, which lies in this rank's exposed memory,
  // to offset `at` of the exposed memory of rank `to`. When all bytes have arrived, rank `to` gets
  // the event kNotice with the value `notice`, and this rank kDone with the value `done`. Puts may
  // arrive in any order. REQUIRES: bytes > 0.
  virtual void Put(int to, const std::byte* from, std::size_t at, std::size_t bytes,
                   std::uint32_t notice, std::uint64_t done) = 0;
  struct Event {
    enum class Kind : std::uint8_t { kNotice, kDone };
    Kind kind = Kind::kNotice;
    std::uint64_t value = 0;  // the `notice` or the `done` that was given to Put
  };
  // Returns the next event, or nothing where there is none yet. With `waits` it spins until there
  // is one, and throws Error when there can't be one any more. Puts are sure to make progress only
  // within this call.
  virtual std::optional<Event> Next(bool waits) = 0;
  // SegmentBytes, SegmentsInFlight and Describe promise what Transport's functions of the same
  // names do.
  virtual std::size_t SegmentBytes() const = 0;
  virtual std::size_t SegmentsInFlight() const = 0;
  virtual Facts Describe() const = 0;
};

// Makes a Transport over a network of puts. Its messages must lie in its Window. Throws Error for
// more than 32768 ranks.
std::unique_ptr<Transport> MessagesByPuts(std::unique_ptr<PutNetwork> network);

}  // namespace assay
