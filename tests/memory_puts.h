// Puts between ranks that are threads, which arrive in a seeded random order and as late as they
// may: so whoever trusts in an order, reads before the notice, or writes before the end of a put,
// gets wrong bytes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "collectives/puts.h"
#include "results/base/error.h"

namespace assay {

// The state that all ranks share.
class PutWorld {
 public:
  PutWorld(std::uint64_t seed, int ranks)
      : random_(seed), ranks_(static_cast<std::size_t>(ranks)) {}

  void Expose(int rank, std::span<std::byte> memory) {
    const std::lock_guard lock(mutex_);
    if (!puts_.empty()) Complain("memory was exposed anew while a put was under way");
    At(rank).memory = memory;
    At(rank).exposures++;
    changed_.notify_all();
  }
  // Until all ranks have done so as often as this one.
  void AwaitExposures(int rank) {
    std::unique_lock lock(mutex_);
    const int own = At(rank).exposures;
    changed_.wait(lock, [&] {
      for (const OneRank& each : ranks_) {
        if (each.exposures < own) return false;
      }
      return true;
    });
  }
  void Put(int from, int to, const std::byte* data, std::size_t at, std::size_t bytes,
           std::uint32_t notice, std::uint64_t done) {
    const std::lock_guard lock(mutex_);
    const std::span<std::byte> own = At(from).memory;
    if (bytes == 0 || data < own.data() || data + bytes > own.data() + own.size() ||
        at + bytes > At(to).memory.size()) {
      Complain("a put leaves the exposed memory");
      return;
    }
    puts_.push_back({from, to, data, at, bytes, notice, done});
    changed_.notify_all();
  }
  std::optional<PutNetwork::Event> Next(int rank, bool waits) {
    std::unique_lock lock(mutex_);
    OneRank& own = At(rank);
    while (own.events.empty()) {
      if (!puts_.empty()) {
        Deliver(random_() % puts_.size());
      } else if (!waits) {
        return std::nullopt;
      } else if (changed_.wait_for(lock, std::chrono::seconds(20)) == std::cv_status::timeout) {
        throw Error("nothing more can happen");
      }
    }
    const PutNetwork::Event event = own.events.front();
    own.events.pop_front();
    return event;
  }
  // The things that ranks did although the contract forbids them; "" if there are none.
  std::string Complaint() const { return complaint_; }

 private:
  struct OneRank {
    std::span<std::byte> memory = {};
    int exposures = 0;
    std::deque<PutNetwork::Event> events = {};
  };
  struct Pending {
    int from = 0;
    int to = 0;
    const std::byte* data = nullptr;
    std::size_t at = 0;
    std::size_t bytes = 0;
    std::uint32_t notice = 0;
    std::uint64_t done = 0;
  };
  OneRank& At(int rank) { return ranks_.at(static_cast<std::size_t>(rank)); }
  void Complain(const std::string& what) { complaint_ = what; }
  void Deliver(std::size_t index) {
    const Pending put = puts_[index];
    puts_.erase(puts_.begin() + static_cast<std::ptrdiff_t>(index));
    std::memcpy(At(put.to).memory.data() + put.at, put.data, put.bytes);
    using Kind = PutNetwork::Event::Kind;
    At(put.to).events.push_back({.kind = Kind::kNotice, .value = put.notice});
    At(put.from).events.push_back({.kind = Kind::kDone, .value = put.done});
    changed_.notify_all();
  }

  std::mutex mutex_ = {};
  std::condition_variable changed_ = {};
  std::mt19937_64 random_;
  std::vector<OneRank> ranks_;
  std::vector<Pending> puts_ = {};
  std::string complaint_ = {};
};

class MemoryPuts : public PutNetwork {
 public:
  MemoryPuts(PutWorld& world, int rank, int size, std::size_t segment_bytes,
             std::size_t segments_in_flight)
      : world_(world),
        rank_(rank),
        size_(size),
        segment_bytes_(segment_bytes),
        segments_in_flight_(segments_in_flight) {}
  int Rank() const override { return rank_; }
  int Size() const override { return size_; }
  void Expose(Ranks&, std::span<std::byte> memory) override {
    world_.Expose(rank_, memory);
    world_.AwaitExposures(rank_);
  }
  void Put(int to, const std::byte* from, std::size_t at, std::size_t bytes, std::uint32_t notice,
           std::uint64_t done) override {
    world_.Put(rank_, to, from, at, bytes, notice, done);
  }
  std::optional<Event> Next(bool waits) override { return world_.Next(rank_, waits); }
  std::size_t SegmentBytes() const override { return segment_bytes_; }
  std::size_t SegmentsInFlight() const override { return segments_in_flight_; }
  Facts Describe() const override { return {}; }

 private:
  PutWorld& world_;
  int rank_;
  int size_;
  std::size_t segment_bytes_;
  std::size_t segments_in_flight_;
};

}  // namespace assay
