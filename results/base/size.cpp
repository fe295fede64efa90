#include "results/base/size.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <string>
#include <system_error>

#include "results/base/error.h"
#include "results/base/text.h"

namespace assay {

std::int64_t ParseSize(std::string_view text, std::string_view what) {
  constexpr std::string_view kPrefixes = "kmgt";
  constexpr double kMost = double{1LL << 50};
  const char* const last = text.data() + text.size();
  double size = -1;
  const auto [end, error] = std::from_chars(text.data(), last, size, std::chars_format::fixed);
  std::string unit(end, last);
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (unit.ends_with('b')) unit.pop_back();
  const std::size_t prefix = unit.empty() ? std::string_view::npos : kPrefixes.find(unit[0]);
  if (prefix != std::string_view::npos) {
    size = std::ldexp(size, 10 * (static_cast<int>(prefix) + 1));
    unit.erase(0, 1);
    if (unit == "i") unit.clear();
  }
  const bool is_number = error == std::errc() && !text.starts_with('-') && unit.empty();
  if (!is_number || !(size >= 0 && size <= kMost) || size != std::floor(size)) {
    throw Error(
        fmt::format("{} wants a size of whole bytes such as 8, 4k, 64M or 1GiB, all binary and at "
                    "most 1024T; got '{}'",
                    what, Clean(text, 32)));
  }
  return static_cast<std::int64_t>(size);
}

bool IsSize(std::string_view param) { return param == "bytes" || param.ends_with("_bytes"); }

}  // namespace assay
