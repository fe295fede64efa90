// Error is the one exception: it is thrown when what was asked can't go on. Its text is a sentence
// for the user that says what happened, where, and what to do. An expected "no" is a value instead
// (Skipped, std::optional). It is caught in the engine, which makes a `failed` record of it, and in
// main, which prints it and exits with status 2.
#pragma once

#include <stdexcept>
#include <string>

namespace assay {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& sentence) : std::runtime_error(sentence) {}
};

}  // namespace assay
