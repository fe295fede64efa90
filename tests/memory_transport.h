// Messages between ranks that are threads, moved as early as they may (odd seeds) or as late, when
// one of the two ends waits for them (even seeds): so an algorithm that touches memory while it is
// a message's, or mistakes one message for another, gets wrong bytes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "collectives/transport.h"
#include "results/base/error.h"

namespace assay {

class MemoryNetwork {
 public:
  explicit MemoryNetwork(std::uint64_t seed) : seed_(seed), is_lazy_(seed % 2 == 0) {}

  Transport::Ticket Start(bool is_send, int from, int to, std::byte* data, std::size_t bytes,
                          int tag) {
    const std::lock_guard lock(mutex_);
    Link& link = links_[{from, to, tag}];
    messages_.push_back({.data = data, .bytes = bytes, .is_send = is_send, .link = &link});
    for (const Message* other : under_way_) {
      // Two messages may be sent from one place.
      if (other->data < data + bytes && data < other->data + other->bytes &&
          !(is_send && other->is_send)) {
        overlaps_ = true;
      }
    }
    under_way_.push_back(&messages_.back());
    (is_send ? link.sends : link.receives).push_back(messages_.size() - 1);
    if (!is_lazy_) Move(link);
    changed_.notify_all();
    return messages_.size() - 1;
  }
  void Wait(Transport::Ticket ticket) {
    std::unique_lock lock(mutex_);
    Message& message = messages_[ticket];
    changed_.wait(lock, [&] {
      while (!message.over && Move(*message.link)) continue;
      return message.over;
    });
    if (message.waited_for) throw Error("a message was waited for twice");
    message.waited_for = true;
    std::erase(under_way_, &message);
    changed_.notify_all();
  }
  // Makes one rank, which the seed chooses, slower than the others each time that it waits.
  void Dawdle(int rank, int size) const {
    if (static_cast<std::uint64_t>(rank) != seed_ / 2 % static_cast<std::uint64_t>(size)) return;
    for (int i = 0; i < 5; ++i) std::this_thread::yield();
  }
  // The things that ranks did although the contract forbids them; "" if there are none.
  std::string Complaint() const {
    if (overlaps_) return "memory was a message's and another's at once";
    return under_way_.empty() ? "" : "a message was not waited for";
  }

 private:
  struct Link {
    std::deque<std::size_t> sends = {};
    std::deque<std::size_t> receives = {};
  };
  struct Message {
    std::byte* data = nullptr;
    std::size_t bytes = 0;
    bool is_send = false;
    Link* link = nullptr;
    bool over = false;
    bool waited_for = false;
  };
  // The next message of a link, if both its ends are there.
  bool Move(Link& link) {
    if (link.sends.empty() || link.receives.empty()) return false;
    Message& sent = messages_[link.sends.front()];
    Message& received = messages_[link.receives.front()];
    if (sent.bytes != received.bytes) throw Error("a message has not its receive's size");
    std::memcpy(received.data, sent.data, sent.bytes);
    sent.over = received.over = true;
    link.sends.pop_front();
    link.receives.pop_front();
    return true;
  }

  const std::uint64_t seed_;
  const bool is_lazy_;
  std::mutex mutex_ = {};
  std::condition_variable changed_ = {};
  std::deque<Message> messages_ = {};
  std::vector<const Message*> under_way_ = {};  // until waited for
  bool overlaps_ = false;
  std::map<std::tuple<int, int, int>, Link> links_ = {};
};

class MemoryTransport : public Transport {
 public:
  MemoryTransport(MemoryNetwork& network, int rank, int size, std::size_t segment_bytes,
                  std::size_t segments_in_flight)
      : network_(network),
        rank_(rank),
        size_(size),
        segment_bytes_(segment_bytes),
        segments_in_flight_(segments_in_flight) {}
  int Rank() const override { return rank_; }
  int Size() const override { return size_; }
  Ticket Send(int to, const void* data, std::size_t bytes, int tag) override {
    // It is only read.
    auto* from = static_cast<std::byte*>(const_cast<void*>(data));
    return network_.Start(true, rank_, to, from, bytes, tag);
  }
  Ticket Receive(int from, void* data, std::size_t bytes, int tag) override {
    return network_.Start(false, from, rank_, static_cast<std::byte*>(data), bytes, tag);
  }
  void Wait(Ticket ticket) override {
    network_.Dawdle(rank_, size_);
    network_.Wait(ticket);
  }
  std::size_t SegmentBytes() const override { return segment_bytes_; }
  std::size_t SegmentsInFlight() const override { return segments_in_flight_; }
  Facts Describe() const override { return {{"transport", "memory"}}; }

 private:
  MemoryNetwork& network_;
  int rank_;
  int size_;
  std::size_t segment_bytes_;
  std::size_t segments_in_flight_;
};

}  // namespace assay
