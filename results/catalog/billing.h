// The unit and the minimum of time by which clouds bill, and what holding nodes costs by these.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/file/run.h"

namespace assay {

inline constexpr double kHoursAYear = 8760;
inline constexpr double kHoursAMonth = 730;  // a year's hours / 12, as price lists count a month

// How a provider bills an instance that is bought in one of these ways: a row of billing.csv.
struct BillingRule {
  std::string provider = {};
  std::vector<std::string> purchases = {};
  std::string instance_prefix = {};  // how the instances' names begin; "": all instances
  double unit_s = 1;
  std::optional<double> minimum_s = {};  // the least that is billed; none: a unit
  std::string date = {};                 // of the publication, or on which it was read
  std::string source = {};
};

// Reads billing.csv. Throws Error, with source and row, for a row that breaks a rule.
std::vector<BillingRule> ParseBilling(std::string_view csv, const std::string& source);

// The first of `rules` that fits an offer, into which the result points, or null where none does.
// The purchase `custom`, which a typed price has where no way of buying is told, is billed as on
// demand.
const BillingRule* FindBilling(std::span<const BillingRule> rules, const Offer& offer);

// The seconds that are billed for a node that is held for `held_s` seconds: `held_s` rounded up to
// whole units, at least one unit and at least the minimum. Without a rule (null) `held_s` itself.
double BilledSeconds(double held_s, const BillingRule* rule);

// A rule in words: "billed by the second, 1 min 0 s at least".
std::string BillingText(const BillingRule& rule);
// The rules for an instance, one a line, each with its ways of buying, its date and its source.
std::string BillingLines(std::span<const BillingRule> rules, std::string_view provider,
                         std::string_view instance);

// The cost of a run, foretold before it and told after it, as if its nodes were rented for it
// alone. Each node is paid in full, even if the run uses a part of it. Nothing that is passed in
// need outlive the call.
class RunBill {
 public:
  // Without an offer, or with one that has no price, there are seconds and no dollars.
  RunBill(std::span<const BillingRule> rules, const std::optional<Offer>& offer, int nodes);

  // The bill in USD, for all nodes, of a run that ends after `elapsed_s` seconds. Nothing without a
  // price.
  std::optional<double> UsdAfter(double elapsed_s) const;
  // The seconds that the run may last at most for its bill to stay within `usd`; 0 where even the
  // shortest run is billed more. Nothing without a price.
  std::optional<double> SecondsFor(double usd) const;
  // BillingText of the rule; "" where no rule is known, and where it bills by the second without a
  // minimum, since rounding then changes nothing that matters.
  std::string Rule() const;

  // Makes the cost of a run that begins now: the price, the rule, and the bill that is foretold for
  // `planned_s` seconds. Each node was already paid for `before_s` seconds by then.
  RunCost Begun(std::optional<double> planned_s, double before_s) const;
  // Completes the cost of a run that ended, `elapsed_s` seconds after it began. Its first figure
  // was verified `first_verified_s` seconds after it began; nothing: none was.
  void Settle(RunCost& cost, double elapsed_s, std::optional<double> first_verified_s) const;

 private:
  std::optional<Offer> offer_;
  std::optional<BillingRule> rule_ = {};
  int nodes_;
};

// What a run cost in words: "0.2912 USD (billed 1 min 0 s, 0.3 USD expected); 0.0912 USD until the
// first verified figure, with 118 s before the run". The billed time is told where a unit or a
// minimum makes it longer by a second. "" without dollars.
std::string RunCostText(const RunCost& cost);

}  // namespace assay
