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

bool HasNvidiaDriver();

// A library that can be asked for by name. Where none is, the usual ones of one node or of several
// are.
struct KnownLibrary {
  std::string name = {};
  std::string module = {};  // the module that holds it; "": it is always there
  bool on_one_node = false;
  bool on_several = false;
  bool has_transport = false;  // the probe fabric can ask for it
  // Whether its calls may return before the operation is done, and several operations can be one
  // call.
  bool queues = false;
  bool chooses_buffers = false;  // other buffers than plain ones mean something to it
  std::string kind = "cpu";  // kind of device that holds its buffers; "gpu": ranks may be threads
};
const std::vector<KnownLibrary>& KnownLibraries();
// The library of that name; null where none has it.
const KnownLibrary* FindLibrary(const std::string& name);
// Whether buffers of this library lie on devices; false also for a name that none of them has.
bool IsOnGpus(const std::string& library);

bool IsAny(const KnownLibrary& library);
bool HasTransport(const KnownLibrary& library);
// The names of the libraries of which `has` is true.
std::vector<std::string> LibraryNames(const std::function<bool(const KnownLibrary&)>& has);

// The libraries of one rank. Each is opened when the rank first joins others, since only then it is
// known how ranks were joined, and a module that joins ranks runs on no others.
class Libraries {
 public:
  explicit Libraries(const Setup& setup) : modules_(setup.modules), no_mpi_(setup.roster.no_mpi) {}

  // Tells what is missing that every case of this library needs; nothing: it can be tried.
  std::optional<Skipped> Missing(const std::string& library) const;
  // The library, which is opened at the first call. Throws Error where it can't be opened.
  Library& Opened(const std::string& library, const Ranks& ranks);

 private:
  const Modules* modules_;
  std::function<std::optional<Skipped>()> no_mpi_;
  std::vector<std::unique_ptr<Library>> opened_ = {};
};

// The libraries that can't run here, each with the reason.
std::map<std::string, Skipped> FindAbsent(const Libraries& libraries,
                                          const std::vector<std::string>& names);

// A case that unfolds over libraries.
struct OverLibraries {
  Case one = {};  // all but its backend and what of `across` differs between libraries
  Collective collective = {};
  std::function<bool(const KnownLibrary&)> can = IsAny;  // the libraries that ever do this
  std::function<bool(const KnownLibrary&)> is_usual = {};
  // Prepares this rank's part over a library, with the collective as its `how` has it; null where
  // the collective is all there is to prepare.
  std::function<Prepared(Library& library, const Collective& collective, Ranks& together,
                         std::uint64_t seed, const Params& how)>
      join = {};
};

// The case over each library that was asked for by name, or each usual one where none was. Empty
// where none of the libraries that were asked for does this.
std::vector<Case> CasesOver(const std::shared_ptr<Libraries>& libraries, const Setup& setup,
                            const OverLibraries& over);

}  // namespace assay::collectives
