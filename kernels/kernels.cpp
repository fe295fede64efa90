#include "kernels/kernels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "kernels/backend.h"
#include "kernels/compound.h"
#include "kernels/cpu_native.h"
#include "kernels/cpu_onednn.h"
#include "kernels/gpu_backends.h"
#include "kernels/headline.h"
#include "results/base/error.h"
#include "runner/core/module.h"

namespace assay::kernels {
namespace {

// A backend of a module that is not open: it has no device, and says why.
class UnopenedBackend : public Backend {
 public:
  UnopenedBackend(const GpuBackendFacts& facts, Skipped why)
      : facts_(facts), why_(std::move(why)) {}
  std::string Name() const override { return facts_.name; }
  std::vector<Device> Devices() override { return {}; }
  std::optional<Skipped> Missing() override { return why_; }
  bool Has(const Op& op) const override { return facts_.has(op); }
  Prepared Prepare(const Op&, const Device&, std::uint64_t) override { return why_; }

 private:
  GpuBackendFacts facts_;
  Skipped why_;
};

// All backends: the CPU's own, and those of the loaded modules.
Backends AllBackends(const Setup& setup) {
  Backends backends;
  backends.push_back(MakeNativeBackend(setup));
  backends.push_back(MakeOneDnnBackend(setup));
  if (setup.modules != nullptr) {
    for (const Modules::Entry& entry : setup.modules->Entries()) {
      for (const GpuBackendFacts& facts : kGpuBackends) {
        if (entry.module != nullptr || entry.name != facts.module) continue;
        backends.push_back(std::make_shared<UnopenedBackend>(
            facts, Skipped{.reason = entry.reason, .remedy = entry.remedy, .module = entry.name}));
      }
      if (entry.module == nullptr || entry.module->backends == nullptr) continue;
      for (std::unique_ptr<Backend>& backend : entry.module->backends()) {
        backends.push_back(std::move(backend));
      }
    }
  }
  return backends;
}

// The value of a param that is a size. The upper bound keeps products of two within 63 bits.
std::int64_t Size(const Params& params, const std::string& name) {
  return IntegerWithin(params, name, 1, std::int64_t{1} << 31);
}

Dtype DtypeOf(const Params& params) {
  return ReadDtype(StringOf(params, "dtype"), "dtype", DtypeUse::kProducts).dtype;
}

// Whether the params ask for a sustained case; without a param regime it is a burst.
bool IsSustained(const Params& params) {
  return params.contains("regime") &&
         WordOf(params, "regime", {"burst", "sustained"}) == "sustained";
}

// The steps of one iteration of a case, most often a single op.
using Steps = std::vector<Step>;

Steps One(const Op& op) { return {{.op = op}}; }

Steps PeakFrom(Params& params) { return One(Peak{.dtype = DtypeOf(params)}); }

Steps GemmFrom(Params& params) {
  const Dtype dtype = DtypeOf(params);
  // The default, f32, stands for the type that the dtype is summed in.
  const std::string_view accumulator = AccumulatorOf(dtype);
  if (StringOf(params, "acc") == "f32") params["acc"] = std::string(accumulator);
  const bool fast = IsFp8(dtype) && StringOf(params, "acc") == "f32_fast";
  if (!fast) WordOf(params, "acc", {std::string(accumulator)});
  // A longer sum in 14 bits may be off by as much as its own size, so that no check could tell.
  constexpr std::int64_t kMostFast = 65536;
  if (fast && Size(params, "k") > kMostFast) {
    throw Error(fmt::format("k is {} with acc=f32_fast; give at most {}, or acc=f32",
                            Size(params, "k"), kMostFast));
  }
  return One(Gemm{.dtype = dtype,
                  .accumulate = dtype == Dtype::kF64 ? Dtype::kF64 : Dtype::kF32,
                  .fast_accumulate = fast,
                  .m = Size(params, "m"),
                  .n = Size(params, "n"),
                  .k = Size(params, "k"),
                  .batch = Size(params, "batch"),
                  .cache = WordOf(params, "cache", {"cold", "warm", "weights-cold"}),
                  .inputs = WordOf(params, "inputs", {"normal", "zeros"}),
                  .algo = WordOf(params, "algo", {"default", "tuned"})});
}

Steps GroupedGemmFrom(Params& params) {
  constexpr std::int64_t kMostGroups = 4096;
  const std::int64_t groups = Size(params, "groups");
  if (groups > kMostGroups) {
    throw Error(fmt::format("groups is {}; give at most {}", groups, kMostGroups));
  }
  return One(GroupedGemm{.dtype = DtypeOf(params),
                         .m = Size(params, "m"),
                         .n = Size(params, "n"),
                         .k = Size(params, "k"),
                         .groups = groups,
                         .cache = WordOf(params, "cache", {"cold", "warm"}),
                         .inputs = WordOf(params, "inputs", {"normal", "zeros"})});
}

Steps MemoryFrom(Params& params) {
  const std::int64_t bytes = IntegerOf(params, "bytes");
  constexpr std::int64_t kMost = std::int64_t{1} << 46;
  if (bytes < 0 || bytes > kMost || bytes % 4096 != 0) {
    throw Error(fmt::format(
        "bytes is {}; give a multiple of 4096 to 2^46, or 0 for four last-level caches", bytes));
  }
  return One(Memory{.pattern = WordOf(params, "pattern", {"read", "write", "copy", "triad"}),
                    .bytes = bytes});
}

Steps CopyFrom(Params& params) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  Copy op = {.route = WordOf(params, "route", {"h2d", "d2h", "both", "peer", "all"}),
             .bytes = IntegerOf(params, "bytes")};
  if (op.bytes < 16 || op.bytes > kMost || op.bytes % 16 != 0) {
    throw Error(fmt::format("bytes is {}; give a multiple of 16 to 2^40", op.bytes));
  }
  for (const auto& [name, end] : {std::pair("from", &op.from), std::pair("to", &op.to)}) {
    const std::int64_t device = IntegerOf(params, name);
    if (device < -1 || device > 1023 || (device >= 0 && op.route != "peer")) {
      throw Error(
          fmt::format("{} is {} with route {}; give a GPU's number with route peer, or -1 for "
                      "each, and else -1",
                      name, device, op.route));
    }
    *end = static_cast<int>(device);
  }
  return One(op);
}

Steps LaunchFrom(Params& params) {
  return One(Launch{.mode = WordOf(params, "mode", {"sync", "stream", "graph"})});
}

Steps AttentionFrom(Params& params) { return One(AttentionOf(params)); }

// The defaults of the headline. The name auto becomes bf16-train/1 on a node's GPUs, else
// bf16-cpu/2; with other params than the name stands for it becomes custom.
const Params kHeadline = {{"name", "auto"},    {"tokens", 0},        {"dtype", "bf16"},
                          {"cache", "cold"},   {"inputs", "normal"}, {"regime", "sustained"},
                          {"algo", "default"}, {"scope", "node"}};

// The params that a headline's name stands for; nothing for another name.
std::optional<Params> HeadlineNamed(const std::string& name) {
  Params params = kHeadline;
  params["name"] = name;
  if (name == "bf16-train/1") {
    params["tokens"] = std::int64_t{4096};
  } else if (name == "bf16-cpu/2") {
    params["tokens"] = std::int64_t{512};
  } else {
    return std::nullopt;
  }
  return params;
}

// Whether the params are those that the headline's name stands for. A different headline needs a
// name of its own, except that the library's algorithm may be tuned.
bool FitsItsName(const Params& params) {
  std::optional<Params> meant = HeadlineNamed(StringOf(params, "name"));
  if (meant) (*meant)["algo"] = params.at("algo");
  return !meant || params == *meant;
}

// The steps of the headline. Throws Error where the params aren't those that its name stands for.
Steps HeadlineFrom(Params& params) {
  if (!FitsItsName(params)) {
    const std::string name = StringOf(params, "name");
    throw Error(fmt::format("name is '{}', which means {}; give another name to something else",
                            name, ToText(*HeadlineNamed(name))));
  }
  return HeadlineSteps(Size(params, "tokens"),
                       {.dtype = DtypeOf(params),
                        .cache = WordOf(params, "cache", {"cold", "warm", "weights-cold"}),
                        .inputs = WordOf(params, "inputs", {"normal", "zeros"}),
                        .algo = WordOf(params, "algo", {"default", "tuned"})});
}

// The share of one case: the steps that it does, on all of these devices at once.
struct Share {
  std::vector<Device> devices = {};
  Steps steps = {};
};
Case CaseOf(const std::shared_ptr<Backend>& backend, Share share, const Backends& backends);

// The case of an op on that device by the first backend that has the op there; null where none has.
std::shared_ptr<const Case> BoundBy(const std::string& probe, const Op& op, const Params& params,
                                    const Backends& backends, const Device& device) {
  for (const std::shared_ptr<Backend>& backend : backends) {
    if (!backend->Has(op)) continue;
    for (const Device& other : backend->Devices()) {
      if (other.name != device.name) continue;
      Case bound = CaseOf(backend, {.devices = {other}, .steps = One(op)}, backends);
      if (!bound.work.flops && !bound.work.bytes) continue;
      bound.probe = probe;
      bound.params.insert(params.begin(), params.end());
      return std::make_shared<const Case>(std::move(bound));
    }
  }
  return nullptr;
}

// The bound that an op is held against: arithmetic against the peak of its dtype, and decode
// against the reading of memory.
struct BoundOf {
  const Backends& backends;
  const Device& device;
  std::shared_ptr<const Case> PeakOf(Dtype dtype) const {
    return BoundBy("peak", Peak{.dtype = dtype},
                   {{"dtype", std::string(ToText(dtype))}, {"scope", "node"}}, backends, device);
  }
  std::shared_ptr<const Case> operator()(const Gemm& op) const { return PeakOf(op.dtype); }
  std::shared_ptr<const Case> operator()(const GroupedGemm& op) const { return PeakOf(op.dtype); }
  std::shared_ptr<const Case> operator()(const Attention& op) const {
    if (op.phase != "decode") return PeakOf(op.dtype);
    return BoundBy("memory", Memory{.pattern = "read"},
                   {{"pattern", "read"}, {"regime", "burst"}, {"scope", "node"}}, backends, device);
  }
  std::shared_ptr<const Case> operator()(const Memory&) const { return nullptr; }
  std::shared_ptr<const Case> operator()(const Copy&) const { return nullptr; }
  std::shared_ptr<const Case> operator()(const Launch&) const { return nullptr; }
  std::shared_ptr<const Case> operator()(const Peak&) const { return nullptr; }
};

bool HasAll(const Backend& backend, const Steps& steps) {
  return std::ranges::all_of(steps, [&](const Step& step) { return backend.Has(step.op); });
}

// The backends that have all of these ops but no device, and why.
std::map<std::string, Skipped> AbsentFor(const Steps& steps, const Backends& backends) {
  std::map<std::string, Skipped> absent;
  for (const std::shared_ptr<Backend>& backend : backends) {
    if (!HasAll(*backend, steps)) continue;
    if (const std::optional<Skipped> why = backend->Missing()) absent[backend->Name()] = *why;
  }
  return absent;
}

// Splits what is asked for into the shares of single cases. With scope node, all chosen devices do
// it at once in one case. With scope device, each does it alone in its own case, and only the first
// device does unless some are asked for by name. A copy from GPU to GPU makes a case for each pair
// that its ends leave open.
std::vector<Share> SharesOf(const std::vector<Device>& devices, const Steps& asked,
                            const std::string& scope, const Setup& setup) {
  std::vector<Device> chosen;
  for (const Device& device : devices) {
    if (setup.TakesDevice(device.name)) chosen.push_back(device);
  }
  if (chosen.empty()) return {};
  const Copy* copy = std::get_if<Copy>(&asked.front().op);
  const bool is_among_gpus = copy != nullptr && (copy->route == "peer" || copy->route == "all");
  std::vector<Share> shares;
  // Copies between GPUs name their own devices, so that the scope doesn't apply to them.
  if (!is_among_gpus && scope == "node") return {{.devices = chosen, .steps = asked}};
  if (!is_among_gpus || copy->route == "all") {
    if (setup.devices.empty() || is_among_gpus) chosen.resize(1);
    for (const Device& device : chosen) shares.push_back({.devices = {device}, .steps = asked});
    return shares;
  }
  for (const Device& device : chosen) {
    if (copy->from >= 0 && copy->from != device.index) continue;
    Copy one = *copy;
    one.from = device.index;
    if (one.to >= 0 || devices.size() == 1) {
      shares.push_back({.devices = {device}, .steps = One(one)});
      continue;
    }
    for (const Device& other : devices) {
      if (other.index == device.index) continue;
      one.to = other.index;
      shares.push_back({.devices = {device}, .steps = One(one)});
    }
  }
  return shares;
}

bool IsInBf16(const Op& op) {
  const Gemm* gemm = std::get_if<Gemm>(&op);
  const GroupedGemm* grouped = std::get_if<GroupedGemm>(&op);
  return (gemm != nullptr && gemm->dtype == Dtype::kBf16) ||
         (grouped != nullptr && grouped->dtype == Dtype::kBf16);
}

// The case of a share, without the fields that only the probe knows.
Case CaseOf(const std::shared_ptr<Backend>& backend, Share share, const Backends& backends) {
  std::vector<Work> works;
  std::vector<Unit> units;
  for (const Device& device : share.devices) {
    for (Step& step : share.steps) {
      step.op = backend->Complete(step.op, device);
      works.push_back(backend->OneIteration(step.op, device));
    }
    units.push_back({.device = device.index});
  }
  const Device& first = share.devices.front();
  const bool is_alone = share.devices.size() == 1;
  const auto prepare_one = [backend, steps = share.steps](const Device& device,
                                                          std::uint64_t seed) {
    return steps.size() == 1 ? backend->Prepare(steps.front().op, device, seed)
                             : backend->PrepareInTurn(steps, device, seed);
  };
  Case made = {
      .method = MethodOf(share.steps.front().op),
      .backend = backend->Name(),
      .device = {.kind = first.kind},
      .work = TotalOf(works),
      .units = units,
      .accelerator = is_alone && first.kind == "gpu" ? std::optional(first.index) : std::nullopt,
      .prepare =
          [prepare_one, devices = share.devices](std::uint64_t seed) {
            return devices.size() == 1 ? prepare_one(devices.front(), seed)
                                       : PrepareTogether(devices, prepare_one, seed);
          },
      .meter =
          [backend, devices = share.devices] {
            std::vector<std::unique_ptr<DeviceMeter>> meters;
            for (const Device& device : devices) {
              meters.push_back(backend->MeterOf(device));
            }
            return MeterTogether(std::move(meters));
          }};
  const Op& op = share.steps.front().op;
  made.lacks_dtype = std::ranges::any_of(share.devices, [&](const Device& device) {
    return IsInBf16(op) && !backend->HasBf16(device);
  });
  // The measured roofline is that of one device, and so only a device alone is held against it.
  if (is_alone) made.here = std::visit(BoundOf{backends, first}, op);
  // Params that the backend has completed are written out, since cases match by them.
  if (const Memory* memory = std::get_if<Memory>(&op)) made.params["bytes"] = memory->bytes;
  if (const Copy* copy = std::get_if<Copy>(&op)) {
    made.params["from"] = copy->from;
    made.params["to"] = copy->to;
  }
  return made;
}

// The reason why no backend and device does this; nothing where it lies in what was asked for,
// since none of those backends and devices ever does it.
std::optional<Skipped> WhyNone(const std::string& probe, const Steps& asked, const Setup& setup,
                               const Backends& backends) {
  const bool is_for_all_devices = setup.devices.empty() || !setup.backends.empty();
  for (const auto& [backend, why] : AbsentFor(asked, backends)) {
    if (is_for_all_devices && setup.TakesBackend(backend)) return why;
  }
  if (!setup.backends.empty() || !setup.devices.empty()) return std::nullopt;
  return Skipped{.reason = fmt::format("no backend here runs {}", probe),
                 .remedy = "`assay list` names what is missing"};
}

// Makes a probe of ops. `parse` turns checked params into steps, and writes into the params what
// they mean. `typical` holds params by whose kind of op the probe's backends are known.
Probe OpProbe(const std::string& name, const std::string& summary, const Params& defaults,
              Steps (*parse)(Params&), const Setup& setup, const Backends& backends,
              Params typical) {
  const auto unfold = [=](const Params& given) {
    Params params = defaults;
    for (const auto& [param, value] : given) {
      if (!params.contains(param)) throw Error(fmt::format("{} has no param '{}'", name, param));
      params[param] = value;
    }
    const std::string scope = WordOf(params, "scope", {"node", "device"});
    const bool sustained = IsSustained(params);
    const Steps asked = parse(params);

    std::vector<Case> cases;
    for (const std::shared_ptr<Backend>& backend : backends) {
      if (!HasAll(*backend, asked) || !setup.TakesBackend(backend->Name())) continue;
      for (Share& share : SharesOf(backend->Devices(), asked, scope, setup)) {
        Case& added = cases.emplace_back(CaseOf(backend, std::move(share), backends));
        added.probe = name;
        added.params.insert(params.begin(), params.end());
        added.sustained = sustained;
      }
    }
    const std::optional<Skipped> why =
        cases.empty() ? WhyNone(name, asked, setup, backends) : std::nullopt;
    if (why) {
      std::vector<Work> works;
      for (const Step& step : asked) works.push_back(WorkOf(step.op));
      Work work = TotalOf(works);
      for (std::optional<std::int64_t>* amount : {&work.bytes, &work.bytes_min}) {
        if (*amount == 0) amount->reset();  // the backend would have chosen it
      }
      cases.push_back({.probe = name,
                       .method = MethodOf(asked.front().op),
                       .params = params,
                       .backend = "none",
                       .work = work,
                       .prepare = [no = *why](std::uint64_t) -> Prepared { return no; }});
    }
    return cases;
  };
  const Steps steps = parse(typical);
  Backends able;
  std::vector<std::string> names;
  for (const std::shared_ptr<Backend>& backend : backends) {
    if (!HasAll(*backend, steps)) continue;
    able.push_back(backend);
    names.push_back(backend->Name());
  }
  return {.name = name,
          .summary = summary,
          .defaults = defaults,
          .unfold = unfold,
          .backends = names,
          .absent = [=] { return AbsentFor(steps, able); },
          .devices =
              [able] {
                std::vector<std::string> devices;
                for (const std::shared_ptr<Backend>& backend : able) {
                  for (const Device& device : backend->Devices()) devices.push_back(device.name);
                }
                return devices;
              }};
}

Probe GemmProbe(const Setup& setup, const Backends& backends) {
  const Params defaults = {{"dtype", "f32"},    {"acc", "f32"},       {"m", 4096},
                           {"n", 4096},         {"k", 4096},          {"batch", 1},
                           {"cache", "cold"},   {"inputs", "normal"}, {"regime", "burst"},
                           {"algo", "default"}, {"scope", "node"}};
  return OpProbe("gemm", "dense matrix multiplication", defaults, GemmFrom, setup, backends,
                 defaults);
}

// Makes the headline's probe, whose name says which kind of device it is measured on.
Probe HeadlineProbe(const Setup& setup, const Backends& backends) {
  constexpr const char* kSummary = "a model's GEMMs in one figure, by which nodes are compared";
  const auto has = [=](const std::shared_ptr<Backend>& backend, const char* kind) {
    return std::ranges::any_of(backend->Devices(), [&](const Device& device) {
      return device.kind == kind && setup.TakesDevice(device.name);
    });
  };
  const Params typical = *HeadlineNamed("bf16-train/1");
  Probe probe = OpProbe("headline", kSummary, kHeadline, HeadlineFrom, setup, backends, typical);
  probe.unfold = [=](const Params& given) {
    const bool on_gpus = std::ranges::any_of(backends, [&](const auto& backend) {
      return backend->Has(Gemm{}) && setup.TakesBackend(backend->Name()) && has(backend, "gpu");
    });
    const std::string usual = on_gpus ? "bf16-train/1" : "bf16-cpu/2";
    Params params = given;
    params.insert(kHeadline.begin(), kHeadline.end());
    const bool is_unnamed = StringOf(params, "name") == "auto";
    if (is_unnamed) params["name"] = usual;
    std::string name = StringOf(params, "name");
    if (IntegerOf(params, "tokens") == 0) {
      params["tokens"] = HeadlineNamed(HeadlineNamed(name) ? name : usual)->at("tokens");
    }
    if (is_unnamed && !FitsItsName(params)) params["name"] = name = "custom";
    Backends those = backends;
    std::erase_if(those, [&](const std::shared_ptr<Backend>& backend) {
      return (name == "bf16-train/1" && has(backend, "cpu")) ||
             (name == "bf16-cpu/2" && has(backend, "gpu"));
    });
    return OpProbe("headline", kSummary, kHeadline, HeadlineFrom, setup, those, typical)
        .unfold(params);
  };
  return probe;
}

}  // namespace

Attention AttentionOf(const Params& params) {
  const Attention op = {
      .dtype = DtypeOf(params),
      .batch = Size(params, "batch"),
      .heads_q = Size(params, "heads_q"),
      .heads_kv = Size(params, "heads_kv"),
      .seq_q = Size(params, "seq_q"),
      .seq_kv = Size(params, "seq_kv"),
      .head_dim_qk = Size(params, "head_dim_qk"),
      .head_dim_v = Size(params, "head_dim_v"),
      .mask = WordOf(params, "mask", {"full", "causal_top_left", "causal_bottom_right", "window"}),
      .window = IntegerOf(params, "window"),
      .direction = WordOf(params, "direction", {"forward", "backward"}),
      .phase = WordOf(params, "phase", {"prefill", "decode"}),
      .page_size = IntegerOf(params, "page_size"),
      .cache = WordOf(params, "cache", {"cold", "warm"}),
      .inputs = WordOf(params, "inputs", {"normal", "zeros"}),
      .algo = WordOf(params, "algo", {"default", "tuned"})};
  if (op.heads_q % op.heads_kv != 0) {
    throw Error(
        fmt::format("heads_q is {}; give a multiple of heads_kv, {}", op.heads_q, op.heads_kv));
  }
  if ((op.mask == "window") != (op.window >= 1)) {
    throw Error(fmt::format("window is {} with mask {}; give 1 or more with mask window, else 0",
                            op.window, op.mask));
  }
  if (op.phase == "decode" && op.direction != "forward") {
    throw Error("direction is backward with phase decode; only prefill has a backward");
  }
  if (op.page_size < 0 || op.page_size > op.seq_kv || (op.page_size > 0 && op.phase != "decode")) {
    throw Error(
        fmt::format("page_size is {} with phase {}; give 1 to seq_kv with phase decode, else 0",
                    op.page_size, op.phase));
  }
  return op;
}

std::vector<Probe> Probes(const Setup& setup) {
  const Backends backends = AllBackends(setup);
  const auto probe = [&](const char* name, const char* summary, const Params& defaults,
                         Steps (*parse)(Params&)) {
    return OpProbe(name, summary, defaults, parse, setup, backends, defaults);
  };
  return {
      probe("peak", "register-only arithmetic: what the units do at the clock of the moment",
            {{"dtype", "f32"}, {"scope", "node"}}, PeakFrom),
      GemmProbe(setup, backends),
      probe(
          "grouped_gemm",
          "the products of a mixture of experts: rows in groups of unlike sizes, each with weights "
          "of its own",
          {{"dtype", "bf16"},
           {"m", 8192},
           {"n", 28672},
           {"k", 4096},
           {"groups", 8},
           {"cache", "cold"},
           {"inputs", "normal"},
           {"regime", "burst"},
           {"scope", "node"}},
          GroupedGemmFrom),
      probe("memory", "streams through main memory: read, write, copy, triad",
            {{"pattern", "triad"}, {"bytes", 0}, {"regime", "burst"}, {"scope", "node"}},
            MemoryFrom),
      probe("copy", "between host and GPU memory, and from GPU to GPU, by the copy engines",
            {{"route", "h2d"}, {"bytes", 512 << 20}, {"from", -1}, {"to", -1}, {"scope", "node"}},
            CopyFrom),
      probe("launch", "what it takes to start a kernel that does next to nothing",
            {{"mode", "sync"}, {"scope", "device"}}, LaunchFrom),
      probe("attention",
            "scaled dot-product attention: forward, backward, and decode over a cache of keys and "
            "values",
            {{"dtype", "bf16"},
             {"batch", 1},
             {"heads_q", 32},
             {"heads_kv", 8},
             {"seq_q", 1024},
             {"seq_kv", 1024},
             {"head_dim_qk", 128},
             {"head_dim_v", 128},
             {"mask", "full"},
             {"window", 0},
             {"direction", "forward"},
             {"phase", "prefill"},
             {"page_size", 0},
             {"cache", "cold"},
             {"inputs", "normal"},
             {"regime", "burst"},
             {"algo", "default"},
             {"scope", "node"}},
            AttentionFrom),
      HeadlineProbe(setup, backends),
  };
}

GemmAt GemmBeside(const Modules& modules) {
  return [&modules](const Params& params, const GemmPlace& place) -> Case {
    Setup setup = {.cores = place.cores, .devices = {DeviceName("cpu", 0)}};
    if (place.gpu) setup = {.devices = {DeviceName("gpu", *place.gpu)}, .modules = &modules};
    const Backends backends = AllBackends(setup);
    std::vector<Case> cases = GemmProbe(setup, backends).unfold(params);
    if (!cases.empty()) return std::move(cases.front());
    Skipped no = {.reason = "no GPU of this number has GEMMs", .remedy = "see nvidia-smi"};
    for (const auto& [backend, why] : AbsentFor(One(Gemm{}), backends)) {
      if (why.module.empty()) continue;
      no = {.reason = fmt::format("its GEMMs need module {}: {}", why.module, why.reason),
            .remedy = why.remedy};
    }
    return {.prepare = [no](std::uint64_t) -> Prepared { return no; }};
  };
}

std::map<std::string, std::string> Software() {
  std::map<std::string, std::string> software = NativeSoftware();
  software.merge(OneDnnSoftware());
  return software;
}

}  // namespace assay::kernels
