// Tables of the page. Every text is cleaned of what a page should not show and then escaped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace assay {

inline constexpr std::string_view kNumberCell = " class=number";

// A table cell; `attributes` begin with a space.
std::string Cell(std::string_view text, std::string_view attributes = "");
// A cell with sentences that spans several columns.
std::string WordsCell(std::string_view text, int columns);
// A row of cells.
std::string HtmlRow(const std::vector<std::string>& cells, std::string_view attributes = "");
// A row of headings, of which those whose columns hold numbers are aligned to the right.
std::string HeadRow(const std::vector<std::string>& names);
// A table that scrolls sideways where the screen is narrow, and can be scrolled by keys.
std::string HtmlTable(std::string_view name, const std::string& rows,
                      std::string_view attributes = "");
// A paragraph, and a list with an item a sentence; "" of an empty list.
std::string Paragraph(std::string_view text, std::string_view attributes = "");
std::string ListOf(const std::vector<std::string>& sentences);

}  // namespace assay
