// Tables, paragraphs and lists of the page. A `text`, a name and a sentence are plain: they are
// cleaned by Clean (results/base/text.h), shortened where they are very long, and escaped. `cells`,
// `rows` and `attributes` are HTML already and are taken as they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "results/show/column.h"

namespace assay {

inline constexpr std::string_view kNumberCell = " class=number";

// A table cell. Here and in the functions below, `attributes` begin with a space.
std::string Cell(std::string_view text, std::string_view attributes = "");
// A cell with sentences that spans several columns.
std::string WordsCell(std::string_view text, int columns);
// A row of cells, each as Cell or WordsCell made it.
std::string HtmlRow(const std::vector<std::string>& cells, std::string_view attributes = "");
// A row of headings, aligned as their columns are.
std::string HeadRow(const std::vector<Column>& columns);
// A table of rows, which scrolls sideways where the screen is narrow, by keys too. `name` is what a
// screen reader says of it.
std::string HtmlTable(std::string_view name, const std::string& rows,
                      std::string_view attributes = "");
// A paragraph.
std::string Paragraph(std::string_view text, std::string_view attributes = "");
// A list with an item for each sentence; "" where there are no sentences.
std::string ListOf(const std::vector<std::string>& sentences);

}  // namespace assay
