#include "tests/peers/hand.h"

#include <immintrin.h>

namespace assay::peers {
namespace {

void TriadPlain(double* a, const double* b, const double* c, double scale, std::size_t n) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) a[i] = b[i] + scale * c[i];
}

#if defined(__AVX512F__)
using Line = __m512d;
Line Set(double value) { return _mm512_set1_pd(value); }
Line Fma(Line x, Line y, Line z) { return _mm512_fmadd_pd(x, y, z); }
Line Load(const double* from) { return _mm512_load_pd(from); }
void Stream(double* to, Line line) { _mm512_stream_pd(to, line); }
#else
using Line = __m128d;
Line Set(double value) { return _mm_set1_pd(value); }
Line Fma(Line x, Line y, Line z) { return _mm_add_pd(_mm_mul_pd(x, y), z); }
Line Load(const double* from) { return _mm_load_pd(from); }
void Stream(double* to, Line line) { _mm_stream_pd(to, line); }
#endif
constexpr std::size_t kWidth = sizeof(Line) / sizeof(double);

template <int kUnroll, int kAheadBytes>
void TriadStreaming(double* a, const double* b, const double* c, double scale, std::size_t n) {
  const Line factor = Set(scale);
  for (std::size_t i = 0; i < n; i += kUnroll * kWidth) {
    Line x[kUnroll];
    Line y[kUnroll];
    for (std::size_t u = 0; u < kUnroll; ++u) {
      if (kAheadBytes > 0) {
        _mm_prefetch(reinterpret_cast<const char*>(b + i + u * kWidth) + kAheadBytes, _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(c + i + u * kWidth) + kAheadBytes, _MM_HINT_T0);
      }
      x[u] = Load(b + i + u * kWidth);
      y[u] = Load(c + i + u * kWidth);
    }
    for (std::size_t u = 0; u < kUnroll; ++u) {
      Stream(a + i + u * kWidth, Fma(factor, y[u], x[u]));
    }
  }
  _mm_sfence();
}

// A result that the compiler may not drop.
template <class Vector>
void HoldInRegister(Vector& value) {
  asm volatile("" : "+v"(value));
}

#if defined(__AVX512F__)

template <class Step, class Vector>
void Sixteen(std::int64_t steps, Vector zero, Step step) {
  Vector a0 = zero, a1 = zero, a2 = zero, a3 = zero, a4 = zero, a5 = zero, a6 = zero, a7 = zero;
  Vector b0 = zero, b1 = zero, b2 = zero, b3 = zero, b4 = zero, b5 = zero, b6 = zero, b7 = zero;
  const auto keep = [](auto&... each) { (HoldInRegister(each), ...); };
  for (std::int64_t i = 0; i < steps; ++i) {
    keep(a0, a1, a2, a3, a4, a5, a6, a7);
    keep(b0, b1, b2, b3, b4, b5, b6, b7);
    a0 = step(a0), a1 = step(a1), a2 = step(a2), a3 = step(a3);
    a4 = step(a4), a5 = step(a5), a6 = step(a6), a7 = step(a7);
    b0 = step(b0), b1 = step(b1), b2 = step(b2), b3 = step(b3);
    b4 = step(b4), b5 = step(b5), b6 = step(b6), b7 = step(b7);
  }
  keep(a0, a1, a2, a3, a4, a5, a6, a7);
  keep(b0, b1, b2, b3, b4, b5, b6, b7);
}

void DotF32(std::int64_t steps) {
  __m512 x = _mm512_set1_ps(0.75F);
  __m512 y = _mm512_set1_ps(0.25F);
  HoldInRegister(x), HoldInRegister(y);
  Sixteen(steps, _mm512_set1_ps(1), [=](__m512 a) { return _mm512_fmadd_ps(a, x, y); });
}

#if defined(__AVX512BF16__)
void DotBf16(std::int64_t steps) {
  const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f40));  // 0.75
  const auto y = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3e80));  // 0.25
  Sixteen(steps, _mm512_set1_ps(1), [=](__m512 a) { return _mm512_dpbf16_ps(a, x, y); });
}
#endif

#if defined(__AVX512VNNI__)
void DotInt8(std::int64_t steps) {
  __m512i x = _mm512_set1_epi8(7);
  __m512i y = _mm512_set1_epi8(-3);
  HoldInRegister(x), HoldInRegister(y);
  Sixteen(steps, _mm512_set1_epi32(1), [=](__m512i a) { return _mm512_dpbusd_epi32(a, x, y); });
}
#endif

#endif  // __AVX512F__

}  // namespace

std::vector<Triad> HandTriads() {
  return {{"compiler's loop", TriadPlain},
          {"streaming", TriadStreaming<1, 0>},
          {"streaming, unrolled", TriadStreaming<4, 0>},
          {"streaming, 1 KiB ahead", TriadStreaming<1, 1024>},
          {"streaming, unrolled, 4 KiB ahead", TriadStreaming<4, 4096>}};
}

std::vector<Dot> HandDots() {
  std::vector<Dot> dots;
#if defined(__AVX512F__)
  dots.push_back({"f32", 16 * 16 * 2, DotF32});
#endif
#if defined(__AVX512BF16__)
  dots.push_back({"bf16", 16 * 16 * 4, DotBf16});
#endif
#if defined(__AVX512VNNI__)
  dots.push_back({"int8", 16 * 16 * 8, DotInt8});
#endif
  return dots;
}

}  // namespace assay::peers
