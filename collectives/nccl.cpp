// The nccl module: collectives between NVIDIA GPUs, one GPU for each rank. Sole includer of
// <nccl.h>. Communicators are non-blocking, so that every wait can look at the clock and at NCCL's
// own asynchronous errors: what hangs is aborted, and ends in a sentence.
#include <fmt/format.h>
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/host_collective.h"
#include "collectives/library.h"
#include "collectives/nccl_log.h"
#include "collectives/used_transport.h"
#include "results/error.h"
#include "runner/cuda.h"
#include "runner/module.h"
#include "version.h"

namespace assay {
namespace {

using cuda::Capture, cuda::Check, cuda::Event, cuda::GraphExec, cuda::MakeEvent;
using cuda::MakeStream, cuda::NoDevice, cuda::Stream;
using SteadyClock = std::chrono::steady_clock;

// How long a rank waits for the others: what the program's watchdog does.
Seconds Timeout() {
  const char* watchdog_s = std::getenv("ASSAY_WATCHDOG");
  return Seconds(watchdog_s == nullptr ? 60 : std::atof(watchdog_s));
}
// So much longer for a communicator of thousands.
constexpr int kInitFactor = 5;
// Operations that are timed alone are put on the stream in groups, each with two events.
constexpr std::size_t kEventsAtOnce = 64;

using NcclMemory = Handle<void, ncclMemFree>;

std::string Version() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "NCCL";
  return fmt::format("NCCL {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::optional<ncclDataType_t> TypeOf(const std::string& dtype) {
  static const std::map<std::string, ncclDataType_t> types = [] {
    std::map<std::string, ncclDataType_t> all = {
        {"i8", ncclInt8},     {"u8", ncclUint8},    {"i32", ncclInt32},   {"u32", ncclUint32},
        {"i64", ncclInt64},   {"u64", ncclUint64},  {"f16", ncclFloat16}, {"bf16", ncclBfloat16},
        {"f32", ncclFloat32}, {"f64", ncclFloat64},
    };
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 24, 0)
    all["f8e4m3"] = ncclFloat8e4m3;
    all["f8e5m2"] = ncclFloat8e5m2;
#endif
    return all;
  }();
  const auto found = types.find(dtype);
  return found == types.end() ? std::nullopt : std::optional(found->second);
}

ncclRedOp_t ReductionOf(const std::string& redop) {
  if (redop == "prod") return ncclProd;
  if (redop == "min") return ncclMin;
  if (redop == "max") return ncclMax;
  return redop == "avg" ? ncclAvg : ncclSum;
}

// NCCL's own account of what it does goes to a file of this process, unless the user wants it for
// himself. Made before the first communicator, since NCCL reads the environment then.
class DebugFile {
 public:
  DebugFile() {
    if (std::getenv("NCCL_DEBUG") != nullptr || std::getenv("NCCL_DEBUG_FILE") != nullptr) return;
    std::string path = (std::filesystem::temp_directory_path() / "assay-nccl-XXXXXX").string();
    const int file = mkstemp(path.data());
    if (file < 0) return;
    close(file);
    path_ = path;
    file_.open(path);
    setenv("NCCL_DEBUG", "INFO", 1);
    setenv("NCCL_DEBUG_SUBSYS", "INIT,NET", 1);
    setenv("NCCL_DEBUG_FILE", path.c_str(), 1);
  }
  ~DebugFile() { Unname(); }
  DebugFile(const DebugFile&) = delete;
  DebugFile& operator=(const DebugFile&) = delete;

  // Called once NCCL has it open: it goes on being written and read, and no kind of death leaves
  // it.
  void Unname() {
    if (!path_.empty()) unlink(path_.c_str());
    path_.clear();
  }

  std::string Transport() {
    file_.clear();
    file_.seekg(0);
    return TransportFrom(std::string(std::istreambuf_iterator<char>(file_), {}));
  }

 private:
  std::string path_ = {};  // "" once it has no name
  std::ifstream file_ = {};
};

std::string HexOf(const ncclUniqueId& id) {
  std::string text;
  for (const char c : id.internal) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

ncclUniqueId IdFrom(const std::string& text) {
  ncclUniqueId id = {};
  if (text.size() != 2 * sizeof(id.internal)) throw Error("rank 0 could make no NCCL identifier");
  for (std::size_t i = 0; i < sizeof(id.internal); ++i) {
    id.internal[i] = static_cast<char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  }
  return id;
}

// One communicator over all ranks, on this rank's device. Once aborted it is of no more use.
class Communicator {
 public:
  Communicator(Ranks& ranks, int devices, Seconds timeout)
      : rank_(ranks.Rank()), timeout_(timeout) {
    const auto begin = SteadyClock::now();
    Check(cudaSetDevice(ranks.LocalRank() % devices));
    // Rank 0 tells the others even if it fails, so that nobody waits for it.
    ncclUniqueId id = {};
    const bool made = rank_ != 0 || ncclGetUniqueId(&id) == ncclSuccess;
    id = IdFrom(ranks.Broadcast(made ? HexOf(id) : ""));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    Settle(ncclCommInitRankConfig(&comm_, ranks.Size(), id, rank_, &config), "its start",
           kInitFactor);
    stream_ = MakeStream();
    void* scratch = nullptr;
    Settle(ncclMemAlloc(&scratch, sizeof(float)), "memory");
    scratch_.reset(scratch);
    Check(cudaMemsetAsync(scratch, 0, sizeof(float), stream_.get()));
    Synchronize("its start");
    init_ = SteadyClock::now() - begin;
    const auto first = SteadyClock::now();
    EnqueueAlign();
    Synchronize("the first operation");
    first_ = SteadyClock::now() - first;
  }
  ~Communicator() {
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
  bool IsAborted() const { return comm_ == nullptr; }
  Seconds Init() const { return init_; }
  Seconds FirstOperation() const { return first_; }

  // Follows each call of NCCL, which may not be over when it returns. Throws Error, and aborts the
  // communicator, where it failed or is not over in time.
  void Settle(ncclResult_t result, const char* what, int times_timeout = 1) {
    const auto deadline = SteadyClock::now() + times_timeout * timeout_;
    while (result == ncclInProgress) {
      if (SteadyClock::now() > deadline) Abort(fmt::format("waited too long for {}", what));
      std::this_thread::yield();
      if (ncclCommGetAsyncError(comm_, &result) != ncclSuccess) Abort(fmt::format("lost {}", what));
    }
    if (result == ncclSuccess) return;
    const char* more = comm_ == nullptr ? "" : ncclGetLastError(comm_);
    Abort(fmt::format("failed in {}: {}{}{}", what, ncclGetErrorString(result),
                      more == nullptr || *more == '\0' ? "" : "; ", more == nullptr ? "" : more));
  }

  // Returns when all that is on the stream is done.
  void Synchronize(const char* what) {
    const auto deadline = SteadyClock::now() + timeout_;
    for (;;) {
      const cudaError_t state = cudaStreamQuery(stream_.get());
      if (state == cudaSuccess) return;
      if (state != cudaErrorNotReady) {
        Abort(fmt::format("failed in {}: {}", what, cudaGetErrorString(state)));
      }
      ncclResult_t asynchronous = ncclSuccess;
      if (ncclCommGetAsyncError(comm_, &asynchronous) != ncclSuccess ||
          (asynchronous != ncclSuccess && asynchronous != ncclInProgress)) {
        Abort(fmt::format("failed in {}: {}", what, ncclGetErrorString(asynchronous)));
      }
      if (SteadyClock::now() > deadline) {
        Abort(fmt::format("waited {} s for {}", timeout_.count(), what));
      }
      std::this_thread::yield();
    }
  }

  // After this on the stream, every rank has come: a sum of one element has no other use.
  void EnqueueAlign() {
    Settle(ncclAllReduce(scratch_.get(), scratch_.get(), 1, ncclFloat32, ncclSum, comm_,
                         stream_.get()),
           "a barrier");
  }

 private:
  [[noreturn]] void Abort(const std::string& why) {
    if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
    throw Error(fmt::format("NCCL: rank {} {}; NCCL_DEBUG=INFO tells more", rank_, why));
  }

  int rank_;
  Seconds timeout_;
  ncclComm_t comm_ = nullptr;
  Stream stream_ = {};
  NcclMemory scratch_ = {};
  Seconds init_ = {};
  Seconds first_ = {};
};

class NcclExchange : public Exchange {
 public:
  NcclExchange(const Collective& collective, Ranks& ranks, std::shared_ptr<Communicator> comm,
               DebugFile& debug)
      : collective_(collective),
        layout_(collective, ranks.Size()),
        type_(*TypeOf(collective.dtype)),
        reduction_(ReductionOf(collective.redop)),
        element_bytes_(static_cast<std::size_t>(ElementBytes(collective.dtype))),
        ranks_(ranks),
        comm_(std::move(comm)),
        debug_(debug) {}
  ~NcclExchange() override {
    if (comm_->IsAborted()) return;
    if (registration_ != nullptr) ncclCommDeregister(comm_->Get(), registration_);
    if (window_ != nullptr) ncclCommWindowDeregister(comm_->Get(), window_);
  }
  NcclExchange(const NcclExchange&) = delete;
  NcclExchange& operator=(const NcclExchange&) = delete;

  bool IsOnDevice() const override { return true; }

  std::span<std::byte> Window(std::size_t bytes) override {
    // NCCL wants the ends of a window on its own grain.
    const std::size_t room = RoundedUp(bytes, NCCL_WIN_REQUIRED_ALIGNMENT);
    void* memory = nullptr;
    comm_->Settle(ncclMemAlloc(&memory, room), "memory for buffers");
    memory_.reset(memory);
    Check(cudaMemsetAsync(memory, 0, room, comm_->GetStream()));
    comm_->Synchronize("clearing buffers");
    if (collective_.buffers == "registered") {
      comm_->Settle(ncclCommRegister(comm_->Get(), memory, room, &registration_), "registration");
    } else if (collective_.buffers == "shared") {
      comm_->Settle(
          ncclCommWindowRegister(comm_->Get(), memory, room, &window_, NCCL_WIN_COLL_SYMMETRIC),
          "registration of a window");
    }
    return {static_cast<std::byte*>(memory), bytes};
  }

  void Write(std::span<const std::byte> from, std::byte* to) override {
    Check(
        cudaMemcpyAsync(to, from.data(), from.size(), cudaMemcpyHostToDevice, comm_->GetStream()));
    comm_->Synchronize("copying inputs");
  }
  void Read(const std::byte* from, std::span<std::byte> to) const override {
    Check(cudaMemcpyAsync(to.data(), from, to.size(), cudaMemcpyDeviceToHost, comm_->GetStream()));
    comm_->Synchronize("copying outputs");
  }

  void Align() override {
    comm_->EnqueueAlign();
    comm_->Synchronize("a barrier");
  }
  void Run(const std::byte* input, std::byte* output) override {
    Enqueue(input, output);
    comm_->Synchronize(Name());
  }

  void RunTimed(std::span<const Slot> slots, bool aligns_each, std::span<double> times) override {
    if (collective_.mode == "graph") CaptureOnce(slots);
    if (collective_.mode == "blocking") return TimeWaiting(slots, times);
    const std::size_t most = aligns_each ? kEventsAtOnce * PerCall() : slots.size();
    for (std::size_t done = 0; done < slots.size(); done += most) {
      const std::size_t count = std::min(most, slots.size() - done);
      aligns_each ? TimeEach(slots.subspan(done, count), times.subspan(done, count))
                  : TimeTogether(slots, times);
    }
  }

  Facts Describe() const override {
    Facts facts = {{"nccl", Version()},
                   {"comm_init_s", comm_->Init().count()},
                   {"first_op_s", comm_->FirstOperation().count()}};
    facts[kTransportFact] = Transport();
    cudaDeviceProp properties = {};
    int device = 0;
    if (cudaGetDevice(&device) == cudaSuccess &&
        cudaGetDeviceProperties(&properties, device) == cudaSuccess) {
      facts["device"] = std::string(properties.name);
    }
    return facts;
  }

 private:
  // Of this rank's node, since ranks share its adapters.
  std::string Transport() const {
    std::map<std::string, std::vector<std::string>> by_node;
    for (const std::string& told :
         ranks_.Gather(fmt::format("{}\t{}", ranks_.Node(), debug_.Transport()))) {
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
  // Operations that are given to NCCL together.
  std::size_t PerCall() const { return static_cast<std::size_t>(collective_.aggregate); }

  // Calls body with the slots of each call and how many calls were before it.
  template <class Body>
  void ForEachCall(std::span<const Slot> slots, Body body) {
    for (std::size_t call = 0; !slots.empty(); ++call) {
      const std::size_t count = std::min(PerCall(), slots.size());
      body(slots.first(count), call);
      slots = slots.subspan(count);
    }
  }

  // One operation, or a group of them.
  void Enqueue(std::span<const Slot> slots) {
    if (slots.size() == 1) return Enqueue(slots[0].input.data(), slots[0].output.data());
    comm_->Settle(ncclGroupStart(), Name());
    in_group_ = true;
    for (const Slot& slot : slots) Enqueue(slot.input.data(), slot.output.data());
    in_group_ = false;
    comm_->Settle(ncclGroupEnd(), Name());
  }

  // What NCCL gave back. Nothing is under way before the last group ends.
  void Settle(ncclResult_t result) {
    if (!in_group_ || result != ncclInProgress) comm_->Settle(result, Name());
  }

  // Throws Error where NCCL does not take it.
  void Enqueue(const std::byte* input, std::byte* output) {
    const auto base = static_cast<std::size_t>(layout_.Base());
    const int self = ranks_.Rank();
    const int ranks = ranks_.Size();
    const int root = collective_.root;
    const ncclComm_t comm = comm_->Get();
    const cudaStream_t stream = comm_->GetStream();
    const auto at = [this](auto* begin, std::int64_t place) {
      return begin + static_cast<std::size_t>(place) * element_bytes_;
    };
    const auto send = [&](int to, const std::byte* from, std::int64_t count) {
      if (count == 0) return ncclSuccess;
      return ncclSend(from, static_cast<std::size_t>(count), type_, to, comm, stream);
    };
    const auto receive = [&](int from, std::byte* to, std::int64_t count) {
      if (count == 0) return ncclSuccess;
      return ncclRecv(to, static_cast<std::size_t>(count), type_, from, comm, stream);
    };
    // Sends and receives that are one operation.
    const auto group = [&](auto body) {
      Settle(ncclGroupStart());
      for (int rank = 0; rank < ranks; ++rank) body(rank);
      Settle(ncclGroupEnd());
    };
    const auto take = [&](ncclResult_t result) {
      if (result != ncclInProgress) comm_->Settle(result, Name());
    };
    switch (collective_.operation) {
      case Operation::kAllReduce:
        return Settle(ncclAllReduce(input, output, base, type_, reduction_, comm, stream));
      case Operation::kAllGather:
        return Settle(ncclAllGather(input, output, base, type_, comm, stream));
      case Operation::kReduceScatter:
        return Settle(ncclReduceScatter(input, output, base, type_, reduction_, comm, stream));
      case Operation::kBroadcast:
        return Settle(ncclBroadcast(input, output, base, type_, root, comm, stream));
      case Operation::kReduce:
        return Settle(ncclReduce(input, output, base, type_, reduction_, root, comm, stream));
      case Operation::kAlltoall:
      case Operation::kAlltoallv:
        return group([&](int rank) {
          take(send(rank, at(input, layout_.SendPlace(self, rank)), layout_.Count(self, rank)));
          take(receive(rank, at(output, layout_.ReceivePlace(rank, self)),
                       layout_.Count(rank, self)));
        });
      case Operation::kGather:
        return group([&](int rank) {
          if (rank == root) take(send(root, input, layout_.Base()));
          if (self == root) take(receive(rank, at(output, rank * layout_.Base()), layout_.Base()));
        });
      case Operation::kScatter:
        return group([&](int rank) {
          if (self == root) take(send(rank, at(input, rank * layout_.Base()), layout_.Base()));
          if (rank == root) take(receive(root, output, layout_.Base()));
        });
      case Operation::kSendRecv:
        return group([&](int rank) {
          if (rank == (self + 1) % ranks) take(send(rank, input, layout_.Base()));
          if (rank == (self + ranks - 1) % ranks) take(receive(rank, output, layout_.Base()));
        });
      case Operation::kBarrier:
        return comm_->EnqueueAlign();  // NCCL has no other
    }
  }

  void EnqueueAll(std::span<const Slot> slots) {
    ForEachCall(slots, [&](std::span<const Slot> together, std::size_t) { Enqueue(together); });
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

  void TimeEach(std::span<const Slot> slots, std::span<double> times) {
    ForEachCall(slots, [&](std::span<const Slot> together, std::size_t i) {
      comm_->EnqueueAlign();
      Check(cudaEventRecord(EventAt(2 * i).get(), comm_->GetStream()));
      Enqueue(together);
      Check(cudaEventRecord(EventAt(2 * i + 1).get(), comm_->GetStream()));
    });
    comm_->Synchronize(Name());
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const std::size_t call = i / PerCall();
      const std::size_t together = std::min(PerCall(), slots.size() - call * PerCall());
      times[i] = Between(2 * call, 2 * call + 1) / static_cast<double>(together);
    }
  }

  // The time of a call is that since the one before ended, and so has all that the host did
  // between.
  void TimeWaiting(std::span<const Slot> slots, std::span<double> times) {
    comm_->EnqueueAlign();
    Check(cudaEventRecord(EventAt(0).get(), comm_->GetStream()));
    comm_->Synchronize("a barrier");
    ForEachCall(slots, [&](std::span<const Slot> together, std::size_t i) {
      Enqueue(together);
      Check(cudaEventRecord(EventAt(i + 1).get(), comm_->GetStream()));
      comm_->Synchronize(Name());
      std::ranges::fill(times.subspan(i * PerCall(), together.size()),
                        Between(i, i + 1) / static_cast<double>(together.size()));
    });
  }

  void TimeTogether(std::span<const Slot> slots, std::span<double> times) {
    comm_->EnqueueAlign();
    Check(cudaEventRecord(EventAt(0).get(), comm_->GetStream()));
    if (collective_.mode == "graph") {
      Check(cudaGraphLaunch(graphs_.at(slots.size()).get(), comm_->GetStream()));
    } else {
      EnqueueAll(slots);
    }
    Check(cudaEventRecord(EventAt(1).get(), comm_->GetStream()));
    comm_->Synchronize(Name());
    std::ranges::fill(times, Between(0, 1) / static_cast<double>(times.size()));
  }

  // One graph for each number of operations.
  void CaptureOnce(std::span<const Slot> slots) {
    if (graphs_.contains(slots.size())) return;
    graphs_[slots.size()] = Capture(comm_->GetStream(), [&] { EnqueueAll(slots); });
    comm_->Synchronize("uploading a graph");
  }

  Collective collective_;
  Layout layout_;
  ncclDataType_t type_;
  ncclRedOp_t reduction_;
  std::size_t element_bytes_;
  Ranks& ranks_;
  std::shared_ptr<Communicator> comm_;
  DebugFile& debug_;
  NcclMemory memory_ = {};
  void* registration_ = nullptr;
  ncclWindow_t window_ = nullptr;
  bool in_group_ = false;
  std::vector<Event> events_ = {};
  std::map<std::size_t, GraphExec> graphs_ = {};  // by number of operations
};

class NcclLibrary : public Library {
 public:
  explicit NcclLibrary(Seconds timeout = Timeout()) : timeout_(timeout) {}
  std::string Name() const override { return "nccl"; }
  Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) override {
    int devices = 0;
    const std::optional<Skipped> no_device = NoDevice(&devices);
    // Where one rank has none, the others would wait for it while they make a communicator.
    double somebody_has_none[] = {no_device ? 1.0 : 0.0};
    ranks.Max(somebody_has_none);
    if (no_device) return *no_device;
    if (somebody_has_none[0] > 0) {
      return Skipped{.reason = "another rank has no GPU", .remedy = "start ranks where GPUs are"};
    }
    if (!TypeOf(collective.dtype)) {
      return Skipped{.reason = fmt::format("{} has no {}", Version(), collective.dtype),
                     .remedy = "NCCL 2.24 or newer, or --dtype bf16"};
    }
    if (collective.algorithm != "auto") {
      return Skipped{.reason = "NCCL is told its algorithm by its environment",
                     .remedy = "NCCL_ALGO=Ring and the like, with --set algo=auto"};
    }
    if (!debug_) debug_.emplace();
    if (!comm_ || comm_->IsAborted() || members_ != ranks.Members()) {
      comm_.reset();
      members_ = ranks.Members();
      comm_ = std::make_shared<Communicator>(ranks, devices, timeout_);
      debug_->Unname();
    }
    int device = 0;
    int cache_bytes = 0;
    Check(cudaGetDevice(&device));
    Check(cudaDeviceGetAttribute(&cache_bytes, cudaDevAttrL2CacheSize, device));
    return PrepareHostCollective(collective, ranks,
                                 std::make_unique<NcclExchange>(collective, ranks, comm_, *debug_),
                                 seed, {.rotate_bytes = std::int64_t{3} * cache_bytes});
  }

 private:
  Seconds timeout_;
  std::optional<DebugFile> debug_ = {};
  std::shared_ptr<Communicator> comm_ = {};
  std::vector<int> members_ = {};  // that it connects
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
