// The floors of `assay coll --expect`: bus bandwidths under which a run is not well.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/file/run.h"

namespace assay {

// Parses `--expect SIZE:GBS,…` into the least bus bandwidth in GB/s, by size in bytes. Empty for ""
// and "auto". Throws Error for anything else.
std::map<std::int64_t, double> ParseFloors(const std::string& expect);

// Sentences on what falls short of --expect: a figure under a floor, a floor for whose size a sweep
// has no figure (under the size that was asked for, or the one that it was rounded down to), or a
// figure that is `low` beside what others measured.
std::vector<std::string> Shortfalls(const Run& run, const std::string& expect,
                                    const Catalog& catalog);

}  // namespace assay
