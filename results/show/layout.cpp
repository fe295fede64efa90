#include "results/show/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "results/base/text.h"

namespace assay {
namespace {

std::string Inked(const std::string& text, Ink ink, bool colour) {
  if (!colour || ink == Ink::kPlain || text.empty()) return text;
  const char* code = ink == Ink::kGood ? "32" : ink == Ink::kBad ? "31" : "2";
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

std::string Padded(const Cell& cell, std::size_t width, bool to_the_right, bool colour) {
  const std::size_t shown = DisplayWidth(cell.text);
  const std::string space(width > shown ? width - shown : 0, ' ');
  const std::string text = Inked(cell.text, cell.ink, colour);
  return to_the_right ? space + text : text + space;
}

std::vector<std::size_t> WidthsOf(const std::vector<Column>& columns,
                                  const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const Column& column : columns) widths.push_back(DisplayWidth(column.heading));
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row.cells[i].text));
    }
  }
  return widths;
}

std::string LineOf(const std::vector<Column>& columns, const std::vector<std::size_t>& widths,
                   const Row& row, bool colour) {
  std::string line(kGap, ' ');
  std::size_t at = kGap;
  for (std::size_t i = 0; i < row.cells.size(); ++i) {
    line += Padded(row.cells[i], widths[i], columns[i].to_the_right, colour);
    line += std::string(kGap, ' ');
    at += std::max(widths[i], DisplayWidth(row.cells[i].text)) + kGap;
  }
  if (row.cells.size() == columns.size() && !row.sentence.empty()) {
    at = kGap + std::max(widths[0], DisplayWidth(row.cells[0].text)) + kGap;
    while (line.back() == ' ') line.pop_back();
    line += '\n' + std::string(at, ' ');
  }
  const std::size_t room = std::max<std::size_t>(40, kLineWidth - std::min(at, kLineWidth));
  line += Inked(Wrapped(row.sentence, room, at), row.ink, colour);
  while (line.back() == ' ') line.pop_back();
  return line + '\n';
}

}  // namespace

// Counts two columns for East Asian wide characters and emoji, and none for combining marks
// (Unicode Standard Annex 11; the blocks that matter). Invalid bytes, which Clean removes, count
// one.
std::size_t DisplayWidth(std::string_view text) {
  struct Range {
    char32_t first = 0;
    char32_t last = 0;
  };
  constexpr std::array<Range, 9> kWide = {{{0x1100, 0x115F},
                                           {0x2E80, 0x303E},
                                           {0x3041, 0xA4CF},
                                           {0xAC00, 0xD7A3},
                                           {0xF900, 0xFAFF},
                                           {0xFE30, 0xFE6F},
                                           {0xFF00, 0xFF60},
                                           {0x1F300, 0x1FAFF},
                                           {0x20000, 0x3FFFD}}};
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t code = size == 1 ? lead : lead & (0x7FU >> size);
    for (std::size_t j = 1; j < size && i + j < text.size(); ++j) {
      code = code << 6U | (static_cast<unsigned char>(text[i + j]) & 0x3FU);
    }
    const bool combining = 0x300 <= code && code <= 0x36F;
    const bool wide = std::any_of(kWide.begin(), kWide.end(), [&](const Range& range) {
      return range.first <= code && code <= range.last;
    });
    width += combining ? 0 : wide ? 2 : 1;
    i += size;
  }
  return width;
}

std::string Wrapped(const std::string& sentence, std::size_t width, std::size_t indent) {
  std::string text;
  std::size_t used = 0;
  std::size_t begin = 0;
  while (begin < sentence.size()) {
    const std::size_t end = std::min(sentence.find(' ', begin), sentence.size());
    const std::string word = sentence.substr(begin, end - begin);
    const std::size_t word_width = DisplayWidth(word);
    if (used > 0 && used + 1 + word_width > width) {
      text += '\n' + std::string(indent, ' ');
      used = 0;
    } else if (used > 0) {
      text += ' ';
      ++used;
    }
    text += word;
    used += word_width;
    begin = end + 1;
  }
  return text;
}

std::string TextOf(const std::vector<Column>& columns, const std::vector<Row>& rows, bool colour) {
  const std::vector<std::size_t> widths = WidthsOf(columns, rows);
  Row heading;
  for (const Column& column : columns) heading.cells.push_back({column.heading, Ink::kDim});
  std::string text = LineOf(columns, widths, heading, colour);
  for (const Row& row : rows) text += LineOf(columns, widths, row, colour);
  return text;
}

std::string Lines(const std::string& before, const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) {
    text +=
        before + Wrapped(Clean(sentence, 4096), kLineWidth - before.size(), before.size()) + '\n';
  }
  return text;
}

}  // namespace assay
