// What tests/shaped_link.sh starts on each host: rank 0 times one collective over libraries in turn
// and prints a line each; the others follow. Times are the medians of operations.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "collectives/collectives.h"
#include "results/base/error.h"
#include "results/figures/stats.h"
#include "runner/cluster/cluster.h"
#include "runner/cluster/join.h"

namespace assay {
namespace {

std::string Text(const Facts& facts, const std::string& name) {
  const auto found = facts.find(name);
  if (found == facts.end()) return "-";
  if (const auto* text = std::get_if<std::string>(&found->second)) return *text;
  const auto* integer = std::get_if<std::int64_t>(&found->second);
  return integer == nullptr ? "?" : std::to_string(*integer);
}

// All that these ranks can do is collectives.
Member MemberBy(const Modules& modules) {
  return {.own_case = [probes = collectives::ProbesOfARank({.modules = &modules})](
                          const Record& asked) { return CaseLike(asked, probes).value(); }};
}

// Arguments: PROBE BYTES NODES OPERATIONS BACKEND.
void Time(Cluster& cluster, const Modules& modules, const std::vector<std::string>& words) {
  Setup setup = {.modules = &modules, .roster = cluster.WhoIsThere()};
  setup.backends = {words.at(4)};
  for (const Probe& probe : collectives::Probes(setup)) {
    if (probe.name != words.at(0)) continue;
    Params params = probe.defaults;
    params.at("bytes") = std::int64_t{std::stoll(words.at(1))};
    params.at("nodes") = std::int64_t{std::stoll(words.at(2))};
    const Case one = cluster.Placed(probe.unfold(params).at(0));
    Prepared prepared = one.prepare(/*seed=*/7);
    if (const Skipped* skipped = std::get_if<Skipped>(&prepared)) throw Error(skipped->reason);
    Workload& workload = *std::get<0>(prepared);
    std::vector<double> times;
    for (int i = 0; i < std::stoi(words.at(3)); ++i) times.push_back(workload.Run(1).time.count());
    const Checked checked = workload.Verify();
    const Facts facts = workload.Describe();
    fmt::print("{} median_s {:.6f} least_s {:.6f} wrong {} algorithm {} segment_bytes {}\n",
               one.backend, Median(times), *std::min_element(times.begin(), times.end()),
               checked.wrong, Text(facts, "algorithm"), Text(facts, "segment_bytes"));
    return;
  }
  throw Error("there is no probe " + words.at(0));
}

}  // namespace
}  // namespace assay

int main(int argc, char** argv) {
  using namespace assay;
  try {
    const Modules modules = Modules::Load();
    const JoinedRanks ranks = JoinRanks(modules);
    if (ranks->Rank() != 0) {
      FollowAsMember(*ranks, MemberBy(modules), Seconds(60));
      return 0;
    }
    const auto cluster =
        OpenCluster({.ranks = ranks.get(), .modules = &modules, .member = MemberBy(modules)});
    Time(*cluster, modules, {argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "assay: {}\n", error.what());
    return 2;
  }
}
