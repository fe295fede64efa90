#include <fmt/format.h>

#include <utility>

#include "collectives/fabric.h"
#include "collectives/probes.h"
#include "results/base/error.h"

namespace assay::collectives {
namespace {

std::vector<Case> CasesOf(const Setup& setup, const std::shared_ptr<Libraries>& libraries,
                          const Params& params) {
  const std::string& pattern = WordOf(params, "pattern", FabricPatterns(), "fabric: ");
  const std::int64_t bytes = IntegerOf(params, "bytes");
  if (bytes < 1 || bytes > std::int64_t{1} << 30) {
    throw Error(fmt::format("fabric: bytes, of one message, is from 1 to 1 GiB, not {}", bytes));
  }
  const std::int64_t nodes = IntegerOf(params, "nodes");
  if (IntegerOf(params, "ranks") != 2 || nodes < 1 || nodes > 2) {
    throw Error(
        fmt::format("fabric: a link has two ends, so ranks is 2 and nodes 1 or 2, not {} "
                    "and {}",
                    IntegerOf(params, "ranks"), nodes));
  }
  Case one = {.probe = "fabric", .params = params};
  one.work = FabricWork(pattern, bytes);
  one.units = UnitsOf(setup.roster, 2);
  one.across = {.ranks = 2, .nodes = static_cast<int>(nodes)};
  return CasesOver(libraries, setup,
                   {.one = std::move(one),
                    .collective = FabricCollective(pattern, bytes),
                    .can = HasTransport,
                    .is_usual = HasTransport});
}

}  // namespace

Probe FabricProbe(const Setup& setup, const std::shared_ptr<Libraries>& libraries) {
  return {.name = "fabric",
          .summary = "single messages and streams between two ranks",
          .defaults = {{"pattern", "pingpong"},
                       {"bytes", std::int64_t{8}},
                       {"ranks", std::int64_t{2}},
                       {"nodes", setup.roster.Nodes()}},
          .unfold = [setup,
                     libraries](const Params& params) { return CasesOf(setup, libraries, params); },
          .backends = LibraryNames(HasTransport),
          .absent = [libraries] { return FindAbsent(*libraries, LibraryNames(HasTransport)); }};
}

}  // namespace assay::collectives
