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

// Peaks by dtype in FLOP/s (dense), memory in B/s, each with its source.
struct DeviceFacts {
  std::string name = {};
  std::vector<std::string> match = {};  // NVML names or PCI ids
  std::map<std::string, double> peak_flops = {};
  std::optional<double> memory_bytes_per_s = {};
  std::optional<double> peak_clock_mhz = {};
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

// prices.csv: throws Error naming source and line for a row that breaks a rule.
std::vector<Offer> ParseOffers(std::string_view csv, const std::string& source);

// All offers of an instance, newest first.
std::vector<Offer> OffersFor(std::span<const Offer> offers, const std::string& provider,
                             const std::string& instance);

// The offer behind a `$` column: the detected purchase and region, else on-demand and that region,
// else none with the nearest shown. An undated price is never chosen.
struct Chosen {
  std::optional<Offer> offer = {};
  std::optional<Offer> nearest = {};  // shown where there is none
  std::string why = {};               // one sentence: which rule, or how to give a price
};
Chosen ChooseOffer(std::span<const Offer> offers, const Identity& identity);

// "2026-11-01 (21 days old)", with "undated" and month or year precision in words.
std::string PriceAge(const Offer& offer, std::string_view today);

}  // namespace assay
