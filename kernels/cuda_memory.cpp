#include "kernels/cuda_memory.h"

#include <atomic>
#include <bit>
#include <vector>

#include "kernels/cuda_kernels.h"
#include "runner/core/random.h"

namespace assay::cuda {
namespace {

// The period of what is written, which differs from one iteration to the next and so tells which
// iteration it is from.
constexpr std::int64_t kPeriod = 8;
// The most of an output that is read back for the check.
constexpr std::size_t kReadBack = std::size_t{256} << 20;

// The stagger between arrays: those whose distance is a power of two would fall on the same cache
// sets and memory channels.
constexpr std::size_t kStagger = 4096 + 256;

// One of the four streams over arrays in device memory.
class MemoryWorkload : public TimedWorkload {
 public:
  MemoryWorkload(const Memory& op, const Gpu& gpu, std::uint64_t seed)
      : pattern_(op.pattern),
        bytes_(static_cast<std::size_t>(op.bytes)),
        passes_(static_cast<unsigned>(op.passes)),
        in_cache_(WorkingSetBytes(op) <= gpu.cache_bytes),
        gpu_(gpu),
        seed_(seed),
        blocks_(BlocksOn(gpu.processors)),
        arrays_(MakeDeviceMemory(ArraysOf(pattern_) * (bytes_ + kStagger))),
        sums_(MakeDeviceMemory(blocks_ * sizeof(std::uint64_t))) {
    if (pattern_ == "read") LaunchFillWords(Array<Words>(0), Count(), seed_, blocks_, Stream());
    if (pattern_ == "copy") LaunchFillWords(Array<Words>(1), Count(), seed_, blocks_, Stream());
    if (pattern_ == "triad") {
      LaunchFillNumbers(Array<Numbers>(1), Count(), seed_, blocks_, Stream());
      LaunchFillNumbers(Array<Numbers>(2), Count(), seed_ + 1, blocks_, Stream());
    }
    Check(cudaGetLastError());
    Spoil();
    timer_->Wait("filling arrays");
  }

  static std::size_t ArraysOf(const std::string& pattern) {
    return pattern == "triad" ? 3 : pattern == "copy" ? 2 : 1;
  }

  Batch Run(std::int64_t iterations) override {
    Check(cudaMemsetAsync(sums_.get(), 0, blocks_ * sizeof(std::uint64_t), Stream()));
    timer_->CountAnew();
    return TimedWorkload::Run(iterations);
  }

  Checked Verify() override { return pattern_ == "read" ? VerifySum() : VerifyOutput(); }

  Facts Describe() const override {
    Facts facts = gpu_.Describe();
    facts["timing"] = timer_->Method();
    facts["arrays"] = static_cast<std::int64_t>(ArraysOf(pattern_));
    facts["passes"] = std::int64_t{passes_};
    facts["in_cache"] = in_cache_;
    facts["blocks"] = std::int64_t{blocks_};
    facts["threads_per_block"] = std::int64_t{kThreads};
    return facts;
  }

 private:
  cudaStream_t Stream() const { return timer_->Stream(); }
  // Array 0 is the one that is written, or the one that is read where nothing is written; 1 and 2
  // are sources.
  template <class T>
  T* Array(std::size_t index) const {
    std::byte* begin = static_cast<std::byte*>(arrays_.get()) + index * (bytes_ + kStagger);
    return reinterpret_cast<T*>(begin);
  }
  std::size_t Count() const { return bytes_ / sizeof(Words); }

  double ScaleOf(std::int64_t i) const { return static_cast<double>(i + 1); }
  std::uint64_t ValueOf(std::int64_t i) const {
    return RandomAt(seed_ + 2, static_cast<std::uint64_t>(i));
  }

  std::int64_t Period() const override { return kPeriod; }
  void Enqueue(std::int64_t i) override {
    if (pattern_ == "read") {
      LaunchRead(Array<Words>(0), Count(), passes_, static_cast<std::uint64_t*>(sums_.get()),
                 blocks_, Stream());
    } else if (pattern_ == "write") {
      LaunchWrite(Array<Words>(0), Count(), passes_, ValueOf(i), blocks_, Stream());
    } else if (pattern_ == "copy") {
      LaunchCopy(Array<Words>(0), Array<Words>(1), Count(), passes_, blocks_, Stream());
    } else {
      LaunchTriad(Array<Numbers>(0), Array<Numbers>(1), Array<Numbers>(2), Count(), passes_,
                  ScaleOf(i), blocks_, Stream());
    }
    Check(cudaGetLastError());
  }

  // Overwrites the output, so that the next Verify sees what the next Run wrote, and nothing older.
  void Spoil() {
    if (pattern_ == "read") return;
    Check(cudaMemsetAsync(Array<std::byte>(0), 0xff, bytes_, Stream()));
  }

  // The value that word `i` of the output must have after the last iteration.
  std::uint64_t Expected(std::size_t i) const {
    if (pattern_ == "write") return ValueIn(ValueOf(timer_->Last()), passes_ - 1);
    if (pattern_ == "copy") return WordAt(seed_, i);
    return std::bit_cast<std::uint64_t>(NumberAt(seed_, i) +
                                        ScaleIn(ScaleOf(timer_->Last()), passes_ - 1) *
                                            NumberAt(seed_ + 1, i));
  }

  // Checks the read stream by its sum over all words, passes and calls.
  Checked VerifySum() {
    std::vector<std::uint64_t> sums(blocks_);
    Check(cudaMemcpyAsync(sums.data(), sums_.get(), blocks_ * sizeof(std::uint64_t),
                          cudaMemcpyDeviceToHost, Stream()));
    timer_->Wait("reading sums back");
    std::uint64_t sum = 0;
    for (const std::uint64_t of_block : sums) sum += of_block;
    std::atomic<std::uint64_t> right = 0;
    const auto words = static_cast<std::int64_t>(bytes_ / sizeof(std::uint64_t));
    OnAllCores(words, [&](std::int64_t begin, std::int64_t end) {
      std::uint64_t own = 0;
      for (std::int64_t i = begin; i < end; ++i) own += WordAt(seed_, static_cast<std::size_t>(i));
      right += own;
    });
    const std::uint64_t expected = right * passes_ * static_cast<std::uint64_t>(timer_->Calls());
    Checked checked = {.checked = words, .reference = "exact sum of all words"};
    if (sum == expected) return checked;
    checked.wrong = 1;
    checked.what =
        fmt::format("the sum of all that was read is {:#x}, but should be {:#x}", sum, expected);
    return checked;
  }

  // Checks what the last call of a writing stream left, word by word, and overwrites it.
  Checked VerifyOutput() {
    const auto read = [&](std::size_t first, std::span<std::uint64_t> words) {
      Check(cudaMemcpyAsync(words.data(), Array<std::uint64_t>(0) + first, words.size_bytes(),
                            cudaMemcpyDeviceToHost, Stream()));
      timer_->Wait("reading the output back");
    };
    Checked checked = CheckWords(bytes_ / sizeof(std::uint64_t), kReadBack, read,
                                 [this](std::size_t i) { return Expected(i); });
    Spoil();
    return checked;
  }

  std::string pattern_;
  std::size_t bytes_;
  unsigned passes_;
  bool in_cache_;  // whether all arrays together fit in L2
  Gpu gpu_;
  std::uint64_t seed_;
  unsigned blocks_;
  DeviceMemory arrays_;
  DeviceMemory sums_;
};

}  // namespace

Prepared PrepareMemory(const Memory& op, const Gpu& gpu, std::uint64_t seed) {
  const auto arrays = static_cast<std::int64_t>(MemoryWorkload::ArraysOf(op.pattern));
  if (auto no = TooLargeForGpu(arrays * op.bytes)) return *no;
  return std::make_unique<MemoryWorkload>(op, gpu, seed);
}

}  // namespace assay::cuda
