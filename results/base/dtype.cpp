#include "results/base/dtype.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "results/base/error.h"
#include "results/base/names.h"
#include "results/base/text.h"

namespace assay {
namespace {

using enum DtypeKind;

constexpr DtypeFacts kDtypes[] = {
    {Dtype::kInt8, "int8", "int8", "i8", 8, 0, kSigned, "int8_tops"},
    {Dtype::kU8, "u8", "uint8", "", 8, 0, kUnsigned},
    {Dtype::kI32, "i32", "int32", "", 32, 0, kSigned},
    {Dtype::kU32, "u32", "uint32", "", 32, 0, kUnsigned},
    {Dtype::kI64, "i64", "int64", "", 64, 0, kSigned},
    {Dtype::kU64, "u64", "uint64", "", 64, 0, kUnsigned},
    {Dtype::kF16, "f16", "half", "", 16, 0, kFloat, "f16_tflops"},
    {Dtype::kF32, "f32", "float", "", 32, 0, kFloat, "f32_tflops"},
    {Dtype::kF64, "f64", "double", "", 64, 0, kFloat, "f64_tflops"},
    {Dtype::kBf16, "bf16", "bfloat16", "", 16, 0, kFloat, "bf16_tflops"},
    {Dtype::kFp8E4m3, "fp8_e4m3", "f8e4m3", "f8e4m3", 8, 0, kFloat, "fp8_tflops"},
    {Dtype::kFp8E5m2, "fp8_e5m2", "f8e5m2", "f8e5m2", 8, 0, kFloat, "fp8_tflops"},
    {Dtype::kFp8E5m2E4m3, "fp8_e5m2_e4m3", "", "", 8, 0, kFloat, "fp8_tflops"},
    {Dtype::kTf32, "tf32", "", "", 32, 0, kFloat, "tf32_tflops"},
    {Dtype::kMxfp8, "mxfp8", "", "", 8, 32, kFloat, "fp8_tflops"},
    {Dtype::kNvfp4, "nvfp4", "", "", 4, 16, kFloat, "fp4_tflops"},
};
constexpr bool IsInOrder() {
  std::size_t at = 0;
  for (const DtypeFacts& facts : kDtypes) {
    if (static_cast<std::size_t>(facts.dtype) != at++) return false;
  }
  return true;
}
static_assert(IsInOrder(), "FactsOf finds a row by its place");

bool Has(DtypeUse use, const DtypeFacts& facts) {
  switch (use) {
    case DtypeUse::kAny:
      return true;
    case DtypeUse::kProducts:
      return !facts.peak.empty();
    case DtypeUse::kCollectives:
      return !facts.nccl_tests.empty();
  }
  return true;
}

}  // namespace

std::span<const DtypeFacts> Dtypes() { return kDtypes; }

const DtypeFacts& FactsOf(Dtype dtype) { return kDtypes[static_cast<std::size_t>(dtype)]; }

std::string_view ToText(Dtype dtype) { return FactsOf(dtype).name; }

std::int64_t BlockOf(Dtype dtype) { return FactsOf(dtype).block; }

bool IsFp8(Dtype dtype) {
  const DtypeFacts& facts = FactsOf(dtype);
  return facts.kind == kFloat && facts.bits == 8 && facts.block == 0;
}

std::string_view AccumulatorOf(Dtype dtype) {
  if (FactsOf(dtype).kind != kFloat) return "s32";
  return dtype == Dtype::kF64 ? "f64" : "f32";
}

const DtypeFacts* FindDtype(std::string_view name) {
  if (name.empty()) return nullptr;
  const auto* found = std::ranges::find(kDtypes, name, &DtypeFacts::name);
  if (found == std::end(kDtypes)) {
    found = std::ranges::find_if(kDtypes, [name](const DtypeFacts& facts) {
      return facts.nccl_tests == name || facts.former == name;
    });
  }
  return found == std::end(kDtypes) ? nullptr : found;
}

std::vector<std::string> DtypeNames(DtypeUse use) {
  std::vector<std::string> names;
  for (const DtypeFacts& facts : kDtypes) {
    if (Has(use, facts)) names.emplace_back(facts.name);
  }
  return names;
}

const DtypeFacts& ReadDtype(std::string_view name, std::string_view what, DtypeUse use) {
  if (const DtypeFacts* facts = FindDtype(name); facts != nullptr && Has(use, *facts)) {
    return *facts;
  }
  std::vector<std::string> words = DtypeNames(use);
  const std::string names = fmt::format("{}", fmt::join(words, ", "));
  for (const DtypeFacts& facts : kDtypes) {
    if (Has(use, facts) && !facts.nccl_tests.empty()) words.emplace_back(facts.nccl_tests);
  }
  // A name of another dtype was meant, so nothing nearer is proposed.
  const std::string nearest = FindDtype(name) == nullptr ? DidYouMean(name, words) : "";
  throw Error(fmt::format("{} is '{}'; {}: {}", what, Clean(name, 32),
                          nearest.empty() ? "give one of" : nearest + " It is one of", names));
}

}  // namespace assay
