#include "results/catalog/import_formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "results/base/csv.h"
#include "results/base/error.h"
#include "results/base/names.h"
#include "results/base/text.h"

namespace assay {
namespace {

using TakeRow = std::function<void(const ImportRow&)>;
using Tell = std::function<void(const std::string&)>;

void ReadCsv(std::string_view text, const std::string& name, const TakeRow& take, const Tell&) {
  EachCsvRow(text, name, take);
}

double NumberOf(const std::string& text) { return NumberIn(text).value_or(0); }

// The day of a time that is counted in seconds from 1970 on; "" where the text is no such time.
std::string DayOfUnixTime(const std::string& seconds) {
  const double value = NumberOf(seconds);
  if (!(value >= 0 && value < 4e9)) return "";
  const std::chrono::year_month_day day(
      std::chrono::sys_days(std::chrono::days(static_cast<int>(value / 86400))));
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
}

// ---- SkyPilot's catalog: one CSV for each cloud, whose columns differ in order and number

void QuotesOfSkypilot(const ImportRow& row, const ImportOptions& options, QuoteSink& sink) {
  Quote quote = {.provider = options.provider,
                 .instance = Cell(row, "InstanceType"),
                 .region = Cell(row, "Region"),
                 .zone = Cell(row, "AvailabilityZone"),
                 .has_accelerator = !Cell(row, "AcceleratorName").empty()};
  if (quote.instance.empty()) return sink.Refuse("an accelerator that is priced without its host");
  // GCP prices accelerators in rows of their own, so a row without one is the host alone.
  if (options.provider == "gcp" && !quote.has_accelerator) {
    return sink.Refuse("the host alone, whose accelerators are priced apart");
  }
  const std::string spot = Cell(row, "SpotPrice");
  quote.amount = Cell(row, "Price");
  if (quote.amount.empty() && spot.empty()) return sink.Refuse("no price");
  if (!quote.amount.empty()) sink.Take(quote);
  if (spot.empty()) return;
  quote.amount = spot;
  quote.purchase = "spot";
  quote.kind = "spot";
  sink.Take(std::move(quote));
}

// ---- gcosts: the YAML of Cyclenerd's calculator for Google's prices

// Reads the lines "KEY: VALUE" of compute.instance.TYPE.cost.REGION into a row for each region. The
// file has no anchors, lists or flows there, and none are understood.
void ReadGcosts(std::string_view text, const std::string& name, const TakeRow& take, const Tell&) {
  std::vector<std::pair<std::size_t, std::string>> path;  // keys with their indents
  ImportRow row;
  std::string timestamp;
  bool is_gcosts = false;
  const auto end_row = [&] {
    if (!row.empty()) take(row);
    row.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::size_t indent = line.find_first_not_of(' ');
    const std::size_t colon = line.find(':');
    if (indent == std::string_view::npos || line[indent] == '#' ||
        colon == std::string_view::npos) {
      continue;
    }
    while (!path.empty() && path.back().first >= indent) path.pop_back();
    if (path.size() < 5) end_row();
    if (path.size() > 16) {
      throw Error(
          fmt::format("{}: it is nested deeper than gcosts' file is; look at --from", name));
    }
    path.emplace_back(indent, std::string(line.substr(indent, colon - indent)));
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    if (path.size() == 2 && path[0].second == "about" && path[1].second == "timestamp") {
      timestamp = value;
    }
    if (path.size() != 6 || path[0].second != "compute" || path[1].second != "instance" ||
        path[3].second != "cost") {
      continue;
    }
    is_gcosts = true;
    row["instance"] = path[2].second;
    row["region"] = path[4].second;
    row["timestamp"] = timestamp;
    row[path[5].second] = value;
  }
  end_row();
  if (!is_gcosts) {
    throw Error(
        fmt::format("{}: there is no compute.instance.TYPE.cost.REGION in it; give gcosts' "
                    "pricing.yml",
                    name));
  }
}

void QuotesOfGcosts(const ImportRow& row, const ImportOptions&, QuoteSink& sink) {
  // Spot is a tenth of on demand where the accelerator's own spot price is missing from the sum.
  constexpr double kFloor = 0.15;
  const Quote plain = {.provider = "gcp",
                       .instance = Cell(row, "instance"),
                       .region = Cell(row, "region"),
                       .date = DayOfUnixTime(Cell(row, "timestamp")),
                       .is_sum = true};
  struct Column {
    const char* name;
    const char* purchase;
    std::optional<int> term_months;
    double hours;
  };
  const std::vector<Column> columns = {{"hour", "on_demand", {}, 1},
                                       {"hour_spot", "spot", {}, 1},
                                       {"month_1y", "reserved", 12, kHoursAMonth},
                                       {"month_3y", "reserved", 36, kHoursAMonth}};
  for (const Column& column : columns) {
    Quote quote = plain;
    quote.amount = Cell(row, column.name);
    if (quote.amount.empty()) continue;
    quote.purchase = column.purchase;
    quote.term_months = column.term_months;
    quote.factor = 1 / column.hours;
    if (column.term_months) {
      quote.arithmetic = fmt::format("committed use, {} / 730 h", column.name);
    }
    if (quote.purchase == "spot") {
      quote.kind = "spot";
      if (NumberOf(quote.amount) < kFloor * NumberOf(Cell(row, "hour"))) {
        sink.Refuse("spot under 15 % of on demand: the accelerator's own spot price is missing");
        continue;
      }
    }
    sink.Take(std::move(quote));
  }
}

// ---- gpu-rental-prices: JSON of gpurentalprices.com, prices of a GPU

void ReadRentalPrices(std::string_view text, const std::string& name, const TakeRow& take,
                      const Tell& note) {
  ReadJsonArray(text, name, "offers", take);
  note("the data is by gpurentalprices.com under CC BY 4.0: keep that name where you pass it on");
}

void QuotesOfRentalPrices(const ImportRow& row, const ImportOptions&, QuoteSink& sink) {
  struct Kind {
    std::string_view word;
    const char* purchase;
    const char* kind;
  };
  constexpr Kind kKinds[] = {{"on-demand", "on_demand", "list"},
                             {"secure", "on_demand", "list"},
                             {"spot", "spot", "spot"},
                             {"community", "spot", "spot"},
                             {"marketplace", "on_demand", "marketplace"}};
  const std::string word = Cell(row, "kind");
  const auto* kind = std::ranges::find(kKinds, word, &Kind::word);
  if (kind == std::end(kKinds)) return sink.Refuse("a kind of price without a term or a name here");
  Quote quote = {.provider = Cell(row, "provider"),
                 .instance = Cell(row, "gpu"),
                 .region = Cell(row, "region"),
                 .resource = "gpu",
                 .purchase = kind->purchase,
                 .amount = Cell(row, "usd_hr"),
                 .date = Cell(row, "fetched_at").substr(0, 10),
                 .kind = kind->kind,
                 .arithmetic = "the price of one GPU",
                 .has_accelerator = true};
  if (quote.region.empty()) quote.region = "all";  // a provider's one price
  // The price of a node is known where the number of GPUs that are rented together is.
  const std::string gpus = Cell(row, "min_gpus");
  if (Cell(row, "gpu_count_reported") == "true" && NumberOf(gpus) >= 1) {
    quote.resource = "node";
    quote.instance = fmt::format("{}x_{}", gpus, quote.instance);
    quote.factor = NumberOf(gpus);
    quote.arithmetic = fmt::format("{} GPUs x {}", gpus, quote.amount);
  }
  sink.Take(std::move(quote));
}

// ---- AWS's capacity blocks, as JSON

// A local zone such as us-east-1-dfw-2a: its region, and its zone's id use1-dfw2-az1.
void SplitLocalZone(Quote& quote) {
  constexpr std::pair<std::string_view, std::string_view> kRegions[] = {{"us-east-1-", "use1"},
                                                                        {"us-west-2-", "usw2"}};
  for (const auto& [prefix, id] : kRegions) {
    const std::string rest =
        quote.region.starts_with(prefix) ? quote.region.substr(prefix.size()) : "";
    const std::size_t dash = rest.find('-');
    if (dash == std::string::npos || dash + 3 != rest.size()) continue;
    const int zone = rest.back() - 'a' + 1;
    if (zone < 1 || zone > 26) continue;
    quote.zone = fmt::format("{}-{}{}-az{}", id, rest.substr(0, dash), rest[dash + 1], zone);
    quote.region = prefix.substr(0, prefix.size() - 1);
  }
}

void QuotesOfCapacityBlock(const ImportRow& row, const ImportOptions&, QuoteSink& sink) {
  Quote quote = {.provider = "aws",
                 .instance = Cell(row, ".type"),
                 .region = Cell(row, "region_code"),
                 .purchase = "capacity_block",
                 .amount = Cell(row, "hourly_rate_usd"),
                 .date = Cell(row, ".last_updated").substr(0, 10),
                 .has_accelerator = true};
  if (quote.region == "unknown") quote.region.clear();
  SplitLocalZone(quote);
  // A rate may be that of one accelerator under the name of all of them.
  constexpr double kLeastOfOne = 0.25;
  const double count = NumberOf(Cell(row, "accelerator_count"));
  const double node = NumberOf(quote.amount);
  const double one = NumberOf(Cell(row, "accelerator_hourly_rate_usd"));
  const bool is_torn =
      one > 0 ? std::abs(node / (one * count) - 1) > 0.01 : node < kLeastOfOne * count;
  if (count > 1 && is_torn) {
    return sink.Refuse("the rate isn't that of all accelerators, but maybe of one");
  }
  sink.Take(std::move(quote));
}

// ---- Azure's retail prices, as JSON

void ReadAzureRetail(std::string_view text, const std::string& name, const TakeRow& take,
                     const Tell& note) {
  bool has_more = false;
  ReadJsonArray(text, name, "Items", [&](const ImportRow& row) {
    has_more = has_more || !Cell(row, ".NextPageLink").empty();
    take(row);
  });
  if (has_more) note("this is one page of several: NextPageLink names the next");
}

void QuotesOfAzureRetail(const ImportRow& row, const ImportOptions&, QuoteSink& sink) {
  const std::string meter = Cell(row, "meterName");
  const std::string type = Cell(row, "type");
  Quote quote = {.provider = "azure",
                 .instance = Cell(row, "armSkuName"),
                 .region = Cell(row, "armRegionName"),
                 .amount = Cell(row, "retailPrice"),
                 .currency = Cell(row, "currencyCode"),
                 .date = Cell(row, "effectiveStartDate").substr(0, 10),
                 .date_precision = "not_before"};
  const auto has = [](const std::string& text, const char* word) {
    return text.find(word) != std::string::npos;
  };
  if (has(Cell(row, "productName"), "Windows")) {
    return sink.Refuse("Windows, whose licence is in the price");
  }
  if (has(meter, "Low Priority"))
    return sink.Refuse("a low-priority meter, which is no longer sold");
  if (type == "Reservation") {
    const double years = NumberOf(Cell(row, "reservationTerm").substr(0, 1));
    if (years < 1) return sink.Refuse("a reservation without its term");
    quote.purchase = "reserved";
    quote.term_months = static_cast<int>(12 * years);
    quote.factor = 1 / (years * kHoursAYear);
    quote.arithmetic = fmt::format("{} for {}, / {} h", quote.amount, Cell(row, "reservationTerm"),
                                   years * kHoursAYear);
  } else if (type != "Consumption") {
    return sink.Refuse("neither consumption nor a reservation");
  } else if (Cell(row, "unitOfMeasure") != "1 Hour") {
    return sink.Refuse("a unit other than the hour");
  } else if (has(meter, "Spot")) {
    quote.purchase = "spot";
    quote.kind = "spot";
  }
  sink.Take(std::move(quote));
}

// ---- FOCUS 1.x: the lines of a bill, as CSV

// The columns that each line has.
const std::vector<std::string> kFocusColumns = {
    "ChargeCategory",  "PricingUnit",  "PricingQuantity", "ContractedUnitPrice", "EffectiveCost",
    "BillingCurrency", "ProviderName", "RegionId",        "ChargePeriodStart"};

// The cost in a cell; nothing where there is none, or one that no invoice has.
std::optional<double> CostIn(const std::string& cell) {
  const std::optional<double> cost = NumberIn(cell);
  return cost && std::abs(*cost) < 1e12 ? cost : std::nullopt;
}

void QuotesOfFocus(const ImportRow& row, const ImportOptions&, QuoteSink& sink) {
  const FocusLine line = ReadFocusLine(row);
  if (!line.not_usage.empty()) return sink.Refuse(line.not_usage);
  Quote quote = {.provider = line.provider,
                 .instance = line.instance,
                 .region = line.region,
                 .amount = Cell(row, "ContractedUnitPrice"),
                 .currency = line.currency,
                 .date = line.from.substr(0, 10),
                 .kind = "negotiated",
                 .arithmetic = "contracted price",
                 .is_private = true,
                 .weight = line.hours};
  if (line.is_spot) quote.purchase = "spot";
  sink.Take(quote);
  // What a commitment makes of it.
  if (line.is_spot || line.commitment.empty()) return;
  quote.purchase = line.commitment;
  quote.amount = fmt::format("{}", line.effective.value_or(0) / line.hours);
  quote.arithmetic = "effective price: EffectiveCost / PricingQuantity";
  sink.Take(std::move(quote));
}

}  // namespace

std::string Cell(const ImportRow& row, const std::string& name) {
  const auto found = row.find(name);
  return found == row.end() || found->second == "NULL" ? "" : found->second;
}

void CheckColumns(const ImportRow& row, const std::vector<std::string>& columns,
                  const std::string& name, std::string_view format) {
  for (const std::string& column : columns) {
    if (row.contains(column)) continue;
    throw Error(fmt::format("{}: there is no {}, as a file of {} has; give one of that format",
                            name, column, format));
  }
}

FocusLine ReadFocusLine(const ImportRow& row) {
  struct Provider {
    std::string_view word;
    const char* name;
  };
  constexpr Provider kProviders[] = {{"AWS", "aws"},          {"Amazon Web Services", "aws"},
                                     {"Microsoft", "azure"},  {"Google", "gcp"},
                                     {"Google Cloud", "gcp"}, {"Oracle", "oci"}};
  FocusLine line = {.provider = Cell(row, "ProviderName"),
                    .instance = JsonMember(Cell(row, "SkuPriceDetails"), "InstanceType"),
                    .region = Cell(row, "RegionId"),
                    .resource = Cell(row, "ResourceId"),
                    .currency = Cell(row, "BillingCurrency"),
                    .from = Cell(row, "ChargePeriodStart"),
                    .to = Cell(row, "ChargePeriodEnd"),
                    .category = Cell(row, "ChargeCategory"),
                    .is_spot = Cell(row, "PricingCategory") == "Dynamic",
                    .hours = NumberOf(Cell(row, "PricingQuantity")),
                    .list = CostIn(Cell(row, "ListCost")),
                    .contracted = CostIn(Cell(row, "ContractedCost")),
                    .effective = CostIn(Cell(row, "EffectiveCost")),
                    .billed = CostIn(Cell(row, "BilledCost"))};
  const auto* known = std::ranges::find(kProviders, line.provider, &Provider::word);
  line.provider = known != std::end(kProviders) ? known->name : Lower(line.provider);
  for (const char* column : {"x_InstanceType", "InstanceType"}) {
    if (line.instance.empty()) line.instance = Cell(row, column);
  }
  if (!Cell(row, "CommitmentDiscountId").empty()) {
    const bool is_usage = Cell(row, "CommitmentDiscountCategory") == "Usage";
    line.commitment = is_usage ? "reserved" : "savings_plan";
  }
  const std::string unit = Lower(Cell(row, "PricingUnit"));
  if (Cell(row, "ChargeClass") == "Correction") {
    line.not_usage = "a correction of an earlier bill";
  } else if (Cell(row, "CapacityReservationStatus") == "Unused") {
    line.not_usage = "a capacity reservation that was not used";
  } else if (line.category != "Usage") {
    line.not_usage = "a charge that is no usage: credits, purchases, tax";
  } else if (Cell(row, "CommitmentDiscountStatus") == "Unused") {
    line.not_usage = "a commitment that was not used";
  } else if (!unit.starts_with("hour") && unit != "hrs") {
    line.not_usage = "a unit other than the hour";
  } else if (line.instance.empty()) {
    line.not_usage = "no instance type";
  } else if (!(line.hours > 0 && line.hours < 1e9)) {
    line.not_usage = "no hours";
  }
  return line;
}

void ReadFocus(std::string_view text, const std::string& name,
               const std::function<void(const FocusLine&)>& take) {
  EachCsvRow(text, name, [&](const ImportRow& row) {
    CheckColumns(row, kFocusColumns, name, "focus");
    take(ReadFocusLine(row));
  });
}

std::span<const ImportFormat> RowFormats() {
  static const std::vector<ImportFormat> all = {
      {"skypilot",
       ReadCsv,
       {"InstanceType", "Price", "SpotPrice", "Region"},
       QuotesOfSkypilot,
       /*wants_provider=*/true},
      {"gcosts", ReadGcosts, {}, QuotesOfGcosts},
      {"gpu-rental-prices", ReadRentalPrices, {"provider", "gpu", "usd_hr"}, QuotesOfRentalPrices},
      {"aws-capacity-block", ReadCapacityBlocks, {"hourly_rate_usd"}, QuotesOfCapacityBlock},
      {"azure-retail",
       ReadAzureRetail,
       {"armSkuName", "armRegionName", "retailPrice", "currencyCode", "productName", "meterName"},
       QuotesOfAzureRetail},
      {"focus", ReadCsv, kFocusColumns, QuotesOfFocus}};
  return all;
}

}  // namespace assay
