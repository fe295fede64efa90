// A strict stand-in for the CUDA runtime, cuBLASLt, cuDNN and NCCL, as far as our code uses them:
// what it doesn't know doesn't link or ends the test, and what it doesn't allow is a violation that
// a test sees. Ranks are threads; device memory is host memory; streams run in order, when they are
// looked at; the calls of a communicator's ranks must match in order, as in life. A launch of a
// kernel of ours runs the kernel's body for each index; a matrix product is made from what the
// descriptors say, and attention operation by operation as cuDNN's graph has it. Time is virtual:
// an operation takes kLaunch plus its bytes at kBytesPerSecond or its flops at kFlopsPerSecond,
// times the slowness of its slowest device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace standin {

constexpr double kLaunch_s = 5e-6;
constexpr double kBytesPerSecond = 1e11;  // of a communicator with all channels
constexpr int kChannels = 4;              // share it; fewer where its configuration says so
constexpr double kFlopsPerSecond = 1e12;
constexpr int kCacheBytes = 1 << 16;

// kNotReady: it waits for the fabric manager, which is CUDA's error 802.
enum class Driver { kFits, kAbsent, kTooOld, kStub, kNotReady };

struct Faults {
  int devices = 8;
  Driver driver = Driver::kFits;
  int compute_capability = 90;
  int oldest_code = 75;      // the lowest compute capability that kernels of ours were compiled for
  int compute_mode = 0;      // of all devices, as CUDA's enumeration has it
  bool unavailable = false;  // and another process holds them
  std::size_t memory_bytes = std::size_t{1} << 30;  // of all devices together
  std::map<int, double> slowness = {};              // of a device: 1.5 takes half as long again
  std::string spoil_kernel = {};                    // "copy": leaves one index out, words 12 and 13
  bool one_pass = false;                            // of a kernel, where it was to make several
  // The collectives of a communicator …
  int hang_after = -1;              // after so many hang
  int fail_after = -1;              // … or end in an asynchronous error …
  int fail_rank = -1;               // … that this rank alone hears of; -1: all do
  std::size_t spoil_operation = 0;  // this one (from 1) leaves one element wrong
  std::string log = {};             // goes to $NCCL_DEBUG_FILE with each communicator
  // Matrix products and attention. An algorithm, or a plan, is known by its number, 0 being the
  // heuristic's first.
  std::vector<double> algorithms = {1.0};  // their times, as multiples of what is said above
  int failing_algorithm = -1;              // ends at once in an error, in no time
  int wrong_algorithm = -1;                // leaves one element wrong
  bool spoil_copy = false;                 // every copy leaves its last byte as it was
  bool no_peers = false;                   // no device reaches another
  bool synchronizes = false;               // waits for its own stream
  bool unsupported = false;                // the heuristic has nothing to offer
  int unbuildable_plan = -1;               // of attention
  std::vector<std::int64_t> workspace_bytes = {};  // of its plans; a KiB where nothing is said
};

// Everything as in the beginning, with these faults.
void Reset(const Faults& faults = {});
// From now on kernels of ours don't end, or do again.
void Hang(bool hangs);
// The violations, which no program may do, in the order in which they were done.
std::vector<std::string> Violations();
// Handles and memory that were made and not given back, by kind.
std::map<std::string, int> Leaks();
// How often each function was called.
int Calls(const std::string& function);
// How many collectives have been done.
int Collectives();

}  // namespace standin
