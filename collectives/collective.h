// A Collective is what several ranks are asked to do together, as plain data; and a Layout is what
// that means for each of them: how many elements go in, how many come out, and where each of those
// comes from. Both are pure, so that every library is held to the same definition.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

// The operations, named and defined as in MPI and nccl-tests.
enum class Operation {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kBroadcast,
  kReduce,
  kAlltoall,
  kAlltoallv,
  kGather,
  kScatter,
  kSendRecv,
  kBarrier,
};

// The facts of an operation, whatever its size.
struct OperationFacts {
  Operation operation = {};
  std::string_view name = {};     // the probe's name: "all_reduce"
  std::string_view summary = {};  // one line for `assay list`
  bool reduces = false;           // whether it takes a redop
  bool rooted = false;            // whether it takes a root
  bool in_place = false;          // whether it can be done in place
};

// The facts of all operations, in the order of the enumeration.
const std::vector<OperationFacts>& Operations();
const OperationFacts& FactsOf(Operation operation);
// The operation with that name; nothing for an unknown name.
std::optional<Operation> OperationFrom(std::string_view name);

// One collective. An operation ignores a redop or a root that it doesn't take, but the root must be
// the number of a rank.
struct Collective {
  Operation operation = Operation::kAllReduce;
  std::string dtype = "f32";  // a dtype of collectives (results/base/dtype.h)
  std::string redop = "sum";  // sum, prod, min, max, avg
  std::int64_t bytes = 0;     // the size as nccl-tests counts it; Layout::SizeBytes rounds it down
  bool in_place = false;
  int root = 0;
  // The way operations follow each other. latency: each alone, after a barrier; throughput: many
  // back to back; blocking: back to back, but the host waits for each; graph: many as one graph.
  std::string mode = "latency";
  // The state of caches. rewritten: inputs are rewritten and outputs read between operations,
  // outside the timed span; rotated: operations take turns on many buffers, which
  // TimedOptions::rotate_bytes counts (collectives/timed_collective.h).
  std::string cache = "rewritten";
  // The kind of buffers. plain: memory of the rank's own; shared: memory that all ranks of the node
  // can address (NCCL's symmetric windows); registered: memory that the library was told of before.
  std::string buffers = "plain";
  std::string algorithm = "auto";  // "auto", or one of the library's own: "ring", …
  // The unevenness of alltoallv: at 0 every rank is sent the same, at 100 the more the further it
  // is away.
  int spread_percent = 100;
  int aggregate = 1;  // the number of operations that are given to the library as one group
  int unalign = 0;    // the number of elements by which buffers begin later than they would
  int channels = 0;   // the most channels that NCCL may use for one operation; 0: as it likes

  // The fields below move no time. `verify` says which operations are checked, outside the timed
  // span: none of them, the last one of a batch, that and a random one now and then, or all.
  std::string verify = "random";
  int skip = 0;              // how many first operations of each batch histograms leave out
  int graph_operations = 0;  // how many operations a graph holds; 0: one for each of the buffers

  bool operator==(const Collective&) const = default;
};

// The bytes of one element. Throws Error for what is no dtype of collectives
// (results/base/dtype.h).
std::int64_t ElementBytes(std::string_view dtype);

// Rounds up to a multiple of `to`.
constexpr std::size_t RoundedUp(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

// The layout of a collective on `ranks` ranks: which elements each puts in and gets out. Counts and
// places are in elements.
class Layout {
 public:
  // Sizes are rounded down to whole elements and, where they are shared out, to 16 bytes for each
  // rank, as nccl-tests does (2.19.6, GetCollByteCount of each operation), so that equal arguments
  // give equal work. Throws Error for an unknown dtype, ranks < 1, bytes < 0, or a root that isn't
  // one of the ranks.
  Layout(const Collective& collective, int ranks);

  // A piece of one rank's output, and where it comes from.
  struct Piece {
    std::int64_t to = 0;     // its place in the output
    std::int64_t count = 0;  // its elements
    int rank = 0;            // the rank whose input it is; kEveryRank: the reduction over all
    std::int64_t from = 0;   // its place in that input
    bool operator==(const Piece&) const = default;
  };
  static constexpr int kEveryRank = -1;  // in the place of a rank: the reduction over all

  int Ranks() const { return ranks_; }
  // The elements that each rank contributes or is given, where they are shared out; all elements
  // elsewhere.
  std::int64_t Base() const { return base_; }
  // The number of elements of one rank's input and output; 0 where it has none.
  std::int64_t Input(int rank) const;
  std::int64_t Output(int rank) const;
  // The pieces that make up a rank's whole output, in order.
  std::vector<Piece> Pieces(int rank) const;
  // The places of input and output in place, where they share one buffer of max(Input, Output)
  // elements. One of the two is 0.
  std::int64_t InputPlace(int rank) const;
  std::int64_t OutputPlace(int rank) const;
  // The number of elements that one rank sends another in alltoall and alltoallv, and their places
  // in the sender's input and the receiver's output.
  std::int64_t Count(int from, int to) const;
  std::int64_t SendPlace(int from, int to) const;
  std::int64_t ReceivePlace(int from, int to) const;
  // The size S in bytes of the algorithm bandwidth algbw = S / t, which is nccl-tests' size column;
  // 0 for a barrier.
  std::int64_t SizeBytes() const;

 private:
  Collective collective_;
  int ranks_;
  std::int64_t element_bytes_;
  std::int64_t base_ = 0;
  std::vector<std::int64_t> by_distance_ = {};  // alltoallv: elements to the rank d further on
};

}  // namespace assay
