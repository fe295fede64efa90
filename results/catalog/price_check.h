// What `assay price check` finds wrong with a catalog: prices that contradict each other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"

namespace assay {

// One sentence for each finding, by the newest offer of each thing.
std::vector<std::string> PriceFindings(const Catalog& catalog, std::string_view today);
// The text of `assay price check`: the findings, which PriceFindings returned for the same catalog
// and day, and how many offers were checked and how old they are.
std::string PriceCheckText(const Catalog& catalog, const std::vector<std::string>& findings,
                           std::string_view today);

}  // namespace assay
