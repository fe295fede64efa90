// The sentence of an error that a test expects.
#pragma once

#include <string>

#include "results/base/error.h"

namespace assay {

// Returns the text of the Error that `body` throws, or "no error".
template <class Body>
std::string ErrorText(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace assay
