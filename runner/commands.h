// What each command does, each a straight line through the parts below it.
#pragma once

#include <string>

#include "runner/cli.h"

namespace assay {

// Does what was asked and gives the exit status. Throws Error when it could not.
int Execute(const Command& command);

// Version, commit, compiler and libraries, for `assay --version`.
std::string VersionText();

}  // namespace assay
