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
// (AT_SECURE: setuid, setgid, file capabilities), and returns whether it has. All variables but
// TERM, NO_COLOR, LANG, LC_ALL, TZ and those of --bootstrap tcp are removed, a launcher's too,
// because libraries load code that variables name (HWLOC_PLUGINS_PATH, FI_PROVIDER_PATH,
// OMPI_MCA_…). Call it before anything reads the environment, while there is one thread.
bool DropEnvironment();

// The table of a module's functions. A module exports one function,
// `extern "C" const assay::Module* assay_module()`, which returns it.
struct Module {
  const char* build_id = nullptr;  // BuildId; a module with another one is not loaded
  const char* name = nullptr;      // the NAME of its file, libassay-NAME.so
  // Makes its backends of kernels, and its libraries of collectives. Null: it has none.
  std::vector<std::unique_ptr<Backend>> (*backends)() = nullptr;
  std::vector<std::unique_ptr<Library>> (*libraries)() = nullptr;
  // Lists the devices that its backends can run on. Null: none.
  ModuleDevices (*devices)() = nullptr;
  // Joins the processes that a launcher started. Null: it can't join processes.
  std::unique_ptr<Ranks> (*ranks)() = nullptr;
  std::string (*version)() = nullptr;  // names the vendor's library: "Open MPI v4.1.4"; never null
};

// The program that starts the ranks of an MPI, and the name of the module that fits it: "openmpi",
// or "mpich" for MPICH and what descends from it (Intel MPI, MVAPICH), whose launcher is hydra. A
// build has a module for each of the two that it found.
struct Mpirun {
  std::string path = {};
  std::string family = {};
};
// Finds the first mpirun in an absolute folder of PATH; nothing where there is none, or this
// program has more rights than its caller (DropEnvironment).
std::optional<Mpirun> FindMpirun();

// The id of this build, which its modules carry too.
const char* BuildId();

// The reason and the remedy of modules that need NVIDIA's driver where there is none.
inline constexpr const char* kNoNvidiaDriver = "there is no NVIDIA driver";
inline constexpr const char* kNvidiaDriverRemedy =
    "a machine with NVIDIA GPUs (nvidia-smi); in a container: --gpus all";

// The folders that modules are looked for in, and which modules are opened.
struct ModuleSearch {
  // An absolute folder that the user names ($ASSAY_MODULE_DIR), searched first; "": none. Modules
  // run as the user. One is therefore opened from here only if it and every folder and link on the
  // way belong to root or the user, and nobody else may write to them.
  std::string chosen = {};
  // The folders that are searched next. They are trusted as the binary is, and not checked.
  std::vector<std::string> folders = {};
  // Whether modules that need a driver which isn't there stay closed, with that as their reason,
  // since opening the modules cuda and nccl takes 220 MB.
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
    const Module* module = nullptr;  // never freed; null: not loaded, and `reason` says why
    std::string path = {};           // of the file that was found; "" where none was
    std::string reason = {};
    std::string remedy = {};
  };
  // Opens the known modules, of which there is an Entry each, with RTLD_NOW | RTLD_LOCAL, and never
  // closes them. An absent or unfit module is no exception but an Entry with its reason. One of
  // MPI's modules at most is opened: that of the launcher which started this process, as its
  // variables tell, else that of FindMpirun; where this build lacks it, the other.
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
