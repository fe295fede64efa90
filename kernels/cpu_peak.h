// Loops of register-only arithmetic, one per dtype and instruction set. A loop takes independent
// 32-bit values ("chains") through its instruction a number of times; nothing touches memory
// between its first step and its last. What it computes depends on every step, so that a loop that
// does other work than it says is found out.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>

#include "runner/probe.h"

namespace assay {

// Steps of one call: long enough to hide the call, short enough to be recomputed, and such that
// sums of Bf16PeakLoop stay exact.
constexpr std::int64_t kPeakSteps = 32768;
// No loop has more chains or more constant operands.
constexpr std::int64_t kMostPeakWords = 1024;

struct PeakLoop {
  std::string instruction = {};   // "vdpbf16ps zmm"
  std::int64_t chains = 0;        // values kept in registers
  std::int64_t ops_per_step = 0;  // of one chain: a multiplication and an addition count as two
  // Writes random values for all chains, and random constants.
  void (*fill)(std::uint64_t seed, std::uint32_t* values, std::uint32_t* operands) = nullptr;
  // Takes all chains through kPeakSteps steps.
  void (*run)(const std::uint32_t* values, const std::uint32_t* operands,
              std::uint32_t* out) = nullptr;
  // The bits that `run` must give, by plain arithmetic.
  void (*reference)(const std::uint32_t* values, const std::uint32_t* operands,
                    std::uint32_t* out) = nullptr;
};

using PeakLoopOr = std::variant<PeakLoop, Skipped>;

PeakLoop F32PeakLoop();     // everywhere, through Highway
PeakLoopOr Bf16PeakLoop();  // AVX512-BF16
PeakLoopOr Int8PeakLoop();  // AVX512-VNNI

// Calls `body` once for each instruction set of this CPU, with F32PeakLoop confined to it. For
// tests.
void ForEachF32Target(const std::function<void()>& body);

// "1.0.3 (AVX3_DL)": the library and the instruction set that it chose here.
std::string HighwayVersion();

}  // namespace assay
