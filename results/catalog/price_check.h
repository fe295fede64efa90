// What `assay price check` finds wrong with a catalog: prices that contradict each other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"

namespace assay {

// One sentence for each finding, by the newest offer of each thing.
std::vector<std::string> PriceFindings(const Catalog& catalog, std::string_view today);
// The text of `assay price check`: the findings, and how many offers were checked and how old.
std::string PriceCheckText(const Catalog& catalog, std::string_view today);

}  // namespace assay
