// bf16 and int8 dot products of AVX-512, 16 accumulators of 16 lanes each. The loops are written in
// assembly with registers named, since a compiler that keeps one accumulator on the stack reports a
// fraction of the peak.
#include <cstring>

#include "kernels/cpu_peak.h"
#include "runner/core/random.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace assay {
namespace {

constexpr const char* kRemedy = "judge gemm of this dtype by `of spec`";

#if defined(__x86_64__)

constexpr std::size_t kLanes = 16;
constexpr std::size_t kChains = 16 * kLanes;

// Accumulator i takes the dot product of the constants x[i % 4] and y[i / 4]; lane by lane.
std::size_t XWord(std::size_t chain) { return chain / kLanes % 4 * kLanes + chain % kLanes; }
std::size_t YWord(std::size_t chain) { return (4 + chain / kLanes / 4) * kLanes + chain % kLanes; }
constexpr std::size_t kOperands = 8 * kLanes;

// clang-format off
#define ASSAY_DOT_LOOP(instruction)                                               \
  std::int64_t steps = kPeakSteps;                                                \
  asm volatile(                                                                   \
      ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"                            \
      "vmovdqu32 64*\\i(%[values]), %%zmm\\i\n"                                   \
      ".endr\n"                                                                   \
      ".irp i,0,1,2,3,4,5,6,7\n"                                                  \
      "vmovdqu32 64*\\i(%[operands]), %%zmm2\\i\n"                                \
      ".endr\n"                                                                   \
      ".balign 64\n"                                                              \
      "1:\n"                                                                      \
      instruction " %%zmm24, %%zmm20, %%zmm0\n"                                   \
      instruction " %%zmm24, %%zmm21, %%zmm1\n"                                   \
      instruction " %%zmm24, %%zmm22, %%zmm2\n"                                   \
      instruction " %%zmm24, %%zmm23, %%zmm3\n"                                   \
      instruction " %%zmm25, %%zmm20, %%zmm4\n"                                   \
      instruction " %%zmm25, %%zmm21, %%zmm5\n"                                   \
      instruction " %%zmm25, %%zmm22, %%zmm6\n"                                   \
      instruction " %%zmm25, %%zmm23, %%zmm7\n"                                   \
      instruction " %%zmm26, %%zmm20, %%zmm8\n"                                   \
      instruction " %%zmm26, %%zmm21, %%zmm9\n"                                   \
      instruction " %%zmm26, %%zmm22, %%zmm10\n"                                  \
      instruction " %%zmm26, %%zmm23, %%zmm11\n"                                  \
      instruction " %%zmm27, %%zmm20, %%zmm12\n"                                  \
      instruction " %%zmm27, %%zmm21, %%zmm13\n"                                  \
      instruction " %%zmm27, %%zmm22, %%zmm14\n"                                  \
      instruction " %%zmm27, %%zmm23, %%zmm15\n"                                  \
      "dec %[steps]\n"                                                            \
      "jnz 1b\n"                                                                  \
      ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"                            \
      "vmovdqu32 %%zmm\\i, 64*\\i(%[out])\n"                                      \
      ".endr\n"                                                                   \
      "vzeroupper\n"                                                              \
      : [steps] "+r"(steps)                                                       \
      : [values] "r"(values), [operands] "r"(operands), [out] "r"(out)            \
      : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",   \
        "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",      \
        "xmm15", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27")
// clang-format on

// NOLINTBEGIN(readability-non-const-parameter): the assembly writes through `out`.
__attribute__((target("avx512f"))) void RunBf16(const std::uint32_t* values,
                                                const std::uint32_t* operands, std::uint32_t* out) {
  ASSAY_DOT_LOOP("vdpbf16ps");
}

__attribute__((target("avx512f"))) void RunInt8(const std::uint32_t* values,
                                                const std::uint32_t* operands, std::uint32_t* out) {
  ASSAY_DOT_LOOP("vpdpbusd");
}
// NOLINTEND(readability-non-const-parameter)

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

// An integer in [-most, most].
int Integer(std::uint64_t seed, std::uint64_t index, int most) {
  return static_cast<int>(RandomAt(seed, index) % (2 * static_cast<unsigned>(most) + 1)) - most;
}

// Integers so small that every sum is exact, however the CPU orders and rounds the two products of
// a lane: |sum| <= 1000 + 2 · 15² · 32768 < 2^24.
void FillBf16(std::uint64_t seed, std::uint32_t* values, std::uint32_t* operands) {
  static_assert(1000 + 2 * 15 * 15 * kPeakSteps < (1 << 24));
  for (std::size_t i = 0; i < kChains; ++i) {
    values[i] = Bits(static_cast<float>(Integer(seed, i, 1000)));
  }
  for (std::size_t i = 0; i < kOperands; ++i) {
    const auto low = static_cast<float>(Integer(seed, kChains + 2 * i, 15));
    const auto high = static_cast<float>(Integer(seed, kChains + 2 * i + 1, 15));
    operands[i] = (Bits(high) & 0xffff0000U) | (Bits(low) >> 16U);
  }
}

void ReferenceBf16(const std::uint32_t* values, const std::uint32_t* operands, std::uint32_t* out) {
  for (std::size_t i = 0; i < kChains; ++i) {
    const std::uint32_t x = operands[XWord(i)];
    const std::uint32_t y = operands[YWord(i)];
    const float dot =
        Float(x << 16U) * Float(y << 16U) + Float(x & 0xffff0000U) * Float(y & 0xffff0000U);
    out[i] = Bits(Float(values[i]) + dot * static_cast<float>(kPeakSteps));
  }
}

void FillInt8(std::uint64_t seed, std::uint32_t* values, std::uint32_t* operands) {
  for (std::size_t i = 0; i < kChains; ++i) {
    values[i] = static_cast<std::uint32_t>(RandomAt(seed, i));
  }
  for (std::size_t i = 0; i < kOperands; ++i) {
    operands[i] = static_cast<std::uint32_t>(RandomAt(seed, kChains + i));
  }
}

// Computes modulo 2^32, since the accumulators wrap.
void ReferenceInt8(const std::uint32_t* values, const std::uint32_t* operands, std::uint32_t* out) {
  for (std::size_t i = 0; i < kChains; ++i) {
    std::int32_t dot = 0;
    for (unsigned byte = 0; byte < 4; ++byte) {
      const auto x = static_cast<std::uint8_t>(operands[XWord(i)] >> (8 * byte));
      const auto y = static_cast<std::int8_t>(operands[YWord(i)] >> (8 * byte));
      dot += x * y;
    }
    out[i] = values[i] + static_cast<std::uint32_t>(dot) * static_cast<std::uint32_t>(kPeakSteps);
  }
}

// Whether the CPU has the AMX instructions of that bit of CPUID leaf 7, EDX (Intel's Software
// Developer's Manual, volume 2A, CPUID).
bool HasAmx(unsigned bit) {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx >> bit & 1U) != 0;
}

#endif  // __x86_64__

}  // namespace

PeakLoopOr Bf16PeakLoop() {
#if defined(__x86_64__)
  if (HasAmx(22)) {
    return Skipped{.reason = "this CPU multiplies bf16 in AMX tiles, which no loop here drives",
                   .remedy = kRemedy};
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16")) {
    return PeakLoop{.instruction = "vdpbf16ps zmm",
                    .chains = kChains,
                    .ops_per_step = 4,
                    .fill = FillBf16,
                    .run = RunBf16,
                    .reference = ReferenceBf16};
  }
#endif
  return Skipped{.reason = "no native bf16 dot on this CPU", .remedy = kRemedy};
}

PeakLoopOr Int8PeakLoop() {
#if defined(__x86_64__)
  if (HasAmx(25)) {
    return Skipped{.reason = "this CPU multiplies int8 in AMX tiles, which no loop here drives",
                   .remedy = kRemedy};
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni")) {
    return PeakLoop{.instruction = "vpdpbusd zmm",
                    .chains = kChains,
                    .ops_per_step = 8,
                    .fill = FillInt8,
                    .run = RunInt8,
                    .reference = ReferenceInt8};
  }
#endif
  return Skipped{.reason = "no native int8 dot on this CPU", .remedy = kRemedy};
}

}  // namespace assay
