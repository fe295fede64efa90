// What tests/shaped_link.sh starts on each host: rank 0 times one collective over libraries in turn
// and prints a line each; the others follow. Times are the medians of operations.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "collectives/collectives.h"
#include "results/base/error.h"
#include "results/figures/stats.h"

namespace assay {
namespace {

std::string Text(const Facts& facts, const std::string& name) {
  const auto found = facts.find(name);
  if (found == facts.end()) return "-";
  if (const auto* text = std::get_if<std::string>(&found->second)) return *text;
  const auto* integer = std::get_if<std::int64_t>(&found->second);
  return integer == nullptr ? "?" : std::to_string(*integer);
}

// Arguments: PROBE BYTES NODES OPERATIONS BACKEND.
void Time(const Setup& usual, const std::vector<std::string>& words) {
  Setup setup = usual;
  setup.backends = {words.at(4)};
  for (const Probe& probe : collectives::Probes(setup)) {
    if (probe.name != words.at(0)) continue;
    Params params = probe.defaults;
    params.at("bytes") = std::int64_t{std::stoll(words.at(1))};
    params.at("nodes") = std::int64_t{std::stoll(words.at(2))};
    const Case one = probe.unfold(params).at(0);
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
    const collectives::JoinedRanks ranks = collectives::JoinRanks(modules);
    if (ranks->Rank() != 0) {
      collectives::Follow({.modules = &modules, .ranks = ranks.get()});
      return 0;
    }
    Setup setup;
    setup.modules = &modules;
    setup.ranks = ranks.get();
    Time(setup, {argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "assay: {}\n", error.what());
    return 2;
  }
}
