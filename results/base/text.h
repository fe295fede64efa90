// Text for people: numbers with their unit, and strings from outside made harmless. A number that
// isn't finite is "-".
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace assay {

// Makes a text safe on a terminal. Control characters, invalid UTF-8, line separators, and the
// invisible characters that turn or hide text become '?', and it is cut to at most `limit` bytes,
// between characters.
std::string Clean(std::string_view text, std::size_t limit = 256);
// Escapes a text for HTML and quoted attributes.
std::string Html(std::string_view text);
// Makes a text a part of a file name: at most 64 of [a-z0-9._-], of which the first and the last
// are neither '.' nor '-'; "unknown" where nothing is left.
std::string FileNamePart(std::string_view text);

// The finite number that the whole of a text is; nothing for any other text ("", "3 ", "nan").
std::optional<double> NumberIn(std::string_view text);
// A name with its number: "ea=0.82". Nothing for any other text, one without a name included.
std::optional<std::pair<std::string, double>> NamedNumberIn(std::string_view text);

// Splits a text into its fields: "a,,b," gives "a", "", "b". An empty field behind the last
// separator is left out.
std::vector<std::string> SplitFields(const std::string& text, char separator);

// A value with four significant digits and a decimal prefix: "712.4 TFLOP/s" for 7.124e14 and
// "FLOP/s".
std::string WithPrefix(double value, std::string_view unit);
// A range with three significant digits and the prefix of its upper end: "61.2 .. 250 GFLOP/s". An
// end of at most a thousandth of `high` is 0; with an infinite `high` it is "61.2 GFLOP/s or more".
std::string RangeWithPrefix(double low, double high, std::string_view unit);
// A size with a binary prefix where that is exact: "1 GiB" for 1073741824, but "1000 B" for 1000.
std::string BinarySize(std::int64_t bytes);
// A number with its noun: "1 core", "2 cores".
template <std::integral Number>
std::string CountText(Number number, std::string_view noun) {
  return std::to_string(number).append(" ").append(noun).append(number == 1 ? "" : "s");
}
// A ratio in per cent: "1.2 %" for 0.0123; with `sign`, "+1.2 %".
std::string Percent(double ratio, bool sign = false);
// Seconds for people: "4.1 s", "1 min 48 s", "12.3 us".
std::string Duration(double seconds);
// Dollars with four significant digits: "0.006957 USD".
std::string Usd(double usd);

// Appends a note to the notes that are there, after a semicolon.
void AddNote(std::string& notes, std::string_view note);

// Appends the first five of many sentences to `notes`, and a count of the rest in the words
// `others`: "12 more of the files that …".
void AddFew(const std::vector<std::string>& sentences, std::string_view others,
            std::vector<std::string>& notes);

// The candidate most like `word` by edit distance (at most 3, and less than its length), the first
// of several; or "".
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace assay
