#include "results/catalog/billing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "results/base/csv.h"
#include "results/base/names.h"
#include "results/base/text.h"
#include "results/catalog/price.h"

namespace assay {
namespace {

// A whole number of units stays as it is, though its seconds may be a rounding error beside it.
constexpr double kRounding = 1e-9;

BillingRule ReadRule(const CsvRow& row) {
  BillingRule rule = {.provider = row.Required("provider"),
                      .purchases = SplitFields(row.Required("purchase"), '|'),
                      .instance_prefix = row.Text("instance_prefix"),
                      .minimum_s = row.Number("minimum_s"),
                      .date = row.Required("date"),
                      .source = row.Required("source")};
  if (const std::optional<double> unit = row.Number("unit_s")) {
    rule.unit_s = *unit;
  } else {
    row.Fail("unit_s is empty");
  }
  for (const std::string& purchase : rule.purchases) {
    if (std::ranges::find(Purchases(), purchase) != Purchases().end()) continue;
    row.Fail(
        fmt::format("purchase '{}' must be one of {}", purchase, fmt::join(Purchases(), ", ")));
  }
  if (!FirstDay(rule.date)) row.Fail(fmt::format("date '{}' is no date", rule.date));
  return rule;
}

bool IsOf(const BillingRule& rule, std::string_view provider, std::string_view instance) {
  return IsSameName(rule.provider, provider) &&
         Lower(instance).starts_with(Lower(rule.instance_prefix));
}

}  // namespace

std::vector<BillingRule> ParseBilling(std::string_view csv, const std::string& source) {
  std::vector<BillingRule> rules;
  std::size_t index = 0;
  EachCsvRow(csv, source,
             [&](const auto& cells) { rules.push_back(ReadRule(CsvRow(cells, source, index++))); });
  return rules;
}

const BillingRule* FindBilling(std::span<const BillingRule> rules, const Offer& offer) {
  const std::string purchase = offer.purchase == "custom" ? "on_demand" : offer.purchase;
  const auto found = std::ranges::find_if(rules, [&](const BillingRule& rule) {
    return IsOf(rule, offer.provider, offer.instance) &&
           std::ranges::count(rule.purchases, purchase) > 0;
  });
  return found == rules.end() ? nullptr : &*found;
}

double BilledSeconds(double held_s, const BillingRule* rule) {
  if (rule == nullptr) return held_s;
  const double units = std::max(1.0, std::ceil(held_s / rule->unit_s - kRounding));
  return std::max(units * rule->unit_s, rule->minimum_s.value_or(0));
}

std::string BillingText(const BillingRule& rule) {
  const std::string unit = rule.unit_s == 1       ? "second"
                           : rule.unit_s == 60    ? "minute"
                           : rule.unit_s == 3600  ? "hour"
                           : rule.unit_s == 86400 ? "day"
                                                  : Duration(rule.unit_s);
  std::string text = "billed by the " + unit;
  if (rule.minimum_s) text += fmt::format(", {} at least", Duration(*rule.minimum_s));
  return text;
}

std::string BillingLines(std::span<const BillingRule> rules, std::string_view provider,
                         std::string_view instance) {
  std::string text;
  for (const BillingRule& rule : rules) {
    if (!IsOf(rule, provider, instance)) continue;
    std::vector<std::string> purchases;
    for (const std::string& purchase : rule.purchases) {
      purchases.push_back(PurchaseWords({.purchase = purchase}));
    }
    text += fmt::format("  {}: {}; {}, {}\n", fmt::join(purchases, ", "), BillingText(rule),
                        rule.date, rule.source);
  }
  return text;
}

RunBill::RunBill(std::span<const BillingRule> rules, const std::optional<Offer>& offer, int nodes)
    : offer_(offer), nodes_(std::max(1, nodes)) {
  if (offer_ && (!offer_->offered || !offer_->usd_per_hour)) offer_.reset();
  const BillingRule* const rule = offer_ ? FindBilling(rules, *offer_) : nullptr;
  if (rule != nullptr) rule_ = *rule;
}

std::optional<double> RunBill::UsdAfter(double elapsed_s) const {
  if (!offer_) return std::nullopt;
  const double billed_s = BilledSeconds(elapsed_s, rule_ ? &*rule_ : nullptr);
  return nodes_ * *offer_->usd_per_hour * billed_s / 3600;
}

std::optional<double> RunBill::SecondsFor(double usd) const {
  if (!offer_) return std::nullopt;
  const double share_s = usd * 3600 / (nodes_ * *offer_->usd_per_hour);
  if (!rule_) return share_s;
  if (share_s < BilledSeconds(0, &*rule_)) return 0;
  return std::floor(share_s / rule_->unit_s + kRounding) * rule_->unit_s;
}

std::string RunBill::Rule() const {
  const bool matters = rule_ && (rule_->unit_s > 1 || rule_->minimum_s);
  return matters ? BillingText(*rule_) : "";
}

RunCost RunBill::Begun(std::optional<double> planned_s, double before_s) const {
  RunCost cost = {.nodes = nodes_, .before_s = before_s, .planned_s = planned_s};
  if (!offer_) return cost;
  cost.purchase = offer_->purchase;
  cost.price_date = offer_->price_date;
  cost.usd_per_node_hour = offer_->usd_per_hour;
  cost.is_private = offer_->is_private;
  if (planned_s) cost.planned_usd = UsdAfter(*planned_s);
  if (rule_) {
    cost.unit_s = rule_->unit_s;
    cost.minimum_s = rule_->minimum_s;
  }
  return cost;
}

void RunBill::Settle(RunCost& cost, double elapsed_s,
                     std::optional<double> first_verified_s) const {
  cost.held_s = elapsed_s;
  cost.billed_s = BilledSeconds(elapsed_s, rule_ ? &*rule_ : nullptr);
  cost.usd = UsdAfter(elapsed_s);
  if (!first_verified_s) return;
  cost.first_verified_s = cost.before_s + *first_verified_s;
  if (offer_) {
    cost.first_verified_usd = nodes_ * *offer_->usd_per_hour * *cost.first_verified_s / 3600;
  }
}

std::string RunCostText(const RunCost& cost) {
  if (!cost.usd) return "";
  std::string text = Usd(*cost.usd);
  if (cost.nodes > 1) text += fmt::format(" for {} nodes", cost.nodes);
  std::vector<std::string> aside;
  const bool is_rounded = cost.billed_s && cost.held_s && *cost.billed_s - *cost.held_s >= 1;
  if (is_rounded) aside.push_back("billed " + Duration(*cost.billed_s));
  if (cost.planned_usd) aside.push_back(Usd(*cost.planned_usd) + " expected");
  if (!aside.empty()) text += fmt::format(" ({})", fmt::join(aside, ", "));
  if (cost.first_verified_usd) {
    text += fmt::format("; {} until the first verified figure", Usd(*cost.first_verified_usd));
    if (cost.before_s > 0) text += fmt::format(", with {} before the run", Duration(cost.before_s));
  }
  return text;
}

}  // namespace assay
