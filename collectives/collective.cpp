#include "collectives/collective.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/base/text.h"

namespace assay {
namespace {

// The bytes to whose multiples shares are rounded down, as in nccl-tests.
constexpr std::int64_t kShareBytes = 16;

// Whether the elements are shared out among ranks, so that the size is that of all shares together.
bool IsShared(Operation operation) {
  switch (operation) {
    case Operation::kAllGather:
    case Operation::kReduceScatter:
    case Operation::kAlltoall:
    case Operation::kAlltoallv:
    case Operation::kGather:
    case Operation::kScatter:
      return true;
    case Operation::kAllReduce:
    case Operation::kBroadcast:
    case Operation::kReduce:
    case Operation::kSendRecv:
    case Operation::kBarrier:
      return false;
  }
  throw Error("an operation is not one of those that are known");
}

}  // namespace

const std::vector<OperationFacts>& Operations() {
  static const std::vector<OperationFacts> all = {
      {.operation = Operation::kAllReduce,
       .name = "all_reduce",
       .summary = "the reduction of every rank's array, left on each of them",
       .reduces = true,
       .in_place = true},
      {.operation = Operation::kAllGather,
       .name = "all_gather",
       .summary = "every rank's share, put together on each of them",
       .in_place = true},
      {.operation = Operation::kReduceScatter,
       .name = "reduce_scatter",
       .summary = "the reduction of every rank's array, a share left on each",
       .reduces = true,
       .in_place = true},
      {.operation = Operation::kBroadcast,
       .name = "broadcast",
       .summary = "one rank's array, copied to all",
       .rooted = true,
       .in_place = true},
      {.operation = Operation::kReduce,
       .name = "reduce",
       .summary = "the reduction of every rank's array, left on one",
       .reduces = true,
       .rooted = true,
       .in_place = true},
      {.operation = Operation::kAlltoall,
       .name = "alltoall",
       .summary = "an equal share from each rank to each other"},
      {.operation = Operation::kAlltoallv,
       .name = "alltoallv",
       .summary = "unequal shares from each rank to each other"},
      {.operation = Operation::kGather,
       .name = "gather",
       .summary = "every rank's share, put together on one",
       .rooted = true,
       .in_place = true},
      {.operation = Operation::kScatter,
       .name = "scatter",
       .summary = "one rank's array, shared out to all",
       .rooted = true,
       .in_place = true},
      {.operation = Operation::kSendRecv,
       .name = "sendrecv",
       .summary = "each rank's array to the next rank, around a ring"},
      {.operation = Operation::kBarrier,
       .name = "barrier",
       .summary = "nobody goes on before all have come"},
  };
  return all;
}

// The table is in the order of the enumeration, so that an operation is its own index.
const OperationFacts& FactsOf(Operation operation) {
  return Operations()[static_cast<std::size_t>(operation)];
}

std::optional<Operation> OperationFrom(std::string_view name) {
  for (const OperationFacts& facts : Operations()) {
    if (facts.name == name) return facts.operation;
  }
  return std::nullopt;
}

std::int64_t ElementBytes(std::string_view dtype) {
  return ReadDtype(dtype, "dtype", DtypeUse::kCollectives).bits / 8;
}

Layout::Layout(const Collective& collective, int ranks)
    : collective_(collective), ranks_(ranks), element_bytes_(ElementBytes(collective.dtype)) {
  if (ranks < 1 || collective.root < 0 || collective.root >= ranks || collective.bytes < 0) {
    throw Error(fmt::format("{} of {} with root {} can't be done by {}",
                            FactsOf(collective.operation).name, CountText(collective.bytes, "byte"),
                            collective.root, CountText(ranks, "rank")));
  }
  if (collective.operation == Operation::kBarrier) return;
  base_ = collective.bytes / element_bytes_;
  const std::int64_t grain = kShareBytes / element_bytes_;
  if (IsShared(collective.operation)) base_ = base_ / ranks / grain * grain;
  if (collective.operation != Operation::kAlltoallv) return;
  // Shares are a mixture of equal ones and of ones that grow with the distance, 0 to oneself.
  const double all = static_cast<double>(base_) * ranks;
  const double spread = collective.spread_percent / 100.0;
  for (int distance = 0; distance < ranks; ++distance) {
    const double weighted = ranks == 1 ? all : 2 * all * distance / ranks / (ranks - 1.0);
    const auto count = static_cast<std::int64_t>((1 - spread) * all / ranks + spread * weighted);
    by_distance_.push_back(count / grain * grain);
  }
}

std::int64_t Layout::Input(int rank) const {
  switch (collective_.operation) {
    case Operation::kAllReduce:
    case Operation::kReduce:
    case Operation::kSendRecv:
    case Operation::kAllGather:
    case Operation::kGather:
      return base_;
    case Operation::kReduceScatter:
    case Operation::kAlltoall:
      return base_ * ranks_;
    case Operation::kBroadcast:
      return rank == collective_.root ? base_ : 0;
    case Operation::kScatter:
      return rank == collective_.root ? base_ * ranks_ : 0;
    case Operation::kAlltoallv:
      return std::accumulate(by_distance_.begin(), by_distance_.end(), std::int64_t{0});
    case Operation::kBarrier:
      return 0;
  }
  return 0;
}

std::int64_t Layout::Output(int rank) const {
  switch (collective_.operation) {
    case Operation::kAllReduce:
    case Operation::kBroadcast:
    case Operation::kSendRecv:
    case Operation::kReduceScatter:
    case Operation::kScatter:
      return base_;
    case Operation::kReduce:
      return rank == collective_.root ? base_ : 0;
    case Operation::kGather:
      return rank == collective_.root ? base_ * ranks_ : 0;
    case Operation::kAllGather:
    case Operation::kAlltoall:
      return base_ * ranks_;
    case Operation::kAlltoallv:
      return Input(rank);  // the distances to a rank are those from it
    case Operation::kBarrier:
      return 0;
  }
  return 0;
}

std::vector<Layout::Piece> Layout::Pieces(int rank) const {
  std::vector<Piece> pieces;
  if (Output(rank) == 0) return pieces;
  switch (collective_.operation) {
    case Operation::kAllReduce:
    case Operation::kReduce:
      return {{.to = 0, .count = base_, .rank = kEveryRank, .from = 0}};
    case Operation::kReduceScatter:
      return {{.to = 0, .count = base_, .rank = kEveryRank, .from = rank * base_}};
    case Operation::kBroadcast:
      return {{.to = 0, .count = base_, .rank = collective_.root, .from = 0}};
    case Operation::kScatter:
      return {{.to = 0, .count = base_, .rank = collective_.root, .from = rank * base_}};
    case Operation::kSendRecv:
      return {{.to = 0, .count = base_, .rank = (rank + ranks_ - 1) % ranks_, .from = 0}};
    case Operation::kAllGather:
    case Operation::kGather:
      for (int from = 0; from < ranks_; ++from) {
        pieces.push_back({.to = from * base_, .count = base_, .rank = from, .from = 0});
      }
      return pieces;
    case Operation::kAlltoall:
    case Operation::kAlltoallv:
      for (int from = 0; from < ranks_; ++from) {
        pieces.push_back({.to = ReceivePlace(from, rank),
                          .count = Count(from, rank),
                          .rank = from,
                          .from = SendPlace(from, rank)});
      }
      return pieces;
    case Operation::kBarrier:
      return pieces;
  }
  return pieces;
}

std::int64_t Layout::InputPlace(int rank) const {
  const bool shares = collective_.operation == Operation::kAllGather ||
                      (collective_.operation == Operation::kGather && rank == collective_.root);
  return shares ? rank * base_ : 0;
}

std::int64_t Layout::OutputPlace(int rank) const {
  const bool shares = collective_.operation == Operation::kReduceScatter ||
                      (collective_.operation == Operation::kScatter && rank == collective_.root);
  return shares ? rank * base_ : 0;
}

std::int64_t Layout::Count(int from, int to) const {
  if (by_distance_.empty()) return base_;
  return by_distance_[static_cast<std::size_t>((to - from + ranks_) % ranks_)];
}

std::int64_t Layout::SendPlace(int from, int to) const {
  std::int64_t place = 0;
  for (int before = 0; before < to; ++before) place += Count(from, before);
  return place;
}

std::int64_t Layout::ReceivePlace(int from, int to) const {
  std::int64_t place = 0;
  for (int before = 0; before < from; ++before) place += Count(before, to);
  return place;
}

std::int64_t Layout::SizeBytes() const {
  if (collective_.operation == Operation::kBarrier) return 0;
  std::int64_t elements = IsShared(collective_.operation) ? base_ * ranks_ : base_;
  if (!by_distance_.empty()) elements = Input(0);
  return elements * element_bytes_;
}

}  // namespace assay
