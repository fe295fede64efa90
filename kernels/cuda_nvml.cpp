#include "kernels/cuda_nvml.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/text.h"

namespace assay::cuda {
namespace {

// NVML's C interface as far as it is used, since nvml.h comes neither with every toolkit nor with
// the driver. Names that end in _v2 are those that NVML's header maps the plain names to.
using nvmlDevice_t = struct nvmlDevice_st*;
using Status = int;
constexpr Status kSuccess = 0;
constexpr unsigned kSmClock = 1;
constexpr unsigned kGpuTemperature = 0;
constexpr int kUncorrected = 1;
constexpr int kSinceBoot = 0;  // "volatile"

// NVML by way of dlopen. A function that this driver's library lacks is like one without an answer.
class Library : public Nvml {
 public:
  explicit Library(void* library) : library_(library) {}

  bool Start() {
    Status (*init)() = nullptr;
    return Find("nvmlInit_v2", init) && init() == kSuccess &&
           Find("nvmlDeviceGetHandleByPciBusId_v2", by_bus_id_);
  }

  void Describe(const std::string& bus_id, Accelerator& accelerator) override {
    const nvmlDevice_t device = DeviceAt(bus_id);
    if (device == nullptr) return;
    std::array<char, 64> text = {};
    if (Ask("nvmlDeviceGetVbiosVersion", device, text.data(), unsigned{text.size()})) {
      accelerator.vbios = Clean(text.data());
    }
    unsigned milliwatts = 0;
    if (Ask("nvmlDeviceGetEnforcedPowerLimit", device, &milliwatts)) {
      accelerator.power_limit_w = milliwatts * 1e-3;
    }
    unsigned now = 0;
    unsigned pending = 0;
    if (Ask("nvmlDeviceGetEccMode", device, &now, &pending)) accelerator.ecc = now != 0;
    if (Ask("nvmlDeviceGetMigMode", device, &now, &pending)) accelerator.mig = now != 0;
  }

  std::optional<std::string> Uuid(const std::string& bus_id) override {
    const nvmlDevice_t device = DeviceAt(bus_id);
    std::array<char, 96> text = {};
    if (device == nullptr ||
        !Ask("nvmlDeviceGetUUID", device, text.data(), unsigned{text.size()})) {
      return std::nullopt;
    }
    return text.data();
  }

  std::optional<Lanes> LanesOf(const std::string& bus_id) override {
    const nvmlDevice_t device = DeviceAt(bus_id);
    Lanes lanes;
    if (device == nullptr || !Ask("nvmlDeviceGetCurrPcieLinkWidth", device, &lanes.now) ||
        !Ask("nvmlDeviceGetMaxPcieLinkWidth", device, &lanes.most)) {
      return std::nullopt;
    }
    return lanes;
  }

  std::optional<unsigned> Processes(const std::string& bus_id) override {
    // Given no room for the processes themselves, NVML tells their number alone.
    constexpr Status kTooLittleRoom = 7;
    const nvmlDevice_t device = DeviceAt(bus_id);
    Status (*ask)(nvmlDevice_t, unsigned*, void*) = nullptr;
    if (device == nullptr || (!Find("nvmlDeviceGetComputeRunningProcesses_v3", ask) &&
                              !Find("nvmlDeviceGetComputeRunningProcesses_v2", ask))) {
      return std::nullopt;
    }
    unsigned count = 0;
    const Status status = ask(device, &count, nullptr);
    if (status != kSuccess && status != kTooLittleRoom) return std::nullopt;
    return count;
  }

  std::optional<Reading> Read(const std::string& bus_id) override {
    const nvmlDevice_t device = DeviceAt(bus_id);
    if (device == nullptr) return std::nullopt;
    Reading reading;
    unsigned mhz = 0;
    unsigned milliwatts = 0;
    if (!Ask("nvmlDeviceGetClockInfo", device, kSmClock, &mhz) ||
        !Ask("nvmlDeviceGetPowerUsage", device, &milliwatts)) {
      return std::nullopt;
    }
    reading.sm_mhz = mhz;
    reading.power_w = milliwatts * 1e-3;
    unsigned long long count = 0;
    if (Ask("nvmlDeviceGetTotalEnergyConsumption", device, &count)) {
      reading.energy_j = static_cast<double>(count) * 1e-3;
    }
    unsigned celsius = 0;
    if (Ask("nvmlDeviceGetTemperature", device, kGpuTemperature, &celsius)) {
      reading.temperature_c = celsius;
    }
    // NVML gave this function a new name; older drivers know the second one alone.
    if (Ask("nvmlDeviceGetCurrentClocksEventReasons", device, &count) ||
        Ask("nvmlDeviceGetCurrentClocksThrottleReasons", device, &count)) {
      reading.reasons = count;
    }
    if (Ask("nvmlDeviceGetTotalEccErrors", device, kUncorrected, kSinceBoot, &count)) {
      reading.uncorrected_ecc_errors = static_cast<std::int64_t>(count);
    }
    unsigned corrected = 0;
    unsigned uncorrected = 0;
    unsigned is_pending = 0;
    unsigned failed = 0;
    if (Ask("nvmlDeviceGetRemappedRows", device, &corrected, &uncorrected, &is_pending, &failed)) {
      reading.remapped_rows = std::int64_t{corrected} + uncorrected;
    }
    return reading;
  }

 private:
  template <class Function>
  bool Find(const char* name, Function& function) const {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    return function != nullptr;
  }

  // Calls the function `name`. Returns false where the library lacks it or it has no answer.
  template <class... Arguments>
  bool Ask(const char* name, Arguments... arguments) const {
    Status (*function)(Arguments...) = nullptr;
    return Find(name, function) && function(arguments...) == kSuccess;
  }

  // Finds a GPU by its PCI bus id, because NVML's indices know nothing of CUDA_VISIBLE_DEVICES.
  // Returns null where NVML doesn't know it. Safe from any thread.
  nvmlDevice_t DeviceAt(const std::string& bus_id) {
    const std::scoped_lock lock(mutex_);
    nvmlDevice_t& device = devices_[bus_id];
    if (device == nullptr && by_bus_id_(bus_id.c_str(), &device) != kSuccess) device = nullptr;
    return device;
  }

  void* library_;  // never closed
  Status (*by_bus_id_)(const char*, nvmlDevice_t*) = nullptr;
  std::mutex mutex_ = {};
  std::map<std::string, nvmlDevice_t> devices_ = {};
};

using SteadyClock = std::chrono::steady_clock;

// A thread that reads one GPU ten times a second until it is told to end.
class GpuMeter : public DeviceMeter {
 public:
  GpuMeter(std::shared_ptr<Nvml> nvml, std::string bus_id, const Reading& first)
      : nvml_(std::move(nvml)), bus_id_(std::move(bus_id)), readings_({{.at_s = 0, .is = first}}) {
    thread_ = std::thread([this] { Watch(); });
  }
  ~GpuMeter() override { End(); }

  Telemetry SoFar() override {
    const std::scoped_lock lock(mutex_);
    Read();
    return TelemetryOf(readings_);
  }

  Telemetry Finish(Seconds from) override {
    End();
    Read();
    const auto begin =
        std::find_if(readings_.begin(), readings_.end() - 1,
                     [&](const Timed& reading) { return reading.at_s >= from.count(); });
    const std::span<const Timed> counted(begin, readings_.end());
    const Reading& first = counted.front().is;
    const Reading& last = counted.back().is;
    Telemetry seen = TelemetryOf(Thinned(counted));
    if (first.energy_j && last.energy_j) seen.energy_j = *last.energy_j - *first.energy_j;
    std::uint64_t reasons = 0;
    for (const Timed& reading : counted) reasons |= reading.is.reasons;
    seen.events = ReasonsText(reasons);
    // Errors that came at any time since the meter was made count, not only those since `from`.
    const Reading& made = readings_.front().is;
    if (last.uncorrected_ecc_errors > made.uncorrected_ecc_errors) {
      seen.events.emplace_back("ecc_uncorrected");
    }
    if (last.remapped_rows > made.remapped_rows) seen.events.emplace_back("row_remapped");
    return seen;
  }

 private:
  struct Timed {
    double at_s = 0;
    Reading is = {};
  };

  // The series of readings as telemetry, without the energy between its ends.
  static Telemetry TelemetryOf(std::span<const Timed> readings) {
    Telemetry seen;
    for (const Timed& reading : readings) {
      seen.at_s.push_back(reading.at_s);
      seen.sm_mhz.push_back(reading.is.sm_mhz);
      seen.power_w.push_back(reading.is.power_w);
      if (reading.is.temperature_c) seen.temperature_c.push_back(*reading.is.temperature_c);
    }
    return seen;
  }

  // Thins the readings to at most 64: every second one or fewer, and always the last.
  static std::vector<Timed> Thinned(std::span<const Timed> readings) {
    constexpr std::size_t kMostSteps = 63;
    const std::size_t steps = readings.size() - 1;
    const std::size_t stride = std::max<std::size_t>(1, (steps + kMostSteps - 1) / kMostSteps);
    std::vector<Timed> thinned;
    for (std::size_t i = 0; i < steps; i += stride) thinned.push_back(readings[i]);
    thinned.push_back(readings.back());
    return thinned;
  }

  void Watch() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, kInterval, [this] { return ending_; })) Read();
  }

  // Adds a reading. One that fails is left out, so that a driver's hiccup doesn't end a run.
  // REQUIRES: the caller holds the mutex, or the thread has ended.
  void Read() {
    const std::optional<Reading> reading = nvml_->Read(bus_id_);
    if (!reading) return;
    const std::chrono::duration<double> at = SteadyClock::now() - begin_;
    readings_.push_back({.at_s = at.count(), .is = *reading});
  }

  // Ends the thread. A second call does nothing.
  void End() {
    if (!thread_.joinable()) return;
    {
      const std::scoped_lock lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  static constexpr std::chrono::milliseconds kInterval{100};
  std::shared_ptr<Nvml> nvml_;
  std::string bus_id_;
  SteadyClock::time_point begin_ = SteadyClock::now();
  std::vector<Timed> readings_;
  std::mutex mutex_ = {};
  std::condition_variable wake_ = {};
  bool ending_ = false;
  std::thread thread_ = {};
};

}  // namespace

std::vector<std::string> ReasonsText(std::uint64_t reasons) {
  constexpr std::array<std::pair<std::uint64_t, const char*>, 8> kNames = {
      {{0x2, "app_clocks"},
       {0x4, "sw_power_cap"},
       {0x8, "hw_slowdown"},
       {0x10, "sync_boost"},
       {0x20, "sw_thermal"},
       {0x40, "hw_thermal"},
       {0x80, "hw_power_brake"},
       {0x100, "display_clocks"}}};
  std::vector<std::string> names;
  for (const auto& [bit, name] : kNames) {
    if ((reasons & bit) != 0) names.emplace_back(name);
  }
  return names;
}

std::shared_ptr<Nvml> Nvml::Open(const char* library) {
  void* opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) return nullptr;
  auto nvml = std::make_shared<Library>(opened);
  return nvml->Start() ? nvml : nullptr;
}

std::unique_ptr<DeviceMeter> MeterOf(std::shared_ptr<Nvml> nvml, const std::string& bus_id) {
  const std::optional<Reading> first = nvml ? nvml->Read(bus_id) : std::nullopt;
  if (!first) return nullptr;
  return std::make_unique<GpuMeter>(std::move(nvml), bus_id, *first);
}

}  // namespace assay::cuda
