// A price file of others from a stranger: refused with an Error, or imported, and then all its rows
// are accounted for, and what is written of it reads back as the same offers. The first byte picks
// the format. An invoice has a run held against it, too.
#include <cstdint>
#include <cstdlib>

#include "results/base/error.h"
#include "results/catalog/bill.h"
#include "results/catalog/price_import.h"
#include "results/show/csv.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::vector<std::string>& formats = assay::ImportFormats();
  const assay::ImportOptions options = {
      .format = formats[data[0] % formats.size()], .provider = "aws", .usd_per = {{"EUR", 1.08}}};
  assay::Imported imported;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    imported = assay::ImportPrices(text, "input", options, assay::Catalog::BuiltIn());
    if (options.format == "focus") {
      const assay::PaidRun run = {.name = "run",
                                  .provider = "aws",
                                  .instance = "p5.48xlarge",
                                  .region = "us-east-1",
                                  .from = "2026-11-20T09:10:00Z",
                                  .to = "2026-11-20T11:20:00Z",
                                  .usd_per_node_hour = 55.04};
      assay::BillText(assay::HoldAgainstBill({run}, text, "input", options.usd_per), 0.01);
    }
  } catch (const assay::Error&) {
    return 0;
  }
  assay::ImportedText(imported);
  std::size_t accounted = imported.offers.size() + imported.merged;
  for (const auto& [reason, count] : imported.refused) accounted += count;
  if (accounted != imported.rows) std::abort();
  if (options.format == "csv") return 0;  // whose cells the writer cleans
  // Offers that were made must be sound, so an Error from here on is a finding.
  const std::string csv = assay::OffersCsv(imported.offers);
  if (assay::OffersCsv(assay::ParseOffers(csv, "output")) != csv) std::abort();
  return 0;
}
