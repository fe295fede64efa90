// Modules are the loadable borders to vendor libraries (CUDA, NCCL, MPI, libfabric): one shared
// object each, written against the vendor's headers, opened by absolute path if it is there. So one
// binary starts everywhere, and says of each absent module why and how to get it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "results/run.h"
#include "runner/ranks.h"

namespace assay {

class Backend;  // kernels/backend.h
class Library;  // collectives/library.h

// The devices of a module, in the order of its backends'.
struct ModuleDevices {
  std::vector<Accelerator> accelerators = {};  // an entry each
  // What tells each from all others in the world; empty where it isn't known of all.
  std::vector<std::string> uuids = {};
  std::vector<Note> notes = {};  // what makes figures of theirs doubtful
};

// Where the kernel says that this program has more rights than who started it (AT_SECURE: setuid,
// setgid, file capabilities), drops every variable but TERM, NO_COLOR, LANG, LC_ALL, TZ and those
// of --bootstrap tcp, and returns true. Libraries choose code by variables that they read by
// themselves: HWLOC_PLUGINS_PATH, FI_PROVIDER_PATH, OMPI_MCA_… The price is that a launcher's are
// lost too. To be called before what reads the environment, while there is one thread.
bool DropEnvironment();

// What a module's one exported function, `extern "C" const assay::Module* assay_module()`, points
// to.
struct Module {
  const char* build_id = nullptr;  // must equal this binary's; another one is a skip
  const char* name = nullptr;      // of its file, libassay-NAME.so
  std::vector<std::unique_ptr<Backend>> (*backends)() = nullptr;   // null: none
  std::vector<std::unique_ptr<Library>> (*libraries)() = nullptr;  // null: none
  // The devices that its backends can run on. Null: none.
  ModuleDevices (*devices)() = nullptr;
  // Joins the processes that a launcher started; null where the module has no such thing.
  std::unique_ptr<Ranks> (*ranks)() = nullptr;
  std::string (*version)() = nullptr;  // of the vendor's library: "Open MPI v4.1.4"
};

// What starts the ranks of an MPI. A build has a module for each of the two families of MPI that it
// found: "openmpi", and "mpich" with its descendants (Intel MPI, MVAPICH), which hydra starts.
struct Mpirun {
  std::string path = {};
  std::string family = {};  // which is the fitting module's name
};
// The first mpirun in PATH; none where this program has more rights than who started it
// (ModuleSearch::Usual).
std::optional<Mpirun> FindMpirun();

// The build id that modules must carry.
const char* BuildId();

// Where modules are looked for.
struct ModuleSearch {
  // An absolute folder that the user names ($ASSAY_MODULE_DIR), or "". It is looked in first. The
  // folder, its modules and all that leads to them must belong to root or the user, and nobody else
  // may put something in its place: what is opened here is run as the user.
  std::string chosen = {};
  // Then these, which are as trusted as the binary that lies beside them.
  std::vector<std::string> folders = {};

  // $ASSAY_MODULE_DIR, the binary's own folder, and lib/assay of the tree it is installed in. The
  // variable is ignored where the kernel says that this program has more rights than who started it
  // (DropEnvironment).
  static ModuleSearch Usual();
};

class Modules {
 public:
  struct Entry {
    std::string name = {};           // "mpi", whichever of its two modules it is
    const Module* module = nullptr;  // null: not loaded, for this reason
    std::string path = {};
    std::string reason = {};
    std::string remedy = {};
  };
  // Opens the known modules, RTLD_NOW | RTLD_LOCAL, and never closes them. Never throws for an
  // absent or unfit module: that is an Entry with its reason. Of the modules for MPI one is opened:
  // that of the launcher which started this process, as its variables tell, else of the mpirun in
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
