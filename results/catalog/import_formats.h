// The formats of price files: how each is read into quotes, which are prices as the file states
// them. What makes an offer of a quote is price_import.cpp's, and the same for all.
#pragma once

#include <functional>
#include <istream>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price_import.h"

namespace assay {

// One row of a file: its cells by their names.
using ImportRow = std::map<std::string, std::string>;
// The text of a cell; "" where the row lacks it, and for a NULL.
std::string Cell(const ImportRow& row, const std::string& name);

// A price as a file states it.
struct Quote {
  std::string provider = {};
  std::string instance = {};
  std::string region = {};
  std::string zone = {};
  std::string resource = "node";
  std::string purchase = "on_demand";
  std::string amount = {};  // a number; the rules refuse what isn't one
  std::string upfront = {};
  std::string currency = "USD";
  double factor = 1;  // by which the amount is multiplied: accelerators, or 1 / hours of a term
  std::optional<int> term_months = {};
  std::string date = {};  // "": the one that was given, else undated
  std::string date_precision = "day";
  std::string kind = "list";
  std::string arithmetic = {};   // how the price of a node's hour came about: "8 GPUs x 2.75"
  bool has_accelerator = false;  // whether the file says so, where the catalog lacks the type
  bool is_sum = false;      // made from parts, so that it may be of a machine that nobody sells
  bool is_private = false;  // negotiated, as a bill's prices are
  double weight = 0;        // above 0: hours that were billed; their prices are averaged
};

// Throws Error where a row of the file `name` lacks a column that its format has.
void CheckColumns(const ImportRow& row, const std::vector<std::string>& columns,
                  const std::string& name, std::string_view format);

// Where a format's reader puts what it finds.
class QuoteSink {
 public:
  virtual ~QuoteSink() = default;
  // Takes a quote, which the rules for all formats may still refuse.
  virtual void Take(Quote quote) = 0;
  // Counts a price that is not taken under the reason, in words.
  virtual void Refuse(const std::string& reason) = 0;
  // Keeps a sentence on the whole file.
  virtual void Note(const std::string& note) = 0;
};

// How a format is read.
struct ImportFormat {
  std::string_view name = {};
  // Calls `take` with each row, and `note` with what is to be said of the whole file. Throws Error
  // for a text that isn't of that format.
  void (*read)(std::string_view text, const std::string& name,
               const std::function<void(const ImportRow&)>& take,
               const std::function<void(const std::string&)>& note) = nullptr;
  std::vector<std::string> columns = {};  // that each row must have
  // Hands on the quotes of a row, or the reason why there are none.
  void (*quotes)(const ImportRow& row, const ImportOptions& options, QuoteSink& sink) = nullptr;
  // Whether the file doesn't say whose prices these are, so that ImportOptions::provider must.
  bool wants_provider = false;
};
// All formats but the catalog's own (csv) and AWS's price list.
std::span<const ImportFormat> RowFormats();

// A line of an invoice in FOCUS 1.x. Costs are in `currency`; nothing where the line's is absent or
// no number.
struct FocusLine {
  std::string provider = {};  // as the catalog names it
  std::string instance = {};
  std::string region = {};
  std::string resource = {};  // the id of what was used
  std::string currency = {};
  std::string from = {};  // the period that is charged for, in UTC
  std::string to = {};
  std::string category = {};    // Usage, Credit, Purchase, Tax, Adjustment
  std::string not_usage = {};   // why it is no hours of an instance; "" where it is
  std::string commitment = {};  // the way of buying that a commitment is: reserved, savings_plan
  bool is_spot = false;
  double hours = 0;
  std::optional<double> list = {};        // at list prices
  std::optional<double> contracted = {};  // with what was negotiated
  std::optional<double> effective = {};   // with commitments, whose price is spread over their use
  std::optional<double> billed = {};      // what stands on the invoice
};
FocusLine ReadFocusLine(const ImportRow& row);
// Calls `take` with each line of an invoice. Throws Error for a text that isn't of that format.
void ReadFocus(std::string_view text, const std::string& name,
               const std::function<void(const FocusLine&)>& take);

// The readers of JSON (import_json.cpp). A reader that takes the file's `name` throws Error, which
// begins with that name, for a text that isn't such JSON. The rows of ReadJsonArray are the objects
// of the array `array` in the outermost object; each row also has the scalars of the outermost
// object, a scalar "x" as ".x".
void ReadJsonArray(std::string_view text, const std::string& name, const std::string& array,
                   const std::function<void(const ImportRow&)>& take);
// The rows are instance_types.TYPE.pricing[]; the type is ".type".
void ReadCapacityBlocks(std::string_view text, const std::string& name,
                        const std::function<void(const ImportRow&)>& take,
                        const std::function<void(const std::string&)>& note);
// A member of a JSON object that a cell holds, as text; "" where there is none.
std::string JsonMember(const std::string& json, const std::string& member);

// AWS's price list (offers file of EC2), read as a stream by RapidJSON's SAX reader. Quotes are of
// instances that `is_known`, or that the file gives a GPU.
void ReadAwsPricelist(std::istream& stream, const std::string& name,
                      const std::function<bool(const std::string& instance)>& is_known,
                      QuoteSink& sink);

}  // namespace assay
