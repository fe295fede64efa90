// The nccl module: collectives between NVIDIA GPUs, one GPU for each rank. Sole includer of
// <nccl.h>. Communicators are non-blocking, so that every wait can look at the clock and at NCCL's
// own asynchronous errors; a collective that hangs is aborted and ends in a sentence. Where one
// thread launches for several GPUs (Ranks::Together), one of their ranks makes the calls for all,
// as one group.
#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/asking.h"
#include "collectives/library.h"
#include "collectives/nccl_clique.h"
#include "collectives/nccl_debug_file.h"
#include "collectives/nccl_device.h"
#include "collectives/nccl_log.h"
#include "collectives/timed_collective.h"
#include "collectives/used_transport.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/base/hash.h"
#include "runner/core/cuda.h"
#include "runner/core/group.h"
#include "runner/core/module.h"
#include "version.h"

namespace assay {
namespace {

using cuda::Capture, cuda::Check, cuda::Event, cuda::GraphExec, cuda::MakeEvent;
using cuda::MakeStream, cuda::NoDevice, cuda::Stream;
using SteadyClock = std::chrono::steady_clock;

// The time that a rank waits for the others, which is the watchdog's.
Seconds Timeout() {
  const char* watchdog_s = std::getenv("ASSAY_WATCHDOG");
  return Seconds(watchdog_s == nullptr ? 60 : std::atof(watchdog_s));
}
// The factor by which making a communicator may take longer, since it may have thousands of ranks.
constexpr int kInitFactor = 5;
// The number of operations that are put on the stream at once where each is timed alone, by two
// events.
constexpr std::size_t kEventsAtOnce = 64;
// The number of launches of the work beside an operation that are queued before either begins:
// enough of a lead, and far below the about 1024 launches at which the driver's queue is full.
constexpr std::int64_t kLead = 64;

using NcclMemory = Handle<void, ncclMemFree>;

// The grain of windows, which NCCL has since 2.27, and a name for their grain since 2.28.
#ifdef NCCL_WIN_REQUIRED_ALIGNMENT
constexpr std::size_t kWindowGrain = NCCL_WIN_REQUIRED_ALIGNMENT;
#else
constexpr std::size_t kWindowGrain = 4096;
#endif
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
constexpr bool kHasWindows = true;
#else
constexpr bool kHasWindows = false;
using ncclWindow_t = void*;
constexpr int NCCL_WIN_COLL_SYMMETRIC = 1;
ncclResult_t ncclCommWindowRegister(ncclComm_t, void*, std::size_t, ncclWindow_t*, int) {
  return ncclInvalidUsage;
}
ncclResult_t ncclCommWindowDeregister(ncclComm_t, ncclWindow_t) { return ncclInvalidUsage; }
#endif

std::string Version() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "NCCL";
  return fmt::format("NCCL {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::optional<ncclDataType_t> TypeOf(const std::string& dtype) {
  const DtypeFacts* facts = FindDtype(dtype);
  if (facts == nullptr) return std::nullopt;
  switch (facts->dtype) {
    case Dtype::kInt8:
      return ncclInt8;
    case Dtype::kU8:
      return ncclUint8;
    case Dtype::kI32:
      return ncclInt32;
    case Dtype::kU32:
      return ncclUint32;
    case Dtype::kI64:
      return ncclInt64;
    case Dtype::kU64:
      return ncclUint64;
    case Dtype::kF16:
      return ncclFloat16;
    case Dtype::kBf16:
      return ncclBfloat16;
    case Dtype::kF32:
      return ncclFloat32;
    case Dtype::kF64:
      return ncclFloat64;
    case Dtype::kFp8E4m3:
    case Dtype::kFp8E5m2:
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 24, 0)
      return facts->dtype == Dtype::kFp8E4m3 ? ncclFloat8e4m3 : ncclFloat8e5m2;
#else
      return std::nullopt;
#endif
    case Dtype::kFp8E5m2E4m3:
    case Dtype::kTf32:
    case Dtype::kMxfp8:
    case Dtype::kNvfp4:
      return std::nullopt;
  }
  return std::nullopt;
}

ncclRedOp_t ReductionOf(const std::string& redop) {
  if (redop == "prod") return ncclProd;
  if (redop == "min") return ncclMin;
  if (redop == "max") return ncclMax;
  return redop == "avg" ? ncclAvg : ncclSum;
}

std::string HexOf(const ncclUniqueId& id) {
  return ToHex({reinterpret_cast<const unsigned char*>(id.internal), sizeof(id.internal)});
}

// NCCL's id of a communicator from rank 0's text. Throws Error where rank 0 could make none.
ncclUniqueId IdFrom(const std::string& text) {
  ncclUniqueId id = {};
  if (text.size() != 2 * sizeof(id.internal)) throw Error("rank 0 could make no NCCL identifier");
  const std::optional<std::vector<unsigned char>> bytes = FromHex(text);
  if (!bytes) throw Error("rank 0 told a garbled NCCL identifier; report this as a bug");
  std::memcpy(id.internal, bytes->data(), bytes->size());
  return id;
}

// Runs each rank's own part and waits until all ranks have done theirs; where one throws, all do.
template <class Body>
void OnAll(Ranks& ranks, const Body& body) {
  std::string why;
  try {
    body();
  } catch (const Error& error) {
    why = error.what();
  }
  for (const std::string& of_rank : GatherToAll(ranks, why)) {
    if (!of_rank.empty()) throw Error(of_rank);
  }
}

// Whether environment variables set the number of channels, which NCCL prefers to a communicator's
// own configuration.
bool EnvironmentSetsChannels() {
  constexpr std::array<const char*, 4> kNames = {"NCCL_MAX_CTAS", "NCCL_MIN_CTAS",
                                                 "NCCL_MAX_NCHANNELS", "NCCL_MIN_NCHANNELS"};
  return std::ranges::any_of(kNames, [](const char* name) { return std::getenv(name) != nullptr; });
}

// One communicator over all ranks, on this rank's device. Once a communicator of this process
// fails, none of them can be used any more: every rank that learns of it throws Error and aborts
// its own.
class Communicator {
 public:
  Communicator(Ranks& ranks, int device, Seconds timeout, int channels = 0)
      : rank_(ranks.Rank()), device_(device), timeout_(timeout) {
    const auto begin = SteadyClock::now();
    Check(cudaSetDevice(device));
    // Rank 0 broadcasts even if it fails, so that nobody waits for it.
    ncclUniqueId id = {};
    const bool made = rank_ != 0 || ncclGetUniqueId(&id) == ncclSuccess;
    id = IdFrom(ranks.Broadcast(made ? HexOf(id) : ""));
    clique_ = Clique::Of(HexOf(id));
    OrAbort([&] {
      OnAll(ranks, [&] {
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;
        if (channels > 0) config.maxCTAs = channels;
        Together<Communicator>(ranks, *this, [&](std::span<Communicator* const> all) {
          ForEachGpu(
              all, "its start",
              [&](Communicator& one) {
                return ncclCommInitRankConfig(&one.comm_, ranks.Size(), id, one.rank_, &config);
              },
              kInitFactor);
        });
        stream_ = MakeStream();
        void* scratch = nullptr;
        Settle(ncclMemAlloc(&scratch, sizeof(float)), "memory");
        scratch_.reset(scratch);
        Check(cudaMemsetAsync(scratch, 0, sizeof(float), stream_.get()));
        Synchronize("its start");
      });
      init_ = SteadyClock::now() - begin;
      const auto first = SteadyClock::now();
      Together<Communicator>(ranks, *this, [&](std::span<Communicator* const> all) {
        EnqueueAlign(all);
        Synchronize(all, "the first operation");
      });
      first_ = SteadyClock::now() - first;
    });
  }
  ~Communicator() {
    if (clique_->IsLost()) Abort();
    if (comm_ == nullptr) return;
    stream_.reset();
    scratch_.reset();
    if (ncclCommFinalize(comm_) == ncclInProgress) {
      ncclResult_t state = ncclInProgress;
      const auto deadline = SteadyClock::now() + timeout_;
      while (state == ncclInProgress && SteadyClock::now() < deadline) {
        if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess) break;
        std::this_thread::yield();
      }
    }
    ncclCommDestroy(comm_);
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  ncclComm_t Get() const { return comm_; }
  cudaStream_t GetStream() const { return stream_.get(); }
  int Device() const { return device_; }
  bool IsLost() const { return clique_->IsLost(); }
  Seconds Init() const { return init_; }
  Seconds FirstOperation() const { return first_; }

  // Runs what this rank does in its own thread. Where that throws, the communicator is aborted.
  template <class Body>
  void OrAbort(const Body& body) {
    try {
      body();
    } catch (const Error& error) {
      clique_->Lose(error.what());
      Abort();
      throw;
    }
  }

  // Calls `body` once for all ranks of one thread, with what each of them gave as `own`, on this
  // device.
  template <class Own, class Body>
  void Together(Ranks& ranks, Own& own, const Body& body) {
    ranks.Together(&own, [&](std::span<void* const> things) {
      std::vector<Own*> all;
      for (void* const thing : things) all.push_back(static_cast<Own*>(thing));
      body(std::span<Own* const>(all));
      Check(cudaSetDevice(device_));
    });
  }

  // Makes one thread's calls of NCCL, one for each of its GPUs. They must be a group where there
  // are several, since any of them may wait for the others. Returns when all have been made; throws
  // Error where one failed or isn't over in time.
  template <class Call>
  static void ForEachGpu(std::span<Communicator* const> all, const char* what, const Call& call,
                         int times_timeout = 1) {
    const auto is_bad = [](ncclResult_t one) {
      return one != ncclSuccess && one != ncclInProgress;
    };
    ncclResult_t result = all.size() > 1 ? ncclGroupStart() : ncclSuccess;
    Communicator* last = all[0];
    for (Communicator* const one : all) {
      if (is_bad(result)) break;
      last = one;
      result = cudaSetDevice(one->device_) == cudaSuccess ? call(*one) : ncclUnhandledCudaError;
    }
    if (all.size() > 1) {
      const ncclResult_t end = ncclGroupEnd();  // after errors too, or the group would go on
      if (!is_bad(result)) result = end;
    }
    if (is_bad(result)) last->Settle(result, what);
    if (result == ncclInProgress) WaitFor(all, what, times_timeout);
  }

  // Waits for a call of NCCL, which may not be over when it returns. Throws Error where it failed
  // or isn't over in time.
  void Settle(ncclResult_t result, const char* what) {
    Communicator* const own[] = {this};
    if (result == ncclInProgress) return WaitFor(own, what, 1);
    if (result == ncclSuccess) return;
    const char* more = comm_ == nullptr ? "" : ncclGetLastError(comm_);
    Fail(fmt::format("failed in {}: {}{}{}", what, ncclGetErrorString(result),
                     more == nullptr || *more == '\0' ? "" : "; ", more == nullptr ? "" : more));
  }

  // Wait until all work on this stream is done, or on the streams of all.
  void Synchronize(const char* what) {
    Communicator* const own[] = {this};
    Synchronize(own, what);
  }
  static void Synchronize(std::span<Communicator* const> all, const char* what) {
    WaitUntil(all, what, 1, [&](Communicator& one) {
      const cudaError_t state = cudaStreamQuery(one.stream_.get());
      if (state != cudaSuccess && state != cudaErrorNotReady) {
        one.Fail(fmt::format("failed in {}: {}", what, cudaGetErrorString(state)));
      }
      if (state == cudaErrorNotReady) one.IsInProgress(what);
      return state == cudaSuccess;
    });
  }

  // Enqueues a barrier, which is an all-reduce of one element: work behind it begins when every
  // rank has come.
  static void EnqueueAlign(std::span<Communicator* const> all) {
    ForEachGpu(all, "a barrier", [](Communicator& one) { return one.Align(); });
  }
  ncclResult_t Align() {
    return ncclAllReduce(scratch_.get(), scratch_.get(), 1, ncclFloat32, ncclSum, comm_,
                         stream_.get());
  }

 private:
  // Whether a call of NCCL is still in progress. Throws Error where it failed.
  bool IsInProgress(const char* what) {
    ncclResult_t state = ncclSuccess;
    if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess) Fail(fmt::format("lost {}", what));
    if (state == ncclInProgress) return true;
    Settle(state, what);
    return false;
  }
  static void WaitFor(std::span<Communicator* const> all, const char* what, int times_timeout) {
    WaitUntil(all, what, times_timeout, [&](Communicator& one) { return !one.IsInProgress(what); });
  }

  // Waits until each of them is over. Throws Error where they aren't in time, or a communicator of
  // this process was lost.
  template <class IsOver>
  static void WaitUntil(std::span<Communicator* const> all, const char* what, int times_timeout,
                        const IsOver& is_over) {
    const Seconds timeout = times_timeout * all[0]->timeout_;
    const auto deadline = SteadyClock::now() + timeout;
    for (;;) {
      Communicator* busy = nullptr;
      for (Communicator* const one : all) {
        if (!is_over(*one)) busy = one;
      }
      if (busy == nullptr) return;
      if (busy->IsLost()) busy->Fail(fmt::format("was left alone in {}", what));
      if (SteadyClock::now() > deadline) {
        busy->Fail(fmt::format("waited {} s for {}", timeout.count(), what));
      }
      std::this_thread::yield();
    }
  }

  // Throws Error, after marking all communicators of this process as lost.
  [[noreturn]] void Fail(const std::string& why) {
    throw Error(
        clique_->Lose(fmt::format("NCCL: rank {} {}; NCCL_DEBUG=INFO tells more", rank_, why)));
  }
  void Abort() {
    if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
  }

  int rank_;
  int device_;
  Seconds timeout_;
  std::shared_ptr<Clique> clique_ = {};
  ncclComm_t comm_ = nullptr;
  Stream stream_ = {};
  NcclMemory scratch_ = {};
  Seconds init_ = {};
  Seconds first_ = {};
};

// One rank's end of a collective by NCCL, on device memory that NCCL registered where the
// collective asks for that.
class NcclExchange : public Exchange {
 public:
  NcclExchange(const Collective& collective, Ranks& ranks, std::shared_ptr<Communicator> comm,
               std::shared_ptr<NcclDebugFile> debug)
      : collective_(collective),
        layout_(collective, ranks.Size()),
        type_(*TypeOf(collective.dtype)),
        reduction_(ReductionOf(collective.redop)),
        element_bytes_(static_cast<std::size_t>(ElementBytes(collective.dtype))),
        ranks_(ranks),
        comm_(std::move(comm)),
        debug_(std::move(debug)) {}
  ~NcclExchange() override {
    if (comm_->IsLost()) return;
    if (registration_ != nullptr) ncclCommDeregister(comm_->Get(), registration_);
    if (window_ != nullptr) ncclCommWindowDeregister(comm_->Get(), window_);
  }
  NcclExchange(const NcclExchange&) = delete;
  NcclExchange& operator=(const NcclExchange&) = delete;

  std::optional<int> Device() const override { return comm_->Device(); }

  std::span<std::byte> Window(std::size_t bytes) override {
    // NCCL wants both ends of a window to be multiples of its grain.
    const std::size_t room = RoundedUp(bytes, kWindowGrain);
    comm_->OrAbort([&] {
      OnAll(ranks_, [&] {
        void* memory = nullptr;
        comm_->Settle(ncclMemAlloc(&memory, room), "memory for buffers");
        memory_.reset(memory);
        Check(cudaMemsetAsync(memory, 0, room, comm_->GetStream()));
        comm_->Synchronize("clearing buffers");
        if (collective_.buffers != "registered") return;
        comm_->Settle(ncclCommRegister(comm_->Get(), memory, room, &registration_), "registration");
      });
      if (collective_.buffers != "shared") return;
      ByOneThread([&](std::span<NcclExchange* const> all) {
        ForEachGpu(all, "registration of a window", [&](NcclExchange& one) {
          return ncclCommWindowRegister(one.comm_->Get(), one.memory_.get(), room, &one.window_,
                                        NCCL_WIN_COLL_SYMMETRIC);
        });
      });
    });
    return {static_cast<std::byte*>(memory_.get()), bytes};
  }

  void Write(std::span<const std::byte> from, std::byte* to) override {
    comm_->OrAbort([&] {
      Check(cudaMemcpyAsync(to, from.data(), from.size(), cudaMemcpyHostToDevice,
                            comm_->GetStream()));
      comm_->Synchronize("copying inputs");
    });
  }
  void Read(const std::byte* from, std::span<std::byte> to) const override {
    comm_->OrAbort([&] {
      Check(
          cudaMemcpyAsync(to.data(), from, to.size(), cudaMemcpyDeviceToHost, comm_->GetStream()));
      comm_->Synchronize("copying outputs");
    });
  }

  // The barrier is made in this rank's own thread, so that a rank that comes late lets the others
  // wait on their GPUs.
  void Align() override {
    NcclExchange* const own[] = {this};
    comm_->OrAbort([&] {
      EnqueueAligns(own);
      comm_->Synchronize("a barrier");
    });
  }
  void Run(const std::byte* input, std::byte* output) override {
    comm_->OrAbort([&] {
      comm_->Settle(Enqueue(input, output), Name());
      comm_->Synchronize(Name());
    });
  }

  void RunTimed(std::span<const Slot> slots, bool aligns_each, std::span<double> times) override {
    slots_ = slots;
    times_ = times;
    comm_->OrAbort([&] {
      if (collective_.mode == "graph") {
        NcclExchange* const own[] = {this};
        CaptureOnce();
        // The launch of a graph may block (NCCL's documentation, "Using NCCL with CUDA Graphs"), so
        // each GPU has its own thread for it, and none begins while another still makes its graph.
        ranks_.Barrier();
        return TimeTogether(own);
      }
      ByOneThread([&](std::span<NcclExchange* const> all) {
        if (collective_.mode == "blocking") return TimeWaiting(all);
        aligns_each ? TimeEach(all) : TimeTogether(all);
      });
    });
  }

  // Both wait behind a gate on the other stream, so that none of the host's launching is in the
  // time. Then the ranks meet, which is the start of both.
  double RunBeside(const Slot* slot, Beside& beside) override {
    enum { kOpen, kStart, kOwnEnd, kOtherEnd };
    NcclExchange* const own[] = {this};
    double own_s = 0;
    comm_->OrAbort([&] {
      const auto other = static_cast<cudaStream_t>(beside.work->StreamHandle());
      const std::int64_t lead = std::min(beside.iterations, kLead);
      {
        const Held held(*beside.work);
        Check(cudaEventRecord(EventAt(kOpen).get(), other));
        Check(cudaStreamWaitEvent(comm_->GetStream(), EventAt(kOpen).get(), 0));
        EnqueueAligns(own);
        Record(own, kStart);
        Check(cudaStreamWaitEvent(other, EventAt(kStart).get(), 0));
        // The collective is enqueued first, as in a training step: where streams share a hardware
        // queue (CUDA_DEVICE_MAX_CONNECTIONS), it would wait for all work before it.
        if (slot != nullptr) {
          ForEachGpu(own, Name(), [&](NcclExchange& one) {
            return one.Enqueue(slot->input.data(), slot->output.data());
          });
        }
        Record(own, kOwnEnd);
        beside.work->Put(lead);
      }
      beside.work->Put(beside.iterations - lead);
      Check(cudaEventRecord(EventAt(kOtherEnd).get(), other));
      comm_->Synchronize(Name());
      beside.work->Finish();
      own_s = Between(kStart, kOwnEnd);
      beside.time = Seconds(Between(kStart, kOtherEnd));
    });
    return own_s;
  }

  Facts Describe() const override {
    Facts facts = {{"nccl", Version()},
                   {"comm_init_s", comm_->Init().count()},
                   {"first_op_s", comm_->FirstOperation().count()}};
    facts["launch"] = launched_together_ > 1
                          ? fmt::format("one thread for {} GPUs, in groups", launched_together_)
                          : "one thread for each GPU";
    if (collective_.channels > 0) facts["max_ctas"] = std::int64_t{collective_.channels};
    facts[kTransportFact] = Transport();
    if (HasSockets(debug_->Log())) facts[kSocketsFact] = true;
    if (const auto told = HasMultiNodeNvlink(debug_->Log()); told) {
      facts[kMultiNodeNvlinkFact] = *told;
    }
    cudaDeviceProp properties = {};
    if (cudaGetDeviceProperties(&properties, comm_->Device()) == cudaSuccess) {
      facts["device"] = std::string(properties.name);
    }
    return facts;
  }

 private:
  // The transport of this rank's node, since its ranks share adapters.
  std::string Transport() const {
    std::map<std::string, std::vector<std::string>> by_node;
    for (const std::string& told :
         ranks_.Gather(fmt::format("{}\t{}", ranks_.Node(), TransportFrom(debug_->Log())))) {
      const std::size_t tab = told.find('\t');
      by_node[told.substr(0, tab)].push_back(told.substr(tab + 1));
    }
    std::string all;
    for (const auto& [node, told] : by_node) all += node + "\t" + TransportOfNode(told) + "\n";
    std::istringstream lines(ranks_.Broadcast(all));
    for (std::string line; std::getline(lines, line);) {
      const std::size_t tab = line.find('\t');
      if (line.substr(0, tab) != std::to_string(ranks_.Node())) continue;
      if (tab + 1 < line.size()) return line.substr(tab + 1);
    }
    return UnknownTransport("NCCL told of no connection, as it does where NCCL_DEBUG is not set");
  }

  const char* Name() const { return FactsOf(collective_.operation).name.data(); }
  // A hold on the other stream that is released at the end of its life, whatever is thrown.
  class Held {
   public:
    explicit Held(Streamed& work) : work_(work) { work_.Hold(); }
    ~Held() { work_.Release(); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    Streamed& work_;
  };

  // A range of slots that is given to NCCL at once.
  struct Together {
    std::size_t begin = 0;
    std::size_t count = 0;
  };
  std::vector<Together> CallsOf(std::size_t begin, std::size_t end) const {
    const auto most = static_cast<std::size_t>(collective_.aggregate);
    std::vector<Together> calls;
    for (; begin < end; begin += most) calls.push_back({begin, std::min(most, end - begin)});
    return calls;
  }

  // Runs what the ranks that one thread launches for do together, on one of them.
  template <class Body>
  void ByOneThread(const Body& body) {
    comm_->Together(ranks_, *this, [&](std::span<NcclExchange* const> all) {
      for (NcclExchange* const one : all) one->launched_together_ = all.size();
      body(all);
    });
  }
  template <class Call>
  static void ForEachGpu(std::span<NcclExchange* const> all, const char* what, const Call& call) {
    std::size_t next = 0;
    Communicator::ForEachGpu(CommsOf(all), what, [&](Communicator&) { return call(*all[next++]); });
  }
  static std::vector<Communicator*> CommsOf(std::span<NcclExchange* const> all) {
    std::vector<Communicator*> comms;
    for (const NcclExchange* const one : all) comms.push_back(one->comm_.get());
    return comms;
  }
  static void EnqueueAligns(std::span<NcclExchange* const> all) {
    Communicator::EnqueueAlign(CommsOf(all));
  }
  // Enqueues the collective on these slots of each rank.
  static void EnqueueCall(std::span<NcclExchange* const> all, const Together& call) {
    ForEachGpu(all, all[0]->Name(), [&](NcclExchange& one) {
      return one.Enqueue(one.slots_.subspan(call.begin, call.count));
    });
  }
  static void Record(std::span<NcclExchange* const> all, std::size_t event) {
    for (NcclExchange* const one : all) {
      if (all.size() > 1) Check(cudaSetDevice(one->comm_->Device()));
      Check(cudaEventRecord(one->EventAt(event).get(), one->comm_->GetStream()));
    }
  }

  // Enqueues one operation, or a group of them.
  ncclResult_t Enqueue(std::span<const Slot> slots) {
    if (slots.size() == 1) return Enqueue(slots[0].input.data(), slots[0].output.data());
    ncclResult_t failure = ncclGroupStart();
    for (const Slot& slot : slots) {
      const ncclResult_t result = Enqueue(slot.input.data(), slot.output.data());
      if (failure == ncclSuccess && result != ncclInProgress) failure = result;
    }
    const ncclResult_t end = ncclGroupEnd();
    return failure == ncclSuccess ? end : failure;
  }
  ncclResult_t Enqueue(const std::byte* input, std::byte* output) {
    const auto base = static_cast<std::size_t>(layout_.Base());
    const int self = ranks_.Rank();
    const int ranks = ranks_.Size();
    const int root = collective_.root;
    const ncclComm_t comm = comm_->Get();
    const cudaStream_t stream = comm_->GetStream();
    const auto at = [this](auto* begin, std::int64_t place) {
      return begin + static_cast<std::size_t>(place) * element_bytes_;
    };
    ncclResult_t failure = ncclSuccess;  // the first failure within a group
    const auto take = [&](ncclResult_t result) {
      if (failure == ncclSuccess && result != ncclInProgress) failure = result;
    };
    const auto send = [&](int to, const std::byte* from, std::int64_t count) {
      if (count == 0) return;
      take(ncclSend(from, static_cast<std::size_t>(count), type_, to, comm, stream));
    };
    const auto receive = [&](int from, std::byte* to, std::int64_t count) {
      if (count == 0) return;
      take(ncclRecv(to, static_cast<std::size_t>(count), type_, from, comm, stream));
    };
    // Calls the body within a group, for sends and receives that make one operation.
    const auto group = [&](auto body) {
      take(ncclGroupStart());
      for (int rank = 0; rank < ranks; ++rank) body(rank);
      const ncclResult_t end = ncclGroupEnd();
      return failure == ncclSuccess ? end : failure;
    };
    switch (collective_.operation) {
      case Operation::kAllReduce:
        return ncclAllReduce(input, output, base, type_, reduction_, comm, stream);
      case Operation::kAllGather:
        return ncclAllGather(input, output, base, type_, comm, stream);
      case Operation::kReduceScatter:
        return ncclReduceScatter(input, output, base, type_, reduction_, comm, stream);
      case Operation::kBroadcast:
        return ncclBroadcast(input, output, base, type_, root, comm, stream);
      case Operation::kReduce:
        return ncclReduce(input, output, base, type_, reduction_, root, comm, stream);
      case Operation::kAlltoall:
      case Operation::kAlltoallv:
        return group([&](int rank) {
          send(rank, at(input, layout_.SendPlace(self, rank)), layout_.Count(self, rank));
          receive(rank, at(output, layout_.ReceivePlace(rank, self)), layout_.Count(rank, self));
        });
      case Operation::kGather:
        return group([&](int rank) {
          if (rank == root) send(root, input, layout_.Base());
          if (self == root) receive(rank, at(output, rank * layout_.Base()), layout_.Base());
        });
      case Operation::kScatter:
        return group([&](int rank) {
          if (self == root) send(rank, at(input, rank * layout_.Base()), layout_.Base());
          if (rank == root) receive(root, output, layout_.Base());
        });
      case Operation::kSendRecv:
        return group([&](int rank) {
          if (rank == (self + 1) % ranks) send(rank, input, layout_.Base());
          if (rank == (self + ranks - 1) % ranks) receive(rank, output, layout_.Base());
        });
      case Operation::kBarrier:
        return comm_->Align();  // NCCL has no barrier of its own
    }
    return ncclInvalidArgument;
  }

  Event& EventAt(std::size_t i) {
    while (events_.size() <= i) events_.push_back(MakeEvent());
    return events_[i];
  }
  double Between(std::size_t first, std::size_t second) {
    float ms = 0;
    Check(cudaEventElapsedTime(&ms, EventAt(first).get(), EventAt(second).get()));
    return static_cast<double>(ms) * 1e-3;
  }

  static void TimeEach(std::span<NcclExchange* const> all) {
    const std::vector<Together> calls = all[0]->CallsOf(0, all[0]->slots_.size());
    for (std::size_t begin = 0; begin < calls.size(); begin += kEventsAtOnce) {
      const std::size_t count = std::min(kEventsAtOnce, calls.size() - begin);
      for (std::size_t i = 0; i < count; ++i) {
        EnqueueAligns(all);
        Record(all, 2 * i);
        EnqueueCall(all, calls[begin + i]);
        Record(all, 2 * i + 1);
      }
      Communicator::Synchronize(CommsOf(all), all[0]->Name());
      for (NcclExchange* const one : all) {
        for (std::size_t i = 0; i < count; ++i) {
          one->ShareOut(calls[begin + i], one->Between(2 * i, 2 * i + 1));
        }
      }
    }
  }

  // Times calls that the host waits for. The time of a call is that since the one before ended, so
  // that it includes all that the host did in between.
  static void TimeWaiting(std::span<NcclExchange* const> all) {
    const std::vector<Together> calls = all[0]->CallsOf(0, all[0]->slots_.size());
    EnqueueAligns(all);
    Record(all, 0);
    Communicator::Synchronize(CommsOf(all), "a barrier");
    for (std::size_t i = 0; i < calls.size(); ++i) {
      EnqueueCall(all, calls[i]);
      Record(all, i + 1);
      Communicator::Synchronize(CommsOf(all), all[0]->Name());
    }
    for (NcclExchange* const one : all) {
      for (std::size_t i = 0; i < calls.size(); ++i)
        one->ShareOut(calls[i], one->Between(i, i + 1));
    }
  }

  static void TimeTogether(std::span<NcclExchange* const> all) {
    const std::size_t slots = all[0]->slots_.size();
    EnqueueAligns(all);
    Record(all, 0);
    if (all[0]->collective_.mode == "graph") {
      Check(cudaGraphLaunch(all[0]->graphs_.at(slots).get(), all[0]->comm_->GetStream()));
    } else {
      for (const Together& call : all[0]->CallsOf(0, slots)) EnqueueCall(all, call);
    }
    Record(all, 1);
    Communicator::Synchronize(CommsOf(all), all[0]->Name());
    for (NcclExchange* const one : all) one->ShareOut({0, slots}, one->Between(0, 1));
  }

  void ShareOut(const Together& call, double time_s) {
    std::ranges::fill(times_.subspan(call.begin, call.count),
                      time_s / static_cast<double>(call.count));
  }

  // Captures the graph of the current call, once for each number of operations.
  void CaptureOnce() {
    if (graphs_.contains(slots_.size())) return;
    NcclExchange* const own[] = {this};
    graphs_[slots_.size()] = Capture(comm_->GetStream(), [&] {
      for (const Together& call : CallsOf(0, slots_.size())) EnqueueCall(own, call);
    });
    comm_->Synchronize("uploading a graph");
  }

  Collective collective_;
  Layout layout_;
  ncclDataType_t type_;
  ncclRedOp_t reduction_;
  std::size_t element_bytes_;
  Ranks& ranks_;
  std::shared_ptr<Communicator> comm_;
  std::shared_ptr<NcclDebugFile> debug_;
  NcclMemory memory_ = {};
  void* registration_ = nullptr;
  ncclWindow_t window_ = nullptr;
  std::vector<Event> events_ = {};
  std::map<std::size_t, GraphExec> graphs_ = {};  // by number of operations
  // The arguments of the call that is being made.
  std::span<const Slot> slots_ = {};
  std::span<double> times_ = {};
  std::size_t launched_together_ = 1;
};

class NcclLibrary : public Library {
 public:
  explicit NcclLibrary(Seconds timeout = Timeout()) : timeout_(timeout) {}
  std::string Name() const override { return "nccl"; }
  bool IsOnDevice() const override { return true; }
  std::optional<RankDevice> DeviceOf(Ranks& ranks) override { return OwnDevice(ranks); }
  Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) override {
    int devices = 0;
    const std::optional<Skipped> no_device = NoDevice(&devices);
    // A communicator is made by all ranks together: the others would wait for a rank without a GPU,
    // and a rank that needs a new one can't make it alone.
    const bool is_fit = comm_ && !comm_->IsLost() && members_ == ranks.Members() &&
                        channels_ == collective.channels;
    const bool is_overruled = collective.channels > 0 && EnvironmentSetsChannels();
    double of_somebody[] = {no_device ? 1.0 : 0.0, is_fit ? 0.0 : 1.0, is_overruled ? 1.0 : 0.0};
    ranks.Max(of_somebody);
    if (no_device) return *no_device;
    if (of_somebody[0] > 0) {
      return Skipped{.reason = "another rank has no GPU", .remedy = "start ranks where GPUs are"};
    }
    if (of_somebody[2] > 0) {
      return Skipped{
          .reason = "NCCL's environment sets how many channels it has, whatever is asked",
          .remedy =
              "unset NCCL_MAX_CTAS, NCCL_MIN_CTAS, NCCL_MAX_NCHANNELS and "
              "NCCL_MIN_NCHANNELS"};
    }
    if (!TypeOf(collective.dtype)) {
      return Skipped{.reason = fmt::format("{} has no {}", Version(), collective.dtype),
                     .remedy = "NCCL 2.24 or newer, or " + Asking("dtype", "bf16")};
    }
    if (collective.buffers == "shared" && !kHasWindows) {
      return Skipped{
          .reason = fmt::format("{} has no windows, which buffers=shared are", Version()),
          .remedy = "assay built with NCCL 2.27 or newer, or " + Asking("buffers", "registered")};
    }
    if (collective.algorithm != "auto") {
      return Skipped{.reason = "NCCL is told its algorithm by its environment",
                     .remedy = "NCCL_ALGO=Ring and the like, with " + Asking("algo", "auto")};
    }
    if (!debug_) debug_ = NcclDebugFile::OfProcess();
    if (of_somebody[1] > 0) {
      comm_.reset();
      members_ = ranks.Members();
      channels_ = collective.channels;
      const int device = OwnDevice(ranks).index;
      comm_ = std::make_shared<Communicator>(ranks, device, timeout_, channels_);
      debug_->Unname();
    }
    int cache_bytes = 0;
    Check(cudaDeviceGetAttribute(&cache_bytes, cudaDevAttrL2CacheSize, comm_->Device()));
    return PrepareTimedCollective(collective, ranks,
                                  std::make_unique<NcclExchange>(collective, ranks, comm_, debug_),
                                  seed, {.rotate_bytes = std::int64_t{3} * cache_bytes});
  }

 private:
  Seconds timeout_;
  std::shared_ptr<NcclDebugFile> debug_ = {};
  std::shared_ptr<Communicator> comm_ = {};
  std::vector<int> members_ = {};  // the ranks that the communicator connects
  int channels_ = 0;               // the channels that it may use
};

std::vector<std::unique_ptr<Library>> Libraries() {
  std::vector<std::unique_ptr<Library>> libraries;
  libraries.push_back(std::make_unique<NcclLibrary>());
  return libraries;
}

constexpr Module kModule = {.build_id = ASSAY_BUILD_ID,
                            .name = "nccl",
                            .backends = nullptr,
                            .libraries = Libraries,
                            .ranks = nullptr,
                            .version = Version};

}  // namespace
}  // namespace assay

extern "C" const assay::Module* assay_module() { return &assay::kModule; }
