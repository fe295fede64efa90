#include "runner/program/setup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>
#include <utility>

#include "collectives/collectives.h"
#include "io/io.h"
#include "kernels/kernels.h"
#include "results/base/text.h"
#include "results/file/privacy.h"
#include "runner/core/module.h"
#include "runner/core/ranks.h"
#include "runner/program/identity.h"
#include "runner/program/machine.h"

namespace assay {
namespace {

IdentityOptions IdentityOptionsFrom(const IdentityFlags& flags, const Catalog& catalog) {
  return {.provider = flags.provider,
          .instance = flags.instance,
          .region = flags.region,
          .purchase = flags.purchase,
          .no_metadata = flags.no_metadata,
          .metadata = {.url = flags.metadata_url},
          .instances = catalog.instances,
          .devices = catalog.devices};
}

// The probes of one node.
std::vector<Probe> OwnProbes(const Setup& setup) {
  std::vector<Probe> probes = kernels::Probes(setup);
  for (Probe& probe : io::Probes(setup)) probes.push_back(std::move(probe));
  return probes;
}

// Probes are made when they are first asked for: of most ranks nothing is asked but collectives.
std::function<Case(const Record&)> OwnCasesOf(const Setup& setup, bool has_own) {
  struct Known {
    std::vector<Probe> own = {};
    std::vector<Probe> of_ranks = {};
  };
  return [setup, has_own, known = std::make_shared<Known>()](const Record& asked) {
    if (known->of_ranks.empty()) known->of_ranks = collectives::ProbesOfARank(setup);
    if (std::optional<Case> one = CaseLike(asked, known->of_ranks)) return *std::move(one);
    if (has_own && known->own.empty()) known->own = OwnProbes(setup);
    if (std::optional<Case> one = CaseLike(asked, known->own)) return *std::move(one);
    const Skipped no = {.reason = fmt::format("this node has no {} by {} as the first one has it",
                                              Clean(asked.probe), Clean(asked.backend)),
                        .remedy = "hold nodes of one type"};
    return Case{.prepare = [no](std::uint64_t) -> Prepared { return no; }};
  };
}

}  // namespace

Setup MakeSetup(const RunOptions& options, const Modules& modules) {
  return {.threads = options.threads,
          .storage_path = options.storage_path,
          .backends = options.backends,
          .devices = options.devices,
          .modules = &modules,
          .gemm = kernels::GemmBeside(modules)};
}

std::vector<Probe> AllProbes(const Setup& setup) {
  std::vector<Probe> probes = OwnProbes(setup);
  for (Probe& probe : collectives::Probes(setup)) probes.push_back(std::move(probe));
  return probes;
}

Member MakeMember(const RunOptions& options, const Modules& modules, const Catalog& catalog) {
  const Setup setup = MakeSetup(options, modules);
  return {.describe = [setup, flags = options.identity,
                       &catalog] { return ThisNode(setup, flags, catalog); },
          .own_case = OwnCasesOf(setup, /*has_own=*/true)};
}

Member WorkerMember(const Modules& modules) {
  const Setup setup = {.modules = &modules, .gemm = kernels::GemmBeside(modules)};
  return {.own_case = OwnCasesOf(setup, /*has_own=*/false)};
}

std::unique_ptr<Cluster> MakeCluster(const RunOptions& options, const Modules& modules,
                                     Ranks& ranks, const Catalog& catalog) {
  return OpenCluster({.ranks = &ranks,
                      .modules = &modules,
                      .member = MakeMember(options, modules, catalog),
                      .watchdog = Seconds(options.watchdog_s),
                      .usual_ranks = options.ranks > 0 ? options.ranks : 2});
}

Node ThisNode(const Setup& setup, const IdentityFlags& flags, const Catalog& catalog) {
  Node node = InspectMachine({.threads = setup.threads});
  std::vector<std::string> uuids;
  if (setup.modules != nullptr) {
    for (const Modules::Entry& entry : setup.modules->Entries()) {
      if (entry.module == nullptr || entry.module->devices == nullptr) continue;
      ModuleDevices devices = entry.module->devices();
      AddVisible(devices.accelerators, node);
      std::ranges::move(devices.uuids, std::back_inserter(uuids));
      std::ranges::move(devices.notes, std::back_inserter(node.notes));
    }
  }
  Identified identified = Identify(IdentityOptionsFrom(flags, catalog), node);
  node.identity = std::move(identified.identity);
  node.notes.insert(node.notes.end(), identified.notes.begin(), identified.notes.end());
  node.node_id = NodeId(std::move(uuids), node.notes);
  node.env = AllowedEnvironment(environ);
  node.storage = io::Volumes(setup);
  for (const auto& software : {kernels::Software(), io::Software(), collectives::Software(setup)}) {
    node.software.insert(software.begin(), software.end());
  }
  return node;
}

}  // namespace assay
