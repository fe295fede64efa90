// A result file from a stranger: refused with an Error, or read, written and read the same.
#include <cstdint>
#include <cstdlib>

#include "results/error.h"
#include "results/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::string once = assay::RunToJson(assay::RunFromJson(text, "input"));
    if (assay::RunToJson(assay::RunFromJson(once, "output")) != once) std::abort();
  } catch (const assay::Error&) {
  }
  return 0;
}
