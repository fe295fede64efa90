// NCCL's part of the stand-in.
#include <nccl.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <memory>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "collectives/pattern.h"
#include "standin/state.h"

namespace {

using namespace standin;

// ---- element types

struct Type {
  std::string name;
  std::size_t bytes;
};
Type TypeOf(ncclDataType_t type) {
  static const char* const names[] = {"int8", "u8",  "i32", "u32",  "i64",      "u64",
                                      "f16",  "f32", "f64", "bf16", "fp8_e4m3", "fp8_e5m2"};
  const std::string name = names[type];
  return {name, static_cast<std::size_t>(assay::ElementBytes(name))};
}

// The bits of a value, found among all bits that there are for the narrow types.
void Encode(const Type& type, double value, std::byte* to) {
  const auto as = [&]<class T>(T) {
    const T cast = static_cast<T>(value);
    std::memcpy(to, &cast, sizeof(T));
  };
  if (type.name == "f32") return as(float{});
  if (type.name == "f64") return as(double{});
  if (type.name == "i32") return as(std::int32_t{});
  if (type.name == "u32") return as(std::uint32_t{});
  if (type.name == "i64") return as(std::int64_t{});
  if (type.name == "u64") return as(std::uint64_t{});
  static std::map<std::string, std::unordered_map<double, std::uint16_t>> tables;
  auto& table = tables[type.name];
  if (table.empty()) {
    for (unsigned bits = 0; bits < (type.bytes == 2 ? 65536U : 256U); ++bits) {
      const auto narrow = static_cast<std::uint16_t>(bits);
      table.emplace(assay::ElementValue(type.name, reinterpret_cast<const std::byte*>(&narrow)),
                    narrow);
    }
  }
  const auto found = table.find(value);
  if (found == table.end()) return Violate("a value of " + type.name + " had to be rounded");
  std::memcpy(to, &found->second, type.bytes);
}

// ---- communicators

struct Message {
  int peer;
  const std::byte* from;
  std::byte* to;
  std::size_t count;
  ncclDataType_t type;
};
// A call of one rank; all ranks' calls at one place must have the same signature.
struct Call {
  std::string signature = {};
  std::string operation = {};
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  std::size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t redop = ncclSum;
  int root = 0;
  std::vector<Message> sends = {};
  std::vector<Message> receives = {};
  bool launched = false;  // with the one before it
};

struct Clique {
  explicit Clique(int ranks) : size(ranks), posted(static_cast<std::size_t>(ranks)) {}
  int size;
  int joined = 0;
  int channels = kChannels;
  ncclResult_t error = ncclSuccess;
  std::vector<std::deque<std::pair<Call, StreamState*>>> posted;  // by rank
  std::vector<std::uint64_t> done = std::vector<std::uint64_t>(posted.size());
  int collectives = 0;
  std::map<std::thread::id, int> callers = {};  // outside groups: the rank that a thread calls for
};
struct Comm {
  std::shared_ptr<Clique> clique;
  int rank;
  int device;
  std::set<void*> registrations = {};
};
using standin::Of;
Comm& Of(ncclComm_t comm) { return *reinterpret_cast<Comm*>(comm); }
std::map<std::string, std::shared_ptr<Clique>> cliques;
int ids = 0;
int collectives_done = 0;
[[maybe_unused]] const bool forgets = AtReset([] {
  cliques.clear();
  collectives_done = 0;
});

double Reduce(ncclRedOp_t redop, double a, double b) {
  switch (redop) {
    case ncclProd:
      return a * b;
    case ncclMin:
      return std::min(a, b);
    case ncclMax:
      return std::max(a, b);
    default:
      return a + b;
  }
}

// The reduction over ranks of elements [begin, begin + count) to every one of `outputs`.
void ReduceTo(const std::vector<Call>& all, std::size_t begin, std::size_t count,
              const std::vector<std::byte*>& outputs) {
  const Type type = TypeOf(all[0].type);
  std::vector<std::byte> result(count * type.bytes);
  for (std::size_t i = 0; i < count; ++i) {
    double value = 0;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      const double of_rank =
          assay::ElementValue(type.name, all[rank].input + (begin + i) * type.bytes);
      value = rank == 0 ? of_rank : Reduce(all[0].redop, value, of_rank);
    }
    if (all[0].redop == ncclAvg) value /= static_cast<double>(all.size());
    Encode(type, value, result.data() + i * type.bytes);
  }
  for (std::byte* output : outputs) std::memcpy(output, result.data(), result.size());
}

// Executes a call that all ranks have made. Inputs are taken before any output is written.
std::size_t Execute(const std::vector<Call>& all) {
  const Call& first = all[0];
  const std::size_t ranks = all.size();
  const std::size_t bytes = first.count * TypeOf(first.type).bytes;
  if (first.operation == "group") {
    std::size_t moved = 0;
    std::vector<std::pair<std::byte*, std::vector<std::byte>>> arrivals;
    std::size_t sends = 0;
    std::size_t matched = 0;
    std::map<std::pair<std::size_t, std::size_t>, std::size_t> taken;
    for (const Call& call : all) sends += call.sends.size();
    for (std::size_t to = 0; to < ranks; ++to) {
      for (const Message& receive : all[to].receives) {
        const auto from = static_cast<std::size_t>(receive.peer);
        // The first send to a rank is that rank's first receive from here, and so on.
        std::size_t before = taken[{from, to}]++;
        const auto send = std::ranges::find_if(all[from].sends, [&](const Message& message) {
          return message.peer == static_cast<int>(to) && before-- == 0;
        });
        if (send == all[from].sends.end() || send->count != receive.count ||
            send->type != receive.type) {
          Violate("a receive has no send that matches it");
          continue;
        }
        ++matched;
        const std::size_t size = send->count * TypeOf(send->type).bytes;
        moved = std::max(moved, size);
        arrivals.emplace_back(receive.to, std::vector<std::byte>(send->from, send->from + size));
      }
    }
    if (matched != sends) Violate("a send has no receive that matches it");
    for (const auto& [to, data] : arrivals) std::memcpy(to, data.data(), data.size());
    return moved;
  }
  std::vector<std::byte*> outputs;
  for (const Call& call : all) outputs.push_back(call.output);
  if (first.operation == "all_reduce") {
    ReduceTo(all, 0, first.count, outputs);
  } else if (first.operation == "reduce") {
    ReduceTo(all, 0, first.count, {all[static_cast<std::size_t>(first.root)].output});
  } else if (first.operation == "reduce_scatter") {
    std::vector<std::vector<std::byte>> results(ranks, std::vector<std::byte>(bytes));
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      ReduceTo(all, rank * first.count, first.count, {results[rank].data()});
    }
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      std::memcpy(outputs[rank], results[rank].data(), bytes);
    }
  } else if (first.operation == "all_gather") {
    std::vector<std::byte> whole;
    for (const Call& call : all) whole.insert(whole.end(), call.input, call.input + bytes);
    for (std::byte* output : outputs) std::memcpy(output, whole.data(), whole.size());
  } else if (first.operation == "broadcast") {
    const std::byte* from = all[static_cast<std::size_t>(first.root)].input;
    const std::vector<std::byte> copy(from, from + bytes);
    for (std::byte* output : outputs) std::memcpy(output, copy.data(), bytes);
  }
  return bytes;
}

ncclResult_t Enqueue(ncclComm_t handle, cudaStream_t stream, Call call) {
  Comm& comm = Of(handle);
  const std::shared_ptr<Clique> clique = comm.clique;
  if (Of(stream).device != comm.device) Violate("a stream of another device than its communicator");
  call.signature += call.operation + " " + std::to_string(call.count) + " " +
                    std::to_string(call.type) + " " + std::to_string(call.redop) + " " +
                    std::to_string(call.root);
  const auto rank = static_cast<std::size_t>(comm.rank);
  const auto posted = std::make_shared<std::uint64_t>(0);
  const auto run = [clique, rank, call, posted](StreamState& own) {
    if (*posted == 0) {
      clique->posted[rank].emplace_back(call, &own);
      *posted = clique->done[rank] + clique->posted[rank].size();
    }
    const bool all_there =
        std::ranges::all_of(clique->posted, [](const auto& q) { return !q.empty(); });
    const bool hangs = faults.hang_after >= 0 && clique->collectives >= faults.hang_after;
    if (faults.fail_after >= 0 && clique->collectives >= faults.fail_after) {
      clique->error = ncclRemoteError;
    }
    if (clique->done[rank] >= *posted) {
      *posted = 0;  // a graph may run this again
      return true;
    }
    if (!all_there || hangs || clique->error != ncclSuccess) return false;
    std::vector<Call> all;
    double latest = 0;
    double slowness = 1;
    for (auto& queue : clique->posted) {
      all.push_back(queue.front().first);
      latest = std::max(latest, queue.front().second->time_s);
      slowness = std::max(slowness, SlownessOf(queue.front().second->device));
    }
    for (const Call& other : all) {
      if (other.signature != all[0].signature) {
        Violate("the ranks' calls differ: " + all[0].signature + " and " + other.signature);
        clique->error = ncclInvalidUsage;
        return false;
      }
    }
    const std::size_t bytes = Execute(all);
    ++collectives_done;
    if (static_cast<std::size_t>(++clique->collectives) == faults.spoil_operation) {
      all[0].output[0] ^= std::byte{0x40};
    }
    const double launch_s = all[0].launched ? 0 : standin::kLaunch_s;
    const double bytes_per_s = standin::kBytesPerSecond * clique->channels / kChannels;
    const double end = latest + slowness * (launch_s + static_cast<double>(bytes) / bytes_per_s);
    for (std::size_t i = 0; i < clique->posted.size(); ++i) {
      clique->posted[i].front().second->time_s = end;
      clique->posted[i].pop_front();
      ++clique->done[i];
    }
    *posted = 0;
    return true;
  };
  Of(stream).Put(run);
  return ncclSuccess;
}

// The calls of one thread since it began a group.
struct Pending {
  ncclComm_t comm;
  cudaStream_t stream;
  Call call;
  bool is_messages;
};
thread_local std::vector<Pending> pending;
thread_local std::vector<ncclComm_t> starting;

// A thread that calls for several ranks without a group may wait for ever in the first of them.
void CallOutsideGroup(const Comm& comm) {
  const auto [caller, is_new] = comm.clique->callers.emplace(std::this_thread::get_id(), comm.rank);
  if (is_new || caller->second == comm.rank) return;
  Violate("one thread called for several ranks without a group");
  comm.clique->error = ncclInvalidUsage;
}

Pending& Add(const char* operation, ncclComm_t comm, cudaStream_t stream, bool is_messages) {
  if (is_messages) {
    for (Pending& one : pending) {
      if (one.comm == comm && one.is_messages) return one;
    }
  }
  Call call;
  call.operation = operation;
  call.launched =
      std::ranges::any_of(pending, [&](const Pending& one) { return one.comm == comm; });
  return pending.emplace_back(Pending{comm, stream, std::move(call), is_messages});
}

ncclResult_t Begin() {
  if (groups_open > 0) return ncclSuccess;
  if (!starting.empty() && !pending.empty()) Violate("a group of starts and of operations");
  std::set<ncclComm_t> comms;
  for (const Pending& one : pending) comms.insert(one.comm);
  comms.insert(starting.begin(), starting.end());
  if (comms.size() == 1) CallOutsideGroup(Of(*comms.begin()));
  for (const ncclComm_t comm : std::exchange(starting, {})) ++Of(comm).clique->joined;
  ncclResult_t result = ncclSuccess;
  for (Pending& one : std::exchange(pending, {})) {
    const ncclResult_t of_one = Enqueue(one.comm, one.stream, std::move(one.call));
    if (of_one != ncclSuccess) result = of_one;
  }
  return result;
}

ncclResult_t Collective(const char* operation, const void* input, void* output, std::size_t in,
                        std::size_t out, std::size_t count, ncclDataType_t type, ncclRedOp_t redop,
                        int root, ncclComm_t comm, cudaStream_t stream) {
  const std::size_t size = TypeOf(type).bytes;
  RequireDevice(input, in * size, operation);
  RequireDevice(output, out * size, operation);
  const void* const ends[] = {in > 0 ? input : nullptr, out > 0 ? output : nullptr};
  for (const void* const end : ends) {
    if (end != nullptr && DeviceOf(end) >= 0 && DeviceOf(end) != Of(comm).device) {
      Violate(std::string(operation) + " in the memory of another device");
    }
  }
  Call& call = Add(operation, comm, stream, /*is_messages=*/false).call;
  call.input = static_cast<const std::byte*>(input);
  call.output = static_cast<std::byte*>(output);
  call.count = count;
  call.type = type;
  call.redop = redop;
  call.root = root;
  const ncclResult_t begun = Begin();
  return groups_open > 0 ? ncclInProgress : begun;
}

}  // namespace

int standin::Collectives() {
  std::scoped_lock lock(mutex);
  return collectives_done;
}

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  STANDIN_CALL;
  std::memset(id->internal, 0, sizeof(id->internal));
  std::strcpy(id->internal, ("clique " + std::to_string(++ids)).c_str());
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  STANDIN_CALL;
  if (config->magic != 0xcafebeef || config->blocking != 0) Violate("a configuration of no use");
  std::shared_ptr<Clique>& clique = cliques[id.internal];
  if (!clique) clique = std::make_shared<Clique>(ranks);
  if (clique->size != ranks || rank >= ranks) return ncclInvalidArgument;
  if (config->maxCTAs != NCCL_CONFIG_UNDEF_INT) {
    if (config->maxCTAs < 1 || config->maxCTAs > 64) return ncclInvalidArgument;
    clique->channels = std::min(config->maxCTAs, kChannels);
  }
  if (const char* path = std::getenv("NCCL_DEBUG_FILE"); path != nullptr && !faults.log.empty()) {
    std::ofstream(path, std::ios::app) << faults.log;
  }
  *comm = reinterpret_cast<ncclComm_t>(
      Born(new Comm{.clique = clique, .rank = rank, .device = CurrentDevice()}, "communicator"));
  starting.push_back(*comm);
  const ncclResult_t begun = Begin();
  return begun == ncclSuccess ? ncclInProgress : begun;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  STANDIN_CALL;
  const Clique& clique = *Of(comm).clique;
  const bool hears = faults.fail_rank < 0 || faults.fail_rank == Of(comm).rank;
  *error = clique.joined < clique.size ? ncclInProgress : hears ? clique.error : ncclSuccess;
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t) {
  STANDIN_CALL;
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  STANDIN_CALL;
  if (!Of(comm).registrations.empty()) Violate("a communicator ended before its registrations");
  if (Dies(comm, "communicator")) delete &Of(comm);
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  STANDIN_CALL;
  // Ranks of the same process hear nothing of it.
  for (void* registration : Of(comm).registrations) {
    Forget(registration);
    delete static_cast<char*>(registration);
  }
  if (Dies(comm, "communicator")) delete &Of(comm);
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "remote process exited or there was a network error"
                                   : "some NCCL error";
}
const char* ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclMemAlloc(void** memory, std::size_t bytes) {
  STANDIN_CALL;
  *memory = Allocate(bytes);
  return ncclSuccess;
}
ncclResult_t ncclMemFree(void* memory) {
  STANDIN_CALL;
  return Release(memory) ? ncclSuccess : ncclInvalidArgument;
}
ncclResult_t ncclCommRegister(const ncclComm_t comm, void* memory, std::size_t bytes,
                              void** handle) {
  STANDIN_CALL;
  RequireDevice(memory, bytes, "what is registered");
  *handle = Born(new char, "registration");
  Of(comm).registrations.insert(*handle);
  return ncclSuccess;
}
ncclResult_t ncclCommDeregister(const ncclComm_t comm, void* handle) {
  STANDIN_CALL;
  if (Dies(handle, "registration")) delete static_cast<char*>(handle);
  Of(comm).registrations.erase(handle);
  return ncclSuccess;
}
ncclResult_t ncclCommWindowRegister(ncclComm_t comm, void* memory, std::size_t bytes,
                                    ncclWindow_t* window, int flags) {
  STANDIN_CALL;
  RequireDevice(memory, bytes, "a window");
  if (flags != NCCL_WIN_COLL_SYMMETRIC) Violate("a window that isn't symmetric");
  if (bytes % NCCL_WIN_REQUIRED_ALIGNMENT != 0) Violate("a window off its grain");
  char* handle = Born(new char, "window");
  Of(comm).registrations.insert(handle);
  *window = reinterpret_cast<ncclWindow_t>(handle);
  return ncclSuccess;
}
ncclResult_t ncclCommWindowDeregister(ncclComm_t comm, ncclWindow_t window) {
  STANDIN_CALL;
  if (Dies(window, "window")) delete reinterpret_cast<char*>(window);
  Of(comm).registrations.erase(window);
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  STANDIN_CALL;
  ++groups_open;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  STANDIN_CALL;
  if (groups_open == 0) Violate("the end of a group that never began");
  --groups_open;
  const bool starts = !starting.empty();
  const ncclResult_t begun = Begin();
  return begun == ncclSuccess && starts ? ncclInProgress : begun;
}
ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  STANDIN_CALL;
  RequireDevice(from, count * TypeOf(type).bytes, "what is sent");
  if (groups_open == 0) Violate("a send outside a group waits for ever");
  Add("group", comm, stream, /*is_messages=*/true)
      .call.sends.push_back({peer, static_cast<const std::byte*>(from), nullptr, count, type});
  return ncclSuccess;
}
ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  STANDIN_CALL;
  RequireDevice(to, count * TypeOf(type).bytes, "where something is received");
  if (groups_open == 0) Violate("a receive outside a group waits for ever");
  Add("group", comm, stream, /*is_messages=*/true)
      .call.receives.push_back({peer, nullptr, static_cast<std::byte*>(to), count, type});
  return ncclSuccess;
}
ncclResult_t ncclAllReduce(const void* input, void* output, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t redop, ncclComm_t comm, cudaStream_t stream) {
  STANDIN_CALL;
  return Collective("all_reduce", input, output, count, count, count, type, redop, 0, comm, stream);
}
ncclResult_t ncclReduce(const void* input, void* output, std::size_t count, ncclDataType_t type,
                        ncclRedOp_t redop, int root, ncclComm_t comm, cudaStream_t stream) {
  STANDIN_CALL;
  return Collective("reduce", input, output, count, Of(comm).rank == root ? count : 0, count, type,
                    redop, root, comm, stream);
}
ncclResult_t ncclBroadcast(const void* input, void* output, std::size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  STANDIN_CALL;
  return Collective("broadcast", input, output, Of(comm).rank == root ? count : 0, count, count,
                    type, ncclSum, root, comm, stream);
}
ncclResult_t ncclAllGather(const void* input, void* output, std::size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  STANDIN_CALL;
  return Collective("all_gather", input, output, count,
                    count * static_cast<std::size_t>(Of(comm).clique->size), count, type, ncclSum,
                    0, comm, stream);
}
ncclResult_t ncclReduceScatter(const void* input, void* output, std::size_t count,
                               ncclDataType_t type, ncclRedOp_t redop, ncclComm_t comm,
                               cudaStream_t stream) {
  STANDIN_CALL;
  return Collective("reduce_scatter", input, output,
                    count * static_cast<std::size_t>(Of(comm).clique->size), count, count, type,
                    redop, 0, comm, stream);
}

}  // extern "C"
