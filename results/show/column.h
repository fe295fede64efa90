// A column of a table, in a terminal and on a page.
#pragma once

#include <string>

namespace assay {

// One column, whose cells stand to the left or to the right.
struct Column {
  std::string heading = {};
  bool to_the_right = false;
};

}  // namespace assay
