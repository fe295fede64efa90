// The door of kernels/: all that the rest of the program sees of compute and memory on one device.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::kernels {

// The probes of this folder, from peak to headline. They keep the setup's backends alive.
std::vector<Probe> Probes(const Setup& setup);

// Makes the GEMM that something else is measured beside (Setup::gemm): by the CPUs' own backends,
// and on GPUs by those of the modules, which must outlive it and its cases.
GemmAt GemmBeside(const Modules& modules);

// Converts the params of the probe attention into the op. All params must be there. Throws Error
// where they contradict each other.
Attention AttentionOf(const Params& params);

// The names and versions of the libraries that are used here: {"onednn", "2.6.3
// (avx512_core_bf16)"}.
std::map<std::string, std::string> Software();

}  // namespace assay::kernels
