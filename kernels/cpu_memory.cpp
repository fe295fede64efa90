#include "kernels/cpu_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>

#include "kernels/cpu_streams.h"
#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/core/memory.h"
#include "runner/core/random.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

enum class Pattern { kRead, kWrite, kCopy, kTriad };

Pattern PatternFrom(const std::string& text) {
  if (text == "read") return Pattern::kRead;
  if (text == "write") return Pattern::kWrite;
  if (text == "copy") return Pattern::kCopy;
  if (text == "triad") return Pattern::kTriad;
  throw Error(fmt::format("pattern is '{}'; give read, write, copy or triad", text));
}

int ArraysOf(Pattern pattern) {
  return pattern == Pattern::kTriad ? 3 : pattern == Pattern::kCopy ? 2 : 1;
}

// The bytes by which arrays lie further apart than their size, since arrays whose distance is a
// power of two would fall on the same cache sets and memory banks.
constexpr std::size_t kStagger = 4096 + 256;

// The workload of one of the four streams, over arrays that it owns. The output differs from one
// iteration to the next, so that a check sees which iteration it is from.
class MemoryWorkload : public Workload {
 public:
  MemoryWorkload(const Memory& op, int threads, const std::vector<int>& cores, std::uint64_t seed)
      : pattern_(PatternFrom(op.pattern)),
        in_cache_(WorkingSetBytes(op) <= LastLevelCacheBytes()),
        words_(static_cast<std::size_t>(op.bytes) / sizeof(std::uint64_t)),
        seed_(seed),
        team_(threads, cores),
        pages_(static_cast<std::size_t>(ArraysOf(pattern_)) *
               (static_cast<std::size_t>(op.bytes) + kStagger)),
        sums_(static_cast<std::size_t>(team_.Size())) {
    // Each thread touches its own part first, which places it in memory near that thread.
    team_.Run([this](int thread) {
      const Part part = PartOf(thread);
      Fill(part);
      Spoil(part);
    });
    huge_page_percent_ = pages_.HugePagePercent();
  }

  Batch Run(std::int64_t iterations) override {
    const std::int64_t before = done_;
    const Seconds time = team_.Run([&](int thread) {
      const Part part = PartOf(thread);
      std::uint64_t sum = 0;
      for (std::int64_t i = before; i < before + iterations; ++i) sum += Stream(part, i);
      sums_[static_cast<std::size_t>(thread)].sum = sum;
    });
    iterations_ = iterations;
    done_ += iterations;
    return {.time = time};
  }

  Checked Verify() override {
    std::atomic<std::int64_t> wrong = 0;
    std::atomic<std::size_t> first = words_;
    team_.Run([&](int thread) {
      const Part part = PartOf(thread);
      const auto flag = [&](std::size_t i) {
        ++wrong;
        for (std::size_t seen = first; i < seen && !first.compare_exchange_weak(seen, i);) {
        }
      };
      if (pattern_ == Pattern::kRead) {
        std::uint64_t sum = 0;
        for (std::size_t i = part.begin; i < part.end; ++i) sum += Random(0, i);
        sum *= static_cast<std::uint64_t>(iterations_);
        if (sums_[static_cast<std::size_t>(thread)].sum != sum) flag(part.begin);
        return;
      }
      for (std::size_t i = part.begin; i < part.end; ++i) {
        std::uint64_t word = 0;
        std::memcpy(&word, Words(0) + i, sizeof(word));
        if (word != Expected(i)) flag(i);
      }
      Spoil(part);  // lets the next Verify see only what the next Run wrote
    });
    Checked checked = {
        .checked = static_cast<std::int64_t>(words_), .wrong = wrong, .reference = "exact"};
    if (wrong > 0) {
      checked.what = pattern_ == Pattern::kRead
                         ? fmt::format("the sum of the words from {} on", first.load())
                         : fmt::format("word {} of the output", first.load());
    }
    return checked;
  }

  Facts Describe() const override {
    Facts facts = {{"instruction", loops_.instruction},
                   {"threads", std::int64_t{team_.Size()}},
                   {"pinned", team_.Pinned()},
                   {"arrays", std::int64_t{ArraysOf(pattern_)}},
                   {"in_cache", in_cache_},
                   {"last_level_cache_bytes", LastLevelCacheBytes()}};
    if (huge_page_percent_) facts["huge_pages_percent"] = *huge_page_percent_;
    return facts;
  }

 private:
  struct Part {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  // The sum of one thread, on cache lines that no other thread writes to.
  struct alignas(128) Sum {
    std::uint64_t sum = 0;
  };

  // The thread's part of the arrays: whole cache lines, shared out as equally as possible.
  Part PartOf(int thread) const {
    const std::size_t lines = words_ / kStreamLineWords;
    const auto size = static_cast<std::size_t>(team_.Size());
    const auto index = static_cast<std::size_t>(thread);
    return {.begin = lines * index / size * kStreamLineWords,
            .end = lines * (index + 1) / size * kStreamLineWords};
  }

  // Array 0 is the one that is written, or the one that is read where nothing is written; 1 and 2
  // are sources.
  std::byte* Array(std::size_t index) const {
    return pages_.Begin() + index * (words_ * sizeof(std::uint64_t) + kStagger);
  }
  std::uint64_t* Words(std::size_t index) const {
    return reinterpret_cast<std::uint64_t*>(Array(index));
  }
  double* Numbers(std::size_t index) const { return reinterpret_cast<double*>(Array(index)); }

  std::uint64_t Random(std::uint64_t array, std::size_t i) const {
    return RandomAt(seed_ + array, i);
  }
  // The element of a source of the triad. It is an integer of 32 bits, so that b + scale * c is
  // exact whether the processor rounds once (a fused multiply-add) or twice.
  double Number(std::uint64_t array, std::size_t i) const {
    return static_cast<double>(Random(array, i) >> 32U);
  }
  // Scale and Value differ from one iteration to the next, so that the output tells which one it is
  // from.
  double Scale(std::int64_t iteration) const { return static_cast<double>(iteration % 8 + 1); }
  std::uint64_t Value(std::int64_t iteration) const {
    return RandomAt(seed_ + 3, static_cast<std::uint64_t>(iteration));
  }

  // Fills a thread's part of the source arrays.
  void Fill(const Part& part) const {
    for (std::size_t i = part.begin; i < part.end; ++i) {
      switch (pattern_) {
        case Pattern::kRead:
          Words(0)[i] = Random(0, i);
          break;
        case Pattern::kWrite:
          break;
        case Pattern::kCopy:
          Words(1)[i] = Random(1, i);
          break;
        case Pattern::kTriad:
          Numbers(1)[i] = Number(1, i);
          Numbers(2)[i] = Number(2, i);
          break;
      }
    }
  }

  // Overwrites a thread's part of the output, so that the next check sees only what was written
  // since.
  void Spoil(const Part& part) const {
    if (pattern_ == Pattern::kRead) return;
    std::fill(Words(0) + part.begin, Words(0) + part.end, ~std::uint64_t{0});
  }

  // Does one iteration over one part. Returns the sum of the words that it read, or 0.
  std::uint64_t Stream(const Part& part, std::int64_t iteration) const {
    const std::size_t words = part.end - part.begin;
    switch (pattern_) {
      case Pattern::kRead:
        return loops_.read(Words(0) + part.begin, words);
      case Pattern::kWrite:
        loops_.write(Words(0) + part.begin, Value(iteration), words);
        return 0;
      case Pattern::kCopy:
        loops_.copy(Words(0) + part.begin, Words(1) + part.begin, words);
        return 0;
      case Pattern::kTriad:
        loops_.triad(Numbers(0) + part.begin, Numbers(1) + part.begin, Numbers(2) + part.begin,
                     Scale(iteration), words);
        return 0;
    }
    return 0;
  }

  // The word that the output must hold at `i` after the last iteration.
  std::uint64_t Expected(std::size_t i) const {
    switch (pattern_) {
      case Pattern::kRead:
        break;
      case Pattern::kWrite:
        return Value(done_ - 1);
      case Pattern::kCopy:
        return Random(1, i);
      case Pattern::kTriad:
        return std::bit_cast<std::uint64_t>(Number(1, i) + Scale(done_ - 1) * Number(2, i));
    }
    return 0;
  }

  Pattern pattern_;
  bool in_cache_;  // all arrays together, in those of the last level
  std::size_t words_;
  std::uint64_t seed_;
  Team team_;
  Pages pages_;
  StreamLoops loops_ = AllStreamLoops().front();
  std::vector<Sum> sums_;
  std::int64_t iterations_ = 0;  // those of the last Run
  std::int64_t done_ = 0;        // the iterations of all Runs
  std::optional<std::int64_t> huge_page_percent_ = {};
};

}  // namespace

Prepared PrepareMemory(const Memory& op, int threads, const std::vector<int>& cores,
                       std::uint64_t seed) {
  const int arrays = ArraysOf(PatternFrom(op.pattern));
  const std::optional<std::int64_t> available = AvailableMemory();
  if (available && op.bytes > *available / 2 / arrays) {
    return Skipped{
        .reason = fmt::format("{} of {} bytes {} over half of the memory that can be had, {}",
                              CountText(arrays, "array"), op.bytes, arrays == 1 ? "is" : "are",
                              *available),
        .remedy = "give smaller bytes, or 0 to have them chosen"};
  }
  return std::make_unique<MemoryWorkload>(op, threads, cores, seed);
}

}  // namespace assay
