// Prices from the files of others. A file of any format is read into rows of named cells, a table
// says what a format's rows mean (import_formats.h), and one set of rules decides which of them
// become offers. Each row that doesn't is counted under the reason.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"

namespace assay {

// The options of an import.
struct ImportOptions {
  std::string format = {};    // one of ImportFormats
  std::string provider = {};  // the cloud, of a file that doesn't name it
  std::string date = {};      // the day of the prices, of a file that doesn't tell it
  std::map<std::string, double> usd_per = {};  // the rate of a currency by its code: EUR: 1.08
};

// The offers that a file gave, and what was left out of it.
struct Imported {
  std::vector<Offer> offers = {};
  std::size_t rows = 0;                             // prices that the file tells
  std::map<std::string, std::size_t> refused = {};  // how many of them, by the reason
  // How many went into an offer that another made: zones of a region with one price, lines of a
  // bill. rows = offers + refused + merged.
  std::size_t merged = 0;
  std::vector<std::string> notes = {};
};

// The names of all formats, as --from takes them.
const std::vector<std::string>& ImportFormats();

// Reads a text of the format that `options` name. `name` is the file's, for errors and as the
// source of each offer. Throws Error for a text that isn't of that format, for a format that
// doesn't exist, and where `options` lack the provider of a file that doesn't name it.
Imported ImportPrices(std::string_view text, const std::string& name, const ImportOptions& options,
                      const Catalog& catalog);
// Reads a file as ImportPrices does, and throws Error too where it can't be read or has more than
// 256 MiB. AWS's price list, which has gigabytes, is not held in memory.
Imported ImportPriceFile(const std::string& path, const ImportOptions& options,
                         const Catalog& catalog);

// An Imported in words, a line for the offers and one for each reason, with counts.
std::string ImportedText(const Imported& imported);

}  // namespace assay
