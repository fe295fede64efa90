// Whether each device of a case gave what a sound one gives: beside its siblings in the same case,
// and beside what others measured on such a device.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/expected.h"
#include "results/figures.h"
#include "results/price.h"
#include "results/run.h"

namespace assay {

// What others measured on one device.
struct ExpectedOfDevice {
  // Of a record's params: this value, or where `at_least` says so an integer that isn't below it.
  struct Condition {
    std::string param = {};
    std::string value = {};
    bool at_least = false;
  };
  std::string device = {};  // as devices.csv calls it
  std::string probe = {};
  std::vector<Condition> conditions = {};
  Rate speed = {};
  std::string setting = {};
  std::string source = {};  // a URL, or repository:path
};

// expected_devices.csv, a figure a row; its params are words like `dtype=bf16` and `bytes>=1024`,
// and tell all of the shape that was measured. Throws Error naming source and row for one that
// breaks a rule: no empty cell, a device that `devices` has, a unit of TFLOP/s or GB/s, nothing
// twice.
std::vector<ExpectedOfDevice> ParseExpectedOfDevices(std::string_view csv,
                                                     const std::string& source,
                                                     std::span<const DeviceFacts> devices);
// The data built into this binary. Parsed once.
const std::vector<ExpectedOfDevice>& BuiltInExpectedOfDevices();

struct DeviceHealth {
  Unit unit = {};
  Rate speed = {};               // of its own share of the work, in its own time
  std::optional<double> z = {};  // the modified z-score of its speed among at least four siblings
  std::optional<double> clock_mhz = {};      // the median, where it was read
  std::optional<double> temperature_c = {};  // the highest
  Standing standing = Standing::kOk;
  std::string why = {};  // of what isn't ok: one sentence
};

struct Health {
  std::vector<DeviceHealth> devices = {};  // as Record::units
  std::size_t slowest = 0;
  double spread = 0;  // between the fastest and the slowest, as a part of the median speed
};

// The health of a run's devices, case by case. All that it is given must outlive it.
//
// Low or high among its siblings is a device that stands out by the modified z-score, 0.6745 (x -
// median) / MAD beyond 3.5 (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993), and
// by at least 2 %. Low or high beside others' figures is one under 0.88 or above 1.10 of theirs for
// that very shape; where several records fit it (algorithm tuned or not), the fastest counts.
class RunHealth {
 public:
  explicit RunHealth(const Run& run,
                     std::span<const ExpectedOfDevice> expected = BuiltInExpectedOfDevices(),
                     std::span<const DeviceFacts> devices = Catalog::BuiltIn().devices);
  // Of one of the run's records. Nothing for collectives, and for a single device of which nothing
  // is known.
  std::optional<Health> Of(const Record& record) const;

 private:
  const ExpectedOfDevice* YardstickOf(const Record& record, double fastest) const;

  const Run& run_;
  std::span<const ExpectedOfDevice> expected_;
  std::span<const DeviceFacts> devices_;
  std::vector<double> fastest_;  // of all devices in the records that fit each of `expected`
};

}  // namespace assay
