#include "collectives/algorithms.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <string_view>

#include "collectives/asking.h"
#include "collectives/reduction.h"
#include "results/base/error.h"

namespace assay {
namespace {

using Place = Schedule::Place;
using Message = Schedule::Message;

constexpr std::size_t kLine = 64;
// The size up to which a message costs its latency and not its bytes, so that the fewest rounds
// win.
constexpr std::int64_t kLatencyBoundBytes = 16 << 10;
// The segments of a rank's share from which on a ring's pipeline is full. A ring has ranks - 1
// steps each way where halving and doubling have log2(ranks); in a full pipeline the steps follow
// each other without a gap and cost nothing.
constexpr std::int64_t kSegmentsThatHideSteps = 8;

// Everything that an algorithm needs to know of one rank, and the schedule that it writes.
struct Plan {
  Collective collective;
  Layout layout;
  int rank;
  int ranks;
  std::size_t element;
  std::size_t segment;
  std::size_t window;  // the segments that are under way at once, each way
  Schedule schedule = {};

  Plan(const Collective& of, int own_rank, int all_ranks, std::size_t segment_bytes,
       std::size_t segments_in_flight)
      : collective(of),
        layout(of, all_ranks),
        rank(own_rank),
        ranks(all_ranks),
        element(static_cast<std::size_t>(ElementBytes(of.dtype))),
        segment(std::max(kLine, segment_bytes / kLine * kLine)),
        window(segments_in_flight) {}

  std::size_t Bytes(std::int64_t elements) const {
    return static_cast<std::size_t>(elements) * element;
  }
  std::size_t Base() const { return Bytes(layout.Base()); }
  int After(int steps) const { return ((rank + steps) % ranks + ranks) % ranks; }
  std::size_t Segments(std::size_t bytes) const { return (bytes + segment - 1) / segment; }
  // The bytes of one segment of an array of that many bytes; 0 past the end.
  std::size_t SegmentOf(std::size_t bytes, std::size_t index) const {
    const std::size_t begin = std::min(bytes, index * segment);
    return std::min(segment, bytes - begin);
  }
};

// An array cut into equal blocks, except for the last ones, which may be short or empty.
struct Blocks {
  std::size_t bytes;  // the size of the array
  std::size_t block;
  Blocks(std::size_t array_bytes, int count)
      : bytes(array_bytes),
        block(RoundedUp(array_bytes, static_cast<std::size_t>(count) * kLine) /
              static_cast<std::size_t>(count)) {}
  std::size_t Begin(int index) const {
    return std::min(bytes, static_cast<std::size_t>(index) * block);
  }
  std::size_t Size(int index) const { return Begin(index + 1) - Begin(index); }
};

// One message of a train: its peer, its place and its size.
struct Car {
  int peer = 0;
  Place place = {};
  std::size_t bytes = 0;
};

// A train is a pipeline: messages come in while others go out, a window of each at a time. It can't
// deadlock, since the rank that is furthest behind has its receives posted, and what it waits for
// has been sent.
struct Train {
  std::size_t receives = 0;
  std::size_t sends = 0;
  std::function<Car(std::size_t)> incoming = {};
  std::function<Car(std::size_t)> outgoing = {};
  // Handles the message with that number after it has come in.
  std::function<void(std::size_t)> arrived = {};
  // The number of messages that must have come in before the message with that number can go out.
  std::function<std::size_t(std::size_t)> needs = {};
  // The number of messages that must have gone out before the one with that number can come in,
  // because they lie where it will lie.
  std::function<std::size_t(std::size_t)> clears = {};
  std::size_t sends_a_receive = 1;
  std::size_t receives_a_segment = 1;
};

// Writes the steps of a train: starts receives as far ahead as the window allows, waits for
// messages in order, and starts sends as soon as what they need has come in.
class TrainWriter {
 public:
  TrainWriter(Plan& plan, const Train& train)
      : schedule_(plan.schedule), train_(train), window_(plan.window) {}

  void Write() {
    const std::size_t window = window_ * train_.receives_a_segment;
    for (std::size_t i = 0; i < train_.receives; ++i) {
      while (received_.size() < std::min(train_.receives, i + window)) {
        const std::size_t clears = train_.clears ? train_.clears(received_.size()) : 0;
        if (clears > sent_.size()) break;
        WaitForSends(clears);
        const Car car = train_.incoming(received_.size());
        received_.push_back(schedule_.Receive(car.peer, car.place, car.bytes));
      }
      Send(i, (i + window_) * train_.sends_a_receive);
      schedule_.Wait(received_[i]);
      if (train_.arrived) train_.arrived(i);
    }
    Send(train_.receives, train_.sends);
    WaitForSends(train_.sends);
  }

  void WaitForSends(std::size_t count) {
    for (; over_ < std::min(count, sent_.size()); ++over_) schedule_.Wait(sent_[over_]);
  }

 private:
  void Send(std::size_t arrived, std::size_t limit) {
    const std::size_t window = window_ * train_.sends_a_receive;
    while (sent_.size() < std::min(train_.sends, limit)) {
      const std::size_t next = sent_.size();
      if (train_.needs && train_.needs(next) > arrived) return;
      if (next >= window) WaitForSends(next - window + 1);
      const Car car = train_.outgoing(next);
      sent_.push_back(schedule_.Send(car.peer, car.place, car.bytes));
    }
  }

  Schedule& schedule_;
  const Train& train_;
  std::size_t window_;
  std::vector<Message> received_ = {};
  std::vector<Message> sent_ = {};
  std::size_t over_ = 0;  // the sends that were waited for
};

void Write(Plan& plan, const Train& train) { TrainWriter(plan, train).Write(); }

// --- Rings. In step s a rank gives its right neighbour the block that it took from its left one in
// step s - 1. An all-reduce moves 2 (n - 1) / n S bytes each way, the least possible.

// The ring all-reduce: n - 1 steps that reduce, then n - 1 that pass the sums on. The blocks are
// pipelined in segments, so that a rank reduces one segment while others are on the way.
void RingAllReduce(Plan& plan) {
  const Blocks blocks(plan.Base(), plan.ranks);
  const std::size_t segments = std::max<std::size_t>(1, plan.Segments(blocks.block));
  const auto reduce_steps = static_cast<std::size_t>(plan.ranks - 1);
  const Place slots = plan.schedule.Scratch(plan.window * plan.segment);
  // The part of a block that goes out in a step; what comes in goes out in the next step.
  const auto part = [&](std::size_t step, std::size_t index, Place::Buffer buffer) {
    const int block = plan.After(-static_cast<int>(step));
    return Car{.place = Place{.buffer = buffer, .at = blocks.Begin(block) + index * plan.segment},
               .bytes = plan.SegmentOf(blocks.Size(block), index)};
  };
  Train train;
  train.receives = train.sends = 2 * reduce_steps * segments;
  train.outgoing = [&](std::size_t i) {
    Car car = part(i / segments, i % segments,
                   i < segments ? Place::Buffer::kInput : Place::Buffer::kOutput);
    car.peer = plan.After(1);
    return car;
  };
  train.incoming = [&](std::size_t i) {
    Car car = part(i / segments + 1, i % segments, Place::Buffer::kOutput);
    car.peer = plan.After(-1);
    if (i < reduce_steps * segments) car.place = slots + i % plan.window * plan.segment;
    return car;
  };
  train.arrived = [&](std::size_t i) {
    const std::size_t step = i / segments;
    if (step >= reduce_steps) return;
    const Car own = part(step + 1, i % segments, Place::Buffer::kInput);
    plan.schedule.Reduce(own.place, slots + i % plan.window * plan.segment,
                         Schedule::Output(own.place.at), own.bytes, step + 1 == reduce_steps);
  };
  train.needs = [&](std::size_t i) { return i < segments ? 0 : i - segments + 1; };
  // A message that comes in replaces what went out that many steps ago.
  train.clears = [&](std::size_t i) {
    return i < reduce_steps * segments ? 0 : i - reduce_steps * segments + 1;
  };
  Write(plan, train);
}

// The ring reduce-scatter, which is the first half of the ring all-reduce. A rank's own block comes
// last, already reduced over all others.
void RingReduceScatter(Plan& plan) {
  const std::size_t block_bytes = plan.Base();
  const std::size_t segments = plan.Segments(block_bytes);
  const auto steps = static_cast<std::size_t>(plan.ranks - 1);
  const Place slots = plan.schedule.Scratch(plan.window * plan.segment);
  // The sums that one step makes go out in the next, which makes its own meanwhile; so there are
  // two sets.
  const std::size_t sum_bytes = segments * plan.segment;
  const Place sums = plan.schedule.Scratch(steps > 1 ? 2 * sum_bytes : 0);
  const auto input = [&](std::size_t step, std::size_t index) {
    const auto block = static_cast<std::size_t>(plan.After(-1 - static_cast<int>(step)));
    return Schedule::Input(block * block_bytes + index * plan.segment);
  };
  const auto sum = [&](std::size_t step, std::size_t index) {
    if (step + 1 == steps) return Schedule::Output(index * plan.segment);
    return sums + step % 2 * sum_bytes + index * plan.segment;
  };
  Train train;
  train.receives = train.sends = steps * segments;
  TrainWriter writer(plan, train);
  train.outgoing = [&](std::size_t i) {
    const std::size_t step = i / segments;
    const std::size_t index = i % segments;
    return Car{.peer = plan.After(1),
               .place = step == 0 ? input(0, index) : sum(step - 1, index),
               .bytes = plan.SegmentOf(block_bytes, index)};
  };
  train.incoming = [&](std::size_t i) {
    return Car{.peer = plan.After(-1),
               .place = slots + i % plan.window * plan.segment,
               .bytes = plan.SegmentOf(block_bytes, i % segments)};
  };
  train.arrived = [&](std::size_t i) {
    const std::size_t step = i / segments;
    const std::size_t index = i % segments;
    // The place held the sum of two steps ago, which went out a step ago.
    if (step >= 2) writer.WaitForSends(i - segments + 1);
    plan.schedule.Reduce(input(step + 1, index), slots + i % plan.window * plan.segment,
                         sum(step, index), plan.SegmentOf(block_bytes, index), step + 1 == steps);
  };
  train.needs = [&](std::size_t i) { return i < segments ? 0 : i - segments + 1; };
  writer.Write();
}

// The ring all-gather, which is the second half of the ring all-reduce.
void RingAllGather(Plan& plan) {
  const std::size_t block_bytes = plan.Base();
  const std::size_t segments = plan.Segments(block_bytes);
  const auto place = [&](std::size_t step, std::size_t index) {
    const auto block = static_cast<std::size_t>(plan.After(-static_cast<int>(step)));
    return Schedule::Output(block * block_bytes + index * plan.segment);
  };
  plan.schedule.Copy(Schedule::Input(0), place(0, 0), block_bytes);
  Train train;
  train.receives = train.sends = static_cast<std::size_t>(plan.ranks - 1) * segments;
  train.outgoing = [&](std::size_t i) {
    return Car{.peer = plan.After(1),
               .place = place(i / segments, i % segments),
               .bytes = plan.SegmentOf(block_bytes, i % segments)};
  };
  train.incoming = [&](std::size_t i) {
    return Car{.peer = plan.After(-1),
               .place = place(i / segments + 1, i % segments),
               .bytes = plan.SegmentOf(block_bytes, i % segments)};
  };
  train.needs = [&](std::size_t i) { return i < segments ? 0 : i - segments + 1; };
  Write(plan, train);
}

// --- Recursive forms take log2(n) rounds, in each of which a rank exchanges with the one whose
// number differs in one bit.

// Sends one array to a rank and receives another from it; `arrived` is called with the begin, the
// bytes and the place of each segment.
void Swap(Plan& plan, int peer, Place out, std::size_t out_bytes, std::optional<Place> in,
          std::size_t in_bytes, Place slots,
          const std::function<void(std::size_t, std::size_t, Place, TrainWriter&)>& arrived) {
  Train train;
  TrainWriter writer(plan, train);
  const auto place = [&](std::size_t i) {
    return in ? *in + i * plan.segment : slots + i % plan.window * plan.segment;
  };
  train.receives = plan.Segments(in_bytes);
  train.sends = plan.Segments(out_bytes);
  train.outgoing = [&](std::size_t i) {
    return Car{peer, out + i * plan.segment, plan.SegmentOf(out_bytes, i)};
  };
  train.incoming = [&](std::size_t i) { return Car{peer, place(i), plan.SegmentOf(in_bytes, i)}; };
  if (arrived) {
    train.arrived = [&](std::size_t i) {
      arrived(i * plan.segment, plan.SegmentOf(in_bytes, i), place(i), writer);
    };
  }
  writer.Write();
}

// Folds the ranks to a power of two. Ranks beyond it hand their input to a neighbour before, and
// get the outcome afterwards; they are the even ones among the first ranks.
class Fold {
 public:
  explicit Fold(const Plan& plan)
      : size_(static_cast<int>(std::bit_floor(static_cast<unsigned>(plan.ranks)))),
        extra_(plan.ranks - size_),
        rank_(plan.rank) {}
  int Size() const { return size_; }
  bool Aside() const { return rank_ < 2 * extra_ && rank_ % 2 == 0; }
  bool Helps() const { return rank_ < 2 * extra_ && rank_ % 2 == 1; }
  // The number of a rank among those that take part, which has no gaps, and the way back.
  int Number() const { return rank_ < 2 * extra_ ? rank_ / 2 : rank_ - extra_; }
  int RankOf(int number) const { return number < extra_ ? 2 * number + 1 : number + extra_; }

 private:
  int size_;
  int extra_;
  int rank_;
};

// Calls body(own) on the ranks that take part, where `own` is the place of what they have so far.
void Folded(Plan& plan, const Fold& fold, Place slots, const std::function<void(Place)>& body) {
  const std::size_t bytes = plan.Base();
  if (fold.Aside()) {
    const int helper = plan.rank + 1;
    Swap(plan, helper, Schedule::Input(0), bytes, {}, 0, slots, {});
    Swap(plan, helper, {}, 0, Schedule::Output(0), bytes, slots, {});
    return;
  }
  if (!fold.Helps()) return body(Schedule::Input(0));
  const int helped = plan.rank - 1;
  Swap(plan, helped, {}, 0, {}, bytes, slots,
       [&](std::size_t at, std::size_t size, Place from, TrainWriter&) {
         plan.schedule.Reduce(Schedule::Input(at), from, Schedule::Output(at), size, false);
       });
  body(Schedule::Output(0));
  Swap(plan, helped, Schedule::Output(0), bytes, {}, 0, slots, {});
}

// Recursive doubling sends the whole array in every round, which takes the fewest messages and
// suits small arrays.
void RecursiveDoublingAllReduce(Plan& plan) {
  const Fold fold(plan);
  const Place slots = plan.schedule.Scratch(plan.window * plan.segment);
  Folded(plan, fold, slots, [&](Place own) {
    for (int bit = 1; bit < fold.Size(); bit *= 2) {
      Swap(plan, fold.RankOf(fold.Number() ^ bit), own, plan.Base(), {}, plan.Base(), slots,
           [&](std::size_t at, std::size_t size, Place from, TrainWriter& writer) {
             // The segment is replaced in the place from which it was sent.
             writer.WaitForSends(at / plan.segment + 1);
             plan.schedule.Reduce(own + at, from, Schedule::Output(at), size,
                                  bit * 2 == fold.Size());
           });
      own = Schedule::Output(0);
    }
  });
}

// Rabenseifner's algorithm halves the array with every round until each rank has the sum of its own
// block, and then doubles it again. It moves a ring's bytes in 2 log2(n) rounds.
void RabenseifnerAllReduce(Plan& plan) {
  const Fold fold(plan);
  const Blocks blocks(plan.Base(), fold.Size());
  const Place slots = plan.schedule.Scratch(plan.window * plan.segment);
  Folded(plan, fold, slots, [&](Place own) {
    const auto bytes = [&](int begin, int end) { return blocks.Begin(end) - blocks.Begin(begin); };
    int begin = 0;  // the first of the blocks that this rank still works on
    for (int half = fold.Size() / 2; half >= 1; half /= 2) {
      const bool upper = (fold.Number() & half) != 0;
      const int kept = upper ? begin + half : begin;
      const int given = upper ? begin : begin + half;
      const std::size_t at_kept = blocks.Begin(kept);
      Swap(plan, fold.RankOf(fold.Number() ^ half), own + blocks.Begin(given),
           bytes(given, given + half), {}, bytes(kept, kept + half), slots,
           [&](std::size_t at, std::size_t size, Place from, TrainWriter&) {
             plan.schedule.Reduce(own + at_kept + at, from, Schedule::Output(at_kept + at), size,
                                  half == 1);
           });
      own = Schedule::Output(0);
      begin = kept;
    }
    for (int half = 1; half < fold.Size(); half *= 2) {
      const bool upper = (fold.Number() & half) != 0;
      const int theirs = upper ? begin - half : begin + half;
      Swap(plan, fold.RankOf(fold.Number() ^ half), Schedule::Output(blocks.Begin(begin)),
           bytes(begin, begin + half), Schedule::Output(blocks.Begin(theirs)),
           bytes(theirs, theirs + half), slots, {});
      begin = std::min(begin, theirs);
    }
  });
}

// Recursive halving: in each round a rank keeps the half of the blocks that holds its own, and
// gives the other half away. It needs a power of two of ranks.
void RecursiveHalvingReduceScatter(Plan& plan) {
  const std::size_t block_bytes = plan.Base();
  const auto bytes = [&](int blocks) { return static_cast<std::size_t>(blocks) * block_bytes; };
  const Place slots = plan.schedule.Scratch(plan.window * plan.segment);
  // The place of the partial sums of half the blocks; those of the last round go to the output.
  const Place sums = plan.schedule.Scratch(plan.ranks > 2 ? bytes(plan.ranks / 2) : 0);
  Place own = Schedule::Input(0);
  for (int half = plan.ranks / 2; half >= 1; half /= 2) {
    const bool upper = (plan.rank & half) != 0;
    const Place kept = own + (upper ? bytes(half) : 0);
    const Place given = own + (upper ? 0 : bytes(half));
    const Place to = half == 1 ? Schedule::Output(0) : (half == plan.ranks / 2 ? sums : kept);
    Swap(plan, plan.rank ^ half, given, bytes(half), {}, bytes(half), slots,
         [&](std::size_t at, std::size_t size, Place from, TrainWriter&) {
           plan.schedule.Reduce(kept + at, from, to + at, size, half == 1);
         });
    own = to;
  }
}

// Recursive doubling: in each round a rank gives away all blocks that it has, and so has twice as
// many afterwards. It needs a power of two of ranks.
void RecursiveDoublingAllGather(Plan& plan) {
  const std::size_t block_bytes = plan.Base();
  const auto bytes = [&](int blocks) { return static_cast<std::size_t>(blocks) * block_bytes; };
  plan.schedule.Copy(Schedule::Input(0), Schedule::Output(bytes(plan.rank)), block_bytes);
  for (int half = 1; half < plan.ranks; half *= 2) {
    const int begin = plan.rank / half * half;
    const int theirs = begin ^ half;
    Swap(plan, plan.rank ^ half, Schedule::Output(bytes(begin)), bytes(half),
         Schedule::Output(bytes(theirs)), bytes(half), {}, {});
  }
}

// --- Trees, of which a chain is one. Segments go down or up in a pipeline.

struct Tree {
  std::optional<int> parent = {};
  std::vector<int> children = {};
};

// The binomial tree, whose depth is log2(ranks).
Tree BinomialTree(const Plan& plan) {
  // Numbers count from the root. The number of a rank's parent is its own without its lowest bit.
  const int root = plan.collective.root;
  const int number = plan.After(-root);
  const auto rank_of = [&](int other) { return (other + root) % plan.ranks; };
  Tree tree;
  int bit = 1;
  for (; bit < plan.ranks && (number & bit) == 0; bit *= 2) {
    if (number + bit < plan.ranks) tree.children.push_back(rank_of(number + bit));
  }
  if (number != 0) tree.parent = rank_of(number - bit);
  // The child with the largest subtree comes first.
  std::reverse(tree.children.begin(), tree.children.end());
  return tree;
}

Tree Chain(const Plan& plan) {
  Tree tree;
  if (plan.rank != plan.collective.root) tree.parent = plan.After(-1);
  if (plan.After(1) != plan.collective.root) tree.children = {plan.After(1)};
  return tree;
}

// Passes segments down a tree; a rank forwards each segment as soon as it has come in.
void TreeBroadcast(Plan& plan, const Tree& tree) {
  const std::size_t bytes = plan.Base();
  const std::size_t segments = plan.Segments(bytes);
  const std::size_t children = tree.children.size();
  Train train;
  train.receives = tree.parent ? segments : 0;
  train.sends = children * segments;
  train.sends_a_receive = std::max<std::size_t>(1, children);
  const auto car = [&](int peer, Place all, std::size_t i) {
    return Car{peer, all + i * plan.segment, plan.SegmentOf(bytes, i)};
  };
  train.incoming = [&](std::size_t i) { return car(*tree.parent, Schedule::Output(0), i); };
  train.outgoing = [&](std::size_t i) {
    const Place all = tree.parent ? Schedule::Output(0) : Schedule::Input(0);
    return car(tree.children[i % children], all, i / children);
  };
  if (tree.parent) train.needs = [&](std::size_t i) { return i / children + 1; };
  Write(plan, train);
  if (!tree.parent) plan.schedule.Copy(Schedule::Input(0), Schedule::Output(0), bytes);
}

// Passes segments up a tree; a rank adds its children's segments to its own before it forwards the
// sum.
void TreeReduce(Plan& plan, const Tree& tree) {
  const std::size_t bytes = plan.Base();
  const std::size_t segments = plan.Segments(bytes);
  const std::size_t children = tree.children.size();
  const Place slots = plan.schedule.Scratch(plan.window * children * plan.segment);
  const Place sums =
      plan.schedule.Scratch(tree.parent && children > 0 ? plan.window * plan.segment : 0);
  const auto slot = [&](std::size_t i) {
    return slots + i % (plan.window * children) * plan.segment;
  };
  const auto sum = [&](std::size_t segment) {
    if (!tree.parent) return Schedule::Output(segment * plan.segment);
    if (children == 0) return Schedule::Input(segment * plan.segment);
    return sums + segment % plan.window * plan.segment;
  };
  Train train;
  TrainWriter writer(plan, train);
  train.receives = children * segments;
  train.receives_a_segment = std::max<std::size_t>(1, children);
  train.sends = tree.parent ? segments : 0;
  train.incoming = [&](std::size_t i) {
    return Car{tree.children[i % children], slot(i), plan.SegmentOf(bytes, i / children)};
  };
  train.outgoing = [&](std::size_t i) {
    return Car{*tree.parent, sum(i), plan.SegmentOf(bytes, i)};
  };
  train.needs = [&](std::size_t i) { return (i + 1) * children; };
  train.arrived = [&](std::size_t i) {
    const std::size_t segment = i / children;
    const bool first = i % children == 0;
    // The sum that lay in this place before must have gone out.
    if (first && tree.parent && segment >= plan.window)
      writer.WaitForSends(segment - plan.window + 1);
    plan.schedule.Reduce(first ? Schedule::Input(segment * plan.segment) : sum(segment), slot(i),
                         sum(segment), plan.SegmentOf(bytes, segment),
                         !tree.parent && (i + 1) % children == 0);
  };
  writer.Write();
}

void BinomialBroadcast(Plan& plan) { TreeBroadcast(plan, BinomialTree(plan)); }
void ChainBroadcast(Plan& plan) { TreeBroadcast(plan, Chain(plan)); }
void BinomialReduce(Plan& plan) { TreeReduce(plan, BinomialTree(plan)); }
void ChainReduce(Plan& plan) { TreeReduce(plan, Chain(plan)); }

// --- Direct exchanges, straight from each rank to each other.

// Moves all of these messages, cut into segments, with a window of them under way each way.
void Deliver(Plan& plan, const std::vector<Car>& incoming, const std::vector<Car>& outgoing) {
  const auto cut = [&](const std::vector<Car>& wholes) {
    std::vector<Car> cars;
    for (const Car& whole : wholes) {
      for (std::size_t i = 0; i < plan.Segments(whole.bytes); ++i) {
        cars.push_back(
            {whole.peer, whole.place + i * plan.segment, plan.SegmentOf(whole.bytes, i)});
      }
    }
    return cars;
  };
  const std::vector<Car> in = cut(incoming);
  const std::vector<Car> out = cut(outgoing);
  Write(plan, {.receives = in.size(),
               .sends = out.size(),
               .incoming = [&](std::size_t i) { return in[i]; },
               .outgoing = [&](std::size_t i) { return out[i]; }});
}

// Pairwise exchange. In step d a rank sends to the d-th rank after it and receives from the d-th
// before it, so that no two ranks send to the same one at once.
void PairwiseAlltoall(Plan& plan) {
  std::vector<Car> in;
  std::vector<Car> out;
  const auto place = [&](std::int64_t elements, auto make) { return make(plan.Bytes(elements)); };
  for (int distance = 1; distance < plan.ranks; ++distance) {
    const int from = plan.After(-distance);
    const int to = plan.After(distance);
    in.push_back({from, place(plan.layout.ReceivePlace(from, plan.rank), Schedule::Output),
                  plan.Bytes(plan.layout.Count(from, plan.rank))});
    out.push_back({to, place(plan.layout.SendPlace(plan.rank, to), Schedule::Input),
                   plan.Bytes(plan.layout.Count(plan.rank, to))});
  }
  Deliver(plan, in, out);
  plan.schedule.Copy(place(plan.layout.SendPlace(plan.rank, plan.rank), Schedule::Input),
                     place(plan.layout.ReceivePlace(plan.rank, plan.rank), Schedule::Output),
                     plan.Bytes(plan.layout.Count(plan.rank, plan.rank)));
}

void RingSendRecv(Plan& plan) {
  Deliver(plan, {{plan.After(-1), Schedule::Output(0), plan.Base()}},
          {{plan.After(1), Schedule::Input(0), plan.Base()}});
}

// The linear gather: every rank sends to the root, which receives beginning with the next rank.
void LinearGather(Plan& plan) {
  const int root = plan.collective.root;
  const std::size_t bytes = plan.Base();
  if (plan.rank != root) return Deliver(plan, {}, {{root, Schedule::Input(0), bytes}});
  std::vector<Car> in;
  for (int distance = 1; distance < plan.ranks; ++distance) {
    const int from = plan.After(distance);
    in.push_back({from, Schedule::Output(static_cast<std::size_t>(from) * bytes), bytes});
  }
  Deliver(plan, in, {});
  plan.schedule.Copy(Schedule::Input(0), Schedule::Output(static_cast<std::size_t>(root) * bytes),
                     bytes);
}

// The linear scatter: the root sends to every rank.
void LinearScatter(Plan& plan) {
  const int root = plan.collective.root;
  const std::size_t bytes = plan.Base();
  if (plan.rank != root) return Deliver(plan, {{root, Schedule::Output(0), bytes}}, {});
  std::vector<Car> out;
  for (int distance = 1; distance < plan.ranks; ++distance) {
    const int to = plan.After(distance);
    out.push_back({to, Schedule::Input(static_cast<std::size_t>(to) * bytes), bytes});
  }
  Deliver(plan, {}, out);
  plan.schedule.Copy(Schedule::Input(static_cast<std::size_t>(root) * bytes), Schedule::Output(0),
                     bytes);
}

// The dissemination barrier. After round k a rank has heard of 2^(k+1) ranks, directly or not.
void DisseminationBarrier(Plan& plan) {
  const Place out = plan.schedule.Scratch(1);
  for (int distance = 1; distance < plan.ranks; distance *= 2) {
    const Place in = plan.schedule.Scratch(1);
    const Message received = plan.schedule.Receive(plan.After(-distance), in, 1);
    plan.schedule.Wait(plan.schedule.Send(plan.After(distance), out, 1));
    plan.schedule.Wait(received);
  }
}

struct Algorithm {
  Operation operation;
  std::string_view name;
  void (*write)(Plan&);
  bool power_of_two = false;  // whether the number of ranks must be one
};

// All algorithms. The first one of an operation is the fallback of "auto".
constexpr Algorithm kAlgorithms[] = {
    {Operation::kAllReduce, "ring", RingAllReduce},
    {Operation::kAllReduce, "recursive_doubling", RecursiveDoublingAllReduce},
    {Operation::kAllReduce, "rabenseifner", RabenseifnerAllReduce},
    {Operation::kAllGather, "ring", RingAllGather},
    {Operation::kAllGather, "recursive_doubling", RecursiveDoublingAllGather, true},
    {Operation::kReduceScatter, "ring", RingReduceScatter},
    {Operation::kReduceScatter, "recursive_halving", RecursiveHalvingReduceScatter, true},
    {Operation::kBroadcast, "binomial", BinomialBroadcast},
    {Operation::kBroadcast, "chain", ChainBroadcast},
    {Operation::kReduce, "binomial", BinomialReduce},
    {Operation::kReduce, "chain", ChainReduce},
    {Operation::kAlltoall, "pairwise", PairwiseAlltoall},
    {Operation::kAlltoallv, "pairwise", PairwiseAlltoall},
    {Operation::kGather, "linear", LinearGather},
    {Operation::kScatter, "linear", LinearScatter},
    {Operation::kSendRecv, "ring", RingSendRecv},
    {Operation::kBarrier, "dissemination", DisseminationBarrier},
};

const Algorithm* Find(Operation operation, std::string_view name) {
  for (const Algorithm& algorithm : kAlgorithms) {
    if (algorithm.operation == operation && algorithm.name == name) return &algorithm;
  }
  return nullptr;
}

}  // namespace

std::vector<std::string> AlgorithmsOf(Operation operation) {
  std::vector<std::string> names;
  for (const Algorithm& algorithm : kAlgorithms) {
    if (algorithm.operation == operation) names.emplace_back(algorithm.name);
  }
  return names;
}

bool IsForTwoLevels(Operation operation) {
  switch (operation) {
    case Operation::kAllReduce:
    case Operation::kReduce:
    case Operation::kBroadcast:
    case Operation::kAllGather:
    case Operation::kReduceScatter:
      return true;
    case Operation::kAlltoall:
    case Operation::kAlltoallv:
    case Operation::kGather:
    case Operation::kScatter:
    case Operation::kSendRecv:
    case Operation::kBarrier:
      return false;
  }
  return false;
}

std::string AlgorithmFor(const Collective& collective, int ranks, std::size_t segment_bytes) {
  if (collective.algorithm != "auto") return collective.algorithm;
  const bool small = collective.bytes <= kLatencyBoundBytes;
  const bool power_of_two = std::has_single_bit(static_cast<unsigned>(ranks));
  const auto segments = collective.bytes / static_cast<std::int64_t>(segment_bytes);
  switch (collective.operation) {
    case Operation::kAllReduce:
      if (small) return "recursive_doubling";
      return segments >= kSegmentsThatHideSteps * ranks ? "ring" : "rabenseifner";
    case Operation::kAllGather:
      return small && power_of_two ? "recursive_doubling" : "ring";
    case Operation::kReduceScatter:
      return small && power_of_two ? "recursive_halving" : "ring";
    case Operation::kBroadcast:
    case Operation::kReduce:
      // A chain takes (ranks + segments) steps of a segment, a tree log2(ranks) times all segments.
      return segments >= ranks ? "chain" : "binomial";
    case Operation::kAlltoall:
    case Operation::kAlltoallv:
    case Operation::kGather:
    case Operation::kScatter:
    case Operation::kSendRecv:
    case Operation::kBarrier:
      break;
  }
  return AlgorithmsOf(collective.operation).front();
}

std::optional<Skipped> AlgorithmRefusal(const Collective& collective, int ranks) {
  const OperationFacts& facts = FactsOf(collective.operation);
  if (facts.reduces && !Reduction::Knows(collective.dtype, collective.redop)) {
    return Skipped{
        .reason = fmt::format("there is no {} of {} here", collective.redop, collective.dtype),
        .remedy = Asking("redop", "sum") + ", or " + Asking("dtype", "f32")};
  }
  const Algorithm* algorithm = Find(collective.operation, collective.algorithm);
  const std::string names =
      fmt::format("{}{}", fmt::join(AlgorithmsOf(collective.operation), ", "),
                  IsForTwoLevels(collective.operation) ? fmt::format(", {}", kHier) : "");
  if (collective.algorithm != "auto" && algorithm == nullptr) {
    return Skipped{
        .reason = fmt::format("{} has no algorithm {}", facts.name, collective.algorithm),
        .remedy = fmt::format("{}, or {}", Asking("algo", "auto"), names)};
  }
  if (algorithm != nullptr && algorithm->power_of_two &&
      !std::has_single_bit(static_cast<unsigned>(ranks))) {
    return Skipped{
        .reason = fmt::format("{} takes a power of two of ranks, not {}", algorithm->name, ranks),
        .remedy = fmt::format("{}, or {}", Asking("algo", "auto"), names)};
  }
  return std::nullopt;
}

Schedule ScheduleOf(const Collective& collective, int rank, int ranks, std::size_t segment_bytes,
                    std::size_t segments_in_flight) {
  Plan plan(collective, rank, ranks, segment_bytes, segments_in_flight);
  const std::string name = AlgorithmFor(collective, ranks, segment_bytes);
  const Algorithm* algorithm = Find(collective.operation, name);
  if (algorithm == nullptr) {
    throw Error(fmt::format("{} has no algorithm {}", FactsOf(collective.operation).name, name));
  }
  if (ranks > 1) {
    algorithm->write(plan);
  } else {
    plan.schedule.Copy(Schedule::Input(0), Schedule::Output(0), plan.Bytes(plan.layout.Output(0)));
  }
  plan.schedule.WaitForAll();
  return plan.schedule;
}

}  // namespace assay
