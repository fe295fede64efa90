// The layout of tables on a terminal: columns that line up by what is shown, ink after that, and
// sentences that are wrapped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "results/show/column.h"

namespace assay {

// The ink of a text: as it is, green, red, or faint.
enum class Ink { kPlain, kGood, kBad, kDim };

// One cell, which is padded by what it shows and coloured after that.
struct Cell {
  std::string text = {};
  Ink ink = Ink::kPlain;
};

// One row, which has at most as many cells as there are columns.
struct Row {
  std::vector<Cell> cells = {};
  // A sentence, which takes the place of missing cells, or else a separate line under the second
  // cell.
  std::string sentence = {};
  Ink ink = Ink::kPlain;  // of the sentence
};

// The spaces between columns, and the width that sentences are wrapped to.
inline constexpr std::size_t kGap = 2;
inline constexpr std::size_t kLineWidth = 110;

// The number of columns that a terminal uses for a UTF-8 text.
std::size_t DisplayWidth(std::string_view text);

// Wraps a sentence to lines of at most `width` columns, all but the first indented by `indent`
// more. A longer word has a line of its own.
std::string Wrapped(const std::string& sentence, std::size_t width, std::size_t indent);

// The table as text: its headings and its rows, each line ending in a line end.
std::string TextOf(const std::vector<Column>& columns, const std::vector<Row>& rows, bool colour);

// Sentences, each made harmless, wrapped and ended by a line end, behind `before`.
std::string Lines(const std::string& before, const std::vector<std::string>& sentences);

}  // namespace assay
