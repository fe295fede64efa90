// What `assay coll --expect` asks for: bus bandwidths under which a run is not well.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/file/run.h"

namespace assay {

// `--expect SIZE:GBS,…`: the least bus bandwidth, GB/s, by size in bytes. Empty for "" and "auto".
// Throws Error for anything else.
std::map<std::int64_t, double> FloorsOf(const std::string& expect);

// What falls short of --expect, a sentence each: under a floor, a floor for whose size a sweep has
// no figure (asked for under that size, or rounded down to it), or `low` beside what others
// measured.
std::vector<std::string> Shortfalls(const Run& run, const std::string& expect,
                                    const Catalog& catalog);

}  // namespace assay
