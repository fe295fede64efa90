// A library that answers as NVML does, of one GPU whose readings follow a script: each reading of
// its clock is one step on. Its soname is NVML's, so that who asks the loader for that gets this
// one, once it is loaded. mock_nvml_reset("fault") begins another script:
//   ""      at its power limit from step 2 on, with an uncorrected error at step 3; a driver from
//           before CUDA 12.2, and a GPU that remaps no rows
//   "hot"   idle at first; from step 2 on it is held back by heat, at half of its clock; remaps a
//           row at step 3; a driver of today
//   "lost"  falls off the bus at step 2
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>

namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidArgument = 2;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
constexpr int kInsufficientSize = 7;
constexpr int kLost = 15;

std::mutex mutex;
int steps = 0;
std::string fault;
unsigned processes = 0;
bool mig = false;
unsigned lanes = 16;
int gpu = 0;  // a handle is its address

int Text(void* device, char* text, unsigned length, const char* value) {
  if (device != &gpu || std::strlen(value) >= length) return kInvalidArgument;
  std::strcpy(text, value);
  return kSuccess;
}

template <class T>
int Give(void* device, T* to, T value) {
  const std::scoped_lock lock(mutex);
  if (device != &gpu) return kInvalidArgument;
  if (fault == "lost" && steps >= 2) return kLost;
  *to = value;
  return kSuccess;
}

}  // namespace

extern "C" {

int nvmlInit_v2() { return kSuccess; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
  *device = &gpu;
  return std::strcmp(bus_id, "00AB:00:00.0") == 0 ? kSuccess : kNotFound;
}
int nvmlDeviceGetUUID(void* device, char* text, unsigned length) {
  return Text(device, text, length, "GPU-00000000-1111-2222-3333-444444444444");
}
int nvmlDeviceGetVbiosVersion(void* device, char* text, unsigned length) {
  return Text(device, text, length, "96.00.5E.00.01");
}
int nvmlDeviceGetEnforcedPowerLimit(void* device, unsigned* milliwatts) {
  return Give(device, milliwatts, 700'000U);
}
int nvmlDeviceGetEccMode(void* device, unsigned* now, unsigned* pending) {
  Give(device, pending, 0U);
  return Give(device, now, 1U);
}
int nvmlDeviceGetMigMode(void* device, unsigned* now, unsigned* pending) {
  if (!mig) return kNotSupported;
  Give(device, pending, 1U);
  return Give(device, now, 1U);
}
int nvmlDeviceGetCurrPcieLinkWidth(void* device, unsigned* width) {
  return Give(device, width, lanes);
}
int nvmlDeviceGetMaxPcieLinkWidth(void* device, unsigned* width) {
  return Give(device, width, 16U);
}
// There is room for `*count` of them at `infos`.
int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, void* infos) {
  if (device != &gpu || (*count > 0 && infos == nullptr)) return kInvalidArgument;
  const int status = *count < processes ? kInsufficientSize : kSuccess;
  *count = processes;
  return status;
}
int nvmlDeviceGetClockInfo(void* device, int type, unsigned* mhz) {
  if (type != 1) return kInvalidArgument;
  {
    const std::scoped_lock lock(mutex);
    ++steps;
  }
  return Give(device, mhz,
              static_cast<unsigned>(fault == "hot" && steps >= 2 ? 1000 : 2000 - 10 * steps));
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  return Give(device, milliwatts, static_cast<unsigned>(500'000 + 1000 * steps));
}
int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  return Give(device, millijoules, 1'000'000ULL + 60'000ULL * static_cast<unsigned>(steps));
}
int nvmlDeviceGetTemperature(void* device, int sensor, unsigned* celsius) {
  return sensor == 0 ? Give(device, celsius, static_cast<unsigned>(40 + steps)) : kInvalidArgument;
}
// The name before CUDA 12.2 …
int nvmlDeviceGetCurrentClocksThrottleReasons(void* device, unsigned long long* reasons) {
  return fault == "hot" ? kNotSupported : Give(device, reasons, steps < 2 ? 0x1ULL : 0x4ULL);
}
// … and that since.
int nvmlDeviceGetCurrentClocksEventReasons(void* device, unsigned long long* reasons) {
  return fault != "hot" ? kNotSupported : Give(device, reasons, steps < 2 ? 0x1ULL : 0x40ULL);
}
int nvmlDeviceGetTotalEccErrors(void* device, int type, int counter, unsigned long long* count) {
  if (type != 1 || counter != 0) return kInvalidArgument;
  return Give(device, count, steps < 3 || fault == "hot" ? 5ULL : 6ULL);
}
int nvmlDeviceGetRemappedRows(void* device, unsigned* corrected, unsigned* uncorrected,
                              unsigned* is_pending, unsigned* failed) {
  if (fault != "hot") return kNotSupported;
  Give(device, corrected, 2U);
  Give(device, is_pending, 0U);
  Give(device, failed, 0U);
  return Give(device, uncorrected, steps < 3 ? 0U : 1U);
}

// For tests.
void mock_nvml_reset(const char* which) {
  const std::scoped_lock lock(mutex);
  fault = which;
  steps = 0;
  processes = 0;
  mig = false;
  lanes = 16;
}
// For tests: sets how many processes use the GPU, whether it is divided, and how many of 16 lanes
// it has.
void mock_nvml_share(unsigned by, bool divided, unsigned of_lanes) {
  const std::scoped_lock lock(mutex);
  processes = by;
  mig = divided;
  lanes = of_lanes;
}

}  // extern "C"
