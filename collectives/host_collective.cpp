#include "collectives/host_all_reduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <new>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "results/error.h"
#include "runner/random.h"

namespace assay {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kPage = 4096;

// The inputs of one iteration. Element i of rank r is an integer that depends on seed, iteration,
// rank and i, so that a contribution that is lost, doubled, misplaced or a repetition shows. All
// lie in [-limit, limit) with ranks x limit <= 2^24, the integers that f32 holds exactly: every
// partial sum is exact, in whatever order a library adds.
class Inputs {
 public:
  Inputs(std::uint64_t seed, std::uint64_t iteration, int ranks)
      : seed_(RandomAt(seed, iteration)),
        bits_(std::min(16,
                       25 - static_cast<int>(std::bit_width(static_cast<unsigned>(ranks - 1))))) {}

  template <class T>
  void Fill(int rank, T* values, std::size_t count) const {
    ForEach(rank, count, [values](std::size_t i, int value) { values[i] = static_cast<T>(value); });
  }
  template <class T>
  void AddTo(T* sums, int rank, std::size_t begin, std::size_t count) const {
    ForEach(
        rank, count, [sums](std::size_t i, int value) { sums[i] += static_cast<T>(value); }, begin);
  }

 private:
  // One random number makes four elements. REQUIRES: begin is a multiple of four.
  template <class Body>
  void ForEach(int rank, std::size_t count, Body body, std::size_t begin = 0) const {
    const std::uint64_t key = RandomAt(seed_, static_cast<std::uint64_t>(rank));
    const std::uint64_t mask = (std::uint64_t{1} << static_cast<unsigned>(bits_)) - 1;
    const int limit = 1 << (bits_ - 1);
    for (std::size_t i = 0; i < count; i += 4) {
      std::uint64_t random = Mix(key + (begin + i) / 4);
      for (std::size_t j = i; j < std::min(i + 4, count); ++j, random >>= 16U) {
        body(j, static_cast<int>(random & mask) - limit);
      }
    }
  }

  std::uint64_t seed_;
  int bits_;
};

template <class T>
class HostAllReduce : public Workload {
 public:
  HostAllReduce(const AllReduce& op, Ranks& ranks, std::unique_ptr<HostTransport> transport,
                std::uint64_t seed, Clock clock)
      : count_(static_cast<std::size_t>(op.bytes) / sizeof(T)),
        ranks_(ranks),
        transport_(std::move(transport)),
        seed_(seed),
        clock_(std::move(clock)),
        output_(Allocate()),
        own_input_(op.placement == "in_place" ? nullptr : Allocate()),
        input_(own_input_ ? own_input_.get() : output_.get()) {
    // The rank that uses a page touches it first, and so decides on which NUMA node it lies.
    std::fill_n(output_.get(), count_, T{});
    std::fill_n(input_, count_, T{});
  }

  Batch Run(std::int64_t iterations) override {
    std::vector<double> times(static_cast<std::size_t>(iterations));
    double own_time = 0;
    for (double& time : times) {
      Inputs(seed_, ++iteration_, ranks_.Size()).Fill(ranks_.Rank(), input_, count_);
      transport_->Align();
      const Seconds start = clock_();
      transport_->Sum(input_, output_.get());
      time = (clock_() - start).count();
      own_time += time;
      ReadOutput();
    }
    // An operation is over when its last rank is: the maximum is taken of each, not of the sums.
    ranks_.Max(times);
    Batch batch;
    for (const double time : times) batch.time += Seconds(time);
    for (const std::string& text : ranks_.Gather(fmt::format("{}", own_time))) {
      batch.per_unit.emplace_back(std::stod(text));
    }
    return batch;
  }

  Checked Verify() override {
    assert(iteration_ > 0);
    const Checked own = CheckOwn();
    Checked all = {.reference = "exact"};
    for (const std::string& text : ranks_.Gather(fmt::format(
             "{} {} {} {}", own.checked, own.wrong, own.max_error, own.what.value_or("")))) {
      std::istringstream words(text);
      std::int64_t checked = 0;
      std::int64_t wrong = 0;
      double max_error = 0;
      words >> checked >> wrong >> max_error >> std::ws;
      all.checked += checked;
      all.wrong += wrong;
      all.max_error = std::max(all.max_error, max_error);
      if (std::string what; wrong > 0 && !all.what && std::getline(words, what)) all.what = what;
    }
    return all;
  }

  Facts Describe() const override {
    Facts facts = transport_->Describe();
    facts["timed"] = "each operation alone after a barrier, maximum over ranks of local clocks";
    return facts;
  }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  using Buffer = std::unique_ptr<T, Free>;

  Buffer Allocate() const {
    const std::size_t bytes = (count_ * sizeof(T) + kPage - 1) / kPage * kPage;
    Buffer buffer(static_cast<T*>(std::aligned_alloc(kPage, bytes)));
    if (!buffer) throw std::bad_alloc();
    return buffer;
  }

  // One read of each cache line brings the output to this core, as its user would.
  void ReadOutput() const {
    const volatile T* output = output_.get();
    for (std::size_t i = 0; i < count_; i += kCacheLine / sizeof(T)) (void)output[i];
  }

  Checked CheckOwn() const {
    const Inputs inputs(seed_, iteration_, ranks_.Size());
    Checked checked = {.checked = static_cast<std::int64_t>(count_)};
    std::vector<T> sums(1024);
    for (std::size_t begin = 0; begin < count_; begin += sums.size()) {
      const std::size_t count = std::min(sums.size(), count_ - begin);
      std::fill(sums.begin(), sums.end(), T{});
      for (int rank = 0; rank < ranks_.Size(); ++rank) {
        inputs.AddTo(sums.data(), rank, begin, count);
      }
      for (std::size_t i = 0; i < count; ++i) {
        const T got = output_.get()[begin + i];
        if (got == sums[i]) continue;
        const double error = std::abs(static_cast<double>(got) - static_cast<double>(sums[i]));
        // A NaN or an infinity is told by `wrong` and `what`.
        if (std::isfinite(error)) checked.max_error = std::max(checked.max_error, error);
        if (checked.wrong++ == 0) {
          checked.what = fmt::format("rank {}, element {}: {} instead of {}", ranks_.Rank(),
                                     begin + i, got, sums[i]);
        }
      }
    }
    return checked;
  }

  std::size_t count_;
  Ranks& ranks_;
  std::unique_ptr<HostTransport> transport_;
  std::uint64_t seed_;
  Clock clock_;
  Buffer output_;
  Buffer own_input_;  // null where the operation is in place
  T* input_;
  std::uint64_t iteration_ = 0;
};

}  // namespace

std::int64_t ElementBytes(const std::string& dtype) {
  if (dtype == "f32" || dtype == "i32") return 4;
  if (dtype == "f64") return 8;
  throw Error("all_reduce in host memory knows no dtype " + dtype + ": use f32, f64 or i32");
}

Seconds SteadyNow() { return std::chrono::steady_clock::now().time_since_epoch(); }

Prepared PrepareHostAllReduce(const AllReduce& op, Ranks& ranks,
                              std::unique_ptr<HostTransport> transport, std::uint64_t seed,
                              Clock clock) {
  if (op.mode != "latency") {
    return Skipped{.reason = "mode " + op.mode + " is not measured in host memory",
                   .remedy = "--set mode=latency"};
  }
  ElementBytes(op.dtype);  // throws for one that isn't among those below
  const auto make = [&]<class T>(T) -> Prepared {
    try {
      return std::make_unique<HostAllReduce<T>>(op, ranks, std::move(transport), seed,
                                                std::move(clock));
    } catch (const std::bad_alloc&) {
      throw Error(fmt::format("a rank has no room for buffers of {} bytes: choose a smaller size",
                              op.bytes));
    }
  };
  if (op.dtype == "f32") return make(float{});
  if (op.dtype == "f64") return make(double{});
  return make(std::int32_t{});
}

}  // namespace assay
