#include "collectives/transport_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "collectives/algorithms.h"
#include "collectives/asking.h"
#include "collectives/fabric.h"
#include "collectives/hier.h"
#include "collectives/reduction.h"
#include "collectives/schedule.h"
#include "runner/core/group.h"

namespace assay {
namespace {

constexpr std::size_t kLine = 64;
// The one tag that is needed, since messages between two ranks arrive in order.
constexpr int kTag = 0;

// The value of the fact kWireFact: the bytes that cross the busiest link, in its busier direction,
// when each rank follows its own schedule once. `self` is this rank's number among the schedule's
// peers, and node_of[i] the node of peer i. Called on all ranks together.
std::int64_t WireBytes(Ranks& ranks, const Schedule& schedule, int self,
                       const std::vector<int>& node_of) {
  // On several nodes each node has one link, which messages between its own ranks don't cross. On a
  // single node each rank has a link of its own.
  const bool several = std::ranges::any_of(node_of, [](int node) { return node > 0; });
  const int own_node = node_of.at(static_cast<std::size_t>(self));
  std::size_t sent = 0;
  std::size_t received = 0;
  for (const Schedule::Step& step : schedule.Steps()) {
    const bool sends = step.kind == Schedule::Kind::kSend;
    if (!sends && step.kind != Schedule::Kind::kReceive) continue;
    if (several && node_of.at(static_cast<std::size_t>(step.peer)) == own_node) continue;
    (sends ? sent : received) += step.bytes;
  }
  std::map<int, std::pair<std::int64_t, std::int64_t>> by_link;
  for (const std::string& text : GatherToAll(
           ranks, fmt::format("{} {} {}", several ? own_node : ranks.Rank(), sent, received))) {
    std::istringstream words(text);
    int link = 0;
    std::int64_t out = 0;
    std::int64_t in = 0;
    words >> link >> out >> in;
    by_link[link].first += out;
    by_link[link].second += in;
  }
  std::int64_t most = 0;
  // A link carries both directions at once, so that the busier direction counts and not the sum.
  for (const auto& [link, bytes] : by_link) most = std::max({most, bytes.first, bytes.second});
  return most;
}

// The node of each rank.
std::vector<int> NodeOfRanks(const Nodes& nodes, int ranks) {
  std::vector<int> node_of(static_cast<std::size_t>(ranks));
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    for (const int rank : nodes[node]) {
      node_of.at(static_cast<std::size_t>(rank)) = static_cast<int>(node);
    }
  }
  return node_of;
}

// An exchange that follows schedules: one for its buffers, and one for the barrier of Align.
class TransportExchange : public Exchange {
 public:
  TransportExchange(std::shared_ptr<Transport> transport, Ranks& ranks,
                    const Collective& collective, const std::vector<int>& node_of)
      : transport_(std::move(transport)),
        ranks_(ranks),
        algorithm_(AlgorithmFor(collective, transport_->Size(), transport_->SegmentBytes())),
        schedule_(ScheduleOf(collective, transport_->Rank(), transport_->Size(),
                             transport_->SegmentBytes(), transport_->SegmentsInFlight())),
        barrier_(ScheduleOf({.operation = Operation::kBarrier}, transport_->Rank(),
                            transport_->Size(), transport_->SegmentBytes(),
                            transport_->SegmentsInFlight())),
        own_scratch_(std::max(schedule_.ScratchBytes(), barrier_.ScratchBytes())),
        scratch_(own_scratch_),
        tickets_(std::max(schedule_.Messages(), barrier_.Messages())) {
    wire_bytes_ = WireBytes(ranks, schedule_, transport_->Rank(), node_of);
    if (FactsOf(collective.operation).reduces) {
      reduction_.emplace(collective.dtype, collective.redop, transport_->Size());
    }
  }

  void Align() override { Follow(barrier_, nullptr, nullptr); }
  void Run(const std::byte* input, std::byte* output) override { Follow(schedule_, input, output); }
  // The window holds the scratch memory too, since messages are received into it.
  std::span<std::byte> Window(std::size_t bytes) override {
    const std::size_t begin = RoundedUp(bytes, kLine);
    const std::span<std::byte> window = transport_->Window(ranks_, begin + own_scratch_.size());
    if (window.empty()) return {};
    scratch_ = window.subspan(begin);
    return window.first(bytes);
  }
  Facts Describe() const override {
    Facts facts = transport_->Describe();
    facts["algorithm"] = algorithm_;
    facts["segment_bytes"] = static_cast<std::int64_t>(transport_->SegmentBytes());
    facts["segments_in_flight"] = static_cast<std::int64_t>(transport_->SegmentsInFlight());
    facts[kWireFact] = wire_bytes_;
    facts["sent_bytes_by_rank_0"] = static_cast<std::int64_t>(schedule_.SentBytes());
    return facts;
  }

 private:
  // Does the steps of a schedule in order.
  void Follow(const Schedule& schedule, const std::byte* input, std::byte* output) {
    using Place = Schedule::Place;
    const auto at = [&](const Place& place) -> const std::byte* {
      if (place.buffer == Place::Buffer::kInput) return input + place.at;
      return (place.buffer == Place::Buffer::kOutput ? output : scratch_.data()) + place.at;
    };
    const auto into = [&](const Place& place) {
      return (place.buffer == Place::Buffer::kOutput ? output : scratch_.data()) + place.at;
    };
    for (const Schedule::Step& step : schedule.Steps()) {
      const auto message = static_cast<std::size_t>(step.message);
      switch (step.kind) {
        case Schedule::Kind::kSend:
          tickets_[message] = transport_->Send(step.peer, at(step.a), step.bytes, kTag);
          break;
        case Schedule::Kind::kReceive:
          tickets_[message] = transport_->Receive(step.peer, into(step.a), step.bytes, kTag);
          break;
        case Schedule::Kind::kWait:
          transport_->Wait(tickets_[message]);
          break;
        case Schedule::Kind::kReduce:
        case Schedule::Kind::kReduceLast: {
          const std::byte* const from[] = {at(step.a), at(step.b)};
          std::byte* const to = into(step.to);
          (*reduction_)(from, {&to, 1}, step.bytes,
                        {.last = step.kind == Schedule::Kind::kReduceLast});
          break;
        }
        case Schedule::Kind::kCopy: {
          std::byte* const to = into(step.to);
          CopyTo(at(step.a), {&to, 1}, step.bytes);
          break;
        }
      }
    }
  }

  std::shared_ptr<Transport> transport_;
  Ranks& ranks_;
  std::string algorithm_;
  Schedule schedule_;
  Schedule barrier_;
  std::int64_t wire_bytes_ = 0;
  std::optional<Reduction> reduction_ = {};
  std::vector<std::byte> own_scratch_;
  std::span<std::byte> scratch_;  // shared by both schedules, which are never followed at once
  std::vector<Transport::Ticket> tickets_;
};

}  // namespace

std::optional<Skipped> RefusalOver(const Collective& collective, Ranks& ranks, bool registers) {
  if (collective.buffers != "plain" && !(registers && collective.buffers == "registered")) {
    return Skipped{
        .reason = fmt::format("these messages don't move {} buffers", collective.buffers),
        .remedy = Asking("buffers", "plain") + ", or --backend native"};
  }
  if (IsFabric(collective)) {
    if (ranks.Size() == 2) return std::nullopt;
    return Skipped{.reason = fmt::format("a link has two ends, not {}", ranks.Size()),
                   .remedy = "--ranks 2"};
  }
  if (collective.algorithm != kHier) return AlgorithmRefusal(collective, ranks.Size());
  Collective flat = collective;
  flat.algorithm = "auto";
  if (auto no = AlgorithmRefusal(flat, ranks.Size())) return no;
  return HierRefusal(collective, GatherNodes(ranks));
}

std::unique_ptr<Exchange> ExchangeOver(std::shared_ptr<Transport> transport, Ranks& ranks,
                                       const Collective& collective) {
  if (IsFabric(collective)) return MakeFabricExchange(collective, std::move(transport));
  const Nodes nodes = GatherNodes(ranks);
  if (collective.algorithm == kHier || collective.algorithm == "auto") {
    // The choice `auto` takes the hierarchy wherever it can be built; RefusalOver has refused one
    // that was asked for and can't be.
    const bool is_better = HasTwoLevels(nodes) && !HierRefusal(collective, nodes);
    if (collective.algorithm == kHier || is_better) {
      return HierExchange(std::move(transport), ranks, nodes, collective);
    }
  }
  return FlatExchangeOver(std::move(transport), ranks, collective,
                          NodeOfRanks(nodes, ranks.Size()));
}

std::unique_ptr<Exchange> FlatExchangeOver(std::shared_ptr<Transport> transport, Ranks& ranks,
                                           const Collective& collective,
                                           const std::vector<int>& node_of) {
  return std::make_unique<TransportExchange>(std::move(transport), ranks, collective, node_of);
}

Facts WireFactsOf(const Collective& collective, Ranks& ranks) {
  constexpr std::size_t kSegment = std::size_t{1} << 20;
  const Schedule schedule = ScheduleOf(collective, ranks.Rank(), ranks.Size(), kSegment, 1);
  return {{"algorithm", AlgorithmFor(collective, ranks.Size(), kSegment)},
          {kWireFact, WireBytes(ranks, schedule, ranks.Rank(),
                                NodeOfRanks(GatherNodes(ranks), ranks.Size()))}};
}

}  // namespace assay
