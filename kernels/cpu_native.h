// The native backend: this program's own loops on the CPU, for peak and memory.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace assay {

// Makes the backend, which runs on the setup's threads and cores. The setup need not outlive it.
std::unique_ptr<Backend> MakeNativeBackend(const Setup& setup);

// Highway's version, and the instruction set that it chose here: {"highway", "1.0.3 (AVX3)"}.
std::map<std::string, std::string> NativeSoftware();

}  // namespace assay
