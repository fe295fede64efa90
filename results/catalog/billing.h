// The unit and the least time by which clouds bill, and what holding nodes costs by them.
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
  std::string instance_prefix = {};  // with which the instances' names begin; "": all of them
  double unit_s = 1;
  std::optional<double> minimum_s = {};  // the least that is billed; none: a unit
  std::string date = {};                 // of the publication, or on which it was read
  std::string source = {};
};

// Reads billing.csv. Throws Error, with source and row, for a row that breaks a rule.
std::vector<BillingRule> ParseBilling(std::string_view csv, const std::string& source);

// The rule for an offer, or null where none is known. A typed price of no told purchase is billed
// as on demand.
const BillingRule* FindBilling(std::span<const BillingRule> rules, const Offer& offer);

// The seconds that are billed for a node that is held for `held_s`: whole units, one of them and
// the minimum at least. Without a rule they are held_s.
double BilledSeconds(double held_s, const BillingRule* rule);

// A rule in words: "billed by the second, 1 min 0 s at least".
std::string BillingText(const BillingRule& rule);
// The rules for an instance, each with its ways of buying, its date and its source, a line each.
std::string BillingLines(std::span<const BillingRule> rules, std::string_view provider,
                         std::string_view instance);

// What a run's nodes cost while it is measured, as if they were rented for it alone. A whole node
// is paid for, whatever part of it works, and each node of the run.
class RunBill {
 public:
  // Without a price there are seconds and no dollars.
  RunBill(std::span<const BillingRule> rules, const std::optional<Offer>& offer, int nodes);

  // The bill in USD of a run that ends after so many seconds. Nothing without a price.
  std::optional<double> UsdAfter(double elapsed_s) const;
  // The longest that the run may last for its bill to stay within `usd`; 0 where the least that is
  // billed is more. Nothing without a price.
  std::optional<double> SecondsFor(double usd) const;
  // The rule's text, as BillingText has it; "" where none is known, or where rounding to it changes
  // no bill by more than a second.
  std::string Rule() const;

  // The record of a run that begins, after nodes were paid for `before_s` already.
  RunCost Begun(std::optional<double> planned_s, double before_s) const;
  // Adds what it came to. `first_verified_s` is when its first figure was verified.
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
