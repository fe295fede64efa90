#include "results/catalog/price_import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <variant>

#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/names.h"
#include "results/base/text.h"
#include "results/catalog/import_formats.h"

namespace assay {
namespace {

constexpr std::string_view kCatalogsOwn = "csv";
constexpr std::string_view kPricelist = "aws-pricelist";
// Prices beyond these are placeholders: 0, or so much that nobody is meant to buy.
constexpr double kLeastUsdPerHour = 0.001;
constexpr double kMostUsdPerAccelerator = 1000;
// Spot that costs this share of on demand, or more, is a way of saying that there is none.
constexpr double kNoSpot = 0.999;

std::string KeyOf(std::string_view provider, std::string_view instance) {
  return Lower(provider) + '\n' + Lower(instance);
}

// Whether a text can be a name in the catalog: plain, not long, and nothing that a spreadsheet
// takes for a formula.
bool IsName(const std::string& text) {
  constexpr std::size_t kLongest = 128;
  return text.size() <= kLongest && Clean(text) == text &&
         (text.empty() ||
          std::string_view("=+-@' ").find(text.front()) == std::string_view::npos) &&
         text.find_first_of("(\"\r\n") == std::string::npos;
}

// The number that a cell holds, or why it holds none.
std::variant<double, std::string> AmountOf(const std::string& text) {
  if (text.empty()) return "no price";
  const std::optional<double> value = NumberIn(text);
  if (!value) {
    return text.find(',') != std::string::npos ? "a decimal comma, where a point is meant"
                                               : "a price that is no number";
  }
  if (*value < 0) return "a price below 0";
  return *value;
}

// The rules by which quotes become offers.
class Rules : public QuoteSink {
 public:
  Rules(std::string source, const ImportOptions& options, const Catalog& catalog)
      : source_(std::move(source)), options_(options) {
    for (const InstanceFacts& facts : catalog.instances) {
      facts_.emplace(KeyOf(facts.provider, facts.instance), &facts);
    }
    for (const Offer& offer : catalog.offers) {
      if (offer.purchase != "on_demand" || offer.zone) continue;
      const Offer*& newest =
          listed_[KeyOf(offer.provider, offer.instance) + '\n' + Lower(offer.region)];
      if (newest == nullptr || FirstDay(newest->price_date) < FirstDay(offer.price_date)) {
        newest = &offer;
      }
    }
  }

  void Take(Quote quote) override {
    ++imported_.rows;
    std::string why = TakeOrTell(quote);
    if (!why.empty()) Count(why);
  }
  void Refuse(const std::string& reason) override {
    ++imported_.rows;
    Count(reason);
  }
  void Note(const std::string& note) override { imported_.notes.push_back(note); }

  Imported Result() {
    AverageBills();
    FoldZones();
    DropSpotWithoutDiscount();
    std::ranges::stable_sort(offers_, {}, [](const Offer& offer) {
      return std::tie(offer.provider, offer.instance, offer.region, offer.zone, offer.purchase,
                      offer.term_months, offer.upfront_usd);
    });
    std::set<std::string> keys;
    for (Offer& offer : offers_) {
      if (keys.insert(WholeKey(offer) + offer.zone.value_or("")).second) {
        imported_.offers.push_back(std::move(offer));
      } else {
        Count(kRepeats);
      }
    }
    return std::move(imported_);
  }

 private:
  static constexpr const char* kRepeats = "the same thing on the same day as in an earlier row";

  void Count(const std::string& reason) {
    constexpr std::size_t kMostReasons = 40;
    const bool has_room =
        imported_.refused.contains(reason) || imported_.refused.size() < kMostReasons;
    ++imported_.refused[has_room ? reason : "other reasons"];
  }

  // Keeps the quote as an offer, or returns why not.
  std::string TakeOrTell(const Quote& quote) {
    if (quote.provider.empty()) return "no provider";
    if (quote.instance.empty()) return "no instance type";
    if (quote.region.empty()) return "no region";
    if (quote.instance.find(' ') != std::string::npos) {
      return "a name with blanks, which is of hosts or products and not of an instance";
    }
    for (const std::string* name : {&quote.provider, &quote.instance, &quote.region, &quote.zone}) {
      if (!IsName(*name)) return "a name with characters that no name has";
    }
    if (quote.instance.ends_with("_Promo")) return "a promotion";
    const auto known = facts_.find(KeyOf(quote.provider, quote.instance));
    const InstanceFacts* facts = known == facts_.end() ? nullptr : known->second;
    if (facts == nullptr && !quote.has_accelerator) return "no accelerator";
    const std::variant<double, std::string> amount = AmountOf(quote.amount);
    const std::variant<double, std::string> upfront =
        AmountOf(quote.upfront.empty() ? "0" : quote.upfront);
    for (const auto* one : {&amount, &upfront}) {
      if (const auto* why = std::get_if<std::string>(one)) return *why;
    }
    double rate = 1;
    if (quote.currency != "USD") {
      const auto found = options_.usd_per.find(quote.currency);
      if (found == options_.usd_per.end()) {
        const std::string currency = Clean(quote.currency, 16);
        return fmt::format("the currency {}; '--rate {}=USD' takes it at that rate", currency,
                           currency);
      }
      rate = found->second;
    }
    const double paid_at_start = std::get<double>(upfront) * rate;
    double usd = std::get<double>(amount) * quote.factor * rate;
    if (paid_at_start > 0) {
      if (!quote.term_months) return "a price at the start without a term";
      usd += paid_at_start / (*quote.term_months * kHoursAMonth);
    }
    const int count = facts == nullptr ? 1 : std::max(facts->accelerator_count, 1);
    if (usd < kLeastUsdPerHour || usd > kMostUsdPerAccelerator * count) {
      return "a placeholder for a price (0, or more than anybody pays)";
    }
    if (quote.is_sum && !IsSold(quote)) {
      return "a sum of parts, of a machine that isn't sold so as far as the catalog knows";
    }
    Offer offer = {.provider = quote.provider,
                   .seller = quote.provider,
                   .instance = facts == nullptr ? quote.instance : facts->instance,
                   .region = quote.region,
                   .zone = quote.zone.empty() ? std::nullopt : std::optional(quote.zone),
                   .resource = quote.resource,
                   .purchase = quote.purchase,
                   .term_months = quote.term_months,
                   .upfront_usd = paid_at_start > 0 ? std::optional(paid_at_start) : std::nullopt,
                   .usd_per_hour = usd,
                   .price_date = "undated",
                   .date_precision = "undated",
                   .kind = quote.kind,
                   .source = source_,
                   .is_private = quote.is_private};
    if (!quote.arithmetic.empty()) offer.source += "; " + Clean(quote.arithmetic, 200);
    if (rate != 1) offer.source += fmt::format("; {} at {} USD", quote.currency, rate);
    SetDate(quote, offer);
    if (quote.weight > 0) {
      Bill& bill = bills_[WholeKey(offer)];
      if (bill.hours == 0) {
        bill.offer = offer;
      } else {
        ++imported_.merged;
      }
      bill.hours += quote.weight;
      bill.usd += quote.weight * usd;
      bill.low = bill.low == 0 ? usd : std::min(bill.low, usd);
      bill.high = std::max(bill.high, usd);
      bill.offer.price_date = std::max(bill.offer.price_date, offer.price_date);
      return "";
    }
    offers_.push_back(std::move(offer));
    return "";
  }

  void SetDate(const Quote& quote, Offer& offer) const {
    for (const auto& [date, precision] :
         {std::pair(options_.date, std::string("day")), {quote.date, quote.date_precision}}) {
      if (date.size() != 10 || !FirstDay(date)) continue;
      offer.price_date = date;
      offer.date_precision = precision;
      return;
    }
  }

  // Whether the catalog knows the machine in that region, or the file's own price of it is of a way
  // of buying that the catalog doesn't say is not sold.
  bool IsSold(const Quote& quote) const {
    const std::string key = KeyOf(quote.provider, quote.instance) + '\n';
    const auto here = listed_.find(key + Lower(quote.region));
    const auto everywhere = listed_.find(key + "all");
    const Offer* known = here != listed_.end()         ? here->second
                         : everywhere != listed_.end() ? everywhere->second
                                                       : nullptr;
    return known != nullptr && (known->offered || quote.purchase != "on_demand");
  }

  static std::string WholeKey(const Offer& offer) {
    return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", Lower(offer.provider),
                       Lower(offer.instance), Lower(offer.region), offer.resource, offer.purchase,
                       offer.term_months.value_or(0), offer.upfront_usd.value_or(0),
                       offer.is_private ? "" : offer.price_date);
  }

  // The lines of a bill of one thing, over all days, are one offer: what an hour cost on average,
  // with the range.
  void AverageBills() {
    for (auto& [key, bill] : bills_) {
      Offer offer = bill.offer;
      offer.usd_per_hour = bill.usd / bill.hours;
      if (bill.low < bill.high) {
        offer.usd_low = std::min(bill.low, *offer.usd_per_hour);
        offer.usd_high = std::max(bill.high, *offer.usd_per_hour);
      }
      offers_.push_back(std::move(offer));
    }
  }

  // Zones of a region with one price are its price, as all have on demand but local zones. Those
  // that differ from what most have stay apart, and so does spot, whose zones differ by nature.
  void FoldZones() {
    std::map<std::string, std::map<double, std::size_t>> prices;
    for (const Offer& offer : offers_) {
      if (offer.purchase != "spot") ++prices[WholeKey(offer)][*offer.usd_per_hour];
    }
    std::set<std::string> seen;
    std::erase_if(offers_, [&](Offer& offer) {
      if (!offer.zone || offer.purchase == "spot") return false;
      const auto& here = prices.at(WholeKey(offer));
      const auto usual = std::ranges::max_element(
          here, {}, [](const auto& price) { return std::pair(price.second, -price.first); });
      if (*offer.usd_per_hour != usual->first) return false;
      offer.zone.reset();
      const bool is_there = !seen.insert(WholeKey(offer)).second;
      if (is_there) ++imported_.merged;
      return is_there;
    });
  }

  void DropSpotWithoutDiscount() {
    std::map<std::string, double> on_demand;
    const auto place = [](const Offer& offer) {
      return KeyOf(offer.provider, offer.instance) + '\n' + Lower(offer.region);
    };
    for (const auto& [key, offer] : listed_) {
      if (offer->offered && offer->usd_per_hour) on_demand[key] = *offer->usd_per_hour;
    }
    for (const Offer& offer : offers_) {
      if (offer.purchase == "on_demand" && !offer.zone)
        on_demand[place(offer)] = *offer.usd_per_hour;
    }
    std::erase_if(offers_, [&](const Offer& offer) {
      const auto found = offer.purchase == "spot" ? on_demand.find(place(offer)) : on_demand.end();
      const bool is_none =
          found != on_demand.end() && *offer.usd_per_hour >= kNoSpot * found->second;
      if (is_none) Count("spot at the price of on demand or above, which means that there is none");
      return is_none;
    });
  }

  struct Bill {
    Offer offer = {};
    double hours = 0;
    double usd = 0;
    double low = 0;
    double high = 0;
  };

  std::string source_;
  const ImportOptions& options_;
  std::map<std::string, const InstanceFacts*> facts_ = {};
  std::map<std::string, const Offer*> listed_ = {};  // the newest on demand, by region
  std::vector<Offer> offers_ = {};
  std::map<std::string, Bill> bills_ = {};
  Imported imported_ = {};
};

std::string SourceOf(const std::string& name, const ImportOptions& options) {
  return fmt::format("{} ({})", Clean(name.substr(name.rfind('/') + 1), 200), options.format);
}

Imported ImportCatalogsOwn(std::string_view text, const std::string& name) {
  Imported imported;
  std::size_t refused = 0;
  imported.offers = ParseOffersLeniently(text, name, [&](const std::string& why) {
    constexpr std::size_t kMostReasons = 40;
    const bool has_room = imported.refused.contains(why) || imported.refused.size() < kMostReasons;
    ++imported.refused[has_room ? Clean(why, 300) : "other reasons"];
    ++refused;
  });
  imported.rows = imported.offers.size() + refused;
  return imported;
}

Imported ImportPricelist(std::istream& stream, const std::string& name,
                         const ImportOptions& options, const Catalog& catalog) {
  Rules rules(SourceOf(name, options), options, catalog);
  std::unordered_set<std::string> known;  // which a price list asks for a hundred thousand times
  for (const InstanceFacts& facts : catalog.instances) {
    if (facts.provider == "aws") known.insert(facts.instance);
  }
  const auto is_known = [&](const std::string& instance) { return known.contains(instance); };
  ReadAwsPricelist(stream, name, is_known, rules);
  return rules.Result();
}

}  // namespace

const std::vector<std::string>& ImportFormats() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> names;
    for (const ImportFormat& format : RowFormats()) names.emplace_back(format.name);
    names.emplace_back(kPricelist);
    names.emplace_back(kCatalogsOwn);
    return names;
  }();
  return all;
}

Imported ImportPrices(std::string_view text, const std::string& name, const ImportOptions& options,
                      const Catalog& catalog) {
  if (options.format == kCatalogsOwn) return ImportCatalogsOwn(text, name);
  if (options.format == kPricelist) {
    std::istringstream stream{std::string(text)};
    return ImportPricelist(stream, name, options, catalog);
  }
  const auto format = std::ranges::find(RowFormats(), options.format, &ImportFormat::name);
  if (format == RowFormats().end()) {
    throw Error(fmt::format("--from {}: give one of {}", Clean(options.format, 64),
                            fmt::join(ImportFormats(), ", ")));
  }
  if (format->wants_provider && options.provider.empty()) {
    throw Error(
        fmt::format("{}: a file of {} doesn't name its cloud; add --provider", name, format->name));
  }
  Rules rules(SourceOf(name, options), options, catalog);
  const auto take = [&](const ImportRow& row) {
    CheckColumns(row, format->columns, name, format->name);
    format->quotes(row, options, rules);
  };
  format->read(text, name, take, [&](const std::string& note) { rules.Note(note); });
  return rules.Result();
}

Imported ImportPriceFile(const std::string& path, const ImportOptions& options,
                         const Catalog& catalog) {
  constexpr std::int64_t kMostBytes = std::int64_t{256} << 20;
  const std::string name = Clean(path, 1024);
  if (options.format != kPricelist) {
    const std::int64_t most = options.format == kCatalogsOwn ? kMostPriceBytes : kMostBytes;
    return ImportPrices(ReadText(path, most, "a price file"), name, options, catalog);
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream || stream.peek() == std::ifstream::traits_type::eof()) {
    throw Error(fmt::format("can't read '{}', or it is empty; give AWS's price list", name));
  }
  return ImportPricelist(stream, name, options, catalog);
}

std::string ImportedText(const Imported& imported) {
  std::string text = fmt::format("{} from {}\n", CountText(imported.offers.size(), "offer"),
                                 CountText(imported.rows, "price"));
  if (imported.merged > 0) {
    text += fmt::format("merged {}: zones with their region's price, or lines of a bill\n",
                        imported.merged);
  }
  for (const auto& [reason, count] : imported.refused) {
    text += fmt::format("refused {}: {}\n", count, reason);
  }
  const bool is_undated = std::ranges::any_of(
      imported.offers, [](const Offer& offer) { return !FirstDay(offer.price_date); });
  if (is_undated) {
    text += "note: prices without a date are shown and never chosen; --date DAY gives them one\n";
  }
  for (const std::string& note : imported.notes) text += fmt::format("note: {}\n", note);
  return text;
}

}  // namespace assay
