// Which volume a folder is on, told from what the kernel says of mounts and block devices. Never a
// serial number, an address or a name that a person gave.
#pragma once

#include <string>

#include "results/run.h"

namespace assay::io {

// Where the kernel's trees are; scripted folders in tests.
struct KernelRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";
};

// The volume that holds `folder`; what can't be found out stays unknown. Never throws.
Volume DescribeVolume(const std::string& folder, const KernelRoots& roots);

}  // namespace assay::io
