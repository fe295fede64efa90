#include "kernels/cuda_grouped.h"

#include <cublas_v2.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda_operands.h"
#include "kernels/inputs.h"
#include "kernels/reference.h"
#include "runner/core/random.h"

namespace assay::cuda {
namespace {

using Handle = Owned<cublasHandle_t, cublasDestroy>;

std::size_t At(std::int64_t index) { return static_cast<std::size_t>(index); }

void CheckBlas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(fmt::format("cuBLAS failed in {}: {}; CUBLAS_LOGINFO_DBG=1 tells more", what,
                          cublasGetStatusName(status)));
}

// The types of a grouped product in cuBLAS: those of elements that go in and come out, their name
// in CUDA, and the type that cuBLAS computes in, which alpha and beta have too (the table of
// cublasGemmGroupedBatchedEx, docs.nvidia.com/cuda/cublas).
struct Types {
  Format in = {};
  Format out = {};
  cudaDataType_t type = {};
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
};

// The types of the grouped product in this dtype; nothing where cuBLAS has none.
std::optional<Types> TypesOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF64:
      return Types{Format::kF64, Format::kF64, CUDA_R_64F, CUBLAS_COMPUTE_64F};
    case Dtype::kF32:
      return Types{Format::kF32, Format::kF32, CUDA_R_32F};
    case Dtype::kTf32:
      return Types{Format::kTf32, Format::kF32, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32};
    case Dtype::kBf16:
      return Types{Format::kBf16, Format::kBf16, CUDA_R_16BF};
    case Dtype::kF16:
      return Types{Format::kF16, Format::kF16, CUDA_R_16F};
    case Dtype::kFp8E4m3:
    case Dtype::kFp8E5m2:
    case Dtype::kFp8E5m2E4m3:
    case Dtype::kMxfp8:
    case Dtype::kNvfp4:
    case Dtype::kInt8:
    case Dtype::kU8:
    case Dtype::kI32:
    case Dtype::kU32:
    case Dtype::kI64:
    case Dtype::kU64:
      return std::nullopt;
  }
  return std::nullopt;
}

// The arguments of a call of cuBLAS other than memory: the sizes of each group that has rows, and
// alpha (1) and beta (0) in both types that cuBLAS may compute in. cuBLAS wants columns where we
// have rows, so that its A is our weights, transposed, its B our A and its C our C, as for cuBLASLt
// (cuda_gemm.cpp).
class Groups {
 public:
  Groups(const GroupedGemm& op, const Types& types) : types_(types) {
    const std::vector<std::int64_t> rows = RowsOfGroups(op.m, op.groups);
    std::int64_t first = 0;
    for (std::int64_t group = 0; group < op.groups; ++group) {
      if (rows[At(group)] > 0) {
        groups_.push_back(group);
        first_rows_.push_back(first);
        rows_.push_back(rows[At(group)]);
      }
      first += rows[At(group)];
    }
    n_.assign(groups_.size(), op.n);
    k_.assign(groups_.size(), op.k);
    one_each_.assign(groups_.size(), 1);
    transposed_.assign(groups_.size(), CUBLAS_OP_T);
    plain_.assign(groups_.size(), CUBLAS_OP_N);
    ones_f64_.assign(groups_.size(), 1.0);
    ones_f32_.assign(groups_.size(), 1.0F);
    zeros_.assign(groups_.size(), 0.0);  // all bits 0, in both types
  }

  std::int64_t Count() const { return static_cast<std::int64_t>(groups_.size()); }
  std::int64_t Group(std::int64_t i) const { return groups_[At(i)]; }
  std::int64_t FirstRow(std::int64_t i) const { return first_rows_[At(i)]; }
  std::int64_t Rows(std::int64_t i) const { return rows_[At(i)]; }

  // Enqueues the products of all groups. `pointers` lie in device memory: those to the weights of
  // each group, then to A's rows, then to C's.
  cublasStatus_t Enqueue(cublasHandle_t handle, void** pointers) const {
#if CUBLAS_VER_MAJOR * 100 + CUBLAS_VER_MINOR >= 1205
    const void* one = types_.compute == CUBLAS_COMPUTE_64F
                          ? static_cast<const void*>(ones_f64_.data())
                          : ones_f32_.data();
    return cublasGemmGroupedBatchedEx_64(
        handle, transposed_.data(), plain_.data(), n_.data(), rows_.data(), k_.data(), one,
        pointers, types_.type, k_.data(), pointers + Count(), types_.type, k_.data(), zeros_.data(),
        pointers + 2 * Count(), types_.type, n_.data(), Count(), one_each_.data(), types_.compute);
#else
    (void)handle, (void)pointers;
    return CUBLAS_STATUS_NOT_SUPPORTED;
#endif
  }

 private:
  Types types_;
  std::vector<std::int64_t> groups_ = {}, first_rows_ = {};
  std::vector<std::int64_t> n_ = {}, rows_ = {}, k_ = {}, one_each_ = {};
  std::vector<cublasOperation_t> transposed_ = {}, plain_ = {};
  std::vector<double> ones_f64_ = {};
  std::vector<float> ones_f32_ = {};
  std::vector<double> zeros_ = {};
};

struct Operands {
  Operand a = {}, b = {}, c = {};
  std::int64_t group_bytes = 0;  // the size of one group's weights, aligned
  std::int64_t AllBytes() const { return a.AllBytes() + b.AllBytes() + c.AllBytes(); }
};

// The operands of an op, without memory as yet, with as many sets as keep the cache cold.
Operands OperandsOf(const GroupedGemm& op, const Types& types, const Gpu& gpu) {
  Operands all;
  all.group_bytes = Aligned(BytesOf(types.in, op.n * op.k));
  all.a.numbers_bytes = Aligned(BytesOf(types.in, op.m * op.k));
  all.b.numbers_bytes = op.groups * all.group_bytes;
  all.c.numbers_bytes = Aligned(BytesOf(types.out, op.m * op.n));
  const std::int64_t bytes = all.a.Bytes() + all.b.Bytes() + all.c.Bytes();
  const std::int64_t sets = op.cache == "cold" ? ColdSets(gpu, bytes) : 1;
  all.a.sets = all.b.sets = all.c.sets = sets;
  return all;
}

// A grouped product in one call of cuBLAS, on operands that rotate to keep the cache cold.
class GroupedWorkload : public TimedWorkload {
 public:
  GroupedWorkload(const GroupedGemm& op, const Types& types, const Gpu& gpu, Operands operands,
                  std::uint64_t seed)
      // No graph is captured, since cuBLAS reads the sizes in the host's memory when it is called.
      : TimedWorkload({.graph_below = Seconds(0)}),
        op_(op),
        types_(types),
        gpu_(gpu),
        groups_(op, types),
        operands_(std::move(operands)),
        workspace_(MakeDeviceMemory(WorkspaceBytes(gpu))) {
    for (Operand* operand : {&operands_.a, &operands_.b, &operands_.c}) operand->Allocate();
    cublasHandle_t handle = nullptr;
    CheckBlas(cublasCreate(&handle), "its start");
    handle_.reset(handle);
    // The order matters: setting the stream takes the workspace away.
    CheckBlas(cublasSetStream(handle, timer_->Stream()), "its start");
    CheckBlas(cublasSetWorkspace(handle, workspace_.get(), WorkspaceBytes(gpu)), "its start");
    // Sums stay in the type that the case says, as in cuda_gemm.cpp.
    CheckBlas(cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION),
              "its start");
    MakePointers();

    InputMaker inputs(gpu_, timer_->Stream());
    for (std::int64_t set = 0; set < operands_.a.sets; ++set) {
      inputs.Make(types.in, op.inputs, RandomAt(seed, 0), op.m * op.k, operands_.a.Numbers(set));
      for (std::int64_t group = 0; group < op.groups; ++group) {
        inputs.Make(types.in, op.inputs, SeedOfWeights(seed, group), op.n * op.k,
                    Weights(set, group));
      }
    }
    Spoil();
    timer_->Wait("making inputs");

    // The host has the same numbers, for the checks; one group's weights at a time.
    host_a_.resize(At(BytesOf(types.in, op.m * op.k)));
    Fill(types.in, op.inputs, RandomAt(seed, 0), op.m * op.k, host_a_.data(), OnAllCores);
    std::vector<std::byte> weights(At(BytesOf(types.in, op.n * op.k)));
    for (std::int64_t i = 0; i < groups_.Count(); ++i) {
      Fill(types.in, op.inputs, SeedOfWeights(seed, groups_.Group(i)), op.n * op.k, weights.data(),
           OnAllCores);
      const std::vector<std::byte> b =
          Transposed({.format = types.in, .data = weights.data()}, 1, op.n, op.k, OnAllCores);
      checks_.emplace_back(GroupGemm(op, groups_.Rows(i)),
                           Tensor{.format = types.in, .data = b.data()}, RandomAt(seed, 2),
                           OnAllCores);
    }
  }

  // The reason why cuBLAS has no such product on this device, or nothing.
  std::optional<std::string> Refusal() {
    const cublasStatus_t status =
        groups_.Enqueue(handle_.get(), static_cast<void**>(pointers_.get()));
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH) {
      return cublasGetStatusName(status);
    }
    CheckBlas(status, "a grouped product");
    timer_->Wait("a grouped product");
    Spoil();
    return std::nullopt;
  }

  Checked Verify() override {
    return CheckSets(
        *timer_, operands_.c.sets, [this](std::int64_t set) { return Output(set); },
        [this](std::int64_t set) { return CheckOutput(Output(set)); });
  }

  Facts Describe() const override {
    int version = 0;
    CheckBlas(cublasGetVersion(handle_.get(), &version), "its version");
    std::int64_t least = op_.m;
    std::int64_t most = 0;
    for (std::int64_t i = 0; i < groups_.Count(); ++i) {
      least = std::min(least, groups_.Rows(i));
      most = std::max(most, groups_.Rows(i));
    }
    Facts facts = gpu_.Describe();
    facts["library"] =
        fmt::format("cuBLAS {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
    facts["workspace_bytes"] = static_cast<std::int64_t>(WorkspaceBytes(gpu_));
    facts["formats"] = fmt::format("{} x {} -> {}", assay::ToText(types_.in),
                                   assay::ToText(types_.in), assay::ToText(types_.out));
    facts["weights_layout"] = "n rows of k (TN)";
    facts["groups_with_rows"] = groups_.Count();
    facts["rows_least"] = least;
    facts["rows_most"] = most;
    facts["rotation_sets"] = operands_.a.sets;
    facts["rotation_bytes"] = operands_.AllBytes();
    facts["timing"] = timer_->Method();
    return facts;
  }

 private:
  std::int64_t Period() const override { return operands_.a.sets; }
  // Throws Error where cuBLAS refuses; an error of the device is seen later.
  void Enqueue(std::int64_t set) override {
    CheckBlas(groups_.Enqueue(handle_.get(),
                              static_cast<void**>(pointers_.get()) + 3 * groups_.Count() * set),
              "a grouped product");
    Check(cudaGetLastError());
  }

  static std::uint64_t SeedOfWeights(std::uint64_t seed, std::int64_t group) {
    return RandomAt(RandomAt(seed, 1), static_cast<std::uint64_t>(group));
  }
  std::byte* Weights(std::int64_t set, std::int64_t group) const {
    return operands_.b.Numbers(set) + group * operands_.group_bytes;
  }

  // Makes the pointers that Groups::Enqueue wants, one set after the other.
  void MakePointers() {
    std::vector<void*> pointers;
    for (std::int64_t set = 0; set < operands_.a.sets; ++set) {
      for (std::int64_t i = 0; i < groups_.Count(); ++i) {
        pointers.push_back(Weights(set, groups_.Group(i)));
      }
      for (std::int64_t i = 0; i < groups_.Count(); ++i) {
        pointers.push_back(operands_.a.Numbers(set) +
                           BytesOf(types_.in, groups_.FirstRow(i) * op_.k));
      }
      for (std::int64_t i = 0; i < groups_.Count(); ++i) {
        pointers.push_back(operands_.c.Numbers(set) +
                           BytesOf(types_.out, groups_.FirstRow(i) * op_.n));
      }
    }
    const std::size_t bytes = pointers.size() * sizeof(void*);
    pointers_ = MakeDeviceMemory(bytes);
    Check(cudaMemcpyAsync(pointers_.get(), pointers.data(), bytes, cudaMemcpyHostToDevice,
                          timer_->Stream()));
    timer_->Wait("copying pointers");
  }

  void Spoil() { operands_.c.Spoil(*timer_); }
  std::vector<std::byte> Output(std::int64_t set) const {
    return operands_.c.Read(set, BytesOf(types_.out, op_.m * op_.n), *timer_);
  }

  // Checks the rows of each group against that group's weights.
  Checked CheckOutput(const std::vector<std::byte>& output) const {
    Checked all;
    for (std::int64_t i = 0; i < groups_.Count(); ++i) {
      const std::int64_t first = groups_.FirstRow(i);
      const Checked one = checks_[At(i)].Check(
          {.format = types_.in, .data = &host_a_[At(BytesOf(types_.in, first * op_.k))]},
          {.format = types_.out, .data = &output[At(BytesOf(types_.out, first * op_.n))]},
          OnAllCores);
      if (one.what && !all.what) {
        all.what = fmt::format("group {}: {}", groups_.Group(i), *one.what);
      }
      all.checked += one.checked;
      all.wrong += one.wrong;
      all.max_error = std::max(all.max_error, one.max_error);
      all.tolerance = one.tolerance;  // the same for all groups, since it depends on K
      if (all.reference.empty()) all.reference = one.reference;
    }
    return all;
  }

  GroupedGemm op_;
  Types types_;
  Gpu gpu_;
  Groups groups_;
  Operands operands_;
  DeviceMemory workspace_;
  DeviceMemory pointers_ = {};
  Handle handle_ = {};
  std::vector<std::byte> host_a_ = {};
  std::vector<GemmCheck> checks_ = {};  // one for each group that has rows
};

}  // namespace

Prepared PrepareGroupedGemm(const GroupedGemm& op, const Gpu& gpu, std::uint64_t seed) {
  const std::optional<Types> types = TypesOf(op.dtype);
  if (!types) {
    return Skipped{
        .reason = fmt::format("cuBLAS makes no grouped product of {}", assay::ToText(op.dtype)),
        .remedy = "use dtype=bf16, f16, f32, tf32 or f64"};
  }
  if (CUBLAS_VER_MAJOR * 100 + CUBLAS_VER_MINOR < 1205) {
    return Skipped{.reason =
                       "cuBLAS makes grouped products since CUDA 12.5, and this was built with "
                       "an older one",
                   .remedy = "build with a newer CUDA"};
  }
  if (auto no = ArithmeticByEnvironment()) return *no;
  Operands operands = OperandsOf(op, *types, gpu);
  const auto workspace_bytes = static_cast<std::int64_t>(WorkspaceBytes(gpu));
  if (auto no = TooLargeForGpu(operands.AllBytes() + workspace_bytes)) return *no;
  auto workload = std::make_unique<GroupedWorkload>(op, *types, gpu, std::move(operands), seed);
  if (const std::optional<std::string> why = workload->Refusal()) {
    return Skipped{.reason = fmt::format("cuBLAS has no grouped {} product on {} ({})",
                                         assay::ToText(op.dtype), gpu.name, *why),
                   .remedy = "use another dtype, or a GPU of compute capability 8.0"};
  }
  return workload;
}

}  // namespace assay::cuda
