// f32 fused multiply-adds through Highway's runtime dispatch: this file is compiled once for each
// instruction set. collectives/reduction.cpp is the only other includer of Highway.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu_peak_f32.cpp"
#include <hwy/foreach_target.h>  // Must come before highway.h.
#include <hwy/highway.h>

#include <cmath>
#include <cstring>

#include "kernels/cpu_peak.h"
#include "runner/core/random.h"

HWY_BEFORE_NAMESPACE();
namespace assay {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;

// The number of chains, in vectors. Hiding a latency of 4 cycles takes 8 in two pipes and 16 in
// four. Where there are only 16 registers, 12 and the constant fit; one spilled accumulator would
// halve the figure.
constexpr bool kManyRegisters = !HWY_ARCH_X86 || HWY_TARGET <= HWY_AVX3;
constexpr std::size_t kVectors = kManyRegisters ? 16 : 12;

std::int64_t Chains() { return static_cast<std::int64_t>(kVectors * hn::Lanes(F32())); }

// The loop. Each chain computes x ← x² + c, which is chaotic for c near -1.7 (and bounded: |x| <= 2
// for -2 <= c <= 0), so that all mantissa bits keep toggling and the result depends on the number
// of steps.
void RunF32(const std::uint32_t* values, const std::uint32_t* operands, std::uint32_t* out) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const auto* from = reinterpret_cast<const float*>(values);
  auto* to = reinterpret_cast<float*>(out);
  const auto c = hn::LoadU(d, reinterpret_cast<const float*>(operands));
  // The vectors are separate variables and not an array, which compilers keep on the stack.
  const auto load = [&](std::size_t i)
                        HWY_ATTR { return hn::LoadU(d, from + i % kVectors * lanes); };
  auto x0 = load(0), x1 = load(1), x2 = load(2), x3 = load(3);
  auto x4 = load(4), x5 = load(5), x6 = load(6), x7 = load(7);
  auto x8 = load(8), x9 = load(9), x10 = load(10), x11 = load(11);
  auto x12 = load(12), x13 = load(13), x14 = load(14), x15 = load(15);
  for (std::int64_t step = 0; step < kPeakSteps; ++step) {
    x0 = hn::MulAdd(x0, x0, c);
    x1 = hn::MulAdd(x1, x1, c);
    x2 = hn::MulAdd(x2, x2, c);
    x3 = hn::MulAdd(x3, x3, c);
    x4 = hn::MulAdd(x4, x4, c);
    x5 = hn::MulAdd(x5, x5, c);
    x6 = hn::MulAdd(x6, x6, c);
    x7 = hn::MulAdd(x7, x7, c);
    x8 = hn::MulAdd(x8, x8, c);
    x9 = hn::MulAdd(x9, x9, c);
    x10 = hn::MulAdd(x10, x10, c);
    x11 = hn::MulAdd(x11, x11, c);
    if constexpr (kManyRegisters) {
      x12 = hn::MulAdd(x12, x12, c);
      x13 = hn::MulAdd(x13, x13, c);
      x14 = hn::MulAdd(x14, x14, c);
      x15 = hn::MulAdd(x15, x15, c);
    }
  }
  const auto store = [&](std::size_t i, auto x) HWY_ATTR { hn::StoreU(x, d, to + i * lanes); };
  store(0, x0), store(1, x1), store(2, x2), store(3, x3);
  store(4, x4), store(5, x5), store(6, x6), store(7, x7);
  store(8, x8), store(9, x9), store(10, x10), store(11, x11);
  if constexpr (kManyRegisters) store(12, x12), store(13, x13), store(14, x14), store(15, x15);
}

// Whether MulAdd is fused and so rounds once: (1 + 2^-12)² - (1 + 2^-11) is 2^-24, or 0 if the
// square is rounded.
bool Fused() {
  const F32 d;
  const auto x = hn::Set(d, 1.0F + 0x1p-12F);
  return hn::GetLane(hn::MulAdd(x, x, hn::Set(d, -1.0F - 0x1p-11F))) != 0;
}

const char* TargetName() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace assay
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace assay {
namespace {

HWY_EXPORT(Chains);
HWY_EXPORT(RunF32);
HWY_EXPORT(Fused);
HWY_EXPORT(TargetName);

std::uint32_t Bits(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

float Float(std::uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// A uniform random number in [0, 1).
float Uniform(std::uint64_t seed, std::uint64_t index) {
  return static_cast<float>(RandomAt(seed, index) >> 40U) * 0x1p-24F;
}

void Fill(std::uint64_t seed, std::uint32_t* values, std::uint32_t* operands) {
  const std::int64_t chains = HWY_DYNAMIC_DISPATCH(Chains)();
  const std::uint32_t c = Bits(-1.6F - 0.2F * Uniform(seed, 0));
  for (std::int64_t i = 0; i < chains; ++i) {
    values[i] = Bits(Uniform(seed, static_cast<std::uint64_t>(i) + 1));
    operands[i] = c;
  }
}

void RunLoop(const std::uint32_t* values, const std::uint32_t* operands, std::uint32_t* out) {
  HWY_DYNAMIC_DISPATCH(RunF32)(values, operands, out);
}

// Computes the same steps one chain after the other, rounding once or twice as the vector
// instruction does.
void Reference(const std::uint32_t* values, const std::uint32_t* operands, std::uint32_t* out) {
  const std::int64_t chains = HWY_DYNAMIC_DISPATCH(Chains)();
  const bool fused = HWY_DYNAMIC_DISPATCH(Fused)();
  for (std::int64_t i = 0; i < chains; ++i) {
    float x = Float(values[i]);
    const float c = Float(operands[i]);
    for (std::int64_t step = 0; step < kPeakSteps; ++step) {
      if (fused) {
        x = std::fma(x, x, c);
      } else {
        const volatile float square = x * x;  // Rounded: volatile keeps it from being fused.
        x = square + c;
      }
    }
    out[i] = Bits(x);
  }
}

}  // namespace

PeakLoop F32PeakLoop() {
  return {.instruction = std::string("fma ") + HWY_DYNAMIC_DISPATCH(TargetName)(),
          .chains = HWY_DYNAMIC_DISPATCH(Chains)(),
          .ops_per_step = 2,
          .fill = Fill,
          .run = RunLoop,
          .reference = Reference};
}

void ForEachF32Target(const std::function<void()>& body) {
  const auto confine = [](std::int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  };
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    confine(target);
    body();
  }
  confine(0);
}

std::string HighwayVersion() {
  return std::to_string(HWY_MAJOR) + '.' + std::to_string(HWY_MINOR) + '.' +
         std::to_string(HWY_PATCH) + " (" + HWY_DYNAMIC_DISPATCH(TargetName)() + ')';
}

}  // namespace assay
#endif  // HWY_ONCE
