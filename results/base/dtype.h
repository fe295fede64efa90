// Data types: the types of elements that are multiplied, reduced and moved. There is one table for
// all folders, with the one name that each type has in params and files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

// The data type of elements. Fp8E5m2E4m3 has A in e5m2 and B in e4m3, as gradients are multiplied
// by weights in training (Micikevicius et al., "FP8 formats for deep learning", 2022). Mxfp8 is
// e4m3 with a scale for each 32 elements along k (OCP MX), and nvfp4 is e2m1 with a scale for
// each 16.
enum class Dtype {
  kInt8,
  kU8,
  kI32,
  kU32,
  kI64,
  kU64,
  kF16,
  kF32,
  kF64,
  kBf16,
  kFp8E4m3,
  kFp8E5m2,
  kFp8E5m2E4m3,
  kTf32,
  kMxfp8,
  kNvfp4
};

// The kind of number that an element is.
enum class DtypeKind { kFloat, kSigned, kUnsigned };

// A row of the table of data types.
struct DtypeFacts {
  Dtype dtype = {};
  std::string_view name = {};        // its name in params and files: "bf16", "fp8_e4m3"
  std::string_view nccl_tests = {};  // its name in nccl-tests; "": collectives don't have it
  std::string_view former = {};      // its name in older files of collectives; "": the same
  std::int64_t bits = 0;
  std::int64_t block = 0;  // the elements along k that share a scale of one byte; 0: no such scales
  DtypeKind kind = DtypeKind::kFloat;
  // The column of devices.csv with the rate of its products; "": devices multiply none. All 8-bit
  // floats are multiplied at one rate, with the scales of blocks too; fp4 is that of blocks, there
  // being no other.
  std::string_view peak = {};
};

// All data types, in the order of Dtype. Types of collectives come first, as `-d all` of nccl-tests
// has them.
std::span<const DtypeFacts> Dtypes();
// The row of a dtype, its name in params and files, and its `block`.
const DtypeFacts& FactsOf(Dtype dtype);
std::string_view ToText(Dtype dtype);
std::int64_t BlockOf(Dtype dtype);
// Whether the dtype is one of the fp8 types whose matrices have a single scale or none, which mxfp8
// isn't.
bool IsFp8(Dtype dtype);
// The type that products of the dtype are summed in, as the param acc has it: "f32", "f64", "s32"
// (int32).
std::string_view AccumulatorOf(Dtype dtype);

// The dtype with that name, which may be nccl-tests' or a former one; null where none has it.
const DtypeFacts* FindDtype(std::string_view name);

// The use that a dtype is asked for: any, matrix products, or collectives.
enum class DtypeUse { kAny, kProducts, kCollectives };
// The names of the dtypes with that use, in the order of Dtype.
std::vector<std::string> DtypeNames(DtypeUse use);
// Reads a dtype that a person typed. Throws Error, which begins with `what` ("--dtype") and tells
// the nearest name, for all but the dtypes with that use.
const DtypeFacts& ReadDtype(std::string_view name, std::string_view what,
                            DtypeUse use = DtypeUse::kAny);

}  // namespace assay
