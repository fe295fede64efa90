// The door of collectives/: all that the rest of the program sees of what several ranks do
// together.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/core/probe.h"

namespace assay::collectives {

// The probes: one for each operation, fabric, and overlap where setup.gemm is given. setup.modules
// must outlive the cases. Unfolding an operation's probe also takes these params, which are none of
// its defaults:
//   split         an expression for GroupsFrom, by which groups of ranks do the case at once. The
//                 case then has a part for each group, in the order of their lowest ranks. The
//                 part's `ranks` and `nodes` are the group's, and its param `group` is the number
//   unalign, aggregate, channels   the Collective's fields of these names
// Three more fields of the Collective move no figure and are no params: AcrossRanks::how may have
// `verify`, `skip` and `graph_operations`.
std::vector<Probe> Probes(const Setup& setup);
// Probes for a rank other than 0, which makes the cases that rank 0 tells it of. These probes
// unfold over all libraries, and with a single rank too, whatever the setup says.
std::vector<Probe> ProbesOfARank(Setup setup);

// The group of each rank, or -1 for a rank that takes no part. The expression is either
// nccl-tests', which is an operation (AND or &, OR or |, MOD or %, DIV or /) and a number (8, 0x7
// or 0b111) that it applies to the rank: "MOD 8"; or it is a list with a group or - for each rank,
// not all of them -: "0,0,1,1,-". Throws Error for anything else.
std::vector<int> GroupsFrom(const std::string& expression, int ranks);

// Makes a case demand a transport: its workload then throws Error, which names both transports,
// where any rank moved data over another one or doesn't tell (NotOver,
// collectives/used_transport.h). A case without ranks stays as it is. REQUIRES: the cluster has
// made the case's `prepare`.
Case Demanding(Case one, const std::string& transport);

// The library that runs collectives where none is asked for.
struct UsualLibrary {
  std::string name = {};
  std::string instead = {};  // the reason why it isn't the one used elsewhere; "": it is
};
UsualLibrary UsualLibraryOf(const Setup& setup);

// Whether the ranks of a library, given its name or "" for the usual one, can be threads of one
// process.
bool HasThreads(const std::string& library);

// Whether calls of the library with that name may return before the operation is done, so that
// several operations can be one call; false for an unknown name.
bool Queues(const std::string& library);

// Whether the library with that name can use other buffers than plain ones; false for an unknown
// name.
bool ChoosesBuffers(const std::string& library);

// The versions of the libraries behind all modules that are loaded, CUDA's too, by name:
// {"mpi", "Open MPI v4.1.4"}.
std::map<std::string, std::string> Software(const Setup& setup);

}  // namespace assay::collectives
