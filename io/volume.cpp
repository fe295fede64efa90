#include "io/volume.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "io/io.h"
#include "io/system.h"
#include "results/base/descriptor.h"
#include "results/base/files.h"
#include "results/base/text.h"

namespace assay::io {
namespace {

namespace fs = std::filesystem;

struct Mount {
  std::string id = {};      // "31"
  std::string device = {};  // "259:1"
  std::string point = {};
  std::string type = {};
  std::string source = {};
  std::vector<std::string> options = {};  // still escaped, as in mountinfo
};

// The first line of a small file, without its end and padding; "" where it can't be read.
std::string FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  line.erase(line.find_last_not_of(" \t\r\n") + 1);
  line.erase(0, line.find_first_not_of(" \t"));
  return line;
}

// Undoes the escapes of mountinfo, which writes a blank as \040 (proc(5)).
std::string Unescape(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string digits = text.substr(i, 4);
    if (digits.size() == 4 && digits[0] == '\\' &&
        digits.find_first_not_of("01234567", 1) == std::string::npos) {
      plain += static_cast<char>(std::stoi(digits.substr(1), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool Holds(const std::string& mount_point, const std::string& folder) {
  if (mount_point == "/") return true;
  return folder.starts_with(mount_point) &&
         (folder.size() == mount_point.size() || folder[mount_point.size()] == '/');
}

// The mounts that a mountinfo file lists, in its order; lines that can't be read are skipped.
std::vector<Mount> MountsIn(const fs::path& mountinfo) {
  std::ifstream file(mountinfo);
  std::vector<Mount> mounts;
  for (std::string line; std::getline(file, line);) {
    // The line's format: id parent major:minor root point options [optional …] - type source
    // super-options
    const std::vector<std::string> words = SplitFields(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    mounts.push_back({.id = words[0],
                      .device = words[2],
                      .point = Unescape(words[4]),
                      .type = dash[1],
                      .source = Unescape(dash[2]),
                      .options = SplitFields(words[5] + "," + dash[3], ',')});
  }
  return mounts;
}

// The mount that a place is seen through. The mount's number decides, since a mount may lie over
// another one, and a subvolume of btrfs has a device number that no mount has. Where the kernel
// doesn't tell the number, the mount is one of the same device: the deepest above the place, else
// the last.
std::optional<Mount> MountOf(const Place& place, const fs::path& mountinfo) {
  const std::vector<Mount> mounts = MountsIn(mountinfo);
  if (place.mount_id) {
    const std::string id = std::to_string(*place.mount_id);
    const auto found = std::ranges::find(mounts, id, &Mount::id);
    if (found != mounts.end()) return *found;
  }
  const Mount* best = nullptr;
  const auto depth_of = [&](const Mount& mount) {
    return Holds(mount.point, place.path) ? mount.point.size() : 0;
  };
  for (const Mount& mount : mounts) {
    if (mount.device != place.device) continue;
    if (best == nullptr || depth_of(mount) >= depth_of(*best)) best = &mount;
  }
  return best == nullptr ? std::nullopt : std::optional(*best);
}

// The value of the super-option `name`, or "" where the file system has none.
std::string OptionOf(const Mount& mount, const std::string& name) {
  for (const std::string& option : mount.options) {
    if (option.starts_with(name + '=')) return Unescape(option.substr(name.size() + 1));
  }
  return "";
}

// The mount options that can move a figure. All others are left out, since options of network file
// systems hold addresses and user names.
std::vector<std::string> TellingOptions(const std::vector<std::string>& options) {
  static const std::set<std::string_view> kTelling = {
      "allocsize",      "autodefrag",  "barrier",       "cache",      "commit",    "compress",
      "compress-force", "data",        "dax",           "delalloc",   "dirsync",   "discard",
      "hard",           "huge",        "inode64",       "largeio",    "lazytime",  "logbsize",
      "logbufs",        "max_read",    "nconnect",      "noatime",    "nobarrier", "nodatacow",
      "nodatasum",      "nodelalloc",  "nodiscard",     "nodiratime", "proto",     "relatime",
      "retrans",        "ro",          "rsize",         "rw",         "soft",      "ssd",
      "stripe",         "sunit",       "swidth",        "sync",       "timeo",     "vers",
      "wsize",          "strictatime", "dioread_nolock"};
  std::vector<std::string> telling;
  for (const std::string& option : options) {
    const std::string name = option.substr(0, option.find('='));
    const bool plain =
        option.size() <= 40 && option.find_first_not_of(
                                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789_=.:-") == std::string::npos;
    if (plain && kTelling.contains(name) &&
        std::find(telling.begin(), telling.end(), option) == telling.end()) {
      telling.push_back(option);
    }
  }
  return telling;
}

bool IsOneOf(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool KeepsFilesInMemory(const std::string& type) {
  return IsOneOf(type, {"tmpfs", "ramfs", "hugetlbfs", "devtmpfs"});
}

// Whether a file system on a block device hands direct transfers on to it, as the file system's
// source code shows.
bool PassesDirectOn(const std::string& type) {
  return IsOneOf(type, {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"});
}

// The kind of a volume whose file system has no block device of this machine.
std::string KindOfFileSystem(const std::string& type) {
  if (KeepsFilesInMemory(type)) return "memory";
  if (IsOneOf(type, {"nfs", "nfs4", "lustre", "ceph", "cifs", "smb3", "gpfs", "beegfs", "afs",
                     "glusterfs", "fuse.gcsfuse", "fuse.sshfs", "fuse.s3fs", "fuse.glusterfs"})) {
    return "network";
  }
  return "unknown";
}

// A disk model that tells where the disk is. Clouds' own drivers and device-mapper rules match the
// same names.
struct KnownModel {
  std::string_view prefix;
  std::string_view kind;
};
constexpr std::array kKnownModels = {
    // docs.aws.amazon.com/AWSEC2/latest/UserGuide/nvme-ebs-volumes.html
    KnownModel{"Amazon EC2 NVMe Instance Storage", "local"},
    KnownModel{"Amazon Elastic Block Store", "network"},
    // github.com/GoogleCloudPlatform/guest-configs, google_nvme_id and 65-gce-disk-naming.rules
    KnownModel{"nvme_card-pd", "network"},
    KnownModel{"nvme_card", "local"},
    KnownModel{"PersistentDisk", "network"},
    KnownModel{"EphemeralDisk", "local"},
    // learn.microsoft.com/azure/virtual-machines/enable-nvme-remote-faqs
    KnownModel{"Microsoft NVMe Direct Disk", "local"},
    KnownModel{"MSFT NVMe Accelerator", "network"},
    // drivers/scsi/scsi_debug.c
    KnownModel{"scsi_debug", "memory"},
};

struct Disk {
  std::string kind = "unknown";
  std::string device = {};
  std::string how = {};
};

// Whether this machine is virtual, where a disk of no known model may be anything, whatever bus it
// seems to be on.
bool UnderHypervisor(const KernelRoots& roots) {
  std::ifstream file(roots.proc + "/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("flags") && line.find(" hypervisor") != std::string::npos) return true;
  }
  return false;
}

// Describes the disk of a block device: its model, and whether it is local, on a network or memory,
// as far as the model or the bus tells.
Disk DiskOf(const fs::path& block, const KernelRoots& roots) {
  const std::string name = block.filename();
  Disk disk;
  std::error_code error;
  const std::string model = FirstLine(block / "device/model");
  const std::string driver = fs::read_symlink(block / "device/driver", error).filename();
  disk.device = Clean(!model.empty() ? model : !driver.empty() ? driver : name, 64);
  disk.how = model.empty() ? "driver" : "model";
  for (const KnownModel& known : kKnownModels) {
    if (model.starts_with(known.prefix)) {
      disk.kind = known.kind;
      return disk;
    }
  }
  const std::string transport = FirstLine(block / "device/transport");
  if (!transport.empty()) {
    disk.how += ", nvme over " + Clean(transport, 16);
    if (transport != "pcie") {
      disk.kind = "network";
    } else if (!UnderHypervisor(roots)) {
      disk.kind = "local";
    }
  } else if (block.string().find("/ata") != std::string::npos && !UnderHypervisor(roots)) {
    disk.kind = "local";
  }
  return disk;
}

// The driver of a block device by its major number, as /proc/devices names it, or "".
std::string DriverOf(const fs::path& block, const KernelRoots& roots) {
  const std::string number = FirstLine(block / "dev");
  const std::string major = number.substr(0, number.find(':'));
  if (major.empty()) return "";
  std::ifstream file(roots.proc + "/devices");
  bool are_blocks = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("Block")) are_blocks = true;
    const std::vector<std::string> words = SplitFields(line, ' ');
    if (are_blocks && words.size() >= 2 && words[words.size() - 2] == major) return words.back();
  }
  return "";
}

// The size of a block device; 0 where the system doesn't tell.
std::int64_t BytesOf(const fs::path& block) {
  const std::string sectors = FirstLine(block / "size");  // 512 bytes each, whatever the disk's are
  if (sectors.empty() || sectors.size() > 16 ||
      sectors.find_first_not_of("0123456789") != std::string::npos) {
    return 0;
  }
  return std::stoll(sectors) * 512;
}

// Walks down from a file to the disks that it lies on in the end, and gathers what they are.
class Descent {
 public:
  explicit Descent(const KernelRoots& roots) : roots_(roots) {}

  // Walks down from the mount that the place is seen through. Returns false where there is no such
  // mount.
  bool FromPlace(const Place& place) {
    const std::optional<Mount> mount = MountOf(place, roots_.proc + "/self/mountinfo");
    if (!mount) {
      Lead({"", Below::Ends::kUnknown, "the mount that holds it can't be found"});
      return false;
    }
    if (!top_) top_ = *mount;
    FromMount(*mount);
    return true;
  }

  const std::optional<Mount>& Top() const { return top_; }
  // The block device that the file system at the top is on, if it is on one.
  const std::optional<fs::path>& TopBlock() const { return top_block_; }
  // The RAID that spreads the volume over several disks, the uppermost where there are two: "raid0
  // x2".
  std::optional<std::string> Raid() const {
    if (raid_.empty()) return std::nullopt;
    return fmt::format("{} x{}", raid_, disks_.size());
  }

  // The kind of all disks together. A volume that is partly memory counts as memory, since part of
  // it is as fast.
  std::string Kind() const {
    if (kinds_.contains("memory")) return "memory";
    return kinds_.size() == 1 ? *kinds_.begin() : "unknown";
  }
  std::string Devices() const { return fmt::format("{}", fmt::join(devices_, " + ")); }
  std::string How() const { return fmt::format("{}", fmt::join(how_, ", ")); }
  const Below& Worst() const { return worst_; }

 private:
  // The end of one way down.
  struct End {
    std::string kind = {};
    Below::Ends ends = Below::Ends::kUnknown;
    std::string why = {};
  };

  static void AddTo(std::vector<std::string>& words, const std::string& word) {
    if (!word.empty() && std::ranges::find(words, word) == words.end()) words.push_back(word);
  }

  void Lead(const End& end) {
    if (!end.kind.empty()) kinds_.insert(end.kind);
    Meet(end.ends, end.why);
  }

  void Meet(Below::Ends ends, const std::string& why) {
    if (met_ && ends <= worst_.ends) return;
    met_ = true;
    worst_ = {.ends = ends, .why = why};
  }

  // Walks down from a mounted file system, by its kind (docs/storage.md has the table).
  void FromMount(const Mount& mount) {
    if (++levels_ > kMostLevels) return Lead({"unknown", Below::Ends::kUnknown, "it is too deep"});
    const std::string type = Clean(mount.type, 32);
    if (KeepsFilesInMemory(mount.type)) {
      AddTo(devices_, type);
      return Lead({"memory", Below::Ends::kMemory, type + " keeps files in memory"});
    }
    if (mount.type == "overlay") {
      // An overlay writes to its upper layer, which a container may not see.
      const std::optional<Place> upper = PlaceAt(OptionOf(mount, "upperdir"));
      AddTo(how_, "overlay");
      if (upper && upper->block_device.empty()) {
        FromPlace(*upper);
        return;
      }
      AddTo(devices_, type);
      return Lead({"unknown", Below::Ends::kUnknown,
                   "the upper layer of this overlay lies outside of what can be seen here"});
    }
    if (!PassesDirectOn(mount.type)) {
      Meet(Below::Ends::kUnknown,
           type + " is not a file system known to do direct I/O on a disk of this machine");
    }
    const std::vector<fs::path> blocks = BlocksOf(mount);
    if (!top_block_ && !blocks.empty() && mount.id == top_->id) top_block_ = blocks.front();
    if (raid_.empty() && blocks.size() > 1) raid_ = type;
    for (const fs::path& block : blocks) FromBlock(block);
    if (!blocks.empty()) return;
    AddTo(devices_, type);
    Lead({KindOfFileSystem(mount.type), Below::Ends::kUnknown,
          "the disk under this " + type + " can't be found"});
  }

  // The folders in sysfs of the block devices that a mounted file system is on.
  std::vector<fs::path> BlocksOf(const Mount& mount) const {
    std::error_code error;
    const fs::path block = fs::canonical(BlockByNumber(mount.device), error);
    if (!error) return {block};
    // A btrfs has a device number of its own and names one of its block devices as the source.
    if (mount.type != "btrfs") return {};
    const std::optional<fs::path> source = BlockBySource(mount.source);
    if (!source) return {};
    for (const fs::path& each : EntriesOf(roots_.sys + "/fs/btrfs")) {
      if (!fs::exists(each / "devices" / source->filename(), error)) continue;
      std::vector<fs::path> all;
      for (const fs::path& device : EntriesOf(each / "devices")) {
        const fs::path real = fs::canonical(device, error);
        if (!error) all.push_back(real);
      }
      std::ranges::sort(all);
      return all;
    }
    return {*source};
  }

  fs::path BlockByNumber(const std::string& number) const {
    return fs::path(roots_.sys) / "dev/block" / number;
  }

  // The folder in sysfs of the block device that a mount names as its source; nothing where it
  // isn't one.
  std::optional<fs::path> BlockBySource(const std::string& source) const {
    if (!source.starts_with("/dev/")) return std::nullopt;
    std::error_code error;
    if (const std::optional<Place> node = PlaceAt(source); node && !node->block_device.empty()) {
      const fs::path block = fs::canonical(BlockByNumber(node->block_device), error);
      if (!error) return block;
    }
    const std::string name = fs::path(source).filename();
    const fs::path all = fs::path(roots_.sys) / "class/block";
    const fs::path block = fs::canonical(all / name, error);
    if (!error) return block;
    for (const fs::path& each : EntriesOf(all)) {
      if (FirstLine(each / "dm/name") != name) continue;
      const fs::path mapped = fs::canonical(each, error);
      if (!error) return mapped;
    }
    return std::nullopt;
  }

  // The place of a path that the kernel or a mount option names; it may belong to another name
  // space.
  std::optional<Place> PlaceAt(const std::string& path) const {
    if (!path.starts_with('/')) return std::nullopt;
    return roots_.place(path);
  }

  // Walks down from a block device: to its members where it is made of others, to its file where it
  // is a loop device, else it is the end of this way.
  void FromBlock(const fs::path& block) {
    if (++levels_ > kMostLevels) return Lead({"unknown", Below::Ends::kUnknown, "it is too deep"});
    std::error_code error;
    if (fs::exists(block / "partition", error)) return FromBlock(block.parent_path());
    const std::string name = Clean(block.filename().string(), 32);
    const std::string driver = DriverOf(block, roots_);
    if (driver == "loop") return FromLoop(block, name);
    std::vector<fs::path> members;
    for (const fs::path& slave : EntriesOf(block / "slaves")) {
      const fs::path real = fs::canonical(slave, error);
      if (!error) members.push_back(real);
    }
    std::ranges::sort(members);
    const std::string level = FirstLine(block / "md/level");
    if (raid_.empty() && !level.empty()) raid_ = Clean(level, 16);
    if (raid_.empty() && members.size() > 1) raid_ = "device-mapper";
    for (const fs::path& member : members) FromBlock(member);
    if (!members.empty()) return;
    disks_.insert(block);
    if (IsOneOf(driver, {"zram", "ramdisk", "nullb"})) {
      AddTo(devices_, driver);
      AddTo(how_, "driver");
      return Lead({"memory", Below::Ends::kMemory, name + " keeps its data in memory"});
    }
    const Disk disk = DiskOf(block, roots_);
    AddTo(devices_, disk.device);
    AddTo(how_, disk.how);
    if (disk.kind == "memory") {
      return Lead({"memory", Below::Ends::kMemory, name + " keeps its data in memory"});
    }
    // A disk hangs on a bus. Any other block device (nbd, ublk) is served by a program or a driver
    // that may cache what it likes.
    const bool is_disk = fs::exists(block / "device", error) &&
                         fs::canonical(block / "device/subsystem", error).filename() != "ublk-char";
    Lead({disk.kind, is_disk ? Below::Ends::kDevice : Below::Ends::kUnknown,
          is_disk ? "" : "what lies below " + name + " can't be told"});
  }

  // Walks on from a loop device to its file, which it reads and writes through the page cache
  // unless that is switched off.
  void FromLoop(const fs::path& block, const std::string& name) {
    AddTo(how_, "loop");
    const std::string direct = FirstLine(block / "loop/dio");
    if (direct == "0") {
      Meet(Below::Ends::kCache, name + " does its file's I/O through the page cache (loop/dio 0)");
    } else if (direct != "1") {
      Meet(Below::Ends::kUnknown, "how " + name + " does its file's I/O can't be told");
    }
    const std::optional<FileIdentity> own = roots_.loop_file(name, FirstLine(block / "dev"));
    const std::optional<Place> file = PlaceAt(FirstLine(block / "loop/backing_file"));
    // The name that the kernel has for the file may be another file's in this name space.
    if (own && file && *own == FileIdentity{.device = file->device, .inode = file->inode}) {
      std::error_code error;
      const fs::path disk = fs::canonical(BlockByNumber(file->block_device), error);
      if (file->block_device.empty()) {
        FromPlace(*file);
        return;
      }
      if (!error) return FromBlock(disk);
    }
    disks_.insert(block);
    AddTo(devices_, name);
    Lead(
        {"unknown", Below::Ends::kUnknown,
         fmt::format("the file behind {} can't be {}", name, own ? "found" : "told by this user")});
  }

  static constexpr int kMostLevels = 256;  // the most levels of all ways down together

  const KernelRoots& roots_;
  std::optional<Mount> top_ = {};
  std::optional<fs::path> top_block_ = {};
  std::string raid_ = {};
  std::set<fs::path> disks_ = {};
  std::set<std::string> kinds_ = {};
  std::vector<std::string> devices_ = {};
  std::vector<std::string> how_ = {};
  Below worst_ = {};
  bool met_ = false;
  int levels_ = 0;
};

}  // namespace

std::optional<Place> PlaceOf(const std::string& path) {
  std::error_code error;
  Place place = {.path = fs::canonical(path, error)};
  struct statx status = {};
  if (error || statx(AT_FDCWD, place.path.c_str(), AT_NO_AUTOMOUNT,
                     STATX_BASIC_STATS | STATX_MNT_ID, &status) != 0) {
    return std::nullopt;
  }
  place.device = fmt::format("{}:{}", status.stx_dev_major, status.stx_dev_minor);
  if ((status.stx_mask & STATX_MNT_ID) != 0) {
    place.mount_id = static_cast<std::int64_t>(status.stx_mnt_id);
  }
  if (S_ISBLK(status.stx_mode)) {
    place.block_device = fmt::format("{}:{}", status.stx_rdev_major, status.stx_rdev_minor);
  }
  place.inode = status.stx_ino;
  return place;
}

std::optional<FileIdentity> LoopFileOf(const std::string& name, const std::string& number) {
  const Descriptor device(open(("/dev/" + name).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status = {};
  if (!device.IsOpen() || fstat(device.Number(), &status) != 0 || !S_ISBLK(status.st_mode) ||
      fmt::format("{}:{}", major(status.st_rdev), minor(status.st_rdev)) != number) {
    return std::nullopt;
  }
  loop_info64 info = {};
  if (ioctl(device.Number(), LOOP_GET_STATUS64, &info) != 0) return std::nullopt;
  return FileIdentity{.device = fmt::format("{}:{}", major(info.lo_device), minor(info.lo_device)),
                      .inode = info.lo_inode};
}

Volume DescribeVolume(const std::string& folder, const KernelRoots& roots) {
  Volume volume = {.path_id = 0, .how = "none"};
  const std::optional<Place> place = roots.place(folder);
  Descent descent(roots);
  if (!place || !descent.FromPlace(*place)) return volume;
  volume.fs = Clean(descent.Top()->type, 32);
  volume.mount = TellingOptions(descent.Top()->options);
  volume.kind = descent.Kind();
  volume.device = descent.Devices();
  volume.how = "mountinfo";
  if (!descent.How().empty()) volume.how += ", " + descent.How();
  volume.raid = descent.Raid();
  if (const std::optional<fs::path>& block = descent.TopBlock()) {
    if (const std::int64_t bytes = BytesOf(*block); bytes > 0) {
      volume.gib = static_cast<double>(bytes) / (1 << 30);
      return volume;
    }
  }
  struct statvfs space = {};
  if (statvfs(place->path.c_str(), &space) == 0) {
    volume.gib =
        static_cast<double>(space.f_blocks) * static_cast<double>(space.f_frsize) / (1 << 30);
  }
  return volume;
}

Below DescribeBelow(const std::string& folder, const KernelRoots& roots) {
  Descent descent(roots);
  if (const std::optional<Place> place = roots.place(folder)) descent.FromPlace(*place);
  return descent.Worst();
}

}  // namespace assay::io
