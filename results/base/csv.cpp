#include "results/base/csv.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "results/base/error.h"
#include "results/base/text.h"

namespace assay {
namespace {

// Reads one row after the other, and knows the line for errors.
class Reader {
 public:
  Reader(std::string_view text, const std::string& source) : text_(text), source_(source) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;  // the byte order mark of spreadsheets
  }

  // Returns the cells of the next row, or none at the end. Empty lines are skipped.
  std::vector<std::string> Row() {
    while (EndLine()) {
    }
    row_line_ = line_;
    std::vector<std::string> cells;
    if (at_ == text_.size()) return cells;
    do {
      cells.push_back(Cell());
    } while (Skip(','));
    if (!EndLine() && at_ < text_.size()) Fail("there is text after a closing quote");
    return cells;
  }

  [[noreturn]] void Fail(const std::string& what) const {
    throw Error(fmt::format("{}, line {}: {}; mend that line", source_, row_line_, what));
  }

 private:
  // Steps over the character if it is next; returns whether it was.
  bool Skip(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // Steps over the end of a line, "\n" or "\r\n", if it is next.
  bool EndLine() {
    if (text_.substr(at_, 2) == "\r\n") ++at_;
    if (!Skip('\n')) return false;
    ++line_;
    return true;
  }

  std::string Cell() {
    if (Skip('"')) return QuotedCell();
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n') {
      if (text_[at_] == '"') Fail("there is a quote inside a cell that isn't quoted");
      ++at_;
    }
    std::string_view cell = text_.substr(begin, at_ - begin);
    // A carriage return belongs to the line's end; EndLine need not look for it then.
    if (cell.ends_with('\r') && (at_ == text_.size() || text_[at_] == '\n')) cell.remove_suffix(1);
    return std::string(cell);
  }

  // Reads a cell after its opening quote: a doubled quote stands for one, and line ends are text
  // (RFC 4180).
  std::string QuotedCell() {
    std::string cell;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"' && !Skip('"')) return cell;
      if (c == '\n') ++line_;
      cell += c;
    }
    Fail("a quote is not closed");
  }

  std::string_view text_;
  const std::string& source_;
  std::size_t at_ = 0;
  int line_ = 1;
  int row_line_ = 1;
};

// Whether a cell is a plain number, which no spreadsheet takes for a formula.
bool IsNumber(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  return NumberIn(text).has_value();
}

}  // namespace

std::vector<std::map<std::string, std::string>> ParseCsv(std::string_view text,
                                                         const std::string& source) {
  std::vector<std::map<std::string, std::string>> rows;
  EachCsvRow(text, source, [&](auto row) { rows.push_back(std::move(row)); });
  return rows;
}

void EachCsvRow(std::string_view text, const std::string& source,
                const std::function<void(std::map<std::string, std::string> row)>& take) {
  Reader reader(text, source);
  const std::vector<std::string> header = reader.Row();
  if (std::set(header.begin(), header.end()).size() != header.size()) {
    reader.Fail("the header names a column twice");
  }
  for (auto cells = reader.Row(); !cells.empty(); cells = reader.Row()) {
    if (cells.size() != header.size()) {
      reader.Fail(
          fmt::format("the row has {} cells and the header has {}", cells.size(), header.size()));
    }
    std::map<std::string, std::string> row;
    for (std::size_t i = 0; i < cells.size(); ++i) row.emplace(header[i], std::move(cells[i]));
    take(std::move(row));
  }
}

CsvRow::CsvRow(const std::map<std::string, std::string>& cells, const std::string& source,
               std::size_t index)
    : cells_(cells), where_(fmt::format("{}, row {}", source, index + 1)) {}

void CsvRow::Fail(const std::string& what) const {
  throw Error(fmt::format("{}: {}", where_, what));
}

const std::string& CsvRow::Text(const std::string& column) const {
  const auto found = cells_.find(column);
  if (found == cells_.end()) Fail(fmt::format("the header lacks the column {}", column));
  return found->second;
}

const std::string& CsvRow::Required(const std::string& column) const {
  const std::string& text = Text(column);
  if (text.empty()) Fail(fmt::format("{} is empty", column));
  return text;
}

std::optional<double> CsvRow::Number(const std::string& column) const {
  const std::string& text = Text(column);
  if (text.empty()) return std::nullopt;
  const std::optional<double> value = NumberIn(text);
  if (!value || *value <= 0) {
    Fail(fmt::format("{} is '{}' and must be a number above 0", column, text));
  }
  return value;
}

std::optional<int> CsvRow::Integer(const std::string& column) const {
  const std::optional<double> value = Number(column);
  if (!value) return std::nullopt;
  if (*value > 1e6 || std::floor(*value) != *value) {
    Fail(fmt::format("{} is '{}' and must be a whole number", column, Text(column)));
  }
  return static_cast<int>(*value);
}

bool CsvRow::Boolean(const std::string& column) const {
  const std::string& text = Text(column);
  if (text != "true" && text != "false") {
    Fail(fmt::format("{} is '{}' and must be true or false", column, text));
  }
  return text == "true";
}

std::optional<std::string> CsvRow::Optional(const std::string& column) const {
  const std::string& text = Text(column);
  return text.empty() ? std::nullopt : std::optional(text);
}

std::string CsvCell(std::string_view text) {
  std::string cell;
  if (!text.empty() && std::string_view("=+-@\t\r").find(text.front()) != std::string_view::npos &&
      !IsNumber(text)) {
    cell += '\'';
  }
  cell += text;
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace assay
