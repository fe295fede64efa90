// The commands, each of which is a straight line through the parts below it.
#pragma once

#include <string>

#include "runner/program/cli.h"

namespace assay {

// Runs a command and returns the exit status. Throws Error when it could not do what was asked.
int Execute(const Command& command);

// The text of `assay --version`: version, commit, compiler and libraries.
std::string VersionText();

}  // namespace assay
