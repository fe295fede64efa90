// Messages on a network whose ranks write into each other's memory (RDMA): a receiver tells the
// sender where a message belongs, and the sender puts it there, so that nothing is ever copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "collectives/transport.h"
#include "results/run.h"
#include "runner/ranks.h"

namespace assay {

class PutNetwork {
 public:
  virtual ~PutNetwork() = default;
  virtual int Rank() const = 0;
  virtual int Size() const = 0;
  // Makes this rank's memory known to all others, in place of what was known before. Called on all
  // ranks together when nothing is under way; throws Error on all of them where one can't.
  virtual void Expose(Ranks& ranks, std::span<std::byte> memory) = 0;
  // Starts to write own exposed bytes into another rank's, `at` of them from their begin. When all
  // have arrived there, that rank is told `notice`, and this one that `done` is done. Puts arrive
  // in any order. REQUIRES: bytes > 0.
  virtual void Put(int to, const std::byte* from, std::size_t at, std::size_t bytes,
                   std::uint32_t notice, std::uint64_t done) = 0;
  struct Event {
    enum class Kind : std::uint8_t { kNotice, kDone };
    Kind kind = Kind::kNotice;
    std::uint64_t value = 0;  // what was given to Put
  };
  // The next thing that has happened. Where nothing has: nothing, or if it `waits`, what happens
  // next: it spins, and throws Error when nothing can happen any more. Only within this call puts
  // are sure to move on.
  virtual std::optional<Event> Next(bool waits) = 0;
  virtual std::size_t SegmentBytes() const = 0;
  virtual std::size_t SegmentsInFlight() const = 0;
  virtual Facts Describe() const = 0;
};

std::unique_ptr<Transport> MessagesByPuts(std::unique_ptr<PutNetwork> network);

}  // namespace assay
