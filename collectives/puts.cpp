#include "collectives/puts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "collectives/collective.h"
#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/core/memory.h"

namespace assay {
namespace {

constexpr std::size_t kPage = 4096;

// A grant (clear to send) that a receiver puts into the sender's memory: where it wants a message.
struct Leave {
  std::uint64_t at = 0;  // an offset in the receiver's memory
  std::uint64_t bytes = 0;
  std::uint64_t tag = 0;
};
// The grants of one rank for another that may be under way; further receives wait for their turn.
constexpr std::size_t kLeaves = 64;

// A notice says which rank a put comes from, whether it is a grant or a message, and the number of
// the receive that it belongs to. A rank thus knows what has come, in whatever order it comes.
constexpr std::uint32_t kIsLeave = std::uint32_t{1} << 31U;
constexpr unsigned kRankShift = 16;
constexpr int kMostRanks = 1 << 15;
// The `done` of a put whose end nobody waits for.
constexpr std::uint64_t kNobody = ~std::uint64_t{0};

// The transport: a receive grants its place to the sender, and a send waits for the grant before it
// puts.
class PutTransport : public Transport {
 public:
  explicit PutTransport(std::unique_ptr<PutNetwork> network)
      : network_(std::move(network)), peers_(static_cast<std::size_t>(network_->Size())) {
    if (network_->Size() > kMostRanks) {
      throw Error(fmt::format("messages by puts know at most {} ranks", kMostRanks));
    }
  }

  int Rank() const override { return network_->Rank(); }
  int Size() const override { return network_->Size(); }
  std::size_t SegmentBytes() const override { return network_->SegmentBytes(); }
  std::size_t SegmentsInFlight() const override { return network_->SegmentsInFlight(); }
  Facts Describe() const override {
    Facts facts = network_->Describe();
    facts["exposed_bytes"] = static_cast<std::int64_t>(window_.size());
    return facts;
  }

  // The grants that others put here, and those that go out, lie before the caller's memory.
  std::span<std::byte> Window(Ranks& ranks, std::size_t bytes) override {
    const std::size_t leaves = RoundedUp(2 * LeafBytes() * peers_.size(), kPage);
    Pages memory(leaves + bytes);
    network_->Expose(ranks, {memory.Begin(), leaves + bytes});
    memory_ = std::move(memory);
    window_ = {memory_.Begin(), leaves + bytes};
    return window_.subspan(leaves);
  }

  Ticket Send(int to, const void* data, std::size_t bytes, int tag) override {
    const Ticket ticket = Begin();
    PeerOf(to).sends.push_back({.data = static_cast<const std::byte*>(data),
                                .bytes = bytes,
                                .tag = static_cast<std::uint64_t>(tag),
                                .ticket = ticket});
    assert(IsInside(data, bytes));
    TakeNews();
    PutAllowed(to);
    return ticket;
  }

  Ticket Receive(int from, void* data, std::size_t bytes, int tag) override {
    assert(IsInside(data, bytes));
    const Ticket ticket = Begin();
    PeerOf(from).receives.push_back(
        {.leave = {.at = static_cast<std::uint64_t>(static_cast<std::byte*>(data) - window_.data()),
                   .bytes = bytes,
                   .tag = static_cast<std::uint64_t>(tag)},
         .ticket = ticket});
    GiveLeaves(from);
    return ticket;
  }

  void Wait(Ticket ticket) override {
    TakeNews();
    while (!over_[ticket]) Take(*network_->Next(/*waits=*/true));
    free_.push_back(ticket);
  }

 private:
  struct Outgoing {
    const std::byte* data = nullptr;
    std::size_t bytes = 0;
    std::uint64_t tag = 0;
    Ticket ticket = 0;
  };
  struct Incoming {
    Leave leave = {};
    Ticket ticket = 0;
    bool over = false;
  };
  struct Allowed {
    Leave leave = {};
    std::uint64_t number = 0;
  };
  // The messages between this rank and another that are under way. Receives are numbered from 0.
  struct Peer {
    std::deque<Incoming> receives = {};   // from the first that isn't over
    std::uint64_t first = 0;              // the number of that receive
    std::uint64_t given = 0;              // how many receives were granted
    std::deque<Outgoing> sends = {};      // those that have no grant yet
    std::deque<Allowed> allowed = {};     // grants that have no send yet
    std::uint64_t taken = 0;              // how many grants came, without a gap
    std::array<bool, kLeaves> came = {};  // which of the grants after those came
  };

  static std::size_t LeafBytes() { return kLeaves * sizeof(Leave); }
  Peer& PeerOf(int rank) { return peers_.at(static_cast<std::size_t>(rank)); }
  // The offsets of the grants that a rank puts here, and of those that go to it.
  static std::size_t InboxAt(int rank, std::uint64_t number) {
    return static_cast<std::size_t>(rank) * LeafBytes() + number % kLeaves * sizeof(Leave);
  }
  std::size_t OutboxAt(int rank, std::uint64_t number) const {
    return InboxAt(rank + Size(), number);
  }
  bool IsInside(const void* data, std::size_t bytes) const {
    const auto* begin = static_cast<const std::byte*>(data);
    return bytes > 0 && begin >= window_.data() && begin + bytes <= window_.data() + window_.size();
  }

  Ticket Begin() {
    if (free_.empty()) {
      free_.push_back(over_.size());
      over_.push_back(false);
    }
    const Ticket ticket = free_.back();
    free_.pop_back();
    over_[ticket] = false;
    return ticket;
  }

  std::uint32_t Notice(bool is_leave, std::uint64_t number) const {
    return (is_leave ? kIsLeave : 0) | static_cast<std::uint32_t>(Rank()) << kRankShift |
           static_cast<std::uint16_t>(number);
  }

  // Grants as many receives as there are places for. The place of a grant is free again when its
  // receive is over, since the sender has read it then.
  void GiveLeaves(int from) {
    Peer& peer = PeerOf(from);
    for (; peer.given < peer.first + std::min(kLeaves, peer.receives.size()); ++peer.given) {
      std::byte* const out = window_.data() + OutboxAt(from, peer.given);
      std::memcpy(out, &peer.receives[peer.given - peer.first].leave, sizeof(Leave));
      network_->Put(from, out, InboxAt(Rank(), peer.given), sizeof(Leave),
                    Notice(/*is_leave=*/true, peer.given), kNobody);
    }
  }

  // Puts messages that are granted. For each tag, the first message goes to the first place that
  // wants one.
  void PutAllowed(int to) {
    Peer& peer = PeerOf(to);
    for (auto send = peer.sends.begin(); send != peer.sends.end() && !peer.allowed.empty();) {
      const auto allowed = std::find_if(peer.allowed.begin(), peer.allowed.end(),
                                        [&](const Allowed& a) { return a.leave.tag == send->tag; });
      if (allowed == peer.allowed.end()) {
        ++send;
        continue;
      }
      if (allowed->leave.bytes != send->bytes) {
        throw Error(fmt::format("rank {} sends {} where rank {} wants {}", Rank(),
                                CountText(send->bytes, "byte"), to, allowed->leave.bytes));
      }
      network_->Put(to, send->data, allowed->leave.at, send->bytes,
                    Notice(/*is_leave=*/false, allowed->number), send->ticket);
      peer.allowed.erase(allowed);
      send = peer.sends.erase(send);
    }
  }

  void TakeNews() {
    while (const auto event = network_->Next(/*waits=*/false)) Take(*event);
  }

  // Handles one event of the network: the end of a put, a grant, or a message.
  void Take(const PutNetwork::Event& event) {
    if (event.kind == PutNetwork::Event::Kind::kDone) {
      if (event.value != kNobody) over_.at(event.value) = true;
      return;
    }
    const auto notice = static_cast<std::uint32_t>(event.value);
    const auto from = static_cast<int>((notice & ~kIsLeave) >> kRankShift);
    if (from >= Size())
      throw Error(fmt::format("rank {} is told of a put by rank {}", Rank(), from));
    if ((notice & kIsLeave) != 0) {
      TakeLeave(from, notice);
    } else {
      TakeMessage(from, notice);
    }
  }

  // The distance from `number` to the number whose lower half is in the notice.
  static std::size_t After(std::uint64_t number, std::uint32_t notice) {
    return static_cast<std::uint16_t>(notice - static_cast<std::uint32_t>(number));
  }

  // Handles a grant that has come. Grants may overtake each other, so those that came too early are
  // noted.
  void TakeLeave(int from, std::uint32_t notice) {
    Peer& peer = PeerOf(from);
    const std::size_t ahead = After(peer.taken, notice);
    if (ahead >= kLeaves)
      throw Error(fmt::format("rank {} gave rank {} too many leaves", from, Rank()));
    peer.came[(peer.taken + ahead) % kLeaves] = true;
    // Grants are taken in order, which keeps messages of one tag in order.
    for (; peer.came[peer.taken % kLeaves]; ++peer.taken) {
      peer.came[peer.taken % kLeaves] = false;
      Allowed& allowed = peer.allowed.emplace_back();
      allowed.number = peer.taken;
      std::memcpy(&allowed.leave, window_.data() + InboxAt(from, peer.taken), sizeof(Leave));
    }
    PutAllowed(from);
  }

  // Handles a message that has come: its receive is over.
  void TakeMessage(int from, std::uint32_t notice) {
    Peer& peer = PeerOf(from);
    const std::size_t index = After(peer.first, notice);
    if (index >= peer.given - peer.first || peer.receives[index].over) {
      throw Error(
          fmt::format("rank {} has a message of rank {} that it didn't ask for", Rank(), from));
    }
    peer.receives[index].over = true;
    over_[peer.receives[index].ticket] = true;
    for (; !peer.receives.empty() && peer.receives.front().over; ++peer.first) {
      peer.receives.pop_front();
    }
    GiveLeaves(from);
  }

  Pages memory_ = {};
  std::unique_ptr<PutNetwork> network_;  // must forget the memory before that is freed
  std::span<std::byte> window_ = {};
  std::vector<Peer> peers_;      // [rank]
  std::vector<bool> over_ = {};  // [ticket]
  std::vector<Ticket> free_ = {};
};

}  // namespace

std::unique_ptr<Transport> MessagesByPuts(std::unique_ptr<PutNetwork> network) {
  return std::make_unique<PutTransport>(std::move(network));
}

}  // namespace assay
