// What assay's main does with ranks, and nothing else: a worker under --worker; under a launcher
// rank 0 measures every collective and prints what came of it, and the others follow.
#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "collectives/collectives.h"
#include "results/error.h"

int main(int argc, char** argv) {
  using namespace assay;
  if (argc > 1 && std::string(argv[1]) == "--worker") return collectives::WorkerMain();
  try {
    const Modules modules = Modules::Load();
    const char* bootstrap = std::getenv("ASSAY_BOOTSTRAP");
    const collectives::JoinedRanks ranks =
        collectives::JoinRanks(modules, bootstrap == nullptr ? "" : bootstrap);
    if (ranks->Rank() != 0) {
      collectives::Follow(*ranks, modules);
      return 0;
    }
    Setup setup;
    setup.modules = &modules;
    setup.ranks = ranks.get();
    for (const Probe& probe : collectives::Probes(setup)) {
      for (const Case& one : probe.unfold(probe.defaults)) {
        fmt::print("{} {}: ", one.probe, one.backend);
        const Prepared prepared = one.prepare(/*seed=*/7);
        if (const Skipped* skipped = std::get_if<Skipped>(&prepared)) {
          fmt::print("skipped: {}; {}\n", skipped->reason, skipped->remedy);
          continue;
        }
        Workload& workload = *std::get<0>(prepared);
        const Batch batch = workload.Run(3);
        const Checked checked = workload.Verify();
        fmt::print("units {} checked {} wrong {}\n", batch.per_unit.size(), checked.checked,
                   checked.wrong);
      }
    }
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "assay: {}\n", error.what());
    return 2;
  }
}
