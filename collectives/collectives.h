// All that the rest of the program sees of several ranks together.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay::collectives {

// all_reduce.
std::vector<Probe> Probes(const Setup& setup);

std::map<std::string, std::string> Software(const Setup& setup);

}  // namespace assay::collectives
