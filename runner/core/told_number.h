// Reading numbers that ranks tell each other.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <system_error>

#include "results/base/error.h"
#include "results/base/text.h"

namespace assay {

// Reads a number, which must be the whole of `text`. Throws Error for any other text, with who told
// it and what it should have been: "rank 3 told 'x' for the number of its process; report this as a
// bug".
template <class Number>
Number ToldNumber(std::string_view text, std::string_view who, std::string_view what) {
  Number number = {};
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && stopped == end) return number;
  throw Error(fmt::format("{} told '{}' for {}; report this as a bug", who, Clean(text, 32), what));
}

}  // namespace assay
