#include "results/catalog/own_prices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/hash.h"
#include "results/base/text.h"

namespace assay {
namespace {

constexpr double kYears = 4;
constexpr double kUtilisation = 0.8;
constexpr double kPue = 1.3;
constexpr double kUsdPerKwh = 0.12;

struct Discount {
  std::string name = {};
  double factor = 1;
};

Discount ReadDiscount(const std::string& text) {
  const auto named = NamedNumberIn(text);
  if (!named || !(named->second > 0 && named->second <= 1)) {
    throw Error(fmt::format(
        "--discount {}: give a name and what remains to be paid, above 0 and at most 1: "
        "ea=0.82 is 18 % off",
        Clean(text, 64)));
  }
  return {.name = Clean(named->first, 32), .factor = named->second};
}

void Apply(const Discount& discount, Offer& offer) {
  if (offer.purchase != "on_demand" || offer.kind == "spot" || !offer.offered) return;
  for (std::optional<double>* usd : {&offer.usd_per_hour, &offer.usd_low, &offer.usd_high}) {
    if (*usd) **usd *= discount.factor;
  }
  offer.source += fmt::format("; x {} ({})", discount.factor, discount.name);
  offer.kind = "negotiated";
  offer.is_private = true;
}

std::string WithDefault(const std::optional<double>& given, double other, std::string_view what) {
  return given ? fmt::format("{:g}{}", *given, what) : fmt::format("{:g}{} (default)", other, what);
}

}  // namespace

double UsdPerHour(const OwnedMachine& machine) {
  return machine.capex_usd / (machine.years.value_or(kYears) * kHoursAYear *
                              machine.utilisation.value_or(kUtilisation)) +
         machine.power_kw * machine.pue.value_or(kPue) * machine.usd_per_kwh.value_or(kUsdPerKwh);
}

std::string OwnedText(const OwnedMachine& machine) {
  return fmt::format("owned: {:g} USD / ({} x 8760 h x utilisation {}) + {:g} kW x PUE {} x {}",
                     machine.capex_usd, WithDefault(machine.years, kYears, " years"),
                     WithDefault(machine.utilisation, kUtilisation, ""), machine.power_kw,
                     WithDefault(machine.pue, kPue, ""),
                     WithDefault(machine.usd_per_kwh, kUsdPerKwh, " USD/kWh"));
}

Offer OwnedOffer(const OwnedMachine& machine, const std::string& provider,
                 const std::string& instance, std::string_view today) {
  return {.provider = provider,
          .seller = provider,
          .instance = instance,
          .region = "all",
          .purchase = "owned",
          .usd_per_hour = UsdPerHour(machine),
          .price_date = std::string(today),
          .date_precision = "day",
          .kind = "typed",
          .source = OwnedText(machine),
          .is_private = true};
}

Chosen OwnedPrice(const OwnedMachine& machine, const Identity& identity, std::string_view today) {
  return {.offer = OwnedOffer(machine, identity.provider.value, identity.instance.value, today),
          .why = OwnedText(machine)};
}

std::vector<std::string> UserPriceFiles() {
  const std::string folder = ConfigurationFolder();
  if (folder.empty()) return {};
  std::vector<std::string> files;
  for (const std::filesystem::path& entry : EntriesOf(folder + "/prices")) {
    if (entry.extension() == ".csv") files.push_back(entry);
  }
  return files;
}

Catalog CatalogWith(const Catalog& built_in, const PriceSources& sources) {
  Catalog catalog = built_in;
  std::vector<std::string> files = sources.files;
  if (!sources.no_user_files) {
    const std::vector<std::string> own = UserPriceFiles();
    files.insert(files.end(), own.begin(), own.end());
  }
  std::vector<Offer> offers;
  for (const std::string& path : files) {
    const std::string name = Clean(path, 1024);
    const std::string text =
        ReadText(path, kMostPriceBytes, "a price file, such as 'assay price import' writes");
    std::vector<Offer> read = ParseOffers(text, name);
    catalog.own_files.push_back({name, Sha256Hex(text), read.size()});
    std::ranges::move(read, std::back_inserter(offers));
  }
  if (!offers.empty()) {
    std::ranges::move(catalog.offers, std::back_inserter(offers));
    catalog.offers = std::move(offers);
  }
  if (!sources.as_of.empty()) {
    const auto day = FirstDay(sources.as_of);
    if (!day || sources.as_of.size() != 10) {
      throw Error(
          fmt::format("--as-of {}: give a day such as 2026-07-01", Clean(sources.as_of, 32)));
    }
    std::erase_if(catalog.offers,
                  [&](const Offer& offer) { return FirstDay(offer.price_date) > day; });
  }
  for (const std::string& text : sources.discounts) {
    const Discount discount = ReadDiscount(text);
    for (Offer& offer : catalog.offers) Apply(discount, offer);
  }
  return catalog;
}

std::string OwnFilesText(const Catalog& catalog) {
  std::string text;
  for (const PriceFile& file : catalog.own_files) {
    text += fmt::format("prices of your own: {} (sha256 {}, {})\n", file.name,
                        file.sha256.substr(0, 12), CountText(file.offers, "offer"));
  }
  return text;
}

}  // namespace assay
