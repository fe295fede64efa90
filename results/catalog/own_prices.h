// What a user adds to the built-in prices: files of offers, discounts, a day to look back from, and
// the cost of a machine that is owned.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"

namespace assay {

// A machine that was bought. What the flags leave out has these defaults, which are told with the
// price.
struct OwnedMachine {
  double capex_usd = 0;
  double power_kw = 0;  // of the node under load
  std::optional<double> years = {};
  std::optional<double> utilisation = {};  // the share of hours in which it works
  std::optional<double> pue = {};          // what the site draws over what the node does
  std::optional<double> usd_per_kwh = {};
};
// The cost in USD of an hour in which the machine works:
//   capex / (years x 8760 x utilisation) + kW x PUE x USD/kWh
double UsdPerHour(const OwnedMachine& machine);
// The formula of UsdPerHour with the machine's numbers, and which of them are defaults.
std::string OwnedText(const OwnedMachine& machine);
// Makes an offer of the instance at the machine's cost per hour, for all regions.
Offer OwnedOffer(const OwnedMachine& machine, const std::string& provider,
                 const std::string& instance, std::string_view today);

// The price of a node that is such a machine, whatever else has a price: what is owned may cost
// anything beside what is rented.
Chosen OwnedPrice(const OwnedMachine& machine, const Identity& identity, std::string_view today);

// What a user says of prices.
struct PriceSources {
  std::vector<std::string> files = {};      // in the catalog's format
  bool no_user_files = false;               // whether those of the user's own folder are left out
  std::string as_of = {};                   // a day: what was published later is left out
  std::vector<std::string> discounts = {};  // NAME=FACTOR, of list prices on demand
};

// The user's own price files: *.csv in assay/prices in $XDG_CONFIG_HOME, else in ~/.config, by
// name.
std::vector<std::string> UserPriceFiles();

// The catalog with what the sources add. Offers of files come before built-in ones of the same day,
// and private ones before all. Throws Error for a bad file, day or discount.
Catalog CatalogWith(const Catalog& built_in, const PriceSources& sources);

// A line for each of the user's files, with its hash: "prices of your own: mine.csv (sha256
// 0123456789ab, 3 offers)". "" where there is none.
std::string OwnFilesText(const Catalog& catalog);

}  // namespace assay
