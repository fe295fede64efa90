#include "collectives/used_transport.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <utility>

namespace assay {
namespace {

constexpr std::string_view kUnknown = "unknown (";
constexpr std::string_view kWithin = " within a node, ";
constexpr std::string_view kBetween = " between nodes";
constexpr std::string_view kRank = "rank ";
constexpr std::string_view kRanks = "ranks ";
constexpr std::string_view kNextRanks = "; ";
constexpr std::string_view kSays = ": ";

// The ranks in words: "rank 3", "ranks 0-2,4". Three or more in a row become a range. REQUIRES: the
// numbers rise.
std::string RanksText(const std::vector<int>& ranks) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < ranks.size();) {
    std::size_t end = begin + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    if (end - begin < 3) end = begin + 1;
    parts.push_back(end - begin == 1 ? std::to_string(ranks[begin])
                                     : fmt::format("{}-{}", ranks[begin], ranks[end - 1]));
    begin = end;
  }
  return fmt::format("{}{}", ranks.size() == 1 ? kRank : kRanks, fmt::join(parts, ","));
}

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

// Whether the transport contains the name as whole words, in any case of letters. What stands
// within "unknown (…)" doesn't count.
bool IsOver(std::string transport, std::string name) {
  for (std::size_t at = 0; (at = transport.find(kUnknown, at)) != std::string::npos;) {
    transport.erase(at, std::min(transport.find(')', at), transport.size() - 1) - at + 1);
  }
  for (std::string* text : {&transport, &name}) {
    for (char& c : *text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  for (std::size_t at = 0; (at = transport.find(name, at)) != std::string::npos; ++at) {
    const std::size_t end = at + name.size();
    const bool begins = at == 0 || !IsWord(transport[at - 1]) || !IsWord(name.front());
    const bool ends = end == transport.size() || !IsWord(transport[end]) || !IsWord(name.back());
    if (begins && ends) return true;
  }
  return false;
}

}  // namespace

std::string UnknownTransport(std::string_view why) { return fmt::format("{}{})", kUnknown, why); }

std::string OnTwoLevels(const std::string& within, const std::string& between) {
  if (between.empty() || within == between) return within;
  if (within.empty()) return between;
  return fmt::format("{}{}{}{}", within, kWithin, between, kBetween);
}

std::string BetweenNodes(const std::string& transport) {
  const std::size_t at = transport.find(kWithin);
  if (at == std::string::npos || !transport.ends_with(kBetween)) return transport;
  const std::size_t begin = at + kWithin.size();
  return transport.substr(begin, transport.size() - kBetween.size() - begin);
}

std::string TransportOfRanks(const std::vector<std::string>& by_rank,
                             const std::vector<int>& names) {
  std::vector<std::pair<std::string, std::vector<int>>> kinds;  // in the order of lowest ranks
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    auto kind = std::ranges::find(kinds, by_rank[rank], [](const auto& one) { return one.first; });
    if (kind == kinds.end()) kind = kinds.insert(kinds.end(), {by_rank[rank], {}});
    kind->second.push_back(names[rank]);
  }
  if (kinds.size() <= 1) return kinds.empty() ? "" : kinds.front().first;
  std::string text;
  for (const auto& [transport, ranks] : kinds) {
    text += fmt::format("{}{}{}{}", text.empty() ? "" : kNextRanks, RanksText(ranks), kSays,
                        transport.empty() ? UnknownTransport("it does not say") : transport);
  }
  return text;
}

std::optional<std::string> NotOver(const std::string& transport, const std::string& name) {
  if (!transport.starts_with(kRank) && !transport.starts_with(kRanks)) {
    if (IsOver(transport, name)) return std::nullopt;
    return fmt::format("every rank went over {}",
                       transport.empty() ? UnknownTransport("nothing is told of it") : transport);
  }
  std::vector<std::string> others;
  for (std::size_t at = 0; at < transport.size();) {
    const std::size_t end = std::min(transport.find(kNextRanks, at), transport.size());
    const std::string part = transport.substr(at, end - at);
    const std::size_t says = part.find(kSays);
    const std::string used = says == std::string::npos ? part : part.substr(says + kSays.size());
    if (!IsOver(used, name)) others.push_back(part.substr(0, says) + " went over " + used);
    at = end + kNextRanks.size();
  }
  if (others.empty()) return std::nullopt;
  return fmt::format("{}", fmt::join(others, ", "));
}

}  // namespace assay
