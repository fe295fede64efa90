// The commands, each of which is a straight line through the parts below it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "runner/core/module.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"

namespace assay {

// Runs a command and returns the exit status (runner/program/measure.h). `catalog` is called where
// the command needs prices or facts, since reading them takes longer than what others do. Throws
// Error where it could not do what was asked.
int Execute(const Command& command, const Catalog& (*catalog)());

// The text of `assay list`: each probe with the backends that can run here and those that can't,
// why not, each reason once, and the versions of modules and libraries.
std::string ListText(const std::vector<Probe>& probes, const Modules& modules,
                     const std::map<std::string, std::string>& libraries);

// The text of `assay --version`: version, commit, compiler and libraries.
std::string VersionText();

}  // namespace assay
