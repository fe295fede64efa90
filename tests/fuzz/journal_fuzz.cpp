// A journal from a stranger: refused with an Error, or read into a Run that can be written.
#include <cstdint>
#include <optional>

#include "results/base/error.h"
#include "results/file/json.h"
#include "results/file/run_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<assay::Run> run;
  try {
    run = assay::RunFromJournal(text, "input");
  } catch (const assay::Error&) {
    return 0;
  }
  // A run that was read must be sound, so an Error from here on is a finding.
  assay::RunFromJson(assay::RunToJson(*run), "output");
  return 0;
}
