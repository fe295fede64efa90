#include "results/show/html.h"

#include <fmt/format.h>

#include "results/base/text.h"

namespace assay {
namespace {

constexpr std::size_t kMostText = 4096;

}  // namespace

std::string Cell(std::string_view text, std::string_view attributes) {
  return fmt::format("<td{}>{}</td>", attributes, Html(Clean(text, 1024)));
}

std::string WordsCell(std::string_view text, int columns) {
  return fmt::format("<td colspan={}>{}</td>", columns, Html(Clean(text, kMostText)));
}

std::string HtmlRow(const std::vector<std::string>& cells, std::string_view attributes) {
  std::string row = fmt::format("<tr{}>", attributes);
  for (const std::string& cell : cells) row += cell;
  return row + "</tr>\n";
}

std::string HeadRow(const std::vector<Column>& columns) {
  std::string row = "<tr>";
  for (const Column& column : columns) {
    row += fmt::format("<th scope=col{}>{}</th>", column.to_the_right ? kNumberCell : "",
                       Html(Clean(column.heading)));
  }
  return row + "</tr>\n";
}

std::string HtmlTable(std::string_view name, const std::string& rows, std::string_view attributes) {
  return fmt::format(
      "<div class=scroll role=region tabindex=0 aria-label=\"{}\"><table{}>\n{}</table></div>\n",
      Html(Clean(name, 512)), attributes, rows);
}

std::string Paragraph(std::string_view text, std::string_view attributes) {
  return fmt::format("<p{}>{}</p>\n", attributes, Html(Clean(text, kMostText)));
}

std::string ListOf(const std::vector<std::string>& sentences) {
  if (sentences.empty()) return "";
  std::string list = "<ul>\n";
  for (const std::string& one : sentences) {
    list += fmt::format("<li>{}</li>\n", Html(Clean(one, kMostText)));
  }
  return list + "</ul>\n";
}

}  // namespace assay
