// The loops that move memory, each over one thread's part of the arrays. On x86-64 all stores are
// non-temporal and bypass the caches: a line isn't read before it is written, so the bytes moved
// are the bytes counted. Other processors get plain loops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace assay {

constexpr std::size_t kStreamLineWords = 8;  // a cache line of 64 bytes, in words of 8

// The four loops for one instruction set, which have no state. REQUIRES, for each loop: arrays
// begin at a cache line, don't overlap, and `words`, the number of 8-byte elements of each, is a
// multiple of kStreamLineWords.
struct StreamLoops {
  std::string instruction = {};  // "avx512 non-temporal", "plain"
  // Returns the sum of all words, modulo 2^64, so that no load can be left out.
  std::uint64_t (*read)(const std::uint64_t* from, std::size_t words) = nullptr;
  void (*write)(std::uint64_t* to, std::uint64_t value, std::size_t words) = nullptr;
  void (*copy)(std::uint64_t* to, const std::uint64_t* from, std::size_t words) = nullptr;
  // Computes to[i] = b[i] + scale · c[i], which some sets round once and others twice.
  void (*triad)(double* to, const double* b, const double* c, double scale,
                std::size_t words) = nullptr;
};

// The sets of loops that this CPU can run, the best first; never empty.
std::vector<StreamLoops> AllStreamLoops();

}  // namespace assay
