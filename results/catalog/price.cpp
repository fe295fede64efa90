#include "results/catalog/price.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <deque>
#include <functional>
#include <iterator>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "results/base/csv.h"
#include "results/base/dtype.h"
#include "results/base/embedded.h"
#include "results/base/error.h"
#include "results/base/hash.h"
#include "results/base/names.h"
#include "results/base/text.h"
#include "results/file/nodes.h"

ASSAY_DECLARE_EMBEDDED(instances_csv);
ASSAY_DECLARE_EMBEDDED(prices_csv);
ASSAY_DECLARE_EMBEDDED(devices_csv);
ASSAY_DECLARE_EMBEDDED(billing_csv);

namespace assay {
namespace {

constexpr double kMostUsdPerHour = 1e6;
constexpr std::string_view kEverywhere = "all";
constexpr std::string_view kUndated = "undated";

template <class Item, class Read>
std::vector<Item> ReadRows(std::string_view csv, const std::string& source, const Read& read) {
  std::vector<Item> items;
  const std::vector<std::map<std::string, std::string>> rows = ParseCsv(csv, source);
  for (std::size_t i = 0; i < rows.size(); ++i) items.push_back(read(CsvRow(rows[i], source, i)));
  return items;
}

// Whether a date is written as its precision says: a month, for instance, has no day.
bool IsAsPreciseAsItSays(const std::string& date, const std::string& precision) {
  if (precision == kUndated) return date == kUndated;
  if (!FirstDay(date)) return false;
  if (precision == "day") return date.size() == 10;
  if (precision == "month") return date.size() == 7;
  if (precision == "year") return date.size() == 4;
  return precision == "not_before";
}

// Checks that what is paid at the start of a term is included in the price of each hour, since P
// would lack it otherwise.
void CheckUpfront(const CsvRow& row, const Offer& offer) {
  constexpr double kMostHoursAMonth = 744;
  if (offer.upfront_usd.value_or(0) <= 0) return;
  if (!offer.term_months) row.Fail("upfront_usd needs the term_months that it is paid for");
  const double share = *offer.upfront_usd / (*offer.term_months * kMostHoursAMonth);
  if (offer.usd_per_hour.value_or(offer.usd_low.value_or(0)) < share) {
    row.Fail("usd_per_hour must hold the hour's share of upfront_usd");
  }
}

// Checks the rules for prices of one row: what is offered has one, and what isn't has none.
void CheckPrice(const CsvRow& row, const Offer& offer) {
  const bool any = offer.usd_per_hour || offer.usd_low || offer.usd_high || offer.upfront_usd;
  if (!offer.offered && any) row.Fail("what is not offered has no price");
  if (offer.offered && !offer.usd_per_hour && !(offer.usd_low && offer.usd_high)) {
    row.Fail("an offer needs usd_per_hour, or usd_low and usd_high");
  }
  const double low = offer.usd_low.value_or(0);
  const double high = offer.usd_high.value_or(kMostUsdPerHour);
  const double middle = offer.usd_per_hour.value_or(low);
  if (low > middle || middle > high) {
    row.Fail(fmt::format("prices must ascend from usd_low to usd_high and stay below {} USD",
                         kMostUsdPerHour));
  }
}

Offer ReadOffer(const CsvRow& row) {
  Offer offer = {.provider = row.Required("provider"),
                 .seller = row.Required("seller"),
                 .instance = row.Required("instance"),
                 .region = row.Required("region"),
                 .zone = row.Optional("zone"),
                 .resource = row.Required("resource"),
                 .purchase = row.Required("purchase"),
                 .offered = row.Boolean("offered"),
                 .term_months = row.Integer("term_months"),
                 .upfront_usd = row.Number("upfront_usd"),
                 .usd_per_hour = row.Number("usd_per_hour"),
                 .usd_low = row.Number("usd_low"),
                 .usd_high = row.Number("usd_high"),
                 .price_date = row.Required("price_date"),
                 .date_precision = row.Required("date_precision"),
                 .kind = row.Required("kind"),
                 .source = row.Required("source"),
                 .is_private = row.Boolean("private")};
  if (std::ranges::find(Purchases(), offer.purchase) == Purchases().end()) {
    row.Fail(fmt::format("purchase '{}' must be one of {}", offer.purchase,
                         fmt::join(Purchases(), ", ")));
  }
  if (!IsAsPreciseAsItSays(offer.price_date, offer.date_precision)) {
    row.Fail(fmt::format("price_date '{}' is not a date of precision '{}'", offer.price_date,
                         offer.date_precision));
  }
  if (offer.instance.find('(') != std::string::npos) {
    row.Fail(fmt::format("'{}' names no instance; a claim is not an offer", offer.instance));
  }
  CheckPrice(row, offer);
  CheckUpfront(row, offer);
  return offer;
}

// The key by which two offers are the same.
auto KeyOf(const Offer& offer) {
  return std::tie(offer.provider, offer.seller, offer.instance, offer.region, offer.zone,
                  offer.resource, offer.purchase, offer.term_months, offer.upfront_usd,
                  offer.price_date);
}

std::vector<Offer> ReadOffers(std::string_view csv, const std::string& source,
                              const std::function<void(const std::string& why)>& refuse) {
  std::deque<Offer> offers;  // whose elements stay where they are, as the keys want it
  std::set<decltype(KeyOf(offers[0]))> keys;
  std::size_t index = 0;
  EachCsvRow(csv, source, [&](const auto& cells) {
    try {
      const CsvRow row(cells, source, index++);
      offers.push_back(ReadOffer(row));
      const Offer& offer = offers.back();
      if (!keys.insert(KeyOf(offer)).second) {
        const std::string what =
            fmt::format("{}: {} {} in {} has two {} offers of {}; keep one", source, offer.provider,
                        offer.instance, offer.region, offer.purchase, offer.price_date);
        offers.pop_back();
        throw Error(what);
      }
    } catch (const Error& error) {
      refuse(error.what());
    }
  });
  return {std::make_move_iterator(offers.begin()), std::make_move_iterator(offers.end())};
}

InstanceFacts ReadInstance(const CsvRow& row) {
  return {.provider = row.Required("provider"),
          .instance = row.Required("instance"),
          .accelerator = row.Required("accelerator"),
          .accelerator_count = row.Integer("accelerator_count").value_or(0),
          .accelerator_memory_gib = row.Number("accelerator_memory_gib"),
          .vcpus = row.Integer("vcpus"),
          .memory_gib = row.Number("memory_gib"),
          .network_gbps = row.Number("network_gbps"),
          .network_kind = row.Text("network_kind"),
          .local_nvme_gib = row.Number("local_nvme_gib"),
          .source = row.Required("source")};
}

DeviceFacts ReadDevice(const CsvRow& row) {
  DeviceFacts facts = {.name = row.Required("name"),
                       .peak_clock_mhz = row.Number("peak_clock_mhz"),
                       .power_w = row.Number("power_w"),
                       .source = row.Required("source")};
  std::istringstream match(row.Required("match"));
  for (std::string name; std::getline(match, name, '|');) facts.match.push_back(name);
  for (const DtypeFacts& dtype : Dtypes()) {
    if (dtype.peak.empty()) continue;
    if (const std::optional<double> tera = row.Number(std::string(dtype.peak))) {
      facts.peak_flops[std::string(dtype.name)] = *tera * 1e12;
    }
  }
  if (const std::optional<double> giga = row.Number("memory_gb_per_s")) {
    facts.memory_bytes_per_s = *giga * 1e9;
  }
  return facts;
}

bool IsNewer(const Offer& a, const Offer& b) {
  return FirstDay(a.price_date) > FirstDay(b.price_date);  // no date counts as the oldest
}

bool HasPrice(const Offer& offer) {
  return offer.offered && offer.usd_per_hour && offer.resource == "node";
}

bool IsInRegion(const Offer& offer, const Identity& identity) {
  return offer.region == kEverywhere ||
         offer.region == RegionNamed(offer.provider, identity.region.value);
}

bool IsIn(const Offer& offer, const Identity& identity) {
  return IsInRegion(offer, identity) && (!offer.zone || *offer.zone == identity.zone_id.value);
}

// What is sold, and how: all that tells an offer from others but its date.
std::string ThingOf(const Offer& offer) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", Lower(offer.provider), offer.seller,
                     Lower(offer.instance), offer.region, offer.zone.value_or(""), offer.resource,
                     offer.purchase, offer.term_months.value_or(0), offer.upfront_usd.value_or(0),
                     offer.is_private);
}

// One offer for a machine whose zone isn't known, of those of the zones of its region: the middle
// price, in the range of all.
Offer OverZones(std::vector<Offer> zones) {
  std::ranges::stable_sort(zones, {}, [](const Offer& offer) { return *offer.usd_per_hour; });
  Offer offer = zones[(zones.size() - 1) / 2];
  offer.usd_low = zones.front().usd_low.value_or(*zones.front().usd_per_hour);
  offer.usd_high = zones.back().usd_high.value_or(*zones.back().usd_per_hour);
  if (zones.size() > 1) {
    offer.zone.reset();
    offer.source += fmt::format("; the middle of {} zones", zones.size());
  }
  return offer;
}

// The newest dated offer of that purchase for the machine's region, and a private one before all
// others. It may say "not offered". Where prices are of zones alone and the machine's isn't known,
// the newest of each zone together are the offer.
std::optional<Offer> Newest(const std::vector<Offer>& newest_first, const Identity& identity,
                            const std::string& purchase) {
  const bool knows_zone = !identity.zone_id.value.empty() && identity.zone_id.value != "unknown";
  const Offer* best = nullptr;
  std::vector<Offer> zones;
  std::set<std::string> seen;
  for (const Offer& offer : newest_first) {
    const bool fits = offer.purchase == purchase && FirstDay(offer.price_date) &&
                      (HasPrice(offer) || !offer.offered);
    if (!fits) continue;
    if (IsIn(offer, identity)) {
      if (best == nullptr || (offer.is_private && !best->is_private)) best = &offer;
    } else if (!knows_zone && offer.zone && HasPrice(offer) && IsInRegion(offer, identity) &&
               seen.insert(*offer.zone).second) {
      zones.push_back(offer);
    }
  }
  if (best != nullptr) return *best;
  if (zones.empty()) return std::nullopt;
  return OverZones(std::move(zones));
}

// The priced offer that is nearest to what was looked for: by region first, then on-demand, then
// age.
std::optional<Offer> NearestOffer(const std::vector<Offer>& newest_first,
                                  const Identity& identity) {
  const Offer* best = nullptr;
  const auto likeness = [&](const Offer& offer) {
    return std::tuple(FirstDay(offer.price_date).has_value(), IsIn(offer, identity),
                      offer.purchase == "on_demand");
  };
  for (const Offer& offer : newest_first) {
    if (HasPrice(offer) && (best == nullptr || likeness(offer) > likeness(*best))) best = &offer;
  }
  return best == nullptr ? std::nullopt : std::optional(*best);
}

std::string Spaced(std::string purchase) {
  std::replace(purchase.begin(), purchase.end(), '_', ' ');
  return purchase;
}

// A price with every digit that a price list has: "55.04", "113.9328", "6.88".
std::string Digits(double usd) {
  if (usd >= 1e12) return fmt::format("{:.3e}", usd);
  std::string text = fmt::format("{:.4f}", usd);
  const std::size_t least = text.find('.') + 3;
  while (text.size() > least && text.back() == '0') text.pop_back();
  return text;
}

std::string UsdPerHourText(const Offer& offer) {
  if (!offer.offered) return "not offered";
  if (offer.usd_per_hour) return fmt::format("{:.4f}", *offer.usd_per_hour);
  return fmt::format("{:.4f} to {:.4f}", offer.usd_low.value_or(0), offer.usd_high.value_or(0));
}

// What stands behind the price of an offer: its range, and what is paid at its start.
std::string RangeText(const Offer& offer) {
  std::string text;
  if (offer.usd_per_hour && offer.usd_low && offer.usd_high) {
    text += fmt::format(" ({:.4f} to {:.4f})", *offer.usd_low, *offer.usd_high);
  }
  if (offer.upfront_usd) text += fmt::format(" ({} USD at the start)", Digits(*offer.upfront_usd));
  return text;
}

std::string RegionWords(const std::string& region) {
  return region == kEverywhere ? "all regions" : region;
}

// Chooses the offer in the machine's region; none where neither the detected purchase nor on demand
// has a price there.
Chosen ChooseAt(const std::vector<Offer>& newest_first, const Identity& identity) {
  const std::string& detected = identity.purchase.value;
  if (const auto offer = Newest(newest_first, identity, detected); offer && offer->offered) {
    return {.offer = offer, .why = "bought as detected"};
  }
  const std::optional<Offer> on_demand = Newest(newest_first, identity, "on_demand");
  if (!on_demand || !on_demand->offered) return {};
  if (detected == "unknown") {
    return {.offer = on_demand, .why = "how it was bought is not known, so on demand is taken"};
  }
  return {
      .offer = on_demand,
      .instead_of = detected,
      .why = fmt::format("no {} price is known there, so dollars are on demand", Spaced(detected))};
}

// The spread of prices for a machine whose region is not known; empty where the region doesn't
// matter.
Chosen SpreadOver(const std::vector<Offer>& newest_first, const Identity& identity) {
  std::set<std::string> regions;
  for (const Offer& offer : newest_first) regions.insert(offer.region);
  PriceSpread spread;
  std::set<std::string> purchases;
  bool matters = false;
  for (const std::string& region : regions) {
    Identity there = identity;
    there.region.value = region;
    const Chosen chosen = ChooseAt(newest_first, there);
    if (!chosen.offer) continue;
    const double usd = *chosen.offer->usd_per_hour;
    spread.usd_low = spread.regions.empty() ? usd : std::min(spread.usd_low, usd);
    spread.usd_high = std::max(spread.usd_high, usd);
    spread.regions.push_back(region);
    purchases.insert(Spaced(chosen.offer->purchase));
    matters = matters || chosen.offer->region != kEverywhere;
  }
  if (!matters) return {};
  const std::string usd =
      spread.usd_low < spread.usd_high
          ? fmt::format("{} to {}", Digits(spread.usd_low), Digits(spread.usd_high))
          : Digits(spread.usd_low);
  constexpr std::size_t kShown = 3;
  std::string places;
  for (std::size_t i = 0; i < std::min(spread.regions.size(), kShown); ++i) {
    const std::string& region = spread.regions[i];
    places += (i == 0 ? "" : ", ") + (region == kEverywhere ? "all others" : region);
  }
  if (spread.regions.size() > kShown) {
    places += fmt::format(" and {} more", spread.regions.size() - kShown);
  }
  std::string why = fmt::format(
      "the region is not known; a node costs {} USD/h {} in {}; give its price with --price "
      "USD_PER_HOUR",
      usd, fmt::join(purchases, " or "), places);
  return {.spread = std::move(spread), .why = std::move(why)};
}

std::vector<std::string> ProvidersOf(const Catalog& catalog) {
  std::set<std::string> providers;
  for (const InstanceFacts& facts : catalog.instances) providers.insert(facts.provider);
  return {providers.begin(), providers.end()};
}

std::vector<std::string> InstancesOf(const Catalog& catalog, const std::string& provider) {
  std::vector<std::string> instances;
  for (const InstanceFacts& facts : catalog.instances) {
    if (IsSameName(facts.provider, provider)) instances.push_back(facts.instance);
  }
  return instances;
}

// The sentence for somebody who asked for an instance that is not in the catalog.
std::string WhatIsKnown(const Catalog& catalog, const std::string& provider,
                        const std::string& instance) {
  const std::vector<std::string> instances = InstancesOf(catalog, provider);
  if (instances.empty()) {
    const std::vector<std::string> providers = ProvidersOf(catalog);
    const std::string meant = DidYouMean(provider, providers);
    return meant.empty() ? fmt::format("providers are {}", fmt::join(providers, ", ")) : meant;
  }
  if (const std::string meant = DidYouMean(instance, instances); !meant.empty()) return meant;
  for (const InstanceFacts& facts : catalog.instances) {
    if (!IsSameName(facts.instance, instance)) continue;
    return fmt::format("it is sold by {}: 'assay price show {} {}'", facts.provider, facts.provider,
                       facts.instance);
  }
  return fmt::format("'assay price list {}' shows what is", Lower(provider));
}

// A sentence on the words that no offer has, and what they may have been meant to be.
std::string UnmatchedWords(const Catalog& catalog, const std::vector<std::string>& words) {
  std::set<std::string> names;
  for (const Offer& offer : catalog.offers) {
    names.insert({offer.provider, offer.instance, offer.region, offer.purchase});
  }
  std::string text;
  for (const std::string& word : words) {
    const bool is_known = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return Lower(name).find(word) != std::string::npos;
    });
    const std::string meant =
        is_known ? "" : DidYouMean(word, std::vector<std::string>(names.begin(), names.end()));
    if (!meant.empty()) text += fmt::format("; '{}': {}", Clean(word), meant);
  }
  return text;
}

// A table whose columns are as wide as their widest cell, two spaces apart; column `right` is
// aligned to the right.
std::string Table(const std::vector<std::vector<std::string>>& rows, std::size_t right) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i == right ? fmt::format("{:>{}}  ", row[i], widths[i])
                         : fmt::format("{:<{}}  ", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

// The facts of an instance in words: "8 x H100 (80 GiB each), 192 vCPU, 2048 GiB memory, efa 3200
// Gb/s, 28610 GiB local NVMe".
std::string FactsText(const InstanceFacts& facts) {
  std::string text = fmt::format("{} x {}", facts.accelerator_count, facts.accelerator);
  const auto add = [&](const char* format, const auto& value) {
    if (value) text += fmt::format(fmt::runtime(format), *value);
  };
  add(" ({:g} GiB each)", facts.accelerator_memory_gib);
  add(", {} vCPU", facts.vcpus);
  add(", {:g} GiB memory", facts.memory_gib);
  if (!facts.network_kind.empty()) text += ", " + facts.network_kind;
  add(" {:g} Gb/s", facts.network_gbps);
  add(", {:g} GiB local NVMe", facts.local_nvme_gib);
  return text;
}

std::string AcceleratorsText(const Catalog& catalog, const Offer& offer) {
  const InstanceFacts* facts = FindInstance(catalog.instances, offer.provider, offer.instance);
  return facts == nullptr ? "-"
                          : fmt::format("{} x {}", facts->accelerator_count, facts->accelerator);
}

}  // namespace

const Catalog& Catalog::BuiltIn() {
  static const Catalog catalog = {
      .instances =
          ReadRows<InstanceFacts>(ASSAY_EMBEDDED(instances_csv), "instances.csv", ReadInstance),
      .offers = ParseOffers(ASSAY_EMBEDDED(prices_csv), "prices.csv"),
      .devices = ReadRows<DeviceFacts>(ASSAY_EMBEDDED(devices_csv), "devices.csv", ReadDevice),
      .billing = ParseBilling(ASSAY_EMBEDDED(billing_csv), "billing.csv"),
      .sha256 = Sha256Hex(ASSAY_EMBEDDED(prices_csv))};
  return catalog;
}

const DeviceFacts* FindDevice(std::span<const DeviceFacts> devices, std::string_view name) {
  for (const DeviceFacts& facts : devices) {
    if (std::find(facts.match.begin(), facts.match.end(), name) != facts.match.end()) return &facts;
  }
  return nullptr;
}

std::vector<Offer> ParseOffers(std::string_view csv, const std::string& source) {
  return ReadOffers(csv, source, [](const std::string& why) { throw Error(why); });
}

std::vector<Offer> ParseOffersLeniently(std::string_view csv, const std::string& source,
                                        const std::function<void(const std::string& why)>& refuse) {
  return ReadOffers(csv, source, [&](const std::string& why) {
    // The row's number would make a reason of its own of each.
    const std::size_t colon = why.find(": ");
    refuse(colon == std::string::npos ? why : why.substr(colon + 2));
  });
}

std::optional<std::chrono::sys_days> FirstDay(std::string_view date) {
  const std::size_t size = date.size();
  if (size != 4 && size != 7 && size != 10) return std::nullopt;
  const auto digits = [&](std::size_t at, std::size_t count) {
    int value = -1;
    const char* const begin = date.data() + at;
    const auto [end, error] = std::from_chars(begin, begin + count, value);
    return error == std::errc() && end == begin + count ? value : -1;
  };
  if ((size >= 7 && date[4] != '-') || (size == 10 && date[7] != '-')) return std::nullopt;
  const int month = size >= 7 ? digits(5, 2) : 1;
  const int day = size == 10 ? digits(8, 2) : 1;
  if (month < 1 || day < 1) return std::nullopt;
  const std::chrono::year_month_day whole(std::chrono::year(digits(0, 4)),
                                          std::chrono::month(static_cast<unsigned>(month)),
                                          std::chrono::day(static_cast<unsigned>(day)));
  if (!whole.ok() || whole.year() < std::chrono::year(2000)) return std::nullopt;
  return std::chrono::sys_days(whole);
}

const InstanceFacts* FindInstance(std::span<const InstanceFacts> instances,
                                  std::string_view provider, std::string_view instance) {
  const auto found = std::ranges::find_if(instances, [&](const InstanceFacts& facts) {
    return IsSameName(facts.provider, provider) && IsSameName(facts.instance, instance);
  });
  return found == instances.end() ? nullptr : &*found;
}

std::vector<Offer> OffersFor(std::span<const Offer> offers, const std::string& provider,
                             const std::string& instance) {
  std::vector<Offer> found;
  std::copy_if(offers.begin(), offers.end(), std::back_inserter(found), [&](const Offer& offer) {
    return IsSameName(offer.provider, provider) && IsSameName(offer.instance, instance);
  });
  std::stable_sort(found.begin(), found.end(), IsNewer);
  return found;
}

std::vector<Offer> NewestOffers(std::span<const Offer> offers) {
  std::map<std::string, std::size_t> newest;
  for (std::size_t i = 0; i < offers.size(); ++i) {
    const auto [found, is_new] = newest.emplace(ThingOf(offers[i]), i);
    if (!is_new && IsNewer(offers[i], offers[found->second])) found->second = i;
  }
  std::vector<Offer> kept;
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (newest.at(ThingOf(offers[i])) == i) kept.push_back(offers[i]);
  }
  return kept;
}

std::vector<Offer> OffersToKeep(std::span<const Offer> offers, const Identity& identity) {
  std::vector<Offer> kept =
      NewestOffers(OffersFor(offers, identity.provider.value, identity.instance.value));
  if (identity.region.value == "unknown") return kept;
  const auto is_here = [&](const Offer& offer) { return IsInRegion(offer, identity); };
  if (std::ranges::any_of(kept, is_here)) std::erase_if(kept, std::not_fn(is_here));
  return kept;
}

const std::vector<std::string>& Purchases() {
  static const std::vector<std::string> all = {"on_demand",      "spot", "reserved", "savings_plan",
                                               "capacity_block", "dws",  "owned",    "custom"};
  return all;
}

std::string PurchaseWords(const Offer& offer) {
  std::string words = Spaced(offer.purchase);
  if (offer.term_months) words += " " + CountText(*offer.term_months, "month");
  return words;
}

Chosen ChooseOffer(std::span<const Offer> offers, const Identity& identity) {
  const std::vector<Offer> newest_first =
      OffersFor(offers, identity.provider.value, identity.instance.value);
  for (const Offer& offer : newest_first) {
    const bool is_typed = offer.is_private && offer.kind == "typed" && HasPrice(offer);
    if (is_typed) return {.offer = offer, .why = "a price of your own"};
  }
  const bool is_somewhere = identity.region.value == "unknown";
  if (is_somewhere) {
    if (Chosen spread = SpreadOver(newest_first, identity); spread.spread) return spread;
  }
  if (Chosen chosen = ChooseAt(newest_first, identity); chosen.offer) return chosen;
  const std::optional<Offer> nearest = NearestOffer(newest_first, identity);
  std::string why = fmt::format("no price is known for {} {} in {}", identity.provider.value,
                                identity.instance.value,
                                is_somewhere ? "any region" : "region " + identity.region.value);
  if (newest_first.empty() && identity.instance.value != "unknown") {
    std::vector<std::string> names;
    for (const Offer& offer : offers) {
      if (IsSameName(offer.provider, identity.provider.value)) names.push_back(offer.instance);
    }
    if (const std::string meant = DidYouMean(identity.instance.value, names); !meant.empty()) {
      why += fmt::format(" ({})", meant);
    }
  }
  if (Newest(newest_first, identity, "on_demand")) why += ", where it is not sold on demand";
  if (nearest) {
    why += fmt::format("; the nearest is {} USD/h {} in {}, {}", UsdPerHourText(*nearest),
                       PurchaseWords(*nearest), nearest->region, nearest->price_date);
  }
  return {.nearest = nearest, .why = why + "; give one with --price USD_PER_HOUR"};
}

std::optional<double> UnderOnDemand(const Offer& offer, std::span<const Offer> offers) {
  if (!HasPrice(offer)) return std::nullopt;
  for (const Offer& other : OffersFor(offers, offer.provider, offer.instance)) {
    const bool is_full_price = other.purchase == "on_demand" && other.region == offer.region &&
                               !other.zone && FirstDay(other.price_date);
    if (!is_full_price) continue;
    if (!HasPrice(other)) return std::nullopt;
    return 1 - *offer.usd_per_hour / *other.usd_per_hour;
  }
  return std::nullopt;
}

std::optional<double> UsdPerNodeHour(const Chosen& price) {
  if (!price.offer || !price.offer->offered) return std::nullopt;
  return price.offer->usd_per_hour;
}

std::string OffTheList(double typed_usd_per_hour, const Chosen& listed) {
  constexpr double kLeast = 0.5;
  constexpr double kMost = 1.5;
  const std::optional<Offer>& offer = listed.offer ? listed.offer : listed.nearest;
  if (!offer && !listed.spread) return "";
  const double low = listed.spread ? listed.spread->usd_low : offer->usd_per_hour.value_or(0);
  const double high = listed.spread ? listed.spread->usd_high : low;
  if (kLeast * low <= typed_usd_per_hour && typed_usd_per_hour <= kMost * high) return "";
  const double from = typed_usd_per_hour < low ? low : high;
  return fmt::format(
      "{} USD/h is {:.3g} times the {} that is listed{}; give the USD per hour of one whole node",
      Digits(typed_usd_per_hour), typed_usd_per_hour / from, Digits(from),
      listed.spread ? ""
                    : fmt::format(" {} in {}", PurchaseWords(*offer), RegionWords(offer->region)));
}

std::string PriceLine(const Chosen& price, std::span<const Node> nodes, std::string_view today) {
  const std::optional<double> usd = UsdPerNodeHour(price);
  if (!usd) return "price: none" + (price.why.empty() ? "" : "; " + price.why);
  const Offer& offer = *price.offer;
  std::string text = fmt::format("price: {} USD/h a node", Digits(*usd));
  if (const int gpus = nodes.empty() ? 0 : AcceleratorsOf(nodes.front()); gpus > 0) {
    text += fmt::format(" = {} x {} a GPU", gpus, Digits(*usd / gpus));
  }
  if (nodes.size() > 1) {
    text += fmt::format(", {} for {} nodes", Digits(*usd * static_cast<double>(nodes.size())),
                        nodes.size());
  }
  text += fmt::format(", {}, {}, {}", PurchaseWords(offer), RegionWords(offer.region),
                      today.empty() ? offer.price_date : PriceAge(offer, today));
  if (offer.usd_low && offer.usd_high) {
    text += fmt::format(", range {} to {}", Digits(*offer.usd_low), Digits(*offer.usd_high));
  }
  if (offer.upfront_usd.value_or(0) > 0) {
    text += fmt::format(", of which {} USD are paid at the start", Digits(*offer.upfront_usd));
  }
  if (!price.why.empty()) text += "; " + price.why;
  if (!price.note.empty()) text += "; note: " + price.note;
  return text;
}

Offer TypedOffer(double usd_per_hour, const Identity& identity, std::string_view today) {
  if (!std::isfinite(usd_per_hour) || usd_per_hour <= 0 || usd_per_hour > kMostUsdPerHour) {
    throw Error(
        fmt::format("--price {}: give the USD per hour of one node, above 0", usd_per_hour));
  }
  const std::string& purchase = identity.purchase.value;
  const bool given = identity.purchase.how == "flag";
  if (given && std::ranges::find(Purchases(), purchase) == Purchases().end()) {
    throw Error(
        fmt::format("--purchase {}: give one of {}", purchase, fmt::join(Purchases(), ", ")));
  }
  return {.provider = identity.provider.value,
          .seller = identity.provider.value,
          .instance = identity.instance.value,
          .region = identity.region.value,
          .purchase = given ? purchase : "custom",
          .usd_per_hour = usd_per_hour,
          .price_date = std::string(today),
          .date_precision = "day",
          .kind = "typed",
          .source = "typed with --price",
          .is_private = true};
}

std::string PriceAge(const Offer& offer, std::string_view today) {
  const std::optional<std::chrono::sys_days> from = FirstDay(offer.price_date);
  const std::optional<std::chrono::sys_days> now = FirstDay(today);
  if (!from || !now) return std::string(kUndated);
  const bool later = offer.date_precision == "not_before";
  const std::string date = offer.price_date + (later ? " or later" : "");
  const auto days = (*now - *from).count();
  if (days < 0) return fmt::format("{} (dated after {})", date, today);
  return fmt::format("{} ({}{} {} old)", date, offer.date_precision == "day" ? "" : "at most ",
                     days, days == 1 ? "day" : "days");
}

std::vector<Offer> OffersMatching(const Catalog& catalog, const std::string& filter) {
  std::vector<std::string> words;
  std::istringstream stream(Lower(filter));
  for (std::string word; stream >> word;) words.push_back(word);
  std::vector<Offer> matching;
  for (const Offer& offer : NewestOffers(catalog.offers)) {
    const std::string searched = Lower(fmt::format(
        "{} {} {} {} {} {}", offer.provider, offer.instance, AcceleratorsText(catalog, offer),
        offer.region, offer.purchase, PurchaseWords(offer)));
    const bool matches = std::all_of(words.begin(), words.end(), [&](const std::string& word) {
      return searched.find(word) != std::string::npos;
    });
    if (matches) matching.push_back(offer);
  }
  if (matching.empty()) {
    throw Error(fmt::format("no offer matches '{}'{}; 'assay price list' shows all {}",
                            Clean(filter), UnmatchedWords(catalog, words),
                            NewestOffers(catalog.offers).size()));
  }
  return matching;
}

std::string PriceListTable(const Catalog& catalog, const std::string& filter,
                           std::string_view today) {
  std::vector<std::vector<std::string>> rows = {
      {"provider", "instance", "accelerators", "region", "purchase", "USD/h", "price date"}};
  for (const Offer& offer : OffersMatching(catalog, filter)) {
    rows.push_back({offer.provider, offer.instance, AcceleratorsText(catalog, offer),
                    offer.region + (offer.zone ? " " + *offer.zone : ""), PurchaseWords(offer),
                    UsdPerHourText(offer), PriceAge(offer, today)});
  }
  constexpr std::size_t kUsdColumn = 5;
  return Table(rows, kUsdColumn) +
         fmt::format(
             "{} of {}, the newest of each kind, each per hour of a whole node; 'assay price show "
             "PROVIDER INSTANCE' names their sources and has the older ones\n",
             rows.size() - 1, CountText(NewestOffers(catalog.offers).size(), "offer"));
}

std::vector<Offer> KnownOffers(const Catalog& catalog, const std::string& provider,
                               const std::string& instance) {
  std::vector<Offer> offers = OffersFor(catalog.offers, provider, instance);
  if (offers.empty() && FindInstance(catalog.instances, provider, instance) == nullptr) {
    throw Error(fmt::format("nothing is known of {} {}; {}", Clean(provider), Clean(instance),
                            WhatIsKnown(catalog, provider, instance)));
  }
  return offers;
}

std::string PriceShowText(const Catalog& catalog, const std::string& provider,
                          const std::string& instance, std::string_view today) {
  const InstanceFacts* facts = FindInstance(catalog.instances, provider, instance);
  const std::vector<Offer> offers = KnownOffers(catalog, provider, instance);
  std::string text =
      fmt::format("{} {}\n", facts == nullptr ? offers.front().provider : facts->provider,
                  facts == nullptr ? offers.front().instance : facts->instance);
  if (facts != nullptr) {
    text += fmt::format("  {}\n  facts: {}\n", FactsText(*facts), facts->source);
  }
  text += BillingLines(catalog.billing, provider, instance);
  for (const Offer& offer : offers) {
    const std::optional<double> under =
        offer.purchase == "on_demand" ? std::nullopt : UnderOnDemand(offer, offers);
    text += fmt::format("\n  {} USD per hour{}, {}, {}{}, {}{}\n    source: {}\n",
                        UsdPerHourText(offer), RangeText(offer), PurchaseWords(offer), offer.region,
                        offer.zone ? " " + *offer.zone : "", PriceAge(offer, today),
                        under && *under > 0 ? ", " + Percent(*under) + " under on demand" : "",
                        offer.source);
  }
  if (offers.empty()) text += "\n  no price is known; 'assay run --price USD_PER_HOUR' takes one\n";
  return text;
}

}  // namespace assay
