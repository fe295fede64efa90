// Ranks that do collectives over libraries which a test made, as those of the program do them over
// the libraries of its modules.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "collectives/collective.h"
#include "collectives/collectives.h"
#include "collectives/library.h"
#include "collectives/probes.h"
#include "results/base/error.h"
#include "results/file/json.h"
#include "runner/cluster/worker.h"

namespace assay {

// The params that ask for it, of so many ranks, in groups where `split` says so.
inline Params ParamsOf(const Collective& collective, int ranks, const std::string& split = {}) {
  const OperationFacts& facts = FactsOf(collective.operation);
  Params params = collectives::DefaultsOf(facts, ranks, /*nodes=*/1);
  const std::map<std::string, Value> values = {
      {"dtype", collective.dtype},
      {"bytes", collective.bytes},
      {"redop", collective.redop},
      {"placement", collective.in_place ? "in_place" : "out_of_place"},
      {"root", collective.root},
      {"mode", collective.mode},
      {"cache", collective.cache},
      {"buffers", collective.buffers},
      {"algo", collective.algorithm}};
  for (auto& [name, value] : params) {
    if (values.contains(name)) value = values.at(name);
  }
  if (collective.channels > 0) params["channels"] = std::int64_t{collective.channels};
  if (!split.empty()) params["split"] = split;
  return params;
}

inline AskedCase AskFor(const std::string& library, const Collective& collective, int ranks,
                        std::uint64_t seed = 1, const std::string& split = {}) {
  return {.on = split.empty() ? On::kAll : On::kGroups,
          .seed = seed,
          .record = {.probe = std::string(FactsOf(collective.operation).name),
                     .params = ParamsOf(collective, ranks, split),
                     .backend = library}};
}

// What a rank does that has these libraries.
inline Member MemberWith(std::vector<std::unique_ptr<Library>> libraries) {
  const auto all = std::make_shared<std::vector<std::unique_ptr<Library>>>(std::move(libraries));
  return {.own_case = [all](const Record& asked) -> Case {
    for (const std::unique_ptr<Library>& each : *all) {
      if (each->Name() != asked.backend) continue;
      const OperationFacts& facts = FactsOf(OperationFrom(asked.probe).value());
      const Collective collective =
          collectives::CollectiveOf(facts, asked.params, /*allow_single=*/true);
      const int ranks = static_cast<int>(IntegerOf(asked.params, "ranks"));
      Case one = {.probe = asked.probe, .params = asked.params};
      auto& across = one.across.emplace();
      across.ranks = ranks;
      if (asked.params.contains("split")) {
        across.groups = collectives::GroupsFrom(StringOf(asked.params, "split"), ranks);
      }
      across.join = [all, &library = *each, collective](Ranks& together, std::uint64_t seed,
                                                        const Params&) {
        return library.Prepare(collective, together, seed);
      };
      across.device = [all, &library = *each](Ranks& together) {
        return library.DeviceOf(together);
      };
      return one;
    }
    throw Error("there is no library " + asked.backend);
  }};
}

}  // namespace assay
