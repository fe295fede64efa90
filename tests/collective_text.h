// A collective in words, for tests that fail.
#pragma once

#include <fmt/format.h>

#include <string>

#include "collectives/collective.h"

namespace assay {

inline std::string ToText(const Collective& c) {
  return fmt::format("{} {} {} bytes {} in place {} root {} mode {} cache {} buffers {} algo {} {}",
                     FactsOf(c.operation).name, c.dtype, c.redop, c.bytes, c.in_place, c.root,
                     c.mode, c.cache, c.buffers, c.algorithm, c.verify);
}

}  // namespace assay
