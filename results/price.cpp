#include "results/price.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "results/csv.h"
#include "results/embedded.h"
#include "results/error.h"
#include "results/hash.h"
#include "results/text.h"

ASSAY_DECLARE_EMBEDDED(instances_csv);
ASSAY_DECLARE_EMBEDDED(prices_csv);
ASSAY_DECLARE_EMBEDDED(devices_csv);

namespace assay {
namespace {

constexpr std::array kPurchases = {"on_demand",      "spot", "reserved", "savings_plan",
                                   "capacity_block", "dws",  "owned",    "custom"};
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

// The first day that 2026, 2026-11 or 2026-11-21 may mean; nothing for anything else.
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

bool IsAsPreciseAsItSays(const std::string& date, const std::string& precision) {
  if (precision == kUndated) return date == kUndated;
  if (!FirstDay(date)) return false;
  if (precision == "day") return date.size() == 10;
  if (precision == "month") return date.size() == 7;
  if (precision == "year") return date.size() == 4;
  return precision == "not_before";
}

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
  if (std::find(kPurchases.begin(), kPurchases.end(), offer.purchase) == kPurchases.end()) {
    row.Fail(fmt::format("purchase '{}' must be one of {}", offer.purchase,
                         fmt::join(kPurchases, ", ")));
  }
  if (!IsAsPreciseAsItSays(offer.price_date, offer.date_precision)) {
    row.Fail(fmt::format("price_date '{}' is not a date of precision '{}'", offer.price_date,
                         offer.date_precision));
  }
  if (offer.instance.find('(') != std::string::npos) {
    row.Fail(fmt::format("'{}' names no instance; a claim is not an offer", offer.instance));
  }
  CheckPrice(row, offer);
  return offer;
}

// What makes two offers the same.
auto KeyOf(const Offer& offer) {
  return std::tie(offer.provider, offer.seller, offer.instance, offer.region, offer.zone,
                  offer.resource, offer.purchase, offer.term_months, offer.price_date);
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
  // The column of each dtype. All products of 8-bit floating point run at one rate, with scales of
  // blocks too; fp4 is that of blocks, there being no other.
  constexpr std::array<std::pair<const char*, const char*>, 11> kPeaks = {{
      {"f64", "f64_tflops"},
      {"f32", "f32_tflops"},
      {"tf32", "tf32_tflops"},
      {"bf16", "bf16_tflops"},
      {"f16", "f16_tflops"},
      {"fp8_e4m3", "fp8_tflops"},
      {"fp8_e5m2", "fp8_tflops"},
      {"fp8_e5m2_e4m3", "fp8_tflops"},
      {"mxfp8", "fp8_tflops"},
      {"int8", "int8_tops"},
      {"nvfp4", "fp4_tflops"},
  }};
  DeviceFacts facts = {.name = row.Required("name"),
                       .peak_clock_mhz = row.Number("peak_clock_mhz"),
                       .power_w = row.Number("power_w"),
                       .source = row.Required("source")};
  std::istringstream match(row.Required("match"));
  for (std::string name; std::getline(match, name, '|');) facts.match.push_back(name);
  for (const auto& [dtype, column] : kPeaks) {
    if (const std::optional<double> tera = row.Number(column)) {
      facts.peak_flops[dtype] = *tera * 1e12;
    }
  }
  if (const std::optional<double> giga = row.Number("memory_gb_per_s")) {
    facts.memory_bytes_per_s = *giga * 1e9;
  }
  return facts;
}

bool IsNewer(const Offer& a, const Offer& b) {
  return FirstDay(a.price_date) > FirstDay(b.price_date);  // nothing is older than any day
}

bool HasPrice(const Offer& offer) {
  return offer.offered && offer.usd_per_hour && offer.resource == "node";
}

bool IsIn(const Offer& offer, const Identity& identity) {
  return (offer.region == kEverywhere || offer.region == identity.region.value) &&
         (!offer.zone || *offer.zone == identity.zone_id.value);
}

// The newest dated offer of that purchase where the machine is. It may say "not offered".
std::optional<Offer> Newest(const std::vector<Offer>& newest_first, const Identity& identity,
                            const std::string& purchase) {
  for (const Offer& offer : newest_first) {
    const bool fits = offer.purchase == purchase && IsIn(offer, identity) &&
                      FirstDay(offer.price_date) && (HasPrice(offer) || !offer.offered);
    if (fits) return offer;
  }
  return std::nullopt;
}

// The priced offer that is most like what was looked for: region first, then on-demand, then age.
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

std::string PurchaseWords(const Offer& offer) {
  std::string words = offer.purchase;
  std::replace(words.begin(), words.end(), '_', ' ');
  if (offer.term_months) words += fmt::format(" {} months", *offer.term_months);
  return words;
}

std::string UsdPerHourText(const Offer& offer) {
  if (!offer.offered) return "not offered";
  if (offer.usd_per_hour) return fmt::format("{:.4f}", *offer.usd_per_hour);
  return fmt::format("{:.4f} to {:.4f}", offer.usd_low.value_or(0), offer.usd_high.value_or(0));
}

const InstanceFacts* FindInstance(const Catalog& catalog, const std::string& provider,
                                  const std::string& instance) {
  const auto found = std::find_if(catalog.instances.begin(), catalog.instances.end(),
                                  [&](const InstanceFacts& facts) {
                                    return facts.provider == provider && facts.instance == instance;
                                  });
  return found == catalog.instances.end() ? nullptr : &*found;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(c < 128 ? std::tolower(c) : c); });
  return text;
}

// Columns as wide as their widest cell, two spaces apart; the numbers of `right` to the right.
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

// "8 x H100 (80 GiB each), 192 vCPU, 2048 GiB memory, efa 3200 Gb/s, 28610 GiB local NVMe".
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

}  // namespace

const Catalog& Catalog::BuiltIn() {
  static const Catalog catalog = {
      .instances =
          ReadRows<InstanceFacts>(ASSAY_EMBEDDED(instances_csv), "instances.csv", ReadInstance),
      .offers = ParseOffers(ASSAY_EMBEDDED(prices_csv), "prices.csv"),
      .devices = ReadRows<DeviceFacts>(ASSAY_EMBEDDED(devices_csv), "devices.csv", ReadDevice),
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
  std::vector<Offer> offers = ReadRows<Offer>(csv, source, ReadOffer);
  std::set<decltype(KeyOf(offers[0]))> keys;
  for (const Offer& offer : offers) {
    if (!keys.insert(KeyOf(offer)).second) {
      throw Error(fmt::format("{}: {} {} in {} has two {} offers of {}; keep one", source,
                              offer.provider, offer.instance, offer.region, offer.purchase,
                              offer.price_date));
    }
  }
  return offers;
}

std::vector<Offer> OffersFor(std::span<const Offer> offers, const std::string& provider,
                             const std::string& instance) {
  std::vector<Offer> found;
  std::copy_if(offers.begin(), offers.end(), std::back_inserter(found), [&](const Offer& offer) {
    return offer.provider == provider && offer.instance == instance;
  });
  std::stable_sort(found.begin(), found.end(), IsNewer);
  return found;
}

Chosen ChooseOffer(std::span<const Offer> offers, const Identity& identity) {
  const std::vector<Offer> newest_first =
      OffersFor(offers, identity.provider.value, identity.instance.value);
  for (const Offer& offer : newest_first) {
    if (offer.is_private && HasPrice(offer)) return {.offer = offer, .why = "a price of your own"};
  }
  const std::string& detected = identity.purchase.value;
  const std::optional<Offer> as_detected = Newest(newest_first, identity, detected);
  if (as_detected && as_detected->offered) {
    return {.offer = as_detected,
            .why = fmt::format("{} in {}, as detected", PurchaseWords(*as_detected),
                               as_detected->region)};
  }
  const std::optional<Offer> on_demand = Newest(newest_first, identity, "on_demand");
  if (on_demand && on_demand->offered) {
    return {.offer = on_demand,
            .why = fmt::format("on demand in {}, since {}", on_demand->region,
                               detected == "unknown"
                                   ? "how it was bought is not known"
                                   : fmt::format("no {} price is known there", detected))};
  }
  const std::optional<Offer> nearest = NearestOffer(newest_first, identity);
  std::string why = fmt::format("no price is known for {} {} in region {}", identity.provider.value,
                                identity.instance.value, identity.region.value);
  if (on_demand) why += ", where it is not sold on demand";
  if (nearest) {
    why += fmt::format("; the nearest is {} USD per hour {} in {}, {}", UsdPerHourText(*nearest),
                       PurchaseWords(*nearest), nearest->region, nearest->price_date);
  }
  return {.nearest = nearest, .why = why + "; give one with --price USD_PER_HOUR"};
}

Offer TypedOffer(double usd_per_hour, const Identity& identity, std::string_view today) {
  if (!std::isfinite(usd_per_hour) || usd_per_hour <= 0 || usd_per_hour > kMostUsdPerHour) {
    throw Error(
        fmt::format("--price {}: give the USD per hour of one node, above 0", usd_per_hour));
  }
  const std::string& purchase = identity.purchase.value;
  const bool given = identity.purchase.how == "flag";
  if (given && std::find(kPurchases.begin(), kPurchases.end(), purchase) == kPurchases.end()) {
    throw Error(
        fmt::format("--purchase {}: give one of {}", purchase, fmt::join(kPurchases, ", ")));
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

std::string PriceListTable(const Catalog& catalog, const std::string& filter,
                           std::string_view today) {
  std::vector<std::string> words;
  std::istringstream stream(Lower(filter));
  for (std::string word; stream >> word;) words.push_back(word);
  std::vector<std::vector<std::string>> rows = {
      {"provider", "instance", "accelerators", "region", "purchase", "USD/h", "price date"}};
  for (const Offer& offer : catalog.offers) {
    const InstanceFacts* facts = FindInstance(catalog, offer.provider, offer.instance);
    const std::string accelerators =
        facts == nullptr ? "-"
                         : fmt::format("{} x {}", facts->accelerator_count, facts->accelerator);
    const std::string searched =
        Lower(fmt::format("{} {} {} {} {} {}", offer.provider, offer.instance, accelerators,
                          offer.region, offer.purchase, PurchaseWords(offer)));
    const bool matches = std::all_of(words.begin(), words.end(), [&](const std::string& word) {
      return searched.find(word) != std::string::npos;
    });
    if (!matches) continue;
    rows.push_back({offer.provider, offer.instance, accelerators, offer.region,
                    PurchaseWords(offer), UsdPerHourText(offer), PriceAge(offer, today)});
  }
  if (rows.size() == 1) {
    throw Error(fmt::format("no offer matches '{}'; 'assay price list' shows all {}", Clean(filter),
                            catalog.offers.size()));
  }
  constexpr std::size_t kUsdColumn = 5;
  return Table(rows, kUsdColumn) +
         fmt::format(
             "{} of {} offers, each per hour of a whole node; 'assay price show PROVIDER "
             "INSTANCE' names their sources\n",
             rows.size() - 1, catalog.offers.size());
}

std::string PriceShowText(const Catalog& catalog, const std::string& provider,
                          const std::string& instance, std::string_view today) {
  const InstanceFacts* facts = FindInstance(catalog, provider, instance);
  const std::vector<Offer> offers = OffersFor(catalog.offers, provider, instance);
  if (facts == nullptr && offers.empty()) {
    std::vector<std::string> instances;
    for (const InstanceFacts& each : catalog.instances) {
      if (each.provider == provider) instances.push_back(each.instance);
    }
    const std::string nearest = Nearest(instance, instances);
    throw Error(fmt::format("nothing is known of {} {}; {}", Clean(provider), Clean(instance),
                            nearest.empty() ? "'assay price list' shows what is"
                                            : fmt::format("did you mean {}?", nearest)));
  }
  std::string text = fmt::format("{} {}\n", provider, instance);
  if (facts != nullptr) {
    text += fmt::format("  {}\n  facts: {}\n", FactsText(*facts), facts->source);
  }
  for (const Offer& offer : offers) {
    text += fmt::format("\n  {} USD per hour, {}, {}, {}\n    source: {}\n", UsdPerHourText(offer),
                        PurchaseWords(offer), offer.region, PriceAge(offer, today), offer.source);
  }
  if (offers.empty()) text += "\n  no price is known; 'assay run --price USD_PER_HOUR' takes one\n";
  return text;
}

}  // namespace assay
