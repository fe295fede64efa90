// The collectives, as the rest of the program sees them: probes for what several ranks do together.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/core/probe.h"

namespace assay::collectives {

// The probes: one for each operation, and those of fabric and overlap. setup.modules must outlive
// the cases. A collective's params may have more than its probe knows:
//   split         an expression for GroupsFrom. Its case then has a part for each group, in the
//                 order of their lowest ranks, whose `ranks` and `nodes` are the group's, and with
//                 a param `group`
//   unalign, aggregate   as the Collective's, where they aren't the default
// The way it is run is no param: AcrossRanks::how may have `verify`, `skip` and `graph_operations`,
// as the Collective's.
std::vector<Probe> Probes(const Setup& setup);
// The same probes for a rank that is told of cases, whoever asks for them: over all libraries,
// and with one rank too.
std::vector<Probe> ProbesOfARank(Setup setup);

// The group of each rank, or -1 for one that takes no part: by nccl-tests' expression, an operation
// on the rank and a number (AND or &, OR or |, MOD or %, DIV or /, and 8, 0x7 or 0b111), or by a
// list of a number or - for each rank ("0,0,1,1,-"). Throws Error for anything else.
std::vector<int> GroupsFrom(const std::string& expression, int ranks);

// Makes a placed case demand a transport: it fails, with a sentence on both, where any rank moved
// data over something else (its fact `transport`).
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

std::map<std::string, std::string> Software(const Setup& setup);

}  // namespace assay::collectives
