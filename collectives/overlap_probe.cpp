#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "collectives/overlap.h"
#include "collectives/probes.h"
#include "results/base/error.h"
#include "runner/core/threads.h"

namespace assay::collectives {
namespace {

constexpr std::int64_t kMostGemms = 1'000'000;

// Whether steps of training run on GPUs: on a machine with a driver, unless other libraries were
// named.
bool IsOfGpus(const Setup& setup) {
  const auto is_asked = [&](const KnownLibrary& library) {
    return library.kind == "gpu" && setup.TakesBackend(library.name);
  };
  return HasNvidiaDriver() && std::ranges::any_of(KnownLibraries(), is_asked);
}

// The value of a param, or 0 where a case has none: each library knows one of the two budgets of
// communication. Throws Error for a value out of range.
std::int64_t InRange(const Params& params, const char* name, std::int64_t least,
                     std::int64_t most) {
  if (!params.contains(name)) return 0;
  const std::int64_t value = IntegerOf(params, name);
  if (value >= least && value <= most) return value;
  throw Error(fmt::format("overlap: {} is from {} to {}, not {}", name, least, most, value));
}

std::vector<Case> CasesOf(const Setup& setup, const std::shared_ptr<Libraries>& libraries,
                          const Params& params) {
  WordOf(params, "dtype", {"f32", "bf16", "f16"}, "overlap: ");
  const OperationFacts& facts = FactsOf(Operation::kAllReduce);
  const std::int64_t ranks = IntegerOf(params, "ranks");
  const std::int64_t nodes = IntegerOf(params, "nodes");
  Params communicate = DefaultsOf(facts, ranks, nodes);
  for (const char* name : {"dtype", "bytes", "algo", "buffers", "channels"}) {
    if (params.contains(name)) communicate[name] = params.at(name);
  }
  communicate["placement"] = "in_place";
  const Collective collective = CollectiveOf(facts, communicate, /*allow_single=*/false);
  TrainingStep step = {.gemms = InRange(params, "gemms", 0, kMostGemms),
                       .compute_percent = InRange(params, "compute_percent", 1, 1000),
                       .comm_cores = InRange(params, "comm_cores", 0, 4096)};
  InRange(params, "channels", 0, 64);
  for (const char* name : {"dtype", "m", "n", "k"}) step.gemm[name] = params.at(name);
  const std::optional<std::int64_t> flops = setup.gemm(step.gemm, {}).work.flops;
  std::int64_t of_all = 0;
  if (!flops || __builtin_mul_overflow(*flops, ranks, &of_all)) {
    throw Error("overlap: m, n and k of all ranks are too much work to count; give less");
  }
  step.work = {.flops = of_all,
               .bytes = Layout(collective, static_cast<int>(ranks)).SizeBytes(),
               .formula = "overlap/2mnk"};
  std::vector<Case> cases = CasesOver(
      libraries, setup,
      {.one = {.probe = "overlap",
               .params = params,
               .work = step.work,
               .units = UnitsOf(setup.roster, static_cast<int>(ranks)),
               .across = AcrossRanks{.ranks = static_cast<int>(ranks),
                                     .nodes = static_cast<int>(nodes),
                                     .pinned = false,
                                     .settles = true}},
       .collective = collective,
       .is_usual =
           [nodes, of_gpus = IsOfGpus(setup)](const KnownLibrary& library) {
             const bool is_usual = nodes > 1 ? library.on_several : library.on_one_node;
             return is_usual && (library.kind == "gpu") == of_gpus;
           },
       .join =
           [step, gemm = setup.gemm](Library& library, const Collective& told, Ranks& together,
                                     std::uint64_t seed, const Params& how) {
             TrainingStep own = step;
             own.on_gpus = library.IsOnDevice();
             if (how.contains("gemms")) own.gemms = InRange(how, "gemms", 1, kMostGemms);
             return PrepareOverlap(
                 own, together, gemm, [&] { return library.Prepare(told, together, seed); }, seed);
           }});
  for (Case& one : cases) one.params.erase(one.device.kind == "gpu" ? "comm_cores" : "channels");
  return cases;
}

// The least number of cores that each of the usual ranks will have.
int CoresOfARank(const Roster& roster) {
  return roster.cores.value_or(static_cast<int>(UsableCores().size()) /
                               static_cast<int>(UsualRanks(roster)));
}

}  // namespace

// The GEMMs are so large that launching takes no time of theirs.
Probe OverlapProbe(const Setup& setup, const std::shared_ptr<Libraries>& libraries) {
  const bool on_gpus = IsOfGpus(setup);
  const std::int64_t of_gpus = 4096;
  return {.name = "overlap",
          .summary = "GEMMs and an all-reduce at once, as in a step of training",
          .defaults = {{"dtype", on_gpus ? "bf16" : "f32"},
                       {"bytes", std::int64_t{25} << 20},
                       {"m", on_gpus ? of_gpus : 256},
                       {"n", on_gpus ? of_gpus : 1024},
                       {"k", on_gpus ? of_gpus : 1024},
                       {"gemms", std::int64_t{0}},
                       {"compute_percent", std::int64_t{100}},
                       {"comm_cores", std::int64_t{CoresOfARank(setup.roster) >= 2 ? 1 : 0}},
                       {"channels", std::int64_t{0}},
                       {"algo", "auto"},
                       {"buffers", "plain"},
                       {"ranks", UsualRanks(setup.roster)},
                       {"nodes", setup.roster.Nodes()}},
          .unfold = [setup,
                     libraries](const Params& params) { return CasesOf(setup, libraries, params); },
          .backends = LibraryNames(IsAny),
          .absent = [libraries] { return FindAbsent(*libraries, LibraryNames(IsAny)); }};
}

}  // namespace assay::collectives
