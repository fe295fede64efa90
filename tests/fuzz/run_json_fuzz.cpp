// A result file from a stranger: refused with an Error, or read, written and read the same, and fit
// for all that is computed from it.
#include <cstdint>
#include <cstdlib>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/compare.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"
#include "results/file/json.h"
#include "results/show/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const assay::Run run = assay::RunFromJson(text, "input");
    const std::string once = assay::RunToJson(run);
    if (assay::RunToJson(assay::RunFromJson(once, "output")) != once) std::abort();
    for (const assay::Record& record : run.records) {
      assay::CaseLabel(record.probe, record.params);
      assay::Speed(record);
      assay::StableSpeed(record);
      assay::SpeedInterval(record);
      assay::OfHere(record);
      assay::BusBandwidth(record);
      assay::Costs(record, 1.0);
    }
    assay::ComparisonToJson(assay::Compare({.runs = {run}, .names = {"a"}},
                                           {.runs = {run}, .names = {"b"}}, {.force = true}));
  } catch (const assay::Error&) {
  }
  return 0;
}
