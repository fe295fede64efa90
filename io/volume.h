// The volume that a folder is on, told from what the kernel says of mounts and block devices.
// Nothing here holds a serial number, an address or a name that a person gave.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "results/file/run.h"

namespace assay::io {

// The place of a path, as the kernel tells it.
struct Place {
  std::string path = {};                      // absolute, without links
  std::optional<std::int64_t> mount_id = {};  // the mount that the path is seen through
  std::string device = {};                    // number of the device that holds it: "259:1"
  std::string block_device = {};  // its own number if the path is a block device: "7:0"; else ""
  std::uint64_t inode = 0;
};
// Looks a path up; nothing where it doesn't exist.
std::optional<Place> PlaceOf(const std::string& path);

// A file's identity, which doesn't depend on the name that it has here.
struct FileIdentity {
  std::string device = {};  // number of the device that holds it: "259:1"
  std::uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};
// The file behind the loop device "loop5", whose number is "7:5"; nothing where this process may
// not ask the device for it.
std::optional<FileIdentity> LoopFileOf(const std::string& name, const std::string& number);

// The sources of what the kernel says, which tests replace by scripted ones.
struct KernelRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";
  std::function<std::optional<Place>(const std::string& path)> place = PlaceOf;
  std::function<std::optional<FileIdentity>(const std::string& name, const std::string& number)>
      loop_file = LoopFileOf;
};

// The place where direct transfers end. They bypass the page cache of their own file system, but
// loop devices, RAID, device-mapper and overlays hand them on, so that what lies below decides.
// Where the way has several branches, the worst counts.
struct Below {
  enum class Ends {
    kDevice,   // at disks
    kUnknown,  // it can't be told
    kCache,    // in the page cache of a file system further down
    kMemory,   // in this machine's memory
  };
  Ends ends = Ends::kUnknown;
  std::string why = "the folder can't be found";  // the reason in words; no meaning for kDevice
};
// Follows the way of direct transfers from `folder` down to where they end.
Below DescribeBelow(const std::string& folder, const KernelRoots& roots);

// Describes the volume that holds `folder`. What can't be found out stays unknown. Never throws.
Volume DescribeVolume(const std::string& folder, const KernelRoots& roots);

}  // namespace assay::io
