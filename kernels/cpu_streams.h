// The loops that move memory, each over one thread's part of the arrays. Their stores are
// non-temporal, which bypass the caches: a line isn't read before it is written, so the bytes moved
// are the bytes counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace assay {

constexpr std::size_t kStreamLineWords = 8;  // a cache line of 64 bytes, in words of 8

// The four loops for one instruction set. REQUIRES, for each of them: arrays begin at a cache line,
// don't overlap, and `words` is a multiple of kStreamLineWords.
struct StreamLoops {
  std::string instruction = {};  // "avx512 non-temporal"
  // Returns the sum of all words, modulo 2^64, so that no load can be left out.
  std::uint64_t (*read)(const std::uint64_t* from, std::size_t words) = nullptr;
  void (*write)(std::uint64_t* to, std::uint64_t value, std::size_t words) = nullptr;
  void (*copy)(std::uint64_t* to, const std::uint64_t* from, std::size_t words) = nullptr;
  // Computes to[i] = b[i] + scale · c[i].
  void (*triad)(double* to, const double* b, const double* c, double scale,
                std::size_t words) = nullptr;
};

// The sets of loops that this CPU can run, the best first; never empty.
std::vector<StreamLoops> AllStreamLoops();

}  // namespace assay
