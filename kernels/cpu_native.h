// The native backend: this program's own loops on the CPU, for peak and memory.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace assay {

std::unique_ptr<Backend> MakeNativeBackend(const Setup& setup);

// {"highway", "1.0.3"}.
std::map<std::string, std::string> NativeSoftware();

}  // namespace assay
