// A table or price file from a stranger: refused with an Error, or read; and what CsvCell writes of
// it reads back as the same number of rows and columns.
#include <cstdint>
#include <cstdlib>

#include "results/base/csv.h"
#include "results/base/error.h"
#include "results/catalog/price.h"

namespace {

using Rows = std::vector<std::map<std::string, std::string>>;

// A first column "row" keeps rows of one empty cell from being empty lines; the others are
// numbered, since names may become alike where a formula is disarmed.
std::string Written(const Rows& rows) {
  std::string text = "row";
  for (std::size_t i = 0; i < rows.front().size(); ++i) text += ",c" + std::to_string(i);
  for (const auto& row : rows) {
    text += "\nrow";
    for (const auto& [name, cell] : row) text += ',' + assay::CsvCell(cell);
  }
  return text + '\n';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    assay::ParseOffers(text, "input");
  } catch (const assay::Error&) {
  }
  Rows rows;
  try {
    rows = assay::ParseCsv(text, "input");
  } catch (const assay::Error&) {
    return 0;
  }
  if (rows.empty()) return 0;
  const Rows again = assay::ParseCsv(Written(rows), "output");
  if (again.size() != rows.size() || again.front().size() != rows.front().size() + 1) std::abort();
  return 0;
}
