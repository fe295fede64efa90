#include "results/catalog/bill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "results/base/error.h"
#include "results/base/names.h"
#include "results/base/text.h"
#include "results/catalog/import_formats.h"

namespace assay {
namespace {

// The share of a run's hours by which an invoice may fall short, since clocks and their rounding
// differ.
constexpr double kShort = 0.01;

// A time in UTC such as 2026-11-21T22:40:13Z, in seconds from 1970 on; nothing for any other text.
std::optional<double> UtcSeconds(std::string_view text) {
  const auto day = FirstDay(text.substr(0, 10));
  if (!day || text.size() < 19 || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' ||
      text[16] != ':') {
    return std::nullopt;
  }
  std::string_view end = text.substr(19);
  if (end.starts_with('.')) {
    end.remove_prefix(std::min(end.find_first_not_of("0123456789", 1), end.size()));
  }
  if (!end.empty() && end != "Z" && end != "+00:00") return std::nullopt;
  double seconds = 0;
  for (const auto& [at, most] : {std::pair(11, 24), {14, 59}, {17, 60}}) {
    const std::optional<double> part = NumberIn(text.substr(static_cast<std::size_t>(at), 2));
    if (!part || !(*part >= 0 && *part <= most)) return std::nullopt;
    seconds = 60 * seconds + *part;
  }
  return seconds +
         static_cast<double>(
             std::chrono::duration_cast<std::chrono::seconds>(day->time_since_epoch()).count());
}

// The span of time in seconds from 1970 on.
struct Span {
  double from = 0;
  double to = 0;

  double HoursIn(const Span& other) const {
    return std::max(0.0, std::min(to, other.to) - std::max(from, other.from)) / 3600;
  }
  double Hours() const { return (to - from) / 3600; }
};

struct Line {
  FocusLine of = {};
  Span span = {};
  double rate = 1;  // USD for its currency
  bool is_matched = false;
};

// The lines of one node, or of several that are summed up, in one period.
struct Held {
  Span span = {};
  double hours = 0;
  double list = 0;
  double contracted = 0;
  double effective = 0;
};

bool IsOfRun(const Line& line, const PaidRun& run, const Span& span) {
  const bool is_somewhere = run.region.empty() || run.region == "unknown";
  const bool says_purchase = run.purchase == "spot" || run.purchase == "on_demand" ||
                             run.purchase == "reserved" || run.purchase == "savings_plan";
  return IsSameName(line.of.provider, run.provider) && IsSameName(line.of.instance, run.instance) &&
         (is_somewhere || IsSameName(line.of.region, RegionNamed(run.provider, run.region))) &&
         (!says_purchase || line.of.is_spot == (run.purchase == "spot")) &&
         line.span.HoursIn(span) > 0;
}

RunOnBill HoldRun(const PaidRun& run, std::vector<Line>& lines, const std::vector<Line>& credits) {
  const std::optional<double> from = UtcSeconds(run.from);
  const std::optional<double> to = UtcSeconds(run.to);
  if (!from || !to || *to < *from) {
    throw Error(
        fmt::format("{}: it doesn't tell when it began and ended ('{}', '{}'); give a run "
                    "that ended",
                    run.name, Clean(run.from, 32), Clean(run.to, 32)));
  }
  const Span span = {*from, *to};
  RunOnBill found = {.run = run, .node_hours = run.nodes * span.Hours()};
  std::map<std::tuple<std::string, double, double>, Held> by_node;
  std::set<std::string> resources;
  for (Line& line : lines) {
    if (!IsOfRun(line, run, span)) continue;
    line.is_matched = true;
    ++found.lines;
    resources.insert(line.of.resource);
    Held& held = by_node[{line.of.resource, line.span.from, line.span.to}];
    held.span = line.span;
    held.hours += line.of.hours;
    held.list += line.rate * line.of.list;
    held.contracted += line.rate * line.of.contracted;
    held.effective += line.rate * line.of.effective;
  }
  double of_all_usd = 0;
  for (const auto& [key, held] : by_node) {
    // Hours beyond the period's are of several nodes, which are summed up.
    const double nodes = std::max(1.0, held.hours / held.span.Hours());
    const double hours = std::min(held.hours, nodes * held.span.HoursIn(span));
    found.found_hours += hours;
    found.line_hours += held.hours;
    found.list_usd += held.list * hours / held.hours;
    found.contracted_usd += held.contracted * hours / held.hours;
    found.effective_usd += held.effective * hours / held.hours;
    of_all_usd += held.effective;
  }
  if (found.found_hours > found.node_hours && found.found_hours > 0) {
    const double share = found.node_hours / found.found_hours;
    found.found_hours = found.node_hours;
    for (double* usd : {&found.list_usd, &found.contracted_usd, &found.effective_usd}) {
      *usd *= share;
    }
  }
  for (const Line& credit : credits) {
    const bool is_of_these =
        credit.span.HoursIn(span) > 0 && IsSameName(credit.of.provider, run.provider) &&
        (IsSameName(credit.of.instance, run.instance) ||
         (!credit.of.resource.empty() && resources.contains(credit.of.resource)));
    if (is_of_these && of_all_usd > 0) {
      found.credits_usd += credit.rate * credit.of.billed * found.effective_usd / of_all_usd;
    }
  }
  if (run.usd_per_node_hour) found.own_usd = *run.usd_per_node_hour * found.node_hours;
  if (found.own_usd && found.effective_usd > 0 && found.node_hours > 0) {
    found.difference = *run.usd_per_node_hour * found.found_hours / found.effective_usd - 1;
  }
  return found;
}

std::string HoursText(double hours) { return fmt::format("{:.4g} node-hours", hours); }

// Why a price differs from the invoice's, in words; "" where nothing tells.
std::string WhyText(const RunOnBill& found, double within) {
  const auto is_near = [&](double a, double b) { return b > 0 && std::abs(a / b - 1) <= within; };
  const double own = found.run.usd_per_node_hour.value_or(0) * found.found_hours;
  const double paid = found.contracted_usd / found.list_usd;
  if (found.list_usd > 0 && found.contracted_usd > 0 && is_near(own, found.list_usd) &&
      is_near(found.effective_usd, found.contracted_usd)) {
    return fmt::format("the contracted price is {:.4g} of the list price: --discount NAME={:.4g}",
                       paid, paid);
  }
  if (is_near(own, found.contracted_usd) || is_near(own, found.list_usd)) {
    return "a commitment makes the rest: what is effective is under what is contracted";
  }
  return fmt::format("the invoice's list price is {:.6g} USD a node-hour",
                     found.list_usd / found.found_hours);
}

std::string RunText(const RunOnBill& found, double within) {
  const PaidRun& run = found.run;
  std::string text = fmt::format("{}: {} {}, {}, {}, {} to {}\n", Clean(run.name, 1024),
                                 Clean(run.provider), Clean(run.instance), Clean(run.region),
                                 CountText(static_cast<std::int64_t>(run.nodes), "node"),
                                 Clean(run.from), Clean(run.to));
  text += found.own_usd ? fmt::format("  the run:     {} = {} x {}\n", Usd(*found.own_usd),
                                      HoursText(found.node_hours), run.price)
                        : fmt::format(
                              "  the run:     {}, and no price is known; --price USD gives "
                              "one\n",
                              HoursText(found.node_hours));
  if (found.lines == 0) {
    return text + "  the invoice: no line of that type, region and time\n";
  }
  text += fmt::format("  the invoice: {} for {}, by {}; list {}, contracted {}, credits {}\n",
                      Usd(found.effective_usd), HoursText(found.found_hours),
                      CountText(found.lines, "line"), Usd(found.list_usd),
                      Usd(found.contracted_usd), Usd(found.credits_usd));
  if (found.found_hours < found.node_hours * (1 - kShort)) {
    text += fmt::format("  {} of the run are on no line\n",
                        HoursText(found.node_hours - found.found_hours));
  }
  if (found.line_hours > found.found_hours * (1 + kShort)) {
    text += fmt::format("  {} more are on these lines: boot, idle time, other work, rounding{}\n",
                        HoursText(found.line_hours - found.found_hours),
                        run.before_s > 0
                            ? fmt::format(" ({} before the run are known)", Duration(run.before_s))
                            : "");
  }
  if (found.difference) {
    const bool is_near = std::abs(*found.difference) <= within;
    text += fmt::format("  the run's cost by its price is {} from the invoice's: {}\n",
                        Percent(*found.difference, true),
                        is_near ? "as billed" : WhyText(found, within));
  }
  return text;
}

}  // namespace

Bill HoldAgainstBill(const std::vector<PaidRun>& runs, std::string_view focus,
                     const std::string& name, const std::map<std::string, double>& usd_per) {
  std::vector<Line> lines;
  std::vector<Line> credits;
  std::map<std::string, std::size_t> reasons;
  double of_account_usd = 0;
  ReadFocus(focus, name, [&](const FocusLine& of) {
    Line line = {.of = of};
    const bool is_credit = of.category == "Credit";
    if (!of.not_usage.empty() && !is_credit) {
      ++reasons[of.not_usage];
      return;
    }
    const std::optional<double> from = UtcSeconds(of.from);
    const std::optional<double> to = UtcSeconds(of.to);
    if (!from || !to || *to <= *from) {
      ++reasons["a period without its beginning or end in UTC"];
      return;
    }
    line.span = {*from, *to};
    const auto rate = usd_per.find(of.currency);
    if (of.currency != "USD" && rate == usd_per.end()) {
      ++reasons[fmt::format("the currency {}; '--rate {}=USD' takes it", Clean(of.currency, 8),
                            Clean(of.currency, 8))];
      return;
    }
    if (of.currency != "USD") line.rate = rate->second;
    if (is_credit && of.instance.empty() && of.resource.empty()) {
      of_account_usd += line.rate * of.billed;
    }
    (is_credit ? credits : lines).push_back(std::move(line));
  });
  Bill bill;
  for (const PaidRun& run : runs) bill.runs.push_back(HoldRun(run, lines, credits));
  std::map<std::string, std::pair<double, double>> others;  // hours and USD, by what they are of
  for (const Line& line : lines) {
    if (line.is_matched) continue;
    auto& [hours, usd] =
        others[fmt::format("{} {} in {}", Clean(line.of.provider, 64), Clean(line.of.instance, 64),
                           Clean(line.of.region, 64))];
    hours += line.of.hours;
    usd += line.rate * line.of.effective;
  }
  std::vector<std::string> sentences;
  for (const auto& [what, sum] : others) {
    sentences.push_back(
        fmt::format("{} of {}, {}: no run", HoursText(sum.first), what, Usd(sum.second)));
  }
  AddFew(sentences, "kinds of hours that are no run's", bill.unmatched);
  sentences.clear();
  for (const auto& [reason, count] : reasons) {
    sentences.push_back(fmt::format("left out {}: {}", CountText(count, "line"), reason));
  }
  if (of_account_usd != 0) {
    sentences.push_back(fmt::format("credits of {} are of no instance, and of no run therefore",
                                    Usd(of_account_usd)));
  }
  AddFew(sentences, "reasons", bill.left_out);
  return bill;
}

std::string BillText(const Bill& bill, double within) {
  std::string text;
  double own = 0;
  double billed = 0;
  bool all_priced = true;
  for (const RunOnBill& found : bill.runs) {
    text += RunText(found, within);
    own += found.own_usd.value_or(0);
    billed += found.effective_usd;
    all_priced = all_priced && found.own_usd;
  }
  if (bill.runs.size() > 1 && all_priced) {
    text += fmt::format("{}: {} by their prices, {} by the invoice\n",
                        CountText(bill.runs.size(), "run"), Usd(own), Usd(billed));
  }
  for (const std::string& one : bill.unmatched) text += one + '\n';
  for (const std::string& one : bill.left_out) text += one + '\n';
  return text;
}

bool IsAsBilled(const Bill& bill, double within) {
  return std::ranges::all_of(bill.runs, [&](const RunOnBill& found) {
    return found.difference && std::abs(*found.difference) <= within &&
           found.found_hours >= found.node_hours * (1 - kShort);
  });
}

}  // namespace assay
