#include "runner/program/coll_expect.h"

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/base/size.h"
#include "results/base/text.h"
#include "results/catalog/price.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"
#include "results/file/run.h"

namespace assay {
namespace {

constexpr std::int64_t kKib = 1024;
constexpr std::int64_t kMib = 1024 * kKib;
constexpr std::int64_t kGib = 1024 * kMib;

std::string LabelOf(const Record& record) { return CaseWords(record.probe, record.params); }

// A size as one would type it: "64M" where that is exact.
std::string SizeText(std::int64_t bytes) {
  for (const auto& [unit, letter] : {std::pair(kGib, 'G'), {kMib, 'M'}, {kKib, 'K'}}) {
    if (bytes >= unit && bytes % unit == 0) return fmt::format("{}{}", bytes / unit, letter);
  }
  return std::to_string(bytes);
}

}  // namespace

std::map<std::int64_t, double> ParseFloors(const std::string& expect) {
  std::map<std::int64_t, double> floors;
  if (expect == "auto") return floors;
  for (const std::string& part : SplitFields(expect, ',')) {
    const std::size_t colon = part.find(':');
    const std::string_view digits =
        colon == std::string::npos ? std::string_view() : std::string_view(part).substr(colon + 1);
    const std::optional<double> gbs = NumberIn(digits);
    if (!gbs || !(*gbs > 0 && *gbs < 1e9)) {
      throw Error(fmt::format("--expect wants auto, or a size and GB/s such as 64M:20; got '{}'",
                              Clean(part, 32)));
    }
    floors[ParseSize(part.substr(0, colon), "--expect")] = *gbs;
  }
  return floors;
}

std::vector<std::string> Shortfalls(const Run& run, const std::string& expect,
                                    const Catalog& catalog) {
  const InstanceFacts* const type = TypeOf(run, catalog.instances);
  std::vector<std::string> shortfalls;
  const bool is_auto = expect == "auto";
  bool is_compared = !is_auto;
  for (const Record& record : run.records) {
    const std::optional<Assessment> assessed = is_auto ? Assess(type, record) : std::nullopt;
    if (!assessed) continue;
    const bool is_low = assessed->standing == Standing::kLow;
    is_compared = is_compared || is_low || assessed->expected_gbs;
    if (is_low) shortfalls.push_back(fmt::format("{} is low: {}", LabelOf(record), assessed->why));
  }
  if (!is_compared) {
    shortfalls.emplace_back(
        "nothing to compare with: nobody's figures are known for this instance type, number of "
        "nodes, operation and any of these sizes (--expect auto); give floors instead, such as "
        "--expect 64M:20");
  }
  for (const auto& [bytes, gbs] : ParseFloors(expect)) {
    // The reasons why there is no figure of this size, by everything that was asked for besides
    // size and placement; nothing where there is one.
    std::map<std::string, std::optional<std::string>> why_none;
    for (const Record& record : run.records) {
      const auto asked = record.params.find("bytes");
      const bool is_asked = asked != record.params.end() && asked->second == Value(bytes);
      const bool is_of_size = is_asked || record.work.bytes == bytes;
      Params sweep = record.params;
      sweep.erase("bytes");
      sweep.erase("placement");
      std::optional<std::string>& why =
          why_none.try_emplace(fmt::format("{} {}", record.backend, ToText(sweep)), "")
              .first->second;
      if (!is_of_size) continue;
      const std::optional<double> bus = BusBandwidth(record);
      if (!bus) {
        if (why) why = record.reason;
        continue;
      }
      why.reset();
      if (*bus / 1e9 < gbs) {
        shortfalls.push_back(fmt::format("{} has a busbw of {:.4g} GB/s, under the {} of --expect",
                                         LabelOf(record), *bus / 1e9, gbs));
      }
    }
    if (why_none.empty()) why_none["all"] = "";
    for (const auto& [sweep, why] : why_none) {
      if (!why) continue;
      shortfalls.push_back(fmt::format("no figure for {}, whose floor is {} GB/s (--expect): {}",
                                       SizeText(bytes), gbs,
                                       why->empty() ? "that size was not measured" : *why));
    }
  }
  return shortfalls;
}

}  // namespace assay
