// Comma-separated values by RFC 4180: quoted cells may hold commas, quotes (doubled) and line ends.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

// Rows as maps from the header's names. `source` names the text in errors. Throws Error, with the
// line, when a row has more or fewer cells than the header, or a quote is not closed.
std::vector<std::map<std::string, std::string>> ParseCsv(std::string_view text,
                                                         const std::string& source);

// A cell for a file that a spreadsheet may open: quoted where needed, and prefixed with ' where it
// begins with = + - @, a tab or a carriage return and isn't a number, so that it can't be a
// formula.
std::string CsvCell(std::string_view text);

}  // namespace assay
