// Loops that a knowledgeable person writes by hand for one machine, with which ours are compared.
// They are compiled with -O3 -march=native.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace assay::peers {

// STREAM's triad, a = b + scale c, over one thread's part: the compiler's own loop, and
// non-temporal stores plain, unrolled and with prefetches.
struct Triad {
  std::string name = {};
  void (*run)(double* a, const double* b, const double* c, double scale, std::size_t n) = nullptr;
};
std::vector<Triad> HandTriads();

// Multiply-adds in 16 accumulators, `steps` times each. `run` is null where the machine that this
// was compiled on has no such instruction.
struct Dot {
  std::string dtype = {};
  std::int64_t ops_per_step = 0;
  void (*run)(std::int64_t steps) = nullptr;
};
std::vector<Dot> HandDots();

}  // namespace assay::peers
