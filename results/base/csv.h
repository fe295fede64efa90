// Comma-separated values by RFC 4180, in which quoted cells may hold commas, quotes (doubled) and
// line ends.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

// Parses a text with a header into rows, which are maps from the header's names. `source` names the
// text in errors. Throws Error, with the line, when a row has more or fewer cells than the header,
// or a quote is not closed.
std::vector<std::map<std::string, std::string>> ParseCsv(std::string_view text,
                                                         const std::string& source);

// The same, row by row, for files whose rows aren't all kept.
void EachCsvRow(std::string_view text, const std::string& source,
                const std::function<void(std::map<std::string, std::string> row)>& take);

// One row, whose cells are asked for by column and checked. A bad or absent cell throws an Error
// that names source and row.
class CsvRow {
 public:
  // `cells` must outlive it; `index` counts from 0.
  CsvRow(const std::map<std::string, std::string>& cells, const std::string& source,
         std::size_t index);
  [[noreturn]] void Fail(const std::string& what) const;
  const std::string& Text(const std::string& column) const;
  // The text of a cell that must not be empty.
  const std::string& Required(const std::string& column) const;
  // The number in a cell, which must be above 0; nothing for an empty cell.
  std::optional<double> Number(const std::string& column) const;
  std::optional<int> Integer(const std::string& column) const;
  bool Boolean(const std::string& column) const;
  std::optional<std::string> Optional(const std::string& column) const;

 private:
  const std::map<std::string, std::string>& cells_;
  std::string where_;
};

// The text as a cell of a file that a spreadsheet may open. It is quoted where needed, and prefixed
// with ' where it begins with = + - @, a tab or a carriage return and isn't a number, so that it
// can't be a formula.
std::string CsvCell(std::string_view text);

}  // namespace assay
