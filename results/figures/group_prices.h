// The prices of groups of runs: what an hour of a node costs, bought in each way, and from how many
// hours a month on one way costs less than another.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/brief.h"
#include "results/figures/run_groups.h"

namespace assay {

// The prices of a group that `options` ask for, one for each way of buying; never empty.
std::vector<Chosen> PricesOf(const RunGroup& group, std::span<const RunBrief> briefs,
                             const GroupOptions& options);

// Adds the group's other ways of buying that have a price, each term of a reservation for itself,
// behind those that it has.
void AddOtherPrices(RunGroup& group, std::span<const Offer> offers);

// The hours a month from which on a way that is paid for in every hour of it, at `committed_usd` an
// hour, costs less than one at `usd` that is paid for in the hours that are used:
//   730 x committed_usd / usd
// Nothing where a month has fewer hours than that. REQUIRES: both are above 0.
std::optional<double> BreakEvenHours(double committed_usd, double usd);

}  // namespace assay
