#include "kernels/cuda_gemm.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "kernels/inputs.h"
#include "kernels/reference.h"
#include "runner/random.h"

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

// How cuBLASLt does a dtype's product: what A and B are, what C is, and what alpha and beta are
// (docs.nvidia.com/cuda/cublas, the table of cublasLtMatmul). C is as WorkOf counts it.
struct Types {
  Format in = {};
  Format out = {};
  cudaDataType_t ab = {};
  cudaDataType_t c = {};
  cublasComputeType_t compute = {};
  cudaDataType_t scale = {};
};

std::optional<Types> TypesOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF64:
      return Types{Format::kF64, Format::kF64,       CUDA_R_64F,
                   CUDA_R_64F,   CUBLAS_COMPUTE_64F, CUDA_R_64F};
    case Dtype::kF32:
      return Types{Format::kF32, Format::kF32,       CUDA_R_32F,
                   CUDA_R_32F,   CUBLAS_COMPUTE_32F, CUDA_R_32F};
    // The inputs lie on tf32's grid already, so that the product is exact but for its sums.
    case Dtype::kTf32:
      return Types{
          Format::kTf32, Format::kF32, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32,
          CUDA_R_32F};
    case Dtype::kBf16:
      return Types{Format::kBf16, Format::kBf16,      CUDA_R_16BF,
                   CUDA_R_16BF,   CUBLAS_COMPUTE_32F, CUDA_R_32F};
    case Dtype::kF16:
      return Types{Format::kF16, Format::kF16,       CUDA_R_16F,
                   CUDA_R_16F,   CUBLAS_COMPUTE_32F, CUDA_R_32F};
    case Dtype::kFp8E4m3:
      return Types{Format::kF8E4m3, Format::kBf16,      CUDA_R_8F_E4M3,
                   CUDA_R_16BF,     CUBLAS_COMPUTE_32F, CUDA_R_32F};
    case Dtype::kInt8:
      return Types{Format::kS8, Format::kS32,       CUDA_R_8I,
                   CUDA_R_32I,  CUBLAS_COMPUTE_32I, CUDA_R_32I};
    case Dtype::kFp8E5m2:  // there is no e5m2 times e5m2
      return std::nullopt;
  }
  return std::nullopt;
}

// A whole number as cuBLASLt reads alpha and beta: in the type of the scale, and no other.
class Scalar {
 public:
  Scalar(cudaDataType_t type, int value) {
    if (type == CUDA_R_64F) {
      Hold(static_cast<double>(value));
    } else if (type == CUDA_R_32F) {
      Hold(static_cast<float>(value));
    } else if (type == CUDA_R_32I) {
      Hold(std::int32_t{value});
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

// Column major, as all of cuBLAS is, one after the other for a batch.
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

// One Gemm as cuBLASLt sees it. Its "TN" is the layout that every dtype has on every GPU: cuBLAS's
// own A is our weights, n rows of k numbers each (as frameworks keep them), transposed; its B is
// our A, row major; and its C, column major, is ours, row major.
class Product {
 public:
  Product(const Gemm& gemm, const Types& types)
      : weights_(MakeLayout(types.ab, gemm.k, gemm.n, gemm.batch)),
        activations_(MakeLayout(types.ab, gemm.k, gemm.m, gemm.batch)),
        output_(MakeLayout(types.c, gemm.n, gemm.m, gemm.batch)),
        one_(types.scale, 1),
        zero_(types.scale, 0) {
    cublasLtMatmulDesc_t matmul = nullptr;
    CheckLt(cublasLtMatmulDescCreate(&matmul, types.compute, types.scale), "describing a product");
    matmul_.reset(matmul);
    Set(matmul_, CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t{CUBLAS_OP_T});
    Set(matmul_, CUBLASLT_MATMUL_DESC_TRANSB, std::int32_t{CUBLAS_OP_N});
    // Faster sums in fewer bits would be another case.
    if (gemm.dtype == Dtype::kFp8E4m3) {
      Set(matmul_, CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{0});
    }
    cublasLtHandle_t handle = nullptr;
    CheckLt(cublasLtCreate(&handle), "its start");
    handle_.reset(handle);
  }

  // What the heuristic offers within so much workspace, best guess first; none, and why, where it
  // has nothing for this case on this device.
  std::vector<cublasLtMatmulHeuristicResult_t> Offers(int most, std::size_t workspace_bytes,
                                                      std::string* why) const {
    cublasLtMatmulPreference_t made = nullptr;
    CheckLt(cublasLtMatmulPreferenceCreate(&made), "a preference");
    const LtPreference preference(made);
    CheckLt(cublasLtMatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &workspace_bytes, sizeof(workspace_bytes)),
            "a preference");
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

  // C = A · B on the stream, by that algorithm.
  cublasStatus_t Enqueue(const cublasLtMatmulAlgo_t& algorithm, const void* a, const void* b,
                         void* c, void* workspace, std::size_t workspace_bytes,
                         cudaStream_t stream) const {
    return cublasLtMatmul(handle_.get(), matmul_.get(), one_.Get(), b, weights_.get(), a,
                          activations_.get(), zero_.Get(), c, output_.get(), c, output_.get(),
                          &algorithm, workspace, workspace_bytes, stream);
  }

 private:
  LtHandle handle_ = {};
  LtMatmul matmul_ = {};
  LtLayout weights_;
  LtLayout activations_;
  LtLayout output_;
  Scalar one_;
  Scalar zero_;
};

// "66, tile 20, stages 35, split-k 1": enough to ask for it again.
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

// 32 MiB since Hopper, 4 MiB before: what PyTorch settled on (github.com/pytorch/pytorch, #120925).
std::size_t WorkspaceBytes(const Gpu& gpu) {
  return std::size_t{gpu.capability >= 90 ? 32U : 4U} << 20U;
}

// How much one set of operands takes, and how many sets there are. Rotating over three caches'
// worth leaves nothing of a set in the cache when its turn comes again.
struct Sizes {
  std::int64_t a = 0, b = 0, c = 0;           // bytes of one, rounded up to what aligns the next
  std::int64_t activations = 1, weights = 1;  // sets of A and C, and of B
  std::int64_t Total() const { return activations * (a + c) + weights * b; }
};

Sizes SizesOf(const Gemm& gemm, const Types& types, const Gpu& gpu) {
  // Each set takes part in a graph of a few thousand calls.
  constexpr std::int64_t kMostSets = 4096;
  const auto aligned = [](std::int64_t bytes) { return (bytes + 255) / 256 * 256; };
  const auto cold = [&](std::int64_t bytes) {
    return std::clamp<std::int64_t>((3 * gpu.cache_bytes + bytes - 1) / bytes, 1, kMostSets);
  };
  Sizes sizes = {.a = aligned(gemm.batch * gemm.m * gemm.k * BytesOf(types.in)),
                 .b = aligned(gemm.batch * gemm.k * gemm.n * BytesOf(types.in)),
                 .c = aligned(gemm.batch * gemm.m * gemm.n * BytesOf(types.out))};
  if (gemm.cache == "cold") {
    sizes.activations = sizes.weights = cold(sizes.a + sizes.b + sizes.c);
  } else if (gemm.cache == "weights-cold") {
    sizes.weights = cold(sizes.b);
  }
  return sizes;
}

// An environment variable that would have something else measured than what the case says.
std::optional<Skipped> ArithmeticByEnvironment() {
  for (const char* name : {"NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_DOUBLE_PRECISION",
                           "CUBLAS_EMULATE_SINGLE_PRECISION"}) {
    if (std::getenv(name) == nullptr) continue;
    return Skipped{.reason = fmt::format("{} changes the arithmetic under a dtype's name", name),
                   .remedy = fmt::format("unset {}", name)};
  }
  return std::nullopt;
}

class GemmWorkload : public Workload {
 public:
  GemmWorkload(const Gemm& gemm, const Types& types, const Gpu& gpu, const Sizes& sizes,
               std::unique_ptr<Product> product, const cublasLtMatmulHeuristicResult_t& first,
               std::uint64_t seed)
      : gemm_(gemm),
        types_(types),
        gpu_(gpu),
        sizes_(sizes),
        product_(std::move(product)),
        workspace_bytes_(WorkspaceBytes(gpu)),
        a_(MakeDeviceMemory(At(sizes.activations * sizes.a))),
        b_(MakeDeviceMemory(At(sizes.weights * sizes.b))),
        c_(MakeDeviceMemory(At(sizes.activations * sizes.c))),
        workspace_(MakeDeviceMemory(workspace_bytes_)) {
    Use(first);
    InputMaker inputs(gpu_, timer_.Stream());
    const std::int64_t a_count = gemm.batch * gemm.m * gemm.k;
    const std::int64_t b_count = gemm.batch * gemm.k * gemm.n;
    for (std::int64_t i = 0; i < sizes.activations; ++i) {
      inputs.Make(types.in, gemm.inputs, RandomAt(seed, 0), a_count, A(i));
    }
    for (std::int64_t i = 0; i < sizes.weights; ++i) {
      inputs.Make(types.in, gemm.inputs, RandomAt(seed, 1), b_count, B(i));
    }
    Spoil();
    timer_.Wait("making inputs");

    // The same numbers on the host, for the check.
    host_a_.resize(At(a_count * BytesOf(types.in)));
    Fill(types.in, gemm.inputs, RandomAt(seed, 0), a_count, host_a_.data(), OnAllCores);
    const std::vector<std::byte> b = PlainB(RandomAt(seed, 1));
    check_.emplace(gemm, Tensor{.format = types.in, .data = b.data()}, RandomAt(seed, 2),
                   OnAllCores);
  }

  // The offers, to choose among.
  Candidates From(const std::vector<cublasLtMatmulHeuristicResult_t>& offers) {
    return {.library = "cuBLASLt",
            .count = static_cast<int>(offers.size()),
            .use = [this, &offers](int i) { Use(offers.at(At(i))); },
            .once =
                [this] {
                  Spoil();
                  Enqueue(0);
                  timer_.Wait("a product");
                  return CheckOutput(Output(0));
                },
            .time = [this](std::int64_t iterations) { return Run(iterations).time; }};
  }

  void Use(const cublasLtMatmulHeuristicResult_t& offer) {
    algorithm_ = offer.algo;
    needed_bytes_ = offer.workspaceSize;
  }
  // That one, once it has been chosen.
  void Use(const cublasLtMatmulHeuristicResult_t& offer, const Facts& tuning) {
    Use(offer);
    tuning_ = tuning;
    Spoil();
  }

  Batch Run(std::int64_t iterations) override {
    return timer_.Time(iterations, Period(), [this](std::int64_t i) { Enqueue(i); });
  }

  bool BeginTogether(std::function<void()> meet) override {
    timer_.BeginTogether(std::move(meet));
    return true;
  }

  // Of all outputs made since the last Verify.
  Checked Verify() override {
    return CheckSets(
        timer_.Last() % sizes_.activations, timer_.Calls() - spoiled_, sizes_.activations,
        [this](std::int64_t set) { return Output(set); },
        [this](std::int64_t set) { return CheckOutput(Output(set)); });
  }

  Facts Describe() const override {
    Facts facts = gpu_.Describe();
    facts["library"] = "cuBLASLt " + CublasLtVersion();
    facts["algorithm"] = ToText(algorithm_);
    facts["algorithm_workspace_bytes"] = static_cast<std::int64_t>(needed_bytes_);
    facts["workspace_bytes"] = static_cast<std::int64_t>(workspace_bytes_);
    facts["formats"] = fmt::format("{} x {} -> {}", assay::ToText(types_.in),
                                   assay::ToText(types_.in), assay::ToText(types_.out));
    facts["weights_layout"] = "n rows of k (TN)";
    facts["rotation_sets"] = Period();
    facts["rotation_bytes"] = sizes_.Total();
    facts["timing"] = timer_.Method();
    if (gemm_.dtype == Dtype::kFp8E4m3) facts["fast_accumulate"] = false;
    facts.insert(tuning_.begin(), tuning_.end());
    return facts;
  }

 private:
  static void* Set(const DeviceMemory& memory, std::int64_t bytes, std::int64_t index) {
    return static_cast<std::byte*>(memory.get()) + bytes * index;
  }
  void* A(std::int64_t i) const { return Set(a_, sizes_.a, i % sizes_.activations); }
  void* B(std::int64_t i) const { return Set(b_, sizes_.b, i % sizes_.weights); }
  void* C(std::int64_t i) const { return Set(c_, sizes_.c, i % sizes_.activations); }
  std::int64_t Period() const { return std::max(sizes_.activations, sizes_.weights); }

  // Throws Error where cuBLASLt refuses; what the device does of it is seen later.
  void Enqueue(std::int64_t i) {
    CheckLt(product_->Enqueue(algorithm_, A(i), B(i), C(i), workspace_.get(), workspace_bytes_,
                              timer_.Stream()),
            "a product");
    Check(cudaGetLastError());
  }

  // All bits set: NaN in every floating-point format, so that what is never written is found.
  void Spoil() {
    Check(cudaMemsetAsync(c_.get(), 0xff, At(sizes_.activations * sizes_.c), timer_.Stream()));
    spoiled_ = timer_.Calls();
  }

  std::vector<std::byte> Output(std::int64_t set) const {
    std::vector<std::byte> output(At(gemm_.batch * gemm_.m * gemm_.n * BytesOf(types_.out)));
    Check(cudaMemcpyAsync(output.data(), C(set), output.size(), cudaMemcpyDeviceToHost,
                          timer_.Stream()));
    timer_.Wait("reading the output back");
    return output;
  }
  Checked CheckOutput(const std::vector<std::byte>& output) const {
    return check_->Check({.format = types_.in, .data = host_a_.data()},
                         {.format = types_.out, .data = output.data()}, OnAllCores);
  }

  // B as the check wants it, k rows of n, of the numbers that lie on the device as n rows of k.
  std::vector<std::byte> PlainB(std::uint64_t seed) const {
    const std::size_t size = At(BytesOf(types_.in));
    const std::int64_t count = gemm_.batch * gemm_.k * gemm_.n;
    std::vector<std::byte> weights(At(count) * size);
    Fill(types_.in, gemm_.inputs, seed, count, weights.data(), OnAllCores);
    std::vector<std::byte> plain(weights.size());
    OnAllCores(gemm_.batch * gemm_.k, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t batch = row / gemm_.k;
        for (std::int64_t j = 0; j < gemm_.n; ++j) {
          const std::int64_t from = (batch * gemm_.n + j) * gemm_.k + row % gemm_.k;
          std::memcpy(&plain[At(row * gemm_.n + j) * size], &weights[At(from) * size], size);
        }
      }
    });
    return plain;
  }

  Gemm gemm_;
  Types types_;
  Gpu gpu_;
  Sizes sizes_;
  std::unique_ptr<Product> product_;
  cublasLtMatmulAlgo_t algorithm_ = {};
  std::size_t needed_bytes_ = 0;
  std::size_t workspace_bytes_;
  Timer timer_ = Timer();
  DeviceMemory a_;
  DeviceMemory b_;
  DeviceMemory c_;
  DeviceMemory workspace_;
  std::int64_t spoiled_ = 0;  // the calls made when the outputs were
  std::vector<std::byte> host_a_ = {};
  std::optional<GemmCheck> check_ = {};
  Facts tuning_ = {};
};

}  // namespace

Prepared PrepareGemm(const Gemm& op, const Gpu& gpu, Tunings& tunings, std::uint64_t seed) {
  // The heuristic gives up to so many; it has mostly fewer.
  constexpr int kOffers = 32;
  const std::optional<Types> types = TypesOf(op.dtype);
  if (!types) {
    return Skipped{.reason = "cuBLASLt multiplies no e5m2 by e5m2", .remedy = "use dtype=fp8_e4m3"};
  }
  if (auto no = ArithmeticByEnvironment()) return *no;
  const Sizes sizes = SizesOf(op, *types, gpu);
  const std::size_t workspace_bytes = WorkspaceBytes(gpu);
  if (auto no = TooLarge(sizes.Total() + static_cast<std::int64_t>(workspace_bytes))) return *no;
  auto product = std::make_unique<Product>(op, *types);
  const bool tuned = op.algo == "tuned";
  std::string why;
  const std::vector<cublasLtMatmulHeuristicResult_t> offers =
      product->Offers(tuned ? kOffers : 1, workspace_bytes, &why);
  if (offers.empty()) {
    return Skipped{
        .reason = fmt::format("cuBLASLt {} offers no {} product of this shape on {} ({})",
                              CublasLtVersion(), assay::ToText(op.dtype), gpu.name, why),
        .remedy = "use another dtype or shape: fp8 wants multiples of 16, int8 of 4"};
  }
  auto workload = std::make_unique<GemmWorkload>(op, *types, gpu, sizes, std::move(product),
                                                 offers.front(), seed);
  if (tuned) {
    const std::string name =
        fmt::format("{} {} {}x{}x{}x{} {} {}", gpu.index, assay::ToText(op.dtype), op.batch, op.m,
                    op.n, op.k, op.cache, op.inputs);
    if (!tunings.contains(name)) tunings[name] = Fastest(workload->From(offers));
    const Tuned& best = tunings[name];
    workload->Use(offers.at(At(best.candidate)), best.facts);
  }
  return workload;
}

std::string CublasLtVersion() {
  const std::size_t version = cublasLtGetVersion();
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace assay::cuda
