// Counts how often a text stands in another.
#pragma once

#include <string>

namespace assay {

inline int CountOf(const std::string& what, const std::string& text) {
  int count = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

}  // namespace assay
