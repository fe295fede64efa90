#include "kernels/cpu_streams.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace assay {
namespace {

#if defined(__x86_64__)

// Reading gains a few percent when the next page is asked for by hand, since hardware prefetchers
// stop at its edge; a prefetch past the end of the array does no harm.
constexpr std::size_t kAheadWords = 4096 / sizeof(std::uint64_t);

void Prefetch(const std::uint64_t* at) {
  _mm_prefetch(reinterpret_cast<const char*>(at + kAheadWords), _MM_HINT_T0);
}

#define ASSAY_AVX512 __attribute__((target("avx512f")))

ASSAY_AVX512 std::uint64_t ReadAvx512(const std::uint64_t* from, std::size_t words) {
  // Four sums keep additions from waiting for one another, so that loads alone set the pace.
  __m512i sums[4] = {};
  std::size_t i = 0;
  for (; i + 4 * kStreamLineWords <= words; i += 4 * kStreamLineWords) {
    for (std::size_t line = 0; line < 4; ++line) {
      const std::uint64_t* at = from + i + line * kStreamLineWords;
      Prefetch(at);
      sums[line] = _mm512_add_epi64(sums[line], _mm512_load_si512(at));
    }
  }
  for (; i < words; i += kStreamLineWords) {
    sums[0] = _mm512_add_epi64(sums[0], _mm512_load_si512(from + i));
  }
  const __m512i sum =
      _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
  alignas(64) std::array<std::uint64_t, kStreamLineWords> lanes = {};
  _mm512_store_si512(lanes.data(), sum);
  return std::accumulate(lanes.begin(), lanes.end(), std::uint64_t{0});
}

// The fence at the end of each loop that stores makes its stores reach memory before the clock is
// read.
ASSAY_AVX512 void WriteAvx512(std::uint64_t* to, std::uint64_t value, std::size_t words) {
  const __m512i line = _mm512_set1_epi64(static_cast<long long>(value));
  for (std::size_t i = 0; i < words; i += kStreamLineWords) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), line);
  }
  _mm_sfence();
}

ASSAY_AVX512 void CopyAvx512(std::uint64_t* to, const std::uint64_t* from, std::size_t words) {
  for (std::size_t i = 0; i < words; i += kStreamLineWords) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_load_si512(from + i));
  }
  _mm_sfence();
}

ASSAY_AVX512 void TriadAvx512(double* to, const double* b, const double* c, double scale,
                              std::size_t words) {
  const __m512d factor = _mm512_set1_pd(scale);
  for (std::size_t i = 0; i < words; i += kStreamLineWords) {
    _mm512_stream_pd(to + i, _mm512_fmadd_pd(factor, _mm512_load_pd(c + i), _mm512_load_pd(b + i)));
  }
  _mm_sfence();
}

#undef ASSAY_AVX512

// The SSE2 loops, which every x86-64 can run. Four stores fill a line, which the write-combining
// buffers send whole.
const __m128i* Line128(const std::uint64_t* at) { return reinterpret_cast<const __m128i*>(at); }
__m128i* Line128(std::uint64_t* at) { return reinterpret_cast<__m128i*>(at); }

std::uint64_t ReadSse2(const std::uint64_t* from, std::size_t words) {
  __m128i sums[4] = {};
  for (std::size_t i = 0; i < words; i += kStreamLineWords) {
    Prefetch(from + i);
    for (int part = 0; part < 4; ++part) {
      sums[part] = _mm_add_epi64(sums[part], _mm_load_si128(Line128(from + i) + part));
    }
  }
  const __m128i sum =
      _mm_add_epi64(_mm_add_epi64(sums[0], sums[1]), _mm_add_epi64(sums[2], sums[3]));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(sum)) +
         static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(sum, sum)));
}

void WriteSse2(std::uint64_t* to, std::uint64_t value, std::size_t words) {
  const __m128i pair = _mm_set1_epi64x(static_cast<long long>(value));
  for (std::size_t i = 0; i < words; i += kStreamLineWords) {
    for (int part = 0; part < 4; ++part) _mm_stream_si128(Line128(to + i) + part, pair);
  }
  _mm_sfence();
}

void CopySse2(std::uint64_t* to, const std::uint64_t* from, std::size_t words) {
  for (std::size_t i = 0; i < words; i += kStreamLineWords) {
    for (int part = 0; part < 4; ++part) {
      _mm_stream_si128(Line128(to + i) + part, _mm_load_si128(Line128(from + i) + part));
    }
  }
  _mm_sfence();
}

void TriadSse2(double* to, const double* b, const double* c, double scale, std::size_t words) {
  const __m128d factor = _mm_set1_pd(scale);
  for (std::size_t i = 0; i < words; i += 2) {
    _mm_stream_pd(to + i, _mm_add_pd(_mm_mul_pd(factor, _mm_load_pd(c + i)), _mm_load_pd(b + i)));
  }
  _mm_sfence();
}

#else

std::uint64_t ReadPlain(const std::uint64_t* from, std::size_t words) {
  return std::accumulate(from, from + words, std::uint64_t{0});
}

void WritePlain(std::uint64_t* to, std::uint64_t value, std::size_t words) {
  std::fill(to, to + words, value);
}

void CopyPlain(std::uint64_t* to, const std::uint64_t* from, std::size_t words) {
  std::memcpy(to, from, words * sizeof(*to));
}

void TriadPlain(double* to, const double* b, const double* c, double scale, std::size_t words) {
  for (std::size_t i = 0; i < words; ++i) to[i] = b[i] + scale * c[i];
}

#endif

}  // namespace

std::vector<StreamLoops> AllStreamLoops() {
  std::vector<StreamLoops> all;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    all.push_back({"avx512 non-temporal", ReadAvx512, WriteAvx512, CopyAvx512, TriadAvx512});
  }
  all.push_back({"sse2 non-temporal", ReadSse2, WriteSse2, CopySse2, TriadSse2});
#else
  all.push_back({"plain", ReadPlain, WritePlain, CopyPlain, TriadPlain});
#endif
  return all;
}

}  // namespace assay
