#include "collectives/timed_collective.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/asking.h"
#include "collectives/companion.h"
#include "collectives/pattern.h"
#include "collectives/straggler.h"
#include "collectives/used_transport.h"
#include "results/base/error.h"
#include "results/figures/histogram.h"
#include "runner/core/memory.h"
#include "runner/core/random.h"

namespace assay {
namespace {

constexpr std::size_t kCacheLine = 64;
// The most bytes of all buffers of a rank that take turns.
constexpr std::int64_t kMostRotated = std::int64_t{1} << 30;
constexpr std::int64_t kMostSlots = 4096;
// The bytes that are copied to and from a device at once.
constexpr std::size_t kStaging = std::size_t{8} << 20;

// The workload of a collective on one rank. Operations take slots (buffers) in turn; times are put
// together over ranks, and checks are made outside timed spans.
class TimedCollective : public Accompanied {
 public:
  TimedCollective(const Collective& collective, Ranks& ranks, std::unique_ptr<Exchange> exchange,
                  std::uint64_t seed, const TimedOptions& options)
      : collective_(collective),
        layout_(collective, ranks.Size()),
        ranks_(ranks),
        members_(ranks.Members()),
        exchange_(std::move(exchange)),
        is_on_device_(exchange_->Device().has_value()),
        seed_(seed),
        clock_(options.clock),
        rewrites_(collective.cache == "rewritten"),
        aligns_each_(collective.mode == "latency"),
        pieces_(layout_.Pieces(ranks.Rank())) {
    MakeSlots(options.rotate_bytes);
  }

  Batch Run(std::int64_t iterations) override {
    const auto count = static_cast<std::size_t>(iterations);
    std::vector<double> times(count);
    waits_s_ = 0;
    double own_time = 0;
    const Seconds begin = clock_();
    // One batch of eight is checked, so that small sizes don't spend their time on checks.
    const std::uint64_t random = RandomAt(seed_, ~++batches_);
    const bool checks_all = collective_.verify == "all";
    const std::int64_t spot =
        collective_.verify == "random" && random % 8 == 0
            ? static_cast<std::int64_t>((random >> 8U) % static_cast<std::uint64_t>(count))
            : -1;
    for (std::size_t done = 0; done < count;) {
      const std::size_t segment = std::min(AtOnce(), count - done);
      const std::span<double> own(times.data() + done, segment);
      first_iteration_ = iteration_ + 1;
      iteration_ += segment;
      for (std::size_t i = 0; i < segment; ++i) Refresh(i);
      RunSegment(own);
      const auto at = static_cast<std::int64_t>(done);
      for (std::size_t i = 0; i < segment; ++i) {
        if (checks_all || spot == at + static_cast<std::int64_t>(i)) CheckSlot(i, checked_);
      }
      for (const double time : own) own_time += time;
      done += segment;
    }
    const Seconds whole = clock_() - begin;
    // An operation is over when its last rank is, so the maximum is taken for each operation and
    // not for the sums.
    ranks_.Max(times);
    Batch batch;
    for (std::size_t i = 0; i < count; ++i) {
      batch.time += Seconds(times[i]);
      if (i < static_cast<std::size_t>(collective_.skip)) continue;
      latency_.Add(static_cast<std::int64_t>(std::llround(times[i] * 1e9)));
    }
    const std::vector<std::string> texts = ranks_.Gather(fmt::format("{} {}", own_time, waits_s_));
    for (std::size_t rank = 0; rank < texts.size(); ++rank) {
      std::istringstream words(texts[rank]);
      double own = 0;
      double wait = 0;
      words >> own >> wait;
      batch.per_unit.emplace_back(own);
      stragglers_.Add(rank, own, wait);
    }
    stragglers_.EndBatch(iterations, batch.time.count(), whole.count());
    return batch;
  }

  Checked Verify() override {
    assert(iteration_ > 0);
    if (collective_.verify == "none") return {.reference = "not checked"};
    Checked own = std::exchange(checked_, {});
    Checked all = {.tolerance = ToleranceOf(collective_, ranks_.Size()), .reference = "exact"};
    if (collective_.operation == Operation::kBarrier) {
      all.reference = "nobody passes before the last";
      CheckBarrier(own);
    } else if (collective_.verify != "all") {
      CheckSlot(static_cast<std::size_t>(iteration_ - first_iteration_), own);
    }
    if (all.tolerance > 0) all.reference = "exact sum, rounded average";
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
    Facts facts = exchange_->Describe();
    facts["timed"] = fmt::format(
        "{}, maximum over ranks of {}",
        aligns_each_ ? "each operation alone after a barrier" : "operations back to back",
        is_on_device_ ? "device events" : "local clocks");
    facts["buffers_in_turn"] = static_cast<std::int64_t>(slots_.size());
    DescribeTransport(facts);
    if (collective_.verify != "random") facts["verify"] = collective_.verify;
    if (collective_.skip > 0) facts["skipped_operations"] = std::int64_t{collective_.skip};
    if (collective_.mode == "graph")
      facts["graph_operations"] = static_cast<std::int64_t>(AtOnce());
    stragglers_.Describe(facts);
    for (const char* name : {"slowest_rank", "late_rank", "straggler"}) {
      if (!facts.contains(name)) continue;
      std::int64_t& rank = std::get<std::int64_t>(facts[name]);
      rank = NameOf(static_cast<int>(rank));
    }
    return facts;
  }

  void Align() override { exchange_->Align(); }

  std::optional<int> Device() const override { return exchange_->Device(); }
  void Accompany(Companion* companion) override { companion_ = companion; }
  Batch RunBeside(Beside& beside) override {
    beside_ = &beside;
    Batch batch = Run(1);
    beside_ = nullptr;
    return batch;
  }
  void RunAlone(Beside& beside) override { exchange_->RunBeside(nullptr, beside); }

  std::map<std::string, Histogram> Histograms() const override {
    return {{"latency_s", latency_.ToHistogram()}};
  }

 private:
  // Sets the fact of the transport by what all ranks say, and not rank 0 alone.
  void DescribeTransport(Facts& facts) const {
    std::string own;
    if (const auto told = facts.find(kTransportFact); told != facts.end()) {
      own = ranks_.Size() > 1 ? std::get<std::string>(told->second) : "none (one rank)";
    }
    const std::string all = TransportOfRanks(ranks_.Gather(own), members_);
    if (!all.empty()) facts[kTransportFact] = all;
    double by_sockets[] = {facts.contains(kSocketsFact) && ranks_.Size() > 1 ? 1.0 : 0.0};
    ranks_.Max(by_sockets);
    facts.erase(kSocketsFact);
    if (by_sockets[0] > 0) facts[kSocketsFact] = true;
  }

  // The number of operations that follow each other without anything in between.
  std::size_t AtOnce() const {
    const auto asked = static_cast<std::size_t>(collective_.graph_operations);
    return asked > 0 ? std::min(asked, slots_.size()) : slots_.size();
  }

  // Makes as many slots as the collective's cache and mode need, in the library's window where it
  // has one.
  void MakeSlots(std::int64_t rotate_bytes) {
    const auto element = static_cast<std::size_t>(ElementBytes(collective_.dtype));
    // Windows have the same shape on every rank, so that a rank can find another's slots.
    std::size_t input = 0;
    std::size_t output = 0;
    for (int rank = 0; rank < ranks_.Size(); ++rank) {
      input = std::max(input, static_cast<std::size_t>(layout_.Input(rank)) * element);
      output = std::max(output, static_cast<std::size_t>(layout_.Output(rank)) * element);
    }
    const std::size_t input_room = RoundedUp(input, kCacheLine);
    const std::size_t output_room = RoundedUp(output, kCacheLine);
    const std::size_t shift = static_cast<std::size_t>(collective_.unalign) * element;
    const std::size_t room =
        RoundedUp(shift, kCacheLine) +
        (collective_.in_place ? std::max(input_room, output_room) : input_room + output_room);
    // Buffers in turn come to an operation cold: 20 or more, and together as large as
    // `rotate_bytes`, which is more than caches hold, but no more memory than kMostRotated.
    std::int64_t slots = 1;
    if (!rewrites_ && room > 0) {
      const auto bytes = static_cast<std::int64_t>(room);
      slots = std::max<std::int64_t>(20, (rotate_bytes + bytes - 1) / bytes);
      slots = std::clamp<std::int64_t>(kMostRotated / bytes, 1, slots);
      slots = std::min(slots, kMostSlots);
    }
    // The operations of a group must all have different buffers.
    slots = static_cast<std::int64_t>(RoundedUp(static_cast<std::size_t>(slots),
                                                static_cast<std::size_t>(collective_.aggregate)));
    const std::size_t total = std::max<std::size_t>(1, room * static_cast<std::size_t>(slots));
    std::span<std::byte> memory = exchange_->Window(total);
    if (memory.empty()) {
      own_memory_ = Pages(total);
      memory = {own_memory_.Begin(), total};
    }
    // The rank that uses a page touches it first, and so decides on which NUMA node it lies.
    if (!is_on_device_) std::memset(memory.data(), 0, total);

    const int self = ranks_.Rank();
    const std::size_t own_input = static_cast<std::size_t>(layout_.Input(self)) * element;
    const std::size_t own_output = static_cast<std::size_t>(layout_.Output(self)) * element;
    const std::size_t input_at =
        shift +
        (collective_.in_place ? static_cast<std::size_t>(layout_.InputPlace(self)) * element : 0);
    const std::size_t output_at =
        shift + (collective_.in_place
                     ? static_cast<std::size_t>(layout_.OutputPlace(self)) * element
                     : input_room);
    for (std::int64_t i = 0; i < slots; ++i) {
      const auto slot = memory.subspan(static_cast<std::size_t>(i) * room, room);
      slots_.push_back({.input = slot.subspan(input_at, own_input),
                        .output = slot.subspan(output_at, own_output)});
    }
  }

  Pattern PatternOf(std::size_t slot) const {
    return {collective_, ranks_.Size(), seed_, first_iteration_ + slot};
  }

  // Writes a slot's input anew, as a user of the collective would have done.
  void Refresh(std::size_t i) {
    const std::span<std::byte> input = slots_[i].input;
    if (!is_on_device_) return PatternOf(i).Fill(ranks_.Rank(), 0, input);
    const auto element = static_cast<std::size_t>(ElementBytes(collective_.dtype));
    staging_.resize(std::min(input.size(), kStaging));
    for (std::size_t done = 0; done < input.size(); done += staging_.size()) {
      const std::span<std::byte> part(staging_.data(),
                                      std::min(staging_.size(), input.size() - done));
      PatternOf(i).Fill(ranks_.Rank(), static_cast<std::int64_t>(done / element), part);
      exchange_->Write(part, input.data() + done);
    }
  }

  // Runs as many operations as there are `times`, on the first slots, and gives this rank's own
  // time of each.
  void RunSegment(std::span<double> times) {
    if (beside_ != nullptr) {
      for (std::size_t i = 0; i < times.size(); ++i) {
        times[i] = exchange_->RunBeside(&slots_[i], *beside_);
      }
      return;
    }
    if (is_on_device_) {
      return exchange_->RunTimed(std::span(slots_).first(times.size()), aligns_each_, times);
    }
    Seconds before = {};
    if (!aligns_each_) before = AlignAndCount();
    for (std::size_t i = 0; i < times.size(); ++i) {
      if (aligns_each_) before = AlignAndCount();
      if (companion_ != nullptr) companion_->Begin();
      exchange_->Run(slots_[i].input.data(), slots_[i].output.data());
      const Seconds now = clock_();
      // The companion ends here, before anything untimed takes its core or its memory away.
      if (companion_ != nullptr) companion_->End();
      times[i] = (now - before).count();
      before = now;
      if (rewrites_) ReadOutput(slots_[i]);
    }
  }

  // Waits until all ranks are there and returns the time then. It keeps how long this rank waited,
  // since the last to come waits least.
  Seconds AlignAndCount() {
    const Seconds here = clock_();
    exchange_->Align();
    const Seconds all_here = clock_();
    waits_s_ += (all_here - here).count();
    return all_here;
  }

  // Reads each cache line of the output once, which brings it to this core as a user of it would.
  static void ReadOutput(const Slot& slot) {
    const volatile std::byte* output = slot.output.data();
    for (std::size_t i = 0; i < slot.output.size(); i += kCacheLine) (void)output[i];
  }

  // Compares a slot's whole output with what the pattern says, and adds to `checked`.
  void CheckSlot(std::size_t i, Checked& checked) const {
    const Pattern pattern = PatternOf(i);
    const auto element = static_cast<std::size_t>(ElementBytes(collective_.dtype));
    const double tolerance = ToleranceOf(collective_, ranks_.Size());
    const std::int64_t at_once = is_on_device_ ? std::int64_t{kStaging} / 8 : 1024;
    std::vector<std::byte> expected(static_cast<std::size_t>(at_once) * element);
    std::vector<std::byte> read_back;
    for (const Layout::Piece& piece : pieces_) {
      for (std::int64_t done = 0; done < piece.count;) {
        const std::int64_t count = std::min(at_once, piece.count - done);
        const std::span<std::byte> part(expected.data(), static_cast<std::size_t>(count) * element);
        if (piece.rank == Layout::kEveryRank) {
          pattern.FillReduced(piece.from + done, part);
        } else {
          pattern.Fill(piece.rank, piece.from + done, part);
        }
        const std::int64_t at = piece.to + done;
        std::span<std::byte> got =
            slots_[i].output.subspan(static_cast<std::size_t>(at) * element, part.size());
        if (is_on_device_) {
          read_back.resize(got.size());
          exchange_->Read(got.data(), read_back);
          got = read_back;
        }
        const Mismatch mismatch = Compare(collective_.dtype, got, part, tolerance);
        checked.checked += count;
        checked.max_error = std::max(checked.max_error, mismatch.max_error);
        if (mismatch.wrong > 0 && checked.wrong == 0) {
          checked.what = fmt::format(
              "rank {}, element {}{}: {}", NameOf(ranks_.Rank()), at + mismatch.first,
              piece.rank == Layout::kEveryRank ? ""
                                               : fmt::format(" (from rank {})", NameOf(piece.rank)),
              mismatch.what);
        }
        checked.wrong += mismatch.wrong;
        done += count;
      }
    }
  }

  // Checks a barrier, which has no output: in one more barrier a rank comes so late that all others
  // must notice.
  void CheckBarrier(Checked& checked) const {
    constexpr auto kLate = std::chrono::milliseconds(50);
    constexpr auto kNoticed = std::chrono::milliseconds(5);
    const int late =
        static_cast<int>(RandomAt(seed_, iteration_) % static_cast<std::uint64_t>(ranks_.Size()));
    exchange_->Align();
    const auto begin = std::chrono::steady_clock::now();
    if (ranks_.Rank() == late) std::this_thread::sleep_for(kLate);
    exchange_->Run(nullptr, nullptr);
    ++checked.checked;
    if (std::chrono::steady_clock::now() - begin >= kNoticed) return;
    ++checked.wrong;
    checked.what = fmt::format("rank {} passed the barrier that rank {} had not reached",
                               NameOf(ranks_.Rank()), NameOf(late));
  }

  // The number that a rank has among all ranks, whatever group it is in.
  int NameOf(int rank) const { return members_[static_cast<std::size_t>(rank)]; }

  Collective collective_;
  Layout layout_;
  Ranks& ranks_;
  std::vector<int> members_;
  std::unique_ptr<Exchange> exchange_;
  bool is_on_device_;
  std::uint64_t seed_;
  Clock clock_;
  bool rewrites_;
  bool aligns_each_;
  std::vector<Layout::Piece> pieces_;
  Pages own_memory_ = {};
  std::vector<Slot> slots_ = {};
  std::uint64_t iteration_ = 0;        // the number of the last operation, counted from 1
  std::uint64_t first_iteration_ = 0;  // the number of the operation that last used slot 0
  std::uint64_t batches_ = 0;
  double waits_s_ = 0;
  std::vector<std::byte> staging_ = {};
  Companion* companion_ = nullptr;
  Beside* beside_ = nullptr;
  Checked checked_ = {};  // checks of operations within batches that Verify has not returned yet
  LatencyHistogram latency_ = {};
  Stragglers stragglers_ = {};
};

}  // namespace

Seconds SteadyNow() { return std::chrono::steady_clock::now().time_since_epoch(); }

Prepared PrepareTimedCollective(const Collective& collective, Ranks& ranks,
                                std::unique_ptr<Exchange> exchange, std::uint64_t seed,
                                const TimedOptions& options) {
  const bool is_on_host = exchange != nullptr && !exchange->Device();
  if (collective.mode == "graph" && is_on_host) {
    return Skipped{.reason = "operations in host memory can't be launched as a graph",
                   .remedy = "--set mode=throughput (coll: without -G)"};
  }
  if (collective.mode == "blocking" && is_on_host) {
    return Skipped{.reason = "the call of an operation in host memory returns when it is done",
                   .remedy = Asking("mode", "throughput") + ", which is the same"};
  }
  if (collective.aggregate > 1 && is_on_host) {
    return Skipped{.reason = "operations in host memory have no groups",
                   .remedy = "--backend nccl, or one operation at a time"};
  }
  if (collective.mode != "latency" && collective.cache == "rewritten") {
    return Skipped{
        .reason = "operations back to back leave no time to rewrite their inputs in between",
        .remedy = Asking("cache", "rotated")};
  }
  return std::make_unique<TimedCollective>(collective, ranks, std::move(exchange), seed, options);
}

}  // namespace assay
