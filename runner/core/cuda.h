// RAII and errors for the CUDA runtime, whose header only this one includes. It is for the sources
// of modules alone.
#pragma once

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>

#include "results/base/error.h"
#include "runner/core/handle.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// The remedy for an error of CUDA, in words.
inline std::string RemedyOf(cudaError_t error) {
  if (error == cudaErrorSystemNotReady) {  // 802: the switches between the GPUs are not set up
    return "start NVIDIA's fabric manager, whose version is the driver's (systemctl start "
           "nvidia-fabricmanager), and on GB200 and its like IMEX (systemctl start nvidia-imex)";
  }
  if (error == cudaErrorSystemDriverMismatch) {  // 803
    return "libcuda.so.1 is not of the running driver's version: reboot after an update, and mount "
           "the host's own into a container";
  }
  if (error == cudaErrorCompatNotSupportedOnDevice) {  // 804
    return "cuda-compat is for GPUs of data centres: take it out of LD_LIBRARY_PATH";
  }
  return "see nvidia-smi and dmesg";
}

// Turns an error of CUDA into ours: throws Error, with a remedy, for anything but success.
inline void Check(cudaError_t error, std::source_location where = std::source_location::current()) {
  if (error == cudaSuccess) return;
  throw Error(fmt::format("CUDA: {} ({}, line {}); {}", cudaGetErrorString(error),
                          cudaGetErrorName(error), where.line(), RemedyOf(error)));
}

// The owners of CUDA's handles and memory.
template <class Pointer, auto Destroy>
using Owned = Handle<std::remove_pointer_t<Pointer>, Destroy>;
using Stream = Owned<cudaStream_t, cudaStreamDestroy>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;
using Graph = Owned<cudaGraph_t, cudaGraphDestroy>;
using GraphExec = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
using DeviceMemory = Handle<void, cudaFree>;
using MappedMemory = Handle<void, cudaFreeHost>;

// Makes a stream on the current device that doesn't wait for the default stream.
inline Stream MakeStream() {
  cudaStream_t stream = nullptr;
  Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return Stream(stream);
}

// Makes an event on the current device that records the time.
inline Event MakeEvent() {
  cudaEvent_t event = nullptr;
  Check(cudaEventCreate(&event));
  return Event(event);
}

// Allocates memory on the current device, aligned for every use. Throws Error where there is too
// little.
inline DeviceMemory MakeDeviceMemory(std::size_t bytes) {
  void* memory = nullptr;
  Check(cudaMalloc(&memory, bytes));
  return DeviceMemory(memory);
}

// Allocates page-locked host memory that all devices see at the same address. Throws Error where
// there is too little.
inline MappedMemory MakeMappedMemory(std::size_t bytes) {
  void* memory = nullptr;
  Check(cudaHostAlloc(&memory, bytes, cudaHostAllocMapped | cudaHostAllocPortable));
  return MappedMemory(memory);
}

// Captures the work that `enqueue` puts on the stream, instead of running it, as a graph that can
// be launched. Whatever it throws as an Error is passed on, and the stream can be used again.
template <class Enqueue>
GraphExec Capture(cudaStream_t stream, const Enqueue& enqueue) {
  Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    enqueue();
  } catch (const Error&) {
    cudaStreamEndCapture(stream, &graph);  // makes the stream usable again; the graph isn't
    const Graph discarded(graph);
    throw;
  }
  Check(cudaStreamEndCapture(stream, &graph));
  const Graph owned(graph);
  cudaGraphExec_t executable = nullptr;
  Check(cudaGraphInstantiate(&executable, graph, 0));
  GraphExec result(executable);
  Check(cudaGraphUpload(executable, stream));  // so that its first launch is like the others
  return result;
}

// The reason why no device can be used on this machine, or nothing where *devices of them can. The
// runtime finds the driver by itself.
inline std::optional<Skipped> NoDevice(int* devices) {
  const cudaError_t error = cudaGetDeviceCount(devices);
  if (error == cudaSuccess && *devices > 0) return std::nullopt;
  cudaGetLastError();  // clears the error, which would else be taken for a later call's
  const auto version = [](int number) {
    return fmt::format("CUDA {}.{}", number / 1000, number / 10 % 100);
  };
  int runtime = 0;
  int driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  if (error == cudaErrorInsufficientDriver && driver > 0) {
    return Skipped{
        .reason = fmt::format("the NVIDIA driver is for {}, older than {}", version(driver),
                              version(runtime)),
        .remedy = fmt::format("a newer driver, or assay built with {}", version(driver))};
  }
  if (error == cudaErrorInsufficientDriver) {
    return Skipped{.reason = "there is no NVIDIA driver",
                   .remedy = fmt::format("a machine with NVIDIA GPUs and a driver for {} "
                                         "(nvidia-smi); in a container: --gpus all",
                                         version(runtime))};
  }
  if (error == cudaErrorStubLibrary) {
    return Skipped{.reason = "libcuda.so.1 is the toolkit's stub, which is only for linking",
                   .remedy = "take the toolkit's stubs folder out of LD_LIBRARY_PATH"};
  }
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    return Skipped{.reason = fmt::format("CUDA sees no device: {}", cudaGetErrorString(error)),
                   .remedy = "a machine with NVIDIA GPUs; CUDA_VISIBLE_DEVICES may hide them"};
  }
  return Skipped{.reason = fmt::format("CUDA can't begin: {} (error {})", cudaGetErrorString(error),
                                       static_cast<int>(error)),
                 .remedy = RemedyOf(error)};
}

}  // namespace assay::cuda
