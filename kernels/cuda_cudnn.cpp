#include "kernels/cuda_cudnn.h"

#ifdef ASSAY_CUDNN_FRONTEND
#include <cudnn_frontend.h>
#elif defined(ASSAY_CUDNN)
#include <cudnn_version.h>
#endif
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/cuda_sdpa.h"
#include "results/base/error.h"
#include "results/base/text.h"

namespace assay::cuda {
namespace {

struct Opened {
  void* library = nullptr;
  std::string failure = {};
};

// Opens cuDNN at the first call. It is never closed, since it leaves threads and handlers behind.
const Opened& Open() {
  static const Opened opened = [] {
    Opened now;
#ifdef CUDNN_MAJOR
    now.library = dlopen(fmt::format("libcudnn.so.{}", CUDNN_MAJOR).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (now.library == nullptr) now.failure = dlerror();
#endif
    return now;
  }();
  return opened;
}

// The version as cuDNN numbers it: 91900 for 9.19.0. REQUIRES: cuDNN is open.
std::size_t VersionNumber() {
  const auto of = reinterpret_cast<std::size_t (*)()>(dlsym(CudnnLibrary(), "cudnnGetVersion"));
  return of == nullptr ? 0 : of();
}

std::string VersionText(std::size_t number) {
  return fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

}  // namespace

std::optional<Skipped> NoCudnn() {
#ifndef ASSAY_CUDNN_FRONTEND
  if (auto no = NoSdpa()) return no;
  if (CudnnLibrary() != nullptr && VersionNumber() < kSdpaSince) {
    return Skipped{.reason = fmt::format("cuDNN {} is older than {}, which this assay needs, built "
                                         "without cuDNN's frontend",
                                         VersionText(VersionNumber()), VersionText(kSdpaSince)),
                   .remedy = "a newer cuDNN where the loader finds it"};
  }
#endif
  if (CudnnLibrary() != nullptr) return std::nullopt;
  return Skipped{.reason = fmt::format("there is no cuDNN: {}", Open().failure),
                 .remedy = "install it where the loader finds it"};
}

void* CudnnLibrary() { return Open().library; }

std::string CudnnVersion() {
  return CudnnLibrary() == nullptr ? "none" : VersionText(VersionNumber());
}

std::string CudnnIsNotFor(const Gpu& gpu) {
  return fmt::format("it isn't made for compute capability {}.{}", gpu.capability / 10,
                     gpu.capability % 10);
}

std::string CudnnReason(const std::string& message) {
  constexpr std::string_view kBefore = "Reason: ";
  const std::size_t found = message.find(kBefore);
  const std::size_t begin = found == std::string::npos ? 0 : found + kBefore.size();
  return Clean(message.substr(begin, message.find(" at:", begin) - begin));
}

}  // namespace assay::cuda

#ifdef ASSAY_CUDNN_FRONTEND

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the library in which the frontend looks cuDNN's functions up
}

namespace assay::cuda {
namespace {

namespace fe = cudnn_frontend;
using fe::graph::Tensor_attributes;

// Prepares the frontend; must be called before anything else of it.
void StartFrontend() {
  // Without this variable it would load another CUDA's runtime if it found that first.
  setenv("CUDNN_FRONTEND_CUDART_LIB_NAME",
         fmt::format("libcudart.so.{}", CUDART_VERSION / 1000).c_str(), 0);
  fe::cudnn_dlhandle = CudnnLibrary();
}

void CheckFe(fe::error_t error, const char* what) {
  if (error.is_good()) return;
  throw Error(fmt::format("cuDNN {} failed in {}: {}; CUDNN_LOGLEVEL_DBG=2 tells more",
                          CudnnVersion(), what, Clean(error.get_message())));
}

// Calls f, which calls the frontend, and turns the frontend's exceptions into ours.
template <class F>
auto Calling(const char* what, const F& f) {
  try {
    return f();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(fmt::format("cuDNN {} failed in {}: {}", CudnnVersion(), what, error.what()));
  }
}

class CudnnHandle {
 public:
  // Makes a handle on the current device; null where cuDNN doesn't support such a device.
  static std::shared_ptr<const CudnnHandle> Make(cudaStream_t stream) {
    cudnnHandle_t made = nullptr;
    const cudnnStatus_t status = fe::detail::create_handle(&made);
    if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return nullptr;
    CheckStatus(status, "its start");
    return std::make_shared<const CudnnHandle>(made, stream);
  }
  CudnnHandle(cudnnHandle_t made, cudaStream_t stream) : handle_(made) {
    CheckStatus(fe::detail::set_stream(handle_, stream), "taking a stream");
  }
  ~CudnnHandle() { fe::detail::destroy_handle(handle_); }
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;
  cudnnHandle_t Get() const { return handle_; }

 private:
  static void CheckStatus(cudnnStatus_t status, const char* what) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    throw Error(fmt::format("cuDNN {} failed in {}: status {}", CudnnVersion(), what,
                            static_cast<int>(status)));
  }
  cudnnHandle_t handle_;
};

// The device that a graph is for: the current one, with a handle, or one that is only described.
struct Target {
  int capability = 0;
  std::shared_ptr<const CudnnHandle> handle = {};
  std::shared_ptr<const fe::DeviceProperties> description = {};
};

// The plans of a pass, which is one cuDNN graph.
class CudnnPlans : public AttentionPlans {
 public:
  CudnnPlans(const Attention& op, Pass pass, Target target) : target_(std::move(target)) {
    if (target_.description) graph_.set_device_properties(target_.description);
    graph_
        .set_sm_version(target_.capability)  // nodes look at it when they are made
        .set_io_data_type(TypeOf(ShapeOf(op, Part::kQ).format))
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(op.head_dim_qk)));
    const auto q = Input(op, Part::kQ);
    const auto k = Input(op, Part::kK);
    const auto v = Input(op, Part::kV);
    if (pass == Pass::kBackward) {
      auto options = Masked(op, fe::graph::SDPA_backward_attributes().set_attn_scale(scale));
      const auto [dq, dk, dv] = graph_.sdpa_backward(
          q, k, v, Input(op, Part::kO), Input(op, Part::kDO), Input(op, Part::kLogSums), options);
      Output(op, dq, Part::kDQ);
      Output(op, dk, Part::kDK);
      Output(op, dv, Part::kDV);
      return;
    }
    const bool log_sums = pass == Pass::kForwardWithLogSums;
    auto options =
        Masked(op, fe::graph::SDPA_attributes().set_attn_scale(scale).set_generate_stats(log_sums));
    if (op.page_size > 0) {
      const auto table = Input(op, Part::kPageTable);
      options.set_padding_mask(true)
          .set_seq_len_q(Input(op, Part::kSeqQ))
          .set_seq_len_kv(Input(op, Part::kSeqKv))
          .set_paged_attention_k_table(table)
          .set_paged_attention_v_table(table)
          .set_paged_attention_max_seq_len_kv(static_cast<int>(op.seq_kv));
    }
    if (op.dtype == Dtype::kFp8E4m3) {
      const auto descale = Input(op, Part::kDescale);
      const auto [o, stats, max_s, max_o] =
          graph_.sdpa_fp8(q, k, v, descale, descale, descale, Input(op, Part::kDescaleS),
                          Input(op, Part::kScaleS), Input(op, Part::kScaleO), options);
      Output(op, o, Part::kO);
      Output(op, max_s, Part::kMaxS);
      Output(op, max_o, Part::kMaxO);
      return;
    }
    const auto [o, stats] = graph_.sdpa(q, k, v, options);
    Output(op, o, Part::kO);
    if (log_sums) Output(op, stats, Part::kLogSums);
  }

  // Asks cuDNN for plans. Returns nothing where there are any, else why not.
  std::optional<std::string> Propose() {
    const std::function<fe::error_t()> steps[] = {
        [&] { return graph_.validate(); },
        [&] {
          return graph_.build_operation_graph(target_.handle ? target_.handle->Get() : nullptr);
        },
        [&] { return graph_.create_execution_plans({fe::HeurMode_t::A}); },
        [&] { return graph_.check_support(); }};
    for (const auto& step : steps) {
      fe::error_t error = step();
      if (error.is_bad()) return CudnnReason(error.get_message());
    }
    return std::nullopt;
  }

  int Count() const override { return static_cast<int>(graph_.get_execution_plan_count()); }
  void Build(int plan) override { CheckFe(graph_.build_plan_at_index(plan), "building a plan"); }
  std::int64_t WorkspaceBytes(int plan) const override {
    return std::max<std::int64_t>(graph_.get_workspace_size_plan_at_index(plan), 0);
  }
  // The name is the engine and its knobs: "ENG0_k24=0_k27=2".
  std::string Name(int plan) const override {
    std::string name;
    CheckFe(graph_.get_plan_name_at_index(plan, name), "naming a plan");
    return name;
  }
  void Enqueue(int plan, const Pointers& parts, void* workspace) override {
    std::unordered_map<std::int64_t, void*> by_uid;
    for (const auto& [part, pointer] : parts) by_uid[UidOf(part)] = pointer;
    CheckFe(graph_.execute_plan_at_index(target_.handle->Get(), by_uid, workspace, plan),
            "attention");
  }

 private:
  static std::int64_t UidOf(Part part) { return 1 + static_cast<std::int64_t>(part); }

  // Sets the mask, a band along the diagonal that the frontend and KeysSeen both define alike: no
  // key after the diagonal, and under a window of w only the diagonal's key and the w - 1 before
  // it.
  template <class Options>
  static Options Masked(const Attention& op, Options options) {
    if (op.mask == "full") return options;
    options.set_diagonal_alignment(op.mask == "causal_top_left"
                                       ? fe::DiagonalAlignment_t::TOP_LEFT
                                       : fe::DiagonalAlignment_t::BOTTOM_RIGHT);
    options.set_diagonal_band_right_bound(0);
    if (op.mask == "window") options.set_diagonal_band_left_bound(static_cast<int>(op.window));
    return options;
  }

  static fe::DataType_t TypeOf(Format format) {
    switch (format) {
      case Format::kF32:
        return fe::DataType_t::FLOAT;
      case Format::kS32:
        return fe::DataType_t::INT32;
      case Format::kF16:
        return fe::DataType_t::HALF;
      case Format::kF8E4m3:
        return fe::DataType_t::FP8_E4M3;
      default:
        return fe::DataType_t::BFLOAT16;
    }
  }
  static void Describe(const Attention& op, Part part, Tensor_attributes& tensor) {
    const Shape s = ShapeOf(op, part);
    tensor.set_uid(UidOf(part))
        .set_data_type(TypeOf(s.format))
        .set_dim({s.batch, s.heads, s.tokens, s.elements})
        .set_stride({s.heads * s.tokens * s.elements, s.tokens * s.elements, s.elements, 1});
  }
  std::shared_ptr<Tensor_attributes> Input(const Attention& op, Part part) {
    Tensor_attributes tensor;
    Describe(op, part, tensor);
    return graph_.tensor(tensor);
  }
  static void Output(const Attention& op, const std::shared_ptr<Tensor_attributes>& tensor,
                     Part part) {
    Describe(op, part, *tensor);
    tensor->set_output(true);
  }

  Target target_;
  fe::graph::Graph graph_ = {};
};

class Cudnn : public AttentionLibrary {
 public:
  std::string Name() const override {
    return fmt::format("cuDNN {}, cudnn-frontend {}.{}.{}", CudnnVersion(),
                       CUDNN_FRONTEND_MAJOR_VERSION, CUDNN_FRONTEND_MINOR_VERSION,
                       CUDNN_FRONTEND_PATCH_VERSION);
  }
  std::variant<std::unique_ptr<AttentionPlans>, std::string> Plan(const Attention& op, Pass pass,
                                                                  const Gpu& gpu,
                                                                  cudaStream_t stream) override {
    using Planned = std::variant<std::unique_ptr<AttentionPlans>, std::string>;
    return Calling("planning attention", [&]() -> Planned {
      auto handle = CudnnHandle::Make(stream);
      if (handle == nullptr) return CudnnIsNotFor(gpu);
      auto plans = std::make_unique<CudnnPlans>(
          op, pass, Target{.capability = gpu.capability, .handle = std::move(handle)});
      if (const auto why = plans->Propose()) return *why;
      return plans;
    });
  }
};

}  // namespace

std::unique_ptr<AttentionLibrary> MakeCudnn() {
  if (NoCudnn()) return nullptr;
  StartFrontend();
  return std::make_unique<Cudnn>();
}

std::optional<std::string> WhyNoPlan(const Attention& op, int capability,
                                     const std::string& device_properties) {
  if (const auto no = NoCudnn()) throw Error(no->reason);
  StartFrontend();
  return Calling("a description of a device", [&]() -> std::optional<std::string> {
    const auto device = std::make_shared<fe::DeviceProperties>();
    CheckFe(device->deserialize({device_properties.begin(), device_properties.end()}),
            "a description of a device");
    std::vector<Pass> passes = {Pass::kForward};
    if (op.direction == "backward") passes = {Pass::kForwardWithLogSums, Pass::kBackward};
    for (const Pass pass : passes) {
      CudnnPlans plans(op, pass, {.capability = capability, .description = device});
      if (auto why = plans.Propose()) return why;
    }
    return std::nullopt;
  });
}

}  // namespace assay::cuda

#else

namespace assay::cuda {

std::unique_ptr<AttentionLibrary> MakeCudnn() { return NoCudnn() ? nullptr : MakeSdpa(); }

std::optional<std::string> WhyNoPlan(const Attention& op, int,
                                     const std::string& device_properties) {
  if (const auto no = NoCudnn()) throw Error(no->reason);
  const auto planned = PlanSdpa(op, device_properties);
  const auto* why = std::get_if<std::string>(&planned);
  return why == nullptr ? std::nullopt : std::optional(*why);
}

}  // namespace assay::cuda

#endif
