#include "io/volume.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "io/io.h"
#include "results/text.h"

namespace assay::io {
namespace {

namespace fs = std::filesystem;

struct Mount {
  std::string device = {};  // "259:1"
  std::string point = {};
  std::string type = {};
  std::string source = {};
  std::vector<std::string> options = {};
};

// The one line of a small file without its end and padding, or "".
std::string FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  line.erase(line.find_last_not_of(" \t\r\n") + 1);
  line.erase(0, line.find_first_not_of(" \t"));
  return line;
}

// mountinfo writes blanks as \040 (proc(5)).
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

// The mount that `folder` is seen through: the deepest, and of several on one point the last.
std::optional<Mount> MountOf(const std::string& folder, const fs::path& mountinfo) {
  std::ifstream file(mountinfo);
  std::optional<Mount> found;
  for (std::string line; std::getline(file, line);) {
    // id parent major:minor root point options [optional …] - type source super-options
    const std::vector<std::string> words = SplitFields(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    Mount mount = {.device = words[2],
                   .point = Unescape(words[4]),
                   .type = dash[1],
                   .source = Unescape(dash[2]),
                   .options = SplitFields(words[5] + "," + dash[3], ',')};
    if (Holds(mount.point, folder) && (!found || mount.point.size() >= found->point.size())) {
      found = std::move(mount);
    }
  }
  return found;
}

// Options by name that can move a figure. All others stay out: those of network file systems hold
// addresses and user names.
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

// What a file system without a block device of this machine is.
std::string KindOfFileSystem(const std::string& type) {
  if (IsOneOf(type, {"tmpfs", "ramfs", "hugetlbfs", "devtmpfs"})) return "memory";
  if (IsOneOf(type, {"nfs", "nfs4", "lustre", "ceph", "cifs", "smb3", "gpfs", "beegfs", "afs",
                     "glusterfs", "fuse.gcsfuse", "fuse.sshfs", "fuse.s3fs", "fuse.glusterfs"})) {
    return "network";
  }
  return "unknown";
}

// A model that tells where its disk is, as clouds' own drivers and device-mapper rules match it.
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
};

struct Disk {
  std::string kind = "unknown";
  std::string device = {};
  std::string how = {};
};

// Under a hypervisor a disk of no known model may be anything, whatever bus it seems to be on.
bool UnderHypervisor(const KernelRoots& roots) {
  std::ifstream file(roots.proc + "/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("flags") && line.find(" hypervisor") != std::string::npos) return true;
  }
  return false;
}

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
  if (name.starts_with("zram") || name.starts_with("ram")) disk.kind = "memory";
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

// The disks under a block device: itself, or what a RAID or device-mapper device is made of.
std::vector<fs::path> DisksUnder(const fs::path& block, int levels = 8) {
  std::error_code error;
  if (fs::exists(block / "partition", error)) return DisksUnder(block.parent_path(), levels);
  std::vector<fs::path> disks;
  if (levels > 0) {
    for (const auto& slave : fs::directory_iterator(block / "slaves", error)) {
      const fs::path real = fs::canonical(slave.path(), error);
      if (error) continue;
      const std::vector<fs::path> under = DisksUnder(real, levels - 1);
      disks.insert(disks.end(), under.begin(), under.end());
    }
  }
  if (disks.empty()) return {block};
  std::sort(disks.begin(), disks.end());
  disks.erase(std::unique(disks.begin(), disks.end()), disks.end());
  return disks;
}

// Where sysfs keeps the mounted block device. Some file systems (btrfs) have a device number of
// their own, and name the block device as the source.
std::optional<fs::path> BlockOf(const Mount& mount, const KernelRoots& roots) {
  std::error_code error;
  fs::path block = fs::canonical(fs::path(roots.sys) / "dev/block" / mount.device, error);
  if (!error) return block;
  if (!mount.source.starts_with("/dev/")) return std::nullopt;
  block =
      fs::canonical(fs::path(roots.sys) / "class/block" / fs::path(mount.source).filename(), error);
  if (!error) return block;
  return std::nullopt;
}

void DescribeBlock(const fs::path& block, const KernelRoots& roots, Volume& volume) {
  std::error_code error;
  const std::string sectors = FirstLine(block / "size");  // of 512 bytes, whatever the disk's are
  if (!sectors.empty() && sectors.find_first_not_of("0123456789") == std::string::npos &&
      sectors.size() <= 18) {
    volume.gib = static_cast<double>(std::stoll(sectors)) * 512 / (1 << 30);
  }
  const std::vector<fs::path> disks = DisksUnder(block);
  const Disk first = DiskOf(disks.front(), roots);
  volume.device = first.device;
  volume.kind = first.kind;
  volume.how += ", " + first.how;
  for (const fs::path& disk : disks) {
    if (DiskOf(disk, roots).kind != first.kind) volume.kind = "unknown";
  }
  const std::string level = FirstLine(block / "md/level");
  if (!level.empty()) {
    volume.raid = Clean(level, 16) + " x" + std::to_string(disks.size());
  } else if (disks.size() > 1) {
    volume.raid = "device-mapper x" + std::to_string(disks.size());
  }
}

}  // namespace

Volume DescribeVolume(const std::string& folder, const KernelRoots& roots) {
  Volume volume = {.path_id = 0, .how = "mountinfo"};
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (error) {
    volume.how = "none";
    return volume;
  }
  const std::optional<Mount> mount = MountOf(real, roots.proc + "/self/mountinfo");
  if (!mount) {
    volume.how = "none";
    return volume;
  }
  volume.fs = Clean(mount->type, 32);
  volume.mount = TellingOptions(mount->options);
  volume.kind = KindOfFileSystem(mount->type);
  volume.device = volume.fs;
  if (const std::optional<fs::path> block = BlockOf(*mount, roots)) {
    DescribeBlock(*block, roots, volume);
    return volume;
  }
  struct statvfs space = {};
  if (statvfs(real.c_str(), &space) == 0) {
    volume.gib =
        static_cast<double>(space.f_blocks) * static_cast<double>(space.f_frsize) / (1 << 30);
  }
  return volume;
}

}  // namespace assay::io
