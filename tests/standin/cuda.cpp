// The CUDA runtime's part of the stand-in.
#include <cuda_runtime_api.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <utility>

#include "standin/state.h"

namespace standin {

std::recursive_mutex mutex;
Faults faults;
thread_local int groups_open = 0;

namespace {

std::vector<std::string> violations;
std::map<std::string, int> calls;
std::map<const void*, std::string> alive;  // handle or memory -> kind
struct Allocation {
  std::size_t bytes = 0;
  int device = 0;
};
std::map<const void*, Allocation> device_memory;
std::set<std::pair<int, int>> peers;  // a device and another that it may reach
std::size_t allocated = 0;
bool hangs = false;
std::vector<std::unique_ptr<StreamState>> ended_streams;
std::vector<StreamState*> streams;
thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

std::vector<void (*)()>& Forgetting() {
  static std::vector<void (*)()> all;
  return all;
}

// The kernels that nvcc's code registers before main, by the stub that is its host's name for them.
std::map<const void*, std::string>& Kernels() {
  static std::map<const void*, std::string> all;
  return all;
}

struct Configuration {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

struct EventState {
  int device = 0;
  std::size_t asked = 0;             // how often it was put on a stream
  std::vector<double> times_s = {};  // of those that were reached
};
struct GraphState {
  std::vector<Command> commands = {};
  bool uploaded = false;
};

cudaError_t Fails(cudaError_t error) {
  last_error = error;
  return error;
}

void PutCopy(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  const std::size_t copied = bytes - (faults.spoil_copy && bytes > 0 ? 1 : 0);
  Of(stream).Put([=](StreamState& own) {
    std::memcpy(to, from, copied);
    own.Takes(kLaunch_s + static_cast<double>(bytes) / kBytesPerSecond);
    return true;
  });
}

}  // namespace

void Count(const char* function) { ++calls[function]; }
void Violate(const std::string& what) { violations.push_back(what); }
void Unknown(const std::string& what) {
  std::fprintf(stderr, "the stand-in knows no %s\n", what.c_str());
  std::abort();
}
bool AtReset(void (*forget)()) {
  Forgetting().push_back(forget);
  return true;
}

void Bear(const void* thing, const std::string& kind) { alive[thing] = kind; }
bool IsAlive(const void* thing, const std::string& kind) {
  const auto found = alive.find(thing);
  return found != alive.end() && found->second == kind;
}
bool Dies(const void* thing, const std::string& kind) {
  if (IsAlive(thing, kind)) return alive.erase(thing) > 0;
  Violate("a " + kind + " was destroyed that is none, or is no more");
  return false;
}

void Forget(const void* thing) { alive.erase(thing); }

void* Allocate(std::size_t bytes) {
  void* memory = ::operator new (bytes, std::align_val_t{256});
  std::memset(memory, 0x5a, bytes);
  device_memory[memory] = {.bytes = bytes, .device = current_device};
  allocated += bytes;
  return Born(memory, "memory");
}
bool Release(void* memory) {
  if (!Dies(memory, "memory")) return false;
  allocated -= device_memory[memory].bytes;
  device_memory.erase(memory);
  ::operator delete (memory, std::align_val_t{256});
  return true;
}
bool IsDevice(const void* begin, std::size_t bytes) {
  if (bytes == 0) return true;
  const auto after = device_memory.upper_bound(begin);
  if (after == device_memory.begin()) return false;
  const auto& [start, memory] = *std::prev(after);
  return static_cast<const char*>(begin) + bytes <= static_cast<const char*>(start) + memory.bytes;
}
int DeviceOf(const void* begin) {
  return IsDevice(begin, 1) ? std::prev(device_memory.upper_bound(begin))->second.device : -1;
}
void RequireDevice(const void* begin, std::size_t bytes, const char* what) {
  if (!IsDevice(begin, bytes)) Violate(std::string(what) + " is no device memory");
}

int CurrentDevice() { return current_device; }
double SlownessOf(int device) {
  const auto found = faults.slowness.find(device);
  return found == faults.slowness.end() ? 1 : found->second;
}

// Streams wait for each other's events, so that all go on until none can.
void Progress() {
  std::size_t before = 0;
  std::size_t left = SIZE_MAX;
  do {
    before = std::exchange(left, 0);
    for (StreamState* stream : streams) {
      stream->Progress();
      left += stream->commands.size();
    }
  } while (left != before);
}

StreamState& Of(cudaStream_t stream) { return *reinterpret_cast<StreamState*>(stream); }

void Reset(const Faults& new_faults) {
  std::scoped_lock lock(mutex);
  faults = new_faults;
  violations.clear();
  calls.clear();
  alive.clear();
  device_memory.clear();
  peers.clear();
  allocated = 0;
  hangs = false;
  ended_streams.clear();
  streams.clear();
  for (void (*forget)() : Forgetting()) forget();
}
void Hang(bool now) {
  std::scoped_lock lock(mutex);
  hangs = now;
}
std::vector<std::string> Violations() {
  std::scoped_lock lock(mutex);
  return violations;
}
std::map<std::string, int> Leaks() {
  std::scoped_lock lock(mutex);
  std::map<std::string, int> kinds;
  for (const auto& [thing, kind] : alive) ++kinds[kind];
  return kinds;
}
int Calls(const std::string& function) {
  std::scoped_lock lock(mutex);
  return calls[function];
}

}  // namespace standin

using namespace standin;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  STANDIN_CALL;
  *count = faults.driver == Driver::kFits ? faults.devices : 0;
  if (faults.driver == Driver::kStub) return Fails(cudaErrorStubLibrary);
  if (faults.driver == Driver::kNotReady) return Fails(cudaErrorSystemNotReady);
  if (faults.driver != Driver::kFits) return Fails(cudaErrorInsufficientDriver);
  return faults.devices == 0 ? Fails(cudaErrorNoDevice) : cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  STANDIN_CALL;
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  STANDIN_CALL;
  *version = faults.driver == Driver::kAbsent   ? 0
             : faults.driver == Driver::kTooOld ? 11080
                                                : CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  STANDIN_CALL;
  if (device < 0 || device >= faults.devices) return cudaErrorInvalidDevice;
  if (faults.unavailable) return Fails(cudaErrorDevicesUnavailable);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  STANDIN_CALL;
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  STANDIN_CALL;
  *properties = {};
  properties->pciBusID = 0x10 + device;
  std::strcpy(properties->name, "stand-in");
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  STANDIN_CALL;
  std::snprintf(id, static_cast<std::size_t>(length), "00AB:%02X:00.0", device);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  STANDIN_CALL;
  switch (attribute) {
    case cudaDevAttrL2CacheSize:
      *value = kCacheBytes;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 2;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = faults.compute_capability / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = faults.compute_capability % 10;
      break;
    case cudaDevAttrClockRate:
      *value = 1'000'000;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = 2'000'000;
      break;
    case cudaDevAttrComputeMode:
      *value = faults.compute_mode;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = 1024;
      break;
    default:
      Violate("an attribute that the stand-in doesn't know");
  }
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  STANDIN_CALL;
  *total = faults.memory_bytes;
  *free = faults.memory_bytes - allocated;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  STANDIN_CALL;
  return std::exchange(last_error, cudaSuccess);
}
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  STANDIN_CALL;
  if (allocated + bytes > faults.memory_bytes) return Fails(cudaErrorMemoryAllocation);
  *memory = Allocate(bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  STANDIN_CALL;
  for (StreamState* stream : streams) stream->Synchronize();
  return Release(memory) ? cudaSuccess : Fails(cudaErrorInvalidValue);
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
  STANDIN_CALL;
  if (flags != (cudaHostAllocMapped | cudaHostAllocPortable)) Violate("host memory of other flags");
  *memory = Born(std::calloc(1, bytes), "host memory");
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  STANDIN_CALL;
  for (StreamState* stream : streams) stream->Synchronize();
  if (Dies(memory, "host memory")) std::free(memory);
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  if (error == cudaErrorSystemNotReady) return "system not yet initialized";
  return error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "some CUDA error";
}
const char* cudaGetErrorName(cudaError_t) { return "cudaErrorOfTheStandIn"; }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  STANDIN_CALL;
  if (flags != cudaStreamNonBlocking) Violate("a stream that waits for the default stream");
  auto* state = Born(new StreamState, "stream");
  state->device = current_device;
  streams.push_back(state);
  *stream = reinterpret_cast<cudaStream_t>(state);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  STANDIN_CALL;
  // Where a communicator was aborted, other ranks may still look at what is left on it.
  if (!Dies(stream, "stream")) return cudaErrorInvalidResourceHandle;
  std::erase(streams, &Of(stream));
  ended_streams.emplace_back(&Of(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  STANDIN_CALL;
  if (Of(stream).capturing) Violate("a stream was waited for while it is captured");
  if (groups_open > 0) Violate("a stream was waited for within a group, before its operations");
  Progress();
  return Of(stream).commands.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  STANDIN_CALL;
  if (Of(stream).capturing) Violate("a stream was waited for while it is captured");
  Of(stream).Synchronize();
  return Of(stream).commands.empty() ? cudaSuccess : Fails(cudaErrorLaunchTimeout);
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  STANDIN_CALL;
  if (!Of(stream).commands.empty()) Violate("a stream was captured with work on it");
  Of(stream).capturing = true;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  STANDIN_CALL;
  auto* state = Born(new GraphState, "graph");
  state->commands = std::exchange(Of(stream).captured, {});
  Of(stream).capturing = false;
  *graph = reinterpret_cast<cudaGraph_t>(state);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  STANDIN_CALL;
  auto* state = Born(new GraphState(*reinterpret_cast<GraphState*>(graph)), "executable graph");
  *executable = reinterpret_cast<cudaGraphExec_t>(state);
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t) {
  STANDIN_CALL;
  reinterpret_cast<GraphState*>(executable)->uploaded = true;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  STANDIN_CALL;
  const auto* state = reinterpret_cast<GraphState*>(executable);
  if (!state->uploaded) Violate("a graph is uploaded within a timed span");
  for (const Command& command : state->commands) Of(stream).Put(command);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  STANDIN_CALL;
  if (Dies(graph, "graph")) delete reinterpret_cast<GraphState*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  STANDIN_CALL;
  if (Dies(executable, "executable graph")) delete reinterpret_cast<GraphState*>(executable);
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  STANDIN_CALL;
  auto* state = Born(new EventState, "event");
  state->device = current_device;
  *event = reinterpret_cast<cudaEvent_t>(state);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  STANDIN_CALL;
  if (Dies(event, "event")) delete reinterpret_cast<EventState*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  STANDIN_CALL;
  auto* state = reinterpret_cast<EventState*>(event);
  if (state->device != Of(stream).device) Violate("an event of another device than its stream");
  if (groups_open > 0) Violate("an event was recorded within a group, before its operations");
  ++state->asked;
  Of(stream).Put([state](StreamState& own) {
    state->times_s.push_back(own.time_s);
    return true;
  });
  return cudaSuccess;
}
// Waits for what was recorded last, whatever is recorded later.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  STANDIN_CALL;
  const auto* state = reinterpret_cast<EventState*>(event);
  if (flags != 0 || state->asked == 0) Violate("a stream waits for an event that was not recorded");
  if (Of(stream).capturing)
    Violate("a capture of several streams, which the stand-in doesn't know");
  Of(stream).Put([state, record = state->asked](StreamState& own) {
    if (state->times_s.size() < record) return false;
    own.time_s = std::max(own.time_s, state->times_s[record - 1]);
    return true;
  });
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  STANDIN_CALL;
  const auto* first = reinterpret_cast<EventState*>(begin);
  const auto* second = reinterpret_cast<EventState*>(end);
  for (const EventState* state : {first, second}) {
    if (state->asked == 0 || state->times_s.size() < state->asked) return cudaErrorNotReady;
  }
  *ms = static_cast<float>((second->times_s.back() - first->times_s.back()) * 1e3);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  STANDIN_CALL;
  const bool down = kind == cudaMemcpyHostToDevice;
  RequireDevice(down ? to : from, bytes, "one end of a copy");
  if (IsDevice(down ? from : to, bytes) && bytes > 0) {
    Violate("the host's end of a copy lies on a device");
  }
  if (kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToHost)
    Violate("a copy of another kind");
  PutCopy(to, from, bytes, stream);
  return cudaSuccess;
}
cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device,
                                std::size_t bytes, cudaStream_t stream) {
  STANDIN_CALL;
  if (DeviceOf(to) != to_device || DeviceOf(from) != from_device) {
    Violate("an end of a copy lies on another device than was said");
  }
  RequireDevice(to, bytes, "what is copied to");
  RequireDevice(from, bytes, "what is copied from");
  if (faults.no_peers) Of(stream).Synchronize();  // by way of the host
  PutCopy(to, from, bytes, stream);
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  STANDIN_CALL;
  if (std::max(device, peer) >= faults.devices || device == peer)
    return Fails(cudaErrorInvalidDevice);
  *can = faults.no_peers ? 0 : 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  STANDIN_CALL;
  return peers.insert({current_device, peer}).second ? cudaSuccess
                                                     : Fails(cudaErrorPeerAccessAlreadyEnabled);
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  STANDIN_CALL;
  RequireDevice(memory, bytes, "what is set");
  Of(stream).Put([=](StreamState&) {
    std::memset(memory, value, bytes);
    return true;
  });
  return cudaSuccess;
}

// The functions that nvcc's code calls: kernels make themselves known before main, and launches end
// here. CUDA 12 launches by the stub's address, CUDA 13 by way of a handle.

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void**, const char* stub, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  int status = 0;
  char* plain = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  Kernels()[stub] = plain != nullptr ? plain : name;
  std::free(plain);
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes,
                                     cudaStream_t stream) {
  configurations.push_back({grid, block, shared_bytes, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes,
                                       void* stream) {
  const Configuration last = configurations.back();
  configurations.pop_back();
  *grid = last.grid;
  *block = last.block;
  *shared_bytes = last.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = last.stream;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* stub) {
  STANDIN_CALL;
  *attributes = {};
  if (!Kernels().contains(stub)) Violate("a kernel was asked about that is none");
  return faults.compute_capability < faults.oldest_code ? Fails(cudaErrorNoKernelImageForDevice)
                                                        : cudaSuccess;
}
cudaError_t cudaLaunchKernel(const void* stub, dim3 grid, dim3 block, void** arguments,
                             std::size_t shared_bytes, cudaStream_t stream) {
  STANDIN_CALL;
  if (faults.compute_capability < faults.oldest_code) return Fails(cudaErrorNoKernelImageForDevice);
  const auto kernel = Kernels().find(stub);
  Command command;
  if (kernel != Kernels().end()) {
    command = KernelCommand(kernel->second, arguments, grid.x, block.x);
  }
  if (!command || stream == nullptr || shared_bytes != 0 ||
      grid.y * grid.z * block.y * block.z != 1) {
    Violate("a launch that the stand-in doesn't know");
    return Fails(cudaErrorInvalidDeviceFunction);
  }
  if (Of(stream).device != current_device) Violate("a launch on another device's stream");
  if (grid.x == 0 || block.x == 0 || block.x > 1024) return Fails(cudaErrorInvalidConfiguration);
  Of(stream).Put([command](StreamState& own) {
    if (hangs && !own.synchronizing) return false;
    return command(own);
  });
  return cudaSuccess;
}
#if CUDART_VERSION >= 13000
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(stub));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared_bytes, cudaStream_t stream) {
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, arguments,
                          shared_bytes, stream);
}
#endif

}  // extern "C"
