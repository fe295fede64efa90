// Runs held against an invoice: what they cost by the price that is known, and what the provider
// charged for the same nodes in the same time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/catalog/price.h"

namespace assay {

// A run as it stands on an invoice.
struct PaidRun {
  std::string name = {};
  std::string provider = {};
  std::string instance = {};
  std::string region = {};    // "unknown" is every region
  std::string purchase = {};  // spot is held against lines of spot alone, and others against others
  double nodes = 1;
  std::string from = {};  // UTC, as Run::started
  std::string to = {};
  double before_s = 0;  // that its nodes were paid for before, as far as it is known
  std::optional<double> usd_per_node_hour = {};
  std::string price = {};  // that price in words
  // The bill that its file keeps, of all nodes, and the seconds of each that it is of.
  std::optional<double> kept_usd = {};
  std::optional<double> kept_billed_s = {};
};

// A run, held against the lines of the invoice that are of its provider, instance type, region and
// time. Where lines are of a longer time than the run's, its share of them is taken; where they are
// of more nodes than the run had, theirs on average. An hour that several runs used is shared by
// them and counted once. Dollars are of all nodes of the run.
struct RunOnBill {
  PaidRun run = {};
  double node_hours = 0;
  std::optional<double> own_usd = {};  // by the price that is known
  std::size_t lines = 0;
  double found_hours = 0;   // those of node_hours that the lines cover
  double line_hours = 0;    // all that the lines hold
  double shared_hours = 0;  // what the lines would cover more, were there no other run
  // Of found_hours, as the three that follow; nothing where a line doesn't tell it.
  std::optional<double> list_usd = 0;
  std::optional<double> contracted_usd = 0;
  double effective_usd = 0;
  // Below 0: its part of each credit for its resources or its type, which is divided by effective
  // cost among all usage that the credit is for.
  double credits_usd = 0;
  // own_usd / effective_usd - 1, both for found_hours; nothing without a price or a line.
  std::optional<double> difference = {};
};

// A whole invoice.
struct Bill {
  std::vector<RunOnBill> runs = {};
  // Sentences on hours of instances that are no run's, by what they are of, and on lines that were
  // left out, by the reason.
  std::vector<std::string> unmatched = {};
  std::vector<std::string> left_out = {};
};

// Why a run can't be held against an invoice, in words: it lacks its times. "" where it has them.
std::string NoTimes(const PaidRun& run);

// Holds runs against an invoice in FOCUS 1.x. `usd_per` is as ImportOptions has it. Throws Error
// for a text that isn't one, and for a run without times.
Bill HoldAgainstBill(const std::vector<PaidRun>& runs, std::string_view focus,
                     const std::string& name, const std::map<std::string, double>& usd_per);

// The bill in words. What differs by more than `within` is marked.
std::string BillText(const Bill& bill, double within);
// Whether each run is covered by lines in full, within `within` of what they say.
bool IsAsBilled(const Bill& bill, double within);

}  // namespace assay
