#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "collectives/collectives.h"
#include "collectives/probes.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/base/text.h"

namespace assay::collectives {
namespace {

// The ranks of each group by its number; all of them as one, where there are no groups.
std::map<int, std::vector<int>> MembersOf(const std::vector<int>& groups, int ranks) {
  std::map<int, std::vector<int>> members;
  for (int rank = 0; rank < ranks; ++rank) {
    const int number = groups.empty() ? 0 : groups[static_cast<std::size_t>(rank)];
    if (number >= 0) members[number].push_back(rank);
  }
  return members;
}

// The work of a collective, which is the S of nccl-tests' algorithm bandwidth S / t; bus bandwidth
// is derived from it on reading. Sizes that are rounded down to nothing are no work.
Work WorkOf(const OperationFacts& facts, const Collective& collective, int ranks) {
  if (facts.operation == Operation::kBarrier) return {.ops = 1, .formula = "barrier/op"};
  const std::int64_t bytes = Layout(collective, ranks).SizeBytes();
  return {.bytes = bytes > 0 ? std::optional(bytes) : std::nullopt,
          .formula = fmt::format("{}/algbw", facts.name)};
}

std::vector<Case::Part> PartsOf(const OperationFacts& facts, const Params& params,
                                const std::vector<int>& groups, const std::vector<Unit>& units,
                                bool allow_single) {
  std::vector<Case::Part> parts;
  for (const auto& [number, members] : MembersOf(groups, static_cast<int>(groups.size()))) {
    Case::Part& part = parts.emplace_back();
    std::set<int> nodes;
    for (const int rank : members) {
      part.units.push_back(units[static_cast<std::size_t>(rank)]);
      nodes.insert(part.units.back().node);
    }
    part.params = params;
    part.params["group"] = std::int64_t{number};
    part.params["ranks"] = static_cast<std::int64_t>(members.size());
    part.params["nodes"] = static_cast<std::int64_t>(nodes.size());
    try {
      part.work = WorkOf(facts, CollectiveOf(facts, part.params, allow_single),
                         static_cast<int>(members.size()));
    } catch (const Error& error) {
      throw Error(fmt::format("group {} of {}: {}", number, CountText(members.size(), "rank"),
                              error.what()));
    }
  }
  std::sort(parts.begin(), parts.end(), [](const Case::Part& a, const Case::Part& b) {
    return a.units.front().rank < b.units.front().rank;
  });
  return parts;
}

std::vector<Case> CasesOf(const Setup& setup, const std::shared_ptr<Libraries>& libraries,
                          const OperationFacts& facts, const Params& params) {
  const Collective collective = CollectiveOf(facts, params, setup.allow_single);
  const auto ranks = static_cast<int>(IntegerOf(params, "ranks"));
  const auto nodes = static_cast<int>(IntegerOf(params, "nodes"));
  Case one = {.probe = std::string(facts.name), .method = 2, .params = params};
  one.work = WorkOf(facts, collective, ranks);
  one.least_batch = collective.aggregate;
  one.units = UnitsOf(setup.roster, ranks);
  one.across = {.ranks = ranks, .nodes = nodes};
  if (params.contains("split")) {
    one.across->groups = GroupsFrom(StringOf(params, "split"), ranks);
    one.parts = PartsOf(facts, params, one.across->groups, one.units, setup.allow_single);
  }
  return CasesOver(libraries, setup,
                   {.one = std::move(one),
                    .collective = collective,
                    .is_usual = [nodes](const KnownLibrary& library) {
                      return nodes > 1 ? library.on_several : library.on_one_node;
                    }});
}

}  // namespace

Params DefaultsOf(const OperationFacts& facts, std::int64_t ranks, std::int64_t nodes) {
  Params params = {{"dtype", "f32"},    {"bytes", std::int64_t{1} << 20},
                   {"ranks", ranks},    {"nodes", nodes},
                   {"mode", "latency"}, {"cache", "rewritten"},
                   {"algo", "auto"},    {"buffers", "plain"}};
  if (facts.reduces) params["redop"] = "sum";
  if (facts.rooted) params["root"] = std::int64_t{0};
  if (facts.in_place) params["placement"] = "out_of_place";
  if (facts.operation == Operation::kAlltoallv) params["spread_percent"] = std::int64_t{100};
  if (facts.operation == Operation::kBarrier) {
    for (const char* name : {"dtype", "bytes", "cache", "buffers"}) params.erase(name);
  }
  return params;
}

Collective CollectiveOf(const OperationFacts& facts, const Params& params, bool allow_single) {
  const std::string probe(facts.name);
  Collective collective = {.operation = facts.operation};
  const std::int64_t ranks = IntegerOf(params, "ranks");
  if (ranks < (allow_single ? 1 : 2) || ranks > 65536) {
    throw Error(fmt::format(
        "{}: ranks is from 2 to 65536, not {}: {}", probe, ranks,
        ranks == 1 ? "one rank has nobody to exchange with (assay coll --allow-single runs it)"
                   : "start as many as that"));
  }
  const std::int64_t nodes = IntegerOf(params, "nodes");
  if (nodes < 1 || nodes > ranks) {
    throw Error(fmt::format("{}: nodes is from 1 to ranks, not {}", probe, nodes));
  }
  collective.mode =
      WordOf(params, "mode", {"latency", "throughput", "blocking", "graph"}, probe + ": ");
  collective.algorithm = StringOf(params, "algo");
  for (const auto& [name, value] : {std::pair("unalign", &Collective::unalign),
                                    {"aggregate", &Collective::aggregate},
                                    {"channels", &Collective::channels}}) {
    if (params.contains(name)) collective.*value = static_cast<int>(IntegerOf(params, name));
  }
  if (facts.operation == Operation::kBarrier) return collective;

  collective.dtype =
      ReadDtype(StringOf(params, "dtype"), probe + ": dtype", DtypeUse::kCollectives).name;
  collective.cache = WordOf(params, "cache", {"rewritten", "rotated"}, probe + ": ");
  collective.buffers = WordOf(params, "buffers", {"plain", "registered", "shared"}, probe + ": ");
  collective.bytes = IntegerOf(params, "bytes");
  const std::int64_t element = ElementBytes(collective.dtype);
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  if (collective.bytes < element || collective.bytes > kMost || collective.bytes % element != 0) {
    throw Error(fmt::format("{}: bytes is a multiple of {} from {} to 1 TiB, not {}", probe,
                            element, element, collective.bytes));
  }
  if (facts.reduces) {
    collective.redop = WordOf(params, "redop", {"sum", "prod", "min", "max", "avg"}, probe + ": ");
  }
  if (facts.in_place) {
    collective.in_place =
        WordOf(params, "placement", {"out_of_place", "in_place"}, probe + ": ") == "in_place";
  }
  if (facts.rooted) {
    const std::int64_t root = IntegerOf(params, "root");
    if (root < 0 || root >= ranks) {
      throw Error(fmt::format("{}: root is a rank, from 0 to {}, not {}", probe, ranks - 1, root));
    }
    collective.root = static_cast<int>(root);
  }
  if (facts.operation == Operation::kAlltoallv) {
    const std::int64_t spread = IntegerOf(params, "spread_percent");
    if (spread < 0 || spread > 100) {
      throw Error(fmt::format("{}: spread_percent is from 0 to 100, not {}", probe, spread));
    }
    collective.spread_percent = static_cast<int>(spread);
  }
  return collective;
}

std::vector<Unit> UnitsOf(const Roster& roster, int ranks) {
  std::vector<Unit> units;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto at = static_cast<std::size_t>(rank);
    const int node = at < roster.nodes.size() ? roster.nodes[at] : 0;
    units.push_back({.rank = rank, .node = node, .device = 0});
  }
  return units;
}

std::int64_t UsualRanks(const Roster& roster) {
  return roster.nodes.empty() ? roster.usual_ranks : static_cast<std::int64_t>(roster.nodes.size());
}

std::vector<Probe> OperationProbes(const Setup& setup,
                                   const std::shared_ptr<Libraries>& libraries) {
  std::vector<Probe> probes;
  for (const OperationFacts& facts : Operations()) {
    Probe probe;
    probe.name = facts.name;
    probe.summary = facts.summary;
    probe.defaults = DefaultsOf(facts, UsualRanks(setup.roster), setup.roster.Nodes());
    probe.unfold = [setup, libraries, facts](const Params& params) {
      return CasesOf(setup, libraries, facts, params);
    };
    probe.backends = LibraryNames(IsAny);
    probe.absent = [libraries] { return FindAbsent(*libraries, LibraryNames(IsAny)); };
    probes.push_back(std::move(probe));
  }
  return probes;
}

}  // namespace assay::collectives
