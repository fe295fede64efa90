#include "kernels/cuda_sdpa.h"

#ifdef ASSAY_CUDNN
#include <cudnn.h>
#endif

#if CUDNN_VERSION >= 91500  // kSdpaSince
#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <cassert>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "kernels/cuda_cudnn.h"
#include "results/base/error.h"
#include "runner/core/cuda.h"

namespace assay::cuda {
namespace {

// One of cuDNN's functions, looked up by its name in the opened library.
template <class Signature>
class Function {
 public:
  explicit Function(const char* name)
      : found_(reinterpret_cast<Signature*>(dlsym(CudnnLibrary(), name))) {
    if (found_ == nullptr) throw Error(fmt::format("cuDNN {} has no {}", CudnnVersion(), name));
  }
  operator Signature*() const { return found_; }

 private:
  Signature* found_;
};

// The functions of cuDNN's backend API that are used here.
struct Functions {
  Function<decltype(cudnnCreate)> create{"cudnnCreate"};
  Function<decltype(cudnnDestroy)> destroy{"cudnnDestroy"};
  Function<decltype(cudnnSetStream)> set_stream{"cudnnSetStream"};
  Function<decltype(cudnnGetLastErrorString)> last_error{"cudnnGetLastErrorString"};
  Function<decltype(cudnnBackendCreateDescriptor)> make{"cudnnBackendCreateDescriptor"};
  Function<decltype(cudnnBackendDestroyDescriptor)> unmake{"cudnnBackendDestroyDescriptor"};
  Function<decltype(cudnnBackendSetAttribute)> set{"cudnnBackendSetAttribute"};
  Function<decltype(cudnnBackendGetAttribute)> get{"cudnnBackendGetAttribute"};
  Function<decltype(cudnnBackendFinalize)> finalize{"cudnnBackendFinalize"};
  Function<decltype(cudnnBackendExecute)> execute{"cudnnBackendExecute"};
};
const Functions& Cudnn() {
  static const Functions functions;
  return functions;
}

// The reason why the last call failed, in cuDNN's words.
std::string Reason() {
  std::array<char, 4096> text = {};
  Cudnn().last_error(text.data(), text.size());
  return CudnnReason(text.data());
}

void Check(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string reason = Reason();
  throw Error(fmt::format("cuDNN {} failed in {}: status {}{}{}", CudnnVersion(), what,
                          static_cast<int>(status), reason.empty() ? "" : ", ", reason));
}

void DestroyHandle(cudnnHandle_t handle) { Cudnn().destroy(handle); }
void DestroyDescriptor(cudnnBackendDescriptor_t descriptor) { Cudnn().unmake(descriptor); }

using CudnnHandle = Owned<cudnnHandle_t, DestroyHandle>;
using Descriptor = Owned<cudnnBackendDescriptor_t, DestroyDescriptor>;

Descriptor Make(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t made = nullptr;
  Check(Cudnn().make(type, &made), "making a descriptor");
  return Descriptor(made);
}

void Set(const Descriptor& descriptor, cudnnBackendAttributeName_t name,
         cudnnBackendAttributeType_t type, const void* values, std::size_t count = 1) {
  Check(Cudnn().set(descriptor.get(), name, type, static_cast<std::int64_t>(count), values),
        "setting an attribute");
}
void Set(const Descriptor& descriptor, cudnnBackendAttributeName_t name, const Descriptor& value) {
  const cudnnBackendDescriptor_t pointer = value.get();
  Set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, &pointer);
}

// Finalizes a descriptor that must be in order; throws Error if it isn't.
void Finalize(const Descriptor& descriptor, const char* what) {
  Check(Cudnn().finalize(descriptor.get()), what);
}
// Finalizes a descriptor that cuDNN may refuse. Returns the reason where it does, else nothing.
std::optional<std::string> WhyNotFinal(const Descriptor& descriptor, const char* what) {
  const cudnnStatus_t status = Cudnn().finalize(descriptor.get());
  if (status == CUDNN_STATUS_BAD_PARAM ||
      CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) {
    return Reason();
  }
  Check(status, what);
  return std::nullopt;
}

template <class T>
T Get(const Descriptor& descriptor, cudnnBackendAttributeName_t name,
      cudnnBackendAttributeType_t type) {
  T value = {};
  std::int64_t count = 0;
  Check(Cudnn().get(descriptor.get(), name, type, 1, &count, &value), "reading an attribute");
  return value;
}
// Gets descriptors into `room`, as many as fit, and returns how many there are.
std::int64_t GetInto(std::vector<cudnnBackendDescriptor_t> room, const Descriptor& descriptor,
                     cudnnBackendAttributeName_t name) {
  std::int64_t count = 0;
  Check(Cudnn().get(descriptor.get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                    static_cast<std::int64_t>(room.size()), &count, room.data()),
        "reading descriptors");
  return count;
}
std::vector<Descriptor> GetAll(const Descriptor& descriptor, cudnnBackendAttributeName_t name,
                               cudnnBackendDescriptorType_t type, std::int64_t most) {
  std::vector<Descriptor> all(static_cast<std::size_t>(most));
  std::vector<cudnnBackendDescriptor_t> room;
  for (Descriptor& one : all) room.push_back((one = Make(type)).get());
  all.resize(static_cast<std::size_t>(GetInto(room, descriptor, name)));
  return all;
}

cudnnDataType_t TypeOf(Format format) {
  switch (format) {
    case Format::kF32:
      return CUDNN_DATA_FLOAT;
    case Format::kS32:
      return CUDNN_DATA_INT32;
    case Format::kF16:
      return CUDNN_DATA_HALF;
    default:
      return CUDNN_DATA_BFLOAT16;
  }
}

constexpr std::int64_t kScaleUid = 0;
std::int64_t UidOf(Part part) { return 1 + static_cast<std::int64_t>(part); }

// Describes a tensor of an operation, packed in the order of its shape.
Descriptor MakeTensor(std::int64_t uid, const Shape& shape, bool by_value) {
  const cudnnDataType_t type = TypeOf(shape.format);
  const std::int64_t row = shape.tokens * shape.elements;
  const std::array dims = {shape.batch, shape.heads, shape.tokens, shape.elements};
  const std::array strides = {shape.heads * row, row, shape.elements, std::int64_t{1}};
  constexpr std::int64_t kAlignment = 16;
  Descriptor tensor = Make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  Set(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, &uid);
  Set(tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, &type);
  Set(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, dims.data(), dims.size());
  Set(tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides.data(), strides.size());
  Set(tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, &kAlignment);
  Set(tensor, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, &by_value);
  Finalize(tensor, "describing a tensor");
  return tensor;
}

// The current device, and the stream on it that plans are for.
struct Here {
  const Gpu& gpu;
  cudaStream_t stream = nullptr;
};

// The plans of the forward, which is a graph of one operation.
class SdpaPlans : public AttentionPlans {
 public:
  explicit SdpaPlans(const Attention& op)
      : scale_(static_cast<float>(1 / std::sqrt(static_cast<double>(op.head_dim_qk)))) {
    Tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, op, Part::kQ);
    Tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, op, Part::kK);
    Tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, op, Part::kV);
    Tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, op, Part::kO);
    if (op.page_size > 0) {
      Tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_PAGE_TABLE_KDESC, op, Part::kPageTable);
      Tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_PAGE_TABLE_VDESC, op, Part::kPageTable);
      Tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC, op, Part::kSeqQ);
      Tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, op, Part::kSeqKv);
    }
    const Shape one = {.format = Format::kF32, .batch = 1, .heads = 1, .tokens = 1, .elements = 1};
    tensors_.push_back(MakeTensor(kScaleUid, one, true));
    Set(operation_, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, tensors_.back());
  }

  // Asks cuDNN for plans on the current device, or on one that is only described. Returns nothing
  // where there are any, else why not.
  std::optional<std::string> Propose(const Here& here) {
    cudnnHandle_t handle = nullptr;
    const cudnnStatus_t status = Cudnn().create(&handle);
    if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return CudnnIsNotFor(here.gpu);
    Check(status, "its start");
    handle_.reset(handle);
    Check(Cudnn().set_stream(handle, here.stream), "taking a stream");
    // cuDNN's header calls this attribute deprecated and says that it may be left out. The frontend
    // sets it all the same, so that with it attention runs on GPUs as it does elsewhere.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    Set(graph_, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, &handle);
#pragma GCC diagnostic pop
    return Propose();
  }
  std::optional<std::string> Propose(const std::string& device_properties) {
    device_ = Make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    Set(device_, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
        device_properties.data(), device_properties.size());
    Finalize(device_, "a description of a device");
    Set(heuristic_, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device_);
    return Propose();
  }

  int Count() const override { return static_cast<int>(plans_.size()); }
  void Build(int plan) override {
    Descriptor built = Make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    Set(built, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, At(plan).config);
    Finalize(built, "building a plan");
    At(plan).built = std::move(built);
  }
  std::int64_t WorkspaceBytes(int plan) const override {
    return Get<std::int64_t>(At(plan).built, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                             CUDNN_TYPE_INT64);
  }
  // The name is the engine and its knobs, as the frontend writes them: "eng8_k24=0_k27=2".
  std::string Name(int plan) const override {
    const Descriptor& config = At(plan).config;
    const Descriptor engine = std::move(
        GetAll(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1).at(0));
    std::string name = fmt::format(
        "eng{}", Get<std::int64_t>(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64));
    std::map<int, std::int64_t> choices;
    for (const Descriptor& knob :
         GetAll(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
                CUDNN_KNOB_TYPE_COUNTS)) {
      choices[Get<cudnnBackendKnobType_t>(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                          CUDNN_TYPE_KNOB_TYPE)] =
          Get<std::int64_t>(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64);
    }
    for (const auto& [knob, choice] : choices) name += fmt::format("_k{}={}", knob, choice);
    return name;
  }
  void Enqueue(int plan, const Pointers& parts, void* workspace) override {
    std::vector<std::int64_t> uids = {kScaleUid};
    std::vector<void*> pointers = {&scale_};
    for (const Part part : parts_) {
      uids.push_back(UidOf(part));
      pointers.push_back(parts.at(part));
    }
    const Descriptor pack = Make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    Set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, uids.data(), uids.size());
    Set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers.data(),
        pointers.size());
    Set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, &workspace);
    Finalize(pack, "taking pointers");
    Check(Cudnn().execute(handle_.get(), At(plan).built.get(), pack.get()), "attention");
  }

 private:
  struct Plan {
    Descriptor config = {};
    Descriptor built = {};
  };
  Plan& At(int plan) { return plans_.at(static_cast<std::size_t>(plan)); }
  const Plan& At(int plan) const { return plans_.at(static_cast<std::size_t>(plan)); }

  void Tensor(cudnnBackendAttributeName_t name, const Attention& op, Part part) {
    // A tensor that serves twice, as the page table does, is described once.
    if (parts_.empty() || parts_.back() != part) {
      parts_.push_back(part);
      tensors_.push_back(MakeTensor(UidOf(part), ShapeOf(op, part), false));
    }
    Set(operation_, name, tensors_.back());
  }

  std::optional<std::string> Propose() {
    if (auto why = WhyNotFinal(operation_, "describing attention")) return why;
    Set(graph_, CUDNN_ATTR_OPERATIONGRAPH_OPS, operation_);
    if (auto why = WhyNotFinal(graph_, "making a graph")) return why;
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    Set(heuristic_, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_);
    Set(heuristic_, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, &mode);
    if (auto why = WhyNotFinal(heuristic_, "asking for plans")) return why;
    // The first call asks how many configurations there may be, the second gets those that there
    // are.
    const std::int64_t most = GetInto({}, heuristic_, CUDNN_ATTR_ENGINEHEUR_RESULTS);
    for (Descriptor& config : GetAll(heuristic_, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                     CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, most)) {
      plans_.push_back({.config = std::move(config)});
    }
    if (!plans_.empty()) return std::nullopt;
    const std::string reason = Reason();  // that of the last engine that was asked
    return reason.empty() ? "it has no engine for this GPU" : reason;
  }

  float scale_;
  CudnnHandle handle_ = {};
  std::vector<Part> parts_ = {};
  std::vector<Descriptor> tensors_ = {};
  Descriptor device_ = {};
  Descriptor operation_ = Make(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
  Descriptor graph_ = Make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  Descriptor heuristic_ = Make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  std::vector<Plan> plans_ = {};
};

// The reason why the operation isn't tried for this op, or nothing. It has block masks alone, which
// cuDNN 9.19 supports on Blackwell only; it has no fp8; and cuDNN 9.19 makes no graph of backward's
// operation (CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR).
std::optional<std::string> Beyond(const Attention& op) {
  std::string what;
  if (op.direction == "backward") {
    what = "backward";
  } else if (op.dtype == Dtype::kFp8E4m3) {
    what = "fp8";
  } else if (KeysSeen(op, 0).last < op.seq_kv || KeysSeen(op, op.seq_q - 1).first > 0) {
    what = "a mask";
  } else {
    return std::nullopt;
  }
  return fmt::format(
      "{} needs cuDNN's frontend, which this assay is built without: build it where "
      "scripts/setup.sh has been run, or with -DASSAY_CUDNN_FRONTEND=DIR",
      what);
}

using Planned = std::variant<std::unique_ptr<AttentionPlans>, std::string>;

// Plans the op on `where`, which is whatever SdpaPlans::Propose takes.
template <class Where>
Planned PlanOn(const Where& where, const Attention& op) {
  if (const auto why = Beyond(op)) return *why;
  auto plans = std::make_unique<SdpaPlans>(op);
  if (const auto why = plans->Propose(where)) return *why;
  return plans;
}

class Sdpa : public AttentionLibrary {
 public:
  std::string Name() const override {
    return fmt::format("cuDNN {} without its frontend", CudnnVersion());
  }
  Planned Plan(const Attention& op, Pass pass, const Gpu& gpu, cudaStream_t stream) override {
    assert((pass == Pass::kBackward) == (op.direction == "backward"));
    return PlanOn(Here{.gpu = gpu, .stream = stream}, op);
  }
};

}  // namespace

std::optional<Skipped> NoSdpa() { return std::nullopt; }

std::unique_ptr<AttentionLibrary> MakeSdpa() { return std::make_unique<Sdpa>(); }

Planned PlanSdpa(const Attention& op, const std::string& device_properties) {
  return PlanOn(device_properties, op);
}

}  // namespace assay::cuda

#else

namespace assay::cuda {

std::optional<Skipped> NoSdpa() {
  return Skipped{.reason =
                     "this assay is built without cuDNN's frontend, and without headers of "
                     "cuDNN 9.15 or later",
                 .remedy =
                     "build it where scripts/setup.sh has been run beside a CUDA toolkit with "
                     "cuDNN, or with -DASSAY_CUDNN_FRONTEND=DIR"};
}

std::unique_ptr<AttentionLibrary> MakeSdpa() { return nullptr; }

std::variant<std::unique_ptr<AttentionPlans>, std::string> PlanSdpa(const Attention&,
                                                                    const std::string&) {
  return NoSdpa()->reason;
}

}  // namespace assay::cuda

#endif
