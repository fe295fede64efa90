// Runs compared with an invoice: what they cost by the price that is known, and what the provider
// charged for the same nodes in the same time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"

namespace assay {

// A run that an invoice should have.
struct PaidRun {
  std::string name = {};
  std::string provider = {};
  std::string instance = {};
  std::string region = {};  // "" or "unknown": lines of every region may be the run's
  // spot: only spot lines may be the run's; on_demand, reserved, savings_plan: only the other
  // lines; anything else: all lines.
  std::string purchase = {};
  double nodes = 1;
  std::string from = {};  // UTC, as Run::started
  std::string to = {};    // UTC, as Run::ended
  double before_s = 0;    // the seconds for which each node was paid before `from`, if known
  std::optional<double> usd_per_node_hour = {};
  std::string price = {};  // usd_per_node_hour in words
  // RunCost::usd and RunCost::billed_s of the run's file: USD for all nodes, and the seconds that
  // were billed for each.
  std::optional<double> kept_usd = {};
  std::optional<double> kept_billed_s = {};
};

// A run with its lines of the invoice, which are those of its provider, instance type, region, kind
// of purchase and time. Where a line covers more time than the run, the run gets the share of it
// that lies in its time; where lines are of more nodes than the run had, it gets that number of
// average nodes. An hour that several runs used is shared by them and counted once. Dollars are of
// all nodes of the run.
struct RunOnBill {
  PaidRun run = {};
  double node_hours = 0;               // the run's time x its nodes
  std::optional<double> own_usd = {};  // node_hours x usd_per_node_hour; nothing without a price
  std::size_t lines = 0;
  double found_hours = 0;   // the part of node_hours that the lines cover
  double line_hours = 0;    // all hours of the lines, whoever used them
  double shared_hours = 0;  // the further hours that the lines would cover if this run were alone
  // The cost of found_hours at list prices, at contracted prices, and as FOCUS's EffectiveCost,
  // which spreads commitments over their use. Nothing where a line doesn't tell that cost.
  std::optional<double> list_usd = 0;
  std::optional<double> contracted_usd = 0;
  double effective_usd = 0;
  // The run's part of the credits for its resources or its type, as a figure below 0. A credit is
  // divided among all usage that it is for, in proportion to the effective cost.
  double credits_usd = 0;
  // The price x found_hours / effective_usd - 1; nothing without a price, or where effective_usd is
  // 0.
  std::optional<double> difference = {};
};

// A whole invoice.
struct Bill {
  std::vector<RunOnBill> runs = {};
  // `unmatched` has a sentence on the hours of each provider, instance type and region that no run
  // was found for, and `left_out` a sentence for each reason why lines or credits weren't counted.
  // A few come in full, and the others as a count.
  std::vector<std::string> unmatched = {};
  std::vector<std::string> left_out = {};
};

// The reason, in words, why a run can't be looked for on an invoice: it lacks its times, or ends
// before it begins. "" where it can.
std::string NoTimes(const PaidRun& run);

// Compares runs with the text `focus` of an invoice in FOCUS 1.x, whose file's `name` begins
// errors. `usd_per` is the USD that one unit of a currency is worth, by the currency's code. Throws
// Error for a text that is no such invoice, and for a run without times (NoTimes).
Bill HoldAgainstBill(const std::vector<PaidRun>& runs, std::string_view focus,
                     const std::string& name, const std::map<std::string, double>& usd_per);

// The bill in words. A run whose difference is beyond `within` (a share: 0.02 is 2 %) is told with
// a likely cause.
std::string BillText(const Bill& bill, double within);
// Whether lines cover each run in full (to 1 % of its hours) and its difference is known and at
// most `within`, up or down.
bool IsAsBilled(const Bill& bill, double within);

}  // namespace assay
