// NVML, the NVIDIA driver's management library: clocks, power, temperature and health of GPUs. It
// belongs to the driver and not to the toolkit, so it is opened at the first use with dlopen; where
// it is absent there are no readings.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "results/file/run.h"

namespace assay::cuda {

// One reading of a GPU. Optional values are absent where the GPU or the driver doesn't tell them.
struct Reading {
  double sm_mhz = 0;                    // the clock of the streaming multiprocessors
  double power_w = 0;                   // what the GPU and its memory draw
  std::optional<double> energy_j = {};  // since the driver was loaded
  std::optional<double> temperature_c = {};
  std::uint64_t reasons = 0;  // why clocks are held back, as NVML's bits
  std::optional<std::int64_t> uncorrected_ecc_errors = {};  // since the driver was loaded
  std::optional<std::int64_t> remapped_rows = {};           // in the GPU's life
};

// The words for NVML's bits of why a clock is held back, such as "sw_power_cap"
// (docs.nvidia.com/deploy/nvml-api, nvmlClocksEventReasons). The bit for an idle GPU has no word,
// since nothing holds such a GPU back.
std::vector<std::string> ReasonsText(std::uint64_t reasons);

// The library. Its calls may be made in any thread, and none of them throws Error.
class Nvml {
 public:
  // Opens the library, which then is never closed; null where it is absent or can't be initialised.
  static std::shared_ptr<Nvml> Open(const char* library = "libnvidia-ml.so.1");
  virtual ~Nvml() = default;

  // Adds what NVML knows of a GPU to `accelerator`: vbios, power limit, ECC, MIG. In this function
  // and those below, `bus_id` is CUDA's PCI bus id of the GPU.
  virtual void Describe(const std::string& bus_id, Accelerator& accelerator) = 0;
  // The GPU's UUID; nothing where NVML doesn't tell.
  virtual std::optional<std::string> Uuid(const std::string& bus_id) = 0;
  // The lanes of PCIe that the GPU uses now, and the most that it could use.
  struct Lanes {
    unsigned now = 0;
    unsigned most = 0;
  };
  virtual std::optional<Lanes> LanesOf(const std::string& bus_id) = 0;
  // The number of processes that compute on the GPU, this one included once it uses CUDA there;
  // nothing where NVML doesn't tell.
  virtual std::optional<unsigned> Processes(const std::string& bus_id) = 0;
  // A reading of this moment; nothing where the GPU can't be read.
  virtual std::optional<Reading> Read(const std::string& bus_id) = 0;
};

// Makes a meter with a thread that reads the GPU ten times a second. Finish returns at most 64
// readings: every second one of a long time, or fewer. Null where `nvml` is or the GPU can't be
// read.
std::unique_ptr<DeviceMeter> MeterOf(std::shared_ptr<Nvml> nvml, const std::string& bus_id);

}  // namespace assay::cuda
