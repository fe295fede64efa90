#include "kernels/cuda_nvml.h"

#include <dlfcn.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "results/text.h"

namespace assay::cuda {
namespace {

// NVML's C interface as far as it is used: nvml.h comes with neither every toolkit nor the driver.
// Names with _v2 are those that its header maps the plain ones to.
using nvmlDevice_t = struct nvmlDevice_st*;
using Status = int;
constexpr Status kSuccess = 0;
constexpr unsigned kSmClock = 1;
constexpr unsigned kGpuTemperature = 0;
constexpr int kUncorrected = 1;
constexpr int kSinceBoot = 0;  // "volatile"

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

  std::optional<unsigned> Processes(const std::string& bus_id) override {
    // Where there is no room for what it would tell of each, it tells their number alone.
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

  // False where the library hasn't got it or has no answer.
  template <class... Arguments>
  bool Ask(const char* name, Arguments... arguments) const {
    Status (*function)(Arguments...) = nullptr;
    return Find(name, function) && function(arguments...) == kSuccess;
  }

  nvmlDevice_t DeviceAt(const std::string& bus_id) {
    const std::scoped_lock lock(mutex_);
    nvmlDevice_t& device = devices_[bus_id];
    if (device == nullptr && by_bus_id_(bus_id.c_str(), &device) != kSuccess) device = nullptr;
    return device;
  }

  void* library_;  // for as long as the process lives
  Status (*by_bus_id_)(const char*, nvmlDevice_t*) = nullptr;
  std::mutex mutex_ = {};
  std::map<std::string, nvmlDevice_t> devices_ = {};
};

using SteadyClock = std::chrono::steady_clock;

class GpuMeter : public Meter {
 public:
  GpuMeter(std::shared_ptr<Nvml> nvml, std::string bus_id, const Reading& first)
      : nvml_(std::move(nvml)), bus_id_(std::move(bus_id)), first_(first), last_(first) {
    Add(first);
    thread_ = std::thread([this] { Watch(); });
  }
  ~GpuMeter() override { End(); }

  Telemetry Finish() override {
    End();
    if (const std::optional<Reading> reading = nvml_->Read(bus_id_)) Add(*reading);
    Telemetry seen = std::move(seen_);
    if (first_.energy_j && last_.energy_j) seen.energy_j = *last_.energy_j - *first_.energy_j;
    seen.events = ReasonsText(reasons_);
    if (last_.uncorrected_ecc_errors > first_.uncorrected_ecc_errors) {
      seen.events.emplace_back("ecc_uncorrected");
    }
    if (last_.remapped_rows > first_.remapped_rows) seen.events.emplace_back("row_remapped");
    return seen;
  }

 private:
  void Watch() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, interval_, [this] { return ending_; })) {
      if (const std::optional<Reading> reading = nvml_->Read(bus_id_)) Add(*reading);
    }
  }

  void Add(const Reading& reading) {
    constexpr std::size_t kMost = 64;
    if (seen_.at_s.size() == kMost) {
      for (std::vector<double>* values :
           {&seen_.at_s, &seen_.sm_mhz, &seen_.power_w, &seen_.temperature_c}) {
        for (std::size_t i = 0; 2 * i < values->size(); ++i) (*values)[i] = (*values)[2 * i];
        values->resize((values->size() + 1) / 2);
      }
      interval_ *= 2;
    }
    last_ = reading;
    reasons_ |= reading.reasons;
    seen_.at_s.push_back(std::chrono::duration<double>(SteadyClock::now() - begin_).count());
    seen_.sm_mhz.push_back(reading.sm_mhz);
    seen_.power_w.push_back(reading.power_w);
    if (reading.temperature_c) seen_.temperature_c.push_back(*reading.temperature_c);
  }

  void End() {
    if (!thread_.joinable()) return;
    {
      const std::scoped_lock lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  std::shared_ptr<Nvml> nvml_;
  std::string bus_id_;
  SteadyClock::time_point begin_ = SteadyClock::now();
  Reading first_;
  Reading last_;
  std::uint64_t reasons_ = 0;
  Telemetry seen_ = {};
  std::chrono::milliseconds interval_{100};
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

std::unique_ptr<Meter> MeterOf(std::shared_ptr<Nvml> nvml, const std::string& bus_id) {
  const std::optional<Reading> first = nvml ? nvml->Read(bus_id) : std::nullopt;
  if (!first) return nullptr;
  return std::make_unique<GpuMeter>(std::move(nvml), bus_id, *first);
}

}  // namespace assay::cuda
