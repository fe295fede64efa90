#include "collectives/hier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <utility>

#include "collectives/algorithms.h"
#include "collectives/asking.h"
#include "collectives/native.h"
#include "collectives/reduction.h"
#include "collectives/transport_exchange.h"
#include "collectives/used_transport.h"
#include "results/base/error.h"
#include "runner/core/group.h"
#include "runner/core/memory.h"
#include "runner/core/told_number.h"

namespace assay {
namespace {

// The grain that shares on a node are rounded to, as Layout does.
constexpr std::size_t kGrain = 16;
constexpr std::size_t kLine = 64;

// A transport among the ranks of one column, which are those with the same place on their nodes.
// The column numbers its ranks from 0.
class Column : public Transport {
 public:
  Column(std::shared_ptr<Transport> all, std::vector<int> members)
      : all_(std::move(all)), members_(std::move(members)) {}
  int Rank() const override {
    return static_cast<int>(std::find(members_.begin(), members_.end(), all_->Rank()) -
                            members_.begin());
  }
  int Size() const override { return static_cast<int>(members_.size()); }
  Ticket Send(int to, const void* data, std::size_t bytes, int tag) override {
    return all_->Send(members_.at(static_cast<std::size_t>(to)), data, bytes, tag);
  }
  Ticket Receive(int from, void* data, std::size_t bytes, int tag) override {
    return all_->Receive(members_.at(static_cast<std::size_t>(from)), data, bytes, tag);
  }
  void Wait(Ticket ticket) override { all_->Wait(ticket); }
  std::span<std::byte> Window(Ranks& ranks, std::size_t bytes) override {
    return all_->Window(ranks, bytes);
  }
  std::size_t SegmentBytes() const override { return all_->SegmentBytes(); }
  std::size_t SegmentsInFlight() const override { return all_->SegmentsInFlight(); }
  Facts Describe() const override { return all_->Describe(); }

 private:
  std::shared_ptr<Transport> all_;
  std::vector<int> members_;
};

// The place of a rank: its node, and its number within the node.
struct Seat {
  std::size_t node = 0;
  std::size_t place = 0;
};
// Finds a rank's place. REQUIRES: the rank is on one of the nodes.
Seat SeatOf(const Nodes& nodes, int rank) {
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    const auto at = std::find(nodes[node].begin(), nodes[node].end(), rank);
    if (at == nodes[node].end()) continue;
    return {.node = node, .place = static_cast<std::size_t>(at - nodes[node].begin())};
  }
  throw Error(fmt::format("rank {} is on no node", rank));
}

// Whether the numbers of each node's ranks follow each other, so that what belongs to a node lies
// together.
bool AreInOrder(const Nodes& nodes) {
  int next = 0;
  for (const std::vector<int>& members : nodes) {
    for (const int rank : members) {
      if (rank != next++) return false;
    }
  }
  return true;
}

// The node of each member of a column: member i is on node i.
std::vector<int> EachOnItsOwn(std::size_t nodes) {
  std::vector<int> node_of(nodes);
  std::iota(node_of.begin(), node_of.end(), 0);
  return node_of;
}

// The two-level exchange. Each operation takes up to three steps, which are collectives of their
// own: among the ranks of each node ("node"), and in each column ("between"):
//   all_reduce      node: reduce_scatter | between: all_reduce     | node: all_gather
//   broadcast       node: scatter        | between: broadcast      | node: all_gather
//   reduce          node: reduce_scatter | between: reduce         | node: gather
//   all_gather                             between: all_gather     | node: all_gather
//   reduce_scatter  node: reduce_scatter | between: reduce_scatter
class TwoLevels : public Exchange {
 public:
  TwoLevels(std::shared_ptr<Transport> transport, Ranks& ranks, const Nodes& nodes,
            const Collective& collective)
      : collective_(collective),
        nodes_(nodes.size()),
        places_(nodes[0].size()),
        seat_(SeatOf(nodes, ranks.Rank())),
        root_(SeatOf(nodes, collective.root)),
        all_(Bytes(Layout(collective, ranks.Size()).Base())) {
    if (collective.redop == "avg") scale_.emplace(collective.dtype, "avg", ranks.Size());
    // The array is a part that the node's ranks share equally, and a rest that each of them has
    // whole.
    if (!IsOfShares()) {
      share_ = all_ / places_ / kGrain * kGrain;
      rest_ = all_ - share_ * places_;
    }
    MakeOnNode(ranks);
    std::vector<int> column;
    for (const std::vector<int>& members : nodes) column.push_back(members[seat_.place]);
    between_ = FlatExchangeOver(std::make_shared<Column>(std::move(transport), column), ranks,
                                Between(), EachOnItsOwn(nodes.size()));
    const std::size_t room = RoundedUp(IsOfShares() ? nodes_ * all_ : share_ + rest_, kLine);
    std::span<std::byte> memory = between_->Window(2 * room + kLine);
    if (memory.empty()) {
      own_memory_ = Pages(2 * room + kLine);
      memory = {own_memory_.Begin(), 2 * room + kLine};
    }
    from_ = memory.data();
    to_ = from_ + room;
  }

  void Align() override {
    gate_->Align();
    between_->Align();
    gate_->Align();
  }

  void Run(const std::byte* input, std::byte* output) override {
    if (collective_.operation == Operation::kAllGather) return AllGather(input, output);
    if (collective_.operation == Operation::kReduceScatter) return ReduceScatter(input, output);
    if (collective_.operation != Operation::kBroadcast || seat_.node == root_.node) {
      if (before_) before_->Run(input, from_);
      if (rest_before_) rest_before_->Run(input + share_ * places_, from_ + share_);
    }
    between_->Run(from_, to_);
    const bool reduces_to_root = collective_.operation == Operation::kReduce;
    if (reduces_to_root && seat_.node != root_.node) return;
    Scale(share_ + rest_);
    if (after_) after_->Run(to_, output);
    if (rest_ == 0 || (reduces_to_root && seat_.place != root_.place)) return;
    std::memcpy(output + share_ * places_, to_ + share_, rest_);
  }

  Facts Describe() const override {
    Facts facts = between_->Describe();
    facts["between_nodes"] = std::exchange(facts["algorithm"], "hier");
    if (const auto all = facts.find(kTransportFact); all != facts.end()) {
      all->second = OnTwoLevels(kSharedMemory, BetweenNodes(std::get<std::string>(all->second)));
    }
    // The bytes of a single node all go through shared memory, which isn't counted.
    if (nodes_ == 1) facts.erase(kWireFact);
    facts["ranks_on_each_node"] = static_cast<std::int64_t>(places_);
    return facts;
  }

 private:
  std::size_t Bytes(std::int64_t elements) const {
    return static_cast<std::size_t>(elements * ElementBytes(collective_.dtype));
  }
  // Whether the collective's own array is already shared out among all ranks.
  bool IsOfShares() const {
    return collective_.operation == Operation::kAllGather ||
           collective_.operation == Operation::kReduceScatter;
  }

  // The collective of one step. An average is a sum until the last step.
  Collective Step(Operation operation, std::size_t bytes, std::size_t root = 0) const {
    return {.operation = operation,
            .dtype = collective_.dtype,
            .redop = collective_.redop == "avg" ? "sum" : collective_.redop,
            .bytes = static_cast<std::int64_t>(bytes),
            .root = static_cast<int>(root)};
  }
  Collective Between() const {
    return Step(collective_.operation, IsOfShares() ? nodes_ * all_ : share_ + rest_, root_.node);
  }

  // Makes the exchanges within the node. Every node makes the same ones, since each group of ranks
  // must make as many calls as the others (Group). Throws Error on all ranks where one fails.
  void MakeOnNode(Ranks& ranks) {
    Group node(ranks, ranks.Node());
    const auto make = [&](Operation operation, std::size_t bytes, std::size_t root = 0) {
      if (bytes == 0) return std::unique_ptr<Exchange>();
      return NativeExchange(Step(operation, bytes, root), node);
    };
    std::string failure;
    try {
      gate_ = NativeExchange({.operation = Operation::kBarrier}, node);
      const bool broadcasts = collective_.operation == Operation::kBroadcast;
      const std::size_t shares = places_ * (IsOfShares() ? all_ : share_);
      if (collective_.operation != Operation::kAllGather) {
        before_ = make(broadcasts ? Operation::kScatter : Operation::kReduceScatter, shares,
                       broadcasts ? root_.place : 0);
        rest_before_ = make(broadcasts ? Operation::kBroadcast : Operation::kAllReduce, rest_,
                            broadcasts ? root_.place : 0);
      }
      if (collective_.operation != Operation::kReduceScatter) {
        const bool gathers = collective_.operation == Operation::kReduce;
        after_ = make(gathers ? Operation::kGather : Operation::kAllGather, shares,
                      gathers ? root_.place : 0);
      }
    } catch (const Error& error) {
      failure = error.what();
    }
    node.Rest();
    for (const std::string& text : GatherToAll(ranks, failure)) {
      if (!text.empty()) throw Error(text);
    }
  }

  void AllGather(const std::byte* input, std::byte* output) {
    std::memcpy(from_, input, all_);
    between_->Run(from_, to_);
    for (std::size_t node = 0; after_ && node < nodes_; ++node) {
      after_->Run(to_ + node * all_, output + node * places_ * all_);
    }
  }

  void ReduceScatter(const std::byte* input, std::byte* output) {
    for (std::size_t node = 0; before_ && node < nodes_; ++node) {
      before_->Run(input + node * places_ * all_, from_ + node * all_);
    }
    between_->Run(from_, to_);
    Scale(all_);
    std::memcpy(output, to_, all_);
  }

  void Scale(std::size_t bytes) {
    const std::byte* const sums = to_;
    if (scale_) (*scale_)({&sums, 1}, {&to_, 1}, bytes, {.last = true});
  }

  Collective collective_;
  std::size_t nodes_;
  std::size_t places_;  // the ranks of each node
  Seat seat_;
  Seat root_;
  std::size_t all_;        // bytes of the whole array, or of a rank's share of it where it has one
  std::size_t share_ = 0;  // bytes of the array that each rank of a node has as its share
  std::size_t rest_ = 0;   // bytes that are left over, which each rank has whole
  std::optional<Reduction> scale_ = {};
  std::unique_ptr<Exchange> gate_ = {};         // a barrier within the node
  std::unique_ptr<Exchange> before_ = {};       // the first step, of the shares; may be null
  std::unique_ptr<Exchange> rest_before_ = {};  // the first step, of the rest; may be null
  std::unique_ptr<Exchange> between_ = {};      // the step between nodes
  std::unique_ptr<Exchange> after_ = {};        // the last step, of the shares; may be null
  Pages own_memory_ = {};
  std::byte* from_ = nullptr;  // the input and the output of the step between nodes
  std::byte* to_ = nullptr;
};

}  // namespace

Nodes GatherNodes(Ranks& ranks) {
  Nodes nodes;
  int rank = 0;
  for (const std::string& text : GatherToAll(ranks, std::to_string(ranks.Node()))) {
    const auto node =
        ToldNumber<std::size_t>(text, fmt::format("rank {}", rank), "its node's number");
    if (node >= static_cast<std::size_t>(ranks.Size())) throw Error("ranks are on unknown nodes");
    nodes.resize(std::max(nodes.size(), node + 1));
    nodes[node].push_back(rank++);
  }
  return nodes;
}

bool HasTwoLevels(const Nodes& nodes) { return nodes.size() > 1 && nodes[0].size() > 1; }

std::optional<Skipped> HierRefusal(const Collective& collective, const Nodes& nodes) {
  const std::string remedy = Asking("algo", "auto");
  const std::string_view name = FactsOf(collective.operation).name;
  if (!IsForTwoLevels(collective.operation)) {
    return Skipped{.reason = fmt::format("{} is not done on two levels", name), .remedy = remedy};
  }
  const bool shares = collective.operation == Operation::kAllGather ||
                      collective.operation == Operation::kReduceScatter;
  if (shares && !AreInOrder(nodes)) {
    return Skipped{.reason = fmt::format("{} on two levels wants the ranks of a node to have "
                                         "numbers that follow each other",
                                         name),
                   .remedy = "start the ranks node by node (mpirun --map-by slot), or " + remedy};
  }
  for (std::size_t node = 1; node < nodes.size(); ++node) {
    if (nodes[node].size() == nodes[0].size()) continue;
    return Skipped{.reason = fmt::format("two levels want as many ranks on each node: node 0 has "
                                         "{}, node {} has {}",
                                         nodes[0].size(), node, nodes[node].size()),
                   .remedy = remedy};
  }
  return std::nullopt;
}

std::unique_ptr<Exchange> HierExchange(std::shared_ptr<Transport> transport, Ranks& ranks,
                                       const Nodes& nodes, const Collective& collective) {
  return std::make_unique<TwoLevels>(std::move(transport), ranks, nodes, collective);
}

}  // namespace assay
