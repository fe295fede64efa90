// The door of kernels/: all that the rest of the program sees of compute and memory on one device.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::kernels {

// The probes of this folder, from peak to headline. They keep the backends that they use alive.
std::vector<Probe> Probes(const Setup& setup);

// Makes the GEMM that something else is measured beside (Setup::gemm): by the CPUs' own backends,
// and on GPUs by those of the modules, which must outlive it and its cases. Where there is no such
// GPU or no such backend, the case's `prepare` returns Skipped.
GemmAt GemmBeside(const Modules& modules);

// Converts the params of the probe attention into the op. Throws Error where one is missing or has
// a value that makes no sense, or where they contradict each other.
Attention AttentionOf(const Params& params);

// The names and versions of the libraries that are used here: {"onednn", "2.6.3
// (avx512_core_bf16)"}.
std::map<std::string, std::string> Software();

}  // namespace assay::kernels
