#include "kernels/cuda_gemm.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "kernels/compound.h"
#include "kernels/cuda_operands.h"
#include "kernels/inputs.h"
#include "kernels/reference.h"
#include "runner/core/random.h"

namespace assay::cuda {
namespace {

using LtHandle = Owned<cublasLtHandle_t, cublasLtDestroy>;
using LtMatmul = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using LtLayout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using LtPreference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

std::size_t At(std::int64_t index) { return static_cast<std::size_t>(index); }

void CheckLt(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(fmt::format("cuBLASLt {} failed in {}: {}; CUBLASLT_LOG_LEVEL=5 tells more",
                          CublasLtVersion(), what, cublasLtGetStatusName(status)));
}

// The scale modes of blocks, which cuBLASLt has since CUDA 12.8.
#if CUBLAS_VER_MAJOR * 100 + CUBLAS_VER_MINOR >= 1208
constexpr bool kHasBlocks = true;
constexpr cudaDataType_t kE2m1 = CUDA_R_4F_E2M1;
constexpr cublasLtMatmulDescAttributes_t kScaleModeA = CUBLASLT_MATMUL_DESC_A_SCALE_MODE;
constexpr cublasLtMatmulDescAttributes_t kScaleModeB = CUBLASLT_MATMUL_DESC_B_SCALE_MODE;
constexpr std::int32_t kBlocksOf32 = CUBLASLT_MATMUL_MATRIX_SCALE_VEC32_UE8M0;
constexpr std::int32_t kBlocksOf16 = CUBLASLT_MATMUL_MATRIX_SCALE_VEC16_UE4M3;
#else
constexpr bool kHasBlocks = false;
constexpr cudaDataType_t kE2m1 = {};
constexpr cublasLtMatmulDescAttributes_t kScaleModeA = {};
constexpr cublasLtMatmulDescAttributes_t kScaleModeB = {};
constexpr std::int32_t kBlocksOf32 = 0;
constexpr std::int32_t kBlocksOf16 = 0;
#endif

// The types of a dtype's product in cuBLASLt: those of A, B and C, of the sum, and of alpha and
// beta (docs.nvidia.com/cuda/cublas, the table of cublasLtMatmul). C's is the one that WorkOf
// counts.
struct Types {
  Format a = {};
  Format b = {};
  Format c = {};
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType_t scale = CUDA_R_32F;
  // The format of the scales of A and B: f32, one for each of the two, or that of one for each
  // block.
  std::optional<Format> scales = {};
  // The scale of each matrix as a whole where `scales` belong to blocks; alpha brings it in.
  float whole = 1;
};

// The types of a dtype's product; nothing where this build's cuBLASLt has none.
std::optional<Types> TypesOf(Dtype dtype) {
  using enum Format;
  switch (dtype) {
    case Dtype::kF64:
      return Types{
          .a = kF64, .b = kF64, .c = kF64, .compute = CUBLAS_COMPUTE_64F, .scale = CUDA_R_64F};
    case Dtype::kF32:
      return Types{.a = kF32, .b = kF32, .c = kF32};
    // The inputs lie on tf32's grid already, so that only the sums are rounded.
    case Dtype::kTf32:
      return Types{.a = kTf32, .b = kTf32, .c = kF32, .compute = CUBLAS_COMPUTE_32F_FAST_TF32};
    case Dtype::kBf16:
      return Types{.a = kBf16, .b = kBf16, .c = kBf16};
    case Dtype::kF16:
      return Types{.a = kF16, .b = kF16, .c = kF16};
    case Dtype::kFp8E4m3:
      return Types{.a = kF8E4m3, .b = kF8E4m3, .c = kBf16, .scales = kF32};
    case Dtype::kFp8E5m2E4m3:
      return Types{.a = kF8E5m2, .b = kF8E4m3, .c = kBf16, .scales = kF32};
    case Dtype::kFp8E5m2:
    case Dtype::kU8:
    case Dtype::kI32:
    case Dtype::kU32:
    case Dtype::kI64:
    case Dtype::kU64:
      return std::nullopt;
    case Dtype::kMxfp8:
      if (!kHasBlocks) return std::nullopt;
      return Types{.a = kF8E4m3, .b = kF8E4m3, .c = kBf16, .scales = kUe8m0};
    case Dtype::kNvfp4:
      if (!kHasBlocks) return std::nullopt;
      return Types{.a = kF4E2m1, .b = kF4E2m1, .c = kBf16, .scales = kUe4m3, .whole = 0.25F};
    case Dtype::kInt8:
      return Types{
          .a = kS8, .b = kS8, .c = kS32, .compute = CUBLAS_COMPUTE_32I, .scale = CUDA_R_32I};
  }
  return std::nullopt;
}

// The reason why TypesOf has nothing for the dtype.
Skipped NoTypes(Dtype dtype) {
  if (BlockOf(dtype) > 0) {
    return {.reason = fmt::format("cuBLASLt multiplies {} since CUDA 12.8, and this was built "
                                  "with an older one",
                                  assay::ToText(dtype)),
            .remedy = "build with a newer CUDA, or use dtype=fp8_e4m3"};
  }
  return {.reason = "cuBLASLt multiplies no e5m2 by e5m2",
          .remedy = "use dtype=fp8_e5m2_e4m3 or dtype=fp8_e4m3"};
}

cudaDataType_t TypeOf(Format format) {
  switch (format) {
    case Format::kF64:
      return CUDA_R_64F;
    case Format::kF32:
    case Format::kTf32:
      return CUDA_R_32F;
    case Format::kBf16:
      return CUDA_R_16BF;
    case Format::kF16:
      return CUDA_R_16F;
    case Format::kF8E4m3:
      return CUDA_R_8F_E4M3;
    case Format::kF8E5m2:
      return CUDA_R_8F_E5M2;
    case Format::kF4E2m1:
      return kE2m1;
    case Format::kS8:
      return CUDA_R_8I;
    case Format::kS32:
      return CUDA_R_32I;
    case Format::kUe8m0:
    case Format::kUe4m3:
    case Format::kU8:
      break;
  }
  throw Error("a format that cuBLASLt multiplies in no case of ours; report this as a bug");
}

// The scale of 8-bit inputs, which undoes the factor 64 by which they use their range
// (kernels/inputs.h).
constexpr float kFp8Scale = 1.0F / 64;

// A number as cuBLASLt reads alpha and beta, which must have the type of the scale.
class Scalar {
 public:
  Scalar(cudaDataType_t type, double value) {
    if (type == CUDA_R_64F) {
      Hold(value);
    } else if (type == CUDA_R_32F) {
      Hold(static_cast<float>(value));
    } else if (type == CUDA_R_32I) {
      Hold(static_cast<std::int32_t>(value));
    } else {
      throw Error("a scale type of cuBLASLt that has no host type here; report this as a bug");
    }
  }
  const void* Get() const { return bytes_.data(); }

 private:
  template <class T>
  void Hold(T value) {
    std::memcpy(bytes_.data(), &value, sizeof(value));
  }
  alignas(8) std::array<std::byte, 8> bytes_ = {};
};

template <class Value>
void Set(const LtMatmul& matmul, cublasLtMatmulDescAttributes_t attribute, Value value) {
  CheckLt(cublasLtMatmulDescSetAttribute(matmul.get(), attribute, &value, sizeof(value)),
          "describing a product");
}
template <class Value>
void Set(const LtLayout& layout, cublasLtMatrixLayoutAttribute_t attribute, Value value) {
  CheckLt(cublasLtMatrixLayoutSetAttribute(layout.get(), attribute, &value, sizeof(value)),
          "describing a matrix");
}

// The layout of a batch of matrices, one after the other, column major as everything in cuBLAS.
LtLayout MakeLayout(cudaDataType_t type, std::int64_t rows, std::int64_t columns,
                    std::int64_t batch) {
  cublasLtMatrixLayout_t layout = nullptr;
  CheckLt(cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(columns), rows),
          "describing a matrix");
  LtLayout owned(layout);
  if (batch > 1) {
    Set(owned, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));
    Set(owned, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, std::int64_t{rows * columns});
  }
  return owned;
}

// One Gemm as cuBLASLt sees it, in the layout "TN", which every dtype has on every GPU. cuBLAS's
// own A is our weights, n rows of k numbers each (as frameworks keep them), transposed. Its B is
// our A, row major; and its C, column major, is ours, row major.
class Product {
 public:
  Product(const Gemm& gemm, const Types& types)
      : weights_(MakeLayout(TypeOf(types.b), gemm.k, gemm.n, gemm.batch)),
        activations_(MakeLayout(TypeOf(types.a), gemm.k, gemm.m, gemm.batch)),
        output_(MakeLayout(TypeOf(types.c), gemm.n, gemm.m, gemm.batch)),
        is_output_narrow_(BytesOf(types.c) < 4),
        alpha_(types.scale, types.whole * types.whole),
        zero_(types.scale, 0) {
    cublasLtMatmulDesc_t matmul = nullptr;
    CheckLt(cublasLtMatmulDescCreate(&matmul, types.compute, types.scale), "describing a product");
    matmul_.reset(matmul);
    Set(matmul_, CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t{CUBLAS_OP_T});
    Set(matmul_, CUBLASLT_MATMUL_DESC_TRANSB, std::int32_t{CUBLAS_OP_N});
    if (IsFp8(gemm.dtype)) {
      Set(matmul_, CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{gemm.fast_accumulate});
    }
    if (BlockOf(gemm.dtype) > 0) {
      const std::int32_t mode = types.scales == Format::kUe8m0 ? kBlocksOf32 : kBlocksOf16;
      Set(matmul_, kScaleModeA, mode);
      Set(matmul_, kScaleModeB, mode);
    }
    cublasLtHandle_t handle = nullptr;
    CheckLt(cublasLtCreate(&handle), "its start");
    handle_.reset(handle);
  }

  // Sets the scales of our A and B, in device memory, for all later calls. The heuristic wants to
  // see them too.
  void UseScales(const void* of_a, const void* of_b) const {
    Set(matmul_, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, of_b);
    Set(matmul_, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, of_a);
  }

  // The algorithms that the heuristic offers within that workspace, best guess first. Empty where
  // it has none for this case on this device, and then *why is the reason.
  std::vector<cublasLtMatmulHeuristicResult_t> Offers(int most, std::size_t workspace_bytes,
                                                      std::string* why) const {
    cublasLtMatmulPreference_t made = nullptr;
    CheckLt(cublasLtMatmulPreferenceCreate(&made), "a preference");
    const LtPreference preference(made);
    CheckLt(cublasLtMatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &workspace_bytes, sizeof(workspace_bytes)),
            "a preference");
    // Partial sums must not be added up in C's 16 bits, which would round them more often than the
    // case's f32 says.
    if (is_output_narrow_) {
      const std::uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
      CheckLt(cublasLtMatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                   &schemes, sizeof(schemes)),
              "a preference");
    }
    std::vector<cublasLtMatmulHeuristicResult_t> offers(At(most));
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_.get(), matmul_.get(), weights_.get(), activations_.get(), output_.get(),
        output_.get(), made, most, offers.data(), &count);
    *why = cublasLtGetStatusName(status);
    offers.resize(status == CUBLAS_STATUS_SUCCESS ? At(count) : 0);
    std::erase_if(offers, [&](const cublasLtMatmulHeuristicResult_t& offer) {
      return offer.state != CUBLAS_STATUS_SUCCESS || offer.workspaceSize > workspace_bytes;
    });
    return offers;
  }

  // Enqueues C = A · B on the stream, by that algorithm.
  cublasStatus_t Enqueue(const cublasLtMatmulAlgo_t& algorithm, const void* a, const void* b,
                         void* c, void* workspace, std::size_t workspace_bytes,
                         cudaStream_t stream) const {
    return cublasLtMatmul(handle_.get(), matmul_.get(), alpha_.Get(), b, weights_.get(), a,
                          activations_.get(), zero_.Get(), c, output_.get(), c, output_.get(),
                          &algorithm, workspace, workspace_bytes, stream);
  }

 private:
  LtHandle handle_ = {};
  LtMatmul matmul_ = {};
  LtLayout weights_;
  LtLayout activations_;
  LtLayout output_;
  bool is_output_narrow_;
  Scalar alpha_;
  Scalar zero_;
};

// The algorithm in words, enough to ask for it again: "66, tile 20, stages 35, split-k 1".
std::string ToText(const cublasLtMatmulAlgo_t& algorithm) {
  const auto value = [&](cublasLtMatmulAlgoConfigAttributes_t attribute) {
    std::int32_t number = 0;
    std::size_t written = 0;
    cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &number, sizeof(number), &written);
    return number;
  };
  return fmt::format("{}, tile {}, stages {}, split-k {}", value(CUBLASLT_ALGO_CONFIG_ID),
                     value(CUBLASLT_ALGO_CONFIG_TILE_ID), value(CUBLASLT_ALGO_CONFIG_STAGES_ID),
                     value(CUBLASLT_ALGO_CONFIG_SPLITK_NUM));
}

struct Operands {
  Operand a = {}, b = {}, c = {};
  std::int64_t AllBytes() const { return a.AllBytes() + b.AllBytes() + c.AllBytes(); }
};

// The layout of the block scales of an operand that has `rows` rows of k numbers.
ScaleLayout LayoutOf(const Gemm& gemm, std::int64_t rows) {
  return {.rows = rows, .blocks = gemm.k / BlockOf(gemm.dtype)};
}

// The number of scales of such an operand.
std::int64_t ScalesOf(const Gemm& gemm, const Types& types, std::int64_t rows) {
  if (!types.scales) return 0;
  return *types.scales == Format::kF32 ? 1 : LayoutOf(gemm, rows).Count();
}

// The operands of a product, without memory as yet. They rotate over three caches' worth of sets,
// which leaves nothing of a set in the cache when its turn comes again.
Operands OperandsOf(const Gemm& gemm, const Types& types, const Gpu& gpu) {
  const auto input = [&](Format format, std::int64_t rows) {
    const Format scale = types.scales.value_or(format);
    return Operand{.numbers_bytes = Aligned(BytesOf(format, gemm.batch * rows * gemm.k)),
                   .scales_bytes = Aligned(BytesOf(scale, ScalesOf(gemm, types, rows)))};
  };
  Operands all = {.a = input(types.a, gemm.m), .b = input(types.b, gemm.n)};
  all.c.numbers_bytes = Aligned(BytesOf(types.c, gemm.batch * gemm.m * gemm.n));
  if (gemm.cache == "cold") {
    all.a.sets = all.b.sets = ColdSets(gpu, all.a.Bytes() + all.b.Bytes() + all.c.Bytes());
  } else if (gemm.cache == "weights-cold") {
    all.b.sets = ColdSets(gpu, all.b.Bytes());
  }
  all.c.sets = all.a.sets;
  return all;
}

// A product by one of cuBLASLt's algorithms, on operands that rotate to keep the cache cold.
class GemmWorkload : public TimedWorkload, private Streamed {
 public:
  GemmWorkload(const Gemm& gemm, const Types& types, const Gpu& gpu, Operands operands,
               std::unique_ptr<Product> product, const cublasLtMatmulHeuristicResult_t& first,
               std::uint64_t seed, std::shared_ptr<Timer> timer)
      : TimedWorkload(std::move(timer)),
        gemm_(gemm),
        types_(types),
        gpu_(gpu),
        operands_(std::move(operands)),
        product_(std::move(product)),
        workspace_bytes_(WorkspaceBytes(gpu)),
        workspace_(MakeDeviceMemory(workspace_bytes_)) {
    Use(first);
    const Stream of_a = {.format = types.a, .rows = gemm.m, .seed = seed, .index = 0};
    const Stream of_b = {.format = types.b, .rows = gemm.n, .seed = seed, .index = 1};
    InputMaker inputs(gpu_, timer_->Stream());
    MakeInput(inputs, of_a, operands_.a);
    MakeInput(inputs, of_b, operands_.b);
    Spoil();
    timer_->Wait("making inputs");

    host_a_ = OnHost(of_a);
    const std::vector<std::byte> weights = OnHost(of_b);
    const std::vector<std::byte> b =
        Transposed({.format = HostFormat(types.b), .data = weights.data()}, gemm.batch, gemm.n,
                   gemm.k, OnAllCores);
    check_.emplace(gemm, Tensor{.format = HostFormat(types.b), .data = b.data()}, RandomAt(seed, 2),
                   OnAllCores);
  }

  // The offers as candidates for tuning.
  Candidates From(const std::vector<cublasLtMatmulHeuristicResult_t>& offers) {
    return {.library = "cuBLASLt",
            .count = static_cast<int>(offers.size()),
            .use = [this, &offers](int i) { Use(offers.at(At(i))); },
            .once =
                [this] {
                  Spoil();
                  Enqueue(0);
                  timer_->Wait("a product");
                  return CheckOutput(Output(0));
                },
            .time = [this](std::int64_t iterations) { return Run(iterations).time; }};
  }

  void Use(const cublasLtMatmulHeuristicResult_t& offer) {
    algorithm_ = offer.algo;
    needed_bytes_ = offer.workspaceSize;
  }
  // Uses the offer that was chosen, from now on.
  void Use(const cublasLtMatmulHeuristicResult_t& offer, const Facts& tuning) {
    Use(offer);
    tuning_ = tuning;
    Spoil();
  }

  std::int64_t Period() const override { return std::max(operands_.a.sets, operands_.b.sets); }
  // Throws Error where cuBLASLt refuses; an error of the device is seen later.
  void Enqueue(std::int64_t i) override {
    const auto& [a, b, c] = operands_;
    if (types_.scales) product_->UseScales(a.Scales(i), b.Scales(i));
    CheckLt(product_->Enqueue(algorithm_, a.Numbers(i), b.Numbers(i), c.Numbers(i),
                              workspace_.get(), workspace_bytes_, timer_->Stream()),
            "a product");
    Check(cudaGetLastError());
  }
  Streamed* AsStreamed() override { return this; }

  // Checks all outputs that were made since the last Verify.
  Checked Verify() override {
    return CheckSets(
        *timer_, operands_.c.sets, [this](std::int64_t set) { return Output(set); },
        [this](std::int64_t set) { return CheckOutput(Output(set)); });
  }

  Facts Describe() const override {
    Facts facts = gpu_.Describe();
    facts["library"] = "cuBLASLt " + CublasLtVersion();
    facts["algorithm"] = ToText(algorithm_);
    facts["algorithm_workspace_bytes"] = static_cast<std::int64_t>(needed_bytes_);
    facts["workspace_bytes"] = static_cast<std::int64_t>(workspace_bytes_);
    facts["formats"] = fmt::format("{} x {} -> {}", assay::ToText(types_.a),
                                   assay::ToText(types_.b), assay::ToText(types_.c));
    if (const std::int64_t block = BlockOf(gemm_.dtype); block > 0) {
      facts["scales"] = fmt::format("{} for each {}", assay::ToText(*types_.scales), block);
    } else if (types_.scales) {
      facts["scales"] = fmt::format("{} for each operand", assay::ToText(*types_.scales));
    }
    facts["weights_layout"] = "n rows of k (TN)";
    facts["rotation_sets"] = Period();
    facts["rotation_bytes"] = operands_.AllBytes();
    facts["timing"] = timer_->Method();
    if (IsFp8(gemm_.dtype)) facts["fast_accumulate"] = gemm_.fast_accumulate;
    facts.insert(tuning_.begin(), tuning_.end());
    return facts;
  }

 private:
  void* StreamHandle() const override { return timer_->Stream(); }
  void Hold() override { timer_->Hold(); }
  void Release() override { timer_->Release(); }
  void Put(std::int64_t iterations) override {
    timer_->Put(iterations, Period(), [this](std::int64_t i) { Enqueue(i); });
  }
  void Finish() override { timer_->Finish(); }

  void Spoil() { operands_.c.Spoil(*timer_); }
  // The random numbers of one operand and of its scales.
  struct Stream {
    Format format = {};
    std::int64_t rows = 0;  // rows of k numbers in each matrix of the batch
    std::uint64_t seed = 0;
    std::uint64_t index = 0;
    std::uint64_t Numbers() const { return RandomAt(seed, index); }
    std::uint64_t Scales() const { return RandomAt(seed, 3 + index); }
  };

  // Makes all sets of one operand on the device; they hold the same numbers.
  void MakeInput(InputMaker& inputs, const Stream& of, const Operand& operand) const {
    const std::int64_t count = gemm_.batch * of.rows * gemm_.k;
    for (std::int64_t i = 0; i < operand.sets; ++i) {
      inputs.Make(of.format, gemm_.inputs, of.Numbers(), count, operand.Numbers(i));
      if (!types_.scales) continue;
      if (*types_.scales == Format::kF32) {
        Check(cudaMemcpyAsync(operand.Scales(i), &kFp8Scale, sizeof(kFp8Scale),
                              cudaMemcpyHostToDevice, timer_->Stream()));
      } else {
        inputs.Make(*types_.scales, gemm_.inputs, of.Scales(), ScalesOf(gemm_, types_, of.rows),
                    operand.Scales(i));
      }
    }
  }

  // The operand on the host, for the check: the numbers themselves, or where they have scales the
  // numbers that they stand for.
  Format HostFormat(Format format) const { return types_.scales ? Format::kF32 : format; }
  std::vector<std::byte> OnHost(const Stream& of) const {
    const std::int64_t count = gemm_.batch * of.rows * gemm_.k;
    std::vector<std::byte> numbers(At(BytesOf(of.format, count)));
    Fill(of.format, gemm_.inputs, of.Numbers(), count, numbers.data(), OnAllCores);
    if (!types_.scales) return numbers;
    Quantised matrix = {.codes = {.format = of.format, .data = numbers.data()},
                        .scales = {.format = *types_.scales, .data = &kFp8Scale},
                        .block = BlockOf(gemm_.dtype),
                        .whole = types_.whole};
    std::vector<std::byte> scales;
    if (*types_.scales != Format::kF32) {
      scales.resize(At(ScalesOf(gemm_, types_, of.rows)));
      Fill(*types_.scales, gemm_.inputs, of.Scales(), ScalesOf(gemm_, types_, of.rows),
           scales.data(), OnAllCores);
      matrix.scales.data = scales.data();
    }
    std::vector<std::byte> plain(At(BytesOf(Format::kF32, count)));
    Dequantise(matrix, gemm_.batch * of.rows, gemm_.k, reinterpret_cast<float*>(plain.data()),
               OnAllCores);
    return plain;
  }

  std::vector<std::byte> Output(std::int64_t set) const {
    return operands_.c.Read(set, BytesOf(types_.c, gemm_.batch * gemm_.m * gemm_.n), *timer_);
  }
  Checked CheckOutput(const std::vector<std::byte>& output) const {
    return check_->Check({.format = HostFormat(types_.a), .data = host_a_.data()},
                         {.format = types_.c, .data = output.data()}, OnAllCores);
  }

  Gemm gemm_;
  Types types_;
  Gpu gpu_;
  Operands operands_;
  std::unique_ptr<Product> product_;
  cublasLtMatmulAlgo_t algorithm_ = {};
  std::size_t needed_bytes_ = 0;
  std::size_t workspace_bytes_;
  DeviceMemory workspace_;
  std::vector<std::byte> host_a_ = {};
  std::optional<GemmCheck> check_ = {};
  Facts tuning_ = {};
};

// Several products one after the other, timed as one loop: each call of the timer that they share
// enqueues one of each.
class GemmLoop : public InTurn {
 public:
  GemmLoop(std::vector<Part> parts, std::vector<GemmWorkload*> gemms, std::shared_ptr<Timer> timer)
      : InTurn(std::move(parts)), gemms_(std::move(gemms)), timer_(std::move(timer)) {
    for (const GemmWorkload* gemm : gemms_) period_ = std::lcm(period_, gemm->Period());
  }

  Batch Run(std::int64_t iterations) override {
    return timer_->Time(iterations, period_, [this](std::int64_t i) {
      for (GemmWorkload* gemm : gemms_) gemm->Enqueue(i);
    });
  }
  bool BeginTogether(std::function<void()> meet) override {
    timer_->BeginTogether(std::move(meet));
    return true;
  }

 private:
  std::vector<GemmWorkload*> gemms_;  // the parts' workloads
  std::shared_ptr<Timer> timer_;
  std::int64_t period_ = 1;
};

// Makes a product ready that is timed by `timer`.
std::variant<std::unique_ptr<GemmWorkload>, Skipped> Ready(const Gemm& op, const Gpu& gpu,
                                                           Tunings& tunings, std::uint64_t seed,
                                                           std::shared_ptr<Timer> timer) {
  // The most algorithms that the heuristic is asked for; it mostly has fewer.
  constexpr int kOffers = 32;
  const std::optional<Types> types = TypesOf(op.dtype);
  if (!types) return NoTypes(op.dtype);
  if (auto no = ArithmeticByEnvironment()) return *no;
  if (BlockOf(op.dtype) > 0 && (op.k % 32 != 0 || op.batch != 1)) {
    return Skipped{.reason = fmt::format("{} is multiplied here with k in multiples of 32 and "
                                         "without batches",
                                         assay::ToText(op.dtype)),
                   .remedy = "use another k, batch=1, or another dtype"};
  }
  Operands operands = OperandsOf(op, *types, gpu);
  const std::size_t workspace_bytes = WorkspaceBytes(gpu);
  if (auto no = TooLargeForGpu(operands.AllBytes() + static_cast<std::int64_t>(workspace_bytes))) {
    return *no;
  }
  auto product = std::make_unique<Product>(op, *types);
  for (Operand* operand : {&operands.a, &operands.b, &operands.c}) operand->Allocate();
  if (types->scales) product->UseScales(operands.a.Scales(0), operands.b.Scales(0));
  const bool tuned = op.algo == "tuned";
  std::string why;
  const std::vector<cublasLtMatmulHeuristicResult_t> offers =
      product->Offers(tuned ? kOffers : 1, workspace_bytes, &why);
  if (offers.empty()) {
    return Skipped{
        .reason = fmt::format("cuBLASLt {} offers no {} product of this shape on {} ({})",
                              CublasLtVersion(), assay::ToText(op.dtype), gpu.name, why),
        .remedy = BlockOf(op.dtype) > 0
                      ? "use a GPU of compute capability 10.0 (Blackwell) and multiples of 32, or "
                        "dtype=fp8_e4m3"
                      : "use another dtype or shape: fp8 wants multiples of 16 and compute "
                        "capability 8.9, int8 multiples of 4"};
  }
  auto workload =
      std::make_unique<GemmWorkload>(op, *types, gpu, std::move(operands), std::move(product),
                                     offers.front(), seed, std::move(timer));
  if (tuned) {
    const std::string name = fmt::format("{} {}{} {}x{}x{}x{} {} {}", gpu.index,
                                         assay::ToText(op.dtype), op.fast_accumulate ? " fast" : "",
                                         op.batch, op.m, op.n, op.k, op.cache, op.inputs);
    if (!tunings.contains(name)) tunings[name] = Fastest(workload->From(offers));
    const Tuned& best = tunings[name];
    workload->Use(offers.at(At(best.candidate)), best.facts);
  }
  return workload;
}

}  // namespace

Prepared PrepareGemm(const Gemm& op, const Gpu& gpu, Tunings& tunings, std::uint64_t seed) {
  auto ready = Ready(op, gpu, tunings, seed, std::make_shared<Timer>());
  if (Skipped* no = std::get_if<Skipped>(&ready)) return std::move(*no);
  return std::get<std::unique_ptr<GemmWorkload>>(std::move(ready));
}

Prepared PrepareGemms(const std::vector<Step>& steps, const Gpu& gpu, Tunings& tunings,
                      std::uint64_t seed) {
  const auto timer = std::make_shared<Timer>();
  std::vector<GemmWorkload*> gemms;
  auto parts = PrepareEach(steps, seed, [&](const Op& op, std::uint64_t own_seed) -> Prepared {
    auto ready = Ready(std::get<Gemm>(op), gpu, tunings, own_seed, timer);
    if (Skipped* no = std::get_if<Skipped>(&ready)) return std::move(*no);
    auto& gemm = std::get<std::unique_ptr<GemmWorkload>>(ready);
    gemms.push_back(gemm.get());
    return std::move(gemm);
  });
  if (Skipped* no = std::get_if<Skipped>(&parts)) return std::move(*no);
  return std::make_unique<GemmLoop>(std::move(std::get<std::vector<InTurn::Part>>(parts)),
                                    std::move(gemms), timer);
}

std::string CublasLtVersion() {
  const std::size_t version = cublasLtGetVersion();
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace assay::cuda
