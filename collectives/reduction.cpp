// Reductions through Highway's runtime dispatch: this file is compiled once for each instruction
// set. It and kernels/cpu_peak_f32.cpp are the only includers of Highway.
#include "collectives/reduction.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "collectives/reduction.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // Must come before highway.h.
#include <hwy/highway.h>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <type_traits>

#ifndef ASSAY_REDUCTION_TYPES  // types that all instruction sets have in common
#define ASSAY_REDUCTION_TYPES
namespace assay {

enum class ReduceOp { kSum, kProd, kMin, kMax };

struct ReduceCall {
  Dtype dtype;
  ReduceOp op;
  std::span<const std::byte* const> from;
  std::span<std::byte* const> to;
  std::size_t bytes;
  int divisor;  // what the result is divided by
  bool stream;
};

}  // namespace assay
#endif

HWY_BEFORE_NAMESPACE();
namespace assay {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The conversion of elements in memory to the lanes that are computed with, and back.
template <class T>
struct Lanes {
  using D = hn::ScalableTag<T>;
  static constexpr std::size_t kElement = sizeof(T);
  static hn::Vec<D> Load(const std::byte* from) {
    return hn::LoadU(D(), reinterpret_cast<const T*>(from));
  }
  static void Store(hn::Vec<D> v, std::byte* to) { hn::StoreU(v, D(), reinterpret_cast<T*>(to)); }
  static void Stream(hn::Vec<D> v, std::byte* to) { hn::Stream(v, D(), reinterpret_cast<T*>(to)); }
};

struct F16Lanes {
  using D = hn::ScalableTag<float>;
  using Stored = hn::Rebind<hwy::float16_t, D>;
  static constexpr std::size_t kElement = 2;
  static hn::Vec<D> Load(const std::byte* from) {
    return hn::PromoteTo(D(), hn::LoadU(Stored(), reinterpret_cast<const hwy::float16_t*>(from)));
  }
  static void Store(hn::Vec<D> v, std::byte* to) {
    hn::StoreU(hn::DemoteTo(Stored(), v), Stored(), reinterpret_cast<hwy::float16_t*>(to));
  }
  static void Stream(hn::Vec<D> v, std::byte* to) {
    hn::Stream(hn::DemoteTo(Stored(), v), Stored(), reinterpret_cast<hwy::float16_t*>(to));
  }
};

// The lanes of bf16, which is the upper half of an f32. Highway 1.0's own conversion truncates
// where this rounds.
struct Bf16Lanes {
  using D = hn::ScalableTag<float>;
  using Bits = hn::RebindToUnsigned<D>;
  using Stored = hn::Rebind<std::uint16_t, D>;
  static constexpr std::size_t kElement = 2;
  static hn::Vec<D> Load(const std::byte* from) {
    const auto bits = hn::LoadU(Stored(), reinterpret_cast<const std::uint16_t*>(from));
    return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(Bits(), bits)));
  }
  static hn::Vec<Stored> Rounded(hn::Vec<D> v) {
    const auto bits = hn::BitCast(Bits(), v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(Bits(), 1));
    const auto rounded = hn::Add(hn::Add(bits, hn::Set(Bits(), 0x7fff)), odd);
    // A NaN must stay one; rounding could carry into its sign.
    const auto quiet = hn::Or(bits, hn::Set(Bits(), 0x400000));
    const auto is_number = hn::RebindMask(Bits(), hn::Eq(v, v));
    const auto upper = hn::ShiftRight<16>(hn::IfThenElse(is_number, rounded, quiet));
    return hn::DemoteTo(Stored(), hn::BitCast(hn::RebindToSigned<Bits>(), upper));
  }
  static void Store(hn::Vec<D> v, std::byte* to) {
    hn::StoreU(Rounded(v), Stored(), reinterpret_cast<std::uint16_t*>(to));
  }
  static void Stream(hn::Vec<D> v, std::byte* to) {
    hn::Stream(Rounded(v), Stored(), reinterpret_cast<std::uint16_t*>(to));
  }
};

// Computes lane by lane what vectors have no instruction for.
template <class D, class Body>
hn::Vec<D> EachLane(D d, hn::Vec<D> a, hn::Vec<D> b, Body body) {
  using T = hn::TFromD<D>;
  HWY_ALIGN T x[hn::MaxLanes(D())];
  HWY_ALIGN T y[hn::MaxLanes(D())];
  hn::Store(a, d, x);
  hn::Store(b, d, y);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) x[i] = body(x[i], y[i]);
  return hn::Load(d, x);
}

template <ReduceOp op, class D>
hn::Vec<D> Combine(D d, hn::Vec<D> a, hn::Vec<D> b) {
  using T = hn::TFromD<D>;
  if constexpr (op == ReduceOp::kSum) {
    return hn::Add(a, b);
  } else if constexpr (op == ReduceOp::kMin) {
    return hn::Min(a, b);
  } else if constexpr (op == ReduceOp::kMax) {
    return hn::Max(a, b);
  } else if constexpr (std::is_floating_point_v<T>) {
    return hn::Mul(a, b);
  } else {
    // The product is unsigned, since a signed one may overflow.
    return EachLane(d, a, b, [](T x, T y) HWY_ATTR {
      return static_cast<T>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(y));
    });
  }
}

template <class D>
hn::Vec<D> Divide(D d, hn::Vec<D> v, int divisor) {
  using T = hn::TFromD<D>;
  const auto by = hn::Set(d, static_cast<T>(divisor));
  if constexpr (std::is_floating_point_v<T>) {
    return hn::Div(v, by);
  } else {
    (void)by;
    // The division is wide, since a divisor may be larger than an element can be.
    using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
    return EachLane(d, v, v, [divisor](T x, T) HWY_ATTR {
      return static_cast<T>(static_cast<Wide>(x) / static_cast<Wide>(divisor));
    });
  }
}

template <class Type, ReduceOp op>
void ReduceArrays(const ReduceCall& call) {
  const typename Type::D d;
  const std::size_t step = hn::Lanes(d) * Type::kElement;
  const std::byte* const* from = call.from.data();
  const std::size_t sources = call.from.size();
  const int divisor = call.divisor;
  const auto finished = [d, divisor](auto v)
                            HWY_ATTR { return divisor == 1 ? v : Divide(d, v, divisor); };
  // Handles fewer elements than a vector has, by way of a vector that is filled up.
  const auto part = [&](std::size_t at, std::size_t bytes) HWY_ATTR {
    HWY_ALIGN std::byte whole[HWY_MAX_BYTES] = {};
    std::memcpy(whole, from[0] + at, bytes);
    auto v = Type::Load(whole);
    for (std::size_t i = 1; i < sources; ++i) {
      std::memcpy(whole, from[i] + at, bytes);
      v = Combine<op>(d, v, Type::Load(whole));
    }
    Type::Store(finished(v), whole);
    for (std::byte* to : call.to) std::memcpy(to + at, whole, bytes);
  };

  std::size_t at = 0;
  bool stream = call.stream;
  if (stream) {
    // Streaming stores need outputs that are all aligned at the same element.
    const auto past = [step](const std::byte* p) {
      return reinterpret_cast<std::uintptr_t>(p) % step;
    };
    const std::size_t head = (step - past(call.to[0])) % step;
    for (const std::byte* to : call.to) stream = stream && past(to) == past(call.to[0]);
    stream = stream && head % Type::kElement == 0 && head <= call.bytes;
    if (stream && head > 0) part(0, at = head);
  }
  for (; at + 4 * step <= call.bytes; at += 4 * step) {
    const std::byte* first = from[0] + at;
    auto v0 = Type::Load(first);
    auto v1 = Type::Load(first + step);
    auto v2 = Type::Load(first + 2 * step);
    auto v3 = Type::Load(first + 3 * step);
    for (std::size_t i = 1; i < sources; ++i) {
      const std::byte* next = from[i] + at;
      v0 = Combine<op>(d, v0, Type::Load(next));
      v1 = Combine<op>(d, v1, Type::Load(next + step));
      v2 = Combine<op>(d, v2, Type::Load(next + 2 * step));
      v3 = Combine<op>(d, v3, Type::Load(next + 3 * step));
    }
    v0 = finished(v0), v1 = finished(v1), v2 = finished(v2), v3 = finished(v3);
    for (std::byte* array : call.to) {
      std::byte* to = array + at;
      if (stream) {
        Type::Stream(v0, to), Type::Stream(v1, to + step);
        Type::Stream(v2, to + 2 * step), Type::Stream(v3, to + 3 * step);
      } else {
        Type::Store(v0, to), Type::Store(v1, to + step);
        Type::Store(v2, to + 2 * step), Type::Store(v3, to + 3 * step);
      }
    }
  }
  for (; at < call.bytes; at += step) part(at, std::min(step, call.bytes - at));
  // The fence makes the outputs visible before any other rank is told that they are there.
  if (stream) hwy::FlushStream();
}

template <class Type>
void WithOp(const ReduceCall& call) {
  switch (call.op) {
    case ReduceOp::kSum:
      return ReduceArrays<Type, ReduceOp::kSum>(call);
    case ReduceOp::kProd:
      return ReduceArrays<Type, ReduceOp::kProd>(call);
    case ReduceOp::kMin:
      return ReduceArrays<Type, ReduceOp::kMin>(call);
    case ReduceOp::kMax:
      return ReduceArrays<Type, ReduceOp::kMax>(call);
  }
}

void Reduce(const ReduceCall& call) {
  switch (call.dtype) {
    case Dtype::kInt8:
      return WithOp<Lanes<std::int8_t>>(call);
    case Dtype::kU8:
      return WithOp<Lanes<std::uint8_t>>(call);
    case Dtype::kI32:
      return WithOp<Lanes<std::int32_t>>(call);
    case Dtype::kU32:
      return WithOp<Lanes<std::uint32_t>>(call);
    case Dtype::kI64:
      return WithOp<Lanes<std::int64_t>>(call);
    case Dtype::kU64:
      return WithOp<Lanes<std::uint64_t>>(call);
    case Dtype::kF16:
      return WithOp<F16Lanes>(call);
    case Dtype::kBf16:
      return WithOp<Bf16Lanes>(call);
    case Dtype::kF32:
      return WithOp<Lanes<float>>(call);
    case Dtype::kF64:
      return WithOp<Lanes<double>>(call);
    case Dtype::kFp8E4m3:
    case Dtype::kFp8E5m2:
    case Dtype::kFp8E5m2E4m3:
    case Dtype::kTf32:
    case Dtype::kMxfp8:
    case Dtype::kNvfp4:
      return;  // which Reduction::Knows refuses
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace assay
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace assay {
namespace {

HWY_EXPORT(Reduce);

// The names of reductions, in the order of ReduceOp.
constexpr std::string_view kReduceOps[] = {"sum", "prod", "min", "max"};
constexpr std::string_view kAverage = "avg";

int IndexOf(std::span<const std::string_view> names, std::string_view name) {
  return static_cast<int>(std::find(names.begin(), names.end(), name) - names.begin());
}

}  // namespace

bool Reduction::Knows(std::string_view dtype, std::string_view redop) {
  const DtypeFacts* facts = FindDtype(dtype);
  if (facts == nullptr || facts->nccl_tests.empty()) return false;
  const bool is_float = facts->kind == DtypeKind::kFloat;
  const bool has_16_bits = is_float && facts->bits == 16;
  return !(is_float && facts->bits == 8) && (IndexOf(kReduceOps, redop) < std::ssize(kReduceOps) ||
                                             (redop == kAverage && !has_16_bits));
}

Reduction::Reduction(std::string_view dtype, std::string_view redop, int ranks)
    : dtype_(ReadDtype(dtype, "dtype").dtype),
      redop_(IndexOf(kReduceOps, redop == kAverage ? "sum" : redop)),
      ranks_(redop == kAverage ? ranks : 1) {
  assert(Knows(dtype, redop));
}

void Reduction::operator()(std::span<const std::byte* const> from, std::span<std::byte* const> to,
                           std::size_t bytes, ReduceOptions options) const {
  if (bytes == 0) return;
  HWY_DYNAMIC_DISPATCH(Reduce)
  ({.dtype = dtype_,
    .op = static_cast<ReduceOp>(redop_),
    .from = from,
    .to = to,
    .bytes = bytes,
    .divisor = options.last ? ranks_ : 1,
    .stream = options.stream});
}

void CopyTo(const std::byte* from, std::span<std::byte* const> to, std::size_t bytes, bool stream) {
  // The reduction of one array is a copy.
  static const Reduction copy("u8", "max", 1);
  if (stream) return copy({&from, 1}, to, bytes, {.stream = true});
  for (std::byte* each : to) {
    if (each != from && bytes > 0) std::memcpy(each, from, bytes);
  }
}

}  // namespace assay
#endif  // HWY_ONCE
