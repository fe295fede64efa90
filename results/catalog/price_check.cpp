#include "results/catalog/price_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "results/base/names.h"
#include "results/base/text.h"

namespace assay {
namespace {

// A price that is so many times the middle of the other regions', or so small a part of it, is of
// something else: of one accelerator, say, or of a month.
constexpr double kFarFromOthers = 4;
constexpr std::size_t kFewestRegions = 3;

std::string Named(const Offer& offer) {
  return fmt::format("{} {} in {}{}, {} of {}", Clean(offer.provider), Clean(offer.instance),
                     Clean(offer.region), offer.zone ? " " + Clean(*offer.zone) : "",
                     PurchaseWords(offer), offer.price_date);
}

std::string KindKey(const Offer& offer) {
  return fmt::format("{}\n{}\n{}\n{}\n{}", Lower(offer.provider), Lower(offer.instance),
                     offer.resource, offer.purchase, offer.term_months.value_or(0));
}

bool IsPriced(const Offer& offer) { return offer.offered && offer.usd_per_hour; }

// Offers on demand of the same instance in the same region, to hold others against.
using OnDemand = std::map<std::string, const Offer*>;
std::string PlaceOf(const Offer& offer) {
  return fmt::format("{}\n{}\n{}\n{}", Lower(offer.provider), Lower(offer.instance),
                     Lower(offer.region), offer.resource);
}

void CheckAgainstOnDemand(const std::vector<Offer>& offers, std::vector<std::string>& findings) {
  OnDemand on_demand;
  for (const Offer& offer : offers) {
    if (offer.purchase == "on_demand" && IsPriced(offer) && !offer.zone) {
      on_demand[PlaceOf(offer)] = &offer;
    }
  }
  for (const Offer& offer : offers) {
    const bool is_cheaper_kind = offer.purchase == "spot" || offer.purchase == "reserved";
    const auto found = on_demand.find(PlaceOf(offer));
    if (!is_cheaper_kind || !IsPriced(offer) || found == on_demand.end()) continue;
    const double full = *found->second->usd_per_hour;
    const bool is_above =
        offer.purchase == "spot" ? *offer.usd_per_hour >= full : *offer.usd_per_hour > full;
    if (!is_above) continue;
    findings.push_back(fmt::format("{}: {:g} USD/h, where on demand costs {:g}; {}", Named(offer),
                                   *offer.usd_per_hour, full,
                                   offer.purchase == "spot" ? "at that price there is no spot"
                                                            : "a commitment that costs more"));
  }
}

void CheckRegions(const std::vector<Offer>& offers, std::vector<std::string>& findings) {
  std::map<std::string, std::vector<const Offer*>> by_kind;
  for (const Offer& offer : offers) {
    if (IsPriced(offer)) by_kind[KindKey(offer)].push_back(&offer);
  }
  for (const auto& [key, alike] : by_kind) {
    std::vector<double> prices;
    std::set<std::string> regions;
    for (const Offer* offer : alike) {
      prices.push_back(*offer->usd_per_hour);
      regions.insert(offer->region);
    }
    if (regions.size() < kFewestRegions) continue;
    std::ranges::sort(prices);
    const double middle = prices[prices.size() / 2];
    for (const Offer* offer : alike) {
      const double ratio = *offer->usd_per_hour / middle;
      if (ratio <= kFarFromOthers && ratio >= 1 / kFarFromOthers) continue;
      findings.push_back(
          fmt::format("{}: {:g} USD/h is {:.3g} times the middle of {} regions ({:g}); is it the "
                      "price of a whole node for an hour?",
                      Named(*offer), *offer->usd_per_hour, ratio, regions.size(), middle));
    }
  }
}

}  // namespace

std::vector<std::string> PriceFindings(const Catalog& catalog, std::string_view today) {
  std::vector<std::string> findings;
  std::set<std::string> unknown;
  for (const Offer& offer : catalog.offers) {
    if (FirstDay(offer.price_date) > FirstDay(today)) {
      findings.push_back(fmt::format("{}: it is dated after {}", Named(offer), today));
    }
    const bool is_known =
        offer.resource != "node" ||
        FindInstance(catalog.instances, offer.provider, offer.instance) != nullptr;
    if (!is_known && unknown.insert(offer.provider + ' ' + offer.instance).second) {
      findings.push_back(
          fmt::format("{} {}: there are no facts of it, so that no figure can be "
                      "held against its network; look at the name",
                      Clean(offer.provider), Clean(offer.instance)));
    }
  }
  const std::vector<Offer> newest = NewestOffers(catalog.offers);
  CheckAgainstOnDemand(newest, findings);
  CheckRegions(newest, findings);
  return findings;
}

std::string PriceCheckText(const Catalog& catalog, const std::vector<std::string>& findings,
                           std::string_view today) {
  std::string text;
  for (const std::string& finding : findings) text += finding + '\n';
  const std::vector<Offer> newest = NewestOffers(catalog.offers);
  std::size_t undated = 0;
  std::size_t old = 0;
  std::string youngest;
  for (const Offer& offer : newest) {
    const auto day = FirstDay(offer.price_date);
    if (!day) ++undated;
    if (day && FirstDay(today) && *FirstDay(today) - *day > std::chrono::days(365)) ++old;
    if (day && (youngest.empty() || day > FirstDay(youngest))) youngest = offer.price_date;
  }
  text += fmt::format(
      "{} offers, {} of them the newest of their kind; {}; the youngest is of {}, {} "
      "of the newest are more than a year old, {} are undated\n",
      catalog.offers.size(), newest.size(),
      findings.empty() ? "nothing found" : CountText(findings.size(), "finding"),
      youngest.empty() ? "no known day" : youngest, old, undated);
  return text;
}

}  // namespace assay
