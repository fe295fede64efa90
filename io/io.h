// The door of io/: all that the rest of the program sees of data going in and out of the machine.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/core/probe.h"

namespace assay::io {

// The probes of this folder: storage.
std::vector<Probe> Probes(const Setup& setup);

// The volume that holds setup.storage_path, as the only element, for Node::storage. Its path_id is
// 0, which stands for the path, since no path is handed out.
std::vector<Volume> Volumes(const Setup& setup);

// The names and versions of the libraries that are used here: {"liburing", "2.3"}.
std::map<std::string, std::string> Software();

// Removes the test file that has a name at this moment, if there is one (PendingName,
// io/test_file.h). It is for handlers of signals that end the process, and async-signal-safe.
void RemoveTestFiles() noexcept;

}  // namespace assay::io
