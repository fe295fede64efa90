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

// Parses a text with a header into rows, which are maps from the header's names. A byte order mark
// and empty lines are skipped. `source` names the text in errors. Throws Error, with the line, for
// a column that is named twice, a row with more or fewer cells than the header, and a quote that is
// not closed or stands where RFC 4180 has none.
std::vector<std::map<std::string, std::string>> ParseCsv(std::string_view text,
                                                         const std::string& source);

// Calls `take` with each row in turn, for files whose rows aren't all kept. It parses, and throws,
// as ParseCsv does; rows before a faulty one have been taken by then.
void EachCsvRow(std::string_view text, const std::string& source,
                const std::function<void(std::map<std::string, std::string> row)>& take);

// One row, whose cells are asked for by column and checked. A bad cell, and a column that the
// header lacks, throw an Error that names source and row.
class CsvRow {
 public:
  // `cells` must outlive the row. `index` counts rows from 0; errors count them from 1.
  CsvRow(const std::map<std::string, std::string>& cells, const std::string& source,
         std::size_t index);
  // Throws the Error "source, row N: `what`".
  [[noreturn]] void Fail(const std::string& what) const;
  // The text of a cell, which may be empty; it lives as long as the cells.
  const std::string& Text(const std::string& column) const;
  // The text of a cell that must not be empty.
  const std::string& Required(const std::string& column) const;
  // The number in a cell, which must be above 0; nothing for an empty cell.
  std::optional<double> Number(const std::string& column) const;
  // The whole number in a cell, from 1 to 1,000,000; nothing for an empty cell.
  std::optional<int> Integer(const std::string& column) const;
  // The cell's `true` or `false`; nothing else may stand there.
  bool Boolean(const std::string& column) const;
  // The text of a cell; nothing for an empty one.
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
