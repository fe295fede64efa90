// Which volume a folder is on, told from what the kernel says of mounts and block devices. Never a
// serial number, an address or a name that a person gave.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "results/run.h"

namespace assay::io {

// Where a path lies, as the kernel says.
struct Place {
  std::string path = {};                      // absolute, without links
  std::optional<std::int64_t> mount_id = {};  // of the mount that it is seen through
  std::string device = {};                    // that holds it, "259:1"
  std::string block_device = {};              // that it is itself, "7:0"; empty: it is none
  std::uint64_t inode = 0;
};
// Nothing where there is no such path.
std::optional<Place> PlaceOf(const std::string& path);

// Which file a loop device is on, whatever its name is here.
struct FileIdentity {
  std::string device = {};  // that holds it, "259:1"
  std::uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};
// The file behind the loop device "loop5", whose number is "7:5"; nothing where this process may
// not ask the device for it.
std::optional<FileIdentity> LoopFileOf(const std::string& name, const std::string& number);

// Where the kernel's trees are; scripted folders in tests.
struct KernelRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";
  std::function<std::optional<Place>(const std::string& path)> place = PlaceOf;
  std::function<std::optional<FileIdentity>(const std::string& name, const std::string& number)>
      loop_file = LoopFileOf;
};

// Where transfers end that pass the page cache of their own file system by. A loop device, a RAID,
// device-mapper or an overlay hands them on, and what lies below decides; the worst of several.
struct Below {
  enum class Ends {
    kDevice,   // at disks
    kUnknown,  // it can't be told
    kCache,    // in the page cache of a file system further down
    kMemory,   // in this machine's memory
  };
  Ends ends = Ends::kUnknown;
  std::string why = "the folder can't be found";  // unless it is kDevice
};
Below DescribeBelow(const std::string& folder, const KernelRoots& roots);

// The volume that holds `folder`; what can't be found out stays unknown. Never throws.
Volume DescribeVolume(const std::string& folder, const KernelRoots& roots);

}  // namespace assay::io
