// cuBLASLt's part of the stand-in, and that of cuBLAS's grouped products: a product of what the
// descriptors say, attribute by attribute.
#include <cublasLt.h>
#include <cublas_v2.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/inputs.h"
#include "standin/state.h"

namespace {

using namespace standin;
using assay::Format;

struct Matmul {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  bool transpose_a = false;
  bool transpose_b = false;
  bool fast_accumulate = false;
  const void* a_scale = nullptr;  // on the device
  const void* b_scale = nullptr;
  std::int32_t a_mode = 0;  // a single f32
  std::int32_t b_mode = 0;
};
struct Layout {
  cudaDataType_t type;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t leading;
  std::int64_t batch = 1;
  std::int64_t stride = 0;
};
struct Preference {
  std::size_t workspace_bytes = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
};

struct Blas {
  int device = 0;
  cudaStream_t stream = nullptr;
  std::size_t workspace_bytes = 0;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

// Scales of blocks, which are in cuBLASLt's header since CUDA 12.8, by their numbers there.
constexpr int kE2m1 = 33;
constexpr int kScaleModeA = 31;
constexpr int kScaleModeB = 32;
constexpr std::int32_t kBlocksOf16 = 1;
constexpr std::int32_t kBlocksOf32 = 2;

template <class T>
bool Take(const void* value, std::size_t bytes, T* to) {
  if (bytes != sizeof(T)) return false;
  std::memcpy(to, value, bytes);
  return true;
}
cublasStatus_t Status(bool good) {
  return good ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

Format FormatOf(cudaDataType_t type) {
  switch (int{type}) {
    case kE2m1:
      return Format::kF4E2m1;
    case CUDA_R_64F:
      return Format::kF64;
    case CUDA_R_32F:
      return Format::kF32;
    case CUDA_R_16BF:
      return Format::kBf16;
    case CUDA_R_16F:
      return Format::kF16;
    case CUDA_R_8F_E4M3:
      return Format::kF8E4m3;
    case CUDA_R_8F_E5M2:
      return Format::kF8E5m2;
    case CUDA_R_8I:
      return Format::kS8;
    case CUDA_R_32I:
      return Format::kS32;
    default:
      Unknown("such data type of cuBLASLt");
  }
}

double ReadScalar(cudaDataType_t type, const void* scalar) {
  switch (type) {
    case CUDA_R_64F:
      return *static_cast<const double*>(scalar);
    case CUDA_R_32F:
      return static_cast<double>(*static_cast<const float*>(scalar));
    case CUDA_R_32I:
      return static_cast<double>(*static_cast<const std::int32_t*>(scalar));
    default:
      Unknown("such scale type of cuBLASLt");
  }
}

bool IsFp8(cudaDataType_t type) { return type == CUDA_R_8F_E4M3 || type == CUDA_R_8F_E5M2; }
bool IsNarrow(cudaDataType_t type) { return IsFp8(type) || type == kE2m1; }

// Whether cuBLASLt's table of cublasLtMatmul has these together.
bool IsInTable(const Matmul& matmul, cudaDataType_t ab, cudaDataType_t b, cudaDataType_t c) {
  const auto is = [&](cublasComputeType_t compute, cudaDataType_t scale) {
    return matmul.compute == compute && matmul.scale == scale;
  };
  if (IsNarrow(ab)) {
    // Scales, of which ours has always one, and one kind for both.
    if (matmul.a_scale == nullptr || matmul.b_scale == nullptr || matmul.a_mode != matmul.b_mode ||
        c != CUDA_R_16BF || !is(CUBLAS_COMPUTE_32F, CUDA_R_32F)) {
      return false;
    }
    if (matmul.a_mode == kBlocksOf16) return ab == kE2m1 && b == kE2m1;
    if (matmul.a_mode == kBlocksOf32) return IsFp8(ab) && IsFp8(b);
    return matmul.a_mode == 0 && IsFp8(ab) && IsFp8(b) &&
           (ab == CUDA_R_8F_E4M3 || b == CUDA_R_8F_E4M3);
  }
  if (ab != b || matmul.a_scale != nullptr || matmul.b_scale != nullptr || matmul.a_mode != 0) {
    return false;
  }
  if (ab == CUDA_R_64F) return c == CUDA_R_64F && is(CUBLAS_COMPUTE_64F, CUDA_R_64F);
  if (ab == CUDA_R_32F) {
    return c == CUDA_R_32F &&
           (is(CUBLAS_COMPUTE_32F, CUDA_R_32F) || is(CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F));
  }
  if (ab == CUDA_R_8I) return c == CUDA_R_32I && is(CUBLAS_COMPUTE_32I, CUDA_R_32I);
  return c == ab && is(CUBLAS_COMPUTE_32F, CUDA_R_32F);
}

bool IsSupported(const Matmul& matmul, const Layout& a, const Layout& b, const Layout& c) {
  if (faults.unsupported || !IsInTable(matmul, a.type, b.type, c.type)) return false;
  if (IsNarrow(a.type)) {
    const bool blocks = matmul.a_mode != 0;
    if (blocks && (a.rows % 32 != 0 || a.batch != 1)) return false;
    return faults.compute_capability >= (blocks ? 100 : 89) && matmul.transpose_a &&
           !matmul.transpose_b && a.rows % 16 == 0 && a.columns % 16 == 0 && b.columns % 8 == 0;
  }
  if (a.type == CUDA_R_16BF || matmul.compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
    return faults.compute_capability >= 80;
  }
  return a.type != CUDA_R_8I || a.leading % 4 == 0;
}

std::int64_t RoundedUp(std::int64_t count, std::int64_t to) { return (count + to - 1) / to * to; }

// The bytes of a matrix's scales, and those of blocks one after the other as documented: tiles of
// 128 columns of the matrix (as it is stored) by four blocks, within one of them column by column,
// but of four columns that are 32 apart at once. `visit` is called for each that is in the matrix.
std::int64_t ScaleBytes(const Layout& layout, std::int32_t mode) {
  if (mode == 0) return sizeof(float);
  const std::int64_t block = mode == kBlocksOf16 ? 16 : 32;
  return RoundedUp(layout.columns, 128) * RoundedUp(layout.rows, 4 * block) / block;
}
template <class Visit>
void ForEachScale(const Layout& layout, std::int64_t block, const Visit& visit) {
  std::int64_t place = 0;
  for (std::int64_t column = 0; column < layout.columns; column += 128) {
    for (std::int64_t row = 0; row < layout.rows; row += 4 * block) {
      for (std::int64_t in_32 = 0; in_32 < 32; ++in_32) {
        for (std::int64_t quarter = 0; quarter < 4; ++quarter) {
          for (std::int64_t of_4 = 0; of_4 < 4; ++of_4, ++place) {
            const std::int64_t at_column = column + 32 * quarter + in_32;
            const std::int64_t at_row = row + of_4 * block;
            if (at_column < layout.columns && at_row < layout.rows) visit(place, at_row, at_column);
          }
        }
      }
    }
  }
}

// All values of a batch of matrices, one after the other, as they lie in memory, times their
// scales.
std::vector<double> ValuesOf(const Layout& layout, const void* data, const void* scale,
                             std::int32_t mode) {
  const std::int64_t count = (layout.batch - 1) * layout.stride + layout.leading * layout.columns;
  std::vector<double> values(static_cast<std::size_t>(count));
  assay::Tensor{.format = FormatOf(layout.type), .data = data}.Read(0, count, values.data());
  if (scale == nullptr) return values;
  if (mode == 0) {
    for (double& value : values) value *= *static_cast<const float*>(scale);
    return values;
  }
  const std::int64_t block = mode == kBlocksOf16 ? 16 : 32;
  const assay::Tensor scales = {.format = mode == kBlocksOf16 ? Format::kUe4m3 : Format::kUe8m0,
                                .data = scale};
  ForEachScale(layout, block, [&](std::int64_t place, std::int64_t row, std::int64_t column) {
    for (std::int64_t i = row; i < std::min(row + block, layout.rows); ++i) {
      values[static_cast<std::size_t>(column * layout.leading + i)] *= scales[place];
    }
  });
  return values;
}

// A sum cut off to 14 bits.
double Cut(double sum) {
  if (sum == 0) return 0;
  int exponent = 0;
  std::frexp(sum, &exponent);
  return std::ldexp(std::floor(std::ldexp(sum, 14 - exponent)), exponent - 14);
}

// Products added up. Fp8 as on Hopper: 32 at a time to a sum of 14 bits, which is taken over into
// another one after 128, or with fast accumulation never (DeepSeek-AI, "DeepSeek-V3 Technical
// Report", 2024, 3.3.2).
template <class Term>
double SumOf(const Matmul& matmul, bool fp8, std::int64_t k, const Term& term) {
  double total = 0;
  double kept = 0;
  for (std::int64_t x = 0; x < k; ++x) {
    kept += term(x);
    if (fp8 && x % 32 == 31) kept = Cut(kept);
    if (!matmul.fast_accumulate && x % 128 == 127) {
      total += kept;
      kept = 0;
    }
  }
  return total + kept;
}

void Multiply(const Matmul& matmul, double alpha, double beta, const Layout& la, const void* a,
              const Layout& lb, const void* b, const Layout& lc, void* c, bool in_halves,
              bool spoil) {
  std::vector<double> a_values = ValuesOf(la, a, matmul.a_scale, matmul.a_mode);
  std::vector<double> b_values = ValuesOf(lb, b, matmul.b_scale, matmul.b_mode);
  if (matmul.compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
    for (auto* values : {&a_values, &b_values}) {
      for (double& value : *values) {
        value = static_cast<double>(assay::Tf32FromF32(static_cast<float>(value)));
      }
    }
  }
  const Format format = FormatOf(lc.type);
  const bool fp8 = IsFp8(la.type) && matmul.a_mode == 0;
  const std::int64_t k = matmul.transpose_a ? la.rows : la.columns;
  const std::int64_t a_step = matmul.transpose_a ? 1 : la.leading;
  const std::int64_t b_step = matmul.transpose_b ? lb.leading : 1;
  for (std::int64_t batch = 0; batch < lc.batch; ++batch) {
    for (std::int64_t j = 0; j < lc.columns; ++j) {
      for (std::int64_t i = 0; i < lc.rows; ++i) {
        const double* row =
            &a_values[static_cast<std::size_t>(batch * la.stride + i * (la.leading + 1 - a_step))];
        const double* column =
            &b_values[static_cast<std::size_t>(batch * lb.stride + j * (lb.leading + 1 - b_step))];
        const auto sum_of = [&](std::int64_t begin, std::int64_t end) {
          return SumOf(matmul, fp8, end - begin, [&](std::int64_t x) {
            return row[(begin + x) * a_step] * column[(begin + x) * b_step];
          });
        };
        const double sum =
            in_halves ? Stored(format, sum_of(0, k / 2)) + sum_of(k / 2, k) : sum_of(0, k);
        const std::int64_t at = batch * lc.stride + i + j * lc.leading;
        const double before = beta == 0 ? 0 : beta * assay::Tensor{.format = format, .data = c}[at];
        Store(format, alpha * sum + before, c, at);
      }
    }
  }
  if (spoil) {  // away from 0, where 2 x + 1 might be x
    const double right = assay::Tensor{.format = format, .data = c}[0];
    Store(format, 2 * right + (right < 0 ? -1 : 1), c, 0);
  }
}

template <class T>
const T& As(const void* handle) {
  return *static_cast<const T*>(handle);
}

}  // namespace

extern "C" {

std::size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    default:
      return "CUBLAS_STATUS_INVALID_VALUE";
  }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  STANDIN_CALL;
  *handle = reinterpret_cast<cublasLtHandle_t>(Born(new int(CurrentDevice()), "cublasLt handle"));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  STANDIN_CALL;
  if (Dies(handle, "cublasLt handle")) delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  STANDIN_CALL;
  *desc = reinterpret_cast<cublasLtMatmulDesc_t>(
      Born(new Matmul{.compute = compute, .scale = scale}, "matmul descriptor"));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  STANDIN_CALL;
  if (Dies(desc, "matmul descriptor")) delete reinterpret_cast<Matmul*>(desc);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  STANDIN_CALL;
  auto& matmul = *reinterpret_cast<Matmul*>(desc);
  std::int32_t operation = 0;
  std::int8_t fast = 0;
  switch (int{attribute}) {
    case kScaleModeA:
      return Status(Take(value, bytes, &matmul.a_mode));
    case kScaleModeB:
      return Status(Take(value, bytes, &matmul.b_mode));
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
      return Status(Take(value, bytes, &matmul.a_scale));
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
      return Status(Take(value, bytes, &matmul.b_scale));
    case CUBLASLT_MATMUL_DESC_TRANSA:
    case CUBLASLT_MATMUL_DESC_TRANSB:
      if (!Take(value, bytes, &operation)) return CUBLAS_STATUS_INVALID_VALUE;
      if (operation != CUBLAS_OP_N && operation != CUBLAS_OP_T) Unknown("such transposition");
      (attribute == CUBLASLT_MATMUL_DESC_TRANSA ? matmul.transpose_a : matmul.transpose_b) =
          operation == CUBLAS_OP_T;
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM:
      if (!Take(value, bytes, &fast)) return CUBLAS_STATUS_INVALID_VALUE;
      matmul.fast_accumulate = fast != 0;
      return CUBLAS_STATUS_SUCCESS;
    default:
      Unknown("attribute " + std::to_string(attribute) + " of a product");
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          std::uint64_t rows, std::uint64_t columns,
                                          std::int64_t leading) {
  STANDIN_CALL;
  if (leading < static_cast<std::int64_t>(rows)) Violate("a leading dimension under the rows");
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(
      Born(new Layout{.type = type,
                      .rows = static_cast<std::int64_t>(rows),
                      .columns = static_cast<std::int64_t>(columns),
                      .leading = leading},
           "matrix layout"));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  STANDIN_CALL;
  if (Dies(layout, "matrix layout")) delete reinterpret_cast<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t handle,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, std::size_t bytes) {
  STANDIN_CALL;
  auto& layout = *reinterpret_cast<Layout*>(handle);
  std::int32_t count = 0;
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      if (!Take(value, bytes, &count)) return CUBLAS_STATUS_INVALID_VALUE;
      layout.batch = count;
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return Status(Take(value, bytes, &layout.stride));
    default:
      Unknown("attribute " + std::to_string(attribute) + " of a matrix");
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  STANDIN_CALL;
  *preference =
      reinterpret_cast<cublasLtMatmulPreference_t>(Born(new Preference, "matmul preference"));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  STANDIN_CALL;
  if (Dies(preference, "matmul preference")) delete reinterpret_cast<Preference*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  STANDIN_CALL;
  auto& own = *reinterpret_cast<Preference*>(preference);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return Status(Take(value, bytes, &own.workspace_bytes));
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return Status(Take(value, bytes, &own.reductions));
    default:
      Unknown("attribute " + std::to_string(attribute) + " of a preference");
  }
}

// Each algorithm wants a MiB more than the one before it, whatever the preference says. Where it
// may, it adds up two halves of each sum in the format of C.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* count) {
  STANDIN_CALL;
  constexpr std::uint32_t kInOutput =
      CUBLASLT_REDUCTION_SCHEME_INPLACE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
  *count = 0;
  if (c != d) Unknown("C that is laid out otherwise than D");
  if (!IsSupported(As<Matmul>(desc), As<Layout>(a), As<Layout>(b), As<Layout>(c))) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  for (; *count < most && *count < static_cast<int>(faults.algorithms.size()); ++*count) {
    results[*count] = {};
    results[*count].algo.data[0] = static_cast<std::uint64_t>(*count);
    results[*count].algo.data[1] = As<Preference>(preference).reductions & kInOutput;
    results[*count].workspaceSize = static_cast<std::size_t>(*count) << 20U;
    results[*count].state = CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void* value, std::size_t bytes,
                                                    std::size_t* written) {
  STANDIN_CALL;
  if (bytes != sizeof(std::int32_t)) return CUBLAS_STATUS_INVALID_VALUE;
  const std::int32_t number =
      attribute == CUBLASLT_ALGO_CONFIG_ID ? static_cast<std::int32_t>(algorithm->data[0]) : 1;
  std::memcpy(value, &number, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
  STANDIN_CALL;
  const auto matmul = As<Matmul>(desc);
  const auto la = As<Layout>(a_layout);
  const auto lb = As<Layout>(b_layout);
  const auto lc = As<Layout>(c_layout);
  const auto number = static_cast<int>(algorithm->data[0]);
  if (c != d) Unknown("D that is not C");
  if (*reinterpret_cast<int*>(handle) != Of(stream).device) Violate("a handle of another device");
  if (workspace_bytes < static_cast<std::size_t>(number) << 20U) {
    Violate("less workspace than the algorithm needs");
  }
  RequireDevice(workspace, workspace_bytes, "a workspace");
  const auto extent = [](const Layout& layout) {
    const std::int64_t elements =
        (layout.batch - 1) * layout.stride + layout.leading * layout.columns;
    return static_cast<std::size_t>(assay::BytesOf(FormatOf(layout.type), elements));
  };
  if (matmul.a_scale != nullptr) {
    RequireDevice(matmul.a_scale, static_cast<std::size_t>(ScaleBytes(la, matmul.a_mode)),
                  "the scales of A");
    RequireDevice(matmul.b_scale, static_cast<std::size_t>(ScaleBytes(lb, matmul.b_mode)),
                  "the scales of B");
  }
  RequireDevice(a, extent(la), "A");
  RequireDevice(b, extent(lb), "B");
  RequireDevice(d, extent(lc), "D");
  for (const void* pointer :
       {a, b, static_cast<const void*>(d), static_cast<const void*>(workspace)}) {
    if (reinterpret_cast<std::uintptr_t>(pointer) % 256 != 0) {
      Violate("an operand less aligned than the heuristic was told");
    }
  }
  const std::int64_t k = matmul.transpose_a ? la.rows : la.columns;
  const bool fits = (matmul.transpose_a ? la.columns : la.rows) == lc.rows &&
                    (matmul.transpose_b ? lb.columns : lb.rows) == k &&
                    (matmul.transpose_b ? lb.rows : lb.columns) == lc.columns &&
                    la.batch == lc.batch && lb.batch == lc.batch;
  if (!fits) return CUBLAS_STATUS_INVALID_VALUE;
  if (number == faults.failing_algorithm) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (faults.synchronizes) Of(stream).Synchronize();
  const double alpha_value = ReadScalar(matmul.scale, alpha);
  const double beta_value = ReadScalar(matmul.scale, beta);
  const double flops = 2.0 * static_cast<double>(lc.rows * lc.columns * k * lc.batch);
  const double seconds =
      faults.algorithms[static_cast<std::size_t>(number)] * (kLaunch_s + flops / kFlopsPerSecond);
  const bool in_halves = algorithm->data[1] != 0;
  Of(stream).Put([=](StreamState& own) {
    Multiply(matmul, alpha_value, beta_value, la, a, lb, b, lc, d, in_halves,
             number == faults.wrong_algorithm);
    own.Takes(seconds);
    return true;
  });
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  STANDIN_CALL;
  *handle =
      reinterpret_cast<cublasHandle_t>(Born(new Blas{.device = CurrentDevice()}, "cublas handle"));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  STANDIN_CALL;
  if (Dies(handle, "cublas handle")) delete reinterpret_cast<Blas*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int* version) {
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasGetStatusName(cublasStatus_t status) { return cublasLtGetStatusName(status); }
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  STANDIN_CALL;
  auto& blas = *reinterpret_cast<Blas*>(handle);
  blas.stream = stream;
  blas.workspace_bytes = 0;  // as documented
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  STANDIN_CALL;
  RequireDevice(workspace, bytes, "a workspace");
  reinterpret_cast<Blas*>(handle)->workspace_bytes = bytes;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  STANDIN_CALL;
  reinterpret_cast<Blas*>(handle)->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

// Sizes, alpha and beta lie in the host's memory and are read now; pointers lie in the device's.
cublasStatus_t cublasGemmGroupedBatchedEx_64(
    cublasHandle_t handle, const cublasOperation_t transposes_a[],
    const cublasOperation_t transposes_b[], const std::int64_t m[], const std::int64_t n[],
    const std::int64_t k[], const void* alphas, const void* const a[], cudaDataType_t a_type,
    const std::int64_t lda[], const void* const b[], cudaDataType_t b_type,
    const std::int64_t ldb[], const void* betas, void* const c[], cudaDataType_t c_type,
    const std::int64_t ldc[], std::int64_t groups, const std::int64_t group_size[],
    cublasComputeType_t compute) {
  STANDIN_CALL;
  const auto& blas = As<Blas>(handle);
  const cudaDataType_t scale = compute == CUBLAS_COMPUTE_64F ? CUDA_R_64F : CUDA_R_32F;
  const bool is_float = a_type != CUDA_R_8I && !IsNarrow(a_type);
  if (faults.unsupported || !is_float ||
      !IsInTable(Matmul{.compute = compute, .scale = scale}, a_type, b_type, c_type) ||
      (a_type == CUDA_R_16BF && faults.compute_capability < 80)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (faults.failing_algorithm == 0) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (blas.device != Of(blas.stream).device) Violate("a handle of another device");
  if (blas.workspace_bytes == 0) Violate("no workspace since the stream was set");
  const bool in_halves = (blas.math & CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION) == 0 &&
                         assay::BytesOf(FormatOf(c_type)) < 4;
  double flops = 0;
  std::vector<std::function<void()>> products;
  std::int64_t product = 0;
  for (std::int64_t group = 0; group < groups; ++group) {
    const Matmul matmul = {.compute = compute,
                           .scale = scale,
                           .transpose_a = transposes_a[group] == CUBLAS_OP_T,
                           .transpose_b = transposes_b[group] == CUBLAS_OP_T};
    const auto layout = [](cudaDataType_t type, bool turned, std::int64_t rows,
                           std::int64_t columns, std::int64_t leading) {
      if (turned) std::swap(rows, columns);
      if (leading < rows) Violate("a leading dimension under the rows");
      return Layout{.type = type, .rows = rows, .columns = columns, .leading = leading};
    };
    const Layout la = layout(a_type, matmul.transpose_a, m[group], k[group], lda[group]);
    const Layout lb = layout(b_type, matmul.transpose_b, k[group], n[group], ldb[group]);
    const Layout lc = layout(c_type, false, m[group], n[group], ldc[group]);
    const double alpha = scale == CUDA_R_64F
                             ? static_cast<const double*>(alphas)[group]
                             : static_cast<double>(static_cast<const float*>(alphas)[group]);
    const double beta = scale == CUDA_R_64F
                            ? static_cast<const double*>(betas)[group]
                            : static_cast<double>(static_cast<const float*>(betas)[group]);
    for (std::int64_t i = 0; i < group_size[group]; ++i, ++product) {
      flops += 2.0 * static_cast<double>(m[group] * n[group] * k[group]);
      products.emplace_back([=] {
        const auto extent = [](const Layout& of) {
          return static_cast<std::size_t>(
              assay::BytesOf(FormatOf(of.type), of.leading * of.columns));
        };
        RequireDevice(a[product], extent(la), "A of a group");
        RequireDevice(b[product], extent(lb), "B of a group");
        RequireDevice(c[product], extent(lc), "C of a group");
        Multiply(matmul, alpha, beta, la, a[product], lb, b[product], lc, c[product], in_halves,
                 product == 0 && faults.wrong_algorithm == 0);
      });
    }
  }
  const auto pointers = static_cast<std::size_t>(product) * sizeof(void*);
  RequireDevice(a, pointers, "the pointers to A");
  RequireDevice(b, pointers, "the pointers to B");
  RequireDevice(c, pointers, "the pointers to C");
  if (Of(blas.stream).capturing) Violate("a grouped product in a graph, which the host sizes");
  Of(blas.stream).Put([products, flops](StreamState& own) {
    for (const auto& one : products) one();
    own.Takes(kLaunch_s + flops / kFlopsPerSecond);
    return true;
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
