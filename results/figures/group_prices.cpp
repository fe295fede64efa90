#include "results/figures/group_prices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "results/base/text.h"
#include "results/catalog/billing.h"
#include "results/catalog/own_prices.h"

namespace assay {
namespace {

// The offer for one way of buying, in the region that most runs were in among those that have one.
// What it costs in the runs' other regions is its range.
Chosen PriceIn(const RunGroup& group, std::span<const Offer> offers, const std::string& purchase) {
  std::vector<std::pair<int, std::string>> regions;  // the most runs first
  for (const auto& [region, runs] : group.regions) regions.emplace_back(-runs, region);
  std::ranges::sort(regions);
  Chosen found;
  Chosen none;
  std::vector<std::string> prices;
  for (const auto& [runs, region] : regions) {
    Identity identity = group.node.identity;
    identity.region.value = region;
    if (regions.size() > 1) identity.zone_id = {};
    identity.purchase.value = purchase;
    Chosen chosen = ChooseOffer(offers, identity);
    if (chosen.offer && chosen.instead_of) {
      chosen = {
          .nearest = chosen.offer,
          .why = fmt::format("no {} price is known there", PurchaseWords({.purchase = purchase}))};
    }
    if (!chosen.offer) {
      if (none.why.empty()) none = std::move(chosen);
      continue;
    }
    const double usd = *chosen.offer->usd_per_hour;
    prices.push_back(fmt::format("{} in {}", Usd(usd), region));
    if (!found.offer) {
      found = std::move(chosen);
      found.why = "";
      continue;
    }
    Offer& offer = *found.offer;
    offer.usd_low = std::min(offer.usd_low.value_or(*offer.usd_per_hour), usd);
    offer.usd_high = std::max(offer.usd_high.value_or(*offer.usd_per_hour), usd);
  }
  if (!found.offer) return none;
  if (prices.size() > 1) found.note = fmt::format("an hour is {}", fmt::join(prices, ", "));
  return found;
}

// What tells ways of buying apart: the model and the term.
using Way = std::pair<std::string, std::optional<int>>;
Way WayOf(const Offer& offer) { return {offer.purchase, offer.term_months}; }

}  // namespace

std::vector<Chosen> PricesOf(const RunGroup& group, std::span<const RunBrief> briefs,
                             const GroupOptions& options) {
  std::vector<Node> nodes;
  std::set<std::tuple<std::string, std::string>> types;
  std::vector<Offer> own;
  std::vector<Offer> stored;
  for (const std::size_t run : group.runs) {
    const Identity& identity = briefs[run].first.identity;
    types.emplace(identity.provider.value, identity.instance.value);
    for (const Offer& offer : briefs[run].offers) {
      (offer.is_private ? own : stored).push_back(offer);
    }
  }
  if (options.price_usd_per_hour) {
    return {{.offer = TypedOffer(*options.price_usd_per_hour, group.node.identity, options.today),
             .why = "as typed"}};
  }
  if (options.owned && options.purchases.empty()) {
    return {OwnedPrice(*options.owned, group.node.identity, options.today)};
  }
  if (types.size() > 1) {
    return {{.why = fmt::format("no one offer prices {} types; give what one node costs on average "
                                "with --price USD_PER_HOUR",
                                types.size())}};
  }
  if (options.purchases.empty() && !own.empty()) {
    if (Chosen chosen = ChooseOffer(own, group.node.identity); chosen.offer) return {chosen};
  }
  const std::span<const Offer> offers =
      options.as_run ? std::span<const Offer>(stored) : options.offers;
  if (options.purchases.empty()) return {PriceIn(group, offers, "on_demand")};
  const bool all = options.purchases == std::vector<std::string>{"all"};
  std::vector<Chosen> prices;
  for (const std::string& purchase : all ? Purchases() : options.purchases) {
    Chosen chosen = purchase == "owned" && options.owned
                        ? OwnedPrice(*options.owned, group.node.identity, options.today)
                        : PriceIn(group, offers, purchase);
    if (chosen.offer || !all) prices.push_back(std::move(chosen));
  }
  if (prices.empty()) prices.push_back(PriceIn(group, offers, "on_demand"));
  return prices;
}

void AddOtherPrices(RunGroup& group, std::span<const Offer> offers) {
  const Identity& identity = group.node.identity;
  std::map<Way, std::vector<Offer>> ways;
  for (Offer& offer : OffersFor(offers, identity.provider.value, identity.instance.value)) {
    if (offer.resource == "node") ways[WayOf(offer)].push_back(std::move(offer));
  }
  for (const Chosen& price : group.prices) {
    if (price.offer) ways.erase(WayOf(*price.offer));
  }
  for (const auto& [way, of_way] : ways) {
    Chosen chosen = PriceIn(group, of_way, way.first);
    if (chosen.offer) group.prices.push_back(std::move(chosen));
  }
}

std::optional<double> BreakEvenHours(double committed_usd, double usd) {
  const double hours = kHoursAMonth * committed_usd / usd;
  if (hours > kHoursAMonth) return std::nullopt;
  return hours;
}

}  // namespace assay
