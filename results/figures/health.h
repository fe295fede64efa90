// The health of devices: whether each device of a case gave what a sound one gives, judged beside
// its siblings in the same case and beside what others measured on such a device.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/file/run.h"

namespace assay {

// A published figure of one device.
struct ExpectedOfDevice {
  // A condition on a record's params: that the param has this value, or where `at_least` is set an
  // integer that isn't below it.
  struct Condition {
    std::string param = {};
    std::string value = {};
    bool at_least = false;
  };
  std::string device = {};  // its name in devices.csv
  std::string probe = {};
  std::vector<Condition> conditions = {};
  Rate speed = {};           // in base units, though the file has TFLOP/s or GB/s
  std::string setting = {};  // the software and how it was called
  std::string source = {};   // a URL, or repository:path
};

// Reads expected_devices.csv, which has one figure a row. Its params are words like `dtype=bf16`
// and `bytes>=1024`. Throws Error, with source and row, for one that breaks a rule: no cell may be
// empty, the unit must be TFLOP/s or GB/s, the params must tell the whole shape that was measured
// (ProbeFacts::shape), and nothing may be there twice.
std::vector<ExpectedOfDevice> ParseExpectedOfDevices(std::string_view csv,
                                                     const std::string& source);
// The data that is built into this binary, parsed once.
const std::vector<ExpectedOfDevice>& BuiltInExpectedOfDevices();

// The standing of one device of a case.
struct DeviceHealth {
  Unit unit = {};
  Rate speed = {};               // its own share of the work in its own time
  std::optional<double> z = {};  // the modified z-score of its speed among at least four siblings
  std::optional<double> clock_mhz = {};      // the median, where it was read
  std::optional<double> temperature_c = {};  // the highest
  Standing standing = Standing::kOk;
  std::string why = {};  // one sentence, where the standing isn't kOk
};

// The health of all devices of one record.
struct Health {
  std::vector<DeviceHealth> devices = {};  // in the order of Record::units
  std::size_t slowest = 0;                 // an index into `devices`
  double spread = 0;  // fastest less slowest speed, as a share of the median speed
};

// The health of a run's devices, case by case. Everything that the constructor is given must
// outlive this.
//
// A device is low or high among its siblings if its modified z-score, 0.6745 (x - median) / MAD, is
// beyond 3.5 (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993), and it differs by
// at least 2 %. It is low or high beside published figures if it is under 0.88 or above 1.10 of the
// figure for that very shape; where several records fit the shape (algorithm tuned or not), the
// fastest counts.
class RunHealth {
 public:
  RunHealth(const Run& run, std::span<const DeviceFacts> devices,
            std::span<const ExpectedOfDevice> expected = BuiltInExpectedOfDevices());
  // The health in one of the run's records. Nothing without a speed of each device, for
  // collectives, and for a single device for which nothing is published.
  std::optional<Health> Of(const Record& record) const;

 private:
  const ExpectedOfDevice* YardstickOf(const Record& record, double fastest) const;

  const Run& run_;
  std::span<const ExpectedOfDevice> expected_;
  std::span<const DeviceFacts> devices_;
  std::vector<double> fastest_;  // the fastest device in the records that fit each of `expected`
};

}  // namespace assay
