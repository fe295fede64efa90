#include "results/base/names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "results/base/text.h"

namespace assay {
namespace {

bool IsDigit(char c) { return '0' <= c && c <= '9'; }
bool IsLetter(char c) { return 'a' <= c && c <= 'z'; }

// The region of an AWS zone: "us-gov-west-1" for "us-gov-west-1b", which is words, a number, and
// the letter of the zone. Local zones ("us-west-2-lax-1a") have their own prices, and more than one
// number.
std::string RegionOfAws(const std::string& text) {
  const std::vector<std::string> parts = SplitFields(text, '-');
  if (parts.size() < 3) return text;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    if (parts[i].empty() || !std::all_of(parts[i].begin(), parts[i].end(), IsLetter)) return text;
  }
  const std::string& last = parts.back();
  const bool is_zone = last.size() >= 2 && IsLetter(last.back()) &&
                       std::all_of(last.begin(), last.end() - 1, IsDigit);
  return is_zone ? text.substr(0, text.size() - 1) : text;
}

// The region of a Google Cloud zone: "us-south1" for "us-south1-ai1b", which is two words, the
// second of which ends in a number, and a third.
std::string RegionOfGcp(const std::string& text) {
  const std::vector<std::string> parts = SplitFields(text, '-');
  const bool is_zone = parts.size() == 3 && !parts[1].empty() && IsDigit(parts[1].back()) &&
                       !parts[2].empty() && IsLetter(parts[2].front());
  return is_zone ? parts[0] + '-' + parts[1] : text;
}

}  // namespace

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if ('A' <= c && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsSameName(std::string_view a, std::string_view b) { return Lower(a) == Lower(b); }

std::string NamedAs(std::string_view text, const std::vector<std::string>& names) {
  const auto same = std::find_if(names.begin(), names.end(),
                                 [&](const std::string& name) { return IsSameName(name, text); });
  return same == names.end() ? std::string(text) : *same;
}

std::string RegionNamed(std::string_view provider, std::string_view text) {
  if (IsSameName(provider, "aws")) return RegionOfAws(Lower(text));
  if (IsSameName(provider, "gcp")) return RegionOfGcp(Lower(text));
  if (IsSameName(provider, "azure")) return Lower(text);
  return std::string(text);
}

std::string DidYouMean(std::string_view text, const std::vector<std::string>& names) {
  const std::string lower = Lower(text);
  std::vector<std::string> lowered;
  for (const std::string& name : names) lowered.push_back(Lower(name));
  if (const std::string nearest = Nearest(lower, lowered); !nearest.empty()) {
    return fmt::format("did you mean {}?", NamedAs(nearest, names));
  }
  constexpr std::size_t kShown = 3;
  std::set<std::string> longer;
  for (const std::string& name : names) {
    if (!lower.empty() && Lower(name).starts_with(lower)) longer.insert(name);
  }
  if (longer.empty()) return "";
  const std::size_t shown = std::min(longer.size(), kShown);
  const auto end = std::next(longer.begin(), static_cast<std::ptrdiff_t>(shown));
  return fmt::format("did you mean {}{}?", fmt::join(longer.begin(), end, ", "),
                     longer.size() > shown ? " or another" : "");
}

std::string DidYouMeanAmong(std::string_view text, const std::vector<std::string>& names) {
  const std::string meant = DidYouMean(text, names);
  return meant.empty() ? fmt::format("there are {}", fmt::join(names, ", ")) : meant;
}

}  // namespace assay
