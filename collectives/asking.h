// The words of remedies that ask for a case that can run: `run` and `coll` have different options
// for the same params.
#pragma once

#include <string>

namespace assay {

// The options that set a param of collectives to a value: "--set redop=sum (coll: -o sum)".
std::string Asking(const std::string& param, const std::string& value);

}  // namespace assay
