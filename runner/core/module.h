// Modules are the loadable borders to vendor libraries (CUDA, NCCL, MPI, libfabric). Each is a
// shared object, written against the vendor's headers and opened by absolute path if it is there.
// The same binary starts everywhere, and tells of each absent module why it is absent and how to
// get it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "results/file/run.h"
#include "runner/core/ranks.h"

namespace assay {

class Backend;  // kernels/backend.h
class Library;  // collectives/library.h

// The devices of a module, in the order of its backends' devices.
struct ModuleDevices {
  std::vector<Accelerator> accelerators = {};  // one entry for each device
  // The devices' unique ids; empty where that of any device isn't known.
  std::vector<std::string> uuids = {};
  std::vector<Note> notes = {};  // what makes figures of these devices doubtful
};

// Drops the environment of a program that has more rights than its caller, as the kernel says
// (AT_SECURE: setuid, setgid, file capabilities). Every variable goes but TERM, NO_COLOR, LANG,
// LC_ALL, TZ and those of --bootstrap tcp, because libraries choose code by variables that they
// read by themselves: HWLOC_PLUGINS_PATH, FI_PROVIDER_PATH, OMPI_MCA_… The price is that a
// launcher's variables are lost too. Returns whether the program has such rights. Must be
// called before anything reads the environment, while there is one thread.
bool DropEnvironment();

// The table of a module's functions. A module exports one function,
// `extern "C" const assay::Module* assay_module()`, which returns it.
struct Module {
  const char* build_id = nullptr;  // a module whose id isn't this binary's is skipped
  const char* name = nullptr;      // the NAME of its file, libassay-NAME.so
  std::vector<std::unique_ptr<Backend>> (*backends)() = nullptr;   // null: none
  std::vector<std::unique_ptr<Library>> (*libraries)() = nullptr;  // null: none
  // The devices that its backends can run on. Null: none.
  ModuleDevices (*devices)() = nullptr;
  // Joins the processes that a launcher started; null where the module can't join processes.
  std::unique_ptr<Ranks> (*ranks)() = nullptr;
  std::string (*version)() = nullptr;  // the vendor's library: "Open MPI v4.1.4"
};

// The program that starts the ranks of an MPI. A build has a module for each of the two families of
// MPI that it found: "openmpi", and "mpich" with its descendants (Intel MPI, MVAPICH), which hydra
// starts.
struct Mpirun {
  std::string path = {};
  std::string family = {};  // the name of the module that fits it
};
// The first mpirun in an absolute folder of PATH. None where this program has more rights than its
// caller (DropEnvironment).
std::optional<Mpirun> FindMpirun();

// The build id that modules must carry.
const char* BuildId();

// The words for modules that need a GPU on a machine without one, and what helps.
inline constexpr const char* kNoNvidiaDriver = "there is no NVIDIA driver";
inline constexpr const char* kNvidiaDriverRemedy =
    "a machine with NVIDIA GPUs (nvidia-smi); in a container: --gpus all";

// Where modules are looked for, and which of them are opened.
struct ModuleSearch {
  // An absolute folder that the user names ($ASSAY_MODULE_DIR), or "". It is searched first. The
  // folder, its modules and everything that leads to them must belong to root or the user, and
  // nobody else may put something in its place, because what is opened here runs as the user.
  std::string chosen = {};
  // The folders that are searched next, which are trusted as much as the binary beside them.
  std::vector<std::string> folders = {};
  // True: modules that can do nothing without a driver which isn't there are not opened, and say
  // so, since opening the modules cuda and nccl takes 220 MB.
  bool skips_driverless = false;

  // The usual search: $ASSAY_MODULE_DIR, the binary's own folder, and lib/assay of the tree that it
  // is installed in. The variable is ignored where this program has more rights than its caller
  // (DropEnvironment).
  static ModuleSearch Usual();
};

// The modules of this process.
class Modules {
 public:
  struct Entry {
    std::string name = {};           // "mpi" for both of MPI's modules
    const Module* module = nullptr;  // null: not loaded, and `reason` says why
    std::string path = {};
    std::string reason = {};
    std::string remedy = {};
  };
  // Opens the known modules with RTLD_NOW | RTLD_LOCAL, and never closes them. An absent or unfit
  // module is an Entry with its reason, not an exception. Only one of MPI's modules is opened: that
  // of the launcher which started this process, as its variables tell, else that of the mpirun in
  // PATH; where that one was not built, the other.
  static Modules Load(const ModuleSearch& search = ModuleSearch::Usual());
  Modules() = default;
  explicit Modules(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  const std::vector<Entry>& Entries() const { return entries_; }
  // The loaded module of that name, or null.
  const Module* Find(const std::string& name) const;

 private:
  std::vector<Entry> entries_ = {};
};

}  // namespace assay
