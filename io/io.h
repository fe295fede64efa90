// The door of io/: all that the rest of the program sees of data going in and out of the machine.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/core/probe.h"

namespace assay::io {

// The probes of this folder: storage.
std::vector<Probe> Probes(const Setup& setup);

// The volume that holds setup.storage_path, for Node::storage, as the only element and with path_id
// 0.
std::vector<Volume> Volumes(const Setup& setup);

// The names and versions of the libraries that are used here.
std::map<std::string, std::string> Software();

// Removes the test file that has a name at this moment, if any, for an abnormal end of the process.
// Async-signal-safe.
void RemoveTestFiles() noexcept;

}  // namespace assay::io
