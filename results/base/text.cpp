#include "results/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

namespace assay {
namespace {

// The character of UTF-8 at the front of a text: its code point, and the bytes that it takes.
// `code` is nothing, and `size` 1, where the bytes are not UTF-8 (overlong forms, surrogates and
// values past U+10FFFF are not: Unicode 15, table 3-7).
struct Character {
  std::optional<char32_t> code = {};
  std::size_t size = 1;
};

Character FirstCharacter(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {.code = lead, .size = 1};
  std::size_t size = 0;
  char32_t code = 0;
  char32_t least = 0;
  if ((lead & 0xE0U) == 0xC0) {
    size = 2, code = lead & 0x1FU, least = 0x80;
  } else if ((lead & 0xF0U) == 0xE0) {
    size = 3, code = lead & 0x0FU, least = 0x800;
  } else if ((lead & 0xF8U) == 0xF0) {
    size = 4, code = lead & 0x07U, least = 0x10000;
  }
  if (size == 0 || text.size() < size) return {};
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return {};
    code = code << 6U | (byte(i) & 0x3FU);
  }
  const bool surrogate = 0xD800 <= code && code <= 0xDFFF;
  if (code < least || code > 0x10FFFF || surrogate) return {};
  return {.code = code, .size = size};
}

// Whether a character may harm a reader: control characters, line and paragraph separators, and the
// invisible ones that turn or hide text (bidirectional marks, embeddings, overrides and isolates;
// zero-width characters).
bool IsHarmful(char32_t code) {
  return code < 0x20 || (0x7F <= code && code <= 0x9F) || code == 0x061C ||
         (0x200B <= code && code <= 0x200F) || (0x2028 <= code && code <= 0x202E) ||
         (0x2060 <= code && code <= 0x206F) || code == 0xFEFF;
}

// The number of decimals that show `digits` significant digits.
int Decimals(double value, int digits) {
  if (value == 0) return 0;
  const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value))));
  // Rounding may add a digit before the point: 9.9996 is shown as 10.00.
  const double rounded = std::abs(value) + 0.5 * std::pow(10.0, exponent - digits + 1);
  return std::max(0, digits - 1 - static_cast<int>(std::floor(std::log10(rounded))));
}

// The decimal prefix of a number of which so many significant digits are shown, and what to divide
// it by.
std::pair<double, std::string_view> PrefixOf(double value, int digits) {
  constexpr std::array<std::string_view, 7> kPrefixes = {"", "k", "M", "G", "T", "P", "E"};
  const double rounds_up = 1000 - 0.5 * std::pow(10.0, 3 - digits);  // is shown as 1000
  double divisor = 1;
  std::size_t prefix = 0;
  while (std::abs(value) / divisor >= rounds_up && prefix + 1 < kPrefixes.size()) {
    divisor *= 1000;
    ++prefix;
  }
  return {divisor, kPrefixes[prefix]};
}

}  // namespace

std::string Clean(std::string_view text, std::size_t limit) {
  std::string clean;
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    const bool bad = !character.code || IsHarmful(*character.code);
    const std::string_view shown = bad ? "?" : text.substr(0, character.size);
    if (clean.size() + shown.size() > limit) break;
    clean += shown;
    text.remove_prefix(character.size);
  }
  return clean;
}

std::string Html(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

std::string FileNamePart(std::string_view text) {
  constexpr std::size_t kLimit = 64;
  std::string part;
  for (const char c : text.substr(0, kLimit)) {
    const bool upper = 'A' <= c && c <= 'Z';
    const bool allowed =
        ('a' <= c && c <= 'z') || ('0' <= c && c <= '9') || c == '.' || c == '_' || c == '-';
    part += upper ? static_cast<char>(c - 'A' + 'a') : allowed ? c : '-';
  }
  // A part that begins with a dot is hidden or means a folder; one that begins with a dash looks
  // like an option.
  const std::size_t first = part.find_first_not_of(".-");
  if (first == std::string::npos) return "unknown";
  return part.substr(first, part.find_last_not_of(".-") - first + 1);
}

std::optional<double> NumberIn(std::string_view text) {
  double value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error != std::errc() || end != last || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::pair<std::string, double>> NamedNumberIn(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string_view::npos) return std::nullopt;
  const std::optional<double> number = NumberIn(text.substr(equals + 1));
  if (!number) return std::nullopt;
  return std::pair(std::string(text.substr(0, equals)), *number);
}

std::vector<std::string> SplitFields(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::string WithPrefix(double value, std::string_view unit) {
  if (!std::isfinite(value)) return "-";
  const auto [divisor, prefix] = PrefixOf(value, 4);
  value /= divisor;
  std::string text = fmt::format("{:.{}f}", value, Decimals(value, 4));
  if (prefix.empty() && unit.empty()) return text;
  return fmt::format("{} {}{}", text, prefix, unit);
}

std::string RangeWithPrefix(double low, double high, std::string_view unit) {
  constexpr double kNextToNothing = 1e-3;
  if (!std::isfinite(high)) return WithPrefix(low, unit) + " or more";
  const auto [divisor, prefix] = PrefixOf(high, 3);
  const auto end = [scale = divisor, high](double value) {
    if (value <= kNextToNothing * high) return std::string("0");
    const double scaled = value / scale;
    return fmt::format("{:.{}f}", scaled, Decimals(scaled, 3));
  };
  return fmt::format("{} .. {} {}{}", end(low), end(high), prefix, unit);
}

std::string BinarySize(std::int64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

std::string Percent(double ratio, bool sign) {
  if (!std::isfinite(ratio)) return "-";
  const double percent = std::round(ratio * 1000) / 10 + 0.0;  // no "-0.0"
  return sign ? fmt::format("{:+.1f} %", percent) : fmt::format("{:.1f} %", percent);
}

std::string Duration(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds < 0) return "-" + Duration(-seconds);
  if (seconds == 0) return "0 s";
  // Each bound is the least value that would be rounded up to the next unit.
  if (seconds < 999.5e-9) return fmt::format("{:.0f} ns", seconds * 1e9);
  if (seconds < 999.95e-6) return fmt::format("{:.1f} us", seconds * 1e6);
  if (seconds < 999.95e-3) return fmt::format("{:.1f} ms", seconds * 1e3);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  if (seconds >= 1e15) return fmt::format("{:.0e} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::round(seconds));
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  const auto minutes = static_cast<std::int64_t>(std::round(seconds / 60));
  return fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

std::string Usd(double usd) {
  if (!std::isfinite(usd)) return "-";
  if (usd != 0 && (std::abs(usd) < 1e-9 || std::abs(usd) >= 1e12))
    return fmt::format("{:.3e} USD", usd);
  return fmt::format("{:.{}f} USD", usd, Decimals(usd, 4));
}

void AddFew(const std::vector<std::string>& sentences, std::string_view others,
            std::vector<std::string>& notes) {
  constexpr std::size_t kShown = 5;
  for (std::size_t i = 0; i < std::min(kShown, sentences.size()); ++i) {
    notes.push_back(sentences[i]);
  }
  if (sentences.size() <= kShown) return;
  notes.push_back(fmt::format("{} more of {}", sentences.size() - kShown, others));
}

void AddNote(std::string& notes, std::string_view note) {
  if (!notes.empty()) notes += "; ";
  notes += note;
}

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t kMost = 3;
  std::string nearest;
  std::size_t least = std::min(kMost + 1, word.size());
  for (const std::string& candidate : candidates) {
    // Levenshtein's distance, one row of the table at a time.
    std::vector<std::size_t> row(word.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < candidate.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i + 1;
      for (std::size_t j = 0; j < word.size(); ++j) {
        const std::size_t substituted = diagonal + (candidate[i] == word[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substituted});
      }
    }
    if (row.back() < least) {
      least = row.back();
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace assay
