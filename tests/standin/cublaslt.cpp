// cuBLASLt's part of the stand-in: a product of what the descriptors say, attribute by attribute.
#include <cublasLt.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
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
};

// What our code asks for and this doesn't know is no violation to be counted, but the end.
[[noreturn]] void Unknown(const std::string& what) {
  std::fprintf(stderr, "the stand-in for cuBLASLt knows no %s\n", what.c_str());
  std::abort();
}

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
  switch (type) {
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
    case CUDA_R_8I:
      return Format::kS8;
    case CUDA_R_32I:
      return Format::kS32;
    default:
      Unknown("such data type");
  }
}

void Store(Format format, double value, void* to, std::int64_t index) {
  const auto as = [&]<class T>(T stored) { static_cast<T*>(to)[index] = stored; };
  switch (format) {
    case Format::kF64:
      return as(value);
    case Format::kF32:
      return as(static_cast<float>(value));
    case Format::kBf16:
      return as(assay::Bf16FromF32(static_cast<float>(value)));
    case Format::kF16:
      return as(assay::F16FromF32(static_cast<float>(value)));
    case Format::kS32:
      return as(static_cast<std::int32_t>(value));
    default:
      Unknown("such output");
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
      Unknown("such scale type");
  }
}

// Whether cuBLASLt's table of cublasLtMatmul has these together.
bool IsInTable(const Matmul& matmul, cudaDataType_t ab, cudaDataType_t c) {
  const auto is = [&](cublasComputeType_t compute, cudaDataType_t scale) {
    return matmul.compute == compute && matmul.scale == scale;
  };
  if (ab == CUDA_R_64F) return c == CUDA_R_64F && is(CUBLAS_COMPUTE_64F, CUDA_R_64F);
  if (ab == CUDA_R_32F) {
    return c == CUDA_R_32F &&
           (is(CUBLAS_COMPUTE_32F, CUDA_R_32F) || is(CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F));
  }
  if (ab == CUDA_R_8I) return c == CUDA_R_32I && is(CUBLAS_COMPUTE_32I, CUDA_R_32I);
  if (ab == CUDA_R_8F_E4M3) return c == CUDA_R_16BF && is(CUBLAS_COMPUTE_32F, CUDA_R_32F);
  return c == ab && is(CUBLAS_COMPUTE_32F, CUDA_R_32F);
}

bool IsSupported(const Matmul& matmul, const Layout& a, const Layout& b, const Layout& c) {
  if (faults.unsupported || a.type != b.type || !IsInTable(matmul, a.type, c.type)) return false;
  if (a.type == CUDA_R_8F_E4M3) {
    return faults.compute_capability >= 89 && matmul.transpose_a && !matmul.transpose_b &&
           a.rows % 16 == 0 && a.columns % 16 == 0 && b.columns % 8 == 0;
  }
  if (a.type == CUDA_R_16BF || matmul.compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
    return faults.compute_capability >= 80;
  }
  return a.type != CUDA_R_8I || a.leading % 4 == 0;
}

// All of a matrix, one after the other of a batch, as it lies in memory.
std::vector<double> ValuesOf(const Layout& layout, const void* data) {
  const std::int64_t count = (layout.batch - 1) * layout.stride + layout.leading * layout.columns;
  std::vector<double> values(static_cast<std::size_t>(count));
  assay::Tensor{.format = FormatOf(layout.type), .data = data}.Read(0, count, values.data());
  return values;
}

void Multiply(const Matmul& matmul, double alpha, double beta, const Layout& la, const void* a,
              const Layout& lb, const void* b, const Layout& lc, void* c, bool spoil) {
  std::vector<double> a_values = ValuesOf(la, a);
  std::vector<double> b_values = ValuesOf(lb, b);
  if (matmul.compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
    for (auto* values : {&a_values, &b_values}) {
      for (double& value : *values) {
        value = static_cast<double>(assay::Tf32FromF32(static_cast<float>(value)));
      }
    }
  }
  const Format format = FormatOf(lc.type);
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
        double sum = 0;
        for (std::int64_t x = 0; x < k; ++x) sum += row[x * a_step] * column[x * b_step];
        const std::int64_t at = batch * lc.stride + i + j * lc.leading;
        const double before = beta == 0 ? 0 : beta * assay::Tensor{.format = format, .data = c}[at];
        Store(format, alpha * sum + before, c, at);
      }
    }
  }
  if (spoil) Store(format, 2 * assay::Tensor{.format = format, .data = c}[0] + 1, c, 0);
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
  switch (attribute) {
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
  if (attribute != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    Unknown("attribute " + std::to_string(attribute) + " of a preference");
  }
  return Status(Take(value, bytes, &reinterpret_cast<Preference*>(preference)->workspace_bytes));
}

// Each algorithm wants a MiB more than the one before it, whatever the preference says.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t, int most,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* count) {
  STANDIN_CALL;
  *count = 0;
  if (c != d) Unknown("C that is laid out otherwise than D");
  if (!IsSupported(As<Matmul>(desc), As<Layout>(a), As<Layout>(b), As<Layout>(c))) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  for (; *count < most && *count < static_cast<int>(faults.algorithms.size()); ++*count) {
    results[*count] = {};
    results[*count].algo.data[0] = static_cast<std::uint64_t>(*count);
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
    return static_cast<std::size_t>(elements * assay::BytesOf(FormatOf(layout.type)));
  };
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
  Of(stream).Put([=](StreamState& own) {
    Multiply(matmul, alpha_value, beta_value, la, a, lb, b, lc, d,
             number == faults.wrong_algorithm);
    own.Takes(seconds);
    return true;
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
