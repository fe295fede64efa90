#include "results/figures/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "results/base/csv.h"
#include "results/base/dtype.h"
#include "results/base/embedded.h"
#include "results/base/text.h"
#include "results/figures/probes.h"
#include "results/figures/stats.h"

ASSAY_DECLARE_EMBEDDED(expected_devices_csv);

namespace assay {
namespace {

// The bounds among siblings: the fewest devices that can be judged, and the modified z-score and
// the relative deviation that an outlier exceeds, both of them. The score alone would find outliers
// among devices that are all but equal.
constexpr std::size_t kFewestSiblings = 4;
constexpr double kOutlier = 3.5;
constexpr double kLeastDeviation = 0.02;
// The bounds beside published figures. The lower one leaves room, since a published best of several
// versions of a library is more than each of them reaches.
constexpr double kLowBelow = 0.88;
constexpr double kHighAbove = 1.10;

// Checks that a row tells the whole shape of its probe; without that it would judge cases of
// another size.
void CheckShape(const CsvRow& row, const ExpectedOfDevice& one) {
  const ProbeFacts& facts = FindProbe(one.probe);
  if (facts.shape.empty() && facts.shape_at_least.empty()) {
    row.Fail(fmt::format("probe is '{}', of which it isn't known what shape a figure holds for",
                         one.probe));
  }
  const auto check = [&](const std::vector<std::string>& names, bool may_be_more) {
    for (const std::string& name : names) {
      const auto found =
          std::ranges::find(one.conditions, name, &ExpectedOfDevice::Condition::param);
      if (found != one.conditions.end() && (may_be_more || !found->at_least)) continue;
      row.Fail(fmt::format("params lacks {}{}VALUE: a figure of {} holds for its shape alone", name,
                           may_be_more ? ">=" : "=", one.probe));
    }
  };
  check(facts.shape, /*may_be_more=*/false);
  check(facts.shape_at_least, /*may_be_more=*/true);
}

std::vector<ExpectedOfDevice::Condition> ReadConditions(const CsvRow& row) {
  std::vector<ExpectedOfDevice::Condition> conditions;
  for (const std::string& word : SplitFields(row.Required("params"), ' ')) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == word.size()) {
      row.Fail(fmt::format("params has '{}'; write NAME=VALUE or NAME>=NUMBER", word));
    }
    const bool at_least = word[equals - 1] == '>';
    conditions.push_back({.param = word.substr(0, equals - (at_least ? 1 : 0)),
                          .value = word.substr(equals + 1),
                          .at_least = at_least});
    std::string& value = conditions.back().value;
    const DtypeFacts* dtype = conditions.back().param == "dtype" ? FindDtype(value) : nullptr;
    if (dtype != nullptr) value = dtype->name;
    if (at_least &&
        (value.size() > 12 || value.find_first_not_of("0123456789") != std::string::npos)) {
      row.Fail(fmt::format("params has '{}', whose value is no whole number", word));
    }
  }
  return conditions;
}

ExpectedOfDevice ReadRow(const CsvRow& row) {
  ExpectedOfDevice one = {.device = row.Required("device"),
                          .probe = row.Required("probe"),
                          .conditions = ReadConditions(row),
                          .setting = row.Required("setting"),
                          .source = row.Required("source")};
  row.Required("speed");
  one.speed.value = row.Number("speed").value_or(0);
  const std::string& unit = row.Required("unit");
  if (unit == "TFLOP/s") {
    one.speed = {.value = one.speed.value * 1e12, .unit = "FLOP/s"};
  } else if (unit == "GB/s") {
    one.speed = {.value = one.speed.value * 1e9, .unit = "B/s"};
  } else {
    row.Fail(fmt::format("unit is '{}'; write TFLOP/s or GB/s", unit));
  }
  if (one.source.find_first_of(".:") == std::string::npos) {
    row.Fail(fmt::format("source '{}' is neither a URL nor repository:path", one.source));
  }
  CheckShape(row, one);
  return one;
}

// Whether a record is of the shape that a published figure was measured with.
bool Fits(const Record& record, const ExpectedOfDevice& expected) {
  return record.probe == expected.probe &&
         std::ranges::all_of(expected.conditions, [&](const auto& condition) {
           const auto found = record.params.find(condition.param);
           if (found == record.params.end()) return false;
           if (!condition.at_least) return ToText(found->second) == condition.value;
           const auto* value = std::get_if<std::int64_t>(&found->second);
           return value != nullptr && *value >= std::stoll(condition.value);
         });
}

// The speed of each unit: its share of the work over the median of its own median times in the
// rounds.
std::vector<Rate> SpeedsOf(const Record& record) {
  std::vector<Rate> speeds;
  const std::optional<Rate> all = Speed(record);
  const std::optional<double> all_s = UsualTime(record);
  if (!all || !all_s || !std::isfinite(all->value) ||
      FindProbe(record.probe).probe_class == ProbeClass::kNetwork) {
    return speeds;
  }
  if (record.units.size() == 1) return {*all};
  const auto share = all->value * *all_s / static_cast<double>(record.units.size());
  for (std::size_t unit = 0; unit < record.units.size(); ++unit) {
    std::vector<double> times;
    for (const Visit& visit : record.rounds) {
      if (unit < visit.unit_p50_s.size()) times.push_back(visit.unit_p50_s[unit]);
    }
    if (times.empty() || Median(times) <= 0) return {};
    speeds.push_back({.value = share / Median(times), .unit = all->unit});
    if (!std::isfinite(speeds.back().value)) return {};
  }
  return speeds;
}

// The speed of the fastest device; 0 where there is none.
double Fastest(const std::vector<Rate>& speeds) {
  double fastest = 0;
  for (const Rate& speed : speeds) fastest = std::max(fastest, speed.value);
  return fastest;
}

// Sets the median clock and the highest temperature of a unit over all rounds.
void ReadTelemetry(const Record& record, std::size_t unit, DeviceHealth& device) {
  std::vector<double> clocks;
  for (const Visit& visit : record.rounds) {
    for (const Telemetry& seen : visit.telemetry) {
      if (static_cast<std::size_t>(seen.unit) != unit) continue;
      clocks.insert(clocks.end(), seen.sm_mhz.begin(), seen.sm_mhz.end());
      for (const double celsius : seen.temperature_c) {
        device.temperature_c = std::max(device.temperature_c.value_or(celsius), celsius);
      }
    }
  }
  if (!clocks.empty()) device.clock_mhz = Median(clocks);
}

// Judges devices beside each other. Fewer than four tell nothing.
void JudgeAmongSiblings(std::vector<DeviceHealth>& devices) {
  if (devices.size() < kFewestSiblings) return;
  std::vector<double> speeds;
  for (const DeviceHealth& device : devices) speeds.push_back(device.speed.value);
  const double median = Median(speeds);
  const std::vector<double> scores = ModifiedZScores(speeds);
  for (std::size_t i = 0; i < devices.size(); ++i) {
    DeviceHealth& device = devices[i];
    device.z = scores[i];
    const double deviation = device.speed.value / median - 1;
    if (std::abs(scores[i]) <= kOutlier || std::abs(deviation) < kLeastDeviation) continue;
    device.standing = deviation < 0 ? Standing::kLow : Standing::kHigh;
    device.why = fmt::format("{} of its siblings' median", Percent(device.speed.value / median));
  }
}

// Judges a device beside a published figure, unless its siblings have judged it already.
void JudgeBesideOthers(const ExpectedOfDevice& expected, DeviceHealth& device) {
  const double ratio = device.speed.value / expected.speed.value;
  if (device.speed.unit != expected.speed.unit || device.standing != Standing::kOk ||
      (ratio >= kLowBelow && ratio <= kHighAbove)) {
    return;
  }
  device.standing = ratio < 1 ? Standing::kLow : Standing::kHigh;
  device.why = fmt::format("{} of the {} that others measured on {} ({}; {})", Percent(ratio),
                           WithPrefix(expected.speed.value, expected.speed.unit), expected.device,
                           expected.setting, expected.source);
}

}  // namespace

std::vector<ExpectedOfDevice> ParseExpectedOfDevices(std::string_view csv,
                                                     const std::string& source) {
  std::vector<ExpectedOfDevice> all;
  const std::vector<std::map<std::string, std::string>> rows = ParseCsv(csv, source);
  const auto key = [&](std::size_t i) {
    return std::tie(rows[i].at("device"), rows[i].at("probe"), rows[i].at("params"));
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const CsvRow row(rows[i], source, i);
    all.push_back(ReadRow(row));
    for (std::size_t earlier = 0; earlier < i; ++earlier) {
      if (key(earlier) == key(i)) row.Fail("the same device and params stand in an earlier row");
    }
  }
  return all;
}

const std::vector<ExpectedOfDevice>& BuiltInExpectedOfDevices() {
  static const std::vector<ExpectedOfDevice> all =
      ParseExpectedOfDevices(ASSAY_EMBEDDED(expected_devices_csv), "expected_devices.csv");
  return all;
}

RunHealth::RunHealth(const Run& run, std::span<const DeviceFacts> devices,
                     std::span<const ExpectedOfDevice> expected)
    : run_(run), expected_(expected), devices_(devices), fastest_(expected.size()) {
  for (const Record& record : run.records) {
    if (record.device.kind != "gpu") continue;
    const double own = Fastest(SpeedsOf(record));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (own > fastest_[i] && Fits(record, expected[i])) fastest_[i] = own;
    }
  }
}

// The published figure by which a record is judged, whose fastest device has that speed. The record
// fits it, and no other record of the run that fits is faster; null where there is no such figure.
const ExpectedOfDevice* RunHealth::YardstickOf(const Record& record, double fastest) const {
  const Node& node = run_.nodes.at(static_cast<std::size_t>(record.units[0].node));
  if (record.device.kind != "gpu" || node.accelerators.size() != 1 || node.accelerators[0].mig) {
    return nullptr;
  }
  const DeviceFacts* known = FindDevice(devices_, node.accelerators[0].name);
  for (std::size_t i = 0; known != nullptr && i < expected_.size(); ++i) {
    const ExpectedOfDevice& one = expected_[i];
    if (one.device == known->name && fastest >= fastest_[i] && Fits(record, one)) return &one;
  }
  return nullptr;
}

std::optional<Health> RunHealth::Of(const Record& record) const {
  const std::vector<Rate> speeds = SpeedsOf(record);
  if (speeds.empty()) return std::nullopt;
  Health health;
  for (std::size_t i = 0; i < speeds.size(); ++i) {
    DeviceHealth& device = health.devices.emplace_back();
    device.unit = record.units[i];
    device.speed = speeds[i];
    ReadTelemetry(record, i, device);
  }
  JudgeAmongSiblings(health.devices);
  const ExpectedOfDevice* yardstick = YardstickOf(record, Fastest(speeds));
  if (speeds.size() == 1 && yardstick == nullptr) return std::nullopt;
  if (yardstick != nullptr) {
    for (DeviceHealth& device : health.devices) JudgeBesideOthers(*yardstick, device);
  }
  std::vector<double> values;
  for (const Rate& speed : speeds) values.push_back(speed.value);
  const auto [least, most] = std::ranges::minmax_element(values);
  health.slowest = static_cast<std::size_t>(least - values.begin());
  health.spread = (*most - *least) / Median(values);
  return health;
}

}  // namespace assay
