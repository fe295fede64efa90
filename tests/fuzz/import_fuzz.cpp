// A price file of others from a stranger: refused with an Error, or imported, and then what is
// written of it reads back as the same offers. The first byte picks the format.
#include <cstdint>
#include <cstdlib>

#include "results/base/error.h"
#include "results/catalog/price_import.h"
#include "results/show/csv.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::vector<std::string>& formats = assay::ImportFormats();
  const assay::ImportOptions options = {
      .format = formats[data[0] % formats.size()], .provider = "aws", .usd_per = {{"EUR", 1.08}}};
  assay::Imported imported;
  try {
    imported = assay::ImportPrices({reinterpret_cast<const char*>(data) + 1, size - 1}, "input",
                                   options, assay::Catalog::BuiltIn());
  } catch (const assay::Error&) {
    return 0;
  }
  assay::ImportedText(imported);
  if (options.format == "csv") return 0;  // whose cells the writer cleans
  // Offers that were made must be sound, so an Error from here on is a finding.
  const std::string csv = assay::OffersCsv(imported.offers);
  if (assay::OffersCsv(assay::ParseOffers(csv, "output")) != csv) std::abort();
  return 0;
}
