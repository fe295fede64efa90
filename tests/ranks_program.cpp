// A program that does what assay's main does with ranks, and nothing else. It is a worker under
// --worker; under a launcher rank 0 measures every collective and prints the outcome, and the
// others follow. With
// --groups, every second rank is one group and the rest another, each of which does an all-reduce
// by every library of the module mpi.
#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "collectives/collectives.h"
#include "collectives/library.h"
#include "results/base/error.h"
#include "runner/cluster/cluster.h"
#include "runner/cluster/join.h"
#include "runner/core/group.h"

namespace {

// All that these ranks can do is collectives.
assay::Member MemberBy(const assay::Modules& modules) {
  return {.own_case = [probes = assay::collectives::ProbesOfARank({.modules = &modules})](
                          const assay::Record& asked) {
    if (auto one = assay::CaseLike(asked, probes)) return *std::move(one);
    throw assay::Error(fmt::format("this rank knows no {} by {}", asked.probe, asked.backend));
  }};
}

void RunGroups(assay::Ranks& ranks, const assay::Modules& modules) {
  using namespace assay;
  const int number = ranks.Rank() % 2;
  Group group(ranks, number);
  for (const auto& library : modules.Find("mpi")->libraries()) {
    // Each group has a size of its own, and one of them a root.
    const Collective collective = {
        .operation = number == 0 ? Operation::kAllReduce : Operation::kReduce,
        .bytes = (number + 1) * std::int64_t{100'000}};
    const Prepared prepared = library->Prepare(collective, group, /*seed=*/7);
    Workload& workload = *std::get<0>(prepared);
    const Batch batch = workload.Run(3);
    const Checked checked = workload.Verify();
    group.Rest();
    std::string outcome =
        fmt::format("{} group {} units {} checked {} wrong {}\n", library->Name(), number,
                    batch.per_unit.size(), checked.checked, checked.wrong);
    if (group.Rank() != 0) outcome.clear();  // which alone is told the whole outcome
    for (const std::string& text : ranks.Gather(outcome)) fmt::print("{}", text);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace assay;
  if (argc > 1 && std::string(argv[1]) == "--worker") return WorkerMain(MemberBy);
  try {
    const Modules modules = Modules::Load();
    const char* bootstrap = std::getenv("ASSAY_BOOTSTRAP");
    const JoinedRanks ranks = JoinRanks(modules, bootstrap == nullptr ? "" : bootstrap);
    if (argc > 1 && std::string(argv[1]) == "--groups") {
      RunGroups(*ranks, modules);
      if (ranks->Rank() != 0) ranks->Broadcast("");  // rank 0's leave
      return 0;
    }
    if (ranks->Rank() != 0) {
      FollowAsMember(*ranks, MemberBy(modules), Seconds(60));
      return 0;
    }
    const auto cluster =
        OpenCluster({.ranks = ranks.get(), .modules = &modules, .member = MemberBy(modules)});
    const Setup setup = {.modules = &modules, .roster = cluster->WhoIsThere()};
    for (const Probe& probe : collectives::Probes(setup)) {
      for (const Case& one : probe.unfold(probe.defaults)) {
        fmt::print("{} {}: ", one.probe, one.backend);
        const Prepared prepared = cluster->Placed(one).prepare(/*seed=*/7);
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
