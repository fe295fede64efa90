#include "collectives/native.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "collectives/asking.h"
#include "collectives/reduction.h"
#include "collectives/shared_memory.h"
#include "collectives/used_transport.h"
#include "runner/core/memory.h"

namespace assay {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kPage = 4096;
// The largest input that is published whole, since copying it costs less than a second exchange of
// signals would.
constexpr std::size_t kPublishedBytes = 4 << 10;
// The bytes of a rank that one exchange of signals hands over: enough to hide its cost, and few
// enough for a turn of all segments to stay in the L2 cache.
constexpr std::size_t kSegmentBytes = 64 << 10;
// The segments that take turns in the pipeline: one is filled, one reduced, one copied out, and one
// makes up for a late rank.
constexpr std::uint64_t kTurns = 4;

// Whether all inputs and outputs together overflow half of the last-level cache. Stores through the
// cache would then push out what is read next, and be pushed out themselves before they are read.
bool Overflows(std::size_t bytes) {
  const std::int64_t reported = LastLevelCacheBytes();
  const std::int64_t cache = reported > 0 ? reported : std::int64_t{32} << 20;
  return static_cast<std::int64_t>(bytes) > cache / 2;
}

// A piece of one rank's output that is taken from another rank's input, or from the reduction over
// all.
struct Take {
  int from = 0;  // a rank, or Layout::kEveryRank
  std::size_t at = 0;
  std::size_t to = 0;
  std::size_t bytes = 0;
};

// The shape of a collective in bytes, which all forms share.
class Shape {
 public:
  Shape(const Collective& collective, int rank, int ranks)
      : collective_(collective),
        layout_(collective, ranks),
        rank_(rank),
        ranks_(ranks),
        element_(static_cast<std::size_t>(ElementBytes(collective.dtype))) {}

  int Rank() const { return rank_; }
  int Ranks() const { return ranks_; }
  std::size_t Input(int rank) const { return Bytes(layout_.Input(rank)); }
  std::size_t Output(int rank) const { return Bytes(layout_.Output(rank)); }
  std::size_t InputPlace(int rank) const {
    return collective_.in_place ? Bytes(layout_.InputPlace(rank)) : 0;
  }
  std::size_t OutputPlace(int rank) const {
    return collective_.in_place ? Bytes(layout_.OutputPlace(rank)) : 0;
  }
  // All pieces of a rank's output, in bytes.
  std::vector<Take> Takes(int rank) const {
    std::vector<Take> takes;
    for (const Layout::Piece& piece : layout_.Pieces(rank)) {
      takes.push_back({.from = piece.rank,
                       .at = Bytes(piece.from),
                       .to = Bytes(piece.to),
                       .bytes = Bytes(piece.count)});
    }
    return takes;
  }
  bool Reduces() const { return FactsOf(collective_.operation).reduces; }
  // Whether every rank that gets an output gets the whole one, so that ranks can share the work of
  // reducing it.
  bool IsWhole() const {
    return collective_.operation == Operation::kAllReduce ||
           collective_.operation == Operation::kReduce;
  }
  // One rank's part of that work.
  Take Share(int rank) const {
    const std::size_t all = Bytes(layout_.Base());
    const std::size_t grain = static_cast<std::size_t>(ranks_) * kLine;
    const std::size_t share = RoundedUp(all, grain) / static_cast<std::size_t>(ranks_);
    const std::size_t begin = std::min(all, static_cast<std::size_t>(rank) * share);
    return {.from = Layout::kEveryRank,
            .at = begin,
            .to = begin,
            .bytes = std::min(all - begin, share)};
  }
  // Whether each rank that takes anything of an input takes all of it.
  bool IsForAll() const {
    switch (collective_.operation) {
      case Operation::kAllGather:
      case Operation::kBroadcast:
      case Operation::kGather:
      case Operation::kSendRecv:
      case Operation::kBarrier:
        return true;
      case Operation::kAllReduce:
      case Operation::kReduce:
      case Operation::kReduceScatter:
      case Operation::kScatter:
      case Operation::kAlltoall:
      case Operation::kAlltoallv:
        return false;
    }
    return false;
  }
  // The most bytes that any rank puts in, and the bytes that go in and come out of all ranks
  // together.
  std::size_t MostInput() const {
    std::size_t most = 0;
    for (int rank = 0; rank < ranks_; ++rank) most = std::max(most, Input(rank));
    return most;
  }
  std::size_t Traffic() const {
    std::size_t bytes = 0;
    for (int rank = 0; rank < ranks_; ++rank) bytes += Input(rank) + Output(rank);
    return bytes;
  }

 private:
  std::size_t Bytes(std::int64_t elements) const {
    return static_cast<std::size_t>(elements) * element_;
  }

  Collective collective_;
  Layout layout_;
  int rank_;
  int ranks_;
  std::size_t element_;
};

// Equal regions of shared memory, one for each rank. A rank touches its own region first, which
// places the pages on its NUMA node.
class Regions {
 public:
  Regions(Ranks& ranks, std::size_t bytes)
      : stride_(RoundedUp(bytes, kPage)),
        memory_(ranks, stride_ * static_cast<std::size_t>(ranks.Size())) {
    std::memset(Of(ranks.Rank()), 0, stride_);
    ranks.Barrier();
  }
  std::byte* Of(int rank) const {
    return memory_.Bytes().data() + static_cast<std::size_t>(rank) * stride_;
  }
  std::size_t Stride() const { return stride_; }

 private:
  std::size_t stride_;
  SharedMemory memory_;
};

SharedCounter& CounterAt(std::byte* place) { return *reinterpret_cast<SharedCounter*>(place); }

// A dissemination barrier: in round k each rank hears of the one 2^k before it, until each has
// heard of every other, directly or not.
class Barrier {
 public:
  Barrier(Ranks& ranks, const SharedWait& wait)
      : rank_(ranks.Rank()), ranks_(ranks.Size()), wait_(wait), lines_(ranks, kPage) {}

  void Pass() {
    ++passed_;
    std::size_t round = 0;
    for (int distance = 1; distance < ranks_; distance *= 2, ++round) {
      CounterAt(lines_.Of((rank_ + distance) % ranks_) + round * kLine)
          .value.store(passed_, std::memory_order_release);
      wait_.For(CounterAt(lines_.Of(rank_) + round * kLine).value, passed_);
    }
  }

 private:
  int rank_;
  int ranks_;
  const SharedWait& wait_;
  Regions lines_;
  std::uint64_t passed_ = 0;
};

// A form is one way of moving the data.
class Form {
 public:
  virtual ~Form() = default;
  virtual void Run(const std::byte* input, std::byte* output) = 0;
  virtual std::span<std::byte> Window(std::size_t bytes) {
    (void)bytes;
    return {};
  }
  virtual Facts Describe() const = 0;
};

// The form for small inputs. A rank publishes its input in one of two places, in turn. Two suffice,
// since no rank can be two operations ahead: it needs all others' input of the one between. An
// input that fits lies in the counter's own cache line and comes along with it.
class Published : public Form {
 public:
  Published(const Shape& shape, const Reduction* reduction, Ranks& ranks, const SharedWait& wait)
      : shape_(shape),
        reduction_(reduction),
        wait_(wait),
        takes_(shape.Takes(shape.Rank())),
        data_at_(shape.MostInput() <= kLine - kInline ? kInline : kLine),
        place_bytes_(kLine + RoundedUp(shape.MostInput(), kLine)),
        places_(ranks, 2 * place_bytes_),
        from_(static_cast<std::size_t>(shape.Ranks())) {}

  void Run(const std::byte* input, std::byte* output) override {
    ++published_;
    const int self = shape_.Rank();
    std::byte* const own = Place(self);
    if (const std::size_t bytes = shape_.Input(self)) std::memcpy(own + data_at_, input, bytes);
    CounterAt(own).value.store(published_, std::memory_order_release);
    for (int rank = 0; rank < shape_.Ranks(); ++rank) {
      if (rank != self) wait_.For(CounterAt(Place(rank)).value, published_);
    }
    for (const Take& take : takes_) {
      std::byte* const to = output + take.to;
      if (take.from != Layout::kEveryRank) {
        CopyTo(Place(take.from) + data_at_ + take.at, {&to, 1}, take.bytes);
        continue;
      }
      for (int rank = 0; rank < shape_.Ranks(); ++rank) {
        from_[static_cast<std::size_t>(rank)] = Place(rank) + data_at_ + take.at;
      }
      (*reduction_)(from_, {&to, 1}, take.bytes, {.last = true});
    }
  }
  Facts Describe() const override { return {{"form", std::string("published")}}; }

 private:
  static constexpr std::size_t kInline = 16;
  std::byte* Place(int rank) const { return places_.Of(rank) + published_ % 2 * place_bytes_; }

  const Shape& shape_;
  const Reduction* reduction_;
  const SharedWait& wait_;
  std::vector<Take> takes_;
  std::size_t data_at_;
  std::size_t place_bytes_;
  Regions places_;
  std::vector<const std::byte*> from_;
  std::uint64_t published_ = 0;
};

// The form for buffers in the window. Between two barriers every rank may read all inputs and write
// all outputs.
class Direct : public Form {
 public:
  Direct(const Shape& shape, const Reduction* reduction, Ranks& ranks, Barrier& barrier)
      : shape_(shape),
        reduction_(reduction),
        ranks_(ranks),
        barrier_(barrier),
        streams_(Overflows(shape.Traffic())),
        from_(static_cast<std::size_t>(shape.Ranks())) {
    const int self = shape.Rank();
    if (shape.IsWhole()) {
      takes_ = {shape.Share(self)};
    } else if (int taker = 0; IsGathered(taker)) {
      // The taker alone would do all the copying, so each rank brings its own input instead.
      takes_ = shape.Takes(taker);
      std::erase_if(takes_, [self](const Take& take) { return take.from != self; });
      to_ranks_ = {taker};
      return;
    } else {
      takes_ = shape.Takes(self);
    }
    if (shape.Output(self) > 0) to_ranks_.push_back(self);
    for (int rank = 0; shape.IsWhole() && rank < shape.Ranks(); ++rank) {
      if (rank != self && shape.Output(rank) > 0) to_ranks_.push_back(rank);
    }
  }

  void Run(const std::byte* input, std::byte* output) override {
    barrier_.Pass();
    const int self = shape_.Rank();
    for (const Take& take : takes_) {
      const auto source = [&](int rank) {
        return OfRank(rank, input - shape_.InputPlace(self)) + shape_.InputPlace(rank) + take.at;
      };
      to_.clear();
      for (const int rank : to_ranks_) {
        to_.push_back(OfRank(rank, output - shape_.OutputPlace(self)) + shape_.OutputPlace(rank) +
                      take.to);
      }
      if (take.from != Layout::kEveryRank) {
        CopyTo(source(take.from), to_, take.bytes, streams_);
        continue;
      }
      for (int rank = 0; rank < shape_.Ranks(); ++rank) {
        from_[static_cast<std::size_t>(rank)] = source(rank);
      }
      Reduce(take.bytes);
    }
    barrier_.Pass();
  }

  std::span<std::byte> Window(std::size_t bytes) override {
    window_.emplace(ranks_, bytes);
    return {window_->Of(shape_.Rank()), bytes};
  }
  Facts Describe() const override {
    return {{"form", std::string("direct")},
            {"stores", std::string(streams_ ? "non-temporal" : "cached")}};
  }

 private:
  // Reduces into one output and copies that to the others, a segment at a time. A copy writes whole
  // cache lines of another core without fetching them first, which single stores can't.
  void Reduce(std::size_t bytes) {
    if (streams_) return (*reduction_)(from_, to_, bytes, {.last = true, .stream = true});
    for (std::size_t left = bytes; left > 0;) {
      const std::size_t part = std::min(left, kSegmentBytes);
      const std::span<std::byte* const> to = to_;
      (*reduction_)(from_, to.first(1), part, {.last = true});
      CopyTo(to_[0], to.subspan(1), part);
      for (const std::byte*& from : from_) from += part;
      for (std::byte*& each : to_) each += part;
      left -= part;
    }
  }

  // Whether all input goes to one rank, which `taker` is then set to.
  bool IsGathered(int& taker) const {
    int takers = 0;
    for (int rank = 0; rank < shape_.Ranks(); ++rank) {
      if (shape_.Output(rank) == 0) continue;
      ++takers;
      taker = rank;
    }
    return takers == 1 && shape_.Ranks() > 1;
  }
  // The place in another rank's part of the window that corresponds to `own` in this rank's.
  template <class Byte>
  Byte* OfRank(int rank, Byte* own) const {
    return own + (window_->Of(rank) - window_->Of(shape_.Rank()));
  }

  const Shape& shape_;
  const Reduction* reduction_;
  Ranks& ranks_;
  Barrier& barrier_;
  bool streams_;
  std::vector<Take> takes_ = {};
  std::vector<int> to_ranks_ = {};  // the ranks that get the outcome, this one first
  std::vector<const std::byte*> from_;
  std::vector<std::byte*> to_ = {};
  std::optional<Regions> window_ = {};
};

// The form for private buffers, a pipeline over segments. Each step has three phases. A rank first
// fills its own segment with what others need. It then takes what it needs from theirs, and reduces
// it where that is asked for; where ranks share the work of reducing, it puts the outcome of its
// share back in place of what it took, since it owns those cache lines already. Last, each rank
// copies out what the others have made. Three steps are under way at once, one in each phase, and a
// counter for each phase tells the others how far a rank is.
class Staged : public Form {
 public:
  Staged(const Shape& shape, const Reduction* reduction, Ranks& ranks, const SharedWait& wait)
      : shape_(shape),
        reduction_(reduction),
        wait_(wait),
        others_(static_cast<std::size_t>(std::max(1, shape.Ranks() - 1))),
        cell_bytes_(shape.IsForAll() ? kSegmentBytes
                                     : std::max(kLine, kSegmentBytes / others_ / kLine * kLine)),
        shares_work_(shape.IsWhole()),
        streams_(Overflows(shape.Traffic())),
        stages_(ranks, kCounters * kLine + kTurns * kSegmentBytes),
        from_(static_cast<std::size_t>(shape.Ranks())) {
    std::size_t most = 0;
    for (int rank = 0; rank < shape.Ranks(); ++rank) {
      for (const Take& take : TakesOf(rank)) {
        most = std::max(most, take.bytes);
        if (rank == shape.Rank()) {
          takes_.push_back(take);
        } else if (take.from == Layout::kEveryRank || take.from == shape.Rank()) {
          gives_.push_back({.rank = rank, .at = take.at, .bytes = take.bytes});
        }
      }
    }
    // One cell serves all ranks that take the same.
    if (shape.IsForAll() && gives_.size() > 1) gives_.resize(1);
    steps_ = (most + cell_bytes_ - 1) / cell_bytes_;
    if (!shares_work_) return;
    for (int rank = 0; rank < shape.Ranks(); ++rank) {
      if (shape.Output(rank) > 0) readers_.push_back(rank);
    }
  }

  void Run(const std::byte* input, std::byte* output) override {
    for (const Take& take : takes_) {
      if (take.from != shape_.Rank()) continue;
      std::byte* const to = output + take.to;
      CopyTo(input + take.at, {&to, 1}, take.bytes);
    }
    for (std::uint64_t step = 0; step < steps_ + 2; ++step) {
      if (step < steps_) Fill(step, input);
      if (step >= 1 && step - 1 < steps_) Consume(step - 1, input, output);
      if (step >= 2 && shares_work_) Spread(step - 2, output);
    }
    done_ += steps_;
  }
  Facts Describe() const override {
    return {{"form", std::string("staged")},
            {"segment_bytes", static_cast<std::int64_t>(kSegmentBytes)},
            {"stores", std::string(streams_ ? "non-temporal" : "cached")}};
  }

 private:
  enum Counter : std::size_t { kFilled, kConsumed, kCounters };
  struct Give {
    int rank = 0;
    std::size_t at = 0;
    std::size_t bytes = 0;
  };

  std::vector<Take> TakesOf(int rank) const {
    return shares_work_ ? std::vector<Take>{shape_.Share(rank)} : shape_.Takes(rank);
  }
  std::atomic<std::uint64_t>& CounterOf(int rank, Counter counter) const {
    return CounterAt(stages_.Of(rank) + counter * kLine).value;
  }
  // Tells the others that a phase of a step is done. Steps are counted over all operations.
  void Tell(Counter counter, std::uint64_t step) {
    CounterOf(shape_.Rank(), counter).store(done_ + step + 1, std::memory_order_release);
  }
  void WaitForAll(Counter counter, std::uint64_t steps) const {
    for (int rank = 0; rank < shape_.Ranks(); ++rank) {
      if (rank != shape_.Rank()) wait_.For(CounterOf(rank, counter), steps);
    }
  }
  // Waits until all ranks are done with the last content of the step's segment.
  void WaitForTurn(std::uint64_t step) const {
    if (done_ + step >= kTurns) WaitForAll(kConsumed, done_ + step + 1 - kTurns);
  }

  // The place where `rank` leaves what `taker` takes in a step.
  std::byte* Cell(int rank, int taker, std::uint64_t step) const {
    std::size_t index = 0;
    if (!shape_.IsForAll()) {
      index = static_cast<std::size_t>((taker - rank - 1 + shape_.Ranks()) % shape_.Ranks());
    }
    return stages_.Of(rank) + kCounters * kLine + (done_ + step) % kTurns * kSegmentBytes +
           index * cell_bytes_;
  }
  // The bytes of an array of that size that are moved in a step.
  std::size_t InStep(std::size_t bytes, std::uint64_t step) const {
    const std::size_t begin = std::min(bytes, step * cell_bytes_);
    return std::min(cell_bytes_, bytes - begin);
  }

  // The first phase of a step: copies what others need of this rank's input into its segment.
  void Fill(std::uint64_t step, const std::byte* input) {
    WaitForTurn(step);
    for (const Give& give : gives_) {
      std::byte* const to = Cell(shape_.Rank(), give.rank, step);
      CopyTo(input + give.at + step * cell_bytes_, {&to, 1}, InStep(give.bytes, step));
    }
    Tell(kFilled, step);
  }

  // The second phase of a step: takes what this rank needs from all segments, and reduces it where
  // that is asked for.
  void Consume(std::uint64_t step, const std::byte* input, std::byte* output) {
    const int self = shape_.Rank();
    WaitForAll(kFilled, done_ + step + 1);
    for (const Take& take : takes_) {
      const std::size_t bytes = InStep(take.bytes, step);
      if (bytes == 0 || take.from == self) continue;
      std::byte* const own = output + take.to + step * cell_bytes_;
      if (take.from != Layout::kEveryRank) {
        CopyTo(Cell(take.from, self, step), {&own, 1}, bytes, streams_);
        continue;
      }
      for (int rank = 0; rank < shape_.Ranks(); ++rank) {
        from_[static_cast<std::size_t>(rank)] =
            rank == self ? input + take.at + step * cell_bytes_ : Cell(rank, self, step);
      }
      to_.clear();
      for (const int rank : readers_) {
        if (rank != self) to_.push_back(Cell(rank, self, step));
      }
      // Cells are read again soon, so they are stored through the caches even where outputs aren't.
      const bool has_cells = !to_.empty();
      const bool has_output = shape_.Output(self) > 0;
      if (has_output && !(has_cells && streams_)) to_.push_back(own);
      (*reduction_)(from_, to_, bytes, {.last = true, .stream = streams_ && !has_cells});
      if (has_output && has_cells && streams_) CopyTo(to_[0], {&own, 1}, bytes, true);
    }
    Tell(kConsumed, step);
  }

  // The third phase of a step: copies out what other ranks have reduced for all.
  void Spread(std::uint64_t step, std::byte* output) {
    const int self = shape_.Rank();
    if (shape_.Output(self) == 0) return;
    WaitForAll(kConsumed, done_ + step + 1);
    for (const Give& give : gives_) {
      std::byte* const to = output + give.at + step * cell_bytes_;
      CopyTo(Cell(self, give.rank, step), {&to, 1}, InStep(give.bytes, step), streams_);
    }
  }

  const Shape& shape_;
  const Reduction* reduction_;
  const SharedWait& wait_;
  std::size_t others_;
  std::size_t cell_bytes_;
  bool shares_work_;
  bool streams_;
  Regions stages_;
  std::vector<Give> gives_ = {};
  std::vector<Take> takes_ = {};
  std::vector<int> readers_ = {};  // the ranks that get the outcome of shared work
  std::vector<const std::byte*> from_;
  std::vector<std::byte*> to_ = {};
  std::uint64_t steps_ = 0;
  std::uint64_t done_ = 0;
};

// The exchange, which chooses a form once, by the collective's buffers and size.
class NativeExchangeImpl : public Exchange {
 public:
  NativeExchangeImpl(const Collective& collective, Ranks& ranks)
      : shape_(collective, ranks.Rank(), ranks.Size()), wait_(ranks), barrier_(ranks, wait_) {
    if (shape_.Reduces()) reduction_.emplace(collective.dtype, collective.redop, ranks.Size());
    const Reduction* reduction = reduction_ ? &*reduction_ : nullptr;
    if (shape_.MostInput() <= kPublishedBytes) {
      form_ = std::make_unique<Published>(shape_, reduction, ranks, wait_);
    } else if (collective.buffers == "shared") {
      form_ = std::make_unique<Direct>(shape_, reduction, ranks, barrier_);
    } else {
      form_ = std::make_unique<Staged>(shape_, reduction, ranks, wait_);
    }
  }

  void Align() override { barrier_.Pass(); }
  void Run(const std::byte* input, std::byte* output) override { form_->Run(input, output); }
  std::span<std::byte> Window(std::size_t bytes) override { return form_->Window(bytes); }
  Facts Describe() const override {
    Facts facts = form_->Describe();
    facts[kTransportFact] = std::string(kSharedMemory);
    return facts;
  }

 private:
  Shape shape_;
  SharedWait wait_;
  Barrier barrier_;
  std::optional<Reduction> reduction_ = {};
  std::unique_ptr<Form> form_ = {};
};

class Native : public Library {
 public:
  std::string Name() const override { return "native"; }
  Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) override {
    if (std::optional<Skipped> no = NativeRefusal(collective, ranks)) return *no;
    return PrepareTimedCollective(collective, ranks, NativeExchange(collective, ranks), seed);
  }
};

}  // namespace

std::unique_ptr<Exchange> NativeExchange(const Collective& collective, Ranks& ranks) {
  return std::make_unique<NativeExchangeImpl>(collective, ranks);
}

std::optional<Skipped> NativeRefusal(const Collective& collective, Ranks& ranks) {
  if (collective.buffers == "registered") {
    return Skipped{.reason = "buffers in host memory need no registration",
                   .remedy = Asking("buffers", "plain") + ", or " + Asking("buffers", "shared")};
  }
  if (collective.algorithm != "auto") {
    return Skipped{.reason = "native has a form for each kind of buffers, and no other algorithms",
                   .remedy = Asking("algo", "auto") + ", or --backend native-mpi"};
  }
  if (FactsOf(collective.operation).reduces &&
      !Reduction::Knows(collective.dtype, collective.redop)) {
    return Skipped{
        .reason = fmt::format("there is no {} of {} here", collective.redop, collective.dtype),
        .remedy = Asking("redop", "sum") + ", or " + Asking("dtype", "f32")};
  }
  double nodes[] = {static_cast<double>(ranks.Node())};
  ranks.Max(nodes);
  if (nodes[0] > 0) {
    return Skipped{.reason = "memory is shared within one node alone",
                   .remedy = "--backend native-mpi"};
  }
  return std::nullopt;
}

std::unique_ptr<Library> NativeLibrary() { return std::make_unique<Native>(); }

}  // namespace assay
