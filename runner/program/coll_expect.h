// The expectations of `assay coll --expect`, below which a run is not well: floors of bus
// bandwidth, or what others measured.
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

// Sentences on what falls short of --expect; empty where nothing does. With floors these are each
// figure under its floor, and each floor for whose size (as asked for or as done) a sweep has no
// figure. With "auto" these are each figure that is `low` beside what others measured, or one
// sentence where nothing can be compared. Throws Error as ParseFloors does.
std::vector<std::string> Shortfalls(const Run& run, const std::string& expect,
                                    const Catalog& catalog);

}  // namespace assay
