#include "collectives/collectives.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <utility>

#include "collectives/libraries.h"
#include "collectives/probes.h"
#include "collectives/used_transport.h"
#include "results/base/error.h"
#include "runner/core/module.h"

namespace assay::collectives {
namespace {

// A workload that fails where its data did not go over the transport that was asked for. It checks
// after the first operation, which made the connections, and again at the end.
class DemandingWorkload : public Workload {
 public:
  DemandingWorkload(std::unique_ptr<Workload> own, std::string transport, std::string library)
      : own_(std::move(own)), transport_(std::move(transport)), library_(std::move(library)) {}
  Batch Run(std::int64_t iterations) override { return own_->Run(iterations); }
  Checked Verify() override {
    if (!std::exchange(is_known_, true)) Demand(own_->Describe());
    return own_->Verify();
  }
  Facts Describe() const override {
    Facts facts = own_->Describe();
    Demand(facts);
    return facts;
  }
  std::optional<Work> OneIteration() const override { return own_->OneIteration(); }
  std::map<std::string, Histogram> Histograms() const override { return own_->Histograms(); }

 private:
  // A fact of a group has the group's number before its name.
  void Demand(const Facts& facts) const {
    bool is_told = false;
    for (const auto& [name, fact] : facts) {
      if (name.substr(name.find('/') + 1) != kTransportFact) continue;
      is_told = true;
      Demand(std::get<std::string>(fact));
    }
    if (!is_told) Demand("");
  }
  void Demand(const std::string& used) const {
    if (const auto other = NotOver(used, transport_)) {
      throw Error(fmt::format("transport {} was asked for (--require-transport), but with {} {}",
                              transport_, library_, *other));
    }
  }

  std::unique_ptr<Workload> own_;
  std::string transport_;
  std::string library_;
  bool is_known_ = false;
};

}  // namespace

std::vector<Probe> Probes(const Setup& setup) {
  const auto libraries = std::make_shared<Libraries>(setup);
  std::vector<Probe> probes = OperationProbes(setup, libraries);
  probes.push_back(FabricProbe(setup, libraries));
  if (setup.gemm) probes.push_back(OverlapProbe(setup, libraries));
  return probes;
}

std::vector<Probe> ProbesOfARank(Setup setup) {
  setup.backends.clear();
  for (const KnownLibrary& library : KnownLibraries()) setup.backends.push_back(library.name);
  setup.allow_single = true;
  return Probes(setup);
}

Case Demanding(Case one, const std::string& transport) {
  if (!one.across) return one;
  one.prepare = [prepare = one.prepare, transport,
                 library = one.backend](std::uint64_t seed) -> Prepared {
    Prepared prepared = prepare(seed);
    auto* workload = std::get_if<std::unique_ptr<Workload>>(&prepared);
    if (workload == nullptr) return prepared;
    return std::make_unique<DemandingWorkload>(std::move(*workload), transport, library);
  };
  return one;
}

UsualLibrary UsualLibraryOf(const Setup& setup) {
  const Libraries libraries(setup);
  if (HasNvidiaDriver()) return {.name = "nccl"};
  const std::optional<Skipped> no_mpi = libraries.Missing("mpi");
  if (!no_mpi) return {.name = "mpi"};
  if (setup.roster.Nodes() == 1) return {.name = "native", .instead = no_mpi->reason};
  return libraries.Missing("ofi") ? UsualLibrary{.name = "mpi"}
                                  : UsualLibrary{.name = "ofi", .instead = no_mpi->reason};
}

bool HasThreads(const std::string& library) {
  return library.empty() ? HasNvidiaDriver() : IsOnGpus(library);
}

bool Queues(const std::string& library) {
  const KnownLibrary* const known = FindLibrary(library);
  return known != nullptr && known->queues;
}

bool ChoosesBuffers(const std::string& library) {
  const KnownLibrary* const known = FindLibrary(library);
  return known != nullptr && known->chooses_buffers;
}

std::map<std::string, std::string> Software(const Setup& setup) {
  std::map<std::string, std::string> software;
  if (setup.modules == nullptr) return software;
  for (const Modules::Entry& entry : setup.modules->Entries()) {
    if (entry.module == nullptr) continue;
    software[entry.name == "ofi" ? "libfabric" : entry.name] = entry.module->version();
  }
  return software;
}

}  // namespace assay::collectives
