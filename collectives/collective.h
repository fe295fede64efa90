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

// What is known of an operation whatever its size.
struct OperationFacts {
  Operation operation = {};
  std::string_view name = {};     // of the probe: "all_reduce"
  std::string_view summary = {};  // one line for `assay list`
  bool reduces = false;           // takes a redop
  bool rooted = false;            // takes a root
  bool in_place = false;          // can be done in place
};

const std::vector<OperationFacts>& Operations();
const OperationFacts& FactsOf(Operation operation);
// Nothing for an unknown name.
std::optional<Operation> OperationFrom(std::string_view name);

struct Collective {
  Operation operation = Operation::kAllReduce;
  std::string dtype = "f32";
  std::string redop = "sum";  // sum, prod, min, max, avg
  std::int64_t bytes = 0;     // what nccl-tests calls the size: Layout::SizeBytes rounds it down
  bool in_place = false;
  int root = 0;
  // latency: each operation alone, after a barrier; throughput: many back to back; blocking: the
  // same, but that the host waits for each; graph: as one graph.
  std::string mode = "latency";
  // rewritten: inputs are rewritten and outputs read between operations, outside the timed span;
  // rotated: operations take turns on buffers of at least three times the last-level cache.
  std::string cache = "rewritten";
  // plain: memory of the rank's own; shared: memory that all ranks of the node can address
  // (NCCL's symmetric windows); registered: made known to the library before.
  std::string buffers = "plain";
  std::string algorithm = "auto";  // "ring", … : one of the library's own
  // alltoallv: 0 sends every rank the same, 100 the more the further it is away.
  int spread_percent = 100;
  int aggregate = 1;  // so many operations are given to the library as one group
  int unalign = 0;    // buffers begin so many elements after where they would
  int channels = 0;   // of a GPU's, at most so many for one operation; 0: as the library likes

  // What moves no time. Checked are, outside the timed span, none of the operations, the last one
  // of a batch, that and a random one now and then, or all of them.
  std::string verify = "random";
  int skip = 0;              // histograms leave out the first operations of each batch
  int graph_operations = 0;  // in one graph; 0: one for each of the buffers in turn

  bool operator==(const Collective&) const = default;
};

// One line without line ends, and back. FromText throws Error for what ToText didn't write.
std::string ToText(const Collective& collective);
Collective CollectiveFrom(const std::string& text);

// The bytes of one element. Throws Error for what is no dtype of collectives (results/dtype.h).
std::int64_t ElementBytes(std::string_view dtype);

// The least multiple of `to` that is not less.
constexpr std::size_t RoundedUp(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

// The parts of a collective on `ranks` ranks. Counts and places are in elements.
class Layout {
 public:
  // Sizes are rounded down to whole elements and, where they are shared out, to 16 bytes for each
  // rank, as nccl-tests does (2.19.6, GetCollByteCount of each operation): so equal arguments give
  // equal work. Throws Error where ranks < 1 or root isn't one of them.
  Layout(const Collective& collective, int ranks);

  // Where `count` elements of a rank's output come from.
  struct Piece {
    std::int64_t to = 0;
    std::int64_t count = 0;
    int rank = 0;           // whose input; kEveryRank: the reduction over all
    std::int64_t from = 0;  // place in that input
    bool operator==(const Piece&) const = default;
  };
  static constexpr int kEveryRank = -1;

  int Ranks() const { return ranks_; }
  // Elements that each rank contributes or is given, where they are shared out; all, elsewhere.
  std::int64_t Base() const { return base_; }
  // Elements of the input and of the output of one rank; 0 where it has none.
  std::int64_t Input(int rank) const;
  std::int64_t Output(int rank) const;
  // The whole output, in order.
  std::vector<Piece> Pieces(int rank) const;
  // In place, input and output are one buffer of max(Input, Output) elements, in which these begin
  // at these places: one of them is 0.
  std::int64_t InputPlace(int rank) const;
  std::int64_t OutputPlace(int rank) const;
  // alltoallv and alltoall: elements from one rank to another, and where they lie there.
  std::int64_t Count(int from, int to) const;
  std::int64_t SendPlace(int from, int to) const;
  std::int64_t ReceivePlace(int from, int to) const;
  // S of algbw = S / t, bytes: nccl-tests' size column.
  std::int64_t SizeBytes() const;

 private:
  Collective collective_;
  int ranks_;
  std::int64_t element_bytes_;
  std::int64_t base_ = 0;
  std::vector<std::int64_t> by_distance_ = {};  // alltoallv: elements to the rank d further on
};

}  // namespace assay
