// The storage probe: reads and writes of a test file that it makes under Setup::storage_path.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/file_engine.h"
#include "io/test_file.h"
#include "runner/core/probe.h"

namespace assay::io {

// The engines that a run can use, by name.
using Engines = std::vector<std::pair<std::string, EngineFactory>>;

// The parts of the probe that tests replace.
struct StorageOptions {
  TestFileOptions file = {};
  // The best engine stands first. A test may put a scripted one here.
  Engines engines = {{"io_uring", MakeUring}, {"psync", MakePsync}};
};

// Makes the storage probe. Its cases share one test file, which is made for the first case that
// needs it and lives as long as the probe or a case of it.
Probe StorageProbe(const Setup& setup, const StorageOptions& options);

}  // namespace assay::io
