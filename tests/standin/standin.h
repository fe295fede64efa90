// A strict stand-in for the CUDA runtime and NCCL, as far as our code uses them: what it doesn't
// know doesn't link, and what it doesn't allow is a violation that a test sees. Ranks are threads;
// device memory is host memory; streams run in order, when they are looked at; the calls of a
// communicator's ranks must match in order, as in life; and time is virtual: an operation takes
// kLaunch plus its bytes at kBytesPerSecond, times the slowness of its slowest device.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace standin {

constexpr double kLaunch_s = 5e-6;
constexpr double kBytesPerSecond = 1e11;

struct Faults {
  int devices = 8;
  bool no_driver = false;
  std::map<int, double> slowness = {};  // of a device: 1.5 takes half as long again
  int hang_after = -1;                  // the collectives of a communicator after so many hang
  int fail_after = -1;                  // … or end in an asynchronous error
  std::size_t spoil_operation = 0;      // this collective (from 1) leaves one element wrong
};

// Everything as in the beginning, with these faults.
void Reset(const Faults& faults = {});
// What no program may do, in the order in which it was done.
std::vector<std::string> Violations();
// Handles and memory that were made and not given back, by kind.
std::map<std::string, int> Leaks();
// How often each function was called.
int Calls(const std::string& function);

}  // namespace standin
