// A reply of something that says it is a metadata service.
#include <cstdint>

#include "results/error.h"
#include "results/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    assay::FlattenJson({reinterpret_cast<const char*>(data), size}, "input");
  } catch (const assay::Error&) {
  }
  return 0;
}
