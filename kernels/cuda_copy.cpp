#include "kernels/cuda_copy.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "kernels/cuda_device.h"
#include "kernels/cuda_kernels.h"
#include "runner/core/random.h"
#include "runner/core/threads.h"

namespace assay::cuda {
namespace {

constexpr int kHost = -1;

// The two ends of a copy: numbers of devices, or kHost.
struct Ends {
  int from = kHost;
  int to = kHost;
  // The device whose engine copies.
  int Device() const { return from == kHost ? to : from; }
};

// Whether GPU `from` can write to GPU `to` directly, without a stop in the host's memory.
bool ReachesDirectly(int from, int to) {
  for (const auto& [self, peer] : {Ends{from, to}, Ends{to, from}}) {
    int can = 0;
    Check(cudaDeviceCanAccessPeer(&can, self, peer));
    if (can == 0) return false;
    Check(cudaSetDevice(self));
    const cudaError_t error = cudaDeviceEnablePeerAccess(peer, 0);
    if (error == cudaErrorPeerAccessAlreadyEnabled) {
      cudaGetLastError();  // clears the error, which would else be taken for a later call's
    } else {
      Check(error);
    }
  }
  return true;
}

// One copy from one end to the other, on a stream of the device whose engine copies.
class Lane {
 public:
  Lane(const Ends& ends, std::size_t bytes, std::uint64_t seed)
      : ends_(ends), bytes_(bytes), seed_(seed) {
    const Gpu gpu = Gpu::At(ends.Device());
    if (ends.from == kHost || ends.to == kHost) cpus_ = CpusNear(gpu.bus_id);
    Check(cudaSetDevice(ends.Device()));
    stream_ = MakeStream();
    done_ = MakeEvent();
    if (ends.from == kHost) {
      host_ = MakeNearMemory();
      from_ = host_.get();
      OnAllCores(static_cast<std::int64_t>(Words()), [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          static_cast<std::uint64_t*>(from_)[i] = WordAt(seed_, i);
        }
      });
    } else {
      source_ = MakeDeviceMemory(bytes);
      from_ = source_.get();
      LaunchFillWords(static_cast<cuda::Words*>(from_), bytes / sizeof(cuda::Words), seed,
                      BlocksOn(gpu.processors), stream_.get());
      Check(cudaGetLastError());
    }
    if (ends.to == kHost) {
      host_ = MakeNearMemory();
      to_ = host_.get();
    } else {
      Check(cudaSetDevice(ends.to));
      destination_ = MakeDeviceMemory(bytes);
      to_ = destination_.get();
      reading_ = MakeStream();
    }
    Wait(stream_.get(), "filling memory to copy");
    Spoil();
  }

  cudaStream_t Stream() const { return stream_.get(); }
  cudaEvent_t Done() const { return done_.get(); }
  const std::vector<int>& HostCpus() const { return cpus_; }

  // Puts one copy on the stream.
  void Enqueue(cudaStream_t stream) const {
    if (ends_.from == kHost) {
      Check(cudaMemcpyAsync(to_, from_, bytes_, cudaMemcpyHostToDevice, stream));
    } else if (ends_.to == kHost) {
      Check(cudaMemcpyAsync(to_, from_, bytes_, cudaMemcpyDeviceToHost, stream));
    } else {
      Check(cudaMemcpyPeerAsync(to_, ends_.to, from_, ends_.from, bytes_, stream));
    }
  }

  // Checks at most `most_bytes` bytes of what arrived.
  Checked Verify(std::size_t most_bytes) {
    const auto read = [&](std::size_t first, std::span<std::uint64_t> words) {
      const auto* begin = static_cast<const std::uint64_t*>(to_) + first;
      if (ends_.to == kHost) {
        std::memcpy(words.data(), begin, words.size_bytes());
        return;
      }
      Check(cudaSetDevice(ends_.to));
      Check(cudaMemcpyAsync(words.data(), begin, words.size_bytes(), cudaMemcpyDeviceToHost,
                            reading_.get()));
      Wait(reading_.get(), "reading a copy back");
    };
    Checked checked = CheckWords(Words(), most_bytes, read,
                                 [seed = seed_](std::size_t i) { return WordAt(seed, i); });
    Spoil();
    return checked;
  }

 private:
  std::size_t Words() const { return bytes_ / sizeof(std::uint64_t); }

  // Allocates page-locked memory on the NUMA node that is nearest to the device.
  MappedMemory MakeNearMemory() const {
    const Pinned near(cpus_);
    return MakeMappedMemory(bytes_);
  }

  // Overwrites the destination, so that the next Verify sees only what was copied since.
  void Spoil() {
    if (ends_.to == kHost) {
      std::memset(to_, 0xff, bytes_);
      return;
    }
    Check(cudaSetDevice(ends_.to));
    Check(cudaMemsetAsync(to_, 0xff, bytes_, reading_.get()));
    Wait(reading_.get(), "preparing memory for a copy");
  }

  Ends ends_;
  std::size_t bytes_;
  std::uint64_t seed_;
  std::vector<int> cpus_ = {};  // those near the device, where an end is the host
  cuda::Stream stream_ = {};
  Event done_ = {};
  cuda::Stream reading_ = {};  // a stream of the destination's device, for reading back
  MappedMemory host_ = {};
  DeviceMemory source_ = {};
  DeviceMemory destination_ = {};
  void* from_ = nullptr;
  void* to_ = nullptr;
};

// The limits of the timer for that many copies at once.
Timer::Limits LimitsOf(std::size_t copies, bool direct) {
  // A copy by way of the host goes without a gate, since it may wait for what is before it on its
  // stream, which the gate would be.
  if (!direct) return {.graph_below = Seconds(0), .lead = 0};
  if (copies == 1) return {};
  // Several copies go without a graph, since other devices' streams can't be part of this one's,
  // and with a smaller lead, since each takes a place in this stream's queue, which has about 1024.
  const auto places = static_cast<std::int64_t>(copies) + 1;
  return {.graph_below = Seconds(0), .lead = std::clamp<std::int64_t>(256 / places, 1, 64)};
}

// Copies one after the other, or several at once that begin together, in which case the last one
// ends the iteration.
class CopyWorkload : public TimedWorkload {
 public:
  // REQUIRES: the current device is the one that copies between the first pair of ends.
  CopyWorkload(const Copy& op, const std::vector<Ends>& ends, bool direct, std::uint64_t seed)
      : TimedWorkload(LimitsOf(ends.size(), direct)),
        op_(op),
        gpu_(Gpu::At(ends[0].Device())),
        direct_(direct),
        begun_(MakeEvent()) {
    for (const Ends& of_lane : ends) {
      lanes_.emplace_back(of_lane, static_cast<std::size_t>(op.bytes),
                          RandomAt(seed, lanes_.size()));
    }
  }

  Batch Run(std::int64_t iterations) override {
    Check(cudaSetDevice(gpu_.index));
    return TimedWorkload::Run(iterations);
  }

  Checked Verify() override {
    // The most bytes that are checked of all copies together.
    constexpr std::size_t kMost = std::size_t{256} << 20;
    Checked checked;
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      const Checked own = lanes_[i].Verify(kMost / lanes_.size());
      checked.checked += own.checked;
      checked.wrong += own.wrong;
      checked.reference = own.reference;
      if (own.what && !checked.what) checked.what = fmt::format("copy {}: {}", i, *own.what);
    }
    return checked;
  }

  Facts Describe() const override {
    Facts facts = gpu_.Describe();
    facts["timing"] = timer_->Method();
    facts["copies_at_once"] = static_cast<std::int64_t>(lanes_.size());
    if (op_.route == "peer" || op_.route == "all") {
      facts["path"] = std::string(direct_ ? "peer to peer" : "through the host's memory");
    } else {
      facts["host_memory"] = std::string("page-locked");
      facts["host_cpus"] = static_cast<std::int64_t>(lanes_[0].HostCpus().size());
    }
    return facts;
  }

 private:
  void Enqueue(std::int64_t) override {
    const cudaStream_t main = timer_->Stream();
    if (lanes_.size() == 1) {
      lanes_[0].Enqueue(main);
      return;
    }
    // Every lane waits for the main stream, and the main stream for every lane, so that the timer's
    // events on it enclose all copies.
    Check(cudaEventRecord(begun_.get(), main));
    for (const Lane& lane : lanes_) {
      Check(cudaStreamWaitEvent(lane.Stream(), begun_.get(), 0));
      lane.Enqueue(lane.Stream());
      Check(cudaEventRecord(lane.Done(), lane.Stream()));
      Check(cudaStreamWaitEvent(main, lane.Done(), 0));
    }
  }

  Copy op_;
  Gpu gpu_;
  bool direct_;
  std::vector<Lane> lanes_ = {};
  Event begun_;
};

// The ends of all copies that an op asks for.
std::vector<Ends> EndsOf(const Copy& op, int device, int devices) {
  std::vector<Ends> ends;
  if (op.route == "h2d" || op.route == "both") ends.push_back({.from = kHost, .to = device});
  if (op.route == "d2h" || op.route == "both") ends.push_back({.from = device, .to = kHost});
  if (op.route == "peer") ends.push_back({.from = op.from, .to = op.to});
  for (int from = 0; from < devices && op.route == "all"; ++from) {
    for (int to = 0; to < devices; ++to) {
      if (to != from) ends.push_back({.from = from, .to = to});
    }
  }
  return ends;
}

}  // namespace

Prepared PrepareCopy(const Copy& op, int device, std::uint64_t seed) {
  int devices = 0;
  Check(cudaGetDeviceCount(&devices));
  const bool peers = op.route == "peer" || op.route == "all";
  if (peers && devices < 2) {
    return Skipped{.reason = "a copy from GPU to GPU takes two, and CUDA sees one",
                   .remedy = "a machine with several GPUs; CUDA_VISIBLE_DEVICES may hide some"};
  }
  if (op.route == "peer" && (std::max(op.from, op.to) >= devices || op.from == op.to)) {
    return Skipped{
        .reason = fmt::format("there is no copy from GPU {} to GPU {} here", op.from, op.to),
        .remedy = fmt::format("give two different ones of 0 to {}", devices - 1)};
  }
  const std::vector<Ends> ends = EndsOf(op, device, devices);
  std::map<int, std::int64_t> bytes_on;  // by device, or the host
  bool direct = true;
  for (const Ends& of_lane : ends) {
    bytes_on[of_lane.from] += op.bytes;
    bytes_on[of_lane.to] += op.bytes;
    if (peers) direct = ReachesDirectly(of_lane.from, of_lane.to) && direct;
  }
  for (const auto& [where, bytes] : bytes_on) {
    if (where == kHost) {
      const std::optional<std::int64_t> available = AvailableMemory();
      if (!available || bytes <= *available / 2) continue;
      return Skipped{.reason = fmt::format(
                         "needs {:.1f} GiB of the host's memory, more than half of the {:.1f} "
                         "that can be had",
                         Gib(bytes), Gib(*available)),
                     .remedy = "choose smaller bytes"};
    }
    Check(cudaSetDevice(where));
    if (auto no = TooLargeForGpu(bytes)) return *no;
  }
  Check(cudaSetDevice(ends[0].Device()));
  return std::make_unique<CopyWorkload>(op, ends, direct, seed);
}

}  // namespace assay::cuda
