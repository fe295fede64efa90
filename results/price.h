// Prices and facts of instances and devices: the data built into the binary, and which offer stands
// behind a dollar figure.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/run.h"

namespace assay {

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

// Peaks by dtype ("bf16") in FLOP/s, int8 in OP/s: dense, matrix units included. Memory in B/s.
struct DeviceFacts {
  std::string name = {};
  std::vector<std::string> match = {};  // NVML names or PCI ids ("10de:2330")
  std::map<std::string, double> peak_flops = {};
  std::optional<double> memory_bytes_per_s = {};
  std::optional<double> peak_clock_mhz = {};  // at which peak_flops holds
  std::optional<double> power_w = {};
  std::string source = {};
};

struct Catalog {
  std::vector<InstanceFacts> instances = {};
  std::vector<Offer> offers = {};
  std::vector<DeviceFacts> devices = {};
  std::string sha256 = {};  // of prices.csv

  // The data built into this binary. Parsed once.
  static const Catalog& BuiltIn();
};

// The instance of that name, in whatever case it is written, or nothing.
const InstanceFacts* FindInstance(std::span<const InstanceFacts> instances,
                                  std::string_view provider, std::string_view instance);

// The device that calls itself so (NVML name or PCI id), or nothing.
const DeviceFacts* FindDevice(std::span<const DeviceFacts> devices, std::string_view name);

// prices.csv: its columns are the keys of `offers` in results/FORMAT.md, one offer a row; region
// `all` is one price everywhere. Throws Error naming source and row for one that breaks a rule: no
// price of 0, none where nothing is offered, a known purchase, a source, a date as precise as it
// says, no offer twice.
std::vector<Offer> ParseOffers(std::string_view csv, const std::string& source);

// All offers of an instance, newest first. A partial date counts as its first day, and an undated
// offer as older than all others.
std::vector<Offer> OffersFor(std::span<const Offer> offers, const std::string& provider,
                             const std::string& instance);

// What an hour of one node may cost where its region is not known.
struct PriceSpread {
  double usd_low = 0;
  double usd_high = 0;
  std::vector<std::string> regions = {};  // that have a price, by name
};

// The price behind a `$` column, with what has to be said beside it.
struct Chosen {
  std::optional<Offer> offer = {};  // none: no dollars
  // The purchase that was looked for, where the offer is on demand in its place: each figure in
  // dollars is marked so.
  std::optional<std::string> instead_of = {};
  std::optional<PriceSpread> spread = {};  // where there is none, since the region is not known
  std::optional<Offer> nearest = {};       // where there is none for another reason
  std::string why = {};                    // which rule, or how to give a price
  std::string note = {};                   // why the price may be wrong
};

// The offer that stands for a machine: a private one, else that of the detected purchase and
// region, else on demand in that region, else none with the nearest shown. Without a region there
// is none where it would matter, and the spread over the regions is shown. Of several the newest.
// An undated price is never chosen.
Chosen ChooseOffer(std::span<const Offer> offers, const Identity& identity);

// USD of one hour of one node; nothing without a price.
std::optional<double> UsdPerNodeHour(const Chosen& price);

// A typed price that is less than half or more than one and a half times what is listed is noted:
// the sentence, or "" where it is not, or nothing is listed.
std::string OffTheList(double typed_usd_per_hour, const Chosen& listed);

// The one line that says which price stands behind dollars on such nodes: "price: 55.04 USD/h a
// node = 8 x 6.88 a GPU, on demand, us-east-1, 2026-07-20 (132 days old); …", or why there is none.
// The age is told where `today` (2026-11-22) is given.
std::string PriceLine(const Chosen& price, std::span<const Node> nodes, std::string_view today);

// "on demand", "reserved 12 months".
std::string PurchaseWords(const Offer& offer);

// The price typed with --price, in USD per hour of a node. Its purchase is the identity's where
// that was typed too, else `custom`. Throws Error unless it is above 0.
Offer TypedOffer(double usd_per_hour, const Identity& identity, std::string_view today);

// "2026-11-01 (21 days old)", "2026-11 (at most 21 days old)", "2025-11 or later (at most 386 days
// old)", "undated". `today` is a day, 2026-11-22.
std::string PriceAge(const Offer& offer, std::string_view today);

// `assay price list [FILTER]`: the offers with all words of the filter in provider, instance,
// accelerator, region or purchase. Throws Error where there is none.
std::string PriceListTable(const Catalog& catalog, const std::string& filter,
                           std::string_view today);
// `assay price show PROVIDER INSTANCE`: facts and offers with their sources. Throws Error, with the
// nearest name, for an unknown one.
std::string PriceShowText(const Catalog& catalog, const std::string& provider,
                          const std::string& instance, std::string_view today);

}  // namespace assay
