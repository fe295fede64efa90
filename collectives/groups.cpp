#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "collectives/collectives.h"
#include "results/base/error.h"
#include "results/base/text.h"

namespace assay::collectives {
namespace {

// A whole number as nccl-tests reads it; nothing for anything else.
std::optional<int> NumberFrom(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return std::nullopt;
  text.remove_prefix(begin);
  int base = 10;
  const auto has = [&](std::string_view a, std::string_view b) {
    return text.starts_with(a) || text.starts_with(b);
  };
  if (has("0x", "0X")) base = 16;
  if (has("0b", "0B")) base = 2;
  if (base != 10) text.remove_prefix(2);
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

}  // namespace

std::vector<int> GroupsFrom(const std::string& expression, int ranks) {
  const auto refuse = [&]() -> Error {
    return Error(fmt::format(
        "--split wants AND, OR, MOD or DIV and a number, such as 'MOD 8', or the group (or -) of "
        "each of {} ranks with commas between; got '{}'",
        ranks, Clean(expression, 64)));
  };
  std::vector<int> groups;
  if (expression.find(',') != std::string::npos) {
    for (const std::string& word : SplitFields(expression, ',')) {
      const std::optional<int> number = word == "-" ? -1 : NumberFrom(word);
      if (!number) throw refuse();
      groups.push_back(*number);
    }
    const bool any =
        std::any_of(groups.begin(), groups.end(), [](int group) { return group >= 0; });
    if (static_cast<int>(groups.size()) != ranks || !any) throw refuse();
    return groups;
  }
  std::string upper = expression;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const auto& [name, sign] :
       {std::pair("AND", '&'), {"OR", '|'}, {"MOD", '%'}, {"DIV", '/'}}) {
    const bool is_named = upper.starts_with(name);
    if (!is_named && !upper.starts_with(sign)) continue;
    const std::optional<int> number =
        NumberFrom(std::string_view(upper).substr(is_named ? std::string_view(name).size() : 1));
    if (!number || (*number == 0 && (sign == '%' || sign == '/'))) break;
    for (int rank = 0; rank < ranks; ++rank) {
      groups.push_back(sign == '&'   ? rank & *number
                       : sign == '|' ? rank | *number
                       : sign == '%' ? rank % *number
                                     : rank / *number);
    }
    return groups;
  }
  throw refuse();
}

}  // namespace assay::collectives
