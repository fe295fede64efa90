#include "results/catalog/bill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
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
// A space may stand for the T and UTC or +00:00 for the Z, and the seconds may be absent.
std::optional<double> UtcSeconds(std::string_view text) {
  const auto day = FirstDay(text.substr(0, 10));
  if (!day || text.size() < 16 || (text[10] != 'T' && text[10] != ' ') || text[13] != ':') {
    return std::nullopt;
  }
  const bool has_seconds = text.size() >= 19 && text[16] == ':';
  std::string_view end = text.substr(has_seconds ? 19 : 16);
  if (has_seconds && end.starts_with('.')) {
    end.remove_prefix(std::min(end.find_first_not_of("0123456789", 1), end.size()));
  }
  if (!end.empty() && end != "Z" && end != "+00:00" && end != " UTC" && end != "UTC") {
    return std::nullopt;
  }
  double seconds = 0;
  for (const auto& [at, most] : {std::pair(11, 24), {14, 59}, {17, 60}}) {
    const auto begin = static_cast<std::size_t>(at);
    const bool is_absent = at == 17 && !has_seconds;
    const std::optional<double> part = is_absent ? 0 : NumberIn(text.substr(begin, 2));
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

// A run's part of what was held.
struct Claim {
  std::size_t run = 0;
  Span span = {};    // of the run, in the period
  double hours = 0;  // at first as if the run were alone, then as all runs share them
};

// The lines of one resource in one period, summed up: of one node, or of several.
struct Held {
  FocusLine of = {};  // what all of its lines have in common
  Span span = {};
  std::size_t lines = 0;
  double hours = 0;
  std::optional<double> list = 0;  // USD, as the two that follow; nothing where a line lacks it
  std::optional<double> contracted = 0;
  double effective = 0;
  double credit = 0;  // its part of the credits, as a share of `effective`
  std::vector<Claim> claims = {};

  // Hours beyond the period's are of several nodes.
  double Nodes() const { return std::max(1.0, hours / span.Hours()); }
};

struct Credit {
  FocusLine of = {};
  Span span = {};
  double usd = 0;
};

// What an invoice holds, by type, each sorted by its beginning.
struct OfType {
  std::vector<Held> held = {};
  double longest_s = 0;  // of their periods
};
using Invoice = std::map<std::pair<std::string, std::string>, OfType>;

bool IsOfRun(const Held& held, const PaidRun& run, const Span& span) {
  const bool is_somewhere = run.region.empty() || run.region == "unknown";
  const bool says_purchase = run.purchase == "spot" || run.purchase == "on_demand" ||
                             run.purchase == "reserved" || run.purchase == "savings_plan";
  return (is_somewhere || IsSameName(held.of.region, RegionNamed(run.provider, run.region))) &&
         (!says_purchase || held.of.is_spot == (run.purchase == "spot")) &&
         held.span.HoursIn(span) > 0;
}

// Calls `take` with all of a type that lie in a span, wherever they are.
void EachIn(OfType& type, const Span& span, const std::function<void(Held&)>& take) {
  auto held = std::ranges::lower_bound(type.held, span.from - type.longest_s, {},
                                       [](const Held& one) { return one.span.from; });
  for (; held != type.held.end() && held->span.from < span.to; ++held) {
    if (held->span.HoursIn(span) > 0) take(*held);
  }
}

Span SpanOf(const PaidRun& run) {
  if (const std::string why = NoTimes(run); !why.empty()) {
    throw Error(fmt::format("{}: {}; give a run that ended", Clean(run.name, 1024), why));
  }
  return {*UtcSeconds(run.from), *UtcSeconds(run.to)};
}

// Claims for a run, as if it were alone, its node-hours in each period: in proportion to what the
// resources of that period have of them, and no more than the run had in that period.
void ClaimHours(std::size_t index, const PaidRun& run, Invoice& invoice) {
  const auto type = invoice.find({Lower(run.provider), Lower(run.instance)});
  if (type == invoice.end()) return;
  const Span span = SpanOf(run);
  std::map<std::pair<double, double>, std::vector<Held*>> periods;
  EachIn(type->second, span, [&](Held& held) {
    if (IsOfRun(held, run, span)) periods[{held.span.from, held.span.to}].push_back(&held);
  });
  std::vector<Claim*> claims;
  double claimed = 0;
  for (const auto& [period, all] : periods) {
    const Span in = {std::max(period.first, span.from), std::min(period.second, span.to)};
    const auto of = [&](const Held& held) {
      return std::min(held.hours, held.Nodes() * in.Hours());
    };
    double there = 0;
    for (const Held* const held : all) there += of(*held);
    const double share = std::min(1.0, run.nodes * in.Hours() / there);
    for (Held* const held : all) {
      held->claims.push_back({.run = index, .span = in, .hours = share * of(*held)});
      claims.push_back(&held->claims.back());
      claimed += claims.back()->hours;
    }
  }
  // Periods may overlap, such as a day and its hours.
  const double most = run.nodes * span.Hours();
  if (!(claimed > most)) return;
  for (Claim* const claim : claims) claim->hours *= most / claimed;
}

// Shares what was held among the runs that claim it, so that no hour is taken twice: at each moment
// they have no more nodes than there are, and all together no more hours than are billed.
void Share(Held& held) {
  std::map<double, double> changes;  // of the nodes that are claimed, by time
  for (const Claim& claim : held.claims) {
    const double nodes = claim.hours / claim.span.Hours();
    changes[claim.span.from] += nodes;
    changes[claim.span.to] -= nodes;
  }
  std::map<double, double> until;  // the hours until then in which a node that is claimed is there
  double nodes = 0;
  double hours = 0;
  double last = held.span.from;
  for (const auto& [at, change] : changes) {
    hours += (at - last) / 3600 * (nodes > held.Nodes() ? held.Nodes() / nodes : 1);
    until[at] = hours;
    nodes += change;
    last = at;
  }
  double all = 0;
  for (Claim& claim : held.claims) {
    claim.hours *= (until[claim.span.to] - until[claim.span.from]) / claim.span.Hours();
    all += claim.hours;
  }
  if (!(all > held.hours)) return;
  for (Claim& claim : held.claims) claim.hours *= held.hours / all;
}

// Spreads a credit over the usage in its period that it is for, in proportion to effective cost:
// that of its resource, else of its type and, where it names one, of its region.
void Spread(const Credit& credit, Invoice& invoice) {
  std::vector<std::pair<Held*, double>> parts;  // with the share of them that lies in its period
  double all = 0;
  for (auto& [key, type] : invoice) {
    if (key.first != Lower(credit.of.provider)) continue;
    EachIn(type, credit.span, [&](Held& held) {
      const bool is_for =
          credit.of.resource.empty()
              ? IsSameName(held.of.instance, credit.of.instance) &&
                    (credit.of.region.empty() || IsSameName(held.of.region, credit.of.region))
              : held.of.resource == credit.of.resource;
      if (!is_for) return;
      parts.emplace_back(&held, held.span.HoursIn(credit.span) / held.span.Hours());
      all += held.effective * parts.back().second;
    });
  }
  if (!(all > 0)) return;
  for (const auto& [held, share] : parts) held->credit += share * credit.usd / all;
}

// Adds what may not be told.
void Add(std::optional<double>& sum, const std::optional<double>& usd, double factor = 1) {
  sum = sum && usd ? std::optional(*sum + factor * *usd) : std::nullopt;
}

// Adds to the runs what they have of it.
void Settle(const Held& held, std::vector<RunOnBill>& runs) {
  for (const Claim& claim : held.claims) {
    RunOnBill& found = runs[claim.run];
    const double share = claim.hours / held.hours;
    found.lines += held.lines;
    found.found_hours += claim.hours;
    found.line_hours += held.hours;
    Add(found.list_usd, held.list, share);
    Add(found.contracted_usd, held.contracted, share);
    found.effective_usd += share * held.effective;
    found.credits_usd += share * held.effective * held.credit;
  }
}

std::string HoursText(double hours) { return fmt::format("{:.4g} node-hours", hours); }

std::string UsdOrNot(const std::optional<double>& usd) { return usd ? Usd(*usd) : "not told"; }

// Whether all of a run's hours are on the invoice.
bool IsCovered(const RunOnBill& found) {
  return found.found_hours >= found.node_hours * (1 - kShort);
}

// Why a price differs from the invoice's, in words.
std::string WhyText(const RunOnBill& found, double within) {
  const auto is_near = [&](double a, const std::optional<double>& b) {
    return b && *b > 0 && std::abs(a / *b - 1) <= within;
  };
  const double own = found.run.usd_per_node_hour.value_or(0) * found.found_hours;
  if (found.contracted_usd && *found.contracted_usd > 0 && is_near(own, found.list_usd) &&
      is_near(found.effective_usd, found.contracted_usd)) {
    const double paid = *found.contracted_usd / *found.list_usd;
    return fmt::format("the contracted price is {:.4g} of the list price: --discount NAME={:.4g}",
                       paid, paid);
  }
  if (is_near(own, found.contracted_usd) || is_near(own, found.list_usd)) {
    return "a commitment makes the rest: what is effective is under what is contracted";
  }
  if (!found.list_usd) return "the invoice doesn't tell a list price";
  return fmt::format("the invoice's list price is {:.6g} USD a node-hour",
                     *found.list_usd / found.found_hours);
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
  if (run.kept_usd && run.kept_billed_s) {
    text += fmt::format("  its file:    {}, which is {} of each node by the unit of bills\n",
                        Usd(*run.kept_usd), Duration(*run.kept_billed_s));
  }
  if (found.node_hours <= 0) {
    return text + "  the invoice: a run that begins and ends in one second can't be found on it\n";
  }
  if (found.lines == 0) {
    return text + "  the invoice: no line of that type, region and time\n";
  }
  text += fmt::format("  the invoice: {} for {}, by {}; list {}, contracted {}, credits {}\n",
                      Usd(found.effective_usd), HoursText(found.found_hours),
                      CountText(found.lines, "line"), UsdOrNot(found.list_usd),
                      UsdOrNot(found.contracted_usd), Usd(found.credits_usd));
  if (found.shared_hours > found.node_hours * kShort) {
    text += fmt::format(
        "  {} of its lines are of other runs at the same time, which share what is billed\n",
        HoursText(found.shared_hours));
  }
  if (!IsCovered(found)) {
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
                        !is_near           ? WhyText(found, within)
                        : IsCovered(found) ? "as billed"
                                           : "that of the hours which are on it");
  } else if (found.own_usd) {
    text += "  the effective cost of these hours is 0, and no difference is told from it\n";
  }
  return text;
}

}  // namespace

std::string NoTimes(const PaidRun& run) {
  const std::optional<double> from = UtcSeconds(run.from);
  const std::optional<double> to = UtcSeconds(run.to);
  if (from && to && *to >= *from) return "";
  return fmt::format("it doesn't tell when it began and ended ('{}', '{}')", Clean(run.from, 32),
                     Clean(run.to, 32));
}

Bill HoldAgainstBill(const std::vector<PaidRun>& runs, std::string_view focus,
                     const std::string& name, const std::map<std::string, double>& usd_per) {
  std::map<std::tuple<std::string, std::string, std::string, std::string, bool, double, double>,
           Held>
      all;
  std::vector<Credit> credits;
  std::map<std::string, std::size_t> reasons;
  double of_account_usd = 0;
  ReadFocus(focus, name, [&](const FocusLine& of) {
    const bool is_credit = of.category == "Credit";
    const std::optional<double>& cost = is_credit ? of.billed : of.effective;
    if (!of.not_usage.empty() && !is_credit) {
      ++reasons[of.not_usage];
      return;
    }
    if (!cost || (!is_credit && *cost < 0)) {
      ++reasons[is_credit ? "a credit whose BilledCost is absent or no number"
                          : "an EffectiveCost that is absent, below 0 or no number such as 55.04"];
      return;
    }
    const std::optional<double> from = UtcSeconds(of.from);
    const std::optional<double> to = UtcSeconds(of.to);
    if (!from || !to || *to <= *from) {
      ++reasons["a period without its beginning or end in UTC"];
      return;
    }
    const auto rate = usd_per.find(of.currency);
    if (of.currency != "USD" && rate == usd_per.end()) {
      const std::string currency = Clean(of.currency, 8);
      ++reasons[currency.empty()
                    ? "no currency is told"
                    : fmt::format("the currency {}; '--rate {}=USD' takes it", currency, currency)];
      return;
    }
    const double usd = of.currency == "USD" ? 1 : rate->second;
    if (is_credit && of.instance.empty() && of.resource.empty()) {
      of_account_usd += usd * *of.billed;
    } else if (is_credit) {
      credits.push_back({.of = of, .span = {*from, *to}, .usd = usd * *of.billed});
    } else {
      Held& held = all[{Lower(of.provider), Lower(of.instance), Lower(of.region), of.resource,
                        of.is_spot, *from, *to}];
      if (held.lines++ == 0) {
        held.of = of;
        held.span = {*from, *to};
      }
      held.hours += of.hours;
      Add(held.list, of.list, usd);
      Add(held.contracted, of.contracted, usd);
      held.effective += usd * *of.effective;
    }
  });
  Invoice invoice;
  for (auto& [key, held] : all) {
    OfType& type = invoice[{std::get<0>(key), std::get<1>(key)}];
    type.longest_s = std::max(type.longest_s, held.span.to - held.span.from);
    type.held.push_back(std::move(held));
  }
  for (auto& [key, type] : invoice) {
    std::ranges::stable_sort(type.held, {}, [](const Held& held) { return held.span.from; });
  }
  double credits_usd = 0;
  for (const Credit& credit : credits) {
    Spread(credit, invoice);
    credits_usd += credit.usd;
  }
  Bill bill;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    bill.runs.push_back({.run = runs[i], .node_hours = runs[i].nodes * SpanOf(runs[i]).Hours()});
    ClaimHours(i, runs[i], invoice);
  }
  std::map<std::string, std::pair<double, double>> others;  // hours and USD, by what they are of
  for (auto& [key, type] : invoice) {
    for (Held& held : type.held) {
      for (const Claim& claim : held.claims) bill.runs[claim.run].shared_hours += claim.hours;
      Share(held);
      for (const Claim& claim : held.claims) bill.runs[claim.run].shared_hours -= claim.hours;
      Settle(held, bill.runs);
      if (!held.claims.empty()) continue;
      auto& [hours, usd] =
          others[fmt::format("{} {} in {}", Clean(held.of.provider, 64),
                             Clean(held.of.instance, 64), Clean(held.of.region, 64))];
      hours += held.hours;
      usd += held.effective;
    }
  }
  for (RunOnBill& found : bill.runs) {
    credits_usd -= found.credits_usd;
    const std::optional<double>& price = found.run.usd_per_node_hour;
    if (!price) continue;
    found.own_usd = *price * found.node_hours;
    if (found.effective_usd > 0) {
      found.difference = *price * found.found_hours / found.effective_usd - 1;
    }
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
  if (std::abs(credits_usd) >= 0.005) {
    sentences.push_back(
        fmt::format("credits of {} are of hours that are no run's", Usd(credits_usd)));
  }
  AddFew(sentences, "reasons", bill.left_out);
  return bill;
}

std::string BillText(const Bill& bill, double within) {
  std::string text;
  double own = 0;
  double billed = 0;
  double hours = 0;
  bool all_priced = true;
  for (const RunOnBill& found : bill.runs) {
    text += RunText(found, within);
    own += found.run.usd_per_node_hour.value_or(0) * found.found_hours;
    billed += found.effective_usd;
    hours += found.found_hours;
    all_priced = all_priced && found.own_usd;
  }
  if (bill.runs.size() > 1 && all_priced) {
    text +=
        fmt::format("{}: {} that are on the invoice, {} by their prices, {} by the invoice\n",
                    CountText(bill.runs.size(), "run"), HoursText(hours), Usd(own), Usd(billed));
  }
  for (const std::string& one : bill.unmatched) text += one + '\n';
  for (const std::string& one : bill.left_out) text += one + '\n';
  return text;
}

bool IsAsBilled(const Bill& bill, double within) {
  return std::ranges::all_of(bill.runs, [&](const RunOnBill& found) {
    return found.difference && std::abs(*found.difference) <= within && IsCovered(found);
  });
}

}  // namespace assay
