#include "runner/core/group.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <sstream>
#include <string_view>

#include "results/base/error.h"
#include "runner/core/told_number.h"

namespace assay {
namespace {

// The most bytes of one exchange over all ranks. Each way of joining ranks has a limit for texts,
// and none has a lower one.
constexpr std::size_t kMostBytes = std::size_t{16} << 20;

}  // namespace

// Each text is written behind its length, so that it may hold any character.
std::string JoinTexts(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& one : texts) joined += fmt::format("{} {}", one.size(), one);
  return joined;
}

std::vector<std::string> PartTexts(const std::string& joined) {
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < joined.size();) {
    const std::size_t space = joined.find(' ', at);
    const auto length = ToldNumber<std::size_t>(std::string_view(joined).substr(at, space - at),
                                                "a rank", "the length of a text");
    if (space == std::string::npos || length > joined.size() - space - 1) {
      throw Error("a rank told a text that ends early; report this as a bug");
    }
    texts.push_back(joined.substr(space + 1, length));
    at = space + 1 + length;
  }
  return texts;
}

std::vector<std::string> GatherToAll(Ranks& ranks, const std::string& own) {
  std::vector<std::string> all = PartTexts(ranks.Broadcast(JoinTexts(ranks.Gather(own))));
  if (all.size() != static_cast<std::size_t>(ranks.Size())) {
    throw Error(fmt::format("rank 0 passed on the texts of {} of {} ranks; report this as a bug",
                            all.size(), ranks.Size()));
  }
  return all;
}

Group::Group(Ranks& parent, int number) : parent_(parent) {
  const std::string own = fmt::format("{} {}", number, parent.Node());
  const std::vector<std::string> all = ExchangeAll(kGather, own);
  std::vector<int> nodes;  // the node of each member, as the parent counts
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    std::istringstream words(all[rank].substr(1));
    int group = 0;
    int node = 0;
    words >> group >> node;
    if (group != number) continue;
    if (static_cast<int>(rank) == parent.Rank()) rank_ = Size();
    members_.push_back(static_cast<int>(rank));
    nodes.push_back(node);
  }
  // Nodes are numbered by their lowest rank, as in the parent.
  std::set<int> before;
  for (const int node : nodes) {
    if (node == parent.Node()) break;
    before.insert(node);
  }
  node_ = static_cast<int>(before.size());
}

std::vector<int> Group::Members() const {
  const std::vector<int> all = parent_.Members();
  std::vector<int> members;
  for (const int rank : members_) members.push_back(all[static_cast<std::size_t>(rank)]);
  return members;
}

void Group::Barrier() { Exchange(kBarrier, ""); }

std::string Group::Broadcast(const std::string& text) {
  return Exchange(kBroadcast, rank_ == 0 ? text : "")[0];
}

std::vector<std::string> Group::Gather(const std::string& text) {
  std::vector<std::string> texts = Exchange(kGather, text);
  if (rank_ != 0) texts.clear();
  return texts;
}

void Group::Max(std::span<double> values) {
  const std::size_t at_once =
      kMostBytes / sizeof(double) / static_cast<std::size_t>(parent_.Size());
  while (!values.empty()) {
    const std::span<double> part = values.first(std::min(values.size(), at_once));
    std::string own(part.size_bytes(), '\0');
    std::memcpy(own.data(), part.data(), part.size_bytes());
    for (const std::string& text : Exchange(kMax, own)) {
      if (text.size() != own.size()) {
        throw Error("the ranks are out of step over a maximum; report this as a bug");
      }
      for (std::size_t i = 0; i < part.size(); ++i) {
        double value = 0;
        std::memcpy(&value, text.data() + i * sizeof(double), sizeof(double));
        part[i] = std::max(part[i], value);
      }
    }
    values = values.subspan(part.size());
  }
}

void Group::Rest() {
  for (bool all_rest = false; !all_rest;) {
    const std::vector<std::string> all = ExchangeAll(kRest, "");
    all_rest =
        std::all_of(all.begin(), all.end(), [](const auto& text) { return text[0] == kRest; });
  }
}

std::vector<std::string> Group::ExchangeAll(Kind kind, const std::string& text) {
  return GatherToAll(parent_, std::string(1, kind) + text);
}

std::vector<std::string> Group::Exchange(Kind kind, const std::string& text) {
  const std::vector<std::string> all = ExchangeAll(kind, text);
  std::vector<std::string> texts;
  for (const int member : members_) {
    const std::string& one = all[static_cast<std::size_t>(member)];
    if (one[0] == kRest) {
      throw Error(fmt::format("rank {} gave up while its group went on", member));
    }
    if (one[0] != kind) {
      throw Error(
          fmt::format("rank {} is out of step with its group; report this as a bug", member));
    }
    texts.push_back(one.substr(1));
  }
  return texts;
}

}  // namespace assay
