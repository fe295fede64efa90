// Data files that are built into the binary (cmake/Embed.cmake): ASSAY_EMBEDDED(prices_csv) is the
// std::string_view of what embed(TARGET prices_csv FILE) put there. A source
// writes ASSAY_DECLARE_EMBEDDED(prices_csv); before that, outside of all namespaces.
#pragma once

#include <string_view>

#define ASSAY_DECLARE_EMBEDDED(name)            \
  extern "C" const char assay_##name##_begin[]; \
  extern "C" const char assay_##name##_end[]
#define ASSAY_EMBEDDED(name)             \
  std::string_view(assay_##name##_begin, \
                   static_cast<std::size_t>(assay_##name##_end - assay_##name##_begin))
