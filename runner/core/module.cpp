#include "runner/core/module.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "results/base/text.h"
#include "version.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

// The modules that this program knows. Adding one takes one line here, one source file and its
// target in CMakeLists.txt.
struct Known {
  const char* name;
  const char* file;              // libassay-FILE.so
  const char* to_build;          // what to do where this build has no such module
  const char* to_open;           // what to do where the vendor's library is missing or unfit
  const char* driver = nullptr;  // the driver's library, without which it does nothing
};
constexpr Known kOpenMpi = {
    .name = "mpi",
    .file = "openmpi",
    .to_build = "apt-get install libopenmpi-dev openmpi-bin, then build again",
    .to_open = "apt-get install openmpi-bin"};
constexpr Known kMpich = {.name = "mpi",
                          .file = "mpich",
                          .to_build = "apt-get install libmpich-dev mpich, then build again",
                          .to_open = "apt-get install mpich"};
constexpr Known kOthers[] = {
    {.name = "ofi",
     .file = "ofi",
     .to_build = "apt-get install libfabric-dev, then build again",
     .to_open = "apt-get install libfabric1"},
    {.name = "cuda",
     .file = "cuda",
     .to_build = "install the CUDA toolkit (12.4 or newer) with nvcc and cuBLAS, then build again",
     .to_open = "install libcudart and libcublasLt of the CUDA version that this was built with",
     .driver = "libcuda.so.1"},
    {.name = "nccl",
     .file = "nccl",
     .to_build = "install the CUDA toolkit (12 or newer) and NCCL, then build again",
     .to_open = "install libcudart and libnccl of the CUDA version that this was built with",
     .driver = "libcuda.so.1"},
};

// The end of a path: its real path, or why somebody else could decide what lies there.
struct Reached {
  fs::path real = "/";
  std::optional<std::string> distrust = {};
  bool is_unknown = false;  // the owner can't be told, so that no chown helps
};

// Whether a uid may be the overflow uid, which stands for all users that this user namespace has no
// number for.
bool IsUnknownHere(uid_t uid) {
  unsigned long overflow = 0;
  std::ifstream("/proc/sys/kernel/overflowuid") >> overflow;
  unsigned long first = 0;
  unsigned long outside = 0;
  unsigned long count = 0;
  std::ifstream("/proc/self/uid_map") >> first >> outside >> count;
  // The overflow number means "unmapped" only in a user namespace that maps a part of all users.
  return uid == overflow && count < std::numeric_limits<uid_t>::max();
}

// Follows an absolute path as the kernel does, a component at a time, since each folder and each
// link on the way is a place where something else can be put. All must belong to root or the user,
// and others may write to none. A sticky folder, such as /tmp, may stand on the way although others
// write to it, since they can neither remove nor rename what isn't theirs; it may not be the end,
// since what they add would be opened.
Reached Follow(const fs::path& path) {
  constexpr int kMostLinks = 40;  // the kernel's own limit
  Reached reached;
  const auto distrust = [&](const fs::path& at, const std::string& why) {
    reached.distrust = Clean(at.string() + ' ' + why, 512);
    return reached;
  };
  const std::string by_others = "is writable by others";
  struct stat status = {};
  int links = 0;
  for (std::deque<fs::path> left(path.begin(), path.end()); !left.empty();) {
    const fs::path name = left.front();
    left.pop_front();
    if (name.empty() || name == ".") continue;
    const fs::path at = name == ".." ? reached.real.parent_path() : reached.real / name;
    if (lstat(at.c_str(), &status) != 0) {
      return distrust(at, std::string("can't be read: ") + std::strerror(errno));
    }
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
      reached.is_unknown = IsUnknownHere(status.st_uid);
      return distrust(at, reached.is_unknown ? "belongs to uid " + std::to_string(status.st_uid) +
                                                   ", as which this user namespace shows all users "
                                                   "that it doesn't know"
                                             : "belongs to another user");
    }
    if (S_ISLNK(status.st_mode)) {
      std::error_code failed;
      const fs::path target = fs::read_symlink(at, failed);
      if (failed || ++links > kMostLinks) return distrust(at, "is a link that leads nowhere");
      left.insert(left.begin(), target.begin(), target.end());
      continue;
    }
    reached.real = at;
    const bool is_open = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    if (is_open && (status.st_mode & S_ISVTX) == 0) return distrust(at, by_others);
  }
  // The path may end in a link to ".", after which no folder was looked at.
  if (lstat(reached.real.c_str(), &status) != 0) {
    return distrust(reached.real, std::string("can't be read: ") + std::strerror(errno));
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) return distrust(reached.real, by_others);
  return reached;
}

// Whether the loader finds this library.
bool CanOpen(const char* library) {
  void* opened = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  if (opened == nullptr) return false;
  dlclose(opened);
  return true;
}

// Opens the file of an entry; where it isn't opened or is of another build, the entry says why.
void Open(const Known& known, const ModuleSearch& search, Modules::Entry& entry) {
  if (search.skips_driverless && known.driver != nullptr && !CanOpen(known.driver)) {
    entry.reason = kNoNvidiaDriver;
    entry.remedy = kNvidiaDriverRemedy;
    return;
  }
  entry.remedy = known.to_open;
  void* library = dlopen(entry.path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    entry.reason = Clean(dlerror(), 512);
    return;
  }
  using Function = const Module* (*)();
  const auto function = reinterpret_cast<Function>(dlsym(library, "assay_module"));
  const Module* module = function == nullptr ? nullptr : function();
  if (module == nullptr || std::strcmp(module->build_id, BuildId()) != 0) {
    entry.reason = entry.path + " was built with another assay (" +
                   (module == nullptr ? "not a module" : Clean(module->build_id)) + ", not " +
                   BuildId() + ")";
    entry.remedy = "build or install both together";
    return;
  }
  entry.module = module;
  entry.remedy.clear();
}

// Looks for the module in the folder that the user chose. Returns nothing where that has no such
// file.
std::optional<Modules::Entry> FindChosen(const Known& known, const std::string& file,
                                         const ModuleSearch& search) {
  const std::string& chosen = search.chosen;
  Modules::Entry entry = {.name = known.name};
  const bool is_absolute = chosen[0] == '/';
  Reached reached =
      is_absolute ? Follow(chosen) : Reached{.distrust = Clean(chosen) + " is no absolute path"};
  if (!reached.distrust) {
    const fs::path module = reached.real / file;
    struct stat status = {};
    if (lstat(module.c_str(), &status) != 0 && errno == ENOENT) return std::nullopt;
    reached = Follow(module);
    entry.path = reached.real.string();
  }
  if (reached.distrust) {
    entry.reason = *reached.distrust + ", so nothing from ASSAY_MODULE_DIR is opened";
    entry.remedy = !is_absolute ? "write it from / on, or unset ASSAY_MODULE_DIR"
                   : reached.is_unknown
                       ? "install modules beside assay, and unset ASSAY_MODULE_DIR"
                       : "make it yours alone (chown, chmod go-w), or unset ASSAY_MODULE_DIR";
    return entry;
  }
  Open(known, search, entry);
  return entry;
}

// Looks for a module in all folders and opens the first one found.
Modules::Entry Find(const Known& known, const ModuleSearch& search) {
  const std::string file = std::string("libassay-") + known.file + ".so";
  if (!search.chosen.empty()) {
    if (std::optional<Modules::Entry> found = FindChosen(known, file, search)) return *found;
  }
  Modules::Entry entry = {.name = known.name};
  for (const std::string& folder : search.folders) {
    std::error_code ignored;
    entry.path = fs::canonical(fs::path(folder) / file, ignored).string();
    if (entry.path.empty()) continue;
    Open(known, search, entry);
    return entry;
  }
  entry.reason = "there is no " + file + " beside assay, nor in its lib/assay";
  entry.remedy = known.to_build;
  return entry;
}

// The family of MPI that started this process, or that would start ranks here. It is told by
// variables of Open MPI's mpirun and of Slurm's PMIx, which Open MPI speaks; then by those of hydra
// and of Slurm's PMI-2, which MPICH speaks.
std::string FamilyAtHand() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return kOpenMpi.file;
  }
  for (const char* name : {"PMI_RANK", "PMI_SIZE"}) {
    if (std::getenv(name) != nullptr) return kMpich.file;
  }
  const std::optional<Mpirun> mpirun = FindMpirun();
  return mpirun ? mpirun->family : kOpenMpi.file;
}

// Opens one of MPI's modules. A build that has a module for one MPI alone takes it whatever the
// launcher is, since some launchers speak to both; where this one doesn't, the ranks notice that
// they are too few.
Modules::Entry FindMpi(const ModuleSearch& search) {
  const bool is_mpich = FamilyAtHand() == kMpich.file;
  const Modules::Entry fitting = Find(is_mpich ? kMpich : kOpenMpi, search);
  if (!fitting.path.empty()) return fitting;
  const Modules::Entry other = Find(is_mpich ? kOpenMpi : kMpich, search);
  return other.module == nullptr ? fitting : other;
}

}  // namespace

bool DropEnvironment() {
  if (getauxval(AT_SECURE) == 0) return false;
  std::vector<std::pair<const char*, std::string>> kept;
  // The kept variables say how to print and where ranks meet; the ranks that assay starts are told
  // through the latter, too.
  for (const char* name : {"TERM", "NO_COLOR", "LANG", "LC_ALL", "TZ", "ASSAY_BOOTSTRAP",
                           "ASSAY_BOOTSTRAP_KEY", "ASSAY_BOOTSTRAP_LISTENER", "ASSAY_WATCHDOG",
                           "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK"}) {
    if (const char* value = std::getenv(name)) kept.emplace_back(name, value);
  }
  clearenv();
  for (const auto& [name, value] : kept) setenv(name, value.c_str(), 1);
  return true;
}

std::optional<Mpirun> FindMpirun() {
  const char* path = secure_getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string file = folder + "/mpirun";
    if (folder.empty() || folder[0] != '/' || access(file.c_str(), X_OK) != 0) continue;
    // Hydra is known by its real name. Intel's mpirun is a script whose name tells nothing, so it
    // is known by what lies beside it.
    std::error_code ignored;
    const fs::path real = fs::canonical(file, ignored);
    const std::string name = real.filename().string();
    const bool is_hydra =
        name.find("hydra") != std::string::npos || name.find("mpich") != std::string::npos ||
        (name == "mpirun" && fs::exists(real.parent_path() / "mpiexec.hydra", ignored));
    return Mpirun{.path = file, .family = is_hydra ? kMpich.file : kOpenMpi.file};
  }
  return std::nullopt;
}

const char* BuildId() { return ASSAY_BUILD_ID; }

ModuleSearch ModuleSearch::Usual() {
  ModuleSearch search;
  if (const char* chosen = secure_getenv("ASSAY_MODULE_DIR")) search.chosen = chosen;
  std::error_code ignored;
  const fs::path origin = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  if (origin.empty()) return search;
  search.folders = {origin, origin.parent_path() / "lib/assay",
                    origin.parent_path() / ASSAY_LIBDIR / "assay"};
  return search;
}

Modules Modules::Load(const ModuleSearch& search) {
  Modules modules;
  modules.entries_.push_back(FindMpi(search));
  for (const Known& known : kOthers) modules.entries_.push_back(assay::Find(known, search));
  return modules;
}

const Module* Modules::Find(const std::string& name) const {
  for (const Entry& entry : entries_) {
    if (entry.name == name) return entry.module;
  }
  return nullptr;
}

}  // namespace assay
