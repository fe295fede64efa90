// The words in which a remedy names a param's value: `run` and `coll` have different options for
// the same params.
#pragma once

#include <string>

namespace assay {

// The options that set a param of collectives to a value: "--set redop=sum (coll: -o sum)". The
// option of `coll` is left out where it has none.
std::string Asking(const std::string& param, const std::string& value);

}  // namespace assay
