// Comma-separated values by RFC 4180: quoted cells may hold commas, quotes (doubled) and line ends.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

// Rows as maps from the header's names. `source` names the text in errors. Throws Error, with the
// line, when a row has more or fewer cells than the header, or a quote is not closed.
std::vector<std::map<std::string, std::string>> ParseCsv(std::string_view text,
                                                         const std::string& source);

// One row, whose cells are asked for by column and checked. What is wrong with one is an Error that
// names source and row.
class CsvRow {
 public:
  // `cells` must outlive it; `index` counts from 0.
  CsvRow(const std::map<std::string, std::string>& cells, const std::string& source,
         std::size_t index);
  [[noreturn]] void Fail(const std::string& what) const;
  const std::string& Text(const std::string& column) const;
  // Not empty.
  const std::string& Required(const std::string& column) const;
  // Nothing for an empty cell; no number may be 0 or below.
  std::optional<double> Number(const std::string& column) const;
  std::optional<int> Integer(const std::string& column) const;
  bool Boolean(const std::string& column) const;
  std::optional<std::string> Optional(const std::string& column) const;

 private:
  const std::map<std::string, std::string>& cells_;
  std::string where_;
};

// A cell for a file that a spreadsheet may open: quoted where needed, and prefixed with ' where it
// begins with = + - @, a tab or a carriage return and isn't a number, so that it can't be a
// formula.
std::string CsvCell(std::string_view text);

}  // namespace assay
