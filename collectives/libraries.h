// The libraries that collectives can run over, by name: which are the usual ones, what each needs,
// and the cases of a probe over them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/collective.h"
#include "collectives/library.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay::collectives {

// Whether NVIDIA's driver is loaded, even where this process sees no GPU.
bool HasNvidiaDriver();

// The facts of a library that can be asked for by name.
struct KnownLibrary {
  std::string name = {};
  std::string module = {};     // the module that holds it; "": it is always there
  bool by_mpi = false;         // only ranks that MPI has joined can use it
  bool on_one_node = false;    // it is used on one node where no library is asked for
  bool on_several = false;     // it is used on several nodes where no library is asked for
  bool has_transport = false;  // the probe fabric can ask for it
  // Whether its calls may return before the operation is done, and several operations can be one
  // call.
  bool queues = false;
  bool chooses_buffers = false;  // it can use other buffers than plain ones
  std::string kind = "cpu";  // kind of device that holds its buffers; "gpu": ranks may be threads
};
// All libraries, whether or not they can run here; the same at every call.
const std::vector<KnownLibrary>& KnownLibraries();
// The library of that name; null where none has it.
const KnownLibrary* FindLibrary(const std::string& name);
// Whether buffers of this library lie on devices; false also for a name that none of them has.
bool IsOnGpus(const std::string& library);

// IsAny is true of every library, and HasTransport is the field has_transport. Either can be the
// argument `has` of LibraryNames.
bool IsAny(const KnownLibrary& library);
bool HasTransport(const KnownLibrary& library);
// The names of the libraries of which `has` is true.
std::vector<std::string> LibraryNames(const std::function<bool(const KnownLibrary&)>& has);

// The libraries of one rank. All are opened when the rank first joins others, since only then it is
// known how ranks were joined, and a module that joins ranks runs on no others.
class Libraries {
 public:
  // setup.modules must outlive this.
  explicit Libraries(const Setup& setup) : modules_(setup.modules), no_mpi_(setup.roster.no_mpi) {}

  // Tells what is missing that every case of this library needs; nothing: it can be tried, or its
  // name is unknown.
  std::optional<Skipped> Missing(const std::string& library) const;
  // The library, which this owns. All libraries are opened at the first call, for ranks that were
  // joined as these. Throws Error where this one can't be opened.
  Library& Opened(const std::string& library, const Ranks& ranks);

 private:
  const Modules* modules_;
  std::function<std::optional<Skipped>()> no_mpi_;
  std::vector<std::unique_ptr<Library>> opened_ = {};
};

// The libraries among `names` that can't run here, by name, each with the reason.
std::map<std::string, Skipped> FindAbsent(const Libraries& libraries,
                                          const std::vector<std::string>& names);

// A case that unfolds over libraries.
struct OverLibraries {
  Case one = {};  // has `across`; CasesOver sets what differs between libraries
  Collective collective = {};
  std::function<bool(const KnownLibrary&)> can = IsAny;    // the libraries that ever do this
  std::function<bool(const KnownLibrary&)> is_usual = {};  // those used where none is asked for
  // Prepares this rank's part over a library, with `collective` as the case's `how` changes it;
  // null where the collective is all there is to prepare.
  std::function<Prepared(Library& library, const Collective& collective, Ranks& together,
                         std::uint64_t seed, const Params& how)>
      join = {};
};

// The case over each library that was asked for by name, or each usual one where none was. Empty
// where none of the libraries that were asked for does this.
std::vector<Case> CasesOver(const std::shared_ptr<Libraries>& libraries, const Setup& setup,
                            const OverLibraries& over);

}  // namespace assay::collectives
