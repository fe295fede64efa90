#include "runner/core/rank_cores.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstddef>
#include <map>
#include <sstream>
#include <string>

#include "results/base/error.h"
#include "runner/core/group.h"
#include "runner/core/threads.h"

namespace assay {

std::vector<std::vector<int>> CoresByRank(Ranks& ranks) {
  const std::string own = fmt::format("{} {}", ranks.Node(), fmt::join(UsableCores(), " "));
  const std::vector<std::string> texts = GatherToAll(ranks, own);
  std::map<std::string, std::size_t> sharing;  // how many ranks may use the same
  for (const std::string& text : texts) ++sharing[text];
  std::map<std::string, std::size_t> before;
  std::vector<std::vector<int>> all;
  for (const std::string& text : texts) {
    std::istringstream words(text);
    int node = 0;
    words >> node;
    std::vector<int> cores;
    for (int core = 0; words >> core;) cores.push_back(core);
    if (cores.empty()) throw Error("a rank said that it may use no core: " + text);
    const std::size_t place = before[text]++;
    const std::size_t count = sharing[text];
    const auto at = [&](std::size_t share) {
      return cores.begin() + static_cast<std::ptrdiff_t>(cores.size() * share / count);
    };
    if (cores.size() >= count) {
      all.emplace_back(at(place), at(place + 1));
    } else {
      all.push_back({cores[place % cores.size()]});
    }
  }
  return all;
}

}  // namespace assay
