// All that the rest of the program sees of data going in and out of the machine.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/probe.h"

namespace assay::io {

// storage.
std::vector<Probe> Probes(const Setup& setup);

// The volume under setup.storage_path, for Node::storage; path_id 0.
std::vector<Volume> Volumes(const Setup& setup);

std::map<std::string, std::string> Software();

// Removes what storage cases left open, for an abnormal end. Async-signal-safe.
void RemoveTestFiles() noexcept;

}  // namespace assay::io
