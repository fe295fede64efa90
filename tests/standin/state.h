// The state that the parts of the stand-in share: streams, what is alive, and what was done wrong.
// It is for them alone; tests see standin.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/inputs.h"
#include "standin/standin.h"

namespace standin {

extern std::recursive_mutex mutex;  // held through each call
extern Faults faults;

void Count(const char* function);
void Violate(const std::string& what);
// Ends the program, because our code asks for something that the stand-in doesn't know. That is no
// violation to be counted.
[[noreturn]] void Unknown(const std::string& what);
bool AtReset(void (*forget)());

void Bear(const void* thing, const std::string& kind);
bool Dies(const void* thing, const std::string& kind);
bool IsAlive(const void* thing, const std::string& kind);
void Forget(const void* thing);
template <class T>
T* Born(T* thing, const std::string& kind) {
  Bear(thing, kind);
  return thing;
}

// Memory of a device, filled with what is no number.
void* Allocate(std::size_t bytes);
bool Release(void* memory);
bool IsDevice(const void* begin, std::size_t bytes);
void RequireDevice(const void* begin, std::size_t bytes, const char* what);

int DeviceOf(const void* memory);  // -1: of none

int CurrentDevice();
extern thread_local int groups_open;  // of NCCL's calls, by this thread
double SlownessOf(int device);

struct StreamState;
// One thing on a stream. False: it can't go on yet.
using Command = std::function<bool(StreamState&)>;

struct StreamState {
  int device = 0;
  double time_s = 0;
  std::deque<Command> commands = {};
  bool capturing = false;
  bool synchronizing = false;  // a library waits for it, so that nothing else will happen
  std::vector<Command> captured = {};

  void Put(Command command) {
    capturing ? captured.push_back(std::move(command)) : commands.push_back(std::move(command));
  }
  bool Progress() {
    while (!commands.empty() && commands.front()(*this)) commands.pop_front();
    return commands.empty();
  }
  // Waits for the stream, as a library does that waits within a call.
  void Synchronize() {
    synchronizing = true;
    Progress();
    synchronizing = false;
  }
  void Takes(double seconds) { time_s += seconds * SlownessOf(device); }
};
StreamState& Of(cudaStream_t stream);

// The command that a launch of this kernel puts on a stream; null: there is no such kernel.
Command KernelCommand(const std::string& name, void** arguments, unsigned blocks, unsigned threads);

// Puts a number where it is stored in that format …
inline void Store(assay::Format format, double value, void* to, std::int64_t index) {
  using assay::Format;
  const auto as = [&]<class T>(T stored) { static_cast<T*>(to)[index] = stored; };
  const auto number = static_cast<float>(value);
  switch (format) {
    case Format::kF64:
      return as(value);
    case Format::kF32:
      return as(number);
    case Format::kBf16:
      return as(assay::Bf16FromF32(number));
    case Format::kF16:
      return as(assay::F16FromF32(number));
    case Format::kF8E4m3:
      return as(assay::F8E4m3FromF32(number));
    case Format::kS32:
      return as(static_cast<std::int32_t>(value));
    default:
      Unknown("such output");
  }
}
// … or says what would be there.
inline double Stored(assay::Format format, double value) {
  double stored = 0;  // room for any of them
  Store(format, value, &stored, 0);
  return assay::Tensor{.format = format, .data = &stored}[0];
}

}  // namespace standin

#define STANDIN_CALL                     \
  std::scoped_lock lock(standin::mutex); \
  standin::Count(__func__)
