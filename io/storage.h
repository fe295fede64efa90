// The storage probe: reads and writes of a file under Setup::storage_path.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/file_engine.h"
#include "io/test_file.h"
#include "runner/probe.h"

namespace assay::io {

using Engines = std::vector<std::pair<std::string, EngineFactory>>;

struct StorageOptions {
  TestFileOptions file = {};
  // By name, best first; a test may put a scripted one here.
  Engines engines = {{"io_uring", MakeUring}, {"psync", MakePsync}};
};

Probe StorageProbe(const Setup& setup, const StorageOptions& options);

}  // namespace assay::io
