// How one asks for a case that can run, in remedies: `run` and `coll` call the same params by
// different options.
#pragma once

#include <string>

namespace assay {

// "--set redop=sum (coll: -o sum)": a param of collectives, and what it is to be.
std::string Asking(const std::string& param, const std::string& value);

}  // namespace assay
