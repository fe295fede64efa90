// The loops that move memory, over one thread's part of the arrays. Stores go round the caches
// (non-temporal), so that a line isn't read before it is written and the bytes moved are the bytes
// counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace assay {

constexpr std::size_t kStreamLineWords = 8;  // a line of 64 bytes in words of 8

// REQUIRES: arrays begin at a line, `words` are whole lines.
struct StreamLoops {
  std::string instruction = {};  // "avx512 non-temporal"
  // Gives the sum of all words, modulo 2^64.
  std::uint64_t (*read)(const std::uint64_t* from, std::size_t words) = nullptr;
  void (*write)(std::uint64_t* to, std::uint64_t value, std::size_t words) = nullptr;
  void (*copy)(std::uint64_t* to, const std::uint64_t* from, std::size_t words) = nullptr;
  // to = b + scale · c
  void (*triad)(double* to, const double* b, const double* c, double scale,
                std::size_t words) = nullptr;
};

// Those that this CPU can run, the best first; never empty.
std::vector<StreamLoops> AllStreamLoops();

}  // namespace assay
