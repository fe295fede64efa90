// Loops of register-only arithmetic, one for each data type and instruction set: the compute side
// of the measured roofline. A loop takes independent 32-bit values ("chains") through one
// instruction kPeakSteps times, and touches no memory between its first step and its last. The
// result depends on every step, so a check of its bits finds a loop that does less work than it
// counts.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>

#include "runner/core/probe.h"

namespace assay {

// The steps of one call: enough to hide the cost of the call, few enough for the reference to
// recompute, and so few that the sums of Bf16PeakLoop stay exact.
constexpr std::int64_t kPeakSteps = 32768;
// The size of a caller's buffers, in 32-bit words: no loop has more chains or constant operands.
constexpr std::int64_t kMostPeakWords = 1024;

// One loop and what is needed to check it. All pointers are to arrays of up to kMostPeakWords words
// that the caller owns; `out` has one word for each chain.
struct PeakLoop {
  std::string instruction = {};   // "vdpbf16ps zmm"
  std::int64_t chains = 0;        // values kept in registers
  std::int64_t ops_per_step = 0;  // of one chain: a multiplication and an addition count as two
  // Writes random values for all chains, and random constants.
  void (*fill)(std::uint64_t seed, std::uint32_t* values, std::uint32_t* operands) = nullptr;
  // Takes all chains through kPeakSteps steps.
  void (*run)(const std::uint32_t* values, const std::uint32_t* operands,
              std::uint32_t* out) = nullptr;
  // Computes the exact bits that `run` must give, by plain arithmetic.
  void (*reference)(const std::uint32_t* values, const std::uint32_t* operands,
                    std::uint32_t* out) = nullptr;
};

using PeakLoopOr = std::variant<PeakLoop, Skipped>;

// The loops of each data type. F32 runs everywhere, through Highway; the others are Skipped where
// the CPU lacks the instruction.
PeakLoop F32PeakLoop();
PeakLoopOr Bf16PeakLoop();  // needs AVX512-BF16
PeakLoopOr Int8PeakLoop();  // needs AVX512-VNNI

// Calls `body` once for each instruction set of this CPU, with everything that uses Highway in this
// process confined to it. It serves tests, and nothing else may run meanwhile.
void ForEachF32Target(const std::function<void()>& body);

// Highway's version and the instruction set that it chose here: "1.0.3 (AVX3_DL)".
std::string HighwayVersion();

}  // namespace assay
