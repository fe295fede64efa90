// Prices and facts of instances and devices: the data that is built into the binary, and the choice
// of the offer behind a dollar figure.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/billing.h"
#include "results/file/run.h"

namespace assay {

// The facts of an instance type: a row of instances.csv.
struct InstanceFacts {
  std::string provider = {};
  std::string instance = {};
  std::string accelerator = {};
  int accelerator_count = 0;
  std::optional<double> accelerator_memory_gib = {};
  std::optional<int> vcpus = {};
  std::optional<double> memory_gib = {};
  std::optional<double> network_gbps = {};
  std::string network_kind = {};
  std::optional<double> local_nvme_gib = {};
  std::string source = {};
};

// The data sheet of a device: a row of devices.csv. Peaks are by dtype ("bf16") in FLOP/s, int8 in
// OP/s: dense, with matrix units.
struct DeviceFacts {
  std::string name = {};
  std::vector<std::string> match = {};  // NVML names or PCI ids ("10de:2330")
  std::map<std::string, double> peak_flops = {};
  std::optional<double> memory_bytes_per_s = {};
  std::optional<double> peak_clock_mhz = {};  // the clock at which peak_flops holds
  std::optional<double> power_w = {};
  std::string source = {};
};

// A file of prices that a user added.
struct PriceFile {
  std::string name = {};
  std::string sha256 = {};
  std::size_t offers = 0;
};

// The data together: built in, and a user's own prices beside (own_prices.h).
struct Catalog {
  std::vector<InstanceFacts> instances = {};
  std::vector<Offer> offers = {};
  std::vector<DeviceFacts> devices = {};
  std::vector<BillingRule> billing = {};
  std::string sha256 = {};  // the hash of prices.csv
  std::vector<PriceFile> own_files = {};
  // The data built into this binary, parsed once. The program asks for it in one place: who needs
  // a catalog is handed one, so that a user's own can stand beside it.
  static const Catalog& BuiltIn();
};

// The instance with that name, in capitals or small letters, or null.
const InstanceFacts* FindInstance(std::span<const InstanceFacts> instances,
                                  std::string_view provider, std::string_view instance);

// The device that calls itself `name` (an NVML name or PCI id), or null.
const DeviceFacts* FindDevice(std::span<const DeviceFacts> devices, std::string_view name);

// The largest file of offers that is read: some 350,000 rows, which take half a gigabyte.
inline constexpr std::int64_t kMostPriceBytes = std::int64_t{32} << 20;

// Reads prices.csv, which has one offer a row. Its columns are the keys of `offers` in
// results/FORMAT.md; region `all` is one price everywhere. Throws Error, with source and row, for
// one that breaks a rule: no price may be 0, what isn't offered has no price, the purchase must be
// known, there must be a source, the date must be as precise as it says, and no offer may be there
// twice.
std::vector<Offer> ParseOffers(std::string_view csv, const std::string& source);

// ParseOffers, except that a row which breaks a rule doesn't throw: `refuse` is called with what is
// wrong with it, and the other rows are read. An offer that is there twice is refused, too.
std::vector<Offer> ParseOffersLeniently(std::string_view csv, const std::string& source,
                                        const std::function<void(const std::string& why)>& refuse);

// The first day of a date such as 2026, 2026-11 or 2026-11-21; nothing for anything else.
std::optional<std::chrono::sys_days> FirstDay(std::string_view date);

// All offers of an instance, newest first. A partial date counts as its first day, and an undated
// offer as older than all others.
std::vector<Offer> OffersFor(std::span<const Offer> offers, const std::string& provider,
                             const std::string& instance);

// The newest of each thing that is sold in a way, in the order in which they stand.
std::vector<Offer> NewestOffers(std::span<const Offer> offers);

// The offers that a result file keeps: of a machine's instance the newest of each way of buying, in
// its region where that is known and has any, else in all. Newest first.
std::vector<Offer> OffersToKeep(std::span<const Offer> offers, const Identity& identity);

// The range of what an hour of one node may cost where its region is not known.
struct PriceSpread {
  double usd_low = 0;
  double usd_high = 0;
  std::vector<std::string> regions = {};  // the names of the regions that have a price
};

// The price behind a `$` column, with everything that must be said beside it.
struct Chosen {
  std::optional<Offer> offer = {};  // nothing: there are no dollars
  // The purchase that was looked for, where the offer is the one on demand in its place. Each
  // figure in dollars is then marked.
  std::optional<std::string> instead_of = {};
  std::optional<PriceSpread> spread = {};  // set where no offer is chosen for want of a region
  std::optional<Offer> nearest = {};       // set where no offer is chosen for another reason
  std::string why = {};   // the rule by which it was chosen, or how to give a price
  std::string note = {};  // why the price may be wrong
};

// Chooses the offer that stands for a machine: a typed one, else that of the detected purchase
// and region, else the one on demand in that region, else none, with the nearest shown. Without a
// region there is none where the region would matter, and the spread over the regions is shown. The
// newest of several is taken; an undated price is never chosen.
Chosen ChooseOffer(std::span<const Offer> offers, const Identity& identity);

// The share by which an offer is cheaper than the newest on demand of its instance and region:
// 1 - P / P on demand. Below 0 it is dearer. Nothing where either has no price.
std::optional<double> UnderOnDemand(const Offer& offer, std::span<const Offer> offers);

// The price of one hour of one node in USD; nothing without a price.
std::optional<double> UsdPerNodeHour(const Chosen& price);

// A sentence on a typed price that is less than half or more than one and a half times the listed
// one; "" where it isn't, or nothing is listed.
std::string OffTheList(double typed_usd_per_hour, const Chosen& listed);

// The line that says which price stands behind dollars on such nodes, or why there is none:
// "price: 55.04 USD/h a node = 8 x 6.88 a GPU, on demand, us-east-1, 2026-07-20 (132 days old); …".
// The age is told where `today` (2026-11-22) is given.
std::string PriceLine(const Chosen& price, std::span<const Node> nodes, std::string_view today);

// The purchase in words: "on demand", "reserved 12 months".
std::string PurchaseWords(const Offer& offer);
// The models by which a machine is bought, as flags and data name them.
const std::vector<std::string>& Purchases();

// The offer for a price that was typed with --price, in USD per hour of a node. Its purchase is the
// identity's where that was typed too, else `custom`. Throws Error unless the price is above 0.
Offer TypedOffer(double usd_per_hour, const Identity& identity, std::string_view today);

// The date and age of an offer: "2026-11-01 (21 days old)", "2026-11 (at most 21 days old)",
// "2025-11 or later (at most 386 days old)", "undated". `today` is a day, 2026-11-22.
std::string PriceAge(const Offer& offer, std::string_view today);

// The offers that have all words of the filter in provider, instance, accelerator, region or
// purchase. Throws Error where there is none.
std::vector<Offer> OffersMatching(const Catalog& catalog, const std::string& filter);
// The text of `assay price list [FILTER]`.
std::string PriceListTable(const Catalog& catalog, const std::string& filter,
                           std::string_view today);
// The offers of an instance. Throws Error, with the nearest name, for one that isn't known.
std::vector<Offer> KnownOffers(const Catalog& catalog, const std::string& provider,
                               const std::string& instance);
// The text of `assay price show PROVIDER INSTANCE`: facts and offers with their sources. Throws
// Error, with the nearest name, for an unknown one.
std::string PriceShowText(const Catalog& catalog, const std::string& provider,
                          const std::string& instance, std::string_view today);

}  // namespace assay
