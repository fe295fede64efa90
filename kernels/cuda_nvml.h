// What the NVIDIA driver's management library tells of GPUs. It belongs to the driver and not to
// the toolkit, so it is opened when it is first asked; where it is absent there is nothing to see.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "results/run.h"

namespace assay::cuda {

// One reading. What a GPU or driver doesn't tell is absent.
struct Reading {
  double sm_mhz = 0;
  double power_w = 0;
  std::optional<double> energy_j = {};  // since the driver was loaded
  std::optional<double> temperature_c = {};
  std::uint64_t reasons = 0;  // why clocks are held back, as NVML's bits
  std::optional<std::int64_t> uncorrected_ecc_errors = {};
  std::optional<std::int64_t> remapped_rows = {};
};

// NVML's bits in words (docs.nvidia.com/deploy/nvml-api, nvmlClocksEventReasons): "sw_power_cap".
// An idle GPU isn't held back.
std::vector<std::string> ReasonsText(std::uint64_t reasons);

class Nvml {
 public:
  // Null where it can't be had.
  static std::shared_ptr<Nvml> Open(const char* library = "libnvidia-ml.so.1");
  virtual ~Nvml() = default;

  // By CUDA's PCI bus id. Adds what is known of the GPU: vbios, power limit, ECC, MIG.
  virtual void Describe(const std::string& bus_id, Accelerator& accelerator) = 0;
  // Nothing where it doesn't tell.
  virtual std::optional<std::string> Uuid(const std::string& bus_id) = 0;
  // How many lanes of PCIe it has, and could have; nothing where it doesn't tell.
  struct Lanes {
    unsigned now = 0;
    unsigned most = 0;
  };
  virtual std::optional<Lanes> LanesOf(const std::string& bus_id) = 0;
  // How many processes compute on it; nothing where it doesn't tell.
  virtual std::optional<unsigned> Processes(const std::string& bus_id) = 0;
  virtual std::optional<Reading> Read(const std::string& bus_id) = 0;
};

// Reads a GPU every tenth of a second from now on, in a thread of its own; of a long time Finish
// gives every second reading or fewer. Null where it can't be read.
std::unique_ptr<DeviceMeter> MeterOf(std::shared_ptr<Nvml> nvml, const std::string& bus_id);

}  // namespace assay::cuda
